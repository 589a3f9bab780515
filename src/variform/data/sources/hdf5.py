"""What an HDF5 file holds; the one module that needs h5py."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from variform.data.sources.opening import damaged

_SPARSE = ({"data", "indices", "indptr"}, {"data", "ir", "jc"})  # of SciPy and MATLAB

Found = dict[str, tuple[tuple[int, ...], bool, Callable[[], np.ndarray]]]


@contextmanager
def contents(path: Path, *, is_transposed: bool) -> Iterator[tuple[Found, list[str]]]:
    """The data sets of a file by their paths, and the paths of groups that are sparse matrices.

    Links to other files are not followed.

    Args:
        path: The file.
        is_transposed: Whether the axes stand in MATLAB's order, the first one last.

    Yields:
        For each path the shape, whether it holds numbers, and what loads it while the file is open.
    """
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise damaged(path.name, error) from error
    with file:
        found: Found = {}
        sparse: list[str] = []

        def visit(name: str, item: object) -> None:
            if isinstance(item, h5py.Group) and any(parts <= set(item) for parts in _SPARSE):
                sparse.append(name)
            if not isinstance(item, h5py.Dataset) or name.startswith("#"):
                return
            shape = item.shape or ()
            is_text = h5py.check_string_dtype(item.dtype) is not None
            is_numeric = item.dtype.kind in "buifV" and not is_text
            found[name] = (shape[::-1] if is_transposed else shape, is_numeric, loader(item))

        def loader(item: h5py.Dataset) -> Callable[[], np.ndarray]:
            def load() -> np.ndarray:
                try:
                    is_text = h5py.check_string_dtype(item.dtype) is not None
                    values = np.asarray(item.asstr()[()] if is_text else item[()])
                except (OSError, ValueError, TypeError) as error:
                    raise damaged(path.name, error) from error
                return values.T if is_transposed else values

            return load

        file.visititems(visit)
        yield found, sparse
