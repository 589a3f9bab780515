"""The file of a sampler: its law, its facts, and the model that it was fitted to."""

import itertools
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from torch import Tensor, nn

from variform.config.choices import SamplerKind
from variform.evaluation.samplers import Sampler, like_model
from variform.export.model_file import build_bounded
from variform.model.fitted_priors import GaussianMixturePrior, ScaledFlowPrior
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
    write_sealed(path, header, sampler.prior.state_dict(), has_flow=sampler.kind == "flow")


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
        if header["latent_dim"] != vae.latent_dim or kind not in get_args(SamplerKind):
            raise LookupError("it is of another kind, or of other latents")
        prior = build_bounded(lambda: _build(kind, vae.latent_dim, facts, tensors), tensors)
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError) as error:
        raise ValueError(
            f"{path.name} must hold what its header describes; {reprlib.repr(str(error))}. Fit it anew."
        ) from error
    return Sampler(kind, like_model(vae, prior).requires_grad_(False), facts)


def _build(kind: SamplerKind, latent_dim: int, facts: dict[str, Any], tensors: Mapping[str, Tensor]) -> nn.Module:
    """The prior that a file describes, if it is no larger than the tensors."""
    sizes = [facts["components"]] if kind == "gmm" else [facts["transforms"], *facts["hidden"]]
    weights = sum(value.numel() for value in tensors.values())
    products = [first * second for first, second in itertools.pairwise(sizes[1:])]
    if min(sizes) < 1 or max([sizes[0] * latent_dim, *sizes, *products]) > weights or len(sizes) > len(tensors):
        raise LookupError("it describes a larger law than the file holds")
    if kind == "gmm":
        return GaussianMixturePrior(latent_dim, components=facts["components"])
    return ScaledFlowPrior(latent_dim, transforms=facts["transforms"], hidden=tuple(facts["hidden"]))


def identity(vae: VAE) -> str:
    """SHA-256 of a model's weights, by which files that belong to it know it."""
    return checksum("", {name: value.detach().cpu() for name, value in vae.state_dict().items()})
