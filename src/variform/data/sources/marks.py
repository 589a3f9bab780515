"""How the numbers of a table are written: its decimal mark, and what stands between thousands."""

import dataclasses
from collections.abc import Sequence
from typing import Literal

import pyarrow.compute as pc

from variform.config.data import DataConfig
from variform.config.words import quoted
from variform.data.sources.cells import (
    SURE_GAPS,
    WORDS_FOR_GAPS,
    Column,
    Evidence,
    Marks,
    are_in,
    count,
    evidence,
    is_text,
    without_thousands,
)
from variform.data.sources.text_tables import Frame

_LIKE_A_NUMBER = "^[+-]?[0-9.,'\u2019 ]*[0-9][0-9.,'\u2019 ]*(?:[eE][+-]?[0-9]+)?$"


def with_marks(
    frame: Frame, names: Sequence[str], config: DataConfig, *, are_responses: bool = False
) -> tuple[Frame, list[str]]:
    """The table with the marks of its numbers, and what was guessed of them.

    Args:
        frame: The table.
        names: The columns that tell how their numbers are written, and no other column does.
        config: `decimal`, `thousands` and `na_values` say what is not to be guessed.
        are_responses: Whether these are the responses, for messages.

    Raises:
        ValueError: where some numbers can only have one decimal mark, and some only the other.
    """
    cells = dict(zip(frame.columns, frame.cells, strict=True))
    looked_at = [
        cells[name] for name in names if is_text(cells[name]) and _mostly_numbers(cells[name])
    ]
    whose, lead = frame.name, ""
    if are_responses:
        whose, lead = f"the responses of {frame.name}", "of the responses, "
    decimal, thousands = (
        config.decimal,
        {"space": " ", "none": ""}.get(config.thousands, config.thousands),
    )
    if thousands not in ("auto", ""):
        looked_at = [without_thousands(cells, thousands) for cells in looked_at]
    found = evidence(looked_at)
    if decimal == "auto":
        decimal = _decimal_mark(found, frame, whose, thousands)
    if thousands == "auto":
        grouped = found.grouped_by_comma if decimal == "." else found.grouped_by_point
        other = "," if decimal == "." else "."
        thousands = other if grouped else ""
    guesses = []
    if decimal == "," and config.decimal == "auto":
        shown = found.comma or found.grouped_by_comma
        guesses.append(
            f"{lead}decimal commas are read as points, in numbers such as {quoted(shown)}; `decimal='.'` overrules"
        )
    if thousands and config.thousands == "auto":
        shown = found.grouped_by_comma if decimal == "." else found.grouped_by_point
        guesses.append(
            f"{lead}the {'commas' if thousands == ',' else 'points'} of numbers such as {quoted(shown)} are read as "
            "standing between thousands; `thousands='none'` overrules"
        )
    gaps = None if config.na_values is None else tuple(config.na_values)
    return dataclasses.replace(frame, marks=Marks(decimal, thousands), gaps=gaps), guesses  # pyrefly: ignore[bad-argument-type]


def _decimal_mark(found: Evidence, frame: Frame, whose: str, thousands: str) -> Literal[".", ","]:
    if found.point and found.comma:
        raise ValueError(
            f"all numbers of {whose} must have the same decimal mark; there are both '.', as in "
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
