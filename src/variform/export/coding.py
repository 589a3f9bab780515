"""What `codec` needs of a model, two networks as steps and facts of the three laws; or why it cannot be a codec."""

import math
from typing import Any

import numpy as np
from torch import Tensor

from variform.export import codec
from variform.export.lowering import (
    Lowering,
    Program,
    lower_features,
    lower_network,
    lower_preparation,
)
from variform.export.plain import plain
from variform.model.likelihoods import (
    BernoulliLikelihood,
    CategoricalLikelihood,
    Likelihood,
    LogisticLikelihood,
    Step,
)
from variform.model.posteriors import DiagonalPosterior
from variform.model.priors import MixturePrior, StandardNormalPrior, VampPrior
from variform.model.vae import VAE

Array = np.ndarray[Any, np.dtype[Any]]

_REACH = 7.0  # standard deviations on both sides of a component that bins cover


def lower_codec(vae: VAE, model: dict[str, Array]) -> dict[str, Any]:
    """The encoder and the decoder as steps without what only a mean needs, and the laws around them, as plain facts.

    Args:
        vae: A VAE made by `build_vae`.
        model: Arrays by the names that facts use; those of the codec are added.

    Raises:
        ValueError: for a model that has no probabilities of what it holds, or laws that cannot be coded one number
            after another, with what to train instead.

    Example:
        >>> from variform import ModelConfig, build_vae, read
        >>> vae = build_vae(ModelConfig(latent_dim=2, likelihood="logistic"), read("digits").schema)
        >>> lower_codec(vae, {})["groups"][0]["law"]
        'logistic'
    """
    schema = vae.schema
    if schema is None or vae.config is None:
        raise ValueError(
            "a codec must be a VAE made by build_vae; this one was put together by hand."
        )
    if vae.context_dim:
        raise ValueError(
            "a codec must be a model of the rows alone; this one is conditional. Train it without `condition`."
        )
    if not isinstance(vae.posterior, DiagonalPosterior):
        raise ValueError(
            f"a codec must have q(z|x) with independent latents; this one has {type(vae.posterior).__name__}. Train "
            "with `posterior='diagonal'`."
        )
    if schema.gaps or schema.kinds:
        raise ValueError(
            "a codec must be a model of whole rows of levels; this one is of a mixed table or of rows with gaps."
        )
    size = math.prod(vae.event_shape)
    group = _group(vae.likelihood, size)
    levels = group["levels"]
    encoding = Lowering(vae.event_shape, type="float64" if any(schema.is_far) else "float32")
    lower_preparation(encoding, schema)
    if vae.features is not None:
        lower_features(encoding, vae.features)
    lower_network(encoding, vae.encoder)
    encoding.reshape((2 * vae.latent_dim,))
    decoding = Lowering((vae.latent_dim,))
    lower_network(decoding, vae.decoder)
    shift = schema.per_value(schema.shift).flatten()
    scale = schema.per_value(schema.scale).flatten() / (levels - 1)
    facts = {
        "latents": vae.latent_dim,
        "std": vae.posterior.std,
        "encoder": _steps("codec encoder", encoding, model),
        "decoder": _steps("codec decoder", decoding, model),
        "shape": list(vae.event_shape),
        "shift": shift.tolist(),
        "scale": scale.tolist(),
        "levels": [levels] * size,
        "groups": [group],
    }
    return facts | _prior(vae, model)


def _steps(part: str, lowering: Lowering, model: dict[str, Array]) -> list[Step]:
    """The steps in the words of `reader`, with their arrays in `model`."""
    program = Program((), 0, lowering.shape, lowering.steps, lowering.weights)
    return [plain(step, part, program, model) for step in lowering.steps]


def _group(likelihood: Likelihood, size: int) -> dict[str, Any]:
    """The law of all values, which share one."""
    columns = {"columns": list(range(size)), "params": [0, math.prod(likelihood.params_shape)]}
    if type(likelihood) is BernoulliLikelihood:
        return {"law": "bernoulli", "levels": 2, **columns}
    if type(likelihood) is CategoricalLikelihood:
        return {"law": "categorical", "levels": likelihood.levels, **columns}
    if type(likelihood) is LogisticLikelihood:
        bounds = {
            "locations": list(likelihood.locations),
            "log_scales": list(likelihood.LOG_SCALES),
        }
        return {"law": "logistic", "levels": likelihood.levels, **bounds, **columns}
    if likelihood.is_density:
        raise ValueError(
            f"a codec must have probabilities; {type(likelihood).__name__} has a density, and no number of bits gives "
            "a real number exactly. Train with `likelihood='bernoulli'` on zeros and ones, with 'logistic' or "
            "'categorical' on levels such as pixels."
        )
    raise ValueError(
        f"a codec must have a law that can be coded; {type(likelihood).__name__} has none yet."
    )


def _prior(vae: VAE, model: dict[str, Array]) -> dict[str, Any]:
    """Where bins of latents lie, and the names of the arrays of a mixture."""
    count = codec.COARSE * codec.FINE
    if isinstance(vae.prior, StandardNormalPrior):
        low = np.full(vae.latent_dim, -_REACH)
        return {"low": low.tolist(), "width": (-2 * low / count).tolist()}
    if isinstance(vae.prior, MixturePrior):
        loc, std = _numbers(vae.prior.loc), codec.exp(_numbers(vae.prior.log_var) / 2)
        logits = _numbers(vae.prior.logits)
    elif isinstance(vae.prior, VampPrior):
        loc, std = _posteriors_of_pseudo_inputs(vae, vae.prior)
        logits = np.zeros(len(loc))
    else:
        raise ValueError(
            f"a codec must have the prior N(0, I) or a mixture; this one has {type(vae.prior).__name__}. Train with "
            "`prior='normal'`, 'mixture' or 'vamp'."
        )
    low = (loc - _REACH * std).min(0)
    width = ((loc + _REACH * std).max(0) - low) / count
    arrays = {"codec loc": loc, "codec stds": std, "codec logits": logits}
    model |= arrays
    named = {name.removeprefix("codec "): name for name in arrays}
    return {"low": low.tolist(), "width": width.tolist(), **named}


def _posteriors_of_pseudo_inputs(vae: VAE, prior: VampPrior) -> tuple[Array, Array]:
    """Means and standard deviations in the arithmetic of the codec, which is the same on every machine."""
    encoding = Lowering(vae.event_shape)
    if vae.features is not None:
        lower_features(encoding, vae.features)
    lower_network(encoding, vae.encoder)
    encoding.reshape((2 * vae.latent_dim,))
    raw, arrays = _numbers(prior.raw), dict[str, Array]()
    if prior.is_bounded:
        raw = _numbers(prior.low) + _numbers(prior.width) * codec.sigmoid(raw)
    params = codec.run(_steps("vamp", encoding, arrays), raw, arrays)
    mean, spread = np.split(params, 2, 1)
    return mean, codec.std_of(spread, vae.posterior.std)


def _numbers(values: Tensor) -> Array:
    return values.detach().cpu().double().numpy()
