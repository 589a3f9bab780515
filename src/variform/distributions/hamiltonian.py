"""Steps along the flow of a Hamiltonian, which walk far in a density without leaving it."""

from collections.abc import Callable

from torch import Tensor


def leapfrog(
    slope: Callable[[Tensor], Tensor], z: Tensor, momentum: Tensor, step: Tensor, leaps: int
) -> tuple[Tensor, Tensor]:
    r"""Position and momentum after some steps along the flow of $H(z, m) = -\log f(z) + \frac{1}{2} m^\top m$.

    It is its own inverse once the momentum is turned around, keeps volumes, and is off by the square of the step.

    Args:
        slope: The gradient of log f at z.
        z: Positions, (..., D).
        momentum: m, likewise.
        step: The size of a step in every coordinate, which broadcasts against z.
        leaps: How many.

    Reference:
        Neal (2011), equations 18 to 20.

    Example:
        >>> import math
        >>> import torch
        >>> z, momentum = torch.tensor([1.0]), torch.tensor([0.0])
        >>> z, momentum = leapfrog(lambda z: -z, z, momentum, torch.tensor(math.pi / 1000), 1000)
        >>> round(z.item(), 4), abs(momentum.item()) < 1e-4  # half an orbit
        (-1.0, True)
    """
    momentum = momentum + step / 2 * slope(z)
    for _ in range(leaps - 1):
        z = z + step * momentum
        momentum = momentum + step * slope(z)
    z = z + step * momentum
    return z, momentum + step / 2 * slope(z)  # eq: leapfrog
