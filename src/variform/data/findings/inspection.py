"""What is in the data, before anything is trained: columns, rows that are alike, rules, and what may be learned."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from variform.config.data import DataConfig
from variform.config.units import known_units
from variform.config.words import counted
from variform.data.columns import column_names
from variform.data.constraints import Constraint
from variform.data.findings.columns import (
    ColumnFindings,
    as_point,
    columns_beside,
    columns_of,
    is_series,
)
from variform.data.findings.laws import columns_with_laws
from variform.data.findings.limits import unlearnable
from variform.data.findings.rows import (
    NearRows,
    RuleFindings,
    duplicates_of,
    far_rows,
    groups_of,
    nearly_equal,
    rule_findings,
    unclean,
)
from variform.data.outlines import Layout, layout_in
from variform.data.points import read_stations
from variform.data.shaping import in_form
from variform.data.sources.source import Source
from variform.system import memory

Form = Literal["table", "series", "images"]

_COPIES = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class Findings:
    """What is in a source.

    Args:
        source: Its name.
        form: `table`, `series` (curves or coordinates in one unit) or `images`.
        shape: Of one row.
        rows: Their number.
        values: Rows as numbers, (N, D); images (N, C, H, W).
        columns: Of a table or series, those beside the rows too.
        outline: Of a series: how its values are curves in a plane, by `stations`, names or values; None where they are
            none.
        duplicates: Rows that are equal to an earlier one, and that.
        equal_pairs: Pairs of equal rows.
        near: Nearly equal rows; None where they were not looked for.
        groups: Families that a column or the names of the rows tell, with what they are; None where none is asked for.
        rules: What the rules find.
        far: Rows that are far from every other.
        removed: Reasons for which a row is not clean, by its number.
        unlearnable: What cannot be learned from so few rows.
        notes: Sentences on how it was read, and on what was not looked for.
        place: Where each row stands in the source, in words.
    """

    source: str
    form: Form
    shape: tuple[int, ...]
    rows: int
    values: np.ndarray
    columns: tuple[ColumnFindings, ...]
    outline: Layout | None
    duplicates: dict[int, int]
    equal_pairs: int
    near: NearRows | None
    groups: tuple[str, np.ndarray] | None
    rules: tuple[RuleFindings, ...]
    far: tuple[int, ...]
    removed: dict[int, list[str]]
    unlearnable: tuple[str, ...]
    notes: tuple[str, ...]
    place: Callable[[int], str] = field(repr=False)

    @property
    def spikes(self) -> list[ColumnFindings]:
        """Columns with a spike, the largest first."""
        spiked = [column for column in self.columns if column.spike is not None]
        return sorted(spiked, key=lambda column: -column.spike_share)

    def to_dict(self) -> dict[str, Any]:
        """All of it for a file, rows by their number in the source from 0."""
        values: dict[str, Any] = {
            "source": self.source,
            "form": self.form,
            "shape": list(self.shape),
            "rows": self.rows,
            "columns": [_column_dict(column) for column in self.columns],
            "duplicates": {
                "pairs": self.equal_pairs,
                "rows": [[row, first] for row, first in self.duplicates.items()],
            },
            "rules": [
                {"rule": rule.rule, "broken": list(rule.broken), "unknown": rule.unknown}
                for rule in self.rules
            ],
            "far": list(self.far),
            "removed": [[row, *reasons] for row, reasons in self.removed.items()],
            "unlearnable": list(self.unlearnable),
            "notes": list(self.notes),
        }
        if self.near is not None:
            values["near"] = {
                "tolerance": self.near.tolerance,
                "of": self.near.words,
                "pairs": self.near.count,
                "rows": self.near.rows,
                "families": len(self.near.sizes),
                "first_pairs": self.near.pairs.tolist(),
                "family": self.near.family.tolist(),
            }
        if self.groups is not None:
            words, family = self.groups
            values["groups"] = {
                "of": words,
                "families": int(family.max()) + 1,
                "family": family.tolist(),
            }
        return values


def _column_dict(column: ColumnFindings) -> dict[str, Any]:
    values: dict[str, Any] = dataclasses.asdict(column)
    values["levels"] = [list(level) for level in column.levels]
    return values


def find(
    source: Source,
    config: DataConfig,
    *,
    rules: Sequence[str] = (),
    id_pattern: str | None = None,
    place: Callable[[int], str] | None = None,
) -> Findings:
    """Look at all rows of a source.

    Args:
        source: What a reader found, its words as numbers of categories.
        config: `tolerance`, in the unit of the columns, `group`, and what is declared of columns are looked at.
        rules: What every row must fulfil, as `Constraint` reads it.
        id_pattern: A regular expression: rows are of a family where the same is found in their names, of its first
            group if it has one.
        place: Where a row stands, in words; by default as the source says.

    Raises:
        ValueError: for a rule, a pattern or a name of a column that does not fit.

    Example:
        >>> rows = np.array([[0.0, 1.0], [2.0, 1.5], [0.0, 1.0]])
        >>> found = find(Source("designs.npy", rows), DataConfig(), rules=["column 1 < column 2"])
        >>> found.duplicates, found.rules[0].broken
        ({2: 0}, (1,))
    """
    source, values, notes = _as_rows(source, config)
    form: Form = "images" if values.ndim == 4 else "table"
    table = form != "images"
    names = column_names(source) if table else ()
    columns = columns_of(source, values, names, config) if table else ()
    columns, beside = _with_units(columns, tuple(columns_beside(source, config)), source, config)
    form = "series" if table and is_series(values, columns, names) else form
    if form == "series":
        columns = tuple(as_point(column) for column in columns)
    elif table:
        columns = columns_with_laws(columns, values, source, config)
    source = _named(source, columns, values)
    is_content = [column.role != "id" for column in columns] if table else slice(None)
    duplicates, equal_pairs = duplicates_of(values[:, is_content], source)
    near, unsearched = nearly_equal(values, form, columns, config)
    checked = tuple(rule_findings(Constraint(text, names), values) for text in rules)
    groups = groups_of(source, config, id_pattern)
    far = far_rows(values[:, is_content]) if form == "series" else ()
    spot = place or source.place
    removed = unclean(values if table else None, duplicates, checked, spot)
    return Findings(
        source=source.name,
        form=form,
        shape=tuple(source.values.shape[1:]),
        rows=len(values),
        values=values,
        columns=(*columns, *beside),
        outline=_outline(form, values, columns, config),
        duplicates=duplicates,
        equal_pairs=equal_pairs,
        near=near,
        groups=groups,
        rules=checked,
        far=far,
        removed=removed,
        unlearnable=tuple(unlearnable(columns, form, len(values), near, groups)),
        notes=(*source.notes, *notes, *unsearched),
        place=spot,
    )


def _outline(
    form: Form, values: np.ndarray, columns: Sequence[ColumnFindings], config: DataConfig
) -> Layout | None:
    """How the values of a series are curves in a plane."""
    if form != "series" and config.stations is not None:
        raise ValueError(
            f"`stations` is for tables of heights, whose columns are alike; these rows are {form}. Leave it out."
        )
    if form != "series":
        return None
    stations = None if config.stations is None else read_stations(config.stations)
    is_value = [column.role == "value" for column in columns]
    names = [column.name for column in columns if column.role == "value"]
    units = {column.unit for column in columns if column.role == "value"}
    has_unit = len(units) == 1 and units != {""}
    return layout_in(values[:, is_value], names, stations, has_unit=has_unit)


def _as_rows(source: Source, config: DataConfig) -> tuple[Source, np.ndarray, tuple[str, ...]]:
    """The source in the form that a training takes, its rows of numbers, or images (N, C, H, W), and what is said."""
    memory.require(_COPIES * 8 * source.values.size, source.name, "Bring fewer rows.")
    values = np.asarray(source.values)
    if values.dtype.kind not in "buif":
        raise ValueError(
            f"{source.name} must hold numbers; its type is {values.dtype}. Bring numbers, or a table with names of"
            " columns."
        )
    source = in_form(dataclasses.replace(source, values=values), config.shape)
    values = np.asarray(source.values)
    if values.ndim == 4:
        return source, values, ()
    values, notes = _finite(values.astype(np.float64))
    return source, values, notes


def _with_units(
    columns: Sequence[ColumnFindings],
    beside: Sequence[ColumnFindings],
    source: Source,
    config: DataConfig,
) -> tuple[tuple[ColumnFindings, ...], tuple[ColumnFindings, ...]]:
    """The columns that are rows, and those beside them, with the units that are declared or stand in their names."""
    names = [column.name for column in (*columns, *beside)]
    units = known_units(names, config.units, source.name)
    told = [
        tuple(dataclasses.replace(one, unit=units.get(one.name, "")) for one in some)
        for some in (columns, beside)
    ]
    return told[0], told[1]


def _named(source: Source, columns: Sequence[ColumnFindings], values: np.ndarray) -> Source:
    """The source with the words that differ in every row as names of rows, where it has no others."""
    for number, column in enumerate(columns):
        if source.names is None and column.role == "id" and column.levels:
            words = source.categories[number]
            names = ["" if np.isnan(code) else words[int(code)] for code in values[:, number]]
            return dataclasses.replace(source, names=np.array(names))
    return source


def _finite(values: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Rows whose infinite values are gaps, and what is said of it."""
    is_infinite = np.isinf(values)
    if not is_infinite.any():
        return values, ()
    count = int(is_infinite.sum())
    note = f"{counted(count, 'infinite value')} looked at as gaps; a training refuses them"
    return np.where(is_infinite, np.nan, values), (note,)
