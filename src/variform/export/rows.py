"""Rows as files: .npy, .csv and images."""

import csv
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from variform.data.schema import Schema
from variform.data.sources.tables import csv_cells, is_number
from variform.evaluation.imputation import Imputation
from variform.export.model_file import Array
from variform.system.files import new_folder, replacing

Told = tuple[Sequence[str], Sequence[Sequence[str]]]


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
        with replacing(path, new=True) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows(row.astype(str) for row in values)
    elif path.suffix == ".csv":
        raise ValueError(f"a .csv must hold flat rows; these have the shape {values.shape[1:]}. Use .npy or a folder.")
    else:
        raise ValueError(f"the output must end in .npy, .csv or be a folder of images; got {path.name}. Rename it.")


def write_table(
    path: str | os.PathLike[str], values: Array, schema: Schema, told: Told = ((), ())
) -> None:  # fmt: skip
    """Write rows of a table to a .csv file: categories by name, whole numbers as such, what is missing empty.

    Args:
        path: The file; it must not be there, and its folder must.
        values: Raw values, (N, columns).
        schema: What they are.
        told: What a conditional model was told of each, as `told_cells` gives it; in columns of their own.

    Raises:
        FileExistsError: when the file is there already.
    """
    heads, beside = told
    cells = [[cell_text(schema, place, value) for place, value in enumerate(row)] for row in values]
    cells = [[*row, *more] for row, more in zip(cells, beside or [()] * len(cells), strict=True)]
    write_rows(path, np.array(cells, dtype=object).reshape(len(values), -1), [*schema.columns, *heads])


def told_cells(schema: Schema, contexts: Tensor) -> Told:
    """Columns and cells, one list a row, of what a conditional model was told; labels under their column's name.

    Args:
        schema: What the rows are.
        contexts: (N, context_dim).

    Example:
        >>> from variform import DataConfig, read
        >>> schema = read("digits", DataConfig(condition=("label",))).schema
        >>> told_cells(schema, schema.context({"label": 3})[None])
        (['label'], [['3']])
    """
    heads = [schema.label or item.name if item.name == "label" else item.name for item in schema.conditions]
    return heads, [list(schema.told(context, digits=7).values()) for context in contexts]


def cell_text(schema: Schema, column: int, value: float) -> str:
    """A raw value of a table as the text of a cell, numbers in the shortest form that float32 reads back.

    Args:
        schema: What it is.
        column: The place of its column.
        value: The value.
    """
    if np.isnan(value):
        return ""
    if schema.kinds and schema.categories[column]:
        return schema.categories[column][int(value)]
    return str(int(value)) if schema.kinds and schema.whole[column] else str(np.float32(value))


def write_filled(
    path: str | os.PathLike[str], source: str | os.PathLike[str], schema: Schema, found: Imputation, *, intervals: bool
) -> None:
    """Write a CSV file again with its gaps filled; every other cell, and columns the model knows not, stay as they are.

    Args:
        path: The new file, with the separator of the old one.
        source: The file with gaps.
        schema: What its rows are.
        found: What `impute` made of them.
        intervals: Whether to add, for each column that has gaps in it, the ends of the interval, or for categories and
            binary columns the probability that the value is right.

    Raises:
        FileExistsError: when `path` is there already.
    """
    added = [place for place in range(len(schema.columns)) if intervals and found.missing[:, place].any()]
    heads, texts = [], []
    for place in added:
        name = schema.columns[place]
        is_sure = schema.kinds and schema.kinds[place] in ("category", "binary")
        parts = {"certainty": found.certainty} if is_sure else {"low": found.low, "high": found.high}
        heads += [f"{name} {word}" for word in parts]
        texts += [(place, values) for values in parts.values()]
    with replacing(path, new=True) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        with csv_cells(Path(source)) as (columns, named, separator, lines):
            writer = csv.writer(file, lineterminator="\n", delimiter=separator)
            places = [columns.index(name) for name in schema.columns]
            rows = [list(line) for line in lines]
        commas = separator != "," and any(
            is_number(row[place].replace(",", ".")) and "," in row[place] for row in rows for place in places
        )

        def text(place: int, value: float, *, plain: bool = False) -> str:
            cell = str(np.float32(value)) if plain else cell_text(schema, place, value)
            return cell.replace(".", ",") if commas and is_number(cell) else cell

        if named:
            writer.writerow([*columns, *heads])
        for row, gone, values in zip(rows, found.missing, found.values, strict=True):
            for place in np.flatnonzero(gone).tolist():
                row[places[place]] = text(place, values[place])
        for number, row in enumerate(rows):
            more = [
                text(place, part[number, place], plain=part is found.certainty) if found.missing[number, place] else ""
                for place, part in texts
            ]
            writer.writerow([*row, *more])


def write_images(
    folder: str | os.PathLike[str], images: Array, value_range: tuple[float, float], told: Told = ((), ())
) -> None:  # fmt: skip
    """Write images as numbered 8-bit PNG files into a new folder, all of them or none.

    Args:
        folder: A folder that does not exist or is empty.
        images: (N, channels, height, width), 1 or 3 channels.
        value_range: The values that become black and white.
        told: What a conditional model was told of each, as `told_cells` gives it; in a file given.csv.

    Raises:
        FileExistsError: when the folder holds something already.
    """
    low, high = value_range
    pixels = np.rint(np.clip((images - low) / ((high - low) or 1), 0, 1) * 255).astype(np.uint8)
    width = len(str(len(pixels)))
    names = [f"{number:0{width}d}.png" for number in range(1, len(pixels) + 1)]
    heads, beside = told
    with new_folder(folder) as temporary:
        for name, image in zip(names, pixels, strict=True):
            Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0)).save(temporary / name)
        if heads:
            cells = [[name, *words] for name, words in zip(names, beside, strict=True)]
            write_rows(temporary / "given.csv", np.array(cells, dtype=object), ["file", *heads])
