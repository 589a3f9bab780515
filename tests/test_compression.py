"""Compression: bits as constriction has them, functions as SciPy has them, every value back, and what is refused."""

import functools
import itertools
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import special

from variform import DataConfig, ModelConfig, TrainConfig, build_vae, read, save
from variform.compression.beside import rates_beside
from variform.compression.packing import codec_of, elbo_rate, pack, unpack
from variform.compression.stack import FastStack
from variform.data.reading import read_rows
from variform.export import codec
from variform.export.handover import hand_over
from variform.faces.cli import commands as cli
from variform.objectives.build import build_objective
from variform.training.fit import fit


def trained(likelihood="bernoulli", *, steps=200, data=None, **options):
    """A model of digits, and its test rows as an array."""
    data = data or read(
        "digits", DataConfig(binarise="threshold" if likelihood == "bernoulli" else "none")
    )
    torch.manual_seed(0)
    model = ModelConfig(**{"latent_dim": 4, "hidden": (32,), "likelihood": likelihood} | options)
    vae = build_vae(model, data.schema)
    train = TrainConfig(steps=steps, batch_size=64, learning_rate=3e-3, seed=0)
    fit(build_objective(vae, train), data.train, data.valid, train)
    rows = data.test.gather(torch.arange(len(data.test))).numpy()
    return vae, np.where(
        rows >= 8, np.uint8(16), np.uint8(0)
    ) if likelihood == "bernoulli" else rows


@functools.cache
def trained_once():
    return trained()


@pytest.fixture
def binary(single_precision):
    return trained_once()


@pytest.mark.parametrize(
    ("ours", "theirs", "low"),
    [
        (codec.exp, np.exp, -50),
        (codec.log, np.log, 1e-3),
        (codec.sigmoid, special.expit, -50),
        (codec.softplus, lambda x: np.logaddexp(x, 0), -30),
        (codec.normal_tail, lambda x: special.ndtr(-x), 0),
        (codec.FUNCTIONS["tanh"], np.tanh, 0.5),
        (codec.FUNCTIONS["gelu"], lambda x: x * special.ndtr(x), 0.1),
    ],
)
def test_functions_are_those_of_scipy(ours, theirs, low):
    x = np.linspace(low, 25, 20_001)
    np.testing.assert_allclose(ours(x), theirs(x), rtol=1e-12)


@pytest.mark.parametrize("count", [2, 3, 256])
def test_the_bits_are_those_of_constriction(count):
    random = np.random.default_rng(count)
    shares = random.random((400, count)) ** 12  # many near 0
    symbols = random.integers(0, count, 400)
    words = codec.first_bits(b"some", 300)
    ours, theirs = codec.Stack(words), FastStack(words)
    for stack in (ours, theirs):
        stack.push(symbols, shares)
    assert np.array_equal(ours.all_words(), theirs.all_words())
    assert len(ours) == len(theirs) > 300
    assert np.array_equal(ours.pop(shares), symbols) and np.array_equal(theirs.pop(shares), symbols)
    assert np.array_equal(ours.all_words(), words) and np.array_equal(theirs.all_words(), words)
    drawn = ours.pop(shares), theirs.pop(shares)
    assert np.array_equal(*drawn) and np.array_equal(ours.all_words(), theirs.all_words())


def test_symbols_come_as_often_as_their_shares_say():
    """Bits that are read as symbols are draws: what chooses z by q(z|x) is no other law."""
    shares = np.tile([[0.1, 0.6, 0.3]], (20_000, 1))
    drawn = FastStack(codec.first_bits(b"more", 2_000)).pop(shares)
    often = np.bincount(drawn) / len(drawn)
    assert often == pytest.approx(shares[0], abs=5 * 0.5 / math.sqrt(len(drawn)))


CASES = {
    "bernoulli": {},
    "bernoulli mixture": {"prior": "mixture", "components": 5},
    "bernoulli vamp": {
        "prior": "vamp",
        "components": 5,
        "activation": "gelu",
        "posterior_std": "exp",
    },
    "bernoulli convolutions": {"network": "conv", "filters": (4,), "activation": "silu"},
    "categorical": {"layer_norm": True, "activation": "elu"},
    "logistic": {"gated": True},
    "logistic vamp": {"prior": "vamp", "components": 5, "activation": "tanh"},
}


@pytest.mark.parametrize("name", CASES)
def test_every_value_comes_back_at_the_rate_of_the_elbo(name, single_precision):
    """The ELBO is by torch; what chooses z are other draws, so they differ by the spread of such estimates, and by a
    message that ends in whole words.
    """
    vae, rows = trained(name.split()[0], steps=60, **CASES[name])
    rows = rows[:160]
    packed = pack(vae, rows)
    back = unpack(vae, packed.content)
    assert back.dtype == rows.dtype and np.array_equal(back, rows)
    of_rows = read_rows(rows, vae.schema)
    draws = np.array([elbo_rate(vae, of_rows, seed=seed) for seed in range(20)])
    message = 32 * len(codec.opened(packed.content)[2]) - packed.first
    error = 5 * draws.std(ddof=1) + 64 / rows.size
    assert message / rows.size == pytest.approx(draws.mean(), abs=error)
    assert packed.net == pytest.approx(message / rows.size, abs=8 * 100 / rows.size)


def test_networks_have_the_same_bits_for_every_batch_and_are_those_of_torch(single_precision):
    for name, options in CASES.items():
        vae, rows = trained(name.split()[0], steps=5, **options)
        of_model = codec_of(vae)
        symbols = of_model.symbols(rows[:9].reshape(9, *vae.event_shape))
        whole = codec.run(of_model.facts["encoder"], of_model.values(symbols), of_model.model)
        single = [
            codec.run(of_model.facts["encoder"], of_model.values(row[None]), of_model.model)
            for row in symbols
        ]
        assert np.array_equal(whole, np.concatenate(single)), name
        z = whole[:, : vae.latent_dim]
        params = codec.run(of_model.facts["decoder"], z, of_model.model)
        exact = vae.double()
        with torch.no_grad():
            expected = exact.decoder(torch.from_numpy(z)).numpy()
        assert params == pytest.approx(expected.reshape(params.shape), abs=1e-4), name


ALONE = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np, codec
model = dict(np.load(sys.argv[1] + "/model.npz"))
values = codec.decompress(model, open(sys.argv[2], "rb").read())
np.save(sys.argv[3], values)
of_model = codec.Codec(model)
symbols = of_model.symbols(values.reshape(len(values), *of_model.facts["shape"]))
content, _ = codec.pack(of_model, symbols, {"shape": list(values.shape), "dtype": values.dtype.str})
open(sys.argv[3] + ".vf", "wb").write(content)
assert not {"torch", "constriction", "variform"} & set(sys.modules)
"""


@pytest.mark.parametrize("kernel", ["", "Nehalem", "Haswell"])
def test_numpy_alone_has_the_same_bits_with_other_kernels_and_threads(binary, tmp_path, kernel):
    vae, rows = binary
    hand_over(vae, "numpy", tmp_path / "away")
    content = pack(vae, rows).content
    (tmp_path / "rows.vf").write_bytes(content)
    paths = [str(tmp_path / name) for name in ("away", "rows.vf", "back.npy")]
    with_kernel = {
        "OPENBLAS_CORETYPE": kernel,
        "OMP_NUM_THREADS": "2",
        "NPY_DISABLE_CPU_FEATURES": "AVX512F",
    }
    done = subprocess.run(
        [sys.executable, "-I", "-c", ALONE, *paths],
        capture_output=True,
        text=True,
        env=dict(os.environ) | (with_kernel if kernel else {}),
    )
    assert done.returncode == 0, done.stderr
    assert np.array_equal(np.load(paths[-1]), rows)
    assert Path(f"{paths[-1]}.vf").read_bytes() == content


def test_no_rows_and_one_row_come_back(binary):
    vae, rows = binary
    for count in (0, 1, 2):
        packed = pack(vae, rows[:count])
        back = unpack(vae, packed.content)
        assert back.shape == (count, 1, 8, 8) and np.array_equal(back, rows[:count])


def test_values_keep_their_type_and_shape(binary):
    vae, rows = binary
    for like in (rows[:5, 0].astype(np.int16), rows[:5].reshape(5, 64).astype(float)):
        back = unpack(vae, pack(vae, like).content)
        assert back.dtype == like.dtype and back.shape == like.shape and np.array_equal(back, like)


REFUSED = {
    "density": ({"likelihood": "gaussian"}, "must have probabilities"),
    "posterior": ({"likelihood": "categorical", "posterior": "iaf"}, "independent latents"),
    "prior": ({"likelihood": "categorical", "prior": "flow"}, "or a mixture"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_models_without_a_codec_are_refused_with_what_to_train(name):
    options, message = REFUSED[name]
    vae = build_vae(ModelConfig(latent_dim=2, hidden=(8,), **options), read("digits").schema)
    with pytest.raises(ValueError, match=f"{message}.*Train with"):
        codec_of(vae)


def test_conditional_models_are_refused():
    data = read("digits", DataConfig(condition=("label",)))
    vae = build_vae(ModelConfig(latent_dim=2, likelihood="categorical"), data.schema)
    with pytest.raises(ValueError, match=r"this one is conditional\. Train it without `condition`"):
        codec_of(vae)


def test_values_that_the_model_does_not_know_are_refused(binary):
    vae, rows = binary
    odd = rows.copy()
    odd[3, 0, 2, 2] = 7
    with pytest.raises(ValueError, match="for 0 and 16 alone; row 3 has 7, and 0 other values"):
        pack(vae, odd)
    with pytest.raises(ValueError, match="rows must have 64 numbers each"):
        pack(vae, rows[:, :, :7])


def test_damaged_files_other_models_and_other_versions_are_refused(binary):
    vae, rows = binary
    content = pack(vae, rows[:20]).content
    for place in range(9, len(content), 7):
        damaged = bytearray(content)
        damaged[place] ^= 4
        with pytest.raises(ValueError, match=r"checksum says that it is not|must have version 1"):
            unpack(vae, bytes(damaged))
    for length in (0, 5, 12, len(content) - 1):
        with pytest.raises(
            ValueError, match=r"checksum says that it is not|one that variform compress wrote"
        ):
            unpack(vae, content[:length])
    with pytest.raises(ValueError, match="must have version 1 of the format; it has 9"):
        unpack(vae, content[:9] + b"\x09" + content[10:])
    with pytest.raises(ValueError, match="one that variform compress wrote"):
        unpack(vae, b"PK" + content)
    other, _ = trained(steps=1)
    with pytest.raises(
        ValueError, match=r"must be read with the model that wrote it.*Give that run"
    ):
        unpack(other, content)


def test_without_constriction_a_sentence_names_what_brings_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "constriction", None)
    with pytest.raises(ValueError, match="compression needs the packages of the extra compress"):
        FastStack(np.ones(4, np.uint32))


def test_rates_beside_are_those_of_the_programs():
    images = (np.random.default_rng(0).random((50, 8, 8)) < 0.2).astype(np.uint8)
    rates = rates_beside(images)
    entropy = -0.2 * math.log2(0.2) - 0.8 * math.log2(0.8)
    assert set(rates) == {"gzip", "bz2", "xz", "PNG", "WebP"}
    assert all(
        entropy * 0.95 < rate < 2 for rate in rates.values()
    )  # noise is not compressed below its entropy
    assert set(rates_beside(np.zeros((9, 4)))) == {"gzip", "bz2", "xz"}


def test_commands_give_the_file_back(binary, tmp_path, monkeypatch, capsys):
    vae, rows = binary
    monkeypatch.chdir(tmp_path)
    save(vae, "model.safetensors")
    np.save("rows.npy", rows)
    assert cli.run(["compress", "model.safetensors", "rows.npy", "--json", "--beside"]) == 0
    numbers = json.loads(capsys.readouterr().out)
    assert numbers["bytes"] == Path("rows.npy.vf").stat().st_size
    assert numbers["total"] == pytest.approx(8 * numbers["bytes"] / rows.size)
    assert 0 < numbers["net"] < numbers["total"] and set(numbers["beside"]) >= {"gzip", "xz", "PNG"}
    assert cli.run(["compress", "model.safetensors", "rows.npy", "--out", "again.vf"]) == 0
    assert "bits a value" in capsys.readouterr().out
    assert Path("again.vf").read_bytes() == Path("rows.npy.vf").read_bytes()
    assert cli.run(["decompress", "model.safetensors", "again.vf", "--out", "back.npy"]) == 0
    assert Path("back.npy").read_bytes() == Path("rows.npy").read_bytes()
    for words, message in (
        (["compress", "model.safetensors", "rows.npy"], "must be a new file"),
        (["compress", "model.safetensors", "no.npy"], "the data must be there"),
        (
            ["compress", "model.safetensors", "model.safetensors", "--out", "a.vf"],
            "must be a .npy file",
        ),
        (
            ["decompress", "model.safetensors", "again.vf", "--out", "back.npy"],
            "must be a new file",
        ),
        (["decompress", "model.safetensors", "again.vf", "--out", "back.png"], "must end in .npy"),
        (["decompress", "model.safetensors", "none.vf", "--out", "c.npy"], "none.vf"),
    ):
        capsys.readouterr()
        assert cli.run(words) == 2
        assert message in capsys.readouterr().err


def test_few_rows_are_coded_side_by_side_at_first():
    sizes = codec.blocks(10_000)
    assert sum(sizes) == 10_000 and max(sizes) == codec.MOST_ROWS
    before = itertools.accumulate(sizes, initial=0)
    assert all(size <= max(1, done // 8) for size, done in zip(sizes, before, strict=False))
