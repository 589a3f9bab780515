"""Bounds from several weights: values by hand, their order on a known truth, and where their gradients lead."""

import itertools
import math

import numpy as np
import pytest
import torch
from by_hand import Hand, drawn, linear_bernoulli
from test_truth import linear_vae

from variform.objectives import ELBO, IWAE, PIWAE

B, X = 3, torch.tensor([[1.0, 0, 0, 1], [0, 1, 1, 1], [0, 0, 0.3, 0]], dtype=torch.float64)


def by_hand(log_weight, groups, elbo_share):
    """The mean over groups of the logarithm of the mean weight, for each row."""
    draws, rows = log_weight.shape
    bounds = np.zeros(rows)
    for row in range(rows):
        per_group = draws // groups
        for group in range(groups):
            weights = [
                math.exp(log_weight[group * per_group + number, row]) for number in range(per_group)
            ]
            bounds[row] += math.log(sum(weights) / per_group) / groups
    return elbo_share * log_weight.mean(0) + (1 - elbo_share) * bounds


@pytest.mark.parametrize("gradient", ["plain", "stl", "dreg"])
@pytest.mark.parametrize(
    ("samples", "groups", "elbo_share"),
    [(1, 1, 0.0), (5, 1, 0.0), (3, 4, 0.0), (6, 1, 0.3), (2, 3, 0.7)],
)
def test_the_loss_is_minus_the_bound_whatever_carries_its_gradient(
    samples, groups, elbo_share, gradient
):
    """pythae reports the surrogate, too good by log K - H(w), and takes MIWAE's groups along the wrong axis."""
    vae, noise = linear_bernoulli(), drawn((samples * groups, B, 3))
    hand = Hand(vae, X, noise)
    objective = IWAE(vae, samples=samples, groups=groups, elbo_share=elbo_share, gradient=gradient)
    terms = objective(X)
    expected = by_hand(hand.log_weight, groups, elbo_share)
    np.testing.assert_allclose(terms.loss.detach(), -expected, rtol=1e-10)
    np.testing.assert_allclose(
        terms.log_likelihood.detach(), hand.log_likelihood.mean(0), rtol=1e-10
    )
    np.testing.assert_allclose(terms.kl.detach(), (hand.log_q - hand.log_p).mean(0), rtol=1e-10)
    torch.manual_seed(0)
    with torch.no_grad():
        torch.testing.assert_close(objective(X).loss, terms.loss)


@pytest.mark.parametrize("gradient", ["plain", "stl", "dreg"])
def test_piwae_reports_the_bound_from_all_draws(gradient):
    vae, noise = linear_bernoulli(), drawn((6, B, 3))
    loss = PIWAE(vae, samples=2, groups=3, gradient=gradient)(X).loss
    np.testing.assert_allclose(
        loss.detach(), -by_hand(Hand(vae, X, noise).log_weight, 1, 0.0), rtol=1e-10
    )


@pytest.mark.parametrize("count", [1, 5])
def test_one_sample_in_each_group_is_the_elbo(count):
    vae = linear_bernoulli()
    losses = []
    for objective in (
        ELBO(vae, samples=count, kl="monte-carlo"),
        IWAE(vae, samples=1, groups=count),
        IWAE(vae, samples=count, elbo_share=1.0),
    ):
        torch.manual_seed(0)
        losses.append(objective(X).loss)
    torch.testing.assert_close(losses[1], losses[0])
    torch.testing.assert_close(losses[2], losses[0])


def test_a_row_alone_has_the_terms_it_has_in_a_batch_of_its_own_draws():
    vae, noise = linear_bernoulli(), drawn((4, 1, 3))
    loss = IWAE(vae, samples=4)(X[:1]).loss
    np.testing.assert_allclose(
        loss.detach(), -by_hand(Hand(vae, X[:1], noise).log_weight, 1, 0.0), rtol=1e-10
    )


# --- a truth ------------------------------------------------------------------------------------------------------


@pytest.fixture
def truth():
    """A linear model whose q is too wide by a half, its rows, and their exact log p(x)."""
    torch.manual_seed(0)
    weight = torch.linalg.qr(torch.randn(5, 2))[0] * torch.tensor([2.0, 0.7])
    bias, std = torch.randn(5), 0.4
    x = torch.randn(20, 2) @ weight.T + bias + std * torch.randn(20, 5)
    covariance = weight @ weight.T + std**2 * torch.eye(5)
    log_px = torch.distributions.MultivariateNormal(bias, covariance).log_prob(x)
    return (weight, bias, std), x, log_px


def mean_bound(objective, x, repeats=1000):
    """The mean over rows and repeats, and its standard error over the repeats."""
    with torch.no_grad():
        values = -objective(x.repeat(repeats, 1)).loss.reshape(repeats, len(x)).mean(1)
    return values.mean().item(), values.std().item() / math.sqrt(repeats)


def test_every_bound_is_one_and_rises_with_the_samples(truth):
    """Each mean is of 20,000 draws of the bound; a false alarm at 4 standard errors is about 1 in 3,000 for each."""
    model, x, log_px = truth
    vae, limit = linear_vae(*model, spread=1.5), log_px.mean().item()
    for make in (
        lambda k: IWAE(vae, samples=k),
        lambda k: IWAE(vae, samples=k, groups=2),
        lambda k: IWAE(vae, samples=k, elbo_share=0.5),
        lambda k: PIWAE(vae, samples=k, groups=2),
    ):
        bounds = [mean_bound(make(k), x) for k in (1, 4, 16)]
        assert all(value <= limit + 4 * error for value, error in bounds)
        assert all(
            more[0] - less[0] > 4 * (more[1] + less[1]) for less, more in itertools.pairwise(bounds)
        )


@pytest.mark.parametrize("gradient", ["stl", "dreg"])
def test_at_the_exact_posterior_bounds_are_log_px_and_the_gradient_has_no_noise(truth, gradient):
    model, x, log_px = truth
    for spread, is_exact in ((1.0, True), (1.2, False)):
        vae = linear_vae(*model, spread=spread)
        terms = IWAE(vae, samples=7, gradient=gradient)(x)
        slope = torch.autograd.grad(terms.loss.sum(), vae.encoder.output.bias)[0].abs().max().item()
        assert (slope < 1e-8) == is_exact
        if is_exact:
            torch.testing.assert_close(-terms.loss, log_px, rtol=0, atol=1e-8)


# --- gradients ----------------------------------------------------------------------------------------------------


def tiny():
    """One latent: the expected bound of two draws is an integral over the plane, which quadrature gives exactly."""
    return linear_bernoulli(4, 1, seed=3)


NODES, MASSES = np.polynomial.hermite_e.hermegauss(60)


def expected_bounds(vae, x):
    """E[log w] and E[log (w_1 + w_2) / 2] for one row x, by Gauss-Hermite quadrature over the noise."""
    hand = Hand(vae, x[None], NODES[:, None, None])
    masses, log_weight = MASSES / MASSES.sum(), hand.log_weight[:, 0]
    pairs = np.logaddexp(log_weight[:, None], log_weight[None]) - math.log(2)
    return np.array([masses @ log_weight, masses @ pairs @ masses])


def exact_slopes(x):
    """Central differences of both expected bounds in every parameter: name to (2, size)."""
    slopes, step = {}, 1e-5
    for name in (
        "encoder.output.weight",
        "encoder.output.bias",
        "decoder.output.weight",
        "decoder.output.bias",
    ):
        gradients = []
        for place in range(tiny().get_parameter(name).numel()):
            sides = []
            for sign in (1, -1):
                vae = tiny()
                with torch.no_grad():
                    vae.get_parameter(name).view(-1)[place] += sign * step
                sides.append(expected_bounds(vae, x))
            gradients.append((sides[0] - sides[1]) / (2 * step))
        slopes[name] = np.array(gradients).T
    return slopes


def estimated_slopes(make, x, repeats=100, rows=400):
    """Mean and standard error of the gradient of the bound: name to (2, size)."""
    torch.manual_seed(0)
    vae = tiny()
    objective, gradients = make(vae), []
    parameters = dict(vae.named_parameters())
    for _ in range(repeats):
        loss = objective(torch.from_numpy(x).expand(rows, -1)).loss.mean()
        gradients.append(torch.autograd.grad(-loss, list(parameters.values())))
    columns = [torch.stack(values).flatten(1) for values in zip(*gradients, strict=True)]
    return {
        name: np.stack([values.mean(0).numpy(), values.std(0).numpy() / math.sqrt(repeats)])
        for name, values in zip(parameters, columns, strict=True)
    }


ROW = np.array([1.0, 0.2, 0.9, 0.4])


@pytest.fixture(scope="module")
def slopes():
    torch.set_default_dtype(torch.float64)  # conftest sets it later
    return exact_slopes(ROW)


def distance(estimate, exact):
    """The greatest distance in standard errors."""
    return np.abs((estimate[0] - exact) / estimate[1]).max()


ONE, TWO = 0, 1  # draws under one logarithm
UNBIASED = {
    "iwae, plain": (lambda vae: IWAE(vae, samples=2), TWO, TWO),
    "iwae, dreg": (lambda vae: IWAE(vae, samples=2, gradient="dreg"), TWO, TWO),
    "elbo, stl": (lambda vae: IWAE(vae, samples=1, gradient="stl"), ONE, ONE),
    "elbo, dreg": (lambda vae: IWAE(vae, samples=1, gradient="dreg"), ONE, ONE),
    "miwae, plain": (lambda vae: IWAE(vae, samples=2, groups=3), TWO, TWO),
    "miwae, dreg": (lambda vae: IWAE(vae, samples=2, groups=3, gradient="dreg"), TWO, TWO),
    "piwae, plain": (lambda vae: PIWAE(vae, samples=1, groups=2), ONE, TWO),
    "piwae, dreg": (lambda vae: PIWAE(vae, samples=1, groups=2, gradient="dreg"), ONE, TWO),
    "piwae, one group": (lambda vae: PIWAE(vae, samples=2, groups=1, gradient="dreg"), TWO, TWO),
}


@pytest.mark.parametrize(("make", "encoder", "decoder"), UNBIASED.values(), ids=UNBIASED)
def test_gradients_agree_with_finite_differences_of_the_exact_expected_bound(
    slopes, make, encoder, decoder
):
    """40,000 draws; within 4.5 standard errors in 18 parameters: false alarm about 1 in 8,000 for each estimator."""
    for name, estimate in estimated_slopes(make, ROW).items():
        assert (
            distance(estimate, slopes[name][encoder if name.startswith("encoder") else decoder])
            < 4.5
        ), name


@pytest.mark.parametrize("gradient", ["plain", "dreg"])
def test_gradients_of_a_mixture_with_the_elbo_agree_too(slopes, gradient):
    estimates = estimated_slopes(
        lambda vae: IWAE(vae, samples=2, elbo_share=0.4, gradient=gradient), ROW
    )
    for name, estimate in estimates.items():
        assert distance(estimate, 0.4 * slopes[name][ONE] + 0.6 * slopes[name][TWO]) < 4.5, name


def test_sticking_the_landing_is_biased_in_the_encoder_for_more_than_one_sample(slopes):
    """Tucker et al. (2019), section 3: what it leaves out is zero in expectation for one sample only."""
    estimates = estimated_slopes(lambda vae: IWAE(vae, samples=2, gradient="stl"), ROW, repeats=400)
    far = {name: distance(estimate, slopes[name][TWO]) for name, estimate in estimates.items()}
    assert max(far["encoder.output.weight"], far["encoder.output.bias"]) > 8
    assert max(far["decoder.output.weight"], far["decoder.output.bias"]) < 4.5


def test_doubly_reparameterised_gradients_have_less_noise():
    """Of 40 draws; plain ones lose their signal as the samples grow, and these do not."""
    errors = {}
    for gradient in ("plain", "dreg"):
        estimate = estimated_slopes(
            lambda vae, gradient=gradient: IWAE(vae, samples=40, gradient=gradient),
            ROW,
            repeats=60,
            rows=100,
        )
        errors[gradient] = estimate["encoder.output.bias"][1]
    assert (errors["dreg"] < 0.7 * errors["plain"]).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"samples": 0}, "`samples` must be at least 1; got 0"),
        ({"groups": 0}, "`groups` must be at least 1; got 0"),
        ({"elbo_share": 1.5}, r"`elbo_share` must be in \[0, 1\]; got 1.5"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        IWAE(tiny(), **options)
