"""A study of objectives: does one of them give codes that stand for single factors?"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import tomli_w
import torch

from variform.config.checks import Count, checked
from variform.config.run import RunConfig
from variform.config.toml import to_dict
from variform.config.words import counted
from variform.data.dataset import Splits
from variform.evaluation.exploration import encode
from variform.evaluation.factor_scores import udr
from variform.evaluation.factors import SCORES, Array
from variform.evaluation.known_factors import ALL, known_factors
from variform.evaluation.latents import used_codes
from variform.evaluation.metrics import METRICS
from variform.evaluation.standard_error import pooled
from variform.evaluation.tables import show
from variform.pages.objectives import plot_objective_study
from variform.pages.report import Picture, Table, render
from variform.pages.vector import picture_of
from variform.runs.folder import Run, open_run
from variform.runs.plan import prepare
from variform.runs.studies import belongs, require_same_study
from variform.runs.train import resume_run, train_run
from variform.system import locks, processes
from variform.system.files import sweep, write_json, write_text
from variform.system.notebook import html_table
from variform.system.signals import Stopped

OBJECTIVES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "VAE": {},
        "beta-VAE": {"beta": 4.0},
        "beta-TCVAE": {"objective": "beta-tc", "beta": 6.0},
        "FactorVAE": {"objective": "factor", "gamma": 10.0},
        "DIP-VAE-I": {"objective": "dip-i"},
        "DIP-VAE-II": {"objective": "dip-ii"},
        "InfoVAE": {"objective": "info"},
    }
)
"""The objectives that are compared, with the options of their training; others are the defaults."""

_SET = ("objective", "beta", "gamma", "alpha", "penalty", "penalty_diagonal")
_ROWS = 2000  # whose codes UDR compares
UDR = "UDR"


@dataclass(frozen=True, repr=False)
class ObjectiveStudy:
    """What a study of objectives found.

    Args:
        rows: One dict per objective: objective; elbo, kl, reconstruction_error and active_units; scores, by the names
            of `factors.SCORES`; and, of two seeds or more, udr. Each is {"mean", "se", "n", "seeds"}, the error being
            over rows and seeds, and `each` has the numbers of the single fits.
        factors: The names of the factors.
        seeds: Fits per objective.
    """

    rows: list[dict[str, Any]]
    factors: tuple[str, ...]
    seeds: int

    def __repr__(self) -> str:
        names = ", ".join(row["objective"] for row in self.rows)
        return f"ObjectiveStudy({names}; {counted(self.seeds, 'seed')}; factors {', '.join(self.factors)})"

    def _repr_html_(self) -> str:
        """The table, as a notebook shows it."""
        header, rows = self.table()
        return html_table(header, rows, title="Objectives", note=self.note())

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Header and rows of text: an objective a column."""
        lines = [[METRICS[name].name(), name] for name in ("elbo", "kl")]
        lines.append(["active units", "active_units"])
        rows = [[words, *(show(row[name]) for row in self.rows)] for words, name in lines]
        for name, words in SCORES.items():
            if name in self.rows[0]["scores"]:
                rows.append([words, *(_brief(row["scores"][name]) for row in self.rows)])
        if "udr" in self.rows[0]:
            rows.append([UDR, *(_brief(row["udr"]) for row in self.rows)])
        return ["", *(row["objective"] for row in self.rows)], rows

    def warnings(self) -> list[str]:
        """Which fits hold nothing in their latents: their scores are of chance."""
        found = []
        for row in self.rows:
            dead = row["active_units"]["each"].count(0)
            if dead:
                fits = counted(self.seeds, "fit")
                found.append(
                    f"{row['objective']}: no latent is active in {dead} of {fits}, so that their scores are 0."
                )
        return found

    def note(self) -> str:
        """What the numbers are."""
        over = (
            "rows and seeds"
            if self.seeds > 1
            else "rows, of one fit each: other seeds differ by more"
        )
        return (
            f"Mean of {counted(self.seeds, 'seed')} ± standard error over {over}. Scores by {', '.join(self.factors)}; "
            "1 is perfect."
        )


def _brief(estimate: dict[str, Any]) -> str:
    """A score in three digits, since a table has many."""
    return f"{estimate['mean']:.3f} ± {estimate['se']:.3f}"


@checked
def compare_objectives(
    config: RunConfig,
    folder: Path,
    *,
    seeds: Count = 1,
    overwrite: bool = False,
    progress: bool = False,
) -> ObjectiveStudy:
    """Train the same model with each of `OBJECTIVES` and score the codes by factors that are known.

    Each fit is a run in a folder of its own, `NAME-seed-S`. A fit that is there already is kept, one that was
    interrupted goes on, so that the same call finishes an interrupted study.

    Args:
        config: What all fits share; `config.evaluation.factors` are the factors, by default all that are known.
        folder: Where the study goes: study.json, study.png, report.html.
        seeds: Fits per objective, with seeds that follow `config.train.seed`.
        overwrite: Start anew in a folder that holds another study.
        progress: Show progress on standard error.

    Raises:
        HeldError: when another process writes into the folder.
        ValueError: for options of the objective in `config`, a factor that is not known, other data than before, or a
            folder that holds another study.
        Stopped: after Ctrl-C or another signal; what is finished is kept.
    """
    for name in _SET:
        if getattr(config.train, name) != getattr(type(config.train)(), name):
            raise ValueError(
                f"`{name}` must be left out of a study of objectives, which chooses it; got "
                f"{getattr(config.train, name)}. Leave it out."
            )
    with processes.for_all(
        locks.claimed(folder, overwrite=overwrite or (folder / "study.toml").is_file())
    ):
        return _study(config, folder, seeds, overwrite, progress)


def _study(
    config: RunConfig, folder: Path, seeds: int, overwrite: bool, progress: bool
) -> ObjectiveStudy:
    config = require_same_study(config, folder, overwrite)
    plan = prepare(config)
    splits = plan.splits
    factors = config.evaluation.factors or (ALL,)
    names = tuple(known_factors(splits.test, factors))
    sweep(folder / name for name in ("study.toml", "study.json", "study.png", "report.html"))
    write_text(folder / "study.toml", tomli_w.dumps(to_dict(config)))
    asked = replace(plan.config.evaluation, factors=factors)
    first = plan.config.train.seed
    fits: dict[str, list[Run]] = {}
    try:
        for name, options in OBJECTIVES.items():
            fits[name] = []
            for seed in range(first, first + seeds):
                train = replace(plan.config.train, **options, seed=seed)
                own = replace(plan.config, train=train, evaluation=asked)
                place = folder / f"{name}-seed-{seed}"
                fits[name].append(_fit(own, place, splits, overwrite, progress))
    except KeyboardInterrupt as error:
        message = "the study stopped and was saved; give the same command to go on with it"
        raise Stopped.by(error, message) from error
    study = ObjectiveStudy([_row(name, runs, splits) for name, runs in fits.items()], names, seeds)
    write_json(
        folder / "study.json",
        {"source": config.source, "seeds": seeds, "factors": list(names), "rows": study.rows},
    )
    caption = "Each small point is a fit, each large one their mean with its standard error."
    picture = picture_of(
        plot_objective_study(study.rows), "Objectives", folder / "study.png", caption
    )
    _write_report(study, plan.config, splits, picture, folder)
    return study


def _fit(config: RunConfig, folder: Path, splits: Splits, overwrite: bool, progress: bool) -> Run:
    """The finished run of one objective and seed, scored: found, resumed or trained."""
    options: dict[str, Any] = {"progress": progress, "pictures": False}
    if not belongs(config, folder, splits, overwrite):
        return train_run(config, folder, overwrite=True, **options)
    if (folder / "evaluation.json").is_file():
        run = open_run(folder)
        if "factors" in run.evaluation and run.config.evaluation == config.evaluation:
            return run
    return resume_run(folder, evaluation=config.evaluation, **options)


def _row(name: str, runs: Sequence[Run], splits: Splits) -> dict[str, Any]:
    """The numbers of one objective: means over the seeds."""
    numbers = [run.evaluation for run in runs]
    row: dict[str, Any] = {"objective": name}
    for measure in ("elbo", "kl", "reconstruction_error"):
        row[measure] = _over([one[measure] for one in numbers])
    active = [one["active_units"]["count"] for one in numbers]
    row["active_units"] = _over([{"mean": count, "se": 0.0, "n": 1} for count in active])
    found = [one["factors"]["scores"] for one in numbers]
    row["scores"] = {score: _over([one[score] for one in found]) for score in found[0]}
    if len(runs) > 1:
        agreement = udr([_codes(run, splits) for run in runs])
        row["udr"] = _over([{"mean": value, "se": 0.0, "n": 1} for value in agreement])
    return row


def _over(estimates: list[dict[str, Any]]) -> dict[str, Any]:
    return pooled(estimates) | {"each": [one["mean"] for one in estimates]}


def _codes(run: Run, splits: Splits) -> Array:
    """The codes of some test rows, those that the model does not use all 0."""
    rows = splits.test.take(torch.arange(min(_ROWS, len(splits.test))))
    return used_codes(encode(run.vae, rows)[0])


def _write_report(
    study: ObjectiveStudy, config: RunConfig, splits: Splits, picture: Picture, folder: Path
) -> None:  # fmt: skip
    header, rows = study.table()
    best = max(study.rows, key=lambda row: row["scores"]["mig"]["mean"])
    options = [
        f"{name} is trained with {', '.join(f'{key} {value}' for key, value in chosen.items())}."
        for name, chosen in OBJECTIVES.items()
        if chosen
    ]
    config_file = shlex.quote(str(folder / "study.toml"))
    html = render(
        title=f"variform: which objective separates the factors of {splits.schema.source}?",
        summary=f"The largest MIG is that of {best['objective']}, {show(best['scores']['mig'])}, where 1 is perfect.",
        facts=[
            ("Data", splits.schema.source),
            ("Factors", ", ".join(study.factors)),
            ("Latent dimensions", str(config.model.latent_dim)),
        ],
        tables=[Table("Held-out numbers", header, rows, study.note())],
        pictures=[picture],
        command=f"variform study objectives --config {config_file} --seeds {study.seeds} --out NEW",
        warnings=study.warnings(),
        notes=[*options, *splits.notes],
        config=tomli_w.dumps(to_dict(config)),
    )
    write_text(folder / "report.html", html)
