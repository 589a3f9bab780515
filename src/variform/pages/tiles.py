"""Examples that are pictures by themselves, images and outlines, side by side."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from variform.data.colours import shares_of_colours
from variform.data.outlines import Layout
from variform.data.schema import Ends
from variform.pages.style import BLUE, INK, LABEL_SIZE, PALE, WIDTH, Array

_FILLED = 0.92  # of its cell, by a tile
Extent = tuple[float, float, float, float]
"""Left, right, bottom and top, in the coordinates of a panel."""


@dataclass(frozen=True)
class Images:
    """How images (channels, height, width) are drawn.

    Args:
        value_range: The values drawn as black and as white, of all channels or of each.
        ratio: Height over width.
    """

    value_range: tuple[Ends, Ends]
    ratio: float

    def draw(self, panel: Axes, image: Array, extent: Extent) -> None:
        """Draw one into a panel."""
        if len(image) == 1:
            low, high = np.ravel(self.value_range)
            panel.imshow(image[0], cmap="gray", vmin=low, vmax=high, extent=extent, aspect="auto")
        else:
            colours = shares_of_colours(image, self.value_range).transpose(1, 2, 0)
            panel.imshow(colours, extent=extent, aspect="auto")

    def draw_grid(self, panel: Axes, images: Array) -> None:
        """Draw images (rows, across, channels, height, width) as one, the first row at the bottom."""
        rows, across, channels, height, width = images.shape
        mosaic = images[::-1].transpose(2, 0, 3, 1, 4)  # (channels, rows, height, across, width)
        mosaic = mosaic.reshape(channels, rows * height, across * width)
        right, top = across - 0.5, rows - 0.5
        self.draw(panel, mosaic, (-0.5, right, -0.5, top))
        if min(height, width) < 16:  # small images run into each other without a line between them
            line: dict[str, Any] = {"colors": "white", "linewidths": 1.0}
            panel.vlines(np.arange(across - 1) + 0.5, -0.5, top, **line)
            panel.hlines(np.arange(rows - 1) + 0.5, -0.5, right, **line)


@dataclass(frozen=True)
class Outlines:
    """How rows (columns,) are drawn that are curves in a plane.

    Args:
        layout: Which columns are their points.
        low: The least x and y that are drawn.
        high: The greatest.
    """

    layout: Layout
    low: Array
    high: Array

    @property
    def ratio(self) -> float:
        """Height over width: x and y have one scale where both are known."""
        width, height = self.high - self.low
        return float(height / width) if self.layout.is_to_scale else 0.6

    def draw(self, panel: Axes, row: Array, extent: Extent) -> None:
        """Draw one into a panel."""
        left, right, bottom, top = extent
        points = self.layout.points(row[None])[0]
        if self.layout.is_closed:
            points = np.concatenate([points, points[:1]])
        x, y = ((points - self.low) / (self.high - self.low)).T
        panel.plot(
            left + x * (right - left), bottom + y * (top - bottom), color=BLUE, linewidth=1.2
        )

    def draw_grid(self, panel: Axes, rows: Array) -> None:
        """Draw rows (down, across, columns) side by side, the first ones at the bottom."""
        for row, column in np.ndindex(*rows.shape[:2]):
            extent = (column - 0.5, column + 0.5, row - 0.5, row + 0.5)
            self.draw(panel, rows[row, column], extent)


Tiles = Images | Outlines


def tiles_of(events: Array, value_range: tuple[Ends, Ends], outline: Layout | None = None) -> Tiles:
    """How events (..., *event) are drawn: rows by their `outline`, images without one.

    Example:
        >>> tiles_of(np.zeros((3, 1, 4, 8)), (0.0, 1.0)).ratio
        0.5
    """
    if outline is None:
        return Images(value_range, events.shape[-2] / events.shape[-1])
    points = outline.points(events.reshape(-1, events.shape[-1])).reshape(-1, 2)
    low, high = np.nanmin(points, 0), np.nanmax(points, 0)
    margin = 0.04 * (high - low).max()
    return Outlines(outline, low - margin, high + margin)


def tile_shape(tiles: Tiles) -> tuple[float, float, float]:
    """How a tile lies in its cell: the cell's height over its width, the shares of width and height.

    A very flat tile leaves room above and below, a very tall one at its sides: cells stay large enough for a label.
    """
    ratio = float(np.clip(tiles.ratio, 1 / 12, 12.0))
    cell = float(np.clip(ratio, 0.4, 2.5))
    return cell, min(1.0, cell / ratio), min(1.0, ratio / cell)


def size_of_tiles(tiles: Tiles, rows: int, across: int) -> tuple[float, float]:
    """Inches that rows of tiles need on the page, with the names of the rows at their left."""
    cell, _, _ = tile_shape(tiles)
    side = min(1.0, (WIDTH - 1.3) / across, 8 / (rows * cell))
    return max(across * side + 1.3, 5.0), rows * side * cell


def draw_tiles(panel: Axes, events: Array, across: int, tiles: Tiles) -> None:
    """Draw events (N, *event) in rows of `across`; event k is centred at x = k % across, y = k // across."""
    cell, width, height = tile_shape(tiles)
    width *= _FILLED
    height *= _FILLED
    frame = {"fill": False, "edgecolor": PALE, "linewidth": 0.8}
    for number, event in enumerate(events):
        row, column = divmod(number, across)
        left = column - width / 2
        top = row - height / 2
        tiles.draw(panel, event, (left, left + width, top + height, top))
        panel.add_patch(Rectangle((left, top), width, height, **frame))
    last_row = (len(events) - 1) // across
    panel.set(xlim=(-0.5, across - 0.5), ylim=(last_row + 0.5, -0.5), aspect=cell)
    panel.set(xticks=[], yticks=[])
    panel.spines[:].set_visible(False)
    panel.tick_params(length=0, labelsize=LABEL_SIZE, labelcolor=INK)
