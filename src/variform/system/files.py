"""Files that are either whole or not there."""

import glob
import hashlib
import itertools
import json
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from variform.system import locks


def expanded(path: str | os.PathLike[str]) -> Path:
    """A path with ~ and ~name as the home of a user; a name that the system does not know stays as it is.

    Example:
        >>> str(expanded("~nobody-has-this-name/x.csv"))
        '~nobody-has-this-name/x.csv'
    """
    return Path(os.path.expanduser(path))


def special(path: str | os.PathLike[str]) -> str:
    """What a path names that is neither a file nor a folder, which may never end or never begin; else empty.

    Example:
        >>> special("/dev/null"), special(".")
        ('a device', '')
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return ""  # it is not there, which opening it says
    kinds = {
        "a pipe": stat.S_ISFIFO,
        "a socket": stat.S_ISSOCK,
        "a device": stat.S_ISCHR,
        "a disk": stat.S_ISBLK,
    }
    return next((kind for kind, is_kind in kinds.items() if is_kind(mode)), "")


@contextmanager
def replacing(path: str | os.PathLike[str], *, new: bool = False) -> Iterator[Path]:
    """Write to a temporary neighbour of `path`; on success it takes the place of `path` in one move.

    The temporary file is flushed to the disk before the move, and the folder after it, so that a crash leaves either
    the old file or the new one. If the block raises, the old file stays and the temporary one goes.

    Args:
        path: The file to write. Its folder must exist.
        new: Replace nothing, not even what another process wrote to `path` meanwhile.

    Raises:
        FileExistsError: when there is a file and there must be none.
        OSError: when it cannot be written; names the path.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with replacing(folder / "note.txt") as temporary:
        ...     _ = temporary.write_text("whole")
        >>> [item.name for item in folder.iterdir()]
        ['note.txt']
    """
    path = Path(path)
    if path.is_dir() or not path.parent.is_dir():
        wrong = f"{path} is a folder" if path.is_dir() else f"there is no folder {path.parent}"
        raise FileNotFoundError(
            f"a file must be written in a folder that exists; {wrong}. Choose another `path`."
        )
    if new:
        require_new(path)
    temporary = path.with_name(f".{path.stem}-{os.urandom(4).hex()}{path.suffix}")
    try:
        temporary.touch(exist_ok=False)
        # What the user's umask gives: some writers choose a stricter one.
        mode = temporary.stat().st_mode
        yield temporary
        os.chmod(temporary, mode)
        with open(temporary, "rb+") as handle:
            os.fsync(handle.fileno())
        if new:
            _appear(temporary, path)
        else:
            os.replace(temporary, path)
    except OSError as error:
        # The user never heard of the temporary name.
        if error.errno and error.filename in (None, str(temporary)):
            error.filename = str(path)
        raise
    finally:
        with suppress(OSError):  # of a file system that takes no changes any more
            temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _appear(temporary: Path, path: Path) -> None:
    try:
        os.link(temporary, path)
    except FileExistsError:
        require_new(path)
        raise
    except OSError:  # a file system without links
        require_new(path)
        os.replace(temporary, path)


def require_new(path: Path) -> None:
    """Refuse a file that is there: what takes long asks before it begins.

    Raises:
        FileExistsError: when there is one.
    """
    if path.exists():
        raise FileExistsError(
            f"the output must be a new file; {path} exists. Choose another `path`."
        )


@contextmanager
def new_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Fill a temporary neighbour of the folder `path`; on success it becomes `path` in one move, else it goes.

    What a process that was killed in this has left behind goes too.

    Args:
        path: A folder that does not exist or is empty; what it stands in is made where it is not there.

    Raises:
        FileExistsError: when it holds something already.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp()) / "new"
        >>> with new_folder(folder) as temporary:
        ...     _ = (temporary / "note.txt").write_text("whole")
        >>> [item.name for item in folder.iterdir()]
        ['note.txt']
    """
    require_empty(Path(path))
    path = Path(path).absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    for item in path.parent.glob(f".{glob.escape(path.name)}-{'[0-9a-f]' * 8}"):
        if (item / locks.NAME).is_file():
            with suppress(OSError), locks.held(item):  # no other process fills it
                shutil.rmtree(item, ignore_errors=True)
    temporary = path.with_name(f".{path.name}-{os.urandom(4).hex()}")
    try:
        with locks.held(temporary, make=True):
            yield temporary
        os.replace(temporary, path)  # an empty folder gives way
    except OSError as error:
        if error.filename == str(temporary):  # which the user never heard of
            require_empty(path)
            error.filename = str(path)
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def require_empty(path: Path) -> None:
    """Refuse an output folder that holds something already, or cannot be made.

    Raises:
        OSError: says which.

    Example:
        >>> require_empty(Path("runs/new"))
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise FileExistsError(
            f"the output folder must be new or empty; {path} is not. Choose another `folder`."
        )
    locks.require_makeable(path)


def cache_folder() -> Path:
    """Where what can be found again at any time is kept between runs; the user's, who may empty it.

    Example:
        >>> cache_folder().name
        'variform'
    """
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "variform"


def write_text(path: str | os.PathLike[str], text: str, *, new: bool = False) -> None:
    """Write `text` to `path` as UTF-8, whole or not at all; with `new` as `replacing` refuses a file that is there.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "note.txt"
        >>> write_text(path, "whole")
        >>> path.read_text()
        'whole'
    """
    with replacing(path, new=new) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike[str], values: dict[str, Any]) -> None:
    """Write `values` to `path` as JSON that every program reads, whole or not at all.

    The last of them is a `checksum` of the others, by which `read_json` sees damage to any bit.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "numbers.json"
        >>> write_json(path, {"loss": float("nan")})
        >>> list(json.loads(path.read_text()))
        ['loss', 'checksum']
    """
    write_text(path, to_json(values | {"checksum": checksum(values)}, indent=2))


def checksum(values: dict[str, Any]) -> str:
    """SHA-256 of plain values as JSON, in hexadecimal; NaN counts as null.

    Example:
        >>> checksum({"loss": float("nan")}) == checksum({"loss": None})
        True
    """
    return hashlib.sha256(to_json(values).encode()).hexdigest()


def read_json(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The values by name in a JSON file, which may come from anywhere.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: for what is not JSON, holds something other than values by name, or has another checksum than it
            says; a file of an older version says none.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "numbers.json"
        >>> write_json(path, {"loss": 1.5})
        >>> read_json(path)
        {'loss': 1.5}
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path.name} must be there; there is none at {path}. Check the path."
        )
    values = from_json(path.read_bytes(), str(path))
    if not isinstance(values, dict):
        raise ValueError(
            f"{path} must hold values by name; it holds {type(values).__name__}. Fetch it again."
        )
    said = values.pop("checksum", None)
    if said is not None and said != checksum(values):
        raise ValueError(
            f"{path} must be as it was written; its checksum differs. Fetch it again, or have it written anew, as "
            "variform train --resume does for a run."
        )
    return values


_DEEPEST = 50  # what is written here is 5 deep


def from_json(content: bytes, name: str) -> Any:
    """The values that JSON from anywhere says.

    Args:
        content: The text, in UTF-8.
        name: The file, for messages.

    Raises:
        ValueError: for what is not JSON, or nested so deeply that no reader copes with it.

    Example:
        >>> from_json(b'{"loss": 1.5}', "numbers.json")
        {'loss': 1.5}
    """
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name} must be JSON; {error}. Fetch it again, or train anew.") from error
    level, depth = [values], 0
    while level:
        depth += 1
        inside = [
            item.values() if isinstance(item, dict) else item
            for item in level
            if isinstance(item, dict | list)
        ]
        level = list(itertools.chain.from_iterable(inside))
        if depth > _DEEPEST:
            raise ValueError(
                f"{name} must be nested {_DEEPEST} deep at most; it is deeper. Fetch it again."
            )
    return values


def to_json(values: Any, *, indent: int | None = None) -> str:
    """`values` as strict JSON: NaN and infinite numbers, which JSON has not, become null.

    Example:
        >>> to_json([1.5, float("inf")])
        '[1.5, null]'
    """
    strict = json.loads(json.dumps(values), parse_constant=lambda name: None)
    return json.dumps(strict, indent=indent, allow_nan=False)


def sweep(paths: Iterable[Path]) -> None:
    """Remove the temporary neighbours of `paths` that a killed `replacing` left behind.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / ".note-0123abcd.txt").write_text("ha"), (folder / ".mine-0123abcd.txt").write_text("kept")
        >>> sweep([folder / "note.txt"])
        >>> [item.name for item in folder.iterdir()]
        ['.mine-0123abcd.txt']
    """
    for path in paths:
        for item in path.parent.glob(
            f".{glob.escape(path.stem)}-{'[0-9a-f]' * 8}{glob.escape(path.suffix)}"
        ):
            item.unlink(missing_ok=True)


def set_aside(folder: Path, names: Iterable[str]) -> Path | None:
    """Move the files of `folder` that are named into a new folder in it, `replaced-1`, `replaced-2`, ...

    What a new run would overwrite is so neither lost nor taken for the new run's results.

    Returns:
        The new folder, or None where there was nothing to move.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "note.txt").write_text("old")
        >>> set_aside(folder, ["note.txt", "other.txt"]).name, (folder / "replaced-1" / "note.txt").read_text()
        ('replaced-1', 'old')
    """
    there = [name for name in names if (folder / name).is_file()]
    if not there:
        return None
    number = next(
        number for number in itertools.count(1) if not (folder / f"replaced-{number}").exists()
    )
    target = folder / f"replaced-{number}"
    for name in there:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(folder / name, target / name)
    return target
