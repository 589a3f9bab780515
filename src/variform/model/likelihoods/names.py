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
    "categorical": (CategoricalLikelihood, {}),
    "poisson": (PoissonLikelihood, {}),
    "negative-binomial": (NegativeBinomialLikelihood, {}),
    "mixed": (MixedLikelihood, {}),
}
"""The family of each name, and the options that the name stands for."""


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
    name = config.likelihood
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
