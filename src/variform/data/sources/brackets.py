r"""Brackets: binary images of three kinds of mounting brackets whose measures are known.

Flat parts with a bolt hole at the corner and at the end of each leg, 64 x 64 pixels. A pixel is 1 where its centre lies
in the part. Pixel (row i, column j) has its centre at (j + 1/2, i + 1/2); the corner of the bracket is at (12, 52), and
from there x points to the right and y up, in pixels. A bar from A to B of breadth b is what lies within b / 2 of the
line from A to B. With width w, height h and breadth b, a bracket is

- the bars of breadth b from (0, 0) to (w, 0) and to (0, h), and
- angle: the inner corner, filled up to a circle of radius $f = 0.35 \min(w, h)$ that touches both bars;
- strut: a bar of breadth 0.7 b from (w, 0) to (0, h);
- gusset: the triangle (0, 0), (w, 0), (0, h), without a circle of radius $0.18 \min(w, h)$ around (0.3 w, 0.3 h);
- without the circles of radius b / 4 around (0, 0), (w, 0) and (0, h).

Every kind is as likely, and every measure is drawn evenly from its range, w and h from 28 to 42 and b from 8 to 13.
"""

import numpy as np

KINDS = ("angle", "strut", "gusset")
MEASURES = ("width", "height", "breadth")
COUNT = 2_000
SIZE = 64

_CORNER = (12.0, 52.0)  # x and y of the corner in the image, y down
_LEG = (28.0, 42.0)
_BREADTH = (8.0, 13.0)
_AT_ONCE = 50  # images, so that what is computed for them stays in the processor's cache


def measures() -> tuple[np.ndarray, np.ndarray]:
    """Kind and measures of each bracket, in the order of the rows of `brackets`.

    Shape:
        (2000,) int64, the kind's place in `KINDS`; (2000, 3) float64, `MEASURES` in pixels.

    Example:
        >>> kinds, sizes = measures()
        >>> np.bincount(kinds).tolist(), sizes.min(0).round(1).tolist(), sizes.max(0).round(1).tolist()
        ([676, 670, 654], [28.0, 28.0, 8.0], [42.0, 42.0, 13.0])
    """
    generator = np.random.RandomState(0)  # whose stream NumPy has promised not to change
    shares = generator.random_sample((COUNT, 1 + len(MEASURES)))
    kinds = np.floor(len(KINDS) * shares[:, 0]).astype(np.int64)
    width = _between(*_LEG, shares[:, 1])
    height = _between(*_LEG, shares[:, 2])
    breadth = _between(*_BREADTH, shares[:, 3])
    return kinds, np.stack([width, height, breadth], 1)


def _between(least: float, most: float, share: np.ndarray) -> np.ndarray:
    return least + (most - least) * share


def render(kinds: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """The images of brackets.

    Args:
        kinds: Places in `KINDS`, (N,).
        sizes: `MEASURES` in pixels, (N, 3).

    Shape:
        (N, 64, 64), uint8, 0 or 1.

    Example:
        >>> render(np.array([0, 1, 2]), np.full((3, 3), [30.0, 30.0, 10.0])).sum((1, 2)).tolist()
        [650, 807, 749]
    """
    images = np.empty((len(kinds), SIZE, SIZE), np.uint8)
    for start in range(0, len(kinds), _AT_ONCE):
        some = slice(start, start + _AT_ONCE)
        images[some] = _drawn(kinds[some], sizes[some])
    return images


def _drawn(kinds: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """As `render`, all at once."""
    centres = np.arange(SIZE) + 0.5
    x = centres[None, None, :] - _CORNER[0]
    y = _CORNER[1] - centres[None, :, None]
    width, height, breadth = sizes.T[:, :, None, None]  # (N, 1, 1) each
    zero = np.zeros_like(width)
    smaller = np.minimum(width, height)
    kind = kinds[:, None, None]

    part = _in_bar(x, y, zero, zero, width, zero, breadth)
    part |= _in_bar(x, y, zero, zero, zero, height, breadth)
    part |= (kind == 0) & _in_fillet(x - breadth / 2, y - breadth / 2, 0.35 * smaller)
    part |= (kind == 1) & _in_bar(x, y, width, zero, zero, height, 0.7 * breadth)
    part |= (kind == 2) & (x >= 0) & (y >= 0) & (x * height + y * width <= width * height)

    part &= (kind != 2) | ~_in_circle(x - 0.3 * width, y - 0.3 * height, 0.18 * smaller)
    for hole_x, hole_y in ((zero, zero), (width, zero), (zero, height)):
        part &= ~_in_circle(x - hole_x, y - hole_y, breadth / 4)
    return part


def _in_circle(x: np.ndarray, y: np.ndarray, radius: np.ndarray) -> np.ndarray:
    return x**2 + y**2 < radius**2


def _in_bar(
    x: np.ndarray, y: np.ndarray,
    x_from: np.ndarray, y_from: np.ndarray, x_to: np.ndarray, y_to: np.ndarray,
    breadth: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Whether points lie within half the breadth of the nearest point of the bar's middle line."""
    along_x, along_y = x_to - x_from, y_to - y_from
    length = along_x**2 + along_y**2
    share = ((x - x_from) * along_x + (y - y_from) * along_y) / length
    share = np.clip(share, 0, 1)
    return _in_circle(x - x_from - share * along_x, y - y_from - share * along_y, breadth / 2)


def _in_fillet(x: np.ndarray, y: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Whether points lie between two edges, the axes, and the circle that touches both."""
    is_in_square = (x >= 0) & (y >= 0) & (x < radius) & (y < radius)
    return is_in_square & ~_in_circle(x - radius, y - radius, radius)
