"""A few good designs that differ from each other, and how near each is to what is known."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from variform.config.checks import Count, NotNegative, checked
from variform.config.words import counted
from variform.design.neighbours import Nearest, Neighbours
from variform.design.told import non_dominated

Array = np.ndarray[Any, np.dtype[Any]]

_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class Selection:
    """Designs that were selected, in the order in which they were: the best one is first.

    Args:
        chosen: Their numbers among those that were offered, (k,).
        apart: How far each is from the nearest of the others, (k,); infinity where it is alone.
        nearest: The nearest known design of each.
        note: That there are fewer than were asked for, a sentence; "" where there are not.
    """

    chosen: Array
    apart: Array
    nearest: Nearest
    note: str


@checked
def select(
    designs: Array,
    values: Array,
    neighbours: Neighbours,
    count: Count = 5,
    *,
    goal: Literal["min", "max"] = "min",
    within: NotNegative = 3.0,
    apart: NotNegative = 0.0,
) -> Selection:
    r"""Good designs that differ: greedy max-min among those near the best, each at least some distance from the others.

    Good is what is within p % of the best value $f^*$, $|f - f^*| \le \frac{p}{100} |f^*|$. The best comes first, then
    always the good design that is furthest from the nearest of those chosen, while it is far enough.

    Args:
        designs: N of them, (N, *shape), in the user's units.
        values: The objective of each, (N,); NaN for what is invalid or infeasible, and never chosen.
        neighbours: The known designs, which also say how distances are measured.
        count: How many are wanted.
        goal: Whether small or large values are good.
        within: p, in percent of the best value.
        apart: The least distance between two of them, in the unit of `Neighbours`.

    Raises:
        ValueError: where no design has a value.

    Reference:
        Gonzalez (1985): the greedy order, whose least distance is at least half of the largest that is possible.

    Example:
        >>> import torch
        >>> from variform.data.reading import dataset_from
        >>> known = Neighbours(dataset_from(torch.zeros(2, 1)))
        >>> designs = np.array([[0.0], [1.0], [1.1], [5.0], [9.0]])
        >>> selection = select(designs, np.array([1.0, 1.01, 1.02, 1.03, 2.0]), known, 3, apart=0.5)
        >>> selection.chosen.tolist(), selection.apart.round(3).tolist()
        ([0, 3, 2], [1.1, 3.9, 1.1])
    """
    values = np.asarray(values, np.float64)
    _require_some(int(np.isfinite(values).sum()), len(values))
    loss = values if goal == "min" else -values
    best = int(np.nanargmin(loss))
    most = within / 100 * abs(loss[best])
    is_good = loss - loss[best] <= most * (1 + _ROUNDING)
    good = np.flatnonzero(is_good)
    first = int(np.flatnonzero(good == best)[0])
    which = f"{counted(len(good), 'design')} within {within:g} % of the best value"
    return _differing(designs, good, first, neighbours, count, apart, which)


@checked
def select_front(
    designs: Array,
    objectives: Array,
    neighbours: Neighbours,
    count: Count = 5,
    *,
    apart: NotNegative = 0.0,
) -> Selection:
    """Designs of the Pareto set that differ: as `select`, with that set in the place of what is near the best value.

    The one with the least first objective comes first.

    Args:
        designs: N of them, (N, *shape), in the user's units.
        objectives: (N, m), to be minimised; NaN for what is invalid or infeasible, and never chosen.
        neighbours, count, apart: As of `select`.

    Raises:
        ValueError: where no design has all objectives.

    Example:
        >>> import torch
        >>> from variform.data.reading import dataset_from
        >>> known = Neighbours(dataset_from(torch.zeros(2, 1)))
        >>> objectives = np.array([[1.0, 4.0], [2.0, 3.0], [2.0, 5.0], [4.0, 1.0]])
        >>> select_front(np.array([[0.0], [1.0], [5.0], [3.0]]), objectives, known, 2).chosen.tolist()
        [0, 3]
    """
    objectives = np.asarray(objectives, np.float64)
    whole = np.flatnonzero(np.isfinite(objectives).all(1))
    _require_some(len(whole), len(objectives))
    front = whole[non_dominated(objectives[whole])]
    first = int(objectives[front, 0].argmin())
    which = f"{counted(len(front), 'design')} on the Pareto set"
    return _differing(designs, front, first, neighbours, count, apart, which)


def _require_some(feasible: int, count: int) -> None:
    if not feasible:
        raise ValueError(
            f"a design must be valid and feasible to be selected; none of {count} is. Evaluate more, or loosen the "
            "constraints."
        )


def _differing(
    designs: Array, good: Array, first: int, neighbours: Neighbours, count: int, apart: float,
    which: str,
) -> Selection:  # fmt: skip
    """Of the designs at the places `good` one after the other: the one at `first`, then always the furthest."""
    points = neighbours.points(designs[good])
    order, to_chosen = [first], np.full(len(good), np.inf)
    while len(order) < count:
        to_chosen = np.minimum(to_chosen, _distances(points, points[order[-1]]))
        furthest = int(to_chosen.argmax())
        if to_chosen[furthest] < apart or to_chosen[furthest] == 0:
            break
        order.append(furthest)
    chosen = good[order]
    return Selection(
        chosen,
        _to_others(points[order]),
        neighbours.nearest(designs[chosen]),
        _note(len(order), count, which, apart, neighbours.unit),
    )


def _distances(points: Array, other: Array) -> Array:
    """From one point to each of `points` (N, C), (N,)."""
    return np.linalg.norm(points - other, axis=1)


def _to_others(points: Array) -> Array:
    """Of each point the distance to the nearest other one, (k,)."""
    distances = np.array([_distances(points, point) for point in points])
    np.fill_diagonal(distances, np.inf)
    return distances.min(1)


def _note(found: int, count: int, which: str, apart: float, unit: str) -> str:
    if found == count:
        return ""
    if apart:
        return (
            f"{found} of {count} designs were found: of {which} no other is {apart:.3g} ({unit}) from all of these. "
            "Evaluate more, or allow worse designs or smaller distances between them."
        )
    return (
        f"{found} of {count} designs were found: of {which} these are all that differ. Evaluate more, or allow worse "
        "designs."
    )
