"""What the text of a table's cells means: numbers, gaps, dates and words."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

Column = (
    Any  # pyarrow.ChunkedArray of texts without space around them; pyarrow has no types of its own
)

WORDS_FOR_GAPS = ("na", "n/a", "nan", "null")
"""Words, in small letters, that hold no value where numbers should stand; among words they may be names."""
SURE_GAPS = ("", "?")
"""Texts that hold no value wherever they stand."""

_EXPONENT = r"(?:[eE][+-]?[0-9]+)?"
_INFINITE = r"[+-]?(?i:inf|infinity)"
_SPACES, _APOSTROPHES = " \u00a0\u202f", "'\u2019"  # plain ones and those of typesetting
_BETWEEN_THOUSANDS = {",": ",", ".": r"\.", " ": f"[{_SPACES}]", "'": f"[{_APOSTROPHES}]"}
# What makes a text of a number: a currency, a share, a bound, a mark that is not the table's.
_IN_WRITING = rf"^[<>~≈]?\s*[+-]?[$€£¥₩]?\s*[+-]?[0-9][0-9.,{_APOSTROPHES}{_SPACES}]*\s*[$€£¥₩%‰]?$"


@dataclass(frozen=True)
class Marks:
    """How the numbers of a table are written.

    Args:
        decimal: Before the fraction.
        thousands: Between groups of three digits; empty where there is none.

    Example:
        >>> Marks(",", ".").number("4.512,5"), Marks().number("3_1"), Marks(thousands=",").number("2,450")
        (4512.5, None, 2450.0)
    """

    decimal: str = "."
    thousands: str = ""

    @property
    def pattern(self) -> str:
        """A regular expression of the numbers that are written so."""
        point = re.escape(self.decimal)
        plain = rf"[0-9]+(?:{point}[0-9]*)?|{point}[0-9]+"
        if self.thousands:
            between = _between(self.thousands)
            plain = rf"[0-9]{{1,3}}(?:{between}[0-9]{{3}})+(?:{point}[0-9]*)?|{plain}"
        return rf"^(?:[+-]?(?:{plain}){_EXPONENT}|{_INFINITE})$"

    def are_numbers(self, cells: Column) -> Column:
        """Whether each text is a number, as pyarrow's booleans."""
        return pc.match_substring_regex(cells, self.pattern)

    def numbers(self, cells: Column) -> np.ndarray:
        """The numbers of texts that are numbers or null, which becomes NaN; (N,) float64."""
        if self.thousands:
            cells = without_thousands(cells, self.thousands)
        if self.decimal == ",":
            cells = pc.replace_substring(cells, ",", ".")
        # pyarrow reads no sign of plus.
        plain = pc.replace_substring_regex(cells, r"^\+", "")
        numbers = pc.cast(plain, pa.float64())
        return pc.fill_null(numbers, float("nan")).to_numpy()

    def number(self, cell: str) -> float | None:
        """The number that one text is, None where it is none."""
        cells = pa.chunked_array([[cell.strip()]], pa.string())
        if not self.are_numbers(cells)[0].as_py():
            return None
        return float(self.numbers(cells)[0])


def without_thousands(cells: Column, mark: str) -> Column:
    """Texts without the mark between thousands."""
    return pc.replace_substring_regex(cells, _between(mark), "")


def _between(mark: str) -> str:
    return _BETWEEN_THOUSANDS.get(mark, re.escape(mark))


def texts(cells: Column) -> Column:
    """Cells as texts without space around them, null as it is."""
    return pc.utf8_trim_whitespace(pc.cast(cells, pa.string()))


def is_text(cells: Column) -> bool:
    """Whether a column holds texts, and nothing of a type of its own."""
    return pa.types.is_string(cells.type)


def as_texts(cells: Column) -> Column:
    """Cells as texts, empty where there is a gap."""
    if is_text(cells):
        return cells
    if pa.types.is_boolean(cells.type):
        cells = pc.if_else(cells, "True", "False")
    return pc.fill_null(pc.cast(cells, pa.string()), "")


def are_in(cells: Column, words: Iterable[str], *, any_case: bool = False) -> Column:
    """Whether each text is one of `words`, or, with `any_case`, is in small letters."""
    looked_at = pc.utf8_lower(cells) if any_case else cells
    return pc.is_in(looked_at, value_set=pa.array(list(words), pa.string()))


def in_writing(cells: Column) -> Column:
    """Whether each text is a number in writing: with a currency, a share, a bound or marks that are not the table's."""
    return pc.match_substring_regex(cells, _IN_WRITING)


def first_where(condition: Column) -> int:
    """The row of the first true, which must be there."""
    return int(pc.index(condition, True).as_py())


def has_any(condition: Column) -> bool:
    """Whether any is true."""
    return bool(pc.any(condition, min_count=0).as_py())


def count(condition: Column) -> int:
    """How many are true."""
    return int(pc.sum(condition, min_count=0).as_py() or 0)


@dataclass(frozen=True)
class Evidence:
    """What the cells of a table say about its marks, each with the first cell that says so, or empty.

    Args:
        point: A number whose point can only be a decimal mark, such as 1.5.
        comma: A number whose comma can only be a decimal mark, such as 1,5.
        grouped_by_comma: A number whose commas can stand between thousands, such as 2,450.
        grouped_by_point: A number whose points can, such as 2.450.
        grouped_otherwise: A number with an apostrophe or a space between thousands.
    """

    point: str = ""
    comma: str = ""
    grouped_by_comma: str = ""
    grouped_by_point: str = ""
    grouped_otherwise: str = ""


_HEAD = r"^[+-]?[1-9][0-9]{0,2}"
_BY_COMMA = _HEAD + r"(?:,[0-9]{3})+(?:\.[0-9]*)?$"
_BY_POINT = _HEAD + r"(?:\.[0-9]{3})+(?:,[0-9]*)?$"
_OTHERWISE = _HEAD + rf"(?:[{_APOSTROPHES}{_SPACES}][0-9]{{3}})+(?:[.,][0-9]*)?$"


def _needing(mark: str, other: str) -> tuple[str, str]:
    """Patterns of numbers in which `mark` can only be the decimal mark: one number, less another."""
    mark, other = re.escape(mark), re.escape(other)
    fraction = rf"(?:[0-9]+{mark}[0-9]*|{mark}[0-9]+)"
    grouped = rf"[1-9][0-9]{{0,2}}(?:{other}[0-9]{{3}})+{mark}[0-9]*"
    return rf"^[+-]?(?:{fraction}|{grouped}){_EXPONENT}$", rf"{_HEAD}{mark}[0-9]{{3}}$"


def evidence(columns: Sequence[Column]) -> Evidence:
    """What columns of texts say about the marks of their table."""

    def first(like: str, unlike: str = "") -> str:
        for cells in columns:
            found = pc.match_substring_regex(cells, like)
            if unlike:
                found = pc.and_not(found, pc.match_substring_regex(cells, unlike))
            if has_any(found):
                return cells[first_where(found)].as_py()
        return ""

    return Evidence(
        point=first(*_needing(".", ",")),
        comma=first(*_needing(",", ".")),
        grouped_by_comma=first(_BY_COMMA),
        grouped_by_point=first(_BY_POINT),
        grouped_otherwise=first(_OTHERWISE),
    )
