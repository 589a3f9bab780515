"""Networks: tensors to tensors, no probability."""

import itertools
import math
from collections.abc import Sequence

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


class MLP(nn.Module):
    """Multilayer perceptron between tensors of any shape.

    Without hidden layers it is one affine map.

    Args:
        in_shape: Shape of one input example.
        out_shape: Shape of one output example.
        hidden: Widths of the hidden layers.
        activation: A key of `ACTIVATIONS`, applied after every hidden layer.
        dropout: Probability with which a hidden unit is zeroed in training.
        context_dim: Width of a second input, which is joined to the flattened first.

    Its buffer `centre`, zero at first, is subtracted from every input: inputs of mean zero make the first layer's
    weights and biases independent to first order, and so train much faster (LeCun et al. 1998, section 4.3).

    Shape:
        (B, *in_shape), and (B, context_dim) where there is a context, to (B, *out_shape).

    Raises:
        ValueError: for an unknown activation.

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
        dropout: float = 0.0,
        context_dim: int = 0,
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}; got {activation}. Choose one.")
        layers: list[nn.Module] = [nn.Flatten()]
        widths = [math.prod(in_shape) + context_dim, *hidden]
        for width_in, width_out in itertools.pairwise(widths):
            layers += [nn.Linear(width_in, width_out), ACTIVATIONS[activation]()]
            if dropout:
                layers.append(Dropout(dropout))
        self.layers = nn.Sequential(*layers)
        self.output = nn.Linear(widths[-1], math.prod(out_shape))
        self.out_shape = tuple(out_shape)
        self.register_buffer("centre", torch.zeros(*in_shape))

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The network's output for a batch."""
        h = (x - self.centre).flatten(1)
        if context is not None:
            h = torch.cat([h, context], 1)
        return self.output(self.layers(h)).unflatten(1, self.out_shape)
