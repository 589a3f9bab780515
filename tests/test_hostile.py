"""Files from elsewhere: whatever they hold, the answer is a sentence, soon and in little memory, and nothing runs.

An attacker can make a checksum right again, so that most of these files have a right one.
"""

import contextlib
import dataclasses
import io
import json
import math
import os
import pickle
import re
import resource
import shutil
import signal
import struct
import zipfile
from random import Random

import numpy as np
import pytest
import torch
from models import run_with_sampler
from safetensors import safe_open
from safetensors.torch import load as from_bytes
from safetensors.torch import load_file, save_file

from variform import ModelConfig, build_vae, load, read, save
from variform.config.data import DataConfig
from variform.config.run import EvaluationConfig
from variform.config.toml import from_toml
from variform.config.training import TrainConfig
from variform.export.inspection import inspect
from variform.export.model_file import load_vae
from variform.export.sampler_file import load_sampler
from variform.faces import cli
from variform.faces.model import Model
from variform.runs.folder import open_run
from variform.runs.scores import scored_rows
from variform.runs.train import resume_run
from variform.system.sealing import checksum
from variform.training import checkpoints

SECONDS, MEGABYTES = 5, 150
ODD = [None, True, -1, 0, 1.5, 10**9, 10**18, 10**30, float("nan"), float("inf"), "", "x" * 10**5, [], [[]], {}, [None],
       ["a"], [10**9], [1] * 10**5, {"a": {}}, "__import__('os').system('true')"]  # fmt: skip
NAMES = ["weight", "../../outside", "/etc/passwd", "a\0b", "posterior.__class__"]
TOML = [
    "nan",
    "inf",
    "-1",
    "1.5",
    "true",
    '"x"',
    "[]",
    "[[]]",
    "[[[1]]]",
    "{}",
    "1" + "0" * 30,
    "2020-01-01",
]
DEEP = [
    "[" * 10**5,
    "a = " + "[" * 10**4,
    "model = 7",
    "[model]\nlatent_dim = 1e999",
    "x = " + "9" * 5000,
    b"\xff",
]


pytestmark = pytest.mark.usefixtures("single_precision")


@contextlib.contextmanager
def quickly():
    """An answer within a few seconds of the processor, and without the memory that a hostile file asks for."""

    def late(*_):
        raise TimeoutError("it hangs")

    before, old = (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        signal.signal(signal.SIGPROF, late),
    )
    signal.setitimer(signal.ITIMER_PROF, SECONDS * 10)  # on a busy machine; the sums are below
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, old)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEGABYTES * 1024


def refused(path, content=None):
    """The one sentence that every reader has for a model file."""
    if content is not None:
        path.write_bytes(content)
    with quickly(), pytest.raises(ValueError) as caught:
        load(path)
    assert type(caught.value) is ValueError and str(caught.value)[-1] in ".?"
    return str(caught.value)


def small(**options):
    schema = read(
        torch.rand(60, 3, generator=torch.Generator().manual_seed(0)), name="small"
    ).schema
    return build_vae(
        ModelConfig(**{"latent_dim": 2, "hidden": (4,), "likelihood": "bernoulli"} | options),
        schema,
    )


def models():
    digits, conditional = read("digits"), read("digits", DataConfig(condition=("label",)))
    return {
        "plain": small(),
        "flows": small(posterior="iaf", prior="flow", transforms=1, likelihood="gaussian"),
        "images": build_vae(ModelConfig(network="conv", filters=(2, 3), hidden=(), prior="vamp", components=2,
                                        likelihood="categorical"), digits.schema),
        "told": build_vae(ModelConfig(latent_dim=2, hidden=(4,), prior="mixture", components=3, classifier=True,
                                      likelihood="logistic"), conditional.schema),
    }  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The bytes of some model files."""
    torch.set_default_dtype(torch.float32)
    path, contents = tmp_path_factory.mktemp("files") / "model.safetensors", {}
    for name, vae in models().items():
        save(vae, path)
        contents[name] = path.read_bytes()
    return contents


def taken_apart(content, path):
    path.write_bytes(content)
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["variform"])
    return header, from_bytes(
        content
    )  # tensors that a file is mapped to change, or are gone, when it is written anew


def sealed(header, tensors, path):
    """A file with a right checksum of whatever it holds."""
    blank = json.dumps(header | {"sha256": ""}, sort_keys=True)
    text = json.dumps(header | {"sha256": checksum(blank, tensors)}, sort_keys=True)
    save_file(tensors, path, metadata={"variform": text})


# --- the container ------------------------------------------------------------------------------------------------


def test_what_is_no_model_file_is_refused_and_nothing_in_it_runs(files, tmp_path):
    path, witness = tmp_path / "model.safetensors", tmp_path / "witness"

    class Payload:
        def __reduce__(self):
            return os.mkdir, (str(witness),)

    archive, torch_file, arrays = io.BytesIO(), io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("../../outside", "x")
    torch.save({"weight": Payload()}, torch_file)
    np.savez(arrays, values=np.array([Payload()], object))
    whole = files["plain"]
    length = struct.unpack("<Q", whole[:8])[0]
    for content in (
        b"",
        b"\0" * 7,
        pickle.dumps(Payload()),
        torch_file.getvalue(),
        archive.getvalue(),
        arrays.getvalue(),
        b"<!DOCTYPE html><html><body>404</body></html>" * 99,
        b"\x89PNG\r\n\x1a\n" + bytes(999),
        struct.pack("<Q", 2**63) + whole[8:],  # a header of so many bytes
        struct.pack("<Q", 10**8) + whole[8:],
        struct.pack("<Q", 99_999_999) + b"{" * 99,
        struct.pack("<Q", length + 1) + whole[8:],
        struct.pack("<Q", 10**5) + b"[" * 10**5,  # depth
        struct.pack("<Q", 10**6) + b'{"a":' * (2 * 10**5),
        whole[: length + 8],
        whole + whole,
    ):
        refused(path, content)
    assert not witness.exists() and not (tmp_path.parent / "outside").exists()
    for odd in (tmp_path, tmp_path / "none", "\0", "a" * 5000):
        with pytest.raises((ValueError, OSError)):
            load(odd)


def test_tensors_that_lie_about_themselves_are_refused(tmp_path):
    def built(entries, size=64, metadata=None):
        text = json.dumps(
            {"__metadata__": metadata or {"variform": '{"format": 2}'}, **entries}
        ).encode()
        return struct.pack("<Q", len(text)) + text + bytes(size)

    path = tmp_path / "model.safetensors"
    for entry in (
        {"dtype": "F32", "shape": [10**9, 10**9], "data_offsets": [0, 64]},
        {"dtype": "F32", "shape": [16], "data_offsets": [0, 2**62]},
        {"dtype": "F32", "shape": [16], "data_offsets": [64, 0]},
        {"dtype": "F32", "shape": [-16], "data_offsets": [0, 64]},
        {"dtype": "F32", "shape": [2**62, 4], "data_offsets": [0, 64]},
        {"dtype": "PICKLE", "shape": [16], "data_offsets": [0, 64]},
        {"dtype": "F4", "shape": [128], "data_offsets": [0, 64]},
        {"dtype": "F8_E4M3", "shape": [64], "data_offsets": [0, 64]},
        {"dtype": "C64", "shape": [8], "data_offsets": [0, 64]},
        {"dtype": "BOOL", "shape": [64], "data_offsets": [0, 64]},
        {"dtype": "F32", "shape": [16], "data_offsets": [0, 64], "more": 1},
    ):
        for name in NAMES:
            refused(path, built({name: entry}))
    good = {"dtype": "F32", "shape": [16], "data_offsets": [0, 64]}
    refused(path, built({"a": good, "b": good}))  # both on the same bytes
    refused(path, built({"a": good}, metadata={"variform": "[" * 10**5}))
    refused(path, built({"a": good}, metadata={"variform": '{"format": 2, "sha256": NaN}'}))
    refused(path, built({"a": good}, metadata={"variform": '{"format": true}'}))
    refused(path, built({"a": good}, metadata={"variform": "9" * 10**5}))
    assert [item.name for item in tmp_path.iterdir()] == ["model.safetensors"]


# --- what the header asks for -------------------------------------------------------------------------------------


def test_a_header_that_asks_for_more_than_the_file_holds_is_refused_before_it_is_built(
    files, tmp_path
):
    path = tmp_path / "model.safetensors"
    large = {
        "latent_dim": 10**9,
        "hidden": [10**9],
        "hidden of hidden": [10**5, 10**5],
        "many hidden": [1] * 10**5,
        "decoder_hidden": [10**9],
        "filters": [10**9],
        "components": 10**9,
        "transforms": 10**9,
    }
    for name, content in files.items():
        for key, value in large.items():
            header, tensors = taken_apart(content, path)
            changed = {**header["model"], key.split()[-1]: value}
            sealed({**header, "model": changed}, tensors, path)
            if key in ("filters", "components", "transforms") and load_is_unmoved(path, header):
                continue  # the model has none of these
            message = refused(path)
            assert "weights that its configuration describes" in message, (name, key)
        header, tensors = taken_apart(content, path)
        schema = header["schema"]
        for changed in (
            {"shape": [1, 10**5, 10**5] if schema["kind"] == "image" else [10**9]},
            {"shape": [10**9] * 3},
            {"levels": 10**12},
            {"columns": ["a"] * 10**5},
            {"scale": [1e-320]},
            {"scale": [0.0]},
            {"low": [1e400]},
            {"classes": [["a"]]},
            {
                "conditions": [
                    {"name": "label", "categories": ["a"] * 10**5, "shift": 0.0, "scale": 1.0}
                ]
            },
            {"conditions": [{"name": "label", "categories": [], "shift": 0.0, "scale": 0.0}]},
            {"conditions": [{"name": "label"}]},
            {"conditions": 7},
            {"kinds": ["category"] * len(schema["columns"] or [1])},
            {"gaps": [True] * 99},
        ):
            sealed({**header, "schema": {**schema, **changed}}, tensors, path)
            if changed == {"levels": 10**12} and load_is_unmoved(path, header):
                continue  # a likelihood that does not look at levels
            refused(path)


def load_is_unmoved(path, header):
    """Whether a file loads, as the model that it was: for fields that it does not use."""
    with contextlib.suppress(ValueError), quickly():
        config = load_vae(path).config
        return config is not None and config.likelihood == header["model"]["likelihood"]
    return False


def test_odd_values_in_every_field_of_a_header_are_refused_or_make_no_difference(files, tmp_path):
    path = tmp_path / "model.safetensors"
    header, tensors = taken_apart(files["plain"], path)
    z, before = torch.randn(5, 2), load_vae(path).decode(torch.ones(1, 2)).mean
    refusals = 0
    for part in ("model", "schema"):
        for field in header[part]:
            for value in ODD:
                sealed({**header, part: {**header[part], field: value}}, tensors, path)
                with quickly():
                    try:
                        vae = load_vae(path)
                    except ValueError as error:
                        refusals += 1
                        assert (
                            type(error) is ValueError
                            and str(error)[-1] in ".?"
                            and len(str(error)) < 2000
                        )
                        continue
                assert vae.decode(z).mean.isfinite().all()  # a value that the field may have
                assert vae.decode(torch.ones(1, 2)).mean.shape == before.shape
    assert refusals > 0.75 * len(ODD) * (len(header["model"]) + len(header["schema"]))
    for value in ODD:
        for field in ("model", "schema", "format", "variform"):
            sealed({**header, field: value}, tensors, path)
            with quickly(), contextlib.suppress(ValueError):
                load_vae(path)
                assert field == "variform"  # a note of the writer's version, which decides nothing


def test_weights_of_another_kind_are_refused(files, tmp_path):
    path = tmp_path / "model.safetensors"
    header, tensors = taken_apart(files["plain"], path)
    name = "decoder.output.weight"
    for value in (
        torch.full_like(tensors[name], float("nan")),
        torch.full_like(tensors[name], float("inf")),
        tensors[name].double(),
        tensors[name].to(torch.complex64),
        tensors[name].int(),
        tensors[name].T.contiguous(),
        tensors[name][:1],
        torch.zeros(()),
        torch.zeros(0),
    ):
        sealed(header, {**tensors, name: value}, path)
        assert "weights that its configuration describes" in refused(path)
    for odd in (
        {key: value for key, value in tensors.items() if key != name},
        {**tensors, "more": torch.zeros(2)},
        {**tensors, "__class__": torch.zeros(2)},
        {},
        {key: value.to(torch.float8_e4m3fn) for key, value in tensors.items()},
    ):
        sealed(header, odd, path)
        refused(path)


# --- a thousand mutations -----------------------------------------------------------------------------------------


def mutated(content, random, path):
    """The bytes of a changed file, and whether a reader must see that it was changed."""
    way = random.randrange(6)
    changed = bytearray(content)
    if way == 0:  # some bytes
        for _ in range(random.randrange(1, 9)):
            changed[random.randrange(len(changed))] ^= random.randrange(1, 256)
        return bytes(changed), True
    if way == 1:  # a piece of it somewhere else in it
        start, stop = sorted(random.randrange(len(changed)) for _ in range(2))
        place = random.randrange(len(changed))
        changed[place:place] = changed[start : stop + 1]
        return bytes(changed), True
    if way == 2:
        del changed[random.randrange(len(changed)) :]
        return bytes(changed), True
    header, tensors = taken_apart(content, path)
    if way == 3:  # a value anywhere in the header
        change_somewhere(header, random)
    elif way == 4:  # the text of the header, character by character
        text = list(json.dumps({key: header[key] for key in ("model", "schema")}))
        for _ in range(random.randrange(1, 6)):
            text[random.randrange(len(text))] = random.choice('0123456789-e.,:[]{}"ntx')
        try:
            header |= json.loads("".join(text))
        except ValueError:
            return b"", True
    else:
        name = random.choice(sorted(tensors))
        change_tensor(tensors, name, random)
    sealed(header, tensors, path)
    return path.read_bytes(), False


def change_somewhere(values, random):
    keys = list(values) if isinstance(values, dict) else list(range(len(values)))
    key = random.choice(keys)
    if isinstance(values[key], dict | list) and values[key] and random.random() < 0.7:
        change_somewhere(values[key], random)
    elif isinstance(values, dict) and random.random() < 0.2:
        del values[key]
    else:
        values[key] = random.choice(
            [value for value in ODD if not isinstance(value, str | list) or len(value) < 99]
        )


def change_tensor(tensors, name, random):
    value = tensors[name]
    way = random.randrange(5)
    if way == 0:
        del tensors[name]
    elif way == 1:
        tensors["".join(random.choice("abc./\\_") for _ in range(9))] = value.clone()
        tensors.pop(name)
    elif way == 2:
        tensors[name] = value.reshape(-1)
    elif way == 3:
        tensors[name] = value.to(
            random.choice([torch.float64, torch.int64, torch.bool, torch.bfloat16])
        )
    else:
        raw = value.clone().view(torch.uint8).flatten()
        raw[random.randrange(len(raw))] ^= random.randrange(1, 256)
        tensors[name] = raw.view(value.dtype).reshape(value.shape) if value.ndim else value + 1


def test_a_thousand_mutated_files_get_a_sentence_or_are_whole_models(files, tmp_path):
    """A changed weight under a right checksum is a model: then it must be one of the size of the file, that works."""
    random, path = Random(0), tmp_path / "model.safetensors"
    made = {True: 0, False: 0}
    loaded = 0
    names = sorted(files)
    with quickly_all():
        for number in range(1000):
            content, is_detectable = mutated(files[names[number % len(names)]], random, path)
            path.write_bytes(content)
            made[is_detectable] += 1
            with quickly():
                try:
                    model = Model(load_vae(path))
                except ValueError as error:
                    assert type(error) is ValueError and len(str(error)) < 3000, repr(error)
                    continue
            assert not is_detectable or content == files[names[number % len(names)]]
            loaded += 1
            held = sum(value.numel() for value in load_file(path).values())
            assert sum(value.numel() for value in model.vae.state_dict().values()) == held
            contexts = model.vae.no_context(2)
            assert model.vae.decode(torch.zeros(2, model.latent_dim), contexts).mean.shape[0] == 2
            assert inspect(path)["weights"] <= held
    assert min(made.values()) > 300 and 20 < loaded < made[False]


@contextlib.contextmanager
def quickly_all():
    """All of them in the time of a coffee, and with less than a hundredth of what they ask for."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    yield
    after = resource.getrusage(resource.RUSAGE_SELF)
    assert after.ru_utime - before.ru_utime < 120
    assert after.ru_maxrss - before.ru_maxrss < 2 * MEGABYTES * 1024


# --- the folder of a run ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    torch.set_default_dtype(torch.float32)
    folder = tmp_path_factory.mktemp("hostile") / "run"
    return run_with_sampler(folder, 3)


@pytest.fixture
def folder(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def test_wrong_types_in_every_field_of_a_config_get_a_sentence():
    for table, cls in (
        ("data", DataConfig),
        ("model", ModelConfig),
        ("train", TrainConfig),
        ("evaluation", EvaluationConfig),
    ):
        for field in dataclasses.fields(cls):
            for text in TOML:
                with quickly(), contextlib.suppress(ValueError):
                    config = from_toml(f"[{table}]\n{field.name} = {text}")
                    value = getattr(
                        getattr(config, table), field.name
                    )  # then the field may have it
                    assert value == value and value not in (float("inf"), 10**30)
    for text in DEEP:
        with quickly(), pytest.raises(ValueError, match=r"must|unknown"):
            from_toml(text)


COMMANDS = {
    "info": ["info", "run"],
    "info as JSON": ["info", "run", "--json"],
    "compare": ["compare", "run", "other"],
    "generate": ["generate", "run", "--count", "2", "--out", "new.npy"],
    "generate by a sampler": [
        "generate",
        "run",
        "--count",
        "2",
        "--sampler",
        "gmm",
        "--out",
        "new.npy",
    ],
    "encode": ["encode", "run", "--out", "new.csv"],
    "export": ["export", "run", "--to", "numpy", "--out", "new"],
    "evaluate": ["evaluate", "run", "--samples", "2"],
    "draw": ["draw", "run"],
    "explore": ["explore", "run"],
    "sampler": ["sampler", "run", "--samples", "2"],
    "resume": ["train", "--resume", "run"],
}
OFTEN = {"info": 150, "info as JSON": 100, "compare": 50, "generate": 15, "generate by a sampler": 8, "encode": 8,
         "export": 5, "evaluate": 5, "draw": 4, "explore": 4, "sampler": 2, "resume": 4}  # fmt: skip
READ = ["evaluation.json", "data.json", "history.jsonl", "config.toml", "environment.json", "model.safetensors",
        "scores.safetensors", "sampler-gmm.safetensors", "checkpoint.safetensors"]  # fmt: skip
ANYTHING = [None, True, -1, 0, 1.5, 10**9, 10**18, 10**400, float("nan"), float("inf"), -1e308, 1e-320, "", "x", [],
            "\ud800", "\x1b[31m", [[]], {}, [None], ["a"], {"a": {}}, {"mean": None, "se": -1.0},
            {"mean": "x", "se": 1}]  # fmt: skip


def damage(path, random):
    """Change a file of a run in one of many ways: by its values, where it has some, or by its bytes."""
    content = path.read_bytes()
    if path.suffix in (".json", ".jsonl") and random.random() < 0.65:
        values = (
            [json.loads(line) for line in content.splitlines()]
            if path.suffix == ".jsonl"
            else json.loads(content)
        )
        if path.suffix == ".json":
            del values["checksum"]  # else nothing but its difference would be seen
        change_a_value(values, random)
        lines = values if path.suffix == ".jsonl" else [values]
        path.write_text("\n".join(map(json.dumps, lines)))
    elif path.suffix == ".toml" and random.random() < 0.65:
        lines = content.decode().splitlines()
        place = random.randrange(len(lines))
        lines[place] = (
            f"{lines[place].split('=')[0]} = {random.choice(TOML)}" if random.random() < 0.8 else ""
        )
        path.write_text("\n".join(lines))
    else:
        path.write_bytes(damaged_bytes(content, random))


def change_a_value(values, random):
    keys = list(values) if isinstance(values, dict) else list(range(len(values)))
    key = random.choice(keys)
    if isinstance(values[key], dict | list) and values[key] and random.random() < 0.7:
        change_a_value(values[key], random)
    elif random.random() < 0.2:
        del values[key]
    elif isinstance(values, list) and random.random() < 0.2:
        values.append(values[key])
    else:
        values[key] = json.loads(json.dumps(random.choice(ANYTHING)))


def damaged_bytes(content, random):
    way = random.randrange(6)
    if way == 0:
        return content[: random.randrange(len(content))]
    if way == 1:
        changed = bytearray(content)
        for _ in range(random.randrange(1, 5)):
            changed[random.randrange(len(changed))] = random.randrange(256)
        return bytes(changed)
    if way == 2:
        return b"\xff\xfe" + content
    if way == 3:
        return b"[" * 10**5
    if way == 4:
        return b'{"a":' * 300 + b"1" + b"}" * 300
    first = content.find(b",")
    return content[:first] + content[:first].replace(b"{", b",") + content[first:]  # names twice


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_on_a_damaged_run_works_or_says_a_sentence(
    finished, tmp_path, monkeypatch, capsys, command
):
    """Every file of a run changed in every way: exit code 0 or 2, one sentence, never a traceback."""
    monkeypatch.chdir(tmp_path)
    random, codes = Random(command), {0: 0, 2: 0}
    shutil.copytree(finished, "other")
    for _ in range(OFTEN[command]):
        for left in ("run", "new"):
            shutil.rmtree(left, ignore_errors=True)
        for left in tmp_path.glob("new.*"):
            left.unlink()
        shutil.copytree(finished, "run")
        damage(tmp_path / "run" / random.choice(READ), random)
        with quickly():
            code = cli.run(COMMANDS[command])
        out, err = capsys.readouterr()
        codes[code] += 1
        if code == 2:
            last = err.splitlines()[-1]
            assert last.startswith("error: ") and re.search(r"must|unknown|needs", last), last
        out.encode()
    assert sum(codes.values()) == OFTEN[command]


def test_what_pull_accepts_opens_and_what_push_accepts_makes_a_card(finished, tmp_path):
    hub = pytest.importorskip("variform.runs.hub")
    random, folder, accepted = Random(7), tmp_path / "run", 0
    sent = ["config.toml", "data.json", "evaluation.json", "model.safetensors"]
    for _ in range(200):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(finished, folder)
        damage(folder / random.choice(sent), random)
        try:
            hub.require_open(folder)
        except (ValueError, OSError) as error:
            assert type(error) in (ValueError, FileNotFoundError) and re.search(
                r"must|unknown|needs", str(error)
            )
            continue
        accepted += 1
        assert cli.run(["info", str(folder)]) == 0 and cli.run(["info", str(folder), "--json"]) == 0
        assert "# digits" in hub.card(open_run(folder), "ada/digits").replace("\\", "")
        assert open_run(folder).evaluation["rows"] >= 0
    assert 10 < accepted < 180


JSON = [b"", b"{", b"[1]", b"7", b"null", b"{}", b"[" * 10**5, b"\xff\xfe", b'{"elbo": 7}', b'{"active_units": null}',
        b'{"fingerprint": [1]}', b'{"sessions": 7}']  # fmt: skip


@pytest.mark.parametrize(
    "name", ["evaluation.json", "history.jsonl", "data.json", "config.toml", "environment.json"]
)
def test_a_damaged_file_of_a_run_gets_a_sentence(folder, name, capsys, monkeypatch):
    monkeypatch.chdir(folder.parent)
    commands = {
        "evaluation.json": ["draw", "run"],
        "history.jsonl": ["draw", "run"],
        "data.json": ["encode", "run", "--out", "new.csv"],
        "config.toml": ["generate", "run", "--count", "2", "--out", "new.npy"],
        "environment.json": ["train", "--resume", "run"],
    }
    for content in JSON:
        if name == "config.toml" and content in (b"", b"[1]"):
            continue  # an empty configuration is one; [1] is a table of TOML
        if name in ("history.jsonl", "environment.json") and content in (b"", b"{}"):
            continue  # nothing was noted
        if name == "history.jsonl" and content.startswith(b'{"'):
            continue
        if name == "environment.json" and content.startswith((b'{"elbo', b'{"act', b'{"fin')):
            continue
        (folder / name).write_bytes(content)
        with quickly():
            assert cli.run(commands[name]) == 2, content
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith("error: ") and "must" in error, error


def test_numbers_of_an_evaluation_have_their_kinds(folder):
    numbers = open_run(folder).evaluation
    random, shown = Random(0), 0
    for _ in range(120):
        changed = json.loads(json.dumps(numbers))
        change_somewhere(changed, random)
        (folder / "evaluation.json").write_text(json.dumps(changed))
        with quickly(), contextlib.suppress(ValueError):
            from variform.evaluation.tables import numbers_table

            numbers_table(open_run(folder).evaluation)
            shown += 1
    assert (
        0 < shown < 120
    )  # some changes are other numbers, the others are refused and nothing else is raised


def test_a_hostile_sampler_is_refused(folder):
    run, path = open_run(folder), folder / "sampler-gmm.safetensors"
    good = path.read_bytes()
    header, tensors = taken_apart(good, path)
    assert load_sampler(path, run.vae).kind == "gmm"
    for changed in (
        {"latent_dim": 10**9},
        {"sampler": "os.system"},
        {"sampler": "flow"},
        {"sampler": "flow", "facts": {"transforms": 10**9, "hidden": [64]}},
        {"sampler": "flow", "facts": {"transforms": 1, "hidden": [10**9]}},
        {"sampler": "flow", "facts": {"transforms": 1, "hidden": [1] * 10**6}},
        *({"facts": {"components": value}} for value in ODD if value != 2),
        *({"facts": value} for value in ODD),
    ):
        sealed({**header, **changed}, tensors, path)
        with (
            quickly(),
            pytest.raises(
                ValueError, match=r"must hold what its header describes|metadata do not say so"
            ),
        ):
            load_sampler(path, run.vae)
    for value in (
        torch.full((2,), float("nan")),
        torch.zeros(3),
        torch.zeros(2, dtype=torch.int64),
    ):
        sealed(header, {**tensors, "logits": value}, path)
        with quickly(), pytest.raises(ValueError, match="must hold what its header describes"):
            load_sampler(path, run.vae)


def test_hostile_scores_of_rows_are_refused(folder):
    run, path = open_run(folder), folder / "scores.safetensors"
    header, tensors = taken_apart(path.read_bytes(), path)
    assert scored_rows(run)[0]["split"] == "test"
    fields = ("scored", "split", "samples", "seed")
    odd = [({**header, field: value}, tensors) for field in fields for value in (None, [], {})]
    odd += [(header, {**tensors, name: torch.zeros(2, 2)}) for name in tensors]
    odd += [
        (header, {name: value for name, value in tensors.items() if name != "nll"}),
        (header, {}),
    ]
    for changed in odd:
        sealed(*changed, path)
        with quickly(), pytest.raises(ValueError, match="must hold the scores of rows"):
            scored_rows(run)


def test_a_hostile_checkpoint_is_refused(folder):
    path = folder / "checkpoint.safetensors"
    good = path.read_bytes()
    header, tensors = taken_apart(good, path)
    identity = header["identity"]

    def written(header, tensors):
        sealed(header, tensors, path)

    for content in (
        b"",
        good[:99],
        good[:-1],
        pickle.dumps({"a": 1}),
        struct.pack("<Q", 2**62) + good[8:],
    ):
        path.write_bytes(content)
        with quickly(), pytest.raises(ValueError, match="must be a whole checkpoint"):
            checkpoints.load(folder, identity)
    for value in ODD:
        for field in header["state"]:
            if (
                field in ("step", "best_epoch", "stale", "threads")
                and type(value) in (int, bool)
                and value >= 0
            ):
                continue  # a number that it may have
            if (field, value) in (
                ("best_epoch", -1),
                ("stale", -1),
                ("rows", []),
            ) or field == "best_loss":
                continue
            if (field, value) in (("rollbacks", []), ("untrained", {}), ("products", {})):
                continue
            written({**header, "state": {**header["state"], field: value}}, tensors)
            with quickly(), pytest.raises(ValueError, match="must hold the state of a training"):
                checkpoints.load(folder, identity)
        written({**header, "state": value}, tensors)
        with quickly(), pytest.raises(ValueError, match="must hold the state of a training"):
            checkpoints.load(folder, identity)
    for other in ("another", "{}", "[" * 10**5, 7, None, [], {"a": 1}):
        written({**header, "identity": other}, tensors)
        with (
            quickly(),
            pytest.raises(
                ValueError, match=r"must come from this configuration|must be a whole checkpoint"
            ),
        ):
            checkpoints.load(folder, identity)
    header["state"]["step"] = 1  # there is something left to do
    tensors["average/n_averaged"].fill_(1)
    slots = [key for key in tensors if "exp_avg" in key][:1]
    averages = ("average/n_averaged", "average/module.vae.decoder.output.weight")
    for name in ("weights/vae.decoder.output.weight", "random/cpu", "sums", *averages, *slots):
        for odd in (
            torch.zeros(7),
            torch.tensor(math.nan),
            torch.tensor(-5),
            torch.tensor(2**63 - 1),
            torch.zeros(2, 2, dtype=torch.uint8),
            None,
        ):
            rest = {key: value for key, value in tensors.items() if key != name}
            written(header, rest if odd is None else {**rest, name: odd})
            if odd is None and "exp_avg" in name:
                continue  # torch begins anew
            with quickly(), pytest.raises(ValueError, match="must hold the state of"):
                resume_run(folder, pictures=False)
