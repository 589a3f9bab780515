"""Likelihoods of counts."""

import math

import torch
from torch import Tensor, nn

from variform.data.marginals import Marginals
from variform.distributions.counts import NegativeBinomial, Poisson
from variform.distributions.law import Law
from variform.model.likelihoods.family import MOST, Likelihood, Step, product, promoted, total


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

    param_name = "log-rates"
    is_density = False
    support = "counts"

    def forward(self, params: Tensor) -> Law:
        """The law that `params` describe."""
        return Poisson(promoted(params).clamp_max(MOST), event_dims=len(self.event_shape))

    @staticmethod
    def times(params: Tensor, log_size: Tensor) -> Tensor:
        """As of the base: the params are logarithms of means."""
        return params + log_size.reshape(-1, *[1] * (params.ndim - 1))

    def start_at(self, mean: Tensor, variance: Tensor) -> Tensor:
        """The params at which p(x|z) has the training data's mean, kept away from 0."""
        del variance
        return mean.clamp_min(1e-3).log()

    def independent(self, rows: Marginals) -> Law:
        """The means with one count of one more row."""
        return self.law_of(_mean_with_one_more(rows), rows.variance)

    @staticmethod
    def law_of(mean: Tensor, variance: Tensor) -> Poisson:
        """The law of this mean, without a batch."""
        del variance
        return Poisson(mean.log())

    def mean_steps(self) -> list[Step]:
        """The rate."""
        return _steps_of_rates()

    def spread_steps(self) -> list[Step]:
        """The root of the rate."""
        return [*_steps_of_rates(), {"op": "map", "function": "sqrt"}]

    def density_steps(self) -> list[Step]:
        """x h - e^h - log x!."""
        log_rate: list[Step] = [self.params_at(), {"op": "clip", "low": -math.inf, "high": MOST}]
        value, minus = self.values(), {"op": "multiply", "value": -1.0}
        rate: list[Step] = [*log_rate, {"op": "map", "function": "exp"}, minus]
        ways: list[Step] = [value, {"op": "map", "function": "log-factorial"}, minus]
        return [total(product([value], log_rate), rate, ways)]


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

    param_name = "log-means"
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

    @staticmethod
    def times(params: Tensor, log_size: Tensor) -> Tensor:
        """As of the base: the params are logarithms of means."""
        return params + log_size.reshape(-1, *[1] * (params.ndim - 1))

    def start_at(self, mean: Tensor, variance: Tensor) -> Tensor:
        """The params at which p(x|z) has the training data's mean, kept away from 0, and where it can its variance."""
        with torch.no_grad():
            self.log_dispersion.copy_(dispersion(mean, variance).log())
        return mean.clamp_min(1e-3).log()

    def independent(self, rows: Marginals) -> Law:
        """The means with one count of one more row, and the dispersion that the variance of the rows asks for."""
        return self.law_of(_mean_with_one_more(rows), rows.variance)

    @staticmethod
    def law_of(mean: Tensor, variance: Tensor) -> NegativeBinomial:
        """The law of this mean and, where it can, this variance, without a batch."""
        return NegativeBinomial(mean.log(), dispersion(mean, variance).log())

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

    def density_steps(self) -> list[Step]:
        r"""$\log[\Gamma(x + r) / (\Gamma(r)\, x!)] - r \log(1 + m / r) - x \log(1 + r / m)$."""
        log_r = self.log_dispersion.detach().double().cpu().flatten()
        log_r = log_r.clamp_max(NegativeBinomial.MOST_LOG)
        value, minus = self.values(), {"op": "multiply", "value": -1.0}
        log_odds: list[Step] = [
            self.params_at(),
            {"op": "clip", "low": -math.inf, "high": MOST},
            {"op": "add", "value": -log_r},
        ]
        failures = [*_softplus(log_odds), {"op": "multiply", "value": -log_r.exp()}]
        successes = product([value], [*_softplus([*log_odds, minus]), minus])
        orders: list[Step] = [value, {"op": "map", "function": "log-factorial"}, minus]
        return [total(failures, successes, orders, _log_rising(value, log_r))]


def _softplus(steps: list[Step]) -> list[Step]:
    """log(1 + e^a) = max(a, 0) + log(1 + e^-abs(a)), of which a small one keeps its digits."""
    above: list[Step] = [*steps, {"op": "map", "function": "relu"}]
    minus_size = total(steps, [*above, {"op": "multiply", "value": -2.0}])
    rest: list[Step] = [minus_size, {"op": "map", "function": "exp"}]
    return [total(above, [*rest, {"op": "map", "function": "log1p"}])]


def _log_rising(value: Step, log_r: Tensor) -> list[Step]:
    r"""$\log [\Gamma(r + x) / \Gamma(r)]$ of each value, by the formulas of the law below and from r = 30."""
    is_far = log_r >= math.log(30)
    near, far = ((~is_far).nonzero().flatten(), is_far.nonzero().flatten())
    branches = []
    for chosen, steps_of in ((near, _rising_near), (far, _rising_far)):
        if len(chosen):
            places = [value["places"][int(column)] for column in chosen]
            branches.append(steps_of({"op": "take", "places": places}, log_r[chosen]))
    order = torch.cat([near, far]).argsort().tolist()
    joined: Step = {"op": "branches", "branches": branches, "join": "concatenate"}
    return [joined, {"op": "take", "places": order}]


def _rising_near(value: Step, log_r: Tensor) -> list[Step]:
    r"""$\log r + \log\Gamma(r + x) - \log\Gamma(r + 1)$ from x = 1, and 0 at x = 0."""
    r = log_r.exp()
    from_one: list[Step] = [
        value,
        {"op": "clip", "low": 1.0, "high": math.inf},
        {"op": "add", "value": r - 1},
        {"op": "map", "function": "log-factorial"},
        {"op": "add", "value": log_r - torch.lgamma(r + 1)},
    ]
    return product(from_one, [value, {"op": "map", "function": "step"}])


def _rising_far(value: Step, log_r: Tensor) -> list[Step]:
    """Stirling's series of both logarithms."""
    r = log_r.exp()
    logarithm: list[Step] = [
        value,
        {"op": "add", "value": r},
        {"op": "map", "function": "log"},
    ]
    ratio: list[Step] = [
        value,
        {"op": "multiply", "value": 1 / r},
        {"op": "map", "function": "log1p"},
        {"op": "multiply", "value": r - 0.5},
    ]

    def power(exponent: int, factor: float) -> list[Step]:
        inverse: Step = {"op": "multiply", "value": -float(exponent)}
        return [
            *logarithm,
            inverse,
            {"op": "map", "function": "exp"},
            {"op": "add", "value": -(r**-exponent)},
            {"op": "multiply", "value": factor},
        ]

    minus: Step = {"op": "multiply", "value": -1.0}
    products = product([value], logarithm)
    return [total(products, ratio, [value, minus], power(1, 1 / 12), power(3, -1 / 360))]


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
