"""A model as a person asks it: the same answers as the inner functions, for arrays and tensors, in the data's units."""

import math
import re
import subprocess
import sys
from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy.integrate import trapezoid

import variform as vf
from variform.config.data import DataConfig
from variform.config.model import ModelConfig
from variform.config.run import RunConfig
from variform.config.training import TrainConfig
from variform.data.reading import read
from variform.evaluation import exploration
from variform.evaluation.imputation import impute
from variform.evaluation.log_likelihood import score
from variform.evaluation.samplers import Sampler
from variform.faces.model import Model
from variform.model.fitted_priors import GaussianMixturePrior, TemperedPrior
from variform.runs.folder import Run
from variform.runs.studies import Study

DESIGNS = torch.from_numpy(
    np.random.default_rng(0).normal([3, -70], [0.1, 5], (300, 2)).astype(np.float32)
)


pytestmark = pytest.mark.usefixtures("single_precision")


def built(data, **options):
    return vf.build_vae(
        ModelConfig(hidden=(8,), **({"likelihood": "bernoulli"} | options)),
        data.schema,
        moments=data.train.moments(),
    )


@pytest.fixture(scope="module")
def designs():
    data = read(DESIGNS, name="designs")
    return data, built(data, latent_dim=1, likelihood="gaussian")


@pytest.fixture(scope="module")
def conditional():
    data = vf.read("digits", DataConfig(condition=("label",)))
    return data, built(data, latent_dim=2, likelihood="gaussian-shared")


@pytest.fixture(scope="module")
def gappy():
    rows = DESIGNS.clone()
    rows[::4, 1] = math.nan
    data = read(rows, config=DataConfig(cells="gaps"), name="gappy")
    return data, built(data, latent_dim=1, likelihood="gaussian")


def test_what_a_model_answers_is_what_the_inner_functions_answer(designs, conditional, gappy):
    for data, vae in (designs, conditional, gappy):
        model, rows = Model(vae), data.test
        x = rows.gather(torch.arange(len(rows))).numpy()
        given = (
            {"label": [data.schema.classes[label] for label in rows.labels]}
            if data.schema.conditions
            else None
        )
        means, stds = exploration.encode(vae, rows)
        first, second = model.encode(x, given=given, std=True)
        assert np.array_equal(first, means) and np.array_equal(second, stds)
        assert np.array_equal(model.encode(x, given=given), means)
        assert np.array_equal(
            model.reconstruct(x, given=given), exploration.reconstruct(vae, rows)[1]
        )
        assert np.array_equal(model.decode(means, given=given), model.reconstruct(x, given=given))
        log_px = score(vae, rows, samples=7, seed=3).log_px
        assert np.array_equal(model.score(x, given=given, samples=7, seed=3), log_px.numpy())


def test_a_density_is_one_of_the_users_units(designs):
    """p of a length in metres is p of it in millimetres times 1000, for a model of each with the same network."""
    data, vae = designs
    grown = {
        name: tuple(1000 * value for value in getattr(data.schema, name))
        for name in ("shift", "scale")
    }
    other = vf.build_vae(vae.config, replace(data.schema, **grown))
    other.load_state_dict(vae.state_dict())
    x = DESIGNS[:20].numpy()
    one, thousand = Model(vae).score(x, samples=50), Model(other).score(x * 1000, samples=50)
    np.testing.assert_allclose(one - thousand, 2 * math.log(1000), atol=1e-4)


def test_a_missing_value_is_integrated_out(gappy):
    """p of the first column alone is the integral of p of both over the second."""
    model = Model(gappy[1])
    grid = np.linspace(-200, 60, 400)
    whole = np.column_stack([np.full(400, 3.05), grid]).astype(np.float32)
    density = np.exp(model.score(whole, samples=1000, seed=1))
    integral = trapezoid(density, grid)
    half = model.score(np.array([[3.05, np.nan]], np.float32), samples=1000, seed=2)
    assert math.log(integral) == pytest.approx(half.item(), abs=0.02)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32"])
def test_the_same_kind_comes_back_in_its_precision(designs, dtype):
    model, x = Model(designs[1]), np.round(DESIGNS[:9].numpy())
    wanted = {"float16": "float32", "int32": "float32"}.get(dtype, dtype)
    array, tensor = x.astype(dtype), torch.from_numpy(x.astype(dtype))
    for ask in (model.encode, model.reconstruct):
        assert isinstance(ask(array), np.ndarray) and ask(array).dtype == wanted
        assert isinstance(ask(tensor), torch.Tensor) and str(ask(tensor).dtype) == f"torch.{wanted}"
        assert np.array_equal(ask(array), ask(tensor).numpy())
    assert (
        model.score(tensor, samples=3).dtype == torch.float64
        and model.score(array, samples=3).dtype == np.float64
    )
    brain = model.encode(
        tensor.to(torch.bfloat16).requires_grad_(dtype != "int32" and tensor.is_floating_point())
    )
    assert brain.dtype == torch.float32 and not brain.requires_grad
    assert model.encode(x.tolist()).dtype == np.float64


def test_a_table_is_taken_by_the_names_of_its_columns(tmp_path):
    random = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"mass": random.normal(size=60), "kind": random.choice(["oak", "elm"], 60)}
    )
    model = Model(built(read(frame, DataConfig(cells="mixed")), likelihood="mixed"))
    codes = [list(model.schema.categories[1]).index(kind) for kind in frame["kind"]]
    expected = model.encode(np.stack([frame["mass"], codes], 1))
    others = [frame[["kind", "mass"]], pl.from_pandas(frame), frame.to_dict("list")]
    for table in [frame, *others, frame.to_dict("records"), pl.from_pandas(frame).to_arrow()]:
        np.testing.assert_array_equal(model.encode(table), expected)
    with pytest.raises(ValueError, match="the table lacks 'kind'"):
        model.encode(frame[["mass"]])


def test_a_table_with_other_names_is_taken_by_their_places(designs):
    other = pd.DataFrame(DESIGNS.numpy(), columns=["a", "b"])
    model = Model(designs[1])
    np.testing.assert_array_equal(model.encode(other), model.encode(DESIGNS))


def test_samples_are_seeded_and_a_temperature_shrinks_them(designs):
    model = Model(designs[1])
    first, again, other = (model.sample(500, seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    cold = model.sample(500, temperature=0.01)
    middle = model.decode(np.zeros((1, 1), np.float32))
    assert (cold.std(0) < 0.05 * first.std(0)).all()
    np.testing.assert_allclose(cold.mean(0), middle[0], rtol=1e-2)
    noisy = model.sample(500, draw=True)
    assert (noisy.std(0) > first.std(0)).all()


def test_a_conditional_model_is_told_by_name(conditional):
    data, vae = conditional
    model, z = Model(vae), np.zeros((3, 2))
    each = model.decode(z, given={"label": [1, "2", 3]})
    for number, row in zip((1, 2, 3), each, strict=True):
        np.testing.assert_allclose(model.decode(z[:1], given={"label": number})[0], row, atol=1e-5)
    assert model.decode(np.zeros((2, 3, 2)), given={"label": 5}).shape == (2, 3, 1, 8, 8)
    assert model.sample(4, given={"label": torch.tensor([0, 1, 2, 3])}).shape == (4, 1, 8, 8)
    for given, message in (
        (None, "must be given label; got nothing"),
        ({"lable": 3}, "must be given label; got lable"),
        ({"label": 11}, "must be one of 0, 1"),
        ({"label": [1, 2]}, "one value, or one for each of 3 rows"),
        ({"label": ""}, "must be known in every row"),
    ):
        with pytest.raises(ValueError, match=message):
            model.decode(z, given=given)
    x = data.test.gather(torch.arange(3))
    with pytest.raises(ValueError, match="every row must have its label"):
        model.encode(x, given={"label": ""})
    with pytest.raises(ValueError, match="must be given nothing; got label"):
        Model(vf.build_vae(ModelConfig(likelihood="bernoulli"), vf.read("digits").schema)).encode(
            x, given={"label": 3}
        )


def test_a_classifier_finds_what_is_not_known():
    data = vf.read("digits", DataConfig(condition=("label",)))
    model = Model(built(data, latent_dim=2, classifier=True))
    x = data.test.gather(torch.arange(20))
    inferred = model.vae.log_classify(data.test.prepared()[:20]).argmax(1)
    assert torch.equal(
        model.encode(x, given={"label": ""}), model.encode(x, given={"label": inferred})
    )


def test_mistakes_get_a_sentence(designs, gappy):
    digits = Model(vf.build_vae(ModelConfig(likelihood="bernoulli"), vf.read("digits").schema))
    x = vf.read("digits").test.raw[:5].numpy()
    for bad, message in (
        (x[0], r"\(N, 1, 8, 8\); got one example.*Give x\[None\]"),
        (x / 16, "whole numbers from 0 to 16 as in digits; x holds values from 0 to 1"),
        (x[:, :, :5], r"must have the shape \(1, 8, 8\) of digits; x has \(1, 5, 8\)"),
        ([["a"]], "must hold numbers; its type is <U1"),
        (np.full((1, 64), np.nan), "must hold finite numbers"),
        (np.zeros((0, 1, 8, 8)), "at least one value"),
        (None, "one row per example"),
        (x.astype(complex), "must hold numbers; its type is complex"),
    ):
        for ask in (digits.encode, digits.reconstruct, digits.score):
            with pytest.raises(ValueError, match=message):
                ask(bad)
    model = Model(designs[1])
    with pytest.raises(ValueError, match="column 'column 2'"):
        model.encode(np.array([[1.0, np.nan]]))
    with pytest.raises(ValueError, match="infinite"):
        Model(gappy[1]).encode(np.array([[np.inf, np.nan]]))
    for bad, message in (
        (np.zeros((2, 3)), "must have 1 columns, one a latent dimension; got 3"),
        (np.array([["a"]]), "got the type <U1"),
        (np.array([[np.inf]]), "got NaN or infinite ones"),
        (np.zeros((0, 1)), r"got the shape \(0, 1\)"),
    ):
        with pytest.raises(ValueError, match=message):
            model.decode(bad)
    for options, message in (
        ({"count": 0}, "at least 1; got 0"),
        ({"count": 2.5}, "whole number"),
        ({"count": 1, "temperature": 0.0}, "`temperature` must be above 0"),
    ):
        with pytest.raises(ValueError, match=message):
            model.sample(**options)
    unit = read(torch.rand(100, 2), name="unit")
    with pytest.raises(
        ValueError, match=r"needs values in \[0, 1\]; column 'column 1' of x holds 3"
    ):
        Model(vf.build_vae(ModelConfig(likelihood="bernoulli", latent_dim=1), unit.schema)).score(
            np.full((1, 2), 3.0)
        )


def test_load_takes_a_file_or_a_folder(designs, tmp_path):
    vf.save(designs[1], tmp_path / "model.safetensors")
    z = np.linspace(-1, 1, 5)[:, None]
    for path in (tmp_path, tmp_path / "model.safetensors", str(tmp_path)):
        assert np.array_equal(vf.load(path).decode(z), Model(designs[1]).decode(z))
    for path in (tmp_path / "none", tmp_path / "none.safetensors"):
        with pytest.raises(FileNotFoundError, match="there is none at"):
            vf.load(path)


# --- what is printed ----------------------------------------------------------------------------------------------


def test_every_repr_says_what_a_person_needs(designs, conditional, gappy, tmp_path):
    data, vae = designs
    config = TrainConfig(steps=3, beta=0.5, batch_size=128)
    objective = vf.build_objective(vae, config)
    history = vf.fit(objective, data.train, data.valid, config)
    weights = f"{sum(value.numel() for value in vae.parameters()):,}"
    x = data.test.prepared()
    loss = history.rows[1]["valid_loss"]
    rows = [{"latent_dim": 2}, {"latent_dim": 5}]
    wanted: list[tuple[object, list[str]]] = [
        (
            vae,
            [
                "latent_dim=1",
                "event_shape=(2,)",
                "posterior=diagonal",
                "StandardNormalPrior",
                "gaussian",
                weights,
            ],
        ),
        (
            vae.with_prior(GaussianMixturePrior(1, components=7)),
            ["prior=GaussianMixturePrior", "components=7"],
        ),
        (vae.likelihood, ["GaussianLikelihood", "event_shape=(2,)", "variance=learned"]),
        (vae.posterior, ["DiagonalPosterior", "latent_dim=1", "std=softplus"]),
        (
            TemperedPrior(vae.prior, 0.5),
            ["TemperedPrior", "temperature=0.5", "StandardNormalPrior"],
        ),
        (
            Model(vae),
            [
                "Model(latent_dim=1",
                "likelihood=gaussian",
                weights,
                "table (2,) of designs",
                "column 2 -",
            ],
        ),
        (
            Model(conditional[1]),
            [
                "context_dim=10",
                "given label",
                "17 levels from 0 to 16",
                "image (1, 8, 8)",
                "10 classes",
            ],
        ),
        (data, ["train", "valid", f"{len(data.test)} test", "of designs", data.fingerprint[:12]]),
        (data.test, [f"Dataset({len(data.test)} rows of float32", "of designs"]),
        (gappy[0].schema, ["Schema(table (2,) of gappy", "with gaps", "scaled by column"]),
        (objective, ["ELBO", "samples=1", "beta=0.5", "latent_dim=1"]),
        (vf.IWAE(vae, samples=5, gradient="stl"), ["IWAE", "samples=5", "gradient=stl"]),
        (objective(x), ["loss", "log_likelihood", "kl", f"{len(x)} rows", "nats"]),
        (vae.encode(x), ["DiagonalGaussian", f"batch_shape=({len(x)},)", "event_shape=(1,)"]),
        (history, ["History(2 epochs, 3 steps", "best epoch 2", f"{loss:.5g}", history.stopped]),
        (
            Run(tmp_path, RunConfig(train=config), vae),
            [str(tmp_path), "latent_dim=1", "elbo (beta 0.5)"],
        ),
        (
            score(vae, data.test, samples=5),
            ["elbo", "log_px", "ess", f"{len(data.test)} rows", "nats"],
        ),
        (
            impute(gappy[1], gappy[0].test, samples=9),
            ["values filled", f"{len(gappy[0].test)} rows", "90%", "ess"],
        ),
        (
            Sampler("gmm", vae.prior, {"components": 3, "bic": {"1": 2.0}}),
            ["Sampler(gmm, components=3)"],
        ),
        (
            Study(rows, 5, "its NLL is least"),
            ["latent_dim 2, 5", "recommended 5", "its NLL is least"],
        ),
        (ModelConfig(likelihood="bernoulli", latent_dim=3), ["latent_dim=3"]),
        (conditional[0].schema.conditions[0], ["Condition(name='label'", "categories=('0'"]),
    ]
    for thing, words in wanted:
        text = repr(thing)
        assert all(word in text for word in words), text
        assert "tensor(" not in text and "array(" not in text and len(text.splitlines()[0]) < 400
    assert isinstance(vae, torch.nn.Module) and "(encoder): MLP" in repr(vae)


# --- types --------------------------------------------------------------------------------------------------------

PROGRAM = """
import numpy as np
import torch
from scipy.integrate import trapezoid
from typing import assert_type
import variform as vf

model = vf.load("runs/demo")
assert_type(model, vf.Model)
array = np.zeros((3, 64))
assert_type(model.encode(torch.zeros(3, 64)), torch.Tensor)
assert_type(model.encode(torch.zeros(3, 64), std=True), tuple[torch.Tensor, torch.Tensor])
assert_type(model.decode(torch.zeros(3, 2), given={"label": 3}), torch.Tensor)
assert_type(model.vae, vf.VAE)
shape: tuple[int, ...] = model.sample(4).shape + model.reconstruct(array).shape + model.score(array).shape
vf.save(model.vae, "model.safetensors")
"""
WRONG = "\nmodel.sample('four')\nmodel.encode(array, mean=True)\n"


def test_a_users_program_is_checked_against_our_types(tmp_path):
    checker = pytest.importorskip("pyrefly").__name__
    source = Path(vf.__path__[0]).parent
    (tmp_path / "pyrefly.toml").write_text(
        f'project-includes = ["*.py"]\nsearch-path = ["{source}"]\n'
    )
    for name, text, errors in (("right.py", PROGRAM, 0), ("wrong.py", PROGRAM + WRONG, 2)):
        (tmp_path / name).write_text(text)
        command = [
            sys.executable,
            "-m",
            checker,
            "check",
            name,
            "--python-interpreter-path",
            sys.executable,
        ]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
        errors_found = re.findall(r"^ERROR .*", done.stdout, re.MULTILINE)
        assert len(errors_found) == errors, done.stdout + done.stderr


def test_the_package_says_that_it_is_typed():
    assert resources.files("variform").joinpath("py.typed").is_file()
