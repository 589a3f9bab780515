"""The layers that a network of the user's own applies one after another, found by following its `forward` once."""

import inspect
from collections.abc import Collection
from typing import Any

import torch
from torch import fx, nn

from variform.model.networks import ACTIVATIONS
from variform.model.vae import evaluating
from variform.system.draws import seeded


def layers_of(
    network: nn.Module, known: Collection[type[nn.Module]], shape: tuple[int, ...]
) -> list[nn.Module] | None:
    """Layers of known types that give what a network gives; None where its `forward` is more than one after another.

    They are tried beside the network on random rows.

    Args:
        network: The network, in evaluation mode.
        known: Types of layers that are taken as they are.
        shape: Shape of one input example.

    Example:
        >>> class Decoder(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.output = nn.Linear(2, 6)
        ...
        ...     def forward(self, z):
        ...         return torch.relu(self.output(z)).view(-1, 2, 3)
        >>> layers_of(Decoder(), {nn.Linear}, (2,))
        [Linear(in_features=2, out_features=6, bias=True), ReLU(), Flatten(start_dim=1, end_dim=-1), \
Unflatten(dim=1, unflattened_size=(2, 3))]
    """
    with evaluating(network), seeded(0):
        try:
            graph = _Tracer(known).trace(network, _not_given(network))
            layers = _chain(graph, network)
            parameter = next(network.parameters(), torch.zeros(()))
            x = torch.randn(3, *shape).to(parameter)
            is_same = torch.allclose(nn.Sequential(*layers)(x), network(x), atol=1e-6)
        except Exception:  # of the user's own code, and of what cannot be followed
            return None
    return layers if is_same else None


def _not_given(network: nn.Module) -> dict[str, Any]:
    """The inputs of a network that it can do without, such as the context of an encoder, and their values then."""
    parameters = inspect.signature(network.forward).parameters.values()
    return {each.name: each.default for each in parameters if each.default is not each.empty}


class _Tracer(fx.Tracer):
    def __init__(self, known: Collection[type[nn.Module]]) -> None:
        super().__init__()
        self.known = known

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return type(m) in self.known


def _chain(graph: fx.Graph, network: nn.Module) -> list[nn.Module]:
    """The layers of a graph whose every node takes what the one before gives.

    Raises:
        LookupError: for another graph, and for an operation that no layer does.
    """
    last: fx.Node | None = None
    layers: list[nn.Module] = []
    aside: set[fx.Node] = set()  # inputs that are not given, shapes, and what is made of these
    for node in graph.nodes:
        given = [each for each in node.all_input_nodes if each not in aside]
        is_made_aside = bool(node.all_input_nodes) and not given
        if node.op == "placeholder" and last is None:
            last = node
        elif node.op == "placeholder" or is_made_aside or _is_shape(node):
            aside.add(node)
        elif given != [last]:
            raise LookupError(f"{node} takes something else than what the layer before gives")
        elif node.op != "output":
            layers += _layers(node, network)
            last = node
    return layers


def _is_shape(node: fx.Node) -> bool:
    """Whether a node is the shape of another, or a number of it."""
    return node.target == "size" or (node.target is getattr and node.args[1] == "shape")


def _layers(node: fx.Node, network: nn.Module) -> list[nn.Module]:
    """The layers that do what a node does."""
    if node.op == "call_module":
        return [network.get_submodule(str(node.target))]
    name = str(getattr(node.target, "__name__", node.target)).replace("_", "-")
    options: list[Any] = [*node.args[1:], *node.kwargs.values()]
    if name in ("view", "reshape"):
        return _reshaped(options)
    if name == "flatten" and options in ([1], [1, -1]):
        return [nn.Flatten()]
    if name == "unflatten" and options[0] == 1:
        return [nn.Unflatten(1, tuple(options[1]))]
    if (
        name == "dropout"
    ):  # which does nothing after training; one that does is found when the layers are tried
        return []
    if name in ACTIVATIONS and not any(options):
        return [ACTIVATIONS[name]()]
    raise LookupError(f"no layer does what {node} does")


def _reshaped(sizes: list[Any]) -> list[nn.Module]:
    """The layers of a view as (B, *sizes), whose first size is the number of rows, known or not."""
    rows, *shape = sizes[0] if isinstance(sizes[0], tuple | list | torch.Size) else sizes
    if not (rows == -1 or isinstance(rows, fx.Node)):
        raise LookupError("a fixed number of rows")
    return [nn.Flatten()] if shape == [-1] else [nn.Flatten(), nn.Unflatten(1, tuple(shape))]
