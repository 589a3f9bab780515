"""How raw values become the values that the model sees."""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Literal

import torch
from torch import Tensor

from variform.config.data import DataConfig
from variform.config.words import quoted
from variform.data.checks import require_binarisable, require_observed
from variform.data.columns import extent
from variform.data.dataset import Dataset, rows_at_once
from variform.data.schema import Schema


def with_scaling(schema: Schema, train: Dataset, config: DataConfig) -> Schema:
    """`schema` with the scaling and binarisation of `config`: a pair for each real column, one pair for all pixels."""
    if schema.kinds and config.binarise != "none":
        raise ValueError(
            f"`binarise` is for images and plain tables; got {config.binarise} with a mixed table. Leave it out."
        )
    shift, scale = _shift_and_scale(schema, train, config.scaling)
    length = len(schema.low)
    scaled = dataclasses.replace(
        schema,
        shift=tuple(shift.expand(length).tolist()),
        scale=tuple(scale.expand(length).tolist()),
        binarise=config.binarise,
    )
    require_binarisable(scaled)
    return scaled


def _shift_and_scale(
    schema: Schema, train: Dataset, choice: Literal["auto", "none", "unit", "standard"]
) -> tuple[Tensor, Tensor]:
    size = rows_at_once(schema.shape)
    if schema.gaps:
        low, _ = extent(train.raw_batches(size), pooled=schema.kind == "image")
        require_observed(low, schema.columns, schema.source, " in a training row")
    if schema.kinds:
        return _shift_and_scale_of_reals(schema, train, choice)
    if choice == "auto":
        choice = _usual(schema)
    if choice == "none":
        return torch.zeros(1), torch.ones(1)
    if choice == "unit" and schema.levels:
        return torch.zeros(1), torch.tensor([schema.levels - 1.0])
    if choice == "unit":
        low, high = torch.tensor([schema.low, schema.high], dtype=torch.float64)
        _require_variation(low, high, schema, "row")
        return low, high - low
    pooled = bool(schema.levels) or schema.kind == "image"
    low, high = extent(train.raw_batches(size), pooled=pooled)
    _require_variation(low, high, schema, "training row")
    if pooled:
        return _mean_and_std(lambda: (raw.reshape(-1, 1) for raw in train.raw_batches(size)))
    return _mean_and_std(lambda: train.raw_batches(size))


def _usual(schema: Schema) -> Literal["none", "unit", "standard"]:
    """The scaling of plain data for which none is asked: what is in [0, 1] already stays as it is."""
    if schema.levels:
        return "unit"
    if min(schema.low) >= 0 and max(schema.high) <= 1:
        return "none"
    return "unit" if schema.kind == "image" else "standard"


def _shift_and_scale_of_reals(
    schema: Schema, train: Dataset, choice: Literal["auto", "none", "unit", "standard"]
) -> tuple[Tensor, Tensor]:
    """Of a mixed table: what the choice says for real columns; all others stay as they are."""
    shift = torch.zeros(len(schema.kinds), dtype=torch.float64)
    scale = torch.ones(len(schema.kinds), dtype=torch.float64)
    reals = torch.tensor(
        [column for column, kind in enumerate(schema.kinds) if kind == "real"]
    ).long()
    if choice == "none" or not len(reals):
        return shift, scale
    size = rows_at_once(schema.shape)
    only_reals = dataclasses.replace(
        schema, columns=tuple(schema.columns[column] for column in reals)
    )
    low, high = extent(train.raw_batches(size), pooled=False)
    _require_variation(low[reals], high[reals], only_reals, "training row")
    if choice == "unit":
        low, high = torch.tensor([schema.low, schema.high], dtype=torch.float64)
        shifts, scales = low, high - low
    else:
        shifts, scales = _mean_and_std(lambda: train.raw_batches(size))
    shift[reals] = shifts[reals]
    scale[reals] = scales[reals]
    return shift, scale


def _mean_and_std(passes: Callable[[], Iterable[Tensor]]) -> tuple[Tensor, Tensor]:
    """Mean and population standard deviation of each column, in float64, in two passes over the rows."""
    mean, count = torch.zeros(2, dtype=torch.float64)
    for chunk in passes():
        mean = mean + chunk.double().nansum(0)
        count = count + (~chunk.isnan()).sum(0)
    mean = mean / count
    squares = torch.zeros(())
    for chunk in passes():
        squares = squares + (chunk.double() - mean).square().nansum(0)
    return mean, (squares / count).sqrt()


def _require_variation(low: Tensor, high: Tensor, schema: Schema, rows: str) -> None:
    constant = (low == high).nonzero().flatten().tolist()
    if not constant:
        return
    column = constant[0]
    name = (
        f"column {quoted(schema.columns[column])}"
        if len(low) == len(schema.columns)
        else "every value"
    )
    raise ValueError(
        f"every column must vary to be scaled; {name} of {schema.source} is {low[column].item():.7g} in every"
        f" {rows}. Delete the column or use `scaling='none'`."
    )
