"""A Sphinx extension: the source beside the text.

Where a page names a file of the project, an object by its full name such as `variform.distributions.kl.kl`, or a test,
the word becomes a link to the line, on a page of the site that holds the file; only files that are named have one. A
link to a file whose text is a tag of a formula, or something that the file defines, leads to that line of it; a link to
a picture of the docs opens it, where Sphinx would save it as a file.
"""

import ast
import posixpath
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from docutils import nodes
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_for_filename
from site_languages import from_page
from sphinx import addnodes
from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[1]
SYMBOL = re.compile(r"variform(\.\w+)+|tests/\w+\.py::\w+")


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect the two halves: words to links, and links to pages."""
    app.connect(
        "doctree-read", _link_files, priority=100
    )  # before Sphinx copies them to be downloaded
    app.connect("doctree-read", _link_symbols)
    app.connect("html-collect-pages", _pages)
    app.connect("env-merge-info", _merge)
    return {"parallel_read_safe": True}


def _named(env: Any) -> set[str]:
    """The files that pages name, by their path in the project."""
    if not hasattr(env, "variform_sources"):
        env.variform_sources = set()
    return env.variform_sources


def _merge(app: Sphinx, env: Any, docnames: list[str], other: Any) -> None:
    _named(env).update(_named(other))


def _reference(app: Sphinx, path: str, line: int | None) -> nodes.reference:
    _named(app.env).add(path)
    target = from_page(app, app.env.docname, f"source/{path}.html")
    if line is not None:
        target += f"#line-{line}"
    return nodes.reference("", "", internal=False, refuri=target)


def _link_files(app: Sphinx, doctree: nodes.document) -> None:
    for node in list(doctree.findall(_is_file)):
        if Path(node["reftarget"]).suffix in {".png", ".svg"}:
            _open_picture(app, node)
            continue
        path = _path(app, node["reftarget"])
        if path is None:
            continue
        link = _reference(app, path, _line_of(ROOT / path, node.astext()))
        link += node.children
        node.replace_self(link)


def _open_picture(app: Sphinx, node: nodes.Element) -> None:
    """Lead to where Sphinx puts the pictures that pages show."""
    shown = f"_images/{Path(node['reftarget']).name}"
    target = posixpath.relpath(shown, posixpath.dirname(app.env.docname))
    link = nodes.reference("", "", internal=False, refuri=target)
    link += node.children
    node.replace_self(link)


def _is_file(node: nodes.Node) -> bool:
    if isinstance(node, addnodes.download_reference):
        return True
    return isinstance(node, addnodes.pending_xref) and node.get("refdomain") in (None, "doc", "std")


def _line_of(file: Path, text: str) -> int | None:
    """The line that a link's text names: the one that ends with this tag of a formula, or has this definition."""
    if file.suffix != ".py":
        return None
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        if line.endswith(f"# eq: {text}"):
            return number
    place = _line(file, text.split("."))
    return place and place[1]


def _path(app: Sphinx, target: str) -> str | None:
    """The path in the project of what a page calls by a path relative to itself, if it is code that is there."""
    beside = Path(app.srcdir, app.env.docname).parent
    for base in (beside, Path(app.srcdir)):
        found = (base / target.lstrip("/")).resolve()
        if found.is_dir() or found.suffix in {".py", ".js", ".toml", ".css"}:
            return found.relative_to(ROOT).as_posix() if found.is_relative_to(ROOT) else None
    return None


def _link_symbols(app: Sphinx, doctree: nodes.document) -> None:
    for node in list(doctree.findall(nodes.literal)):
        text = node.astext()
        if not SYMBOL.fullmatch(text) or isinstance(node.parent, nodes.reference):
            continue
        place = _place(text)
        if place is None:
            continue
        link = _reference(app, *place)
        node.replace_self(link)
        link += node


@cache
def _place(symbol: str) -> tuple[str, int | None] | None:
    """File and line of a module, or of what a module defines, by its full name."""
    file, is_test, name = symbol.partition("::")
    if is_test:
        return _line(ROOT / file, [name])
    parts = symbol.split(".")
    for cut in range(len(parts), 0, -1):
        stem = ROOT.joinpath("src", *parts[:cut])
        for file in (stem.with_suffix(".py"), stem / "__init__.py"):
            if file.is_file():
                return _line(file, parts[cut:])
    return None


def _line(file: Path, names: list[str]) -> tuple[str, int | None] | None:
    body = ast.parse(file.read_text(encoding="utf-8")).body
    line = None
    for name in names:
        found = next((each for each in body if getattr(each, "name", None) == name), None)
        if found is None:
            return None
        line, body = found.lineno, getattr(found, "body", [])
    return file.relative_to(ROOT).as_posix(), line


def _pages(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    if app.config.language != "en":  # what a translation names, the original names too
        return
    for path in sorted(_with_files(_named(app.env))):
        yield f"source/{path}", {"title": path, "body": _body(path)}, "page.html"


def _with_files(paths: set[str]) -> set[str]:
    """Paths, and the files in those of them that are folders."""
    within = {
        file.relative_to(ROOT).as_posix()
        for path in paths
        for file in (ROOT / path).glob("*.*")
        if file.suffix in {".py", ".js", ".css"}
    }
    return paths | within


def _body(path: str) -> str:
    file = ROOT / path
    heading = f"<h1>{path.replace('/', '/<wbr>')}</h1>"
    if file.is_dir():
        files = sorted(
            each.name for each in file.glob("*.*") if each.suffix in {".py", ".js", ".css"}
        )
        rows = "".join(f'<li><a href="{file.name}/{name}.html">{name}</a></li>' for name in files)
        return f"{heading}<ul>{rows}</ul>"
    form = HtmlFormatter(linenos="inline", lineanchors="line", anchorlinenos=True)
    return heading + highlight(file.read_text(encoding="utf-8"), get_lexer_for_filename(path), form)
