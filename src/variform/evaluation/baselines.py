"""What simpler models reach on the same rows: PCA of the same dimension, and a model that ignores all structure."""

from typing import Any

import numpy as np
import torch
from sklearn.decomposition import PCA
from torch import Tensor

from variform.data import Dataset
from variform.distributions import Bernoulli, DiagonalGaussian, Law
from variform.evaluation.density import Estimate
from variform.likelihoods import BernoulliLikelihood, GaussianLikelihood
from variform.vae import VAE


def fit_pca(x: np.ndarray, components: int) -> PCA:
    r"""Probabilistic PCA at its maximum likelihood.

    scikit-learn estimates the covariance with 1 / (N - 1); maximum likelihood wants 1 / N, and so the eigenvalues are
    scaled by (N - 1) / N. `score_samples` then gives
    $\log p(x) = -\tfrac12 [D \log 2\pi + \log\det C + (x - \bar x)^\top C^{-1} (x - \bar x)]$
    with $C = WW^\top+\sigma^2 I$.

    Args:
        x: (N, D), float64.
        components: q, less than D and at most N.

    Reference:
        Tipping and Bishop (1999), equations 4, 7 and 8.
    """
    solver: Any = "covariance_eigh" if len(x) > x.shape[1] else "full"
    model = PCA(components, svd_solver=solver).fit(x)
    correction = (len(x) - 1) / len(x)
    model.explained_variance_ *= correction
    model.noise_variance_ *= correction
    return model


def pca(vae: VAE, data: Dataset, train: Dataset, *, seed: int = 0) -> dict[str, Any]:
    """PCA with as many components as the VAE has latent dimensions, fitted on `train`, scored on `data`.

    Args:
        vae: The model beside which PCA stands.
        data: The rows that are scored.
        train: The rows that are fitted.
        seed: Seed of the binarisation, where the data ask for one.

    Returns:
        reconstruction_error in the data's own units; with a Gaussian likelihood the exact nll of probabilistic PCA.
    """
    fitted, scored = _rows(train, seed), _rows(data, seed)
    components = min(vae.latent_dim, fitted.shape[1], len(fitted))
    model = fit_pca(fitted.numpy(), components)
    reconstruction = torch.from_numpy(model.inverse_transform(model.transform(scored.numpy())))
    result: dict[str, Any] = {
        "components": components,
        "reconstruction_error": _error(data, scored, reconstruction).to_dict(),
    }
    if isinstance(vae.likelihood, GaussianLikelihood) and model.noise_variance_ > 0:
        log_px = torch.from_numpy(model.score_samples(scored.numpy()))  # eq: ppca
        result["nll"] = Estimate.of(-log_px - data.schema.log_jacobian).to_dict()
    return result


def trivial(vae: VAE, data: Dataset, train: Dataset, *, seed: int = 0) -> dict[str, Any]:
    """Independent dimensions: Bernoulli with add-one smoothed means, or one Gaussian per column.

    Args:
        vae: The model beside which the trivial model stands; its likelihood decides which one.
        data: The rows that are scored.
        train: The rows that are fitted.
        seed: Seed of the binarisation, where the data ask for one.

    Returns:
        reconstruction_error, that of the training mean; nll, unless the likelihood is one of the user's own.
    """
    fitted, scored = _rows(train, seed), _rows(data, seed)
    result = {"reconstruction_error": _error(data, scored, fitted.mean(0).expand_as(scored)).to_dict()}
    if isinstance(vae.likelihood, GaussianLikelihood):
        variance = fitted.var(0, correction=0).clamp_min(vae.likelihood.min_std**2)
        law: Law = DiagonalGaussian(fitted.mean(0), variance.log())
    elif isinstance(vae.likelihood, BernoulliLikelihood):
        law = Bernoulli(torch.logit((fitted.sum(0) + 1) / (len(fitted) + 2)))
    else:  # a likelihood of the user's own: what ignores all structure under it is not known here
        return result
    return result | {"nll": Estimate.of(-law.log_prob(scored) - data.schema.log_jacobian).to_dict()}


def _rows(data: Dataset, seed: int) -> Tensor:
    """The prepared rows as a float64 matrix (N, D)."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return data.prepared().double().flatten(1)


def _error(data: Dataset, rows: Tensor, reconstruction: Tensor) -> Estimate:
    shape = (-1, *data.schema.shape)
    difference = data.schema.restore(rows.reshape(shape)) - data.schema.restore(reconstruction.reshape(shape))
    return Estimate.root_mean(difference.square().flatten(1))
