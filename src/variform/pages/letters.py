"""Fonts for letters that the usual font of pictures does not have: Korean, Chinese, Japanese, Arabic and others."""

import contextlib
import warnings
from functools import cache

from matplotlib.figure import Figure
from matplotlib.font_manager import (
    FontEntry,
    FontProperties,
    findfont,
    findSystemFonts,
    fontManager,
)
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text

_FIRST = (
    *("Noto Sans CJK KR", "Noto Sans KR", "NanumGothic", "Malgun Gothic", "Apple SD Gothic Neo"),
    *("Noto Sans CJK JP", "Noto Sans CJK SC", "Hiragino Sans", "Yu Gothic", "PingFang SC"),
    *("Microsoft YaHei", "WenQuanYi Zen Hei", "Noto Sans", "Arial Unicode MS", "Unifont"),
)
"""Families that are asked first, where they are installed."""


def give_fonts(figure: Figure) -> None:
    """Let every text of a figure have a font with its letters, where one is installed; a warning says where not."""
    texts = figure.findobj(Text)
    letters = {letter for text in texts for letter in text.get_text() if letter.isprintable()}
    usual = FontProperties().get_family()
    foreign = letters - _letters_of(findfont(FontProperties()))
    if not foreign:
        return
    families, missing = _covering(frozenset(foreign))
    for text in texts:
        if foreign & set(text.get_text()):
            text.set_fontfamily([*usual, *families])
            text.set_fontweight("normal")  # few of these fonts have a bold one
    if missing:
        _warn(missing)


@cache
def _warn(missing: frozenset[str]) -> None:
    """Say once what cannot be drawn."""
    shown = "".join(sorted(missing)[:10])
    warnings.warn(
        f"pictures show boxes for letters such as {shown}: no font of this machine has them. Install one, such as Noto"
        " Sans CJK, and draw the pictures again.",
        stacklevel=4,
    )


@cache
def _covering(letters: frozenset[str]) -> tuple[tuple[str, ...], frozenset[str]]:
    """Families that have the letters together, as few as come first, and the letters that none has."""
    families, left = _chosen(letters)
    if left:
        _add_later_fonts()
        families, left = _chosen(letters)
    return families, left


def _chosen(letters: frozenset[str]) -> tuple[tuple[str, ...], frozenset[str]]:
    rank = {family: place for place, family in enumerate(_FIRST)}

    def order(font: FontEntry) -> tuple[int, bool, str]:
        is_plain = font.style == "normal" and font.weight in (400, "normal", "regular")
        return rank.get(font.name, len(rank)), not is_plain, font.name

    families: list[str] = []
    left = letters
    for font in sorted(fontManager.ttflist, key=order):
        if font.name.startswith("Last Resort"):  # it has a box for every letter
            continue
        found = left & _letters_of(font.fname)
        if found:
            families.append(font.name)
            left -= found
        if not left:
            break
    return tuple(families), left


def _add_later_fonts() -> None:
    """Matplotlib keeps a list of an earlier day: add the fonts that were installed since."""
    known = {font.fname for font in fontManager.ttflist}
    for path in sorted(set(findSystemFonts()) - known):
        with contextlib.suppress(OSError, RuntimeError):
            fontManager.addfont(path)


@cache
def _letters_of(path: str) -> frozenset[str]:
    """The letters of a font's file; none of one that cannot be read."""
    try:
        return frozenset(map(chr, FT2Font(path).get_charmap()))
    except (OSError, RuntimeError):
        return frozenset()
