"""A trained VAE's networks as plain lists of steps with plain arrays, for programs that have no torch.

`lower_decoder` and `lower_encoder` give a `Program`. Who runs one holds a batch of examples h, (B, *shape), and applies
the steps in their order. `weight`, `bias`, `value`, `low` and `high` name arrays of `Program.weights`; what else a step
holds is a plain value.

| op | fields | h becomes |
|---|---|---|
| dense | weight (M, N), bias (M) | h W^T + b, (B, N) to (B, M) |
| convolve | weight (M, N, kh, kw), bias (M) or null, stride, padding | its convolution, zeros around it |
| convolve-transposed | weight (N, M, kh, kw), bias (M) or null, stride, padding, output_padding | its transposed one |
| map | function | the function of every number |
| continuous-bernoulli | near, series | 1 / (1 - e^-h) - 1 / h; where abs(h) < near by a polynomial |
| continuous-bernoulli-variance | near, series | 1 / h^2 - 1 / (4 sinh(h / 2)^2); likewise |
| continuous-bernoulli-normaliser | near, series | abs(h) / 2 + log(1 - e^-abs(h)) - log abs(h); likewise |
| product | | a b, where a and b are the halves of h along axis 1 |
| gate | | a sigmoid(b), where a and b are the halves of h along axis 1 |
| normalise | weight, bias, eps | (h - mean) / sqrt(variance + eps) * weight + bias, moments over all but axis 0 |
| add | value | h + value |
| multiply | value | h * value |
| clip | low, high | h, not below low and not above high; NaN stays |
| fill | value | value where h is NaN |
| cast | to | the same numbers as float32 or float64 |
| take | places | the entries h[:, places] of flat examples |
| reshape | shape | the same numbers in the shape (B, *shape) |
| context | | joined along axis 1 with the context; of images with a plane of each of its numbers |
| branches | branches, join | each list of steps applied to h itself, and the results joined, `sum` or `concatenate` |
| levels | of | a value for L: `mean`, `variance`, `likeliest` (of logits), `logistic`, `logistic-variance` (of two), \
`log-sum-exp`, `total` (of any numbers) |

The arrays of add, multiply, clip, fill and normalise have one number, the shape of an example, or one number a channel,
(C, 1, 1). stride, padding and output_padding are pairs, of height and width. A convolution is what torch calls so, a
cross-correlation; its transposed puts weight times each input at every `stride`-th place, adds up where they overlap,
and cuts `padding` off all sides after it added `output_padding` zeros below and on the right. `sum` adds two branches,
`concatenate` joins flat ones along axis 1.

Functions of `map`: relu, tanh, elu (x or e^x - 1), leaky-relu (x or 0.01 x), gelu (x Phi(x)), silu (x sigmoid(x)),
softplus (log(1 + e^x)), sigmoid, exp, log, log1p, log-factorial (log x! of x from 0), square, sqrt, round (halves to
even), step (1 from 0.5, else 0; NaN stays), is-zero (1 or 0), is-missing (1 or 0). The coefficients of `series` begin
with the constant.

`log-sum-exp` is the logarithm of the sum over L of e^h, `total` the sum of h. Else `levels` takes logits (B, L, *s), or
(B, 2, *s): `mean` is the sum over k of k / (L - 1) softmax(h)_k; `likeliest` the place of the largest logit; `logistic`
the sum over k from 1 to L - 1 of a_k = sigmoid((m - k / L) / s), divided by L - 1, where L = `count`, m = sigmoid(h[:,
0]) is kept within `locations` and log s = h[:, 1] within `log_scales`, each a pair of the least and the greatest value.
`variance` is that of k / (L - 1) under softmax(h); `logistic-variance` the sum over k of a_k (b_k + 2 (b_1 + ... +
b_(k-1))) with b_k = sigmoid((k / L - m) / s), divided by (L - 1)^2.
"""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from variform.data.rules import Rule
from variform.data.schema import Schema
from variform.export.tracing import layers_of
from variform.model.features import FilledGaps, LogCounts, TableFeatures
from variform.model.likelihoods import Likelihood, Step
from variform.model.likelihoods.family import at_atoms
from variform.model.networks import (
    ACTIVATIONS,
    MLP,
    ConvolutionalDecoder,
    ConvolutionalEncoder,
    Layers,
    ResidualBlock,
)
from variform.model.posteriors import DiagonalPosterior, FullCovariancePosterior
from variform.model.spaces import CodeSpace, Space, SpaceBeside, space_of
from variform.model.vae import VAE
from variform.system.draws import Dropout

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Program:
    """A network and what stands around it as steps; the module's table says what each does.

    Args:
        in_shape: Shape of one input example.
        context_dim: Numbers per example that it is conditioned on; 0 for none.
        out_shape: Shape of one output example.
        steps: The steps, plain values that JSON holds.
        weights: Arrays by the names that steps use: float32, and float64 where h is.
        in_type: Type of h at the beginning.
        out_type: Type of h at the end.
    """

    in_shape: tuple[int, ...]
    context_dim: int
    out_shape: tuple[int, ...]
    steps: list[Step]
    weights: dict[str, Array]
    in_type: str = "float32"
    out_type: str = "float32"


def lower_decoder(vae: VAE, *, single: bool = False, spread: bool = False) -> Program:
    """From latent points (B, latent_dim) to the mean of p(x|z) in the data's own units, as `exploration.decode` gives.

    With `spread` what comes out is (B, 2 C, ...) of images (C, ...) and (B, 2 D) of rows: the mean and, behind it along
    axis 1, the standard deviation of every value under p(x|z); of categories that of their numbers. The network stands
    once for both.

    Args:
        vae: The model. Its networks may be the user's own if they are made of layers that `networks` uses.
        single: Stay in float32 although the data are so far from zero that it does not tell them apart.
        spread: Give the standard deviation too.

    Raises:
        ValueError: for a layer or a likelihood that there is no step for.

    Example:
        >>> from variform import ModelConfig, build_vae, read
        >>> program = lower_decoder(build_vae(ModelConfig(likelihood="bernoulli"), read("digits").schema))
        >>> [step["op"] for step in program.steps]
        ['dense', 'map', 'dense', 'reshape', 'map', 'multiply']
    """
    decoding = Lowering((vae.latent_dim,))
    _nearest(decoding, space_of(vae))
    if vae.context_dim:
        decoding.context(vae.context_dim)
    lower_network(decoding, vae.decoder)

    def mean(branch: Lowering) -> None:
        branch.follow(steps_of(vae.likelihood, "mean_steps"))
        if vae.schema is not None:
            if any(vae.schema.is_far) and not single:
                branch.cast("float64")
            _restored(branch, vae.schema)

    if spread:
        decoding.concatenate([mean, lambda branch: _spread(branch, vae, single=single)])
    else:
        mean(decoding)
    return Program(
        (vae.latent_dim,),
        vae.context_dim,
        decoding.shape,
        decoding.steps,
        decoding.weights,
        out_type=decoding.type,
    )


def lower_encoder(vae: VAE) -> Program:
    """From raw data (B, *event) to the means and the standard deviations of q(z|x), (B, 2, latent_dim).

    Preprocessing is part of it. Dynamic binarisation is a draw, which no step makes: values then pass scaled to [0, 1],
    and whoever gives 0 and the full scale sees what the model sees.

    Args:
        vae: As of `lower_decoder`.

    Raises:
        ValueError: as `lower_decoder`, and for a posterior whose mean has no formula, as that on a flow.

    Example:
        >>> from variform import ModelConfig, build_vae, read
        >>> program = lower_encoder(build_vae(ModelConfig(latent_dim=2, hidden=(16,)), read("digits").schema))
        >>> program.in_shape, program.out_shape
        ((1, 8, 8), (2, 2))
    """
    in_type = "float64" if vae.schema is not None and any(vae.schema.is_far) else "float32"
    encoding = Lowering(vae.event_shape, type=in_type)
    if vae.schema is not None:
        lower_preparation(encoding, vae.schema)
    if vae.features is not None:
        lower_features(encoding, vae.features)
    lower_network(encoding, vae.encoder, vae.context_dim)
    _moments(encoding, vae.posterior)
    return Program(
        vae.event_shape, vae.context_dim, encoding.shape, encoding.steps, encoding.weights, in_type
    )


@dataclass
class Lowering:
    """Steps so far, and the shape of an example after them; branches share the arrays."""

    shape: tuple[int, ...]
    steps: list[Step] = field(default_factory=list)
    weights: dict[str, Array] = field(default_factory=dict)
    type: str = "float32"

    def step(self, op: str, **fields: Any) -> None:
        """A step of this name."""
        self.steps.append({"op": op, **fields})

    def follow(self, steps: Sequence[Step]) -> None:
        """Steps as a likelihood states them, whose arrays are values and have no names yet."""
        for step in steps:
            fields = dict(step)
            op = fields.pop("op")
            if op not in _OF_LIKELIHOODS:
                raise ValueError(
                    f"a step of a likelihood must be one of {', '.join(_OF_LIKELIHOODS)}; got {op}."
                )
            getattr(self, op.replace("-", "_"))(**fields)

    def array(self, values: Tensor) -> str:
        """The name under which an array is kept."""
        name = f"array{len(self.weights)}"
        dtype = getattr(torch, self.type)
        self.weights[name] = np.ascontiguousarray(values.detach().to("cpu", dtype).numpy())
        return name

    def cast(self, to: str) -> None:
        """The same numbers in another type."""
        if to != self.type:
            self.step("cast", to=to)
            self.type = to

    def map(self, function: str) -> None:
        """A function of every number."""
        self.step("map", function=function)

    def continuous_bernoulli(self, near: float, series: Sequence[float]) -> None:
        """The mean of this law at logits."""
        self.step("continuous-bernoulli", near=near, series=list(series))

    def continuous_bernoulli_variance(self, near: float, series: Sequence[float]) -> None:
        """The variance of this law at logits."""
        self.step("continuous-bernoulli-variance", near=near, series=list(series))

    def add(self, value: Tensor | float) -> None:
        """A sum; no step where the value is 0."""
        value = torch.as_tensor(value)
        if value.any():
            self.step("add", value=self.array(value))

    def multiply(self, value: Tensor | float) -> None:
        """A product; no step where the value is 1."""
        value = torch.as_tensor(value)
        if (value != 1).any():
            self.step("multiply", value=self.array(value))

    def clip(self, low: Tensor | float, high: Tensor | float) -> None:
        """Within two ends."""
        self.step(
            "clip", low=self.array(torch.as_tensor(low)), high=self.array(torch.as_tensor(high))
        )

    def fill(self, value: Tensor | float) -> None:
        """A value where there is none."""
        self.step("fill", value=self.array(torch.as_tensor(value)))

    def dense(self, weight: Tensor, bias: Tensor) -> None:
        """An affine map of flat numbers."""
        self.step("dense", weight=self.array(weight), bias=self.array(bias))
        self.shape = (len(weight),)

    def continuous_bernoulli_normaliser(self, near: float, series: Sequence[float]) -> None:
        """The log-normaliser of this law at logits, less half of them."""
        self.step("continuous-bernoulli-normaliser", near=near, series=list(series))

    def gate(self) -> None:
        """One half times the sigmoid of the other."""
        self._of_halves("gate")

    def product(self) -> None:
        """One half times the other."""
        self._of_halves("product")

    def _of_halves(self, op: str) -> None:
        self.step(op)
        self.shape = (self.shape[0] // 2, *self.shape[1:])

    def take(self, places: Sequence[int]) -> None:
        """Behind a dense layer the weights of what is not taken are left out, and there is no step."""
        is_all = list(places) == list(range(math.prod(self.shape)))
        is_dense = bool(self.steps) and self.steps[-1]["op"] == "dense"
        if is_dense and len(places) < math.prod(self.shape):
            for name in (self.steps[-1]["weight"], self.steps[-1]["bias"]):
                self.weights[name] = np.ascontiguousarray(self.weights[name][list(places)])
        elif not is_all:
            self.step("take", places=list(places))
        self.shape = (len(places),)

    def reshape(self, shape: Sequence[int]) -> None:
        """Of reshapings in a row the last one counts, and flat numbers of a dense layer are flat already."""
        before = self.steps[-2]["op"] if len(self.steps) > 1 else ""
        if tuple(shape) != self.shape and self.steps and self.steps[-1]["op"] == "reshape":
            self.steps.pop()
            if not (before == "dense" and len(shape) == 1):
                self.step("reshape", shape=list(shape))
        elif tuple(shape) != self.shape:
            self.step("reshape", shape=list(shape))
        self.shape = tuple(shape)

    def levels(self, of: str, **constants: Any) -> None:
        """A value for all levels, along the first axis."""
        self.step("levels", of=of, **constants)
        self.shape = self.shape[1:]

    def context(self, context_dim: int) -> None:
        """The context joined to the numbers."""
        self.step("context")
        self.shape = (self.shape[0] + context_dim, *self.shape[1:])

    def branches(self, branches: Sequence[Sequence[Step]], join: str) -> None:
        """Branches of steps as a likelihood states them."""
        makers = [functools.partial(Lowering.follow, steps=steps) for steps in branches]
        join_by = {"concatenate": self.concatenate, "sum": self.sum}
        if join not in join_by:
            raise ValueError(f"branches must be joined by {' or '.join(join_by)}; got {join}.")
        join_by[join](makers)

    def concatenate(self, makers: Sequence[Callable[["Lowering"], None]]) -> None:
        """Branches that each maker fills, end to end."""
        branches = self._branches(makers, "concatenate")
        self.shape = (sum(branch.shape[0] for branch in branches), *branches[0].shape[1:])

    def sum(self, makers: Sequence[Callable[["Lowering"], None]]) -> None:
        """Branches that each maker fills, number by number."""
        self.shape = self._branches(makers, "sum")[0].shape

    def _branches(
        self, makers: Sequence[Callable[["Lowering"], None]], join: str
    ) -> list["Lowering"]:
        branches = [Lowering(self.shape, weights=self.weights, type=self.type) for _ in makers]
        for maker, branch in zip(makers, branches, strict=True):
            maker(branch)
        self.step("branches", branches=[branch.steps for branch in branches], join=join)
        self.type = branches[0].type
        return branches

    def on_columns(
        self, groups: Sequence[tuple[Sequence[int], Callable[["Lowering"], None]]]
    ) -> None:
        """Groups of columns that each go their own way and come back to their places."""
        groups = [(places, maker) for places, maker in groups if places]

        def taking(
            places: Sequence[int], maker: Callable[["Lowering"], None]
        ) -> Callable[["Lowering"], None]:
            def make(branch: "Lowering") -> None:
                branch.take(places)
                maker(branch)

            return make

        self.concatenate([taking(places, maker) for places, maker in groups])
        self.take(np.argsort([column for places, _ in groups for column in places]).tolist())


_OF_LIKELIHOODS = (
    "dense",
    "gate",
    "map",
    "add",
    "multiply",
    "product",
    "clip",
    "take",
    "reshape",
    "continuous-bernoulli",
    "continuous-bernoulli-variance",
    "continuous-bernoulli-normaliser",
    "levels",
    "branches",
)
"""Steps of a likelihood: each has a method of `Lowering`."""


# ---- networks


def _nearest(decoding: Lowering, space: Space) -> None:
    """The nearest point of the space: of codes the decoder knows no others."""
    if isinstance(space, SpaceBeside):
        flat, whole = range(space.flat), range(space.flat, decoding.shape[0])

        def coded(branch: Lowering) -> None:
            branch.take(whole)
            _nearest(branch, space.codes)

        decoding.concatenate([lambda branch: branch.take(flat), coded])
    elif isinstance(space, CodeSpace):
        _nearest_codes(decoding, space)


def _nearest_codes(decoding: Lowering, space: CodeSpace) -> None:
    """The number of the value whose place is nearest, for each code; and from it a one-hot block, or the place."""
    codes, dim = space.codes, decoding.shape[0]
    width = dim // codes
    places = torch.eye(width) if space.places is None else space.places.double()
    places = places.expand(codes, *places.shape[-2:])  # (C, V, E)
    values = places.shape[1]
    which = torch.eye(codes)
    # Twice the product with each place, less its square: the greatest is nearest. Value by value, then code by code.
    near = 2 * torch.einsum("cve,cd->vcde", places.double(), which.double())
    decoding.dense(near.reshape(values * codes, dim), -places.square().sum(-1).T.flatten())
    decoding.reshape((values, codes))
    decoding.levels("likeliest")
    number = -torch.arange(values, dtype=torch.float64).repeat(codes)
    decoding.dense(which.repeat_interleave(values, 0), number)
    decoding.map("is-zero")
    if space.places is not None:
        back = torch.einsum("cve,cd->cedv", places.double(), which.double())
        decoding.dense(back.reshape(dim, codes * values), torch.zeros(dim))


def lower_network(lowering: Lowering, network: nn.Module, context_dim: int = 0) -> None:
    """An encoder with its second input, or any network of known layers."""
    if isinstance(network, MLP | ConvolutionalEncoder):
        lowering.add(-network.centre)
        if isinstance(network, MLP):
            lowering.reshape((math.prod(lowering.shape),))
    elif context_dim:
        raise ValueError(no_step_for(network))
    if context_dim:
        lowering.context(context_dim)
    _layers(lowering, network)


def _layers(lowering: Lowering, layer: nn.Module) -> None:
    """The steps of one layer, or of those that it is made of."""
    if type(layer) not in _KNOWN:
        _own_layers(lowering, layer)
        return
    if not _fits(layer, lowering.shape):
        raise ValueError(no_step_for(layer))
    if isinstance(layer, nn.Linear):
        lowering.dense(
            layer.weight, torch.zeros(layer.out_features) if layer.bias is None else layer.bias
        )
    elif isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
        _convolution(lowering, layer)
    elif isinstance(layer, nn.GLU):
        lowering.gate()
    elif isinstance(layer, nn.LayerNorm):
        _normalisation(lowering, layer, lowering.shape)
    elif isinstance(layer, nn.GroupNorm):
        _normalisation(lowering, layer, (layer.num_channels, *[1] * (len(lowering.shape) - 1)))
    elif isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
        _batch_normalisation(lowering, layer)
    elif isinstance(layer, nn.Flatten):
        lowering.reshape((math.prod(lowering.shape),))
    elif isinstance(layer, nn.Unflatten):
        lowering.reshape((*torch.Size(layer.unflattened_size), *lowering.shape[1:]))
    elif isinstance(layer, ResidualBlock):
        block = Lowering(lowering.shape, weights=lowering.weights)
        _layers(block, layer.layers)
        lowering.step("branches", branches=[[], block.steps], join="sum")
    elif isinstance(layer, nn.Sequential):
        for part in layer:
            _layers(lowering, part)
    elif isinstance(layer, MLP | ConvolutionalEncoder):
        _layers(lowering, layer.layers)
        _layers(lowering, layer.output)
        lowering.reshape(layer.out_shape)
    elif isinstance(layer, ConvolutionalDecoder):
        _layers(lowering, layer.layers)
        _layers(lowering, layer.output)
        lowering.reshape(layer.bias.shape)
        lowering.add(layer.bias)
    elif type(layer) in _ACTIVATIONS:
        lowering.map(_ACTIVATIONS[type(layer)])


def _own_layers(lowering: Lowering, network: nn.Module) -> None:
    """The steps of a module of the user's own, whose `forward` applies layers one after another."""
    layers = layers_of(network, _KNOWN, lowering.shape)
    if layers is None:
        raise ValueError(no_step_for(network))
    for layer in layers:
        _layers(lowering, layer)


_ACTIVATIONS = {kind: name for name, kind in ACTIVATIONS.items()}
_KNOWN: set[type[nn.Module]] = {
    MLP,
    ConvolutionalEncoder,
    ConvolutionalDecoder,
    ResidualBlock,
    Dropout,
    nn.Linear,
    nn.Conv2d,
    nn.ConvTranspose2d,
    nn.GLU,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.Flatten,
    nn.Unflatten,
    nn.Sequential,
    Layers,
    nn.Dropout,
    nn.Identity,
    *_ACTIVATIONS,
}


def _fits(layer: nn.Module, shape: tuple[int, ...]) -> bool:
    """Whether a layer has the options for which there is a step: those of a user's own network may have others."""
    if isinstance(layer, nn.Linear):
        return len(shape) == 1
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
        is_plain = (
            layer.groups == 1 and set(layer.dilation) == {1} and layer.padding_mode == "zeros"
        )
        return is_plain and not isinstance(layer.padding, str)
    if isinstance(layer, nn.GLU):
        return layer.dim == 1
    if isinstance(layer, nn.LayerNorm):
        return tuple(layer.normalized_shape) == shape
    if isinstance(layer, nn.GroupNorm):
        return layer.num_groups == 1
    if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
        axes = 1 if isinstance(layer, nn.BatchNorm1d) else 3
        return layer.running_mean is not None and len(shape) == axes
    if isinstance(layer, nn.Flatten):
        return (layer.start_dim, layer.end_dim) == (1, -1)
    if isinstance(layer, nn.Unflatten):
        return layer.dim == 1
    if type(layer) in _ACTIVATIONS:
        options = ("alpha", "negative_slope", "approximate", "beta", "threshold")
        default = type(layer)()
        return all(getattr(layer, name, None) == getattr(default, name, None) for name in options)
    return True


def _convolution(lowering: Lowering, layer: nn.Conv2d | nn.ConvTranspose2d) -> None:
    fields: Step = {
        "weight": lowering.array(layer.weight),
        "bias": None if layer.bias is None else lowering.array(layer.bias),
        "stride": list(layer.stride),
        "padding": list(layer.padding),
    }
    sides = zip(lowering.shape[1:], layer.kernel_size, layer.stride, layer.padding, strict=True)
    if isinstance(layer, nn.ConvTranspose2d):
        more = [int(number) for number in layer.output_padding]
        lowering.step("convolve-transposed", **fields, output_padding=more)
        sizes = [
            (side - 1) * stride - 2 * int(padding) + kernel + extra
            for (side, kernel, stride, padding), extra in zip(sides, more, strict=True)
        ]
    else:
        lowering.step("convolve", **fields)
        sizes = [
            (side + 2 * int(padding) - kernel) // stride + 1
            for side, kernel, stride, padding in sides
        ]
    lowering.shape = (layer.out_channels, *sizes)


def _normalisation(
    lowering: Lowering, layer: nn.LayerNorm | nn.GroupNorm, shape: tuple[int, ...]
) -> None:
    weight = torch.ones(shape) if layer.weight is None else layer.weight.reshape(shape)
    bias = torch.zeros(shape) if layer.bias is None else layer.bias.reshape(shape)
    lowering.step(
        "normalise", weight=lowering.array(weight), bias=lowering.array(bias), eps=layer.eps
    )


def _batch_normalisation(lowering: Lowering, layer: nn.BatchNorm1d | nn.BatchNorm2d) -> None:
    """What it does after training, by the means and variances of the training."""
    mean, variance = layer.running_mean, layer.running_var
    assert mean is not None and variance is not None  # as `_fits` says
    scale = (variance.double() + layer.eps).rsqrt()
    if layer.weight is not None:
        scale = scale * layer.weight
    shift = -mean * scale
    if layer.bias is not None:
        shift = shift + layer.bias
    shape = (-1, *[1] * (len(lowering.shape) - 1))
    lowering.multiply(scale.reshape(shape))
    lowering.add(shift.reshape(shape))


def no_step_for(part: nn.Module) -> str:
    """What is said of a part without steps."""
    name = str(part).splitlines()[0].removesuffix("(")  # a module of modules prints many lines
    return (
        f"what leaves torch must be made of parts that have steps; there is no step for {name}. Use the model in "
        "Python, serve it with variform serve, or build it from other parts."
    )


# ---- the decoder's end


def steps_of(likelihood: Likelihood, fact: str) -> list[Step]:
    """What a likelihood says; a class with a law of its own must say it itself, and does not inherit the steps."""
    methods = {"forward", fact}
    own = next(kind for kind in type(likelihood).__mro__ if methods & vars(kind).keys())
    steps = getattr(likelihood, fact)() if fact in vars(own) else None
    if steps is None:
        raise ValueError(no_step_for(likelihood))
    return steps


def knows_spread(vae: VAE) -> bool:
    """Whether the likelihood states the steps of its standard deviation, which one of the user's own need not.

    Args:
        vae: The model.
    """
    try:
        steps_of(vae.likelihood, "spread_steps")
    except ValueError:
        return False
    return True


def _spread(branch: Lowering, vae: VAE, *, single: bool) -> None:
    """The standard deviation of every value under p(x|z), in the data's own units."""
    branch.follow(steps_of(vae.likelihood, "spread_steps"))
    if vae.schema is not None:
        if any(vae.schema.is_far) and not single:
            branch.cast("float64")
        branch.multiply(_affine(vae.schema)[1])


def _affine(schema: Schema) -> tuple[Tensor, Tensor]:
    """Shift and scale: of each value of a row where channels have their own, else as the schema has them."""
    values = (schema.shift, schema.scale)
    if schema.kind == "image" and len(schema.scale) > 1:
        shift, scale = map(schema.per_value, values)
        return shift, scale
    shift, scale = torch.tensor(values, dtype=torch.float64)
    return shift, scale


def _restored(decoding: Lowering, schema: Schema) -> None:
    """To the data's own units; in a mixed table also to what its columns can hold."""
    shift, scale = _affine(schema)
    decoding.multiply(scale)
    decoding.add(shift)
    if not schema.kinds:
        return
    whole = [column for column, is_whole in enumerate(schema.whole) if is_whole]
    others = [column for column, is_whole in enumerate(schema.whole) if not is_whole]
    if whole and others:
        decoding.on_columns(
            [(whole, lambda branch: branch.map("round")), (others, lambda branch: None)]
        )
    elif whole:
        decoding.map("round")
    decoding.clip(*schema.ends.T)
    if schema.rules:
        _inactive_cells(decoding, schema)


def _inactive_cells(decoding: Lowering, schema: Schema) -> None:
    """What inactive cells hold: the value of their rule, or NaN where they are empty."""
    values = torch.zeros(len(schema.columns), dtype=torch.float64)
    for rule in schema.rules:
        values[rule.column] = rule.value or 0.0
    emptying = tuple(rule for rule in schema.rules if rule.value is None)
    filling = tuple(rule for rule in schema.rules if rule.value is not None)

    def switches(branch: Lowering) -> None:
        """A thousand where a cell is active, and minus a thousand elsewhere: a sigmoid of it is 1 or 0."""
        _activity(branch, filling)
        branch.add(-0.5)
        branch.multiply(2000.0)

    if filling:
        decoding.concatenate([lambda branch: branch.add(-values), switches])
        decoding.gate()
        decoding.add(values)
    if emptying:
        _without_inactive(decoding, emptying)


def _without_inactive(lowering: Lowering, rules: Sequence[Rule]) -> None:
    """NaN, the root of -1, where a cell is inactive."""
    missing = Lowering(lowering.shape, weights=lowering.weights)
    _activity(missing, rules)
    missing.add(-1.0)
    missing.map("sqrt")
    lowering.step("branches", branches=[[], missing.steps], join="sum")


def _activity(branch: Lowering, rules: Sequence[Rule]) -> None:
    """From raw rows to 1 where a cell is active and 0 elsewhere, as `Rule.is_inactive` says."""
    (columns,) = branch.shape
    flags = [rule.flag for rule in rules for _ in rule.active]
    values = [value for rule in rules for value in rule.active]
    ruled = [rule.column for rule in rules for _ in rule.active] + [rule.column for rule in rules]
    belongs = torch.arange(columns)[:, None] == torch.tensor(ruled)

    def has_value(own: Lowering) -> None:
        own.take(flags)
        own.add(-torch.tensor(values, dtype=torch.float64))
        own.map("is-zero")

    def is_unknown(own: Lowering) -> None:
        own.take([rule.flag for rule in rules])
        own.map("is-missing")

    branch.concatenate([has_value, is_unknown])
    branch.dense(belongs.double(), (~belongs.any(1)).double())


# ---- the encoder's two ends


def lower_preparation(encoding: Lowering, schema: Schema) -> None:
    """What the model sees of raw values."""
    if schema.rules:
        _without_inactive(encoding, schema.rules)
    shift, scale = _affine(schema)
    encoding.add(-shift)
    encoding.multiply(1 / scale)
    encoding.cast("float32")
    if schema.binarise == "threshold":
        encoding.map("step")


def lower_features(encoding: Lowering, features: FilledGaps | LogCounts | TableFeatures) -> None:
    """What the encoder sees of rows with gaps, of counts and of mixed tables."""
    if isinstance(features, FilledGaps):
        encoding.fill(features.centre)
        return
    if isinstance(features, LogCounts):
        _logarithms(encoding)
        encoding.add(-features.centre)
        encoding.multiply(1 / features.spread)
        encoding.fill(0.0)
        return
    makers: list[Callable[[Lowering], None]] = []
    if len(features.numbers):
        makers.append(lambda branch: _numbers(branch, features))
    if len(features.units):
        makers.append(lambda branch: _indicators(branch, features))
    if len(features.spiked):
        makers.append(lambda branch: _spikes(branch, features))
    if len(features.gappy):
        makers.append(lambda branch: _gaps(branch, features))
    encoding.concatenate(makers)


def _logarithms(branch: Lowering) -> None:
    branch.clip(0.0, math.inf)
    branch.map("log1p")


def _numbers(branch: Lowering, features: TableFeatures) -> None:
    branch.take(features.numbers.tolist())
    counts = features.counts.nonzero().flatten().tolist()
    positives = features.positives.nonzero().flatten().tolist()
    is_plain = ~(features.counts | features.positives)
    others = is_plain.nonzero().flatten().tolist()
    if counts or positives:
        branch.on_columns(
            [
                (counts, _logarithms),
                (positives, lambda above: _logarithms_above(above, features.LEAST)),
                (others, lambda plain: None),
            ]
        )
    branch.add(-features.centre)
    branch.multiply(1 / features.spread)
    branch.fill(0.0)


def _indicators(branch: Lowering, features: TableFeatures) -> None:
    branch.take(features.units.tolist())
    branch.add(-features.codes)
    branch.map("is-zero")


def _logarithms_above(branch: Lowering, least: float) -> None:
    """Of numbers of which most are above 1: log x = log(1 + (x - 1))."""
    branch.clip(least, math.inf)
    branch.add(-1.0)
    branch.map("log1p")


def _spikes(branch: Lowering, features: TableFeatures) -> None:
    """1 where a number is a spike."""
    branch.follow(at_atoms(features.spiked.tolist(), features.spikes, features.width))


def _gaps(branch: Lowering, features: TableFeatures) -> None:
    branch.take(features.gappy.tolist())
    branch.map("is-missing")


def _moments(encoding: Lowering, posterior: nn.Module) -> None:
    """Mean and standard deviation, (2, latent_dim), from the encoder's output."""
    if not isinstance(posterior, DiagonalPosterior | FullCovariancePosterior):
        raise ValueError(no_step_for(posterior))
    dim, size = posterior.latent_dim, math.prod(posterior.params_shape)
    encoding.reshape((size,))

    def means(branch: Lowering) -> None:
        branch.take(range(dim))

    def stds(branch: Lowering) -> None:
        branch.take(range(dim, 2 * dim))
        if posterior.std == "exp":
            branch.multiply(torch.tensor([0.5]))
        branch.map("exp" if posterior.std == "exp" else "softplus")

    def stds_of_rows(branch: Lowering) -> None:
        """The variance of a dimension is the sum of squares of its row of A, or of R A."""
        diagonal, below = torch.arange(dim), torch.tril_indices(dim, dim, -1)
        rows, columns = torch.cat([torch.stack([diagonal, diagonal]), below], 1)
        branch.concatenate([stds, lambda rest: rest.take(range(2 * dim, size))])
        turn = getattr(posterior, "turn", None)
        if turn is not None:
            turned = turn.double()[:, rows][:, None] * (diagonal[:, None] == columns)
            branch.dense(turned.flatten(0, 1), torch.zeros(dim * dim))
            rows = diagonal.repeat_interleave(dim)
        branch.map("square")
        branch.dense((diagonal[:, None] == rows).double(), torch.zeros(dim))
        branch.map("sqrt")

    encoding.concatenate(
        [means, stds if isinstance(posterior, DiagonalPosterior) else stds_of_rows]
    )
    encoding.reshape((2, dim))
