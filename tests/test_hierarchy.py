"""Several latents, one given those above: exact where all is linear, and through every part that uses latents."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from variform import (
    VAE,
    DataConfig,
    EvaluationConfig,
    ModelConfig,
    RunConfig,
    TrainConfig,
    build_objective,
    build_vae,
    read,
)
from variform.config.model import require_effect
from variform.data.reading import dataset_from
from variform.distributions import DiagonalGaussian, StandardNormal
from variform.distributions.hierarchy import Hierarchy, Level, kl_by_level, product
from variform.evaluation.annealing import Walk, anneal
from variform.evaluation.exploration import redrawn
from variform.evaluation.log_likelihood import score
from variform.evaluation.refinement import refine
from variform.export.handover import hand_over
from variform.export.model_file import load_vae
from variform.model.hierarchy import (
    HierarchicalPosterior,
    HierarchicalPrior,
    LadderPosterior,
    level_networks,
)
from variform.model.importance import log_weights
from variform.model.likelihoods import GaussianLikelihood
from variform.model.networks import MLP
from variform.model.posteriors import DiagonalPosterior
from variform.model.priors import StandardNormalPrior, VampPrior
from variform.model.vae import evaluating
from variform.objectives import ELBO, IWAE
from variform.pages.explorer.contents import held_draws
from variform.runs.train import train_run

SIZE, STD = 4, 0.5


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def linear(given, width):
    return MLP((given,), (2, width), hidden=())


def set_affine(network, weight, bias):
    with torch.no_grad():
        network.output.weight.copy_(torch.as_tensor(weight))
        network.output.bias.copy_(torch.as_tensor(bias))


def given(mean, covariance, known, wanted):
    """Weight, offset and covariance of part `wanted` of a Gaussian given its part `known`."""
    weight = covariance[np.ix_(wanted, known)] @ np.linalg.inv(covariance[np.ix_(known, known)])
    rest = covariance[np.ix_(wanted, wanted)] - weight @ covariance[np.ix_(known, wanted)]
    return weight, mean[wanted] - weight @ mean[known], rest


def exact_model(levels, *, spoil=0.0):
    """Latents of one number each, x of four; every conditional of the joint Gaussian by its textbook formula."""
    random = np.random.default_rng(3)
    count = levels + SIZE  # the order of the joint: z_1, ..., z_L, x
    mean, covariance = np.zeros(count), np.eye(count)
    prior = HierarchicalPrior(
        (1,) * levels, level_networks((1,) * levels, linear), StandardNormalPrior(1), std="exp"
    )
    for level in reversed(range(levels - 1)):
        above = list(range(level + 1, levels))
        weight, bias, variance = random.normal(size=len(above)), random.normal(), 0.3 + level
        set_affine(prior.networks[level], [[*weight], [0] * len(above)], [bias, math.log(variance)])
        mean[level] = weight @ mean[above] + bias
        covariance[level, above] = covariance[above, level] = (
            weight @ covariance[np.ix_(above, above)]
        )
        covariance[level, level] = variance + weight @ covariance[np.ix_(above, above)] @ weight
    latents, rows = list(range(levels)), list(range(levels, count))
    weight, bias = random.normal(size=(SIZE, levels)), random.normal(size=SIZE)
    inner = covariance[np.ix_(latents, latents)]
    mean[rows] = weight @ mean[latents] + bias
    covariance[np.ix_(rows, latents)] = weight @ inner
    covariance[np.ix_(latents, rows)] = (weight @ inner).T
    covariance[np.ix_(rows, rows)] = weight @ inner @ weight.T + STD**2 * np.eye(SIZE)

    posterior = HierarchicalPosterior(
        (1,) * levels,
        level_networks((1,) * levels, linear, SIZE),
        evidence=(SIZE,) * (levels - 1),
        std="exp",
    )
    encoder = MLP((SIZE,), posterior.params_shape, hidden=())
    top, offset, rest = given(mean, covariance, rows, [levels - 1])
    copies = np.tile(np.eye(SIZE), (levels - 1, 1))
    set_affine(
        encoder,
        np.vstack([top, np.zeros((1, SIZE)), copies]),
        np.hstack([offset + spoil, np.log(rest[0]), np.zeros(SIZE * (levels - 1))]),
    )
    for level in range(levels - 1):
        known = [*rows, *range(level + 1, levels)]
        own, offset, rest = given(mean, covariance, known, [level])
        set_affine(
            posterior.networks[level],
            np.vstack([own, np.zeros((1, len(known)))]),
            np.hstack([offset, np.log(rest[0])]),
        )
    likelihood = GaussianLikelihood((SIZE,), variance="shared", min_std=1e-9)
    decoder = MLP((levels,), (SIZE,), hidden=())
    set_affine(decoder, weight, bias)
    with torch.no_grad():
        likelihood.raw_log_var.fill_(2 * math.log(STD))
    vae = VAE(encoder, decoder, posterior=posterior, prior=prior, likelihood=likelihood)
    law = stats.multivariate_normal(mean[rows], covariance[np.ix_(rows, rows)])
    x = law.rvs(30, random_state=1)
    return vae, torch.from_numpy(x), torch.from_numpy(law.logpdf(x))


@pytest.mark.parametrize("levels", [2, 3])
def test_linear_levels_with_exact_posteriors_have_log_px_at_every_draw(levels):
    vae, x, log_px = exact_model(levels)
    with torch.no_grad():
        weights = log_weights(vae, x, 20).log_weight
    torch.testing.assert_close(weights, log_px.expand(20, 30), rtol=0, atol=1e-10)


def test_the_elbo_of_levels_is_below_log_px_by_what_the_encoder_is_off():
    """A top mean off by s costs KL(N(m + s, v) || N(m, v)) = s^2 / 2v, for the levels below stay exact."""
    vae, x, log_px = exact_model(2, spoil=0.3)
    variance = vae.encode(x).top.variance.squeeze(-1)
    scores = score(vae, dataset_from(x), samples=1000)
    gap = log_px - scores.elbo
    torch.testing.assert_close(gap.mean(), (0.3**2 / 2 / variance).mean(), rtol=0, atol=0.03)


def test_draws_of_levels_have_the_moments_of_their_joint_gaussian():
    vae, *_ = exact_model(3)
    p = vae.latent_prior()
    z = p.sample((200_000,)).numpy()
    weight = [net.output.weight[0].detach().numpy() for net in vae.prior.networks]
    bias = [net.output.bias[0].item() for net in vae.prior.networks]
    second = bias[1]  # the mean of z_3 is 0
    first = weight[0] @ [second, 0] + bias[0]
    np.testing.assert_allclose(z.mean(0), [first, second, 0], atol=0.02)
    np.testing.assert_allclose(p.mean.detach().numpy(), [first, second, 0], atol=1e-12)
    np.testing.assert_allclose(z.var(0), p.variance.detach().numpy(), rtol=0.6)


def test_a_level_whose_posterior_is_its_prior_adds_nothing_and_levels_add_up():
    network = linear(2, 3)
    family = DiagonalPosterior(3)
    top = DiagonalGaussian(torch.randn(5, 2), torch.randn(5, 2))
    q = Hierarchy(top, [Level(network, family)], (3, 2))
    p = Hierarchy(StandardNormal(2, like=torch.zeros(())), [Level(network, family)], (3, 2))
    z, log_q = q.rsample_and_log_prob((7,))
    parts = kl_by_level(q, p, z)
    assert parts.shape == (2, 7, 5)
    assert not parts[0].any()
    assert (parts[1] > 0).all()
    apart = q.log_prob_by_level(z) - p.log_prob_by_level(z)
    torch.testing.assert_close(apart.sum(0), log_q - p.log_prob(z), rtol=0, atol=1e-12)


def test_the_closed_form_of_each_level_has_the_expectation_of_the_log_ratio():
    vae, x, _ = exact_model(3)
    q, p = vae.encode(x), vae.latent_prior()
    z, log_q = q.rsample_and_log_prob((5_000,))
    apart = log_q - p.log_prob(z)
    closed = kl_by_level(q, p, z).sum(0)
    error = (apart.var(0) / 5_000).sqrt() + (closed.var(0) / 5_000).sqrt()
    assert ((apart.mean(0) - closed.mean(0)).abs() < 5 * error).all()
    assert closed.var(0).mean() < apart.var(0).mean() / 2


def test_a_ladders_level_is_the_product_of_two_densities():
    """sigma^-2 and the mean by integration of the product on a grid."""
    one = DiagonalGaussian(torch.tensor([0.7]), torch.tensor([-1.0]))
    other = DiagonalGaussian(torch.tensor([-0.4]), torch.tensor([0.3]))
    grid = torch.linspace(-12, 12, 200_001, dtype=torch.float64)[:, None]
    density = (one.log_prob(grid) + other.log_prob(grid)).exp()
    density /= density.sum()
    mean = (grid[:, 0] * density).sum()
    law = product(one, other)
    torch.testing.assert_close(law.mean[0], mean, rtol=0, atol=1e-6)
    torch.testing.assert_close(
        law.variance[0], ((grid[:, 0] - mean).square() * density).sum(), rtol=0, atol=1e-6
    )


def test_a_ladder_says_nothing_where_its_rows_do():
    """Evidence of infinite spread leaves the prior of each level below the top."""
    prior = HierarchicalPrior((3, 2), [linear(2, 3)], StandardNormalPrior(2))
    family = LadderPosterior((3, 2), std="exp")
    params = torch.zeros(5, *family.params_shape)
    params[:, 5:8] = 80.0  # log-variances of z_1
    q, p = family(params, prior), prior(None)
    z = q.rsample((6,))
    assert kl_by_level(q, p, z)[0].abs().max() < 1e-12
    assert kl_by_level(q, p, z)[1].abs().max() < 1e-12  # N(0, 1) is the prior of the top


def tiny(**options):
    options = {"latents": (3, 2), "hidden": (8,), "likelihood": "bernoulli"} | options
    return build_vae(ModelConfig(**options), read("digits").schema).double()


MODELS = {
    "joined": {},
    "ladder": {"posterior": "ladder"},
    "mixture": {"prior": "mixture", "components": 3},
    "vamp": {"prior": "vamp", "components": 3},
    "ladder under a flow": {"posterior": "ladder", "prior": "flow"},
    "images": {"network": "very-deep", "latents": (1, 2), "filters": (4, 6)},
    "images, three": {"network": "very-deep", "latents": (1, 2, 3), "filters": (4, 6, 4)},
}


@pytest.mark.parametrize("options", MODELS.values(), ids=MODELS)
def test_every_parameter_of_every_hierarchy_learns_by_every_bound(options):
    vae = tiny(**options)
    x = torch.rand(6, 1, 8, 8, dtype=torch.float64)
    for objective in (
        ELBO(vae),
        ELBO(vae, free_bits=0.01),
        IWAE(vae, samples=3),
        IWAE(vae, samples=3, gradient="dreg"),
        IWAE(vae, samples=3, gradient="stl"),
    ):
        vae.zero_grad()
        objective(x).loss.mean().backward()
        for name, parameter in vae.named_parameters():
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name
            assert parameter.grad.any(), name


@pytest.mark.parametrize("options", MODELS.values(), ids=MODELS)
def test_the_two_ways_to_a_density_agree_and_rows_are_rows(options):
    vae = tiny(**options)
    with torch.no_grad():
        q, p = vae.encode(torch.rand(6, 1, 8, 8, dtype=torch.float64)), vae.latent_prior()
        for stick in (False, True):
            z, log_q = q.rsample_and_log_prob((7,), stick=stick)
            torch.testing.assert_close(q.log_prob(z), log_q)
        assert p.log_prob(z).shape == (7, 6)
        index = torch.tensor([4, 1])
        torch.testing.assert_close(q.rows(index).log_prob(z[:, index]), log_q[:, index])
        torch.testing.assert_close(q.detached().log_prob(z), log_q)
        assert vae.sample(4).shape == (4, 1, 8, 8)
        for held in range(1, len(q.widths) + 1):
            upper = z[..., sum(q.widths[:-held]) :] if held < len(q.widths) else z
            torch.testing.assert_close(q.below(upper)[..., -upper.shape[-1] :], upper)


def test_doubly_reparameterised_gradients_of_levels_have_the_expectation_of_plain_ones():
    """The encoder's gradient of the IWAE bound in two ways, 4,000 times: equal means, for both levels."""
    torch.manual_seed(5)
    vae, x, _ = exact_model(2, spoil=0.4)
    x = x[:1].expand(4000, -1)
    slopes = {}
    for gradient in ("plain", "dreg"):
        objective = IWAE(vae, samples=2, gradient=gradient)
        networks = [vae.encoder.output, vae.posterior.networks[0].output]
        parts = []
        for _ in range(20):
            vae.zero_grad()
            objective(x).loss.mean().backward()
            parts.append(torch.cat([network.bias.grad.clone() for network in networks]))
        slopes[gradient] = torch.stack(parts)
    means = {name: part.mean(0) for name, part in slopes.items()}
    error = sum(part.var(0) / 20 for part in slopes.values()).sqrt()
    assert ((means["plain"] - means["dreg"]).abs() < 5 * error + 1e-12).all()
    assert means["dreg"].abs().max() > 0.1


def test_latent_images_see_what_is_above_them_through_the_trunk_alone():
    """A level's law by hand: the trunk from the top, joined latent by latent, then the level's own network."""
    vae = tiny(network="very-deep", latents=(1, 2, 3), filters=(4, 6, 4))
    prior = vae.prior
    with torch.no_grad():
        p = vae.latent_prior()
        z = p.sample((5,))
        first, second, third = z.split(p.widths, -1)
        assert [part.shape[1] for part in (first, second, third)] == [16, 2 * 4, 3 * 1]
        seen = prior.downwards[1](third)
        seen = prior.downwards[0](torch.cat([second, seen], -1))
        mean, raw = prior.networks[0](seen).unbind(1)
        law = torch.distributions.Normal(mean, torch.nn.functional.softplus(raw))
        torch.testing.assert_close(law.log_prob(first).sum(-1), p.log_prob_by_level(z)[0])
        given = torch.cat(
            [first, vae.decoder.trunk[0](torch.cat([second, vae.decoder.trunk[1](third)], -1))], -1
        )
        h = vae.decoder.last(given.unflatten(-1, vae.decoder.shape))
        logits = vae.decoder.output(h) + vae.decoder.bias
        torch.testing.assert_close(vae.decode(z).mean, logits.sigmoid())


def test_a_vamp_prior_on_top_is_the_mixture_of_the_top_posteriors():
    vae = tiny(prior="vamp", components=3)
    assert isinstance(vae.prior.top, VampPrior)
    with torch.no_grad():
        tops = vae.encode(vae.prior.top.pseudo_inputs).top
        z = torch.randn(9, 2, dtype=torch.float64)
        expected = torch.logsumexp(tops.log_prob(z[:, None]), 1) - math.log(3)
        torch.testing.assert_close(vae.latent_prior().top.log_prob(z), expected)


def test_a_trained_hierarchy_uses_both_levels_and_is_loaded_as_it_was_saved(tmp_path):
    data = read("digits")
    config = ModelConfig(
        latents=(6, 3), hidden=(64,), likelihood="bernoulli", prior="mixture", components=10
    )
    run = train_run(
        RunConfig(source="digits", model=config, train=TrainConfig(steps=600, warmup=200)),
        tmp_path / "run",
    )
    x = run.vae.like(data.test.prepared()[:200])
    with evaluating(run.vae):
        q, p = run.vae.encode(x), run.vae.latent_prior()
        by_level = kl_by_level(q, p, q.sample((3,))).mean((1, 2))
        again = load_vae(tmp_path / "run" / "model.safetensors")
        torch.testing.assert_close(again.encode(x).mean, q.mean, rtol=0, atol=0)
    assert (by_level > 0.2).all(), by_level
    numbers = run.evaluation
    assert numbers["elbo"]["mean"] > -26
    levels = [level["mean"] for level in numbers["kl_by_level"]]
    assert sum(levels) == pytest.approx(numbers["kl"]["mean"], abs=1e-9)
    np.testing.assert_allclose(levels, by_level.numpy(), rtol=0.05)
    report = (tmp_path / "run" / "report.html").read_text()
    assert "KL of level 2 (nats)" in report and "Each row holds the latents of the levels" in report


def test_held_levels_stay_and_those_below_are_drawn_anew():
    """Decoded by a network that hands on z_2 alone, the draws of a row are the same; by one of z_1, they are not."""
    vae = tiny()
    values, held = redrawn(vae, rows=3, draws=4)
    assert values.shape == (3, 4, 1, 8, 8) and held == [1, 1, 1]
    assert np.ptp(values, axis=1).max() > 1e-3
    with torch.no_grad():
        vae.decoder.layers[1].weight[:, :3] = 0  # of z_1
    values, _ = redrawn(vae, rows=3, draws=4)
    np.testing.assert_allclose(np.ptp(values, axis=1), 0, atol=1e-12)
    assert np.ptp(values, axis=0).max() > 1e-3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"posterior": "ladder"}, "must have several latents"),
        ({"latents": (4,)}, "two latents or more"),
        ({"latents": (4, 2), "latent_dim": 5}, "whose sum it is"),
        ({"latents": (4, 2), "posterior": "full"}, "diagonal or ladder with several latents"),
        ({"network": "very-deep"}, "must have several latents"),
        (
            {"network": "very-deep", "latents": (1, 2), "posterior": "ladder"},
            "diagonal with `network='very-deep'`",
        ),
    ],
)
def test_what_several_latents_cannot_be_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        require_effect(ModelConfig(**options))
    with pytest.raises(ValueError, match=message):
        build_vae(ModelConfig(**options), read("digits").schema)


def test_refining_a_level_that_is_off_brings_it_back():
    """A top mean 1.4 deviations off is found again by every row's own steps: the bound is log p(x) there."""
    vae, x, log_px = exact_model(2, spoil=0.2)
    with torch.no_grad():
        q, p = vae.encode(x), vae.latent_prior()
        own = refine(vae, x, q, p, steps=100)
        gap, before = (
            (log_px - log_weights(vae, x, 400, q=law).log_weight.mean(0)).mean() for law in (own, q)
        )
    assert gap.abs() < 0.01
    assert before == pytest.approx(0.2**2 / 2 / q.top.variance.mean().item(), abs=0.1)


@pytest.mark.parametrize("options", [{}, {"posterior": "ladder"}, {"prior": "mixture"}])
def test_annealing_of_two_latents_is_the_integral(options):
    """log p(x) of models of one number on each level, by SciPy over a plane and by annealed importance sampling."""
    vae = build_vae(
        ModelConfig(latents=(1, 1), hidden=(6,), likelihood="bernoulli", **options),
        read("digits").schema,
    ).double()
    with torch.no_grad():
        for parameter in vae.parameters():
            parameter.mul_(2)
        data = read("digits").test.take(torch.arange(3))
        grid = torch.linspace(-9, 9, 601, dtype=torch.float64)
        z = torch.cartesian_prod(grid, grid)
        found = []
        for x in data.prepared().double():
            joint = vae.decode(z).log_prob(x) + vae.latent_prior().log_prob(z)
            found.append(torch.logsumexp(joint, 0) + 2 * (grid[1] - grid[0]).log())
    certified = anneal(vae, data, walk=Walk(chains=64, temperatures=40))
    torch.testing.assert_close(certified.log_px.double(), torch.stack(found), rtol=0, atol=0.05)


@pytest.mark.parametrize(
    ("data", "latents", "message"),
    [
        ({}, (1, 2, 3), "as many numbers as `filters`"),
        ({"shape": (64,)}, (1, 2), "whole images without conditions; got a table"),
        ({"condition": ("label",)}, (1, 2), "got images under a condition"),
    ],
)
def test_latent_images_need_images(data, latents, message):
    schema = read("digits", DataConfig(**data)).schema
    with pytest.raises(ValueError, match=message):
        build_vae(ModelConfig(network="very-deep", latents=latents), schema)


def test_latent_images_are_trained_scored_and_loaded(tmp_path):
    config = ModelConfig(
        network="very-deep", latents=(1, 4), filters=(8, 16), likelihood="bernoulli"
    )
    train = TrainConfig(steps=150, warmup=50, compile="off")
    evaluation = EvaluationConfig(nll_samples=50)
    run = train_run(
        RunConfig(source="digits", model=config, train=train, evaluation=evaluation),
        tmp_path / "run",
    )
    numbers = run.evaluation
    assert numbers["elbo"]["mean"] > -28.5  # independent pixels: about -33
    assert numbers["nll"]["mean"] < -numbers["elbo"]["mean"]
    again = load_vae(tmp_path / "run" / "model.safetensors")
    x = again.like(read("digits").test.prepared()[:5])
    torch.testing.assert_close(again.reconstruct(x), run.vae.reconstruct(x), rtol=0, atol=0)


def test_a_level_that_costs_nothing_is_left_out_of_the_loss():
    """Loss = -log-likelihood + beta (w_1 KL_1 + w_2 KL_2), with the terms of each level from the same draws."""
    vae, x, _ = exact_model(2, spoil=0.3)
    for weights in ((1.0, 0.0), (0.5, 2.0)):
        objective = ELBO(vae, beta=3.0, level_weights=weights)
        torch.manual_seed(1)
        terms = objective(x)
        torch.manual_seed(1)
        q, p = vae.encode(x), vae.latent_prior()
        first, second = kl_by_level(q, p, q.rsample((1,)))[:, 0]
        torch.testing.assert_close(terms.kl, first + second)
        cost = 3 * (weights[0] * first + weights[1] * second)
        torch.testing.assert_close(terms.loss, cost - terms.log_likelihood)
    for options in ({"level_weights": (1.0,)}, {"level_weights": (1.0, 1.0), "free_bits": 0.1}):
        with pytest.raises(ValueError, match="one number for each of several latents"):
            ELBO(vae, **options)
    assert build_objective(vae, TrainConfig(level_weights=(1.0, 0.5))).level_weights == (1.0, 0.5)


@pytest.mark.parametrize("form", ["onnx", "numpy"])
def test_the_encoder_of_levels_does_not_leave_torch_and_says_so(form, tmp_path):
    with pytest.raises(ValueError, match="no step for HierarchicalPosterior"):
        hand_over(tiny(), form, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_page_draws_under_held_levels():
    vae = tiny(latents=(3, 2, 1))
    laws = held_draws(vae)
    assert [law.name for law in laws] == [
        "level 3 held, draw 1",
        "level 3 held, draw 2",
        "levels 3 to 2 held, draw 1",
        "levels 3 to 2 held, draw 2",
    ]
    spreads = [np.ptp(law.codes, axis=0) > 0 for law in laws]
    assert spreads[0].tolist() == [True] * 5 + [False]
    assert spreads[2].tolist() == [True] * 3 + [False] * 3
    assert held_draws(build_vae(ModelConfig(latent_dim=2), read("digits").schema)) == []
