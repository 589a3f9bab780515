"""Samplers: planted laws over z, second opinions, exact likelihoods, and files that come back bit for bit."""

import copy
import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity
from torch import nn
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from variform import VAE, DataConfig, ModelConfig, build_vae, read
from variform.data.reading import dataset_from
from variform.distributions import DiagonalGaussian, FullGaussian, Mixture, StandardNormal
from variform.distributions.temperature import tempered
from variform.evaluation import samplers
from variform.evaluation.log_likelihood import score, score_under
from variform.evaluation.samplers import Sampler, aggregated_posterior
from variform.evaluation.standard_error import Estimate
from variform.export import model_file
from variform.export.sampler_file import load_sampler, save_sampler
from variform.model.fitted_priors import TemperedPrior
from variform.model.likelihoods import GaussianLikelihood
from variform.model.posteriors import DiagonalPosterior
from variform.model.priors import StandardNormalPrior

WEIGHTS = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
MEANS = torch.tensor([[0.0, 0.0], [4.0, 1.0], [-2.0, 4.0]], dtype=torch.float64)
COVARIANCES = torch.tensor(
    [[[0.5, 0.3], [0.3, 0.4]], [[0.3, -0.2], [-0.2, 0.6]], [[0.2, 0.0], [0.0, 1.0]]],
    dtype=torch.float64,
)
NOISE = 0.3  # of p(x|z)


class Echo(nn.Module):
    """An encoder or decoder that gives its input, and constants beside it."""

    def __init__(self, constant=None):
        super().__init__()
        self.anchor, self.constant = nn.Parameter(torch.zeros(())), constant

    def forward(self, x):
        if self.constant is None:
            return x + self.anchor
        return torch.stack([x, torch.full_like(x, self.constant)], -2) + self.anchor


def echo(log_var=-20.0):
    """x = z + noise of a known size; q(z|x) = N(x, exp(log_var))."""
    likelihood = GaussianLikelihood((2,), variance="shared")
    with torch.no_grad():
        likelihood.raw_log_var.fill_(2 * math.log(NOISE))
    parts = {
        "posterior": DiagonalPosterior(2, std="exp"),
        "prior": StandardNormalPrior(2),
        "likelihood": likelihood,
    }
    return VAE(Echo(log_var), Echo(), **parts)


def truth():
    return MixtureSameFamily(Categorical(WEIGHTS), MultivariateNormal(MEANS, COVARIANCES))


def planted(count, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return truth().sample((count,))


def law():
    return Mixture(FullGaussian(MEANS, torch.linalg.cholesky(COVARIANCES)), WEIGHTS.log())


class Planted(nn.Module):
    """The planted law as a prior."""

    def forward(self, encode):
        return law()


def drawn(prior, count, seed=0):
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        return prior(None).sample((count,))


@pytest.fixture(scope="module")
def fitted():
    torch.set_default_dtype(torch.float64)
    return samplers.fit_mixture(echo(), dataset_from(planted(1500)))


# --- what is fitted -----------------------------------------------------------------------------------------------


def test_all_rows_are_used_once_and_in_order():
    x = planted(1500)
    assert torch.allclose(aggregated_posterior(echo(), dataset_from(x)), x, atol=1e-3)
    wide = (
        aggregated_posterior(echo(log_var=0.0), dataset_from(x)) - x
    )  # draws from q(z|x), not its means
    assert stats.kstest(wide.flatten().numpy(), "norm").pvalue > 1e-4
    means = aggregated_posterior(echo(log_var=0.0), dataset_from(x), draw=False)
    assert torch.equal(means, x)


def test_bic_finds_the_planted_components(fitted):
    assert (
        fitted.facts["components"] == 3
        and fitted.facts["rows"] == 1500
        and fitted.facts["converged"]
    )
    mixture = fitted.prior(None)
    order = mixture.log_weights.argsort(descending=True)
    # standard errors of the smallest of three components, 300 points: 5 of them
    assert torch.allclose(mixture.log_weights.exp()[order], WEIGHTS, atol=5 * (0.25 / 1500) ** 0.5)
    assert torch.allclose(mixture.components.mean[order], MEANS, atol=5 / 300**0.5)
    covariance = mixture.components.scale_tril @ mixture.components.scale_tril.mT
    assert torch.allclose(covariance[order], COVARIANCES, atol=5 * (2 / 300) ** 0.5)


def test_the_posteriors_of_the_rows_are_a_kernel_density_with_their_width():
    """By scikit-learn's KernelDensity, for posteriors of one width; draws have its moments."""
    width = 0.7
    x = planted(600)
    fitted = samplers.fit_posteriors(echo(log_var=2 * math.log(width)), dataset_from(x))
    points = planted(50, seed=1)
    truth = KernelDensity(bandwidth=width, rtol=1e-9).fit(x.numpy()).score_samples(points.numpy())
    np.testing.assert_allclose(fitted.prior(None).log_prob(points).numpy(), truth, rtol=1e-6)
    assert fitted.facts == {"components": 600, "rows": 600, "seed": 0}
    z = drawn(fitted.prior, 20_000)
    covariance = x.T.cov(correction=0) + width**2 * torch.eye(2)
    assert torch.allclose(z.mean(0), x.mean(0), atol=5 * (covariance.max().item() / 20_000) ** 0.5)
    assert torch.allclose(
        z.T.cov(), covariance, atol=5 * covariance.max().item() * (2 / 20_000) ** 0.5
    )


def test_shares_of_a_stationary_decoder_are_kept_by_the_posteriors_and_not_by_the_prior():
    """Logistic regression on draws of q(z|x), solved by Newton's method: its bias makes the shares equal."""
    x = planted(800)
    fitted = samplers.fit_posteriors(echo(log_var=2 * math.log(0.5)), dataset_from(x))
    is_default = (x[:, 0] > 1).double()
    z = torch.cat(
        [
            x + 0.5 * torch.randn(x.shape, generator=torch.Generator().manual_seed(n))
            for n in range(20)
        ]
    )
    inputs = torch.cat([z, torch.ones(len(z), 1)], 1)
    weights = torch.zeros(3)
    for _ in range(30):
        p = torch.sigmoid(inputs @ weights)
        hessian = inputs.T @ (inputs * (p * (1 - p))[:, None])
        weights = weights + torch.linalg.solve(hessian, inputs.T @ (is_default.repeat(20) - p))

    def share(points):
        return torch.sigmoid(points @ weights[:2] + weights[2]).mean().item()

    assert share(drawn(fitted.prior, 40_000)) == pytest.approx(is_default.mean().item(), abs=0.012)
    assert abs(share(drawn(StandardNormalPrior(2), 40_000)) - is_default.mean().item()) > 0.05


def test_bic_stops_early_and_one_gaussian_is_enough_for_one():
    x = torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
    facts = samplers.fit_mixture(echo(), dataset_from(x)).facts
    assert facts["components"] == 1 and list(facts["bic"]) == ["1", "2", "3", "4"]
    points = aggregated_posterior(echo(), dataset_from(x)).numpy()
    covariance = np.cov(points.T, bias=True) + 1e-6 * np.eye(2)
    log_likelihood = stats.multivariate_normal(points.mean(0), covariance).logpdf(points).sum()
    assert facts["bic"]["1"] == pytest.approx(
        5 * math.log(400) - 2 * log_likelihood
    )  # 2 means, 3 covariances
    assert samplers.fit_mixture(echo(), dataset_from(x[:3])).facts["components"] <= 3
    with pytest.raises(ValueError, match="as many rows as components; got 3 rows"):
        samplers.fit_mixture(echo(), dataset_from(x[:3]), components=[4])


@pytest.mark.parametrize("log_var", [-80.0, 0.0])
def test_latents_at_one_place_are_fitted_without_a_warning(log_var):
    """All rows at one point: a single component there, with the spread of q(z|x), or with next to none."""
    sampler = samplers.fit_mixture(
        echo(log_var), dataset_from(torch.full((300, 2), 1.5)), components=[1, 2, 3]
    )
    draws = drawn(sampler.prior, 2000)
    assert sampler.facts["components"] == 1
    assert torch.allclose(draws.mean(0), torch.tensor([1.5, 1.5]), atol=0.15)
    assert draws.std(0).max() < (0.01 if log_var < 0 else 1.15)
    rows = dataset_from(torch.full((300, 2), 1.5))
    flow = samplers.fit_flow(echo(log_var), rows, rows, rounds=1, hidden=(4,), transforms=1)
    assert drawn(flow.prior, 10).isfinite().all()


def test_density_equals_that_of_sklearn(fitted):
    points = aggregated_posterior(echo(), dataset_from(planted(1500))).numpy()
    model = GaussianMixture(3, n_init=3, max_iter=500, random_state=0).fit(points)
    elsewhere = np.random.default_rng(0).normal(0, 5, (200, 2))
    for where in (points, elsewhere):
        ours = fitted.prior(None).log_prob(torch.from_numpy(where)).numpy()
        np.testing.assert_allclose(ours, model.score_samples(where), rtol=0, atol=1e-6)


def test_duplicated_rows_count_twice():
    """The law of the rows as they are: a component whose rows come three times gets three times the weight."""
    x = planted(900)
    near = (x - MEANS[1]).square().sum(1) < 4
    twice = samplers.fit_mixture(
        echo(), dataset_from(torch.cat([x, x[near], x[near]])), components=[3]
    )
    share, rows = 3 * near.sum().item(), 900 + 2 * near.sum().item()
    heaviest = twice.prior(None).log_weights.exp().max().item()
    assert heaviest == pytest.approx(share / rows, abs=0.03)
    assert twice.facts["rows"] == rows


# --- what is drawn ------------------------------------------------------------------------------------------------


def test_components_are_drawn_by_their_weights_and_not_in_order():
    prior = Planted()
    z = drawn(prior, 20_000)
    component = (z[:, None] - MEANS).square().sum(-1).argmin(1)
    exact = (planted(400_000, seed=9)[:, None] - MEANS).square().sum(-1).argmin(
        1
    ).bincount() / 400_000
    assert stats.chisquare(component.bincount(), 20_000 * exact.numpy()).pvalue > 1e-4
    repeats = (component[1:] == component[:-1]).double().mean().item()
    assert repeats == pytest.approx(exact.square().sum().item(), abs=5 * 0.5 / 20_000**0.5)


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_temperature_scales_the_covariance_about_the_means(temperature):
    cold = tempered(law(), temperature)
    assert torch.allclose(cold.log_weights.exp(), WEIGHTS) and torch.equal(
        cold.components.mean, MEANS
    )
    same = MixtureSameFamily(
        Categorical(WEIGHTS), MultivariateNormal(MEANS, temperature**2 * COVARIANCES)
    )
    points = planted(50)
    assert torch.allclose(cold.log_prob(points), same.log_prob(points))
    z = drawn(TemperedPrior(Planted(), temperature), 100_000)
    assert torch.allclose(
        z.mean(0), same.mean, atol=5 * same.variance.max().item() ** 0.5 / 100_000**0.5
    )
    assert torch.allclose(z.var(0), same.variance, rtol=0.03)
    for one in (StandardNormal(3), DiagonalGaussian(torch.ones(4, 3), torch.randn(4, 3))):
        assert torch.allclose(tempered(one, temperature).stddev, temperature * one.stddev)
        assert torch.equal(tempered(one, temperature).mean, one.mean)
    assert torch.allclose(tempered(law(), 1.0).log_prob(points), law().log_prob(points))


def test_temperature_must_be_positive_and_known_to_the_law():
    for temperature in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match=r"`temperature` must be (above 0|a finite number)"):
            TemperedPrior(Planted(), temperature)
    with pytest.raises(ValueError, match=r"needs a Gaussian, a mixture or a flow; got Categorical"):
        tempered(Categorical(WEIGHTS), 0.5)


# --- log-likelihood under a sampler -------------------------------------------------------------------------------


def test_log_likelihood_under_a_sampler_is_exact_and_better_than_under_the_wrong_prior(fitted):
    """x = z + noise: p(x) under the mixture is the mixture of N(mean, covariance + noise), under N(0, I) N(0, ...)."""
    vae, data = echo(log_var=2 * math.log(NOISE)), dataset_from(planted(200, seed=1))
    mixture = fitted.prior(None)
    covariance = (
        mixture.components.scale_tril @ mixture.components.scale_tril.mT + NOISE** 2 * torch.eye(2)
    )
    exact = MixtureSameFamily(
        Categorical(logits=mixture.log_weights),
        MultivariateNormal(mixture.components.mean, covariance),
    ).log_prob(data.prepared())
    under = score(vae.with_prior(fitted.prior), data, samples=4000)
    assert ((under.log_px - exact).abs() <= 5 / under.ess.sqrt()).all()
    assert (under.elbo.mean() < under.log_px.mean()) and under.kl_per_dimension is None
    prior = score(vae, data, samples=4000)
    wrong = MultivariateNormal(torch.zeros(2), (1 + NOISE**2) * torch.eye(2)).log_prob(
        data.prepared()
    )
    likely = prior.ess > 200  # of rows that the prior hardly knows the estimate is bad
    assert ((prior.log_px - wrong).abs()[likely] <= 5 / prior.ess[likely].sqrt()).all()
    assert under.log_px.mean() > prior.log_px.mean() + 1


def test_the_model_itself_keeps_its_prior():
    vae = echo()
    other = vae.with_prior(Planted())
    assert isinstance(vae.prior, StandardNormalPrior) and isinstance(other.prior, Planted)
    assert other.encoder is vae.encoder and isinstance(vae.latent_prior(), StandardNormal)
    assert isinstance(other.latent_prior(), Mixture)


def test_compare_ranks_the_law_of_the_data_above_the_prior(fitted):
    splits = read(planted(2400, seed=2), name="planted", config=DataConfig(scaling="none"))
    vae = echo(log_var=2 * math.log(0.05))
    with torch.no_grad():
        vae.likelihood.raw_log_var.fill_(2 * math.log(0.05))
    numbers = samplers.compare(vae, {"gmm": fitted.prior, "again": vae.prior}, splits, samples=50)
    prior, gmm, again = (numbers["samplers"][name] for name in ("prior", "gmm", "again"))
    assert gmm["nll_minus_prior"]["mean"] < -5 * gmm["nll_minus_prior"]["se"] < 0
    assert gmm["nll_minus_prior"]["mean"] == pytest.approx(
        gmm["nll"]["mean"] - prior["nll"]["mean"]
    )
    assert (
        again["nll"] == prior["nll"] and again["nll_minus_prior"]["mean"] == 0
    )  # the same draws for all
    assert again["samples"] == prior["samples"]
    for name, worst in (("coverage", 0.8), ("recall", 0.9)):
        assert prior["samples"][name]["mean"] < worst < gmm["samples"][name]["mean"]
    for samples in (gmm["samples"], numbers["training_rows"]):
        assert (
            abs(samples["c2st"]["mean"] - 0.5)
            < 4 * samples["c2st"]["se"]
            < abs(prior["samples"]["c2st"]["mean"] - 0.5)
        )
        assert (
            abs(samples["coverage"]["mean"] - numbers["perfect_coverage"])
            < 4 * samples["coverage"]["se"]
        )
    assert numbers["decoded"] == "draws" and numbers["compared"] == len(splits.test)


def test_a_mean_of_two_phases_has_no_bias_and_the_error_that_it_states():
    """All ways to choose 3 of 6 rows: their mean is that of b, their variance what the formula says on average."""
    random = np.random.default_rng(0)
    b = random.normal(size=6)
    a = b + 1 + 0.5 * random.normal(size=6)
    ways = [torch.tensor(rows) for rows in itertools.combinations(range(6), 3)]
    found = [Estimate.corrected(torch.tensor(a), torch.tensor(b)[rows], rows) for rows in ways]
    means = np.array([estimate.mean for estimate in found])
    assert means.mean() == pytest.approx(b.mean(), abs=1e-12)
    over_rows = b.var(ddof=1) / 6  # of the rows themselves, which the choice adds to
    stated = np.mean([estimate.se**2 for estimate in found])
    assert stated == pytest.approx(over_rows + means.var(), abs=1e-12)
    whole = Estimate.corrected(torch.tensor(a), torch.tensor(b), torch.arange(6))
    assert whole.mean == pytest.approx(b.mean()) and whole.n == 6
    assert whole.se == pytest.approx(stats.sem(b))


def test_some_rows_are_scored_as_they_are_among_all():
    data = read("digits", DataConfig(binarise="dynamic", condition=("label",))).test
    sizes = {"latent_dim": 2, "likelihood": "bernoulli", "hidden": (8,)}
    vae = build_vae(ModelConfig(**sizes), data.schema).double()
    with torch.no_grad():  # draws that are all but one point, so that the rows alone matter
        vae.encoder.output.weight.zero_()
        vae.encoder.output.bias.copy_(torch.tensor([0.3, -0.2, -60.0, -60.0]))
    only = torch.tensor([3, 64, 65, 196])
    whole = score_under(vae, {"prior": vae.prior}, data, samples=3, seed=5)["prior"]
    some = score_under(vae, {"prior": vae.prior}, data, samples=3, only=only, seed=5)["prior"]
    torch.testing.assert_close(
        some.log_likelihood, whole.log_likelihood[only], rtol=1e-4, atol=1e-4
    )


def test_few_rows_with_all_samples_correct_the_nll_of_all(fitted, monkeypatch):
    """x = z + noise: what all samples of all rows give, within the errors, and the words for how it came about."""
    splits = read(planted(6000, seed=2), name="planted", config=DataConfig(scaling="none"))
    vae = echo(log_var=2 * math.log(0.6))
    monkeypatch.setattr(samplers, "_FEW_SAMPLES", 5)
    results = []
    for thorough in (len(splits.test), 300):
        monkeypatch.setattr(samplers, "_THOROUGH", thorough)
        priors = {"prior": vae.prior, "gmm": fitted.prior}
        results.append(samplers._densities(vae, priors, splits.test, 400, 0, False))
    (no_facts, all_of_all), (facts, corrected) = results
    assert no_facts == {} and facts == {"thorough_rows": 300, "samples_of_other_rows": 5}
    for name, key in (("prior", "nll"), ("gmm", "nll_minus_prior"), ("gmm", "nll")):
        ours, theirs = corrected[name][key], all_of_all[name][key]
        only_of_the_choice = (ours["se"] ** 2 - theirs["se"] ** 2) ** 0.5
        assert abs(ours["mean"] - theirs["mean"]) < 4 * only_of_the_choice
        assert ours["n"] == theirs["n"] == len(splits.test)
    assert corrected["gmm"]["ess"]["n"] == 300
    rough = score_under(vae, {"gmm": fitted.prior}, splits.test, samples=5)["gmm"]
    bias = -rough.log_px.mean().item() - all_of_all["gmm"]["nll"]["mean"]
    assert bias > 4 * only_of_the_choice  # so that the correction matters


def test_a_conditional_model_is_told_the_contexts_of_the_test_rows():
    splits = read("digits", DataConfig(condition=("label",)))
    vae = build_vae(
        ModelConfig(latent_dim=2, likelihood="gaussian-shared", hidden=(8,)), splits.schema
    ).double()
    contexts = []
    decode = vae.decode

    def spy(z, context=None):
        contexts.append(context)
        return decode(z, context)

    vae.decode = spy
    fitted = samplers.fit_mixture(vae, splits.train, components=[1, 2])
    assert fitted.facts["rows"] == len(splits.train)
    numbers = samplers.compare(vae, {}, splits, samples=2)
    shares = contexts[-1].mean(0)
    assert (
        torch.equal(shares, splits.test.contexts.double().mean(0)) and numbers["decoded"] == "means"
    )


def test_what_gives_generated_rows_away_is_said_with_its_columns():
    """A table of which a column holds a default in 8 of 10 rows, and a model that is told to give a Gaussian there."""
    random = np.random.default_rng(0)
    rows = random.normal(size=(900, 4))
    rows[:, 2] = np.where(random.random(900) < 0.8, 7.25, 7.25 + rows[:, 2])
    config = DataConfig(cells="mixed", reals=("column 3",), spikes=("column 3=none",))
    splits = read(rows, config=config)
    vae = build_vae(
        ModelConfig(latent_dim=2, likelihood="mixed", hidden=()), splits.schema
    ).double()
    numbers = samplers.compare(vae, {}, splits, samples=2)
    quality = numbers["samplers"]["prior"]
    boosted, nearest = (quality["samples"][name]["mean"] for name in ("c2st_boosted", "c2st"))
    assert boosted > 0.8 > nearest and quality["samples"]["c2st_boosted"]["p_value"] < 1e-6
    assert quality["columns"][0]["column"] == "column 3" and quality["columns"][0]["is_clear"]
    (pile,) = quality["piles"]
    assert (
        pile["value"] == pytest.approx(7.25, abs=1e-6)
        and pile["generated"] == 0
        and 0.7 < pile["real"] < 0.9
    )
    told_apart, piled = numbers["warnings"]
    assert (
        "from test rows" in told_apart and "column 3" in told_apart and "column 3 = 7.25" in piled
    )
    assert (
        abs(numbers["training_rows"]["c2st_boosted"]["mean"] - 0.5)
        < 4 * numbers["training_rows"]["c2st_boosted"]["se"]
    )


# --- flows --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def flow():
    torch.set_default_dtype(torch.float64)
    return samplers.fit_flow(
        echo(), dataset_from(planted(2000)), dataset_from(planted(500, seed=1)), rounds=4
    )


def test_a_flow_comes_close_to_the_planted_law(flow):
    z = planted(5000, seed=3)
    excess = (
        truth().log_prob(z).mean() - flow.prior(None).log_prob(z).mean()
    )  # an estimate of KL(truth || flow)
    normal = truth().log_prob(z).mean() - StandardNormal(2).log_prob(z).mean()
    assert -0.01 < excess < 0.2 < normal
    assert flow.facts["valid_nll"] == pytest.approx(-truth().log_prob(z).mean().item(), abs=0.3)
    grid = torch.linspace(-12, 12, 401)
    points = torch.cartesian_prod(grid, grid)
    mass = (
        torch.cat([flow.prior(None).log_prob(part).exp() for part in points.split(40_000)]).sum()
        * 0.06**2
    )
    assert mass.item() == pytest.approx(1, abs=2e-3)


def test_a_flow_is_fitted_the_same_way_again_and_keeps_its_best_round():
    sets = dataset_from(planted(300)), dataset_from(planted(100, seed=1))
    first, second = (
        samplers.fit_flow(echo(), *sets, rounds=1, hidden=(8,), transforms=1) for _ in range(2)
    )
    assert first.facts == second.facts
    for one, other in zip(
        first.prior.state_dict().values(), second.prior.state_dict().values(), strict=True
    ):
        assert torch.equal(one, other)
    held_out = torch.cat([aggregated_posterior(echo(), sets[1], seed=seed) for seed in range(20)])
    assert -first.prior(None).log_prob(held_out).mean().item() == pytest.approx(
        first.facts["valid_nll"]
    )


def test_the_temperature_of_a_flow_is_that_of_its_noise(flow):
    at = tempered(flow.prior(None), 0.5)
    z = drawn(TemperedPrior(flow.prior, 0.5), 4000)
    whole = flow.prior(None)
    noise, log_det = whole.base._mapped((z - whole.loc) / whole.scale)  # back through the map
    log_det = log_det - whole.scale.log().sum()
    assert stats.kstest(2 * noise.flatten().numpy(), "norm").pvalue > 1e-4
    expected = stats.norm(scale=0.5).logpdf(noise.numpy()).sum(1) + log_det.numpy()
    np.testing.assert_allclose(at.log_prob(z).numpy(), expected, atol=1e-8)


# --- files --------------------------------------------------------------------------------------------------------


def model():
    return build_vae(
        ModelConfig(likelihood="bernoulli", latent_dim=2, hidden=(4,)), read("digits").schema
    )


def test_a_sampler_comes_back_with_the_same_bits(fitted, flow, tmp_path):
    for dtype in (torch.float32, torch.float64):
        vae = model().to(dtype)
        rows = samplers.fit_posteriors(echo(), dataset_from(planted(40)))
        for sampler in (fitted, flow, rows):
            one = Sampler(
                sampler.kind, samplers.like_model(vae, copy.deepcopy(sampler.prior)), sampler.facts
            )
            path = tmp_path / "sampler.safetensors"
            save_sampler(one, vae, path)
            again = load_sampler(path, vae)
            assert (again.kind, again.facts) == (one.kind, one.facts)
            z = drawn(one.prior, 100, seed=5)
            assert torch.equal(z, drawn(again.prior, 100, seed=5)) and z.dtype == dtype
            assert torch.equal(one.prior(None).log_prob(z), again.prior(None).log_prob(z))
            content = path.read_bytes()
            save_sampler(again, vae, path)
            assert path.read_bytes() == content


def test_damaged_and_foreign_files_are_refused(fitted, tmp_path):
    vae, path = model().double(), tmp_path / "sampler.safetensors"
    save_sampler(fitted, vae, path)
    content = path.read_bytes()
    for position in (0, 9, 200, len(content) // 2, len(content) - 1):
        changed = bytearray(content)
        changed[position] ^= 1
        path.write_bytes(changed)
        with pytest.raises(ValueError, match=r"sampler\.safetensors"):
            load_sampler(path, vae)
    path.write_bytes(content[:-1])
    with pytest.raises(ValueError, match="must be a whole safetensors file"):
        load_sampler(path, vae)
    path.write_bytes(content)
    with torch.no_grad():
        vae.decoder.output.bias[0] += 1e-9
    with pytest.raises(ValueError, match="must be a sampler fitted to this model"):
        load_sampler(path, vae)
    with pytest.raises(ValueError, match="must hold the weights that its configuration describes"):
        model_file.load_vae(path)
    model_file.save(vae, path)
    with pytest.raises(ValueError, match="must be a sampler fitted to this model"):
        load_sampler(path, vae)
    with pytest.raises(FileNotFoundError):
        load_sampler(tmp_path / "none.safetensors", vae)
