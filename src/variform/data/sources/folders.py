"""What the readers of folders share: parts of a split, and images."""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from variform.config.words import listed
from variform.data.sources.source import Shards, Source
from variform.system.files import special

SPLIT_NAMES = {
    "train": ("train", "training"),
    "valid": ("valid", "val", "validation", "dev"),
    "test": ("test", "testing"),
}
IMAGE_SUFFIXES = (".png", ".apng", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
_JUNK = ("__macosx", "@eadir", "__pycache__", "$recycle.bin", "lost+found")  # made by machines
_DEEPEST = (
    3  # folders below a folder in which its data are looked for: a split, a label, and one too many
)
_AFFIX = r"(images?|imgs?|data|set|split|\d{4})"  # as in train_images, Test Set, val2017
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


@dataclass(frozen=True)
class Parts:
    """Where the data of a folder lie.

    Args:
        folders: The folder of each part of the split; `train` alone, the folder itself, where it does not come split.
        is_split: Whether it comes split.
        notes: What was left out, and why.
    """

    folders: dict[str, Path]
    is_split: bool
    notes: tuple[str, ...] = ()


def parts_of(folder: Path) -> Parts:
    """The parts of a folder that is split already: train beside valid or test or both, whatever else lies there.

    Raises:
        ValueError: where two folders are for one part, or none for training.
    """
    top, branches = images_and_folders(folder, [])
    filled = [branch for branch in branches if holds_data(branch)]
    by_part: dict[str, list[Path]] = {}
    for branch in branches:
        if part := part_named(branch.name):
            by_part.setdefault(part, []).append(branch)
    own = {part: [item for item in items if item in filled] for part, items in by_part.items()}
    own = {part: items for part, items in own.items() if items}
    others = [branch for branch in filled if not part_named(branch.name)]
    left_out = _left_out(folder, [branch for branch in branches if branch not in filled])
    has_split = len(own) > 1 or (bool(own) and len(by_part) > 1)
    is_alone = list(own) == ["train"] and not others and not top
    if has_split or is_alone:
        _require_parts(folder, own, [item for items in by_part.values() for item in items])
        parts = {part: items[0] for part, items in own.items()}
        return Parts(parts, True, (*left_out, *_beside(top, others, list(parts.values()))))
    if len(filled) == 1 and not top and (inner := parts_of(filled[0])).is_split:
        return Parts(inner.folders, True, (*left_out, *inner.notes))
    return Parts({"train": folder}, False, left_out)


def _require_parts(folder: Path, own: dict[str, list[Path]], named: Sequence[Path]) -> None:
    """Refuse two folders for one part, none for training, and one that holds something, but no data."""
    rule = f"folder {folder_name(folder)} must hold one folder a part of its split"
    names = [item.name for items in own.values() for item in items]
    for item in named:
        if item.name not in names and not all(_is_junk(path.name) for path in item.iterdir()):
            raise ValueError(
                f"{rule}, with images or .npy files in it; {item.name} holds none beside {', '.join(names)}. Fill or"
                " delete it."
            )
    for part, items in own.items():
        if len(items) > 1:
            both = " and ".join(item.name for item in items)
            raise ValueError(f"{rule}; {both} are both for {part}. Rename or merge them.")
    if "train" not in own:
        raise ValueError(
            f"{rule}, train among them with data in it; it has {', '.join(names)}. Add train, or name one of them."
        )


def _left_out(folder: Path, empty: Sequence[Path]) -> tuple[str, ...]:
    """A note on folders that are not looked into, or hold nothing that can be read."""
    with os.scandir(folder) as items:
        junk = [item.name for item in items if _is_junk(item.name) and Path(item.path).is_dir()]
    names = sorted([*junk, *(item.name for item in empty)])
    return (f"folders left out because they hold no data: {listed(names)}",) if names else ()


def _beside(top: Sequence[Path], others: Sequence[Path], parts: Sequence[Path]) -> tuple[str, ...]:
    """A note on data beside the folders of a split."""
    names = [*(f"folder {item.name}" for item in others), *(item.name for item in top)]
    if not names:
        return ()
    folders = ", ".join(item.name for item in parts)
    return (
        f"left out because they lie beside the split's own folders {folders}: {listed(names)};"
        " move them into one of these to read them",
    )


def _is_junk(name: str) -> bool:
    return name.startswith(".") or name.lower() in _JUNK


def holds_data(folder: Path, depth: int = _DEEPEST) -> bool:
    """Whether a visible image or .npy file lies in a folder, or not too deep below it."""
    below = []
    with os.scandir(folder) as items:
        for item in items:
            if _is_junk(item.name):
                continue
            if item.is_dir(follow_symlinks=False) or (
                item.is_symlink() and Path(item.path).is_dir()
            ):
                below.append(Path(item.path))
            elif Path(item.name).suffix.lower() in (*IMAGE_SUFFIXES, ".npy"):
                return True
    return depth > 0 and any(
        holds_data(inner, depth - 1) for inner in below if not _leads_up(inner, folder)
    )


def _leads_up(item: Path, folder: Path) -> bool:
    """Whether an item of a folder is a link back to that folder, or to one above it."""
    return item.is_symlink() and folder.resolve().is_relative_to(item.resolve())


def part_named(name: str) -> str:
    """The part of a split that a folder or a file of this name is for; empty for any other.

    Example:
        >>> part_named("Test Set"), part_named("val2017"), part_named("trains")
        ('test', 'valid', '')
    """
    for part, names in SPLIT_NAMES.items():
        words = "|".join(names)
        pattern = rf"({_AFFIX}[ _-]?)?({words})([ _-]?{_AFFIX})?"
        if re.fullmatch(pattern, name.strip(), re.IGNORECASE):
            return part
    return ""


def images_and_folders(folder: Path, skipped: list[str]) -> tuple[list[Path], list[Path]]:
    """The images and the visible sub-folders in a folder, in order; names of other files are added to `skipped`.

    So are pipes and the like, and links back to the folder or to one above it, in which one would go round in circles.
    Folders that machines add, such as __MACOSX, are hidden ones.
    """
    images, folders = [], []
    with os.scandir(folder) as items:
        entries = sorted(items, key=lambda item: item.name)
    for entry in entries:
        item = folder / entry.name
        is_plain = entry.is_file(follow_symlinks=False)
        is_folder = not is_plain and item.is_dir()
        if is_folder and _leads_up(item, folder):
            skipped.append(item.name)
        elif is_folder and not _is_junk(item.name):
            folders.append(item)
        elif not is_folder and is_image(item) and (is_plain or not special(item)):
            images.append(item)
        elif not is_folder:
            skipped.append(item.name)
    return images, folders


def is_image(path: Path) -> bool:
    """Whether a file is an image by its name."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
