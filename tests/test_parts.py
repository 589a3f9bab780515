"""Sharded checkpoints: no process has a tensor whole, any number of them goes on, and what is not whole is refused."""

import json
import shutil
import subprocess
from pathlib import Path
from random import Random

import parts_worker
import processes_worker
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from test_processes import TORCHRUN, environment

from variform.config.model import ModelConfig
from variform.config.run import EvaluationConfig, RunConfig
from variform.config.training import TrainConfig
from variform.runs.folder import RESULTS
from variform.runs.train import train_run
from variform.system.files import sweep
from variform.system.sealing import write_sealed
from variform.training import parts

pytestmark = pytest.mark.long  # the whole file, which trains in two and three processes once

EXACTLY = {"rtol": 1e-12, "atol": 1e-12}


def run_by(count, task, folder):
    command = list(TORCHRUN)
    command[command.index("2")] = str(count)
    command += [Path(__file__).parent / "parts_worker.py", task, folder]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    """What a job of three processes began, and what one of two did after it."""
    folder = tmp_path_factory.mktemp("parts")
    run_by(3, "by_three", folder)
    for case in parts_worker.CASES:
        parts_worker.stopped(case, folder / f"{case} by one", sharded=False)
    run_by(2, "by_two", folder)
    return folder


@pytest.fixture(scope="module")
def notes(jobs):
    return [json.loads((jobs / f"notes-{rank}.json").read_text()) for rank in (0, 1)]


@pytest.fixture(scope="module")
def alone():
    """The weights of each case that one process trained in one go."""
    return {case: processes_worker.trained(case, sharded=False)[1] for case in parts_worker.CASES}


def by_one(folder, case="sharded"):
    """The weights of a run that goes on with one process; without a checkpoint it begins anew."""
    has_checkpoint = (folder / "checkpoint.safetensors").exists()
    return processes_worker.trained(case, folder=folder, resume=has_checkpoint, sharded=False)[1]


def header_of(path):
    with safe_open(path, framework="numpy") as file:
        return json.loads(file.metadata()["variform"])


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("case", parts_worker.CASES)
@pytest.mark.parametrize("begun", ["by three", "by one", "by two"])
def test_a_run_goes_on_with_another_number_of_processes_to_the_same_weights(
    jobs, alone, case, begun
):
    torch.testing.assert_close(
        load_file(jobs / f"{case} {begun}.safetensors"), alone[case], **EXACTLY
    )


@pytest.mark.parametrize("case", parts_worker.CASES)
def test_a_run_of_two_goes_on_with_one_whose_checkpoint_is_one_file_again(
    jobs, alone, case, tmp_path
):
    folder = shutil.copytree(jobs / f"{case} left by two", tmp_path / "run")
    parts_there = parts.files(folder)
    assert len(parts_there) == 2
    mine = ["checkpoint-old.safetensors", "checkpoint-of-mine-1-of-2.safetensors"]
    for name in mine:
        (folder / name).write_text("of the user")
    torch.testing.assert_close(by_one(folder, case), alone[case], **EXACTLY)
    assert names(folder) == sorted([*mine, "checkpoint.safetensors", "history.jsonl"])
    assert "parts" not in header_of(folder / "checkpoint.safetensors")


def test_no_process_has_or_sees_a_tensor_whole(jobs, notes):
    """The largest tensors are the first and the last weight, of 16 times `WIDTH` numbers of 8 bytes."""
    rows = 16 * parts_worker.WIDTH * 8 / 2
    for note in notes:
        measured = note["measured"]
        assert measured["saving"] == measured["loading"] == rows
        assert measured["held"] == pytest.approx(measured["whole"] / 2, rel=0.02)
    folder = jobs / "measured"
    sizes = [(folder / name).stat().st_size for name in parts.files(folder)]
    whole = notes[0]["measured"]["whole"]
    assert sizes == pytest.approx([whole / 2] * 2, rel=0.1)
    assert (folder / "checkpoint.safetensors").stat().st_size < 0.1 * whole


def test_a_kill_before_any_change_of_a_file_leaves_a_run_that_goes_on_to_the_same_weights(
    jobs, alone
):
    pictures = sorted(path for path in (jobs / "album").iterdir() if path.is_dir())
    left_over = 0
    for folder in pictures:
        present = folder / "checkpoint.safetensors"
        named = header_of(present)["parts"]["files"] if present.exists() else []
        left_over += set(parts.files(folder)) > {file["name"] for file in named}
        torch.testing.assert_close(by_one(folder), alone["sharded"], **EXACTLY)
        sweep(folder / name for name in RESULTS)  # as a run does before it goes on
        assert names(folder) == ["checkpoint.safetensors", "history.jsonl"]
    assert len(pictures) > 15 and left_over > 5


def test_a_full_disk_of_one_process_ends_all_with_its_sentence_and_leaves_the_checkpoint_before(
    jobs, alone, notes, tmp_path
):
    said = [note["full disk"] for note in notes]
    assert said[0] == said[1]
    assert "must take the checkpoint of step 8; the system says: File too large." in said[0]
    assert "What it has, checkpoint.safetensors, is whole." in said[0]
    folder = shutil.copytree(jobs / "full", tmp_path / "run")
    header = header_of(folder / "checkpoint.safetensors")
    assert header["state"]["step"] == 4
    assert parts.files(folder) == sorted(file["name"] for file in header["parts"]["files"])
    config = processes_worker.trained(
        "sharded", folder=folder, resume=True, sharded=False, checkpoint_every="1epoch"
    )
    torch.testing.assert_close(config[1], alone["sharded"], **EXACTLY)


@pytest.mark.parametrize(
    ("name", "missing"), [("no folder", "does not find run"), ("another folder", "-2-of-2.")]
)
def test_a_folder_that_one_process_does_not_reach_is_refused_before_the_first_step(
    jobs, notes, name, missing
):
    said = [note[name] for note in notes]
    assert said[0] == said[1]
    assert "`sharded` needs a folder that every process reaches; process" in said[0]
    assert missing in said[0]
    files = [path for path in (jobs / name).rglob("*") if path.is_file()]
    assert files == []


def test_parts_that_are_missing_changed_or_of_another_checkpoint_are_refused(jobs, tmp_path):
    folder = shutil.copytree(jobs / "sharded left by two", tmp_path / "run")
    random = Random(0)

    def refused(match):
        before = {path: path.read_bytes() for path in folder.iterdir()}
        with pytest.raises(ValueError, match=match) as raised:
            by_one(folder)
        assert "What the run has is as it was" in str(raised.value)
        assert {path: path.read_bytes() for path in folder.iterdir()} == before

    for name in parts.files(folder):
        path = folder / name
        content = path.read_bytes()
        for bit in random.sample(range(8 * len(content)), 40):
            changed = bytearray(content)
            changed[bit // 8] ^= 1 << bit % 8
            path.write_bytes(changed)
            refused("must be a whole checkpoint|Choose another file")
        for size in (0, 7, len(content) // 2, len(content) - 1):
            path.write_bytes(content[:size])
            refused("must be a whole checkpoint")
        path.unlink()
        refused("its part .* is not there")
        ended = jobs / "sharded by two"
        later = next(other for other in parts.files(ended) if other[27:] == name[27:])
        shutil.copy(ended / later, path)  # whole, and of the same training
        refused("is that of another one")
        path.write_bytes(content)
    assert by_one(folder)


def test_a_hostile_index_of_parts_is_refused(jobs, tmp_path):
    folder = shutil.copytree(jobs / "sharded left by two", tmp_path / "run")
    path = folder / "checkpoint.safetensors"
    header, tensors = header_of(path), load_file(path)
    stored = header["parts"]
    kept = {key: header[key] for key in ("state", "identity")}
    name = next(iter(stored["bounds"]))
    start, middle, end = stored["bounds"][name]
    outside = [{"name": "../" + file["name"], "sha256": file["sha256"]} for file in stored["files"]]
    swapped = stored["files"][::-1]
    odd = [None, [], {}, {"files": stored["files"]}, stored | {"files": 5}]
    odd += [stored | {"files": files} for files in (outside, swapped, stored["files"][:1])]
    for bounds in ([], [0, end], [0, 2**40, end], [1, middle, end], [0, end, middle], "abc", 5,
                   [0, middle, end + 1], [start, middle, 2**62], [0, 0, 0]):  # fmt: skip
        odd.append(stored | {"bounds": stored["bounds"] | {name: bounds}})
    odd.append(stored | {"bounds": stored["bounds"] | {"weights/another": [0, 1, 2]}})
    odd.append(stored | {"bounds": {}})
    for described in odd:
        write_sealed(path, kept | {"parts": described}, tensors, sort_keys=False)
        with pytest.raises(ValueError, match=r"must (be a whole checkpoint|hold the state of)"):
            by_one(folder)


def test_a_new_run_sets_the_parts_of_the_one_before_aside(jobs, tmp_path):
    before = shutil.copytree(jobs / "sharded left by two", tmp_path / "run")
    kept = {name: (before / name).read_bytes() for name in names(before)}
    assert len(kept) == 4
    config = RunConfig(
        model=ModelConfig(likelihood="bernoulli", latent_dim=2, hidden=(4,)),
        train=TrainConfig(steps=2),
        evaluation=EvaluationConfig(nll_samples=1),
    )
    train_run(config, tmp_path / "run", overwrite=True, pictures=False)
    assert parts.files(tmp_path / "run") == []
    aside = tmp_path / "run" / "replaced-1"
    assert {name: (aside / name).read_bytes() for name in names(aside)} == kept
