"""Laws of numbers with ends, of levels, spikes and rules: which column gets which, and what becomes of its cells."""

import csv
import dataclasses
import itertools
import json
import math

import models
import numpy as np
import pytest
import torch
from scipy import integrate, special, stats

from variform import DataConfig, ModelConfig, build_vae, impute, read, train
from variform.data.dataset import Dataset
from variform.data.days import days_since_first
from variform.data.reading import _rows_like, _splits, read_rows, rows_like
from variform.data.schema import Schema
from variform.data.sources.source import Source
from variform.distributions import DiagonalGaussian, LogitNormal, LogNormal, Mixed, Ordinal, Spiked
from variform.evaluation import exploration
from variform.evaluation.baselines import trivial
from variform.export.rows import cell_text, write_filled, write_table
from variform.model.likelihoods import SpikedLikelihood
from variform.model.likelihoods.bounded import LogNormalLikelihood


@pytest.fixture(autouse=True)
def _double():
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


# ---- the laws


def test_laws_with_ends_are_scipys():
    x = torch.tensor([0.02, 0.5, 1.7, 9.9])[:, None]
    law = LogNormal(torch.tensor([0.3]), torch.tensor([2 * np.log(0.7)]))
    truth = stats.lognorm(0.7, scale=np.exp(0.3))
    np.testing.assert_allclose(law.log_prob(x), truth.logpdf(x[:, 0]), rtol=1e-12)
    assert law.mean.item() == pytest.approx(truth.mean(), rel=1e-12)
    assert law.variance.item() == pytest.approx(truth.var(), rel=1e-12)
    assert law.log_prob(torch.tensor([[0.0], [-1.0]])).tolist() == [-np.inf, -np.inf]

    low, high = -2.0, 10.0
    law = LogitNormal(*torch.tensor([[0.3], [2 * np.log(1.5)], [low], [high]]))
    share = (x[:, 0].numpy() - low) / (high - low)
    jacobian = share * (1 - share) * (high - low)
    truth = stats.norm(0.3, 1.5).logpdf(special.logit(share)) - np.log(jacobian)
    np.testing.assert_allclose(law.log_prob(x), truth, rtol=1e-12)
    ends = torch.tensor([[low], [high], [low - 1], [high + 1]])
    assert law.log_prob(ends).tolist() == [-np.inf] * 4


def area(function, edges):
    """The integral of a function of arrays, piece by piece."""
    pieces = itertools.pairwise(edges)
    return sum(integrate.fixed_quad(function, *ends, n=40)[0] for ends in pieces)


def density(law):
    return lambda x: law.log_prob(torch.from_numpy(x)[:, None]).exp().numpy()


@pytest.mark.parametrize("std", [0.05, 1.0, 3.0])
def test_laws_with_ends_integrate_to_one_and_have_their_moments(std):
    log_var = torch.tensor([2 * np.log(std)])
    for law, to_x in (
        (LogNormal(torch.tensor([0.4]), log_var), np.exp),
        (
            LogitNormal(torch.tensor([-1.0]), log_var, torch.tensor([2.0]), torch.tensor([5.0])),
            lambda y: 2 + 3 * special.expit(y),
        ),
    ):
        middle = law.normal.loc.item()
        normal = stats.norm(middle, std)
        edges = middle + std * np.linspace(
            -9, 9, 37
        )  # of the variable y that is Gaussian: x = to_x(y)
        assert area(density(law), to_x(edges)) == pytest.approx(1, abs=1e-6)

        def moment(power, centre=0.0, to_x=to_x, normal=normal, edges=edges):
            return area(lambda y: normal.pdf(y) * (to_x(y) - centre) ** power, edges)

        mean = moment(1)
        if std < 3 or isinstance(law, LogitNormal):
            assert law.mean.item() == pytest.approx(mean, rel=1e-5)
            assert law.variance.item() == pytest.approx(moment(2, mean), rel=1e-3)


def test_draws_of_laws_with_ends_fit_scipys():
    """Kolmogorov and Smirnov's test of 20,000 draws each; it fails once in 1,000 times."""
    count, log_var = 20_000, torch.tensor([2 * np.log(0.8)])
    draws = LogNormal(torch.tensor([0.3]), log_var).sample((count,))[:, 0].numpy()
    assert stats.kstest(draws, stats.lognorm(0.8, scale=np.exp(0.3)).cdf).pvalue > 1e-3
    law = LogitNormal(torch.tensor([0.3]), log_var, torch.tensor([-1.0]), torch.tensor([1.0]))
    draws = law.sample((count,))[:, 0].numpy()
    cdf = stats.norm(0.3, 0.8).cdf
    assert stats.kstest(draws, lambda x: cdf(special.logit((x + 1) / 2))).pvalue > 1e-3


def test_ordered_levels_are_differences_of_scipys_logistic():
    thresholds = np.array([-1.5, -0.2, 0.1, 4.0])
    location = torch.tensor([[-3.0], [0.4], [9.0]])
    law = Ordinal(location, torch.from_numpy(thresholds)[:, None])
    for row, place in enumerate(location[:, 0].tolist()):
        cdf = np.concatenate([[0], stats.logistic(place).cdf(thresholds), [1]])
        levels = torch.arange(5.0)[:, None, None]
        probability = law.log_prob(levels.expand(5, 3, 1)).exp()[:, row].numpy()
        np.testing.assert_allclose(probability, np.diff(cdf), rtol=1e-9)
        assert probability.sum() == pytest.approx(1, abs=1e-12)
        mean = (probability * np.arange(5)).sum()
        assert law.mean[row].item() == pytest.approx(mean, rel=1e-9)
        variance = (probability * (np.arange(5) - mean) ** 2).sum()
        assert law.variance[row].item() == pytest.approx(variance, rel=1e-6)
    draws = law.sample((50_000,))[:, 1, 0].numpy()
    expected = 50_000 * np.diff(np.concatenate([[0], stats.logistic(0.4).cdf(thresholds), [1]]))
    assert stats.chisquare(np.bincount(draws.astype(int), minlength=5), expected).pvalue > 1e-3


def spiked(family, atoms=(0.0, 2.5), logits=(-0.4, 0.9)):
    atoms = torch.tensor(atoms)[:, None]
    return Spiked(family, torch.tensor(logits)[:, None], atoms, torch.full_like(atoms, 1e-9))


FAMILIES = {
    "gaussian": lambda: DiagonalGaussian(torch.tensor([1.0]), torch.tensor([0.2])),
    "log-normal": lambda: LogNormal(torch.tensor([0.3]), torch.tensor([-0.5])),
}


@pytest.mark.parametrize("make", FAMILIES.values(), ids=FAMILIES)
def test_a_spiked_law_is_masses_and_a_density_that_sum_to_one(make):
    family = make()
    law = spiked(family)
    first, second = special.expit(-0.4), special.expit(0.4) * special.expit(0.9)
    masses = law.log_prob(torch.tensor([[0.0], [2.5]])).exp().tolist()
    assert masses == pytest.approx([first, second], rel=1e-12)
    low = -10 if isinstance(family, DiagonalGaussian) else 1e-9
    edges = np.array([low, 0.03, 0.3, 1.0, 2.0, 2.4999, 2.5001, 6, 40, 400])
    assert area(density(law), edges) + sum(masses) == pytest.approx(1, abs=1e-6)
    rest = 1 - first - second
    truth = np.log(rest) + family.log_prob(torch.tensor([1.7])).item()
    assert law.log_prob(torch.tensor([1.7])).item() == pytest.approx(truth, rel=1e-9)
    mean = second * 2.5 + rest * family.mean.item()
    assert law.mean.item() == pytest.approx(mean, rel=1e-9)
    square = second * 2.5**2 + rest * (family.variance + family.mean**2).item()
    assert law.variance.item() == pytest.approx(square - mean**2, rel=1e-9)


def test_draws_of_a_spiked_law_have_its_shares_and_its_law_elsewhere():
    """Shares within 4 standard errors; elsewhere Kolmogorov and Smirnov's test, which fails once in 1,000 times."""
    law, count = spiked(FAMILIES["log-normal"]()), 40_000
    draws = law.sample((count,))[:, 0].numpy()
    for value, share in (
        (0.0, special.expit(-0.4)),
        (2.5, special.expit(0.4) * special.expit(0.9)),
    ):
        error = np.sqrt(share * (1 - share) / count)
        assert abs((draws == value).mean() - share) < 4 * error
    rest = draws[(draws != 0) & (draws != 2.5)]
    assert stats.kstest(rest, stats.lognorm(np.exp(-0.25), scale=np.exp(0.3)).cdf).pvalue > 1e-3


def test_a_missing_cell_passes_no_gradient_to_any_of_the_laws():
    params = torch.zeros(5, requires_grad=True)
    law = Mixed(
        [
            LogNormal(params[:1], torch.zeros(1)),
            LogitNormal(params[1:2], torch.zeros(1), torch.zeros(1), torch.ones(1)),
            Ordinal(params[2:3], torch.zeros(1, 1)),
            Spiked(LogNormal(params[3:4], torch.zeros(1)), params[4:, None], *torch.zeros(2, 1, 1)),
        ],
        torch.arange(4),
    )
    missing = torch.full((4,), torch.nan)
    (gradient,) = torch.autograd.grad(law.log_prob(missing), params)
    assert law.log_prob(missing) == 0 and gradient.tolist() == [0.0] * 5
    (gradient,) = torch.autograd.grad(law.log_prob(torch.tensor([2.0, 0.3, 1.0, 0.0])), params)
    assert gradient.isfinite().all() and gradient.tolist()[3:] == [0.0, 0.5]


# ---- which column gets which


def test_columns_get_the_laws_that_their_values_ask_for(tmp_path):
    path = models.laws_table(tmp_path)
    splits = read(path, DataConfig(cells="mixed", ordinals=("size=S<M<L",)))
    schema = splits.schema
    kinds = dict(zip(schema.columns, schema.kinds, strict=True))
    assert kinds == {
        "flag": "binary",
        "stack": "real",
        "amount": "positive",
        "share": "bounded",
        "rating": "ordinal",
        "size": "ordinal",
        "width": "positive",
        "mass": "positive",
        "height": "real",
        "depth": "real",
    }
    spikes = dict(zip(schema.columns, schema.spikes, strict=True))
    raw = splits.train.raw.numpy()
    for column, value in (("stack", 0.5656), ("amount", 0.0), ("share", 100.0)):
        share = (raw[:, schema.columns.index(column)] == value).mean()
        assert spikes[column][0] == (value, pytest.approx(share))
    assert [value for value, _ in spikes["stack"]] == [0.5656, 0.6]
    assert not any(spikes[name] for name in ("flag", "rating", "size", "width", "mass", "height"))
    assert schema.bounds[3] == (0, 100) and schema.categories[5] == ("S", "M", "L")
    rules = [(rule.column, rule.flag, rule.active, rule.value) for rule in schema.rules]
    assert rules == [(6, 0, (1.0,), 0.25), (9, 0, (0.0,), None)]
    assert schema.gaps[6]
    assert Schema.from_dict(json.loads(json.dumps(schema.to_dict()))) == schema
    told = "\n".join(splits.notes)
    assert "columns amount, width, mass of numbers above 0" in told and "`reals=['amount']`" in told
    assert (
        "stack = 0.5656 in" in told and "and 1 more" in told and "`spikes=['stack=none']`" in told
    )
    assert "'width' says something only where flag is 1, and holds 0.25 elsewhere" in told
    assert "`active_if=['width=always']`" in told and "share within [0, 1] or [0, 100]" in told


def test_what_is_found_can_be_overruled_and_what_is_declared_is_not_told(tmp_path):
    path = models.laws_table(tmp_path)
    config = DataConfig(
        cells="mixed",
        reals=("mass", "rating"),
        positives=("width",),
        bounds=("share=-1..101",),
        ordinals=("size=L<M<S",),
        spikes=("stack=none", "amount=0"),
        active_if=("width=always", "height=flag=0", "depth=always"),
    )
    splits = read(path, config)
    schema = splits.schema
    kinds = dict(zip(schema.columns, schema.kinds, strict=True))
    assert kinds["mass"] == kinds["rating"] == kinds["stack"] == "real"
    assert kinds["share"] == "bounded" and schema.bounds[3] == (-1, 101)
    assert schema.categories[5] == ("L", "M", "S")
    spikes = dict(zip(schema.columns, schema.spikes, strict=True))
    assert spikes["stack"] == () and len(spikes["amount"]) == 1
    assert [(rule.column, rule.flag, rule.active) for rule in schema.rules] == [(8, 0, (0.0,))]
    told = " ".join(splits.notes)
    assert "says something only" not in told and "stack =" not in told and "amount =" not in told


def test_smooth_columns_get_no_spikes_and_a_gaussian_stays_one():
    """Heights in whole centimetres repeat, and none stands out among its neighbours; nor do few rows make a spike."""
    random = np.random.default_rng(1)
    rows = np.column_stack([random.normal(170, 8, 800).round(), random.normal(50, 3, 800)])
    schema = read(rows, config=DataConfig(cells="mixed")).schema
    assert schema.kinds == ("real", "real") and schema.spikes == () and schema.rules == ()
    few = np.column_stack([[7.0] * 4 + list(random.normal(7, 1, 36)), random.normal(0, 1, 40)])
    assert read(few, config=DataConfig(cells="mixed")).schema.spikes == ()


def test_a_rule_must_hold_in_every_row_read_and_be_no_chance():
    """A column that is nearly constant everywhere is constant at some value of a flag by chance."""
    random = np.random.default_rng(2)
    flag = random.integers(0, 2, 1000)
    free = random.normal(0, 1, 1000)
    ruled = np.where(flag == 1, free, 3.0)
    config = DataConfig(cells="mixed", categories=("column 1",))
    table = np.column_stack([flag, ruled, random.normal(0, 1, 1000)])
    assert len(read(table, config=config).schema.rules) == 1
    held_out = read(table, config=config).test.index[0].item()
    table[held_out, :2] = 0, 3.5
    split = read(table, config=config)
    assert split.schema.rules == ()
    rare = np.where((flag == 1) & (random.random(1000) < 0.01), free, 3.0)
    rare_table = np.column_stack([flag, rare, random.normal(0, 1, 1000)])
    assert read(rare_table, config=config).schema.rules == ()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"positives": ("stack", "height", "share")}, None),
        ({"positives": ("z",)}, "it has no 'z'"),
        ({"bounds": ("share=0..50",)}, "`bounds` must contain the values; column 'share'"),
        ({"bounds": ("share=9",)}, "`bounds` must be two numbers in order"),
        ({"bounds": ("size=0..3",)}, "`bounds` must name columns of numbers; 'size'"),
        ({"spikes": ("stack=many",)}, "`spikes` must be a number or none"),
        ({"spikes": ("stock=1",)}, "`spikes` must begin with a column of laws.csv"),
        ({"ordinals": ("size=S<M",)}, "column 'size' of laws.csv holds 'L'"),
        ({"ordinals": ("mass",)}, "`ordinals` must hold whole numbers of few levels"),
        ({"active_if": ("width=flag=2",)}, "`active_if` must name values of 'flag', 0, 1; got '2'"),
        ({"active_if": ("width=mass=1",)}, "`active_if` must name a"),
        ({"reals": ("mass",), "positives": ("mass",)}, "a column must have one kind"),
    ],
)
def test_declarations_that_cannot_be_are_refused(tmp_path, options, words):
    path = models.laws_table(tmp_path)
    if words is None:
        assert read(path, DataConfig(cells="mixed", **options)).schema.kinds[1] == "positive"
        return
    with pytest.raises(ValueError, match=words.replace("(", r"\(")):
        read(path, DataConfig(cells="mixed", **options))


def test_new_rows_keep_within_the_ends_of_the_laws(tmp_path):
    schema = read(
        models.laws_table(tmp_path), DataConfig(cells="mixed", ordinals=("size=S<M<L",))
    ).schema
    row = np.array([[1, 0.5, 0.0, 100.0, 3, 1, 0.3, 20, 170.0, np.nan]])
    rows_like(row, schema)  # 0 and 100 are spikes
    for column, value, words in (
        (7, 0.0, "'mass' must hold numbers above 0"),
        (2, -1.0, "'amount' must hold numbers above 0"),
        (3, 0.0, "'share' must hold numbers between 0 and 100"),
        (4, 6.0, "'rating' must hold whole numbers from 1 to 5"),
    ):
        wrong = row.copy()
        wrong[0, column] = value
        with pytest.raises(ValueError, match=words):
            rows_like(wrong, schema)


# ---- values that float32 would put on an end


NEAR = [1e-300, 1e-40, 1e-30, 1e-9, 1e-4, 0.3, 1 - 1e-4, 1 - 3e-8, 1 - 1e-9, 1 - 1e-15]
"""Of the way between two bounds; not all are there in the numbers of a float64 far from 0."""


def near_ends(low, high):
    """A column with such values, which all are strictly between the bounds, and its schema."""
    random = np.random.default_rng(0)
    column = low + (high - low) * special.expit(3 * random.normal(size=200))
    near = low + (high - low) * np.array(NEAR)
    column[: len(near)] = near.clip(np.nextafter(low, high), np.nextafter(high, low))
    rows = np.column_stack([column, random.normal(size=200)])
    config = DataConfig(cells="mixed", bounds=(f"column 1={low}..{high}",))
    return rows, read(rows, config=config)


@pytest.mark.parametrize(
    ("low", "high"),
    [(0, 1), (0, 100), (10, 30), (0.1, 0.3), (-1, 0), (1000, 1001), (-3, -2.9), (0, 1e-40)],
)
def test_values_next_to_bounds_keep_a_density_in_float32(low, high):
    """SciPy's, in float64 and the source's unit: of the value itself, or where float32 has none, of the nearest."""
    rows, splits = near_ends(low, high)
    schema = splits.schema
    assert schema.kinds[0] == "bounded" and not any(schema.spikes)
    above, below = schema.nearest[0]
    law = LogitNormal(*torch.tensor([[0.3], [2 * np.log(3)], [0.0], [1.0]]).float())

    def truth(inside, outside):
        """At shares of the way from either bound."""
        logit = np.log(inside) - np.log(outside)
        return stats.norm(0.3, 3).logpdf(logit) - np.log(inside) - np.log(outside)

    inside = ((rows[:, 0] - low) / (high - low)).clip(above, None)
    outside = ((high - rows[:, 0]) / (high - low)).clip(below, None)
    prepared = schema.prepare(torch.from_numpy(rows))[:, :1].float()
    found = law.log_prob(prepared).numpy()
    assert np.isfinite(found).all()
    # As near to 1 as a value is, by so much more float32 rounds its distance.
    tolerance = 1e-4 + 10 * (2.0**-24 + below) / outside
    tolerance = tolerance + np.where(above > 1e-30, 10 * above / inside, 0)
    assert (np.abs(found - truth(inside, outside)) <= tolerance).all()
    units = schema.log_jacobian_per_entry(prepared.expand(-1, 2))[:, 0]
    np.testing.assert_allclose(units, -np.log(high - low), rtol=1e-12)


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (0, 100), (10, 30), (0.1, 0.3), (-1, 0), (-3, -2.9)]
)
def test_rounded_values_and_rows_by_any_way_are_next_to_bounds_too(low, high):
    rows, splits = near_ends(low, high)
    schema = splits.schema
    single = torch.from_numpy(rows)[3:].float()  # NEAR[:3] may be 0 in float32: an end
    x = schema.prepare(single)[:, 0]
    assert ((x > 0) & (x < 1)).all()
    np.testing.assert_allclose(x, schema.prepare(torch.from_numpy(rows)[3:])[:, 0], atol=4e-6)
    train = splits.train
    at_once = torch.cat(list(train.batches(64)))
    assert (
        at_once.dtype == torch.float32 and (at_once[:, 0] > 0).all() and (at_once[:, 0] < 1).all()
    )
    assert at_once.equal(train.batch(torch.arange(len(train))))


def test_ends_stay_ends_and_what_a_spike_is_as_wide_as_is_the_spike():
    """A spike has its probability; float32 cannot tell 1 - 1e-9 from one at 1; a 0 of a positive column is none."""
    random = np.random.default_rng(0)
    share = special.expit(2 * random.normal(size=300))
    share[:40] = 1.0
    share[40:42] = 1 - 1e-9, 1 - 1e-5
    mass = random.lognormal(size=300)
    schema = read(np.column_stack([share, mass]), config=DataConfig(cells="mixed")).schema
    assert schema.kinds == ("bounded", "positive") and [value for value, _ in schema.spikes[0]] == [
        1
    ]
    assert schema.nearest == ((2.0**-126, 0.0), (2.0**-126, 0.0))
    least = schema.scale[1]
    rows = torch.tensor([[1.0, 1e-60 * least], [1 - 1e-9, least], [1 - 1e-5, 0.0], [-1e-9, 2.0]])
    x = schema.prepare(rows).float()
    assert x[0].tolist() == [1.0, 2.0**-126] and x[1, 1] == 1 and x[2, 1] == 0 and x[3, 0] < 0
    ((value, width, _),) = schema.scaled_spikes()[0]
    is_spike = (x[:, 0] - value).abs() <= width
    assert is_spike.tolist() == [True, True, False, False]
    (units,) = schema.log_jacobian_per_entry(x.double())[:1, 1].tolist()
    law = LogNormal(*torch.tensor([[0.3], [2 * np.log(0.7)]]).float())
    found = law.log_prob(x[:, 1:]).numpy()
    truth = stats.lognorm(0.7, scale=np.exp(0.3)).logpdf([2.0**-126, 1.0])
    np.testing.assert_allclose(found[:2], truth, rtol=1e-5)
    assert found[2] == -np.inf and units == pytest.approx(-np.log(least))


def test_means_of_logarithms_reach_as_far_as_float32_does_and_in_old_files_as_far_as_they_did():
    """By the closed form: at 70 and a variance of .3, e^(70 + .15) times the least value; 30 was the most before."""
    force = np.exp(np.linspace(3, 83, 200))
    columns = {"force": force, "sign": np.resize([-1.0, 1.0, 0.5], 200)}
    schema = read(columns, DataConfig(cells="mixed")).schema
    assert schema.kinds == ("positive", "real") and schema.has_wide_logs
    stored = schema.to_dict()
    del stored["has_wide_logs"]  # as files of before are
    config = ModelConfig(likelihood="mixed", latent_dim=1, hidden=())
    for one, most in ((schema, 70.0), (Schema.from_dict(stored), 30.0)):
        likelihood = build_vae(config, one).likelihood.float()
        [family] = [f for _, f in likelihood.parts if isinstance(f, LogNormalLikelihood)]
        with torch.no_grad():
            family.raw_log_var.fill_(math.log(0.3 - family.min_std**2))
            mean = likelihood(torch.full((1, 2), 70.0)).mean[0].max()
        assert math.log(mean.item()) == pytest.approx(most + 0.15, rel=1e-5)
        for steps in (family.mean_steps(), family.density_steps()):
            assert f"'high': {family.most}" in str(steps)


def test_a_positive_column_of_many_magnitudes_starts_where_it_can_be_learned():
    """By the closed form (log x - mu) / sigma^2: numbers up to e^58 have a mean that says nothing of most of them."""
    logs = np.random.default_rng(0).normal(29, 7, 400)
    values = torch.from_numpy(np.exp(logs))
    likelihood = LogNormalLikelihood((1,))
    start = likelihood.start_at(values.mean()[None], values.var()[None]).requires_grad_()
    law = likelihood(start)
    law.log_prob(values[:, None]).sum().backward()
    expected = ((logs - start.item()) / law.normal.variance.item()).sum()
    assert start.grad.item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 100), (0.1, 0.3), (10, 30), (-1, 0)])
def test_cells_of_new_rows_lie_between_the_bounds_and_are_read_again(low, high):
    _, splits = near_ends(low, high)
    schema = splits.schema
    tidy = schema.tidy(torch.tensor([[low, 0.0], [high, 0.0], [low - 1.0, 0.0]]).float())
    cells = np.array([[float(cell_text(schema, 0, value)), 0.0] for value in tidy[:, 0].tolist()])
    assert (low < cells[:, 0]).all() and (cells[:, 0] < high).all()
    np.testing.assert_allclose(cells[:, 0], [low, high, low], atol=1e-6 * max(abs(low), abs(high)))
    assert len(rows_like(cells, schema)) == 3


def test_a_training_with_fractions_that_float32_rounds_to_one_stays_finite(tmp_path):
    random = np.random.default_rng(0)
    z = random.normal(size=(500, 2))
    logits = z @ random.normal(size=(2, 4)) * 6 + random.normal(size=(500, 4))
    rows = special.expit(logits)
    assert (rows.astype(np.float32) == 1).sum() > 10
    run = train(rows, likelihood="mixed", out=tmp_path, steps=60, pictures=False, progress="none")
    assert np.isfinite(run.evaluation["nll"]["mean"])
    assert not any("diverged" in words for words in run.evaluation["warnings"])
    near = np.array([[1 - 1e-9, 1 - 1e-12, 1e-30, 1e-300], [0.5, 0.5, 0.5, 0.5]])
    assert np.isfinite(run.model.score(near)).all()


def test_columns_of_numbers_that_float32_does_not_hold_come_back_as_they_were():
    random = np.random.default_rng(0)
    rows = np.exp(random.normal(size=(200, 3))) * [1e-300, 1e-42, 1e-39]
    splits = read(rows, config=DataConfig(cells="mixed"))
    x = torch.cat(list(splits.train.batches(64)))
    assert x.isfinite().all()
    np.testing.assert_allclose(
        splits.schema.restore(x), splits.train.gather(torch.arange(len(x))), rtol=1e-5, atol=1e-306
    )


# ---- densities in the units of the file


def test_the_trivial_model_of_spikes_and_positive_columns_is_counted_by_hand():
    """Its NLL in raw units: shares of spikes with one row more, and SciPy's log-normal elsewhere."""
    random = np.random.default_rng(3)
    column = np.where(random.random(500) < 0.4, 0.0, random.lognormal(2, 0.7, 500)).astype(
        np.float32
    )
    rows = np.column_stack([column, random.normal(1e3, 5, 500).astype(np.float32)])
    splits = read(rows, config=DataConfig(cells="mixed"))
    assert splits.schema.kinds == ("positive", "real")
    vae = build_vae(ModelConfig(likelihood="mixed", latent_dim=1), splits.schema)
    numbers = trivial(vae, splits.test, splits.train)
    train, test = (part.raw.double().numpy() for part in (splits.train, splits.test))
    share = ((train[:, 0] == 0).sum() + 1) / (len(train) + 2)
    logs = np.log(train[train[:, 0] > 0, 0])
    first = np.where(
        test[:, 0] == 0,
        np.log(share),
        np.log(1 - share) + stats.lognorm(logs.std(), scale=np.exp(logs.mean())).logpdf(test[:, 0]),
    )
    second = stats.norm(train[:, 1].mean(), train[:, 1].std()).logpdf(test[:, 1])
    assert numbers["nll"]["mean"] == pytest.approx(-(first + second).mean(), rel=1e-5)


def test_inactive_cells_are_in_no_density_and_come_back_as_they_were(tmp_path):
    splits = read(models.laws_table(tmp_path), DataConfig(cells="mixed", ordinals=("size=S<M<L",)))
    schema, raw = splits.schema, splits.train.raw
    vae = models.model_of("laws", splits)
    x = schema.prepare(raw.double())
    inactive = raw[:, 0] == 0
    assert torch.equal(x[:, 6].isnan(), inactive) and not x[:, 1].isnan().any()
    junk = raw.double().clone()
    junk[inactive, 6] = 77.0
    torch.testing.assert_close(schema.prepare(junk), x, equal_nan=True)
    law = vae.decode(torch.zeros(1, 3))
    terms = law.log_prob_per_entry(x.nan_to_num(nan=1.0))
    summed = torch.where(x.isnan(), 0.0, terms).sum(1)
    torch.testing.assert_close(law.log_prob(x), summed)
    back = schema.tidy(schema.restore(x)).float()
    torch.testing.assert_close(back, raw.float(), rtol=3e-7, atol=0, equal_nan=True)
    drawn = exploration.generate(vae, 3000, draw=True)
    off = drawn[:, 0] == 0
    assert 100 < off.sum() < 2900
    assert np.array_equal(np.isnan(drawn[:, 9]), ~off)
    assert (drawn[off, 6] == 0.25).all() and not (drawn[~off, 6] == 0.25).any()
    assert (drawn[:, 2] >= 0).all() and (drawn[:, 7] > 0).all()
    assert set(np.unique(drawn[:, 4])) <= {1, 2, 3, 4, 5}
    assert (drawn[:, 3] > 0).all() and (drawn[:, 3] <= 100).all()
    for column in (6, 7, 8):  # no heaps: 0.25 apart, no value comes twenty times
        values, counts = np.unique(drawn[~off, column], return_counts=True)
        assert counts.max() < 20, (column, values[counts.argmax()])


def test_cells_that_are_empty_by_a_rule_stay_empty(tmp_path):
    random = np.random.default_rng(4)
    lines = ["kind,length,mass"]
    for _ in range(400):
        kind = random.choice(["tube", "plate", "rod"])
        length = "" if kind == "plate" else f"{random.normal(5, 1):.4f}"
        mass = "" if random.random() < 0.2 else f"{random.normal(9, 2):.4f}"
        lines.append(f"{kind},{length},{mass}")
    path = tmp_path / "parts.csv"
    path.write_text("\n".join(lines) + "\n")
    splits = read(path, DataConfig(cells="mixed"))
    (rule,) = splits.schema.rules
    names = splits.schema.categories[0]
    assert rule.value is None and {names[int(code)] for code in rule.active} == {"rod", "tube"}
    vae = build_vae(ModelConfig(likelihood="mixed", latent_dim=2), splits.schema).double()
    rows = read_rows(path, splits.schema)
    filled = impute(vae, rows, samples=20, refine=0)
    is_plate = rows.raw[:, 0].numpy() == names.index("plate")
    assert not filled.missing[is_plate, 1].any() and np.isnan(filled.values[is_plate, 1]).all()
    assert not np.isnan(filled.values[~is_plate]).any() and filled.missing[:, 2].sum() > 40
    write_filled(
        tmp_path / "filled.csv",
        path,
        splits.schema,
        filled,
        DataConfig(cells="mixed"),
        intervals=False,
    )
    for old, new in zip(
        lines[1:], (tmp_path / "filled.csv").read_text().splitlines()[1:], strict=True
    ):
        before, after = old.split(","), new.split(",")
        assert after[:2] == before[:2] and after[2]
    drawn = exploration.generate(vae, 500, draw=True)
    assert np.array_equal(np.isnan(drawn[:, 1]), drawn[:, 0] == names.index("plate"))
    write_table(tmp_path / "new.csv", drawn, splits.schema)
    with open(tmp_path / "new.csv") as file:
        for row in csv.DictReader(file):
            assert (row["length"] == "") == (row["kind"] == "plate")


def test_defaults_stand_in_new_rows_with_all_digits_of_the_file(tmp_path):
    """Who asks for rows with the default in double precision finds them; single precision has half of its digits."""
    torch.set_default_dtype(torch.float32)
    random = np.random.default_rng(3)
    bridge = random.integers(0, 2, 400)
    default, unused = 0.5656123456789012, 0.015848936170212168
    stack = np.where(random.random(400) < 0.6, default, random.normal(0.5, 0.05, 400))
    diameter = np.where(bridge, random.normal(0.016, 0.001, 400), unused)
    lines = [
        f"{a},{b!r},{c!r}"
        for a, b, c in zip(bridge, stack.tolist(), diameter.tolist(), strict=True)
    ]
    path = tmp_path / "frames.csv"
    path.write_text("\n".join(["bridge,stack,diameter", *lines]) + "\n")
    schema = read(path, DataConfig(cells="mixed")).schema
    vae = build_vae(ModelConfig(likelihood="mixed", latent_dim=2), schema)
    drawn = exploration.generate(vae, 400, draw=True)
    write_table(tmp_path / "new.csv", drawn, schema)
    new = np.genfromtxt(tmp_path / "new.csv", delimiter=",", names=True)
    is_default = np.isclose(drawn[:, 1], default, rtol=1e-6)
    assert is_default.sum() > 40 and np.array_equal(new["stack"] == default, is_default)
    assert np.array_equal(new["diameter"] == unused, new["bridge"] == 0)
    assert np.array_equal(new["stack"].astype(np.float32), drawn[:, 1])


def test_dates_are_days_since_the_first_and_are_written_as_dates(tmp_path):
    """By NumPy's datetime64; another file's days count from the same day, and a draw between days is a day."""
    random = np.random.default_rng(6)
    days = random.integers(0, 900, 300)
    texts = (np.datetime64("2023-01-05") + days).astype(str).tolist()
    values, first = days_since_first([*texts[:-1], None])
    assert first == min(texts[:-1]) and np.isnan(values[-1])
    truth = (np.array(texts[:-1], "datetime64[D]") - np.datetime64(first)).astype(float)
    assert np.array_equal(values[:-1], truth)
    mass = random.normal(5, 1, 300)
    table = Source(
        "orders.csv", np.column_stack([values, mass]), columns=("day", "mass"), dates=(first, "")
    )
    schema = _splits(table, DataConfig(cells="mixed")).schema
    assert schema.kinds == ("real", "real") and schema.dates == (first, "")
    assert Schema.from_dict(json.loads(json.dumps(schema.to_dict()))) == schema
    write_table(tmp_path / "new.csv", np.array([[31.4, 2.5], [-1.0, 3.0]]), schema)
    days = np.timedelta64(31, "D"), np.timedelta64(1, "D")
    dates = [str(np.datetime64(first) + days[0]), str(np.datetime64(first) - days[1])]
    with open(tmp_path / "new.csv") as file:
        assert [row["day"] for row in csv.DictReader(file)] == dates
    assert cell_text(schema, 0, 31.0) == dates[0] and cell_text(schema, 0, -1.0) == dates[1]
    later = str(np.datetime64(first) + np.timedelta64(10, "D"))
    other = Source("more.csv", np.array([[0.0, 2.0]]), columns=("day", "mass"), dates=(later, ""))
    assert _rows_like(other, schema).raw.tolist() == [[10.0, 2.0]]
    lines = ["day,mass", *(f"{day},{one:.4f}" for day, one in zip(texts, mass, strict=True))]
    (tmp_path / "orders.csv").write_text("\n".join(lines) + "\n")
    splits = read(tmp_path / "orders.csv", DataConfig(cells="mixed"))
    assert splits.schema.kinds == ("real", "real") and splits.schema.dates == ("1970-01-01", "")
    written = [cell_text(splits.schema, 0, day) for day in splits.train.raw[:, 0].tolist()]
    assert written == [texts[row] for row in splits.train.index.tolist()]
    timed = dataclasses.replace(schema, whole=(False, False))
    assert cell_text(timed, 0, 0.25) == f"{first}T06:00:00"


def test_a_trained_model_draws_spikes_as_often_as_the_data_have_them():
    """Shares within .04: a standard error of 2,000 draws is .011, one of 900 training rows .017."""
    random = np.random.default_rng(5)
    latent = random.normal(0, 1, 1200)
    is_default = random.random(1200) < special.expit(latent)
    first = np.where(is_default, 0.5656, 0.5 + 0.05 * latent + random.normal(0, 0.01, 1200))
    second = np.exp(1 + latent + random.normal(0, 0.2, 1200))
    rows = np.column_stack([first, second]).astype(np.float32)
    splits = read(rows, config=DataConfig(cells="mixed"))
    torch.set_default_dtype(torch.float32)
    vae = build_vae(
        ModelConfig(likelihood="mixed", latent_dim=2, hidden=(32,)),
        splits.schema,
        moments=splits.train.moments(),
    )
    models.trained(vae, splits, steps=400, learning_rate=5e-3)
    drawn = exploration.generate(vae, 2000, draw=True)
    share = (splits.train.raw[:, 0] == np.float32(0.5656)).double().mean().item()
    assert abs((drawn[:, 0] == np.float32(0.5656)).mean() - share) < 0.04
    assert (drawn[:, 1] > 0).all()
    logs = np.log(drawn[:, 1]), np.log(rows[:, 1])
    assert abs(logs[0].mean() - logs[1].mean()) < 0.2 and 0.8 < logs[0].std() / logs[1].std() < 1.25
    assert exploration.remarks(splits.schema, drawn) == []


def test_a_likelihood_of_spikes_starts_at_mean_variance_and_shares(tmp_path):
    splits = read(models.laws_table(tmp_path), DataConfig(cells="mixed", ordinals=("size=S<M<L",)))
    vae = build_vae(ModelConfig(likelihood="mixed", latent_dim=2), splits.schema)
    mean, variance = splits.train.moments()
    law = vae.likelihood(vae.likelihood.start_at(mean, variance)[None])
    known = [1, 2, 6, 7, 8]
    torch.testing.assert_close(law.mean[0, known], mean[known], rtol=0.02, atol=0.02)
    spiked_parts = [
        family for family in vae.likelihood.families if isinstance(family, SpikedLikelihood)
    ]
    assert len(spiked_parts) == 3
    shares = dict(zip(splits.schema.columns, splits.schema.spikes, strict=True))
    for column, name in ((1, "stack"), (2, "amount"), (3, "share")):
        x = splits.schema.prepare(torch.tensor([[0.0] * 10]))
        for value, share in shares[name]:
            x[0, column] = (value - splits.schema.shift[column]) / splits.schema.scale[column]
            probability = law.log_prob_per_entry(x.nan_to_num())[0, column].exp().item()
            assert probability == pytest.approx(share, abs=2e-3)


def test_missing_cells_of_every_law_are_imputed_within_its_ends(tmp_path):
    splits = read(models.laws_table(tmp_path), DataConfig(cells="mixed", ordinals=("size=S<M<L",)))
    vae = models.model_of("laws", splits)
    rows = splits.test.raw[:10].double().clone()
    rows[:, [2, 3, 4, 5, 7]] = torch.nan
    holed = Dataset(rows, splits.schema)
    filled = impute(vae, holed, samples=200, refine=0)
    assert filled.missing[:, [2, 3, 4, 5, 7]].all()
    assert (filled.values[:, 2] >= 0).all() and (filled.values[:, 7] > 0).all()
    assert ((filled.low[:, 3] > 0) & (filled.high[:, 3] <= 100)).all()
    assert set(np.unique(filled.values[:, 4])) <= {1, 2, 3, 4, 5}
    assert set(np.unique(filled.values[:, 5])) <= {0, 1, 2}
    assert (filled.low <= filled.high)[filled.missing].all()
