"""The formats that are read: how each is known, which options it takes, and its reader."""

import difflib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from variform.config.checks import checked
from variform.config.data import DataConfig
from variform.config.words import quoted
from variform.data.sources.about import OF_ABOUT, with_about
from variform.data.sources.arrays import (
    is_idx,
    is_mnist_folder,
    is_npy,
    is_npy_folder,
    read_idx,
    read_mnist_folder,
    read_npy,
    read_npy_folder,
)
from variform.data.sources.builtin import (
    BUILT_IN,
    is_brackets,
    is_digits,
    is_sprites,
    read_brackets,
    read_digits,
    read_sprites,
)
from variform.data.sources.containers import (
    is_hdf5,
    is_mat,
    is_zip,
    read_hdf5,
    read_mat,
    read_npz,
    read_safetensors,
    refuse_pickle,
)
from variform.data.sources.folders import IMAGE_SUFFIXES
from variform.data.sources.images import read_image, read_image_folder
from variform.data.sources.opening import reading, require_file, unpacked_name
from variform.data.sources.source import Source
from variform.data.sources.tables import (
    ARROW,
    JSON_LINES,
    PARQUET,
    TEXT,
    WORKBOOKS,
    is_table_folder,
    read_table,
)
from variform.system.files import expanded

Format = Literal[
    "digits",
    "brackets",
    "sprites",
    "npy",
    "npz",
    "hdf5",
    "mat",
    "safetensors",
    "pickle",
    "text table",
    "workbook",
    "parquet",
    "arrow",
    "json lines",
    "idx",
    "image",
    "MNIST folder",
    "npy folder",
    "table folder",
    "image folder",
]

_DEFAULTS = DataConfig()


def read_source(source: str | os.PathLike[str], config: DataConfig = _DEFAULTS) -> Source:
    """Read the rows and labels that `source` names, as they stand there.

    Args:
        source: A file, a folder or a built-in name, as `variform.data.reading.read` takes.
        config: `key`, `label`, `cells`, `categories`, `counts`, `reals`, `image_size`, `channels`, `frames`,
            `background` and `memory_map` say what to take and where to keep it; its other fields are not looked at.

    Raises:
        FileNotFoundError: if the source does not exist.
        ValueError: if it cannot be read, or an option does not apply to its format.

    Example:
        >>> digits = read_source("digits")
        >>> digits.values.shape, digits.levels
        ((1797, 8, 8), 17)
    """
    kind = source_format(source)
    check_options(config, kind, Path(source).name)
    return with_about(FORMATS[kind].read(expanded(source), config), config)


def source_format(source: str | os.PathLike[str]) -> Format:
    """The format of a source: of a file by its name or else by its first bytes, of a folder by what it holds.

    Raises:
        FileNotFoundError: if the source does not exist; names the nearest neighbour.
        ValueError: for an empty file and for an unknown format.

    Example:
        >>> source_format("digits")
        'digits'
    """
    for kind, form in FORMATS.items():
        if isinstance(source, str) and form.is_named(source):
            return kind
    path = expanded(source)
    if not path.exists():
        raise FileNotFoundError(_not_there(path))
    if path.is_dir():
        return next(kind for kind, form in FORMATS.items() if form.holds(path))
    require_file(path)
    if path.stat().st_size == 0:
        raise ValueError(
            f"{path.name} must hold data; it is empty (0 bytes). Copy or download it again."
        )
    name = unpacked_name(path)
    for kind, form in FORMATS.items():
        if name.endswith(form.endings):
            return kind
    with reading(path) as handle:
        head = handle.read(6)
    for kind, form in FORMATS.items():
        if form.begins(head):
            return kind
    words = ", ".join(form.words for form in FORMATS.values() if form.words)
    raise ValueError(
        f"{path.name} must be of a known format; neither its name nor its first bytes are. Use one of {words}."
    )


@checked
def check_options(config: DataConfig, kind: Literal[Format, "array", "table"], name: str) -> None:
    """Refuse options that would have no effect on a source of the format `kind`.

    Args:
        config: Options as the user gave them.
        kind: As `source_format` says, or for what is in memory `array`, or `table` where columns have names.
        name: What the message calls the source.

    Raises:
        ValueError: names the option and what it is for.

    Example:
        >>> check_options(DataConfig(label="kind"), "npy", "designs.npy")
        Traceback (most recent call last):
        ValueError: `label` names the label column of a table whose columns have names, such as a .csv file; \
designs.npy is none. Leave `label` out.
    """
    in_memory = {"array": OF_TABLES, "table": (*OF_TABLES, *OF_COLUMNS)}
    taken = in_memory[kind] if kind in in_memory else FORMATS[kind].options
    if config.about is not None and "about" in taken:
        taken = (*taken, *OF_ABOUT)
    for field, (purpose, kind_of_file) in _OPTIONS.items():
        if getattr(config, field) != getattr(_DEFAULTS, field) and field not in taken:
            raise ValueError(
                f"`{field}` {purpose} {kind_of_file}; {name} is none. Leave `{field}` out."
            )
    table = ", or name a table with `about`" if "about" in taken else ""
    odd = [column for column in config.condition if column != "label"]
    if odd and "condition" not in taken:
        raise ValueError(
            f"`condition` names 'label', or columns of {_NAMED}; {name} is not one, and got {odd[0]}. "
            f"Use `condition=['label']` where there are labels{table}."
        )


def _not_there(path: Path) -> str:
    if path.is_symlink():
        return f"the source must exist; {path} is a link to what does not. Copy the data, or mend the link."
    neighbours = [item.name for item in path.parent.iterdir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, [*BUILT_IN, *neighbours], 1)
    remedy = (
        f"Did you mean {quoted(near[0])}?" if near else f"Built-in names: {', '.join(BUILT_IN)}."
    )
    return (
        f"the source must be a file, a folder or a built-in name; {path} does not exist. {remedy}"
    )


_NAMED = "a table whose columns have names, such as a .csv file"
_TEXT_OR_SHEET = "a table of text or a workbook"
_OPTIONS = {  # field of DataConfig: what it does, and to what
    "key": ("chooses an array of", "a .npz, HDF5, .mat or .safetensors file"),
    "label": ("names the label column of", _NAMED),
    "id": ("names a column of", _NAMED),
    "response": ("names columns of", _NAMED),
    "weight": ("names a column of", _NAMED),
    "ignore": ("names columns of", _NAMED),
    "columns": ("chooses columns of", _NAMED),
    "units": ("gives the units of columns of", _NAMED),
    "na_values": ("says which texts are gaps in", _NAMED),
    "header": ("says what the first line is of", _TEXT_OR_SHEET),
    "skiprows": ("leaves out lines of", _TEXT_OR_SHEET),
    "decimal": ("is the decimal mark in", _NAMED),
    "thousands": ("is the mark between thousands in", _NAMED),
    "sep": ("separates the cells of", "a table of text, such as a .csv file"),
    "encoding": ("is that of", "a table of text, such as a .csv file"),
    "sheet_name": ("chooses a sheet of", "a workbook"),
    "categories": ("names columns of", "a table"),
    "counts": ("names columns of", "a table"),
    "reals": ("names columns of", "a table"),
    "image_size": ("resizes", "a folder of image files"),
    "memory_map": ("says whether to leave on disk", "a .npy file or a folder of them"),
    "channels": ("sets the colours of", "a folder of image files"),
    "about": ("names a table about", "a folder of image files"),
    "frames": ("chooses among the images of", "a folder of image files"),
    "background": ("says what is behind", "a folder of image files"),
}
OF_TABLES = ("categories", "counts", "reals")
"""Options that a format takes whose rows may be a table; arrays of images are recognised after they were read."""
OF_COLUMNS = (
    *("label", "condition", "id", "response", "weight", "ignore", "columns"),
    *("units", "na_values", "decimal", "thousands"),
)
"""Options that say what columns with names are for, and how the numbers among their texts are written."""
OF_TEXT = ("sep", "encoding")
"""Options that say how a table is written as text."""
OF_IMAGES = ("image_size", "channels", "frames", "background")
"""Options of what is made of image files."""


def _never(what: object) -> bool:
    return False


@dataclass(frozen=True)
class FormatFacts:
    """What one format is, as everything else asks it.

    Args:
        read: Reads a source of this format.
        words: What the message about an unknown format calls it; empty for what has no file of its own.
        endings: What the name of such a file ends in, in small letters, without .gz.
        begins: Whether the first 6 bytes of a file are those of this format, where its name says nothing.
        holds: Whether a folder is of this format; the first that says so is taken.
        is_named: Whether a word is a source of this format that comes with variform.
        options: The fields of `DataConfig` that only some formats have and this one has; `condition` where its columns
            can be named there.
        has_columns: Whether columns have names, as `variform.data.sources.tables.table_of` gives them.

    Example:
        >>> FORMATS["parquet"].endings, FORMATS["npz"].begins(b"PK\\3\\4..")
        (('.parquet', '.pq'), True)
    """

    read: Callable[[Path, DataConfig], Source]
    words: str = ""
    endings: tuple[str, ...] = ()
    begins: Callable[[bytes], bool] = _never
    holds: Callable[[Path], bool] = _never
    is_named: Callable[[str], bool] = _never
    options: tuple[str, ...] = ()
    has_columns: bool = False


def _of_arrays(
    read: Callable[[Path, DataConfig], Source],
    *endings: str,
    begins: Callable[[bytes], bool] = _never,
) -> FormatFacts:
    """A file that holds several arrays by name."""
    return FormatFacts(
        read, endings[0], endings=endings, begins=begins, options=(*OF_TABLES, "key")
    )


def _of_columns(
    words: str, endings: tuple[str, ...], *options: str, begins: bytes | None = None
) -> FormatFacts:
    """A table whose columns have names; `begins` are the first bytes of such a file."""
    return FormatFacts(
        read_table,
        words,
        endings=endings,
        begins=_never if begins is None else lambda head: head.startswith(begins),
        options=(*OF_TABLES, *OF_COLUMNS, *options),
        has_columns=True,
    )


FORMATS: dict[Format, FormatFacts] = {
    "digits": FormatFacts(read_digits, is_named=is_digits),
    "brackets": FormatFacts(read_brackets, is_named=is_brackets),
    "sprites": FormatFacts(read_sprites, is_named=is_sprites),
    "npy": FormatFacts(
        read_npy, ".npy", endings=(".npy",), begins=is_npy, options=(*OF_TABLES, "memory_map")
    ),
    "npz": _of_arrays(read_npz, ".npz", begins=is_zip),
    "hdf5": _of_arrays(read_hdf5, ".h5", ".hdf5", ".h5ad", begins=is_hdf5),
    "mat": _of_arrays(read_mat, ".mat", begins=is_mat),
    "safetensors": _of_arrays(read_safetensors, ".safetensors"),
    "pickle": FormatFacts(
        refuse_pickle,
        endings=(".pt", ".pth", ".pkl", ".pickle", ".joblib"),
        options=(*OF_TABLES, "key"),
    ),
    "text table": _of_columns(".csv, .tsv, .txt", TEXT, *OF_TEXT, "header", "skiprows"),
    "workbook": _of_columns(".xlsx, .xls, .ods", WORKBOOKS, "header", "skiprows", "sheet_name"),
    "parquet": _of_columns(".parquet", PARQUET, begins=b"PAR1"),
    "arrow": _of_columns(".feather, .arrow", ARROW, begins=b"ARROW1"),
    "json lines": _of_columns(".jsonl", JSON_LINES),
    "idx": FormatFacts(read_idx, ".idx", endings=(".idx", "-ubyte"), begins=is_idx),
    "image": FormatFacts(read_image, "an image", endings=IMAGE_SUFFIXES, options=OF_IMAGES),
    "MNIST folder": FormatFacts(read_mnist_folder, holds=is_mnist_folder),
    "npy folder": FormatFacts(
        read_npy_folder,
        "a folder of .npy files",
        holds=is_npy_folder,
        options=(*OF_TABLES, "memory_map"),
    ),
    "table folder": FormatFacts(
        read_table,
        "a folder of train.csv and test.csv",
        holds=is_table_folder,
        options=(*OF_TABLES, *OF_COLUMNS, *OF_TEXT, "header", "skiprows", "sheet_name"),
        has_columns=True,
    ),
    "image folder": FormatFacts(
        read_image_folder, "a folder of images", holds=Path.is_dir, options=(*OF_IMAGES, "about")
    ),
}
"""The formats, in the order in which they are asked whether a source is theirs."""
