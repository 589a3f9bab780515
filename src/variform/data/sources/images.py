"""Images: files and folders."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from variform.config.data import DataConfig
from variform.data.sources.folders import (
    IMAGE_SUFFIXES,
    PARTLY_LABELLED,
    folder_name,
    images_and_folders,
    is_image,
    split_folders,
)
from variform.data.sources.opening import COPIES
from variform.data.sources.source import Source
from variform.system import memory

_BYTES_PER_PIXEL = 12  # four channels, or one number of 32 bits, and two copies on the way to grey or red, green, blue


def read_image(path: Path, config: DataConfig) -> Source:
    """One image: a single row."""
    pixels, notes = _pixels([path], config)
    return Source(path.name, pixels, notes=notes)


def read_image_folder(folder: Path, config: DataConfig) -> Source:
    """The images of a folder, in folders by part and by label where it has them."""
    name = folder_name(folder)
    skipped: list[str] = []
    own: list[str] = []
    labelled_paths: list[tuple[Path, str]] = []  # image, label
    for part, branch in (split_folders(folder) or {"train": folder}).items():
        images = _labelled_images(branch, skipped)
        own += [part] * len(images)
        labelled_paths += images
    if not labelled_paths:
        raise ValueError(
            f"folder {name} must hold images, in it or in one sub-folder a label; none is there."
            f" Known suffixes: {', '.join(IMAGE_SUFFIXES)}."
        )
    pixels, notes = _pixels([path for path, _ in labelled_paths], config)
    if skipped:
        notes += (
            f"files skipped because they are hidden or no images: {len(skipped)}, as {skipped[0]}",
        )
    labels = np.array([label for _, label in labelled_paths])
    if any(labels) and not all(labels):
        notes += (PARTLY_LABELLED,)
    return Source(name, pixels, labels if all(labels) else None, np.array(own), notes=notes)


def _labelled_images(folder: Path, skipped: list[str]) -> list[tuple[Path, str]]:
    """Images of a folder with the name of their sub-folder, or with "" where there are no sub-folders."""
    top, branches = images_and_folders(folder, skipped)
    below: list[tuple[Path, str]] = []
    for branch in branches:
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


def _pixels(paths: list[Path], config: DataConfig) -> tuple[np.ndarray, tuple[str, ...]]:
    """All images in one array, (N, C, H, W) uint8, each decoded once; and what a reader should know."""
    mode = {"grey": "L", "rgb": "RGB", "auto": None}[config.channels] or _common_mode(paths)
    pixels = np.empty(0, np.uint8)
    animated: list[str] = []
    for row, path in enumerate(paths):
        image = _decoded(path, mode, config.image_size, animated)  # (H, W, C)
        if row == 0:
            needed = COPIES * len(paths) * image.size
            memory.require(
                needed, f"the {len(paths):,} images", "Use a smaller `image_size`, or fewer images."
            )
            pixels = np.empty((len(paths), *image.shape), np.uint8)
        if image.shape != pixels.shape[1:]:
            (height, width), (other_height, other_width) = pixels.shape[1:3], image.shape[:2]
            raise ValueError(
                f"images must have one size; {_short(paths[0])} is {height} high and {width} wide, {_short(path)}"
                f" {other_height} and {other_width}. Use `image_size=[{height}, {width}]`."
            )
        pixels[row] = image
    notes = tuple(
        f"images of which only the first frame is read: {len(animated)}, as {name}"
        for name in animated[:1]
    )
    return np.moveaxis(pixels, 3, 1), notes  # (N, H, W, C) -> (N, C, H, W)


def _short(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


@contextmanager
def _opened_image(path: Path) -> Iterator[Image.Image]:
    try:
        with warnings.catch_warnings():
            # What it needs is asked for below.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(path)
    except Image.DecompressionBombError as error:
        raise ValueError(
            f"an image must have at most {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels; {_short(path)} promises more."
            " Make it smaller, or delete it."
        ) from error
    except Exception as error:
        raise _no_image(path, error) from error
    with image:
        memory.require(
            _BYTES_PER_PIXEL * image.width * image.height,
            _short(path),
            "Make it smaller, or delete it.",
        )
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
    return (
        is_grey_palette or image.mode in ("1", "L", "LA", "La", "F") or image.mode.startswith("I")
    )


def _decoded(
    path: Path, mode: str, size: tuple[int, int] | None, animated: list[str]
) -> np.ndarray:
    """One image, (H, W, C) uint8: upright, 8-bit, on white, in the given mode and size."""
    with _opened_image(path) as image:
        upright = ImageOps.exif_transpose(image)
        # An MPO is a camera's JPEG with its own thumbnail.
        if getattr(image, "is_animated", False) and image.format != "MPO":
            animated.append(_short(path))
    if upright.mode == "F" or upright.mode.startswith("I"):
        upright = Image.fromarray(_as_bytes(np.asarray(upright), path))
    if upright.has_transparency_data:
        upright = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright)
    flat = upright.convert(mode)
    if size is not None and (flat.height, flat.width) != size:
        # Antialiased when it shrinks.
        flat = flat.resize((size[1], size[0]), Image.Resampling.BICUBIC)
    return np.asarray(flat).reshape(flat.height, flat.width, len(mode))


def _as_bytes(values: np.ndarray, path: Path) -> np.ndarray:
    """16 bits as 8: 65,535 is white; Pillow's own conversion would clip at 255."""
    if values.dtype.kind == "f" or values.min() < 0 or values.max() > 65535:
        raise ValueError(
            f"images must have 8 or 16 bits a channel; {_short(path)} holds {values.dtype} values from"
            f" {values.min():.7g} to {values.max():.7g}. Save the images as one .npy array (N, H, W)."
        )
    return (values / 257).round().astype(np.uint8)
