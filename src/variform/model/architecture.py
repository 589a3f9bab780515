"""What a network consists of, found by running it once: its layers, their shapes and weights, and what joins them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from variform.model.vae import evaluating
from variform.system.draws import seeded

Shape = tuple[int, ...]

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm, nn.RMSNorm)
_RESHAPING = frozenset(
    {
        *("flatten", "unflatten", "view", "reshape", "squeeze", "unsqueeze", "expand", "permute"),
        *("transpose", "getitem", "Flatten", "Unflatten"),
    }
)
_NOTHING = frozenset({"Identity", "contiguous", "to", "clone", "type", "float", "double", "detach"})
_JOINED = {"cat": "joined", "add": "sum", "mul": "product", "sub": "difference", "stack": "stacked"}

_SIGNS = {"add": "plus", "sub": "minus", "mul": "times"}


@dataclass(frozen=True)
class Block:
    """A layer with weights, or what joins several; and what is done to its numbers before the next one.

    Args:
        name: What it is: `Linear`, or the class of a module of the user's own; of an input "".
        gives: Shape of what it gives, of one example.
        takes: Shapes of what it takes; () of an input.
        then: What follows without weights of its own, such as an activation, in order.
        weights: How many numbers training moves, those of normalisations that follow among them.
        sources: Where what it takes comes from, by the places of blocks; of a chain the block before.
        result: Shape after what follows.
    """

    name: str
    gives: Shape
    takes: tuple[Shape, ...] = ()
    then: tuple[str, ...] = ()
    weights: int = 0
    sources: tuple[int, ...] = ()
    result: Shape = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "result", self.result or self.gives)


def blocks_of(network: nn.Module, in_shapes: Sequence[Shape]) -> list[Block]:
    """The blocks of a network in the order in which it runs them, its inputs first.

    The network is run on zeros. Modules are seen whole where torch made them or where they hold no others; between them
    every operation on tensors is seen, so that a residual connection is a sum of two blocks.

    Args:
        network: The network; that of the user's own may be any.
        in_shapes: Shape of one example of each input.

    Example:
        >>> from variform.model.networks import MLP
        >>> image, hidden, output = blocks_of(MLP((1, 8, 8), (2, 5), hidden=(16,)), [(1, 8, 8)])
        >>> hidden.name, hidden.takes, hidden.gives, hidden.then, hidden.weights
        ('Linear', ((64,),), (16,), ('ReLU',), 1040)
        >>> output.sources, output.gives, output.result
        ((1,), (10,), (2, 5))
    """
    parameter = next(network.parameters(), torch.zeros(()))
    inputs = [parameter.new_zeros(2, *shape) for shape in in_shapes]
    with evaluating(network), seeded(0):
        recorder = _Recorder(network, inputs)
        recorder.run()
    return _merged(recorder.nodes)


@dataclass
class _Node:
    """One module or operation, as it ran."""

    name: str
    gives: Shape
    takes: tuple[Shape, ...] = ()
    weights: int = 0
    sources: tuple[int, ...] = ()
    is_norm: bool = False
    """Whether its weights only scale and shift what comes."""
    constant: str = ""
    consumers: set[int] = field(default_factory=set)


class _Recorder(TorchFunctionMode):
    """Runs a network and notes what gives each tensor."""

    def __init__(self, network: nn.Module, inputs: Sequence[Tensor]) -> None:
        super().__init__()
        self.network, self.inputs = network, inputs
        self.nodes: list[_Node] = []
        self.kept: list[Any] = []  # else a tensor that is gone gives its id to another
        self.made: dict[int, int] = {}  # which node gives a tensor, by its id
        self.left = {id(one): one.numel() for one in network.parameters()}  # not counted yet
        self.apart: dict[int, int] = {}  # weights in tensors that no input is in
        named = [*network.named_buffers(), *network.named_parameters()]
        self.names = {id(one): name.rpartition(".")[2] for name, one in named}
        self.zeros = {id(one) for _, one in network.named_buffers() if not one.any()}
        self.depth = 0
        for one in inputs:
            self.note("", [], one)

    def run(self) -> None:
        """Note all that happens on the inputs."""
        hooks: list[RemovableHandle] = []
        for leaf in _leaves(self.network):
            hooks.append(leaf.register_forward_pre_hook(self._enter))
            hooks.append(leaf.register_forward_hook(self._leave, with_kwargs=True))
        try:
            with self:
                result = self.network(*self.inputs)
        finally:
            for hook in hooks:
                hook.remove()
        last = self.made.get(id(result))
        if last is not None:
            self.nodes[last].consumers.add(len(self.nodes))

    def _enter(self, module: nn.Module, args: Any) -> None:
        self.depth += 1

    def _leave(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        self.depth -= 1
        if not self.depth:
            given = [*_tensors((args, kwargs)), *module.parameters()]
            self.note(_module_name(module), given, output, is_norm=isinstance(module, _NORMS))

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, and note it where no module is around it."""
        output = func(*args, **(kwargs or {}))
        if not self.depth:
            self.note(func.__name__.strip("_"), list(_tensors((args, kwargs))), output)
        return output

    def note(
        self, name: str, given: Sequence[Tensor], output: Any, *, is_norm: bool = False
    ) -> None:
        """Note what was made of tensors."""
        results = list(_tensors(output))
        if not results:
            return
        weights = sum(self.left.pop(id(one), 0) + self.apart.pop(id(one), 0) for one in given)
        sources = tuple(dict.fromkeys(self.made[id(one)] for one in given if id(one) in self.made))
        self.kept += results
        if not sources and name:  # made of weights and constants alone
            self.apart |= {id(results[0]): weights} if weights else {}
            return
        inputs = [one for one in given if id(one) in self.made]
        if name in ("add", "sub") and any(id(one) in self.zeros for one in given):
            name = "Identity"
        named = (self.names[id(one)] for one in given if id(one) in self.names)
        node = _Node(
            name,
            tuple(results[0].shape[1:]),
            takes=tuple(tuple(one.shape[1:]) for one in inputs),
            weights=weights,
            sources=sources,
            is_norm=is_norm,
            constant=next(named, ""),
        )
        for source in sources:
            self.nodes[source].consumers.add(len(self.nodes))
        for one in results:
            self.made[id(one)] = len(self.nodes)
        self.nodes.append(node)


def _leaves(module: nn.Module) -> Iterator[nn.Module]:
    """The modules that are seen whole."""
    is_torchs = type(module).__module__.startswith("torch.") and not isinstance(module, _CONTAINERS)
    children = list(module.children())
    if is_torchs or not children:
        yield module
        return
    for child in children:
        yield from _leaves(child)


def _tensors(values: Any) -> Iterator[Tensor]:
    """The tensors in nested tuples, lists and dictionaries."""
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, dict):
        yield from _tensors(list(values.values()))
    elif isinstance(values, tuple | list):
        for one in values:
            yield from _tensors(one)


def _module_name(module: nn.Module) -> str:
    """The class of a module, and the sizes of a convolution or a share that no shape shows."""
    name = type(module).__name__
    if isinstance(module, nn.modules.conv._ConvNd):
        sides = " x ".join(map(str, module.kernel_size))
        steps = sorted(set(module.stride))
        return f"{name} {sides}" + (f", step {', '.join(map(str, steps))}" if steps != [1] else "")
    share = getattr(module, "p", getattr(module, "probability", None))
    return f"{name} {share:g}" if "Dropout" in name and isinstance(share, float) else name


def _merged(nodes: Sequence[_Node]) -> list[Block]:
    """Blocks: what has no weights, or normalises, goes with what it follows where nothing else takes that."""
    blocks: list[Block] = []
    place: dict[int, int] = {}  # of the block of each node
    for index, node in enumerate(nodes):
        before = node.sources[0] if node.sources else -1
        is_alone = len(node.sources) == 1 and len(nodes[before].consumers) == 1
        if is_alone and (node.is_norm or not node.weights or node.name in _SIGNS):
            place[index] = place[before]
            block = blocks[place[before]]
            word = _word(node)
            blocks[place[before]] = replace(
                block,
                then=(*block.then, *([word] if word else [])),
                weights=block.weights + node.weights,
                result=node.gives,
            )
            continue
        place[index] = len(blocks)
        name = _JOINED.get(node.name, node.name) if len(node.sources) > 1 else node.name
        sources = tuple(sorted({place[source] for source in node.sources}))
        blocks.append(
            Block(name, node.gives, takes=node.takes, weights=node.weights, sources=sources)
        )
    return blocks


def _word(node: _Node) -> str:
    """What an operation without weights does, in a word; "" for nothing."""
    if node.name in _NOTHING or (node.name in _RESHAPING and node.takes == (node.gives,)):
        return ""
    if node.name in _RESHAPING and len(node.gives) == 1:
        return f"flattened to {node.gives[0]}"
    if node.name in _RESHAPING:
        return "as " + " x ".join(map(str, node.gives))
    if node.name in _SIGNS and node.constant:
        return f"{_SIGNS[node.name]} {node.constant}"
    return node.name
