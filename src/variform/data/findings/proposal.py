"""What a training may begin with, and what so few rows cannot teach."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from variform.config.choices import LikelihoodName
from variform.config.words import counted, listed, quoted
from variform.data.dimension import coded, latents, spread
from variform.data.findings.columns import ColumnFindings
from variform.data.findings.rows import NearRows
from variform.data.scaling import Scaling
from variform.data.sources.source import Source

_LEARNABLE = 20  # rows of a category
_LEAST_REST = 50  # rows beside a spike, or in which a column is active
_LEAST_TEST = 100  # rows, or families
_HELD_OUT = 0.1
_SHARES = {"series": 0.99, "images": 0.95}
"""Of the variance, that the latents of such data should have."""
_FOR_MIXED = {
    "category": "categories",
    "ordinal": "ordered levels",
    "binary": "0 and 1",
    "count": "counts",
    "date": "dates",
    "positive": "numbers above 0 that are nearer log-normal than Gaussian",
    "bounded": "fractions between two ends",
}
"""Kinds of columns that only the mixed likelihood has laws for, in words."""


@dataclass(frozen=True)
class Proposal:
    """What a training may begin with, and why."""

    likelihood: LikelihoodName
    scaling: Scaling
    latent_dim: int
    reasons: tuple[str, ...]


def unlearnable(
    columns: Sequence[ColumnFindings],
    form: str,
    rows: int,
    near: NearRows | None,
    groups: tuple[str, np.ndarray] | None,
) -> Iterator[str]:
    """What cannot be learned from these rows, in sentences."""
    apart, words = rows, "rows"
    if groups is not None:
        apart, words = int(groups[1].max()) + 1, "families"
    elif near is not None and len(near.sizes) < rows:
        apart, words = len(near.sizes), "families"
    test = round(_HELD_OUT * apart)
    if test < _LEAST_TEST:
        yield (
            f"how good a model is, to better than a tenth of the spread between rows: a tenth of {apart} {words} is a"
            f" test set of {test}, whose mean has a standard error of {1 / math.sqrt(max(1, test)):.2f} of that spread"
        )
    used = [column for column in columns if column.role == "value"]
    if form == "table" and used and rows < 5 * len(used):
        yield (
            f"how each pair of columns goes together: {len(used) * (len(used) - 1) // 2} pairs from {rows} rows"
        )
    for column in used:
        yield from _unlearnable_of(column, rows, form)


def _unlearnable_of(column: ColumnFindings, rows: int, form: str) -> Iterator[str]:
    name = quoted(column.name)
    present = rows - column.missing
    if 2 * column.missing > rows:
        yield f"column {name} in general: {column.missing} of {rows} rows have no value"
    rare = [level for level, count in column.levels if count < _LEARNABLE]
    if rare:
        yield f"what goes with {listed(rare)} of column {name}: fewer than {_LEARNABLE} rows each"
    if column.kind == "binary" and column.mean is not None:
        fewer = round(min(column.mean, 1 - column.mean) * present)
        if fewer < _LEARNABLE:
            yield f"what goes with the rarer value of column {name}: {counted(fewer, 'row')}"
    rest = round((1 - column.spike_share) * present)
    if column.spike is not None and rest < _LEAST_REST:
        yield f"the law of column {name} beside its default of {column.spike:.7g}: {counted(rest, 'row')}"
    active = rows - column.inactive
    if column.inactive and active < _LEAST_REST:
        yield f"column {name} where it is active: {counted(active, 'row')}"


def proposed(
    values: np.ndarray,
    form: str,
    columns: Sequence[ColumnFindings],
    source: Source,
    near: NearRows | None,
) -> Proposal:
    """Likelihood, scaling and latent dimension to begin with, with reasons."""
    if form == "images":
        likelihood, scaling, reasons = _for_images(values, source)
        rows = values.reshape(len(values), -1)[spread(len(values))].astype(np.float64)
        scaled = rows - rows.mean(0)
    else:
        likelihood, scaling, reasons = _for_table(form, columns)
        used = [number for number, column in enumerate(columns) if column.role == "value"]
        are_categories = [bool(columns[number].levels) for number in used]
        rows = values[spread(len(values))][:, used]
        scaled = coded(rows, are_categories, standardise=scaling != "common")
    apart = len(values) if near is None else len(near.sizes)
    latent, why = latents(scaled, apart, _SHARES.get(form))
    reason = f"latent dimension {latent}: {why}; variform study latent-dim tries several"
    return Proposal(likelihood, scaling, latent, (*reasons, reason))


def _for_images(
    values: np.ndarray, source: Source
) -> tuple[LikelihoodName, Scaling, tuple[str, ...]]:
    seen = np.unique(values[spread(len(values))])
    if len(seen) <= 2 and seen.min() >= 0 and seen.max() <= 1:
        return "bernoulli", "none", ("likelihood bernoulli, for every value is 0 or 1",)
    return (
        "gaussian-shared",
        "unit",
        (
            "likelihood gaussian-shared, one noise variance for all pixels, for they are of one unit",
            "scaling unit, for all pixels share a range",
        ),
    )


def _for_table(
    form: str, columns: Sequence[ColumnFindings]
) -> tuple[LikelihoodName, Scaling, tuple[str, ...]]:
    if form == "series":
        return (
            "gaussian-shared",
            "common",
            (
                "likelihood gaussian-shared, for the columns are one quantity in one unit, whose noise is alike",
                "scaling common, for one scale for all keeps what a difference means in that unit",
            ),
        )
    used = [column for column in columns if column.role == "value"]
    why = []
    for kind, noun in _FOR_MIXED.items():
        number = sum(column.kind == kind for column in used)
        if number:
            why.append(f"{counted(number, 'column')} of {noun}")
    spiked = [column for column in used if column.spike is not None]
    if spiked:
        why.append(f"{counted(len(spiked), 'column')} with a spike, which no Gaussian has")
    gaps = [column for column in used if column.missing]
    if gaps:
        why.append(f"{counted(len(gaps), 'column')} with gaps")
    all_binary = all(column.kind == "binary" for column in used)
    if used and all_binary and not gaps:
        return "bernoulli", "none", ("likelihood bernoulli, for every value is 0 or 1",)
    standard = "scaling standard, for the columns have units of their own"
    if why:
        return "mixed", "standard", (f"likelihood mixed, for there are {', '.join(why)}", standard)
    return (
        "gaussian-per-feature",
        "standard",
        (
            "likelihood gaussian-per-feature, for each column of numbers has a noise of its own",
            standard,
        ),
    )
