"""The page's decoder, in V8 without a browser, computes what torch computes; its kernel is what its text says."""

import base64
import json
import re
from importlib import resources
from typing import get_args

import models
import numpy as np
import pytest
import torch
import wasmtime
from py_mini_racer import MiniRacer

from variform.config.choices import LikelihoodName
from variform.evaluation import exploration
from variform.pages.explorer import payload as payload_of
from variform.pages.explorer.payload import decoder_payload, remote_payload

FOLDER = resources.files("variform.pages") / "script"
BUNDLE = FOLDER.joinpath("bundle.js").read_text(encoding="utf-8")
ATOB = """
const atob = (text) => Array.from(Uint8Array.fromBase64(text), (byte) => String.fromCharCode(byte)).join("");
const numbers = (text) => new Float32Array(Uint8Array.fromBase64(text).buffer);
const text = (values) => new Uint8Array(values.buffer, values.byteOffset, values.byteLength).toBase64();
"""
KERNELS = ("wasm-simd", "js")


@pytest.fixture(scope="module")
def engine():
    with MiniRacer() as context:
        context.eval(ATOB + BUNDLE)
        yield context


def decode(engine, payload, z, context=None, kernel=None, method="decode"):
    """What the bundle makes of latent points (N, D), (N, *event)."""
    sent = [
        base64.b64encode(part.astype("<f4").tobytes()).decode()
        for part in (z, context)
        if part is not None
    ]
    arguments = ", ".join(f'numbers("{part}")' for part in sent)
    made = f"variform.createDecoder({json.dumps(payload)}, {json.dumps({'kernel': kernel})})"
    answer = engine.eval(
        f"(() => {{ const decoder = {made}; return text(decoder.{method}({arguments})); }})()"
    )
    return np.frombuffer(base64.b64decode(answer), "<f4").reshape(len(z), *payload["eventShape"])


@pytest.mark.parametrize("name", models.NAMES)
def test_both_kernels_decode_what_torch_decodes(name, engine, tmp_path):
    data = models.data_of(name, tmp_path)
    vae = models.model_of(name, data)
    generator = np.random.default_rng(5)
    z, context = generator.normal(size=(100, vae.latent_dim)).astype(np.float32), None
    if vae.context_dim:
        context = data.test.contexts[torch.from_numpy(generator.integers(0, len(data.test), 100))]
    expected = exploration.decode(vae, z, context=context)
    is_empty = np.isnan(expected)  # by a rule
    expected = np.where(is_empty, 0.0, expected)
    low, high = map(data.schema.per_value, (data.schema.low, data.schema.high))
    allowed = 1e-3 * (high - low).numpy() + 2.0**-23 * np.abs(expected).max(0)
    payload = decoder_payload(vae)
    context_rows = None if context is None else context.numpy()
    for kernel in KERNELS:
        decoded = decode(engine, payload, z, context_rows, kernel)
        decoded = np.where(is_empty & np.isnan(decoded), 0.0, decoded)
        assert (
            np.mean(np.abs(decoded - expected) <= allowed) > 0.995
        )  # a whole number may have been on an edge
        if not data.schema.kinds:
            assert np.all(np.abs(decoded - expected) <= allowed)


def test_the_kernel_s_bytes_are_what_its_text_assembles_to(engine):
    kernel_bytes = base64.b64decode(
        re.search(r'DENSE_WASM="([A-Za-z0-9+/=]+)"', BUNDLE.replace("\\\n", ""))[1]
    )
    assembled = bytes(wasmtime.wat2wasm(FOLDER.joinpath("dense.wat").read_text(encoding="utf-8")))
    names = assembled[len(kernel_bytes) :]  # of variables, for debuggers
    assert (
        assembled.startswith(kernel_bytes)
        and names[0] == 0
        and names[2:8] == b"\x01\x04name"
        and len(kernel_bytes) < 700
    )


def test_a_browser_without_webassembly_gets_the_plain_kernel(tmp_path):
    vae = models.model_of("bernoulli", models.data_of("bernoulli", tmp_path))
    payload = json.dumps(decoder_payload(vae))
    with MiniRacer() as context:
        context.eval(ATOB + BUNDLE)
        assert context.eval(f"variform.createDecoder({payload}).kernel") == "wasm-simd"
        refusing = "WebAssembly.Module = class { constructor() { throw new Error('refused'); } };"
        assert context.eval(f"{refusing} variform.createDecoder({payload}).kernel") == "js"


def test_weights_that_half_precision_cannot_hold_stay_whole(engine, tmp_path):
    """The first layer is 1e6 times as large, the second as much smaller: the function is the same."""
    vae = models.model_of("relu", models.data_of("relu", tmp_path), likelihood="gaussian-shared")
    first, second = vae.decoder.layers[1], vae.decoder.output
    with torch.no_grad():
        second.weight *= 0.3
    z = np.random.default_rng(1).normal(size=(9, 3))
    expected = exploration.decode(vae, z)
    assert [array["type"] for array in decoder_payload(vae)["arrays"].values()].count("f16") == 2
    with torch.no_grad():
        first.weight *= 1e6
        first.bias *= 1e6
        second.weight /= 1e6
    payload = decoder_payload(vae)
    types = {
        name: array["type"] for name, array in payload["arrays"].items() if len(array["shape"]) == 2
    }
    assert list(types.values()) == [
        "f32",
        "f32",
    ]  # the second lies below what half precision tells from 0
    assert np.allclose(decode(engine, payload, z), expected, atol=16e-3)


def test_a_context_may_be_one_for_all_and_by_default_tells_nothing(engine, tmp_path):
    vae = models.model_of("conditional", models.data_of("conditional", tmp_path))
    payload, z = decoder_payload(vae), np.ones((3, 3))
    three = torch.eye(10)[3]
    decoded = decode(engine, payload, z, three.numpy())
    assert np.allclose(decoded, exploration.decode(vae, z, context=three), atol=16e-3)
    assert np.allclose(
        decode(engine, payload, z), exploration.decode(vae, z, context=torch.zeros(10)), atol=16e-3
    )
    with pytest.raises(Exception, match="must hold 10 numbers, for all codes or for each; got 4"):
        decode(engine, payload, z, np.zeros(4))
    with pytest.raises(Exception, match="z must hold 3 numbers a code; got 8"):
        decode(engine, payload, np.zeros((4, 2)))


def test_more_codes_than_fit_are_decoded_in_batches(engine, tmp_path):
    vae = models.model_of("conv categorical", models.data_of("conv categorical", tmp_path))
    z = np.random.default_rng(1).normal(size=(2100, 3))  # 1,088 logits each: more than 2^21 in all
    assert np.allclose(
        decode(engine, decoder_payload(vae), z), exploration.decode(vae, z), atol=16e-3
    )


def test_a_remote_decoder_asks_for_a_few_codes_at_a_time_and_again_after_a_refusal(tmp_path):
    """The server here answers each row with its sum, in all 64 places, and refuses every second request."""
    vae = models.model_of("conditional", models.data_of("conditional", tmp_path))
    with MiniRacer() as context:
        context.eval(ATOB + BUNDLE)
        context.eval("""
            const sizes = [], waits = [];
            globalThis.setTimeout = (call, wait) => { waits.push(wait); call(); };
            const fetch = (url, { method, headers, body }) => {
              sizes.push(body.length);
              if (sizes.length % 2) return { status: 429, headers: new Map([["Retry-After", "2"]]) };
              const found = new Float32Array((body.length / 13) * 64);
              for (let i = 0; i < found.length; i++)
                for (let k = 0; k < 13; k++) found[i] += body[Math.floor(i / 64) * 13 + k];
              const ok = ["decode", "spread"].includes(url) && method === "POST";
              return { status: 200, ok, arrayBuffer: () => found.buffer };
            };
        """)
        payload = json.dumps(remote_payload(vae, "decode") | {"mostCodes": 2})
        context.eval(f"const decoder = variform.createDecoder({payload}); let answer;")
        z, context_rows = np.arange(15.0).reshape(5, 3), np.eye(10)[:5] * 100
        sent = [
            base64.b64encode(part.astype("<f4").tobytes()).decode() for part in (z, context_rows)
        ]
        context.eval(
            f'decoder.decode(numbers("{sent[0]}"), numbers("{sent[1]}")).then((v) => (answer = text(v)))'
        )
        decoded = np.frombuffer(base64.b64decode(context.eval("answer")), "<f4").reshape(5, 64)
        assert np.array_equal(decoded, np.repeat(z.sum(1, keepdims=True) + 100, 64, axis=1))
        assert json.loads(context.eval("JSON.stringify([sizes, waits, decoder.kernel])")) == [
            [26, 26, 26, 26, 13, 13],
            [2000, 2000, 2000],
            "server",
        ]
        assert context.eval("decoder.hasSpread || decoder.spread(new Float32Array(3))") is None
        payload = json.dumps(remote_payload(vae, "decode", "spread"))
        context.eval(f"const other = variform.createDecoder({payload});")
        context.eval("other.spread(Float32Array.of(1, 2, 3)).then((v) => (answer = text(v)))")
        found = np.frombuffer(base64.b64decode(context.eval("answer")), "<f4")
        assert np.array_equal(found, np.full(64, 6))


SPREADS = {
    **dict.fromkeys(get_args(LikelihoodName), "bernoulli"),
    "poisson": "counts",
    "negative-binomial": "overdispersed",
    "zero-inflated-poisson": "inflated poisson",
    "zero-inflated-negative-binomial": "inflated",
    "mixed": "laws",
    "gaussian-per-feature": "units",
    "gaussian-optimal": "bands",
}
"""For each likelihood the kind of data that it is tried on."""


@pytest.mark.parametrize("likelihood", SPREADS)
def test_standard_deviations_are_those_of_the_law(likelihood, engine, tmp_path, monkeypatch):
    """In the data's own units, with whole weights: what differs is float32."""
    monkeypatch.setattr(payload_of, "_fit_in_half", lambda vae: [])
    name = SPREADS[likelihood]
    data = models.data_of(name, tmp_path)
    vae = models.model_of(name, data, likelihood=likelihood)
    z = np.random.default_rng(3).normal(size=(40, vae.latent_dim)).astype(np.float32)
    with torch.no_grad():
        expected = vae.decode(torch.from_numpy(z).double()).stddev * data.schema.per_value(
            data.schema.scale
        )
    made = decoder_payload(vae)
    for kernel in KERNELS:
        found = decode(engine, made, z, kernel=kernel, method="spread")
        np.testing.assert_allclose(
            found, expected.numpy(), rtol=2e-4, atol=1e-5 * expected.max().item()
        )


def test_a_likelihood_without_steps_of_its_spread_decodes_all_the_same(
    engine, tmp_path, monkeypatch
):
    data = models.data_of("gaussian", tmp_path)
    vae = models.model_of("gaussian", data)
    z = np.random.default_rng(3).normal(size=(4, 3)).astype(np.float32)
    expected = decode(engine, decoder_payload(vae), z)
    monkeypatch.setattr(type(vae.likelihood), "spread_steps", lambda likelihood: None)
    made = decoder_payload(vae)
    assert "spread" not in made
    np.testing.assert_allclose(decode(engine, made, z), expected, atol=2e-2)
    assert engine.eval(
        f"variform.createDecoder({json.dumps(made)}).spread(new Float32Array(3)) === null"
    )


@pytest.mark.parametrize("name", ["conv", "residual", "conditional conv"])
def test_whole_numbers_stay_within_a_grey_level(name, engine, tmp_path, monkeypatch):
    """On other points than those looked at; and the page decodes what Python does with the same weights."""
    monkeypatch.setattr(payload_of, "_LARGE", 1000)
    data = models.data_of(name, tmp_path)
    vae = models.model_of(name, data, hidden=(64,))
    made = decoder_payload(vae)
    kinds = [array["type"] for array in made["arrays"].values()]
    assert kinds.count("i8") == 1
    generator = np.random.default_rng(8)
    z = generator.normal(size=(200, vae.latent_dim)).astype(np.float32)
    context = None
    if vae.context_dim:
        context = torch.from_numpy(generator.normal(size=(200, vae.context_dim))).float()
    rows = None if context is None else context.numpy()
    low, high = (
        data.schema.per_value(ends).numpy() for ends in (data.schema.low, data.schema.high)
    )
    decoded = decode(engine, made, z, rows) / (high - low)
    exact = exploration.decode(vae, z, context=context) / (high - low)
    assert 0 < made["error"] < 1 / 255 and np.abs(decoded - exact).max() < 1 / 255
    decoder, _, _ = payload_of._with_whole_numbers(vae, payload_of._fit_in_half(vae))
    vae.decoder = decoder
    same = exploration.decode(vae, z, context=context) / (high - low)
    np.testing.assert_allclose(decoded, same, atol=2e-5)


def test_a_matrix_that_no_step_fits_is_stored_as_the_others(tmp_path, monkeypatch):
    monkeypatch.setattr(payload_of, "_LARGE", 0)
    monkeypatch.setattr(payload_of, "_MARGIN", 1e-9)
    vae = models.model_of("conv", models.data_of("conv", tmp_path))
    made = decoder_payload(vae)
    assert {array["type"] for array in made["arrays"].values()} == {"f16", "f32"}
    assert made["error"] <= payload_of._GREY / 2


def test_a_layer_without_steps_is_refused_before_its_weights_are_looked_at(tmp_path, monkeypatch):
    """A dense layer along the rows of an image: nothing that is measured of it would make sense."""
    monkeypatch.setattr(payload_of, "_LARGE", 0)
    vae = models.model_of("bernoulli", models.data_of("bernoulli", tmp_path))
    rows = torch.nn.Linear(8, 8).double()
    vae.decoder = torch.nn.Sequential(vae.decoder, rows)
    with pytest.raises(ValueError, match="there is no step for"):
        decoder_payload(vae)
