"""Callbacks: told what the history says, in every face; they change nothing, and end a training cleanly."""

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_processes import TORCHRUN, environment

from variform import (
    CallbackError,
    ModelConfig,
    StopTraining,
    TrainConfig,
    build_objective,
    build_vae,
    fit,
    open_run,
    read,
    train,
)
from variform.faces import cli
from variform.runs.records import read_history
from variform.runs.train import resume_run
from variform.training.callbacks import Moment

TIMES = {"seconds", "train_seconds", "examples_per_second"}
ROWS = np.random.default_rng(0).normal(size=(300, 3))
QUICK: dict[str, Any] = {
    "latent_dim": 1,
    "hidden": (4,),
    "likelihood": "gaussian-shared",
    "nll_samples": 20,
    "pictures": False,
    "progress": False,
}


def fitted(changes: dict[str, Any] | None = None, **options: Any):
    """An objective and its history: 8 steps an epoch."""
    data = read(ROWS)
    config = TrainConfig(**{"epochs": 3, "batch_size": 32, "compile": "off"} | (changes or {}))
    model = ModelConfig(latent_dim=1, hidden=(4,), dropout=0.2, likelihood="gaussian-shared")
    objective = build_objective(build_vae(model, data.schema), config)
    return objective, fit(objective, data.train, data.valid, config, **options)


def untimed(row):
    return {name: value for name, value in row.items() if name not in TIMES}


def meddle(moment: Moment) -> None:
    """Do what would change a training that did not guard against it."""
    torch.manual_seed(moment.step)
    torch.rand(7)
    with torch.no_grad():
        for weight in moment.vae.parameters():
            weight.zero_()
    moment.vae.train()
    dict(moment).clear()


@pytest.mark.parametrize("compile", ["off", "on"])
@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_training_has_the_same_weights_with_callbacks_and_without(compile, ema):
    changes = {"compile": compile, "ema": ema}
    _, plain = fitted(changes)
    _, watched = fitted(changes, on_step=meddle, on_epoch=[meddle, meddle])
    assert [untimed(row) for row in watched.rows] == [untimed(row) for row in plain.rows]
    for name, value in plain.last.items():
        assert torch.equal(watched.last[name], value), name


def test_moments_say_what_the_history_says():
    steps, epochs = [], []
    _, history = fitted(on_step=steps.append, on_epoch=epochs.append)
    assert epochs == history.rows
    assert [moment.epoch for moment in epochs] == [1, 2, 3]
    assert [moment.step for moment in steps] == list(range(1, history.rows[-1]["step"] + 1))
    # The means of an epoch are those of its steps, each with as many rows as its batch has.
    sizes = [32] * (history.rows[0]["step"] - 1)
    sizes.append(history.rows[0]["examples"] - sum(sizes))
    for name in ("train_loss", "train_elbo", "train_log_likelihood", "train_kl"):
        of_steps = [moment[name] for moment in steps if moment.epoch == 1]
        assert np.average(of_steps, weights=sizes) == pytest.approx(history.rows[0][name]), name
    assert steps[-1]["learning_rate"] == history.rows[-1]["learning_rate"]


def test_the_model_of_a_moment_is_a_copy_of_the_present_one():
    kept: dict[str, Any] = {}

    def keep(moment):
        kept.update(moment=moment, training=moment.vae.training)
        kept[f"weights {moment.step}"] = moment.vae.state_dict()

    _, history = fitted(on_epoch=keep)
    assert kept["training"] is False
    for name, value in kept[f"weights {history.rows[-1]['step']}"].items():
        assert torch.equal(value, history.last[f"vae.{name}"]), name

    moments: list[Moment] = []
    fitted(on_step=moments.append)
    with pytest.raises(RuntimeError, match="must be asked for inside the callback"):
        _ = moments[0].vae


def test_no_number_is_read_that_no_callback_asks_for(monkeypatch):
    """To read one is to wait for a GPU."""
    read_numbers = []
    original = Moment.__dict__["_numbers"].func
    property_of = type(Moment.__dict__["_numbers"])(
        lambda moment: read_numbers.append(moment) or original(moment)
    )
    property_of.__set_name__(Moment, "_numbers")
    monkeypatch.setattr(Moment, "_numbers", property_of)
    seen = []
    fitted(on_step=lambda moment: seen.append(moment.step))
    assert seen and not read_numbers


@pytest.mark.parametrize("step", [4, 8, 12])
def test_stopping_after_a_step_is_the_end_of_a_training_of_so_many_steps(step):
    """Of a constant rate: the weights are those of `steps`, and the epoch has its means over what was done."""

    def stop(moment):
        if moment.step == step:
            raise StopTraining("seen enough")

    _, stopped = fitted({"schedule": "constant"}, on_step=stop)
    _, short = fitted({"schedule": "constant", "steps": step})
    assert stopped.stopped == "stopped by stop: seen enough"
    last = untimed(stopped.rows[-1])
    assert last.pop("stopped") == stopped.stopped
    assert [*map(untimed, stopped.rows[:-1]), last] == [*map(untimed, short.rows)]
    for name, value in short.last.items():
        assert torch.equal(stopped.last[name], value), name


def two(moment):
    if moment.epoch == 2:
        raise StopTraining("two will do")


def test_a_run_that_a_callback_stopped_is_whole_and_stays_stopped(tmp_path):
    told = []
    run = train(ROWS, out=tmp_path / "run", epochs=6, on_epoch=[two, told.append], **QUICK)
    assert [moment.epoch for moment in told] == [1], "after the first that ends it none is called"
    assert run.evaluation["nll"]["n"] > 0
    rows = read_history(tmp_path / "run/history.jsonl")
    assert [row.get("stopped") for row in rows] == [None, "stopped by two: two will do"]
    resume_run(tmp_path / "run", pictures=False)
    assert read_history(tmp_path / "run/history.jsonl") == rows
    resume_run(tmp_path / "run", epochs=8, pictures=False)
    rows = read_history(tmp_path / "run/history.jsonl")
    assert len(rows) == 8 and not any("stopped" in row for row in rows)


def test_the_report_says_that_a_callback_stopped_it(tmp_path):
    options = QUICK | {"pictures": True}
    run = train(ROWS, out=tmp_path / "run", epochs=6, on_epoch=two, **options)
    report = " ".join(run.report.read_text().split())
    assert "2 epochs, stopped by two: two will do" in report and "--resume" not in report


@pytest.mark.parametrize(("when", "step"), [("on_step", 12), ("on_step", 16), ("on_epoch", 16)])
def test_an_error_in_a_callback_loses_nothing_and_names_it(tmp_path, when, step):
    def careless(moment):
        if moment.step == step:
            moment["no such number"]

    with pytest.raises(CallbackError) as caught:
        fitted(folder=tmp_path, **{when: careless})
    said = str(caught.value)
    assert isinstance(caught.value.__cause__, KeyError)
    assert f"after step {step} careless raised KeyError('no such number') in {__file__}" in said
    assert f"go on with variform train --resume {tmp_path}" in said
    _, resumed = fitted(folder=tmp_path, resume=True)
    _, whole = fitted()
    assert [untimed(row) for row in resumed.rows] == [untimed(row) for row in whole.rows]
    for name, value in whole.last.items():
        assert torch.equal(resumed.last[name], value), name


def test_without_a_folder_the_error_promises_nothing():
    def fail(moment):
        raise OSError("no")

    with pytest.raises(CallbackError, match=r"raised OSError\('no'\) in .*: mend it, then train"):
        fitted(on_epoch=fail)


def test_what_cannot_be_called_is_refused_before_the_first_step():
    for wrong in (3, [print, "print"]):
        with pytest.raises((TypeError, ValueError), match=r"on_epoch|a callback must be"):
            fitted(on_epoch=wrong)


def test_a_model_split_over_processes_is_not_given_whole():
    class Split:
        config = TrainConfig(sharded=True)

    from variform.training.fit import Training

    with pytest.raises(ValueError, match="one process has whole"):
        Training.copied(Split())  # pyrefly: ignore[bad-argument-type]


WORKER = """
import sys
from pathlib import Path
import numpy as np
from variform import StopTraining, train
from variform.system import processes

folder = Path(sys.argv[1])
calls = []

def count(moment):
    calls.append(moment.step)

def stop(moment):
    if moment.step == 20:
        raise StopTraining("by the first alone")

def fail(moment):
    if moment.step == 20:
        raise LookupError("of the first alone")

rows = np.random.default_rng(0).normal(size=(400, 3))
options = dict(latent_dim=1, hidden=(4,), likelihood="gaussian-shared", nll_samples=20, epochs=5,
               batch_size=32, pictures=False, progress=False, compile="off")
with processes.joined():
    for name, callback in (("stopped", stop), ("failed", fail)):
        try:
            train(rows, out=folder / name, on_step=[count, callback], on_epoch=count, **options)
        except RuntimeError as error:
            (folder / f"{name}-{processes.rank()}.txt").write_text(str(error))
    (folder / f"calls-{processes.rank()}.txt").write_text(str(len(calls)))
"""


@pytest.mark.long
def test_of_two_processes_the_first_calls_and_both_end(tmp_path):
    (tmp_path / "worker.py").write_text(WORKER)
    command = [*TORCHRUN, tmp_path / "worker.py", tmp_path]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    calls = [int((tmp_path / f"calls-{rank}.txt").read_text()) for rank in (0, 1)]
    assert calls[0] > 40 and calls[1] == 0
    rows = read_history(tmp_path / "stopped/history.jsonl")
    assert rows[-1]["stopped"] == "stopped by stop: by the first alone"
    # Both hear of it at the end of the epoch or 16 steps on, whichever comes first.
    assert 20 <= rows[-1]["step"] <= 32
    assert open_run(tmp_path / "stopped").evaluation["nll"]["n"] > 0
    said = [(tmp_path / f"failed-{rank}.txt").read_text() for rank in (0, 1)]
    assert said[0] == said[1] and "fail raised LookupError('of the first alone')" in said[0]
    resume_run(tmp_path / "failed", pictures=False)
    assert len(read_history(tmp_path / "failed/history.jsonl")) == 5


CODE = """
from variform import StopTraining

steps = []

class Patient:
    def on_step(self, moment):
        steps.append(moment.step)

    def on_epoch(self, moment):
        if moment.epoch == 2:
            raise StopTraining(f"{len(steps)} steps were seen")

class Asking:
    def __init__(self, what):
        self.what = what

def fails(moment):
    return 1 / 0

three = 3
"""
COMMAND = ["train", "rows.npy", "--likelihood", "gaussian-shared", "--latent-dim", "1", "--quiet"]
COMMAND += ["--nll-samples", "20", "--epochs", "5", "--batch-size", "32", "--out", "run"]


@pytest.fixture
def own_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("rows.npy", ROWS)
    Path("own.py").write_text(CODE)


def test_the_command_line_calls_code_of_the_users_own(own_code):
    assert cli.run([*COMMAND, "--callback", "own.py:Patient"]) == 0
    rows = read_history(Path("run/history.jsonl"))
    assert [row.get("stopped") for row in rows] == [
        None,
        f"stopped by Patient.on_epoch: {rows[-1]['step']} steps were seen",
    ]


def test_a_callback_that_fails_on_the_command_line_is_a_sentence_and_the_run_goes_on(
    own_code, capfd
):
    assert cli.run([*COMMAND, "--callback", "own.py:fails"]) == 2
    said = capfd.readouterr().err
    assert "fails raised ZeroDivisionError('division by zero') in" in said and "own.py" in said
    assert "variform train --resume run" in said and "Traceback" not in said
    assert cli.run(["train", "--resume", "run", "--quiet"]) == 0
    assert len(read_history(Path("run/history.jsonl"))) == 5


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("own.py:three", "must be a function, or have on_epoch or on_step; own.py:three is 3"),
        ("own.py:Asking", "must need no argument; of own.py:Asking Python says:"),
        ("own.py:nothing", "must have nothing; it has not"),
        ("own.py", "must be FILE.py:NAME"),
        ("other.py:fails", "there is no such file"),
    ],
)
def test_what_is_no_callback_is_refused_before_a_run_is_begun(own_code, capfd, path, message):
    assert cli.run([*COMMAND, "--callback", path]) == 2
    assert message in " ".join(capfd.readouterr().err.split())
    assert not Path("run").exists()
