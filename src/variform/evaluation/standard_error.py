"""A mean over rows with its standard error."""

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

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
