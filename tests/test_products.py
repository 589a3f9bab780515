"""Products of layers: every way gives what torch gives, the fastest is chosen once, and a run keeps its choice."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from variform import ModelConfig, TrainConfig, build_objective, build_vae, fit
from variform.config.settling import for_rows
from variform.data.reading import splits_from
from variform.evaluation import log_likelihood
from variform.system import products
from variform.system.products import computing, fastest
from variform.training import step as steps
from variform.training.fit import Interrupted
from variform.training.step import Step, products_of

pytestmark = pytest.mark.skipif(
    products._onednn() is None, reason="torch has no oneDNN, or another name for it"
)


@pytest.fixture
def single_precision():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    yield
    torch.set_default_dtype(before)


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """A cache folder of its own, and a process that has found nothing yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    products._known.cache_clear()
    yield tmp_path / "cache" / "variform" / "products.json"
    products._known.cache_clear()


def with_gradients(network, x):
    y = network(x)
    return [y, *torch.autograd.grad(y.square().sum(), [x, *network.parameters()])]


def assert_same(ways, network, x):
    plain = with_gradients(network, x)
    with computing(network, ways):
        other = with_gradients(network, x)
    for one, two in zip(plain, other, strict=True):
        # Sums of some hundred numbers, rounded in another order.
        torch.testing.assert_close(two, one, rtol=1e-4, atol=1e-4 * one.abs().max().item())
    for one, two in zip(plain, with_gradients(network, x), strict=True):
        assert torch.equal(one, two), "afterwards all is as before"


@pytest.mark.parametrize("way", ["onednn torch torch", "torch onednn torch", "torch torch onednn"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(64, 30), (5, 7, 30)])
def test_each_product_of_a_dense_layer_may_go_through_onednn(way, bias, shape, single_precision):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(30, 20, bias=bias), nn.ReLU())
    assert_same({"0": way}, network, torch.randn(shape, requires_grad=True))


@pytest.mark.parametrize("way", ["fold", "channels-last"])
@pytest.mark.parametrize(
    "geometry",
    [
        {"kernel_size": 4, "stride": 2, "padding": 1},
        {"kernel_size": 4, "stride": 2, "padding": (2, 1), "output_padding": (1, 0)},
        {"kernel_size": (3, 5), "stride": (1, 3), "dilation": (2, 1), "bias": False},
    ],
)
def test_a_transposed_convolution_may_be_a_product(way, geometry, single_precision):
    torch.manual_seed(0)
    network = nn.Sequential(nn.ConvTranspose2d(6, 3, **geometry))
    assert_same({"0": way}, network, torch.randn(4, 6, 5, 7, requires_grad=True))


def test_other_precisions_are_left_to_torch():
    network, x = nn.Sequential(nn.Linear(3, 2)).double(), torch.rand(5, 3, dtype=torch.float64)
    with computing(network, {"0": "onednn onednn onednn"}):
        inside = network(x)
    assert torch.equal(inside, network(x))


def test_what_the_machine_lacks_torch_replaces(monkeypatch, single_precision):
    torch.manual_seed(0)
    network, x = nn.Sequential(nn.Linear(3, 2)), torch.rand(5, 3)
    monkeypatch.setattr(products, "_onednn", lambda: None)
    with computing(network, {"0": "onednn onednn onednn"}):
        inside = network(x)
    assert torch.equal(inside, network(x))


@pytest.fixture
def timed(monkeypatch):
    """Makes oneDNN seem faster, or slower, and counts how often anything is timed."""
    count = []

    def pretend(onednn):
        def seconds(ways):
            count.append(list(ways))
            return {name: onednn if name == "onednn" else 1.0 for name in ways}

        monkeypatch.setattr(products, "seconds_of", seconds)
        return count

    return pretend


def test_the_fastest_way_is_chosen_and_found_again(own_cache, timed, single_precision):
    large, small = nn.Linear(600, 500), nn.Linear(500, 2)
    network = nn.Sequential(large, small)
    x = torch.zeros(20, 600)
    count = timed(0.5)
    assert fastest(network, lambda: network(x), 1) == {"0": "onednn onednn onednn"}
    assert len(count) == 3, "y, dW and dx of the layer that is large enough to matter"
    kept = json.loads(own_cache.read_text())
    assert set(kept.values()) == {"onednn"} and all("1 threads" in key for key in kept)

    count = timed(2.0)
    count.clear()
    products._known.cache_clear()  # another process of this machine
    assert fastest(network, lambda: network(x), 1) == {"0": "onednn onednn onednn"}
    assert not count
    assert fastest(network, lambda: network(x), 2) == {}
    assert len(count) == 3


@pytest.mark.parametrize("content", ["", "[1]", "{", '{"a": 3}'])
def test_a_cache_that_is_no_cache_is_measured_again(own_cache, timed, single_precision, content):
    own_cache.parent.mkdir(parents=True)
    own_cache.write_text(content)
    network, x = nn.Sequential(nn.Linear(600, 500)), torch.zeros(20, 600)
    timed(0.5)
    assert fastest(network, lambda: network(x), 1) == {"0": "onednn onednn onednn"}


def test_a_cache_that_cannot_be_written_is_done_without(
    tmp_path, monkeypatch, timed, single_precision
):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    products._known.cache_clear()
    network, x = nn.Sequential(nn.Linear(600, 500)), torch.zeros(20, 600)
    timed(0.5)
    assert fastest(network, lambda: network(x), 1) == {"0": "onednn onednn onednn"}
    products._known.cache_clear()


def test_a_difference_that_may_be_noise_changes_nothing(own_cache, timed, single_precision):
    network, x = nn.Sequential(nn.Linear(600, 500)), torch.zeros(20, 600)
    timed(0.95)
    assert fastest(network, lambda: network(x), 1) == {}


def test_what_is_timed_is_timed(monkeypatch):
    """With a clock of its own, which only the ways move: the one that takes longer is not chosen."""
    now = [0.0]

    def taking(seconds):
        now[0] += seconds

    monkeypatch.setattr(products.time, "perf_counter", lambda: now[0])
    waits = {"torch": lambda: taking(0.002), "onednn": lambda: taking(0.001)}
    assert products.clearly_fastest(products.seconds_of(waits)) == "onednn"
    assert products.clearly_fastest(products.seconds_of(dict(reversed(waits.items())))) == "onednn"


@pytest.fixture
def wide():
    values = np.random.default_rng(0).normal(size=(96, 600)).astype(np.float32)
    return splits_from(values)


def trained(wide, config, **options):
    model = ModelConfig(latent_dim=2, hidden=(64,), likelihood="gaussian-shared")
    objective = build_objective(build_vae(model, wide.train.schema), config)
    return objective, fit(objective, wide.train, wide.valid, config, **options)


def test_short_trainings_others_and_torch_ask_nothing(wide, monkeypatch, single_precision):
    monkeypatch.setattr(steps, "fastest", lambda *_: pytest.fail("asked"))
    model = ModelConfig(latent_dim=2, likelihood="gaussian-shared")
    for config, count in (
        (TrainConfig(), 499),
        (TrainConfig(products="torch"), 10**6),
        (TrainConfig(precision="bf16"), 10**6),
    ):
        config = for_rows(config, len(wide.train))
        objective = build_objective(build_vae(model, wide.train.schema), config)
        assert products_of(Step(objective, config, count), count) == {}


@pytest.mark.long
def test_compiled_steps_take_the_same_ways(wide, monkeypatch, single_precision):
    ways = {"encoder.layers.1": "onednn onednn onednn", "decoder.output": "onednn torch onednn"}
    monkeypatch.setattr(steps, "_WORTH_ASKING", 1)
    monkeypatch.setattr(products, "_WORTH_TIMING", 1)
    monkeypatch.setattr(steps, "fastest", lambda *_: ways)
    asked = []
    monkeypatch.setattr(products, "_onednn", lambda: asked.append(1) or found)
    found = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    plain, compiled = (
        trained(wide, TrainConfig(epochs=3, batch_size=32, compile=compile))[1]
        for compile in ("off", "on")
    )
    # 5 products a step, in compiled steps as in others, beside those that are traced or validated.
    assert len(asked) >= 2 * 5 * len(plain.rows)
    for name, value in plain.last.items():
        torch.testing.assert_close(compiled.last[name], value, rtol=1e-3, atol=1e-4)


def test_a_resumed_run_keeps_its_ways_and_ends_in_the_same_bits(
    wide, tmp_path, monkeypatch, single_precision
):
    ways = {"encoder.layers.1": "onednn onednn onednn", "decoder.output": "onednn torch onednn"}
    monkeypatch.setattr(steps, "_WORTH_ASKING", 1)
    monkeypatch.setattr(products, "_WORTH_TIMING", 1)
    monkeypatch.setattr(steps, "fastest", lambda *_: ways)
    config = TrainConfig(epochs=4, batch_size=32, compile="off", products="auto")
    _, whole = trained(wide, config)

    def stop(row):
        if row["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.raises((Interrupted, KeyboardInterrupt)):
        trained(wide, config, folder=tmp_path, on_epoch=stop)
    monkeypatch.setattr(steps, "fastest", lambda *_: pytest.fail("asked again"))
    objective, resumed = trained(wide, config, folder=tmp_path, resume=True)
    for name, value in whole.last.items():
        assert torch.equal(resumed.last[name], value), name
    layer = objective.vae.get_submodule("decoder.output")
    assert "forward" not in vars(layer), "after the training layers are as they were"

    monkeypatch.setattr(steps, "fastest", lambda *_: {})
    _, plain = trained(wide, config)
    assert any(not torch.equal(plain.last[name], value) for name, value in whole.last.items()), (
        "else the test shows nothing"
    )


def test_a_long_evaluation_has_the_same_numbers_by_the_fastest_products(
    wide, monkeypatch, single_precision
):
    model = ModelConfig(latent_dim=2, hidden=(64,), likelihood="gaussian-shared")
    vae = build_vae(model, wide.train.schema)
    asked = []

    def ways(module, run, threads, *, backward):
        asked.append((run().shape, backward))
        return {"output": "onednn torch torch"}

    monkeypatch.setattr(log_likelihood, "fastest", ways)
    plain = log_likelihood.score(vae, wide.test, samples=8)
    assert not asked, "too short to be worth the question"
    monkeypatch.setattr(log_likelihood, "_WORTH_ASKING", 0)
    fast = log_likelihood.score(vae, wide.test, samples=8)
    assert [backward for _, backward in asked] == [False]
    torch.testing.assert_close(fast.log_px, plain.log_px, rtol=1e-5, atol=1e-3)
    assert "forward" not in vars(vae.decoder.output)
