"""The film of a training: the map of the data and the decoded plane, frame by frame, as a GIF and as a page."""

import base64
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from variform.data.outlines import Layout
from variform.pages.letters import give_fonts
from variform.pages.palette import PALETTE
from variform.pages.style import (
    BLUE,
    COLOUR_MAP,
    GREY,
    INK,
    LABEL_SIZE,
    MINUS,
    TICK_SIZE,
    Array,
    fitted_text,
    scatter_points,
    style_panel,
)
from variform.pages.tiles import draw_tiles, tiles_of
from variform.system.files import replacing, write_text

MOST_BYTES = 3_000_000
"""Of a film as a file."""
_INCHES, _DOTS = (8.4, 4.5), 90
_LEAST_DOTS = 40
_GREYS, _OWN = 24, 120  # colours
_PAUSE, _LAST_PAUSE = 200, 3000  # milliseconds of a frame
_COLUMNS = 4  # of a table, that are shown over the plane


@dataclass(frozen=True)
class Film:
    """Frames of a training.

    Args:
        title: What was trained on.
        epochs: Epochs done, of each frame; 0 is before the training.
        of_epochs: Epochs of the whole training.
        elbos: Of the validation rows, in nats; None where it is not known.
        points: Where rows lie in the plane, (frames, N, 2).
        axes: The names of its axes.
        labels: (N,), numbers that point into `classes`, negative where there is none; None without labels.
        classes: Their names.
        grid: What is decoded on the plane, (frames, n, n, *event), of two latents.
        originals: Rows, (M, *event).
        copies: Their reconstructions, (frames, M, *event).
        columns: Of a table.
        outline: How rows of a table are curves in a plane.
        is_image: Whether an event is an image, in shades from 0 to 255.
    """

    title: str
    epochs: Sequence[int]
    of_epochs: int
    elbos: Sequence[float | None]
    points: Array
    axes: tuple[str, str] = ("z1", "z2")
    labels: Array | None = None
    classes: Sequence[str] = ()
    grid: Array | None = None
    originals: Array | None = None
    copies: Array | None = None
    columns: Sequence[str] = ()
    outline: Layout | None = None
    is_image: bool = False

    def said(self, frame: int) -> str:
        """A frame in words.

        Example:
            >>> Film("digits", [0, 3], 9, [None, -20.25], np.zeros((2, 4, 2))).said(1)
            'epoch 3 of 9, validation ELBO \N{MINUS SIGN}20.25'
        """
        if not self.epochs[frame]:
            return "before the training"
        elbo = self.elbos[frame]
        known = "" if elbo is None else f", validation ELBO {elbo:.4g}".replace("-", MINUS)
        return f"epoch {self.epochs[frame]:,} of {self.of_epochs:,}{known}"


def plot_frame(film: Film, frame: int) -> Figure:
    """One frame: the rows in the latent plane, and beside them what is decoded. All frames have the same axes.

    Args:
        film: The film.
        frame: Number of the frame, from 0.

    Example:
        >>> random = np.random.default_rng(0)
        >>> film = Film("digits", [0, 3], 9, [None, -20.25], random.normal(size=(2, 50, 2)))
        >>> plot_frame(film, 1).axes[0].get_xlabel()
        'z1'
    """
    figure = Figure(figsize=_INCHES, facecolor="white")
    head = f"{fitted_text(film.title, 40)}: {film.said(frame)}"
    figure.text(0.02, 0.945, head, fontsize=11, fontweight="bold", color=INK)
    has_side = film.grid is not None or film.copies is not None
    panel = figure.add_axes((0.085, 0.2, 0.41 if has_side else 0.88, 0.7))
    style_panel(panel, xlabel=film.axes[0], ylabel=film.axes[1])
    _draw_map(figure, panel, film, frame)
    if film.grid is not None:
        _draw_plane(figure, film, frame)
    elif film.copies is not None:
        _draw_copies(figure, film, frame)
    return figure


def _draw_map(figure: Figure, panel: Axes, film: Film, frame: int) -> None:
    low, high = film.points[-1].min(0), film.points[-1].max(0)
    margin = 0.05 * np.maximum(high - low, 1e-6)
    panel.set_xlim(low[0] - margin[0], high[0] + margin[0])
    panel.set_ylim(low[1] - margin[1], high[1] + margin[1])
    points = film.points[frame]
    if film.labels is None or not film.classes:
        scatter_points(panel, *points.T, color=BLUE)
        return
    present = np.unique(film.labels[film.labels >= 0])
    is_many = len(present) > len(PALETTE)
    is_known = film.labels >= 0
    scatter_points(panel, *points[~is_known].T, color=GREY)
    shades = film.labels if is_many else np.searchsorted(present, film.labels)
    look: dict[str, Any] = {"cmap": COLOUR_MAP}
    if not is_many:
        look = {"cmap": ListedColormap(PALETTE), "vmin": -0.5, "vmax": len(PALETTE) - 0.5}
    scatter_points(panel, *points[is_known].T, c=shades[is_known], **look)
    if is_many:
        return
    dot: dict[str, Any] = {"linestyle": "", "marker": "o", "markersize": 5}
    handles = [Line2D([], [], color=PALETTE[place], **dot) for place in range(len(present))]
    names = [fitted_text(film.classes[int(label)], 14) for label in present]
    figure.legend(
        handles, names, loc="lower left", bbox_to_anchor=(0.02, 0.0), ncols=10, frameon=False,
        fontsize=TICK_SIZE, handletextpad=0.1, columnspacing=0.9,
    )  # fmt: skip


def _draw_plane(figure: Figure, film: Film, frame: int) -> None:
    """What is decoded on the plane: one mosaic, or of a table a heat-map of each of the first columns."""
    assert film.grid is not None
    grid = film.grid[frame]
    if film.is_image or film.outline is not None:
        panel = figure.add_axes((0.55, 0.2, 0.43, 0.7))
        tiles = tiles_of(film.grid, (0.0, 255.0), film.outline)
        tiles.draw_grid(panel, grid)
        rows, across = grid.shape[:2]
        panel.set(xlim=(-0.5, across - 0.5), ylim=(-0.5, rows - 0.5), xticks=[], yticks=[])
        panel.set_aspect(float(np.clip(tiles.ratio, 0.4, 2.5)))
        panel.set_title("decoded over the plane of the prior", fontsize=LABEL_SIZE, color=INK)
        return
    names = film.columns[:_COLUMNS]
    for place, name in enumerate(names):
        row, column = divmod(place, 2)
        wide = 0.19 if len(names) > 1 else 0.43
        high = 0.3 if len(names) > 2 else 0.62
        low = 0.22 if row or len(names) <= 2 else 0.6
        panel = figure.add_axes((0.55 + 0.225 * column, low, wide, high))
        values = film.grid[..., place]
        ends = {"vmin": values.min(), "vmax": values.max()}
        panel.imshow(grid[..., place], origin="lower", cmap=COLOUR_MAP, aspect="auto", **ends)
        panel.set_title(fitted_text(name, 22), fontsize=TICK_SIZE, color=INK)
        panel.set(xticks=[], yticks=[])


def _draw_copies(figure: Figure, film: Film, frame: int) -> None:
    """Rows, and below each its reconstruction."""
    assert film.copies is not None and film.originals is not None
    across = 6
    copies, pairs = film.copies[frame], []
    for start in range(0, len(copies), across):
        pairs += [film.originals[start : start + across], copies[start : start + across]]
    events = np.concatenate(pairs)
    panel = figure.add_axes((0.55, 0.06, 0.43, 0.84))
    tiles = tiles_of(
        np.concatenate([film.originals[None], film.copies]), (0.0, 255.0), film.outline
    )
    draw_tiles(panel, events, across, tiles)
    panel.set_title("rows, and below each its reconstruction", fontsize=LABEL_SIZE, color=INK)


def frames_of(film: Film, *, dots: int = _DOTS) -> Iterator[Image.Image]:
    """The frames as images of few colours.

    Args:
        film: The film.
        dots: Pixels an inch; a frame is 8.4 inches wide.
    """
    palette = _palette(film, _pixels(film, len(film.epochs) - 1, dots))
    for frame in range(len(film.epochs)):
        pixels = _pixels(film, frame, dots)
        yield pixels.quantize(palette=palette, dither=Image.Dither.NONE)


def _pixels(film: Film, frame: int, dots: int) -> Image.Image:
    with rc_context({"image.interpolation": "nearest"}):
        figure = plot_frame(film, frame)
        figure.set_dpi(dots)
        give_fonts(figure)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def _palette(film: Film, last: Image.Image) -> Image.Image:
    """The colours of all frames: those of labels in three tints, greys, and what images and heat-maps have beside."""
    named = np.array([to_rgb(colour) for colour in PALETTE])
    tints = np.concatenate([named * share + 1 - share for share in (1.0, 0.7, 0.35)])
    greys = np.linspace(0, 1, _GREYS)[:, None].repeat(3, 1)
    colours = (255 * np.concatenate([tints, greys])).round().astype(np.uint8)
    events = film.grid if film.grid is not None else film.copies
    is_grey = events is None or film.outline is not None
    if film.is_image and events is not None:
        is_grey = events.shape[-3] == 1
    if not is_grey:
        own = last.quantize(_OWN, method=Image.Quantize.MEDIANCUT).getpalette() or []
        colours = np.concatenate([colours, np.reshape(own, (-1, 3)).astype(np.uint8)])
    image = Image.new("P", (1, 1))
    image.putpalette(colours.tobytes())
    return image


def write_film(film: Film, gif: Path, page: Path) -> tuple[int, int]:
    """Write a film as a GIF that plays once, and as a page with a slider and a button; bytes of each.

    Both are whole or not there, and below 3 MB: of a film that would be larger with fewer pixels.

    Args:
        film: The film.
        gif: The .gif file.
        page: The .html file.
    """
    dots = _DOTS
    while True:
        images = list(frames_of(film, dots=dots))
        as_gif, as_page = _gif(images), _page(film, images)
        size = max(len(as_gif), len(as_page.encode()))
        if size <= MOST_BYTES or dots <= _LEAST_DOTS:
            break
        dots = max(_LEAST_DOTS, int(dots * min(0.9, (MOST_BYTES / size) ** 0.5)))
    with replacing(gif) as temporary:
        temporary.write_bytes(as_gif)
    write_text(page, as_page)
    return len(as_gif), len(as_page.encode())


def _gif(images: Sequence[Image.Image]) -> bytes:
    content = io.BytesIO()
    pauses = [_PAUSE] * (len(images) - 1) + [_LAST_PAUSE]
    # Without a number of loops it plays once and stands: nothing moves that nobody asked for.
    images[0].save(
        content, "GIF", save_all=True, append_images=images[1:], duration=pauses, optimize=True
    )
    return content.getvalue()


def _page(film: Film, images: Sequence[Image.Image]) -> str:
    from jinja2 import Environment, StrictUndefined

    source = resources.files("variform.pages").joinpath("film.html.j2").read_text(encoding="utf-8")
    environment = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    frames = []
    for number, image in enumerate(images):
        content = io.BytesIO()
        image.save(content, "PNG", optimize=True)
        frames.append(
            {"said": film.said(number), "data": base64.b64encode(content.getvalue()).decode()}
        )
    width, height = images[0].size
    has_plane = film.grid is not None
    shows = "the map of the rows"
    if has_plane:
        shows += " and what is decoded over the plane"
    elif film.copies is not None:
        shows += " and reconstructions"
    return environment.from_string(source).render(
        title=film.title, shows=shows, frames=frames, width=width, height=height, pause=_PAUSE
    )
