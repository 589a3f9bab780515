"""How long the same rows are in files of other kinds."""

import bz2
import gzip
import io
import lzma
import math
from typing import Any

import numpy as np
from PIL import Image

Array = np.ndarray[Any, np.dtype[Any]]

_WIDEST = 16_383  # pixels of a side of a picture that WebP takes


def rates_beside(values: Array) -> dict[str, float]:
    """Bits a value of the same rows by gzip, bz2 and xz at their best, and of grey 8-bit images by PNG and WebP.

    Where there are two levels, gzip, bz2 and xz get one bit a value and PNG a picture of black and white. PNG and WebP
    get all images side by side in one picture, which is better for them than a file for each.

    Args:
        values: (N, *event).

    Example:
        >>> rates = rates_beside(np.zeros((4, 8, 8), np.uint8))
        >>> list(rates)
        ['gzip', 'bz2', 'xz', 'PNG', 'WebP']
    """
    is_binary = len(np.unique(values)) <= 2
    content = np.ascontiguousarray(values).tobytes()
    if is_binary:
        content = np.packbits(values.reshape(len(values), -1) != values.min(), axis=1).tobytes()
    lengths = lengths_beside(content)
    picture = _sheet(values, is_binary=is_binary)
    if picture is not None:
        lengths["PNG"] = _length(picture, "PNG", optimize=True)
        if max(picture.size) <= _WIDEST:
            shown = picture.convert("RGB")
            lengths["WebP"] = _length(shown, "WEBP", lossless=True, quality=100, method=6)
    return {name: 8 * length / values.size for name, length in lengths.items()}


def lengths_beside(content: bytes) -> dict[str, int]:
    """Bytes of the same content by gzip, bz2 and xz at their best.

    Args:
        content: The bytes of a file.

    Example:
        >>> list(lengths_beside(b"some text"))
        ['gzip', 'bz2', 'xz']
    """
    return {
        "gzip": len(gzip.compress(content, 9)),
        "bz2": len(bz2.compress(content, 9)),
        "xz": len(lzma.compress(content, preset=9 | lzma.PRESET_EXTREME)),
    }


def _sheet(values: Array, *, is_binary: bool) -> Image.Image | None:
    """All images side by side; None of rows that are no grey images of 8 bits."""
    images = values[:, 0] if values.ndim == 4 and values.shape[1] == 1 else values
    if images.ndim != 3 or not len(images) or (images.dtype != np.uint8 and not is_binary):
        return None
    count, height, width = images.shape
    across = math.ceil(math.sqrt(count * height / width))
    down = -(-count // across)
    cells = np.zeros((down * across, height, width), np.uint8)
    cells[:count] = np.where(images == images.min(), 0, 255) if is_binary else images
    rows = cells.reshape(down, across, height, width).transpose(0, 2, 1, 3)
    picture = Image.fromarray(rows.reshape(down * height, across * width))
    return picture.convert("1", dither=Image.Dither.NONE) if is_binary else picture


def _length(picture: Image.Image, form: str, **options: Any) -> int:
    content = io.BytesIO()
    picture.save(content, form, **options)
    return len(content.getvalue())
