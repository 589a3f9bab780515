"""The command line: `variform`, which is also `python -m variform`."""

from variform.faces.cli.commands import app, main, run

__all__ = ["app", "main", "run"]
