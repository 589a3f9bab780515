"""Signals, closed streams, full disks and folders that go: a true sentence, and nothing is lost."""

import contextlib
import io
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from variform.faces import cli
from variform.runs import pictures
from variform.runs import train as running
from variform.runs.folder import FIGURES, open_run
from variform.runs.train import resume_run
from variform.system import terminal
from variform.system.signals import SIGNALS, Stopped, noted
from variform.training import checkpoints

SMALL = [
    "rows.npy",
    "--likelihood",
    "gaussian",
    "--latent-dim",
    "1",
    "--hidden",
    "4",
    "--epochs",
    "3",
]
SMALL += ["--batch-size", "128"]
SMALL += ["--nll-samples", "5", "--checkpoint-every", "1epoch"]
SEALED = {f"{name}.safetensors" for name in ("checkpoint", "model", "last", "scores")}
NUMBERS = {
    "config.toml",
    "data.json",
    "environment.json",
    "evaluation.json",
    "history.jsonl",
} | SEALED
EVERYTHING = {"report.html", "explorer.html", "live.html"} | NUMBERS


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch, _double_precision):
    torch.set_default_dtype(torch.float32)
    rows = np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32)
    np.save(tmp_path / "rows.npy", rows)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def handlers():
    """No signal is ignored, whoever started the tests; afterwards the handlers are as they were."""
    previous = {number: signal.signal(number, signal.SIG_DFL) for number in SIGNALS}
    yield
    for number, handler in previous.items():
        signal.signal(number, handler)


def names(folder):
    return {path.name for path in Path(folder).iterdir() if path.is_file()}


def is_tidy(folder):
    return not [path for path in Path(folder).rglob(".*") if path.is_file()]


# --- signals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stage", "number"),
    [("assess", signal.SIGTERM), *(("draw_pictures", number) for number in SIGNALS)],
    ids=lambda value: getattr(value, "name", value),
)
def test_a_signal_after_the_training_leaves_a_whole_run_says_how_to_go_on_and_is_in_the_exit_code(
    monkeypatch, capsys, handlers, stage, number
):
    original = getattr(running, stage)

    def stopped(*arguments, **options):
        if stage == "draw_pictures":
            (Path("a run") / "figures").mkdir(exist_ok=True)
        signal.raise_signal(number)
        raise AssertionError("it went on")

    monkeypatch.setattr(running, stage, stopped)
    with pytest.raises(SystemExit) as ended:
        cli.main(["train", *SMALL, "--out", "a run"])
    assert ended.value.code == 128 + number
    error = capsys.readouterr().err
    assert error.endswith(
        "error: stopped after the training; go on with: variform train --resume 'a run'\n"
    )
    assert open_run("a run").vae.latent_dim == 1 and is_tidy("a run")
    monkeypatch.setattr(running, stage, original)
    resume_run(Path("a run"), pictures=False)
    assert names("a run") == NUMBERS


def test_a_signal_while_the_data_are_read_leaves_nothing(monkeypatch, capsys, handlers):
    monkeypatch.setattr(
        "variform.runs.plan.read", lambda *_, **__: signal.raise_signal(signal.SIGUSR1)
    )
    with pytest.raises(SystemExit) as ended:
        cli.main(["train", *SMALL, "--out", "run"])
    assert ended.value.code == 138 and capsys.readouterr().err == "error: interrupted\n"
    assert not Path("run").exists()


def test_a_signal_that_the_process_was_started_to_ignore_stays_ignored(handlers):
    """As SIGHUP under nohup, and SIGINT behind the & of a script."""
    ignored = (signal.SIGHUP, signal.SIGINT)
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)
    with noted() as asked:
        for number in ignored:
            signal.raise_signal(number)
        assert not asked.is_set()
        signal.raise_signal(signal.SIGUSR1)
        assert asked.number == signal.SIGUSR1
    assert [signal.getsignal(number) for number in ignored] == [signal.SIG_IGN] * 2
    with pytest.raises(SystemExit):
        cli.main(["info", "none"])  # which sets its own handlers
    for number in ignored:
        signal.raise_signal(number)
    with pytest.raises(Stopped):
        signal.raise_signal(signal.SIGUSR1)


# --- streams ----------------------------------------------------------------------------------------------------------


def trained(folder, **streams):
    command = [sys.executable, "-m", "variform", "train", *SMALL, "--out", folder]
    return subprocess.run(command, env=os.environ | {"MPLBACKEND": "Agg"}, **streams)


@pytest.mark.long
def test_a_reader_that_has_gone_and_a_full_disk_behind_stderr_end_nothing():
    read, write = os.pipe()
    os.close(read)
    with open("/dev/full", "w") as full:
        assert trained("run", stdout=write, stderr=full).returncode == 0
    os.close(write)
    assert names("run") == EVERYTHING and is_tidy("run")


@pytest.mark.long
def test_closed_streams_end_nothing_and_no_file_takes_their_place():
    script = f"exec {sys.executable} -m variform train {' '.join(SMALL)} --out run <&- >&- 2>&-"
    assert (
        subprocess.run(["sh", "-c", script], env=os.environ | {"MPLBACKEND": "Agg"}).returncode == 0
    )
    assert names("run") == EVERYTHING and is_tidy("run")
    for name in ("model", "checkpoint"):
        before = Path(f"run/{name}.safetensors").read_bytes()
        assert before[8:9] == b"{"  # nothing was written into it as if it were a stream
    assert open_run("run").evaluation["rows"] > 0


def test_progress_is_dropped_where_it_cannot_be_written_and_heard_where_it_can(monkeypatch, capsys):
    class Full(io.StringIO):
        def write(self, text):
            raise OSError(28, "No space left on device")

    class Gone(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    closed = io.StringIO()
    closed.close()
    for stream in (Full(), Gone(), closed, None):
        monkeypatch.setattr(sys, "stderr", stream)
        terminal.console().print("not heard")
    monkeypatch.undo()
    terminal.console().print("a line")
    assert capsys.readouterr().err == "a line\n"


def test_what_cannot_be_printed_is_said_with_where_the_files_are(monkeypatch, capsys):
    with open("/dev/full", "w") as full, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", full)
        assert cli.run(["train", *SMALL, "--out", "run"]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert (
        "standard output must take" in error
        and "No space left" in error
        and "whole, in run." in error
    )
    assert names("run") == EVERYTHING


# --- what a kill leaves -----------------------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
from variform.faces import cli
from variform.pages import vector
save_figure = vector.save_figure
def save(figure, path):
    if "samples" in path.name:
        os.kill(os.getpid(), signal.SIGKILL)
    save_figure(figure, path)
vector.save_figure = save
cli.main(sys.argv[1:])
"""


def test_what_a_kill_while_drawing_leaves_is_swept_and_nothing_else():
    command = [sys.executable, "-c", KILLED, "train", *SMALL, "--out", "run"]
    done = subprocess.run(command, env=os.environ | {"MPLBACKEND": "Agg"}, capture_output=True)
    assert done.returncode == -signal.SIGKILL
    (left,) = Path("run/figures").glob(".*")
    assert left.name.startswith(".samples-")
    mine = {
        Path("run", name)
        for name in ("figures/.mine-0123abcd.png", ".note-0123abcd.txt", "figures/.samples-0.png")
    }
    for path in mine:
        path.write_text("mine")
    for name in FIGURES:
        Path(f"run/figures/.{name}-0123abcd.png").write_text("half")
    for name in (
        ".latents-0123abcd.csv",
        ".scores-0123abcd.safetensors",
        ".report-89abcdef.html",
        ".lock-0123abcd",
    ):
        Path("run", name).write_text("half")
    assert cli.run(["train", "--resume", "run"]) == 0
    assert {path for path in Path("run").rglob(".*")} == mine


# --- folders and disks that go ----------------------------------------------------------------------------------------


@contextlib.contextmanager
def full_disk(size=1000):
    """As on a full disk, no file can grow; the system raises the error itself."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


STAGES = {
    "the checkpoint of step 4": (checkpoints, "save", "checkpoint.safetensors"),
    "the model": (running, "_save_last", "checkpoint.safetensors and model.safetensors"),
    "the numbers": (running, "assess", "checkpoint.safetensors and model.safetensors"),
    "the pictures and the report": (
        running,
        "draw_pictures",
        "checkpoint.safetensors and model.safetensors and evaluation.json",
    ),
}


@pytest.mark.parametrize("stage", STAGES)
def test_a_full_disk_at_any_stage_is_told_with_what_is_whole_and_the_run_goes_on_when_there_is_room(
    monkeypatch, capsys, stage
):
    module, name, whole = STAGES[stage]
    original, calls = getattr(module, name), []

    def on_full_disk(*arguments, **options):
        calls.append(name)
        with (
            full_disk() if len(calls) == (3 if name == "save" else 1) else contextlib.nullcontext()
        ):
            return original(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(module, name, on_full_disk)
        assert cli.run(["train", *SMALL, "--out", "run"]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error == (
        f"error: run must take {stage}; the system says: File too large. What it has, {whole}, is whole. Make room or "
        "allow writing, then go on with variform train --resume run."
    )
    assert is_tidy("run")
    run = resume_run(Path("run"), pictures=False)
    assert names("run") == NUMBERS and run.evaluation["rows"] > 0


def test_a_full_disk_before_the_first_checkpoint_is_told_as_that(monkeypatch, capsys):
    original = checkpoints.save

    def on_full_disk(*arguments):
        with full_disk():
            original(*arguments)

    monkeypatch.setattr(checkpoints, "save", on_full_disk)
    assert cli.run(["train", *SMALL, "--out", "run"]) == 2
    error = capsys.readouterr().err
    assert (
        "run must take the checkpoint of step 0" in error and "It has no checkpoint yet." in error
    )


@pytest.mark.parametrize("way", ["deleted", "moved", "taken"])
@pytest.mark.parametrize("stage", ["training", "drawing"])
def test_a_folder_that_goes_under_a_run_is_told_and_no_other_run_is_written_into(
    monkeypatch, capsys, stage, way
):
    module, name = (checkpoints, "save") if stage == "training" else (pictures, "plot_samples")
    original, calls = getattr(module, name), []

    def gone(*arguments, **options):
        calls.append(name)
        if len(calls) == (3 if stage == "training" else 1):
            os.rename("run", "elsewhere")
            if way == "deleted":
                shutil.rmtree("elsewhere")
            if way == "taken":  # by another run
                Path("run").mkdir()
                Path("run/note.txt").write_text("another's")
                Path("run/.lock").write_text("another's")
        return original(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(module, name, gone)
        assert cli.run(["train", *SMALL, "--out", "run"]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    if way == "taken":
        assert (
            "run must be written by one process at a time; its .lock was deleted or taken" in error
        )
        assert names("run") == {"note.txt", ".lock"}
    else:
        assert (
            "run must be there as long as a run writes to it; it is not" in error
            and not Path("run").exists()
        )
    assert "whole" not in error
    if way != "deleted":
        resume_run(Path("elsewhere"), pictures=False)
        assert names("elsewhere") >= NUMBERS and is_tidy("elsewhere")
