"""What leaves the house answers as torch does, where there is no torch, and nothing else leaves."""

import json
import re
import subprocess
import sys
from pathlib import Path

import models
import numpy as np
import pytest
import torch

from variform import ModelConfig, build_vae, load, read
from variform.data.schema import Schema
from variform.evaluation import exploration
from variform.export.handover import hand_over
from variform.faces import cli
from variform.model.vae import evaluating

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

# Another process in which an attempt to import torch or variform fails; it answers questions that stand in a file.
ALONE = """
import importlib.util, sys, warnings
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "variform", "scipy", "onnx"):
            raise ImportError(name + " is not here")
sys.meta_path.insert(0, Refuse())
warnings.simplefilter("error")
import numpy as np
spec = importlib.util.spec_from_file_location("reader", sys.argv[1] + "/reader.py")
reader = importlib.util.module_from_spec(spec)
spec.loader.exec_module(reader)
with np.load(sys.argv[1] + "/model.npz") as file:
    model = dict(file)
with np.load(sys.argv[2]) as file:
    questions = dict(file)
context = questions.get("context")
mean, std = reader.encode(model, questions["x"], context)
x, spread = (ask(model, questions["z"], context) for ask in (reader.decode, reader.spread))
np.savez(sys.argv[3], x=x, spread=spread, mean=mean, std=std)
assert "torch" not in sys.modules and "variform" not in sys.modules
"""


pytestmark = pytest.mark.usefixtures("single_precision")


@pytest.fixture(params=models.NAMES)
def asked(request, tmp_path):
    """A model, latent points, rows of the test set with their context, and what torch makes of them."""
    data = models.data_of(request.param, tmp_path)
    vae = models.model_of(request.param, data).float()
    rows = data.test.take(torch.arange(5))
    z = np.random.default_rng(0).normal(size=(5, vae.latent_dim)).astype(np.float32)
    is_far = any(data.schema.is_far)  # then float32 has no digits for what is beyond the shift
    questions = {"z": z, "x": rows.raw.numpy().astype("f8" if is_far else "f4")}
    questions |= {} if rows.contexts is None else {"context": rows.contexts.numpy()}
    means, stds = exploration.encode(vae, rows)
    with evaluating(vae):
        law = vae.decode(torch.from_numpy(z), rows.contexts)
        spread = (law.stddev * data.schema.per_value(data.schema.scale)).numpy()
    x = exploration.decode(vae, z, context=rows.contexts)
    return vae, questions, {"x": x, "spread": spread, "mean": means, "std": stds}


def agree(answers, wanted, schema):
    """Data within 1e-5 of their range and float32's precision, and latent points within 1e-5 of their size."""
    low, high = map(schema.per_value, (schema.low, schema.high))
    assert answers["x"].shape == wanted["x"].shape
    assert np.array_equal(np.isnan(answers["x"]), np.isnan(wanted["x"]))  # empty by a rule
    x = np.nan_to_num(wanted["x"])
    spread = np.maximum(np.ptp(x, axis=0), (high - low).numpy())
    allowed = 1e-5 * spread + 2.0**-23 * np.abs(x).max(0)
    assert (np.abs(np.nan_to_num(answers["x"]) - x) <= allowed).all()
    assert (np.abs(answers["spread"] - wanted["spread"]) <= allowed).all()
    for name in ("mean", "std"):
        size = max(1.0, np.abs(wanted[name]).max())
        np.testing.assert_allclose(answers[name], wanted[name], rtol=0, atol=1e-5 * size)


def test_onnx_answers_as_torch_for_batches_of_any_size(asked, tmp_path):
    vae, questions, wanted = asked
    paths = hand_over(vae, "onnx", tmp_path / "out")
    names = {"decoder.onnx", "encoder.onnx", "prior.onnx"}
    assert {path.name for path in paths} - {"score.onnx"} == names
    sessions = {path.stem: onnxruntime.InferenceSession(path) for path in paths}
    for rows in (5, 1):
        given = {"context": questions["context"][:rows]} if "context" in questions else {}
        x, spread = sessions["decoder"].run(["x", "std"], {"z": questions["z"][:rows], **given})
        mean, std = sessions["encoder"].run(["mean", "std"], {"x": questions["x"][:rows], **given})
        answers = {"x": x, "spread": spread, "mean": mean, "std": std}
        agree(answers, {name: values[:rows] for name, values in wanted.items()}, vae.schema)
    for path in paths:
        graph = onnx.load(path)
        assert graph.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
        metadata = {item.key: item.value for item in graph.metadata_props}
        assert json.loads(metadata["low"]) == list(vae.schema.low)
        assert json.loads(metadata["high"]) == list(vae.schema.high)
        assert metadata["columns"] == (", ".join(vae.schema.columns) or "pixels")
        assert [item["name"] for item in json.loads(metadata["context"])] == [
            c.name for c in vae.schema.conditions
        ]
        assert Schema.from_dict(json.loads(metadata["variform"])["schema"]) == vae.schema


def test_numpy_answers_as_torch_where_there_is_no_torch(asked, tmp_path):
    vae, questions, wanted = asked
    folder = tmp_path / "out"
    names = [path.name for path in hand_over(vae, "numpy", folder)]
    assert names == ["codec.py", "model.npz", "reader.py", "score.py"]
    text = (folder / "reader.py").read_text()
    assert len(text.splitlines()) <= 50 and max(map(len, text.splitlines())) <= 120
    assert set(re.findall(r"^(?:import|from) (\w+)", text, re.MULTILINE)) <= {
        "json",
        "math",
        "sys",
        "numpy",
    }
    np.savez(tmp_path / "questions.npz", **questions)
    paths = [str(folder), str(tmp_path / "questions.npz"), str(tmp_path / "answers.npz")]
    done = subprocess.run(
        [sys.executable, "-I", "-c", ALONE, *paths], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "answers.npz") as answers:
        agree(answers, wanted, vae.schema)


@pytest.fixture
def small():
    data = read(np.random.default_rng(0).normal([3, -70], [1, 20], (200, 2)), name="designs")
    return build_vae(ModelConfig(latent_dim=2, likelihood="gaussian", hidden=(4,)), data.schema)


def test_the_reader_tests_itself_and_refuses_other_shapes(small, tmp_path):
    hand_over(small, "numpy", tmp_path / "out")
    command = [
        sys.executable,
        "-I",
        str(tmp_path / "out" / "reader.py"),
        str(tmp_path / "out" / "model.npz"),
    ]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    differences = dict(line.split(" differs from torch by at most ") for line in lines)
    assert set(differences) == {"decoder", "encoder"} and all(
        float(error) < 1e-4 for error in differences.values()
    )
    from variform.export import reader

    with np.load(tmp_path / "out" / "model.npz") as file:
        model = dict(file)
    assert reader.about(model)["schema"]["columns"] == ["column 1", "column 2"]
    assert reader.about(model)["schema"]["low"] == list(small.schema.low)
    assert all(values.dtype != object for values in model.values())
    with pytest.raises(ValueError, match=r"the decoder takes \[2\] and 0 numbers"):
        reader.decode(model, np.zeros((1, 3)))
    with pytest.raises(ValueError, match="the encoder takes"):
        reader.encode(model, np.zeros((1, 2)), np.zeros((1, 2)))


def test_safetensors_is_the_model_file_and_what_it_says(small, tmp_path):
    assert [path.name for path in hand_over(small, "safetensors", tmp_path / "out")] == [
        "model.json",
        "model.safetensors",
    ]
    about = json.loads((tmp_path / "out" / "model.json").read_text())
    assert Schema.from_dict(about["schema"]) == small.schema and about["model"]["latent_dim"] == 2
    z = np.linspace(-1, 1, 6).reshape(3, 2)
    assert np.array_equal(load(tmp_path / "out").decode(z), exploration.decode(small, z))


def test_a_posterior_on_a_flow_is_refused_and_nothing_is_left(tmp_path):
    vae = build_vae(
        ModelConfig(likelihood="bernoulli", latent_dim=2, posterior="iaf", hidden=(4,)),
        read("digits").schema,
    )
    for form in ("onnx", "numpy"):
        with pytest.raises(ValueError, match=r"no step for IAFPosterior\. Use the model in Python"):
            hand_over(vae, form, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_an_answer_that_differs_is_refused_and_nothing_is_left(small, tmp_path, monkeypatch):
    from variform.export import onnx, reader

    answer, answers = reader.answer, onnx.answers
    monkeypatch.setattr(reader, "answer", lambda *question: answer(*question) + 1e-2)
    monkeypatch.setattr(
        onnx, "answers", lambda *question: [item * 1.01 for item in answers(*question)]
    )
    for form, name in (("onnx", "ONNX"), ("numpy", "NumPy")):
        with pytest.raises(
            ValueError,
            match=f"decoder in {name} must answer as in torch; it differs by .*Nothing is",
        ):
            hand_over(small, form, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten_and_a_missing_package_is_named(small, tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "note.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name in ("mine", "file"):
        with pytest.raises(FileExistsError, match="must be new or empty"):
            hand_over(small, "numpy", tmp_path / name)
    monkeypatch.delitem(sys.modules, "variform.export.onnx", raising=False)
    monkeypatch.delattr("variform.export.onnx", raising=False)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(
        ValueError, match=r"the extra onnx; onnxruntime is missing.*pip install 'onnx>="
    ):
        hand_over(small, "onnx", tmp_path / "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "mine"]


def test_the_command_writes_each_form_of_a_file_or_a_folder(small, tmp_path, monkeypatch, capsys):
    from variform import save

    monkeypatch.chdir(tmp_path)
    Path("run").mkdir()
    save(small, "run/model.safetensors")
    for form, files in (("onnx", 4), ("numpy", 4), ("safetensors", 2)):
        assert cli.run(["export", "run", "--to", form]) == 0
        *lines, last = capsys.readouterr().out.splitlines()
        if form == "numpy":  # real numbers have no codec
            assert last.startswith("The codec is left out: ")
        else:
            lines.append(last)
        assert len(lines) == files
        assert len(list(Path("run", form).iterdir())) == files
    assert cli.run(["export", "run/model.safetensors", "--to", "numpy", "--out", "other"]) == 0
    assert sorted(path.name for path in Path("other").iterdir()) == [
        "codec.py",
        "model.npz",
        "reader.py",
        "score.py",
    ]
    for words, message in (
        (["export", "run", "--to", "numpy"], "must be new or empty"),
        (
            ["export", "run", "--to", "torch"],
            "--to must be one of onnx, numpy, safetensors; got 'torch'",
        ),
        (["export", "none", "--to", "numpy"], "there is none at"),
    ):
        assert cli.run(words) == 2 and message in capsys.readouterr().err
