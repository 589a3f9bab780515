"""Gaussian likelihoods: where the variance comes from."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from variform.config.checks import checked
from variform.config.model import ModelConfig
from variform.data.marginals import Marginals
from variform.data.schema import Schema
from variform.distributions.gaussian import DiagonalGaussian
from variform.distributions.law import LOG_2_PI, Law
from variform.model.likelihoods.family import (
    Likelihood,
    Step,
    floored,
    gaussian_steps,
    product,
    promoted,
    total,
)
from variform.system import processes

Variance = Literal["learned", "per-feature", "shared", "optimal", "fixed", "identity"]


class GaussianLikelihood(Likelihood):
    r"""$p(x|z) = N(\mu(z), \sigma^2)$ with independent dimensions.

    variance = "learned": $\sigma_d^2 = e^{h_d(z)} + \sigma_{\min}^2$ from the network, a variance per dimension.
    variance = "per-feature": a learned number per dimension, $\sigma_d^2 = e^{h_d} + \sigma_{\min}^2$.
    variance = "shared": one learned number, $\sigma^2 = e^{h} + \sigma_{\min}^2$.
    variance = "optimal": in training the number that maximises the likelihood of the batch, the mean of
    $(x - \mu(z))^2$ over samples, batch and dimensions, at least $\sigma_{\min}^2$; it has no gradient, because at the
    maximum it has no effect. In evaluation the running mean of what training found: each forward pass in training
    moves it a tenth of the way. It is part of the model's state.
    variance = "fixed": $\sigma$ is `fixed_std`.
    variance = "identity": $\sigma^2 = 1$; $-\log p(x|z) = \tfrac12 \|x - \mu(z)\|^2 + \tfrac D2 \log 2\pi$.

    Args:
        event_shape: Shape of one example.
        variance: Where the variance comes from.
        min_std: Least standard deviation of a learned or optimal variance, in the units the model sees. Without a floor
            the density of a constant dimension grows without bound.
        fixed_std: Standard deviation of "fixed", in the units the model sees.

    Shape:
        params (*batch, *params_shape) to a law over (*batch, *event_shape), where params_shape is (2, *event_shape)
        for "learned" (means, then raw log-variances) and event_shape otherwise.

    Reference:
        "optimal": Rybkin, Daniilidis and Levine (2021).

    Example:
        >>> law = GaussianLikelihood((2,), variance="identity")(torch.zeros(1, 2))
        >>> law.log_prob(torch.tensor([[3.0, 4.0]])).round(decimals=4)
        tensor([-14.3379])
    """

    is_gaussian = True
    optimal_variance: Tensor

    @checked
    def __init__(
        self,
        event_shape: tuple[int, ...],
        *,
        variance: Variance = "learned",
        min_std: float = 1e-3,
        fixed_std: float = 1.0,
    ) -> None:
        super().__init__(event_shape)
        self.variance, self.min_std = variance, min_std
        self.fixed_std = 1.0 if variance == "identity" else fixed_std
        if variance in ("shared", "per-feature"):
            self.raw_log_var = nn.Parameter(
                torch.zeros(() if variance == "shared" else self.event_shape)
            )
        if variance == "optimal":
            self.register_buffer("optimal_variance", torch.ones(()))
        self.learns_variance = variance not in ("fixed", "identity")
        self.fits_batch = variance == "optimal"
        self.has_one_variance = variance not in ("learned", "per-feature")
        if self.has_one_variance:
            self.richer = "a variance per column and this VAE one for all", "gaussian-per-feature"

    @classmethod
    def of(cls, schema: Schema, config: ModelConfig, **options: Any) -> Self:
        """With the least standard deviation that such data ask for."""
        return cls(schema.shape, min_std=least_std(schema), fixed_std=config.fixed_std, **options)

    @property
    def params_shape(self) -> tuple[int, ...]:
        """What the decoder must give per example."""
        return (2, *self.event_shape) if self.variance == "learned" else self.event_shape

    @property
    def param_counts(self) -> dict[str, int]:
        """The means, and the logarithms of variances that come from the network."""
        count = math.prod(self.event_shape)
        return {"means": count} | ({"log-variances": count} if self.variance == "learned" else {})

    @property
    def structure(self) -> str:
        """Of a variance from the network, and of variance 1."""
        structures = {
            "learned": "a Gaussian whose variances the decoder gives too",
            "identity": "a Gaussian of variance 1, whose reconstruction term is half the squared error",
        }
        return structures.get(self.variance, "")

    def forward(self, params: Tensor) -> Law:
        """The law that `params` describe."""
        params, event_dims = promoted(params), len(self.event_shape)
        if self.variance == "learned":
            mean, raw_log_var = params.unbind(-event_dims - 1)
            return DiagonalGaussian(mean, floored(raw_log_var, self.min_std), event_dims)
        if self.variance in ("shared", "per-feature"):
            log_var = floored(promoted(self.raw_log_var), self.min_std)
            return DiagonalGaussian(params, log_var, event_dims)
        if self.variance == "optimal" and self.training:
            return _OptimalGaussian(
                params, promoted(self.optimal_variance).log(), event_dims, self._optimum
            )
        if self.variance == "optimal":
            return DiagonalGaussian(params, promoted(self.optimal_variance).log(), event_dims)
        return DiagonalGaussian(params, params.new_tensor(2 * math.log(self.fixed_std)), event_dims)

    def start_at(self, mean: Tensor, variance: Tensor) -> Tensor:
        """The params at which p(x|z) has the data's mean and, where it is learned and above the floor, variance."""
        variance = variance.clamp_min(self.min_std**2)
        if self.variance == "learned":
            return torch.stack([mean, variance.log()])
        with torch.no_grad():
            if self.variance in ("shared", "per-feature"):
                self.raw_log_var.copy_(
                    (variance.mean() if self.variance == "shared" else variance).log()
                )
            if self.variance == "optimal":
                self.optimal_variance.copy_(variance.mean())
        return mean

    @torch.no_grad()
    def start_at_noise(self, mean: Tensor, noise: Tensor) -> Tensor:
        """The params of this mean; the variance is the noise where the family has one per dimension, else its mean."""
        raw_log_var = (noise - self.min_std**2).log()
        if self.variance == "learned":
            return torch.cat([mean, raw_log_var])
        if self.variance == "per-feature":
            self.raw_log_var.copy_(raw_log_var)
        if self.variance == "shared":
            self.raw_log_var.copy_(noise.mean().log())
        if self.variance == "optimal":
            self.optimal_variance.copy_(noise.mean())
        return mean

    def independent(self, rows: Marginals) -> Law:
        """A Gaussian with a variance per dimension, whichever variance this family has."""
        return DiagonalGaussian(rows.mean, rows.variance.clamp_min(self.min_std**2).log())

    def mean_steps(self) -> list[Step]:
        """The params; only the first half are means where the others are log-variances."""
        return self._steps_of_half(0) if self.variance == "learned" else []

    def spread_steps(self) -> list[Step]:
        """By the second half of the params, or the same for all z."""
        if self.variance != "learned":
            std = self(torch.zeros(self.event_shape, dtype=torch.float64)).stddev.detach()
            value = std.flatten()[0].item() if self.has_one_variance else std
            return [{"op": "multiply", "value": 0.0}, {"op": "add", "value": value}]
        return [
            *self._steps_of_half(1),
            {"op": "map", "function": "exp"},
            {"op": "add", "value": self.min_std**2},
            {"op": "map", "function": "sqrt"},
        ]

    def density_steps(self) -> list[Step]:
        r"""$-\tfrac12 [(x - \mu)^2 / \sigma^2 + \log \sigma^2 + \log 2\pi]$."""
        size = math.prod(self.event_shape)
        mean, value = self.params_at(0, size), self.values()
        if self.variance != "learned":
            law = self(torch.zeros(self.event_shape, dtype=torch.float64))
            return gaussian_steps([value], [mean], law.variance.detach().log().flatten())
        floor = 2 * math.log(self.min_std)
        log_var: list[Step] = [  # log(e^h + min_std^2)
            self.params_at(size),
            {"op": "add", "value": -floor},
            {"op": "map", "function": "softplus"},
            {"op": "add", "value": floor},
        ]
        half: Step = {"op": "multiply", "value": -0.5}
        minus: Step = {"op": "multiply", "value": -1.0}
        precision: list[Step] = [*log_var, half, {"op": "map", "function": "exp"}]
        square: Step = {"op": "map", "function": "square"}
        constant: Step = {"op": "add", "value": -LOG_2_PI / 2}
        scaled = product([total([value], [mean, minus])], precision)
        return [total([*scaled, square, half], [*log_var, half, constant])]

    def _steps_of_half(self, half: int) -> list[Step]:
        size = math.prod(self.event_shape)
        return [
            {"op": "reshape", "shape": [2 * size]},
            {"op": "take", "places": list(range(half * size, (half + 1) * size))},
            {"op": "reshape", "shape": list(self.event_shape)},
        ]

    @torch.no_grad()
    def _optimum(self, squares: Tensor) -> Tensor:
        """The variance that maximises the likelihood of squared distances of the whole batch; notes it."""
        known = ~squares.isnan()  # a missing value has no distance
        total = torch.stack([torch.where(known, squares, 0.0).sum(), known.sum().to(squares.dtype)])
        total, count = processes.summed(total)
        variance = (total / count.clamp_min(1)).clamp_min(self.min_std**2)  # eq: optimal-variance
        self.optimal_variance.lerp_(variance.to(self.optimal_variance.dtype), 0.1)
        return variance


class _OptimalGaussian(DiagonalGaussian):
    """A Gaussian whose variance is, for each batch of values that it is asked about, their optimum."""

    def __init__(
        self, mean: Tensor, log_var: Tensor, event_dims: int, optimum: Callable[[Tensor], Tensor]
    ) -> None:
        super().__init__(mean, log_var, event_dims)
        self._optimum = optimum

    def log_prob_per_entry(self, value: Tensor) -> Tensor:
        """Log-density of every entry, in nats."""
        return self._fitted(value).log_prob_per_entry(value)

    def log_prob_observed(self, value: Tensor) -> Tensor:
        """As of any law; what is missing does not count in the optimum either."""
        return self._fitted(value).log_prob_observed(value)

    def _fitted(self, value: Tensor) -> DiagonalGaussian:
        variance = self._optimum((value - self.loc).detach().square())
        return DiagonalGaussian(self.loc, variance.log(), len(self.event_shape))


def least_std(schema: Schema, columns: Sequence[int] | None = None) -> float:
    """The least standard deviation that a Gaussian may have, in the units the model sees.

    Grey values cannot be known better than to one level; real numbers get a thousandth of the model's unit, or of the
    range of the narrowest column that varies.

    Args:
        schema: What the data are.
        columns: The columns that are looked at; by default all.

    Example:
        >>> from variform.data.reading import read
        >>> least_std(read("digits").schema)
        0.0625
    """
    ranges = [
        (high - low) / scale
        for low, high, scale in zip(schema.low, schema.high, schema.scale, strict=True)
    ]
    ranges = ranges if columns is None else [ranges[index] for index in columns]
    if schema.seen_levels and schema.seen_levels > 2:
        return 1 / max(schema.scale)
    return 1e-3 * min([1.0, *(width for width in ranges if width > 0)])
