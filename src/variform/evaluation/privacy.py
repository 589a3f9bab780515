"""Do synthetic rows betray whom a model was trained on? Nearness, copies, authenticity, and attacks on membership.

Distances are Euclidean between `places`; no number here depends on the order of the rows.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from variform.evaluation.ranking import auc_of
from variform.evaluation.standard_error import Estimate

Array = np.ndarray[Any, np.dtype[Any]]

_DIMENSIONS = 50  # in which distances are taken: of more, as many principal components
_RATIOS = (
    1e-3,
    0.1,
    1 / 3,
)  # of the distances to the nearest and the second real row: copies, with noise
_RARE = 0.01  # the chance at which copies are called found
_NAMED = 10  # copies that are named
_FALSE_ALARMS = 0.01


def places(parts: Sequence[Array], real: Array, *, categorical: Sequence[int] = ()) -> list[Array]:
    r"""Where rows lie, so that distances mean something for tables of numbers, categories and gaps.

    A number is divided by its standard deviation among the real rows; a category has a coordinate for each value,
    $1/\sqrt2$ at its own, so that two different ones are 1 apart; a gap is 1 away from every value. Of more than 50
    coordinates the leading 50 principal components of the real rows are taken.

    Args:
        parts: Arrays (N, D), NaN where a value is missing.
        real: Rows whose spread counts, (M, D): rows that were trained on and rows that were not, alike.
        categorical: The columns that are numbers of categories.

    Example:
        >>> rows = np.array([[0.0, 0.0], [2.0, 1.0], [1.0, np.nan]])
        >>> place, = places([rows], rows, categorical=[1])
        >>> np.linalg.norm(place[0] - place[1]).round(3)  # 2 / 0.816 and another category
        np.float64(2.646)
    """
    columns = [
        _coordinates([part[:, column] for part in (*parts, real)], column in categorical)
        for column in range(real.shape[1])
    ]
    *placed, of_real = (np.concatenate(part, axis=1) for part in zip(*columns, strict=True))
    if of_real.shape[1] > _DIMENSIONS:
        # Here, for importing scikit-learn takes as long as torch.
        from sklearn.decomposition import PCA

        pca = PCA(min(_DIMENSIONS, len(of_real)), random_state=0).fit(_sorted(of_real))
        placed = [pca.transform(part) for part in placed]
    return placed


def _coordinates(parts: Sequence[Array], is_category: bool) -> list[Array]:
    """The coordinates of one column in every part, of which the last are the real rows."""
    real = parts[-1]
    if is_category:
        known = np.concatenate(parts)
        values = np.unique(known[~np.isnan(known)])
        shown = [np.column_stack([part[:, None] == values, np.isnan(part)]) for part in parts]
        return [part / np.sqrt(2) for part in shown]
    known = real[~np.isnan(real)]
    centre = known.mean() if len(known) else 0.0
    scale = known.std() or 1.0 if len(known) else 1.0
    scaled = [np.nan_to_num((part - centre) / scale)[:, None] for part in parts]
    if not any(np.isnan(part).any() for part in parts):
        return scaled
    return [np.column_stack([own, np.isnan(part)]) for own, part in zip(scaled, parts, strict=True)]


def _sorted(rows: Array) -> Array:
    """The rows by their values, so that no answer depends on how they were ordered."""
    return rows[np.lexsort(rows.T[::-1])]


def _nearest(among: Array, rows: Array, count: int = 1) -> tuple[Array, Array]:
    """Distances to the nearest rows `among` different ones, (N, count), and which they are."""
    # Here, for importing scikit-learn takes as long as torch.
    from sklearn.neighbors import NearestNeighbors

    count = min(count, len(among))
    nearest = NearestNeighbors(n_neighbors=count).fit(among).kneighbors(rows)[1]
    # The distances that were searched by are products of matrices, which cancel where rows lie close together.
    exact = np.linalg.norm(rows[:, None] - among[nearest], axis=2)
    order = exact.argsort(axis=1, kind="stable")
    return np.take_along_axis(exact, order, 1), np.take_along_axis(nearest, order, 1)


@dataclass(frozen=True)
class _Pool:
    """Training and holdout rows as one set of different rows.

    Args:
        rows: The different rows, by their values.
        training: How many training rows each is.
        holdout: How many holdout rows each is.
        first: The number of the first training row that it is; that of the first holdout row beyond them.
    """

    rows: Array
    training: Array
    holdout: Array
    first: Array

    @classmethod
    def of(cls, train: Array, holdout: Array) -> "_Pool":
        rows, first, which = np.unique(
            np.concatenate([train, holdout]), axis=0, return_index=True, return_inverse=True
        )
        which = which.reshape(-1)  # of one shape in every NumPy
        training, others = which[: len(train)], which[len(train) :]
        counts = (np.bincount(part, minlength=len(rows)) for part in (training, others))
        return cls(rows, next(counts), next(counts), first)


def nearer_to_training(synthetic: Array, train: Array, holdout: Array) -> Estimate:
    r"""The share of synthetic rows that are nearer to a training row than to every row of an equally large holdout.

    1/2 where nothing was copied: training and holdout rows are then exchangeable. Where equal real rows are the
    nearest, a synthetic row counts with the share of training rows among them. The standard error is exact under
    exchangeability: with $w_j$ the share of the synthetic rows whose nearest real row is row j of all 2n,
    $\text{SE}^2 = \frac{2n}{4 (2n - 1)} (\sum_j w_j^2 - \frac{1}{2n})$, the variance over all divisions of the real
    rows into halves.

    Args:
        synthetic: Their `places`, (N, D).
        train: (n, D).
        holdout: (n, D), rows that the model was not trained on.

    Raises:
        ValueError: when there are not equally many training and holdout rows.

    Reference:
        Platzer and Reutterer (2021) for the share; Neyman (1923) for the variance.

    Example:
        >>> rows = np.random.default_rng(0).normal(size=(2, 400, 3))
        >>> nearer_to_training(rows[0], *rows).mean  # the training rows themselves
        1.0
    """
    if len(train) != len(holdout):
        raise ValueError(
            f"training and holdout rows must be equally many; got {len(train)} and {len(holdout)}. Take as many of "
            "either."
        )
    pool = _Pool.of(train, holdout)
    nearest = _nearest(pool.rows, synthetic)[1][:, 0]
    times = pool.training + pool.holdout
    of_training = pool.training / times
    weights = np.bincount(nearest, minlength=len(times)) / len(
        synthetic
    )  # of all equal rows together
    count = 2 * len(train)
    squares = (np.square(weights) / times).sum()
    variance = count / (4 * (count - 1)) * (squares - 1 / count)  # eq: nearer-to-training
    return Estimate(
        float(of_training[nearest].mean()), float(np.sqrt(max(variance, 0.0))), len(synthetic)
    )


def copies(synthetic: Array, train: Array, holdout: Array) -> dict[str, Any]:
    r"""Which training rows were copied: synthetic rows that lie far closer to one real row than to any other.

    A synthetic row hits a real row where its distance to it is below some ratio of that to the second nearest. By
    chance it hits training rows as often as holdout rows for their numbers, so that of the T real rows that are hit
    $\text{Binomial}(T, n / (n + m))$ are training rows. Ratios of 0.001, 0.1 and 1/3 are tried and the p-value is three
    times the least. A row that several share betrays none of them, and is left out.

    Args:
        synthetic: Their `places`, (N, D).
        train: (n, D).
        holdout: (m, D), rows that the model was not trained on.

    Returns:
        found, whether the p-value is below .01; p_value; ratio, at which it is the least; training and holdout, the
        real rows that are hit; expected, how many training rows would be by chance; share, the synthetic rows that hit
        a training row, beyond what the holdout leads to expect, of all; same, synthetic rows that equal a training row
        that is there once; detectable, the least share of copies that would be found where no holdout row is hit; and
        examples, pairs of a synthetic row and a training row by their numbers, the closest
        first, where any are found.

    Reference:
        Zhao, Kunar, Birke and Chen (2021) for the ratio.

    Example:
        >>> rows = np.random.default_rng(0).normal(size=(3, 1000, 3))
        >>> copies(*rows)["found"]
        False
        >>> rows[0, :10] = rows[1, :10]
        >>> copies(*rows)["same"], copies(*rows)["found"]
        (10, True)
    """
    from scipy.special import bdtrc  # here, for importing it takes a fifth of a second

    pool = _Pool.of(train, holdout)
    distances, nearest = _nearest(pool.rows, synthetic, 2)
    nearest = nearest[:, 0]
    is_single = (pool.training + pool.holdout)[nearest] == 1
    of_training = is_single & (pool.training[nearest] == 1)
    of_holdout = is_single & ~of_training
    ratio = distances[:, 0] / np.maximum(distances[:, -1], np.finfo(float).tiny)
    share = len(train) / (len(train) + len(holdout))
    tried = []
    for limit in _RATIOS:
        hits = ratio < limit
        training = len(np.unique(nearest[hits & of_training]))
        others = len(np.unique(nearest[hits & of_holdout]))
        total = training + others
        by_chance = float(bdtrc(training - 1, total, share)) if training else 1.0  # eq: copies
        tried.append((by_chance, limit, training, others, hits))
    p_value, limit, training, others, hits = min(tried, key=lambda one: one[0])
    p_value = min(1.0, len(_RATIOS) * p_value)
    found = p_value < _RARE
    by_chance = (hits & of_holdout).sum() * len(train) / len(holdout)
    excess = max(0.0, float((hits & of_training).sum() - by_chance))
    closest = [row for row in ratio.argsort(kind="stable") if hits[row] and of_training[row]]
    examples = [(int(row), int(pool.first[nearest[row]])) for row in closest[:_NAMED]]
    return {
        "found": found,
        "p_value": p_value,
        "ratio": limit,
        "training": training,
        "holdout": others,
        "expected": (training + others) * share,
        "share": excess / len(synthetic),
        "same": int((of_training & (distances[:, 0] == 0)).sum()),
        "detectable": math.log(_RARE / len(_RATIOS)) / math.log(share) / len(synthetic),
        "examples": examples if found else [],
    }


def authenticity(synthetic: Array, train: Array) -> Estimate:
    r"""The share of rows that are farther from their nearest training row than that is from its nearest other one.

    Of rows that were not copied this depends on the data; see what real rows of a holdout get.

    Args:
        synthetic: Their `places`, (N, D), or those of a holdout.
        train: (n, D).

    Reference:
        Alaa et al. (2022).

    Example:
        >>> train = np.array([[0.0], [1.0], [5.0]])
        >>> authenticity(np.array([[0.5], [9.0], [4.0]]), train).mean  # 4 is nearer to 5 than its nearest, 1
        0.0
        >>> authenticity(np.array([[-2.0], [9.5]]), train).mean
        1.0
    """
    rows = _sorted(train)
    apart = _nearest(rows, rows, 2)[0][:, -1]
    distances, nearest = _nearest(rows, synthetic)
    is_authentic = distances[:, 0] > apart[nearest[:, 0]]  # eq: authenticity
    share = float(is_authentic.mean())
    error = np.sqrt(share * (1 - share) / len(synthetic))
    return Estimate(share, float(error), len(synthetic))


def attack(members: Array, others: Array) -> dict[str, Any]:
    r"""How well a score tells the rows that a model was trained on from rows that it was not.

    The AUC is the probability that a member has the higher score, ties half, with DeLong's standard error; 1/2 is
    chance. At low false alarms: the share of members above all but 1 % of the others.

    Args:
        members: Scores of training rows, (n,), such as log p(x).
        others: Scores of rows of a holdout, (m,).

    Returns:
        auc, {"mean", "se", "n"}; and found, the share of members that are found while 1 % of the others are taken for
        members, None for fewer than 100 others.

    Reference:
        DeLong et al. (1988); Carlini et al. (2022) on low false alarms.

    Example:
        >>> attack(np.array([1.0, 3.0]), np.array([0.0, 2.0]))["auc"]["mean"]
        0.75
    """
    scores = np.concatenate([members, others])
    auc = auc_of(scores, np.arange(len(scores)) < len(members))
    found = None
    if len(others) >= 1 / _FALSE_ALARMS:
        limit = np.sort(others)[::-1][int(_FALSE_ALARMS * len(others))]
        found = float((members > limit).mean())
    return {"auc": auc.to_dict(), "found": found}


def nearness(rows: Array, synthetic: Array) -> Array:
    """A score of membership from synthetic rows alone: minus the distance of each row to the nearest, (N,).

    Args:
        rows: Their `places`, (N, D).
        synthetic: Theirs, (M, D).

    Reference:
        Chen et al. (2020): an attack without the model.

    Example:
        >>> nearness(np.array([[0.0], [3.0]]), np.array([[1.0], [9.0]])).tolist()
        [-1.0, -2.0]
    """
    return -_nearest(_sorted(synthetic), rows)[0][:, 0]
