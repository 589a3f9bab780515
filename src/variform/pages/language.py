"""The words of pages in other languages: English stands in the code, each other language in a file of `words/`.

A file maps English phrases to those of its language. `{0}` in both stands for what changes, such as the name of a
column, and is put in as it stands; `{0#}` in the English phrase for a number alone, `{0:say}` in the translation for
what is itself a phrase. So sentences that a run keeps in its files, in English, are found again for a page.
"""

import functools
import itertools
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import get_args

from variform.config.checks import checked
from variform.config.choices import LanguageName
from variform.config.options import in_options
from variform.config.words import Own

_HOLE = re.compile(r"\{(\d+)(#|:say)?\}")
_ANYTHING = r"(?:(?![.!?] |; ).)+?"  # one part of a sentence
_FIGURE = r"[\d.,%+\-±e ]+"
_PARTS = re.compile(r"(?<=[.!?]) +(?=\S)|\n+")
_CLAUSES = re.compile(r"; ")
_MEMBERS = re.compile(r", (?![^(]*\))")  # of a list, outside brackets
_NUMBER = "98765"  # in none of the phrases
_VARIABLES = ("LC_ALL", "LC_MESSAGES", "LANG")  # in the order in which they count


@dataclass(frozen=True)
class Words:
    """The phrases of a language.

    Args:
        code: As `<html lang>` has it.
        phrases: By the English ones; none for English itself.

    Example:
        >>> words = Words("ko", {"{0} of {1} used": "{1} 중 {0} 사용", "rows": "행", "{0} are new": "새 {0:say}"})
        >>> words.say("2 of 3 used; rows are new."), words.say("Something else")
        ('3 중 2 사용; 새 행.', 'Something else')
    """

    code: str
    phrases: Mapping[str, str] = field(default_factory=dict)

    def say(self, text: str) -> str:
        """The text in this language, by the whole, by sentence or by clause; what has no phrase stays English.

        Args:
            text: English, one sentence or several.
        """
        if not self.phrases or isinstance(text, Own):
            return text
        whole = self._found(text)
        if whole is not None:
            return whole
        for between in (_PARTS, _CLAUSES, _MEMBERS):
            ends = [0, *(match.end() for match in between.finditer(text)), len(text)]
            if len(ends) > 2:
                pieces = [text[a:b] for a, b in itertools.pairwise(ends)]
                return "".join(map(self._piece, pieces))
        return text

    def _piece(self, piece: str) -> str:
        bare = piece.rstrip("; ,\n")
        return self.say(bare) + piece[len(bare) :]

    def _found(self, text: str) -> str | None:
        """What the whole text is; a full stop at the end and a capital at the beginning are neither here nor there."""
        exact, patterns = self._tables
        bare = text.removesuffix(".")
        stop = text[len(bare) :]
        if (phrase := exact.get(_small(bare))) is not None:
            return phrase + stop
        for pattern, phrase in patterns:
            match = pattern.fullmatch(bare)
            if match is not None and all(map(_is_balanced, match.groups())):
                return self._filled(phrase, match) + stop
        return None

    def _filled(self, phrase: str, match: re.Match[str]) -> str:
        def put(hole: re.Match[str]) -> str:
            value = match[f"h{hole[1]}"]
            return self.say(value) if hole[2] == ":say" else value

        return _HOLE.sub(put, phrase)

    @functools.cached_property
    def _tables(self) -> tuple[dict[str, str], list[tuple[re.Pattern[str], str]]]:
        """Phrases without holes, and those with holes, the ones of most letters first."""
        exact, patterns = {}, []
        for english, phrase in self.phrases.items():
            key, own = english.removesuffix("."), phrase.removesuffix(".")
            if _HOLE.search(key):
                patterns.append((len(_HOLE.sub("", key)), _pattern(key), own))
            else:
                exact[_small(key)] = own
        patterns.sort(key=lambda entry: -entry[0])
        return exact, [(pattern, phrase) for _, pattern, phrase in patterns]


def _small(text: str) -> str:
    return text[:1].lower() + text[1:]


def _is_balanced(part: str) -> bool:
    """Whether the brackets in a part of a sentence are its own."""
    depth = 0
    for letter in part:
        depth += (letter == "(") - (letter == ")")
        if depth < 0:
            return False
    return depth == 0


def _pattern(key: str) -> re.Pattern[str]:
    parts, seen, start = [], set(), 0
    for hole in _HOLE.finditer(key):
        parts.append(re.escape(key[start : hole.start()]))
        name = f"h{hole[1]}"
        may_be = _FIGURE if hole[2] == "#" else _ANYTHING
        parts.append(f"(?P={name})" if name in seen else f"(?P<{name}>{may_be})")
        seen.add(name)
        start = hole.end()
    parts.append(re.escape(key[start:]))
    begin = key[:1]
    if begin.isalpha():
        parts[0] = f"[{begin.lower()}{begin.upper()}]" + parts[0][1:]
    return re.compile("".join(parts), re.DOTALL)


ENGLISH = Words("en")
LANGUAGES = tuple(name for name in get_args(LanguageName) if name not in ("auto", "en"))
"""The languages beside English, each with a file."""


@checked
def words_of(language: LanguageName) -> Words:
    """The words of a language; of `auto` those of the language that the system is set to, as far as there are any.

    Example:
        >>> words_of("ko").say("Contents"), words_of("en").say("Contents")
        ('차례', 'Contents')
    """
    code = _of_system() if language == "auto" else language
    return _read(code) if code in LANGUAGES else ENGLISH


@checked
def phrases_of_page(language: LanguageName) -> dict[str, dict[str, dict[str, str]]]:
    """What a page with a script carries, by language: of `auto` all languages, of which the browser chooses one."""
    codes = LANGUAGES if language == "auto" else [code for code in LANGUAGES if code == language]
    return {
        code: {name: _in_options(_file(code)[name]) for name in ("both", "explorer")}
        for code in codes
    }


def _in_options(phrases: Mapping[str, str]) -> dict[str, str]:
    """Phrases with options where they have fields, as the sentences of a page have them."""
    return {_in_option(english): _in_option(phrase) for english, phrase in phrases.items()}


def _in_option(phrase: str) -> str:
    """A phrase whose fields have become options; a hole, which is no value, becomes a number and a hole again."""
    numbered = re.sub(r"=\{(\d)\}`", rf"={_NUMBER}\1`", phrase)
    return re.sub(rf"{_NUMBER}(\d)", r"{\1}", in_options(numbered))


def _of_system() -> str:
    value = next((os.environ[name] for name in _VARIABLES if os.environ.get(name)), "")
    return re.split("[_.@-]", value)[0].lower()


@functools.cache
def _read(code: str) -> Words:
    groups = _file(code)
    return Words(code, {**groups["both"], **groups["report"]})


def _file(code: str) -> dict[str, dict[str, str]]:
    path = resources.files("variform.pages") / "words" / f"{code}.json"
    return json.loads(path.read_text(encoding="utf-8"))
