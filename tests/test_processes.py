"""Two processes compute what one does, and a job that loses one says so and goes on."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import processes_worker
import pytest
import torch
from safetensors.torch import load_file

from variform.export.model_file import load_vae
from variform.runs.records import read_config
from variform.runs.train import resume_run, train_run
from variform.system.locks import held
from variform.training import parts

pytestmark = pytest.mark.long  # the whole file, which trains in two processes once

TORCHRUN = [
    sys.executable,
    "-m",
    "torch.distributed.run",
    "--nproc-per-node",
    "2",
    "--master-port",
    "0",
]
TORCHRUN += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]


def environment():
    return os.environ | {"OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}


@pytest.fixture(scope="module")
def by_two(tmp_path_factory):
    """The results of one job of two processes that trained every case."""
    folder = tmp_path_factory.mktemp("two")
    command = [*TORCHRUN, Path(__file__).parent / "processes_worker.py", folder]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("case", processes_worker.CASES)
def test_two_processes_equal_one_on_the_same_batches(by_two, case):
    """Dropout, dynamic binarisation and a last batch of one row included; sharded, and stopped and resumed, too."""
    rows, weights = processes_worker.trained(case, sharded=False)
    rows_of_two = json.loads((by_two / f"{case}.json").read_text())
    tolerance = {"rtol": 1e-3, "atol": 1e-3} if case == "bf16" else {"rtol": 1e-12, "atol": 1e-12}
    for name, value in load_file(by_two / f"{case}.safetensors").items():
        torch.testing.assert_close(value, weights[name], **tolerance)
    if case in processes_worker.STOPPED:
        assert (by_two / f"{case} stopped" / "history.jsonl").read_text().count("\n") == len(rows)
    for row, row_of_two in zip(rows, rows_of_two, strict=True):
        for key in ("train_loss", "train_elbo", "valid_loss", "valid_kl"):
            assert row_of_two[key] == pytest.approx(row[key], rel=tolerance["rtol"]), key


def test_no_thread_is_left_with_a_tensor_that_it_would_need_the_interpreter_to_drop(by_two):
    """At the interpreter's end such a thread kills the process: seen in 2 of 8 jobs on a busy machine."""
    assert [(by_two / f"left-{rank}.txt").read_text() for rank in (0, 1)] == ["0", "0"]


OPTIONS = [
    "--epochs",
    "150",
    "--hidden",
    "16",
    "--dropout",
    "0.1",
    "--binarise",
    "dynamic",
    "--nll-samples",
    "2",
]
OPTIONS += ["--batch-size", "32", "--checkpoint-every", "15steps"]


@pytest.fixture
def pixels(tmp_path):
    """130 rows of 4 x 4 grey pixels in a file: four steps an epoch."""
    np.save(
        tmp_path / "pixels.npy",
        np.random.default_rng(0).integers(0, 256, (130, 4, 4), dtype=np.uint8),
    )
    return tmp_path / "pixels.npy"


@pytest.mark.parametrize("sharded", [(), ("--sharded",)])
def test_a_killed_worker_is_named_and_the_run_goes_on_with_one_process(tmp_path, pixels, sharded):
    folder = tmp_path / "run"
    command = [*TORCHRUN, "-m", "variform", "train", pixels, *OPTIONS, *sharded, "--out", folder]
    # A job whose progress nobody reads waits after some 45 epochs, and does not end before it is killed.
    with subprocess.Popen(
        command, env=environment(), stderr=subprocess.PIPE, text=True, pipesize=4096
    ) as job:
        os.kill(worker(job, folder, "1"), signal.SIGKILL)
        said = job.communicate(timeout=200)[1]
    assert job.returncode == 1
    assert "rank      : 1 " in said and "Signal 9 (SIGKILL)" in said
    reached = len((folder / "history.jsonl").read_text().splitlines())
    assert 0 < reached < 150
    assert len(parts.files(folder)) in ((2, 3, 4) if sharded else (0,))
    torch.set_default_dtype(torch.float32)
    resume_run(folder, pictures=False)
    alone = tmp_path / "alone"
    config = read_config(folder / "config.toml")
    assert config.train.sharded == bool(sharded)
    train_run(replace(config, train=replace(config.train, sharded=False)), alone, pictures=False)
    rows, rows_alone = (
        [json.loads(line) for line in (path / "history.jsonl").read_text().splitlines()]
        for path in (folder, alone)
    )
    assert len(rows) == 150
    assert rows[-1]["valid_loss"] == pytest.approx(rows_alone[-1]["valid_loss"], rel=0.01)
    assert rows[3]["valid_loss"] == pytest.approx(rows_alone[3]["valid_loss"], rel=1e-5)
    assert [
        session["processes"]
        for session in json.loads((folder / "environment.json").read_text())["sessions"]
    ] == [
        2,
        1,
    ]
    assert load_vae(folder / "model.safetensors").latent_dim == 10


def worker(job, folder, rank):
    """The number of a process of a job that trains in `folder`, after some epochs."""
    history = folder / "history.jsonl"
    while not history.is_file() or len(history.read_text()) < 2000:
        assert job.poll() is None, job.stderr.read()
        time.sleep(0.05)
    return next(
        int(path.name)
        for path in Path("/proc").glob("[0-9]*")
        if environment_of(path).get("RANK") == rank
        and str(folder) in (path / "cmdline").read_text()
    )


def environment_of(process):
    try:
        pairs = (process / "environ").read_text().split("\0")
    except OSError:
        return {}
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)


def test_a_worker_that_is_stopped_ends_the_job_within_a_minute_with_a_sentence(tmp_path, pixels):
    folder = tmp_path / "run"
    command = [*TORCHRUN, "-m", "variform", "train", pixels, *OPTIONS, "--out", folder]
    with subprocess.Popen(
        command, env=environment(), stderr=subprocess.PIPE, text=True, pipesize=4096
    ) as job:
        victim = worker(job, folder, "0")
        os.kill(victim, signal.SIGSTOP)
        begun = time.monotonic()
        said = ""
        while "error: " not in said:
            said = job.stderr.readline()
        seconds = time.monotonic() - begun
        os.kill(victim, signal.SIGKILL)  # else torchrun does, 30 s later
        job.communicate(timeout=200)
    assert job.returncode == 1 and seconds < 60
    assert "process 1 of 2 has not heard from process 0 for 25 s" in said and "--resume" in said
    assert (folder / "checkpoint.safetensors").is_file()


@pytest.mark.parametrize("rank", ["0", "1"])
def test_torchrun_restarts_a_killed_worker_and_the_run_ends_with_the_bits_of_one_left_alone(
    tmp_path, pixels, rank
):
    folders = [tmp_path / name for name in ("killed", "left alone")]
    for folder in folders:
        restarts = ["--max-restarts", "1", "-m", "variform", "train", pixels, *OPTIONS]
        command = [*TORCHRUN, *restarts, "--out", folder, "--overwrite"]
        folder.mkdir()
        (folder / "config.toml").write_text("of another run")
        with subprocess.Popen(
            command, env=environment(), stderr=subprocess.PIPE, text=True, pipesize=4096
        ) as job:
            if folder.name == "killed":
                os.kill(worker(job, folder, rank), signal.SIGKILL)
            said = job.communicate(timeout=200)[1]
        assert job.returncode == 0, said
        assert (folder / "replaced-1" / "config.toml").read_text() == "of another run"
        assert not (folder / "replaced-2").exists()
    killed, alone = (
        [{**json.loads(line), **TIMELESS} for line in rows(folder)] for folder in folders
    )
    assert len(killed) == 150 and killed == alone
    for name in ("model.safetensors", "last.safetensors"):
        first, second = (load_file(folder / name) for folder in folders)
        assert all(torch.equal(value, second[key]) for key, value in first.items())


TIMELESS = dict.fromkeys(("seconds", "train_seconds", "examples_per_second"))


def rows(folder):
    return (folder / "history.jsonl").read_text().splitlines()


def test_of_a_job_whose_folder_another_process_has_every_process_ends_and_the_first_says_why(
    tmp_path, pixels
):
    command = [*TORCHRUN, "-m", "variform", "train", pixels, *OPTIONS, "--out", tmp_path / "run"]
    with held(tmp_path / "run", make=True):
        done = subprocess.run(
            command, env=environment(), capture_output=True, text=True, timeout=300
        )
        assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]
    assert done.returncode == 1 and "exitcode  : 2 " in done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(said) == 1 and f"process {os.getpid()} on " in said[0]
