"""The look of every picture: colours, sizes, panels, tiles and labels.

An array is (..., *event) in the user's own units: an event is (channels, height, width) for images and
(columns,) for tables. Whoever passes `columns` says that the events are rows of a table.
"""

import io
import math
import textwrap
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from variform.pages.letters import give_fonts
from variform.pages.palette import PALETTE

Array = NDArray[Any]

BLUE = PALETTE[0]
ORANGE = PALETTE[3]
INK, GREY, PALE = "#222222", "#6b6f76", "#d9dcde"
COLOUR_MAP = "viridis"

MINUS = "\N{MINUS SIGN}"
WIDTH = 10.0  # inches, the width of a slide or a page of the report
_DOTS = 110  # an inch, of a file
TITLE_SIZE, LABEL_SIZE, TICK_SIZE = 13, 9.5, 8.5  # points

MOST_POINTS = 5_000
MOST_ELEMENTS = 400  # points of a cloud
MOST_PANELS = 12
MOST_LINES = 8
MOST_PAIRS = 20
MOST_TILES = 400


# ── Figures and panels ──────────────────────────────────────────────────────────────────────────────────────────────


class ShownFigure(Figure):
    """A figure that shows itself in a notebook, without pyplot."""

    def _repr_png_(self) -> bytes:
        content = io.BytesIO()
        self.savefig(content, format="png", dpi=_DOTS)
        return content.getvalue()


def new_figure(width: float, height: float, title: str, note: str = "") -> Figure:
    """An empty figure (inches) with its title above and a note below."""
    figure = ShownFigure(figsize=(width, height), dpi=150, layout="constrained", facecolor="white")
    figure.set_layout_engine("constrained", w_pad=0.08, h_pad=0.08)
    title = fitted_text(title, int(8.5 * width))
    figure.suptitle(title, fontsize=TITLE_SIZE, fontweight="bold", color=INK)
    if note:
        figure.supxlabel(fitted_text(note, int(12 * width)), fontsize=TICK_SIZE, color=GREY)
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG.

    `Figure.savefig` would draw all of it twice, the first time only to lay it out.
    """
    give_fonts(figure)
    figure.set_dpi(_DOTS)
    engine = figure.get_layout_engine()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # said already, once
        if engine is not None:
            engine.execute(figure)
            figure.set_layout_engine("none")
        FigureCanvasAgg(figure).print_png(path)


def new_panels(
    names: Sequence[str], *, title: str, note: str = "", ratio: float = 0.85
) -> tuple[Figure, list[Axes]]:
    """A figure with one titled panel per name, up to 12, in rows of up to four; a panel is `ratio` as high as wide."""
    note = note or note_on_shown("columns", len(names), MOST_PANELS)
    names = names[:MOST_PANELS]
    across = _across(len(names))
    down = math.ceil(len(names) / across)
    width = {1: 5.0, 2: 3.6, 3: 3.2}.get(across, WIDTH / 4)
    figure = new_figure(across * width, 0.9 + down * width * ratio, title, note)
    panels = list(figure.subplots(down, across, squeeze=False).flat)
    for panel in panels[len(names) :]:
        panel.remove()
    for panel, name in zip(panels, names, strict=False):
        style_panel(panel, title=name)
    return figure, panels[: len(names)]


def _across(count: int) -> int:
    """How many of `count` panels stand side by side: at most four, and rows as even as can be."""
    rows = math.ceil(count / 4)
    return math.ceil(count / rows)


def style_panel(panel: Axes, *, title: str = "", xlabel: str = "", ylabel: str = "") -> None:
    """The look of every panel that has numbers on its axes."""
    panel.set_title(fitted_text(title, 28), fontsize=LABEL_SIZE, color=INK)
    panel.set_xlabel(fitted_text(xlabel, 60), fontsize=LABEL_SIZE, color=INK)
    panel.set_ylabel(fitted_text(ylabel, 34), fontsize=LABEL_SIZE, color=INK)
    panel.tick_params(labelsize=TICK_SIZE, color=GREY, labelcolor=INK)
    panel.ticklabel_format(scilimits=(-3, 4))
    panel.locator_params(nbins=5)
    panel.spines[["top", "right"]].set_visible(False)
    panel.spines[["bottom", "left"]].set_color(GREY)
    panel.grid(color=PALE, linewidth=0.6)
    panel.set_axisbelow(True)


def label_outer(panels: Sequence[Axes], xlabel: str, ylabel: str) -> None:
    """Name the axes once per row and once per column of a grid of panels."""
    across = _across(len(panels))
    for number, panel in enumerate(panels):
        if number % across == 0:
            panel.set_ylabel(fitted_text(ylabel, 24), fontsize=LABEL_SIZE, color=INK)
        if number + across >= len(panels):
            panel.set_xlabel(fitted_text(xlabel, 60), fontsize=LABEL_SIZE, color=INK)


def legend_below(figure: Figure, handles: Sequence[Any]) -> None:
    """A legend under the panels; the figure's note, which would stand at the same place, becomes its title."""
    note = figure.get_supxlabel()
    figure.supxlabel("")
    columns = len(handles)
    if columns > 4:
        columns = max(1, int(figure.get_figwidth() // 3))
    figure.legend(
        handles,
        [handle.get_label() for handle in handles],
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        fontsize=TICK_SIZE,
        title=note,
        title_fontproperties={"size": TICK_SIZE},
    )


def fitted_text(text: str, width: int) -> str:
    """A user's words, wrapped at about `width` letters, where a dollar sign stands for itself, not for mathematics."""
    # A vertical tab after an underscore lets a long column name break there.
    lines = [
        textwrap.fill(line.replace("_", "_\v"), width, replace_whitespace=False)
        for line in text.splitlines()
    ]
    return "\n".join(lines).replace("\v", "").replace("$", r"\$")


def note_on_shown(things: str, count: int, most: int) -> str:
    """What the note of a picture says where not everything is shown."""
    return f"first {most:,} of {count:,} {things} shown" if count > most else ""


def words_of(categories: Sequence[Sequence[str]], column: int) -> Sequence[str]:
    """The names of a column's categories; none for a column of numbers."""
    return categories[column] if categories else ()


def every_nth(count: int, most: int) -> range:
    """At most `most` evenly spaced places out of `count`."""
    return range(0, count, math.ceil(count / most))


def span_of(values: Array) -> tuple[float, float]:
    """Lowest and highest finite value; never the same number twice."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    if low == high:
        margin = 0.5 * (abs(low) or 1)
        return low - margin, high + margin
    return low, high


def as_events(values: ArrayLike, leading: int, columns: Sequence[str]) -> Array:
    """The array, if it holds rows with these columns, or images, behind `leading` axes."""
    array = np.asarray(values, dtype=float)
    event = array.shape[leading:]
    if columns:
        what = f"rows of {len(columns)} columns"
        fits = event == (len(columns),)
    else:
        what = "images of (channels, height, width)"
        fits = len(event) == 3
    if not fits or not array.size:
        raise ValueError(
            f"the picture needs {leading} leading axes and then {what}; got shape {array.shape}. "
            "Reshape the array, or name as many columns as it has."
        )
    return array


def draw_histogram(panel: Axes, values: Array, bins: Array, **look: Any) -> None:
    """A histogram as a density; what lies outside the bins counts, but is not drawn."""
    inside = values[(values >= bins[0]) & (values <= bins[-1])]
    if not inside.size:
        return
    there = np.count_nonzero(~np.isnan(values))
    bin_width = bins[1] - bins[0]
    weights = np.full(inside.size, 1 / there / bin_width)
    panel.hist(inside, bins=list(bins), weights=weights, **look)


def scatter_points(panel: Axes, across: Array, upwards: Array, **look: Any) -> Any:
    """Points, the smaller and the paler the more there are; of many a drawing holds pixels, not elements."""
    size, alpha = (9, 0.6) if len(across) > 1_000 else (16, 0.7)
    across, upwards = across[:MOST_POINTS], upwards[:MOST_POINTS]
    look |= {"s": size, "alpha": alpha, "linewidths": 0, "rasterized": len(across) > MOST_ELEMENTS}
    return panel.scatter(across, upwards, **look)
