"""How like real rows are synthetic ones, and may they stand in for them? Columns, pairs of columns, and predictions."""

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from variform.evaluation.standard_error import Estimate, r_squared_by_row

Array = np.ndarray[Any, np.dtype[Any]]

_BINS = 8  # of a column's numbers, by its quantiles
_MOST_CATEGORIES = 20  # in a pair; the rarer ones count as one
_MOST_IN_PAIRS = 50  # columns: with more, so many at random
_MOST_LEVELS = 255  # of the boosted trees: a column of more categories is taken for numbers
_ITERATIONS = 60  # of the boosted trees


def distance(one: Array, other: Array, *, categorical: bool = False) -> float:
    r"""How far apart two samples of one column are, from 0 to 1.

    Of numbers the distance of Kolmogorov and Smirnov, $\sup_t |F(t) - G(t)|$, where a gap lies below every number; of
    categories the total variation, $\tfrac12 \sum_c |p_c - q_c|$, where a gap is a category.

    Args:
        one: (N,), NaN where a value is missing.
        other: (M,).
        categorical: Whether the values are numbers of categories.

    Reference:
        Smirnov (1939); Levin and Peres (2017), proposition 4.2.

    Example:
        >>> distance(np.array([1.0, 2.0]), np.array([2.0, 3.0]))
        0.5
        >>> distance(np.array([0.0, 1.0]), np.array([1.0, np.nan]), categorical=True)
        0.5
    """
    one, other = (np.where(np.isnan(part), -np.inf, part) for part in (one, other))
    values = np.unique(np.concatenate([one, other]))
    if categorical:
        first, second = (np.bincount(np.searchsorted(values, part), minlength=len(values)) / len(part)
                         for part in (one, other))  # fmt: skip
        return float(np.abs(first - second).sum() / 2)  # eq: total-variation
    first, second = (
        np.searchsorted(np.sort(part), values, side="right") / len(part) for part in (one, other)
    )
    return float(np.abs(first - second).max())  # eq: kolmogorov-smirnov


def marginals(
    synthetic: Array,
    real: Array,
    halves: tuple[Array, Array],
    *,
    names: Sequence[str],
    categorical: Sequence[int] = (),
) -> list[dict[str, Any]]:
    """The `distance` of each column between synthetic and real rows, beside that of two sets of real rows.

    Args:
        synthetic: (N, D), NaN where a value is missing.
        real: Rows that the model was not trained on, (N, D).
        halves: Two sets of real rows of the same sizes.
        names: Names of the columns.
        categorical: The columns that are numbers of categories.

    Returns:
        For each column, the farthest first: column, distance, and of_real, what the two sets of real rows give.

    Example:
        >>> rows = np.arange(8.0)[:, None]
        >>> marginals(rows + 4, rows, (rows[::2], rows[1::2]), names=["a"])
        [{'column': 'a', 'distance': 0.5, 'of_real': 0.25}]
    """
    columns = []
    for place, name in enumerate(names):
        is_category = place in categorical
        apart = distance(synthetic[:, place], real[:, place], categorical=is_category)
        first, second = (half[:, place] for half in halves)
        by_chance = distance(first, second, categorical=is_category)
        columns.append({"column": name, "distance": apart, "of_real": by_chance})
    return sorted(columns, key=lambda column: column["of_real"] - column["distance"])


def pairs(
    synthetic: Array,
    real: Array,
    halves: tuple[Array, Array],
    *,
    names: Sequence[str],
    categorical: Sequence[int] = (),
    seed: int = 0,
) -> list[dict[str, Any]]:
    """The total variation of each pair of columns between synthetic and real rows, beside that of two real sets.

    Numbers are cut into eight classes by the quantiles of the real rows; a gap is a class. The distance grows with
    fewer rows: what the real sets give is the measure, not 0. Of more than 50 columns 50 at random are looked at.

    Args:
        synthetic, real, halves, names, categorical: As of `marginals`.
        seed: Seed of the choice of columns.

    Returns:
        For each pair, the farthest first: columns, distance, and of_real.

    Example:
        >>> rows = np.random.default_rng(0).normal(size=(4, 2000, 2))
        >>> rows[1:, :, 1] = rows[1:, :, 0]  # the real columns repeat each other
        >>> pair, = pairs(rows[0], rows[1], (rows[2], rows[3]), names=["a", "b"])
        >>> pair["columns"], pair["distance"] > 0.8, pair["of_real"] < 0.05
        (('a', 'b'), True, True)
    """
    width = len(names)
    chosen = np.arange(width)
    if width > _MOST_IN_PAIRS:
        chosen = np.sort(np.random.default_rng(seed).permutation(width)[:_MOST_IN_PAIRS])
    parts = (synthetic, real, *halves)
    codes = [
        _classes([part[:, column] for part in parts], column in categorical) for column in chosen
    ]
    found = []
    for first, second in itertools.combinations(range(len(chosen)), 2):
        tables = [_table(*both) for both in zip(codes[first], codes[second], strict=True)]
        found.append(
            {
                "columns": (names[chosen[first]], names[chosen[second]]),
                "distance": _total_variation(tables[0], tables[1]),
                "of_real": _total_variation(tables[2], tables[3]),
            }
        )
    return sorted(found, key=lambda pair: pair["of_real"] - pair["distance"])


def _classes(parts: Sequence[Array], is_category: bool) -> list[Array]:
    """In which class each value is, in every part; the last class is that of gaps."""
    real = np.concatenate(parts[1:])
    known = real[~np.isnan(real)]
    if is_category:
        values, counts = np.unique(known, return_counts=True)
        kept = np.sort(values[counts.argsort()[::-1][:_MOST_CATEGORIES]])
        codes = [
            np.where(np.isin(part, kept), np.searchsorted(kept, part), len(kept)) for part in parts
        ]
    else:
        shares = np.linspace(0, 1, _BINS + 1)[1:-1]
        edges = np.unique(np.quantile(known, shares)) if len(known) else np.zeros(0)
        codes = [np.searchsorted(edges, part, side="right") for part in parts]
    last = _MOST_CATEGORIES + 1
    return [np.where(np.isnan(part), last, code) for part, code in zip(parts, codes, strict=True)]


def _table(first: Array, second: Array) -> Array:
    size = _MOST_CATEGORIES + 2
    return np.bincount(first * size + second, minlength=size * size) / len(first)


def _total_variation(one: Array, other: Array) -> float:
    return float(np.abs(one - other).sum() / 2)


@dataclass(frozen=True)
class Usefulness:
    """How well a column of real rows is predicted by trees that saw synthetic rows, beside trees that saw real ones.

    Args:
        column: Name of the column that is predicted from all others.
        measure: `accuracy` of a category, `R²` of a number.
        trivial: What the most frequent category of the holdout gives; 0 of a number, where it is the mean.
        real: Trained on real rows, tested on the holdout.
        synthetic: Trained on as many synthetic rows, tested on the same.
        loss: real - synthetic, paired by rows.
    """

    column: str
    measure: str
    trivial: float
    real: Estimate
    synthetic: Estimate
    loss: Estimate

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def usefulness(
    synthetic: Array,
    train: Array,
    holdout: Array,
    *,
    names: Sequence[str],
    categorical: Sequence[int] = (),
    targets: Sequence[int] | None = None,
    seed: int = 0,
) -> list[Usefulness]:
    r"""Train on synthetic, test on real: what a prediction loses where synthetic rows stand in for real ones.

    Each target is predicted from the other columns by boosted trees, once fitted to real and once to as many synthetic
    rows, and both are tested on the same holdout. Of numbers $R^2 = 1 - \sum_i (y_i - \hat y_i)^2 / \sum_i (y_i - \bar
    y)^2$, of categories the share of right answers.

    Args:
        synthetic: (N, D), NaN where a value is missing.
        train: The real training rows, (M, D); as many of both are used.
        holdout: Real rows that the model was not trained on.
        names: Names of the columns.
        categorical: The columns that are numbers of categories.
        targets: Numbers of the columns to predict; by default all. What never varies is left out.
        seed: Seed of the choice of rows.

    Reference:
        Esteban, Hyland and Rätsch (2017): TSTR.

    Example:
        >>> rows = np.random.default_rng(0).normal(size=(3, 500, 2))
        >>> rows[1:, :, 1] = rows[1:, :, 0]  # which the synthetic rows do not know
        >>> first, second = usefulness(*rows, names=("a", "b"))
        >>> first.real.mean > 0.95, first.synthetic.mean < 0.1
        (True, True)
    """
    random = np.random.default_rng(seed)
    count = min(len(synthetic), len(train))
    fits = tuple(rows[random.permutation(len(rows))[:count]] for rows in (train, synthetic))
    found = []
    for target in range(len(names)) if targets is None else targets:
        own = holdout[:, target]
        own = own[~np.isnan(own)]
        if len(own) > 1 and own.min() < own.max():
            is_category = target in categorical
            others = [column for column in range(len(names)) if column != target]
            told = [place for place, column in enumerate(others) if column in categorical]
            answers = [
                _predicted(rows, holdout, target, others, told, is_category, seed) for rows in fits
            ]
            found.append(_usefulness(names[target], own, answers, is_category))
    return found


def _predicted(
    rows: Array, holdout: Array, target: int, others: list[int], told: list[int], is_category: bool, seed: int
) -> Array:  # fmt: skip
    """What trees that saw some rows say of the target of the holdout's rows where it is known."""
    # Here, for importing scikit-learn takes as long as torch.
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    rows = rows[~np.isnan(rows[:, target])]
    asked = holdout[~np.isnan(holdout[:, target])][:, others]
    y = rows[:, target]
    if not len(rows) or y.min() == y.max():
        return np.full(len(asked), y[0] if len(rows) else 0.0)
    x = rows[:, others]
    told = [
        column for column in told if np.nanmax([*x[:, column], *asked[:, column], 0]) < _MOST_LEVELS
    ]
    options = {"max_iter": _ITERATIONS, "early_stopping": False, "random_state": seed}
    made = HistGradientBoostingClassifier if is_category else HistGradientBoostingRegressor
    trees = made(categorical_features=told or None, **options)
    return trees.fit(x, y).predict(asked)


def _usefulness(name: str, own: Array, answers: Sequence[Array], is_category: bool) -> Usefulness:
    if is_category:
        scores = [(answer == own).astype(float) for answer in answers]
        trivial = np.unique(own, return_counts=True)[1].max() / len(own)
    else:
        scores = [r_squared_by_row(own, answer) for answer in answers]
        trivial = 0.0
    real, made = scores
    measure = "accuracy" if is_category else "R²"
    return Usefulness(name, measure, float(trivial), _mean(real), _mean(made), _mean(real - made))


def _mean(scores: Array) -> Estimate:
    error = scores.std(ddof=1) / np.sqrt(len(scores))
    return Estimate(float(scores.mean()), float(error), len(scores))
