"""The design loop: what is proposed survives kills and torn journals, and what answers is held to its contract."""

import csv
import itertools
import os
import shlex
import signal
import sys
import warnings

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.metrics import roc_auc_score

from variform import DataConfig, read
from variform.design.answers import read_answers
from variform.design.evaluators import Answer, FunctionEvaluator
from variform.design.history import Asked, History, Own
from variform.design.journal import Journal
from variform.design.outcomes import best_so_far, distinct, hypervolume, is_better, outcome
from variform.design.problem import Constraint, Objective, Problem
from variform.design.study import Repair, Search, Study
from variform.design.told import Told
from variform.faces import cli
from variform.system.files import read_json

# --- a loop without data: the unit square -------------------------------------------------------------------------


class Square:
    """Two coordinates in [0, 1], which are the design."""

    name, dim = "raw", 2
    box = (np.zeros(2), np.ones(2))

    def decode(self, z):
        return 10 * z

    def encode(self, x):
        return x / 10

    def sample(self, count, rng):
        return rng.random((count, 2))


def bowl(rows):
    """Least at (7, 3); half of the square breaks the constraint, a corner is invalid."""
    x, y = rows.T
    drag = (x - 7) ** 2 + (y - 3) ** 2
    return {"drag": np.where(x + y > 18, np.nan, drag), "mass": x}


@pytest.fixture(scope="module")
def schema():
    return read(np.random.default_rng(0).uniform(0, 10, (60, 2))).schema


def problem_of(**options):
    drag, light = Objective(response="drag"), Constraint(response="mass", at_most=5, tolerance=2.5)
    options = {"budget": 12, "batch": 4, "optimiser": "random", "constraints": (light,)} | options
    return Problem(source="x.csv", objectives=(drag,), **options)


def study_in(folder, schema, function=bowl, problem=None, repair=None):
    problem = problem or problem_of()
    history = History(Journal(folder / "journal.jsonl"), (2,))
    evaluator = FunctionEvaluator(function, problem.responses, schema)

    def apart(designs, others):
        return np.linalg.norm(designs - others, axis=1)

    return Study(problem, history, evaluator, Repair(repair, schema, apart))


SEARCH = Search("raw", Square(), "random", 3)


def finish(study):
    for _ in study.advance(SEARCH):
        pass
    return study.history


def asked_of(history):
    return [(one.id, one.batch, one.z.tolist()) for one in history.asked[SEARCH.key]]


def test_a_search_spends_its_budget_in_batches_and_two_are_alike(tmp_path, schema):
    first, second = (tmp_path / name for name in "ab")
    first.mkdir(), second.mkdir()
    history = finish(study_in(first, schema))
    asked = asked_of(history)
    assert [batch for _, batch, _ in asked] == [0] * 4 + [1] * 4 + [2] * 4
    assert len({tuple(z) for _, _, z in asked}) == 12 and len(history.answers) == 12
    assert asked_of(finish(study_in(second, schema))) == asked
    again = study_in(first, schema)
    assert list(again.advance(SEARCH)) == [] and asked_of(again.history) == asked
    for one in history.asked[SEARCH.key]:
        answer = history.answers[one.id]
        assert answer.valid == (one.repaired.sum() <= 18)
        if answer.valid:
            assert answer.responses["drag"] == np.sum((one.repaired - [7, 3]) ** 2)


def test_a_journal_cut_anywhere_in_its_last_records_loses_no_answer_and_proposes_the_same(
    tmp_path, schema
):
    finish(study_in(tmp_path, schema))
    path = tmp_path / "journal.jsonl"
    whole = path.read_bytes()
    expected = History(Journal(path), (2,))
    ends = list(itertools.accumulate(len(line) for line in whole.splitlines(keepends=True)))
    first = ends[
        -7
    ]  # then: an answer of the batch before, the designs of the last one, their four answers
    at_ends = {end + shift for end in ends[-7:] for shift in (-2, -1, 0, 1)}
    for cut in sorted({*range(first, len(whole), EVERY), *at_ends}):
        path.write_bytes(whole[:cut])
        torn = Journal(path)
        assert len(torn.records) == sum(
            end - 1 <= cut for end in ends
        )  # a line is whole without its end
        calls = []
        study = study_in(tmp_path, schema, counting(calls))
        assert asked_of(finish(study)) == asked_of(expected)
        answered = sum(record["kind"] == "answered" for record in torn.records)
        assert sum(calls) == 12 - answered  # what was answered is not evaluated again
        assert responses_of(History(Journal(path), (2,))) == responses_of(expected)


EVERY, KILLS = 61, 12
"""Bytes between two cuts, and kills between asking and telling; 1 and 100 were run too."""


@pytest.mark.parametrize(
    ("optimiser", "budget", "batch", "share"), [("cma", 150, 6, 0.02), ("gp", 20, 5, 0.02)]
)
def test_optimisers_find_the_optimum_through_the_whole_loop(
    tmp_path, schema, optimiser, budget, batch, share
):
    """The constraint x <= 5 binds: the least drag is 4, at (5, 3). The median over seeds, some unlucky."""
    pytest.importorskip({"cma": "cma", "gp": "botorch"}[optimiser])
    light = Constraint(response="mass", at_most=5)
    problem = problem_of(optimiser=optimiser, budget=budget, batch=batch, constraints=(light,))
    least = []
    for seed in range(3):
        search = Search("raw", Square(), optimiser, seed)
        (tmp_path / str(seed)).mkdir()
        study = study_in(tmp_path / str(seed), schema, problem=problem)
        for _ in study.advance(search):
            pass
        told = study.told(search)
        assert len(told) == budget
        least.append(told.objectives[told.is_feasible].min())
    assert min(least) >= 4
    assert np.median(least) <= 4 * (1 + share)


def counting(calls):
    def judge(rows):
        calls.append(len(rows))
        return bowl(rows)

    return judge


def responses_of(history):
    return {id: (one.responses, one.valid, one.reason) for id, one in history.answers.items()}


def test_a_changed_line_is_passed_over_and_the_others_stay(tmp_path, schema):
    expected = asked_of(finish(study_in(tmp_path, schema)))
    path = tmp_path / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    for number, line in enumerate(lines):
        path.write_bytes(
            b"".join([*lines[:number], line.replace(b"1", b"2", 1), *lines[number + 1 :]])
        )
        torn = Journal(path)
        assert len(torn.records) == len(lines) - 1 and torn.set_aside == 1
        assert asked_of(finish(study_in(tmp_path, schema))) == expected


def killed_in_a_child(work, *arguments):
    """Have a forked child do something in which it kills itself; whether it did."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of forks beside threads, which do nothing here
        child = os.fork()
    if child == 0:
        try:
            work(*arguments)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def finish_and_die_at_a_write(folder, schema, number):
    sync, count = os.fsync, itertools.count()

    def dying(descriptor):
        if next(count) == number:
            die()
        sync(descriptor)

    os.fsync = dying  # of the child alone
    finish(study_in(folder, schema))


def finish_and_die_in_an_evaluation(folder, schema, number):
    count = itertools.count()

    def dying(rows):
        if next(count) == number:
            die()
        return bowl(rows)

    finish(study_in(folder, schema, dying))


@pytest.mark.parametrize(
    ("work", "number"),
    [
        *((finish_and_die_at_a_write, number) for number in range(7)),
        *((finish_and_die_in_an_evaluation, number) for number in range(3)),
    ],
)
def test_a_kill_at_any_write_and_in_any_evaluation_changes_nothing(tmp_path, schema, work, number):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir(), killed.mkdir()
    expected = finish(study_in(whole, schema))
    assert killed_in_a_child(work, killed, schema, number)
    history = finish(study_in(killed, schema))
    assert asked_of(history) == asked_of(expected) and responses_of(history) == responses_of(
        expected
    )


def ask_by_hand(folder, schema):
    return study_in(folder, schema, problem=problem_of(budget=400)).ask(SEARCH, 3)


def tell_by_hand(folder, schema, designs):
    study = study_in(folder, schema, problem=problem_of(budget=400))
    answers = study.evaluator.evaluate(np.stack([one.repaired for one in designs]))
    study.history.answer({one.id: answer for one, answer in zip(designs, answers, strict=True)})


def ask_perhaps_and_die(folder, schema, turn):
    if turn % 2:
        ask_by_hand(folder, schema)
    die()


def test_kills_between_asking_and_telling_by_hand_change_nothing(tmp_path, schema):
    """One process asks and is killed, the next tells in two parts; beside it one that lives."""
    killed, alive = tmp_path / "killed", tmp_path / "alive"
    killed.mkdir(), alive.mkdir()
    for turn in range(KILLS):
        assert killed_in_a_child(ask_perhaps_and_die, killed, schema, turn)
        waiting = study_in(killed, schema).history.waiting(SEARCH.key)
        designs = waiting or ask_by_hand(killed, schema)
        expected = ask_by_hand(alive, schema)
        assert [one.z.tolist() for one in designs] == [one.z.tolist() for one in expected]
        tell_by_hand(killed, schema, designs[1:])
        tell_by_hand(killed, schema, designs[:1])
        tell_by_hand(alive, schema, expected)
    assert len(study_in(killed, schema).history.answers) == 3 * KILLS


def test_what_is_told_has_the_signs_of_goals_and_the_tolerances_of_constraints(tmp_path, schema):
    lift, mass = Objective(response="lift", goal="max"), Objective(response="mass", reference=9)
    limits = (
        Constraint(response="drag", at_least=1),
        Constraint(response="drag", at_most=3, tolerance=0.5),
        Constraint(response="volume", equal=2, tolerance=0.1),
    )
    lift = Objective(response="lift", goal="max", reference=1)
    problem = Problem(source="x", objectives=(lift, mass), constraints=limits, optimiser="gp")
    study = study_in(tmp_path, schema, problem=problem)
    values = {"lift": 4.0, "mass": 5.0, "drag": 3.25, "volume": 1.75}
    study.history.ask(SEARCH.key, [Asked("raw-3-0001", 0, np.ones(2), np.ones(2), np.ones(2))])
    study.history.answer({"raw-3-0001": Answer(values)})
    study.history.tell([Own("own-0001", np.array([5.0, 10.0]), Answer({"lift": 1.0}, False, "no"))])
    told = study.told(SEARCH)
    assert told.objectives[0].tolist() == [-4, 5] and told.z.tolist() == [[1, 1], [0.5, 1]]
    assert told.violations[0] == pytest.approx([1 - 3.25, 3.25 - 3.5, 0.25 - 0.1])
    assert told.valid.tolist() == [True, False] and told.batch.tolist() == [0, -1]
    assert problem.responses == ("lift", "mass", "drag", "volume")


# --- repair -------------------------------------------------------------------------------------------------------


def test_a_repair_comes_before_the_evaluation_and_all_is_kept(tmp_path, schema):
    seen = []

    def judge(rows):
        seen.append(rows)
        return bowl(rows)

    finish(study_in(tmp_path, schema, judge, repair=np.round))
    history = History(Journal(tmp_path / "journal.jsonl"), (2,))
    designs = history.asked[SEARCH.key]
    assert np.concatenate(seen).tolist() == [one.repaired.tolist() for one in designs]
    for one in designs:
        np.testing.assert_array_equal(one.decoded, 10 * one.z)
        np.testing.assert_array_equal(one.repaired, np.round(one.decoded))
        assert one.moved == pytest.approx(np.linalg.norm(one.decoded - one.repaired))


def test_a_design_that_cannot_be_repaired_is_invalid_and_the_others_are_evaluated(tmp_path, schema):
    def repair(rows):
        if (rows[:, 0] > 5).any():
            raise ZeroDivisionError("no such beam")
        return rows

    history = finish(study_in(tmp_path, schema, repair=repair))
    for one in history.asked[SEARCH.key]:
        answer = history.answers[one.id]
        if one.decoded[0] > 5:
            assert not answer.valid and "ZeroDivisionError: no such beam" in answer.reason
        else:
            assert "drag" in answer.responses
    assert 0 < sum(one.decoded[0] > 5 for one in history.asked[SEARCH.key]) < 12


# --- figures ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("objectives", [1, 2, 3])
def test_a_hypervolume_is_that_of_inclusion_and_exclusion(objectives):
    points = np.random.default_rng(objectives).random((7, objectives)) * 1.2
    reference = np.ones(objectives)
    volume = 0.0
    for count in range(1, len(points) + 1):
        for some in itertools.combinations(points, count):
            common = np.clip(reference - np.max(some, axis=0), 0, None).prod()
            volume += (-1) ** (count + 1) * common
    assert hypervolume(points, reference) == pytest.approx(volume, rel=1e-12)


def test_the_best_so_far_counts_feasible_designs_only():
    told = Told.of(
        [[0], [1], [2], [3], [4]],
        [5.0, 1.0, np.nan, 4.0, 4.5],
        violations=[[1.0], [0.1], [0.0], [0.0], [-1.0]],
    )
    np.testing.assert_array_equal(best_so_far(told), [np.nan, np.nan, np.nan, 4, 4])
    two = Told.of([[0], [1], [2]], [[1.0, 2.0], [2.0, 1.0], [0.0, 9.0]])
    assert best_so_far(two, np.array([3.0, 3.0])).tolist() == [-2, -3, -3]


def test_better_than_the_known_is_feasible_and_dominated_by_none():
    known = Told.of([[0], [1]], [[1.0, 2.0], [0.0, 0.0]], violations=[[0.0], [1.0]])
    told = Told.of(
        np.zeros((4, 1)), [[1.0, 2.0], [0.5, 3.0], [2.0, 2.0], [0.0, 0.0]],
        violations=[[0.0], [0.0], [0.0], [2.0]],
    )  # fmt: skip
    assert is_better(told, known).tolist() == [False, True, False, False]


def test_the_figures_of_a_search():
    values = [9.0, 5.0, 4.0, 3.9, np.nan, 2.0]
    told = Told.of(np.zeros((6, 1)), values, violations=[[-1.0]] * 5 + [[1.0]])
    known = Told.of([[0], [0]], [6.0, 7.0], violations=[[0.0], [0.0]])
    rows = np.array([[0], [1], [3], [3.1], [4], [5]], float)
    found = outcome("latent", 0, told, rows, 0.5, known=known, reference=None)
    assert (found.wasted, found.infeasible) == (1 / 6, 1 / 6)
    assert (
        found.beats_after == 2 and found.better == 2 and found.winner == 3 and found.reached == 3.9
    )
    broken = Told.of(
        [[0], [0]], [6.0, 7.0], violations=[[1.0], [2.0]]
    )  # which any feasible design beats
    found = outcome("latent", 0, told, rows, 0.5, known=broken, reference=None)
    assert (found.beats_after, found.better) == (1, 3)
    alone = outcome("latent", 0, told, rows, 0.5, known=None, reference=None)
    assert alone.beats_after is None and alone.better is None
    assert distinct(rows[::-1], 1.5) == [0, 2, 4]


# --- answers by hand ----------------------------------------------------------------------------------------------


@pytest.fixture
def told_by_hand(tmp_path):
    """A table of known designs, its problem, and four designs that wait."""
    draw = np.random.default_rng(0)
    table = {"width": draw.uniform(0, 10, 60), "height": draw.uniform(0, 10, 60)}
    schema = read(table).schema
    problem = problem_of()
    history = History(Journal(tmp_path / "journal.jsonl"), (2,))
    designs = [np.array([number + 0.123456789, 2.0]) for number in range(4)]
    history.ask("raw-0", [Asked(f"raw-0-000{k + 1}", 0, x, x, x) for k, x in enumerate(designs)])

    def tell(text):
        path = tmp_path / "answers.csv"
        path.write_text(text)
        return read_answers(path, problem, history, schema)

    return tell, history


def test_rows_come_in_any_order_and_not_all_of_them(told_by_hand):
    tell, _ = told_by_hand
    found = tell("mass,id,drag\n2,raw-0-0003,1.5\nnan,raw-0-0001,3\n")
    assert found.by_id["raw-0-0003"] == Answer({"drag": 1.5, "mass": 2.0})
    assert found.by_id["raw-0-0001"] == Answer({"drag": 3.0}, False, "mass: nan")
    assert len(found.by_id) == 2 and not found.own and not found.notes


def test_words_gaps_and_no_make_a_design_invalid_and_rows_without_responses_wait(told_by_hand):
    tell, _ = told_by_hand
    found = tell(
        "id;drag;mass;valid;reason\nraw-0-0001;crashed;2,5;;\nraw-0-0002;1,5;;yes;\n"
        "raw-0-0003;;;no;too thin\nraw-0-0004;;;;\n"
    )
    reasons = {id: one.reason for id, one in found.by_id.items()}
    assert reasons == {
        "raw-0-0001": "drag: crashed",
        "raw-0-0002": "no number for mass",
        "raw-0-0003": "too thin",
    }
    assert found.by_id["raw-0-0001"].responses == {"mass": 2.5}
    assert not any(one.valid for one in found.by_id.values())
    assert "1 row without any response still wait" in found.notes[0]


def test_rows_and_columns_of_the_users_own_are_said_and_taken(told_by_hand):
    tell, history = told_by_hand
    text = (
        "id,width,height,drag,mass,cost\nmine,5,6,1.5,2,9\n,7,8,2.5,3,\nraw-0-0001,0.12346,2,4,4,4\n"
        "raw-0-0002,9,2,5,5,5\nother,,,1,1,1\n"
    )
    found = tell(text)
    assert [one.design.tolist() for one in found.own] == [[5, 6], [7, 8], [9, 2]]
    assert found.own[0].answer == Answer({"drag": 1.5, "mass": 2.0, "cost": 9.0})
    assert list(found.by_id) == ["raw-0-0001"]  # which was rounded; the other one was changed
    said = "\n".join(found.notes)
    for words in (
        "columns that the problem does not know are kept with the answers: cost",
        "'mine' is taken as a design of your own, own-0001: it was not asked for",
        "'raw-0-0002' is taken as a design of your own, own-0003: its design was changed",
        "the row of 'other' is left out: it was not asked for",
    ):
        assert words in said
    history.answer(found.by_id)
    history.tell(found.own)
    again = tell(text)
    assert not again.own and not again.by_id
    other = tell("id,drag,mass\nraw-0-0001,9,9\n")
    assert not other.by_id and "has an answer already, which stays" in other.notes[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("id,drag\nraw-0-0001,1\n", "a column for each response; mass is not among id, drag"),
        ("id,drag,mass,valid\nraw-0-0001,1,1,perhaps\n", "'perhaps' in the row of 'raw-0-0001'"),
        (
            "id;drag;mass\na;1,5;2.5\nb;2,5;3\n",
            "same decimal mark.*1,5'. Correct the file; variform",
        ),
        (
            "id,drag,mass\na,1,5,2\n",
            "must hold 3 cells; line 2 holds 4. Correct the file; variform",
        ),
        ("id,drag,\na,1,5\n", "Correct the file; variform"),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused(told_by_hand, text, words):
    """And no message names how else to read it: a table of answers is read without options."""
    tell, _ = told_by_hand
    with pytest.raises(ValueError, match=words) as refused:
        tell(text)
    assert "`" not in str(refused.value)


def test_a_row_of_which_no_design_can_be_read_is_left_out_alone(told_by_hand, tmp_path):
    tell, _ = told_by_hand
    found = tell(
        "id,width,height,drag,mass\nodd,wide,2,1,1\nmine,5,6,1.5,2\nraw-0-0002,,,5,5\n,7,high,1,1\n"
        "raw-0-0001,wide,2,9,9\n"
    )
    assert [one.design.tolist() for one in found.own] == [[5, 6]]
    assert list(found.by_id) == ["raw-0-0002"]
    left_out = [note for note in found.notes if "is left out, and the others are taken" in note]
    for note, (who, word) in zip(
        left_out,
        [("the row of 'odd'", "wide"), ("row 4 without an id", "high"), ("raw-0-0001", "wide")],
        strict=True,
    ):
        assert who in note and f"'{word}'" in note and "`" not in note


def test_a_category_that_is_not_known_costs_its_row_alone(tmp_path):
    wood = ["ash", "oak"] * 30
    schema = read({"width": np.linspace(1, 9, 60), "wood": wood}, DataConfig(cells="mixed")).schema
    path = tmp_path / "answers.csv"
    path.write_text("id,width,wood,drag,mass\na,5,oak,1,1\nb,5,elm,2,2\nc,6,ash,3,3\n")
    history = History(Journal(tmp_path / "journal.jsonl"), (2,))
    found = read_answers(path, problem_of(), history, schema)
    assert [one.design.tolist() for one in found.own] == [[5, 1], [6, 0]]
    assert any("'b' is left out" in note and "'elm'" in note for note in found.notes)


# --- the command line ---------------------------------------------------------------------------------------------

JUDGE = """
import numpy as np

def judge(rows):
    width, height = rows["width"], rows["height"]
    drag = (width - 6) ** 2 + (height - 2) ** 2
    return {"drag": np.where(width > 9.5, np.nan, drag), "mass": width + height}

def fine(rows):
    found = judge(rows)
    return found | {"drag": found["drag"] + 0.5}

def snap(rows):
    return {"width": rows["width"].round(2), "height": rows["height"].round(2)}
"""

PROBLEM = """
source = "known.csv"
{evaluator}
repair = "judge_of_loop:snap"
budget = 8
batch = 4
seeds = 2
optimiser = "random"
spaces = ["pca-2"]
beside = ["raw", "pca-1"]

[data]
response = ["drag", "mass"]

[[objectives]]
response = "drag"
unit = "N"

[[constraints]]
response = "mass"
at_most = 10
tolerance = 0.5
"""


@pytest.fixture
def place(tmp_path, monkeypatch, request):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "judge_of_loop", raising=False)
    count = (
        300 if "end_to_end" in request.node.name else 60
    )  # of 60 there are too few for surrogates
    width, height = np.random.default_rng(0).uniform(0, 10, (2, count))
    drag = (width - 6) ** 2 + (height - 2) ** 2 + 0.25
    rows = zip(width, height, drag, width + height, strict=True)
    lines = [",".join(f"{value:.6f}" for value in row) for row in rows]
    (tmp_path / "known.csv").write_text("\n".join(["width,height,drag,mass", *lines]) + "\n")
    (tmp_path / "judge_of_loop.py").write_text(JUDGE)
    evaluator = 'evaluator = "judge_of_loop:judge"\nsecond = "judge_of_loop:fine"'
    (tmp_path / "problem.toml").write_text(PROBLEM.format(evaluator=evaluator))
    (tmp_path / "hand.toml").write_text(PROBLEM.format(evaluator=""))
    return tmp_path


def table_of(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def run(command, capsys):
    assert cli.run(shlex.split(command)) == 0, capsys.readouterr().err
    return capsys.readouterr().out


def test_a_problem_from_end_to_end(place, capsys):
    said = run("design problem.toml", capsys)
    folder = place / "runs" / "problem"
    assert {item.name for item in folder.iterdir()} == {
        "problem.toml", "journal.jsonl", "results.json", "results.csv", "report.html",
    }  # fmt: skip
    assert said.index("R² of each response") < said.index("beats the data after")
    results = read_json(folder / "results.json")
    spaces = {row["name"]: row for row in results["spaces"]}
    assert list(spaces) == ["pca-2", "raw", "pca-1"]
    rows = table_of(folder / "results.csv")
    assert len(rows) == 3 * 2 * 8
    for row in rows:
        width, height = float(row["width"]), float(row["height"])
        assert round(width, 2) == width
        if row["valid"] == "true":
            assert float(row["drag"]) == pytest.approx(
                (width - 6) ** 2 + (height - 2) ** 2, rel=1e-5
            )
            assert (row["feasible"] == "true") == (width + height <= 10.5)
    by_seed = [
        min(float(row["drag"]) for row in rows
            if (row["space"], row["seed"], row["feasible"]) == ("pca-2", str(seed), "true"))
        for seed in range(2)
    ]  # fmt: skip
    assert spaces["pca-2"]["best"] == pytest.approx(np.quantile(by_seed, [0.25, 0.5, 0.75]))
    winner = spaces["pca-2"]["winner"]
    assert winner["responses"]["drag"] == min(by_seed)
    assert winner["second"]["drag"] == pytest.approx(min(by_seed) + 0.5)
    known = np.loadtxt(place / "known.csv", delimiter=",", skiprows=1)
    data = read("known.csv", DataConfig(response=("drag", "mass")))
    train = known[data.train.index.numpy()]
    best = train[train[:, 3] <= 10.5, 2].min()
    assert results["best_known"]["best"] == pytest.approx(best)
    page = (folder / "report.html").read_text()
    assert "pca-2" in page and "Best so far" in page and "<svg" in page


def changed(place, *pairs):
    """The problem with other words."""
    path = place / "problem.toml"
    text = path.read_text()
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new, 1)
    path.write_text(text)


def test_known_designs_without_responses_are_evaluated_by_a_cheap_evaluator(place, capsys):
    changed(place, ('response = ["drag", "mass"]', 'ignore = ["drag", "mass"]'))
    run("design problem.toml", capsys)
    results = read_json(place / "runs" / "problem" / "results.json")
    known = np.loadtxt(place / "known.csv", delimiter=",", skiprows=1)
    data = read("known.csv", DataConfig(ignore=("drag", "mass")))
    width, height = known[data.train.index.numpy(), :2].T
    drag = (width - 6) ** 2 + (height - 2) ** 2
    feasible = (width <= 9.5) & (width + height <= 10.5)
    assert results["best_known"]["designs"] == np.sum(width <= 9.5)
    assert results["best_known"]["best"] == pytest.approx(drag[feasible].min(), rel=1e-5)
    for row in results["spaces"]:
        x, y = known[row["winner"]["row"], :2]
        found = row["winner"]["nearest_responses"].get("drag", (x - 6) ** 2 + (y - 2) ** 2)
        assert found == pytest.approx((x - 6) ** 2 + (y - 2) ** 2, rel=1e-5)


def test_a_space_without_a_feasible_design_is_named_and_so_is_the_best_of_the_others(place, capsys):
    """Feasible are known designs alone, which the pool has and the columns do not meet by chance."""
    with open(place / "judge_of_loop.py", "a") as file:
        file.write(
            "\nSUMS = np.loadtxt('known.csv', delimiter=',', skiprows=1)[:, 3].round(3)\n"
            "def known(rows):\n"
            "    is_known = np.isin((rows['width'] + rows['height']).round(3), SUMS)\n"
            "    return judge(rows) | {'mass': np.where(is_known, 0, 99)}\n"
        )
    changed(
        place,
        (':judge"\nsecond = "judge_of_loop:fine"', ':known"'),
        ('repair = "judge_of_loop:snap"\n', ""),
        ('["pca-2"]', '["raw"]'),
        ('["raw", "pca-1"]', '["pool"]'),
    )
    said = run("design problem.toml", capsys)
    best = "the best of the other spaces is pool with"
    assert f"No feasible design was found in raw yet; {best}" in " ".join(said.split())


@pytest.mark.parametrize("answered", ["response", "ignore"])
def test_a_search_may_begin_where_the_best_known_designs_lie(place, capsys, answered):
    """The best of the known designs lie around (6, 2), the mean of all at (5, 5)."""
    pytest.importorskip("cma")
    changed(
        place,
        ('optimiser = "random"', 'optimiser = "cma"\nstart = "known"'),
        ('response = ["drag", "mass"]', f'{answered} = ["drag", "mass"]'),
        ('beside = ["raw", "pca-1"]', 'beside = ["raw"]'),
    )
    said = run("design problem.toml", capsys)
    assert "Every search began with the responses of the known designs" in said.replace("\n", " ")
    assert read_json(place / "runs" / "problem" / "results.json")["start"] == "known"
    first = [
        (float(row["width"]), float(row["height"]))
        for row in table_of(place / "runs" / "problem" / "results.csv")
        if row["space"] == "pca-2" and row["id"].split("-")[-2] == "1"
    ]
    assert len(first) == 8  # the first batches of two seeds
    assert np.linalg.norm(np.mean(first, axis=0) - [6, 2]) < 1.5


def test_a_search_by_hand_cannot_begin_with_what_nobody_knows(place, capsys):
    changed(
        place,
        ('evaluator = "judge_of_loop:judge"', 'start = "known"'),
        ('second = "judge_of_loop:fine"', ""),
        ('response = ["drag", "mass"]', 'ignore = ["drag", "mass"]'),
    )
    assert cli.run(["design", "ask", "problem.toml"]) == 2
    assert "begin with known designs must have their responses" in capsys.readouterr().err


def test_the_space_is_recommended_where_the_data_have_the_objective_but_not_every_response(
    place, capsys
):
    """Of twelve independent columns ten components know ten twelfths of what any two of them say."""
    columns = np.random.default_rng(0).normal(size=(300, 12))
    names = [f"width {place}" for place in "abcdefghijkl"]
    lines = [[*names, "drag"], *np.column_stack([columns, columns[:, :2].sum(1)])]
    text = "\n".join(",".join(map(str, line)) for line in lines)
    (place / "known.csv").write_text(text + "\n")
    judge = """
def judge(rows):
    return {"drag": rows["width a"] + rows["width b"], "mass": rows["width c"]}
"""
    (place / "judge_of_loop.py").write_text(judge)
    changed(
        place,
        ('"drag", "mass"', '"drag"'),
        ('repair = "judge_of_loop:snap"', ""),
        ('second = "judge_of_loop:fine"', ""),
        ('spaces = ["pca-2"]\nbeside = ["raw", "pca-1"]', "beside = []"),
    )
    said = run("design problem.toml", capsys)
    results = read_json(place / "runs" / "problem" / "results.json")
    assert "Recommended is raw" in said
    assert [row["name"] for row in results["spaces"]] == ["raw"]


@pytest.mark.parametrize("command", ["select problem.toml", "export problem.toml"])
def test_designs_are_not_written_over_a_file(place, capsys, command):
    run("design problem.toml", capsys)
    (place / "old.csv").write_text("mine")
    assert cli.run(["design", *command.split(), "--out", "old.csv"]) == 2
    said = "error: the output must be a new file; old.csv exists. Choose another --out.\n"
    assert capsys.readouterr().err == said
    assert (place / "old.csv").read_text() == "mine"


def test_a_space_of_more_components_than_there_are_is_said_to_be_cut(place, capsys):
    changed(place, ('spaces = ["pca-2"]', 'spaces = ["pca-99"]'))
    said = " ".join(run("design problem.toml", capsys).split())
    assert "pca-99 is searched as pca-2: the designs have no more principal components" in said
    page = (place / "runs" / "problem" / "report.html").read_text()
    assert "pca-99 is searched as pca-2" in page and "pca-1 is searched" not in page


def test_beside_a_dear_evaluator_nothing_else_is_searched_unless_asked_for(
    place, capsys, monkeypatch
):
    monkeypatch.setattr("variform.design.comparison.CHEAP", 0.0)
    changed(place, ('beside = ["raw", "pca-1"]', ""), ("seeds = 2", "seeds = 1"))
    said = run("design problem.toml", capsys)
    results = read_json(place / "runs" / "problem" / "results.json")
    assert [row["name"] for row in results["spaces"]] == ["pca-2"]
    assert "Other spaces did not get the same budget" in said and "nearest to the winner" in said
    changed(place, ("seeds = 1", 'seeds = 1\nbeside = ["raw"]'))
    run("design problem.toml", capsys)
    results = read_json(place / "runs" / "problem" / "results.json")
    assert [row["name"] for row in results["spaces"]] == ["pca-2", "raw"]


def test_which_designs_are_valid_is_learned_and_stands_beside_the_density(place, capsys):
    """The density of two components of two columns falls with the Mahalanobis distance from the known designs."""
    judge = place / "judge_of_loop.py"
    judge.write_text(judge.read_text().replace("width > 9.5", "height > 6"))
    said = run("design problem.toml", capsys)
    folder = place / "runs" / "problem"
    rows = table_of(folder / "results.csv")
    designs = np.array([[float(row["width"]), float(row["height"])] for row in rows])
    designs, first = np.unique(designs, axis=0, return_index=True)
    is_valid = designs[:, 1] <= 6
    assert [rows[place]["valid"] == "true" for place in first] == is_valid.tolist()
    found = read_json(folder / "results.json")["validity"]
    assert (found["valid"], found["invalid"]) == (is_valid.sum(), (~is_valid).sum())
    train = read("known.csv", DataConfig(response=("drag", "mass"))).train.raw.double().numpy()
    squares = cdist(designs, [train.mean(0)], "mahalanobis", VI=np.linalg.inv(np.cov(train.T)))
    assert found["density_of"] == "pca-2"
    assert found["density"]["mean"] == pytest.approx(roc_auc_score(is_valid, -squares[:, 0]))
    assert found["learned"]["mean"] > 0.9 and found["learned"]["se"] < 0.05
    sentence = f"learned from {is_valid.sum()} valid and {(~is_valid).sum()} invalid ones: AUC 0.9"
    assert sentence in said and sentence in (folder / "report.html").read_text()
    run("design problem.toml", capsys)
    assert (folder / "journal.jsonl").read_text().count('"validity"') == 1


def test_several_objectives_have_a_hypervolume_and_the_set_that_nothing_dominates(place, capsys):
    text = 'reference = 100\n[[objectives]]\nresponse = "mass"\nreference = 20\n'
    changed(place, ('unit = "N"', text))
    said = run("design problem.toml", capsys)
    folder = place / "runs" / "problem"
    results = read_json(folder / "results.json")
    rows = [row for row in table_of(folder / "results.csv") if row["feasible"] == "true"]
    mine = [row for row in rows if row["space"] == "pca-2"]
    points = {row["id"]: (float(row["drag"]), float(row["mass"])) for row in mine}
    front = {
        id
        for id, (x, y) in points.items()
        if not any(a <= x and b <= y and (a, b) != (x, y) for a, b in points.values())
    }
    assert {one["id"] for one in results["pareto"]} == front
    assert f"{len(front)} designs that no other one found dominates" in said
    every = np.array([(float(row["drag"]), float(row["mass"])) for row in rows])
    said = run("design select problem.toml --count 40 --apart 0 --out chosen.csv", capsys)
    beaten = [((every <= one).all(1) & (every < one).any(1)).any() for one in every]
    front = {row["id"] for row, is_beaten in zip(rows, beaten, strict=True) if not is_beaten}
    chosen = table_of(place / "chosen.csv")
    assert {row["id"] for row in chosen} == front
    assert float(chosen[0]["drag"]) == every[:, 0].min()
    assert (
        f"{len(front)} of 40 designs were found: of {len(front)} designs on the Pareto set" in said
    )
    curve = results["spaces"][0]["curves"][0]
    of_seed = [points[id] for id in points if id.startswith("pca-2-0-")]
    area, left = 0.0, 100.0
    for x, y in sorted(of_seed, key=lambda point: point[1]):  # slices of the second objective
        if x < left:
            area += (left - x) * (20 - y)
            left = x
    assert curve[-1] == pytest.approx(area) and curve == sorted(curve)


def test_selected_designs_are_good_and_apart_and_can_be_handed_over(place, capsys):
    run("design problem.toml", capsys)
    said = run(
        "design select problem.toml --count 4 --within 900 --apart 0.2 --out chosen.csv", capsys
    )
    rows = table_of(place / "runs" / "problem" / "results.csv")
    feasible = {row["id"]: float(row["drag"]) for row in rows if row["feasible"] == "true"}
    chosen = table_of(place / "chosen.csv")
    best = min(feasible.values())
    assert feasible[chosen[0]["id"]] == best
    assert all(feasible[row["id"]] == float(row["drag"]) <= 10 * best for row in chosen)
    columns = ("width", "height")
    train = read("known.csv", DataConfig(response=("drag", "mass"))).train.raw.double().numpy()
    points, known = ([[float(row[name]) for name in columns] for row in chosen], train)
    unit = train.std(axis=0) * np.sqrt(2)  # two columns: the mean square is half of the sum
    between = cdist(points / unit, points / unit) + np.diag([np.inf] * len(chosen))
    assert between.min() >= 0.2 and len(chosen) == 4
    for name, values in (("apart", between), ("distance", cdist(points / unit, known / unit))):
        np.testing.assert_allclose([float(row[name]) for row in chosen], values.min(1), rtol=1e-5)
    (line,) = (line for line in said.splitlines() if line.startswith("Next: "))
    run(line.removeprefix("Next: variform "), capsys)
    handed_over = table_of(place / "designs.csv")
    assert [list(row) for row in handed_over] == [list(columns)] * 4
    said = run("design select problem.toml --count 40 --within 0.001", capsys)
    assert "1 of 40 designs were found: of 1 design within 0.001 % of the best value" in said


def test_an_interrupted_problem_goes_on_and_a_changed_one_is_refused(place, capsys):
    run("design problem.toml --out whole", capsys)
    run("design problem.toml --out torn", capsys)
    journal = place / "torn" / "journal.jsonl"
    content = journal.read_bytes()
    journal.write_bytes(content[: len(content) // 2])
    for name in ("results.json", "results.csv", "report.html"):
        (place / "torn" / name).unlink()
    said = run("design problem.toml --out torn", capsys)
    assert "1 line of journal.jsonl cut off" in said
    first, second = (table_of(place / name / "results.csv") for name in ("whole", "torn"))
    assert first == second
    problem = place / "problem.toml"
    problem.write_text(problem.read_text().replace("budget = 8", "budget = 12"))
    run("design problem.toml --out torn", capsys)
    assert len(table_of(place / "torn" / "results.csv")) == 3 * 2 * 12
    problem.write_text(problem.read_text().replace("at_most = 10", "at_most = 11"))
    assert cli.run(shlex.split("design problem.toml --out torn")) == 2
    assert "constraints differ from its problem.toml" in capsys.readouterr().err


def test_asking_and_telling_by_hand_to_the_end_of_the_budget(place, capsys):
    folder = place / "runs" / "hand"
    run("design ask hand.toml --count 3", capsys)
    first = table_of(folder / "asked-1.csv")
    assert list(first[0]) == ["id", "width", "height", "drag", "mass"] and len(first) == 3
    said = run("design ask hand.toml --count 4", capsys)
    again = table_of(folder / "asked-2.csv")
    assert again[:3] == first and len(again) == 4 and "3 of them were asked for before" in said
    for row in again:
        row["drag"] = str((float(row["width"]) - 6) ** 2)
        row["mass"] = "9"
    lines = [",".join(row.values()) for row in reversed(again)]
    (place / "filled.csv").write_text(
        "\n".join(["id,width,height,drag,mass", *lines, "mine,6,2,0.5,8"])
    )
    said = run("design tell hand.toml filled.csv", capsys)
    assert "4 answers taken; 0 designs still wait" in said and "own-0001" in said
    assert "from 20 valid and 5 invalid ones at least; there are 4 and 0" in said
    results = read_json(folder / "results.json")
    best = min(float(row["drag"]) for row in again)
    assert results["spaces"][0]["best"][1] == pytest.approx(best) and results["own"] == 1
    said = run("design ask hand.toml --count 9", capsys)
    assert "the budget of 8 leaves 4 of 9" in said
    assert cli.run(shlex.split("design ask hand.toml")) == 0
    assert len(table_of(folder / "asked-4.csv")) == 4
    capsys.readouterr()
    assert "Best in pca-2" in run("design hand.toml", capsys)


MISTAKES = [
    ('source = "known.csv"', 'source = "gone.csv"', "gone.csv"),
    (
        "budget = 8",
        "budget = 3",
        "budget in problem.toml must hold a batch at least; got 3, and a batch of 4",
    ),
    ("budget = 8", "buget = 8", "unknown key 'buget'. Did you mean 'budget'"),
    ("seeds = 2", "seeds = 0", "seeds in problem.toml must be at least 1; got 0"),
    ('optimiser = "random"', 'optimiser = "cna"', "Did you mean 'cma'?"),
    ('["pca-2"]', '["latent"]', "must leave out latent where there is no run"),
    ('["pca-2"]', '["pca2"]', "each of spaces in problem.toml must be one of latent"),
    ("judge_of_loop:judge", "judge_of_loop:juge", "judge_of_loop.py must have juge; it has not"),
    (
        "judge_of_loop:judge",
        "no_such_module:judge",
        "no_such_module:judge must be code that is there; there is no such module",
    ),
    ("judge_of_loop:judge", "judge_of_loop", "must be of the form module:function"),
    ("judge_of_loop:snap", "judge_of_loop:snapp", "must have snapp; it has not"),
    ('response = "drag"', 'response = "drug"', "drug is not among drag, mass"),
    ('unit = "N"', 'gaol = "max"', "[[objectives]] in problem.toml has an unknown key 'gaol'"),
    ('unit = "N"', 'goal = "least"', "must be one of min, max"),
    ("at_most = 10", "", "must have one of at_least, at_most and equal; got none"),
    ("at_most = 10", "at_most = 10\nequal = 3", "got at_most and equal"),
    ("[[constraints]]", "[constraints]", "must be a list of tables"),
    ("[[objectives]]", "[[objectives]", "must be TOML"),
    ('response = ["drag", "mass"]', 'respons = ["drag"]', "Did you mean 'response'?"),
    ('response = ["drag", "mass"]', 'response = ["drug"]', "drug"),
    ('evaluator = "judge_of_loop:judge"', 'command = "solver {in}"', "must hold {in} and {out}"),
    (
        'evaluator = "judge_of_loop:judge"',
        'command = "no-solver {in} {out}"',
        "there is no 'no-solver'",
    ),
    (
        'evaluator = "judge_of_loop:judge"',
        'command = "sh \'it {in} {out}"',
        "with every quotation mark closed",
    ),
    ("seeds = 2", "seed = -1", "seed in problem.toml must be at least 0"),
    ("seeds = 2", 'start = "knwon"', "start in problem.toml must be one of space, known"),
    (
        "seeds = 2",
        "given = {a = 1}",
        "given in problem.toml must be left out where there is no run",
    ),
    (
        'source = "known.csv"',
        'run = "runs/none"',
        "the table data must be left out where there is a run",
    ),
]


@pytest.mark.parametrize(("old", "new", "words"), MISTAKES, ids=[new for _, new, _ in MISTAKES])
def test_a_mistake_is_told_in_a_sentence_before_anything_is_evaluated(
    place, capsys, old, new, words
):
    problem = place / "problem.toml"
    text = problem.read_text()
    assert old in text
    problem.write_text(text.replace(old, new, 1))
    assert cli.run(["design", "problem.toml"]) == 2
    _, err = capsys.readouterr()
    assert err.count("error: ") == 1 and "Traceback" not in err and words in err, err
    journal = place / "runs" / "problem" / "journal.jsonl"
    assert not journal.is_file() or "answered" not in journal.read_text()


def test_a_problem_by_hand_says_how_to_begin(place, capsys):
    assert cli.run(["design", "hand.toml"]) == 2
    assert "Begin with variform design ask hand.toml" in capsys.readouterr().err
    assert cli.run(["design", "tell", "hand.toml", "gone.csv"]) == 2
    assert "there is no file gone.csv" in capsys.readouterr().err
    assert cli.run(["design", "select", "problem.toml"]) == 2
    assert "--study must be the folder of a study of problem.toml" in capsys.readouterr().err
