"""What each column holds: kind, ranges, gaps, spikes, what switches it off, and what it is for."""

import dataclasses
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from variform.config.data import FAMILIES, ROWS, DataConfig
from variform.data.mixed import FEW, kind_of
from variform.data.reading import dataset_from
from variform.data.scaling import SMOOTH, may_be_series, roughness
from variform.data.schema import ColumnKind, Spikes
from variform.data.sources.roles import declared_kinds
from variform.data.sources.source import Source

Kind = Literal[ColumnKind, "date"]
Role = Literal["value", "id", "response", "weight", "ignore", "group", "label", "condition"]

SPIKE = 0.05
"""Share of the rows at one exact value from which a column has a spike."""

LEAST_VALUES = 10  # different ones, of a column that has spikes or outliers and no levels
_FLAG_VALUES = 8  # different ones, of a column that switches others off
_LEAST_FLAGGED = 5  # rows
_BY_CHANCE = 1e-6
_FENCE = 3.0  # interquartile ranges beyond the quartiles


@dataclass(frozen=True, kw_only=True)
class ColumnFindings:
    """What one column holds.

    Args:
        name: As in the file.
        unit: As declared, or in brackets in its name; empty where there is none.
        kind: What a mixed table takes it for: its law.
        role: What it is for, as the options say or as is proposed.
        reason: Why that is proposed; empty where it is as usual.
        missing: Rows without a value.
        distinct: Different values.
        low: Least, of numbers; None where there are none.
        high: Greatest.
        mean: Of the values.
        std: Population standard deviation.
        median: Of the values.
        spike: The exact value that more than 5 % of the rows hold, None where there is none or the column has levels.
        spike_share: Of the rows with a value.
        levels: Categories and the rows of each, the most frequent first.
        active_if: Where the column says something, such as "SSB = 1"; empty where everywhere.
        active_when: The same as `DataConfig.active_if` has it, such as "SSB=1"; empty where its flag may be inactive.
        inactive: Rows where it does not.
        outliers: Rows whose value is far out.
        bounds: Ends of its numbers, of kind `bounded`.
        order: Levels of words, the lowest first, of kind `ordinal`.
        spikes: Values that a mixed table gives a probability of their own, with their shares of the rows where it is
            active.
        law: Why that law is proposed; empty where it is as usual.
        unclear: Sentences on laws that the rows do not settle.
    """

    name: str
    unit: str = ""
    kind: Kind = "real"
    role: Role = "value"
    reason: str = ""
    missing: int = 0
    distinct: int = 0
    low: float | None = None
    high: float | None = None
    mean: float | None = None
    std: float | None = None
    median: float | None = None
    spike: float | None = None
    spike_share: float = 0.0
    levels: tuple[tuple[str, int], ...] = ()
    active_if: str = ""
    active_when: str = ""
    inactive: int = 0
    outliers: tuple[int, ...] = ()
    bounds: tuple[float, float] | None = None
    order: tuple[str, ...] = ()
    spikes: Spikes = ()
    law: str = ""
    unclear: tuple[str, ...] = ()

    @property
    def is_constant(self) -> bool:
        """Whether all its values are one."""
        return self.distinct <= 1


def columns_of(
    source: Source,
    values: np.ndarray,
    names: Sequence[str],
    config: DataConfig,
) -> tuple[ColumnFindings, ...]:
    """What each column of the rows (N, columns) holds."""
    declared = declared_kinds(config, names, source.name)
    found = []
    for number, name in enumerate(names):
        own = source.categories[number] if source.categories else ()
        is_date = bool(source.dates) and source.dates[number] != ""
        found.append(
            _column(name, values[:, number], own, declared.get(name), is_date, source.name)
        )
    return tuple(_with_activity(found, values))


def _column(
    name: str,
    values: np.ndarray,
    categories: Sequence[str] = (),
    declared: str | None = None,
    is_date: bool = False,
    source: str = "the source",
) -> ColumnFindings:
    observed = values[np.isfinite(values)]
    different, counts = np.unique(observed, return_counts=True)
    if declared == "category" and not categories:
        categories = tuple(f"{value:.15g}" for value in different)
    kind: Kind = "category" if categories else "real"
    if not categories and len(observed):
        kind = "date" if is_date else kind_of(observed, declared, name, source)
    facts: dict[str, Any] = {
        "kind": kind,
        "missing": len(values) - len(observed),
        "distinct": len(different),
    }
    if categories:
        order = np.argsort(-counts, kind="stable")
        words = [
            categories[int(different[at])] if declared is None else categories[at] for at in order
        ]
        facts["levels"] = tuple(zip(words, counts[order].tolist(), strict=True))
    elif len(observed):
        facts |= {
            "low": float(observed.min()),
            "high": float(observed.max()),
            "mean": float(observed.mean()),
            "std": float(observed.std()),
            "median": float(np.median(observed)),
        }
    has_levels = kind != "real" or len(different) < LEAST_VALUES
    if not has_levels and counts.max() > SPIKE * len(observed):
        mode = counts.argmax()
        facts["spike"] = float(different[mode])
        facts["spike_share"] = float(counts[mode] / len(observed))
    if kind in ("real", "count") and len(different) >= LEAST_VALUES:
        facts["outliers"] = outliers(values, facts.get("spike"))
    return _with_role(ColumnFindings(name=name, **facts), values)


def _with_role(column: ColumnFindings, values: np.ndarray) -> ColumnFindings:
    """A column with what it is proposed to be for."""
    present = len(values) - column.missing
    role: Role = "value"
    reason = ""
    if not present:
        role, reason = "ignore", "it is empty"
    elif column.is_constant:
        only = column.levels[0][0] if column.levels else f"{column.low:.7g}"
        role, reason = "ignore", f"it is {only} wherever it has a value"
    elif column.kind == "category" and column.distinct == present > FEW:
        role, reason = "id", "its words differ in every row"
    elif column.kind == "category" and column.distinct > max(FEW, present / 2):
        role, reason = (
            "ignore",
            f"it holds {column.distinct} different words in {present} rows, and no categories",
        )
    elif not column.levels and present == len(values) > FEW and (np.diff(values) == 1).all():
        role, reason = "id", "it numbers the rows"
    return dataclasses.replace(column, role=role, reason=reason)


def outliers(values: np.ndarray, spike: float | None) -> tuple[int, ...]:
    """Rows further than 3 interquartile ranges beyond the quartiles, "far out" in Tukey's words (1977).

    The spike, which would make the range small, does not count. Positive values are looked at in logarithms where their
    quartiles lie more evenly around the median so. Of a normal law 2 in a million are so far out.
    """
    is_looked_at = np.isfinite(values)
    if spike is not None:
        is_looked_at &= values != spike
    rest = values[is_looked_at]
    if len(rest) < 2 * LEAST_VALUES:
        return ()
    looked_at = values
    if rest.min() > 0 and _unevenness(np.log(rest)) < _unevenness(rest):
        with np.errstate(all="ignore"):
            looked_at, rest = np.log(values), np.log(rest)
    lower, upper = np.quantile(rest, [0.25, 0.75])
    reach = _FENCE * (upper - lower)
    if not reach:
        return ()
    is_far = is_looked_at & ((looked_at < lower - reach) | (looked_at > upper + reach))
    return tuple(np.flatnonzero(is_far).tolist())


def _unevenness(values: np.ndarray) -> float:
    """How unlike the two quartiles' distances from the median are, 0 to 1: Bowley's skewness, without its sign."""
    lower, middle, upper = np.quantile(values, [0.25, 0.5, 0.75])
    return abs(upper + lower - 2 * middle) / (upper - lower) if upper > lower else 0.0


def as_point(column: ColumnFindings) -> ColumnFindings:
    """A column of a curve: one among many measurements of a kind, whatever its own values look like."""
    if column.role == "id":
        return column
    return dataclasses.replace(
        column,
        kind="real",
        role="value",
        reason="",
        spike=None,
        spike_share=0.0,
        outliers=(),
        active_if="",
        active_when="",
        inactive=0,
    )


def _with_activity(
    columns: Sequence[ColumnFindings], values: np.ndarray
) -> Iterator[ColumnFindings]:
    """Columns with the flag that switches them off, where there is one."""
    flags = [
        number
        for number, column in enumerate(columns)
        if column.kind in ("binary", "category") and 2 <= column.distinct <= _FLAG_VALUES
    ]
    pairs = max(1, len(flags) * len(columns))
    activities = []
    for number, column in enumerate(columns):
        best = _ALWAYS
        is_asked = column.kind != "binary" and not column.is_constant
        for flag in flags if is_asked else ():
            if flag != number:
                found = _activity(values, flag, number, columns[flag], _BY_CHANCE / pairs)
                best = max(best, found, key=lambda one: one.inactive)
        activities.append(best)
    for column, activity in zip(columns, activities, strict=True):
        is_plain = activity.flag is not None and not activities[activity.flag].inactive
        yield dataclasses.replace(
            column,
            active_if=activity.words,
            active_when=activity.when if is_plain else "",
            inactive=activity.inactive,
        )


@dataclass(frozen=True)
class _Activity:
    """Where a column is active, in words and as it is declared, by which flag, and in how many rows it is not."""

    words: str
    when: str
    flag: int | None
    inactive: int


_ALWAYS = _Activity("", "", None, 0)


def _activity(
    rows: np.ndarray, number: int, column: int, of: ColumnFindings, by_chance: float
) -> _Activity:
    """Where a column is active by one flag: at other values of it the column is one value, or empty.

    That has to be no chance: with the share that this value has in the other rows, all rows of the flag hold it with
    less than this probability.
    """
    flag, values = rows[:, number], rows[:, column]
    codes = np.unique(flag[np.isfinite(flag)])
    off = []
    for code in codes:
        is_here = flag == code
        here, there = values[is_here], values[~is_here]
        if min(len(here), len(there)) < _LEAST_FLAGGED:
            continue
        is_empty = np.isnan(here).all()
        if not is_empty and not (here == here[0]).all():
            continue
        same = np.isnan(there).sum() if is_empty else (there == here[0]).sum()
        by_luck = len(here) * math.log((same + 1) / (len(there) + 2))
        if by_luck < math.log(by_chance):
            off.append(code)
    on = [code for code in codes if code not in off]
    if not off or not on:
        return _ALWAYS
    kept = [_word(of, flag, code) for code in on]
    when = f"{of.name}={'|'.join(kept)}"
    words = f"{of.name} = {kept[0]}"
    if len(on) > 1:
        words = " and ".join(f"{of.name} != {_word(of, flag, code)}" for code in off)
    return _Activity(words, when, number, int(np.isin(flag, off).sum()))


def _word(column: ColumnFindings, flag: np.ndarray, code: float) -> str:
    """What a value of a flag is called."""
    if not column.levels:
        return f"{code:.7g}"
    rows = int((flag == code).sum())
    names = [name for name, count in column.levels if count == rows]
    if len(names) == 1:
        return names[0]
    # Of equally frequent categories the order is that of their numbers.
    alike = [other for other in np.unique(flag[np.isfinite(flag)]) if (flag == other).sum() == rows]
    return names[alike.index(code)]


def columns_beside(source: Source, config: DataConfig) -> Iterator[ColumnFindings]:
    """Columns that are not rows' values."""
    beside: list[tuple[str, Role, np.ndarray]] = []
    if config.id is not None and source.names is not None:
        beside.append((config.id, "id", source.names))
    if config.label is not None and source.labels is not None:
        beside.append((config.label, "label", source.labels))
    if config.group not in (None, FAMILIES, ROWS) and source.groups is not None:
        beside.append((config.group, "group", source.groups))
    if config.weight is not None and source.weights is not None:
        beside.append((config.weight, "weight", source.weights))
    for name, values in source.given.items():
        beside.append((name, "condition", values))
    for name, values in source.responses.items():
        beside.append((name, "response", values))
    for name, role, values in beside:
        if values.dtype.kind in "OSU":
            words = Counter(str(value) for value in values.tolist() if value not in ("", None))
            column = ColumnFindings(
                name=name,
                kind="category",
                missing=len(values) - sum(words.values()),
                distinct=len(words),
                levels=tuple(words.most_common()),
            )
        else:
            column = _column(name, values.astype(np.float64))
        yield dataclasses.replace(column, role=role, reason="as asked", outliers=())


def is_series(
    values: np.ndarray, columns: Sequence[ColumnFindings], names: tuple[str, ...]
) -> bool:
    """Whether the columns are points of a curve, or coordinates, in one unit."""
    is_point = np.array([column.role != "id" for column in columns])
    points = [name for name, is_one in zip(names, is_point, strict=True) if is_one]
    has_words = any(column.kind == "category" and column.role != "id" for column in columns)
    if has_words or not points or not may_be_series(tuple(points)):
        return False
    values = values[:, is_point]
    if not np.isfinite(values).any(0).all():
        return False
    rows = torch.from_numpy(values).float()
    return roughness(dataset_from(rows, gaps=bool(np.isnan(values).any()))) <= SMOOTH
