"""Locks: one process at a time writes into a folder, and the others hear which one it is.

The holder of a folder has the file `.lock` in it open and locked with flock(2). The system forgets that lock with the
process, however it ends, so that a killed one bars nobody on its own host; no process number can be mistaken, not even
that of another container. The file says who holds the folder. It appears whole and in one step, by link(2), also where
the folder lies on a file system that several hosts share and flock may be known to one of them alone: there the file
stands for the lock, and only a person can know that its holder is gone.
"""

import contextlib
import errno
import fcntl
import json
import os
import re
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import get_ident

NAME = ".lock"

_NO_LINKS = (errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.EMLINK)
_TRIES, _PAUSE = 4, 0.05  # of a folder whose holder is just ending, or just beginning

_held: dict[int, tuple[Path, int]] = {}
"""The lock files that this process has, and which of its threads took each, by their descriptors."""


class HeldError(OSError):
    """Another process writes into the folder."""


@dataclass(frozen=True)
class Holder:
    """Who holds a folder.

    Args:
        host: The name of its host.
        boot: What the host's system calls its present run; empty where it has no name for it.
        pid: Number of the process.
        started: When it started, in the words of its system: another process may get its number.
        since: When it took the folder, in UTC.
        command: What was called.
        flocked: Whether the file system knows flock.
    """

    host: str
    boot: str
    pid: int
    started: str
    since: str
    command: str
    flocked: bool

    @classmethod
    def present(cls, *, flocked: bool) -> "Holder":
        """This process, now."""
        pid = os.getpid()
        since = datetime.now(UTC).isoformat(sep=" ", timespec="seconds")
        return cls(
            os.uname().nodename,
            _boot(),
            pid,
            _started(pid),
            since,
            shlex.join(sys.argv)[:200],
            flocked,
        )

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} ({self.command}) has held it since {self.since}{_ago(self.since)}"

    @property
    def is_here(self) -> bool:
        """Whether it is, or was, a process of this host."""
        return self.host == os.uname().nodename or (self.boot != "" and self.boot == _boot())

    @property
    def is_gone(self) -> bool:
        """Whether a process of this host is known to have ended; containers of another name have other numbers."""
        if self.host != os.uname().nodename:
            return False
        return self.boot != _boot() or _started(self.pid) != self.started


@contextmanager
def held(
    folder: str | os.PathLike[str], *, make: bool = False, again: bool = False
) -> Iterator[None]:
    """Inside, this process alone writes into `folder`.

    Args:
        folder: The folder.
        make: Make it, and what it stands in, where it is not there; what stays empty goes again.
        again: Go on where this very thread holds it already, which is refused otherwise like any other holder.

    Raises:
        HeldError: when another process holds it; says who, since when, and what to do.
        OSError: when it cannot be made or written to.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with held(folder / "new", make=True):
        ...     [path.name for path in (folder / "new").iterdir()]
        ['.lock']
        >>> list(folder.iterdir())
        []
    """
    folder, made = Path(folder), set[Path]()
    path, is_ours = folder / NAME, True
    if again and any(
        _is_at(path, descriptor) for descriptor, (_, by) in _held.items() if by == get_ident()
    ):
        yield
        return
    try:
        descriptor = _taken(folder, made, make=make)
        _held[descriptor] = (path.absolute(), get_ident())
        try:
            yield
        finally:
            del _held[descriptor]
            is_ours = _is_at(path, descriptor)
            if is_ours:
                # On a disk that became read-only it stays, and bars nobody.
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)
            os.close(descriptor)
    finally:
        for new in sorted(made if is_ours else (), reverse=True):
            with contextlib.suppress(OSError):  # it is not empty
                new.rmdir()


@contextmanager
def claimed(folder: Path, *, overwrite: bool = False) -> Iterator[None]:
    """Inside, this process alone writes into `folder`: a new one, an empty one, or with `overwrite` an old one.

    Raises:
        HeldError: when another process holds it.
        OSError: when it cannot be made or, without `overwrite`, holds something already.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "notes.txt").write_text("mine")
        >>> with claimed(folder, overwrite=True):
        ...     sorted(path.name for path in folder.iterdir())
        ['.lock', 'notes.txt']
    """
    with held(folder, make=True):
        if not overwrite and not all(is_lock(path.name) for path in folder.iterdir()):
            raise FileExistsError(
                f"the output folder must be new or empty; {folder} is not. "
                "Choose another `folder`, go on with what is there, or replace it with `overwrite=True`."
            )
        yield


def is_lock(name: str) -> bool:
    """Whether a file of this name is a lock, or that of a process which is about to try for it.

    Example:
        >>> [is_lock(name) for name in (".lock", ".lock-0123abcd", ".locked")]
        [True, True, False]
    """
    return re.fullmatch(rf"{re.escape(NAME)}(-[0-9a-f]{{8}})?", name) is not None


def require_makeable(folder: str | os.PathLike[str]) -> None:
    """Refuse a folder that cannot be made, or is there and may not be written to.

    Raises:
        PermissionError: says which.

    Example:
        >>> require_makeable("runs/new")
    """
    folder = Path(folder).absolute()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        wrong = "may not be written to" if there.is_dir() else "is a file"
        raise PermissionError(
            f"the output must be a folder that can be made; {there} {wrong}. Choose another `folder`."
        )


def require_held(folder: str | os.PathLike[str]) -> None:
    """Refuse to go on where `folder` is not there, or this process took it and another one has it now.

    Raises:
        HeldError: says which.

    Example:
        >>> require_held(".")
    """
    path = Path(folder).absolute() / NAME
    if not path.parent.is_dir():
        raise HeldError(
            f"{folder} must be there as long as a run writes to it; it is not, and neither is what it held. If it was "
            "moved, go on with variform train --resume and its new place; else train anew."
        )
    own = [descriptor for descriptor, (held_path, _) in _held.items() if held_path == path]
    if not own or any(_is_at(path, descriptor) for descriptor in own):
        return
    raise HeldError(
        f"{folder} must be written by one process at a time; its {NAME} was deleted or taken while this process wrote "
        "to it, and what is there now is left as it is. When no other process writes to it, go on with variform train "
        f"--resume {shlex.quote(str(folder))}."
    )


def _taken(folder: Path, made: set[Path], *, make: bool) -> int:
    """The descriptor of the lock file of `folder`, which is this process's; the folders that it makes join `made`."""
    refusal = ""
    for _ in range(_TRIES):
        if make:
            _make(folder, made)
        elif not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
            wrong = "may not be written to" if folder.is_dir() else "is no folder"
            raise PermissionError(
                f"the output must be a folder that takes new files; {folder} {wrong}. Allow it."
            )
        try:
            return _take(folder)
        except HeldError as error:
            refusal = str(error)
        except FileNotFoundError:  # another process comes or goes just now
            refusal = _refusal(folder / NAME, None)
        time.sleep(_PAUSE)
    raise HeldError(refusal)


def _make(folder: Path, made: set[Path]) -> None:
    require_makeable(folder)
    for new in reversed([folder, *folder.parents]):
        if not new.exists():
            with contextlib.suppress(FileExistsError):
                new.mkdir()
                made.add(new)


def _take(folder: Path) -> int:
    path, own = folder / NAME, folder / f"{NAME}-{os.urandom(4).hex()}"
    descriptor = os.open(own, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        has_flock = _flock(descriptor) is not None
        os.write(descriptor, json.dumps(asdict(Holder.present(flocked=has_flock))).encode())
        os.fsync(descriptor)
        if not _appears(own, path, has_flock=has_flock):
            left_behind = _abandoned(path)  # nobody else takes its place while this process has it
            try:
                os.replace(own, path)
            finally:
                os.close(left_behind)
    except BaseException:
        os.close(descriptor)
        raise
    finally:
        own.unlink(missing_ok=True)
    _sweep(folder)
    return descriptor


def _appears(own: Path, path: Path, *, has_flock: bool) -> bool:
    """Whether `own` could be made to appear as `path`, where there was nothing."""
    try:
        os.link(own, path)
    except FileExistsError:
        # A network that repeats a request may say so of one that was granted.
        return os.path.samefile(own, path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
            if not has_flock:
                os.replace(own, path)
                return True
        return False  # of those who see the empty file now, flock chooses one
    return True


def _sweep(folder: Path) -> None:
    """Remove what processes that were killed in `_take` left behind."""
    for item in folder.glob(f"{NAME}-{'[0-9a-f]' * 8}"):
        with contextlib.suppress(OSError):
            descriptor = os.open(item, os.O_RDWR | os.O_CLOEXEC)
            if _flock(descriptor) is not False:
                item.unlink(missing_ok=True)
            os.close(descriptor)


def _abandoned(path: Path) -> int:
    """The descriptor of a lock file whose holder is gone.

    Raises:
        HeldError: when it is not, or may not be.
        FileNotFoundError: when the file is gone too.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        is_free, holder = _flock(descriptor), _read(descriptor)
        if not _is_at(path, descriptor):
            raise FileNotFoundError(path)
        if holder is None:  # cut off while it appeared
            is_left = is_free is True
        elif is_free is False:
            is_left = False
        else:
            is_left = holder.is_here if is_free and holder.flocked else holder.is_gone
        if not is_left:
            raise HeldError(_refusal(path, holder))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _refusal(path: Path, holder: Holder | None) -> str:
    who = holder or "another process is just beginning to"
    sentence = (
        f"{path.parent} must be written by one process at a time; {who}. Wait until it has ended, or choose another "
        "folder."
    )
    if holder is not None and holder.is_here:
        return sentence
    return (
        f"{sentence} Whether it still lives cannot be seen from here: if you know that it does not, delete "
        f"{shlex.quote(str(path))}."
    )


def _flock(descriptor: int) -> bool | None:
    """Whether the file is now locked by this process; None where the file system knows no such locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return None
    return True


def _read(descriptor: int) -> Holder | None:
    """What a lock file says; None for one that says nothing."""
    try:
        values = json.loads(os.pread(descriptor, 10_000, 0))
        holder = Holder(**values)
    except (ValueError, TypeError, RecursionError):
        return None
    kinds = {field.name: field.type for field in fields(Holder)}
    return (
        holder if all(type(getattr(holder, name)) is kind for name, kind in kinds.items()) else None
    )


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether the open file is still the one at `path`."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except OSError:
        return False


def _boot() -> str:
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


def _started(pid: int) -> str:
    """When a process of this host started, in its system's words; empty where there is none of that number."""
    if Path("/proc/self/stat").exists():
        with contextlib.suppress(OSError):
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
        return ""
    import subprocess  # slow to import, and seldom needed

    with contextlib.suppress(OSError):
        return subprocess.run(
            ["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True
        ).stdout.strip()
    return ""


def _ago(since: str) -> str:
    """How long ago that was, in words."""
    try:
        age = datetime.now(UTC) - datetime.fromisoformat(since)
    except (ValueError, TypeError):
        return ""
    for unit, length in (
        ("days", timedelta(days=1)),
        ("hours", timedelta(hours=1)),
        ("minutes", timedelta(minutes=1)),
    ):
        if age >= 2 * length:
            return f", {age // length} {unit} ago"
    return ""


def _let_go() -> None:
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_let_go)  # else a child that outlives its parent would hold on
