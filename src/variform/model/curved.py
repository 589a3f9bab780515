"""Families on curved spaces: posteriors and priors on the unit sphere and on the Poincaré ball."""

import torch
from torch import Tensor, nn

from variform.config.checks import Count, Positive, checked
from variform.distributions.hyperbolic import WrappedNormal, from_tangent
from variform.distributions.law import Law
from variform.distributions.sphere import PowerSpherical, UniformSphere, VonMisesFisher, Zonal
from variform.model.posteriors import Std, log_std, raw_name
from variform.model.spaces import Ball, Sphere

_LEAST_VARIANCE = 1e-6
_SHORT = 1e-12  # beside any direction that a network gives


class SphericalPosterior(nn.Module):
    r"""q(z|x) on the unit sphere of d dimensions, whose points z are d + 1 numbers: its `law` about a mean direction.

    The network gives a vector, whose direction is the mean direction $\mu$, and one raw value h, from which comes the
    spread $\sigma$ as in `DiagonalPosterior`. The concentration is that at which the law, far from uniform, has the
    variance $\sigma^2$ in each direction: $\kappa = 1/(\sigma^2 + 10^{-6})$, or twice that for the power spherical law.

    Args:
        dim: d, the dimensions of the sphere.
        std: `softplus` or `exp`.

    Shape:
        params (B, d + 2) to a law over (B, d + 1).

    Example:
        >>> VonMisesFisherPosterior(2)(torch.zeros(5, 4)).mean.shape
        torch.Size([5, 3])
    """

    law: type[Zonal]
    shares = 1.0
    space = Sphere()
    compilable = False

    @checked
    def __init__(self, dim: Count, *, std: Std = "softplus") -> None:
        super().__init__()
        self.latent_dim, self.std = dim + 1, std

    def extra_repr(self) -> str:
        """Shown when the module is printed."""
        return f"dim={self.latent_dim - 1}, std={self.std}"

    @property
    def params_shape(self) -> tuple[int, ...]:
        """What the encoder must give per example."""
        return (self.latent_dim + 1,)

    @property
    def param_counts(self) -> dict[str, int]:
        """What the encoder's numbers are, in the order of the params, and how many of each kind."""
        return {"direction of μ": self.latent_dim, raw_name(self.std): 1}

    def forward(self, params: Tensor) -> Zonal:
        """The law that `params` describe."""
        params = params.to(torch.promote_types(params.dtype, torch.float32))
        vector, raw = params.split((self.latent_dim, 1), -1)
        # A network of zeros has a direction too.
        vector = vector + _first_axis(vector) * _SHORT
        variance = (2 * log_std(raw.squeeze(-1), self.std)).exp()
        concentration = self.shares / (variance + _LEAST_VARIANCE)
        return self.law(vector / vector.norm(dim=-1, keepdim=True), concentration)


def _first_axis(like: Tensor) -> Tensor:
    """The first axis, as a vector of the shape of `like`."""
    return torch.eye(like.shape[-1], dtype=like.dtype, device=like.device)[0]


class VonMisesFisherPosterior(SphericalPosterior):
    """`SphericalPosterior` of the von Mises-Fisher law.

    Reference:
        Davidson, Falorsi, De Cao, Kipf and Tomczak (2018).
    """

    law, law_name = VonMisesFisher, "vMF(μ, κ)"


class PowerSphericalPosterior(SphericalPosterior):
    """`SphericalPosterior` of the power spherical law.

    Reference:
        De Cao and Aziz (2020).
    """

    law, law_name, shares = PowerSpherical, "PowerSpherical(μ, κ)", 2.0


class UniformSpherePrior(nn.Module):
    """p(z) uniform on the unit sphere.

    Args:
        dim: Dimensions of the sphere, one less than the numbers of a point.

    Example:
        >>> UniformSpherePrior(2)(None).sample((4,)).shape
        torch.Size([4, 3])
    """

    zero: Tensor

    @checked
    def __init__(self, dim: Count) -> None:
        super().__init__()
        self.latent_dim = dim + 1
        # Not part of the state: it only carries the dtype and device that .to() gave the model.
        self.register_buffer("zero", torch.zeros(()), persistent=False)

    def extra_repr(self) -> str:
        """Shown when the module is printed."""
        return f"dim={self.latent_dim - 1}"

    def forward(self, encode: object) -> Law:
        """The law."""
        del encode
        return UniformSphere(self.latent_dim, like=self.zero)


class WrappedNormalPosterior(nn.Module):
    r"""q(z|x), the normal law wrapped around hyperbolic space, of which z is a point of the Poincaré ball.

    The network gives what `DiagonalPosterior` takes: a vector, which leads from the origin to the mean, $\mu =
    \exp_0(m)$, and a raw value per dimension for $\sigma$. So, as c goes to 0, $2z$ has the law of that family.

    Args:
        latent_dim: Number of latent dimensions d.
        curvature: c > 0; the space has the curvature -c.
        std: `softplus` or `exp`.

    Shape:
        params (B, 2, d) to a law over (B, d).

    Reference:
        Mathieu, Le Lan, Maddison, Tomioka and Teh (2019).

    Example:
        >>> WrappedNormalPosterior(3, curvature=1.0)(torch.zeros(5, 2, 3)).mean.shape
        torch.Size([5, 3])
    """

    law_name = "wrapped N(μ, diag σ²)"
    compilable = False

    @checked
    def __init__(self, latent_dim: Count, *, curvature: Positive, std: Std = "softplus") -> None:
        super().__init__()
        self.latent_dim, self.std = latent_dim, std
        self.space = Ball(curvature)

    def extra_repr(self) -> str:
        """Shown when the module is printed."""
        return f"latent_dim={self.latent_dim}, curvature={self.space.curvature}, std={self.std}"

    @property
    def params_shape(self) -> tuple[int, ...]:
        """What the encoder must give per example."""
        return (2, self.latent_dim)

    @property
    def param_counts(self) -> dict[str, int]:
        """What the encoder's numbers are, in the order of the params, and how many of each kind."""
        return {"tangents to the means μ": self.latent_dim, raw_name(self.std): self.latent_dim}

    def forward(self, params: Tensor) -> WrappedNormal:
        """The law that `params` describe."""
        params = params.to(torch.promote_types(params.dtype, torch.float32))
        tangent, raw = params.unbind(-2)
        curvature = self.space.curvature
        mean = self.space.nearest(from_tangent(tangent.double(), curvature)).to(params.dtype)
        return WrappedNormal(mean, 2 * log_std(raw, self.std), curvature)


class WrappedNormalPrior(nn.Module):
    """p(z), the standard normal law at the origin, wrapped around hyperbolic space.

    Args:
        latent_dim: Number of latent dimensions.
        curvature: c > 0; the space has the curvature -c.

    Example:
        >>> WrappedNormalPrior(3, curvature=1.0)(None).sample((4,)).shape
        torch.Size([4, 3])
    """

    zeros: Tensor

    @checked
    def __init__(self, latent_dim: Count, *, curvature: Positive) -> None:
        super().__init__()
        self.latent_dim, self.curvature = latent_dim, curvature
        self.register_buffer("zeros", torch.zeros(latent_dim), persistent=False)

    def extra_repr(self) -> str:
        """Shown when the module is printed."""
        return f"latent_dim={self.latent_dim}, curvature={self.curvature}"

    def forward(self, encode: object) -> WrappedNormal:
        """The law."""
        del encode
        return WrappedNormal(self.zeros, self.zeros, self.curvature)
