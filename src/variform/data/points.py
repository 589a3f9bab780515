"""Plain numbers that stand in files of their own: latent points, and the places of heights."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from variform.config.data import DataConfig
from variform.data.checks import require_finite, require_numbers
from variform.data.columns import column_names
from variform.data.sources.formats import FORMATS, read_source, source_format
from variform.data.sources.meaning import source_of
from variform.data.sources.source import Source
from variform.data.sources.tables import table_of
from variform.system.files import expanded


def read_points(path: str | Path, columns: Sequence[str] = ()) -> np.ndarray:
    """Read a plain matrix of numbers, for example latent points: nothing is split or scaled.

    Args:
        path: A .csv file (a line of column names is optional), a .npy file, or an .npz file with one array.
        columns: Of a .csv file that names all of these, take these and leave the others.

    Shape:
        (N, D), float64.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: if it cannot be read, is no matrix of numbers, is empty, or holds NaN or infinite values.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "points.csv"
        >>> _ = path.write_text("z1,z2\\n0,1.5\\n-1,2\\n")
        >>> read_points(path)
        array([[ 0. ,  1.5],
               [-1. ,  2. ]])
    """
    source = _only(columns, path) if FORMATS[source_format(path)].has_columns else read_source(path)
    require_numbers(source)
    if source.values.ndim != 2:
        raise ValueError(
            f"{source.name} must be a matrix (N, D), one point a row; its shape is {source.values.shape}. Reshape it."
        )
    points = np.asarray(source.values).astype(np.float64)
    require_finite(torch.from_numpy(points), source, column_names(source))
    return points


def _only(columns: Sequence[str], path: str | Path) -> Source:
    """These columns of a table, whatever its others hold, or all of them where it does not have these."""
    frame = table_of(path, DataConfig())
    chosen = tuple(columns) if set(columns) <= set(frame.columns) else ()
    return source_of(frame, DataConfig(columns=chosen, cells="numbers"))


def read_stations(path: str | Path) -> np.ndarray:
    """The places of heights in a file: an array, a row or a column of numbers, or the column x of a table.

    Args:
        path: A .csv or .npy file.

    Shape:
        (n,), float64.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: if it holds anything else.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "stations.csv"
        >>> _ = path.write_text("x\\n0\\n0.5\\n1\\n")
        >>> read_stations(path)
        array([0. , 0.5, 1. ])
    """
    file = expanded(path)
    if not file.is_file():
        raise FileNotFoundError(
            f"`stations` must be a .csv or .npy file; there is none at {path}. Check the path."
        )
    try:
        is_array = file.suffix == ".npy"
        values = np.load(file, allow_pickle=False) if is_array else read_points(file, ["x"])
    except ValueError as error:
        raise ValueError(
            f"`stations` must be a .csv or .npy file of numbers; {path} cannot be read: {error}"
        ) from error
    is_line = max(values.shape, default=0) == values.size > 0
    if not is_line or values.dtype.kind not in "iuf" or not np.isfinite(values).all():
        raise ValueError(
            f"`stations` must be one row or one column of finite numbers, or a table with a column x; {path} holds "
            f"{values.dtype} of the shape {values.shape}. Give another file."
        )
    return values.ravel().astype(np.float64)
