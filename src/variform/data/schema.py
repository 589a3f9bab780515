"""What is known about the data, and how raw values become what the model sees."""

import dataclasses
import math
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, get_type_hints

import numpy as np
import torch
from torch import Tensor

from variform.config.checks import checked, converted
from variform.config.choices import Support
from variform.config.units import name_and_unit, titled
from variform.config.words import quoted
from variform.data.conditions import (
    Condition,
    Occupancy,
    by_condition,
    known_condition,
    remarks,
    with_lists,
)
from variform.data.outlines import Layout, known_layout
from variform.data.rules import Rule, is_inactive, known_rule
from variform.system import draws
from variform.system.notebook import html_line, html_table

_FAR = 256  # scales from zero: there float32 rounds by more than 1.5e-5 of one
_LEAST_SCALE = (
    1e-30  # float32 has its seven digits from 1e-38, and so for a ten millionth of this scale
)

Ends = float | tuple[float, ...]
"""One end of the range of all pixels, or of those of each channel."""

ColumnKind = Literal["real", "count", "binary", "category", "positive", "bounded", "ordinal"]
Spikes = tuple[tuple[float, float], ...]
"""The values that many rows of a column hold exactly, and the share of each; that of the largest share first."""


@dataclass(frozen=True, repr=False)
class Schema:
    """What the data are, and how raw values become what the model sees: x = (raw - shift) / scale.

    Args:
        kind: `image`, or `table`.
        shape: Shape of one example: (channels, height, width) of images, (columns,) of tables.
        columns: Column names of a table (`column 1`, ... where the source has none); () for images.
        classes: Names of the labels; () without labels.
        low: Least raw value over all rows read, in raw units: one number a column for tables, one for images, or one a
            channel for images whose channels are of several units.
        high: Greatest raw value, likewise.
        whole: Whether all raw values are whole numbers, likewise.
        shift: Raw value that becomes 0, in raw units, likewise.
        scale: Raw units per unit of x, likewise.
        levels: Number of discrete raw levels (256 for 8-bit pixels); None for real numbers.
        binarise: As in `DataConfig`.
        source: File name or built-in name, for messages.
        label: Name of the column that held the labels; None for other labels and for none.
        kinds: Of a mixed table the kind of each column: `real`; `count`; `binary`, 0 or 1; `category`, whose values are
            numbers of categories from 0; `positive`, above 0; `bounded`, between `bounds`; `ordinal`, levels in an
            order, whole numbers or, with `categories`, their numbers. () for other data.
        categories: Of a mixed table the names of each column's categories, of text levels in their order, () for a
            column that has none.
        gaps: Whether a value is missing (NaN) in any row read, likewise. () where none may be missing.
        conditions: What a model is conditioned on; () for other models.
        occupancy: How many training rows had which context; None for other models, and in files of older versions.
        modes: Of each column of a table the value that most training rows hold exactly, and their share; (0, 0) where
            that is below .05, and of categories, counts, 0 and 1. () of images, and in files of older versions.
        bounds: Of a mixed table the bounds of each bounded column, in raw units, (0, 0) of others; () without any.
        spikes: Of a mixed table the values that have a probability of their own in each column, in raw units, and
            their shares of the training rows, the largest first; () for a column, or for all, without any.
        rules: Which columns of a mixed table are active only where another has certain values.
        dates: Of each column of a table the ISO date of its day 0, where its values are days since then; "" of others;
            () without any.
        units: Units by the names of columns, conditions and responses that have one. {} without any, and in files of
            older versions, whose names may tell them: ask `unit_of`.
        outline: How rows of a table are curves in a plane; None where they are none, and in files of older versions.
        has_wide_logs: Whether the mean of the logarithm of a positive column may be all that float32 holds the number
            of; in files of older versions it ends at 30.

    Example:
        >>> from variform.data.reading import dataset_from
        >>> schema = dataset_from(torch.tensor([[0.0, 7.0], [1.0, 9.0]])).schema
        >>> schema.kind, schema.columns, schema.high
        ('table', ('column 1', 'column 2'), (1.0, 9.0))
    """

    kind: Literal["image", "table"]
    shape: tuple[int, ...]
    columns: tuple[str, ...]
    classes: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    whole: tuple[bool, ...]
    shift: tuple[float, ...]
    scale: tuple[float, ...]
    levels: int | None
    binarise: Literal["none", "threshold", "dynamic"]
    source: str
    label: str | None = None
    kinds: tuple[ColumnKind, ...] = ()
    categories: tuple[tuple[str, ...], ...] = ()
    gaps: tuple[bool, ...] = ()
    conditions: tuple[Condition, ...] = ()
    occupancy: Occupancy | None = None
    modes: tuple[tuple[float, float], ...] = ()
    bounds: tuple[tuple[float, float], ...] = ()
    spikes: tuple[Spikes, ...] = ()
    rules: tuple[Rule, ...] = ()
    dates: tuple[str, ...] = ()
    units: dict[str, str] = field(default_factory=dict, hash=False)
    outline: Layout | None = None
    has_wide_logs: bool = False

    def __repr__(self) -> str:
        return f"Schema({self.summary()})"

    def _repr_html_(self) -> str:
        """What the columns are, or in a line what the images are."""
        if not self.columns:
            return html_line(self.summary())
        every = range(len(self.columns))
        parts: dict[str, list[object]] = {"column": [self.title(name) for name in self.columns]}
        if self.kinds:
            parts["kind"] = list(self.kinds)
        for name, values in (("from", self.low), ("to", self.high), ("scale", self.scale)):
            if len(values) == len(self.columns):
                parts[name] = [f"{value:.4g}" for value in values]
        if self.categories:
            parts["categories"] = [", ".join(names[:5]) for names in self.categories]
        rows = [[values[number] for values in parts.values()] for number in every]
        return html_table(
            list(parts), rows, title=f"{self.kind} of {self.source}", note=self.summary()
        )

    def summary(self) -> str:
        """What the data are, in a line: kind, shape, values in raw units, scaling, and what stands beside a row.

        Example:
            >>> from variform.config.data import DataConfig
            >>> from variform.data.reading import read
            >>> read("digits", DataConfig(binarise="dynamic")).schema.summary()
            'image (1, 8, 8) of digits, 17 levels from 0 to 16, as (x - 0) / 16, binarise dynamic, 10 classes'
        """
        facts = [f"{self.kind} {self.shape} of {self.source}", self._ranges_in_words()]
        if any(self.shift) or set(self.scale) != {1}:
            facts.append(self._scaling_in_words())
        if self.binarise != "none":
            facts.append(f"binarise {self.binarise}")
        if self.kinds:
            facts.append(f"kinds {', '.join(sorted(set(self.kinds)))}")
        if any(self.spikes):
            facts.append(f"spikes in {sum(map(bool, self.spikes))} columns")
        if self.rules:
            facts.append(f"{len(self.rules)} columns active by a rule")
        if self.gaps:
            facts.append("with gaps")
        if self.outline is not None:
            facts.append("drawn as outlines")
        if self.classes:
            facts.append(f"{len(self.classes)} classes")
        if self.conditions:
            facts.append(f"given {', '.join(condition.name for condition in self.conditions)}")
        return ", ".join(facts)

    def _ranges_in_words(self) -> str:
        names = [self.title(name) for name in self.unit_names] or [""]
        ends = zip(names, self.low, self.high, strict=True)
        ranges = [f"{name} {low:.4g} to {high:.4g}".strip() for name, low, high in ends]
        if len(ranges) > 3:
            what = "columns" if self.columns else "channels"
            ranges[3:] = [f"and {len(ranges) - 3} {what} more"]
        values = "; ".join(ranges)
        return (
            f"{self.levels} levels from {values}"
            if self.levels and not self.columns
            else f"values {values}"
        )

    def _scaling_in_words(self) -> str:
        if len(self.scale) > 1:
            return "scaled by column" if self.columns else "scaled by channel"
        return f"as (x - {self.shift[0]:.4g}) / {self.scale[0]:.4g}"

    @property
    def unit_names(self) -> tuple[str, ...]:
        """What has a range and a scale of its own: columns, or channels of several units; () where pixels share one.

        Example:
            >>> from variform.data.reading import dataset_from
            >>> dataset_from(torch.rand(9, 2, 4, 4)).schema.unit_names
            ('channel 1', 'channel 2')
        """
        if self.columns or len(self.low) == 1:
            return self.columns
        return tuple(f"channel {number}" for number in range(1, len(self.low) + 1))

    def unit_of(self, name: str) -> str:
        """The unit of a column, condition or response; empty where none is known.

        Args:
            name: As in the source.

        Example:
            >>> from variform.config.data import DataConfig
            >>> from variform.data.reading import read
            >>> table = {"mass": range(90), "drag [N]": range(90, 180)}
            >>> schema = read(table, DataConfig(units=("mass=kg",))).schema
            >>> schema.unit_of("mass"), schema.unit_of("drag [N]"), schema.title("mass"), schema.title("drag [N]")
            ('kg', 'N', 'mass [kg]', 'drag [N]')
        """
        return self.units.get(name) or name_and_unit(name)[1]

    def title(self, name: str) -> str:
        """What axes and tables call a column, condition or response: its name with its unit, which stands there once.

        Args:
            name: As in the source.
        """
        return titled(name, self.unit_of(name))

    @property
    def titles(self) -> tuple[str, ...]:
        """What axes and tables call each column; () for images."""
        return tuple(map(self.title, self.columns))

    @property
    def common_unit(self) -> str:
        """The unit that all columns of a table have; empty where there is no such one.

        Example:
            >>> from variform.data.reading import read
            >>> read({"x [mm]": range(90), "y [mm]": range(90, 180)}).schema.common_unit
            'mm'
        """
        units = set(map(self.unit_of, self.columns))
        return units.pop() if len(units) == 1 else ""

    def per_value(self, values: Sequence[float]) -> Tensor:
        """Numbers of `low`, `scale` and the like for each value of a row, (*shape) float64.

        Args:
            values: One a column, one a channel, or one.

        Example:
            >>> from variform.data.reading import dataset_from
            >>> dataset_from(torch.rand(9, 2, 1, 2)).schema.per_value((5, 7)).tolist()
            [[[5.0, 5.0]], [[7.0, 7.0]]]
        """
        return self._along_rows(torch.tensor(values, dtype=torch.float64)).expand(self.shape)

    def _along_rows(self, values: Tensor) -> Tensor:
        """Numbers that go with the columns or channels of a row, in a shape that broadcasts with it."""
        return values.reshape(-1, 1, 1) if self.kind == "image" else values

    @property
    def context_dim(self) -> int:
        """Numbers per row that a conditional model is conditioned on; 0 for other models."""
        return sum(condition.width for condition in self.conditions)

    def context(self, given: Mapping[str, Any]) -> Tensor:
        """The context that values by name describe, (context_dim,).

        Args:
            given: A value for each of the `conditions`: the name of a category, or a number.

        Raises:
            ValueError: for missing, unknown or impossible values.

        Example:
            >>> from variform.config.data import DataConfig
            >>> from variform.data.reading import read
            >>> read("digits", DataConfig(condition=("label",))).schema.context({"label": 3}).argmax().item()
            3
        """
        return self.contexts(given, 1)[0]

    def contexts(self, given: Mapping[str, Any], rows: int, *, unknown: bool = False) -> Tensor:
        """The contexts of several rows that values by name describe, (rows, context_dim).

        Args:
            given: A value for each of the `conditions`, one for all rows or one a row.
            rows: How many.
            unknown: Whether categories may be '' or NaN, not known, which gives zeros.

        Raises:
            ValueError: for missing, unknown or impossible values, and for another number of them.

        Example:
            >>> from variform.config.data import DataConfig
            >>> from variform.data.reading import read
            >>> schema = read("digits", DataConfig(condition=("label",))).schema
            >>> schema.contexts({"label": [3, 1]}, 2).argmax(1)
            tensor([3, 1])
        """
        self._require_given(given)
        parts = [torch.zeros(rows, 0)]
        for condition in self.conditions:
            values = as_array(given[condition.name])
            if values.shape not in ((), (rows,)):
                raise ValueError(
                    f"{quoted(condition.name)} must be one value, or one for each of {rows} rows; its shape is "
                    f"{values.shape}. Give as many as there are rows."
                )
            part = condition.encode(values.reshape(-1))
            may_be_unknown = unknown or not condition.categories
            is_known = part.isfinite().all() and (may_be_unknown or part.any(1).all())
            if not is_known:
                raise ValueError(
                    f"{quoted(condition.name)} must be known in every row; in some it is not. Fill it in."
                )
            parts.append(part.expand(rows, -1))
        return torch.cat(parts, 1)

    def _require_given(self, given: Mapping[str, Any]) -> None:
        names = [condition.name for condition in self.conditions]
        if set(given) == set(names):
            return
        example = ", ".join(f"{name}=..." for name in names)
        raise ValueError(
            f"the model must be given {' and '.join(names) or 'nothing'}; got {', '.join(given) or 'nothing'}. "
            f"Give {example or 'nothing'}."
        )

    def describe(self, context: Tensor, *, digits: int = 4) -> dict[str, str]:
        """What a context says, in words: the opposite of `context`.

        Args:
            context: (context_dim,).
            digits: Digits of a number.

        Example:
            >>> from variform.config.data import DataConfig
            >>> from variform.data.reading import read
            >>> schema = read("digits", DataConfig(condition=("label",))).schema
            >>> schema.describe(schema.context({"label": 3}))
            {'label': '3'}
        """
        parts = by_condition(self.conditions, context)
        return {condition.name: condition.decode(part, digits=digits) for condition, part in parts}

    def with_gaps(self) -> "Schema":
        """The schema of rows of which any value may be missing.

        Example:
            >>> from variform.data.reading import dataset_from
            >>> dataset_from(torch.rand(4, 2)).schema.with_gaps().gaps
            (True, True)
        """
        return dataclasses.replace(self, gaps=(True,) * len(self.low))

    def unseen(self, contexts: Tensor | None) -> list[str]:
        """What must be said of contexts that lie outside those of the training rows, or where few of these are near.

        Args:
            contexts: What a conditional model is asked for, (N, context_dim) or (context_dim,); None for nothing.

        Example:
            >>> from variform.config.data import DataConfig
            >>> from variform.data.reading import read
            >>> schema = read("digits", DataConfig(condition=("label",))).schema
            >>> schema.unseen(schema.context({"label": 3}))
            []
        """
        if contexts is None or self.occupancy is None:
            return []
        return remarks(
            self.conditions, self.occupancy, contexts.reshape(-1, self.context_dim).cpu()
        )

    def prepare(self, raw: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """What the model sees: x = (raw - shift) / scale, then binarised where asked.

        `threshold` gives 1 where x >= 1/2; `dynamic` draws 1 with probability x, afresh at each call. What is missing
        stays missing, and a cell that is inactive by one of the `rules` is missing too. What float32 would round to an
        end of a column's law, where the density is 0, stays next to it (`nearest`).

        Args:
            raw: Raw values, (B, *shape). float64 stays float64; everything else becomes float32.
            generator: Source of the draws; torch's global one by default.

        Example:
            >>> from variform.data.reading import read
            >>> schema = read("digits").schema
            >>> schema.prepare(torch.full((1, *schema.shape), 8)).max().item()
            0.5
        """
        return self._prepare(
            raw.to(torch.promote_types(raw.dtype, torch.float32), copy=True), generator
        )

    def _prepare(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """As `prepare`, for raw values that are floats already and may be overwritten."""
        shift, scale, rest = self._affine(x)
        if self.rules:
            x.masked_fill_(self.inactive(x), math.nan)
        if any(self.shift):
            x -= shift
        if rest is not None:
            x -= rest
        if any(unit != 1 for unit in self.scale):
            x /= scale
        if any(low or high for low, high in self.nearest):
            x = self._off_ends(x)
        if self.binarise == "none":
            return x
        if self.binarise == "threshold":
            binary = (x >= 0.5).to(x.dtype)
        else:  # P(uniform < x) = x; torch.bernoulli takes three times as long
            binary = (draws.uniform(x.shape, like=x, generator=generator) < x).to(x.dtype)
        return torch.where(x.isnan(), x, binary) if self.gaps else binary

    @cached_property
    def nearest(self) -> tuple[tuple[float, float], ...]:
        """How near to the low and to the high end of its law the model sees a value of each column; 0 without such end.

        A density is 0 at an end. No row of the data stands there, or else the end would be a spike: what float32 puts
        on it was next to it, and counts as far inside as rounding may have moved it.

        Example:
            >>> from variform.data.reading import dataset_from
            >>> schema = dataset_from(torch.rand(4, 1)).schema
            >>> ends = dataclasses.replace(schema, kinds=("bounded",), bounds=((0.0, 1.0),)).nearest
            >>> ends == ((2.0**-126, 2.0**-24),)
            True
        """
        spikes = self.scaled_spikes()
        return tuple(self._nearest(column, spikes[column]) for column in range(len(self.kinds)))

    def _nearest(
        self, column: int, spikes: Sequence[tuple[float, float, float]]
    ) -> tuple[float, float]:
        kind = self.kinds[column]
        if kind not in ("positive", "bounded"):
            return 0.0, 0.0
        above = _TINY
        below = 0.0 if kind == "positive" else _HALF_STEP
        shift, scale = self.shift[column], self.scale[column]
        is_rounded = (shift, scale) != (0.0, 1.0) and not self.is_far[column]
        if kind == "bounded" and is_rounded:
            # Raw values, their shift and their scale are rounded, and what is made of them.
            low, high = map(abs, self.bounds[column])
            above = max(_TINY, _HALF_STEP * 2 * low / scale)
            below = _HALF_STEP * (2 * (low + high) / scale + 1)
        has_low, has_high = (
            any(abs(value - end) <= width for value, width, _ in spikes) for end in (0.0, 1.0)
        )
        above = 0.0 if has_low else above
        below = 0.0 if has_high else below
        return above, below

    def _off_ends(self, x: Tensor) -> Tensor:
        """Values that rounding puts, or may have put, on an end of their law, as far inside as it may have moved them.

        Where the low end is 0 in raw units float32 tells it from all else, and a 0 stays the end.
        """
        above, below = torch.tensor(self.nearest, dtype=torch.float64).T.to(x)
        may_be_inside = (x > 0) | (above > _TINY)
        x = torch.where((x.abs() <= above) & may_be_inside, above, x)
        return torch.where(((x - 1).abs() <= below) & (below > 0), 1 - below, x)

    def restore(self, x: Tensor) -> Tensor:
        """Values in raw units: raw = x * scale + shift, as floats that are not rounded.

        They are float64 where the values are so far from zero that float32 would not tell them apart (`is_far`), and in
        the type of x elsewhere.

        Args:
            x: Prepared values, (..., *shape).

        Example:
            >>> from variform.data.reading import read
            >>> schema = read("digits").schema
            >>> schema.restore(torch.full(schema.shape, 0.5)).max().item()
            8.0
        """
        if any(self.is_far) and x.device.type != "mps":  # which has no float64
            x = x.double()
        shift, scale, _ = self._affine(x)
        return x * scale + shift

    @cached_property
    def exact_values(self) -> tuple[dict[float, float], ...]:
        """Of each column the spikes and what inactive cells hold, as in the file, by what float32 makes of them.

        Example:
            >>> from variform.data.reading import dataset_from
            >>> schema = dataset_from(torch.rand(4, 1)).schema
            >>> dataclasses.replace(schema, spikes=(((0.015848936170212168, 0.3),),)).exact_values
            ({0.015848936513066292: 0.015848936170212168},)
        """
        spikes = self.spikes or [()] * len(self.shift)
        known = [[value for value, _ in own] for own in spikes]
        for rule in self.rules:
            if rule.value is not None:
                known[rule.column].append(rule.value)
        return tuple({float(np.float32(value)): value for value in values} for values in known)

    @cached_property
    def is_far(self) -> tuple[bool, ...]:
        """Whether raw values need float64: so far from zero for their scale, or of so small or large a one; as `shift`.

        Example:
            >>> from variform.data.reading import read
            >>> times = 1.7e9 + np.arange(100.0)[:, None]  # seconds; float32 knows them to two minutes
            >>> read(times).schema.is_far, read(times - 1.7e9).schema.is_far
            ((True,), (False,))
        """
        ends = zip(self.low, self.high, self.scale, strict=True)
        return tuple(
            max(abs(low), abs(high)) > _FAR * scale or not _LEAST_SCALE < scale < 1 / _LEAST_SCALE
            for low, high, scale in ends
        )

    def tidy(self, raw: Tensor) -> Tensor:
        """Values as the columns of a mixed table can hold them; other data stay as they are.

        Columns of whole numbers and of categories are rounded, categories and levels are those that were read, and
        what a law keeps within bounds stays there although numbers are rounded. A real column has no end: nothing is
        clipped to the range of the rows read. Spikes are exact, and inactive cells hold what those of the file do.

        Args:
            raw: Raw values, (..., *shape).

        Example:
            >>> from variform.config.data import DataConfig
            >>> from variform.data.reading import read
            >>> rows = torch.tensor([[0.5, 3.0], [1.5, 0.0], [2.25, 9.0]]).repeat(20, 1) + torch.arange(60)[:, None]
            >>> table = read(rows, config=DataConfig(cells="mixed")).schema
            >>> table.kinds, table.tidy(torch.tensor([99.0, 11.7])).tolist()
            (('real', 'count'), [99.0, 12.0])
        """
        if not self.kinds:
            return raw
        tidy = self._exact(self._bounded(self._rounded(raw)))
        for rule in self.rules:
            value = math.nan if rule.value is None else rule.value
            tidy[..., rule.column].masked_fill_(rule.is_inactive(tidy), value)
        return tidy

    def levels_of(self, column: int) -> int:
        """How many levels a column of a mixed table has: categories, or whole numbers in an order; 0 of others.

        Args:
            column: Its number.
        """
        names = self.categories[column]
        if self.kinds[column] == "ordinal" and not names:
            return int(self.high[column] - self.low[column]) + 1
        return len(names)

    def inactive(self, raw: Tensor) -> Tensor:
        """Which cells of raw rows (..., D) say nothing, by the `rules`, (..., D) bool."""
        return is_inactive(self.rules, raw)

    def without_inactive(self, x: Tensor) -> Tensor:
        """Prepared rows (N, D), of any model, whose inactive cells are missing, as those of the data are."""
        if not self.rules:
            return x
        return x.masked_fill(self.inactive(self.tidy(self.restore(x))), math.nan)

    def without_spikes(self, raw: Tensor) -> Tensor:
        """Raw rows (N, D) whose inactive cells and spikes are missing: what the continuous laws are of."""
        rest = raw.masked_fill(self.inactive(raw), math.nan)
        for column, spikes in enumerate(self.spikes):
            for value, _ in spikes:
                is_spike = (rest[:, column] - value).abs() <= SAME * abs(value)
                rest[:, column] = rest[:, column].masked_fill(is_spike, math.nan)
        return rest

    def scaled_spikes(self) -> list[list[tuple[float, float, float]]]:
        """Of each column every spike as the model sees it, by how much rounding may move it, and its share.

        Raw values may come in float32: that far they may be from what the file says.

        Example:
            >>> from variform.data.reading import dataset_from
            >>> schema = dataset_from(torch.rand(4, 1)).schema
            >>> dataclasses.replace(schema, scale=(2.0,), spikes=(((4.0, 0.3),),)).scaled_spikes()
            [[(2.0, 1.200001e-06, 0.3)]]
        """
        if not self.spikes:
            return [[] for _ in self.shift]
        columns = zip(self.spikes, self.shift, self.scale, strict=True)
        return [
            [_scaled_spike(value, share, shift, scale) for value, share in spikes]
            for spikes, shift, scale in columns
        ]

    def _rounded(self, raw: Tensor) -> Tensor:
        return torch.where(torch.tensor(self.whole, device=raw.device), raw.round(), raw)

    @property
    def ends(self) -> Tensor:
        """Between which values new cells of the columns of a mixed table are, (D, 2) float64."""
        ends = [self._ends(column) for column in range(len(self.kinds))]
        return torch.tensor(ends, dtype=torch.float64)

    def _bounded(self, raw: Tensor) -> Tensor:
        """Within the ends that the laws of the columns have."""
        low, high = self.ends.T.to(raw)
        return torch.minimum(torch.maximum(raw, low), high)

    def _ends(self, column: int) -> tuple[float, float]:
        kind = self.kinds[column]
        if kind in ("binary", "category", "ordinal"):
            return self.low[column], self.high[column]
        if kind == "bounded":
            return self._inside(column, *self.bounds[column])
        if kind == "positive":
            return self._inside(column, 0.0, math.inf)
        return (-math.inf if kind == "real" else 0.0), math.inf

    def _inside(self, column: int, low: float, high: float) -> tuple[float, float]:
        """The ends of a law, or the number next to one at which no row stands, as new rows are written."""
        single = not self.is_far[column]
        above, below = self.nearest[column]
        if above:
            low = _next(low, math.inf, single=single)
        if below:
            high = _next(high, -math.inf, single=single)
        return low, high

    def _exact(self, raw: Tensor) -> Tensor:
        """Spikes that rounding moved, where they were, as new rows."""
        exact = raw.clone()
        scaled = self.scaled_spikes()
        for column, spikes in enumerate(self.spikes):
            own = raw[..., column]
            for (value, _), (_, width, _) in zip(spikes, scaled[column], strict=True):
                is_spike = (own - value).abs() <= width * self.scale[column]
                exact[..., column] = torch.where(is_spike, value, exact[..., column])
        return exact

    def log_jacobians(self, x: Tensor) -> Tensor:
        """`log_jacobian` of each row of x (B, *shape), (B,) float64: of the values that are not missing.

        A spike is a probability, which has no unit: it adds nothing.

        Example:
            >>> from variform.config.data import DataConfig
            >>> from variform.data.reading import read
            >>> schema = read(torch.randn(100, 2) * 5, config=DataConfig(cells="gaps")).schema
            >>> whole, half = schema.log_jacobians(torch.tensor([[0.0, 0.0], [0.0, torch.nan]])).tolist()
            >>> round(whole - schema.log_jacobian, 5), round(half + math.log(schema.scale[0]), 6)
            (0.0, 0.0)
        """
        if not self.gaps or self.binarise != "none":
            return x.new_full((len(x),), self.log_jacobian, dtype=torch.float64)
        return self.log_jacobian_per_entry(x).flatten(1).sum(1)

    def log_jacobian_per_entry(self, x: Tensor) -> Tensor:
        """What each value of x (B, *shape) adds to `log_jacobians`, (B, *shape) float64.

        Example:
            >>> from variform.data.reading import dataset_from
            >>> schema = dataclasses.replace(dataset_from(torch.rand(4, 2)).schema, scale=(1.0, math.e))
            >>> schema.log_jacobian_per_entry(torch.zeros(1, 2)).tolist()
            [[0.0, -1.0]]
        """
        if self.binarise != "none":
            return x.new_zeros(x.shape, dtype=torch.float64)
        scale = self.per_value(self.scale).to(x.device)
        if not self.gaps:
            return (self._density_unit / scale).log().expand(x.shape)
        has_no_density = x.isnan()
        for column, spikes in enumerate(self.scaled_spikes()):
            for value, width, _ in spikes:
                has_no_density[:, column] |= (x[:, column] - value).abs() <= width
        return -torch.where(has_no_density, 0.0, scale.log())

    @property
    def _density_unit(self) -> int:
        """In how many raw units a density is stated: images of levels as intensities in [0, 1]."""
        return self.levels - 1 if self.levels and self.kind == "image" else 1

    @property
    def log_jacobian(self) -> float:
        """log |dx / draw| per example, -sum(log scale), in nats: add it to log p(x) to get a density of raw values.

        For the discrete levels of images the density is stated per intensity in [0, 1], raw / (levels - 1), as in the
        literature: 0 under unit scaling, and whatever makes the other scalings comparable to it. Binarised data have no
        density: 0.

        Example:
            >>> from variform.data.reading import dataset_from
            >>> schema = dataset_from(torch.rand(4, 2)).schema
            >>> dataclasses.replace(schema, scale=(2.0, 0.5)).log_jacobian
            0.0
        """
        if self.binarise != "none":
            return 0.0
        repeats = math.prod(self.shape) // len(self.scale)
        return repeats * sum(math.log(self._density_unit / scale) for scale in self.scale)

    @property
    def seen_levels(self) -> int | None:
        """Number of discrete levels that the model sees: 2 for binarised data; None for real numbers.

        Example:
            >>> from variform.config.data import DataConfig
            >>> from variform.data.reading import read
            >>> read("digits").schema.seen_levels, read("digits", DataConfig(binarise="dynamic")).schema.seen_levels
            (17, 2)
        """
        return self.levels if self.binarise == "none" else 2

    @property
    def grey_range(self) -> tuple[Ends, Ends]:
        """The raw values that images show as black and as white: of each channel, if they are of several units.

        Example:
            >>> from variform.data.reading import read
            >>> read("digits").schema.grey_range
            (0.0, 16.0)
        """
        if self.levels:
            return 0.0, self.levels - 1.0
        if self.kind == "image" and len(self.low) > 1:
            return self.low, self.high
        return min(self.low), max(self.high)

    @checked
    def require(self, support: Support, likelihood: str) -> None:
        """Refuse data that a likelihood cannot take.

        Args:
            support: Which values it is for: any, [0, 1], levels, or counts.
            likelihood: Its name, for the message.

        Raises:
            ValueError: if a prepared value is not of that kind; names the first such column, and its raw value where
                it is known.

        Example:
            >>> from variform.data.reading import dataset_from
            >>> dataset_from(torch.tensor([[7.25]])).schema.require("unit", "bernoulli")
            Traceback (most recent call last):
            ValueError: bernoulli needs values in [0, 1]; column 'column 1' of array holds 7.25. Use \
`likelihood='gaussian-per-feature'` or `scaling='unit'`.
        """
        if self.binarise != "none":  # zeros and ones are of every kind
            return
        if support == "unit" and (outlier := self._outlier()):
            raise ValueError(
                f"{likelihood} needs values in [0, 1]; {outlier}. Use `likelihood={self.gaussian!r}` or "
                f"`scaling='unit'`{self._or_pictures()}."
            )
        if support == "levels":
            self._require_levels(likelihood)
        if support == "counts":
            self._require_counts(likelihood)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON, which keeps every float exactly.

        Example:
            >>> from variform.data.reading import dataset_from
            >>> dataset_from(torch.ones(4, 2)).schema.to_dict()["shape"]
            [2]
        """
        values = dataclasses.asdict(self)
        values["categories"] = [list(names) for names in self.categories]
        values["occupancy"] = None if self.occupancy is None else self.occupancy.to_dict()
        return with_lists(values)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Schema":
        """The opposite of `to_dict`; what a file of format 1 has not yet is left at its default.

        Raises:
            ValueError: for missing or unknown keys.

        Example:
            >>> from variform.data.reading import dataset_from
            >>> schema = dataset_from(torch.rand(4, 2)).schema
            >>> Schema.from_dict(schema.to_dict()) == schema
            True
        """
        if not isinstance(values, dict) or not isinstance(values.get("low", []), list):
            raise ValueError(
                "a schema must hold values by name; this one holds others. Fetch the file again."
            )
        names = {field.name for field in dataclasses.fields(cls)}
        since = {
            "whole": [False] * len(values.get("low", [])),
            "conditions": [],
            "kinds": [],
            "categories": [],
            "gaps": [],
            "occupancy": None,
            "modes": [],
            "bounds": [],
            "spikes": [],
            "rules": [],
            "dates": [],
            "units": {},
            "outline": None,
            "has_wide_logs": False,
        }
        values = {**since, **values}
        if odd := names ^ set(values):
            raise ValueError(
                f"a schema must have the keys {', '.join(sorted(names))}; missing or unknown: {', '.join(sorted(odd))}."
                " Use a file that this version of variform wrote."
            )
        hints = get_type_hints(cls)
        stored = converted(tuple[dict[str, object], ...], values.pop("conditions"), "conditions")
        conditions = tuple(known_condition(item) for item in stored)
        counts = values.pop("occupancy")
        occupancy = None if counts is None else Occupancy.from_dict(counts, conditions)
        outline = known_layout(values.pop("outline"))
        rules = converted(tuple[dict[str, object], ...], values.pop("rules"), "rules")
        fields = {
            name: converted(hints[name], value, f"the schema's {name}")
            for name, value in values.items()
        }
        schema = cls(
            **fields,
            conditions=conditions,
            occupancy=occupancy,
            rules=tuple(known_rule(item) for item in rules),
            outline=outline,
        )
        schema._require_consistent()
        return schema

    def _require_consistent(self) -> None:
        """Refuse what `read` never makes, such as more columns than values: it would go wrong much later."""
        width = len(self.columns)
        if self.kind == "image":
            width = self.shape[0] if len(self.low) > 1 and self.shape else 1
        required = {len(getattr(self, name)) for name in ("low", "high", "whole", "shift", "scale")}
        lists = ("kinds", "categories", "gaps", "modes", "bounds", "spikes", "dates")
        optional = {len(getattr(self, name)) for name in lists}
        if not (self._is_shaped() and required == {width} and optional <= {0, width}):
            raise ValueError(
                f"a schema must have one value a column, or one for images; {self.kind} of the shape "
                f"{reprlib.repr(self.shape)} with {len(self.columns)} columns has others. Fetch the file again."
            )
        if self.outline is not None and not (self.columns and self.outline.fits(width)):
            raise ValueError(
                "a schema must have an outline of its own columns; this one has another. Fetch the file again."
            )
        is_ruled = all(
            0 <= place < width for rule in self.rules for place in (rule.column, rule.flag)
        )
        spans = [
            high - low
            for kind, low, high in zip(self.kinds, self.low, self.high, strict=False)
            if kind == "ordinal"
        ]
        if not is_ruled or not all(0 <= span < 1000 for span in spans):
            raise ValueError(
                "a schema must have rules of its own columns and fewer than 1,000 levels of one; this one has others. "
                "Fetch the file again."
            )
        scales = (*self.scale, *(condition.scale for condition in self.conditions))
        if min(scales) <= 0 or (self.levels or 2) < 2 or not self._is_named():
            raise ValueError(
                "a schema must have positive scales, levels from 2, and categories where a column is one; this one has "
                "others. Fetch the file again."
            )

    def _is_shaped(self) -> bool:
        """Whether the shape is that of an image, or of a row of all columns."""
        if self.kind == "image":
            return len(self.shape) == 3 and not self.columns and min(self.shape) >= 1
        return self.shape == (len(self.columns),) and bool(self.columns)

    def _is_named(self) -> bool:
        """Whether the columns that are categories have names of them, and others but for levels have none."""
        pairs = zip(self.kinds, self.categories, strict=False)
        is_named = all(
            bool(names) == (kind == "category") for kind, names in pairs if kind != "ordinal"
        )
        return len(self.kinds) == len(self.categories) and is_named

    @cached_property
    def _affines(
        self,
    ) -> dict[tuple[torch.dtype, torch.device], tuple[Tensor, Tensor, Tensor | None]]:
        return {}

    def _affine(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Shift and scale in the type and on the device of `x`, and what is left of the shift, if that counts."""
        key = (x.dtype, x.device)
        if key not in self._affines:
            shift = self._along_rows(torch.tensor(self.shift, dtype=torch.float64))
            scale = self._along_rows(torch.tensor(self.scale, dtype=torch.float64))
            rest = shift - shift.to(x.dtype)
            counts = bool((rest.abs() > 2**-20 * scale).any())
            self._affines[key] = (shift.to(x), scale.to(x), rest.to(x) if counts else None)
        return self._affines[key]

    def scaled_ranges(self) -> list[tuple[float, float]]:
        """Least and greatest value, as the model sees them before any binarisation: one pair, or one a column."""
        columns = zip(self.low, self.high, self.shift, self.scale, strict=True)
        return [
            ((low - shift) / scale, (high - shift) / scale) for low, high, shift, scale in columns
        ]

    @property
    def gaussian(self) -> str:
        """The Gaussian likelihood for such data: columns have noise of their own, the pixels of an image the same."""
        return "gaussian-per-feature" if self.kind == "table" else "gaussian-shared"

    def _outlier(self) -> str | None:
        """The first column whose scaled values leave [0, 1], and its raw value, in words."""
        for column, (low, high) in enumerate(self.scaled_ranges()):
            if low < 0 or high > 1:
                value = self.high[column] if high > 1 else self.low[column]
                return f"{self._named(column)} holds {value:.7g}"
        return None

    def _or_pictures(self) -> str:
        """What else to do where the columns may be the pixels of square pictures."""
        side = math.isqrt(len(self.columns))
        are_bytes = all(self.whole) and min(self.low) >= 0 and max(self.high) <= 255
        if side < 8 or side * side != len(self.columns) or not are_bytes:
            return ""
        return f", or, if the columns are pixels, `shape=[{side}, {side}]`"

    def _require_levels(self, likelihood: str) -> None:
        if self.levels is None:
            raise ValueError(
                f"{likelihood} needs discrete levels, such as 8-bit pixels; {self.source} holds other numbers. "
                f"Use `likelihood={self.gaussian!r}`{self._or_pictures()}."
            )
        if any(self.shift) or set(self.scale) != {self.levels - 1}:
            raise ValueError(
                f"{likelihood} needs levels scaled to [0, 1]; those of {self.source} are scaled otherwise. "
                "Use `scaling='unit'`."
            )

    def _require_counts(self, likelihood: str) -> None:
        for column, (low, whole) in enumerate(zip(self.low, self.whole, strict=True)):
            if low < 0 or not whole:
                value = f"{low:.7g}" if low < 0 else "fractions"
                raise ValueError(
                    f"{likelihood} needs counts, whole numbers from 0; {self._named(column)} holds {value}. "
                    f"Use `likelihood={self.gaussian!r}`, or leave the column out."
                )
        if any(self.shift) or set(self.scale) != {1}:
            raise ValueError(
                f"{likelihood} needs counts as they are; {self.source} is scaled. Use `scaling='none'`."
            )

    def _named(self, column: int) -> str:
        """What messages call a column."""
        if self.kind == "image":
            where = f"{self.unit_names[column]} of " if self.unit_names else ""
            return f"a pixel of {where}{self.source}"
        return f"column {quoted(self.columns[column])} of {self.source}"


_TINY = 2.0**-126  # the least number of float32 with all its digits
_HALF_STEP = 2.0**-24  # of float32 numbers from 1, as a share of them: as far as rounding moves one
SAME = 1e-12
"""Values that differ by no more than this, as a share of them, are one value that was written in two ways."""
_ROUNDING = 1e-7  # of a raw value, as a share of it: half of what two float32 numbers differ by
_MOST_ROUNDING = 3e-5  # as a share of the scale


def _scaled_spike(
    value: float, share: float, shift: float, scale: float
) -> tuple[float, float, float]:
    """A spike as the model sees it, by how much rounding may move it, and its share."""
    scaled = (value - shift) / scale
    of_raw = min(_ROUNDING * abs(value) / scale, _MOST_ROUNDING)
    width = 5 * _ROUNDING * abs(scaled) + of_raw + 1e-12
    return scaled, width, share


def _next(value: float, towards: float, *, single: bool) -> float:
    """The float32, or float64, next to a value, and of 0 the first with all its digits."""
    kind = np.float32 if single else np.float64
    if value == 0:
        return math.copysign(float(np.finfo(kind).tiny), towards)
    return float(np.nextafter(kind(value), kind(towards)))


def as_array(values: Tensor | np.ndarray) -> np.ndarray:
    """Values in memory as an array, without a copy where there need be none."""
    if isinstance(values, Tensor):
        return values.detach().cpu().numpy()
    return np.asarray(values)
