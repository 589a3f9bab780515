"""Likelihood families: the decoder's raw output becomes the law p(x|z).

The lecture's three structures are `BernoulliLikelihood` (cross-entropy), `GaussianLikelihood(variance="learned")` (a
variance per dimension from the network) and `GaussianLikelihood(variance="identity")` (squared error); the fourth,
`variance="shared"`, learns one variance for all dimensions, without which the scale of the data decides how much the
reconstruction weighs against the KL term.

A family carries its own facts: what its number measures, for which values it is, the trivial model of its kind, the
steps of its mean. Who builds, compares or exports a model asks for them and never for the type. `LIKELIHOODS` has the
names. docs/extending.md adds a family as an example.
"""

from variform.model.likelihoods.bounded import LogitNormalLikelihood, LogNormalLikelihood
from variform.model.likelihoods.compound import MixedLikelihood, SpikedLikelihood
from variform.model.likelihoods.counts import (
    NegativeBinomialLikelihood,
    PoissonLikelihood,
    dispersion,
)
from variform.model.likelihoods.family import Likelihood, Step
from variform.model.likelihoods.gaussian import GaussianLikelihood, Variance, least_std
from variform.model.likelihoods.inflated import (
    ZeroInflatedNegativeBinomialLikelihood,
    ZeroInflatedPoissonLikelihood,
)
from variform.model.likelihoods.levels import BetaBinomialLikelihood, LogisticMixtureLikelihood
from variform.model.likelihoods.names import LIKELIHOODS, build_likelihood, usual_likelihood
from variform.model.likelihoods.ordered import OrdinalLikelihood
from variform.model.likelihoods.pixels import (
    BernoulliLikelihood,
    CategoricalLikelihood,
    ContinuousBernoulliLikelihood,
    LogisticLikelihood,
)

__all__ = [
    "LIKELIHOODS",
    "BernoulliLikelihood",
    "BetaBinomialLikelihood",
    "CategoricalLikelihood",
    "ContinuousBernoulliLikelihood",
    "GaussianLikelihood",
    "Likelihood",
    "LogNormalLikelihood",
    "LogisticLikelihood",
    "LogisticMixtureLikelihood",
    "LogitNormalLikelihood",
    "MixedLikelihood",
    "NegativeBinomialLikelihood",
    "OrdinalLikelihood",
    "PoissonLikelihood",
    "SpikedLikelihood",
    "Step",
    "Variance",
    "ZeroInflatedNegativeBinomialLikelihood",
    "ZeroInflatedPoissonLikelihood",
    "build_likelihood",
    "dispersion",
    "least_std",
    "usual_likelihood",
]
