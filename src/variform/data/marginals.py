"""The rows of a data set, each dimension by itself: what a model with independent dimensions is made of."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from variform.data.dataset import Dataset

_ROWS_AT_ONCE = 1024


@dataclass(frozen=True)
class Marginals:
    """What is known of every dimension alone, in the units that a model sees.

    Args:
        rows: Number of rows, N.
        mean: (D,), float64, over the rows where the value is not missing.
        variance: Likewise, that of the population.
        batches: Gives the prepared rows, (B, D) at a time and NaN where a value is missing, as often as it is called.

    Example:
        >>> from variform.data.reading import dataset_from
        >>> marginals = Marginals.of(dataset_from(torch.tensor([[0.0, 2.0], [1.0, 4.0], [1.0, 9.0]])))
        >>> marginals.rows, marginals.mean
        (3, tensor([0.6667, 5.0000], dtype=torch.float64))
        >>> marginals.at(torch.tensor([0])).level_counts(2)
        tensor([[1.],
                [2.]], dtype=torch.float64)
    """

    rows: int
    mean: Tensor
    variance: Tensor
    batches: Callable[[], Iterable[Tensor]]

    @classmethod
    def of(cls, data: Dataset, *, seed: int = 0) -> "Marginals":
        """Those of the rows of a data set.

        Args:
            data: The rows.
            seed: Seed of the binarisation, where the data ask for one.
        """
        mean, variance = data.moments(seed=seed)

        def batches() -> Iterable[Tensor]:
            return (x.flatten(1) for x in data.batches(_ROWS_AT_ONCE, seed=seed))

        return cls(len(data), mean.flatten(), variance.flatten(), batches)

    def at(self, columns: Tensor) -> "Marginals":
        """Those of some dimensions.

        Args:
            columns: Their numbers, int64.
        """

        columns = columns.cpu()

        def batches() -> Iterable[Tensor]:
            return (x[:, columns] for x in self.batches())

        return replace(
            self, mean=self.mean[columns], variance=self.variance[columns], batches=batches
        )

    def mapped(self, function: Callable[[Tensor], Tensor]) -> "Marginals":
        """Those of a function of the values, which may leave some out: what it makes NaN.

        Args:
            function: Of prepared rows (B, D), to as many.
        """

        def batches() -> Iterable[Tensor]:
            return (function(x.double()) for x in self.batches())

        count, total = torch.zeros(2, dtype=torch.float64)
        for x in batches():
            count = count + (~x.isnan()).sum(0)
            total = total + x.nansum(0)
        mean = total / count.clamp_min(1)
        squares = torch.zeros((), dtype=torch.float64)
        for x in batches():
            squares = squares + (x - mean).square().nansum(0)
        variance = squares / count.clamp_min(1)
        return replace(self, mean=mean, variance=variance, batches=batches)

    def divided_by(self, unit: float) -> "Marginals":
        """Those of the values divided by `unit`."""

        def batches() -> Iterable[Tensor]:
            return (x / unit for x in self.batches())

        return replace(
            self, mean=self.mean / unit, variance=self.variance / unit**2, batches=batches
        )

    def level_counts(self, levels: int) -> Tensor:
        """How often each dimension has each of the values k / (levels - 1), (levels, D), float64.

        Args:
            levels: Number of levels, at least 2.
        """
        size = math.prod(self.mean.shape)
        counts = torch.zeros(levels * size, dtype=torch.float64)
        for x in self.batches():
            level = (x.nan_to_num() * (levels - 1)).round().long()
            cell = (level * size + torch.arange(size))[~x.isnan()]
            counts += torch.bincount(cell, minlength=levels * size)
        return counts.reshape(levels, size)
