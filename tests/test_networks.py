"""Networks against their formulas, computed again with NumPy."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from variform import DataConfig, ModelConfig, TrainConfig, build_objective, build_vae, fit, read
from variform.evaluation.baselines import trivial
from variform.model.networks import INITIALISATIONS, MLP, ConvolutionalDecoder, ConvolutionalEncoder


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def numpy_of(*tensors):
    return [tensor.detach().double().numpy() for tensor in tensors]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def normalised(sums, weight, bias, eps=1e-5):
    """Over all axes but the first: mean 0 and variance 1, then an affine map of each unit."""
    axes = tuple(range(1, sums.ndim))
    mean, variance = sums.mean(axes, keepdims=True), sums.var(axes, keepdims=True)
    return (sums - mean) / np.sqrt(variance + eps) * weight + bias


# --- layers -----------------------------------------------------------------------------------------------------------


def test_a_gated_layer_is_its_formula_and_has_no_activation():
    network = MLP((2, 3), (2, 2), hidden=(5,), gated=True, activation="relu")
    network.centre.normal_()
    x = torch.randn(4, 2, 3)
    (weight, bias, output, output_bias) = numpy_of(*network.parameters())
    centred = (x - network.centre).flatten(1).numpy()
    linear, gate = centred @ weight[:5].T + bias[:5], centred @ weight[5:].T + bias[5:]
    expected = (linear * sigmoid(gate)) @ output.T + output_bias
    np.testing.assert_allclose(network(x).detach().flatten(1).numpy(), expected, rtol=1e-12)
    assert (linear < 0).any()


@pytest.mark.parametrize("gated", [False, True])
def test_layer_norm_is_its_formula(gated):
    network = MLP((3,), (2,), hidden=(4,), gated=gated, layer_norm=True, activation="tanh")
    for parameter in network.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(6, 3)
    weight, bias, scale, shift, output, output_bias = numpy_of(*network.parameters())
    sums = normalised(x.numpy() @ weight.T + bias, scale, shift)
    units = sums[:, :4] * sigmoid(sums[:, 4:]) if gated else np.tanh(sums)
    np.testing.assert_allclose(
        network(x).detach().numpy(), units @ output.T + output_bias, rtol=1e-12
    )


def test_a_context_is_concatenated_to_the_input():
    network = MLP((2, 2), (3,), hidden=(), context_dim=2)
    network.centre.fill_(0.5)  # of x alone
    x, context = torch.randn(5, 2, 2), torch.randn(5, 2)
    whole = torch.cat([x.flatten(1) - 0.5, context], 1)
    torch.testing.assert_close(
        network(x, context), nn.functional.linear(whole, *network.output.parameters())
    )


# --- initial weights --------------------------------------------------------------------------------------------------

STD = {
    "torch": lambda fan_in, fan_out: math.sqrt(1 / (3 * fan_in)),
    "he": lambda fan_in, fan_out: math.sqrt(2 / fan_in),
    "glorot": lambda fan_in, fan_out: math.sqrt(2 / (fan_in + fan_out)),
}


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("name", INITIALISATIONS)
def test_initial_weights_have_the_law_of_their_name(name, gated):
    """A law of 120,000 weights: the standard deviation is right to 0.5 % or so."""
    network = MLP((300,), (200,), hidden=(400,), gated=gated, initialisation=name)
    first, output = network.layers[1], network.output
    matrices = [(matrix, 300, 400) for matrix in first.weight.split(400)] + [
        (output.weight, 400, 200)
    ]
    assert len(matrices) == (3 if gated else 2)
    kind, _, shape = name.partition("-")
    for matrix, fan_in, fan_out in matrices:
        if name == "orthogonal":
            small = matrix if len(matrix) < matrix.shape[1] else matrix.T
            torch.testing.assert_close(small @ small.T, torch.eye(len(small)), rtol=0, atol=1e-5)
            continue
        std = STD[kind](fan_in, fan_out)
        assert matrix.std().item() == pytest.approx(std, rel=0.02)
        assert matrix.mean().item() == pytest.approx(0, abs=0.02 * std)
        if shape == "normal":
            assert (matrix.abs() < std).float().mean().item() == pytest.approx(0.6827, abs=0.01)
        else:
            assert matrix.abs().max().item() == pytest.approx(math.sqrt(3) * std, rel=0.001)
    for layer in (first, output):
        assert bool(layer.bias.any()) == (name == "torch")


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match=r"`activation` must be one of relu, .*; got 'reul'"):
        MLP((2,), (2,), activation="reul")
    with pytest.raises(
        ValueError, match=r"`initialisation` must be one of torch, .*; got 'xavier'"
    ):
        MLP((2,), (2,), initialisation="xavier")


# --- convolutions -----------------------------------------------------------------------------------------------------

# (channels, height, width), filters: odd, oblong, down to one pixel, and what has to be as large as that for 3 stages.
IMAGES = [
    ((1, 2, 1), (3,)),
    ((2, 1, 5), (2, 3, 4)),
    ((3, 3, 3), (4, 2)),
    ((1, 8, 8), (2, 3, 4)),
    ((3, 7, 13), (5, 2)),
    ((1, 20, 28), (2, 3, 2)),
    ((1, 28, 28), (2, 3)),
    ((4, 64, 64), (2, 2, 2, 2, 2, 2)),
]
KINDS = {
    "conv": {},
    "gated": {"gated": True, "hidden": (6, 5)},
    "normalised": {"layer_norm": True, "hidden": ()},
    "residual": {"residual": True, "activation": "elu"},
    "residual, all": {"residual": True, "gated": True, "layer_norm": True},
    "residual, normalised": {"residual": True, "layer_norm": True, "activation": "tanh"},
}


def pair(shape=(2, 5, 6), filters=(3, 4), *, lead=(), context_dim=0, **options):
    options = {"hidden": (7,), "filters": filters} | options
    encoder = ConvolutionalEncoder(shape, (2, 3), context_dim=context_dim, **options)
    return encoder, ConvolutionalDecoder((3,), (*lead, *shape), **options)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("shape", "filters"), IMAGES)
def test_images_of_any_size_go_in_and_come_out(shape, filters, kind):
    for lead in ((), (5, 2)):
        encoder, decoder = pair(shape, filters, lead=lead, **KINDS[kind])
        assert encoder(torch.randn(2, *shape)).shape == (2, 2, 3)
        assert decoder(torch.randn(2, 3)).shape == (2, *lead, *shape)


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_reaches_every_parameter(kind):
    encoder, decoder = pair(lead=(2,), **KINDS[kind])
    for network, x in ((encoder, torch.randn(9, 2, 5, 6)), (decoder, torch.randn(9, 3))):
        (network(x) ** 2).sum().backward()
        for name, parameter in network.named_parameters():
            assert parameter.grad.isfinite().all() and parameter.grad.any(), name


@pytest.mark.parametrize("kind", KINDS)
def test_examples_of_a_batch_do_not_see_each_other(kind):
    for network, x in zip(
        pair(**KINDS[kind]), (torch.randn(5, 2, 5, 6), torch.randn(5, 3)), strict=True
    ):
        for row in range(5):
            torch.testing.assert_close(
                network(x[row : row + 1]), network(x)[row : row + 1], rtol=1e-10, atol=1e-12
            )


def convolved(x, weight, bias):
    """A stage for one image by its definition: (C, H, W) to (F, ceil(H / 2), ceil(W / 2))."""
    height, width = x.shape[1:]
    top, left = 1 + height % 2, 1 + width % 2
    padded = np.pad(x, ((0, 0), (top, 4), (left, 4)))
    return np.array(
        [
            [
                [
                    np.sum(padded[:, 2 * row : 2 * row + 4, 2 * column : 2 * column + 4] * one)
                    + shift
                    for column in range((width + 1) // 2)
                ]
                for row in range((height + 1) // 2)
            ]
            for one, shift in zip(weight, bias, strict=True)
        ]
    )


@pytest.mark.parametrize("size", [(1, 2), (4, 4), (5, 6), (7, 3)])
def test_a_convolutional_encoder_is_its_formula(size):
    encoder, _ = pair((2, *size), (3,), gated=True, layer_norm=True, hidden=())
    encoder.centre.normal_()
    x = torch.randn(2, 2, *size)
    for parameter in encoder.parameters():
        nn.init.normal_(parameter)
    weight, bias, scale, shift, output, output_bias = numpy_of(*encoder.parameters())
    sums = np.stack([convolved(image, weight, bias) for image in (x - encoder.centre).numpy()])
    sums = normalised(sums, scale[:, None, None], shift[:, None, None])
    units = (sums[:, :3] * sigmoid(sums[:, 3:])).reshape(2, -1)
    np.testing.assert_allclose(
        encoder(x).detach().numpy().reshape(2, -1), units @ output.T + output_bias, rtol=1e-9
    )


@pytest.mark.parametrize("size", [(1, 2), (2, 3), (4, 4), (5, 6), (9, 7)])
def test_a_stage_of_the_decoder_is_the_transpose_of_the_encoders(size):
    """<A x, y> = <x, A' y> for all x and y."""
    encoder, decoder = pair((2, *size), (3,))
    stage = encoder.layers[0]
    nn.init.zeros_(stage.bias)
    decoder.output.weight = stage.weight
    x = torch.randn(1, 2, *size)
    forward = stage(x)
    y = torch.randn_like(forward)
    torch.testing.assert_close((forward * y).sum(), (x * decoder.output(y)).sum())


@pytest.mark.parametrize("normalise", [False, True])
def test_a_residual_block_adds_to_what_it_is_given(normalise):
    """He et al. (2016): no activation on the way from stage to sum, one behind it."""
    encoder, _ = pair(residual=True, layer_norm=normalise, filters=(3,), activation="tanh")
    x = torch.randn(4, 2, 5, 6)
    stage, block, *after = encoder.layers[: 4 if normalise else 3]
    maps, (*before, last) = stage(x), block.layers
    branch = nn.Sequential(*before)(maps)
    torch.testing.assert_close(block(maps), maps + last(branch))
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    torch.testing.assert_close(block(maps), maps)
    assert isinstance(before[-1], nn.Tanh) and isinstance(after[-1], nn.Tanh)
    assert not any(isinstance(layer, nn.Tanh) for layer in (stage, last))


def test_moving_the_image_by_two_pixels_moves_the_first_stage_by_one():
    encoder, _ = pair((1, 12, 12), (3,))
    x = torch.zeros(1, 1, 12, 12)
    x[..., 4:8, 4:8] = torch.randn(4, 4)
    stage = encoder.layers[0]
    torch.testing.assert_close(stage(x.roll((2, -2), (2, 3))), stage(x).roll((1, -1), (2, 3)))


@pytest.mark.parametrize("network", [MLP, ConvolutionalEncoder])
def test_the_centre_is_subtracted_from_the_input(network):
    encoder = network((2, 5, 6), (2, 3), hidden=(7,))
    x, centre = torch.randn(4, 2, 5, 6), torch.randn(2, 5, 6)
    without = encoder(x - centre)
    encoder.centre.copy_(centre)
    torch.testing.assert_close(encoder(x), without)
    assert "centre" in encoder.state_dict()


def test_a_context_is_a_constant_plane_for_the_convolutions():
    encoder, _ = pair(context_dim=2)
    wider = ConvolutionalEncoder((4, 5, 6), (2, 3), filters=(3, 4), hidden=(7,))
    encoder.centre.normal_()
    state = encoder.state_dict() | {"centre": torch.cat([encoder.centre, torch.zeros(2, 5, 6)])}
    wider.load_state_dict(state)
    x, context = torch.randn(4, 2, 5, 6), torch.randn(4, 2)
    planes = context.reshape(4, 2, 1, 1) * torch.ones(5, 6)
    torch.testing.assert_close(encoder(x, context), wider(torch.cat([x, planes], 1)))


@pytest.mark.parametrize("kind", ["conv", "residual, all"])
def test_one_graph_holds_a_whole_network(kind):
    encoder, decoder = pair(context_dim=2, **KINDS[kind])
    for network, given in (
        (encoder, (torch.randn(4, 2, 5, 6), torch.randn(4, 2))),
        (decoder, (torch.randn(4, 3),)),
    ):
        whole = torch.compile(network, fullgraph=True, backend="eager")
        torch.testing.assert_close(whole(*given), network(*given))


def counted_fans(layer):
    """What a sum adds up where all is 1, and what comes back to one input."""
    layer = copy.deepcopy(layer)
    nn.init.ones_(layer.weight)
    ones = torch.ones(1, layer.in_channels, 12, 12, requires_grad=True)
    sums = layer(ones)
    (back,) = torch.autograd.grad(sums.sum(), ones)
    return sums[0, 0, sums.shape[2] // 2, sums.shape[3] // 2].item(), back[0, 0, 6, 6].item()


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("name", ["he-normal", "he-uniform", "glorot-normal", "glorot-uniform"])
def test_initial_convolutions_have_the_law_of_their_name(name, gated):
    options = {
        "filters": (32, 64),
        "hidden": (),
        "gated": gated,
        "residual": True,
        "initialisation": name,
    }
    encoder = ConvolutionalEncoder((32, 12, 12), (2, 3), **options)
    decoder = ConvolutionalDecoder((3,), (32, 12, 12), **options)
    # In the order in which they are made: a stage and the two layers of its block, or these two, a stage, these two and
    # the output. With gates, all but the second layer of a block and the output hold two matrices.
    for network, gates in ((encoder, (1, 1, 0, 1, 1, 0)), (decoder, (1, 0, 1, 1, 0, 0))):
        layers = [
            layer
            for layer in network.modules()
            if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d))
        ]
        for layer, has_gates in zip(layers, gates, strict=True):
            axis = int(isinstance(layer, nn.ConvTranspose2d))
            matrices = layer.weight.chunk(1 + (gated and has_gates), axis)
            fan_in, fan_out = counted_fans(layer)
            std = STD[name.partition("-")[0]](fan_in, fan_out / len(matrices))
            for matrix in matrices:
                assert matrix.std().item() == pytest.approx(std, rel=0.03)
            assert layer.bias is None or not layer.bias.any()
    assert not decoder.bias.any()


def test_what_cannot_be_convolved_is_refused():
    for network, shapes in (
        (ConvolutionalEncoder, ((9,), (2, 3))),
        (ConvolutionalDecoder, ((3,), (9,))),
    ):
        with pytest.raises(
            ValueError,
            match=r"needs images, \(channels, height, width\); got .*\(9,\).*`network='mlp'`",
        ):
            network(*shapes)
    for network, shapes in (
        (ConvolutionalEncoder, ((1, 5, 3), (2, 3))),
        (ConvolutionalDecoder, ((3,), (1, 5, 3))),
    ):
        network(*shapes, filters=(2, 2, 2))
        for filters in ((), (2, 2, 2, 2)):
            with pytest.raises(
                ValueError,
                match=r"`filters` must be at least 1 and at most 3 numbers for images of 5 x 3.*got \(",
            ):
                network(*shapes, filters=filters)


# --- in a VAE ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
@pytest.mark.parametrize("network", ["mlp", "conv", "residual"])
def test_a_vae_starts_at_the_mean_of_the_data(network, likelihood):
    data = read("digits")
    config = ModelConfig(network=network, likelihood=likelihood, filters=(4, 4), hidden=(8,))
    vae = build_vae(config, data.schema, moments=data.train.moments())
    mean, variance = data.train.moments()
    torch.testing.assert_close(vae.encoder.centre, mean)
    nn.init.zeros_(vae.decoder.output.weight)
    law, params = vae.decode(torch.randn(4, 10)), vae.likelihood.start_at(mean, variance)
    torch.testing.assert_close(law.mean, vae.likelihood(params.expand(4, *params.shape)).mean)
    assert not build_vae(config, data.schema).encoder.centre.any()


@pytest.mark.parametrize("network", ["conv", "residual"])
def test_a_convolutional_vae_learns_the_digits(network):
    """Better than the best law without latents, which the start is about as good as."""
    torch.set_default_dtype(torch.float32)  # as users have it; convolutions of doubles are slow
    data = read("digits", DataConfig(binarise="threshold"))
    model = ModelConfig(
        likelihood="bernoulli", network=network, filters=(16,), hidden=(64,), latent_dim=5
    )
    vae = build_vae(model, data.schema, moments=data.train.moments())
    without = trivial(vae, data.test, data.train)["nll"]["mean"]
    config = TrainConfig(epochs=12, batch_size=128, learning_rate=5e-3, compile="off")
    losses = [
        row["valid_loss"]
        for row in fit(build_objective(vae, config), data.train, data.valid, config).rows
    ]
    assert losses[0] > without - 1 and losses[-1] < without - 3
