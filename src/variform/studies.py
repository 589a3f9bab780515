"""Studies: many fits, one table."""

import itertools
import json
import math
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from variform import exploration, plots
from variform.config import RunConfig, require_effect, to_dict
from variform.data import Splits
from variform.evaluation.baselines import PCAS, better_pca, has_two_metrics
from variform.files import replacing, sweep, write_json, write_text
from variform.report import Picture, Table, render
from variform.runs import (
    Run,
    assess,
    completed,
    for_all,
    new_run,
    open_run,
    prepare,
    read_config,
    require_same_data,
    resume,
    settled,
    show,
    train,
)
from variform.stopping import Stopped

METRICS = ("elbo", "nll", "kl", "reconstruction_error")


@dataclass(frozen=True, repr=False)
class Study:
    """What a latent-dimension study found.

    Args:
        rows: One dict per latent dimension: latent_dim, elbo, nll, kl, reconstruction_error,
            pca_reconstruction_error, active_units, valid_nll and, for Gaussian likelihoods, pca_nll; each estimate is
            {"mean", "se", "n", "seeds"}.
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

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Header and rows of text."""
        columns = {
            "elbo": "ELBO (nats)",
            "nll": "NLL (nats)",
            "pca_nll": "PCA's NLL",
            "reconstruction_error": "error, RMS",
            "pca_reconstruction_error": "PCA's error",
            "active_units": "active units",
        }
        keys = [key for key in columns if any(key in row for row in self.rows)]
        rows = [[str(row["latent_dim"]), *(show(row.get(key)) for key in keys)] for row in self.rows]
        return ["latents", *(columns[key] for key in keys)], rows


def latent_dimension(
    config: RunConfig,
    dims: tuple[int, ...],
    folder: Path,
    *,
    seeds: int = 1,
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
        raise ValueError(f"a study needs latent dimensions and seeds of at least 1; got {dims}, {seeds}. Try 2,5,10.")
    require_effect(config.model)
    with for_all(new_run(folder, overwrite=overwrite or (folder / "study.toml").is_file())):
        return _study(config, tuple(sorted(set(dims))), folder, seeds, overwrite, progress)


def _study(
    config: RunConfig, dims: tuple[int, ...], folder: Path, seeds: int, overwrite: bool, progress: bool
) -> Study:  # fmt: skip
    config = _require_same_study(config, folder, overwrite)
    splits, _ = prepare(config)
    sweep(folder / name for name in ("study.toml", "study.json", "study.png", "report.html"))
    write_text(folder / "study.toml", tomli_w.dumps(to_dict(config)))
    config = completed(config, splits)

    def run(dim: int, seed: int) -> Run:
        place = folder / f"dim-{dim}-seed-{seed}"
        return _fit(_variant(config, dim, seed), place, splits, overwrite, progress)

    first = config.train.seed
    try:
        fits = {dim: [run(dim, seed) for seed in range(first, first + seeds)] for dim in dims}
    except KeyboardInterrupt as error:
        message = "the study stopped and was saved; give the same command to go on with it"
        raise Stopped.by(error, message) from error
    rows = [_row(dim, runs) for dim, runs in fits.items()]
    recommended, reason = recommend(rows)
    warnings = tuple(_warnings(run) for runs in fits.values() for run in runs)
    study = Study(rows, recommended, reason, tuple(itertools.chain(*warnings)))
    values: dict[str, Any] = {"source": config.source, "seeds": seeds, "rows": rows}
    values |= {"recommended": recommended, "reason": reason, "warnings": list(study.warnings)}
    write_json(folder / "study.json", values)
    picture = _draw(study, {dim: runs[0] for dim, runs in fits.items()}, splits, folder)
    _write_report(study, config, splits, picture, folder, seeds)
    return study


def _warnings(run: Run) -> list[str]:
    return [f"{run.folder.name}: {sentence}" for sentence in run.evaluation.get("warnings", ())]


def recommend(rows: list[dict[str, Any]]) -> tuple[int, str]:
    """The smallest latent dimension whose validation NLL is within two standard errors of the best one's.

    The standard error is that of the best dimension, over rows and seeds. Test data play no part, and neither do
    dimensions whose fits broke.

    Raises:
        ValueError: when every fit broke.

    Example:
        >>> estimates = [(2, 110.0), (5, 100.2), (10, 100.0), (20, 100.1)]
        >>> recommend([{"latent_dim": dim, "valid_nll": {"mean": nll, "se": 0.2}} for dim, nll in estimates])[0]
        5
    """
    rows = [row for row in rows if math.isfinite(row["valid_nll"]["mean"])]
    if not rows:
        raise ValueError("a study needs a finite validation NLL; every fit has none. Use a smaller --learning-rate.")
    best = min(rows, key=lambda row: row["valid_nll"]["mean"])
    for row in rows:
        if row["valid_nll"]["mean"] <= best["valid_nll"]["mean"] + 2 * (best["valid_nll"]["se"] or 0.0):
            break
    reason = f"validation NLL {show(row['valid_nll'])} nats is the best of those tried"
    if row is not best:
        reason = (
            f"the smallest whose validation NLL, {show(row['valid_nll'])} nats, is within two standard errors of the "
            f"best, {show(best['valid_nll'])} at {best['latent_dim']}"
        )
    if row is rows[-1] and len(rows) > 1:
        reason += "; it is the largest tried, so a larger one may be better still"
    return row["latent_dim"], reason


def _require_same_study(config: RunConfig, folder: Path, overwrite: bool) -> RunConfig:
    """Refuse a folder that holds another study; gives the configuration as `settled` does."""
    path, config = folder / "study.toml", settled(config)
    if path.is_file() and not overwrite and not _same_fits(read_config(path), config):
        raise ValueError(
            f"{folder} must hold the same study or nothing; its study.toml differs from these options. "
            "Choose another --out, or start anew there with --overwrite."
        )
    return config


def _same_fits(config: RunConfig, other: RunConfig) -> bool:
    """Whether two configurations differ in nothing but how the fits are evaluated."""
    return replace(config, evaluation=other.evaluation) == other


def _variant(config: RunConfig, dim: int, seed: int) -> RunConfig:
    return replace(config, model=replace(config.model, latent_dim=dim), train=replace(config.train, seed=seed))


def _fit(config: RunConfig, folder: Path, splits: Splits, overwrite: bool, progress: bool) -> Run:
    """The finished run of one variant: found, resumed or trained."""
    options: dict[str, Any] = {"progress": progress, "pictures": False}
    path = folder / "validation.json"
    if not _belongs(config, folder, splits, overwrite):
        run = train(config, folder, overwrite=True, **options)
    elif path.is_file() and _read(path)["nll"]["samples"] == config.evaluation.nll_samples:
        return open_run(folder)
    else:
        run = resume(folder, evaluation=config.evaluation, **options)
    write_json(path, assess(run, splits, split="valid", progress=progress))
    return run


def _belongs(config: RunConfig, folder: Path, splits: Splits, overwrite: bool) -> bool:
    """Whether the run in `folder` is of this configuration and data; other data are refused or may be overwritten."""
    if not (folder / "config.toml").is_file() or not _same_fits(read_config(folder / "config.toml"), config):
        return False
    try:
        require_same_data(folder, splits)
    except ValueError:
        if overwrite:
            return False
        raise
    return True


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def _row(dim: int, runs: list[Run]) -> dict[str, Any]:
    """One line of the table: means over the seeds."""
    numbers = [run.evaluation for run in runs]
    valid = [_read(run.folder / "validation.json") for run in runs]
    row: dict[str, Any] = {"latent_dim": dim}
    row |= {name: pooled([item[name] for item in numbers]) for name in METRICS}
    baselines = numbers[0]["baselines"]
    for name in ("reconstruction_error", "nll"):
        if better := better_pca(baselines, name):
            row[f"pca_{name}"] = pooled([item["baselines"][better][name] for item in numbers])
            if has_two_metrics(baselines):
                row[f"pca_{name}"]["metric"] = PCAS[better]
    row["active_units"] = pooled([{"mean": item["active_units"]["count"], "se": 0.0, "n": 1} for item in numbers])
    row["valid_nll"] = pooled([item["nll"] for item in valid])
    return row


def pooled(estimates: list[dict[str, Any]]) -> dict[str, Any]:
    """The mean over seeds; its variance is that over the (shared) test rows plus that of the mean over seeds."""
    means = np.array([item["mean"] for item in estimates], dtype=float)
    rows = np.mean([(item["se"] or 0.0) ** 2 for item in estimates])
    seeds = means.var(ddof=1) / len(means) if len(means) > 1 else 0.0
    return {"mean": means.mean(), "se": math.sqrt(rows + seeds), "n": estimates[0]["n"], "seeds": len(means)}


def _draw(study: Study, runs: dict[int, Run], splits: Splits, folder: Path) -> Picture:
    schema = splits.schema
    chosen = exploration.spread(12, len(splits.test))
    few = splits.test.take(chosen)
    look: dict[str, Any] = {"columns": schema.columns}
    if schema.kind == "image":
        look["value_range"] = schema.grey_range
    pairs = {dim: exploration.reconstruct(run.vae, few) for dim, run in runs.items()}
    originals = next(iter(pairs.values()))[0]
    reconstructions = {dim: pair[1] for dim, pair in pairs.items()}
    figure = plots.plot_latent_dim_study(study.rows, originals, reconstructions, **look)
    path = folder / "study.png"
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110)
    return Picture("Latent dimension", path, "The same test rows at each dimension, and what it costs and gains.")


def _write_report(study: Study, config: RunConfig, splits: Splits, picture: Picture, folder: Path, seeds: int) -> None:
    dims = ",".join(str(row["latent_dim"]) for row in study.rows)
    place = shlex.quote(str(folder / "study.toml"))
    header, rows = study.table()
    note = f"Mean ± standard error over {len(splits.test):,} test rows and {seeds} seed{'s' if seeds > 1 else ''}."
    html = render(
        title=f"variform: which latent dimension for {splits.schema.source}?",
        summary=f"Recommended: {study.recommended} latent dimensions; {study.reason}.",
        facts=[("Data", splits.schema.source), ("Likelihood", config.model.likelihood), ("Dimensions", dims)],
        tables=[Table("Held-out numbers", header, rows, note)],
        pictures=[picture],
        command=f"variform study latent-dim --config {place} --dims {dims} --seeds {seeds} --out NEW",
        warnings=study.warnings,
        notes=list(splits.notes),
        config=tomli_w.dumps(to_dict(config)),
    )
    write_text(folder / "report.html", html)
