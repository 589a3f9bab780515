"""What a file says of the columns of a table, settled into the fields of a configuration."""

import dataclasses
import difflib
import tomllib
from dataclasses import dataclass
from typing import Literal

from variform.config.checks import checked, converted
from variform.config.data import DataConfig
from variform.config.units import name_and_unit
from variform.config.words import quoted
from variform.system.files import expanded

_MEASURED = ("value", "condition", "response")
"""The roles of columns whose numbers may have units."""


@checked
@dataclass(frozen=True)
class ColumnFacts:
    """What a schema file says of one column; what it does not say is found out.

    Args:
        role: What the column is for: a `value` of the row, or as the fields of `DataConfig` say.
        kind: Its kind in a mixed table; `binary` and `date` are found by themselves. Other tables take numbers only.
        unit: That of its numbers; one in the name of the column, such as kg of "mass [kg]", need not be said.
        bounds: The ends of a column of kind `bounded`.
        order: The levels of a column of kind `ordinal`, the lowest first.
        spike: Values that many rows hold exactly; one need not stand in a list.
        active_if: When the column says anything, as "SSB_Include=1".
    """

    role: Literal["value", "id", "response", "weight", "ignore", "group", "label", "condition"] = (
        "value"
    )
    kind: (
        Literal["real", "positive", "bounded", "count", "binary", "category", "ordinal", "date"]
        | None
    ) = None
    unit: str | None = None
    bounds: tuple[float, float] | None = None
    order: tuple[str, ...] = ()
    spike: tuple[float, ...] | None = None
    active_if: str | None = None


def read_schema(path: str) -> dict[str, ColumnFacts]:
    """What the schema file at `path` says of each column.

    Raises:
        FileNotFoundError: if it does not exist.
        ValueError: for what is no TOML, unknown keys and values of another type.
    """
    file = expanded(path)
    if not file.is_file():
        raise FileNotFoundError(
            f"`schema` must name a file; {file} does not exist. Check the path."
        )
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file.name} must be TOML in UTF-8; {error}. Correct it.") from error
    tables = values.get("columns")
    if set(values) != {"columns"} or not isinstance(tables, dict):
        raise ValueError(
            f"{file.name} must hold one table a column, such as [columns.mass]; it holds"
            f" {', '.join(map(quoted, values)) or 'nothing'}. Put every column below columns."
        )
    return {name: _facts(name, table, file.name) for name, table in tables.items()}


def _facts(name: str, table: object, file: str) -> ColumnFacts:
    place = f"column {quoted(name)} of {file}"
    if not isinstance(table, dict):
        raise ValueError(f"{place} must be a table; got {table!r}. Write [columns.{quoted(name)}].")
    fields = {field.name: field.type for field in dataclasses.fields(ColumnFacts)}
    for key in table:
        if key not in fields:
            near = difflib.get_close_matches(key, fields, 1)
            hint = f" Did you mean {near[0]}?" if near else f" Known are {', '.join(fields)}."
            raise ValueError(f"{place} has the unknown key {quoted(key)}.{hint}")
    if isinstance(table.get("spike"), int | float):
        table = {**table, "spike": [table["spike"]]}
    known = {key: converted(fields[key], table[key], f"{key} of {place}") for key in table}
    facts = ColumnFacts(**known)
    _require_consistent(facts, place)
    return facts


def _require_consistent(facts: ColumnFacts, place: str) -> None:
    """Refuse what contradicts itself."""
    if facts.kind == "bounded" and facts.bounds is None:
        raise ValueError(f"{place} must have bounds, as its kind is bounded. Add bounds = [0, 1].")
    for key, kind in (("bounds", "bounded"), ("order", "ordinal")):
        if getattr(facts, key) and facts.kind not in (None, kind):
            raise ValueError(
                f"{key} of {place} is for the kind {kind}; got {facts.kind}. Leave one of them out."
            )
    has_law = facts.kind or facts.bounds or facts.order or facts.spike is not None
    if facts.role not in (*_MEASURED, "label") and has_law:
        raise ValueError(
            f"{place} must have no kind, as its role is {facts.role}, which has no law. Leave one out."
        )


def with_schema(
    config: DataConfig, *, is_mixed: bool
) -> tuple[DataConfig, tuple[str, ...]]:  # fmt: skip
    """The configuration with what its `schema` says in its other fields, and the columns that must be values of rows.

    Args:
        config: What the user asks for.
        is_mixed: Whether columns have kinds; other tables take no law from the file.

    Raises:
        FileNotFoundError, ValueError: as `read_schema`, and for what contradicts the other fields.
    """
    if config.schema is None:
        return config, ()
    fields: dict[str, list[str]] = {}
    columns = read_schema(config.schema)
    for name, facts in columns.items():
        is_told = facts.unit == name_and_unit(name)[1]
        if facts.unit and facts.role in _MEASURED and not is_told:
            fields.setdefault("units", []).append(f"{name}={facts.unit}")
        if facts.role != "value":
            fields.setdefault(facts.role, []).append(name)
        elif is_mixed:
            for field, said in _laws(name, facts):
                fields.setdefault(field, []).append(said)
        elif facts.kind in ("category", "ordinal"):
            raise ValueError(
                f"`schema` makes column {quoted(name)} of the kind {facts.kind}, which is for `likelihood='mixed'`; got"
                " another. Use that, or ignore the column."
            )
    settled: dict[str, object] = {"schema": None}
    for field, names in fields.items():
        given = getattr(config, field)
        if field in ("id", "label", "group", "weight"):
            if len(names) > 1 or given not in (None, names[0]):
                both = sorted({*names, *([given] if given else [])})
                raise ValueError(
                    f"`{field}` must be one column; `schema` and `{field}` say {', '.join(map(quoted, both))}."
                    " Keep one."
                )
            settled[field] = names[0]
        else:
            settled[field] = (*given, *(name for name in names if name not in given))
    values = tuple(name for name, facts in columns.items() if facts.role == "value")
    single = (config.id, config.label, config.group, config.weight)
    named = [*single, *config.response, *config.ignore]
    if other := [name for name in values if name in (*named, *config.condition)]:
        raise ValueError(
            f"a column must have one role; {quoted(other[0])} is a value by `schema` and has another by an option."
            " Leave the option out, or give the column that role."
        )
    return dataclasses.replace(config, **settled), values  # pyrefly: ignore[bad-argument-type]


def _laws(name: str, facts: ColumnFacts) -> list[tuple[str, str]]:
    """The fields of a mixed table that a column has a part in, and what they say of it."""
    field_of = {
        "real": "reals",
        "positive": "positives",
        "count": "counts",
        "category": "categories",
    }
    laws = []
    if facts.kind in field_of:
        laws.append((field_of[facts.kind], name))
    if facts.bounds:
        low, high = facts.bounds
        laws.append(("bounds", f"{name}={low:.15g}..{high:.15g}"))
    if facts.kind == "ordinal" or facts.order:
        laws.append(("ordinals", f"{name}={'<'.join(facts.order)}" if facts.order else name))
    laws.extend(("spikes", f"{name}={spike:.15g}") for spike in facts.spike or ())
    if facts.active_if is not None:
        laws.append(("active_if", f"{name}={facts.active_if}"))
    return laws
