"""Planted answers, numerical integration, and the published sanity bounds."""

import itertools
import math
from dataclasses import fields

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from sklearn.decomposition import PCA

from variform import VAE, DataConfig, ModelConfig, build_vae, evaluate, read
from variform.data.dataset import Dataset
from variform.data.reading import dataset_from
from variform.evaluation import log_likelihood
from variform.evaluation.baselines import pca, trivial
from variform.evaluation.latents import active_units
from variform.evaluation.log_likelihood import bits_per_dim, score, score_under
from variform.evaluation.standard_error import Estimate
from variform.model.fitted_priors import GaussianMixturePrior, ScaledFlowPrior
from variform.model.likelihoods import BernoulliLikelihood, GaussianLikelihood
from variform.model.networks import MLP
from variform.model.posteriors import DiagonalPosterior
from variform.model.priors import StandardNormalPrior


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def vae_of(likelihood, dim):
    posterior, shape = DiagonalPosterior(dim, std="exp"), likelihood.event_shape
    encoder = MLP(shape, posterior.params_shape, hidden=(8,), activation="tanh")
    decoder = MLP((dim,), likelihood.params_shape, hidden=(8,), activation="tanh")
    torch.nn.init.normal_(decoder.output.weight)
    return VAE(
        encoder, decoder, posterior=posterior, prior=StandardNormalPrior(dim), likelihood=likelihood
    )


def test_importance_sampling_equals_numerical_integration():
    """log p(x) = log of the integral of p(z) p(x|z) over z, by quadrature, for every x of four binary columns."""
    vae = vae_of(BernoulliLikelihood((4,)), 1)
    every = torch.tensor(list(itertools.product([0.0, 1.0], repeat=4)))

    def joint(z, x):
        with torch.no_grad():
            return math.exp(vae.decode(torch.tensor([[z]])).log_prob(x).item()) * stats.norm.pdf(z)

    exact = torch.tensor(
        [math.log(integrate.quad(joint, -12, 12, args=(x,), limit=200)[0]) for x in every]
    )
    assert exact.exp().sum().item() == pytest.approx(1, abs=1e-8)
    scores = score(vae, dataset_from(every), samples=50_000)
    # relative standard error of the mean weight, from the effective sample size; 16 rows, 5 standard errors
    assert ((scores.log_px - exact).abs() <= 5 / scores.ess.sqrt()).all()
    assert (scores.elbo < exact).all()


def test_scores_under_several_priors_are_those_of_each_alone(monkeypatch):
    """Every field of every prior, from draws in several chunks; a decode serves all priors."""
    vae = vae_of(GaussianLikelihood((3,), variance="learned"), 2)
    mixture = GaussianMixturePrior(2, components=2)
    mixture.loc += torch.tensor([[1.0, 0.0], [-1.0, 0.5]])
    priors = {"its own": vae.prior, "flow": ScaledFlowPrior(2, hidden=(4,)), "mixture": mixture}
    data = dataset_from(torch.randn(9, 3))
    monkeypatch.setattr(log_likelihood, "_FLOATS_AT_ONCE", 2**11)
    decodes = []
    vae.decoder.register_forward_hook(lambda *_: decodes.append(1))
    scores = score_under(vae, priors, data, samples=70, seed=3)
    together = len(decodes)
    for name, prior in priors.items():
        decodes.clear()
        alone = score(vae.with_prior(prior), data, samples=70, seed=3)
        assert together == len(decodes) > 2
        for entry in fields(alone):
            ours, theirs = getattr(scores[name], entry.name), getattr(alone, entry.name)
            torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
    assert (scores["flow"].log_px - scores["mixture"].log_px).abs().min() > 1e-3


def test_scores_do_not_depend_on_chunks_of_rows():
    """The same rows alone and among others: each estimate within 5 standard errors of the other."""
    vae = vae_of(GaussianLikelihood((3,), variance="learned"), 2)
    x = torch.randn(600, 3)
    whole, part = (
        score(vae, dataset_from(x), samples=2000),
        score(vae, dataset_from(x[:7]), samples=2000),
    )
    error = (1 / whole.ess[:7] + 1 / part.ess).sqrt()
    assert ((whole.log_px[:7] - part.log_px).abs() <= 5 * error).all()
    torch.testing.assert_close(whole.kl[:7], part.kl)
    torch.testing.assert_close(whole.squared_error[:7], part.squared_error)


def test_density_in_the_users_units_follows_the_change_of_variables():
    """Standardising is part of the model: log p(raw) = log p(x) - sum log std, whatever unit the table is in."""
    raw = torch.randn(400, 3) * torch.tensor([10.0, 0.01, 1.0]) + torch.tensor([100.0, 0.0, -5.0])
    splits = read(raw, config=DataConfig(scaling="standard"))
    model = ModelConfig(latent_dim=1, likelihood="gaussian-shared", hidden=())
    vae = build_vae(model, splits.schema, moments=splits.train.moments())
    log_px = score(vae.double(), splits.test, samples=10).log_px
    plain = score(vae, dataset_from(splits.test.prepared()), samples=10).log_px
    scale = torch.tensor(splits.schema.scale)
    torch.testing.assert_close(log_px, plain - scale.log().sum(), rtol=1e-6, atol=1e-6)
    # and the exact pPCA density beside it is that of scikit-learn on standardised columns, in raw units
    numbers = pca(vae, splits.test, splits.train)
    x = splits.train.prepared().double().numpy()
    reference = (
        PCA(1, svd_solver="full")
        .fit(x)
        .score_samples(splits.test.prepared().double().numpy())
        .mean()
    )
    assert -numbers["nll"]["mean"] == pytest.approx(reference - scale.log().sum().item(), abs=0.01)


def test_pca_error_is_scikit_learns_in_raw_units():
    splits = read("digits")
    vae = build_vae(ModelConfig(likelihood="bernoulli", latent_dim=5), splits.schema)
    numbers = pca(vae, splits.test, splits.train)
    train, test = (part.raw.flatten(1).double().numpy() for part in (splits.train, splits.test))
    model = PCA(5, svd_solver="full").fit(train)
    error = test - model.inverse_transform(model.transform(test))
    assert numbers["reconstruction_error"]["mean"] == pytest.approx(
        math.sqrt((error**2).mean()), rel=1e-6
    )
    assert "nll" not in numbers


def test_baselines_of_more_rows_than_fit_into_memory_use_some_and_say_so(monkeypatch):
    """Planted: two directions hold nearly all variance, and a tenth of the rows finds them and the means as well."""
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(20_000, 2, generator=generator)
    raw = latents @ torch.randn(2, 6, generator=generator) + 0.1 * torch.randn(
        20_000, 6, generator=generator
    )
    splits = read(raw, config=DataConfig(scaling="none"))
    vae = build_vae(ModelConfig(latent_dim=2, likelihood="gaussian"), splits.schema)
    whole = [baseline(vae, splits.test, splits.train) for baseline in (pca, trivial)]
    assert not any("note" in numbers for numbers in whole)
    monkeypatch.setattr("variform.evaluation.baselines._WHOLE", 50_000)
    monkeypatch.setattr("variform.evaluation.baselines._SUBSET", 1600 * 6 * 8)
    some = [baseline(vae, splits.test, splits.train) for baseline in (pca, trivial)]
    assert some[0]["note"].startswith(
        f"PCA is fitted on a random 1,600 of {len(splits.train):,} rows"
    )
    assert some[1]["note"].startswith(
        f"The trivial model is scored on a random 1,600 of {len(splits.test):,} rows"
    )
    for few, full in zip(some, whole, strict=True):
        for name in (
            "nll",
            "reconstruction_error",
        ):  # 5 standard errors of the rows left out, and PCA's own
            assert abs(few[name]["mean"] - full[name]["mean"]) < 5 * few[name]["se"]


def test_trivial_models_equal_scipys():
    splits = read("digits", DataConfig(binarise="threshold"))
    vae = build_vae(ModelConfig(likelihood="bernoulli", latent_dim=2), splits.schema)
    train, test = (
        part.prepared().flatten(1).double().numpy() for part in (splits.train, splits.test)
    )
    probability = (train.sum(0) + 1) / (len(train) + 2)
    expected = -stats.bernoulli(probability).logpmf(test).sum(1).mean()
    assert trivial(vae, splits.test, splits.train)["nll"]["mean"] == pytest.approx(expected)

    splits = read(torch.randn(300, 4) * 3 + 1, config=DataConfig(scaling="none"))
    vae = build_vae(ModelConfig(latent_dim=2, likelihood="gaussian"), splits.schema)
    train, test = (part.raw.double().numpy() for part in (splits.train, splits.test))
    expected = -stats.norm(train.mean(0), train.std(0)).logpdf(test).sum(1).mean()
    assert trivial(vae, splits.test, splits.train)["nll"]["mean"] == pytest.approx(expected)


def test_estimates_are_means_with_their_standard_errors():
    values = torch.randn(1000)
    estimate = Estimate.of(values)
    assert estimate.mean == pytest.approx(values.mean().item())
    assert estimate.se == pytest.approx(stats.sem(values.numpy()))
    assert Estimate.of(torch.ones(1)).to_dict() == {"mean": 1.0, "se": None, "n": 1}


def test_the_error_of_a_root_mean_square_is_the_spread_of_its_repeats():
    """Standard deviation of 2,000 repeated estimates against the stated error; agrees within 10 percent."""
    squares = torch.randn(2000, 200).square()
    stated = np.mean([Estimate.root_mean(row).se for row in squares])
    assert stated == pytest.approx(squares.mean(1).sqrt().std().item(), rel=0.1)


def test_bits_per_dim_of_a_fair_coin_is_one():
    likelihood = BernoulliLikelihood((1, 4, 4))
    vae = vae_of(likelihood, 2)
    with torch.no_grad():
        vae.decoder.output.weight.zero_()
        vae.decoder.output.bias.zero_()
        vae.encoder.output.weight.zero_()
        vae.encoder.output.bias.zero_()
    data = dataset_from((torch.rand(10, 1, 4, 4) > 0.5).double())
    scores = score(vae, data, samples=5)
    assert bits_per_dim(vae, data.schema, -scores.log_px).mean == pytest.approx(1.0, abs=1e-12)


def test_bits_per_dim_of_uniform_levels_is_the_logarithm_of_their_number():
    """A Gaussian as wide as the levels are uniform: a density of 1 on [0, 1] costs log2(255) bits a pixel."""
    splits = read(torch.randint(0, 256, (100, 1, 4, 4), dtype=torch.uint8))
    vae = build_vae(ModelConfig(latent_dim=1, likelihood="gaussian-identity"), splits.schema)
    assert bits_per_dim(vae, splits.schema, torch.zeros(len(splits.test))).mean == pytest.approx(
        math.log2(255)
    )


def test_active_units_counts_what_was_planted():
    means = torch.randn(5000, 6) * torch.tensor([1.0, 0.5, 0.2, 0.05, 0.01, 0.0])
    assert active_units(means)["count"] == 3


def test_evaluate_joins_the_parts_and_repeats_itself():
    splits = read("digits")
    vae = build_vae(
        ModelConfig(likelihood="bernoulli", latent_dim=3),
        splits.schema,
        moments=splits.train.moments(),
    ).double()
    state = torch.get_rng_state()
    first, second = (evaluate(vae, splits.test, splits.train, samples=20, seed=5) for _ in range(2))
    assert first == second and torch.equal(state, torch.get_rng_state())
    assert first["elbo"]["mean"] == pytest.approx(
        first["log_likelihood"]["mean"] - first["kl"]["mean"]
    )
    assert first["posterior_gap"]["mean"] == pytest.approx(
        -first["elbo"]["mean"] - first["nll"]["mean"]
    )
    assert sum(item["mean"] for item in first["kl_per_dimension"]) == pytest.approx(
        first["kl"]["mean"]
    )
    assert (
        first["elbo"]["n"] == len(splits.test)
        and first["nll"]["samples"] == 20
        and first["unit"] == "nats"
    )
    assert any("cross-entropy" in note for note in first["notes"])
    assert evaluate(vae, splits.test, samples=20, seed=6)["nll"] != first["nll"]


def test_bad_requests_are_refused():
    vae = vae_of(BernoulliLikelihood((4,)), 1)
    data = dataset_from(torch.ones(3, 4))
    with pytest.raises(ValueError, match="`samples` must be at least 1; got 0"):
        score(vae, data, samples=0)
    with pytest.raises(ValueError, match="at least one row"):
        score(vae, Dataset(data.raw[:0], data.schema), samples=1)


def exact_vae(dim=2, size=5):
    """x = z W + noise with its exact posterior: every log-weight is log p(x), whatever is drawn."""
    weight = torch.linalg.qr(torch.randn(size, dim))[0] * 2
    vae = vae_of(GaussianLikelihood((size,), variance="identity"), dim)
    vae.encoder, vae.decoder = MLP((size,), (2, dim), hidden=()), MLP((dim,), (size,), hidden=())
    with torch.no_grad():
        vae.decoder.output.weight.copy_(weight)
        vae.decoder.output.bias.zero_()
        vae.encoder.output.weight.copy_(torch.cat([weight.T / 5, torch.zeros(dim, size)]))
        vae.encoder.output.bias.copy_(
            torch.cat([torch.zeros(dim), torch.full((dim,), math.log(0.2))])
        )
    covariance = (weight @ weight.T + torch.eye(size)).numpy()
    return vae, lambda x: torch.from_numpy(
        stats.multivariate_normal(np.zeros(size), covariance).logpdf(x.numpy())
    )


def test_every_chunk_of_samples_counts(monkeypatch):
    vae, log_px = exact_vae()
    monkeypatch.setattr(
        "variform.evaluation.log_likelihood._FLOATS_AT_ONCE", 5 * 10 * 7
    )  # several chunks of 10 rows
    x = torch.randn(10, 5)
    scores = score(vae, dataset_from(x), samples=25)
    torch.testing.assert_close(scores.log_px, log_px(x))
    torch.testing.assert_close(scores.ess, torch.full((10,), 25.0))


def seen_by(monkeypatch, network):
    """Numbers of rows of the calls of `network`, in a list that grows."""
    rows, forward = [], network.forward
    monkeypatch.setattr(network, "forward", lambda x: rows.append(len(x)) or forward(x))
    return rows


def test_the_encoder_sees_every_row_once(monkeypatch):
    vae, _ = exact_vae()
    encoded = seen_by(monkeypatch, vae.encoder)
    monkeypatch.setattr("variform.evaluation.log_likelihood._FLOATS_AT_ONCE", 200)
    score(vae, dataset_from(torch.randn(100, 5)), samples=50)
    assert sum(encoded) == 100


def test_little_memory_makes_smaller_decodes_of_the_same_draws(monkeypatch):
    vae = vae_of(BernoulliLikelihood((4,)), 2)
    data = dataset_from((torch.rand(10, 4) > 0.5).double())
    whole = score(vae, data, samples=30)
    decoded = seen_by(monkeypatch, vae.decoder)
    monkeypatch.setattr("variform.evaluation.log_likelihood._available_bytes", lambda device: 0)
    part = score(vae, data, samples=30)
    assert (
        max(decoded) == 10 and sum(decoded) == 1 + 10 * 30 + 10
    )  # a trial, the samples, the reconstruction
    torch.testing.assert_close(part.log_px, whole.log_px, rtol=1e-12, atol=1e-12)


def test_a_chunk_fits_whatever_a_decode_takes():
    """The activations of a chunk are at most so many, unless those of one row are more."""
    for hidden, rows, samples in itertools.product(
        [(), (400,), (100_000,), (5_000_000,)], [1, 30, 10_000], [1, 5000]
    ):
        vae = vae_of(BernoulliLikelihood((4,)), 2)
        with torch.device("meta"):
            vae.decoder = MLP((2,), (4,), hidden=hidden)
        vae.decoder.to_empty(device="cpu")
        sizes = log_likelihood._sizes(vae, rows, samples)
        floats = sizes.floats
        assert floats >= sum(2 * width for width in hidden) + 4
        assert (
            sizes.rows * sizes.samples == 1
            or sizes.rows * sizes.samples * floats <= log_likelihood._FLOATS_AT_ONCE
        )
        assert sizes.rows <= rows and sizes.decoded <= sizes.samples <= samples


@pytest.mark.long
def test_compiled_scores_are_the_scores(monkeypatch):
    """In single precision as users have it: the draws are the same, the sums agree to rounding."""
    torch.set_default_dtype(torch.float32)
    splits = read("digits", DataConfig(binarise="threshold"))
    vae = build_vae(ModelConfig(likelihood="bernoulli", latent_dim=2, hidden=(8,)), splits.schema)
    plain = score(vae, splits.test, samples=40)
    monkeypatch.setattr("variform.evaluation.log_likelihood._COMPILE_SECONDS", 0.0)
    first, second = (score(vae, splits.test, samples=40) for _ in range(2))
    torch.testing.assert_close(first.log_px, plain.log_px, rtol=0, atol=1e-4)
    torch.testing.assert_close(first.ess, plain.ess, rtol=1e-3, atol=1e-3)
    assert torch.equal(first.log_px, second.log_px)


def test_evaluate_in_raw_units_keeps_elbo_and_its_parts_together():
    splits = read(torch.randn(300, 2) * 50, config=DataConfig(scaling="standard"))
    vae = build_vae(ModelConfig(latent_dim=1, likelihood="gaussian"), splits.schema).double()
    numbers = evaluate(vae, splits.test, samples=20)
    assert numbers["elbo"]["mean"] == pytest.approx(
        numbers["log_likelihood"]["mean"] - numbers["kl"]["mean"]
    )
    assert splits.schema.log_jacobian < -5


def test_a_probability_has_no_jacobian():
    """Ones and zeros written as 5 and 0: the same events, the same probability, for the VAE and beside it."""
    x = (torch.rand(300, 6) > 0.5).double()
    numbers = []
    for factor in (1, 5):
        splits = read(x * factor, config=DataConfig(scaling="unit"))
        vae = build_vae(ModelConfig(likelihood="bernoulli", latent_dim=1), splits.schema).double()
        numbers.append(
            (
                score(vae, splits.test, samples=5).log_px,
                trivial(vae, splits.test, splits.train)["nll"],
            )
        )
    assert sum(item["mean"] for _, item in numbers) / 2 == pytest.approx(6 * math.log(2), abs=0.2)
    assert max(abs(float(log_px.mean()) + 6 * math.log(2)) for log_px, _ in numbers) < 1


def test_binarised_rows_are_the_same_for_every_model_and_number_of_samples():
    splits = read("digits", DataConfig(binarise="dynamic"))
    rows = splits.train.prepared(seed=4)
    assert torch.equal(rows, torch.cat(list(splits.train.batches(100, seed=4))))
    assert not torch.equal(rows, splits.train.prepared(seed=5))
    reference = trivial(
        build_vae(ModelConfig(likelihood="bernoulli", latent_dim=2), splits.schema),
        splits.train,
        splits.test,
    )["nll"]
    for dim, samples in ((2, 1), (5, 7)):
        vae = build_vae(
            ModelConfig(likelihood="bernoulli", latent_dim=dim, posterior_std="exp"), splits.schema
        ).double()
        with torch.no_grad():
            vae.decoder.output.weight.zero_()  # p(x|z) is the trivial model, and log p(x) with it
            smoothed = (splits.test.prepared(seed=0).double().sum(0) + 1) / (len(splits.test) + 2)
            vae.decoder.output.bias.copy_(torch.logit(smoothed).flatten())
            vae.encoder.output.weight.zero_()
            vae.encoder.output.bias.zero_()
        assert -score(vae, splits.train, samples=samples).log_px.mean().item() == pytest.approx(
            reference["mean"]
        )


@pytest.mark.parametrize(
    ("raw", "options", "expected"),
    [
        (torch.randint(0, 256, (200, 1, 4, 4), dtype=torch.uint8), {}, 1 / 255),
        (torch.randint(0, 256, (200, 1, 4, 4), dtype=torch.uint8), {"scaling": "none"}, 1.0),
        (torch.randint(0, 256, (200, 1, 4, 4), dtype=torch.uint8), {"binarise": "threshold"}, 1e-3),
        (torch.rand(200, 3) * torch.tensor([1.0, 1e-4, 0.5]), {}, 1e-7),
        (torch.randn(200, 3) * 100, {}, 1e-3),
    ],
    ids=["pixels", "raw pixels", "binarised", "narrow column", "standardised"],
)
def test_the_floor_of_a_learned_variance_is_below_what_the_data_can_show(raw, options, expected):
    splits = read(raw, config=DataConfig(**options))
    vae = build_vae(ModelConfig(latent_dim=1, likelihood="gaussian"), splits.schema)
    assert vae.likelihood.min_std == pytest.approx(expected, rel=0.05)


def test_bits_per_dim_is_for_levels_only_and_knows_binarised_ones():
    for raw, options, reported in (
        (torch.rand(200, 1, 4, 4), {}, False),
        (torch.randint(0, 256, (200, 1, 4, 4), dtype=torch.uint8), {"binarise": "threshold"}, True),
    ):
        splits = read(raw, config=DataConfig(**options))
        vae = build_vae(
            ModelConfig(latent_dim=1, likelihood="gaussian-identity"), splits.schema
        ).double()
        numbers = evaluate(vae, splits.test, samples=5)
        assert ("bits_per_dim" in numbers) == reported
        if reported:
            assert numbers["bits_per_dim"]["mean"] == pytest.approx(
                numbers["nll"]["mean"] / 16 / math.log(2)
            )
