"""Files that hold several arrays by name: .npz, HDF5, .mat and .safetensors. Nothing is ever unpickled."""

import dataclasses
import math
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from variform.config.data import DataConfig
from variform.config.words import quoted
from variform.data.sources.arrays import npy_array, npy_header, plain
from variform.data.sources.folders import SPLIT_NAMES, joined
from variform.data.sources.opening import COPIES, DEFLATE_RATIO, damaged, first_of, reading
from variform.data.sources.source import Source
from variform.system import memory
from variform.system.extras import needing

_DATA_KEYS = ("x", "X", "data", "images")
_LABEL_KEYS = ("y", "labels", "target", "Y", "label", "targets")
_SPARSE_KEYS = {"data", "format", "shape"}
_MOST_LISTED = 12
_SMALLER = "Bring fewer rows, or as .npy files, which may stay on disk with `memory_map='on'`."
_NUMBERS = (
    "double",
    "single",
    "logical",
    *(f"{u}int{n}" for u in ("", "u") for n in (8, 16, 32, 64)),
)


@dataclass(frozen=True)
class Held:
    """One array of a file.

    Args:
        shape: Its shape.
        load: Brings it to memory.
        is_numeric: Whether it holds numbers, or text that may be labels.
    """

    shape: tuple[int, ...]
    load: Callable[[], np.ndarray]
    is_numeric: bool = True


def is_zip(head: bytes) -> bool:
    """Whether the first bytes of a file are those of an archive, such as an .npz file."""
    return head.startswith(b"PK\3\4")


def is_hdf5(head: bytes) -> bool:
    """Whether the first bytes of a file are those of HDF5, as netCDF 4 files too begin."""
    return head.startswith(b"\x89HDF\r\n")


def is_mat(head: bytes) -> bool:
    """Whether the first bytes of a file are those of MATLAB's, which begin with a sentence."""
    return head.startswith(b"MATLAB")


def refuse_pickle(path: Path, config: DataConfig) -> Source:
    """Refuse files that can only be read by running what stands in them."""
    raise ValueError(
        f"{path.name} must hold arrays alone; it is a pickle, which can run any program and is never opened."
        " Save the array with numpy.save, or tensors with safetensors.torch.save_file."
    )


def read_npz(path: Path, config: DataConfig) -> Source:
    """An archive of arrays as `numpy.savez` writes it, or a sparse matrix as `scipy.sparse.save_npz` does."""
    with reading(path) as handle, zipfile.ZipFile(handle) as archive:
        held = {}
        for entry in archive.namelist():
            if entry.endswith(".npy"):
                key = entry.removesuffix(".npy")
                held[key] = _held_in_archive(archive, path.name, key)
        if not held:
            raise ValueError(
                f"{path.name} must hold NumPy arrays, or one table of text; it is an archive without them."
                " Save a spreadsheet as .csv, or unpack the archive."
            )
        if set(held) >= _SPARSE_KEYS and config.key is None:
            return _sparse(path.name, {key: item.load() for key, item in held.items()})
        return _chosen(path.name, held, config)


def _held_in_archive(archive: zipfile.ZipFile, name: str, key: str) -> Held:
    info = archive.getinfo(f"{key}.npy")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise damaged(name, f"'{key}' is packed in a way that NumPy does not write")
    full_name = f"{name} ({key})"

    def load() -> np.ndarray:
        with archive.open(info) as handle:
            return npy_array(handle, full_name, info.compress_size * DEFLATE_RATIO)

    with archive.open(info) as handle:
        shape, _, dtype = npy_header(handle, full_name, objects=True)
    return Held(shape, load, dtype.kind in "buifV")


def read_hdf5(path: Path, config: DataConfig) -> Source:
    """A data set of an HDF5 file; `key` is its path in the file."""
    return _read_hdf5(path, config, is_transposed=False)


def _read_hdf5(path: Path, config: DataConfig, *, is_transposed: bool) -> Source:
    with needing("hdf5", path.name):
        from variform.data.sources import hdf5
    with reading(path), hdf5.contents(path, is_transposed=is_transposed) as (found, sparse):
        held = {
            key: Held(shape, _within_memory(load, shape, path.name), is_numeric)
            for key, (shape, is_numeric, load) in found.items()
        }
        if sparse and config.key in (None, *sparse):
            raise ValueError(
                f"{path.name} must hold a plain array; {quoted(sparse[0])} is a sparse matrix. Save its toarray(),"
                f" or choose another array with `key`: {_listed(held)}."
            )
        return _chosen(path.name, held, config)


def read_mat(path: Path, config: DataConfig) -> Source:
    """A variable of a MATLAB file, of version 7.3 too, which is HDF5 with the axes turned round."""
    with open(path, "rb") as handle:
        is_hdf = b"MATLAB 7.3" in handle.read(128) or (handle.seek(512) and is_hdf5(handle.read(8)))
    if is_hdf:
        return _read_hdf5(path, config, is_transposed=True)
    from scipy import io  # slow to import

    with reading(path):
        try:
            variables = io.whosmat(path)
        except Exception as error:  # SciPy raises many kinds on damage
            raise damaged(path.name, error) from error

    def load(key: str) -> np.ndarray:
        try:
            value = io.loadmat(path, variable_names=[key], spmatrix=False)[key]
        except Exception as error:
            raise damaged(path.name, error) from error
        return value.toarray() if kinds[key] == "sparse" else np.asarray(value)

    kinds = {key: kind for key, _, kind in variables}
    held = {}
    for key, shape, kind in variables:
        loader = _within_memory(lambda key=key: load(key), shape, path.name)
        held[key] = Held(tuple(shape), loader, kind in (*_NUMBERS, "sparse"))
    source = _chosen(path.name, held, config)
    sparse = [key for key, kind in kinds.items() if kind == "sparse"]
    if sparse and (config.key in sparse or len(held) == 1):
        return dataclasses.replace(source, notes=(*source.notes, _of_sparse(source.values.shape)))
    return source


def read_safetensors(path: Path, config: DataConfig) -> Source:
    """A tensor of a .safetensors file."""
    from safetensors import SafetensorError, safe_open

    with reading(path):
        try:
            with safe_open(path, "np") as file:
                held = {}
                for key in file.keys():  # noqa: SIM118
                    part = file.get_slice(key)
                    shape = tuple(part.get_shape())
                    loader = _within_memory(lambda key=key: file.get_tensor(key), shape, path.name)
                    held[key] = Held(
                        shape, loader, part.get_dtype() not in ("BF16", "F8_E4M3", "F8_E5M2")
                    )
                return _chosen(path.name, held, config)
        except SafetensorError as error:
            raise damaged(path.name, error) from error


def _within_memory(
    load: Callable[[], np.ndarray], shape: tuple[int, ...], name: str
) -> Callable[[], np.ndarray]:
    """`load` that takes no memory that is not there: what a file promises may be packed."""

    def careful() -> np.ndarray:
        memory.require(COPIES * 8 * math.prod(shape), name, _SMALLER)
        return load()

    return careful


# ---- which of the arrays


def _chosen(name: str, held: dict[str, Held], config: DataConfig) -> Source:
    """The rows and labels among the arrays of a file, and a note on what was left out."""
    if config.key is None and "train" in (parts := _parts(name, held)):
        return joined(name, parts)
    key = config.key if config.key is not None else _data_key(held)
    if key is None or key not in held:
        must = "one array of rows, or one named " + ", ".join(_DATA_KEYS)
        if config.key:
            must = f"an array {quoted(config.key)}"
        raise ValueError(
            f"{name} must hold {must}; it holds {_listed(held)}. Choose one with `key`."
        )
    if not held[key].is_numeric:
        raise ValueError(
            f"{name} must hold numbers; {quoted(key)} holds something else. Choose another array with `key`:"
            f" {_listed(held)}."
        )
    values, columns = plain(held[key].load(), name)
    labels = _labels(held, key)
    label_key = first_of(_LABEL_KEYS, [other for other in held if other != key])
    notes = ()
    if labels is not None and values.ndim > 2 and len(values) != labels.size == values.shape[-1]:
        values = np.moveaxis(values, -1, 0)
        notes = (f"the last axis of {quoted(key)} holds the rows, as many as there are labels",)
    if config.key is not None and labels is not None and labels.size != len(values):
        labels = None  # those of another array
    taken = {key, label_key if labels is not None else None}
    others = {other: item for other, item in held.items() if other not in taken}
    if others and config.key is None:
        notes = (*notes, f"{quoted(key)} is read, without {_listed(others)}; `key` chooses another")
    return Source(name, values, labels, columns=columns, notes=notes)


def _labels(held: dict[str, Held], key: str) -> np.ndarray | None:
    label_key = first_of(_LABEL_KEYS, [other for other in held if other != key])
    if label_key is None or max(held[label_key].shape, default=1) < math.prod(
        held[label_key].shape
    ):
        return None
    try:
        return held[label_key].load().reshape(-1)
    except ValueError:  # pickled
        return None


def _data_key(held: dict[str, Held]) -> str | None:
    """The one array that can be rows, or the one with a usual name; labels are none."""
    rows = [
        key
        for key, item in held.items()
        if key not in _LABEL_KEYS and item.is_numeric and _are_rows(item.shape)
    ]
    if len(rows) == 1:
        return rows[0]
    if not rows and len(held) == 1:
        return next(iter(held))  # refused with its own words
    return first_of(_DATA_KEYS, rows)


def _are_rows(shape: tuple[int, ...]) -> bool:
    """Whether an array can hold rows: scalars, and vectors as MATLAB has them, cannot."""
    return len(shape) > 1 and sum(size > 1 for size in shape) > 1


def _listed(held: dict[str, Held]) -> str:
    """Names and shapes of arrays: not all of many."""
    shown = [f"{quoted(key)} {item.shape}" for key, item in list(held.items())[:_MOST_LISTED]]
    if len(held) > _MOST_LISTED:
        shown.append(f"{len(held) - _MOST_LISTED} more")
    return ", ".join(shown) or "no array"


def _parts(name: str, held: dict[str, Held]) -> dict[str, Source]:
    """The arrays of a file that is split already, under the names that Keras and others give them."""
    parts = {}
    for part, names in SPLIT_NAMES.items():
        data = first_of(_forms(names, ("x_{}", "X_{}", "{}", "{}_images", "{}_data")), [*held])
        labels = first_of(_forms(names, ("y_{}", "Y_{}", "{}_labels")), [*held])
        if data:
            values, columns = plain(held[data].load(), f"{name} ({data})")
            own_labels = held[labels].load() if labels else None
            parts[part] = Source(f"{name} ({data})", values, own_labels, columns=columns)
    return parts


def _forms(names: Iterable[str], forms: tuple[str, ...]) -> list[str]:
    return [form.format(name) for name in names for form in forms]


# ---- sparse matrices


def _sparse(name: str, parts: dict[str, np.ndarray]) -> Source:
    """A sparse matrix as a table with its zeros; places are checked, as no file can be trusted."""
    kind = bytes(parts["format"].astype("S").reshape(-1)[0]).decode("ascii", "replace")
    shape = tuple(int(size) for size in parts["shape"].reshape(-1))
    data = parts["data"].reshape(-1)
    if kind not in ("csr", "csc", "coo") or len(shape) != 2 or data.dtype.kind not in "buif":
        raise ValueError(
            f"{name} must hold a plain array; it is a sparse matrix of the format {kind}. Save its toarray()."
        )
    memory.require(COPIES * data.itemsize * math.prod(shape), name, f"It is sparse. {_SMALLER}")
    try:
        rows, columns = _places(kind, parts)
        if not len(rows) == len(columns) == len(data) or min(*rows, *columns, 0) < 0:
            raise ValueError("its places are not as many as its values, or below 0")
        values = np.zeros(shape, data.dtype)
        np.add.at(values, (rows, columns), data)
    except (KeyError, ValueError, IndexError, TypeError) as error:
        raise damaged(name, error) from error
    return Source(name, values, notes=(_of_sparse(shape),))


def _places(kind: str, parts: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of each value."""
    if kind == "coo":
        return parts["row"].reshape(-1), parts["col"].reshape(-1)
    lengths = np.diff(parts["indptr"].reshape(-1))
    along = np.repeat(np.arange(len(lengths)), lengths)
    across = parts["indices"].reshape(-1)
    return (along, across) if kind == "csr" else (across, along)


def _of_sparse(shape: tuple[int, ...]) -> str:
    rows, columns = shape[:2]
    return f"a sparse matrix is read as a table of {rows:,} rows and {columns:,} columns, zeros included"
