"""Pages in other languages keep structure, code, formulas, links and numbers of the English ones."""

import re
from collections import Counter
from dataclasses import dataclass, field
from urllib.parse import unquote

import pytest
from test_documentation import DOCS, ROOT, anchors, name, read

markdown_it = pytest.importorskip("markdown_it")
dollarmath = pytest.importorskip("mdit_py_plugins.dollarmath")

FOLDERS = [path for path in DOCS.iterdir() if re.fullmatch("[a-z]{2}", path.name)]
TRANSLATIONS = sorted(page for folder in FOLDERS for page in folder.rglob("*.md"))
FIRST_SCREEN = 2  # so many sections of README.md are translated
PARSER = markdown_it.MarkdownIt("commonmark").enable("table").use(dollarmath.dollarmath_plugin)
BLOCKS = ("paragraph_open", "list_item_open", "tr_open", "fence", "math_block", "html_block")
COMMENT = re.compile(r"(?:^|(?<=\s))# (.*)$", re.MULTILINE)
NUMBER = re.compile(r"(?<![A-Za-z0-9_.])(\d+(?:[.,]\d+)*)(?:st|nd|rd|th)?(?![A-Za-z0-9_])")
WORDS = (
    "one two three four five six seven eight nine ten eleven twelve",
    "once twice thrice",
    "first second third fourth fifth sixth seventh eighth ninth tenth",
)
IN_WORDS = {word: str(at) for line in WORDS for at, word in enumerate(line.split(), 1)}
IN_WORDS |= {
    "zero": "0",
    "zeros": "0",
    "ones": "1",
    "unit": "1",
    "half": "2",
    "double": "2",
    "doubles": "2",
    "twenty": "20",
    "hundred": "100",
}


@dataclass
class Section:
    """What of a section a translation keeps."""

    title: str
    level: str
    blocks: list = field(default_factory=list)
    code: list = field(default_factory=list)
    formulas: Counter = field(default_factory=Counter)
    spans: Counter = field(default_factory=Counter)
    links: Counter = field(default_factory=Counter)
    prose: str = ""

    def numbers(self):
        return Counter(NUMBER.findall(self.prose))

    def numbers_in_words(self):
        words = re.findall(r"[a-z]+", self.prose.lower())
        return Counter(IN_WORDS[word] for word in words if word in IN_WORDS)


def original_of(page):
    """The English page: README.md, or that of docs/ by the same name."""
    folder = DOCS / page.relative_to(DOCS).parts[0]
    within = page.relative_to(folder)
    return ROOT / within if str(within) == "README.md" else DOCS / within


TRANSLATED = {(page.relative_to(DOCS).parts[0], original_of(page)) for page in TRANSLATIONS}


def goal_of(link, page, language):
    """What a link leads to, in words that are the same for both pages of a pair; None between the two of them."""
    if re.match(r"[a-z]+:", link):
        return link
    file, _, anchor = unquote(link).partition("#")
    there = (page.parent / file).resolve() if file else page
    is_translation = there in TRANSLATIONS
    original = original_of(there) if is_translation else there
    own = original_of(page) if page in TRANSLATIONS else page
    if original == own and there != page:
        return None
    is_translated = (language, original) in TRANSLATED
    headings = anchors(there) if is_translated else []
    if anchor in headings:
        anchor = f"heading {headings.index(anchor) + 1}"
    in_english = page in TRANSLATIONS and is_translated and not is_translation
    return f"{name(original)}#{anchor}" + " in English, which is translated" * in_english


def sections_of(page, text, language):
    """The sections of a page, from its tokens."""
    found, tokens = [], PARSER.parse(text)
    for at, token in enumerate(tokens):
        if token.type == "heading_open":
            found.append(Section(tokens[at + 1].content, token.tag))
        if token.type == "fence" and token.info.startswith("{"):  # navigation of the site
            continue
        section = found[-1]
        if token.type in BLOCKS:
            section.blocks.append(token.type.removesuffix("_open"))
        if token.type == "fence":
            section.code.append((token.info, COMMENT.sub("#", token.content)))
            section.prose += " ".join(COMMENT.findall(token.content)) + "\n"
        if token.type == "math_block":
            section.formulas[" ".join(token.content.split())] += 1
        for part in token.children or []:
            if part.type in ("text", "image"):
                section.prose += part.content
            if part.type == "softbreak":
                section.prose += " "
            if part.type == "code_inline":
                section.spans[part.content] += 1
            if part.type.startswith("math"):
                section.formulas[" ".join(part.content.split())] += 1
            link = part.attrs.get("href", part.attrs.get("src"))
            goal = link and goal_of(link, page, language)
            if goal:
                section.links[goal] += 1
        section.prose += "\n"
    return found


def differences(original, translation, texts=None):
    """What of a translation is out of step, each with the section that it is in."""
    language = translation.relative_to(DOCS).parts[0]
    in_english, translated = texts or (read(original), read(translation))
    ours = sections_of(original, in_english, language)
    theirs = sections_of(translation, translated, language)
    if original == ROOT / "README.md":
        ours = ours[:FIRST_SCREEN]
    levels = [[section.level for section in each] for each in (ours, theirs)]
    if levels[0] != levels[1]:
        at = next(
            (at for at, (one, other) in enumerate(zip(*levels, strict=False)) if one != other),
            min(map(len, levels)),
        )
        titles = [each[at].title if at < len(each) else "no section" for each in (ours, theirs)]
        return [f"headings part at {titles[0]!r}: the translation has {titles[1]!r}"]
    found = []
    for one, other in zip(ours, theirs, strict=True):
        where = f"{one.title!r} ({other.title!r})"
        for kind in ("blocks", "code"):
            if getattr(one, kind) != getattr(other, kind):
                found.append(f"{where}: {kind}: {getattr(one, kind)} is {getattr(other, kind)}")
        for kind in ("formulas", "spans", "links"):
            wanted, given = getattr(one, kind), getattr(other, kind)
            if wanted != given:
                found.append(
                    f"{where}: {kind}: lacks {[*wanted - given]}, has beside {[*given - wanted]}"
                )
        lacks = one.numbers() - other.numbers()
        beside = other.numbers() - one.numbers() - one.numbers_in_words()
        if lacks or beside:
            found.append(f"{where}: numbers: lacks {[*lacks]}, has beside {[*beside]}")
        if "**" in other.prose:  # beside a letter and a bracket Markdown takes it for no mark
            found.append(f"{where}: a ** is shown as it is")
    return found


@pytest.mark.parametrize("page", TRANSLATIONS, ids=name)
def test_a_translation_is_in_step_with_the_original(page):
    original = original_of(page)
    assert original.exists(), f"{name(page)} translates no page"
    found = differences(original, page)
    assert found == [], f"{name(page)} is out of step with {name(original)}:\n" + "\n".join(found)


SLIPS = {
    "numbers": ("0.7까지", "0.8까지", "Pareto k"),
    "formulas": ("z = μ", "$z$ = μ", "Reparameterisation"),
    "spans": ("`patience`", "patience", "Early stopping"),
    "links": ("../formulas.md", "../data.md", "Glossary"),
    "blocks": ("것이다.\n\n## 평가", "것이다.\n\n새 문단.\n\n## 평가", "Reparameterisation"),
    "headings": ("### 지문", "#### 지문", "Fingerprint"),
    "**": ("**코드**(code)", "**코드(code)**가", "Latent variable"),
}


@pytest.mark.parametrize("kind", SLIPS)
def test_what_is_out_of_step_is_named_with_its_section(kind):
    original, page = DOCS / "glossary.md", DOCS / "ko" / "glossary.md"
    right, wrong, section = SLIPS[kind]
    text = read(page)
    assert right in text
    found = differences(original, page, (read(original), text.replace(right, wrong)))
    assert len(found) == 1
    assert kind in found[0]
    assert section in found[0]
