"""The numbers of a run, and the numbers of each row that they are means of."""

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypedDict

import torch
from torch import Tensor

from variform.config.checks import Count, checked, recorded
from variform.config.in_depth import InDepth
from variform.data.dataset import Dataset, Splits
from variform.evaluation.baselines import evaluate_baselines
from variform.evaluation.illnesses.signs import signs
from variform.evaluation.log_likelihood import Scores, score
from variform.evaluation.pareto import FEWEST_SAMPLES
from variform.evaluation.probes import linear_fits
from variform.evaluation.sections import Scene, measured, require_measurable
from variform.evaluation.summary import summary
from variform.evaluation.tables import PCAS
from variform.export.sampler_file import identity
from variform.model.vae import VAE
from variform.runs.folder import Run, chosen_before, describe, privacy_of
from variform.runs.records import history
from variform.system.sealing import read_sealed, write_sealed
from variform.version import __version__


@checked
def assess(
    run: Run, splits: Splits, *, split: Literal["test", "valid", "train"] = "test", samples: Count | None = None,
    refine: int | None = None, in_depth: InDepth | None = None, seed: int = 0, progress: bool = False,
    keep: bool = False, thorough: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """`evaluate` on a split of the run's data, with what a reader needs to repeat it.

    `samples` and `refine` are as for `evaluate`, and by default those of the run's own configuration, as is `in_depth`,
    which asks for sections: each stands in the numbers by its name. With `keep` the scores of the rows are
    written into the run's folder. With `thorough` illnesses are looked for on more rows.
    """
    samples = run.config.evaluation.nll_samples if samples is None else samples
    refine = run.config.evaluation.refine if refine is None else refine
    in_depth = run.config.evaluation if in_depth is None else in_depth
    rows: Dataset = getattr(splits, split)
    require_measurable(in_depth, rows, splits)
    scores = score(run.vae, rows, samples=samples, seed=seed, progress=progress)
    baselines = evaluate_baselines(run.vae, rows, splits.train, scores, seed=seed)
    refined = None
    if refine:
        refined = score(run.vae, rows, samples=samples, refine=refine, seed=seed, progress=progress)
    if keep:
        scores_by_row = row_scores(run.vae, rows, scores, split, samples, seed, baselines)
        write_sealed(run.folder / _SCORES[split], *scores_by_row)
    there = (run.folder / "history.jsonl").is_file()
    facts: dict[str, Any] = {
        "trained": run.config.train,
        "history": history(run.folder) if there else [],
    }
    facts |= {"refined": refined, "refine": refine}
    facts["signs"] = signs(run.vae, rows, splits.train, scores, thorough=thorough, seed=seed)
    numbers = summary(run.vae, rows, scores, baselines, samples=samples, seed=seed, **facts)
    numbers["worst"] = _worst(rows, scores)
    if fits := linear_fits(run.vae, rows, splits.train, seed=seed):
        numbers["responses"] = fits
    numbers |= measured(
        Scene(run.vae, rows, splits, scores, samples, in_depth, seed=seed, progress=progress)
    )
    if private := privacy_of(run.folder):
        numbers["differential_privacy"] = private
        numbers["notes"].append(private["note"])
    if few := _few_rows(splits, split):
        numbers["notes"].append(few)
    if run.config.train.is_point:
        numbers["notes"].append(
            "The training took the mean of q(z|x) for z and left its spread alone: ELBO and NLL are those of a spread "
            "that nobody chose. Compare reconstruction errors, and no densities."
        )
    versions = {
        "variform": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    return numbers | {
        "split": split,
        "rows": len(rows),
        "seed": seed,
        "data": describe(splits),
        "chosen": chosen_before(run.folder),
        "versions": versions,
    }


def _few_rows(splits: Splits, split: str) -> str:
    """A warning where a split is so small that its numbers say little; else empty."""
    count, total = (
        len(getattr(splits, split)),
        sum(map(len, (splits.train, splits.valid, splits.test))),
    )
    if count >= max(10, total / 30):
        return ""
    repeats = splits.duplicates["within"]
    why = ""
    if repeats > total / 2:
        why = f"{repeats:,} of all {total:,} rows repeat others, and equal rows stay together in one split. "
    return (
        f"Only {count:,} of {total:,} rows are in {split}: a few rows decide these numbers and their errors. "
        f"{why}Use another `split_seed`{', or delete the duplicates' if why else ''}, or bring more rows."
    )


def _worst(rows: Dataset, scores: Scores) -> list[dict[str, Any]]:
    """The rows with the largest reconstruction errors, the largest first: their numbers in the source, and names."""
    assert rows.index is not None  # rows of a run have a source
    squares = scores.squared_error
    errors = (squares.nanmean(1) if rows.schema.gaps else squares.mean(1)).sqrt()
    worst = []
    for row in errors.nan_to_num(-1).argsort(descending=True, stable=True)[:_SHOWN].tolist():
        fact: dict[str, Any] = {"row": rows.index[row].item()}
        if rows.names is not None:
            fact["name"] = str(rows.names[row])
        if rows.responses:
            cells = {name: values[row].item() for name, values in rows.responses.items()}
            fact["responses"] = {
                name: None if cell != cell else cell  # NaN is not equal to itself
                for name, cell in cells.items()
            }
        fact |= {"reconstruction_error": errors[row].item(), "nll": -scores.log_px[row].item()}
        worst.append(fact)
    return worst


_SHOWN = 10  # rows with the worst reconstructions
_SCORES = {"test": "scores.safetensors", "valid": "validation-scores.safetensors"}
"""Where a run keeps the scores of its rows, by their split."""


def row_scores(
    vae: VAE,
    rows: Dataset,
    scores: Scores,
    split: str,
    samples: int,
    seed: int,
    baselines: Mapping[str, dict[str, Any]] | None = None,
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What scores.safetensors holds: how the rows were scored, and their numbers, (N,) each.

    `index` is the number of a row in the source, `squared_error` the mean over its columns or pixels; densities in
    nats, in the units that `Schema.log_jacobian` states. The numbers of a baseline have its name before theirs, as in
    `pca.nll`.
    """
    assert rows.index is not None  # rows of a run have a source
    error = scores.squared_error
    header = {"scored": identity(vae), "split": split, "samples": samples, "seed": seed}
    simpler = {name: by_row["rows"] for name, by_row in (baselines or {}).items()}
    trust = {"pareto_k": scores.pareto_k, "ess": scores.ess} if samples >= FEWEST_SAMPLES else {}
    return header, {
        **{
            f"{name}.{measure}": values
            for name, by_row in simpler.items()
            for measure, values in by_row.items()
        },
        "index": rows.index,
        "elbo": scores.elbo,
        "log_likelihood": scores.log_likelihood,
        "kl": scores.kl,
        "nll": -scores.log_px,
        "squared_error": error.nanmean(1) if rows.schema.gaps else error.mean(1),
        **trust,
    }


@checked
def scored_rows(
    run: Run,
    *,
    split: Literal["test", "valid"] = "test",
    samples: Count | None = None,
    refine: int = 0,
    seed: int = 0,
    progress: bool = False,
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The scores of a run's rows, as `row_scores` gives them: those that it kept, or new ones without baselines.

    Args:
        run: The run.
        split: Which rows.
        samples: Importance samples per row; by default those of the run's own evaluation. Where the run kept scores
            with others, or none, its data are read and scored again, and nothing is written.
        refine: Where not 0, new scores are of a q(z|x) of its own for each row, this many steps from the encoder's.
        seed: Seed of new scores.
        progress: Show a progress bar on a terminal.

    Raises:
        ValueError: when the rows must be scored again and the data have changed.
    """
    path = run.folder / _SCORES[split]
    if path.is_file() and not refine:
        header, tensors = read_sealed(path)
        _require_scores(path, header, tensors)
        if header["scored"] == identity(run.vae) and samples in (None, header["samples"]):
            return header, tensors
    rows: Dataset = getattr(run.data(), split)
    samples = samples or run.evaluation["nll"]["samples"]
    scores = score(run.vae, rows, samples=samples, refine=refine, seed=seed, progress=progress)
    return row_scores(run.vae, rows, scores, split, samples, seed)


class _Scored(TypedDict):
    """What the header of a file of scores says of them."""

    scored: str
    split: str
    samples: int
    seed: int


def _require_scores(path: Path, header: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Refuse what is not of the form that `row_scores` gives."""
    rule = f"{path} must hold the scores of rows"
    remedy = "Write them anew with variform train --resume."
    recorded(_Scored, header, rule, remedy)
    names = {"index", "elbo", "log_likelihood", "kl", "nll", "squared_error"}
    optional = {
        f"{name}.{measure}"
        for name in (*PCAS, "famd", "trivial")
        for measure in ("nll", "squared_error")
    }
    optional |= {"pareto_k", "ess"}  # older runs have none
    shapes = {(value.shape, value.ndim) for value in tensors.values()}
    is_named = names <= set(tensors) <= names | optional
    if not is_named or len(shapes) != 1 or next(iter(shapes))[1] != 1:
        raise ValueError(f"{rule}; it does not. {remedy}")
