"""A run's report: one HTML file with every number and picture inside, which opens offline and needs no script."""

import base64
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from variform.config.options import in_options
from variform.config.words import Own
from variform.pages.glossary import anchor_of, entry_of, formula_of
from variform.pages.language import ENGLISH, Words
from variform.pages.palette import DARK_PALETTE, PALETTE

PAGE_DPI = 96  # what browsers call an inch
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
NUMBER = re.compile(r"[-+\N{MINUS SIGN}\N{ALMOST EQUAL TO}<>~ ]*\.?\d.*")


@dataclass(frozen=True)
class Table:
    """A table of ready-made words and numbers.

    Args:
        title: What the table holds.
        header: One head per column.
        rows: As many cells each as there are heads.
        note: How to read it, such as what the errors mean.
        meanings: What heads, and names at the beginning of rows, mean in a sentence or two; a "?" beside them tells it.
        headings: Where it leads on to, by the same names: a heading of the glossary and the tag of a formula or "".

    Raises:
        ValueError: if a row has another number of cells than the header.

    Example:
        >>> Table("Density", ("measure", "nats"), [("ELBO", "-98.2")]).note
        ''
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    meanings: Mapping[str, str] = field(default_factory=dict)
    headings: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a row that would not fit under the heads."""
        for row in self.rows:
            if len(row) != len(self.header):
                raise ValueError(
                    f"every row of the table {self.title!r} must have {len(self.header)} cells, one per head; "
                    f"got {len(row)}: {list(row)}. Fill the gaps with empty cells."
                )


@dataclass(frozen=True)
class Question:
    """What was asked of a model in depth: it opens with a click on its answer.

    Args:
        title: What it is about.
        asked: What was asked, in a sentence.
        answer: What the numbers mean, in a sentence.
        tables: The numbers.
    """

    title: str
    asked: str
    answer: str
    tables: Sequence[Table]


@dataclass(frozen=True)
class Part:
    """A panel of a figure, or an entry of its legend, as an element of the page.

    Args:
        svg: The element, which `vector` made: the page shows it as it is.
        width: Pixels of the page.
        narrow: The same for a phone; empty where it fits one.
    """

    svg: str
    width: int
    narrow: str = ""


@dataclass(frozen=True)
class Drawing:
    """A figure that flows into any width, in the colours of the page.

    Args:
        title: What stands above its panels.
        note: What stands below them.
        panels: One each.
        keys: The entries of the legend.
    """

    title: str
    note: str
    panels: Sequence[Part]
    keys: Sequence[Part] = ()


@dataclass(frozen=True)
class Picture:
    """A figure as a PNG file with its title and caption.

    Args:
        title: What is seen; also what a screen reader says.
        path: The PNG file.
        caption: What to learn from it.
        drawing: What the page shows instead of the file; None for the file.

    Example:
        >>> Picture("Training", Path("curves.png"), "ELBO per epoch.").title
        'Training'
    """

    title: str
    path: Path
    caption: str
    drawing: Drawing | None = None


def _is_own(value: Any) -> bool:
    """Whether a text is the user's."""
    return isinstance(value, Own)


def render(
    *,
    title: str,
    summary: str,
    facts: Sequence[tuple[str, str]],
    tables: Sequence[Table],
    pictures: Sequence[Picture],
    command: str,
    notes: Sequence[str],
    config: str,
    warnings: Sequence[str] = (),
    explorer: str = "",
    verdict: str = "",
    advice: str = "",
    top: Picture | None = None,
    folded: Sequence[tuple[str, str]] = (),
    networks: str = "",
    questions: Sequence[Question] = (),
    words: Words = ENGLISH,
) -> str:
    """The report as the text of one HTML page.

    Everything is inside the page, the pictures as drawings or byte for byte; whatever else is passed is shown as text,
    never as HTML. Where
    a sentence has the field of a configuration in backticks, the page shows the option, as the command line does.

    Args:
        title: The page's title.
        summary: The result in a sentence or two.
        facts: Names and values, such as ("examples", "1,797").
        tables: In the order of the page.
        pictures: In the order of the page.
        command: What to type to repeat the run.
        notes: What a reader must know to trust the numbers.
        config: The whole configuration, as text.
        warnings: What stands first on the page, before anything else that is said of the result but the verdict.
        explorer: The name of the explorer page beside the report; empty where there is none.
        verdict: The result in one line, above all else; empty where the summary says it.
        advice: What to do next, below the verdict.
        top: The picture that stands above the numbers.
        folded: Names and values, as facts, that few readers need: they stand at the end and open with a click.
        networks: A drawing of the model's networks as an element of the page, which opens there too.
        questions: What was asked in depth, in the order of the page.
        words: The language. Whatever is passed is English; an `Own` text stays as it is in every language.

    Raises:
        ValueError: if a picture is not a PNG file.
        FileNotFoundError: if a picture does not exist.

    Example:
        >>> empty = {"facts": [], "tables": [], "pictures": [], "notes": [], "config": ""}
        >>> page = render(title="Digits", summary="It works.", command="variform train digits", **empty)
        >>> page.startswith("<!doctype html>"), "<h1>Digits</h1>" in page
        (True, True)
    """
    from jinja2 import (
        Environment,
        StrictUndefined,
    )  # here, for pictures and tables are made without it

    environment = Environment(
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
    )
    environment.filters["say"] = words.say
    environment.tests["own"] = _is_own
    environment.filters["options"] = partial(_options, words)
    environment.filters["unbroken"] = unbroken
    every = [*tables, *(table for question in questions for table in question.tables)]
    source = (
        resources.files("variform.pages").joinpath("report.html.j2").read_text(encoding="utf-8")
    )
    return environment.from_string(source).render(
        language=words.code,
        title=title,
        summary=summary,
        facts=facts,
        tables=[(table, _numeric_columns(table)) for table in tables],
        pictures=[_embed(picture) for picture in pictures],
        command=command,
        notes=notes,
        warnings=warnings,
        config=config,
        explorer=explorer,
        verdict=Own(words.say(verdict).replace(" ± ", "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}")),
        advice=advice,
        top=_embed(top) if top else None,
        folded=folded,
        networks=networks,
        questions=[
            (question, [(table, _numeric_columns(table)) for table in question.tables])
            for question in questions
        ],
        glossary=_glossary(every, words),
        light=PALETTE,
        dark=DARK_PALETTE,
    )


def _glossary(tables: Sequence[Table], words: Words) -> dict[str, dict[str, Any]]:
    """The words of tables by their headings, each with its formula, in the order of the tables."""
    leads = [
        table.headings[name]
        for table in tables
        for name in (*table.header, *(row[0] for row in table.rows))
        if name in table.headings
    ]
    found = {}
    for heading, tag in dict.fromkeys(leads):
        entry, formula = entry_of(heading, words.code), formula_of(tag)
        if entry is not None:
            found[heading] = {
                "key": anchor_of(heading),
                "title": entry.title,
                "text": _as_html(entry.text),
                "tag": tag,
                "formula": _as_html(formula.text) if formula else "",
            }
    return found


def _as_html(markdown: str) -> Markup:
    """Paragraphs, lists, bold and code of the project's own Markdown."""
    parts = []
    for part in markdown.split("\n\n"):
        text = str(escape(part))
        text = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", text)
        text = re.sub(r"`(.+?)`", r"<code>\1</code>", text)
        text = re.sub(r"^- ", "<br>", text, flags=re.MULTILINE)
        parts.append(f"<p>{text}</p>")
    return Markup("".join(parts))


def _options(words: Words, sentence: str) -> Markup:
    """The sentence as HTML that names options where it has fields."""
    return unbroken(in_options(words.say(sentence)))


def unbroken(sentence: str) -> Markup:
    """The sentence as HTML whose lines do not break within the name of an option."""
    return Markup(re.sub(r"--[a-z-]+", r'<span class="option">\g<0></span>', str(escape(sentence))))


def _numeric_columns(table: Table) -> list[bool]:
    """For each column, whether all its cells are numbers (or empty), to be set flush right."""
    return [
        all(NUMBER.fullmatch(cell) for cell in column if cell)
        for column in zip(*table.rows, strict=True)
    ]


def _embed(picture: Picture) -> dict[str, Any]:
    """What the page shows of a picture: its words, its size on the page and its bytes in base64."""
    content = Path(picture.path).read_bytes()
    if not content.startswith(PNG_SIGNATURE) or len(content) < 24:
        raise ValueError(
            f"a picture must be a PNG file; {picture.path} starts with {content[:8]!r}. Save the figure as .png."
        )
    width, height = struct.unpack(">II", content[16:24])  # the header chunk follows the signature
    scale = PAGE_DPI / _dots_per_inch(content)
    return {
        "title": picture.title,
        "caption": picture.caption,
        "drawing": picture.drawing,
        "data": base64.b64encode(content).decode("ascii"),
        "width": round(width * scale),
        "height": round(height * scale),
    }


def _dots_per_inch(content: bytes) -> float:
    """The resolution a PNG file states, so that every figure comes in its own size and all type in one."""
    start = content.find(b"pHYs", 0, max(0, content.find(b"IDAT")))
    per_metre = int.from_bytes(content[start + 4 : start + 8], "big") if start > 0 else 0
    return 0.0254 * per_metre or PAGE_DPI
