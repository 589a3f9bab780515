"""Packages that few need: what is said where one is missing."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

_OF_AN_EXTRA = re.compile(r"^(?P<package>[^;]+?)\s*;.*extra == ['\"](?P<extra>[\w-]+)['\"]")


@contextmanager
def needing(extra: str, what: str) -> Iterator[None]:
    """Inside, what is imported may be missing: then the error names the packages that the extra brings.

    Args:
        extra: Name of the extra in pyproject.toml.
        what: What needs them, as a message says it.

    Raises:
        ValueError: where one is missing.

    Example:
        >>> with needing("hub", "the hub"):
        ...     import no_such_package
        Traceback (most recent call last):
        ValueError: the hub needs the packages of the extra hub; no_such_package is missing. Use pip install ...
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ValueError(missing(extra, what, str(error.name).partition(".")[0])) from error


def missing(extra: str, what: str, package: str) -> str:
    """The sentence on a package that is missing; arguments as of `needing`."""
    return (
        f"{what} needs the packages of the extra {extra}; {package} is missing. Use pip install "
        f"{' '.join(repr(name) for name in packages_of(extra))}."
    )


def packages_of(extra: str) -> list[str]:
    """What an extra of the installed variform brings, as pip takes it; of one that is not installed its own name.

    Example:
        >>> packages_of("nothing")
        ['variform[nothing]']
    """
    import importlib.metadata  # which every start of the command line would wait for

    try:
        lines = importlib.metadata.requires("variform") or []
    except importlib.metadata.PackageNotFoundError:
        lines = []
    matches = [match for line in lines if (match := _OF_AN_EXTRA.match(line))]
    found = [match["package"] for match in matches if match["extra"] == extra]
    return found or [f"variform[{extra}]"]
