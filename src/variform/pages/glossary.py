"""The words of tables, reports and pages, each explained in a few sentences, and formulas: the project's own documents.

They are docs/glossary.md, its translations and docs/formulas.md, which an installed package has inside.
"""

import difflib
import functools
import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from variform.config.checks import checked
from variform.pages.language import Words

_HEADING = re.compile(r"^### (.+)$", re.MULTILINE)
_SECTION = re.compile(r"^## .*$", re.MULTILINE)
_LINK = re.compile(r"\[([^\]]+)\]\([^)]+\)")
_ALIKE = 0.6  # by difflib


@dataclass(frozen=True)
class Entry:
    """A word, or a formula.

    Args:
        title: Its heading.
        text: Paragraphs of Markdown, without links.
    """

    title: str
    text: str


def entry_of(title: str, code: str = "en") -> Entry | None:
    """The entry of the glossary with an English heading, in a language that the glossary has, else in English.

    None where there is none, as in a copy of the code without its documents.

    Args:
        title: The heading, in any case.
        code: The language.

    Example:
        >>> [entry.title for entry in (entry_of("gap"), entry_of("gap", "ko")) if entry]
        ['Gap', '간극 (gap)']
    """
    titles = [entry.title.lower() for entry in _entries("glossary.md")]
    if title.lower() not in titles:
        return None
    return _glossary(code)[titles.index(title.lower())]


def anchor_of(heading: str) -> str:
    """Where in a report the entry of the glossary with an English heading stands.

    Example:
        >>> anchor_of("Active units")
        'word-active-units'
    """
    return "word-" + re.sub(r"[^a-z0-9]+", "-", heading.lower())


def formula_of(tag: str) -> Entry | None:
    """The formula of a tag: LaTeX, its source, the line of code that computes it, and its test; None as of `entry_of`.

    Args:
        tag: The tag.

    Example:
        >>> formula_of("bits-per-dim") is None, formula_of("no-tag") is None
        (False, True)
    """
    return next((entry for entry in _entries("formulas.md") if entry.title == tag), None)


@checked
def explain(word: str, words: Words) -> tuple[Entry, ...]:
    """The entries that a word means: of the glossary, and the formula of that tag.

    Args:
        word: A heading in English or the language, a word of one, or the tag of a formula.
        words: The language.

    Raises:
        ValueError: where there is none; it names what is near.
    """
    wanted = " ".join(word.lower().split())
    formulas = [
        entry for entry in _entries("formulas.md") if entry.title == wanted.replace(" ", "-")
    ]
    own, english = _glossary(words.code), _glossary("en")
    names = [
        {*_names(one.title), *_names(other.title)} for one, other in zip(own, english, strict=True)
    ]
    found = [entry for entry, known in zip(own, names, strict=True) if wanted in known]
    if not found and not formulas:
        every = sorted({name for known in names for name in known})
        near = difflib.get_close_matches(wanted, every, 5, _ALIKE)
        near = near or [name for name in every if wanted in name][:5] or ["elbo", "kl", "nll"]
        raise ValueError(
            f"the word must be one of the glossary or the tag of a formula; there is no {word!r}. "
            f"Did you mean: {', '.join(near)}?"
        )
    return (*found, *formulas)


def _names(title: str) -> list[str]:
    """What a heading is called by: as a whole, and each of its parts."""
    parts = re.split(r"[,()]", title.lower())
    return [title.lower(), *(part.strip() for part in parts if part.strip())]


def _glossary(code: str) -> tuple[Entry, ...]:
    """All entries, in the order of the English ones."""
    own = _entries("glossary.md" if code == "en" else f"{code}/glossary.md")
    return own or _entries("glossary.md")


@functools.cache
def _entries(name: str) -> tuple[Entry, ...]:
    """The entries of a document; none where there is no such document."""
    text = _document(name)
    headings = list(_HEADING.finditer(text))
    entries = []
    ends = [heading.start() for heading in headings[1:]] + [len(text)]
    for heading, end in zip(headings, ends, strict=False):
        body = text[heading.end() : end]
        body = _LINK.sub(r"\1", _SECTION.split(body)[0]).strip()
        entries.append(Entry(heading[1].strip("`"), body))
    return tuple(entries)


def _document(name: str) -> str:
    """A document of the installed package, or of the repository that the code stands in."""
    inside = resources.files("variform.pages") / "words" / name.replace("/", "-")
    beside = Path(__file__).parents[3] / "docs" / name
    for path in (inside, beside):
        if path.is_file():
            return path.read_text(encoding="utf-8")
    return ""
