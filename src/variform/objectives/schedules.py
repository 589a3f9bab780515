"""Schedules: weights as pure functions of the optimiser's step."""

import math
from collections.abc import Callable

Schedule = Callable[[int], float]


def warmup(beta: float, steps: int) -> Schedule:
    """Weight of the KL term that rises linearly from 0 at step 0 to `beta` at step `steps`.

    Example:
        >>> [warmup(1.0, 4)(step) for step in (0, 1, 4, 9)]
        [0.0, 0.25, 1.0, 1.0]
    """
    return lambda step: beta * min(1.0, step / steps) if steps else beta  # eq: kl-warmup


def cosine(beta: float, steps: int) -> Schedule:
    r"""Weight that rises from 0 at step 0 to `beta` at step `steps` along half a cosine, flat at both ends.

    $\tfrac\beta2 [1 - \cos(\pi\, \text{step} / \text{steps})]$

    Example:
        >>> [round(cosine(1.0, 4)(step), 3) for step in (0, 1, 2, 4, 9)]
        [0.0, 0.146, 0.5, 1.0, 1.0]
    """

    def weight(step: int) -> float:
        if not steps:
            return beta
        done = min(1.0, step / steps)
        return beta / 2 * (1 - math.cos(math.pi * done))  # eq: kl-cosine

    return weight


def cyclic(beta: float, steps: int, *, cycles: int = 4) -> Schedule:
    r"""Weight that goes through `cycles` equal cycles within `steps` steps, and is `beta` afterwards.

    Each cycle rises linearly from 0 to `beta` in its first half and stays there in its second.

    Reference:
        Fu et al. (2019), with a rise over half a cycle.

    Example:
        >>> [cyclic(1.0, 8, cycles=2)(step) for step in range(10)]
        [0.0, 0.5, 1.0, 1.0, 0.0, 0.5, 1.0, 1.0, 1.0, 1.0]
    """

    def weight(step: int) -> float:
        if step >= steps:
            return beta
        return beta * min(1.0, 2 * (step * cycles % steps) / steps)  # eq: kl-cyclic

    return weight
