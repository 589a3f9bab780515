"""The geometry of outlines: closed polygons that are checked, measured and cut into triangles."""

from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

_SAME = 1e-9  # of the extent: points that are nearer than this to the one before are the same
_PAIRS_AT_ONCE = 2**20
_FOLDED = 1e-12  # sine of the angle between segments, below which the one runs back along the other


class Crossing(NamedTuple):
    """Where an outline meets itself.

    Args:
        segments: The numbers of two of its segments from 1; segment k leads from point k to the next.
        place: Where they meet, x and y.
    """

    segments: tuple[int, int]
    place: tuple[float, float]

    def __str__(self) -> str:
        x, y = self.place
        return f"segments {self.segments[0]} and {self.segments[1]} meet at ({x:.6g}, {y:.6g})"


def area(points: Array) -> float:
    r"""The area of a polygon (P, 2), positive where it runs counter-clockwise.

    $$A = \frac12 \sum_k (x_k y_{k+1} - x_{k+1} y_k)$$

    Example:
        >>> area(np.array([[0.0, 0], [2, 0], [2, 3], [0, 3]]))
        6.0
    """
    x, y = (points - points[0]).T  # far from the origin the products would lose their digits
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)


def polygon(points: Array) -> Array:
    """The corners (P, 2) of an outline, counter-clockwise between its ends, none of them twice in a row.

    Args:
        points: (P, 2); the last may be the first again.

    Raises:
        ValueError: for an outline that is no polygon, meets itself, or encloses nothing; says where.

    Example:
        >>> polygon(np.array([[0.0, 0], [0, 1], [0, 1], [1, 1], [0, 0]])).tolist()
        [[0.0, 0.0], [1.0, 1.0], [0.0, 1.0]]
        >>> polygon(np.array([[0.0, 0], [1, 1], [1, 0], [0, 1]]))
        Traceback (most recent call last):
        ValueError: it crosses or touches itself: segments 1 and 3 meet at (0.5, 0.5)
    """
    if not np.isfinite(points).all():
        raise ValueError("it has points that are missing or infinite")
    step = np.abs(points - np.roll(points, 1, axis=0)).max(1)
    is_corner = step > _SAME * np.ptp(points, axis=0).max()
    numbers = np.flatnonzero(is_corner)
    if len(numbers) < 3:
        raise ValueError("it has fewer than three different points")
    corners = points[numbers]
    found = crossing(corners)
    if found is not None:
        corner, other = (int(numbers[segment - 1]) for segment in found.segments)
        one, two = sorted((_segment_from(corner, is_corner), _segment_from(other, is_corner)))
        found = Crossing((one, two), found.place)
        raise ValueError(f"it crosses or touches itself: {found}")
    closed = int(numbers[0] != 0)  # where the last point is the first again
    corners = np.roll(corners, closed, axis=0)
    if area(corners) < 0:
        corners = np.roll(corners[::-1], closed, axis=0)
    return corners


def is_closed(points: Array) -> bool:
    """Whether the last point of an outline (P, 2) is the first again."""
    gap = np.abs(points[0] - points[-1]).max()
    return bool(gap <= _SAME * np.ptp(points, axis=0).max())


def _segment_from(corner: int, is_corner: Array) -> int:
    """The number from 1 of the segment that leaves a corner, which several points in a row may be."""
    behind = (corner + 1) % len(is_corner)
    while not is_corner[behind]:
        corner, behind = behind, (behind + 1) % len(is_corner)
    return corner + 1


def crossing(points: Array) -> Crossing | None:
    """Where a polygon (P, 2) crosses, touches or folds back on itself first; None where it does not.

    All pairs of segments are compared: two meet where the ends of each lie on both sides of the other, and the
    rectangles around them overlap. It takes a time of P^2.

    Args:
        points: Its corners, none of them twice in a row.

    Example:
        >>> crossing(np.array([[0.0, 0], [1, 0], [0.5, 1]])) is None
        True
        >>> str(crossing(np.array([[0.0, 0], [2, 0], [1, 0], [1, 1]])))
        'segments 1 and 2 meet at (2, 0)'
    """
    start = _scaled(points)
    stop = np.roll(start, -1, axis=0)
    along = stop - start
    behind = np.roll(along, 1, axis=0)
    lengths = np.linalg.norm(along, axis=1) * np.linalg.norm(behind, axis=1)
    is_folded = (np.abs(_cross(behind, along)) <= _FOLDED * lengths) & ((behind * along).sum(1) < 0)
    if is_folded.any():
        corner = int(is_folded.argmax())
        before = (corner - 1) % len(points)
        segments = (min(before, corner) + 1, max(before, corner) + 1)
        return Crossing(segments, (float(points[corner, 0]), float(points[corner, 1])))
    rows = max(1, _PAIRS_AT_ONCE // len(points))
    for first in range(0, len(points), rows):
        some = slice(first, first + rows)
        one, other = np.nonzero(_meet(start, stop, some))
        if len(one):
            return _crossing_of(first + int(one[0]), int(other[0]), points, start, stop)
    return None


def _scaled(points: Array) -> Array:
    """Points near 1, so that no product is too small or too large, divided by a power of 2, which rounds nothing."""
    _, exponent = np.frexp(np.ptp(points, axis=0).max())
    return np.ldexp(points - points.min(0), -exponent)


def _meet(start: Array, stop: Array, some: slice) -> Array:
    """Whether each of some segments meets each later one that is not its neighbour, (rows, P)."""
    a, b = start[some, None], stop[some, None]
    sides = np.sign(_cross(b - a, start - a)) * np.sign(_cross(b - a, stop - a))
    others = np.sign(_cross(stop - start, a - start)) * np.sign(_cross(stop - start, b - start))
    overlap = np.minimum(a, b) <= np.maximum(start, stop)
    overlap &= np.maximum(a, b) >= np.minimum(start, stop)
    number, other = np.arange(len(start))[some, None], np.arange(len(start))
    is_neighbour = (other - number < 2) | (other - number == len(start) - 1)
    return (sides <= 0) & (others <= 0) & overlap.all(2) & ~is_neighbour


def _crossing_of(one: int, other: int, points: Array, start: Array, stop: Array) -> Crossing:
    """Where two segments meet, in the unit of `points`."""
    direction = stop[other] - start[other]
    before = _cross(direction, start[one] - start[other])
    behind = _cross(direction, stop[one] - start[other])
    share = 0.0
    if before != behind:  # else they lie on one line
        share = float(before / (before - behind))
    x, y = points[one] + share * (points[(one + 1) % len(points)] - points[one])
    return Crossing((one + 1, other + 1), (float(x), float(y)))


def _cross(a: Array, b: Array) -> Array:
    """The cross product of vectors (..., 2): twice the area of the triangle between them."""
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def triangles(points: Array) -> Array:
    """The triangles of a polygon, (P - 2, 3), by the numbers of their corners counter-clockwise from 0.

    Ears are clipped: corners whose triangle with both neighbours holds no other corner. Every corner is one of a
    triangle, those within straight sides too, which triangulations of libraries leave out: walls that stand on all
    segments would have holes there.

    Args:
        points: The corners of a simple polygon, (P, 2), counter-clockwise.

    Example:
        >>> triangles(np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])).tolist()
        [[3, 0, 1], [1, 2, 3]]
    """
    unit = _scaled(points)
    ring = np.arange(len(points))
    found = []
    place = 0
    while len(ring) > 3:
        place = _ear(unit[ring], place)
        found.append(ring[[place - 1, place, (place + 1) % len(ring)]])
        ring = np.delete(ring, place)
        place += 1  # one is left out, for ears side by side make a fan of slivers
    return np.array([*found, ring])


def _ear(ring: Array, first: int) -> int:
    """The number of the next ear of a ring of corners (P, 2), from `first` on."""
    before, after = np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0)
    size = _cross(ring - before, after - ring)
    blunt = np.flatnonzero(
        size <= 0
    )  # if any corner lies in a triangle of corners, one of these does
    order = np.roll(np.arange(len(ring)), -first)
    for place in order[size[order] > 0]:
        own = (place - 1, place, (place + 1) % len(ring))
        others = ring[np.setdiff1d(blunt, own)]
        corners = ring[list(own)]
        sides = _cross(np.roll(corners, -1, axis=0) - corners, others[:, None] - corners)
        if not (sides >= 0).all(1).any():
            return int(place)
    return int(size.argmax())  # where rounding hides the ears that every polygon has
