"""The formula sheet: laws with their densities, the reparameterisation, and every closed-form KL divergence.

A **law** is a `torch.distributions.Distribution` whose event axes are summed in `log_prob` and whose additive constants
are always in, so that the numbers of two models are comparable. Each line that computes a formula carries a tag
(`# eq: name`) once in the whole package; docs/formulas.md lists them.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.distributions import Distribution

from variform import draws

LOG_2_PI = math.log(2 * math.pi)

Shape = torch.Size | list[int] | tuple[int, ...]


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

    def rsample_and_log_prob(self, sample_shape: Shape = ()) -> tuple[Tensor, Tensor]:
        """Differentiable draws and their log-densities, in one call.

        A law that is cheap in one direction only (an autoregressive flow) overrides this.
        """
        draw = self.rsample(torch.Size(sample_shape))
        return draw, self.log_prob(draw)

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
        super().__init__(torch.broadcast_shapes(mean.shape, log_var.shape), event_dims)
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
        noise = self._noise(sample_shape, self.loc)
        return self.loc + (self.log_var / 2).exp() * noise  # eq: reparameterisation

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density at `value`, event summed, in nats."""
        scaled = (value - self.loc).square() * (-self.log_var).exp()
        return -0.5 * self._sum_event(LOG_2_PI + self.log_var + scaled)  # eq: gaussian-diagonal

    def detached(self) -> "DiagonalGaussian":
        """The same law without gradients to mean and variance."""
        return DiagonalGaussian(self.loc.detach(), self.log_var.detach(), len(self.event_shape))

    def rows(self, index: Tensor) -> "DiagonalGaussian":
        """The rows `index` of the batch, as a law."""
        mean, log_var = (part.expand(self._extended_shape()) for part in (self.loc, self.log_var))
        return DiagonalGaussian(mean[index], log_var[index], len(self.event_shape))


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

    Example:
        >>> law = FullGaussian(torch.zeros(2), torch.eye(2))
        >>> round(law.log_prob(torch.zeros(2)).item(), 4)
        -1.8379
    """

    has_rsample = True

    def __init__(self, mean: Tensor, scale_tril: Tensor) -> None:
        super().__init__(torch.broadcast_shapes(mean.shape, scale_tril.shape[:-1]), 1)
        self.loc, self.scale_tril = mean, scale_tril

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
        return 2 * self.scale_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        """Differentiable draws: z = mean + A noise."""
        return self._from(self._noise(sample_shape, self.loc))

    def rsample_and_log_prob(self, sample_shape: Shape = ()) -> tuple[Tensor, Tensor]:
        """Differentiable draws and their log-densities, whose distance is the noise's: nothing need be solved."""
        noise = self._noise(sample_shape, self.loc)
        return self._from(noise), self._log_prob(noise.square().sum(-1))

    def _from(self, noise: Tensor) -> Tensor:
        return self.loc + (self.scale_tril @ noise.unsqueeze(-1)).squeeze(-1)  # eq: reparameterisation-full

    def _log_prob(self, distance: Tensor) -> Tensor:
        return -0.5 * (self.event_shape[0] * LOG_2_PI + self.log_det + distance)  # eq: gaussian-full

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density at `value`, in nats."""
        return self._log_prob(_squared_distance(value - self.loc, self.scale_tril))

    def detached(self) -> "FullGaussian":
        """The same law without gradients to mean and covariance."""
        return FullGaussian(self.loc.detach(), self.scale_tril.detach())

    def rows(self, index: Tensor) -> "FullGaussian":
        """The rows `index` of the batch, as a law."""
        return FullGaussian(self.loc[index], self.scale_tril[index])


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
            each = _log_prob_of_pairs(self.components, value)
        else:
            each = self.components.log_prob(value.unsqueeze(-2))
        return (self.log_weights + each).logsumexp(-1)  # eq: mixture


def _log_prob_of_pairs(law: DiagonalGaussian, value: Tensor) -> Tensor:
    """Log-densities of all points (*sample, D) under all K rows of `law`, (*sample, K), by matrix products.

    They need no (*sample, K, D). Their sums cancel where variances are small, so they are taken in double precision,
    which costs little at these sizes; Apple's GPUs have none.
    """
    exact = value.dtype if value.device.type == "mps" else torch.float64
    z, mean, log_var = (part.to(exact) for part in (value, law.mean, law.log_var.expand(law.mean.shape)))
    precision = (-log_var).exp()
    constant = (log_var + precision * mean.square()).sum(-1) + LOG_2_PI * mean.shape[-1]
    distance = z.square() @ precision.mT - 2 * z @ (precision * mean).mT
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

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-probability of `value`, event summed, in nats."""
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
    distance = (q.loc - p.loc).square() * (-p.log_var).exp()
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
    trace = torch.linalg.solve_triangular(p.scale_tril, q.scale_tril, upper=False).square().sum((-2, -1))
    distance = _squared_distance(p.loc - q.loc, p.scale_tril)
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
    if isinstance(q, FullGaussian) and isinstance(p, DiagonalGaussian):
        p = FullGaussian(p.mean, torch.diag_embed(p.stddev))
    if isinstance(q, DiagonalGaussian) and isinstance(p, FullGaussian):
        q = FullGaussian(q.mean, torch.diag_embed(q.stddev))
    if isinstance(q, FullGaussian) and isinstance(p, FullGaussian):
        return kl_full(q, p)
    return kl_per_dimension(q, p).sum(-1)


def _squared_distance(difference: Tensor, scale_tril: Tensor) -> Tensor:
    """Mahalanobis distance squared of `difference` (*sample, *batch, k) under A A^T, where A is (*batch, k, k)."""
    samples = difference.shape[: difference.ndim + 1 - scale_tril.ndim]
    columns = difference.reshape(-1, *difference.shape[len(samples) :]).movedim(0, -1)  # one solution for all samples
    squares = torch.linalg.solve_triangular(scale_tril, columns, upper=False).square().sum(-2)
    return squares.movedim(-1, 0).reshape(*samples, *squares.shape[:-1])
