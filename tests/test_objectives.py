"""Values by hand, slopes of estimators, and the weight of the KL term."""

import math

import numpy as np
import pytest
import torch
from by_hand import Hand, drawn, linear_bernoulli
from torch import nn

from variform import VAE, ModelConfig, TrainConfig, build_objective, build_vae, read
from variform.model.importance import log_weights
from variform.model.likelihoods import BernoulliLikelihood, GaussianLikelihood
from variform.model.networks import MLP
from variform.model.posteriors import DiagonalPosterior
from variform.model.priors import StandardNormalPrior
from variform.objectives import ELBO, Autoencoder, cosine, cyclic, warmup


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
    parts = {
        "posterior": DiagonalPosterior(2, std="exp"),
        "prior": StandardNormalPrior(2),
        "likelihood": likelihood,
    }
    return VAE(Constant(POSTERIOR), Constant(params), **parts)


def network_vae():
    likelihood, posterior = BernoulliLikelihood((6,)), DiagonalPosterior(3)
    encoder, decoder = MLP((6,), posterior.params_shape, hidden=(8,)), MLP((3,), (6,), hidden=(8,))
    nn.init.normal_(decoder.output.weight)
    return VAE(
        encoder, decoder, posterior=posterior, prior=StandardNormalPrior(3), likelihood=likelihood
    )


X = (1.0, 0.0)
# KL of q above to N(0, I): 1/2 (0.25 + 1 - 1 - 0) + 1/2 (1 + 0.25 - 1 - ln 0.25)
KL = 0.125 + 0.5 * (0.25 - math.log(0.25))
CASES = {
    # cross-entropy of x = (1, 0) at probabilities (0.8, 0.3): ln 0.8 + ln 0.7
    "bernoulli": (
        lambda: BernoulliLikelihood((2,)),
        (math.log(4), math.log(3 / 7)),
        math.log(0.8) + math.log(0.7),
    ),
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
        variances = [
            ELBO(vae, samples=count)(x.expand(repeats, 6)).elbo.var().log().item()
            for count in counts
        ]
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
    with pytest.raises(ValueError, match="`samples` must be at least 1; got 0"):
        ELBO(network_vae(), samples=0)


def test_a_whole_number_for_beta_is_that_number():
    """A weight kept as an integer would truncate a schedule, and once did truncate the data."""
    objective = ELBO(
        vae_of(BernoulliLikelihood((2,)), (0.0, 0.0)), beta=lambda step: 0 if step == 0 else 0.5
    )
    objective.at_step(1)
    assert objective.weight.item() == 0.5


# --- schedules ----------------------------------------------------------------------------------------------------


def test_schedules_have_the_values_of_their_formulas():
    """Fu et al. (2019): tau = mod(t - 1, ceil(T / M)) / (T / M), beta = min(1, tau / R), with R = 1/2, t from 1."""
    for step in range(25):
        part = min(1.0, step / 20)
        assert warmup(3.0, 20)(step) == pytest.approx(3 * part)
        assert cosine(3.0, 20)(step) == pytest.approx(3 * math.sin(math.pi / 2 * part) ** 2)
        tau = (step % 5) / 5
        assert cyclic(3.0, 20, cycles=4)(step) == pytest.approx(
            3 * min(1, tau / 0.5) if step < 20 else 3
        )
    for schedule in (warmup, cosine, cyclic):
        assert schedule(2.0, 0)(0) == schedule(2.0, 7)(7) == schedule(2.0, 7)(10**9) == 2.0


def test_cycles_that_do_not_divide_the_steps_are_of_equal_length():
    weights = [cyclic(1.0, 10, cycles=4)(step) for step in range(10)]
    assert weights == pytest.approx([0, 0.8, 1, 0.4, 1, 0, 0.8, 1, 0.4, 1])


@pytest.mark.parametrize("name", ["linear", "cosine", "cyclic"])
def test_a_configuration_names_its_schedule(name):
    objective = build_objective(
        linear_bernoulli(), TrainConfig(beta=2.0, beta_schedule=name, warmup=8, **CYCLES[name])
    )
    expected = {
        "linear": warmup(2.0, 8),
        "cosine": cosine(2.0, 8),
        "cyclic": cyclic(2.0, 8, cycles=2),
    }[name]
    for step in range(12):
        objective.at_step(step)
        assert objective.weight.item() == pytest.approx(expected(step))


CYCLES = {"linear": {}, "cosine": {}, "cyclic": {"cycles": 2}}


# --- free bits, capacity, no bound ----------------------------------------------------------------------------------

ROWS = torch.tensor([[1.0, 0, 0, 1], [0, 1, 1, 1], [0, 0, 0.3, 0]], dtype=torch.float64)


def test_free_bits_floor_the_batch_mean_of_each_latent_and_stop_its_gradient():
    """Kingma et al. (2016), equation 15 with one group per latent: sum over d of max(lambda, mean over x of KL_d)."""
    vae, noise = linear_bernoulli(), drawn((1, 3, 3))
    hand = Hand(vae, ROWS, noise)
    means = hand.kl_per_dimension.mean(0)
    floor = float(np.sort(means)[:2].mean())  # between the least and the second
    terms = ELBO(vae, free_bits=floor, beta=2.0)(ROWS)
    expected = 2 * sum(max(floor, value) for value in means) - hand.log_likelihood[0]
    np.testing.assert_allclose(terms.loss.detach(), expected, rtol=1e-10)
    np.testing.assert_allclose(terms.kl.detach(), hand.kl, rtol=1e-10)
    slope = torch.autograd.grad((terms.loss + terms.log_likelihood).sum(), vae.encoder.output.bias)[
        0
    ].reshape(2, 3)
    assert torch.equal(slope.any(0), torch.from_numpy(means > floor))


def test_free_bits_of_zero_are_the_elbo():
    vae = linear_bernoulli()
    torch.manual_seed(0)
    free = ELBO(vae, free_bits=1e-9)(ROWS).loss.mean()
    torch.manual_seed(0)
    torch.testing.assert_close(free, ELBO(vae)(ROWS).loss.mean())


def test_capacity_holds_the_mean_kl_and_is_reached():
    """pythae takes |KL - C| row by row, and its ramp never reaches C."""
    vae = linear_bernoulli()
    objective = build_objective(vae, TrainConfig(capacity=25.0, capacity_steps=10, gamma=3.0))
    for step, capacity in ((0, 0.0), (4, 10.0), (10, 25.0), (99, 25.0)):
        hand = Hand(vae, ROWS, drawn((1, 3, 3)))
        objective.at_step(step)
        loss = objective(ROWS).loss.detach()
        np.testing.assert_allclose(
            loss, 3 * abs(hand.kl.mean() - capacity) - hand.log_likelihood[0], rtol=1e-10
        )


def test_objectives_that_compare_rows_say_so():
    vae = linear_bernoulli()
    assert not ELBO(vae).couples_rows
    assert ELBO(vae, free_bits=0.1).couples_rows and ELBO(vae, capacity=3.0).couples_rows


def test_free_bits_need_the_kl_of_each_latent():
    for options in ({"kl": "monte-carlo"}, {"capacity": 2.0}):
        with pytest.raises(
            ValueError,
            match="`free_bits` need the KL of each latent in closed form and no capacity",
        ):
            ELBO(linear_bernoulli(), free_bits=0.5, **options)


def test_an_autoencoder_decodes_the_mean_and_claims_no_bound():
    vae = linear_bernoulli()
    hand = Hand(vae, ROWS, np.zeros((1, 3, 3)))
    terms = Autoencoder(vae)(ROWS)
    np.testing.assert_allclose(terms.loss.detach(), -hand.log_likelihood[0], rtol=1e-10)
    assert terms.kl.isnan().all() and terms.elbo.isnan().all()


# --- the configuration --------------------------------------------------------------------------------------------

REFUSED = {
    "`samples` must be left out with `objective='autoencoder'`": {
        "objective": "autoencoder",
        "samples": 2,
    },
    "`beta` must be left out with `objective='iwae'`": {"objective": "iwae", "beta": 2.0},
    "`groups` must be left out with `objective='elbo'`, which does not use it; got 2": {
        "groups": 2
    },
    "use `objective` iwae or piwae": {"gradient": "dreg"},
    "`penalty` must be left out with `objective='factor'`": {"objective": "factor", "penalty": 3.0},
    "`cycles` needs `beta_schedule='cyclic'`": {"cycles": 3, "warmup": 5},
    "`beta_schedule` needs `warmup` above 0": {"beta_schedule": "cosine"},
    "`capacity_steps` needs `capacity` above 0": {"capacity_steps": 5},
    "`gamma` needs `capacity` above 0": {"gamma": 5.0},
    "`beta` needs `capacity=0`": {"capacity": 5.0, "beta": 2.0},
    "`free_bits` needs `capacity=0`": {"capacity": 5.0, "free_bits": 2.0},
    "`free_bits` needs the KL of each latent in closed form": {
        "kl": "monte-carlo",
        "free_bits": 2.0,
    },
    "`samples` needs `deterministic=False`": {"objective": "wae", "samples": 3},
    "`slices` needs `distance='sliced'`": {"objective": "wae", "slices": 3},
    "`discriminator` needs `distance='adversarial'`": {"objective": "wae", "discriminator": (3,)},
    "`distance='adversarial'` needs adam": {
        "objective": "wae",
        "distance": "adversarial",
        "optimizer": "rmsprop",
    },
    "`regulariser` must be left out with `objective='autoencoder'`": {
        "objective": "autoencoder",
        "regulariser": "spectral",
    },
    "`plateau_factor` needs `schedule='plateau'`": {"plateau_factor": 0.5},
    "`schedule='plateau'` needs a training without `private_epsilon`": {
        "schedule": "plateau",
        "private_epsilon": 2.0,
    },
    "`patience` must exceed `plateau_patience`": {"schedule": "plateau", "patience": 10},
    "`noise_level` needs `noise`": {"noise_level": 0.5},
    "`noise` needs `noise_level`": {"noise": "gaussian"},
    "`noise_level` is a share": {"noise": "masking", "noise_level": 1.5},
    "`elbo_share` must be in": {"objective": "iwae", "elbo_share": 1.5},
    "`objective='factor'` needs adam": {"objective": "factor", "optimizer": "rmsprop"},
    "each of `discriminator` must be at least 1": {"objective": "factor", "discriminator": (3, 0)},
    "`alpha` must be at least 0": {"objective": "info", "alpha": -1.0},
}


@pytest.mark.parametrize(("message", "options"), REFUSED.items())
def test_an_option_without_effect_is_refused(message, options):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**options)


GIVEN = {
    "elbo": {"samples": 3, "free_bits": 0.5},
    "iwae": {"samples": 3, "groups": 2, "elbo_share": 0.25, "gradient": "dreg"},
    "piwae": {"samples": 3, "groups": 2, "gradient": "stl"},
    "beta-tc": {"samples": 3, "alpha": 0.5, "gamma": 2.5},
    "dip-i": {"penalty": 3.5, "penalty_diagonal": 4.5},
    "dip-ii": {"penalty": 3.5, "penalty_diagonal": 4.5},
    "info": {"samples": 3, "alpha": 0.5, "penalty": 3.5},
    "wae": {"samples": 3, "penalty": 3.5, "deterministic": False},
    "factor": {"samples": 3, "gamma": 2.5},
    "hvae": {"samples": 3, "leaps": 2, "tempering": 0.5},
    "ms-ssim": {"samples": 3, "penalty": 3.5},
    "perceptual": {"samples": 3, "penalty": 3.5},
    "vae-gan": {"samples": 3, "penalty": 3.5, "gamma": 2.5},
    "rae": {"regulariser": "spectral", "penalty": 3.5},
}


@pytest.mark.parametrize("name", GIVEN)
def test_every_option_reaches_its_objective_and_its_checkpoint(name):
    vae = linear_bernoulli()
    if name in ("ms-ssim", "perceptual"):  # which are of images
        vae = build_vae(ModelConfig(latent_dim=2, hidden=(4,)), read("digits").schema)
    objective = build_objective(vae, TrainConfig(objective=name, **GIVEN[name]), rows=77)
    settings = objective.settings()
    assert {key: settings[key] for key in GIVEN[name]} == GIVEN[name]
    assert settings.get("rows", 77) == 77
    assert settings.get("kind", "i" if name == "dip-i" else "ii") == (
        "i" if name == "dip-i" else "ii"
    )
