"""The names of likelihoods."""

from typing import Any

from variform.config.choices import LikelihoodName
from variform.config.model import ModelConfig
from variform.config.words import quoted
from variform.data.schema import Schema
from variform.model.likelihoods.compound import MixedLikelihood
from variform.model.likelihoods.counts import NegativeBinomialLikelihood, PoissonLikelihood
from variform.model.likelihoods.family import Likelihood
from variform.model.likelihoods.gaussian import GaussianLikelihood
from variform.model.likelihoods.inflated import (
    ZeroInflatedNegativeBinomialLikelihood,
    ZeroInflatedPoissonLikelihood,
)
from variform.model.likelihoods.levels import BetaBinomialLikelihood, LogisticMixtureLikelihood
from variform.model.likelihoods.pixels import (
    BernoulliLikelihood,
    CategoricalLikelihood,
    ContinuousBernoulliLikelihood,
    LogisticLikelihood,
)

LIKELIHOODS: dict[LikelihoodName, tuple[type[Likelihood], dict[str, Any]]] = {
    "bernoulli": (BernoulliLikelihood, {}),
    "continuous-bernoulli": (ContinuousBernoulliLikelihood, {}),
    "gaussian": (GaussianLikelihood, {"variance": "learned"}),
    "gaussian-per-feature": (GaussianLikelihood, {"variance": "per-feature"}),
    "gaussian-shared": (GaussianLikelihood, {"variance": "shared"}),
    "gaussian-optimal": (GaussianLikelihood, {"variance": "optimal"}),
    "gaussian-fixed": (GaussianLikelihood, {"variance": "fixed"}),
    "gaussian-identity": (GaussianLikelihood, {"variance": "identity"}),
    "logistic": (LogisticLikelihood, {}),
    "logistic-mixture": (LogisticMixtureLikelihood, {}),
    "beta-binomial": (BetaBinomialLikelihood, {}),
    "categorical": (CategoricalLikelihood, {}),
    "poisson": (PoissonLikelihood, {}),
    "negative-binomial": (NegativeBinomialLikelihood, {}),
    "zero-inflated-poisson": (ZeroInflatedPoissonLikelihood, {}),
    "zero-inflated-negative-binomial": (ZeroInflatedNegativeBinomialLikelihood, {}),
    "mixed": (MixedLikelihood, {}),
}
"""The family of each name, and the options that the name stands for."""


def usual_likelihood(schema: Schema) -> LikelihoodName:
    """The likelihood that is taken where none is named and no row is looked at; `choosing` looks at rows too.

    Args:
        schema: What the data are.

    Example:
        >>> from variform import DataConfig, read
        >>> usual_likelihood(read("digits").schema), usual_likelihood(read("digits", DataConfig(shape=(64,))).schema)
        ('gaussian-shared', 'gaussian')
    """
    if schema.kinds:
        return "mixed"
    is_scaled = any(schema.shift) or set(schema.scale) != {1}
    if schema.binarise != "none" or (schema.levels == 2 and not is_scaled):
        return "bernoulli"
    if schema.kind == "image":
        return "gaussian-shared"
    return "gaussian-per-feature" if any(schema.gaps) else "gaussian"


def build_likelihood(config: ModelConfig, schema: Schema) -> Likelihood:
    """The likelihood that a configuration names, for such data.

    Args:
        config: The model's configuration.
        schema: What the data are.

    Raises:
        ValueError: when the likelihood is not one of such data.

    Example:
        >>> from variform.data.reading import read
        >>> build_likelihood(ModelConfig(likelihood="categorical"), read("digits").schema)
        CategoricalLikelihood(event_shape=(1, 8, 8), levels=17)
    """
    name = usual_likelihood(schema) if config.likelihood == "auto" else config.likelihood
    family, options = LIKELIHOODS[name]
    if any(schema.categories) and not family.takes_categories:
        text = next(
            column for column, names in zip(schema.columns, schema.categories, strict=True) if names
        )
        raise ValueError(
            f"{name} needs numbers; column {quoted(text)} of {schema.source} holds categories. Use"
            " `likelihood='mixed'`, or leave the column out of the rows with `label`, `response` or `ignore`."
        )
    likelihood = family.of(schema, config, **options)
    schema.require(likelihood.support, name)
    return likelihood
