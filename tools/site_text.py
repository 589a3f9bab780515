"""A Sphinx extension: formulas set by KaTeX as the site is built, and docstrings read as they are written."""

import re
from pathlib import Path
from typing import Any

from docutils import nodes
from py_mini_racer import MiniRacer
from sphinx.application import Sphinx

KATEX = Path(__file__).resolve().parents[1] / "node_modules" / "katex" / "dist"
# Code, perhaps with a letter right after it; a formula; and what reStructuredText would take for a sign of its own.
PARTS = re.compile(
    r"(?P<code>`[^`]*`)(?=(?P<on>[\w^])?)|\$(?P<formula>[^$]+)\$|(?P<sign>[*|\\]|_(?!\w))"
)


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect them; docstrings come before napoleon reads their sections."""
    app.connect("autodoc-process-docstring", _plain, priority=100)
    script = MiniRacer()
    script.eval((KATEX / "katex.min.js").read_text(encoding="utf-8"))

    def inline(writer: Any, node: nodes.Element) -> None:
        writer.body.append(script.call("katex.renderToString", node.astext()))
        raise nodes.SkipNode

    def display(writer: Any, node: nodes.Element) -> None:
        options = {"displayMode": True}
        writer.body.append(script.call("katex.renderToString", node.astext(), options))
        raise nodes.SkipNode

    app.add_html_math_renderer("katex", (inline, None), (display, None))
    return {"parallel_read_safe": True, "parallel_write_safe": False}


def _plain(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Docstrings are plain text with `code` and $formulas$ in it, and with examples, which stay as they are."""
    blocks = re.split(r"(^ *>>>.*(?:\n *\S.*)*)", "\n".join(lines), flags=re.MULTILINE)
    blocks[::2] = [PARTS.sub(_marked, text) for text in blocks[::2]]
    lines[:] = "".join(blocks).split("\n")


def _marked(part: re.Match[str]) -> str:
    if part["sign"] is not None:
        return "\\" + part["sign"]
    if part["formula"] is not None:
        formula = " ".join(part["formula"].split())
        return rf"\ :math:`{formula}`\ "
    if part["on"] is not None:
        return part["code"] + "\\ "
    return part["code"]
