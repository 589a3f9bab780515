"""Tables whose columns have kinds of their own."""

import dataclasses

import numpy as np

from variform.config.data import DataConfig
from variform.config.words import listed, quoted
from variform.data.checks import require_numbers
from variform.data.columns import column_names
from variform.data.schema import ColumnKind, Schema
from variform.data.sources.source import Source
from variform.data.sources.tables import declared_kinds

_FEW = 20  # categories that are believed in any case


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
    for place, column in enumerate(columns):
        names = source.categories[place] if source.categories else ()
        if declared.get(column) == "category" and not names:
            known, codes = np.unique(values[:, place], return_inverse=True)
            names = tuple(f"{value:.15g}" for value in known if not np.isnan(value))
            values[:, place] = np.where(np.isnan(values[:, place]), np.nan, codes)
        seen = values[np.isfinite(values[:, place]), place]
        kinds.append("category" if names else _kind(seen, declared.get(column), column, source.name))
        categories.append(names)
        if names and len(names) > max(_FEW, len(seen) / 2):
            raise ValueError(
                f"categories must repeat; column {quoted(column)} of {source.name} holds {len(names)} different ones in"
                f" {len(seen)} rows. Delete the column if it only names the rows."
            )
        if len(seen) and seen.min() == seen.max():
            shown = quoted(names[0]) if names else f"{seen[0]:.7g}"
            raise ValueError(
                f"every column must vary; column {quoted(column)} of {source.name} is {shown} in every row. Delete it."
            )
    return dataclasses.replace(source, values=values), tuple(kinds), tuple(categories)


def _kind(seen: np.ndarray, declared: str | None, column: str, name: str) -> ColumnKind:
    """The kind of a column of numbers: a count law cannot be narrower than Poisson's, whose variance is its mean."""
    whole = bool((seen == np.rint(seen)).all())
    countable = whole and bool((seen >= 0).all())
    if declared == "count" and not countable:
        wrong = seen[(seen < 0) | (seen != np.rint(seen))][0]
        raise ValueError(
            f"`counts` must be whole numbers from 0; column {quoted(column)} of {name} holds {wrong:.7g}."
            " Take it out of `counts`."
        )
    if declared == "real":
        return "real"
    if declared is None and countable and seen.max(initial=0) <= 1:
        return "binary"
    if declared == "count" or (countable and seen.var() >= seen.mean()):
        return "count"
    return "real"


def known_categories(source: Source, schema: Schema) -> Source:
    """The source with its categories under the numbers that they have in `schema`."""
    values = np.array(source.values, np.float64)
    for place, (column, kind) in enumerate(zip(schema.columns, schema.kinds, strict=True)):
        if values.ndim != 2 or place >= values.shape[1]:
            break  # another shape, which is refused with its own words
        names = source.categories[place] if source.categories else ()
        known, seen = schema.categories[place], values[np.isfinite(values[:, place]), place]
        if names and not known:
            raise ValueError(
                f"column {quoted(column)} must hold numbers as in {schema.source}; {source.name} holds"
                f" {quoted(names[0])}. Give the same columns in the same order."
            )
        if names:  # a .csv; an array holds the numbers of the categories already
            if odd := set(names) - set(known):
                raise ValueError(
                    f"column {quoted(column)} must hold categories of {schema.source}, {listed(known)};"
                    f" {source.name} holds {quoted(min(odd))}. Correct the cell, empty it, or train anew with it."
                )
            there = ~np.isnan(values[:, place])
            values[there, place] = np.array([known.index(name) for name in names], float)[seen.astype(int)]
        most = len(known) - 1 if known else 1 if kind == "binary" else np.inf
        bad = seen[(seen < 0) | (seen > most) | (seen != np.rint(seen))] if kind != "real" else seen[:0]
        if len(bad) and not names:
            raise ValueError(
                f"column {quoted(column)} must hold whole numbers from 0 {'' if np.isinf(most) else f'to {most} '}as in"
                f" {schema.source}; {source.name} holds {bad[0]:.7g}. Correct the cell, or train anew with it."
            )
    return dataclasses.replace(source, values=values, categories=())
