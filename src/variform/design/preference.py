"""A person's choices or ratings as a response: the utility that explains them, and which designs to show next."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from variform.config.checks import Count, checked
from variform.design.optimisers import bayesian_for
from variform.design.request import Request, Searched
from variform.design.told import Told
from variform.evaluation import exploration
from variform.evaluation.standard_error import Estimate

Array = np.ndarray[Any, np.dtype[Any]]

_MOST_PAIRS = (
    2000  # that a utility is fitted to: those of ratings grow with the square of their number
)
_MOST_POINTS = 2000  # that are looked at
_NEAR = 500  # of them around the favourite, where there is no pool
_STEP = 0.1  # how far around it: the standard deviation, of the sides of the box
_FOLDS = 5
_ENOUGH = 10  # points in a choice, from which it is said how well others are foretold


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


@dataclass(frozen=True, eq=False)
class Choices:
    """Which of two points a person preferred, time and again.

    Args:
        z: Points, (n, d).
        pairs: (k, 2) of row numbers of `z`, the preferred one first.
    """

    z: Array
    pairs: Array


def fit_preference(z: Array, pairs: Array, box: tuple[Array, Array]) -> "Preference":
    r"""The utility u of points, of which a person prefers the higher: $P(a \succ b) = \Phi((u_a - u_b) / \sqrt 2)$.

    u is a Gaussian process, and the fit is Laplace's approximation (BoTorch's PairwiseGP). Its values have no unit, and
    only differences count. Of more than 2,000 pairs as many count, spread evenly.

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
    some = pairs[exploration.spread(_MOST_PAIRS, len(pairs)).numpy()]
    learned = bayesian_for("a preference").utility(z, some, box)
    return Preference(learned.mean, learned.best)


@dataclass(frozen=True)
class Preference:
    """What `fit_preference` learned.

    Args:
        mean: Gives the expected utility, (n,), of points, (n, d).
        best: Gives the points to show next; `propose_preferred` asks for them.
    """

    mean: Callable[[Array], Array]
    best: Callable[[Request, Array], Array]

    def utility(self, z: Array) -> Array:
        """The expected utility of points (n, d), (n,): the higher, the more they are preferred."""
        return self.mean(z)


@checked
def propose_preferred(
    space: Searched, choices: Choices, count: Count, *, seed: int, pending: Array | None = None
) -> Array:
    r"""The points to show a person next, a pure function of the choices and a seed.

    Those are wanted among which, the most preferred one so far and what is pending, the best lets expect the greatest
    utility, $E \max_i u(z_i)$ (BoTorch's qExpectedUtilityOfBestOption), one after the other. They are looked for among
    1,500 draws of the space's own law and 500 points around the most preferred one: least is known in the corners of
    the box, so that a search of all of it ends there, where a normal law has no designs. Before the first choice they
    are draws of the law.

    Args:
        space: Where points are looked for; of a pool they are among those that were not shown yet.
        choices: What was chosen so far.
        count: How many points.
        seed: Of all draws, together with the numbers of points and choices.
        pending: Points, (p, d), that were shown and neither rated nor compared yet.

    Returns:
        (count, d); of a pool fewer where fewer are left.

    Reference:
        Astudillo et al. (2023), qEUBO.
    """
    if pending is None:
        pending = np.empty((0, space.dim))
    stream = np.random.default_rng([seed, len(choices.z) + len(pending), len(choices.pairs)])
    told = Told.of(choices.z.reshape(-1, space.dim), np.zeros(len(choices.z)))
    request = Request(space, told, count, stream, pending, None)
    points = request.points_left(_MOST_POINTS)
    if points is not None and (len(points) <= count or not len(choices.pairs)):
        return points[:count]
    if not len(choices.pairs):
        return request.sample()
    learned = fit_preference(choices.z, choices.pairs, space.box)
    if points is None:
        points = _likely(request, choices.z[learned.utility(choices.z).argmax()])
    return learned.best(request, points)


def _likely(request: Request, favourite: Array) -> Array:
    """Points that the space's own law has, and others around the favourite."""
    space, stream = request.space, request.stream
    low, high = space.box
    steps = stream.normal(0.0, _STEP * (high - low), (_NEAR, space.dim))
    drawn = space.sample(_MOST_POINTS - _NEAR, stream)
    return np.concatenate([drawn, (favourite + steps).clip(low, high)])


def foretold(choices: Choices, box: tuple[Array, Array], *, seed: int = 0) -> Estimate | None:
    """The share of choices that a utility foretells which knows nothing of one of the two points, or of both.

    A fifth of the points is left out at a time. The error is that of the choices; those of ratings depend on each
    other, so that it is then too small.

    Args:
        choices: All of them.
        box: As of `fit_preference`.
        seed: Of the parts.

    Returns:
        None where fewer than ten points were compared.
    """
    compared = np.unique(choices.pairs)
    if len(compared) < _ENOUGH:
        return None
    hits = np.concatenate(list(_hits(choices, box, compared, seed)))
    error = hits.std(ddof=1) / np.sqrt(len(hits))
    return Estimate(float(hits.mean()), float(error), len(hits))


def _hits(
    choices: Choices, box: tuple[Array, Array], compared: Array, seed: int
) -> Iterator[Array]:  # fmt: skip
    """Of each part that is left out 1 for a choice that is foretold, 0 for another."""
    shuffled = np.random.default_rng(seed).permutation(compared)
    for part in np.array_split(shuffled, _FOLDS):
        is_out = np.isin(choices.pairs, part).any(1)
        if is_out.any() and not is_out.all():
            learned = fit_preference(choices.z, choices.pairs[~is_out], box)
            first, second = learned.utility(choices.z)[choices.pairs[is_out]].T
            yield (first > second).astype(float)
