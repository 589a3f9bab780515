"""Whether a design is valid, learned from the answers of the user's own check."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from variform.config.checks import checked
from variform.evaluation.ranking import auc_of
from variform.evaluation.standard_error import Estimate

Array = np.ndarray[Any, np.dtype[Any]]

FEWEST = 5
"""Answers of each kind that a classifier needs."""
FEWEST_VALID = 20
"""Valid designs of a study from which on it is said how well validity is learned."""
_FOLDS = 5
_TREES = 100
_EXPLAINED = 0.999
_MOST_OF_A_PROCESS = 1000  # answers: the time grows with their cube


@dataclass(frozen=True, eq=False)
class Validity:
    """The probability that a design is valid, as a classifier has it from answers.

    Args:
        classifier: What was fitted to all answers; None where there were too few of a kind.
        share: Share of the answers that said valid.
        auc: The area under the ROC curve on answers that were left out, with its standard error; None without a
            classifier. 1/2 is no better than chance.
        note: What must be said beside it; "" where nothing must.
    """

    classifier: Any
    share: float
    auc: Estimate | None
    note: str = ""

    def probability(self, features: Array) -> Array:
        """The probability that each of n designs is valid, (n,), from what the classifier was fitted to, (n, C)."""
        if self.classifier is None:
            return np.full(len(features), self.share)
        return self.classifier.predict_proba(features)[:, 1]


@checked
def fit_validity(features: Array, is_valid: Array, *, seed: int = 0) -> Validity:
    """Learn from answers which designs are valid.

    The probability is the mean of two: of a random forest, and, up to 1,000 answers, of a Gaussian process over the
    principal components that hold 99.9 % of the variance. What designs are tells more than where their points lie: on
    airfoils from 10 latents (legal, and trusted by the solver) the AUC on 3,000 others is .92 from 100 answers and .96
    from 300 by the columns, .84 and .89 by the latents, and .48 by the density.

    Args:
        features: Numbers of designs, such as `encode` of the raw space gives them, or points, (n, C), finite.
        is_valid: What the user's check said of each, (n,) bool.
        seed: Seed of the forest and of the folds.

    Example:
        >>> z = np.random.default_rng(0).normal(size=(50, 2))
        >>> validity = fit_validity(z, z[:, 0] > 0)
        >>> validity.auc.mean > 0.95, validity.probability(np.array([[2.0, 0.0], [-2.0, 0.0]])).round().tolist()
        (True, [1.0, 0.0])
    """
    is_valid = np.asarray(is_valid, bool)
    valid = int(is_valid.sum())
    invalid = len(is_valid) - valid
    share = valid / max(1, len(is_valid))
    if min(valid, invalid) < FEWEST:
        note = too_few(valid, invalid, FEWEST)
        note += f" Until then each has the probability {share:.2f}."
        return Validity(None, share, None, note)
    classifier = _classifier(len(features), seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a length of the process reached its bound
        auc = _auc_of_left_out(classifier, features, is_valid, seed)
        classifier.fit(features, is_valid)
    return Validity(classifier, share, auc)


def too_few(valid: int, invalid: int, fewest: int) -> str:
    """That there are too few answers of a kind, a sentence."""
    return (
        f"Which designs are valid is learned from {fewest} valid and {FEWEST} invalid ones at least; there are {valid} "
        f"and {invalid}."
    )


@dataclass(frozen=True)
class ValidityScores:
    """How well the answers of a study tell valid designs from invalid ones, and whether a density does.

    Args:
        valid: Number of different valid designs that were learned from.
        invalid: And of invalid ones.
        learned: AUC of a classifier on answers that were left out; None where there are too few of a kind.
        density: AUC of a log-density on the same designs; None likewise.
    """

    valid: int
    invalid: int
    learned: Estimate | None = None
    density: Estimate | None = None

    @property
    def note(self) -> str:
        """That there are too few of a kind, a sentence; "" where there are not."""
        return too_few(self.valid, self.invalid, FEWEST_VALID) if self.learned is None else ""


@checked
def score_validity(
    features: Array, log_density: Array, is_valid: Array, *, seed: int = 0
) -> ValidityScores:
    """How well answers say which designs are valid, beside the density, which says what is plausible.

    Equal designs count once, so that none is both learned from and left out.

    Args:
        features, is_valid, seed: As of `fit_validity`.
        log_density: Of each design, (n,).

    Example:
        >>> z = np.random.default_rng(0).normal(size=(80, 2))
        >>> scores = score_validity(z, -np.square(z).sum(1), z[:, 0] > 0)
        >>> scores.learned.mean > 0.95, abs(scores.density.mean - 0.5) < 3 * scores.density.se
        (True, True)
    """
    places = np.unique(features, axis=0, return_index=True)[1]
    features, log_density, is_valid = features[places], log_density[places], is_valid[places]
    valid = int(is_valid.sum())
    invalid = len(is_valid) - valid
    if valid < FEWEST_VALID or invalid < FEWEST:
        return ValidityScores(valid, invalid)
    learned = fit_validity(features, is_valid, seed=seed).auc
    return ValidityScores(valid, invalid, learned, auc_of(log_density, is_valid))


def _classifier(answers: int, seed: int) -> Any:
    from sklearn.decomposition import PCA
    from sklearn.ensemble import RandomForestClassifier, VotingClassifier
    from sklearn.gaussian_process import GaussianProcessClassifier
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel
    from sklearn.pipeline import make_pipeline

    forest = RandomForestClassifier(_TREES, min_samples_leaf=2, random_state=seed)
    if answers > _MOST_OF_A_PROCESS:
        return forest
    components = PCA(_EXPLAINED, whiten=True, svd_solver="full")
    kernel = ConstantKernel(1.0) * RBF(3.0)
    process = make_pipeline(components, GaussianProcessClassifier(kernel, random_state=seed))
    return VotingClassifier([("forest", forest), ("process", process)], voting="soft")


def _auc_of_left_out(classifier: Any, features: Array, is_valid: Array, seed: int) -> Estimate:
    """AUC of the probabilities that cross-validation gives."""
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=seed)
    probability = cross_val_predict(
        classifier, features, is_valid, cv=folds, method="predict_proba"
    )
    return auc_of(probability[:, 1], is_valid)
