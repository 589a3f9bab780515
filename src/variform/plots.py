"""Pictures: arrays in, matplotlib figures out. Nothing here saves, shows, or knows any other module of variform.

An array is (..., *event) in the user's own units: an event is (channels, height, width) for images of one or three
channels and (columns,) for tables. Whoever passes `columns` says that the events are rows of a table.
"""

import textwrap
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]

# Eight colours by Okabe and Ito (2008) that colour-blind readers can tell apart, and two more that keep that distance.
PALETTE = (
    *("#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9"),
    *("#cc79a7", "#222222", "#8800ff", "#663311", "#f0e442"),
)
BLUE, ORANGE = PALETTE[0], PALETTE[3]
INK, GREY, PALE = "#222222", "#6b6f76", "#d9dcde"
COLOUR_MAP = "viridis"

MINUS = "\N{MINUS SIGN}"
WIDTH = 10.0  # inches, the width of a slide or a page of the report
TITLE_SIZE, LABEL_SIZE, TICK_SIZE = 13, 9.5, 8.5  # points

MOST_POINTS = 5_000
MOST_PANELS = 12
MOST_LINES = 8
MOST_PAIRS = 20
MOST_TILES = 400
ACTIVE_NATS = 0.01


def plot_reconstructions(
    originals: ArrayLike,
    reconstructions: ArrayLike,
    *,
    columns: Sequence[str] = (),
    categories: Sequence[Sequence[str]] = (),
    value_range: tuple[float, float] = (0.0, 1.0),
) -> Figure:
    """Originals against what the VAE makes of them.

    Images: every original stands above its reconstruction, up to 20 examples. Tables: one panel per column, up to 12,
    original to the right and reconstruction upwards; a perfect model lies on the diagonal.

    Args:
        originals: (N, *event), in the data's units.
        reconstructions: (N, *event), in the data's units.
        columns: The table's column names; empty for images.
        categories: For each column the names of its categories 0, 1, ...; empty for a column of numbers.
        value_range: The values drawn as black and as white.

    Raises:
        ValueError: if the events are neither images nor rows with these columns, or if there are none.

    Example:
        >>> images = np.random.default_rng(0).random((5, 1, 8, 8))
        >>> len(plot_reconstructions(images, images).axes)
        1
    """
    before, after = _events(originals, 1, columns), _events(reconstructions, 1, columns)
    if columns:
        return _reconstruction_panels(before, after, columns, categories)
    return _reconstruction_rows(before, after, value_range)


def plot_samples(
    samples: ArrayLike,
    *,
    data: ArrayLike | None = None,
    columns: Sequence[str] = (),
    categories: Sequence[Sequence[str]] = (),
    value_range: tuple[float, float] = (0.0, 1.0),
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
        value_range: The values drawn as black and as white.

    Raises:
        ValueError: if the events are neither images nor rows with these columns, or if there are none.

    Example:
        >>> rows = np.random.default_rng(0).random((100, 2))
        >>> len(plot_samples(rows, data=rows, columns=("length", "mass")).axes)
        2
    """
    drawn = _events(samples, 1, columns)
    real = None if data is None else _events(data, 1, columns)
    return _sample_panels(drawn, real, columns, categories) if columns else _sample_grids(drawn, real, value_range)


def plot_manifold(
    grid: ArrayLike,
    quantiles: ArrayLike,
    *,
    is_standard: bool = True,
    columns: Sequence[str] = (),
    categories: Sequence[Sequence[str]] = (),
    value_range: tuple[float, float] = (0.0, 1.0),
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
        value_range: The values drawn as black and as white.

    Raises:
        ValueError: if the events are neither images nor rows with these columns, or if there are none.

    Example:
        >>> grid = np.random.default_rng(0).random((3, 3, 1, 8, 8))
        >>> plot_manifold(grid, [0.1, 0.5, 0.9]).axes[0].get_xlabel()
        'z1 (and its quantile)'
    """
    decoded = _events(grid, 2, columns)
    levels = np.asarray(quantiles, dtype=float)
    title = "The latent plane, decoded"
    if columns:
        figure, panels = _panels(columns, title=title)
        for number, (panel, values) in enumerate(zip(panels, np.moveaxis(decoded, -1, 0), strict=False)):
            words = _words(categories, number)
            shades: dict[str, Any] = {"vmin": -0.5, "vmax": len(words) - 0.5} if words else {}
            colours = colormaps[COLOUR_MAP].resampled(len(words)) if words else COLOUR_MAP
            image = panel.imshow(values, origin="lower", cmap=colours, **shades)
            bar = figure.colorbar(image, cax=panel.inset_axes((1.05, 0.0, 0.06, 1.0)))
            bar.ax.tick_params(labelsize=TICK_SIZE)
            if words:
                shown = _every(len(words), 10)
                bar.set_ticks(shown, labels=[_text(words[place], 12) for place in shown])
            else:
                bar.ax.locator_params(nbins=5)
    else:
        rows, across, channels, high, wide = decoded.shape
        mosaic = decoded[::-1].transpose(2, 0, 3, 1, 4).reshape(channels, rows * high, across * wide)
        ratio = float(np.clip(mosaic.shape[1] / mosaic.shape[2], 0.4, 2.5))
        figure = _figure(1.2 + 6.2 * min(1, 1 / ratio), 1.0 + 6.2 * min(1, ratio), title)
        panels = [figure.subplots()]
        _draw_image(panels[0], mosaic, (-0.5, across - 0.5, -0.5, rows - 0.5), value_range)
        panels[0].set_aspect(ratio * across / rows)
        if min(high, wide) < 16:  # small images run into each other without a line between them
            panels[0].vlines(np.arange(across - 1) + 0.5, -0.5, rows - 0.5, colors="white", linewidths=1.0)
            panels[0].hlines(np.arange(rows - 1) + 0.5, -0.5, across - 0.5, colors="white", linewidths=1.0)
    for panel in panels:
        _latent_ticks(panel, levels, 3 if columns else 10, is_standard)
    labels = ("quantile of z1", "quantile of z2 where z1 is there")
    _label_outer(panels, *(("z1 (and its quantile)", "z2 (and its quantile)") if is_standard else labels))
    return figure


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
        raise ValueError(f"points must be (N, 2); got {cloud.shape}. Choose two axes, such as points[:, :2].")
    figure = _figure(7.4, 6.2, title, _shown("points", len(cloud), MOST_POINTS))
    panel = figure.subplots()
    _style(panel, xlabel=axes[0], ylabel=axes[1])
    panel.set_aspect("equal", adjustable="datalim")
    if labels is None:
        _scatter(panel, *cloud.T, color=BLUE)
    else:
        _scatter_labelled(figure, panel, cloud, np.asarray(labels), classes)
    return figure


def plot_traversals(
    values: ArrayLike,
    positions: ArrayLike,
    names: Sequence[str],
    *,
    is_standard: bool = True,
    columns: Sequence[str] = (),
    categories: Sequence[Sequence[str]] = (),
    value_range: tuple[float, float] = (0.0, 1.0),
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
        value_range: The values drawn as black and as white.

    Raises:
        ValueError: if the events are neither images nor rows with these columns, or if there are none.

    Example:
        >>> values = np.random.default_rng(0).random((2, 5, 1, 8, 8))
        >>> figure = plot_traversals(values, [-2, -1, 0, 1, 2], ["z1", "z2"])
        >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
        ['z1', 'z2']
    """
    paths = _events(values, 2, columns)
    steps = np.asarray(positions, dtype=float)
    title = "Latent traversals: what changes when one dimension moves"
    note = _shown("latent dimensions", len(paths), MOST_PANELS)
    label = "position (std)" if is_standard else "quantile of the prior, as that of N(0, 1) at this position"
    if columns:
        return _path_panels(paths, steps, names, columns, categories, title=title, note=note, label=label)
    heads = [f"{step:+.2g}".replace("-", MINUS) if step else "0" for step in steps]
    return _path_rows(paths, heads, names, value_range, title=title, note=note, label=label)


def plot_conditions(
    values: ArrayLike,
    conditions: Sequence[str],
    name: str,
    *,
    columns: Sequence[str] = (),
    categories: Sequence[Sequence[str]] = (),
    value_range: tuple[float, float] = (0.0, 1.0),
) -> Figure:
    """What a condition changes: the same examples under each; the first 12 of them.

    Images: one row per example. Tables: one panel per example with one line per column, up to 8, scaled to its range.

    Args:
        values: (examples, conditions, *event), in the data's units.
        conditions: The conditions in words.
        name: What the conditions are values of.
        columns: The table's column names; empty for images.
        categories: For each column the names of its categories 0, 1, ...; empty for a column of numbers.
        value_range: The values drawn as black and as white.

    Raises:
        ValueError: if the events are neither images nor rows with these columns, or if there are none.

    Example:
        >>> values = np.random.default_rng(0).random((3, 2, 1, 8, 8))
        >>> len(plot_conditions(values, ["cat", "dog"], "label").axes)
        1
    """
    paths = _events(values, 2, columns)
    title, note = f"The same latent points under each {name}", _shown("examples", len(paths), MOST_PANELS)
    names = [f"example {number}" for number in range(1, len(paths) + 1)]
    if columns:
        steps = np.arange(len(conditions), dtype=float)
        return _path_panels(paths, steps, names, columns, categories, title=title, note=note, label=f"{name}, in order")
    return _path_rows(paths, list(conditions), names, value_range, title=title, note=note, label=name)


def plot_interpolation(
    values: ArrayLike,
    *,
    columns: Sequence[str] = (),
    categories: Sequence[Sequence[str]] = (),
    value_range: tuple[float, float] = (0.0, 1.0),
) -> Figure:
    """The way from one example to another through the latent space; the first 12 pairs.

    Images: one row per pair. Tables: one panel per pair with one line per column, up to 8; each column is scaled to
    its range over all pairs.

    Args:
        values: (pairs, steps, *event), in the data's units, in even steps.
        columns: The table's column names; empty for images.
        categories: For each column the names of its categories 0, 1, ...; empty for a column of numbers.
        value_range: The values drawn as black and as white.

    Raises:
        ValueError: if the events are neither images nor rows with these columns, or if there are none.

    Example:
        >>> figure = plot_interpolation(np.random.default_rng(0).random((2, 3, 1, 8, 8)))
        >>> [label.get_text() for label in figure.axes[0].get_xticklabels()]
        ['0%', '50%', '100%']
    """
    paths = _events(values, 2, columns)
    steps = np.linspace(0, 100, paths.shape[1])
    names = [f"pair {number}" for number in range(1, len(paths) + 1)]
    title = "Interpolation: from one example to another through the latent space"
    note = _shown("pairs", len(paths), MOST_PANELS)
    label = "share of the way"
    if columns:
        return _path_panels(paths, steps, names, columns, categories, title=title, note=note, label=f"{label} (%)")
    return _path_rows(
        paths, [f"{step:.3g}%" for step in steps], names, value_range, title=title, note=note, label=label
    )


def plot_curves(history: Sequence[Mapping[str, Any]]) -> Figure:
    """The training: ELBO, log-likelihood and KL over the epochs, for training and validation data.

    The best epoch is marked; beta is drawn beside the KL if it changes. Of an objective without an ELBO the
    log-likelihood and the loss are drawn.

    Args:
        history: One mapping per epoch: "epoch", "beta", and for train and valid each "train_elbo",
            "train_log_likelihood" and "train_kl", in nats per example; "best" is true for the epoch that was kept
            (for the last of them, if several are). "examples" is the number of training rows of an epoch: one that
            ended early stands where it ended, without its training means, which are of too few rows to compare.

    Raises:
        ValueError: if the history is empty.

    Example:
        >>> names = [f"{part}_{key}" for part in ("train", "valid") for key in ("elbo", "log_likelihood", "kl")]
        >>> len(plot_curves([{"epoch": 1, "beta": 1.0} | dict.fromkeys(names, 0.5)]).axes)
        3
    """
    if not history:
        raise ValueError("plot_curves needs at least one epoch; got an empty history. Train first.")
    best = [number for number, row in enumerate(history) if row.get("best")][-1:]
    keys = _curve_keys([history])
    is_bound = keys == list(_CURVES)[:3]
    title = f"Training: ELBO = log-likelihood {MINUS} KL, epoch by epoch" if is_bound else "Training, epoch by epoch"
    figure = _figure(WIDTH if len(keys) > 1 else 6.6, 3.5, title)
    panels = list(figure.subplots(1, len(keys), squeeze=False).flat)
    for panel, key in zip(panels, keys, strict=True):
        _style(panel, title=_CURVES[key], xlabel="epoch")
        panel.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        for part, colour, style in (("train", BLUE, "--"), ("valid", ORANGE, "-")):
            _draw_curve(panel, history, f"{part}_{key}", best, label=part, color=colour, linestyle=style)
    panels[0].set_ylabel("nats per example")
    if "kl" in keys and len({row["beta"] for row in history}) > 1:
        _draw_beta(panels[-1], history)
    handles = [
        line
        for panel in figure.axes[len(keys) - 1 :]
        for line in panel.get_lines()
        if not str(line.get_label()).startswith("_")
    ]
    _legend_below(figure, handles)
    return figure


_CURVES = {"elbo": "ELBO", "log_likelihood": "log-likelihood", "kl": "KL", "loss": "loss"}


def _curve_keys(histories: Sequence[Sequence[Mapping[str, Any]]]) -> list[str]:
    """The measures that all histories have in all epochs; the loss where there is no ELBO."""
    rows = [row for history in histories for row in history]
    there = [key for key in _CURVES if all(row.get(f"valid_{key}") is not None for row in rows)]
    return [key for key in there if key != "loss" or "elbo" not in there]


def plot_compared_curves(histories: Mapping[str, Sequence[Mapping[str, Any]]]) -> Figure:
    """The trainings of several runs over each other: validation ELBO, log-likelihood and KL by step.

    Each run's best epoch is marked. The first epochs, which may lie far below, do not set the range of the axis.

    Args:
        histories: Name of a run to its history, as for `plot_curves`, with the "step" at which each epoch ended.

    Raises:
        ValueError: if there are no runs, or one has no epochs.

    Example:
        >>> row = {"epoch": 1, "step": 12, "valid_elbo": -3.0, "valid_log_likelihood": -2.0, "valid_kl": 1.0}
        >>> len(plot_compared_curves({"a": [row], "b": [row]}).axes)
        3
    """
    if not histories or not all(histories.values()):
        raise ValueError("plot_compared_curves needs at least one epoch of each run; got none. Train first.")
    keys = _curve_keys(list(histories.values()))
    figure = _figure(WIDTH if len(keys) > 1 else 6.6, 3.7, "Validation, step by step")
    panels = list(figure.subplots(1, len(keys), squeeze=False).flat)
    for panel, key in zip(panels, keys, strict=True):
        _style(panel, title=_CURVES[key], xlabel="step")
        values = []
        for number, (name, history) in enumerate(histories.items()):
            look = {"color": PALETTE[number % len(PALETTE)], "linestyle": ("-", "--", ":")[number // len(PALETTE) % 3]}
            steps = [row["step"] for row in history]
            curve = np.array([row[f"valid_{key}"] for row in history], dtype=float)
            marker = "o" if len(history) <= 20 else ""
            panel.plot(steps, curve, marker=marker, markersize=3, linewidth=1.5, label=_text(name, 30), **look)
            best = [place for place, row in enumerate(history) if row.get("best")][-1:]
            if best:
                star: dict[str, Any] = {"marker": "*", "markersize": 11, "markeredgecolor": INK, "zorder": 4}
                panel.plot(steps[best[0]], curve[best[0]], **{**look, "linestyle": ""}, **star)
            values.append(curve[len(curve) // 10 :])  # what comes after the steep beginning
        low, high = _span(np.concatenate(values))
        panel.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))
    panels[0].set_ylabel("nats per example")
    _legend_below(figure, [line for line in panels[0].get_lines() if not str(line.get_label()).startswith("_")])
    return figure


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
    height, error = np.atleast_1d(np.asarray(mean, dtype=float)), np.atleast_1d(np.asarray(se, dtype=float))
    if height.ndim != 1 or height.shape != error.shape or not height.size:
        raise ValueError(
            f"plot_kl_per_dimension needs a mean and a standard error per dimension; got shapes {height.shape} and "
            f"{error.shape}. Average over the examples first."
        )
    order = np.argsort(-height, kind="stable")
    active = height[order] > ACTIVE_NATS
    title = f"KL per latent dimension: {active.sum()} of {len(active)} above {ACTIVE_NATS:g} nats"
    note = "error bars: one standard error"
    figure = _figure(min(WIDTH, max(6.6, 1.5 + 0.4 * len(order))), 4.0, title, note)
    panel = figure.subplots()
    _style(panel, xlabel="latent dimension, largest KL first", ylabel="KL (nats per example)")
    panel.bar(
        range(len(order)),
        height[order],
        color=np.where(active, BLUE, PALE),
        yerr=error[order],
        error_kw={"ecolor": INK, "capsize": 2.5, "elinewidth": 1},
    )
    panel.grid(visible=False, axis="x")
    ticks = _every(len(order), 25)
    panel.set_xticks(ticks, [f"z{order[tick] + 1}" for tick in ticks])
    middle, half = (len(order) - 1) / 2, max(len(order), 6) / 2 + 0.2
    panel.set(xlim=(middle - half, middle + half), ylim=(min(0.0, *height), None))
    return figure


def plot_latent_dim_study(
    rows: Sequence[Mapping[str, Any]],
    originals: ArrayLike,
    reconstructions: Mapping[int, ArrayLike],
    *,
    columns: Sequence[str] = (),
    value_range: tuple[float, float] = (0.0, 1.0),
    error_unit: str = "",
) -> Figure:
    """What more latent dimensions buy: the same examples reconstructed with each, and the measured curves.

    Images: the originals above one row per latent dimension, and the curves below. Tables: the curves.

    Args:
        rows: One mapping per model: "latent_dim", and {"mean", "se"} for each of "elbo" and "nll" (nats per example),
            "reconstruction_error" and "pca_reconstruction_error" (in `error_unit`), and "active_units". A measure
            that a row lacks is left out, and so is the bar of an "se" of None.
        originals: (N, *event), in the data's units; the first 12 are drawn.
        reconstructions: Latent dimension to (N, *event).
        columns: The table's column names; empty for images.
        value_range: The values drawn as black and as white.
        error_unit: The unit of the reconstruction errors.

    Raises:
        ValueError: if there are no rows, or the events are neither images nor rows with these columns.

    Example:
        >>> row = {"latent_dim": 2, "elbo": {"mean": -90.0, "se": 0.5}}
        >>> len(plot_latent_dim_study([row], np.zeros((4, 1, 8, 8)), {2: np.zeros((4, 1, 8, 8))}).axes)
        4
    """
    if not rows:
        raise ValueError("plot_latent_dim_study needs at least one model; got no rows. Run the study first.")
    title, note, height = "What more latent dimensions buy", "error bars: one standard error", 3.4
    before = _events(originals, 1, columns)[:12]
    if columns:
        figure = _figure(WIDTH, height + 0.5, title, note)
        _draw_study(figure, rows, error_unit)
        return figure
    dims = sorted(reconstructions)
    after = [_events(reconstructions[dim], 1, columns)[: len(before)] for dim in dims]
    size = _tiles_size(before, 1 + len(dims), len(before))
    figure = _figure(WIDTH, size[1] + height + 0.9, title, note)
    (above,), (below,) = figure.subfigures(2, 1, squeeze=False, height_ratios=(size[1], height))
    panel = above.subplots()
    _draw_tiles(panel, np.concatenate([before, *after]), len(before), value_range)
    panel.set_yticks(range(1 + len(dims)), ["original", *(f"{dim} dimension{'s'[: dim > 1]}" for dim in dims)])
    _draw_study(below, rows, error_unit)
    return figure


# ── Figures and panels ──────────────────────────────────────────────────────────────────────────────────────────────


def _figure(width: float, height: float, title: str, note: str = "") -> Figure:
    """An empty figure (inches) with its title above and a note below."""
    figure = Figure(figsize=(width, height), dpi=150, layout="constrained", facecolor="white")
    figure.set_layout_engine("constrained", w_pad=0.08, h_pad=0.08)
    figure.suptitle(_text(title, int(8.5 * width)), fontsize=TITLE_SIZE, fontweight="bold", color=INK)
    if note:
        figure.supxlabel(_text(note, int(12 * width)), fontsize=TICK_SIZE, color=GREY)
    return figure


def _panels(names: Sequence[str], *, title: str, note: str = "", ratio: float = 0.85) -> tuple[Figure, list[Axes]]:
    """A figure with one titled panel per name, up to 12, in rows of up to four; a panel is `ratio` as high as wide."""
    names, note = names[:MOST_PANELS], note or _shown("columns", len(names), MOST_PANELS)
    across = _across(len(names))
    down = -(-len(names) // across)
    width = {1: 5.0, 2: 3.6, 3: 3.2}.get(across, WIDTH / 4)
    figure = _figure(across * width, 0.9 + down * width * ratio, title, note)
    panels = list(figure.subplots(down, across, squeeze=False).flat)
    for panel in panels[len(names) :]:
        panel.remove()
    for panel, name in zip(panels, names, strict=False):
        _style(panel, title=name)
    return figure, panels[: len(names)]


def _across(count: int) -> int:
    """How many of `count` panels stand side by side: at most four, and rows as even as can be."""
    return -(-count // -(-count // 4))


def _style(panel: Axes, *, title: str = "", xlabel: str = "", ylabel: str = "") -> None:
    """The look of every panel that has numbers on its axes."""
    panel.set_title(_text(title, 28), fontsize=LABEL_SIZE, color=INK)
    panel.set_xlabel(_text(xlabel, 60), fontsize=LABEL_SIZE, color=INK)
    panel.set_ylabel(_text(ylabel, 34), fontsize=LABEL_SIZE, color=INK)
    panel.tick_params(labelsize=TICK_SIZE, color=GREY, labelcolor=INK)
    panel.ticklabel_format(scilimits=(-3, 4))
    panel.locator_params(nbins=5)
    panel.spines[["top", "right"]].set_visible(False)
    panel.spines[["bottom", "left"]].set_color(GREY)
    panel.grid(color=PALE, linewidth=0.6)
    panel.set_axisbelow(True)


def _label_outer(panels: Sequence[Axes], xlabel: str, ylabel: str) -> None:
    """Name the axes once per row and once per column of a grid of panels."""
    across = _across(len(panels))
    for number, panel in enumerate(panels):
        if number % across == 0:
            panel.set_ylabel(_text(ylabel, 24), fontsize=LABEL_SIZE, color=INK)
        if number + across >= len(panels):
            panel.set_xlabel(_text(xlabel, 60), fontsize=LABEL_SIZE, color=INK)


def _legend_below(figure: Figure, handles: Sequence[Any]) -> None:
    """A legend under the panels; the figure's note, which would stand at the same place, becomes its title."""
    note = figure.get_supxlabel()
    figure.supxlabel("")
    figure.legend(
        handles,
        [handle.get_label() for handle in handles],
        loc="outside lower center",
        ncols=max(1, int(figure.get_figwidth() // 3)) if len(handles) > 4 else len(handles),
        frameon=False,
        fontsize=TICK_SIZE,
        title=note,
        title_fontproperties={"size": TICK_SIZE},
    )


def _text(text: str, width: int) -> str:
    """A user's words, wrapped at about `width` letters, where a dollar sign stands for itself, not for mathematics."""
    # A vertical tab after an underscore lets a long column name break there.
    lines = [textwrap.fill(line.replace("_", "_\v"), width, replace_whitespace=False) for line in text.splitlines()]
    return "\n".join(lines).replace("\v", "").replace("$", r"\$")


def _shown(things: str, count: int, most: int) -> str:
    return f"first {most:,} of {count:,} {things} shown" if count > most else ""


def _words(categories: Sequence[Sequence[str]], column: int) -> Sequence[str]:
    """The names of a column's categories; none for a column of numbers."""
    return categories[column] if categories else ()


def _every(count: int, most: int) -> range:
    """At most `most` evenly spaced places out of `count`."""
    return range(0, count, -(-count // most))


def _span(values: Array) -> tuple[float, float]:
    """Lowest and highest finite value; never the same number twice."""
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    return (low, high) if low < high else (low - 0.5 * (abs(low) or 1), high + 0.5 * (abs(high) or 1))


def _events(values: ArrayLike, leading: int, columns: Sequence[str]) -> Array:
    """The array, if it holds rows with these columns, or images, behind `leading` axes."""
    array = np.asarray(values, dtype=float)
    event = array.shape[leading:]
    fits = event == (len(columns),) if columns else len(event) == 3 and event[0] in (1, 3)
    if not fits or not array.size:
        what = f"rows of {len(columns)} columns" if columns else "images of (1 or 3 channels, height, width)"
        raise ValueError(
            f"the picture needs {leading} leading axes and then {what}; got shape {array.shape}. "
            "Reshape the array, or name as many columns as it has."
        )
    return array


# ── Images ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _shape(images: Array) -> tuple[float, float, float]:
    """How an image (..., *event) lies in its cell: the cell's height over its width, the shares of width and height.

    A very flat image leaves room above and below, a very tall one at its sides: cells stay large enough for a label.
    """
    ratio = float(np.clip(images.shape[-2] / images.shape[-1], 1 / 12, 12.0))
    cell = float(np.clip(ratio, 0.4, 2.5))
    return cell, min(1.0, cell / ratio), min(1.0, ratio / cell)


def _tiles_size(images: Array, rows: int, across: int) -> tuple[float, float]:
    """Inches that rows of images need on the page, with the names of the rows at their left."""
    cell = _shape(images)[0]
    side = min(1.0, (WIDTH - 1.3) / across, 8 / (rows * cell))
    return max(across * side + 1.3, 5.0), rows * side * cell


def _draw_tiles(panel: Axes, images: Array, across: int, value_range: tuple[float, float]) -> None:
    """Draw images (N, *event) in rows of `across`; image k is centred at x = k % across, y = k // across."""
    cell, width, height = _shape(images)
    width, height = 0.92 * width, 0.92 * height
    for number, image in enumerate(images):
        row, column = divmod(number, across)
        left, top = column - width / 2, row - height / 2
        _draw_image(panel, image, (left, left + width, top + height, top), value_range)
        panel.add_patch(Rectangle((left, top), width, height, fill=False, edgecolor=PALE, linewidth=0.8))
    panel.set(xlim=(-0.5, across - 0.5), ylim=((len(images) - 1) // across + 0.5, -0.5), aspect=cell)
    panel.set(xticks=[], yticks=[])
    panel.spines[:].set_visible(False)
    panel.tick_params(length=0, labelsize=LABEL_SIZE, labelcolor=INK)


def _draw_image(
    panel: Axes, image: Array, extent: tuple[float, float, float, float], value_range: tuple[float, float]
) -> None:
    """Draw one image (channels, height, width) between (left, right, bottom, top)."""
    low, high = value_range
    if len(image) == 1:
        panel.imshow(image[0], cmap="gray", vmin=low, vmax=high, extent=extent, aspect="auto")
    else:
        colours = np.clip(np.nan_to_num((image - low) / (high - low)), 0.0, 1.0).transpose(1, 2, 0)
        panel.imshow(colours, extent=extent, aspect="auto")


# ── The parts of single pictures ────────────────────────────────────────────────────────────────────────────────────


def _reconstruction_rows(before: Array, after: Array, value_range: tuple[float, float]) -> Figure:
    count = min(len(before), MOST_PAIRS)
    across = count if count <= 12 else -(-count // 2)
    starts = range(0, count, across)
    width, height = _tiles_size(before, 2, across)
    note = _shown("examples", len(before), MOST_PAIRS)
    figure = _figure(width, len(starts) * (height + 0.2) + 0.6, "Originals and their reconstructions", note)
    for panel, start in zip(figure.subplots(len(starts), squeeze=False).flat, starts, strict=True):
        band = slice(start, min(start + across, count))
        _draw_tiles(panel, np.concatenate([before[band], after[band]]), across, value_range)
        panel.set_yticks([0, 1], ["original", "reconstruction"])
    return figure


def _reconstruction_panels(
    before: Array, after: Array, columns: Sequence[str], categories: Sequence[Sequence[str]]
) -> Figure:  # fmt: skip
    note = [_shown("columns", len(columns), MOST_PANELS), _shown("rows", len(before), MOST_POINTS)]
    figure, panels = _panels(
        columns,
        title="Originals and their reconstructions, column by column",
        note="; ".join(["on the line: reconstructed exactly", *filter(None, note)]),
        ratio=1.0,
    )
    for number, (panel, original, reconstruction) in enumerate(zip(panels, before.T, after.T, strict=False)):
        low, high = _span(np.concatenate([original, reconstruction]))
        margin = 0.04 * (high - low)
        panel.plot([low, high], [low, high], color=INK, linewidth=0.8, zorder=3)
        _scatter(panel, original, reconstruction, color=BLUE)
        panel.set(xlim=(low - margin, high + margin), ylim=(low - margin, high + margin), box_aspect=1)
        if words := _words(categories, number):
            shown = _every(len(words), 6)
            names = [_text(words[place], max(8, 36 // len(shown))) for place in shown]
            panel.set_xticks(shown, names)
            panel.set_yticks(shown, names)
    _label_outer(panels, "original", "reconstruction")
    return figure


def _sample_grids(samples: Array, data: Array | None, value_range: tuple[float, float]) -> Figure:
    grids = {"data": data, "samples": samples} if data is not None else {"samples": samples}
    title = "Data, and samples from the model" if data is not None else "Samples from the model"
    across = int(np.ceil(np.sqrt(min(MOST_TILES, max(map(len, grids.values()))))))
    side = 6.2 if data is None else WIDTH / 2
    note = _shown("samples", len(samples), MOST_TILES)
    figure = _figure(side * len(grids), side * _shape(samples)[0] + 0.4, title, note)
    for panel, (name, images) in zip(figure.subplots(1, len(grids), squeeze=False).flat, grids.items(), strict=True):
        _draw_tiles(panel, images[:MOST_TILES], across, value_range)
        if data is not None:
            panel.set_title(name, fontsize=LABEL_SIZE, color=INK)
    return figure


def _sample_panels(
    samples: Array, data: Array | None, columns: Sequence[str], categories: Sequence[Sequence[str]]
) -> Figure:  # fmt: skip
    title = "Samples from the model" + (", against the data" if data is not None else "") + ", column by column"
    figure, panels = _panels(columns, title=title)
    reference = samples if data is None else data
    for number, (panel, name) in enumerate(zip(panels, columns, strict=False)):
        low, high = _span(reference[:, number])
        margin = 0.05 * (high - low)
        bins = np.linspace(low - margin, high + margin, 31)
        there = reference[np.isfinite(reference[:, number]), number]
        if there.size and (there == np.rint(there)).all():  # as many whole numbers in each bin, or they make a comb
            width = max(1, int(np.ceil((there.max() - there.min() + 1) / 30)))
            bins = np.arange(there.min() - 0.5, there.max() + width, width)
        if words := _words(categories, number):
            bins = np.arange(len(words) + 1) - 0.5
            shown = _every(len(words), 6)
            panel.set_xticks(shown, [_text(words[place], max(8, 36 // len(shown))) for place in shown])
        if data is not None:
            _histogram(panel, data[:, number], bins, label="data", color=GREY, alpha=0.45, histtype="stepfilled")
        _histogram(panel, samples[:, number], bins, label="samples", color=BLUE, linewidth=1.6, histtype="step")
        outside = np.mean((samples[:, number] < bins[0]) | (samples[:, number] > bins[-1]))
        if outside:
            panel.set_title(f"{_text(name, 28)}\n({outside:.1%} of samples outside)", fontsize=LABEL_SIZE, color=INK)
    _label_outer(panels, "", "density")
    if data is not None:
        _legend_below(figure, panels[0].get_legend_handles_labels()[0])
    return figure


def _histogram(panel: Axes, values: Array, bins: Array, **look: Any) -> None:
    inside = values[(values >= bins[0]) & (values <= bins[-1])]
    if inside.size:
        there = np.count_nonzero(~np.isnan(values))
        panel.hist(inside, bins=list(bins), weights=np.full(inside.size, 1 / there / (bins[1] - bins[0])), **look)


def _latent_ticks(panel: Axes, quantiles: Array, most: int, is_standard: bool) -> None:
    count = len(quantiles)
    ticks = _every(count, most) if most > 3 else sorted({0, count // 2, count - 1})
    names = [f"{quantiles[tick]:.3g}" for tick in ticks]
    if is_standard:
        places = [f"{NormalDist().inv_cdf(quantiles[tick]):.2f}".replace("-", MINUS) for tick in ticks]
        names = [f"{place}\n({name})" for place, name in zip(places, names, strict=True)]
    panel.grid(visible=False)
    panel.set_xticks(ticks, names, fontsize=TICK_SIZE)
    panel.set_yticks(ticks, names, fontsize=TICK_SIZE)


def _scatter(panel: Axes, across: Array, upwards: Array, **look: Any) -> Any:
    crowded = len(across) > 1_000
    size: dict[str, Any] = {"s": 9 if crowded else 16, "alpha": 0.6 if crowded else 0.7, "linewidths": 0}
    return panel.scatter(across[:MOST_POINTS], upwards[:MOST_POINTS], **size, **look)


def _scatter_labelled(figure: Figure, panel: Axes, points: Array, labels: Array, classes: Sequence[str]) -> None:
    """Colours by label: a legend for up to ten different ones, otherwise a colour bar."""
    if labels.shape != (len(points),):
        raise ValueError(f"labels must be one per point, ({len(points)},); got {labels.shape}. Pass one column.")
    found, codes = np.unique(labels, return_inverse=True)
    names = [_text(classes[int(value)] if classes else str(value), 24) for value in found]
    if len(found) <= len(PALETTE):
        _scatter(panel, *points.T, c=codes[:MOST_POINTS], cmap=ListedColormap(PALETTE), vmin=-0.5, vmax=9.5)
        look: dict[str, Any] = {"linestyle": "", "marker": "o", "markersize": 6}
        handles = [Line2D([], [], color=PALETTE[code], **look) for code in range(len(found))]
        figure.legend(handles, names, loc="outside right center", frameon=False, fontsize=LABEL_SIZE)
        return
    numeric = not classes and np.issubdtype(labels.dtype, np.number)
    shades = labels if numeric else codes
    cloud = _scatter(panel, *points.T, c=shades[:MOST_POINTS], cmap=COLOUR_MAP)
    bar = figure.colorbar(ScalarMappable(cloud.norm, COLOUR_MAP), ax=panel, label="label", shrink=0.85, pad=0.02)
    bar.ax.tick_params(labelsize=TICK_SIZE)
    if not numeric:
        ticks = _every(len(names), 20)
        bar.set_ticks(ticks, labels=[names[tick] for tick in ticks])


def _path_rows(
    paths: Array,
    heads: Sequence[str],
    names: Sequence[str],
    value_range: tuple[float, float],
    *,
    title: str,
    note: str,
    label: str,
) -> Figure:
    """Images (paths, steps, *event), a row per path, with its name at the left and the steps' heads above."""
    paths = paths[:MOST_PANELS]
    width, height = _tiles_size(paths, *paths.shape[:2])
    figure = _figure(width, height + 1.1, title, note)
    panel = figure.subplots()
    _draw_tiles(panel, paths.reshape(-1, *paths.shape[2:]), paths.shape[1], value_range)
    panel.xaxis.tick_top()
    panel.xaxis.set_label_position("top")
    ticks = _every(len(heads), 15)
    panel.set_xticks(ticks, [heads[tick] for tick in ticks])
    panel.set_yticks(range(len(paths)), [_text(name, 20) for name in names[: len(paths)]])
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
    spans = [_span(values) for values in np.moveaxis(paths, -1, 0)[:MOST_LINES]]
    words = [_words(categories, number) for number in range(len(spans))]
    spans = [(0.0, max(1.0, len(some) - 1.0)) if some else span for some, span in zip(words, spans, strict=True)]
    figure, panels = _panels(
        names[: len(paths)],
        title=title,
        note="; ".join(filter(None, [note, _shown("columns", len(columns), MOST_LINES)])),
    )
    for panel, path in zip(panels, paths, strict=False):
        for values, (low, high), colour, some in zip(path.T, spans, PALETTE, words, strict=False):
            style = "steps-mid" if some else "default"
            panel.plot(steps, (values - low) / (high - low), color=colour, linewidth=1.8, drawstyle=style)
        panel.set_ylim(-0.05, 1.05)
    _label_outer(panels, label, "value, as a share of its range in this picture")
    for line, name, (low, high), some in zip(panels[0].get_lines(), columns, spans, words, strict=False):
        line.set_label(_text(f"{name} ({', '.join(some)})" if some else f"{name} ({low:.3g} to {high:.3g})", 40))
    _legend_below(figure, panels[0].get_lines())
    return figure


def _draw_curve(panel: Axes, history: Sequence[Mapping[str, Any]], key: str, best: list[int], **look: Any) -> None:
    """One measure over the epochs, with a star at the best one."""
    places, values = _places(history), np.array([row[key] for row in history], dtype=float)
    shown = len(history)
    if key.startswith("train") and shown > 1 and not places[-1].is_integer():
        shown -= 1  # of a last epoch that ended early: a mean over fewer rows than the others
    marker = "o" if len(history) <= 20 else ""
    panel.plot(places[:shown], values[:shown], marker=marker, markersize=3.5, linewidth=1.6, **look)
    if best and key.startswith("valid"):
        look |= {"linestyle": "", "marker": "*", "markersize": 11, "markeredgecolor": INK, "zorder": 4}
        look["label"] = f"best epoch: {history[best[0]]['epoch']}"
        panel.plot(places[best[0]], values[best[0]], **look)


def _places(history: Sequence[Mapping[str, Any]]) -> list[float]:
    """Passes over the training rows at the end of each epoch; the last may have ended early."""
    whole = max((row["examples"] for row in history if "examples" in row), default=1)
    return [row["epoch"] - 1 + row.get("examples", whole) / whole for row in history]


def _draw_beta(panel: Axes, history: Sequence[Mapping[str, Any]]) -> None:
    """The weight of the KL, on an axis of its own at the right."""
    twin = panel.twinx()
    _style(twin, ylabel="beta")
    twin.grid(visible=False)
    twin.spines["right"].set(visible=True, color=GREY)
    twin.plot(
        _places(history),
        [row["beta"] for row in history],
        color=GREY,
        linestyle=":",
        label="beta (right axis)",
    )


def _draw_study(figure: Figure | SubFigure, rows: Sequence[Mapping[str, Any]], error_unit: str) -> None:
    """The three panels of a latent-dimension study."""
    unit = f"\n({error_unit})" if error_unit else ""
    bound, error, units = figure.subplots(1, 3)
    dims = sorted({int(row["latent_dim"]) for row in rows})
    _style(bound, title="Density: higher is better", ylabel="nats per example")
    _draw_measure(bound, rows, "elbo", label="ELBO", color=BLUE)
    _draw_measure(bound, rows, "nll", sign=-1, label="log p(x)", color=ORANGE, linestyle="--")
    _style(error, title="Error: lower is better", ylabel=f"reconstruction error{unit}")
    _draw_measure(error, rows, "reconstruction_error", label="VAE", color=BLUE)
    _draw_measure(error, rows, "pca_reconstruction_error", label="PCA", color=ORANGE, linestyle="--")
    _style(units, title="Dimensions in use", ylabel="active units")
    units.plot(dims, dims, color=GREY, linestyle=":", label="all in use")
    _draw_measure(units, rows, "active_units", label="in use", color=BLUE)
    for panel in (bound, error, units):
        panel.set_xlabel("latent dimensions", fontsize=LABEL_SIZE, color=INK)
        if panel.get_legend_handles_labels()[0]:
            panel.legend(frameon=False, fontsize=TICK_SIZE)
    for panel in (bound, error):
        wide = dims[-1] > 8 * dims[0]
        if wide:
            panel.set_xscale("log", base=2)
        ticks = _apart(dims, np.log(dims) if wide else np.array(dims))
        panel.set_xticks(ticks, [str(tick) for tick in ticks])
        panel.set_xticks([], minor=True)


def _apart(values: Sequence[int], places: Array) -> list[int]:
    """Those of the rising values whose places on an axis leave room for a label."""
    kept = [0]
    for number in range(1, len(values)):
        if places[number] - places[kept[-1]] > (places[-1] - places[0]) / 10:
            kept.append(number)
    return [values[number] for number in kept]


def _draw_measure(
    panel: Axes, rows: Sequence[Mapping[str, Any]], key: str, *, sign: int = 1, label: str, **look: Any
) -> None:
    """One measure's mean and standard error over the latent dimension, from the rows that have it."""
    measured = [(row["latent_dim"], row[key]["mean"], row[key]["se"]) for row in rows if row.get(key)]
    if measured:
        dims, means, errors = np.array(sorted(measured), dtype=float).T  # an error that is None becomes NaN: no bar
        panel.errorbar(dims, sign * means, yerr=errors, marker="o", markersize=4, capsize=3, label=label, **look)
