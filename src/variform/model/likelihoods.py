"""Likelihood families: the decoder's raw output becomes the law p(x|z).

The lecture's three structures are `BernoulliLikelihood` (cross-entropy), `GaussianLikelihood(variance="learned")` (a
variance per dimension from the network) and `GaussianLikelihood(variance="identity")` (squared error); the fourth,
`variance="shared"`, learns one variance for all dimensions, without which the scale of the data decides how much the
reconstruction weighs against the KL term.

A family carries its own facts: what its number measures, for which values it is, the trivial model of its kind, the
steps of its mean. Who builds, compares or exports a model asks for them and never for the type. `LIKELIHOODS`, at the
end, has the names. docs/extending.md adds a family as an example.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, Self, get_args

import torch
from torch import Tensor, nn

from variform.config.checks import checked
from variform.config.choices import LikelihoodName, Support
from variform.config.model import ModelConfig
from variform.data.marginals import Marginals
from variform.data.schema import ColumnKind, Schema
from variform.distributions.bounded import LogitNormal, LogNormal, gauss_hermite
from variform.distributions.compound import Mixed, Spiked
from variform.distributions.counts import NegativeBinomial, Poisson
from variform.distributions.gaussian import DiagonalGaussian
from variform.distributions.law import Law
from variform.distributions.ordered import Ordinal
from variform.distributions.pixels import (
    Bernoulli,
    Categorical,
    ContinuousBernoulli,
    DiscretisedLogistic,
)
from variform.system import processes

Variance = Literal["learned", "per-feature", "shared", "optimal", "fixed", "identity"]
Step = dict[str, Any]
"""What is done to the numbers of every example: an `op` and its fields; export/lowering.py has the table of them."""


class Likelihood(nn.Module):
    """What all likelihoods share: a family turns the decoder's output into p(x|z), and says what others ask of it.

    Every fact but `forward` has a default; a family states those that are otherwise with it. A class that inherits from
    a family inherits its facts, and states anew what its own law changes.

    Args:
        event_shape: Shape of one example.
    """

    is_density = True
    """Whether p(x|z) is a density, which has the unit 1 / unit of x, and no probability."""
    support: Support = "real"
    """Which values x may have."""
    takes_categories = False
    """Whether columns may hold categories."""
    is_gaussian = False
    """Whether p(x|z) is a Gaussian with independent dimensions: then -log p(x|z) is made of squares, PCA and factor
    analysis are such models with linear networks, and `min_std` is a number."""
    min_std = 0.0
    """Of a Gaussian: its least standard deviation, in the units the model sees."""
    has_one_variance = False
    """Whether one number is the variance, or the scale, of all dimensions."""
    learns_variance = True
    """Whether the variance comes from training, where there is one to choose."""
    fits_batch = False
    """Whether log p(x|z) in training is that of parameters that are the optimum for the batch."""
    richer: tuple[str, LikelihoodName] | None = None
    """What independent dimensions have and this family has not, and the likelihood that has it."""

    def __init__(self, event_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.event_shape = tuple(event_shape)

    @classmethod
    def of(cls, schema: Schema, config: ModelConfig, **options: Any) -> Self:
        """The likelihood of such data.

        Args:
            schema: What the data are.
            config: The model's configuration, for a family that has an option of its own there.
            options: Those of `LIKELIHOODS`.

        Raises:
            ValueError: when the data lack what the family needs.
        """
        del config
        return cls(schema.shape, **options)

    @property
    def measures(self) -> str:
        """What log p(x) is of. Numbers of nats may be compared where this is the same.

        Example:
            >>> PoissonLikelihood((4,)).measures
            'a probability of counts'
        """
        values = {
            "real": "real numbers",
            "unit": "values in [0, 1]",
            "levels": "discrete levels",
            "counts": "counts",
        }
        kind = "density" if self.is_density else "probability"
        return f"a {kind} of {values[self.support]}"

    @property
    def params_shape(self) -> tuple[int, ...]:
        """What the decoder must give per example."""
        return self.event_shape

    def extra_repr(self) -> str:
        """Shown when the module is printed: the shape of an example and the family's options."""
        names = ("event_shape", "variance", "levels")
        return ", ".join(f"{name}={getattr(self, name)}" for name in names if hasattr(self, name))

    def forward(self, params: Tensor) -> Law:
        """The law that `params` (*batch, *params_shape) describe."""
        raise NotImplementedError(
            f"a likelihood must say what law it gives; {type(self).__name__} has no forward."
        )

    def start_at(self, mean: Tensor, variance: Tensor) -> Tensor:
        """The params at which p(x|z) has the training data's mean; zeros for a family that does not know them.

        Args:
            mean: Of the prepared training rows, (*event).
            variance: Likewise.

        Shape:
            (*params_shape).
        """
        del variance
        return mean.new_zeros(self.params_shape)

    def start_at_noise(self, mean: Tensor, noise: Tensor) -> Tensor:
        r"""The params at which a Gaussian is $N(\mu, \Psi)$ with a diagonal $\Psi$, as exactly as the family can.

        Args:
            mean: $\mu$, (*event).
            noise: The diagonal of $\Psi$, likewise; twice the least variance or more.

        Shape:
            (*params_shape), flat.

        Raises:
            NotImplementedError: for a family that is not Gaussian.
        """
        raise NotImplementedError(
            f"only a Gaussian starts at factor analysis; {type(self).__name__} is none."
        )

    def independent(self, rows: Marginals) -> Law | None:
        """The trivial model: the law of independent dimensions that fits training rows, None where it is not known.

        Args:
            rows: What is known of every dimension of the training rows.

        Shape:
            A law over vectors (D,) of flat examples, without a batch.
        """
        del rows
        return None

    def mean_steps(self) -> list[Step] | None:
        """The steps from params (B, *params_shape) to the mean of p(x|z), (B, *event); None where there are none.

        Of the table in export/lowering.py these may be used: map, add, multiply, clip, take, reshape, dense, gate,
        continuous-bernoulli, levels, branches. Arrays are tensors or numbers here. Constants of a formula come with its
        step: the programs that run the steps hold none.

        Example:
            >>> PoissonLikelihood((4,)).mean_steps()
            [{'op': 'clip', 'low': -inf, 'high': 30.0}, {'op': 'map', 'function': 'exp'}]
        """
        return None


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

    is_density = False
    support = "unit"

    def forward(self, params: Tensor) -> Law:
        """The law that `params` describe."""
        return Bernoulli(_promoted(params), event_dims=len(self.event_shape))

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

    support = "unit"

    def forward(self, params: Tensor) -> Law:
        """The law that `params` describe."""
        return ContinuousBernoulli(_promoted(params), event_dims=len(self.event_shape))

    def start_at(self, mean: Tensor, variance: Tensor) -> Tensor:
        """The params at which p(x|z) has the training data's mean, kept a hundredth away from 0 and 1."""
        del variance
        mean = mean.clamp(0.01, 0.99)
        return _solved(lambda logits: ContinuousBernoulli(logits).mean, mean, -200.0, 200.0)

    def independent(self, rows: Marginals) -> Law:
        """With the means of the rows."""
        return ContinuousBernoulli(self.start_at(rows.mean, rows.variance))

    def mean_steps(self) -> list[Step]:
        """The mean by its formula, and near 0, where that is 0/0, by its series."""
        constants = {
            "near": ContinuousBernoulli.NEAR,
            "series": ContinuousBernoulli.series_of_mean(),
        }
        return [{"op": "continuous-bernoulli", **constants}]


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

    def forward(self, params: Tensor) -> Law:
        """The law that `params` describe."""
        params, event_dims = _promoted(params), len(self.event_shape)
        if self.variance == "learned":
            mean, raw_log_var = params.unbind(-event_dims - 1)
            return DiagonalGaussian(mean, _floored(raw_log_var, self.min_std), event_dims)
        if self.variance in ("shared", "per-feature"):
            log_var = _floored(_promoted(self.raw_log_var), self.min_std)
            return DiagonalGaussian(params, log_var, event_dims)
        if self.variance == "optimal" and self.training:
            return _OptimalGaussian(
                params, _promoted(self.optimal_variance).log(), event_dims, self._optimum
            )
        if self.variance == "optimal":
            return DiagonalGaussian(params, _promoted(self.optimal_variance).log(), event_dims)
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
        if self.variance != "learned":
            return []
        size = math.prod(self.event_shape)
        return [
            {"op": "reshape", "shape": [2 * size]},
            {"op": "take", "places": list(range(size))},
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
    def locations(self) -> tuple[float, float]:
        """The least and the greatest location: the middles of the first and the last bin."""
        edge = 0.5 / self.levels
        return edge, 1 - edge

    def forward(self, params: Tensor) -> DiscretisedLogistic:
        """The law that `params` describe."""
        raw_location, log_scale = _promoted(params).unbind(-len(self.event_shape) - 1)
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

        return torch.stack([torch.logit(_solved(mean_at, mean, edge, 1 - edge)), log_scale])

    def independent(self, rows: Marginals) -> Law:
        """Add-one smoothed frequencies of the levels."""
        return _of_frequencies(rows, self.levels)

    def mean_steps(self) -> list[Step]:
        """The mean level."""
        bounds = {"locations": list(self.locations), "log_scales": list(self.LOG_SCALES)}
        return [{"op": "levels", "of": "logistic", "count": self.levels, **bounds}]


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
        return Categorical(_promoted(params), event_dims=len(self.event_shape))

    def start_at(self, mean: Tensor, variance: Tensor) -> Tensor:
        r"""The params at which p(x|z) has the data's mean and no more structure, $p_k \propto e^{ck}$."""
        del variance
        levels = torch.linspace(0, 1, self.levels, dtype=mean.dtype, device=mean.device)
        levels = levels.reshape(-1, *[1] * mean.ndim)

        def mean_at(slope: Tensor) -> Tensor:
            return ((slope * levels).softmax(0) * levels).sum(0)

        bound = 20.0 * self.levels
        return _solved(mean_at, mean.clamp(1e-3, 1 - 1e-3), -bound, bound) * (levels - 0.5)

    def independent(self, rows: Marginals) -> Law:
        """Add-one smoothed frequencies of the levels."""
        return _of_frequencies(rows, self.levels)

    def mean_steps(self) -> list[Step]:
        """The mean level."""
        return [{"op": "levels", "of": "mean"}]


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
        return Poisson(_promoted(params).clamp_max(_MOST), event_dims=len(self.event_shape))

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
        log_mean = _promoted(params).clamp_max(_MOST)
        return NegativeBinomial(
            log_mean, _promoted(self.log_dispersion), event_dims=len(self.event_shape)
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


class _CategoryLikelihood(CategoricalLikelihood):
    """The law of columns of a mixed table that hold numbers of categories, 0, 1, ..., K - 1."""

    def start_at(self, mean: Tensor, variance: Tensor) -> Tensor:
        """As of levels."""
        unit = self.levels - 1
        return super().start_at(mean / unit, variance / unit**2)

    def independent(self, rows: Marginals) -> Law:
        """As of levels."""
        return super().independent(rows.divided_by(self.levels - 1))

    def mean_steps(self) -> list[Step]:
        """Of categories the likeliest one."""
        return [{"op": "levels", "of": "likeliest"}]


class LogNormalLikelihood(Likelihood):
    r"""p(x|z) = log-normal: $\log x \sim N(\mu(z), \sigma_d^2)$ with a learned variance per column.

    Args:
        event_shape: Shape of one example.
        min_std: Least standard deviation of the logarithm.

    Shape:
        params (*batch, *event_shape) to a law over the same shape.

    Example:
        >>> law = LogNormalLikelihood((2,))(torch.zeros(1, 2))
        >>> law.log_prob(torch.tensor([[1.0, 2.0]])).detach().round(decimals=2)
        tensor([-2.7700])
    """

    def __init__(self, event_shape: tuple[int, ...], *, min_std: float = 1e-3) -> None:
        super().__init__(event_shape)
        self.min_std = min_std
        self.raw_log_var = nn.Parameter(torch.zeros(self.event_shape))

    def forward(self, params: Tensor) -> Law:
        """The law that `params` describe."""
        loc = _promoted(params).clamp(-_MOST, _MOST)
        return LogNormal(loc, _floored(_promoted(self.raw_log_var), self.min_std))

    def start_at(self, mean: Tensor, variance: Tensor) -> Tensor:
        """The params at which p(x|z) has this mean, and about this variance."""
        mean = mean.clamp_min(1e-6)
        log_square = torch.log1p(variance / mean.square()).clamp_min(4 * self.min_std**2)
        with torch.no_grad():
            self.raw_log_var.copy_((log_square - self.min_std**2).log())
        return mean.log() - log_square / 2

    def independent(self, rows: Marginals) -> Law:
        """With mean and variance of the logarithms."""
        logs = rows.mapped(lambda x: x.where(x > 0, math.nan).log())
        return LogNormal(logs.mean, logs.variance.clamp_min(self.min_std**2).log())

    def mean_steps(self) -> list[Step]:
        """The mean."""
        log_var = _floored(self.raw_log_var.detach().double(), self.min_std)
        return [
            {"op": "clip", "low": -_MOST, "high": _MOST},
            {"op": "add", "value": log_var.exp() / 2},
            {"op": "map", "function": "exp"},
        ]


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

    support = "unit"

    def __init__(self, event_shape: tuple[int, ...], *, min_std: float = 1e-3) -> None:
        super().__init__(event_shape)
        self.min_std = min_std
        self.raw_log_var = nn.Parameter(torch.zeros(self.event_shape))

    def forward(self, params: Tensor) -> Law:
        """The law that `params` describe."""
        return self._law(_promoted(params), _floored(_promoted(self.raw_log_var), self.min_std))

    def start_at(self, mean: Tensor, variance: Tensor) -> Tensor:
        """The params at which p(x|z) has this mean, kept from the ends, and about this variance."""
        mean = mean.clamp(0.01, 0.99)
        slope = mean * (1 - mean)
        square = (variance / slope.square()).clamp(4 * self.min_std**2, 4.0)
        with torch.no_grad():
            self.raw_log_var.copy_((square - self.min_std**2).log())
        return _solved(lambda loc: self._law(loc, square.log()).mean, mean, -20.0, 20.0)

    def independent(self, rows: Marginals) -> Law:
        """With mean and variance of the logits."""
        logits = rows.mapped(lambda x: torch.logit(x.where((x > 0) & (x < 1), math.nan)))
        return self._law(logits.mean, logits.variance.clamp_min(self.min_std**2).log())

    def mean_steps(self) -> list[Step]:
        """The mean, by the rule of the law: every number as often as there are nodes, and their weighted sum."""
        (width,) = self.event_shape
        nodes, weights = gauss_hermite()
        std = (_floored(self.raw_log_var.detach().double(), self.min_std) / 2).exp()
        distances = (std.cpu()[:, None] * nodes).flatten()
        summing = torch.block_diag(*[weights[None]] * width)
        return [
            {"op": "take", "places": [place for place in range(width) for _ in nodes]},
            {"op": "add", "value": distances},
            {"op": "map", "function": "sigmoid"},
            {"op": "dense", "weight": summing, "bias": torch.zeros(width)},
        ]

    @staticmethod
    def _law(loc: Tensor, log_var: Tensor) -> Law:
        return LogitNormal(loc, log_var, loc.new_zeros(()), loc.new_ones(()))


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

    is_density = False

    def __init__(self, event_shape: tuple[int, ...], *, levels: int) -> None:
        super().__init__(event_shape)
        self.levels = levels
        # The first threshold, then the raw distances to the next ones.
        self.first = nn.Parameter(torch.full(self.event_shape, (2 - levels) * 1.0))
        gap = math.log(math.expm1(2.0 - _LEAST_GAP))  # softplus of it is 2, less the least
        self.raw_gaps = nn.Parameter(torch.full((levels - 2, *self.event_shape), gap))

    @property
    def thresholds(self) -> Tensor:
        """The thresholds, (K - 1, D), in ascending order."""
        gaps = nn.functional.softplus(_promoted(self.raw_gaps)) + _LEAST_GAP
        return torch.cat([_promoted(self.first)[None], gaps]).cumsum(0)

    def forward(self, params: Tensor) -> Law:
        """The law that `params` describe."""
        return Ordinal(_promoted(params), self.thresholds.to(_promoted(params).dtype))

    def start_at(self, mean: Tensor, variance: Tensor) -> Tensor:
        """The params at which p(x|z) has this mean, and about this variance."""
        # A logistic's standard deviation is pi / sqrt(3): as many levels apart as that of the data.
        gap = math.pi / math.sqrt(3) / variance.clamp_min(1e-2).sqrt()
        with torch.no_grad():
            self.first.copy_(-gap * (self.levels - 2) / 2)
            self.raw_gaps.copy_(
                (gap - _LEAST_GAP).clamp_min(1e-3).expm1().log().expand_as(self.raw_gaps)
            )
        thresholds = self.thresholds.detach().to(mean)
        mean = mean.clamp(0.01, self.levels - 1.01)
        return _solved(lambda place: Ordinal(place, thresholds).mean, mean, -200.0, 200.0)

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


class SpikedLikelihood(Likelihood):
    r"""p(x|z) of numbers that are often one of some values exactly: `Spiked`, around the law of another family.

    The network gives the params of that family, and a logit for every spike.

    Args:
        family: The law elsewhere, of columns that have one param each.
        spikes: Of each column its spikes: the value, how far from it a value may be to be it, its share of the rows.

    Shape:
        params (*batch, D + number of spikes), those of the family, then the logits of the columns in their order.

    Example:
        >>> family = GaussianLikelihood((2,), variance="identity")
        >>> likelihood = SpikedLikelihood(family, [[(0.0, 0.0, 0.5)], [(1.0, 0.0, 0.2), (2.0, 0.0, 0.1)]])
        >>> likelihood.params_shape, likelihood(torch.zeros(1, 5)).log_prob(torch.tensor([[0.0, 2.0]])).exp()
        ((5,), tensor([0.1250]))
    """

    atoms: Tensor
    width: Tensor
    shares: Tensor
    places: Tensor

    def __init__(
        self, family: Likelihood, spikes: Sequence[Sequence[tuple[float, float, float]]]
    ) -> None:
        super().__init__(family.event_shape)
        self.family = family
        self.is_density = family.is_density
        most = max(map(len, spikes))
        grid = torch.full((3, most, len(spikes)), math.nan, dtype=torch.float64)
        count = sum(map(len, spikes))
        places = torch.full((most, len(spikes)), count)  # of the zeros behind the logits
        start = 0
        for column, own in enumerate(spikes):
            for place, spike in enumerate(own):
                grid[:, place, column] = torch.tensor(spike, dtype=torch.float64)
                places[place, column] = start + place
            start += len(own)
        atoms, width, shares = grid.to(torch.get_default_dtype())
        fixed = {"atoms": atoms, "width": width, "shares": shares, "places": places}
        for name, values in fixed.items():
            self.register_buffer(name, values, persistent=False)
        self.count = count

    @property
    def params_shape(self) -> tuple[int, ...]:
        """What the decoder must give per example."""
        return (math.prod(self.event_shape) + self.count,)

    def forward(self, params: Tensor) -> Law:
        """The law that `params` describe."""
        params = _promoted(params)
        of_family, logits = params.split([params.shape[-1] - self.count, self.count], -1)
        padded = nn.functional.pad(logits, (0, 1))
        grid = padded.index_select(-1, self.places.flatten()).unflatten(-1, self.places.shape)
        atoms, width = _promoted(self.atoms), _promoted(self.width)
        return Spiked(self.family(of_family), grid, atoms, width)

    def start_at(self, mean: Tensor, variance: Tensor) -> Tensor:
        """The params at which the spikes have their shares and p(x|z) the data's mean, and where it can the variance.

        What the spikes leave of mean and variance is the family's.
        """
        known = ~self.atoms.isnan()
        shares = torch.where(known, self.shares, 0.0).to(mean).clamp(1e-3, 0.999) * known
        shares = shares / shares.sum(0).clamp_min(1.0)
        atoms = self.atoms.nan_to_num().to(mean)
        rest = (1 - shares.sum(0)).clamp_min(1e-2)
        own_mean = (mean - (shares * atoms).sum(0)) / rest
        square = (mean.square() + variance - (shares * atoms.square()).sum(0)) / rest
        own_variance = (square - own_mean.square()).clamp_min(1e-2 * variance.clamp_min(1e-6))
        left = 1 - (shares.cumsum(0) - shares)  # what no spike before takes
        logits = torch.logit((shares / left.clamp_min(1e-3)).clamp(1e-3, 0.999))
        start = self.family.start_at(own_mean, own_variance)
        return torch.cat([start, logits.mT[known.mT]])

    def independent(self, rows: Marginals) -> Law | None:
        """Add-one smoothed frequencies of the spikes, and elsewhere the trivial model of the family."""
        atoms, width = self.atoms.double().cpu(), self.width.double().cpu()

        def of_spikes(x: Tensor) -> Tensor:
            return (x.unsqueeze(-2) - atoms).abs() <= width  # NaN is near to nothing

        def without(x: Tensor) -> Tensor:
            return x.masked_fill(of_spikes(x).any(-2), math.nan)

        law = self.family.independent(rows.mapped(without))
        if law is None:
            return None
        counts = torch.zeros(atoms.shape, dtype=torch.float64)
        total = torch.zeros(atoms.shape[-1], dtype=torch.float64)
        for x in rows.batches():
            counts += of_spikes(x.double()).sum(0)
            total += (~x.isnan()).sum(0)
        before = counts.cumsum(0) - counts
        share = (counts + 1) / (total - before + 2)
        return Spiked(law, torch.logit(share), atoms, width)

    def mean_steps(self) -> list[Step] | None:
        """The mean: that of the family, and then spike after spike, the last of them first."""
        steps = self.family.mean_steps()
        if steps is None:
            return None
        columns = math.prod(self.event_shape)
        own = [{"op": "take", "places": list(range(columns))}, *steps]
        rest = [{"op": "take", "places": list(range(columns, columns + self.count))}]
        path: list[Step] = [{"op": "branches", "branches": [own, rest], "join": "concatenate"}]
        for place in reversed(range(len(self.atoms))):
            chosen = (~self.atoms[place].isnan()).nonzero().flatten().tolist()
            others = sorted(set(range(columns + self.count)) - set(chosen))
            path += self._steps_of_spike(place, chosen, others)
        return [*path, {"op": "take", "places": list(range(columns))}]

    def _steps_of_spike(self, place: int, chosen: list[int], others: list[int]) -> list[Step]:
        r"""From m to $s + (m - s)\, \sigma(-b)$ in the columns that have so many spikes; the other numbers stay."""
        columns = math.prod(self.event_shape)
        logits = [columns + int(self.places[place, column]) for column in chosen]
        atoms = self.atoms[place, chosen].detach().double()
        joined: list[Step] = [
            {"op": "take", "places": [*chosen, *logits]},
            {"op": "add", "value": torch.cat([-atoms, torch.zeros_like(atoms)])},
            {"op": "multiply", "value": torch.tensor([1.0, -1.0]).repeat_interleave(len(chosen))},
            {"op": "gate"},
            {"op": "add", "value": atoms},
        ]
        order = torch.tensor([*chosen, *others]).argsort().tolist()
        return [
            {
                "op": "branches",
                "branches": [joined, [{"op": "take", "places": others}]],
                "join": "concatenate",
            },
            {"op": "take", "places": order},
        ]


class MixedLikelihood(Likelihood):
    r"""p(x|z) of a table: independent columns, each with the law of its kind.

    real: Gaussian with a learned variance per column, $\sigma_d^2 = e^{h_d} + \sigma_{\min}^2$; binary: Bernoulli;
    count: negative binomial with a learned dispersion per column; category: a probability for each of its K levels;
    positive: log-normal; bounded: logit-normal on [0, 1]; ordinal: levels in an order. A real, positive or bounded
    column with spikes has a probability for each of them, and its law elsewhere.

    Args:
        kinds: Kind of each column, as `Schema.kinds`.
        levels: Number of categories or ordered levels of each column; not looked at for other kinds.
        min_std: Least standard deviation of real columns, in the units the model sees, and of logarithms and logits.
        spikes: Of each column its spikes, as `Schema.scaled_spikes`; () where there are none.

    Shape:
        params (*batch, total) to a law over (*batch, D), where a category takes K numbers, any other column one, and
        every spike one more.

    Example:
        >>> likelihood = MixedLikelihood(["category", "real"], levels=[3, 0])
        >>> likelihood.params_shape, likelihood(torch.zeros(1, 4)).log_prob(torch.tensor([[2.0, torch.nan]])).exp()
        ((4,), tensor([0.3333], grad_fn=<ExpBackward0>))
    """

    takes_categories = True
    order: Tensor

    def __init__(
        self,
        kinds: Sequence[str],
        *,
        levels: Sequence[int] = (),
        min_std: float = 1e-3,
        spikes: Sequence[Sequence[tuple[float, float, float]]] = (),
    ) -> None:
        super().__init__((len(kinds),))
        if odd := set(kinds) - set(get_args(ColumnKind)):
            raise ValueError(
                f"a column must be {', '.join(get_args(ColumnKind))}; got {min(odd)}. Change its kind."
            )
        spikes = spikes or [()] * len(kinds)
        plain = {
            kind: [i for i, one in enumerate(kinds) if one == kind and not spikes[i]]
            for kind in get_args(ColumnKind)
        }
        spiked = {
            kind: [i for i, one in enumerate(kinds) if one == kind and spikes[i]]
            for kind in ("real", "positive", "bounded")
        }

        def of_numbers(kind: str, columns: list[int]) -> Likelihood:
            if kind == "positive":
                return LogNormalLikelihood((len(columns),), min_std=min_std)
            if kind == "bounded":
                return LogitNormalLikelihood((len(columns),), min_std=min_std)
            return GaussianLikelihood((len(columns),), variance="per-feature", min_std=min_std)

        # Files of weights know the families by their order: new ones come last.
        families: list[tuple[list[int], Likelihood]] = [
            (plain["real"], of_numbers("real", plain["real"])),
            (plain["binary"], BernoulliLikelihood((len(plain["binary"]),))),
            (plain["count"], NegativeBinomialLikelihood((len(plain["count"]),))),
            *(([i], _CategoryLikelihood((1,), levels=levels[i])) for i in plain["category"]),
            *((plain[kind], of_numbers(kind, plain[kind])) for kind in ("positive", "bounded")),
            *(([i], OrdinalLikelihood((1,), levels=levels[i])) for i in plain["ordinal"]),
        ]
        for kind, columns in spiked.items():
            if columns:
                own = [spikes[column] for column in columns]
                families.append((columns, SpikedLikelihood(of_numbers(kind, columns), own)))
        self.families = nn.ModuleList([family for columns, family in families if columns])
        order = [index for columns, _ in families for index in columns]
        self.register_buffer("order", torch.tensor(order), persistent=False)

    @classmethod
    def of(cls, schema: Schema, config: ModelConfig, **options: Any) -> Self:
        """Of the columns of a table that was read with their kinds."""
        if not schema.kinds:
            raise ValueError(
                f"the mixed likelihood needs the kinds of columns; {schema.source} was read without them. Read it with "
                "`cells='mixed'`."
            )
        reals = [index for index, kind in enumerate(schema.kinds) if kind == "real"]
        return cls(
            schema.kinds,
            levels=[schema.levels_of(column) for column in range(len(schema.columns))],
            min_std=least_std(schema, reals),
            spikes=schema.scaled_spikes(),
            **options,
        )

    @property
    def measures(self) -> str:
        """Densities of some columns and probabilities of others."""
        return "a law of its own for each column"

    @property
    def parts(self) -> list[tuple[Tensor, Likelihood]]:
        """The columns that have a family in common, and the family."""
        families = [family for family in self.families if isinstance(family, Likelihood)]
        return list(
            zip(
                self.order.split([family.event_shape[0] for family in families]),
                families,
                strict=True,
            )
        )

    @property
    def params_shape(self) -> tuple[int, ...]:
        """What the decoder must give per example."""
        return (sum(math.prod(family.params_shape) for _, family in self.parts),)

    def forward(self, params: Tensor) -> Mixed:
        """The law that `params` describe."""
        families = [family for _, family in self.parts]
        pieces = params.split([math.prod(family.params_shape) for family in families], -1)
        pairs = zip(families, pieces, strict=True)
        return Mixed(
            [family(piece.unflatten(-1, family.params_shape)) for family, piece in pairs],
            self.order,
        )

    def start_at(self, mean: Tensor, variance: Tensor) -> Tensor:
        """The params at which each column's law starts at the mean of the training rows, and at their variance."""
        starts = [
            family.start_at(mean[columns], variance[columns]).flatten()
            for columns, family in self.parts
        ]
        return torch.cat(starts)

    def independent(self, rows: Marginals) -> Law | None:
        """Of each column the trivial model of its kind."""
        laws = [family.independent(rows.at(columns)) for columns, family in self.parts]
        known = [law for law in laws if law is not None]
        return Mixed(known, self.order.cpu()) if len(known) == len(laws) else None

    def mean_steps(self) -> list[Step] | None:
        """The mean of each column, of categories the likeliest one: a branch for each family, then all in order."""
        start, branches = 0, []
        for _, family in self.parts:
            end, steps = start + math.prod(family.params_shape), family.mean_steps()
            if steps is None:
                return None
            own = [
                {"op": "take", "places": list(range(start, end))},
                {"op": "reshape", "shape": family.params_shape},
            ]
            branches.append([*own, *steps])
            start = end
        ordered = {"op": "take", "places": self.order.argsort().tolist()}
        return [{"op": "branches", "branches": branches, "join": "concatenate"}, ordered]


LIKELIHOODS: dict[LikelihoodName, tuple[type[Likelihood], dict[str, Any]]] = {
    "bernoulli": (BernoulliLikelihood, {}),
    "continuous-bernoulli": (ContinuousBernoulliLikelihood, {}),
    "gaussian": (GaussianLikelihood, {"variance": "learned"}),
    "gaussian-per-feature": (GaussianLikelihood, {"variance": "per-feature"}),
    "gaussian-shared": (GaussianLikelihood, {"variance": "shared"}),
    "gaussian-optimal": (GaussianLikelihood, {"variance": "optimal"}),
    "gaussian-fixed": (GaussianLikelihood, {"variance": "fixed"}),
    "gaussian-identity": (GaussianLikelihood, {"variance": "identity"}),
    "logistic": (LogisticLikelihood, {}),
    "categorical": (CategoricalLikelihood, {}),
    "poisson": (PoissonLikelihood, {}),
    "negative-binomial": (NegativeBinomialLikelihood, {}),
    "mixed": (MixedLikelihood, {}),
}
"""The family of each name, and the options that the name stands for."""


def build_likelihood(config: ModelConfig, schema: Schema) -> Likelihood:
    """The likelihood that a configuration names, for such data.

    Args:
        config: The model's configuration.
        schema: What the data are.

    Raises:
        ValueError: when the likelihood is not one of such data.

    Example:
        >>> from variform.data.reading import read
        >>> build_likelihood(ModelConfig(likelihood="categorical"), read("digits").schema)
        CategoricalLikelihood(event_shape=(1, 8, 8), levels=17)
    """
    name = config.likelihood
    family, options = LIKELIHOODS[name]
    if any(schema.categories) and not family.takes_categories:
        text = next(
            column for column, names in zip(schema.columns, schema.categories, strict=True) if names
        )
        raise ValueError(
            f"{name} needs numbers; column '{text}' of {schema.source} holds categories. Use `likelihood='mixed'`."
        )
    likelihood = family.of(schema, config, **options)
    schema.require(likelihood.support, name)
    return likelihood


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


_LEAST_GAP = 1e-4
"""Between the thresholds of ordered levels: none of these has a probability of 0."""


def _floored(raw_log_var: Tensor, min_std: float) -> Tensor:
    """A log-variance above that of the least standard deviation."""
    return torch.logaddexp(raw_log_var, raw_log_var.new_tensor(2 * math.log(min_std)))


_MOST = 30.0
"""Of a log-rate: e^30 is far beyond the counts that float32 tells apart, and its square is still finite."""


def _steps_of_rates() -> list[Step]:
    return [{"op": "clip", "low": -math.inf, "high": _MOST}, {"op": "map", "function": "exp"}]


def _mean_with_one_more(rows: Marginals) -> Tensor:
    """The mean of counts of which one more row has one: never 0."""
    return (rows.mean * rows.rows + 1) / (rows.rows + 1)


def _of_frequencies(rows: Marginals, levels: int) -> Law:
    """Levels as often as in the rows and in one more row for each level."""
    return Categorical((rows.level_counts(levels) + 1).log())


def dispersion(mean: Tensor, variance: Tensor) -> Tensor:
    """The dispersion r at which a negative binomial has this mean and variance, within [0.01, 100].

    Example:
        >>> dispersion(torch.tensor(2.0), torch.tensor(6.0))
        tensor(1.)
    """
    mean = mean.clamp_min(1e-3)
    return (mean.square() / (variance - mean).clamp_min(1e-2 * mean.square())).clamp_min(1e-2)


def _solved(
    increasing: Callable[[Tensor], Tensor], value: Tensor, low: float, high: float
) -> Tensor:
    """The arguments in [low, high] at which the function is nearest to `value`, by bisection."""
    lower, upper = torch.full_like(value, low), torch.full_like(value, high)
    for _ in range(50):
        middle = (lower + upper) / 2
        is_below = increasing(middle) < value
        lower, upper = torch.where(is_below, middle, lower), torch.where(is_below, upper, middle)
    return (lower + upper) / 2


def _promoted(params: Tensor) -> Tensor:
    """At least float32: a density in half precision loses the constants."""
    return params.to(torch.promote_types(params.dtype, torch.float32))
