"""Differences between models that scored the same rows: what makes a row hard for both leaves them."""

import torch
from torch import Tensor

from variform.evaluation.density import Estimate


def mean_difference(values: Tensor, other: Tensor) -> Estimate:
    r"""$\bar d = \frac1N \sum_n (a_n - b_n)$ with its paired standard error $s_d / \sqrt N$.

    Args:
        values: a, one model's score of every row, (N,).
        other: b, another model's scores of the same rows.

    Reference:
        Student (1908).

    Example:
        >>> mean_difference(torch.tensor([1.0, 5.0]), torch.tensor([0.0, 4.0])).to_dict()
        {'mean': 1.0, 'se': 0.0, 'n': 2}
    """
    return Estimate.of(values - other)  # eq: paired


def root_mean_difference(squares: Tensor, other: Tensor) -> Estimate:
    """The difference of two root means, with a paired standard error by the delta method.

    A row weighs $s_n / 2r$ in the error of a root r. Rows of which nothing is known (NaN) are left out.

    Args:
        squares: One model's mean squared error of every row, (N,).
        other: Another model's of the same rows.

    Example:
        >>> root_mean_difference(torch.full((3,), 9.0), torch.full((3,), 4.0)).to_dict()
        {'mean': 1.0, 'se': 0.0, 'n': 3}
    """
    pair = torch.stack([squares.double(), other.double()])
    pair = pair[:, ~pair.isnan().any(0)]
    roots = pair.mean(1).sqrt()
    parts = pair / (2 * torch.where(roots > 0, roots, 0.5))[:, None]
    error = mean_difference(parts[0], parts[1])
    return Estimate((roots[0] - roots[1]).item(), error.se, error.n)


def row_errors(squares: Tensor) -> Tensor:
    """The mean squared error of every row, (N,), of errors (N, ...) that are NaN where nothing is known."""
    return squares.double().flatten(1).nanmean(1)
