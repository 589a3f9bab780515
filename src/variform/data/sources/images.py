"""Images: files and folders."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from variform.config.data import DataConfig
from variform.config.words import counted, listed, quoted
from variform.data.sources.decoding import Frame, Picture, decoded, frames_of, quiet
from variform.data.sources.folders import (
    IMAGE_SUFFIXES,
    PARTLY_LABELLED,
    folder_name,
    holds_data,
    images_and_folders,
    is_image,
    parts_of,
)
from variform.data.sources.opening import COPIES
from variform.data.sources.source import Source
from variform.system import memory


def read_image(path: Path, config: DataConfig) -> Source:
    """One image file: a row, or one for each of its frames."""
    return _source(path.name, [_File(path, path.name)], config)


def read_image_folder(folder: Path, config: DataConfig) -> Source:
    """The images of a folder, in folders by part and by label where it has them."""
    name = folder_name(folder)
    skipped: list[str] = []
    files: list[_File] = []
    parts = parts_of(folder)
    notes = list(parts.notes)
    for part, branch in parts.folders.items():
        for path, label in _labelled_images(branch, skipped):
            files.append(_File(path, path.relative_to(folder).as_posix(), label, part))
    if not files:
        raise ValueError(
            f"folder {name} must hold images, in it or in one sub-folder a label; none is there."
            f" Known suffixes: {', '.join(IMAGE_SUFFIXES)}."
        )
    if skipped:
        notes.append(
            f"files skipped because they are hidden or no images: {len(skipped)}, as {skipped[0]}"
        )
    labels = sorted({file.label for file in files})
    if "" in labels and len(labels) > 1:
        notes.append(PARTLY_LABELLED)
    elif "" not in labels and config.label is None:  # which a table about the images has
        notes.append(f"labels are the names of the sub-folders: {listed(labels)}")
    notes += _order_in_words([file.name for file in files])
    return _source(name, files, config, tuple(notes))


def _labelled_images(folder: Path, skipped: list[str]) -> list[tuple[Path, str]]:
    """Images of a folder with the name of their sub-folder, or with "" where there are no sub-folders."""
    top, branches = images_and_folders(folder, skipped)
    below: list[tuple[Path, str]] = []
    for branch in filter(holds_data, branches):
        images, folders = images_and_folders(branch, skipped)
        below += [(path, branch.name) for path in images]
        if deep := next(
            (path for inner in folders for path in inner.rglob("*") if is_image(path)), None
        ):
            raise ValueError(
                f"images must lie at most one sub-folder deep, the sub-folder being the label; {folder_name(folder)}"
                f" holds {deep.relative_to(folder)}. Move the images up, or name the folder further down."
            )
    if top and below:
        raise ValueError(
            f"images must all be in sub-folders, one a label, or none; {folder_name(folder)} holds {top[0].name}"
            f" beside the sub-folder {below[0][1]}. Move them."
        )
    return [(path, "") for path in top] or below


def _order_in_words(names: Sequence[str]) -> Iterator[str]:
    """A note where the numbers in the names are not in order."""
    by_number = sorted(names, key=_numbers_as_such)
    if by_number == sorted(names):
        return
    first, second = next(
        (one, other) for one, other in zip(sorted(names), by_number, strict=True) if one != other
    )
    yield f"rows are in the order of their names as text, in which {first} comes before {second}"


def _numbers_as_such(name: str) -> list[tuple[int, str]]:
    """What sorts names by the numbers in them."""
    parts = re.split(r"(\d+)", name)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


@dataclass(frozen=True)
class _File:
    """A file of images, what a user calls it, and what the folder that it lies in says of it."""

    path: Path
    name: str
    label: str = ""
    part: str = "train"


@quiet()
def _source(
    name: str, files: Sequence[_File], config: DataConfig, notes: tuple[str, ...] = ()
) -> Source:
    """A row for each image of the files, decoded once, all in one form: (N, C, H, W)."""
    frames: list[Frame] = []
    others: list[str] = []
    rows_of: list[_File] = []  # the file of each row
    for file in files:
        taken, left = frames_of(file.path, file.name, config)
        frames += taken
        rows_of += [file] * len(taken)
        if left:
            others.append(file.name)
    _require_one_depth(name, frames)
    if config.image_size is None:
        _require_one_size(name, frames)
    is_grey = all(frame.is_grey for frame in frames)
    if config.channels != "auto":
        is_grey = config.channels == "grey"

    pixels = np.empty(0)
    transparent: list[str] = []
    printed: list[str] = []
    for row, frame in enumerate(frames):
        picture = decoded(frame, 1 if is_grey else 3, config)
        if row == 0:
            pixels = _space(frames, picture)
        if picture.pixels.shape != pixels.shape[1:]:  # a header told another size
            height, width = pixels.shape[1:3]
            raise ValueError(
                f"images must have one size; {frames[0].name} is {height} high and {width} wide, {frame.name} is not."
                f" Use `image_size=[{height}, {width}]`."
            )
        pixels[row] = picture.pixels
        if picture.is_transparent:
            transparent.append(frame.name)
        if picture.is_cmyk:
            printed.append(frame.name)

    notes += (
        *_frames_in_words(frames, others),
        *_colours_in_words(frames, config, transparent, printed),
        *_sizes_in_words(frames, config),
    )
    if frames[0].depth != "8-bit":
        low, high = pixels.min(), pixels.max()
        notes += (
            f"{frames[0].depth} images: the values of the files are kept, here from {low:.7g} to {high:.7g}",
        )
    labels = np.array([file.label for file in rows_of])
    families = np.array([frame.family for frame in frames])
    return Source(
        name,
        np.moveaxis(pixels, 3, 1),  # (N, H, W, C) -> (N, C, H, W)
        labels if all(labels) else None,
        np.array([file.part for file in rows_of]),
        notes=notes,
        names=np.array([frame.name for frame in frames]),
        families=families if any(families) else None,
        are_pictures=True,
    )


def _space(frames: Sequence[Frame], first: Picture) -> np.ndarray:
    """Room for all images in the form of the first, after a look at the memory that there is."""
    needed = COPIES * len(frames) * first.pixels.nbytes
    memory.require(
        needed, f"the {len(frames):,} images", "Use a smaller `image_size`, or fewer images."
    )
    return np.empty((len(frames), *first.pixels.shape), first.pixels.dtype)


def _by(shape: Sequence[int]) -> str:
    """Height and width in words."""
    return f"{shape[0]} high and {shape[1]} wide"


def _require_one_depth(name: str, frames: Sequence[Frame]) -> None:
    depths = Counter(frame.depth for frame in frames)
    if len(depths) == 1:
        return
    first = {frame.depth: frame.name for frame in reversed(frames)}
    groups = [
        f"{count:,} {depth} ones, as {quoted(first[depth])}"
        for depth, count in depths.most_common()
    ]
    raise ValueError(
        f"images must hold numbers of one depth; {name} has {' and '.join(groups)}. Save them alike, or all as one"
        " .npy array."
    )


def _require_one_size(name: str, frames: Sequence[Frame]) -> None:
    sizes = Counter(frame.size for frame in frames)
    if len(sizes) == 1:
        return
    first = {frame.size: frame.name for frame in reversed(frames)}
    common = sizes.most_common()
    groups = [f"{count:,} are {_by(size)}, as {quoted(first[size])}" for size, count in common[:3]]
    if len(common) > 3:
        rest = sum(count for _, count in common[3:])
        groups.append(f"{rest:,} are of {counted(len(common) - 3, 'other size')}")
    remedy = f"Use `image_size={list(common[0][0])}`"
    if any(frame.of > 1 for frame in frames):
        remedy += ", or `frames='first'` to take one image of each file"
    raise ValueError(
        f"images must have one size; of the {len(frames):,} of {name}, {'; '.join(groups)}. {remedy}."
    )


def _frames_in_words(frames: Sequence[Frame], others: Sequence[str]) -> Iterator[str]:
    """Notes on files that hold several images."""
    several = [frame for frame in frames if frame.of > 1 and frame.number == 0]
    if several:
        one = several[0]
        yield (
            f"files that hold several images: {len(several):,}, as {quoted(one.family)} of {one.of:,} frames; each"
            " frame is a row. Use `frames='first'` to take one image of each file"
        )
    if others:
        count = len(others)
        yield f"files of which the first image alone is read, by `frames='first'`: {count:,}, as {quoted(others[0])}"


def _colours_in_words(
    frames: Sequence[Frame], config: DataConfig, transparent: Sequence[str], printed: Sequence[str]
) -> Iterator[str]:
    """Notes on what becomes of colours and of alpha."""
    coloured = [frame.name for frame in frames if not frame.is_grey]
    if config.channels == "auto" and 0 < len(coloured) < len(frames):
        yield (
            f"images in colour: {len(coloured):,} of {len(frames):,}, as {quoted(coloured[0])}; all are read as RGB."
            " Use `channels='grey'` for grey"
        )
    if printed:
        yield f"images in CMYK: {len(printed):,}, as {quoted(printed[0])}; they are read as RGB without a profile"
    if transparent:
        done = (
            "alpha is ignored. Use `background='white'` to put them on white"
            if config.background == "ignore"
            else f"they are put on {config.background}. Use `background='ignore'` for their colours as they stand"
        )
        yield f"images that are transparent in places: {len(transparent):,}, as {quoted(transparent[0])}; {done}"


def _sizes_in_words(frames: Sequence[Frame], config: DataConfig) -> Iterator[str]:
    """A note on images whose proportions change."""
    if config.image_size is None:
        return
    height, width = config.image_size
    squeezed = [
        frame
        for frame in frames
        if abs(frame.size[0] * width / (frame.size[1] * height) - 1) > 0.02
    ]
    if squeezed:
        one = squeezed[0]
        yield (
            f"images whose proportions change by `image_size={list(config.image_size)}`: {len(squeezed):,} of"
            f" {len(frames):,}, as {quoted(one.name)}, {_by(one.size)}"
        )
