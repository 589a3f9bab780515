"""Rows in memory or on disk, their three parts, and passes over them."""

import io
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor

from variform.data.conditions import by_condition
from variform.data.schema import Schema
from variform.data.sources.source import Rendered, Shards
from variform.system.notebook import html_image, html_line, html_table

# Of a pass over all rows: data that are larger than memory must not be copied into it.
VALUES_AT_ONCE = 2**20
_SHOWN, _HIGH = 8, 64  # rows that a notebook shows, and pixels that an image is at least high there
PARTS = ("train", "valid", "test")


class StoredRows:
    """Rows that are not in memory and come in the type of `Dataset.raw`: what `Dataset` needs of a tensor, and no more.

    Args:
        rows: Where they stand, or how they are rendered, (N, *shape) of any type.
        dtype: `uint8`, `float32` or `float64`, the type in which they come.

    Example:
        >>> rows = StoredRows(Shards((np.zeros((3, 2)), np.ones((2, 2)))), np.dtype(np.float32))
        >>> len(rows), rows.index_select(0, torch.tensor([4])), [len(some) for some in rows.split(4)]
        (5, tensor([[1., 1.]]), [4, 1])
    """

    def __init__(self, rows: Shards | Rendered, dtype: np.dtype) -> None:
        self.shape = torch.Size(rows.shape)
        self.dtype = getattr(torch, np.dtype(dtype).name)
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
        return as_kept(self._rows.take(index.numpy()), self._dtype)

    def split(self, rows: int) -> Iterator[Tensor]:
        """All rows in order, `rows` of them at a time; the last time there may be fewer."""
        return (as_kept(piece, self._dtype) for piece in self._rows.pieces(rows))

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
        contexts: What a conditional model is conditioned on in each row, (N, context_dim); None for other models.
        index: Number of each row in the source, (N,) int64, counted from 0 in the order in which the source is read
            (of `sprites:N`, among all sprites); None where there is no source.
        names: What a user calls each row, (N,) text: a file, or the value of a column that names rows; None where rows
            have no names.
        dtype: Type of the prepared rows; None for that of `raw`, at least float32. What is read is prepared as float32,
            of float64 after the shift was taken off.
        responses: What is known of each row beside its values and never enters them, such as the results of a
            simulation: by name N numbers, NaN where there is none, or N texts, empty where there is none.
        weights: How much each row counts in the training, (N,) float64, at least 0; None where all count alike.

    Example:
        >>> from variform.data.reading import read
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
    names: np.ndarray | None = None
    dtype: torch.dtype | None = None
    responses: dict[str, np.ndarray] = field(default_factory=dict)
    weights: Tensor | None = None

    @cached_property
    def shares(self) -> Tensor | None:
        """The weights of the rows over their mean, (N,) float64, so that the mean over the rows of what they multiply
        is the weighted mean; None where all count alike.

        Example:
            >>> from variform.data.reading import dataset_from
            >>> data = dataset_from(torch.zeros(2, 1))
            >>> Dataset(data.raw, data.schema, weights=torch.tensor([1.0, 3.0])).shares
            tensor([0.5000, 1.5000], dtype=torch.float64)
        """
        if self.weights is None:
            return None
        weights = self.weights.double()
        return weights / weights.mean()

    def __len__(self) -> int:
        """Number of rows, N."""
        rows = self.raw if self.rows is None else self.rows
        return len(rows)

    def __getitem__(self, index: int | slice | Sequence[int] | Tensor | np.ndarray) -> Tensor:
        """The prepared rows at some numbers, as a model takes them: one row for one number, else (B, *shape).

        Example:
            >>> from variform.data.reading import read
            >>> digits = read("digits").train
            >>> digits[0].shape, digits[-2:].shape, len(list(digits)) == len(digits)
            (torch.Size([1, 8, 8]), torch.Size([2, 1, 8, 8]), True)
        """
        which = index if isinstance(index, slice) else np.asarray(index)
        numbers = np.atleast_1d(np.arange(len(self))[which])
        rows = self.batch(torch.from_numpy(numbers))
        return rows[0] if isinstance(index, Integral) else rows

    def __iter__(self) -> Iterator[Tensor]:
        """The prepared rows, one after the other."""
        return itertools.chain.from_iterable(self.batches(256))

    def __repr__(self) -> str:
        dtype = str(self.raw.dtype).removeprefix("torch.")
        parts = [f"{len(self):,} rows of {dtype}"]
        if self.labels is not None:
            parts.append("labels")
        if self.contexts is not None:
            parts.append("contexts")
        return f"Dataset({', '.join(parts)}; {self.schema.summary()})"

    def _repr_html_(self) -> str:
        """The first rows, in the data's own units."""
        some = self.take(torch.arange(min(_SHOWN, len(self))))
        title = f"{len(self):,} rows of {self.schema.source}"
        raw = some.raw.index_select(0, torch.arange(len(some)))
        if self.schema.columns and raw.ndim == 2:
            header = [self.schema.title(name) for name in self.schema.columns]
            rows = [[f"{value:.5g}" for value in row] for row in raw.tolist()]
            return html_table(header, rows, title=title, note=self.schema.summary())
        return (
            html_line(title, bold=True)
            + _pictures(raw, self.schema)
            + html_line(self.schema.summary())
        )

    def gather(self, index: Tensor) -> Tensor:
        """The raw rows at `index`, in memory.

        Args:
            index: Row numbers, (B,) int64.

        Example:
            >>> from variform.data.reading import dataset_from
            >>> whole = dataset_from(torch.arange(5)[:, None])
            >>> Dataset(whole.raw, whole.schema, rows=torch.tensor([4, 2])).gather(torch.tensor([1, 0])).tolist()
            [[2.0], [4.0]]
        """
        return self.raw.index_select(0, self._raw_rows(index))

    def _raw_rows(self, index: Tensor) -> Tensor:
        """Where the rows at `index` stand in `raw`."""
        return index if self.rows is None else self.rows.index_select(0, index)

    def expect(self, index: Tensor) -> None:
        """Say which rows come next, so that those on disk are read in the background; nothing for rows in memory.

        Whole stretches of the file are read and nothing between them, while the first look at a single row has the
        system read what lies around it, up to megabytes: worth while for the blocks of `epoch_order`, a window ahead.

        Args:
            index: Row numbers, (B,) int64.

        Example:
            >>> from variform.data.reading import dataset_from
            >>> dataset_from(torch.rand(5, 2)).expect(torch.tensor([3, 4]))
        """
        if isinstance(self.raw, StoredRows):
            self.raw.expect(self._raw_rows(index))

    def take(self, index: Tensor) -> "Dataset":
        """A data set of the rows at `index`, in memory, with all that is known of them.

        Args:
            index: Row numbers, (B,) int64.

        Example:
            >>> from variform.data.reading import read
            >>> digits = read("digits").train
            >>> len(digits.take(torch.tensor([3, 5]))), digits.take(torch.tensor([3])).labels == digits.labels[3]
            (2, tensor([True]))
        """
        return Dataset(self.gather(index), self.schema, dtype=self.dtype, **self.beside(index))

    def beside(self, index: Tensor) -> dict[str, Any]:
        """All that is known of the rows at `index` beside their values, by the names of the arguments of a data set.

        Args:
            index: Row numbers, (B,) int64.

        Example:
            >>> from variform.data.reading import read
            >>> read("digits").train.beside(torch.tensor([3, 5]))["index"]
            tensor([ 9, 11])
        """
        return {
            "labels": None if self.labels is None else self.labels[index],
            "contexts": self.context(index),
            "index": None if self.index is None else self.index[index],
            "names": None if self.names is None else self.names[index.numpy()],
            "responses": {name: values[index.numpy()] for name, values in self.responses.items()},
            "weights": None if self.weights is None else self.weights[index],
        }

    def context(self, index: Tensor) -> Tensor | None:
        """What a conditional model is conditioned on in the rows at `index`, (B, context_dim).

        Args:
            index: Row numbers, (B,) int64.

        Example:
            >>> from variform.config.data import DataConfig
            >>> from variform.data.reading import read
            >>> data = read("digits", DataConfig(condition=("label",))).train
            >>> data.context(torch.tensor([0])).argmax() == data.labels[0]
            tensor(True)
        """
        return None if self.contexts is None else self.contexts.index_select(0, index)

    def typical_context(self) -> Tensor | None:
        """The most frequent categories and the mean numbers, (context_dim,); None for a model without conditions."""
        if self.contexts is None:
            return None
        parts = []
        for condition, mean in by_condition(self.schema.conditions, self.contexts.mean(0)):
            if condition.categories:
                parts.append(torch.eye(condition.width)[mean.argmax()])
            else:
                parts.append(mean)
        return torch.cat(parts)

    def whole_contexts(self) -> Tensor:
        """The contexts of the rows whose every category is known, (M, context_dim); all where none are.

        Example:
            >>> from variform.config.data import DataConfig
            >>> from variform.data.reading import read
            >>> data = read("digits", DataConfig(condition=("label",), labelled=50)).train
            >>> data.whole_contexts().shape
            torch.Size([50, 10])
        """
        assert self.contexts is not None
        parts = by_condition(self.schema.conditions, self.contexts)
        missing = [condition.is_missing(part) for condition, part in parts]
        is_whole = ~torch.stack(missing).any(0)
        return self.contexts[is_whole] if is_whole.any() else self.contexts

    def context_batches(self, batch_size: int) -> Iterator[Tensor | None]:
        """The contexts of all rows in order, beside `batches`; None for each batch where there are none."""
        if self.contexts is None:
            return itertools.repeat(None, math.ceil(len(self) / batch_size))
        return iter(self.contexts.split(batch_size))

    def batch(self, index: Tensor) -> Tensor:
        """The prepared rows at `index`.

        Args:
            index: Row numbers, (B,) int64.

        Example:
            >>> from variform.data.reading import dataset_from
            >>> dataset_from(torch.tensor([[1.0], [2.0], [3.0]])).batch(torch.tensor([2, 0])).tolist()
            [[3.0], [1.0]]
        """
        raw = self.gather(index)
        x = self.schema._prepare(raw.to(torch.promote_types(raw.dtype, torch.float32)))
        return x.to(self.dtype or x.dtype)

    def raw_batches(self, batch_size: int) -> Iterator[Tensor]:
        """All rows, raw, in order; the last batch may be smaller.

        Args:
            batch_size: Rows per batch.

        Example:
            >>> from variform.data.reading import dataset_from
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
            >>> from variform.data.reading import dataset_from
            >>> [len(x) for x in dataset_from(torch.rand(5, 2)).batches(2)]
            [2, 2, 1]
        """
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        batches = (self.schema.prepare(raw, generator) for raw in self.raw_batches(batch_size))
        return (x.to(self.dtype or x.dtype) for x in batches)

    def prepared(self, *, seed: int | None = None) -> Tensor:
        """All rows, prepared, in one tensor; `seed` as in `batches`.

        Example:
            >>> from variform.data.reading import dataset_from
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
            >>> from variform.data.reading import dataset_from
            >>> mean, variance = dataset_from(torch.tensor([[1.0], [2.0], [6.0]])).moments()
            >>> mean.item(), round(variance.item(), 4)
            (3.0, 4.6667)
        """
        count, mean, squares = torch.zeros(3, dtype=torch.float64)
        for x in self.batches(rows_at_once(self.schema.shape), seed=seed):
            more, centre, deviations = sums_of(x.double(), gaps=bool(self.schema.gaps))
            step = centre - mean
            share = more / (count + more).clamp_min(1)
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
        fingerprint: SHA-256 of all that enters a model or its training (shape, type, values, labels, weights, own
            split), in hexadecimal: names and responses are not among it.
        notes: Sentences that a reader of a report should know.
        scaling: As in `DataConfig`, but never `auto`: what was chosen then.
        leaks: Share of the test rows that are nearly the same as a training row: `by_row`, under a split by hash of
            each row, and `by_group`, under one by group. {} where neither groups nor a tolerance were asked for.

    Example:
        >>> from variform.data.reading import read
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
    scaling: str
    leaks: dict[str, float | None]

    def __repr__(self) -> str:
        sizes = ", ".join(f"{len(getattr(self, part)):,} {part}" for part in PARTS)
        return f"Splits({sizes}; {self.schema.summary()}; fingerprint {self.fingerprint[:12]})"

    def _repr_html_(self) -> str:
        """How many rows each part has, the first of them, and what must be known of all."""
        sizes = [[part, f"{len(getattr(self, part)):,}"] for part in PARTS]
        notes = "".join(map(html_line, self.notes))
        return html_table(["part", "rows"], sizes) + self.train._repr_html_() + notes


def _pictures(raw: Tensor, schema: Schema) -> str:
    """Images side by side as HTML; nothing for what is no image of one or three channels."""
    if raw.ndim != 4 or raw.shape[1] not in (1, 3) or not len(raw):
        return ""
    from PIL import Image  # slow to import

    low, high = min(schema.low), max(schema.high)
    grey = ((raw.double() - low) / max(high - low, 1e-300) * 255).clamp(0, 255)
    side_by_side = torch.cat(list(grey.round().to(torch.uint8)), -1).movedim(0, -1)
    content = io.BytesIO()
    image = Image.fromarray(side_by_side.squeeze(-1).numpy())
    zoom = max(1, _HIGH // raw.shape[2])
    image.resize((image.width * zoom, image.height * zoom), Image.Resampling.NEAREST).save(
        content, "PNG"
    )
    return html_image(content.getvalue(), f"the first {len(raw)} images")


def as_kept(values: np.ndarray, dtype: np.dtype) -> Tensor:
    """Values in memory of their own, in the type `dtype`."""
    # An overflow becomes infinite, and is reported as such with its place.
    with np.errstate(over="ignore"):
        return torch.from_numpy(np.require(values, dtype, ["C", "W"]))


def rows_at_once(shape: tuple[int, ...]) -> int:
    """How many rows of a shape a pass over all of them takes at a time."""
    return max(1, VALUES_AT_ONCE // max(1, math.prod(shape)))


def in_chunks(raw: Tensor | StoredRows) -> Iterator[Tensor]:
    """All rows in order, some at a time."""
    return iter(raw.split(rows_at_once(raw.shape[1:])))


def sums_of(x: Tensor, *, gaps: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Of some rows the number, the mean and the sum of squared deviations, of each value where it is not missing."""
    if not gaps:
        mean = x.mean(0)  # torch.var_mean takes four times as long
        return x.new_tensor(len(x)), mean, (x - mean).square().sum(0)
    count = (~x.isnan()).sum(0)
    mean = x.nansum(0) / count.clamp_min(1)
    return count, mean, (x - mean).square().nansum(0)
