"""Processes: several of them, on one host or many, that train one model.

Started by torchrun, each process has a rank; rank 0 writes. Without torchrun there is one process, and every function
here is then trivial.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from variform import draws

PATIENCE = timedelta(minutes=10)
"""How long a process waits for another that does not answer, such as one behind a broken link or still reading data."""


class ProcessLostError(ConnectionError):
    """Another process of the job ended, or cannot be reached any more."""


def rank() -> int:
    """Number of this process, from 0.

    Example:
        >>> rank()
        0
    """
    return dist.get_rank() if _is_joined() else int(os.environ.get("RANK", "0"))


def count() -> int:
    """Number of processes that train together.

    Example:
        >>> count()
        1
    """
    return dist.get_world_size() if _is_joined() else 1


def _is_joined() -> bool:
    return dist.is_available() and dist.is_initialized()


@contextmanager
def joined() -> Iterator[None]:
    """Inside, the processes that torchrun started know each other; without torchrun nothing happens.

    GPUs are joined by NCCL, everything else by gloo.

    Raises:
        ProcessLostError: when another process ends before its work is done.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or _is_joined():
        yield
        return
    try:
        dist.init_process_group(timeout=PATIENCE)
        yield
    except RuntimeError as error:
        if not _is_loss(error):
            raise
        raise ProcessLostError(
            f"every process of the job must live until its end; process {os.environ['RANK']} of "
            f"{os.environ['WORLD_SIZE']} has lost another. torchrun, on the host of the one that ended first, names it "
            "as the root cause. Go on, with any number of processes, with variform train --resume."
        ) from error
    else:  # an error ends the process, which needs no good-byes: another may not be there to hear them
        dist.destroy_process_group()


def _is_loss(error: RuntimeError) -> bool:
    """Whether an error of torch says that another process is gone."""
    signs = ("closed by peer", "reset by peer", "gloo", "nccl", "timed out", "broken pipe", "tcpstore", "socket")
    return isinstance(error, dist.DistError) or any(sign in str(error).lower() for sign in signs)


@contextmanager
def share(total: int) -> Iterator[tuple[slice, float]]:
    """The rows of a batch of `total` rows that this process takes, and their weight in sums over all processes.

    Inside, `draws` draws for the whole batch and keeps this process's rows. A process that would have none takes the
    first row with weight 0, so that all processes make the same calls.

    Example:
        >>> with share(128) as (rows, weight):
        ...     rows, weight
        (slice(0, 128, None), 1.0)
    """
    processes = count()
    if processes == 1:
        yield slice(0, total), 1.0
        return
    start, stop = (total * number // processes for number in (rank(), rank() + 1))
    weight = 1.0
    if start == stop:
        start, stop, weight = 0, 1, 0.0
    with draws.sharing(start, stop, total):
        yield slice(start, stop), weight


def summed(values: Tensor) -> Tensor:
    """The sum of `values`, which are on the CPU, over all processes.

    Example:
        >>> summed(torch.ones(2))
        tensor([1., 1.])
    """
    if count() == 1:
        return values
    values = values.clone()
    dist.all_reduce(values)
    return values


def any_of(*flags: bool) -> list[bool]:
    """For each flag, whether it is set in any of the processes.

    Example:
        >>> any_of(True, False)
        [True, False]
    """
    if count() == 1:
        return list(flags)
    values = torch.tensor(flags, dtype=torch.float32)
    dist.all_reduce(values, dist.ReduceOp.MAX)
    return [bool(value) for value in values.tolist()]


def told(content: bytes) -> bytes:
    """The `content` of process 0, in every process.

    Example:
        >>> told(b"a file")
        b'a file'
    """
    if count() == 1:
        return content
    length = torch.tensor([len(content)])
    dist.broadcast(length, 0)
    values = torch.zeros(int(length.item()), dtype=torch.uint8)
    if rank() == 0:
        values.copy_(torch.frombuffer(bytearray(content), dtype=torch.uint8))
    dist.broadcast(values, 0)
    return values.numpy().tobytes()
