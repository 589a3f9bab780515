"""A table of answers that a person filled in: rows in any order, some, and others of the user's own."""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from variform.config.data import DataConfig
from variform.config.words import counted, listed, quoted, with_fields
from variform.data.reading import read_rows
from variform.data.schema import Schema
from variform.data.sources.cells import Marks, as_texts
from variform.data.sources.marks import with_marks
from variform.data.sources.tables import table_of
from variform.design.evaluators import COMPARED, Answer
from variform.design.history import History, Own
from variform.design.problem import Problem

Array = NDArray[np.float64]

_YES, _NO = ("", "1", "true", "yes", "valid"), ("0", "false", "no", "invalid")
_SAME = 1e-4  # of the range of a column: what files round


@dataclass
class Answers:
    """What a table says.

    Attributes:
        by_id: Answers of designs that were asked for.
        own: Designs of the user's own, with their answers.
        preferred: Ids of two designs that were compared, the preferred one first.
        notes: What must be said of the rest, a sentence each.
    """

    by_id: dict[str, Answer] = field(default_factory=dict)
    own: list[Own] = field(default_factory=list)
    preferred: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_answers(path: Path, problem: Problem, history: History, schema: Schema) -> Answers:
    """The answers in a .csv file or another table with a column for each response.

    A row belongs to the design whose id it has. One with another id, or none, or whose design was changed, is a design
    of the user's own: it needs all columns of the data. A row without any response still waits; NaN, a word or a gap
    beside other responses makes a design invalid, and so does `no` in a column `valid`, with the reason in a column
    `reason`. A row of which no design can be read, as with a category that is not known, is left out, and that is
    said; the others count. Where a preference is looked for, a table with the columns `preferred` and `other` has ids
    of two designs.

    Args:
        path: The file.
        problem: Its responses are needed.
        history: What was asked for.
        schema: What designs are.

    Raises:
        ValueError: for what is no table, and one without a column for some response.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"answers must be a table; there is no file {path}. Check the path."
        )
    answers = Answers()
    if problem.is_preference:
        pairs = _pairs(path)
        if pairs is not None:
            _take_pairs(answers, pairs, history)
            return answers
    table, marks = _columns(path, problem.responses)
    beside = {"id", "valid", "reason", *problem.responses, *schema.columns}
    extra = tuple(name for name in table if name not in beside)
    if extra:
        answers.notes.append(
            f"columns that the problem does not know are kept with the answers: {listed(extra)}"
        )
    count = len(next(iter(table.values())))
    designs, odd = _designs(table, schema, count)
    waiting = 0
    for row in range(count):
        cells = {name: column[row] for name, column in table.items()}
        id = cells.get("id", "")
        who = f"the row of {quoted(id)}" if id else f"row {row + 1} without an id"
        is_valid = _is_yes(cells.get("valid", ""), who)
        if not any(cells[name] for name in problem.responses) and is_valid:
            waiting += 1
        elif row in odd:
            answers.notes.append(f"{who} is left out, and the others are taken: {odd[row]}")
        else:
            answer = _answer(cells, problem.responses, extra, marks, is_valid=is_valid)
            _place(answers, id, who, answer, designs.get(row), history, schema)
    if waiting:
        answers.notes.append(
            f"{counted(waiting, 'row')} without any response still wait; write NaN where there is no result"
        )
    return answers


_PAIR = ("preferred", "other")


def _pairs(path: Path) -> list[tuple[str, str]] | None:
    """The ids of two designs in each row of a table; None where it has no such columns."""
    with _said_of_the_file():
        frame = table_of(path, DataConfig(), known=_PAIR)
    if not set(_PAIR) <= set(frame.columns):
        return None
    texts = [as_texts(frame.cells[frame.columns.index(name)]).to_pylist() for name in _PAIR]
    return [
        ((first or "").strip(), (other or "").strip()) for first, other in zip(*texts, strict=True)
    ]


def _take_pairs(answers: Answers, pairs: Sequence[tuple[str, str]], history: History) -> None:
    """The choices that are new, and what must be said of the others."""
    every = (one for designs in history.asked.values() for one in designs)
    known = {one.id for one in (*every, *history.own)}
    told = set(history.preferred)
    waiting = 0
    for first, other in pairs:
        lacking = [id for id in (first, other) if id not in known]
        if not first or not other:
            waiting += 1
        elif lacking:
            answers.notes.append(
                f"the choice of {quoted(first)} over {quoted(other)} is left out: nothing was asked by the id "
                f"{listed([quoted(id) for id in lacking])}"
            )
        elif first == other:
            answers.notes.append(
                f"the choice of {quoted(first)} over itself is left out; name another design beside it"
            )
        elif (first, other) not in told:
            told.add((first, other))
            answers.preferred.append((first, other))
            if (other, first) in told:
                answers.notes.append(
                    f"{first} and {other} were each preferred to the other; both count"
                )
    if waiting:
        answers.notes.append(f"{counted(waiting, 'row')} without two ids say nothing yet")


def _columns(path: Path, needed: Sequence[str]) -> tuple[dict[str, list[str]], Marks]:
    """The cells of a table by column, as texts, and how its numbers are written."""
    with _said_of_the_file():
        frame = table_of(path, DataConfig(), known=("id", *needed))
    lacking = [name for name in needed if name not in frame.columns]
    if lacking:
        raise ValueError(
            f"{path.name} must have a column for each response; {listed(lacking)} is not among "
            f"{listed(frame.columns) or 'no columns at all'}. Add it, or correct its name."
        )
    with _said_of_the_file():
        frame, _ = with_marks(frame, needed, DataConfig(thousands="none"))
    table = {
        name: as_texts(column).to_pylist()
        for name, column in zip(frame.columns, frame.cells, strict=True)
    }
    if not frame.cells or not len(frame.cells[0]):
        raise ValueError(f"{path.name} must have a row at least; it has none. Fill in answers.")
    return {name: [text or "" for text in column] for name, column in table.items()}, frame.marks


_OF_READING = {field.name for field in dataclasses.fields(DataConfig)}
_AS_ASKED = (
    "Correct the file; variform design ask writes commas between cells, and points in numbers."
)


@contextmanager
def _said_of_the_file() -> Iterator[None]:
    """Inside, an error does not name how to read a file otherwise, which nobody can say here: correct it."""
    try:
        yield
    except ValueError as error:
        text = str(error)
        shown = with_fields(text, lambda name, value: "\0" if name in _OF_READING else None)
        fact, *remedy = shown.split("\0", 1)
        if remedy:
            text = f"{fact.rpartition('. ')[0]}. {_AS_ASKED}"
        raise ValueError(text) from error


def _designs(
    table: Mapping[str, list[str]], schema: Schema, count: int
) -> tuple[dict[int, Array], dict[int, str]]:
    """The designs in the rows of a table whose columns are all there, by the number of the row; why others are none."""
    if schema.kind != "table" or not set(schema.columns) <= set(table):
        return {}, {}
    may_lack = any(schema.gaps) or bool(schema.rules)
    filled = [
        row for row in range(count) if may_lack or all(table[name][row] for name in schema.columns)
    ]
    return _designs_at(filled, table, schema) if filled else ({}, {})


def _designs_at(
    rows: Sequence[int], table: Mapping[str, list[str]], schema: Schema
) -> tuple[dict[int, Array], dict[int, str]]:
    """As `_designs`: where some row cannot be read the others are read without it, found by halves."""
    cells = {name: [table[name][row] for row in rows] for name in schema.columns}
    try:
        with _said_of_the_file():
            found = read_rows(pa.table(cells), schema, name="the table").raw
    except ValueError as error:
        if len(rows) == 1:
            return {}, {rows[0]: str(error)}
        middle = len(rows) // 2
        parts = [_designs_at(some, table, schema) for some in (rows[:middle], rows[middle:])]
        odd = parts[0][1] | parts[1][1]
        if not odd:  # each half is fine, and they contradict each other
            raise
        good = [row for row in rows if row not in odd]
        return (_designs_at(good, table, schema)[0] if good else {}), odd
    values = found.split(len(found))  # pyrefly: ignore
    designs = np.concatenate([part.double().numpy() for part in values])
    return dict(zip(rows, designs, strict=True)), {}


def _answer(
    cells: Mapping[str, str],
    needed: Sequence[str],
    extra: Sequence[str],
    marks: Marks,
    *,
    is_valid: bool,
) -> Answer:
    values = {name: _number(cells[name], marks) for name in (*needed, *extra)}
    answer = Answer.of(values, needed)
    if not is_valid:
        return Answer(answer.responses, False, cells.get("reason") or "told to be invalid")
    words = [
        f"{name}: {cells[name]}" for name in needed if name not in answer.responses and cells[name]
    ]
    reason = cells.get("reason") or ", ".join(words) or answer.reason
    return Answer(answer.responses, answer.valid, "" if answer.valid else reason)


def _number(cell: str, marks: Marks) -> float:
    try:
        return float(cell.replace(marks.decimal, "."))
    except ValueError:
        return math.nan


def _is_yes(cell: str, who: str) -> bool:
    word = cell.strip().lower().removesuffix(".0")
    if word not in (*_YES, *_NO):
        raise ValueError(
            f"the column valid must hold yes or no; it holds {quoted(cell)} in {who}. Write one of them, or leave it"
            " empty."
        )
    return word in _YES


def _place(
    answers: Answers, id: str, who: str, answer: Answer, design: Array | None, history: History,
    schema: Schema,
) -> None:  # fmt: skip
    """Put the answer of a row where it belongs, or say why it belongs nowhere."""
    asked = history.find(id) if id else None
    if asked is not None and (design is None or _is_same(design, asked.repaired, schema)):
        known = answers.by_id.get(id) or history.answers.get(id)
        if known is None or known == COMPARED:
            answers.by_id[id] = answer
        elif (known.responses, known.valid) != (answer.responses, answer.valid):
            answers.notes.append(
                f"{id} has an answer already, which stays; the other one is left out"
            )
        return
    if design is None:
        answers.notes.append(
            f"{who} is left out: it was not asked for, and not all columns of a design stand in it"
        )
        return
    if any(
        np.array_equal(one.design, design, equal_nan=True) for one in (*history.own, *answers.own)
    ):
        return  # it was told before
    number = 1 + len(history.own) + len(answers.own)
    answers.own.append(Own(f"own-{number:04d}", design, answer))
    why = "its design was changed" if asked is not None else "it was not asked for"
    answers.notes.append(f"{who} is taken as a design of your own, own-{number:04d}: {why}")


def _is_same(design: Array, asked: Array, schema: Schema) -> bool:
    """Whether a design is the one that was asked for, but for the digits that a file has."""
    spread = np.subtract(schema.high, schema.low)
    gap = np.abs(design - asked)
    is_near = gap <= _SAME * np.maximum(spread, np.abs(asked))
    return bool(np.all(is_near | (np.isnan(design) & np.isnan(asked))))
