"""Which reader a source wants, and which options it takes."""

import difflib
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from variform.config.checks import checked
from variform.config.data import DataConfig
from variform.config.words import quoted
from variform.data.sources.arrays import (
    IDX_TYPES,
    array_files,
    idx_file,
    read_idx,
    read_mnist_folder,
    read_npy,
    read_npy_folder,
    read_npz,
)
from variform.data.sources.builtin import BUILT_IN, read_digits, read_sprites
from variform.data.sources.folders import IMAGE_SUFFIXES, images_and_folders, split_folders
from variform.data.sources.images import read_image, read_image_folder
from variform.data.sources.opening import reading, require_file
from variform.data.sources.source import Source
from variform.data.sources.tables import read_csv
from variform.system.files import expanded

Format = Literal["digits", "sprites", "npy", "npy folder", "npz", "idx", "csv", "image", "image folder", "MNIST folder"]

_DEFAULTS = DataConfig()


def read_source(source: str | Path, config: DataConfig = _DEFAULTS) -> Source:
    """Read the rows and labels that `source` names, as they stand there.

    Args:
        source: A file, a folder or a built-in name, as `variform.data.reading.read` takes.
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
    require_file(path)
    if path.stat().st_size == 0:
        raise ValueError(f"{path.name} must hold data; it is empty (0 bytes). Copy or download it again.")
    name = path.name.lower().removesuffix(".gz")
    return next((kind for kind, endings in _ENDINGS.items() if name.endswith(endings)), None) or _format_by_magic(path)


def _folder_format(folder: Path) -> Format:
    if idx_file(folder, "train-images-idx3"):
        return "MNIST folder"
    images, folders = images_and_folders(first := split_folders(folder).get("train", folder), [])
    return "npy folder" if array_files(first) and not images and not folders else "image folder"


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
        ValueError: `label` names the label column of a CSV file; designs.npy is not a CSV file. Leave `label` out.
    """
    for field, (kinds, purpose, place) in _OPTIONS.items():
        if getattr(config, field) != getattr(_DEFAULTS, field) and kind not in kinds:
            raise ValueError(f"`{field}` {purpose} {place}; {name} is not {place}. Leave `{field}` out.")
    if kind != "csv" and (odd := [column for column in config.condition if column != "label"]):
        raise ValueError(
            f"`condition` names 'label', or columns of a CSV file; {name} is not a CSV file, and got {odd[0]}. "
            "Use `condition=['label']` where there are labels."
        )


def _not_there(path: Path) -> str:
    if path.is_symlink():
        return f"the source must exist; {path} is a link to what does not. Copy the data, or mend the link."
    neighbours = [item.name for item in path.parent.iterdir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, [*BUILT_IN, *neighbours], 1)
    remedy = f"Did you mean {quoted(near[0])}?" if near else f"Built-in names: {', '.join(BUILT_IN)}."
    return f"the source must be a file, a folder or a built-in name; {path} does not exist. {remedy}"


def _format_by_magic(path: Path) -> Format:
    with reading(path) as handle:
        head = handle.read(6)
    if head == b"\x93NUMPY":
        return "npy"
    if head.startswith(b"PK\3\4"):
        return "npz"
    if head[:2] == b"\0\0" and len(head) > 2 and head[2] in IDX_TYPES:
        return "idx"
    raise ValueError(
        f"{path.name} must be of a known format; neither its name nor its first bytes are."
        " Use .npy, .npz, .csv, .tsv, .idx, an image, or a folder of images or of .npy files."
    )


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
    "image": IMAGE_SUFFIXES,
}
_READERS: dict[Format, Callable[[Path, DataConfig], Source]] = {
    "digits": read_digits,
    "sprites": read_sprites,
    "npy": read_npy,
    "npy folder": read_npy_folder,
    "npz": read_npz,
    "idx": read_idx,
    "csv": read_csv,
    "image": read_image,
    "image folder": read_image_folder,
    "MNIST folder": read_mnist_folder,
}
