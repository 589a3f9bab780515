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

    Numbers come standardised, counts as log(1 + count) and positive ones as logarithms, categories one-hot; what is
    missing is 0. Every spike of a column brings a further number that says whether it is there, and so does every
    column that has gaps.

    Args:
        kinds: Kind of each column, as `Schema.kinds`.
        levels: Number of categories of each column; not looked at for other kinds.
        gaps: Whether each column has gaps.
        spikes: Of each column the spikes as the model sees them, and how far from one a value may be to be it.

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
    positives: Tensor
    spiked: Tensor
    spikes: Tensor
    width: Tensor
    centre: Tensor
    spread: Tensor

    LEAST = 0.1
    """What the logarithm of a positive number is taken of at least; the least one of the training rows is 1."""

    def __init__(
        self,
        kinds: Sequence[str],
        *,
        levels: Sequence[int],
        gaps: Sequence[bool],
        spikes: Sequence[Sequence[tuple[float, float]]] = (),
    ) -> None:
        super().__init__()
        numbers, counts, positives, units, codes = [], [], [], [], []
        for column, kind in enumerate(kinds):
            if kind == "category":
                units += [column] * levels[column]
                codes += range(levels[column])
            else:
                numbers.append(column)
                counts.append(kind == "count")
                positives.append(kind == "positive")
        spiked = [column for column, own in enumerate(spikes) for _ in own]
        places = [place for own in spikes for place, _ in own]
        widths = [width for own in spikes for _, width in own]
        gappy = [column for column, gap in enumerate(gaps) if gap]
        fixed = {"numbers": numbers, "units": units, "codes": codes, "gappy": gappy}
        fixed["spiked"] = spiked
        for name, values in fixed.items():
            columns = torch.tensor(values, dtype=torch.int64)
            self.register_buffer(name, columns, persistent=False)
        for name, flags in {"counts": counts, "positives": positives}.items():
            chosen = torch.tensor(flags, dtype=torch.bool)
            self.register_buffer(name, chosen, persistent=False)
        for name, sizes in {"spikes": places, "width": widths}.items():
            self.register_buffer(name, torch.tensor(sizes), persistent=False)
        self.register_buffer("centre", torch.zeros(len(numbers)))
        self.register_buffer("spread", torch.ones(len(numbers)))
        self.out_shape = (len(numbers) + len(units) + len(spiked) + int(sum(gaps)),)

    def start_at(self, mean: Tensor, variance: Tensor) -> None:
        """Take mean and variance of the training rows; those of log(1 + count) to first order, by the delta method.

        Those of the logarithm of positive numbers are a log-normal law's of this mean and variance.
        """
        mean = mean[self.numbers]
        std = variance[self.numbers].sqrt()
        log_square = torch.log1p((std / mean).nan_to_num().square())
        log_of_positive = mean.abs().clamp_min(self.LEAST).log() - log_square / 2
        log_mean = torch.log1p(mean.clamp_min(0))
        log_std = std / (1 + mean.clamp_min(0))  # that of log(1 + count)
        centre = torch.where(self.positives, log_of_positive, mean)
        spread = torch.where(self.positives, log_square.sqrt(), std)
        self.centre.copy_(torch.where(self.counts, log_mean, centre))
        self.spread.copy_(torch.where(self.counts, log_std, spread).clamp_min(1e-3))

    def forward(self, x: Tensor) -> Tensor:
        """The features of a batch."""
        numbers = x.index_select(1, self.numbers)
        numbers = torch.where(self.counts, torch.log1p(numbers.clamp_min(0)), numbers)
        numbers = torch.where(self.positives, numbers.clamp_min(self.LEAST).log(), numbers)
        numbers = (numbers - self.centre) / self.spread
        is_category = x.index_select(1, self.units) == self.codes
        is_spike = (x.index_select(1, self.spiked) - self.spikes).abs() <= self.width
        is_missing = x.index_select(1, self.gappy).isnan()
        filled = torch.where(numbers.isnan(), 0.0, numbers)
        flags = [part.to(x.dtype) for part in (is_category, is_spike, is_missing)]
        return torch.cat([filled, *flags], 1)
