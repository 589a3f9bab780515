"""Which points of a space to evaluate next: a pure function of what was told and a seed, so stops change nothing."""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from variform.config.checks import Count, checked
from variform.design.request import Request, Searched
from variform.design.told import Told
from variform.system.extras import needing

Array = np.ndarray[Any, np.dtype[Any]]

Optimiser = Literal["random", "pool", "cma", "gp"]

_CANDIDATES = 2000
_ENOUGH = 2  # valid points, from which a response can be said to vary


@checked
def propose(
    optimiser: Optimiser,
    space: Searched,
    told: Told,
    count: Count,
    *,
    seed: int,
    pending: Array | None = None,
    reference: Array | None = None,
) -> Array:
    """The points to evaluate next.

    The same rows told, in any order, and the same seed give the same points in every bit, for nothing is kept.

    - random: draws of the space's own law.
    - gp: Gaussian processes of every response, the noisy expected improvement of the best feasible objective (BoTorch's
      qLogNEI) or, of several objectives, of the hypervolume (qLogNEHVI). Constraints are responses too, and so is
      whether a point is valid. Before two points are valid, draws of the space's own law. Of more than 400 points told
      the 200 best count and the 200 last of the others.
    - pool: the same among so many points: those of a pool that were not proposed yet, at most 2,000 drawn anew each
      time, else as many draws of the space's own law.
    - cma: CMA-ES of one objective, its state rebuilt from the batches told. Violations and invalid points count by the
      rule of `penalised`.

    Args:
        optimiser: One of the above.
        space: Where points are looked for.
        told: What was answered so far.
        count: How many points.
        seed: Of all draws, together with the number of points that are told or pending.
        pending: Points, (p, d), that were proposed and not yet answered.
        reference: (m,): of several objectives the values that a design must be better than to count, as objectives are
            told. By default a tenth of their range beyond the worst values on the Pareto set.

    Returns:
        (count, d); of a pool fewer where fewer are left.

    Raises:
        ValueError: for a count below 1, several objectives told to cma, and a package that is missing.

    Example:
        >>> class Square:
        ...     dim, box = 2, (np.zeros(2), np.ones(2))
        ...     def sample(self, count, rng):
        ...         return rng.random((count, 2))
        >>> propose("random", Square(), Told.nothing(2), 3, seed=0).shape
        (3, 2)
    """
    if pending is None:
        pending = np.empty((0, space.dim))
    stream = np.random.default_rng([seed, len(told) + len(pending)])
    request = Request(space, told.ordered(), count, stream, pending, reference)
    return _PROPOSERS[optimiser](request)


def _random(request: Request) -> Array:
    left = request.points_left(request.count)
    return request.sample() if left is None else left


def _pool(request: Request) -> Array:
    points = request.points_left(_CANDIDATES)
    if points is None:
        points = request.space.sample(_CANDIDATES, request.stream)
    bayesian = bayesian_for("the `optimiser` pool")
    if request.told.is_valid.sum() < _ENOUGH or len(points) <= request.count:
        return points[: request.count]
    return bayesian.best_of(points, request)


def _gp(request: Request) -> Array:
    if hasattr(request.space, "points"):
        return _pool(request)
    bayesian = bayesian_for("the `optimiser` gp")
    if request.told.is_valid.sum() < _ENOUGH:
        return request.sample()
    return bayesian.best_in_box(request)


def _cma(request: Request) -> Array:
    objectives = request.told.objectives.shape[1]
    if objectives != 1:
        raise ValueError(
            f"the `optimiser` cma takes one objective, got {objectives}; use gp, or make constraints of all but one."
        )
    with needing("design", "the `optimiser` cma"):
        from variform.design import evolution
    return evolution.next_points(request)


_PROPOSERS: dict[Optimiser, Callable[[Request], Array]] = {
    "random": _random,
    "pool": _pool,
    "cma": _cma,
    "gp": _gp,
}


def bayesian_for(user: str) -> Any:
    """The module that stands on BoTorch.

    Args:
        user: What needs it, as a message says it.

    Raises:
        ValueError: where the packages of the extra design are missing.
    """
    with needing("design", user):
        from variform.design import bayesian
    return bayesian
