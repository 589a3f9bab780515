"""Products: those of dense layers and of convolutions, in the way that is fastest where they run.

torch gives products of matrices to one library, MKL where there is one. On some processors another that comes with
torch, oneDNN, takes half the time; on others it is the slower. A transposed convolution with few output channels is at
its slowest as a convolution: as one product, whose results are added up where they overlap, it takes a quarter. Some
processors like the channels of an image last. So what a run has to compute is timed on the machine where it runs, once:
what was found is kept in the user's cache folder.
"""

import contextlib
import functools
import itertools
import json
import math
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from variform.system.files import cache_folder, write_text
from variform.system.work import CONVOLUTIONS, LINEAR, multiplications_of, using, watching

Products = dict[str, str]
"""How the layers of a module are computed, by their names; a layer that is not named is computed by torch as it is."""

Ways = dict[str, Callable[[], object]]

TORCH, ONEDNN = "torch", "onednn"
FOLD, LAST = "fold", "channels-last"
_WORTH_TIMING = 2**22  # multiplications of a layer's forward pass; below, all takes microseconds
_ROUNDS, _SECONDS = 5, 0.02  # each way is timed as often, and all together as long
_MARGIN = 0.93  # of the time of torch's own way; another that is less faster may be so by chance
_MARGIN_OF_LAYOUT = (
    0.97  # the same for the layout of a whole network, which has more turns and less to lose
)
_CACHE = "products.json"


@contextmanager
def computing(module: nn.Module, products: Products) -> Iterator[None]:
    """Inside, the layers of `module` are computed as `products` says, afterwards by torch as it is.

    Args:
        module: Has the layers.
        products: By the name of a layer: of an `nn.Linear` the libraries of y = x W^T and of the gradients dy^T x and
            dy W, such as "onednn torch onednn"; of a convolution "channels-last"; of a transposed one also "fold" or
            "fold channels-last".

    Example:
        >>> network, x = nn.Sequential(nn.Linear(3, 2)), torch.rand(5, 3)
        >>> before = network(x)
        >>> with computing(network, {"0": "onednn torch onednn"}):
        ...     torch.allclose(network(x), before)
        True
    """
    layers: list[Any] = [module.get_submodule(name) for name in products]
    for layer, way in zip(layers, products.values(), strict=True):
        layer.forward = functools.partial(_forward_of(layer, way), layer, way)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def require_ways(module: nn.Module, products: Products) -> None:
    """Refuse what names no layer of the module, or no way of it.

    Raises:
        ValueError: says which.

    Example:
        >>> require_ways(nn.Sequential(nn.Linear(3, 2)), {"0": "fold"})
        Traceback (most recent call last):
        ValueError: products must be ways of layers that the model has; got 0: fold. Train anew.
    """
    layers = dict(module.named_modules())
    for name, way in products.items():
        layer = layers.get(name)
        is_dense = isinstance(layer, nn.Linear) and set(way.split()) <= {TORCH, ONEDNN}
        is_way = is_dense and len(way.split()) == 3
        if _has_ways(layer):
            is_way = way == LAST or (way in (FOLD, f"{FOLD} {LAST}") and _folds(layer))
        if not is_way:
            raise ValueError(
                f"products must be ways of layers that the model has; got {name}: {way}. Train anew."
            )


def _forward_of(layer: nn.Module, way: str) -> Callable[..., Tensor]:
    return _linear if isinstance(layer, nn.Linear) else _convolution


def _linear(layer: nn.Linear, libraries: str, x: Tensor) -> Tensor:
    if not is_plain(x, layer.weight):
        return functional.linear(x, layer.weight, layer.bias)
    return _Linear.apply(x, layer.weight, layer.bias, tuple(libraries.split()))


def _convolution(layer: Any, way: str, x: Tensor) -> Tensor:
    if not is_plain(x, layer.weight) or x.ndim != 4:
        return type(layer).forward(layer, x)
    return _Convolution.apply(x, layer.weight, layer.bias, Geometry.of(layer), way)


def is_plain(x: Tensor, weight: Tensor) -> bool:
    """Whether it is for other ways than torch's own: single precision on a processor."""
    is_single = x.dtype == weight.dtype == torch.float32
    return is_single and x.device.type == "cpu" and not torch.is_autocast_enabled("cpu")


# --- the ways -----------------------------------------------------------------------------------------------------


def _onednn() -> Any:
    """torch's operator for a product by oneDNN, which is none of its public ones; None where it is missing."""
    is_there = torch.backends.mkldnn.is_available()
    return getattr(torch.ops.mkldnn, "_linear_pointwise", None) if is_there else None


def _by_onednn(left: Tensor, right: Tensor, bias: Tensor | None) -> Tensor:
    multiply = _onednn()
    if multiply is None:
        return functional.linear(left, right, bias)
    return multiply(left, right, bias, "none", [], "")


# An operator of its own, which compiled code calls as it is: torch's compiler takes that of torch for one whose weights
# never change, and refuses others.
_LIBRARY = torch.library.Library("variform", "DEF")
_LIBRARY.define(
    "product(Tensor left, Tensor right, Tensor? bias) -> Tensor",
    tags=(torch.Tag.needs_exact_strides,),
)
_LIBRARY.impl("product", _by_onednn, "CPU")


@torch.library.register_fake("variform::product", lib=_LIBRARY)
def _shaped(left: Tensor, right: Tensor, bias: Tensor | None) -> Tensor:
    return left.new_empty(left.shape[0], right.shape[0])


def product(left: Tensor, right: Tensor, bias: Tensor | None, library: str) -> Tensor:
    """left (M, K) times the transposed right (N, K), plus bias (N,); (M, N). What is not there, torch replaces."""
    if library == ONEDNN:
        return torch.ops.variform.product(left, right, bias)
    if bias is None:
        return left @ right.T
    return torch.addmm(bias, left, right.T)


class _Linear(torch.autograd.Function):
    """y = x W^T + b, with a library for each of its three products."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, libraries: tuple[str, ...]
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.libraries = libraries
        y = product(x.flatten(0, -2), weight, bias, libraries[0])
        return y.unflatten(0, x.shape[:-1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Any) -> Any:  # pyrefly: ignore[bad-override] (the decorator)
        x, weight = ctx.saved_tensors
        _, for_weight, for_x = ctx.libraries
        needs_x, needs_weight, needs_bias, _ = ctx.needs_input_grad
        dy = grad_outputs[0].flatten(0, -2)  # (B, out)
        dx = dweight = dbias = None
        if needs_x:
            dx = product(dy, weight.T, None, for_x).unflatten(0, x.shape[:-1])
        if needs_weight:
            dweight = product(dy.T, x.flatten(0, -2).T, None, for_weight)
        if needs_bias:
            dbias = dy.sum(0)
        return dx, dweight, dbias, None


class Geometry(NamedTuple):
    """What a convolution is beside its weight, as torch's operators take it; `more` is the output padding."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    transposed: bool
    more: tuple[int, ...]
    groups: int

    @classmethod
    def of(cls, layer: Any) -> "Geometry":
        """That of a layer whose padding is of zeros, in numbers."""
        sizes = (layer.stride, layer.padding, layer.dilation)
        return cls(*sizes, layer.transposed, layer.output_padding, layer.groups)

    def size_after(self, sides: Any, kernel: Any) -> tuple[int, ...]:
        """Height and width that a transposed convolution gives."""
        axes = zip(sides, kernel, self.stride, self.padding, self.dilation, self.more, strict=True)
        return tuple(
            (side - 1) * stride - 2 * padding + dilation * (taps - 1) + more + 1
            for side, taps, stride, padding, dilation, more in axes
        )


def convolved(x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    """A convolution, or a transposed one, by torch's operator."""
    return torch.ops.aten.convolution(x, weight, bias, *geometry)


def folded(x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    """A transposed convolution as one product, whose results are added up where they overlap."""
    kernel = weight.shape[2:]
    size = geometry.size_after(x.shape[2:], kernel)
    patches = weight.flatten(1).T @ x.flatten(2)  # (B, channels * kernel, positions)
    stride, padding, dilation, *_ = geometry
    y = functional.fold(patches, size, kernel, dilation, padding, stride)
    return y if bias is None else y + bias[:, None, None]


def convolution_slopes(
    dy: Tensor,
    x: Tensor,
    weight: Tensor,
    geometry: Geometry,
    wanted: Sequence[bool] = (True, True, True),
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """The gradients of a convolution's input, weight and bias, as far as they are wanted, by torch's operator."""
    biases = [dy.shape[1]]
    return torch.ops.aten.convolution_backward(dy, x, weight, biases, *geometry, list(wanted))


def with_channels_last(tensor: Tensor) -> Tensor:
    """The tensor (B, channels, height, width), with the channels last in memory."""
    tensor = tensor.contiguous(memory_format=torch.channels_last)
    if tensor.shape[1] > 1:
        return tensor
    # A single channel is first and last at once; torch takes it for first, unless its stride says otherwise.
    _, _, height, width = tensor.shape
    return tensor.as_strided(tensor.shape, (height * width, 1, width, 1))


class _Convolution(torch.autograd.Function):
    """A convolution, or a transposed one, in a way of its own; gradients by torch's operator in the same layout."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry, way: str
    ) -> Tensor:
        ctx.is_last = LAST in way.split()
        if ctx.is_last:
            x, weight = with_channels_last(x), with_channels_last(weight)
        ctx.save_for_backward(x, weight)
        ctx.geometry = geometry
        compute = folded if FOLD in way.split() else convolved
        return compute(x, weight, bias, geometry)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Any) -> Any:  # pyrefly: ignore[bad-override] (the decorator)
        x, weight = ctx.saved_tensors
        dy = with_channels_last(grad_outputs[0]) if ctx.is_last else grad_outputs[0]
        wanted = ctx.needs_input_grad[:3]
        return *convolution_slopes(dy, x, weight, ctx.geometry, wanted), None, None


# --- the choice ---------------------------------------------------------------------------------------------------


def is_worth_timing(module: nn.Module, rows: int) -> bool:
    """Whether a layer of `module` may be large enough for `rows` rows; a weight of a convolution meets many positions.

    Example:
        >>> is_worth_timing(nn.Linear(3, 2), 128), is_worth_timing(nn.Linear(784, 400), 128)
        (False, True)
    """
    layers = [layer for layer in module.modules() if isinstance(layer, (*LINEAR, *CONVOLUTIONS))]
    has_images = any(isinstance(layer, CONVOLUTIONS) for layer in layers)
    most = max((rows * layer.weight.numel() for layer in layers), default=0)
    return has_images or most >= _WORTH_TIMING


def fastest(
    module: nn.Module, run: Callable[[], Tensor], threads: int, *, backward: bool = True
) -> Products:
    """The way of each layer that is fastest here, and worth more than what torch does by itself.

    Args:
        module: Has the layers.
        run: The forward pass whose layers are timed, with the shapes that they will have; without dropout or draws.
        threads: Threads that compute them.
        backward: Whether gradients are computed too; without, they are left to torch.

    Example:
        >>> fastest(network := nn.Linear(3, 2), lambda: network(torch.zeros(5, 3)), 1)  # too small to be timed
        {}
    """
    shapes: dict[Any, tuple[int, ...]] = {}

    def note(layer: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        x = given[0]
        is_worth = multiplications_of(layer, x, output) >= _WORTH_TIMING
        has_ways = isinstance(layer, nn.Linear) or (_has_ways(layer) and x.ndim == 4)
        if is_worth and has_ways and x.device.type == "cpu" and x.dtype == torch.float32:
            shapes[layer] = tuple(x.shape)

    kinds = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
    names: dict[Any, str] = {
        layer: name for name, layer in module.named_modules() if isinstance(layer, kinds)
    }
    with watching(names, note):
        run()
    products: Products = {}
    last: Products = {}
    convolutions = [layer for layer in shapes if _has_ways(layer)]
    with using(threads), torch.no_grad():
        for layer, shape in shapes.items():
            name = names[layer]
            if layer not in convolutions:
                products[name] = _ways_of_linear(layer, shape, threads, backward)
                continue
            products[name] = _way_of_convolution(layer, shape, threads, TORCH)
            last[name] = _way_of_convolution(layer, shape, threads, LAST)
    products = {name: way for name, way in products.items() if set(way.split()) != {TORCH}}
    if not convolutions:
        return products
    last = products | last
    ways: Ways = {
        TORCH: _timed(module, run, products, backward),
        LAST: _timed(module, run, last, backward),
    }
    facts = [f"{layer} {shapes[layer]}" for layer in convolutions]
    passes = "both passes" if backward else "one pass"
    with using(threads):
        fact = f"layout of {facts} with {products} or {last}, {passes}"
        best = _chosen(fact, threads, ways, 2 * _ROUNDS, _MARGIN_OF_LAYOUT)
    return last if best == LAST else products


def _has_ways(layer: Any) -> bool:
    """Whether it is a convolution that has other ways: its padding is of zeros, in numbers."""
    if not isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
        return False
    return layer.padding_mode == "zeros" and not isinstance(layer.padding, str)


def _folds(layer: Any) -> bool:
    return layer.transposed and layer.groups == 1


def _way_of_convolution(layer: Any, shape: tuple[int, ...], threads: int, layout: str) -> str:
    """The fastest way of one convolution by itself with the layout `TORCH` or `LAST`, for inputs of `shape`."""
    if not _folds(layer):
        return layout
    x, weight = torch.rand(shape, generator=torch.Generator().manual_seed(0)), layer.weight
    if layout == LAST:
        x, weight = with_channels_last(x), with_channels_last(weight)
    geometry = Geometry.of(layer)
    ways: Ways = {
        layout: functools.partial(convolved, x, weight, None, geometry),
        FOLD: functools.partial(folded, x, weight, None, geometry),
    }
    best = _chosen(f"y of {layer} of {shape}, {layout}", threads, ways)
    return f"{FOLD} {LAST}" if best == FOLD and layout == LAST else best


def _ways_of_linear(layer: nn.Linear, shape: tuple[int, ...], threads: int, backward: bool) -> str:
    """The fastest ways of one dense layer by itself, for inputs of `shape`."""
    fact, generator = f"{layer} of {shape}", torch.Generator().manual_seed(0)
    x, weight = torch.rand(shape, generator=generator), layer.weight
    x = x.flatten(0, -2)
    dy = torch.rand(len(x), layer.out_features, generator=generator)
    factors = {"y": (x, weight), "dW": (dy.T, x.T), "dx": (dy, weight.T)}
    libraries = []
    for name, (left, right) in factors.items():
        if _onednn() is None or (name != "y" and not backward):
            libraries.append(TORCH)
            continue
        ways: Ways = {
            library: functools.partial(product, left, right, None, library)
            for library in (TORCH, ONEDNN)
        }
        libraries.append(_chosen(f"{name} of {fact}", threads, ways))
    return " ".join(libraries)


def _timed(
    module: nn.Module, run: Callable[[], Tensor], products: Products, backward: bool
) -> Callable[[], None]:
    """A forward pass with these products, or both passes."""
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]

    def once() -> None:
        with torch.set_grad_enabled(backward), computing(module, products):
            result = run().sum()
            if backward:
                torch.autograd.grad(result, parameters, allow_unused=True)

    return once


def _chosen(
    fact: str, threads: int, ways: Ways, rounds: int = _ROUNDS, margin: float = _MARGIN
) -> str:
    """The fastest of the ways, as it was found when it was first asked for on this machine."""
    key = f"{_machine()}, {threads} threads: {fact}"
    if key not in _known():
        way = clearly_fastest(seconds_of(ways, rounds), margin)
        _remember(key, way)
    return _known()[key]


def seconds_of(ways: Ways, rounds: int = _ROUNDS) -> dict[str, float]:
    """The least time of each way, in turns.

    One thread is asked what it computed, which others on a busy machine do not lengthen; several wait for each other.
    """
    clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    seconds = dict.fromkeys(ways, math.inf)
    begun = time.perf_counter()
    for number in itertools.count():
        is_enough = time.perf_counter() - begun > _SECONDS and number >= rounds
        if is_enough or number == 10 * rounds:
            return seconds
        for name, way in ways.items():
            started = clock()
            way()
            seconds[name] = min(seconds[name], clock() - started)
    return seconds


def clearly_fastest(seconds: dict[str, float], margin: float = _MARGIN) -> str:
    """The way that takes least time; the first, where no other is clearly faster.

    Example:
        >>> clearly_fastest({"torch": 1.0, "onednn": 0.5}), clearly_fastest({"torch": 1.0, "onednn": 0.95})
        ('onednn', 'torch')
    """
    first, *_ = seconds
    best = min(seconds, key=seconds.__getitem__)
    return best if seconds[best] < margin * seconds[first] else first


# --- what was found before ----------------------------------------------------------------------------------------


@functools.cache
def _machine() -> str:
    """What a measurement is valid for: the host, its processor, and the libraries."""
    information = Path("/proc/cpuinfo")
    model = platform.processor()
    if information.exists():
        lines = information.read_text(errors="replace").splitlines()
        names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
        model = names[0] if names else model
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{platform.node()}, {model}, {capability}, torch {torch.__version__}"


@functools.cache
def _known() -> dict[str, str]:
    """What was found on this machine, by this process or by others before it began."""
    with contextlib.suppress(OSError, ValueError):
        values = json.loads((cache_folder() / _CACHE).read_text(encoding="utf-8"))
        if isinstance(values, dict):
            return {str(key): str(value) for key, value in values.items()}
    return {}


def _remember(key: str, way: str) -> None:
    """Keep it for this process, and for others where the cache folder can be written to."""
    known = _known()
    known[key] = way
    with contextlib.suppress(OSError):
        cache_folder().mkdir(parents=True, exist_ok=True)
        write_text(cache_folder() / _CACHE, json.dumps(known, indent=1))
