"""Which law each column of a mixed table gets: what is declared, and what the training rows say.

| kind | found where | overruled by |
|---|---|---|
| positive | all values are above 0, and a log-normal law is likelier than a Gaussian by `CLEAR` nats | `reals` |
| bounded | fractions in [0, 1] or [0, 100] that come within a twentieth of both ends | `reals` |
| ordinal | whole numbers of at most `MOST_LEVELS` levels that vary less than counts | `reals`, `counts` |
| spikes | a value in a twentieth of the rows, and `_STANDS_OUT` times as frequent as its neighbours | `spikes` |
| rules | a column holds one value, or nothing, wherever a flag has certain values, and others elsewhere | `active_if` |

A column with a spike at 0 is positive where all other values are above 0. Of a column that has one spike, every value
that stands out and is held by a hundredth of the rows is another. A bounded column has spikes at bounds that any row
holds.
"""

import dataclasses
import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from variform.config.data import DataConfig
from variform.config.words import listed, quoted
from variform.data.dataset import VALUES_AT_ONCE, Dataset, in_chunks
from variform.data.rules import Rule
from variform.data.schema import SAME, ColumnKind, Schema, Spikes
from variform.data.sources.roles import declared_kinds

Array = np.ndarray

CLEAR = 5.0
"""Nats by which one law must be likelier than another to be taken."""
MOST_LEVELS = 10
"""Whole numbers of a column that are levels in an order."""
_MOST_SPIKES = 20
_LEAST_SHARE = 0.05  # of the first spike of a column
_LEAST_FURTHER = 0.01
_LEAST_ROWS = 10
_STANDS_OUT = 3.0
_CHANCE = 1e-6  # that a rule is one by chance
_AS_WRITTEN = 1e-6  # a declared value is that of the file within this share of it
_MOST_VALUES = 20  # of a flag
INTERVALS = ((0.0, 1.0), (0.0, 100.0))
"""Those of fractions and of percentages."""


def with_laws(schema: Schema, train: Dataset, config: DataConfig) -> Schema:
    """`schema` with kinds, bounds, spikes and rules of its columns, by what is declared and by the training rows.

    Args:
        schema: Of a mixed table, with the kinds that the values of each column allow.
        train: The training rows, raw; of very many, some spread over all are looked at.
        config: What is declared.

    Raises:
        ValueError: for a declaration that the rows contradict, and for one that cannot be read.
    """
    rows = min(len(train), max(1, VALUES_AT_ONCE // len(schema.columns)))
    index = torch.linspace(0, len(train) - 1, rows, dtype=torch.float64).round().long()
    raw = train.gather(index).double()
    rules = _rules(schema, raw, config)
    if rules:
        rules = _kept_by_all(rules, train, config)
    schema = dataclasses.replace(schema, rules=rules)
    active = raw.masked_fill(schema.inactive(raw), math.nan).double().numpy()
    declared = declared_kinds(config, schema.columns, schema.source)
    bounds = _declared_bounds(schema, config)
    spikes = _declared_spikes(schema, config)
    laws = []
    for column, name in enumerate(schema.columns):
        values = active[~np.isnan(active[:, column]), column]
        kind = declared.get(name)
        if kind is None and schema.dates and schema.dates[column]:
            kind = "real"
        if name in bounds:
            laws.append(_bounded(schema, column, values, bounds[name], spikes.get(name)))
        elif schema.kinds[column] in ("real", "count") and kind in (None, "real", "positive"):
            laws.append(_of_numbers(schema, column, values, kind, spikes.get(name)))
        elif kind == "ordinal":
            laws.append(_levels(schema, column))
        else:
            laws.append((schema.kinds[column], (0.0, 0.0), ()))
    kinds, ends, found = zip(*laws, strict=True)
    gaps = list(schema.gaps)
    for rule in rules:
        gaps[rule.column] = True
    return dataclasses.replace(
        schema,
        kinds=tuple(kinds),
        bounds=tuple(ends) if "bounded" in kinds else (),
        spikes=tuple(found) if any(found) else (),
        gaps=tuple(gaps),
    )


_Law = tuple[ColumnKind, tuple[float, float], Spikes]


def _of_numbers(
    schema: Schema, column: int, values: Array, declared: str | None, given: list[float] | None
) -> _Law:
    """Of a column whose values may be real numbers, or counts."""
    is_count = schema.kinds[column] == "count"
    least, greatest = schema.low[column], schema.high[column]
    if declared is None and is_count and given is None:
        return "count", (0.0, 0.0), ()
    if declared is None and schema.whole[column] and given is None:
        levels = len(np.unique(values))
        if 2 < levels <= MOST_LEVELS and greatest - least < MOST_LEVELS:
            return "ordinal", (0.0, 0.0), ()
    interval = None if declared or schema.whole[column] else interval_of(values, least, greatest)
    if interval is not None:
        return _bounded(schema, column, values, interval, given)
    spikes = _spikes(values, given)
    if declared == "positive" and least <= 0:
        spikes = _with_ends(spikes, values, [0.0])
    rest = beside_spikes(values, spikes)
    may_be_positive = least > 0 or (least == 0 and any(value == 0 for value, _ in spikes))
    if declared == "positive" and not may_be_positive:
        raise ValueError(
            f"`positives` must hold numbers above 0; column {quoted(schema.columns[column])} of {schema.source} holds "
            f"{least:.7g}. Take it out of `positives`."
        )
    if declared == "positive":
        return "positive", (0.0, 0.0), spikes
    if declared is None and may_be_positive and log_normal_gain(rest) > CLEAR:
        return "positive", (0.0, 0.0), spikes
    return "real", (0.0, 0.0), spikes


def log_normal_gain(values: Array) -> float:
    """By how many nats a log-normal law is likelier than a Gaussian, of all rows, both at their maximum.

    Args:
        values: Of one column, (N,); where any is not above 0, or all are one, the gain is -infinity.

    Example:
        >>> values = np.exp(np.random.default_rng(0).normal(size=1000))
        >>> log_normal_gain(values) > CLEAR, log_normal_gain(np.random.default_rng(0).normal(9, 1, 1000)) > CLEAR
        (True, False)
    """
    if len(values) < 3 or values.min() <= 0 or values.std() == 0:
        return -math.inf
    logs = np.log(values)
    of_a_row = np.log(values.std()) - np.log(logs.std()) - logs.mean()
    return len(values) * float(of_a_row)


def interval_of(values: Array, least: float, greatest: float) -> tuple[float, float] | None:
    """The interval of fractions or percentages that values fill: they come near both its ends. None for others."""
    for low, high in INTERVALS:
        edge = (high - low) / 20
        is_inside = low <= least and greatest <= high
        if is_inside and len(values) and values.min() <= low + edge and values.max() >= high - edge:
            return low, high
    return None


def _bounded(
    schema: Schema,
    column: int,
    values: Array,
    bounds: tuple[float, float],
    given: list[float] | None,
) -> _Law:
    low, high = bounds
    name = quoted(schema.columns[column])
    for value in (schema.low[column], schema.high[column]):
        if not low <= value <= high:
            raise ValueError(
                f"`bounds` must contain the values; column {name} of {schema.source} holds {value:.7g}, outside "
                f"{low:.7g} to {high:.7g}. Widen them."
            )
    ends = [
        end for end, held in ((low, schema.low[column]), (high, schema.high[column])) if end == held
    ]
    return "bounded", (low, high), _with_ends(_spikes(values, given), values, ends)


def _levels(schema: Schema, column: int) -> _Law:
    """Of a column that is declared ordinal: text has names, numbers must be whole and few."""
    span = schema.high[column] - schema.low[column]
    if not schema.categories[column] and not (schema.whole[column] and span < 1000):
        raise ValueError(
            f"`ordinals` must hold whole numbers of few levels, or text; column {quoted(schema.columns[column])} of "
            f"{schema.source} holds numbers from {schema.low[column]:.7g} to {schema.high[column]:.7g}. Take it out of "
            "`ordinals`."
        )
    return "ordinal", (0.0, 0.0), ()


def _spikes(values: Array, given: list[float] | None) -> Spikes:
    """The values that stand out, the most frequent first; those that are given, where any are."""
    if not len(values):
        return ()
    different, counts = _distinct(values)
    if given is not None:
        known = {}
        for value in given:
            is_it = np.abs(different - value) <= _AS_WRITTEN * abs(value)
            held = float(different[is_it][0]) if is_it.any() else value
            known[held] = int(counts[is_it].sum())
        pairs = [(float(value), count / len(values)) for value, count in known.items()]
        return tuple(sorted(pairs, key=lambda pair: -pair[1]))
    shares = counts / len(values)
    stands_out = counts >= _STANDS_OUT * _beside(counts)
    candidates = stands_out & (counts >= _LEAST_ROWS) & (shares >= _LEAST_FURTHER)
    places = np.flatnonzero(candidates)
    places = places[np.argsort(-counts[places], kind="stable")][:_MOST_SPIKES]
    if not len(places) or shares[places[0]] < _LEAST_SHARE:
        return ()
    return tuple((float(different[place]), float(shares[place])) for place in places)


def _distinct(values: Array) -> tuple[Array, Array]:
    """The different values, and how many hold each; one that is written in two ways is the more frequent of them."""
    different, counts = np.unique(values, return_counts=True)
    starts = np.flatnonzero(np.diff(different, prepend=-np.inf) > SAME * np.abs(different))
    if len(starts) == len(different):
        return different, counts
    groups = np.split(np.arange(len(different)), starts[1:])
    places = [group[counts[group].argmax()] for group in groups]
    return different[places], np.add.reduceat(counts, starts)


def _beside(counts: Array) -> Array:
    """The median count of the two values below and the two above each of the values of a column."""
    if len(counts) == 1:
        return np.zeros(1)
    padded = np.pad(counts.astype(float), 2, constant_values=np.nan)
    neighbours = np.stack([padded[shift : shift + len(counts)] for shift in (0, 1, 3, 4)])
    return np.nanmedian(neighbours, 0)


def _with_ends(spikes: Spikes, values: Array, ends: Sequence[float]) -> Spikes:
    """The spikes and those ends that are none yet."""
    known = {value for value, _ in spikes}
    more = [(end, float((values == end).mean())) for end in ends if end not in known]
    return (*spikes, *more)


def beside_spikes(values: Array, spikes: Spikes) -> Array:
    """The values of a column that are no spikes of it: what its continuous law is of."""
    return values[~np.isin(values, [value for value, _ in spikes])]


# ---- what is declared


def split_declaration(
    text: str, columns: Sequence[str], field: str, source: str
) -> tuple[str, str]:
    """The column that "column=rest" names, and the rest; names may hold "=".

    Example:
        >>> split_declaration("SSB OD=SSB_Include=1", ("SSB OD", "SSB_Include"), "active_if", "frames.csv")
        ('SSB OD', 'SSB_Include=1')
    """
    matching = [name for name in columns if text.startswith(f"{name}=")]
    if not matching:
        raise ValueError(
            f"`{field}` must begin with a column of {source} and '='; got {quoted(text)}. The columns are "
            f"{listed(columns)}."
        )
    name = max(matching, key=len)
    return name, text[len(name) + 1 :].strip()


def _declared_bounds(schema: Schema, config: DataConfig) -> dict[str, tuple[float, float]]:
    bounds = {}
    for item in config.bounds:
        name, text = split_declaration(item, schema.columns, "bounds", schema.source)
        low, _, high = text.partition("..")
        try:
            ends = float(low), float(high)
        except ValueError:
            ends = 1.0, 0.0
        if not ends[0] < ends[1] or math.inf in map(abs, ends):
            raise ValueError(
                f"`bounds` must be two numbers in order, as '{name}=0..100'; got {quoted(item)}. Correct it."
            )
        _require_numbers(schema, name, "bounds")
        bounds[name] = ends
    return bounds


def _declared_spikes(schema: Schema, config: DataConfig) -> dict[str, list[float]]:
    spikes: dict[str, list[float]] = {}
    for item in config.spikes:
        name, text = split_declaration(item, schema.columns, "spikes", schema.source)
        _require_numbers(schema, name, "spikes")
        own = spikes.setdefault(name, [])
        if text == "none":
            continue
        try:
            own.append(float(text))
        except ValueError:
            raise ValueError(
                f"`spikes` must be a number or none, as '{name}=0'; got {quoted(item)}. Correct it."
            ) from None
    return spikes


def _require_numbers(schema: Schema, name: str, field: str) -> None:
    kind = schema.kinds[schema.columns.index(name)]
    if kind not in ("real", "count"):
        raise ValueError(
            f"`{field}` must name columns of numbers; {quoted(name)} of {schema.source} is {kind}. Take it out."
        )


# ---- rules


def _rules(schema: Schema, raw: Tensor, config: DataConfig) -> tuple[Rule, ...]:
    """Those declared, and those found of columns that are not."""
    values = raw.double().numpy()
    declared: dict[int, Rule | None] = {}
    for item in config.active_if:
        name, text = split_declaration(item, schema.columns, "active_if", schema.source)
        column = schema.columns.index(name)
        declared[column] = (
            None if text == "always" else _declared_rule(schema, values, column, text)
        )
    flags = [
        column
        for column, kind in enumerate(schema.kinds)
        if (kind == "binary" or schema.categories[column]) and column not in declared
    ]
    rules = []
    for column in range(len(schema.columns)):
        rule = (
            declared[column] if column in declared else _found_rule(schema, values, column, flags)
        )
        if rule is not None:
            rules.append(rule)
    ruled = {rule.column for rule in rules}
    for rule in rules:
        if rule.flag in ruled:
            raise ValueError(
                f"the flag of a rule must always be active; {quoted(schema.columns[rule.flag])} of {schema.source} has "
                "a rule of its own. Change `active_if`."
            )
    return tuple(rules)


def _kept_by_all(rules: tuple[Rule, ...], train: Dataset, config: DataConfig) -> tuple[Rule, ...]:
    """Those declared, and those that no row read breaks: held-out rows too may not lose what they hold."""
    columns = train.schema.columns
    declared = {_begins(item, columns) for item in config.active_if}
    kept = []
    for rule in rules:
        is_kept = columns[rule.column] in declared
        if not is_kept:
            is_kept = not any(_breaks(rule, chunk) for chunk in in_chunks(train.raw))
        if is_kept:
            kept.append(rule)
    return tuple(kept)


def _breaks(rule: Rule, raw: Tensor) -> bool:
    cells = raw[rule.is_inactive(raw), rule.column]
    cells = cells[~cells.isnan()]
    if rule.value is None:
        return bool(len(cells))
    return bool((cells != cells.new_tensor(rule.value)).any())


def _declared_rule(schema: Schema, values: Array, column: int, text: str) -> Rule:
    name = schema.columns[column]
    flag_name, wanted = split_declaration(text, schema.columns, "active_if", schema.source)
    flag = schema.columns.index(flag_name)
    active = [_flag_value(schema, flag, one.strip()) for one in wanted.split("|")]
    rule = Rule(column, flag, tuple(active), None)
    cells = values[rule.is_inactive(torch.from_numpy(values)).numpy(), column]
    cells = cells[~np.isnan(cells)]
    is_flag = schema.kinds[flag] == "binary" or schema.categories[flag]
    if flag == column or not is_flag:
        raise ValueError(
            f"`active_if` must name a flag, a column of 0 and 1 or of categories; {quoted(flag_name)} is none for "
            f"{quoted(name)}. Use another, or declare it with `categories`."
        )
    if not len(cells):
        return rule
    different, counts = np.unique(cells, return_counts=True)
    return dataclasses.replace(rule, value=float(different[counts.argmax()]))


def _flag_value(schema: Schema, flag: int, text: str) -> float:
    names = schema.categories[flag]
    if names and text in names:
        return float(names.index(text))
    if not names and text in ("0", "1"):
        return float(text)
    raise ValueError(
        f"`active_if` must name values of {quoted(schema.columns[flag])}, {listed(names or ('0', '1'))}; got "
        f"{quoted(text)}. Correct it."
    )


def _found_rule(schema: Schema, values: Array, column: int, flags: Sequence[int]) -> Rule | None:
    """The rule under which a column of numbers holds one value, or any column nothing; None where there is none.

    Where the rows at certain values of the flag all hold one value, that may be by chance: if the others hold it with a
    share p, with a probability of p to the number of those rows.
    """
    best, least = None, _CHANCE
    cells = values[:, column]
    for flag in flags:
        if flag == column:
            continue
        rule, chance = _rule_of(schema, values[:, flag], cells, column, flag)
        if rule is not None and chance < least:
            best, least = rule, chance
    return best


def _rule_of(
    schema: Schema, flags: Array, cells: Array, column: int, flag: int
) -> tuple[Rule | None, float]:
    known = flags[~np.isnan(flags)]
    different = np.unique(known)
    if not 2 <= len(different) <= _MOST_VALUES:
        return None, 1.0
    is_number = schema.kinds[column] in ("real", "count")
    single: dict[float, float | None] = {}  # by value of the flag
    for value in different:
        own = cells[flags == value]
        held = np.unique(own)  # one NaN for all
        if len(held) == 1 and (np.isnan(held[0]) or is_number):
            single[float(value)] = None if np.isnan(held[0]) else float(held[0])
    for value in set(single.values()):
        inactive = [one for one, held in single.items() if held == value]
        is_inactive = np.isin(flags, inactive)
        rest = cells[~is_inactive & ~np.isnan(flags)]
        holds = np.isnan(rest) if value is None else rest == value
        if is_inactive.sum() < _LEAST_ROWS or len(np.unique(rest[~holds & ~np.isnan(rest)])) < 2:
            continue
        active = tuple(float(one) for one in different if one not in inactive)
        share = (holds.sum() + 1) / (len(rest) + 2)
        log_chance = is_inactive.sum() * math.log(share)
        return Rule(column, flag, active, value), math.exp(max(log_chance, -700.0))
    return None, 1.0


# ---- what is said


def laws_in_words(schema: Schema, config: DataConfig) -> Iterator[str]:
    """What was found and not declared, each with what overrules it."""
    declared = declared_kinds(config, schema.columns, schema.source)
    told = [
        ("positive", "of numbers above 0: a log-normal law", "reals"),
        ("bounded", "within [0, 1] or [0, 100]: a logit-normal law", "reals"),
        ("ordinal", "of few whole numbers: the law of ordered levels", "reals"),
    ]
    bounded = {_begins(item, schema.columns) for item in config.bounds}
    words_of = dict(zip(schema.columns, schema.categories, strict=True))
    for kind, words, field in told:
        names = [
            name
            for name, own in zip(schema.columns, schema.kinds, strict=True)
            if own == kind and not words_of[name] and name not in declared and name not in bounded
        ]
        if names:
            yield f"{_named(names)} {words}; `{field}=[{quoted(names[0])}]` makes one a Gaussian"
    given = {_begins(item, schema.columns) for item in config.spikes}
    spiked = [
        (name, spikes)
        for name, spikes in zip(schema.columns, schema.spikes, strict=bool(schema.spikes))
        if spikes and name not in given
    ]
    if spiked:
        first = spiked[0][0]
        yield (
            "single values that many rows hold get a probability of their own: "
            f"{'; '.join(_spikes_in_words(*pair) for pair in spiked)}; `spikes=['{first}=none']` takes it away"
        )
    ruled = {_begins(item, schema.columns) for item in config.active_if}
    for rule in schema.rules:
        name = schema.columns[rule.column]
        if name not in ruled:
            yield f"{rule_in_words(schema, rule)}: other cells are left out; `active_if=['{name}=always']` keeps them"


def rule_in_words(schema: Schema, rule: Rule) -> str:
    """When a column is active, and what it holds elsewhere.

    Args:
        schema: Of the table.
        rule: One of its rules.
    """
    names = schema.categories[rule.flag]
    values = [names[int(value)] if names else f"{value:.0f}" for value in rule.active]
    other = "nothing" if rule.value is None else f"{rule.value:.6g}"
    return (
        f"column {quoted(schema.columns[rule.column])} says something only where {schema.columns[rule.flag]} is "
        f"{' or '.join(values)}, and holds {other} elsewhere"
    )


def _spikes_in_words(name: str, spikes: Spikes) -> str:
    value, share = spikes[0]
    more = f" and {len(spikes) - 1} more" if len(spikes) > 1 else ""
    return f"{name} = {value:.6g} in {share:.1%}{more}"


def _begins(item: str, columns: Sequence[str]) -> str:
    return max((name for name in columns if item.startswith(f"{name}=")), key=len, default="")


def _named(names: Sequence[str]) -> str:
    return f"column {names[0]}" if len(names) == 1 else f"columns {', '.join(names)}"
