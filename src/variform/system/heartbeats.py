"""Heartbeats: processes of a job tell each other that they live, so that one that is gone ends the others soon.

Whether a process lives and whether it comes are two questions. One that reads data for an hour lets the others wait,
and they should; one that was stopped, or whose host is gone, will never come. A thread of each process therefore sets a
growing number in the store of the job every second, and another watches the numbers of the next processes.

A thread needs the interpreter. What keeps that for long, such as the copying of a large checkpoint, says so with
`allow`, and the others have patience.
"""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

INTERVAL = 1.0
"""Seconds between two beats."""

SILENCE = 25.0
"""Seconds after which a process that was heard before, and is not any more, is given up."""

START = 600.0
"""Seconds that a process may take to its first beat: importing torch from a busy file system takes minutes."""

_WATCHED = 8
"""How many processes each one watches: those next to it in rank, so that the loss of a host is seen by another."""

_LEFT = "left"

_present: list["Heartbeat"] = []


class Heartbeat:
    """The beats of this process, and its watch over others.

    Args:
        rank: Number of this process.
        count: Number of processes.
        connect: Gives a client of the job's store, and raises RuntimeError while there is none.
        prefix: What the names in the store begin with.
        lost: What to say where the processes of these numbers are gone; the process then ends with exit code 1.
    """

    def __init__(
        self,
        rank: int,
        count: int,
        connect: Callable[[], Any],
        prefix: str,
        lost: Callable[[Sequence[int]], str],
    ) -> None:
        self._keys = [f"{prefix}/{number}" for number in range(count)]
        self._rank = rank
        self._connect = connect
        self._lost = lost
        following = [(rank + step) % count for step in range(1, count)]
        self._silent = dict.fromkeys(following[:_WATCHED], 0.0)
        """Seconds since each watched process was last heard."""
        self._patience = dict.fromkeys(self._silent, START)
        self._heard: dict[int, bytes] = {}
        self._store: Any = None
        self._beats, self.allowed = 0, 0.0
        self._over = threading.Event()
        self._ending, self._setting = threading.Lock(), threading.Lock()
        self._threads = [
            threading.Thread(target=work, name=f"variform {work.__name__}", daemon=True)
            for work in (self._beat, self._watch)
        ]

    def start(self) -> None:
        """Begin to beat and to watch."""
        _present.append(self)
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Leave the job; the others do not wait for further beats."""
        with self._ending:  # a watch that has found a loss ends the process first
            self._over.set()
        _present.remove(self)
        for thread in self._threads:
            thread.join(timeout=5)  # which may wait for a host that is gone

    def allow(self, seconds: float) -> None:
        """Tell the others that this process may be silent for `seconds` more than usual, at once."""
        self.allowed = seconds
        try:
            if self._store is not None:
                self._set()
        except RuntimeError:
            self._store = None

    def _beat(self) -> None:
        while not self._over.is_set():
            try:
                self._store = self._store or self._connect()
                self._set()
                self._listen()
            except RuntimeError:
                self._store = None  # whoever was not heard grows silent
            self._over.wait(INTERVAL)
        try:
            if self._store is not None:
                self._store.set(self._keys[self._rank], _LEFT)
        except RuntimeError:
            return  # nobody is there to read it

    def _set(self) -> None:
        with self._setting:
            self._beats += 1
            self._store.set(self._keys[self._rank], f"{self._beats} {self.allowed}")

    def _listen(self) -> None:
        """Note whose number has changed; the first that is found may be of a process before a restart."""
        for number in list(self._silent):
            key, before = self._keys[number], self._heard.get(number)
            if before is None and not self._store.check([key]):
                continue
            value = self._store.get(key)
            self._heard[number] = value
            if before is None or value == before:
                continue
            if value == _LEFT.encode():
                del self._silent[number]
                continue
            self._patience[number] = SILENCE + float(value.split()[1])
            self._silent[number] = 0.0

    def _watch(self) -> None:
        """End this process where another is silent for too long."""
        before = time.monotonic()
        while not self._over.wait(INTERVAL):
            now = time.monotonic()
            # Where this process was stopped itself, as with its whole job, it could not have heard.
            passed = min(now - before, 2 * INTERVAL)
            before = now
            for number, silent in list(self._silent.items()):
                if number in self._silent:
                    self._silent[number] = silent + passed
            gone = [
                number
                for number, silent in list(self._silent.items())
                if silent > self._patience[number]
            ]
            with self._ending:
                if gone and not self._over.is_set():
                    sys.stderr.write(f"error: {self._lost(gone)}\n")
                    sys.stderr.flush()
                    os._exit(1)  # the main thread waits for a process that does not come


@contextmanager
def allow(seconds: float) -> Iterator[None]:
    """Inside, this process may be silent for `seconds` more than usual, for it keeps the interpreter from its threads.

    Example:
        >>> with allow(60):
        ...     pass
    """
    if not _present:
        yield
        return
    heartbeat = _present[-1]
    before = heartbeat.allowed
    heartbeat.allow(before + seconds)
    try:
        yield
    finally:
        heartbeat.allow(before)


def copying(size: int) -> AbstractContextManager[None]:
    """Inside, safetensors may copy `size` bytes, which keeps the interpreter: up to 6 s/GB were measured.

    Example:
        >>> with copying(10**9):
        ...     pass
    """
    return allow(20e-9 * size)
