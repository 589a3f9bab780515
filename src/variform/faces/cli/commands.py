"""The command line: its commands, and what a mistake becomes. Heavy modules are imported inside the commands, so
that every --help answers at once.
"""

import atexit
import gc
import io
import itertools
import os
import re
import sys
from contextlib import suppress
from pathlib import Path

import cyclopts
from cyclopts import (
    App,
    CoercionError,
    CycloptsError,
    MissingArgumentError,
    Parameter,
    UnusedCliTokensError,
)

from variform.config.toml import to_dict
from variform.faces.cli.design import design
from variform.faces.cli.evaluate import compare, evaluate, info
from variform.faces.cli.explore import draw, explore, serve
from variform.faces.cli.generate import decode, encode, generate, impute, reconstruct, sampler
from variform.faces.cli.inspect import inspect
from variform.faces.cli.options import config_file, convert, in_options
from variform.faces.cli.share import hand_over, pull, push
from variform.faces.cli.train import demo, latent_dim, profile, train
from variform.system.signals import Stopped, raise_stopped
from variform.system.terminal import discard, open_closed
from variform.version import __version__

app = App(
    name="variform",
    version=__version__,
    help="""Variational autoencoders with honest numbers.

Start with `variform demo`, look at your data with `variform inspect DATA`, then `variform train DATA` with a folder of
images, a .npy array or a .csv table.
""",
    default_parameter=Parameter(
        consume_multiple=1, converter=lambda hint, tokens: convert(hint, tokens)
    ),
    help_format="markdown",
    suppress_keyboard_interrupt=False,
)
study = App(name="study", help="Many fits, one table.", sort_key=12.5)

COMMANDS = {
    "demo": demo,
    "inspect": inspect,
    "train": train,
    "evaluate": evaluate,
    "generate": generate,
    "sampler": sampler,
    "encode": encode,
    "decode": decode,
    "reconstruct": reconstruct,
    "impute": impute,
    "explore": explore,
    "serve": serve,
    "draw": draw,
    "compare": compare,
    "info": info,
    "export": hand_over,
    "push": push,
    "pull": pull,
    "profile": profile,
}
"""In the order of `variform --help`; `study` stands after `compare`."""

app.command(study)
design.sort_key = 12.7
app.command(design)
study.command(latent_dim, name="latent-dim")
for _place, (_name, _command) in enumerate(COMMANDS.items()):
    app.command(_command, name=_name, sort_key=_place)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 training broke, 2 a user's mistake, 128 and more after a signal."""
    # Else Python looks through all of torch's objects for cycles before it ends: 0.5 to 0.9 s.
    atexit.register(gc.freeze)
    open_closed()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(
                errors="replace"
            )  # a terminal without the character ± gets a question mark
    raise_stopped()
    try:
        code = run(sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        discard(sys.stdout)
        code = 141
    except OSError as error:
        discard(sys.stdout)
        code = _fail(
            f"standard output must take what is printed; the system says: {error.strerror}. Make room.",
            2,
        )
    try:
        sys.stderr.flush()
    except OSError:
        discard(sys.stderr)
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code; a mistake is one sentence on standard error, without a traceback.

    With the environment variable VARIFORM_TRACEBACK set, errors are raised as they are.
    """
    try:
        if any(not token or re.fullmatch("--[a-z-]+=", token) for token in arguments):
            raise ValueError(
                "every argument must have a value; one is empty. Check the variables of your shell."
            )
        app.config = _config_sources(arguments)
        app(
            _without_commas(arguments),
            exit_on_error=False,
            print_error=False,
            result_action="return_value",
        )
    except BrokenPipeError:
        raise
    except ConnectionError as error:
        _fail(str(error), 1)
        os._exit(1)  # the ordinary way out waits for processes that may not be there any more
    except (CycloptsError, ValueError, OSError) as error:
        if os.environ.get("VARIFORM_TRACEBACK"):
            raise
        return _fail(_sentence(error), 2)
    except (MemoryError, RuntimeError) as error:
        if not re.search("allocate memory|overflow", str(error)) and not isinstance(
            error, MemoryError
        ):
            raise
        return _fail(
            "the model and a batch must fit in memory; they do not. Use smaller --hidden or --batch-size.",
            2,
        )
    except ArithmeticError as error:
        return _fail(str(error), 1)
    except KeyboardInterrupt as error:
        stopped = Stopped.by(error, str(error) or "interrupted")
        return _fail(str(stopped), stopped.exit_code)
    return 0


def _without_commas(arguments: list[str]) -> list[str]:
    """Numbers after an option may be joined by commas, as in --hidden 64,32 or --hidden=64,32."""
    tokens: list[str] = []
    for before, token in itertools.pairwise(["", *arguments]):
        match = re.fullmatch(r"(--[a-z-]+=)?(\d+(?:,\d+)+)", token)
        if match and match[1]:
            tokens.append(match[1].removesuffix("="))
        is_list = match and (match[1] or before.startswith("--"))
        tokens += match[2].split(",") if match and is_list else [token]
    return tokens


def _sentence(error: Exception) -> str:
    if isinstance(error, CycloptsError):
        command = " ".join(["variform", *(error.command_chain or ())])
        text = str(
            error.__cause__ if isinstance(error, CoercionError) and error.__cause__ else error
        )
        if isinstance(error, UnusedCliTokensError):
            text = f"{command} takes no more arguments; got {' '.join(error.unused_tokens or [])}. Leave them out."
        elif isinstance(error, MissingArgumentError) and not error.tokens_so_far:
            what = re.sub(r"^Command \S+ parameter (\S+) requires.*", r"\1", text.split("\n")[0])
            text = f"{command} needs {what}; got none. Give it." if " " not in what else text
        return f"{text} See {command} --help."
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'a file'} must be usable; the system says: {error.strerror}. Check path and space."
    return str(error)


def _fail(message: str, code: int) -> int:
    """Say what is wrong; of several processes the first speaks for all, unless it is the one that is lost."""
    if code == 1 or os.environ.get("RANK", "0") == "0":
        with suppress(OSError):  # when nobody can be told, the exit code must do
            sys.stderr.write(f"error: {in_options(message)}\n")
            sys.stderr.flush()
    return code


def _config_sources(arguments: list[str]) -> list[cyclopts.config.Dict]:
    """The options of --config FILE as a source below the command line's own."""
    paths = [after for option, after in itertools.pairwise(arguments) if option == "--config"]
    paths += [
        option.removeprefix("--config=") for option in arguments if option.startswith("--config=")
    ]
    if not paths:
        return []
    config = config_file(Path(paths[-1]))
    values = {key: value for part in config.parts for key, value in to_dict(part).items()}
    options = {key.replace("_", "-"): value for key, value in values.items()}
    return [
        cyclopts.config.Dict(
            options, use_commands_as_keys=False, allow_unknown=True, source=paths[-1]
        )
    ]
