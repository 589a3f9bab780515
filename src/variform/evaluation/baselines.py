"""What simpler models reach on the same rows: PCA of the same dimension, and a model that ignores all structure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from variform.data import Dataset, Schema
from variform.distributions import (
    Bernoulli,
    Categorical,
    ContinuousBernoulli,
    DiagonalGaussian,
    Law,
    Mixed,
    NegativeBinomial,
    Poisson,
)
from variform.evaluation.density import Estimate, Scores, per_column, squared_error
from variform.evaluation.differences import mean_difference, root_mean_difference, row_errors
from variform.likelihoods import (
    BernoulliLikelihood,
    CategoricalLikelihood,
    ContinuousBernoulliLikelihood,
    GaussianLikelihood,
    Likelihood,
    LogisticLikelihood,
    MixedLikelihood,
    NegativeBinomialLikelihood,
    PoissonLikelihood,
    dispersion,
)
from variform.vae import VAE

Array = np.ndarray[Any, np.dtype[Any]]

PCAS = {"pca": "PCA of scaled columns", "pca_own_units": "PCA in your units"}
"""The two metrics in which PCA may stand beside a VAE, in words."""

_WHOLE = 2**31  # bytes of rows in float64: fewer are used as they are,
_SUBSET = 2**28  # and of more a random subset of this size


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
        """The points of the plane through the mean along the axes that are nearest to the rows of x, (N, D)."""
        return self.mean + (x - self.mean) @ self.axes.T @ self.axes

    def log_prob(self, x: Array) -> Array:
        r"""$\log p(x) = -\tfrac12 [D \log 2\pi + \log\det C + (x - \bar x)^\top C^{-1} (x - \bar x)]$, (N,)."""
        size, others = x.shape[1], x.shape[1] - len(self.axes)
        along = (x - self.mean) @ self.axes.T
        log_det, distance = np.log(self.variances).sum(), (along**2 / self.variances).sum(1)
        if others:
            log_det += others * math.log(self.noise)
            distance += ((x - self.reconstruct(x)) ** 2).sum(1) / self.noise
        return -(size * math.log(2 * math.pi) + log_det + distance) / 2  # eq: ppca

    def divided(self, unit: Array) -> "ProbabilisticPCA":
        """The law of x / unit, with unit (D,): as many axes as columns, since its noise is no longer isotropic."""
        loadings = self.axes.T * np.sqrt((self.variances - self.noise).clip(0))
        factor = np.hstack([loadings, math.sqrt(self.noise) * np.eye(len(unit))]) / unit[:, None]  # C = F F^T
        vectors, lengths, _ = np.linalg.svd(factor, full_matrices=False)
        return ProbabilisticPCA(self.mean / unit, vectors.T, lengths**2, 0.0)

    def bounded(self, min_std: float) -> "ProbabilisticPCA":
        """The law with variances below `min_std`^2 raised to it, as a VAE's likelihood raises its own."""
        noise = max(self.noise, min_std**2)
        return ProbabilisticPCA(self.mean, self.axes, self.variances.clip(noise), noise)


def fit_pca(x: Array, components: int, *, graded: bool = False) -> ProbabilisticPCA:
    """Probabilistic PCA at its maximum likelihood: the noise is the mean of the D - q smallest eigenvalues.

    Directions in which the rows do not vary at all are no axes, since any direction would do. Where the rows vary in q
    directions or fewer, but not in all D, the noise is 0 and there is no density but that of `bounded`.

    Args:
        x: (N, D), float64.
        components: q, at least 1.
        graded: Whether columns differ in size by orders of magnitude: then singular values are taken of the rows
            themselves, which is slower than eigenvalues of the covariance and does not lose the small columns.

    Reference:
        Tipping and Bishop (1999), equations 7 and 8.

    Example:
        >>> rows = np.array([[0.0, 0.0, 1.0], [3.0, 4.0, 1.0]])  # on a line
        >>> model = fit_pca(rows, 2)
        >>> abs(model.axes).round(3).tolist(), model.noise, model.reconstruct(rows).round(9).tolist()
        ([[0.6, 0.8, 0.0]], 0.0, [[0.0, 0.0, 1.0], [3.0, 4.0, 1.0]])
    """
    mean = x.mean(0)
    centred = x - mean
    if graded or len(x) <= x.shape[1]:
        _, lengths, axes = np.linalg.svd(centred, full_matrices=False)
        values = lengths**2 / len(x)
        resolution = lengths[0] ** 2 / len(x) * (max(x.shape) * np.finfo(float).eps) ** 2
    else:
        values, vectors = np.linalg.eigh(centred.T @ centred / len(x))
        values, axes = values[::-1].clip(0), vectors.T[::-1]
        resolution = values[0] * max(x.shape) * np.finfo(float).eps
    kept = min(components, int((values > resolution).sum()))
    noise = values[components:].sum() / max(1, x.shape[1] - components)
    return ProbabilisticPCA(mean, axes[:kept], values[:kept], float(noise))


def pca(
    vae: VAE, data: Dataset, train: Dataset, *, scores: Scores | None = None, own_units: bool = False, seed: int = 0
) -> dict[str, Any]:
    """PCA with as many components as the VAE has latent dimensions, fitted on `train`, scored on `data`.

    What PCA finds depends on the units of the columns. By default it sees what the VAE sees, the scaled values; with
    `own_units` the values as they came. The densities of both are in the units of `Schema.log_jacobian` and can be
    compared with each other and with the VAE's; so can the errors, in raw units.

    Args:
        vae: The model beside which PCA stands.
        data: The rows that are scored.
        train: The rows that are fitted.
        scores: The VAE's of the same rows; with them come the paired differences.
        own_units: Measure distances in the data's own units.
        seed: Seed of the binarisation, where the data ask for one.

    Returns:
        components, at most as many as the training rows span; reconstruction_error in the data's own
        units; with a Gaussian likelihood the exact nll of probabilistic PCA; a note where there are so many rows that
        only some are fitted or scored, and where the rows span too little; rows, a tensor (N,) each, nll and
        squared_error, NaN for a row that was not scored; with `scores` nll_difference and
        reconstruction_error_difference, the VAE's minus PCA's over the same rows.
    """
    (fitted, _), (scored, chosen) = _rows(train, seed), _rows(data, seed)
    unit = np.array(data.schema.scale if own_units else 1.0)  # columns have one each
    x, likelihood = scored.numpy(), vae.likelihood
    model = fit_pca(fitted.numpy() * unit, vae.latent_dim, graded=own_units)
    reconstruction = torch.from_numpy(model.reconstruct(x * unit) / unit)
    nll = None
    if isinstance(likelihood, GaussianLikelihood):
        law = (model.divided(unit) if own_units else model).bounded(likelihood.min_std)
        nll = -torch.from_numpy(law.log_prob(x)) - vae.log_jacobian(data.schema)
    components = len(model.axes)
    notes = [_subset("PCA is fitted", fitted, train) or _subset("PCA is scored", scored, data)]
    if components < min(vae.latent_dim, fitted.shape[1]):
        notes.append(f"The training rows vary in {components} directions only: PCA has no more components.")
    elif components == fitted.shape[1]:
        density = "; its density is that of one full Gaussian" if nll is not None else ""
        notes.append(f"PCA with {components} components copies these rows{density}.")
    found = {"components": components} | _numbers(data, scored, reconstruction, nll, scores, chosen)
    return found | _note(notes)


def has_own_units(schema: Schema) -> bool:
    """Whether scaling changed the metric: whether some columns were divided by more than others."""
    return schema.binarise == "none" and len(set(schema.scale)) > 1


def trivial(
    vae: VAE, data: Dataset, train: Dataset, *, scores: Scores | None = None, seed: int = 0
) -> dict[str, Any]:  # fmt: skip
    """Independent dimensions, each with the law that fits its training rows.

    Bernoulli with add-one smoothed means; a continuous Bernoulli or a Gaussian; add-one smoothed frequencies of levels;
    Poisson with one count of one more row; a negative binomial with the same mean and the dispersion of the variance.

    Args:
        vae: The model beside which the trivial model stands; its likelihood decides which one.
        data: The rows that are scored.
        train: The rows that are fitted.
        scores: As for `pca`.
        seed: Seed of the binarisation, where the data ask for one.

    Returns:
        reconstruction_error, that of the training mean; nll, unless the likelihood is one of the user's own; a note
        where there are so many rows that only some are scored; differences as of `pca`.
    """
    mean, variance = (part.flatten() for part in train.moments(seed=seed))
    scored, chosen = _rows(data, seed)
    law = _independent(vae.likelihood, train, mean, variance, seed)
    middle = law.mean if isinstance(law, Mixed) else mean  # which has the most frequent categories
    nll = None
    if law is not None:
        jacobians = vae.log_jacobians(data.schema, scored.reshape(-1, *data.schema.shape))
        nll = -(law.log_prob_observed(scored) if data.schema.gaps else law.log_prob(scored)) - jacobians
    numbers = _numbers(data, scored, middle.expand_as(scored), nll, scores, chosen)
    return numbers | _note([_subset("The trivial model is scored", scored, data)])


def beside(vae: VAE, data: Dataset, train: Dataset, scores: Scores, *, seed: int = 0) -> dict[str, dict[str, Any]]:
    """All simpler models that can stand beside a VAE: `pca`, in both metrics where these differ, and `trivial`.

    Args:
        vae: The model.
        data: The rows that are scored.
        train: The rows that are fitted.
        scores: The VAE's of the same rows.
        seed: Seed of the binarisation, where the data ask for one.
    """
    options: dict[str, Any] = {"scores": scores, "seed": seed}
    found = {}
    if not data.schema.gaps:
        found["pca"] = pca(vae, data, train, **options)
    if not data.schema.gaps and has_own_units(data.schema):
        found["pca_own_units"] = pca(vae, data, train, own_units=True, **options)
    return found | {"trivial": trivial(vae, data, train, **options)}


def better_pca(found: dict[str, dict[str, Any]], measure: str) -> str | None:
    """The name of the PCA with the least `measure` among baselines; None where none has it.

    Example:
        >>> some = {"pca": {"nll": {"mean": 3.0}}, "pca_own_units": {"nll": {"mean": 2.0}}, "trivial": {}}
        >>> better_pca(some, "nll"), better_pca(some, "reconstruction_error")
        ('pca_own_units', None)
    """
    names = [name for name in PCAS if measure in found.get(name, {})]
    return min(names, key=lambda name: found[name][measure]["mean"], default=None)


def baseline_names(found: dict[str, dict[str, Any]]) -> dict[str, str]:
    """What tables call the baselines among an evaluation's, by their names in it.

    Example:
        >>> baseline_names({"pca": {"components": 2}, "pca_own_units": {"components": 2}, "trivial": {}})
        {'pca': 'PCA of scaled columns, q = 2', 'pca_own_units': 'PCA in your units, q = 2', 'trivial': 'trivial'}
    """
    names = (PCAS if has_two_metrics(found) else {"pca": "PCA"}) | {"trivial": "trivial"}
    sizes = {name: f", q = {found[name]['components']}" for name in names if "components" in found.get(name, {})}
    return {name: called + sizes.get(name, "") for name, called in names.items() if name in found}


def has_two_metrics(found: dict[str, dict[str, Any]]) -> bool:
    """Whether PCA stands among an evaluation's baselines in both metrics."""
    return PCAS.keys() <= found.keys()


def _independent(
    likelihood: Likelihood, train: Dataset, mean: Tensor, variance: Tensor, seed: int
) -> Law | None:  # fmt: skip
    """The law of the trivial model; None for a likelihood of the user's own, under which it is not known here."""
    rows = len(train)
    if isinstance(likelihood, GaussianLikelihood):
        return DiagonalGaussian(mean, variance.clamp_min(likelihood.min_std**2).log())
    if isinstance(likelihood, BernoulliLikelihood):
        return Bernoulli(torch.logit((mean * rows + 1) / (rows + 2)))
    if isinstance(likelihood, ContinuousBernoulliLikelihood):
        return ContinuousBernoulli(likelihood.start_at(mean, variance))
    if isinstance(likelihood, LogisticLikelihood | CategoricalLikelihood):
        return Categorical((_level_counts(train, likelihood.levels, seed) + 1).log())
    if isinstance(likelihood, MixedLikelihood):
        return Mixed([_of_columns(*part, train, mean, variance, seed) for part in likelihood.parts], likelihood.order)
    mean = (mean * rows + 1) / (rows + 1)
    if isinstance(likelihood, PoissonLikelihood):
        return Poisson(mean.log())
    if isinstance(likelihood, NegativeBinomialLikelihood):
        return NegativeBinomial(mean.log(), dispersion(mean, variance).log())
    return None


def _of_columns(
    columns: Tensor, family: Likelihood, train: Dataset, mean: Tensor, variance: Tensor, seed: int
) -> Law:  # fmt: skip
    """The law of some columns of a mixed table."""
    if isinstance(family, CategoricalLikelihood):
        codes = train.prepared(seed=seed)[:, columns[0]]
        counts = torch.bincount(codes[~codes.isnan()].long(), minlength=family.levels)
        return Categorical((counts + 1).double().log()[:, None])
    law = _independent(family, train, mean[columns], variance[columns], seed)
    assert law is not None  # a mixed likelihood has families of ours
    return law


def _level_counts(data: Dataset, levels: int, seed: int) -> Tensor:
    """How often each dimension has each level, (levels, D), float64."""
    size = math.prod(data.schema.shape)
    counts = torch.zeros(levels * size, dtype=torch.float64)
    for x in data.batches(1024, seed=seed):
        x = x.flatten(1)
        level = (x.nan_to_num() * (levels - 1)).round().long()
        place = (level * size + torch.arange(size))[~x.isnan()]
        counts += torch.bincount(place, minlength=levels * size)
    return counts.reshape(levels, size)


def _rows(data: Dataset, seed: int) -> tuple[Tensor, Tensor | None]:
    """The prepared rows as a float64 matrix (N, D): all of them, or a random subset of more than fit into memory.

    Beside it the numbers of the rows that were chosen, or None where these are all.
    """
    row, chosen = 8 * math.prod(data.schema.shape), None
    if len(data) * row > _WHOLE:
        chosen = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))[: max(1, _SUBSET // row)]
        chosen = chosen.sort().values
        data = data.take(chosen)
    return data.prepared(seed=seed).double().flatten(1), chosen


def _subset(done: str, rows: Tensor, data: Dataset) -> str:
    """What a reader must know where not all rows are used."""
    if len(rows) == len(data):
        return ""
    return f"{done} on a random {len(rows):,} of {len(data):,} rows: all of them would take too much memory."


def _note(sentences: Sequence[str]) -> dict[str, str]:
    joined = " ".join(sentence for sentence in sentences if sentence)
    return {"note": joined} if joined else {}


def _numbers(
    data: Dataset,
    rows: Tensor,
    reconstruction: Tensor,
    nll: Tensor | None,
    scores: Scores | None,
    chosen: Tensor | None,
) -> dict[str, Any]:
    """The numbers of a model beside the VAE from what it says of prepared rows (N, D), and what the VAE has more."""
    shape, restore = (-1, *data.schema.shape), data.schema.restore
    squares = squared_error(data.schema, restore(rows.reshape(shape)), restore(reconstruction.reshape(shape)))
    error = Estimate.root_mean(squares, gaps=bool(data.schema.gaps))
    found: dict[str, Any] = {"reconstruction_error": error.to_dict()}
    if data.schema.kind == "table":
        found["reconstruction_error_per_column"] = per_column(data.schema, squares)
    if nll is not None:
        found["nll"] = Estimate.of(nll).to_dict()
    by_row = {"squared_error": row_errors(squares)} | ({} if nll is None else {"nll": nll})
    if chosen is not None:
        by_row = {name: _at(chosen, values, len(data)) for name, values in by_row.items()}
    found["rows"] = by_row
    return found if scores is None else found | _differences(scores, by_row)


def _at(chosen: Tensor, values: Tensor, rows: int) -> Tensor:
    return torch.full((rows,), math.nan, dtype=values.dtype).index_copy(0, chosen, values)


def _differences(scores: Scores, by_row: dict[str, Tensor]) -> dict[str, Any]:
    """The VAE's numbers minus a baseline's, over the rows that the baseline scored."""
    errors = root_mean_difference(row_errors(scores.squared_error), by_row["squared_error"])
    found = {"reconstruction_error_difference": errors.to_dict()}
    if "nll" in by_row:
        scored = ~by_row["nll"].isnan()
        found["nll_difference"] = mean_difference(-scores.log_px[scored], by_row["nll"][scored]).to_dict()
    return found
