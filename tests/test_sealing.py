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
from variform.runs.records import history
from variform.runs.train import resume_run
from variform.system.files import read_json
from variform.system.sealing import read_sealed
from variform.training import checkpoints

pytestmark = pytest.mark.usefixtures("single_precision")


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
    assert checkpoints.load(folder, identity).step == 24
    bits = places(content, random)
    assert len(bits) >= 1000
    for bit in bits:
        path.write_bytes(flipped(content, bit))
        with pytest.raises(
            ValueError,
            match=r"must be a whole checkpoint; .* is as it was: put a copy|Choose another",
        ):
            checkpoints.load(folder, identity)
    for size in (*range(0, len(content), len(content) // 50), len(content) - 1):
        path.write_bytes(content[:size])
        with pytest.raises(ValueError, match="must be a whole checkpoint"):
            checkpoints.load(folder, identity)
    path.write_bytes(content + b"\0")
    with pytest.raises(ValueError, match="must be a whole checkpoint"):
        checkpoints.load(folder, identity)


def test_flipped_bits_of_every_other_sealed_file_are_refused(folder):
    run, random = open_run(folder), Random(1)
    readers = {
        "model.safetensors": load_vae,
        "last.safetensors": load_vae,
        "scores.safetensors": read_sealed,
        "sampler-gmm.safetensors": lambda path: load_sampler(path, run.vae),
    }
    assert {path.name for path in folder.glob("*.safetensors")} == {
        *readers,
        "checkpoint.safetensors",
    }
    for name, read in readers.items():
        path = folder / name
        content = path.read_bytes()
        for bit in random.sample(places(content, random), 250):
            path.write_bytes(flipped(content, bit))
            with pytest.raises(ValueError, match="must"):
                read(path)
        path.write_bytes(content)


def test_a_flipped_bit_of_a_json_file_is_refused_or_changes_no_value(folder):
    random, refused = Random(2), 0
    names = {"data.json", "environment.json", "evaluation.json"}
    assert {path.name for path in folder.glob("*.json")} == names
    for name in sorted(names):
        path = folder / name
        content, whole = path.read_bytes(), read_json(path)
        for bit in random.sample(range(8 * len(content)), 400):
            path.write_bytes(flipped(content, bit))
            try:
                values = read_json(path)
            except ValueError as error:
                assert "must be" in str(error)
                refused += 1
                continue
            assert {
                name: values.get(name) for name in whole
            } == whole  # spaces, or the name of the checksum itself
        path.write_bytes(content)
    assert refused > 900


def test_a_history_that_tells_something_else_than_the_checkpoint_is_refused(folder):
    path = folder / "history.jsonl"
    content, whole = path.read_bytes(), history(folder)
    for bit in Random(3).sample(range(8 * len(content)), 500):
        path.write_bytes(flipped(content, bit))
        try:
            assert history(folder) == whole
        except ValueError as error:
            assert "must" in str(error)
    digit = content.index(b'"valid_elbo": -') + len(b'"valid_elbo": -')
    path.write_bytes(
        content[:digit]
        + (b"1" if content[digit : digit + 1] != b"1" else b"2")
        + content[digit + 1 :]
    )
    with pytest.raises(
        ValueError, match="must agree with the checkpoint beside it; epoch 1 differs"
    ):
        history(folder)
    (folder / "evaluation.json").unlink()
    resume_run(folder, pictures=False)  # as it says
    assert path.read_bytes() == content
    path.write_bytes(content[: content.index(b"\n") + 1])  # as a kill between the two leaves it
    assert history(folder) == whole[:1]
    (folder / "checkpoint.safetensors").unlink()
    assert history(folder) == whole[:1]


def test_a_run_with_a_damaged_checkpoint_is_told_what_to_do_and_loses_nothing(folder, capsys):
    path = folder / "checkpoint.safetensors"
    content = path.read_bytes()
    path.write_bytes(flipped(content, 8 * (len(content) - 100)))
    before = {item: item.read_bytes() for item in folder.iterdir() if item.is_file()}
    assert cli.run(["train", "--resume", str(folder)]) == 2
    error = capsys.readouterr().err
    assert (
        "its checksum differs" in error
        and f"variform train --config {folder / 'config.toml'} --out NEW" in error
    )
    assert {item: item.read_bytes() for item in folder.iterdir() if item.is_file()} == before
    path.write_bytes(content)  # as it says
    (folder / "model.safetensors").unlink()
    resume_run(folder, pictures=False)
    assert (folder / "model.safetensors").read_bytes() == before[folder / "model.safetensors"]


def test_a_checkpoint_of_a_version_without_checksums_is_resumed_with_a_word(folder, capsys):
    path = folder / "checkpoint.safetensors"
    header, tensors, model = (
        header_of(path),
        load_file(path),
        (folder / "model.safetensors").read_bytes(),
    )
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
            checkpoints.load(Path(folder), header["identity"])
