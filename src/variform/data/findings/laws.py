"""Which law each column is proposed, and why: what a mixed training finds by itself, and scales of words."""

import dataclasses
import re
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from variform.config.data import DataConfig
from variform.data.findings.columns import ColumnFindings
from variform.data.findings.scales import known_order
from variform.data.laws import (
    CLEAR,
    INTERVALS,
    MOST_LEVELS,
    beside_spikes,
    log_normal_gain,
    with_laws,
)
from variform.data.mixed import as_mixed
from variform.data.reading import dataset_from
from variform.data.schema import Schema
from variform.data.sources.roles import declared_kinds
from variform.data.sources.source import Source

_SHARES = re.compile(r"\b(percent|percentage|share|fraction|probability)\b|%", re.IGNORECASE)
"""What a column is called whose numbers are parts of a whole."""
_WORTH_A_WORD = 1.0  # nats


def columns_with_laws(
    columns: Sequence[ColumnFindings], values: np.ndarray, source: Source, config: DataConfig
) -> tuple[ColumnFindings, ...]:
    """The columns with the kind, bounds and spikes that a training of a mixed table finds in these rows, and why.

    Words that are a known scale are levels in its order. What is not clear is a sentence and changes nothing.

    Args:
        columns: What was found in each.
        values: Rows (N, columns).
        source: Where they are from.
        config: What is declared.

    Raises:
        ValueError: for a declaration that the rows contradict.
    """
    used = [number for number, column in enumerate(columns) if column.role == "value"]
    if not used:
        return tuple(columns)
    config = _declared_of([columns[number] for number in used], columns, source, config)
    schema, rows = _schema_of(used, columns, values, source, config)
    declared = declared_kinds(config, schema.columns, source.name)
    found = list(columns)
    for place, number in enumerate(used):
        column = columns[number]
        column = _with_law(column, schema, place)
        if column.name not in declared and column.kind != "date":
            own = rows[np.isfinite(rows[:, place]), place]
            rest = beside_spikes(own, column.spikes)
            column = _with_order(column) if column.levels else _with_reasons(column, rest)
        found[number] = column
    return tuple(found)


def _schema_of(
    used: Sequence[int],
    columns: Sequence[ColumnFindings],
    values: np.ndarray,
    source: Source,
    config: DataConfig,
) -> tuple[Schema, np.ndarray]:
    """The schema of a mixed table of some of the columns, by all rows, and these without their inactive cells."""
    part = Source(
        source.name,
        values[:, used],
        columns=tuple(columns[number].name for number in used),
        categories=tuple(source.categories[number] for number in used) if source.categories else (),
        dates=tuple(source.dates[number] for number in used) if source.dates else (),
        orders=source.orders,
    )
    part, kinds, categories = as_mixed(part, config)
    data = dataset_from(torch.from_numpy(np.asarray(part.values, np.float64)), gaps=True)
    schema = dataclasses.replace(
        data.schema,
        columns=part.columns,
        kinds=kinds,
        categories=categories,
        dates=part.dates,
        levels=None,
        source=source.name,
    )
    schema = with_laws(schema, dataclasses.replace(data, schema=schema), config)
    raw = data.gather(torch.arange(len(data)))
    return schema, raw.masked_fill(schema.inactive(raw), np.nan).numpy()


def _declared_of(
    used: Sequence[ColumnFindings],
    columns: Sequence[ColumnFindings],
    source: Source,
    config: DataConfig,
) -> DataConfig:
    """What is declared of the columns that are used, and where each of them is active, so that it is not looked for."""
    names = {column.name for column in used}
    others = [column.name for column in columns if column.name not in names]
    kinds = declared_kinds(config, [column.name for column in columns], source.name)

    def of_kind(kind: str) -> tuple[str, ...]:
        return tuple(name for name, own in kinds.items() if own == kind and name in names)

    def without_others(items: Sequence[str]) -> tuple[str, ...]:
        return tuple(
            item for item in items if not any(item.startswith(f"{name}=") for name in others)
        )

    active = [item for item in config.active_if if without_others([item])]
    said = tuple(item.partition("=")[0] for item in active)
    active += [
        f"{column.name}={column.active_when or 'always'}"
        for column in used
        if column.name not in said
    ]
    ordinals = [item for item in config.ordinals if item.partition("=")[0] in names]
    return DataConfig(
        cells="mixed",
        categories=of_kind("category"),
        counts=of_kind("count"),
        reals=of_kind("real"),
        positives=of_kind("positive"),
        ordinals=tuple(ordinals),
        bounds=without_others(config.bounds),
        spikes=without_others(config.spikes),
        active_if=tuple(active),
    )


def _with_law(column: ColumnFindings, schema: Schema, place: int) -> ColumnFindings:
    kind = schema.kinds[place]
    return dataclasses.replace(
        column,
        kind="date" if column.kind == "date" else kind,
        bounds=schema.bounds[place] if kind == "bounded" else None,
        spikes=schema.spikes[place] if schema.spikes else (),
        order=schema.categories[place] if kind == "ordinal" else (),
        law="the type of the column has this order" if kind == "ordinal" and column.levels else "",
    )


def _with_order(column: ColumnFindings) -> ColumnFindings:
    """A column of words with the order of a known scale, or with a remark where some words are none of it."""
    known = known_order([level for level, _ in column.levels])
    if column.order or known is None:
        return column
    order, others = known
    words = " < ".join(order)
    if not others:
        return dataclasses.replace(
            column, kind="ordinal", order=order, law=f"its words are a scale, {words}"
        )
    remark = f"{words} are levels of a scale; {', '.join(others)} {_is(others)} not, and an order must name every word"
    return dataclasses.replace(column, unclear=(remark,))


def _is(words: Sequence[str]) -> str:
    return "is" if len(words) == 1 else "are"


def _with_reasons(column: ColumnFindings, rest: np.ndarray) -> ColumnFindings:
    """A column of numbers with why it has its law, and with the laws that it may have and the rows do not settle.

    Args:
        column: With its law.
        rest: Its values beside spikes.
    """
    low, high = column.low, column.high
    assert low is not None and high is not None
    reason = ""
    if column.kind == "positive":
        gain = log_normal_gain(rest)
        reason = (
            f"above 0, and a log-normal law is likelier than a Gaussian by {gain:,.0f} nats in all"
        )
    if column.kind == "bounded" and column.bounds:
        ends = f"{column.bounds[0]:g} to {column.bounds[1]:g}"
        reason = f"fractions of {ends} that come within a twentieth of both ends"
    if column.kind == "ordinal":
        reason = f"whole numbers of {column.distinct} levels, which vary less than counts do"
    return dataclasses.replace(column, law=reason, unclear=tuple(_unclear(column, rest, low, high)))


def _unclear(column: ColumnFindings, rest: np.ndarray, low: float, high: float) -> Iterator[str]:
    if column.kind == "count" and 2 < column.distinct <= MOST_LEVELS > high - low:
        yield (
            f'kind = "ordinal" would take its {column.distinct} whole numbers for levels; they vary as counts do'
        )
    if column.kind not in ("real", "positive", "count"):
        return
    interval = _interval_near(column, low, high)
    if interval:
        yield (
            f"bounds = [{interval[0]:g}, {interval[1]:g}] would keep it there, as its name or an end says; its numbers,"
            f" {low:.5g} to {high:.5g}, do not come near both ends"
        )
    gain = log_normal_gain(rest)
    if column.kind == "real" and _WORTH_A_WORD <= gain <= CLEAR:
        yield (
            'kind = "positive" would keep it above 0; a log-normal law is likelier than a Gaussian by'
            f" {gain:.1f} nats in all, and {CLEAR:g} would be clear"
        )


def _interval_near(column: ColumnFindings, low: float, high: float) -> tuple[float, float] | None:
    """The bounds that the name or the unit of a column tells, or that its values come near at the upper end."""
    fits = [ends for ends in INTERVALS if ends[0] <= low and high <= ends[1]]
    if not fits:
        return None
    if _SHARES.search(f"{column.name} {column.unit}"):
        return fits[0]
    is_near = fits[0] == INTERVALS[0] and high >= 0.95
    return fits[0] if is_near and column.kind != "count" and low != int(low) else None
