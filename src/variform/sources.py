"""Sources: from a file, a folder or a built-in name to rows and labels, as they stand there.

One reader per format. A reader only finds rows and labels; shape, type, finiteness, split and scaling are decided once,
for all formats, in data.py.
"""

import csv
import dataclasses
import difflib
import gzip
import io
import itertools
import math
import os
import re
import sys
import warnings
import zipfile
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import IO, Literal

import numpy as np
from PIL import Image, ImageOps

from variform import sprites
from variform.config.checks import checked
from variform.config.data import DataConfig
from variform.system import memory
from variform.system.files import expanded, special

Format = Literal["digits", "sprites", "npy", "npy folder", "npz", "idx", "csv", "image", "image folder", "MNIST folder"]

_DEFAULTS = DataConfig()
BUILT_IN = ("digits", "sprites")
_SPLIT_NAMES = {"train": ("train",), "valid": ("valid", "val", "validation"), "test": ("test",)}
_IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
_RENDERED_ONCE = 100_000  # sprites that are kept in memory, 410 MB
_READ_THROUGH = 2**17  # bytes between two rows that are rather read than leapt over
_MISSING = ("", "na", "n/a", "nan", "null", "?")  # cells, in small letters, that hold no value
_LONGEST_QUOTE, _MOST_LISTED = 60, 10  # characters of a cell in a message, and texts in a list in one
_PARTLY_LABELLED = "labels are left out: not every split has them"


@dataclass(frozen=True, eq=False)
class Shards:
    """Arrays read as if they stood in one, the rows of the first before those of the second; they stay where they are.

    Args:
        parts: At least one array; their rows have one shape and one type.
        files: For each array that is mapped from a file, that file and the byte at which its rows begin.

    Example:
        >>> shards = Shards((np.zeros((3, 2)), np.ones((2, 2))))
        >>> shards.shape, shards.take(np.array([3, 0])).tolist()
        ((5, 2), [[1.0, 1.0], [0.0, 0.0]])
    """

    parts: tuple[np.ndarray, ...]
    files: tuple[tuple[Path, int], ...] = ()

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Number of rows, and the shape of one."""
        return (sum(map(len, self.parts)), *self.parts[0].shape[1:])

    @property
    def ndim(self) -> int:
        """Number of axes, that of the rows included."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    @property
    def dtype(self) -> np.dtype:
        """Type of the values."""
        return self.parts[0].dtype

    def __len__(self) -> int:
        """Number of rows."""
        return self.shape[0]

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        """All rows, in memory."""
        return np.concatenate(self.parts).astype(dtype or self.dtype, copy=False)

    def take(self, index: np.ndarray) -> np.ndarray:
        """The rows at `index` (B,), in memory."""
        if len(self.parts) == 1:
            return self.parts[0].take(index, axis=0)
        rows = np.empty((len(index), *self.shape[1:]), self.dtype)
        places = np.searchsorted(self._starts, index, side="right") - 1
        for place in np.unique(places):
            here = places == place
            rows[here] = self.parts[place].take(index[here] - self._starts[place], axis=0)
        return rows

    def pieces(self, rows: int) -> Iterator[np.ndarray]:
        """All rows in order, `rows` of them at a time; the last time there may be fewer."""
        for start in range(0, len(self), rows):
            stop = min(start + rows, len(self))
            first, last = np.searchsorted(self._starts, (start, stop - 1), side="right") - 1
            within = [
                self.parts[place][max(0, start - self._starts[place]) : stop - self._starts[place]]
                for place in range(first, last + 1)
            ]
            yield within[0] if len(within) == 1 else np.concatenate(within)

    def each(self, function: Callable[[np.ndarray], np.ndarray]) -> "Shards":
        """`function` of every array."""
        return Shards(tuple(map(function, self.parts)), self.files)

    def expect(self, index: np.ndarray) -> None:
        """Have the system read the rows at `index` from their files into its cache, in the background."""
        if not self.files or not hasattr(os, "posix_fadvise"):
            return
        row = self.dtype.itemsize * math.prod(self.shape[1:])
        places = np.searchsorted(self._starts, index, side="right") - 1
        for place in np.unique(places):
            path, start = self.files[place]
            rows = np.sort(index[places == place]) - self._starts[place]
            ends = np.flatnonzero(np.diff(rows) * row > _READ_THROUGH)
            with open(path, "rb") as file:
                for first, last in zip(rows[[0, *(ends + 1)]], rows[[*ends, -1]], strict=True):
                    begin, length = start + int(first) * row, int(last - first + 1) * row
                    os.posix_fadvise(file.fileno(), begin, length, os.POSIX_FADV_WILLNEED)

    @cached_property
    def _starts(self) -> np.ndarray:
        """Number of the first row of every array."""
        return np.cumsum([0, *map(len, self.parts[:-1])])


@dataclass(frozen=True, eq=False)
class Rendered:
    """Rows that are made when they are asked for; otherwise as `Shards`.

    Args:
        index: Number of each row, (N,), N > 0.
        render: The rows with the numbers (B,), (B, ...).

    Example:
        >>> rendered = Rendered(np.arange(4), lambda index: index[:, None] ** 2)
        >>> rendered.shape, rendered.take(np.array([3, 0])).tolist()
        ((4, 1), [[9], [0]])
    """

    index: np.ndarray
    render: Callable[[np.ndarray], np.ndarray]

    @cached_property
    def _first(self) -> np.ndarray:
        return self.render(self.index[:1])

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of rows, and the shape of one."""
        return (len(self.index), *self._first.shape[1:])

    @property
    def ndim(self) -> int:
        """Number of axes, that of the rows included."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    @property
    def dtype(self) -> np.dtype:
        """Type of the values."""
        return self._first.dtype

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.index)

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        """All rows, in memory."""
        return self.render(self.index).astype(dtype or self.dtype, copy=False)

    def take(self, index: np.ndarray) -> np.ndarray:
        """The rows at `index` (B,), in memory."""
        return self.render(self.index[index])

    def pieces(self, rows: int) -> Iterator[np.ndarray]:
        """All rows in order, `rows` of them at a time; the last time there may be fewer."""
        return (self.render(self.index[start : start + rows]) for start in range(0, len(self), rows))

    def each(self, function: Callable[[np.ndarray], np.ndarray]) -> "Rendered":
        """`function` of all that is rendered."""
        return Rendered(self.index, lambda index: function(self.render(index)))

    def expect(self, index: np.ndarray) -> None:
        """Nothing can be done ahead."""


@dataclass(frozen=True, eq=False)
class Source:
    """What a reader found: rows as they stand in the file, before they are shaped, split or scaled.

    Args:
        name: File name, folder name or built-in name, for messages.
        values: One row per example, (N, ...), of any type; `Shards` stay on disk, `Rendered` are made when asked for.
        labels: One label per row, N of them: numbers or text.
        own: `train`, `valid` or `test` for each row, (N,), where the source comes split.
        columns: Column names of a table; () where the source has none.
        categories: For each column the names of its categories, which stand in `values` as their numbers from 0; () for
            a column of numbers. () where no column has categories.
        levels: Number of discrete raw levels, where the source tells; images then range over all of them.
        notes: Sentences that a reader of a report should know.
        beside: Columns that are not rows' values but what a model is conditioned on, by name, one number or text a row.
        index: Number of each row in a larger whole, (N,), where the source is a part of one.
        keys: Two int64 for each row, (N, 2), in the place of a hash of its values, where what they are is known without
            looking: rows that agree in the first share a split, rows that agree in both are equal.

    Raises:
        ValueError: if `values` has fewer than two axes, or there is not one label per row.

    Example:
        >>> Source("designs.npy", np.zeros((3, 2)), labels=np.array(["a", "b"]))
        Traceback (most recent call last):
        ValueError: designs.npy must have one label per row; it has 3 rows and 2 labels. Check that both come from \
the same set.
    """

    name: str
    values: np.ndarray | Shards | Rendered
    labels: np.ndarray | None = None
    own: np.ndarray | None = None
    columns: tuple[str, ...] = ()
    categories: tuple[tuple[str, ...], ...] = ()
    levels: int | None = None
    notes: tuple[str, ...] = ()
    beside: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    index: np.ndarray | None = None
    keys: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.values.ndim < 2:
            raise ValueError(
                f"{self.name} must hold one row per example; its shape is {self.values.shape}. Reshape it to (N, D)."
            )
        if self.labels is not None and self.labels.size != len(self.values):
            raise ValueError(
                f"{self.name} must have one label per row; it has {len(self.values)} rows and {self.labels.size}"
                " labels. Check that both come from the same set."
            )

    def place(self, row: int) -> str:
        """Where a row stands in the source, in words: its number from 1, counted within its split if it comes split.

        Example:
            >>> Source("a.npz", np.zeros((3, 2)), own=np.array(["train", "test", "test"])).place(2)
            'row 2 of test'
        """
        if self.own is None or (self.own == "train").all():
            return f"row {row + 1}"
        return f"row {(self.own[: row + 1] == self.own[row]).sum()} of {self.own[row]}"


def read_source(source: str | Path, config: DataConfig = _DEFAULTS) -> Source:
    """Read the rows and labels that `source` names, as they stand there.

    Args:
        source: A file, a folder or a built-in name, as `variform.data.read` takes.
        config: `key`, `label`, `cells`, `categories`, `counts`, `reals`, `image_size`, `channels` and `memory_map` say
            what to take and where to keep it; its other fields are not looked at.

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
    return _READERS[kind](expanded(source), config)


def source_format(source: str | Path) -> Format:
    """The format of a source: of a file by its name or else by its first bytes, of a folder by what it holds.

    Raises:
        FileNotFoundError: if the source does not exist; names the nearest neighbour.
        ValueError: for an empty file and for an unknown format.

    Example:
        >>> source_format("digits")
        'digits'
    """
    if source in BUILT_IN:
        return source
    if isinstance(source, str) and source.startswith("sprites:"):
        return "sprites"
    path = expanded(source)
    if not path.exists():
        raise FileNotFoundError(_not_there(path))
    if path.is_dir():
        return _folder_format(path)
    _require_file(path)
    if path.stat().st_size == 0:
        raise ValueError(f"{path.name} must hold data; it is empty (0 bytes). Copy or download it again.")
    name = path.name.lower().removesuffix(".gz")
    return next((kind for kind, endings in _ENDINGS.items() if name.endswith(endings)), None) or _format_by_magic(path)


def _folder_format(folder: Path) -> Format:
    if _idx_file(folder, "train-images-idx3"):
        return "MNIST folder"
    images, folders = _listed(first := _split_folders(folder).get("train", folder), [])
    return "npy folder" if _array_files(first) and not images and not folders else "image folder"


@checked
def check_options(config: DataConfig, kind: Literal[Format, "array"], name: str) -> None:
    """Refuse options that would have no effect on a source of the format `kind`.

    Args:
        config: Options as the user gave them.
        kind: As `source_format` says, or `array` for an array in memory.
        name: What the message calls the source.

    Raises:
        ValueError: names the option and what it is for.

    Example:
        >>> check_options(DataConfig(label="kind"), "npy", "designs.npy")
        Traceback (most recent call last):
        ValueError: --label names the label column of a CSV file; designs.npy is not a CSV file. Leave --label out.
    """
    for field, (kinds, purpose, place) in _OPTIONS.items():
        if getattr(config, field) != getattr(_DEFAULTS, field) and kind not in kinds:
            option = "--" + field.replace("_", "-")
            raise ValueError(f"{option} {purpose} {place}; {name} is not {place}. Leave {option} out.")
    if kind != "csv" and (odd := [column for column in config.condition if column != "label"]):
        raise ValueError(
            f"--condition names `label`, or columns of a CSV file; {name} is not a CSV file, and got {odd[0]}. "
            "Use --condition label where there are labels."
        )


def csv_columns(path: str | Path) -> tuple[str, ...]:
    """Names of all columns of a CSV file, those of labels too; `column 1`, ... where its first line holds numbers.

    Raises:
        ValueError: if two columns have one name, or one has none.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "designs.csv"
        >>> _ = path.write_text("mass;drag\\n1,5;2\\n")
        >>> csv_columns(path)
        ('mass', 'drag')
    """
    with _csv_table(expanded(path)) as table:
        return table.columns


def is_missing(cell: str) -> bool:
    """Whether a cell of a CSV file stands for a missing value.

    Example:
        >>> [is_missing(cell) for cell in ("", "NA", "?", "0", "none")]
        [True, True, True, False, False]
    """
    return cell.strip().casefold() in _MISSING


def quoted(text: object) -> str:
    """A text of the user's data as messages show it: in quotes, on one line, and of a long one only the beginning.

    Example:
        >>> quoted("oak"), quoted("two\\nlines"), len(quoted("x" * 1000))
        ("'oak'", "'two\\\\nlines'", 62)
    """
    shown = str(text)
    return repr(shown if len(shown) <= _LONGEST_QUOTE else shown[: _LONGEST_QUOTE - 1] + "…")


def listed(texts: Sequence[str]) -> str:
    """Texts of the user's data as messages list them: not all of many.

    Example:
        >>> listed(["oak", "ash"]), listed([str(number) for number in range(100)])
        ('oak, ash', '0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 90 more')
    """
    shown = [quoted(text)[1:-1] for text in texts[:_MOST_LISTED]]
    return ", ".join(shown) + (f" and {len(texts) - len(shown)} more" if len(texts) > len(shown) else "")


def declared_kinds(
    config: DataConfig, columns: Sequence[str], name: str
) -> dict[str, Literal["category", "count", "real"]]:
    """The kind of each column that the options declare; commas may separate names that hold none.

    Args:
        config: `categories`, `counts` and `reals` are looked at.
        columns: Names of all columns.
        name: What the message calls the source.

    Raises:
        ValueError: for a name that is not a column's, and for a column of two kinds.

    Example:
        >>> declared_kinds(DataConfig(categories=("a,b",), counts=("c",)), ("a", "b", "c", "d"), "table.csv")
        {'a': 'category', 'b': 'category', 'c': 'count'}
    """
    kinds: dict[str, Literal["category", "count", "real"]] = {}
    options = {"category": config.categories, "count": config.counts, "real": config.reals}
    for kind, given in options.items():
        option = "--categories" if kind == "category" else f"--{kind}s"
        for column in itertools.chain.from_iterable(
            [names] if names in columns else names.split(",") for names in given
        ):
            if column not in columns:
                near = difflib.get_close_matches(column, columns, 1) or columns
                raise ValueError(
                    f"{option} must name columns of {name}; it has no {quoted(column)}. Did you mean {quoted(near[0])}?"
                )
            if column in kinds:
                raise ValueError(
                    f"a column must have one kind; {quoted(column)} is named twice, in {option} too. Name it once."
                )
            kinds[column] = kind  # pyrefly: ignore[unsupported-operation]
    return kinds


@contextmanager
def csv_cells(path: str | Path) -> Iterator[tuple[tuple[str, ...], bool, str, Iterator[list[str]]]]:
    """The cells of a CSV file as they stand there.

    Returns:
        Names of all columns, whether they stand in the first line, the separator, and the lines that hold cells.

    Raises:
        ValueError: as `read_source`.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "designs.csv"
        >>> _ = path.write_text("mass;drag\\n1,50;\\n")
        >>> with csv_cells(path) as (columns, named, separator, lines):
        ...     columns, named, separator, list(lines)
        (('mass', 'drag'), True, ';', [['1,50', '']])
    """
    with _csv_table(expanded(path)) as table:
        yield table.columns, table.named, table.separator, table.rows


def _require_file(path: Path) -> None:
    """Refuse what may never end, or never begin: the like is read only once, and a source more than once."""
    if kind := special(path):
        raise ValueError(
            f"the source must be a file, a folder or a built-in name; {path} is {kind}. Save what it gives to a file."
        )


def _not_there(path: Path) -> str:
    if path.is_symlink():
        return f"the source must exist; {path} is a link to what does not. Copy the data, or mend the link."
    neighbours = [item.name for item in path.parent.iterdir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, [*BUILT_IN, *neighbours], 1)
    remedy = f"Did you mean {quoted(near[0])}?" if near else f"Built-in names: {', '.join(BUILT_IN)}."
    return f"the source must be a file, a folder or a built-in name; {path} does not exist. {remedy}"


def _format_by_magic(path: Path) -> Format:
    with _reading(path) as handle:
        head = handle.read(6)
    if head == b"\x93NUMPY":
        return "npy"
    if head.startswith(b"PK\3\4"):
        return "npz"
    if head[:2] == b"\0\0" and len(head) > 2 and head[2] in _IDX_TYPES:
        return "idx"
    raise ValueError(
        f"{path.name} must be of a known format; neither its name nor its first bytes are."
        " Use .npy, .npz, .csv, .tsv, .idx, an image, or a folder of images or of .npy files."
    )


@contextmanager
def _reading(path: Path) -> Iterator[io.BufferedReader | gzip.GzipFile]:
    """The bytes of a file, unpacked if its name ends in .gz; damage that shows in reading is told with its name."""
    _require_file(path)
    with gzip.open(path) if path.suffix.lower() == ".gz" else open(path, "rb") as handle:
        try:
            yield handle
        except (
            OSError,
            EOFError,
            RuntimeError,
            UnicodeDecodeError,
            csv.Error,
            zlib.error,
            zipfile.BadZipFile,
        ) as error:
            raise _damaged(path.name, error) from error


def _damaged(name: str, reason: object) -> ValueError:
    return ValueError(
        f"{name} must be a whole file of its format; reading it failed: {reason}."
        " Copy or download it again, or save it anew (text as UTF-8)."
    )


def _folder_name(folder: Path) -> str:
    return Path(os.path.abspath(folder)).name  # `resolve` would name the target of a link, `folder.name` not know "."


def _chained(several: Iterable[Shards]) -> Shards:
    whole = list(several)
    return Shards(sum((shards.parts for shards in whole), ()), sum((shards.files for shards in whole), ()))


def _joined(name: str, parts: dict[str, Source]) -> Source:
    """One source from the parts of data that come split."""
    shapes = {part: source.values.shape[1:] for part, source in parts.items()}
    if len(set(shapes.values())) > 1:
        raise ValueError(f"all splits of {name} must have rows of one shape; they have {shapes}. Make them equal.")
    labels = [source.labels.reshape(-1) for source in parts.values() if source.labels is not None]
    stored = [source.values for source in parts.values() if isinstance(source.values, Shards)]
    return Source(
        name,
        _chained(stored) if stored else np.concatenate([np.asarray(source.values) for source in parts.values()]),
        np.concatenate(labels) if len(labels) == len(parts) else None,
        np.repeat(list(parts), [len(source.values) for source in parts.values()]),
        notes=(_PARTLY_LABELLED,) if 0 < len(labels) < len(parts) else (),
    )


def _read_digits(path: Path, config: DataConfig) -> Source:
    from sklearn.datasets import load_digits  # here, for importing scikit-learn takes as long as reading MNIST

    values, labels = load_digits(return_X_y=True)
    return Source("digits", np.asarray(values, np.uint8).reshape(-1, 8, 8), np.asarray(labels), levels=17)


def _read_sprites(path: Path, config: DataConfig) -> Source:
    """All sprites, or those of `sprites:N`, their labels being the shapes.

    Equal images differ in nothing but the orientation: the first is also the last, and neighbours may turn few pixels
    of a small square. All orientations of a sprite therefore share a split.
    """
    count = path.name.partition(":")[2]
    if path.name != "sprites" and not (count.isascii() and count.isdigit()):
        raise ValueError(f"sprites:N needs a whole number; got '{path.name}'. Use for example sprites:20000.")
    index = sprites.subset(int(count)) if count else np.arange(sprites.COUNT)
    classes = sprites.factors(index)
    orientation = classes[:, 2] % (sprites.FACTORS["orientation"] - 1)
    classes[:, 2] = 0
    rendered = Rendered(index, sprites.render)
    return Source(
        path.name,
        rendered if len(index) > _RENDERED_ONCE else np.asarray(rendered),
        np.array(sprites.SHAPES)[classes[:, 0]],
        levels=2,
        notes=("all orientations of a sprite of one shape, scale and position are in one split",),
        index=index,
        keys=np.stack([sprites.index_of(classes), orientation], 1),
    )


# ---- arrays: .npy, .npz, IDX

_IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_DEFLATE_RATIO = 1032  # deflate cannot pack more bytes into one
_LONGEST_HEADER = 2**16  # bytes; NumPy itself takes no more than 10,000
_LARGE = 2**30  # bytes of .npy files that stay on disk by default
_LABELS_FILE = "labels.npy"
_COPIES = 2  # of what a file holds, while it is brought into the form in which it is kept
_SMALLER = "Bring fewer rows, or as .npy files, which may stay on disk with --memory-map on."
_LONGEST_LINE = 2**26  # characters of a table
_BYTES_PER_PIXEL = 12  # four channels, or one number of 32 bits, and two copies on the way to grey or red, green, blue
_MOST_BLANK = 1000  # lines before the first of a table
_LINES_AT_ONCE = 2**14  # lines of a table between two looks at the memory
_DATA_KEYS = ("x", "X", "data", "images")
_LABEL_KEYS = ("y", "labels", "target")


def _read_npy(path: Path, config: DataConfig) -> Source:
    stored = _stays_on_disk([path], config)
    return Source(path.name, _mapped_npy(path) if stored else _loaded_npy(path))


def _read_npy_folder(folder: Path, config: DataConfig) -> Source:
    """A folder of .npy files, or train, valid and test folders of them: one array a folder, in order of the names."""
    name = _folder_name(folder)
    branches = _split_folders(folder) or {"train": folder}
    files = {part: _array_files(branch) for part, branch in branches.items()}
    if empty := next((part for part in files if not files[part]), None):
        raise ValueError(f"every split of {name} must hold .npy files; {branches[empty].name} holds none. Fill it.")
    every = [path for paths in files.values() for path in paths]
    stored = _stays_on_disk(every, config)
    arrays = {path: _mapped_npy(path) if stored else Shards((_loaded_npy(path),)) for path in every}
    _require_one_form(arrays, name)
    parts = {}
    for part, paths in files.items():
        labels = branches[part] / _LABELS_FILE
        shards = _chained(arrays[path] for path in paths)
        parts[part] = Source(
            name if len(files) == 1 else f"{name}/{branches[part].name}",
            shards if stored else np.asarray(shards),
            _loaded_npy(labels) if labels.is_file() else None,
        )
    source = parts["train"] if len(parts) == 1 else _joined(name, parts)
    found = [path for branch in branches.values() for path in branch.iterdir()]
    others = [path.name for path in found if path.suffix.lower() != ".npy" or special(path)]
    if others:
        notes = (*source.notes, f"files skipped because they are no .npy files: {len(others)}, as {min(others)}")
        return replace(source, notes=notes)
    return source


def _array_files(folder: Path) -> list[Path]:
    """The visible .npy files of a folder but for that of the labels, in order of their names."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() == ".npy" and not path.name.startswith(".") and path.name != _LABELS_FILE
        if not special(path)
    )


def _require_one_form(arrays: dict[Path, Shards], name: str) -> None:
    forms = {path: (array.shape[1:], str(array.dtype)) for path, array in arrays.items()}
    (first, form), *others = forms.items()
    for path, other in others:
        if other != form:
            raise ValueError(
                f"all .npy files of {name} must have rows of one shape and type; {first.name} has {form[0]} of"
                f" {form[1]}, {path.name} {other[0]} of {other[1]}. Move it elsewhere or convert it."
            )


def _stays_on_disk(paths: list[Path], config: DataConfig) -> bool:
    size = sum(path.stat().st_size for path in paths)
    packed = next((path.name for path in paths if path.suffix.lower() == ".gz"), None)
    if config.memory_map == "on" and packed:
        raise ValueError(f"--memory-map on needs files that are not packed; {packed} is. Unpack it with gunzip.")
    return config.memory_map == "on" or (config.memory_map == "auto" and size >= _LARGE and not packed)


def _loaded_npy(path: Path) -> np.ndarray:
    with _reading(path) as handle:
        return _npy_array(handle, path.name, _capacity(path))


def _mapped_npy(path: Path) -> Shards:
    """The array of a .npy file, left on disk: read-only, and brought to memory page by page as it is looked at."""
    with _reading(path) as handle:
        shape, fortran_order, dtype = _npy_header(handle, path.name)
        start = handle.tell()
    size, there = math.prod(shape) * dtype.itemsize, path.stat().st_size - start
    if size != there or min(shape, default=0) < 0:
        raise _damaged(path.name, f"its header promises {size} bytes of values, it holds {there}")
    if fortran_order and len(shape) > 1:
        raise ValueError(
            f"{path.name} must hold one row after another (C order) to stay on disk; it holds one column after another."
            " Save numpy.ascontiguousarray(x), or use --memory-map off."
        )
    if size == 0:
        return Shards((np.empty(shape, dtype),))
    return Shards((np.asarray(np.memmap(path, dtype, "r", start, shape)),), ((path, start),))


def _read_npz(path: Path, config: DataConfig) -> Source:
    with _reading(path) as handle, zipfile.ZipFile(handle) as archive:
        load = partial(_npz_array, archive, path.name)
        keys = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        if not keys:
            raise ValueError(
                f"{path.name} must hold NumPy arrays; it is an archive without any."
                " Save a spreadsheet as .csv, or unpack the archive."
            )
        if config.key is None and "train" in (parts := _npz_parts(path.name, keys, load)):
            return _joined(path.name, parts)
        key = config.key if config.key in keys else None if config.key else _data_key(keys)
        if key is None:
            wanted = f"an array '{config.key}'" if config.key else f"one array, or one named {', '.join(_DATA_KEYS)}"
            raise ValueError(f"{path.name} must hold {wanted}; it holds {', '.join(keys)}. Choose one with --key NAME.")
        labels = _first(_LABEL_KEYS, keys)
        return Source(path.name, load(key), load(labels) if labels else None)


def _npz_parts(name: str, keys: Sequence[str], load: Callable[[str], np.ndarray]) -> dict[str, Source]:
    """The arrays of an archive that is split already, under the names that Keras and others give them."""
    parts = {}
    for part, names in _SPLIT_NAMES.items():
        data = _first((form.format(name) for name in names for form in ("x_{}", "{}", "{}_images", "{}_data")), keys)
        labels = _first((form.format(name) for name in names for form in ("y_{}", "{}_labels")), keys)
        if data:
            parts[part] = Source(f"{name} ({data})", load(data), load(labels) if labels else None)
    return parts


def _data_key(keys: Sequence[str]) -> str | None:
    unlabelled = [key for key in keys if key not in _LABEL_KEYS]
    return unlabelled[0] if len(unlabelled) == 1 else _first(_DATA_KEYS, keys)


def _first(wanted: Iterable[str], there: Sequence[str]) -> str | None:
    return next((name for name in wanted if name in there), None)


def _npz_array(archive: zipfile.ZipFile, name: str, key: str) -> np.ndarray:
    info = archive.getinfo(f"{key}.npy")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise _damaged(name, f"'{key}' is packed in a way that NumPy does not write")
    with archive.open(info) as handle:
        return _npy_array(handle, f"{name} ({key})", info.compress_size * _DEFLATE_RATIO)


def _npy_array(handle: IO[bytes] | gzip.GzipFile, name: str, capacity: int) -> np.ndarray:
    """An array as `numpy.save` wrote it, never unpickled."""
    shape, fortran_order, dtype = _npy_header(handle, name)
    flat = _payload(handle, dtype, shape, name, capacity)
    return flat.reshape(shape, order="F" if fortran_order else "C")


class _Brief:
    """A file of which only little is read at a time: a header may promise that it is 4 GB long."""

    def __init__(self, handle: IO[bytes] | gzip.GzipFile) -> None:
        self.handle = handle

    def read(self, size: int = -1, /) -> bytes:
        if not 0 <= size <= _LONGEST_HEADER:
            raise ValueError("the header is too long")
        return self.handle.read(size)


def _npy_header(handle: IO[bytes] | gzip.GzipFile, name: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether in Fortran order, and type."""
    headers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        shape, fortran_order, dtype = headers[np.lib.format.read_magic(handle)](_Brief(handle))
    except Exception as error:  # NumPy parses the header as Python, and on damage raises what the parser raises
        raise _damaged(name, "its header is not that of a NumPy array") from error
    if dtype.hasobject:
        raise ValueError(
            f"{name} must hold numbers; it holds Python objects, which are never unpickled."
            " Save it as an array of numbers."
        )
    return shape, fortran_order, dtype


def _read_idx(path: Path, config: DataConfig) -> Source:
    return Source(path.name, _idx_array(path))


def _idx_array(path: Path) -> np.ndarray:
    with _reading(path) as handle:
        magic = handle.read(4)
        if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _IDX_TYPES or magic[3] == 0:
            raise _damaged(path.name, f"its first bytes {magic.hex(' ')} are not those of an IDX file")
        sizes = handle.read(4 * magic[3])
        if len(sizes) < 4 * magic[3]:
            raise _damaged(path.name, "its header ends too early")
        shape = tuple(np.frombuffer(sizes, ">u4").tolist())
        flat = _payload(handle, np.dtype(_IDX_TYPES[magic[2]]), shape, path.name, _capacity(path))
        return flat.reshape(shape)


def _capacity(path: Path) -> int:
    """The most bytes that a file can hold, unpacked."""
    return path.stat().st_size * (_DEFLATE_RATIO if path.suffix.lower() == ".gz" else 1)


def _payload(
    handle: IO[bytes] | gzip.GzipFile, dtype: np.dtype, shape: tuple[int, ...], name: str, capacity: int
) -> np.ndarray:
    """The values after a header, which must be exactly as many as it promises; checked before memory is taken."""
    size = math.prod(shape) * dtype.itemsize
    is_possible = dtype.itemsize > 0 and min(shape, default=0) >= 0 and max(shape, default=0) < 2**63
    if size > capacity or not is_possible:
        raise _damaged(name, f"its header promises {shape} values of {dtype}, more than it can hold")
    memory.require(_COPIES * size, name, _SMALLER)
    payload = handle.read(size + 1)  # one more, to find the end: there gzip and zip verify their checksum
    if len(payload) != size:
        came = "more" if len(payload) > size else f"only {len(payload)}"
        raise _damaged(name, f"its header promises {size} bytes of values, it holds {came}")
    return np.frombuffer(payload, dtype)


def _idx_file(folder: Path, stem: str) -> Path | None:
    names = [f"{form}-ubyte{packed}" for form in (stem, stem.replace("-idx", ".idx")) for packed in ("", ".gz")]
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _read_mnist_folder(folder: Path, config: DataConfig) -> Source:
    parts = {}
    for part, prefix in (("train", "train"), ("test", "t10k")):
        if images := _idx_file(folder, f"{prefix}-images-idx3"):
            labels = _idx_file(folder, f"{prefix}-labels-idx1")
            parts[part] = Source(images.name, _idx_array(images), _idx_array(labels) if labels else None)
    return _joined(_folder_name(folder), parts)


# ---- tables: .csv, .tsv


@dataclass(frozen=True, eq=False)
class _Table:
    """A CSV file whose header has been read."""

    columns: tuple[str, ...]
    named: bool  # in the first line
    separator: str
    rows: Iterator[list[str]]
    line: Callable[[], int]  # number of the line read last
    notes: tuple[str, ...]


def _read_csv(path: Path, config: DataConfig) -> Source:
    with _csv_table(path) as table:
        columns, name = list(table.columns), path.name
        place = None if config.label is None else _place(config.label, columns, "--label", name)
        beside = {_place(name_, columns, "--condition", name): [] for name_ in _condition_columns(config)}
        apart = sorted({*beside, *([place] if place is not None else [])}, reverse=True)
        for column in apart:
            columns.pop(column)
        may_lack_labels = bool({"label", config.label} & set(config.condition))  # which objective m2 infers
        declared = declared_kinds(config, columns, name)
        numbers, labels, marks, texts, lines = array("d"), [], set(), [], []
        for row, cells in enumerate(table.rows, 1):
            if row % _LINES_AT_ONCE == 0:
                held = row * sum(map(sys.getsizeof, cells)) if config.cells == "mixed" else 8 * len(numbers)
                memory.require(_COPIES * held, name, "Bring fewer rows, or numbers as a .npy file.")
            if len(cells) != len(table.columns):
                raise ValueError(
                    f"every line of {name}, whose separator is {table.separator!r}, must hold {len(table.columns)}"
                    f" cells; line {table.line()} holds {len(cells)}. Correct that line."
                )
            for column in apart:
                cell = cells.pop(column).strip()
                if not cell and not (column == place and may_lack_labels):
                    raise ValueError(_empty_cell(table.columns[column], table.line(), name))
                for cells_of in ([labels] if column == place else []) + ([beside[column]] if column in beside else []):
                    cells_of.append(cell)
            if config.cells == "mixed":
                texts.append([cell.strip() for cell in cells])
                lines.append(table.line())
                continue
            pointed = cells if table.separator == "," else [cell.replace(",", ".") for cell in cells]
            if config.cells == "gaps":
                pointed = ["nan" if is_missing(cell) else cell for cell in pointed]
            try:
                numbers.extend(map(float, pointed))
            except ValueError:
                raise ValueError(_bad_cell(cells, pointed, columns, table.line(), name)) from None
            if table.separator != ",":
                marks |= _decimal_marks(cells)
                if len(marks) > 1:
                    raise ValueError(
                        f"all numbers of {name} must have the same decimal mark; up to line {table.line()} there are"
                        " both '.' and ','. Write a point in all of them, and no thousands separators."
                    )
    categories: tuple[tuple[str, ...], ...] = ()
    if texts:
        cells = zip(columns, zip(*texts, strict=True), strict=True)
        typed = [_typed(column, some, lines, table, declared.get(column), name) for column, some in cells]
        values, categories = np.stack([one[0] for one in typed], 1), tuple(one[1] for one in typed)
        marks = {"," for one in typed if one[2]}
    else:
        values = np.array(numbers).reshape(-1, max(len(columns), 1))
    notes = (*table.notes, *(["decimal commas are read as points"] if "," in marks else []))
    return Source(
        name,
        _as_integers(values),
        _parsed(labels) if labels else None,
        columns=tuple(columns),
        categories=categories,
        notes=notes,
        beside={table.columns[column]: _parsed(cells) for column, cells in beside.items()},
    )


def _condition_columns(config: DataConfig) -> tuple[str, ...]:
    """The columns of a CSV file that a model is conditioned on; its label column is known without being named."""
    return tuple(name for name in config.condition if name not in ("label", config.label))


def _typed(
    column: str, cells: Sequence[str], lines: list[int], table: _Table, kind: str | None, name: str
) -> tuple[np.ndarray, tuple[str, ...], bool]:
    """A column of a mixed table: numbers, or numbers of categories and their names; whether it has decimal commas."""
    gone = [is_missing(cell) for cell in cells]
    pointed = cells if table.separator == "," else [cell.replace(",", ".") for cell in cells]
    words = [place for place, cell in enumerate(pointed) if not gone[place] and not is_number(cell)]
    is_category = kind == "category" or 2 * len(words) > len(cells) - sum(gone)
    if words and not is_category:
        raise ValueError(
            f"column {quoted(column)} of {name} must hold numbers, as most of its cells do; line {lines[words[0]]}"
            f" holds the text {quoted(cells[words[0]])}. Correct the cell, or declare the column with --categories"
            f" {quoted(column)}."
        )
    if not is_category:
        numbers = np.array([math.nan if lost else float(cell) for cell, lost in zip(pointed, gone, strict=True)])
        return numbers, (), pointed is not cells and any("," in cell for cell in cells)
    known = {cell for cell, lost in zip(cells, gone, strict=True) if not lost}
    names = sorted(sorted(known), key=float if all(map(is_number, known)) else None)
    codes = {cell: float(number) for number, cell in enumerate(names)}
    return (
        np.array([math.nan if lost else codes[cell] for cell, lost in zip(cells, gone, strict=True)]),
        tuple(names),
        False,
    )


@contextmanager
def _csv_table(path: Path) -> Iterator[_Table]:
    with _reading(path) as handle, io.TextIOWrapper(handle, "utf-8-sig", newline="") as text:
        lines = _lines(text, path.name)
        start = [next(lines, "")]
        while start[-1].isspace() and len(start) < _MOST_BLANK:
            start.append(next(lines, ""))
        separator = _separator(start[-1])
        reader = csv.reader(itertools.chain(start, lines), delimiter=separator, skipinitialspace=True)
        rows = filter(_has_content, reader)
        head = next(rows, [])
        numeric = [is_number(cell.replace(",", ".")) for cell in head]
        names = tuple(f"column {number}" for number in range(1, len(head) + 1))
        notes = ()
        if all(numeric):
            rows = itertools.chain([head] if head else [], rows)
        else:
            names = tuple(name.strip() for name in head)
            _require_names(names, path.name)
            notes = ("the first line is read as column names, although some are numbers",) if any(numeric) else ()
        yield _Table(names, not all(numeric), separator, rows, lambda: reader.line_num, notes)


def _lines(text: io.TextIOWrapper, name: str) -> Iterator[str]:
    """The lines of a table, none of them so long that it fills the memory before it is looked at."""
    while line := text.readline(_LONGEST_LINE):
        if len(line) == _LONGEST_LINE:
            raise ValueError(
                f"every line of {name} must have fewer than {_LONGEST_LINE:,} characters; one has more. Check that it"
                " is a table."
            )
        yield line


def _separator(line: str) -> str:
    """Tab, semicolon or comma, the first that is there: where cells are not separated by commas, numbers may hold them.

    Neither what is quoted counts, nor space after a comma.
    """
    plain = re.sub(r'"[^"]*"|(?<=,)\s+', "", line)
    return next((mark for mark in "\t;" if mark in plain), ",")


def _has_content(cells: list[str]) -> bool:
    return any(map(str.strip, cells))


def _require_names(names: tuple[str, ...], file: str) -> None:
    if "" in names:
        raise ValueError(
            f"the first line of {file} must name every column; column {names.index('') + 1} has no name."
            " Name it, or delete it if it only numbers the rows (in pandas: to_csv(index=False))."
        )
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"columns of {file} must have different names; {quoted(twice)} stands twice. Rename one.")


def _place(column: str, columns: list[str], option: str, name: str) -> int:
    if column not in columns:
        near = difflib.get_close_matches(column, columns, 1) or columns
        raise ValueError(
            f"{option} must name a column of {name}; it has no {quoted(column)}. Did you mean {quoted(near[0])}?"
        )
    return columns.index(column)


def _decimal_marks(cells: list[str]) -> set[str]:
    text = "".join(cells)
    return {mark for mark in ",." if mark in text}


def _bad_cell(cells: list[str], pointed: list[str], columns: list[str], line: int, name: str) -> str:
    """What is wrong with the first cell that is no number."""
    place = next(place for place, cell in enumerate(pointed) if not is_number(cell))
    cell, column = cells[place].strip(), columns[place]
    if not cell:
        return _empty_cell(column, line, name)
    if "," in cell and is_number(cell.replace(",", "").replace(".", "")):
        remedy = "Write a point as decimal mark, and no thousands separators."
    else:
        remedy = (
            "Correct the cell, delete the column if it only names the rows,"
            f" train with --label {quoted(column)} if it holds labels, or use --likelihood mixed, which takes text."
        )
    return (
        f"every cell of {name} must be a number; column {quoted(column)} in line {line} holds the text {quoted(cell)}."
        f" {remedy}"
    )


def _empty_cell(column: str, line: int, name: str) -> str:
    return (
        f"every cell of {name} must hold a value; column {quoted(column)} in line {line} is empty."
        " Fill it in, delete the line, or use --likelihood mixed or --cells gaps, which take gaps."
    )


def is_number(cell: str) -> bool:
    """Whether the text of a cell reads as a number.

    Example:
        >>> is_number("1.5"), is_number("1,5")
        (True, False)
    """
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _as_integers(values: np.ndarray) -> np.ndarray:
    """Whole numbers as integers, so that the pixels of a CSV file are treated as pixels."""
    is_whole = np.array_equal(values, np.rint(values)) and np.abs(values).max(initial=0) < 2**53
    return values.astype(np.int64) if is_whole else values


def _parsed(labels: list[str]) -> np.ndarray:
    """Numbers where all labels that there are are numbers, else text; a label that is not there is NaN or empty."""
    if all(is_number(label) for label in labels if label):
        return np.array([label or "nan" for label in labels], dtype=float)
    return np.array(labels)


# ---- images


def _read_image(path: Path, config: DataConfig) -> Source:
    pixels, notes = _pixels([path], config)
    return Source(path.name, pixels, notes=notes)


def _read_image_folder(folder: Path, config: DataConfig) -> Source:
    name = _folder_name(folder)
    skipped: list[str] = []
    own: list[str] = []
    found: list[tuple[Path, str]] = []  # image, label
    for part, branch in (_split_folders(folder) or {"train": folder}).items():
        images = _labelled_images(branch, skipped)
        own += [part] * len(images)
        found += images
    if not found:
        raise ValueError(
            f"folder {name} must hold images, in it or in one sub-folder a label; none is there."
            f" Known suffixes: {', '.join(_IMAGE_SUFFIXES)}."
        )
    pixels, notes = _pixels([path for path, _ in found], config)
    if skipped:
        notes += (f"files skipped because they are hidden or no images: {len(skipped)}, as {skipped[0]}",)
    labels = np.array([label for _, label in found])
    if any(labels) and not all(labels):
        notes += (_PARTLY_LABELLED,)
    return Source(name, pixels, labels if all(labels) else None, np.array(own), notes=notes)


def _split_folders(folder: Path) -> dict[str, Path]:
    """The sub-folders of a folder that is split already: nothing but train, and valid or test or both."""
    known = {name: part for part, names in _SPLIT_NAMES.items() for name in names}
    _, branches = _listed(folder, [])
    parts = {known.get(branch.name.lower(), ""): branch for branch in branches}
    is_split = "train" in parts and "" not in parts and 1 < len(branches) == len(parts)
    return parts if is_split else {}


def _listed(folder: Path, skipped: list[str]) -> tuple[list[Path], list[Path]]:
    """The images and the visible sub-folders in a folder, in order; names of other files are added to `skipped`.

    So are pipes and the like, and links back to the folder or to one above it, in which one would go round in circles.
    """
    images, folders = [], []
    for item in sorted(folder.iterdir()):
        is_folder = item.is_dir()
        if is_folder and item.is_symlink() and folder.resolve().is_relative_to(item.resolve()):
            skipped.append(item.name)
        elif is_folder and not item.name.startswith("."):
            folders.append(item)
        elif not is_folder and _is_image(item) and not special(item):
            images.append(item)
        elif not is_folder:
            skipped.append(item.name)
    return images, folders


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in _IMAGE_SUFFIXES and not path.name.startswith(".")


def _labelled_images(folder: Path, skipped: list[str]) -> list[tuple[Path, str]]:
    """Images of a folder with the name of their sub-folder, or with "" where there are no sub-folders."""
    top, branches = _listed(folder, skipped)
    below: list[tuple[Path, str]] = []
    for branch in branches:
        images, folders = _listed(branch, skipped)
        below += [(path, branch.name) for path in images]
        if deep := next((path for inner in folders for path in inner.rglob("*") if _is_image(path)), None):
            raise ValueError(
                f"images must lie at most one sub-folder deep, the sub-folder being the label; {_folder_name(folder)}"
                f" holds {deep.relative_to(folder)}. Move the images up, or name the folder further down."
            )
    if top and below:
        raise ValueError(
            f"images must all be in sub-folders, one a label, or none; {_folder_name(folder)} holds {top[0].name}"
            f" beside the sub-folder {below[0][1]}. Move them."
        )
    return [(path, "") for path in top] or below


def _pixels(paths: list[Path], config: DataConfig) -> tuple[np.ndarray, tuple[str, ...]]:
    """All images in one array, (N, C, H, W) uint8, each decoded once; and what a reader should know."""
    mode = {"grey": "L", "rgb": "RGB", "auto": None}[config.channels] or _common_mode(paths)
    pixels = np.empty(0, np.uint8)
    animated: list[str] = []
    for row, path in enumerate(paths):
        image = _decoded(path, mode, config.image_size, animated)  # (H, W, C)
        if row == 0:
            needed = _COPIES * len(paths) * image.size
            memory.require(needed, f"the {len(paths):,} images", "Use a smaller --image-size, or fewer images.")
            pixels = np.empty((len(paths), *image.shape), np.uint8)
        if image.shape != pixels.shape[1:]:
            (height, width), (other_height, other_width) = pixels.shape[1:3], image.shape[:2]
            raise ValueError(
                f"images must have one size; {_short(paths[0])} is {height} high and {width} wide, {_short(path)}"
                f" {other_height} and {other_width}. Use --image-size {height} {width}."
            )
        pixels[row] = image
    notes = tuple(f"images of which only the first frame is read: {len(animated)}, as {name}" for name in animated[:1])
    return np.moveaxis(pixels, 3, 1), notes  # (N, H, W, C) -> (N, C, H, W)


def _short(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


@contextmanager
def _opened_image(path: Path) -> Iterator[Image.Image]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # what it needs is asked for below
            image = Image.open(path)
    except Image.DecompressionBombError as error:
        raise ValueError(
            f"an image must have at most {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels; {_short(path)} promises more."
            " Make it smaller, or delete it."
        ) from error
    except Exception as error:
        raise _no_image(path, error) from error
    with image:
        memory.require(_BYTES_PER_PIXEL * image.width * image.height, _short(path), "Make it smaller, or delete it.")
        try:
            yield image
        except Exception as error:  # on a damaged file Pillow's decoders raise nearly anything
            raise _no_image(path, error) from error


def _no_image(path: Path, error: Exception) -> ValueError:
    return ValueError(
        f"{_short(path)} must be an image; Pillow cannot read it ({type(error).__name__}). Delete it or save it again."
    )


def _common_mode(paths: list[Path]) -> str:
    for path in paths:
        with _opened_image(path) as image:
            if not _is_grey(image):
                return "RGB"
    return "L"


def _is_grey(image: Image.Image) -> bool:
    palette = image.getpalette() if image.mode == "P" else None  # red, green, blue, red, ...
    is_grey_palette = palette is not None and palette[::3] == palette[1::3] == palette[2::3]
    return is_grey_palette or image.mode in ("1", "L", "LA", "La", "F") or image.mode.startswith("I")


def _decoded(path: Path, mode: str, size: tuple[int, int] | None, animated: list[str]) -> np.ndarray:
    """One image, (H, W, C) uint8: upright, 8-bit, on white, in the given mode and size."""
    with _opened_image(path) as image:
        upright = ImageOps.exif_transpose(image)
        if getattr(image, "is_animated", False) and image.format != "MPO":  # a camera's JPEG with its own thumbnail
            animated.append(_short(path))
    if upright.mode == "F" or upright.mode.startswith("I"):
        upright = Image.fromarray(_as_bytes(np.asarray(upright), path))
    if upright.has_transparency_data:
        upright = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright)
    flat = upright.convert(mode)
    if size is not None and (flat.height, flat.width) != size:
        flat = flat.resize((size[1], size[0]), Image.Resampling.BICUBIC)  # antialiased when it shrinks
    return np.asarray(flat).reshape(flat.height, flat.width, len(mode))


def _as_bytes(values: np.ndarray, path: Path) -> np.ndarray:
    """16 bits as 8: 65,535 is white; Pillow's own conversion would clip at 255."""
    if values.dtype.kind == "f" or values.min() < 0 or values.max() > 65535:
        raise ValueError(
            f"images must have 8 or 16 bits a channel; {_short(path)} holds {values.dtype} values from"
            f" {values.min():.7g} to {values.max():.7g}. Save the images as one .npy array (N, H, W)."
        )
    return (values / 257).round().astype(np.uint8)


_TABLES = ("csv", "npy", "npy folder", "npz", "array")  # or arrays of images, which data.py tells apart
_OPTIONS = {  # field of DataConfig: the formats it applies to, what it does, and to what
    "key": (("npz",), "chooses an array of", "an .npz file"),
    "label": (("csv",), "names the label column of", "a CSV file"),
    "categories": (_TABLES, "names columns of", "a table"),
    "counts": (_TABLES, "names columns of", "a table"),
    "reals": (_TABLES, "names columns of", "a table"),
    "image_size": (("image", "image folder"), "resizes", "a folder of image files"),
    "memory_map": (("npy", "npy folder"), "says whether to leave on disk", "a .npy file or a folder of them"),
    "channels": (("image", "image folder"), "sets the colours of", "a folder of image files"),
}
_ENDINGS: dict[Format, tuple[str, ...]] = {
    "npy": (".npy",),
    "npz": (".npz",),
    "csv": (".csv", ".tsv"),
    "idx": (".idx", "-ubyte"),
    "image": _IMAGE_SUFFIXES,
}
_READERS: dict[Format, Callable[[Path, DataConfig], Source]] = {
    "digits": _read_digits,
    "sprites": _read_sprites,
    "npy": _read_npy,
    "npy folder": _read_npy_folder,
    "npz": _read_npz,
    "idx": _read_idx,
    "csv": _read_csv,
    "image": _read_image,
    "image folder": _read_image_folder,
    "MNIST folder": _read_mnist_folder,
}
