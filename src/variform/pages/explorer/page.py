"""The explorer page: what `contents` gathered and a decoder, in one HTML file that opens without a server."""

import base64
import hashlib
import html
import zlib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from variform.config.checks import checked
from variform.config.choices import LanguageName
from variform.pages.explorer.packing import packed
from variform.pages.language import phrases_of_page
from variform.system.extras import needing
from variform.system.files import to_json, write_text

_SCRIPT = resources.files("variform.pages") / "script"


@dataclass(frozen=True)
class Page:
    """The explorer page of a run; in a notebook it shows itself.

    Args:
        html: The whole page.

    Example:
        >>> Page("<!doctype html>")._repr_html_()[:7]
        '<iframe'
    """

    html: str

    def save(self, path: str | Path) -> None:
        """Write the page to a new file.

        Raises:
            FileExistsError: when there is a file already.
        """
        write_text(path, self.html, new=True)

    def __repr__(self) -> str:
        return f"Page of {len(self.html) / 1e6:.2f} MB: save(path) writes it, a notebook shows it"

    def widget(self) -> Any:
        """The page as a widget of a notebook, whose `selection` has the numbers of the rows selected on its map.

        Rows are counted from 0 in the order of the data, as in the file that the page saves.

        Raises:
            ValueError: where the packages of the extra `notebook` are missing.
        """
        with needing("notebook", "a selection in Python"):
            from variform.pages.explorer.widget import ExplorerWidget
        return ExplorerWidget(page=self.html)

    def _repr_html_(self) -> str:
        """The page in a frame that may run its scripts and save files, and may not touch the notebook."""
        # Whatever the encoding around it.
        text = html.escape(self.html).encode("ascii", "xmlcharrefreplace").decode()
        return (
            f'<iframe srcdoc="{text}" sandbox="allow-scripts allow-downloads" title="variform '
            'explorer" style="width: 100%; height: 760px; border: 0"></iframe>'
        )


@checked
def render(
    contents: dict[str, Any],
    decoder: dict[str, Any],
    *,
    connect: str = "'none'",
    language: LanguageName = "auto",
) -> Page:
    """The page of a run.

    Whatever the contents hold is shown as text: packed it cannot end its element, and the script puts none into HTML.

    Args:
        contents: What `contents.gather` gives.
        decoder: What `createDecoder` in script/decoder.js takes.
        connect: What the page may connect to, as in a content security policy; nothing by default.
        language: Of the page; `auto` is that of the browser, where the page has it, else English.

    Example:
        >>> page = render({"title": "</script>"}, {})
        >>> page.html.startswith("<!doctype html>"), "&lt;/script&gt;: variform explorer" in page.html
        (True, True)
    """
    script, loader, style, skeleton = (
        _SCRIPT.joinpath(name).read_text(encoding="utf-8")
        for name in ("bundle.js", "loader.js", "page.css", "page.html.j2")
    )
    environment = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    weights = base64.b64decode(decoder.get("weights", ""))
    rest = {name: value for name, value in decoder.items() if name != "weights"}
    words = phrases_of_page(language)
    data = {"contents": contents, "decoder": rest, "words": words}
    text = environment.from_string(skeleton).render(
        title=contents["title"],
        script=packed(script.encode()),
        weights=weights and packed(weights, zlib.Z_HUFFMAN_ONLY),
        loader=loader,
        style=style,
        loader_hash=_hash(loader),
        script_hash=_hash(script),
        style_hash=_hash(style),
        connect=connect,
        language="en" if language == "auto" else language,
        data=packed(to_json(data).encode()),
    )
    return Page(text)


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
