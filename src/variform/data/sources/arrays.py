"""Arrays: .npy, folders of .npy, IDX and folders in the MNIST layout."""

import gzip
import math
from dataclasses import replace
from pathlib import Path
from typing import IO

import numpy as np

from variform.config.data import DataConfig
from variform.config.words import quoted
from variform.data.sources.folders import (
    chained,
    folder_name,
    holds_data,
    images_and_folders,
    joined,
    parts_of,
)
from variform.data.sources.opening import (
    damaged,
    read_payload,
    reading,
    size_limit,
)
from variform.data.sources.source import Shards, Source
from variform.system.files import special

IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_LONGEST_HEADER = 2**16  # bytes; NumPy itself takes no more than 10,000
_LARGE = 2**30  # bytes of .npy files that stay on disk by default
_LABELS_FILE = "labels.npy"


def is_npy(head: bytes) -> bool:
    """Whether the first bytes of a file are those of a .npy file."""
    return head == b"\x93NUMPY"


def is_idx(head: bytes) -> bool:
    """Whether the first bytes of a file are those of an IDX file."""
    return head[:2] == b"\0\0" and len(head) > 2 and head[2] in IDX_TYPES


def is_npy_folder(folder: Path) -> bool:
    """Whether a folder, or its part for training, holds .npy files and no images or folders."""
    first = parts_of(folder).folders["train"]
    images, folders = images_and_folders(first, [])
    return bool(array_files(first)) and not images and not any(map(holds_data, folders))


def is_mnist_folder(folder: Path) -> bool:
    """Whether a folder holds training images in the layout of MNIST."""
    return idx_file(folder, "train-images-idx3") is not None


def read_npy(path: Path, config: DataConfig) -> Source:
    """One array: a row for each of its first axis."""
    if _stays_on_disk([path], config):
        return Source(path.name, _mapped_npy(path))
    values, columns = plain(_loaded_npy(path), path.name)
    return Source(path.name, values, columns=columns)


def read_npy_folder(folder: Path, config: DataConfig) -> Source:
    """A folder of .npy files, or train, valid and test folders of them: one array a folder, in order of the names."""
    name = folder_name(folder)
    own = parts_of(folder)
    branches = own.folders
    files = {part: array_files(branch) for part, branch in branches.items()}
    if empty := next((part for part in files if not files[part]), None):
        raise ValueError(
            f"every split of {name} must hold .npy files; {branches[empty].name} holds none. Fill it."
        )
    every = [path for paths in files.values() for path in paths]
    stored = _stays_on_disk(every, config)
    arrays = {path: _mapped_npy(path) if stored else Shards((_loaded_npy(path),)) for path in every}
    _require_one_form(arrays, name)
    parts = {}
    for part, paths in files.items():
        labels = branches[part] / _LABELS_FILE
        shards = chained(arrays[path] for path in paths)
        parts[part] = Source(
            name if len(files) == 1 else f"{name}/{branches[part].name}",
            shards if stored else np.asarray(shards),
            _loaded_npy(labels) if labels.is_file() else None,
        )
    source = parts["train"] if len(parts) == 1 else joined(name, parts)
    every_file = [path for branch in branches.values() for path in branch.iterdir()]
    others = [path.name for path in every_file if path.suffix.lower() != ".npy" or special(path)]
    notes = (*source.notes, *own.notes)
    if others:
        notes += (f"files skipped because they are no .npy files: {len(others)}, as {min(others)}",)
    return replace(source, notes=notes)


def array_files(folder: Path) -> list[Path]:
    """The visible .npy files of a folder but for that of the labels, in order of their names."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() == ".npy"
        and not path.name.startswith(".")
        and path.name != _LABELS_FILE
        if not special(path)
    )


def _require_one_form(arrays: dict[Path, Shards], name: str) -> None:
    forms = {path: (array.shape[1:], str(array.dtype)) for path, array in arrays.items()}
    (first, form), *others = forms.items()
    for path, other in others:
        if other != form:
            raise ValueError(
                f"all .npy files of {name} must have rows of one shape and type; {first.name} has {form[0]} of"
                f" {form[1]}, {path.name} {other[0]} of {other[1]}. Move it elsewhere or convert it."
            )


def _stays_on_disk(paths: list[Path], config: DataConfig) -> bool:
    size = sum(path.stat().st_size for path in paths)
    packed = next((path.name for path in paths if path.suffix.lower() == ".gz"), None)
    if config.memory_map == "on" and packed:
        raise ValueError(
            f"`memory_map='on'` needs files that are not packed; {packed} is. Unpack it with gunzip."
        )
    return config.memory_map == "on" or (
        config.memory_map == "auto" and size >= _LARGE and not packed
    )


def _loaded_npy(path: Path) -> np.ndarray:
    with reading(path) as handle:
        return npy_array(handle, path.name, size_limit(path))


def _mapped_npy(path: Path) -> Shards:
    """The array of a .npy file, left on disk: read-only, and brought to memory page by page as it is looked at."""
    with reading(path) as handle:
        shape, fortran_order, dtype = npy_header(handle, path.name)
        start = handle.tell()
    size, there = math.prod(shape) * dtype.itemsize, path.stat().st_size - start
    if size != there or min(shape, default=0) < 0:
        raise damaged(path.name, f"its header promises {size} bytes of values, it holds {there}")
    if fortran_order and len(shape) > 1:
        raise ValueError(
            f"{path.name} must hold one row after another (C order) to stay on disk; it holds one column after another."
            " Save numpy.ascontiguousarray(x), or use `memory_map='off'`."
        )
    if size == 0:
        return Shards((np.empty(shape, dtype),))
    return Shards((np.asarray(np.memmap(path, dtype, "r", start, shape)),), ((path, start),))


def npy_array(handle: IO[bytes] | gzip.GzipFile, name: str, capacity: int) -> np.ndarray:
    """An array as `numpy.save` wrote it, never unpickled."""
    shape, fortran_order, dtype = npy_header(handle, name)
    flat = read_payload(handle, dtype, shape, name, capacity)
    return flat.reshape(shape, order="F" if fortran_order else "C")


class _Brief:
    """A file of which only little is read at a time: a header may promise that it is 4 GB long."""

    def __init__(self, handle: IO[bytes] | gzip.GzipFile) -> None:
        self.handle = handle

    def read(self, size: int = -1, /) -> bytes:
        if not 0 <= size <= _LONGEST_HEADER:
            raise ValueError("the header is too long")
        return self.handle.read(size)


def npy_header(
    handle: IO[bytes] | gzip.GzipFile, name: str, *, objects: bool = False
) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether in Fortran order, and type; Python objects are refused unless `objects` are only listed."""
    headers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    try:
        shape, fortran_order, dtype = headers[np.lib.format.read_magic(handle)](_Brief(handle))
    except Exception as error:
        # NumPy parses the header as Python, and on damage raises what the parser raises.
        raise damaged(name, "its header is not that of a NumPy array") from error
    if dtype.hasobject and not objects:
        raise ValueError(
            f"{name} must hold numbers; it holds Python objects, which are never unpickled."
            " Save it as an array of numbers."
        )
    return shape, fortran_order, dtype


def plain(values: np.ndarray, name: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """An array of records as a table with the names of their fields; any other as it is.

    Args:
        values: Of any type.
        name: What the message calls it.

    Raises:
        ValueError: for a field that is no number.

    Example:
        >>> records = np.array([(1, 2.5), (3, 4.5)], dtype=[("mass", "i4"), ("drag", "f8")])
        >>> plain(records, "a.npy")
        (array([[1. , 2.5],
               [3. , 4.5]]), ('mass', 'drag'))
    """
    if values.dtype.names is None:
        return values, ()
    for field in values.dtype.names:
        if values.dtype[field].kind not in "buif":
            raise ValueError(
                f"{name} must hold numbers; its field {quoted(field)} is of the type {values.dtype[field]}."
                " Leave the field out, or save a .csv file."
            )
    columns = [values[field].reshape(-1) for field in values.dtype.names]
    return np.stack(columns, 1), values.dtype.names


def read_idx(path: Path, config: DataConfig) -> Source:
    """One array in the IDX format of MNIST."""
    return Source(path.name, _as_pictures(_idx_array(path)))


def _idx_array(path: Path) -> np.ndarray:
    with reading(path) as handle:
        magic = handle.read(4)
        if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in IDX_TYPES or magic[3] == 0:
            raise damaged(
                path.name, f"its first bytes {magic.hex(' ')} are not those of an IDX file"
            )
        sizes = handle.read(4 * magic[3])
        if len(sizes) < 4 * magic[3]:
            raise damaged(path.name, "its header ends too early")
        shape = tuple(np.frombuffer(sizes, ">u4").tolist())
        flat = read_payload(
            handle, np.dtype(IDX_TYPES[magic[2]]), shape, path.name, size_limit(path)
        )
        return flat.reshape(shape)


def _as_pictures(values: np.ndarray) -> np.ndarray:
    """Three axes of this format are pictures, whatever they look like."""
    return values[:, None] if values.ndim == 3 else values


def idx_file(folder: Path, stem: str) -> Path | None:
    """The IDX file with a stem, plain or compressed; None where there is none."""
    names = [
        f"{form}-ubyte{packed}"
        for form in (stem, stem.replace("-idx", ".idx"))
        for packed in ("", ".gz")
    ]
    return next((folder / name for name in names if (folder / name).is_file()), None)


def read_mnist_folder(folder: Path, config: DataConfig) -> Source:
    """Images and labels of training and test in the layout of MNIST."""
    parts = {}
    for part, prefix in (("train", "train"), ("test", "t10k")):
        if images := idx_file(folder, f"{prefix}-images-idx3"):
            labels = idx_file(folder, f"{prefix}-labels-idx1")
            parts[part] = Source(
                images.name,
                _as_pictures(_idx_array(images)),
                _idx_array(labels) if labels else None,
            )
    return joined(folder_name(folder), parts)
