"""Products of layers: every way gives what torch gives, the fastest is chosen once, and a run keeps its choice."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from variform import ModelConfig, TrainConfig, build_objective, build_vae, fit
from variform.config.settling import for_rows
from variform.data.reading import read
from variform.evaluation import log_likelihood
from variform.system import products
from variform.system.draws import seeded
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


@pytest.mark.parametrize("way", ["fold", "channels-last", "fold channels-last"])
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


@pytest.mark.parametrize(
    ("channels", "options"),
    [
        ((1, 8), {"kernel_size": 4, "stride": 2, "padding": 1}),  # first and last at once
        ((6, 1), {"kernel_size": 3, "padding": (2, 0), "bias": False}),
        ((4, 6), {"kernel_size": (3, 2), "stride": (1, 2), "dilation": (1, 2), "groups": 2}),
    ],
)
def test_a_convolution_may_have_its_channels_last(channels, options, single_precision):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(*channels, **options), nn.ReLU())
    x = torch.randn(4, channels[0], 9, 8, requires_grad=True)
    assert_same({"0": "channels-last"}, network, x)
    with computing(network, {"0": "channels-last"}):
        y = network(x)
    assert y.is_contiguous(memory_format=torch.channels_last), "what follows need not convert it"


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
    """Makes all but torch's own way seem faster, or slower, and counts how often anything is timed."""
    count = []

    def pretend(other):
        def seconds(ways, rounds=1):
            count.append(list(ways))
            return {name: 1.0 if name == "torch" else other for name in ways}

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


def test_convolutions_have_one_layout_and_each_its_fold(own_cache, monkeypatch, single_precision):
    network = nn.Sequential(
        nn.Conv2d(8, 16, 4, 2, 1, padding_mode="circular"),
        nn.Conv2d(16, 16, 4, 2, 1),
        nn.ConvTranspose2d(16, 32, 4, 2, 1),
        nn.ConvTranspose2d(32, 1, 4, 2, 1),
    )
    x = torch.zeros(64, 8, 32, 32)

    def choose(fold, last):
        seconds = {"torch": 1.0, "channels-last": last, "fold": fold}
        monkeypatch.setattr(
            products, "seconds_of", lambda ways, *_: {way: seconds[way] for way in ways}
        )
        products._known().clear()
        chosen = fastest(network, lambda: network(x), 1)
        products.require_ways(network, chosen)
        return chosen

    assert choose(fold=2.0, last=2.0) == {}
    assert choose(fold=0.5, last=2.0) == {"2": "fold", "3": "fold"}
    last = {"1": "channels-last", "2": "channels-last", "3": "channels-last"}
    assert choose(fold=2.0, last=0.95) == last, "a whole network has more turns and less margin"
    assert choose(fold=2.0, last=0.98) == {}
    folds = {"2": "fold channels-last", "3": "fold channels-last"}
    assert choose(fold=0.5, last=0.8) == last | folds


@pytest.mark.parametrize("way", ["fold", "fold channels-last", "torch", "", "last"])
def test_what_is_no_way_of_a_convolution_is_refused(way):
    with pytest.raises(ValueError, match="ways of layers"):
        products.require_ways(nn.Sequential(nn.Conv2d(2, 3, 3)), {"0": way})
    circular = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"))
    with pytest.raises(ValueError, match="ways of layers"):
        products.require_ways(circular, {"0": "channels-last"})


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

    for clock in ("perf_counter", "thread_time"):
        monkeypatch.setattr(products.time, clock, lambda: now[0])
    waits: products.Ways = {"torch": lambda: taking(0.002), "onednn": lambda: taking(0.001)}
    assert products.clearly_fastest(products.seconds_of(waits)) == "onednn"
    assert products.clearly_fastest(products.seconds_of(dict(reversed(waits.items())))) == "onednn"


@pytest.fixture
def wide():
    values = np.random.default_rng(0).normal(size=(96, 600)).astype(np.float32)
    return read(values)


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


LAST = {
    "encoder.layers.0": "channels-last",
    "encoder.layers.2": "channels-last",
    "decoder.layers.6": "channels-last",
    "decoder.output": "fold channels-last",
}


@pytest.mark.parametrize("compile", ["off", pytest.param("on", marks=pytest.mark.long)])
def test_adam_gets_the_gradients_of_convolutions_in_the_order_of_their_weights(
    compile, single_precision
):
    """Its fused kernel pairs numbers as they lie in memory, and gradients with channels last lie in another order."""
    images = np.random.default_rng(0).random((32, 1, 12, 12)).astype(np.float32)
    splits = read(images)
    model = ModelConfig(
        likelihood="bernoulli", latent_dim=2, hidden=(16,), network="conv", filters=(4, 8)
    )
    config = for_rows(TrainConfig(batch_size=16, compile=compile, epochs=1), len(splits.train))
    x = splits.train.batch(torch.arange(16))
    found = []
    for ways in ({}, LAST):
        torch.manual_seed(0)
        step = Step(build_objective(build_vae(model, splits.train.schema), config), config, 100)
        products.require_ways(step.objective.vae, ways)
        step.products = ways
        with seeded(0), step.arithmetic():
            step(x, 16, 1.0)
        state = step.optimizer.state
        found.append({name: state[p]["exp_avg"] for name, p in step.objective.named_parameters()})
    plain, last = found
    for name, moment in plain.items():
        limit = 1e-4 * moment.abs().max().item()
        torch.testing.assert_close(last[name], moment, rtol=1e-4, atol=limit, msg=name)


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
