"""How many latent dimensions rows bear: as many as PCA of them has components that say something."""

import math
from collections.abc import Sequence

import numpy as np

from variform.config.words import counted

Array = np.ndarray

MOST_ROWS = 1_000
"""Rows that are looked at."""
_ROWS_A_LATENT = 20
_SHUFFLES = 5
_MOST_SHUFFLED = 512  # columns
_FEWEST = 2


def spread(rows: int) -> Array:
    """Numbers of at most `MOST_ROWS` of so many rows, from the first to the last.

    Example:
        >>> spread(3), len(spread(5_000))
        (array([0, 1, 2]), 1000)
    """
    return np.unique(np.linspace(0, rows - 1, min(rows, MOST_ROWS)).round().astype(int))


def coded(values: Array, are_categories: Sequence[bool], *, standardise: bool) -> Array:
    """Rows as PCA sees them: centred numbers, and categories as indicators over the root of their shares.

    What is missing stands at the mean; columns without a variance are left out.

    Args:
        values: Rows (N, D), NaN where a value is missing.
        are_categories: Of each column, whether its numbers are codes of categories.
        standardise: Divide each column of numbers by its standard deviation.

    Returns:
        Centred columns, (N, at least 1).

    Example:
        >>> coded(np.array([[1.0, 0], [3.0, 1], [5.0, 1]]), [False, True], standardise=True).round(2)
        array([[-1.22,  1.15, -0.82],
               [ 0.  , -0.58,  0.41],
               [ 1.22, -0.58,  0.41]])
    """
    parts = []
    for column, is_category in enumerate(are_categories):
        own = values[:, column]
        observed = own[np.isfinite(own)]
        if is_category:
            parts += [_indicator(own == code) for code in np.unique(observed)]
            continue
        if not len(observed):
            continue
        centred = np.nan_to_num(own - observed.mean())
        std = float(centred.std())
        if std > 0:
            parts.append(centred / std if standardise else centred)
    return np.stack(parts, 1) if parts else np.zeros((len(values), 1))


def _indicator(is_it: Array) -> Array:
    share = is_it.mean()
    return (is_it - share) / math.sqrt(share)


def latents(rows: Array, apart: int, share: float | None = None) -> tuple[int, str]:
    """As many latents as PCA has components that say something, at least 2, and at most a twentieth of the rows.

    These are the components that say more than those of the columns shuffled one by one do, "parallel analysis"; with
    `share`, and of more than 512 columns, those that have this share of the variance.

    Args:
        rows: Centred rows (N, D), as `coded` gives them.
        apart: Number of rows that are not near copies of others.
        share: Of the variance.

    Returns:
        The number, and why.

    Reference:
        Horn (1965).

    Example:
        >>> random = np.random.default_rng(0)
        >>> factors, noise = random.normal(size=(500, 2)), random.normal(size=(500, 9))
        >>> latents(factors @ random.normal(size=(2, 9)) + noise, 500)[0]
        2
    """
    variances = _variances(rows)
    total = variances.sum()
    needed = {
        part: int(np.searchsorted(np.cumsum(variances), part * total * (1 - 1e-12)) + 1)
        for part in (0.9, 0.95, 0.99)
    }
    words = ", ".join(f"{count} for {part:.0%}" for part, count in needed.items())
    said = f"PCA needs {words} of the variance"
    wanted = needed[share or 0.95]
    if share is None and rows.shape[1] <= _MOST_SHUFFLED:
        wanted = _beyond_chance(rows, variances)
        says = "says" if wanted == 1 else "say"
        beyond = f"{counted(wanted, 'component')} of PCA {says} more"
        said = f"{beyond} than where the columns are shuffled one by one, and {said}"
    most = max(_FEWEST, apart // _ROWS_A_LATENT)
    if wanted > most:
        said += f"; {apart} rows that are apart bear about a twentieth of that, {most}"
    return min(max(_FEWEST, wanted), most), said


def _variances(rows: Array) -> Array:
    """Sums of squares along the principal components of centred rows, the greatest first."""
    small = rows if rows.shape[1] <= rows.shape[0] else rows.T
    return np.linalg.eigvalsh(small.T @ small)[::-1].clip(0)


def _beyond_chance(rows: Array, variances: Array) -> int:
    """How many of the first components have more variance than in any of some tables of shuffled columns."""
    random = np.random.default_rng(0)
    by_chance = np.max([_variances(random.permuted(rows, axis=0)) for _ in range(_SHUFFLES)], 0)
    is_less = variances <= by_chance
    return int(is_less.argmax()) if is_less.any() else len(variances)
