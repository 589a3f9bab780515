"""From a configuration and a schema to a VAE."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from variform.config.checks import checked
from variform.config.model import (
    CODE_PRIORS,
    CODED,
    LATENTS,
    OWN_PARTS,
    ModelConfig,
    require_levels,
)
from variform.data.schema import Schema
from variform.model.codes import (
    AutoregressivePrior,
    CategoricalPosterior,
    CodesPrior,
    FSQPosterior,
    JointPosterior,
    JointPrior,
    LFQPosterior,
    VQPosterior,
)
from variform.model.curved import (
    PowerSphericalPosterior,
    UniformSpherePrior,
    VonMisesFisherPosterior,
    WrappedNormalPosterior,
    WrappedNormalPrior,
)
from variform.model.deep_networks import BottomUp, TopDown
from variform.model.features import FilledGaps, LogCounts, TableFeatures
from variform.model.levels import dense_options, posterior_of, prior_of, stages_of
from variform.model.likelihoods import Likelihood, build_likelihood, usual_likelihood
from variform.model.networks import MLP, ConvolutionalDecoder, ConvolutionalEncoder
from variform.model.own_networks import Factory, code_of, make
from variform.model.posteriors import DiagonalPosterior, FullCovariancePosterior, PlanarPosterior
from variform.model.priors import MixturePrior, StandardNormalPrior, VampPrior
from variform.model.sizes import sized
from variform.model.vae import VAE

if TYPE_CHECKING:
    from variform.model.vae import Posterior, Prior

from variform.system.draws import seeded
from variform.system.import_path import Code


@checked
def build_vae(
    config: ModelConfig,
    schema: Schema,
    *,
    seed: int = 0,
    moments: tuple[Tensor, Tensor] | None = None,
    encoder: Factory | Code | None = None,
    decoder: Factory | Code | None = None,
) -> VAE:
    """The VAE that a configuration and a schema describe, with seeded initial weights.

    Args:
        config: The model's configuration; a likelihood that it leaves open is `usual_likelihood`.
        schema: What the data are.
        seed: Seed of the initial weights; the global random state is left as it was.
        moments: Mean and variance of the prepared training rows, (*event) each, as `Dataset.moments` gives them; they
            are what `config.centre` uses, and where a VampPrior's pseudo-inputs start.
        encoder: A class or function that makes the encoder when it is called with the shapes of one input and of one
            output, and by name with `context_dim` where the model is conditional; instead of `config.encoder`.
        decoder: One that makes the decoder, from the shapes of one input and of one output.

    Raises:
        ValueError: when the likelihood is not one of such data, and for a network of the user's own that fails or has
            another output.

    Example:
        >>> from variform.data.reading import read
        >>> schema = read("digits").schema
        >>> build_vae(ModelConfig(latent_dim=2), schema).latent_dim
        2
        >>> from torch import nn
        >>> def linear(in_shape, out_shape):
        ...     return nn.Sequential(nn.Linear(*in_shape, 64), nn.Unflatten(1, out_shape))
        >>> build_vae(ModelConfig(latent_dim=2), schema, decoder=linear).decoder[0].in_features
        2
    """
    own = _own_networks(config, {"encoder": encoder, "decoder": decoder})
    codes = {part: code for part, (code, _) in own.items()}
    paths: dict[str, Any] = {part: code.path for part, code in codes.items()}
    config = replace(config, **paths)
    config = completed(config, schema)
    likelihood = build_likelihood(config, schema)
    features = _build_features(schema, likelihood)
    seen = schema.shape if features is None else features.out_shape
    with seeded(seed):
        posterior = _build_posterior(config, schema)
        networks = _build_networks(
            config, schema, own, seen, posterior.params_shape, likelihood.params_shape
        )
        if config.size_factor is not None:
            encoding, decoding = networks
            latents = posterior.latent_dim
            networks = encoding, sized(decoding, config.size_factor, latents, schema, likelihood)
        prior = _build_prior(config, schema, moments)
        classifier = _build_classifier(config, schema, seen) if config.classifier else None
        vae = VAE(
            *networks,
            posterior=posterior,
            prior=prior,
            likelihood=likelihood,
            context_dim=schema.context_dim,
            classifier=classifier,
            features=features,
        )
    if features is not None and moments is not None:
        features.start_at(*moments)
    if config.centre and moments is not None:
        mean, variance = moments
        with torch.no_grad():
            # Other features have mean zero already.
            if features is None or isinstance(features, FilledGaps):
                for network in (vae.encoder, classifier):
                    centre = getattr(network, "centre", None)
                    if isinstance(centre, Tensor):  # those of the user's own may have none
                        centre.copy_(mean)
        params = likelihood.start_at(
            mean, variance
        )  # which also starts the variance that it learns
        start_at = getattr(vae.decoder, "start_at", None)
        if callable(start_at):  # likewise
            start_at(params)
    vae.config, vae.schema, vae.codes = config, schema, codes
    return vae


def _own_networks(
    config: ModelConfig, given: Mapping[str, Factory | Code | None]
) -> dict[str, tuple[Code, Factory]]:
    """The code of networks of the user's own, and what makes them."""
    named = {part: given[part] or getattr(config, part) for part in OWN_PARTS}
    return {part: code_of(part, network) for part, network in named.items() if network is not None}


def completed(config: ModelConfig, schema: Schema) -> ModelConfig:
    """The configuration with what it leaves open, as far as the schema tells it."""
    require_levels(config)
    likelihood = config.likelihood
    if likelihood == "auto":
        likelihood = usual_likelihood(schema)
    flat = config.latent_dim or LATENTS
    latent_dim = flat if config.is_spherical or config.posterior == "joint" else config.latent_width
    stages = stages_of(config, schema)
    latent_dim = latent_dim if stages is None else sum(stages.widths)
    prior = config.prior
    if config.has_codes and prior == "normal":
        prior = _usual_code_prior(config)
    return replace(config, likelihood=likelihood, latent_dim=latent_dim, prior=prior)


def _usual_code_prior(config: ModelConfig) -> Literal["independent", "autoregressive"]:
    """Of points it costs no more to have codes depend on each other; of relaxed draws it would cost the closed form."""
    is_point = config.posterior in CODED and config.posterior != "categorical"
    is_several = config.codes * (config.stages if config.posterior == "vq" else 1) > 1
    return "autoregressive" if is_point and is_several else "independent"


def _build_networks(
    config: ModelConfig,
    schema: Schema,
    own: Mapping[str, tuple[Code, Factory]],
    seen: tuple[int, ...],
    encoded: tuple[int, ...],
    decoded: tuple[int, ...],
) -> tuple[nn.Module, nn.Module]:
    """The encoder, with a so shaped input, and the decoder, both with so shaped outputs."""
    given = (config.latent_width + schema.context_dim,)
    stages = stages_of(config, schema)
    if stages is not None:
        return BottomUp(stages), TopDown(stages, decoded)
    if "encoder" in own:
        encoder = make("encoder", *own["encoder"], seen, encoded, schema.context_dim)
    else:
        encoder = _build_encoder(config, seen, encoded, schema.context_dim)
    if "decoder" in own:
        decoder = make("decoder", *own["decoder"], given, decoded)
    else:
        decoder = _build_decoder(config, given, decoded)
    return encoder, decoder


def _build_decoder(
    config: ModelConfig, given: tuple[int, ...], decoded: tuple[int, ...]
) -> MLP | ConvolutionalDecoder:
    decoder = MLP if config.network == "mlp" else ConvolutionalDecoder
    return decoder(given, decoded, hidden=_decoder_hidden(config), **_options(config))


def _decoder_hidden(config: ModelConfig) -> tuple[int, ...]:
    mirrored = tuple(reversed(config.hidden))
    return mirrored if config.decoder_hidden is None else config.decoder_hidden


def _build_encoder(
    config: ModelConfig, seen: tuple[int, ...], encoded: tuple[int, ...], context_dim: int
) -> MLP | ConvolutionalEncoder:
    encoder = MLP if config.network == "mlp" else ConvolutionalEncoder
    return encoder(seen, encoded, hidden=config.hidden, context_dim=context_dim, **_options(config))


def _build_classifier(
    config: ModelConfig, schema: Schema, seen: tuple[int, ...]
) -> MLP | ConvolutionalEncoder:
    """A network like the encoder, but without a context."""
    if not (schema.conditions and schema.conditions[0].categories):
        raise ValueError(
            "a classifier needs a model that is conditioned on a category first; this one is conditioned on "
            f"{schema.conditions[0].name if schema.conditions else 'nothing'}. Use `condition=['label']`."
        )
    return _build_encoder(config, seen, (schema.conditions[0].width,), 0)


def _options(config: ModelConfig) -> dict[str, Any]:
    stages = {"filters": config.filters, "residual": config.network == "residual"}
    return dense_options(config) | (stages if config.network != "mlp" else {})


def _build_features(
    schema: Schema, likelihood: Likelihood
) -> FilledGaps | LogCounts | TableFeatures | None:
    if schema.kinds:
        levels = [len(names) for names in schema.categories]
        spikes = [[(x, width) for x, width, _ in own] for own in schema.scaled_spikes()]
        return TableFeatures(schema.kinds, levels=levels, gaps=schema.gaps, spikes=spikes)
    if likelihood.support == "counts":
        return LogCounts(schema.shape)
    return FilledGaps(schema.shape) if schema.gaps else None


def _build_posterior(config: ModelConfig, schema: Schema) -> "Posterior":
    if config.has_codes:
        return _build_codes(config)
    if config.latents:
        return posterior_of(config, stages_of(config, schema))
    steps: dict[str, Any] = {"transforms": config.transforms, "std": config.posterior_std}
    if config.posterior in ("iaf", "maf"):
        from variform.model.flows import IAFPosterior, MAFPosterior  # slow to import

        flow = IAFPosterior if config.posterior == "iaf" else MAFPosterior
        return flow(config.latent_width, **steps)
    if config.posterior == "planar":
        return PlanarPosterior(config.latent_width, **steps)
    if config.posterior == "wrapped-normal":
        return WrappedNormalPosterior(
            config.latent_width, curvature=config.curvature, std=config.posterior_std
        )
    if config.is_spherical:
        on_sphere = {
            "von-mises-fisher": VonMisesFisherPosterior,
            "power-spherical": PowerSphericalPosterior,
        }
        return on_sphere[config.posterior](config.dimensions, std=config.posterior_std)
    family = {"diagonal": DiagonalPosterior, "full": FullCovariancePosterior}[config.posterior]
    return family(config.latent_width, std=config.posterior_std)


def _build_codes(config: ModelConfig) -> "Posterior":
    """The posterior of a model that has codes."""
    size = (config.codes, config.values)
    if config.posterior == "vq":
        names = ("embedding_dim", "stages", "decay", "commitment")
        return VQPosterior(*size, **{name: getattr(config, name) for name in names})
    if config.posterior == "fsq":
        return FSQPosterior(config.codes, levels=config.levels)
    if config.posterior == "lfq":
        weights = {"entropy_weight": config.entropy_weight, "commitment": config.commitment}
        return LFQPosterior(*size, **weights)
    names = ("relaxation", "temperature", "temperature_least", "temperature_rate")
    codes = CategoricalPosterior(*size, **{name: getattr(config, name) for name in names})
    if config.posterior == "categorical":
        return codes
    return JointPosterior(config.latent_dim or LATENTS, codes, std=config.posterior_std)


def _build_code_prior(config: ModelConfig) -> "Prior":
    """The prior of a model that has codes."""
    if config.prior not in CODE_PRIORS:
        raise ValueError(
            f"codes need a prior over codes; got `prior={config.prior!r}`. Use `prior='independent'` or "
            "`prior='autoregressive'`."
        )
    size = (config.codes, config.values)
    if config.posterior == "vq":
        size = (config.codes * config.stages, config.values)
    if config.posterior == "fsq":
        size = (config.codes, math.prod(config.levels))
    if config.prior == "autoregressive":
        if size[0] == 1:
            raise ValueError(
                "`prior='autoregressive'` needs codes before others; got one code. Use `prior='independent'`."
            )
        codes = AutoregressivePrior(*size)
    else:
        codes = CodesPrior(*size, is_learned=config.prior == "independent")
    if config.posterior == "joint":
        return JointPrior(config.latent_dim or LATENTS, codes)
    return codes


def _build_prior(
    config: ModelConfig, schema: Schema, moments: tuple[Tensor, Tensor] | None
) -> "Prior":
    if config.has_codes:
        return _build_code_prior(config)
    if not config.latents:
        return _build_top(config, config.latent_width, schema, moments)
    stages = stages_of(config, schema)
    width = config.latents[-1] if stages is None else stages.widths[-1]
    top = _build_top(config, width, schema, moments)
    return prior_of(config, stages, _decoder_hidden(config), top)


def _build_top(
    config: ModelConfig, width: int, schema: Schema, moments: tuple[Tensor, Tensor] | None
) -> "Prior":
    if config.is_spherical and config.prior == "uniform":
        return UniformSpherePrior(config.dimensions)
    if config.prior in CODE_PRIORS:
        raise ValueError(
            f"`prior={config.prior!r}` is one over codes; got `posterior={config.posterior!r}`, whose latents are "
            "numbers. Use `prior='normal'`, or `posterior='categorical'`."
        )
    if config.prior == "flow":
        from variform.model.flows import FlowPrior  # slow to import

        return FlowPrior(width, transforms=config.transforms)
    if config.posterior == "wrapped-normal" and config.prior == "normal":
        return WrappedNormalPrior(width, curvature=config.curvature)
    if config.prior == "normal":
        return StandardNormalPrior(width)
    if config.prior == "mixture":
        return MixturePrior(width, components=config.components)
    if schema.kinds:
        raise ValueError(
            "the pseudo-inputs of `prior='vamp'` move between rows, which a mixed table has no place for; got "
            f"{schema.source}. Use `prior='mixture'`."
        )
    low, high = torch.zeros(1), torch.ones(1)
    if schema.binarise == "none":
        low, high = torch.tensor(schema.scaled_ranges()).T
        if schema.kind == "image":
            low, high = low.reshape(-1, 1, 1), high.reshape(-1, 1, 1)
    prior = VampPrior(schema.shape, components=config.components, low=low, high=high)
    if moments is not None:
        prior.start_at(*moments)
    return prior
