"""Gaussians: of independent dimensions, and with a covariance matrix."""

import math

import torch
from torch import Tensor
from torch.distributions import Distribution

from variform.distributions.law import LEAST_LOG, LOG_2_PI, Law, Shape, joint, only_gradient


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
        super().__init__(joint(mean.shape, log_var.shape), event_dims)
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

    def rsample_and_log_prob(
        self, sample_shape: Shape = (), *, stick: bool = False
    ) -> tuple[Tensor, Tensor]:
        """As of any law; the distance from the mean is the noise's, which no rounding of z changes."""
        return self.of_noise(self._noise(sample_shape, self.loc), stick=stick)

    def of_noise(self, noise: Tensor, *, stick: bool = False) -> tuple[Tensor, Tensor]:
        """The draws that come of noise of N(0, 1), (*sample, *batch, *event), and their log-densities.

        Args:
            noise: The noise.
            stick: As of `rsample_and_log_prob`.
        """
        z, log_var = self._from(noise), self.log_var
        if stick:  # the noise from which the law with fixed parameters would have made z
            from_mean = over_std(only_gradient(self.loc), log_var.detach())
            from_std = noise * only_gradient(log_var) / 2
            noise = noise + from_mean + from_std
            log_var = log_var.detach()
        return z, self._sum_event(_log_normal(noise, log_var))

    def _from(self, noise: Tensor) -> Tensor:
        return self.loc + (self.log_var / 2).exp() * noise  # eq: reparameterisation

    def log_prob_per_entry(self, value: Tensor) -> Tensor:
        """Log-density of every entry, in nats."""
        return _log_normal(over_std(value - self.loc, self.log_var), self.log_var)

    def _log_within(self, low: Tensor, high: Tensor) -> Tensor:
        """log [F(b) - F(a)]; a range above the mean is mirrored, so that tails keep their digits."""
        start, end = over_std(low - self.loc, self.log_var), over_std(high - self.loc, self.log_var)
        is_above = start > 0
        lower, upper = torch.where(is_above, -end, start), torch.where(is_above, -start, end)
        log_upper = torch.special.log_ndtr(upper)
        ratio = torch.special.log_ndtr(lower) - log_upper
        rest = (-torch.expm1(ratio.clamp_max(-1e-7))).log()
        return (log_upper + rest).clamp_min(LEAST_LOG)

    def moved(self, shift: Tensor, widened: Tensor) -> "DiagonalGaussian":
        r"""The law moved and scaled in its own units, $N(\mu + \sigma e^v u, \sigma^2 e^{2v})$.

        Args:
            shift: u, (*batch, *event).
            widened: v, likewise.
        """
        mean = self.mean + self.stddev * widened.exp() * shift
        return DiagonalGaussian(mean, self.log_var + 2 * widened, len(self.event_shape))

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


def over_std(difference: Tensor, log_var: Tensor) -> Tensor:
    """`difference` in standard deviations, also where 1 / std is too large for a number: then in two steps.

    Where not even the root of 1 / std is a number, no difference but 0 has a finite square.
    """
    most = math.log(torch.finfo(log_var.dtype).max) - 1
    can_ask = log_var.device.type == "cpu" and not torch.compiler.is_compiling()
    if can_ask and bool((log_var.detach() > -2 * most).all()):
        # Two steps would take the processor up to twice as long.
        return difference * (-log_var / 2).exp()
    factor = (-log_var / 4).clamp_max(most).exp()
    return difference * factor * factor


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

    def __init__(
        self, mean: Tensor, scale_tril: Tensor, log_diagonal: Tensor | None = None
    ) -> None:
        super().__init__(joint(mean.shape, scale_tril.shape[:-1]), 1)
        self.loc, self.scale_tril = mean, scale_tril
        if log_diagonal is None:
            log_diagonal = scale_tril.diagonal(dim1=-2, dim2=-1).log()
        self.log_diagonal = log_diagonal

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

    def rsample_and_log_prob(
        self, sample_shape: Shape = (), *, stick: bool = False
    ) -> tuple[Tensor, Tensor]:
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
        k = self.event_shape[0]
        return -0.5 * (k * LOG_2_PI + log_det + distance.square().sum(-1))  # eq: gaussian-full

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density at `value`, in nats."""
        return self._log_prob(self.whitened(value), self.log_det)

    def whitened(self, value: Tensor) -> Tensor:
        """A^-1 (value - mean): the noise that `value` would be made of."""
        return self._solved(value - self.loc)

    def _solved(self, difference: Tensor) -> Tensor:
        """A^-1 times vectors (*sample, *batch, k), where A is (*batch, k, k)."""
        samples = difference.shape[: difference.ndim + 1 - self.scale_tril.ndim]
        # One solution for all samples.
        columns = difference.reshape(-1, *difference.shape[len(samples) :]).movedim(0, -1)
        solution = self._solved_columns(columns).movedim(-1, 0)
        return solution.reshape(*samples, *solution.shape[1:])

    def _solved_columns(self, columns: Tensor) -> Tensor:
        """A^-1 times a matrix (*batch, k, n), each row first divided by its diagonal entry, by way of its logarithm."""
        log_var = 2 * self.log_diagonal.unsqueeze(-1)
        unit, columns = over_std(self.scale_tril, log_var), over_std(columns, log_var)
        return torch.linalg.solve_triangular(
            unit.tril(-1), columns, upper=False, unitriangular=True
        )

    def detached(self) -> "FullGaussian":
        """The same law without gradients to mean and covariance."""
        return FullGaussian(self.loc.detach(), self.scale_tril.detach(), self.log_diagonal.detach())

    def rows(self, index: Tensor) -> "FullGaussian":
        """The rows `index` of the batch, as a law."""
        return FullGaussian(self.loc[index], self.scale_tril[index], self.log_diagonal[index])


def _times(matrix: Tensor, vector: Tensor) -> Tensor:
    return (matrix @ vector.unsqueeze(-1)).squeeze(-1)
