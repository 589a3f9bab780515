"""Differences between models that scored the same rows: what makes a row hard for both leaves them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from variform.evaluation.standard_error import Estimate

Array = np.ndarray[Any, np.dtype[Any]]

LEVEL = 0.05
"""Probability with which a rule that looks at several models at once tells any apart where all are alike."""

_DRAWS = 2**13  # the level is then right to 0.0024


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

    A row weighs $s_n / 2r$ in the error of a root r. Rows about which nothing is known (NaN) are left out.

    Args:
        squares: One model's mean squared error of every row, (N,).
        other: Another model's of the same rows.

    Example:
        >>> root_mean_difference(torch.full((3,), 9.0), torch.full((3,), 4.0)).to_dict()
        {'mean': 1.0, 'se': 0.0, 'n': 3}
    """
    both = torch.stack([squares.double(), other.double()])
    is_known = ~both.isnan().any(0)
    both = both[:, is_known]
    roots = both.mean(1).sqrt()
    twice_root = 2 * torch.where(roots > 0, roots, 0.5)
    own_part, other_part = both / twice_root[:, None]
    error = mean_difference(own_part, other_part)
    own_root, other_root = roots
    return Estimate((own_root - other_root).item(), error.se, error.n)


def row_errors(squares: Tensor) -> Tensor:
    """The mean squared error of every row, (N,), of errors (N, ...) that are NaN where nothing is known."""
    return squares.double().flatten(1).nanmean(1)


@dataclass(frozen=True, eq=False)
class Differences:
    r"""All differences between the means of K models that scored the same rows, and what they are worth together.

    Each difference over its standard error is compared with a critical value that the largest of them passes with the
    probability `LEVEL` where the models are alike. It is found by draws from the normal law of the means, whose
    covariance is estimated from the rows; small numbers of rows or fits widen it as Student's t does.

    Args:
        mean: Row i, column j: model i's mean minus model j's, (K, K).
        se: Paired standard errors, likewise.
        freedom: Degrees of freedom of each standard error, likewise.
        covariance: Of the means, less a part that all have in common, (K, K).

    Reference:
        Hothorn, Bretz and Westfall (2008), section 3, for the critical values; Hsu (1981) for the comparison with the
        best; Satterthwaite (1946) for the degrees of freedom.
    """

    mean: Array
    se: Array
    freedom: Array
    covariance: Array

    def half_widths(self) -> Array:
        """What to add to and subtract from each difference for intervals that hold all true ones at once, (K, K)."""
        largest = [abs(ratios).max(1) for ratios in self._draws()]
        critical = np.quantile(np.max(largest, axis=0), 1 - LEVEL)
        return self._reach(critical)

    def among_best(self) -> Array:
        """Which models may have the least mean, (K,): those that are not clearly above any other.

        The model that truly is the best is among them with a probability of at least 1 - `LEVEL`, however many there
        are; so is each of several that are equally good.
        """
        rows = []
        for model, ratios in enumerate(self._draws()):
            critical = np.quantile(ratios.max(1), 1 - LEVEL)
            rows.append(self._reach(critical)[model])
        reach = np.array(rows)
        return np.all(self.mean <= reach, axis=1)  # eq: among-best

    def _draws(self) -> Any:
        """For each model the differences from all, over their standard errors, as they fall if all are alike."""
        std = np.sqrt(np.diag(self.covariance))
        # Each model has a unit of its own: one that blew up must not drown the others.
        unit = np.where(std > 0, std, 1.0)
        correlation = self.covariance / np.outer(unit, unit)
        values, vectors = np.linalg.eigh(correlation)
        root = vectors * np.sqrt(values.clip(0))
        normal = np.random.default_rng(0).standard_normal((_DRAWS, len(values)))
        means = normal @ root.T * std
        # Rounding, of the draws of two models that are almost the same.
        rounding = 1e-6 * np.maximum.outer(std, std)
        standard_errors = np.hypot(self.se, rounding)
        for model, se in enumerate(standard_errors):
            own = means[:, model, None]
            yield (own - means) / np.where(se > 0, se, np.inf)

    def _reach(self, critical: float) -> Array:
        from scipy.special import ndtr, stdtrit  # here, for importing it takes a fifth of a second

        tail = ndtr(-critical)  # of a normal law above `critical`
        if tail == 0:  # too small for a float; there some versions of SciPy answer NaN
            return self.se * np.inf
        return self.se * abs(stdtrit(self.freedom, tail))  # as far out of Student's t


def differences(scores: Sequence[Tensor], means: Sequence[float] | None = None) -> Differences:
    """The differences between K models over the same rows.

    Args:
        scores: For each model its score of every row, (N,), or those of several fits of it, (S, N): the errors are then
            also over the fits, each being a draw, and differences are between the configurations. N is at least 2.
        means: The means, where they are not those of the scores.

    Example:
        >>> rows = torch.linspace(0, 9, 50)
        >>> differences([rows, rows + 1, rows + torch.tensor([0.1, -0.1]).repeat(25)]).among_best().tolist()
        [True, False, True]
    """
    fits = [fit.double().reshape(-1, fit.shape[-1]) for fit in scores]
    rows = torch.stack([fit.mean(0) for fit in fits]).numpy()
    is_known = ~np.isnan(rows).any(0)
    rows = rows[:, is_known]
    count = rows.shape[1]
    middle = rows.mean(1) if means is None else np.array(means)
    of_rows = np.array([(own - rows).var(1, ddof=1) / count for own in rows])
    of_fits = np.array([_variance_of_fits(fit) for fit in fits])
    rounding = np.finfo(float).eps * abs(rows).max()  # what differs by less is the same
    variance = of_rows.clip(rounding**2) + of_fits[:, None] + of_fits
    np.fill_diagonal(variance, 0.0)
    from_best = rows - rows[np.argmin(middle)]
    covariance_of_rows = np.atleast_2d(np.cov(from_best)) / count
    return Differences(
        mean=middle[:, None] - middle,
        se=np.sqrt(variance),
        freedom=_satterthwaite(variance, of_rows, count, of_fits, fits),
        covariance=covariance_of_rows + np.diag(of_fits),
    )


def _satterthwaite(
    variance: Array, of_rows: Array, rows: int, of_fits: Array, fits: Sequence[Tensor]
) -> Array:
    r"""The degrees of freedom of sums of variances, $(\sum_i v_i)^2 / \sum_i (v_i^2 / f_i)$; 1 where all v are 0.

    The parts are the variance over the rows, `of_rows`, (K, K), and over the fits of either model, `of_fits`, (K,).
    """
    freedom_of_fits = np.array([max(1, len(fit) - 1) for fit in fits])
    fits_term = of_fits**2 / freedom_of_fits
    terms = of_rows**2 / (rows - 1) + fits_term[:, None] + fits_term
    freedom = np.divide(variance**2, terms, out=np.ones_like(terms), where=terms > 0)
    np.fill_diagonal(freedom, 1.0)
    return freedom


def _variance_of_fits(scores: Tensor) -> float:
    """The variance of the mean over fits, of scores (fits, rows), as far as the fits differ; 0 of a single fit."""
    if len(scores) == 1:
        return 0.0
    return scores.mean(1).var().item() / len(scores)
