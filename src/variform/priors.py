"""Priors: the law p(z)."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from variform.distributions import StandardNormal

Encode = Callable[[Tensor], Distribution]


class StandardNormalPrior(nn.Module):
    """p(z) = N(0, I).

    Args:
        latent_dim: Number of latent dimensions.

    Example:
        >>> StandardNormalPrior(3)(None).sample((4,)).shape
        torch.Size([4, 3])
    """

    zero: Tensor

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        # Not part of the state: it only carries the dtype and device that .to() gave the model.
        self.register_buffer("zero", torch.zeros(()), persistent=False)

    def forward(self, encode: Encode | None) -> StandardNormal:
        """The law; a prior that is made from posteriors calls `encode`, this one has no need of it."""
        del encode
        return StandardNormal(self.latent_dim, like=self.zero)
