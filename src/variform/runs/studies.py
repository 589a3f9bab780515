"""Studies: many fits, one table."""

import itertools
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
import torch
from torch import Tensor

from variform.config.checks import Count, checked
from variform.config.model import require_effect
from variform.config.run import RunConfig
from variform.config.toml import to_dict
from variform.config.words import counted
from variform.data.dataset import Splits
from variform.evaluation import exploration
from variform.evaluation.baselines import better_pca
from variform.evaluation.differences import differences
from variform.evaluation.illnesses.latents import SOME_ROWS, distrusted
from variform.evaluation.metrics import METRICS
from variform.evaluation.standard_error import HIGH_K, pooled
from variform.evaluation.tables import PCAS, has_two_metrics, show
from variform.evaluation.verdict import placed
from variform.pages.curves import plot_latent_dim_study
from variform.pages.report import Picture, Table, render
from variform.pages.vector import picture_of
from variform.runs.folder import Run, open_run, require_same_data
from variform.runs.grounds import MEASURES
from variform.runs.plan import begun, prepare
from variform.runs.records import read_config, read_evaluation
from variform.runs.scores import assess, scored_rows
from variform.runs.train import resume_run, train_run
from variform.system import locks, processes
from variform.system.files import sweep, write_json, write_text
from variform.system.notebook import html_table
from variform.system.signals import Stopped


@dataclass(frozen=True, repr=False)
class Study:
    """What a latent-dimension study found.

    Args:
        rows: One dict per latent dimension: latent_dim, elbo, nll, kl, reconstruction_error,
            pca_reconstruction_error, active_units, valid_nll; for Gaussian likelihoods pca_nll; and, where the
            importance samples are enough to tell, the shares of rows with a high Pareto k, high_pareto_k and
            valid_high_pareto_k; each estimate is {"mean", "se", "n", "seeds"}; and valid_nll_minus_lowest, paired, as
            `recommend` gives it (None for a dimension whose fits broke).
        recommended: The recommended latent dimension.
        reason: Why, in a sentence.
        warnings: What the evaluations of the fits say first, with the fit's name.
    """

    rows: list[dict[str, Any]]
    recommended: int
    reason: str
    warnings: tuple[str, ...] = ()

    def __repr__(self) -> str:
        dims = ", ".join(str(row["latent_dim"]) for row in self.rows)
        return f"Study(latent_dim {dims}; recommended {self.recommended}: {self.reason})"

    def _repr_html_(self) -> str:
        """The table, as a notebook shows it."""
        header, rows = self.table()
        note = f"Recommended: {self.recommended}; {self.reason}."
        return html_table(header, rows, title="Latent dimensions", note=note)

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Header and rows of text."""
        columns = {
            "elbo": METRICS["elbo"].column(),
            "nll": METRICS["nll"].column(),
            "high_pareto_k": METRICS["high_pareto_k"].column(),
            "pca_nll": "PCA's NLL",
            "reconstruction_error": METRICS["reconstruction_error"].brief,
            "pca_reconstruction_error": "PCA's error",
            "active_units": "active units",
            "valid_nll_minus_lowest": "validation NLL minus the lowest",
        }
        if any(
            row.get("pca_reconstruction_error", {}).get("metric") == "FAMD" for row in self.rows
        ):
            columns["pca_reconstruction_error"] = "FAMD's error"
        keys = [key for key in columns if any(key in row for row in self.rows)]
        rows = [
            [str(row["latent_dim"]), *(show(row.get(key)) for key in keys)] for row in self.rows
        ]
        return ["latents", *(columns[key] for key in keys)], rows


@checked
def latent_dimension(
    config: RunConfig,
    dims: tuple[Count, ...],
    folder: Path,
    *,
    seeds: Count = 1,
    overwrite: bool = False,
    progress: bool = False,
) -> Study:
    """Train the same model with different latent dimensions and compare them on held-out data.

    Each fit is a run in a folder of its own, `dim-D-seed-S`. A fit that is there already is kept, one that was
    interrupted goes on, so that the same call finishes an interrupted study.

    Args:
        config: What all fits share.
        dims: Latent dimensions.
        folder: Where the study goes.
        seeds: Fits per dimension, with seeds that follow `config.train.seed`.
        overwrite: Start anew in a folder that holds another study.
        progress: Show progress on standard error.

    Raises:
        HeldError: when another process writes into the folder.
        ValueError: for no dimensions, other data than before, or a folder that holds another study.
        Stopped: after Ctrl-C or another signal; what is finished is kept.
    """
    if not dims or min(dims) < 1 or seeds < 1:
        raise ValueError(
            f"a study needs latent dimensions and seeds of at least 1; got {dims}, {seeds}. Try 2,5,10."
        )
    require_effect(config.model)
    with processes.for_all(
        locks.claimed(folder, overwrite=overwrite or (folder / "study.toml").is_file())
    ):
        return _study(config, tuple(sorted(set(dims))), folder, seeds, overwrite, progress)


def _study(
    config: RunConfig, dims: tuple[int, ...], folder: Path, seeds: int, overwrite: bool, progress: bool
) -> Study:  # fmt: skip
    config = require_same_study(config, folder, overwrite)
    plan = prepare(config)
    splits = plan.splits
    sweep(folder / name for name in ("study.toml", "study.json", "study.png", "report.html"))
    write_text(folder / "study.toml", tomli_w.dumps(to_dict(config)))
    config = plan.config

    def run(dim: int, seed: int) -> Run:
        own_folder = folder / f"dim-{dim}-seed-{seed}"
        return _fit(_variant(config, dim, seed), own_folder, splits, overwrite, progress)

    first = config.train.seed
    try:
        fits = {dim: [run(dim, seed) for seed in range(first, first + seeds)] for dim in dims}
    except KeyboardInterrupt as error:
        message = "the study stopped and was saved; give the same command to go on with it"
        raise Stopped.by(error, message) from error
    rows = [_row(dim, runs) for dim, runs in fits.items()]
    recommended, reason, differences_by_dim = recommend(
        {dim: _validation_nll(runs) for dim, runs in fits.items()}
    )
    for row in rows:
        row["valid_nll_minus_lowest"] = differences_by_dim.get(row["latent_dim"])
    warnings = [
        *_pca_wins(fits, recommended),
        *_rests_on_weights(fits),
        *itertools.chain(*(_warnings(run) for run in _all(fits))),
    ]
    study = Study(rows, recommended, reason, tuple(warnings))
    values: dict[str, Any] = {"source": config.source, "seeds": seeds, "rows": rows}
    values |= {"recommended": recommended, "reason": reason, "warnings": list(study.warnings)}
    write_json(folder / "study.json", values)
    picture = _draw(study, {dim: runs[0] for dim, runs in fits.items()}, splits, folder)
    _write_report(study, config, splits, picture, folder, seeds)
    return study


def _all(fits: Mapping[int, list[Run]]) -> list[Run]:
    return [run for runs in fits.values() for run in runs]


def _pca_wins(fits: Mapping[int, list[Run]], recommended: int) -> list[str]:
    """A sentence where PCA of some dimension has a better NLL on the test rows than the dimension that is recommended.

    The best of all PCAs is chosen by the same rows: the comparison with the best allows for that.
    """
    if fits[recommended][0].config.train.is_point:
        return []
    vae = torch.stack([scored_rows(run)[1]["nll"] for run in fits[recommended]])
    pcas = {}
    for dim, runs in fits.items():
        _, rows = scored_rows(runs[0])
        pcas |= {(dim, name): rows[f"{name}.nll"] for name in PCAS if f"{name}.nll" in rows}
    if not pcas or vae.shape[1] < 2 or not vae.isfinite().all():
        return []
    compared = differences([vae, *pcas.values()])
    if compared.among_best()[0]:
        return []
    best = 1 + int(np.argmax(compared.mean[0, 1:]))
    dim, name = list(pcas)[best - 1]
    gap = show({"mean": compared.mean[0, best], "se": compared.se[0, best]})
    metrics = {metric for _, metric in pcas}
    called = PCAS[name] if len(metrics) > 1 else "PCA"
    return [
        f"{called} with {dim} components has a better NLL than the {recommended} latents that are recommended, by "
        f"{gap} nats over the same {vae.shape[1]:,} test rows. Take PCA, or mend the VAE as the sentences on its fits "
        "say."
    ]


def _rests_on_weights(fits: Mapping[int, list[Run]]) -> list[str]:
    """A sentence where the validation NLLs that the recommendation compares are too high by unknown amounts."""
    if next(iter(fits.values()))[0].config.train.is_point:
        return []
    shares = {dim: _distrusted(runs) for dim, runs in fits.items()}
    high = {dim: share for dim, share in shares.items() if share > SOME_ROWS}
    if not high:
        return []
    where = ", ".join(f"{share:.0%} of the rows with {dim} latents" for dim, share in high.items())
    folders = " ".join(shlex.quote(run.folder.as_posix()) for run in _all(fits))
    return [
        f"The recommendation rests on NLLs that are too high for {where} (Pareto k above {HIGH_K}), by unknown amounts "
        "that may differ between the dimensions. What the decoders can do says, on the test rows: "
        f"variform compare {folders} --refine 50."
    ]


def _distrusted(runs: list[Run]) -> float:
    """The share of validation rows whose NLL cannot be trusted, over all fits."""
    shares = [distrusted(_read(run.folder / "validation.json")) for run in runs]
    return float(np.mean(shares))


def _warnings(run: Run) -> list[str]:
    sentences = placed(run.evaluation.get("warnings", ()), run.folder)
    return [f"{run.folder.name}: {sentence}" for sentence in sentences]


def recommend(scores: Mapping[int, Tensor]) -> tuple[int, str, dict[int, dict[str, Any]]]:
    """The smallest latent dimension that may be the best: one whose validation NLL is not clearly above any other's.

    Differences are paired over the rows, and with several fits of a dimension their errors are over the fits too. The
    comparison is that with the best after Hsu: where all dimensions are alike the smallest is refused with a
    probability of at most 5 %, however many there are. Test data play no part, and neither do dimensions whose fits
    broke.

    Args:
        scores: For each latent dimension the NLL of every validation row by each of its fits, (seeds, rows).

    Returns:
        The dimension; why, in a sentence; and for each dimension the difference of its NLL from the lowest, with its
        paired standard error, and whether it may be the best.

    Raises:
        ValueError: when every fit broke.

    Reference:
        Hsu (1981).

    Example:
        >>> hard = torch.linspace(0, 50, 100)  # nats that a row costs with any model
        >>> noise = torch.tensor([0.3, -0.3]).repeat(50)
        >>> nll = {2: hard + 10, 5: hard + noise, 10: hard - 0.01}
        >>> dim, reason, differences = recommend({dim: rows[None] for dim, rows in nll.items()})
        >>> dim, {dim: difference["may_be_best"] for dim, difference in differences.items()}
        (5, {2: False, 5: True, 10: True})
    """
    whole = {dim: nll.double() for dim, nll in sorted(scores.items()) if nll.isfinite().all()}
    if not whole:
        raise ValueError(
            "a study needs a finite validation NLL; every fit has none. Use a smaller `learning_rate`."
        )
    means = {dim: nll.mean().item() for dim, nll in whole.items()}
    lowest = min(means, key=means.__getitem__)
    from_lowest = _from_lowest(whole, means, lowest)
    smallest = next(dim for dim, difference in from_lowest.items() if difference["may_be_best"])
    seeds, rows = whole[lowest].shape
    if smallest == lowest:
        reasons = [f"its validation NLL, {means[lowest]:.5g} nats, is the lowest of those tried"]
    else:
        reasons = [
            f"the smallest whose validation NLL is not clearly above any other's: {show(from_lowest[smallest])} nats "
            f"above the lowest, that of {lowest}, paired over the same {rows:,} rows"
        ]
    if smallest > min(means):
        reasons.append(
            "that of every smaller one is clearly above, corrected for the choice among all"
        )
    if smallest == max(means) and len(means) > 1:
        reasons.append("it is the largest tried, so a larger one may be better still")
    if seeds == 1 and len(means) > 1:
        reasons.append("this is of single fits, and `seeds=3` says it of the dimensions")
    return smallest, "; ".join(reasons), from_lowest


def _from_lowest(
    fits: Mapping[int, Tensor], means: Mapping[int, float], lowest: int
) -> dict[int, dict[str, Any]]:
    """Of each dimension the difference of its NLL from the lowest, its error, and whether it may be the best."""
    dims = list(fits)
    rows = fits[lowest].shape[1]
    may_be_best: list[bool] = [dim == lowest for dim in dims]
    errors: list[float | None] = [None] * len(dims)
    if rows > 1:
        compared = differences(list(fits.values()))
        may_be_best = compared.among_best().tolist()
        errors = compared.se[:, dims.index(lowest)].tolist()
    return {
        dim: {"mean": means[dim] - means[lowest], "se": error, "n": rows, "may_be_best": may_be}
        for dim, error, may_be in zip(dims, errors, may_be_best, strict=True)
    }


def require_same_study(config: RunConfig, folder: Path, overwrite: bool) -> RunConfig:
    """Refuse a folder that holds another study; gives the configuration as `begun` does."""
    path, config = folder / "study.toml", begun(config)
    if path.is_file() and not overwrite and not _same_fits(read_config(path), config):
        raise ValueError(
            f"{folder} must hold the same study or nothing; its study.toml differs from these options. "
            "Choose another `folder`, or start anew there with `overwrite=True`."
        )
    return config


def _same_fits(config: RunConfig, other: RunConfig) -> bool:
    """Whether two configurations differ in nothing but how the fits are evaluated."""
    return replace(config, evaluation=other.evaluation) == other


def _variant(config: RunConfig, dim: int, seed: int) -> RunConfig:
    return replace(
        config, model=replace(config.model, latent_dim=dim), train=replace(config.train, seed=seed)
    )


def _fit(config: RunConfig, folder: Path, splits: Splits, overwrite: bool, progress: bool) -> Run:
    """The finished run of one variant: found, resumed or trained."""
    options: dict[str, Any] = {"progress": progress, "pictures": False}
    path = folder / "validation.json"
    if not belongs(config, folder, splits, overwrite):
        run = train_run(config, folder, overwrite=True, **options)
    elif path.is_file() and _read(path)["nll"]["samples"] == config.evaluation.nll_samples:
        return open_run(folder)
    else:
        run = resume_run(folder, evaluation=config.evaluation, **options)
    write_json(path, assess(run, splits, split="valid", progress=progress, keep=True))
    return run


def belongs(config: RunConfig, folder: Path, splits: Splits, overwrite: bool) -> bool:
    """Whether the run in `folder` is of this configuration and data; other data are refused or may be overwritten."""
    if not (folder / "config.toml").is_file() or not _same_fits(
        read_config(folder / "config.toml"), config
    ):
        return False
    try:
        require_same_data(folder, splits)
    except ValueError:
        if overwrite:
            return False
        raise
    return True


def _validation_nll(runs: list[Run]) -> Tensor:
    """Of every validation row by each fit, (fits, rows)."""
    samples = [_read(run.folder / "validation.json")["nll"]["samples"] for run in runs]
    scored = [
        scored_rows(run, split="valid", samples=count)
        for run, count in zip(runs, samples, strict=True)
    ]
    return torch.stack([rows["nll"] for _, rows in scored])


def _read(path: Path) -> dict[str, Any]:
    return read_evaluation(path)


def _row(dim: int, runs: list[Run]) -> dict[str, Any]:
    """One line of the table: means over the seeds."""
    numbers = [run.evaluation for run in runs]
    valid = [_read(run.folder / "validation.json") for run in runs]
    row: dict[str, Any] = {"latent_dim": dim}
    row |= {name: pooled([item[name] for item in numbers]) for name in MEASURES}
    baselines = [item["baselines"] for item in numbers]
    for name in ("reconstruction_error", "nll"):
        if better := better_pca(baselines[0], name):
            row[f"pca_{name}"] = _pooled_pca(baselines, better, name)
    active = [item["active_units"]["count"] for item in numbers]
    row["active_units"] = pooled([{"mean": count, "se": 0.0, "n": 1} for count in active])
    row["valid_nll"] = pooled([item["nll"] for item in valid])
    for name, evaluations in (("high_pareto_k", numbers), ("valid_high_pareto_k", valid)):
        shares = [item["high_pareto_k"] for item in evaluations if "high_pareto_k" in item]
        if len(shares) == len(runs):  # not in older runs, nor with few importance samples
            row[name] = pooled(shares)
    return row


def _pooled_pca(baselines: list[dict[str, Any]], pca: str, measure: str) -> dict[str, Any]:
    """The numbers of a PCA over the seeds; which one it is, where there is more than one."""
    estimate = pooled([item[pca][measure] for item in baselines])
    if pca == "famd":
        return {**estimate, "metric": "FAMD"}
    if has_two_metrics(baselines[0]):
        return {**estimate, "metric": PCAS[pca]}
    return estimate


def _draw(study: Study, runs: dict[int, Run], splits: Splits, folder: Path) -> Picture:
    schema = splits.schema
    chosen = exploration.spread(12, len(splits.test))
    few = splits.test.take(chosen)
    look: dict[str, Any] = {"columns": schema.titles}
    if schema.kind == "image":
        look["value_range"] = schema.grey_range
    pairs = {dim: exploration.reconstruct(run.vae, few) for dim, run in runs.items()}
    originals = next(iter(pairs.values()))[0]
    reconstructions = {dim: pair[1] for dim, pair in pairs.items()}
    figure = plot_latent_dim_study(study.rows, originals, reconstructions, **look)
    path = folder / "study.png"
    caption = "The same test rows at each dimension, and what it costs and gains."
    return picture_of(figure, "Latent dimension", path, caption)


def _write_report(
    study: Study, config: RunConfig, splits: Splits, picture: Picture, folder: Path, seeds: int
) -> None:
    dims = ",".join(str(row["latent_dim"]) for row in study.rows)
    config_file = shlex.quote(str(folder / "study.toml"))
    header, rows = study.table()
    note = f"Mean ± standard error over {len(splits.test):,} test rows and {seeds} seed{'s' if seeds > 1 else ''}."
    html = render(
        title=f"variform: which latent dimension for {splits.schema.source}?",
        summary=f"Recommended: {counted(study.recommended, 'latent dimension')}; {study.reason}.",
        facts=[
            ("Data", splits.schema.source),
            ("Likelihood", config.model.likelihood),
            ("Dimensions", dims),
        ],
        tables=[Table("Held-out numbers", header, rows, note)],
        pictures=[picture],
        command=f"variform study latent-dim --config {config_file} --dims {dims} --seeds {seeds} --out NEW",
        warnings=study.warnings,
        notes=list(splits.notes),
        config=tomli_w.dumps(to_dict(config)),
    )
    write_text(folder / "report.html", html)
