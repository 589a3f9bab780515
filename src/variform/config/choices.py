"""The names that a choice is made from, in Python, on the command line, in config.toml and in files."""

from typing import Literal

ObjectiveName = Literal[
    "elbo",
    "iwae",
    "piwae",
    "hvae",
    "beta-tc",
    "dip-i",
    "dip-ii",
    "info",
    "wae",
    "factor",
    "ms-ssim",
    "perceptual",
    "vae-gan",
    "m2",
    "autoencoder",
    "rae",
]
LikelihoodName = Literal[
    "bernoulli",
    "continuous-bernoulli",
    "gaussian",
    "gaussian-per-feature",
    "gaussian-shared",
    "gaussian-optimal",
    "gaussian-fixed",
    "gaussian-identity",
    "logistic",
    "logistic-mixture",
    "beta-binomial",
    "categorical",
    "poisson",
    "negative-binomial",
    "zero-inflated-poisson",
    "zero-inflated-negative-binomial",
    "mixed",
]
LikelihoodChoice = Literal["auto", LikelihoodName]
"""A likelihood, or `auto` for the one that the data ask for."""
COUNTED: tuple[LikelihoodName, ...] = (
    "poisson",
    "negative-binomial",
    "zero-inflated-poisson",
    "zero-inflated-negative-binomial",
)
"""The likelihoods of counts: automatic scaling leaves the data as they are."""
ActivationName = Literal["relu", "tanh", "elu", "leaky-relu", "gelu", "silu", "softplus", "sigmoid"]
InitialisationName = Literal[
    "torch", "he-normal", "he-uniform", "glorot-normal", "glorot-uniform", "orthogonal"
]
ProgressStyle = Literal["auto", "bar", "lines", "json", "none"]
LanguageName = Literal["auto", "en", "ko"]
"""Of pages: English, what a file of `pages/words` has, or what the reader's computer speaks."""
DeviceName = Literal["auto", "cpu", "cuda", "mps"]
Support = Literal["real", "unit", "levels", "counts"]
"""The values that a likelihood is for: any number, [0, 1], the levels k / (L - 1), or counts."""
SamplerKind = Literal["gmm", "flow", "posterior"]
SAMPLER_WORDS: dict[SamplerKind, str] = {
    "gmm": "a mixture of Gaussians whose number the BIC chooses",
    "flow": "an autoregressive flow",
    "posterior": "the mixture of q(z|x) of the training rows themselves",
}
"""What each is, in the help of the command line."""
