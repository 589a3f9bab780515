"""Sealed files: one flipped bit anywhere is refused, and a run whose checkpoint is damaged loses nothing else."""

import json
import shutil
from pathlib import Path
from random import Random

import pytest
import torch
from models import run_with_sampler
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from variform.export.model_file import load_vae
from variform.export.sampler_file import load_sampler
from variform.faces import cli
from variform.runs.folder import open_run
from variform.runs.train import resume_run
from variform.system.sealing import read_sealed
from variform.training import checkpoints


@pytest.fixture(autouse=True)
def _single_precision(_double_precision):
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    torch.set_default_dtype(torch.float32)
    folder = tmp_path_factory.mktemp("sealing") / "run"
    return run_with_sampler(folder, 24)


@pytest.fixture
def folder(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def header_of(path):
    with safe_open(path, framework="pt") as file:
        return json.loads(file.metadata()["variform"])


def places(content, random):
    """Bits anywhere: of the tensors, of the header and its padding, of the length, and of both ends."""
    length = int.from_bytes(content[:8], "little")
    bits = [random.randrange(8 * len(content)) for _ in range(500)]
    bits += [8 * 8 + random.randrange(8 * length) for _ in range(400)]
    for start, stop in ((0, 8), (length, 8 + length), (len(content) - 8, len(content))):
        bits += range(8 * start, 8 * stop)
    return bits


def flipped(content, bit):
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_a_thousand_flipped_bits_of_a_checkpoint_are_refused(folder):
    path, random = folder / "checkpoint.safetensors", Random(0)
    content, identity = path.read_bytes(), header_of(path)["identity"]
    assert checkpoints.load(folder, identity, {}).step == 24
    bits = places(content, random)
    assert len(bits) >= 1000
    for bit in bits:
        path.write_bytes(flipped(content, bit))
        with pytest.raises(ValueError, match=r"must be a whole checkpoint; .* is as it was: put a copy|Choose another"):
            checkpoints.load(folder, identity, {})
    for size in (*range(0, len(content), len(content) // 50), len(content) - 1):
        path.write_bytes(content[:size])
        with pytest.raises(ValueError, match="must be a whole checkpoint"):
            checkpoints.load(folder, identity, {})
    path.write_bytes(content + b"\0")
    with pytest.raises(ValueError, match="must be a whole checkpoint"):
        checkpoints.load(folder, identity, {})


def test_flipped_bits_of_every_other_sealed_file_are_refused(folder):
    run, random = open_run(folder), Random(1)
    readers = {
        "model.safetensors": load_vae,
        "last.safetensors": load_vae,
        "scores.safetensors": read_sealed,
        "sampler-gmm.safetensors": lambda path: load_sampler(path, run.vae),
    }
    assert {path.name for path in folder.glob("*.safetensors")} == {*readers, "checkpoint.safetensors"}
    for name, read in readers.items():
        path = folder / name
        content = path.read_bytes()
        for bit in random.sample(places(content, random), 250):
            path.write_bytes(flipped(content, bit))
            with pytest.raises(ValueError, match="must"):
                read(path)
        path.write_bytes(content)


def test_a_run_with_a_damaged_checkpoint_is_told_what_to_do_and_loses_nothing(folder, capsys):
    path = folder / "checkpoint.safetensors"
    content = path.read_bytes()
    path.write_bytes(flipped(content, 8 * (len(content) - 100)))
    before = {item: item.read_bytes() for item in folder.iterdir() if item.is_file()}
    assert cli.run(["train", "--resume", str(folder)]) == 2
    error = capsys.readouterr().err
    assert "its checksum differs" in error and f"variform train --config {folder / 'config.toml'} --out NEW" in error
    assert {item: item.read_bytes() for item in folder.iterdir() if item.is_file()} == before
    path.write_bytes(content)  # as it says
    (folder / "model.safetensors").unlink()
    resume_run(folder, pictures=False)
    assert (folder / "model.safetensors").read_bytes() == before[folder / "model.safetensors"]


def test_a_checkpoint_of_a_version_without_checksums_is_resumed_with_a_word(folder, capsys):
    path = folder / "checkpoint.safetensors"
    header, tensors, model = header_of(path), load_file(path), (folder / "model.safetensors").read_bytes()
    older = {name: header[name] for name in ("state", "identity")}
    save_file(tensors, path, metadata={"variform": json.dumps(older)})
    (folder / "model.safetensors").unlink()
    resume_run(folder, pictures=False, progress=True)
    assert "is of an older version, without a checksum of what it holds" in capsys.readouterr().err
    assert (folder / "model.safetensors").read_bytes() == model
    assert header_of(path)["sha256"]  # from now on it has one


def test_the_seal_of_a_checkpoint_cannot_be_taken_off_by_damage(folder):
    """A file that says to be of an older version must lack all three words of a seal."""
    path = folder / "checkpoint.safetensors"
    header, tensors = header_of(path), load_file(path)
    for left in ("format", "sha256", "variform"):
        kept = {name: header[name] for name in ("state", "identity", left)}
        save_file(tensors, path, metadata={"variform": json.dumps(kept)})
        with pytest.raises(ValueError, match="must be a whole checkpoint"):
            checkpoints.load(Path(folder), header["identity"], {})
