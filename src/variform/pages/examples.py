"""Pictures of rows: data beside their reconstructions, and new samples."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from variform.data.outlines import Layout
from variform.data.schema import Ends
from variform.pages.style import (
    BLUE,
    GREY,
    INK,
    LABEL_SIZE,
    MOST_PAIRS,
    MOST_PANELS,
    MOST_POINTS,
    MOST_TILES,
    WIDTH,
    Array,
    as_events,
    draw_histogram,
    every_nth,
    fitted_text,
    label_outer,
    legend_below,
    new_figure,
    new_panels,
    note_on_shown,
    scatter_points,
    span_of,
    words_of,
)
from variform.pages.tiles import Tiles, draw_tiles, size_of_tiles, tile_shape, tiles_of


def plot_reconstructions(
    originals: ArrayLike,
    reconstructions: ArrayLike,
    *,
    columns: Sequence[str] = (),
    categories: Sequence[Sequence[str]] = (),
    value_range: tuple[Ends, Ends] = (0.0, 1.0),
    outline: Layout | None = None,
) -> Figure:
    """Originals against what the VAE makes of them.

    Images: every original stands above its reconstruction, up to 20 examples. Tables: one panel per column, up to 12,
    original to the right and reconstruction upwards; a perfect model lies on the diagonal.

    Args:
        originals: (N, *event), in the data's units.
        reconstructions: (N, *event), in the data's units.
        columns: The table's column names; empty for images.
        categories: For each column the names of its categories 0, 1, ...; empty for a column of numbers.
        value_range: The values drawn as black and as white, of all channels or of each.
        outline: How the rows of a table are curves in a plane, which are drawn as images are.

    Raises:
        ValueError: if the events are neither images nor rows with these columns, or if there are none.

    Example:
        >>> images = np.random.default_rng(0).random((5, 1, 8, 8))
        >>> len(plot_reconstructions(images, images).axes)
        1
    """
    before = as_events(originals, 1, columns)
    after = as_events(reconstructions, 1, columns)
    if columns and outline is None:
        return _reconstruction_panels(before, after, columns, categories)
    few = np.concatenate([before[:MOST_PAIRS], after[:MOST_PAIRS]])
    return _reconstruction_rows(before, after, tiles_of(few, value_range, outline))


def plot_samples(
    samples: ArrayLike,
    *,
    data: ArrayLike | None = None,
    columns: Sequence[str] = (),
    categories: Sequence[Sequence[str]] = (),
    value_range: tuple[Ends, Ends] = (0.0, 1.0),
    outline: Layout | None = None,
) -> Figure:
    """Examples drawn from the model, beside the data if given.

    Images: a square grid, and one of the data to its left. Tables: one histogram per column, up to 12, with the same
    bins for data and samples; the bins span the data, and a panel's title says how many samples fall outside. Where all
    data are whole numbers, every bin holds equally many of them.

    Args:
        samples: (N, *event), in the data's units.
        data: (M, *event), in the same units; NaN where a value is missing.
        columns: The table's column names; empty for images.
        categories: For each column the names of its categories 0, 1, ...; empty for a column of numbers.
        value_range: The values drawn as black and as white, of all channels or of each.
        outline: How the rows of a table are curves in a plane, which are drawn as images are.

    Raises:
        ValueError: if the events are neither images nor rows with these columns, or if there are none.

    Example:
        >>> rows = np.random.default_rng(0).random((100, 2))
        >>> len(plot_samples(rows, data=rows, columns=("length", "mass")).axes)
        2
    """
    drawn = as_events(samples, 1, columns)
    real = None if data is None else as_events(data, 1, columns)
    if columns and outline is None:
        return _sample_panels(drawn, real, columns, categories)
    return _sample_grids(drawn, real, tiles_of(drawn[:MOST_TILES], value_range, outline))


# ── The parts of single pictures ────────────────────────────────────────────────────────────────────────────────────


def _reconstruction_rows(before: Array, after: Array, tiles: Tiles) -> Figure:
    count = min(len(before), MOST_PAIRS)
    across = count if count <= 12 else math.ceil(count / 2)
    starts = range(0, count, across)
    width, height = size_of_tiles(tiles, 2, across)
    note = note_on_shown("examples", len(before), MOST_PAIRS)
    title = "Originals and their reconstructions"
    figure = new_figure(width, len(starts) * (height + 0.2) + 0.6, title, note)
    panels = figure.subplots(len(starts), squeeze=False).flat
    for panel, start in zip(panels, starts, strict=True):
        band = slice(start, min(start + across, count))
        draw_tiles(panel, np.concatenate([before[band], after[band]]), across, tiles)
        panel.set_yticks([0, 1], ["original", "reconstruction"])
    return figure


def _reconstruction_panels(
    before: Array, after: Array, columns: Sequence[str], categories: Sequence[Sequence[str]]
) -> Figure:  # fmt: skip
    note = [
        note_on_shown("columns", len(columns), MOST_PANELS),
        note_on_shown("rows", len(before), MOST_POINTS),
    ]
    figure, panels = new_panels(
        columns,
        title="Originals and their reconstructions, column by column",
        note="; ".join(["on the line: reconstructed exactly", *filter(None, note)]),
        ratio=1.0,
    )
    for number, panel in enumerate(panels):
        original, reconstruction = before[:, number], after[:, number]
        low, high = span_of(np.concatenate([original, reconstruction]))
        margin = 0.04 * (high - low)
        panel.plot([low, high], [low, high], color=INK, linewidth=0.8, zorder=3)
        scatter_points(panel, original, reconstruction, color=BLUE)
        limits = (low - margin, high + margin)
        panel.set(xlim=limits, ylim=limits, box_aspect=1)
        if words := words_of(categories, number):
            shown = every_nth(len(words), 6)
            names = [fitted_text(words[index], max(8, 36 // len(shown))) for index in shown]
            panel.set_xticks(shown, names)
            panel.set_yticks(shown, names)
    label_outer(panels, "original", "reconstruction")
    return figure


def _sample_grids(samples: Array, data: Array | None, tiles: Tiles) -> Figure:
    title = "Samples from the model"
    grids = {"samples": samples}
    if data is not None:
        title = "Data, and samples from the model"
        grids = {"data": data, "samples": samples}
    most = max(len(images) for images in grids.values())
    across = math.ceil(math.sqrt(min(MOST_TILES, most)))
    side = 6.2 if data is None else WIDTH / 2
    note = note_on_shown("samples", len(samples), MOST_TILES)
    cell, _, _ = tile_shape(tiles)
    figure = new_figure(side * len(grids), side * cell + 0.4, title, note)
    panels = figure.subplots(1, len(grids), squeeze=False).flat
    for panel, (name, images) in zip(panels, grids.items(), strict=True):
        draw_tiles(panel, images[:MOST_TILES], across, tiles)
        if data is not None:
            panel.set_title(name, fontsize=LABEL_SIZE, color=INK)
    return figure


def _sample_panels(
    samples: Array, data: Array | None, columns: Sequence[str], categories: Sequence[Sequence[str]]
) -> Figure:  # fmt: skip
    title = "Samples from the model, column by column"
    if data is not None:
        title = "Samples from the model, against the data, column by column"
    figure, panels = new_panels(columns, title=title)
    reference = samples if data is None else data
    for number, (panel, name) in enumerate(zip(panels, columns, strict=False)):
        low, high = span_of(reference[:, number])
        margin = 0.05 * (high - low)
        bins = np.linspace(low - margin, high + margin, 31)
        there = reference[np.isfinite(reference[:, number]), number]
        # As many whole numbers in each bin, or they make a comb.
        if there.size and (there == np.rint(there)).all():
            width = max(1, int(np.ceil((there.max() - there.min() + 1) / 30)))
            bins = np.arange(there.min() - 0.5, there.max() + width, width)
        if words := words_of(categories, number):
            bins = np.arange(len(words) + 1) - 0.5
            shown = every_nth(len(words), 6)
            panel.set_xticks(
                shown, [fitted_text(words[index], max(8, 36 // len(shown))) for index in shown]
            )
        if data is not None:
            draw_histogram(
                panel,
                data[:, number],
                bins,
                label="data",
                color=GREY,
                alpha=0.45,
                histtype="stepfilled",
            )
        draw_histogram(
            panel,
            samples[:, number],
            bins,
            label="samples",
            color=BLUE,
            linewidth=1.6,
            histtype="step",
        )
        outside = np.mean((samples[:, number] < bins[0]) | (samples[:, number] > bins[-1]))
        if outside:
            panel.set_title(
                f"{fitted_text(name, 28)}\n({outside:.1%} of samples outside)",
                fontsize=LABEL_SIZE,
                color=INK,
            )
    label_outer(panels, "", "density")
    if data is not None:
        legend_below(figure, panels[0].get_legend_handles_labels()[0])
    return figure
