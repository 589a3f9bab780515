"""Likelihoods of ordered levels."""

import math

import torch
from torch import Tensor, nn

from variform.data.marginals import Marginals
from variform.distributions.law import Law
from variform.distributions.ordered import Ordinal
from variform.model.likelihoods.family import Likelihood, Step, promoted, solved, total
from variform.model.likelihoods.pixels import at_level

LEAST_GAP = 1e-4
"""Between the thresholds of ordered levels: none of these has a probability of 0."""


class OrdinalLikelihood(Likelihood):
    r"""p(x|z) of ordered levels 0, ..., K - 1: a place $\eta(z)$ from the network, and learned thresholds.

    Args:
        event_shape: Shape of one example, (D,).
        levels: K, at least 2.

    Shape:
        params (*batch, D) to a law over the same shape.

    Example:
        >>> law = OrdinalLikelihood((1,), levels=3)(torch.zeros(1, 1))
        >>> law.log_prob(torch.tensor([[1.0]])).exp().detach().round(decimals=4)
        tensor([0.4621])
    """

    param_name = "places between thresholds"
    is_density = False

    def __init__(self, event_shape: tuple[int, ...], *, levels: int) -> None:
        super().__init__(event_shape)
        self.levels = levels
        # The first threshold, then the raw distances to the next ones.
        self.first = nn.Parameter(torch.full(self.event_shape, (2 - levels) * 1.0))
        gap = math.log(math.expm1(2.0 - LEAST_GAP))  # softplus of it is 2, less the least
        self.raw_gaps = nn.Parameter(torch.full((levels - 2, *self.event_shape), gap))

    @property
    def thresholds(self) -> Tensor:
        """The thresholds, (K - 1, D), in ascending order."""
        gaps = nn.functional.softplus(promoted(self.raw_gaps)) + LEAST_GAP
        return torch.cat([promoted(self.first)[None], gaps]).cumsum(0)

    def forward(self, params: Tensor) -> Law:
        """The law that `params` describe."""
        return Ordinal(promoted(params), self.thresholds.to(promoted(params).dtype))

    def start_at(self, mean: Tensor, variance: Tensor) -> Tensor:
        """The params at which p(x|z) has this mean, and about this variance."""
        # A logistic's standard deviation is pi / sqrt(3): as many levels apart as that of the data.
        gap = math.pi / math.sqrt(3) / variance.clamp_min(1e-2).sqrt()
        with torch.no_grad():
            self.first.copy_(-gap * (self.levels - 2) / 2)
            self.raw_gaps.copy_(
                (gap - LEAST_GAP).clamp_min(1e-3).expm1().log().expand_as(self.raw_gaps)
            )
        thresholds = self.thresholds.detach().to(mean)
        mean = mean.clamp(0.01, self.levels - 1.01)
        return solved(lambda place: Ordinal(place, thresholds).mean, mean, -200.0, 200.0)

    def independent(self, rows: Marginals) -> Law:
        """Add-one smoothed frequencies of the levels."""
        counts = rows.divided_by(self.levels - 1).level_counts(self.levels) + 1
        above = counts.flip(0).cumsum(0).flip(0)[1:] / counts.sum(0)
        return Ordinal(torch.zeros_like(above[0]), -torch.logit(above))

    def mean_steps(self) -> list[Step]:
        """The mean level: the sum over the thresholds of the probability to be above."""
        (width,) = self.event_shape
        thresholds = self.thresholds.detach().double().cpu()
        summing = torch.eye(width, dtype=torch.float64).repeat(1, len(thresholds))
        return [
            {"op": "take", "places": list(range(width)) * len(thresholds)},
            {"op": "add", "value": -thresholds.flatten()},
            {"op": "map", "function": "sigmoid"},
            {"op": "dense", "weight": summing, "bias": torch.zeros(width)},
        ]

    def spread_steps(self) -> list[Step]:
        r"""The variance of a sum of nested events: $\sum_k \sum_j P(x \ge \max(j, k))\, P(x < \min(j, k))$."""
        (width,) = self.event_shape
        thresholds = self.thresholds.detach().double().cpu()
        lower, upper = torch.triu_indices(len(thresholds), len(thresholds))
        times = 2 - (lower == upper).double()  # each pair of different thresholds stands twice
        ends = torch.cat([thresholds[upper], thresholds[lower]])
        signs = torch.ones_like(ends)
        signs[len(upper) :] = -1
        summing = torch.kron(times, torch.eye(width, dtype=torch.float64))
        return [
            {"op": "take", "places": list(range(width)) * len(ends)},
            {"op": "add", "value": -ends.flatten()},
            {"op": "multiply", "value": signs.flatten()},
            {
                "op": "branches",
                "branches": [
                    [*_half(0, lower.numel() * width), {"op": "map", "function": "sigmoid"}],
                    _half(1, lower.numel() * width),
                ],
                "join": "concatenate",
            },
            {"op": "gate"},
            {"op": "dense", "weight": summing, "bias": torch.zeros(width)},
            {"op": "map", "function": "sqrt"},
        ]

    def density_steps(self) -> list[Step]:
        r"""$\log\sigma(t_{k+1} - \eta) + \log\sigma(\eta - t_k) + \log(1 - e^{t_k - t_{k+1}})$; k is the level."""
        (width,) = self.event_shape
        thresholds = self.thresholds.detach().double().cpu()
        infinite = torch.full((1, width), math.inf, dtype=torch.float64)
        starts, ends = torch.cat([-infinite, thresholds]), torch.cat([thresholds, infinite])
        between = (-torch.expm1(starts - ends)).log()
        places: Step = {"op": "take", "places": list(range(width)) * self.levels}
        softplus: Step = {"op": "map", "function": "softplus"}
        minus: Step = {"op": "multiply", "value": -1.0}
        above_end: list[Step] = [places, {"op": "add", "value": -ends.flatten()}, softplus, minus]
        below_start: list[Step] = [places, minus, {"op": "add", "value": starts.flatten()}]
        of_levels: list[Step] = [
            total(above_end, [*below_start, softplus, minus]),
            {"op": "add", "value": between.flatten()},
        ]
        return at_level(of_levels, self.values(), 1.0, self.levels)


def _half(half: int, size: int) -> list[Step]:
    return [{"op": "take", "places": list(range(half * size, (half + 1) * size))}]
