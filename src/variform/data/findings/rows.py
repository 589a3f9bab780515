"""Rows that are equal or nearly so, families, rows that break a rule, and rows far from all others."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from variform.config.data import DataConfig
from variform.config.words import quoted
from variform.data.constraints import Constraint
from variform.data.families import Neighbourhood, comparable, joined
from variform.data.findings.columns import LEAST_VALUES, ColumnFindings, outliers
from variform.data.groups import MOST_UNASKED, TWENTIETH
from variform.data.sources.source import Source

_MOST_SHOWN = 1_000  # pairs in a file
_MOST_FAR = 2**22  # values


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


def duplicates_of(values: np.ndarray, source: Source) -> tuple[dict[int, int], int]:
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


def nearly_equal(
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
        is_category = np.array([bool(column.levels) for column in columns])
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


def rule_findings(rule: Constraint, values: np.ndarray) -> RuleFindings:
    """The rows that break a rule."""
    broken = np.flatnonzero(~rule.holds(values))
    return RuleFindings(rule.text, tuple(broken.tolist()), int(rule.is_unknown(values).sum()))


def groups_of(
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


def far_rows(values: np.ndarray) -> tuple[int, ...]:
    """Curves that are far out, as `outliers` has it: by the distance to the nearest other, or to the middle one."""
    from scipy.spatial import KDTree  # here, for it takes a tenth of a second

    rows = np.nan_to_num(values)
    if len(rows) < 2 * LEAST_VALUES or rows.size > _MOST_FAR:
        return ()
    nearest = KDTree(rows).query(rows, 2)[0][:, 1]
    from_middle = np.sqrt(np.square(rows - np.median(rows, 0)).mean(1))
    far = set()
    for distance, spike in ((nearest, 0.0), (from_middle, None)):
        far |= {row for row in outliers(distance, spike) if distance[row] > np.median(distance)}
    return tuple(sorted(far))


def unclean(
    values: np.ndarray | None,
    duplicates: dict[int, int],
    rules: Sequence[RuleFindings],
    place: Callable[[int], str],
) -> dict[int, list[str]]:
    """The reasons for which rows are not clean, by their numbers."""
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
