"""Compression: bits as constriction has them, functions as SciPy has them, every value back, and what is refused."""

import functools
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import special, stats

from variform import DataConfig, ModelConfig, TrainConfig, build_vae, read, save
from variform.compression.beside import rates_beside
from variform.compression.files import compress_file, decompress_file
from variform.compression.packing import codec_of, elbo_rate, pack, pack_table, unpack, unpack_table
from variform.compression.stack import FastStack
from variform.data.reading import read_rows
from variform.export import codec, coding
from variform.export.handover import hand_over
from variform.faces.cli import commands as cli
from variform.model.likelihoods import (
    BernoulliLikelihood,
    BetaBinomialLikelihood,
    CategoricalLikelihood,
    LogisticLikelihood,
    LogisticMixtureLikelihood,
)
from variform.model.likelihoods.ordered import OrdinalLikelihood
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
    rows = (
        data.test.gather(torch.arange(len(data.test))).numpy()
        if data.schema.kind == "image"
        else None
    )
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
    "bernoulli levels": {"latents": (4, 2), "latent_dim": None},
    "bernoulli levels vamp": {
        "latents": (4, 3, 2),
        "latent_dim": None,
        "prior": "vamp",
        "components": 5,
    },
    "bernoulli ladder": {"latents": (4, 2), "latent_dim": None, "posterior": "ladder"},
    "beta-binomial": {},
    "logistic-mixture": {"likelihood_components": 3},
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
        if len(of_model.facts["latents"]) > 1:
            continue
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


def shares_of_levels(likelihood, params):
    """Those of the codec and, of every level, of the likelihood's own law; (columns, K)."""
    width = math.prod(likelihood.event_shape)
    (group,) = coding._of_columns(likelihood, list(range(width)), 0, read("digits").schema)
    ours = codec.LEVELS[group["law"]](group, params.reshape(1, -1).numpy())
    law, count = likelihood(params), group["levels"]
    unit = 1 if isinstance(likelihood, OrdinalLikelihood) else count - 1
    levels = torch.arange(count)[:, None] / unit
    theirs = law.log_prob_per_entry(levels * torch.ones(width)).exp().detach().numpy().T
    return ours / ours.sum(1, keepdims=True), theirs


@pytest.mark.parametrize(
    "likelihood",
    [
        BernoulliLikelihood((3,)),
        CategoricalLikelihood((3,), levels=5),
        LogisticLikelihood((3,), levels=17),
        LogisticMixtureLikelihood((3,), levels=17, components=3),
        BetaBinomialLikelihood((3,), levels=256),
        OrdinalLikelihood((1,), levels=4),
    ],
    ids=lambda likelihood: type(likelihood).__name__,
)
def test_shares_of_levels_are_those_of_the_law(likelihood):
    torch.manual_seed(1)
    for scale in (0.3, 3.0):
        ours, theirs = shares_of_levels(
            likelihood.double(), scale * torch.randn(likelihood.params_shape)
        )
        np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-12)


def test_shares_of_counts_are_those_of_scipy():
    counts = np.arange(400.0)
    for log_mean in (-2.0, 0.5, 4.0):
        ours = codec.poisson({}, np.array([log_mean]), counts)[0]
        expected = stats.poisson(math.exp(log_mean)).pmf(counts)
        np.testing.assert_allclose(ours / ours.sum(), expected, rtol=1e-8, atol=1e-12)
        for log_r in (-1.0, 0.7, 4.0):
            ours = codec.negative_binomial({"log_dispersion": log_r}, np.array([log_mean]), counts)[
                0
            ]
            r = math.exp(log_r)
            expected = stats.nbinom(r, r / (r + math.exp(log_mean))).pmf(counts)
            np.testing.assert_allclose(
                ours / ours.sum(), expected / expected.sum(), rtol=1e-7, atol=1e-12
            )


@pytest.mark.parametrize("count", [3, 300, 40_000, 20_000_000])
def test_bins_have_the_probability_of_their_interval(count):
    """What the digits of a bin cost, all together, is -log2 of the Gaussian's probability between its edges."""

    class Counted(FastStack):
        bits = 0.0

        def push(self, symbols, shares):
            chosen = shares[np.arange(len(symbols)), symbols] / shares.sum(1)
            self.bits -= np.log2(chosen).sum()
            super().push(symbols, shares)

    digits = next(n for n in range(1, 9) if 256**n >= count)
    radix = max(2, math.ceil(count ** (1 / digits)))
    random = np.random.default_rng(count)
    law = stats.norm(random.normal(size=20), 0.5)
    bins = np.clip(((law.rvs(random_state=1) / 8 + 0.5) * count).astype(int), 0, count - 1)
    edges = lambda number: 8 * (number / count - 0.5)  # noqa: E731
    atoms = [(bins[3], np.full(20, 0.25))]
    standard = codec.standardised(law.mean(), law.std())
    binned = codec.Binned(edges, radix, digits, standard, codec.normal_tail, atoms, 0.75)
    stack = Counted(codec.first_bits(b"bins", 20))
    binned.push(stack, bins)
    expected = 0.75 * (law.cdf(edges(bins + 1)) - law.cdf(edges(bins))) + 0.25 * (bins == bins[3])
    assert stack.bits == pytest.approx(-np.log2(expected).sum(), rel=0.02 if count == 3 else 1e-3)
    assert np.array_equal(binned.pop(stack), bins)


TABLE = "name,city,size,weight,share,flaw,rooms,price,built"


@functools.cache
def table_text():
    """Rows with a hidden size behind all columns, gaps, a spike, quoted texts and a column that no model needs."""
    random = np.random.default_rng(0)
    lines = [TABLE]
    for number in range(600):
        size = random.normal()
        city = ("North", '"South, old"', "West")[int(np.clip(size + 1.5, 0, 2))]
        weight = "" if random.random() < 0.1 else f"{20 + 3 * size + random.normal():.2f}"
        share = f"{1 / (1 + math.exp(-size - random.normal())):.3f}"
        flaw = "0.0" if random.random() < 0.4 else f"{abs(random.normal()) * 5:.1f}"
        rooms = random.poisson(math.exp(0.5 + 0.3 * size))
        price = f"{math.exp(5 + size / 2 + random.normal() / 4):.0f}"
        grade = ("low", "middle", "high")[int(np.clip(size + random.normal() / 2 + 1.5, 0, 2))]
        lines.append(
            f"row {number},{city},{grade},{weight},{share},{flaw},{rooms},{price},{1900 + int(40 * size)}"
        )
    lines[5] = lines[5].replace(",0.", ",0.0000", 1)  # a number that is written in another way
    return "\n".join(lines) + "\n"


@pytest.fixture
def table(single_precision, tmp_path_factory, tmp_path):
    (tmp_path / "table.csv").write_text(table_text())
    return model_of_table(tmp_path_factory.getbasetemp())


@functools.cache
def model_of_table(folder):
    (folder / "table.csv").write_text(table_text())
    config = DataConfig(
        cells="mixed", id="name", positives=("price",), bounds=("share=0..1",), counts=("rooms",),
        ordinals=("size=low<middle<high",), spikes=("flaw=0",),
    )  # fmt: skip
    data = read(str(folder / "table.csv"), config)
    return trained("mixed", data=data, steps=150)[0], config


def test_a_table_comes_back_byte_for_byte_and_is_smaller_than_by_xz(table, tmp_path):
    vae, config = table
    source = tmp_path / "table.csv"
    assert set(vae.schema.kinds) >= {"real", "positive", "bounded", "count", "category", "ordinal"}
    assert any(vae.schema.spikes) and any(vae.schema.gaps)
    numbers = compress_file(vae, source, tmp_path / "table.vf", config=config, beside=True)
    assert decompress_file(vae, tmp_path / "table.vf", tmp_path / "again.csv") == 600
    assert (tmp_path / "again.csv").read_bytes() == source.read_bytes()
    assert numbers["total"] < 0.8 * numbers["beside"]["xz"]
    content = (tmp_path / "table.vf").read_bytes()
    of_model = codec_of(vae)
    values = codec.decompress(of_model.model, content)  # by the coder of NumPy alone
    raw = read_rows(str(source), vae.schema, config).raw.numpy()
    np.testing.assert_allclose(values, raw, rtol=1e-6)
    with pytest.raises(ValueError, match=r"Compress the \.csv file"):
        pack(vae, raw)
    with pytest.raises(ValueError, match=r"must end in \.csv"):
        decompress_file(vae, tmp_path / "table.vf", tmp_path / "again.npy")


def test_tables_that_cannot_come_back_are_refused(table, tmp_path):
    vae, config = table
    lines = table_text().splitlines()
    for rows, message in (
        (
            [*lines[:9], lines[9].replace("row", '"row"', 1).replace("row ", "row", 1)],
            "written plainly",
        ),
        ([*lines[:9], "", *lines[9:12]], "written plainly|must be readable"),
        (
            [
                *lines[:2],
                lines[2].replace("row 1,", "row 1 ,"),
                lines[3].rsplit(",", 2)[0] + ",1.5,1900",
            ],
            "",
        ),
    ):
        path = tmp_path / "odd.csv"
        path.write_text("\n".join(rows))
        if message:
            with pytest.raises(ValueError, match=message):
                pack_table(vae, path, config)
        else:  # what is only unusual comes back
            assert unpack_table(vae, pack_table(vae, path, config).content) == path.read_bytes()


REFUSED = {
    "density": ({"likelihood": "gaussian"}, "must have probabilities"),
    "codes": (
        {"likelihood": "categorical", "posterior": "categorical", "latent_dim": None},
        "independent latents",
    ),
    "posterior": ({"likelihood": "categorical", "posterior": "iaf"}, "independent latents"),
    "prior": ({"likelihood": "categorical", "prior": "flow"}, "or a mixture"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_models_without_a_codec_are_refused_with_what_to_train(name):
    options, message = REFUSED[name]
    vae = build_vae(
        ModelConfig(**{"latent_dim": 2, "hidden": (8,)} | options), read("digits").schema
    )
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
    blocks = codec.blocks(10_000)
    assert sum(size for _, size in blocks) == 10_000 and max(blocks)[0] == 10_000 - blocks[-1][1]
    assert max(size for _, size in blocks) == codec.MOST_ROWS
    assert all(size <= max(1, start // 8) for start, size in blocks)
