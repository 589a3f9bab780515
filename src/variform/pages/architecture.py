"""A model as a drawing: its networks layer by layer, its three laws, the shapes between them and the weights in each.

All of it is read from the model itself (`model.architecture`), a network of the user's own included. The drawing is SVG
with text that stays text, as wide as a phone, in the colours of the page or of the reader's light or dark.
"""

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from matplotlib.font_manager import findfont
from matplotlib.ft2font import FT2Font
from torch import nn

from variform.config.model import prior_name
from variform.config.words import counted
from variform.model.architecture import Block, Shape, blocks_of
from variform.model.features import FilledGaps, LogCounts
from variform.model.spaces import space_of
from variform.model.vae import VAE, HasVAE, vae_of
from variform.system.files import write_text

WIDTH = 360
"""Pixels of the drawing."""
_EDGE = 10  # around it
_PAD = 9  # in a box
_LINE = 16  # from one line to the next
_GAP = 22  # between rows
_HEAD = 26  # more, for the name of a network
_LANE = 9  # between lines at the side
_MOST_LANES = 6
_SIZE, _SMALL = 13, 12
_TIMES, _SIGMA = "\N{MULTIPLICATION SIGN}", "\N{GREEK SMALL LETTER SIGMA}"
_INK, _PAPER = "#1d2327", "#ffffff"
_LIGHT, _DARK = "#e6e9eb", "#15191c"
_FONT = (
    'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", Arial, sans-serif'
)


@dataclass(frozen=True)
class Scheme:
    """A drawing of a model, which shows itself in a notebook.

    Args:
        svg: The element, in the colour of the text around it.
    """

    svg: str

    def _repr_html_(self) -> str:
        return f'<div style="max-width: {WIDTH}px">{self.svg}</div>'

    def save(self, path: str | Path, *, new: bool = False) -> None:
        """Write a .svg file with colours of its own, for light and dark; with `new` only where no file is."""
        style = (
            f"<style>svg{{color-scheme:light dark;color:{_INK}}} .paper{{fill:{_PAPER}}} "
            f"@media (prefers-color-scheme: dark){{svg{{color:{_LIGHT}}} .paper{{fill:{_DARK}}}}}</style>"
            '<rect class="paper" width="100%" height="100%"/>'
        )
        head, _, rest = self.svg.partition("</desc>")
        write_text(path, f"{head}</desc>{style}{rest}\n", new=new)


def plot_architecture(model: VAE | HasVAE) -> Scheme:
    """The networks and laws of a model from x to x, with every shape and all weights.

    A box is a layer, or what joins several; what follows it without weights stands in it. Lines at the side pass layers
    by, as residual connections do.

    Args:
        model: A VAE, a `Model` or a run.

    Example:
        >>> from variform import ModelConfig, build_vae, read
        >>> vae = build_vae(ModelConfig(latent_dim=2, hidden=(16,)), read("digits").schema)
        >>> svg = plot_architecture(vae).svg
        >>> "Linear" in svg, "64 → 16" in svg, "1,040 weights" in svg
        (True, True, True)
    """
    vae = vae_of(model)
    plan = _Plan()
    _lay_out(plan, vae)
    return Scheme(plan.svg(f"Architecture: {_name(vae)}", _words(vae)))


# ── What is drawn ───────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class _Cell:
    """A box: a title, and lines below it."""

    title: str
    lines: Sequence[str] = ()
    is_law: bool = False
    x: float = 0
    y: float = 0
    width: float = 0
    height: float = 0
    row: int = 0
    texts: list[tuple[str, bool]] = field(default_factory=list)  # as broken, and whether bold

    @property
    def middle(self) -> float:
        return self.x + self.width / 2


@dataclass
class _Plan:
    """Rows of boxes, the lines between them, and the names of networks above rows."""

    rows: list[list[_Cell]] = field(default_factory=list)
    edges: list[tuple[_Cell, _Cell]] = field(default_factory=list)
    heads: dict[int, tuple[str, str]] = field(default_factory=dict)
    summary: list[str] = field(default_factory=list)

    def add(self, *cells: _Cell, after: Sequence[_Cell] = ()) -> _Cell:
        """A row, whose first box comes after others; gives that."""
        for cell in cells:
            cell.row = len(self.rows)
        self.rows.append(list(cells))
        self.edges += [(source, cells[0]) for source in after]
        return cells[0]

    def svg(self, title: str, description: str) -> str:
        """The drawing."""
        lanes = self._lanes()
        right = _LANE * (max(lanes.values(), default=-1) + 1)
        height = self._place(WIDTH - 2 * _EDGE - right)
        key = f"a{zlib.crc32((title + description).encode()):08x}"
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" width="{WIDTH}" '
            f'height="{height:g}" role="img" aria-labelledby="{key}-title {key}-desc" fill="none" '
            f'stroke-linejoin="round" font-family=\'{_FONT}\' font-size="{_SMALL}">',
            f'<title id="{key}-title">{escape(title)}</title>',
            f'<desc id="{key}-desc">{escape(description)}</desc>',
        ]
        y = _EDGE + _LINE * 0.8
        for place, words in enumerate(self.summary):
            parts.append(_text(_EDGE, y + place * _LINE, words, bold=not place))
        for row, (name, weights) in self.heads.items():
            y = self.rows[row][0].y - 9
            parts.append(_text(_EDGE, y, name, bold=True))
            parts.append(_text(WIDTH - _EDGE - right, y, weights, end=True))
        parts += [self._edge(*edge, lanes.get(place)) for place, edge in enumerate(self.edges)]
        parts += [_box(cell) for row in self.rows for cell in row]
        return "".join([*parts, "</svg>"])

    def _is_beside(self, source: _Cell, target: _Cell) -> bool:
        return target.row == source.row + 1

    def _lanes(self) -> dict[int, int]:
        """Which line at the side each edge takes that passes rows by: the innermost that is free."""
        lanes: dict[int, int] = {}
        for place, (source, target) in enumerate(self.edges):
            if self._is_beside(source, target):
                continue
            taken = {
                lane
                for other, lane in lanes.items()
                if self.edges[other][0].row < target.row and source.row < self.edges[other][1].row
            }
            free = (lane for lane in range(_MOST_LANES) if lane not in taken)
            lanes[place] = next(free, _MOST_LANES - 1)
        return lanes

    def _place(self, width: float) -> float:
        """Give every box its place and its broken lines; gives the height of all."""
        self.summary = [
            part
            for place, words in enumerate(self.summary)
            for part in _broken(words, WIDTH - 2 * _EDGE, bold=not place)
        ]
        y = _EDGE + _LINE * len(self.summary) + 8.0
        for index, row in enumerate(self.rows):
            if index:
                y += _GAP
            if index in self.heads:
                y += _HEAD
            each = (width - _PAD * (len(row) - 1)) / len(row)
            for place, cell in enumerate(row):
                cell.x, cell.y, cell.width = _EDGE + place * (each + _PAD), y, each
                titles = _broken(cell.title, each - 2 * _PAD, bold=True)
                lines = [part for line in cell.lines for part in _broken(line, each - 2 * _PAD)]
                cell.texts = [(part, True) for part in titles] + [(part, False) for part in lines]
            height = max(_LINE * len(cell.texts) for cell in row) + 12
            for cell in row:
                cell.height = height
            y += height
        return math.ceil(y + _EDGE)

    def _edge(self, source: _Cell, target: _Cell, lane: int | None) -> str:
        """The line from one box to another, with its head."""
        bottom, top = source.y + source.height, target.y
        if lane is None:
            x, turn = target.middle, bottom + 8
            way = f"M{source.middle:g} {bottom:g}V{turn:g}H{x:g}V{top - 2:g}"
            head = f"M{x - 4:g} {top - 7:g}L{x:g} {top - 1:g}L{x + 4:g} {top - 7:g}"
        else:
            ends = source.x + source.width, target.x + target.width
            side = max(ends) + _LANE * (lane + 0.6)
            start, end = source.y + source.height / 2, target.y + target.height / 2
            way = f"M{ends[0]:g} {start:g}H{side:g}V{end:g}H{ends[1] + 2:g}"
            x = ends[1] + 1
            head = f"M{x + 6:g} {end - 4:g}L{x:g} {end:g}L{x + 6:g} {end + 4:g}"
        return f'<path d="{way}{head}" stroke="currentColor" stroke-opacity=".7"/>'


def _lay_out(plan: _Plan, vae: VAE) -> None:
    total = sum(one.numel() for one in vae.parameters())
    plan.summary = [f"{_name(vae)}: {total:,} weights"]
    structure = vae.likelihood.structure
    if structure:
        plan.summary.append(f"One of the lecture's three structures: {structure}.")
    x = _Cell("x", [_event(vae)])
    seen, start = vae.event_shape, [x]
    encoder_context = [_context(vae)] if vae.context_dim else []
    if vae.features is None:
        plan.add(x, *encoder_context)
    else:
        plan.add(x)
        seen = vae.features.out_shape
        start = [_Cell("What the encoder sees", [_features(vae), _numbers(seen)])]
        plan.add(*start, *encoder_context, after=[x])
    heads = [*start, *encoder_context]
    shapes = [seen, *([(vae.context_dim,)] if vae.context_dim else [])]
    last = _add_network(plan, "Encoder", vae, "encoder", shapes, heads)
    q = _posterior(plan, vae, last)
    prior = _Cell(f"Prior p(z): {_prior(vae)}", _weights(vae.prior), is_law=True)
    plan.rows[q.row].append(prior)
    prior.row = q.row
    ways = "drawn from q to train, from p to generate"
    z = _Cell(f"z: {counted(vae.latent_dim, 'latent dimension')}", [ways])
    decoder_context = [_context(vae)] if vae.context_dim else []
    plan.add(z, *decoder_context, after=[q, prior])
    given = vae.latent_dim + vae.context_dim
    if decoder_context:
        joined = _Cell("joined", [f"{vae.latent_dim} and {vae.context_dim} → {given}"])
        z = plan.add(joined, after=[z, *decoder_context])
    last = _add_network(plan, "Decoder", vae, "decoder", [(given,)], [z])
    _likelihood(plan, vae, last)
    if vae.classifier is not None:
        again = _Cell("x", ["the same as above"])
        plan.add(again)
        last = _add_network(plan, "Classifier", vae, "classifier", [seen], [again])
        assert vae.schema is not None  # a model with a classifier is of data
        law = _Cell(f"q({vae.schema.conditions[0].name}|x)", ["a category"], is_law=True)
        plan.add(law, after=[last])


def _add_network(
    plan: _Plan, title: str, vae: VAE, part: str, shapes: Sequence[Shape], heads: Sequence[_Cell]
) -> _Cell:
    """The blocks of a network; its inputs stand there already. Gives the last one."""
    network = getattr(vae, part)
    blocks = blocks_of(network, shapes)
    for cell, block in zip(heads, blocks, strict=False):
        if block.then:
            cell.lines = [*cell.lines, _then(block)]
    cells = list(heads)
    first = len(plan.rows)
    for block in blocks[len(heads) :]:
        cell = _Cell(block.name, _block_lines(block))
        plan.add(cell, after=[cells[source] for source in block.sources])
        cells.append(cell)
    weights = sum(one.numel() for one in network.parameters())
    drawn = sum(block.weights for block in blocks)
    if first < len(plan.rows):
        plan.heads[first] = (title, _count(weights))
    if drawn < weights:
        cells[-1].lines = [*cells[-1].lines, f"and {_count(weights - drawn)} that do not act here"]
    return cells[-1]


def _posterior(plan: _Plan, vae: VAE, last: _Cell) -> _Cell:
    """What the encoder's numbers are, and the law that they describe."""
    family: Any = vae.posterior
    kinds = _kinds(family.param_counts)
    plan.add(*kinds, after=[last])
    plan.edges += [(last, kind) for kind in kinds[1:]]
    steps = getattr(family, "steps", None)
    std = getattr(family, "std", None)
    stds = {"exp": "e^(h/2)", "softplus": "log(1 + e^h)"}
    lines = [] if std is None else [f"{_SIGMA} = {stds[std]}"]
    if not space_of(vae).has_densities:
        lines.append(f"{counted(family.codes, 'code')} of {family.values:,} values")
    lines += [] if steps is None else [counted(len(steps.steps), "step")]
    q = _Cell(f"q(z|x): {family.law_name}", [*lines, *_weights(family)], is_law=True)
    plan.add(q, after=kinds)
    return q


def _likelihood(plan: _Plan, vae: VAE, last: _Cell) -> None:
    """What the decoder's numbers are, the law that they describe, and x."""
    kinds = _kinds(vae.likelihood.param_counts)
    plan.add(*kinds, after=[last])
    plan.edges += [(last, kind) for kind in kinds[1:]]
    name = type(vae.likelihood).__name__.removesuffix("Likelihood")
    if vae.config is not None and vae.config.likelihood != "auto":
        name = vae.config.likelihood
    p = _Cell(f"p(x|z): {name}", [*_columns(vae), *_weights(vae.likelihood)], is_law=True)
    plan.add(p, after=kinds)
    plan.add(_Cell("x", [_event(vae)]), after=[p])


def _kinds(counts: dict[str, int]) -> list[_Cell]:
    """Boxes of the numbers of a law, two of them side by side; more in one box."""
    kinds = {name: count for name, count in counts.items() if count}
    if len(kinds) <= 2:
        return [_Cell(name, [f"{count:,}"]) for name, count in kinds.items()]
    total = sum(kinds.values())
    return [_Cell(f"{total:,} numbers", [f"{name}: {count:,}" for name, count in kinds.items()])]


# ── Its words ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _name(vae: VAE) -> str:
    kind = "conditional VAE" if vae.context_dim else "VAE"
    source = f" of {vae.schema.source}" if vae.schema is not None else ""
    return f"{kind}{source}"


def _words(vae: VAE) -> str:
    """The whole in a sentence or two, for who does not see it."""
    parts = []
    for part in ("encoder", "decoder"):
        weights = sum(one.numel() for one in getattr(vae, part).parameters())
        parts.append(f"{part} of {_count(weights)}")
    return (
        f"From x ({_event(vae)}) an {parts[0]} to q(z|x), {counted(vae.latent_dim, 'latent dimension')} z with the "
        f"prior {_prior(vae)}, and a {parts[1]} from z to p(x|z). Every layer is a box with its shapes and weights."
    )


def _event(vae: VAE) -> str:
    if vae.schema is not None and vae.schema.kind == "image":
        return f"an image, {_shape(vae.event_shape)}"
    return _numbers(vae.event_shape)


def _numbers(shape: Shape) -> str:
    return counted(shape[0], "number") if len(shape) == 1 else f"{_shape(shape)} numbers"


def _shape(shape: Shape) -> str:
    return f" {_TIMES} ".join(map(str, shape)) or "1"


def _count(weights: int) -> str:
    return f"{weights:,} weight" if weights == 1 else f"{weights:,} weights"


def _weights(module: nn.Module) -> list[str]:
    """The weights that a law has of its own."""
    count = sum(one.numel() for one in module.parameters())
    return [f"{_count(count)} of its own"] if count else []


def _features(vae: VAE) -> str:
    if isinstance(vae.features, FilledGaps):
        return "gaps filled with the mean"
    if isinstance(vae.features, LogCounts):
        return "logarithms of the counts"
    return "numbers standardised, categories one-hot, marks for gaps and spikes"


def _prior(vae: VAE) -> str:
    if vae.config is None or type(vae.prior).__name__ not in _PRIORS:
        return type(vae.prior).__name__.removesuffix("Prior")
    return prior_name(vae.config)


_PRIORS = ("StandardNormalPrior", "MixturePrior", "VampPrior", "FlowPrior")


def _context(vae: VAE) -> _Cell:
    """What a conditional model is told."""
    conditions = vae.schema.conditions if vae.schema is not None else ()
    names = [f"{one.name}: {one.width}" for one in conditions if one.width > 1]
    names += [one.name for one in conditions if one.width == 1]
    return _Cell("given c", [", ".join(names), counted(vae.context_dim, "number")])


def _columns(vae: VAE) -> list[str]:
    """How many columns of a mixed table have which kind."""
    kinds = vae.schema.kinds if vae.schema is not None else ()
    counts = {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}
    return [", ".join(f"{count} {kind}" for kind, count in counts.items())] if counts else []


def _block_lines(block: Block) -> list[str]:
    numbers = f"{' and '.join(map(_shape, block.takes))} → {_shape(block.gives)}"
    lines = [f"{numbers}, {_count(block.weights)}" if block.weights else numbers]
    return [*lines, *([_then(block)] if block.then else [])]


def _then(block: Block) -> str:
    words = ", ".join(block.then).replace(" x ", f" {_TIMES} ")
    return f"then {words}".replace("minus centre", "minus the mean of the training rows")


# ── Lines of text ───────────────────────────────────────────────────────────────────────────────────────────────────


def _box(cell: _Cell) -> str:
    round_ = 14 if cell.is_law else 5
    parts = [
        f'<rect x="{cell.x:g}" y="{cell.y:g}" width="{cell.width:g}" height="{cell.height:g}" rx="{round_}" '
        f'fill="currentColor" fill-opacity="{".13" if cell.is_law else ".05"}" stroke="currentColor" '
        'stroke-opacity=".55"/>'
    ]
    for place, (words, bold) in enumerate(cell.texts):
        parts.append(_text(cell.x + _PAD, cell.y + 18 + place * _LINE, words, bold=bold))
    return f"<g>{''.join(parts)}</g>"


def _text(x: float, y: float, words: str, *, bold: bool = False, end: bool = False) -> str:
    look = f' font-weight="bold" font-size="{_SIZE}"' if bold else ""
    anchor = ' text-anchor="end"' if end else ""
    return f'<text x="{x:g}" y="{y:g}" fill="currentColor"{look}{anchor}>{escape(words)}</text>'


def _broken(words: str, width: float, *, bold: bool = False) -> list[str]:
    """Words in lines that fit, measured in a wide font; a word that fits no line is cut."""
    lines: list[str] = []
    line = ""
    for word in words.split():
        longer = f"{line} {word}".strip()
        if _length(longer, bold=bold) <= width:
            line = longer
            continue
        lines += [line] if line else []
        while _length(word, bold=bold) > width and len(word) > 1:
            fits = next(
                n
                for n in range(len(word), 0, -1)
                if n == 1 or _length(word[:n], bold=bold) <= width
            )
            lines.append(word[:fits])
            word = word[fits:]
        line = word
    return [*lines, line] if line else lines


def _length(words: str, *, bold: bool = False) -> float:
    """Pixels of a line in DejaVu Sans, which is wider than what browsers take."""
    return sum(_advance(letter, bold) for letter in words) * (_SIZE if bold else _SMALL)


@cache
def _advance(letter: str, bold: bool) -> float:
    """The width of a letter, of the size of the font; of one that the font lacks the whole of it."""
    font = _font(bold)
    if not font.get_char_index(ord(letter)):
        return 1.0
    return font.load_char(ord(letter)).linearHoriAdvance / 65536 / 100


@cache
def _font(bold: bool) -> FT2Font:
    font = FT2Font(findfont(f"DejaVu Sans:{'bold' if bold else 'normal'}"))
    font.set_size(100, 72)
    return font
