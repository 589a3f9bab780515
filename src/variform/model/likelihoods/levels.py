"""Likelihoods of levels in an order that are more than a place and a scale."""

import math
from typing import Any, Self

import torch
from torch import Tensor

from variform.config.model import ModelConfig
from variform.data.marginals import Marginals
from variform.data.schema import Schema
from variform.distributions.law import Law
from variform.distributions.levels import BetaBinomial
from variform.model.likelihoods.family import Likelihood, Step, product, promoted, total
from variform.model.likelihoods.pixels import of_frequencies

_MINUS: Step = {"op": "multiply", "value": -1.0}
_EXP: Step = {"op": "map", "function": "exp"}
_LOG: Step = {"op": "map", "function": "log"}
_SHIFT = 8
"""From this number on Stirling's series with three terms has eleven digits."""


class BetaBinomialLikelihood(Likelihood):
    r"""p(x|z) = beta-binomial on L levels k / (L - 1), with the mean $\sigma(a)$ and a concentration from the network.

    The logarithm of the concentration is kept in `LOG_CONCENTRATIONS`, [-8, 12].

    Args:
        event_shape: Shape of one example.
        levels: L.

    Shape:
        params (*batch, 2, *event_shape), logits, then log-concentrations, to a law over (*batch, *event_shape).

    Reference:
        Townsend, Bird and Barber (2019): for grey levels, to compress them.

    Example:
        >>> law = BetaBinomialLikelihood((4,), levels=17)(torch.zeros(3, 2, 4))
        >>> law.mean.shape, law.mean[0, 0]
        (torch.Size([3, 4]), tensor(0.5000))
    """

    LOG_CONCENTRATIONS = -8.0, 12.0

    is_density = False
    support = "levels"
    richer = "a frequency for every level and this VAE two numbers", "categorical"

    def __init__(self, event_shape: tuple[int, ...], *, levels: int = 256) -> None:
        super().__init__(event_shape)
        self.levels = levels

    @classmethod
    def of(cls, schema: Schema, config: ModelConfig, **options: Any) -> Self:
        """With the levels that the data have."""
        return cls(schema.shape, levels=schema.seen_levels or 256, **options)

    @property
    def params_shape(self) -> tuple[int, ...]:
        """What the decoder must give per example."""
        return (2, *self.event_shape)

    @property
    def param_counts(self) -> dict[str, int]:
        """A mean and a concentration of each dimension."""
        count = math.prod(self.event_shape)
        return {"logits": count, "log-concentrations": count}

    def forward(self, params: Tensor) -> BetaBinomial:
        """The law that `params` describe."""
        logits, log_concentration = promoted(params).unbind(-len(self.event_shape) - 1)
        log_concentration = log_concentration.clamp(*self.LOG_CONCENTRATIONS)
        return BetaBinomial(logits, log_concentration, self.levels, len(self.event_shape))

    def start_at(self, mean: Tensor, variance: Tensor) -> Tensor:
        """The params at which p(x|z) has the data's mean, kept from the ends, and its variance where the law can."""
        logits = torch.logit(mean, eps=1e-3)
        trials = self.levels - 1
        # How often the variance is that of a binomial law: from 1, s = infinity, to n, s = 0.
        ratio = trials * variance / (mean * (1 - mean)).clamp_min(1e-3)
        concentration = (trials - ratio).clamp_min(1e-6) / (ratio - 1).clamp_min(1e-6)
        return torch.stack([logits, concentration.log().clamp(-3.0, 8.0)])

    def independent(self, rows: Marginals) -> Law:
        """Add-one smoothed frequencies of the levels."""
        return of_frequencies(rows, self.levels)

    def mean_steps(self) -> list[Step]:
        """The chance of a success."""
        return [
            self._flat(),
            *self._logits(),
            {"op": "map", "function": "sigmoid"},
            self._as_event(),
        ]

    def spread_steps(self) -> list[Step]:
        r"""The root of $p (1 - p) (s / n + 1) / (s + 1)$."""
        chance = _log_sigmoid(self._logits())
        other = _log_sigmoid([*self._logits(), _MINUS])
        concentration: list[Step] = [*self._log_concentrations(), _EXP]
        above: list[Step] = [
            *concentration,
            {"op": "multiply", "value": 1 / (self.levels - 1)},
            {"op": "map", "function": "log1p"},
        ]
        below: list[Step] = [*concentration, {"op": "map", "function": "log1p"}, _MINUS]
        logarithm = total(chance, other, above, below)
        half: Step = {"op": "multiply", "value": 0.5}
        return [self._flat(), logarithm, half, _EXP, self._as_event()]

    def density_steps(self) -> list[Step]:
        r"""$\log\binom{n}{k}$, rising factorials of $\alpha$ by k and $\beta$ by n - k, less that of s by n."""
        trials = self.levels - 1.0
        level: list[Step] = [
            self.values(),
            {"op": "multiply", "value": trials},
            {"op": "map", "function": "round"},
        ]
        others: list[Step] = [*level, _MINUS, {"op": "add", "value": trials}]
        whole: list[Step] = [
            *level,
            {"op": "multiply", "value": 0.0},
            {"op": "add", "value": trials},
        ]
        log_factorial: Step = {"op": "map", "function": "log-factorial"}
        log_s = self._log_concentrations()
        ways = total([*level, log_factorial, _MINUS], [*others, log_factorial, _MINUS])
        return [
            total(
                [ways, {"op": "add", "value": math.lgamma(trials + 1)}],
                _rising([total(log_s, _log_sigmoid(self._logits()))], level),
                _rising([total(log_s, _log_sigmoid([*self._logits(), _MINUS]))], others),
                [*_rising(log_s, whole), _MINUS],
            )
        ]

    def _flat(self) -> Step:
        return {"op": "reshape", "shape": [math.prod(self.params_shape)]}

    def _as_event(self) -> Step:
        return {"op": "reshape", "shape": list(self.event_shape)}

    def _logits(self) -> list[Step]:
        return [self.params_at(0, math.prod(self.event_shape))]

    def _log_concentrations(self) -> list[Step]:
        low, high = self.LOG_CONCENTRATIONS
        return [
            self.params_at(math.prod(self.event_shape)),
            {"op": "clip", "low": low, "high": high},
        ]


def _log_sigmoid(steps: list[Step]) -> list[Step]:
    return [*steps, _MINUS, {"op": "map", "function": "softplus"}, _MINUS]


def _rising(log_start: list[Step], count: list[Step]) -> list[Step]:
    r"""$\log [\Gamma(r + k) / \Gamma(r)]$ of what two branches give, log r and k.

    It is that of r + 8, by Stirling's series, less the logarithms of $(r + j + k) / (r + j)$ for j from 0 to 7: no term
    is the difference of two large ones. The first of these needs log r itself, where r may be too small for a number.
    """
    start: list[Step] = [*log_start, _EXP]
    reached = total(start, count)

    def added(steps: list[Step], number: float) -> list[Step]:
        return [*steps, {"op": "add", "value": number}, _LOG]

    def ratio(number: float) -> list[Step]:
        inverse: list[Step] = [*added(start, number), _MINUS, _EXP]
        return [*product(count, inverse), {"op": "map", "function": "log1p"}]

    def powers(exponent: int, factor: float) -> list[Step]:
        power: Step = {"op": "multiply", "value": -float(exponent)}
        end: list[Step] = [*added([reached], _SHIFT), power, _EXP]
        begin: list[Step] = [*added(start, _SHIFT), power, _EXP, _MINUS]
        return [total(end, begin), {"op": "multiply", "value": factor}]

    series = [
        product(count, added([reached], _SHIFT)),
        product([*start, {"op": "add", "value": _SHIFT - 0.5}], ratio(_SHIFT)),
        [*count, _MINUS],
        powers(1, 1 / 12),
        powers(3, -1 / 360),
        powers(5, 1 / 1260),
    ]
    least = torch.finfo(torch.float32).tiny
    some: list[Step] = [*count, {"op": "map", "function": "step"}]
    sums: list[Step] = [reached, {"op": "clip", "low": least, "high": math.inf}, _LOG]
    first = product([total(sums, [*log_start, _MINUS])], some)
    rest = [[*ratio(number), _MINUS] for number in range(1, _SHIFT)]
    return [total(*series, [*first, _MINUS], *rest)]
