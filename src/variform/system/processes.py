"""Processes: several of them, on one host or many, that train one model.

Started by torchrun, each process has a rank; rank 0 writes. Without torchrun there is one process, and every function
here is then trivial.
"""

import os
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from variform.system import draws
from variform.system.heartbeats import SILENCE, Heartbeat
from variform.system.locks import HeldError

PATIENCE = timedelta(hours=3)
"""How long a process waits for another that lives and does not come, such as one that still reads data.

One that does not live any more, or cannot be reached, is noticed by its heartbeat, much sooner.
"""

_lent: list[weakref.ref[Tensor]] = []
"""Tensors that were given to threads of gloo."""


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

    One that is only not heard any more, stopped or behind a broken link, ends this one with a sentence on standard
    error and exit code 1, for its main thread waits where nothing can be raised.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or _is_joined():
        yield
        return
    heartbeat = _heartbeat()
    heartbeat.start()
    try:
        _join()
        yield
    except RuntimeError as error:
        if not _is_loss(error):
            raise
        happened = "has lost another. torchrun, on the host of the one that ended first, names it as the root cause"
        raise ProcessLostError(_lost(happened)) from error
    else:  # an error ends the process, which needs no good-byes: another may not be there to hear them
        dist.destroy_process_group()
    finally:
        heartbeat.stop()
        settle()


def _join() -> None:
    """Make the group of all processes.

    torchrun's store outlives a restart with what the processes before had in it: a group with the names of theirs waits
    for them.
    """
    if not _is_remembered():
        dist.init_process_group(timeout=PATIENCE)
        return
    store = _job_store()
    store.set_timeout(PATIENCE)
    dist.init_process_group(
        store=dist.PrefixStore(f"variform/attempt/{_attempt()}", store),
        rank=int(os.environ["RANK"]),
        world_size=int(os.environ["WORLD_SIZE"]),
        timeout=PATIENCE,
    )


def _attempt() -> str:
    """How often torchrun restarted the processes of this job."""
    return os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")


def _heartbeat() -> Heartbeat:
    """That of this process, which ends it where another is not heard any more."""

    def said(numbers: Sequence[int]) -> str:
        who = " and ".join(str(number) for number in sorted(numbers))
        return _lost(
            f"has not heard from process {who} for {SILENCE:.0f} s, which was stopped, or whose host or network is down"
        )

    return Heartbeat(
        int(os.environ["RANK"]),
        int(os.environ["WORLD_SIZE"]),
        _job_store,
        f"variform/heartbeat/{_attempt()}",
        said,
    )


def _job_store() -> dist.TCPStore:
    """A client of the store that torchrun, or process 0, keeps for the job; it serves one thread."""
    return dist.TCPStore(
        os.environ["MASTER_ADDR"],
        int(os.environ["MASTER_PORT"]),
        is_master=False,
        wait_for_workers=False,
        timeout=timedelta(seconds=SILENCE),
    )


def _lost(happened: str) -> str:
    """What a process says that goes no further without another."""
    return (
        f"every process of the job must live until its end; process {os.environ['RANK']} of "
        f"{os.environ['WORLD_SIZE']} {happened}. Go on, with any number of processes, with variform train --resume."
    )


def _is_loss(error: RuntimeError) -> bool:
    """Whether an error of torch says that another process is gone."""
    signs = (
        "closed by peer",
        "reset by peer",
        "gloo",
        "nccl",
        "timed out",
        "broken pipe",
        "tcpstore",
        "socket",
    )
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
    return _exchanged(values, dist.all_reduce)


def any_of(*flags: bool) -> list[bool]:
    """For each flag, whether it is set in any of the processes.

    Example:
        >>> any_of(True, False)
        [True, False]
    """
    if count() == 1:
        return list(flags)
    values = _exchanged(
        torch.tensor(flags, dtype=torch.float32), dist.all_reduce, dist.ReduceOp.MAX
    )
    return [bool(value) for value in values.tolist()]


def gathered(content: bytes) -> list[bytes]:
    """What each process brings, in the order of their numbers, in every process; meant for little.

    Example:
        >>> gathered(b"mine")
        [b'mine']
    """
    if count() == 1:
        return [content]
    mine = torch.zeros(count(), dtype=torch.int64)
    mine[rank()] = len(content)
    lengths = summed(mine).tolist()
    if not any(lengths):
        return [b""] * count()
    rows = torch.zeros(count(), max(lengths), dtype=torch.uint8)  # a row for each process
    rows[rank(), : len(content)] = torch.tensor(list(content), dtype=torch.uint8)
    contents = zip(summed(rows), lengths, strict=True)
    return [bytes(row[:length].tolist()) for row, length in contents]


@contextmanager
def together() -> Iterator[None]:
    """Inside, each process does its part; what one of them cannot do ends all, with its sentence.

    Raises:
        OSError, ValueError: what this process raised, else an error of that kind with the words of the first that did.

    Example:
        >>> with together():
        ...     raise OSError("the disk must have room; it has none. Make room.")
        Traceback (most recent call last):
        OSError: the disk must have room; it has none. Make room.
    """
    own: OSError | ValueError | None = None
    try:
        yield
    except (OSError, ValueError) as error:
        own = error
    said = b"" if own is None else f"{int(isinstance(own, OSError))}{own}".encode()
    first = next(filter(None, gathered(said)), b"").decode()
    if own is not None:
        raise own
    if first:
        raise (OSError if first[0] == "1" else ValueError)(first[1:])


@contextmanager
def for_all(holding: AbstractContextManager[None]) -> Iterator[None]:
    """Inside, process 0 holds a folder for all processes; where it cannot, each of them ends with an error.

    Args:
        holding: What process 0 alone enters.

    Raises:
        OSError: what process 0 raised on entering; in the others a HeldError.
    """
    with ExitStack() as stack:
        refusal: OSError | None = None
        if rank() == 0:
            try:
                stack.enter_context(holding)
            except OSError as error:
                refusal = error
        if any_of(refusal is not None)[0]:
            raise refusal or HeldError(
                "the run's folder must be free for process 0; it says why it is not."
            )
        yield


def note_begun(folder: Path) -> None:
    """Have torchrun remember, beyond a restart of the processes, that its job began the run in `folder`.

    Example:
        >>> note_begun(Path("runs/new"))
    """
    if rank() == 0 and _is_remembered():
        _job_store().add(_begun(folder), 1)  # which waits for the answer, as `set` does not


def has_begun(folder: Path) -> bool:
    """Whether this job began the run in `folder`, before torchrun restarted its processes; asked of process 0.

    Example:
        >>> has_begun(Path("runs/new"))
        False
    """
    if not _is_remembered():
        return False
    is_ours = rank() == 0 and _job_store().check([_begun(folder)])
    return any_of(is_ours)[0]


def _is_remembered() -> bool:
    """Whether a store outlives this process: that of torchrun."""
    return os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"


def _begun(folder: Path) -> str:
    return f"variform/begun/{folder.absolute()}"


def broadcast(content: bytes) -> bytes:
    """The `content` of process 0, in every process.

    Example:
        >>> broadcast(b"a file")
        b'a file'
    """
    if count() == 1:
        return content
    length = int(_exchanged(torch.tensor([len(content)]), dist.broadcast, 0).item())
    values = torch.zeros(length, dtype=torch.uint8)
    if rank() == 0:
        values.copy_(torch.frombuffer(bytearray(content), dtype=torch.uint8))
    return _exchanged(values, dist.broadcast, 0).numpy().tobytes()


def _exchanged(values: Tensor, operation: Callable[..., Any], *options: Any) -> Tensor:
    """What `operation` makes of a copy of `values`."""
    shared = values.clone()
    _lent[:] = [lent for lent in _lent if lent() is not None] + [weakref.ref(shared)]
    operation(shared, *options)
    return shared.clone()


def settle() -> None:
    """Wait, for a second at most, until no thread of gloo holds a tensor of an operation that is over.

    Such a thread drops its tensor a moment after the operation, and needs the interpreter for that: one that is still
    about to when the interpreter ends kills the process.

    Reference:
        https://github.com/pytorch/pytorch/pull/179291

    Example:
        >>> settle()
    """
    patience = time.monotonic() + 1
    while any(lent() is not None for lent in _lent) and time.monotonic() < patience:
        time.sleep(0)  # lets the thread have the interpreter
