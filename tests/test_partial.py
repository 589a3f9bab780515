"""Partial designs: some values are fixed and the others drawn together."""

import csv
import math

import numpy as np
import pytest
import torch
from models import laws_table, model_of
from scipy import stats

from variform import VAE, DataConfig, Model, ModelConfig, TrainConfig, build_vae, read
from variform.config.run import EvaluationConfig, RunConfig
from variform.data.reading import dataset_from, rows_like
from variform.distributions import bounded, compound, counts, gaussian, ordered, pixels
from variform.evaluation.partial import complete, score_given
from variform.faces import cli
from variform.model.features import FilledGaps
from variform.model.likelihoods import GaussianLikelihood
from variform.model.networks import MLP
from variform.model.posteriors import DiagonalPosterior
from variform.model.priors import StandardNormalPrior
from variform.runs.folder import Run
from variform.runs.given import asked_for, contexts_asked, remarks_on, rows_asked
from variform.runs.train import train_run

NAN = np.nan
WEIGHT = np.array([[0.8, 0.0], [0.5, 0.3], [0.3, -0.6], [0.0, 0.7], [-0.5, 0.5]], np.float32)
STD = 0.3
COVARIANCE = (WEIGHT @ WEIGHT.T + STD**2 * np.eye(5)).astype(float)
FREE = ([4], [0, 1], [2, 3, 4], [0, 3], [1, 2, 3, 4], [0, 1, 2, 3, 4])


def linear_vae(*, features=None):
    """x = W z + noise, under an encoder that answers the prior whatever it sees: p(x) = N(0, W W' + noise)."""
    encoder, decoder = MLP((5,), (2, 2), hidden=()), MLP((2,), (5,), hidden=())
    with torch.no_grad():
        decoder.output.weight.copy_(torch.from_numpy(WEIGHT))
        decoder.output.bias.zero_()
        encoder.output.weight.zero_()
        encoder.output.bias.zero_()
    vae = VAE(
        encoder,
        decoder,
        posterior=DiagonalPosterior(2, std="exp"),
        prior=StandardNormalPrior(2),
        likelihood=GaussianLikelihood((5,), variance="fixed", fixed_std=STD),
        features=features,
    )
    vae.schema = dataset_from(torch.randn(60, 5)).schema
    return vae


def conditional(values):
    """Mean and covariance of what is NaN given the rest, in closed form."""
    gone, seen = np.isnan(values), ~np.isnan(values)
    across = COVARIANCE[np.ix_(gone, seen)]
    gain = across @ np.linalg.inv(COVARIANCE[np.ix_(seen, seen)])
    return gain @ values[seen], COVARIANCE[np.ix_(gone, gone)] - gain @ across.T


def log_density(values, seen):
    if not seen.any():
        return 0.0
    return stats.multivariate_normal(cov=COVARIANCE[np.ix_(seen, seen)]).logpdf(values[seen])


@pytest.fixture(scope="module")
def rows():
    random = np.random.default_rng(0)
    whole = random.multivariate_normal(np.zeros(5), COVARIANCE, 6).astype(np.float32)
    part = whole.copy()
    for row, free in enumerate(FREE):
        part[row, free] = NAN
    return whole, part


def as_data(vae, values):
    return rows_like(values, vae.schema.with_gaps())


# --- a linear-Gaussian model, whose every conditional law is known ------------------------------------------------


@pytest.mark.parametrize("features", [None, FilledGaps((5,))])
def test_draws_are_of_the_conditional_law_of_a_linear_gaussian_model(rows, features):
    """Mean, joint covariance and mass of 90 % intervals against the closed form, log p(a) against SciPy."""
    _, part = rows
    vae = linear_vae(features=features)
    found = complete(vae, as_data(vae, part), count=50_000, samples=100_000)
    for row, values in enumerate(part):
        seen = ~np.isnan(values)
        draws = found.draws[row].astype(float)
        assert (found.draws[row][:, seen] == values[seen]).all()
        mean, covariance = conditional(values.astype(float))
        free = draws[:, ~seen]
        np.testing.assert_allclose(free.mean(0), mean, rtol=0, atol=1e-2)
        np.testing.assert_allclose(np.cov(free.T), covariance, rtol=0, atol=1.5e-2)
        low, high = np.quantile(free, [0.05, 0.95], axis=0)
        law = stats.norm(mean, np.sqrt(np.diag(covariance)))
        np.testing.assert_allclose(law.cdf(high) - law.cdf(low), 0.9, rtol=0, atol=1e-2)
        assert found.log_p[row] == pytest.approx(log_density(values, seen), abs=1e-2)
    assert (found.ess > 30_000).all() and not (found.pareto_k > 0.5).any()
    assert found.remarks() == []


def test_means_alone_would_not_have_the_covariance(rows):
    """With the noise of p(x|z) left out the draws vary by W Cov(z|a) W', in closed form."""
    _, part = rows
    vae = linear_vae()
    means = complete(vae, as_data(vae, part[:3]), count=20_000, samples=20_000, draw=False).draws[2]
    seen = WEIGHT[:2].astype(float)
    of_z = np.linalg.inv(np.eye(2) + seen.T @ seen / STD**2)
    expected = WEIGHT[2:] @ of_z @ WEIGHT[2:].T
    np.testing.assert_allclose(np.cov(means[:, 2:].T), expected, rtol=0, atol=1e-2)


def test_log_density_of_the_rest_given_a_part_is_the_closed_form(rows):
    whole, part = rows
    vae = linear_vae()
    found = score_given(vae, as_data(vae, whole), ~np.isnan(part), samples=50_000)
    for row, values in enumerate(whole):
        seen = ~np.isnan(part[row])
        exact = log_density(values, np.ones(5, bool)) - log_density(values, seen)
        assert found.log_p[row] == pytest.approx(exact, abs=1e-2)


def test_ninety_percent_intervals_hold_ninety_percent_of_held_out_values():
    """1,000 new rows of the law, two values free: the share inside, in three standard errors of a binomial."""
    random = np.random.default_rng(1)
    whole = random.multivariate_normal(np.zeros(5), COVARIANCE, 1000).astype(np.float32)
    part = whole.copy()
    part[:, 3:] = NAN
    vae = linear_vae()
    draws = complete(vae, as_data(vae, part), count=400, samples=400, refine=20).draws
    low, high = np.quantile(draws[:, :, 3:], [0.05, 0.95], axis=1)
    inside = (low <= whole[:, 3:]) & (whole[:, 3:] <= high)
    assert inside.mean(0) == pytest.approx(0.9, abs=3 * math.sqrt(0.09 / 1000))


def test_a_range_truncates_and_the_rest_goes_with_it():
    """Against rows of the exact law, of which those in the range are kept: 500,000 draws, one column fixed."""
    random = np.random.default_rng(2)
    values = np.full(5, NAN, np.float32)
    values[2] = 0.4
    vae = linear_vae()
    between = {"column 1": (0.2, 0.5), "column 4": (-0.3, 9.0)}
    found = complete(vae, as_data(vae, values[None]), between=between, count=50_000, samples=50_000)
    mean, covariance = conditional(values.astype(float))
    exact = np.insert(random.multivariate_normal(mean, covariance, 500_000), 2, 0.4, axis=1)
    is_in = (exact[:, 0] >= 0.2) & (exact[:, 0] <= 0.5) & (exact[:, 3] >= -0.3)
    exact = exact[is_in]
    draws = found.draws[0]
    assert (draws[:, 0] >= np.float32(0.2)).all() and (draws[:, 0] <= np.float32(0.5)).all()
    assert (draws[:, 3] >= np.float32(-0.3)).all() and (draws[:, 2] == values[2]).all()
    np.testing.assert_allclose(draws.mean(0), exact.mean(0), rtol=0, atol=1e-2)
    np.testing.assert_allclose(np.cov(draws.T), np.cov(exact.T), rtol=0, atol=1e-2)
    own = stats.ks_1samp(
        draws[::50, 0], lambda x: np.searchsorted(np.sort(exact[:, 0]), x) / len(exact)
    )
    assert own.pvalue > 1e-3
    log_p = log_density(values, ~np.isnan(values)) + math.log(is_in.mean())
    assert found.log_p[0] == pytest.approx(log_p, abs=1e-2)


def test_a_poor_proposal_says_so():
    """Without steps, an encoder that answers surely and far off: a handful of samples weigh."""
    vae = linear_vae()
    with torch.no_grad():
        vae.encoder.output.bias.copy_(torch.tensor([9.0, 9.0, -12.0, -12.0]))
    part = np.array([[0.8, 0.5, 0.3, NAN, NAN]], np.float32)
    found = complete(vae, as_data(vae, part), count=5, samples=200, refine=0)
    assert found.ess[0] < 50
    assert "Draws of 1 of 1 rows are not to be trusted" in found.remarks()[0]
    with pytest.warns(UserWarning, match="not to be trusted"):
        Model(vae).complete(part, samples=200, refine=0)


# --- probabilities of ranges against SciPy and sums ---------------------------------------------------------------

LOW, HIGH = torch.tensor([0.5, 2.0]), torch.tensor([1.5, 7.0])
LOC = torch.tensor([0.3, 1.0])
RANGES = {
    "gaussian": (
        gaussian.DiagonalGaussian(LOC, torch.zeros(2)),
        lambda a, b, m: stats.norm(m).cdf(b) - stats.norm(m).cdf(a),
    ),
    "log-normal": (
        bounded.LogNormal(LOC, torch.zeros(2)),
        lambda a, b, m: np.diff(stats.lognorm(1, scale=math.exp(m)).cdf([a, b]))[0],
    ),
    "logit-normal": (
        bounded.LogitNormal(LOC, torch.zeros(2), torch.zeros(2), torch.full((2,), 10.0)),
        lambda a, b, m: np.diff(stats.norm(m).cdf(np.log([a, b]) - np.log([10 - a, 10 - b])))[0],
    ),
    "poisson": (
        counts.Poisson(LOC),
        lambda a, b, m: np.diff(stats.poisson(math.exp(m)).cdf([math.ceil(a) - 1, b]))[0],
    ),
    "negative-binomial": (
        counts.NegativeBinomial(LOC, torch.zeros(2)),
        lambda a, b, m: np.diff(stats.nbinom(1, 1 / (1 + math.exp(m))).cdf([math.ceil(a) - 1, b]))[
            0
        ],
    ),
    "ordinal": (
        ordered.Ordinal(LOC, torch.tensor([[-1.0], [0.0], [2.0]]).expand(3, 2)),
        lambda a, b, m: {1: stats.logistic(m).cdf(0) - stats.logistic(m).cdf(-1)}.get(
            math.floor(b), 1 - stats.logistic(m).cdf(0)
        ),
    ),
    "laplace": (
        compound.Independent(torch.distributions.Laplace(LOC, 1.0, validate_args=False)),
        lambda a, b, m: np.diff(stats.laplace(m).cdf([a, b]))[0],
    ),
    "spiked": (
        compound.Spiked(
            gaussian.DiagonalGaussian(LOC, torch.zeros(2)),
            torch.zeros(1, 2),
            torch.tensor([[1.0, 9.0]]),
            torch.full((1, 2), 1e-6),
        ),
        lambda a, b, m: 0.5 * (stats.norm(m).cdf(b) - stats.norm(m).cdf(a)) + 0.5 * (a <= 1 <= b),
    ),
}


@pytest.mark.parametrize("name", RANGES)
def test_the_probability_of_a_range_is_scipys(name):
    law, exact = RANGES[name]
    found = law.log_within(LOW, HIGH).exp()
    expected = [
        exact(*ends) for ends in zip(LOW.tolist(), HIGH.tolist(), LOC.tolist(), strict=True)
    ]
    np.testing.assert_allclose(found, expected, rtol=2e-5)
    nothing = torch.tensor([0.5, NAN])
    assert law.log_within(nothing, nothing + 1)[1] == 0


@pytest.mark.parametrize("name", RANGES)
def test_draws_within_a_range_have_the_laws_shares_there(name):
    """Against the law's own draws, of which those in the range are kept: Kolmogorov and Smirnov."""
    law, _ = RANGES[name]
    torch.manual_seed(0)
    draws = compound.Within(law, LOW, HIGH).sample((2000,))
    own = law.sample((20_000,))
    for column in range(2):
        low, high = LOW[column], HIGH[column]
        kept = own[:, column][(own[:, column] >= low) & (own[:, column] <= high)]
        rounded = (part.double().numpy().round(5) for part in (draws[:, column], kept))
        assert stats.ks_2samp(*rounded).pvalue > 1e-3


def test_far_tails_keep_their_digits_and_gradients():
    loc = torch.zeros(1, requires_grad=True)
    law = gaussian.DiagonalGaussian(loc, torch.zeros(1))
    found = law.log_within(torch.tensor([20.0]), torch.tensor([21.0]))
    assert found.item() == pytest.approx(stats.norm.logsf(20), rel=1e-5)
    found.sum().backward()
    assert loc.grad.item() == pytest.approx(20.05, rel=1e-3)  # the hazard of N(0, 1) at 20


def test_a_law_without_probabilities_of_ranges_refuses_them():
    with pytest.raises(ValueError, match=r"ContinuousBernoulli does not\. Give a value"):
        pixels.ContinuousBernoulli(torch.zeros(1)).log_within(torch.zeros(1), torch.ones(1))


# --- mixed tables: kinds, rules, categories -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    splits = read(
        laws_table(tmp_path_factory.mktemp("laws")),
        DataConfig(cells="mixed", ordinals=("size=S<M<L",)),
    )
    return model_of("laws", splits).float(), splits


def test_fixed_cells_of_a_mixed_table_stay_and_the_others_keep_kinds_and_rules(mixed):
    vae, splits = mixed
    schema = splits.schema
    raw = splits.test.gather(torch.arange(20)).double()
    part = raw.clone()
    part[torch.rand(part.shape, generator=torch.Generator().manual_seed(0)) < 0.6] = NAN
    for rule in schema.rules:  # a column is said only where its flag is
        part[:, rule.column][part[:, rule.flag].isnan()] = NAN
    draws = torch.from_numpy(complete(vae, as_data(vae, part.numpy()), count=30, samples=300).draws)
    known = ~part.isnan()
    for draw in draws.unbind(1):
        assert torch.equal(draw[known], part[known])
        assert torch.equal(schema.tidy(draw)[~known].nan_to_num(), draw[~known].nan_to_num())
        for rule in schema.rules:
            silent = rule.is_inactive(draw) & ~known[:, rule.column]
            value = NAN if rule.value is None else rule.value
            np.testing.assert_array_equal(draw[silent, rule.column], value)


def test_a_fixed_category_is_weighed_as_bayes_says(mixed):
    """p(b | a): the shares of free categories among draws, against those of 400,000 rows of the model that fit."""
    vae, splits = mixed
    schema = splits.schema
    fixed = schema.columns.index("size")
    part = np.full((1, len(schema.columns)), NAN)
    part[0, fixed] = 2
    draws = complete(vae, as_data(vae, part), count=20_000, samples=20_000).draws[0]
    torch.manual_seed(0)
    whole = schema.tidy(schema.restore(vae.sample(400_000)))
    kept = whole[whole[:, fixed] == 2].numpy()
    for column, kind in enumerate(schema.kinds):
        if kind in ("category", "binary", "ordinal"):
            for value in np.unique(kept[:, column]):
                shares = [(rows[:, column] == value).mean() for rows in (draws, kept)]
                assert shares[0] == pytest.approx(shares[1], abs=0.015)


def test_a_column_that_is_said_turns_its_flag_on(mixed):
    vae, splits = mixed
    schema = splits.schema
    rule = schema.rules[0]
    part = np.full((1, len(schema.columns)), NAN)
    own = splits.train.gather(torch.arange(len(splits.train)))
    active = own[~rule.is_inactive(own), rule.column]
    part[0, rule.column] = active[active != (rule.value or 0)][0]
    draws = complete(vae, as_data(vae, part), count=50, samples=200).draws[0]
    assert np.isin(draws[:, rule.flag], rule.active).all()


# --- images, and Python's door ------------------------------------------------------------------------------------


def test_a_region_of_an_image_is_drawn_and_the_rest_stays():
    digits = read("digits")
    vae = build_vae(ModelConfig(latent_dim=2, hidden=(8,), likelihood="bernoulli"), digits.schema)
    x = digits.test.raw[:2].numpy().astype(float)
    x[:, :, 3:6, 2:5] = NAN
    found = Model(vae).complete(x, count=3, samples=100, refine=5)
    known = ~np.isnan(x)
    assert found.draws.dtype == np.float64 and found.draws.shape == (2, 3, 1, 8, 8)
    assert all((found.draws[row][:, known[row]] == x[row][known[row]]).all() for row in range(2))
    assert np.isfinite(found.draws).all()


def test_what_lies_outside_the_data_is_warned_of():
    model = Model(linear_vae())
    with pytest.warns(UserWarning, match=r"column 2 = 5 lies outside the data: they go from"):
        model.complete(np.array([[NAN, 5.0, NAN, NAN, NAN]]))


@pytest.mark.parametrize(
    ("between", "message"),
    [
        ({"mass": (1, 2)}, "must be of a column"),
        ({"column 1": (2, 1)}, "from its low to its high end; got 2 to 1"),
    ],
)
def test_impossible_ranges_are_refused(between, message):
    vae = linear_vae()
    with pytest.raises(ValueError, match=message):
        complete(vae, as_data(vae, np.full((1, 5), NAN)), between=between)


# --- the command line ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A table whose mass follows its length, and a model of it."""
    folder = tmp_path_factory.mktemp("run")
    random = np.random.default_rng(0)
    length = random.uniform(1, 5, 400)
    steel = random.random(400) < 0.5
    mass = length * np.where(steel, 3, 1) * random.lognormal(0, 0.05, 400)
    lines = ["material,length [m],mass [kg]"]
    lines += [
        f"{'Steel' if heavy else 'Wood'},{a:.4f},{b:.4f}"
        for heavy, a, b in zip(steel, length, mass, strict=True)
    ]
    source = folder / "beams.csv"
    source.write_text("\n".join(lines) + "\n", encoding="utf-8")
    config = RunConfig(
        source=str(source),
        model=ModelConfig(latent_dim=2, hidden=(32,), likelihood="mixed"),
        train=TrainConfig(epochs=40, learning_rate=3e-3),
        evaluation=EvaluationConfig(nll_samples=20),
    )
    train_run(config, folder / "run", pictures=False)
    return folder


def table(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_command_line_draws_partial_rows(run, tmp_path, capsys):
    part = tmp_path / "partial.csv"
    part.write_text("material,length [m],mass [kg]\nSteel,2.50,\n,,3.10\n", encoding="utf-8")
    out = tmp_path / "out.csv"
    assert cli.run(["impute", str(run / "run"), str(part), "--draws", "40", "--out", str(out)]) == 0
    rows = table(out)
    assert [row["draw"] for row in rows] == [str(number) for number in range(1, 41)] * 2
    first, second = rows[:40], rows[40:]
    assert {(row["material"], row["length [m]"]) for row in first} == {("Steel", "2.50")}
    assert len({row["mass [kg]"] for row in first}) == 40
    assert {row["mass [kg]"] for row in second} == {"3.10"}
    steel, wood = (
        np.mean([float(row["length [m]"]) for row in second if row["material"] == material])
        for material in ("Steel", "Wood")
    )
    assert (
        steel + 1 < wood
    )  # what is free goes together: 3.1 kg are one metre of steel or three of wood
    assert cli.run(["impute", str(run / "run"), "--draws", "3"]) == 2
    assert "--draws needs data with gaps" in capsys.readouterr().err


def test_generate_takes_any_column_and_ranges(run, tmp_path, capsys):
    out = tmp_path / "out.csv"
    given = ["--given", "material=Wood", "--given", "mass [kg]=2..3"]
    command = ["generate", str(run / "run"), "--count", "30", "--draw", "--out", str(out)]
    assert cli.run([*command, *given]) == 0
    rows = table(out)
    assert {row["material"] for row in rows} == {"Wood"}
    assert all(2 <= float(row["mass [kg]"]) <= 3 for row in rows)
    assert 2 < np.mean([float(row["length [m]"]) for row in rows]) < 3
    assert "Warning" not in capsys.readouterr().out
    out.unlink()
    assert cli.run([*command, "--given", "length [m]=7", "--given", "mass [kg]=..9"]) == 0
    said = capsys.readouterr().out
    assert "length [m] = 7 lies outside the data: the training rows go from 1" in said
    assert "training rows, with" in said


@pytest.fixture
def conditional_run(run):
    """A model of length and width under mass: length is mass, in standard deviations of both, with noise of .1."""
    source = run / "plates.csv"
    random = np.random.default_rng(0)
    mass = random.uniform(1, 9, 300)
    rows = np.column_stack([mass, random.normal(5, 1, 300), mass])
    lines = ["length,width,mass [kg]", *(",".join(f"{value:.5f}" for value in row) for row in rows)]
    source.write_text("\n".join(lines) + "\n", encoding="utf-8")
    config = RunConfig(
        source=str(source),
        data=DataConfig(condition=("mass [kg]",)),
        model=ModelConfig(latent_dim=1, hidden=(), likelihood="gaussian-shared"),
    )
    splits = read(str(source), config.data)
    vae = build_vae(config.model, splits.schema)
    with torch.no_grad():
        vae.decoder.output.weight.copy_(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
        vae.decoder.output.bias.zero_()
        vae.likelihood.raw_log_var.fill_(2 * math.log(0.1))
    return Run(run / "nowhere", config, vae)


def test_ranges_of_conditions_are_those_of_training_rows(conditional_run):
    schema = conditional_run.vae.schema
    asked = asked_for(schema, ["mass [kg]=4..6"])
    contexts = contexts_asked(conditional_run, asked, 500)
    masses = contexts[:, 0].double() * schema.conditions[0].scale + schema.conditions[0].shift
    train = conditional_run.data().train.contexts
    assert 4 <= masses.min() < 4.2 and 5.8 < masses.max() <= 6
    assert np.isin(contexts.numpy(), train.numpy()).all()
    assert remarks_on(conditional_run, asked) == []
    nearly = contexts_asked(conditional_run, asked_for(schema, ["mass [kg]=8.97..30"]), 500)
    assert len(nearly.unique()) == 500  # not copies of the one or two rows that lie there
    outside = asked_for(schema, ["mass [kg]=20..30"])
    contexts = contexts_asked(conditional_run, outside, 500)
    masses = contexts[:, 0].double() * schema.conditions[0].scale + schema.conditions[0].shift
    assert stats.kstest(masses, stats.uniform(20, 10).cdf).pvalue > 1e-3
    (sentence,) = remarks_on(conditional_run, outside)
    assert sentence.startswith("mass [kg] = 20..30 reaches outside the data: the training rows go")
    assert "are 0 of" in sentence


def test_conditions_that_are_not_asked_for_are_weighed_by_what_is_fixed(conditional_run):
    """p(c|a) is proportional to p(c) p(a|c): of the training rows' masses those come that the length speaks for."""
    run, schema = conditional_run, conditional_run.vae.schema
    asked = asked_for(schema, ["length=6"])
    values, points, contexts, remarks = rows_asked(run, run.vae, asked, 200, draw=True, seed=0)
    assert (values[:, 0] == 6).all() and points.shape == (200, 1) and remarks == []
    length = (6 - schema.shift[0]) / schema.scale[0]
    distance = (contexts[:, 0] - length).square().mean().sqrt()
    assert distance < 0.2  # 0.1 in the limit of many rows, and 1 if what is fixed had no say
    assert values[:, 1].std() == pytest.approx(schema.scale[1] * math.sqrt(1.01), rel=0.2)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("weight=3", "--given must name one of"),
        ("material=Glass", "'material' must be one of"),
        ("mass [kg]=heavy", "'mass [kg]' must be a number, or a range of two as 2..3"),
        ("mass [kg]=3..2", "must hold values from its low to its high end"),
        ("material=Steel..Wood", "a range needs a column of numbers or levels"),
        ("mass [kg]=-3", "must be a value that the column can have"),
        ("mass", "must be of the form name=value"),
    ],
)
def test_what_a_column_cannot_have_is_refused(run, given, message, capsys):
    assert cli.run(["generate", str(run / "run"), "--given", given]) == 2
    assert message in capsys.readouterr().err
