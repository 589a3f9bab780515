"""What searches found, in the figures that are laid side by side: best so far, waste, distinct better designs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from variform.design.told import Told, non_dominated

Array = NDArray[np.float64]


def hypervolume(objectives: Array, reference: Array) -> float:
    """The volume that rows dominate, up to a reference point.

    Args:
        objectives: (n, m), to be minimised.
        reference: (m,).

    Reference:
        Fonseca, Paquete and Lopez-Ibanez (2006), figure 1: slices along the last objective, each one dimension less.

    Example:
        >>> hypervolume(np.array([[1.0, 2.0], [2.0, 1.0]]), np.array([3.0, 3.0]))
        3.0
    """
    inside = objectives[(objectives < reference).all(1)]
    if not len(inside):
        return 0.0
    if objectives.shape[1] == 1:
        return float(reference[0] - inside.min())
    inside = inside[np.argsort(inside[:, -1])]
    ends = np.append(inside[1:, -1], reference[-1])
    heights = ends - inside[:, -1]
    areas = [
        hypervolume(inside[: row + 1, :-1], reference[:-1]) if height else 0.0
        for row, height in enumerate(heights)
    ]
    return float(np.dot(areas, heights))


def best_so_far(told: Told, reference: Array | None = None) -> Array:
    """After each evaluation the least objective of a feasible design, or less the hypervolume of several, (n,).

    NaN before the first feasible design of one objective.

    Example:
        >>> best_so_far(Told.of([[0], [1], [2]], [3.0, 1.0, 2.0], violations=[[0.0], [1.0], [0.0]])).tolist()
        [3.0, 3.0, 2.0]
    """
    feasible = told.is_feasible
    if reference is None:
        values = np.where(feasible, told.objectives[:, 0], np.inf)
        best = np.minimum.accumulate(values)
        return np.where(np.isfinite(best), best, np.nan)
    best = np.zeros(len(told))
    front = np.empty((0, len(reference)))
    volume = 0.0
    for row, values in enumerate(told.objectives):
        if feasible[row] and (values < reference).all():
            front = np.concatenate([front, values[None]])
            front = front[non_dominated(front)]
            volume = hypervolume(front, reference)
        best[row] = -volume
    return best


def is_better(told: Told, known: Told) -> NDArray[np.bool_]:
    """Which designs are feasible and better than all known ones, of several objectives dominated by none, (n,)."""
    others = known.objectives[known.is_feasible]
    worse = [((others <= values).all(1)).any() for values in told.objectives]
    return told.is_feasible & ~np.array(worse, bool).reshape(len(told))


def distinct(rows: Array, distance: float) -> list[int]:
    """Places of rows that are `distance` apart from each other at least, taken in their order.

    Args:
        rows: (n, C), whose Euclidean distance counts.
        distance: The least distance.

    Example:
        >>> distinct(np.array([[0.0], [0.1], [1.0], [1.05], [2.0]]), 0.5)
        [0, 2, 4]
    """
    kept: list[int] = []
    for place, row in enumerate(rows):
        apart = np.linalg.norm(rows[kept] - row, axis=1)
        if not kept or apart.min() >= distance:
            kept.append(place)
    return kept


@dataclass(frozen=True, eq=False)
class Outcome:
    """What one search found.

    Args:
        name: Of its space, or `random`.
        seed: Its seed.
        best: As `best_so_far`, (n,).
        wasted: Share of evaluations that gave nothing, of invalid designs.
        infeasible: Share of evaluations of valid designs that missed a constraint.
        beats_after: Evaluations until the first design that is better than all known ones; None where none is, or what
            the known ones reach is not known.
        better: Number of distinct designs that are; None where what the known ones reach is not known.
        winner: Place of the best feasible design; None where none is feasible.
    """

    name: str
    seed: int
    best: Array
    wasted: float
    infeasible: float
    beats_after: int | None
    better: int | None
    winner: int | None

    @property
    def reached(self) -> float:
        """The best at the end; NaN where nothing is feasible."""
        return float(self.best[-1]) if len(self.best) else math.nan


def outcome(
    name: str, seed: int, told: Told, rows: Array, distance: float, *, known: Told | None, reference: Array | None
) -> Outcome:  # fmt: skip
    """The figures of a search.

    Args:
        name, seed: Of the search.
        told: Its answers in their order.
        rows: The evaluated designs as numbers whose Euclidean distance is that of designs, (n, C).
        distance: From where designs are distinct.
        known: Answers of known designs, or None.
        reference: Of several objectives, as they are minimised.
    """
    feasible = told.is_feasible
    best = best_so_far(told, reference)
    beats_after, better = None, None
    if known is not None and known.is_valid.any():  # any feasible design beats infeasible ones
        wins = np.flatnonzero(is_better(told, known))
        beats_after = int(wins[0]) + 1 if len(wins) else None
        in_order = wins[np.argsort(told.objectives[wins, 0], kind="stable")]
        better = len(distinct(rows[in_order], distance))
    winner = None
    if feasible.any():
        winner = int(np.argmin(np.where(feasible, told.objectives[:, 0], np.inf)))
    count = max(1, len(told))
    return Outcome(
        name,
        seed,
        best,
        float((~told.is_valid).sum() / count),
        float((told.is_valid & ~feasible).sum() / count),
        beats_after,
        better,
        winner,
    )


def quartiles(values: Sequence[float]) -> list[float]:
    """First quartile, median and third quartile of numbers, NaN left out; NaN of none.

    Example:
        >>> quartiles([1.0, 2.0, float("nan"), 3.0])
        [1.5, 2.0, 2.5]
    """
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return [math.nan] * 3
    return np.quantile(known, [0.25, 0.5, 0.75]).tolist()


def quartile_curves(searches: Sequence[Array]) -> Array:
    """The quartiles of curves of the best so far, as long as the shortest, (3, n); NaN where most have no value yet.

    Example:
        >>> quartile_curves([np.array([1.0, 2.0, 3.0]), np.array([3.0, 4.0])]).tolist()
        [[1.5, 2.5], [2.0, 3.0], [2.5, 3.5]]
    """
    shortest = min(len(curve) for curve in searches)
    values = np.stack([curve[:shortest] for curve in searches])
    # Of curves that have not begun the median would be over the lucky ones.
    filled = np.where(np.isnan(values), np.inf, values)
    with np.errstate(invalid="ignore"):
        found = np.quantile(filled, [0.25, 0.5, 0.75], axis=0)
    return np.where(np.isfinite(found), found, np.nan)


def summary(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The figures of a space over its seeds: medians, and of the best its quartiles.

    A search that found nothing better than the known designs counts as one that needs more than its budget: the median
    of evaluations is then None where half of the searches or more found none.
    """
    after = [math.inf if one.beats_after is None else one.beats_after for one in outcomes]
    better = [one.better for one in outcomes if one.better is not None]
    median_after = float(np.median(after))
    return {
        "name": outcomes[0].name,
        "seeds": len(outcomes),
        "evaluations": max(len(one.best) for one in outcomes),
        "best": quartiles([one.reached for one in outcomes]),
        "found": sum(one.winner is not None for one in outcomes),
        "beats_after": median_after if math.isfinite(median_after) else None,
        "better": float(np.median(better)) if better else None,
        "wasted": float(np.median([one.wasted for one in outcomes])),
        "infeasible": float(np.median([one.infeasible for one in outcomes])),
    }
