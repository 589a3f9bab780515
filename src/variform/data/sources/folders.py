"""What the readers of folders share: parts of a split, and images."""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from variform.data.sources.source import Shards, Source
from variform.system.files import special

SPLIT_NAMES = {"train": ("train",), "valid": ("valid", "val", "validation"), "test": ("test",)}
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
PARTLY_LABELLED = "labels are left out: not every split has them"


def folder_name(folder: Path) -> str:
    """The name of a folder for messages, of "." too."""
    # `resolve` would name the target of a link, and `folder.name` does not know ".".
    return os.path.basename(os.path.abspath(folder))


def chained(several: Iterable[Shards]) -> Shards:
    """Several arrays on disk as one."""
    parts, files = [], []
    for shards in several:
        parts += shards.parts
        files += shards.files
    return Shards(tuple(parts), tuple(files))


def joined(name: str, parts: dict[str, Source]) -> Source:
    """One source from the parts of data that come split."""
    shapes = {part: source.values.shape[1:] for part, source in parts.items()}
    if len(set(shapes.values())) > 1:
        raise ValueError(
            f"all splits of {name} must have rows of one shape; they have {shapes}. Make them equal."
        )
    sources = parts.values()
    split = np.repeat(list(parts), [len(source.values) for source in sources])
    labelled = [source.labels.reshape(-1) for source in sources if source.labels is not None]
    labels, notes = None, ()
    if len(labelled) == len(parts):
        labels = np.concatenate(labelled)
    elif labelled:
        notes = (PARTLY_LABELLED,)
    return Source(name, _all_values(sources), labels, split, notes=notes)


def _all_values(sources: Iterable[Source]) -> np.ndarray | Shards:
    """The values of several sources, which are all on disk or none."""
    values = [source.values for source in sources]
    stored = [part for part in values if isinstance(part, Shards)]
    if stored:
        return chained(stored)
    return np.concatenate([np.asarray(part) for part in values])


def split_folders(folder: Path) -> dict[str, Path]:
    """The sub-folders of a folder that is split already: nothing but train, and valid or test or both."""
    _, branches = images_and_folders(folder, [])
    parts = {_part_named(branch.name): branch for branch in branches}
    is_split = "train" in parts and "" not in parts and 1 < len(branches) == len(parts)
    return parts if is_split else {}


def _part_named(name: str) -> str:
    """The part of a split that a folder is for; empty for any other folder."""
    for part, names in SPLIT_NAMES.items():
        if name.lower() in names:
            return part
    return ""


def images_and_folders(folder: Path, skipped: list[str]) -> tuple[list[Path], list[Path]]:
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
        elif not is_folder and is_image(item) and not special(item):
            images.append(item)
        elif not is_folder:
            skipped.append(item.name)
    return images, folders


def is_image(path: Path) -> bool:
    """Whether a file is an image by its name."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
