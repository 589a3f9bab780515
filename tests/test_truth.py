"""Linear-Gaussian models, whose log p(x) is known exactly."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA, FactorAnalysis

from variform import VAE, ModelConfig, TrainConfig, build_objective, build_vae, evaluate, fit
from variform.data.reading import dataset_from, read
from variform.evaluation.components import fit_pca
from variform.evaluation.log_likelihood import score
from variform.model.importance import log_weights
from variform.model.likelihoods import GaussianLikelihood
from variform.model.networks import MLP
from variform.model.posteriors import DiagonalPosterior, FullCovariancePosterior
from variform.model.priors import StandardNormalPrior


def linear_vae(weight, bias, std, *, spread=1.0):
    """x = W z + b + std * noise with its exact posterior, whose columns W are orthogonal; `spread` scales q's std."""
    size, dim = weight.shape
    likelihood = GaussianLikelihood((size,), variance="shared", min_std=1e-9)
    posterior = DiagonalPosterior(dim, std="exp")
    encoder, decoder = (
        MLP((size,), posterior.params_shape, hidden=()),
        MLP((dim,), (size,), hidden=()),
    )
    variance = 1 / (1 + weight.square().sum(0) / std**2)
    with torch.no_grad():
        likelihood.raw_log_var.fill_(2 * math.log(std))
        decoder.output.weight.copy_(weight)
        decoder.output.bias.copy_(bias)
        encoder.output.weight.copy_(
            torch.cat([variance[:, None] * weight.T / std**2, torch.zeros(dim, size)])
        )
        encoder.output.bias.copy_(
            torch.cat([torch.zeros(dim), variance.log() + 2 * math.log(spread)])
        )
        encoder.centre.copy_(bias)
    return VAE(
        encoder, decoder, posterior=posterior, prior=StandardNormalPrior(dim), likelihood=likelihood
    )


@pytest.fixture
def problem():
    torch.manual_seed(0)
    weight = torch.linalg.qr(torch.randn(6, 2))[0] * torch.tensor([2.0, 0.7])
    bias, std = torch.randn(6), 0.4
    x = torch.randn(50, 2) @ weight.T + bias + std * torch.randn(50, 6)
    covariance = (weight @ weight.T + std**2 * torch.eye(6)).numpy()
    log_px = torch.from_numpy(stats.multivariate_normal(bias.numpy(), covariance).logpdf(x.numpy()))
    return weight, bias, std, x, log_px


def test_every_log_weight_is_log_px_at_the_exact_posterior(problem):
    weight, bias, std, x, log_px = problem
    with torch.no_grad():
        weights = log_weights(linear_vae(weight, bias, std), x, 20).log_weight
    assert weights.shape == (20, 50)
    torch.testing.assert_close(weights, log_px.expand(20, 50), rtol=0, atol=1e-5)


def test_the_same_holds_through_score_and_the_gap_is_zero(problem):
    weight, bias, std, x, log_px = problem
    scores = score(linear_vae(weight, bias, std), dataset_from(x), samples=500)
    # dataset_from keeps float64; the likelihood term is a mean of 500 draws, its closed-form KL is exact
    torch.testing.assert_close(scores.log_px, log_px, rtol=0, atol=1e-5)
    torch.testing.assert_close(scores.ess, torch.full((50,), 500.0))
    error = (scores.elbo - log_px).mean().item()
    assert abs(error) < 4 * (scores.elbo - log_px).std().item() / 50**0.5


def full_vae(weight, bias, std):
    """The same model with columns W of any angle, and its exact posterior, whose covariance is not diagonal."""
    size, dim = weight.shape
    likelihood, posterior = (
        GaussianLikelihood((size,), variance="shared", min_std=1e-9),
        FullCovariancePosterior(dim, std="exp"),
    )
    encoder, decoder = (
        MLP((size,), posterior.params_shape, hidden=()),
        MLP((dim,), (size,), hidden=()),
    )
    covariance = torch.linalg.inv(torch.eye(dim) + weight.T @ weight / std**2)
    factor = torch.linalg.cholesky(covariance)
    below = factor[tuple(torch.tril_indices(dim, dim, -1))]
    with torch.no_grad():
        likelihood.raw_log_var.fill_(2 * math.log(std))
        decoder.output.weight.copy_(weight)
        decoder.output.bias.copy_(bias)
        encoder.output.weight.zero_()[:dim].copy_(covariance @ weight.T / std**2)
        encoder.output.bias.copy_(torch.cat([torch.zeros(dim), 2 * factor.diagonal().log(), below]))
        encoder.centre.copy_(bias)
    return VAE(
        encoder, decoder, posterior=posterior, prior=StandardNormalPrior(dim), likelihood=likelihood
    )


@pytest.fixture
def oblique():
    torch.manual_seed(0)
    weight, bias, std = torch.randn(6, 3) @ torch.randn(3, 3), torch.randn(6), 0.4
    x = torch.randn(50, 3) @ weight.T + bias + std * torch.randn(50, 6)
    covariance = (weight @ weight.T + std**2 * torch.eye(6)).numpy()
    log_px = torch.from_numpy(stats.multivariate_normal(bias.numpy(), covariance).logpdf(x.numpy()))
    return full_vae(weight, bias, std), x, log_px


def test_a_full_posterior_attains_log_px(oblique):
    """log p(x) = ELBO where q is exact: each log-weight is log p(x), and the closed form of KL leaves only noise."""
    vae, x, log_px = oblique
    assert vae.encode(x).scale_tril.tril(-1).abs().max() > 0.1
    with torch.no_grad():
        weights = log_weights(vae, x, 20).log_weight
    torch.testing.assert_close(weights, log_px.expand(20, 50), rtol=0, atol=1e-5)
    scores = score(vae, dataset_from(x), samples=500)
    torch.testing.assert_close(scores.log_px, log_px, rtol=0, atol=1e-5)
    assert scores.kl_per_dimension is None
    error = scores.elbo - log_px
    assert abs(error.mean().item()) < 4 * error.std().item() / 50**0.5


def test_a_detached_posterior_has_no_gradient_left_at_the_truth(oblique):
    """Sticking the landing: with log q of the detached law every log-weight is flat in the encoder where q is exact."""
    vae, x, _ = oblique
    q = vae.encode(x)
    z, log_q = q.rsample_and_log_prob((5,))
    joint = vae.decode(z).log_prob(x) + vae.latent_prior().log_prob(z)
    parameters = list(vae.encoder.parameters())
    plain = torch.autograd.grad((joint - log_q).sum(), parameters, retain_graph=True)
    landed = torch.autograd.grad((joint - q.detached().log_prob(z)).sum(), parameters)
    assert all(gradient.abs().max() > 1 for gradient in plain)
    assert all(gradient.abs().max() < 1e-6 for gradient in landed)


def test_bounds_are_ordered_and_rise_with_k(problem):
    """q is 1.5 times too wide. Means over 50 rows and 8 seeds; the rises below are over 10 standard errors."""
    weight, bias, std, x, log_px = problem
    vae = linear_vae(weight, bias, std, spread=1.5)
    bounds = []
    for k in (1, 2, 8, 64, 1024):
        scores = [score(vae, dataset_from(x), samples=k, seed=seed) for seed in range(8)]
        bounds.append(torch.stack([one.log_px for one in scores]).mean().item())
    elbo = torch.stack([one.elbo for one in scores]).mean().item()
    # KL(N(m, s^2 v) || N(m, v)) per dimension = (s^2 - 1 - ln s^2) / 2, exactly
    gap = 2 * 0.5 * (1.5**2 - 1 - math.log(1.5**2))
    truth = log_px.mean().item()
    assert elbo == pytest.approx(truth - gap, abs=0.02)
    assert bounds[0] == pytest.approx(elbo, abs=0.25)
    assert bounds == sorted(bounds)
    assert bounds[-1] < truth + 0.005
    assert bounds[-1] == pytest.approx(truth, abs=0.01)


def test_ppca_matches_its_closed_form():
    """Against the covariance built by hand, and against the published optimum of the eigenvalues."""
    x = np.random.default_rng(0).normal(size=(300, 5)) @ np.random.default_rng(1).normal(
        size=(5, 5)
    )
    values, vectors = np.linalg.eigh(np.cov(x.T, bias=True))
    noise = values[:3].mean()
    covariance = vectors[:, 3:] @ np.diag(values[3:] - noise) @ vectors[:, 3:].T + noise * np.eye(5)
    expected = stats.multivariate_normal(x.mean(0), covariance).logpdf(x)
    np.testing.assert_allclose(fit_pca(x, 2).log_prob(x), expected, rtol=1e-9)


# scikit-learn's digits / 16, rows shuffled by RandomState(0), 1,500 to train and 297 to test: nats per row, exact
PPCA_DIGITS = {2: (0.0021, -0.0330), 5: (8.9723, 8.4667)}


@pytest.mark.parametrize("dim", PPCA_DIGITS)
def test_linear_vae_reaches_the_exact_ppca_likelihood(dim):
    """Training finds the optimum that is known in closed form, within 0.05 nats on training and test rows."""
    torch.set_default_dtype(torch.float32)
    x = torch.tensor(load_digits().data / 16, dtype=torch.float32)
    x = x[np.random.RandomState(0).permutation(1797)]
    train, test = dataset_from(x[:1500]), dataset_from(x[1500:])
    exact = fit_pca(x[:1500].double().numpy(), dim)
    for rows, published in zip((train, test), PPCA_DIGITS[dim], strict=True):
        assert exact.log_prob(rows.prepared().double().numpy()).mean() == pytest.approx(
            published, abs=1e-4
        )
    model = ModelConfig(latent_dim=dim, likelihood="gaussian-shared", hidden=())
    vae = build_vae(model, train.schema, moments=train.moments())
    config = TrainConfig(steps=2000, batch_size=250, learning_rate=2e-2, schedule="cosine")
    fit(build_objective(vae, config), train, train, config)
    for rows, published in zip((train, test), PPCA_DIGITS[dim], strict=True):
        scores = score(vae, rows, samples=50)
        assert scores.elbo.mean().item() == pytest.approx(published, abs=0.05)
        assert scores.log_px.mean().item() == pytest.approx(published, abs=0.05)


def test_a_variance_per_column_is_factor_analysis_and_one_for_all_is_pca_of_standardised_columns():
    """Noise that is equal in the data's units: the first model has it right, and the second is told to be wrong.

    Both linear VAEs reach the optima that scikit-learn finds, within 0.1 nats, and held-out rows tell them apart.
    """
    torch.set_default_dtype(torch.float32)
    random = np.random.default_rng(0)
    sizes = np.array([0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 3.0, 5.0])
    rows = random.normal(size=(1500, 2)) @ (
        random.normal(size=(2, 8)) * sizes
    ) + 0.3 * random.normal(size=(1500, 8))
    data = read(torch.from_numpy(rows).float())
    train, test = (part.prepared().double().numpy() for part in (data.train, data.test))
    optima = {
        "gaussian-per-feature": FactorAnalysis(2, tol=1e-6, max_iter=5000).fit(train),
        "gaussian-shared": PCA(2, svd_solver="full").fit(train),
    }
    held_out, warnings = {}, {}
    for likelihood, optimum in optima.items():
        vae = build_vae(
            ModelConfig(latent_dim=2, likelihood=likelihood, hidden=()),
            data.schema,
            moments=data.train.moments(),
        )
        config = TrainConfig(steps=1200, batch_size=250, learning_rate=2e-2, schedule="cosine")
        fit(build_objective(vae, config), data.train, data.train, config)
        units = data.schema.log_jacobian
        assert score(vae, data.train, samples=50).elbo.mean().item() - units == pytest.approx(
            optimum.score(train), abs=0.1
        )
        numbers = evaluate(vae, data.test, data.train, samples=100)
        held_out[likelihood] = numbers["nll"]["mean"]
        warnings[likelihood] = [
            text for text in numbers["warnings"] if "one noise variance for all columns" in text
        ]
        assert -numbers["nll"]["mean"] - units == pytest.approx(optimum.score(test), abs=0.1)
    assert held_out["gaussian-per-feature"] < held_out["gaussian-shared"] - 1
    assert warnings["gaussian-shared"] and "gaussian-per-feature" in warnings["gaussian-shared"][0]
    assert not warnings["gaussian-per-feature"]
