"""Folders that hold a table for each part of a split, such as train.csv and test.csv, as one table."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from variform.config.words import listed
from variform.data.sources.folders import (
    SPLIT_NAMES,
    folder_name,
    holds_data,
    images_and_folders,
    part_named,
)
from variform.data.sources.opening import unpacked_name
from variform.data.sources.text_tables import Frame

Endings = tuple[str, ...]


def is_split(folder: Path, endings: Endings) -> bool:
    """Whether a folder holds a table for training and one for validation or test, and no images or folders of data.

    Args:
        folder: The folder.
        endings: What the names of files of tables end in.
    """
    images, folders = images_and_folders(folder, [])
    if images or any(map(holds_data, folders)):
        return False
    parts = [_part_of(path) for path in _tables(folder, endings)]
    return "train" in parts and ("valid" in parts or "test" in parts)


def joined(folder: Path, endings: Endings, read: Callable[[Path], Frame]) -> Frame:
    """The tables of a split, one after the other, with the columns of that for training.

    Args:
        folder: As `is_split` takes it.
        endings: Likewise.
        read: Reads one of them.

    Raises:
        ValueError: for two tables of one part, and for columns that one of them lacks or has in another type.
    """
    files = _files_of_parts(folder, endings)
    frames = {part: read(path) for part, path in files.items()}
    first, *others = frames.values()
    for other in others:
        _require_columns(first, other)
    tables = [_in_order(frame, first.columns) for frame in frames.values()]
    name = folder_name(folder)
    try:
        whole = pa.concat_tables(tables, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise ValueError(
            f"the tables of {name} must hold a column in one type; {error}. Store it in one."
        ) from error
    lengths = [table.num_rows for table in tables]
    notes = [note for frame in frames.values() for note in frame.notes]
    beside = [path.name for path in _tables(folder, endings) if not _part_of(path)]
    if beside:
        notes.append(f"left out because they lie beside the tables of the split: {listed(beside)}")
    return dataclasses.replace(
        first,
        name=name,
        cells=tuple(column.combine_chunks() for column in whole.columns),
        place=_place(list(frames.values()), lengths),
        notes=tuple(dict.fromkeys(notes)),
        names=_names(list(frames.values())),
        own=np.repeat(list(frames), lengths),
    )


def _tables(folder: Path, endings: Endings) -> list[Path]:
    """The visible files of tables in a folder, in order."""
    files = [path for path in folder.iterdir() if path.is_file() and path.name[0] != "."]
    plain = [path for path in files if path.suffix.lower() != ".zip"]
    return sorted(path for path in plain if unpacked_name(path).endswith(endings))


def _part_of(path: Path) -> str:
    return part_named(path.name.split(".")[0])


def _files_of_parts(folder: Path, endings: Endings) -> dict[str, Path]:
    """The table of each part, in the order of the parts."""
    tables = _tables(folder, endings)
    by_part = {part: [path for path in tables if _part_of(path) == part] for part in SPLIT_NAMES}
    for part, files in by_part.items():
        if len(files) > 1:
            names = " and ".join(path.name for path in files)
            raise ValueError(
                f"folder {folder_name(folder)} must hold one table a part of its split; {names} are both for {part}. "
                "Move one of them away."
            )
    return {part: files[0] for part, files in by_part.items() if files}


def _require_columns(first: Frame, other: Frame) -> None:
    """Refuse a table that lacks a column of the first, or has one more."""
    lacking = [name for name in first.columns if name not in other.columns]
    more = [name for name in other.columns if name not in first.columns]
    if not lacking and not more:
        return
    has = [f"lacks {listed(lacking)}"] if lacking else []
    has += [f"has {listed(more)} too"] if more else []
    raise ValueError(
        f"the tables of a split must have the same columns; {other.name} {' and '.join(has)}, beside {first.name}. "
        "Add a column, empty where nothing is known, or delete one."
    )


def _in_order(frame: Frame, names: Sequence[str]) -> pa.Table:
    cells = dict(zip(frame.columns, frame.cells, strict=True))
    return pa.table({name: cells[name] for name in names})


def _place(frames: Sequence[Frame], lengths: Sequence[int]) -> Callable[[int], str]:
    """Where a row of the whole stands, in words."""
    starts = np.cumsum([0, *lengths[:-1]])

    def place(row: int) -> str:
        number = int(np.searchsorted(starts, row, side="right")) - 1
        frame = frames[number]
        return f"{frame.place(row - int(starts[number]))} of {frame.name}"

    return place


def _names(frames: Sequence[Frame]) -> np.ndarray | None:
    """Names of rows that are no column, where all have them."""
    names = [frame.names for frame in frames if frame.names is not None]
    return np.concatenate(names) if len(names) == len(frames) else None
