"""Notebooks: a line that is written anew in its place, and values as HTML that is legible on any ground."""

import base64
import html
import sys
import uuid
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

MOST_ROWS = 30
"""Of a table that shows itself."""


def in_notebook() -> bool:
    """Whether the code runs in a notebook, such as Jupyter's, VS Code's or Colab's.

    Example:
        >>> in_notebook()
        False
    """
    ipython: Any = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None


class Line:
    """One line of a notebook's output, which is written anew in its place."""

    def __init__(self) -> None:
        self._name = f"variform-{uuid.uuid4().hex}"
        self._is_there = False

    def show(self, text: str) -> None:
        """Write the line."""
        shell = import_module("IPython.display")  # that of the notebook which runs this
        data = {"text/plain": text}
        shell.display(data, raw=True, display_id=self._name, update=self._is_there)
        self._is_there = True


def html_table(
    header: Sequence[str], rows: Sequence[Sequence[object]], *, title: str = "", note: str = ""
) -> str:
    """A table as HTML in the colours of what is around it; of many rows the first are shown.

    Whatever is passed is shown as text.

    Example:
        >>> html_table(["name"], [["<b>"]])  # doctest: +ELLIPSIS
        '<table style="...
    """
    heads = "".join(f"<th>{html.escape(head)}</th>" for head in header)
    look = "border-collapse: separate; border-spacing: .9em .15em; text-align: left"
    lines = [
        "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) for row in rows[:MOST_ROWS]
    ]
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    caption = html_line(title, bold=True) if title else ""
    if len(rows) > MOST_ROWS:
        note = f"and {len(rows) - MOST_ROWS:,} more. {note}".strip()
    below = html_line(note) if note else ""
    inside = f"<thead><tr>{heads}</tr></thead><tbody>{body}</tbody>"
    return f'{caption}<table style="{look}">{inside}</table>{below}'


def html_line(text: str, *, bold: bool = False) -> str:
    """A paragraph of text as HTML.

    Example:
        >>> html_line("a < b")
        '<p style="margin: .4em 0">a &lt; b</p>'
    """
    weight = "; font-weight: 600" if bold else ""
    return f'<p style="margin: .4em 0{weight}">{html.escape(text)}</p>'


def html_image(content: bytes, title: str) -> str:
    """A PNG picture as HTML, on white, and no wider than its place.

    Example:
        >>> html_image(b"PNG", "a line")[:20]
        '<img alt="a line" st'
    """
    data = base64.b64encode(content).decode("ascii")
    style = "max-width: 100%; background: white"
    return f'<img alt="{html.escape(title)}" style="{style}" src="data:image/png;base64,{data}">'


def html_picture(path: Path, title: str) -> str:
    """A PNG file as HTML; nothing where there is none.

    Example:
        >>> html_picture(Path("nowhere.png"), "nothing")
        ''
    """
    return html_image(path.read_bytes(), title) if path.is_file() else ""
