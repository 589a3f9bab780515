"""What a reader must be told before any number: the sentences that stand first wherever an evaluation is shown."""

import math
from typing import Any

from variform.likelihoods import GaussianLikelihood, LogisticLikelihood
from variform.vae import VAE

BETTER_BY = 2.0
"""Standard errors by which a simpler model must be better before it is said."""


def warnings(vae: VAE, numbers: dict[str, Any]) -> list[str]:
    """The sentences that stand first, the gravest first; none for a healthy model.

    Args:
        vae: The model.
        numbers: What `evaluation.summary` has found so far.

    Example:
        >>> from variform import ModelConfig, build_vae, read
        >>> data = read("digits")
        >>> estimate = {"mean": 1.0, "se": 0.1, "n": 10}
        >>> numbers = {"active_units": {"count": 0, "of": 2}, "nll": estimate, "reconstruction_error": estimate}
        >>> for sentence in warnings(build_vae(ModelConfig(latent_dim=2), data.schema), numbers):
        ...     print(sentence[:42])
        No latent dimension is active (0 of 2): th
    """
    return [*_collapsed(numbers), *_simpler_model_wins(vae, numbers)]


def _collapsed(numbers: dict[str, Any]) -> list[str]:
    active = numbers["active_units"]
    if active["count"]:
        return []
    return [
        f"No latent dimension is active (0 of {active['of']}): the posterior has collapsed onto the prior, the decoder "
        "ignores z, and every row is reconstructed as the same one. There is nothing to explore in this model. Train "
        "anew with more steps and a smaller rate, for example --batch-size 16 --learning-rate 0.001, or let the KL "
        "term come in slowly with --warmup 1000."
    ]


def _simpler_model_wins(vae: VAE, numbers: dict[str, Any]) -> list[str]:
    sentences = []
    for name, baseline in numbers.get("baselines", {}).items():
        called = {"pca": "PCA", "trivial": "The trivial model"}.get(name, name)
        for measure, unit in (("nll", " nats"), ("reconstruction_error", "")):
            better = _excess(numbers[measure], baseline.get(measure))
            if better:
                what = measure.replace("_", " ").replace("nll", "NLL")
                sentences.append(f"{called} has the better {what} by {better}{unit}. {_what_to_try(vae, name)}")
    return sentences


def _excess(own: dict[str, Any], other: dict[str, Any] | None) -> str:
    """By how much `own` is worse than `other`, in words; empty where that is within the errors."""
    if other is None or own["mean"] is None or other["mean"] is None:
        return ""
    difference = own["mean"] - other["mean"]
    error = math.hypot(own["se"] or 0.0, other["se"] or 0.0)
    return f"{difference:.3g} ± {error:.2g}" if difference > BETTER_BY * error else ""


def _what_to_try(vae: VAE, baseline: str) -> str:
    likelihood = vae.likelihood
    shares = isinstance(likelihood, GaussianLikelihood) and likelihood.variance not in ("learned", "per-feature")
    if baseline == "trivial" and shares:
        return "It has a variance per column and this VAE one for all: compare --likelihood gaussian with it."
    if baseline == "trivial" and isinstance(likelihood, LogisticLikelihood):
        return "It has a frequency for every level and this VAE two numbers: compare --likelihood categorical with it."
    return (
        "The VAE has not learned what a simpler model finds: train longer, use a smaller --learning-rate or "
        "--clip-norm 10, or take the simpler model."
    )
