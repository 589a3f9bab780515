"""As which numbers rows are kept: bytes, float32 or float64, in memory or on disk."""

from functools import partial

import numpy as np
from torch import Tensor

from variform.data.checks import require_numbers
from variform.data.dataset import StoredRows, as_kept, in_chunks, rows_at_once
from variform.data.sources.source import Rendered, Shards, Source

_FAR = 16  # ranges from zero: there float32 still tells a million values of the range apart


def kept(source: Source) -> Tensor | StoredRows:
    """Rows as they are kept, in memory or on disk as they came: uint8, float32 or float64."""
    require_numbers(source)
    values = Shards((source.values,)) if isinstance(source.values, np.ndarray) else source.values
    dtype = _type_kept(values)
    if isinstance(values, Shards) and isinstance(source.values, np.ndarray):
        return as_kept(values.parts[0], dtype)
    return StoredRows(values, dtype)


def _type_kept(values: Shards | Rendered) -> np.dtype:
    """The smallest type that holds the values; pictures lose what float32 cannot tell apart in their range."""
    pieces = partial(values.pieces, rows_at_once(values.shape[1:]))
    is_image = values.ndim == 4
    if values.dtype in (np.bool_, np.uint8) or (is_image and all(map(_are_bytes, pieces()))):
        return np.dtype(np.uint8)
    if np.can_cast(values.dtype, np.float32) or not any(map(_is_rounded, pieces())):
        return np.dtype(np.float32)
    if is_image:
        low = min(float(np.nanmin(piece)) for piece in pieces())
        high = max(float(np.nanmax(piece)) for piece in pieces())
        if max(abs(low), abs(high)) <= _FAR * (high - low):
            return np.dtype(np.float32)
    return np.dtype(np.float64)


def _are_bytes(piece: np.ndarray) -> bool:
    """Whether all values are whole numbers from 0 to 255, whatever their type."""
    return bool(piece.min() >= 0 and piece.max() <= 255 and (piece == np.rint(piece)).all())


def _is_rounded(piece: np.ndarray) -> bool:
    """Whether float32 changes any of the values."""
    with np.errstate(over="ignore"):
        differs = piece != piece.astype(np.float32)
    return bool((differs & (piece == piece)).any())  # NaN is not equal to itself


def has_gaps(raw: Tensor | StoredRows) -> bool:
    """Whether a value is NaN."""
    return raw.dtype.is_floating_point and any(bool(x.isnan().any()) for x in in_chunks(raw))
