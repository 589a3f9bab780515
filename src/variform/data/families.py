"""Rows that are nearly the same: near pairs, families of them, and how many of one part have a near row in another."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.spatial import KDTree

_MOST_DIRECTIONS = 8  # that the search is in: trees of more find nothing faster
_PAIRS_AT_ONCE = 2**18
_VALUES_AT_ONCE = 2**24
_ROUNDING = 1e-12  # of the largest value, in a distance


@dataclass(frozen=True, eq=False)
class Neighbourhood:
    r"""Rows of numbers, of which two are near where $\sqrt{\frac1D \sum_j (a_j - b_j)^2} \le$ tolerance.

    Exact, whatever the number of columns: a tree finds candidates in the few directions in which the rows vary most,
    where no distance is larger, and all columns decide.

    Args:
        values: (N, D), float64, finite, in the unit of the tolerance.
        tolerance: Root mean square difference over the columns up to which rows are near; 0 for equal ones.

    Example:
        >>> near = Neighbourhood(np.array([[0.0, 0.0], [0.3, 0.0], [0.6, 0.0], [5.0, 5.0]]), 0.25)
        >>> near.families().tolist(), near.has_near(np.array([1, 3]), np.array([0])).tolist()
        ([0, 0, 0, 1], [True, False])
    """

    values: NDArray[np.float64]
    tolerance: float

    def pairs(self) -> Iterator[NDArray[np.intp]]:
        """All pairs of near rows, each once, (P, 2) with the first number less than the second; some at a time."""
        for pairs in self._near(np.arange(len(self.values)), self._tree):
            yield pairs[pairs[:, 0] < pairs[:, 1]]

    def families(self) -> NDArray[np.int64]:
        """The family of each row, (N,), counted from 0: rows are of one if a chain of near ones connects them."""
        from scipy.sparse import coo_array  # here, for it takes a tenth of a second
        from scipy.sparse.csgraph import connected_components

        family = np.arange(len(self.values))
        for pairs in self.pairs():
            ends = family[pairs].T
            graph = coo_array((np.ones(len(pairs), bool), ends), shape=(len(family),) * 2)
            _, joined = connected_components(graph, directed=False)
            family = joined[family]
        _, first, inverse = np.unique(family, return_index=True, return_inverse=True)
        return np.argsort(np.argsort(first))[inverse]  # in the order of their first rows

    def has_near(self, rows: NDArray[np.intp], others: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Whether each of `rows` (M,) has a near row among `others`, (M,)."""
        from scipy.spatial import KDTree  # here, for it takes a tenth of a second

        found = np.zeros(len(self.values), bool)
        if len(others):
            tree = KDTree(self._directions[others])
            for pairs in self._near(rows, tree, others):
                found[pairs[:, 0]] = True
        return found[rows]

    def _near(
        self, rows: NDArray[np.intp], tree: "KDTree", others: NDArray[np.intp] | None = None
    ) -> Iterator[NDArray[np.intp]]:
        """Pairs (row, other) of near rows, (P, 2), for all `rows` and the rows that a tree holds."""
        radius = self.tolerance * math.sqrt(self.values.shape[1]) + self._error
        counts = tree.query_ball_point(self._directions[rows], radius, return_length=True)
        _, starts = np.unique(np.cumsum(counts) // _PAIRS_AT_ONCE, return_index=True)
        for some in np.split(rows, starts[1:]):
            found = tree.query_ball_point(self._directions[some], radius)
            first = np.repeat(some, [len(near) for near in found])
            second = np.array([other for near in found for other in near], np.intp)
            second = second if others is None else others[second]
            is_near = self._distances(first, second) <= self.tolerance + self._error
            yield np.stack([first[is_near], second[is_near]], 1)

    def _distances(self, first: NDArray[np.intp], second: NDArray[np.intp]) -> NDArray[np.float64]:
        """Root mean square differences of pairs of rows, (P,)."""
        size = max(1, _VALUES_AT_ONCE // self.values.shape[1])
        distances = np.empty(len(first))
        for start in range(0, len(first), size):
            some = slice(start, start + size)
            change = self.values[first[some]] - self.values[second[some]]
            distances[some] = np.sqrt(np.square(change).mean(1))
        return distances

    @cached_property
    def _error(self) -> float:
        """What rounding may add to a distance."""
        return _ROUNDING * float(np.abs(self.values).max(initial=0.0))

    @cached_property
    def _tree(self) -> "KDTree":
        from scipy.spatial import KDTree

        return KDTree(self._directions)

    @cached_property
    def _directions(self) -> NDArray[np.float64]:
        """The rows in the directions in which they vary most, (N, d): distances there are no larger."""
        if self.values.shape[1] <= _MOST_DIRECTIONS:
            return self.values
        centred = self.values - self.values.mean(0)
        _, axes = np.linalg.eigh(centred.T @ centred)
        return centred @ axes[:, -_MOST_DIRECTIONS:]


def joined(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.int64]:
    """Families of rows, (N,), that two groupings make together: rows are of one if a chain of either connects them.

    Example:
        >>> joined(np.array([0, 0, 1, 2]), np.array(["a", "b", "b", "c"])).tolist()
        [0, 0, 0, 1]
    """
    from scipy.sparse import coo_array  # here, for it takes a tenth of a second
    from scipy.sparse.csgraph import connected_components

    _, here = np.unique(first, return_inverse=True)
    _, there = np.unique(second, return_inverse=True)
    ends = here, here.max() + 1 + there
    size = int(ends[1].max()) + 1
    graph = coo_array((np.ones(len(here), bool), ends), shape=(size, size))
    _, family = connected_components(graph, directed=False)
    return family[here]


def comparable(values: NDArray[np.float64], is_category: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The numbers of rows of a table, (N, D), further apart than any tolerance where categories or gaps differ.

    Args:
        values: (N, columns); NaN where a value is missing.
        is_category: Whether each column holds numbers of categories, (columns,).

    Example:
        >>> rows = comparable(np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 1.0]]), np.array([False, True]))
        >>> Neighbourhood(rows, 2.0).families().tolist()
        [0, 1, 1]
    """
    pattern = np.concatenate([np.isnan(values), values[:, is_category]], 1)
    _, number = np.unique(np.nan_to_num(pattern, nan=-1.0), axis=0, return_inverse=True)
    numbers = np.nan_to_num(values[:, ~is_category])
    if not numbers.shape[1]:
        numbers = np.zeros((len(values), 1))
    if number.any():
        apart = 4 * max(1.0, float(np.abs(numbers).max())) * numbers.shape[1]
        numbers[:, 0] += apart * number.reshape(-1)
    return numbers
