"""Work: what a network has to do, and how many threads that is worth.

Threads share a step in parts of some 100 microseconds, and after each part they wait for the last of them. On a busy
machine that one may not be running: then all wait until the system gives it a core, which takes milliseconds.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

LINEAR = (nn.Linear,)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, *TRANSPOSED)

# Measured on two quiet cores: two threads take as long as one for a training step whose forward pass has 1.3 * 10^7
# multiplications, three quarters of it for 8.3 * 10^7. For the first they cost the processors 1.4 to 1.7 times as much.
_WORTH_SHARING = 2**24
_CHOICES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
_OF_TORCH = torch.get_num_threads()


def threads_for(multiplications: float) -> int:
    """How many threads a step is worth: as many as torch has, or one where there is too little to share.

    Whoever chooses a number himself, by OMP_NUM_THREADS or by `torch.set_num_threads`, gets that.

    Args:
        multiplications: Those of the step's forward pass.

    Example:
        >>> threads_for(10**12) == torch.get_num_threads()
        True
    """
    is_shared = _is_chosen() or multiplications >= _WORTH_SHARING
    return torch.get_num_threads() if is_shared else 1


def threads_again(before: int) -> int:
    """How many threads go on with steps that had `before`: as many, for sums have other bits with another number.

    Args:
        before: 0 where that is not known, in files of versions that used all that torch has.

    Example:
        >>> threads_again(0) == torch.get_num_threads()
        True
    """
    there = torch.get_num_threads()
    return there if _is_chosen() or not before else min(before, there)


def _is_chosen() -> bool:
    """Whether the user says how many threads there are."""
    is_named = any(os.environ.get(name) for name in _CHOICES)
    return is_named or torch.get_num_threads() != _OF_TORCH


@contextmanager
def using(threads: int) -> Iterator[None]:
    """Inside, torch computes with `threads` threads; afterwards with as many as before.

    Example:
        >>> with using(1):
        ...     torch.get_num_threads()
        1
    """
    before = torch.get_num_threads()
    if threads == before:
        yield
        return
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def multiplications(module: nn.Module, run: Callable[[], object]) -> int:
    """How many multiplications the linear and convolutional layers of `module` do while `run` runs.

    Example:
        >>> network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 5))
        >>> multiplications(network, lambda: network(torch.zeros(2, 3)))
        64
    """
    count = 0

    def add(layer: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal count
        count += multiplications_of(layer, given[0], output)

    with watching(
        (layer for layer in module.modules() if isinstance(layer, (*LINEAR, *CONVOLUTIONS))), add
    ):
        run()
    return count


def multiplications_of(layer: Any, given: Tensor, output: Tensor) -> int:
    """Multiplications of a linear or convolutional layer: each weight once for every position that it meets.

    Example:
        >>> layer, images = nn.Conv2d(1, 4, 3), torch.zeros(2, 1, 5, 5)
        >>> multiplications_of(layer, images, layer(images)) == 2 * (3 * 3) * layer.weight.numel()
        True
    """
    where = given if isinstance(layer, TRANSPOSED) else output
    return (
        where.numel() // where.shape[-1 if isinstance(layer, LINEAR) else 1] * layer.weight.numel()
    )


def floats_given(module: nn.Module, run: Callable[[], object]) -> int:
    """How many numbers the layers of `module` give while `run` runs: memory, and work beside products, grow with it.

    Example:
        >>> network = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
        >>> floats_given(network, lambda: network(torch.zeros(2, 3)))
        16
    """
    count = 0

    def add(layer: nn.Module, given: object, output: object) -> None:
        nonlocal count
        count += output.numel() if isinstance(output, Tensor) else 0

    with watching((layer for layer in module.modules() if not any(layer.children())), add):
        run()
    return count


@contextmanager
def watching(layers: Iterable[nn.Module], note: Callable[..., None]) -> Iterator[None]:
    """Inside, `note(layer, inputs, output)` is called whenever one of `layers` has given something."""
    hooks = [layer.register_forward_hook(note) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
