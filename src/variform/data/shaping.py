"""Whether the rows of an array are pictures or rows of a table, and the form that each is kept in."""

import dataclasses
import itertools
import math
import warnings
from collections.abc import Callable
from typing import Literal

import numpy as np

from variform.data.columns import MOST_UNLIKE
from variform.data.sources.source import Rendered, Source

_ROWS_LOOKED_AT = 256
_VALUES_LOOKED_AT = 2**22
_LEAST_SIDE = 8  # pixels; a smaller array of numbers is as likely a few sensors at a few times
_LEAST_SIDE_OF_BYTES = 3
_MOST_CHANNELS = 32
_FULL_BYTE = 128  # whole numbers up to 255 that come this far are grey values
_LEAST_LIKENESS = (
    0.25  # correlation of neighbours, which is .37 to .97 in pictures and near 0 across sensors
)
_MOST_BETWEEN = 0.8  # share of the variance between the means of rows of pixels, or columns of them


def in_form(source: Source, shape: tuple[int, ...] | None) -> Source:
    """The source with rows of a table, (N, D), or pictures, (N, C, H, W), and a note where that was guessed.

    `shape` decides: one number makes a table, two or three make pictures. Without it two axes are a table, whatever
    their type; so is what has more, unless it looks like pictures: `looks_like_pictures` says when.

    Args:
        source: What a reader found.
        shape: The shape of one example, as of `DataConfig`.

    Raises:
        ValueError: where `shape` does not fit the rows, and for axes that are neither.

    Example:
        >>> series = np.stack([np.full((30, 24), 1e5), np.full((30, 24), 290.0)], 2)  # pressure, temperature
        >>> table = in_form(Source("weather.npy", series), None)
        >>> table.values.shape, table.columns[:3]
        ((30, 48), ('t1 s1', 't1 s2', 't2 s1'))
        >>> table.notes[0]
        'rows of 24 x 2 are read as a table of 48 columns, t1 s1 to t24 s2, with a scale for each; `shape=[24, 2]` \
reads pictures'
    """
    if shape is not None:
        source = _each(source, lambda part: _reshaped(part, shape, source.name))
    axes = source.values.shape[1:]
    _require_axes(source)
    if len(axes) == 1:
        hint = () if shape else _hint_of_pictures(source)
        return dataclasses.replace(source, notes=(*source.notes, *hint))
    words = " x ".join(map(str, axes))
    is_known = source.are_pictures or source.levels is not None
    is_told = shape is not None or is_known or isinstance(source.values, Rendered)
    if is_told or looks_like_pictures(_sample(source)):
        pictures = _each(source, _channels_first)
        if not is_told and not {1, 3} & {axes[0], axes[-1]} and len(axes) == 3:
            channels = pictures.values.shape[1]
            note = (
                f"rows of {words} are read as pictures of {channels} channels; `shape=[{math.prod(axes)}]` reads a"
                " table with a scale for each column"
            )
            return dataclasses.replace(pictures, notes=(*source.notes, note))
        if is_told or len(axes) == 3:
            return pictures
        note = (
            f"rows of {words} are read as grey pictures with one scale for all pixels;"
            f" `shape=[{math.prod(axes)}]` reads a table"
        )
        return dataclasses.replace(pictures, notes=(*source.notes, note))
    return _as_table(source, words)


def _require_axes(source: Source) -> None:
    axes = source.values.shape[1:]
    if len(axes) in (1, 2) or _has_channels(axes):
        return
    raise ValueError(
        f"{source.name} must be (N, D), (N, H, W), (N, C, H, W) or (N, H, W, C) with few channels C; its shape is"
        f" {source.values.shape}. Reshape it, or flatten each row with `shape=[{math.prod(axes)}]`."
    )


def _has_channels(axes: tuple[int, ...]) -> bool:
    return len(axes) == 3 and _channel_axis(axes) is not None


def _channel_axis(axes: tuple[int, ...]) -> Literal[0, 2] | None:
    """Which axis of (C, H, W) or (H, W, C) is C: grey or colours, or else by far the shortest; None where none is."""
    for axis in (0, 2):
        if axes[axis] in (1, 3):
            return axis
    axis = 0 if axes[0] <= axes[2] else 2
    height, width = (side for number, side in enumerate(axes) if number != axis)
    is_short = axes[axis] <= _MOST_CHANNELS and 2 * axes[axis] <= min(height, width)
    return axis if is_short else None


def _as_table(source: Source, words: str) -> Source:
    """Rows of several axes as a table: t1 s1 is the first time of the first sensor, x1 the x of the first point."""
    axes = source.values.shape[1:]
    are_points = len(axes) == 2 and _are_points(_sample(source))
    columns = _points(axes) if are_points else _places(axes)
    ends = columns[0] if len(columns) == 1 else f"{columns[0]} to {columns[-1]}"
    scales = ", with a scale for each"
    if are_points or sum(size > 1 for size in axes) < 2:
        scales = ""
    note = (
        f"rows of {words} are read as a table of {len(columns)} columns, {ends}{scales};"
        f" `shape={list(axes)}` reads pictures"
    )
    flat = _each(source, lambda part: part.reshape(len(part), -1))
    return dataclasses.replace(flat, columns=columns, notes=(*source.notes, note))


def _places(axes: tuple[int, ...]) -> tuple[str, ...]:
    letters = "ts" if len(axes) == 2 else "tus"
    used = [(letter, size) for letter, size in zip(letters, axes, strict=True) if size > 1]
    counters = [[f"{letter}{number}" for number in range(1, size + 1)] for letter, size in used]
    return tuple(" ".join(names) for names in itertools.product(*counters)) or ("t1",)


def _points(axes: tuple[int, ...]) -> tuple[str, ...]:
    """x1, y1, x2, ... of coordinates side by side; x1, x2, ..., y1, ... of one after the other."""
    letters = "xyz"[: min(axes)]
    numbers = range(1, max(axes) + 1)
    if axes[0] < axes[1]:
        return tuple(f"{letter}{number}" for letter in letters for number in numbers)
    return tuple(f"{letter}{number}" for number in numbers for letter in letters)


def _are_points(rows: np.ndarray) -> bool:
    """Whether rows of two axes are 2 or 3 coordinates or curves in one unit, each smooth along the other axis."""
    short = 1 if rows.shape[1] < rows.shape[2] else 2
    if rows.shape[short] not in (2, 3) or max(rows.shape[1:]) < _LEAST_SIDE:
        return False
    rows = rows.astype(np.float64)
    curves = np.moveaxis(rows, short, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of places that hold nothing but NaN
        is_smooth = all(_likeness(curve, 1) >= _LEAST_LIKENESS for curve in curves)
        return is_smooth and _has_one_unit(rows, short)


def like(source: Source, shape: tuple[int, ...], *, is_image: bool) -> Source:
    """The source in the form of rows that are known: flat rows and grey pictures get the axes of these.

    Args:
        source: What a reader found.
        shape: Of a known row, (D,) or (C, H, W).
        is_image: Whether known rows are pictures.
    """
    axes = source.values.shape[1:]
    if is_image and len(axes) > 1:
        _require_axes(source)
        return _each(source, _channels_first)
    if math.prod(axes) == math.prod(shape):
        return _each(source, lambda part: part.reshape(len(part), *shape))
    return source


def looks_like_pictures(rows: np.ndarray) -> bool:
    """Whether rows of two or three axes look like pictures; never by the type in which they are stored.

    Of two axes these are whole numbers that fill 0 to 255, or numbers in [0, 1] with at least 8 pixels a side, unless
    most of their variance is between the means along an axis; and numbers of any other range with at least 8 pixels a
    side if neighbours are alike along both axes and have ranges that overlap. Three axes with 1 or 3 channels are
    pictures unless neighbours on an axis are in different units; with other channels, up to 32, they are if neighbours
    within each channel are alike.

    Args:
        rows: (N, H, W), or (N, C, H, W) or (N, H, W, C).

    Example:
        >>> looks_like_pictures(np.random.default_rng(0).integers(0, 256, (50, 28, 28)))
        True
        >>> looks_like_pictures(np.random.default_rng(0).normal(size=(50, 28, 28)))
        False
    """
    rows = rows.astype(np.float64)
    observed = rows[np.isfinite(rows)]
    if not observed.size:
        return True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of places that hold nothing but NaN
        return _look_like_pictures(rows, observed)


def _look_like_pictures(rows: np.ndarray, observed: np.ndarray) -> bool:
    low, high = observed.min(), observed.max()
    fills_byte = (
        low >= 0 and _FULL_BYTE <= high <= 255 and bool((observed == np.rint(observed)).all())
    )
    has_one_range = fills_byte or (low >= 0 and high <= 1)
    if rows.ndim == 4 and not {1, 3} & {rows.shape[1], rows.shape[3]}:
        return _looks_like_bands(rows)
    if rows.ndim == 4:
        return has_one_range or all(_has_one_unit(rows, axis) for axis in (1, 2, 3))
    if min(rows.shape[1:]) < (_LEAST_SIDE_OF_BYTES if fills_byte else _LEAST_SIDE):
        return False
    if has_one_range:
        return all(_between(rows, axis) <= _MOST_BETWEEN for axis in (1, 2))
    return all(
        _likeness(rows, axis) >= _LEAST_LIKENESS and _has_one_unit(rows, axis) for axis in (1, 2)
    )


def _looks_like_bands(rows: np.ndarray) -> bool:
    """Whether each channel of (N, C, H, W) or (N, H, W, C) is a picture, in whatever unit."""
    bands = np.moveaxis(rows, 1 + (_channel_axis(rows.shape[1:]) or 0), 0)
    if min(bands.shape[2:]) < _LEAST_SIDE:
        return False
    return all(min(_likeness(band, 1), _likeness(band, 2)) >= _LEAST_LIKENESS for band in bands)


def _likeness(rows: np.ndarray, axis: int) -> float:
    """The correlation of neighbours along an axis."""
    variance = np.nanvar(rows)
    if variance == 0:
        return 1.0
    return float(1 - np.nanmean(np.square(np.diff(rows, axis=axis))) / (2 * variance))


def _between(rows: np.ndarray, axis: int) -> float:
    """The share of the variance that is between the means of the places on an axis."""
    variance = np.nanvar(rows)
    others = tuple(other for other in range(rows.ndim) if other != axis)
    return float(np.nanvar(np.nanmean(rows, others)) / variance) if variance else 0.0


def _has_one_unit(rows: np.ndarray, axis: int) -> bool:
    """Whether the ranges of neighbours on an axis overlap, and none is many times as wide as the next."""
    others = tuple(other for other in range(rows.ndim) if other != axis)
    low, high = np.nanmin(rows, others), np.nanmax(rows, others)
    overlaps = (low[1:] <= high[:-1]) & (low[:-1] <= high[1:])
    width = high - low
    least, greatest = np.minimum(width[1:], width[:-1]), np.maximum(width[1:], width[:-1])
    return bool(overlaps.all() and ((least == 0) | (greatest <= MOST_UNLIKE * least)).all())


def _hint_of_pictures(source: Source) -> tuple[str, ...]:
    """What is said of a table whose rows look like flattened grey pictures."""
    width = source.values.shape[1]
    side = math.isqrt(width)
    if side < _LEAST_SIDE or side * side != width or source.values.dtype.kind not in "buif":
        return ()
    if any(source.categories):
        return ()
    flat = _sample(source).astype(np.float64)
    observed = flat[np.isfinite(flat)]
    if not observed.size or observed.min() < 0 or observed.max() > 255:
        return ()
    if (observed != np.rint(observed)).any() or observed.max() <= 1:
        return ()
    pixels = flat.reshape(-1, side, side)
    are_named = all("pix" in name.lower() for name in source.columns) and bool(source.columns)
    if not are_named and min(_likeness(pixels, axis) for axis in (1, 2)) < _LEAST_LIKENESS:
        return ()
    return (
        f"rows of {width} whole numbers up to {observed.max():.0f} are read as a table;"
        f" `shape=[{side}, {side}]` reads pictures, where they are pixels",
    )


def _sample(source: Source) -> np.ndarray:
    """Some rows from all over the source."""
    size = math.prod(source.values.shape[1:])
    most = max(1, min(_ROWS_LOOKED_AT, _VALUES_LOOKED_AT // max(1, size)))
    index = np.unique(np.linspace(0, len(source.values) - 1, most).astype(np.int64))
    if isinstance(source.values, np.ndarray):
        return source.values[index]
    return source.values.take(index)


def _each(source: Source, function: Callable[[np.ndarray], np.ndarray]) -> Source:
    values = source.values
    changed = function(values) if isinstance(values, np.ndarray) else values.each(function)
    return dataclasses.replace(source, values=changed)


def _reshaped(values: np.ndarray, shape: tuple[int, ...], name: str) -> np.ndarray:
    if math.prod(shape) != math.prod(values.shape[1:]):
        raise ValueError(
            f"`shape` must hold as many values as a row of {name}; {shape} against {values.shape[1:]}."
            " Change it, for example `shape=[28, 28]` for rows of 784."
        )
    return values.reshape(len(values), *shape)


def _channels_first(values: np.ndarray) -> np.ndarray:
    """Pictures as (N, C, H, W); rows of a table stay."""
    if values.ndim == 3:
        return values[:, None]  # (N, H, W) -> (N, 1, H, W)
    if values.ndim == 4 and _channel_axis(values.shape[1:]) == 2:
        return np.moveaxis(values, 3, 1)  # (N, H, W, C) -> (N, C, H, W)
    return values
