"""Opening files: plain and compressed ones, within the memory that is there."""

import bz2
import csv
import gzip
import io
import lzma
import math
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np

from variform.config.words import listed
from variform.system import memory
from variform.system.files import special


def require_file(path: Path) -> None:
    """Refuse what may never end, or never begin: the like is read only once, and a source more than once."""
    if kind := special(path):
        raise ValueError(
            f"the source must be a file, a folder or a built-in name; {path} is {kind}. Save what it gives to a file."
        )


def _unzstd(path: Path) -> Any:
    import pyarrow as pa  # slow to import

    return pa.CompressedInputStream(pa.OSFile(str(path)), "zstd")


def contents(path: Path) -> tuple[str | None, list[str]]:
    """The table in an archive, None where it holds none, and its other files.

    A table is a .csv or .tsv file or, where there is none, a .txt file. What systems add unseen is no file.

    Raises:
        ValueError: for several tables, and for an archive that is damaged or locked.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if not _is_unseen(name)]
            tables = [name for name in names if name.lower().endswith((".csv", ".tsv"))]
            tables = tables or [name for name in names if name.lower().endswith(".txt")]
            is_locked = any(archive.getinfo(name).flag_bits & 1 for name in tables)
            if len(tables) == 1 and not is_locked:
                archive.open(tables[0]).close()  # whether it is packed in a way that is known
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise damaged(path.name, error) from error
    if len(tables) > 1:
        raise ValueError(
            f"{path.name} must hold one table; it holds {listed(tables)}. Unpack it, and name one of them."
        )
    if is_locked:
        raise ValueError(f"{path.name} must open without a password; it has one. Unpack it.")
    table = tables[0] if tables else None
    return table, [name for name in names if name != table]


def _is_unseen(name: str) -> bool:
    place = PurePosixPath(name)
    return name.endswith("/") or "__MACOSX" in place.parts or place.name.startswith(".")


@contextmanager
def _unzipped(path: Path) -> Iterator[IO[bytes]]:
    """The table in an archive, or the archive itself where it holds none."""
    table, _ = contents(path)
    if table is None:
        with open(path, "rb") as handle:
            yield handle
        return
    with zipfile.ZipFile(path) as archive, archive.open(table) as handle:
        yield handle


_UNPACKED: dict[str, Callable[[Path], Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": _unzstd,
    ".zip": _unzipped,
}
PACKED = tuple(_UNPACKED)
"""What the names of packed files end in."""


def unpacked_name(path: Path) -> str:
    """The name of a file in small letters, without what says that it is packed; of an archive that of its table.

    Example:
        >>> unpacked_name(Path("Designs.csv.gz"))
        'designs.csv'
    """
    name = path.name.lower()
    if name.endswith(".zip"):
        table, _ = contents(path)
        return name if table is None else table.lower()
    return name[: name.rindex(".")] if name.endswith(PACKED) else name


def is_packed(path: Path) -> bool:
    """Whether a file is packed, by its name."""
    return path.name.lower().endswith(PACKED)


@contextmanager
def reading(path: Path) -> Iterator[io.BufferedReader | gzip.GzipFile]:
    """The bytes of a file, unpacked where its name says that it is packed; damage is told with its name."""
    require_file(path)
    unpack = _UNPACKED.get(path.suffix.lower())
    with open(path, "rb") if unpack is None else unpack(path) as handle:
        try:
            yield handle
        except (
            OSError,
            EOFError,
            RuntimeError,
            UnicodeDecodeError,
            csv.Error,
            zlib.error,
            lzma.LZMAError,
            zipfile.BadZipFile,
        ) as error:
            raise damaged(path.name, error) from error


def damaged(name: str, reason: object) -> ValueError:
    """The error for a file that is not whole."""
    return ValueError(
        f"{name} must be a whole file of its format; reading it failed: {reason}."
        " Copy or download it again, or save it anew (text as UTF-8)."
    )


DEFLATE_RATIO = 1032  # deflate cannot pack more bytes into one
_OTHER_RATIO = 10_000  # more than what other packers make of zeros
COPIES = 2  # of what a file holds, while it is brought into the form in which it is kept
_SMALLER = "Bring fewer rows, or as .npy files, which may stay on disk with `memory_map='on'`."


def first_of(wanted: Iterable[str], there: Sequence[str]) -> str | None:
    """The first of the wanted names that is there."""
    return next((name for name in wanted if name in there), None)


def size_limit(path: Path) -> int:
    """The most bytes that a file can hold, unpacked."""
    ratio = DEFLATE_RATIO if path.suffix.lower() == ".gz" else _OTHER_RATIO
    return path.stat().st_size * (ratio if is_packed(path) else 1)


def read_payload(
    handle: IO[bytes] | gzip.GzipFile,
    dtype: np.dtype,
    shape: tuple[int, ...],
    name: str,
    capacity: int,
) -> np.ndarray:
    """The values after a header, which must be exactly as many as it promises; checked before memory is taken."""
    size = math.prod(shape) * dtype.itemsize
    is_possible = (
        dtype.itemsize > 0 and min(shape, default=0) >= 0 and max(shape, default=0) < 2**63
    )
    if size > capacity or not is_possible:
        raise damaged(name, f"its header promises {shape} values of {dtype}, more than it can hold")
    memory.require(COPIES * size, name, _SMALLER)
    # One byte more, to find the end: there gzip and zip verify their checksum.
    payload = handle.read(size + 1)
    if len(payload) != size:
        came = "more" if len(payload) > size else f"only {len(payload)}"
        raise damaged(name, f"its header promises {size} bytes of values, it holds {came}")
    return np.frombuffer(payload, dtype)
