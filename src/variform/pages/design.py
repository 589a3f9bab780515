"""The page of a design study: what each space reached with how many evaluations, and the tables beside it."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from variform.data.outlines import Layout, layout_of
from variform.data.schema import Ends, Schema
from variform.design.outcomes import quartile_curves
from variform.design.told import non_dominated
from variform.pages.palette import PALETTE
from variform.pages.style import (
    BLUE,
    GREY,
    INK,
    MOST_PANELS,
    TICK_SIZE,
    Array,
    fitted_text,
    legend_below,
    new_figure,
    new_panels,
    note_on_shown,
    style_panel,
)
from variform.pages.tiles import draw_tiles, tiles_of


def plot_searches(
    curves: Mapping[str, Sequence[Array]], *, ylabel: str, known: float | None = None
) -> Figure:
    """The best so far after each evaluation: the median over seeds, and their quartiles as a band.

    Args:
        curves: By the name of a space the best so far of each of its seeds, (n,) each, NaN before the first feasible
            design.
        ylabel: What the best is, with its unit.
        known: What the best known design reaches; None or NaN where that is not known, or none is feasible.

    Raises:
        ValueError: if there are no curves.

    Example:
        >>> len(plot_searches({"latent": [np.array([np.nan, 3.0, 2.0])]}, ylabel="drag").axes)
        1
    """
    if not curves:
        raise ValueError("plot_searches needs a search at least; got none. Evaluate designs first.")
    figure = new_figure(7.5, 4.4, "Best so far: median over seeds, and quartiles")
    panel = figure.subplots()
    style_panel(panel, xlabel="evaluations", ylabel=ylabel)
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    lines = []
    for number, (name, searches) in enumerate(curves.items()):
        colour = PALETTE[number % len(PALETTE)]
        dashes = ("-", "--", ":")[number // len(PALETTE) % 3]
        low, median, high = quartile_curves(searches)
        counts = np.arange(1, len(median) + 1)
        label = fitted_text(name, 30)
        lines += panel.plot(
            counts, median, color=colour, linestyle=dashes, linewidth=1.8, label=label
        )
        panel.fill_between(counts, low, high, color=colour, alpha=0.15, linewidth=0)
    if known is not None and np.isfinite(known):
        panel.axhline(known, color=GREY, linestyle="--", linewidth=1)
        text = panel.text(1, known, " best known design", va="bottom")
        text.set(fontsize=TICK_SIZE, color=GREY)
    legend_below(figure, lines)
    return figure


def plot_front(
    found: Mapping[str, Array],
    *,
    known: Array | None,
    reference: Array,
    signs: Array,
    labels: Sequence[str],
) -> Figure:
    """Two objectives against each other: the designs of each space, and the line of those that none dominates.

    Args:
        found: By the name of a space the objectives of its feasible designs, (n, 2), as they are minimised.
        known: Those of known designs, (N, 2); None where they are not known.
        reference: The point from which the hypervolume counts, (2,), as minimised.
        signs: What turns minimised values back into the user's, (2,).
        labels: What the axes are called, with units.

    Example:
        >>> rows = np.array([[1.0, 3.0], [2.0, 2.0], [3.0, 3.0]])
        >>> options = {"reference": np.array([4.0, 4.0]), "signs": np.ones(2), "labels": ("mass", "drag")}
        >>> len(plot_front({"latent": rows}, known=None, **options).axes[0].lines)
        3
    """
    figure = new_figure(7.5, 4.8, "Two objectives: what no other design of a space dominates")
    panel = figure.subplots()
    style_panel(panel, xlabel=labels[0], ylabel=labels[1])
    lines = []
    if known is not None and len(known):
        (dots,) = panel.plot(*(known * signs).T, ".", color=GREY, markersize=3, label="known")
        lines.append(dots)
    for number, (name, rows) in enumerate(found.items()):
        colour = PALETTE[number % len(PALETTE)]
        panel.plot(*(rows * signs).T, ".", color=colour, markersize=3, alpha=0.4)
        front = rows[non_dominated(rows)]
        front = front[front[:, 0].argsort()] * signs
        label = fitted_text(name, 30)
        lines += panel.plot(*front.T, "o-", color=colour, markersize=4, linewidth=1.4, label=label)
    panel.plot(*(reference * signs), "+", color=INK, markersize=9)
    legend_below(figure, lines)
    return figure


def plot_winners(
    winners: Mapping[str, Array],
    nearest: Mapping[str, Array],
    known: Array,
    *,
    columns: Sequence[str] = (),
    value_range: tuple[Ends, Ends] = (0.0, 1.0),
    outline: Layout | None = None,
) -> Figure | None:
    """The best design of each space over the known design that is nearest to it: outlines or images.

    Args:
        winners: By the name of a space its best design, (*shape) in the user's units.
        nearest: Likewise the known design that is nearest.
        known: Other known designs, (N, *shape), which say whether the rows of a table are outlines.
        columns: The columns of a table; empty for images.
        value_range: Of images, what is black and white.
        outline: How the rows of a table are outlines, where that is known.

    Returns:
        None for rows of a table that are no outlines.
    """
    names = list(winners)
    title = "The best design of each space, and the known design nearest to it"
    rows = np.stack([*winners.values(), *(nearest[name] for name in names)])
    if not columns:
        across = len(names)
        figure = new_figure(max(4.0, 1.8 * across), 4.2, title)
        panel = figure.subplots()
        draw_tiles(panel, rows, across, tiles_of(rows, value_range))
        panel.set_xticks(range(across), [fitted_text(name, 14) for name in names])
        panel.set_yticks([0, 1], ["best", "nearest"])
        return figure
    outline = outline or layout_of(np.concatenate([rows, known]), columns)
    if outline is None:
        return None
    outlines = outline.points(rows)
    figure, panels = new_panels(names, title=title, note="grey: the known design", ratio=0.6)
    for number, panel in enumerate(panels):
        panel.plot(*outlines[len(names) + number].T, color=GREY, linewidth=1.2)
        panel.plot(*outlines[number].T, color=BLUE, linewidth=1.8)
        panel.set_aspect("equal", adjustable="datalim")
    return figure


def plot_designs(
    designs: Mapping[str, Array], known: Array, *, schema: Schema
) -> Figure | None:  # fmt: skip
    """Designs by their names, for a person to look at: outlines or images.

    Args:
        designs: Each (*shape) in the user's units.
        known: Known designs, (N, *shape), which say whether the rows of a table are outlines.
        schema: What designs are.

    Returns:
        None for rows of a table that are no outlines.
    """
    names = list(designs)
    rows = np.stack(list(designs.values()))
    is_image = schema.kind == "image"
    outline = schema.outline
    if outline is None and not is_image:
        outline = layout_of(np.concatenate([rows, known]), schema.columns)
    if outline is None and not is_image:
        return None
    note = note_on_shown("designs", len(names), MOST_PANELS)
    figure, panels = new_panels(
        names, title="Designs that wait for an answer", note=note, ratio=0.7
    )
    for number, panel in enumerate(panels):
        if outline is None:
            one = rows[number : number + 1]
            draw_tiles(panel, one, 1, tiles_of(one, schema.grey_range))
            continue
        outlines = outline.points(rows)
        panel.plot(*outlines[number].T, color=BLUE, linewidth=1.8)
        _set_alike(panel, outlines)
    return figure


def _set_alike(panel: Axes, outlines: Array) -> None:
    """Limits in which all outlines (N, points, 2) have place, so that panels can be compared, and equal scales."""
    low, high = outlines.min((0, 1)), outlines.max((0, 1))
    margin = 0.05 * (high - low).max()
    (left, bottom), (right, top) = low - margin, high + margin
    panel.set(xlim=(left, right), ylim=(bottom, top))
    panel.set_aspect("equal", adjustable="box")
