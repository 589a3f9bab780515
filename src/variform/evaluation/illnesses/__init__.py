"""What may be wrong with a trained model: the one table from which warnings, "Next:" and the doctor are made."""

from collections.abc import Mapping
from typing import Any

from variform.evaluation.illnesses import fit, latents, rivals, training
from variform.evaluation.illnesses.finding import SEVERITIES, Case, Finding, Illness, Severity

ILLNESSES: dict[str, Illness] = {
    "not-finite": Illness(
        "numbers that are not finite", "the NLL is infinite or no number", training.not_finite
    ),
    "collapse": Illness(
        "posterior collapse",
        "no latent dimension has a posterior mean that varies over rows",
        training.collapse,
    ),
    "divergence": Illness(
        "divergence",
        "the training went back to an earlier step because the loss blew up",
        training.diverged,
    ),
    "unscaled": Illness(
        "values that are not scaled",
        f"the widest prepared column has a standard deviation above {fit.LARGE:g} or below {fit.SMALL:g}",
        fit.unscaled,
    ),
    "wild-columns": Illness(
        "columns of wildly different spread under one variance",
        f"prepared columns differ in spread by a factor above {fit.WILD:g}",
        fit.wild_columns,
    ),
    "outliers": Illness(
        "outliers that rule the training",
        f"a hundredth of the training rows has {fit.RULING:.0%} of the sum of squares or more",
        fit.outliers,
    ),
    "wrong-likelihood": Illness(
        "a likelihood of other values",
        "all values are 0 or 1, or counts; or the law puts "
        f"{fit.BEYOND:.0%} of its probability and more beyond the range of the data",
        fit.wrong_support,
    ),
    "heavy-tails": Illness(
        "residuals of another law",
        f"standardised residuals of half of the columns have a kurtosis above {fit.HEAVY:g}; of counts, a mean square "
        f"above {fit.DISPERSED:g}",
        fit.heavy_tails,
    ),
    "variance-at-floor": Illness(
        "a variance at its floor",
        "the noise of a column is the least allowed for most rows",
        fit.at_the_floor,
    ),
    "copies": Illness(
        "near copies across splits",
        f"{fit.COPIED:.0%} of the test rows or more are far nearer to a few training rows than to the next ones",
        fit.copies,
    ),
    "small-encoder": Illness(
        "an encoder too small",
        "q(z|x) refined for each row raises the ELBO by more than a share of the KL term",
        latents.small_encoder,
    ),
    "narrow-posterior": Illness(
        "a posterior too narrow, or of the wrong shape",
        f"Pareto k above 0.7 for more than {latents.MOST_ROWS:.0%} of the rows",
        latents.posterior_misses,
    ),
    "one-variance": Illness(
        "one variance for columns of unequal noise",
        f"errors of standardised columns differ by a factor above {fit.UNEVEN:g}, beyond chance",
        fit.one_variance,
    ),
    "idle-latents": Illness(
        "partial collapse",
        "some latents are not active, and beta is above 1 or PCA of as many rebuilds rows better",
        latents.idle,
    ),
    "overfitting": Illness(
        "overfitting",
        f"training rows have an ELBO above that of test rows by {training.GAP_A_VALUE:g} nats a value or more",
        training.overfitting,
    ),
    "holes": Illness(
        "prior mass without codes",
        "a mixture fitted to training codes has a higher density at codes of other rows than the prior",
        latents.holes,
    ),
    "too-short": Illness(
        "too few steps", "validation rows still gained much in the last half", training.too_short
    ),
    "simpler-model": Illness(
        "a simpler model is better",
        f"PCA, FAMD or independent columns are better by {rivals.BETTER_BY:g} paired standard errors",
        rivals.simpler_model_wins,
    ),
}
"""By their keys, the gravest causes first: what follows from another stands behind it."""


def diagnose(case: Case) -> list[Finding]:
    """All that is found, the gravest first, and of equal ones causes before what follows from them.

    Example:
        >>> estimate = {"mean": 1.0, "se": 0.1, "n": 10}
        >>> numbers = {"active_units": {"count": 0, "of": 2}, "nll": estimate, "reconstruction_error": estimate}
        >>> [finding.illness for finding in diagnose(Case(numbers))]
        ['collapse']
    """
    found = [finding for illness in ILLNESSES.values() for finding in illness.find(case)]
    order = list(ILLNESSES)
    return sorted(found, key=lambda one: (SEVERITIES.index(one.severity), order.index(one.illness)))


def findings_of(case: Case) -> list[Finding]:
    """What an evaluation says was found when it was made; of one that is older, what its numbers tell."""
    kept = case.numbers.get("findings")
    return diagnose(case) if kept is None else [Finding(**one) for one in kept]


def as_kept(findings: list[Finding]) -> list[Mapping[str, Any]]:
    """Findings as an evaluation holds them."""
    return [finding.to_dict() for finding in findings]


__all__ = [
    "ILLNESSES",
    "Case",
    "Finding",
    "Illness",
    "Severity",
    "as_kept",
    "diagnose",
    "findings_of",
]
