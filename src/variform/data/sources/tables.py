"""Tables: what the cells of a file with columns mean, and which columns are rows' values."""

import dataclasses
import datetime
import difflib
import itertools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from variform.config.data import FAMILIES, ROWS, DataConfig
from variform.config.words import counted, listed, quoted
from variform.data.sources.cells import (
    SURE_GAPS,
    WORDS_FOR_GAPS,
    Column,
    Evidence,
    Marks,
    are_in,
    count,
    evidence,
    first_where,
    has_any,
    in_writing,
    texts,
    without_thousands,
)
from variform.data.sources.opening import COPIES, damaged, reading, unpacked_name
from variform.data.sources.source import Source
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
"""What the names of files of tables end in, in small letters."""

_TRUTH = ("true", "false")
_TIME = r"[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?(?:Z|[+-][0-9]{2}:?[0-9]{2})?"
_DATE = rf"^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}(?:[T ]{_TIME})?$"
_LIKE_A_NUMBER = "^[+-]?[0-9.,'\u2019 ]*[0-9][0-9.,'\u2019 ]*(?:[eE][+-]?[0-9]+)?$"
_LEADING_ZERO = "^0[0-9]+$"
_DAY_0 = "1970-01-01"

DeclaredKind = Literal["category", "count", "real", "positive", "ordinal"]


def read_table(path: Path, config: DataConfig) -> Source:
    """The rows of a file whose columns have names, and what stands beside them."""
    return source_of(table_of(path, config), config)


def table_of(path: str | os.PathLike[str], config: DataConfig, known: Sequence[str] = ()) -> Frame:
    """A file whose columns have names, as it stands there.

    Args:
        path: Text such as .csv, a workbook, Parquet, Feather or JSON lines.
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
    name = unpacked_name(path.name)
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
    cells = tuple(
        _plain(column, head, name)
        for head, column in zip(table.column_names, table.columns, strict=True)
    )
    frame = Frame(name, tuple(table.column_names), cells, True, "", lambda row: f"row {row + 1}")
    return _without_row_numbers(frame)


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


# --- roles --------------------------------------------------------------------------------------------------------


def declared_kinds(
    config: DataConfig, columns: Sequence[str], name: str
) -> dict[str, DeclaredKind]:
    """The kind of each column that the options declare; commas may separate names that hold none.

    Args:
        config: `categories`, `counts`, `reals`, `positives` and `ordinals` are looked at.
        columns: Names of all columns.
        name: What the message calls the source.

    Raises:
        ValueError: for a name that is not a column's, and for a column of two kinds.

    Example:
        >>> declared_kinds(DataConfig(categories=("a,b",), counts=("c",)), ("a", "b", "c", "d"), "table.csv")
        {'a': 'category', 'b': 'category', 'c': 'count'}
    """
    kinds: dict[str, DeclaredKind] = {}
    options: dict[DeclaredKind, tuple[str, ...]] = {
        "category": config.categories,
        "count": config.counts,
        "real": config.reals,
        "positive": config.positives,
        "ordinal": tuple(ordinal.partition("=")[0] for ordinal in config.ordinals),
    }
    for kind, given in options.items():
        field = "categories" if kind == "category" else f"{kind}s"
        for column in _named(given, columns, field, name):
            if column in kinds:
                raise ValueError(
                    f"a column must have one kind; {quoted(column)} is named twice, in `{field}` too. Name it once."
                )
            kinds[column] = kind
    return kinds


def _named(given: Iterable[str], columns: Sequence[str], field: str, name: str) -> list[str]:
    """The columns that an option names; commas may separate names that hold none."""
    wanted = itertools.chain.from_iterable(
        [names] if names in columns else names.split(",") for names in given
    )
    found = []
    for column in wanted:
        if column not in columns:
            near = difflib.get_close_matches(column, columns, 1) or columns
            raise ValueError(
                f"`{field}` must name a column of {name}; it has no {quoted(column)}. Did you mean {quoted(near[0])}?"
            )
        found.append(column)
    return found


@dataclass(frozen=True)
class _Roles:
    """What each column is for."""

    label: str | None
    id: str | None
    group: str | None
    conditions: tuple[str, ...]
    responses: tuple[str, ...]
    values: tuple[str, ...]
    """Those that are rows."""


def _roles(frame: Frame, config: DataConfig) -> _Roles:
    columns, name = frame.columns, frame.name
    label = None if config.label is None else _named([config.label], columns, "label", name)[0]
    own_id = None if config.id is None else _named([config.id], columns, "id", name)[0]
    own_group = None
    if config.group not in (None, FAMILIES, ROWS):
        own_group = _named([config.group], columns, "group", name)[0]
    # Its label column is known without being named.
    conditions = _named(
        [given for given in config.condition if given not in ("label", config.label)],
        columns,
        "condition",
        name,
    )
    responses = _named(config.response, columns, "response", name)
    ignored = _named(config.ignore, columns, "ignore", name)
    chosen = _named(config.columns, columns, "columns", name) or list(columns)
    given = {
        "label": [label] if label else [],
        "id": [own_id] if own_id else [],
        "condition": conditions,
        "response": responses,
        "ignore": ignored,
    }
    role_of: dict[str, str] = {}
    for role, names in given.items():
        for column in names:
            if role_of.setdefault(column, role) != role:
                raise ValueError(
                    f"a column must have one role; {quoted(column)} is named with `{role_of[column]}` and `{role}`. "
                    "Leave one of them out."
                )
    apart = {*role_of, own_group}
    values = tuple(column for column in columns if column in chosen and column not in apart)
    return _Roles(label, own_id, own_group, tuple(conditions), tuple(responses), values)


# --- what the cells mean ------------------------------------------------------------------------------------------


def source_of(
    frame: Frame, config: DataConfig, known_words: frozenset[str] | None = None
) -> Source:
    """The rows of a table: columns of numbers, and of words where `config` says so, and what stands beside them.

    Args:
        frame: The table.
        config: What its columns are for, and how its numbers and gaps are written.
        known_words: Names of categories that are expected, so that nothing need be guessed of words that may be gaps.

    Raises:
        ValueError: for a cell that is not what it must be; says where it stands.
    """
    roles = _roles(frame, config)
    if config.cells == "numbers":
        frame = _without_empty_end(frame)
    declared = declared_kinds(config, roles.values, frame.name)
    cells = dict(zip(frame.columns, frame.cells, strict=True))
    numeric_roles = (*roles.values, *roles.conditions, *roles.responses)
    frame, guesses = with_marks(frame, [cells[column] for column in numeric_roles], config)
    reader = _Reader(frame, config, declared, known_words)
    if config.cells == "mixed":
        values, categories = reader.mixed(roles.values, cells)
    else:
        values, categories = reader.numbers(roles.values, cells), ()
    empty = np.flatnonzero(np.isnan(values).all(1))
    if values.shape[1] and len(empty):
        reader.notes.append(
            f"{counted(len(empty), 'row')} without any value, as {frame.place(int(empty[0]))}, kept as gaps"
        )
    may_lack_labels = bool(
        {"label", config.label} & set(config.condition)
    )  # which objective m2 infers
    labels = None
    if roles.label is not None:
        labels = reader.label(roles.label, cells, may_be_empty=may_lack_labels)
    names = frame.names if roles.id is None else np.array(as_texts(cells[roles.id]).to_pylist())
    groups = None if roles.group is None else np.array(as_texts(cells[roles.group]).to_pylist())
    given = {column: reader.beside(column, cells) for column in roles.conditions}
    responses = {
        column: reader.beside(column, cells, may_be_empty=True) for column in roles.responses
    }
    return Source(
        frame.name,
        _as_integers(values),
        labels,
        columns=roles.values,
        categories=categories,
        dates=tuple(_DAY_0 if name in reader.dates else "" for name in roles.values)
        if reader.dates
        else (),
        notes=(*frame.notes, *guesses, *reader.notes),
        given=given,
        responses=responses,
        names=names,
        groups=groups,
    )


def _without_empty_end(frame: Frame) -> Frame:
    """A table without the rows of empty cells with which spreadsheets end."""
    rows = len(frame.cells[0]) if frame.cells else 0
    end = rows
    while end and all(_is_text(cells) and not cells[end - 1].as_py() for cells in frame.cells):
        end -= 1
    if end == rows:
        return frame
    notes = (*frame.notes, f"{counted(rows - end, 'row')} of empty cells at the end left out")
    return dataclasses.replace(
        frame,
        cells=tuple(cells[:end] for cells in frame.cells),
        notes=notes,
        names=None if frame.names is None else frame.names[:end],
    )


def with_marks(
    frame: Frame, columns: Sequence[Column], config: DataConfig
) -> tuple[Frame, list[str]]:
    """The table with the marks of its numbers, which `columns` tell, and what was guessed of them."""
    looked_at = [cells for cells in columns if _is_text(cells) and _mostly_numbers(cells)]
    decimal, thousands = (
        config.decimal,
        {"space": " ", "none": ""}.get(config.thousands, config.thousands),
    )
    if thousands not in ("auto", ""):
        looked_at = [without_thousands(cells, thousands) for cells in looked_at]
    found = evidence(looked_at)
    if decimal == "auto":
        decimal = _decimal_mark(found, frame, thousands)
    if thousands == "auto":
        grouped = found.grouped_by_comma if decimal == "." else found.grouped_by_point
        other = "," if decimal == "." else "."
        thousands = other if grouped else ""
    guesses = []
    if decimal == "," and config.decimal == "auto":
        shown = found.comma or found.grouped_by_comma
        guesses.append(
            f"decimal commas are read as points, in numbers such as {quoted(shown)}; `decimal='.'` overrules"
        )
    if thousands and config.thousands == "auto":
        shown = found.grouped_by_comma if decimal == "." else found.grouped_by_point
        guesses.append(
            f"the {'commas' if thousands == ',' else 'points'} of numbers such as {quoted(shown)} are read as standing "
            "between thousands; `thousands='none'` overrules"
        )
    gaps = None if config.na_values is None else tuple(config.na_values)
    return dataclasses.replace(frame, marks=Marks(decimal, thousands), gaps=gaps), guesses  # pyrefly: ignore[bad-argument-type]


def _decimal_mark(found: Evidence, frame: Frame, thousands: str) -> Literal[".", ","]:
    if found.point and found.comma:
        raise ValueError(
            f"all numbers of {frame.name} must have the same decimal mark; there are both '.', as in "
            f"{quoted(found.point)}, and ',', as in {quoted(found.comma)}. Write a point in all of them, or say"
            " what they mean with `decimal` and `thousands`."
        )
    if found.comma:
        return ","
    # 2,450 alone may be either: between semicolons it is more likely a decimal comma.
    can_only_group = frame.separator in ("", ",") or thousands == ","
    if found.grouped_by_comma and not found.point and not can_only_group:
        return ","
    return "."


def _mostly_numbers(cells: Column) -> bool:
    """Whether most of what a column of texts holds are numbers, whatever their marks."""
    filled = cells.filter(pc.invert(are_in(cells, (*SURE_GAPS, *WORDS_FOR_GAPS), any_case=True)))
    like = pc.match_substring_regex(filled, _LIKE_A_NUMBER)
    return 2 * count(like) > len(filled)


def _is_text(cells: Column) -> bool:
    return pa.types.is_string(cells.type)


def as_texts(cells: Column) -> Column:
    """Cells as texts, empty where there is a gap."""
    if _is_text(cells):
        return cells
    if pa.types.is_boolean(cells.type):
        cells = pc.if_else(cells, "True", "False")
    return pc.fill_null(pc.cast(cells, pa.string()), "")


class _Reader:
    """What the cells of one table mean."""

    def __init__(
        self,
        frame: Frame,
        config: DataConfig,
        declared: Mapping[str, str],
        known_words: frozenset[str] | None,
    ) -> None:
        self.frame, self.config, self.declared, self.known_words = (
            frame,
            config,
            declared,
            known_words,
        )
        self.marks = frame.marks
        self.notes: list[str] = []
        self.dates: set[str] = set()  # columns that hold days since _DAY_0

    def are_gaps(self, cells: Column) -> Column:
        """Whether each text holds no value, where a number should stand."""
        if self.frame.gaps is not None:
            return are_in(cells, ("", *self.frame.gaps))
        return are_in(cells, (*SURE_GAPS, *WORDS_FOR_GAPS), any_case=True)

    def numbers(self, names: Sequence[str], cells: dict[str, Column]) -> np.ndarray:
        """Columns of numbers, (N, columns) float64; gaps are NaN where there may be any."""
        wrong: list[
            tuple[int, str]
        ] = []  # the first row of each column that holds no number, and the column
        columns: list[np.ndarray] = []
        for name in names:
            column = cells[name]
            if not _is_text(column):
                is_gap = pc.is_null(column, nan_is_null=True)
                if self.config.cells == "numbers" and has_any(is_gap):
                    wrong.append((first_where(is_gap), name))
                    continue
                columns.append(self._typed_numbers(column, name))
                continue
            if (days := self._dates(column, name)) is not None:
                if self.config.cells == "numbers" and np.isnan(days).any():
                    wrong.append((int(np.isnan(days).argmax()), name))
                    continue
                columns.append(days)
                continue
            column = self._truths(column, name)
            may_be_gap = self.config.cells == "gaps"
            is_number = self.marks.are_numbers(column)
            is_gap = pc.and_(self.are_gaps(column), may_be_gap)
            is_right = pc.or_(is_number, is_gap)
            if has_any(pc.invert(is_right)):
                wrong.append((first_where(pc.invert(is_right)), name))
                continue
            columns.append(self.marks.numbers(pc.if_else(is_gap, None, column)))
        if wrong:
            row, name = min(wrong, key=lambda place: place[0])
            cell = as_texts(cells[name])[row].as_py() if _is_text(cells[name]) else ""
            raise ValueError(self._no_number(cell, name, row))
        rows = len(next(iter(cells.values()))) if cells else 0
        return np.stack(columns, 1) if columns else np.empty((rows, 0))

    def _typed_numbers(self, column: Column, name: str) -> np.ndarray:
        """Numbers, truths as 0 and 1, or dates as days, of a column that has such a type in its file."""
        if pa.types.is_date(column.type) or pa.types.is_timestamp(column.type):
            self.notes.append(_said_of_dates(name))
            self.dates.add(name)
            days = pc.cast(pc.cast(column, pa.timestamp("us")), pa.int64())
            numbers = pc.divide(pc.cast(days, pa.float64()), 86_400e6)
        else:
            numbers = pc.cast(column, pa.float64(), safe=False)
        return pc.fill_null(numbers, float("nan")).to_numpy()

    def _truths(self, column: Column, name: str) -> Column:
        """The texts true and false as 1 and 0, where a column holds nothing else."""
        lower = pc.utf8_lower(column)
        is_truth = are_in(lower, _TRUTH)
        is_other = pc.invert(pc.or_(is_truth, self.are_gaps(column)))
        if has_any(is_other) or not has_any(is_truth):
            return column
        self.notes.append(f"true and false in column {quoted(name)} are read as 1 and 0")
        truths = pc.if_else(pc.equal(lower, "true"), "1", "0")
        return pc.if_else(is_truth, truths, column)

    def mixed(
        self, names: Sequence[str], cells: dict[str, Column]
    ) -> tuple[np.ndarray, tuple[tuple[str, ...], ...]]:
        """Columns of numbers and of words: their numbers or those of their categories; and the categories' names."""
        is_words = {name: self._holds_words(cells[name], name) for name in names}
        # A word that stands for a gap among numbers does so among words.
        spelled: set[str] = set()
        for name in names:
            if not is_words[name] and _is_text(cells[name]) and self.frame.gaps is None:
                column = cells[name]
                spelled |= set(pc.unique(column.filter(self.are_gaps(column))).to_pylist())
        columns, categories = [], []
        for name in names:
            if is_words[name]:
                numbers, own = self._categories(cells[name], name, spelled)
            else:
                numbers, own = self._column_of_numbers(cells[name], name), ()
            columns.append(numbers)
            categories.append(own)
        rows = len(next(iter(cells.values()))) if cells else 0
        values = np.stack(columns, 1) if columns else np.empty((rows, 0))
        return values, tuple(categories)

    def _holds_words(self, column: Column, name: str) -> bool:
        """Whether a column of a mixed table holds categories."""
        kind = self.declared.get(name)
        if pa.types.is_boolean(column.type):
            return kind is None or kind == "category"
        if not _is_text(column):
            return False
        if kind == "ordinal":
            is_level = pc.or_(self.marks.are_numbers(column), self.are_gaps(column))
            return has_any(pc.invert(is_level))
        if kind is not None:
            return kind == "category"
        filled = column.filter(pc.invert(self.are_gaps(column)))
        if has_any(pc.match_substring_regex(filled, _LEADING_ZERO)) and not has_any(
            pc.invert(pc.match_substring_regex(filled, "^[0-9]+$"))
        ):
            self.notes.append(
                f"column {quoted(name)} holds codes such as {quoted(_first(filled, _LEADING_ZERO))}, which are"
                f" read as categories and not as numbers; `reals=[{quoted(name)}]` overrules"
            )
            return True
        if len(filled) and not has_any(pc.invert(pc.match_substring_regex(filled, _DATE))):
            return False
        is_word = pc.invert(self.marks.are_numbers(filled))
        if 2 * count(is_word) <= len(filled):
            return False
        written = pc.and_(is_word, in_writing(filled))
        if 2 * count(written) > len(filled):
            shown = quoted(filled.filter(written)[0].as_py())
            raise ValueError(
                f"column {quoted(name)} of {self.frame.name} must hold numbers or words; it holds numbers in writing,"
                f" such as {shown}. Write the numbers alone, with the unit in the name of the column, say how they are"
                f" written with `thousands` and `decimal`, or declare the column with `categories=[{quoted(name)}]`."
            )
        return True

    def _column_of_numbers(self, column: Column, name: str) -> np.ndarray:
        if not _is_text(column):
            return self._typed_numbers(column, name)
        if (days := self._dates(column, name)) is not None:
            return days
        is_gap = self.are_gaps(column)
        is_number = self.marks.are_numbers(column)
        is_wrong = pc.invert(pc.or_(is_number, is_gap))
        if has_any(is_wrong):
            raise ValueError(self._odd_cell(column, name, first_where(is_wrong)))
        return self.marks.numbers(pc.if_else(is_gap, None, column))

    def _dates(self, column: Column, name: str) -> np.ndarray | None:
        """The days of a column of texts that holds dates and gaps alone."""
        is_date = pc.match_substring_regex(column, _DATE)
        if not has_any(is_date):
            return None
        is_gap = self.are_gaps(column)
        if has_any(pc.invert(pc.or_(is_date, is_gap))):
            return None
        dates = pc.if_else(is_gap, None, column)
        days = [np.nan if date is None else _days(date) for date in dates.to_pylist()]
        self.notes.append(_said_of_dates(name))
        self.dates.add(name)
        return np.array(days)

    def _odd_cell(self, column: Column, name: str, row: int) -> str:
        """What is wrong with a cell of a column that holds numbers else."""
        if self.known_words is not None:
            reason, remedy = "as in the data of the model", "or empty it"
        elif name in self.declared:
            reason = "as it is declared to"
            remedy = f"or take {quoted(name)} out of `{self.declared[name]}s`"
        else:
            reason = "as most of its cells do"
            remedy = f"or declare the column with `categories=[{quoted(name)}]`"
        return (
            f"column {quoted(name)} of {self.frame.name} must hold numbers, {reason}; {self.frame.place(row)} holds the"
            f" text {quoted(column[row].as_py())}. Correct the cell, say with `na_values` that it is a gap, {remedy}."
        )

    def _categories(
        self, column: Column, name: str, spelled: set[str]
    ) -> tuple[np.ndarray, tuple[str, ...]]:
        """Numbers from 0 of the categories in their order, NaN for a gap; and their names."""
        column = as_texts(column)
        if self.known_words is not None:
            is_gap = pc.and_not(self.are_gaps(column), are_in(column, self.known_words))
        elif self.frame.gaps is None:
            is_gap = are_in(column, {*SURE_GAPS, *spelled})
            kept = pc.and_not(are_in(column, WORDS_FOR_GAPS, any_case=True), is_gap)
            if has_any(kept):
                word = column.filter(kept)[0].as_py()
                self.notes.append(
                    f"{quoted(word)} in column {quoted(name)} ({counted(count(kept), 'row')}) is read as a value and"
                    f" not as a gap; `na_values=[{quoted(word)}]` overrules"
                )
            lost = are_in(column, spelled - set(SURE_GAPS))
            if spelled and has_any(lost):
                word = column.filter(lost)[0].as_py()
                self.notes.append(
                    f"{quoted(word)} in column {quoted(name)} ({counted(count(lost), 'row')}) is read as a gap, as"
                    " among numbers of this table; `na_values=['']` overrules"
                )
        else:
            is_gap = self.are_gaps(column)
        known = [text for text in pc.unique(column.filter(pc.invert(is_gap))).to_pylist()]
        numbers = {text: self.marks.number(text) for text in known}
        is_numeric = all(number is not None for number in numbers.values())
        names = sorted(sorted(known), key=(lambda text: numbers[text]) if is_numeric else None)  # pyrefly: ignore
        places = pc.index_in(
            pc.if_else(is_gap, None, column), value_set=pa.array(names, pa.string())
        )
        return pc.fill_null(pc.cast(places, pa.float64()), float("nan")).to_numpy(), tuple(names)

    def label(self, name: str, cells: dict[str, Column], *, may_be_empty: bool) -> np.ndarray:
        """Labels: numbers where all that there are are numbers, else texts; one that is not there is NaN or empty."""
        column = cells[name]
        if not _is_text(column) and not pa.types.is_boolean(column.type):
            if not may_be_empty:
                self._require_filled(pc.is_null(column, nan_is_null=True), name)
            return self._typed_numbers(column, name)
        column = as_texts(column)
        is_empty = pc.equal(column, "")
        if not may_be_empty:
            self._require_filled(is_empty, name)
        filled = column.filter(pc.invert(is_empty))
        is_code = pc.match_substring_regex(filled, _LEADING_ZERO)
        if has_any(pc.invert(self.marks.are_numbers(filled))) or has_any(is_code):
            return np.array(column.to_pylist(), dtype=str)
        return self.marks.numbers(pc.if_else(is_empty, None, column))

    def beside(
        self, name: str, cells: dict[str, Column], *, may_be_empty: bool = False
    ) -> np.ndarray:
        """A column beside the rows: numbers, or texts where most of its cells are; a gap is NaN or empty."""
        column = cells[name]
        if pa.types.is_boolean(column.type) or (
            _is_text(column) and self._holds_words(column, name)
        ):
            column = as_texts(column)
            if not may_be_empty:
                self._require_filled(pc.equal(column, ""), name)
            return np.array(column.to_pylist(), dtype=str)
        numbers = self._column_of_numbers(column, name)
        if not may_be_empty:
            self._require_filled(pa.chunked_array([np.isnan(numbers)]), name)
        return numbers

    def _require_filled(self, is_empty: Column, name: str) -> None:
        if has_any(is_empty):
            raise ValueError(
                f"labels and conditions of {self.frame.name} must be known in every row; column {quoted(name)} in"
                f" {self.frame.place(first_where(is_empty))} is empty. Fill it in, or delete the line."
            )

    def _no_number(self, cell: str, column: str, row: int) -> str:
        """What is wrong with a cell that is no number."""
        if not cell:
            return self._empty_cell(column, row)
        name = self.frame.name
        if bool(self.are_gaps(pa.chunked_array([[cell]]))[0].as_py()):
            remedy = "Fill it in, delete the line, or use `cells='gaps'` or `likelihood='mixed'`, which take gaps."
        elif in_writing(pa.chunked_array([[cell]]))[0].as_py():
            remedy = (
                "Write a point as decimal mark, and no thousands separators or units, or say how numbers are written"
                " with `decimal` and `thousands`."
            )
        else:
            remedy = (
                f"Correct the cell, leave the column out with `ignore=[{quoted(column)}]`, name what it is for with"
                f" `id={quoted(column)}` or `label={quoted(column)}`, or use `likelihood='mixed'`, which takes text."
            )
        return (
            f"every cell of {name} must be a number; column {quoted(column)} in {self.frame.place(row)} holds the text"
            f" {quoted(cell)}. {remedy}"
        )

    def _empty_cell(self, column: str, row: int) -> str:
        return (
            f"every cell of {self.frame.name} must hold a value; column {quoted(column)} in {self.frame.place(row)} is"
            " empty. Fill it in, delete the line, or use `likelihood='mixed'` or `cells='gaps'`, which take gaps."
        )


def _first(cells: Column, pattern: str) -> str:
    return cells.filter(pc.match_substring_regex(cells, pattern))[0].as_py()


def _said_of_dates(name: str) -> str:
    return (
        f"the dates of column {quoted(name)} are read as numbers, in days since 1970-01-01;"
        f" `categories=[{quoted(name)}]` overrules"
    )


def _days(date: str) -> float:
    moment = datetime.datetime.fromisoformat(date)
    moment = moment.replace(tzinfo=moment.tzinfo or datetime.UTC)
    return (moment - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)) / datetime.timedelta(
        days=1
    )


def _as_integers(values: np.ndarray) -> np.ndarray:
    """Whole numbers as integers, so that the pixels of a table are treated as pixels."""
    is_whole = np.array_equal(values, np.rint(values)) and np.abs(values).max(initial=0) < 2**53
    return values.astype(np.int64) if is_whole else values
