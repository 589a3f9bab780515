"""Objectives: a batch becomes terms; training minimises `terms.loss`.

`elbo` holds the contract and the evidence lower bound, `importance` the bounds from several weights, `aggregated` what
looks at the posteriors of a batch together, `semi_supervised` labels that are inferred, `corruption` noise on what the
encoder sees, `schedules` weights that change with the step.
"""

from variform.objectives.aggregated import DIPVAE, WAE, BetaTCVAE, FactorVAE, InfoVAE
from variform.objectives.corruption import Corruption
from variform.objectives.elbo import ELBO, Autoencoder, Objective, Terms, Weights, log_weights
from variform.objectives.importance import IWAE, PIWAE
from variform.objectives.schedules import Schedule, cosine, cyclic, warmup
from variform.objectives.semi_supervised import SemiSupervised

__all__ = [
    "DIPVAE",
    "ELBO",
    "IWAE",
    "PIWAE",
    "WAE",
    "Autoencoder",
    "BetaTCVAE",
    "Corruption",
    "FactorVAE",
    "InfoVAE",
    "Objective",
    "Schedule",
    "SemiSupervised",
    "Terms",
    "Weights",
    "cosine",
    "cyclic",
    "log_weights",
    "warmup",
]
