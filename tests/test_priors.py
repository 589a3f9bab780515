"""Priors against what they are made of, by other means."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from variform import (
    VAE,
    DataConfig,
    ModelConfig,
    TrainConfig,
    build_objective,
    build_vae,
    evaluate,
    fit,
    read,
)
from variform.evaluation.log_likelihood import score
from variform.model.likelihoods import BernoulliLikelihood
from variform.model.networks import MLP
from variform.model.posteriors import DiagonalPosterior
from variform.model.priors import MixturePrior, StandardNormalPrior, VampPrior
from variform.objectives import ELBO
from variform.system.draws import sharing


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def digits():
    return read("digits", DataConfig(binarise="threshold"))


def vamp_vae(digits, **options):
    config = ModelConfig(
        latent_dim=3,
        hidden=(16,),
        prior="vamp",
        components=7,
        **({"likelihood": "bernoulli"} | options),
    )
    return build_vae(config, digits.schema, moments=digits.train.moments()).double()


def test_a_vamp_prior_is_the_mixture_of_the_encoders_posteriors(digits):
    vae = vamp_vae(digits, posterior_std="exp")
    with torch.no_grad():
        raw = vae.encoder(torch.sigmoid(vae.prior.raw))  # (K, 2, D): means, log-variances
        z = torch.randn(5, 3)
        each = (
            stats.norm(raw[:, 0].numpy(), np.exp(raw[:, 1].numpy() / 2))
            .logpdf(z[:, None].numpy())
            .sum(-1)
        )
        expected = torch.from_numpy(np.log(np.exp(each).mean(1)))
        torch.testing.assert_close(vae.latent_prior().log_prob(z), expected)


@pytest.mark.parametrize("kl", ["auto", "monte-carlo"])
def test_one_pseudo_input_whose_posterior_is_standard_normal_is_a_standard_normal_prior(kl):
    """KL by Monte Carlo within 5 standard errors of 20,000 draws of the closed form to N(0, I)."""
    encoder = MLP((4,), (2, 2), hidden=())
    with torch.no_grad():
        encoder.output.bias.zero_()
        encoder.output.weight.copy_(torch.randn(4, 4))
    prior = VampPrior((4,), components=1)
    nn.init.zeros_(prior.raw)  # which this encoder maps to mean 0 and log-variance 0
    parts = {"posterior": DiagonalPosterior(2, std="exp"), "likelihood": BernoulliLikelihood((4,))}
    decoder, x = MLP((2,), (4,)), torch.rand(3, 4)
    vamp = VAE(encoder, decoder, prior=prior, **parts)
    closed = ELBO(VAE(encoder, decoder, prior=StandardNormalPrior(2), **parts), kl="closed-form")(
        x
    ).kl
    with torch.no_grad():
        draws = torch.stack([ELBO(vamp, kl=kl, samples=200)(x).kl for _ in range(100)])
    assert ((draws.mean(0) - closed).abs() <= 5 * draws.std(0) / 10).all()


def test_closed_form_kl_is_refused_where_there_is_none(digits):
    with pytest.raises(ValueError, match=r"`kl='closed-form'` needs.*VampPrior. Use `kl='auto'`"):
        build_objective(vamp_vae(digits), TrainConfig(kl="closed-form"))


def test_the_encoder_belongs_to_the_vae_alone(digits):
    vae = vamp_vae(digits)
    assert [name for name, _ in vae.prior.named_parameters()] == ["raw"]
    assert [name for name in vae.state_dict() if name.startswith("prior")] == ["prior.raw"]


def test_pseudo_inputs_start_like_the_data_and_can_all_move(digits):
    """Pixels that are always 0 too: a gradient reaches each of them, and none leaves [0, 1]."""
    vae = build_vae(
        ModelConfig(likelihood="bernoulli", latent_dim=3, prior="vamp", components=500),
        digits.schema,
        moments=digits.train.moments(),
    )
    mean, variance = digits.train.moments()
    inputs = vae.prior.pseudo_inputs
    assert variance.min() == 0 and inputs.min() >= 0.05 - 1e-6 and inputs.max() <= 0.95 + 1e-6
    assert (inputs.mean(0) - mean).abs().max() < 0.15
    slopes = torch.autograd.grad(inputs.sum(), vae.prior.raw)[0]
    assert slopes.min() > 0.04
    x = digits.train.prepared()[:20]
    ELBO(vae)(x).loss.sum().backward()
    assert (vae.prior.raw.grad != 0).all()
    with torch.no_grad():
        vae.prior.raw.fill_(50.0)
    assert (vae.prior.pseudo_inputs == 1).all()


def test_pseudo_inputs_of_a_table_stay_in_the_range_of_each_column():
    rows = np.random.default_rng(0).normal([3, -70, 7], [1, 20, 1e-3], (300, 3))
    data = read(rows)
    vae = build_vae(
        ModelConfig(latent_dim=2, likelihood="gaussian", prior="vamp", components=400),
        data.schema,
        moments=data.train.moments(),
    )
    raw = data.schema.restore(vae.prior.pseudo_inputs).detach().numpy()
    assert (raw >= rows.min(0) - 1e-3).all() and (raw <= rows.max(0) + 1e-3).all()
    assert np.allclose(raw.mean(0), rows.mean(0), atol=2.5) and np.allclose(
        raw.std(0)[:2], rows.std(0)[:2], rtol=0.15
    )
    assert vae.encode(vae.prior.pseudo_inputs).mean.isfinite().all()


def test_without_a_range_pseudo_inputs_are_free():
    prior = VampPrior((2,), components=1000)
    prior.start_at(torch.tensor([100.0, -3.0]), torch.tensor([4.0, 0.0]))
    assert torch.equal(prior.pseudo_inputs, prior.raw)
    first = prior.raw[:, 0]
    assert first.mean().item() == pytest.approx(
        100, abs=0.3
    ) and first.std().item() == pytest.approx(2, rel=0.1)
    assert (prior.raw[:, 1] == -3).all()


def test_each_process_encodes_all_pseudo_inputs(digits):
    """Their number need not divide among the rows, with dropout too."""
    vae = vamp_vae(digits, dropout=0.5)
    with sharing(1, 4, 6):
        assert vae.latent_prior().sample((3,)).shape == (3, 3)


def test_an_evaluation_encodes_the_pseudo_inputs_once(digits):
    vae, calls = vamp_vae(digits), []
    vae.encoder.register_forward_hook(lambda module, given, output: calls.append(len(output)))
    score(vae, digits.test.take(torch.arange(150)), samples=50)
    assert calls.count(7) == 1


def test_a_learned_mixture_starts_near_the_standard_normal_law():
    """Its mean and variance, over components and dimensions, within 5 standard errors."""
    law = MixturePrior(50, components=200)(None)
    assert law.mean.abs().max() < 5 * (0.5 / 200) ** 0.5
    assert law.variance.mean().item() == pytest.approx(1, abs=5 * 0.5 * (2 / 10_000) ** 0.5 + 0.005)


def test_a_learned_mixture_finds_planted_clusters():
    """Fitted by gradient to draws from two islands: log-density within 0.02 nats of theirs."""
    target = MixturePrior(1, components=2)
    with torch.no_grad():
        target.loc.copy_(torch.tensor([[-3.0], [2.0]]))
        target.log_var.copy_(2 * torch.tensor([[0.5], [1.0]]).log())
        target.logits.copy_(torch.tensor([0.7, 0.3]).log())
        z = target(None).sample((5000,))
    prior = MixturePrior(1, components=2)
    optimizer = torch.optim.Adam(prior.parameters(), lr=0.05)
    for _ in range(400):
        optimizer.zero_grad()
        loss = -prior(None).log_prob(z).mean()
        loss.backward()
        optimizer.step()
    assert -loss.item() == pytest.approx(target(None).log_prob(z).mean().item(), abs=0.02)


COMBINATIONS = [
    (posterior, prior)
    for posterior in ("diagonal", "full", "iaf")
    for prior in ("normal", "mixture", "vamp", "flow")
]


@pytest.mark.parametrize(("posterior", "prior"), COMBINATIONS, ids=map("-".join, COMBINATIONS))
def test_every_combination_trains_and_is_evaluated(digits, posterior, prior):
    """The loss falls, the bounds keep their order, and what does not split says so."""
    torch.set_default_dtype(torch.float32)
    model = ModelConfig(
        likelihood="bernoulli",
        latent_dim=3,
        hidden=(16,),
        posterior=posterior,
        prior=prior,
        components=4,
        transforms=2,
    )
    vae = build_vae(model, digits.schema, moments=digits.train.moments())
    config = TrainConfig(steps=20, batch_size=128, learning_rate=5e-3)
    rows = digits.test.take(torch.arange(40))
    before = score(vae, rows, samples=20).elbo.mean()
    history = fit(build_objective(vae, config), digits.train, rows, config)
    assert all(
        math.isfinite(value) for value in history.rows[-1].values() if isinstance(value, float)
    )
    numbers = evaluate(vae, rows, samples=20)
    assert numbers["elbo"]["mean"] > before
    assert -numbers["nll"]["mean"] > numbers["elbo"]["mean"]
    assert numbers["elbo"]["mean"] == pytest.approx(
        numbers["log_likelihood"]["mean"] - numbers["kl"]["mean"], abs=1e-3
    )
    splits = (posterior, prior) == ("diagonal", "normal")
    assert (numbers["kl_per_dimension"] is not None) == splits
    assert any("does not split" in note for note in numbers["notes"]) != splits
    assert len(numbers["active_units"]["variances"]) == 3
