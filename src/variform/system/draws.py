"""Draws: the random numbers of a training step, which do not depend on how many processes share its batch.

A process of a distributed run holds some rows of a batch. It draws for all rows and keeps what belongs to its own: many
processes together then use the numbers that one process would use, and their random states stay equal.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

_share: tuple[int, int, int] | None = None
_is_common = False


def seed(number: int) -> None:
    """Begin torch's random numbers anew.

    Without an accelerator only the CPU's generator has to know: `torch.manual_seed` would keep the number, and where it
    was called from, for every kind of device, which takes longer than many a draw.
    """
    if torch.accelerator.is_available():
        torch.manual_seed(number)
    else:
        torch.default_generator.manual_seed(number)


@contextmanager
def seeded(number: int) -> Iterator[None]:
    """Inside, torch's random numbers begin with this seed; afterwards they go on as if nothing had been drawn.

    Example:
        >>> with seeded(0):
        ...     first = normal((2, 3))
        >>> with seeded(0):
        ...     torch.equal(first, normal((2, 3)))
        True
    """
    # Of several GPUs torch would warn, unless they are named.
    with torch.random.fork_rng(range(torch.cuda.device_count())):
        seed(number)
        yield


@contextmanager
def undisturbed() -> Iterator[None]:
    """Afterwards torch's random numbers go on as if nothing had been drawn inside.

    Example:
        >>> with seeded(0):
        ...     with undisturbed():
        ...         first = normal((2, 3))
        ...     torch.equal(first, normal((2, 3)))
        True
    """
    with torch.random.fork_rng(range(torch.cuda.device_count())):
        yield


@contextmanager
def sharing(start: int, stop: int, total: int) -> Iterator[None]:
    """Inside, this process holds the rows from `start` to `stop` of a batch of `total` rows.

    Example:
        >>> def draw(rows):
        ...     with seeded(0):
        ...         return uniform((rows, 2))
        >>> with sharing(1, 3, 4):
        ...     mine = draw(2)
        >>> torch.equal(mine, draw(4)[1:3])
        True
    """
    global _share
    before, _share = _share, (start, stop, total)
    try:
        yield
    finally:
        _share = before


def in_parts(rows: int, parts: int) -> Iterator[slice]:
    """The rows of a batch, part by part; while one is worked on, draws are those that the whole batch has for it.

    Args:
        rows: Rows of the batch, or of this process's share of it.
        parts: How many parts there are, where there are as many rows.

    Example:
        >>> with seeded(0):
        ...     parts = [normal((part.stop - part.start, 2)) for part in in_parts(5, 2)]
        >>> with seeded(0):
        ...     torch.equal(torch.cat(parts), normal((5, 2)))
        True
    """
    start, _, total = _share or (0, rows, rows)
    states = [torch.get_rng_state()]
    if torch.cuda.is_available():
        states.append(torch.cuda.get_rng_state())
    parts = min(parts, rows)
    for number in range(parts):
        part = slice(rows * number // parts, rows * (number + 1) // parts)
        torch.set_rng_state(states[0])
        if len(states) > 1:
            torch.cuda.set_rng_state(states[1])
        with sharing(start + part.start, start + part.stop, total):
            yield part


@contextmanager
def common() -> Iterator[None]:
    """Inside, all rows of a batch get the same numbers: what is found for a row does not depend on those beside it.

    Example:
        >>> with common():
        ...     noise = normal((4, 2))
        >>> torch.equal(noise[0], noise[3])
        True
    """
    global _is_common
    before, _is_common = _is_common, True
    try:
        yield
    finally:
        _is_common = before


def normal(
    shape: torch.Size | tuple[int, ...], *, axis: int = 0, like: Tensor | None = None
) -> Tensor:
    """Draws from N(0, 1).

    Args:
        shape: Shape of the result.
        axis: The axis of the batch's rows, which may also hold L times as many, all rows of one sample after another.
        like: A tensor whose dtype and device are taken.

    Example:
        >>> normal((5, 3)).shape
        torch.Size([5, 3])
    """
    return _drawn(torch.randn, shape, axis, like, None)


def uniform(
    shape: torch.Size | tuple[int, ...],
    *,
    axis: int = 0,
    like: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draws from the uniform distribution on [0, 1); arguments as of `normal`.

    Args:
        shape: Shape of the result.
        axis: The axis of the batch's rows.
        like: A tensor whose dtype and device are taken.
        generator: Source of the draws; torch's global one by default.

    Example:
        >>> bool((uniform((1000,)) < 1).all())
        True
    """
    return _drawn(torch.rand, shape, axis, like, generator)


class Dropout(nn.Module):
    """In training, zeroes each unit with probability `probability` and divides the others by 1 - `probability`.

    torch's own draws for the rows of this process only.

    Args:
        probability: In [0, 1).

    Shape:
        (B, ...) to the same.

    Reference:
        Srivastava et al. (2014), in the form that changes nothing in evaluation.

    Example:
        >>> Dropout(0.5).eval()(torch.ones(2))
        tensor([1., 1.])
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        """The units that are left."""
        if not self.training:
            return x
        return x * (uniform(x.shape, like=x) >= self.probability) / (1 - self.probability)

    def extra_repr(self) -> str:
        """Shown when the module is printed."""
        return f"{self.probability}"


def _drawn(
    draw: Callable[..., Tensor],
    shape: torch.Size | tuple[int, ...],
    axis: int,
    like: Tensor | None,
    generator: torch.Generator | None,
) -> Tensor:
    options: dict[str, Any] = {} if like is None else {"dtype": like.dtype, "device": like.device}
    if generator is not None:
        options["generator"] = generator
    if _is_common:
        return draw((*shape[:axis], 1, *shape[axis + 1 :]), **options).expand(tuple(shape))
    if _share is None:
        return draw(tuple(shape), **options)
    start, stop, total = _share
    repeats = shape[axis] // (stop - start)
    whole = draw((*shape[:axis], repeats, total, *shape[axis + 1 :]), **options)
    return whole.narrow(axis + 1, start, stop - start).reshape(tuple(shape))
