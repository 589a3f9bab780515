"""How messages show what a user wrote, and the fields that they speak of."""

import re
from collections.abc import Callable, Sequence

_LONGEST_QUOTE = 60  # characters of a cell in a message
_MOST_LISTED = 10  # texts of a list in a message


class Own(str):
    """A text of the user's, such as the name of a column: no language of a page changes it."""


def quoted(text: object) -> str:
    """A text of the user's data as messages show it: in quotes, on one line, and of a long one only the beginning.

    Example:
        >>> quoted("oak"), quoted("two\\nlines"), len(quoted("x" * 1000))
        ("'oak'", "'two\\\\nlines'", 62)
    """
    shown = str(text)
    return repr(shown if len(shown) <= _LONGEST_QUOTE else shown[: _LONGEST_QUOTE - 1] + "…")


def counted(count: int, noun: str) -> str:
    """A number of things, in the singular where there is one.

    Example:
        >>> counted(1, "latent dimension"), counted(20, "latent dimension")
        ('1 latent dimension', '20 latent dimensions')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def listed(texts: Sequence[str]) -> str:
    """Texts of the user's data as messages list them: not all of many.

    Example:
        >>> listed(["oak", "ash"]), listed([str(number) for number in range(100)])
        ('oak, ash', '0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 90 more')
    """
    shown = [quoted(text)[1:-1] for text in texts[:_MOST_LISTED]]
    return ", ".join(shown) + (
        f" and {len(texts) - len(shown)} more" if len(texts) > len(shown) else ""
    )


_QUOTED = r"""(?<!\w)(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")(?!\w)"""  # what a user wrote, as `repr` shows it
_VALUE = r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^`'"])+"""
_FIELD = re.compile(
    rf"{_QUOTED}|(?<![\w/`.-])`(?P<name>[a-z][a-z0-9_.]*)(?P<value>={_VALUE})?`(?!\.?[\w/`])"
)


def with_fields(text: str, write: Callable[[str, str], str | None]) -> str:
    """A message with each field that stands in backticks in it, `name` or `name=value`, as `write` has it.

    What stands in quotes stays, as a user's own words do.

    Args:
        text: The message.
        write: Takes the name of a field, and "=" with its value or nothing; gives None for what stays as it is.

    Example:
        >>> with_fields("Use `beta=2` for 'a `beta`'.", lambda name, value: f"{name.upper()}{value}")
        "Use BETA=2 for 'a `beta`'."
    """

    def written(match: re.Match[str]) -> str:
        field = None if match["name"] is None else write(match["name"], match["value"] or "")
        return match[0] if field is None else field

    return _FIELD.sub(written, text)
