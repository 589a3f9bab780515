"""Pictures of data as a person looks at them, and the page of what is in them."""

import math
import re
from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from variform.config.units import name_and_unit, titled
from variform.config.words import counted
from variform.data.findings import ColumnFindings, Findings
from variform.pages.report import Table
from variform.pages.style import (
    BLUE,
    GREY,
    INK,
    LABEL_SIZE,
    MOST_PANELS,
    ORANGE,
    PALE,
    TICK_SIZE,
    WIDTH,
    Array,
    every_nth,
    fitted_text,
    new_figure,
    new_panels,
    note_on_shown,
    span_of,
    style_panel,
)
from variform.pages.tiles import draw_tiles, tiles_of

_MOST_FIGURES = 5  # of histograms
_ACROSS, _DOWN = 6, 4  # outlines or images
_MOST_CURVES = 300
_MOST_LISTED = 12
_MOST_COLUMNS = 64  # in a table
_MOST_LEVELS = 8
_HEADS = (
    "column", "unit", "kind", "role", "gaps", "distinct", "least", "median", "greatest", "one exact value",
    "active where", "far out",
)  # fmt: skip


# ── Rows ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def plot_outlines(outlines: Array, names: Sequence[str], *, title: str, note: str = "") -> Figure:
    """Closed curves (N, points, 2), one a panel, all to one scale."""
    count = min(len(outlines), _ACROSS * _DOWN)
    down = math.ceil(count / _ACROSS)
    low, high = outlines.min((0, 1)), outlines.max((0, 1))
    span = np.maximum(high - low, 1e-300)
    is_to_scale = (
        0.1 <= span[1] / span[0] <= 4
    )  # else heights over numbers of places, in another unit
    ratio = float(np.clip(span[1] / span[0], 0.35, 1.6))
    figure = new_figure(WIDTH, 0.9 + down * (WIDTH / _ACROSS * ratio + 0.25), title, note)
    panels = list(figure.subplots(down, _ACROSS, squeeze=False).flat)
    margin = 0.06 * span
    for number, panel in enumerate(panels):
        panel.set_axis_off()
        if number >= count:
            continue
        x, y = np.concatenate([outlines[number], outlines[number, :1]]).T
        panel.fill(x, y, color=PALE)
        panel.plot(x, y, color=BLUE, linewidth=1.0)
        panel.set(
            xlim=(low[0] - margin[0], high[0] + margin[0]),
            ylim=(low[1] - margin[1], high[1] + margin[1]),
        )
        panel.set_aspect("equal" if is_to_scale else "auto", adjustable="box")
        panel.set_title(fitted_text(names[number], 20), fontsize=TICK_SIZE, color=INK)
    return figure


def plot_curves(
    values: Array, columns: Sequence[str], *, unit: str = "", marked: Sequence[int] = ()
) -> Figure:
    """Rows (N, D) as curves over their columns, or over the numbers in the names of these; some of them marked."""
    place, label = _axis(columns)
    figure = new_figure(WIDTH, 4.6, "Rows as curves", _note_on_curves(len(values), len(marked)))
    panel = figure.subplots()
    style_panel(panel, xlabel=label, ylabel=titled("value", unit))
    shown = every_nth(len(values), _MOST_CURVES)
    alpha = float(np.clip(12 / len(shown), 0.06, 0.7))
    panel.plot(place, values[list(shown)].T, color=BLUE, linewidth=0.8, alpha=alpha)
    lower, middle, upper = np.nanquantile(values, [0.05, 0.5, 0.95], axis=0)
    panel.fill_between(place, lower, upper, color=GREY, alpha=0.25, linewidth=0)
    panel.plot(place, middle, color=INK, linewidth=1.6)
    for row in marked[:_MOST_LISTED]:
        panel.plot(place, values[row], color=ORANGE, linewidth=1.0)
    return figure


def _note_on_curves(rows: int, marked: int) -> str:
    parts = [
        f"{min(rows, _MOST_CURVES):,} of {rows:,} rows" if rows > _MOST_CURVES else "",
        "black: the median; grey: 5 % to 95 %",
        "orange: far from all others" if marked else "",
    ]
    return "; ".join(part for part in parts if part)


def _axis(columns: Sequence[str]) -> tuple[Array, str]:
    """Where each column stands on the axis, by the numbers in names that rise, and what the axis is."""
    found = [re.search(r"-?\d+(?:\.\d+)?(?!.*\d)", name) for name in columns]
    numbers = np.array([math.nan if match is None else float(match[0]) for match in found])
    is_numbered = all("column" not in name for name in columns)
    if is_numbered and not np.isnan(numbers).any() and (np.diff(numbers) > 0).all():
        stem = re.sub(r"-?\d+(?:\.\d+)?(?!.*\d)", "", columns[0]).strip(" _-")
        return numbers, stem or "column"
    return np.arange(1, len(columns) + 1), "column"


def plot_columns(found: Findings) -> Iterator[tuple[str, Figure]]:
    """Histograms of columns that are rows' values, 12 a figure with its title, and what stands at one exact value."""
    numbers = [
        number
        for number, column in enumerate(found.columns)
        if number < found.values.shape[1] and column.role == "value"
    ][: _MOST_FIGURES * MOST_PANELS]
    for start in range(0, len(numbers), MOST_PANELS):
        some = numbers[start : start + MOST_PANELS]
        columns = [found.columns[number] for number in some]
        note = (
            "orange: the share of rows at one exact value, which the histogram of the others leaves out; what is far"
            " out is not drawn"
        )
        title = "Histograms"
        if len(numbers) > MOST_PANELS:
            title += f" of {columns[0].name} to {columns[-1].name}"
        figure, panels = new_panels(
            [titled(column.name, column.unit) for column in columns],
            title=title,
            note=note,
            ratio=0.8,
        )
        for panel, number, column in zip(panels, some, columns, strict=True):
            _draw_column(panel, found.values[:, number], column)
        yield title, figure


def _draw_column(panel: Axes, values: Array, column: ColumnFindings) -> None:
    if column.levels:
        levels = column.levels[:_MOST_LEVELS]
        names = [fitted_text(name, 10) for name, _ in levels]
        panel.bar(range(len(levels)), [count for _, count in levels], color=BLUE)
        panel.set_xticks(range(len(levels)), names)
        return
    is_far = np.zeros(len(values), bool)
    is_far[list(column.outliers)] = True
    rest = values[np.isfinite(values) & ~is_far]
    if column.spike is not None:
        rest = rest[rest != column.spike]
    low, high = span_of(rest)
    is_whole = column.kind in ("count", "binary", "ordinal")
    bins = np.linspace(low, high, 31)
    if is_whole and high - low <= 40:
        bins = np.arange(low - 0.5, high + 1)
    panel.hist(rest, bins=list(bins), color=BLUE)
    if is_whole and high - low <= 10:
        panel.set_xticks(np.arange(low, high + 1))
    words = []
    if column.spike is not None:
        panel.axvline(column.spike, color=ORANGE, linewidth=2)
        words.append(f"{column.spike_share:.0%} at {column.spike:.4g}")
    if column.outliers:
        words.append(f"{len(column.outliers)} far out")
    if words:
        panel.set_title(
            f"{fitted_text(titled(column.name, column.unit), 28)}\n{', '.join(words)}",
            fontsize=LABEL_SIZE,
            color=INK,
        )


def plot_images(images: Array) -> Figure:
    """Images (N, channels, height, width), evenly spaced among the rows."""
    across = min(10, len(images))
    down = math.ceil(len(images) / across)
    height = images.shape[-2] / images.shape[-1]
    size = WIDTH / 10 * across
    figure = new_figure(
        max(4.0, size),
        0.7 + down * size / across * float(np.clip(height, 0.4, 2.5)),
        "Rows as images",
    )
    draw_tiles(figure.subplots(), images, across, tiles_of(images, span_of(images)))
    return figure


def figures(found: Findings) -> Iterator[tuple[str, str, Figure]]:
    """Title, caption and picture of what a person looks at first."""
    if found.form == "images":
        shown = list(every_nth(found.rows, 40))
        yield (
            "Rows as images",
            f"{counted(len(shown), 'row')} evenly spaced among {found.rows:,}.",
            plot_images(_visible(found.values[shown]).astype(float)),
        )
        return
    if found.form == "table":
        for title, figure in plot_columns(found):
            yield title, "What each column holds.", figure
        return
    own = found.columns[: found.values.shape[1]]
    is_point = [column.role == "value" for column in own]
    values = found.values[:, is_point]
    names = [column.name for column in own if column.role == "value"]
    units = {column.unit for column in own if column.role == "value"}
    unit = units.pop() if len(units) == 1 else ""
    if found.outline is None:
        caption = "Each row is a curve over its columns."
        yield "Rows as curves", caption, plot_curves(values, names, unit=unit, marked=found.far)
        return
    outlines = found.outline.points(values)
    title = "Rows as outlines"
    shown = list(every_nth(found.rows, _ACROSS * _DOWN))
    labels = [found.place(row) for row in shown]
    caption = f"{counted(len(shown), 'row')} evenly spaced among {found.rows:,}, as closed curves"
    if not found.outline.is_to_scale:
        caption += "; rows hold the heights of two sides alone, whose places, which `stations` gives, are drawn evenly"
    caption += "."
    yield title, caption, plot_outlines(outlines[shown], labels, title=title)
    if found.far:
        shown = list(found.far[: _ACROSS * _DOWN])
        title = "Outlines that are far from all others"
        labels = [found.place(row) for row in shown]
        note = note_on_shown("rows", len(found.far), len(shown))
        caption = (
            "Their distance to the nearest other, or to the middle one, is more than 3 interquartile ranges beyond the"
            " quartiles of these distances."
        )
        yield title, caption, plot_outlines(outlines[shown], labels, title=title, note=note)
    title = "All of them"
    yield (
        title,
        "The same numbers over their columns.",
        plot_curves(values, names, unit=unit, marked=found.far),
    )


def _visible(images: Array) -> Array:
    """Images (N, C, H, W) of one channel or of colours: of other channels the first."""
    return images if images.shape[1] in (1, 3) else images[:, :1]


# ── Tables ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def tables(found: Findings) -> Iterator[Table]:
    """What is in the data, in tables for the page."""
    if found.unlearnable:
        yield Table(
            "What these rows are too few for",
            ("what cannot be learned",),
            [(sentence,) for sentence in found.unlearnable],
        )
    if found.removed:
        rows = [(found.place(row), "; ".join(why)) for row, why in _first(found.removed)]
        yield Table("Rows that are not clean", ("row", "reason"), rows, _more(len(found.removed)))
    if found.rules:
        rows = [
            (
                rule.rule,
                f"{len(rule.broken):,}",
                f"{len(rule.broken) / found.rows:.1%}",
                f"{rule.unknown:,}",
                _places(found, rule.broken),
            )
            for rule in found.rules
        ]
        heads = ("rule", "rows that break it", "share", "unknown", "such as")
        yield Table("Rules", heads, rows)
    yield from _tables_of_families(found)
    if found.far:
        rows = [(found.place(row),) for row in found.far[:_MOST_LISTED]]
        yield Table("Rows far from all others", ("row",), rows, _more(len(found.far)))
    yield from _tables_of_columns(found)


def _first(rows: dict[int, list[str]]) -> list[tuple[int, list[str]]]:
    return list(rows.items())[:_MOST_LISTED]


def _more(count: int) -> str:
    return f"The first of {count:,}." if count > _MOST_LISTED else ""


def _places(found: Findings, rows: Sequence[int]) -> str:
    shown = ", ".join(found.place(row) for row in rows[:5])
    return shown + (", …" if len(rows) > 5 else "")


def _tables_of_families(found: Findings) -> Iterator[Table]:
    kinds = []
    if found.near is not None:
        words = f"within {found.near.tolerance:.4g}, {found.near.words}"
        kinds.append(("Nearly equal rows", words, found.near.family))
    if found.groups is not None:
        kinds.append(("Families", f"by {found.groups[0]}", found.groups[1]))
    for title, words, family in kinds:
        sizes = np.bincount(family)
        largest = [number for number in np.argsort(-sizes, kind="stable") if sizes[number] > 1]
        rows = [
            (f"{sizes[number]:,}", _places(found, np.flatnonzero(family == number).tolist()))
            for number in largest[:_MOST_LISTED]
        ]
        note = f"{len(sizes):,} families {words}; {len(largest):,} of more than one row."
        yield Table(title, ("rows", "such as"), rows, note)


def _tables_of_columns(found: Findings) -> Iterator[Table]:
    columns = found.columns
    note = ""
    if len(columns) > _MOST_COLUMNS:
        columns = columns[:_MOST_COLUMNS]
        note = f"The first {_MOST_COLUMNS} of {len(found.columns)}; inspect.json has all."
    if not columns:
        return
    yield Table("Columns", _HEADS, [_row_of(column) for column in columns], note)
    reasons = [(column.name, column.role, column.reason) for column in columns if column.reason]
    if reasons:
        yield Table("Columns that are no values of rows", ("column", "role", "why"), reasons)
    laws = [(column.name, column.kind, column.law) for column in columns if column.law]
    if laws:
        yield Table("Laws that are proposed", ("column", "law", "why"), laws)
    unclear = [(column.name, one) for column in columns for one in column.unclear]
    if unclear:
        note = "They stand in columns.toml as comments and change nothing."
        yield Table("Laws that these rows do not settle", ("column", "what is open"), unclear, note)
    levels = [
        (column.name, _levels(column))
        for column in columns
        if column.levels and column.role != "id"
    ]
    if levels:
        yield Table("Categories", ("column", "rows of each"), levels)
    far = [
        (column.name, f"{len(column.outliers):,}", _places(found, column.outliers))
        for column in columns
        if column.outliers
    ]
    if far:
        note = (
            "More than 3 interquartile ranges beyond the quartiles of the values beside the spike, in logarithms where"
            " these are positive and lie more evenly so. A Gaussian law has 2 in a million there. They stay."
        )
        yield Table("Values that are far out", ("column", "rows", "such as"), far, note)


def _levels(column: ColumnFindings) -> str:
    shown = ", ".join(f"{name}: {count:,}" for name, count in column.levels[:_MOST_LEVELS])
    return shown + (", …" if len(column.levels) > _MOST_LEVELS else "")


def _row_of(column: ColumnFindings) -> tuple[str, ...]:
    spike = ""
    if column.spike is not None:
        spike = f"{column.spike:.5g}: {column.spike_share:.1%}"
    return (
        name_and_unit(column.name)[0],
        column.unit,
        column.kind,
        column.role,
        f"{column.missing:,}",
        f"{column.distinct:,}",
        _number(column.low),
        _number(column.median),
        _number(column.high),
        spike,
        column.active_if,
        f"{len(column.outliers):,}",
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.5g}"
