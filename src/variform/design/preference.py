"""A person's choices or ratings as a response: the utility that explains them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from variform.design.optimisers import bayesian_for

Array = np.ndarray[Any, np.dtype[Any]]


def pairs_of_ratings(ratings: Array) -> Array:
    """The choices that ratings imply: of two points that are rated differently, the one that is rated higher.

    Args:
        ratings: (n,), such as 1 to 5; NaN where a point was not rated.

    Returns:
        (k, 2) of row numbers, the preferred one first.

    Example:
        >>> pairs_of_ratings(np.array([3, 5, 3])).tolist()
        [[1, 0], [1, 2]]
    """
    return np.argwhere(ratings[:, None] > ratings)


def fit_preference(z: Array, pairs: Array, box: tuple[Array, Array]) -> "Preference":
    r"""The utility u of points, of which a person prefers the higher: $P(a \succ b) = \Phi((u_a - u_b) / \sqrt 2)$.

    u is a Gaussian process, and the fit is Laplace's approximation (BoTorch's PairwiseGP). Its values have no unit, and
    only differences count. Where designs that are preferred are looked for, its negative is what `propose` minimises.

    Args:
        z: Points, (n, d).
        pairs: (k, 2) of row numbers of `z`, the preferred one first; `pairs_of_ratings` makes them of ratings.
        box: Low and high, (d,) each, as a space has them.

    Raises:
        ValueError: for no pair, a pair of rows that are not there, and packages that are missing.

    Reference:
        Chu and Ghahramani (2005).
    """
    if not len(pairs):
        raise ValueError(
            "`pairs` must hold one choice or more, got none; rate some points differently, or compare two of them."
        )
    if pairs.min() < 0 or pairs.max() >= len(z):
        raise ValueError(
            f"`pairs` must be numbers of rows from 0 to {len(z) - 1}, got {pairs.min()} to {pairs.max()};"
            " number the points as they stand in `z`."
        )
    return Preference(bayesian_for("a preference").utility(z, pairs, box))


@dataclass(frozen=True)
class Preference:
    """What `fit_preference` learned.

    Args:
        mean: Gives the expected utility, (n,), of points, (n, d).
    """

    mean: Callable[[Array], Array]

    def utility(self, z: Array) -> Array:
        """The expected utility of points (n, d), (n,): the higher, the more they are preferred."""
        return self.mean(z)
