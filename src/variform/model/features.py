"""What an encoder sees of a table: gaps filled, counts as logarithms, categories as indicators."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class FilledGaps(nn.Module):
    """Puts a constant where a value is missing (NaN): an encoder's input without gaps.

    Its buffer `centre`, zero at first, is what is put in, the training mean where it is known.

    Args:
        shape: Shape of one example.

    Shape:
        (B, *shape) to the same.

    Example:
        >>> FilledGaps((2,))(torch.tensor([[1.0, torch.nan]]))
        tensor([[1., 0.]])
    """

    centre: Tensor

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.out_shape = tuple(shape)
        self.register_buffer("centre", torch.zeros(*shape))

    def start_at(self, mean: Tensor, variance: Tensor) -> None:
        """Take the mean of the training rows."""
        del variance
        self.centre.copy_(mean)

    def forward(self, x: Tensor) -> Tensor:
        """The examples without gaps."""
        return torch.where(x.isnan(), self.centre, x)


class LogCounts(nn.Module):
    r"""Counts as an encoder takes them, $(\log(1 + x) - m) / s$ with 0 where one is missing (NaN).

    Args:
        shape: Shape of one example.

    Shape:
        (B, *shape) to the same.

    Example:
        >>> LogCounts((2,))(torch.tensor([[0.0, torch.nan]]))
        tensor([[0., 0.]])
    """

    centre: Tensor
    spread: Tensor

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.out_shape = tuple(shape)
        self.register_buffer("centre", torch.zeros(*shape))
        self.register_buffer("spread", torch.ones(*shape))

    def start_at(self, mean: Tensor, variance: Tensor) -> None:
        """Take m and s from mean and variance of the training rows, to first order by the delta method."""
        self.centre.copy_(torch.log1p(mean))
        self.spread.copy_((variance.sqrt() / (1 + mean)).clamp_min(1e-1))

    def forward(self, x: Tensor) -> Tensor:
        """The logarithms of the examples."""
        scaled = (torch.log1p(x.clamp_min(0)) - self.centre) / self.spread
        return torch.where(x.isnan(), 0.0, scaled)


class TableFeatures(nn.Module):
    """An encoder's input from rows of a mixed table: numbers of size about one, without gaps.

    Real and binary columns come standardised, counts as log(1 + count), standardised, categories one-hot; what is
    missing is 0, and every column that has gaps brings a further number that says so.

    Args:
        kinds: Kind of each column: `real`, `binary`, `count` or `category`.
        levels: Number of categories of each column; not looked at for other kinds.
        gaps: Whether each column has gaps.

    Shape:
        (B, D) to (B, *out_shape).

    Example:
        >>> features = TableFeatures(["real", "category"], levels=[0, 3], gaps=[True, False])
        >>> features(torch.tensor([[0.5, 2.0], [torch.nan, 0.0]]))
        tensor([[0.5000, 0.0000, 0.0000, 1.0000, 0.0000],
                [0.0000, 1.0000, 0.0000, 0.0000, 1.0000]])
    """

    numbers: Tensor
    counts: Tensor
    units: Tensor
    codes: Tensor
    gappy: Tensor
    centre: Tensor
    spread: Tensor

    def __init__(
        self, kinds: Sequence[str], *, levels: Sequence[int], gaps: Sequence[bool]
    ) -> None:
        super().__init__()
        numbers, counts, units, codes = [], [], [], []
        for column, kind in enumerate(kinds):
            if kind == "category":
                units += [column] * levels[column]
                codes += range(levels[column])
            else:
                numbers.append(column)
                counts.append(kind == "count")
        gappy = [column for column, gap in enumerate(gaps) if gap]
        fixed = {"numbers": numbers, "units": units, "codes": codes, "gappy": gappy}
        for name, values in fixed.items():
            columns = torch.tensor(values, dtype=torch.int64)
            self.register_buffer(name, columns, persistent=False)
        is_count = torch.tensor(counts, dtype=torch.bool)
        self.register_buffer("counts", is_count, persistent=False)
        self.register_buffer("centre", torch.zeros(len(numbers)))
        self.register_buffer("spread", torch.ones(len(numbers)))
        self.out_shape = (len(numbers) + len(units) + int(sum(gaps)),)

    def start_at(self, mean: Tensor, variance: Tensor) -> None:
        """Take mean and variance of the training rows; those of log(1 + count) to first order, by the delta method."""
        mean = mean[self.numbers]
        std = variance[self.numbers].sqrt()
        log_mean = torch.log1p(mean.clamp_min(0))
        log_std = std / (1 + mean.clamp_min(0))  # that of log(1 + count)
        self.centre.copy_(torch.where(self.counts, log_mean, mean))
        self.spread.copy_(torch.where(self.counts, log_std, std).clamp_min(1e-3))

    def forward(self, x: Tensor) -> Tensor:
        """The features of a batch."""
        numbers = x.index_select(1, self.numbers)
        numbers = torch.where(self.counts, torch.log1p(numbers.clamp_min(0)), numbers)
        numbers = (numbers - self.centre) / self.spread
        is_category = x.index_select(1, self.units) == self.codes
        is_missing = x.index_select(1, self.gappy).isnan()
        filled = torch.where(numbers.isnan(), 0.0, numbers)
        return torch.cat([filled, is_category.to(x.dtype), is_missing.to(x.dtype)], 1)
