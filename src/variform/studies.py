"""Studies: many fits, one table."""

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
import torch

from variform import exploration, plots
from variform.config import RunConfig, to_dict
from variform.data import Dataset, Splits, read
from variform.files import replacing, write_text
from variform.report import Picture, Table, render
from variform.runs import Run, assess, open_run, read_config, resume, show, train

METRICS = ("elbo", "nll", "kl", "reconstruction_error")


@dataclass(frozen=True)
class Study:
    """What a latent-dimension study found.

    Args:
        rows: One dict per latent dimension: latent_dim, elbo, nll, kl, reconstruction_error,
            pca_reconstruction_error, active_units and valid_nll, each {"mean", "se", "n"}.
        recommended: The recommended latent dimension.
        reason: Why, in a sentence.
    """

    rows: list[dict[str, Any]]
    recommended: int
    reason: str

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Header and rows of text."""
        header = ["latents", "ELBO (nats)", "NLL (nats)", "error, RMS", "PCA's error, RMS", "active units"]
        keys = ("elbo", "nll", "reconstruction_error", "pca_reconstruction_error", "active_units")
        return header, [[str(row["latent_dim"]), *(show(row[key]) for key in keys)] for row in self.rows]


def latent_dimension(
    config: RunConfig,
    dims: tuple[int, ...],
    folder: Path,
    *,
    seeds: int = 1,
    nll_samples: int = 1000,
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
        nll_samples: Importance samples per example.
        overwrite: Start anew in a folder that holds another study.
        progress: Show progress on standard error.

    Raises:
        ValueError: for no dimensions, or a folder that holds another study.
    """
    if not dims or min(dims) < 1 or seeds < 1:
        raise ValueError(f"a study needs latent dimensions and seeds of at least 1; got {dims}, {seeds}. Try 2,5,10.")
    dims = tuple(sorted(set(dims)))
    config = _begin(config, folder, overwrite)
    splits = read(config.source, config.data)
    fits = {
        dim: [
            _fit(_variant(config, dim, seed), folder / f"dim-{dim}-seed-{seed}", splits, nll_samples, progress)
            for seed in range(config.train.seed, config.train.seed + seeds)
        ]
        for dim in dims
    }
    rows = [_row(dim, runs) for dim, runs in fits.items()]
    recommended, reason = recommend(rows)
    study = Study(rows, recommended, reason)
    values = {"source": config.source, "seeds": seeds, "rows": rows, "recommended": recommended, "reason": reason}
    write_text(folder / "study.json", json.dumps(values, indent=2))
    picture = _draw(study, {dim: runs[0] for dim, runs in fits.items()}, splits, folder)
    _write_report(study, config, splits, picture, folder, seeds)
    return study


def recommend(rows: list[dict[str, Any]]) -> tuple[int, str]:
    """The smallest latent dimension whose validation NLL is within two standard errors of the best one's.

    The error of the difference is taken as if the two estimates were independent, which overstates it and so favours
    the smaller dimension. Test data play no part.

    Example:
        >>> estimates = [(2, 110.0), (5, 100.2), (10, 100.0), (20, 100.1)]
        >>> recommend([{"latent_dim": dim, "valid_nll": {"mean": nll, "se": 0.2}} for dim, nll in estimates])[0]
        5
    """
    best = min(rows, key=lambda row: row["valid_nll"]["mean"])
    for row in rows:
        allowed = 2 * math.hypot(row["valid_nll"]["se"] or 0.0, best["valid_nll"]["se"] or 0.0)
        if row["valid_nll"]["mean"] <= best["valid_nll"]["mean"] + allowed:
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


def _begin(config: RunConfig, folder: Path, overwrite: bool) -> RunConfig:
    """Make the folder, or check that the one there is of the same study."""
    path = folder / "config.toml"
    if Path(config.source).exists():
        config = replace(config, source=str(Path(config.source).resolve()))
    if path.is_file() and not overwrite and read_config(path) != config:
        raise ValueError(
            f"{folder} must hold the same study or nothing; its config.toml differs from these options. "
            "Choose another --out, or start anew there with --overwrite."
        )
    if folder.exists() and not path.is_file() and not overwrite and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"the folder of a new study must be new or empty; {folder} is not. Choose another --out.")
    folder.mkdir(parents=True, exist_ok=True)
    write_text(path, tomli_w.dumps(to_dict(config)))
    return config


def _variant(config: RunConfig, dim: int, seed: int) -> RunConfig:
    return replace(config, model=replace(config.model, latent_dim=dim), train=replace(config.train, seed=seed))


def _fit(config: RunConfig, folder: Path, splits: Splits, nll_samples: int, progress: bool) -> Run:
    """The finished run of one variant: found, resumed or trained."""
    options: dict[str, Any] = {"nll_samples": nll_samples, "progress": progress, "pictures": False}
    known = (folder / "config.toml").is_file() and read_config(folder / "config.toml") == config
    if known and (folder / "validation.json").is_file():
        return open_run(folder)
    run = resume(folder, **options) if known else train(config, folder, overwrite=True, **options)
    numbers = assess(run, splits, split="valid", samples=nll_samples, progress=progress)
    write_text(folder / "validation.json", json.dumps(numbers, indent=2))
    return run


def _row(dim: int, runs: list[Run]) -> dict[str, Any]:
    """One line of the table: means over the seeds."""
    numbers = [run.evaluation for run in runs]
    valid = [json.loads((run.folder / "validation.json").read_text(encoding="utf-8")) for run in runs]
    row: dict[str, Any] = {"latent_dim": dim}
    row |= {name: _pooled([item[name] for item in numbers]) for name in METRICS}
    row["pca_reconstruction_error"] = _pooled([item["baselines"]["pca"]["reconstruction_error"] for item in numbers])
    row["active_units"] = _pooled([{"mean": item["active_units"]["count"], "se": 0.0, "n": 1} for item in numbers])
    row["valid_nll"] = _pooled([item["nll"] for item in valid])
    return row


def _pooled(estimates: list[dict[str, Any]]) -> dict[str, Any]:
    """The mean over seeds; its variance is that over the (shared) test rows plus that of the mean over seeds."""
    means = np.array([item["mean"] for item in estimates], dtype=float)
    rows = np.mean([(item["se"] or 0.0) ** 2 for item in estimates])
    seeds = means.var(ddof=1) / len(means) if len(means) > 1 else 0.0
    return {"mean": means.mean(), "se": math.sqrt(rows + seeds), "n": estimates[0]["n"], "seeds": len(means)}


def _draw(study: Study, runs: dict[int, Run], splits: Splits, folder: Path) -> Picture:
    schema = splits.schema
    chosen = exploration.spread(12, len(splits.test))
    few = Dataset(splits.test.raw[chosen], schema)
    look: dict[str, Any] = {"columns": schema.columns}
    if schema.kind == "image":
        look["value_range"] = tuple(schema.restore(torch.tensor([schema.bounds]).T).flatten().tolist())
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
    header, rows = study.table()
    note = f"Mean ± standard error over {len(splits.test):,} test rows and {seeds} seed{'s' if seeds > 1 else ''}."
    html = render(
        title=f"variform: which latent dimension for {splits.schema.source}?",
        summary=f"Recommended: {study.recommended} latent dimensions; {study.reason}.",
        facts=[("Data", splits.schema.source), ("Likelihood", config.model.likelihood), ("Dimensions", dims)],
        tables=[Table("Held-out numbers", header, rows, note)],
        pictures=[picture],
        command=f"variform study latent-dim --config {folder / 'config.toml'} --dims {dims} --seeds {seeds} --out NEW",
        notes=list(splits.notes),
        config=tomli_w.dumps(to_dict(config)),
    )
    write_text(folder / "report.html", html)
