"""Priors whose law is fitted to a trained model, or has another temperature."""

from typing import Any

import torch
from torch import Tensor, nn

from variform.config.checks import Positive, checked
from variform.distributions.compound import Mixture
from variform.distributions.gaussian import DiagonalGaussian, FullGaussian
from variform.distributions.law import Law
from variform.distributions.temperature import Scaled, tempered


class GaussianMixturePrior(nn.Module):
    r"""$p(z) = \sum_k \pi_k\, N(z; \mu_k, \Sigma_k)$ with full covariances, as it was fitted: nothing is trained.

    Args:
        latent_dim: Number of latent dimensions.
        components: K.

    Example:
        >>> GaussianMixturePrior(3, components=5)(None).sample((4,)).shape
        torch.Size([4, 3])
    """

    logits: Tensor
    loc: Tensor
    scale_tril: Tensor

    def __init__(self, latent_dim: int, *, components: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.register_buffer("logits", torch.zeros(components))
        self.register_buffer("loc", torch.zeros(components, latent_dim))
        self.register_buffer("scale_tril", torch.eye(latent_dim).repeat(components, 1, 1))

    def extra_repr(self) -> str:
        """Shown when the module is printed."""
        return f"latent_dim={self.latent_dim}, components={len(self.logits)}"

    def forward(self, encode: object) -> Mixture:
        """The law."""
        del encode
        return Mixture(FullGaussian(self.loc, self.scale_tril), self.logits)


class PosteriorMixturePrior(nn.Module):
    r"""$p(z) = \tfrac1K \sum_k N(z; \mu_k, \operatorname{diag}\sigma_k^2)$, the posteriors of K rows.

    Args:
        latent_dim: Number of latent dimensions.
        components: K.

    Example:
        >>> PosteriorMixturePrior(3, components=5)(None).sample((4,)).shape
        torch.Size([4, 3])
    """

    loc: Tensor
    log_var: Tensor

    def __init__(self, latent_dim: int, *, components: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.register_buffer("loc", torch.zeros(components, latent_dim))
        self.register_buffer("log_var", torch.zeros(components, latent_dim))

    def extra_repr(self) -> str:
        """Shown when the module is printed."""
        return f"latent_dim={self.latent_dim}, components={len(self.loc)}"

    def forward(self, encode: object) -> Mixture:
        """The law."""
        del encode
        return Mixture(DiagonalGaussian(self.loc, self.log_var), self.loc.new_zeros(len(self.loc)))


class ScaledFlowPrior(nn.Module):
    """A flow over z standardised: its splines end at 5, and what lies beyond would be left to Gaussian tails.

    Args:
        latent_dim: Number of latent dimensions.
        transforms: Autoregressive steps.
        hidden: Widths of the hidden layers of each step.

    Example:
        >>> ScaledFlowPrior(3)(None).sample((4,)).shape
        torch.Size([4, 3])
    """

    compilable = False
    loc: Tensor
    scale: Tensor

    def __init__(
        self, latent_dim: int, *, transforms: int = 3, hidden: tuple[int, ...] = (64, 64)
    ) -> None:
        super().__init__()
        from variform.model.flows import FlowPrior  # slow to import

        self.flow = FlowPrior(latent_dim, transforms=transforms, hidden=hidden)
        self.register_buffer("loc", torch.zeros(latent_dim))
        self.register_buffer("scale", torch.ones(latent_dim))

    def forward(self, encode: object) -> Scaled:
        """The law."""
        return Scaled(self.flow(encode), self.loc, self.scale)


class TemperedPrior(nn.Module):
    """A prior at a temperature; see `tempered`.

    Args:
        prior: The prior.
        temperature: Above 0; 1 leaves the prior as it is.

    Raises:
        ValueError: for a temperature that is not above 0.

    Example:
        >>> TemperedPrior(GaussianMixturePrior(2, components=1), 0.5)(None).variance
        tensor([0.2500, 0.2500])
    """

    @checked
    def __init__(self, prior: nn.Module, temperature: Positive) -> None:
        super().__init__()
        self.prior, self.temperature = prior, temperature
        self.compilable = getattr(prior, "compilable", True)

    def extra_repr(self) -> str:
        """Shown when the module is printed."""
        return f"temperature={self.temperature}"

    def forward(self, encode: Any) -> Law:
        """The law."""
        return tempered(self.prior(encode), self.temperature)
