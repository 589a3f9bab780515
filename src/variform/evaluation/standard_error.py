"""A mean over rows with its standard error."""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

Array = np.ndarray[Any, np.dtype[Any]]

_GROUPS = 20  # of the jackknife
HIGH_K = 0.7
"""Above this Pareto k the mean of importance weights has no error that one could count on, however many there are."""


@dataclass(frozen=True)
class Estimate:
    """A mean over examples, its standard error and the number of examples.

    Example:
        >>> import torch
        >>> Estimate.of(torch.tensor([1.0, 3.0])).to_dict()
        {'mean': 2.0, 'se': 1.0, 'n': 2}
    """

    mean: float
    se: float
    n: int

    @classmethod
    def of(cls, values: "Tensor") -> "Estimate":
        """The mean of `values` (N,) and its standard error s / sqrt(N)."""
        values = values.double()
        se = values.std().item() / math.sqrt(len(values)) if len(values) > 1 else math.nan
        return cls(values.mean().item(), se, len(values))

    @classmethod
    def of_cells(cls, values: np.ndarray, taken: np.ndarray) -> "Estimate":
        """The mean over cells; the cells of a row may depend on each other, as a ratio of two sums over rows.

        Args:
            values: (N, ...), looked at where `taken`.
            taken: Which cells count, likewise, at least one.

        Reference:
            Cochran (1977), section 2.11: the variance of a ratio.

        Example:
            >>> taken = np.array([[True, True], [True, False]])
            >>> Estimate.of_cells(np.array([[1.0, 2.0], [6.0, 9.0]]), taken).mean
            3.0
        """
        axes = tuple(range(1, taken.ndim))
        sums = np.where(taken, values, 0.0).sum(axes)
        counts = taken.sum(axes)
        mean = sums.sum() / counts.sum()
        rows = int((counts > 0).sum())
        if rows < 2:
            return cls(float(mean), math.nan, rows)
        squares = ((sums - mean * counts) ** 2).sum() * rows / (rows - 1)
        return cls(float(mean), float(math.sqrt(squares) / counts.sum()), rows)

    @classmethod
    def corrected(cls, rough: "Tensor", better: "Tensor", rows: "Tensor") -> "Estimate":
        r"""The mean of better values, known of n random rows, by rough ones that are known of all N.

        $\bar a_N + \frac1n \sum_{i \in S} (b_i - a_i)$ for rough a and better b, without bias whatever a is; its
        variance is $s_b^2 / N + (1/n - 1/N)\, s_{b - a}^2$, and with n = N it is the mean of b.

        Args:
            rough: (N,).
            better: (n,), n > 1 where n < N.
            rows: Which rows those are, (n,) int64, drawn at random without replacement.

        Reference:
            Cochran (1977), chapter 12, double sampling: the regression estimator with the slope 1.

        Example:
            >>> import torch
            >>> rough, rows = torch.tensor([1.0, 2.0, 3.0, 6.0]), torch.tensor([0, 3])
            >>> Estimate.corrected(rough, torch.tensor([2.0, 7.0]), rows).mean
            4.0
        """
        if len(rows) == len(rough):
            return cls.of(better)
        rough, better = rough.double(), better.double()
        difference = better - rough[rows]
        chosen, count = len(rows), len(rough)
        mean = rough.mean() + difference.mean()  # eq: two-phase
        variance = better.var() / count + (1 / chosen - 1 / count) * difference.var()
        return cls(mean.item(), math.sqrt(variance), count)

    @classmethod
    def root_mean(cls, squares: "Tensor", *, gaps: bool = False) -> "Estimate":
        """The root of the mean of `squares` (N, ...), its standard error by the delta method, se / (2 root).

        With `gaps` what is NaN is left out, first of each row's mean, then of the mean over the rows.
        """
        rows = squares.double().flatten(1) if squares.ndim > 1 else squares.double()[:, None]
        means = rows.nanmean(1) if gaps else rows.mean(1)
        square = cls.of(means[~means.isnan()] if gaps else means)
        root = math.sqrt(square.mean)
        return cls(root, square.se / (2 * root) if root else 0.0, square.n)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, the standard error None where one row gives none."""
        return asdict(self) | {"se": None if math.isnan(self.se) else self.se}


def jackknifed(
    measure: Callable[[Array], Mapping[str, float]], rows: int, *, groups: int = _GROUPS
) -> dict[str, Estimate]:
    r"""Measures of a set of rows that are no means over them, with standard errors.

    $\text{se}^2 = \tfrac{G - 1}{G} \sum_g (\theta_{-g} - \bar\theta)^2$ over G groups, $\theta_{-g}$ being
    measured without the group g: every G-th row, so that no group is a stretch of the file.

    Args:
        measure: What is measured of some rows, by name; it is given their numbers.
        rows: N, how many there are; with fewer than G each is a group.
        groups: G; fewer take less time and make the error itself less certain.

    Reference:
        Efron and Stein (1981), for groups of one row.

    Example:
        >>> values = np.array([1.0, 2.0, 4.0])
        >>> jackknifed(lambda rows: {"mean": values[rows].mean()}, 3)["mean"].to_dict()  # s / sqrt(N)
        {'mean': 2.3333333333333335, 'se': 0.8819171036881968, 'n': 3}
    """
    groups = min(groups, rows)
    numbers = np.arange(rows)
    whole = measure(numbers)
    without = [measure(numbers[numbers % groups != group]) for group in range(groups)]
    estimates = {}
    for name, value in whole.items():
        replicates = np.array([measured[name] for measured in without])
        error = math.sqrt((groups - 1) * replicates.var())  # eq: jackknife
        estimates[name] = Estimate(float(value), error, rows)
    return estimates


def r_squared_by_row(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    r"""Numbers whose mean is R² and whose spread over rows gives its standard error, (N,).

    With $a_n$ the squared error and $b_n$ the squared distance from the mean of a row, $R^2 = 1 - \bar a / \bar b$; a
    row has $R^2 - (a_n - (1 - R^2)\, b_n) / \bar b$, by the delta method.

    Args:
        truth: (N,), of rows that the prediction did not see.
        predicted: (N,).

    Reference:
        Draper and Smith (1998), section 1.3.

    Example:
        >>> float(r_squared_by_row(np.array([0.0, 1.0, 2.0]), np.array([0.5, 1.0, 1.5])).mean())
        0.75
    """
    errors = (truth - predicted) ** 2
    spreads = (truth - truth.mean()) ** 2
    unexplained = errors.mean() / spreads.mean()
    moves = (errors - unexplained * spreads) / spreads.mean()
    return 1 - unexplained - moves  # eq: r-squared


def pooled(estimates: list[dict[str, Any]]) -> dict[str, Any]:
    """The mean over seeds; its variance is that over the (shared) test rows plus that of the mean over seeds."""
    means = np.array([item["mean"] for item in estimates], dtype=float)
    rows = np.mean([(item["se"] or 0.0) ** 2 for item in estimates])
    seeds = means.var(ddof=1) / len(means) if len(means) > 1 else 0.0
    return {
        "mean": means.mean(),
        "se": math.sqrt(rows + seeds),
        "n": estimates[0]["n"],
        "seeds": len(means),
    }
