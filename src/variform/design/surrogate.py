"""How much of each response can be learned in each space, and which space that recommends."""

import dataclasses
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from variform.config.words import counted, listed
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
_ENOUGH = 0.05  # of R2: a space that loses no more is as good, also where it is told from the best
_ERRORS = 2  # standard errors within which two spaces are not told apart
_SIMPLEST = ("raw", "pca", "latent", "pool")  # of as many coordinates: what needs least to be had
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
        lost: What it is below that of the best space, with the error of the difference on the same rows; None in
            journals of older versions.
    """

    response: str
    space: str
    dim: int
    r2: Estimate
    regression: str
    rows: int
    lost: Estimate | None = None

    @property
    def is_as_good(self) -> bool:
        """Whether the space is not told from the best one, or hardly worse."""
        lost = self.lost or Estimate(0.0, 0.0, self.r2.n)
        return lost.mean <= max(_ENOUGH, _ERRORS * lost.se)


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
    the training rows. Recommended is the space with the fewest coordinates among those that are as good as the best in
    every response of which some space predicts a tenth: whose R^2 is at most .05 below the best, or within two standard
    errors of the difference on the same rows, which does not tell them apart. Of as many coordinates columns come
    before components and these before latents. Where no space is, it is the one with the least loss.

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
    fits: list[Fit] = []
    predictions: list[Array] = []
    for space in spaces:
        points, wanted = space.encode(designs_of(rows)), space.encode(designs_of(others))
        for name in names:
            known = np.isfinite(rows.responses[name])
            asked = np.isfinite(others.responses[name])
            fitted = Regression.of(points[known], rows.responses[name][known], seed)
            predicted = fitted.predict(wanted[asked])
            r2 = r_squared(others.responses[name][asked], predicted)
            fits.append(Fit(name, space.name, space.dim, r2, fitted.name, fitted.rows))
            predictions.append(predicted)
    fits = _with_losses(fits, predictions, others)
    recommended, reason = _recommend(fits)
    return Surrogates(tuple(fits), recommended, reason)


def _with_losses(
    fits: Sequence[Fit], predictions: Sequence[Array], held_out: Dataset
) -> list[Fit]:  # fmt: skip
    """The same, each beside the best of its response."""
    best: dict[str, int] = {}
    for number, fit in enumerate(fits):
        first = best.setdefault(fit.response, number)
        if fit.r2.mean > fits[first].r2.mean:
            best[fit.response] = number
    found = []
    for fit, predicted in zip(fits, predictions, strict=True):
        wanted = held_out.responses[fit.response]
        wanted = wanted[np.isfinite(wanted)]
        lost = lost_r_squared(wanted, predicted, predictions[best[fit.response]])
        found.append(dataclasses.replace(fit, lost=lost))
    return found


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
    ratio = _ratio((wanted - predicted) ** 2, (wanted - wanted.mean()) ** 2)
    return Estimate(1 - ratio.mean, ratio.se, ratio.n)


def lost_r_squared(wanted: Array, predicted: Array, by_best: Array) -> Estimate:
    """How much R^2 one prediction has less than another of the same rows, with the error of that difference.

    Rows that are hard for both cancel, so that the error is smaller than those of the two say.

    Args:
        wanted: (N,).
        predicted: (N,).
        by_best: (N,), the other prediction.

    Example:
        >>> wanted = np.array([1.0, 2.0, 3.0])
        >>> lost_r_squared(wanted, np.array([1.0, 2.0, 4.0]), wanted).mean
        0.5
    """
    squares = (wanted - predicted) ** 2 - (wanted - by_best) ** 2
    return _ratio(squares, (wanted - wanted.mean()) ** 2)


def _ratio(values: Array, others: Array) -> Estimate:
    """The ratio of two means over the same rows."""
    ratio = values.mean() / others.mean()
    error = (values - ratio * others).std(ddof=1) / (math.sqrt(len(values)) * others.mean())
    return Estimate(float(ratio), float(error), len(values))


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
    told = [fit for fit in fits if fit.response in learned]
    worse = {fit.space for fit in told if not fit.is_as_good}
    as_good = sorted(set(spaces) - worse, key=lambda name: (spaces[name], _simplicity(name)))
    if as_good:
        return as_good[0], _reason(as_good, worse, spaces)
    lost = {
        name: max(learned[fit.response] - fit.r2.mean for fit in told if fit.space == name)
        for name in spaces
    }
    space = min(spaces, key=lambda name: lost[name])
    return space, (
        f"no space is among the best for every response; {space} loses least R2 on the response on which it loses "
        f"most, {lost[space]:.2f}."
    )


def _simplicity(space: str) -> int:
    kind = space.partition("-")[0]
    return _SIMPLEST.index(kind) if kind in _SIMPLEST else len(_SIMPLEST)


def _reason(as_good: Sequence[str], worse: set[str], dims: Mapping[str, int]) -> str:
    """Why the first of the spaces is recommended."""
    space = as_good[0]
    if len(as_good) == 1:
        return f"{listed(sorted(worse))} predict some response worse, by more than two errors and {_ENOUGH} of R2."
    names = [f"{name} ({counted(dims[name], 'coordinate')})" for name in as_good]
    return (
        f"{listed(names)} are not told apart, or differ by no more than {_ENOUGH} of R2, and {space} is the simplest: "
        "fewest coordinates first, then columns before components before latents."
    )
