"""Data: a file, a folder or a built-in name becomes raw tensors, a split, and a `Schema` that says how to scale them.

From top to bottom: what is known about the data (`Schema`, `Dataset`, `Splits`), the verbs (`read`, `read_rows`,
`splits_from`, `dataset_from`), the split, the scaling, and one reader per format. A reader only finds rows and labels;
whatever holds for all formats (shape, type, finiteness, split, scaling) is decided once, after it.
"""

import csv
import dataclasses
import difflib
import gzip
import hashlib
import io
import itertools
import math
import zipfile
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from variform.config import DataConfig

_DEFAULTS = DataConfig()
_BUILT_IN = ("digits",)
_SPLIT_NAMES = {"train": ("train",), "valid": ("valid", "val", "validation"), "test": ("test",)}
_IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")


@dataclass(frozen=True)
class Schema:
    """What the data are, and how raw values become what the model sees: x = (raw - shift) / scale.

    Args:
        kind: `image`, or `table`.
        shape: Shape of one example: (channels, height, width) of images, (columns,) of tables.
        columns: Column names of a table (`column 1`, ... where the source has none); () for images.
        classes: Names of the labels; () without labels.
        low: Least raw value over all rows read, in raw units: one number for images, one a column for tables.
        high: Greatest raw value, likewise.
        shift: Raw value that becomes 0, in raw units: one number for images, one a column for tables.
        scale: Raw units per unit of x, likewise.
        levels: Number of discrete raw levels (256 for 8-bit pixels); None for real numbers.
        binarise: As in `DataConfig`.
        source: File name or built-in name, for messages.

    Example:
        >>> schema = dataset_from(torch.tensor([[0.0, 7.0], [1.0, 9.0]])).schema
        >>> schema.kind, schema.columns, schema.bounds
        ('table', ('column 1', 'column 2'), (0.0, 9.0))
    """

    kind: Literal["image", "table"]
    shape: tuple[int, ...]
    columns: tuple[str, ...]
    classes: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    shift: tuple[float, ...]
    scale: tuple[float, ...]
    levels: int | None
    binarise: Literal["none", "threshold", "dynamic"]
    source: str

    def prepare(self, raw: Tensor) -> Tensor:
        """What the model sees: x = (raw - shift) / scale, then binarised where asked.

        `threshold` gives 1 where x >= 1/2; `dynamic` draws 1 with probability x from torch's global generator, afresh
        at each call.

        Args:
            raw: Raw values, (B, *shape). float64 stays float64; everything else becomes float32.

        Example:
            >>> schema = read("digits").schema
            >>> schema.prepare(torch.full((1, *schema.shape), 8)).max().item()
            0.5
        """
        x = raw.to(torch.promote_types(raw.dtype, torch.float32))
        shift, scale = self._affine(x)
        x = (x - shift) / scale
        if self.binarise == "threshold":
            return (x >= 0.5).to(x.dtype)
        return torch.bernoulli(x) if self.binarise == "dynamic" else x

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

    @property
    def log_jacobian(self) -> float:
        """log |dx / draw| per example, -sum(log scale), in nats: add it to log p(x) to get a density of raw values.

        For discrete levels the density is stated per intensity in [0, 1], raw / (levels - 1), as in the literature: 0
        under unit scaling, and whatever makes the other scalings comparable to it. Binarised data have no density: 0.

        Example:
            >>> schema = dataset_from(torch.rand(4, 2)).schema
            >>> dataclasses.replace(schema, scale=(2.0, 0.5)).log_jacobian
            0.0
        """
        if self.binarise != "none":
            return 0.0
        unit = 1 if self.levels is None else self.levels - 1
        repeats = math.prod(self.shape) // len(self.scale)
        return repeats * sum(math.log(unit / scale) for scale in self.scale)

    @property
    def bounds(self) -> tuple[float, float]:
        """Least and greatest prepared value over all columns and rows read.

        Example:
            >>> read("digits").schema.bounds
            (0.0, 1.0)
        """
        if self.binarise != "none":
            return 0.0, 1.0
        ranges = self._scaled_ranges()
        return min(low for low, _ in ranges), max(high for _, high in ranges)

    def require_unit_interval(self) -> None:
        """Refuse data that a Bernoulli likelihood cannot take.

        Raises:
            ValueError: if a prepared value lies outside [0, 1]; names the first such column and its raw value.

        Example:
            >>> dataset_from(torch.tensor([[7.25]])).schema.require_unit_interval()
            Traceback (most recent call last):
            ValueError: Bernoulli needs values in [0, 1]; column 'column 1' of array holds 7.25. Use --likelihood \
gaussian or --scaling unit.
        """
        if self.binarise == "none" and (outlier := self._outlier()):
            raise ValueError(
                f"Bernoulli needs values in [0, 1]; {outlier}. Use --likelihood gaussian or --scaling unit."
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON, which keeps every float exactly.

        Example:
            >>> dataset_from(torch.ones(4, 2)).schema.to_dict()["shape"]
            [2]
        """
        values = dataclasses.asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Schema":
        """The opposite of `to_dict`.

        Raises:
            ValueError: for missing or unknown keys.

        Example:
            >>> schema = dataset_from(torch.rand(4, 2)).schema
            >>> Schema.from_dict(schema.to_dict()) == schema
            True
        """
        names = {field.name for field in dataclasses.fields(cls)}
        if odd := names ^ set(values):
            raise ValueError(
                f"a schema must have the keys {', '.join(sorted(names))}; missing or unknown: {', '.join(sorted(odd))}."
                " Use a file that this version of variform wrote."
            )
        fields: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
        }
        return cls(**fields)

    @cached_property
    def _shift_and_scale(self) -> Tensor:
        return torch.tensor([self.shift, self.scale], dtype=torch.float64)

    def _affine(self, x: Tensor) -> tuple[Tensor, Tensor]:
        shift, scale = self._shift_and_scale.to(x)
        return shift, scale

    def _scaled_ranges(self) -> list[tuple[float, float]]:
        columns = zip(self.low, self.high, self.shift, self.scale, strict=True)
        return [((low - shift) / scale, (high - shift) / scale) for low, high, shift, scale in columns]

    def _outlier(self) -> str | None:
        """The first column whose scaled values leave [0, 1], and its raw value, in words."""
        for column, (low, high) in enumerate(self._scaled_ranges()):
            if low < 0 or high > 1:
                value = self.low[column] if low < 0 else self.high[column]
                place = "a pixel" if self.kind == "image" else f"column '{self.columns[column]}'"
                return f"{place} of {self.source} holds {value:.7g}"
        return None


@dataclass(frozen=True, eq=False)
class Dataset:
    """Rows of raw values, kept as they came (pixels stay uint8) until a batch is asked for.

    Args:
        raw: Raw values, (N, *shape).
        schema: What they are.
        labels: Index of each row's label in `schema.classes`, (N,) int64.

    Example:
        >>> dataset = read("digits").train
        >>> dataset.raw.dtype, dataset.batch(torch.tensor([3, 5])).shape
        (torch.uint8, torch.Size([2, 1, 8, 8]))
    """

    raw: Tensor
    schema: Schema
    labels: Tensor | None = None

    def __len__(self) -> int:
        """Number of rows, N."""
        return len(self.raw)

    def batch(self, index: Tensor) -> Tensor:
        """The prepared rows at `index`.

        Args:
            index: Row numbers, (B,) int64.

        Example:
            >>> dataset_from(torch.tensor([[1.0], [2.0], [3.0]])).batch(torch.tensor([2, 0])).tolist()
            [[3.0], [1.0]]
        """
        return self.schema.prepare(self.raw.index_select(0, index))

    def batches(self, batch_size: int) -> Iterator[Tensor]:
        """All rows, prepared, in order; the last batch may be smaller.

        Example:
            >>> [len(x) for x in dataset_from(torch.rand(5, 2)).batches(2)]
            [2, 2, 1]
        """
        return map(self.schema.prepare, self.raw.split(batch_size))

    def prepared(self) -> Tensor:
        """All rows, prepared, in one tensor.

        Example:
            >>> dataset_from(torch.rand(5, 2)).prepared().shape
            torch.Size([5, 2])
        """
        return self.schema.prepare(self.raw)


@dataclass(frozen=True, eq=False)
class Splits:
    """Training, validation and test rows of one source.

    Args:
        train: Rows to fit.
        valid: Rows to choose by.
        test: Rows to report on.
        schema: What they are; the same object in all three.
        duplicates: `within`: rows that repeat an earlier row of the source; `across`: rows of the source's own test and
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


@dataclass(frozen=True, eq=False)
class _Source:
    """What a reader found: rows as they stand in the file, before they are shaped, split or scaled."""

    name: str
    values: np.ndarray  # (N, ...)
    labels: np.ndarray | None = None  # N of them
    own: np.ndarray | None = None  # (N,): "train", "valid" or "test", the source's own split
    columns: tuple[str, ...] = ()
    levels: int | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.values.ndim < 2:
            raise ValueError(
                f"{self.name} must hold one row per example; its shape is {self.values.shape}. Reshape it to (N, D)."
            )
        if self.labels is not None and self.labels.size != len(self.values):
            raise ValueError(
                f"{self.name} must have one label per row; it has {len(self.values)} rows and {self.labels.size}"
                " labels. Check that both come from the same set."
            )


# ---- the verbs


def read(source: str | Path, config: DataConfig = _DEFAULTS) -> Splits:
    """Read, check, split and scale what `source` names.

    Takes .npy, .npz, IDX and CSV files, each of them .gz, folders of images, folders in the MNIST layout and the
    built-in name `digits`, which wins over a file of that name (write ./digits for the file). Numbers that are not
    8-bit are kept as float32.

    Args:
        source: A file, a folder or a built-in name.
        config: How to read it.

    Raises:
        FileNotFoundError: if the source does not exist.
        ValueError: if it cannot be read, or holds something a model cannot learn from.

    Example:
        >>> read("digits").schema.shape
        (1, 8, 8)
    """
    return _splits(_read_source(source, config), config)


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
    return _splits(_Source(name, _array(raw), None if labels is None else _array(labels)), config)


def dataset_from(x: Tensor) -> Dataset:
    """A data set of values that are ready for the model: shift 0, scale 1, no split.

    Args:
        x: (N, D) for a table, or (N, C, H, W) with C = 1 or 3 for images; integers become float32.

    Raises:
        ValueError: for another shape, for no rows, and for NaN or infinite values.

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
    return Dataset(raw, _unscaled_schema(raw, "array"))


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
    source = _read_source(path, _config_like(path, schema, key))
    flat_images = schema.kind == "image" and source.values.shape[1:] == (math.prod(schema.shape),)
    raw = _tensor(source.values, schema.shape if flat_images else None, source.name)
    _require_alike(raw, source, schema)
    low, high = _extent(raw)
    rows_schema = dataclasses.replace(schema, low=low, high=high, source=source.name)
    _require_binarisable(rows_schema)
    return Dataset(raw, rows_schema, _known_labels(source, schema.classes))


def _array(values: Tensor | np.ndarray) -> np.ndarray:
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)


def _splits(source: _Source, config: DataConfig) -> Splits:
    raw = _tensor(source.values, config.shape, source.name)
    classes, labels = _label_index(source.labels)
    unscaled = _unscaled_schema(raw, source.name, source.columns, classes, source.levels)
    own = np.full(len(raw), "train") if source.own is None else source.own
    digests = _digests(raw)
    masks = _split_masks(own, digests, config.split_seed, source.name)
    schema = _scaled(unscaled, raw[masks["train"]], config)
    duplicates = _duplicates(own, digests)
    parts = {part: Dataset(raw[mask], schema, None if labels is None else labels[mask]) for part, mask in masks.items()}
    return Splits(
        **parts,
        schema=schema,
        duplicates=duplicates,
        fingerprint=_fingerprint(raw, own, digests, classes, labels),
        notes=(*source.notes, *_notes(source.values, raw, own, duplicates)),
    )


# ---- what holds for every format: shape, type, finiteness, labels


def _tensor(values: np.ndarray, shape: tuple[int, ...] | None, name: str) -> Tensor:
    """Rows as they are kept: (N, D) or (N, C, H, W), uint8 or float32."""
    if values.dtype.kind not in "buif":
        raise ValueError(f"{name} must hold numbers; its type is {values.dtype}. Convert it to numbers.")
    if values.size == 0:
        raise ValueError(f"{name} must hold at least one value; its shape is {values.shape}. Give a file with rows.")
    values = _channels_first(_reshaped(values, shape, name), name)
    whole = values.dtype.kind in "bui"
    is_bytes = values.dtype.itemsize == 1 and values.dtype.kind in "bu"
    is_pixels = whole and values.ndim == 4 and values.min() >= 0 and values.max() <= 255
    with np.errstate(over="ignore"):  # an overflow becomes infinite, and is reported as such with its place
        return torch.from_numpy(np.require(values, np.uint8 if is_bytes or is_pixels else np.float32, ["C", "W"]))


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


def _unscaled_schema(
    raw: Tensor, name: str, columns: tuple[str, ...] = (), classes: tuple[str, ...] = (), levels: int | None = None
) -> Schema:
    """What `raw` holds, with shift 0 and scale 1."""
    is_image = raw.ndim == 4
    numbered = tuple(f"column {number}" for number in range(1, raw.shape[1] + 1))
    columns = () if is_image else columns or numbered
    _require_finite(raw, columns, name)
    low, high = _extent(raw)
    if levels is None and not raw.is_floating_point():
        levels = 2 if max(high) <= 1 else 256
    return Schema(
        kind="image" if is_image else "table",
        shape=tuple(raw.shape[1:]),
        columns=columns,
        classes=classes,
        low=low,
        high=high,
        shift=(0.0,) * len(low),
        scale=(1.0,) * len(low),
        levels=levels,
        binarise="none",
        source=name,
    )


def _require_finite(raw: Tensor, columns: tuple[str, ...], name: str) -> None:
    if not raw.is_floating_point() or (finite := raw.isfinite()).all():
        return
    bad = (~finite).reshape(len(raw), -1).nonzero()  # (values, 2)
    places = [
        f"row {row + 1}, " + (f"column '{columns[item]}'" if columns else f"pixel {item + 1}")
        for row, item in bad[:3].tolist()
    ]
    raise ValueError(
        f"{name} must hold finite numbers; {len(bad)} of its values are NaN, infinite or too large for float32"
        f" ({'; '.join(places)}{'; ...' if len(bad) > 3 else ''}). Delete these rows or fill the values in."
    )


def _extent(raw: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Least and greatest value: one number for images, one a column for tables."""
    low, high = torch.aminmax(raw, dim=0) if raw.ndim == 2 else torch.aminmax(raw)
    return tuple(low.reshape(-1).double().tolist()), tuple(high.reshape(-1).double().tolist())


def _label_index(labels: np.ndarray | None) -> tuple[tuple[str, ...], Tensor | None]:
    """Class names in order (numbers as numbers, text as text), and each row's index among them."""
    if labels is None:
        return (), None
    if labels.dtype.kind not in "buif":
        labels = labels.astype(str)
    values, index = np.unique(labels.reshape(-1), return_inverse=True)
    classes = tuple(f"{value:.15g}" if labels.dtype.kind in "uif" else str(value) for value in values)
    return classes, torch.from_numpy(index.astype(np.int64))


def _known_labels(source: _Source, classes: tuple[str, ...]) -> Tensor | None:
    """The source's labels as indices into `classes`; None if there are none, or one that is not a known class."""
    names, index = _label_index(source.labels)
    if index is None or not set(names) <= set(classes):
        return None
    return torch.tensor([classes.index(name) for name in names])[index]


def _config_like(path: str | Path, schema: Schema, key: str | None) -> DataConfig:
    """How to read `path` so that it comes out in the form of `schema`."""
    if schema.kind == "table":
        return DataConfig(key=key, label=_unknown_column(Path(path), schema))
    channels, height, width = schema.shape
    return DataConfig(key=key, image_size=(height, width), channels="grey" if channels == 1 else "rgb")


def _unknown_column(path: Path, schema: Schema) -> str | None:
    """The one CSV column that labelled data have beside the known ones."""
    if not schema.classes or not path.is_file() or _format(path) != "csv":
        return None
    with _csv_table(path) as table:
        unknown = [name for name in table.columns if name not in schema.columns]
    return unknown[0] if len(unknown) == 1 else None


def _require_alike(raw: Tensor, source: _Source, schema: Schema) -> None:
    for known, came in zip(schema.columns, source.columns, strict=False):
        if known != came:
            raise ValueError(
                f"columns must be those of {schema.source}; {source.name} has '{came}' where '{known}' belongs."
                " Give the same columns in the same order."
            )
    shape = tuple(raw.shape[1:])
    if shape != schema.shape:
        raise ValueError(
            f"rows must have the shape {schema.shape} of {schema.source}; {source.name} has {shape}."
            " Give data of the same shape."
        )
    _require_finite(raw, schema.columns, source.name)
    low, high = raw.min().item(), raw.max().item()
    is_whole = not raw.is_floating_point() or torch.equal(raw, raw.round())
    if schema.levels and not (is_whole and low >= 0 and high < schema.levels):
        raise ValueError(
            f"values must be whole numbers from 0 to {schema.levels - 1} as in {schema.source}; {source.name} holds"
            f" values from {low:.7g} to {high:.7g}. Give data in the same units."
        )


# ---- the split


def _digests(raw: Tensor) -> list[bytes]:
    """One hash a row: it decides the split, finds duplicates and makes the fingerprint."""
    rows = raw.reshape(len(raw), -1).numpy().view(np.uint8)
    return [hashlib.blake2b(row, digest_size=16).digest() for row in rows]


def _split_masks(own: np.ndarray, digests: list[bytes], seed: int, name: str) -> dict[str, Tensor]:
    """Which rows are in which split: the source's own, and a tenth of train, by hash, for each that it lacks.

    A row's split depends on its values and the seed alone, so that equal rows stay together and rows that are added or
    moved change nothing for the others.
    """
    key = str(seed).encode()
    tenth = np.array([hashlib.blake2b(digest, digest_size=8, key=key).digest() for digest in digests]).view("<u8") % 10
    parts = own.copy()
    for number, part in enumerate(_missing(own)):
        parts[(own == "train") & (tenth == number)] = part
    masks = {part: torch.from_numpy(parts == part) for part in _SPLIT_NAMES}
    for part, mask in masks.items():
        if not mask.any():
            raise ValueError(
                f"every split must hold a row; the {len(own)} rows of {name} leave none for {part}."
                " Give more rows or another --split-seed."
            )
    return masks


def _missing(own: np.ndarray) -> list[str]:
    return [part for part in ("valid", "test") if part not in own]


def _duplicates(own: np.ndarray, digests: list[bytes]) -> dict[str, int]:
    train = {digest for digest, part in zip(digests, own, strict=True) if part == "train"}
    across = sum(digest in train for digest, part in zip(digests, own, strict=True) if part != "train")
    return {"within": len(digests) - len(set(digests)), "across": across}


def _fingerprint(
    raw: Tensor, own: np.ndarray, digests: list[bytes], classes: tuple[str, ...], labels: Tensor | None
) -> str:
    state = hashlib.sha256(repr((tuple(raw.shape), str(raw.dtype), classes)).encode())
    state.update(b"".join(digests))
    state.update(own.astype("<U5").tobytes())
    state.update(b"" if labels is None else labels.numpy().tobytes())
    return state.hexdigest()


def _notes(values: np.ndarray, raw: Tensor, own: np.ndarray, duplicates: dict[str, int]) -> Iterator[str]:
    notes: dict[tuple[str, ...], str] = {
        (): "split: the source's own",
        ("valid",): "split: the source's own test set, validation taken from train by hash, about a tenth",
        ("test",): "split: the source's own validation set, test taken from train by hash, about a tenth",
        ("valid", "test"): "split: by hash of each row, about a tenth for validation and a tenth for test",
    }
    yield notes[tuple(_missing(own))]
    if duplicates["within"]:
        yield f"{duplicates['within']} exact duplicates of earlier rows"
    if duplicates["across"]:
        yield f"{duplicates['across']} rows of the source's own test or validation set are also among its training rows"
    if raw.is_floating_point() and not np.array_equal(values, values.astype(np.float32)):
        yield f"{values.dtype} values are rounded to float32, about 7 digits"


# ---- the scaling


def _scaled(schema: Schema, train: Tensor, config: DataConfig) -> Schema:
    """`schema` with the scaling and binarisation of `config`: a pair for each real column, one pair for all pixels."""
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
    schema: Schema, train: Tensor, choice: Literal["auto", "none", "unit", "standard"]
) -> tuple[Tensor, Tensor]:
    if choice == "auto" and not schema.levels and min(schema.low) >= 0 and max(schema.high) <= 1:
        choice = "none"
    elif choice == "auto":
        choice = "unit" if schema.levels or schema.kind == "image" else "standard"
    if choice == "none":
        return torch.zeros(1), torch.ones(1)
    if choice == "unit" and schema.levels:
        return torch.zeros(1), torch.tensor([schema.levels - 1.0])
    one_pair = schema.levels or schema.kind == "image"
    pooled = train.reshape(-1, 1) if one_pair else train
    low, high = torch.aminmax(pooled, dim=0)
    _require_variation(low, high, schema)
    return (low.double(), high.double() - low.double()) if choice == "unit" else _mean_and_std(pooled)


def _mean_and_std(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and population standard deviation of each column, in float64."""
    chunks = rows.split(max(1, 2**20 // rows.shape[1]))  # a float64 copy of all pixels may not fit in memory
    mean = sum((chunk.double().sum(0) for chunk in chunks), torch.zeros(())) / len(rows)
    variance = sum(((chunk.double() - mean).square().sum(0) for chunk in chunks), torch.zeros(())) / len(rows)
    return mean, variance.sqrt()


def _require_variation(low: Tensor, high: Tensor, schema: Schema) -> None:
    constant = (low == high).nonzero().flatten().tolist()
    if not constant:
        return
    column = constant[0]
    place = f"column '{schema.columns[column]}'" if len(low) == len(schema.columns) else "every value"
    raise ValueError(
        f"every column must vary to be scaled; {place} of {schema.source} is {low[column].item():.7g} in every training"
        " row. Delete the column or use --scaling none."
    )


def _require_binarisable(schema: Schema) -> None:
    if schema.binarise != "none" and (outlier := schema._outlier()):
        raise ValueError(
            f"--binarise {schema.binarise} needs values in [0, 1]; {outlier}. Use --scaling unit or --binarise none."
        )


# ---- the sources


def _read_source(source: str | Path, config: DataConfig) -> _Source:
    if source == "digits":
        return _read_digits()
    path = Path(source).expanduser()
    if not path.exists():
        raise FileNotFoundError(_not_there(path))
    if path.is_dir():
        return _read_mnist_folder(path) if _idx_file(path, "train-images-idx3") else _read_image_folder(path, config)
    if path.stat().st_size == 0:
        raise ValueError(f"{path.name} must hold data; it is empty (0 bytes). Copy or download it again.")
    return _READERS[_format(path)](path, config)


def _not_there(path: Path) -> str:
    neighbours = [item.name for item in path.parent.iterdir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, [*_BUILT_IN, *neighbours], 1)
    remedy = f"Did you mean '{near[0]}'?" if near else f"Built-in names: {', '.join(_BUILT_IN)}."
    return f"the source must be a file, a folder or a built-in name; {path} does not exist. {remedy}"


def _format(path: Path) -> str:
    """The format of a file, by its name or else by its first bytes."""
    name = path.name.lower().removesuffix(".gz")
    for kind, endings in _ENDINGS.items():
        if name.endswith(endings):
            return kind
    with _reading(path) as handle:
        head = handle.read(6)
    if head == b"\x93NUMPY":
        return "npy"
    if head.startswith(b"PK\3\4"):
        return "npz"
    if head[:2] == b"\0\0" and len(head) > 2 and head[2] in _IDX_TYPES:
        return "idx"
    raise ValueError(
        f"{path.name} must be of a known format; neither its name nor its first bytes are."
        " Use .npy, .npz, .csv, .tsv, .idx, an image, or a folder of images."
    )


@contextmanager
def _reading(path: Path) -> Iterator[io.BufferedReader | gzip.GzipFile]:
    """The bytes of a file, unpacked if its name ends in .gz; damage that shows in reading is told with its name."""
    with gzip.open(path) if path.suffix.lower() == ".gz" else open(path, "rb") as handle:
        try:
            yield handle
        except (
            OSError,
            EOFError,
            RuntimeError,
            UnicodeDecodeError,
            csv.Error,
            zlib.error,
            zipfile.BadZipFile,
        ) as error:
            raise _damaged(path.name, error) from error


def _damaged(name: str, reason: object) -> ValueError:
    return ValueError(
        f"{name} must be a whole file of its format; reading it failed: {reason}."
        " Copy or download it again, or save it anew (text as UTF-8)."
    )


def _joined(name: str, parts: dict[str, _Source]) -> _Source:
    """One source from the parts of data that come split."""
    shapes = {part: source.values.shape[1:] for part, source in parts.items()}
    if len(set(shapes.values())) > 1:
        raise ValueError(f"all splits of {name} must have rows of one shape; they have {shapes}. Make them equal.")
    labels = [source.labels.reshape(-1) for source in parts.values() if source.labels is not None]
    partly = 0 < len(labels) < len(parts)
    return _Source(
        name,
        np.concatenate([source.values for source in parts.values()]),
        np.concatenate(labels) if len(labels) == len(parts) else None,
        np.repeat(list(parts), [len(source.values) for source in parts.values()]),
        notes=("labels are left out: not every split has them",) if partly else (),
    )


def _read_digits() -> _Source:
    from sklearn.datasets import load_digits  # here, for importing scikit-learn takes as long as reading MNIST

    values, labels = load_digits(return_X_y=True)
    return _Source("digits", np.asarray(values, np.uint8).reshape(-1, 8, 8), np.asarray(labels), levels=17)


# ---- arrays: .npy, .npz, IDX

_IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_Handle = io.BufferedReader | gzip.GzipFile | IO[bytes]
_DEFLATE_RATIO = 1032  # deflate cannot pack more bytes into one
_DATA_KEYS = ("x", "X", "data", "images")
_LABEL_KEYS = ("y", "labels", "target")


def _read_npy(path: Path, config: DataConfig) -> _Source:
    with _reading(path) as handle:
        return _Source(path.name, _npy_array(handle, path.name, _capacity(path)))


def _read_npz(path: Path, config: DataConfig) -> _Source:
    with _reading(path) as handle, zipfile.ZipFile(handle) as archive:
        load = partial(_npz_array, archive, path.name)
        keys = [name.removesuffix(".npy") for name in archive.namelist()]
        if config.key is None and "train" in (parts := _npz_parts(path.name, keys, load)):
            return _joined(path.name, parts)
        key = config.key if config.key in keys else None if config.key else _data_key(keys)
        if key is None:
            wanted = f"an array '{config.key}'" if config.key else f"one array, or one named {', '.join(_DATA_KEYS)}"
            raise ValueError(f"{path.name} must hold {wanted}; it holds {', '.join(keys)}. Choose one with --key NAME.")
        labels = _first(_LABEL_KEYS, keys)
        return _Source(path.name, load(key), load(labels) if labels else None)


def _npz_parts(name: str, keys: Sequence[str], load: Callable[[str], np.ndarray]) -> dict[str, _Source]:
    """The arrays of an archive that is split already, under the names that Keras and others give them."""
    parts = {}
    for part, names in _SPLIT_NAMES.items():
        data = _first((form.format(name) for name in names for form in ("x_{}", "{}", "{}_images", "{}_data")), keys)
        labels = _first((form.format(name) for name in names for form in ("y_{}", "{}_labels")), keys)
        if data:
            parts[part] = _Source(f"{name} ({data})", load(data), load(labels) if labels else None)
    return parts


def _data_key(keys: Sequence[str]) -> str | None:
    unlabelled = [key for key in keys if key not in _LABEL_KEYS]
    return unlabelled[0] if len(unlabelled) == 1 else _first(_DATA_KEYS, keys)


def _first(wanted: Iterable[str], there: Sequence[str]) -> str | None:
    return next((name for name in wanted if name in there), None)


def _npz_array(archive: zipfile.ZipFile, name: str, key: str) -> np.ndarray:
    member = f"{key}.npy" if f"{key}.npy" in archive.namelist() else key
    info = archive.getinfo(member)
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise _damaged(name, f"'{key}' is packed in a way that NumPy does not write")
    with archive.open(info) as handle:
        return _npy_array(handle, f"{name} ({key})", info.compress_size * _DEFLATE_RATIO)


def _npy_array(handle: _Handle, name: str, capacity: int) -> np.ndarray:
    """An array as `numpy.save` wrote it, never unpickled."""
    headers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        shape, fortran_order, dtype = headers[np.lib.format.read_magic(handle)](handle)
    except Exception as error:  # NumPy parses the header as Python, and on damage raises what the parser raises
        raise _damaged(name, "its header is not that of a NumPy array") from error
    if dtype.hasobject:
        raise ValueError(
            f"{name} must hold numbers; it holds Python objects, which are never unpickled."
            " Save it as an array of numbers."
        )
    flat = _payload(handle, dtype, shape, name, capacity)
    return flat.reshape(shape, order="F" if fortran_order else "C")


def _read_idx(path: Path, config: DataConfig) -> _Source:
    return _Source(path.name, _idx_array(path))


def _idx_array(path: Path) -> np.ndarray:
    with _reading(path) as handle:
        magic = handle.read(4)
        if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _IDX_TYPES or magic[3] == 0:
            raise _damaged(path.name, f"its first bytes {magic.hex(' ')} are not those of an IDX file")
        sizes = handle.read(4 * magic[3])
        if len(sizes) < 4 * magic[3]:
            raise _damaged(path.name, "its header ends too early")
        shape = tuple(np.frombuffer(sizes, ">u4").tolist())
        flat = _payload(handle, np.dtype(_IDX_TYPES[magic[2]]), shape, path.name, _capacity(path))
        return flat.reshape(shape)


def _capacity(path: Path) -> int:
    """The most bytes that a file can hold, unpacked."""
    return path.stat().st_size * (_DEFLATE_RATIO if path.suffix.lower() == ".gz" else 1)


def _payload(
    handle: io.BufferedIOBase | IO[bytes], dtype: np.dtype, shape: tuple[int, ...], name: str, capacity: int
) -> np.ndarray:
    """The values after a header, which must be exactly as many as it promises; checked before memory is taken."""
    size = math.prod(shape) * dtype.itemsize
    if size > capacity or min(shape, default=0) < 0:
        raise _damaged(name, f"its header promises {shape} values of {dtype}, more than it can hold")
    payload = handle.read(size + 1)  # one more, to find the end: there gzip and zip verify their checksum
    if len(payload) != size:
        came = "more" if len(payload) > size else f"only {len(payload)}"
        raise _damaged(name, f"its header promises {size} bytes of values, it holds {came}")
    return np.frombuffer(payload, dtype)


def _idx_file(folder: Path, stem: str) -> Path | None:
    names = [f"{form}-ubyte{packed}" for form in (stem, stem.replace("-idx", ".idx")) for packed in ("", ".gz")]
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _read_mnist_folder(folder: Path) -> _Source:
    parts = {}
    for part, prefix in (("train", "train"), ("test", "t10k")):
        if images := _idx_file(folder, f"{prefix}-images-idx3"):
            labels = _idx_file(folder, f"{prefix}-labels-idx1")
            parts[part] = _Source(images.name, _idx_array(images), _idx_array(labels) if labels else None)
    return _joined(folder.resolve().name, parts)


# ---- tables: .csv, .tsv


@dataclass(frozen=True, eq=False)
class _Table:
    """A CSV file whose header has been read."""

    columns: tuple[str, ...]
    rows: Iterator[list[str]]
    line: Callable[[], int]  # number of the line read last


def _read_csv(path: Path, config: DataConfig) -> _Source:
    with _csv_table(path) as table:
        columns = list(table.columns)
        place = None if config.label is None else _label_place(config.label, columns, path.name)
        if place is not None:
            columns.pop(place)
        numbers, labels = array("d"), []
        for cells in filter(None, table.rows):
            if len(cells) != len(table.columns):
                raise ValueError(
                    f"every line of {path.name} must hold {len(table.columns)} cells; line {table.line()} holds"
                    f" {len(cells)}. Correct that line."
                )
            if place is not None:
                labels.append(cells.pop(place))
            try:
                numbers.extend(map(float, cells))
            except ValueError:
                raise ValueError(_bad_cell(cells, columns, table.line(), path.name)) from None
    values = np.array(numbers).reshape(-1, max(len(columns), 1))
    return _Source(path.name, _as_integers(values), _parsed(labels) if labels else None, columns=tuple(columns))


@contextmanager
def _csv_table(path: Path) -> Iterator[_Table]:
    with _reading(path) as handle, io.TextIOWrapper(handle, "utf-8-sig", newline="") as text:
        first = text.readline()
        separators = "\t" if ".tsv" in path.suffixes else ",;\t"
        separator = max(separators, key=lambda mark: len(next(csv.reader([first], delimiter=mark), [])))
        reader = csv.reader(itertools.chain([first], text), delimiter=separator)
        head = next(filter(None, reader), [])
        has_names = not all(map(_is_number, head))
        names = [(has_names and name.strip()) or f"column {number}" for number, name in enumerate(head, 1)]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"columns of {path.name} must have different names; '{twice}' stands twice. Rename one.")
        rows = reader if has_names else itertools.chain([head], reader)
        yield _Table(tuple(names), rows, lambda: reader.line_num)


def _label_place(label: str, columns: list[str], name: str) -> int:
    if label not in columns:
        near = difflib.get_close_matches(label, columns, 1) or columns
        raise ValueError(f"--label must name a column of {name}; it has no '{label}'. Did you mean '{near[0]}'?")
    return columns.index(label)


def _bad_cell(cells: list[str], columns: list[str], line: int, name: str) -> str:
    cell, column = next(pair for pair in zip(cells, columns, strict=True) if not _is_number(pair[0]))
    came = f"holds the text '{cell}'" if cell.strip() else "is empty"
    return (
        f"every cell of {name} must be a number; column '{column}' in line {line} {came}."
        f" Correct or delete it, or use --label '{column}' if the column holds labels."
    )


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _as_integers(values: np.ndarray) -> np.ndarray:
    """Whole numbers as integers, so that the pixels of a CSV file are treated as pixels."""
    is_whole = np.array_equal(values, np.rint(values)) and np.abs(values).max(initial=0) < 2**53
    return values.astype(np.int64) if is_whole else values


def _parsed(labels: list[str]) -> np.ndarray:
    return np.array(labels, dtype=float) if all(map(_is_number, labels)) else np.array(labels)


# ---- images


def _read_image(path: Path, config: DataConfig) -> _Source:
    return _Source(path.name, _pixels([path], config))


def _read_image_folder(folder: Path, config: DataConfig) -> _Source:
    name = folder.resolve().name
    skipped: list[str] = []
    own: list[str] = []
    found: list[tuple[Path, str]] = []  # image, label
    for part, branch in (_split_folders(folder) or {"train": folder}).items():
        images = _labelled_images(branch, skipped)
        own += [part] * len(images)
        found += images
    if not found:
        raise ValueError(
            f"folder {name} must hold images, in it or in one sub-folder a label; none is there."
            f" Known suffixes: {', '.join(_IMAGE_SUFFIXES)}."
        )
    notes = (
        (f"files skipped because they are hidden or no images: {len(skipped)}, the first {skipped[0]}",)
        if skipped
        else ()
    )
    pixels = _pixels([path for path, _ in found], config)
    labels = np.array([label for _, label in found])
    return _Source(name, pixels, labels if all(labels) else None, np.array(own), notes=notes)


def _split_folders(folder: Path) -> dict[str, Path]:
    """The sub-folders of a folder that is split already: nothing but train, and valid or test or both."""
    known = {name: part for part, names in _SPLIT_NAMES.items() for name in names}
    branches = [item for item in _visible(folder) if item.is_dir()]
    parts = {known.get(branch.name.lower(), ""): branch for branch in branches}
    is_split = "train" in parts and "" not in parts and 1 < len(branches) == len(parts)
    return parts if is_split else {}


def _visible(folder: Path) -> list[Path]:
    return sorted(item for item in folder.iterdir() if not item.name.startswith("."))


def _labelled_images(folder: Path, skipped: list[str]) -> list[tuple[Path, str]]:
    """Images of a folder with the name of their sub-folder, or with "" where there are no sub-folders."""
    top = [(path, "") for path in _images_in(folder, skipped)]
    below = [
        (path, branch.name) for branch in _visible(folder) if branch.is_dir() for path in _images_in(branch, skipped)
    ]
    if top and below:
        raise ValueError(
            f"images must all be in sub-folders, one a label, or none; {folder.name} holds {top[0][0].name} beside the"
            f" sub-folder {below[0][1]}. Move them."
        )
    return top or below


def _images_in(folder: Path, skipped: list[str]) -> list[Path]:
    files = sorted(item for item in folder.iterdir() if item.is_file())
    is_image = [path.suffix.lower() in _IMAGE_SUFFIXES and not path.name.startswith(".") for path in files]
    skipped += [path.name for path, keep in zip(files, is_image, strict=True) if not keep]
    return list(itertools.compress(files, is_image))


def _pixels(paths: list[Path], config: DataConfig) -> np.ndarray:
    """All images in one array, (N, C, H, W) uint8, each decoded once."""
    mode = {"grey": "L", "rgb": "RGB", "auto": None}[config.channels] or _common_mode(paths)
    pixels = np.empty(0, np.uint8)
    for row, path in enumerate(paths):
        image = _decoded(path, mode, config.image_size)  # (H, W, C)
        if row == 0:
            pixels = np.empty((len(paths), *image.shape), np.uint8)
        if image.shape != pixels.shape[1:]:
            (height, width), (other_height, other_width) = pixels.shape[1:3], image.shape[:2]
            raise ValueError(
                f"images must have one size; {_short(paths[0])} is {height} high and {width} wide, {_short(path)}"
                f" {other_height} and {other_width}. Use --image-size {height} {width}."
            )
        pixels[row] = image
    return np.moveaxis(pixels, 3, 1)  # (N, H, W, C) -> (N, C, H, W)


def _short(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


@contextmanager
def _opened_image(path: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(path) as image:
            yield image
    except Exception as error:  # on a damaged file Pillow's decoders raise nearly anything
        raise ValueError(
            f"{_short(path)} must be an image; Pillow cannot read it ({type(error).__name__})."
            " Delete it or save it again."
        ) from error


def _common_mode(paths: list[Path]) -> str:
    for path in paths:
        with _opened_image(path) as image:
            if not _is_grey(image):
                return "RGB"
    return "L"


def _is_grey(image: Image.Image) -> bool:
    return image.mode in ("1", "L", "LA", "La", "I") or image.mode.startswith("I;16")


def _decoded(path: Path, mode: str, size: tuple[int, int] | None) -> np.ndarray:
    """One image, (H, W, C) uint8: upright, 8-bit, on white, in the given mode and size."""
    with _opened_image(path) as image:
        upright = ImageOps.exif_transpose(image)
        if upright.mode.startswith("I"):  # 16 bits: 65,535 is white, and Pillow's own conversion would clip at 255
            upright = Image.fromarray((np.asarray(upright).clip(0, 65535) / 257).round().astype(np.uint8))
        if upright.has_transparency_data:
            upright = upright.convert("RGBA")
            upright = Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright)
        flat = upright.convert(mode)
        if size is not None and (flat.height, flat.width) != size:
            flat = flat.resize((size[1], size[0]), Image.Resampling.BICUBIC)  # antialiased when it shrinks
        return np.asarray(flat).reshape(flat.height, flat.width, len(mode))


_ENDINGS = {
    "npy": (".npy",),
    "npz": (".npz",),
    "csv": (".csv", ".tsv"),
    "idx": (".idx", "-ubyte"),
    "image": _IMAGE_SUFFIXES,
}
_READERS: dict[str, Callable[[Path, DataConfig], _Source]] = {
    "npy": _read_npy,
    "npz": _read_npz,
    "csv": _read_csv,
    "idx": _read_idx,
    "image": _read_image,
}
