"""The same rows as the model's codes, as principal components, and as they are."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from variform.data.dataset import Dataset
from variform.evaluation import exploration
from variform.evaluation.components import MixedCoding
from variform.model.vae import VAE

Array = np.ndarray[Any, np.dtype[Any]]

_MOST_ROWS = 10_000
_MOST_BYTES = 2**28  # of the rows as they are, in float64


@dataclass(frozen=True, eq=False)
class Representation:
    """Rows in one space.

    Args:
        fitted: Training rows, (N, C): what is asked of a space is learned from them.
        judged: Other rows, (M, C): there it is judged.
    """

    fitted: Array
    judged: Array


def some_rows(data: Dataset, train: Dataset) -> tuple[Dataset, Dataset]:
    """Training rows to fit to and rows of `data` to judge on: at most 10,000 of each, fewer where rows are large.

    Args:
        data: Rows that were not trained on.
        train: Training rows.

    Example:
        >>> from variform import read
        >>> digits = read("digits")
        >>> [len(rows) for rows in some_rows(digits.test, digits.train)]
        [1422, 197]
    """
    most = min(_MOST_ROWS, max(500, _MOST_BYTES // (8 * math.prod(train.schema.shape))))
    fitted, judged = (
        rows.take(exploration.spread(min(most, len(rows)), len(rows))) for rows in (train, data)
    )
    return fitted, judged


def represented(
    vae: VAE, fitted: Dataset, judged: Dataset, *, seed: int = 0
) -> dict[str, Representation]:
    """The rows in three spaces, by name.

    - codes: the means of q(z|x), (N, latent_dim);
    - pca: as many principal components of the training rows as the model has latents, or as the rows allow;
    - columns: the rows as the model sees them, categories as in FAMD and gaps as means. PCA is of these.

    Args:
        vae: The model.
        fitted: Training rows.
        judged: Other rows.
        seed: Seed of the binarisation, where the data ask for one.

    Example:
        >>> from variform import ModelConfig, build_vae, read
        >>> digits = read("digits")
        >>> spaces = represented(build_vae(ModelConfig(latent_dim=3), digits.schema), digits.train, digits.test)
        >>> {name: space.judged.shape for name, space in spaces.items()}
        {'codes': (197, 3), 'pca': (197, 3), 'columns': (197, 64)}
    """
    codes = [exploration.encode(vae, rows, seed=seed)[0] for rows in (fitted, judged)]
    columns = _columns(fitted, judged, seed)
    return {
        "codes": Representation(*(each.astype(np.float64) for each in codes)),
        "pca": _components(columns, vae.latent_dim, seed),
        "columns": columns,
    }


def _columns(fitted: Dataset, judged: Dataset, seed: int) -> Representation:
    from sklearn.impute import SimpleImputer

    x, other = (rows.prepared(seed=seed).double().flatten(1).numpy() for rows in (fitted, judged))
    if fitted.schema.kinds:
        coding = MixedCoding.of(x, fitted.schema)
        x, other = coding.encode(x), coding.encode(other)
    means = SimpleImputer(keep_empty_features=True)
    return Representation(means.fit_transform(x), np.asarray(means.transform(other)))


def _components(columns: Representation, latents: int, seed: int) -> Representation:
    from sklearn.decomposition import PCA

    pca = PCA(min(latents, *columns.fitted.shape), random_state=seed)
    return Representation(pca.fit_transform(columns.fitted), pca.transform(columns.judged))
