"""Tables as symbols: decimals are whole numbers of a unit, and every cell comes back as it was written."""

import csv
import io
import json
import lzma
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import numpy as np
import torch

from variform.config.data import DataConfig
from variform.config.words import quoted
from variform.data.reading import read_rows
from variform.data.schema import Schema
from variform.data.sources.tables import table_of

Array = np.ndarray[Any, np.dtype[Any]]

_MOST_LEVELS = 2**16  # of counts, whose probabilities stand in a table
_MOST_DECIMALS = 15


@dataclass(frozen=True)
class Symbols:
    """The columns of a table that a model knows as whole numbers, and what else the file holds.

    Args:
        values: (N, D), NaN where a value is missing.
        grid: Of each column `low`, what 0 stands for, `count`, how many numbers there are, both in units of 1 / `part`,
            and the share of the values that are `missing`.
        rest: What the numbers do not say: the head, how cells are written, and columns that the model does not know.
    """

    values: Array
    grid: dict[str, list[Any]]
    rest: bytes


def symbols_of(source: Path, schema: Schema, config: DataConfig) -> Symbols:
    """A text file of a table as symbols, from which `text_of` writes the same file.

    Args:
        source: The file.
        schema: What the model knows of such tables.
        config: How they are read.

    Raises:
        ValueError: for a file that is not written plainly, for numbers that are no decimals, and for rows that cannot
            be read.
    """
    frame = table_of(source, config, known=schema.columns)
    written = source.read_bytes()
    layout, cells = _parsed(written, source.name, frame.separator, is_named=frame.is_named)
    rows = read_rows(source, schema, config)
    raw = rows.raw.index_select(0, torch.arange(len(rows))).double().numpy()
    if len(raw) != len(cells):
        raise ValueError(
            f"every row of {source.name} must be readable; it has {len(cells):,} and {len(raw):,} are. Clean it first."
        )
    columns = [list(column) for column in zip(*cells, strict=True)] or [[] for _ in frame.columns]
    positions = [frame.columns.index(name) for name in schema.columns]
    grid: dict[str, list[Any]] = {"low": [], "count": [], "part": [], "missing": []}
    symbols, how, odd = [], [], {}
    for column, position in enumerate(positions):
        texts = columns[position]
        numbers, decimals = _numbers(schema, column, raw[:, column], texts)
        low, count = _range_of(schema, column, numbers)
        facts = (low, count, 10**decimals, float(np.isnan(numbers).mean()) if len(raw) else 0.0)
        for name, value in zip(grid, facts, strict=True):
            grid[name].append(value)
        writing = _writing(schema, column, numbers, decimals, texts)
        again = _cells(schema, column, numbers, writing)
        wrong = [row for row, text in enumerate(texts) if text != again[row]]
        odd[column] = [wrong, [texts[row] for row in wrong]]
        symbols.append(numbers - low)
        how.append(writing)
    unknown = {place: columns[place] for place in range(len(columns)) if place not in positions}
    rest = {**layout, "how": how, "odd": odd, "unknown": unknown, "positions": positions}
    content = lzma.compress(json.dumps(rest).encode(), preset=9, format=lzma.FORMAT_ALONE)
    return Symbols(np.stack(symbols, 1), grid, content)


def text_of(symbols: Symbols, schema: Schema) -> bytes:
    """The file that `symbols_of` read.

    Args:
        symbols: What it made of it.
        schema: As of `symbols_of`.
    """
    rest = json.loads(lzma.decompress(symbols.rest))
    columns = {int(place): texts for place, texts in rest["unknown"].items()}
    for column, position in enumerate(rest["positions"]):
        numbers = symbols.values[:, column] + symbols.grid["low"][column]
        texts = _cells(schema, column, numbers, rest["how"][column])
        for row, text in zip(*rest["odd"][str(column)], strict=True):
            texts[row] = text
        columns[position] = texts
    in_order = [columns[place] for place in sorted(columns)]
    return _file(rest, zip(*in_order, strict=True))


def _parsed(
    written: bytes, name: str, separator: str, *, is_named: bool
) -> tuple[dict[str, Any], list[list[str]]]:
    """How a file is laid out, and its cells, if they can be written as they stand there."""
    try:
        text = written.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} must be UTF-8; it is not. Write it as that.") from error
    end = "\r\n" if "\r\n" in text else "\n"
    lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator or ","))
    layout = {
        "head": lines[:1] if is_named else [],
        "separator": separator or ",",
        "end": end,
        "closed": text.endswith(end),
    }
    cells = lines[1:] if is_named else lines
    if len(set(map(len, lines))) > 1 or _file(layout, cells) != written:
        raise ValueError(
            f"{name} must be written plainly: one separator, quotes only where a cell needs them, one kind of line "
            "end, no empty lines. It is not; write it anew, for example with pandas."
        )
    return layout, cells


def _file(layout: dict[str, Any], cells: Any) -> bytes:
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, delimiter=layout["separator"], lineterminator=layout["end"])
    writer.writerows(layout["head"])
    writer.writerows(cells)
    text = stream.getvalue()
    return (text if layout["closed"] else text.removesuffix(layout["end"])).encode()


def _numbers(schema: Schema, column: int, raw: Array, texts: Sequence[str]) -> tuple[Array, int]:
    """A column as whole numbers of a decimal unit, and the number of decimals of that unit."""
    kind = schema.kinds[column] if schema.kinds else "count"
    if kind not in ("real", "positive", "bounded") or (schema.dates and schema.dates[column]):
        if not np.array_equal(raw, np.rint(raw), equal_nan=True):
            raise ValueError(
                f"{quoted(schema.columns[column])} must hold whole numbers or days; it does not. Leave the column out."
            )
        return raw, 0
    decimals = []
    for text, value in zip(texts, raw, strict=True):
        decimals.append(None if np.isnan(value) else _decimal(text, schema.columns[column]))
    known = [number for number in decimals if number is not None]
    most = max([0, *(-int(number.as_tuple().exponent) for number in known)])
    if most > _MOST_DECIMALS or any(abs(number.scaleb(most)) >= 2**53 for number in known):
        raise ValueError(
            f"numbers must have at most {_MOST_DECIMALS} digits; those of {quoted(schema.columns[column])} have more. "
            "Round them."
        )
    numbers = [np.nan if number is None else float(number.scaleb(most)) for number in decimals]
    return np.array(numbers), most


def _decimal(text: str, column: str) -> Decimal:
    try:
        return Decimal(text.strip())
    except InvalidOperation as error:
        raise ValueError(
            f"numbers must be decimals with a point, such as 1.5; {quoted(column)} has {quoted(text)}. Write the table "
            "with a point."
        ) from error


def _range_of(schema: Schema, column: int, numbers: Array) -> tuple[int, int]:
    """The least number of a column, and how many there are from it to the greatest."""
    kind = schema.kinds[column] if schema.kinds else "count"
    if kind in ("category", "binary", "ordinal"):
        low = int(schema.shift[column])
        return low, 2 if kind == "binary" else schema.levels_of(column)
    if not np.isfinite(numbers).any():
        return 0, 1
    low, high = int(np.nanmin(numbers)), int(np.nanmax(numbers))
    if kind == "count" and high >= _MOST_LEVELS:
        raise ValueError(
            f"counts must be below {_MOST_LEVELS:,}; {quoted(schema.columns[column])} has {high:,}. Train "
            "with it among `reals`."
        )
    return low, high - low + 1


# ---- how cells are written


def _writing(
    schema: Schema, column: int, numbers: Array, decimals: int, texts: Sequence[str]
) -> dict[str, Any]:
    """The way of writing numbers by which the most cells are as they stand in the file."""
    gaps = Counter(text for text, number in zip(texts, numbers, strict=True) if np.isnan(number))
    writing = {"decimals": decimals, "gap": gaps.most_common(1)[0][0] if gaps else ""}
    ways = [{**writing, "way": way} for way in ("fixed", "short", "float")]

    def right(way: dict[str, Any]) -> int:
        return sum(map(str.__eq__, _cells(schema, column, numbers, way), texts))

    return max(ways, key=right)


def _cells(schema: Schema, column: int, numbers: Array, writing: dict[str, Any]) -> list[str]:
    """The texts of a column."""
    names = schema.categories[column] if schema.kinds else ()
    texts: dict[float, str] = {}
    cells = []
    for number in numbers.tolist():
        if number != number:
            cells.append(writing["gap"])
            continue
        if number not in texts:
            texts[number] = names[int(number)] if names else _text(int(number), writing)
        cells.append(texts[number])
    return cells


def _text(number: int, writing: dict[str, Any]) -> str:
    """As 1.50, or the shortest way, as 1.5 and 2, or that of a float, as 1.5 and 2.0."""
    text = format(Decimal(number).scaleb(-writing["decimals"]), "f")
    if writing["way"] == "fixed":
        return text
    if "." in text:
        text = text.rstrip("0").removesuffix(".")
    return text if writing["way"] == "short" or "." in text else f"{text}.0"
