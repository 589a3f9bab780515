"""Rows of coordinates that are outlines, closed curves in a plane, and the places of their points."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from variform.config.checks import checked, from_file
from variform.config.units import name_and_unit

Array = np.ndarray[Any, np.dtype[Any]]

_NUMBER = r"\d+(?:\.\d+)?"
_LEAST_POINTS, _LEAST_CORNERS = 8, 3
_CLOSED = 0.1  # of the extent, between the ends of an outline
_MEET = 0.25  # of the greatest distance of two sides, at their ends
_BREAK = 3  # times the bends beside it
_CROSS = 0.1  # of the places, or of the rows
_ONE_POINT = 1e-9  # of the extent
_LEAST_AREA = 0.02  # of a circle's of the same length: what is thinner is a line


@checked
@dataclass(frozen=True)
class Layout:
    """Which columns of a row are the points of a curve in a plane.

    Args:
        kind: `pairs`, x1, y1, x2, y2, ...; `blocks`, all x and then all y; `sides`, the heights of two sides, one after
            the other; `loop`, the heights of points round the curve.
        is_reversed: Of `sides`: whether the second runs backwards.
        stations: Of heights: the places x of all columns, (D,), or of each side, (D / 2,). () where they are not known.
        is_closed: Whether the last point is joined to the first.
    """

    kind: Literal["pairs", "blocks", "sides", "loop"]
    is_reversed: bool = False
    stations: tuple[float, ...] = ()
    is_closed: bool = True

    @property
    def has_heights(self) -> bool:
        """Whether a row holds y alone."""
        return self.kind in ("sides", "loop")

    @property
    def is_to_scale(self) -> bool:
        """Whether x and y are both known, so that a picture can have equal scales."""
        return not self.has_heights or bool(self.stations)

    def order(self, width: int) -> tuple[Array | None, Array]:
        """The numbers of the columns that hold x and y of each point, round the curve; no x where they hold heights.

        Args:
            width: How many columns there are.

        Example:
            >>> Layout("sides").order(4)
            (None, array([0, 1, 3, 2]))
        """
        every = np.arange(width)
        half = width // 2
        if self.kind == "loop":
            return None, every
        if self.kind == "pairs":
            return every[::2], every[1::2]
        if self.kind == "blocks":
            return every[:half], every[half:]
        second = every[half:] if self.is_reversed else every[half:][::-1]
        return None, np.concatenate([every[:half], second])

    def places(self, width: int) -> Array:
        """Of heights the place x of each point, round the curve; evenly spaced from 0 to 1 where it is not known."""
        stations = np.array(self.stations) if self.stations else np.linspace(0, 1, width // 2)
        if len(stations) == width:
            _, order = self.order(width)
            return stations[order]
        return np.concatenate([stations, stations[::-1]])

    def points(self, values: Array) -> Array:
        """Rows (N, D) as curves (N, points, 2).

        Example:
            >>> Layout("sides", stations=(5, 7)).points(np.array([[0.0, 2, 0, -2]])).tolist()
            [[[5.0, 0.0], [7.0, 2.0], [7.0, -2.0], [5.0, 0.0]]]
        """
        width = values.shape[1]
        columns_of_x, columns_of_y = self.order(width)
        y = values[:, columns_of_y]
        if columns_of_x is None:
            return np.stack([np.broadcast_to(self.places(width), y.shape), y], 2)
        return np.stack([values[:, columns_of_x], y], 2)

    def fits(self, width: int) -> bool:
        """Whether rows of so many columns can be such curves."""
        sizes = (0, width) if self.kind == "loop" else (0, width, width // 2)
        has_halves = self.kind == "loop" or width % 2 == 0
        return has_halves and len(self.stations) in sizes


def known_layout(values: dict[str, Any] | None) -> Layout | None:
    """The layout that plain values of a file describe."""
    return None if values is None else from_file(Layout, values, "a layout")


def layout_in(
    values: Array, columns: Sequence[str], stations: Array | None = None, *, has_unit: bool = False
) -> Layout | None:
    """How rows of a table are curves in a plane, by what is said and what they hold; None where they are none.

    Args:
        values: Some of the rows, (N, D).
        columns: Their names.
        stations: The places x of all columns, (D,), or of one side, (D / 2,).
        has_unit: Whether all columns share a unit, so that a few points with names of x and y are enough.

    Raises:
        ValueError: for stations that do not fit.

    Example:
        >>> names = ["x1", "y1", "x2", "y2", "x3", "y3"]
        >>> layout_in(np.array([[0.0, 0, 1, 0, 0, 1]]), names, has_unit=True).kind, layout_in(np.zeros((1, 6)), names)
        ('pairs', None)
    """
    if stations is not None:
        return layout_over(stations, values, columns)
    named = layout_by_name(columns)
    stems = _stems(columns)
    is_paired = sorted(set(stems)) == ["x", "y"] and stems.count("x") == stems.count("y")
    is_said = is_paired and stems.count("x") >= (_LEAST_CORNERS if has_unit else _LEAST_POINTS)
    if named is not None and is_said and np.isfinite(values).all():
        return replace(named, is_closed=_end_together(named.points(values)))
    return layout_of(values, columns)


def _end_together(points: Array) -> bool:
    """Whether the last point of most curves (N, points, 2) is as near to the first as neighbours are to one another."""
    steps = np.linalg.norm(points - np.roll(points, 1, axis=1), axis=2)
    return bool((steps[:, 0] <= 2 * steps[:, 1:].max(1)).mean() > 0.5)


def layout_of(values: Array, columns: Sequence[str] = ()) -> Layout | None:
    """How rows of coordinates are outlines, None where they are no outlines of one kind.

    Coordinates may stand as x1, y1, x2, y2, ..., as all x and then all y, or as the heights of an upper and a lower
    side at the same places. They are taken so where most rows begin where they end, enclose an area, and the names of
    the columns do not say otherwise. Names of heights may hold their places, as in `upper 0.25`.

    Args:
        values: (N, D).
        columns: Their names.
    """
    width = values.shape[1]
    half = width // 2
    if width % 2 or half < _LEAST_POINTS or np.isnan(values).any():
        return None
    stems = _stems(columns) or ["column"]
    layouts = []
    if (named := layout_by_name(columns)) is not None and "x" in stems:
        layouts = [named]
    elif not any(stems):
        return None  # names that are numbers are places on an axis
    elif (sides := _of_two_sides(values, is_said=len(set(stems)) == 2)) is not None:
        return replace(sides, stations=_stations_by_name(columns))
    else:
        by_lag = [np.abs(values[:, lag:] - values[:, :-lag]).mean() for lag in (1, 2)]
        if by_lag[0] > _BREAK * by_lag[1]:
            layouts = [Layout("pairs")]
        elif _breaks(np.median(np.abs(np.diff(values)), 0), half - 1, half):
            layouts = [Layout("blocks")]
    closed = [layout for layout in layouts if _are_closed(layout.points(values))]
    return closed[0] if closed else None


def layout_by_name(columns: Sequence[str]) -> Layout | None:
    """How rows are outlines if the names of their columns say that they hold x and y, whatever their values are.

    Such names are x1, y1, ..., and those that the columns of an array (N, 2, points) or (N, points, 2) get.

    Example:
        >>> layout_by_name(["x 1", "x 2", "y 1", "y 2"]).kind, layout_by_name(["t1 s1", "t1 s2", "t2 s1", "t2 s2"])
        ('blocks', None)
    """
    half = len(columns) // 2
    stems = _stems(columns)
    if sorted(set(stems)) == ["x", "y"]:
        is_alternating = stems[::2].count(stems[0]) == half
        return Layout("pairs") if is_alternating else Layout("blocks")
    axes = re.fullmatch(r"t(\d+) s(\d+)", columns[-1]) if columns else None
    if axes is None or len(columns) <= 4 or "2" not in axes.groups():
        return None
    return Layout("pairs") if axes[2] == "2" else Layout("blocks")


def _stations_by_name(columns: Sequence[str]) -> tuple[float, ...]:
    """The places of heights where the names of both sides hold the same ones; () for names that are only counted."""
    if not all(_numbers(column) for column in columns) or len(set(_stems(columns))) != 2:
        return ()
    places = np.array([_numbers(column)[-1] for column in columns], float)
    first, second = np.split(places, 2)
    is_alike = np.array_equal(first, second) or np.array_equal(first, second[::-1])
    steps = np.diff(first)
    is_on_axis = bool((steps > 0).all() or (steps < 0).all()) and not (steps == 1).all()
    return tuple(first.tolist()) if is_alike and is_on_axis else ()


def _numbers(column: str) -> list[str]:
    """The numbers in the name of a column, without its unit."""
    return re.findall(_NUMBER, name_and_unit(column)[0])


def _stems(columns: Sequence[str]) -> list[str]:
    """Names without numbers and units."""
    names = [name_and_unit(column)[0] for column in columns]
    return [re.sub(_NUMBER, "", name).strip(" _-").lower() for name in names]


def _are_closed(points: Array) -> bool:
    """Whether most of these curves (N, points, 2) end where they begin and enclose an area."""
    extent = np.ptp(points, 1).max(1) + 1e-300
    gap = np.linalg.norm(points[:, 0] - points[:, -1], axis=1)
    x, y = points[..., 0], points[..., 1]
    area = 0.5 * np.abs((x * np.roll(y, -1, 1) - y * np.roll(x, -1, 1)).sum(1))
    steps = np.linalg.norm(points - np.roll(points, -1, 1), axis=2)
    roundness = 4 * math.pi * area / (np.square(steps.sum(1)) + 1e-300)
    is_smooth = steps[:, :-1].max(1) < 0.5 * extent
    is_outline = (gap < _CLOSED * extent) & (roundness > _LEAST_AREA) & is_smooth
    return bool(is_outline.mean() > 0.5)


def _breaks(change: Array, first: int, stop: int) -> bool:
    """Whether the changes from column to column between two places are far greater than those beside them."""
    beside = np.concatenate([change[max(0, first - 5) : first], change[stop : stop + 5]])
    return bool(change[first:stop].max() > _BREAK * np.median(beside))


def _of_two_sides(values: Array, *, is_said: bool) -> Layout | None:
    """The layout of the heights of two sides, which meet at both ends, hardly cross, and break in the middle.

    Where the names of the columns say that there are two sides, the second may run backwards.
    """
    half = values.shape[1] // 2
    upper, lower = values[:, :half], values[:, half:]
    bend = np.median(np.abs(np.diff(values, 2, axis=1)), 0)
    layouts = []
    if is_said or _breaks(bend, half - 2, half):
        layouts.append(Layout("sides"))
    if is_said:
        layouts.append(Layout("sides", is_reversed=True))
    for layout in layouts:
        other = lower[:, ::-1] if layout.is_reversed else lower
        apart = upper - other
        thickness = np.abs(apart).max(1) + 1e-300
        ends = np.maximum(np.abs(apart[:, 0]), np.abs(apart[:, -1]))
        inside = apart[:, 1:-1]
        one_side = np.maximum((inside >= 0).mean(1), (inside <= 0).mean(1))
        is_outline = (ends < _MEET * thickness) & (one_side > 1 - _CROSS)
        if is_outline.mean() > 1 - _CROSS:
            return layout
    return None


def outlines_of(
    designs: Array,
    columns: Sequence[str] = (),
    stations: Array | None = None,
    *,
    known: Array | None = None,
    layout: Layout | None = None,
) -> Array:
    """Designs as closed curves (n, points, 2) in their own unit, which is more than a picture of them needs.

    What is said by `stations`, or else by `layout`, goes first. Names such as x1 and y1 say where the coordinates
    stand; else the rule of `layout_of` does, which looks at `known` rows where there are some. Heights alone need their
    places.

    Args:
        designs: (n, D), or (n, points, 2) or (n, 2, points).
        columns: Names of the columns.
        stations: The places x of all columns, (D,), or of one side, (D / 2,).
        known: Rows like these, (N, D), by which the layout is found out.
        layout: What is known of the data that they are designs of.

    Raises:
        ValueError: for rows that are no outlines, and stations that do not fit.

    Example:
        >>> outlines_of(np.array([[0.0, 2, 0, -2]]), stations=np.array([5.0, 7, 9, 7])).tolist()
        [[[5.0, 0.0], [7.0, 2.0], [9.0, 0.0], [7.0, -2.0]]]
    """
    if designs.ndim == 3 and 2 in designs.shape[1:]:
        return designs if designs.shape[2] == 2 else designs.swapaxes(1, 2)
    if designs.ndim != 2:
        raise ValueError(
            "outlines must be rows of numbers (n, D), or (n, points, 2) or (n, 2, points); got the shape "
            f"{designs.shape}. Write images to a folder or a .npy file."
        )
    examples = designs if known is None else known
    if stations is not None:
        return layout_over(stations, examples, columns).points(designs)
    layout = layout or layout_by_name(columns) or layout_of(examples, columns)
    if layout is None:
        raise ValueError(
            f"rows of {designs.shape[1]} columns must hold the x and y of points to be drawn; by what their columns "
            "are called and hold these are no outlines. Call the columns x1, y1, x2, y2, ..., give the places of "
            "heights with `stations`, or write a .csv or .npy file."
        )
    if not layout.is_to_scale:
        raise ValueError(
            "heights of two sides must have `stations`, their places x, to be drawn; the data do not hold these. Give "
            f"a .csv or .npy file of {designs.shape[1] // 2} numbers, or of {designs.shape[1]}."
        )
    return layout.points(designs)


def layout_over(stations: Array, values: Array, columns: Sequence[str] = ()) -> Layout:
    """How rows of heights are closed curves over their places.

    Args:
        stations: The places x of all columns, (D,), or of one side, (D / 2,).
        values: Some of the rows, (N, D).
        columns: Their names.

    Raises:
        ValueError: for another number of stations.

    Example:
        >>> layout_over(np.array([5.0, 7, 9, 7]), np.zeros((1, 4))).kind
        'loop'
    """
    width = values.shape[1]
    half = width // 2
    places = tuple(np.asarray(stations, float).tolist())
    if len(places) == width:
        # A second side that begins where the first does runs backwards.
        steps = np.abs(np.diff(places))
        jump = int(steps.argmax())
        is_broken = jump + 1 == half and steps[jump] > np.ptp(places) / 2
        return Layout("sides" if is_broken else "loop", stations=places)
    if 2 * len(places) == width:
        layout = layout_of(values, columns)
        is_reversed = layout is not None and layout.is_reversed
        return Layout("sides", is_reversed, places)
    raise ValueError(
        f"`stations` must be the places of all {width} columns, or of half as many; got {len(places)}. Give another "
        "file."
    )


def joined(outlines: Array, known: Array) -> tuple[Array, Array]:
    """Outlines (n, P, 2) in which neighbours are one point where they are one in every known outline (N, P, 2).

    A model that is not told so leaves the two ends of a closed curve, or the two sides of a nose, a little apart or the
    wrong way round. Both go to their middle.

    Returns:
        The outlines, and how far each was open at most, (n,).

    Example:
        >>> known = np.array([[[0.0, 0], [1, 0], [0, 1], [0, 0]]])
        >>> outlines, gaps = joined(known + np.array([[0.0, 0], [0, 0], [0, 0], [0.5, 0]]), known)
        >>> outlines[0, [0, 3]].tolist(), gaps
        ([[0.25, 0.0], [0.25, 0.0]], array([0.5]))
    """
    extent = np.ptp(known, axis=1).max(1)
    apart = np.abs(known - np.roll(known, -1, axis=1)).max(2)
    is_one = (apart <= _ONE_POINT * extent[:, None]).all(0)
    outlines, gaps = outlines.copy(), np.zeros(len(outlines))
    for place in np.flatnonzero(is_one):
        ends = [place, (place + 1) % len(is_one)]
        gaps = np.maximum(gaps, np.linalg.norm(outlines[:, ends[0]] - outlines[:, ends[1]], axis=1))
        outlines[:, ends] = outlines[:, ends].mean(1, keepdims=True)
    return outlines, gaps
