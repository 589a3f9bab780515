"""How good are the samples? Nearest neighbours among real and generated rows, and boosted trees that tell them apart.

No pretrained network is asked.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from variform.evaluation.standard_error import Estimate, jackknifed

_FOLDS = 5
_BINS = 255  # of the boosted trees: a column of more categories is taken for numbers
_MOST_PERMUTED = 200  # columns: with more, none is permuted
LEAST_ROWS = 7
"""Rows of each set that a comparison with five neighbours needs."""
CLEAR = 4.0
"""Standard errors by which a column must tell generated from real rows before it is named."""
_LEAST_PILE = 0.05  # difference of shares at a single value that is worth a word
_SAME = 1e-6  # of a column's range: values closer than this are one value

Array = np.ndarray[Any, np.dtype[Any]]


def compare_samples(generated: Tensor, real: Tensor, *, neighbours: int = 5) -> dict[str, Estimate]:
    r"""Precision, recall, density, coverage, and the accuracy with which a classifier tells generated from real rows.

    With $B(x_i)$ the ball around a row that reaches to its k-th neighbour of the same set, x real and y generated:

    - precision: the share of y in some $B(x_i)$; recall: the share of x in some $B(y_j)$;
    - density: the mean over y of the number of $B(x_i)$ that it is in, over k; 1 is perfect, and more is possible;
    - coverage: the share of $B(x_i)$ that hold some y; of perfect samples see `perfect_coverage`;
    - c2st: the accuracy of the nearest neighbour among all other rows as a classifier. 1/2 is perfect; 1 means that
      every row tells where it comes from, and less than 1/2 that generated rows are copies of real ones.

    Standard errors are those of a jackknife that leaves out a twentieth of the rows of both sets at a time: rows share
    their neighbours, and the error of a mean over rows would be half of the true one. Near 1 they err on the safe side.

    Args:
        generated: (N, D), or (N, ...), which is flattened.
        real: Rows that the model was not trained on, of the same shape.
        neighbours: k.

    Raises:
        ValueError: when the numbers of rows differ or are below k + 2.

    Reference:
        Kynkäänniemi et al. (2019) for precision and recall; Naeem et al. (2020), section 3, for density and coverage;
        Lopez-Paz and Oquab (2017), section 3, for the classifier.

    Example:
        >>> x = torch.randn(100, 2, generator=torch.Generator().manual_seed(0))
        >>> compare_samples(x + 9, x)["c2st"].mean
        1.0
    """
    if len(generated) != len(real) or len(real) < neighbours + 2:
        raise ValueError(
            f"generated and real rows must be equally many, and at least {neighbours + 2}; got {len(generated)} and "
            f"{len(real)}. Generate as many as there are real rows."
        )
    x = real.double().flatten(1)
    y = generated.double().flatten(1)
    x_x = _distances(x, x).fill_diagonal_(torch.inf)  # no row is its own neighbour
    y_y = _distances(y, y).fill_diagonal_(torch.inf)
    x_y = _distances(x, y)

    def measured(rows: Array) -> dict[str, float]:
        of_rows = torch.from_numpy(rows)
        among = (of_rows[:, None], of_rows)
        return _measures(x_x[among], y_y[among], x_y[among], neighbours)

    return jackknifed(measured, len(x))


def _distances(x: Tensor, y: Tensor) -> Tensor:
    """From each row to each; those by matrix products would cancel where rows lie close together."""
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")


def _measures(x_x: Tensor, y_y: Tensor, x_y: Tensor, neighbours: int) -> dict[str, float]:
    """The five numbers from the distances within the real, within the generated, and from real to generated rows."""
    radius_of_x = x_x.kthvalue(neighbours, 1).values
    radius_of_y = y_y.kthvalue(neighbours, 1).values
    in_x = x_y <= radius_of_x[:, None]
    in_y = x_y <= radius_of_y
    real_is_right = _is_right(x_x.amin(1), x_y.amin(1))
    generated_is_right = _is_right(y_y.amin(1), x_y.amin(0))
    is_right = torch.cat([real_is_right, generated_is_right])
    measures = {
        "precision": in_x.any(0).double().mean(),  # eq: sample-precision
        "recall": in_y.any(1).double().mean(),  # eq: sample-recall
        "density": in_x.sum(0).double().mean() / neighbours,  # eq: sample-density
        "coverage": in_x.any(1).double().mean(),  # eq: sample-coverage
        "c2st": is_right.mean(),  # eq: c2st
    }
    return {name: value.item() for name, value in measures.items()}


def _is_right(own: Tensor, other: Tensor) -> Tensor:
    """By row: 1 where the nearest other is of the own set, 0 where of the other, 1/2 where both are as near."""
    return (1 + (other - own).sign()) / 2


def perfect_coverage(rows: int, neighbours: int = 5) -> float:
    r"""The coverage to expect of samples from the law of the data, $1 - \prod_{j=1}^k \frac{N-j}{2N-j}$.

    Of the k nearest among the other N - 1 real and N generated rows, all being exchangeable, one must be generated.

    Args:
        rows: N, real rows and as many generated ones.
        neighbours: k.

    Reference:
        Naeem et al. (2020), section 3.

    Example:
        >>> perfect_coverage(2, 1), round(perfect_coverage(10_000), 4)
        (0.6666666666666667, 0.9688)
    """
    missed = 1.0
    for nearer in range(1, neighbours + 1):
        missed *= (rows - nearer) / (2 * rows - nearer)
    return 1 - missed  # eq: perfect-coverage


@dataclass(frozen=True)
class Telling:
    """How well one column tells generated from real rows.

    Args:
        column: Its name.
        alone: The accuracy, on rows left out, of a small tree that sees this column alone.
        drop: By how much the accuracy of the boosted trees falls when this column is permuted among the rows left out;
            None where there are more columns than are permuted.
    """

    column: str
    alone: Estimate
    drop: Estimate | None

    @property
    def is_clear(self) -> bool:
        """Whether it tells them apart by more than chance, alone or beside the others."""
        is_clear_alone = self.alone.mean - 0.5 > CLEAR * self.alone.se
        adds_to_others = self.drop is not None and self.drop.mean > CLEAR * self.drop.se
        return is_clear_alone or adds_to_others

    @property
    def weight(self) -> float:
        """What it is ordered by: the larger of what it adds to a guess alone and beside the others."""
        drop = self.drop.mean if self.drop else 0.0
        return max(self.alone.mean - 0.5, drop)


def tell_apart(
    generated: Array,
    real: Array,
    *,
    names: Sequence[str],
    categorical: Sequence[int] = (),
    contexts: Array | None = None,
    seed: int = 0,
) -> tuple[Estimate, float, list[Telling]]:
    r"""A classifier two-sample test with boosted trees: how often it classifies rows left out right, by which columns.

    The trees see values as they are: a column that piles up at one value, a gap (NaN) or a category is seen as such,
    where distances between rows hide it. The rows are cut into five parts; each part is classified by trees that were
    fitted to the other four, so that the accuracy is 1/2 where both sets follow one law, however few the rows are. Row
    i of both sets is in the same part.

    Two parts that are alike by chance are so twice, for each is classified by trees that saw the other. The 2 N answers
    therefore vary as N independent ones may: errors are those of N, and the p-value is that of half of the right
    answers under $\text{Binomial}(N, \tfrac12)$.

    Args:
        generated: (N, D), NaN where a value is missing.
        real: (N, D), rows that the model was not trained on.
        names: Names of the columns.
        categorical: The columns that are numbers of categories.
        contexts: (N, C), what row i of both sets is conditioned on: the trees see it beside the columns.
        seed: Seed of the parts and of the permutations.

    Returns:
        The accuracy; its p-value; and the columns, those that tell most first.

    Reference:
        Lopez-Paz and Oquab (2017), section 3; Breiman (2001), section 10, for the permutations; Nadeau and Bengio
        (2003), section 3, on why answers of cross-validation depend on each other.

    Example:
        >>> rows = np.random.default_rng(0).normal(size=(2, 200, 3))
        >>> rows[0, :, 1] += 9
        >>> accuracy, p_value, columns = tell_apart(*rows, names=("a", "b", "c"))
        >>> accuracy.mean > 0.99, p_value < 1e-9, columns[0].column, [column.is_clear for column in columns]
        (True, True, 'b', [True, False, False])
    """
    random = np.random.default_rng(seed)
    count = len(real)
    width = len(names)
    folds = min(_FOLDS, count)
    fold = np.tile(random.permutation(count) % folds, 2)
    context_columns = np.zeros((count, 0)) if contexts is None else contexts
    of_generated = np.column_stack([generated, context_columns])
    of_real = np.column_stack([real, context_columns])
    x = np.concatenate([of_generated, of_real])
    y = np.repeat([False, True], count)
    categorical = [column for column in categorical if np.nanmax(x[:, column], initial=0) < _BINS]
    permuted = width if width <= _MOST_PERMUTED else 0
    right = np.zeros(2 * count)  # of each row, whether the trees are right; below, by column
    right_alone = np.zeros((width, 2 * count))
    right_permuted = np.zeros((permuted, 2 * count))
    for left_out in range(folds):
        out = fold == left_out
        trees = _boosted(x[~out], y[~out], categorical, seed)
        right[out] = trees.predict(x[out]) == y[out]
        for column in range(width):
            right_alone[column, out] = _right_by(x[:, [column]], y, out)
        for column in range(permuted):
            shuffled = x[out]
            shuffled[:, column] = random.permutation(shuffled[:, column])
            right_permuted[column, out] = trees.predict(shuffled) == y[out]
    from scipy.special import bdtrc  # here, for importing it takes a fifth of a second

    half = math.ceil(right.sum() / 2)
    p_value = float(bdtrc(half - 1, count, 0.5)) if half else 1.0  # eq: c2st-p-value
    drops = [_difference(right - hits) for hits in right_permuted] or [None] * width
    columns = []
    for name, hits, drop in zip(names, right_alone, drops, strict=True):
        columns.append(Telling(name, _share(hits), drop))
    columns.sort(key=lambda column: -column.weight)
    return _share(right), p_value, columns


def _boosted(x: Array, y: Array, categorical: Sequence[int], seed: int) -> Any:
    """Boosted trees that tell y from x; the columns of numbers of categories are known as such."""
    # Here, for importing scikit-learn takes as long as torch.
    from sklearn.ensemble import HistGradientBoostingClassifier

    trees = HistGradientBoostingClassifier(
        learning_rate=0.05,
        max_leaf_nodes=8,
        categorical_features=categorical,
        early_stopping=False,
        random_state=seed,
    )
    return trees.fit(x, y)


def _share(hits: Array) -> Estimate:
    """A share of 2 N answers and its standard error, which is not 0 where all or none are right."""
    smoothed = (hits.sum() + 1) / (len(hits) + 2)
    error = np.sqrt(2 * smoothed * (1 - smoothed) / len(hits))
    return Estimate(float(hits.mean()), float(error), len(hits))


def _difference(answers: Array) -> Estimate:
    """A mean over 2 N answers with the standard error of N."""
    error = np.sqrt(2 / len(answers)) * answers.std(ddof=1)
    return Estimate(float(answers.mean()), float(error), len(answers))


def _right_by(x: Array, y: Array, out: Array) -> Array:
    """Which of the rows `out` a small tree classifies rightly that was fitted to the others."""
    # Here, for importing scikit-learn takes as long as torch.
    from sklearn.tree import DecisionTreeClassifier

    tree = DecisionTreeClassifier(max_leaf_nodes=8, min_samples_leaf=5, random_state=0)
    tree.fit(x[~out], y[~out])
    return tree.predict(x[out]) == y[out]


@dataclass(frozen=True)
class Pile:
    """A value at which many rows of one set lie exactly, and those of the other do not.

    Args:
        column: Name of the column.
        value: The value.
        generated: Share of the generated rows that hold it.
        real: Share of the real rows.
    """

    column: str
    value: float
    generated: float
    real: float


def piles(generated: Array, real: Array, *, names: Sequence[str]) -> list[Pile]:
    """Where one set piles up at a single value and the other does not, the largest difference first.

    Of each column the most frequent value of either set is looked at. It is named where the shares differ by more than
    .05 and by more than four standard errors.

    Args:
        generated: (N, D), NaN where a value is missing.
        real: (M, D).
        names: Names of the columns.

    Example:
        >>> column = np.linspace(0, 1, 100)[:, None]
        >>> piles(column, np.where(column < 0.75, 0.25, column), names=["length"])
        [Pile(column='length', value=0.25, generated=0.0, real=0.75)]
    """
    piles = []
    for column, name in enumerate(names):
        y, x = _observed(generated[:, column]), _observed(real[:, column])
        if len(y) and len(x):
            piles += _piles(y, x, name)
    return sorted(piles, key=lambda pile: -abs(pile.real - pile.generated))


def _observed(values: Array) -> Array:
    return values[~np.isnan(values)]


def _piles(generated: Array, real: Array, name: str) -> list[Pile]:
    least = min(generated.min(), real.min())
    greatest = max(generated.max(), real.max())
    step = _SAME * (greatest - least) or 1.0
    y = np.rint((generated - least) / step)
    x = np.rint((real - least) / step)
    piles = []
    for mode in {_mode(y), _mode(x)}:
        share_y = float((y == mode).mean())
        share_x = float((x == mode).mean())
        variance_y = share_y * (1 - share_y) / len(y)
        variance_x = share_x * (1 - share_x) / len(x)
        error = np.sqrt(variance_y + variance_x)
        if abs(share_y - share_x) > max(_LEAST_PILE, CLEAR * error):
            holders = real[x == mode] if share_x else generated[y == mode]
            piles.append(Pile(name, float(holders[0]), share_y, share_x))
    return piles


def _mode(values: Array) -> float:
    different, counts = np.unique(values, return_counts=True)
    return different[counts.argmax()]
