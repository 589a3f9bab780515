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
from collections.abc import Callable
from inspect import getdoc
from pathlib import Path
from typing import Annotated, Any, Literal

import cyclopts
from cyclopts import (
    App,
    CoercionError,
    CycloptsError,
    Group,
    MissingArgumentError,
    Parameter,
    UnknownCommandError,
    UnknownOptionError,
    UnusedCliTokensError,
)

from variform.config.options import in_options
from variform.config.toml import to_dict
from variform.faces.cli.compress import compress, decompress
from variform.faces.cli.design import design
from variform.faces.cli.evaluate import compare, doctor, evaluate, explain, info
from variform.faces.cli.explore import draw, explore, serve, show
from variform.faces.cli.generate import decode, encode, generate, impute, reconstruct, sampler
from variform.faces.cli.inspect import inspect
from variform.faces.cli.names import unknown_command, unknown_option
from variform.faces.cli.options import Flag, config_file, convert, shown_default
from variform.faces.cli.outliers import outliers
from variform.faces.cli.output import say, say_error, write
from variform.faces.cli.setup import config
from variform.faces.cli.share import card, hand_over, pull, push
from variform.faces.cli.train import demo, latent_dim, objectives, profile, train
from variform.faces.cli.trust import with_trust
from variform.system.signals import Stopped, raise_stopped
from variform.system.terminal import discard, open_closed
from variform.training.callbacks import CallbackError
from variform.version import __version__


class Commands(App):
    """All commands, with help pages of their own and scripts for shells."""

    is_help_short = False

    def help_print(self, tokens: Any = None, *, console: Any = None) -> None:
        """Print the help page of the command that the tokens name."""
        from variform.faces.cli.help import HelpPages

        self.help_formatter = pages = HelpPages(short=self.is_help_short)
        super().help_print(tokens, console=console)
        pages.finish(console or self.console)

    def generate_completion(self, *, prog_name: Any = None, shell: Any = None) -> str:
        """The script that completes commands in a shell."""
        script = super().generate_completion(prog_name=prog_name, shell=shell)
        # fish reads a list of choices twice: the quote among them, which may stand between digits, would be one of its
        # own then.
        return script.replace(r" '\'' ", " ") if shell == "fish" else script


app = Commands(
    name="variform",
    version=__version__,
    help="""Variational autoencoders with honest numbers.

Start with `variform demo`, look at your data with `variform inspect DATA`, then `variform train DATA` with a folder of
images, a .npy array or a .csv table.
""",
    default_parameter=Parameter(
        consume_multiple=1,
        converter=lambda hint, tokens: convert(hint, tokens),
        show_default=shown_default,
    ),
    help_format="markdown",
    suppress_keyboard_interrupt=False,
)
study = App(name="study", help="Many fits, one table.")


def completion(
    shell: Literal["bash", "zsh", "fish", "powershell"] | None = None,
    /,
    *,
    install: Annotated[bool, Flag] = False,
) -> None:
    """Complete commands, options and their choices in your shell: print its script, or put it where the shell looks.

    Examples: `eval "$(variform completion bash)"`, `variform completion --install`

    Args:
        shell: The shell; by default the one that this is called from.
        install: Write the script into your home folder, and a line that loads it into .bashrc, .zshrc or the profile of
            PowerShell; then begin a new shell.
    """
    from cyclopts.completion import ShellDetectionError, detect_shell

    if shell is None:
        try:
            shell = detect_shell()
        except ShellDetectionError as error:
            raise ValueError(
                "the shell must be known; it could not be told. Name it, for example: variform completion bash."
            ) from error
    if install:
        say(f"Installed: {app.install_completion(shell=shell)}. Begin a new shell.")
    else:
        write(app.generate_completion(shell=shell).rstrip("\n"))


COMMANDS: dict[str, Callable[..., int | None]] = {
    "demo": demo,
    "inspect": inspect,
    "train": with_trust(train),
    "evaluate": with_trust(evaluate),
    "doctor": with_trust(doctor),
    "generate": with_trust(generate),
    "sampler": with_trust(sampler),
    "encode": with_trust(encode),
    "decode": with_trust(decode),
    "reconstruct": with_trust(reconstruct),
    "impute": with_trust(impute),
    "outliers": with_trust(outliers),
    "compress": with_trust(compress),
    "decompress": with_trust(decompress),
    "explore": with_trust(explore),
    "serve": with_trust(serve),
    "draw": with_trust(draw),
    "open": show,
    "compare": with_trust(compare),
    "info": info,
    "explain": explain,
    "export": with_trust(hand_over),
    "card": with_trust(card),
    "push": with_trust(push),
    "pull": pull,
    "profile": with_trust(profile),
    "config": config,
    "completion": completion,
}

GROUPS = {
    "Begin": ("demo", "inspect", "train"),
    "Look": (
        "evaluate",
        "doctor",
        "open",
        "explore",
        "serve",
        "draw",
        "compare",
        "info",
        "explain",
    ),
    "Use": (
        "generate",
        "sampler",
        "encode",
        "decode",
        "reconstruct",
        "impute",
        "outliers",
        "compress",
        "decompress",
    ),
    "Search": ("study", "design"),
    "Share": ("export", "card", "push", "pull"),
    "Set up": ("config", "completion", "profile"),
}
"""In the order of `variform --help`."""

study.command(with_trust(latent_dim), name="latent-dim")
study.command(with_trust(objectives), name="objectives")
_SEVERAL = {"study": study, "design": design}
for _place, (_title, _names) in enumerate(GROUPS.items()):
    _group = Group(_title, sort_key=_place)
    for _order, _name in enumerate(_names):
        if _name in _SEVERAL:
            _SEVERAL[_name].group, _SEVERAL[_name].sort_key = _group, _order
            app.command(_SEVERAL[_name])
        else:
            app.command(COMMANDS[_name], name=_name, sort_key=_order, group=_group)
_of_pages = Group("Help", sort_key=len(GROUPS))
for _name in ("--help", "--version"):
    app[_name].group = _of_pages


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 training broke, 2 a user's mistake, 3 `doctor` found an illness, 128 and
    more after a signal.
    """
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
        app.is_help_short = "-h" in arguments and "--help" not in arguments
        code = app(
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
    except CallbackError as error:
        if os.environ.get("VARIFORM_TRACEBACK"):
            raise
        return _fail(str(error), 2)
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
    return code if isinstance(code, int) else 0


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
        if isinstance(error, UnknownOptionError):
            text = unknown_option(error, command, app)
        elif isinstance(error, UnknownCommandError):
            text = unknown_command(error, command)
        elif isinstance(error, UnusedCliTokensError):
            text = f"{command} takes no more arguments; got {' '.join(error.unused_tokens or [])}. Leave them out."
        elif isinstance(error, MissingArgumentError) and not error.tokens_so_far:
            what = re.sub(r"^Command \S+ parameter (\S+) requires.*", r"\1", text.split("\n")[0])
            text = (
                f"{command} needs {what}; got none. {_remedy(error)}" if " " not in what else text
            )
        return f"{text} See {command} --help."
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'a file'} must be usable; the system says: {error.strerror}. Check path and space."
    return str(error)


def _remedy(error: CycloptsError) -> str:
    """What to do where an argument is missing, with the shortest example of the command."""
    from variform.faces.cli.help import examples_in

    examples = examples_in(getdoc(error.target) or "")
    return f"Give it, as in: {min(examples, key=len)}." if examples else "Give it."


def _fail(message: str, code: int) -> int:
    """Say what is wrong; of several processes the first speaks for all, unless it is the one that is lost."""
    if code == 1 or os.environ.get("RANK", "0") == "0":
        say_error(in_options(message))
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
