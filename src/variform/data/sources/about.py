"""A table about pictures: conditions, responses, labels and groups, by the names of their files."""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from variform.config.data import FAMILIES, ROWS, DataConfig
from variform.config.words import listed, quoted
from variform.data.sources.meaning import source_of
from variform.data.sources.source import Source
from variform.data.sources.tables import table_of
from variform.system.files import expanded

FILE = "file"
"""The column of the table that says which picture a row is about."""
OF_ABOUT = (
    *("label", "condition", "response", "weight", "units", "na_values", "header", "skiprows"),
    *("sheet_name", "sep", "encoding", "decimal", "thousands"),
)
"""Options of pictures that have a table about them."""


def with_about(source: Source, config: DataConfig, *, may_lack: bool = False) -> Source:
    """Pictures with what the table `config.about` says of each; as they are where there is no such table.

    A row is about the picture whose file its column `file` names: relative to the folder that was read, or by its name
    alone where no two files share it, and with or without the suffix. The frames of a file share its row.

    Args:
        source: The pictures, with the names of their files.
        config: `about`, and what its columns are for and how it is written: the fields in `OF_ABOUT`, and `group`.
        may_lack: Whether pictures that are not all in the table stay without it; else they are refused.

    Raises:
        FileNotFoundError, ValueError: for a table that cannot be read, that has two rows about one picture, or none
            about some of them.
    """
    if config.about is None or (may_lack and not expanded(config.about).is_file()):
        return source
    assert source.names is not None  # pictures have files
    table = _read(config.about, config)
    assert table.names is not None  # those of its column `file`
    files = source.names if source.families is None else source.families
    files = np.where(files == "", source.names, files).tolist()
    row_of = _rows_of(table, list(dict.fromkeys(files)))
    lacking = [file for file in row_of if row_of[file] is None]
    if lacking and may_lack:
        return source
    if lacking:
        raise ValueError(
            f"every picture must have a row in {table.name}; {len(lacking):,} of {len(row_of):,} have none, as"
            f" {quoted(lacking[0])}. Write the name of the file, as it lies in {source.name}, into its column '{FILE}'."
        )
    rows = np.array([row_of[file] for file in files], dtype=np.int64)
    return dataclasses.replace(
        source,
        labels=source.labels if table.labels is None else table.labels[rows],
        given={name: values[rows] for name, values in table.given.items()},
        responses={name: values[rows] for name, values in table.responses.items()},
        weights=None if table.weights is None else table.weights[rows],
        groups=None if table.groups is None else table.groups[rows],
        notes=(*source.notes, *table.notes, *_unused(table, rows)),
    )


def _read(path: str, config: DataConfig) -> Source:
    """The table: what is beside its column `file`, whose cells are the names of the rows."""
    if not expanded(path).is_file():
        raise FileNotFoundError(
            f"`about` must name a table; {path} does not exist. Check the path."
        )
    own = {field: getattr(config, field) for field in OF_ABOUT}
    if config.group not in (None, FAMILIES, ROWS):
        own["group"] = config.group
    config = DataConfig(**own)
    frame = table_of(Path(path), config, known=(FILE,))
    if FILE not in frame.columns:
        raise ValueError(
            f"`about` must name a table with a column '{FILE}', the names of the pictures; {frame.name} has"
            f" {listed(frame.columns)}. Rename that column."
        )
    # The column is no value either: what names the rows is none.
    return source_of(frame, dataclasses.replace(config, id=FILE, columns=(FILE,)))


def _rows_of(table: Source, files: Sequence[str]) -> dict[str, int | None]:
    """The row about each file, None where there is none."""
    assert table.names is not None
    row_of: dict[str, int] = {}
    for row, text in enumerate(table.names.tolist()):
        name = PurePosixPath(text.replace("\\", "/")).as_posix()
        if name in row_of:
            raise ValueError(
                f"{table.name} must have one row about a picture; rows {row_of[name] + 1} and {row + 1} are about"
                f" {quoted(text)}. Delete one of them."
            )
        row_of[name] = row
    forms = [_forms(file) for file in files]
    counts = [Counter(of_one_kind) for of_one_kind in zip(*forms, strict=True)]
    found: dict[str, int | None] = {}
    for file, own in zip(files, forms, strict=True):
        rows = (
            row_of.get(form)
            for form, count in zip(own, counts, strict=True)
            if count[form] == 1  # else it could be another file
        )
        found[file] = next((row for row in rows if row is not None), None)
    return found


def _forms(file: str) -> tuple[str, str, str, str]:
    """How a table may call a file: relative to its folder or not, with its suffix or without."""
    path = PurePosixPath(file)
    return file, path.with_suffix("").as_posix(), path.name, path.stem


def _unused(table: Source, rows: np.ndarray) -> tuple[str, ...]:
    """A note on rows about no picture."""
    assert table.names is not None
    unused = np.setdiff1d(np.arange(len(table.names)), rows)
    if not len(unused):
        return ()
    first = quoted(table.names[unused[0]])
    return (
        f"rows of {table.name} about no picture of the folder: {len(unused):,} of {len(table.names):,}, as {first}",
    )
