"""Rows as files: .npy, .csv and images."""

import csv
import functools
import math
import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from variform.config.data import DataConfig
from variform.data.colours import shares_of_colours
from variform.data.dataset import Dataset
from variform.data.days import date_text
from variform.data.schema import Ends, Schema
from variform.data.sources.cells import Marks, as_texts
from variform.data.sources.folders import IMAGE_SUFFIXES
from variform.data.sources.marks import with_marks
from variform.data.sources.tables import table_of
from variform.data.sources.text_tables import Frame
from variform.evaluation.imputation import Imputation
from variform.export.model_file import Array
from variform.system.files import new_folder, replacing

_IMAGE_SUFFIX = re.compile(
    rf"({'|'.join(map(re.escape, IMAGE_SUFFIXES))})(, frame \d+)?$", re.IGNORECASE
)
ContextCells = tuple[Sequence[str], Sequence[Sequence[str]]]


def write_rows(path: str | os.PathLike[str], values: Array, columns: Sequence[str]) -> None:
    """Write data to a file that other programs read, whole or not at all; the suffix says how.

    `.npy` takes any shape, `.csv` a table with one line per row. Numbers in a .csv have the shortest form that reads
    back to the same value.

    Args:
        path: The file; its folder must exist.
        values: (N, ...).
        columns: Header of a .csv.

    Raises:
        FileExistsError: when the file is there already.
        ValueError: for another suffix, or a .csv of rows that are not flat.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "points.csv"
        >>> write_rows(path, np.array([[0.5, 2.0]]), ["z1", "z2"])
        >>> path.read_text().split()
        ['z1,z2', '0.5,2.0']
    """
    path = Path(path)
    if path.suffix == ".npy":
        with replacing(path, new=True) as temporary:
            np.save(temporary, values, allow_pickle=False)
    elif path.suffix == ".csv" and values.ndim == 2:
        with (
            replacing(path, new=True) as temporary,
            open(temporary, "w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows(row.astype(str) for row in values)
    elif path.suffix == ".csv":
        raise ValueError(
            f"a .csv must hold flat rows; these have the shape {values.shape[1:]}. Use .npy or a folder."
        )
    else:
        raise ValueError(
            f"the output must end in .npy, .csv or be a folder of images; got {path.name}. Rename it."
        )


def write_table(
    path: str | os.PathLike[str], values: Array, schema: Schema, given: ContextCells = ((), ())
) -> None:  # fmt: skip
    """Write rows of a table to a .csv file: categories by name, whole numbers as such, what is missing empty.

    Args:
        path: The file; it must not be there, and its folder must.
        values: Raw values, (N, columns).
        schema: What they are.
        given: What each was conditioned on, as `context_cells` gives it; in columns of their own.

    Raises:
        FileExistsError: when the file is there already.
    """
    heads, contexts = given
    cells = [_row_cells(schema, row) for row in values]
    if contexts:
        cells = [[*row, *context] for row, context in zip(cells, contexts, strict=True)]
    write_rows(
        path, np.array(cells, dtype=object).reshape(len(values), -1), [*schema.columns, *heads]
    )


def context_cells(schema: Schema, contexts: Tensor) -> ContextCells:
    """Columns and cells, one list a row, of what a conditional model was given; labels under their column's name.

    Args:
        schema: What the rows are.
        contexts: (N, context_dim).

    Example:
        >>> from variform import DataConfig, read
        >>> schema = read("digits", DataConfig(condition=("label",))).schema
        >>> context_cells(schema, schema.context({"label": 3})[None])
        (['label'], [['3']])
    """
    shown = {"label": schema.label or "label"}
    heads = [shown.get(condition.name, condition.name) for condition in schema.conditions]
    return heads, [list(schema.describe(context, digits=7).values()) for context in contexts]


def _row_cells(schema: Schema, row: Array) -> list[str]:
    """A row of raw values as the cells of a file."""
    return [cell_text(schema, column, value) for column, value in enumerate(row)]


def cell_text(schema: Schema, column: int, value: float) -> str:
    """A raw value of a table as the text of a cell.

    Spikes and what inactive cells hold stand as in the file that was read. Other numbers have the shortest form that
    float32 reads back, or, far from zero, nine digits of what is beyond the shift.

    Args:
        schema: What it is.
        column: The number of its column, from 0.
        value: The value.
    """
    if np.isnan(value):
        return ""
    if schema.dates and schema.dates[column]:
        return date_text(value, schema.dates[column], whole=schema.whole[column])
    if schema.kinds and schema.categories[column]:
        return schema.categories[column][int(value)]
    if schema.kinds and schema.whole[column]:
        return str(int(value))
    if not schema.is_far[column]:
        exact = schema.exact_values[column].get(float(np.float32(value)))
        return _shortest(value) if exact is None else str(exact)
    beyond = abs(value - schema.shift[column]) or 1.0
    return str(round(float(value), 8 - math.floor(math.log10(beyond))))


def _shortest(value: float) -> str:
    return str(np.float32(value))


def response_cells(values: Array) -> list[str]:
    """Responses as the cells of a file: texts as they are, numbers in the shortest form that float64 reads back.

    Args:
        values: (N,), numbers or texts; NaN is an empty cell.

    Example:
        >>> response_cells(np.array([2.0, 0.1, np.nan]))
        ['2', '0.1', '']
    """
    if values.dtype.kind in "US":
        return values.tolist()
    return [
        "" if np.isnan(value) else repr(value).removesuffix(".0")
        for value in values.astype(float).tolist()
    ]


def write_filled(
    path: str | os.PathLike[str],
    source: str | Path,
    schema: Schema,
    filled: Imputation,
    config: DataConfig,
    *,
    intervals: bool,
) -> None:
    """Write a table as text with its gaps filled; every other cell, and columns the model knows not, stay as they are.

    Args:
        path: The new file, with the separator of the old one.
        source: The file with gaps.
        schema: What its rows are.
        filled: What `impute` made of them.
        config: How the file is read.
        intervals: Whether to add, for each column that has gaps in it, the ends of the interval, or for categories and
            binary columns the probability that the value is right.

    Raises:
        FileExistsError: when `path` is there already.
    """
    frame, positions, texts = _texts_of(source, schema, config)
    for number, column in np.argwhere(filled.missing).tolist():
        text = cell_text(schema, column, filled.values[number, column])
        texts[positions[column]][number] = _with_mark(text, frame.marks)
    added = _certainty_columns(schema, filled) if intervals else {}
    with (
        replacing(path, new=True) as temporary,
        open(temporary, "w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file, lineterminator="\n", delimiter=frame.separator or ",")
        if frame.is_named:
            writer.writerow([*frame.columns, *added])
        sure = [[_with_mark(cell, frame.marks) for cell in cells] for cells in added.values()]
        writer.writerows(zip(*texts, *sure, strict=True))


def write_draws(
    path: str | os.PathLike[str],
    source: str | Path,
    schema: Schema,
    draws: Array,
    rows: Dataset,
    config: DataConfig,
) -> None:
    """Write a table as text with each row several times, its gaps filled by one draw after the other.

    Every other cell, and columns the model knows not, stay as they are; a last column `draw` counts the draws from 1.

    Args:
        path: The new file, with the separator of the old one.
        source: The file with gaps.
        schema: What its rows are.
        draws: What `complete` made of them, (N, count, columns).
        rows: What was read of the file.
        config: How the file is read.

    Raises:
        FileExistsError: when `path` is there already.
    """
    frame, positions, texts = _texts_of(source, schema, config)
    is_missing = rows.gather(torch.arange(len(rows))).isnan().numpy()
    with (
        replacing(path, new=True) as temporary,
        open(temporary, "w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file, lineterminator="\n", delimiter=frame.separator or ",")
        if frame.is_named:
            writer.writerow([*frame.columns, "draw"])
        for number, cells in enumerate(zip(*texts, strict=True)):
            gaps = np.flatnonzero(is_missing[number]).tolist()
            for draw, values in enumerate(draws[number], 1):
                filled = list(cells)
                for column in gaps:
                    text = cell_text(schema, column, values[column])
                    filled[positions[column]] = _with_mark(text, frame.marks)
                writer.writerow([*filled, draw])


def _texts_of(
    source: str | Path, schema: Schema, config: DataConfig
) -> tuple[Frame, list[int], list[list[str]]]:
    """A table as text: its frame, where in it the columns of `schema` are, and the cells of all its columns."""
    frame = table_of(source, config, known=schema.columns)
    positions = [frame.columns.index(name) for name in schema.columns]
    frame, _ = with_marks(frame, schema.columns, config)
    return frame, positions, [as_texts(cells).to_pylist() for cells in frame.cells]


def _certainty_columns(schema: Schema, filled: Imputation) -> dict[str, list[str]]:
    """How sure each filled cell is, as columns to add: the head, and the cells of all rows."""
    added = {}
    for column in np.flatnonzero(filled.missing.any(0)).tolist():
        name, missing = schema.columns[column], filled.missing[:, column]
        if schema.kinds and schema.kinds[column] in ("category", "binary"):
            added[f"{name} certainty"] = _cells_where(
                missing, filled.certainty[:, column], _shortest
            )
        else:
            text = functools.partial(cell_text, schema, column)
            added[f"{name} low"] = _cells_where(missing, filled.low[:, column], text)
            added[f"{name} high"] = _cells_where(missing, filled.high[:, column], text)
    return added


def _cells_where(chosen: Array, values: Array, text: Callable[[float], str]) -> list[str]:
    """The text of each chosen value; all other cells are empty."""
    cells = [""] * len(values)
    for number in np.flatnonzero(chosen).tolist():
        cells[number] = text(values[number])
    return cells


def _with_mark(cell: str, marks: Marks) -> str:
    """A number with the decimal mark of its table; other cells stay as they are."""
    return cell if Marks().number(cell) is None else cell.replace(".", marks.decimal)


def image_files(rows: Dataset) -> list[str]:
    """The PNG file for an image of each row: named as the row's own file, or by its number in the source, from 0.

    Args:
        rows: The rows.

    Example:
        >>> from variform.data.reading import read
        >>> image_files(read("digits").test.take(Tensor([0, 1]).long()))
        ['0.png', '4.png']
    """
    if rows.names is None:
        numbers = range(len(rows)) if rows.index is None else rows.index.tolist()
        digits = len(str(max(numbers, default=0)))
        return [f"{number:0{digits}d}.png" for number in numbers]
    names = rows.names.tolist()
    files = [_IMAGE_SUFFIX.sub(r"\2.png", name) for name in names]
    count = Counter(map(str.casefold, files))
    for number, name in enumerate(names):
        if count[files[number].casefold()] > 1:  # such as a.jpg beside a.png
            files[number] = name if name.lower().endswith(".png") else f"{name}.png"
    return files


def write_images(
    folder: str | os.PathLike[str], images: Array, value_range: tuple[Ends, Ends], given: ContextCells = ((), ()),
    names: Sequence[str] = (),
) -> None:  # fmt: skip
    """Write images as 8-bit PNG files into a new folder, all of them or none.

    Args:
        folder: A folder that does not exist or is empty.
        images: (N, channels, height, width); with other than 1 or 3 channels in false colours.
        value_range: The values that become black and white, of all channels or of each.
        given: What each was conditioned on, as `context_cells` gives it; in a file given.csv.
        names: The file of each, as `image_files` gives it; by default numbers from 1.

    Raises:
        FileExistsError: when the folder holds something already.
    """
    pixels = np.rint(255 * shares_of_colours(images, value_range)).astype(np.uint8)
    digits = len(str(len(pixels)))
    names = names or [f"{number:0{digits}d}.png" for number in range(1, len(pixels) + 1)]
    heads, contexts = given
    with new_folder(folder) as temporary:
        for name, image in zip(names, pixels, strict=True):
            picture = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
            path = temporary / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(path)
        if heads:
            cells = [[name, *context] for name, context in zip(names, contexts, strict=True)]
            write_rows(temporary / "given.csv", np.array(cells, dtype=object), ["file", *heads])
