"""What `codec` needs of a model, two networks as steps and facts of the three laws; or why it cannot be a codec."""

import itertools
import math
from typing import Any

import numpy as np
from torch import Tensor, nn

from variform.data.schema import Schema
from variform.distributions.counts import NegativeBinomial
from variform.export import codec
from variform.export.lowering import (
    Lowering,
    Program,
    lower_features,
    lower_network,
    lower_preparation,
)
from variform.export.plain import plain
from variform.model.hierarchy import HierarchicalPosterior, HierarchicalPrior, LadderPosterior
from variform.model.likelihoods import (
    BernoulliLikelihood,
    BetaBinomialLikelihood,
    CategoricalLikelihood,
    GaussianLikelihood,
    Likelihood,
    LogisticLikelihood,
    LogisticMixtureLikelihood,
    MixedLikelihood,
    NegativeBinomialLikelihood,
    PoissonLikelihood,
    Step,
)
from variform.model.likelihoods.bounded import LogitNormalLikelihood, LogNormalLikelihood
from variform.model.likelihoods.compound import SpikedLikelihood
from variform.model.likelihoods.ordered import LEAST_GAP, OrdinalLikelihood
from variform.model.likelihoods.pixels import locations_within
from variform.model.posteriors import DiagonalPosterior
from variform.model.priors import MixturePrior, StandardNormalPrior, VampPrior
from variform.model.vae import VAE

Array = np.ndarray[Any, np.dtype[Any]]

_REACH = 7.0  # standard deviations on both sides of a component that bins cover
_DRAWS = 1024  # of the prior, to see where lower levels lie


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
    if schema.rules:
        raise ValueError(
            "a codec must be a model without rules for when columns are active; this one has some. Train it without "
            "`active_if`."
        )
    latents = _latents(vae, model)
    encoding = Lowering(vae.event_shape, type="float64" if any(schema.is_far) else "float32")
    lower_preparation(encoding, schema)
    if vae.features is not None:
        lower_features(encoding, vae.features)
    lower_network(encoding, vae.encoder)
    encoding.reshape((math.prod(encoding.shape),))
    decoding = Lowering((vae.latent_dim,))
    lower_network(decoding, vae.decoder)
    groups = _groups(vae.likelihood, schema)
    is_levels = not schema.kinds and len(groups) == 1
    unit = groups[0]["levels"] - 1 if is_levels else 1
    return {
        **latents,
        "encoder": _steps("codec encoder", encoding, model),
        "decoder": _steps("codec decoder", decoding, model),
        "shape": list(vae.event_shape),
        "shift": schema.per_value(schema.shift).flatten().tolist(),
        "scale": (schema.per_value(schema.scale).flatten() / unit).tolist(),
        "needs grid": not is_levels,
        "groups": groups,
    }


def _steps(part: str, lowering: Lowering, model: dict[str, Array]) -> list[Step]:
    """The steps in the words of `reader`, with their arrays in `model`."""
    program = Program((), 0, lowering.shape, lowering.steps, lowering.weights)
    return [plain(step, part, program, model) for step in lowering.steps]


# ---- values


def _groups(likelihood: Likelihood, schema: Schema) -> list[dict[str, Any]]:
    """The laws of values, and where in the decoder's numbers their params are."""
    size = math.prod(likelihood.event_shape)
    if isinstance(likelihood, MixedLikelihood):
        groups, start = [], 0
        for columns, family in likelihood.parts:
            groups += _of_columns(family, columns.tolist(), start, schema)
            start += math.prod(family.params_shape)
        return groups
    if type(likelihood) in (PoissonLikelihood, NegativeBinomialLikelihood):
        return _of_columns(likelihood, list(range(size)), 0, schema)
    if schema.gaps:
        raise ValueError(
            "a codec must be a model of whole rows, or of a mixed table; this one is of rows with gaps. Read the table "
            "with `cells='mixed'`."
        )
    law = _of_levels(likelihood)
    if law is None:
        raise _no_probability(likelihood, schema)
    return [law | {"columns": list(range(size)), "params": [0, math.prod(likelihood.params_shape)]}]


def _of_levels(likelihood: Likelihood) -> dict[str, Any] | None:
    """The facts of a law of levels; None for another law."""
    if type(likelihood) is BernoulliLikelihood:
        return {"law": "bernoulli", "levels": 2}
    if type(likelihood) is OrdinalLikelihood:
        first, gaps = _numbers(likelihood.first), _numbers(likelihood.raw_gaps)
        thresholds = np.cumsum([*first, *(codec.softplus(gaps[:, 0]) + LEAST_GAP)])
        facts = {"levels": likelihood.levels, "thresholds": thresholds.tolist()}
        return {"law": "ordinal", **facts}
    if isinstance(likelihood, CategoricalLikelihood):
        return {"law": "categorical", "levels": likelihood.levels}
    if type(likelihood) is BetaBinomialLikelihood:
        bounds = {"log_concentrations": list(likelihood.LOG_CONCENTRATIONS)}
        return {"law": "beta-binomial", "levels": likelihood.levels, **bounds}
    if type(likelihood) not in (LogisticLikelihood, LogisticMixtureLikelihood):
        return None
    assert isinstance(likelihood, LogisticLikelihood | LogisticMixtureLikelihood)
    facts = {
        "levels": likelihood.levels,
        "locations": list(locations_within(likelihood.levels)),
        "log_scales": list(LogisticLikelihood.LOG_SCALES),
    }
    if isinstance(likelihood, LogisticMixtureLikelihood):
        return {"law": "logistic-mixture", "components": likelihood.components, **facts}
    return {"law": "logistic", **facts}


def _of_columns(
    family: Likelihood, columns: list[int], start: int, schema: Schema
) -> list[dict[str, Any]]:
    """The facts of columns that have a family in common, whose params begin at `start`."""
    size = math.prod(family.params_shape)
    law = _of_levels(family)
    if law is not None:
        return [law | {"columns": columns, "params": [start, start + size]}]
    groups, logits = [], start + len(columns)
    inner = family.family if isinstance(family, SpikedLikelihood) else family
    for number, column in enumerate(columns):
        facts = _of_number(inner, number, schema)
        places = [start + number]
        if isinstance(family, SpikedLikelihood):
            facts["atoms"] = [value for value, _ in schema.spikes[column]]
            places += range(logits, logits + len(facts["atoms"]))
            logits += len(facts["atoms"])
        groups.append({**facts, "columns": [column], "places": places})
    return groups


def _of_number(family: Likelihood, number: int, schema: Schema) -> dict[str, Any]:
    """The facts of the law of one column of counts or of numbers with a unit."""
    if type(family) is PoissonLikelihood:
        return {"law": "poisson"}
    if isinstance(family, NegativeBinomialLikelihood):
        log_dispersion = _numbers(family.log_dispersion).reshape(-1)[number]
        most = min(float(log_dispersion), NegativeBinomial.MOST_LOG)
        return {"law": "negative-binomial", "log_dispersion": most}
    laws = {
        GaussianLikelihood: "gaussian",
        LogNormalLikelihood: "log-normal",
        LogitNormalLikelihood: "logit-normal",
    }
    if type(family) not in laws:
        raise _no_probability(family, schema)
    assert isinstance(family, GaussianLikelihood | LogNormalLikelihood | LogitNormalLikelihood)
    variance = codec.exp(_numbers(family.raw_log_var).reshape(-1)[number]) + family.min_std**2
    return {"law": laws[type(family)], "std": float(np.sqrt(variance)), "atoms": []}


def _no_probability(likelihood: Likelihood, schema: Schema) -> ValueError:
    name = type(likelihood).__name__
    if not likelihood.is_density:
        return ValueError(
            f"a codec must have a law that can be coded; {name} has none. Train with another."
        )
    remedy = (
        "Train with `likelihood='bernoulli'` on zeros and ones, with 'beta-binomial', 'logistic' or 'categorical' on "
        "levels such as pixels."
    )
    if schema.kind == "table":
        remedy = "Train with `cells='mixed'`, which knows the decimals of each column."
    return ValueError(
        f"a codec must have probabilities; {name} has a density, and no number of bits gives a real number exactly. "
        f"{remedy}"
    )


# ---- latents


def _latents(vae: VAE, model: dict[str, Array]) -> dict[str, Any]:
    """The levels of z under q and p, where their bins lie, and the names of the arrays of a mixture."""
    posterior, prior = vae.posterior, vae.prior
    if type(posterior) is DiagonalPosterior:
        dim = posterior.latent_dim
        levels = [_level(dim, [[0, dim], [dim, 2 * dim]])]
    elif isinstance(posterior, HierarchicalPosterior | LadderPosterior):
        levels = _levels_of(posterior)
    else:
        raise ValueError(
            f"a codec must have q(z|x) with independent latents; this one has {type(posterior).__name__}. Train "
            "with `posterior='diagonal'`."
        )
    top = prior
    if isinstance(prior, HierarchicalPrior):
        top = prior.top
        if len(prior.downwards):
            raise ValueError(
                "a codec must have a small network for each of several latents; in this model they share one. Train "
                "with `network='mlp'`."
            )
        for number, network in enumerate(prior.networks):
            above = sum(prior.widths[number + 1 :])
            levels[number]["p"] = _network(f"codec p{number}", network, above, model)
    if isinstance(posterior, HierarchicalPosterior):
        for number, network in enumerate(posterior.networks):
            above = posterior.evidence[number] + sum(posterior.widths[number + 1 :])
            levels[number]["q"] = _network(f"codec q{number}", network, above, model)
    low, high, arrays = _reach_of_top(vae, top, levels[-1])
    model |= arrays
    named = {name.removeprefix("codec "): name for name in arrays}
    low, high = _reach_below(levels, posterior.std, low, high, arrays, model)
    return {
        "latents": levels,
        "std": posterior.std,
        "ladder": isinstance(posterior, LadderPosterior),
        "low": low.tolist(),
        "width": ((high - low) / codec.RADIX**2).tolist(),
        **named,
    }


def _level(
    width: int, moments: list[list[int]], evidence: list[int] | None = None
) -> dict[str, Any]:
    """A level: where in the encoder's numbers its mean and deviation are, or what it says for a network."""
    return {"width": width, "moments": moments, "evidence": evidence, "q": None, "p": None}


def _levels_of(posterior: HierarchicalPosterior | LadderPosterior) -> list[dict[str, Any]]:
    widths = posterior.widths
    starts = [sum(widths[:number]) for number in range(len(widths))]
    if isinstance(posterior, LadderPosterior):
        dim = sum(widths)
        places = zip(starts, widths, strict=True)
        return [
            _level(width, [[start, start + width], [dim + start, dim + start + width]])
            for start, width in places
        ]
    top = widths[-1]
    ends = [2 * top + sum(posterior.evidence[:number]) for number in range(len(widths))]
    below = zip(widths, itertools.pairwise(ends), strict=False)
    moments = [[0, top], [top, 2 * top]]
    levels = [_level(width, moments, list(evidence)) for width, evidence in below]
    return [*levels, _level(top, moments)]


def _network(part: str, network: nn.Module, width: int, model: dict[str, Array]) -> list[Step]:
    """The steps of the network of a level, to its mean and raw deviation side by side."""
    lowering = Lowering((width,))
    lower_network(lowering, network)
    lowering.reshape((math.prod(lowering.shape),))
    return _steps(part, lowering, model)


def _reach_of_top(
    vae: VAE, prior: nn.Module, top: dict[str, Any]
) -> tuple[Array, Array, dict[str, Array]]:
    """Between which ends bins of the top latent lie, and the arrays of a mixture."""
    if isinstance(prior, StandardNormalPrior):
        high = np.full(prior.latent_dim, _REACH)
        return -high, high, {}
    if isinstance(prior, MixturePrior):
        loc, std = _numbers(prior.loc), codec.exp(_numbers(prior.log_var) / 2)
        logits = _numbers(prior.logits)
    elif isinstance(prior, VampPrior):
        loc, std = _posteriors_of_pseudo_inputs(vae, prior, top)
        logits = np.zeros(len(loc))
    else:
        raise ValueError(
            f"a codec must have the prior N(0, I) or a mixture; this one has {type(prior).__name__}. Train with "
            "`prior='normal'`, 'mixture' or 'vamp'."
        )
    arrays = {"codec loc": loc, "codec stds": std, "codec logits": logits}
    return (loc - _REACH * std).min(0), (loc + _REACH * std).max(0), arrays


def _reach_below(
    levels: list[dict[str, Any]],
    std: str,
    low: Array,
    high: Array,
    arrays: dict[str, Array],
    model: dict[str, Array],
) -> tuple[Array, Array]:
    """The same of all levels: where draws of the prior lie, which are the same on every machine."""
    z = _normal(len(low), 0)
    if arrays:
        chosen = np.arange(_DRAWS) % len(arrays["codec loc"])
        z = arrays["codec loc"][chosen] + arrays["codec stds"][chosen] * z
    for number in reversed(range(len(levels) - 1)):
        mean, raw = np.split(codec.run(levels[number]["p"], z, model), 2, 1)
        spread = codec.std_of(raw, std)
        low = np.concatenate([(mean - _REACH * spread).min(0), low])
        high = np.concatenate([(mean + _REACH * spread).max(0), high])
        z = np.concatenate([mean + spread * _normal(mean.shape[1], number + 1), z], 1)
    return low, high


def _normal(width: int, level: int) -> Array:
    """Numbers that are nearly standard normal, (draws, width): sums of twelve uniform ones, of a hash."""
    words = codec.first_bits(f"reach {level}".encode(), 12 * _DRAWS * width).astype(np.int64)
    return words.reshape(_DRAWS, width, 12).sum(2) / 2.0**32 - 6


def _posteriors_of_pseudo_inputs(
    vae: VAE, prior: VampPrior, top: dict[str, Any]
) -> tuple[Array, Array]:
    """Means and standard deviations in the arithmetic of the codec, which is the same on every machine."""
    encoding = Lowering(vae.event_shape)
    if vae.features is not None:
        lower_features(encoding, vae.features)
    lower_network(encoding, vae.encoder)
    encoding.reshape((math.prod(encoding.shape),))
    raw, arrays = _numbers(prior.raw), dict[str, Array]()
    if prior.is_bounded:
        raw = _numbers(prior.low) + _numbers(prior.width) * codec.sigmoid(raw)
    params = codec.run(_steps("vamp", encoding, arrays), raw, arrays)
    mean, spread = (params[:, slice(*ends)] for ends in top["moments"])
    return mean, codec.std_of(spread, vae.posterior.std)


def _numbers(values: Tensor) -> Array:
    return values.detach().cpu().double().numpy()
