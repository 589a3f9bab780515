"""One image file: its frames, and the numbers of each at the precision in which they stand there."""

import dataclasses
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageOps, TiffImagePlugin

from variform.config.data import DataConfig
from variform.system import memory

_BYTES_PER_PIXEL = 12  # four channels, or one number of 32 bits, and two copies on the way to grey or red, green, blue
_BYTES_PER_DEEP_PIXEL = (
    40  # four channels of 32 bits, a copy, and the two images of 8 bits they come of
)
_WHITE = 65535  # of 16 bits
_ORIENTATION, _SUBFILE, _SAMPLE_FORMAT = 274, 254, 339  # tags of Exif and TIFF
_GREY_WEIGHTS = np.array([19595, 38470, 7471]) / 65536  # ITU-R 601-2, as Pillow rounds them


@dataclass(frozen=True)
class Frame:
    """One image of a file, as its header tells.

    Args:
        path: The file.
        name: What a user calls it: the file, relative to the folder that was named, and its number among several.
        number: Which image of the file, from 0.
        of: How many images are read of the file.
        size: Height and width, upright.
        family: The file, as `name`, where it has several; else empty.
        depth: What a number of it is: 8-bit, 16-bit, signed 16-bit, 32-bit or floating-point.
        is_grey: Whether it has no colours.
    """

    path: Path
    name: str
    number: int
    of: int
    family: str
    size: tuple[int, int]
    depth: str
    is_grey: bool


def frames_of(path: Path, name: str, config: DataConfig) -> tuple[list[Frame], int]:
    """The images of a file that are to be read, and how many others it has; thumbnails and masks are none of these.

    An MPO is a camera's JPEG beside its own thumbnail: one image.

    Raises:
        ValueError: for what is no image.
    """
    frames = []
    with _opened(path) as image:
        count = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
        for number in range(count):
            image.seek(number)
            if number == 0 or not _is_by_product(image):
                form = (_size(image), _depth(image), _is_grey(image))
                frames.append(Frame(path, name, number, 1, "", *form))
    taken = frames if config.frames == "all" else frames[:1]
    if len(taken) > 1:
        several = []
        for frame in taken:
            numbered = f"{name}, frame {frame.number + 1}"
            frame = dataclasses.replace(frame, name=numbered, of=len(taken), family=name)
            several.append(frame)
        taken = several
    return taken, len(frames) - len(taken)


def _is_by_product(image: Image.Image) -> bool:
    """Whether a TIFF file says of an image that it is another one made smaller, or a mask of it."""
    is_tiff = isinstance(image, TiffImagePlugin.TiffImageFile)
    return is_tiff and bool(image.tag_v2.get(_SUBFILE, 0) & 0b101)


def _size(image: Image.Image) -> tuple[int, int]:
    """Height and width of an image when it is upright."""
    width, height = image.size
    if image.format == "PNG" and "exif" not in image.info:
        return height, width  # Pillow would decode it to look for more
    is_lying = image.getexif().get(_ORIENTATION, 1) >= 5
    # Pillow turns a TIFF file itself, and tells the size that it will have.
    return (width, height) if is_lying and image.format != "TIFF" else (height, width)


def _depth(image: Image.Image) -> str:
    form = _stored_form(image)
    if image.mode == "F":
        return "floating-point"
    if ";16S" in form or ";16BS" in form:
        return "signed 16-bit"
    if ";16" in form or image.mode.startswith("I;16"):
        return "16-bit"
    return "32-bit" if image.mode == "I" else "8-bit"


def _stored_form(image: Image.Image) -> str:
    """How the numbers of an image stand in its file, in Pillow's words, such as RGB;16B; empty where it says none."""
    tile: Any = getattr(image, "tile", None)
    form = tile[0][3] if tile else ""
    if isinstance(form, tuple):
        form = form[0] if form else ""
    return form if isinstance(form, str) else ""


def _is_grey(image: Image.Image) -> bool:
    palette = image.getpalette() if image.mode == "P" else None  # red, green, blue, red, ...
    if palette is not None:
        return palette[::3] == palette[1::3] == palette[2::3]
    if image.format == "GIF" and image.mode.startswith("RGB"):  # a later frame, whatever it shows
        red, green, blue = np.moveaxis(np.asarray(image.convert("RGB")), 2, 0)
        return bool((red == green).all() and (green == blue).all())
    is_grey_mode = image.mode in ("1", "L", "LA", "La", "F") or image.mode.startswith("I")
    return is_grey_mode or _stored_form(image).startswith("LA;16")


@dataclass(frozen=True)
class Picture:
    """A decoded image.

    Args:
        pixels: (H, W, C) with C = 1 or 3: uint8 of 8 bits, float64 of 32 bits, else float32.
        is_transparent: Whether any of it was transparent.
        is_cmyk: Whether its colours were those of a printer.
    """

    pixels: np.ndarray
    is_transparent: bool
    is_cmyk: bool


def decoded(frame: Frame, channels: int, config: DataConfig) -> Picture:
    """An image upright, in the size that is asked for, without alpha, of 1 or 3 `channels`.

    Raises:
        ValueError: for what is no image.
    """
    with _opened(frame.path) as image:
        image.seek(frame.number)
        is_cmyk = image.mode == "CMYK"
        if frame.depth == "8-bit":
            pixels, is_transparent = _bytes(ImageOps.exif_transpose(image), channels, config)
        else:
            numbers, opacity = _numbers(frame, image)
            is_transparent = opacity is not None and bool((opacity < 1).any())
            if opacity is not None and config.background != "ignore":
                ground = _WHITE if config.background == "white" else 0
                numbers = np.rint(numbers * opacity + ground * (1 - opacity))
            pixels = _with_channels(numbers, channels, frame.depth)
            pixels = _resized(pixels, config.image_size, frame.depth)
            pixels = pixels.astype(np.float64 if frame.depth == "32-bit" else np.float32)
    return Picture(pixels, is_transparent, is_cmyk)


def _bytes(upright: Image.Image, channels: int, config: DataConfig) -> tuple[np.ndarray, bool]:
    """The pixels of an image of 8 bits, (H, W, C), and whether any of it was transparent."""
    is_transparent = False
    if upright.has_transparency_data:
        upright = upright.convert("RGBA")
        is_transparent = bool((np.asarray(upright)[..., 3] < 255).any())
        if config.background == "ignore":
            upright = upright.convert("RGB")
        else:
            ground = Image.new("RGBA", upright.size, config.background)
            upright = Image.alpha_composite(ground, upright)
    flat = upright.convert("L" if channels == 1 else "RGB")
    size = config.image_size
    if size is not None and (flat.height, flat.width) != size:
        # Antialiased when it shrinks.
        flat = flat.resize((size[1], size[0]), Image.Resampling.BICUBIC)
    return np.asarray(flat).reshape(flat.height, flat.width, channels), is_transparent


def _numbers(frame: Frame, image: Image.Image) -> tuple[np.ndarray, np.ndarray | None]:
    """The numbers of an image of more than 8 bits, (H, W, 1 or 3), and its opacity from 0 to 1, (H, W, 1)."""
    key: Any = image.info.get("transparency")  # the one value that is transparent
    if not image.mode.startswith("I") and frame.depth == "16-bit":
        values = _both_bytes(frame, image)
    else:
        values = np.asarray(ImageOps.exif_transpose(image))[..., None]
        if frame.depth == "32-bit" and _is_unsigned(image):
            values = values.view(np.uint32)
    values = values.astype(np.float64 if frame.depth == "32-bit" else np.float32)
    if values.shape[2] in (2, 4):
        return values[..., :-1], values[..., -1:] / _WHITE
    if key is None:
        return values, None
    return values, (values != np.array(key)).any(2, keepdims=True).astype(np.float32)


def _is_unsigned(image: Image.Image) -> bool:
    is_tiff = isinstance(image, TiffImagePlugin.TiffImageFile)
    return is_tiff and image.tag_v2.get(_SAMPLE_FORMAT, (1,)) in (1, (1,))


def _both_bytes(frame: Frame, image: Image.Image) -> np.ndarray:
    """All 16 bits of the channels of an image, (H, W, 1 to 4).

    Pillow gives the upper byte of each number; told that they stand in the other order, it gives the lower.
    """
    form = _stored_form(image)
    if form == "LA;16B":  # Pillow has no other order for it, but four channels of a byte each
        _tell(image, "RGBA")
        grey_high, grey_low, alpha_high, alpha_low = np.moveaxis(_upright_array(image), 2, 0)
        high, low = np.stack([grey_high, alpha_high], 2), np.stack([grey_low, alpha_low], 2)
    else:
        swapped = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
        if form[:-1] not in ("RGB;16", "RGBA;16", "RGBX;16") or form[-1] not in swapped:
            raise _Unreadable(
                f"an image of 16 bits a channel must be grey, RGB or RGBA; {short(frame.path)} is {form}."
                " Save all images as one .npy array."
            )
        with _opened(frame.path) as again:
            again.seek(frame.number)
            _tell(again, form[:-1] + swapped[form[-1]])
            low = _upright_array(again)
        high = _upright_array(image)
    return high.astype(np.uint16) * 256 + low


def _tell(image: Any, form: str) -> None:
    """Have an image decoded as if its numbers stood in this form."""
    tiles = []
    for decoder, box, start, old in image.tile:
        told = (form, *old[1:]) if isinstance(old, tuple) else form
        tiles.append((decoder, box, start, told))
    image.tile = [type(image.tile[0])(*tile) for tile in tiles]


def _upright_array(image: Image.Image) -> np.ndarray:
    return np.asarray(ImageOps.exif_transpose(image))


def _with_channels(values: np.ndarray, channels: int, depth: str) -> np.ndarray:
    """Grey as three equal channels, or colours as grey."""
    if values.shape[2] == channels:
        return values
    if channels == 3:
        return values.repeat(3, 2)
    grey = values.astype(np.float64) @ _GREY_WEIGHTS[:, None]
    return grey if depth == "floating-point" else np.floor(grey + 0.5)


def _resized(values: np.ndarray, size: tuple[int, int] | None, depth: str) -> np.ndarray:
    """In another size, within the range that the image had: the filter overshoots at edges."""
    if size is None or values.shape[:2] == size:
        return values
    planes = []
    for channel in np.moveaxis(values, 2, 0):
        plane = Image.fromarray(channel.astype(np.float32))
        plane = plane.resize((size[1], size[0]), Image.Resampling.BICUBIC)
        planes.append(np.asarray(plane).clip(channel.min(), channel.max()))
    resized = np.stack(planes, 2)
    return resized if depth == "floating-point" else np.rint(resized)


def short(path: Path) -> str:
    """A file as messages name it."""
    return f"{path.parent.name}/{path.name}"


@contextmanager
def quiet() -> Iterator[None]:
    """Inside, Pillow does not warn: what an image needs is asked for, and what of it is damaged is told otherwise."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        yield


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    with ExitStack() as stack:
        try:
            # By its name Pillow may read a TIFF file that lies in lines of the wrong length.
            file = stack.enter_context(open(path, "rb"))
        except OSError as error:
            raise _no_image(path, error) from error
        image = stack.enter_context(_header(path, file))
        per_pixel = _BYTES_PER_PIXEL if _depth(image) == "8-bit" else _BYTES_PER_DEEP_PIXEL
        memory.require(
            per_pixel * image.width * image.height, short(path), "Make it smaller, or delete it."
        )
        try:
            yield image
        except _Unreadable:
            raise
        except Exception as error:  # on a damaged file Pillow's decoders raise nearly anything
            raise _no_image(path, error) from error


def _header(path: Path, file: BinaryIO) -> Image.Image:
    """An image before it is decoded."""
    try:
        return Image.open(file)
    except Image.DecompressionBombError as error:
        raise ValueError(
            f"an image must have at most {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels; {short(path)} promises more."
            " Make it smaller, or delete it."
        ) from error
    except Exception as error:
        raise _no_image(path, error) from error


class _Unreadable(ValueError):
    """What has its sentence already."""


def _no_image(path: Path, error: Exception) -> ValueError:
    return _Unreadable(
        f"{short(path)} must be an image; Pillow cannot read it ({type(error).__name__}). Delete it, save it again, or"
        " save all images as one .npy array."
    )
