"""Hyperbolic space as the Poincaré ball, and the wrapped normal law on it; densities by hyperbolic volume."""

import math

import torch
from torch import Tensor

from variform.distributions.law import LOG_2_PI, Law, Shape, joint

_LEAST = 1e-150  # stands for a length of 0, whose direction would be none


def mobius_add(x: Tensor, y: Tensor, curvature: float) -> Tensor:
    r"""$x \oplus y$ on the ball of radius $1/\sqrt{c}$: where y comes to lie when the origin is moved to x.

    $\frac{(1 + 2c\,x^\top y + c|y|^2)\, x + (1 - c|x|^2)\, y}{1 + 2c\,x^\top y + c^2 |x|^2 |y|^2}$

    Args:
        x: Points (*batch, d); broadcasts with `y`.
        y: Points.
        curvature: c; the curvature of the space is -c.

    Reference:
        Ganea, Bécigneul and Hofmann (2018), equation 4.

    Example:
        >>> mobius_add(torch.tensor([0.5, 0.0]), torch.tensor([0.5, 0.0]), 1.0)
        tensor([0.8000, 0.0000])
    """
    c = curvature
    product, x2, y2 = ((a * b).sum(-1, keepdim=True) for a, b in ((x, y), (x, x), (y, y)))
    above = (1 + 2 * c * product + c * y2) * x + (1 - c * x2) * y
    return above / (1 + 2 * c * product + c**2 * x2 * y2)  # eq: mobius-addition


def from_tangent(vector: Tensor, curvature: float) -> Tensor:
    r"""The point at the end of the shortest way that leaves the origin in the direction of v and is $|v|$ long.

    $\tanh(\sqrt{c}|v| / 2)\, v / (\sqrt{c} |v|)$, which tends to $v / 2$ as c goes to 0.

    Args:
        vector: v, (*batch, d).
        curvature: c.

    Example:
        >>> from_tangent(torch.tensor([[2.0, 0.0], [1e-3, 0.0]]), 1.0)
        tensor([[7.6159e-01, 0.0000e+00],
                [5.0000e-04, 0.0000e+00]])
    """
    root = math.sqrt(curvature)
    scaled = root * _length(vector)
    return torch.tanh(scaled / 2) / scaled * vector  # eq: exponential-map


def to_tangent(point: Tensor, curvature: float) -> Tensor:
    """What `from_tangent` makes the point of.

    Args:
        point: (*batch, d), within the ball.
        curvature: c.

    Example:
        >>> to_tangent(from_tangent(torch.tensor([2.0, 1.0]), 1.0), 1.0)
        tensor([2., 1.])
    """
    scaled = (math.sqrt(curvature) * _length(point)).clamp_max(1 - torch.finfo(point.dtype).eps)
    length = _length(point)
    return 2 * torch.atanh(scaled) / (math.sqrt(curvature) * length) * point  # eq: logarithm-map


def _length(vector: Tensor) -> Tensor:
    """Lengths, (*batch, 1), with a gradient at 0 too."""
    return (
        vector.square()
        .sum(-1, keepdim=True)
        .clamp_min(_LEAST if vector.dtype == torch.float64 else 1e-30)
        .sqrt()
    )


def log_sinhc(x: Tensor) -> Tensor:
    r"""$\log(\sinh(x) / x)$ for $x \ge 0$.

    Example:
        >>> log_sinhc(torch.tensor([0.0, 1e-3, 1.0, 1000.0]))
        tensor([0.0000e+00, 1.6667e-07, 1.6144e-01, 9.9240e+02])
    """
    is_small = x < 0.1
    square = x.square()
    series = square / 6 - square**2 / 180 + square**3 / 2835
    large = x.masked_fill(is_small, 1.0)
    whole = large + torch.log(-torch.expm1(-2 * large) / (2 * large))
    return torch.where(is_small, series, whole)


class WrappedNormal(Law):
    r"""The normal law $N(0, \operatorname{diag}\sigma^2)$ at the mean of a hyperbolic space, wrapped around it.

    A draw goes $v = \sigma \varepsilon$ from the mean $\mu$, as far as $|v|$ says, along the shortest way:
    $z = \mu \oplus \exp_0(v)$. By hyperbolic volume its density is

    $\log q(z) = \log N(v; 0, \operatorname{diag}\sigma^2) - (d-1) \log \frac{\sinh(\sqrt c |v|)}{\sqrt c |v|}$

    Points are those of the Poincaré ball of radius $1/\sqrt{c}$; lengths and $\sigma$ are measured by its metric,
    $2 |dz| / (1 - c|z|^2)$. As c goes to 0, $2z$ becomes Gaussian, with mean $2\mu$ and the same $\sigma$. Products are
    taken in double precision, since all that is far away lies close to the edge.

    Args:
        mean: $\mu$, points of the ball, (*batch, d).
        log_var: Logarithm of $\sigma^2$; broadcasts with `mean`.
        curvature: c > 0; the curvature of the space is -c.

    Reference:
        Nagano, Yamaguchi, Fujita and Koyama (2019), section 3; Mathieu, Le Lan, Maddison, Tomioka and Teh (2019),
        equation 7, on the ball.

    Example:
        >>> law = WrappedNormal(torch.zeros(2), torch.zeros(2), 1.0)
        >>> round(law.log_prob(from_tangent(torch.tensor([1.0, 0.0]), 1.0)).item(), 4)
        -2.4993
    """

    has_rsample = True

    def __init__(self, mean: Tensor, log_var: Tensor, curvature: float) -> None:
        super().__init__(joint(mean.shape, log_var.shape), 1)
        self.loc, self.log_var, self.curvature = mean, log_var, curvature

    @property
    def mean(self) -> Tensor:
        """The mean, (*batch, d): the point from which the squared distances are least."""
        return self.loc.expand(self._extended_shape())

    @property
    def variance(self) -> Tensor:
        """The variance of v, (*batch, d), in squared lengths of the space."""
        return self.log_var.exp().expand(self._extended_shape())

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        """Draws that are differentiable in mean and variance."""
        return self.rsample_and_log_prob(sample_shape)[0]

    def rsample_and_log_prob(
        self, sample_shape: Shape = (), *, stick: bool = False
    ) -> tuple[Tensor, Tensor]:
        """As of any law; the density is that of the noise, which no rounding of z changes."""
        noise = self._noise(sample_shape, self.loc).double()
        log_var = self.log_var.double()
        v = (log_var / 2).exp() * noise
        z = mobius_add(self.loc.double(), from_tangent(v, self.curvature), self.curvature)
        z = self._inside(z)
        if stick:
            return z, self.detached().log_prob(z)
        return z, self._log_density(v, noise, log_var).to(self.loc.dtype)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density at points of the ball by hyperbolic volume, in nats."""
        moved = mobius_add(-self.loc.double(), value.double(), self.curvature)
        v, log_var = to_tangent(moved, self.curvature), self.log_var.double()
        return self._log_density(v, v * (-log_var / 2).exp(), log_var).to(self.loc.dtype)

    def _log_density(self, v: Tensor, noise: Tensor, log_var: Tensor) -> Tensor:
        flat = -0.5 * (LOG_2_PI + log_var + noise.square()).sum(-1)
        length = math.sqrt(self.curvature) * _length(v).squeeze(-1)
        return flat - (self.event_shape[0] - 1) * log_sinhc(length)  # eq: wrapped-normal

    def _inside(self, z: Tensor) -> Tensor:
        """Points in the law's own precision, at least its rounding away from the edge."""
        dtype = self.loc.dtype
        most = (1 - 2 * torch.finfo(dtype).eps) / math.sqrt(self.curvature)
        return (z * (most / _length(z)).clamp_max(1)).to(dtype)

    def detached(self) -> "WrappedNormal":
        """The same law without gradients to mean and variance."""
        return WrappedNormal(self.loc.detach(), self.log_var.detach(), self.curvature)

    def rows(self, index: Tensor) -> "WrappedNormal":
        """The rows `index` of the batch, as a law."""
        mean, log_var = (part.expand(self._extended_shape()) for part in (self.loc, self.log_var))
        return WrappedNormal(mean[index], log_var[index], self.curvature)
