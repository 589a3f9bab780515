"""Posterior families: the encoder's raw output becomes the law q(z|x)."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from variform.distributions import DiagonalGaussian


class DiagonalPosterior(nn.Module):
    r"""$q(z|x) = N(\mu(x), \operatorname{diag}\sigma^2(x))$.

    The network gives the mean and a raw value h per dimension; $\sigma = e^{h/2}$ (h is the log-variance) or
    $\sigma = \operatorname{softplus}(h)$.

    Args:
        latent_dim: Number of latent dimensions D.
        std: `exp` or `softplus`.

    Shape:
        params (B, 2, D) to a law over (B, D).

    Example:
        >>> DiagonalPosterior(3)(torch.zeros(5, 2, 3)).mean.shape
        torch.Size([5, 3])
    """

    def __init__(self, latent_dim: int, *, std: Literal["exp", "softplus"] = "exp") -> None:
        super().__init__()
        self.latent_dim, self.std = latent_dim, std

    @property
    def params_shape(self) -> tuple[int, ...]:
        """What the encoder must give per example."""
        return (2, self.latent_dim)

    def forward(self, params: Tensor) -> DiagonalGaussian:
        """The law that `params` describe."""
        params = params.to(torch.promote_types(params.dtype, torch.float32))
        mean, raw = params.unbind(-2)
        if self.std == "softplus":
            raw = 2 * functional.softplus(raw).clamp_min(torch.finfo(raw.dtype).tiny).log()
        return DiagonalGaussian(mean, raw)
