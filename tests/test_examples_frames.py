"""The case study of bicycle frames: its data, its judge, and the problem that it hands to `variform design`."""

import importlib
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import r2_score

from variform import DataConfig, read
from variform.faces import cli

EXAMPLE = Path(__file__).parents[1] / "examples" / "frames"
TENTH = 10


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder of the example with few known frames, as `inspect` would leave them."""
    place = tmp_path_factory.mktemp("frames") / "example"
    shutil.copytree(EXAMPLE, place, ignore=shutil.ignore_patterns("__pycache__"))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(place)
        for name in ("frames", "judge", "outcome"):
            patch.delitem(sys.modules, name, raising=False)
        frames = importlib.import_module("frames")
        known = frames.halves()[0].to_pandas().iloc[::TENTH]
        (place / "inspected").mkdir()
        known[known["SS Thickness"] < known["SS OD"] / 2].to_csv(
            place / "inspected/clean.csv", index=False
        )
        roles = {"frame": "id"} | dict.fromkeys(frames.responses(), "response")
        lines = [f'[columns."{name}"]\nrole = "{role}"\n' for name, role in roles.items()]
        (place / "inspected/columns.toml").write_text("".join(lines))
        yield place
        for name in ("frames", "judge", "outcome"):
            sys.modules.pop(name, None)


def module(name):
    return importlib.import_module(name)


def test_the_judge_sees_none_of_the_known_frames_and_predicts_them(place):
    frames, judge = module("frames"), module("judge")
    table = pd.read_csv(EXAMPLE / "framed.csv.gz", index_col="frame")
    known, own = (half.to_pandas().set_index("frame") for half in frames.halves())
    assert len(table) == 4047 and set(table.index) == {*known.index, *own.index}
    assert not {*known.index} & {*own.index}
    predicted = judge.responses(frames.rows_of(frames.halves()[0]))
    for name, least in zip(frames.JUDGED, (0.9, 0.65, 0.5), strict=True):
        assert r2_score(np.log(known[name]), np.log(predicted[name])) > least


def test_frames_are_as_novel_as_held_out_ones_and_walls_leave_a_hole(place):
    judge = module("judge")
    config = DataConfig(schema=str(place / "inspected/columns.toml"), cells="mixed")
    data = read(place / "inspected/clean.csv", config)
    table = pd.read_csv(place / "inspected/clean.csv")
    columns = {name: table[name].to_numpy() for name in data.schema.columns}

    def novelty(part):
        rows = part.index.numpy()
        return judge.novelty({name: column[rows] for name, column in columns.items()})

    assert np.allclose(novelty(data.train), 0, atol=1e-6)
    assert np.median(novelty(data.valid)) == pytest.approx(1)
    thick = {name: column.copy() for name, column in columns.items()}
    thick["CS Thickness"][:] = 1.0
    repaired = judge.buildable(thick)
    assert np.allclose(repaired["CS Thickness"], 0.45 * columns["CS OD"])
    assert np.array_equal(repaired["TT Thickness"], columns["TT Thickness"])


def test_the_lightest_frames_are_searched_and_shown(place, monkeypatch, capsys):
    pytest.importorskip("cma")
    problem = (place / "lightest.toml").read_text()
    problem = problem.replace('run = "runs/frames"', 'source = "inspected/clean.csv"')
    problem = re.sub(r"beside = .*", 'spaces = ["raw"]\nbeside = ["random"]', problem)
    problem = re.sub(r"budget = \d+", "budget = 20", re.sub(r"seeds = \d+", "seeds = 1", problem))
    problem = problem.replace("at_least = 1.5", "at_least = 0.2").replace(
        "at_most = 1.0", "at_most = 3.0"
    )
    data = '[data]\nschema = "inspected/columns.toml"\ncells = "mixed"\n'
    (place / "tiny.toml").write_text(problem + data)
    monkeypatch.chdir(place)
    assert cli.run(["design", "tiny.toml", "--out", "runs/tiny"]) == 0, capsys.readouterr().err
    found = pd.read_csv(place / "runs/tiny/results.csv")
    assert len(found) == 40 and found["valid"].all()
    factors = found[["Sim 1 Safety Factor", "Sim 3 Safety Factor"]]
    holds = (factors >= 0.2).all(axis=1) & (found["novelty"] <= 3)
    assert holds.any() and (found["feasible"] == holds).all()
    outcome = module("outcome")
    winners = outcome.winners(place / "runs/tiny/results.csv")
    lightest = found[holds].groupby(["space", "seed"])["Model Mass"].min()
    assert {one["space"]: one["Model Mass"] for one in winners} == {
        space: pytest.approx(mass) for (space, _), mass in lightest.items()
    }
    tubes = outcome.tubes(outcome.known_lightest())
    frame = outcome.known_lightest()
    for name, column in (
        ("CS", "CS Length"),
        ("DT", "DT Length"),
        ("ST", "ST Length"),
        ("HT", "HT Length"),
    ):
        assert np.linalg.norm(np.subtract(*tubes[name])) == pytest.approx(frame[column])
    assert tubes["HT"][1][1] == pytest.approx(frame["Stack"])


def test_the_frame_that_is_shown_holds_by_both_judges_if_any_does(place):
    outcome = module("outcome")
    masses = [("light", 1.0, False), ("first", 3.0, True), ("second", 2.0, True)]
    found = [{"id": name, "Model Mass 2nd": mass, "holds": holds} for name, mass, holds in masses]
    assert outcome.best_of(found)["id"] == "second"
    assert outcome.best_of(found[:1])["id"] == "light"
