"""Figures as drawings in a page's HTML: panel by panel, so that they flow into any width, in the page's own colours.

What Matplotlib writes as SVG is taken apart by panels and entries of the legend, each of which is a drawing of its own.
Text stays text, in the page's font; the colours of `style` and of the palette become variables, which the page sets for
light and dark. Clouds of many points stay pixels inside (`style.scatter_points`); walls of tiles are left to PNG.
"""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.transforms import Bbox

from variform.pages.palette import DARK_PALETTE, PALETTE
from variform.pages.report import Drawing, Part, Picture
from variform.pages.style import GREY, INK, PALE, TICK_SIZE, Array, save_figure
from variform.system.files import replacing

Say = Callable[[str], str]

_DOTS = 160  # an inch, of what stays pixels
_PAD = 0.05  # inches around a part
_WIDE = 5.8  # inches from which on a part does not fit a phone
_NARROW = 4.2  # inches of what is drawn for a phone instead
_SIDES = np.array([-1, -1, 1, 1])  # outwards, of left, bottom, right and top
_PIXELS = 96 / 72  # of a page, a point
_COLOURS = {
    **{colour: f"var(--c{number})" for number, colour in enumerate(PALETTE)},
    INK: "var(--ink)",
    GREY: "var(--soft)",
    PALE: "var(--line)",
    "#ffffff": "var(--paper)",
}
_COLOUR = re.compile("|".join(_COLOURS))
_FONT = re.compile(r"font: (?:(bold|[1-9]00) )?([\d.]+)px [^;]*")
_FAMILY = re.compile(r"font-family: [^;]*(; )?")
_NO_TURN = re.compile(r"rotate\(-?0 [^)]*\)")
_LONG_NUMBER = re.compile(r"-?\d+\.\d{3,}")
_REFERENCE = re.compile(r"#([\w-]+)")
_PLACED = ("d", "x", "y", "points", "transform", "width", "height", "cx", "cy", "r")
_HREF = "{http://www.w3.org/1999/xlink}href"


def picture_of(figure: Figure, title: str, path: Path, caption: str, say: Say = str) -> Picture:
    """Write a figure as PNG, and say how a page shows it: as a drawing where it is not a wall of tiles.

    Args:
        figure: The figure, which is used up.
        title: What is seen.
        path: The PNG file.
        caption: What to learn from it.
        say: What puts a text into the language of the page; the file stays English.
    """
    with replacing(path) as temporary:
        save_figure(figure, temporary)
    return Picture(title, path, caption, drawing_of(figure, title, say))


def drawing_of(figure: Figure, title: str, say: Say = str) -> Drawing | None:
    """The figure as a drawing, panel by panel; None where a panel is a wall of tiles, which PNG holds better.

    Args:
        figure: The figure, which is used up.
        title: What is seen: no two figures of one page have the same.
        say: What puts a text into the language of the page.

    Example:
        >>> from variform.pages.latents import plot_latent
        >>> drawing = drawing_of(plot_latent([[0, 0], [1, 1]], [0, 1], classes=("disc", "ring")), "Latent space")
        >>> drawing.title, len(drawing.panels), len(drawing.keys), "var(--c0)" in drawing.panels[0].svg
        ('Where the encoder puts the examples', 1, 2, True)
    """
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
        figure.set_layout_engine("none")
    panels = _panels(figure)
    if any(len(panel.images) > 1 for group in panels for panel in group):
        return None
    around = _around(panels)
    heading = _plain(figure.get_suptitle())
    notes = [figure.get_supxlabel(), *(one.get_title().get_text() for one in figure.legends)]
    for panel in figure.axes:
        panel.patch.set_visible(False)
    for words in figure.texts:
        words.set(visible=False, in_layout=False)
    drawer = _Drawer(figure, title, say)
    keys = [drawer.key(legend, place) for legend in figure.legends for place in _entries(legend)]
    for legend in figure.legends:
        legend.set_visible(False)
    parts = [drawer.panel(group, around) for group in panels]
    note = "; ".join(say(_plain(words)) for words in notes if words)
    return Drawing(say(heading), note, parts, keys)


_DARK = {"ink": "#e6e9eb", "soft": "#a3adb5", "line": "#363d43", "paper": "#15191c"}


def themed(svg: str) -> str:
    """What Matplotlib writes as SVG, in colours that follow the reader's light or dark where the file is an image.

    Args:
        svg: The text of the file, whose colours are those of `style` and of the palette.

    Example:
        >>> drawing = themed('<svg><defs/><path style="stroke: #ffffff"/></svg>')
        >>> '<path style="stroke: var(--paper)"/>' in drawing, "@media (prefers-color-scheme: dark)" in drawing
        (True, True)
    """
    light = {name[6:-1]: colour for colour, name in _COLOURS.items()}
    dark = _DARK | {f"c{number}": colour for number, colour in enumerate(DARK_PALETTE)}
    coloured = _COLOUR.sub(lambda found: _COLOURS[found[0]], svg)

    def rule(colours: Mapping[str, str]) -> str:
        return "".join(f";--{name}:{colour}" for name, colour in colours.items())

    style = (
        f"<style>svg{{color-scheme:light dark{rule(light)}}} "
        f"@media (prefers-color-scheme: dark){{svg{{color-scheme:dark{rule(dark)}}}}}</style>"
    )
    return coloured.replace("<defs", f"{style}<defs", 1)


def _panels(figure: Figure) -> list[list[Axes]]:
    """The panels of a figure, each with what belongs to it: its bars of colours, and axes that lie over it."""
    groups: list[list[Axes]] = []
    for axes in figure.axes:
        is_over = bool(groups) and axes.get_position().bounds == groups[-1][0].get_position().bounds
        if groups and (axes.get_label() == "<colorbar>" or is_over):
            groups[-1].append(axes)
        else:
            groups.append([axes])
    return groups


def _entries(legend: Legend) -> range:
    return range(len(legend.get_texts()))


def _plain(words: str) -> str:
    """What `style.fitted_text` has made ready, as one line of plain text."""
    return " ".join(words.replace(r"\$", "$").split())


def _around(panels: Sequence[Sequence[Axes]]) -> Array:
    """How far names, numbers and bars of colours reach beyond panels at most, on each side, in pixels."""
    return np.max([_extent(group) - group[0].bbox.extents for group in panels] * _SIDES, axis=0)


def _extent(group: Sequence[Axes]) -> Array:
    """Left, bottom, right and top of all that belongs to a panel, in pixels."""
    boxes = [axes.get_tightbbox() for axes in group]
    return np.array(Bbox.union([box for box in boxes if box is not None]).extents)


class _Drawer:
    """Draws parts of a figure, the others hidden."""

    def __init__(self, figure: Figure, title: str, say: Say) -> None:
        self.figure = figure
        self.title = title
        self.say = say
        self.count = 0

    def panel(self, group: Sequence[Axes], around: Array) -> Part:
        """One panel with equal room around all, and where it is wide and of no fixed shape a second one for a phone."""
        for axes in self.figure.axes:
            axes.set_visible(axes in group)
        name = _plain(group[0].get_title()) or self.title
        wide = self._part(name, self.figure, group[0].bbox.extents + around * _SIDES)
        is_free = group[0].get_aspect() == "auto" or group[0].get_adjustable() == "datalim"
        if wide.width < _WIDE * 96 or not is_free:
            return wide
        width, height = self.figure.get_size_inches()
        self.figure.set_size_inches(_NARROW, _NARROW * height / width)
        self.figure.set_layout_engine("constrained")
        self.figure.draw_without_rendering()
        self.figure.set_layout_engine("none")
        narrow = self._part(name, self.figure, _extent(group))
        return Part(wide.svg, wide.width, narrow.svg)

    def key(self, legend: Legend, place: int) -> Part:
        """One entry of a legend, in a figure of its own: that of a cropped one would move."""
        words = legend.get_texts()[place].get_text()
        handle = legend.legend_handles[place]
        assert handle is not None
        small = Figure(figsize=(8, 1))
        alone = small.legend(
            [handle],
            [words],
            frameon=False,
            fontsize=TICK_SIZE,
            borderpad=0,
            loc="center",
        )
        small.draw_without_rendering()
        size = np.array(alone.get_window_extent().size) / small.dpi + 2 * _PAD
        small.set_size_inches(*size)
        return self._part(_plain(words), small, None)

    def _part(self, name: str, figure: Figure, extents: Array | None) -> Part:
        """What is visible within left, bottom, right and top, in pixels; without these in the whole figure."""
        self.count += 1
        inches = (
            None if extents is None else Bbox.from_extents(*(extents / figure.dpi)).padded(_PAD)
        )
        written = io.BytesIO()
        settings = {"svg.fonttype": "none", "svg.hashsalt": f"{self.title} {self.count}"}
        with rc_context(settings):
            figure.savefig(
                written,
                format="svg",
                bbox_inches=inches,
                facecolor="none",
                edgecolor="none",
                dpi=_DOTS,
                metadata={"Date": None},
            )
        width = figure.get_figwidth() if inches is None else inches.width
        return Part(_as_html(written.getvalue(), name, self.say), round(width * 96))


def _as_html(written: bytes, name: str, say: Say) -> str:
    """Matplotlib's SVG as an element of a page."""
    root = ElementTree.fromstring(written)
    for group in root.iter():
        _put(group, say)
    for parent in root.iter():
        for child in list(parent):
            if child.tag.endswith(("}metadata", "}style")):
                parent.remove(child)
    text = " ".join(value for element in root.iter() for value in element.attrib.values())
    used = set(_REFERENCE.findall(text))
    for element in root.iter():
        element.tag = element.tag.split("}")[-1]
        element.attrib = _attributes(element, used)
        if element.tag != "text":
            element.text = (element.text or "").strip() or None
        element.tail = None
    width, height = map(float, root.attrib["viewBox"].split()[2:])
    root.attrib = {
        "viewBox": root.attrib["viewBox"],
        "width": f"{width * _PIXELS:.0f}",
        "height": f"{height * _PIXELS:.0f}",
        "role": "img",
        "aria-label": say(name),
        "stroke-linejoin": "round",
        "fill": "currentColor",  # what Matplotlib leaves black
    }
    return ElementTree.tostring(root, encoding="unicode")


def _put(group: ElementTree.Element, say: Say) -> None:
    """Say the lines of a text each, or where they are one phrase, which was broken, all of them in the first."""
    lines = [child for child in group if child.tag.endswith("}text")]
    texts = [line.text or "" for line in lines]
    said = [say(text) for text in texts]
    if said == texts and (whole := say(" ".join(texts))) != " ".join(texts):
        said = [whole]
    for line, words in zip(lines, said, strict=False):
        line.text = words
    for line in lines[len(said) :]:
        group.remove(line)


def _attributes(element: ElementTree.Element, used: set[str]) -> dict[str, str]:
    """The attributes of an element in the page's words: no ids that nothing refers to, no digits that nobody sees."""
    made = {}
    for name, value in element.attrib.items():
        if name == "id" and value not in used:
            continue
        if name == _HREF:
            made["href"] = value
        elif name in _PLACED:
            made[name] = " ".join(_LONG_NUMBER.sub(_rounded, _NO_TURN.sub("", value)).split())
        elif name == "style":
            value = _FAMILY.sub("", _FONT.sub(_font, value))
            made[name] = (
                _COLOUR.sub(lambda found: _COLOURS[found[0]], value)
                .replace(": ", ":")
                .replace("; ", ";")
            )
        elif not name.startswith("{"):
            made[name] = value
    return {name: value for name, value in made.items() if value}


def _rounded(number: re.Match[str]) -> str:
    return f"{float(number[0]):.2f}".rstrip("0").rstrip(".")


def _font(found: re.Match[str]) -> str:
    """Size and weight; the family is the page's."""
    weight = f"; font-weight: {found[1]}" if found[1] else ""
    return f"font-size: {found[2]}px{weight}"
