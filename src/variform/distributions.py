"""The formula sheet: laws with their densities, the reparameterisation, and every closed-form KL divergence.

A **law** is a `torch.distributions.Distribution` whose event axes are summed in `log_prob` and whose additive constants
are always in, so that the numbers of two models are comparable. Each line that computes a formula carries a tag
(`# eq: name`) once in the whole package; docs/formulas.md lists them.
"""

import functools
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.distributions import Distribution
from torch.nn import functional

from variform.system import draws

LOG_2_PI = math.log(2 * math.pi)

Shape = torch.Size | list[int] | tuple[int, ...]


def _joint(first: torch.Size, second: torch.Size) -> torch.Size:
    """The shape of both broadcast together; torch, which need not be asked for equal ones, first imports for 0.4 s."""
    return first if first == second else torch.broadcast_shapes(first, second)


class Law(Distribution):
    """A distribution over tensors with `event_dims` trailing event axes.

    Args:
        shape: Shape of one draw for the whole batch, (*batch, *event).
        event_dims: How many trailing axes form the event.
    """

    arg_constraints = {}  # noqa: RUF012 (torch's name for "nothing to check": shapes are checked when a VAE is built)

    def __init__(self, shape: torch.Size, event_dims: int) -> None:
        split = len(shape) - event_dims
        super().__init__(shape[:split], shape[split:], validate_args=False)
        self._event_axes = tuple(range(-event_dims, 0))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(batch_shape={tuple(self.batch_shape)}, event_shape={tuple(self.event_shape)})"

    def rsample_and_log_prob(self, sample_shape: Shape = (), *, stick: bool = False) -> tuple[Tensor, Tensor]:
        """Differentiable draws and their log-densities, in one call.

        A law that knows the density of a draw from its noise overrides this: then it is exact where the draw, rounded,
        no longer tells how far it is from the mean. So does one that is cheap in one direction only (a flow).

        Args:
            sample_shape: Shape of the draws.
            stick: Let gradients reach the log-densities through the draws alone, as of a law whose parameters are
                fixed ("sticking the landing"); the values are the same.

        Reference:
            Roeder, Wu and Duvenaud (2017), for `stick`.
        """
        draw = self.rsample(torch.Size(sample_shape))
        return draw, (self.detached() if stick else self).log_prob(draw)  # eq: stick-the-landing

    def log_prob_per_entry(self, value: Tensor) -> Tensor:
        """Log-density of every entry of `value`, (*sample, *batch, *event), in nats; for laws of independent entries.

        Raises:
            NotImplementedError: when the entries of the law depend on each other.
        """
        raise NotImplementedError(
            f"a log-density per entry needs independent entries; {type(self).__name__} has none. Use log_prob."
        )

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density at `value`, event summed, in nats."""
        return self._sum_event(self.log_prob_per_entry(value))

    def log_prob_observed(self, value: Tensor) -> Tensor:
        """Log-density of the entries of `value` that are not NaN; the others add 0 and pass no gradient.

        Reference:
            Rubin (1976): when the likelihood may ignore why values are missing.
        """
        missing = value.isnan()
        entries = self.log_prob_per_entry(value.masked_fill(missing, 0))  # a value that every law can have
        return self._sum_event(entries.masked_fill(missing, 0))  # eq: observed

    def detached(self) -> "Law":
        """The same law, through whose parameters no gradient passes, for sticking-the-landing gradients.

        Raises:
            NotImplementedError: for a law that is no posterior.

        Reference:
            Roeder, Wu and Duvenaud (2017).
        """
        raise NotImplementedError(f"{type(self).__name__} has no detached form: it is not made for a posterior.")

    def rows(self, index: Tensor) -> "Law":
        """The law whose batch is made of the rows `index` of this one's only batch axis.

        Args:
            index: Row numbers, of any shape, which becomes the shape of the batch.

        Raises:
            NotImplementedError: for a law that is no posterior.
        """
        raise NotImplementedError(f"{type(self).__name__} has no rows: it is not made for a posterior.")

    def _noise(self, sample_shape: Shape, like: Tensor) -> Tensor:
        """Draws from N(0, 1) in the shape of a sample; the rows of a law without a batch are its samples."""
        axis = len(sample_shape) if self.batch_shape else max(0, len(sample_shape) - 1)
        return draws.normal(self._extended_shape(torch.Size(sample_shape)), axis=axis, like=like)

    def _sum_event(self, values: Tensor) -> Tensor:
        return values.sum(self._event_axes)


class DiagonalGaussian(Law):
    r"""Gaussian with independent components, $N(\mu, \operatorname{diag}\sigma^2)$.

    $\log N(x; \mu, \sigma^2) = -\tfrac12 \sum_d [\log 2\pi + \log \sigma_d^2 + (x_d - \mu_d)^2 / \sigma_d^2]$

    Args:
        mean: (*batch, *event).
        log_var: Logarithm of the variance; broadcasts with `mean`.
        event_dims: How many trailing axes form the event.

    Shape:
        `rsample((L,))` is (L, *batch, *event); `log_prob` sums the event: (*sample, *batch), in nats.

    Reference:
        Kingma and Welling (2014), appendix C.2, equation 12; the reparameterisation is their section 2.4.

    Example:
        >>> law = DiagonalGaussian(torch.zeros(3), torch.zeros(3))
        >>> round(law.log_prob(torch.zeros(3)).item(), 4)
        -2.7568
    """

    has_rsample = True

    def __init__(self, mean: Tensor, log_var: Tensor, event_dims: int = 1) -> None:
        super().__init__(_joint(mean.shape, log_var.shape), event_dims)
        self.loc, self.log_var = mean, log_var

    @property
    def mean(self) -> Tensor:
        """The mean, (*batch, *event)."""
        return self.loc.expand(self._extended_shape())

    @property
    def stddev(self) -> Tensor:
        """The standard deviation, (*batch, *event)."""
        return (self.log_var / 2).exp().expand(self._extended_shape())

    @property
    def variance(self) -> Tensor:
        """The variance, (*batch, *event)."""
        return self.log_var.exp().expand(self._extended_shape())

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        """Draws that are differentiable in mean and variance: z = mean + std * noise."""
        return self._from(self._noise(sample_shape, self.loc))

    def rsample_and_log_prob(self, sample_shape: Shape = (), *, stick: bool = False) -> tuple[Tensor, Tensor]:
        """As of any law; the distance from the mean is the noise's, which no rounding of z changes."""
        noise = self._noise(sample_shape, self.loc)
        z, log_var = self._from(noise), self.log_var
        if stick:  # the noise from which the law with fixed parameters would have made z
            noise = noise + _over_std(only_gradient(self.loc), log_var.detach()) + noise * only_gradient(log_var) / 2
            log_var = log_var.detach()
        return z, self._sum_event(_log_normal(noise, log_var))

    def _from(self, noise: Tensor) -> Tensor:
        return self.loc + (self.log_var / 2).exp() * noise  # eq: reparameterisation

    def log_prob_per_entry(self, value: Tensor) -> Tensor:
        """Log-density of every entry, in nats."""
        return _log_normal(_over_std(value - self.loc, self.log_var), self.log_var)

    def detached(self) -> "DiagonalGaussian":
        """The same law without gradients to mean and variance."""
        return DiagonalGaussian(self.loc.detach(), self.log_var.detach(), len(self.event_shape))

    def rows(self, index: Tensor) -> "DiagonalGaussian":
        """The rows `index` of the batch, as a law."""
        mean, log_var = (part.expand(self._extended_shape()) for part in (self.loc, self.log_var))
        return DiagonalGaussian(mean[index], log_var[index], len(self.event_shape))


def _log_normal(distance: Tensor, log_var: Tensor) -> Tensor:
    """Log-density of a number that is `distance` standard deviations from the mean."""
    return -0.5 * (LOG_2_PI + log_var + distance.square())  # eq: gaussian-diagonal


def _over_std(difference: Tensor, log_var: Tensor) -> Tensor:
    """`difference` in standard deviations, also where 1 / std is too large for a number: then in two steps.

    Where not even the root of 1 / std is a number, no difference but 0 has a finite square.
    """
    most = math.log(torch.finfo(log_var.dtype).max) - 1
    can_ask = log_var.device.type == "cpu" and not torch.compiler.is_compiling()
    if can_ask and bool((log_var.detach() > -2 * most).all()):  # two steps would take the processor up to twice as long
        return difference * (-log_var / 2).exp()
    factor = (-log_var / 4).clamp_max(most).exp()
    return difference * factor * factor


def only_gradient(parameter: Tensor) -> Tensor:
    """Zeros through which gradients reach the parameter.

    Example:
        >>> only_gradient(torch.tensor(3.0))
        tensor(0.)
    """
    return parameter - parameter.detach()


class StandardNormal(DiagonalGaussian):
    """N(0, I) over vectors.

    Args:
        dim: Number of components.
        like: A tensor whose dtype and device are taken.

    Example:
        >>> StandardNormal(2).sample((5,)).shape
        torch.Size([5, 2])
    """

    def __init__(self, dim: int, like: Tensor | None = None) -> None:
        zeros = torch.zeros(dim) if like is None else like.new_zeros(dim)
        super().__init__(zeros, zeros)


class FullGaussian(Law):
    r"""Gaussian with a full covariance, $N(\mu, \Sigma)$ with $\Sigma = A A^\top$, A lower triangular.

    $\log N(x; \mu, \Sigma) = -\tfrac12 [k \log 2\pi + \log\det\Sigma + (x-\mu)^\top \Sigma^{-1} (x-\mu)]$

    Args:
        mean: (*batch, k).
        scale_tril: The Cholesky factor A, (*batch, k, k), with a positive diagonal.
        log_diagonal: Logarithms of that diagonal, (*batch, k), where they are known: they are finite where it is too
            small for a number.

    Example:
        >>> law = FullGaussian(torch.zeros(2), torch.eye(2))
        >>> round(law.log_prob(torch.zeros(2)).item(), 4)
        -1.8379
    """

    has_rsample = True

    def __init__(self, mean: Tensor, scale_tril: Tensor, log_diagonal: Tensor | None = None) -> None:
        super().__init__(_joint(mean.shape, scale_tril.shape[:-1]), 1)
        self.loc, self.scale_tril = mean, scale_tril
        self.log_diagonal = scale_tril.diagonal(dim1=-2, dim2=-1).log() if log_diagonal is None else log_diagonal

    @classmethod
    def of(cls, law: Distribution) -> "FullGaussian":
        """The same Gaussian law over vectors, as one with a full covariance."""
        if isinstance(law, FullGaussian):
            return law
        assert isinstance(law, DiagonalGaussian)
        log_std = (law.log_var / 2).expand(law._extended_shape())
        return cls(law.mean, torch.diag_embed(log_std.exp()), log_std)

    @property
    def mean(self) -> Tensor:
        """The mean, (*batch, k)."""
        return self.loc.expand(self._extended_shape())

    @property
    def variance(self) -> Tensor:
        """The diagonal of the covariance, (*batch, k)."""
        return self.scale_tril.square().sum(-1).expand(self._extended_shape())

    @property
    def log_det(self) -> Tensor:
        """Logarithm of the covariance's determinant, (*batch)."""
        return 2 * self.log_diagonal.sum(-1)

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        """Differentiable draws: z = mean + A noise."""
        return self._from(self._noise(sample_shape, self.loc))

    def rsample_and_log_prob(self, sample_shape: Shape = (), *, stick: bool = False) -> tuple[Tensor, Tensor]:
        """As of any law; the distance from the mean is the noise's, so that nothing need be solved."""
        noise = self._noise(sample_shape, self.loc)
        z, log_det = self._from(noise), self.log_det
        if stick:  # the noise from which the law with fixed parameters would have made z
            moved = only_gradient(self.loc) + _times(only_gradient(self.scale_tril), noise)
            noise, log_det = noise + self.detached()._solved(moved), log_det.detach()
        return z, self._log_prob(noise, log_det)

    def _from(self, noise: Tensor) -> Tensor:
        return self.loc + _times(self.scale_tril, noise)  # eq: reparameterisation-full

    def _log_prob(self, distance: Tensor, log_det: Tensor) -> Tensor:
        return -0.5 * (self.event_shape[0] * LOG_2_PI + log_det + distance.square().sum(-1))  # eq: gaussian-full

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density at `value`, in nats."""
        return self._log_prob(self._solved(value - self.loc), self.log_det)

    def _solved(self, difference: Tensor) -> Tensor:
        """A^-1 times vectors (*sample, *batch, k), where A is (*batch, k, k)."""
        samples = difference.shape[: difference.ndim + 1 - self.scale_tril.ndim]
        # One solution for all samples.
        columns = difference.reshape(-1, *difference.shape[len(samples) :]).movedim(0, -1)
        found = self._solved_columns(columns).movedim(-1, 0)
        return found.reshape(*samples, *found.shape[1:])

    def _solved_columns(self, columns: Tensor) -> Tensor:
        """A^-1 times a matrix (*batch, k, n), each row first divided by its diagonal entry, by way of its logarithm."""
        log_var = 2 * self.log_diagonal.unsqueeze(-1)
        unit, columns = _over_std(self.scale_tril, log_var), _over_std(columns, log_var)
        return torch.linalg.solve_triangular(unit.tril(-1), columns, upper=False, unitriangular=True)

    def detached(self) -> "FullGaussian":
        """The same law without gradients to mean and covariance."""
        return FullGaussian(self.loc.detach(), self.scale_tril.detach(), self.log_diagonal.detach())

    def rows(self, index: Tensor) -> "FullGaussian":
        """The rows `index` of the batch, as a law."""
        return FullGaussian(self.loc[index], self.scale_tril[index], self.log_diagonal[index])


def _times(matrix: Tensor, vector: Tensor) -> Tensor:
    return (matrix @ vector.unsqueeze(-1)).squeeze(-1)


class Mixture(Law):
    r"""A mixture of K laws, $p(z) = \sum_k \pi_k\, p_k(z)$.

    $\log p(z) = \log \sum_k \exp [\log \pi_k + \log p_k(z)]$, with the largest term taken out of the sum.

    Args:
        components: A law over vectors whose batch (K,) holds the components.
        logits: (K,); $\pi$ is their softmax.

    Shape:
        `sample((N,))` is (N, D), each draw from a component of its own; `log_prob` is (*sample,), in nats.

    Reference:
        Bishop (2006), equation 2.188.

    Example:
        >>> law = Mixture(DiagonalGaussian(torch.tensor([[-1.0], [1.0]]), torch.zeros(2, 1)), torch.zeros(2))
        >>> round(law.log_prob(torch.zeros(1)).item(), 4)
        -1.4189
    """

    def __init__(self, components: Law, logits: Tensor) -> None:
        super().__init__(components.event_shape, 1)
        self.components, self.log_weights = components, logits.log_softmax(-1)
        self._by_differences = isinstance(components, DiagonalGaussian) and _cancels(components)

    @property
    def mean(self) -> Tensor:
        """The mean, (D,)."""
        return self.log_weights.exp() @ self.components.mean

    @property
    def variance(self) -> Tensor:
        """The variance of every dimension, (D,): within the components and between their means."""
        within = self.components.variance + (self.components.mean - self.mean).square()
        return self.log_weights.exp() @ within

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        """Draws: first the component of each by its weight, then from that component; not differentiable."""
        with torch.no_grad():
            share = self.log_weights.exp().cumsum(-1)
            height = draws.uniform(tuple(sample_shape), axis=max(0, len(sample_shape) - 1), like=share) * share[-1]
            chosen = torch.searchsorted(share, height, right=True).clamp_max(len(share) - 1)
            return self.components.rows(chosen).sample()

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density at `value`, in nats."""
        if isinstance(self.components, DiagonalGaussian):
            each = _log_prob_of_pairs(self.components, value, by_differences=self._by_differences)
        else:
            each = self.components.log_prob(value.unsqueeze(-2))
        return (self.log_weights + each).logsumexp(-1)  # eq: mixture


_MOST_LOST = 1e-7  # nats that may cancel in a log-density


def _exact(dtype: torch.dtype, device: torch.device) -> torch.dtype:
    """The precision in which sums that cancel are taken; Apple's GPUs have no double one."""
    return dtype if device.type == "mps" else torch.float64


def _cancels(law: DiagonalGaussian) -> bool:
    """Whether components are so narrow that their distances are lost in `_log_prob_of_pairs` by matrix products.

    A compiled step has no way to ask; there products must do.
    """
    if torch.compiler.is_compiling():
        return False
    squares = (1 + law.loc.detach().square().amax()).log() - law.log_var.detach()
    return bool((squares > math.log(_MOST_LOST / torch.finfo(_exact(law.loc.dtype, law.loc.device)).eps)).any())


def _log_prob_of_pairs(law: DiagonalGaussian, value: Tensor, *, by_differences: bool) -> Tensor:
    """Log-densities of all points (*sample, D) under all K rows of `law`, (*sample, K).

    By matrix products, which need no (*sample, K, D). Their sums cancel where variances are small, so they are taken in
    double precision, which costs little at these sizes; where that is not enough, by one dimension after the other.
    """
    exact = _exact(value.dtype, value.device)
    z, mean, log_var = (part.to(exact) for part in (value, law.mean, law.log_var.expand(law.mean.shape)))
    if by_differences:
        columns = zip(z.unbind(-1), mean.unbind(-1), log_var.unbind(-1), strict=True)
        distance = functools.reduce(operator.add, (_over_std(a.unsqueeze(-1) - b, c).square() for a, b, c in columns))
    else:
        precision = (-log_var).exp()
        distance = z.square() @ precision.mT - 2 * z @ (precision * mean).mT + (precision * mean.square()).sum(-1)
    constant = log_var.sum(-1) + LOG_2_PI * mean.shape[-1]
    return -0.5 * (distance + constant).to(torch.promote_types(value.dtype, law.loc.dtype))


class Bernoulli(Law):
    r"""Independent Bernoulli variables given by their logits a.

    $\log p(x) = \sum_d [x_d a_d - \log(1 + e^{a_d})]$, the negative cross-entropy, finite for every finite logit.

    A value strictly between 0 and 1 is accepted: then this is the cross-entropy, not the logarithm of a probability.

    Args:
        logits: (*batch, *event).
        event_dims: How many trailing axes form the event.

    Reference:
        Kingma and Welling (2014), appendix C.1, equation 11.

    Example:
        >>> round(Bernoulli(torch.tensor([0.0, 100.0])).log_prob(torch.tensor([1.0, 1.0])).item(), 4)
        -0.6931
    """

    def __init__(self, logits: Tensor, event_dims: int = 1) -> None:
        super().__init__(logits.shape, event_dims)
        self.logits = logits

    @property
    def mean(self) -> Tensor:
        """The probability of a one."""
        return torch.sigmoid(self.logits)

    @property
    def variance(self) -> Tensor:
        """p (1 - p)."""
        return self.mean * torch.sigmoid(-self.logits)

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        """Zeros and ones, in the dtype of the logits; not differentiable."""
        with torch.no_grad():
            return torch.bernoulli(self.mean.expand(self._extended_shape(torch.Size(sample_shape))))

    def log_prob_per_entry(self, value: Tensor) -> Tensor:
        """Log-probability of every entry, in nats."""
        return value * self.logits - functional.softplus(self.logits)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-probability of `value`, event summed, in nats; in one pass, faster than the sum of its entries."""
        return _BernoulliLogProb.apply(value, self.logits, len(self.event_shape))


class _BernoulliLogProb(torch.autograd.Function):
    r"""log p(x) with the event summed, and its gradient x - p found in the same pass over the data.

    With the probability $p = 1 / (1 + e^{-a})$: $\log(1 + e^a) = \max(a, 0) - \log\max(p, 1 - p)$, where the second
    logarithm is of a number in [1/2, 1], so that nothing overflows; its sum is the logarithm of products of up to 16.

    Left to differentiate the formula of `Bernoulli`, autograd takes the exponential twice and a logarithm for every
    variable: a step takes 8 % longer.
    """

    @staticmethod
    def forward(ctx: Any, value: Tensor, logits: Tensor, event_dims: int) -> Tensor:
        probability = torch.sigmoid(logits)
        ctx.event_dims = event_dims
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(value, logits, value - probability)
        linear = torch.addcmul(torch.relu(logits), value, logits, value=-1).flatten(-event_dims).sum(-1)
        likelier = (probability - 0.5).abs_().add_(0.5).flatten(-event_dims)  # max(p, 1 - p) in few passes
        length = next(length for length in range(16, 0, -1) if likelier.shape[-1] % length == 0)
        return likelier.unflatten(-1, (-1, length)).prod(-1).log().sum(-1) - linear  # eq: bernoulli

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Any) -> Any:  # pyrefly: ignore[bad-override] (the decorator)
        value, logits, gradient = ctx.saved_tensors
        scale = grad_outputs[0][(..., *[None] * ctx.event_dims)]
        for_value = (scale * logits).sum_to_size(value.shape) if ctx.needs_input_grad[0] else None
        for_logits = (scale * gradient).sum_to_size(logits.shape) if ctx.needs_input_grad[1] else None
        return for_value, for_logits, None


class ContinuousBernoulli(Law):
    r"""Independent values in [0, 1] with a density proportional to $e^{a_d x_d}$, given by their logits a.

    $\log p(x) = \sum_d [a_d x_d - A(a_d)]$ with $A(a) = \log \int_0^1 e^{ax} dx = \log\frac{e^a - 1}{a}$

    With $\lambda = 1 / (1 + e^{-a})$ the density is $C(\lambda) \lambda^x (1 - \lambda)^{1 - x}$: the cross-entropy of
    values between 0 and 1, and the normaliser that it lacks. Near $a = 0$, where the formulas are 0/0, their series is
    used.

    Args:
        logits: (*batch, *event).
        event_dims: How many trailing axes form the event.

    Reference:
        Loaiza-Ganem and Cunningham (2019).

    Example:
        >>> ContinuousBernoulli(torch.zeros(2)).log_prob(torch.tensor([0.3, 0.9])).item()
        0.0
    """

    has_rsample = True

    def __init__(self, logits: Tensor, event_dims: int = 1) -> None:
        super().__init__(logits.shape, event_dims)
        self.logits = logits
        # Each branch sees harmless values where the other is taken: its gradient there, times 0, would be NaN.
        self._is_near = logits.abs() < 0.5
        self._near = torch.where(self._is_near, logits, 0.0)
        self._size = torch.where(self._is_near, 1.0, logits.abs())

    @property
    def mean(self) -> Tensor:
        r"""$A'(a) = 1 / (1 - e^{-a}) - 1 / a$."""
        rest = 1 / self._size + (-self._size).exp() / torch.expm1(-self._size)  # the mean at logits -|a|
        series = 0.5 + sum(2 * n * c * self._near ** (2 * n - 1) for n, c in enumerate(_SERIES, 1))
        return torch.where(self._is_near, series, torch.where(self.logits > 0, 1 - rest, rest))

    @property
    def variance(self) -> Tensor:
        r"""$A''(a) = 1 / a^2 - 1 / (4 \sinh^2(a / 2))$."""
        far = self._size**-2 - (-self._size).exp() / torch.expm1(-self._size).square()
        series = [2 * n * (2 * n - 1) * c * self._near ** (2 * n - 2) for n, c in enumerate(_SERIES, 1)]
        return torch.where(self._is_near, torch.stack(series).sum(0), far)

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        r"""Differentiable draws by the inverse of the distribution function, $x = \log(1 + u (e^a - 1)) / a$."""
        shape = self._extended_shape(torch.Size(sample_shape))
        share = draws.uniform(shape, axis=len(sample_shape), like=self.logits)
        is_near = self.logits.abs() < 1e-2
        near = torch.where(is_near, self.logits, 0.0) * (1 - share)
        size = torch.where(is_near, 1.0, self.logits.abs())
        mirrored = torch.where(self.logits > 0, 1 - share, share).clamp_max(1 - torch.finfo(share.dtype).eps)
        far = -torch.log1p(mirrored * torch.expm1(-size)) / size  # at logits -|a|
        series = share * (1 + near / 2 + near * self.logits * (1 - 2 * share) / 6)
        return torch.where(is_near, series, torch.where(self.logits > 0, 1 - far, far))

    def log_prob_per_entry(self, value: Tensor) -> Tensor:
        """Log-density of every entry, in nats."""
        # What is linear in a is a single product: of two that large there would be nothing left of their difference.
        end = torch.where(self._is_near, 0.5, (self.logits > 0).to(self.logits.dtype))
        series = sum(c * self._near ** (2 * n) for n, c in enumerate(_SERIES, 1))
        far = (-torch.expm1(-self._size)).log() - self._size.log()
        return (value - end) * self.logits - torch.where(self._is_near, series, far)  # eq: continuous-bernoulli


# log((e^a - 1) / a) = a / 2 + sum of _SERIES[n - 1] a^(2 n): Bernoulli numbers over 2 n (2 n)!
_SERIES = (1 / 24, -1 / 2880, 1 / 181440, -1 / 9676800, 1 / 479001600)


class DiscretisedLogistic(Law):
    r"""Independent levels k / (L - 1) of which each has the logistic probability of its bin, [k/L, (k+1)/L].

    $P(k) = \sigma\left(\frac{(k + 1)/L - m}{s}\right) - \sigma\left(\frac{k/L - m}{s}\right)$, where the first bin
    begins at $-\infty$ and the last ends at $\infty$: the probabilities of the levels sum to 1.

    $\sigma(b) - \sigma(a) = \sigma(b)\,\sigma(-a)\,(1 - e^{a - b})$ keeps its logarithm finite.

    Args:
        location: m, (*batch, *event), in units of the unit interval that the bins divide.
        log_scale: log s, likewise.
        levels: L.
        event_dims: How many trailing axes form the event.

    Reference:
        Salimans, Karpathy, Chen and Kingma (2017), section 2.1.

    Example:
        >>> law = DiscretisedLogistic(torch.tensor([0.5]), torch.tensor([-1.0]), levels=5)
        >>> round(law.log_prob(torch.linspace(0, 1, 5)[:, None]).exp().sum().item(), 6)
        1.0
    """

    def __init__(self, location: Tensor, log_scale: Tensor, levels: int = 256, event_dims: int = 1) -> None:
        super().__init__(_joint(location.shape, log_scale.shape), event_dims)
        self.location, self.log_scale, self.levels = location, log_scale, levels

    @property
    def mean(self) -> Tensor:
        r"""$\sum_{k \ge 1} P(K \ge k) / (L - 1)$."""
        return self._expected(lambda level: 1) / (self.levels - 1)

    @property
    def variance(self) -> Tensor:
        r"""From $E[K^2] = \sum_{k \ge 1} (2k - 1) P(K \ge k)$."""
        squares = self._expected(lambda level: 2 * level - 1) / (self.levels - 1) ** 2
        return (squares - self.mean.square()).clamp_min(0)

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        """Levels, in the dtype of the location: the bin of a logistic draw."""
        with torch.no_grad():
            shape = self._extended_shape(torch.Size(sample_shape))
            share = draws.uniform(shape, axis=len(sample_shape), like=self.location)
            value = self.location + self.log_scale.exp() * torch.logit(share)
            return (value * self.levels).floor().clamp(0, self.levels - 1) / (self.levels - 1)

    def log_prob_per_entry(self, value: Tensor) -> Tensor:
        """Log-probability of every entry, in nats."""
        level = (value * (self.levels - 1)).round()
        log_per_unit = -self.log_scale
        # Beyond these a bin is so wide, or so narrow, that the formulas' limits are exact.
        bound = math.log(torch.finfo(log_per_unit.dtype).max) - 1
        per_unit = log_per_unit.clamp(-bound, bound).exp()
        below, above = ((level + step) / self.levels - self.location for step in (0, 1))
        is_first, is_last = level <= 0, level >= self.levels - 1
        from_below = functional.logsigmoid(-below * per_unit).masked_fill(is_first, 0)
        from_above = functional.logsigmoid(above * per_unit).masked_fill(is_last, 0)
        width = per_unit / self.levels
        narrow = log_per_unit - math.log(self.levels) - width / 2
        width = torch.where(width < 1e-3, narrow, (-torch.expm1(-width)).log())
        width = torch.where(is_first | is_last, 0.0, width)
        return from_above + from_below + width  # eq: discretised-logistic

    def _expected(self, weight: Callable[[int], int]) -> Tensor:
        """Sum of weight(k) P(K >= k) over the levels from 1, one at a time: all at once would take too much memory."""
        scale = self.log_scale.exp()
        levels = range(1, self.levels)
        tails = (weight(level) * torch.sigmoid((self.location - level / self.levels) / scale) for level in levels)
        return functools.reduce(operator.add, tails)


class Categorical(Law):
    r"""Independent levels k / (L - 1), each with a probability of its own.

    $\log p(x) = \sum_d [a_{d,k_d} - \log \sum_j e^{a_{d,j}}]$ with $k_d = (L - 1) x_d$

    Args:
        logits: a, (*batch, L, *event).
        event_dims: How many trailing axes form the event.

    Reference:
        Bishop (2006), section 4.3.4: the softmax and its cross-entropy.

    Example:
        >>> law = Categorical(torch.tensor([0.2, 0.3, 0.5]).log()[:, None])
        >>> law.log_prob(torch.tensor([0.5])).exp(), law.mean
        (tensor(0.3000), tensor([0.6500]))
    """

    def __init__(self, logits: Tensor, event_dims: int = 1) -> None:
        self._axis = -event_dims - 1
        super().__init__(logits.select(self._axis, 0).shape, event_dims)
        self.logits, self.levels = logits, logits.shape[self._axis]

    @property
    def mode(self) -> Tensor:
        """The likeliest level, as a value in [0, 1]."""
        return self.logits.argmax(self._axis).to(self.logits.dtype) / (self.levels - 1)

    @property
    def mean(self) -> Tensor:
        """The mean level, as a value in [0, 1]."""
        return (self._probability * self._values).sum(self._axis)

    @property
    def variance(self) -> Tensor:
        """The variance of that value."""
        distance = self._values - self.mean.unsqueeze(self._axis)
        return (self._probability * distance.square()).sum(self._axis)

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        """Levels, in the dtype of the logits, by the inverse of the distribution function."""
        with torch.no_grad():
            shape = self._extended_shape(torch.Size(sample_shape))
            share = draws.uniform(shape, axis=len(sample_shape), like=self.logits).unsqueeze(self._axis)
            passed = self._probability.cumsum(self._axis) <= share
            return passed.sum(self._axis).clamp_max(self.levels - 1).to(self.logits.dtype) / (self.levels - 1)

    def log_prob_per_entry(self, value: Tensor) -> Tensor:
        """Log-probability of every entry, in nats."""
        level = (value * (self.levels - 1)).round().long()
        level = level.expand(torch.broadcast_shapes(level.shape, self._extended_shape())).unsqueeze(self._axis)
        shape = list(level.shape)
        shape[self._axis] = self.levels
        chosen = self.logits.expand(shape).gather(self._axis, level).squeeze(self._axis)
        return chosen - self.logits.logsumexp(self._axis)  # eq: categorical

    @property
    def _probability(self) -> Tensor:
        return self.logits.softmax(self._axis)

    @property
    def _values(self) -> Tensor:
        """The values of the levels, (L, 1, ..., 1)."""
        values = torch.arange(self.levels, dtype=self.logits.dtype, device=self.logits.device) / (self.levels - 1)
        return values.reshape(-1, *[1] * len(self.event_shape))


class Poisson(Law):
    r"""Independent counts, given by the logarithms h of their rates.

    $\log p(x) = \sum_d [x_d h_d - e^{h_d} - \log x_d!]$

    Args:
        log_rate: h, (*batch, *event).
        event_dims: How many trailing axes form the event.

    Reference:
        Johnson, Kemp and Kotz (2005), chapter 4.

    Example:
        >>> round(Poisson(torch.zeros(1)).log_prob(torch.tensor([2.0])).exp().item(), 4)
        0.1839
    """

    def __init__(self, log_rate: Tensor, event_dims: int = 1) -> None:
        super().__init__(log_rate.shape, event_dims)
        self.log_rate = log_rate

    @property
    def mean(self) -> Tensor:
        """The rate."""
        return self.log_rate.exp()

    @property
    def variance(self) -> Tensor:
        """The rate."""
        return self.mean

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        """Counts, in the dtype of the rates; not differentiable."""
        with torch.no_grad():
            return torch.poisson(self.mean.expand(self._extended_shape(torch.Size(sample_shape))))

    def log_prob_per_entry(self, value: Tensor) -> Tensor:
        """Log-probability of every entry, in nats."""
        return value * self.log_rate - self.log_rate.exp() - torch.lgamma(value + 1)  # eq: poisson


class NegativeBinomial(Law):
    r"""Independent counts that vary more than a Poisson's: Poisson counts whose rate is itself a Gamma draw.

    $\log p(x) = \sum_d \log\frac{\Gamma(x_d + r_d)}{\Gamma(r_d)\, x_d!} + r_d \log\frac{r_d}{r_d + m_d}
    + x_d \log\frac{m_d}{r_d + m_d}$, with mean m and variance $m + m^2 / r$: a Poisson law for $r \to \infty$.

    Args:
        log_mean: log m, (*batch, *event).
        log_dispersion: log r; broadcasts with `log_mean`.
        event_dims: How many trailing axes form the event.

    Reference:
        Johnson, Kemp and Kotz (2005), chapter 5.

    Example:
        >>> round(NegativeBinomial(torch.zeros(1), torch.zeros(1)).log_prob(torch.tensor([2.0])).exp().item(), 4)
        0.125
    """

    def __init__(self, log_mean: Tensor, log_dispersion: Tensor, event_dims: int = 1) -> None:
        super().__init__(_joint(log_mean.shape, log_dispersion.shape), event_dims)
        self.log_mean, self.log_dispersion = log_mean, log_dispersion

    @property
    def mean(self) -> Tensor:
        """The mean, (*batch, *event)."""
        return self.log_mean.exp().expand(self._extended_shape())

    @property
    def variance(self) -> Tensor:
        """m + m^2 / r."""
        return self.mean + (2 * self.log_mean - self.log_dispersion).exp()

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        """Counts, in the dtype of the mean; not differentiable."""
        with torch.no_grad():
            dispersion = self.log_dispersion.clamp(-_MOST_LOG, _MOST_LOG).exp()
            dispersion = dispersion.expand(self._extended_shape(torch.Size(sample_shape)))
            share = torch._standard_gamma(dispersion) / dispersion
            return torch.poisson(self.mean * share)

    def log_prob_per_entry(self, value: Tensor) -> Tensor:
        """Log-probability of every entry, in nats."""
        log_dispersion = self.log_dispersion.clamp_max(_MOST_LOG)
        log_odds = self.log_mean - log_dispersion
        ways = _log_rising(log_dispersion, value) - torch.lgamma(value + 1)
        failures = log_dispersion.exp() * functional.logsigmoid(-log_odds)
        return ways + failures + value * functional.logsigmoid(log_odds)  # eq: negative-binomial


class Observed(Law):
    """A law of data of which some entries may be missing: NaN in a value adds nothing to its log-density.

    Args:
        law: The law of whole values, with independent entries.

    Example:
        >>> law = Observed(StandardNormal(2))
        >>> round(law.log_prob(torch.tensor([0.0, torch.nan])).item(), 4)
        -0.9189
    """

    def __init__(self, law: Law) -> None:
        super().__init__(law._extended_shape(), len(law.event_shape))
        self.law = law

    @property
    def mean(self) -> Tensor:
        """The mean of the law."""
        return self.law.mean

    @property
    def variance(self) -> Tensor:
        """The variance of the law."""
        return self.law.variance

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        """Whole values."""
        return self.law.sample(sample_shape)

    def log_prob_per_entry(self, value: Tensor) -> Tensor:
        """Log-density of every entry of a whole value, in nats."""
        return self.law.log_prob_per_entry(value)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density of what is observed, event summed, in nats."""
        return self.law.log_prob_observed(value)


class Mixed(Law):
    r"""Independent columns of which each has a law of its own, $\log p(x) = \sum_d \log p_d(x_d)$.

    A column whose law is `Categorical` holds numbers of categories 0, 1, ..., K - 1; its mean is the likeliest one.

    Args:
        laws: Laws over vectors (*batch, some columns) that share their columns out.
        order: The columns of the first law, then of the second, and so on, (D,) int64.

    Example:
        >>> law = Mixed([StandardNormal(1), Categorical(torch.zeros(3, 1))], torch.tensor([1, 0]))
        >>> [round(law.log_prob(torch.tensor([first, 0.0])).item(), 3) for first in (2.0, torch.nan)]
        [-2.018, -0.919]
    """

    def __init__(self, laws: Sequence[Law], order: Tensor) -> None:
        super().__init__(torch.Size((*laws[0].batch_shape, len(order))), 1)
        self.laws, self.order = laws, order
        self._units = [law.levels - 1 if isinstance(law, Categorical) else 1 for law in laws]

    @property
    def mean(self) -> Tensor:
        """The mean of every column, of categories the likeliest one."""
        return self._values([law.mode if isinstance(law, Categorical) else law.mean for law in self.laws])

    @property
    def variance(self) -> Tensor:
        """The variance of every column, of categories that of their numbers."""
        units = zip(self.laws, self._units, strict=True)
        return self._joined([law.variance * unit for law, unit in units])  # and once more when they are joined

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        """Draws that have the types of the columns: whole counts, numbers of categories."""
        return self._values([law.sample(sample_shape) for law in self.laws])

    def log_prob_per_entry(self, value: Tensor) -> Tensor:
        """Log-density or log-probability of every column, in nats."""
        parts = value.index_select(-1, self.order).split([law.event_shape[0] for law in self.laws], -1)
        found = zip(self.laws, parts, self._units, strict=True)
        entries = torch.cat([law.log_prob_per_entry(part / unit) for law, part, unit in found], -1)
        return entries.index_select(-1, self.order.argsort())  # eq: mixed

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density of the columns that are not missing (NaN), in nats."""
        return self.log_prob_observed(value)

    def _values(self, parts: Sequence[Tensor]) -> Tensor:
        """As `_joined`, with whole numbers of categories: in floating point k / (K - 1) times K - 1 need not be k."""
        found = self._joined(parts)
        is_category = [torch.full(law.event_shape, isinstance(law, Categorical)) for law in self.laws]
        chosen = torch.cat(is_category).to(found.device).index_select(0, self.order.argsort())
        return torch.where(chosen, found.round(), found)

    def _joined(self, parts: Sequence[Tensor]) -> Tensor:
        scaled = [part * unit for part, unit in zip(parts, self._units, strict=True)]
        return torch.cat(scaled, -1).index_select(-1, self.order.argsort())


_MOST_LOG = 70.0
"""Of a log-dispersion: there a negative binomial is a Poisson law in every digit."""


def _log_rising(log_start: Tensor, steps: Tensor) -> Tensor:
    r"""$\log [\Gamma(r + k) / \Gamma(r)]$ for log r = `log_start` and k = `steps`.

    From r = 30 by Stirling's series of both: the difference of two large logarithms would leave nothing in float32.
    Below, $\Gamma(r) = \Gamma(r + 1) / r$, which is finite where r is too small for a number.
    """
    start = log_start.exp()
    far = start.clamp_min(30)
    reached = far + steps
    series = steps * reached.log() + (far - 0.5) * torch.log1p(steps / far) - steps
    series = series + (1 / reached - 1 / far) / 12 - (reached**-3 - far**-3) / 360
    near = start.clamp_max(30)
    rest = torch.lgamma(near + torch.where(steps > 0, steps, 1.0)) - torch.lgamma(near + 1)
    return torch.where(start < 30, torch.where(steps > 0, log_start, 0.0) + rest, series)


def kl_standard(mean: Tensor, log_var: Tensor) -> Tensor:
    r"""KL(N(mean, var) || N(0, 1)) of every component, $\tfrac12 (\mu^2 + \sigma^2 - 1 - \log\sigma^2)$, in nats.

    Reference:
        Kingma and Welling (2014), appendix B.

    Example:
        >>> kl_standard(torch.tensor([0.0, 1.0]), torch.zeros(2))
        tensor([0.0000, 0.5000])
    """
    return 0.5 * (mean.square() + log_var.exp() - 1 - log_var)  # eq: kl-standard


def kl_diagonal(q: DiagonalGaussian, p: DiagonalGaussian) -> Tensor:
    r"""KL(q || p) of every component of two diagonal Gaussians, in nats.

    $\tfrac12 [(\sigma_q^2 + (\mu_q - \mu_p)^2) / \sigma_p^2 - 1 + \log \sigma_p^2 - \log \sigma_q^2]$

    Example:
        >>> q, p = DiagonalGaussian(torch.ones(2), torch.zeros(2)), DiagonalGaussian(torch.zeros(2), torch.zeros(2))
        >>> kl_diagonal(q, p)
        tensor([0.5000, 0.5000])
    """
    log_ratio = q.log_var - p.log_var
    distance = _over_std(q.loc - p.loc, p.log_var).square()
    return 0.5 * (log_ratio.exp() + distance - 1 - log_ratio)  # eq: kl-diagonal


def kl_full(q: FullGaussian, p: FullGaussian) -> Tensor:
    r"""KL(q || p) of two general Gaussians, (*batch), in nats.

    $\tfrac12 [\operatorname{tr}(\Sigma_p^{-1}\Sigma_q) + (\mu_p-\mu_q)^\top\Sigma_p^{-1}(\mu_p-\mu_q) - k
    + \log(\det\Sigma_p / \det\Sigma_q)]$

    Example:
        >>> q, p = FullGaussian(torch.ones(2), torch.eye(2)), FullGaussian(torch.zeros(2), torch.eye(2))
        >>> kl_full(q, p).item()
        1.0
    """
    trace = p._solved_columns(q.scale_tril).square().sum((-2, -1))
    distance = p._solved_columns((p.loc - q.loc).unsqueeze(-1)).square().sum((-2, -1))
    return 0.5 * (trace + distance - q.event_shape[0] + p.log_det - q.log_det)  # eq: kl-full


def has_closed_form_kl(q: Distribution, p: Distribution) -> bool:
    """Whether `kl` knows these two laws.

    Example:
        >>> has_closed_form_kl(StandardNormal(2), FullGaussian(torch.zeros(2), torch.eye(2)))
        True
    """
    return all(isinstance(law, DiagonalGaussian | FullGaussian) for law in (q, p))


def splits_into_dimensions(q: Distribution, p: Distribution) -> bool:
    """Whether `kl_per_dimension` knows these two laws.

    Example:
        >>> splits_into_dimensions(StandardNormal(2), FullGaussian(torch.zeros(2), torch.eye(2)))
        False
    """
    return isinstance(q, DiagonalGaussian) and isinstance(p, DiagonalGaussian)


def kl_per_dimension(q: Distribution, p: Distribution) -> Tensor:
    """Closed-form KL(q || p) of every latent dimension, (*batch, D), in nats.

    Raises:
        NotImplementedError: when the two laws have no closed form that splits into dimensions.
    """
    if isinstance(q, DiagonalGaussian) and isinstance(p, StandardNormal):
        return kl_standard(q.loc, q.log_var)
    if isinstance(q, DiagonalGaussian) and isinstance(p, DiagonalGaussian):
        return kl_diagonal(q, p)
    raise NotImplementedError(
        f"KL per dimension needs two diagonal Gaussians; got {type(q).__name__} and {type(p).__name__}. "
        "Estimate it by Monte Carlo."
    )


def kl(q: Distribution, p: Distribution) -> Tensor:
    """Closed-form KL(q || p), (*batch), in nats.

    Raises:
        NotImplementedError: when the two laws have no closed form here; the objective then needs kl="monte-carlo".

    Example:
        >>> kl(DiagonalGaussian(torch.ones(2), torch.zeros(2)), StandardNormal(2)).item()
        1.0
    """
    if has_closed_form_kl(q, p) and not splits_into_dimensions(q, p):
        return kl_full(FullGaussian.of(q), FullGaussian.of(p))
    return kl_per_dimension(q, p).sum(-1)
