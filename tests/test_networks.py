"""Networks against their formulas, computed again with NumPy."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from variform.networks import INITIALISATIONS, MLP


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
    network = MLP((2, 3), (2, 2), hidden=(5,), gated=True, activation="relu").double()
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
    network = MLP((3,), (2,), hidden=(4,), gated=gated, layer_norm=True, activation="tanh").double()
    for parameter in network.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(6, 3)
    weight, bias, scale, shift, output, output_bias = numpy_of(*network.parameters())
    sums = normalised(x.numpy() @ weight.T + bias, scale, shift)
    units = sums[:, :4] * sigmoid(sums[:, 4:]) if gated else np.tanh(sums)
    np.testing.assert_allclose(network(x).detach().numpy(), units @ output.T + output_bias, rtol=1e-12)


def test_a_context_is_concatenated_to_the_input():
    network = MLP((2, 2), (3,), hidden=(), context_dim=2)
    network.centre.fill_(0.5)  # of x alone
    x, context = torch.randn(5, 2, 2), torch.randn(5, 2)
    whole = torch.cat([x.flatten(1) - 0.5, context], 1)
    torch.testing.assert_close(network(x, context), nn.functional.linear(whole, *network.output.parameters()))


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
    matrices = [(matrix, 300, 400) for matrix in first.weight.split(400)] + [(output.weight, 400, 200)]
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
    with pytest.raises(ValueError, match=r"activation must be one of relu, .*; got reul"):
        MLP((2,), (2,), activation="reul")
    with pytest.raises(ValueError, match=r"initialisation must be one of torch, .*; got xavier"):
        MLP((2,), (2,), initialisation="xavier")
