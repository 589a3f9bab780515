"""How much of each response can be learned in each space, and which space that recommends."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from variform.config.words import listed
from variform.data.dataset import Dataset
from variform.design.coding import designs_of
from variform.design.spaces import Space
from variform.evaluation import exploration
from variform.evaluation.standard_error import Estimate

Array = np.ndarray[Any, np.dtype[Any]]

_MOST_ROWS = 2000  # of a regression
_MOST_OF_A_PROCESS = 300
_FEWEST = 20
_FOLDS = 3
_ENOUGH = (
    0.05  # of R2: a space that is no further from the best and has fewer coordinates is better
)
_LEAST = 0.1  # R2 of a response of which there is something to learn


@dataclass(frozen=True)
class Fit:
    """How well a response is predicted from the points of a space on rows that were held out.

    Args:
        response: Its name.
        space: Name of the space.
        dim: Coordinates of the space.
        r2: The share of the variance that is predicted.
        regression: `gaussian process` or `boosted trees`, whichever the training rows preferred.
        rows: Training rows that it was fitted to.
    """

    response: str
    space: str
    dim: int
    r2: Estimate
    regression: str
    rows: int


@dataclass(frozen=True)
class Surrogates:
    """What can be learned of the responses in each space, and where to look for designs.

    Args:
        fits: One for each response and space.
        recommended: Name of a space.
        reason: Why it is that one, a sentence.
    """

    fits: tuple[Fit, ...]
    recommended: str
    reason: str


def compare_surrogates(
    spaces: Sequence[Space], train: Dataset, held_out: Dataset, *, seed: int = 0
) -> Surrogates:
    r"""$R^2$ on held-out rows of the best of two regressions of each response from the points of each space.

    A Gaussian process (of up to 300 rows) and boosted trees (of up to 2,000) are compared by cross-validation within
    the training rows. Recommended is the space with the fewest coordinates among those within .05 of the best R^2 in
    every response of which some space predicts a tenth; where there is none, the one with the least loss.

    Args:
        spaces: Such as the columns, principal components and the latents of a model.
        train: The training rows, with responses of numbers.
        held_out: Rows like them that no space was fitted to.
        seed: Seed of the regressions.

    Raises:
        ValueError: where no response of numbers varies and is known in 20 rows of both.

    Example:
        >>> from variform import DataConfig, read
        >>> from variform.design.spaces import space_of
        >>> draw = np.random.default_rng(0)
        >>> table = {name: draw.normal(size=300) for name in ("a", "b", "c", "d")}
        >>> table["drag"] = table["a"] * table["b"]
        >>> rows = read(table, DataConfig(response=("drag",)))
        >>> spaces = [space_of(None, rows.train, "raw"), space_of(None, rows.train, "pca", 2)]
        >>> compare_surrogates(spaces, rows.train, rows.test).recommended
        'raw'
    """
    names = [
        name for name in train.responses if _is_known(train, name) and _is_known(held_out, name)
    ]
    if not names:
        raise ValueError(
            f"surrogates need a response of numbers that varies and is known in {_FEWEST} rows of the training and of "
            f"the held-out part; got {listed(list(train.responses)) or 'none'}. Name columns with `response`."
        )
    rows, others = _some(train), _some(held_out)
    fits = []
    for space in spaces:
        points, wanted = space.encode(designs_of(rows)), space.encode(designs_of(others))
        for name in names:
            known = np.isfinite(rows.responses[name])
            asked = np.isfinite(others.responses[name])
            fitted = Regression.of(points[known], rows.responses[name][known], seed)
            r2 = r_squared(others.responses[name][asked], fitted.predict(wanted[asked]))
            fits.append(Fit(name, space.name, space.dim, r2, fitted.name, fitted.rows))
    recommended, reason = _recommend(fits)
    return Surrogates(tuple(fits), recommended, reason)


def _is_known(data: Dataset, name: str) -> bool:
    values = data.responses[name]
    if values.dtype.kind in "US":
        return False
    known = values[np.isfinite(values)]
    return len(known) >= _FEWEST and bool(np.ptp(known) > 0)


def _some(data: Dataset) -> Dataset:
    return data.take(exploration.spread(_MOST_ROWS, len(data)))


def r_squared(wanted: Array, predicted: Array) -> Estimate:
    r"""$R^2 = 1 - \sum_n (y_n - \hat y_n)^2 / \sum_n (y_n - \bar y)^2$ with the error of a ratio of means.

    Args:
        wanted: y, (N,).
        predicted: (N,).

    Reference:
        Cochran (1977), section 2.11: the variance of a ratio.

    Example:
        >>> r_squared(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 4.0])).mean
        0.5
    """
    squares = (wanted - predicted) ** 2
    spread = (wanted - wanted.mean()) ** 2
    ratio = squares.mean() / spread.mean()
    rest = squares - ratio * spread
    error = rest.std(ddof=1) / (math.sqrt(len(wanted)) * spread.mean())
    return Estimate(float(1 - ratio), float(error), len(wanted))


@dataclass(frozen=True, eq=False)
class Regression:
    """The regression that cross-validation prefers, fitted.

    Args:
        name: `gaussian process` or `boosted trees`.
        regression: What was fitted.
        rows: How many rows it was fitted to.
    """

    name: str
    regression: Any
    rows: int

    @classmethod
    def of(cls, points: Array, values: Array, seed: int) -> "Regression":
        """The one of points (N, dim) and what is known of them, (N,), without a word where a bound was reached."""
        least, best = math.inf, None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for name, (regression, most) in _regressions(seed).items():
                rows = exploration.spread(most, len(points)).numpy()
                error = _error_of_left_out(regression, points[rows], values[rows], seed)
                if error < least:
                    least, best = error, (name, regression, rows)
            assert best is not None
            name, regression, rows = best
            return cls(name, regression.fit(points[rows], values[rows]), len(rows))

    def predict(self, points: Array) -> Array:
        """What is expected at points (n, dim), (n,)."""
        return self.regression.predict(points)


def _regressions(seed: int) -> dict[str, tuple[Any, int]]:
    """Regressions by name, and the most rows that each gets through in a second or so."""
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, WhiteKernel
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    kernel = RBF(3.0, (0.1, 1e3)) + WhiteKernel(0.1, (1e-6, 10.0))
    process = GaussianProcessRegressor(kernel, normalize_y=True, random_state=seed)
    trees = HistGradientBoostingRegressor(random_state=seed)
    return {
        "gaussian process": (make_pipeline(StandardScaler(), process), _MOST_OF_A_PROCESS),
        "boosted trees": (trees, _MOST_ROWS),
    }


def _error_of_left_out(regression: Any, points: Array, values: Array, seed: int) -> float:
    """Mean squared error of cross-validated predictions."""
    from sklearn.model_selection import KFold, cross_val_predict

    folds = KFold(_FOLDS, shuffle=True, random_state=seed)
    predicted = cross_val_predict(regression, points, values, cv=folds)
    return float(np.mean((predicted - values) ** 2))


def _recommend(fits: Sequence[Fit]) -> tuple[str, str]:
    """The space to look for designs in, and why."""
    best = {}
    for fit in fits:
        best[fit.response] = max(fit.r2.mean, best.get(fit.response, -math.inf))
    learned = {name: r2 for name, r2 in best.items() if r2 > _LEAST}
    spaces = {fit.space: fit.dim for fit in fits}
    if not learned:
        space = min(spaces, key=lambda name: spaces[name])
        return space, (
            f"no space predicts a tenth of the variance of {listed(list(best))}; {space} has the fewest coordinates, "
            f"{spaces[space]}."
        )
    lost = dict.fromkeys(spaces, 0.0)
    for fit in fits:
        if fit.response in learned:
            lost[fit.space] = max(lost[fit.space], learned[fit.response] - fit.r2.mean)
    as_good = [name for name in spaces if lost[name] <= _ENOUGH]
    if as_good:
        space = min(as_good, key=lambda name: (spaces[name], lost[name]))
        return space, (
            f"of the spaces that predict every response within {_ENOUGH} of the best R2, {space} has the fewest "
            f"coordinates, {spaces[space]}."
        )
    space = min(spaces, key=lambda name: lost[name])
    worst = f"{lost[space]:.2f}"
    return space, f"{space} loses least R2 on the response on which it loses most, {worst}."
