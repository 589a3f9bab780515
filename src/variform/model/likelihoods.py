"""Likelihood families: the decoder's raw output becomes the law p(x|z).

The lecture's three structures are `BernoulliLikelihood` (cross-entropy), `GaussianLikelihood(variance="learned")` (a
variance per dimension from the network) and `GaussianLikelihood(variance="identity")` (squared error); the fourth,
`variance="shared"`, learns one variance for all dimensions, without which the scale of the data decides how much the
reconstruction weighs against the KL term.
"""

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from variform.config.checks import checked
from variform.config.choices import Support
from variform.distributions.compound import Mixed
from variform.distributions.counts import NegativeBinomial, Poisson
from variform.distributions.gaussian import DiagonalGaussian
from variform.distributions.law import Law
from variform.distributions.pixels import Bernoulli, Categorical, ContinuousBernoulli, DiscretisedLogistic
from variform.system import processes

Variance = Literal["learned", "per-feature", "shared", "optimal", "fixed", "identity"]


class Likelihood(nn.Module):
    """What all likelihoods share: a family turns the decoder's output into p(x|z).

    Args:
        event_shape: Shape of one example.
    """

    is_density = True
    """Whether p(x|z) is a density, which has the unit 1 / unit of x, and no probability."""
    support: Support = "real"
    """Which values x may have."""

    def __init__(self, event_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.event_shape = tuple(event_shape)

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
        raise NotImplementedError(f"a likelihood must say what law it gives; {type(self).__name__} has no forward.")

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

    def start_at(self, mean: Tensor, variance: Tensor) -> Tensor:
        """The params at which p(x|z) has the training data's mean, kept away from 0 and 1."""
        del variance
        return torch.logit(mean, eps=1e-3)


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
            self.raw_log_var = nn.Parameter(torch.zeros(() if variance == "shared" else self.event_shape))
        if variance == "optimal":
            self.register_buffer("optimal_variance", torch.ones(()))

    @property
    def params_shape(self) -> tuple[int, ...]:
        """What the decoder must give per example."""
        return (2, *self.event_shape) if self.variance == "learned" else self.event_shape

    def forward(self, params: Tensor) -> Law:
        """The law that `params` describe."""
        params, event_dims = _promoted(params), len(self.event_shape)
        if self.variance == "learned":
            mean, raw_log_var = params.unbind(-event_dims - 1)
            return DiagonalGaussian(mean, self._floored(raw_log_var), event_dims)
        if self.variance in ("shared", "per-feature"):
            return DiagonalGaussian(params, self._floored(_promoted(self.raw_log_var)), event_dims)
        if self.variance == "optimal" and self.training:
            return _OptimalGaussian(params, _promoted(self.optimal_variance).log(), event_dims, self._optimum)
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
                self.raw_log_var.copy_((variance.mean() if self.variance == "shared" else variance).log())
            if self.variance == "optimal":
                self.optimal_variance.copy_(variance.mean())
        return mean

    def _floored(self, raw_log_var: Tensor) -> Tensor:
        return torch.logaddexp(raw_log_var, raw_log_var.new_tensor(2 * math.log(self.min_std)))

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

    def __init__(self, mean: Tensor, log_var: Tensor, event_dims: int, optimum: Callable[[Tensor], Tensor]) -> None:
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

    The location is $\sigma(h)$, kept in [1 / 2L, 1 - 1 / 2L], and the log-scale is kept in [-4.5, 0].

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

    is_density = False
    support = "levels"

    def __init__(self, event_shape: tuple[int, ...], *, levels: int = 256) -> None:
        super().__init__(event_shape)
        self.levels = levels

    @property
    def params_shape(self) -> tuple[int, ...]:
        """What the decoder must give per example."""
        return (2, *self.event_shape)

    def forward(self, params: Tensor) -> DiscretisedLogistic:
        """The law that `params` describe."""
        raw_location, log_scale = _promoted(params).unbind(-len(self.event_shape) - 1)
        edge = 0.5 / self.levels
        location = torch.sigmoid(raw_location).clamp(edge, 1 - edge)
        return DiscretisedLogistic(location, log_scale.clamp(-4.5, 0.0), self.levels, len(self.event_shape))

    def start_at(self, mean: Tensor, variance: Tensor) -> Tensor:
        """The params at which p(x|z) has the data's mean and about its variance, where the bounds allow it.

        Both start inside the bounds, on which they would have no gradient.
        """
        log_scale = (variance.clamp_min(1e-12) * 3 / math.pi**2).log() / 2  # a logistic's variance is (pi s)^2 / 3
        log_scale = log_scale.clamp(-4.0, -0.5)
        edge = 0.6 / self.levels

        def mean_at(location: Tensor) -> Tensor:
            return DiscretisedLogistic(location, log_scale, self.levels).mean

        return torch.stack([torch.logit(_solved(mean_at, mean, edge, 1 - edge)), log_scale])


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
        return NegativeBinomial(log_mean, _promoted(self.log_dispersion), event_dims=len(self.event_shape))

    def start_at(self, mean: Tensor, variance: Tensor) -> Tensor:
        """The params at which p(x|z) has the training data's mean, kept away from 0, and where it can its variance."""
        with torch.no_grad():
            self.log_dispersion.copy_(dispersion(mean, variance).log())
        return mean.clamp_min(1e-3).log()


class MixedLikelihood(Likelihood):
    r"""p(x|z) of a table: independent columns, each with the law of its kind.

    real: Gaussian with a learned variance per column, $\sigma_d^2 = e^{h_d} + \sigma_{\min}^2$; binary: Bernoulli;
    count: negative binomial with a learned dispersion per column; category: a probability for each of its K levels.

    Args:
        kinds: Kind of each column: `real`, `binary`, `count` or `category`.
        levels: Number of categories of each column; not looked at for other kinds.
        min_std: Least standard deviation of the real columns, in the units the model sees.

    Shape:
        params (*batch, total) to a law over (*batch, D), where a category takes K numbers and any other column one.

    Example:
        >>> likelihood = MixedLikelihood(["category", "real"], levels=[3, 0])
        >>> likelihood.params_shape, likelihood(torch.zeros(1, 4)).log_prob(torch.tensor([[2.0, torch.nan]])).exp()
        ((4,), tensor([0.3333], grad_fn=<ExpBackward0>))
    """

    order: Tensor

    def __init__(self, kinds: Sequence[str], *, levels: Sequence[int] = (), min_std: float = 1e-3) -> None:
        super().__init__((len(kinds),))
        if odd := set(kinds) - {"real", "binary", "count", "category"}:
            raise ValueError(f"a column must be real, binary, count or category; got {min(odd)}. Change its kind.")
        places = {
            kind: [place for place, one in enumerate(kinds) if one == kind] for kind in ("real", "binary", "count")
        }
        categories = [place for place, kind in enumerate(kinds) if kind == "category"]
        families: list[tuple[list[int], Likelihood]] = [
            (places["real"], GaussianLikelihood((len(places["real"]),), variance="per-feature", min_std=min_std)),
            (places["binary"], BernoulliLikelihood((len(places["binary"]),))),
            (places["count"], NegativeBinomialLikelihood((len(places["count"]),))),
            *(([place], CategoricalLikelihood((1,), levels=levels[place])) for place in categories),
        ]
        self.families = nn.ModuleList([family for columns, family in families if columns])
        order = [place for columns, _ in families for place in columns]
        self.register_buffer("order", torch.tensor(order), persistent=False)

    @property
    def parts(self) -> list[tuple[Tensor, Likelihood]]:
        """The columns that have a family in common, and the family."""
        families = [family for family in self.families if isinstance(family, Likelihood)]
        return list(zip(self.order.split([family.event_shape[0] for family in families]), families, strict=True))

    @property
    def params_shape(self) -> tuple[int, ...]:
        """What the decoder must give per example."""
        return (sum(math.prod(family.params_shape) for _, family in self.parts),)

    def forward(self, params: Tensor) -> Mixed:
        """The law that `params` describe."""
        families = [family for _, family in self.parts]
        pieces = params.split([math.prod(family.params_shape) for family in families], -1)
        pairs = zip(families, pieces, strict=True)
        return Mixed([family(piece.unflatten(-1, family.params_shape)) for family, piece in pairs], self.order)

    def start_at(self, mean: Tensor, variance: Tensor) -> Tensor:
        """The params at which each column's law starts at the mean of the training rows, and at their variance."""
        found = []
        for columns, family in self.parts:
            unit = family.levels - 1 if isinstance(family, CategoricalLikelihood) else 1
            found.append(family.start_at(mean[columns] / unit, variance[columns] / unit**2).flatten())
        return torch.cat(found)


_MOST = 30.0
"""Of a log-rate: e^30 is far beyond the counts that float32 tells apart, and its square is still finite."""


def dispersion(mean: Tensor, variance: Tensor) -> Tensor:
    """The dispersion r at which a negative binomial has this mean and variance, within [0.01, 100].

    Example:
        >>> dispersion(torch.tensor(2.0), torch.tensor(6.0))
        tensor(1.)
    """
    mean = mean.clamp_min(1e-3)
    return (mean.square() / (variance - mean).clamp_min(1e-2 * mean.square())).clamp_min(1e-2)


def _solved(increasing: Callable[[Tensor], Tensor], value: Tensor, low: float, high: float) -> Tensor:
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
