"""A list of steps, run by a few lines of NumPy, computes what torch computes."""

import json
import math

import models
import numpy as np
import pytest
import torch
from scipy import special

from variform.data.reading import dataset_from
from variform.evaluation import exploration
from variform.export.lowering import lower_decoder, lower_encoder
from variform.model.vae import evaluating

FUNCTIONS = {
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "elu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "leaky-relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "gelu": lambda x: x * special.ndtr(x),
    "silu": lambda x: x * special.expit(x),
    "softplus": lambda x: np.logaddexp(x, 0),
    "sigmoid": special.expit,
    "exp": np.exp,
    "log": lambda x: np.log(x, where=x > 0, out=np.full_like(x, -np.inf)),
    "log1p": np.log1p,
    "log-factorial": lambda x: special.gammaln(x + 1),
    "square": np.square,
    "sqrt": lambda x: np.sqrt(x, where=x >= 0, out=np.full_like(x, np.nan)),
    "round": np.rint,
    "step": lambda x: np.where(np.isnan(x), x, x >= 0.5),
    "is-zero": lambda x: (x == 0) * 1.0,
    "is-missing": lambda x: np.isnan(x) * 1.0,
}


def run(program, h, context=None):
    """The program on a batch, in double precision."""
    context = np.zeros((len(h), 0)) if context is None else context
    assert h.shape[1:] == program.in_shape and context.shape == (len(h), program.context_dim)
    steps = json.loads(json.dumps(program.steps, allow_nan=False))
    arrays = {name: value.astype(np.float64) for name, value in program.weights.items()}
    return applied(steps, arrays, h, context).reshape(len(h), *program.out_shape)


def applied(steps, arrays, h, context):
    for step in steps:
        h = OPS[step["op"]](step, arrays, h, context)
    return h


def convolved(step, arrays, h, context):
    """Tap by tap."""
    weight, (tall, wide), (down, right) = arrays[step["weight"]], step["stride"], step["padding"]
    h = np.pad(h, ((0, 0), (0, 0), (down, down), (right, right)))
    height, width = (
        (h.shape[2 + i] - weight.shape[2 + i]) // step["stride"][i] + 1 for i in (0, 1)
    )
    out = np.zeros((len(h), len(weight), height, width))
    for row, column in np.ndindex(*weight.shape[2:]):
        seen = h[:, :, row : row + tall * height : tall, column : column + wide * width : wide]
        out += np.einsum("bnij,mn->bmij", seen[:, :, :height, :width], weight[:, :, row, column])
    return out + (0 if step["bias"] is None else arrays[step["bias"]][:, None, None])


def convolved_back(step, arrays, h, context):
    """Each input adds its taps to the output, whose edges the padding then cuts off."""
    weight, (tall, wide) = arrays[step["weight"]], step["stride"]
    full = [
        (h.shape[2 + i] - 1) * step["stride"][i] + weight.shape[2 + i] + step["output_padding"][i]
        for i in (0, 1)
    ]
    out = np.zeros((len(h), weight.shape[1], *full))
    for row, column in np.ndindex(*weight.shape[2:]):
        rows, columns = (
            slice(row, row + tall * h.shape[2], tall),
            slice(column, column + wide * h.shape[3], wide),
        )
        out[:, :, rows, columns] += np.einsum("bnij,nm->bmij", h, weight[:, :, row, column])
    down, right = step["padding"]
    out = out[:, :, down : full[0] - down, right : full[1] - right]
    return out + (0 if step["bias"] is None else arrays[step["bias"]][:, None, None])


def gated(step, arrays, h, context):
    first, second = np.split(h, 2, axis=1)
    return first * special.expit(second)


def normalised(step, arrays, h, context):
    axes = tuple(range(1, h.ndim))
    centred = (h - h.mean(axes, keepdims=True)) / np.sqrt(h.var(axes, keepdims=True) + step["eps"])
    return centred * arrays[step["weight"]] + arrays[step["bias"]]


def joined(step, arrays, h, context):
    planes = context.reshape(*context.shape, *[1] * (h.ndim - 2))
    return np.concatenate([h, np.broadcast_to(planes, (*context.shape, *h.shape[2:]))], 1)


def branched(step, arrays, h, context):
    parts = [applied(steps, arrays, h, context) for steps in step["branches"]]
    return sum(parts) if step["join"] == "sum" else np.concatenate(parts, 1)


def value_of_levels(step, arrays, h, context):
    if step["of"] == "likeliest":
        return h.argmax(1)
    if step["of"] in ("total", "log-sum-exp"):
        return {"total": np.sum, "log-sum-exp": special.logsumexp}[step["of"]](h, 1)
    levels = np.linspace(0, 1, h.shape[1])
    share = np.moveaxis(special.softmax(h, 1), 1, -1)
    if step["of"] == "mean":
        return share @ levels
    if step["of"] == "variance":
        return share @ levels**2 - (share @ levels) ** 2
    count = step["count"]
    middle, scale = (
        special.expit(h[:, 0]).clip(*step["locations"]),
        np.exp(h[:, 1].clip(*step["log_scales"])),
    )
    above = [special.expit((middle - k / count) / scale) for k in range(1, count)]
    mean = sum(above) / (count - 1)
    if step["of"] == "logistic":
        return mean
    squares = sum((2 * k - 1) * share for k, share in enumerate(above, 1))
    return squares / (count - 1) ** 2 - mean**2


def variance_of_continuous_bernoulli(step, arrays, h, context):
    series = np.polyval(step["series"][::-1], h)
    return np.where(np.abs(h) < step["near"], series, h**-2.0 - 1 / (4 * np.sinh(h / 2) ** 2))


def normaliser_of_continuous_bernoulli(step, arrays, h, context):
    series = np.polyval(step["series"][::-1], h)
    return np.where(np.abs(h) < step["near"], series, np.log(np.sinh(h / 2) / (h / 2)))


def continuous_bernoulli(step, arrays, h, context):
    series = sum(coefficient * h**power for power, coefficient in enumerate(step["series"]))
    return np.where(np.abs(h) < step["near"], series, 1 / (1 - np.exp(-h)) - 1 / h)


OPS = {
    "dense": lambda step, arrays, h, _: h @ arrays[step["weight"]].T + arrays[step["bias"]],
    "convolve": convolved,
    "convolve-transposed": convolved_back,
    "map": lambda step, arrays, h, _: FUNCTIONS[step["function"]](h),
    "continuous-bernoulli": continuous_bernoulli,
    "continuous-bernoulli-variance": variance_of_continuous_bernoulli,
    "continuous-bernoulli-normaliser": normaliser_of_continuous_bernoulli,
    "product": lambda step, arrays, h, _: np.multiply(*np.split(h, 2, 1)),
    "gate": gated,
    "normalise": normalised,
    "add": lambda step, arrays, h, _: h + arrays[step["value"]],
    "multiply": lambda step, arrays, h, _: h * arrays[step["value"]],
    "clip": lambda step, arrays, h, _: np.clip(h, arrays[step["low"]], arrays[step["high"]]),
    "fill": lambda step, arrays, h, _: np.where(np.isnan(h), arrays[step["value"]], h),
    "cast": lambda step, arrays, h, _: h.astype(step["to"]),
    "take": lambda step, arrays, h, _: h[:, step["places"]],
    "reshape": lambda step, arrays, h, _: h.reshape(len(h), *step["shape"]),
    "context": joined,
    "branches": branched,
    "levels": value_of_levels,
}


@pytest.fixture(params=models.NAMES)
def trained(request, tmp_path):
    data = models.data_of(request.param, tmp_path)
    return models.model_of(request.param, data), data


def test_a_lowered_decoder_gives_the_means_in_the_data_s_own_units(trained):
    vae, data = trained
    generator = np.random.default_rng(3)
    z, contexts = 2 * generator.normal(size=(40, vae.latent_dim)), data.test.contexts
    context = (
        None
        if contexts is None
        else contexts[torch.from_numpy(generator.integers(0, len(contexts), 40))]
    )
    expected = exploration.decode(vae, z, context=context)
    answer = run(
        lower_decoder(vae), z, None if context is None else context.numpy().astype(np.float64)
    )
    assert answer.shape == expected.shape
    close(answer, expected, data.schema)


@pytest.mark.filterwarnings("ignore:invalid value encountered")
def test_a_lowered_encoder_gives_means_and_standard_deviations(trained):
    vae, data = trained
    rows = data.test.take(torch.arange(min(40, len(data.test))))
    context = None if rows.contexts is None else rows.contexts.numpy().astype(np.float64)
    raw = torch.cat(list(rows.raw_batches(len(rows)))).numpy().astype(np.float64)
    answer, expected = run(lower_encoder(vae), raw, context), exploration.encode(vae, rows)
    assert np.allclose(answer[:, 0], expected[0], rtol=1e-4, atol=1e-4)
    assert np.allclose(answer[:, 1], expected[1], rtol=1e-4, atol=1e-4)


def close(answer, expected, schema):
    """Within 1e-5 of the range of every column and float32's precision; a whole number may have been on an edge."""
    axes = tuple(range(expected.ndim)) if schema.kind == "image" else 0
    is_empty = np.isnan(expected)
    assert np.isnan(answer[is_empty]).all()
    answer, expected = np.where(is_empty, 0.0, answer), np.where(is_empty, 0.0, expected)
    allowed = 1e-5 * np.ptp(expected, axis=axes) + 2.0**-23 * np.abs(expected).max(axes)
    assert np.mean(np.abs(answer - expected) <= allowed) > 0.995


def test_a_lowered_decoder_gives_the_standard_deviations_of_its_law(trained):
    """As torch's law has them, in the data's own units; beside the same means as without them."""
    vae, data = trained
    generator = np.random.default_rng(3)
    z, contexts = 2 * generator.normal(size=(40, vae.latent_dim)), data.test.contexts
    context = None
    if contexts is not None:
        context = contexts[torch.from_numpy(generator.integers(0, len(contexts), 40))]
    given = None if context is None else context.numpy().astype(np.float64)
    program = lower_decoder(vae, spread=True)
    mean, std = np.split(run(program, z, given), 2, 1)
    assert np.array_equal(mean, run(lower_decoder(vae), z, given), equal_nan=True)
    with evaluating(vae), torch.no_grad():
        points = vae.like(torch.from_numpy(z))
        law = vae.decode(points, None if context is None else vae.like(context))
        expected = law.stddev * data.schema.per_value(data.schema.scale)
    assert std.shape == expected.shape
    close(std, expected.numpy(), data.schema)


def test_the_weights_of_a_variance_are_left_out_of_a_decoder(tmp_path):
    data = models.data_of("gaussian", tmp_path)
    sizes = [
        sum(array.size for array in lower_decoder(models.model_of(name, data)).weights.values())
        for name in ("gaussian", "gaussian-identity")
    ]
    assert sizes[0] == sizes[1]


def test_what_has_no_step_is_refused(tmp_path):
    data = models.data_of("bernoulli", tmp_path)
    vae = models.model_of("bernoulli", data)
    vae.decoder = torch.nn.Sequential(
        torch.nn.Linear(3, 64), torch.nn.Hardtanh(), torch.nn.Unflatten(1, (1, 8, 8))
    )
    with pytest.raises(ValueError, match=r"no step for Hardtanh.*Use the model in Python"):
        lower_decoder(vae)
    with pytest.raises(ValueError, match="no step for IAFPosterior"):
        lower_encoder(models.model_of("bernoulli", data, posterior="iaf"))


def test_a_network_of_the_user_s_own_is_lowered_if_its_layers_are_known(tmp_path):
    vae = models.model_of("bernoulli", models.data_of("bernoulli", tmp_path))
    layers = [
        torch.nn.Linear(3, 9, bias=False),
        torch.nn.Dropout(0.5),
        torch.nn.LeakyReLU(0.01),
        torch.nn.Linear(9, 64),
    ]
    vae.decoder = torch.nn.Sequential(*layers, torch.nn.Unflatten(1, (1, 8, 8))).double()
    z = np.random.default_rng(0).normal(size=(5, 3))
    assert np.allclose(run(lower_decoder(vae), z), exploration.decode(vae, z), atol=1e-5)
    layers[2].negative_slope = 0.2
    with pytest.raises(ValueError, match="no step for LeakyReLU"):
        lower_decoder(vae)


def test_a_model_without_a_schema_stays_in_its_own_units():
    data = dataset_from(torch.rand(20, 4))
    vae = models.build_vae(
        models.ModelConfig(latent_dim=2, likelihood="gaussian-shared"), data.schema
    ).double()
    vae.schema = None
    program = lower_decoder(vae)
    z = np.ones((1, 2))
    assert np.allclose(
        run(program, z), vae.decode(torch.ones(1, 2)).mean.detach().numpy(), atol=1e-5
    )
    assert math.prod(program.out_shape) == 4
