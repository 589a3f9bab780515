"""The formula sheet: laws with their densities, the reparameterisation, and every closed-form KL divergence.

A **law** is a `torch.distributions.Distribution` whose event axes are summed in `log_prob` and whose additive constants
are always in, so that the numbers of two models are comparable. Each line that computes a formula carries a tag
(`# eq: name`) once in the whole package; docs/formulas.md lists them. Laws that need zuko stand in
`variform.distributions.flows`, which takes a while to import.
"""

from variform.distributions.bounded import LogitNormal, LogNormal
from variform.distributions.compound import Independent, Mixed, Mixture, Observed, Spiked
from variform.distributions.counts import NegativeBinomial, Poisson, ZeroInflated
from variform.distributions.gaussian import DiagonalGaussian, FullGaussian, StandardNormal
from variform.distributions.hyperbolic import WrappedNormal
from variform.distributions.kl import (
    has_closed_form_kl,
    kl,
    kl_diagonal,
    kl_full,
    kl_per_dimension,
    kl_standard,
    kl_uniform,
    splits_into_dimensions,
)
from variform.distributions.law import LOG_2_PI, Law, Shape
from variform.distributions.levels import BetaBinomial, LogisticMixture
from variform.distributions.ordered import Ordinal
from variform.distributions.pixels import (
    Bernoulli,
    Categorical,
    ContinuousBernoulli,
    DiscretisedLogistic,
)
from variform.distributions.sphere import PowerSpherical, UniformSphere, VonMisesFisher

__all__ = [
    "LOG_2_PI",
    "Bernoulli",
    "BetaBinomial",
    "Categorical",
    "ContinuousBernoulli",
    "DiagonalGaussian",
    "DiscretisedLogistic",
    "FullGaussian",
    "Independent",
    "Law",
    "LogNormal",
    "LogisticMixture",
    "LogitNormal",
    "Mixed",
    "Mixture",
    "NegativeBinomial",
    "Observed",
    "Ordinal",
    "Poisson",
    "PowerSpherical",
    "Shape",
    "Spiked",
    "StandardNormal",
    "UniformSphere",
    "VonMisesFisher",
    "WrappedNormal",
    "ZeroInflated",
    "has_closed_form_kl",
    "kl",
    "kl_diagonal",
    "kl_full",
    "kl_per_dimension",
    "kl_standard",
    "kl_uniform",
    "splits_into_dimensions",
]
