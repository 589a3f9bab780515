"""Memory: how the process keeps and finds it."""

import ctypes
import functools

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # of glibc's malloc.h
_MIB = 2**20


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
