"""Rows in memory: arrays, tables of other libraries, columns and records of plain Python."""

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from variform.config.data import DataConfig
from variform.config.words import quoted
from variform.data.sources.cells import as_texts
from variform.data.sources.formats import check_options
from variform.data.sources.meaning import source_of
from variform.data.sources.source import Source
from variform.data.sources.tables import frame_from
from variform.data.sources.text_tables import Frame

_TAKEN = (
    "a path or a built-in name, a NumPy array, a tensor, a DataFrame of pandas or polars, a table that gives its"
    " columns to Arrow, a Dataset of datasets, a dictionary of columns or a list of dictionaries"
)


def source_from(
    rows: object, config: DataConfig, labels: object = None, name: str | None = None
) -> Source:
    """The rows and labels of what is in memory, with the meaning that the same table has in a file.

    Args:
        rows: As `variform.data.reading.read` takes.
        config: How to read it.
        labels: One a row, where they are no column.
        name: What messages call it; `array` or `table` by default.

    Raises:
        TypeError: for what holds no rows.
        ValueError: for rows that cannot be read, or an option that does not apply to them.

    Example:
        >>> source = source_from({"mass": [1.5, 2.5], "drag": ["3", "4"]}, DataConfig())
        >>> source.columns, source.values.tolist()
        (('mass', 'drag'), [[1.5, 3.0], [2.5, 4.0]])
    """
    held = held_in(rows, name)
    if isinstance(held, Frame):
        check_options(config, "table", held.name)
        source = source_of(held, config)
    else:
        name = name or "array"
        check_options(config, "array", name)
        source = Source(name, held)
    return source if labels is None else with_labels(source, labels, config)


def with_labels(source: Source, labels: object, config: DataConfig) -> Source:
    """Rows with labels that are no column of theirs, one a row.

    Raises:
        ValueError: for rows that have labels already.
    """
    if source.labels is not None:
        raise of_two_places(config.label or "", source.name)
    return dataclasses.replace(source, labels=labels_in(labels))


def of_two_places(column: str, table: str) -> ValueError:
    """What is said of labels that are a column of a table and stand beside it too."""
    return ValueError(
        f"labels must come from one place; there are `labels` and the column {quoted(column)} of {table}. Leave "
        "`label` or `labels` out."
    )


def labels_in(labels: object) -> np.ndarray:
    """Labels in memory, one a row: numbers, or texts, of which "" is one that is not known, as None is.

    Example:
        >>> labels_in(["oak", None]).tolist()
        ['oak', '']
    """
    values = array_in(labels)
    if values.dtype.kind != "O":
        return values
    texts = as_texts(pa.chunked_array([_cells(labels, "labels")])).to_pylist()
    return np.array([text or "" for text in texts])


def held_in(rows: object, name: str | None = None) -> np.ndarray | Frame:
    """An array of numbers as it is, and anything else with rows as a table.

    Args:
        rows: As `variform.data.reading.read` takes.
        name: What messages call it.

    Raises:
        TypeError: for what holds no rows.
        ValueError: for a table that cannot be taken as it is; says what to do with it.

    Example:
        >>> held_in([{"mass": 1, "wood": "oak"}, {"mass": 2}]).cells[1].to_pylist()
        ['oak', '']
    """
    _refuse_what_must_be_made_ready(rows)
    table = name or "table"
    if _is_of(rows, "pandas"):
        return _from_pandas(rows, table)
    if _is_of(rows, "datasets") and hasattr(rows, "with_format"):
        rows = rows.with_format("arrow")[:]
    if hasattr(rows, "__arrow_c_stream__"):
        return _named(_from_stream(rows), table)
    if hasattr(rows, "__arrow_c_array__"):
        return _named(pa.Table.from_batches([pa.record_batch(rows)]), table)
    if isinstance(rows, Mapping):
        return _from_columns(rows, table)
    if isinstance(rows, Sequence) and rows and all(isinstance(row, Mapping) for row in rows):
        return _from_columns(_columns_of(rows), table)
    array = array_in(rows, name or "array")
    if array.dtype.names is not None:
        return _from_columns({column: array[column] for column in array.dtype.names}, table)
    if array.ndim == 2 and array.dtype.kind in "OUST":
        columns = {f"column {number}": cells for number, cells in enumerate(array.T, 1)}
        return dataclasses.replace(_from_columns(columns, name or "array"), is_named=False)
    return array


def _refuse_what_must_be_made_ready(rows: object) -> None:
    """Refuse what holds rows, but not as they are wanted."""
    if _is_of(rows, "scipy") and hasattr(rows, "toarray"):
        shape = rows.shape  # pyrefly: ignore[missing-attribute]
        raise ValueError(
            f"rows must be dense; got a sparse matrix of the shape {shape}, which takes {_size(shape)} as one. "
            "Give x.toarray(), of fewer columns if that is too much."
        )
    if _is_of(rows, "polars") and hasattr(rows, "collect"):
        raise ValueError("rows must be in memory; got a LazyFrame of polars. Give frame.collect().")
    if _is_of(rows, "datasets") and not hasattr(rows, "__len__"):
        raise ValueError(
            f"rows must be in memory; got the {type(rows).__name__} of datasets. Give a Dataset."
        )
    if _is_of(rows, "datasets") and isinstance(rows, Mapping):
        raise ValueError(
            f"rows must be one Dataset; got a DatasetDict of {', '.join(map(str, rows))}. Give one of them, as in "
            f"data[{next(iter(rows), 'train')!r}]."
        )


def _size(shape: tuple[int, ...]) -> str:
    return f"{8 * np.prod(shape, dtype=float) / 2**30:.3g} GiB"


def _is_of(rows: object, library: str) -> bool:
    """Whether an object is of a library, which need not be imported for that."""
    return type(rows).__module__.partition(".")[0] == library


def _from_stream(rows: Any) -> pa.Table:
    """A table of any library that gives its columns to Arrow."""
    try:
        return pa.RecordBatchReader.from_stream(rows).read_all()
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise ValueError(
            f"rows must be a table; got the {type(rows).__name__} of {type(rows).__module__.partition('.')[0]}, which "
            "has one column without a name. Give the table that it stands in."
        ) from error


def _named(table: pa.Table, name: str) -> Frame:
    _require_names(table.column_names, name)
    return frame_from(table, name)


def _from_pandas(rows: Any, name: str) -> Frame:
    """A DataFrame of pandas: its index names the rows, if it does not only number them."""
    if not hasattr(rows, "columns"):
        raise ValueError(
            f"rows must be a table; got the {type(rows).__name__} of pandas. Give a DataFrame: series.to_frame()."
        )
    names = [_joined(column) for column in rows.columns]
    _require_names(names, name)
    cells = [
        _cells(_with_texts(rows.iloc[:, number]), names[number]) for number in range(len(names))
    ]
    frame = frame_from(pa.table(cells, names=names), name)
    if type(rows.index).__name__ == "RangeIndex":
        return frame
    texts = [_joined(label) for label in rows.index]
    note = (
        "the index of the DataFrame is taken as the names of the rows; `id` overrules, and in pandas "
        "reset_index() makes a column of it"
    )
    return dataclasses.replace(frame, names=np.array(texts, str), notes=(*frame.notes, note))


def _with_texts(column: Any) -> Any:
    """A column of pandas whose levels are intervals, as `pandas.cut` makes them, with texts for these."""
    levels = getattr(column.dtype, "categories", None)
    is_cut = type(levels).__name__ == "IntervalIndex"
    return column.cat.rename_categories(str) if is_cut else column


def _joined(label: Any) -> str:
    """The name of a column or a row, whose levels stand behind each other where it has several."""
    return "/".join(map(str, label)) if isinstance(label, tuple) else str(label)


def _columns_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Columns of records: a record that lacks one has a gap there."""
    names = dict.fromkeys(itertools.chain.from_iterable(rows))
    return {name: [row.get(name) for row in rows] for name in names}


def _from_columns(columns: Mapping[Any, Any], name: str) -> Frame:
    if not columns:
        raise ValueError(f"{name} must hold a column; it is empty. Give one.")
    names = list(map(str, columns))
    _require_names(names, name)
    cells = [_cells(values, column) for column, values in zip(names, columns.values(), strict=True)]
    lengths = dict(zip(names, map(len, cells), strict=True))
    (first, length), *others = lengths.items()
    for other, rows in others:
        if rows != length:
            raise ValueError(
                f"columns of {name} must have one value a row; {quoted(first)} has {length} and {quoted(other)} has"
                f" {rows}. Give as many in each."
            )
    return frame_from(pa.table(cells, names=names), name)


def _require_names(names: Sequence[str], table: str) -> None:
    if len(set(names)) < len(names):
        twice = next(name for name in names if list(names).count(name) > 1)
        raise ValueError(
            f"columns of {table} must have different names; {quoted(twice)} stands twice. Rename one."
        )


def _cells(values: Any, name: str) -> Any:
    """One column for Arrow: what is of several types is text, as it would be in a file."""
    values = array_in(values, f"column {quoted(name)}") if _is_tensor(values) else values
    shape = getattr(values, "shape", (None,))
    if isinstance(values, str | bytes) or not isinstance(values, Iterable) or len(shape) != 1:
        got = f"the shape {tuple(shape)}" if hasattr(values, "shape") else type(values).__name__
        raise ValueError(
            f"a column must hold one value a row; {quoted(name)} is of {got}. Spread it over columns of its own, or "
            "give an array of all rows."
        )
    if hasattr(values, "__arrow_c_stream__") and not _is_of(values, "pandas"):
        return pa.chunked_array(values)
    values = values if hasattr(values, "dtype") else list(values)
    try:
        return pa.array(values, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
        return pa.array([_text(value) for value in values], pa.string())


def _text(value: Any) -> str | None:
    is_gap = value is None or value != value  # NaN is not equal to itself
    return None if is_gap is True else str(value)


def _is_tensor(values: Any) -> bool:
    return hasattr(values, "detach")


def array_in(values: Any, name: str = "labels") -> np.ndarray:
    """Values in memory as an array, without a copy where there need be none; what is masked is NaN.

    Raises:
        TypeError: for what holds no values.
        ValueError: for rows of different lengths.
    """
    if _is_tensor(values):
        values = values.detach().cpu()
        return (values.float() if "bfloat16" in str(values.dtype) else values).numpy()
    if isinstance(values, np.ma.MaskedArray):
        return np.ma.filled(values.astype(np.result_type(values.dtype, np.float32)), np.nan)
    if isinstance(values, str | bytes) or not (
        hasattr(values, "__array__")
        or hasattr(values, "__array_interface__")
        or isinstance(values, Sequence)
    ):
        wanted = "a list or an array" if name == "labels" else _TAKEN
        raise TypeError(f"{name} must be {wanted}; got {type(values).__name__}. Give one of them.")
    if not hasattr(values, "dtype") and any(map(_is_tensor, values)):
        values = [array_in(value, name) for value in values]
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ValueError(
            f"rows of {name} must be of one length; {error}. Fill them up, or give a dictionary of columns."
        ) from error
    # A list of numbers and texts becomes texts, of numbers and None objects: both are read column by column.
    return array
