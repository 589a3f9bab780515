"""Commands that open models: whether to run the code of networks of somebody's own that a file names."""

import functools
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from variform.config.model import ModelConfig
from variform.faces.cli.options import Options, config_file
from variform.faces.cli.output import say_aside
from variform.system.import_path import Code, Trust, find, require_trusted, trusting

_HELP = (
    "Run the code of networks of your own, or of somebody else's, that a model or a configuration names. Without it "
    "you are asked on a terminal, and elsewhere such a model is refused."
)
_PARAMETER = inspect.Parameter(
    "trust",
    inspect.Parameter.KEYWORD_ONLY,
    default=False,
    annotation=Annotated[bool, Parameter(group=Options, negative="", help=_HELP)],
)


def with_trust(command: Callable[..., int | None]) -> Callable[..., int | None]:
    """A command with the option --trust.

    What the command line itself names by --encoder and --decoder needs no trust.
    """

    @functools.wraps(command)
    def trusted(*arguments: Any, trust: bool = False, **options: Any) -> int | None:
        ask: Callable[[Code], bool] = _always if trust else _asked
        with trusting(Trust(ask, say_aside)):
            _require_trusted_file(options.get("config"), options.get("model"))
            return command(*arguments, **options)

    own = inspect.signature(command)
    signature = own.replace(parameters=[*own.parameters.values(), _PARAMETER])
    vars(trusted)["__signature__"] = signature
    trusted.__annotations__ = {**command.__annotations__, "trust": _PARAMETER.annotation}
    return trusted


def _require_trusted_file(file: Path | None, model: ModelConfig | None) -> None:
    """Refuse networks that the file of --config names, and that nobody trusts."""
    if file is None or model is None:
        return
    of_file = config_file(file).model
    paths = {of_file.encoder: model.encoder, of_file.decoder: model.decoder}
    for named, used in paths.items():
        if named is not None and named == used:
            require_trusted(find(named), str(file))


def _always(code: Code) -> bool:
    return True


def _asked(code: Code) -> bool:
    """What a person at the terminal says; where there is none, no."""
    if not sys.stdin.isatty():
        return False
    sys.stderr.write(
        f"The model's network {code.name} is made by code of {code.file} (SHA-256 {code.sha256[:12]}...), which can do "
        "whatever you can. Run it? [y/N] "
    )
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
