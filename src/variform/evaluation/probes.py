"""What the latents hold: linear probes, neighbours and clusters of the codes, beside as many principal components."""

import math
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from variform.config.checks import Count, checked, require
from variform.data.dataset import Dataset
from variform.evaluation import clusters, exploration
from variform.evaluation.differences import mean_difference
from variform.evaluation.representations import Representation, represented, some_rows
from variform.evaluation.standard_error import Estimate, r_squared_by_row
from variform.model.vae import VAE, HasVAE, vae_of

Array = np.ndarray[Any, np.dtype[Any]]
Spaces = Mapping[str, Representation]

FEWEST_ROWS = 10
"""Rows of either part that a probe needs."""
_MOST_CLASSES, _MOST_COLUMNS = 100, 50
_PENALTIES = np.logspace(-3, 5, 17)
_LEAST_PROBABILITY = 1e-15
_STEPS = 200  # of a logistic regression: among hundreds of columns of pixels more hardly change what it says


@checked
def probe(
    vae: VAE | HasVAE, data: Dataset, train: Dataset, *, neighbours: Count = 10, seed: int = 0
) -> dict[str, Any]:
    r"""What the codes tell and keep, beside as many principal components, beside the rows themselves.

    Everything is learned from the codes (posterior means) of training rows and judged on those of other rows; at most
    10,000 of either are looked at. Of what is known of the rows:

    - labels, and responses of words: the accuracy and the log loss $-\tfrac1N \sum_n \log p(y_n | z_n)$ of a logistic
      regression (on codes with mean 0 and variance 1, with the penalty that scikit-learn has); the accuracy of the
      majority among the nearest training codes; and how far clusters of the codes, by k-means and by a mixture of
      Gaussians, as many as there are classes, are those classes: adjusted Rand index and normalised mutual information;
    - responses and columns of numbers: $R^2$ of a ridge regression, see `linear_fits`; of responses also that of the
      mean of the nearest training rows, which need not be linear. Of more than 50 columns 50 are looked at, evenly.

    Of the rows alone: whether neighbours stay neighbours, see `clusters.neighbourhoods`, and how well the codes fall
    into clusters, see `clusters.separation`.

    Args:
        vae: The model, or a `Model` or a run that has it.
        data: Rows that it was not trained on.
        train: Its training rows.
        neighbours: How many neighbours are asked.
        seed: Seed of the clusters, and of the binarisation where the data ask for one.

    Returns:
        A dict with fitted and judged, the numbers of rows; dimensions, those of each space; neighbours; is_told,
        whether the encoder is given a condition, which its codes then need not hold; classes and responses by name,
        columns (each, and all: the mean over them), neighbourhoods and clusters. A measure in them has an estimate
        {"mean", "se", "n"} for each space that it was taken in (codes, pca, columns; guess: what is reached without
        x) and codes_minus_pca, whose errors are paired. Errors are over the rows that are judged, those of clusters
        and neighbourhoods by a jackknife, and those of clusters over resamples of the training rows too; how codes
        or components would change with other training rows is in none of them.

    Raises:
        ValueError: for fewer than 10 rows of either.

    Reference:
        Alain and Bengio (2017), Understanding intermediate layers using linear classifier probes; Hubert and Arabie
        (1985) for the adjusted Rand index.

    Example:
        >>> from variform import ModelConfig, build_vae, read
        >>> digits = read("digits")
        >>> found = probe(build_vae(ModelConfig(latent_dim=2), digits.schema), digits.test, digits.train)
        >>> found["dimensions"], list(found["classes"]["label"]["accuracy"])
        ({'codes': 2, 'pca': 2, 'columns': 64}, ['codes', 'pca', 'columns', 'guess', 'codes_minus_pca'])
    """
    vae = vae_of(vae)
    require_rows(len(data), len(train))
    fitted, judged = some_rows(data, train)
    spaces = represented(vae, fitted, judged, seed=seed)
    classes = dict(_classes(fitted, judged))
    counts = [int(known.max()) + 1 for known, _ in classes.values()]
    return {
        "fitted": len(fitted),
        "judged": len(judged),
        "dimensions": {name: space.fitted.shape[1] for name, space in spaces.items()},
        "neighbours": neighbours,
        "is_told": vae.context_dim > 0,
        "classes": {
            name: _of_classes(spaces, *labels, neighbours, seed) for name, labels in classes.items()
        },
        "responses": {
            name: _of_numbers(spaces, *numbers, neighbours)
            for name, numbers in _responses(fitted, judged)
        },
        "columns": _of_columns(spaces, dict(_columns(fitted, judged, seed))),
        "neighbourhoods": clusters.neighbourhoods(spaces, neighbours),
        "clusters": clusters.separation(spaces, counts[0] if counts else None, seed=seed),
    }


def require_rows(data: int, train: int) -> None:
    """Refuse to probe on fewer than 10 rows, or from as few.

    Example:
        >>> require_rows(3, 100)
        Traceback (most recent call last):
        ValueError: a probe must have at least 10 training rows and 10 others; got 3 of one. Choose another `split`, \
or bring more rows.
    """
    fewest = min(data, train)
    require(
        fewest >= FEWEST_ROWS,
        f"a probe must have at least {FEWEST_ROWS} training rows and {FEWEST_ROWS} others",
        f"{fewest} of one",
        "Choose another `split`, or bring more rows.",
    )


def linear_fits(vae: VAE, data: Dataset, train: Dataset, *, seed: int = 0) -> dict[str, Any]:
    r"""$R^2 = 1 - \sum_n (y_n - \hat y_n)^2 / \sum_n (y_n - \bar y)^2$ on `data` of ridge regressions from codes.

    A regression is fitted to the posterior means of `train`, each with mean 0 and variance 1, and its penalty is the
    one that leave-one-out validation prefers. PCA has as many components as the model has latents, or as the rows
    allow, and is fitted to the same rows as the model sees them (categories as in FAMD, gaps as means). It is linear: a
    response can depend on the codes in ways that neither number shows.

    Args:
        vae: The model.
        data: Rows that it was not trained on; at most 10,000 of them are looked at.
        train: Its training rows; likewise.
        seed: Seed of the binarisation, where the data ask for one.

    Returns:
        By the name of each response of numbers that 10 rows or more of both have and that varies in both: codes and
        pca, the two R^2, and rows, the number of rows of `data` that they are of.

    Example:
        >>> from variform import ModelConfig, build_vae, read
        >>> digits = read("digits")
        >>> linear_fits(build_vae(ModelConfig(), digits.schema), digits.test, digits.train)
        {}
    """
    if all(values.dtype.kind in "US" for values in train.responses.values()):
        return {}
    fitted, judged = some_rows(data, train)
    spaces = represented(vae, fitted, judged, seed=seed)
    fits = {}
    for name, (known, wanted) in _responses(fitted, judged):
        by_row = {
            space: _explained(spaces[space], known, wanted).mean().item()
            for space in ("codes", "pca")
        }
        fits[name] = {**by_row, "rows": int(np.isfinite(wanted).sum())}
    return fits


# --- what is known of rows ----------------------------------------------------------------------------------------


def _classes(fitted: Dataset, judged: Dataset) -> Iterator[tuple[str, tuple[Array, Array]]]:
    """The classes of the rows of both, -1 where one is not known, of the label and of each response of words."""
    found = {}
    if fitted.labels is not None and judged.labels is not None:
        found[fitted.schema.label or "label"] = (fitted.labels.numpy(), judged.labels.numpy())
    for name, values in fitted.responses.items():
        if values.dtype.kind in "US":
            found[name] = (values, judged.responses[name])
    for name, (known, wanted) in found.items():
        is_there = known != ("" if known.dtype.kind in "US" else -1)
        names, numbers = np.unique(known[is_there], return_inverse=True)
        if not 2 <= len(names) <= _MOST_CLASSES:
            continue
        place = np.searchsorted(names, wanted).clip(0, len(names) - 1)
        of_judged = np.where(names[place] == wanted, place, -1)
        of_fitted = np.full(len(known), -1)
        of_fitted[is_there] = numbers
        if min((of_fitted >= 0).sum(), (of_judged >= 0).sum()) >= FEWEST_ROWS:
            yield name, (of_fitted, of_judged)


def _responses(fitted: Dataset, judged: Dataset) -> Iterator[tuple[str, tuple[Array, Array]]]:
    """The responses of numbers that vary in both."""
    for name, known in fitted.responses.items():
        if known.dtype.kind not in "US" and _vary(known, judged.responses[name]):
            yield name, (known, judged.responses[name])


def _columns(
    fitted: Dataset, judged: Dataset, seed: int
) -> Iterator[tuple[str, tuple[Array, Array]]]:
    """The columns of numbers of a table that vary in both, as the model sees them; at most 50."""
    schema = fitted.schema
    if schema.kind != "table":
        return
    x, other = (rows.prepared(seed=seed).double().numpy() for rows in (fitted, judged))
    categories = schema.categories or ((),) * len(schema.columns)
    places = [place for place, names in enumerate(categories) if not names]
    for chosen in exploration.spread(_MOST_COLUMNS, len(places)).tolist() if places else []:
        place = places[chosen]
        if _vary(x[:, place], other[:, place]):
            yield schema.columns[place], (x[:, place], other[:, place])


def _vary(*parts: Array) -> bool:
    known = [values[np.isfinite(values)] for values in parts]
    return all(len(values) >= FEWEST_ROWS and np.ptp(values) > 0 for values in known)


# --- what of it a space tells -------------------------------------------------------------------------------------


def _compared(by_row: Mapping[str, Tensor]) -> dict[str, Any]:
    """A measure that is a mean over rows, by the spaces that it was taken in."""
    measure = {name: Estimate.of(values).to_dict() for name, values in by_row.items()}
    difference = mean_difference(by_row["codes"], by_row["pca"])
    return measure | {"codes_minus_pca": difference.to_dict()}


def _of_numbers(spaces: Spaces, known: Array, wanted: Array, neighbours: int) -> dict[str, Any]:
    by_row = {name: _explained(space, known, wanted) for name, space in spaces.items()}
    near = {
        name: _explained(space, known, wanted, neighbours=neighbours)
        for name, space in spaces.items()
    }
    return {"r_squared": _compared(by_row), "neighbours_r_squared": _compared(near)}


def _of_columns(spaces: Spaces, columns: Mapping[str, tuple[Array, Array]]) -> dict[str, Any]:
    """Of each column but from the rows themselves, which know it, and the mean over columns."""
    spaces = {name: spaces[name] for name in ("codes", "pca")}
    if not columns:
        return {}
    each, wholes = {}, []
    for column, (known, wanted) in columns.items():
        by_row = {name: _explained(space, known, wanted) for name, space in spaces.items()}
        each[column] = _compared(by_row)
        is_wanted = torch.from_numpy(np.isfinite(wanted))
        wholes.append({name: _spread_out(values, is_wanted) for name, values in by_row.items()})
    mean = {name: torch.stack([whole[name] for whole in wholes]).mean(0) for name in spaces}
    return {"all": _compared(mean), "each": each}


def _spread_out(values: Tensor, is_there: Tensor) -> Tensor:
    """Values of some rows as values of all rows with the same mean, and the same error of it."""
    whole = values.mean().expand(len(is_there)).clone()
    whole[is_there] += (values - values.mean()) * (len(is_there) / len(values))
    return whole


def _explained(
    space: Representation, known: Array, wanted: Array, *, neighbours: int = 0
) -> Tensor:
    r"""Numbers of the rows, where there are any, whose mean is R^2 and whose spread gives its error.

    With the squared errors $a_n$ and the squared distances from the mean $b_n$, $R^2 = 1 - \bar a / \bar b$ moves
    with a row by $-(a_n - (1 - R^2)\, b_n) / (N \bar b)$ (the delta method). The regression is ridge regression, or the
    mean of so many nearest neighbours.
    """
    from sklearn.linear_model import RidgeCV
    from sklearn.neighbors import KNeighborsRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    is_known, is_wanted = np.isfinite(known), np.isfinite(wanted)
    regression = make_pipeline(StandardScaler(), RidgeCV(_PENALTIES))
    if neighbours:
        regression = KNeighborsRegressor(min(neighbours, int(is_known.sum())))
    regression.fit(space.fitted[is_known], known[is_known])
    truth = wanted[is_wanted]
    predicted = np.asarray(regression.predict(space.judged[is_wanted]))
    return torch.from_numpy(r_squared_by_row(truth, predicted))


def _of_classes(
    spaces: Spaces, known: Array, wanted: Array, neighbours: int, seed: int
) -> dict[str, Any]:
    """The measures of classes, numbers from 0, or -1 where a row has none."""
    is_known, is_wanted = known >= 0, wanted >= 0
    labels, truth = known[is_known], wanted[is_wanted]
    shares = np.bincount(labels) / len(labels)
    is_usual = truth == shares.argmax()
    hits, losses, near_hits = {}, {}, {}
    for name, space in spaces.items():
        x, other = space.fitted[is_known], space.judged[is_wanted]
        logs = _log_probabilities(x, labels, other)
        hits[name] = _as_rows(logs.argmax(1) == truth)
        losses[name] = _as_rows(-logs[np.arange(len(truth)), truth])
        near_hits[name] = _as_rows(_nearest(x, labels, other, neighbours) == truth)
    guess = _as_rows(is_usual)
    return {
        "count": len(shares),
        "accuracy": _compared(hits | {"guess": guess}),
        "log_loss": _compared(losses | {"guess": _as_rows(-np.log(shares[truth]))}),
        "neighbours_accuracy": _compared(near_hits | {"guess": guess}),
        **clusters.agreement(spaces, wanted, len(shares), seed=seed),
    }


def _as_rows(values: Array) -> Tensor:
    return torch.from_numpy(values.astype(np.float64))


def _log_probabilities(x: Array, labels: Array, other: Array) -> Array:
    """Of each class for each of the other rows, (M, classes), by logistic regression."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=_STEPS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # near enough
        model.fit(x, labels)
    return model.predict_log_proba(other).clip(math.log(_LEAST_PROBABILITY))


def _nearest(x: Array, labels: Array, other: Array, neighbours: int) -> Array:
    """The class of most of the nearest rows of x, for each of the other rows."""
    from sklearn.neighbors import KNeighborsClassifier

    model = KNeighborsClassifier(min(neighbours, len(x)))
    return model.fit(x, labels).predict(other)
