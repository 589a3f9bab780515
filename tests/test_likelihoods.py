"""What a family adds to its law: the closed-form variance of a batch, bounds, starts, and the data it is for."""

import dataclasses
import math
from typing import get_args

import numpy as np
import pytest
import test_contracts as contracts
import torch
from scipy import stats
from sklearn.utils._param_validation import InvalidParameterError
from test_lowering import run

from variform import (
    DataConfig,
    ModelConfig,
    RunConfig,
    TrainConfig,
    build_objective,
    build_vae,
    evaluate,
    fit,
    read,
)
from variform.config.choices import COUNTED, LikelihoodName
from variform.config.settling import reading
from variform.data.marginals import Marginals
from variform.estimator import VAE as Estimator
from variform.evaluation import exploration
from variform.evaluation.baselines import trivial
from variform.export.lowering import lower_decoder
from variform.model.likelihoods import (
    LIKELIHOODS,
    CategoricalLikelihood,
    GaussianLikelihood,
    LogisticLikelihood,
    LogisticMixtureLikelihood,
    NegativeBinomialLikelihood,
)
from variform.runs.plan import prepare


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


# --- the variance that is best for a batch (Rybkin et al. 2021) -----------------------------------------------------


def optimal(min_std=1e-3):
    return GaussianLikelihood((4,), variance="optimal", min_std=min_std)


def test_optimal_variance_is_that_of_the_paper():
    """NumPy from the paper: sigma^2 = MSE, log p = -D/2 (log(2 pi sigma^2) + 1) on average over samples and batch."""
    params, x = torch.randn(3, 5, 4), torch.randn(5, 4)
    log_prob = optimal()(params).log_prob(x)
    variance = np.mean((x.numpy() - params.numpy()) ** 2)
    each = -0.5 * (np.log(2 * np.pi * variance) + (x.numpy() - params.numpy()) ** 2 / variance).sum(
        -1
    )
    np.testing.assert_allclose(log_prob, each)
    assert log_prob.mean().item() == pytest.approx(-2 * (math.log(2 * math.pi * variance) + 1))


def test_optimal_variance_has_the_gradient_that_its_formula_implies():
    """That of -D/2 (log(2 pi MSE) + 1), by autograd through the logarithm of the mean squared error."""
    params, x = torch.randn(3, 5, 4, requires_grad=True), torch.randn(5, 4)
    (gradient,) = torch.autograd.grad(optimal()(params).log_prob(x).mean(), params)
    formula = -2 * ((x - params).square().mean().log() + math.log(2 * math.pi) + 1)
    torch.testing.assert_close(gradient, torch.autograd.grad(formula, params)[0])


def test_optimal_variance_takes_a_batch_of_one_a_perfect_fit_and_missing_values():
    likelihood = optimal(min_std=0.1)
    one = torch.randn(1, 4, requires_grad=True)
    log_prob = likelihood(one).log_prob(torch.zeros(1, 4))
    assert log_prob.item() == pytest.approx(
        -2 * (math.log(2 * math.pi * one.square().mean().item()) + 1)
    )
    perfect = likelihood(one).log_prob(one.detach())  # the floor
    assert perfect.item() == pytest.approx(-2 * math.log(2 * math.pi * 0.01))
    (gradient,) = torch.autograd.grad(perfect.sum(), one)
    assert not gradient.any()
    x = torch.tensor([[1.0, math.nan, 2.0, math.nan]])
    entries = likelihood(torch.zeros(1, 4)).log_prob_per_entry(x)[0, [0, 2]]
    torch.testing.assert_close(
        entries, torch.distributions.Normal(0, 2.5**0.5).log_prob(x[0, [0, 2]])
    )


def test_evaluation_uses_the_running_mean_that_training_left():
    likelihood, x = optimal(), torch.randn(6, 4)
    likelihood.start_at(torch.zeros(4), torch.full((4,), 3.0))
    expected = 3.0
    for _ in range(5):
        params = torch.randn(2, 6, 4)
        likelihood(params).log_prob(x)
        expected += 0.1 * ((x - params).square().mean().item() - expected)
    likelihood.eval()
    law = likelihood(params)
    assert law.variance.flatten()[0].item() == pytest.approx(expected)
    torch.testing.assert_close(law.log_prob(x)[1], likelihood(params[1]).log_prob(x))
    again = optimal().eval()
    again.load_state_dict(likelihood.state_dict())
    torch.testing.assert_close(again(params).log_prob(x), law.log_prob(x))


def test_an_optimal_variance_settles_on_the_noise_of_the_data():
    """Planted: noise of standard deviation 0.3 around a plane of two dimensions."""
    raw = torch.randn(2000, 2) @ torch.randn(2, 10) + 0.3 * torch.randn(2000, 10)
    data = read(raw, config=DataConfig(scaling="none"))
    config = ModelConfig(latent_dim=2, likelihood="gaussian-optimal", hidden=())
    vae = build_vae(config, data.schema, moments=data.train.moments())
    options = TrainConfig(steps=600, learning_rate=2e-2, schedule="cosine")
    fit(build_objective(vae, options), data.train, data.valid, options)
    assert vae.likelihood.optimal_variance.sqrt().item() == pytest.approx(0.3, rel=0.05)


def test_a_compiled_step_keeps_the_optimal_variance_too():
    data = read("digits")
    losses = []
    for choice in ("off", "on"):
        torch.set_default_dtype(torch.float32)
        vae = build_vae(
            ModelConfig(latent_dim=2, hidden=(5,), likelihood="gaussian-optimal"), data.schema
        )
        options = TrainConfig(steps=5, compile=choice)
        fit(build_objective(vae, options), data.train, data.valid, options)
        losses.append(vae.likelihood.optimal_variance.item())
    assert losses[0] != 1
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


# --- bounds and starts ----------------------------------------------------------------------------------------------


def test_a_fixed_std_is_the_one_given_and_per_feature_learns_one_each():
    law = GaussianLikelihood((3,), variance="fixed", fixed_std=0.25)(torch.zeros(2, 3))
    torch.testing.assert_close(law.stddev, torch.full((2, 3), 0.25))
    likelihood = GaussianLikelihood((3,), variance="per-feature", min_std=1e-6)
    variances = torch.tensor([0.1, 2.0, 30.0])
    mean = likelihood.start_at(torch.zeros(3), variances)
    torch.testing.assert_close(
        likelihood(mean.expand(2, 3)).variance, variances.expand(2, 3), rtol=1e-6, atol=0
    )
    assert likelihood.raw_log_var.shape == (3,)


def test_a_logistic_keeps_the_bounds_of_its_protocol_and_starts_inside_them():
    """Location in [1/512, 1 - 1/512] and log-scale in [-4.5, 0]; a constant column must not start without gradient."""
    likelihood = LogisticLikelihood((3,), levels=256)
    law = likelihood(torch.tensor([[[-1e4, 0.0, 1e4], [-1e4, -1.0, 1e4]]]))
    torch.testing.assert_close(law.location, torch.tensor([[1 / 512, 0.5, 1 - 1 / 512]]))
    torch.testing.assert_close(law.log_scale, torch.tensor([[-4.5, -1.0, 0.0]]))
    params = (
        likelihood.start_at(torch.tensor([0.0, 0.5, 1.0]), torch.zeros(3))
        .unsqueeze(0)
        .requires_grad_()
    )
    likelihood(params).log_prob(torch.tensor([0.0, 0.5, 0.9])).sum().backward()
    assert params.grad.ne(0).all()


def test_starts_at_the_edges_come_near_the_mean():
    mean = torch.tensor([0.0, 0.004, 0.5, 0.97, 1.0])
    for likelihood in (
        LogisticLikelihood((5,), levels=256),
        LogisticMixtureLikelihood((5,), levels=256),
        CategoricalLikelihood((5,), levels=256),
    ):
        law = likelihood(likelihood.start_at(mean, mean * (1 - mean) / 50).unsqueeze(0))
        assert (law.mean[0] - mean).abs().max() < 0.02


def test_a_negative_binomial_starts_at_mean_and_variance():
    likelihood = NegativeBinomialLikelihood((3,))
    mean, variance = torch.tensor([0.5, 4.0, 90.0]), torch.tensor([0.75, 20.0, 1000.0])
    law = likelihood(likelihood.start_at(mean, variance).unsqueeze(0))
    torch.testing.assert_close(law.mean[0], mean)
    torch.testing.assert_close(law.variance[0], variance)


# --- data that fit, and data that do not ----------------------------------------------------------------------------

NAMES = [name for name in LikelihoodName.__args__ if name != "mixed"]  # which is for tables


def made(name, **options):
    """A model of the digits and their rows, read as the likelihood wants them."""
    config = RunConfig(model=ModelConfig(latent_dim=2, likelihood=name, hidden=(16,)), **options)
    plan = prepare(config)
    return plan.splits, plan.vae


@pytest.mark.parametrize("name", NAMES)
def test_every_likelihood_learns_and_has_plausible_numbers(name):
    torch.set_default_dtype(torch.float32)
    data, vae = made(name)
    options = TrainConfig(steps=60, learning_rate=5e-3)
    fit(build_objective(vae, options), data.train, data.valid, options)
    numbers = evaluate(vae, data.test, data.train, samples=20)
    if vae.likelihood.support == "levels":
        assert 0 < numbers["bits_per_dim"]["mean"] < math.log2(17)
        assert 0 < numbers["baselines"]["trivial"]["nll"]["mean"] / 64 / math.log(2) < math.log2(17)
    assert "bits_per_dim" in numbers or name == "bernoulli"
    assert math.isfinite(numbers["nll"]["mean"]) and math.isfinite(
        numbers["baselines"]["trivial"]["nll"]["mean"]
    )
    assert ("nll" in numbers["baselines"]["pca"]) == name.startswith("gaussian")
    assert (
        numbers["reconstruction_error"]["mean"]
        < numbers["baselines"]["trivial"]["reconstruction_error"]["mean"]
    )


def test_a_blank_decoder_costs_the_logarithm_of_the_number_of_levels():
    """Each of L levels has probability 1/L: log2(L) bits per dimension, without any Jacobian."""
    raw = torch.randint(0, 256, (100, 1, 4, 4), dtype=torch.uint8)
    grey, cut = (read(raw, config=DataConfig(binarise=choice)) for choice in ("none", "threshold"))
    for data, bits in ((grey, 8.0), (cut, 1.0), (read("digits"), math.log2(17))):
        vae = build_vae(
            ModelConfig(latent_dim=1, likelihood="categorical", hidden=(), posterior_std="exp"),
            data.schema,
        )
        for parameter in vae.parameters():
            torch.nn.init.zeros_(parameter)
        numbers = evaluate(vae.double(), data.test, samples=3)
        assert numbers["bits_per_dim"]["mean"] == pytest.approx(bits)


def test_the_independent_model_of_each_law_equals_a_count_in_numpy():
    data, vae = made("categorical")
    train, test = (part.raw.flatten(1).numpy().astype(int) for part in (data.train, data.test))
    counts = np.stack([np.bincount(column, minlength=17) for column in train.T])
    shares = (counts + 1) / (len(train) + 17)
    expected = -np.log(shares[np.arange(64), test]).sum(1).mean()
    for name in ("categorical", "logistic"):
        data, vae = made(name)
        assert trivial(vae, data.test, data.train)["nll"]["mean"] == pytest.approx(expected)
    data, vae = made("poisson")
    rate = (train.sum(0) + 1) / (len(train) + 1)
    expected = -stats.poisson(rate).logpmf(test).sum(1).mean()
    assert trivial(vae, data.test, data.train)["nll"]["mean"] == pytest.approx(expected, rel=1e-6)
    r = np.clip(rate**2 / np.maximum(train.var(0) - rate, 1e-2 * rate**2), 1e-2, None)
    expected = -stats.nbinom(r, r / (r + rate)).logpmf(test).sum(1).mean()
    data, vae = made("negative-binomial")
    assert trivial(vae, data.test, data.train)["nll"]["mean"] == pytest.approx(expected, rel=1e-3)


def test_draws_are_levels_and_counts_in_the_users_units():
    for name in ("logistic", "logistic-mixture", "beta-binomial", "categorical", *COUNTED):
        values = exploration.generate(made(name)[1], 50, draw=True)
        assert (values == values.round()).all() and values.min() >= 0
        assert len(np.unique(values)) > 5
        assert values.max() <= 16 or name in COUNTED


def test_automatic_scaling_leaves_counts_as_they_are_and_other_choices_stand():
    assert made("poisson")[0].schema.scale == (1.0,)
    assert made("categorical")[0].schema.scale == (16.0,)
    config = RunConfig(
        model=ModelConfig(likelihood="negative-binomial"), data=DataConfig(scaling="unit")
    )
    assert reading(config).scaling == "unit"
    with pytest.raises(
        ValueError, match=r"needs counts as they are; digits is scaled\. Use `scaling='none'`"
    ):
        prepare(config)


NUMBERS = np.random.default_rng(0).integers(0, 9, (80, 3)).astype(float)


@pytest.mark.parametrize(
    ("name", "column", "options", "message"),
    [
        (
            "poisson",
            NUMBERS[:, 0] + 0.5,
            {"scaling": "none"},
            "poisson needs counts.*'column 4' of array holds fract",
        ),
        (
            "poisson",
            NUMBERS[:, 0] - 3,
            {"scaling": "none"},
            "poisson needs counts.*'column 4' of array holds -3",
        ),
        (
            "negative-binomial",
            NUMBERS[:, 0],
            {"scaling": "standard"},
            "counts as they are; array is scaled",
        ),
        (
            "logistic",
            NUMBERS[:, 0],
            {},
            "logistic needs discrete levels.*array holds other numbers",
        ),
        ("categorical", NUMBERS[:, 0], {"scaling": "unit"}, "categorical needs discrete levels"),
        (
            "continuous-bernoulli",
            NUMBERS[:, 0],
            {"scaling": "none"},
            r"continuous-bernoulli needs values in \[0, 1\]",
        ),
    ],
)
def test_data_that_do_not_fit_are_refused_with_the_column(name, column, options, message):
    data = read(np.c_[NUMBERS, column], config=DataConfig(**options))
    with pytest.raises(ValueError, match=message):
        build_vae(ModelConfig(likelihood=name), data.schema)


def test_levels_that_are_scaled_otherwise_are_refused_and_zeros_and_ones_fit_every_law():
    raw = torch.randint(0, 256, (80, 1, 3, 3), dtype=torch.uint8)
    for scaling in ("none", "standard"):
        schema = read(raw, config=DataConfig(scaling=scaling)).schema
        with pytest.raises(
            ValueError, match=r"logistic needs levels scaled to \[0, 1\].*Use `scaling='unit'`"
        ):
            build_vae(ModelConfig(likelihood="logistic"), schema)
    schema = read(raw, config=DataConfig(binarise="threshold")).schema
    for name in NAMES:
        vae = build_vae(ModelConfig(latent_dim=1, likelihood=name, hidden=()), schema)
        assert getattr(vae.likelihood, "levels", 2) == 2
    assert dataclasses.replace(schema, binarise="none").whole == (True,)


@pytest.mark.parametrize("name", COUNTED)
@pytest.mark.parametrize("most", [80, 2000])
def test_counts_of_any_size_are_learned(name, most):
    """The encoder sees their logarithms: raw, the first step would send the rates to infinity."""
    torch.set_default_dtype(torch.float32)
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(800, 1, generator=generator)
    rate = most / 8 * torch.exp(0.5 * hidden * torch.tensor([1.0, -1.0, 0.5, 1.5]))
    data = read(torch.poisson(rate, generator=generator), config=DataConfig(scaling="none"))
    config = TrainConfig(steps=300, batch_size=64, learning_rate=3e-3, compile="off")
    vae = build_vae(
        ModelConfig(latent_dim=1, likelihood=name, hidden=(32,)),
        data.schema,
        moments=data.train.moments(),
    )
    history = fit(build_objective(vae, config), data.train, data.valid, config)
    numbers = evaluate(vae, data.test, data.train, samples=50)
    assert abs(history.rows[0]["train_elbo"]) < 100 * numbers["nll"]["mean"]
    assert numbers["nll"]["mean"] < numbers["baselines"]["trivial"]["nll"]["mean"]


@pytest.mark.parametrize(
    "options", [{"objective": "iwae", "samples": 3}, {"objective": "piwae", "groups": 2}]
)
def test_the_optimal_variance_is_refused_where_it_is_not_the_optimum(options):
    data = read("digits")
    vae = build_vae(
        ModelConfig(likelihood="gaussian-optimal", latent_dim=2, hidden=(4,)), data.schema
    )
    with pytest.raises(ValueError, match="needs a variance that is not the optimum of the ELBO"):
        build_objective(vae, TrainConfig(**options))


# --- a family carries its own facts: every name, through all that ask for them ----------------------------------------


def for_all(name):
    """Data for any likelihood, as `made`; a table with a column of each kind for the mixed one."""
    if name != "mixed":
        return made(name)
    generator = np.random.default_rng(0)
    columns = [
        generator.normal(size=200),
        generator.integers(0, 2, 200),
        generator.integers(0, 9, 200),
    ]
    config = DataConfig(cells="mixed", categories=("column 3",))
    data = read(np.stack(columns, 1), config=config)
    return data, build_vae(ModelConfig(latent_dim=2, likelihood=name, hidden=(16,)), data.schema)


def test_every_name_has_a_family_contracts_and_a_word_in_the_help():
    names = set(get_args(LikelihoodName))
    assert set(LIKELIHOODS) == names
    assert {name for name in contracts.LIKELIHOODS if "," not in name} == names
    assert {name for name in names if f"`{name}`" not in ModelConfig.__doc__} == set()
    assert {name for name, (family, _) in LIKELIHOODS.items() if family.support == "counts"} == set(
        COUNTED
    )


@pytest.mark.parametrize("name", get_args(LikelihoodName))
def test_every_name_has_a_trivial_model_and_what_it_is_compared_with(name):
    """The trivial model's density of the test rows is that of its law, whose mean is that of the rows."""
    data, vae = for_all(name)
    assert isinstance(vae.likelihood, LIKELIHOODS[name][0])
    law = vae.likelihood.independent(Marginals.of(data.train))
    x = data.test.prepared(seed=0).double().flatten(1)
    expected = -(law.log_prob(x) + vae.log_jacobian(data.schema)).mean().item()
    assert trivial(vae, data.test, data.train)["nll"]["mean"] == pytest.approx(expected)
    if name != "mixed":
        mean = data.train.moments()[0].flatten()
        torch.testing.assert_close(
            law.mean.double(), mean, atol=0.0101, rtol=0
        )  # some stay a hundredth away from 0
        assert ("density" in vae.likelihood.measures) == vae.likelihood.is_density
    assert vae.likelihood.measures.startswith("a ")


@pytest.mark.parametrize("name", get_args(LikelihoodName))
def test_every_name_leaves_torch_or_says_that_there_is_no_step(name):
    _, vae = for_all(name)
    vae = vae.double()
    with torch.no_grad():
        for parameter in vae.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    z = np.random.default_rng(0).normal(size=(50, 2))
    if vae.likelihood.mean_steps() is None:
        with pytest.raises(
            ValueError,
            match=f"no step for {type(vae.likelihood).__name__}.*Use the model in Python",
        ):
            lower_decoder(vae)
        return
    answer, expected = run(lower_decoder(vae), z), exploration.decode(vae, z)
    assert (
        np.mean(np.abs(answer - expected) <= 1e-5 * np.maximum(1, np.abs(expected))) > 0.98
    )  # a whole number, on an edge


@pytest.mark.filterwarnings(
    "ignore::variform.estimator.SimplerModelWarning"
)  # of an epoch on noise, rightly
@pytest.mark.parametrize("name", get_args(LikelihoodName))
def test_every_name_is_one_of_the_estimator_or_refused_in_a_sentence(name):
    generator = np.random.default_rng(0)
    rows = {
        "real": generator.normal(size=(60, 3)),
        "unit": generator.integers(0, 2, (60, 3)).astype(float),
        "counts": generator.poisson(3.0, (60, 3)).astype(float),
        "levels": generator.integers(0, 5, (60, 3)).astype(float),
    }[LIKELIHOODS[name][0].support]
    estimator = Estimator(latent_dim=1, likelihood=name, epochs=1, random_state=0)
    if LIKELIHOODS[name][0].support == "levels" or name in ("mixed", "gaussian-fixed"):
        with pytest.raises(
            InvalidParameterError, match=f"'likelihood' parameter of VAE must be.*Got '{name}'"
        ):
            estimator.fit(rows)
        return
    assert np.isfinite(estimator.fit(rows).score_samples(rows)).all()


@pytest.mark.parametrize("name", get_args(LikelihoodName))
def test_every_name_has_steps_of_the_standard_deviation_of_its_law(name):
    _, vae = for_all(name)
    vae = vae.double().eval()
    with torch.no_grad():
        for parameter in vae.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
        z = torch.randn(50, 2)
        expected = vae.decode(z).stddev * vae.schema.per_value(vae.schema.scale)
    std = np.split(run(lower_decoder(vae, spread=True), z.numpy()), 2, 1)[1]
    np.testing.assert_allclose(std, expected.numpy(), rtol=1e-5, atol=1e-6)


def test_a_law_of_the_user_s_own_does_not_inherit_the_steps_of_another():
    _, vae = for_all("gaussian-shared")
    assert lower_decoder(vae).steps
    vae.likelihood.__class__ = type(
        "Shifted", (GaussianLikelihood,), {"forward": lambda self, params: None}
    )
    with pytest.raises(ValueError, match="no step for Shifted"):
        lower_decoder(vae)


def test_a_step_that_is_none_of_a_likelihood_is_refused():
    _, vae = for_all("bernoulli")
    vae.likelihood.mean_steps = lambda: [{"op": "sigmoid"}]
    with pytest.raises(ValueError, match=r"must be one of dense, gate, map, add.*got sigmoid"):
        lower_decoder(vae)
