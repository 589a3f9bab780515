"""One process at a time writes into a folder: real processes that start together, are killed, or share a network."""

import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from variform import build_objective, build_vae, fit, read
from variform.config.model import ModelConfig
from variform.config.run import EvaluationConfig, RunConfig
from variform.config.training import TrainConfig
from variform.faces import cli
from variform.runs.folder import open_run
from variform.runs.records import read_config
from variform.runs.train import train_run
from variform.system import locks
from variform.system.files import new_folder, read_json, replacing
from variform.system.locks import HeldError, Holder, held, require_held

SMALL = [
    "--likelihood",
    "gaussian",
    "--latent-dim",
    "1",
    "--hidden",
    "4",
    "--steps",
    "30",
    "--nll-samples",
    "5",
]


pytestmark = pytest.mark.usefixtures("single_precision")


def tree(folder):
    return {
        path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def process(code, *arguments):
    """A process that runs a few lines, and says `ready` when it waits."""
    started = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert started.stdout.readline() == "ready\n"
    return started


HOLD = """
import sys
from variform.system.locks import held
with held(sys.argv[1], make=True):
    print("ready", flush=True)
    sys.stdin.read()
"""


# --- who may take a folder ----------------------------------------------------------------------------------------


def test_a_held_folder_is_refused_with_who_holds_it_and_is_free_when_the_holder_ends_or_is_killed(
    tmp_path,
):
    for end in ("ends", "is killed"):
        holder = process(HOLD, tmp_path / "run")
        with pytest.raises(
            HeldError, match=f"process {holder.pid} on {os.uname().nodename} .* since 2.*Wait until"
        ):
            held(tmp_path / "run").__enter__()
        assert json.loads((tmp_path / "run" / ".lock").read_text())["pid"] == holder.pid
        if end == "ends":
            holder.communicate()
            assert not (tmp_path / "run").exists()  # nothing came of it
        else:
            holder.kill()
            holder.communicate()
            assert (tmp_path / "run" / ".lock").exists()
    with held(tmp_path / "run"):
        assert json.loads((tmp_path / "run" / ".lock").read_text())["pid"] == os.getpid()
    assert list((tmp_path / "run").iterdir()) == []


def test_a_child_that_outlives_its_killed_parent_holds_nothing(tmp_path):
    code = HOLD.replace(
        'print("ready"',
        'import os, signal\n    if not os.fork(): signal.pause()\n    print("ready"',
    )
    holder = process(code, tmp_path / "run")
    children = Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()
    assert len(children) == 1
    holder.kill()
    try:
        with held(tmp_path / "run"):
            assert json.loads((tmp_path / "run" / ".lock").read_text())["pid"] == os.getpid()
    finally:
        for child in children:
            os.kill(int(child), signal.SIGKILL)
        holder.communicate()


def test_another_thread_of_the_same_process_is_refused_too(tmp_path):
    refusals = []

    def try_it():
        try:
            with held(tmp_path):
                refusals.append("taken")
        except HeldError as error:
            refusals.append(str(error))

    with held(tmp_path):
        thread = threading.Thread(target=try_it)
        thread.start()
        thread.join()
    assert len(refusals) == 1 and f"process {os.getpid()} " in refusals[0]


TOGETHER = """
import os, sys
from pathlib import Path
from variform.system import locks
if sys.argv[2] == "no links":
    def link(*_):
        raise PermissionError(1, "Operation not permitted")
    os.link = link
locks._TRIES, locks._PAUSE = 2, 0.001
print("ready", flush=True)
sys.stdin.read(1)
folder, inside, taken = Path(sys.argv[1]), Path(sys.argv[1] + "-inside"), 0
for _ in range(int(sys.argv[3])):
    try:
        with locks.held(folder, make=True):
            os.close(os.open(inside, os.O_CREAT | os.O_EXCL))  # fails where there are two
            taken += 1
            inside.unlink()
            if taken % 7 == 3:
                os._exit(0)
    except locks.HeldError:
        pass
print(taken)
"""


@pytest.mark.parametrize("links", ["links", "no links"])
def test_processes_that_take_and_leave_a_folder_at_random_are_never_in_it_together(tmp_path, links):
    """Some end inside, without a good-bye, so that what they leave is fought for; the folder itself comes and goes."""
    folder = tmp_path / "run"
    jobs = [process(TOGETHER, folder, links, 400) for _ in range(4)]
    for job in jobs:
        job.stdin.write("x")
        job.stdin.flush()
    for job in jobs:
        job.communicate()
        assert job.returncode == 0
    with held(folder, make=True):
        pass


@pytest.fixture
def other(tmp_path):
    """A lock file in a folder whose holder is made up."""

    def write(**changes):
        holder = replace(Holder.present(flocked=True), pid=4_000_000, started="1", **changes)
        (tmp_path / ".lock").write_text(json.dumps(asdict(holder)))
        return tmp_path

    return write


def test_a_holder_on_another_host_is_named_with_what_to_do_and_left_in_peace(other):
    since = "2020-02-02 02:02:02+00:00"
    folder = other(host="elsewhere", boot="another", since=since)
    before = tree(folder)
    with pytest.raises(HeldError) as caught, held(folder):
        raise AssertionError
    said = str(caught.value)
    assert "process 4000000 on elsewhere" in said and since in said and " days ago" in said
    assert f"delete {folder / '.lock'}" in said
    assert tree(folder) == before
    (folder / ".lock").unlink()  # as it says
    with held(folder):
        pass


def test_what_a_holder_left_before_its_host_started_anew_is_taken(other):
    for change in ({"boot": "the boot before"}, {"host": "the name before"}):
        folder = other(**change)
        with held(folder):
            assert json.loads((folder / ".lock").read_text())["pid"] == os.getpid()
        assert not (folder / ".lock").exists()


def test_a_lock_that_says_nothing_bars_nobody(tmp_path):
    odd = json.dumps(asdict(Holder.present(flocked=True)) | {"pid": "1"})
    for content in ("", "{", "[]", '{"pid": 1}', "[" * 10_000, odd):
        (tmp_path / ".lock").write_text(content)
        with held(tmp_path):
            pass
    assert list(tmp_path.iterdir()) == []


def test_without_flock_the_process_and_its_start_decide(tmp_path, monkeypatch):
    """As on a file system of a cluster that knows no such locks; the number of a process may be another's by now."""
    monkeypatch.setattr(locks, "_flock", lambda descriptor: None)
    present = Holder.present(flocked=False)
    for holder, is_free in (
        (present, False),
        (replace(present, started="1"), True),  # its number is this process's by now
        (replace(present, pid=4_000_000), True),
        (replace(present, pid=4_000_000, boot="the boot before"), True),
        (
            replace(present, pid=4_000_000, host="another container"),
            False,
        ),  # whose numbers are others
        (replace(present, pid=4_000_000, host="elsewhere", boot="another"), False),
    ):
        (tmp_path / ".lock").write_text(json.dumps(asdict(holder)))
        with contextlib.nullcontext() if is_free else pytest.raises(HeldError), held(tmp_path):
            pass
        assert (tmp_path / ".lock").exists() is not is_free
    (tmp_path / ".lock").write_text("")  # somebody may be about to sign it
    with pytest.raises(HeldError, match="just beginning"), held(tmp_path):
        raise AssertionError


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])
def test_file_systems_without_links_have_locks_and_new_files_too(tmp_path, monkeypatch, number):
    def link(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", link)
    with held(tmp_path):
        assert json.loads((tmp_path / ".lock").read_text())["pid"] == os.getpid()
        with pytest.raises(HeldError, match=f"process {os.getpid()}"), held(tmp_path):
            raise AssertionError
    with replacing(tmp_path / "new.txt", new=True) as path:
        path.write_text("first")
    with (
        pytest.raises(FileExistsError, match="must be a new file"),
        replacing(tmp_path / "new.txt", new=True),
    ):
        raise AssertionError
    assert tree(tmp_path) == {Path("new.txt"): b"first"}


def test_what_killed_processes_left_behind_goes_and_nothing_else(tmp_path):
    left = {".lock-0123abcd", ".lock"}
    kept = {".lock-0123abc", ".locked", "lock", ".lock-0123abcd.txt"}
    for name in left | kept:
        (tmp_path / name).write_text("")
    with held(tmp_path):
        pass
    assert {path.name for path in tmp_path.iterdir()} == kept


# --- new files and folders ------------------------------------------------------------------------------------------


def test_of_two_who_make_the_same_file_or_folder_the_second_is_refused_and_loses_nothing_of_the_first(
    tmp_path,
):
    with (
        pytest.raises(FileExistsError, match=r"must be a new file; .*one\.txt exists"),
        replacing(tmp_path / "one.txt", new=True) as second,
    ):
        with replacing(tmp_path / "one.txt", new=True) as first:
            first.write_text("first")
        second.write_text("second")
    with (
        pytest.raises(FileExistsError, match="must be new or empty"),
        new_folder(tmp_path / "two") as second,
    ):
        with new_folder(tmp_path / "two") as first:
            (first / "note.txt").write_text("first")
        (second / "note.txt").write_text("second")
    assert tree(tmp_path) == {Path("one.txt"): b"first", Path("two/note.txt"): b"first"}


def test_a_killed_filling_of_a_folder_is_swept_by_the_next_and_a_living_one_is_not(tmp_path):
    code = HOLD.replace(
        "variform.system.locks import held", "variform.system.files import new_folder"
    )
    code = code.replace("held(sys.argv[1], make=True)", "new_folder(sys.argv[1])")
    (tmp_path / ".new-0123abcd").mkdir()  # the user's
    living = process(code, tmp_path / "new")
    killed = process(code, tmp_path / "new")
    assert len(list(tmp_path.iterdir())) == 3
    killed.kill()
    killed.communicate()
    with new_folder(tmp_path / "new") as folder:
        assert len(list(tmp_path.iterdir())) == 3 and (tmp_path / ".new-0123abcd").is_dir()
        (folder / "note.txt").write_text("here")
    living.communicate()
    assert {path.name for path in tmp_path.iterdir()} == {".new-0123abcd", "new"}
    assert tree(tmp_path / "new") == {Path("note.txt"): b"here"}


def test_a_disk_that_became_read_only_says_so_itself_and_the_lock_left_there_bars_nobody(
    tmp_path, monkeypatch
):
    def unlink(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system", str(tmp_path / ".lock"))

    with pytest.raises(ArithmeticError, match="what happened"), held(tmp_path):
        monkeypatch.setattr(Path, "unlink", unlink)
        raise ArithmeticError("what happened")
    monkeypatch.undo()
    assert (tmp_path / ".lock").exists()
    with held(tmp_path):
        pass
    assert not (tmp_path / ".lock").exists()


# --- every command that writes into a run -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    torch.set_default_dtype(torch.float32)
    folder = tmp_path_factory.mktemp("locks")
    np.save(folder / "rows.npy", np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32))
    model = ModelConfig(latent_dim=1, hidden=(4,), likelihood="gaussian")
    few = EvaluationConfig(nll_samples=2)
    config = RunConfig(
        source=str(folder / "rows.npy"), model=model, train=TrainConfig(steps=5), evaluation=few
    )
    train_run(config, folder / "run", pictures=False)
    np.save(folder / "points.npy", np.zeros((2, 1), np.float32))
    return folder


COMMANDS = [
    "train rows.npy --out run",
    "train rows.npy --out run --overwrite",
    "train --resume run",
    "study latent-dim rows.npy --dims 1 --out run --overwrite",
    "sampler run",
    "draw run",
    "explore run",
    "generate run",
    "encode run",
    "decode run points.npy",
    "reconstruct run",
    "impute run rows.npy",
    "export run --to numpy",
    "generate run --out run/new.csv",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_writes_into_a_run_that_another_process_has(
    finished, monkeypatch, capsys, command
):
    monkeypatch.chdir(finished)
    with held("run"):
        before = tree(finished)
        assert cli.run(command.split()) == 2
        assert tree(finished) == before
        error = capsys.readouterr().err
        assert (
            "run must be written by one process at a time" in error
            and f"process {os.getpid()} on " in error
        )
        if command in ("generate run", "encode run"):
            assert (
                cli.run([*command.split(), "--out", f"elsewhere {command}.csv"]) == 0
            )  # which reads it alone
    assert not (finished / "run" / ".lock").exists()


def test_fit_holds_its_folder_too_and_writes_into_none_that_another_has(finished, tmp_path):
    splits = read(str(finished / "rows.npy"))
    config = TrainConfig(steps=5)
    model = ModelConfig(latent_dim=1, hidden=(4,), likelihood="gaussian")
    objective = build_objective(build_vae(model, splits.schema), config)

    def refused(*_):
        before = tree(tmp_path)
        with (
            ThreadPoolExecutor(1) as elsewhere,
            pytest.raises(HeldError, match="one process at a time"),
        ):
            elsewhere.submit(
                fit, objective, splits.train, splits.valid, config, folder=tmp_path / "new"
            ).result()
        assert tree(tmp_path) == before

    holder = process(HOLD, tmp_path / "new")
    refused()
    holder.communicate()
    assert not (tmp_path / "new").exists()
    epochs = []
    fit(
        objective,
        splits.train,
        splits.valid,
        config,
        folder=tmp_path / "new",
        on_epoch=lambda row: epochs.append(refused(row)),
    )
    assert epochs and {path.name for path in (tmp_path / "new").iterdir()} == {
        "checkpoint.safetensors",
        "history.jsonl",
    }
    with held(tmp_path / "new"):
        refused()


def test_only_the_thread_that_holds_a_folder_may_hold_it_again(tmp_path):
    with held(tmp_path):
        with held(tmp_path, again=True):
            assert (tmp_path / ".lock").exists()
        assert (tmp_path / ".lock").exists()  # the outer one still holds it
        with pytest.raises(HeldError):
            held(tmp_path).__enter__()
        with ThreadPoolExecutor(1) as elsewhere, pytest.raises(HeldError):
            elsewhere.submit(held(tmp_path, again=True).__enter__).result()
        (tmp_path / ".lock").unlink()  # another process may take it now
        other = process(HOLD, tmp_path)
        with pytest.raises(HeldError, match=f"process {other.pid} "):
            held(tmp_path, again=True).__enter__()
        other.communicate()


def test_a_training_that_is_refused_leaves_nothing_and_one_that_was_killed_early_is_begun_anew(
    finished, monkeypatch
):
    monkeypatch.chdir(finished)
    assert cli.run(["train", "none.npy", "--out", "deep/er/run"]) == 2
    assert not Path("deep").exists()
    assert cli.run(["train", "rows.npy", "--hidden", "0", "--out", "rows.npy/run"]) == 2
    killed = process(HOLD, finished / "early")  # before it wrote anything
    killed.kill()
    killed.communicate()
    assert cli.run(["train", "rows.npy", *SMALL, "--out", "early"]) == 0


TRAIN = """
import sys
from variform.faces import cli
from variform.runs import train as running
finish = running._finish
def when_the_other_has_ended(*arguments):
    sys.stdin.read()
    return finish(*arguments)
running._finish = when_the_other_has_ended
print("ready", flush=True)
sys.stdin.read(1)
cli.main(sys.argv[1:])
"""


@pytest.mark.long
@pytest.mark.parametrize(
    "options", [[], ["--out", "old", "--overwrite"]], ids=["default", "overwrite"]
)
def test_of_two_trainings_that_begin_together_one_is_refused_and_the_other_is_whole(
    tmp_path, options
):
    """benchmarks/two_at_once.py does it a hundred times."""
    means = {"monday": 0.0, "tuesday": 1000.0}
    for name, mean in means.items():
        (tmp_path / name).mkdir()
        rows = np.random.default_rng(0).normal(mean, size=(300, 3)).astype(np.float32)
        np.save(tmp_path / name / "data.npy", rows)
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "config.toml").write_text("mine")

    def begin(name):
        command = [
            sys.executable,
            "-c",
            TRAIN,
            "train",
            f"{name}/data.npy",
            *SMALL,
            *options,
            "--json",
        ]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        environment = os.environ | {"MPLBACKEND": "Agg"}
        return subprocess.Popen(command, cwd=tmp_path, text=True, env=environment, **pipes)

    jobs = {name: begin(name) for name in means}
    for job in jobs.values():
        assert job.stdout.readline() == "ready\n"
    for job in jobs.values():
        job.stdin.write("x")
        job.stdin.flush()
    while all(job.poll() is None for job in jobs.values()):
        time.sleep(0.05)
    done = {name: (*job.communicate(), job.returncode) for name, job in jobs.items()}
    assert sorted(code for _, _, code in done.values()) == [0, 2], done
    winner, loser = sorted(done, key=lambda name: done[name][2])
    assert "must be written by one process at a time" in done[loser][1], done
    assert f"process {jobs[winner].pid} on " in done[loser][1] and done[loser][0] == ""
    folder = tmp_path / (options[1] if options else "runs/data")
    config, numbers = read_config(folder / "config.toml"), json.loads(done[winner][0])
    assert config.source == str(tmp_path / winner / "data.npy")
    assert numbers == read_json(folder / "evaluation.json")
    fingerprint = numbers["data"]["fingerprint"]
    assert fingerprint == json.loads((folder / "data.json").read_text())["fingerprint"]
    schema = open_run(folder).vae.schema
    assert abs(schema.low[0] - means[winner]) < 10
    assert not [path for path in folder.rglob("*") if path.name.startswith(".")]
    if "--overwrite" in options:
        assert (folder / "replaced-1" / "config.toml").read_text() == "mine"


# --- a folder that goes while a run writes to it ----------------------------------------------------------------------


def test_a_folder_that_is_moved_deleted_or_taken_is_noticed(tmp_path):
    folder = tmp_path / "run"
    with held(folder, make=True):
        require_held(folder)
        folder.rename(tmp_path / "elsewhere")
        with pytest.raises(
            HeldError, match=r"must be there as long as .*If it was moved, go on with"
        ):
            require_held(folder)
        with held(folder, make=True):  # as another process would
            pass
        folder.mkdir()
        with pytest.raises(HeldError, match="deleted or taken"):
            require_held(folder)
    assert folder.is_dir() and (tmp_path / "elsewhere").is_dir()
