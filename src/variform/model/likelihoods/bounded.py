"""Likelihoods of numbers that have ends: above 0, or between two bounds."""

import math

import torch
from torch import Tensor, nn

from variform.data.marginals import Marginals
from variform.distributions.bounded import LogitNormal, LogNormal, gauss_hermite
from variform.distributions.law import Law
from variform.model.likelihoods.family import (
    MOST_LOG,
    Likelihood,
    Step,
    floored,
    gaussian_steps,
    promoted,
    solved,
    total,
    where_above,
)

_TINY = torch.finfo(torch.float32).tiny
_LOGARITHM: list[Step] = [
    {"op": "clip", "low": _TINY, "high": math.inf},
    {"op": "map", "function": "log"},
]
_MINUS: Step = {"op": "multiply", "value": -1.0}


class LogNormalLikelihood(Likelihood):
    r"""p(x|z) = log-normal: $\log x \sim N(\mu(z), \sigma_d^2)$ with a learned variance per column.

    Args:
        event_shape: Shape of one example.
        min_std: Least standard deviation of the logarithm.
        most: How far the mean of the logarithm may be from 0.

    Shape:
        params (*batch, *event_shape) to a law over the same shape.

    Example:
        >>> law = LogNormalLikelihood((2,))(torch.zeros(1, 2))
        >>> law.log_prob(torch.tensor([[1.0, 2.0]])).detach().round(decimals=2)
        tensor([-2.7700])
    """

    param_name = "means of logarithms"

    def __init__(
        self, event_shape: tuple[int, ...], *, min_std: float = 1e-3, most: float = MOST_LOG
    ) -> None:
        super().__init__(event_shape)
        self.min_std = min_std
        self.most = most
        self.raw_log_var = nn.Parameter(torch.zeros(self.event_shape))

    def forward(self, params: Tensor) -> Law:
        """The law that `params` describe."""
        loc = promoted(params).clamp(-self.most, self.most)
        return LogNormal(loc, floored(promoted(self.raw_log_var), self.min_std))

    def start_at(self, mean: Tensor, variance: Tensor) -> Tensor:
        """The params at which p(x|z) has this mean, and about this variance."""
        mean = mean.clamp_min(1e-6)
        log_square = torch.log1p(variance / mean.square()).clamp_min(4 * self.min_std**2)
        with torch.no_grad():
            self.raw_log_var.copy_((log_square - self.min_std**2).log())
        loc = mean.log() - log_square / 2
        inside = self.most - 1  # at the ends of the clamp nothing would be learned
        return loc.clamp(-inside, inside)

    def independent(self, rows: Marginals) -> Law:
        """With mean and variance of the logarithms."""
        logs = rows.mapped(lambda x: x.where(x > 0, math.nan).log())
        return LogNormal(logs.mean, logs.variance.clamp_min(self.min_std**2).log())

    def mean_steps(self) -> list[Step]:
        """The mean."""
        log_var = floored(self.raw_log_var.detach().double(), self.min_std)
        return [
            {"op": "clip", "low": -self.most, "high": self.most},
            {"op": "add", "value": log_var.exp() / 2},
            {"op": "map", "function": "exp"},
        ]

    def spread_steps(self) -> list[Step]:
        r"""$\sqrt{e^{\sigma^2} - 1}$ times the mean."""
        log_var = floored(self.raw_log_var.detach().double(), self.min_std)
        ratio = torch.expm1(log_var.exp()).sqrt()
        return [*self.mean_steps(), {"op": "multiply", "value": ratio}]

    def density_steps(self) -> list[Step]:
        r"""$\log N(\log x; \mu, \sigma^2) - \log x$, and minus infinity where x is not above 0."""
        value: list[Step] = [self.values()]
        logarithm = [*value, *_LOGARITHM]
        clipped: Step = {"op": "clip", "low": -self.most, "high": self.most}
        mean: list[Step] = [self.params_at(), clipped]
        log_var = floored(self.raw_log_var.detach().double().cpu(), self.min_std)
        density = gaussian_steps(logarithm, mean, log_var)
        return [total(density, [*logarithm, _MINUS], where_above(value))]


class LogitNormalLikelihood(Likelihood):
    r"""p(x|z) = logit-normal on [0, 1]: $\operatorname{logit} x \sim N(\mu(z), \sigma_d^2)$, a variance per column.

    Args:
        event_shape: Shape of one example, (D,).
        min_std: Least standard deviation of the logit.

    Shape:
        params (*batch, D) to a law over the same shape.

    Example:
        >>> law = LogitNormalLikelihood((2,))(torch.zeros(1, 2))
        >>> law.mean.detach(), law.log_prob(torch.tensor([[0.5, 0.5]])).detach().round(decimals=4)
        (tensor([[0.5000, 0.5000]]), tensor([0.9347]))
    """

    param_name = "means of logits"
    support = "unit"

    def __init__(self, event_shape: tuple[int, ...], *, min_std: float = 1e-3) -> None:
        super().__init__(event_shape)
        self.min_std = min_std
        self.raw_log_var = nn.Parameter(torch.zeros(self.event_shape))

    def forward(self, params: Tensor) -> Law:
        """The law that `params` describe."""
        return self._law(promoted(params), floored(promoted(self.raw_log_var), self.min_std))

    def start_at(self, mean: Tensor, variance: Tensor) -> Tensor:
        """The params at which p(x|z) has this mean, kept from the ends, and about this variance."""
        mean = mean.clamp(0.01, 0.99)
        slope = mean * (1 - mean)
        square = (variance / slope.square()).clamp(4 * self.min_std**2, 4.0)
        with torch.no_grad():
            self.raw_log_var.copy_((square - self.min_std**2).log())
        return solved(lambda loc: self._law(loc, square.log()).mean, mean, -20.0, 20.0)

    def independent(self, rows: Marginals) -> Law:
        """With mean and variance of the logits."""
        logits = rows.mapped(lambda x: torch.logit(x.where((x > 0) & (x < 1), math.nan)))
        return self._law(logits.mean, logits.variance.clamp_min(self.min_std**2).log())

    def mean_steps(self) -> list[Step]:
        """The mean, by the rule of the law: every number as often as there are nodes, and their weighted sum."""
        return [*self._steps_of_nodes(), self._summing()]

    def spread_steps(self) -> list[Step]:
        """The root of the weighted sum of squared distances from the mean."""
        (width,) = self.event_shape
        nodes = len(gauss_hermite()[0])
        mean: list[Step] = [
            self._summing(-1),
            {"op": "take", "places": [place for place in range(width) for _ in range(nodes)]},
        ]
        return [
            *self._steps_of_nodes(),
            {"op": "branches", "branches": [[], mean], "join": "sum"},
            {"op": "map", "function": "square"},
            self._summing(),
            {"op": "map", "function": "sqrt"},
        ]

    def density_steps(self) -> list[Step]:
        r"""$\log N(\operatorname{logit} x; \mu, \sigma^2) - \log x - \log(1 - x)$; minus infinity at 0 and 1."""
        value: list[Step] = [self.values()]
        other: list[Step] = [*value, _MINUS, {"op": "add", "value": 1.0}]
        above, below = [*value, *_LOGARITHM], [*other, *_LOGARITHM]
        log_var = floored(self.raw_log_var.detach().double().cpu(), self.min_std)
        density = gaussian_steps([total(above, [*below, _MINUS])], [self.params_at()], log_var)
        ends = total(where_above(value), where_above(other))
        return [total(density, [*above, _MINUS], [*below, _MINUS], [ends])]

    def _steps_of_nodes(self) -> list[Step]:
        """The share at each node, node after node of the first column, then of the next one."""
        nodes, _ = gauss_hermite()
        std = (floored(self.raw_log_var.detach().double(), self.min_std) / 2).exp()
        distances = (std.cpu()[:, None] * nodes).flatten()
        return [
            {"op": "take", "places": [place for place in range(len(std)) for _ in nodes]},
            {"op": "add", "value": distances},
            {"op": "map", "function": "sigmoid"},
        ]

    def _summing(self, sign: int = 1) -> Step:
        """The weighted sum over the nodes of each column, with a sign."""
        (width,) = self.event_shape
        _, weights = gauss_hermite()
        summing = torch.block_diag(*[sign * weights[None]] * width)
        return {"op": "dense", "weight": summing, "bias": torch.zeros(width)}

    @staticmethod
    def _law(loc: Tensor, log_var: Tensor) -> Law:
        return LogitNormal(loc, log_var, loc.new_zeros(()), loc.new_ones(()))
