"""Laws of what an invertible map makes of Gaussian noise, and the planar map."""

import math
from abc import abstractmethod

import torch
from torch import Tensor
from torch.nn import functional

from variform.distributions.gaussian import DiagonalGaussian
from variform.distributions.law import Law, Shape, only_gradient

_MOMENT_DRAWS = 32  # pairs of opposite noise
_HALVINGS = 60  # of an interval, until it is as short as two numbers in double precision lie apart
_SHIFT = math.log(math.e - 1)  # where softplus is 1
_MARGIN = 1e-3  # of a slope above -1, where a step would fold the space
_SHORTEST = 1e-12  # squared length of w that is divided by


class Pushed(Law):
    """The law of f(noise), f invertible: its moments, which have no formula.

    Args:
        noise: The law of the noise.
    """

    def __init__(self, noise: DiagonalGaussian) -> None:
        super().__init__(torch.Size((*noise.batch_shape, *noise.event_shape)), 1)
        self.noise = noise

    @property
    def mean(self) -> Tensor:
        """The mean, (*batch, D), of 64 fixed draws, noise and its opposite: the same at every call."""
        return self._fixed_draws().mean(0)

    @property
    def variance(self) -> Tensor:
        """The variance of each dimension, (*batch, D), of the same draws."""
        return self._fixed_draws().var(0)

    @abstractmethod
    def with_noise(self, noise: DiagonalGaussian) -> "Pushed":
        """The same map of other noise."""

    @abstractmethod
    def _from_noise(self, noise: Tensor) -> Tensor:
        """f."""

    def _fixed_draws(self) -> Tensor:
        shape = (_MOMENT_DRAWS, *(1 for _ in self.batch_shape), *self.event_shape)
        normal = torch.randn(
            shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64, device="cpu"
        )
        normal = torch.cat([normal, -normal]).to(self.noise.loc)
        return self._from_noise(self.noise.mean + self.noise.stddev * normal)


class Planar(Pushed):
    r"""The law of K planar steps $f(z) = z + \hat u \tanh(w^\top z + b)$ on $z_0 \sim N(\mu, \sigma^2)$.

    A step moves z along one direction, by how far it lies along another; its Jacobian is
    $|1 + w^\top \hat u\, (1 - \tanh^2(w^\top z + b))|$. It is invertible where $w^\top \hat u > -1$, and so
    $\hat u = u + [m(w^\top u) - w^\top u]\, w / \|w\|^2$ with $m(a) = .999\, [\log(1 + (e - 1) e^a) - 1]$. Unlike the
    paper's m, for which $\hat u$ jumps where w is zero, it has m(0) = 0.

    A draw and its density are one pass. `log_prob` of a z from elsewhere finds $w^\top z$ of each step, on which it
    depends alone, by halving an interval.

    Args:
        noise: N(mu, sigma^2), over (*batch, D).
        directions: u and w, (*batch, K, 2, D).
        offsets: b, (*batch, K).

    Reference:
        Rezende and Mohamed (2015), equations 10 to 13 and appendix A.1.

    Example:
        >>> noise = DiagonalGaussian(torch.zeros(5, 3), torch.zeros(5, 3))
        >>> law = Planar(noise, torch.randn(5, 4, 2, 3), torch.randn(5, 4))
        >>> z, log_q = law.rsample_and_log_prob((2,))
        >>> torch.allclose(law.log_prob(z), log_q, atol=1e-4)
        True
    """

    has_rsample = True

    def __init__(self, noise: DiagonalGaussian, directions: Tensor, offsets: Tensor) -> None:
        super().__init__(noise)
        self.directions, self.offsets = directions, offsets
        along, w = directions.unbind(-2)
        product = (w * along).sum(-1, keepdim=True)
        allowed = (1 - _MARGIN) * (functional.softplus(product + _SHIFT) - 1)
        length = w.square().sum(-1, keepdim=True).clamp_min(_SHORTEST)
        self._w, self._u = w, along + (allowed - product) * w / length
        self._slope = allowed.squeeze(-1)  # w^T u-hat

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        """Differentiable draws."""
        return self._from_noise(self.noise.rsample(sample_shape))

    def rsample_and_log_prob(
        self, sample_shape: Shape = (), *, stick: bool = False
    ) -> tuple[Tensor, Tensor]:
        """As of any law, without an inversion unless gradients are to stick."""
        start, log_start = self.noise.rsample_and_log_prob(sample_shape)
        z, log_det = self._mapped(start)
        log_q = log_start - log_det  # eq: planar
        if stick:
            log_q = log_q.detach() + only_gradient(self.detached().log_prob(z))
        return z, log_q

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density at `value`, in nats, by inversion."""
        log_det = value.new_zeros(value.shape[:-1])
        for step in reversed(range(self.offsets.shape[-1])):
            w, u, slope, b = self._step(step)
            along = _solved((w * value).sum(-1), slope, b)
            value = value - u * torch.tanh(along + b)[..., None]
            log_det = log_det + _log_det(slope, along + b)
        return self.noise.log_prob(value) - log_det

    def detached(self) -> "Planar":
        """The same law without gradients to its parameters."""
        parts = self.directions.detach(), self.offsets.detach()
        return Planar(self.noise.detached(), *parts)

    def with_noise(self, noise: DiagonalGaussian) -> "Planar":
        """The same map of other noise."""
        return Planar(noise, self.directions, self.offsets)

    def rows(self, index: Tensor) -> "Planar":
        """The rows `index` of the batch, as a law."""
        return Planar(self.noise.rows(index), self.directions[index], self.offsets[index])

    def _from_noise(self, noise: Tensor) -> Tensor:
        return self._mapped(noise)[0]

    def _mapped(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The map, and the logarithm of its Jacobian determinant."""
        log_det = z.new_zeros(z.shape[:-1])
        for step in range(self.offsets.shape[-1]):
            w, u, slope, b = self._step(step)
            inside = (w * z).sum(-1) + b
            z = z + u * torch.tanh(inside)[..., None]
            log_det = log_det + _log_det(slope, inside)
        return z, log_det

    def _step(self, step: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """w, u-hat, their product and b of a step, with the batch's axes."""
        parts = self._w[..., step, :], self._u[..., step, :]
        return *parts, self._slope[..., step], self.offsets[..., step]


def _log_det(slope: Tensor, inside: Tensor) -> Tensor:
    """log(1 + slope (1 - tanh^2)), for a slope above -1."""
    return (slope * (1 - torch.tanh(inside).square())).log1p()


def _solved(target: Tensor, slope: Tensor, b: Tensor) -> Tensor:
    """a with a + slope tanh(a + b) = target, which rises with a; gradients by the implicit function theorem."""
    with torch.no_grad():
        low, high = target - slope.abs(), target + slope.abs()
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            is_below = middle + slope * torch.tanh(middle + b) < target
            low, high = torch.where(is_below, middle, low), torch.where(is_below, high, middle)
        root = (low + high) / 2
        rise = 1 + slope * (1 - torch.tanh(root + b).square())
    return root - (root + slope * torch.tanh(root + b) - target) / rise
