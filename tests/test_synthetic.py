"""Synthetic rows: closed forms, exchangeability, planted copies and an overfitted model."""

import itertools

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

from variform import ModelConfig, TrainConfig, build_objective, build_vae, fit, read
from variform.config.data import DataConfig
from variform.config.in_depth import InDepth
from variform.data.reading import dataset_from
from variform.evaluation import privacy
from variform.evaluation.broken_rules import broken_rules
from variform.evaluation.likeness import distance, pairs, usefulness
from variform.evaluation.samples import tell_apart
from variform.evaluation.sections.synthetic import SYNTHETIC
from variform.evaluation.synthetic import judge, synthetic


def rows_of(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


# --- likeness -----------------------------------------------------------------------------------------------------


def test_distance_of_numbers_is_scipys_and_of_categories_half_the_sum_of_differences():
    one, other = rows_of(80).round(1), rows_of(50, seed=1).round(1) + 0.3
    assert distance(one, other) == pytest.approx(stats.ks_2samp(one, other).statistic)
    codes = np.array([0.0, 0.0, 1.0, np.nan]), np.array([2.0, np.nan])
    shares = {0.0: (0.5, 0.0), 1.0: (0.25, 0.0), 2.0: (0.0, 0.5), np.nan: (0.25, 0.5)}
    expected = sum(abs(a - b) for a, b in shares.values()) / 2
    assert distance(*codes, categorical=True) == pytest.approx(expected)


def test_boosted_trees_reach_the_bayes_rule_between_two_normal_laws():
    """N(0, 1) against N(1, 1): the best accuracy is Phi(1/2) = .6915."""
    one, other = rows_of(4000, 1), rows_of(4000, 1, seed=1) + 1
    accuracy, _, _ = tell_apart(one, other, names=["x"])
    assert stats.norm.cdf(0.5) == pytest.approx(0.6915, abs=1e-4)
    assert (
        abs(accuracy.mean - stats.norm.cdf(0.5)) < 3 * accuracy.se + 0.01
    )  # trees of finite depth


def test_pairs_see_a_dependence_that_marginals_do_not():
    real = rows_of(3, 4000, 1).repeat(2, axis=2)
    independent = rows_of(4000, 2, seed=1)
    (pair,) = pairs(independent, real[0], (real[1], real[2]), names=["a", "b"])
    # Classes of equal mass: 1/8 of the pairs lie on the diagonal instead of all.
    assert pair["distance"] == pytest.approx(7 / 8, abs=0.03)
    assert pair["of_real"] < 0.05


def test_what_a_prediction_loses_is_known_where_synthetic_rows_have_another_slope():
    """y = 2 x + e, taught as y = x + e': R² is 1 - 1/5 for real rows, and 1 - 2/5 where the slope is missed by 1."""
    x = rows_of(3, 6000, 1)
    y = 2 * x + rows_of(3, 6000, 1, seed=1)
    y[0] -= x[0]
    one, two = usefulness(*np.concatenate([x, y], axis=2), names=["x", "y"])
    assert one.measure == two.measure == "R²"
    assert two.real.mean == pytest.approx(0.8, abs=0.03)
    assert two.synthetic.mean == pytest.approx(0.6, abs=0.04)
    assert two.loss.mean == pytest.approx(two.real.mean - two.synthetic.mean, abs=1e-12)


def test_categories_are_predicted_by_their_numbers_and_gaps_are_left_out():
    codes = np.random.default_rng(0).integers(0, 3, (3, 600, 1)).astype(float)
    rows = np.concatenate([codes, codes * 2.0 + 0.1 * rows_of(3, 600, 1)], axis=2)
    rows[0, :, 0] = 1.0  # the synthetic rows know one category
    rows[:, ::7, 0] = np.nan
    found = usefulness(*rows, names=["kind", "size"], categorical=[0], targets=[0])[0]
    known = rows[2, :, 0][~np.isnan(rows[2, :, 0])]
    assert found.real.mean > 0.98
    assert found.synthetic.mean == pytest.approx((known == 1).mean())


# --- privacy ------------------------------------------------------------------------------------------------------


def test_share_nearer_to_training_is_one_half_and_its_error_that_of_all_divisions():
    """Mean and variance over all 70 divisions of eight real rows into halves, by hand."""
    real, synthetic_rows = rows_of(8, 2), rows_of(30, 2, seed=1)
    found = []
    for half in itertools.combinations(range(8), 4):
        other = [row for row in range(8) if row not in half]
        found.append(privacy.nearer_to_training(synthetic_rows, real[list(half)], real[other]))
    shares = np.array([one.mean for one in found])
    assert shares.mean() == pytest.approx(0.5, abs=1e-12)
    assert [one.se for one in found] == pytest.approx([shares.std()] * len(found))


def test_share_of_rows_that_saw_neither_half_is_one_half_within_two_errors():
    z = []
    for seed in range(40):
        synthetic_rows, train, holdout = rows_of(3, 300, 4, seed=seed)
        share = privacy.nearer_to_training(synthetic_rows, train, holdout)
        z.append((share.mean - 0.5) / share.se)
    assert np.mean(np.abs(z) < 2) > 0.85  # of .95; below with probability .01
    assert 0.7 < np.std(z) < 1.4


def test_equal_rows_of_both_halves_count_half():
    rows = np.array([[0.0], [1.0]])
    share = privacy.nearer_to_training(np.array([[0.1], [4.0]]), rows, np.array([[0.0], [9.0]]))
    assert share.mean == 0.75  # 0 is in both; 4 is nearer to 1 than to 9


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_one_percent_of_copies_is_found_and_named(noise):
    synthetic_rows, train, holdout = rows_of(3, 2000, 5)
    assert not privacy.copies(synthetic_rows, train, holdout)["found"]
    planted = np.arange(0, 2000, 100)  # 1 %
    synthetic_rows[planted] = train[planted + 7] + noise * rows_of(20, 5, seed=1)
    found = privacy.copies(synthetic_rows, train, holdout)
    assert found["found"] and found["same"] == (0 if noise else 20)
    assert found["share"] == pytest.approx(0.01, abs=0.002)
    assert {(row, other - 7) for row, other in found["examples"]} <= {(row, row) for row in planted}


def test_copies_of_holdout_rows_are_no_sign_and_false_alarms_are_rare():
    synthetic_rows, train, holdout = rows_of(3, 500, 3)
    synthetic_rows[:50] = holdout[:50]
    assert not privacy.copies(synthetic_rows, train, holdout)["found"]
    alarms = [privacy.copies(*rows_of(3, 200, 2, seed=seed))["found"] for seed in range(60)]
    assert sum(alarms) <= 3  # of .6 expected at most


def test_authenticity_is_the_definition_whatever_the_order_of_the_rows():
    real, synthetic_rows = rows_of(60, 2).round(1), rows_of(50, 2, seed=1).round(1)
    nearest = NearestNeighbors(n_neighbors=2).fit(real)
    apart = nearest.kneighbors(real)[0][:, 1]
    expected = []
    for row in synthetic_rows:
        distances = np.linalg.norm(real - row, axis=1)
        expected.append(distances.min() > apart[distances.argmin()])
    random = np.random.default_rng(0)
    shares = {
        privacy.authenticity(random.permutation(synthetic_rows), random.permutation(real)).mean
        for _ in range(5)
    }
    assert len(shares) == 1
    assert shares.pop() == pytest.approx(np.mean(expected), abs=0.04)  # where two are as near


def test_auc_is_that_of_scikit_learn_and_of_two_normal_laws():
    members, others = rows_of(800).round(1) + 1, rows_of(600, seed=1).round(1)
    found = privacy.attack(members, others)
    truth = np.repeat([1, 0], [800, 600])
    expected = roc_auc_score(truth, np.concatenate([members, others]))
    assert found["auc"]["mean"] == pytest.approx(expected)
    assert abs(expected - stats.norm.cdf(1 / np.sqrt(2))) < 3 * found["auc"]["se"]
    # 1 % of others are above 2.33, and of N(1, 1) the share Phi(1 - 2.33).
    assert found["found"] == pytest.approx(stats.norm.sf(stats.norm.isf(0.01) - 1), abs=0.06)


def test_error_of_the_auc_is_its_spread_over_draws():
    found = [
        privacy.attack(rows_of(100, seed=seed) + 0.5, rows_of(150, seed=seed + 1000))["auc"]
        for seed in range(200)
    ]
    spread = np.std([one["mean"] for one in found])
    assert np.mean([one["se"] for one in found]) == pytest.approx(spread, rel=0.15)


def test_an_overfitted_model_of_200_rows_is_attacked():
    """200 training rows of 30 columns without structure, which 4 latents can only know by heart."""
    torch.manual_seed(0)
    data = dataset_from(torch.from_numpy(rows_of(400, 30)).float())
    train, holdout = data.take(torch.arange(200)), data.take(torch.arange(200, 400))
    model = ModelConfig(latent_dim=4, hidden=(128, 128), likelihood="gaussian-shared")
    vae = build_vae(model, data.schema)
    config = TrainConfig(steps=400, batch_size=200, learning_rate=3e-3, beta=0.02, compile="off")
    fit(build_objective(vae, config), train, train, config)
    found = synthetic(vae, train, holdout)
    attack = found["attacks"]["by_likelihood"]["auc"]
    assert attack["mean"] - 2 * attack["se"] > 0.9
    assert found["verdict"] != "no sign"
    assert "Keep the model to yourself" in " ".join(found["sentences"])


# --- whole --------------------------------------------------------------------------------------------------------


def test_rows_of_the_law_of_a_mixed_table_with_gaps_betray_nobody_and_planted_copies_do():
    random = np.random.default_rng(0)
    count = 3000
    kind = random.integers(0, 3, count)
    table = {
        "kind": [("a", "b", "c")[code] for code in kind],
        "size": kind + random.normal(size=count),
        "parts": random.poisson(2.0 + kind),
        "mass": random.lognormal(size=count),
        "age": np.where(random.random(count) < 0.2, np.nan, random.normal(size=count)),
    }
    data = read(table, DataConfig(cells="mixed"))
    rows = [part.raw.index_select(0, part.rows) if part.rows is not None else part.raw
            for part in (data.train, data.valid, data.test)]  # fmt: skip
    train, valid, test = (part.numpy().astype(float) for part in rows)
    own, others, rest = train[:900], train[900:1800], train[1800:]  # others are the synthetic rows
    holdout = np.concatenate([rest, valid, test])
    found = judge(data.schema, others, own, holdout)
    assert found["verdict"] == "no sign", found["sentences"]
    accuracy = found["told_apart"]["accuracy"]
    assert abs(accuracy["mean"] - 0.5) < 4 * accuracy["se"]
    assert all(one["share"]["mean"] == 0 for one in found["broken"])
    assert {one["column"] for one in found["usefulness"]} == set(table)
    planted = others.copy()
    planted[::100] = own[::100][: len(planted[::100])]
    found = judge(data.schema, planted, own, holdout)
    assert found["verdict"] == "copies" and "Do not hand these rows out" in found["sentences"][0]


def test_rules_of_a_table_that_are_broken_are_counted():
    random = np.random.default_rng(0)
    table = {
        "flag": random.integers(0, 2, 200),
        "count": random.poisson(3, 200),
        "mass": random.lognormal(size=200),
        "share": random.random(200),
    }
    kinds = {"positives": ("mass",), "bounds": ("share=0..1",), "counts": ("count",)}
    config = DataConfig(cells="mixed", **kinds)
    schema = read(table, config).schema
    rows = np.array([[0, 1, 1, 0.5], [2, 1, 1, 0.5], [0, -1, 1, 0.5], [0, 1.5, 0, 1.5]])
    found = broken_rules(schema, rows, rows[:1], ["mass > share"])
    shares = {one["rule"]: one["share"]["mean"] for one in found}
    assert shares == {
        "flag is one of its levels": 0.25,
        "count is a whole number from 0": 0.5,
        "mass is above 0": 0.25,
        "share is between 0 and 1": 0.25,
        "mass > share": 0.25,
    }
    assert not any(one["of_real"]["mean"] for one in found)


def test_images_and_conditions_are_judged_too():
    data = read("digits", DataConfig(condition=("label",)))
    vae = build_vae(ModelConfig(latent_dim=2, hidden=(16,), likelihood="bernoulli"), data.schema)
    found = synthetic(vae, data.train.take(torch.arange(300)), data.test)
    assert found["usefulness"][0]["column"] == "label"
    assert found["usefulness"][0]["real"]["mean"] > 0.7
    assert found["drawn"] == "means"
    assert found["told_apart"]["accuracy"]["mean"] > 0.9
    assert [one["rule"] for one in found["broken"]] == ["values from 0 to 16"]
    privacy_table, use_table, *_ = SYNTHETIC.tables(found)
    shown = {row[0] for table in (privacy_table, use_table) for row in table.rows}
    assert shown <= set(SYNTHETIC.meanings)
    assert SYNTHETIC.answer(found).startswith("No attack that was tried finds anybody")
    for sentence in found["sentences"]:
        assert sentence in use_table.note


def test_too_few_rows_and_unknown_targets_are_refused():
    rows = rows_of(20, 2)
    schema = dataset_from(torch.from_numpy(rows)).schema
    with pytest.raises(ValueError, match="at least 7"):
        judge(schema, rows, rows, rows[:5])
    with pytest.raises(ValueError, match="`target` must be one of 'column 1', 'column 2'"):
        judge(schema, rows, rows, rows, target="mass")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"synthetic_target": "mass"}, "`synthetic_target` must be one of"),
        ({"synthetic_rules": ("mass <",)}, "`synthetic_rules` must compare columns"),
    ],
)
def test_the_section_speaks_of_its_own_options(asked, said):
    splits = read(torch.from_numpy(rows_of(300, 2)))
    with pytest.raises(ValueError, match=said):
        SYNTHETIC.require(InDepth(synthetic=True, **asked), splits.test, splits)
