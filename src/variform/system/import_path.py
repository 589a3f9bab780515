"""Code of the user's own by its import path: FILE.py:NAME, or package.module:NAME.

`find` says where it stands and runs nothing; `imported` runs it. Who names code in a program or on the command line has
asked for it. Where a file names it, such as a model that came from elsewhere, `require_trusted` asks first.
"""

import hashlib
import importlib
import importlib.abc
import importlib.util
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from types import CodeType
from typing import Any

_EXAMPLE = "Write for example nets.py:Encoder or mypackage.nets:Encoder."


@dataclass(frozen=True)
class Code:
    """A class or function of the user's own.

    Args:
        path: Its import path; a file has its whole path in it.
        file: The source file; None for what lives in memory alone, such as a class of a notebook.
        sha256: SHA-256 of that file, in hexadecimal; of what it imports nothing is known.
        was: SHA-256 that the file had when a model was trained, where that is known.
    """

    path: str
    file: Path | None = None
    sha256: str = ""
    was: str = ""

    @property
    def name(self) -> str:
        """What it is called in its module."""
        return self.path.rpartition(":")[2]

    @property
    def is_in_file(self) -> bool:
        """Whether its path names a file, and no module."""
        return self.path.rpartition(":")[0].endswith(".py")

    @property
    def has_changed(self) -> bool:
        """Whether its file is known to have been another one."""
        return bool(self.was) and self.was != self.sha256

    @property
    def key(self) -> tuple[str, str, str]:
        """What two must share to be the same: a file its content, wherever it lies; a module its name too."""
        return *self.source, self.name

    @property
    def source(self) -> tuple[str, str]:
        """What is trusted, and then all that is in it."""
        module = "" if self.is_in_file else self.path.rpartition(":")[0]
        return module, self.sha256


_loaded: dict[tuple[str, str, str], Any] = {}
"""What this process has, by `Code.key`: nothing is run twice."""
_trusted: set[tuple[str, str]] = set()
"""What this process trusts, by `Code.source`: what it ran because somebody named it, and what it was told to."""


def find(path: str, *, copies: tuple[Path, ...] = (), was: str = "") -> Code:
    """Where the code is that an import path names; none of it is run.

    Args:
        path: FILE.py:NAME, or package.module:NAME, which is looked for where Python looks and in the working folder.
        copies: Other places of the file.
        was: SHA-256 that the file had: the first place that has it is taken; without one the first that is there.

    Raises:
        ValueError: for another form, and where there is no such file or module.

    Example:
        >>> find("json.decoder:JSONDecoder").file.name
        'decoder.py'
        >>> find("nets.py")
        Traceback (most recent call last):
        ValueError: an import path must be FILE.py:NAME or package.module:NAME; got nets.py. Write for example \
nets.py:Encoder or mypackage.nets:Encoder.
    """
    place, _, name = path.rpartition(":")
    is_file = place.endswith(".py")
    is_module = all(part.isidentifier() for part in place.split("."))
    if not all(part.isidentifier() for part in name.split(".")) or not (is_file or is_module):
        raise ValueError(
            f"an import path must be FILE.py:NAME or package.module:NAME; got {path}. {_EXAMPLE}"
        )
    places = [Path(place).expanduser().absolute(), *copies] if is_file else [_file_of(place)]
    there = [each for each in places if each is not None and each.is_file()]
    if not there:
        what = "file" if is_file else "module with a source file"
        where = f" ({', '.join(str(each) for each in places)})" if is_file else ""
        raise ValueError(
            f"{path} must be code that is there; there is no such {what}{where}. Bring it back, or write another path."
        )
    hashes = [hashlib.sha256(each.read_bytes()).hexdigest() for each in there]
    index = hashes.index(was) if was in hashes else 0
    whole = path
    if is_file:
        is_whole = Path(place).expanduser().is_absolute()
        whole = f"{places[0] if is_whole else there[index].absolute()}:{name}"
    return Code(whole, there[index], hashes[index], was)


def absolute(path: str | None) -> str | None:
    """An import path that means the same in every folder; of a module it stays.

    Example:
        >>> absolute("package.nets:Encoder"), absolute("/home/ada/nets.py:Encoder")
        ('package.nets:Encoder', '/home/ada/nets.py:Encoder')
    """
    place, _, name = (path or "").rpartition(":")
    if not place.endswith(".py"):
        return path
    return f"{Path(place).expanduser().absolute()}:{name}"


def _file_of(module: str) -> Path | None:
    """The source of a module; none of its packages is imported."""
    loaded = sys.modules.get(module)
    if loaded is not None and loaded.__name__ != "__main__":
        file = getattr(loaded, "__file__", None)
        return None if file is None else Path(file)
    search, spec = None, None
    with _looking_in(Path.cwd()):
        for count in range(1, module.count(".") + 2):
            name = ".".join(module.split(".")[:count])
            specs = (finder.find_spec(name, search) for finder in sys.meta_path)
            spec = next((one for one in specs if one is not None), None)
            if spec is None:
                return None
            search = spec.submodule_search_locations
    if spec is None or not spec.has_location or spec.origin is None:
        return None
    return Path(spec.origin)


@contextmanager
def _looking_in(*folders: Path) -> Iterator[None]:
    """Inside, modules are looked for in these folders first."""
    before = sys.path[:]
    sys.path[:0] = [str(folder) for folder in dict.fromkeys(folders)]
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path[:] = before


def of_object(thing: Any) -> Code:
    """A class or function that is in memory, as code; what cannot be imported has no file.

    Example:
        >>> from json import JSONDecoder
        >>> of_object(JSONDecoder).path, of_object(lambda: 0).file
        ('json.decoder:JSONDecoder', None)
    """
    module_name = getattr(thing, "__module__", None) or type(thing).__module__
    name = getattr(thing, "__qualname__", None) or f"<{type(thing).__name__}>"
    module = sys.modules.get(module_name)
    file = getattr(module, "__file__", None)
    path = f"{module_name}:{name}"
    if file is None or module_name == "__main__" or _in(module, name) is not thing:
        return Code(path)
    content = Path(file).read_bytes()
    is_alone = "." not in module_name and not getattr(module, "__path__", None)
    if is_alone:
        path = f"{Path(file).absolute()}:{name}"
    code = Code(path, Path(file).absolute(), hashlib.sha256(content).hexdigest())
    _loaded[code.key] = thing
    _trusted.add(code.source)
    return code


def _in(module: Any, name: str) -> Any:
    """What a module calls so; None where there is nothing."""
    found = module
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def imported(code: Code) -> Any:
    """The class or function itself; what its file does when it is imported is done, once.

    Modules beside the file are found, as they are by `python FILE.py`.

    Raises:
        ValueError: where its file fails, or does not have the name.

    Example:
        >>> imported(find("json.decoder:JSONDecoder")).__name__
        'JSONDecoder'
    """
    if code.key not in _loaded:
        module = _module_in_file(code) if code.is_in_file else _module(code)
        found = _in(module, code.name)
        if found is None:
            raise ValueError(
                f"{code.file} must have {code.name}; it has not. Write another name, or define it there."
            )
        _loaded[code.key] = found
        _trusted.add(code.source)
    return _loaded[code.key]


class _Content(importlib.abc.InspectLoader):
    """Runs those bytes of a file whose hash was looked at, and no others."""

    def __init__(self, file: Path, content: bytes) -> None:
        self.file, self.content = file, content

    def get_source(self, fullname: str) -> str:
        return importlib.util.decode_source(self.content)

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.content, str(self.file))

    def is_package(self, fullname: str) -> bool:
        return False


def _module_in_file(code: Code) -> Any:
    assert code.file is not None  # else its path would name no file
    name = f"variform_own_{code.sha256[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    content = code.file.read_bytes()
    if hashlib.sha256(content).hexdigest() != code.sha256:
        raise ValueError(f"{code.file} must stay as it is meanwhile; it has changed. Try again.")
    spec = importlib.util.spec_from_file_location(
        name, code.file, loader=_Content(code.file, content)
    )
    assert spec is not None  # for a loader is given
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    original = Path(code.path.rpartition(":")[0])
    try:
        with _explained(code), _looking_in(code.file.parent, original.parent):
            _Content(code.file, content).exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    # What a function imports when it is called is looked for there too, behind all that is installed.
    sys.path += [str(original.parent)] if str(original.parent) not in sys.path else []
    return module


def _module(code: Code) -> Any:
    if code.file is None:
        raise ValueError(
            f"{code.path} must be in a file to be imported; it lives in memory alone. Put it in a file."
        )
    with _explained(code), _looking_in(Path.cwd()):
        return importlib.import_module(code.path.rpartition(":")[0])


@contextmanager
def _explained(code: Code) -> Iterator[None]:
    """What goes wrong in a user's own file, in a sentence."""
    try:
        yield
    except (Exception, SystemExit) as error:
        raise ValueError(
            f"{code.file} must be a file that Python imports; it stops with {type(error).__name__}: {error}. Mend it, "
            "or install what it imports."
        ) from error


# --- trust ------------------------------------------------------------------------------------------------------------


def _warn(sentence: str) -> None:
    warnings.warn(sentence, stacklevel=2)


@dataclass(frozen=True)
class Trust:
    """Who says whether code may be run that a file names, and who hears what must be said of it.

    Args:
        ask: Given the code, whether to run it.
        tell: Takes a sentence.
    """

    ask: Callable[[Code], bool] = lambda code: False
    tell: Callable[[str], None] = _warn


NOBODY = Trust()
_trust: ContextVar[Trust] = ContextVar("trust", default=NOBODY)


@contextmanager
def trusting(trust: Trust | bool) -> Iterator[None]:
    """Inside, code that files name is run where `trust` says so; with true always, with false as outside."""
    present = _trust.get() if isinstance(trust, bool) else trust
    if trust is True:
        present = replace(present, ask=lambda code: True)
    token = _trust.set(present)
    try:
        yield
    finally:
        _trust.reset(token)


def require_trusted(code: Code, by: str) -> None:
    """Refuse code that a file names and that nobody said may be run. What this process has loaded is trusted.

    Args:
        code: The code.
        by: What names it, for messages.

    Raises:
        ValueError: where it is not trusted.

    Example:
        >>> with trusting(True):
        ...     require_trusted(find("json.decoder:JSONDecoder"), "model.safetensors")
    """
    if code.has_changed:
        _trust.get().tell(
            f"{code.file} has changed since {by} was trained: its SHA-256 is {code.sha256[:12]}... now and was "
            f"{code.was[:12]}... then"
        )
    if code.source in _trusted or _trust.get().ask(code):
        _trusted.add(code.source)
        return
    raise ValueError(
        f"{by} names code, which opening it would run: {code.name} of {code.file} (SHA-256 {code.sha256[:12]}...). "
        "Look at that file, and if you trust it and what it imports, open with `trust=True`."
    )
