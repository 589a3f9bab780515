"""Likelihoods of counts."""

import math

import torch
from torch import Tensor, nn

from variform.data.marginals import Marginals
from variform.distributions.counts import NegativeBinomial, Poisson
from variform.distributions.law import Law
from variform.model.likelihoods.family import MOST, Likelihood, Step, promoted


class PoissonLikelihood(Likelihood):
    """p(x|z) = Poisson with the network's output as logarithms of the rates, at most 30.

    Args:
        event_shape: Shape of one example.

    Shape:
        params (*batch, *event_shape) to a law over the same shape.

    Example:
        >>> PoissonLikelihood((4,))(torch.zeros(2, 4)).log_prob(torch.zeros(2, 4))
        tensor([-4., -4.])
    """

    is_density = False
    support = "counts"

    def forward(self, params: Tensor) -> Law:
        """The law that `params` describe."""
        return Poisson(promoted(params).clamp_max(MOST), event_dims=len(self.event_shape))

    def start_at(self, mean: Tensor, variance: Tensor) -> Tensor:
        """The params at which p(x|z) has the training data's mean, kept away from 0."""
        del variance
        return mean.clamp_min(1e-3).log()

    def independent(self, rows: Marginals) -> Law:
        """The means with one count of one more row."""
        return Poisson(_mean_with_one_more(rows).log())

    def mean_steps(self) -> list[Step]:
        """The rate."""
        return _steps_of_rates()

    def spread_steps(self) -> list[Step]:
        """The root of the rate."""
        return [*_steps_of_rates(), {"op": "map", "function": "sqrt"}]


class NegativeBinomialLikelihood(Likelihood):
    r"""p(x|z) = negative binomial with the mean m(z) from the network and a learned dispersion r per dimension.

    The network gives log m, at most 30; the variance is $m + m^2 / r$.

    Args:
        event_shape: Shape of one example.

    Shape:
        params (*batch, *event_shape) to a law over the same shape.

    Reference:
        Lopez, Regier, Cole, Jordan and Yosef (2018).

    Example:
        >>> NegativeBinomialLikelihood((4,))(torch.zeros(2, 4)).log_prob(torch.zeros(2, 4)).detach()
        tensor([-2.7726, -2.7726])
    """

    is_density = False
    support = "counts"

    def __init__(self, event_shape: tuple[int, ...]) -> None:
        super().__init__(event_shape)
        self.log_dispersion = nn.Parameter(torch.zeros(self.event_shape))

    def forward(self, params: Tensor) -> Law:
        """The law that `params` describe."""
        log_mean = promoted(params).clamp_max(MOST)
        return NegativeBinomial(
            log_mean, promoted(self.log_dispersion), event_dims=len(self.event_shape)
        )

    def start_at(self, mean: Tensor, variance: Tensor) -> Tensor:
        """The params at which p(x|z) has the training data's mean, kept away from 0, and where it can its variance."""
        with torch.no_grad():
            self.log_dispersion.copy_(dispersion(mean, variance).log())
        return mean.clamp_min(1e-3).log()

    def independent(self, rows: Marginals) -> Law:
        """The means with one count of one more row, and the dispersion that the variance of the rows asks for."""
        mean = _mean_with_one_more(rows)
        return NegativeBinomial(mean.log(), dispersion(mean, rows.variance).log())

    def mean_steps(self) -> list[Step]:
        """The mean."""
        return _steps_of_rates()

    def spread_steps(self) -> list[Step]:
        """The root of $m + m^2 / r$."""
        clipped, exponential = _steps_of_rates()
        square: list[Step] = [
            {"op": "multiply", "value": 2.0},
            {"op": "add", "value": -self.log_dispersion.detach().double()},
            exponential,
        ]
        return [
            clipped,
            {"op": "branches", "branches": [[exponential], square], "join": "sum"},
            {"op": "map", "function": "sqrt"},
        ]


def _steps_of_rates() -> list[Step]:
    return [{"op": "clip", "low": -math.inf, "high": MOST}, {"op": "map", "function": "exp"}]


def _mean_with_one_more(rows: Marginals) -> Tensor:
    """The mean of counts of which one more row has one: never 0."""
    return (rows.mean * rows.rows + 1) / (rows.rows + 1)


def dispersion(mean: Tensor, variance: Tensor) -> Tensor:
    """The dispersion r at which a negative binomial has this mean and variance, within [0.01, 100].

    Example:
        >>> dispersion(torch.tensor(2.0), torch.tensor(6.0))
        tensor(1.)
    """
    mean = mean.clamp_min(1e-3)
    return (mean.square() / (variance - mean).clamp_min(1e-2 * mean.square())).clamp_min(1e-2)
