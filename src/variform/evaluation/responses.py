"""How much of each response a linear function of the codes tells, beside that of as many principal components."""

import math
from typing import Any

import numpy as np

from variform.data.dataset import Dataset
from variform.evaluation import exploration
from variform.evaluation.components import MixedCoding
from variform.model.vae import VAE

Array = np.ndarray[Any, np.dtype[Any]]

_MOST_ROWS = 10_000  # of a regression
_MOST_BYTES = 2**28  # of the rows that PCA is fitted to, in float64
_FEWEST_ROWS = 10
_PENALTIES = np.logspace(-3, 5, 17)


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
    names = [name for name, values in train.responses.items() if values.dtype.kind not in "US"]
    if not names:
        return {}
    most = min(_MOST_ROWS, max(500, _MOST_BYTES // (8 * math.prod(train.schema.shape))))
    fitted, judged = (
        rows.take(exploration.spread(min(most, len(rows)), len(rows))) for rows in (train, data)
    )
    codes, others = (exploration.encode(vae, rows, seed=seed)[0] for rows in (fitted, judged))
    components = _components(fitted, judged, vae.latent_dim, seed)
    fits = {}
    for name in names:
        known, wanted = fitted.responses[name], judged.responses[name]
        if _varies(known) and _varies(wanted):
            fits[name] = {
                "codes": _r_squared(codes, others, known, wanted),
                "pca": _r_squared(*components, known, wanted),
                "rows": int(np.isfinite(wanted).sum()),
            }
    return fits


def _varies(values: Array) -> bool:
    known = values[np.isfinite(values)]
    return len(known) >= _FEWEST_ROWS and bool(np.ptp(known) > 0)


def _components(fitted: Dataset, judged: Dataset, latents: int, seed: int) -> tuple[Array, Array]:
    """The principal components of both, (N, C) each, of the first."""
    from sklearn.decomposition import PCA
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline

    x, other = (rows.prepared(seed=seed).double().flatten(1).numpy() for rows in (fitted, judged))
    if fitted.schema.kinds:
        coding = MixedCoding.of(x, fitted.schema)
        x, other = coding.encode(x), coding.encode(other)
    pca = make_pipeline(
        SimpleImputer(keep_empty_features=True),
        PCA(min(latents, *x.shape), random_state=seed),
    )
    return pca.fit_transform(x), pca.transform(other)


def _r_squared(codes: Array, others: Array, known: Array, wanted: Array) -> float:
    """R^2 on `others` and `wanted` of a regression from `codes` to `known`, where there are numbers."""
    from sklearn.linear_model import RidgeCV
    from sklearn.metrics import r2_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    is_known, is_wanted = np.isfinite(known), np.isfinite(wanted)
    regression = make_pipeline(StandardScaler(), RidgeCV(_PENALTIES))
    regression.fit(codes[is_known], known[is_known])
    return float(r2_score(wanted[is_wanted], regression.predict(others[is_wanted])))
