"""The formats of tables: each becomes the columns that stand in the file, with their names."""

import dataclasses
import datetime
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from variform.config.data import DataConfig
from variform.config.words import listed, quoted
from variform.data.sources.cells import Column, Marks, as_texts, has_any, texts
from variform.data.sources.meaning import source_of
from variform.data.sources.opening import COPIES, damaged, reading, unpacked_name
from variform.data.sources.source import Source
from variform.data.sources.split_tables import is_split, joined
from variform.data.sources.text_tables import (
    Frame,
    named_columns,
    read_text_table,
    require_names,
)
from variform.system import memory
from variform.system.files import expanded

TEXT = (".csv", ".tsv", ".txt")
WORKBOOKS = (".xlsx", ".xlsm", ".xls", ".ods")
PARQUET, ARROW, JSON_LINES = (
    (".parquet", ".pq"),
    (".feather", ".arrow", ".ipc"),
    (".jsonl", ".ndjson"),
)
ENDINGS = (*TEXT, *WORKBOOKS, *PARQUET, *ARROW, *JSON_LINES)
"""What the names of files of tables end in, in small letters."""

_ENUM_OF_POLARS = b"_PL_ENUM_VALUES"


def read_table(path: Path, config: DataConfig) -> Source:
    """The rows of a file whose columns have names, and what stands beside them."""
    return source_of(table_of(path, config), config)


def is_table_folder(folder: Path) -> bool:
    """Whether a folder holds a table for each part of a split, such as train.csv and test.csv."""
    return is_split(folder, ENDINGS)


def table_of(path: str | os.PathLike[str], config: DataConfig, known: Sequence[str] = ()) -> Frame:
    """A file whose columns have names, as it stands there, or the files of a split, one after the other.

    Args:
        path: Text such as .csv, a workbook, Parquet, Feather or JSON lines; or a folder of which `is_table_folder`.
        config: How to read it.
        known: Names of columns that are expected.

    Raises:
        ValueError: for what is no table.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "designs.csv"
        >>> _ = path.write_text("mass;drag\\n1,5;2\\n2,5;\\n")
        >>> frame = table_of(path, DataConfig())
        >>> frame.columns, frame.cells[0].to_pylist(), frame.separator
        (('mass', 'drag'), ['1,5', '2,5'], ';')
    """
    path = expanded(path)
    if path.is_dir():
        return joined(path, ENDINGS, lambda file: table_of(file, config, known))
    name = unpacked_name(path)
    readers: dict[tuple[str, ...], Callable[[Path, DataConfig], Frame]] = {
        WORKBOOKS: lambda path, config: _workbook(path, config, known),
        PARQUET: _parquet,
        ARROW: _arrow,
        JSON_LINES: _json_lines,
    }
    for endings, read in readers.items():
        if name.endswith(endings):
            return read(path, config)
    return _without_row_numbers(read_text_table(path, config, known))


def frame_from(table: pa.Table, name: str) -> Frame:
    """A table in memory, of any library that gives its columns to Arrow."""
    orders = {
        field.name: order
        for field, column in zip(table.schema, table.columns, strict=True)
        if (order := _order(column, field, name))
    }
    cells = []
    for head, column in zip(table.column_names, table.columns, strict=True):
        plain = _plain(column, head, name)
        cells.append(as_texts(plain) if head in orders else plain)
    frame = Frame(
        name,
        tuple(table.column_names),
        tuple(cells),
        True,
        "",
        lambda row: f"row {row + 1}",
        orders=orders,
    )
    return _without_row_numbers(frame)


def _order(column: Column, field: pa.Field, name: str) -> tuple[str, ...]:
    """The levels of a column whose type has an order, the lowest first; () of others."""
    if not pa.types.is_dictionary(field.type) or not _has_order(field):
        return ()
    pieces = column.unify_dictionaries().chunks
    if not pieces:
        return ()
    levels = _plain(pa.chunked_array([pieces[0].dictionary]), field.name, name)
    return tuple(as_texts(levels).to_pylist())


def _has_order(field: pa.Field) -> bool:
    """Whether levels are ordered by their type, or were an Enum of polars, which before 2.0 says so beside the type."""
    return field.type.ordered or any(
        key.startswith(_ENUM_OF_POLARS) for key in field.metadata or ()
    )


def _parquet(path: Path, config: DataConfig) -> Frame:
    import pyarrow.parquet as pq  # slow to import

    with reading(path) as handle:
        try:
            return frame_from(pq.read_table(handle), path.name)
        except pa.ArrowInvalid as error:
            raise damaged(path.name, error) from error


def _arrow(path: Path, config: DataConfig) -> Frame:
    import pyarrow.feather as feather  # slow to import

    with reading(path) as handle:
        try:
            return frame_from(feather.read_table(pa.PythonFile(handle)), path.name)
        except pa.ArrowInvalid as error:
            raise damaged(path.name, error) from error


def _json_lines(path: Path, config: DataConfig) -> Frame:
    import pyarrow.json as pa_json  # slow to import

    with reading(path) as handle:
        try:
            return frame_from(pa_json.read_json(handle), path.name)
        except pa.ArrowInvalid as error:
            raise ValueError(
                f"{path.name} must hold one JSON object a line; reading it failed: {error}. Correct that line."
            ) from error


def _plain(column: Column, head: str, name: str) -> Column:
    """A column as texts, numbers, truths or dates, null where there is a gap."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        values = [
            _plain(pa.chunked_array([piece.dictionary]), head, name)
            for piece in column.iterchunks()
        ]
        pieces = [
            pc.take(own.combine_chunks(), piece.indices)
            for own, piece in zip(values, column.iterchunks(), strict=True)
        ]
        return _plain(pa.chunked_array(pieces or [pa.array([], pa.string())]), head, name)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pc.fill_null(texts(column), "")
    is_plain = (
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_date(kind)
        or pa.types.is_timestamp(kind)
    )
    if pa.types.is_decimal(kind):
        return pc.cast(column, pa.float64())
    if pa.types.is_null(kind):
        return pc.cast(column, pa.float64())
    if is_plain:
        return column
    raise ValueError(
        f"a column must hold numbers, texts, truths or dates; {quoted(head)} of {name} holds {kind}. Leave it out with "
        f"`ignore=[{quoted(head)}]`, or spread it over columns of its own."
    )


def _workbook(path: Path, config: DataConfig, known: Sequence[str]) -> Frame:
    from python_calamine import CalamineError, CalamineWorkbook  # slow to import

    memory.require(COPIES * path.stat().st_size, path.name, "Bring fewer rows.")
    try:
        with CalamineWorkbook.from_path(str(path)) as book:
            sheets = book.sheet_names
            sheet = config.sheet_name or sheets[0]
            if sheet not in sheets:
                raise ValueError(
                    f"`sheet_name` must name a sheet of {path.name}, which has {listed(sheets)}; got {quoted(sheet)}. "
                    "Name one of them."
                )
            rows = book.get_sheet_by_name(sheet).to_python(skip_empty_area=False)
    except CalamineError as error:
        raise damaged(path.name, error) from error
    rows = [[_text(cell) for cell in row] for row in rows[config.skiprows :]]
    first_row = config.skiprows + 1
    while rows and not any(rows[0]):
        rows = rows[1:]
        first_row += 1
    while rows and not any(rows[-1]):
        rows.pop()
    names, is_named, notes = named_columns(_columns(rows), config, known)
    if is_named:
        rows = rows[1:]
        first_row += 1
    columns = _columns(rows)
    if config.sheet_name is None and len(sheets) > 1:
        others = listed([other for other in sheets if other != sheet])
        notes += (
            f"of the sheets {quoted(sheet)} is read, and not {others}; `sheet_name` overrules",
        )
    frame = Frame(
        path.name,
        names,
        tuple(columns),
        is_named,
        "",
        lambda row: f"row {first_row + row}",
        notes=notes,
    )
    return _without_row_numbers(dataclasses.replace(frame, marks=Marks()))


def _columns(rows: list[list[str]]) -> list[Column]:
    """The columns of lines of texts."""
    return [pa.chunked_array([pa.array(cells, pa.string())]) for cells in zip(*rows, strict=True)]


def _text(cell: Any) -> str:
    """A cell of a workbook as a text table would have it."""
    if isinstance(cell, bool):
        return str(cell)
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() and abs(cell) < 2**53 else repr(cell)
    if isinstance(cell, datetime.datetime | datetime.date):
        return cell.isoformat()
    return str(cell).strip()


def _without_row_numbers(frame: Frame) -> Frame:
    """A table without what is no part of it: an unnamed column that numbers the rows, and an empty one at the end."""
    if not frame.is_named:
        return frame
    columns, cells, notes = list(frame.columns), list(frame.cells), list(frame.notes)
    if columns and not columns[-1] and not has_any(pc.not_equal(as_texts(cells[-1]), "")):
        columns.pop()
        cells.pop()
        notes.append(
            f"the last column of {frame.name}, which has no name and holds nothing, is left out"
        )
    if columns and columns[0] in ("", "Unnamed: 0") and _counts_rows(cells[0]):
        columns.pop(0)
        cells.pop(0)
        notes.append("the first column, which has no name and numbers the rows, is left out")
    require_names(tuple(columns), frame.name)
    return dataclasses.replace(
        frame, columns=tuple(columns), cells=tuple(cells), notes=tuple(notes)
    )


def _counts_rows(cells: Column) -> bool:
    numbers = as_texts(cells).to_pylist()
    return any(
        numbers == [str(row) for row in range(start, start + len(numbers))] for start in (0, 1)
    )
