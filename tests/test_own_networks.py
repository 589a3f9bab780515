"""Networks of the user's own go the whole way: built, saved, opened when trusted, run, resumed, shown and compared."""

import hashlib
import importlib
import io
import json
import math
import re
import shutil
import sys
import tomllib
from typing import Any

import numpy as np
import pytest
import torch
from pages import json_of
from torch import nn

import variform
from variform import Model, ModelConfig, build_vae, load, open_run, read, save, train
from variform.evaluation.log_likelihood import score
from variform.export import reader
from variform.export.handover import hand_over
from variform.export.inspection import inspect
from variform.export.lowering import lower_decoder
from variform.faces import cli
from variform.model.build import VAE
from variform.runs.explorer import explore, served_page
from variform.runs.train import resume_run
from variform.system import import_path
from variform.system.import_path import trusting
from variform.system.signals import Stopped

NETS = '''
"""Networks with all that makes resuming hard: dropout, running means, layers whose width is found out."""
import math
import torch
from torch import nn

class Encoder(nn.Module):
    def __init__(self, in_shape, out_shape, context_dim=0):
        super().__init__()
        size = math.prod(out_shape)
        self.out_shape = out_shape
        self.layers = nn.Sequential(
            nn.Flatten(), nn.LazyLinear(16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2)
        )
        self.output = nn.Linear(16 + context_dim, size)

    def forward(self, x, context=None):
        h = self.layers(x)
        if context is not None:
            h = torch.cat([h, context], 1)
        return self.output(h).view(-1, *self.out_shape)

def decoder(in_shape, out_shape):
    size = math.prod(out_shape)
    return nn.Sequential(
        nn.Linear(*in_shape, 16), nn.SiLU(), nn.Linear(16, size), nn.Unflatten(1, out_shape)
    )

class Sorted(nn.Module):
    """What no list of steps does."""
    def __init__(self, in_shape, out_shape):
        super().__init__()
        self.inner = decoder(in_shape, out_shape)

    def forward(self, z):
        h = self.inner(z)
        return h + h.flatten(1).sort(1).values.view_as(h)

class Linear(nn.Module):
    """x or z times a known matrix."""
    def __init__(self, in_shape, out_shape):
        super().__init__()
        self.out_shape = out_shape
        self.weight = nn.Parameter(torch.arange(float(math.prod(in_shape) * math.prod(out_shape))))

    def forward(self, x):
        x = x.flatten(1)
        return (x @ self.weight.view(x.shape[1], -1) / 100).view(-1, *self.out_shape)
'''
QUICK: dict[str, Any] = {
    "latent_dim": 2,
    "epochs": 4,
    "batch_size": 32,
    "likelihood": "gaussian-shared",
    "nll_samples": 20,
    "progress": False,
}


pytestmark = pytest.mark.usefixtures("single_precision")


@pytest.fixture
def forget(monkeypatch):
    """Begin as a new process does, which trusts nothing."""

    def begin():
        for name in [name for name in sys.modules if name.startswith("variform_own_")]:
            del sys.modules[name]
        monkeypatch.setattr(import_path, "_loaded", {})
        monkeypatch.setattr(import_path, "_trusted", set())

    begin()
    return begin


@pytest.fixture
def nets(tmp_path, forget):
    path = tmp_path / "nets.py"
    path.write_text(NETS)
    return path


@pytest.fixture
def rows():
    random = np.random.default_rng(0)
    return random.normal(size=(200, 2)) @ random.normal(size=(2, 5)) + 0.1


def trained(rows, nets, out, **options):
    own = {"encoder": f"{nets}:Encoder", "decoder": f"{nets}:decoder"}
    return train(rows, out=out, **QUICK | {"pictures": False} | own | options)


@pytest.fixture
def run(rows, nets, tmp_path):
    return trained(rows, nets, tmp_path / "run")


def same_weights(first, second):
    mine, theirs = first.vae.state_dict(), second.vae.state_dict()
    return mine.keys() == theirs.keys() and all(
        torch.equal(value, theirs[name]) for name, value in mine.items()
    )


def mistake(arguments, capsys):
    assert cli.run(list(map(str, arguments))) == 2
    return capsys.readouterr().err


# --- building -----------------------------------------------------------------------------------------------------


def test_a_model_of_known_matrices_gives_their_products(nets, forget, tmp_path, rows):
    config = ModelConfig(
        latent_dim=2,
        likelihood="gaussian-shared",
        encoder=f"{nets}:Linear",
        decoder=f"{nets}:Linear",
        centre=False,
    )
    table = read(rows)
    save(build_vae(config, table.schema), tmp_path / "model.safetensors")
    forget()
    model = load(tmp_path / "model.safetensors", trust=True)
    x = rows[:7].astype(np.float32)
    shift, scale = (np.array(values) for values in (table.schema.shift, table.schema.scale))
    into = np.arange(5 * 4.0).reshape(5, 4) / 100
    out_of = np.arange(2 * 5.0).reshape(2, 5) / 100
    z = ((x - shift) / scale) @ into[:, :2]
    assert np.allclose(model.encode(x), z, atol=1e-5)
    assert np.allclose(model.decode(z), (z @ out_of) * scale + shift, atol=1e-5)


def test_both_shapes_are_told_and_the_width_of_a_context(nets):
    told = []

    def told_to(*arguments, **options):
        told.append((arguments, options))
        return import_path.imported(import_path.find(f"{nets}:Encoder"))(*arguments, **options)

    digits = read("digits", variform.DataConfig(condition=("label",)))
    vae = build_vae(
        ModelConfig(latent_dim=3, posterior="full", likelihood="gaussian"),
        digits.schema,
        encoder=told_to,
        decoder=told_to,
    )
    assert told == [
        (((1, 8, 8), (9,)), {"context_dim": 10}),
        (((13,), (2, 1, 8, 8)), {}),
    ]
    x, context = vae.batch(digits.test, torch.arange(4))
    assert vae.encode(x, context).mean.shape == (4, 3)


def test_the_same_seed_draws_the_same_weights_also_of_lazy_layers(nets):
    config = ModelConfig(latent_dim=2, encoder=f"{nets}:Encoder", decoder=f"{nets}:decoder")
    schema = read("digits").schema
    state = torch.get_rng_state()
    first, second, other = (build_vae(config, schema, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(state, torch.get_rng_state())
    weight = first.encoder.layers[1].weight
    assert torch.equal(weight, second.encoder.layers[1].weight)
    assert not torch.equal(weight, other.encoder.layers[1].weight)


def test_a_learned_variance_starts_at_that_of_the_rows(nets, rows):
    train = read(rows * [1, 1, 1, 1, 9], variform.DataConfig(scaling="none")).train
    config = ModelConfig(latent_dim=2, likelihood="gaussian-per-feature", decoder=f"{nets}:decoder")
    vae = build_vae(config, train.schema, moments=train.moments())
    variance = vae.decode(torch.zeros(1, 2)).variance[0]
    assert np.allclose(variance.detach(), train.raw.numpy().var(0), rtol=0.01)


def flat(in_shape, out_shape):
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(in_shape), 7))


def one_row(in_shape, out_shape):
    return nn.Sequential(nn.Flatten(0), nn.LazyLinear(20), nn.Unflatten(0, (1, *out_shape)))


def pair(in_shape, out_shape):
    return nn.LSTM(5, 5)


def fails(in_shape, out_shape):
    raise RuntimeError("no such shape")


def nothing(in_shape, out_shape):
    return None


@pytest.mark.parametrize(
    ("network", "sentence"),
    [
        (
            flat,
            r"the encoder must map \(B, 5\) to \(B, 2, 2\); it gave \(B, 7\)\. Change its output",
        ),
        (one_row, r"the encoder must map .*; it failed with"),
        (pair, r"the encoder must map .*; it gave a tuple\. Give one tensor"),
        (fails, r"made by fails\(\(5,\), \(2, 2\)\); that stops with RuntimeError: no such shape"),
        (nothing, r"must be a torch.nn.Module; nothing\(.*\) gives a NoneType"),
        (lambda: 0, r"must be made by .*<lambda>\(.*that stops with TypeError"),
        (
            nn.Identity(),
            r"class or a function that makes a network; got the network Identity itself",
        ),
        (nn.Flatten, r"must be made by .*Flatten\(\(5,\), \(2, 2\)\)|must map"),
    ],
)
def test_a_network_that_does_not_fit_is_said_in_a_sentence(network, sentence, rows):
    with pytest.raises(ValueError, match=sentence):
        build_vae(ModelConfig(latent_dim=2), read(rows).schema, encoder=network)


def test_a_decoder_that_forgets_the_batch_is_found(rows):
    def decoder(in_shape, out_shape):
        class Forgets(nn.Linear):
            def forward(self, z):
                return super().forward(z).mean(0, keepdim=True)

        return Forgets(*in_shape, *out_shape)

    with pytest.raises(ValueError, match=r"to \(B, 5\); it gave \(1 for B = 2, 5\)"):
        build_vae(
            ModelConfig(latent_dim=2, likelihood="gaussian-shared"),
            read(rows).schema,
            decoder=decoder,
        )


# --- models in memory ---------------------------------------------------------------------------------------------


def test_a_network_without_a_file_is_a_model_that_cannot_be_saved(rows, tmp_path):
    table = read(rows)
    vae = build_vae(
        ModelConfig(latent_dim=2),
        table.schema,
        decoder=lambda in_shape, out_shape: nn.Sequential(
            nn.Linear(*in_shape, math.prod(out_shape)), nn.Unflatten(1, out_shape)
        ),
    )
    model = Model(vae)
    assert model.reconstruct(rows[:3]).shape == (3, 5)
    with pytest.raises(ValueError, match=r"the decoder must be in a file to be saved; .*<lambda>"):
        model.save(tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"Put it at the top level of a file, such as nets.py"):
        train(rows, decoder=lambda *shapes: None, out=tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_a_vae_put_together_by_hand_is_a_model_once_it_knows_its_data(rows):
    table = read(rows)
    built = build_vae(ModelConfig(latent_dim=2), table.schema)
    parts = {name: getattr(built, name) for name in ("posterior", "prior", "likelihood")}
    vae = VAE(built.encoder, built.decoder, **parts)
    with pytest.raises(ValueError, match=r"Set its `schema` to that of the data"):
        Model(vae)
    vae.schema = table.schema
    assert np.array_equal(Model(vae).encode(rows), Model(built).encode(rows))


# --- runs ---------------------------------------------------------------------------------------------------------


def test_a_run_says_where_its_networks_come_from(run, nets):
    model = tomllib.loads((run.folder / "config.toml").read_text())["model"]
    assert (model["encoder"], model["decoder"]) == (f"{nets}:Encoder", f"{nets}:decoder")
    digest = hashlib.sha256(nets.read_bytes()).hexdigest()
    header = inspect(run.folder / "model.safetensors")
    assert header["code"] == {"encoder": digest, "decoder": digest}
    for name in ("encoder.py", "decoder.py"):
        assert (run.folder / name).read_text() == NETS


def test_opening_runs_code_only_when_it_is_trusted_and_gives_the_same_model(run, forget, rows):
    means = run.model.encode(rows)
    forget()
    for opening in (load, open_run):
        with pytest.raises(ValueError, match=r"model.safetensors names code.*`trust=True`"):
            opening(run.folder)
    assert np.array_equal(load(run.folder, trust=True).encode(rows), means)
    again = open_run(run.folder)  # the same code, which this process trusts by now
    assert np.array_equal(again.model.encode(rows), means)
    assert again.evaluate(samples=20)["elbo"] == run.evaluation["elbo"]


def test_a_run_opens_whatever_becomes_of_the_original(run, forget, nets, rows):
    means = run.model.encode(rows)
    for text in ("class Encoder: pass\n", None):
        nets.write_text(text) if text else nets.unlink()
        forget()
        opened = open_run(run.folder, trust=True)
        assert np.array_equal(opened.model.encode(rows), means)


def test_code_that_has_changed_is_said(run, forget, nets, tmp_path, rows):
    path = tmp_path / "alone.safetensors"
    run.model.save(path)
    nets.write_text(NETS + "\n# another line\n")
    forget()
    with pytest.warns(
        UserWarning, match=r"nets.py has changed since alone.safetensors was trained"
    ):
        model = load(path, trust=True)
    assert np.array_equal(model.encode(rows), run.model.encode(rows))
    nets.write_text(NETS.replace("16", "17"))
    forget()
    with (
        pytest.warns(UserWarning, match="has changed"),
        pytest.raises(ValueError, match=r"its weights.*Bring .*nets.py back as in training"),
    ):
        load(path, trust=True)
    nets.unlink()
    with pytest.raises(ValueError, match=r"nets.py:\w+ must be code that is there"):
        load(path, trust=True)
    shutil.copy(run.folder / "encoder.py", tmp_path / "encoder.py")
    shutil.copy(run.folder / "decoder.py", tmp_path / "decoder.py")
    assert np.array_equal(load(path, trust=True).encode(rows), run.model.encode(rows))


def test_a_resumed_run_ends_with_the_bits_of_an_uninterrupted_one(
    run, rows, nets, tmp_path, forget
):
    def stop(row):
        if row["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.raises((KeyboardInterrupt, Stopped)):
        trained(rows, nets, tmp_path / "stopped", on_epoch=stop)
    nets.write_text("raise SystemExit\n")  # the run has its own copy
    forget()
    with pytest.raises(ValueError, match=r"stopped names code"):
        resume_run(tmp_path / "stopped", pictures=False)
    with trusting(True):
        resumed = resume_run(tmp_path / "stopped", pictures=False)
    assert same_weights(resumed, run)


def test_a_training_that_began_by_other_code_is_not_resumed(run, forget):
    copy = run.folder / "encoder.py"
    copy.write_text(NETS + "\n# another line\n")
    forget()
    with trusting(True), pytest.raises(ValueError, match=r"configuration and data; it comes from"):
        resume_run(run.folder, epochs=6, pictures=False)


def test_a_class_that_was_imported_is_the_one_that_comes_back(rows, nets, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    nets.rename(tmp_path / "nets_of_this_test.py")
    module = importlib.import_module("nets_of_this_test")
    run = train(rows, encoder=module.Encoder, out=tmp_path / "run", pictures=False, **QUICK)
    assert type(open_run(run.folder).vae.encoder) is module.Encoder
    del sys.modules["nets_of_this_test"]


def test_training_goes_on_from_a_model_with_own_networks(run, rows, nets, tmp_path, forget):
    nets.write_text("raise SystemExit\n")
    forget()
    with pytest.raises(ValueError, match="names code"):
        train(
            rows, start=run.folder, out=tmp_path / "more", pictures=False, steps=5, progress=False
        )
    open_run(run.folder, trust=True)
    more = train(
        rows, start=run.folder, out=tmp_path / "more", pictures=False, steps=5, progress=False
    )
    assert (more.folder / "encoder.py").read_text() == NETS
    forget()
    assert same_weights(open_run(more.folder, trust=True), more)


def test_overwriting_a_folder_that_holds_the_source_keeps_it(run, rows):
    own = {
        "encoder": f"{run.folder}/encoder.py:Encoder",
        "decoder": f"{run.folder}/decoder.py:decoder",
    }
    again = train(rows, out=run.folder, overwrite=True, pictures=False, **QUICK | own)
    assert (run.folder / "encoder.py").read_text() == NETS
    assert (run.folder / "replaced-1" / "encoder.py").read_text() == NETS
    assert same_weights(again, run)


@pytest.mark.parametrize(
    "option", [{"hidden": (8,)}, {"network": "conv"}, {"decoder_hidden": (3,)}]
)
def test_options_of_networks_that_are_not_built_in_are_refused(option, rows, nets, tmp_path):
    (name,) = option
    with pytest.raises(ValueError, match=f"`{name}` must be left out with a network of your own"):
        trained(rows, nets, tmp_path / "run", **option)
    assert not (tmp_path / "run").exists()


# --- the command line ---------------------------------------------------------------------------------------------


@pytest.fixture
def no_terminal(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))


COMMANDS = {
    "evaluate": ["--samples", "20", "--json"],
    "encode": ["--out", "{}/codes.csv"],
    "reconstruct": ["--out", "{}/reconstructed.csv"],
    "generate": ["--count", "3", "--out", "{}/rows.csv"],
    "explore": ["--out", "{}/page.html"],
    "export": ["--to", "safetensors", "--out", "{}/exported"],
    "sampler": ["--kind", "gmm"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_refuses_or_trusts(command, run, forget, no_terminal, capsys, tmp_path):
    options = [word.format(tmp_path) for word in COMMANDS[command]]
    forget()
    error = mistake([command, run.folder, *options], capsys)
    assert "names code, which opening it would run" in error
    assert "open with --trust." in error
    assert cli.run([command, str(run.folder), *options, "--trust"]) == 0


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_person_is_asked_once_for_a_file(run, forget, capsys, monkeypatch):
    forget()
    monkeypatch.setattr(sys, "stdin", Terminal("no\nyes\n"))
    error = mistake(["evaluate", run.folder, "--samples", "20"], capsys)
    assert error.count("Run it? [y/N]") == 1
    assert "names code" in error
    assert cli.run(["evaluate", str(run.folder), "--samples", "20"]) == 0
    assert capsys.readouterr().err.count("Run it? [y/N]") == 1


def test_the_command_trains_by_what_it_names_and_asks_of_what_a_file_names(
    nets, rows, tmp_path, forget, no_terminal, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    np.savetxt("rows.csv", rows, delimiter=",", header="a,b,c,d,e", comments="")
    words = ["train", "rows.csv", "--encoder", "nets.py:Encoder", "--decoder", "nets.py:Sorted"]
    words += ["--epochs", "2", "--nll-samples", "20", "--quiet"]
    assert cli.run([*words, "--out", "first"]) == 0
    report = (tmp_path / "first" / "report.html").read_text()
    assert "There is no explorer page: a page can decode by steps that it knows alone" in report
    assert "variform serve first, where Python decodes" in report
    forget()
    again = ["train", "rows.csv", "--config", "first/config.toml", "--quiet"]
    assert "first/config.toml names code" in mistake([*again, "--out", "second"], capsys)
    assert cli.run([*again, "--out", "second", "--trust"]) == 0
    weights = [load(tmp_path / name).vae.state_dict() for name in ("first", "second")]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    assert cli.run(["compare", "first", "second", "--samples", "20", "--out", "both"]) == 0
    assert cli.run(["info", "first"]) == 0
    assert "Encoder of nets.py and Sorted of nets.py" in " ".join(
        re.sub("[│┃]", " ", capsys.readouterr().out).split()
    )


def test_a_study_goes_all_the_way(nets, rows, tmp_path, forget, monkeypatch, no_terminal, capsys):
    monkeypatch.chdir(tmp_path)
    np.savetxt("rows.csv", rows, delimiter=",", header="a,b,c,d,e", comments="")
    words = ["study", "latent-dim", "rows.csv", "--dims", "1,2", "--epochs", "2"]
    words += ["--decoder", "nets.py:decoder", "--nll-samples", "20", "--out", "study"]
    assert cli.run(words) == 0
    first = json.loads((tmp_path / "study" / "study.json").read_text())
    forget()
    assert cli.run(words) == 0  # the fits are there
    assert json.loads((tmp_path / "study" / "study.json").read_text()) == first


# --- pages and files for others -----------------------------------------------------------------------------------


class Chained(nn.Module):
    """All that is followed: functions, methods, shapes that are asked for, modules inside of modules."""

    def __init__(self, in_shape, out_shape):
        super().__init__()
        self.first = nn.Linear(*in_shape, 4 * 2 * 2)
        self.norm = nn.BatchNorm2d(4)
        self.inner = Inner(4, out_shape[0])

    def forward(self, z):
        h = nn.functional.gelu(self.first(z))
        h = self.norm(h.reshape(h.shape[0], 4, 2, 2)).tanh()
        h = nn.functional.dropout(self.inner(h), 0.5, training=self.training)
        return torch.sigmoid(h).view(z.size(0), -1).unflatten(1, (1, 8, 8))


class Inner(nn.Module):
    def __init__(self, given, wanted):
        super().__init__()
        self.layers = nn.ModuleList(
            [nn.ConvTranspose2d(given, 6, 4, 2, 1), nn.ConvTranspose2d(6, wanted, 4, 2, 1)]
        )

    def forward(self, h):
        for layer in self.layers:
            h = layer(torch.relu(h))
        return h


class WithContext(nn.Module):
    def __init__(self, in_shape, out_shape):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(math.prod(in_shape), 8), nn.BatchNorm1d(8)
        )
        self.output = nn.Linear(8, math.prod(out_shape))
        self.out_shape = out_shape

    def forward(self, x, context=None):
        h = self.layers(x)
        if context is not None:
            h = h + context
        return self.output(h).view(-1, *self.out_shape)


def test_what_applies_layers_one_after_another_leaves_torch(tmp_path):
    """The reader of NumPy, which knows nothing of torch, gives the products of all layers."""
    digits = read("digits")
    vae = build_vae(
        ModelConfig(latent_dim=2, likelihood="gaussian-shared"),
        digits.schema,
        encoder=WithContext,
        decoder=Chained,
    )
    with torch.no_grad():
        for norm in (vae.decoder.norm, vae.encoder.layers[2]):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
            norm.weight.normal_()
            norm.bias.normal_()
    hand_over(vae, "numpy", tmp_path / "numpy")
    written = dict(np.load(tmp_path / "numpy" / "model.npz"))
    z = np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)
    x = digits.test.raw[:5].numpy()
    model = Model(vae)
    assert np.allclose(reader.decode(written, z), model.decode(z), atol=1e-4)
    means, stds = model.encode(x, std=True)
    ours = reader.encode(written, x)
    assert np.allclose(ours[0], means, atol=1e-5) and np.allclose(ours[1], stds, atol=1e-5)
    assert '"steps"' in json_of(explore(vae).html)


@pytest.mark.parametrize(
    "forward",
    [
        lambda self, z: self.first(z) + self.first(2 * z),
        lambda self, z: self.first(z) * self.first.bias,
        lambda self, z: self.first(z) if z.sum() > 0 else self.first(-z),
        lambda self, z: nn.functional.leaky_relu(self.first(z), 0.3),
        lambda self, z: nn.functional.elu(self.first(z), alpha=2.0),
        lambda self, z: nn.functional.dropout(self.first(z), 0.5),
        lambda self, z: self.first(z).view(len(z.tolist()), 5),
        lambda self, z: self.first(z).softmax(1),
    ],
)
def test_what_is_more_than_that_is_refused_and_never_wrong(forward, rows):
    class Decoder(nn.Module):
        def __init__(self, in_shape, out_shape):
            super().__init__()
            self.first = nn.Linear(*in_shape, *out_shape)

    Decoder.forward = forward
    config = ModelConfig(latent_dim=2, likelihood="gaussian-shared")
    vae = build_vae(config, read(rows).schema, decoder=Decoder)
    with pytest.raises(ValueError, match="there is no step for Decoder"):
        lower_decoder(vae)


def test_a_decoder_without_steps_is_served_and_says_so(rows, nets, tmp_path):
    run = trained(rows, nets, tmp_path / "run", decoder=f"{nets}:Sorted")
    with pytest.raises(ValueError, match=r"variform serve .*run, where Python decodes"):
        explore(run)
    assert '"url":"decode"' in json_of(served_page(run).html).replace(" ", "")
    for form in ("onnx", "numpy"):
        with pytest.raises(ValueError, match="Use the model in Python"):
            hand_over(run.vae, form, tmp_path / form)
        assert not (tmp_path / form).exists()


# --- a VAE, a Model or a run --------------------------------------------------------------------------------------


OBJECTIVES = [variform.ELBO, variform.IWAE, variform.PIWAE, variform.BetaTCVAE, variform.DIPVAE]
OBJECTIVES += [variform.InfoVAE, variform.WAE, variform.FactorVAE, variform.Autoencoder]


@pytest.mark.parametrize("kind", OBJECTIVES)
def test_an_objective_takes_a_vae_a_model_or_a_run(kind, run):
    options = {variform.BetaTCVAE: {"rows": 100}, variform.DIPVAE: {"kind": "i"}}.get(kind, {})
    for around in (run.vae, run.model, run):
        assert kind(around, **options).vae is run.vae


def test_what_asks_a_model_takes_a_vae_a_model_or_a_run(run, tmp_path):
    test = run.data().test
    scores = [score(each, test, samples=5).log_px for each in (run.vae, run.model, run)]
    assert torch.equal(scores[0], scores[1]) and torch.equal(scores[0], scores[2])
    assert Model(run).vae is Model(run.model).vae is run.vae
    for number, each in enumerate((run.vae, run.model, run)):
        hand_over(each, "safetensors", tmp_path / str(number))
        save(each, tmp_path / f"{number}.safetensors")
    pages = [explore(run.vae).html, run.model.explore().html]
    assert pages[0] == pages[1]
    assert "made of the model in memory alone" in json_of(pages[0])
    assert explore(run).html != pages[0]
