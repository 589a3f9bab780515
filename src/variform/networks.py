"""Networks: tensors to tensors, no probability."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from variform.draws import Dropout

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


INITIALISATIONS = ("torch", "he-normal", "he-uniform", "glorot-normal", "glorot-uniform", "orthogonal")


class MLP(nn.Module):
    r"""Multilayer perceptron between tensors of any shape.

    A hidden layer is $\phi(W h + b)$, or with `gated` $(W h + b) \odot \sigma(V h + c)$, which needs no activation.
    Without hidden layers the network is one affine map.

    Args:
        in_shape: Shape of one input example.
        out_shape: Shape of one output example.
        hidden: Widths of the hidden layers.
        activation: A key of `ACTIVATIONS`, applied after every hidden layer.
        gated: Whether each hidden unit is multiplied by a gate between 0 and 1 in the place of the activation.
        dropout: Probability with which a hidden unit is zeroed in training.
        layer_norm: Whether a layer's sums are normalised over its units, before the activation or the gates.
        initialisation: One of `INITIALISATIONS`: "torch" leaves what torch draws; the others draw the weights of every
            layer, gates of their own, and set the biases to 0. He: variance 2 / fan-in; Glorot: 2 / (fan-in + fan-out).
        context_dim: Number of values that `context` adds to the input.

    Its buffer `centre`, zero at first, is subtracted from every input: inputs of mean zero make the first layer's
    weights and biases independent to first order, and so train much faster (LeCun et al. 1998, section 4.3).

    Shape:
        (B, *in_shape) to (B, *out_shape); context (B, context_dim).

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

    def __init__(
        self,
        in_shape: Sequence[int],
        out_shape: Sequence[int],
        *,
        hidden: Sequence[int] = (400,),
        activation: str = "relu",
        gated: bool = False,
        dropout: float = 0.0,
        layer_norm: bool = False,
        initialisation: str = "torch",
        context_dim: int = 0,
    ) -> None:
        super().__init__()
        parts = _Parts(activation, gated, dropout, layer_norm, initialisation)
        widths = [math.prod(in_shape) + context_dim, *hidden]
        self.layers = nn.Sequential(nn.Flatten(), *parts.dense(widths))
        self.output = parts.started(nn.Linear(widths[-1], math.prod(out_shape)))
        self.out_shape = tuple(out_shape)
        self.register_buffer("centre", torch.zeros(*in_shape))

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The network's output for a batch."""
        h = x - self.centre
        if context is not None:
            h = torch.cat([h.flatten(1), context], 1)
        return self.output(self.layers(h)).unflatten(1, self.out_shape)

    @torch.no_grad()
    def start_at(self, params: Tensor) -> None:
        """Set the output's bias to `params`, (*out_shape), near which the untrained network's outputs then lie."""
        self.output.bias.copy_(params.flatten())


@dataclass(frozen=True)
class _Parts:
    """What the layers of a network are made of; arguments as of `MLP`."""

    activation: str
    gated: bool
    dropout: float
    layer_norm: bool
    initialisation: str

    def __post_init__(self) -> None:
        for name, choices in (("activation", ACTIVATIONS), ("initialisation", INITIALISATIONS)):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}; got {getattr(self, name)}. Choose one.")

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

    @torch.no_grad()
    def started(self, layer: nn.Linear, matrices: int = 1) -> nn.Linear:
        """`layer` with initial weights, of which it holds so many matrices side by side."""
        if self.initialisation == "torch":
            return layer
        fan_in, fan_out = layer.in_features, layer.out_features / matrices
        variance = 2 / fan_in if self.initialisation.startswith("he") else 2 / (fan_in + fan_out)
        for weight in layer.weight.chunk(matrices):
            if self.initialisation == "orthogonal":
                nn.init.orthogonal_(weight)
            elif self.initialisation.endswith("normal"):
                nn.init.normal_(weight, std=math.sqrt(variance))
            else:
                bound = math.sqrt(3 * variance)
                nn.init.uniform_(weight, -bound, bound)
        nn.init.zeros_(layer.bias)
        return layer
