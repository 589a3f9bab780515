"""Memory: how the process keeps it, and how much there is."""

import ctypes
import functools
import math
import os
from collections.abc import Iterator
from pathlib import Path

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # of glibc's malloc.h
_MIB = 2**20
_LITTLE = 64 * _MIB  # less than that is not asked for


@functools.cache
def keep_freed() -> bool:
    """Let the C library keep what is freed, for the next step needs as much again.

    By default glibc gives large blocks back to the system as they are freed, and each step then faults in every page of
    its activations and gradients anew: measured 130 faults a step, 5 % of its time. The process keeps at most 512 MiB
    more than it uses. Where the C library has no such setting, nothing happens.

    Returns:
        Whether it was set.

    Example:
        >>> keep_freed() in (True, False)
        True
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    settings = ((_MMAP_THRESHOLD, 32 * _MIB), (_TRIM_THRESHOLD, 512 * _MIB), (_TOP_PAD, 64 * _MIB))
    return [mallopt(name, value) for name, value in settings] == [1, 1, 1]


def available() -> float:
    """Bytes that this process can have without swapping; infinite where the system does not say.

    The least of what the machine has free, and of what the limits of its control groups and its own leave.

    Example:
        >>> available() > 0
        True
    """
    return min(_free_of_machine(), _left_by_groups(Path("/proc/self/cgroup")), _left_by_limit())


def require(size: float, name: str, remedy: str) -> None:
    """Refuse what does not fit in memory, before any of it is taken.

    Args:
        size: Bytes.
        name: What they are for, at the beginning of the message.
        remedy: What to do, its end.

    Raises:
        ValueError: says how much is needed and how much is there.

    Example:
        >>> require(1e18, "all.npz", "Bring fewer rows.")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ValueError: all.npz must fit in memory; it needs 1,000,000,000.0 GB and ... GB can be had. Bring fewer rows.
    """
    there = available() if size > _LITTLE else math.inf
    if size > there:
        raise ValueError(
            f"{name} must fit in memory; it needs {size / 1e9:,.1f} GB and {there / 1e9:,.1f} GB can be had. {remedy}"
        )


def _free_of_machine() -> float:
    try:
        lines = dict(
            line.split(":")
            for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        )
        return 1024 * int(lines["MemAvailable"].split()[0])
    except (OSError, KeyError, ValueError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return math.inf


_GROUPS = {  # of each version of control groups: where they are, the files of a limit and of what is used, and of the
    # latter the part that the system gives up when it is needed
    "": (Path("/sys/fs/cgroup"), "memory.max", "memory.current", "inactive_file"),
    "memory": (
        Path("/sys/fs/cgroup/memory"),
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        "total_inactive_file",
    ),
}


def _left_by_groups(membership: Path) -> float:
    """What the limits of the process's control groups, and of those that these are in, leave."""
    try:
        lines = membership.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return math.inf
    groups = [line.split(":", 2)[1:] for line in lines if line.count(":") >= 2]
    return min(
        (left for controllers, path in groups for left in _left_by_group(controllers, path)),
        default=math.inf,
    )


def _left_by_group(controllers: str, path: str) -> Iterator[float]:
    kind = "memory" if "memory" in controllers.split(",") else controllers
    if kind not in _GROUPS:
        return
    root, limit, used, reclaimed = _GROUPS[kind]
    group = root / path.lstrip("/")
    for folder in (group, *group.parents):
        try:
            statistics = dict(
                line.split()
                for line in (folder / "memory.stat").read_text(encoding="ascii").splitlines()
            )
            numbers = [int((folder / name).read_text(encoding="ascii")) for name in (limit, used)]
            yield numbers[0] - numbers[1] + int(statistics.get(reclaimed, 0))
        except (OSError, ValueError):  # without a limit there is no file, or it says max
            continue


def _left_by_limit() -> float:
    """What the limit on the process's own addresses leaves, as `ulimit -v` sets it."""
    try:
        import resource  # which Windows does not have

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except (ImportError, OSError, ValueError):
        return math.inf
    return math.inf if limit == resource.RLIM_INFINITY else limit - pages * resource.getpagesize()
