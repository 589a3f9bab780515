"""Where latents live: what lies between two of them, and what asks for a flat space."""

from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from variform.model.vae import VAE


class Space:
    """Flat latents, any real numbers; another space is a class below it.

    Example:
        >>> import torch
        >>> Space().between(torch.zeros(2), torch.ones(2), torch.tensor([[0.0], [0.5]]))
        tensor([[0.0000, 0.0000],
                [0.5000, 0.5000]])
    """

    name = "flat"
    is_flat = True

    def between(self, start: Tensor, end: Tensor, share: Tensor) -> Tensor:
        """The points at shares of the shortest way from `start` to `end`, (*batch, D); shapes broadcast."""
        return start + share * (end - start)


FLAT = Space()


def space_of(vae: "VAE") -> Space:
    """The space of a model's latents."""
    return getattr(vae.posterior, "space", FLAT)


def require_flat(vae: "VAE", what: str, instead: str) -> None:
    """Refuse what walks along straight lines, or along gradients, where latents do not lie in a flat space.

    Args:
        vae: The model.
        what: What needs it, as a sentence begins.
        instead: What to do.

    Raises:
        ValueError: for latents in another space.

    Example:
        >>> from variform import ModelConfig, build_vae, read
        >>> require_flat(build_vae(ModelConfig(), read("digits").schema), "annealing", "Use importance samples.")
    """
    space = space_of(vae)
    if not space.is_flat:
        raise ValueError(f"{what} needs latents in a flat space; got {space.name}. {instead}")
