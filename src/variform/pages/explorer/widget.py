"""The explorer page in a notebook, which tells Python what is selected on its map; needs `variform[notebook]`."""

from importlib import resources

import anywidget
import traitlets


class ExplorerWidget(anywidget.AnyWidget):
    """The page in a frame, and the rows that are selected there.

    Args:
        page: The whole page, as HTML.

    Example:
        >>> widget = ExplorerWidget(page="<!doctype html>")
        >>> widget.selection
        []
    """

    _esm = (resources.files("variform.pages") / "script" / "widget.js").read_text(encoding="utf-8")
    page = traitlets.Unicode().tag(sync=True)
    selection = traitlets.List(traitlets.Int()).tag(sync=True)
    """Numbers of the rows in the data, from 0, in the order of the page; [] where nothing is selected."""
