"""Posteriors and a prior that autoregressive maps make of Gaussian noise."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from variform.config.checks import checked
from variform.distributions.flows import (
    InverseAutoregressive,
    MaskedAutoregressive,
    Steps,
    weights_of_steps,
)
from variform.distributions.gaussian import DiagonalGaussian, StandardNormal
from variform.model.posteriors import Std, log_std, raw_name


class _FlowPosterior(nn.Module):
    """What the posteriors on autoregressive flows share; the class after it says which way the map is cheap."""

    compilable = False
    law: ClassVar[type[InverseAutoregressive] | type[MaskedAutoregressive]]

    @checked
    def __init__(
        self,
        latent_dim: int,
        *,
        context: int = 64,
        transforms: int = 3,
        hidden: tuple[int, ...] = (64, 64),
        std: Std = "softplus",
    ) -> None:
        super().__init__()
        self.latent_dim, self.context, self.std = latent_dim, context, std
        self.steps = Steps(latent_dim, context=context, transforms=transforms, hidden=hidden)

    def extra_repr(self) -> str:
        """Shown when the module is printed."""
        return f"latent_dim={self.latent_dim}, transforms={len(self.steps.steps)}, std={self.std}"

    @property
    def params_shape(self) -> tuple[int, ...]:
        """What the encoder must give per example."""
        return (2 * self.latent_dim + self.context,)

    @property
    def param_counts(self) -> dict[str, int]:
        """What the encoder's numbers are, in the order of the params, and how many of each kind."""
        counts = {"means μ": self.latent_dim, raw_name(self.std): self.latent_dim}
        return counts | {"context of the flow": self.context}

    def forward(self, params: Tensor) -> InverseAutoregressive | MaskedAutoregressive:
        """The law that `params` describe."""
        params = params.to(torch.promote_types(params.dtype, torch.float32))
        mean, raw, context = params.split((self.latent_dim, self.latent_dim, self.context), -1)
        noise = DiagonalGaussian(mean, 2 * log_std(raw, self.std))
        return self.law(noise, self.steps, weights_of_steps(self.steps), context)


class IAFPosterior(_FlowPosterior):
    r"""$q(z|x)$ by inverse autoregressive flow: the encoder gives $\mu(x)$, $\sigma(x)$ and a context h(x).

    $z_0 \sim N(\mu, \sigma^2)$; each step scales and shifts every dimension by what a masked network makes of the
    dimensions before it and of h.

    Args:
        latent_dim: Number of latent dimensions D.
        context: Width of h.
        transforms: Number of steps.
        hidden: Widths of the hidden layers of each step.
        std: How the encoder's output becomes $\sigma$, as in `DiagonalPosterior`.

    Shape:
        params (B, 2 D + context) to a law over (B, D).

    Reference:
        Kingma, Salimans, Jozefowicz, Chen, Sutskever and Welling (2016), algorithm 1.

    Example:
        >>> IAFPosterior(3)(torch.zeros(5, 70)).rsample((2,)).shape
        torch.Size([2, 5, 3])
    """

    law_name = "an inverse autoregressive flow"
    law = InverseAutoregressive


class MAFPosterior(_FlowPosterior):
    r"""$q(z|x)$ by a masked autoregressive flow: the encoder gives $\mu(x)$, $\sigma(x)$ and a context h(x).

    $z = f^{-1}(z_0; h)$, $z_0 \sim N(\mu, \sigma^2)$, where each step of f scales and shifts every dimension by what a
    masked network makes of the dimensions before it and of h. The density of any z is one pass, a draw one pass for
    every dimension: the opposite of `IAFPosterior`, and slower to train.

    Args:
        latent_dim: Number of latent dimensions D.
        context: Width of h.
        transforms: Number of steps.
        hidden: Widths of the hidden layers of each step.
        std: How the encoder's output becomes $\sigma$, as in `DiagonalPosterior`.

    Shape:
        params (B, 2 D + context) to a law over (B, D).

    Reference:
        Papamakarios, Pavlakou and Murray (2017), section 3.

    Example:
        >>> MAFPosterior(3)(torch.zeros(5, 70)).rsample((2,)).shape
        torch.Size([2, 5, 3])
    """

    law_name = "a masked autoregressive flow"
    law = MaskedAutoregressive


class FlowPrior(nn.Module):
    r"""p(z) by a masked autoregressive flow of rational-quadratic splines, learned.

    Args:
        latent_dim: Number of latent dimensions.
        transforms: Number of steps.
        hidden: Widths of the hidden layers of each step.

    Reference:
        Papamakarios, Pavlakou and Murray (2017) for the flow; Durkan, Bekasov, Murray and Papamakarios (2019) for the
        splines.

    Example:
        >>> FlowPrior(3)(None).sample((4,)).shape
        torch.Size([4, 3])
    """

    compilable = False
    is_twice_differentiable = False

    def __init__(
        self, latent_dim: int, *, transforms: int = 3, hidden: tuple[int, ...] = (64, 64)
    ) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.steps = Steps(latent_dim, transforms=transforms, univariate="spline", hidden=hidden)

    def extra_repr(self) -> str:
        """Shown when the module is printed."""
        return f"latent_dim={self.latent_dim}, transforms={len(self.steps.steps)}"

    def forward(self, encode: object) -> MaskedAutoregressive:
        """The law."""
        del encode
        weights = weights_of_steps(self.steps)
        noise = StandardNormal(self.latent_dim, like=next(iter(weights.values())))
        return MaskedAutoregressive(noise, self.steps, weights, None)
