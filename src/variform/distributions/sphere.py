"""Laws on the unit sphere: uniform, von Mises-Fisher and power spherical; densities by surface area."""

import functools
import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from variform.distributions.law import Law, Shape

_CELLS = 32
_NODES = np.polynomial.legendre.leggauss(6)
_NEWTON_STEPS = 20
_CLOSE = 1e-9  # of a cell


def log_area(dim: int) -> float:
    r"""Logarithm of the area of the unit sphere in $R^m$, $2 \pi^{m/2} / \Gamma(m/2)$.

    Args:
        dim: m, the numbers of a point; the sphere has one dimension less.

    Example:
        >>> round(math.exp(log_area(3)) / math.pi, 6)
        4.0
    """
    return math.log(2) + dim / 2 * math.log(math.pi) - math.lgamma(dim / 2)  # eq: sphere-area


class UniformSphere(Law):
    r"""The uniform law on the unit sphere in $R^m$, $p(z) = \Gamma(m/2) / (2 \pi^{m/2})$.

    Args:
        dim: m, the numbers of a point.
        like: A tensor whose dtype and device are taken.

    Example:
        >>> law = UniformSphere(3)
        >>> law.sample((5,)).norm(dim=-1).round(decimals=5)
        tensor([1., 1., 1., 1., 1.])
        >>> round(law.log_prob(torch.tensor([0.0, 0.0, 1.0])).item(), 4)
        -2.531
    """

    def __init__(self, dim: int, like: Tensor | None = None) -> None:
        self.zeros = torch.zeros(dim) if like is None else like.new_zeros(dim)
        super().__init__(self.zeros.shape, 1)

    @property
    def mean(self) -> Tensor:
        """The centre, (m,), which lies within the sphere, not on it."""
        return self.zeros

    @property
    def variance(self) -> Tensor:
        """Of every coordinate 1 / m, (m,)."""
        return self.zeros + 1 / len(self.zeros)

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        """Draws: directions of Gaussian ones."""
        with torch.no_grad():
            return functional.normalize(self._noise(sample_shape, self.zeros), dim=-1)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density by surface area, in nats, the same everywhere."""
        return value.new_full(value.shape[:-1], -log_area(len(self.zeros)))


class Zonal(Law):
    r"""A law on the unit sphere in $R^m$ whose density falls with the angle to its mean direction, and with that alone.

    The angle's density is $f(\theta) \propto g(\theta) \sin^{m-2}\theta$. A draw inverts its distribution function F,
    which is integrated in cells, so that one uniform number makes one draw, and none is rejected. By the implicit
    function theorem $d\theta/d\kappa = -(\partial F/\partial\kappa) / f$: draws are differentiable in the mean
    direction and in the concentration. Angles are taken from chords, in double precision: a scalar product in single
    precision would round the log-density of a concentrated law by tenths of a nat.

    Args:
        mean: The mean direction, unit vectors (*batch, m), m at least 2.
        concentration: $\kappa \ge 0$, (*batch); 0 is the uniform law.

    Reference:
        Figurnov, Mohamed and Mnih (2018), equation 7, for the gradient.
    """

    has_rsample = True

    def __init__(self, mean: Tensor, concentration: Tensor) -> None:
        super().__init__(mean.shape, 1)
        self.loc, self.concentration = mean, concentration.expand(mean.shape[:-1])

    def _log_shape(self, sine: Tensor, cosine: Tensor, concentration: Tensor) -> Tensor:
        """log g, from sin²(θ/2) and cos²(θ/2)."""
        raise NotImplementedError

    def log_integral(self) -> Tensor:
        """Logarithm of the integral of g over the sphere, (*batch), in double precision."""
        raise NotImplementedError

    def expected_log_shape(self) -> Tensor:
        """The mean of log g, (*batch), in double precision."""
        raise NotImplementedError

    def _scale(self) -> Tensor:
        """About the angle in which a concentrated law lies, in each of its directions."""
        raise NotImplementedError

    @property
    def mean(self) -> Tensor:
        """The mean direction, (*batch, m), which lies on the sphere, as the Euclidean mean does not."""
        return self.loc

    @property
    def variance(self) -> Tensor:
        """The variance of every coordinate about the Euclidean mean, (*batch, m)."""
        cells = self._cells
        first, second = (
            (cells.mass * cells.nodes.cos() ** power).sum((-2, -1)).unsqueeze(-1)
            for power in (1, 2)
        )
        along = self.loc.double().square()
        across = (1 - second) / (self.event_shape[0] - 1)
        return ((second - first.square()) * along + across * (1 - along)).to(self.loc)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density at unit vectors by surface area, in nats."""
        value, mean = value.double(), self.loc.double()
        sine, cosine = (
            (value - mean).square().sum(-1) / 4,
            (value + mean).square().sum(-1) / 4,
        )
        shape = self._log_shape(sine, cosine, self.concentration.double())
        return (shape - self.log_integral()).to(self.loc.dtype)

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        """Differentiable draws: an angle to the mean direction, and a uniform direction in which it lies."""
        noise = self._noise(sample_shape, self.loc).double()
        angle = self._angles(torch.special.ndtr(noise[..., 0])).unsqueeze(-1)
        around = functional.normalize(noise[..., 1:], dim=-1)
        first = self.loc[..., :1].double()
        # The reflection that brings the first axis, or its opposite, which is farther away, to the mean direction.
        side = torch.where(first > 0, -1.0, 1.0)
        point = torch.cat([side * angle.cos(), angle.sin() * around], -1)
        axis = torch.cat([first - side, self.loc[..., 1:].double()], -1)
        share = (axis * point).sum(-1, keepdim=True) / (1 - side * first)
        return (point - share * axis).to(self.loc.dtype)

    @functools.cached_property
    def _cells(self) -> "_Cells":
        return _Cells(self)

    def _angles(self, share: Tensor) -> Tensor:
        """The angles at which the distribution function has these values, (*sample, *batch)."""
        cells = self._cells
        batch = len(self.batch_shape)
        first = share.ndim - batch
        columns = share.reshape(math.prod(share.shape[:first]), -1).T.contiguous()  # (B, L)
        angles = cells.inverted(columns)
        return angles.T.reshape(share.shape)

    def _log_density_of(self, angle: Tensor, concentration: Tensor) -> Tensor:
        """log f up to a constant."""
        half = angle / 2
        shape = self._log_shape(half.sin().square(), half.cos().square(), concentration)
        if self.event_shape[0] == 2:
            return shape
        return shape + (self.event_shape[0] - 2) * angle.sin().clamp_min(1e-300).log()

    def detached(self) -> "Zonal":
        """The same law without gradients to its parameters."""
        return type(self)(self.loc.detach(), self.concentration.detach())

    def rows(self, index: Tensor) -> "Zonal":
        """The rows `index` of the batch, as a law."""
        return type(self)(self.loc[index], self.concentration[index])


class _Cells:
    """The distribution function of a zonal law's angle, integrated cell by cell; rows are those of the batch."""

    def __init__(self, law: Zonal) -> None:
        self.law = law
        self.concentration = law.concentration.double()
        with torch.no_grad():
            end = (law._scale() * 1.6 * (math.sqrt(law.event_shape[0] - 1) + 9)).clamp_max(math.pi)
            width = end.unsqueeze(-1) / _CELLS
            self.starts = width * torch.arange(_CELLS, dtype=torch.float64, device=width.device)
            self.width = width
            offsets, weights = (torch.from_numpy(part).to(width) for part in _NODES)
            self.offsets, self.weights = (offsets + 1) / 2, weights / 2
            self.nodes = self.starts.unsqueeze(-1) + width.unsqueeze(-1) * self.offsets
        logs = law._log_density_of(self.nodes, self.concentration[..., None, None])
        self.top = logs.detach().amax((-2, -1))
        heights = (logs - self.top[..., None, None]).exp() * self.weights * width.unsqueeze(-1)
        self.integral = heights.sum((-2, -1))
        self.mass = heights / self.integral[..., None, None]
        self.log_integral = self.top + self.integral.log()

    def inverted(self, share: Tensor) -> Tensor:
        """The angles at which F, of each row (B, ...), has the values `share`, (B, L)."""
        flat = self.concentration.numel()
        mass = self.mass.sum(-1).reshape(flat, _CELLS)
        below = functional.pad(mass.cumsum(-1), (1, 0))
        with torch.no_grad():
            inner = below[:, 1:-1].contiguous()
            cell = torch.searchsorted(inner, share)
            width = self.width.reshape(flat, 1)
            start = self.starts.reshape(flat, _CELLS).gather(1, cell)
            left, inside = below.gather(1, cell), mass.gather(1, cell).clamp_min(1e-300)
            angle = start + width * ((share - left) / inside).clamp(0, 1)
            for _ in range(_NEWTON_STEPS):
                part, density = self._within(start, angle)
                step = (left + part - share) / density.clamp_min(1e-300)
                angle = torch.minimum((angle - step).clamp_min(start), start + width)
                if bool((step.abs() < _CLOSE * width).all()):
                    break
        if not self.concentration.requires_grad:
            return angle
        part, density = self._within(start, angle)
        reached = below.gather(1, cell) + part
        return angle - (reached - reached.detach()) / density.detach()  # eq: implicit-angle

    def _within(self, start: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
        """The mass between the start of a cell and an angle, and the density there."""
        length = (angle - start).unsqueeze(-1)
        points = start.unsqueeze(-1) + length * self.offsets
        concentration = self.concentration.reshape(-1, 1)
        total = self.log_integral.reshape(-1, 1)
        at = self.law._log_density_of(points, concentration.unsqueeze(-1)) - total.unsqueeze(-1)
        part = (at.exp() * self.weights * length).sum(-1)
        return part, (self.law._log_density_of(angle, concentration) - total).exp()


class VonMisesFisher(Zonal):
    r"""$q(z) \propto \exp(\kappa\, \mu^\top z)$ on the unit sphere in $R^m$: a Gaussian's direction, given its length.

    Where $\kappa$ is large it is a Gaussian of variance $1/\kappa$ in each direction of the surface.

    Args:
        mean: The mean direction $\mu$, unit vectors (*batch, m).
        concentration: $\kappa \ge 0$, (*batch).

    Reference:
        Davidson, Falorsi, De Cao, Kipf and Tomczak (2018), section 3.1.

    Example:
        >>> law = VonMisesFisher(torch.tensor([0.0, 0.0, 1.0]), torch.tensor(10.0))
        >>> round(law.log_prob(law.mean).item(), 4)
        0.4647
    """

    def _log_shape(self, sine: Tensor, cosine: Tensor, concentration: Tensor) -> Tensor:
        del cosine
        return -2 * concentration * sine  # eq: von-mises-fisher

    def _scale(self) -> Tensor:
        return self.concentration.detach().double().clamp_min(1e-12).rsqrt()

    def log_integral(self) -> Tensor:
        """As of any zonal law: the textbooks' Bessel function as the integral that it is, of whatever order."""
        return log_area(self.event_shape[0] - 1) + self._cells.log_integral

    def expected_log_shape(self) -> Tensor:
        """As of any zonal law."""
        half = (self._cells.nodes / 2).sin().square()
        return -2 * self.concentration.double() * (self._cells.mass * half).sum((-2, -1))


class PowerSpherical(Zonal):
    r"""$q(z) \propto (1 + \mu^\top z)^\kappa$ on the unit sphere in $R^m$: like von Mises-Fisher, without Bessel functions.

    Where $\kappa$ is large it is a Gaussian of variance $2/\kappa$ in each direction of the surface.

    Args:
        mean: The mean direction $\mu$, unit vectors (*batch, m).
        concentration: $\kappa \ge 0$, (*batch).

    Reference:
        De Cao and Aziz (2020), equations 6 and 16.

    Example:
        >>> law = PowerSpherical(torch.tensor([0.0, 0.0, 1.0]), torch.tensor(10.0))
        >>> round(law.log_prob(law.mean).item(), 4)
        -0.1331
    """  # noqa: E501

    def _log_shape(self, sine: Tensor, cosine: Tensor, concentration: Tensor) -> Tensor:
        near = torch.log1p(-sine.clamp_max(0.5))
        far = cosine.clamp_min(1e-300).log()
        return concentration * torch.where(sine < 0.5, near, far)  # eq: power-spherical

    def _scale(self) -> Tensor:
        return (2 / self.concentration.detach().double().clamp_min(1e-12)).sqrt()

    def log_integral(self) -> Tensor:
        """As of any zonal law."""
        m, a, b = self.event_shape[0], *self._beta()
        log_beta = a.lgamma() + b.lgamma() - (a + b).lgamma()
        return log_area(m - 1) + (m - 2) * math.log(2) + log_beta  # eq: power-spherical-integral

    def _beta(self) -> tuple[Tensor, Tensor]:
        """(1 + cos θ) / 2 has a beta law of these parameters."""
        half = (self.event_shape[0] - 1) / 2
        kappa = self.concentration.double()
        return kappa + half, torch.full_like(kappa, half)

    def expected_log_shape(self) -> Tensor:
        """As of any zonal law."""
        a, b = self._beta()
        mean = torch.digamma(a) - torch.digamma(a + b)
        return self.concentration.double() * mean  # eq: power-spherical-mean
