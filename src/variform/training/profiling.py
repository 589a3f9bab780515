"""Profiling: where the time of a training step goes, beside the floor, the products that no program can leave out.

The parts are measured in turns with the whole step, in one run: a shared machine changes its speed from one minute to
the next, and then changes it for all of them.
"""

import copy
import functools
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from variform.config.checks import Count, checked
from variform.config.settling import for_rows
from variform.config.training import TrainConfig
from variform.data.dataset import Dataset, StoredRows
from variform.data.order import epoch_order
from variform.objectives import Objective
from variform.system.draws import seeded
from variform.system.products import (
    FOLD,
    LAST,
    ONEDNN,
    TORCH,
    Geometry,
    Products,
    Ways,
    convolution_slopes,
    convolved,
    folded,
    is_plain,
    product,
    seconds_of,
    with_channels_last,
)
from variform.system.work import CONVOLUTIONS, LINEAR, multiplications_of, watching
from variform.training.device import compiles
from variform.training.step import Step, products_of

NUMPY = "numpy"
_COMPILED = "forward and backward, compiled"


@dataclass(frozen=True)
class Profile:
    """Where the time of a step goes; times are milliseconds per step, medians over the repeats.

    Args:
        parts: The time of each part: `data`, `forward`, `backward` (or both in one, where the step is compiled) and
            `optimiser`, each measured by itself.
        whole: The whole step, as `fit` does it.
        floor: The products of the networks alone, forward and backward, each by the library that is fastest for it.
        flops: Floating-point operations of these products, per step; an addition and a multiplication are two.
        batch_size: Rows per step.
        threads: Threads of the processor that the step uses.
        device: Type of the device.
        is_compiled: Whether the step was compiled.
        advice: One sentence on what would make it faster; empty where there is none.
        peak: Floating-point operations per second, in 10^9, of a long product with the same threads; 0 if not measured.
        products: The layers that the step computes in another way than torch's own, see `products.computing`.
    """

    parts: dict[str, float]
    whole: float
    floor: float
    flops: int
    batch_size: int
    threads: int
    device: str
    is_compiled: bool
    advice: str = ""
    peak: float = 0.0
    products: Products = field(default_factory=dict)

    @property
    def rest(self) -> float:
        """The whole step without its parts: what joins them. Below 0 where a part is slower by itself than inside."""
        return self.whole - sum(self.parts.values())

    @property
    def examples_per_second(self) -> float:
        """Training rows per second."""
        return 1e3 * self.batch_size / self.whole

    @property
    def times_floor(self) -> float:
        """The whole step as a multiple of the floor; infinite for networks without products."""
        return self.whole / self.floor if self.floor else float("inf")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON.

        Example:
            >>> timed = Profile({"data": 1.0, "forward": 2.0}, 4.0, 2.0, 10**6, 128, 2, "cpu", False)
            >>> timed.to_dict()["milliseconds"]
            {'data': 1.0, 'forward': 2.0, 'rest': 1.0, 'whole': 4.0, 'floor': 2.0}
        """
        names = (
            "examples_per_second",
            "times_floor",
            "flops",
            "batch_size",
            "threads",
            "device",
            "is_compiled",
            "peak",
            "products",
        )
        times = self.parts | {"rest": self.rest, "whole": self.whole, "floor": self.floor}
        return {
            "milliseconds": times,
            **{name: getattr(self, name) for name in names},
            "advice": self.advice,
        }

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Header and rows of text.

        Example:
            >>> header, rows = Profile({"data": 1.0}, 4.0, 2.0, 10**6, 128, 2, "cpu", False).table()
            >>> header[0], rows[2]
            ('batch of 128, cpu, 2 threads, eager', ['whole step', '4.000', '100 %'])
        """
        times = self.parts | {
            "rest": self.rest,
            "whole step": self.whole,
            "floor: products alone": self.floor,
        }
        rows = [
            [name, f"{value:.3f}", f"{value / self.whole:.0%}".replace("%", " %")]
            for name, value in times.items()
        ]
        rows.append(["step, as a multiple of the floor", f"{self.times_floor:.2f}", ""])
        rows.append(["examples per second", f"{self.examples_per_second:,.0f}", ""])
        rows.append(["products, MFLOP per step", f"{self.flops / 1e6:,.1f}", ""])
        if self.floor:
            rate = self.flops / self.floor / 1e6
            rows.append(["products alone, GFLOP per second", f"{rate:,.0f}", ""])
        if self.peak:
            rows.append(["a long product, GFLOP per second", f"{self.peak:,.0f}", ""])
        rows += [[f"{layer} is computed by", way, ""] for layer, way in self.products.items()]
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        kind = "compiled" if self.is_compiled else "eager"
        return [
            f"batch of {self.batch_size}, {self.device}, {threads}, {kind}",
            "ms",
            "of the step",
        ], rows


@checked
def profile(
    objective: Objective,
    train: Dataset,
    config: TrainConfig,
    *,
    steps: Count = 50,
    repeats: Count = 5,
    total: int | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Profile:
    """Measure a training step and its parts on a copy of the objective, which itself stays as it is.

    Data are the rows of fresh batches, gathered and prepared; forward is the objective with gradients on; backward is
    what the gradients and the sums of the terms take beside it; the optimiser is its step alone. The floor repeats the
    products of all linear and convolutional layers of both networks with memory that is there already.

    Args:
        objective: What would be trained.
        train: Training rows.
        config: The optimiser's side of the configuration.
        steps: How often each part runs at a stretch.
        repeats: How many such stretches each part gets, in turns with the others.
        total: Steps of the whole training, which decide whether the step is compiled; by default `config.steps`, and
            without it too few to compile unless `config.compile` is `on`.
        clock: Gives the time in seconds.

    Raises:
        ValueError: for no steps, or for fewer training rows than a batch.

    Example:
        >>> from variform import ELBO, ModelConfig, build_vae, read
        >>> data = read("digits")
        >>> objective = ELBO(build_vae(ModelConfig(latent_dim=2), data.schema))
        >>> timed = profile(objective, data.train, TrainConfig(), steps=2, repeats=1)
        >>> list(timed.parts), timed.batch_size
        (['data', 'forward', 'backward', 'optimiser'], 32)
    """
    config = for_rows(config, len(train))
    total = total or config.steps or 1
    step = Step(copy.deepcopy(objective).train(), config, total)
    step.products = products_of(step, total)
    with seeded(config.seed), step.arithmetic():
        products, tasks = _tasks(step, train, config)
        for layer in products:
            layer.settle()
        seconds = _in_turns(tasks, steps, repeats, step.device, clock)
        peak = _peak(step.threads) if step.device.type == "cpu" else 0.0
    times = {name: 1e3 * statistics.median(values) for name, values in seconds.items()}
    parts = {name: times[name] for name in times if name not in ("whole", "floor", "gradients")}
    if not step.is_compiled:  # differences within one turn: both sides then had the same machine
        pairs = zip(seconds["gradients"], seconds["forward"], strict=True)
        backward = 1e3 * statistics.median(both - forward for both, forward in pairs)
        parts = {
            name: parts.get(name, backward) for name in ("data", "forward", "backward", "optimiser")
        }
    profiled = Profile(
        parts,
        times["whole"],
        times["floor"] if products else 0.0,
        sum(product.flops for product in products),
        config.batch,
        step.threads,
        step.device.type,
        step.is_compiled,
        peak=peak,
        products=step.products,
    )
    would_compile = not step.is_compiled and compiles(
        step.objective, replace(config, compile="auto"), total
    )
    return replace(profiled, advice=_advice(profiled, train, config, would_compile))


def _tasks(
    step: Step, train: Dataset, config: TrainConfig
) -> tuple[list["Product"], dict[str, Callable[[], object]]]:
    """The products of a step, and what is measured, by name."""
    size, batches = config.batch, _batches(train, config)

    def data() -> tuple[Tensor, Tensor | None]:
        return step.objective.vae.batch(train, next(batches))

    x, context = data()

    def forward() -> object:
        with step.autocast():
            return step.objective(x, context)

    vae = step.objective.vae
    products = floor_products((vae.encoder, vae.decoder), forward)
    gradients, _ = step._gradients(x, size, 1.0, context)

    def whole() -> Tensor:
        x, context = data()
        step.objective.at_step(0)
        step.learning_rate(config.rate)
        return step(x, size, 1.0, context)

    def update() -> None:
        # So that the same gradients, over and over, carry the weights nowhere.
        step.learning_rate(0.0)
        step._update(gradients)

    def floor() -> None:
        for layer in products:
            layer.forward()
        for layer in reversed(products):
            layer.backward()

    if step._compiled is not None:
        compiled = step._compiled
        middle: dict[str, Callable[[], object]] = {
            _COMPILED: lambda: compiled(x, size, 1.0, context)
        }
    else:
        middle = {"forward": forward, "gradients": lambda: step._gradients(x, size, 1.0, context)}
    return products, {"whole": whole, "data": data, **middle, "optimiser": update, "floor": floor}


def _in_turns(
    tasks: dict[str, Callable[[], object]],
    steps: int,
    repeats: int,
    device: torch.device,
    clock: Callable[[], float],
) -> dict[str, list[float]]:
    """Seconds per call of each task in each repeat."""

    def run(task: Callable[[], object], count: int) -> float:
        _wait(device)
        begun = clock()
        for _ in range(count):
            task()
        _wait(device)
        return (clock() - begun) / count

    for task in tasks.values():  # the first calls compile, and choose their kernels and memory
        run(task, 3)
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(repeats):
        for name, task in tasks.items():
            seconds[name].append(run(task, steps))
    return seconds


def _wait(device: torch.device) -> None:
    """Until the device has done what it was given; the processor always has."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def _batches(train: Dataset, config: TrainConfig) -> Iterator[Tensor]:
    """Row numbers of whole batches, epoch after epoch, as in a training."""
    epoch, size = 0, config.batch
    while True:
        order = epoch_order(len(train), config.seed, epoch, block=config.shuffle_block or None)
        yield from order[: len(order) // size * size].split(size)
        epoch += 1


def _advice(profiled: Profile, train: Dataset, config: TrainConfig, would_compile: bool) -> str:
    """One sentence on the largest thing that can be gained, or none."""
    share = profiled.parts["data"] / profiled.whole
    if share > 0.2:
        return f"Data take {share:.0%} of the step: {_about_data(train)}".replace("%", " %", 1)
    if would_compile:
        return "The training is long enough to win back the time that compiling takes: use `compile='auto'`."
    if 10 > profiled.whole > 3 * profiled.floor:
        can_compile = not profiled.is_compiled and config.precision != "fp16"
        more = ", and `compile='on'` saves part in a long training" if can_compile else ""
        return f"Most of this small step is not arithmetic: a larger `batch_size` shares the rest over more rows{more}."
    return ""


def _about_data(train: Dataset) -> str:
    if isinstance(train.raw, StoredRows) and not train.raw.on_disk:
        return "rows are rendered at every step; up to 100,000 sprites, as sprites:100000, are rendered once."
    if isinstance(train.raw, StoredRows):
        return (
            "rows are read from disk and converted at every step; save doubles as float32, or use `memory_map='off'` "
            "where memory suffices."
        )
    if train.schema.binarise == "dynamic":
        return "a random number is drawn for every value of every row, which is what `binarise='dynamic'` means."
    return "rows are gathered, converted and scaled at every step; a larger `batch_size` shares the fixed part of it."


# --- the floor ----------------------------------------------------------------------------------------------------


def floor_products(networks: Sequence[nn.Module], run: Callable[[], object]) -> list["Product"]:
    """The products that no program can leave out, in the order in which `run` makes them; those of a compiled step too.

    Args:
        networks: Whose linear and convolutional layers are looked at.
        run: A forward pass with the shapes that matter, gradients on.

    Example:
        >>> network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 5))
        >>> [product.flops for product in floor_products([network], lambda: network(torch.rand(2, 3)))]
        [96, 240]
    """
    products: list[Product] = []

    def note(layer: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        kind = _Matrix if isinstance(layer, LINEAR) else _Convolution
        products.append(kind(layer, given[0], output))

    layers = dict.fromkeys(layer for network in networks for layer in network.modules())
    chosen = [layer for layer in layers if isinstance(layer, (*LINEAR, *CONVOLUTIONS))]
    with watching(chosen, note):
        run()
    return products


class Product:
    """A layer's products with inputs of its shapes and types: forward, and those of the two gradients it needs.

    That of the input is needed where the input depends on a parameter, that of the weight where the weight is trained.
    Each is computed by torch as it is, or after `settle` in the way that takes least time.
    """

    def __init__(self, layer: Any, given: Tensor, output: Tensor) -> None:
        self.needs_input, self.needs_weight = given.requires_grad, layer.weight.requires_grad
        # Under autocast the output has the type in which the layer computes.
        like = (given.detach(), output.detach(), layer.weight.detach())
        self.x, self.y, self.weight = (
            torch.randn_like(tensor, dtype=output.dtype) for tensor in like
        )
        products = 1 + self.needs_input + self.needs_weight
        self.flops = 2 * multiplications_of(layer, given, output) * products
        self.ways: dict[str, Ways] = {}
        """How `y`, and the gradients of `weight` and `input`, can be computed; torch's own way first."""
        self.settled: dict[str, str] = {}
        """The way of each part that takes least time."""

    def settle(self) -> None:
        """Compute each part from now on in the way that takes least time."""
        for part, ways in self.ways.items():
            seconds = seconds_of(ways)
            self.settled[part] = min(seconds, key=seconds.__getitem__)

    def forward(self) -> None:
        """y from x."""
        self._compute("y")

    def backward(self) -> None:
        """The gradients from that of y."""
        if self.needs_weight:
            self._compute("weight")
        if self.needs_input:
            self._compute("input")

    def _compute(self, part: str) -> None:
        self.ways[part][self.settled.get(part, TORCH)]()


class _Matrix(Product):
    """Of `nn.Linear`: y = x W^T, dW = dy^T x, dx = dy W; by MKL, or what torch has, and by oneDNN."""

    def __init__(self, layer: Any, given: Tensor, output: Tensor) -> None:
        super().__init__(layer, given, output)
        x, y = self.x.flatten(0, -2), self.y.flatten(0, -2)
        factors = {"y": (x, self.weight.T), "weight": (y.T, x), "input": (y, self.weight)}
        self.ways = {part: _ways_of(left, right) for part, (left, right) in factors.items()}


class _Convolution(Product):
    """Of `nn.Conv*d` and `nn.ConvTranspose*d`."""

    def __init__(self, layer: Any, given: Tensor, output: Tensor) -> None:
        super().__init__(layer, given, output)
        transposed, padding = layer.transposed, layer.padding
        inner, outer = given.shape[2:], output.shape[2:]
        if transposed:
            inner, outer = outer, inner
        # The size at which the kernel fits exactly: of a convolution's padded input.
        axes = zip(outer, layer.stride, layer.dilation, layer.kernel_size, strict=True)
        fitting = [
            (size - 1) * stride + dilation * (kernel - 1) + 1
            for size, stride, dilation, kernel in axes
        ]
        extra = [0] * len(fitting)
        if transposed:  # the call may have asked for a size of its own
            extra = [
                size + 2 * pad - fits
                for size, pad, fits in zip(inner, padding, fitting, strict=True)
            ]
        elif isinstance(padding, str) or layer.padding_mode != "zeros":
            # The input is padded already.
            self.x, padding = (
                self.x.new_empty(*self.x.shape[:2], *fitting).normal_(),
                [0] * len(fitting),
            )
        geometry = Geometry(
            layer.stride, tuple(padding), layer.dilation, transposed, tuple(extra), layer.groups
        )
        layouts: dict[str, Callable[[Tensor], Tensor]] = {TORCH: Tensor.contiguous}
        if self.x.ndim == 4:
            layouts[LAST] = with_channels_last
        self.ways = {"y": {}, "weight": {}, "input": {}}
        for name, laid_out in layouts.items():
            x, y, weight = map(laid_out, (self.x, self.y, self.weight))
            self.ways["y"][name] = functools.partial(convolved, x, weight, None, geometry)
            for number, part in enumerate(("input", "weight")):
                wanted = [number == 0, number == 1, False]
                self.ways[part][name] = functools.partial(
                    convolution_slopes, y, x, weight, geometry, wanted
                )
        if transposed and self.x.ndim == 4 and layer.groups == 1:
            x = with_channels_last(self.x)
            self.ways["y"][FOLD] = functools.partial(folded, x, self.weight, None, geometry)


def _ways_of(left: Tensor, right: Tensor) -> Ways:
    """The product of two matrices by each of torch's libraries, with memory for the result."""
    result = left.new_empty(len(left), right.shape[1])
    ways: Ways = {TORCH: functools.partial(torch.mm, left, right, out=result)}
    if is_plain(left, right):
        ways[ONEDNN] = functools.partial(product, left, right.T, None, ONEDNN)
    return ways


def _peak(threads: int) -> float:
    """Floating-point operations per second of a long product, by the fastest library, in 10^9.

    NumPy's BLAS is among them here and not in the floor: its threads wait for work by spinning, and beside torch's they
    make both some hundred times slower.
    """
    side = 1536
    left, right = torch.rand(2, side, side, generator=torch.Generator().manual_seed(0)).unbind()
    seconds = seconds_of(_ways_of(left, right))
    arrays = (left.numpy(), right.numpy(), np.empty((side, side), np.float32))
    with threadpool_limits(threads, user_api="blas"):
        by_numpy = seconds_of({NUMPY: functools.partial(np.matmul, *arrays[:2], out=arrays[2])})
    return 2e-9 * side**3 / min(*seconds.values(), *by_numpy.values())
