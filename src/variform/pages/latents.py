"""Pictures of the latent space: maps, paths through it, and what each latent holds."""

from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from variform.data.outlines import Layout
from variform.data.schema import Ends
from variform.pages.palette import PALETTE
from variform.pages.style import (
    BLUE,
    COLOUR_MAP,
    GREY,
    INK,
    LABEL_SIZE,
    MINUS,
    MOST_LINES,
    MOST_PANELS,
    MOST_POINTS,
    PALE,
    TICK_SIZE,
    WIDTH,
    Array,
    as_events,
    every_nth,
    fitted_text,
    label_outer,
    legend_below,
    new_figure,
    new_panels,
    note_on_shown,
    scatter_points,
    span_of,
    style_panel,
    words_of,
)
from variform.pages.tiles import Tiles, draw_tiles, size_of_tiles, tiles_of

ACTIVE_NATS = 0.01


def plot_manifold(
    grid: ArrayLike,
    quantiles: ArrayLike,
    *,
    is_standard: bool = True,
    columns: Sequence[str] = (),
    categories: Sequence[Sequence[str]] = (),
    value_range: tuple[Ends, Ends] = (0.0, 1.0),
    outline: Layout | None = None,
) -> Figure:
    """The decoder's mean over a two-dimensional latent space, z1 to the right and z2 upwards.

    Images: one mosaic, seamless from 16 pixels on. Tables: one heat-map per column, up to 12.

    Args:
        grid: (n, n, *event), in the data's units; grid[i, j] is decoded where z1 is the quantiles[j]-quantile of
            the prior and z2 its quantiles[i]-quantile, given z1.
        quantiles: (n,), rising, in (0, 1).
        is_standard: Whether the prior is N(0, I): then the values of z stand beside their quantiles.
        columns: The table's column names; empty for images.
        categories: For each column the names of its categories 0, 1, ...; empty for a column of numbers.
        value_range: The values drawn as black and as white, of all channels or of each.
        outline: How the rows of a table are curves in a plane, which are drawn as images are.

    Raises:
        ValueError: if the events are neither images nor rows with these columns, or if there are none.

    Example:
        >>> grid = np.random.default_rng(0).random((3, 3, 1, 8, 8))
        >>> plot_manifold(grid, [0.1, 0.5, 0.9]).axes[0].get_xlabel()
        'z1 (and its quantile)'
    """
    decoded = as_events(grid, 2, columns)
    levels = np.asarray(quantiles, dtype=float)
    title = "The latent plane, decoded"
    if columns and outline is None:
        figure, panels = new_panels(columns, title=title)
        for number, panel in enumerate(panels):
            _draw_heat_map(figure, panel, decoded[..., number], words_of(categories, number))
    else:
        tiles = tiles_of(decoded, value_range, outline)
        figure, panel = _new_mosaic(decoded, title, tiles)
        panels = [panel]
    ticks = 3 if columns and outline is None else 10
    for panel in panels:
        _latent_ticks(panel, levels, ticks, is_standard)
    if is_standard:
        label_outer(panels, "z1 (and its quantile)", "z2 (and its quantile)")
    else:
        label_outer(panels, "quantile of z1", "quantile of z2 where z1 is there")
    return figure


def _draw_heat_map(figure: Figure, panel: Axes, values: Array, words: Sequence[str]) -> None:
    """One column over the latent plane, (rows, across), with a bar of its colours; `words` name its categories."""
    if words:
        colours = colormaps[COLOUR_MAP].resampled(len(words))
        last = len(words) - 0.5
        image = panel.imshow(values, origin="lower", cmap=colours, vmin=-0.5, vmax=last)
    else:
        image = panel.imshow(values, origin="lower", cmap=COLOUR_MAP)
    bar = figure.colorbar(image, cax=panel.inset_axes((1.05, 0.0, 0.06, 1.0)))
    bar.ax.tick_params(labelsize=TICK_SIZE)
    if words:
        shown = every_nth(len(words), 10)
        bar.set_ticks(shown, labels=[fitted_text(words[place], 12) for place in shown])
    else:
        bar.ax.locator_params(nbins=5)


def _new_mosaic(grid: Array, title: str, tiles: Tiles) -> tuple[Figure, Axes]:
    """A figure of events (rows, across, *event) side by side, the first row at the bottom."""
    rows, across = grid.shape[:2]
    ratio = float(np.clip(tiles.ratio * rows / across, 0.4, 2.5))
    figure = new_figure(1.2 + 6.2 * min(1, 1 / ratio), 1.0 + 6.2 * min(1, ratio), title)
    panel = figure.subplots()
    tiles.draw_grid(panel, grid)
    panel.set(xlim=(-0.5, across - 0.5), ylim=(-0.5, rows - 0.5))
    panel.set_aspect(ratio * across / rows)
    return figure, panel


def plot_latent(
    points: ArrayLike,
    labels: ArrayLike | None = None,
    *,
    classes: Sequence[str] = (),
    axes: tuple[str, str] = ("z1", "z2"),
    title: str = "Where the encoder puts the examples",
) -> Figure:
    """A cloud of latent points, coloured by label; the first 5,000 of them.

    Up to ten different labels get a colour and a line in the legend each, more get a continuous colour map.

    Args:
        points: (N, 2).
        labels: (N,), numbers or words; with `classes`, whole numbers that point into it.
        classes: The names of the labels 0, 1, 2, ...
        axes: The names of the two axes.
        title: What is seen.

    Raises:
        ValueError: if `points` is not (N, 2) or `labels` is not (N,).

    Example:
        >>> figure = plot_latent([[0, 0], [1, 1]], [0, 1], classes=("disc", "ring"))
        >>> [text.get_text() for text in figure.legends[0].get_texts()]
        ['disc', 'ring']
    """
    cloud = np.asarray(points, dtype=float)
    if cloud.ndim != 2 or cloud.shape[1] != 2:
        raise ValueError(
            f"points must be (N, 2); got {cloud.shape}. Choose two axes, such as points[:, :2]."
        )
    figure = new_figure(7.4, 6.2, title, note_on_shown("points", len(cloud), MOST_POINTS))
    panel = figure.subplots()
    style_panel(panel, xlabel=axes[0], ylabel=axes[1])
    panel.set_aspect("equal", adjustable="datalim")
    if labels is None:
        scatter_points(panel, *cloud.T, color=BLUE)
    else:
        _scatter_labelled(figure, panel, cloud, np.asarray(labels), classes)
    return figure


def plot_responses(
    points: ArrayLike,
    responses: Mapping[str, Array],
    *,
    axes: tuple[str, str] = ("z1", "z2"),
) -> Figure:
    """A cloud of latent points, once a response and coloured by it; the first 12 responses, and the first 5,000 points.

    Numbers have a bar of colours, which 98 of 100 of them lie within; of words the nine that are most frequent have a
    colour each. Points without the response lie in grey below the others.

    Args:
        points: (N, 2).
        responses: By name, with the unit if there is one: N numbers, NaN where there is none, or N words, empty where
            there is none.
        axes: The names of the two axes.

    Raises:
        ValueError: if there are no responses.

    Example:
        >>> figure = plot_responses([[0, 0], [1, 1]], {"drag [N]": np.array([0.5, 2.0])})
        >>> figure.axes[0].get_title()
        'drag [N]'
    """
    if not responses:
        raise ValueError("plot_responses needs a response or more; got none. Use plot_latent.")
    cloud = np.asarray(points, dtype=float)
    notes = [
        note_on_shown("responses", len(responses), MOST_PANELS),
        note_on_shown("points", len(cloud), MOST_POINTS),
        ""
        if all(_is_there(np.asarray(each)).all() for each in responses.values())
        else "grey: none",
    ]
    title = "The responses of the rows where the encoder puts them"
    figure, panels = new_panels(list(responses), title=title, note="; ".join(filter(None, notes)))
    for panel, values in zip(panels, responses.values(), strict=False):
        _scatter_response(figure, panel, cloud[:MOST_POINTS], np.asarray(values)[:MOST_POINTS])
    label_outer(panels, *axes)
    return figure


def _is_there(values: Array) -> Array:
    """Which responses are known."""
    return values != "" if values.dtype.kind in "US" else np.isfinite(values)


def _scatter_response(figure: Figure, panel: Axes, points: Array, values: Array) -> None:
    """One panel of `plot_responses`."""
    is_text = values.dtype.kind in "US"
    is_there = _is_there(values)
    scatter_points(panel, *points[~is_there].T, color=PALE)
    here, known = points[is_there], values[is_there]
    if not len(known):
        return
    if not is_text:
        low, high = np.quantile(known, (0.01, 0.99))
        cloud = scatter_points(panel, *here.T, c=known, cmap=COLOUR_MAP, vmin=low, vmax=high)
        bar = figure.colorbar(ScalarMappable(cloud.norm, COLOUR_MAP), ax=panel, pad=0.02)
        bar.ax.tick_params(labelsize=TICK_SIZE)
        bar.ax.locator_params(nbins=5)
        return
    words, counts = np.unique(known, return_counts=True)
    most = words[np.argsort(-counts, kind="stable")][: len(PALETTE) - 1]
    for word, colour in zip(most, PALETTE, strict=False):
        own = here[known == word]
        scatter_points(panel, *own.T, color=colour, label=fitted_text(word, 16))
    if others := len(words) - len(most):
        own = here[~np.isin(known, most)]
        scatter_points(panel, *own.T, color=GREY, label=f"{others} others")
    panel.legend(fontsize=TICK_SIZE, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def plot_traversals(
    values: ArrayLike,
    positions: ArrayLike,
    names: Sequence[str],
    *,
    is_standard: bool = True,
    columns: Sequence[str] = (),
    categories: Sequence[Sequence[str]] = (),
    value_range: tuple[Ends, Ends] = (0.0, 1.0),
    outline: Layout | None = None,
) -> Figure:
    """What one latent dimension changes when it alone moves; the first 12 of them.

    Images: one row per dimension. Tables: one panel per dimension with one line per column, up to 8; each column is
    scaled to its range over all traversals, so that the lines show which dimension moves which column, and how far.

    Args:
        values: (dims, steps, *event), in the data's units.
        positions: (steps,), in standard deviations of N(0, 1), or the positions of N(0, 1) whose quantiles are those
            of the prior.
        names: One label per dimension, such as "z3 KL 2.31" on one line or two.
        is_standard: Whether the prior is N(0, I).
        columns: The table's column names; empty for images.
        categories: For each column the names of its categories 0, 1, ...; empty for a column of numbers.
        value_range: The values drawn as black and as white, of all channels or of each.
        outline: How the rows of a table are curves in a plane, which are drawn as images are.

    Raises:
        ValueError: if the events are neither images nor rows with these columns, or if there are none.

    Example:
        >>> values = np.random.default_rng(0).random((2, 5, 1, 8, 8))
        >>> figure = plot_traversals(values, [-2, -1, 0, 1, 2], ["z1", "z2"])
        >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
        ['z1', 'z2']
    """
    paths = as_events(values, 2, columns)
    steps = np.asarray(positions, dtype=float)
    title = "Latent traversals: what changes when one dimension moves"
    note = note_on_shown("latent dimensions", len(paths), MOST_PANELS)
    label = (
        "position (std)"
        if is_standard
        else "quantile of the prior, as that of N(0, 1) at this position"
    )
    if columns and outline is None:
        return _path_panels(
            paths, steps, names, columns, categories, title=title, note=note, label=label
        )
    heads = [f"{step:+.2g}".replace("-", MINUS) if step else "0" for step in steps]
    tiles = tiles_of(paths, value_range, outline)
    return _path_rows(paths, heads, names, tiles, title=title, note=note, label=label)


def plot_conditions(
    values: ArrayLike,
    conditions: Sequence[str],
    name: str,
    *,
    columns: Sequence[str] = (),
    categories: Sequence[Sequence[str]] = (),
    value_range: tuple[Ends, Ends] = (0.0, 1.0),
    outline: Layout | None = None,
) -> Figure:
    """What a condition changes: the same examples under each; the first 12 of them.

    Images: one row per example. Tables: one panel per example with one line per column, up to 8, scaled to its range.

    Args:
        values: (examples, conditions, *event), in the data's units.
        conditions: The conditions in words.
        name: What the conditions are values of.
        columns: The table's column names; empty for images.
        categories: For each column the names of its categories 0, 1, ...; empty for a column of numbers.
        value_range: The values drawn as black and as white, of all channels or of each.
        outline: How the rows of a table are curves in a plane, which are drawn as images are.

    Raises:
        ValueError: if the events are neither images nor rows with these columns, or if there are none.

    Example:
        >>> values = np.random.default_rng(0).random((3, 2, 1, 8, 8))
        >>> len(plot_conditions(values, ["cat", "dog"], "label").axes)
        1
    """
    paths = as_events(values, 2, columns)
    title, note = (
        f"The same latent points under each {name}",
        note_on_shown("examples", len(paths), MOST_PANELS),
    )
    names = [f"example {number}" for number in range(1, len(paths) + 1)]
    if columns and outline is None:
        steps = np.arange(len(conditions), dtype=float)
        return _path_panels(
            paths,
            steps,
            names,
            columns,
            categories,
            title=title,
            note=note,
            label=f"{name}, in order",
        )
    return _path_rows(
        paths,
        list(conditions),
        names,
        tiles_of(paths, value_range, outline),
        title=title,
        note=note,
        label=name,
    )


def plot_interpolation(
    values: ArrayLike,
    *,
    columns: Sequence[str] = (),
    categories: Sequence[Sequence[str]] = (),
    value_range: tuple[Ends, Ends] = (0.0, 1.0),
    outline: Layout | None = None,
) -> Figure:
    """The way from one example to another through the latent space; the first 12 pairs.

    Images: one row per pair. Tables: one panel per pair with one line per column, up to 8; each column is scaled to
    its range over all pairs.

    Args:
        values: (pairs, steps, *event), in the data's units, in even steps.
        columns: The table's column names; empty for images.
        categories: For each column the names of its categories 0, 1, ...; empty for a column of numbers.
        value_range: The values drawn as black and as white, of all channels or of each.
        outline: How the rows of a table are curves in a plane, which are drawn as images are.

    Raises:
        ValueError: if the events are neither images nor rows with these columns, or if there are none.

    Example:
        >>> figure = plot_interpolation(np.random.default_rng(0).random((2, 3, 1, 8, 8)))
        >>> [label.get_text() for label in figure.axes[0].get_xticklabels()]
        ['0%', '50%', '100%']
    """
    paths = as_events(values, 2, columns)
    steps = np.linspace(0, 100, paths.shape[1])
    names = [f"pair {number}" for number in range(1, len(paths) + 1)]
    title = "Interpolation: from one example to another through the latent space"
    note = note_on_shown("pairs", len(paths), MOST_PANELS)
    label = "share of the way"
    if columns and outline is None:
        return _path_panels(
            paths, steps, names, columns, categories, title=title, note=note, label=f"{label} (%)"
        )
    return _path_rows(
        paths,
        [f"{step:.3g}%" for step in steps],
        names,
        tiles_of(paths, value_range, outline),
        title=title,
        note=note,
        label=label,
    )


def plot_levels(
    values: ArrayLike,
    names: Sequence[str],
    *,
    columns: Sequence[str] = (),
    categories: Sequence[Sequence[str]] = (),
    value_range: tuple[Ends, Ends] = (0.0, 1.0),
    outline: Layout | None = None,
) -> Figure:
    """Draws under latents that are held, a row for each of these; the first 12 rows.

    Args:
        values: Images, or rows that are outlines, (rows, draws, *event), in the data's units.
        names: What is held in each row.
        columns, categories, value_range, outline: As of `plot_interpolation`.

    Raises:
        ValueError: if the events are neither images nor outlines, or if there are none.

    Example:
        >>> figure = plot_levels(np.random.default_rng(0).random((2, 3, 1, 8, 8)), ["z2", "z2"])
        >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
        ['z2', 'z2']
    """
    del categories
    drawn = as_events(values, 2, columns)
    return _path_rows(
        drawn,
        [str(number) for number in range(1, drawn.shape[1] + 1)],
        names,
        tiles_of(drawn, value_range, outline),
        title="Levels: what is held at the left, and what the latents below it change",
        note=note_on_shown("rows", len(drawn), MOST_PANELS),
        label="draw",
    )


def plot_kl_per_dimension(mean: ArrayLike, se: ArrayLike) -> Figure:
    """How many nats each latent dimension carries, the largest first.

    Args:
        mean: (D,), mean KL of each dimension, in nats per example.
        se: (D,), its standard error.

    Raises:
        ValueError: if the two are not one number per dimension each.

    Example:
        >>> plot_kl_per_dimension([0.5, 2.0], [0.1, 0.1]).axes[0].get_xticklabels()[0].get_text()
        'z2'
    """
    height, error = (
        np.atleast_1d(np.asarray(mean, dtype=float)),
        np.atleast_1d(np.asarray(se, dtype=float)),
    )
    if height.ndim != 1 or height.shape != error.shape or not height.size:
        raise ValueError(
            f"plot_kl_per_dimension needs a mean and a standard error per dimension; got shapes {height.shape} and "
            f"{error.shape}. Average over the examples first."
        )
    order = np.argsort(-height, kind="stable")
    active = height[order] > ACTIVE_NATS
    title = f"KL per latent dimension: {active.sum()} of {len(active)} above {ACTIVE_NATS:g} nats"
    note = "error bars: one standard error"
    figure = new_figure(min(WIDTH, max(6.6, 1.5 + 0.4 * len(order))), 4.0, title, note)
    panel = figure.subplots()
    style_panel(panel, xlabel="latent dimension, largest KL first", ylabel="KL (nats per example)")
    panel.bar(
        range(len(order)),
        height[order],
        color=np.where(active, BLUE, PALE),
        yerr=error[order],
        error_kw={"ecolor": INK, "capsize": 2.5, "elinewidth": 1},
    )
    panel.grid(visible=False, axis="x")
    ticks = every_nth(len(order), 25)
    panel.set_xticks(ticks, [f"z{order[tick] + 1}" for tick in ticks])
    middle, half = (len(order) - 1) / 2, max(len(order), 6) / 2 + 0.2
    panel.set(xlim=(middle - half, middle + half), ylim=(min(0.0, *height), None))
    return figure


def _latent_ticks(panel: Axes, quantiles: Array, most: int, is_standard: bool) -> None:
    count = len(quantiles)
    ticks = every_nth(count, most) if most > 3 else sorted({0, count // 2, count - 1})
    names = [f"{quantiles[tick]:.3g}" for tick in ticks]
    if is_standard:
        values = [
            f"{NormalDist().inv_cdf(quantiles[tick]):.2f}".replace("-", MINUS) for tick in ticks
        ]
        names = [f"{value}\n({name})" for value, name in zip(values, names, strict=True)]
    panel.grid(visible=False)
    panel.set_xticks(ticks, names, fontsize=TICK_SIZE)
    panel.set_yticks(ticks, names, fontsize=TICK_SIZE)


def _scatter_labelled(
    figure: Figure, panel: Axes, points: Array, labels: Array, classes: Sequence[str]
) -> None:
    """Colours by label: a legend for up to ten different ones, otherwise a colour bar."""
    if labels.shape != (len(points),):
        raise ValueError(
            f"labels must be one per point, ({len(points)},); got {labels.shape}. Pass one column."
        )
    present, codes = np.unique(labels, return_inverse=True)
    names = [fitted_text(classes[int(value)] if classes else str(value), 24) for value in present]
    if len(present) <= len(PALETTE):
        scatter_points(
            panel,
            *points.T,
            c=codes[:MOST_POINTS],
            cmap=ListedColormap(PALETTE),
            vmin=-0.5,
            vmax=9.5,
        )
        look: dict[str, Any] = {"linestyle": "", "marker": "o", "markersize": 6}
        handles = [Line2D([], [], color=PALETTE[code], **look) for code in range(len(present))]
        figure.legend(
            handles, names, loc="outside right center", frameon=False, fontsize=LABEL_SIZE
        )
        return
    numeric = not classes and np.issubdtype(labels.dtype, np.number)
    shades = labels if numeric else codes
    cloud = scatter_points(panel, *points.T, c=shades[:MOST_POINTS], cmap=COLOUR_MAP)
    bar = figure.colorbar(
        ScalarMappable(cloud.norm, COLOUR_MAP), ax=panel, label="label", shrink=0.85, pad=0.02
    )
    bar.ax.tick_params(labelsize=TICK_SIZE)
    if not numeric:
        ticks = every_nth(len(names), 20)
        bar.set_ticks(ticks, labels=[names[tick] for tick in ticks])


def _path_rows(
    paths: Array,
    heads: Sequence[str],
    names: Sequence[str],
    tiles: Tiles,
    *,
    title: str,
    note: str,
    label: str,
) -> Figure:
    """Tiles (paths, steps, *event), a row per path, with its name at the left and the steps' heads above."""
    paths = paths[:MOST_PANELS]
    width, height = size_of_tiles(tiles, *paths.shape[:2])
    figure = new_figure(width, height + 1.1, title, note)
    panel = figure.subplots()
    draw_tiles(panel, paths.reshape(-1, *paths.shape[2:]), paths.shape[1], tiles)
    panel.xaxis.tick_top()
    panel.xaxis.set_label_position("top")
    ticks = every_nth(len(heads), 15)
    panel.set_xticks(ticks, [heads[tick] for tick in ticks])
    panel.set_yticks(range(len(paths)), [fitted_text(name, 20) for name in names[: len(paths)]])
    panel.set_xlabel(label, fontsize=LABEL_SIZE, color=INK)
    return figure


def _path_panels(
    paths: Array,
    steps: Array,
    names: Sequence[str],
    columns: Sequence[str],
    categories: Sequence[Sequence[str]],
    *,
    title: str,
    note: str,
    label: str,
) -> Figure:
    """Tables (paths, steps, columns), a panel per path and a line per column, scaled to its range over all paths.

    A column of categories has steps, from the first category at the bottom to the last at the top.
    """
    spans = [span_of(values) for values in np.moveaxis(paths, -1, 0)[:MOST_LINES]]
    words = [words_of(categories, number) for number in range(len(spans))]
    spans = [
        (0.0, max(1.0, len(some) - 1.0)) if some else span
        for some, span in zip(words, spans, strict=True)
    ]
    figure, panels = new_panels(
        names[: len(paths)],
        title=title,
        note="; ".join(filter(None, [note, note_on_shown("columns", len(columns), MOST_LINES)])),
    )
    for panel, path in zip(panels, paths, strict=False):
        for values, (low, high), colour, some in zip(path.T, spans, PALETTE, words, strict=False):
            style = "steps-mid" if some else "default"
            panel.plot(
                steps, (values - low) / (high - low), color=colour, linewidth=1.8, drawstyle=style
            )
        panel.set_ylim(-0.05, 1.05)
    label_outer(panels, label, "value, as a share of its range in this picture")
    for line, name, (low, high), some in zip(
        panels[0].get_lines(), columns, spans, words, strict=False
    ):
        line.set_label(
            fitted_text(
                f"{name} ({', '.join(some)})" if some else f"{name} ({low:.3g} to {high:.3g})", 40
            )
        )
    legend_below(figure, panels[0].get_lines())
    return figure
