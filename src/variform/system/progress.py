"""A bar for what takes long."""

from typing import TYPE_CHECKING

from variform.system.terminal import console

if TYPE_CHECKING:
    from rich.progress import Progress


def progress_bar(wanted: bool) -> "Progress":
    """A bar on standard error, if it is wanted and that is a terminal.

    Example:
        >>> progress_bar(False).disable
        True
    """
    from rich.progress import Progress  # here, for most that is asked of a model takes no time

    where = console()
    return Progress(console=where, disable=not (wanted and where.is_terminal))
