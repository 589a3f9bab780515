"""Pictures of numbers: of a training over its epochs, and of a study over its latent dimensions."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from variform.data.schema import Ends
from variform.pages.palette import PALETTE
from variform.pages.style import (
    BLUE,
    GREY,
    INK,
    LABEL_SIZE,
    MINUS,
    ORANGE,
    TICK_SIZE,
    WIDTH,
    Array,
    as_events,
    fitted_text,
    legend_below,
    new_figure,
    span_of,
    style_panel,
)
from variform.pages.tiles import draw_tiles, size_of_tiles, tiles_of


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
    keys = _curve_keys([history])
    title = "Training, epoch by epoch"
    if keys == ["elbo", "log_likelihood", "kl"]:
        title = f"Training: ELBO = log-likelihood {MINUS} KL, epoch by epoch"
    figure, panels = _new_curves(keys, title, height=3.5, xlabel="epoch")
    for panel, key in zip(panels, keys, strict=True):
        panel.locator_params(axis="x", integer=True, min_n_ticks=1)
        _draw_training(panel, history, key)
        _draw_validation(panel, history, key)
    if "kl" in keys and len({row["beta"] for row in history}) > 1:
        _draw_beta(panels[-1], history)
    last_axes = figure.axes[len(keys) - 1 :]  # the last panel, and that of beta where there is one
    legend_below(figure, _labelled_lines(last_axes))
    return figure


_CURVES = {"elbo": "ELBO", "log_likelihood": "log-likelihood", "kl": "KL", "loss": "loss"}


def _curve_keys(histories: Sequence[Sequence[Mapping[str, Any]]]) -> list[str]:
    """The measures that all histories have in all epochs; the loss where there is no ELBO."""
    rows = [row for history in histories for row in history]
    there = [key for key in _CURVES if all(row.get(f"valid_{key}") is not None for row in rows)]
    return [key for key in there if key != "loss" or "elbo" not in there]


def _new_curves(
    keys: Sequence[str], title: str, *, height: float, xlabel: str
) -> tuple[Figure, list[Axes]]:
    """A figure with a panel for each measure, side by side."""
    width = WIDTH if len(keys) > 1 else 6.6
    figure = new_figure(width, height, title)
    panels = list(figure.subplots(1, len(keys), squeeze=False).flat)
    for panel, key in zip(panels, keys, strict=True):
        style_panel(panel, title=_CURVES[key], xlabel=xlabel)
    panels[0].set_ylabel("nats per example")
    return figure, panels


def _labelled_lines(panels: Sequence[Axes]) -> list[Line2D]:
    """The lines that have a name of their own: matplotlib's begin with an underscore."""
    lines = [line for panel in panels for line in panel.get_lines()]
    return [line for line in lines if not str(line.get_label()).startswith("_")]


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
        raise ValueError(
            "plot_compared_curves needs at least one epoch of each run; got none. Train first."
        )
    keys = _curve_keys(list(histories.values()))
    figure, panels = _new_curves(keys, "Validation, step by step", height=3.7, xlabel="step")
    for panel, key in zip(panels, keys, strict=True):
        late = []
        for number, (name, history) in enumerate(histories.items()):
            colour = PALETTE[number % len(PALETTE)]
            dashes = ("-", "--", ":")[number // len(PALETTE) % 3]
            label = fitted_text(name, 30)
            curve = _draw_run(panel, history, key, color=colour, linestyle=dashes, label=label)
            late.append(curve[len(curve) // 10 :])  # what comes after the steep beginning
        low, high = span_of(np.concatenate(late))
        margin = 0.05 * (high - low)
        panel.set_ylim(low - margin, high + margin)
    legend_below(figure, _labelled_lines(panels[:1]))
    return figure


def _draw_run(
    panel: Axes, history: Sequence[Mapping[str, Any]], key: str, *, color: str, **look: Any
) -> Array:
    """One run's validation of a measure by step, with a star at its best epoch; gives the values, (epochs,)."""
    steps = [row["step"] for row in history]
    values = np.array([row[f"valid_{key}"] for row in history], dtype=float)
    marker = _marker_of_epochs(history)
    panel.plot(steps, values, marker=marker, markersize=3, linewidth=1.5, color=color, **look)
    best = _best_epoch(history)
    if best is not None:
        panel.plot(steps[best], values[best], color=color, **_STAR)
    return values


def plot_latent_dim_study(
    rows: Sequence[Mapping[str, Any]],
    originals: ArrayLike,
    reconstructions: Mapping[int, ArrayLike],
    *,
    columns: Sequence[str] = (),
    value_range: tuple[Ends, Ends] = (0.0, 1.0),
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
        value_range: The values drawn as black and as white, of all channels or of each.
        error_unit: The unit of the reconstruction errors.

    Raises:
        ValueError: if there are no rows, or the events are neither images nor rows with these columns.

    Example:
        >>> row = {"latent_dim": 2, "elbo": {"mean": -90.0, "se": 0.5}}
        >>> len(plot_latent_dim_study([row], np.zeros((4, 1, 8, 8)), {2: np.zeros((4, 1, 8, 8))}).axes)
        4
    """
    if not rows:
        raise ValueError(
            "plot_latent_dim_study needs at least one model; got no rows. Run the study first."
        )
    title = "What more latent dimensions buy"
    note = "error bars: one standard error"
    curves_height = 3.4
    before = as_events(originals, 1, columns)[:12]
    if columns:
        figure = new_figure(WIDTH, curves_height + 0.5, title, note)
        _draw_study(figure, rows, error_unit)
        return figure
    images, names = [before], ["original"]
    for dim in sorted(reconstructions):
        after = as_events(reconstructions[dim], 1, columns)
        images.append(after[: len(before)])
        names.append("1 dimension" if dim == 1 else f"{dim} dimensions")
    tiles = tiles_of(before, value_range)
    _, tiles_height = size_of_tiles(tiles, len(names), len(before))
    figure = new_figure(WIDTH, tiles_height + curves_height + 0.9, title, note)
    heights = (tiles_height, curves_height)
    (above,), (below,) = figure.subfigures(2, 1, squeeze=False, height_ratios=heights)
    panel = above.subplots()
    draw_tiles(panel, np.concatenate(images), len(before), tiles)
    panel.set_yticks(range(len(names)), names)
    _draw_study(below, rows, error_unit)
    return figure


_LINE: dict[str, Any] = {"markersize": 3.5, "linewidth": 1.6}
_STAR: dict[str, Any] = {
    "linestyle": "",
    "marker": "*",
    "markersize": 11,
    "markeredgecolor": INK,
    "zorder": 4,
}
"""The look of a best epoch."""


def _draw_training(panel: Axes, history: Sequence[Mapping[str, Any]], key: str) -> None:
    """One measure over the training rows, epoch by epoch."""
    passes = _passes(history)
    values = np.array([row[f"train_{key}"] for row in history], dtype=float)
    marker = _marker_of_epochs(history)
    ended_early = not passes[-1].is_integer()
    if ended_early and len(history) > 1:  # its mean is over fewer rows than the others
        passes = passes[:-1]
        values = values[:-1]
    panel.plot(passes, values, "--", color=BLUE, label="train", marker=marker, **_LINE)


def _draw_validation(panel: Axes, history: Sequence[Mapping[str, Any]], key: str) -> None:
    """One measure over the validation rows, epoch by epoch, with a star at the best."""
    passes = _passes(history)
    values = np.array([row[f"valid_{key}"] for row in history], dtype=float)
    marker = _marker_of_epochs(history)
    panel.plot(passes, values, "-", color=ORANGE, label="valid", marker=marker, **_LINE)
    best = _best_epoch(history)
    if best is not None:
        label = f"best epoch: {history[best]['epoch']}"
        panel.plot(passes[best], values[best], color=ORANGE, label=label, **_STAR)


def _passes(history: Sequence[Mapping[str, Any]]) -> list[float]:
    """Passes over the training rows at the end of each epoch; the last may have ended early."""
    all_rows = max((row["examples"] for row in history if "examples" in row), default=1)
    return [row["epoch"] - 1 + row.get("examples", all_rows) / all_rows for row in history]


def _best_epoch(history: Sequence[Mapping[str, Any]]) -> int | None:
    """Where the best epoch stands: the last of those that were best so far."""
    best_epochs = [epoch for epoch, row in enumerate(history) if row.get("best")]
    return best_epochs[-1] if best_epochs else None


def _marker_of_epochs(history: Sequence[Mapping[str, Any]]) -> str:
    """A point for each epoch where they are few."""
    return "o" if len(history) <= 20 else ""


def _draw_beta(panel: Axes, history: Sequence[Mapping[str, Any]]) -> None:
    """The weight of the KL, on an axis of its own at the right."""
    twin = panel.twinx()
    style_panel(twin, ylabel="beta")
    twin.grid(visible=False)
    twin.spines["right"].set(visible=True, color=GREY)
    twin.plot(
        _passes(history),
        [row["beta"] for row in history],
        color=GREY,
        linestyle=":",
        label="beta (right axis)",
    )


def _draw_study(
    figure: Figure | SubFigure, rows: Sequence[Mapping[str, Any]], error_unit: str
) -> None:
    """The three panels of a latent-dimension study."""
    unit = f"\n({error_unit})" if error_unit else ""
    bound, error, units = figure.subplots(1, 3)
    dims = sorted({int(row["latent_dim"]) for row in rows})
    style_panel(bound, title="Density: higher is better", ylabel="nats per example")
    _draw_measure(bound, rows, "elbo", label="ELBO", color=BLUE)
    _draw_measure(bound, rows, "nll", sign=-1, label="log p(x)", color=ORANGE, linestyle="--")
    style_panel(error, title="Error: lower is better", ylabel=f"reconstruction error{unit}")
    _draw_measure(error, rows, "reconstruction_error", label="VAE", color=BLUE)
    _draw_measure(
        error, rows, "pca_reconstruction_error", label="PCA", color=ORANGE, linestyle="--"
    )
    style_panel(units, title="Dimensions in use", ylabel="active units")
    units.plot(dims, dims, color=GREY, linestyle=":", label="all in use")
    _draw_measure(units, rows, "active_units", label="in use", color=BLUE)
    for panel in (bound, error, units):
        panel.set_xlabel("latent dimensions", fontsize=LABEL_SIZE, color=INK)
        if panel.get_legend_handles_labels()[0]:
            panel.legend(frameon=False, fontsize=TICK_SIZE)
    for panel in (bound, error):
        positions = np.array(dims)
        if dims[-1] > 8 * dims[0]:
            panel.set_xscale("log", base=2)
            positions = np.log(dims)
        ticks = _apart(dims, positions)
        panel.set_xticks(ticks, [str(tick) for tick in ticks])
        panel.set_xticks([], minor=True)


def _apart(values: Sequence[int], positions: Array) -> list[int]:
    """Those of the rising values whose places on an axis leave room for a label."""
    room = (positions[-1] - positions[0]) / 10
    shown = [0]
    for number in range(1, len(values)):
        if positions[number] - positions[shown[-1]] > room:
            shown.append(number)
    return [values[number] for number in shown]


def _draw_measure(
    panel: Axes,
    rows: Sequence[Mapping[str, Any]],
    key: str,
    *,
    sign: int = 1,
    label: str,
    **look: Any,
) -> None:
    """One measure's mean and standard error over the latent dimension, from the rows that have it."""
    measured = [
        (row["latent_dim"], row[key]["mean"], row[key]["se"]) for row in rows if row.get(key)
    ]
    if not measured:
        return
    # An error that is None becomes NaN: no bar.
    dims, means, errors = np.array(sorted(measured), dtype=float).T
    points = {"marker": "o", "markersize": 4, "capsize": 3}
    panel.errorbar(dims, sign * means, yerr=errors, label=label, **points, **look)
