"""The probability that a point stands for a valid design, in a form that a page can compute by itself."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from variform.config.checks import checked
from variform.design.validity import FEWEST, FEWEST_VALID, auc_of, too_few
from variform.evaluation.standard_error import Estimate

Array = np.ndarray[Any, np.dtype[Any]]

_CENTRES = 100
_FOLDS, _INNER_FOLDS = 5, 3
_WIDTHS = (0.25, 1.0, 4.0)  # of the median squared distance of two points
_PENALTIES = (1.0, 10.0, 100.0)


@dataclass(frozen=True, eq=False)
class KernelValidity:
    r"""$p(z) = \sigma(b + \sum_i w_i \exp(-\gamma |z - c_i|^2))$, kernel logistic regression.

    Far from all answers it is $\sigma(b)$.

    Args:
        centres: $c_i$, (m, d).
        weights: $w_i$, (m,).
        bias: $b$.
        gamma: $\gamma$.
        valid: Number of valid answers that it was fitted to.
        invalid: And of invalid ones.
        auc: Area under the ROC curve on answers that were left out.
    """

    centres: Array
    weights: Array
    bias: float
    gamma: float
    valid: int
    invalid: int
    auc: Estimate

    def probability(self, z: Array) -> Array:
        """The probability that each of n points stands for a valid design, (n,), from (n, d)."""
        squares = np.square(z[:, None] - self.centres).sum(2)
        logits = self.bias + np.exp(-self.gamma * squares) @ self.weights  # eq: kernel-validity
        return 1 / (1 + np.exp(-logits))


@checked
def fit_kernel_validity(z: Array, is_valid: Array, *, seed: int = 0) -> KernelValidity | str:
    """Learn from answers at which points designs are valid.

    Width and penalty are chosen by cross-validation within the answers that are learned from, so that those left out
    judge that choice too.

    Args:
        z: Points, (n, d), finite; equal ones count once.
        is_valid: What the user's check said of each, (n,) bool.
        seed: Seed of the centres and of the folds.

    Returns:
        The classifier, or a sentence where there are too few answers of a kind.

    Example:
        >>> z = np.random.default_rng(0).normal(size=(80, 2))
        >>> validity = fit_kernel_validity(z, z[:, 0] > 0)
        >>> validity.auc.mean > 0.95, validity.probability(np.array([[2.0, 0.0], [-2.0, 0.0]])).round().tolist()
        (True, [1.0, 0.0])
        >>> fit_kernel_validity(z[:9], z[:9, 0] > 0)[:45]
        'Which designs are valid is learned from 20 va'
    """
    places = np.unique(z, axis=0, return_index=True)[1]
    z, is_valid = np.asarray(z, np.float64)[places], np.asarray(is_valid, bool)[places]
    valid = int(is_valid.sum())
    invalid = len(is_valid) - valid
    if valid < FEWEST_VALID or invalid < FEWEST:
        return too_few(valid, invalid, FEWEST_VALID)
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    search = _search(z, seed)
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=seed)
    probability = cross_val_predict(search, z, is_valid, cv=folds, method="predict_proba")
    fitted = search.fit(z, is_valid).best_estimator_
    features, classifier = fitted[0], fitted[1]
    return KernelValidity(
        features.components_,
        features.normalization_.T @ classifier.coef_[0],
        float(classifier.intercept_[0]),
        float(features.gamma),
        valid,
        invalid,
        auc_of(probability[:, 1], is_valid),
    )


def _search(z: Array, seed: int) -> Any:
    """Logistic regression on the kernel's features, with its width and penalty to be chosen."""
    from scipy.spatial.distance import pdist
    from sklearn.kernel_approximation import Nystroem
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedKFold
    from sklearn.pipeline import Pipeline

    usual = float(np.median(pdist(z, "sqeuclidean"))) or 1.0
    smallest = len(z) * (_FOLDS - 1) // _FOLDS * (_INNER_FOLDS - 1) // _INNER_FOLDS
    features = Nystroem("rbf", n_components=min(_CENTRES, smallest), random_state=seed)
    steps = [("features", features), ("classifier", LogisticRegression(max_iter=1000))]
    choices = {
        "features__gamma": [width / usual for width in _WIDTHS],
        "classifier__C": _PENALTIES,
    }
    folds = StratifiedKFold(_INNER_FOLDS, shuffle=True, random_state=seed)
    return GridSearchCV(Pipeline(steps), choices, scoring="neg_log_loss", cv=folds)
