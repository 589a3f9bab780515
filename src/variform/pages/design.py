"""The page of a design study: what each space reached with how many evaluations, and the tables beside it."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from variform.data.outlines import Layout, layout_of
from variform.data.schema import Ends
from variform.design.outcomes import quartile_curves
from variform.pages.palette import PALETTE
from variform.pages.style import (
    BLUE,
    GREY,
    TICK_SIZE,
    Array,
    fitted_text,
    legend_below,
    new_figure,
    new_panels,
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
