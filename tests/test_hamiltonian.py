"""The Hamiltonian VAE's bound: by hand, below an exactly known log p(x), and higher with more steps."""

import itertools
import math

import numpy as np
import pytest
import torch
from by_hand import Hand, linear_bernoulli, normal, numpy_of
from scipy import stats
from torch import nn

from variform import ELBO, VAE, ModelConfig, TrainConfig, build_vae, read
from variform.distributions import Bernoulli
from variform.model.likelihoods import GaussianLikelihood
from variform.model.networks import MLP
from variform.model.posteriors import DiagonalPosterior
from variform.model.priors import StandardNormalPrior
from variform.objectives import HVAE
from variform.training.step import Step

X = torch.tensor([[1.0, 0, 0, 1], [0, 1, 1, 1], [0, 0, 0.3, 0]], dtype=torch.float64)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def log_joint_and_slope(vae, x, z):
    """Of one row: log p(x, z), and its slope W^T (x - p) - z."""
    weight, bias = numpy_of(vae.decoder)
    probability = np.array([1 / (1 + math.exp(-logit)) for logit in weight @ z + bias])
    value = sum(
        a * math.log(p) + (1 - a) * math.log(1 - p) for a, p in zip(x, probability, strict=True)
    )
    return (
        value,
        value + sum(normal(part, 0.0, 1.0) for part in z),
        weight.T @ (x - probability) - z,
    )


@pytest.mark.parametrize("tempering", [1.0, 0.3])
def test_hvae_equals_algorithm_1_of_the_paper(tempering):
    vae, leaps, step = linear_bernoulli(), 3, 0.2
    objective = HVAE(vae, samples=2, leaps=leaps, tempering=tempering, step=step)
    torch.manual_seed(0)
    noise, gamma = torch.randn(2, 3, 3).numpy(), torch.randn(2, 3, 3).numpy()
    torch.manual_seed(0)
    terms = objective(X)
    hand = Hand(vae, X, noise)
    expected, likelihoods = np.zeros(3), np.zeros(3)
    first = math.sqrt(tempering)
    for draw in range(2):
        for row in range(3):
            x, z, m = X[row].numpy(), hand.z[draw, row], gamma[draw, row] / first
            root = first
            for k in range(1, leaps + 1):
                half = m + step / 2 * log_joint_and_slope(vae, x, z)[2]
                z = z + step * half
                m = half + step / 2 * log_joint_and_slope(vae, x, z)[2]
                after = 1 / ((1 - 1 / first) * k**2 / leaps**2 + 1 / first)
                m, root = m * root / after, after
            log_likelihood, log_joint, _ = log_joint_and_slope(vae, x, z)
            log_start = hand.log_q[draw, row] + sum(
                stats.norm.logpdf(part, scale=1 / first) for part in gamma[draw, row] / first
            )
            log_end = log_joint + sum(stats.norm.logpdf(part) for part in m)
            expected[row] += (log_end - log_start + 3 / 2 * math.log(tempering)) / 2
            likelihoods[row] += log_likelihood / 2
    np.testing.assert_allclose(terms.elbo.detach(), expected, rtol=1e-10)
    np.testing.assert_allclose(terms.loss.detach(), -expected, rtol=1e-10)
    np.testing.assert_allclose(terms.log_likelihood.detach(), likelihoods, rtol=1e-10)
    torch.manual_seed(0)
    with torch.no_grad():
        torch.testing.assert_close(objective(X).loss, terms.loss)


def linear_gaussian():
    """z ~ N(0, I), x ~ N(W z + b, I), and a q(z|x) = N(0, 4) that knows nothing of x: log p(x) is a normal's."""
    posterior = DiagonalPosterior(2, std="exp")
    likelihood = GaussianLikelihood((3,), variance="identity")
    vae = VAE(
        MLP((3,), posterior.params_shape, hidden=()),
        MLP((2,), likelihood.params_shape, hidden=()),
        posterior=posterior,
        prior=StandardNormalPrior(2),
        likelihood=likelihood,
    )
    with torch.no_grad():
        nn.init.normal_(vae.decoder.output.weight)
        vae.encoder.output.weight.zero_()
        vae.encoder.output.bias.copy_(torch.tensor([0.0, 0.0, math.log(4), math.log(4)]))
    return vae


def exact_log_px(vae, x):
    weight, bias = numpy_of(vae.decoder)
    law = stats.multivariate_normal(bias, weight @ weight.T + np.eye(len(bias)))
    return law.logpdf(x.numpy())


@pytest.mark.parametrize("tempering", [1.0, 0.5])
def test_the_bound_is_below_log_px_and_rises_with_the_steps(tempering):
    """10,000 draws a row, the same for each: every rise is above 4 standard errors, as is what is left to log p(x).

    Four steps of 0.1 are less than a quarter of an orbit, after which a walk would come back.
    """
    vae = linear_gaussian()
    x = torch.tensor([[1.0, -1.0, 2.0], [0.5, 0.0, -3.0]])
    log_px = torch.tensor(exact_log_px(vae, x))
    rows, bounds = x.repeat_interleave(10_000, 0), []
    for leaps in (0, 1, 2, 4):
        walk = {"leaps": leaps, "tempering": tempering, "step": 0.1}
        objective = HVAE(vae, **walk) if leaps else ELBO(vae, kl="monte-carlo")
        torch.manual_seed(0)
        with torch.no_grad():
            bounds.append(objective(rows).elbo.reshape(2, -1))
    bounds.append(log_px[:, None])
    for before, after in itertools.pairwise(bounds):
        rise = after - before
        assert (rise.mean(1) > 4 * rise.std(1) / math.sqrt(10_000)).all()


def test_the_mean_weight_is_px():
    """exp(log w) is an unbiased estimate of p(x): 200,000 draws, within 4 standard errors of the exact value."""
    vae = linear_gaussian()
    x = torch.tensor([[1.0, -1.0, 2.0]])
    with torch.no_grad():
        objective = HVAE(vae, leaps=3, tempering=0.6, step=0.25)
        weights = objective(x.expand(200_000, 3)).elbo.exp()
    error = weights.std().item() / math.sqrt(len(weights))
    assert abs(weights.mean().item() - math.exp(exact_log_px(vae, x))) < 4 * error
    assert error < 0.01 * weights.mean().item()


def test_gradients_of_decoder_encoder_and_step_are_those_of_finite_differences():
    """Also through the slopes that move z, of the Bernoulli whose density has a kernel of its own."""
    vae = linear_bernoulli()
    objective = HVAE(vae, leaps=2, tempering=0.5, step=0.3)

    def loss():
        torch.manual_seed(1)
        return objective(X).loss.sum()

    for parameter in (vae.decoder.output.weight, vae.encoder.output.weight, objective.log_step):
        (slope,) = torch.autograd.grad(loss(), parameter)
        values = []
        for shift in (1e-5, -2e-5):
            with torch.no_grad():
                parameter.view(-1)[1] += shift
            values.append(loss().item())
        with torch.no_grad():
            parameter.view(-1)[1] += 1e-5
        assert slope.view(-1)[1].item() == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-6)


def test_the_bernoulli_kernel_is_differentiated_twice():
    logits = torch.randn(3, 4, requires_grad=True)
    kernel = Bernoulli(logits).log_prob(X).exp().sum()
    formula = Bernoulli(logits).log_prob_per_entry(X).sum(-1).exp().sum()
    slopes = []
    for value in (kernel, formula):
        (slope,) = torch.autograd.grad(value, logits, create_graph=True)
        slopes.append(torch.autograd.grad(slope.square().sum(), logits)[0])
    torch.testing.assert_close(*slopes)


def test_the_steps_are_learned_and_what_cannot_be_is_refused():
    torch.manual_seed(0)
    objective = HVAE(linear_gaussian(), leaps=3)
    before = objective.log_step.detach().clone()
    step = Step(objective, TrainConfig(compile="off", learning_rate=0.01), 30)
    for _ in range(30):
        step(torch.randn(50, 3), 50, 1.0)
    assert (objective.log_step > before + 0.1).all()
    schema = read("digits").schema
    small = {"latent_dim": 2, "hidden": (4,), "likelihood": "bernoulli"}
    with pytest.raises(ValueError, match=r"HVAE needs a prior that can be differentiated twice"):
        HVAE(build_vae(ModelConfig(prior="flow", **small), schema))
    optimal = ModelConfig(**small | {"likelihood": "gaussian-optimal"})
    with pytest.raises(ValueError, match=r"HVAE needs a variance that is not the optimum"):
        HVAE(build_vae(optimal, schema))
