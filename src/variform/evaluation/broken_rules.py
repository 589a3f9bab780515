"""Bounds and rules that real rows keep: how many new rows break them."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from variform.data.constraints import Constraint
from variform.data.schema import Schema
from variform.evaluation.standard_error import Estimate

Array = np.ndarray[Any, np.dtype[Any]]


def broken_rules(
    schema: Schema, rows: Array, real: Array, rules: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """The share of rows that break each bound and rule that real rows have, of synthetic and of real rows.

    Bounds are what the schema knows: whole numbers, categories and levels, what is positive or between bounds, columns
    without a value below 0, the range of pixels, and columns that are active only under a flag.

    Args:
        schema: What the rows are.
        rows: Synthetic rows in their own units, (N, *shape).
        real: Real rows, likewise.
        rules: Comparisons of columns, as of `Constraint`.

    Returns:
        For each rule that could be broken: rule, share {"mean", "se", "n"}, and of_real.

    Raises:
        ValueError: for a rule that cannot be read.

    Example:
        >>> from variform import read
        >>> schema = read({"wall": range(90), "OD": range(90, 180)}).schema
        >>> rows = np.array([[1.0, 9.0], [5.0, 9.0], [-1.0, 9.0], [1.5, 9.0]])
        >>> found = broken_rules(schema, rows, rows[:1], ["wall < OD / 2"])
        >>> [(one["rule"], one["share"]["mean"]) for one in found]
        [('wall is not below 0', 0.25), ('OD is not below 0', 0.0), ('wall < OD / 2', 0.25)]
    """
    constraints = [Constraint(text, schema.columns) for text in rules]
    if schema.kind == "image":
        low, high = (schema.per_value(ends).numpy() for ends in (schema.low, schema.high))
        # What rounding to the next level mends breaks nothing.
        margin = (high - low) / (2 * (schema.levels - 1) if schema.levels else 1e6)
        outside = [_is_outside(part, low - margin, high + margin) for part in (rows, real)]
        return [_share(f"values from {min(schema.low):.6g} to {max(schema.high):.6g}", *outside)]
    found = []
    of_rows, of_real = (_breaks(schema, part) for part in (rows, real))
    for rule, breaks in of_rows.items():
        found.append(_share(rule, breaks, of_real[rule]))
    for constraint in constraints:
        breaks = [~constraint.holds(part.astype(np.float64)) for part in (rows, real)]
        found.append(_share(constraint.text, *breaks))
    return found


def _is_outside(rows: Array, low: Array, high: Array) -> Array:
    outside = (rows < low) | (rows > high)
    return np.any(outside.reshape(len(rows), -1), axis=1)


def _share(rule: str, breaks: Array, of_real: Array) -> dict[str, Any]:
    shares = [Estimate.of(torch.from_numpy(part.astype(np.float64))) for part in (breaks, of_real)]
    return {"rule": rule, "share": shares[0].to_dict(), "of_real": shares[1].to_dict()}


def _breaks(schema: Schema, rows: Array) -> dict[str, Array]:
    """Which rows of a table break each of its bounds, by what the bound says."""
    found = {}
    for place, name in enumerate(schema.columns):
        kind = schema.kinds[place] if schema.kinds else "real"
        for text, breaks in _bounds(schema, place, kind, rows[:, place]).items():
            found[f"{name} {text}"] = breaks
    inactive = schema.inactive(torch.from_numpy(np.asarray(rows, np.float64))).numpy()
    for rule in schema.rules:
        own = rows[:, rule.column]
        expected = math.nan if rule.value is None else rule.value
        is_kept = np.isnan(own) if rule.value is None else np.isclose(own, expected, rtol=1e-6)
        flag = schema.columns[rule.flag]
        text = f"{schema.columns[rule.column]} says nothing where {flag} makes it inactive"
        found[text] = inactive[:, rule.column] & ~is_kept & ~np.isnan(own)
    return found


def _bounds(schema: Schema, place: int, kind: str, values: Array) -> dict[str, Array]:
    low, high = schema.low[place], schema.high[place]
    is_odd = np.abs(values - np.rint(values)) > 1e-6
    if kind in ("binary", "category", "ordinal"):
        return {"is one of its levels": (values < low) | (values > high) | is_odd}
    if kind == "count":
        return {"is a whole number from 0": (values < 0) | is_odd}
    if kind == "positive" and low > 0:  # of others 0 is a value of its own
        return {"is above 0": values <= 0}
    if kind == "bounded":
        low, high = schema.bounds[place]
        return {f"is between {low:.6g} and {high:.6g}": (values < low) | (values > high)}
    return {"is not below 0": values < 0} if low >= 0 else {}
