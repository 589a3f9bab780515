"""A Sphinx extension: notebooks are executed as the site is built, and each can be downloaded from its page.

What they gave is kept beside the pages' trees, for the notebook's code and variform's own: a change of either executes
it anew.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[1]


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect them; the folders after myst_nb has set its own."""
    app.connect("builder-inited", _set_folders, priority=900)
    app.connect("source-read", _add_download)
    return {"parallel_read_safe": True}


def _set_folders(app: Sphinx) -> None:
    """Have myst_nb write beside the trees, and not beside the site."""
    code = hashlib.sha256()
    for path in sorted((ROOT / "src").rglob("*.py")):
        code.update(path.read_bytes())
    kept = Path(app.doctreedir) / "notebooks"
    app.env.mystnb_config = app.env.mystnb_config.copy(
        output_folder=str(kept / "pictures"),
        execution_cache_path=str(kept / code.hexdigest()[:16]),
    )


def _add_download(app: Sphinx, name: str, content: list[str]) -> None:
    """Say below the title of a notebook where it can be had."""
    path = Path(app.env.doc2path(name))
    if path.suffix != ".ipynb":
        return
    notebook = json.loads(content[0])
    text = (
        f"{{download}}`Download this notebook <{path.name}>`. It opens in JupyterLab, VS Code and Colab, and needs "
        "[variform](../installing.md)."
    )
    cell = {"cell_type": "markdown", "id": "download", "metadata": {}, "source": text}
    notebook["cells"].insert(1, cell)
    content[0] = json.dumps(notebook)
