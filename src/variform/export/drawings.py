"""Outlines as files for CAD and simulation: .dat, .svg, .stl and .dxf, one function a format."""

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple
from xml.sax.saxutils import escape

import numpy as np

from variform.export.outlines import polygon, triangles
from variform.system.extras import needing

Array = np.ndarray[Any, np.dtype[Any]]

_MARGIN = 0.02  # of the extent, around a drawing
_TRAILING = 0.01  # of the chord, between an end of an airfoil and its trailing edge
_TURN = np.radians(20)  # at both ends of a blunt trailing edge
_STL_ERROR = 1e-6  # of the extent
_FACET = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attributes", "<u2")])


class Unit(NamedTuple):
    """A unit of length.

    Args:
        millimetres: How long it is.
        dxf: Its number in the variable $INSUNITS of a drawing.
    """

    millimetres: float
    dxf: int


UNITS = {
    "um": Unit(0.001, 13),
    "mm": Unit(1.0, 4),
    "cm": Unit(10.0, 5),
    "dm": Unit(100.0, 14),
    "m": Unit(1000.0, 6),
    "km": Unit(1e6, 7),
    "in": Unit(25.4, 1),
    "ft": Unit(304.8, 2),
    "yd": Unit(914.4, 10),
}
"""Units that a drawing can state; coordinates in another one, such as chords, have none there."""


@dataclass(frozen=True, eq=False)
class Drawing:
    """An outline on its way into a file.

    Args:
        points: The corners of a simple polygon, (P, 2), counter-clockwise, y upwards, as `polygon` gives them.
        name: What it is called there.
        unit: Of the coordinates: one of `UNITS`, or any other word.
        depth: How far it is extruded, in that unit; only a solid has one.
        is_closed: Whether the outline came with its first point again at its end.
    """

    points: Array
    name: str = "outline"
    unit: str = ""
    depth: float | None = None
    is_closed: bool = False


def to_dat(drawing: Drawing) -> bytes:
    """An airfoil in Selig's format: its name, then x and y from the trailing edge over the top to the nose and back.

    The trailing edge is where x is greatest. Where it is a point, this stands at both ends; where it is blunt, its
    upper end stands first and its lower end last. An outline that came in this order keeps its ends.

    Example:
        >>> flat = np.array([[0.0, 0], [0.5, -0.1], [1, 0], [0.5, 0.1]])
        >>> print(to_dat(Drawing(flat, "kite")).decode(), end="")
        kite
        1.0 0.0
        0.5 0.1
        0.0 0.0
        0.5 -0.1
        1.0 0.0
    """
    name = drawing.name.encode("ascii", "replace").decode()
    lines = [
        " ".join(map(_number, point))
        for point in _from_trailing_edge(drawing.points, is_closed=drawing.is_closed)
    ]
    return "\n".join([" ".join(name.split()), *lines, ""]).encode()


def _number(value: float) -> str:
    """The shortest text that reads back to the same number."""
    return repr(float(value))


def _from_trailing_edge(points: Array, *, is_closed: bool) -> Array:
    """A counter-clockwise polygon from its trailing edge on, which is repeated at the end where it is one point.

    One that begins at its trailing edge stays as it is: open where it was open there, and closed where it was closed.
    """
    x = points[:, 0]
    is_blunt = _blunt(points)
    is_near = x >= x.max() - _TRAILING * np.ptp(x)
    if is_closed and is_near[0]:
        return np.concatenate([points, points[:1]])
    is_upwards = points[0, 1] > points[-1, 1]
    if not is_closed and is_near[0] and is_near[-1] and is_blunt[-1] and is_upwards:
        return points
    corner = int(x.argmax())
    for edge in (corner - 1, corner):
        across, up = np.abs(points[(edge + 1) % len(points)] - points[edge])
        if is_blunt[edge] and up > across:  # counter-clockwise it leads to its upper end
            return np.roll(points, -(edge + 1), axis=0)
    ordered = np.roll(points, -corner, axis=0)
    return np.concatenate([ordered, ordered[:1]])


def _blunt(points: Array) -> Array:
    """Whether the edge from each corner to the next makes an angle with both beside it: it is no part of a side."""
    edges = np.roll(points, -1, axis=0) - points
    edges = edges[:, 0] + 1j * edges[:, 1]
    is_turn = np.abs(np.angle(edges / np.roll(edges, 1))) > _TURN
    return is_turn & np.roll(is_turn, -1)


def to_svg(drawing: Drawing) -> bytes:
    """A drawing for browsers and for laser cutters: one closed path whose numbers are those of the outline.

    y points upwards, as in the data, by a transformation around the path. A unit of `UNITS` gives the drawing its true
    size.

    Example:
        >>> "M0.0,0.0L1.0,0.0L1.0,2.0Z" in to_svg(Drawing(np.array([[0.0, 0], [1, 0], [1, 2]]))).decode()
        True
    """
    low, high = drawing.points.min(0), drawing.points.max(0)
    margin = _MARGIN * (high - low).max()
    width, height = high - low + 2 * margin
    box = " ".join(map(_number, (low[0] - margin, -high[1] - margin, width, height)))
    size = ""
    if drawing.unit in UNITS:
        scale = UNITS[drawing.unit].millimetres
        size = f' width="{_number(scale * width)}mm" height="{_number(scale * height)}mm"'
    path = "L".join(",".join(map(_number, point)) for point in drawing.points)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}"{size}>\n'
        f"<title>{escape(_printable(drawing.name))}</title>\n"
        f'<g transform="scale(1 -1)"><path d="M{path}Z" fill="none" stroke="black" '
        f'stroke-width="{_number(margin / 10)}"/></g>\n</svg>\n'
    ).encode()


def _printable(text: str) -> str:
    """A text without the letters that XML cannot hold."""
    return re.sub(r"[^\t\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "?", text)


def to_stl(drawing: Drawing) -> bytes:
    """The outline extruded from z = 0 to `depth`: a closed surface of triangles, binary, whose normals point outwards.

    Numbers there have 32 bits: what these move is at most a millionth of the extent.

    Raises:
        ValueError: without a depth, and for an outline that is too far from the origin for such numbers.

    Example:
        >>> square = Drawing(np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]]), depth=0.5)
        >>> len(to_stl(square)) == 84 + 50 * (2 * 2 + 2 * 4)
        True
    """
    depth = drawing.depth
    if depth is None:
        raise ValueError(
            "a .stl file must have a `depth`, how far the outline is extruded; got none. Give for example `depth=10`."
        )
    points = _in_single(drawing.points)
    bottom = np.column_stack([points, np.zeros(len(points))])
    top = np.column_stack([points, np.full(len(points), depth)])
    caps = triangles(points)
    bottom_behind, top_behind = np.roll(bottom, -1, axis=0), np.roll(top, -1, axis=0)
    corners = np.concatenate(
        [
            bottom[caps[:, ::-1]],
            top[caps],
            np.stack([bottom, bottom_behind, top_behind], 1),
            np.stack([bottom, top_behind, top], 1),
        ]
    )
    facets = np.zeros(len(corners), _FACET)
    facets["corners"] = corners
    facets["normal"] = _normals(points, len(caps))
    head = f"variform: {drawing.name}, unit {drawing.unit or 'not stated'}"
    header = head.encode("ascii", "replace")[:80].ljust(80)
    return header + np.uint32(len(facets)).tobytes() + facets.tobytes()


def _in_single(points: Array) -> Array:
    """The corners as numbers of 32 bits have them, still a polygon."""
    with np.errstate(over="ignore", under="ignore"):
        rounded = points.astype(np.float32).astype(float)
    reason = ""
    try:
        corners = polygon(rounded)
    except ValueError as error:
        corners, reason = points, f"in these {error}"
    moved = float(np.abs(rounded - points).max() / np.ptp(points, axis=0).max())
    if moved > _STL_ERROR or len(corners) != len(points):
        reason = f"these move its points by {moved:.1g} of its extent"
    if reason:
        raise ValueError(
            "an outline must be near enough to the origin, and neither too small nor too large, for the numbers of 32 "
            f"bits of a .stl file; {reason}. Move or scale it, or write a .dxf or .svg file."
        )
    return corners


def _normals(points: Array, caps: int) -> Array:
    """The normals of the facets of a solid: of bottom, top, and walls, (2 caps + 2 P, 3)."""
    along = np.roll(points, -1, axis=0) - points
    along = along / np.abs(along).max(1, keepdims=True)  # whose squares are numbers too
    along = along / np.linalg.norm(along, axis=1, keepdims=True)
    walls = np.column_stack([along[:, 1], -along[:, 0], np.zeros(len(along))])
    ends = np.repeat([[0.0, 0, -1], [0, 0, 1]], caps, axis=0)
    return np.concatenate([ends, walls, walls])


def to_dxf(drawing: Drawing) -> bytes:
    """A drawing for CAD: one closed LWPOLYLINE on the layer `outline`, and $INSUNITS by the unit. Needs ezdxf.

    Raises:
        ValueError: where ezdxf is not installed.
    """
    with needing("cad", "a .dxf file"):
        import ezdxf
    document = ezdxf.new("R2010")
    document.units = UNITS[drawing.unit].dxf if drawing.unit in UNITS else 0
    document.layers.add("outline")
    corners = [(float(x), float(y)) for x, y in drawing.points]
    document.modelspace().add_lwpolyline(corners, close=True, dxfattribs={"layer": "outline"})
    text = io.StringIO()
    document.write(text)
    return text.getvalue().encode("utf-8")


DRAWINGS: dict[str, Callable[[Drawing], bytes]] = {
    ".dat": to_dat,
    ".svg": to_svg,
    ".stl": to_stl,
    ".dxf": to_dxf,
}
"""What writes an outline, by the suffix of the file."""
