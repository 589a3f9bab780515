"""The profile of a step: planted delays are found where they are, and the products are counted as by hand."""

import copy
import json
import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from variform import VAE, DataConfig, ModelConfig, TrainConfig, build_vae, read
from variform.data.dataset import Dataset
from variform.data.reading import dataset_from
from variform.faces import cli
from variform.model.likelihoods import BernoulliLikelihood
from variform.model.posteriors import DiagonalPosterior
from variform.model.priors import StandardNormalPrior
from variform.objectives import ELBO
from variform.training.profiling import Profile, _advice, floor_products, profile
from variform.training.step import Step

DELAY = 3.0  # milliseconds
CONFIG = TrainConfig(batch_size=32, compile="off")
FEW = {"steps": 3, "repeats": 3}


class Clock:
    """It stands still but for the delays that are planted, and a microsecond whenever somebody looks."""

    def __init__(self):
        self.seconds = 0.0

    def __call__(self):
        self.seconds += 1e-6
        return self.seconds

    def delay(self):
        self.seconds += DELAY / 1e3


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(scope="module")
def train():
    return read("digits").train


def objective(schema, **options):
    return ELBO(
        build_vae(
            ModelConfig(latent_dim=2, hidden=(8,), **({"likelihood": "bernoulli"} | options)),
            schema,
        )
    )


class Slow(nn.Module):
    def __init__(self, network, clock):
        super().__init__()
        self.network, self.clock = network, clock

    def forward(self, x):
        self.clock.delay()
        return self.network(x)

    def __deepcopy__(self, memo):  # the profile is of a copy, which has the same clock
        return Slow(copy.deepcopy(self.network, memo), self.clock)


class SlowGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, clock):
        ctx.clock = clock
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        ctx.clock.delay()
        return gradient, None


class SlowBackward(Slow):
    def forward(self, x):
        return SlowGradient.apply(self.network(x), self.clock)

    def __deepcopy__(self, memo):
        return SlowBackward(copy.deepcopy(self.network, memo), self.clock)


class SlowData(Dataset):
    def batch(self, index):
        self.clock.delay()
        return super().batch(index)


def is_the_slow_one(timed, slow):
    """The delay is in one part and in the whole, and in no other part."""
    for name, milliseconds in timed.parts.items():
        assert milliseconds == pytest.approx(DELAY if name == slow else 0, abs=0.01)
    assert timed.whole == pytest.approx(DELAY, abs=0.01)


@pytest.mark.parametrize(("kind", "part"), [(Slow, "forward"), (SlowBackward, "backward")])
def test_a_slow_network_is_found_where_it_is_slow(train, clock, kind, part):
    slow = objective(train.schema)
    slow.vae.encoder = kind(slow.vae.encoder, clock)
    is_the_slow_one(profile(slow, train, CONFIG, clock=clock, **FEW), part)


def test_a_slow_update_is_found_in_the_optimiser(train, clock, monkeypatch):
    update = Step._update

    def slowly(self, gradients):
        clock.delay()
        update(self, gradients)

    monkeypatch.setattr(Step, "_update", slowly)
    is_the_slow_one(
        profile(objective(train.schema), train, CONFIG, clock=clock, **FEW), "optimiser"
    )


def test_slow_data_are_found_in_data_and_spoken_of(train, clock):
    slow = SlowData(train.raw, train.schema, train.labels, train.rows)
    slow.clock = clock
    timed = profile(objective(train.schema), slow, CONFIG, clock=clock, **FEW)
    is_the_slow_one(timed, "data")
    assert timed.advice.startswith("Data take ") and "scaled at every step" in timed.advice


def test_parts_and_rest_sum_to_the_whole_and_the_objective_stays_as_it_was(train, clock):
    mine = objective(train.schema, dropout=0.1).eval()
    mine.vae.encoder = Slow(mine.vae.encoder, clock)
    before = {name: value.clone() for name, value in mine.state_dict().items()}
    state = torch.random.get_rng_state()
    timed = profile(mine, train, CONFIG, clock=clock, **FEW)
    assert sum(timed.parts.values()) + timed.rest == pytest.approx(timed.whole)
    assert 0 < timed.floor < timed.whole and timed.times_floor == timed.whole / timed.floor
    assert timed.examples_per_second == pytest.approx(32 / (timed.whole / 1e3))
    assert not mine.training and all(parameter.grad is None for parameter in mine.parameters())
    assert all(torch.equal(value, before[name]) for name, value in mine.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_compiled_step_has_forward_and_backward_in_one(train, monkeypatch):
    monkeypatch.setattr("variform.training.step.compiled", lambda function, device, only: function)
    timed = profile(objective(train.schema), train, replace(CONFIG, compile="on"), **FEW)
    assert (
        list(timed.parts) == ["data", "forward and backward, compiled", "optimiser"]
        and timed.is_compiled
    )
    assert sum(timed.parts.values()) + timed.rest == pytest.approx(timed.whole)


# --- the floor ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("samples", [1, 3])
def test_products_of_the_784_400_20_network_by_hand(samples):
    """Three products a layer, two for the first, whose input needs no gradient; L rows an example in the decoder."""
    data = dataset_from(torch.rand(64, 784))
    mine = ELBO(
        build_vae(ModelConfig(likelihood="bernoulli", latent_dim=20, hidden=(400,)), data.schema),
        samples=samples,
    )
    timed = profile(mine, data, CONFIG, steps=1, repeats=1)
    encoder = 2 * 784 * 400 + 3 * 400 * 40
    decoder = 3 * 20 * 400 + 3 * 400 * 784
    assert timed.flops == 2 * 32 * (encoder + samples * decoder)


def convolutional():
    """Strides, dilation, both kinds of padding, a transposed convolution with an output padding, and linear layers."""
    encoder = nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(4, 6, (2, 3), dilation=(2, 1), padding="same"),
        nn.Conv2d(6, 6, 3, padding=1, padding_mode="circular"),
        nn.Flatten(),
        nn.Linear(96, 6),
        nn.Unflatten(1, (2, 3)),
    )
    decoder = nn.Sequential(
        nn.Linear(3, 48),
        nn.Unflatten(1, (3, 4, 4)),
        nn.ConvTranspose2d(3, 5, 3, stride=2, padding=1, output_padding=1),
        nn.Conv2d(5, 1, 1),
    )
    return VAE(
        encoder,
        decoder,
        posterior=DiagonalPosterior(3),
        prior=StandardNormalPrior(3),
        likelihood=BernoulliLikelihood((1, 8, 8)),
    )


def residual():
    """What --network residual builds, gates and odd sizes included: 8 x 8, 4 x 4, 2 x 2, 1 x 1."""
    config = ModelConfig(
        likelihood="bernoulli",
        latent_dim=3,
        network="residual",
        filters=(3, 4, 5),
        hidden=(6,),
        gated=True,
    )
    return build_vae(config, read("digits").schema)


@pytest.mark.parametrize("make", [convolutional, residual])
def test_products_of_a_convolutional_network_as_torch_counts_them(train, make):
    mine = ELBO(make())
    counter = FlopCounterMode(display=False)
    with counter:
        mine(mine.vae.like(train.batch(torch.arange(32)))).loss.sum().backward()
    timed = profile(mine, train, CONFIG, steps=1, repeats=1)
    assert timed.flops == counter.get_total_flops()
    x = mine.vae.like(train.batch(torch.arange(32)))
    networks = (mine.vae.encoder, mine.vae.decoder)
    products = floor_products(networks, lambda: mine(x))
    with FlopCounterMode(display=False) as counter:  # these are the products that run
        for product in products:
            product.forward()
            product.backward()
    assert counter.get_total_flops() == timed.flops


def test_a_frozen_weight_needs_no_gradient(train):
    mine = ELBO(convolutional())
    whole = profile(mine, train, CONFIG, steps=1, repeats=1).flops
    mine.vae.encoder[0].weight.requires_grad_(
        False
    )  # its bias is trained, and so all that follows is as it was
    frozen = profile(mine, train, CONFIG, steps=1, repeats=1).flops
    assert whole - frozen == 2 * 32 * (4 * 4) * (4 * 1 * 3 * 3)


# --- advice and the command ---------------------------------------------------------------------------------------


def spoken(data, whole, floor, train, *, would_compile=False, is_compiled=False):
    parts = {"data": data, "forward": 0.5, "backward": 0.5, "optimiser": 0.1}
    return _advice(
        Profile(parts, whole, floor, 10**6, 32, 2, "cpu", is_compiled), train, CONFIG, would_compile
    )


def test_advice_speaks_of_the_largest_gain_or_not_at_all(train):
    dynamic = read("digits", DataConfig(binarise="dynamic")).train
    assert "`binarise='dynamic'`" in spoken(1.0, 3.0, 1.5, dynamic)
    assert spoken(0.1, 3.0, 2.0, train) == ""
    assert spoken(0.1, 300.0, 20.0, train) == ""  # no small step
    assert "use `compile='auto'`" in spoken(0.1, 3.0, 2.0, train, would_compile=True)
    assert "`compile='on'`" in spoken(0.1, 3.0, 0.5, train)
    assert "`compile" not in spoken(0.1, 3.0, 0.5, train, is_compiled=True)


def test_a_step_that_is_worth_compiling_is_called_so(train, clock):
    mine = objective(train.schema)
    mine.vae.encoder = Slow(mine.vae.encoder, clock)  # so that data do not take the most
    timed = profile(mine, train, CONFIG, steps=1, repeats=1, total=10**9, clock=clock)
    assert "use `compile='auto'`" in timed.advice


def test_mistakes_are_named(train):
    with pytest.raises(ValueError, match="`steps` must be at least 1; got 0"):
        profile(objective(train.schema), train, CONFIG, steps=0)
    with pytest.raises(ValueError, match="Use `batch_size=9` or smaller"):
        profile(objective(train.schema), train.take(torch.arange(9)), CONFIG)


def test_the_command_prints_a_table_or_json(capsys):
    torch.set_default_dtype(torch.float32)
    small = ["--hidden", "8", "--latent-dim", "2", "--batch-size", "64", "--timed-steps", "2"]
    assert cli.run(["profile", *small, "--json"]) == 0
    numbers = json.loads(capsys.readouterr().out)
    times = numbers["milliseconds"]
    assert list(times) == ["data", "forward", "backward", "optimiser", "rest", "whole", "floor"]
    assert math.fsum(list(times.values())[:5]) == pytest.approx(times["whole"])
    assert numbers["batch_size"] == 64 and numbers["device"] and numbers["is_compiled"] is False
    assert numbers["flops"] == 2 * 64 * (2 * 64 * 8 + 3 * 8 * 4 + 3 * 2 * 8 + 3 * 8 * 64)
    assert cli.run(["profile", "digits", *small]) == 0
    out = capsys.readouterr().out
    for name in (
        "data",
        "forward",
        "backward",
        "optimiser",
        "rest",
        "whole step",
        "floor",
        "examples per second",
    ):
        assert name in out
    assert cli.run(["profile", "digits", "--timed-steps", "0"]) == 2
    assert "at least 1" in capsys.readouterr().err
