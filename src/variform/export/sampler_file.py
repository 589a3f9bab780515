"""The file of a sampler: its law, its facts, and the model that it was fitted to."""

import itertools
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from variform.evaluation.samplers import SAMPLERS, Sampler, SamplerFacts, like_model
from variform.export.model_file import build_bounded
from variform.model.vae import VAE
from variform.system.sealing import checksum, read_sealed, write_sealed


def save_sampler(sampler: Sampler, vae: VAE, path: str | Path) -> None:
    """Write a sampler to one safetensors file, with the checksum of the weights of the model that it belongs to.

    Args:
        sampler: The sampler.
        vae: The model that it was fitted to.
        path: The file to write.
    """
    header = {
        "sampler": sampler.kind,
        "latent_dim": vae.latent_dim,
        "facts": sampler.facts,
        "fitted_to": identity(vae),
    }
    write_sealed(path, header, sampler.prior.state_dict(), has_flow=SAMPLERS[sampler.kind].has_flow)


def load_sampler(path: str | Path, vae: VAE) -> Sampler:
    """The sampler in a file that `save` wrote; it draws the same bits with the same seed.

    Args:
        path: The file.
        vae: The model that it was fitted to.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: for a file that is cut short, changed, of a newer version, no sampler, or another model's.
    """
    path = Path(path)
    header, tensors = read_sealed(path)
    if header.get("fitted_to") != identity(vae):
        raise ValueError(
            f"{path.name} must be a sampler fitted to this model; it is not. Fit it anew with variform sampler."
        )
    try:
        facts, kind = header["facts"], header["sampler"]
        if header["latent_dim"] != vae.latent_dim or kind not in SAMPLERS:
            raise LookupError("it is of another kind, or of other latents")
        prior = build_bounded(
            lambda: _build(SAMPLERS[kind], vae.latent_dim, facts, tensors), tensors
        )
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError) as error:
        raise ValueError(
            f"{path.name} must hold what its header describes; {reprlib.repr(str(error))}. Fit it anew."
        ) from error
    return Sampler(kind, like_model(vae, prior).requires_grad_(False), facts)


def _build(
    kind: SamplerFacts, latent_dim: int, facts: dict[str, Any], tensors: Mapping[str, Tensor]
) -> nn.Module:
    """The prior that a file describes, if it is no larger than the tensors."""
    options = {}
    for name, form in kind.sizes.items():
        size = facts[name]
        if not isinstance(size, form) or not _fits(size, latent_dim, tensors):
            raise LookupError("it describes a larger law than the file holds")
        options[name] = tuple(size) if isinstance(size, list) else size
    return kind.prior(latent_dim, **options)


def _fits(size: int | list[int], latent_dim: int, tensors: Mapping[str, Tensor]) -> bool:
    """Whether the tensors can hold so many parts, of a number for each latent, or layers of these widths."""
    weights = sum(value.numel() for value in tensors.values())
    if isinstance(size, int):
        return size >= 1 and size * latent_dim <= weights
    products = [first * second for first, second in itertools.pairwise(size)]
    is_small = max([*size, *products], default=0) <= weights and len(size) <= len(tensors)
    return is_small and min(size, default=1) >= 1


def identity(vae: VAE) -> str:
    """SHA-256 of a model's weights, by which files that belong to it know it."""
    return checksum("", {name: value.detach().cpu() for name, value in vae.state_dict().items()})
