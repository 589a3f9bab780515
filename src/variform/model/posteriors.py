"""Posterior families: the encoder's raw output becomes the law q(z|x). Others stand in `flows`."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from variform.config.checks import checked
from variform.distributions.gaussian import DiagonalGaussian, FullGaussian
from variform.distributions.pushed import Planar

Std = Literal["exp", "softplus"]


class DiagonalPosterior(nn.Module):
    r"""$q(z|x) = N(\mu(x), \operatorname{diag}\sigma^2(x))$.

    The network gives the mean and a raw value h per dimension. $\sigma = \operatorname{softplus}(h) = \log(1 + e^h)$
    grows no faster than h itself, so that a row far from the others costs no more by its spread than by its mean;
    $\sigma = e^{h/2}$ (h is the log-variance) is how most papers write it, and blows up on such a row.

    Args:
        latent_dim: Number of latent dimensions D.
        std: `softplus` or `exp`.

    Shape:
        params (B, 2, D) to a law over (B, D).

    Example:
        >>> DiagonalPosterior(3)(torch.zeros(5, 2, 3)).mean.shape
        torch.Size([5, 3])
    """

    law_name = "N(μ, diag σ²)"

    @checked
    def __init__(self, latent_dim: int, *, std: Std = "softplus") -> None:
        super().__init__()
        self.latent_dim, self.std = latent_dim, std

    def extra_repr(self) -> str:
        """Shown when the module is printed."""
        return f"latent_dim={self.latent_dim}, std={self.std}"

    @property
    def params_shape(self) -> tuple[int, ...]:
        """What the encoder must give per example."""
        return (2, self.latent_dim)

    @property
    def param_counts(self) -> dict[str, int]:
        """What the encoder's numbers are, in the order of the params, and how many of each kind."""
        return {"means μ": self.latent_dim, raw_name(self.std): self.latent_dim}

    def forward(self, params: Tensor) -> DiagonalGaussian:
        """The law that `params` describe."""
        params = params.to(torch.promote_types(params.dtype, torch.float32))
        mean, raw = params.unbind(-2)
        return DiagonalGaussian(mean, 2 * log_std(raw, self.std))


class FullCovariancePosterior(nn.Module):
    r"""$q(z|x) = N(\mu(x), A(x) A(x)^\top)$ with A lower triangular and its diagonal positive.

    The network gives the mean, a raw value h for each entry of the diagonal, as in `DiagonalPosterior`, and the entries
    below the diagonal as they are.

    A model whose axes were turned (see `alignment`) has the buffer `turn`, an orthogonal matrix R: the covariance is
    then $R A A^\top R^\top$.

    Args:
        latent_dim: Number of latent dimensions D.
        std: How h becomes an entry of the diagonal: `softplus`, or `exp`, $e^{h/2}$.

    Shape:
        params (B, 2 D + D (D - 1) / 2) to a law over (B, D).

    Reference:
        Kingma and Welling (2019), section 2.5.1.

    Example:
        >>> FullCovariancePosterior(3)(torch.zeros(5, 9)).scale_tril.shape
        torch.Size([5, 3, 3])
    """

    law_name = "N(μ, A Aᵀ)"
    turn: Tensor | None

    @checked
    def __init__(self, latent_dim: int, *, std: Std = "softplus") -> None:
        super().__init__()
        self.latent_dim, self.std = latent_dim, std
        self.register_buffer("turn", None)

    def extra_repr(self) -> str:
        """Shown when the module is printed."""
        return f"latent_dim={self.latent_dim}, std={self.std}"

    @property
    def params_shape(self) -> tuple[int, ...]:
        """What the encoder must give per example."""
        return (self.latent_dim * (self.latent_dim + 3) // 2,)

    @property
    def param_counts(self) -> dict[str, int]:
        """What the encoder's numbers are, in the order of the params, and how many of each kind."""
        dim = self.latent_dim
        counts = {"means μ": dim, f"{raw_name(self.std)}, on A's diagonal": dim}
        return counts | {"entries of A below its diagonal": dim * (dim - 1) // 2}

    def forward(self, params: Tensor) -> FullGaussian:
        """The law that `params` describe."""
        params = params.to(torch.promote_types(params.dtype, torch.float32))
        below = torch.tril_indices(self.latent_dim, self.latent_dim, -1, device=params.device)
        mean, raw, rest = params.split((self.latent_dim, self.latent_dim, below.shape[1]), -1)
        log_diagonal = log_std(raw, self.std)
        scale_tril = torch.diag_embed(log_diagonal.exp())
        scale_tril[..., below[0], below[1]] = rest
        if self.turn is not None:
            scale_tril = _triangular(self.turn.to(scale_tril) @ scale_tril)
            log_diagonal = scale_tril.diagonal(dim1=-2, dim2=-1).log()
        return FullGaussian(mean, scale_tril, log_diagonal)


class PlanarPosterior(nn.Module):
    r"""$q(z|x)$ by planar steps on $N(\mu(x), \operatorname{diag} \sigma^2(x))$, whose parameters the encoder gives.

    Args:
        latent_dim: Number of latent dimensions D.
        transforms: Number of steps K.
        std: How the encoder's output becomes $\sigma$, as in `DiagonalPosterior`.

    Shape:
        params (B, 2 D + K (2 D + 1)) to a law over (B, D).

    Reference:
        Rezende and Mohamed (2015), section 4.

    Example:
        >>> PlanarPosterior(3, transforms=4)(torch.zeros(5, 34)).rsample((2,)).shape
        torch.Size([2, 5, 3])
    """

    law_name = "a planar flow"
    compilable = False

    @checked
    def __init__(self, latent_dim: int, *, transforms: int = 3, std: Std = "softplus") -> None:
        super().__init__()
        self.latent_dim, self.transforms, self.std = latent_dim, transforms, std

    def extra_repr(self) -> str:
        """Shown when the module is printed."""
        return f"latent_dim={self.latent_dim}, transforms={self.transforms}, std={self.std}"

    @property
    def params_shape(self) -> tuple[int, ...]:
        """What the encoder must give per example."""
        return (sum(self.param_counts.values()),)

    @property
    def param_counts(self) -> dict[str, int]:
        """What the encoder's numbers are, in the order of the params, and how many of each kind."""
        counts = {"means μ": self.latent_dim, raw_name(self.std): self.latent_dim}
        counts |= {"directions u and w of the steps": 2 * self.latent_dim * self.transforms}
        return counts | {"offsets b of the steps": self.transforms}

    def forward(self, params: Tensor) -> Planar:
        """The law that `params` describe."""
        params = params.to(torch.promote_types(params.dtype, torch.float32))
        mean, raw, directions, offsets = params.split(tuple(self.param_counts.values()), -1)
        noise = DiagonalGaussian(mean, 2 * log_std(raw, self.std))
        return Planar(noise, directions.unflatten(-1, (self.transforms, 2, -1)), offsets)


def _triangular(root: Tensor) -> Tensor:
    """L, lower triangular with a positive diagonal, with the same L L^T as a square root (*batch, D, D) of it."""
    lower = torch.linalg.qr(root.mT).R.mT
    return lower * lower.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)


@checked
def raw_name(std: Std) -> str:
    """What the numbers h of a network are from which `log_std` makes standard deviations.

    Example:
        >>> raw_name("exp"), raw_name("softplus")
        ('log-variances h', 'raw deviations h')
    """
    return "log-variances h" if std == "exp" else "raw deviations h"


def log_std(raw: Tensor, std: Std) -> Tensor:
    """The logarithm of the standard deviation that a network's raw output h stands for.

    Args:
        raw: h, of any shape.
        std: `softplus` or `exp`.

    Example:
        >>> log_std(torch.zeros(1), "softplus").exp(), log_std(torch.zeros(1), "exp").exp()
        (tensor([0.6931]), tensor([1.]))
    """
    if std == "softplus":
        return functional.softplus(raw).clamp_min(torch.finfo(raw.dtype).tiny).log()
    return raw / 2
