"""Tables as text: encoding, separator and first line of .csv and .tsv files, and their cells."""

import codecs
import csv
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from variform.config.data import DataConfig
from variform.config.words import listed, quoted
from variform.data.sources.cells import (
    SURE_GAPS,
    WORDS_FOR_GAPS,
    Column,
    Marks,
    are_in,
    count,
    has_any,
    texts,
)
from variform.data.sources.opening import COPIES, contents, reading, unpacked_name
from variform.system import memory

_LONGEST_LINE = 2**26  # bytes of a table
_SAMPLE = 2**18  # bytes that are looked at to find the separator
_SAMPLE_LINES = 200
_AT_ONCE = 2**22  # bytes between two looks at the memory
_SMALLER = "Bring fewer rows, or numbers as a .npy file."
_SEPARATORS = (
    "\t;,|"  # in this order: where cells are not separated by commas, numbers may hold them
)
_WORDS = {"\t": "a tab", " ": "spaces"}
_SEP_LINE = re.compile(r"\s*sep=(.)\s*", re.IGNORECASE)  # as spreadsheets write it


@dataclass(frozen=True, eq=False)
class Frame:
    """A table as it stands in its file.

    Args:
        name: What messages call it.
        columns: Names of all columns; `column 1`, ... where it has none.
        cells: Of each column: texts without space around them, or values with a type of their own, null for a gap.
        is_named: Whether the names stand in the file.
        separator: Between the cells of a line; empty where there are no lines.
        place: Where a row stands, in words, by its number from 0.
        marks: How numbers are written.
        gaps: Texts that hold no value, beside the empty one; None where they are to be found out.
        notes: What was guessed.
        names: Of each row, (N,) text, where they are no column.
        orders: By the name of a column whose type has an order, its levels, the lowest first; its cells are texts.
        own: `train`, `valid` or `test` for each row, (N,) text, where the table comes split.
    """

    name: str
    columns: tuple[str, ...]
    cells: tuple[Column, ...]
    is_named: bool
    separator: str
    place: Callable[[int], str]
    marks: Marks = field(default_factory=Marks)
    gaps: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    names: np.ndarray | None = None
    orders: dict[str, tuple[str, ...]] = field(default_factory=dict)
    own: np.ndarray | None = None

    def are_gaps(self, cells: Column) -> Column:
        """Whether each text holds no value, where a number should stand."""
        if self.gaps is not None:
            return are_in(cells, ("", *self.gaps))
        return are_in(cells, (*SURE_GAPS, *WORDS_FOR_GAPS), any_case=True)


def read_text_table(path: Path, config: DataConfig, known: Sequence[str] = ()) -> Frame:
    """A file of lines as a table of texts.

    Args:
        path: The file.
        config: `encoding`, `sep`, `header` and `skiprows` say what is not to be guessed.
        known: Names of columns that are expected: a first line that holds one of them names the columns.

    Raises:
        ValueError: for what is no table, says where and why.
    """
    data, guess = _decoded(_unpacked(path), config, path.name)
    notes = (*_notes_of_archive(path), *guess)
    data = _without_lines(data, config.skiprows)
    data, given = _without_sep_line(data)
    separator, guess = _separator(data, path, config.sep or given)
    notes += guess
    data, delimiter = _prepared(data, separator)
    cells = _parsed(data, delimiter, separator, path.name)
    cells = [texts(column) for column in cells]
    names, is_named, guess = named_columns(cells, config, known)
    notes += guess
    if is_named:
        cells = [column[1:] for column in cells]
    first = 1 if is_named else 0
    skipped = config.skiprows + (1 if given else 0)

    def place(row: int) -> str:
        return f"line {skipped + _line_of(data, delimiter, first + row)}"

    columns = [column.combine_chunks() for column in cells]
    return Frame(path.name, names, tuple(columns), is_named, separator, place, notes=notes)


def _notes_of_archive(path: Path) -> tuple[str, ...]:
    """What else than the table an archive holds."""
    if path.suffix.lower() != ".zip":
        return ()
    table, others = contents(path)
    if table is None or not others:
        return ()
    return (f"of {path.name} {quoted(table)} is read, and not {listed(others)}",)


def _unpacked(path: Path) -> bytes:
    """The bytes of a file, no more of them than there is memory for."""
    pieces, size = [], 0
    with reading(path) as handle:
        while piece := handle.read(_AT_ONCE):
            pieces.append(piece)
            size += len(piece)
            memory.require(COPIES * size, path.name, _SMALLER)
    return b"".join(pieces)


def _decoded(data: bytes, config: DataConfig, name: str) -> tuple[bytes, tuple[str, ...]]:
    """The bytes in UTF-8 without a mark, and what was guessed of their encoding."""
    for mark, encoding in (
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if data.startswith(mark) and config.encoding is None:
            plain = data[len(mark) :] if encoding == "utf-8" else data
            return _in_utf8(plain, encoding, name), ()
    if config.encoding is not None:
        return _in_utf8(data, config.encoding, name), ()
    if _is_utf8(data):
        return data, ()
    encoding = _guessed_encoding(data)
    return _in_utf8(data, encoding, name), (
        f"the text is read as {encoding}, since its bytes are not those of UTF-8; `encoding` overrules",
    )


def _is_utf8(data: bytes) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    view = memoryview(data)
    try:
        for start in range(0, len(data), _AT_ONCE):
            decoder.decode(view[start : start + _AT_ONCE])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _guessed_encoding(data: bytes) -> str:
    """Korean text where the bytes that are no ASCII are Hangul, else that of Western Europe."""
    try:
        foreign = re.sub(r"[\x00-\x7f]", "", data.decode("cp949"))
    except UnicodeDecodeError:
        return "cp1252"
    hangul = re.findall("[가-힣]", foreign)
    return "cp949" if 2 * len(hangul) > len(foreign) else "cp1252"


def _in_utf8(data: bytes, encoding: str, name: str) -> bytes:
    try:
        text = data.decode(encoding)
    except LookupError:
        raise ValueError(
            f"`encoding` must name an encoding; got {quoted(encoding)}. Use for example `encoding='cp949'`."
        ) from None
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{name} must be text in {encoding}; byte {error.start + 1} is none. Save it as UTF-8, or say what it is "
            "with `encoding`, such as `encoding='cp949'` or `encoding='latin-1'`."
        ) from error
    return text.removeprefix("\ufeff").encode()


def _without_lines(data: bytes, number: int) -> bytes:
    """The bytes after so many lines."""
    start = 0
    for _ in range(number):
        start = data.find(b"\n", start) + 1
        if start == 0:
            return b""
    return data[start:]


def _without_sep_line(data: bytes) -> tuple[bytes, str]:
    """The bytes without a first line such as `sep=;`, and the separator that it names."""
    end = data.find(b"\n") + 1
    line = _SEP_LINE.fullmatch(data[:end].decode(errors="replace"))
    if line is None:
        return data, ""
    return data[end:], line[1]


def _separator(data: bytes, path: Path, given: str | None) -> tuple[str, tuple[str, ...]]:
    """What stands between the cells of a line, and what was guessed of it."""
    if given:
        return given, ()
    usual = "\t" if ".tsv" in Path(unpacked_name(path)).suffixes else ","
    lines = _first_lines(data)
    if not lines:
        return usual, ()
    cells = {mark: _cells_a_line(lines, mark) for mark in (usual, *_SEPARATORS, " ")}
    steady = [mark for mark, widths in cells.items() if min(widths) == max(widths) > 1]
    # In the order of the separators: of a line such as 1,5;2,5 both are possible.
    order = [*_SEPARATORS, " "]
    if steady:
        found = min(steady, key=order.index)
    else:
        found = max(order[:-1], key=lambda mark: (_agreeing(cells[mark]), mark == usual))
        if _agreeing(cells[found]) == 0:
            found = usual
    if found in (usual, ";"):
        return found, ()
    word = _WORDS.get(found, repr(found))
    return found, (
        f"the separator is taken to be {word}, by the number of cells that it gives a line; `sep` overrules",
    )


def _first_lines(data: bytes) -> list[str]:
    sample = data[:_SAMPLE].decode(errors="replace").splitlines()
    if len(data) > _SAMPLE:
        sample = sample[:-1]  # cut off
    return [line for line in sample if line.strip()][:_SAMPLE_LINES]


def _cells_a_line(lines: list[str], mark: str) -> list[int]:
    if mark == " ":
        return [len(line.split()) for line in lines]
    csv.field_size_limit(_LONGEST_LINE)
    return [len(row) for row in csv.reader(lines, delimiter=mark, skipinitialspace=True)]


def _agreeing(widths: list[int]) -> int:
    """How many lines have the most frequent number of cells, where that is more than one."""
    several = [width for width in widths if width > 1]
    return max((several.count(width) for width in set(several)), default=0)


def _prepared(data: bytes, separator: str) -> tuple[bytes, str]:
    """The bytes as pyarrow takes them, which wants one separator between cells and quotes next to it; and that."""
    if separator == " ":
        data = re.sub(rb'("[^"]*")|[ \t]+', lambda found: found[1] or b"\t", data)
        data = re.sub(rb"(?m)^\t|\t$", b"", data)
        return data, "\t"
    mark = re.escape(separator.encode())
    if re.search(mark + rb' +"', data[:_SAMPLE]):
        pattern = rb'("(?:[^"]|"")*")|(?<=' + mark + rb') +(?=")'
        data = re.sub(pattern, lambda found: found[1] or b"", data)
    return data, separator


def _parsed(data: bytes, delimiter: str, separator: str, name: str) -> list[Column]:
    """The cells of all columns as texts."""
    if not data.strip():
        return []
    width = _width(data, delimiter)
    held = len(data) + 8 * width * (data.count(b"\n") + 1)  # as texts, and as numbers
    memory.require(COPIES * held, name, _SMALLER)
    odd: list[pa_csv.InvalidRow] = []

    def judged(row: pa_csv.InvalidRow) -> str:
        if not row.text.strip():
            return "skip"
        odd.append(row)
        return "error"

    columns = {f"f{number}": pa.string() for number in range(width)}
    try:
        table = pa_csv.read_csv(
            io.BytesIO(data),
            read_options=pa_csv.ReadOptions(
                use_threads=False,
                autogenerate_column_names=True,
                block_size=min(len(data) + 1, _LONGEST_LINE),
            ),
            parse_options=pa_csv.ParseOptions(
                delimiter=delimiter, newlines_in_values=True, invalid_row_handler=judged
            ),
            convert_options=pa_csv.ConvertOptions(column_types=columns, strings_can_be_null=False),
        )
    except pa.ArrowInvalid as error:
        if odd:
            word = _WORDS.get(separator, repr(separator))
            line = _line_of(data, delimiter, odd[0].number - 1)
            raise ValueError(
                f"every line of {name}, whose separator is {word}, must hold {odd[0].expected_columns} cells; line"
                f" {line} holds {odd[0].actual_columns}. Correct that line, put quotes around a cell that holds"
                f" {word}, or name another separator with `sep`."
            ) from None
        has_long_lines = any(word in str(error) for word in ("straddl", "block size", "or block"))
        if has_long_lines and len(data) >= _LONGEST_LINE:
            raise ValueError(
                f"every line of {name} must have fewer than {_LONGEST_LINE:,} characters; one has more. Check that it"
                " is a table."
            ) from None
        raise ValueError(
            f"{name} must be a table; reading it failed: {error}. Correct it."
        ) from error
    return list(table.columns)


def _rows(data: bytes, delimiter: str) -> Any:
    text = io.TextIOWrapper(io.BytesIO(data), "utf-8", errors="replace", newline="")
    csv.field_size_limit(_LONGEST_LINE)  # it is the interpreter's, not the reader's
    return csv.reader(text, delimiter=delimiter)


def _width(data: bytes, delimiter: str) -> int:
    """Cells of the first line that has any."""
    for row in _rows(data[:_LONGEST_LINE], delimiter):
        if any(cell.strip() for cell in row) or len(row) > 1:
            return len(row)
    return 1


def _line_of(data: bytes, delimiter: str, row: int) -> int:
    """The number of the line in which a row ends; of the rows only those count that are not blank lines."""
    rows = _rows(data, delimiter)
    number = -1
    for cells in rows:
        number += len(cells) > 1 or any(cell.strip() for cell in cells)
        if number == row:
            break
    return rows.line_num


# --- the first line -----------------------------------------------------------------------------------------------

_ENOUGH = 8  # rows from which the range of a column says something
_REGULAR = 5  # cells of a first line that are no chance if they rise by equal steps


def named_columns(
    cells: Sequence[Column], config: DataConfig, known: Sequence[str]
) -> tuple[tuple[str, ...], bool, tuple[str, ...]]:
    """Names of the columns of a table, whether they stand in its first line, and what was guessed.

    Args:
        cells: Of each column the texts, those of the first line too.
        config: `header` decides.
        known: Names of columns that are expected: a first line that holds one of them names the columns.
    """
    numbered = tuple(f"column {number}" for number in range(1, len(cells) + 1))
    if not cells:
        return (), False, ()
    first = tuple(column[0].as_py() for column in cells)
    if config.header == "none":
        return numbered, False, ()
    if config.header == "first":
        return first, True, ()
    if set(known) & set(first):
        return first, True, ()
    is_header, is_sure = _is_header(first, cells)
    if is_header:
        guess = "the first line is read as names of the columns, by what stands below it; `header='none'` overrules"
        return first, True, () if is_sure else (guess,)
    guess = (
        "the first line is read as data, by what stands below it, and no column has a name; `header='first'`"
        " overrules"
    )
    return numbered, False, (guess,)


def _is_header(first: tuple[str, ...], cells: Sequence[Column]) -> tuple[bool, bool]:
    """Whether a first line names the columns, and whether that is sure."""
    is_number = [_is_number(cell) for cell in first]
    if _rises(first) and not _rises(
        tuple(column[1].as_py() for column in cells if len(column) > 1)
    ):
        return True, False
    votes = [_vote(cell, column[1:]) for cell, column in zip(first, cells, strict=True)]
    total = sum(votes)
    if total != 0:
        return total > 0, total > 0 and min(votes) >= 0 and not any(is_number)
    return not all(is_number), not any(is_number)


def _is_number(cell: str) -> bool:
    return any(Marks(mark).number(cell) is not None for mark in (".", ","))


def _rises(row: tuple[str, ...]) -> bool:
    """Whether a line holds numbers that rise by equal steps, as wavelengths, times and numbers of columns do."""
    numbers = [Marks().number(cell) for cell in row]
    if len(row) < _REGULAR or None in numbers:
        return False
    steps = np.diff(np.array(numbers, dtype=float))
    return bool(steps[0] > 0 and np.allclose(steps, steps[0], rtol=1e-3))


def _vote(cell: str, below: Column) -> float:
    """What one cell of a first line says: above 0 that it is a name, below 0 that it is data like what stands below."""
    if cell.casefold() in (*SURE_GAPS, *WORDS_FOR_GAPS):
        return 0.0
    filled = below.filter(pc.invert(are_in(below, (*SURE_GAPS, *WORDS_FOR_GAPS), any_case=True)))
    if len(filled) == 0:
        return 0.0
    marks = next(
        (
            marks
            for marks in (Marks(), Marks(","))
            if count(marks.are_numbers(filled)) > len(filled) / 2
        ),
        None,
    )
    if marks is None:
        return _vote_of_word(cell, filled)
    number = marks.number(cell)
    if number is None:
        return 1.0
    if len(filled) < _ENOUGH:
        return -1.0
    numbers = marks.numbers(filled.filter(marks.are_numbers(filled)))
    low, high = float(numbers.min()), float(numbers.max())
    reach = high - low
    return -1.0 if low - reach <= number <= high + reach else 0.5


def _vote_of_word(cell: str, below: Column) -> float:
    if has_any(pc.equal(below, cell)):
        return -1.0
    repeats = len(pc.unique(below)) < len(below)
    return 0.5 if repeats else 0.0


def require_names(names: tuple[str, ...], file: str) -> None:
    """Refuse columns without a name, and two of one name."""
    if "" in names:
        raise ValueError(
            f"the first line of {file} must name every column; column {names.index('') + 1} has no name."
            " Name it, delete it if it only numbers the rows (in pandas: to_csv(index=False)), or use `header='none'`"
            " if the first line is data."
        )
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(
            f"columns of {file} must have different names; {quoted(twice)} stands twice. Rename one, or use"
            " `header='none'` if the first line is data."
        )
