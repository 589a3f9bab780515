"""How raw values become the values that the model sees."""

import dataclasses
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Literal

import torch
from torch import Tensor

from variform.config.checks import checked
from variform.config.data import DataConfig
from variform.config.words import quoted
from variform.data.checks import require_binarisable, require_observed
from variform.data.columns import by_unit, extent
from variform.data.dataset import Dataset, rows_at_once
from variform.data.schema import Schema

Scaling = Literal["none", "unit", "standard", "common"]

_LEAST_CURVE = 8  # columns: fewer are no curve, whatever they hold
_MOST_SERIES = 3  # x, y and z
SMOOTH = 0.1
"""Roughness up to which columns are a curve."""
_MOST_NAMED = 5  # constant columns in a sentence


@checked
def with_scaling(
    schema: Schema, train: Dataset, choice: Scaling, config: DataConfig
) -> tuple[Schema, tuple[str, ...]]:
    """`schema` with a scaling and the binarisation of `config`: a pair a real column, one pair for all pixels.

    With it comes what must be said of columns that hold one value in all training rows. They stay, less that value; if
    they vary elsewhere, their scale is the range of all rows.
    """
    if schema.kinds and config.binarise != "none":
        raise ValueError(
            f"`binarise` is for images and plain tables; got {config.binarise} with a mixed table. Leave it out."
        )
    if schema.gaps:
        low, _ = extent(_columns(schema, train))
        require_observed(low, schema.columns, schema.source, " in a training row")
    shift, scale = _shift_and_scale(schema, train, choice)
    notes = _notes_of_constants(schema, shift, scale)
    low, high = torch.tensor([schema.low, schema.high], dtype=torch.float64)
    scale = torch.where(scale == 0, torch.where(high > low, high - low, 1.0), scale)
    length = len(schema.low)
    scaled = dataclasses.replace(
        schema,
        shift=tuple(shift.expand(length).tolist()),
        scale=tuple(scale.expand(length).tolist()),
        binarise=config.binarise,
        has_wide_logs="positive" in schema.kinds,
    )
    require_binarisable(scaled)
    _require_floats(scaled)
    return scaled, notes


def usual_scaling(schema: Schema, train: Dataset) -> tuple[Scaling, tuple[str, ...]]:
    """The scaling of data for which none is asked, and what is said of it."""
    if schema.kinds:
        return "standard", ()
    if schema.levels:
        return "unit", ()
    if min(schema.low) >= 0 and max(schema.high) <= 1:  # what is in [0, 1] already stays as it is
        return "none", ()
    if schema.kind == "image":
        return "unit", ()
    if schema.outline is not None and not schema.outline.has_heights:
        taken = "the rows are outlines, whose coordinates share a unit"
    elif not may_be_series(schema.columns) or (change := roughness(train)) > SMOOTH:
        return "standard", ()
    else:
        taken = (
            "the columns are taken for a curve or coordinates in one unit, as neighbours differ by "
            f"{change:.1%} of their variance"
        )
    fixed = sum(low == high for low, high in zip(schema.low, schema.high, strict=True))
    note = (
        f"{taken}: each is centred and all are divided by one number"
        + (f", also those {fixed} that are constant" if fixed else "")
        + "; `scaling='standard'` divides each by its own"
    )
    return "common", (note,)


def may_be_series(columns: tuple[str, ...]) -> bool:
    """Whether names of columns may be those of a curve: they differ in one number, but for up to three stems."""
    if any(len(re.findall(r"\d+(?:[.,]\d+)?", name)) > 1 for name in columns):
        return False  # such as t1 s2, a sensor at a time
    stems = Counter(re.sub(r"\d+(?:[.,]\d+)?", "", name) for name in columns)
    return len(stems) <= _MOST_SERIES and min(stems.values()) >= _LEAST_CURVE


def is_curve(rows: Dataset) -> bool:
    """Whether the columns of a table are points of a curve, or coordinates, in one unit."""
    schema = rows.schema
    is_table = schema.kind == "table" and not schema.kinds
    return is_table and may_be_series(schema.columns) and roughness(rows) <= SMOOTH


def roughness(data: Dataset) -> float:
    r"""How much neighbouring columns of a table differ, in shares of their variance: 2 of independent ones, 0 of equal.

    $\min_{l \le 3} \sum_{n,j} (c_{n,j+l} - c_{nj})^2 / \tfrac12 \sum_{n,j} (c_{n,j+l}^2 + c_{nj}^2)$ with
    centred columns c. The lags l of 2 and 3 are for coordinates x1, y1, x2, y2, ... Columns of another unit than
    their neighbours' make it large, as those do that do not go along with them.

    Args:
        data: Rows of a table; what is missing does not count.

    Reference:
        von Neumann (1941): the ratio of the mean square successive difference to the variance.

    Example:
        >>> from variform.data.reading import dataset_from
        >>> rows = torch.randn(1000, 1) * torch.linspace(1, 2, 20)
        >>> round(roughness(dataset_from(rows)), 3), round(roughness(dataset_from(torch.randn(1000, 20))))
        (0.001, 2)
    """
    size = rows_at_once(data.schema.shape)
    mean, _ = _mean_and_std(lambda: data.raw_batches(size))
    ratios = []
    for lag in range(1, min(_MOST_SERIES + 1, len(mean))):
        changes = squares = 0.0
        for chunk in data.raw_batches(size):
            centred = chunk.double() - mean
            first, second = centred[:, :-lag], centred[:, lag:]
            change = second - first
            changes += change.square().nansum().item()
            both = (first.square() + second.square()) / 2
            squares += both[~change.isnan()].sum().item()
        ratios.append(changes / squares if squares else 2.0)
    return min(ratios, default=2.0)


def _shift_and_scale(schema: Schema, train: Dataset, choice: Scaling) -> tuple[Tensor, Tensor]:
    size = rows_at_once(schema.shape)
    if schema.kinds:
        return _shift_and_scale_of_reals(schema, train, choice)
    if choice == "none":
        return torch.zeros(1), torch.ones(1)
    if choice == "common":
        return _centres_and_common_scale(schema, train)
    if choice == "unit" and schema.levels:
        return torch.zeros(1), torch.tensor([schema.levels - 1.0])
    if choice == "unit":
        low, high = torch.tensor([schema.low, schema.high], dtype=torch.float64)
        return low, high - low
    if schema.levels and schema.kind == "table":
        return _of_training(lambda: (raw.reshape(-1, 1) for raw in train.raw_batches(size)))
    return _of_training(lambda: _columns(schema, train))


def _columns(schema: Schema, train: Dataset) -> Iterator[Tensor]:
    """The training rows, as `by_unit` gives them."""
    return by_unit(train.raw_batches(rows_at_once(schema.shape)), apart=len(schema.low) > 1)


def _centres_and_common_scale(schema: Schema, train: Dataset) -> tuple[Tensor, Tensor]:
    """The mean of each column, and the root of the mean of the columns' variances; some columns may be constant."""
    if schema.kind == "image" and len(schema.low) == 1:
        raise ValueError(
            f"`scaling='common'` centres each column of a table; {schema.source} holds images. "
            "Use `scaling='standard'`, which gives all pixels one mean and one scale."
        )
    mean, std = _of_training(lambda: _columns(schema, train))
    return mean, std.square().mean().sqrt()


def _shift_and_scale_of_reals(
    schema: Schema, train: Dataset, choice: Scaling
) -> tuple[Tensor, Tensor]:
    """Of a mixed table: what the choice says for real columns; others begin at the end that their law has.

    A positive column is divided by its least value, a bounded one lies in [0, 1], and levels begin at 0. The most
    frequent spike of a real column is 0, without any rounding.
    """
    shift, scale = _of_laws(schema, train)
    reals = torch.tensor(
        [column for column, kind in enumerate(schema.kinds) if kind == "real"]
    ).long()
    if choice == "none" or not len(reals):
        return shift, scale
    if choice == "unit":
        low, high = torch.tensor([schema.low, schema.high], dtype=torch.float64)
        shifts, scales = low, high - low
    else:
        size = rows_at_once(schema.shape)
        shifts, scales = _of_training(
            lambda: (schema.without_spikes(raw) for raw in train.raw_batches(size))
        )
        _, widths = _of_training(lambda: train.raw_batches(size))
        scales = torch.where(scales > 0, scales, widths)  # of a column that is nothing but spikes
    if choice == "common":
        scales = scales[reals].square().mean().sqrt().repeat(len(scales))
    for column, spikes in enumerate(schema.spikes):
        if spikes and choice != "unit":
            shifts[column] = spikes[0][0]
    shift[reals] = shifts[reals]
    scale[reals] = scales[reals]
    return shift, scale


def _of_training(passes: Callable[[], Iterable[Tensor]]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each column; of one that holds one value, exactly that and 0."""
    low, high = extent(passes())
    is_constant = low == high
    _, exponent = torch.frexp(torch.where(is_constant, 1.0, high / 2 - low / 2))
    unit = torch.ldexp(torch.ones_like(low), exponent)  # squares of 1e300 or 1e-300 are no float64
    mean, std = _mean_and_std(lambda: (chunk.double() / unit for chunk in passes()))
    mean, std = mean * unit, std * unit
    return torch.where(is_constant, low, mean), torch.where(is_constant, 0.0, std)


def _of_laws(schema: Schema, train: Dataset) -> tuple[Tensor, Tensor]:
    """Shift and scale of the columns of a mixed table that are no real numbers."""
    shift = torch.zeros(len(schema.kinds), dtype=torch.float64)
    scale = torch.ones(len(schema.kinds), dtype=torch.float64)
    least = scale
    if "positive" in schema.kinds:
        size = rows_at_once(schema.shape)
        above = (raw.where(raw > 0, torch.nan) for raw in train.raw_batches(size))
        least, _ = extent(above)
    for column, kind in enumerate(schema.kinds):
        if kind == "positive":
            scale[column] = least[column]
        elif kind == "bounded":
            low, high = schema.bounds[column]
            shift[column], scale[column] = low, high - low
        elif kind == "ordinal" and not schema.categories[column]:
            shift[column] = schema.low[column]
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


def _notes_of_constants(schema: Schema, shift: Tensor, scale: Tensor) -> tuple[str, ...]:
    """What must be said of columns whose scale is 0 because they hold one value; refuses rows of nothing else."""
    if (scale == 0).all():
        raise ValueError(
            f"some column must vary; every training row of {schema.source} is the same. Give other rows."
        )
    constant = (scale == 0).nonzero().flatten().tolist()
    always = [column for column in constant if schema.low[column] == schema.high[column]]
    elsewhere = [column for column in constant if schema.low[column] != schema.high[column]]
    notes = []
    if always:
        notes.append(
            f"{_named(always, schema, shift)} in every row: such a column stays, less that value, and teaches a model"
            " nothing; `ignore`, of named columns, or deleting it leaves it out"
        )
    if elsewhere:
        notes.append(
            f"{_named(elsewhere, schema, shift)} in every training row and others elsewhere: to a model such rows are"
            " next to impossible, and their NLL means little; `ignore` or delete what need not be learned, or use"
            " another `split_seed`"
        )
    return tuple(notes)


def _named(columns: list[int], schema: Schema, values: Tensor) -> str:
    """Which columns hold one value, as the beginning of a sentence: not all of many."""
    shown = [
        f"{quoted(schema.unit_names[column])} ({values[column].item():.7g})"
        for column in columns[:_MOST_NAMED]
    ]
    if len(columns) > _MOST_NAMED:
        shown.append("...")
    verb = "column holds" if len(columns) == 1 else "columns hold"
    return f"{len(columns):,} of {len(schema.unit_names):,} {verb} one value, {', '.join(shown)},"


def _require_floats(schema: Schema) -> None:
    """Refuse values that are infinite once they are scaled and float32."""
    greatest = torch.finfo(torch.float32).max
    for column, ends in enumerate(schema.scaled_ranges()):
        if max(map(abs, ends)) > greatest:
            value = max(schema.low[column], schema.high[column], key=abs)
            raise ValueError(
                f"scaled values must be finite as float32, below {greatest:.3g}; {schema._named(column)} holds"
                f" {value:.7g}. Use `scaling='standard'`, or another unit."
            )
