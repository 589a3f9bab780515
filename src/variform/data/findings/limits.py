"""What so few rows cannot teach, and what Gaussians have no law for."""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from variform.config.words import counted, listed, quoted
from variform.data.findings.columns import ColumnFindings
from variform.data.findings.rows import NearRows

_LEARNABLE = 20  # rows of a category
_LEAST_REST = 50  # rows beside a spike, or in which a column is active
_LEAST_TEST = 100  # rows, or families
_HELD_OUT = 0.1
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


def for_mixed(columns: Sequence[ColumnFindings]) -> tuple[str, ...]:
    """Columns that only the mixed likelihood has laws for, in words, one kind after the other.

    Args:
        columns: What was found of each.

    Example:
        >>> for_mixed([ColumnFindings(name="wall", role="value", missing=3), ColumnFindings(name="OD", role="value")])
        ('1 column with gaps',)
    """
    used = [column for column in columns if column.role == "value"]
    words = []
    for kind, noun in _FOR_MIXED.items():
        number = sum(column.kind == kind for column in used)
        if number:
            words.append(f"{counted(number, 'column')} of {noun}")
    spiked = sum(column.spike is not None for column in used)
    if spiked:
        words.append(f"{counted(spiked, 'column')} with a spike, which no Gaussian has")
    gaps = sum(column.missing > 0 for column in used)
    if gaps:
        words.append(f"{counted(gaps, 'column')} with gaps")
    return tuple(words)
