"""CMA-ES: the only importer of cma."""

import math
from typing import Any

import cma
import numpy as np

from variform.design.request import Request, Searched
from variform.design.told import Told, penalised

Array = np.ndarray[Any, np.dtype[Any]]

_START_DRAWS = 1000
_HEAVIER = 1.5
_FIRST_STEP = 0.5  # standard deviations of the points that it begins with
_LEAST_STEP = 0.01  # of the side of the box
_KNOWN = 10  # generations that must be known, and one in so many of the points counts


class Noise:
    """N(0, 1) from a generator that can be changed: what cma calls in place of NumPy's global one."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def __call__(self, *shape: int) -> Array:
        """Draws of some shape."""
        return self.rng.standard_normal(shape)


def generation_size(dim: int) -> int:
    r"""The customary number of points, $4 + \lfloor 3 \ln d \rfloor$.

    Example:
        >>> generation_size(10)
        10
    """
    return 4 + math.floor(3 * math.log(dim))


def beginning(space: Searched, told: Told) -> Array:
    """The points whose mean and spread CMA-ES begins with, (n, dim): draws of the space's own law.

    Where ten generations or more were known before the first proposal, the best tenth of these (Nomura et al., 2021).
    """
    known = told.take(_is_known(told))
    if len(known) < _KNOWN * generation_size(space.dim):
        return space.sample(_START_DRAWS, np.random.default_rng(0))
    return known.z[penalised(known, known).argsort(kind="stable")[: len(known) // _KNOWN]]


def _is_known(told: Told) -> Array:
    return (told.batch < 0) & told.is_valid


def strategy_in(space: Searched, points: Array, noise: Noise) -> cma.CMAEvolutionStrategy:
    """CMA-ES before the first answer: the mean of points, and half of their standard deviations.

    Half, because draws in many dimensions are all far from the mean, and few evaluations leave no time to come closer.
    It stays within the box, and sides of the box without length are left out.

    Args:
        space: Where points are looked for.
        points: As `beginning` gives them.
        noise: All the draws that it will make.
    """
    low, high = space.box
    free = low < high
    points = points.clip(low, high)[:, free]
    options = {
        "bounds": [low[free], high[free]],
        "CMA_stds": points.std(0).clip(_LEAST_STEP * (high - low)[free]),
        "popsize": generation_size(space.dim),
        "randn": noise,
        "seed": math.nan,  # NumPy's global state stays as it is
        "verbose": -9,
    }
    return cma.CMAEvolutionStrategy(points.mean(0), _FIRST_STEP, options)


def next_points(request: Request) -> Array:
    """Draws of the law that CMA-ES has after the batches told, which are of one objective.

    Batches are joined until they make a generation; one of which no point is valid teaches nothing and is left out. A
    constraint that more than half of a generation miss weighs more in the next, up from 1, so that what the strategy
    comes to is feasible (Bean and Hadj-Alouane, 1992).

    Reference:
        Hansen and Ostermeier (2001).
    """
    told, least = request.told, generation_size(request.space.dim)
    low, high = request.space.box
    free = low < high
    noise = Noise(np.random.default_rng(0))
    strategy = strategy_in(request.space, beginning(request.space, told), noise)
    if _is_known(told).sum() >= _KNOWN * least:
        told = told.take(told.batch >= 0)
    seen = np.zeros(len(told), bool)
    weights = np.ones(told.violations.shape[1])
    for generation in told.generations(least):
        seen |= np.isin(told.batch, generation.batch)
        if generation.is_valid.any():
            strategy.ask(len(generation))
            values = penalised(generation, told.take(seen), weights)
            inside = generation.z.clip(low, high)[:, free]
            strategy.tell(list(inside), values.tolist())
            missed = (generation.take(generation.is_valid).violations > 0).mean(0)
            weights *= np.where(missed > 0.5, _HEAVIER, 1 / _HEAVIER)
            weights = weights.clip(1)
    noise.rng = request.stream
    points = np.tile(low, (request.count, 1))
    points[:, free] = strategy.ask(request.count)
    return points
