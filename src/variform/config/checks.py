"""One check of every value, whichever way it came.

`converted` checks a value against a type, `checked` the arguments of a function or class, `from_dict` makes a
configuration of plain values that a user wrote, and `from_file` what stands in a file that variform wrote. A
`TypedDict` describes the values by name of a file that a newer version may have written more into.
"""

import dataclasses
import difflib
import functools
import inspect
import itertools
import math
import numbers
import os
import reprlib
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    TypedDict,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from variform.config.words import with_fields

_LONGEST_NAME = 40  # of a value in a message, where a file chooses the name

_TYPES = {  # what messages call a type, and what they show of it
    int: ("a whole number", "for example 10"),
    float: ("a number", "for example 0.5"),
    bool: ("true or false", "one of them"),
    str: ("text", "text"),
    numbers.Real: ("a number", "for example 0.5"),
}


@dataclass(frozen=True)
class Range:
    """The numbers that an option takes; it stands beside their type, in `Annotated`.

    Args:
        ends: The least and the greatest of them, as in "[0, 1)"; "[1, inf)" has no greatest.
        example: One of them, for messages.

    Example:
        >>> 0 in Range("[0, 1)", 0.1), 1 in Range("[0, 1)", 0.1), str(Range("[1, inf)", 10))
        (True, False, 'at least 1')
    """

    ends: str
    example: float

    def __contains__(self, value: float) -> bool:
        low, high = map(float, self.ends[1:-1].split(","))
        is_above = value >= low if self.ends[0] == "[" else value > low
        return is_above and (value <= high if self.ends[-1] == "]" else value < high)

    def __str__(self) -> str:
        low, high = self.ends[1:-1].split(", ")
        if high != "inf":
            return f"in {self.ends}"
        return f"at least {low}" if self.ends[0] == "[" else f"above {low}"


Count = Annotated[int, Range("[1, inf)", 10)]
Natural = Annotated[int, Range("[0, inf)", 0)]
NotNegative = Annotated[float, Range("[0, inf)", 0)]
Positive = Annotated[float, Range("(0, inf)", 0.001)]
Share = Annotated[float, Range("[0, 1]", 0.5)]


def converted(hint: Any, value: Any, where: str) -> Any:
    """`value`, which may come from anywhere, as the plain value of the type that `hint` asks for.

    NumPy's numbers and arrays are taken for what they hold, and lists for tuples.

    Args:
        hint: A type, a `Literal`, a tuple, a list or a dict of those, a `TypedDict`, a configuration, or one of them
            or None; numbers may have a `Range`, by `Annotated`. `numbers.Real` also takes NaN and infinity.
        value: A value; of a configuration also a dict.
        where: What messages call it; a field or an argument stands in backticks.

    Raises:
        ValueError: for another type or choice, a number out of range or not finite, or one that 64 bits do not hold.

    Example:
        >>> converted(tuple[int, ...], [64, 32], "hidden")
        (64, 32)
        >>> converted(Literal["adam", "rmsprop"], "adams", "`optimizer`")
        Traceback (most recent call last):
        ValueError: `optimizer` must be one of adam, rmsprop; got 'adams'. Did you mean 'adam'?
    """
    convert = _CONVERTERS.get(_kind(hint), _to_instance)
    return convert(hint, value, where)


def _kind(hint: Any) -> Any:
    """What `_CONVERTERS` calls the kind of a hint."""
    if hint in _CONFIGURATIONS:
        return _Configuration
    if is_typeddict(hint):
        return TypedDict
    return get_origin(hint) or hint


def _to_value_in_range(hint: Any, value: Any, where: str) -> Any:
    inner, allowed = get_args(hint)
    value = converted(inner, value, where)
    require(
        value in allowed,
        f"{where} must be {allowed}",
        reprlib.repr(value),
        f"Use for example {allowed.example}.",
    )
    return value


def _to_value_of_union(hint: Any, value: Any, where: str) -> Any:
    """One of several choices, or a value of the one kind that is there beside None and beside true and false."""
    options = get_args(hint)
    is_flag = isinstance(value, bool) and bool in options
    if value is None or is_flag:
        return value
    kinds = _beside_none_and_flags(hint)
    if len(kinds) == 1:
        return converted(kinds[0], value, where)
    names = [name for kind in kinds for name in get_args(kind)]
    return _one_of(names, value, where)


def _beside_none_and_flags(hint: Any) -> tuple[Any, ...]:
    """The kinds of a union but None, and but true and false where there is another."""
    kinds = tuple(option for option in get_args(hint) if option is not type(None))
    return tuple(kind for kind in kinds if kind is not bool) or kinds


def _to_present_value(hint: Any, value: Any, where: str) -> Any:
    (inner,) = get_args(hint)
    return converted(inner, value, where)


def _to_configuration(hint: Any, value: Any, where: str) -> Any:
    if isinstance(value, hint):
        return value
    _require_keys(hint, value, where)
    try:
        return hint(**value)
    except ValueError as error:
        raise ValueError(_in_table(str(error), hint, where)) from error


def _to_choice(hint: Any, value: Any, where: str) -> str:
    return _one_of(get_args(hint), value, where)


def _one_of(options: Sequence[str], value: Any, where: str) -> str:
    value = _plain(value)
    if isinstance(value, str) and value in options:
        return options[options.index(value)]  # a plain string, whatever kind of string came
    near = difflib.get_close_matches(str(value)[:99], options, 1)
    remedy = f"Did you mean '{near[0]}'?" if near else "Choose one."
    raise ValueError(
        f"{where} must be one of {', '.join(options)}; got {reprlib.repr(value)}. {remedy}"
    )


def _to_tuple(hint: Any, value: Any, where: str) -> tuple[Any, ...]:
    value, options = _plain(value), get_args(hint)
    if not isinstance(value, list | tuple):
        raise ValueError(
            f"{where} must be a list; got {reprlib.repr(value)}. Write for example [400, 400]."
        )
    if options[-1] is not Ellipsis and len(value) != len(options):
        raise ValueError(
            f"{where} must hold {len(options)} numbers; got {reprlib.repr(value)}. Write for example [28, 28]."
        )
    kinds = itertools.repeat(options[0]) if options[-1] is Ellipsis else options
    each = zip(kinds, value, strict=False)
    return tuple(converted(kind, item, f"each of {where}") for kind, item in each)


def _to_number(hint: type[int] | type[float], value: Any, where: str) -> int | float:
    number = _to_real(hint, value, where)
    if not abs(number) < math.inf:
        raise _of_too_many_digits(number, where)
    if hint is int and not _is(numbers.Integral, number):
        raise _of_another_type(hint, number, where)
    return hint(number)


def _to_real(hint: Any, value: Any, where: str) -> Any:
    number = _plain(value)
    if not _is(numbers.Real, number):
        raise _of_another_type(hint, number, where)
    if _is(numbers.Integral, number) and abs(number) >= 2**63:
        raise _of_too_many_digits(number, where)
    return number


def _of_too_many_digits(value: Any, where: str) -> ValueError:
    return ValueError(
        f"{where} must be a finite number of at most 18 digits; got {reprlib.repr(value)}. Change it."
    )


def _to_list(hint: Any, value: Any, where: str) -> list[Any]:
    (inner,) = get_args(hint)
    return list(_to_tuple(tuple[inner, ...], value, where))


def _to_values_by_name(hint: Any, value: Any, where: str) -> dict[str, Any]:
    _require_names(value, where)
    _, inner = get_args(hint)
    return {
        name: converted(inner, item, f"{name[:_LONGEST_NAME]} of {where}")
        for name, item in value.items()
    }


def _to_record(hint: Any, value: Any, where: str) -> dict[str, Any]:
    """The values by name that a `TypedDict` knows, checked, and the others as they are."""
    _require_names(value, where)
    record = dict(value)
    for name, inner in _hints(hint).items():
        if name in record:
            record[name] = converted(inner, record[name], f"{name} of {where}")
        elif name in hint.__required_keys__:
            raise ValueError(f"{where} must hold {name}; it does not. Add it.")
    return record


def _require_names(values: Any, where: str) -> None:
    if not isinstance(values, dict):
        raise ValueError(
            f"{where} must hold values by name; got {reprlib.repr(values)}. Write a table, [name]."
        )


def _is(kind: type, value: Any) -> bool:
    """Whether a value is a number of a kind; true and false are none."""
    return isinstance(value, kind) and not isinstance(value, bool)


def _to_text(hint: type[str], value: Any, where: str) -> str:
    return _to_instance(hint, os.fspath(value) if isinstance(value, os.PathLike) else value, where)


def _to_instance(hint: type, value: Any, where: str) -> Any:
    value = _plain(value)
    if not isinstance(value, hint):
        raise _of_another_type(hint, value, where)
    return value


class _Configuration:
    """The kind of every dataclass that is `checked`."""


_CONVERTERS: dict[Any, Callable[[Any, Any, str], Any]] = {
    Annotated: _to_value_in_range,
    Union: _to_value_of_union,
    types.UnionType: _to_value_of_union,
    Literal: _to_choice,
    tuple: _to_tuple,
    list: _to_list,
    dict: _to_values_by_name,
    TypedDict: _to_record,
    NotRequired: _to_present_value,
    int: _to_number,
    float: _to_number,
    numbers.Real: _to_real,
    str: _to_text,
    _Configuration: _to_configuration,
}
"""How a value becomes one of each kind of hint; of any other kind it must be one already."""


def _plain(value: Any) -> Any:
    """What NumPy's numbers and arrays hold, and torch's; other values as they are."""
    return value.tolist() if hasattr(value, "tolist") else value


def _of_another_type(hint: type, value: Any, where: str) -> ValueError:
    what, example = _TYPES.get(hint, (f"of type {hint.__name__}", "that"))
    return ValueError(f"{where} must be {what}; got {reprlib.repr(value)}. Write {example}.")


_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)

Checked = TypeVar("Checked", bound=Callable[..., Any])
Configuration = TypeVar("Configuration")
_CONFIGURATIONS: list[type] = []
"""The dataclasses that `checked` has made: `converted` takes a dict for one of them."""


def checked(function: Checked) -> Checked:
    """`function`, whose choices, numbers and texts are checked as those of a configuration are; or a class so made.

    Arguments of other types, such as tensors and files, are left to it.

    Raises:
        ValueError: as `converted`.

    Example:
        >>> @checked
        ... def decimals(value: float, *, unit: Literal["nats", "bits"] = "nats") -> str:
        ...     return f"{value} {unit}"
        >>> decimals(3)
        '3.0 nats'
        >>> decimals(3, unit="bit")
        Traceback (most recent call last):
        ValueError: `unit` must be one of nats, bits; got 'bit'. Did you mean 'bits'?
    """
    if isinstance(function, type):
        function.__init__ = checked(function.__init__)
        if dataclasses.is_dataclass(function):
            _CONFIGURATIONS.append(function)
        return function
    signature = inspect.signature(function)

    @functools.wraps(function)
    def checking(*args: Any, **kwargs: Any) -> Any:
        try:
            given = signature.bind_partial(*args, **kwargs)
        except TypeError:
            return function(*args, **kwargs)  # which says what is wrong in Python's words
        hints = _hints(function)
        for name, value in given.arguments.items():
            if signature.parameters[name].kind not in _VARIADIC and _is_plain(hints.get(name)):
                is_table = hints[name] in _CONFIGURATIONS  # which config.toml names by [name]
                given.arguments[name] = converted(
                    hints[name], value, name if is_table else f"`{name}`"
                )
        return function(*given.args, **given.kwargs)

    return checking  # pyrefly: ignore[bad-return]


@functools.cache
def _hints(of: Any) -> dict[str, Any]:
    return get_type_hints(of, include_extras=True)


def _is_plain(hint: Any) -> bool:
    """Whether `converted` can tell the values of a hint from others."""
    options = get_args(hint)
    if get_origin(hint) is Annotated:
        return _is_plain(options[0])
    if get_origin(hint) in (Union, types.UnionType):
        kinds = _beside_none_and_flags(hint)
        is_of_choices = all(get_origin(kind) is Literal for kind in kinds)
        return is_of_choices or (len(kinds) == 1 and _is_plain(kinds[0]))
    if get_origin(hint) is tuple:
        return all(_is_plain(option) for option in options if option is not Ellipsis)
    return get_origin(hint) is Literal or hint in (int, float, bool, str, *_CONFIGURATIONS)


def from_dict(
    cls: type[Configuration],
    values: dict[str, Any],
    where: str = "the configuration",
    *,
    table: str = "",
) -> Configuration:
    """A configuration from plain values; the opposite of `to_dict`.

    Args:
        cls: A class that is `checked`.
        values: Plain values by name; of a field that is a configuration likewise.
        where: Where they stand, for messages.
        table: Name of the table there that they are, if it has several.

    Raises:
        ValueError: for an unknown key (with the nearest known one), a value of the wrong type or out of range; says
            where, with the table and the key.

    Example:
        >>> from variform.config.model import ModelConfig
        >>> @checked
        ... @dataclass(frozen=True, kw_only=True)
        ... class Network:
        ...     hidden: tuple[Count, ...] = (400,)
        >>> from_dict(Network, {"hidden": [64]}).hidden
        (64,)
        >>> from_dict(Network, {"hiden": [64]})
        Traceback (most recent call last):
        ValueError: the configuration has an unknown key 'hiden'. Did you mean 'hidden'?
        >>> from_dict(Network, {"hidden": 64}, "run.toml", table="model")
        Traceback (most recent call last):
        ValueError: `model.hidden` in run.toml must be a list; got 64. Write for example [400, 400].
    """
    _require_keys(cls, values, where)
    try:
        return cls(**values)
    except ValueError as error:
        text = _in_table(str(error), cls, table) if table else str(error)
        raise ValueError(_placed(text, where)) from error


def _require_keys(cls: type, values: Any, where: str) -> None:
    _require_names(values, where)
    known = _names(cls)
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(str(key)[:99], known, 1)
            remedy = f"Did you mean '{near[0]}'?" if near else f"Known keys: {', '.join(known)}."
            raise ValueError(f"{where} has an unknown key {reprlib.repr(key)}. {remedy}")


def _names(cls: Any) -> list[str]:
    return [field.name for field in dataclasses.fields(cls)]


def _in_table(text: str, cls: type, table: str) -> str:
    """A message of a configuration that names its fields with their table, as `train.beta`."""
    known = _names(cls)

    def write(name: str, value: str) -> str | None:
        return f"`{table}.{name}{value}`" if name in known else None

    return with_fields(text, write)


def _placed(text: str, where: str) -> str:
    """A message that says where the first field that it names stands."""
    places = iter([f" in {where}"])
    placed = with_fields(text, lambda name, value: f"`{name}{value}`{next(places, '')}")
    return f"{where}: {text}" if placed == text else placed


def from_file(cls: type[Configuration], values: Any, where: str) -> Configuration:
    """A dataclass from the plain values of a file: exactly its fields, of which a file of ours leaves none out.

    Raises:
        ValueError: for missing or unknown keys, or a value of the wrong type.

    Example:
        >>> @dataclass(frozen=True)
        ... class Size:
        ...     rows: int
        ...     columns: int = 1
        >>> from_file(Size, {"rows": 3, "columns": 2}, "the size")
        Size(rows=3, columns=2)
        >>> from_file(Size, {"rows": 3}, "the size")
        Traceback (most recent call last):
        ValueError: the size must have the keys rows, columns; got others. Fetch the file again.
    """
    hints = _hints(cls)
    if not isinstance(values, dict) or set(values) != set(hints):
        raise ValueError(
            f"{where} must have the keys {', '.join(hints)}; got others. Fetch the file again."
        )
    return cls(
        **{
            name: converted(hints[name], value, f"{where}: {name}")
            for name, value in values.items()
        }
    )


def recorded(record: Any, values: Any, rule: str, remedy: str) -> Any:
    """The values of a file as a record describes them.

    Args:
        record: As the hint of `converted`, mostly a `TypedDict`.
        values: What stands in the file.
        rule: What must hold of the file, for messages.
        remedy: What to do where it does not.

    Raises:
        ValueError: as `converted`, with the rule and the remedy.

    Example:
        >>> recorded(dict[str, int], {"rows": 0.5}, "x.json must hold sizes", "Or fetch it again.")
        Traceback (most recent call last):
        ValueError: x.json must hold sizes; rows of it must be a whole number; got 0.5. Write for example 10. Or fetch \
it again.
    """
    try:
        return converted(record, values, "it")
    except ValueError as error:
        raise ValueError(f"{rule}; {error} {remedy}") from error


def require(holds: bool, rule: str, came: object, remedy: str) -> None:
    """Refuse a value in three parts: what must hold, what came, what to do.

    Raises:
        ValueError: if `holds` is false.
    """
    if not holds:
        shown = reprlib.repr(came) if isinstance(came, tuple) else came
        raise ValueError(f"{rule}; got {shown}. {remedy}")
