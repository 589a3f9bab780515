"""Networks: multilayer perceptrons, convolutions and residual blocks, between tensors of given shapes."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from variform.config.checks import checked
from variform.config.choices import ActivationName, InitialisationName
from variform.system.draws import Dropout

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "elu": nn.ELU,
    "leaky-relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "sigmoid": nn.Sigmoid,
}


INITIALISATIONS = (
    "torch",
    "he-normal",
    "he-uniform",
    "glorot-normal",
    "glorot-uniform",
    "orthogonal",
)

Layer = TypeVar("Layer", nn.Linear, nn.Conv2d, nn.ConvTranspose2d)


class Layers(nn.Sequential):
    """Layers one after another; with `recompute`, training keeps the inputs of a few and finds the others again.

    Of n layers about the square root of n are kept, and each is computed twice, with the same draws: the gradient has
    the same bits.

    Reference:
        Chen et al. (2016), Training deep nets with sublinear memory cost.

    Example:
        >>> Layers(nn.Linear(2, 3), nn.ReLU())(torch.zeros(5, 2)).shape
        torch.Size([5, 3])
    """

    recompute = False

    def forward(self, input: Tensor) -> Tensor:
        """What the last layer gives."""
        if not (self.recompute and self.training and torch.is_grad_enabled()):
            return super().forward(input)
        from torch.utils.checkpoint import checkpoint  # slow to import

        layers = list(self)
        length = max(1, round(math.sqrt(len(layers))))
        h = input
        for start in range(0, len(layers), length):
            segment = nn.Sequential(*layers[start : start + length])
            h = checkpoint(segment, h, use_reentrant=False)
        return h


class MLP(nn.Module):
    r"""Multilayer perceptron between tensors of any shape.

    A hidden layer is $\phi(W h + b)$, or with `gated` $(W h + b) \odot \sigma(V h + c)$, which needs no activation.
    Without hidden layers the network is one affine map.

    Args:
        in_shape: Shape of one input example.
        out_shape: Shape of one output example.
        hidden: Widths of the hidden layers.
        activation: A key of `ACTIVATIONS`, applied after every hidden layer.
        gated: Whether each hidden unit is multiplied by a gate between 0 and 1 instead of the activation.
        dropout: Probability with which a hidden unit is zeroed in training.
        layer_norm: Whether a layer's sums are normalised over its units, before the activation or the gates.
        initialisation: One of `INITIALISATIONS`: "torch" leaves what torch draws; the others draw the weights of every
            layer, gates of their own, and set the biases to 0. He: variance 2 / fan-in; Glorot: 2 / (fan-in + fan-out).
        context_dim: Width of a second input, which is joined to the flattened first.

    Its buffer `centre`, zero at first, is subtracted from every input: inputs of mean zero make the first layer's
    weights and biases independent to first order, and so train much faster (LeCun et al. 1998, section 4.3).

    Shape:
        (B, *in_shape), and (B, context_dim) where there is a context, to (B, *out_shape).

    Raises:
        ValueError: for an unknown activation or initialisation.

    Reference:
        Gates: Dauphin et al. (2017), equation 1. Layer norm: Ba et al. (2016). Initialisation: He et al. (2015),
        equation 10; Glorot and Bengio (2010), equations 12 and 16; Saxe et al. (2014).

    Example:
        >>> MLP((1, 8, 8), (2, 3), hidden=(16,))(torch.zeros(5, 1, 8, 8)).shape
        torch.Size([5, 2, 3])
    """

    centre: Tensor

    @checked
    def __init__(
        self,
        in_shape: Sequence[int],
        out_shape: Sequence[int],
        *,
        hidden: Sequence[int] = (400,),
        activation: ActivationName = "relu",
        gated: bool = False,
        dropout: float = 0.0,
        layer_norm: bool = False,
        initialisation: InitialisationName = "torch",
        context_dim: int = 0,
    ) -> None:
        super().__init__()
        parts = Parts(activation, gated, dropout, layer_norm, initialisation)
        widths = [math.prod(in_shape) + context_dim, *hidden]
        self.layers = Layers(nn.Flatten(), *parts.dense(widths))
        self.output = parts.started(nn.Linear(widths[-1], math.prod(out_shape)))
        self.out_shape = tuple(out_shape)
        self.register_buffer("centre", torch.zeros(*in_shape))

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The network's output for a batch."""
        h = (x - self.centre).flatten(1)
        if context is not None:
            h = torch.cat([h, context], 1)
        return self.output(self.layers(h)).unflatten(1, self.out_shape)

    @torch.no_grad()
    def start_at(self, params: Tensor) -> None:
        """Set the output's bias to `params`, (*out_shape), near which the untrained network's outputs then lie."""
        self.output.bias.copy_(params.flatten())


class ConvolutionalEncoder(nn.Module):
    """Convolutions that halve an image in stages, then hidden layers as of `MLP`.

    A stage is a convolution of 4 x 4 pixels in steps of 2; an odd side n goes to (n + 1) / 2. With `residual`, a
    `ResidualBlock` follows each stage. Nothing couples the examples of a batch.

    Args:
        in_shape: Shape of one image, (channels, height, width).
        out_shape: Shape of one output example.
        filters: Channels that each stage gives.
        hidden: Widths of the hidden layers after the stages.
        residual: Whether each stage has a residual block.
        activation: As of `MLP`, in the stages too.
        gated: As of `MLP`.
        dropout: As of `MLP`.
        layer_norm: As of `MLP`; a stage is normalised over channels and pixels, with a scale and a shift per channel.
        initialisation: As of `MLP`; the fans count the connections of one unit.
        context_dim: Width of a second input; each of its numbers is joined to the image as a constant plane.

    The buffer `centre` is as of `MLP`.

    Shape:
        (B, channels, height, width), and (B, context_dim) where there is a context, to (B, *out_shape).

    Raises:
        ValueError: for an unknown name, for what is no image, and for more stages than leave something to halve.

    Example:
        >>> ConvolutionalEncoder((3, 20, 28), (2, 5), filters=(4, 8))(torch.zeros(6, 3, 20, 28)).shape
        torch.Size([6, 2, 5])
    """

    centre: Tensor

    @checked
    def __init__(
        self,
        in_shape: Sequence[int],
        out_shape: Sequence[int],
        *,
        filters: Sequence[int] = (32, 64),
        hidden: Sequence[int] = (400,),
        residual: bool = False,
        activation: ActivationName = "relu",
        gated: bool = False,
        dropout: float = 0.0,
        layer_norm: bool = False,
        initialisation: InitialisationName = "torch",
        context_dim: int = 0,
    ) -> None:
        super().__init__()
        parts = Parts(activation, gated, dropout, layer_norm, initialisation, residual)
        sizes = sizes_of_stages(in_shape, filters)
        layers: list[nn.Module] = []
        stages = itertools.pairwise([in_shape[0] + context_dim, *filters])
        for (given, wanted), size in zip(stages, sizes[:-1], strict=True):
            layers += [parts.halving(given, wanted, size), *parts.feature_maps(wanted)]
        widths = [filters[-1] * math.prod(sizes[-1]), *hidden]
        self.layers = Layers(*layers, nn.Flatten(), *parts.dense(widths))
        self.output = parts.started(nn.Linear(widths[-1], math.prod(out_shape)))
        self.out_shape = tuple(out_shape)
        self.register_buffer("centre", torch.zeros(*in_shape))

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The network's output for a batch."""
        h = x - self.centre
        if context is not None:
            planes = context[:, :, None, None].expand(-1, -1, *h.shape[2:])
            h = torch.cat([h, planes], 1)
        return self.output(self.layers(h)).unflatten(1, self.out_shape)


class ConvolutionalDecoder(nn.Module):
    """The mirror of `ConvolutionalEncoder`: hidden layers, then transposed convolutions back through its sizes.

    The last stage gives the output; its bias is a number per entry instead of one per channel, and so the untrained
    network can start at a mean image.

    Args:
        in_shape: Shape of one input example.
        out_shape: Shape of one output example, (..., height, width); all axes before are channels.
        filters: Channels of the encoder's stages, in the encoder's order.
        hidden: Widths of the hidden layers before the stages, in this network's order.
        residual: As of `ConvolutionalEncoder`, as all that follow.
        activation: After each layer.
        gated: Gates instead of the activation.
        dropout: Probability with which a hidden unit is zeroed in training.
        layer_norm: Whether layers are normalised.
        initialisation: Law of the initial weights.

    Shape:
        (B, *in_shape) to (B, *out_shape).

    Raises:
        ValueError: as `ConvolutionalEncoder`.

    Example:
        >>> ConvolutionalDecoder((5,), (2, 3, 20, 28), filters=(4, 8))(torch.zeros(6, 5)).shape
        torch.Size([6, 2, 3, 20, 28])
    """

    @checked
    def __init__(
        self,
        in_shape: Sequence[int],
        out_shape: Sequence[int],
        *,
        filters: Sequence[int] = (32, 64),
        hidden: Sequence[int] = (400,),
        residual: bool = False,
        activation: ActivationName = "relu",
        gated: bool = False,
        dropout: float = 0.0,
        layer_norm: bool = False,
        initialisation: InitialisationName = "torch",
    ) -> None:
        super().__init__()
        parts = Parts(activation, gated, dropout, layer_norm, initialisation, residual)
        *larger, smallest = sizes_of_stages(out_shape, filters)
        widths = [math.prod(in_shape), *hidden]
        most = (parts.sums * filters[-1], *smallest)
        layers = [
            nn.Flatten(),
            *parts.dense(widths),
            parts.started(nn.Linear(widths[-1], math.prod(most)), parts.sums),
            nn.Unflatten(1, most),
            *parts.feature_maps(filters[-1]),
        ]
        for (given, wanted), size in zip(
            itertools.pairwise(filters[::-1]), larger[:0:-1], strict=True
        ):
            layers += [parts.doubling(given, wanted, size), *parts.feature_maps(wanted)]
        self.layers = Layers(*layers)
        self.output = parts.doubling(
            filters[0], math.prod(out_shape[:-2]), larger[0], is_output=True
        )
        self.bias = nn.Parameter(torch.zeros(*out_shape))

    def forward(self, x: Tensor) -> Tensor:
        """The network's output for a batch."""
        return self.output(self.layers(x)).unflatten(1, self.bias.shape[:-2]) + self.bias

    @torch.no_grad()
    def start_at(self, params: Tensor) -> None:
        """Set the output's bias to `params`, (*out_shape), near which the untrained network's outputs then lie."""
        self.bias.copy_(params)


class ResidualBlock(nn.Module):
    """What comes in, plus what some layers make of it.

    Shape:
        (B, channels, height, width) to the same.

    Reference:
        He et al. (2016), Identity mappings in deep residual networks.

    Example:
        >>> ResidualBlock([nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1)])(torch.zeros(2, 4, 5, 5)).shape
        torch.Size([2, 4, 5, 5])
    """

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        super().__init__()
        self.layers = Layers(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """The sum."""
        return x + self.layers(x)


@dataclass(frozen=True)
class Parts:
    """What the layers of a network are made of; arguments as of `MLP`."""

    activation: str
    gated: bool
    dropout: float
    layer_norm: bool
    initialisation: str
    residual: bool = False

    @property
    def sums(self) -> int:
        """Sums that a hidden unit needs: its own and its gate's."""
        return 2 if self.gated else 1

    def dense(self, widths: Sequence[int]) -> list[nn.Module]:
        """Hidden layers from each width to the next."""
        layers: list[nn.Module] = []
        for width_in, width_out in itertools.pairwise(widths):
            layers.append(self.started(nn.Linear(width_in, self.sums * width_out), self.sums))
            if self.layer_norm:
                layers.append(nn.LayerNorm(self.sums * width_out))
            layers += self.nonlinear()
        return layers

    def nonlinear(self) -> list[nn.Module]:
        """What turns a layer's sums into its units, along axis 1."""
        layers = [nn.GLU(1) if self.gated else ACTIVATIONS[self.activation]()]
        return [*layers, Dropout(self.dropout)] if self.dropout else layers

    def halving(self, given: int, wanted: int, size: tuple[int, int]) -> nn.Module:
        """The convolution of a stage for images of `size`."""
        padding = (1 + size[0] % 2, 1 + size[1] % 2)
        return self.started(nn.Conv2d(given, self.sums * wanted, 4, 2, padding), self.sums)

    def doubling(
        self, given: int, wanted: int, size: tuple[int, int], *, is_output: bool = False
    ) -> nn.Module:
        """The transposed convolution that leads back to `size`; the output needs one sum and no bias of its own."""
        sums, odd = 1 if is_output else self.sums, (size[0] % 2, size[1] % 2)
        layer = nn.ConvTranspose2d(
            given,
            sums * wanted,
            4,
            2,
            (1 + odd[0], 1 + odd[1]),
            output_padding=odd,
            bias=not is_output,
        )
        return self.started(layer, sums)

    def feature_maps(self, channels: int) -> list[nn.Module]:
        """What turns the sums of a stage into a number of channels.

        A residual block works on what no activation has touched yet; with gates on what has passed them, because only
        there a channel is one number.
        """
        if not self.residual:
            return self.units(channels)
        first = self.started(nn.Conv2d(channels, self.sums * channels, 3, padding=1), self.sums)
        block = [
            first,
            *self.units(channels),
            self.started(nn.Conv2d(channels, channels, 3, padding=1)),
        ]
        if self.gated:
            return [*self.units(channels), ResidualBlock(block)]
        return [ResidualBlock([*self.units(channels), *block]), *self.units(channels)]

    def units(self, channels: int) -> list[nn.Module]:
        """The channels from their sums."""
        return [
            *([nn.GroupNorm(1, self.sums * channels)] if self.layer_norm else []),
            *self.nonlinear(),
        ]

    @torch.no_grad()
    def started(self, layer: Layer, matrices: int = 1) -> Layer:
        """`layer` with initial weights; it holds `matrices` of them side by side."""
        if self.initialisation == "torch":
            return layer
        fan_in, fan_out = _fans(layer)
        fan_out /= matrices
        variance = 2 / fan_in if self.initialisation.startswith("he") else 2 / (fan_in + fan_out)
        for weight in layer.weight.chunk(matrices, int(isinstance(layer, nn.ConvTranspose2d))):
            if self.initialisation == "orthogonal":
                weight.copy_(nn.init.orthogonal_(torch.empty_like(weight)))
            elif self.initialisation.endswith("normal"):
                nn.init.normal_(weight, std=math.sqrt(variance))
            else:
                bound = math.sqrt(3 * variance)
                nn.init.uniform_(weight, -bound, bound)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
        return layer


def _fans(layer: Layer) -> tuple[float, float]:
    """How many inputs a sum has, and how many sums an input goes into, away from the edges."""
    if isinstance(layer, nn.Linear):
        return layer.in_features, layer.out_features
    taps, step = math.prod(layer.kernel_size), math.prod(layer.stride)
    if isinstance(layer, nn.ConvTranspose2d):
        return layer.in_channels * taps / step, layer.out_channels * taps
    return layer.in_channels * taps, layer.out_channels * taps / step


def sizes_of_stages(shape: Sequence[int], filters: Sequence[int]) -> list[tuple[int, int]]:
    """Height and width before each stage and after the last."""
    if len(shape) < 3:
        raise ValueError(
            f"a convolutional network needs images, (channels, height, width); got examples of the shape "
            f"{tuple(shape)}. Use `network='mlp'`, or give the rows a `shape`."
        )
    height, width = shape[-2:]
    most = (max(height, width) - 1).bit_length()
    if not 1 <= len(filters) <= most:
        raise ValueError(
            f"`filters` must be at least 1 and at most {most} numbers for images of {height} x {width}, whose sides "
            f"each stage halves; got {tuple(filters)}. Change their number, or use `network='mlp'`."
        )
    sizes = [(height, width)]
    for _ in filters:
        height, width = (height + 1) // 2, (width + 1) // 2
        sizes.append((height, width))
    return sizes
