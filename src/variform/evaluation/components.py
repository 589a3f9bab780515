"""Principal components: probabilistic PCA with its exact density, with gaps too, and the coding of mixed tables."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from variform.data.schema import Schema

Array = np.ndarray[Any, np.dtype[Any]]

_FLOATS_AT_ONCE = 2**23
_STEPS = 500  # of EM at most


@dataclass(frozen=True, eq=False)
class ProbabilisticPCA:
    r"""A Gaussian with the covariance $C = U (\Lambda - \sigma^2 I) U^\top + \sigma^2 I$.

    Args:
        mean: (D,).
        axes: U, orthonormal, (q, D), the direction of the largest variance first.
        variances: Lambda, the variance along each axis, (q,); none is below that of the noise.
        noise: sigma^2, the variance along every other direction.

    Reference:
        Tipping and Bishop (1999), equations 4 and 7.
    """

    mean: Array
    axes: Array
    variances: Array
    noise: float

    def reconstruct(self, x: Array) -> Array:
        """The points of the plane through the mean along the axes that are nearest to the rows of x, (N, D).

        Of a row with gaps (NaN) the point that is expected given what is observed of it.
        """
        if np.isnan(x).any():
            return self._observed(x)[0]
        along = (x - self.mean) @ self.axes.T
        return self.mean + along @ self.axes

    def log_prob(self, x: Array) -> Array:
        r"""$\log p(x) = -\tfrac12 [D \log 2\pi + \log\det C + (x - \bar x)^\top C^{-1} (x - \bar x)]$, (N,).

        Of a row with gaps (NaN) the density of what is observed of it.
        """
        if np.isnan(x).any():
            return self._observed(x)[1]
        columns = x.shape[1]
        others = columns - len(self.axes)
        along = (x - self.mean) @ self.axes.T
        log_det = np.log(self.variances).sum()
        distance = (along**2 / self.variances).sum(1)
        if others:
            across = x - self.reconstruct(x)
            log_det += others * math.log(self.noise)
            distance += (across**2).sum(1) / self.noise
        return -(columns * math.log(2 * math.pi) + log_det + distance) / 2  # eq: ppca

    def _observed(self, x: Array) -> tuple[Array, Array]:
        """Of rows with gaps the expected points of the plane, (N, D), and log-densities of what is observed, (N,)."""
        floats_of_a_row = max(1, len(self.axes) ** 2 + x.shape[1])
        rows = max(1, _FLOATS_AT_ONCE // floats_of_a_row)
        points, log_probs = [], []
        for start in range(0, len(x), rows):
            point, log_prob = self._observed_of_some(x[start : start + rows])
            points.append(point)
            log_probs.append(log_prob)
        return np.concatenate(points), np.concatenate(log_probs)

    def _observed_of_some(self, x: Array) -> tuple[Array, Array]:
        """As `_observed`, for rows few enough to be held at once."""
        greatest = self.variances.max(initial=1e-300)
        noise = max(self.noise, 1e-12 * greatest)
        loadings = self.loadings(noise)
        is_observed, inner, z = _expected(x - self.mean, loadings, noise)
        point = self.mean + z @ loadings.T
        residual = np.where(is_observed, x - point, 0.0)
        distance = (residual**2).sum(1) / noise + (z**2).sum(1)
        count = is_observed.sum(1)
        latents = z.shape[1]
        _, inner_log_det = np.linalg.slogdet(inner)
        log_det = inner_log_det + (count - latents) * math.log(noise)
        log_prob = -(count * math.log(2 * math.pi) + log_det + distance) / 2
        return point, log_prob

    def loadings(self, noise: float, *, least: float = 0.0) -> Array:
        r"""$W = U (\Lambda - \sigma^2 I)^{1/2}$, (D, q), so that $C = W W^\top + \sigma^2 I$.

        Args:
            noise: sigma^2.
            least: What the difference of an axis' variance and the noise is raised to.
        """
        above_noise = (self.variances - noise).clip(least)
        return self.axes.T * np.sqrt(above_noise)

    def divided(self, unit: Array) -> "ProbabilisticPCA":
        """The law of x / unit, with unit (D,): as many axes as columns, since its noise is no longer isotropic."""
        isotropic = math.sqrt(self.noise) * np.eye(len(unit))
        factor = np.hstack([self.loadings(self.noise), isotropic])  # C = F F^T
        return _from_loadings(self.mean / unit, factor / unit[:, None], noise=0.0)

    def bounded(self, min_std: float) -> "ProbabilisticPCA":
        """The law with variances below `min_std`^2 raised to it, as a VAE's likelihood raises its own."""
        noise = max(self.noise, min_std**2)
        variances = self.variances.clip(noise)
        return ProbabilisticPCA(self.mean, self.axes, variances, noise)


def fit_pca(x: Array, components: int, *, graded: bool = False) -> ProbabilisticPCA:
    """Probabilistic PCA at its maximum likelihood: the noise is the mean of the D - q smallest eigenvalues.

    Directions in which the rows do not vary at all are no axes, since any direction would do. Where the rows vary in q
    directions or fewer, but not in all D, the noise is 0 and there is no density but that of `bounded`.

    Args:
        x: (N, D), float64.
        components: q, at least 1.
        graded: Whether columns differ in size by orders of magnitude: then singular values are taken of the rows
            themselves, which is slower than eigenvalues of the covariance, or of the rows' inner products where there
            are fewer rows than columns, and does not lose the small columns.

    Reference:
        Tipping and Bishop (1999), equations 7 and 8.

    Example:
        >>> rows = np.array([[0.0, 0.0, 1.0], [3.0, 4.0, 1.0]])  # on a line
        >>> model = fit_pca(rows, 2)
        >>> abs(model.axes).round(3).tolist(), model.noise, (model.reconstruct(rows).round(9) + 0.0).tolist()
        ([[0.6, 0.8, 0.0]], 0.0, [[0.0, 0.0, 1.0], [3.0, 4.0, 1.0]])
    """
    rows, columns = x.shape
    mean = x.mean(0)
    centred = x - mean
    rounding = np.finfo(float).eps
    if graded:
        _, lengths, axes = np.linalg.svd(centred, full_matrices=False)
        variances = lengths**2 / rows
        resolution = variances[0] * (max(x.shape) * rounding) ** 2
    elif rows <= columns:
        variances, axes = _of_inner_products(centred, components)
        resolution = 0.0
    else:
        covariance = centred.T @ centred / rows
        rising, vectors = np.linalg.eigh(covariance)
        variances = rising[::-1].clip(0)
        axes = vectors.T[::-1]
        resolution = variances[0] * max(x.shape) * rounding
    spanned = np.count_nonzero(variances > resolution)
    count = min(components, spanned)
    noise = variances[components:].sum() / max(1, columns - components)
    return ProbabilisticPCA(mean, axes[:count], variances[:count], float(noise))


def _of_inner_products(centred: Array, components: int) -> tuple[Array, Array]:
    """Variances of fewer rows than columns, (N,), 0 where they are rounding, and the first axes, (at most q, D).

    What X has for right singular vectors and values v and s, X X^T has for eigenvectors X v / s and eigenvalues s^2.
    """
    rising, vectors = np.linalg.eigh(centred @ centred.T)
    squares = rising[::-1].clip(0)
    squares[squares <= squares[0] * max(centred.shape) * np.finfo(float).eps] = 0
    count = min(components, np.count_nonzero(squares))
    axes = vectors.T[::-1][:count] @ centred / np.sqrt(squares[:count, None])
    return squares / len(centred), axes


def _expected(x: Array, loadings: Array, noise: float) -> tuple[Array, Array, Array]:
    """Of rows x = W z + noise what is observed, (N, D), W_o^T W_o + noise I, (N, q, q), and E[z | x_o], (N, q)."""
    is_observed = ~np.isnan(x)
    latents = loadings.shape[1]
    inner = _summed(is_observed, _outer(loadings)) + noise * np.eye(latents)
    along = np.where(is_observed, x, 0.0) @ loadings
    return is_observed, inner, _solve(inner, along)


def _outer(rows: Array) -> Array:
    """The product of each row with itself, (N, q) to (N, q, q)."""
    return rows[:, :, None] * rows[:, None, :]


def _summed(chosen: Array, matrices: Array) -> Array:
    """For each row of `chosen`, (N, D), the sum of the matrices, (D, q, q), that it chooses, (N, q, q)."""
    flat = matrices.reshape(len(matrices), -1)
    return (chosen @ flat).reshape(-1, *matrices.shape[1:])


def _solve(matrices: Array, rows: Array) -> Array:
    """The solution y of A y = b for each matrix A, (N, q, q), and row b, (N, q)."""
    columns = rows[:, :, None]
    return np.linalg.solve(matrices, columns)[:, :, 0]


def fit_with_gaps(x: Array, components: int, *, graded: bool = False) -> ProbabilisticPCA:
    """Probabilistic PCA at the maximum likelihood of what is observed, by EM where cells are missing.

    Args:
        x: (N, D), float64, NaN where a cell is missing; each column is observed in some row.
        components: As for `fit_pca`.
        graded: Likewise.

    Reference:
        Ilin and Raiko (2010), section 3.
    """
    if not np.isnan(x).any():
        return fit_pca(x, components, graded=graded)
    centre = np.nanmean(x, 0)
    unit = float(np.nanstd(x)) or 1.0
    scaled = (x - centre) / unit
    start = fit_pca(np.nan_to_num(scaled), min(components, x.shape[1]), graded=graded)
    model = _maximise(start, scaled)
    return ProbabilisticPCA(
        mean=centre + unit * model.mean,
        axes=model.axes,
        variances=unit**2 * model.variances,
        noise=unit**2 * model.noise,
    )


def _maximise(model: ProbabilisticPCA, x: Array) -> ProbabilisticPCA:
    """EM from a model on, until the mean log-density of what is observed has all but stopped rising."""
    mean = model.mean
    noise = max(model.noise, 1e-6)
    loadings = model.loadings(noise, least=1e-6)
    before = -math.inf
    for _ in range(_STEPS):
        mean, loadings, noise = _em_step(x, mean, loadings, noise)
        model = _from_loadings(mean, loadings, noise)
        reached = model.log_prob(x).mean()
        if reached - before < 1e-7 * abs(reached):
            break
        before = reached
    return model


def _em_step(x: Array, mean: Array, loadings: Array, noise: float) -> tuple[Array, Array, float]:
    """Mean, loadings and noise from the expected latents of every row: a regression of each column on them."""
    is_observed, inner, z = _expected(x - mean, loadings, noise)
    filled = np.where(is_observed, x, 0.0)
    always_one = np.ones((len(z), 1))  # the mean is the loading of a latent that is always 1
    latents = np.hstack([z, always_one])
    second_moment = _outer(latents)
    second_moment[:, :-1, :-1] += noise * np.linalg.inv(inner)
    left = _summed(is_observed.T, second_moment)  # of each column (q + 1, q + 1)
    right = filled.T @ latents
    ridge = 1e-12 * np.eye(latents.shape[1])
    solved = _solve(left + ridge, right)
    squares = (filled**2).sum() - (right * solved).sum()
    noise = max(squares / is_observed.sum(), 1e-12)
    return solved[:, -1], solved[:, :-1], noise


def _from_loadings(mean: Array, loadings: Array, noise: float) -> ProbabilisticPCA:
    """The law of W z + noise: its axes are those of the loadings W, (D, q)."""
    vectors, lengths, _ = np.linalg.svd(loadings, full_matrices=False)
    return ProbabilisticPCA(mean, vectors.T, lengths**2 + noise, float(noise))


@dataclass(frozen=True, eq=False)
class MixedCoding:
    r"""A mixed table as numbers, so that PCA of them is factorial analysis of mixed data.

    A number, count or binary column becomes $(x - \bar x) / s$, a category of the frequency $p_k$ a column
    $(1[x = k] - p_k) / \sqrt{p_k}$. What is missing is NaN in all of its columns.

    Args:
        sizes: Columns that each column of the table becomes.
        mean: Of the columns that come out, (C,): means, and frequencies of categories.
        unit: Their units, (C,): standard deviations, and roots of frequencies; 1 for what never varies.

    Reference:
        Pagès (2004).
    """

    sizes: tuple[int, ...]
    mean: Array
    unit: Array

    @classmethod
    def of(cls, x: Array, schema: Schema) -> "MixedCoding":
        """The coding that prepared training rows (N, D) ask for."""
        sizes = tuple(len(names) or 1 for names in schema.categories)
        plain = _indicators(x, sizes)
        mean = np.nanmean(plain, 0)
        is_indicator = np.repeat(sizes, sizes) > 1
        std = np.nanstd(plain, 0)
        root_of_frequency = np.sqrt(mean.clip(0))
        unit = np.where(is_indicator, root_of_frequency, std)
        return cls(sizes, mean, np.where(unit > 0, unit, 1.0))

    def encode(self, x: Array) -> Array:
        """Prepared rows (N, D) as numbers (N, C)."""
        plain = _indicators(x, self.sizes)
        return (plain - self.mean) / self.unit

    def decode(self, y: Array) -> Array:
        """The rows that numbers stand for, (N, D): of categories that with the largest indicator."""
        plain = y * self.unit + self.mean
        starts = np.cumsum(self.sizes)[:-1]
        columns = []
        for part in np.split(plain, starts, axis=1):
            is_category = part.shape[1] > 1
            columns.append(part.argmax(1) if is_category else part[:, 0])
        return np.stack(columns, 1)


def _indicators(x: Array, sizes: tuple[int, ...]) -> Array:
    """Codes of categories as indicators, other columns as they are."""
    parts = []
    for column, size in zip(x.T, sizes, strict=True):
        part = column[:, None]
        if size > 1:
            part = np.where(np.isnan(part), np.nan, part == np.arange(size))
        parts.append(part)
    return np.hstack(parts)
