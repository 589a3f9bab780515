"""What must hold of rows, whatever format they came in."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from variform.config.words import quoted
from variform.data.columns import value_range
from variform.data.dataset import StoredRows, in_chunks
from variform.data.schema import Schema
from variform.data.sources.source import Source

_REMEDIES = {  # by the kind of a type of NumPy
    "M": "Save seconds, x.astype('datetime64[s]').astype(float).",
    "m": "Save seconds, x / numpy.timedelta64(1, 's').",
    "c": "Save its parts side by side, numpy.concatenate([x.real, x.imag], -1).",
}


def in_order(source: Source, schema: Schema) -> Source:
    """The source with the columns of a table in the order of `schema`, by their names."""
    if schema.kind != "table" or not source.columns or source.columns == schema.columns:
        return source
    require_columns(source.columns, schema, source.name)
    order = [source.columns.index(name) for name in schema.columns]
    categories = tuple(source.categories[number] for number in order) if source.categories else ()
    dates = tuple(source.dates[number] for number in order) if source.dates else ()
    values = np.asarray(source.values)[:, order]
    return dataclasses.replace(
        source, values=values, columns=schema.columns, categories=categories, dates=dates
    )


def require_columns(columns: Sequence[str], schema: Schema, name: str) -> None:
    """Refuse columns that are not those of `schema`, in any order."""
    lacking = [quoted(column) for column in schema.columns if column not in columns]
    surplus = [quoted(column) for column in columns if column not in schema.columns]
    if not lacking and not surplus:
        return
    differences = []
    remedy = "Delete what is too much"
    if lacking:
        differences.append(f"lacks {', '.join(lacking)}")
        remedy = "Add what it lacks"
    if surplus:
        differences.append(f"has {', '.join(surplus)} too much")
    raise ValueError(
        f"columns must be those of {schema.source}, in any order; {name} {' and '.join(differences)}. "
        f"{remedy}, or rename its columns."
    )


def require_numbers(source: Source) -> None:
    """Refuse values that are no real numbers."""
    values = source.values
    name = source.name
    if values.dtype.kind not in "buif":
        remedy = _REMEDIES.get(values.dtype.kind, "Convert it to numbers.")
        raise ValueError(f"{name} must hold numbers; its type is {values.dtype}. {remedy}")
    if values.size == 0:
        raise ValueError(
            f"{name} must hold at least one value; its shape is {values.shape}. Give a file with rows."
        )


def require_observed(low: Tensor, columns: tuple[str, ...], name: str, rows: str) -> None:
    """Refuse a column whose values are all missing, so that its least value `low` is infinite."""
    empty = low.isinf().nonzero().flatten().tolist()
    if not empty:
        return
    which = f"column {quoted(columns[empty[0]])}" if columns else "every value"
    or_split = " or use another `split_seed`" if rows else ""
    raise ValueError(
        f"every column must hold a value{rows}; {which} of {name} is missing in all rows. Delete the column{or_split}."
    )


def require_finite(
    raw: Tensor | StoredRows,
    source: Source,
    columns: tuple[str, ...],
    *,
    gaps: bool = False,
    hint: str = "",
) -> None:
    """Refuse NaN, infinite values and, without `gaps`, missing ones; the message says where the first stands."""
    if not raw.dtype.is_floating_point:
        return
    count = 0
    places = []
    first_row = 0  # of the chunk
    for chunk in in_chunks(raw):
        is_wrong = chunk.isinf() if gaps else ~chunk.isfinite()
        if is_wrong.any():
            wrong = is_wrong.flatten(1).nonzero()  # (values, 2)
            count += len(wrong)
            for row, item in wrong[: 3 - len(places)].tolist():
                name = f"column {quoted(columns[item])}" if columns else f"pixel {item + 1}"
                places.append(f"{source.place(first_row + row)}, {name}")
        first_row += len(chunk)
    if not count:
        return
    kinds = "infinite" if gaps else "NaN, or infinite"
    dtype = str(raw.dtype).removeprefix("torch.")
    if count > 3:
        places.append("...")
    raise ValueError(
        f"{source.name} must hold finite numbers; {count} of its values are {kinds} as {dtype} ({'; '.join(places)})."
        f" Delete these rows or fill the values in{hint}."
    )


def require_alike(
    raw: Tensor | StoredRows, source: Source, schema: Schema
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Refuse rows that are not of the form of `schema`; gives their least and greatest values."""
    shape = tuple(raw.shape[1:])
    if shape != schema.shape:
        raise ValueError(
            f"rows must have the shape {schema.shape} of {schema.source}; {source.name} has {shape}."
            " Give data of the same shape."
        )
    require_finite(raw, source, schema.columns, gaps=bool(schema.gaps))
    low, high = value_range(raw, source, apart=len(schema.low) > 1)
    is_whole = not raw.dtype.is_floating_point or all(
        ((x == x.round()) | x.isnan()).all() for x in in_chunks(raw)
    )
    if schema.levels and not (is_whole and min(low) >= 0 and max(high) < schema.levels):
        raise ValueError(
            f"values must be whole numbers from 0 to {schema.levels - 1} as in {schema.source}; {source.name} holds"
            f" values from {min(low):.7g} to {max(high):.7g}. Give data in the same units."
        )
    return low, high


def require_binarisable(schema: Schema) -> None:
    """Refuse to binarise values outside [0, 1]."""
    if schema.binarise != "none" and (outlier := schema._outlier()):
        raise ValueError(
            f"`binarise={schema.binarise!r}` needs values in [0, 1]; {outlier}. Use `scaling='unit'` or "
            "`binarise='none'`."
        )
