"""The help page of a command: the common options first, with whole words at any width, and short for -h."""

import re
from typing import Any

from cyclopts.help import (
    DefaultFormatter,
    DescriptionRenderer,
    HelpEntry,
    HelpPanel,
    InlineText,
    NameRenderer,
)
from cyclopts.help.specs import AsteriskColumn, ColumnSpec
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.markdown import Markdown
from rich.padding import Padding
from rich.text import Text

from variform.config.toml import to_option
from variform.faces.cli.options import COMMON, SECTIONS, Options

_NARROW = 72  # columns, below which a description stands under the names of its option and not beside them
_EXAMPLES = re.compile(r"^Examples?: ((?:`[^`]+`,?\s*)+)$", re.MULTILINE)
_OF_COMMON = frozenset(map(to_option, COMMON))


class HelpPages:
    """What cyclopts asks to format its help pages; it gathers a page, and `finish` prints it.

    Args:
        short: Leave out the options that are not common, and all but the first clause of what is said of the others.

    Example:
        >>> HelpPages(short=True).finish(Console())
    """

    def __init__(self, *, short: bool = False) -> None:
        self.short = short
        self._panels: list[HelpPanel] = []
        self._command = ""
        self._formatter = DefaultFormatter(column_specs=_columns)

    def render_usage(self, console: Console, options: ConsoleOptions, usage: Any) -> None:
        """Print the line that says how the command is called."""
        self._formatter.render_usage(console, options, usage)
        self._command = re.sub(r"^Usage: ", "", str(usage)).split(" [")[0].strip()

    def render_description(self, console: Console, options: ConsoleOptions, description: Any) -> None:  # fmt: skip
        """Print what the command does, with each of its examples on a line of its own."""
        text = _markup(description)
        examples = _EXAMPLES.search(text)
        if examples is None:
            self._formatter.render_description(console, options, description)
            return
        console.print(Markdown(_EXAMPLES.sub("", text).strip()))
        console.print()
        commands = examples_in(text)
        console.print(Text("Examples:" if len(commands) > 1 else "Example:"))
        for command in commands:
            console.print(Padding(Text(command, style="cyan", overflow="fold"), (0, 0, 0, 2)))
        console.print()

    def __call__(self, console: Console, options: ConsoleOptions, panel: HelpPanel) -> None:
        """Gather a part of the page."""
        entries = [_plain(entry) for entry in panel.entries]
        if self.short and panel.format == "parameter":
            entries = [_first_clause(entry) for entry in entries]
        self._panels.append(panel.copy(entries=entries))

    def finish(self, console: Console) -> None:
        """Print the parts of the page that were gathered."""
        panels, self._panels = _common_first(self._panels), []
        others = [panel for panel in panels if panel.title in SECTIONS]
        for panel in panels:
            if not (self.short and panel in others):
                self._formatter(console, console.options, panel)
        left_out = sum(len(panel.entries) for panel in others)
        if self.short and left_out:
            console.print(f"{left_out} more options: {self._command} --help", highlight=False)


def examples_in(text: str) -> list[str]:
    r"""The commands that a description gives as examples.

    Example:
        >>> examples_in("Draw.\n\nExamples: `variform draw a`, `variform draw b`\n\nArgs:")
        ['variform draw a', 'variform draw b']
    """
    examples = _EXAMPLES.search(text)
    return re.findall(r"`([^`]+)`", examples[1].replace("\n", " ")) if examples else []


def _common_first(panels: list[HelpPanel]) -> list[HelpPanel]:
    """The parts of a page, with the common options of all sections in the first of options."""
    sections = [panel for panel in panels if panel.title in SECTIONS]
    first = next((panel for panel in panels if panel.title == Options.name), None)
    if not sections or first is None:
        return panels
    common = [entry for panel in sections for entry in panel.entries if _is_common(entry)]
    for panel in sections:
        panel.entries = [entry for entry in panel.entries if not _is_common(entry)]
    first.title = "Common options"
    first.entries = [*first.entries, *common]
    return [panel for panel in panels if panel.entries]


def _is_common(entry: HelpEntry) -> bool:
    return bool(_OF_COMMON & set(entry.names))


def _plain(entry: HelpEntry) -> HelpEntry:
    """An option without the name that empties a list that is empty anyway."""
    if entry.default is not None:
        return entry
    names = tuple(name for name in entry.negative_names if not name.startswith("--empty-"))
    return entry.copy(negative_names=names)


def _first_clause(entry: HelpEntry) -> HelpEntry:
    """An option with the first clause of what is said of it."""
    clause = re.split(r"(?<!\.)[;:.] ", _markup(entry.description))[0].rstrip(" .\n")
    return entry.copy(description=InlineText.from_format(clause, format="markdown"))


def _markup(text: Any) -> str:
    """The Markdown of a text of a page."""
    return getattr(getattr(text, "primary_renderable", None), "markup", "")


def _columns(
    console: Console, options: ConsoleOptions, entries: list[HelpEntry]
) -> tuple[ColumnSpec, ...]:
    """Names beside their descriptions, or above them where there is no room."""
    if console.width < _NARROW:
        return (ColumnSpec(renderer=_stacked, overflow="fold"),)
    widest = max(18, round(0.35 * console.width))
    names = ColumnSpec(renderer=NameRenderer(widest), style="cyclopts.name", max_width=widest)
    described = ColumnSpec(renderer=DescriptionRenderer(), overflow="fold")
    marks = (AsteriskColumn,) if any(entry.required for entry in entries) else ()
    return (*marks, names, described)


def _stacked(entry: HelpEntry) -> RenderableType:
    names = Text(" ".join(entry.display_labels_with_metavar), style="cyclopts.name")
    return Group(names, Padding(DescriptionRenderer()(entry), (0, 0, 0, 2)))
