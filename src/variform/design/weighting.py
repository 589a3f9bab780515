"""How much designs count when a model is trained anew on what a study answered: the better, the more."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SHARPNESS = 1e-3
"""k of `rank_weights`: a thousandth of the rows in front of a design halve what it counts beside the best one."""


def rank_weights(values: Array, reference: Array | None = None) -> Array:
    r"""$w \propto 1 / (k N + \mathrm{rank})$, where the rank counts the reference values that are better.

    Args:
        values: What is minimised, (n,); NaN, where it is not known, is worse than all others.
        reference: The values of the N designs that are trained on, over which the mean of the weights is 1; by default
            the values themselves.

    Returns:
        (n,), of which equal values have equal ones.

    Reference:
        Tripp, Daxberger and Hernandez-Lobato (2020), equation 4, with k = .001.

    Example:
        >>> rank_weights(np.array([3.0, 1.0, 2.0])).round(3)
        array([0.004, 2.987, 0.009])
    """
    reference = values if reference is None else reference
    ranked = np.sort(np.nan_to_num(reference, nan=np.inf))

    def unscaled(of: Array) -> Array:
        ranks = np.searchsorted(ranked, np.nan_to_num(of, nan=np.inf))
        return 1 / (SHARPNESS * len(ranked) + ranks)

    return unscaled(values) / unscaled(reference).mean()
