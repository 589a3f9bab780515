"""The explorer page: what `contents` gathered and a decoder, in one HTML file that opens without a server."""

import base64
import gzip
import hashlib
import html
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined

from variform.system.extras import needing
from variform.system.files import to_json, write_text

_WORTH_IT = 200_000  # characters of weights: less is not compressed, so that it opens in the oldest browsers too
_SCRIPT = resources.files("variform.pages") / "script"
# What the bundle hands out is its one global name.
_START = (
    "variform.ready = variform.start();\nvariform.ready.catch((error) => console.error(error));\n"
)


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


def render(contents: dict[str, Any], decoder: dict[str, Any], *, connect: str = "'none'") -> Page:
    """The page of a run.

    Whatever the contents hold is shown as text: the JSON cannot end its element, and the page puts no data into HTML.

    Args:
        contents: What `contents.gather` gives.
        decoder: What `createDecoder` in script/decoder.js takes.
        connect: What the page may connect to, as in a content security policy; nothing by default.

    Example:
        >>> page = render({"title": "</script>"}, {})
        >>> page.html.startswith("<!doctype html>"), "</script>" in page.html.split("<script")[1].split(">", 1)[1]
        (True, True)
    """
    script = _SCRIPT.joinpath("bundle.js").read_text(encoding="utf-8") + _START
    style = _SCRIPT.joinpath("page.css").read_text(encoding="utf-8")
    environment = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    template = environment.from_string(_SCRIPT.joinpath("page.html.j2").read_text(encoding="utf-8"))
    text = template.render(
        title=contents["title"],
        script=script,
        style=style,
        script_hash=_hash(script),
        style_hash=_hash(style),
        connect=connect,
        data=_inert({"contents": contents, "decoder": _compressed(decoder)}),
    )
    return Page(text)


def _compressed(decoder: dict[str, Any]) -> dict[str, Any]:
    """A large decoder with its weights compressed, where that is smaller; `unpacked` of script/decoder.js undoes it.

    First bytes and second bytes of float16 stand apart, which compresses better: the second ones hold the exponents.
    """
    text = decoder.get("weights", "")
    if len(text) < _WORTH_IT:
        return decoder
    weights = np.frombuffer(base64.b64decode(text), np.uint8)
    halves = [array["start"] for array in decoder["arrays"].values() if array["type"] == "f16"]
    start = min(halves, default=len(weights))
    pairs = weights[start:].reshape(-1, 2)
    apart = np.concatenate([weights[:start], pairs[:, 0], pairs[:, 1]])
    packed = base64.b64encode(gzip.compress(apart.tobytes(), 9, mtime=0)).decode("ascii")
    rest = {name: value for name, value in decoder.items() if name != "weights"}
    return rest | {"packed": packed, "apart": start}


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def _inert(values: Any) -> str:
    """JSON that may stand in a script element: no character of it means anything to HTML or to JavaScript.

    Example:
        >>> _inert("</script>\N{LINE SEPARATOR}")
        '"\\\\u003c/script\\\\u003e\\\\u2028"'
    """
    text = to_json(values)  # ASCII: separators of lines are escaped
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
