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
    pair = torch.stack([squares.double(), other.double()])
    pair = pair[:, ~pair.isnan().any(0)]
    roots = pair.mean(1).sqrt()
    parts = pair / (2 * torch.where(roots > 0, roots, 0.5))[:, None]
    error = mean_difference(parts[0], parts[1])
    return Estimate((roots[0] - roots[1]).item(), error.se, error.n)


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
        largest = np.max([abs(ratios).max(1) for ratios in self._draws()], axis=0)
        return self._reach(np.quantile(largest, 1 - LEVEL))

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
        spread = np.sqrt(np.diag(self.covariance))
        unit = np.where(
            spread > 0, spread, 1.0
        )  # of each model by itself: one that blew up must not drown the others
        values, vectors = np.linalg.eigh(self.covariance / np.outer(unit, unit))
        root = vectors * np.sqrt(values.clip(0))
        normal = np.random.default_rng(0).standard_normal((_DRAWS, len(values)))
        means = normal @ root.T * spread
        rounding = 1e-6 * np.maximum(
            spread[:, None], spread
        )  # of the draws of two models that are almost the same
        for model, se in enumerate(np.hypot(self.se, rounding)):
            yield (means[:, model, None] - means) / np.where(se > 0, se, np.inf)

    def _reach(self, critical: float) -> Array:
        from scipy import stats  # here, for it takes as long to import as all of numpy

        return self.se * stats.t.isf(stats.norm.sf(critical), self.freedom)


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
    rows = rows[:, ~np.isnan(rows).any(0)]
    count = rows.shape[1]
    middle = rows.mean(1) if means is None else np.array(means)
    of_rows = np.array([(own - rows).var(1, ddof=1) / count for own in rows])
    of_fits = np.array([_variance_of_fits(fit) for fit in fits])
    rounding = (np.finfo(float).eps * abs(rows).max()) ** 2  # what differs by less is the same
    variance = of_rows.clip(rounding) + of_fits[:, None] + of_fits
    np.fill_diagonal(variance, 0.0)
    other_fits = np.array([max(1, len(fit) - 1) for fit in fits])
    lost = of_fits**2 / other_fits
    spent = of_rows**2 / (count - 1) + lost[:, None] + lost
    freedom = np.divide(variance**2, spent, out=np.ones_like(spent), where=spent > 0)
    np.fill_diagonal(freedom, 1.0)
    from_best = rows - rows[np.argmin(middle)]
    covariance = np.atleast_2d(np.cov(from_best)) / count + np.diag(of_fits)
    return Differences(middle[:, None] - middle, np.sqrt(variance), freedom, covariance)


def _variance_of_fits(scores: Tensor) -> float:
    """The variance of the mean over fits, of scores (fits, rows), as far as the fits differ; 0 of a single fit."""
    if len(scores) == 1:
        return 0.0
    return scores.mean(1).var().item() / len(scores)
