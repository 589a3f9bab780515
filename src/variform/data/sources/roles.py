"""What the columns of a table are for, as the options name them."""

import difflib
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from variform.config.data import FAMILIES, ROWS, DataConfig
from variform.config.words import quoted
from variform.data.sources.text_tables import Frame

DeclaredKind = Literal["category", "count", "real", "positive", "ordinal"]


def declared_kinds(
    config: DataConfig, columns: Sequence[str], name: str
) -> dict[str, DeclaredKind]:
    """The kind of each column that the options declare; commas may separate names that hold none.

    Args:
        config: `categories`, `counts`, `reals`, `positives` and `ordinals` are looked at.
        columns: Names of all columns.
        name: What the message calls the source.

    Raises:
        ValueError: for a name that is not a column's, and for a column of two kinds.

    Example:
        >>> declared_kinds(DataConfig(categories=("a,b",), counts=("c",)), ("a", "b", "c", "d"), "table.csv")
        {'a': 'category', 'b': 'category', 'c': 'count'}
    """
    kinds: dict[str, DeclaredKind] = {}
    options: dict[DeclaredKind, tuple[str, ...]] = {
        "category": config.categories,
        "count": config.counts,
        "real": config.reals,
        "positive": config.positives,
        "ordinal": tuple(ordinal.partition("=")[0] for ordinal in config.ordinals),
    }
    for kind, given in options.items():
        field = "categories" if kind == "category" else f"{kind}s"
        for column in _named(given, columns, field, name):
            if column in kinds:
                raise ValueError(
                    f"a column must have one kind; {quoted(column)} is named twice, in `{field}` too. Name it once."
                )
            kinds[column] = kind
    return kinds


def _named(given: Iterable[str], columns: Sequence[str], field: str, name: str) -> list[str]:
    """The columns that an option names; commas may separate names that hold none."""
    wanted = itertools.chain.from_iterable(
        [names] if names in columns else names.split(",") for names in given
    )
    found = []
    for column in wanted:
        if column not in columns:
            near = difflib.get_close_matches(column, columns, 1) or columns
            raise ValueError(
                f"`{field}` must name a column of {name}; it has no {quoted(column)}. Did you mean {quoted(near[0])}?"
            )
        found.append(column)
    return found


@dataclass(frozen=True)
class Roles:
    """What each column is for."""

    label: str | None
    id: str | None
    group: str | None
    weight: str | None
    conditions: tuple[str, ...]
    responses: tuple[str, ...]
    values: tuple[str, ...]
    """Those that are rows."""


def roles_of(frame: Frame, config: DataConfig) -> Roles:
    """What each column of a table is for.

    Raises:
        ValueError: for a name that is not a column's, and for a column of two roles.
    """
    columns, name = frame.columns, frame.name
    label = None if config.label is None else _named([config.label], columns, "label", name)[0]
    own_id = None if config.id is None else _named([config.id], columns, "id", name)[0]
    weight = None if config.weight is None else _named([config.weight], columns, "weight", name)[0]
    own_group = None
    if config.group not in (None, FAMILIES, ROWS):
        own_group = _named([config.group], columns, "group", name)[0]
    # Its label column is known without being named.
    conditions = _named(
        [given for given in config.condition if given not in ("label", config.label)],
        columns,
        "condition",
        name,
    )
    responses = _named(config.response, columns, "response", name)
    ignored = _named(config.ignore, columns, "ignore", name)
    chosen = _named(config.columns, columns, "columns", name) or list(columns)
    given = {
        "label": [label] if label else [],
        "id": [own_id] if own_id else [],
        "condition": conditions,
        "response": responses,
        "weight": [weight] if weight else [],
        "ignore": ignored,
    }
    role_of: dict[str, str] = {}
    for role, names in given.items():
        for column in names:
            if role_of.setdefault(column, role) != role:
                raise ValueError(
                    f"a column must have one role; {quoted(column)} is named with `{role_of[column]}` and `{role}`. "
                    "Leave one of them out."
                )
    apart = {*role_of, own_group}
    values = tuple(column for column in columns if column in chosen and column not in apart)
    beside = (tuple(conditions), tuple(responses))
    return Roles(label, own_id, own_group, weight, *beside, values)
