r"""Sprites: binary images with known factors, rendered when they are asked for.

Our own renderer of the dSprites family: 3 shapes x 6 scales x 40 orientations x 32 x 32 positions make 737,280 images
of 64 x 64 pixels, numbered with the last factor, y, changing fastest. A pixel is 1 where its centre lies in the sprite.
Pixel (row i, column j) has its centre at (j + 1/2, i + 1/2), with y pointing down; the sprite has its own at
(16 + 32 x, 16 + 32 y). With u to the right and v down from there, in pixels at scale 1 and orientation 0:

- square: $\max(|u|, |v|) < 9.6$;
- ellipse: $(u / 12.8)^2 + (v / 7.25)^2 < 1$;
- heart: inside $u = 9.6 \sin^3 t,\; v = -0.665\,(13\cos t - 5\cos 2t - 2\cos 3t - \cos 4t) - 1.45$, its tip down.

The orientation, in radians, turns the sprite counter-clockwise on the screen; the last one, $2\pi$, repeats the first.

Reference:
    Matthey, Higgins, Hassabis and Lerchner (2017), "dSprites: disentanglement testing sprites dataset".
"""

from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike

SHAPES = ("square", "ellipse", "heart")
FACTORS = MappingProxyType({"shape": 3, "scale": 6, "orientation": 40, "x": 32, "y": 32})
COUNT = 737_280
SIZE = 64

_SIZES = tuple(FACTORS.values())
_VALUES = (
    np.arange(3.0),
    np.linspace(0.5, 1, 6),
    np.linspace(0, 2 * np.pi, 40),
    np.linspace(0, 1, 32),
    np.linspace(0, 1, 32),
)
_BOX = 28  # pixels; the corners of the largest square are 13.6 from its centre
_AT_ONCE = 64  # images, so that what is computed for them stays in the processor's cache


def factors(index: ArrayLike) -> np.ndarray:
    """The class of each factor of the images at `index`, counted from 0, in the order of `FACTORS`.

    Args:
        index: Numbers of images, (N,), such as `Dataset.index` holds.

    Shape:
        (N, 5), int64.

    Raises:
        ValueError: for a number that no image has.

    Example:
        >>> factors([0, 1, 32, 737_279]).tolist()
        [[0, 0, 0, 0, 0], [0, 0, 0, 0, 1], [0, 0, 0, 1, 0], [2, 5, 39, 31, 31]]
    """
    index = np.asarray(index, np.int64).reshape(-1)
    if len(index) and not 0 <= index.min() <= index.max() < COUNT:
        raise ValueError(
            f"numbers of sprites must be from 0 to {COUNT - 1}; got {index.min()} to {index.max()}."
            " Leave the others out."
        )
    return np.stack(np.unravel_index(index, _SIZES), 1)


def values(index: ArrayLike) -> np.ndarray:
    """The value of each factor of the images at `index`.

    Args:
        index: Numbers of images, (N,).

    Shape:
        (N, 5), float64: the shape's place in `SHAPES`; scale, 1/2 to 1; orientation in radians, 0 to 2 pi; x and y, 0
        to 1, as shares of the 32 pixels over which the centre moves.

    Raises:
        ValueError: as `factors`.

    Example:
        >>> values([737_279]).round(3).tolist()
        [[2.0, 1.0, 6.283, 1.0, 1.0]]
    """
    columns = [steps[classes] for steps, classes in zip(_VALUES, factors(index).T, strict=True)]
    return np.stack(columns, axis=1)


def index_of(classes: ArrayLike) -> np.ndarray:
    """The numbers of the images with given factors: the opposite of `factors`.

    Args:
        classes: (N, 5) integers.

    Shape:
        (N,), int64.

    Raises:
        ValueError: for a class that a factor does not have.

    Example:
        >>> index_of([[2, 5, 39, 31, 31]]).tolist()
        [737279]
    """
    classes = np.asarray(classes, np.int64).reshape(-1, 5)
    return np.ravel_multi_index(tuple(classes.T), _SIZES)


def subset(count: int) -> np.ndarray:
    """Numbers of the first `count` images of one random order, ascending: a smaller subset is part of a larger one.

    Shape:
        (count,), int64.

    Raises:
        ValueError: for fewer than 1 image and for more than there are.

    Example:
        >>> set(subset(100)) < set(subset(1000))
        True
    """
    if not 1 <= count <= COUNT:
        raise ValueError(
            f"sprites:N takes from 1 to {COUNT} images; got {count}. Use for example sprites:20000."
        )
    generator = np.random.RandomState(0)  # whose stream NumPy has promised not to change
    order = generator.permutation(COUNT)
    return np.sort(order[:count]).astype(np.int64)


def render(index: ArrayLike) -> np.ndarray:
    """The images at `index`.

    Args:
        index: Numbers of images, (N,), in any order.

    Shape:
        (N, 64, 64), uint8, 0 or 1.

    Raises:
        ValueError: as `factors`.

    Example:
        >>> images = render([0, 737_279])
        >>> images.shape, images.sum((1, 2)).tolist()
        ((2, 64, 64), [100, 222])
    """
    return _drawn(values(index))


def _drawn(sprites: np.ndarray) -> np.ndarray:
    """As `render`, for any values of the factors in their ranges, (N, 5)."""
    images = np.zeros((len(sprites), SIZE, SIZE), np.uint8)
    windows = np.lib.stride_tricks.sliding_window_view(
        images, (_BOX, _BOX), axis=(1, 2), writeable=True
    )
    for start in range(0, len(sprites), _AT_ONCE):
        shapes = sprites[start : start + _AT_ONCE, 0]
        for shape, is_inside in enumerate((_in_square, _in_ellipse, _in_heart)):
            rows = start + np.flatnonzero(shapes == shape)
            if len(rows):
                top, left, u, v = _box(sprites[rows])
                windows[rows, top, left] = is_inside(u, v)
    return images


def _box(sprites: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Top and left of the pixels around each sprite, (N,), and what u and v are there, (N, 28, 28)."""
    _, scale, orientation, x, y = sprites.T
    centre_x = 16 + 32 * x
    centre_y = 16 + 32 * y
    left = np.rint(centre_x).astype(np.int64) - _BOX // 2
    top = np.rint(centre_y).astype(np.int64) - _BOX // 2

    # Where the centres of the pixels lie from the centre of the sprite, (N, 28).
    pixels = np.arange(_BOX) + 0.5
    right = pixels + (left - centre_x)[:, None]
    down = pixels + (top - centre_y)[:, None]

    # The same in axes that are turned and scaled with the sprite, (N, 28, 28).
    right = right[:, None, :]
    down = down[:, :, None]
    cos = (np.cos(orientation) / scale)[:, None, None]
    sin = (np.sin(orientation) / scale)[:, None, None]
    u = right * cos - down * sin
    v = right * sin + down * cos
    return top, left, u, v


def _in_square(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return (np.abs(u) < 9.6) & (np.abs(v) < 9.6)


def _in_ellipse(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return (u / 12.8) ** 2 + (v / 7.25) ** 2 < 1


def _in_heart(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    r"""Whether v lies between the two points of the outline that have this u.

    They are t and $\pi - t$, with cosines $\pm c$ where $w = c^2 = 1 - (u / 9.6)^{2/3}$. Written in powers of the
    cosine the bracket of the outline is $4 - 2w - 8w^2 \pm c\,(19 - 8w)$.
    """
    w = np.maximum(1 - np.cbrt((u / 9.6) ** 2), 0)  # 0 beyond the outline, where no v is inside
    from_middle = v + 1.45 + 0.665 * (4 - 2 * w - 8 * w**2)
    half_height = 0.665 * (19 - 8 * w) * np.sqrt(w)
    return np.abs(from_middle) < half_height
