"""The verbs: what a source holds becomes a data set, a split and a schema."""

import dataclasses
import itertools
import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from variform.config.columns import with_schema
from variform.config.data import FAMILIES, OF_MIXED, ROWS, DataConfig
from variform.config.units import known_units
from variform.config.words import quoted
from variform.data.checks import (
    in_order,
    require_alike,
    require_binarisable,
    require_columns,
    require_finite,
    require_numbers,
    require_observed,
)
from variform.data.columns import (
    column_names,
    columns_with_gaps,
    have_units,
    modes,
    value_range,
    whole_numbers,
)
from variform.data.conditions import occupancy
from variform.data.dataset import (
    PARTS,
    Dataset,
    Splits,
    StoredRows,
    in_chunks,
)
from variform.data.days import days_between
from variform.data.groups import Near, group_digests, near_rows
from variform.data.labels import condition_of, contexts_of, hidden_labels, known_labels, label_index
from variform.data.laws import with_laws
from variform.data.mixed import as_mixed, known_categories
from variform.data.notes import (
    notes_of_cells,
    notes_of_channels,
    notes_of_families,
    notes_of_rows,
    notes_of_weights,
    unit_of_split,
)
from variform.data.outlines import Layout, layout_in
from variform.data.points import read_stations
from variform.data.scaling import usual_scaling, with_scaling
from variform.data.schema import Schema, as_array
from variform.data.shaping import in_form, like
from variform.data.sources.about import with_about
from variform.data.sources.formats import (
    FORMATS,
    FormatFacts,
    read_source,
    source_format,
)
from variform.data.sources.meaning import source_of
from variform.data.sources.objects import held_in, source_from, with_labels
from variform.data.sources.source import Source
from variform.data.sources.tables import table_of
from variform.data.sources.text_tables import Frame
from variform.data.splitting import (
    assigned,
    count_duplicates,
    digests_of,
    fingerprint,
    own_parts,
    split_rows,
    with_families,
)
from variform.data.storing import has_gaps, kept

_DEFAULTS = DataConfig()
_LOOKED_AT = 200  # training rows, by which it is known whether rows are outlines
_DARK = 64  # whole numbers below it are grey levels of their own, not those of 8 bits


def read(
    source: object,
    config: DataConfig = _DEFAULTS,
    *,
    labels: object = None,
    name: str | None = None,
) -> Splits:
    """Read, check, split and scale `source`: what a path names, or rows in memory, which mean the same as in a file.

    Rows in memory are

    - an array of NumPy, a tensor or a list of lists: (N, D) is a table; (N, H, W), (N, C, H, W) or (N, H, W, C) with
      C = 1 or 3 are images (where both readings are possible, channels come first) or, where they do not look so, a
      table: see `in_form`;
    - a DataFrame of pandas, whose index names the rows if it does not only number them;
    - a DataFrame of polars, a table of pyarrow, a relation of duckdb and whatever else gives its columns to Arrow
      (`__arrow_c_stream__`), and a Dataset of datasets;
    - a dictionary of columns, a list of dictionaries or an array with names of fields.

    Paths are those of tables (CSV and other text, workbooks, Parquet, Feather, JSON lines), arrays (.npy, .npz, IDX,
    HDF5, .mat and .safetensors files), packed or not, folders of images or of .npy files and folders in the MNIST
    layout; the built-in names `digits`, `brackets` and `sprites`, or `sprites:N` for N of the sprites, win over files
    of those names (write ./digits for the file).

    Where `config.cells` leaves it open, missing cells of a table are gaps, and a column of words, or a kind that is
    declared, makes it mixed: a note says so.

    Pixels are kept as bytes, other numbers as float32, or float64 where that changes them. Large .npy files stay on
    disk, as `DataConfig.memory_map` says; more than 100,000 sprites are rendered when they are asked for.

    The split is the source's own, or by hash of each row. `unit` scaling takes the range of all rows, so that held-out
    rows also fall in [0, 1]: it looks at their least and greatest values and at nothing else of them. `standard`
    scaling looks at training rows only.

    Args:
        source: A file, a folder or a built-in name, or rows in memory.
        config: How to read it.
        labels: One label a row, numbers or text, of rows in memory whose labels are no column.
        name: What messages call rows in memory; `array` or `table` by default.

    Raises:
        FileNotFoundError: if the source does not exist.
        TypeError: for what holds no rows.
        ValueError: if it cannot be read, holds something a model cannot learn from, or an option does not apply to it.

    Example:
        >>> read("digits").schema.shape
        (1, 8, 8)
        >>> splits = read(torch.randn(1000, 3) * 5)
        >>> splits.train.prepared().std(0, correction=0).numpy().round(3)
        array([1., 1., 1.], dtype=float32)
    """
    described = config.schema
    config, values = with_schema(config, is_mixed=config.cells in ("auto", "mixed"))
    splits = _read(source, config, labels, name)
    if lacking := [column for column in values if column not in splits.schema.columns]:
        raise ValueError(
            f"`schema` must name columns of {splits.schema.source}; {described} has {quoted(lacking[0])}, which is"
            " none. Correct its name, or leave it out."
        )
    return splits


def _read(source: object, config: DataConfig, labels: object, name: str | None) -> Splits:
    if not isinstance(source, str | os.PathLike):
        return _splits(source_from(source, config, labels, name), config)
    if labels is not None or name is not None:
        field = "name" if labels is None else "labels"
        raise ValueError(
            f"`{field}` is for rows in memory; got the path {os.fspath(source)}, which has its own. Leave it out."
        )
    return _splits(read_source(source, config), config)


def dataset_from(x: Tensor, *, gaps: bool = False) -> Dataset:
    """A data set of values that are ready for the model: shift 0, scale 1, no split.

    Args:
        x: (N, D) for a table, or (N, C, H, W) for images; integers become float32.
        gaps: NaN is a missing value.

    Raises:
        ValueError: for another shape, for no rows, for infinite values and those that are NaN without `gaps`, and with
            it for a column whose values are all missing.

    Example:
        >>> dataset_from(torch.rand(10, 1, 8, 8)).schema.kind
        'image'
    """
    raw = x.detach().to(torch.promote_types(x.dtype, torch.float32))
    if raw.ndim not in (2, 4) or raw.numel() == 0:
        raise ValueError(
            f"x must be (N, D), or (N, C, H, W), and not empty; its shape is {tuple(x.shape)}."
            " Reshape it."
        )
    return Dataset(raw, _unscaled_schema(raw, Source("array", as_array(raw)), gaps=gaps))


def read_rows(
    source: object, schema: Schema, config: DataConfig = _DEFAULTS, *, name: str | None = None
) -> Dataset:
    """Read all rows of another source in the form of data that are known already.

    Nothing is split and no scaling is learned. The schema of the result is `schema` with the name and the range of the
    new rows. Images are resized, flattened images take their shape back, and labels are kept if all are known.

    Args:
        source: Any source that `read` takes, or one image. An array holds the categories of a mixed table by their
            numbers in `schema.categories`, a table by their names.
        schema: Of the data the model was trained on.
        config: How these were read, or how to read others: what says where in a file the rows are and how its numbers
            and gaps are written. What the schema knows goes first.
        name: What messages call rows in memory.

    Raises:
        FileNotFoundError: if the source does not exist.
        TypeError: for what holds no rows.
        ValueError: as `read`, and for rows of another shape, other columns or other discrete levels.

    Example:
        >>> schema = read("digits").schema
        >>> len(read_rows("digits", schema))
        1797
        >>> designs = read({"mass": range(90), "drag": range(90, 180)}).schema
        >>> read_rows([{"drag": 91, "mass": 1}], designs).raw
        tensor([[ 1., 91.]])
    """
    config, _ = with_schema(config, is_mixed=bool(schema.kinds))
    return _rows_like(_source_like(source, schema, config, name), schema)


def read_like(
    source: object, schema: Schema, config: DataConfig = _DEFAULTS, *, labels: object = None
) -> Splits:
    """Read, check and split another source in the form of data that are known already, for a model to go on with.

    The rows are scaled as those data were, whatever their own mean and spread, so that codes mean the same. Kinds and
    categories of columns and conditions are those of `schema`; its ranges are widened by what the new rows hold.

    Args:
        source: Any source that `read_rows` takes.
        schema: Of the data the model was trained on.
        config: As of `read_rows`; `group`, `tolerance`, `split_seed`, `weight` and `labelled` as of `read`.
        labels: As of `read`.

    Raises:
        FileNotFoundError, TypeError, ValueError: as `read_rows`, and for rows that leave a part empty.

    Example:
        >>> first = read({"mass": range(90), "drag": range(90, 180)})
        >>> more = read_like({"drag": range(200), "mass": range(200)}, first.schema)
        >>> more.schema.scale == first.schema.scale, more.schema.high, more.scaling
        (True, (199.0, 199.0), 'known')
    """
    config, _ = with_schema(config, is_mixed=bool(schema.kinds))
    found = _source_like(source, schema, config)
    if labels is not None:
        found = with_labels(found, labels, config)
    return _splits(found, config, schema)


def _source_like(
    source: object, schema: Schema, config: DataConfig, name: str | None = None
) -> Source:
    """What a reader finds in another source, in the form of `schema` as far as its names and types say it."""
    if not isinstance(source, str | os.PathLike):
        held = held_in(source, name)
        if isinstance(held, Frame):
            return _table_like(_with_names_of(held, schema), schema, config)
        return Source(name or "array", held)
    form = FORMATS[source_format(source)]
    if form.has_columns and schema.kind == "table" and config.key is None:
        own = {field: getattr(config, field) for field in OF_A_FILE}
        conditions = tuple(condition.name for condition in schema.conditions)
        frame = table_of(source, DataConfig(**own), known=(*schema.columns, *conditions))
        return _table_like(frame, schema, config)
    found = read_source(source, _config_like(form, schema, config))
    if config.about is not None and found.names is not None:
        is_needed = {condition.name for condition in schema.conditions} - {"label"}
        found = with_about(found, config, may_lack=not is_needed)
    _require_depth(found, schema)
    return found


def _with_names_of(frame: Frame, schema: Schema) -> Frame:
    """A table without names of its own, as an array of texts is, under the names that are expected."""
    if frame.is_named or len(frame.columns) != len(schema.columns):
        return frame
    return dataclasses.replace(frame, columns=schema.columns)


def _require_depth(source: Source, schema: Schema) -> None:
    """Refuse 8-bit images where the model knows others: their numbers are of another unit."""
    is_known = schema.kind == "table" or schema.levels is not None
    if source.names is None or source.values.dtype != np.uint8 or is_known:
        return
    raise ValueError(
        f"images must hold numbers as those of {schema.source}, from {schema.low[0]:.7g} to {schema.high[0]:.7g};"
        f" {source.name} has 8-bit images. Give images of the same depth."
    )


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
        given: What a conditional model is conditioned on in each row, as `Schema.contexts` takes it.
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
    rows = len(values) if values.ndim else 0
    contexts = schema.contexts(given or {}, rows, unknown=unknown)
    data = _rows_like(Source(name, values), dataclasses.replace(schema, conditions=()))
    schema = dataclasses.replace(data.schema, conditions=schema.conditions)
    return dataclasses.replace(
        data, schema=schema, contexts=contexts if schema.conditions else None
    )


def _rows_like(source: Source, schema: Schema) -> Dataset:
    source, raw, rows_schema = _in_form_of(source, schema)
    require_binarisable(rows_schema)
    contexts = contexts_of(source, schema.conditions)
    labels = known_labels(source, schema.classes)
    return _all_rows(source, raw, rows_schema, labels, contexts)


def _in_form_of(source: Source, schema: Schema) -> tuple[Source, Tensor | StoredRows, Schema]:
    """A source in the form of `schema`, its rows, and the schema with their name and range."""
    source = in_order(source, schema)
    if source.dates and schema.dates:
        source = _since_the_same_days(source, schema)
    if schema.kinds:
        source = known_categories(source, schema)
    raw = kept(like(source, schema.shape, is_image=schema.kind == "image"))
    low, high = require_alike(raw, source, schema)
    whole = whole_numbers(raw, apart=len(schema.low) > 1)
    rows_schema = dataclasses.replace(schema, low=low, high=high, whole=whole, source=source.name)
    return source, raw, rows_schema


def _since_the_same_days(source: Source, schema: Schema) -> Source:
    """The source with dates as days since the day 0 of the schema's columns."""
    values = np.array(source.values, np.float64)
    for column, (own, first) in enumerate(zip(source.dates, schema.dates, strict=True)):
        if own and first:
            values[:, column] += days_between(first, own)
    return dataclasses.replace(source, values=values, dates=schema.dates)


def _splits(source: Source, config: DataConfig, known: Schema | None = None) -> Splits:
    """The parts of a source, scaled by its own training rows, or in the form of data that are `known`."""
    require_numbers(source)
    was_open = known is None and config.cells == "auto"
    if known is None:
        source, config, raw, unscaled = _in_own_form(source, config)
    else:
        source, raw, unscaled = _in_form_of(source, known)
        unscaled = _widened(unscaled, known)
    classes, labels = label_index(source.labels)
    unscaled = dataclasses.replace(unscaled, classes=classes, label=config.label or unscaled.label)
    own = own_parts(source.own, len(raw))
    digests, alike = _digests(source, raw)
    near = near_rows(raw, unscaled, config)
    groups = group_digests(source, alike, near, config.group)
    rows, are_families_whole = _split(source, own, groups, config)
    unit = unit_of_split(source, groups, config, are_families_whole=are_families_whole)
    leaks, notes_of_leaks = _leaks(source, own, alike, near, rows, config)
    train = rows["train"]
    beside = (*source.given, *source.responses)
    units = known_units((*unscaled.columns, *beside), config.units, source.name)
    unscaled = dataclasses.replace(unscaled, units=unscaled.units | units)
    if known is None:
        unscaled = dataclasses.replace(unscaled, outline=_outline(unscaled, raw, train, config))
        schema, scaling, notes_of_scaling = _scaled(unscaled, raw, train, source, config)
    else:
        schema, scaling = unscaled, "known"
        notes_of_scaling = (f"scaled as {known.source} was, so that codes mean the same",)
    conditions = schema.conditions
    contexts = contexts_of(source, conditions)
    # The rows, as the source has them: no label is hidden yet.
    whole_rows = (contexts, conditions, unscaled.categories)
    if config.labelled is not None:
        contexts, labels = hidden_labels(contexts, labels, schema, train, config)
    if contexts is not None:
        schema = dataclasses.replace(schema, occupancy=occupancy(conditions, contexts[train]))
    schema = dataclasses.replace(schema, modes=modes(Dataset(raw, schema, rows=train)))
    duplicates = count_duplicates(own, digests)
    whole = _all_rows(source, raw, schema, labels, contexts)
    return Splits(
        **{part: _part(whole, rows[part]) for part in PARTS},
        schema=schema,
        duplicates=duplicates,
        fingerprint=fingerprint(
            raw,
            own,
            digests,
            classes,
            labels,
            whole_rows,
            weights=source.weights,
            is_sampled=source.keys is not None,
        ),
        scaling=scaling,
        leaks=leaks,
        notes=(
            *source.notes,
            *notes_of_rows(source, raw, schema, own, duplicates, rows, unit),
            *notes_of_families(source, rows, digests, config, are_whole=are_families_whole),
            *notes_of_leaks,
            *notes_of_weights(source, rows, config.weight),
            *notes_of_channels(schema, scaling),
            *notes_of_cells(schema, raw, config, is_open=was_open and not schema.kinds),
            *notes_of_scaling,
        ),
    )


def _outline(
    schema: Schema, raw: Tensor | StoredRows, train: Tensor, config: DataConfig
) -> Layout | None:
    """How the rows are curves in a plane, None where they are none."""
    is_of_numbers = schema.kind == "table" and not schema.kinds
    stations = None if config.stations is None else read_stations(config.stations)
    if not is_of_numbers and stations is not None:
        raise ValueError(
            f"`stations` is for tables of real numbers, the heights of outlines; {schema.source} holds others. Leave "
            "it out."
        )
    if not is_of_numbers:
        return None
    some = raw.index_select(0, train[:_LOOKED_AT]).double().numpy()
    return layout_in(some, schema.columns, stations, has_unit=bool(schema.common_unit))


def _in_own_form(
    source: Source, config: DataConfig
) -> tuple[Source, DataConfig, Tensor | StoredRows, Schema]:
    """A source shaped as it asks for, its cells as they are, its rows, and what these are, unscaled."""
    source = in_form(source, config.shape)
    config = _with_kinds(source, config)
    kinds, categories = (), ()
    if config.cells == "mixed":
        source, kinds, categories = as_mixed(source, config)
    if not kinds and (given := [name for name in OF_MIXED if getattr(config, name)]):
        raise ValueError(f"`{given[0]}` is for `likelihood='mixed'`; got another. Leave it out.")
    raw = kept(source)
    if config.cells == "auto":
        config = dataclasses.replace(config, cells=_cells_in(raw))
    unscaled = _unscaled_schema(raw, source, gaps=config.cells != "numbers")
    if kinds:
        unscaled = dataclasses.replace(unscaled, kinds=kinds, categories=categories, levels=None)
    return source, config, raw, unscaled


def _scaled(
    unscaled: Schema, raw: Tensor | StoredRows, train: Tensor, source: Source, config: DataConfig
) -> tuple[Schema, str, tuple[str, ...]]:
    """The schema with laws, scaling and conditions by the training rows, the scaling, and what is said of it."""
    if unscaled.kinds:
        unscaled = with_laws(unscaled, Dataset(raw, unscaled, rows=train), config)
    unscaled_train = Dataset(raw, unscaled, rows=train)
    scaling, notes = config.scaling, ()
    if scaling == "auto":
        scaling, notes = usual_scaling(unscaled, unscaled_train)
    schema, constants = with_scaling(unscaled, unscaled_train, scaling, config)
    conditions = tuple(condition_of(name, source, train.numpy()) for name in config.condition)
    return dataclasses.replace(schema, conditions=conditions), scaling, (*constants, *notes)


def _widened(schema: Schema, known: Schema) -> Schema:
    """The schema of new rows with the ranges of these and of those that are known."""
    low = tuple(map(min, schema.low, known.low))
    high = tuple(map(max, schema.high, known.high))
    whole = tuple(one and other for one, other in zip(schema.whole, known.whole, strict=True))
    return dataclasses.replace(schema, low=low, high=high, whole=whole)


def _with_kinds(source: Source, config: DataConfig) -> DataConfig:
    """The configuration, with mixed cells if it leaves them open and the source has what only mixed tables have."""
    is_declared = any(getattr(config, field) for field in OF_MIXED)
    has_kinds = any(source.categories) or (is_declared and source.values.ndim == 2)
    if config.cells == "auto" and has_kinds:
        return dataclasses.replace(config, cells="mixed")
    return config


def _cells_in(raw: Tensor | StoredRows) -> Literal["numbers", "gaps"]:
    """What cells are where nobody says it: NaN is a gap in a table, and an accident in pictures."""
    return "gaps" if raw.ndim == 2 and has_gaps(raw) else "numbers"


def _leaks(
    source: Source,
    own: np.ndarray,
    alike: np.ndarray,
    near: Near | None,
    rows: dict[str, Tensor],
    config: DataConfig,
) -> tuple[dict[str, float | None], tuple[str, ...]]:
    """Shares of test rows that are near a training row, under both splits, and what is said of them."""
    if near is None:
        return {}, ()
    by_row = assigned(own, alike, config.split_seed)
    by_group = rows
    if config.group is None:
        families = group_digests(source, alike, near, FAMILIES)
        by_group = assigned(own, families, config.split_seed)
    leaks = {"by_row": near.leak(by_row), "by_group": near.leak(by_group)}
    shares = {
        name: "there are no test rows that are"
        if leak is None
        else f"{leak:.1%} of the test rows are"
        for name, leak in leaks.items()
    }
    what = FAMILIES if config.group is None else config.group
    note = (
        f"leak: split by hash of each row, {shares['by_row']} nearly the same as a training row; split by group "
        f"(`group={what!r}`), {shares['by_group']}; nearly the same are rows within {near.words}{near.option}"
    )
    return leaks, (note,)


def _digests(source: Source, raw: Tensor | StoredRows) -> tuple[np.ndarray, np.ndarray]:
    """What tells rows apart, and what rows that must stay in one part have in common, (N, bytes)."""
    if source.keys is None:
        return digests_of(raw)
    digests = source.keys.astype("<i8").view(np.uint8)
    return digests, digests[:, :8]


def _split(
    source: Source, own: np.ndarray, groups: np.ndarray, config: DataConfig
) -> tuple[dict[str, Tensor], bool]:
    """Which rows are in which split, and whether families are whole: they are where they are enough for three parts."""
    seed, name = config.split_seed, source.name
    if source.families is None or config.group is not None:
        return split_rows(own, groups, seed, name), True
    try:
        return split_rows(own, with_families(groups, source.families), seed, name), True
    except ValueError:
        return split_rows(own, groups, seed, name), False


def _part(whole: Dataset, rows: Tensor) -> Dataset:
    """Some of the rows; those in memory are copied, so that a batch is found in one step instead of two."""
    if isinstance(whole.raw, Tensor):
        return whole.take(rows)
    return Dataset(whole.raw, whole.schema, rows=rows, dtype=whole.dtype, **whole.beside(rows))


def _all_rows(
    source: Source,
    raw: Tensor | StoredRows,
    schema: Schema,
    labels: Tensor | None,
    contexts: Tensor | None,
) -> Dataset:
    """The rows of a source with all that stands beside them."""
    return Dataset(
        raw,
        schema,
        labels,
        contexts=contexts,
        index=_index(source),
        names=source.names,
        dtype=torch.float32,
        responses=source.responses,
        weights=None if source.weights is None else torch.tensor(source.weights),
    )


def _index(source: Source) -> Tensor:
    """Number of each row in the source, (N,) int64."""
    return (
        torch.arange(len(source.values)) if source.index is None else torch.from_numpy(source.index)
    )


def _unscaled_schema(raw: Tensor | StoredRows, source: Source, *, gaps: bool = False) -> Schema:
    """What `raw`, the rows of `source`, holds, with shift 0 and scale 1; with `gaps` values may be missing."""
    is_image = raw.ndim == 4
    columns = () if is_image else column_names(source)
    require_finite(
        raw,
        source,
        columns,
        gaps=gaps,
        hint="" if gaps else ", or use `cells='gaps'` where NaN is a gap",
    )
    apart = have_units(raw)
    low, high = value_range(raw, source, apart=apart)
    require_observed(torch.tensor(low, dtype=torch.float64), columns, source.name, "")
    levels = source.levels
    if levels is None and all(
        bool(((x == 0) | (x == 1) | x.isnan()).all()) for x in in_chunks(raw)
    ):
        levels = 2
    elif levels is None and is_image and not raw.dtype.is_floating_point:
        is_dark = high[0] < _DARK and not (source.are_pictures and source.values.dtype == np.uint8)
        levels = int(high[0]) + 1 if is_dark else 256
    return Schema(
        kind="image" if is_image else "table",
        shape=tuple(raw.shape[1:]),
        columns=columns,
        classes=(),
        low=low,
        high=high,
        whole=whole_numbers(raw, apart=apart),
        shift=(0.0,) * len(low),
        scale=(1.0,) * len(low),
        levels=levels,
        binarise="none",
        source=source.name,
        gaps=columns_with_gaps(raw, apart=apart) if gaps else (),
        dates=source.dates,
    )


OF_A_FILE = (
    *("key", "header", "sep", "decimal", "thousands", "na_values", "encoding", "sheet_name"),
    *("skiprows", "frames", "background", "memory_map"),
)
"""What of a configuration says where in a file the rows are, and how they are written there."""


def _config_like(form: FormatFacts, schema: Schema, config: DataConfig) -> DataConfig:
    """How to read a source without columns so that it comes out in the form of `schema`."""
    own = {field: getattr(config, field) for field in OF_A_FILE if field in form.options}
    if "image_size" in form.options and schema.kind == "image":
        channels, height, width = schema.shape
        colours: Literal["grey", "rgb"] = "grey" if channels == 1 else "rgb"
        return DataConfig(**own, image_size=(height, width), channels=colours)
    if form.has_columns:
        conditions = tuple(condition.name for condition in schema.conditions)
        return DataConfig(
            **own,
            key=config.key,
            cells=_cells_of(schema),
            label=schema.label,
            condition=conditions,
        )
    names = schema.columns
    return DataConfig(**own, cells=_cells_of(schema), categories=_categories_among(names, schema))


def _table_like(frame: Frame, schema: Schema, config: DataConfig) -> Source:
    """The rows of a table whose columns have names, in the form of `schema`."""
    conditions = tuple(condition.name for condition in schema.conditions)
    responses = _among(config.response, frame.columns)
    beside = {config.id, config.weight, *responses, *_among(config.ignore, frame.columns)}
    label = next((name for name in (config.label, schema.label) if name in frame.columns), None)
    has_group = config.group not in (FAMILIES, ROWS) and config.group in frame.columns
    group = config.group if has_group else None
    values = [name for name in frame.columns if name not in (label, group, *conditions, *beside)]
    require_columns(values, schema, frame.name)
    config = DataConfig(
        label=label,
        condition=conditions,
        na_values=config.na_values,
        decimal=config.decimal,
        thousands=config.thousands,
        cells=_cells_of(schema),
        categories=_categories_among(frame.columns, schema),
        reals=_numbers_among(frame.columns, schema),
        columns=schema.columns,
        id=config.id if config.id in frame.columns else None,
        response=responses,
        weight=config.weight if config.weight in frame.columns else None,
        group=group,
    )
    known_words = frozenset(itertools.chain.from_iterable(schema.categories))
    return source_of(frame, config, known_words=known_words)


def _among(given: Sequence[str], columns: Sequence[str]) -> tuple[str, ...]:
    """The columns that an option names and that are there; commas may separate names that hold none."""
    names = itertools.chain.from_iterable(
        [name] if name in columns else name.split(",") for name in given
    )
    return tuple(name for name in names if name in columns)


def _cells_of(schema: Schema) -> Literal["numbers", "gaps", "mixed"]:
    """What the cells of a table in the form of `schema` may be."""
    if schema.kinds:
        return "mixed"
    return "gaps" if schema.gaps else "numbers"


def _categories_among(columns: Sequence[str], schema: Schema) -> tuple[str, ...]:
    """The columns of a source that hold categories in `schema`."""
    pairs = zip(schema.columns, schema.categories, strict=bool(schema.kinds))
    return tuple(name for name, names in pairs if names and name in columns)


def _numbers_among(columns: Sequence[str], schema: Schema) -> tuple[str, ...]:
    """The columns of a source that hold numbers in a mixed `schema`."""
    pairs = zip(schema.columns, schema.categories, strict=bool(schema.kinds))
    return tuple(name for name, names in pairs if not names and name in columns)
