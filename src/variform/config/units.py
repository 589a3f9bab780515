"""Where the unit of a column stands, and how a name is shown with its unit: once."""

import difflib
import re
from collections.abc import Sequence

from variform.config.words import quoted

_UNIT = re.compile(
    r"(?P<name>.*\S)(?:\s*\[(?P<square>[^\[\]]+)\]|\s+\((?P<round>[^()]+)\))\s*", re.DOTALL
)


def name_and_unit(column: str) -> tuple[str, str]:
    """The name of a column and its unit, which stands in brackets at its end; empty where there is none.

    Example:
        >>> name_and_unit("mass [kg]"), name_and_unit("length (mm)"), name_and_unit("T, inside"), name_and_unit("f(x)")
        (('mass', 'kg'), ('length', 'mm'), ('T, inside', ''), ('f(x)', ''))
    """
    match = _UNIT.fullmatch(column)
    if match is None:
        return column, ""
    return match["name"], (match["square"] or match["round"]).strip()


def titled(column: str, unit: str) -> str:
    """What axes and tables call a column: its name with its unit, which is not written twice.

    Example:
        >>> titled("mass", "kg"), titled("mass [kg]", "kg"), titled("length (mm)", "mm"), titled("mass", "")
        ('mass [kg]', 'mass [kg]', 'length (mm)', 'mass')
    """
    return f"{column} [{unit}]" if unit and not name_and_unit(column)[1] else column


def known_units(columns: Sequence[str], declared: Sequence[str], source: str) -> dict[str, str]:
    """The unit of each column that has one, by its name: what is declared, or what stands in the name.

    Args:
        columns: Names of all columns.
        declared: Units of columns whose names do not tell them, as "mass=kg".
        source: What messages call the table.

    Raises:
        ValueError: for a name that is no column's, for a column without a unit, and for another unit than that in the
            name.

    Example:
        >>> known_units(("mass", "drag [N]", "parts"), ("mass=kg",), "designs.csv")
        {'mass': 'kg', 'drag [N]': 'N'}
    """
    units = _declared(columns, declared, source)
    for column in columns:
        own = name_and_unit(column)[1]
        if own and units.get(column, own) != own:
            raise ValueError(
                f"`units` must not contradict the name of a column; {quoted(column)} has {quoted(own)} in its name, and"
                f" got {quoted(units[column])}. Leave it out, or rename the column."
            )
        if own:
            units[column] = own
    return {column: units[column] for column in columns if column in units}


def _declared(columns: Sequence[str], declared: Sequence[str], source: str) -> dict[str, str]:
    units = {}
    for item in declared:
        names = [column for column in columns if item.startswith(f"{column}=")]
        column = max(names, key=len, default="")
        unit = item[len(column) + 1 :].strip()
        if not names or not unit:
            near = difflib.get_close_matches(item.partition("=")[0], columns, 1)
            hint = f"Did you mean {quoted(near[0])}?" if near and not names else "Correct it."
            raise ValueError(
                f"`units` must be a value, condition or response of {source}, '=' and its unit, as 'mass=kg'; got"
                f" {quoted(item)}. {hint}"
            )
        units[column] = unit
    return units
