"""Choices of a person whose utility is known: what is learned of it, and what a study finds by it."""

import csv
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau, norm, spearmanr

from variform import read
from variform.design.evaluators import Answer
from variform.design.history import History
from variform.design.journal import Journal
from variform.design.preference import (
    Choices,
    fit_preference,
    foretold,
    pairs_of_ratings,
    propose_preferred,
)
from variform.design.problem import Objective, Problem
from variform.design.study import Repair, Search, Study
from variform.faces.cli.commands import run as command

pytest.importorskip("botorch")
BOX = np.zeros(2), np.ones(2)


def utility(z):
    return -((z - [0.3, 0.6]) ** 2).sum(1)


def test_choices_between_pairs_give_back_the_order_of_a_known_utility():
    rng = np.random.default_rng(0)
    z, others = rng.random((30, 2)), rng.random((200, 2))
    pairs = rng.permuted(np.tile(np.arange(30), (60, 1)), axis=1)[:, :2]
    pairs = np.where(
        (utility(z)[pairs[:, 0]] > utility(z)[pairs[:, 1]])[:, None], pairs, pairs[:, ::-1]
    )
    learned = fit_preference(z, pairs, BOX)
    assert spearmanr(learned.utility(others), utility(others)).statistic > 0.9
    share = foretold(Choices(z, pairs), BOX)
    assert share.n >= 60 and share.mean > 0.8


def test_ratings_of_five_grades_give_back_the_order_of_a_known_utility():
    rng = np.random.default_rng(1)
    z, others = rng.random((25, 2)), rng.random((200, 2))
    grades = np.searchsorted(np.quantile(utility(z), [0.2, 0.4, 0.6, 0.8]), utility(z)) + 1.0
    grades[:3] = np.nan
    pairs = pairs_of_ratings(grades)
    assert not np.isin(pairs, [0, 1, 2]).any()
    learned = fit_preference(z, pairs, BOX)
    assert spearmanr(learned.utility(others), utility(others)).statistic > 0.9


def test_choices_by_chance_are_foretold_by_chance():
    rng = np.random.default_rng(2)
    z = rng.random((40, 2))
    pairs = rng.permuted(np.tile(np.arange(40), (80, 1)), axis=1)[:, :2]
    share = foretold(Choices(z, pairs), BOX)
    assert abs(share.mean - 0.5) < 3 * share.se
    assert foretold(Choices(z, pairs[:2]), BOX) is None


def test_mistakes_are_said():
    with pytest.raises(ValueError, match="`pairs` must hold one choice or more, got none; rate"):
        fit_preference(np.zeros((2, 2)), pairs_of_ratings(np.ones(2)), BOX)
    with pytest.raises(ValueError, match="rows from 0 to 1, got 0 to 2"):
        fit_preference(np.zeros((2, 2)), np.array([[0, 2]]), BOX)


# --- what is shown next -------------------------------------------------------------------------------------------


class Normal:
    """Coordinates of a standard normal law, which are the design; the best is 1.5 from the centre."""

    name = "raw"

    def __init__(self, dim=3):
        self.dim = dim
        self.box = np.full(dim, -2.6), np.full(dim, 2.6)
        self.best = np.full(dim, 1.5 / np.sqrt(dim))

    def sample(self, count, rng):
        return rng.normal(size=(count, self.dim)).clip(*self.box)

    def decode(self, z):
        return 10 * z

    def encode(self, x):
        return x / 10

    def utility(self, z):
        return np.exp(-((z - self.best) ** 2).sum(-1) / 4.5)


def walk(space, seed, *, at_random, choices=40, shown=4):
    """A person compares each design with the best so far, and errs; gives the points and the choices."""
    rng = np.random.default_rng(seed)
    z, favourite, pairs = space.sample(1, rng), 0, []
    while len(pairs) < choices:
        known = Choices(z, np.array(pairs, int).reshape(-1, 2))
        new = space.sample(shown, rng)
        if not at_random:
            new = propose_preferred(space, known, shown, seed=seed)
        for point in new:
            z = np.concatenate([z, point[None]])
            gain = space.utility(z[-1]) - space.utility(z[favourite])
            pair = (len(z) - 1, favourite)
            pairs.append(pair if rng.random() < norm.cdf(gain / 0.07) else pair[::-1])
            favourite = pairs[-1][0]
    return Choices(z, np.array(pairs))


def test_after_forty_choices_the_winner_is_near_the_best_and_ahead_of_random_designs():
    """Medians over seeds, of which one or another is unlucky; the best is 1, and a draw has .24 in the mean."""
    space, winners, taus = Normal(6), [], []
    others = space.sample(300, np.random.default_rng(9))
    for seed in range(3):
        choices = walk(space, seed, at_random=False)
        learned = fit_preference(choices.z, choices.pairs, space.box)
        winners.append(space.utility(choices.z[learned.utility(choices.z).argmax()]))
        taus.append(kendalltau(learned.utility(others), space.utility(others)).statistic)
    assert np.median(winners) > 0.8
    assert np.median(taus) > 0.3
    by_chance = [walk(space, seed, at_random=True) for seed in range(30)]
    ends = [one.z[one.pairs[-1, 0]] for one in by_chance]
    assert np.median(winners) > np.quantile(space.utility(np.array(ends)), 0.75)


def test_what_is_shown_next_depends_on_choices_and_seed_alone():
    space = Normal(6)
    choices = walk(space, 5, at_random=True, choices=16)
    shown = []
    for state in (1, 2):  # of the generators that libraries draw from
        np.random.seed(state)
        torch.manual_seed(state)
        shown.append(propose_preferred(space, choices, 2, seed=7))
    np.testing.assert_array_equal(*shown)
    assert not np.array_equal(propose_preferred(space, choices, 2, seed=8), shown[0])


def test_before_the_first_choice_draws_are_shown_and_of_a_pool_none_twice():
    space = Normal()
    nothing = Choices(np.empty((0, 3)), np.empty((0, 2), int))
    first = propose_preferred(space, nothing, 50, seed=1)
    assert (
        first.shape == (50, 3) and abs(first.mean()) < 0.3 and len(np.unique(first, axis=0)) == 50
    )
    space.points = first[:9]
    choices = Choices(first[:4], np.array([[0, 1], [2, 3]]))
    shown = propose_preferred(space, choices, 3, seed=1, pending=first[4:5])
    assert len(np.unique(shown, axis=0)) == 3
    assert all((row == first[5:9]).all(1).any() for row in shown)
    rest = propose_preferred(space, choices, 9, seed=1, pending=first[4:5])
    assert sorted(rest.tolist()) == sorted(first[5:9].tolist())


# --- a study ------------------------------------------------------------------------------------------------------

PREFERENCE = Problem(
    source="x.csv",
    objectives=(Objective(response="rating", goal="max"),),
    optimiser="preference",
    batch=4,
    budget=40,
)
SEARCH = Search("raw", Normal(), "preference", 3)


@pytest.fixture(scope="module")
def schema():
    return read(np.random.default_rng(0).uniform(0, 10, (60, 3))).schema


def study_in(folder, schema):
    history = History(Journal(folder / "journal.jsonl"), (3,))
    return Study(PREFERENCE, history, None, Repair(None, schema, lambda a, b: np.zeros(len(a))))


def test_a_study_that_is_cut_anywhere_shows_what_it_would_have_shown(tmp_path, schema):
    """Every cut of the journal, told again what a person has in his tables, asks for the same designs."""
    study = study_in(tmp_path, schema)
    first = [one.id for one in study.ask(SEARCH, 4)]
    pairs = [(first[0], first[1]), (first[2], first[0])]
    study.history.prefer(pairs)
    study.history.answer({first[3]: Answer({"rating": 4.0}), first[0]: Answer({"rating": 2.0})})
    expected = [one.z.tolist() for one in study.ask(SEARCH, 1)]
    whole = (tmp_path / "journal.jsonl").read_bytes()
    ends = list(itertools.accumulate(map(len, whole.splitlines(keepends=True))))
    for cut in (ends[0] - 7, ends[1] + 9, ends[4] - 1, ends[5] - 7):
        (tmp_path / "journal.jsonl").write_bytes(whole[:cut])
        again = study_in(tmp_path, schema)
        history = again.history
        if not history.asked:
            assert [one.id for one in again.ask(SEARCH, 4)] == first
        history.prefer([pair for pair in pairs if pair not in history.preferred])
        for id, rating in ((first[3], 4.0), (first[0], 2.0)):
            history.answer({id: Answer({"rating": rating})})
        assert len(history.asked[SEARCH.key]) == 4
        again.ask(SEARCH, 1)
        assert [one.z.tolist() for one in history.asked[SEARCH.key][4:]] == expected


def test_a_rating_after_a_comparison_counts_and_what_is_told_to_be_none_is_left_out(
    tmp_path, schema
):
    study = study_in(tmp_path, schema)
    ids = [one.id for one in study.ask(SEARCH, 4)]
    study.history.prefer([(ids[1], ids[0])])
    assert [one.id for one in study.history.waiting(SEARCH.key)] == ids[2:]
    study.history.answer({ids[0]: Answer({"rating": 5.0}), ids[2]: Answer({"rating": 1.0})})
    study.history.answer({ids[3]: Answer({}, False, "no frame")})
    choices, known = study.choices(SEARCH)
    assert known == ids[:3]
    assert choices.pairs.tolist() == [[0, 2], [1, 0]]  # by ratings, then as told
    again = study_in(tmp_path, schema)
    assert again.choices(SEARCH)[0].pairs.tolist() == choices.pairs.tolist()


PROBLEM = """source = "bars.csv"
optimiser = "preference"
spaces = ["raw"]
batch = 6
budget = 20
[[objectives]]
response = "rating"
goal = "max"
"""


@pytest.fixture
def bars(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sizes = np.random.default_rng(0).uniform(1, 3, size=(90, 2))
    Path("bars.csv").write_text("\n".join(["a,b", *(f"{a},{b}" for a, b in sizes)]) + "\n")
    Path("p.toml").write_text(PROBLEM)


def rows_of(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_a_designer_walks_by_ratings_and_by_pairs(bars, capsys):
    assert command(["design", "ask", "p.toml"]) == 0
    asked = rows_of("runs/p/asked-1.csv")
    order = sorted(asked, key=lambda row: float(row["a"]))  # who likes a large
    pairs = [f"{better['id']},{worse['id']}" for worse, better in itertools.pairwise(order)]
    wrong = [f"{order[0]['id']},nobody", f"{order[0]['id']},{order[0]['id']}", ",", pairs[0]]
    Path("pairs.csv").write_text("\n".join(["preferred,other", *pairs, *wrong]) + "\n")
    assert command(["design", "tell", "p.toml", "pairs.csv"]) == 0
    out = capsys.readouterr().out
    assert "5 choices taken; 0 designs still wait" in " ".join(out.split())
    assert "nothing was asked by the id 'nobody'" in " ".join(out.split())
    assert "over itself is left out" in out and "1 row without two ids" in out
    assert f"Most preferred so far of 6 designs is {order[-1]['id']}." in " ".join(out.split())
    assert command(["design", "tell", "p.toml", "pairs.csv"]) == 0  # told twice, taken once
    assert "0 answers taken" in capsys.readouterr().out
    assert command(["design", "ask", "p.toml"]) == 0
    more = rows_of("runs/p/asked-2.csv")
    grades = np.digitize([float(row["a"]) for row in more], [1.4, 1.8, 2.2, 2.6]) + 1
    lines = [f"{row['id']},{grade}" for row, grade in zip(more, grades, strict=True)]
    Path("rated.csv").write_text("\n".join(["id,rating", *lines]) + "\n")
    assert command(["design", "tell", "p.toml", "rated.csv"]) == 0
    results = json.loads(Path("runs/p/results.json").read_text())
    found = {row["id"]: row for row in rows_of("runs/p/results.csv")}
    assert results["verdict"][0].startswith("Most preferred so far of 1")
    assert float(found[order[-1]["id"]]["utility"]) > float(found[order[0]["id"]]["utility"])
    assert min(float(row["utility"]) for row in found.values()) == 0
    assert found[more[0]["id"]]["rating"] == str(float(grades[0]))
    taken = sorted(found, key=lambda id: float(found[id]["utility"]))
    sizes = [float(found[id]["a"]) for id in taken]
    assert spearmanr(sizes, range(12)).statistic > 0.8
    capsys.readouterr()
    assert command(["design", "select", "p.toml", "--count", "2", "--within", "50"]) == 0
    assert command(["design", "export", "p.toml", "--out", "best.csv"]) == 0
    assert rows_of("best.csv")[0]["a"] == pytest.approx(found[taken[-1]]["a"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("goal", 'goal = "max"\n[[constraints]]\nresponse = "mass"\nat_most = 1 #'), "no constraints; got 1 and 1"),
        (("batch = 6", 'batch = 6\nevaluator = "judge:it"'), "a person must be the one who answers; got evaluator"),
        (('"preference"', '"preferences"'), "preferences"),
    ],
)  # fmt: skip
def test_a_problem_that_no_person_can_answer_is_refused(bars, capsys, change, words):
    Path("p.toml").write_text(PROBLEM.replace(*change, 1))
    assert command(["design", "ask", "p.toml"]) == 2
    assert words in " ".join(capsys.readouterr().err.split())
    assert not Path("runs").exists()
