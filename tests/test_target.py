"""Targets: each way against brute force, and the way that wins where the winner is known."""

import csv
from pathlib import Path

import numpy as np
import pytest
from models import data_of, model_of

from variform import DataConfig, Model, ModelConfig, build_vae, read
from variform.design.coding import designs_of
from variform.design.spaces import space_of
from variform.design.target import Target, TargetFinder, known_values
from variform.faces.cli.commands import run as command


@pytest.fixture(scope="module")
def bars():
    """Bars of three sizes in one unit, with their volume and their length, of which some are not known."""
    draw = np.random.default_rng(0)
    sizes = draw.uniform(1, 3, size=(400, 3))
    volume = np.where(draw.random(400) < 0.1, np.nan, sizes.prod(1))
    table = dict(zip(("a", "b", "c"), sizes.T, strict=True))
    config = DataConfig(response=("volume", "length"))
    return read({**table, "volume": volume, "length": sizes.sum(1)}, config)


def measure(designs):
    return {"volume": designs.prod(1), "length": designs.sum(1)}


TARGETS = (Target.of("volume=7.9..8.1"), Target.of("length=6.15..6.25"))


def test_the_nearest_known_design_is_that_of_brute_force_and_costs_nothing(bars):
    found = TargetFinder(bars.train, measure).find(TARGETS)[0]
    responses = bars.train.responses
    miss = np.maximum(abs(responses["volume"] - 8) / 0.1, abs(responses["length"] - 6.2) / 0.05)
    best = np.nanargmin(miss)
    assert found.way == "nearest known" and found.evaluations == 0
    assert found.miss == pytest.approx(miss[best])
    np.testing.assert_array_equal(found.design, designs_of(bars.train)[best])


def test_the_search_finds_what_is_asked_for_and_evaluates_no_more_than_it_may(bars):
    asked = []

    def counting(designs):
        asked.append(len(designs))
        return measure(designs)

    space = space_of(None, bars.train, "raw")
    *_, found = TargetFinder(bars.train, counting, space=space, tries=5).find(TARGETS)
    assert found.way == "latent search" and sum(asked) == found.evaluations <= 5
    assert found.design.prod() == pytest.approx(found.got["volume"])
    assert found.miss <= 1 and abs(found.got["volume"] - 8) <= 0.1


def test_newtons_steps_meet_ranges_that_are_a_hundred_times_narrower(bars):
    """The nearest known bar is far outside of both; three sizes leave a line of exact solutions."""
    narrow = (Target("volume", 7.999, 8.001), Target("length", 6.1995, 6.2005))
    space = space_of(None, bars.train, "raw")
    nearest, *_, found = TargetFinder(bars.train, measure, space=space).find(narrow)
    assert nearest.miss > 10 and found.miss <= 1 and 1 < found.evaluations < 8
    assert found.design.prod() == pytest.approx(8, abs=0.001)
    assert found.design.sum() == pytest.approx(6.2, abs=0.0005)


def test_held_out_designs_say_which_way_wins(bars):
    """Nearest known rows hardly ever meet two narrow ranges; the search in three columns does."""
    finder = TargetFinder(bars.train, measure, space=space_of(None, bars.train, "raw"))
    records, winner = finder.compare(TARGETS, bars.test, 30)
    by_way = {record.way: record for record in records}
    assert winner == "latent search"
    assert by_way["latent search"].hits.mean > by_way["nearest known"].hits.mean
    known = ~np.isnan(known_values(bars.test, "volume"))
    assert (
        by_way["nearest known"].hits.n <= known.sum() and by_way["nearest known"].evaluations == 0
    )
    assert by_way["conditional, z = 0"].abstained == 1


def test_a_conditional_model_answers_for_the_centres_and_the_best_of_its_draws_is_taken(bars):
    sizes = designs_of(bars.train)
    table = dict(zip(("a", "b", "c"), sizes.T, strict=True))
    config = DataConfig(condition=("length",), split_seed=1)
    data = read({**table, "length": sizes.sum(1)}, config)
    np.testing.assert_allclose(
        known_values(data.train, "length"), designs_of(data.train).sum(1), rtol=1e-6
    )
    vae = build_vae(ModelConfig(latent_dim=2, likelihood="gaussian", hidden=(8,)), data.schema)
    finder = TargetFinder(data.train, measure, model=vae, tries=6)
    _, centre, best, _ = finder.find((TARGETS[1],))
    given = {"length": 6.2}
    space = space_of(vae, data.train, given=given)
    by_hand = Model(vae).decode(np.zeros((1, 2)), given=given)[0]
    np.testing.assert_allclose(centre.design, by_hand, rtol=1e-6)
    draws = space.decode(space.sample(6, np.random.default_rng(0)))
    np.testing.assert_allclose(best.got["length"], min(draws.sum(1), key=lambda y: abs(y - 6.2)))
    assert (centre.evaluations, best.evaluations, best.way) == (1, 6, "best of 6")


def test_ways_that_cannot_answer_abstain_with_a_reason(bars, tmp_path):
    digits = data_of("conditional", tmp_path)
    model = model_of("conditional", digits)

    def invalid(designs):
        return {name: np.full(len(designs), np.nan) for name in ("volume", "length")}

    _, mean, _, search = TargetFinder(bars.train, invalid, model=model).find(TARGETS)
    assert mean.design is None and mean.reason == "no model is conditioned on length, volume"
    assert search.design is None and search.reason == "every design was invalid"
    assert search.evaluations == 8 and search.miss == np.inf  # from eight known designs


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("volume", "form name=low..high; got volume"),
        ("volume=3", "form name=low..high"),
        ("volume=3..3", "to a greater one; got 3 to 3"),
        ("volume=a..3", "form name=low..high"),
    ],
)
def test_a_target_that_is_none_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        Target.of(text)


def test_a_response_that_is_not_known_is_refused(bars):
    with pytest.raises(ValueError, match=r"mass.? is not"):
        TargetFinder(bars.train, measure).find((Target("mass", 1.0, 2.0),))


def test_a_way_that_costs_nothing_is_recommended_where_it_is_as_good(bars):
    wide = (Target("volume", 7.0, 9.0), Target("length", 5.7, 6.7))
    records, winner = TargetFinder(bars.train, measure).compare(wide, bars.test, 30)
    assert winner == "nearest known" and records[0].hits.mean > 0.9


PROBLEM = """
source = "bars.csv"
evaluator = "scale:weigh"
[data]
response = ["volume"]
[[objectives]]
response = "volume"
goal = "min"
"""


def test_the_command_prints_what_each_way_got_and_writes_the_designs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    sizes = np.random.default_rng(0).uniform(1, 3, size=(300, 2))
    lines = [f"{a},{b},{a * b}" for a, b in sizes]
    Path("bars.csv").write_text("\n".join(["a,b,volume", *lines]) + "\n")
    Path("scale.py").write_text("def weigh(rows):\n    return {'volume': rows['a'] * rows['b']}\n")
    Path("problem.toml").write_text(PROBLEM)
    options = ["--held-out", "20", "--out", "found.csv"]
    assert command(["design", "target", "problem.toml", "volume=3.999..4.001", *options]) == 0
    assert "Recommended is latent search" in capsys.readouterr().out
    with open("found.csv", newline="") as file:
        found = {row["way"]: row for row in csv.DictReader(file)}
    row = found["latent search"]
    assert float(row["a"]) * float(row["b"]) == pytest.approx(float(row["volume"]), rel=1e-4)
    assert abs(float(row["volume"]) - 4) <= 0.001
    written = Path("found.csv").read_bytes()
    assert command(["design", "target", "problem.toml", "volume=3..4", *options]) == 2
    assert "must be a new file; found.csv exists. Choose another --out" in capsys.readouterr().err
    assert Path("found.csv").read_bytes() == written
    assert command(["design", "target", "problem.toml", "volume=3..4", "--out", "found.txt"]) == 2
    assert "must be a .csv file; got found.txt" in capsys.readouterr().err
    assert command(["design", "target", "problem.toml", "volume=4"]) == 2
    assert "form name=low..high" in capsys.readouterr().err
    assert command(["design", "target", "problem.toml"]) == 2
