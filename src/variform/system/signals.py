"""Signals that ask a process to end: what it has so far is saved first, and its exit code says which one came.

SIGINT is Ctrl-C; SIGTERM comes from `kill`, a system that shuts down or a scheduler; SIGHUP from a terminal that is
closed; SIGUSR1 from schedulers such as Slurm, some time before the end. One that the process was started to ignore, as
under nohup, stays ignored.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)


class Stopped(KeyboardInterrupt):
    """A signal asked the process to end.

    Args:
        message: What was stopped, and how to go on.
        number: The signal.

    Example:
        >>> Stopped("stopped", signal.SIGTERM).exit_code
        143
    """

    def __init__(self, message: str = "interrupted", number: int = signal.SIGINT) -> None:
        super().__init__(message)
        self.number = number

    @property
    def exit_code(self) -> int:
        """What a shell calls the end by this signal."""
        return 128 + self.number

    @classmethod
    def by(cls, error: KeyboardInterrupt, message: str) -> "Stopped":
        """The end by the signal that raised `error`, in other words."""
        return cls(message, error.number if isinstance(error, Stopped) else signal.SIGINT)


def raise_stopped() -> None:
    """From now on the signals raise `Stopped`, wherever the process is, so that half-written files are taken away."""
    for number in SIGNALS:
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _raise)


def _raise(number: int, frame: FrameType | None) -> None:
    del frame
    raise Stopped(number=number)


class Asked:
    """Whether a signal has come, and the last that did."""

    number: int | None = None

    def is_set(self) -> bool:
        """Whether one has."""
        return self.number is not None


@contextmanager
def noted(catch: bool = True) -> Iterator[Asked]:
    """Inside, the first signal of each kind is noted and nothing else; a second one has its usual effect.

    Args:
        catch: Whether to; not that of a thread that gets no signals.

    Example:
        >>> with noted() as asked:
        ...     signal.raise_signal(signal.SIGUSR1)
        >>> asked.is_set(), signal.Signals(asked.number).name
        (True, 'SIGUSR1')
    """
    asked = Asked()
    if not catch or threading.current_thread() is not threading.main_thread():
        yield asked
        return
    handlers: dict[int, Any] = {number: signal.getsignal(number) for number in SIGNALS}
    usual = {
        number: handler
        for number, handler in handlers.items()
        if handler not in (signal.SIG_IGN, None)
    }

    def note(number: int, frame: FrameType | None) -> None:
        del frame
        asked.number = number
        signal.signal(number, usual[number])

    for number in usual:
        signal.signal(number, note)
    try:
        yield asked
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
