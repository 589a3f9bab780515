"""What the cells of a table mean: rows of numbers and categories, and the labels, conditions and responses beside."""

import dataclasses
import datetime
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from variform.config.data import OF_MIXED, DataConfig
from variform.config.words import counted, quoted
from variform.data.sources.cells import (
    SURE_GAPS,
    WORDS_FOR_GAPS,
    Column,
    are_in,
    as_texts,
    count,
    first_where,
    has_any,
    in_writing,
    is_text,
)
from variform.data.sources.marks import with_marks
from variform.data.sources.roles import declared_kinds, roles_of
from variform.data.sources.source import Source
from variform.data.sources.text_tables import Frame

_TRUTH = ("true", "false")
_TIME = r"[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?(?:Z|[+-][0-9]{2}:?[0-9]{2})?"
_DATE = rf"^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}(?:[T ]{_TIME})?$"
_LEADING_ZERO = "^0[0-9]+$"
_LETTER = r"\p{L}"
_DAY_0 = "1970-01-01"
_MOST_SAID = 7  # columns, or levels of one, in a note


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
    roles = roles_of(frame, config)
    frame, guesses = with_marks(frame, (*roles.values, *roles.conditions), config)
    config, choice = _with_cells(frame, roles.values, config)
    if config.cells == "numbers":
        frame = _without_empty_end(frame)
    declared = declared_kinds(config, roles.values, frame.name)
    cells = dict(zip(frame.columns, frame.cells, strict=True))
    reader = _Reader(frame, config, declared, known_words)
    orders: dict[str, tuple[str, ...]] = {}
    if config.cells == "mixed":
        values, categories = reader.mixed(roles.values, cells)
        orders = reader.orders(roles.values)
        reader.notes.extend(_said_of_orders(orders))
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
    responses, notes = _responses(reader, roles.responses, cells)
    weights = None if roles.weight is None else reader.weights(roles.weight, cells)
    return Source(
        frame.name,
        _as_integers(values),
        labels,
        own=frame.own,
        columns=roles.values,
        categories=categories,
        dates=tuple(_DAY_0 if name in reader.dates else "" for name in roles.values)
        if reader.dates
        else (),
        notes=(*frame.notes, *guesses, *choice, *reader.notes, *notes),
        given=given,
        responses=responses,
        weights=weights,
        names=names,
        groups=groups,
        orders=orders,
    )


def _with_cells(
    frame: Frame, names: Sequence[str], config: DataConfig
) -> tuple[DataConfig, list[str]]:
    """The configuration with what the cells of `names` are where it leaves that to them, and what was found of text."""
    if config.cells != "auto":
        return config, []
    is_declared = any(getattr(config, field) for field in OF_MIXED)
    if is_declared or any(name in frame.orders for name in names):
        return dataclasses.replace(config, cells="mixed"), []
    cells = dict(zip(frame.columns, frame.cells, strict=True))
    for name in names:
        if (word := _first_word(frame, cells[name])) is not None:
            note = (
                f"each column has a kind of its own, since column {quoted(name)} holds text, such as {quoted(word)};"
                " `cells='numbers'` refuses it"
            )
            return dataclasses.replace(config, cells="mixed"), [note]
    shorter = _without_empty_end(frame)
    cells = dict(zip(shorter.columns, shorter.cells, strict=True))
    has_gaps = any(_has_gaps(shorter, cells[name]) for name in names)
    return dataclasses.replace(config, cells="gaps" if has_gaps else "numbers"), []


def _first_word(frame: Frame, column: Column) -> str | None:
    """The first text with a letter of a column that does not hold numbers, dates or truths alone.

    What has none, such as 3_1 or 12 %, may be a number in other writing, and is not guessed to be a word.
    """
    if not is_text(column):
        return None
    filled = column.filter(pc.invert(frame.are_gaps(column)))
    is_number = frame.marks.are_numbers(filled)
    is_date = pc.match_substring_regex(filled, _DATE)
    is_truth = are_in(filled, _TRUTH, any_case=True)
    for is_right in (is_number, is_date, is_truth):
        if not has_any(pc.invert(is_right)):
            return None
    words = filled.filter(pc.and_not(pc.match_substring_regex(filled, _LETTER), is_number))
    return words[0].as_py() if len(words) else None


def _has_gaps(frame: Frame, column: Column) -> bool:
    if is_text(column):
        return has_any(frame.are_gaps(column))
    return has_any(pc.is_null(column, nan_is_null=True))


def _responses(
    reader: "_Reader", names: Sequence[str], cells: dict[str, Column]
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Columns of responses, whose numbers may be written otherwise than those of the values, and what was guessed."""
    frame, guesses = with_marks(reader.frame, names, reader.config, are_responses=True)
    if frame.marks == reader.frame.marks:
        guesses = []  # they were said of the values
    own = _Reader(frame, reader.config, reader.declared, reader.known_words)
    responses = {name: own.beside(name, cells, may_be_empty=True) for name in names}
    return responses, [*guesses, *own.notes]


def _without_empty_end(frame: Frame) -> Frame:
    """A table without the rows of empty cells with which spreadsheets end."""
    rows = len(frame.cells[0]) if frame.cells else 0
    end = rows
    while end and all(is_text(cells) and not cells[end - 1].as_py() for cells in frame.cells):
        end -= 1
    if end == rows:
        return frame
    notes = (*frame.notes, f"{counted(rows - end, 'row')} of empty cells at the end left out")
    return dataclasses.replace(
        frame,
        cells=tuple(cells[:end] for cells in frame.cells),
        notes=notes,
        names=None if frame.names is None else frame.names[:end],
        own=None if frame.own is None else frame.own[:end],
    )


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

    def numbers(self, names: Sequence[str], cells: dict[str, Column]) -> np.ndarray:
        """Columns of numbers, (N, columns) float64; gaps are NaN where there may be any."""
        wrong: list[
            tuple[int, str]
        ] = []  # the first row of each column that holds no number, and the column
        columns: list[np.ndarray] = []
        for name in names:
            column = cells[name]
            if not is_text(column):
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
            is_gap = pc.and_(self.frame.are_gaps(column), may_be_gap)
            is_right = pc.or_(is_number, is_gap)
            if has_any(pc.invert(is_right)):
                wrong.append((first_where(pc.invert(is_right)), name))
                continue
            columns.append(self.marks.numbers(pc.if_else(is_gap, None, column)))
        if wrong:
            row, name = min(wrong, key=lambda place: place[0])
            cell = as_texts(cells[name])[row].as_py() if is_text(cells[name]) else ""
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
        is_other = pc.invert(pc.or_(is_truth, self.frame.are_gaps(column)))
        if has_any(is_other) or not has_any(is_truth):
            return column
        self.notes.append(f"true and false in column {quoted(name)} are read as 1 and 0")
        truths = pc.if_else(pc.equal(lower, "true"), "1", "0")
        return pc.if_else(is_truth, truths, column)

    def mixed(
        self, names: Sequence[str], cells: dict[str, Column]
    ) -> tuple[np.ndarray, tuple[tuple[str, ...], ...]]:
        """Columns of numbers and of words: their numbers or those of their categories; and the categories' names."""
        orders = self.orders(names)
        is_words = {name: name in orders or self._holds_words(cells[name], name) for name in names}
        # A word that stands for a gap among numbers does so among words.
        spelled: set[str] = set()
        for name in names:
            if not is_words[name] and is_text(cells[name]) and self.frame.gaps is None:
                column = cells[name]
                spelled |= set(pc.unique(column.filter(self.frame.are_gaps(column))).to_pylist())
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

    def orders(self, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """The orders that columns of a mixed table have by their types, but for those that are declared otherwise."""
        return {
            name: self.frame.orders[name]
            for name in names
            if name in self.frame.orders and self.declared.get(name) in (None, "ordinal")
        }

    def _holds_words(self, column: Column, name: str) -> bool:
        """Whether a column of a mixed table holds categories."""
        kind = self.declared.get(name)
        if pa.types.is_boolean(column.type):
            return kind is None or kind == "category"
        if not is_text(column):
            return False
        if kind == "ordinal":
            is_level = pc.or_(self.marks.are_numbers(column), self.frame.are_gaps(column))
            return has_any(pc.invert(is_level))
        if kind is not None:
            return kind == "category"
        filled = column.filter(pc.invert(self.frame.are_gaps(column)))
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
        if not is_text(column):
            return self._typed_numbers(column, name)
        if (days := self._dates(column, name)) is not None:
            return days
        is_gap = self.frame.are_gaps(column)
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
        is_gap = self.frame.are_gaps(column)
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
            is_gap = pc.and_not(self.frame.are_gaps(column), are_in(column, self.known_words))
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
            is_gap = self.frame.are_gaps(column)
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
        if not is_text(column) and not pa.types.is_boolean(column.type):
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
            is_text(column) and self._holds_words(column, name)
        ):
            column = as_texts(column)
            if not may_be_empty:
                self._require_filled(pc.equal(column, ""), name)
            return np.array(column.to_pylist(), dtype=str)
        numbers = self._column_of_numbers(column, name)
        if not may_be_empty:
            self._require_filled(pa.chunked_array([np.isnan(numbers)]), name)
        return numbers

    def weights(self, name: str, cells: dict[str, Column]) -> np.ndarray:
        """How much each row counts, (N,) float64."""
        weights = self._column_of_numbers(cells[name], name)
        wrong = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
        if len(wrong):
            first = int(wrong[0])
            raise ValueError(
                f"`weight` must name a column of numbers of at least 0; column {quoted(name)} of {self.frame.name}"
                f" holds {weights[first]:g} in {self.frame.place(first)}. Correct it, or name another column."
            )
        return weights

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
        if bool(self.frame.are_gaps(pa.chunked_array([[cell]]))[0].as_py()):
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


def _said_of_orders(orders: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    if not orders:
        return
    words = [f"{quoted(name)} {_in_order(levels)}" for name, levels in orders.items()]
    first = quoted(next(iter(orders)))
    yield (
        f"levels have the order of their type: {'; '.join(words[:_MOST_SAID])}"
        f"{'; ...' if len(words) > _MOST_SAID else ''}; `categories=[{first}]` overrules"
    )


def _in_order(levels: Sequence[str]) -> str:
    """Levels with < between them, of many the first and the last."""
    shown = levels if len(levels) <= _MOST_SAID else (*levels[:2], "...", levels[-1])
    return " < ".join(quoted(level)[1:-1] for level in shown)


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
