"""Likelihoods of levels in an order that are more than a place and a scale."""

import math
from typing import Any, Self

import torch
from torch import Tensor

from variform.config.model import ModelConfig
from variform.data.marginals import Marginals
from variform.data.schema import Schema
from variform.distributions.law import Law
from variform.distributions.levels import BetaBinomial, LogisticMixture
from variform.model.likelihoods.family import (
    Likelihood,
    Step,
    product,
    promoted,
    solved,
    total,
)
from variform.model.likelihoods.pixels import (
    LogisticLikelihood,
    locations_within,
    logistic_steps,
    moment_step,
    of_frequencies,
)

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


class LogisticMixtureLikelihood(Likelihood):
    r"""p(x|z) = a mixture of J discretised logistics for each value, on L levels k / (L - 1).

    Locations and scales have the bounds of `LogisticLikelihood`. The colours of a pixel are values of their own.

    Args:
        event_shape: Shape of one example.
        levels: L.
        components: J, at least 2.

    Shape:
        params (*batch, 3 J, *event_shape), logits, then raw locations, then log-scales, to a law over (*batch,
        *event_shape).

    Raises:
        ValueError: for fewer than two components.

    Reference:
        Salimans, Karpathy, Chen and Kingma (2017), section 2.1.

    Example:
        >>> likelihood = LogisticMixtureLikelihood((4,), levels=17, components=3)
        >>> likelihood.params_shape, likelihood(torch.zeros(2, 9, 4)).mean.shape
        ((9, 4), torch.Size([2, 4]))
    """

    is_density = False
    support = "levels"

    def __init__(
        self, event_shape: tuple[int, ...], *, levels: int = 256, components: int = 5
    ) -> None:
        if components < 2:
            raise ValueError(
                f"a mixture of logistics needs at least 2 components; got {components}. Use"
                " `likelihood='logistic'` for one."
            )
        super().__init__(event_shape)
        self.levels, self.components = levels, components

    @classmethod
    def of(cls, schema: Schema, config: ModelConfig, **options: Any) -> Self:
        """With the levels that the data have, and `likelihood_components`."""
        levels = schema.seen_levels or 256
        return cls(schema.shape, levels=levels, components=config.likelihood_components, **options)

    @property
    def params_shape(self) -> tuple[int, ...]:
        """What the decoder must give per example."""
        return (3 * self.components, *self.event_shape)

    @property
    def param_counts(self) -> dict[str, int]:
        """A share, a location and a scale of each component of each dimension."""
        count = self.components * math.prod(self.event_shape)
        return {"logits": count, "locations": count, "log-scales": count}

    def forward(self, params: Tensor) -> LogisticMixture:
        """The law that `params` describe."""
        return self._law(*promoted(params).chunk(3, -len(self.event_shape) - 1))

    def _law(self, logits: Tensor, raw_location: Tensor, log_scale: Tensor) -> LogisticMixture:
        location = torch.sigmoid(raw_location).clamp(*locations_within(self.levels))
        log_scale = log_scale.clamp(*LogisticLikelihood.LOG_SCALES)
        return LogisticMixture(logits, location, log_scale, self.levels, len(self.event_shape))

    def start_at(self, mean: Tensor, variance: Tensor) -> Tensor:
        """The params at which p(x|z) has the data's mean: equal shares, spread around it as the data are.

        All start inside the bounds, on which they would have no gradient.
        """
        std = variance.clamp_min(1e-12).sqrt()
        places = torch.linspace(-1.5, 1.5, self.components, dtype=mean.dtype, device=mean.device)
        places = places.reshape(-1, *[1] * mean.ndim) * std
        edge = 0.6 / self.levels
        # Half of the standard deviation is left to each; a logistic's is pi s / sqrt(3).
        log_scale = (std * math.sqrt(3) / (2 * math.pi)).log().clamp(-4.0, -0.5).expand_as(places)
        logits = torch.zeros_like(places)

        def raw(middle: Tensor) -> Tensor:
            return torch.logit((middle + places).clamp(edge, 1 - edge))

        middle = solved(
            lambda middle: self._law(logits, raw(middle), log_scale).mean, mean, -1.0, 2.0
        )
        return torch.cat([logits, raw(middle), log_scale])

    def independent(self, rows: Marginals) -> Law:
        """Add-one smoothed frequencies of the levels."""
        return of_frequencies(rows, self.levels)

    def mean_steps(self) -> list[Step]:
        """The mean of the components' mean levels."""
        return [self._flat(), *self._weighed([self._moment("logistic")]), self._as_event()]

    def spread_steps(self) -> list[Step]:
        r"""The root of $\sum_j \pi_j [v_j + (m_j - \frac12)^2] - (m - \frac12)^2$."""
        from_middle: Step = {"op": "add", "value": -0.5}
        square: Step = {"op": "map", "function": "square"}
        of_each = [[self._moment("logistic"), from_middle, square]]
        moments = [total([self._moment("logistic-variance")], *of_each)]
        mean = [*self._weighed([self._moment("logistic")]), from_middle, square, _MINUS]
        return [
            self._flat(),
            total(self._weighed(moments), mean),
            {"op": "clip", "low": 0.0, "high": math.inf},
            {"op": "map", "function": "sqrt"},
            self._as_event(),
        ]

    def density_steps(self) -> list[Step]:
        """The logarithm of the sum over the components of share times probability."""
        values = self.values()
        each = {**values, "places": values["places"] * self.components}
        of_each = logistic_steps(self._part(1), self._part(2), each, self.levels)
        over: list[Step] = [
            {"op": "reshape", "shape": [self.components, math.prod(self.event_shape)]},
            {"op": "levels", "of": "log-sum-exp"},
        ]
        together: list[Step] = [total([self._part(0)], of_each), *over]
        return [total(together, [self._part(0), *over, _MINUS])]

    def _part(self, part: int, shift: int = 0) -> Step:
        """Logits, raw locations or log-scales, of the components in turn, beginning `shift` components later."""
        size = math.prod(self.event_shape)
        places = [
            (part * self.components + (j + shift) % self.components) * size + entry
            for j in range(self.components)
            for entry in range(size)
        ]
        return {"op": "take", "places": places}

    def _moment(self, of: str) -> Step:
        """Of all components side by side."""
        count = self.components * math.prod(self.event_shape)
        both: list[Step] = [
            {"op": "take", "places": list(range(count, 3 * count))},
            {"op": "reshape", "shape": [2, count]},
            moment_step(of, self.levels),
        ]
        return total(both)

    def _weighed(self, of_each: list[Step]) -> list[Step]:
        """The sum over the components of share times what is theirs.

        A share is the sigmoid of the logit less the logarithm of the sum of the others' exponentials.
        """
        others: list[Step] = [self._part(0, 1)]
        for shift in range(2, self.components):
            other = self._part(0, shift)
            excess: list[Step] = [total(others, [other, _MINUS])]
            others = [total([*excess, {"op": "map", "function": "softplus"}], [other])]
        logit: list[Step] = [total([self._part(0)], [*others, _MINUS])]
        size = math.prod(self.event_shape)
        starts = range(0, self.components * size, size)
        slices: list[list[Step]] = [
            [{"op": "take", "places": list(range(start, start + size))}] for start in starts
        ]
        joined: Step = {"op": "branches", "branches": [of_each, logit], "join": "concatenate"}
        return [joined, {"op": "gate"}, total(*slices)]

    def _flat(self) -> Step:
        return {"op": "reshape", "shape": [math.prod(self.params_shape)]}

    def _as_event(self) -> Step:
        return {"op": "reshape", "shape": list(self.event_shape)}


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
