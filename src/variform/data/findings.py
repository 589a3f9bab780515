"""What is in the data, before anything is trained: columns, rows that are alike, rules, and what may be learned."""

import dataclasses
import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch

from variform.config.choices import LikelihoodName
from variform.config.data import FAMILIES, ROWS, DataConfig
from variform.config.words import counted, listed, quoted
from variform.data.columns import column_names
from variform.data.constraints import Constraint, name_and_unit
from variform.data.families import Neighbourhood, comparable, joined
from variform.data.groups import MOST_UNASKED, TWENTIETH
from variform.data.mixed import FEW, kind_of
from variform.data.reading import dataset_from
from variform.data.scaling import SMOOTH, Scaling, may_be_series, roughness
from variform.data.schema import ColumnKind
from variform.data.sources.source import Source
from variform.data.sources.tables import declared_kinds
from variform.system import memory

Kind = Literal[ColumnKind, "date"]
Role = Literal["value", "id", "response", "ignore", "group", "label", "condition"]

SPIKE = 0.05
"""Share of the rows at one exact value from which a column has a spike."""

_LEAST_VALUES = 10  # different ones, of a column that has spikes or outliers and no levels
_FLAG_VALUES = 8  # different ones, of a column that switches others off
_LEAST_FLAGGED = 5  # rows
_BY_CHANCE = 1e-6
_FENCE = 3.0  # interquartile ranges beyond the quartiles
_LEARNABLE = 20  # rows of a category
_LEAST_REST = 50  # rows beside a spike, or in which a column is active
_LEAST_TEST = 100  # rows, or families
_MOST_SHOWN = 1_000  # pairs in a file
_MOST_PCA = 1_000  # rows that the latent dimension is found on
_HELD_OUT = 0.1
_MOST_FAR = 2**22  # values
_COPIES = 3
_SHUFFLES = 5
_MOST_SHUFFLED = 512  # columns


@dataclass(frozen=True, kw_only=True)
class ColumnFindings:
    """What one column holds.

    Args:
        name: As in the file.
        unit: What stands in square brackets in its name; empty where there is nothing.
        kind: What a mixed table takes it for.
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
        inactive: Rows where it does not.
        outliers: Rows whose value is far out.
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
    inactive: int = 0
    outliers: tuple[int, ...] = ()

    @property
    def is_constant(self) -> bool:
        """Whether all its values are one."""
        return self.distinct <= 1


@dataclass(frozen=True, eq=False)
class NearRows:
    """Rows that are nearly the same.

    Args:
        tolerance: Distance up to which rows are near.
        words: What the distance is of.
        count: Pairs of near rows, those of equal ones included.
        pairs: The first of them, (P, 2).
        rows: Rows that are near another.
        family: The family of each row, (N,), counted from 0.
    """

    tolerance: float
    words: str
    count: int
    pairs: np.ndarray
    rows: int
    family: np.ndarray

    @property
    def sizes(self) -> np.ndarray:
        """Rows of each family."""
        return np.bincount(self.family)


@dataclass(frozen=True)
class RuleFindings:
    """How many rows break a rule, which, and of how many it cannot be said."""

    rule: str
    broken: tuple[int, ...]
    unknown: int


@dataclass(frozen=True)
class Proposal:
    """What a training may begin with, and why."""

    likelihood: LikelihoodName
    scaling: Scaling
    latent_dim: int
    reasons: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Findings:
    """What is in a source.

    Args:
        source: Its name.
        form: `table`, `series` (curves or coordinates in one unit) or `images`.
        shape: Of one row.
        rows: Their number.
        values: Rows as numbers, (N, D); images as they came.
        columns: Of a table or series, those beside the rows too.
        duplicates: Rows that are equal to an earlier one, and that.
        equal_pairs: Pairs of equal rows.
        near: Nearly equal rows; None where they were not looked for.
        groups: Families that a column or the names of the rows tell, with what they are; None where none is asked for.
        rules: What the rules find.
        far: Rows that are far from every other.
        removed: Reasons for which a row is not clean, by its number.
        unlearnable: What cannot be learned from so few rows.
        proposal: What to begin with.
        notes: Sentences on how it was read, and on what was not looked for.
        place: Where each row stands in the source, in words.
    """

    source: str
    form: Literal["table", "series", "images"]
    shape: tuple[int, ...]
    rows: int
    values: np.ndarray
    columns: tuple[ColumnFindings, ...]
    duplicates: dict[int, int]
    equal_pairs: int
    near: NearRows | None
    groups: tuple[str, np.ndarray] | None
    rules: tuple[RuleFindings, ...]
    far: tuple[int, ...]
    removed: dict[int, list[str]]
    unlearnable: tuple[str, ...]
    proposal: Proposal
    notes: tuple[str, ...]
    place: Callable[[int], str] = field(repr=False)

    @property
    def spikes(self) -> list[ColumnFindings]:
        """Columns with a spike, the largest first."""
        spiked = [column for column in self.columns if column.spike is not None]
        return sorted(spiked, key=lambda column: -column.spike_share)

    def to_dict(self) -> dict[str, Any]:
        """All of it for a file, rows by their number in the source from 0."""
        values: dict[str, Any] = {
            "source": self.source,
            "form": self.form,
            "shape": list(self.shape),
            "rows": self.rows,
            "columns": [_column_dict(column) for column in self.columns],
            "duplicates": {
                "pairs": self.equal_pairs,
                "rows": [[row, first] for row, first in self.duplicates.items()],
            },
            "rules": [
                {"rule": rule.rule, "broken": list(rule.broken), "unknown": rule.unknown}
                for rule in self.rules
            ],
            "far": list(self.far),
            "removed": [[row, *reasons] for row, reasons in self.removed.items()],
            "unlearnable": list(self.unlearnable),
            "proposal": dataclasses.asdict(self.proposal),
            "notes": list(self.notes),
        }
        if self.near is not None:
            values["near"] = {
                "tolerance": self.near.tolerance,
                "of": self.near.words,
                "pairs": self.near.count,
                "rows": self.near.rows,
                "families": len(self.near.sizes),
                "first_pairs": self.near.pairs.tolist(),
                "family": self.near.family.tolist(),
            }
        if self.groups is not None:
            words, family = self.groups
            values["groups"] = {
                "of": words,
                "families": int(family.max()) + 1,
                "family": family.tolist(),
            }
        return values


def _column_dict(column: ColumnFindings) -> dict[str, Any]:
    values: dict[str, Any] = dataclasses.asdict(column)
    values["levels"] = [list(level) for level in column.levels]
    return values


def find(
    source: Source,
    config: DataConfig,
    *,
    rules: Sequence[str] = (),
    id_pattern: str | None = None,
    place: Callable[[int], str] | None = None,
) -> Findings:
    """Look at all rows of a source.

    Args:
        source: What a reader found, its words as numbers of categories.
        config: `tolerance`, in the unit of the columns, `group`, `categories`, `counts` and `reals` are looked at.
        rules: What every row must fulfil, as `Constraint` reads it.
        id_pattern: A regular expression: rows are of a family where the same is found in their names, of its first
            group if it has one.
        place: Where a row stands, in words; by default as the source says.

    Raises:
        ValueError: for a rule, a pattern or a name of a column that does not fit.

    Example:
        >>> rows = np.array([[0.0, 1.0], [2.0, 1.5], [0.0, 1.0]])
        >>> found = find(Source("designs.npy", rows), DataConfig(), rules=["column 1 < column 2"])
        >>> found.duplicates, found.rules[0].broken
        ({2: 0}, (1,))
    """
    values, form, notes = _as_rows(source, config)
    table = form != "images"
    names = column_names(source) if table else ()
    if table and len(names) != values.shape[1]:
        names = tuple(f"column {number}" for number in range(1, values.shape[1] + 1))
    columns = _columns(source, values, names, config) if table else ()
    form = "series" if table and _is_series(values, columns, names) else form
    if form == "series":
        columns = tuple(_of_series(column) for column in columns)
    source = _named(source, columns, values)
    is_content = [column.role != "id" for column in columns] if table else slice(None)
    duplicates, equal_pairs = _duplicates(values[:, is_content], source)
    near, unsearched = _near(values, form, columns, config)
    checked = tuple(_checked(Constraint(text, names), values) for text in rules)
    groups = _groups(source, config, id_pattern)
    far = _far(values[:, is_content]) if form == "series" else ()
    spot = place or source.place
    removed = _removed(values if table else None, duplicates, checked, spot)
    proposal = _proposal(values, form, columns, source, near)
    return Findings(
        source=source.name,
        form=form,
        shape=tuple(source.values.shape[1:]),
        rows=len(values),
        values=values,
        columns=(*columns, *_beside(source, config)),
        duplicates=duplicates,
        equal_pairs=equal_pairs,
        near=near,
        groups=groups,
        rules=checked,
        far=far,
        removed=removed,
        unlearnable=tuple(_unlearnable(columns, form, len(values), near, groups)),
        proposal=proposal,
        notes=(*source.notes, *notes, *unsearched),
        place=spot,
    )


def _as_rows(
    source: Source, config: DataConfig
) -> tuple[np.ndarray, Literal["table", "images"], tuple[str, ...]]:
    """Rows of numbers, or images as they came."""
    memory.require(_COPIES * 8 * source.values.size, source.name, "Bring fewer rows.")
    values = np.asarray(source.values)
    if values.dtype.kind not in "buif":
        raise ValueError(
            f"{source.name} must hold numbers; its type is {values.dtype}. Bring numbers, or a table with names of"
            " columns."
        )
    if (
        config.shape is not None
        and values.ndim > 1
        and math.prod(config.shape) == math.prod(values.shape[1:])
    ):
        values = values.reshape(len(values), *config.shape)
    if values.ndim == 2:
        return _finite(values.astype(np.float64))
    if values.ndim == 3 and 2 in values.shape[1:] and max(values.shape[1:]) > 2:
        note = (
            f"an array of the shape {values.shape} is looked at as pairs of curves, or of coordinates; a training"
            f" takes it so with `shape=[{math.prod(values.shape[1:])}]`"
        )
        return values.reshape(len(values), -1).astype(np.float64), "table", (note,)
    return values, "images", ()


def _named(source: Source, columns: Sequence[ColumnFindings], values: np.ndarray) -> Source:
    """The source with the words that differ in every row as names of rows, where it has no others."""
    for number, column in enumerate(columns):
        if source.names is None and column.role == "id" and column.levels:
            words = source.categories[number]
            names = ["" if np.isnan(code) else words[int(code)] for code in values[:, number]]
            return dataclasses.replace(source, names=np.array(names))
    return source


def _finite(values: np.ndarray) -> tuple[np.ndarray, Literal["table"], tuple[str, ...]]:
    """Rows whose infinite values are gaps, and what is said of it."""
    is_infinite = np.isinf(values)
    if not is_infinite.any():
        return values, "table", ()
    count = int(is_infinite.sum())
    note = f"{counted(count, 'infinite value')} looked at as gaps; a training refuses them"
    return np.where(is_infinite, np.nan, values), "table", (note,)


# --- columns ------------------------------------------------------------------------------------------------------


def _columns(
    source: Source,
    values: np.ndarray,
    names: Sequence[str],
    config: DataConfig,
) -> tuple[ColumnFindings, ...]:
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
        "unit": name_and_unit(name)[1],
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
    has_levels = kind != "real" or len(different) < _LEAST_VALUES
    if not has_levels and counts.max() > SPIKE * len(observed):
        mode = counts.argmax()
        facts["spike"] = float(different[mode])
        facts["spike_share"] = float(counts[mode] / len(observed))
    if kind in ("real", "count") and len(different) >= _LEAST_VALUES:
        facts["outliers"] = _outliers(values, facts.get("spike"))
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


def _outliers(values: np.ndarray, spike: float | None) -> tuple[int, ...]:
    """Rows further than 3 interquartile ranges beyond the quartiles, "far out" in Tukey's words (1977).

    The spike, which would make the range small, does not count. Positive values are looked at in logarithms where their
    quartiles lie more evenly around the median so. Of a normal law 2 in a million are so far out.
    """
    is_looked_at = np.isfinite(values)
    if spike is not None:
        is_looked_at &= values != spike
    rest = values[is_looked_at]
    if len(rest) < 2 * _LEAST_VALUES:
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


def _of_series(column: ColumnFindings) -> ColumnFindings:
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
    for number, column in enumerate(columns):
        best = ("", 0)
        is_asked = column.kind != "binary" and not column.is_constant
        for flag in flags if is_asked else ():
            if flag != number:
                found = _inactive(
                    values[:, flag], values[:, number], columns[flag], _BY_CHANCE / pairs
                )
                best = max(best, found, key=lambda pair: pair[1])
        yield dataclasses.replace(column, active_if=best[0], inactive=best[1])


def _inactive(
    flag: np.ndarray, values: np.ndarray, of: ColumnFindings, by_chance: float
) -> tuple[str, int]:
    """Where a column is active and how many rows it is not in: at a value of the flag it is one value, or empty.

    That has to be no chance: with the share that this value has in the other rows, all rows of the flag hold it with
    less than this probability.
    """
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
        return "", 0
    rows = int(np.isin(flag, off).sum())
    if len(on) == 1:
        return f"{of.name} = {_word(of, flag, on[0])}", rows
    return " and ".join(f"{of.name} != {_word(of, flag, code)}" for code in off), rows


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


def _beside(source: Source, config: DataConfig) -> Iterator[ColumnFindings]:
    """Columns that are not rows' values."""
    beside: list[tuple[str, Role, np.ndarray]] = []
    if config.id is not None and source.names is not None:
        beside.append((config.id, "id", source.names))
    if config.label is not None and source.labels is not None:
        beside.append((config.label, "label", source.labels))
    if config.group not in (None, FAMILIES, ROWS) and source.groups is not None:
        beside.append((config.group, "group", source.groups))
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
        yield dataclasses.replace(
            column, role=role, reason="as asked", unit=name_and_unit(name)[1], outliers=()
        )


def _is_series(
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


# --- rows ---------------------------------------------------------------------------------------------------------


def _duplicates(values: np.ndarray, source: Source) -> tuple[dict[int, int], int]:
    """Rows that are equal to an earlier one, with that, and the number of equal pairs."""
    rows = values.reshape(len(values), -1)
    if rows.dtype.kind == "f":
        rows = np.where(np.isnan(rows), np.nan, rows) + 0.0  # one NaN, and no negative zero
    beside = [source.labels, *source.given.values(), *source.responses.values()]
    first: dict[bytes, int] = {}
    earlier: dict[int, int] = {}
    sizes: Counter[int] = Counter()
    for row, content in enumerate(rows):
        key = content.tobytes() + repr([each[row] for each in beside if each is not None]).encode()
        before = first.setdefault(key, row)
        sizes[before] += 1
        if before != row:
            earlier[row] = before
    return earlier, sum(size * (size - 1) // 2 for size in sizes.values())


def _near(
    values: np.ndarray, form: str, columns: Sequence[ColumnFindings], config: DataConfig
) -> tuple[NearRows | None, tuple[str, ...]]:
    """Nearly equal rows, and what is said where they are not looked for."""
    if values.size > MOST_UNASKED / 8 and config.tolerance is None:
        return None, ("nearly equal rows are not looked for among so many; `tolerance` does it",)
    rows = values.reshape(len(values), -1).astype(np.float64)
    is_used = np.ones(rows.shape[1], bool)
    is_category = np.zeros(rows.shape[1], bool)
    if columns:
        is_used = np.array([column.role == "value" for column in columns])
        is_category = np.array([column.kind == "category" for column in columns])
    rows, is_category = rows[:, is_used], is_category[is_used]
    if not rows.shape[1]:
        return None, ("no column is left in which rows could be near",)
    if config.tolerance is not None:
        tolerance, words = config.tolerance, "root mean square over the columns"
    else:
        with np.errstate(all="ignore"):
            std = np.nanstd(rows, 0)
        if form == "table":
            std[~(std > 0) | is_category] = 1.0
            rows = rows / std
            numbers = rows[:, ~is_category]
            tolerance, words = (
                TWENTIETH,
                "standard deviations, root mean square over the columns; `tolerance` sets another distance",
            )
            if not numbers.shape[1]:
                tolerance, words = 0.0, "equal in all categories"
        else:
            tolerance = float(f"{TWENTIETH * math.sqrt(np.nanmean(np.square(std))):.2g}")
            words = (
                "root mean square over the columns, a twentieth of how far rows spread; `tolerance` sets another"
                " distance"
            )
    neighbours = Neighbourhood(comparable(rows, is_category), tolerance)
    count, shown, is_near = 0, [], np.zeros(len(rows), bool)
    for pairs in neighbours.pairs():
        is_near[pairs] = True
        if count < _MOST_SHOWN:
            shown.append(pairs[: _MOST_SHOWN - count])
        count += len(pairs)
    pairs = np.concatenate([np.empty((0, 2), np.intp), *shown])
    family = neighbours.families()
    return NearRows(tolerance, words, count, pairs, int(is_near.sum()), family), ()


def _checked(rule: Constraint, values: np.ndarray) -> RuleFindings:
    broken = np.flatnonzero(~rule.holds(values))
    return RuleFindings(rule.text, tuple(broken.tolist()), int(rule.is_unknown(values).sum()))


def _groups(
    source: Source, config: DataConfig, id_pattern: str | None
) -> tuple[str, np.ndarray] | None:
    """Families that a column tells, or the names of the rows."""
    words, kinds = [], []
    if source.groups is not None:
        words.append(f"column {quoted(config.group)}")
        kinds.append(source.groups.astype(str))
    if id_pattern is not None:
        if source.names is None:
            raise ValueError(
                f"`id_pattern` looks into the names of rows; {source.name} has none. Name a column with `id`."
            )
        try:
            pattern = re.compile(id_pattern)
        except re.error as error:
            raise ValueError(
                f"`id_pattern` must be a regular expression; of {quoted(id_pattern)} the library says: {error}."
                " Correct it."
            ) from error
        part = (
            1 if pattern.groups else 0
        )  # the first group of the expression, or all that it matches
        parts = []
        for row, name in enumerate(source.names.tolist()):
            match = pattern.search(str(name))
            parts.append(f"row {row}" if match is None else f"is {match[part]}")
        words.append(f"{quoted(id_pattern)} in the names of rows")
        kinds.append(np.array(parts))
    if not kinds:
        return None
    family = joined(kinds[0], kinds[-1])
    return " and ".join(words), np.unique(family, return_inverse=True)[1].reshape(-1)


def _far(values: np.ndarray) -> tuple[int, ...]:
    """Curves that are far out, as `_outliers` has it: by the distance to the nearest other, or to the middle one."""
    from scipy.spatial import KDTree  # here, for it takes a tenth of a second

    rows = np.nan_to_num(values)
    if len(rows) < 2 * _LEAST_VALUES or rows.size > _MOST_FAR:
        return ()
    nearest = KDTree(rows).query(rows, 2)[0][:, 1]
    from_middle = np.sqrt(np.square(rows - np.median(rows, 0)).mean(1))
    far = set()
    for distance, spike in ((nearest, 0.0), (from_middle, None)):
        far |= {row for row in _outliers(distance, spike) if distance[row] > np.median(distance)}
    return tuple(sorted(far))


def _removed(
    values: np.ndarray | None,
    duplicates: dict[int, int],
    rules: Sequence[RuleFindings],
    place: Callable[[int], str],
) -> dict[int, list[str]]:
    reasons: dict[int, list[str]] = defaultdict(list)
    if values is not None:
        for row in np.flatnonzero(np.isnan(values).all(1)).tolist():
            reasons[row].append("no value")
    for row, first in duplicates.items():
        reasons[row].append(f"equal to {place(first)}")
    for rule in rules:
        for row in rule.broken:
            reasons[row].append(f"breaks {rule.rule}")
    return dict(sorted(reasons.items()))


# --- what to make of it -------------------------------------------------------------------------------------------


def _unlearnable(
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


def _proposal(
    values: np.ndarray,
    form: str,
    columns: Sequence[ColumnFindings],
    source: Source,
    near: NearRows | None,
) -> Proposal:
    if form == "images":
        likelihood, scaling, reasons = _for_images(values, source)
        rows = values.reshape(len(values), -1)[_spread(len(values))].astype(np.float64)
        scaled = rows - rows.mean(0)
    else:
        likelihood, scaling, reasons = _for_table(form, columns)
        scaled = _scaled(values[_spread(len(values))], columns, scaling)
    apart = len(values) if near is None else len(near.sizes)
    latent, reason = _latent(scaled, apart, form)
    return Proposal(likelihood, scaling, latent, (*reasons, reason))


def _spread(rows: int) -> np.ndarray:
    """Numbers of at most 1,000 rows."""
    return np.unique(np.linspace(0, rows - 1, min(rows, _MOST_PCA)).round().astype(int))


def _for_images(
    values: np.ndarray, source: Source
) -> tuple[LikelihoodName, Scaling, tuple[str, ...]]:
    seen = np.unique(values[_spread(len(values))])
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
    for kind in ("category", "binary", "count", "date"):
        number = sum(column.kind == kind for column in used)
        if number:
            noun = {"category": "categories", "binary": "0 and 1"}.get(kind, f"{kind}s")
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


def _scaled(values: np.ndarray, columns: Sequence[ColumnFindings], scaling: Scaling) -> np.ndarray:
    """Rows as PCA sees them: categories as indicators over the root of their shares, what is missing at the mean."""
    parts = []
    for number, column in enumerate(columns):
        own = values[:, number]
        if column.role != "value":
            continue
        if column.kind == "category":
            for code in np.unique(own[np.isfinite(own)]):
                is_it = own == code
                share = is_it.mean()
                parts.append((is_it - share) / math.sqrt(share))
            continue
        with np.errstate(all="ignore"):
            centred = np.nan_to_num(own - np.nanmean(own)) if np.isfinite(own).any() else own * 0
        std = float(centred.std())
        if std > 0:
            parts.append(centred if scaling == "common" else centred / std)
    return np.stack(parts, 1) if parts else np.zeros((len(values), 1))


def _latent(scaled: np.ndarray, apart: int, form: str) -> tuple[int, str]:
    """As many latents as PCA has components that say something, and no more than a twentieth of the families.

    Of a table these are the components that say more than those of its columns shuffled one by one do, "parallel
    analysis" (Horn, 1965); of curves those that have 99 % of the variance, of images 95 %.
    """
    variances = _variances(scaled)
    total = variances.sum()
    needed = {
        part: int(np.searchsorted(np.cumsum(variances), part * total * (1 - 1e-12)) + 1)
        for part in (0.9, 0.95, 0.99)
    }
    words = ", ".join(f"{count} for {part:.0%}" for part, count in needed.items())
    said = f"PCA needs {words} of the variance"
    wanted = needed[0.99 if form == "series" else 0.95]
    if form == "table" and scaled.shape[1] <= _MOST_SHUFFLED:
        wanted = _beyond_chance(scaled, variances)
        beyond = counted(wanted, "component")
        said = (
            f"{beyond} of PCA say more than where the columns are shuffled one by one, and {said}"
        )
    most = max(2, apart // 20)
    latent = min(max(2, wanted), most)
    if wanted > most:
        said += f"; {apart} rows that are apart bear about a twentieth of that, {most}"
    return latent, f"latent dimension {latent}: {said}; variform study latent-dim tries several"


def _variances(rows: np.ndarray) -> np.ndarray:
    """Sums of squares along the principal components of centred rows, the greatest first."""
    small = rows if rows.shape[1] <= rows.shape[0] else rows.T
    return np.linalg.eigvalsh(small.T @ small)[::-1].clip(0)


def _beyond_chance(scaled: np.ndarray, variances: np.ndarray) -> int:
    """How many of the first components have more variance than in any of some tables of shuffled columns."""
    random = np.random.default_rng(0)
    by_chance = np.max([_variances(random.permuted(scaled, axis=0)) for _ in range(_SHUFFLES)], 0)
    is_less = variances <= by_chance
    return int(is_less.argmax()) if is_less.any() else len(variances)
