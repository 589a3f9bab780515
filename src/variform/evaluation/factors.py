r"""Disentanglement scores: how far single codes stand for single known factors, and each for one alone.

A model has codes, (N, D); the causes of the rows, their factors, are known beside it, (N, K). Every score looks at the
ranks of a code and not at its values, so that no monotone map of a code changes any score; a code that never varies is
left out, and changes none either.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

Array = np.ndarray[Any, np.dtype[Any]]

SCORES = {
    "mig": "MIG",
    "sap": "SAP",
    "dci_disentanglement": "DCI disentanglement",
    "dci_completeness": "DCI completeness",
    "dci_informativeness": "DCI informativeness",
    "beta_vae": "BetaVAE score",
    "factor_vae": "FactorVAE score",
    "modularity": "modularity",
    "explicitness": "explicitness",
    "irs": "IRS",
}
"""The scores in the order of tables, and what each is called."""
OF_SEVERAL = ("dci_disentanglement", "beta_vae", "factor_vae", "modularity")
"""The scores that compare factors, and need two."""

_BINS = 20  # of a code or a factor of many values, as is usual; more where a factor has more values
_MOST_VALUES = 100  # a code or a factor of at most so many values keeps them
_FEW_CLASSES = 10  # of a number, for one classifier a class
_HELD = 64  # rows, or pairs of rows, that share the value of a factor in one vote
_VOTES = 2000  # to learn from, and as many again to judge by
ROWS_FITTED = 2000
"""Rows that boosting and logistic regression are fitted to, at most."""
_ROUNDS = {"n_estimators": 30, "learning_rate": 0.3, "max_depth": 3}  # of boosting
_WORST = 0.99  # the quantile of deviations that IRS takes for the greatest


@dataclass(frozen=True, eq=False)
class Factor:
    """One known cause of the rows.

    Args:
        name: What it is called.
        values: (N,) numbers, or texts that name categories.

    Example:
        >>> Factor("size", np.array([3.0, 1.0, 3.0])).classes, Factor("kind", np.array(["b", "a"])).classes
        (array([1, 0, 1]), array([1, 0]))
    """

    name: str
    values: Array

    @property
    def is_number(self) -> bool:
        """Whether its values have an order."""
        return self.values.dtype.kind in "iuf"

    @cached_property
    def classes(self) -> Array:
        """The class of each row, (N,), counted from 0: a class for each value, or of many numbers 20 of equal size."""
        return self.in_classes(_MOST_VALUES, _BINS)

    def in_classes(self, most: int, groups: int) -> Array:
        """As `classes`; numbers of more than `most` values in groups of equal size."""
        values, classes = np.unique(self.values, return_inverse=True)
        if not self.is_number or len(values) <= most:
            return classes
        binned = _equal_groups(_centred_ranks(self.values[:, None]), groups)[:, 0]
        return np.unique(binned, return_inverse=True)[1]

    def take(self, rows: Array) -> "Factor":
        """The factor of some rows."""
        return Factor(self.name, self.values[rows])


def ranks_of(codes: ArrayLike) -> tuple[Array, Array]:
    """The rank of each row in every code that varies, from -1/2 to 1/2, and which codes those are.

    Ranks are the same after any rising map of a code. So that falling ones change nothing either, a code is turned such
    that its first row that is not in the middle is above it.

    Args:
        codes: (N, D).

    Returns:
        (N, d) float64, and (d,) int64.

    Example:
        >>> codes = np.array([[1.0, 5.0, 0.0], [2.0, 4.0, 0.0]])
        >>> ranks_of(codes)[0].tolist(), ranks_of(codes)[1].tolist()
        ([[0.25, 0.25], [-0.25, -0.25]], [0, 1])
    """
    codes = np.asarray(codes)
    live = np.flatnonzero((codes != codes[:1]).any(0))
    ranks = _centred_ranks(codes[:, live])
    first = np.argmax(ranks != 0, axis=0)
    return ranks * np.sign(ranks[first, np.arange(len(live))]), live


def _centred_ranks(values: Array) -> Array:
    from scipy.stats import rankdata

    if not values.size:
        return np.zeros(values.shape)
    return (rankdata(values, axis=0) - (len(values) + 1) / 2) / len(values)


def _equal_groups(ranks: Array, groups: int) -> Array:
    """The group of each rank, of groups of equal size."""
    return np.floor((ranks + 0.5) * groups).astype(np.int64)


def information(ranks: Array, factors: Sequence[Factor]) -> tuple[Array, Array]:
    r"""The mutual information of each code and each factor, (D, K), and the entropy of each factor, (K,), in nats.

    $I = \sum_{b, c} p_{bc} \log \frac{p_{bc}}{p_b p_c}$ with the frequencies of bins of the code and classes of the
    factor. A code of at most 100 values has a bin for each; others have bins of as many rows each, 20, or as many as a
    factor has values. Of a code without information I is too high by about (B - 1)(C - 1) / 2N nats for B bins and C
    classes.

    Args:
        ranks: As `ranks_of` gives them, (N, D).
        factors: K of them.

    Reference:
        Chen et al. (2018), section 4.1; Miller (1955) for the bias.

    Example:
        >>> factor = Factor("size", np.array([0, 1, 2, 3] * 5))
        >>> told, entropies = information(ranks_of(factor.values[:, None] ** 3)[0], [factor])
        >>> told.round(6) == entropies.round(6), entropies.round(6) == round(math.log(4), 6)
        (array([[ True]]), array([ True]))
    """
    groups = max(_BINS, *(int(factor.classes.max()) + 1 for factor in factors))
    entropies = np.array([_entropy_of(factor.classes) for factor in factors])
    told = np.zeros((ranks.shape[1], len(factors)))
    for d, code in enumerate(ranks.T):
        values, binned = np.unique(code, return_inverse=True)
        if len(values) > _MOST_VALUES:
            binned = _equal_groups(code, groups)
        for k, factor in enumerate(factors):
            together = binned * (factor.classes.max() + 1) + factor.classes
            joint = _entropy_of(together)
            told[d, k] = _entropy_of(binned) + entropies[k] - joint  # eq: information
    return np.maximum(told, 0), entropies


def _entropy_of(classes: Array) -> float:
    """Of the frequencies of some classes, in nats."""
    return float(_entropy(np.bincount(classes)[None] / len(classes))[0])


def gap(told: Array) -> float:
    r"""How far the best code of a factor is ahead of the next best, as a mean over the factors.

    $\frac1K \sum_k (t_{d_1 k} - t_{d_2 k})$ with the largest and the second largest $t_{dk}$ of each factor. Of mutual
    information over the entropy of the factor it is the mutual information gap (MIG); of what `tells_alone` gives it is
    the separated attribute predictability (SAP).

    Args:
        told: What each code says of each factor, (D, K).

    Reference:
        Chen et al. (2018), equation 6; Kumar, Sattigeri and Balakrishnan (2018), section 3.

    Example:
        >>> gap(np.array([[1.0, 0.0], [0.25, 0.5], [0.0, 0.5]]))
        0.375
    """
    ordered = np.sort(np.vstack([np.zeros((2, told.shape[1])), told]), axis=0)
    return float((ordered[-1] - ordered[-2]).mean())  # eq: gap


def modularity(told: Array) -> float:
    r"""How far each code speaks of one factor alone: the mean over the codes of
    $1 - \frac{\sum_{k \ne k^*} I_k^2}{(K - 1) I_{k^*}^2}$, $k^*$ being the factor of which it says most.

    Args:
        told: `information` (D, K), K > 1. Codes that say nothing are left out.

    Reference:
        Ridgeway and Mozer (2018), section 3.

    Example:
        >>> modularity(np.array([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0]]))
        0.75
    """
    speaking = told[told.max(1, initial=0) > 0]
    if not len(speaking):
        return 0.0
    squares = (speaking / speaking.max(1, keepdims=True)) ** 2
    others = (squares.sum(1) - 1) / (told.shape[1] - 1)
    return float((1 - others).mean())  # eq: modularity


def disentanglement(importance: Array) -> float:
    r"""How far each code matters for one factor alone (DCI): $\sum_d \rho_d (1 - H(P_d) / \log K)$.

    $P_{dk} = R_{dk} / \sum_j R_{dj}$ are the shares of a code's importances and $\rho_d$ its share of all of them.

    Args:
        importance: R, what each code matters for each factor, (D, K), K > 1, at least 0.

    Reference:
        Eastwood and Williams (2018), section 2.

    Example:
        >>> disentanglement(np.array([[1.0, 0.0], [0.0, 1.0]])), disentanglement(np.array([[1.0, 1.0]]))
        (1.0, 0.0)
    """
    by_code, weights = disentanglement_by_code(importance)
    return float(by_code @ weights)


def disentanglement_by_code(importance: Array) -> tuple[Array, Array]:
    """The disentanglement of each code and its weight, (D,) each; of no importance at all both are 0."""
    total = importance.sum(1)
    shares = np.divide(importance, total[:, None], where=total[:, None] > 0, out=0 * importance)
    scores = 1 - _entropy(shares) / math.log(importance.shape[1])  # eq: dci-disentanglement
    return scores * (total > 0), total / max(total.sum(), np.finfo(float).tiny)


def completeness(importance: Array) -> float:
    r"""How far each factor is told by one code alone (DCI): the mean over the factors of $1 - H(\tilde P_k) / \log D$.

    $\tilde P_{dk} = R_{dk} / \sum_i R_{ik}$ are the shares of the codes in what a factor is told by. One code alone is
    complete.

    Args:
        importance: R, what each code matters for each factor, (D, K), at least 0.

    Reference:
        Eastwood and Williams (2018), section 2.

    Example:
        >>> round(completeness(np.array([[0.5], [0.5], [0.0], [0.0]])), 3)
        0.5
    """
    total = importance.sum(0)
    if not total.any():
        return 0.0
    shares = np.divide(importance, total, where=total > 0, out=0 * importance)
    most = math.log(max(len(importance), 2))
    scores = 1 - _entropy(shares.T) / most  # eq: dci-completeness
    return float((scores * (total > 0)).mean())


def _entropy(shares: Array) -> Array:
    """In nats, of each row."""
    from scipy.special import entr

    return entr(shares).sum(1)


def boosted(
    ranks: Array, factors: Sequence[Factor], fitted: Array, judged: Array, *, seed: int = 0
) -> tuple[Array, Array]:
    """What each code matters for each factor, (D, K), and how much of each factor all codes together tell, (K,).

    A factor is predicted from the codes by gradient boosting, a number by a regression, a category by a classification.
    A code's importance is its share of what the splits of the trees gain; codes that are the same share it alike,
    whichever of them the trees chose. What is told is R^2 of a number, and of a category the accuracy above that of the
    most frequent one, over what is left above it, both on rows that were not fitted: 1 at most, 0 for what knows
    nothing.

    Args:
        ranks: (N, D).
        factors: K of them.
        fitted, judged: Which rows, (M,) int64 each.
        seed: Of the order in which the trees try codes.
    """
    from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor
    from sklearn.metrics import r2_score

    alike = (ranks[:, :, None] == ranks[:, None]).all(0)  # (D, D)
    place, copies = alike.argmax(1), alike.sum(1)
    inputs = ranks[:, np.unique(place)]
    place = np.searchsorted(np.unique(place), place)
    importance = np.zeros((ranks.shape[1], len(factors)))
    told = np.zeros(len(factors))
    for k, factor in enumerate(factors):
        family = GradientBoostingRegressor if factor.is_number else GradientBoostingClassifier
        values = factor.values if factor.is_number else factor.classes
        if np.ptp(factor.classes[fitted]) == 0:
            continue  # nothing can be learned of a value that only judged rows have
        trees = family(**_ROUNDS, random_state=seed).fit(inputs[fitted], values[fitted])
        gains = np.maximum(
            trees.feature_importances_, 0
        )  # without the rounding of what gains nothing
        importance[:, k] = gains[place] / copies
        predicted = trees.predict(inputs[judged])
        if factor.is_number:
            told[k] = r2_score(values[judged], predicted)
        else:
            told[k] = _above_most_frequent(predicted, values[fitted], values[judged])
    return importance, told


def _above_most_frequent(predicted: Array, fitted: Array, judged: Array) -> float:
    """Accuracy above that of the class that is most frequent among the fitted rows, over what is left above it."""
    base = (judged == np.bincount(fitted).argmax()).mean()
    if base == 1:
        return 0.0
    return float(((predicted == judged).mean() - base) / (1 - base))


def tells_alone(
    ranks: Array, factors: Sequence[Factor], fitted: Array, judged: Array, *, seed: int = 0
) -> Array:
    """How well each code alone tells each factor, (D, K), 1 at most.

    Of a number the squared rank correlation. Of a category the accuracy, on rows that were not fitted, of thresholds on
    the code, a tree of as many leaves as there are categories, above that of the most frequent one and over what is
    left above it. A support vector machine of one input, which is usual, depends on the scale of the code and misses
    the middle of three.

    Args:
        ranks, factors, fitted, judged, seed: As of `boosted`.
    """
    from sklearn.tree import DecisionTreeClassifier

    told = np.zeros((ranks.shape[1], len(factors)))
    scaled = _standardised(ranks)
    for k, factor in enumerate(factors):
        if factor.is_number:
            numbers = _standardised(_centred_ranks(factor.values[:, None]))
            told[:, k] = (scaled.T @ numbers)[:, 0] ** 2 / len(ranks) ** 2
            continue
        classes = factor.classes
        for d, code in enumerate(ranks.T[:, :, None]):
            tree = DecisionTreeClassifier(
                max_leaf_nodes=int(classes.max()) + 1, random_state=seed
            ).fit(code[fitted], classes[fitted])
            predicted = tree.predict(code[judged])
            told[d, k] = _above_most_frequent(predicted, classes[fitted], classes[judged])
    return told


def _standardised(values: Array) -> Array:
    return (values - values.mean(0)) / values.std(0)


def explicitness(ranks: Array, factors: Sequence[Factor], fitted: Array, judged: Array) -> float:
    """How well logistic regression of all codes tells each value of a factor from the others: the mean area under the
    curve (AUC), on rows that were not fitted; 1/2 for codes that know nothing.

    The mean is over the values of a factor and then over the factors; a number of more than 10 values is cut into 10
    classes of equal size. The regression has the normal scores of the ranks. A factor that has one value alone in the
    fitted or in the judged rows counts as 1/2.

    Args:
        ranks, factors, fitted, judged: As of `boosted`.

    Reference:
        Ridgeway and Mozer (2018), section 3.
    """
    from scipy.special import ndtri
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    inputs = ndtri(ranks + 0.5)
    by_factor = []
    for factor in factors:
        classes = factor.in_classes(_FEW_CLASSES, _FEW_CLASSES)
        if min(np.ptp(classes[part]) for part in (fitted, judged)) == 0:
            by_factor.append(0.5)
            continue
        model = LogisticRegression(C=100, max_iter=1000).fit(inputs[fitted], classes[fitted])
        chances = model.predict_proba(inputs[judged])
        areas = [
            roc_auc_score(classes[judged] == value, chance)
            for value, chance in zip(model.classes_, chances.T, strict=True)
            if 0 < (classes[judged] == value).sum() < len(judged)
        ]
        by_factor.append(np.mean(areas))
    return float(np.mean(by_factor))


def irs(ranks: Array, factors: Sequence[Factor]) -> float:
    r"""How little a code moves while the factor it speaks of is held and the others change (IRS).

    $\mathrm{IRS}_{dk} = 1 - \overline{Q_{.99}(|z_d - E[z_d|v_k]|)} / \max |z_d - E[z_d]|$, the mean being over the
    values of the factor; the score is the mean over the codes of the largest of a code, weighed by the denominators.

    Args:
        ranks: (N, D).
        factors: K of them.

    Reference:
        Suter, Miladinović, Schölkopf and Bauer (2019), section 4.
    """
    most = np.abs(ranks - ranks.mean(0)).max(0)
    held = np.zeros((ranks.shape[1], len(factors)))
    for k, factor in enumerate(factors):
        worst = []
        for value in range(int(factor.classes.max()) + 1):
            own = ranks[factor.classes == value]
            worst.append(np.quantile(np.abs(own - own.mean(0)), _WORST, axis=0))
        held[:, k] = 1 - np.mean(worst, axis=0) / most  # eq: irs
    return float(np.average(held.max(1), weights=most))


class _Held:
    """Draws of rows that share the value of a factor.

    Args:
        factors: K of them.
        rows: The rows that are drawn from, (M,).
    """

    def __init__(self, factors: Sequence[Factor], rows: Array) -> None:
        self._rows = rows
        self._classes = [factor.classes[rows] for factor in factors]
        self._orders = [np.argsort(classes, kind="stable") for classes in self._classes]
        self._counts = [np.bincount(classes) for classes in self._classes]

    def draw(
        self, factor: int, shape: tuple[int, ...], like: Array, rng: np.random.Generator
    ) -> Array:
        """Rows, of `shape`, in each of which the factor has the value that it has in the row of `like` there."""
        classes = self._classes[factor][like]
        count = self._counts[factor]
        start = np.cumsum(count) - count
        place = start[classes] + np.floor(rng.random(shape) * count[classes]).astype(np.int64)
        return self._orders[factor][place]

    def pairs(self, votes: int, rng: np.random.Generator) -> tuple[Array, Array, Array]:
        """Which factor each vote holds, (V,), and the two rows of its pairs, (V, 64) each."""
        held = np.arange(votes) % len(self._classes)
        first = rng.integers(len(self._rows), size=(votes, _HELD))
        second = np.empty_like(first)
        for factor in range(len(self._classes)):
            own = held == factor
            second[own] = self.draw(factor, first[own].shape, first[own], rng)
        return held, self._rows[first], self._rows[second]

    def batches(self, votes: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Which factor each vote holds, (V,), and 64 rows in which it has one value, (V, 64)."""
        held = np.arange(votes) % len(self._classes)
        first = rng.integers(len(self._rows), size=(votes, 1))
        rows = np.empty((votes, _HELD), np.int64)
        for factor in range(len(self._classes)):
            own = held == factor
            like = np.broadcast_to(first[own], (own.sum(), _HELD))
            rows[own] = self.draw(factor, like.shape, like, rng)
        return held, self._rows[rows]


def beta_vae_score(
    ranks: Array, factors: Sequence[Factor], fitted: Array, judged: Array, *, seed: int = 0
) -> float:
    r"""How often a linear classifier knows which factor was held, from $\frac1{64} \sum_i |z^{(i)}_1 - z^{(i)}_2|$ over
    64 pairs of rows in which it was: the accuracy on pairs of other rows; 1/K for codes that know nothing.

    Args:
        ranks, factors, fitted, judged: As of `boosted`; K > 1.
        seed: Of the pairs.

    Reference:
        Higgins et al. (2017), section 3.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(seed)
    seen, inputs = [], []
    for rows in (fitted, judged):
        held, first, second = _Held(factors, rows).pairs(_VOTES, rng)
        seen.append(held)
        inputs.append(np.abs(ranks[first] - ranks[second]).mean(1))
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return float(classifier.fit(inputs[0], seen[0]).score(inputs[1], seen[1]))


def factor_vae_score(
    ranks: Array, factors: Sequence[Factor], fitted: Array, judged: Array, *, seed: int = 0
) -> float:
    """How often the code that varies least, of its own variance, in 64 rows that share the value of a factor names that
    factor: the accuracy, on other rows, of the majority of the votes for each code; about 1/K for codes that know
    nothing.

    Args:
        ranks, factors, fitted, judged: As of `boosted`; K > 1.
        seed: Of the rows.

    Reference:
        Kim and Mnih (2018), section 4.
    """
    rng = np.random.default_rng(seed)
    scaled = ranks / ranks[fitted].std(0)
    votes = []
    for rows in (fitted, judged):
        held, drawn = _Held(factors, rows).batches(_VOTES, rng)
        votes.append((scaled[drawn].var(1).argmin(1), held))
    counts = np.zeros((ranks.shape[1], len(factors)))
    np.add.at(counts, votes[0], 1)
    code, held = votes[1]
    return float((counts.argmax(1)[code] == held).mean())
