"""Versions of the documentation side by side: from each page a way to the list of them, and what publishes one.

    python tools/site_versions.py site FOLDER    # the built site becomes FOLDER/0.1.0

A folder of versions needs no server and no script: each version has the page versions.html with links to the others,
which publishing a new one brings up to date in all, and FOLDER/index.html leads to the newest.
"""

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from site_languages import from_page
from sphinx.application import Sphinx

from variform.system.files import replacing
from variform.version import __version__

PAGE = "versions"
LIST = re.compile(r"<!-- versions -->.*<!-- end of versions -->", re.DOTALL)
NUMBER = re.compile(r"\d+(\.\d+)*")
ROOT_PAGE = """<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8" />
    <meta name="viewport" content="width=device-width" />
    <title>variform</title>
    <meta http-equiv="refresh" content="0; url={newest}/index.html" />
  </head>
  <body><main><h1>variform</h1>{links}</main></body>
</html>
"""


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect the page with the list, and what the link to it needs."""
    app.connect("html-collect-pages", _page)
    app.connect("html-page-context", _link)
    return {"parallel_read_safe": True}


def _page(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    if app.config.language == "en":
        yield PAGE, {"title": "Versions", "versions": list_of({__version__: ""})}, "versions.html"


def _link(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    context["version"] = __version__
    context["address_of_versions"] = from_page(app, page, f"{PAGE}.html")


def list_of(folders: dict[str, str]) -> str:
    """The list in HTML between its marks, from each version and its folder."""
    items = [f'<li><a href="{at}index.html">{name}</a></li>' for name, at in folders.items()]
    return f"<!-- versions --><ul>{''.join(items)}</ul><!-- end of versions -->"


def publish(site: Path, to: Path, version: str = __version__) -> list[str]:
    """Put a built site into a folder of versions, in the place of the same version; the versions there, newest first.

    Args:
        site: What `make docs` has built.
        to: The folder of versions, which is made where there is none.
        version: The name of its folder, such as 0.1.0.
    """
    if not (site / f"{PAGE}.html").is_file():
        raise FileNotFoundError(
            f"{site} is no built site; it has no {PAGE}.html. Call `make docs`."
        )
    half, goal = to / f".{version}", to / version
    shutil.rmtree(half, ignore_errors=True)
    shutil.copytree(site, half, ignore=shutil.ignore_patterns("kept"))
    shutil.rmtree(goal, ignore_errors=True)
    half.rename(goal)
    names = [path.name for path in to.iterdir() if NUMBER.fullmatch(path.name)]
    versions = sorted(names, key=lambda name: [int(part) for part in name.split(".")])[::-1]
    links = list_of({name: f"../{name}/" for name in versions})
    for name in versions:
        page = to / name / f"{PAGE}.html"
        _write(page, LIST.sub(lambda _: links, page.read_text(encoding="utf-8")))
    links = list_of({name: f"{name}/" for name in versions})
    _write(to / "index.html", ROOT_PAGE.format(newest=versions[0], links=links))
    return versions


def _write(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    print("Versions:", ", ".join(publish(Path(sys.argv[1]), Path(sys.argv[2]))))
