"""Objectives: a batch becomes terms; training minimises `terms.loss`.

`objective` holds the contract, `elbo` the evidence lower bound, `importance` the bounds from several weights,
`hamiltonian` one whose draws walk, `disentangling` and `matching` what looks at the posteriors of a batch together,
with networks of `discriminators`, `regularised` autoencoders with a smooth decoder, `beside` terms beside the ELBO by
`similarity`, `semi_supervised` labels that are inferred, `corruption` noise on what the encoder sees, `schedules`
weights that change with the step.
"""

from variform.objectives.beside import SSIMVAE, VAEGAN, PerceptualVAE
from variform.objectives.corruption import Corruption
from variform.objectives.disentangling import DIPVAE, BetaTCVAE, FactorVAE
from variform.objectives.elbo import ELBO, Autoencoder
from variform.objectives.hamiltonian import HVAE
from variform.objectives.importance import IWAE, PIWAE
from variform.objectives.matching import WAE, InfoVAE
from variform.objectives.objective import Objective, Terms
from variform.objectives.regularised import RAE
from variform.objectives.schedules import Schedule, cosine, cyclic, warmup
from variform.objectives.semi_supervised import SemiSupervised

__all__ = [
    "DIPVAE",
    "ELBO",
    "HVAE",
    "IWAE",
    "PIWAE",
    "RAE",
    "SSIMVAE",
    "VAEGAN",
    "WAE",
    "Autoencoder",
    "BetaTCVAE",
    "Corruption",
    "FactorVAE",
    "InfoVAE",
    "Objective",
    "PerceptualVAE",
    "Schedule",
    "SemiSupervised",
    "Terms",
    "cosine",
    "cyclic",
    "warmup",
]
