"""What was evaluated so far, in the one form that every optimiser takes, and which of it is best."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Told:
    """The answers to n points of a space of d dimensions: m objectives and c constraints each.

    An invalid point, one whose evaluation gave no number or said no, may have anything as objectives and violations. A
    point counts as invalid too where a number of it is not finite.

    Args:
        z: The points, (n, d).
        objectives: (n, m), to be minimised.
        violations: (n, c): by how much a constraint is missed; 0 or less where it holds.
        valid: (n,) of bool.
        batch: (n,) of int: with which proposal a point was asked for, from 0; -1 of what was known before.

    Raises:
        ValueError: where the numbers of rows differ, or a point is not finite.

    Example:
        >>> told = Told.of([[0.0], [1.0], [2.0]], [[3.0], [1.0], [np.nan]], violations=[[-1.0], [0.5], [0.0]])
        >>> told.is_valid.tolist(), told.is_feasible.tolist()
        ([True, True, False], [True, False, False])
    """

    z: Array
    objectives: Array
    violations: Array
    valid: Array
    batch: Array

    def __post_init__(self) -> None:
        rows = {field.name: len(getattr(self, field.name)) for field in fields(self)}
        if len(set(rows.values())) > 1:
            raise ValueError(
                f"every field of what is told must have one row a point, and they have {rows}; leave none out."
            )
        if not np.isfinite(self.z).all():
            raise ValueError(
                "the points `z` must be finite, and some are not; tell only points that were proposed, and mark those"
                " that could not be evaluated as not `valid`."
            )

    @classmethod
    def of(
        cls, z: Any, objectives: Any, *, violations: Any = None, valid: Any = None, batch: Any = 0
    ) -> "Told":
        """From whatever NumPy takes; by default without constraints, all valid and of one batch."""
        count = len(z)
        if violations is None:
            violations = np.empty((count, 0))
        if valid is None:
            valid = True
        return cls(
            np.asarray(z, float),
            _columns(objectives),
            _columns(violations),
            np.broadcast_to(np.asarray(valid, bool), count),
            np.broadcast_to(np.asarray(batch, int), count),
        )

    @classmethod
    def nothing(cls, dim: int, objectives: int = 1, constraints: int = 0) -> "Told":
        """Before the first answer.

        Example:
            >>> len(Told.nothing(10))
            0
        """
        return cls(
            np.empty((0, dim)),
            np.empty((0, objectives)),
            np.empty((0, constraints)),
            np.empty(0, bool),
            np.empty(0, int),
        )

    def __len__(self) -> int:
        return len(self.z)

    @property
    def is_valid(self) -> Array:
        """Which points were evaluated and have finite numbers only, (n,)."""
        numbers = np.concatenate([self.objectives, self.violations], axis=1)
        return self.valid & np.isfinite(numbers).all(1)

    @property
    def is_feasible(self) -> Array:
        """Which points are valid and hold every constraint, (n,)."""
        return self.is_valid & (self.violations <= 0).all(1)

    def take(self, rows: Array) -> "Told":
        """Some of the rows, by number or by a mask."""
        return replace(
            self, **{field.name: getattr(self, field.name)[rows] for field in fields(self)}
        )

    def joined(self, later: "Told") -> "Told":
        """These rows, then those."""
        columns = {
            field.name: np.concatenate([getattr(self, field.name), getattr(later, field.name)])
            for field in fields(self)
        }
        return Told(**columns)

    def ordered(self) -> "Told":
        """The same rows in an order that does not depend on the one in which answers came in.

        Example:
            >>> Told.of([[2.0], [1.0]], [0.0, 0.0]).ordered().z.tolist()
            [[1.0], [2.0]]
        """
        last_key_first = [*self.violations.T, *self.objectives.T, *self.z.T[::-1], self.batch]
        return self.take(np.lexsort(last_key_first))

    def generations(self, least: int) -> Iterator["Told"]:
        """Whole batches in their order, joined until they have `least` rows; what is left over at the end is not given.

        Example:
            >>> told = Told.of(np.zeros((5, 1)), np.zeros(5), batch=[0, 0, 1, 1, 2])
            >>> [len(part) for part in told.generations(3)]
            [4]
        """
        waiting = np.zeros(len(self), bool)
        for batch in np.unique(self.batch):
            waiting |= self.batch == batch
            if waiting.sum() >= least:
                yield self.take(waiting)
                waiting[:] = False


def _columns(values: Any) -> Array:
    """One number a row becomes a column."""
    values = np.asarray(values, float)
    return values[:, None] if values.ndim == 1 else values


def penalised(told: Told, like: Told, weights: Any = 1.0) -> Array:
    r"""One number to minimise for every point of one objective, by the one rule that all of them are under.

    An objective f and the violations v count in units of their own spreads s over the points `like`:
    $f / s_f + \sum_c w_c \max(v_c, 0) / s_c$. So a point that misses a constraint by a little may rank before a bad one
    that is feasible, and an optimiser can come to a constraint that binds from both sides. While no point of `like` is
    feasible, violations alone count. An invalid point is 1 worse than the worst of the others.

    Args:
        told: The points; of several objectives the first counts.
        like: What was told so far, these points among it.
        weights: (c,), of each constraint.

    Returns:
        (n,), finite.

    Example:
        >>> told = Told.of([[0], [1], [2]], [3.0, 1.0, np.nan], violations=[[-1.0], [0.5], [0.0]])
        >>> penalised(told, told).round(2).tolist()
        [3.0, 1.67, 4.0]
    """
    known = like.take(like.is_valid)
    valid = told.take(told.is_valid)
    missed = (weights * valid.violations.clip(0) / _spread(known.violations)).sum(1)
    values = np.zeros(len(told))
    values[told.is_valid] = missed
    if like.is_feasible.any():
        values[told.is_valid] += valid.objectives[:, 0] / _spread(known.objectives)[0]
    values[~told.is_valid] = values[told.is_valid].max(initial=0.0) + 1
    return values


def _spread(values: Array) -> Array:
    """The interquartile range of each column, or its range, or 1, whichever comes first and is not 0."""
    if not len(values):
        return np.ones(values.shape[1])
    quartiles = np.subtract(*np.quantile(values, [0.75, 0.25], axis=0))
    ranges = np.ptp(values, axis=0)
    return np.where(quartiles > 0, quartiles, np.where(ranges > 0, ranges, 1.0))


def most_telling(told: Told, most: int) -> Told:
    """At most so many rows, in their order: one half the best by some objective, the other the last of the rest.

    Example:
        >>> told = Told.of([[0], [1], [2], [3]], [0.0, 3.0, 2.0, 1.0])
        >>> most_telling(told, 2).z.ravel().tolist()
        [0.0, 3.0]
    """
    if len(told) <= most:
        return told
    each = [replace(told, objectives=values[:, None]) for values in told.objectives.T]
    places = [penalised(one, one).argsort().argsort() for one in each]
    order = np.min(places, axis=0).argsort(kind="stable")
    best, rest = order[: most // 2], order[most // 2 :]
    last = np.sort(rest)[len(rest) - (most - len(best)) :]
    return told.take(np.sort(np.concatenate([best, last])))


def non_dominated(objectives: Array) -> Array:
    """The Pareto set: which rows no other row beats, that is, is nowhere worse than and somewhere better.

    Args:
        objectives: (n, m), to be minimised.

    Returns:
        (n,) of bool; of equal rows all or none.

    Example:
        >>> non_dominated(np.array([[1, 3], [2, 2], [2, 3], [3, 1]])).tolist()
        [True, True, False, True]
    """
    kept = np.ones(len(objectives), bool)
    for row, values in enumerate(objectives):
        beaten_by = (objectives <= values).all(1) & (objectives < values).any(1)
        kept[row] = not beaten_by.any()
    return kept
