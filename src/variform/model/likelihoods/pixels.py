"""Likelihoods of values in [0, 1] and of levels, such as pixels."""

import math
from typing import Any, Self

import torch
from torch import Tensor

from variform.config.model import ModelConfig
from variform.data.marginals import Marginals
from variform.data.schema import Schema
from variform.distributions.law import Law
from variform.distributions.pixels import (
    Bernoulli,
    Categorical,
    ContinuousBernoulli,
    DiscretisedLogistic,
)
from variform.model.likelihoods.family import Likelihood, Step, product, promoted, solved, total


class BernoulliLikelihood(Likelihood):
    """p(x|z) = Bernoulli with the network's output as logits; -log p(x|z) is the cross-entropy.

    Args:
        event_shape: Shape of one example.

    Shape:
        params (*batch, *event_shape) to a law over the same shape.

    Example:
        >>> BernoulliLikelihood((4,))(torch.zeros(2, 4)).log_prob(torch.ones(2, 4))
        tensor([-2.7726, -2.7726])
    """

    param_name = "logits"
    is_density = False
    support = "unit"

    @property
    def structure(self) -> str:
        """The first."""
        return "Bernoulli, whose reconstruction term is the cross-entropy"

    def forward(self, params: Tensor) -> Law:
        """The law that `params` describe."""
        return Bernoulli(promoted(params), event_dims=len(self.event_shape))

    @property
    def measures(self) -> str:
        """Of values between 0 and 1 it is a cross-entropy."""
        return "a probability or cross-entropy of values in [0, 1]"

    def start_at(self, mean: Tensor, variance: Tensor) -> Tensor:
        """The params at which p(x|z) has the training data's mean, kept away from 0 and 1."""
        del variance
        return torch.logit(mean, eps=1e-3)

    def independent(self, rows: Marginals) -> Law:
        """Add-one smoothed means: those of one more row of ones and one of zeros."""
        return Bernoulli(torch.logit((rows.mean * rows.rows + 1) / (rows.rows + 2)))

    def mean_steps(self) -> list[Step]:
        """The probability of a one."""
        return [{"op": "map", "function": "sigmoid"}]

    def spread_steps(self) -> list[Step]:
        """The root of p (1 - p)."""
        one: list[Step] = [{"op": "map", "function": "sigmoid"}]
        other: list[Step] = [{"op": "multiply", "value": -1.0}]
        return [
            {"op": "branches", "branches": [one, other], "join": "concatenate"},
            {"op": "gate"},
            {"op": "map", "function": "sqrt"},
        ]

    def density_steps(self) -> list[Step]:
        """x a - log(1 + e^a)."""
        logits, value = self.params_at(), self.values()
        rest: list[Step] = [
            logits,
            {"op": "map", "function": "softplus"},
            {"op": "multiply", "value": -1.0},
        ]
        return [total(product([value], [logits]), rest)]


class ContinuousBernoulliLikelihood(Likelihood):
    """p(x|z) = continuous Bernoulli, a density on [0, 1], with the network's output as logits.

    Args:
        event_shape: Shape of one example.

    Shape:
        params (*batch, *event_shape) to a law over the same shape.

    Example:
        >>> ContinuousBernoulliLikelihood((4,))(torch.zeros(2, 4)).log_prob(torch.rand(2, 4))
        tensor([0., 0.])
    """

    param_name = "logits"
    support = "unit"

    def forward(self, params: Tensor) -> Law:
        """The law that `params` describe."""
        return ContinuousBernoulli(promoted(params), event_dims=len(self.event_shape))

    def start_at(self, mean: Tensor, variance: Tensor) -> Tensor:
        """The params at which p(x|z) has the training data's mean, kept a hundredth away from 0 and 1."""
        del variance
        mean = mean.clamp(0.01, 0.99)
        return solved(lambda logits: ContinuousBernoulli(logits).mean, mean, -200.0, 200.0)

    def independent(self, rows: Marginals) -> Law:
        """With the means of the rows."""
        return ContinuousBernoulli(self.start_at(rows.mean, rows.variance))

    def mean_steps(self) -> list[Step]:
        """The mean by its formula, and near 0, where that is 0/0, by its series."""
        series = ContinuousBernoulli.series_of_mean()
        return [self._step("continuous-bernoulli", series)]

    def spread_steps(self) -> list[Step]:
        """The root of the variance, which has a formula and a series too."""
        series = ContinuousBernoulli.series_of_variance()
        variance = self._step("continuous-bernoulli-variance", series)
        return [variance, {"op": "map", "function": "sqrt"}]

    def density_steps(self) -> list[Step]:
        """(x - 1/2) a - A(a) + a / 2, where what is linear in a is a single product."""
        logits = self.params_at()
        normaliser = _normaliser()
        centred: list[Step] = [self.values(), {"op": "add", "value": -0.5}]
        rest: list[Step] = [logits, normaliser, {"op": "multiply", "value": -1.0}]
        return [total(product(centred, [logits]), rest)]

    @staticmethod
    def _step(op: str, series: list[float]) -> Step:
        return {"op": op, "near": ContinuousBernoulli.NEAR, "series": series}


def _normaliser() -> Step:
    return {
        "op": "continuous-bernoulli-normaliser",
        "near": ContinuousBernoulli.NEAR,
        "series": ContinuousBernoulli.series_of_normaliser(),
    }


class LogisticLikelihood(Likelihood):
    r"""p(x|z) = logistic, discretised to L levels k / (L - 1), whose location and scale the network gives.

    The location is $\sigma(h)$, kept in [1 / 2L, 1 - 1 / 2L], and the log-scale is kept in `LOG_SCALES`, [-4.5, 0].

    Args:
        event_shape: Shape of one example.
        levels: L.

    Shape:
        params (*batch, 2, *event_shape), raw locations, then log-scales, to a law over (*batch, *event_shape).

    Reference:
        Salimans, Karpathy, Chen and Kingma (2017); the bounds: Tomczak and Welling (2018), in their code.

    Example:
        >>> law = LogisticLikelihood((4,), levels=17)(torch.zeros(3, 2, 4))
        >>> law.mean.shape
        torch.Size([3, 4])
    """

    LOG_SCALES = -4.5, 0.0

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
        """A location and a scale of each dimension."""
        count = math.prod(self.event_shape)
        return {"locations": count, "log-scales": count}

    @property
    def locations(self) -> tuple[float, float]:
        """The least and the greatest location: the middles of the first and the last bin."""
        return locations_within(self.levels)

    def forward(self, params: Tensor) -> DiscretisedLogistic:
        """The law that `params` describe."""
        raw_location, log_scale = promoted(params).unbind(-len(self.event_shape) - 1)
        location = torch.sigmoid(raw_location).clamp(*self.locations)
        return DiscretisedLogistic(
            location, log_scale.clamp(*self.LOG_SCALES), self.levels, len(self.event_shape)
        )

    def start_at(self, mean: Tensor, variance: Tensor) -> Tensor:
        """The params at which p(x|z) has the data's mean and about its variance, where the bounds allow it.

        Both start inside the bounds, on which they would have no gradient.
        """
        # A logistic's variance is (pi s)^2 / 3.
        log_scale = (variance.clamp_min(1e-12) * 3 / math.pi**2).log() / 2
        log_scale = log_scale.clamp(-4.0, -0.5)
        edge = 0.6 / self.levels

        def mean_at(location: Tensor) -> Tensor:
            return DiscretisedLogistic(location, log_scale, self.levels).mean

        return torch.stack([torch.logit(solved(mean_at, mean, edge, 1 - edge)), log_scale])

    def independent(self, rows: Marginals) -> Law:
        """Add-one smoothed frequencies of the levels."""
        return of_frequencies(rows, self.levels)

    def mean_steps(self) -> list[Step]:
        """The mean level."""
        return [self._step("logistic")]

    def spread_steps(self) -> list[Step]:
        """The root of the variance of the levels."""
        return [self._step("logistic-variance"), {"op": "map", "function": "sqrt"}]

    def density_steps(self) -> list[Step]:
        """By the formula of `logistic_steps`."""
        size = math.prod(self.event_shape)
        raw_location, log_scale = self.params_at(0, size), self.params_at(size)
        return logistic_steps(raw_location, log_scale, self.values(), self.levels)

    def _step(self, of: str) -> Step:
        return moment_step(of, self.levels)


def locations_within(levels: int) -> tuple[float, float]:
    """The least and the greatest location of a logistic: the middles of the first and the last bin.

    Example:
        >>> locations_within(2)
        (0.25, 0.75)
    """
    edge = 0.5 / levels
    return edge, 1 - edge


def moment_step(of: str, levels: int) -> Step:
    """The step from raw locations and log-scales, (B, 2, *s), to the `logistic` mean or the `logistic-variance`."""
    scales = list(LogisticLikelihood.LOG_SCALES)
    locations = list(locations_within(levels))
    return {"op": "levels", "of": of, "count": levels, "locations": locations, "log_scales": scales}


def logistic_steps(raw_location: Step, log_scale: Step, value: Step, count: int) -> list[Step]:
    r"""$\log\sigma(b) + \log\sigma(-a) + \log(1 - e^{a - b})$ of the bin [a, b] of a value's level, one of `count`.

    With the width w = b - a the last is $\log w - w / 2 + \log\frac{\sinh(w / 2)}{w / 2}$, where nothing cancels.
    """
    minus: Step = {"op": "multiply", "value": -1.0}
    softplus: Step = {"op": "map", "function": "softplus"}
    is_zero: Step = {"op": "map", "function": "is-zero"}
    low, high = locations_within(count)
    least, most = LogisticLikelihood.LOG_SCALES
    location: list[Step] = [
        raw_location,
        {"op": "map", "function": "sigmoid"},
        {"op": "clip", "low": low, "high": high},
    ]
    log_per_unit: list[Step] = [
        log_scale,
        {"op": "clip", "low": least, "high": most},
        minus,
    ]
    per_unit: list[Step] = [*log_per_unit, {"op": "map", "function": "exp"}]
    width: list[Step] = [*per_unit, {"op": "multiply", "value": 1 / count}]
    level: list[Step] = [
        value,
        {"op": "multiply", "value": count - 1.0},
        {"op": "map", "function": "round"},
    ]
    from_location = total([*level, {"op": "multiply", "value": 1 / count}], [*location, minus])
    start = product([from_location], per_unit)
    end = total(start, width)
    is_first: list[Step] = [*level, is_zero]
    is_last: list[Step] = [*level, {"op": "add", "value": 1.0 - count}, is_zero]
    normaliser = _normaliser()
    of_width = total(
        [*log_per_unit, {"op": "add", "value": -math.log(count)}],
        [*width, {"op": "multiply", "value": -0.5}],
        [*width, normaliser],
    )
    below_end = product([end, minus, softplus, minus], [*is_last, is_zero])
    above_start = product([*start, softplus, minus], [*is_first, is_zero])
    between = product([of_width], [total(is_first, is_last), is_zero])
    return [total(below_end, above_start, between)]


class CategoricalLikelihood(Likelihood):
    """p(x|z) = a probability for each of L levels k / (L - 1), by the softmax of the network's output.

    Args:
        event_shape: Shape of one example.
        levels: L.

    Shape:
        params (*batch, L, *event_shape) to a law over (*batch, *event_shape).

    Example:
        >>> CategoricalLikelihood((4,), levels=2)(torch.zeros(3, 2, 4)).log_prob(torch.ones(3, 4))
        tensor([-2.7726, -2.7726, -2.7726])
    """

    param_name = "logits"
    is_density = False
    support = "levels"

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
        return (self.levels, *self.event_shape)

    def forward(self, params: Tensor) -> Categorical:
        """The law that `params` describe."""
        return Categorical(promoted(params), event_dims=len(self.event_shape))

    def start_at(self, mean: Tensor, variance: Tensor) -> Tensor:
        r"""The params at which p(x|z) has the data's mean and no more structure, $p_k \propto e^{ck}$."""
        del variance
        levels = torch.linspace(0, 1, self.levels, dtype=mean.dtype, device=mean.device)
        levels = levels.reshape(-1, *[1] * mean.ndim)

        def mean_at(slope: Tensor) -> Tensor:
            return ((slope * levels).softmax(0) * levels).sum(0)

        bound = 20.0 * self.levels
        return solved(mean_at, mean.clamp(1e-3, 1 - 1e-3), -bound, bound) * (levels - 0.5)

    def independent(self, rows: Marginals) -> Law:
        """Add-one smoothed frequencies of the levels."""
        return of_frequencies(rows, self.levels)

    def mean_steps(self) -> list[Step]:
        """The mean level."""
        return [{"op": "levels", "of": "mean"}]

    def spread_steps(self) -> list[Step]:
        """The root of the variance of the levels."""
        return [{"op": "levels", "of": "variance"}, {"op": "map", "function": "sqrt"}]

    def density_steps(self) -> list[Step]:
        """The logit of the level, less the logarithm of the sum of all exponentials."""
        return self._steps_of_level(self.levels - 1)

    def _steps_of_level(self, unit: float) -> list[Step]:
        """Where values times `unit` are the numbers of the levels."""
        size = math.prod(self.event_shape)
        logits = self.params_at()
        rest: list[Step] = [
            logits,
            {"op": "reshape", "shape": [self.levels, size]},
            {"op": "levels", "of": "log-sum-exp"},
            {"op": "multiply", "value": -1.0},
        ]
        return [total(at_level([logits], self.values(), unit, self.levels), rest)]


def at_level(of_levels: list[Step], values: Step, unit: float, levels: int) -> list[Step]:
    """Of what a branch gives for every level of every value, (B, L D), that of the value's own level."""
    places = values["places"]
    each: list[Step] = [
        {"op": "take", "places": places * levels},
        {"op": "multiply", "value": float(unit)},
        {"op": "map", "function": "round"},
        {"op": "add", "value": -torch.arange(levels).repeat_interleave(len(places)).double()},
        {"op": "map", "function": "is-zero"},
    ]
    return [
        *product(of_levels, each),
        {"op": "reshape", "shape": [levels, len(places)]},
        {"op": "levels", "of": "total"},
    ]


def of_frequencies(rows: Marginals, levels: int) -> Law:
    """Levels as often as in the rows and in one more row for each level."""
    return Categorical((rows.level_counts(levels) + 1).log())
