"""From a configuration to the posterior and the prior of several latents."""

from typing import Any

from torch import nn

from variform.config.model import ModelConfig
from variform.data.schema import Schema
from variform.model.deep_networks import Stages
from variform.model.hierarchy import (
    HierarchicalPosterior,
    HierarchicalPrior,
    LadderPosterior,
    Network,
    level_networks,
)
from variform.model.networks import MLP, Parts


def stages_of(config: ModelConfig, schema: Schema) -> Stages | None:
    """The stages of a convolutional hierarchy; None for a model whose latents are no images.

    Raises:
        ValueError: for rows that are no whole images, and for what such a hierarchy cannot be.
    """
    if config.network != "very-deep":
        return None
    if schema.kind != "image" or schema.gaps or schema.conditions:
        raise ValueError(
            "`network='very-deep'` needs whole images without conditions; got "
            f"{_in_words(schema)}. Use `network='mlp'` or `network='residual'`."
        )
    parts = Parts(
        config.activation,
        config.gated,
        config.dropout,
        config.layer_norm,
        config.initialisation,
        residual=True,
    )
    return Stages(schema.shape, config.latents, config.filters, parts)


def _in_words(schema: Schema) -> str:
    if schema.kind != "image":
        return "a table"
    return "images with gaps" if schema.gaps else "images under a condition"


def posterior_of(
    config: ModelConfig, stages: Stages | None
) -> HierarchicalPosterior | LadderPosterior:
    """q(z|x) of several latents."""
    std = config.posterior_std
    if stages is not None:
        below = range(len(stages.filters) - 1)
        networks = [stages.of_level(number, 2 * stages.filters[number]) for number in below]
        return HierarchicalPosterior(stages.widths, networks, evidence=stages.evidence, std=std)
    if config.posterior == "ladder":
        return LadderPosterior(config.latents, std=std)
    evidence = config.hidden[-1] if config.hidden else 2 * max(config.latents)
    networks = level_networks(config.latents, _dense(config, config.hidden), evidence)
    each = (evidence,) * len(networks)
    return HierarchicalPosterior(config.latents, networks, evidence=each, std=std)


def prior_of(
    config: ModelConfig, stages: Stages | None, hidden: tuple[int, ...], top: nn.Module
) -> HierarchicalPrior:
    """p(z) of several latents.

    Args:
        config: The model's configuration.
        stages: As `stages_of` gives them.
        hidden: Widths of the hidden layers of each level's network, where it has no stages.
        top: The prior of the top.
    """
    std = config.posterior_std
    if stages is None:
        networks = level_networks(config.latents, _dense(config, hidden))
        return HierarchicalPrior(config.latents, networks, top, std=std)
    below = range(len(stages.filters) - 1)
    networks = [stages.of_level(number, stages.filters[number]) for number in below]
    return HierarchicalPrior(stages.widths, networks, top, downwards=stages.trunk(), std=std)


def dense_options(config: ModelConfig) -> dict[str, Any]:
    """What the dense layers of every network of a model are."""
    names = ("activation", "gated", "dropout", "layer_norm", "initialisation")
    return {name: getattr(config, name) for name in names}


def _dense(config: ModelConfig, hidden: tuple[int, ...]) -> Network:
    options = dense_options(config)
    return lambda given, width: MLP((given,), (2, width), hidden=hidden, **options)
