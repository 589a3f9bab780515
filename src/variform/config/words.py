"""How messages show what a user wrote."""

from collections.abc import Sequence

_LONGEST_QUOTE, _MOST_LISTED = (
    60,
    10,
)  # characters of a cell in a message, and texts in a list in one


def quoted(text: object) -> str:
    """A text of the user's data as messages show it: in quotes, on one line, and of a long one only the beginning.

    Example:
        >>> quoted("oak"), quoted("two\\nlines"), len(quoted("x" * 1000))
        ("'oak'", "'two\\\\nlines'", 62)
    """
    shown = str(text)
    return repr(shown if len(shown) <= _LONGEST_QUOTE else shown[: _LONGEST_QUOTE - 1] + "…")


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
