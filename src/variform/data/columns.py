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
    index = torch.linspace(0, len(train) - 1, min(most, len(train)), dtype=torch.float64).round().long()
    values = train.gather(index).double().numpy()
    kinds = schema.kinds or ("real",) * len(schema.columns)
    return tuple(_mode(column) if kind == "real" else (0.0, 0.0) for column, kind in zip(values.T, kinds, strict=True))


def _mode(column: np.ndarray) -> tuple[float, float]:
    known, counts = np.unique(column[~np.isnan(column)], return_counts=True)
    if not counts.size or counts.max() < _LEAST_PILE * counts.sum():
        return 0.0, 0.0
    return float(known[counts.argmax()]), float(counts.max() / counts.sum())


def column_names(source: Source) -> tuple[str, ...]:
    """Names of the columns of a table, `column 1`, ... where the source has none."""
    width = math.prod(source.values.shape[1:])
    return source.columns or tuple(f"column {number}" for number in range(1, width + 1))


def columns_with_gaps(raw: Tensor | StoredRows, *, pooled: bool) -> tuple[bool, ...]:
    """Whether a value is missing in any row: of each column, or `pooled` over all of them."""
    missing = torch.stack([chunk.isnan().any(0) for chunk in in_chunks(raw)]).any(0)
    return (bool(missing.any()),) if pooled else tuple(missing.tolist())


def value_range(raw: Tensor | StoredRows, source: Source) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Least and greatest value: of all pixels together, or of each column."""
    if source.levels and raw.ndim == 4:
        return (0.0,), (source.levels - 1.0,)
    low, high = extent(in_chunks(raw), pooled=raw.ndim == 4)
    return tuple(low.tolist()), tuple(high.tolist())


def extent(chunks: Iterable[Tensor], *, pooled: bool) -> tuple[Tensor, Tensor]:
    """Least and greatest value, float64: of each column, or `pooled` over all of them.

    What is missing does not count; where everything is, they are infinite.
    """
    bounds = [_bounds(chunk, None if pooled else 0) for chunk in chunks]
    low = torch.stack([low.reshape(-1) for low, _ in bounds]).amin(0)
    high = torch.stack([high.reshape(-1) for _, high in bounds]).amax(0)
    return low.double(), high.double()


def _bounds(chunk: Tensor, dim: int | None) -> tuple[Tensor, Tensor]:
    low, high = torch.aminmax(chunk, dim=dim)
    if not low.isnan().any():
        return low, high
    missing = chunk.isnan()
    low = torch.aminmax(chunk.masked_fill(missing, math.inf), dim=dim).min
    return low, torch.aminmax(chunk.masked_fill(missing, -math.inf), dim=dim).max


def whole_numbers(raw: Tensor | StoredRows, *, pooled: bool) -> tuple[bool, ...]:
    """Whether each column, or `pooled` all of them, holds whole numbers only."""
    whole = torch.ones(1 if pooled else raw.shape[1], dtype=torch.bool)
    for chunk in in_chunks(raw):
        if not raw.dtype.is_floating_point or not whole.any():
            break
        whole &= ((chunk == chunk.round()) | chunk.isnan()).reshape(-1, len(whole)).all(0)
    return tuple(whole.tolist())
