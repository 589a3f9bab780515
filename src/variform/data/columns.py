"""What is found out about each column by passes over the rows."""

import math
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from variform.data.dataset import VALUES_AT_ONCE, Dataset, StoredRows, in_chunks
from variform.data.sources.source import Source

_LEAST_PILE = 0.05  # share of the rows at one value that is worth a word


def modes(train: Dataset) -> tuple[tuple[float, float], ...]:
    """The most frequent value of each real column of a table and the share of the rows that hold it, from many rows."""
    schema = train.schema
    if schema.kind == "image":
        return ()
    most = max(1, VALUES_AT_ONCE // len(schema.columns))
    count = min(most, len(train))
    index = torch.linspace(0, len(train) - 1, count, dtype=torch.float64).round().long()
    values = train.gather(index).double().numpy()
    modes_by_column = [(0.0, 0.0)] * len(schema.columns)
    for column in range(len(schema.columns)):
        if not schema.kinds or schema.kinds[column] == "real":
            modes_by_column[column] = _mode(values[:, column])
    return tuple(modes_by_column)


def _mode(column: np.ndarray) -> tuple[float, float]:
    """The most frequent value of a column and its share; zeros where no value is frequent."""
    values, counts = np.unique(column[~np.isnan(column)], return_counts=True)
    if not counts.size or counts.max() < _LEAST_PILE * counts.sum():
        return 0.0, 0.0
    mode = values[counts.argmax()]
    return float(mode), float(counts.max() / counts.sum())


def column_names(source: Source) -> tuple[str, ...]:
    """Names of the columns of a table, `column 1`, ... where the source has none."""
    if source.columns:
        return source.columns
    width = math.prod(source.values.shape[1:])
    return tuple(f"column {number}" for number in range(1, width + 1))


def columns_with_gaps(raw: Tensor | StoredRows, *, pooled: bool) -> tuple[bool, ...]:
    """Whether a value is missing in any row: of each column, or `pooled` over all of them."""
    parts = [chunk.isnan().any(0) for chunk in in_chunks(raw)]
    is_missing = torch.stack(parts).any(0)
    if pooled:
        return (bool(is_missing.any()),)
    return tuple(is_missing.tolist())


def value_range(
    raw: Tensor | StoredRows, source: Source
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Least and greatest value: of all pixels together, or of each column."""
    if source.levels and raw.ndim == 4:
        return (0.0,), (source.levels - 1.0,)
    is_image = raw.ndim == 4
    low, high = extent(in_chunks(raw), pooled=is_image)
    return tuple(low.tolist()), tuple(high.tolist())


def extent(chunks: Iterable[Tensor], *, pooled: bool) -> tuple[Tensor, Tensor]:
    """Least and greatest value, float64: of each column, or `pooled` over all of them.

    What is missing does not count; where everything is, they are infinite.
    """
    lows, highs = [], []
    for chunk in chunks:
        low, high = _bounds(chunk, dim=None if pooled else 0)
        lows.append(low.reshape(-1))
        highs.append(high.reshape(-1))
    return torch.stack(lows).amin(0).double(), torch.stack(highs).amax(0).double()


def _bounds(chunk: Tensor, *, dim: int | None) -> tuple[Tensor, Tensor]:
    """Least and greatest value of what is not missing."""
    low, high = torch.aminmax(chunk, dim=dim)
    if not low.isnan().any():
        return low, high
    is_missing = chunk.isnan()
    low, _ = torch.aminmax(chunk.masked_fill(is_missing, math.inf), dim=dim)
    _, high = torch.aminmax(chunk.masked_fill(is_missing, -math.inf), dim=dim)
    return low, high


def whole_numbers(raw: Tensor | StoredRows, *, pooled: bool) -> tuple[bool, ...]:
    """Whether each column, or `pooled` all of them, holds whole numbers only."""
    width = 1 if pooled else raw.shape[1]
    whole = torch.ones(width, dtype=torch.bool)
    if not raw.dtype.is_floating_point:
        return tuple(whole.tolist())
    for chunk in in_chunks(raw):
        is_whole = (chunk == chunk.round()) | chunk.isnan()
        whole &= is_whole.reshape(-1, width).all(0)
        if not whole.any():
            break
    return tuple(whole.tolist())
