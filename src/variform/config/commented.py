"""A config.toml that explains itself: each field with its meaning, its choices and its default."""

import dataclasses
import inspect
import re
import textwrap
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import tomli_w

from variform.config.checks import Range
from variform.config.run import RunConfig
from variform.config.toml import to_dict

_WIDTH = 100
_WRAPPER = textwrap.TextWrapper(
    _WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False
)
_ARGUMENT = re.compile(r"^    (\w+): (.+(?:\n {8,}.+)*)", re.MULTILINE)
_EXAMPLES: dict[Any, Any] = {int: 10, float: 0.5, str: "text", bool: True}
_HEAD = """\
# What `variform train --config FILE` reads: all options, each with what it means. What is left out has its default;
# a line that begins with "# name =" has none, and is an example. Options on the command line go before those in here.
"""


def to_commented(config: RunConfig) -> str:
    """The text of a config.toml with a comment on every field; `from_toml` makes the same configuration of it.

    Args:
        config: The configuration.

    Example:
        >>> from variform.config.toml import from_toml
        >>> text = to_commented(RunConfig(source="wine.csv"))
        >>> from_toml(text) == RunConfig(source="wine.csv")
        True
        >>> for line in text.splitlines()[-3:]:
        ...     print(line)
        # Importance samples per example of the NLL of the test rows; more come closer to the truth.
        # Default: 1000.
        nll_samples = 1000
    """
    lines = [_HEAD.rstrip(), *_commented(config)]
    for table in dataclasses.fields(config):
        part = getattr(config, table.name)
        if dataclasses.is_dataclass(part):
            meaning = _meanings(type(config))[table.name]
            lines += ["", f"# {meaning}", f"[{table.name}]", *_commented(part)]
    return "\n".join(lines) + "\n"


def _commented(part: Any) -> list[str]:
    """The lines of the fields of a configuration that are no tables, an empty one before each."""
    meanings, hints = _meanings(type(part)), get_type_hints(type(part), include_extras=True)
    values = to_dict(part)
    lines = []
    for field in dataclasses.fields(part):
        if not dataclasses.is_dataclass(getattr(part, field.name)):
            text = " ".join([meanings[field.name], *_facts(hints[field.name], field.default)])
            lines += ["", *_WRAPPER.wrap(text)]
            lines.append(_line(field.name, values, hints[field.name]))
    return lines


def _line(name: str, values: dict[str, Any], hint: Any) -> str:
    if name in values:
        return _assigned(name, values[name])
    return f"# {_assigned(name, _example(hint))}"


def _assigned(name: str, value: Any) -> str:
    """A field as TOML has it, on one line."""
    if isinstance(value, list):
        items = [_assigned(name, item).partition(" = ")[2] for item in value]
        return f"{name} = [{', '.join(items)}]"
    return tomli_w.dumps({name: value}).strip()


def _meanings(of: type) -> dict[str, str]:
    """What the docstrings of a configuration, and of those that it extends, say of each field."""
    texts = [(inspect.getdoc(each) or "").partition("Args:")[2] for each in reversed(of.mro())]
    return {
        name: " ".join(words.split()) for text in texts for name, words in _ARGUMENT.findall(text)
    }


def _facts(hint: Any, default: Any) -> list[str]:
    """The choices of a field and its default, where it has some."""
    bare = _bare(hint)
    facts = [f"One of {', '.join(get_args(bare))}."] if get_origin(bare) is Literal else []
    if default is None or default is dataclasses.MISSING:
        return facts
    value = list(default) if isinstance(default, tuple) else default
    return [*facts, f"Default: {_assigned('x', value).partition(' = ')[2]}."]


def _bare(hint: Any) -> Any:
    """A hint without its range, and without None."""
    if get_origin(hint) is Annotated:
        return _bare(get_args(hint)[0])
    if get_origin(hint) in (Union, UnionType):
        return _bare(next(option for option in get_args(hint) if option is not type(None)))
    return hint


def _example(hint: Any) -> Any:
    """A value that a field may have."""
    if get_origin(hint) is Annotated:
        limits = next(fact for fact in get_args(hint) if isinstance(fact, Range))
        return get_args(hint)[0](limits.example)
    if get_origin(hint) in (Union, UnionType):
        return _example(next(option for option in get_args(hint) if option is not type(None)))
    if get_origin(hint) is tuple:
        return [_example(option) for option in get_args(hint) if option is not Ellipsis]
    return get_args(hint)[0] if get_origin(hint) is Literal else _EXAMPLES[hint]
