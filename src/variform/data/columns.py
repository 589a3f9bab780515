"""What is found out about each column by passes over the rows."""

import math
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from variform.data.dataset import VALUES_AT_ONCE, Dataset, StoredRows, in_chunks
from variform.data.sources.source import Source

MOST_UNLIKE = 100  # times as wide as that of its neighbour is the range of another unit
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


def columns_with_gaps(raw: Tensor | StoredRows, *, apart: bool) -> tuple[bool, ...]:
    """Whether a value is missing in any row: of each column, as `by_unit` says."""
    parts = [chunk.isnan().any(0) for chunk in by_unit(in_chunks(raw), apart=apart)]
    return tuple(torch.stack(parts).any(0).tolist())


def value_range(
    raw: Tensor | StoredRows, source: Source, *, apart: bool
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Least and greatest value of each column, as `by_unit` says."""
    if source.levels and raw.ndim == 4:
        return (0.0,), (source.levels - 1.0,)
    low, high = extent(by_unit(in_chunks(raw), apart=apart))
    return tuple(low.tolist()), tuple(high.tolist())


def by_unit(chunks: Iterable[Tensor], *, apart: bool) -> Iterator[Tensor]:
    """Rows as (M, D), where the columns are what has a unit of its own.

    These are the columns of a table; of images the channels where they stand `apart`, as `have_units` says, else all
    pixels together, D = 1.
    """
    for chunk in chunks:
        if chunk.ndim == 4 and apart:
            yield chunk.movedim(1, 3).reshape(-1, chunk.shape[1])
        else:
            yield chunk if chunk.ndim == 2 else chunk.reshape(-1, 1)


def have_units(raw: Tensor | StoredRows) -> bool:
    """Whether the channels of images have units of their own: not those of bytes, nor three of alike ranges."""
    if raw.ndim != 4 or raw.shape[1] == 1 or not raw.dtype.is_floating_point:
        return False
    if raw.shape[1] != 3:
        return True
    low, high = extent(by_unit(in_chunks(raw), apart=True))
    width = high - low
    overlap = low.max() <= high.min()
    return not (overlap and width.max() <= MOST_UNLIKE * width.min())


def extent(chunks: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Least and greatest value of each column, float64.

    What is missing does not count; where everything is, they are infinite.
    """
    lows, highs = [], []
    for chunk in chunks:
        low, high = _bounds(chunk)
        lows.append(low)
        highs.append(high)
    return torch.stack(lows).amin(0).double(), torch.stack(highs).amax(0).double()


def _bounds(chunk: Tensor) -> tuple[Tensor, Tensor]:
    """Least and greatest value of what is not missing, of each column."""
    low, high = torch.aminmax(chunk, dim=0)
    if not low.isnan().any():
        return low, high
    is_missing = chunk.isnan()
    low, _ = torch.aminmax(chunk.masked_fill(is_missing, math.inf), dim=0)
    _, high = torch.aminmax(chunk.masked_fill(is_missing, -math.inf), dim=0)
    return low, high


def whole_numbers(raw: Tensor | StoredRows, *, apart: bool) -> tuple[bool, ...]:
    """Whether each column, as `by_unit` says, holds whole numbers only."""
    whole = None
    for chunk in by_unit(in_chunks(raw), apart=apart):
        is_whole = torch.ones(chunk.shape[1], dtype=torch.bool)
        if chunk.dtype.is_floating_point:
            is_whole = ((chunk == chunk.round()) | chunk.isnan()).all(0)
        whole = is_whole if whole is None else whole & is_whole
        if not whole.any() or not chunk.dtype.is_floating_point:
            break
    assert whole is not None  # there are rows
    return tuple(whole.tolist())
