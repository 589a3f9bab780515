"""Tables: .csv."""

import csv
import difflib
import io
import itertools
import math
import re
import sys
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from variform.config.data import DataConfig
from variform.config.words import quoted
from variform.data.sources.opening import COPIES, reading
from variform.data.sources.source import Source
from variform.system import memory
from variform.system.files import expanded

_MISSING = ("", "na", "n/a", "nan", "null", "?")  # cells, in small letters, that hold no value


def csv_columns(path: str | Path) -> tuple[str, ...]:
    """Names of all columns of a CSV file, those of labels too; `column 1`, ... where its first line holds numbers.

    Raises:
        ValueError: if two columns have one name, or one has none.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "designs.csv"
        >>> _ = path.write_text("mass;drag\\n1,5;2\\n")
        >>> csv_columns(path)
        ('mass', 'drag')
    """
    with _csv_table(expanded(path)) as table:
        return table.columns


def is_missing(cell: str) -> bool:
    """Whether a cell of a CSV file stands for a missing value.

    Example:
        >>> [is_missing(cell) for cell in ("", "NA", "?", "0", "none")]
        [True, True, True, False, False]
    """
    return cell.strip().casefold() in _MISSING


def declared_kinds(
    config: DataConfig, columns: Sequence[str], name: str
) -> dict[str, Literal["category", "count", "real"]]:
    """The kind of each column that the options declare; commas may separate names that hold none.

    Args:
        config: `categories`, `counts` and `reals` are looked at.
        columns: Names of all columns.
        name: What the message calls the source.

    Raises:
        ValueError: for a name that is not a column's, and for a column of two kinds.

    Example:
        >>> declared_kinds(DataConfig(categories=("a,b",), counts=("c",)), ("a", "b", "c", "d"), "table.csv")
        {'a': 'category', 'b': 'category', 'c': 'count'}
    """
    kinds: dict[str, Literal["category", "count", "real"]] = {}
    options = {"category": config.categories, "count": config.counts, "real": config.reals}
    for kind, given in options.items():
        field = "categories" if kind == "category" else f"{kind}s"
        for column in itertools.chain.from_iterable(
            [names] if names in columns else names.split(",") for names in given
        ):
            if column not in columns:
                near = difflib.get_close_matches(column, columns, 1) or columns
                raise ValueError(
                    f"`{field}` must name columns of {name}; it has no {quoted(column)}. Did you mean "
                    f"{quoted(near[0])}?"
                )
            if column in kinds:
                raise ValueError(
                    f"a column must have one kind; {quoted(column)} is named twice, in `{field}` too. Name it once."
                )
            kinds[column] = kind  # pyrefly: ignore[unsupported-operation]
    return kinds


Cells = tuple[tuple[str, ...], bool, str, Iterator[list[str]]]
"""Names of all columns, whether they stand in the first line, the separator, and the lines that hold cells."""


@contextmanager
def csv_cells(path: str | Path) -> Iterator[Cells]:
    """The cells of a CSV file as they stand there.

    Returns:
        Names of all columns, whether they stand in the first line, the separator, and the lines that hold cells.

    Raises:
        ValueError: as `read_source`.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "designs.csv"
        >>> _ = path.write_text("mass;drag\\n1,50;\\n")
        >>> with csv_cells(path) as (columns, named, separator, lines):
        ...     columns, named, separator, list(lines)
        (('mass', 'drag'), True, ';', [['1,50', '']])
    """
    with _csv_table(expanded(path)) as table:
        yield table.columns, table.named, table.separator, table.rows


_LONGEST_LINE = 2**26  # characters of a table
_MOST_BLANK = 1000  # lines before the first of a table
_LINES_AT_ONCE = 2**14  # lines of a table between two looks at the memory


@dataclass(frozen=True, eq=False)
class _Table:
    """A CSV file whose header has been read."""

    columns: tuple[str, ...]
    named: bool  # in the first line
    separator: str
    rows: Iterator[list[str]]
    line: Callable[[], int]  # number of the line read last
    notes: tuple[str, ...]


def read_csv(path: Path, config: DataConfig) -> Source:
    """A table of numbers, and of text where `config` says so."""
    with _csv_table(path) as table:
        columns, name = list(table.columns), path.name
        label_column = (
            None if config.label is None else _column_index(config.label, columns, "label", name)
        )
        given = {
            _column_index(name_, columns, "condition", name): []
            for name_ in _condition_columns(config)
        }
        apart = sorted(
            {*given, *([label_column] if label_column is not None else [])}, reverse=True
        )
        for column in apart:
            columns.pop(column)
        may_lack_labels = bool(
            {"label", config.label} & set(config.condition)
        )  # which objective m2 infers
        declared = declared_kinds(config, columns, name)
        numbers, labels, marks, texts, lines = array("d"), [], set(), [], []
        for row, cells in enumerate(table.rows, 1):
            if row % _LINES_AT_ONCE == 0:
                held = (
                    row * sum(map(sys.getsizeof, cells))
                    if config.cells == "mixed"
                    else 8 * len(numbers)
                )
                memory.require(COPIES * held, name, "Bring fewer rows, or numbers as a .npy file.")
            if len(cells) != len(table.columns):
                raise ValueError(
                    f"every line of {name}, whose separator is {table.separator!r}, must hold {len(table.columns)}"
                    f" cells; line {table.line()} holds {len(cells)}. Correct that line."
                )
            for column in apart:
                cell = cells.pop(column).strip()
                if not cell and not (column == label_column and may_lack_labels):
                    raise ValueError(_empty_cell(table.columns[column], table.line(), name))
                if column == label_column:
                    labels.append(cell)
                if column in given:
                    given[column].append(cell)
            if config.cells == "mixed":
                texts.append([cell.strip() for cell in cells])
                lines.append(table.line())
                continue
            pointed = (
                cells if table.separator == "," else [cell.replace(",", ".") for cell in cells]
            )
            if config.cells == "gaps":
                pointed = ["nan" if is_missing(cell) else cell for cell in pointed]
            try:
                numbers.extend(map(float, pointed))
            except ValueError:
                raise ValueError(_bad_cell(cells, pointed, columns, table.line(), name)) from None
            if table.separator != ",":
                marks |= _decimal_marks(cells)
                if len(marks) > 1:
                    raise ValueError(
                        f"all numbers of {name} must have the same decimal mark; up to line {table.line()} there are"
                        " both '.' and ','. Write a point in all of them, and no thousands separators."
                    )
    categories: tuple[tuple[str, ...], ...] = ()
    if texts:
        cells = zip(columns, zip(*texts, strict=True), strict=True)
        typed = [
            _typed(column, some, lines, table, declared.get(column), name) for column, some in cells
        ]
        values, categories = np.stack([one[0] for one in typed], 1), tuple(one[1] for one in typed)
        marks = {"," for one in typed if one[2]}
    else:
        values = np.array(numbers).reshape(-1, max(len(columns), 1))
    notes = (*table.notes, *(["decimal commas are read as points"] if "," in marks else []))
    return Source(
        name,
        _as_integers(values),
        _parsed(labels) if labels else None,
        columns=tuple(columns),
        categories=categories,
        notes=notes,
        given={table.columns[column]: _parsed(cells) for column, cells in given.items()},
    )


def _condition_columns(config: DataConfig) -> tuple[str, ...]:
    """The columns of a CSV file that a model is conditioned on; its label column is known without being named."""
    return tuple(name for name in config.condition if name not in ("label", config.label))


def _typed(
    column: str, cells: Sequence[str], lines: list[int], table: _Table, kind: str | None, name: str
) -> tuple[np.ndarray, tuple[str, ...], bool]:
    """A column of a mixed table: numbers, or numbers of categories and their names; whether it has decimal commas."""
    gone = [is_missing(cell) for cell in cells]
    pointed = cells if table.separator == "," else [cell.replace(",", ".") for cell in cells]
    words = [row for row, cell in enumerate(pointed) if not gone[row] and not is_number(cell)]
    is_category = kind == "category" or 2 * len(words) > len(cells) - sum(gone)
    if words and not is_category:
        raise ValueError(
            f"column {quoted(column)} of {name} must hold numbers, as most of its cells do; line {lines[words[0]]}"
            f" holds the text {quoted(cells[words[0]])}. Correct the cell, or declare the column with"
            f" `categories=[{quoted(column)}]`."
        )
    if not is_category:
        numbers = np.array(
            [math.nan if lost else float(cell) for cell, lost in zip(pointed, gone, strict=True)]
        )
        return numbers, (), pointed is not cells and any("," in cell for cell in cells)
    known = {cell for cell, lost in zip(cells, gone, strict=True) if not lost}
    names = sorted(sorted(known), key=float if all(map(is_number, known)) else None)
    codes = {cell: float(number) for number, cell in enumerate(names)}
    return (
        np.array(
            [math.nan if lost else codes[cell] for cell, lost in zip(cells, gone, strict=True)]
        ),
        tuple(names),
        False,
    )


@contextmanager
def _csv_table(path: Path) -> Iterator[_Table]:
    with reading(path) as handle, io.TextIOWrapper(handle, "utf-8-sig", newline="") as text:
        lines = _lines(text, path.name)
        start = [next(lines, "")]
        while start[-1].isspace() and len(start) < _MOST_BLANK:
            start.append(next(lines, ""))
        separator = _separator(start[-1])
        reader = csv.reader(
            itertools.chain(start, lines), delimiter=separator, skipinitialspace=True
        )
        rows = filter(_has_content, reader)
        head = next(rows, [])
        numeric = [is_number(cell.replace(",", ".")) for cell in head]
        names = tuple(f"column {number}" for number in range(1, len(head) + 1))
        notes = ()
        if all(numeric):
            rows = itertools.chain([head] if head else [], rows)
        else:
            names = tuple(name.strip() for name in head)
            _require_names(names, path.name)
            notes = (
                ("the first line is read as column names, although some are numbers",)
                if any(numeric)
                else ()
            )
        yield _Table(names, not all(numeric), separator, rows, lambda: reader.line_num, notes)


def _lines(text: io.TextIOWrapper, name: str) -> Iterator[str]:
    """The lines of a table, none of them so long that it fills the memory before it is looked at."""
    while line := text.readline(_LONGEST_LINE):
        if len(line) == _LONGEST_LINE:
            raise ValueError(
                f"every line of {name} must have fewer than {_LONGEST_LINE:,} characters; one has more. Check that it"
                " is a table."
            )
        yield line


def _separator(line: str) -> str:
    """Tab, semicolon or comma, the first that is there: where cells are not separated by commas, numbers may hold them.

    Neither what is quoted counts, nor space after a comma.
    """
    plain = re.sub(r'"[^"]*"|(?<=,)\s+', "", line)
    return next((mark for mark in "\t;" if mark in plain), ",")


def _has_content(cells: list[str]) -> bool:
    return any(map(str.strip, cells))


def _require_names(names: tuple[str, ...], file: str) -> None:
    if "" in names:
        raise ValueError(
            f"the first line of {file} must name every column; column {names.index('') + 1} has no name."
            " Name it, or delete it if it only numbers the rows (in pandas: to_csv(index=False))."
        )
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(
            f"columns of {file} must have different names; {quoted(twice)} stands twice. Rename one."
        )


def _column_index(column: str, columns: list[str], field: str, name: str) -> int:
    if column not in columns:
        near = difflib.get_close_matches(column, columns, 1) or columns
        raise ValueError(
            f"`{field}` must name a column of {name}; it has no {quoted(column)}. Did you mean {quoted(near[0])}?"
        )
    return columns.index(column)


def _decimal_marks(cells: list[str]) -> set[str]:
    text = "".join(cells)
    return {mark for mark in ",." if mark in text}


def _bad_cell(
    cells: list[str], pointed: list[str], columns: list[str], line: int, name: str
) -> str:
    """What is wrong with the first cell that is no number."""
    number = next(number for number, cell in enumerate(pointed) if not is_number(cell))
    cell, column = cells[number].strip(), columns[number]
    if not cell:
        return _empty_cell(column, line, name)
    if "," in cell and is_number(cell.replace(",", "").replace(".", "")):
        remedy = "Write a point as decimal mark, and no thousands separators."
    else:
        remedy = (
            "Correct the cell, delete the column if it only names the rows,"
            f" train with `label={quoted(column)}` if it holds labels, or use `likelihood='mixed'`, which takes text."
        )
    return (
        f"every cell of {name} must be a number; column {quoted(column)} in line {line} holds the text {quoted(cell)}."
        f" {remedy}"
    )


def _empty_cell(column: str, line: int, name: str) -> str:
    return (
        f"every cell of {name} must hold a value; column {quoted(column)} in line {line} is empty."
        " Fill it in, delete the line, or use `likelihood='mixed'` or `cells='gaps'`, which take gaps."
    )


def is_number(cell: str) -> bool:
    """Whether the text of a cell reads as a number.

    Example:
        >>> is_number("1.5"), is_number("1,5")
        (True, False)
    """
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _as_integers(values: np.ndarray) -> np.ndarray:
    """Whole numbers as integers, so that the pixels of a CSV file are treated as pixels."""
    is_whole = np.array_equal(values, np.rint(values)) and np.abs(values).max(initial=0) < 2**53
    return values.astype(np.int64) if is_whole else values


def _parsed(labels: list[str]) -> np.ndarray:
    """Numbers where all labels that there are are numbers, else text; a label that is not there is NaN or empty."""
    if all(is_number(label) for label in labels if label):
        return np.array([label or "nan" for label in labels], dtype=float)
    return np.array(labels)
