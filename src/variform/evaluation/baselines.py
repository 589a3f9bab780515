"""What simpler models reach on the same rows: PCA of the same dimension, and a model that ignores all structure."""

import math
from typing import Any

import numpy as np
import torch
from sklearn.decomposition import PCA
from torch import Tensor

from variform.data import Dataset
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
from variform.evaluation.density import Estimate, per_column, squared_error
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

_WHOLE = 2**31  # bytes of rows in float64: fewer are used as they are,
_SUBSET = 2**28  # and of more a random subset of this size


def fit_pca(x: np.ndarray, components: int, *, min_std: float = 0.0) -> PCA:
    r"""Probabilistic PCA at its maximum likelihood.

    scikit-learn's eigenvalues have 1 / (N - 1) in them and its noise variance is the mean of at most N - q of them;
    maximum likelihood wants 1 / N, and the mean of all D - q. `score_samples` then gives
    $\log p(x) = -\tfrac12 [D \log 2\pi + \log\det C + (x - \bar x)^\top C^{-1} (x - \bar x)]$
    with $C = WW^\top+\sigma^2 I$.

    Args:
        x: (N, D), float64.
        components: q, at most D and N.
        min_std: Least standard deviation of the noise, as a VAE's likelihood has one.

    Reference:
        Tipping and Bishop (1999), equations 4, 7 and 8.
    """
    solver: Any = "covariance_eigh" if len(x) > x.shape[1] else "full"
    model = PCA(components, svd_solver=solver).fit(x)
    model.explained_variance_ *= (len(x) - 1) / len(x)
    left = x.var(0).sum() - model.explained_variance_.sum()
    model.noise_variance_ = max(left / max(1, x.shape[1] - components), min_std**2)
    return model


def pca(vae: VAE, data: Dataset, train: Dataset, *, seed: int = 0) -> dict[str, Any]:
    """PCA with as many components as the VAE has latent dimensions, fitted on `train`, scored on `data`.

    Args:
        vae: The model beside which PCA stands.
        data: The rows that are scored.
        train: The rows that are fitted.
        seed: Seed of the binarisation, where the data ask for one.

    Returns:
        reconstruction_error in the data's own units; with a Gaussian likelihood the exact nll of probabilistic PCA; a
        note where there are so many rows that only some are fitted or scored.
    """
    fitted, scored = _rows(train, seed), _rows(data, seed)
    components = min(vae.latent_dim, fitted.shape[1], len(fitted))
    gaussian = isinstance(vae.likelihood, GaussianLikelihood)
    min_std = vae.likelihood.min_std if isinstance(vae.likelihood, GaussianLikelihood) else 0.0
    model = fit_pca(fitted.numpy(), components, min_std=min_std)
    reconstruction = torch.from_numpy(model.inverse_transform(model.transform(scored.numpy())))
    result: dict[str, Any] = {"components": components, **_errors(data, scored, reconstruction)}
    result |= _note("PCA is fitted", fitted, train) or _note("PCA is scored", scored, data)
    if gaussian and components < fitted.shape[1]:
        log_px = torch.from_numpy(model.score_samples(scored.numpy()))  # eq: ppca
        result["nll"] = Estimate.of(-log_px - vae.log_jacobian(data.schema)).to_dict()
    return result


def trivial(vae: VAE, data: Dataset, train: Dataset, *, seed: int = 0) -> dict[str, Any]:
    """Independent dimensions, each with the law that fits its training rows.

    Bernoulli with add-one smoothed means; a continuous Bernoulli or a Gaussian; add-one smoothed frequencies of levels;
    Poisson with one count of one more row; a negative binomial with the same mean and the dispersion of the variance.

    Args:
        vae: The model beside which the trivial model stands; its likelihood decides which one.
        data: The rows that are scored.
        train: The rows that are fitted.
        seed: Seed of the binarisation, where the data ask for one.

    Returns:
        reconstruction_error, that of the training mean; nll, unless the likelihood is one of the user's own; a note
        where there are so many rows that only some are scored.
    """
    (mean, variance), scored = (part.flatten() for part in train.moments(seed=seed)), _rows(data, seed)
    law = _independent(vae.likelihood, train, mean, variance, seed)
    middle = law.mean if isinstance(law, Mixed) else mean  # which has the most frequent categories
    result = _errors(data, scored, middle.expand_as(scored)) | _note("The trivial model is scored", scored, data)
    if law is None:
        return result
    if not data.schema.gaps:
        return result | {"nll": Estimate.of(-law.log_prob(scored) - vae.log_jacobian(data.schema)).to_dict()}
    jacobians = vae.log_jacobians(data.schema, scored.reshape(-1, *data.schema.shape))
    return result | {"nll": Estimate.of(-law.log_prob_observed(scored) - jacobians).to_dict()}


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


def _rows(data: Dataset, seed: int) -> Tensor:
    """The prepared rows as a float64 matrix (N, D): all of them, or a random subset of more than fit into memory."""
    row = 8 * math.prod(data.schema.shape)
    if len(data) * row > _WHOLE:
        chosen = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))[: max(1, _SUBSET // row)]
        data = data.take(chosen.sort().values)
    return data.prepared(seed=seed).double().flatten(1)


def _note(done: str, rows: Tensor, data: Dataset) -> dict[str, str]:
    """What a reader must know where not all rows are used."""
    if len(rows) == len(data):
        return {}
    return {"note": f"{done} on a random {len(rows):,} of {len(data):,} rows: all of them would take too much memory."}


def _errors(data: Dataset, rows: Tensor, reconstruction: Tensor) -> dict[str, Any]:
    shape = (-1, *data.schema.shape)
    restore = data.schema.restore
    squares = squared_error(data.schema, restore(rows.reshape(shape)), restore(reconstruction.reshape(shape)))
    error = Estimate.root_mean(squares, gaps=bool(data.schema.gaps))
    errors: dict[str, Any] = {"reconstruction_error": error.to_dict()}
    if data.schema.kind == "table":
        errors["reconstruction_error_per_column"] = per_column(data.schema, squares)
    return errors
