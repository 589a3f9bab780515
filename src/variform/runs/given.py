"""What is asked of new rows by name: conditions that the model was trained under, and any column of its rows."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from variform.config.words import listed, quoted
from variform.data.conditions import Condition, Range, by_condition, occupancy, remark
from variform.data.dataset import Dataset
from variform.data.days import days_between
from variform.data.schema import Schema
from variform.evaluation.partial import Array, complete
from variform.model.vae import VAE
from variform.runs.folder import Run, contexts_given, schema_of

_ENOUGH = 5  # training rows in a range, so that new ones are not copies of one
_CONTEXTS = 50  # of training rows, among which the data say which fit what is fixed


@dataclass(frozen=True)
class Asked:
    """What new rows must have.

    Args:
        schema: What the rows are.
        conditions: A value or a range of conditions, as it was written.
        fixed: Values of columns by name, in their own units, of categories their numbers.
        between: Ranges of columns by name.
    """

    schema: Schema
    conditions: dict[str, str] = field(default_factory=dict)
    fixed: dict[str, float] = field(default_factory=dict)
    between: dict[str, Range] = field(default_factory=dict)

    @property
    def has_columns(self) -> bool:
        """Whether a column of the rows themselves is asked for."""
        return bool(self.fixed or self.between)

    @property
    def has_ranges(self) -> bool:
        """Whether a condition must lie in a range."""
        return bool(_condition_ranges(self.schema, self))

    def part(self, rows: int, contexts: Tensor | None) -> Dataset:
        """As many rows of which only what is fixed is known, for `evaluation.partial.complete`."""
        raw = torch.full((rows, len(self.schema.columns)), math.nan, dtype=torch.float64)
        for name, value in self.fixed.items():
            raw[:, self.schema.columns.index(name)] = value
        silenced = ~raw.isnan() & self.schema.inactive(raw)
        if silenced.any():
            name = self.schema.columns[int(silenced[0].nonzero()[0])]
            raise ValueError(
                f"a column that is fixed must be active; {quoted(name)} is not at the flag that is fixed too. "
                "Leave one out."
            )
        if not any(self.schema.is_far):
            raw = raw.float()
        return Dataset(raw, self.schema.with_gaps(), contexts=contexts, dtype=torch.float32)


def asked_for(schema: Schema, given: Sequence[str]) -> Asked:
    """What `given` asks for: name=value or name=low..high of conditions and columns; an open end is the data's.

    Args:
        schema: What a model knows of its data.
        given: Pairs.

    Raises:
        ValueError: for another form, a name that is neither, and a value that the column cannot have.

    Example:
        >>> from variform.data.reading import dataset_from
        >>> schema = dataset_from(torch.tensor([[1.0, 5.0], [9.0, 6.0]])).schema
        >>> asked = asked_for(schema, ["column 1=2..", "column 2=5.5"])
        >>> asked.fixed, asked.between
        ({'column 2': 5.5}, {'column 1': (2.0, 9.0)})
    """
    asked = Asked(schema)
    conditions = [condition.name for condition in schema.conditions]
    known = [*conditions, *schema.columns]
    for pair in given:
        name, text = _name_and_value(pair, known)
        if name in conditions:
            asked.conditions[name] = text
        elif (ends := _ends_in(text)) and not _is_named(schema, name, text):
            asked.between[name] = _range(schema, name, ends)
        else:
            asked.fixed[name] = _value(schema, name, text)
    return asked


def _name_and_value(pair: str, known: Sequence[str]) -> tuple[str, str]:
    """The two sides of name=value, where either may hold a = of its own."""
    if "=" not in pair:
        raise ValueError(
            f"`given` must be of the form name=value; got {pair}. Write for example label=3."
        )
    fitting = [name for name in known if pair.startswith(f"{name}=")]
    if not fitting:
        names = (
            listed(known) if known else "no one, for this model has no columns and no conditions"
        )
        raise ValueError(
            f"`given` must name one of {names}; got {quoted(pair.split('=')[0])}. Use a name of these."
        )
    name = max(fitting, key=len)
    return name, pair[len(name) + 1 :]


def _ends_in(text: str) -> tuple[str, str] | None:
    """The two ends of a range, one of which may be empty; None for what is none."""
    low, dots, high = text.partition("..")
    return (low, high) if dots and (low or high) else None


def _is_named(schema: Schema, name: str, text: str) -> bool:
    column = schema.columns.index(name)
    return bool(schema.kinds) and text in schema.categories[column]


def _range(schema: Schema, name: str, ends: tuple[str, str]) -> Range:
    column = schema.columns.index(name)
    low, high = ends
    first = _value(schema, name, low) if low else schema.low[column]
    last = _value(schema, name, high) if high else schema.high[column]
    return first, last


def _value(schema: Schema, name: str, text: str) -> float:
    """A value of a column as a number in its own unit, of a category or a named level its number."""
    column = schema.columns.index(name)
    categories = schema.categories[column] if schema.kinds else ()
    if categories:
        if text not in categories:
            raise ValueError(
                f"{quoted(name)} must be one of {listed(categories)}; got {quoted(text)}. Choose one of them."
            )
        return float(categories.index(text))
    try:
        if schema.dates and schema.dates[column]:
            return float(days_between(schema.dates[column], text))
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        what = "a date" if schema.dates and schema.dates[column] else "a number"
        raise ValueError(
            f"{quoted(name)} must be {what}, or a range of two as 2..3; got {quoted(text)}. Give one."
        )
    row = torch.full((len(schema.columns),), math.nan, dtype=torch.float64)
    row[column] = value
    possible = schema.tidy(row)[column].item()
    if abs(possible - value) > 1e-9 * abs(value):
        raise ValueError(
            f"{quoted(name)} must be a value that the column can have; got {text}. Give for example {possible:.7g}."
        )
    return value


def contexts_asked(run: Run, asked: Asked, rows: int, *, seed: int = 0) -> Tensor | None:
    """Contexts for new rows, (C,) for one of all or (rows, C): what is asked for, and the rest of random training rows.

    Where conditions must lie in a range, training rows that do say which values come together; where hardly one does,
    the range is filled evenly.
    """
    schema = asked.schema
    ranges = _condition_ranges(schema, asked)
    exact = {name: text for name, text in asked.conditions.items() if name not in ranges}
    if not ranges and (exact or not schema.conditions):
        return contexts_given(run, [f"{name}={text}" for name, text in exact.items()], rows)
    if not ranges:
        return contexts_given(run, [], rows, seed=seed)
    values = {**exact, **{name: low for name, (low, _) in ranges.items()}}
    contexts = schema.contexts(values, rows).clone()
    random = np.random.default_rng(seed)
    chosen = _training_values(run, ranges, exact)
    if len(chosen) >= _ENOUGH:
        drawn = chosen[random.integers(len(chosen), size=rows)]
    else:
        low, high = np.array(list(ranges.values())).T
        drawn = random.uniform(low, high, (rows, len(ranges)))
    for place, name in enumerate(ranges):
        part = dict(_parts(schema, contexts))[name]
        condition = _condition(schema, name)
        part.copy_(condition.encode(drawn[:, place]))
    return contexts


def _condition_ranges(schema: Schema, asked: Asked) -> dict[str, Range]:
    """The conditions of numbers that must lie in a range, by name."""
    ranges = {}
    for name, text in asked.conditions.items():
        ends = _ends_in(text)
        if ends is None or _condition(schema, name).categories:
            continue
        seen = schema.occupancy
        place = [condition.name for condition in schema.conditions].index(name)
        known = (seen.low[place], seen.high[place]) if seen else (math.nan, math.nan)
        low, high = (
            float(end) if _is_number(end) else limit for end, limit in zip(ends, known, strict=True)
        )
        if not low < high or any(end and not _is_number(end) for end in ends):
            raise ValueError(
                f"a range of {quoted(name)} must be two numbers, the lesser first; got {quoted(text)}. "
                "Write for example 2..3."
            )
        ranges[name] = (low, high)
    return ranges


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _condition(schema: Schema, name: str) -> Condition:
    return next(condition for condition in schema.conditions if condition.name == name)


def _parts(schema: Schema, contexts: Tensor) -> Iterable[tuple[str, Tensor]]:
    return [(condition.name, part) for condition, part in by_condition(schema.conditions, contexts)]


def _training_values(run: Run, ranges: dict[str, Range], exact: dict[str, str]) -> np.ndarray:
    """What the training rows have of the conditions with ranges, where they lie in these, (M, ranges).

    Of the rest, categories that are asked for must be theirs.
    """
    schema = schema_of(run.vae)
    train = run.data().train
    assert train.contexts is not None
    parts = dict(_parts(schema, train.contexts))
    is_in = torch.ones(len(train), dtype=torch.bool)
    columns = []
    for name, (low, high) in ranges.items():
        condition = _condition(schema, name)
        own = parts[name][:, 0].double() * condition.scale + condition.shift
        is_in &= (low <= own) & (own <= high)
        columns.append(own)
    for name, text in exact.items():
        condition = _condition(schema, name)
        if condition.categories:
            is_in &= parts[name].argmax(1) == condition.encode(np.array([text])).argmax()
    return torch.stack(columns, 1)[is_in].numpy()


def remarks_on(run: Run, asked: Asked) -> list[str]:
    """What must be said of what lies outside the training rows, or has few of them near, in all that is asked for.

    Args:
        run: The run, whose data are read to count rows.
        asked: What is asked for.
    """
    schema = asked.schema
    try:
        train = run.data().train
    except (ValueError, OSError) as error:
        return [f"Whether the training rows have what is asked for is not known: {error}"]
    ranges = _condition_ranges(schema, asked)
    conditions: list[Condition] = []
    contexts: list[Tensor] = []
    row: list[float | Range] = []
    parts = {} if train.contexts is None else dict(_parts(schema, train.contexts))
    for name, text in asked.conditions.items():
        condition = _condition(schema, name)
        conditions.append(condition)
        contexts.append(parts[name])
        row.append(ranges[name] if name in ranges else _number_of(condition, text))
    columns = {**asked.fixed, **asked.between}
    raw = train.gather(torch.arange(len(train) if columns else 0)).double()
    raw = raw.masked_fill(schema.inactive(raw), math.nan)
    for name, value in columns.items():
        column = schema.columns.index(name)
        condition = _as_condition(schema, column)
        conditions.append(condition)
        contexts.append(_context_of(condition, raw[:, column]))
        row.append(value)
    seen = occupancy(conditions, torch.cat(contexts, 1)) if conditions else None
    sentence = remark(conditions, seen, row) if seen else ""
    return [sentence] if sentence else []


def rows_asked(
    run: Run, vae: VAE, asked: Asked, count: int, *, draw: bool, seed: int
) -> tuple[Array, Array, Tensor | None, list[str]]:
    """New rows of which columns are fixed, their latent points and contexts, and what must be said of them.

    Under contexts that are not all asked for, such as those of random training rows, those are taken more often that
    fit what is fixed better: by p(a|c).

    Args:
        run: The run.
        vae: Its model, perhaps under another prior.
        asked: What is asked for.
        count: How many rows.
        draw: As of `evaluation.partial.complete`.
        seed: Seed of the draws.
    """
    contexts = contexts_asked(run, asked, _CONTEXTS, seed=seed)
    if contexts is not None:
        contexts = contexts.reshape(-1, asked.schema.context_dim)
    part = asked.part(1 if contexts is None else len(contexts), contexts)
    found = complete(vae, part, count=count, between=asked.between, draw=draw, seed=seed)
    fit = torch.from_numpy(found.log_p).softmax(0)
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.multinomial(fit, count, replacement=True, generator=generator)
    places = (chosen.numpy(), np.arange(count))
    context = None if contexts is None else contexts[chosen]
    return found.draws[places], found.z[places], context, found.remarks()


def _number_of(condition: Condition, text: str) -> float:
    return float(condition.categories.index(text)) if condition.categories else float(text)


def _as_condition(schema: Schema, column: int) -> Condition:
    """A column as something that is asked for: what is near to a value of it is found as for a condition."""
    is_category = schema.kinds and schema.kinds[column] == "category"
    categories = schema.categories[column] if is_category else ()
    shift, scale = (0.0, 1.0) if is_category else (schema.shift[column], schema.scale[column])
    return Condition(schema.columns[column], categories, shift, scale)


def _context_of(condition: Condition, values: Tensor) -> Tensor:
    """Raw values of a column as contexts, (N, width)."""
    if not condition.categories:
        return condition.encode(values.numpy())
    one_hot = torch.eye(condition.width + 1, condition.width)  # the last row is that of no category
    return one_hot[values.nan_to_num(-1).long()]
