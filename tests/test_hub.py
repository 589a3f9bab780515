"""A model goes to a hub and comes back, on a stand-in for it that runs here; what goes wrong gets a sentence."""

import base64
import dataclasses
import hashlib
import http.server
import json
import re
import shutil
import socket
import sys
import threading

import numpy as np
import pytest
import torch

from variform import load, train
from variform.config.data import DataConfig
from variform.config.model import ModelConfig
from variform.config.run import EvaluationConfig, RunConfig
from variform.config.training import TrainConfig
from variform.faces import cli
from variform.runs.folder import open_run
from variform.runs.train import train_run
from variform.system import import_path

huggingface_hub = pytest.importorskip("huggingface_hub")
yaml = pytest.importorskip("yaml")

from variform.runs import hub  # noqa: E402 (needs what may be missing)

NAME = "ada/designs"
pytestmark = pytest.mark.filterwarnings(
    "ignore:Use 'content=<...>':DeprecationWarning"
)  # in the client's own code


class StandIn(http.server.BaseHTTPRequestHandler):
    """The few addresses of the hub that are used: new repository, upload in two ways, commit, list, download."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        hub, body = self.server.hub, self.rfile.read(int(self.headers.get("Content-Length", 0)))
        hub["calls"].append(self.path)
        if self.headers.get("Authorization") != f"Bearer {hub['token']}":
            return self.answer(401, {"error": "Invalid credentials"})
        if self.path == "/api/repos/create":
            hub["private"] = json.loads(body).get(
                "private", json.loads(body).get("visibility") == "private"
            )
            status = 409 if hub["files"] is not None else 200
            hub["files"] = hub["files"] or {}
            return self.answer(status, {"url": f"{self.server.address}/{NAME}", "name": NAME})
        if self.path == "/api/validate-yaml":
            yaml.safe_load(json.loads(body)["content"].split("---")[1])
            return self.answer(200, {"errors": [], "warnings": []})
        if self.path.startswith(f"/api/models/{NAME}/preupload/"):
            modes = [
                {"path": item["path"], "shouldIgnore": False}
                | {"uploadMode": "lfs" if item["path"].endswith(".safetensors") else "regular"}
                for item in json.loads(body)["files"]
            ]
            return self.answer(200, {"files": modes})
        if self.path == f"/{NAME}.git/info/lfs/objects/batch":
            objects = [
                item
                | {"actions": {"upload": {"href": f"{self.server.address}/large/{item['oid']}"}}}
                for item in json.loads(body)["objects"]
            ]
            return self.answer(200, {"transfer": "basic", "objects": objects})
        if self.path.startswith(f"/api/models/{NAME}/commit/"):
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    hub["files"][line["value"]["path"]] = base64.b64decode(line["value"]["content"])
                if line["key"] == "lfsFile":
                    hub["files"][line["value"]["path"]] = hub["large"][line["value"]["oid"]]
            url = f"{self.server.address}/{NAME}/commit/{sha(hub)}"
            return self.answer(200, {"commitUrl": url, "commitOid": sha(hub), "success": True})
        return self.answer(404, {"error": "Not found"})

    def do_PUT(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers["Content-Length"]))
        oid = self.path.rpartition("/")[2]
        assert hashlib.sha256(body).hexdigest() == oid
        self.server.hub["large"][oid] = body
        self.answer(200, {})

    def do_GET(self):
        hub = self.server.hub
        if hub["files"] is None or (hub["private"] and "Authorization" not in self.headers):
            return self.answer(404, {"error": "Repository not found"}, code="RepoNotFound")
        if match := re.fullmatch(rf"/api/models/{NAME}(/revision/(\w+))?", self.path):
            if match[2] not in (None, "main", sha(hub)):
                return self.answer(404, {"error": "Invalid rev id"}, code="RevisionNotFound")
            names = [*hub["files"], *hub["listed"]]
            return self.answer(
                200,
                {"id": NAME, "sha": sha(hub), "siblings": [{"rfilename": item} for item in names]},
            )
        if match := re.fullmatch(rf"/{NAME}/resolve/{sha(hub)}/([\w.]+)", self.path):
            return self.answer(200, hub["files"][match[1]])
        return self.answer(404, {"error": "Entry not found"}, code="EntryNotFound")

    do_HEAD = do_GET

    def answer(self, status, content, code=None):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Repo-Commit", sha(self.server.hub))
        self.send_header("ETag", f'"{hashlib.sha1(body).hexdigest()}"')
        if code:
            self.send_header("X-Error-Code", code)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def sha(hub):
    return hashlib.sha1(repr(sorted((hub["files"] or {}).items())).encode()).hexdigest()


@pytest.fixture
def server(monkeypatch, tmp_path):
    """A stand-in, to which the client is pointed, and a token that it takes."""
    monkeypatch.setenv("HF_TOKEN", "hf_right")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), StandIn) as stand_in:
        stand_in.address = f"http://127.0.0.1:{stand_in.server_port}"
        stand_in.hub = {
            "token": "hf_right",
            "files": None,
            "large": {},
            "calls": [],
            "private": False,
            "listed": [],
        }
        monkeypatch.setenv("HF_ENDPOINT", stand_in.address)
        thread = threading.Thread(target=stand_in.serve_forever)
        thread.start()
        yield stand_in
        stand_in.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run on a file whose columns have odd names, in a folder whose name must not go out."""
    torch.set_default_dtype(torch.float32)
    folder = tmp_path_factory.mktemp("secret-place")
    rows = np.random.default_rng(0).normal([3, -70], [0.1, 5], (300, 2))
    lines = ["length | <b>mm</b>,`T`", *(f"{a:.6f},{b:.6f}" for a, b in rows)]
    (folder / "de_signs*.csv").write_text("\n".join(lines))
    config = RunConfig(
        source=str(folder / "de_signs*.csv"),
        data=DataConfig(),
        model=ModelConfig(latent_dim=2, likelihood="gaussian", hidden=(6,)),
        train=TrainConfig(epochs=2),
        evaluation=EvaluationConfig(nll_samples=3),
    )
    return train_run(config, folder / "run", pictures=False), rows


def test_what_is_pushed_comes_back_and_answers_the_same(run, server, tmp_path, monkeypatch, capsys):
    run, rows = run
    monkeypatch.chdir(tmp_path)
    assert cli.run(["push", str(run.folder), NAME, "--private"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{server.address}/{NAME}/commit/") and server.hub["private"]
    assert set(server.hub["files"]) == set(hub.FILES) and len(server.hub["large"]) == 1
    everything = b"".join(server.hub["files"].values())
    assert b"secret-place" not in everything and str(run.folder).encode() not in everything
    for value in rows[:50].flatten():
        assert f"{value:.6f}".encode() not in server.hub["files"]["README.md"]
    assert cli.run(["push", str(run.folder), NAME]) == 0  # there already: a further commit, or none
    capsys.readouterr()
    assert cli.run(["pull", NAME]) == 0 and capsys.readouterr().out == "Model: runs/designs\n"
    assert {path.name for path in (tmp_path / "runs" / "designs").iterdir()} == set(hub.FILES)
    z = np.linspace(-1, 1, 6).reshape(3, 2)
    assert np.array_equal(load("runs/designs").decode(z), load(run.folder).decode(z))
    again = open_run("runs/designs")
    assert again.evaluation == run.evaluation and again.config.source == "de_signs*.csv"
    assert cli.run(["pull", NAME]) == 2 and "must be new or empty" in capsys.readouterr().err
    assert cli.run(["pull", NAME, "--out", "other", "--revision", "none"]) == 2
    assert (
        "the revision must be one of" in capsys.readouterr().err
        and not (tmp_path / "other").exists()
    )


def test_networks_of_ones_own_go_along_and_run_only_when_they_are_trusted(
    server, tmp_path, monkeypatch, capsys
):
    source = tmp_path / "secret-place" / "nets.py"
    source.parent.mkdir()
    mark = source.with_name("mark")
    source.write_text(
        "from torch import nn\n"
        f"with open({str(mark)!r}, 'a') as mark:\n    mark.write('x')\n"
        "def decoder(in_shape, out_shape):\n    return nn.Linear(*in_shape, *out_shape)\n"
    )
    rows = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    options = {"likelihood": "gaussian-shared", "epochs": 2, "nll_samples": 3, "pictures": False}
    own = train(
        rows,
        decoder=f"{source}:decoder",
        latent_dim=2,
        out=tmp_path / "run",
        progress=False,
        **options,
    )
    assert hub.push(own.folder, NAME)
    everything = b"".join(server.hub["files"].values())
    paths = (b"secret-place", str(tmp_path).encode())
    assert [everything.count(path) for path in paths] == [1, 1]  # in the source itself
    assert server.hub["files"]["decoder.py"].decode() == source.read_text()
    card = server.hub["files"]["README.md"].decode()
    assert "is run when the model is opened with `trust=True`" in card
    assert hashlib.sha256(source.read_bytes()).hexdigest() in card
    before = mark.read_text()
    monkeypatch.chdir(tmp_path)
    for memory in ("_loaded", "_trusted"):  # as in another process
        monkeypatch.setattr(import_path, memory, type(getattr(import_path, memory))())
    for name in [name for name in sys.modules if name.startswith("variform_own_")]:
        monkeypatch.delitem(sys.modules, name)
    source.unlink()
    folder = hub.pull(NAME, tmp_path / "pulled")
    assert mark.read_text() == before
    with pytest.raises(ValueError, match=r"names code.*pulled/decoder.py"):
        load(folder)
    z = np.linspace(-1, 1, 6).reshape(3, 2)
    assert np.array_equal(load(folder, trust=True).decode(z), own.model.decode(z))
    assert mark.read_text() == before + "x"


def test_the_card_says_what_the_model_is(run):
    run, _ = run
    text = hub.card(run, NAME)
    metadata = yaml.safe_load(text.split("---")[1])
    read_by_hub = hub.huggingface_hub.ModelCard(text).data
    assert read_by_hub.library_name == "variform" and read_by_hub.eval_results
    assert text.index(" latents used") < text.index("## Data")  # the verdict first
    assert "latent_dim = 2" in text and f"variform {hub.__version__}" in text
    assert metadata["library_name"] == "variform" and "variational-autoencoder" in metadata["tags"]
    numbers = {
        item["type"]: item["value"] for item in metadata["model-index"][0]["results"][0]["metrics"]
    }
    assert (
        numbers["elbo"] == run.evaluation["elbo"]["mean"]
        and numbers["nll"] == run.evaluation["nll"]["mean"]
    )
    for words in (
        run.evaluation["data"]["fingerprint"],
        r"de\_signs\*.csv",
        r"length \| \<b\>mm\</b\>",  # shown as it is, in one cell
        r"\`T\`",
        "ELBO (nats) | ",
        "±",
        "PCA",
        "## Limits",
        f"variform pull {NAME} --out model",
        "of 2 latent dimensions are active",
    ):
        assert words in text, words
    cells = [line for line in text.splitlines() if line.startswith("|")]
    widths = {len(re.findall(r"(?<!\\)\|", line)) for line in cells}
    assert widths == {
        5,
        6,
    }  # a table of four columns, and the numbers of VAE, PCA in two metrics and the trivial model


def test_the_command_prints_and_writes_the_card_with_its_licence(run, tmp_path, capsys):
    run, _ = run
    folder, out = str(run.folder), tmp_path / "card.md"
    assert cli.run(["card", folder]) == 0
    printed = capsys.readouterr().out
    assert printed == hub.card(run, f"OWNER/{run.folder.name}")
    assert "license" not in yaml.safe_load(printed.split("---")[1])
    for option in ("--licence", "--license"):
        out.unlink(missing_ok=True)
        assert cli.run(["card", folder, option, "cc-by-4.0", "--out", str(out)]) == 0
        metadata = yaml.safe_load(out.read_text(encoding="utf-8").split("---")[1])
        assert metadata["license"] == "cc-by-4.0"
    capsys.readouterr()
    assert cli.run(["card", folder, "--out", str(out)]) == 2
    assert "the file must be new" in capsys.readouterr().err
    assert cli.run(["card", folder, "--licence", "My Own"]) == 2
    assert "must be an identifier" in capsys.readouterr().err
    assert cli.run(["card", str(tmp_path)]) == 2


def test_a_card_of_one_latent_dimension_speaks_of_one(run, monkeypatch):
    run, _ = run
    one = run.evaluation | {"active_units": {"count": 1, "of": 1, "variances": [1.0]}}
    monkeypatch.setattr(type(run), "evaluation", one)
    model = dataclasses.replace(run.config.model, latent_dim=1)
    config = dataclasses.replace(run.config, model=model)
    text = hub.card(dataclasses.replace(run, config=config), NAME)
    assert "with 1 latent dimension and" in text and "1 of 1 latent dimension is active." in text
    assert "1 latent dimensions" not in text


def test_the_card_s_example_runs(run, tmp_path, monkeypatch):
    run, _ = run
    shutil.copytree(run.folder, tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(re.search(r"```python\n(.*?)```", hub.card(run, NAME), re.DOTALL)[1], names)
    assert names["rows"].shape == (10, 2) and names["decoded"].shape == (1, 2)


def test_what_goes_wrong_gets_a_sentence(run, server, tmp_path, monkeypatch, capsys):
    run, _ = run
    monkeypatch.chdir(tmp_path)

    def fails(words, *messages):
        assert cli.run(words) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and all(message in error for message in messages), error
        assert not [path for path in tmp_path.iterdir() if path.name != "half"]

    push, pull = ["push", str(run.folder), NAME], ["pull", NAME, "--out", "new"]
    fails(pull, f"has no {NAME}", "Check the name, or log in")
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    fails(push, "answers 401", "token that may write")
    for name in ("designs", "a/b/c", "../x", "a/..", "ada/", "ada/de signs"):
        fails(["pull", name, "--out", "new"], "must be named OWNER/NAME")
    fails(["push", str(tmp_path), NAME], "a run must be a folder")
    half = tmp_path / "half"
    half.mkdir()
    for name in ("config.toml", "model.safetensors"):
        (half / name).write_bytes((run.folder / name).read_bytes())
    fails(["push", str(half), NAME], "has no evaluation.json", "--resume")
    with socket.socket() as free:  # nobody listens there
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{free.getsockname()[1]}")
        fails(pull, "must be reachable", "HF_ENDPOINT")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    fails(pull, "must be reachable", "HF_HUB_OFFLINE")


def test_what_comes_is_verified_and_only_known_names_are_fetched(run, server, tmp_path):
    run, _ = run
    hub.push(run.folder, NAME)
    good = dict(server.hub["files"])
    server.hub["listed"] = ["../../outside.txt", "/etc/outside", "run.py", "weights.pkl"]
    folder = hub.pull(NAME, tmp_path / "good")
    assert {path.name for path in folder.iterdir()} == set(hub.FILES)
    flipped = bytearray(good["model.safetensors"])
    flipped[-1] ^= 1
    for name, content, message in (
        ("model.safetensors", bytes(flipped), "checksum differs"),
        ("model.safetensors", good["model.safetensors"][:-9], "whole safetensors file"),
        ("model.safetensors", b"\x80\x04cos\nsystem\n", "whole safetensors file"),
        ("config.toml", b"[model]\nlatent_dim = 'x'", "must be a whole number"),
        ("config.toml", b"\xff\xfe", "must be TOML"),
        ("evaluation.json", b"[" * 100_000, "must be JSON"),
        ("data.json", b"7", "must hold values by name"),
    ):
        server.hub["files"] = good | {name: content}
        with pytest.raises(ValueError, match=message):
            hub.pull(NAME, tmp_path / "bad")
    del server.hub["files"]["model.safetensors"]
    with pytest.raises(ValueError, match=f"must have model.safetensors; {NAME} has not"):
        hub.pull(NAME, tmp_path / "bad")
    assert [path.name for path in tmp_path.iterdir()] == ["good"]


def test_a_missing_client_is_named(monkeypatch, capsys):
    import sys

    monkeypatch.delitem(sys.modules, "variform.runs.hub")
    monkeypatch.delattr("variform.runs.hub")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert cli.run(["pull", NAME]) == 2
    sentence = capsys.readouterr().err
    assert "huggingface_hub is missing. Use pip install 'huggingface-hub>=" in sentence
