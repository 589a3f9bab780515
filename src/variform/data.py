"""Data: what a source holds becomes raw tensors, a split, and a `Schema` that says how to scale them.

From top to bottom: what is known about the data (`Schema`, `Dataset`, `Splits`), the verbs (`read`, `splits_from`,
`dataset_from`, `read_rows`, `read_points`), the order of an epoch (`epoch_order`), what holds for every format, the
split, and the scaling. How each format is read stands in sources.py.
"""

import dataclasses
import hashlib
import itertools
import math
import reprlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_type_hints

import numpy as np
import torch
from torch import Tensor

from variform.conditions import Condition, Occupancy, category_name, known_condition, occupancy, remarks
from variform.config.checks import checked, converted
from variform.config.choices import Support
from variform.config.data import DataConfig
from variform.sources import (
    Rendered,
    Shards,
    Source,
    check_options,
    csv_columns,
    declared_kinds,
    listed,
    quoted,
    read_source,
    source_format,
)
from variform.system import draws

_DEFAULTS = DataConfig()
_VALUES_AT_ONCE = 2**20  # of a pass over all rows: data that are larger than memory must not be copied into it
BLOCKS_PER_WINDOW = 128  # of a batch of 128 rows, each then has one neighbour from its own block on average
_PARTS = ("train", "valid", "test")
_FEW = 20  # categories that are believed in any case
_LEAST_PILE = 0.05  # share of the rows at one value that is worth a word

ColumnKind = Literal["real", "count", "binary", "category"]


@dataclass(frozen=True, repr=False)
class Schema:
    """What the data are, and how raw values become what the model sees: x = (raw - shift) / scale.

    Args:
        kind: `image`, or `table`.
        shape: Shape of one example: (channels, height, width) of images, (columns,) of tables.
        columns: Column names of a table (`column 1`, ... where the source has none); () for images.
        classes: Names of the labels; () without labels.
        low: Least raw value over all rows read, in raw units: one number for images, one a column for tables.
        high: Greatest raw value, likewise.
        whole: Whether all raw values are whole numbers, likewise.
        shift: Raw value that becomes 0, in raw units: one number for images, one a column for tables.
        scale: Raw units per unit of x, likewise.
        levels: Number of discrete raw levels (256 for 8-bit pixels); None for real numbers.
        binarise: As in `DataConfig`.
        source: File name or built-in name, for messages.
        label: Name of the CSV column that held the labels; None for other labels and for none.
        kinds: Of a mixed table the kind of each column: `real`; `count`; `binary`, 0 or 1; `category`, whose values are
            numbers of categories from 0. () for other data.
        categories: Of a mixed table the names of each column's categories, () for a column that has none.
        gaps: Whether a value is missing (NaN) in any row read: one for images, one a column for tables. () where none
            may be missing.
        conditions: What a conditional model is told beside each row; () for other models.
        occupancy: How many training rows were told what; None for other models, and in files of older versions.
        modes: Of each column of a table the value that most training rows hold exactly, and their share; (0, 0) where
            that is below .05, and of categories, counts, 0 and 1. () of images, and in files of older versions.

    Example:
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

    def __repr__(self) -> str:
        return f"Schema({self.summary()})"

    def summary(self) -> str:
        """What the data are, in a line: kind, shape, values in raw units, scaling, and what stands beside a row.

        Example:
            >>> read("digits", DataConfig(binarise="dynamic")).schema.summary()
            'image (1, 8, 8) of digits, 17 levels from 0 to 16, as (x - 0) / 16, binarise dynamic, 10 classes'
        """
        names = self.columns or ("",)
        ends = zip(names, self.low, self.high, strict=True)
        ranges = [f"{name} {low:.4g} to {high:.4g}".strip() for name, low, high in ends]
        values = "; ".join([*ranges[:3], *([f"and {len(ranges) - 3} columns more"] if len(ranges) > 3 else [])])
        affine = f"as (x - {self.shift[0]:.4g}) / {self.scale[0]:.4g}" if len(self.scale) == 1 else "scaled by column"
        is_scaled = any(self.shift) or any(unit != 1 for unit in self.scale)
        facts = [
            f"{self.kind} {self.shape} of {self.source}",
            f"{self.levels} levels from {values}" if self.levels and not self.columns else f"values {values}",
            affine if is_scaled else "",
            f"binarise {self.binarise}" if self.binarise != "none" else "",
            f"kinds {', '.join(sorted(set(self.kinds)))}" if self.kinds else "",
            "with gaps" if self.gaps else "",
            f"{len(self.classes)} classes" if self.classes else "",
            f"told {', '.join(condition.name for condition in self.conditions)}" if self.conditions else "",
        ]
        return ", ".join(fact for fact in facts if fact)

    @property
    def context_dim(self) -> int:
        """Numbers per row that a conditional model is told beside it; 0 for other models."""
        return sum(condition.width for condition in self.conditions)

    def context(self, given: Mapping[str, Any]) -> Tensor:
        """The context that values by name describe, (context_dim,).

        Args:
            given: A value for each of the `conditions`: the name of a category, or a number.

        Raises:
            ValueError: for missing, unknown or impossible values.

        Example:
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
            >>> schema = read("digits", DataConfig(condition=("label",))).schema
            >>> schema.contexts({"label": [3, 1]}, 2).argmax(1)
            tensor([3, 1])
        """
        names = [condition.name for condition in self.conditions]
        if set(given) != set(names):
            raise ValueError(
                f"the model must be told {' and '.join(names) or 'nothing'}; got {', '.join(given) or 'nothing'}. "
                f"Give {', '.join(f'{name}=...' for name in names) or 'nothing'}."
            )
        parts = [torch.zeros(rows, 0)]
        for condition in self.conditions:
            values = _array(given[condition.name])
            if values.shape not in ((), (rows,)):
                raise ValueError(
                    f"{quoted(condition.name)} must be one value, or one for each of {rows} rows; its shape is "
                    f"{values.shape}. Give as many as there are rows."
                )
            part = condition.encode(values.reshape(-1))
            if not part.isfinite().all() or not (unknown or not condition.categories or part.any(1).all()):
                raise ValueError(f"{quoted(condition.name)} must be known in every row; in some it is not. Fill it in.")
            parts.append(part.expand(rows, -1))
        return torch.cat(parts, 1)

    def told(self, context: Tensor, *, digits: int = 4) -> dict[str, str]:
        """What a context says, in words: the opposite of `context`.

        Args:
            context: (context_dim,).
            digits: Digits of a number.

        Example:
            >>> schema = read("digits", DataConfig(condition=("label",))).schema
            >>> schema.told(schema.context({"label": 3}))
            {'label': '3'}
        """
        parts = context.split([condition.width for condition in self.conditions])
        return {item.name: item.decode(part, digits=digits) for item, part in zip(self.conditions, parts, strict=True)}

    def unseen(self, contexts: Tensor | None) -> list[str]:
        """What must be said of contexts that lie outside those of the training rows, or where few of these are near.

        Args:
            contexts: What a conditional model is asked for, (N, context_dim) or (context_dim,); None for nothing.

        Example:
            >>> schema = read("digits", DataConfig(condition=("label",))).schema
            >>> schema.unseen(schema.context({"label": 3}))
            []
        """
        if contexts is None or self.occupancy is None:
            return []
        return remarks(self.conditions, self.occupancy, contexts.reshape(-1, self.context_dim).cpu())

    def prepare(self, raw: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """What the model sees: x = (raw - shift) / scale, then binarised where asked.

        `threshold` gives 1 where x >= 1/2; `dynamic` draws 1 with probability x, afresh at each call. What is missing
        stays missing.

        Args:
            raw: Raw values, (B, *shape). float64 stays float64; everything else becomes float32.
            generator: Source of the draws; torch's global one by default.

        Example:
            >>> schema = read("digits").schema
            >>> schema.prepare(torch.full((1, *schema.shape), 8)).max().item()
            0.5
        """
        return self._prepare(raw.to(torch.promote_types(raw.dtype, torch.float32), copy=True), generator)

    def _prepare(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """As `prepare`, for raw values that are floats already and may be overwritten."""
        shift, scale = self._affine(x)
        if any(self.shift):
            x -= shift
        if any(unit != 1 for unit in self.scale):
            x /= scale
        if self.binarise == "none":
            return x
        if self.binarise == "threshold":
            binary = (x >= 0.5).to(x.dtype)
        else:  # P(uniform < x) = x; torch.bernoulli takes three times as long
            binary = (draws.uniform(x.shape, like=x, generator=generator) < x).to(x.dtype)
        return torch.where(x.isnan(), x, binary) if self.gaps else binary

    def restore(self, x: Tensor) -> Tensor:
        """Values in raw units: raw = x * scale + shift, as floats that are not rounded.

        Args:
            x: Prepared values, (..., *shape).

        Example:
            >>> schema = read("digits").schema
            >>> schema.restore(torch.full(schema.shape, 0.5)).max().item()
            8.0
        """
        shift, scale = self._affine(x)
        return x * scale + shift

    def tidy(self, raw: Tensor) -> Tensor:
        """Values as the columns of a mixed table can hold them; other data stay as they are.

        Columns of whole numbers and of categories are rounded, and nothing leaves the range of the rows read, but for
        counts, which have no upper end.

        Args:
            raw: Raw values, (..., *shape).

        Example:
            >>> rows = torch.tensor([[0.5, 3.0], [1.5, 0.0], [2.25, 9.0]]).repeat(20, 1) + torch.arange(60)[:, None]
            >>> table = splits_from(rows, config=DataConfig(cells="mixed")).schema
            >>> table.kinds, table.tidy(torch.tensor([99.0, 11.7])).tolist()
            (('real', 'count'), [61.25, 12.0])
        """
        return self._bounded(self._rounded(raw)) if self.kinds else raw

    def clipped(self, raw: Tensor) -> dict[str, int]:
        """How many values of each column `tidy` clips to the range of the rows read; columns without any are left out.

        Args:
            raw: Raw values before `tidy`, (N, *shape).

        Example:
            >>> rows = torch.tensor([[0.5, 3.0], [1.5, 0.0], [2.25, 9.0]]).repeat(20, 1) + torch.arange(60)[:, None]
            >>> table = splits_from(rows, config=DataConfig(cells="mixed")).schema
            >>> table.clipped(torch.tensor([[99.0, 11.7], [-1.0, 2.0], [3.0, 2.0]]))
            {'column 1': 2}
        """
        if not self.kinds:
            return {}
        rounded = self._rounded(raw)
        moved = (self._bounded(rounded) - rounded).abs()
        error = 1e-6 * (raw.new_tensor(self.high) - raw.new_tensor(self.low))  # of the scaling
        counts = (moved > error).sum(0).tolist()
        return {name: count for name, count in zip(self.columns, counts, strict=True) if count}

    def _rounded(self, raw: Tensor) -> Tensor:
        return torch.where(torch.tensor(self.whole, device=raw.device), raw.round(), raw)

    def _bounded(self, raw: Tensor) -> Tensor:
        low, high = raw.new_tensor(self.low), raw.new_tensor(self.high)
        is_count = torch.tensor([kind == "count" for kind in self.kinds], device=raw.device)
        return torch.where(is_count, raw.clamp_min(0), torch.minimum(torch.maximum(raw, low), high))

    def log_jacobians(self, x: Tensor) -> Tensor:
        """`log_jacobian` of each row of x (B, *shape), (B,) float64: of the values that are not missing.

        Example:
            >>> schema = splits_from(torch.randn(100, 2) * 5, config=DataConfig(cells="gaps")).schema
            >>> whole, half = schema.log_jacobians(torch.tensor([[0.0, 0.0], [0.0, torch.nan]])).tolist()
            >>> whole == schema.log_jacobian, round(half + math.log(schema.scale[0]), 6)
            (True, 0.0)
        """
        if not self.gaps or self.binarise != "none":
            return x.new_full((len(x),), self.log_jacobian, dtype=torch.float64)
        scale = torch.tensor(self.scale, dtype=torch.float64, device=x.device)
        return -torch.where(x.isnan(), 0.0, scale.log()).flatten(1).sum(1)

    @property
    def log_jacobian(self) -> float:
        """log |dx / draw| per example, -sum(log scale), in nats: add it to log p(x) to get a density of raw values.

        For the discrete levels of images the density is stated per intensity in [0, 1], raw / (levels - 1), as in the
        literature: 0 under unit scaling, and whatever makes the other scalings comparable to it. Binarised data have no
        density: 0.

        Example:
            >>> schema = dataset_from(torch.rand(4, 2)).schema
            >>> dataclasses.replace(schema, scale=(2.0, 0.5)).log_jacobian
            0.0
        """
        if self.binarise != "none":
            return 0.0
        unit = self.levels - 1 if self.levels and self.kind == "image" else 1
        repeats = math.prod(self.shape) // len(self.scale)
        return repeats * sum(math.log(unit / scale) for scale in self.scale)

    @property
    def seen_levels(self) -> int | None:
        """Number of discrete levels that the model sees: 2 for binarised data; None for real numbers.

        Example:
            >>> read("digits").schema.seen_levels, read("digits", DataConfig(binarise="dynamic")).schema.seen_levels
            (17, 2)
        """
        return self.levels if self.binarise == "none" else 2

    @property
    def grey_range(self) -> tuple[float, float]:
        """The raw values that images show as black and as white.

        Example:
            >>> read("digits").schema.grey_range
            (0.0, 16.0)
        """
        return (0.0, self.levels - 1.0) if self.levels else (min(self.low), max(self.high))

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
            >>> dataset_from(torch.tensor([[7.25]])).schema.require("unit", "bernoulli")
            Traceback (most recent call last):
            ValueError: bernoulli needs values in [0, 1]; column 'column 1' of array holds 7.25. Use --likelihood \
gaussian-per-feature or --scaling unit.
        """
        if self.binarise != "none":  # zeros and ones are of every kind
            return
        if support == "unit" and (outlier := self._outlier()):
            raise ValueError(
                f"{likelihood} needs values in [0, 1]; {outlier}. Use --likelihood {self.gaussian} or --scaling unit."
            )
        if support == "levels":
            self._require_levels(likelihood)
        if support == "counts":
            self._require_counts(likelihood)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON, which keeps every float exactly.

        Example:
            >>> dataset_from(torch.ones(4, 2)).schema.to_dict()["shape"]
            [2]
        """
        values = dataclasses.asdict(self)
        values["categories"] = [list(names) for names in self.categories]
        values["occupancy"] = None if self.occupancy is None else self.occupancy.to_dict()
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Schema":
        """The opposite of `to_dict`; what a file of format 1 has not yet is left at its default.

        Raises:
            ValueError: for missing or unknown keys.

        Example:
            >>> schema = dataset_from(torch.rand(4, 2)).schema
            >>> Schema.from_dict(schema.to_dict()) == schema
            True
        """
        if not isinstance(values, dict) or not isinstance(values.get("low", []), list):
            raise ValueError("a schema must hold values by name; this one holds others. Fetch the file again.")
        names = {field.name for field in dataclasses.fields(cls)}
        since = {
            "whole": [False] * len(values.get("low", [])),
            "conditions": [],
            "kinds": [],
            "categories": [],
            "gaps": [],
            "occupancy": None,
            "modes": [],
        }
        values = {**since, **values}
        if odd := names ^ set(values):
            raise ValueError(
                f"a schema must have the keys {', '.join(sorted(names))}; missing or unknown: {', '.join(sorted(odd))}."
                " Use a file that this version of variform wrote."
            )
        hints = get_type_hints(cls)
        told = [known_condition(item) for item in converted(tuple[dict, ...], values["conditions"], "conditions")]
        seen = values["occupancy"]
        counts = None if seen is None else Occupancy.from_dict(seen, told)
        rest = {name: value for name, value in values.items() if name not in ("conditions", "occupancy")}
        fields = {name: converted(hints[name], value, f"the schema's {name}") for name, value in rest.items()}
        schema = cls(**fields, conditions=tuple(told), occupancy=counts)
        schema._require_consistent()
        return schema

    def _require_consistent(self) -> None:
        """Refuse what `read` never makes, such as more columns than values: it would go wrong much later."""
        width = 1 if self.kind == "image" else len(self.columns)
        each = {len(getattr(self, name)) for name in ("low", "high", "whole", "shift", "scale")}
        optional = {len(getattr(self, name)) for name in ("kinds", "categories", "gaps", "modes")}
        is_shaped = len(self.shape) == 3 and not self.columns if self.kind == "image" else self.shape == (width,)
        if not (is_shaped and min(self.shape) >= 1 and each == {width} and optional <= {0, width}):
            raise ValueError(
                f"a schema must have one value a column, or one for images; {self.kind} of the shape "
                f"{reprlib.repr(self.shape)} with {len(self.columns)} columns has others. Fetch the file again."
            )
        scales = (*self.scale, *(item.scale for item in self.conditions))
        is_coded = [bool(names) for names in self.categories] == [kind == "category" for kind in self.kinds]
        if min(scales) <= 0 or (self.levels or 2) < 2 or not is_coded:
            raise ValueError(
                "a schema must have positive scales, levels from 2, and categories where a column is one; this one has "
                "others. Fetch the file again."
            )

    @cached_property
    def _affines(self) -> dict[tuple[torch.dtype, torch.device], tuple[Tensor, Tensor]]:
        return {}

    def _affine(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Shift and scale in the type and on the device of `x`, made once for each."""
        key = (x.dtype, x.device)
        if key not in self._affines:
            shift, scale = torch.tensor([self.shift, self.scale], dtype=torch.float64).to(x)
            self._affines[key] = (shift, scale)
        return self._affines[key]

    def scaled_ranges(self) -> list[tuple[float, float]]:
        """Least and greatest value, as the model sees them before any binarisation: one pair, or one a column."""
        columns = zip(self.low, self.high, self.shift, self.scale, strict=True)
        return [((low - shift) / scale, (high - shift) / scale) for low, high, shift, scale in columns]

    @property
    def gaussian(self) -> str:
        """The Gaussian likelihood for such data: columns have noise of their own, the pixels of an image the same."""
        return "gaussian-per-feature" if self.kind == "table" else "gaussian-shared"

    def _outlier(self) -> str | None:
        """The first column whose scaled values leave [0, 1], and its raw value, in words."""
        for column, (low, high) in enumerate(self.scaled_ranges()):
            if low < 0 or high > 1:
                value = self.low[column] if low < 0 else self.high[column]
                return f"{self._place(column)} holds {value:.7g}"
        return None

    def _require_levels(self, likelihood: str) -> None:
        if self.levels is None:
            raise ValueError(
                f"{likelihood} needs discrete levels, such as 8-bit pixels; {self.source} holds other numbers. "
                f"Use --likelihood {self.gaussian}."
            )
        if any(self.shift) or set(self.scale) != {self.levels - 1}:
            raise ValueError(
                f"{likelihood} needs levels scaled to [0, 1]; those of {self.source} are scaled otherwise. "
                "Use --scaling unit."
            )

    def _require_counts(self, likelihood: str) -> None:
        for column, (low, whole) in enumerate(zip(self.low, self.whole, strict=True)):
            if low < 0 or not whole:
                found = f"{low:.7g}" if low < 0 else "fractions"
                raise ValueError(
                    f"{likelihood} needs counts, whole numbers from 0; {self._place(column)} holds {found}. "
                    f"Use --likelihood {self.gaussian}, or leave the column out."
                )
        if any(self.shift) or set(self.scale) != {1}:
            raise ValueError(f"{likelihood} needs counts as they are; {self.source} is scaled. Use --scaling none.")

    def _place(self, column: int) -> str:
        return (
            f"a pixel of {self.source}"
            if self.kind == "image"
            else f"column {quoted(self.columns[column])} of {self.source}"
        )


class StoredRows:
    """Rows that are not in memory and come in the type of `Dataset.raw`: what `Dataset` needs of a tensor, and no more.

    Args:
        rows: Where they stand, or how they are rendered, (N, *shape) of any type.
        dtype: `uint8` or `float32`, the type in which they come.

    Example:
        >>> rows = StoredRows(Shards((np.zeros((3, 2)), np.ones((2, 2)))), np.dtype(np.float32))
        >>> len(rows), rows.index_select(0, torch.tensor([4])), [len(some) for some in rows.split(4)]
        (5, tensor([[1., 1.]]), [4, 1])
    """

    def __init__(self, rows: Shards | Rendered, dtype: np.dtype) -> None:
        self.shape = torch.Size(rows.shape)
        self.dtype = torch.uint8 if dtype == np.uint8 else torch.float32
        self.on_disk = isinstance(rows, Shards)
        self._rows, self._dtype = rows, dtype

    @property
    def ndim(self) -> int:
        """Number of axes, that of the rows included."""
        return len(self.shape)

    def __len__(self) -> int:
        """Number of rows, N."""
        return self.shape[0]

    def index_select(self, dim: int, index: Tensor) -> Tensor:
        """The rows at `index` (B,), in memory."""
        return _converted(self._rows.take(index.numpy()), self._dtype)

    def split(self, rows: int) -> Iterator[Tensor]:
        """All rows in order, `rows` of them at a time; the last time there may be fewer."""
        return (_converted(piece, self._dtype) for piece in self._rows.pieces(rows))

    def expect(self, index: Tensor) -> None:
        """Have the system read the rows at `index` into its cache, in the background."""
        self._rows.expect(index.numpy())


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Rows of raw values, kept as they came (pixels stay uint8, large files on disk) until a batch is asked for.

    Args:
        raw: Raw values, (M, *shape).
        schema: What they are.
        labels: Index of each row's label in `schema.classes`, (N,) int64.
        rows: Which rows of `raw` belong to the data set, (N,) int64; by default all, in order.
        contexts: What a conditional model is told beside each row, (N, context_dim); None for other models.
        index: Number of each row in the source, (N,) int64, counted from 0 in the order in which the source is read
            (of `sprites:N`, among all sprites); None where there is no source.

    Example:
        >>> dataset = read("digits").train
        >>> dataset.raw.dtype, dataset.batch(torch.tensor([3, 5])).shape, dataset.index[:3]
        (torch.uint8, torch.Size([2, 1, 8, 8]), tensor([2, 3, 7]))
    """

    raw: Tensor | StoredRows
    schema: Schema
    labels: Tensor | None = None
    rows: Tensor | None = None
    contexts: Tensor | None = None
    index: Tensor | None = None

    def __len__(self) -> int:
        """Number of rows, N."""
        return len(self.raw if self.rows is None else self.rows)

    def __repr__(self) -> str:
        beside = "".join(f", {name}" for name in ("labels", "contexts") if getattr(self, name) is not None)
        kept = str(self.raw.dtype).removeprefix("torch.")
        return f"Dataset({len(self):,} rows of {kept}{beside}; {self.schema.summary()})"

    def gather(self, index: Tensor) -> Tensor:
        """The raw rows at `index`, in memory.

        Args:
            index: Row numbers, (B,) int64.

        Example:
            >>> whole = dataset_from(torch.arange(5)[:, None])
            >>> Dataset(whole.raw, whole.schema, rows=torch.tensor([4, 2])).gather(torch.tensor([1, 0])).tolist()
            [[2.0], [4.0]]
        """
        return self.raw.index_select(0, index if self.rows is None else self.rows.index_select(0, index))

    def expect(self, index: Tensor) -> None:
        """Say which rows come next, so that those on disk are read in the background; nothing for rows in memory.

        Whole stretches of the file are read and nothing between them, while the first look at a single row has the
        system read what lies around it, up to megabytes: worth while for the blocks of `epoch_order`, a window ahead.

        Args:
            index: Row numbers, (B,) int64.

        Example:
            >>> dataset_from(torch.rand(5, 2)).expect(torch.tensor([3, 4]))
        """
        if isinstance(self.raw, StoredRows):
            self.raw.expect(index if self.rows is None else self.rows.index_select(0, index))

    def take(self, index: Tensor) -> "Dataset":
        """A data set of the rows at `index`, in memory, with their labels.

        Args:
            index: Row numbers, (B,) int64.

        Example:
            >>> digits = read("digits").train
            >>> len(digits.take(torch.tensor([3, 5]))), digits.take(torch.tensor([3])).labels == digits.labels[3]
            (2, tensor([True]))
        """
        labels = None if self.labels is None else self.labels[index]
        numbers = None if self.index is None else self.index[index]
        return Dataset(self.gather(index), self.schema, labels, contexts=self.context(index), index=numbers)

    def context(self, index: Tensor) -> Tensor | None:
        """What a conditional model is told beside the rows at `index`, (B, context_dim).

        Args:
            index: Row numbers, (B,) int64.

        Example:
            >>> data = read("digits", DataConfig(condition=("label",))).train
            >>> data.context(torch.tensor([0])).argmax() == data.labels[0]
            tensor(True)
        """
        return None if self.contexts is None else self.contexts.index_select(0, index)

    def typical_context(self) -> Tensor | None:
        """The most frequent categories and the mean numbers, (context_dim,); None for a model that is told nothing."""
        if self.contexts is None:
            return None
        parts = self.contexts.mean(0).split([condition.width for condition in self.schema.conditions])
        pairs = zip(self.schema.conditions, parts, strict=True)
        return torch.cat([torch.eye(len(part))[part.argmax()] if item.categories else part for item, part in pairs])

    def whole_contexts(self) -> Tensor:
        """The contexts of the rows whose every category is known, (M, context_dim); all where none are.

        Example:
            >>> data = read("digits", DataConfig(condition=("label",), labelled=50)).train
            >>> data.whole_contexts().shape
            torch.Size([50, 10])
        """
        assert self.contexts is not None
        parts = self.contexts.split([condition.width for condition in self.schema.conditions], 1)
        pairs = zip(self.schema.conditions, parts, strict=True)
        known = [(part != 0).any(1) for condition, part in pairs if condition.categories]
        whole = torch.stack(known).all(0) if known else torch.ones(len(self), dtype=torch.bool)
        return self.contexts[whole] if whole.any() else self.contexts

    def told(self, batch_size: int) -> Iterator[Tensor | None]:
        """The contexts of all rows in order, beside `batches`; None for each batch where there are none."""
        if self.contexts is None:
            return itertools.repeat(None, math.ceil(len(self) / batch_size))
        return iter(self.contexts.split(batch_size))

    def batch(self, index: Tensor) -> Tensor:
        """The prepared rows at `index`.

        Args:
            index: Row numbers, (B,) int64.

        Example:
            >>> dataset_from(torch.tensor([[1.0], [2.0], [3.0]])).batch(torch.tensor([2, 0])).tolist()
            [[3.0], [1.0]]
        """
        raw = self.gather(index)
        return self.schema._prepare(raw.to(torch.promote_types(raw.dtype, torch.float32)))

    def raw_batches(self, batch_size: int) -> Iterator[Tensor]:
        """All rows, raw, in order; the last batch may be smaller.

        Args:
            batch_size: Rows per batch.

        Example:
            >>> [len(raw) for raw in dataset_from(torch.rand(5, 2)).raw_batches(2)]
            [2, 2, 1]
        """
        if self.rows is None:
            return iter(self.raw.split(batch_size))
        return (self.raw.index_select(0, rows) for rows in self.rows.split(batch_size))

    def batches(self, batch_size: int, *, seed: int | None = None) -> Iterator[Tensor]:
        """All rows, prepared, in order; the last batch may be smaller.

        Args:
            batch_size: Rows per batch.
            seed: Seed of a dynamic binarisation, which is then the same at every call and for every batch size; by
                default it is drawn afresh.

        Example:
            >>> [len(x) for x in dataset_from(torch.rand(5, 2)).batches(2)]
            [2, 2, 1]
        """
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        return (self.schema.prepare(raw, generator) for raw in self.raw_batches(batch_size))

    def prepared(self, *, seed: int | None = None) -> Tensor:
        """All rows, prepared, in one tensor; `seed` as in `batches`.

        Example:
            >>> dataset_from(torch.rand(5, 2)).prepared().shape
            torch.Size([5, 2])
        """
        return next(self.batches(max(1, len(self)), seed=seed))

    def moments(self, *, seed: int | None = None) -> tuple[Tensor, Tensor]:
        """Mean and population variance of the prepared rows, (*shape) each, in float64; a few rows at a time.

        Of each value over the rows where it is not missing; 0 where it always is.

        Args:
            seed: As in `batches`.

        Reference:
            Chan, Golub and LeVeque (1983), equation 2.1: how the sums of squares of two groups are joined.

        Example:
            >>> mean, variance = dataset_from(torch.tensor([[1.0], [2.0], [6.0]])).moments()
            >>> mean.item(), round(variance.item(), 4)
            (3.0, 4.6667)
        """
        count, mean, squares = torch.zeros(3, dtype=torch.float64)
        for x in self.batches(_rows_at_once(self.schema.shape), seed=seed):
            more, centre, deviations = _sums(x.double(), gaps=bool(self.schema.gaps))
            step, share = centre - mean, more / (count + more).clamp_min(1)
            squares = squares + deviations + step.square() * (count * share)
            mean = mean + step * share
            count = count + more
        return mean, squares / count.clamp_min(1)


@dataclass(frozen=True, eq=False, repr=False)
class Splits:
    """Training, validation and test rows of one source.

    Args:
        train: Rows to fit.
        valid: Rows to choose by.
        test: Rows to report on.
        schema: What they are; the same object in all three.
        duplicates: `within`: rows that repeat an earlier row of the source (of sprites those that do so by definition,
            and not by chance of the pixels); `across`: rows of the source's own test and
            validation sets that are also among its training rows.
        fingerprint: SHA-256 of all that was read (shape, type, values, labels, own split), in hexadecimal.
        notes: Sentences that a reader of a report should know.

    Example:
        >>> splits = read("digits")
        >>> len(splits.train) + len(splits.valid) + len(splits.test), splits.duplicates
        (1797, {'within': 0, 'across': 0})
    """

    train: Dataset
    valid: Dataset
    test: Dataset
    schema: Schema
    duplicates: dict[str, int]
    fingerprint: str
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        sizes = ", ".join(f"{len(getattr(self, part)):,} {part}" for part in _PARTS)
        return f"Splits({sizes}; {self.schema.summary()}; fingerprint {self.fingerprint[:12]})"


# ---- the verbs


def read(source: str | Path, config: DataConfig = _DEFAULTS) -> Splits:
    """Read, check, split and scale what `source` names.

    Takes .npy, .npz, IDX and CSV files, each of them .gz, folders of images or of .npy files, folders in the MNIST
    layout and the built-in names `digits` and `sprites`, or `sprites:N` for N of the sprites, which win over files of
    those names (write ./digits for the file). Numbers that are not 8-bit are kept as float32. Large .npy files stay on
    disk, as `DataConfig.memory_map` says; more than 100,000 sprites are rendered when they are asked for.

    The split is the source's own, or by hash of each row. `unit` scaling takes the range of all rows, so that held-out
    rows also fall in [0, 1]: it looks at their least and greatest values and at nothing else of them. `standard`
    scaling looks at training rows only.

    Args:
        source: A file, a folder or a built-in name.
        config: How to read it.

    Raises:
        FileNotFoundError: if the source does not exist.
        ValueError: if it cannot be read, holds something a model cannot learn from, or an option does not apply to it.

    Example:
        >>> read("digits").schema.shape
        (1, 8, 8)
    """
    return _splits(read_source(source, config), config)


def splits_from(
    raw: Tensor | np.ndarray,
    labels: Tensor | np.ndarray | None = None,
    *,
    config: DataConfig = _DEFAULTS,
    name: str = "array",
) -> Splits:
    """The same checks, split and scaling as `read`, for an array in memory.

    Args:
        raw: (N, D) for a table; (N, H, W), (N, C, H, W) or (N, H, W, C) with C = 1 or 3 for images (where both
            readings are possible, channels come first).
        labels: One label per row: numbers or text.
        config: How to shape, scale and split.
        name: What messages call the array.

    Raises:
        ValueError: as `read`.

    Example:
        >>> splits = splits_from(torch.randn(1000, 3) * 5)
        >>> splits.train.prepared().std(0, correction=0).numpy().round(3)
        array([1., 1., 1.], dtype=float32)
    """
    check_options(config, "array", name)
    return _splits(Source(name, _array(raw), None if labels is None else _array(labels)), config)


def dataset_from(x: Tensor, *, gaps: bool = False) -> Dataset:
    """A data set of values that are ready for the model: shift 0, scale 1, no split.

    Args:
        x: (N, D) for a table, or (N, C, H, W) with C = 1 or 3 for images; integers become float32.
        gaps: NaN is a missing value.

    Raises:
        ValueError: for another shape, for no rows, for infinite values and those that are NaN without `gaps`, and with
            it for a column of which every value is missing.

    Example:
        >>> dataset_from(torch.rand(10, 1, 8, 8)).schema.kind
        'image'
    """
    raw = x.detach().to(torch.promote_types(x.dtype, torch.float32))
    if not (raw.ndim == 2 or (raw.ndim == 4 and raw.shape[1] in (1, 3))) or raw.numel() == 0:
        raise ValueError(
            f"x must be (N, D), or (N, C, H, W) with C = 1 or 3, and not empty; its shape is {tuple(x.shape)}."
            " Reshape it."
        )
    return Dataset(raw, _unscaled_schema(raw, Source("array", _array(raw)), gaps=gaps))


def read_rows(path: str | Path, schema: Schema, *, key: str | None = None) -> Dataset:
    """Read all rows of another source in the form of data that are known already.

    Nothing is split and no scaling is learned. The schema of the result is `schema` with the name and the range of the
    new rows. Images are resized, flattened images take their shape back, and labels are kept if all are known.

    Args:
        path: Any source that `read` takes, or one image.
        schema: Of the data the model was trained on.
        key: Name of the array to take from an .npz file.

    Raises:
        FileNotFoundError: if the source does not exist.
        ValueError: as `read`, and for rows of another shape, other columns or other discrete levels.

    Example:
        >>> schema = read("digits").schema
        >>> len(read_rows("digits", schema))
        1797
    """
    return _rows_like(read_source(path, _config_like(path, schema, key)), schema)


def rows_like(
    values: np.ndarray,
    schema: Schema,
    given: Mapping[str, Any] | None = None,
    *,
    unknown: bool = False,
    name: str = "x",
) -> Dataset:
    """The same checks as `read_rows`, for rows in memory.

    Args:
        values: Raw values, (N, *shape) or (N, D).
        schema: Of the data the model was trained on.
        given: What a conditional model is told beside each row, as `Schema.contexts` takes it.
        unknown: As of `Schema.contexts`.
        name: What messages call the rows.

    Raises:
        ValueError: as `read_rows`.

    Example:
        >>> schema = read("digits").schema
        >>> rows_like(np.full((2, 64), 16), schema).prepared().shape
        torch.Size([2, 1, 8, 8])
    """
    if values.shape == schema.shape:
        raise ValueError(
            f"{name} must hold one row per example, (N, {', '.join(map(str, schema.shape))}); got one example of the "
            f"shape {values.shape}. Give {name}[None]."
        )
    if values.dtype.kind not in "buif" and schema.kinds:
        raise ValueError(
            f"{name} must hold numbers; its type is {values.dtype}. Give categories by their numbers in "
            "schema.categories, and NaN where a value is missing."
        )
    told = schema.contexts(given or {}, len(values) if values.ndim else 0, unknown=unknown)
    data = _rows_like(Source(name, values), dataclasses.replace(schema, conditions=()))
    schema = dataclasses.replace(data.schema, conditions=schema.conditions)
    return dataclasses.replace(data, schema=schema, contexts=told if schema.conditions else None)


def _rows_like(source: Source, schema: Schema) -> Dataset:
    source = _in_order(source, schema)
    if schema.kinds:
        source = _known_categories(source, schema)
    flat_images = schema.kind == "image" and source.values.shape[1:] == (math.prod(schema.shape),)
    raw = _kept(source, schema.shape if flat_images else None)
    low, high = _require_alike(raw, source, schema)
    whole = _whole(raw, pooled=schema.kind == "image")
    rows_schema = dataclasses.replace(schema, low=low, high=high, whole=whole, source=source.name)
    _require_binarisable(rows_schema)
    contexts = _contexts(source, schema.conditions)
    labels = _known_labels(source, schema.classes)
    return Dataset(raw, rows_schema, labels, contexts=contexts, index=_index(source))


def _in_order(source: Source, schema: Schema) -> Source:
    """The source with the columns of a table in the order of `schema`, by their names."""
    if schema.kind != "table" or not source.columns or source.columns == schema.columns:
        return source
    _require_columns(source.columns, schema, source.name)
    order = [source.columns.index(name) for name in schema.columns]
    categories = tuple(source.categories[place] for place in order) if source.categories else ()
    values = np.asarray(source.values)[:, order]
    return dataclasses.replace(source, values=values, columns=schema.columns, categories=categories)


def _require_columns(columns: Sequence[str], schema: Schema, name: str) -> None:
    """Refuse columns that are not those of `schema`, in any order."""
    lacks, surplus = (
        ", ".join(quoted(column) for column in some if column not in others)
        for some, others in ((schema.columns, columns), (columns, schema.columns))
    )
    if lacks or surplus:
        found = " and ".join(
            part for part in (lacks and f"lacks {lacks}", surplus and f"has {surplus} too much") if part
        )
        raise ValueError(
            f"columns must be those of {schema.source}, in any order; {name} {found}. "
            f"{'Add what it lacks' if lacks else 'Delete what is too much'}, or rename its columns."
        )


def read_points(path: str | Path, columns: Sequence[str] = ()) -> np.ndarray:
    """Read a plain matrix of numbers, for example latent points: nothing is split or scaled.

    Args:
        path: A .csv file (a line of column names is optional), a .npy file, or an .npz file with one array.
        columns: Of a .csv file that names all of these, take these and leave the others.

    Shape:
        (N, D), float64.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: if it cannot be read, is no matrix of numbers, is empty, or holds NaN or infinite values.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "points.csv"
        >>> _ = path.write_text("z1,z2\\n0,1.5\\n-1,2\\n")
        >>> read_points(path)
        array([[ 0. ,  1.5],
               [-1. ,  2. ]])
    """
    path = Path(path)
    named = bool(columns) and source_format(path) == "csv" and set(columns) <= set(csv_columns(path))
    source = read_source(path, DataConfig(cells="mixed")) if named else read_source(path)
    if named:
        assert source.columns is not None
        places = [source.columns.index(name) for name in columns]
        if text := next((source.columns[place] for place in places if source.categories[place]), None):
            raise ValueError(f"column {quoted(text)} of {source.name} must hold numbers; it holds text. Correct it.")
        source = dataclasses.replace(source, values=np.asarray(source.values)[:, places], columns=tuple(columns))
    _require_numbers(source)
    if source.values.ndim != 2:
        raise ValueError(
            f"{source.name} must be a matrix (N, D), one point a row; its shape is {source.values.shape}. Reshape it."
        )
    points = np.asarray(source.values).astype(np.float64)
    _require_finite(torch.from_numpy(points), source, _columns(source))
    return points


def epoch_order(rows: int, seed: int, epoch: int, *, block: int | None = None, window: int | None = None) -> Tensor:
    r"""The order of the rows in an epoch: a pure function, so that a position in it is one number.

    Without `block` every order is equally likely. With it the rows are cut into blocks of neighbours; the blocks come
    in random order, and rows are shuffled within each window of several blocks. A disk then reads whole blocks, and
    every row still comes once an epoch. Batches of b rows are less diverse: where two rows of one block correlate
    with $\rho$, and a window holds m blocks of B rows, the variance of a batch's mean is

    $\frac{\sigma^2}{b}\left[1 + (b - 1)\,\frac{B - 1}{mB - 1}\,\rho\right]$.

    Args:
        rows: Number of rows, N.
        seed: Of the run.
        epoch: Counted from 0.
        block: Rows per block, B; None for a shuffle of all rows.
        window: Rows per window, mB, a multiple of `block`; 128 blocks by default.

    Shape:
        (N,) int64.

    Raises:
        ValueError: for blocks of less than one row, and for a window that is no multiple of them.

    Example:
        >>> epoch_order(6, 0, 0, block=2, window=2).reshape(3, 2).sort(1).values.tolist()
        [[0, 1], [4, 5], [2, 3]]
    """
    digest = hashlib.blake2b(f"{seed} {epoch}".encode(), digest_size=8).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)
    if block is None:
        return torch.randperm(rows, generator=generator)
    if block < 1:
        raise ValueError(f"a block must hold at least 1 row; got {block}. Use for example 1024.")
    window = BLOCKS_PER_WINDOW * block if window is None else window
    if window < block or window % block:
        raise ValueError(
            f"a window must hold whole blocks; got {window} rows for blocks of {block}."
            f" Use for example {BLOCKS_PER_WINDOW * block}."
        )
    blocks = torch.randperm(math.ceil(rows / block), generator=generator)
    order = []
    for some in blocks.split(window // block):
        inside = (some[:, None] * block + torch.arange(block)).flatten()
        inside = inside[inside < rows]  # the last block of all may be shorter
        order.append(inside[torch.randperm(len(inside), generator=generator)])
    return torch.cat(order) if order else blocks


def _array(values: Tensor | np.ndarray) -> np.ndarray:
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)


def _splits(source: Source, config: DataConfig) -> Splits:
    source, kinds, categories = _mixed(source, config) if config.cells == "mixed" else (source, (), ())
    if not kinds and (config.categories or config.counts or config.reals):
        raise ValueError("--categories, --counts and --reals are for --likelihood mixed; got another. Leave them out.")
    raw = _kept(source, config.shape)
    classes, labels = _label_index(source.labels)
    unscaled = _unscaled_schema(raw, source, gaps=config.cells != "numbers")
    unscaled = dataclasses.replace(unscaled, classes=classes, label=config.label, kinds=kinds, categories=categories)
    if kinds:
        unscaled = dataclasses.replace(unscaled, levels=None)
    own = _own_parts(source.own, len(raw))
    digests = _digests(raw) if source.keys is None else source.keys.astype("<i8").view(np.uint8)
    groups = digests if source.keys is None else digests[:, :8]
    rows = _split_rows(own, groups, config.split_seed, source.name)
    index = _index(source)
    schema = _scaled(unscaled, Dataset(raw, unscaled, rows=rows["train"]), config)
    conditions = tuple(_condition(name, source, rows["train"].numpy()) for name in config.condition)
    schema, contexts = dataclasses.replace(schema, conditions=conditions), _contexts(source, conditions)
    beside = (contexts, conditions, categories)
    if config.labelled is not None:
        contexts, labels = _hidden(contexts, labels, schema, rows["train"], config)
    if contexts is not None:
        schema = dataclasses.replace(schema, occupancy=occupancy(conditions, contexts[rows["train"]]))
    schema = dataclasses.replace(schema, modes=_modes(Dataset(raw, schema, rows=rows["train"])))
    duplicates = _duplicates(own, digests)
    parts = {
        part: Dataset(
            raw,
            schema,
            None if labels is None else labels[rows[part]],
            rows[part],
            None if contexts is None else contexts[rows[part]],
            index[rows[part]],
        )
        for part in _PARTS
    }
    if isinstance(raw, Tensor):  # a batch is then found in one step instead of two
        parts = {part: dataset.take(torch.arange(len(dataset))) for part, dataset in parts.items()}
    return Splits(
        **parts,
        schema=schema,
        duplicates=duplicates,
        fingerprint=_fingerprint(raw, own, digests, classes, labels, beside, is_sampled=source.keys is not None),
        notes=(*source.notes, *_notes(source, raw, own, duplicates, rows), *_notes_of_cells(schema, raw)),
    )


# ---- what holds for every format: shape, type, finiteness, labels


def _index(source: Source) -> Tensor:
    """Number of each row in the source, (N,) int64."""
    return torch.arange(len(source.values)) if source.index is None else torch.from_numpy(source.index)


def _kept(source: Source, shape: tuple[int, ...] | None) -> Tensor | StoredRows:
    """Rows as they are kept: (N, D) or (N, C, H, W), uint8 or float32, in memory or on disk as they came."""
    _require_numbers(source)
    values = Shards((source.values,)) if isinstance(source.values, np.ndarray) else source.values
    values = values.each(lambda part: _channels_first(_reshaped(part, shape, source.name), source.name))
    whole = values.dtype.kind in "bui"
    is_bytes = values.dtype.itemsize == 1 and values.dtype.kind in "bu"
    is_pixels = whole and (is_bytes or (values.ndim == 4 and _fits_bytes(values)))
    dtype = np.dtype(np.uint8 if is_pixels else np.float32)
    if isinstance(values, Shards) and isinstance(source.values, np.ndarray):
        return _converted(values.parts[0], dtype)
    return StoredRows(values, dtype)


def _fits_bytes(values: Shards | Rendered) -> bool:
    return all(piece.min() >= 0 and piece.max() <= 255 for piece in values.pieces(_rows_at_once(values.shape[1:])))


def _converted(values: np.ndarray, dtype: np.dtype) -> Tensor:
    with np.errstate(over="ignore"):  # an overflow becomes infinite, and is reported as such with its place
        return torch.from_numpy(np.require(values, dtype, ["C", "W"]))


def _rows_at_once(shape: tuple[int, ...]) -> int:
    return max(1, _VALUES_AT_ONCE // max(1, math.prod(shape)))


def _chunks(raw: Tensor | StoredRows) -> Iterator[Tensor]:
    return iter(raw.split(_rows_at_once(raw.shape[1:])))


def _require_numbers(source: Source) -> None:
    values, name = source.values, source.name
    if values.dtype.kind not in "buif":
        raise ValueError(f"{name} must hold numbers; its type is {values.dtype}. Convert it to numbers.")
    if values.size == 0:
        raise ValueError(f"{name} must hold at least one value; its shape is {values.shape}. Give a file with rows.")


def _reshaped(values: np.ndarray, shape: tuple[int, ...] | None, name: str) -> np.ndarray:
    if shape is None:
        return values
    if math.prod(shape) != math.prod(values.shape[1:]):
        raise ValueError(
            f"--shape must hold as many values as a row of {name}; {shape} against {values.shape[1:]}."
            " Change --shape, for example 28 28 for rows of 784."
        )
    return values.reshape(len(values), *shape)


def _channels_first(values: np.ndarray, name: str) -> np.ndarray:
    if values.ndim == 2 or (values.ndim == 4 and values.shape[1] in (1, 3)):
        return values
    if values.ndim == 3:
        return values[:, None]  # (N, H, W) -> (N, 1, H, W)
    if values.ndim == 4 and values.shape[3] in (1, 3):
        return np.moveaxis(values, 3, 1)  # (N, H, W, C) -> (N, C, H, W)
    raise ValueError(
        f"{name} must be (N, D), (N, H, W), (N, C, H, W) or (N, H, W, C) with C = 1 or 3; its shape is {values.shape}."
        " Reshape it, or flatten each row with --shape."
    )


def _unscaled_schema(raw: Tensor | StoredRows, source: Source, *, gaps: bool = False) -> Schema:
    """What `raw`, the rows of `source`, holds, with shift 0 and scale 1; with `gaps` values may be missing."""
    is_image = raw.ndim == 4
    columns = () if is_image else _columns(source)
    _require_finite(raw, source, columns, gaps=gaps, hint="" if gaps else ", or use --cells gaps where NaN is a gap")
    low, high = _range(raw, source)
    _require_observed(torch.tensor(low, dtype=torch.float64), columns, source.name, "")
    levels = source.levels
    if levels is None and all(bool(((x == 0) | (x == 1) | x.isnan()).all()) for x in _chunks(raw)):
        levels = 2
    elif levels is None and not raw.dtype.is_floating_point:
        levels = 256
    return Schema(
        kind="image" if is_image else "table",
        shape=tuple(raw.shape[1:]),
        columns=columns,
        classes=(),
        low=low,
        high=high,
        whole=_whole(raw, pooled=is_image),
        shift=(0.0,) * len(low),
        scale=(1.0,) * len(low),
        levels=levels,
        binarise="none",
        source=source.name,
        gaps=_gaps(raw, pooled=is_image) if gaps else (),
    )


def _modes(train: Dataset) -> tuple[tuple[float, float], ...]:
    """The most frequent value of each real column of a table and the share of the rows that hold it, from many rows."""
    schema = train.schema
    if schema.kind == "image":
        return ()
    most = max(1, _VALUES_AT_ONCE // len(schema.columns))
    index = torch.linspace(0, len(train) - 1, min(most, len(train)), dtype=torch.float64).round().long()
    values = train.gather(index).double().numpy()
    kinds = schema.kinds or ("real",) * len(schema.columns)
    return tuple(_mode(column) if kind == "real" else (0.0, 0.0) for column, kind in zip(values.T, kinds, strict=True))


def _mode(column: np.ndarray) -> tuple[float, float]:
    known, counts = np.unique(column[~np.isnan(column)], return_counts=True)
    if not counts.size or counts.max() < _LEAST_PILE * counts.sum():
        return 0.0, 0.0
    return float(known[counts.argmax()]), float(counts.max() / counts.sum())


def _columns(source: Source) -> tuple[str, ...]:
    width = math.prod(source.values.shape[1:])
    return source.columns or tuple(f"column {number}" for number in range(1, width + 1))


def _gaps(raw: Tensor | StoredRows, *, pooled: bool) -> tuple[bool, ...]:
    """Whether a value is missing in any row: of each column, or `pooled` over all of them."""
    missing = torch.stack([chunk.isnan().any(0) for chunk in _chunks(raw)]).any(0)
    return (bool(missing.any()),) if pooled else tuple(missing.tolist())


def _require_observed(low: Tensor, columns: tuple[str, ...], name: str, rows: str) -> None:
    """Refuse a column of which every value is missing, so that its least value `low` is infinite."""
    if empty := low.isinf().nonzero().flatten().tolist():
        place = f"column {quoted(columns[empty[0]])}" if columns else "every value"
        raise ValueError(
            f"every column must hold a value{rows}; {place} of {name} is missing in all rows. Delete the column"
            f"{' or use another --split-seed' if rows else ''}."
        )


def _require_finite(
    raw: Tensor | StoredRows, source: Source, columns: tuple[str, ...], *, gaps: bool = False, hint: str = ""
) -> None:
    if not raw.dtype.is_floating_point:
        return
    count, places, row = 0, [], 0
    for chunk in _chunks(raw):
        wrong = chunk.isinf() if gaps else ~chunk.isfinite()
        if wrong.any():
            bad = wrong.flatten(1).nonzero()  # (values, 2)
            count += len(bad)
            places += [
                f"{source.place(row + line)}, "
                + (f"column {quoted(columns[item])}" if columns else f"pixel {item + 1}")
                for line, item in bad[: 3 - len(places)].tolist()
            ]
        row += len(chunk)
    if count:
        raise ValueError(
            f"{source.name} must hold finite numbers; {count} of its values are {'' if gaps else 'NaN, or '}infinite as"
            f" {str(raw.dtype).removeprefix('torch.')} ({'; '.join(places)}{'; ...' if count > 3 else ''})."
            f" Delete these rows or fill the values in{hint}."
        )


def _range(raw: Tensor | StoredRows, source: Source) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Least and greatest value: of all pixels together, or of each column."""
    if source.levels and raw.ndim == 4:
        return (0.0,), (source.levels - 1.0,)
    low, high = _extent(_chunks(raw), pooled=raw.ndim == 4)
    return tuple(low.tolist()), tuple(high.tolist())


def _extent(chunks: Iterable[Tensor], *, pooled: bool) -> tuple[Tensor, Tensor]:
    """Least and greatest value, float64: of each column, or `pooled` over all of them.

    What is missing does not count; where everything is, they are infinite.
    """
    bounds = [_bounds(chunk, None if pooled else 0) for chunk in chunks]
    low = torch.stack([low.reshape(-1) for low, _ in bounds]).amin(0)
    high = torch.stack([high.reshape(-1) for _, high in bounds]).amax(0)
    return low.double(), high.double()


def _bounds(chunk: Tensor, dim: int | None) -> tuple[Tensor, Tensor]:
    low, high = torch.aminmax(chunk, dim=dim)
    if not low.isnan().any():
        return low, high
    missing = chunk.isnan()
    low = torch.aminmax(chunk.masked_fill(missing, math.inf), dim=dim).min
    return low, torch.aminmax(chunk.masked_fill(missing, -math.inf), dim=dim).max


def _whole(raw: Tensor | StoredRows, *, pooled: bool) -> tuple[bool, ...]:
    """Whether each column, or `pooled` all of them, holds whole numbers only."""
    whole = torch.ones(1 if pooled else raw.shape[1], dtype=torch.bool)
    for chunk in _chunks(raw):
        if not raw.dtype.is_floating_point or not whole.any():
            break
        whole &= ((chunk == chunk.round()) | chunk.isnan()).reshape(-1, len(whole)).all(0)
    return tuple(whole.tolist())


def _label_index(labels: np.ndarray | None) -> tuple[tuple[str, ...], Tensor | None]:
    """Class names in order (numbers as numbers, text as text), and each row's index among them, -1 for no label."""
    if labels is None:
        return (), None
    if labels.dtype.kind not in "buif":
        labels = labels.astype(str)
    labels = labels.reshape(-1)
    is_there = labels != "" if labels.dtype.kind == "U" else ~np.isnan(labels.astype(np.float64))
    values, index = np.unique(labels[is_there], return_inverse=True)
    found = np.full(len(labels), -1)
    found[is_there] = index
    return tuple(map(category_name, values)), torch.from_numpy(found.astype(np.int64))


def _known_labels(source: Source, classes: tuple[str, ...]) -> Tensor | None:
    """The source's labels as indices into `classes`; None if there are none, or one that is not a known class."""
    names, index = _label_index(source.labels)
    if index is None or not set(names) <= set(classes):
        return None
    return torch.tensor([*(classes.index(name) for name in names), -1])[index]


def _condition(name: str, source: Source, train: np.ndarray) -> Condition:
    """What the values of a label or a column are: categories if they are text or labels, else numbers."""
    values = _beside(source, name)
    if name not in source.beside or values.dtype.kind not in "buif":
        return Condition(name, _label_index(values)[0])
    known = values[train].astype(np.float64)
    if not np.isfinite(known).all() or known.std() == 0:
        raise ValueError(
            f"a column that is given with --condition must vary and be finite; {quoted(name)} of {source.name} does"
            " not. Leave it out or correct it."
        )
    return Condition(name, (), float(known.mean()), float(known.std()))


def _hidden(
    contexts: Tensor | None, labels: Tensor | None, schema: Schema, train: Tensor, config: DataConfig
) -> tuple[Tensor, Tensor]:
    """Contexts and labels without those of all but `config.labelled` training rows, as many of each class."""
    count, classes = config.labelled or 0, len(schema.classes)
    if contexts is None or labels is None or schema.conditions[0].name not in ("label", config.label):
        raise ValueError("--labelled needs a model that is told the label first. Use --condition label.")
    if count < classes or count % classes:
        raise ValueError(
            f"--labelled must be a multiple of the {classes} classes of {schema.source}; got {count}. "
            f"Use for example {10 * classes}."
        )
    shuffled = train[torch.randperm(len(train), generator=torch.Generator().manual_seed(config.split_seed))]
    groups = [shuffled[labels[shuffled] == number] for number in range(classes)]
    if min(map(len, groups)) < count // classes:
        raise ValueError(
            f"--labelled {count} needs {count // classes} training rows of each class; the smallest class has "
            f"{min(map(len, groups))}. Use fewer."
        )
    hidden = torch.cat([group[count // classes :] for group in groups])
    contexts, labels = contexts.clone(), labels.clone()
    contexts[hidden, : schema.conditions[0].width], labels[hidden] = 0, -1
    return contexts, labels


def _beside(source: Source, name: str) -> np.ndarray:
    """The values of a condition, one a row."""
    if name in source.beside:
        return source.beside[name]
    if source.labels is None:
        raise ValueError(
            f"a model that is told the {name} of each row needs it; {source.name} has none. Give labelled data, or "
            "name the label column of a CSV file with --label."
        )
    return source.labels


def _contexts(source: Source, conditions: tuple[Condition, ...]) -> Tensor | None:
    """What a conditional model is told beside each row, (N, context_dim)."""
    if not conditions:
        return None
    parts = [condition.encode(_beside(source, condition.name)) for condition in conditions]
    for condition, part in zip(conditions, parts, strict=True):
        if not (finite := part.isfinite().all(1)).all():
            raise ValueError(
                f"{quoted(condition.name)} must be finite in every row; in"
                f" {source.place(int((~finite).nonzero()[0]))} of {source.name} it is not. Correct it."
            )
    return torch.cat(parts, 1)


def _config_like(path: str | Path, schema: Schema, key: str | None) -> DataConfig:
    """How to read `path` so that it comes out in the form of `schema`."""
    kind = source_format(path)
    if kind == "csv" and schema.kind == "table" and key is None:
        beside = {schema.label, *(condition.name for condition in schema.conditions)}
        _require_columns([name for name in csv_columns(path) if name not in beside], schema, str(Path(path).name))
    if kind in ("image", "image folder") and schema.kind == "image":
        channels, height, width = schema.shape
        return DataConfig(key=key, image_size=(height, width), channels="grey" if channels == 1 else "rgb")
    has_labels = kind == "csv" and schema.label in csv_columns(path)
    label = schema.label if has_labels else None
    condition = tuple(condition.name for condition in schema.conditions) if kind == "csv" else ()
    config = DataConfig(key=key, label=label, condition=condition, cells="gaps" if schema.gaps else "numbers")
    if not schema.kinds:
        return config
    there = csv_columns(path) if kind == "csv" else schema.columns
    named = [name for name, names in zip(schema.columns, schema.categories, strict=True) if names]
    return dataclasses.replace(config, cells="mixed", categories=tuple(name for name in named if name in there))


def _require_alike(
    raw: Tensor | StoredRows, source: Source, schema: Schema
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Refuse rows that are not of the form of `schema`; gives their least and greatest values."""
    shape = tuple(raw.shape[1:])
    if shape != schema.shape:
        raise ValueError(
            f"rows must have the shape {schema.shape} of {schema.source}; {source.name} has {shape}."
            " Give data of the same shape."
        )
    _require_finite(raw, source, schema.columns, gaps=bool(schema.gaps))
    low, high = _range(raw, source)
    is_whole = not raw.dtype.is_floating_point or all(((x == x.round()) | x.isnan()).all() for x in _chunks(raw))
    if schema.levels and not (is_whole and min(low) >= 0 and max(high) < schema.levels):
        raise ValueError(
            f"values must be whole numbers from 0 to {schema.levels - 1} as in {schema.source}; {source.name} holds"
            f" values from {min(low):.7g} to {max(high):.7g}. Give data in the same units."
        )
    return low, high


# ---- mixed tables


def _mixed(
    source: Source, config: DataConfig
) -> tuple[Source, tuple[ColumnKind, ...], tuple[tuple[str, ...], ...]]:  # fmt: skip
    """The source with categories as numbers from 0, the kind of each column, and the names of its categories."""
    _require_numbers(source)
    if source.values.ndim != 2:
        raise ValueError(
            f"--likelihood mixed is for tables; {source.name} holds images. Use another, such as gaussian-shared."
        )
    columns = _columns(source)
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
            f"counts must be whole numbers from 0; column {quoted(column)} of {name} holds {wrong:.7g}."
            " Take it out of --counts."
        )
    if declared == "real":
        return "real"
    if declared is None and countable and seen.max(initial=0) <= 1:
        return "binary"
    if declared == "count" or (countable and seen.var() >= seen.mean()):
        return "count"
    return "real"


def _known_categories(source: Source, schema: Schema) -> Source:
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


def _notes_of_cells(schema: Schema, raw: Tensor | StoredRows) -> Iterator[str]:
    if schema.kinds:
        numbers = ("real", "count", "binary")
        kinds = {
            kind: [name for name, one in zip(schema.columns, schema.kinds, strict=True) if one == kind]
            for kind in numbers
        }
        words = [f"{kind}: {', '.join(names)}" for kind, names in kinds.items() if names]
        words += [
            f"category: {name} ({len(names)})"
            for name, names in zip(schema.columns, schema.categories, strict=True)
            if names
        ]
        yield f"columns, {'; '.join(words)}"
    if any(schema.gaps):
        missing = sum(int(chunk.isnan().sum()) for chunk in _chunks(raw))
        yield f"{missing:,} of {math.prod(raw.shape):,} values are missing: they add nothing to any density"


# ---- the split


def _own_parts(own: np.ndarray | None, rows: int) -> np.ndarray:
    """The source's own split as the place in `_PARTS` of each row, (N,) uint8."""
    parts = np.zeros(rows, np.uint8)
    for number, part in enumerate(_PARTS if own is not None else ()):
        parts[own == part] = number
    return parts


def _digests(raw: Tensor | StoredRows) -> np.ndarray:
    """One hash a row, (N, 16) uint8: it decides the split, finds duplicates and makes the fingerprint."""
    pieces = (x if not x.dtype.is_floating_point else torch.where(x.isnan(), math.nan, x) for x in _chunks(raw))
    return np.concatenate([_hashes(x.flatten(1).numpy().view(np.uint8), 16) for x in pieces])  # one NaN for all kinds


def _hashes(rows: np.ndarray, size: int, key: bytes = b"") -> np.ndarray:
    """`size` bytes for each row of bytes."""
    joined = b"".join([hashlib.blake2b(row, digest_size=size, key=key).digest() for row in rows])
    return np.frombuffer(joined, np.uint8).reshape(-1, size)


def _split_rows(own: np.ndarray, digests: np.ndarray, seed: int, name: str) -> dict[str, Tensor]:
    """Which rows are in which split: the source's own, and a tenth of train, by hash, for each that it lacks.

    A row's split depends on its values and the seed alone, so that equal rows stay together and rows that are added or
    moved change nothing for the others.
    """
    key = str(seed).encode()
    parts = own.copy()
    missing = [_PARTS.index(part) for part in _missing(own)]
    for start in range(0, len(own) if missing else 0, _VALUES_AT_ONCE):
        some = parts[start : start + _VALUES_AT_ONCE]
        tenth = _hashes(digests[start : start + _VALUES_AT_ONCE], 8, key).view("<u8")[:, 0] % 10
        is_train = some == 0
        for number, part in enumerate(missing):
            some[is_train & (tenth == number)] = part
    rows = {part: torch.from_numpy(np.flatnonzero(parts == number)) for number, part in enumerate(_PARTS)}
    for part, index in rows.items():
        if len(index) == 0:
            raise ValueError(
                f"every split must hold a row; the {len(own)} rows of {name} leave none for {part}; equal rows"
                " stay together. Give more rows or another --split-seed."
            )
    return rows


def _missing(own: np.ndarray) -> list[str]:
    return [part for part in ("valid", "test") if not (own == _PARTS.index(part)).any()]


def _duplicates(own: np.ndarray, digests: np.ndarray) -> dict[str, int]:
    halves = digests.view("<u8")  # (N, 2)
    order = np.lexsort((halves[:, 1], halves[:, 0]))  # equal rows become neighbours
    is_new = np.arange(len(order)) == 0
    for half in halves.T:
        ordered = half[order]
        is_new[1:] |= ordered[1:] != ordered[:-1]
    group = np.cumsum(is_new, dtype=np.int64) - 1
    is_train = own[order] == 0
    in_train = np.zeros(group[-1] + 1, bool)
    in_train[group[is_train]] = True
    return {"within": int(len(order) - len(in_train)), "across": int(in_train[group[~is_train]].sum())}


def _fingerprint(
    raw: Tensor | StoredRows,
    own: np.ndarray,
    digests: np.ndarray,
    classes: tuple[str, ...],
    labels: Tensor | None,
    beside: tuple[Tensor | None, tuple[Condition, ...], tuple[tuple[str, ...], ...]],
    *,
    is_sampled: bool,
) -> str:
    """A hash of everything; where `digests` are not of the values, `is_sampled`, of the values of a thousand rows."""
    state = hashlib.sha256(repr((tuple(raw.shape), str(raw.dtype), classes)).encode())
    state.update(digests.data)
    if is_sampled:
        state.update(raw.index_select(0, torch.arange(1000) * len(raw) // 1000).numpy().data)
    names = np.array(_PARTS, "<U5")
    for start in range(0, len(own), _VALUES_AT_ONCE):
        state.update(names[own[start : start + _VALUES_AT_ONCE]].tobytes())
    state.update(b"" if labels is None else labels.numpy().tobytes())
    contexts, *names_of = beside
    if contexts is not None:
        state.update(contexts.numpy().tobytes())
    if any(names_of):
        state.update(repr(names_of).encode())
    return state.hexdigest()


def _notes(
    source: Source, raw: Tensor | StoredRows, own: np.ndarray, duplicates: dict[str, int], rows: dict[str, Tensor]
) -> Iterator[str]:  # fmt: skip
    unit = "row" if source.keys is None else "group of rows"
    hashed = max(1, int((own == 0).sum()))  # of these a tenth, but for chance and for duplicates, which stay together
    valid, test = (f"{len(rows[part]) / hashed:.1%}" for part in ("valid", "test"))
    notes: dict[tuple[str, ...], str] = {
        (): "split: the source's own",
        ("valid",): f"split: the source's own test set, validation taken from train by hash, {valid} of it",
        ("test",): f"split: the source's own validation set, test taken from train by hash, {test} of it",
        ("valid", "test"): f"split: by hash of each {unit}, {valid} for validation and {test} for test",
    }
    yield notes[tuple(_missing(own))]
    if isinstance(raw, StoredRows) and raw.on_disk:
        yield "the rows stay on disk: the files must not change while a run reads them"
    if duplicates["within"]:
        least = "" if source.keys is None else "at least "
        yield f"{least}{duplicates['within']} exact duplicates of earlier rows"
    if duplicates["across"]:
        yield f"{duplicates['across']} rows of the source's own test or validation set are also among its training rows"
    if raw.dtype.is_floating_point and _is_rounded(source.values):
        yield f"{source.values.dtype} values are rounded to float32, about 7 digits"


def _is_rounded(values: np.ndarray | Shards | Rendered) -> bool:
    """Whether float32 changes any of the values."""
    if np.can_cast(values.dtype, np.float32):
        return False
    rows = Shards((values,)) if isinstance(values, np.ndarray) else values
    return any(
        ((piece != piece.astype(np.float32)) & (piece == piece)).any()  # NaN is not equal to itself
        for piece in rows.pieces(_rows_at_once(rows.shape[1:]))
    )


# ---- the scaling


def _scaled(schema: Schema, train: Dataset, config: DataConfig) -> Schema:
    """`schema` with the scaling and binarisation of `config`: a pair for each real column, one pair for all pixels."""
    if schema.kinds and config.binarise != "none":
        raise ValueError(
            f"--binarise is for images and plain tables; got {config.binarise} with a mixed table. Leave it out."
        )
    shift, scale = _shift_and_scale(schema, train, config.scaling)
    length = len(schema.low)
    scaled = dataclasses.replace(
        schema,
        shift=tuple(shift.expand(length).tolist()),
        scale=tuple(scale.expand(length).tolist()),
        binarise=config.binarise,
    )
    _require_binarisable(scaled)
    return scaled


def _shift_and_scale(
    schema: Schema, train: Dataset, choice: Literal["auto", "none", "unit", "standard"]
) -> tuple[Tensor, Tensor]:
    if schema.gaps:
        low, high = _extent(train.raw_batches(_rows_at_once(schema.shape)), pooled=schema.kind == "image")
        _require_observed(low, schema.columns, schema.source, " in a training row")
    if schema.kinds:
        return _shift_and_scale_of_reals(schema, train, choice)
    if choice == "auto" and not schema.levels and min(schema.low) >= 0 and max(schema.high) <= 1:
        choice = "none"
    elif choice == "auto":
        choice = "unit" if schema.levels or schema.kind == "image" else "standard"
    if choice == "none":
        return torch.zeros(1), torch.ones(1)
    if choice == "unit" and schema.levels:
        return torch.zeros(1), torch.tensor([schema.levels - 1.0])
    if choice == "unit":
        low, high = torch.tensor([schema.low, schema.high], dtype=torch.float64)
        _require_variation(low, high, schema, "row")
        return low, high - low
    pooled = bool(schema.levels) or schema.kind == "image"
    size = _rows_at_once(schema.shape)
    _require_variation(*_extent(train.raw_batches(size), pooled=pooled), schema, "training row")
    return _mean_and_std(lambda: (raw.reshape(-1, 1) if pooled else raw for raw in train.raw_batches(size)))


def _shift_and_scale_of_reals(
    schema: Schema, train: Dataset, choice: Literal["auto", "none", "unit", "standard"]
) -> tuple[Tensor, Tensor]:
    """Of a mixed table: what the choice says for real columns; all others stay as they are."""
    shift, scale = (
        torch.zeros(len(schema.kinds), dtype=torch.float64),
        torch.ones(len(schema.kinds), dtype=torch.float64),
    )
    reals = torch.tensor([place for place, kind in enumerate(schema.kinds) if kind == "real"]).long()
    if choice == "none" or not len(reals):
        return shift, scale
    few = dataclasses.replace(schema, columns=tuple(schema.columns[place] for place in reals))
    low, high = _extent(train.raw_batches(_rows_at_once(schema.shape)), pooled=False)
    _require_variation(low[reals], high[reals], few, "training row")
    if choice == "unit":
        low, high = torch.tensor([schema.low, schema.high], dtype=torch.float64)
        first, second = low, high - low
    else:
        first, second = _mean_and_std(lambda: train.raw_batches(_rows_at_once(schema.shape)))
    shift[reals], scale[reals] = first[reals], second[reals]
    return shift, scale


def _mean_and_std(passes: Callable[[], Iterable[Tensor]]) -> tuple[Tensor, Tensor]:
    """Mean and population standard deviation of each column, in float64, in two passes over the rows."""
    mean, count = torch.zeros(2, dtype=torch.float64)
    for chunk in passes():
        mean, count = mean + chunk.double().nansum(0), count + (~chunk.isnan()).sum(0)
    mean = mean / count
    variance = sum(((chunk.double() - mean).square().nansum(0) for chunk in passes()), torch.zeros(())) / count
    return mean, variance.sqrt()


def _sums(x: Tensor, *, gaps: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Of some rows the number, the mean and the sum of squared deviations, of each value where it is not missing."""
    if not gaps:
        mean = x.mean(0)  # torch.var_mean takes four times as long
        return x.new_tensor(len(x)), mean, (x - mean).square().sum(0)
    count = (~x.isnan()).sum(0)
    mean = x.nansum(0) / count.clamp_min(1)
    return count, mean, (x - mean).square().nansum(0)


def _require_variation(low: Tensor, high: Tensor, schema: Schema, rows: str) -> None:
    constant = (low == high).nonzero().flatten().tolist()
    if not constant:
        return
    column = constant[0]
    place = f"column {quoted(schema.columns[column])}" if len(low) == len(schema.columns) else "every value"
    raise ValueError(
        f"every column must vary to be scaled; {place} of {schema.source} is {low[column].item():.7g} in every"
        f" {rows}. Delete the column or use --scaling none."
    )


def _require_binarisable(schema: Schema) -> None:
    if schema.binarise != "none" and (outlier := schema._outlier()):
        raise ValueError(
            f"--binarise {schema.binarise} needs values in [0, 1]; {outlier}. Use --scaling unit or --binarise none."
        )
