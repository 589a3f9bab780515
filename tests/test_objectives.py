"""Values by hand, slopes of estimators, and the weight of the KL term."""

import math

import pytest
import torch
from torch import nn

from variform import VAE
from variform.likelihoods import BernoulliLikelihood, GaussianLikelihood
from variform.networks import MLP
from variform.objectives import ELBO, log_weights, warmup
from variform.posteriors import DiagonalPosterior
from variform.priors import StandardNormalPrior


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


class Constant(nn.Module):
    """A network that answers the same for every input."""

    def __init__(self, values):
        super().__init__()
        self.values = nn.Parameter(torch.as_tensor(values))

    def forward(self, x):
        return self.values.expand(len(x), *self.values.shape)


POSTERIOR = ((0.5, -1.0), (0.0, 2 * math.log(0.5)))  # means, log-variances


def vae_of(likelihood, params):
    """q(z|x) = N((0.5, -1), diag(1, 0.25)) and the given decoder output, whatever comes in."""
    parts = {"posterior": DiagonalPosterior(2), "prior": StandardNormalPrior(2), "likelihood": likelihood}
    return VAE(Constant(POSTERIOR), Constant(params), **parts)


def network_vae():
    likelihood, posterior = BernoulliLikelihood((6,)), DiagonalPosterior(3)
    encoder, decoder = MLP((6,), posterior.params_shape, hidden=(8,)), MLP((3,), (6,), hidden=(8,))
    nn.init.normal_(decoder.output.weight)
    return VAE(encoder, decoder, posterior=posterior, prior=StandardNormalPrior(3), likelihood=likelihood)


X = (1.0, 0.0)
# KL of q above to N(0, I): 1/2 (0.25 + 1 - 1 - 0) + 1/2 (1 + 0.25 - 1 - ln 0.25)
KL = 0.125 + 0.5 * (0.25 - math.log(0.25))
CASES = {
    # cross-entropy of x = (1, 0) at probabilities (0.8, 0.3): ln 0.8 + ln 0.7
    "bernoulli": (lambda: BernoulliLikelihood((2,)), (math.log(4), math.log(3 / 7)), math.log(0.8) + math.log(0.7)),
    # means (0.4, 0.1), standard deviations (0.5, 2): -ln(2 pi) - ln 0.5 - ln 2 - (0.6/0.5)^2/2 - (0.1/2)^2/2
    "gaussian": (
        lambda: GaussianLikelihood((2,), min_std=1e-12),
        ((0.4, 0.1), (2 * math.log(0.5), 2 * math.log(2))),
        -math.log(2 * math.pi) - 0.72 - 0.00125,
    ),
    # half the squared error, (0.36 + 0.01) / 2, and the constant ln(2 pi)
    "identity": (
        lambda: GaussianLikelihood((2,), variance="identity"),
        (0.4, 0.1),
        -0.185 - math.log(2 * math.pi),
    ),
}


@pytest.mark.parametrize(("make", "params", "expected"), CASES.values(), ids=CASES)
def test_losses_of_the_three_structures_equal_hand_computed_values(make, params, expected):
    terms = ELBO(vae_of(make(), params))(torch.tensor([X, X]))
    torch.testing.assert_close(terms.log_likelihood, torch.full((2,), expected))
    torch.testing.assert_close(terms.kl, torch.full((2,), KL))
    torch.testing.assert_close(terms.elbo, torch.full((2,), expected - KL))
    torch.testing.assert_close(terms.loss, -terms.elbo)


def test_estimator_variance_falls_as_one_over_the_samples():
    """The slope of log variance over log L is -1; estimated from 4,000 repeats it errs by less than 0.05."""
    vae, x, repeats = network_vae(), torch.ones(1, 6), 4000
    counts = [1, 4, 16, 64]
    with torch.no_grad():
        variances = [ELBO(vae, samples=count)(x.expand(repeats, 6)).elbo.var().log().item() for count in counts]
    slope = (variances[-1] - variances[0]) / math.log(counts[-1] / counts[0])
    assert slope == pytest.approx(-1, abs=0.05)


def test_closed_form_kl_agrees_with_monte_carlo():
    """Within 4 standard errors of 20,000 draws, for 5 rows: false alarm about 1 in 3,000."""
    vae, x = network_vae(), torch.rand(5, 6)
    with torch.no_grad():
        closed = ELBO(vae)(x).kl
        draws = torch.stack([ELBO(vae, kl="monte-carlo", samples=200)(x).kl for _ in range(100)])
    assert ((draws.mean(0) - closed).abs() <= 4 * draws.std(0) / 10).all()


def test_the_mean_log_weight_is_the_elbo():
    """Within 4 standard errors of 20,000 draws, for 5 rows: false alarm about 1 in 3,000."""
    vae, x = network_vae(), torch.rand(5, 6)
    with torch.no_grad():
        elbo = torch.stack([ELBO(vae, samples=200)(x).elbo for _ in range(100)])
        weights = log_weights(vae, x, 20_000).log_weight
    error = (elbo.var(0) / 100 + weights.var(0) / 20_000).sqrt()
    assert ((weights.mean(0) - elbo.mean(0)).abs() <= 4 * error).all()


def test_beta_weighs_the_kl_term_and_leaves_the_elbo():
    vae = vae_of(BernoulliLikelihood((2,)), (0.0, 0.0))
    plain, weighted = ELBO(vae)(torch.tensor([X])), ELBO(vae, beta=4.0)(torch.tensor([X]))
    torch.testing.assert_close(weighted.elbo, plain.elbo)
    torch.testing.assert_close(weighted.loss - plain.loss, 3 * plain.kl)


def test_warmup_is_linear():
    objective = ELBO(vae_of(BernoulliLikelihood((2,)), (0.0, 0.0)), beta=warmup(2.0, 10))
    for step, beta in ((0, 0.0), (5, 1.0), (10, 2.0), (1000, 2.0)):
        objective.at_step(step)
        terms = objective(torch.tensor([X]))
        torch.testing.assert_close(terms.loss, beta * terms.kl - terms.log_likelihood)


def test_samples_must_be_positive():
    with pytest.raises(ValueError, match="samples must be at least 1; got 0"):
        ELBO(network_vae(), samples=0)


def test_a_whole_number_for_beta_is_that_number():
    """A weight kept as an integer would truncate a schedule, and once did truncate the data."""
    objective = ELBO(vae_of(BernoulliLikelihood((2,)), (0.0, 0.0)), beta=lambda step: 0 if step == 0 else 0.5)
    objective.at_step(1)
    assert objective.weight.item() == 0.5
