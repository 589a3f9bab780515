"""How well a score tells two kinds of rows apart: the area under the receiver's curve."""

import math
from typing import Any

import numpy as np

from variform.evaluation.standard_error import Estimate

Array = np.ndarray[Any, np.dtype[Any]]


def auc_of(scores: Array, is_positive: Array) -> Estimate:
    r"""The probability that a row of the one kind scores higher than one of the other, and its standard error.

    With $V_i$ the share of the others below positive row i (a tie is half), and $W_j$ the share of the positive
    ones above other row j, $\mathrm{AUC} = \bar V = \bar W$ and its variance is $s_V^2 / m + s_W^2 / n$.

    Args:
        scores: (N,), higher for what is likelier positive.
        is_positive: (N,) bool, m of them true and n false.

    Reference:
        DeLong, DeLong and Clarke-Pearson (1988); Sun and Xu (2014) for the ranks.

    Example:
        >>> auc_of(np.array([0.9, 0.8, 0.3, 0.1]), np.array([True, False, True, False])).mean
        0.75
    """
    from scipy.stats import rankdata  # here, for importing it takes long

    is_positive = np.asarray(is_positive, bool)
    of_kinds = scores[is_positive], scores[~is_positive]
    ranks = rankdata(scores)
    # A rank among all less that among its own kind is the number of the other kind below.
    below = [
        ranks[kind] - rankdata(own)
        for kind, own in zip((is_positive, ~is_positive), of_kinds, strict=True)
    ]
    of_positive = below[0] / len(of_kinds[1])  # eq: auc
    of_others = 1 - below[1] / len(of_kinds[0])
    variance = _of_mean(of_positive) + _of_mean(of_others)
    return Estimate(float(of_positive.mean()), math.sqrt(variance), len(scores))


def _of_mean(values: Array) -> float:
    """The variance of a mean."""
    return float(values.var(ddof=1) / len(values))
