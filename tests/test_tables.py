"""Mixed tables and gaps: densities of what is observed, kinds of columns, imputation, files that keep their types."""

import csv
import json
from dataclasses import replace

import models
import numpy as np
import pytest
import torch
from scipy import special, stats
from sklearn.datasets import load_digits, load_wine

from variform import (
    VAE,
    DataConfig,
    ModelConfig,
    TrainConfig,
    build_objective,
    build_vae,
    impute,
    read,
)
from variform.data.dataset import Dataset
from variform.data.reading import read_rows
from variform.data.schema import Schema
from variform.distributions import Categorical, DiagonalGaussian, Mixed, Observed
from variform.evaluation.baselines import trivial
from variform.evaluation.imputation import compare, judge
from variform.evaluation.log_likelihood import score
from variform.evaluation.partial import drawn
from variform.evaluation.samplers import compare as compare_samplers
from variform.export.model_file import load_vae
from variform.faces import cli
from variform.model.features import FilledGaps, TableFeatures
from variform.model.likelihoods import (
    BernoulliLikelihood,
    CategoricalLikelihood,
    ContinuousBernoulliLikelihood,
    GaussianLikelihood,
    LogisticLikelihood,
    MixedLikelihood,
    NegativeBinomialLikelihood,
    PoissonLikelihood,
)
from variform.model.networks import MLP
from variform.model.posteriors import DiagonalPosterior
from variform.model.priors import StandardNormalPrior

NAN = float("nan")
KINDS = ("category", "real", "count", "binary", "real", "category")
LEVELS = (3, 0, 0, 0, 0, 2)
FAMILIES = {
    "bernoulli": lambda: BernoulliLikelihood((4,)),
    "continuous-bernoulli": lambda: ContinuousBernoulliLikelihood((4,)),
    "gaussian": lambda: GaussianLikelihood((4,), variance="learned"),
    "gaussian-shared": lambda: GaussianLikelihood((4,), variance="shared"),
    "gaussian-optimal": lambda: GaussianLikelihood((4,), variance="optimal"),
    "logistic": lambda: LogisticLikelihood((4,), levels=2),
    "categorical": lambda: CategoricalLikelihood((4,), levels=2),
    "poisson": lambda: PoissonLikelihood((4,)),
    "negative-binomial": lambda: NegativeBinomialLikelihood((4,)),
    "mixed": lambda: MixedLikelihood(("binary", "category", "real", "count"), levels=(0, 2, 0, 0)),
}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


# --- the law ------------------------------------------------------------------------------------------------------


def mixed_law():
    likelihood = MixedLikelihood(KINDS, levels=LEVELS, min_std=0.2)
    gaussian, counts = likelihood.families[0], likelihood.families[2]
    with torch.no_grad():
        gaussian.raw_log_var.copy_(torch.tensor([-0.3, 0.8]))
        counts.log_dispersion.fill_(0.7)
    params = torch.randn(7, *likelihood.params_shape)
    return likelihood, params


def test_a_mixed_law_is_scipys_column_by_column():
    likelihood, params = mixed_law()
    assert likelihood.params_shape == (2 + 1 + 1 + 3 + 2,)
    x = torch.stack([torch.tensor(column) for column in (
        [0.0, 1, 2, 0, 1, 2, 1], [0.3, -2, 1.5, 0, 0, 4, 1], [0.0, 3, 12, 1, 0, 5, 2], [0.0, 1, 1, 0, 1, 0, 1],
        [-1.0, 2, 0.1, 0, 3, 1, 1], [1.0, 0, 0, 1, 1, 0, 0],
    )], 1)  # fmt: skip
    law, p = likelihood(params), params.numpy()
    variance = np.exp([-0.3, 0.8]) + 0.2**2
    r, mean = np.exp(0.7), np.exp(p[:, 3])
    expected = np.stack([
        np.log(special.softmax(p[:, 4:7], 1)[range(7), x[:, 0].long()]),
        stats.norm(p[:, 0], np.sqrt(variance[0])).logpdf(x[:, 1]),
        stats.nbinom(r, r / (r + mean)).logpmf(x[:, 2]),
        stats.bernoulli(special.expit(p[:, 2])).logpmf(x[:, 3].numpy()),
        stats.norm(p[:, 1], np.sqrt(variance[1])).logpdf(x[:, 4]),
        np.log(special.softmax(p[:, 7:], 1)[range(7), x[:, 5].long()]),
    ], 1)  # fmt: skip
    np.testing.assert_allclose(law.log_prob_per_entry(x).detach(), expected, rtol=1e-9)
    gaps = torch.rand(x.shape) < 0.4
    observed = np.where(gaps, 0, expected).sum(1)
    np.testing.assert_allclose(
        law.log_prob(torch.where(gaps, NAN, x)).detach(), observed, rtol=1e-9
    )
    assert law.log_prob(torch.full((7, 6), NAN)).tolist() == [0.0] * 7


def test_a_mixed_law_has_the_means_and_the_types_of_its_columns():
    """20,000 draws: means within 5 standard errors, a false alarm in 10^5 runs; types exactly."""
    likelihood, params = mixed_law()
    law = likelihood(params)
    draws = law.sample((20_000,))
    for column, kind in enumerate(KINDS):
        values = draws[..., column]
        if kind == "category":
            assert not set(values.unique().tolist()) - set(range(LEVELS[column]))
            often = (
                torch.stack([(values == code).double().mean(0) for code in range(LEVELS[column])])
                .max(0)
                .values
            )
            share = (
                (values == law.mean[:, column]).double().mean(0)
            )  # the mean of a category is its mode
            assert bool((share > often - 0.02).all())
        else:
            error = (values.mean(0) - law.mean[:, column]) / (
                law.variance[:, column] / 20_000
            ).sqrt()
            assert error.abs().max() < 5
            spread = values.var(0) / law.variance[:, column]
            assert spread.min() > 0.8 and spread.max() < 1.2
        if kind in ("count", "binary"):
            assert torch.equal(values, values.round()) and values.min() >= 0


@pytest.mark.parametrize("make", FAMILIES.values(), ids=FAMILIES)
def test_a_missing_value_adds_nothing_and_passes_no_gradient(make):
    likelihood = make()
    params = torch.randn(5, *likelihood.params_shape, requires_grad=True)
    x = torch.tensor([[0.0, 1, 1, 0], [1, 0, 1, 1], [1, 1, 0, 0], [0, 0, 0, 1], [1, 0, 1, 0]])
    gaps = torch.zeros(5, 4, dtype=torch.bool)
    gaps[0, 1] = gaps[3, 0] = gaps[3, 2] = True
    gaps[4] = True
    log_density = Observed(likelihood(params)).log_prob(torch.where(gaps, NAN, x))
    if not isinstance(likelihood, GaussianLikelihood) or likelihood.variance != "optimal":
        entries = likelihood(params).log_prob_per_entry(x)
        torch.testing.assert_close(log_density, entries.masked_fill(gaps, 0).sum(1))
    assert log_density[4].item() == 0
    gradients = torch.autograd.grad(log_density.sum(), [params, *likelihood.parameters()])
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert not gradients[0][4].any() and gradients[0][1].any()
    other = Observed(likelihood(params)).log_prob(torch.where(gaps, NAN, x))
    torch.testing.assert_close(log_density, other)


def test_the_optimal_variance_does_not_count_what_is_missing():
    likelihood = GaussianLikelihood((3,), variance="optimal")
    x = torch.tensor([[1.0, NAN, 2.0], [NAN, NAN, 0.0]])
    log_density = Observed(likelihood(torch.zeros(2, 3))).log_prob(x).sum()
    variance = (1 + 4 + 0) / 3
    assert log_density.item() == pytest.approx(stats.norm(0, variance**0.5).logpdf([1, 2, 0]).sum())


def test_features_say_what_is_there_and_what_is_missing():
    features = TableFeatures(
        ("real", "category", "count"), levels=(0, 3, 0), gaps=(True, True, False)
    )
    features.start_at(torch.tensor([2.0, 1.0, 3.0]), torch.tensor([4.0, 1.0, 16.0]))
    x = torch.tensor([[4.0, 2.0, 3.0], [NAN, NAN, 15.0]])
    count = np.log(16 / 4) / (4 / (1 + 3))
    expected = [[1, 0, 0, 0, 1, 0, 0], [0, count, 0, 0, 0, 1, 1]]
    np.testing.assert_allclose(features(x), expected, atol=1e-12)
    filled = FilledGaps((3,))
    filled.start_at(torch.tensor([7.0, 8.0, 9.0]), torch.ones(3))
    np.testing.assert_allclose(filled(x), [[4, 2, 3], [7, 8, 15]])


# --- reading ------------------------------------------------------------------------------------------------------


def write(path, header, rows, separator=","):
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=separator).writerows([header, *rows] if header else rows)
    return path


def cells(path, separator=","):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.reader(file, delimiter=separator))


COLUMNS = ("mass", "year", "doors", "sold", "colour", "grade")


def made(rows=300, seed=0, gap=0.1):
    """Cells of a table with every kind: real, whole, count, binary, text, and numbers that stand for categories."""
    random = np.random.default_rng(seed)
    table = [
        [f"{random.normal(12, 1):.2f}", str(1990 + random.integers(20)), str(random.poisson(5 * random.gamma(1))),
         str(random.integers(2)), ("red", "white", "rosé, dry")[random.integers(3)], str(random.integers(1, 4))]
        for _ in range(rows)
    ]  # fmt: skip
    holes = random.random((rows, 6)) < gap
    return [
        [
            ("", "NA", "?", "NaN")[number % 4] if hole else cell
            for cell, hole in zip(row, gone, strict=True)
        ]
        for number, (row, gone) in enumerate(zip(table, holes, strict=True))
    ], holes


def test_every_column_gets_its_kind_and_its_gaps(tmp_path):
    rows, holes = made()
    path = write(tmp_path / "cars.csv", COLUMNS, rows)
    splits = read(path, DataConfig(cells="mixed", categories=("grade",)))
    schema = splits.schema
    assert schema.kinds == ("real", "real", "count", "binary", "category", "category")
    assert schema.whole == (False, True, True, True, True, True)
    assert schema.categories == ((), (), (), (), ("red", "rosé, dry", "white"), ("1", "2", "3"))
    assert schema.gaps == (True,) * 6
    back = read_rows(path, schema).raw.numpy()
    assert np.array_equal(np.isnan(back), holes)
    for row, values, gone in zip(rows, back, holes, strict=True):
        for place in np.flatnonzero(~gone):
            names = schema.categories[place]
            assert (
                (names[int(values[place])] == row[place])
                if names
                else values[place] == float(row[place])
            )
    # scaling: real columns alone, by the observed training cells
    raw = splits.train.raw.double()
    for column in (0, 1):
        seen = raw[~raw[:, column].isnan(), column]
        assert schema.shift[column] == pytest.approx(seen.mean().item(), rel=1e-6)
        assert schema.scale[column] == pytest.approx(seen.std(correction=0).item(), rel=1e-6)
    assert schema.shift[2:] == (0.0,) * 4 and schema.scale[2:] == (1.0,) * 4
    mean, variance = splits.train.moments()
    x = splits.train.prepared().double()
    np.testing.assert_allclose(mean, np.nanmean(x, 0), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(variance, np.nanvar(x, 0), rtol=1e-6)
    assert Schema.from_dict(json.loads(json.dumps(schema.to_dict()))) == schema
    assert any("of 1,800 values are missing" in note for note in splits.notes)
    again = read(path, DataConfig(cells="mixed", categories=("grade",)))
    assert again.fingerprint == splits.fingerprint
    real = read(
        path, DataConfig(cells="mixed", categories=("grade",), reals=("doors",), counts=("year",))
    ).schema
    assert real.kinds == ("real", "count", "real", "binary", "category", "category")


def test_semicolons_and_decimal_commas(tmp_path):
    rows = [[f"0,{n}", "ab"[n % 2]] for n in range(10, 90)] + [
        ["", "b"],
        ["2,5", "b"],
        ["0,05", ""],
    ]
    schema = read(
        write(tmp_path / "a.csv", ("mass", "kind"), rows, ";"), DataConfig(cells="mixed")
    ).schema
    assert (
        schema.kinds == ("positive", "category")
        and schema.high[0] == 2.5
        and np.float32(schema.low[0]) == np.float32(0.05)
    )


@pytest.mark.parametrize(
    ("header", "rows", "options", "message"),
    [
        (("a", "b"), [["1.5", ""]] * 50 + [["2.5", "NA"]] * 50, {}, "column 'b' of t.csv is missing in all rows"),
        (("a", "b"), [["1.5", "x"], ["2.5", ""]] * 50, {}, "of t.csv must .*; 'b' is 'x' or empty"),
        (("a", "b"), [["1.5", "3"], ["2.5", ""]] * 50, {}, "of t.csv must .*; 'b' is 3 or empty"),
        (("a", "b"), [["1.5", "3"], ["2.5", "4"]] * 50 + [["1", "heavy"]], {}, "line 102 holds the text 'heavy'"),
        (("a", "b"), [[str(n), f"car {n}"] for n in range(100)], {}, "categories must repeat.*holds 100 different"),
        (("a", "b"), [["1.5", "3"], ["-2", "4"]] * 50, {"counts": ("a",)}, "`counts` must be whole.*'a'.*holds 1.5"),
        (("a", "b"), [["1.5", "3"], ["2", "4"]] * 50, {"counts": ("c",)}, "`counts` must name a column of t.csv"),
        (("a", "b"), [["1", "3"], ["2", "4"]] * 50, {"counts": ("a",), "reals": ("a",)}, "'a' is named twice"),
        (("a", "b"), [["1.5", "3"], ["2", "inf"], ["3", "5"]] * 50, {}, "50 of its values are infinite"),
        (("a", "b"), [[f"1.{n}", str(n % 3)] for n in range(90)], {"binarise": "threshold"}, "`binarise` is for"),
    ],
)  # fmt: skip
def test_a_table_that_cannot_be_learned_is_refused_with_its_place(
    tmp_path, header, rows, options, message
):
    with pytest.raises(ValueError, match=message):
        read(write(tmp_path / "t.csv", header, rows), DataConfig(cells="mixed", **options))


def test_all_columns_with_one_value_are_named_at_once(tmp_path):
    rows = [["1", "x", str(n), "yes" if n % 3 else "", f"{n}.5"] for n in range(60)]
    path = write(tmp_path / "t.csv", ("a", "b", "c", "d", "e"), rows)
    with pytest.raises(ValueError) as error:
        read(path, DataConfig(cells="mixed"))
    assert str(error.value) == (
        "every column of t.csv must hold two values; 'a' is 1, 'b' is 'x' in every row and 'd' is 'yes' or empty, which"
        " is missing. Leave them out with `ignore=['a', 'b', 'd']`, or write a word, such as no, where a cell is empty."
    )
    others = DataConfig(cells="mixed", ignore=("a", "b", "d"))
    assert read(path, others).schema.columns == ("c", "e")


def test_gaps_and_kinds_are_taken_where_they_are_asked_for(tmp_path):
    rows = [[f"1.{n}", f"{n % 7}", "a"] for n in range(10, 60)] + [
        [f"2.{n}", "", "b"] for n in range(10, 60)
    ]
    path = write(tmp_path / "t.csv", ("a", "b", "c"), rows)
    with pytest.raises(ValueError, match=r"column 'c' in line 2 holds the text 'a'.*`label='c'`"):
        read(path, DataConfig(cells="numbers"))
    with pytest.raises(ValueError, match="column 'c' in line 2 holds the text 'a'"):
        read(path, DataConfig(cells="gaps"))
    schema = read(path, DataConfig(label="c", cells="gaps")).schema
    assert schema.gaps == (False, True) and not schema.kinds
    with pytest.raises(
        ValueError, match=r"`counts` is for `likelihood='mixed'`; got another. Leave it out"
    ):
        read(path, DataConfig(label="c", cells="gaps", counts=("a",)))
    whole = torch.randn(100, 2)
    holed = torch.where(torch.rand(100, 2) < 0.2, NAN, whole)
    with pytest.raises(ValueError, match=r"NaN.*use `cells='gaps'` where NaN is a gap"):
        read(holed, DataConfig(cells="numbers"))
    with pytest.raises(ValueError, match="mixed likelihood needs the kinds of columns"):
        build_vae(ModelConfig(likelihood="mixed"), read(whole).schema)
    with pytest.raises(ValueError, match="`likelihood='mixed'` is for tables; digits holds images"):
        read("digits", DataConfig(cells="mixed"))
    cars = read(write(tmp_path / "cars.csv", COLUMNS, made()[0]), DataConfig(cells="mixed"))
    with pytest.raises(
        ValueError, match=r"gaussian needs numbers; column 'colour' of cars.csv holds categories"
    ):
        build_vae(ModelConfig(likelihood="gaussian"), cars.schema)
    with pytest.raises(ValueError, match=r"imputation needs a model whose data may have gaps"):
        impute(
            build_vae(ModelConfig(likelihood="gaussian"), read(whole).schema),
            read(whole).test,
        )


def test_new_rows_must_have_the_known_categories(tmp_path):
    schema = read(
        write(tmp_path / "cars.csv", COLUMNS, made()[0]), DataConfig(cells="mixed")
    ).schema
    row = ["11.5", "1999", "3", "1", "white", "2"]
    rows = read_rows(
        write(tmp_path / "new.csv", COLUMNS, [row, ["", "", "", "", "red", ""]]), schema
    )
    assert rows.raw[0].tolist() == [11.5, 1999, 3, 1, 2, 2] and rows.raw[1, 4] == 0
    for place, cell, message in (
        (4, "blue", "categories of cars.csv, red, rosé, dry, white; bad.csv holds 'blue'"),
        (2, "1.5", "whole numbers from 0 as in cars.csv; bad.csv holds 1.5"),
        (3, "2", "whole numbers from 0 to 1 as in cars.csv; bad.csv holds 2"),
        (0, "heavy", "'mass' of bad.csv must hold numbers, as in .*line 2 holds the text 'heavy'"),
    ):
        bad = [*row[:place], cell, *row[place + 1 :]]
        with pytest.raises(ValueError, match=message):
            read_rows(write(tmp_path / "bad.csv", COLUMNS, [bad]), schema)


def test_binarised_gaps_stay_gaps():
    grey = torch.rand(200, 1, 4, 4)
    grey[torch.rand(grey.shape) < 0.3] = NAN
    for binarise in ("threshold", "dynamic"):
        x = read(grey, config=DataConfig(cells="gaps", binarise=binarise)).train.prepared()
        assert 0.2 < x.isnan().double().mean() < 0.4
        assert set(x[~x.isnan()].tolist()) == {0.0, 1.0}


# --- a law that is known ------------------------------------------------------------------------------------------

SLOPES = {"real": (3.0, 10.0, 1.5), "count": (0.7, 1.0, 4.0), "binary": (1.5, -0.3)}
LOGITS = np.array([[0.0, 0.0], [1.5, 0.5], [-1.0, 1.0]])  # of three categories: slope, offset


def known_rows(rows, seed):
    """A real number, a count, a coin and a category, all of one latent z ~ N(0, 1); a fifth of the cells missing."""
    random = np.random.default_rng(seed)
    z = random.normal(size=rows)
    slope, offset, std = SLOPES["real"]
    real = slope * z + offset + std * random.normal(size=rows)
    slope, offset, r = SLOPES["count"]
    count = random.negative_binomial(r, r / (r + np.exp(slope * z + offset)))
    slope, offset = SLOPES["binary"]
    coin = random.random(rows) < special.expit(slope * z + offset)
    logits = z[:, None] * LOGITS[:, 0] + LOGITS[:, 1]
    category = (logits + random.gumbel(size=logits.shape)).argmax(1)
    table = np.stack([real, count, coin, category], 1)
    return np.where(random.random(table.shape) < 0.2, np.nan, table)


def known_log_px(table):
    """log p of the observed cells by quadrature over z."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    slope, offset, std = SLOPES["real"]
    parts = [stats.norm(slope * nodes + offset, std).logpdf(table[:, [0]])]
    slope, offset, r = SLOPES["count"]
    parts.append(
        stats.nbinom(r, r / (r + np.exp(slope * nodes + offset))).logpmf(
            np.nan_to_num(table[:, [1]])
        )
    )
    slope, offset = SLOPES["binary"]
    parts.append(
        stats.bernoulli(special.expit(slope * nodes + offset)).logpmf(np.nan_to_num(table[:, [2]]))
    )
    logits = nodes[:, None] * LOGITS[:, 0] + LOGITS[:, 1]
    parts.append(special.log_softmax(logits, 1)[:, np.nan_to_num(table[:, 3]).astype(int)].T)
    given = sum(np.where(np.isnan(table[:, [place]]), 0, part) for place, part in enumerate(parts))
    return special.logsumexp(given, axis=1, b=weights / np.sqrt(2 * np.pi))


@pytest.fixture(scope="module")
def known():
    """A model trained on such rows: with a linear decoder the truth is in its family."""
    torch.set_default_dtype(torch.float32)
    options = DataConfig(cells="mixed", categories=("column 4",), counts=("column 2",))
    splits = read(known_rows(5000, 0), config=options)
    model = ModelConfig(latent_dim=1, likelihood="mixed", hidden=(32,), decoder_hidden=())
    vae = build_vae(model, splits.schema, moments=splits.train.moments())
    models.trained(
        vae,
        splits,
        steps=1200,
        batch_size=256,
        learning_rate=1e-2,
        schedule="cosine",
        compile="off",
    )
    return vae, splits


def test_a_trained_model_reaches_the_true_density_of_what_is_observed(known):
    """Mean excess of the NLL over the truth on 4,000 fresh rows: not below 0 by 2 standard errors, nor above 0.03."""
    vae, splits = known
    assert splits.schema.kinds == ("real", "count", "binary", "category")
    table = known_rows(4000, 1)
    rows = Dataset(torch.from_numpy(table).float(), splits.schema)
    excess = known_log_px(table) - score(vae, rows, samples=100).log_px.numpy()
    error = excess.std() / len(excess) ** 0.5
    assert -2 * error < excess.mean() < 0.03


def test_imputation_of_a_known_law_beats_means_and_its_intervals_cover(known):
    vae, splits = known
    fresh = Dataset(torch.from_numpy(known_rows(1500, 2)).float(), splits.schema)
    judged = judge(vae, fresh, splits.train, mask=0.3, samples=300, level=0.8)
    assert (
        judged["rmse"]["mean"] + 0.03 < judged["rmse_of_means"]["mean"]
    )  # of the same cells: the errors move together
    assert judged["accuracy"]["mean"] > judged["accuracy_of_mode"]["mean"]
    real = judged["columns"]["column 1"]["coverage"]
    assert abs(real["mean"] - 0.8) < 3 * real["se"] + 0.01
    count = judged["columns"]["column 2"][
        "coverage"
    ]  # whole numbers: an interval holds at least its level
    assert count["mean"] > 0.8 - 3 * count["se"]
    assert set(judged["columns"]["column 3"]) == {
        "accuracy",
        "accuracy_of_mode",
    }  # 0 or 1: an RMS would mislead


def test_a_model_of_a_table_is_kept_with_its_kinds(known, tmp_path):
    from variform import save

    vae, splits = known
    save(vae, tmp_path / "model.safetensors")
    again = load_vae(tmp_path / "model.safetensors")
    assert again.schema == splits.schema
    x = splits.test.prepared()
    assert torch.equal(again.encode(x).mean, vae.encode(x).mean)
    z = vae.like(torch.zeros(len(x), 1))
    assert torch.equal(again.decode(z).log_prob(x), vae.decode(z).log_prob(x))


# --- imputation ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("refine", [0, 50])
def test_imputation_is_the_conditional_law_of_a_linear_gaussian_model(refine):
    """x = W z + noise: the law of missing given observed values is Gaussian and known; K = 20,000."""
    weight, std = torch.tensor([[2.0, 0.0], [1.0, 0.5], [0.5, -1.0], [0.0, 1.5]]), 0.5
    likelihood = GaussianLikelihood((4,), variance="fixed", fixed_std=std)
    encoder, decoder = MLP((4,), (2, 2), hidden=()), MLP((2,), (4,), hidden=())
    with torch.no_grad():
        decoder.output.weight.copy_(weight)
        decoder.output.bias.zero_()
        encoder.output.weight.zero_()
        encoder.output.bias.zero_()  # q = N(0, I), the prior: right for nothing but a proposal
    parts = {
        "posterior": DiagonalPosterior(2, std="exp"),
        "prior": StandardNormalPrior(2),
        "likelihood": likelihood,
    }
    vae = VAE(encoder, decoder, **parts, features=FilledGaps((4,)))
    x = torch.randn(6, 2) @ weight.T + std * torch.randn(6, 4)
    x[0, 3] = x[1, 0] = x[2, 1] = x[2, 2] = x[3, 0] = x[3, 3] = NAN
    x[4] = NAN
    schema = read(torch.randn(60, 4), config=DataConfig(cells="gaps", scaling="none")).schema
    imputed = impute(vae, Dataset(x, schema), samples=20_000, level=0.9, refine=refine)
    if (
        refine
    ):  # half of the draws are from the exact posterior, but for what a diagonal law cannot say
        assert (imputed.ess > 8_000).all() and (imputed.pareto_k[:4] < 0.7).all()
    covariance = (weight @ weight.T + std**2 * torch.eye(4)).numpy()
    for row, values in enumerate(x.numpy()):
        gone, seen = np.isnan(values), ~np.isnan(values)
        gain = covariance[np.ix_(gone, seen)] @ np.linalg.inv(covariance[np.ix_(seen, seen)])
        mean = gain @ values[seen]
        spread = np.sqrt(
            np.diag(covariance[np.ix_(gone, gone)] - gain @ covariance[np.ix_(seen, gone)])
        )
        assert np.array_equal(imputed.values[row, seen], values[seen])
        np.testing.assert_allclose(imputed.values[row, gone], mean, atol=0.12)
        np.testing.assert_allclose(imputed.low[row, gone], mean - 1.645 * spread, atol=0.25)
        np.testing.assert_allclose(imputed.high[row, gone], mean + 1.645 * spread, atol=0.25)
    assert np.array_equal(imputed.missing, x.isnan().numpy()) and imputed.ess[4] == pytest.approx(
        20_000, rel=1e-6
    )


def test_draws_of_several_laws_have_the_density_of_their_mixture():
    """Against torch.distributions, with parts of unequal size."""
    laws = [
        DiagonalGaussian(torch.zeros(3, 2), torch.zeros(3, 2)),
        DiagonalGaussian(torch.ones(3, 2), -torch.ones(3, 2)),
    ]
    z, log_q = drawn([(laws[0], 4), (laws[1], 3)])
    parts = torch.distributions.Normal(
        torch.tensor([0.0, 1.0]), torch.tensor([0.0, -1.0]).div(2).exp()
    )
    shares = torch.tensor([4 / 7, 3 / 7]).log()
    expected = (parts.log_prob(z[..., None]).sum(-2) + shares).logsumexp(-1)
    assert z.shape == (7, 3, 2)
    torch.testing.assert_close(log_q, expected)


def test_a_refined_posterior_fills_gaps_that_the_encoder_cannot():
    """Two columns that nearly determine a third, under an encoder that answers far off and too surely."""
    likelihood = GaussianLikelihood((3,), variance="fixed", fixed_std=0.05)
    encoder, decoder = MLP((3,), (2, 1), hidden=()), MLP((1,), (3,), hidden=())
    with torch.no_grad():
        decoder.output.weight.fill_(1.0)
        decoder.output.bias.zero_()
        encoder.output.weight.zero_()
        encoder.output.bias.copy_(torch.tensor([1.0, -4.0]))
    parts = {
        "posterior": DiagonalPosterior(1),
        "prior": StandardNormalPrior(1),
        "likelihood": likelihood,
    }
    vae = VAE(encoder, decoder, **parts, features=FilledGaps((3,)))
    whole = torch.randn(100, 1).expand(100, 3) + 0.05 * torch.randn(100, 3)
    x = whole.clone()
    x[:, 2] = NAN
    schema = read(torch.randn(60, 3), config=DataConfig(cells="gaps", scaling="none")).schema
    blind, refined = (
        impute(vae, Dataset(x, schema), samples=200, refine=steps) for steps in (0, 50)
    )
    exact = x[:, :2].sum(1) / (2 + 0.05**2)
    assert np.abs(blind.values[:, 2] - exact.numpy()).mean() > 0.3 and np.median(blind.ess) < 5
    assert (
        np.abs(refined.values[:, 2] - exact.numpy()).max() < 0.05 and refined.ess.mean() > 20
    )  # exact deviation: 0.035


def test_weighted_quantiles_and_certainty_are_those_of_a_planted_law():
    """Two latent halves with known weights; the observed column says which one it is."""

    class Halves(MLP):
        def forward(self, z, context=None):
            del context
            sign = torch.where(
                z[:, :1] > 0, 1.0, -1.0
            )  # column 1: a sure coin; column 2: three categories
            return torch.cat(
                [60 * sign, sign * 0, sign * torch.log(torch.tensor(4.0)), sign * 0], 1
            )

    likelihood = MixedLikelihood(("binary", "category"), levels=(0, 3))
    parts = {
        "posterior": DiagonalPosterior(1, std="exp"),
        "prior": StandardNormalPrior(1),
        "likelihood": likelihood,
    }
    encoder, features = (
        MLP((6,), (2, 1), hidden=()),
        TableFeatures(("binary", "category"), levels=(0, 3), gaps=(1, 1)),
    )
    torch.nn.init.zeros_(encoder.output.weight)
    torch.nn.init.zeros_(encoder.output.bias)
    vae = VAE(encoder, Halves((1,), (4,)), **parts, features=features)
    schema = read(torch.randn(90, 2), config=DataConfig(cells="gaps", scaling="none")).schema
    known = {
        "kinds": ("binary", "category"),
        "categories": ((), ("a", "b", "c")),
        "whole": (True, True),
    }
    schema = replace(schema, low=(0.0, 0.0), high=(1.0, 2.0), **known)
    judged = impute(
        vae, Dataset(torch.tensor([[1.0, NAN], [NAN, 1.0], [NAN, NAN]]), schema), samples=20_000
    )
    assert judged.values[0].tolist() == [1, 1]  # 1 : 4 : 1
    assert judged.certainty[0, 1] == pytest.approx(4 / 6, abs=0.02) and judged.certainty[0, 0] == 1
    # p(coin = 1 | category 1) = (4/6) / (4/6 + (1/4) / (2 + 1/4))
    assert judged.certainty[1, 0] == pytest.approx(6 / 7, abs=0.02) and judged.values[1, 0] == 1
    assert judged.certainty[2, 0] == pytest.approx(0.5, abs=0.02)


def test_compare_counts_cells_and_treats_rows_as_independent():
    train = read(torch.randn(100, 2) * 2 + 3, config=DataConfig(cells="gaps")).train
    truth = np.array([[1.0, 4.0], [3.0, 4.0], [1.0, 8.0]])
    taken = np.array([[True, True], [True, False], [False, True]])

    class Found:
        values = truth + np.array([[1, -2], [0, 9], [9, 2]])
        low, high, level = (
            truth - np.array([[0, 0], [1, 0], [0, -1]]),
            truth + np.array([[1, 1], [1, 1], [1, 3]]),
            0.9,
        )

    compared = compare(Found, truth, taken, train)
    assert compared["cells"] == 4
    spread = train.raw.std(0, correction=0).numpy()
    errors = np.array([1, -2, 0, 2]) / spread[[0, 1, 0, 1]]
    assert compared["rmse"]["mean"] == pytest.approx(np.sqrt((errors**2).mean()), rel=1e-5)
    assert compared["coverage"]["mean"] == 0.75 and compared["coverage"]["n"] == 3
    sums, counts = np.array([2.0, 1, 0]), np.array([2, 1, 1])
    expected = np.sqrt(((sums - 0.75 * counts) ** 2).sum() * 3 / 2) / 4
    assert compared["coverage"]["se"] == pytest.approx(expected)


def test_compare_counts_what_is_right_of_columns_of_zeros_and_ones():
    rows = (
        torch.tensor([[0.3, 1.0], [0.7, 1.0], [0.2, 0.0], [0.9, 1.0]]).repeat(30, 1)
        + torch.rand(120, 1) * 0.01
    )
    rows[:, 1] = rows[:, 1].floor()
    train = read(rows, config=DataConfig(cells="mixed", reals=("column 1",))).train
    assert train.schema.kinds == ("real", "binary")
    truth = np.array([[0.5, 1.0], [0.5, 0.0], [0.5, 1.0], [0.5, 0.0]])

    class Found:
        values = np.array([[0.5, 1.0], [0.5, 1.0], [0.5, 1.0], [0.5, 0.0]])
        low, high, level = values, values, 0.9

    compared = compare(Found, truth, np.array([[True, True]] * 4), train)
    assert compared["columns"]["column 2"]["accuracy"]["mean"] == 0.75
    assert (
        compared["columns"]["column 2"]["accuracy_of_mode"]["mean"] == 0.5
    )  # 1 is the more frequent in training
    assert compared["rmse"]["mean"] == 0  # of the other column alone


def test_digits_with_gaps_are_imputed_better_than_by_their_means():
    """30 % of all pixels removed, in training too; compared where they were removed from the test rows."""
    torch.set_default_dtype(torch.float32)
    whole = torch.from_numpy(load_digits().images).float()
    gone = torch.rand(whole.shape, generator=torch.Generator().manual_seed(1)) < 0.3
    splits = read(
        torch.where(gone, NAN, whole), labels=torch.arange(1797), config=DataConfig(cells="gaps")
    )
    model = ModelConfig(latent_dim=10, likelihood="gaussian-shared", hidden=(128,))
    vae = build_vae(model, splits.schema, moments=splits.train.moments())
    models.trained(vae, splits, steps=1500, learning_rate=5e-3, schedule="cosine", compile="off")
    truth = whole[splits.test.labels][:, None].numpy()
    imputed = impute(vae, splits.test, samples=300, level=0.9)
    assert np.array_equal(imputed.values[~imputed.missing], truth[~imputed.missing])
    numbers = compare(imputed, truth, imputed.missing, splits.train)
    assert (
        numbers["rmse"]["mean"] + 3 * numbers["rmse"]["se"] < 0.7 * numbers["rmse_of_means"]["mean"]
    )
    assert 0.8 < numbers["coverage"]["mean"] < 0.98


# --- one command --------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_wine_with_gaps_trains_from_csv_in_one_command_and_keeps_its_types(
    tmp_path, monkeypatch, capsys
):
    torch.set_default_dtype(torch.float32)
    monkeypatch.chdir(tmp_path)
    wine, random = load_wine(), np.random.default_rng(0)
    names = [*wine.feature_names, "cultivar"]
    rows = [
        [f"{value:.15g}" for value in row] + [str(wine.target_names[kind])]
        for row, kind in zip(wine.data, wine.target, strict=True)
    ]
    whole = [list(row) for row in rows]
    for row in rows:
        for place in np.flatnonzero(random.random(14) < 0.15):
            row[place] = ""
    write(tmp_path / "wine.csv", names, rows)
    small = [
        "--epochs",
        "150",
        "--hidden",
        "16",
        "--latent-dim",
        "2",
        "--nll-samples",
        "5",
        "--learning-rate",
        "5e-3",
    ]
    assert cli.run(["train", "wine.csv", "--likelihood", "mixed", "--out", "run", *small]) == 0
    assert "FAMD" in capsys.readouterr().out
    assert cli.run(["generate", "run", "--draw", "--count", "300", "--out", "rows.csv"]) == 0
    head, *made_rows = cells("rows.csv")
    assert head == names and len(made_rows) == 300
    assert {row[-1] for row in made_rows} == set(wine.target_names)
    for place, name in enumerate(wine.feature_names):
        values = np.array([row[place] for row in made_rows], float)
        if name in ("magnesium", "proline"):  # counts
            assert all("." not in row[place] for row in made_rows) and values.min() >= 0
        else:
            low, high = wine.data[:, place].min(), wine.data[:, place].max()
            assert low - (high - low) < values.min() and values.max() < high + (high - low)
            ends = [(values == end).sum() for end in (values.min(), values.max())]
            assert max(ends) <= 5  # no heaps of clipped values
    # generated rows are of the form of the data
    assert cli.run(["encode", "run", "rows.csv", "--out", "latents.csv"]) == 0
    capsys.readouterr()
    assert (
        cli.run(
            ["impute", "run", "wine.csv", "--out", "full.csv", "--intervals", "--samples", "200"]
        )
        == 0
    )
    head, *full = cells("full.csv")
    assert head[:14] == names and "alcohol low" in head and "cultivar certainty" in head
    gaps = 0
    for row, before, filled in zip(whole, rows, full, strict=True):
        for place, cell in enumerate(before):
            if cell:
                assert filled[place] == cell
            else:
                gaps += 1
                assert (
                    filled[place] in wine.target_names if place == 13 else float(filled[place]) >= 0
                )
        certainty = filled[head.index("cultivar certainty")]
        assert bool(certainty) == (before[13] == "") and len(row) == 14
    assert f"{gaps} cells in 178 rows" in capsys.readouterr().out
    right = [
        filled[13] == row[13]
        for row, before, filled in zip(whole, rows, full, strict=True)
        if not before[13]
    ]
    assert np.mean(right) > 0.7  # 0.4 by the most frequent cultivar
    assert cli.run(["impute", "run", "--json", "--samples", "100"]) == 0
    numbers = json.loads(capsys.readouterr().out)
    assert (
        numbers["mask"] == 0.3
        and 0 < numbers["coverage"]["mean"] <= 1
        and "cultivar" in numbers["columns"]
    )
    assert cli.run(["impute", "run", "--samples", "20"]) == 0
    assert "RMS error" in capsys.readouterr().out
    assert cli.run(["impute", "run", "wine.csv", "--out", "full.npy", "--intervals"]) == 2
    for command in ("evaluate", "reconstruct", "draw", "explore"):
        assert cli.run([command, "run"]) == 0


def test_filled_files_keep_separators_commas_labels_and_missing_headers(tmp_path, monkeypatch):
    torch.set_default_dtype(torch.float32)
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    rows = [
        [f"{a:.3f}".replace(".", ","), kind, f"{b:.3f}".replace(".", ",")]
        for a, b, kind in zip(
            random.normal(size=120), random.normal(size=120), "xyz" * 40, strict=True
        )
    ]
    rows[3][0] = rows[5][2] = ""
    write(tmp_path / "a.csv", ("first", "kind", "second"), rows, ";")
    small = [
        "--epochs",
        "1",
        "--hidden",
        "4",
        "--latent-dim",
        "1",
        "--nll-samples",
        "2",
        "--batch-size",
        "32",
    ]
    gaps = ["--cells", "gaps", "--label", "kind", "--likelihood", "gaussian-shared"]
    assert cli.run(["train", "a.csv", *gaps, *small, "--out", "run"]) == 0
    assert cli.run(["impute", "run", "a.csv", "--out", "b.csv"]) == 0
    head, *filled = cells("b.csv", ";")
    assert head == ["first", "kind", "second"]
    changed = [
        (row, place)
        for row in range(120)
        for place in range(3)
        if filled[row][place] != rows[row][place]
    ]
    assert changed == [(3, 0), (5, 2)]
    assert all(
        "," in filled[row][place] and float(filled[row][place].replace(",", "."))
        for row, place in changed
    )
    assert cli.run(["impute", "run", "a.csv", "--out", "b.csv"]) == 2


def test_categorical_levels_and_a_single_row_are_no_special_case():
    law = Mixed([Categorical(torch.zeros(1, 2, 1))], torch.tensor([0]))
    assert law.log_prob(torch.tensor([[1.0]])).exp().item() == pytest.approx(0.5)
    assert law.sample((3,)).shape == (3, 1, 1)


# --- what the rest of the toolkit makes of tables -----------------------------------------------------------------


def test_numbers_of_categories_are_whole_whatever_their_number():
    """k / (K - 1) times K - 1 is not k in single precision for many K."""
    torch.set_default_dtype(torch.float32)
    for levels in range(2, 101):
        logits = torch.full((levels, levels, 1), -1e4)
        logits[torch.arange(levels), torch.arange(levels)] = 0.0  # row k is certain of category k
        law = Mixed([Categorical(logits)], torch.tensor([0]))
        assert law.mean.flatten().tolist() == law.sample().flatten().tolist() == list(range(levels))


def test_a_missing_cell_is_no_level_for_the_trivial_model():
    torch.set_default_dtype(torch.float32)
    rows = (torch.rand(400, 5) < 0.9).float()
    holed = torch.where(torch.rand(400, 5) < 0.3, NAN, rows)
    data = read(holed, config=DataConfig(cells="gaps"))
    for name in ("categorical", "logistic"):
        vae = build_vae(ModelConfig(latent_dim=1, likelihood=name, hidden=(4,)), data.schema)
        nll = trivial(vae, data.test, data.train)["nll"]["mean"]
        train, test = data.train.prepared(), data.test.prepared()
        ones, known = train.nan_to_num().sum(0), (~train.isnan()).sum(0)
        share = (ones + 1) / (known + 2)
        expected = -torch.where(test == 1, share.log(), (1 - share).log())[
            ~test.isnan()
        ].sum() / len(test)
        assert nll == pytest.approx(
            expected.item(), rel=0.02
        )  # add-one smoothing in one or another form


def test_samplers_are_compared_on_rows_with_gaps(tmp_path):
    torch.set_default_dtype(torch.float32)
    rows = torch.randn(500, 3)
    rows[:, 1] += 2 * rows[:, 0]
    data = read(torch.where(torch.rand(500, 3) < 0.2, NAN, rows), config=DataConfig(cells="gaps"))
    vae = build_vae(
        ModelConfig(latent_dim=2, likelihood="gaussian-shared", hidden=(8,)), data.schema
    )
    prior = compare_samplers(vae, {}, data, samples=5)["samplers"]["prior"]
    assert all(
        np.isfinite(prior["samples"][name]["mean"]) for name in ("precision", "coverage", "c2st")
    )


def test_noise_is_refused_for_categories():
    cars = read(torch.randint(0, 2, (200, 3)).float(), config=DataConfig(cells="mixed"))
    vae = build_vae(ModelConfig(likelihood="mixed", latent_dim=1, hidden=(4,)), cars.schema)
    with pytest.raises(ValueError, match="`noise` is for images and tables of numbers"):
        build_objective(vae, TrainConfig(noise="gaussian", noise_level=0.1))
