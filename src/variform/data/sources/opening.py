"""Opening files: plain and compressed ones, within the memory that is there."""

import csv
import gzip
import io
import math
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from variform.system import memory
from variform.system.files import special


def require_file(path: Path) -> None:
    """Refuse what may never end, or never begin: the like is read only once, and a source more than once."""
    if kind := special(path):
        raise ValueError(
            f"the source must be a file, a folder or a built-in name; {path} is {kind}. Save what it gives to a file."
        )


@contextmanager
def reading(path: Path) -> Iterator[io.BufferedReader | gzip.GzipFile]:
    """The bytes of a file, unpacked if its name ends in .gz; damage that shows in reading is told with its name."""
    require_file(path)
    with gzip.open(path) if path.suffix.lower() == ".gz" else open(path, "rb") as handle:
        try:
            yield handle
        except (
            OSError,
            EOFError,
            RuntimeError,
            UnicodeDecodeError,
            csv.Error,
            zlib.error,
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
COPIES = 2  # of what a file holds, while it is brought into the form in which it is kept
_SMALLER = "Bring fewer rows, or as .npy files, which may stay on disk with `memory_map='on'`."


def first_of(wanted: Iterable[str], there: Sequence[str]) -> str | None:
    """The first of the wanted names that is there."""
    return next((name for name in wanted if name in there), None)


def size_limit(path: Path) -> int:
    """The most bytes that a file can hold, unpacked."""
    return path.stat().st_size * (DEFLATE_RATIO if path.suffix.lower() == ".gz" else 1)


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
