"""A Sphinx extension: pages in other languages beside the English ones, and from each page a way to the other.

English is built from the whole project, any other language from docs/LANGUAGE into a folder of the site of its own.
"""

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.locale import _
from sphinx.search.en import SearchEnglish

DOCS = Path(__file__).resolve().parents[1] / "docs"
CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LANGUAGES = {"en": "English", "ko": "한국어"}


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect links, the switch and the page at the root; teach the search Korean."""
    app.add_search_language(SearchKorean)
    app.connect("doctree-read", _link_across, priority=100)
    app.connect("doctree-read", _same_anchors, priority=100)  # before tables of contents are made
    app.connect("html-page-context", _switch)
    app.connect("html-collect-pages", _root)
    return {"parallel_read_safe": True}


def source_of(language: str) -> Path:
    """The folder that the pages of a language are read from."""
    return DOCS.parent if language == "en" else DOCS / language


def from_page(app: Sphinx, page: str, target: str) -> str:
    """The address, as seen from a page, of a file by its path in the site."""
    language = app.config.language
    place = page if language == "en" else f"{language}/{page}"
    return posixpath.relpath(target, posixpath.dirname(place))


def _in_site(path: str) -> tuple[str, str]:
    """Language, and path in the site, of a page by its path in the project."""
    folder, _, within = path.removeprefix("docs/").partition("/")
    if path.startswith("docs/") and folder in LANGUAGES:
        return folder, f"{folder}/{within}"
    return "en", path


def _link_across(app: Sphinx, doctree: nodes.document) -> None:
    """Links to pages in another language, such as those without a translation, of which this build has none."""
    source = source_of(app.config.language)
    for node in list(doctree.findall(addnodes.pending_xref)):
        if node.get("refdomain") != "doc":
            continue
        path = source.joinpath(node["reftarget"]).resolve().relative_to(DOCS.parent).as_posix()
        language, place = _in_site(path)
        if language == app.config.language:
            continue
        target = from_page(app, app.env.docname, f"{place}.html")
        if node["reftargetid"]:
            target += "#" + nodes.make_id(node["reftargetid"])
        link = nodes.reference("", "", internal=False, refuri=target)
        link += node.children
        node.replace_self(link)


def _same_anchors(app: Sphinx, doctree: nodes.document) -> None:
    """A section's address is that of the original's: one made of Korean letters would be `id1`, `id2` and so on."""
    language = app.config.language
    if language == "en":
        return
    place = _counterpart(app.env.docname, "en")
    text = CODE.sub("", (DOCS.parent / f"{place}.md").read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    for section, title in zip(doctree.findall(nodes.section), titles, strict=False):
        anchor = nodes.make_id(title)
        if anchor and anchor not in section["ids"]:
            section["ids"].insert(0, anchor)


def _counterpart(page: str, language: str) -> str:
    """The path in the site of the same page in a language, or else of where that language begins."""
    if page == "search":
        return page if language == "en" else f"{language}/{page}"
    candidates = [f"docs/{page}", page] if language == "en" else [f"docs/{language}/{page}"]
    for path in candidates:
        if (DOCS.parent / f"{path}.md").is_file():
            return _in_site(path)[1]
    return _counterpart("index", language)


def _switch(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    field = "theme_search_bar_text"  # a setting of the theme, which it does not translate
    context[field] = str(_(context[field]))
    name = page.removeprefix("docs/")
    context["other_languages"] = [
        (code, label, from_page(app, page, _counterpart(name, code) + ".html"))
        for code, label in LANGUAGES.items()
        if code != app.config.language
    ]


def _root(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    if app.config.language == "en":
        starts = [(code, name, _counterpart("index", code)) for code, name in LANGUAGES.items()]
        yield "index", {"starts": starts}, "root.html"


class SearchKorean(SearchEnglish):
    """Korean words carry particles, and compounds are written with spaces or without.

    So a page is found by the pairs of syllables of its words, as Lucene's analyser for Chinese, Japanese
    and Korean does it, and a query is cut into such pairs from its beginning: 잠재변수를 finds 잠재 변수.
    Other words are stemmed as in English.
    """

    lang = "ko"
    js_splitter_code = r"""
var splitQuery = (query) =>
  query.match(/[가-힣]{2}|(?<![가-힣])[가-힣](?![가-힣])|((?![가-힣])[\p{L}\p{N}_])+/gu) ?? [];
"""

    def split(self, input: str) -> list[str]:
        """The words of a text and the pairs of syllables of Korean ones."""
        runs = re.findall(r"[가-힣]+|[^\W가-힣]+", input)
        return [part for run in runs for part in _pairs(run)]


def _pairs(run: str) -> list[str]:
    if len(run) < 3 or not "가" <= run[0] <= "힣":
        return [run]
    return [run[at : at + 2] for at in range(len(run) - 1)]
