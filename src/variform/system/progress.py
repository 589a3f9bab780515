"""A bar for what takes long."""

from rich.progress import Progress

from variform.system.terminal import console


def progress_bar(wanted: bool) -> Progress:
    """A bar on standard error, if it is wanted and that is a terminal.

    Example:
        >>> progress_bar(False).disable
        True
    """
    where = console()
    return Progress(console=where, disable=not (wanted and where.is_terminal))
