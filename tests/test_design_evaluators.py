"""Who answers for designs: functions and commands are held to their contract, and what fails is never fatal."""

import dataclasses
import shlex
import subprocess
import sys
import time

import numpy as np
import pytest

from variform import DataConfig, read
from variform.design.evaluators import (
    CommandEvaluator,
    FunctionEvaluator,
    designs_from,
    load_function,
    rows_of,
)
from variform.design.journal import Journal
from variform.design.problem import Constraint, Problem, from_toml


@pytest.fixture(scope="module")
def schema():
    return read(np.random.default_rng(0).uniform(0, 10, (60, 2))).schema


# --- functions ----------------------------------------------------------------------------------------------------


def test_an_exception_in_a_batch_costs_only_the_designs_that_raise(schema):
    def judge(rows):
        if (rows[:, 0] < 0).any():
            raise RuntimeError("mesh failed\nat cell 3")
        return {"drag": rows[:, 0] * 2}

    found = FunctionEvaluator(judge, ("drag",), schema).evaluate(
        np.array([[1.0, 0], [-1, 0], [3, 0]])
    )
    assert [one.responses for one in found] == [{"drag": 2.0}, {}, {"drag": 6.0}]
    assert found[1].reason == "RuntimeError: mesh failed at cell 3" and not found[1].valid


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([1, 2], "must give a dict of arrays by response; it gave list"),
        ({"drug": [1, 2]}, "drag is not among drug"),
        ({"drag": [1, 2, 3]}, r"one number a design, \(2,\); its shape is \(3,\)"),
        ({"drag": ["a", "b"]}, "must be numbers"),
    ],
)
def test_a_function_that_breaks_the_contract_is_told_so(schema, given, words):
    with pytest.raises(ValueError, match=words):
        FunctionEvaluator(lambda rows: given, ("drag",), schema).evaluate(np.zeros((2, 2)))


def test_a_function_gets_columns_by_name_and_categories_as_text():
    table = {"mass": np.arange(90) / 7, "metal": ["steel", "titanium", "aluminium"] * 30}
    schema = read(table, DataConfig(cells="mixed")).schema
    seen = {}

    def judge(rows):
        seen.update(rows)
        return {"drag": rows["mass"]}

    number = schema.categories[1].index("titanium")
    FunctionEvaluator(judge, ("drag",), schema).evaluate(np.array([[1.5, number]]))
    assert seen["mass"].tolist() == [1.5] and seen["metal"].tolist() == ["titanium"]


# --- commands -----------------------------------------------------------------------------------------------------

SOLVER = """
import csv, subprocess, sys, time
source, target = sys.argv[1:3]
x, y = next(csv.reader(open(source).readlines()[1:]))
x, y = float(x), float(y)
if x == 1:
    print("reading", file=sys.stderr); print("no convergence", file=sys.stderr); sys.exit(3)
if x == 2:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    open(sys.argv[3], "w").write(str(child.pid)); time.sleep(600)
if x == 3:
    sys.exit(0)
if x == 4:
    open(target, "w").write("drag\\nnan\\n"); sys.exit(0)
if x == 5:
    open(target, "w").write("drug\\n1\\n"); sys.exit(0)
open(target, "w").write(f"lift, drag\\n{y}, {x + y}\\n")
"""


@pytest.fixture
def solver(tmp_path, schema):
    (tmp_path / "solver.py").write_text(SOLVER)
    words = [sys.executable, "solver.py", "{in}", "{out}", str(tmp_path / "pid")]
    return CommandEvaluator(shlex.join(words), 30.0, ("drag",), schema, tmp_path)


def test_a_command_answers_or_says_why_not(solver):
    designs = np.array([[6.5, 2.25], [1, 0], [3, 0], [4, 0], [5, 0]])
    fine, failed, silent, nan, other = solver.evaluate(designs)
    assert fine.responses == {"lift": 2.25, "drag": 8.75} and fine.valid
    assert failed.reason == "exit code 3; it said: reading / no convergence"
    assert silent.reason == "no output was written"
    assert nan.reason == other.reason == "no number for drag"
    assert not any(one.valid for one in (failed, silent, nan, other))


def test_a_command_that_takes_too_long_is_ended_with_all_that_it_began(
    solver, tmp_path, monkeypatch
):
    quick = dataclasses.replace(solver, timeout=1.0)
    pid, wait = tmp_path / "pid", subprocess.Popen.wait

    def wait_once_it_began(process, timeout=None):
        """The time begins to run when there is something to end, however long that took to start."""
        while timeout is not None and not (pid.exists() and pid.read_text()):
            assert process.poll() is None
            time.sleep(0.01)
        return wait(process, timeout)

    monkeypatch.setattr(subprocess.Popen, "wait", wait_once_it_began)
    (answer,) = quick.evaluate(np.array([[2.0, 0.0]]))
    assert answer.reason == "not done after 1 s" and not answer.valid
    child = int(pid.read_text())
    for _ in range(3000):  # the system may take a moment to end it; it would live for ten minutes
        if not _lives(child):
            break
        time.sleep(0.02)
    assert not _lives(child)


@pytest.mark.parametrize(
    ("written", "responses", "reason"),
    [
        ("mass,drag\n1.5,2\n", {"mass": 1.5, "drag": 2.0}, ""),
        ("\n mass, drag \n\n1.5, -0.0\n", {"mass": 1.5, "drag": 0.0}, ""),
        ("mass,drag\n1.5", {}, "a number for each of its 2 names; it has 1"),
        ("mass,drag\n", {}, "one line of numbers; it has 0"),
        ("", {}, "one line of numbers; it has 0"),
        ("mass,drag\n1,2\n3,4\n", {}, "one line of numbers; it has 2"),
        ("mass,drag\nheavy,2\n", {"drag": 2.0}, "no number for mass"),
    ],
)
def test_what_a_program_wrote_in_part_is_no_answer(solver, tmp_path, written, responses, reason):
    (tmp_path / "result.csv").write_text(written)
    copy = dataclasses.replace(
        solver,
        command=f"sh -c 'cp {tmp_path}/result.csv {{out}}; : {{in}}'",
        needed=("mass", "drag"),
    )
    (answer,) = copy.evaluate(np.zeros((1, 2)))
    assert answer.responses == responses and reason in answer.reason
    assert answer.valid == (not reason)


def _lives(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_program_that_is_not_there_is_told_before(solver):
    gone = dataclasses.replace(solver, command="no-such-solver {in} {out}")
    with pytest.raises(ValueError, match="there is no 'no-such-solver'"):
        gone.require_program()
    (answer,) = gone.evaluate(np.zeros((1, 2)))
    assert "cannot be run" in answer.reason


# --- the problem and the journal ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        ({"at_least": 2.0}, [1, 0, -3]),
        ({"at_most": 2.0, "tolerance": 0.5}, [-1.5, -0.5, 2.5]),
        ({"equal": 2.0, "tolerance": 1.0}, [0, -1, 2]),
    ],
)
def test_a_constraint_holds_up_to_its_tolerance(limit, expected):
    violation = Constraint(response="mass", **limit).violation(np.array([1.0, 2.0, 5.0]))
    assert violation.tolist() == expected


def test_a_problem_of_a_run_needs_no_more_than_an_objective():
    problem = from_toml('run = "runs/foils"\n[[objectives]]\nresponse = "drag"')
    assert (problem.budget, problem.spaces, problem.beside, problem.is_told) == (
        100,
        (),
        None,
        True,
    )
    assert problem.reference is None and isinstance(problem, Problem)


def test_rows_go_to_a_function_and_back():
    table = {"mass": np.arange(90) / 7, "metal": ["steel", "titanium", "aluminium"] * 30}
    schema = read(table, DataConfig(cells="mixed")).schema
    designs = np.array([[0.5, 2.0], [1.5, 0.0]])
    np.testing.assert_array_equal(designs_from(rows_of(designs, schema), schema, 2), designs)
    with pytest.raises(ValueError, match="metal are not"):
        designs_from({"mass": [1, 2]}, schema, 2)


def test_a_journal_keeps_what_is_whole_wherever_it_was_cut(tmp_path):
    path = tmp_path / "journal.jsonl"
    records = [{"kind": "answered", "id": f"{number}", "x": number / 7} for number in range(4)]
    Journal(path).append(*records)
    whole = path.read_bytes()
    ends = [at + 1 for at, byte in enumerate(whole) if byte == 10]
    for cut in range(len(whole) - 200, len(whole) + 1):
        path.write_bytes(whole[:cut])
        torn = Journal(path)
        count = sum(end - 1 <= cut for end in ends)
        assert torn.records == records[:count]
        torn.append({"kind": "more"})
        again = Journal(path)
        assert again.records == torn.records == [*records[:count], {"kind": "more"}]
        assert again.set_aside == (cut not in (0, *ends) and cut + 1 not in ends)


def test_a_journal_passes_over_a_line_in_which_any_byte_was_changed(tmp_path):
    path = tmp_path / "journal.jsonl"
    records = [{"kind": "answered", "id": "a", "x": 0.5}, {"kind": "answered", "id": "b", "x": 1.5}]
    Journal(path).append(*records)
    whole = bytearray(path.read_bytes())
    for place in range(whole.index(b"\n")):
        changed = whole.copy()
        changed[place] ^= 1
        path.write_bytes(changed)
        assert records[1] in Journal(path).records and records[0] not in Journal(path).records[:-1]


def test_a_function_finds_what_it_imports_from_beside_it_when_it_is_called(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", sys.path[:])
    (tmp_path / "beam_theory.py").write_text("def sag(load): return load / 48\n")
    (tmp_path / "judge.py").write_text(
        "def it(load):\n    from beam_theory import sag\n    return sag(load)\n"
    )
    assert load_function("judge:it", tmp_path, "evaluator")(96) == 2


def test_each_problem_has_the_judge_beside_it_and_a_changed_one_anew(tmp_path):
    for number in (1, 2):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "judge.py").write_text(
            f"from scale import ten\ndef it(): return ten * {number}\n"
        )
        (folder / "scale.py").write_text("ten = 10\n")
        assert load_function("judge:it", folder, "evaluator")() == 10 * number
    (tmp_path / "1" / "judge.py").write_text("def it(): return 7\n")
    assert load_function("judge:it", tmp_path / "1", "evaluator")() == 7
    (tmp_path / "1" / "judge.py").write_text("it = 7\n")
    with pytest.raises(ValueError, match=r"`second` must name a function.*judge:it is a int"):
        load_function("judge:it", tmp_path / "1", "second")
