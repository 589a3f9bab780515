"""What must be said of data once they are read: how they were split, what they hold, and what was lost."""

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from variform.config.data import ROWS, DataConfig
from variform.config.words import quoted
from variform.data.dataset import PARTS, StoredRows, in_chunks
from variform.data.laws import laws_in_words
from variform.data.schema import Schema
from variform.data.sources.source import Source
from variform.data.splitting import count_duplicates, missing_parts


def notes_of_rows(
    source: Source,
    raw: Tensor | StoredRows,
    schema: Schema,
    own: np.ndarray,
    duplicates: dict[str, int],
    rows: dict[str, Tensor],
    unit: str,
) -> Iterator[str]:
    """How rows were split, where they stay, and which of them are equal."""
    # Of these a tenth, but for chance and for duplicates, which stay together.
    hashed = max(1, int((own == 0).sum()))
    valid, test = (f"{len(rows[part]) / hashed:.1%}" for part in ("valid", "test"))
    notes: dict[tuple[str, ...], str] = {
        (): "split: the source's own",
        (
            "valid",
        ): f"split: the source's own test set, validation taken from train by hash, {valid} of it",
        (
            "test",
        ): f"split: the source's own validation set, test taken from train by hash, {test} of it",
        (
            "valid",
            "test",
        ): f"split: by hash of each {unit}, {valid} for validation and {test} for test",
    }
    yield notes[tuple(missing_parts(own))]
    if isinstance(raw, StoredRows) and raw.on_disk:
        yield "the rows stay on disk: the files must not change while a run reads them"
    if duplicates["within"]:
        least = "" if source.keys is None else "at least "
        yield f"{least}{duplicates['within']} exact duplicates of earlier rows"
    if duplicates["across"]:
        yield f"{duplicates['across']} rows of the source's own test or validation set are also among its training rows"
    yield from _note_of_rounding(source, raw, schema)


def notes_of_weights(source: Source, rows: dict[str, Tensor], column: str | None) -> Iterator[str]:
    """How unequally the training rows count.

    Raises:
        ValueError: where all rows of a part that is trained on, or chosen by, count for nothing.
    """
    if source.weights is None:
        return
    for part in ("train", "valid"):
        if not source.weights[rows[part].numpy()].any():
            raise ValueError(
                f"`weight` must leave rows that count in each part; all weights of {part} in {quoted(column or '')} of "
                f"{source.name} are 0. Give some of them a weight, or use another `split_seed`."
            )
    weights = source.weights[rows["train"].numpy()]
    shares = weights / weights.mean()
    equal = weights.sum() ** 2 / np.square(weights).sum()
    yield (
        f"rows count by {quoted(column or '')}: from {shares.min():.3g} to {shares.max():.3g} times the mean, as many"
        f" as {equal:,.0f} equal ones of {len(weights):,}; the numbers of an evaluation are means over rows"
    )


def _note_of_rounding(source: Source, raw: Tensor | StoredRows, schema: Schema) -> Iterator[str]:
    """Values far from zero lose digits where nothing is taken off before they become float32."""
    is_wide = source.values.dtype.kind in "iu" and raw.dtype == torch.float64
    if is_wide and max(map(abs, (*schema.low, *schema.high))) > 2**53:
        yield f"{source.values.dtype} values are rounded to float64, about 16 digits"
    is_picture = schema.kind == "image" and raw.dtype == torch.float32
    lost = is_picture and not np.can_cast(source.values.dtype, np.float32)
    if lost or (raw.dtype == torch.float64 and not any(schema.shift)):
        yield f"{source.values.dtype} values are rounded to float32, about 7 digits"


def unit_of_split(
    source: Source, groups: np.ndarray, config: DataConfig, *, are_families_whole: bool
) -> str:
    """What the split is by, in words."""
    if config.group is None and source.families is not None and are_families_whole:
        return "file"
    if config.group is None:
        return "row" if source.keys is None else "group of rows"
    if source.groups is None and config.group == ROWS:
        return "row's number"
    count = len(np.unique(groups, axis=0))
    if source.groups is None:
        return f"of {count:,} families"
    return f"of {count:,} values of {quoted(config.group)}"


def notes_of_families(
    source: Source,
    rows: dict[str, Tensor],
    digests: np.ndarray,
    config: DataConfig,
    *,
    are_whole: bool,
) -> Iterator[str]:
    """Whether the frames of a file stayed together, where there are files of several."""
    if source.families is None or config.group is not None:
        return
    if not are_whole:
        yield (
            f"frames of one file are in several splits, because {source.name} has too few files for three:"
            " neighbours that are alike make the numbers of held-out rows better than those of another file would be"
        )
        return
    count = len(np.unique(source.families[source.families != ""]))
    yield (
        f"frames of one file are in one split: {count:,} files of several frames. Use `group='rows'` to split them one"
        " by one"
    )
    parts = np.zeros(len(digests), np.uint8)
    for number, part in enumerate(PARTS):
        parts[rows[part].numpy()] = number
    if repeats := count_duplicates(parts, digests)["across"]:
        yield f"{repeats:,} rows of the test or validation set are equal to training rows of other files"


def notes_of_channels(schema: Schema, scaling: str) -> Iterator[str]:
    """Whether channels have a scale each."""
    if schema.kind == "image" and schema.unit_names and scaling in ("unit", "standard"):
        yield (
            f"the {len(schema.unit_names)} channels have a scale each, as if each had a unit of its own;"
            " `scaling='common'` centres each and divides all by one number"
        )


def notes_of_cells(
    schema: Schema, raw: Tensor | StoredRows, config: DataConfig, *, is_open: bool
) -> Iterator[str]:
    """Kinds and laws of the columns of a mixed table, and how many values are missing."""
    if schema.kinds:
        yield f"columns, {'; '.join(_kinds_in_words(schema))}"
        yield from laws_in_words(schema, config)
    missing = 0
    if any(schema.gaps):
        missing = sum(int(chunk.isnan().sum()) for chunk in in_chunks(raw))
    if missing:
        option = "; `cells='numbers'` refuses them" if is_open else ""
        yield (
            f"{missing:,} of {math.prod(raw.shape):,} values are missing: they add nothing to any density{option}"
        )


def _kinds_in_words(schema: Schema) -> Iterator[str]:
    for kind in ("real", "positive", "bounded", "count", "binary", "ordinal"):
        names = [
            name for name, own in zip(schema.columns, schema.kinds, strict=True) if own == kind
        ]
        if names:
            yield f"{kind}: {', '.join(names)}"
    ordinals = [
        name for name, kind in zip(schema.columns, schema.kinds, strict=True) if kind == "ordinal"
    ]
    for name, categories in zip(schema.columns, schema.categories, strict=True):
        if categories and name not in ordinals:
            yield f"category: {name} ({len(categories)})"
