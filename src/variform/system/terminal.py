"""The terminal: progress on standard error, which never ends what it speaks of; in a notebook on standard output.

A pipe that nobody reads, a full disk behind `2>`, a terminal that was closed: what cannot be written there is dropped.
"""

import contextlib
import os
import sys
from typing import Any, TextIO, cast

from rich.console import Console

from variform.system.notebook import in_notebook


class Forgiving:
    """A stream that drops what it cannot write.

    Args:
        stream: Where it writes.

    Example:
        >>> import io
        >>> stream = io.StringIO()
        >>> Forgiving(stream).write("heard")
        5
        >>> stream.close()
        >>> Forgiving(stream).write("not heard")
        9
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Write, or drop."""
        with contextlib.suppress(OSError, ValueError):  # the latter of a closed one
            self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush, or drop."""
        with contextlib.suppress(OSError, ValueError):
            self.stream.flush()


def where_said() -> TextIO | None:
    """Standard error; in a notebook standard output, for there the other is coloured as what went wrong.

    Example:
        >>> where_said() is sys.stderr
        True
    """
    return sys.stdout if in_notebook() else sys.stderr


def console() -> Console:
    """A console for progress.

    Example:
        >>> console().stderr
        True
    """
    made = Console(
        stderr=True, force_jupyter=False, force_terminal=False if in_notebook() else None
    )  # a kernel's stream says that it is a terminal
    stream = where_said()
    if stream is not None:
        made.file = cast(TextIO, Forgiving(stream))
    return made


def discard(stream: TextIO) -> None:
    """Let a stream that cannot be written end in nothing, so that what it still holds does no harm at the very end.

    Args:
        stream: Standard output or standard error.
    """
    with contextlib.suppress(OSError, ValueError):  # one without a file
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, stream.fileno())
        os.close(nothing)


def open_closed() -> None:
    """Open standard input, output and error on nothing where they are closed: the next file would become one of them.

    Example:
        >>> open_closed()
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # It takes the lowest number that is free.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w")
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w")
