"""Codes: against sums over all of them, SciPy, scikit-learn's k-means, and finite differences."""

import math

import numpy as np
import pytest
import torch
from models import model_of
from scipy import stats
from sklearn.cluster import KMeans
from test_lowering import run
from torch import nn

from variform import (
    ELBO,
    VAE,
    ModelConfig,
    TrainConfig,
    build_objective,
    build_vae,
    fit,
    read,
    save,
)
from variform.config.model import require_effect
from variform.data.reading import dataset_from
from variform.distributions import Bernoulli, kl
from variform.distributions.codes import AutoregressiveCodes, CodePoint, Codes, placed
from variform.evaluation import exploration, samplers
from variform.evaluation.annealing import anneal
from variform.evaluation.exploration import interpolation
from variform.evaluation.illnesses.signs import signs
from variform.evaluation.log_likelihood import score
from variform.evaluation.refinement import refine
from variform.export.lowering import lower_decoder, lower_encoder
from variform.export.model_file import load_vae
from variform.model.codes import (
    AutoregressivePrior,
    CategoricalPosterior,
    CodesPrior,
    FSQPosterior,
    LFQPosterior,
    VQPosterior,
    code_use,
)
from variform.model.likelihoods import BernoulliLikelihood, GaussianLikelihood
from variform.model.spaces import CodeSpace, space_of
from variform.pages.architecture import plot_architecture

KINDS = {
    "categorical": {"posterior": "categorical", "codes": 2, "values": 5},
    "joint": {"posterior": "joint", "codes": 2, "values": 4},
    "vq": {"posterior": "vq", "codes": 2, "values": 6, "embedding_dim": 3},
    "residual vq": {"posterior": "vq", "codes": 2, "values": 4, "embedding_dim": 3, "stages": 2},
    "fsq": {"posterior": "fsq", "codes": 2, "levels": (3, 4)},
    "lfq": {"posterior": "lfq", "codes": 2, "values": 8},
}


@pytest.fixture(scope="module")
def digits():
    return read("digits")


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


class Table(nn.Module):
    """A decoder of one code: a row of logits for each value."""

    def __init__(self, logits):
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, z):
        return z @ self.logits


def mixture_vae(values, columns):
    """A mixture of `values` Bernoulli vectors as a VAE with one code."""
    prior = CodesPrior(1, values)
    with torch.no_grad():
        prior.logits.normal_()
    encoder = nn.Sequential(nn.Linear(columns, values), nn.Unflatten(1, (1, values)))
    return VAE(
        encoder,
        Table(torch.randn(values, columns)),
        posterior=CategoricalPosterior(1, values),
        prior=prior,
        likelihood=BernoulliLikelihood((columns,)),
    ).eval()


def test_a_mixture_of_bernoulli_vectors_is_a_vae_with_one_code():
    """log p(x) as scipy sums it over the K components, and the ELBO by its definition."""
    vae, x = mixture_vae(7, 6), torch.randint(0, 2, (20, 6)).double()
    scores = score(vae, dataset_from(x), samples=3)
    weights = vae.prior.logits.softmax(-1).detach().numpy()[0]
    probabilities = vae.decoder.logits.sigmoid().detach().numpy()
    each = stats.bernoulli.pmf(x.numpy()[:, None], probabilities).prod(-1)  # (20, 7)
    np.testing.assert_allclose(scores.log_px, np.log(each @ weights))
    q = vae.encode(x).mean.detach().numpy()
    elbo = (q * (np.log(each) + np.log(weights) - np.log(q))).sum(1)
    np.testing.assert_allclose(scores.elbo, elbo)
    assert scores.is_exact


@pytest.mark.parametrize("name", KINDS)
def test_probabilities_of_all_codes_sum_to_one_and_draws_fit_them(name, digits):
    vae = model_of("bernoulli", digits, **KINDS[name])
    p = vae.latent_prior()
    p = p.second if name == "joint" else p
    every = p.every()
    assert len(every) == p.count == len(every.unique(dim=0))
    share = p.log_prob(every).exp()
    assert share.sum().item() == pytest.approx(1)
    drawn = p.index(p.sample((40_000,)))
    number = (drawn * p.values ** torch.arange(p.codes - 1, -1, -1)).sum(-1)
    found = number.bincount(minlength=p.count)
    assert stats.chisquare(found.numpy(), (share * 40_000).detach().numpy()).pvalue > 1e-4
    torch.testing.assert_close(p.at(p.index(every)), every)


def test_importance_samples_agree_with_the_sum_over_all_codes(digits, monkeypatch):
    vae = model_of("bernoulli", digits, **KINDS["categorical"])
    rows = digits.test.take(torch.arange(20))
    exact = score(vae, rows, samples=10)
    monkeypatch.setattr("variform.distributions.codes.MOST_ENUMERATED", 1)
    sampled = score(vae, rows, samples=20_000)
    assert exact.is_exact and not sampled.is_exact
    torch.testing.assert_close(sampled.log_px, exact.log_px, atol=0.05, rtol=0)
    torch.testing.assert_close(sampled.elbo, exact.elbo, atol=0.1, rtol=0)


@pytest.mark.parametrize("name", ["vq", "residual vq", "fsq", "lfq"])
def test_the_elbo_of_a_quantising_encoder_is_the_joint_probability_of_its_code(name, digits):
    vae = model_of("bernoulli", digits, **KINDS[name])
    x = digits.test.prepared()[:5].double()
    terms = ELBO(vae)(x)
    z = vae.encode(x).mean
    wanted = vae.decode(z).log_prob(x) + vae.latent_prior().log_prob(z)
    torch.testing.assert_close(terms.elbo, wanted)
    scores = score(vae, digits.test.take(torch.arange(5)), samples=4)
    torch.testing.assert_close(scores.elbo, wanted)
    assert (scores.log_px >= scores.elbo - 1e-9).all()


def test_kl_of_codes_is_that_of_scipy():
    q, p = Codes(torch.randn(3, 2, 5)), Codes(torch.randn(2, 5))
    wanted = stats.entropy(q.log_shares.exp().numpy(), p.log_shares.exp().numpy(), axis=-1).sum(-1)
    np.testing.assert_allclose(kl(q, p), wanted)


def test_codes_before_a_code_decide_it_and_no_others():
    prior = AutoregressivePrior(4, 3)
    one_hot = torch.randn(1, 4, 3, requires_grad=True)
    for code in range(4):
        (slope,) = torch.autograd.grad(prior._logits(one_hot)[0, code].square().sum(), one_hot)
        assert slope[0, :code].abs().sum(-1).gt(0).all() and not slope[0, code:].any()


def gradients(vae, x, samples, **options):
    """The gradient of the mean ELBO in the encoder's weights."""
    vae.train()
    posterior = CategoricalPosterior(1, vae.posterior.values, **options)
    other = VAE(
        vae.encoder,
        vae.decoder,
        posterior=posterior,
        prior=vae.prior,
        likelihood=vae.likelihood,
    )
    loss = ELBO(other, samples=samples)(x).loss.mean()
    return torch.autograd.grad(loss, vae.encoder[0].weight)[0]


def exact_gradient(vae, x):
    q, p = Codes(vae.encoder(x)), vae.latent_prior()
    every = p.every()
    log_p = vae.decode(every[:, None]).log_prob(x) + p.log_prob(every)[:, None]
    log_q = q.log_prob(every[:, None])
    return torch.autograd.grad(
        -(log_q.exp() * (log_p - log_q)).sum(0).mean(), vae.encoder[0].weight
    )[0]


def test_the_exact_elbo_of_a_training_is_that_of_the_score_and_its_gradient_that_of_the_sum():
    vae, x = mixture_vae(4, 5), torch.randint(0, 2, (3, 5)).double()
    torch.testing.assert_close(gradients(vae, x, 1, relaxation="exact"), exact_gradient(vae, x))
    elbo = score(vae, dataset_from(x), samples=1).elbo
    vae.posterior.relaxation = "exact"
    torch.testing.assert_close(ELBO(vae.train())(x).elbo.detach(), elbo)


def test_log_probabilities_of_all_pairs_by_one_product_are_those_of_single_ones():
    logits, x = torch.randn(4, 1, 2, 3), torch.randint(0, 2, (5, 2, 3)).double()
    found = Bernoulli(logits, event_dims=2).log_prob(x)
    wanted = stats.bernoulli.logpmf(x.numpy(), logits.sigmoid().numpy()).sum((-2, -1))
    np.testing.assert_allclose(found, wanted)


def test_the_score_functions_gradient_is_the_exact_one_on_average():
    vae, x = mixture_vae(4, 5), torch.randint(0, 2, (3, 5)).double()
    exact = exact_gradient(vae, x)
    found = torch.stack([gradients(vae, x, 500, relaxation="score") for _ in range(60)])
    error = found.std(0) / math.sqrt(60)
    assert ((found.mean(0) - exact).abs() < 4.5 * error + 1e-9).all()


def test_relaxed_gradients_tend_to_the_exact_one_as_the_temperature_falls():
    vae, x = mixture_vae(4, 5), torch.randint(0, 2, (3, 5)).double()
    exact, off = exact_gradient(vae, x), []
    for temperature in (1.0, 0.3, 0.1):
        options = {"temperature": temperature, "temperature_least": temperature}
        found = torch.stack([gradients(vae, x, 20_000, **options) for _ in range(5)]).mean(0)
        off.append(((found - exact).norm() / exact.norm()).item())
    assert off[0] > off[1] > off[2] and off[2] < 0.05


def test_straight_through_draws_are_exact_and_carry_gradients():
    q = Codes(
        torch.randn(3, 2, 5, requires_grad=True),
        temperature=torch.tensor(0.5),
        straight_through=True,
    )
    z = q.rsample((7,))
    assert set(z.detach().unique().tolist()) == {0.0, 1.0}
    assert torch.autograd.grad(z.square().sum(), q.log_shares)[0].any()


def test_draws_are_relaxed_in_training_alone():
    posterior = CategoricalPosterior(2, 5)
    params = torch.randn(3, 2, 5, requires_grad=True)
    relaxed = posterior(params).rsample((4,))
    assert relaxed.requires_grad and ((relaxed > 0.001) & (relaxed < 0.999)).any()
    for law in (posterior.eval()(params), posterior.train()(params.detach())):
        assert law.event_shape == (10,)
    with torch.no_grad():
        assert set(posterior(params).rsample((4,)).unique().tolist()) == {0.0, 1.0}
    assert set(posterior.eval()(params).rsample((4,)).unique().tolist()) == {0.0, 1.0}


def test_the_temperature_follows_the_steps(digits):
    options = {"temperature": 2.0, "temperature_least": 0.5, "temperature_rate": 0.1}
    vae = build_vae(ModelConfig(**KINDS["categorical"], **options), digits.schema)
    objective = ELBO(vae)
    found = []
    for step in (0, 5, 1000):
        objective.at_step(step)
        found.append(vae.posterior.temperature.item())
    assert found == pytest.approx([2.0, 2.0 * math.exp(-0.5), 0.5])


def identity_vq(width, values, **options):
    posterior = VQPosterior(1, values, embedding_dim=width, **options)
    decoder = nn.Sequential(nn.Linear(posterior.latent_dim, width))
    return VAE(
        nn.Unflatten(1, (1, width)),
        decoder,
        posterior=posterior,
        prior=CodesPrior(posterior.codes, values),
        likelihood=GaussianLikelihood((width,), variance="identity"),
    )


def quantised(vae, points):
    """The mean squared distance of points from what stands for them."""
    with torch.no_grad():
        z = vae.eval().encode(points).mean.unflatten(-1, (-1, points.shape[1])).sum(-2)
    return (z - points).square().sum(-1).mean().item()


def follow(vae, points, epochs):
    vae.train()
    for _ in range(epochs):
        for batch in points[torch.randperm(len(points))].split(128):
            vae.encode(batch)


def test_vq_with_an_identity_encoder_is_k_means():
    points = torch.from_numpy(read("digits").train.prepared().flatten(1).numpy()).double()
    vae = identity_vq(64, 16)
    follow(vae, points, 60)
    best = KMeans(16, n_init=5, random_state=0).fit(points.numpy()).inertia_ / len(points)
    assert quantised(vae, points) < 1.01 * best


def test_the_commitment_is_the_squared_distance_from_what_stands_for_the_point():
    posterior = VQPosterior(2, 5, embedding_dim=3, commitment=0.7)
    points = torch.randn(40, 2, 3, requires_grad=True)
    law = posterior(points)
    distance = np.square((points - law.mean.unflatten(-1, (2, 3))).detach().numpy()).sum((1, 2))
    np.testing.assert_allclose(law.penalty.detach(), 0.7 * distance)


def test_each_stage_quantises_what_is_left():
    points = torch.randn(1000, 4)
    errors = []
    for stages in (1, 2, 3):
        vae = identity_vq(4, 8, stages=stages)
        follow(vae, points, 10)
        errors.append(quantised(vae, points))
    assert errors[0] > 1.5 * errors[1] > 2 * errors[2]


def test_entries_that_no_row_uses_come_back():
    vae = identity_vq(2, 8)
    follow(vae, torch.randn(512, 2), 2)
    vae.posterior.table[0, 3:] = 1e3
    vae.posterior.sums[0, 3:] = 1e3
    vae.posterior.counts[0, 3:] = 0.0
    points = torch.randn(2000, 2)
    follow(vae, points, 5)
    index = vae.eval().encode(points).at_index
    assert code_use(index, 8).dead == 0


def test_the_table_starts_at_the_centres_of_k_means():
    centres = torch.tensor([[0.0, 0.0], [50.0, 0.0], [0.0, 50.0]])
    points = centres.repeat(40, 1) + 0.1 * torch.randn(120, 2)
    vae = identity_vq(2, 3)
    vae.train().encode(points)
    found = vae.posterior.table[0]
    assert torch.cdist(centres, found).amin(1).max() < 0.2


def test_fsq_rounds_as_its_paper_does():
    """The reference of the paper, appendix A.1, written anew in NumPy."""
    levels = np.array([8, 6, 5])
    found = FSQPosterior(1, levels=(8, 6, 5))
    e = 3 * torch.randn(400, 1, 3)
    half = (levels - 1) * (1 - 1e-3) / 2
    offset = np.where(levels % 2 == 1, 0.0, 0.5)
    shift = np.arctanh(offset / half)
    rounded = np.round(np.tanh(e.numpy()[:, 0] + shift) * half - offset)
    law = found(e)
    np.testing.assert_allclose(law.mean, rounded / (levels // 2))
    assert len(found.places) == 240 == len(found.places.unique(dim=0))
    torch.testing.assert_close(placed(law.at_index, found.places), law.mean)


def test_lfq_is_the_sign_and_pays_for_unsure_bits():
    posterior = LFQPosterior(1, 4, entropy_weight=1.0, commitment=0.0)
    e = torch.randn(30, 1, 2, requires_grad=True)
    law = posterior(e)
    np.testing.assert_allclose(law.mean.detach(), np.sign(e.detach().numpy()[:, 0]))
    share = 1 / (1 + np.exp(-4 * e.detach().numpy()[:, 0]))
    each = stats.bernoulli(share).entropy().sum(1)
    whole = stats.bernoulli(share.mean(0)).entropy().sum()
    np.testing.assert_allclose(law.penalty.detach(), each - whole)


def test_use_perplexity_and_dead_codes_are_those_of_scipy():
    index = torch.randint(0, 5, (60, 3))
    use = code_use(index, 8)
    counts = np.stack([np.bincount(column, minlength=8) for column in index.T.numpy()])
    assert use.perplexity == pytest.approx(np.exp(stats.entropy(counts, axis=1)).mean())
    assert use.dead == (counts == 0).sum()
    assert use.use == pytest.approx((counts > 0).mean())


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_is_trained_saved_loaded_and_asked(name, digits, tmp_path):
    config = TrainConfig(steps=40, samples=2)
    vae = build_vae(
        ModelConfig(**KINDS[name], likelihood="bernoulli", latent_dim=None, hidden=(16,)),
        digits.schema,
        moments=digits.train.moments(),
    )
    before = score(vae, digits.test, samples=2).elbo.mean()
    history = fit(build_objective(vae, config), digits.train, digits.valid, config)
    assert score(vae, digits.test, samples=2).elbo.mean() > before
    last = history.rows[-1]
    assert 0 < last["code_use"] <= 1 and 1 <= last["code_perplexity"] <= vae.posterior.values
    save(vae, tmp_path / "model.safetensors")
    again = load_vae(tmp_path / "model.safetensors")
    x = vae.like(digits.test.prepared()[:9])
    assert torch.equal(again.encode(x).mean, vae.encode(x).mean)
    assert torch.equal(again.reconstruct(x), vae.reconstruct(x))
    between = interpolation(vae, digits.test, pairs=2, steps=5)
    assert between.shape == (2, 5, 1, 8, 8)


@pytest.mark.parametrize("name", ["categorical", "vq"])
def test_a_training_that_was_stopped_goes_on_to_the_same_bits(name, digits, tmp_path):
    found = []
    for cut in (None, 30):
        vae = build_vae(ModelConfig(**KINDS[name], hidden=(8,)), digits.schema)
        folder = tmp_path / str(cut)
        whole = TrainConfig(steps=60, checkpoint_every="1steps")
        if cut:

            def stop(moment):
                if moment.step == 30:
                    raise RuntimeError("enough")

            with pytest.raises(Exception, match="enough"):
                fit(
                    build_objective(vae, whole),
                    digits.train,
                    digits.valid,
                    whole,
                    folder=folder,
                    on_step=stop,
                )
            vae = build_vae(ModelConfig(**KINDS[name], hidden=(8,)), digits.schema)
        fit(
            build_objective(vae, whole),
            digits.train,
            digits.valid,
            whole,
            folder=folder,
            resume=bool(cut),
        )
        found.append(vae.state_dict())
    assert all(torch.equal(found[0][key], found[1][key]) for key in found[0])


def test_between_two_codes_lie_codes_and_the_way_is_the_shortest(digits):
    vae = model_of("bernoulli", digits, posterior="categorical", codes=5, values=3)
    start, end = vae.latent_prior().sample((2,))
    way = space_of(vae).between(start, end, torch.linspace(0, 1, 6)[:, None])
    assert set(way.unique().tolist()) == {0.0, 1.0}
    changes = (way[1:] != way[:-1]).any(-1).sum().item()
    differ = (start.reshape(5, 3) != end.reshape(5, 3)).any(-1).sum().item()
    assert changes == differ
    assert torch.equal(way[0], start) and torch.equal(way[-1], end)


def test_a_blend_of_codes_is_decoded_as_the_nearest_code(digits):
    vae = model_of("bernoulli", digits, **KINDS["categorical"])
    q = vae.encode(digits.test.prepared()[:4].double())
    likeliest = q.at(q.log_shares.argmax(-1))
    torch.testing.assert_close(vae.decode(q.mean).mean, vae.decode(likeliest).mean)


@pytest.mark.parametrize("name", KINDS)
def test_a_decoder_that_leaves_torch_decodes_the_nearest_code(name, digits):
    """In NumPy as the steps say, and in ONNX, at points between codes; the encoder is refused."""
    vae = model_of("bernoulli", digits, **KINDS[name])
    z = torch.randn(50, vae.latent_dim).numpy()
    program = lower_decoder(vae)
    wanted = exploration.decode(vae, z)
    np.testing.assert_allclose(run(program, z), wanted, rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="there is no step for"):
        lower_encoder(vae)


@pytest.mark.parametrize("name", ["categorical", "vq"])
def test_no_sampler_is_missed_by_a_doctor(name, digits):
    vae = model_of("bernoulli", digits, **KINDS[name])
    assert {"prior", "amortisation"}.isdisjoint(signs(vae, digits.test, digits.train))


def test_the_picture_of_a_model_says_how_many_codes_it_has(digits):
    for name in KINDS:
        vae = model_of("bernoulli", digits, **KINDS[name])
        words = f"{vae.posterior.codes} codes of {vae.posterior.values} values"
        assert words in plot_architecture(vae).svg


def test_a_temperature_sharpens_codes(digits):
    from variform.distributions.temperature import tempered

    law = Codes(torch.randn(2, 4))
    cold = tempered(law, 0.5)
    power = law.log_shares.exp().square()
    torch.testing.assert_close(cold.log_shares.exp(), power / power.sum(-1, keepdim=True))
    chained = AutoregressiveCodes(lambda one_hot: law.log_shares.expand_as(one_hot), 2, 4, law.mean)
    every = law.every()
    torch.testing.assert_close(tempered(chained, 0.5).log_prob(every), cold.log_prob(every))


def test_what_codes_cannot_do_is_refused(digits):
    vae = model_of("bernoulli", digits, **KINDS["categorical"])
    rows = digits.test.take(torch.arange(3))
    with pytest.raises(ValueError, match="annealed importance sampling needs latents in a flat"):
        anneal(vae, rows)
    with pytest.raises(ValueError, match="a sampler needs latents in a flat space; got codes"):
        samplers.fit_posteriors(vae, rows)
    x = rows.prepared().double()
    with pytest.raises(ValueError, match=r"refining q\(z\|x\) needs latents in a flat space"):
        refine(vae, x, vae.encode(x), vae.latent_prior(), steps=2)
    for objective in ("iwae", "beta-tc", "dip-i", "info", "wae", "factor", "autoencoder"):
        with pytest.raises(ValueError, match="whose latents are codes"):
            build_objective(vae, TrainConfig(objective=objective), rows=10)
    with pytest.raises(ValueError, match="`samples` of 2 or more"):
        ELBO(model_of("bernoulli", digits, relaxation="score", **KINDS["categorical"]))
    for changes, what in (
        ({"prior": "mixture", "posterior": "vq"}, "codes need a prior over codes"),
        ({"prior": "uniform"}, "is one over codes"),
        ({"posterior": "lfq", "values": 6}, "power of 2"),
        ({"posterior": "fsq", "levels": (1, 5)}, "2 or more"),
        ({"posterior": "joint", "relaxation": "score"}, "codes alone"),
        ({"posterior": "categorical", "relaxation": "exact"}, "up to 4,096 values together"),
        ({"posterior": "vq", "codes": 1, "prior": "autoregressive"}, "codes before others"),
    ):
        with pytest.raises(ValueError, match=what):
            build_vae(ModelConfig(**changes), digits.schema)
    for changes in ({"codes": 3}, {"posterior": "fsq", "values": 8}):
        with pytest.raises(ValueError, match="must be left out"):
            require_effect(ModelConfig(**changes))
    with pytest.raises(ValueError, match="where all latents are codes"):
        require_effect(ModelConfig(posterior="categorical", latent_dim=3))


def test_a_point_has_no_probability_elsewhere():
    places = torch.tensor([[-1.0], [1.0]])
    q = CodePoint(torch.tensor([[0, 1]]), torch.tensor([[-1.0, 1.0]]), 2, places)
    every = Codes(torch.zeros(2, 2), places).every()
    np.testing.assert_array_equal(q.log_prob(every[:, None]).exp().sum(0), 1)
    assert CodeSpace(2, places).nearest(torch.tensor([0.1, -9.0])).tolist() == [1.0, -1.0]
