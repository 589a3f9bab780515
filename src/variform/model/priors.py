"""Priors: p(z) standard normal, a learned mixture, or the mixture of the posteriors of learned pseudo-inputs."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from variform.distributions.compound import Mixture
from variform.distributions.gaussian import DiagonalGaussian, StandardNormal
from variform.distributions.law import Law
from variform.system import draws

Encode = Callable[[Tensor], Law]


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

    def extra_repr(self) -> str:
        """Shown when the module is printed."""
        return f"latent_dim={self.latent_dim}"

    def forward(self, encode: Encode | None) -> StandardNormal:
        """The law; a prior that is made from posteriors calls `encode`, this one has no need of it."""
        del encode
        return StandardNormal(self.latent_dim, like=self.zero)


class MixturePrior(nn.Module):
    r"""$p(z) = \sum_k \pi_k\, N(z; \mu_k, \operatorname{diag}\sigma_k^2)$, all of it learned.

    It starts with equal weights and half of the variance within the components, half between them: as a whole it has
    about the mean and variance of N(0, I), and no two components are the same.

    Args:
        latent_dim: Number of latent dimensions.
        components: K.

    Reference:
        Tomczak and Welling (2018), the mixture of Gaussians beside which the VampPrior stands.

    Example:
        >>> MixturePrior(3, components=5)(None).sample((4,)).shape
        torch.Size([4, 3])
    """

    def __init__(self, latent_dim: int, *, components: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.logits = nn.Parameter(torch.zeros(components))
        self.loc = nn.Parameter(0.5**0.5 * torch.randn(components, latent_dim))
        self.log_var = nn.Parameter(torch.full((components, latent_dim), 0.5).log())

    def extra_repr(self) -> str:
        """Shown when the module is printed."""
        return f"latent_dim={self.latent_dim}, components={len(self.logits)}"

    def forward(self, encode: Encode | None) -> Mixture:
        """The law."""
        del encode
        logits, loc, log_var = (
            part.to(torch.promote_types(part.dtype, torch.float32))
            for part in (self.logits, self.loc, self.log_var)
        )
        return Mixture(DiagonalGaussian(loc, log_var), logits)


class VampPrior(nn.Module):
    r"""$p(z) = \tfrac1K \sum_k q(z|u_k)$, the posteriors of K learned pseudo-inputs $u_k$ in the space of the data.

    $u = \text{low} + (\text{high} - \text{low}) / (1 + e^{-h})$ keeps them in the data's range, and nowhere does a
    gradient end; without a range, $u = h$.

    Args:
        event_shape: Shape of one example.
        components: K.
        low: Least values of the data as the model sees them, a number or (*event).
        high: Greatest values, likewise; where there is no width between them, the pseudo-inputs cannot move.

    Reference:
        Tomczak and Welling (2018).

    Example:
        >>> encode = lambda x: DiagonalGaussian(x, torch.zeros_like(x))
        >>> VampPrior((3,), components=5)(encode).sample((4,)).shape
        torch.Size([4, 3])
    """

    low: Tensor
    width: Tensor

    def __init__(
        self,
        event_shape: tuple[int, ...],
        *,
        components: int,
        low: Tensor | float | None = None,
        high: Tensor | float | None = None,
    ) -> None:
        super().__init__()
        self.raw = nn.Parameter(torch.randn(components, *event_shape))
        self.is_bounded = low is not None and high is not None
        edges = (low, high) if self.is_bounded else (0.0, 0.0)
        least, greatest = (torch.as_tensor(edge).to(self.raw) for edge in edges)
        # Not part of the state: they follow from the schema.
        self.register_buffer("low", least, persistent=False)
        self.register_buffer("width", greatest - least, persistent=False)

    def extra_repr(self) -> str:
        """Shown when the module is printed."""
        return f"event_shape={tuple(self.raw.shape[1:])}, components={len(self.raw)}"

    @property
    def pseudo_inputs(self) -> Tensor:
        """u, (K, *event), as the model sees data."""
        return self.low + self.width * torch.sigmoid(self.raw) if self.is_bounded else self.raw

    def forward(self, encode: Encode) -> Mixture:
        """The law, from the posteriors that `encode` gives; it is not kept, for its weights belong to the encoder."""
        count = len(self.raw)
        with draws.sharing(0, count, count):  # every process has all of the pseudo-inputs
            components = encode(self.pseudo_inputs)  # eq: vamp-prior
        return Mixture(components, components.mean.new_zeros(count))

    @torch.no_grad()
    def start_at(self, mean: Tensor, variance: Tensor) -> None:
        """Pseudo-inputs with the mean and variance that the data have, (*event) each, well within their range."""
        start = mean.to(self.raw) + variance.to(self.raw).sqrt() * torch.randn_like(self.raw)
        self.put_at(start, within=0.05)

    @torch.no_grad()
    def put_at(self, points: Tensor, *, within: float = 1e-6) -> None:
        """Move the pseudo-inputs to `points`, (K, *event), at least this share of the range away from its ends."""
        if self.is_bounded:
            share = (points - self.low) / self.width.clamp_min(torch.finfo(points.dtype).tiny)
            points = torch.logit(share.nan_to_num(0.5), eps=within)
        self.raw.copy_(points)
