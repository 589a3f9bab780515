"""Tables whose columns have kinds of their own."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from variform.config.data import DataConfig
from variform.config.words import listed, quoted
from variform.data.checks import require_numbers
from variform.data.columns import column_names
from variform.data.schema import ColumnKind, Schema
from variform.data.sources.roles import declared_kinds
from variform.data.sources.source import Source

FEW = 20
"""Categories that are believed in any case."""


def as_mixed(
    source: Source, config: DataConfig
) -> tuple[Source, tuple[ColumnKind, ...], tuple[tuple[str, ...], ...]]:  # fmt: skip
    """The source with categories as numbers from 0, the kind of each column, and the names of its categories."""
    require_numbers(source)
    if source.values.ndim != 2:
        raise ValueError(
            f"`likelihood='mixed'` is for tables; {source.name} holds images. Use another, such as gaussian-shared."
        )
    columns = column_names(source)
    declared = declared_kinds(config, columns, source.name)
    values = np.array(source.values, np.float64)
    kinds, categories = [], []
    constants: dict[str, tuple[str, bool]] = {}
    for column, name in enumerate(columns):
        names = source.categories[column] if source.categories else ()
        if declared.get(name) == "category" and not names:
            values[:, column], names = _coded(values[:, column])
        order = _order_of(name, names, declared.get(name), source, config)
        if order:
            values[:, column] = _codes_among(order, values[:, column], names)
            names = order
        observed = values[np.isfinite(values[:, column]), column]
        is_date = bool(source.dates) and source.dates[column] != ""
        own = declared.get(name, "real" if is_date else None)
        kind: ColumnKind = "ordinal" if order else "category"
        if not names:
            kind = kind_of(observed, own, name, source.name)
        _require_repeats(names, observed, name, source.name)
        if len(observed) and observed.min() == observed.max():
            only = quoted(names[int(observed[0])]) if names else f"{observed[0]:.7g}"
            constants[name] = only, len(observed) < len(values)
        kinds.append(kind)
        categories.append(names)
    _require_variation(constants, source.name)
    return dataclasses.replace(source, values=values), tuple(kinds), tuple(categories)


def _coded(values: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Numbers that are declared to be categories: their codes from 0, NaN where one is missing, and their names."""
    different, codes = np.unique(values, return_inverse=True)
    names = tuple(f"{value:.15g}" for value in different if not np.isnan(value))
    return np.where(np.isnan(values), np.nan, codes), names


def _order_of(
    column: str, names: tuple[str, ...], declared: str | None, source: Source, config: DataConfig
) -> tuple[str, ...]:
    """The levels of a column of words, the lowest first, as declared or by their type; () of other columns."""
    if not names or declared not in (None, "ordinal"):
        return ()
    by_type = source.orders.get(column, ())
    given = [item for item in config.ordinals if item.partition("=")[0] == column]
    item = given[0] if given else column
    if declared is None or (by_type and item == column):
        return by_type
    return _declared_order(column, names, item, source.name)


def _declared_order(column: str, names: tuple[str, ...], item: str, source: str) -> tuple[str, ...]:
    order = tuple(level.strip() for level in item.partition("=")[2].split("<"))
    if len(set(order)) < len(order) or (odd := set(names) - set(order)):
        held = f"holds {quoted(min(odd))}" if len(set(order)) == len(order) else "has one twice"
        raise ValueError(
            f"`ordinals` must give the order of all levels of text, as '{column}=low<middle<high'; column "
            f"{quoted(column)} of {source} {held}. Name every level once."
        )
    return order


def _codes_among(known: Sequence[str], values: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Codes of the categories `names` as those of the same categories among `known`; a gap stays one."""
    codes = np.array([known.index(name) for name in names], float)
    is_observed = ~np.isnan(values)
    recoded = values.copy()
    recoded[is_observed] = codes[values[is_observed].astype(int)]
    return recoded


def _require_repeats(
    names: tuple[str, ...], observed: np.ndarray, column: str, source: str
) -> None:
    different = len(np.unique(observed)) if names else 0
    if different > max(FEW, len(observed) / 2):
        raise ValueError(
            f"categories must repeat; column {quoted(column)} of {source} holds {different} different ones in"
            f" {len(observed)} rows. Name the rows by it with `id={quoted(column)}`, or leave it out with"
            f" `ignore=[{quoted(column)}]`."
        )


def _require_variation(constants: dict[str, tuple[str, bool]], source: str) -> None:
    """Refuse columns with one value, all at once; of each are given that value, and whether some rows lack it."""
    if not constants:
        return
    everywhere: list[str] = []
    or_empty: list[str] = []
    for name, (only, has_gaps) in constants.items():
        held = or_empty if has_gaps else everywhere
        held.append(f"{quoted(name)} is {only}")
    said = []
    if everywhere:
        said.append(f"{', '.join(everywhere)} in every row")
    if or_empty:
        said.append(f"{', '.join(or_empty)} or empty, which is missing")
    them = "it" if len(constants) == 1 else "them"
    remedy = f"Leave {them} out with `ignore=[{', '.join(map(quoted, constants))}]`"
    if or_empty:
        remedy += ", or write a word, such as no, where a cell is empty"
    raise ValueError(
        f"every column of {source} must hold two values; {' and '.join(said)}. {remedy}."
    )


def kind_of(observed: np.ndarray, declared: str | None, column: str, name: str) -> ColumnKind:
    """The kind of a column of numbers: a count law cannot be narrower than Poisson's, whose variance is its mean."""
    is_count = (observed >= 0) & (observed == np.rint(observed))
    countable = bool(is_count.all())
    if declared == "count" and not countable:
        wrong = observed[~is_count][0]
        raise ValueError(
            f"`counts` must be whole numbers from 0; column {quoted(column)} of {name} holds {wrong:.7g}."
            " Take it out of `counts`."
        )
    if declared in ("real", "positive", "ordinal"):
        return "real"
    if declared is None and countable and observed.max(initial=0) <= 1:
        return "binary"
    if declared == "count" or (countable and observed.var() >= observed.mean()):
        return "count"
    return "real"


def known_categories(source: Source, schema: Schema) -> Source:
    """The source with its categories under the numbers that they have in `schema`."""
    values = np.array(source.values, np.float64)
    is_table = values.ndim == 2
    # Another width is refused with its own words.
    width = min(len(schema.columns), values.shape[1]) if is_table else 0
    for column in range(width):
        names = source.categories[column] if source.categories else ()
        if names:  # a .csv; an array holds the numbers of the categories already
            values[:, column] = _recoded(values[:, column], names, schema, column, source.name)
        else:
            _require_codes(values[:, column], schema, column, source.name)
    return dataclasses.replace(source, values=values, categories=())


def _recoded(
    values: np.ndarray, names: tuple[str, ...], schema: Schema, column: int, source: str
) -> np.ndarray:
    """Codes of the categories `names` as codes of those of the schema's column."""
    name = schema.columns[column]
    known = schema.categories[column]
    if not known:
        raise ValueError(
            f"column {quoted(name)} must hold numbers as in {schema.source}; {source} holds"
            f" {quoted(names[0])}. Give the same columns in the same order."
        )
    odd = set(names) - set(known)
    if odd:
        raise ValueError(
            f"column {quoted(name)} must hold categories of {schema.source}, {listed(known)};"
            f" {source} holds {quoted(min(odd))}. Correct the cell, empty it, or train anew with it."
        )
    return _codes_among(known, values, names)


def _require_codes(values: np.ndarray, schema: Schema, column: int, source: str) -> None:
    """Counts must be whole numbers from 0, what is binary, a category or a level has ends, and bounds are bounds."""
    kind = schema.kinds[column]
    if kind == "real":
        return
    if kind in ("positive", "bounded"):
        _require_within(values, schema, column, source)
        return
    least = 0.0
    if kind == "ordinal" and not schema.categories[column]:
        least = schema.low[column]
    last_category = len(schema.categories[column]) - 1
    last_level = last_category if schema.categories[column] else schema.high[column]
    greatest = {"binary": 1, "category": last_category, "ordinal": last_level}.get(kind, np.inf)
    observed = values[np.isfinite(values)]
    is_wrong = (observed < least) | (observed > greatest) | (observed != np.rint(observed))
    if is_wrong.any():
        end = "" if np.isinf(greatest) else f"to {greatest:.0f} "
        raise ValueError(
            f"column {quoted(schema.columns[column])} must hold whole numbers from {least:.0f} {end}as in"
            f" {schema.source}; {source} holds {observed[is_wrong][0]:.7g}. Correct the cell, or train anew with it."
        )


def _require_within(values: np.ndarray, schema: Schema, column: int, source: str) -> None:
    """Refuse what a law with ends cannot have: a number outside them, or at one where no row of the data was."""
    low, high = 0.0, np.inf
    if schema.kinds[column] == "bounded":
        low, high = schema.bounds[column]
    known = [value for value, _ in schema.spikes[column]] if schema.spikes else []
    known += [
        rule.value for rule in schema.rules if rule.column == column and rule.value is not None
    ]
    observed = values[np.isfinite(values)]
    is_wrong = ((observed <= low) | (observed >= high)) & ~np.isin(
        observed.astype(np.float32), np.array(known, np.float32)
    )
    if is_wrong.any():
        ends = f"above {low:.7g}" if np.isinf(high) else f"between {low:.7g} and {high:.7g}"
        raise ValueError(
            f"column {quoted(schema.columns[column])} must hold numbers {ends} as in {schema.source}; {source} holds"
            f" {observed[is_wrong][0]:.7g}. Correct the cell, or train anew with it."
        )
