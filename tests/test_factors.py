"""Disentanglement scores against codes whose answer is known, and against the published formulas, written anew."""

import math

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.metrics import mutual_info_score

from variform import DataConfig, ModelConfig, TrainConfig, read
from variform.config.run import EvaluationConfig, RunConfig
from variform.data.sources import sprites
from variform.evaluation import factors as scores
from variform.evaluation.factor_scores import _by_chance, score_factors, udr
from variform.evaluation.factors import Factor, ranks_of
from variform.evaluation.known_factors import _unseen, known_factors
from variform.evaluation.sections.factors import _tables
from variform.evaluation.standard_error import Estimate
from variform.faces.cli import run
from variform.runs.train import train_run

MAPS = (
    np.exp,
    lambda z: z**3 - 7,
    lambda z: -np.arctan(z),
    lambda z: 1e-3 * z,
    lambda z: 1 / (9 - z),
)


def design(count):
    """Five values of `count` factors in 625 rows, of any three of which every combination is as frequent as another.

    The columns are points of an elliptic quadric over the field of five elements: no three of them lie on a line.
    """
    grid = np.stack(np.meshgrid(*[np.arange(5)] * 4, indexing="ij"), -1).reshape(-1, 4)
    s, t = np.divmod(np.arange(25), 5)
    points = np.stack([np.ones(25), s, t, s**2 - 2 * t**2]).astype(int)
    return (grid @ points % 5)[:, :count]


def measured(codes, values):
    """Every score of a design, of which nothing is left to chance: all rows are fitted and judged."""
    factors = [Factor(f"f{k}", column) for k, column in enumerate(values.T)]
    ranks, _ = ranks_of(codes)
    rows = np.arange(len(codes))
    told, entropies = scores.information(ranks, factors)
    importance, together = scores.boosted(ranks, factors, rows, rows)
    return {
        "mig": scores.gap(told / entropies),
        "sap": scores.gap(scores.tells_alone(ranks, factors, rows, rows)),
        "dci_disentanglement": scores.disentanglement(importance),
        "dci_completeness": scores.completeness(importance),
        "dci_informativeness": together.mean(),
        "beta_vae": scores.beta_vae_score(ranks, factors, rows, rows),
        "factor_vae": scores.factor_vae_score(ranks, factors, rows, rows),
        "modularity": scores.modularity(told),
        "explicitness": scores.explicitness(ranks, factors, rows, rows),
        "irs": scores.irs(ranks, factors),
        "by_code": scores.disentanglement_by_code(importance)[0],
        "told": told,
    }


def test_perfect_codes_score_one_under_any_monotone_map_and_a_dead_code_changes_nothing():
    values = design(5)
    mapped = np.column_stack([change(z) for change, z in zip(MAPS, values.T, strict=True)])
    dead = np.insert(mapped, 2, 3.7, axis=1)
    for codes in (values, mapped, dead):
        found = measured(codes, values)
        for name in scores.SCORES:
            assert found[name] == pytest.approx(1, abs=1e-6), name
    texts = np.char.add("kind ", values.astype(str))
    found = measured(mapped, texts)
    assert [found[name] for name in scores.SCORES] == pytest.approx([1] * 10, abs=1e-6)


def test_each_code_twice():
    values = design(5)
    found = measured(np.hstack([values, -np.exp(values)]), values)
    assert found["mig"] == found["sap"] == 0
    assert found["dci_disentanglement"] == pytest.approx(1, abs=1e-9)
    assert found["dci_completeness"] == pytest.approx(1 - math.log(2) / math.log(10), abs=1e-9)
    for name in ("modularity", "beta_vae", "factor_vae", "explicitness", "irs"):
        assert found[name] == pytest.approx(1, abs=1e-9), name


def test_one_code_for_two_factors_of_ten():
    values = design(10)
    both = 5 * values[:, 0] + values[:, 1]
    found = measured(np.column_stack([both, values[:, 2:]]), values)
    assert found["by_code"][0] == pytest.approx(1 - math.log(2) / math.log(10), abs=1e-6)
    assert found["by_code"][1:] == pytest.approx(np.ones(8), abs=1e-9)
    assert found["modularity"] == pytest.approx((8 / 9 + 8) / 9, abs=1e-9)
    assert scores.modularity(found["told"][:1]) == pytest.approx(8 / 9, abs=1e-9)
    assert found["mig"] == pytest.approx(
        1, abs=1e-9
    )  # which does not look at what else a code holds


def test_a_turn_by_45_degrees_leaves_no_code_for_itself():
    side = 21
    a, b = np.divmod(np.arange(side**2), side)
    values = np.column_stack([a, b])
    codes = np.column_stack([a + b, a - b]) / math.sqrt(2)
    found = measured(codes, values)
    counts = np.convolve(np.ones(side), np.ones(side))  # of the values that a sum takes
    shares = counts / counts.sum()
    closed = -(shares * np.log(shares)).sum() - math.log(side)  # I(a + b; a) = H(a + b) - H(b)
    assert found["told"] == pytest.approx(np.full((2, 2), closed), abs=1e-12)
    assert found["mig"] == pytest.approx(0, abs=1e-12)
    assert found["dci_disentanglement"] < 0.01
    assert found["beta_vae"] < 0.6


@pytest.fixture(scope="module")
def noise():
    """The scores of codes that know nothing of three factors."""
    rng = np.random.default_rng(1)
    factors = {"kind": rng.choice(["a", "b", "c"], 900), "size": rng.integers(6, size=900)}
    factors["place"] = rng.random(900)
    codes = rng.normal(size=(900, 4))
    return codes, factors, score_factors(codes, factors)


def test_noise_is_zero_within_two_errors_after_chance(noise):
    for name, score in noise[2]["scores"].items():
        above = score["above_chance"]
        assert abs(above["mean"]) < 2 * above["se"], name
    found = noise[2]
    told = np.array(found["information"])
    for k, (bins, classes, entropy) in enumerate([(20, 3, 3), (20, 6, 6), (20, 20, 20)]):
        bias = (bins - 1) * (classes - 1) / (2 * 900)
        assert told[:, k].mean() * math.log(entropy) == pytest.approx(bias, rel=0.2)


def test_nothing_is_said_above_chance_where_chance_has_all():
    """Of one code, what matters for a factor is that code, also of noise: completeness is 1 by chance, exactly."""
    rng = np.random.default_rng(0)
    found = score_factors(rng.normal(size=(100, 1)), {"size": rng.random(100)}, permutations=1)
    assert found["scores"]["dci_completeness"]["above_chance"] is None
    told = {row[0]: row[3] for row in _tables(found)[0].rows}
    assert told["DCI completeness"] == "nothing is left"
    assert told["DCI informativeness"] != "nothing is left"


def test_room_above_chance_is_measured_in_its_own_errors():
    """A score .03 below a chance of .99 is three times as far below as chance is below 1."""
    near, clear = [0.985, 0.99, 0.995], [0.9899, 0.99, 0.9901]
    assert _by_chance(Estimate(0.96, 0.01, 300), clear)["above_chance"] is None
    assert _by_chance(Estimate(0.96, 0.0001, 300), near)["above_chance"] is None
    found = _by_chance(Estimate(0.96, 0.0001, 300), clear)["above_chance"]
    assert found["mean"] == pytest.approx(-3) and found["se"] < 0.1


def test_a_value_that_only_a_few_rows_have_tells_nothing_and_breaks_nothing():
    rng = np.random.default_rng(0)
    ranks = ranks_of(rng.normal(size=(300, 2)))[0]
    fitted, judged = np.arange(200), np.arange(200, 300)
    for rows in ([0, 1], [298, 299]):
        kind = np.full(300, "common")
        kind[rows] = "rare"
        factor = [Factor("kind", kind)]
        assert scores.explicitness(ranks, factor, fitted, judged) == 0.5
        assert scores.boosted(ranks, factor, fitted, judged)[1].tolist() == [0.0]


def test_scores_do_not_change_under_maps_and_with_dead_codes(noise):
    codes, factors, found = noise
    mapped = np.column_stack([change(z) for change, z in zip(MAPS[:4], codes.T, strict=True)])
    again = score_factors(np.insert(mapped, 3, -2.0, axis=1), factors)
    assert again["scores"] == found["scores"]
    assert again["information"] == found["information"]
    assert again["codes"] == [0, 1, 2, 4] and again["of"] == 5


def usual(codes, values):
    """MIG, modularity, DCI and IRS by the published formulas and the usual protocol, where it is right.

    Codes are whole numbers from 0 to 19, which bins of equal width hold apart.
    """
    count, factors = codes.shape[1], values.shape[1]
    told = np.zeros((count, factors))
    for d in range(count):
        binned = np.digitize(codes[:, d], np.histogram(codes[:, d], 20)[1][:-1])
        for k in range(factors):
            told[d, k] = mutual_info_score(binned, values[:, k])
    gaps, held, importance = [], np.zeros((count, factors)), np.zeros((count, factors))
    for k in range(factors):
        entropy = mutual_info_score(values[:, k], values[:, k])
        second, first = np.sort(told[:, k])[-2:]
        gaps.append((first - second) / entropy)
        trees = GradientBoostingClassifier(
            n_estimators=30, learning_rate=0.3, max_depth=3, random_state=0
        )
        importance[:, k] = trees.fit(codes, values[:, k]).feature_importances_
        for value in np.unique(values[:, k]):
            own = codes[values[:, k] == value]
            worst = np.percentile(np.abs(own - own.mean(0)), 99, axis=0)
            held[:, k] += worst / len(np.unique(values[:, k]))
    most = np.abs(codes - codes.mean(0)).max(0)
    strengths = (1 - held / most[:, None]).max(1)
    deviations = []
    for d in range(count):
        template = np.where(np.arange(factors) == told[d].argmax(), told[d].max(), 0)
        error = ((told[d] - template) ** 2).sum() / (told[d].max() ** 2 * (factors - 1))
        deviations.append(1 - error)
    of_code = importance / importance.sum(1, keepdims=True)
    of_factor = importance / importance.sum(0)
    by_code = 1 + np.array([(p[p > 0] * np.log(p[p > 0])).sum() for p in of_code]) / np.log(factors)
    by_factor = 1 + np.array([(p[p > 0] * np.log(p[p > 0])).sum() for p in of_factor.T]) / np.log(
        count
    )
    return {
        "mig": np.mean(gaps),
        "modularity": np.mean(deviations),
        "dci_disentanglement": by_code @ importance.sum(1) / importance.sum(),
        "dci_completeness": by_factor.mean(),
        "irs": np.average(strengths, weights=most),
    }


def test_agrees_with_the_usual_protocol_where_that_is_right():
    rng = np.random.default_rng(0)
    values = rng.integers(4, size=(1000, 3))
    mixed = np.column_stack([values, values[:, :1] + values[:, 1:2]])
    codes = np.clip(4 * mixed + rng.integers(8, size=mixed.shape), 0, 19)
    codes[0], codes[1] = 19, 0
    found = measured(codes, np.char.add("v", values.astype(str)))
    expected = usual(codes, values)
    ranks, _ = ranks_of(codes)
    expected["irs"] = usual(ranks, values)[
        "irs"
    ]  # which is of the values of codes, and here of their ranks
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-6), name
    assert 0.05 < found["mig"] < 0.95 and 0.05 < found["dci_disentanglement"] < 0.95


def test_udr_is_of_rank_correlations_and_one_for_the_same_codes():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(400, 3))
    other = np.column_stack([z[:, 0] + 0.3 * z[:, 1], z[:, 2]]) + 0.2 * rng.normal(size=(400, 2))
    alike = np.array([[abs(spearmanr(a, b)[0]) for b in other.T] for a in z.T])
    rows = sum(max(row) ** 2 / sum(row) for row in alike)
    columns = sum(max(column) ** 2 / sum(column) for column in alike.T)
    expected = (rows + columns) / 5
    assert udr([z, other]) == pytest.approx([expected, expected], abs=1e-12)
    assert udr([z, np.insert(np.exp(-other), 1, 0.0, axis=1)])[0] == pytest.approx(
        expected, abs=1e-12
    )
    whole = design(4)
    assert udr([whole, -whole[:, ::-1], np.exp(whole)]) == pytest.approx([1, 1, 1], abs=1e-12)
    with pytest.raises(ValueError, match="two models or more"):
        udr([z])


def test_one_factor_leaves_out_what_compares_factors_and_dead_codes_score_nothing():
    rng = np.random.default_rng(0)
    label = rng.choice(["a", "b"], 200)
    found = score_factors(np.zeros((200, 2)), {"label": label}, permutations=1)
    assert set(found["scores"]) == set(scores.SCORES) - set(scores.OF_SEVERAL)
    assert all(score["mean"] == 0 for score in found["scores"].values())
    label[:50] = ""
    found = score_factors(rng.normal(size=(200, 1)), {"label": label}, permutations=1)
    assert found["left_out"] == 50 and found["rows"] == 150


def test_what_cannot_be_scored_is_refused():
    rng = np.random.default_rng(0)
    codes = rng.normal(size=(200, 2))
    for factors, message in [
        ({}, "must be a factor"),
        ({"a": np.zeros(200)}, "at least 2 values"),
        ({"a": np.arange(200).astype(str)}, "at most 100"),
        ({"a": np.arange(50)}, "for each of 200 rows"),
        ({"a": np.where(np.arange(200) < 99, 1.0, np.nan)}, "at least 100 rows"),
    ]:
        with pytest.raises(ValueError, match=message):
            score_factors(codes, factors)
    with pytest.raises(ValueError, match="finite"):
        score_factors(codes * np.nan, {"a": np.arange(200)})


def test_the_factors_of_data_are_what_is_known_of_their_rows(tmp_path):
    rows = ["width,kind,load,mass"]
    rows += [f"{n / 7:.3f},{'ab'[n % 2]},{n % 3},{n}" for n in range(60)]
    (tmp_path / "rows.csv").write_text("\n".join(rows) + "\n")
    options = DataConfig(condition=("load",), response=("mass",))
    data = read(str(tmp_path / "rows.csv"), options).train
    known = known_factors(data)
    assert set(known) == {"load", "mass"}
    index = data.index.numpy()
    assert known["load"] == pytest.approx(index % 3, abs=1e-6)
    assert known["mass"] == pytest.approx(index)
    columns = known_factors(data, ("width", "kind"))
    assert columns["width"] == pytest.approx(index / 7, abs=1e-3)
    assert columns["kind"].tolist() == [f"{'ab'[n % 2]}" for n in index]
    with pytest.raises(ValueError, match=r"such as width, kind, load, mass; got height"):
        known_factors(data, ("height",))


def test_sprites_that_are_scored_are_of_no_kind_that_was_trained_on():
    splits = read("sprites:2000")
    unseen = _unseen(splits.test, splits, 0)
    kinds = sprites.factors(unseen.index.numpy())[:, [0, 1, 3, 4]].tolist()
    seen = sprites.factors(splits.train.index.numpy())[:, [0, 1, 3, 4]].tolist()
    assert len(unseen) == 10_000 and not set(map(tuple, kinds)) & set(map(tuple, seen))
    assert (unseen.raw[:5, 0].numpy() == sprites.render(unseen.index[:5].numpy())).all()


def test_the_command_prints_the_scores(tmp_path, capsys):
    config = RunConfig(
        source="digits",
        model=ModelConfig(hidden=(16,), latent_dim=4),
        train=TrainConfig(steps=150, learning_rate=1e-2),
        evaluation=EvaluationConfig(nll_samples=2),
    )
    train_run(config, tmp_path / "run", pictures=False)
    run(["evaluate", str(tmp_path / "run"), "--factors", "label"])
    printed = " ".join(capsys.readouterr().out.split())
    assert (
        "Of 4 latents 4 are used" in printed
        and "DCI completeness" in printed
        and "FactorVAE" not in printed
    )
    assert run(["evaluate", str(tmp_path / "run"), "--factors", "size"]) == 2
    assert "--factors must name what is known of the rows, such as label; got size" in " ".join(
        capsys.readouterr().err.split()
    )
