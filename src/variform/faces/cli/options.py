"""Options that several commands have, and how words become values."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import cyclopts
from cyclopts import Group, Parameter

from variform.config.checks import converted
from variform.config.data import DataConfig
from variform.config.drawing import DrawingConfig
from variform.config.in_depth import InDepth
from variform.config.model import ModelConfig
from variform.config.run import EvaluationConfig, RunConfig
from variform.config.toml import from_toml
from variform.config.training import TrainConfig

Options = Group("Options", sort_key=0)
DataOptions = Annotated[DataConfig, Parameter(name="*", group=Group("Data", sort_key=1))]
ModelOptions = Annotated[ModelConfig, Parameter(name="*", group=Group("Model", sort_key=2))]
TrainOptions = Annotated[TrainConfig, Parameter(name="*", group=Group("Training", sort_key=3))]
EvaluationOptions = Annotated[
    EvaluationConfig | None, Parameter(name="*", group=Group("Evaluation", sort_key=4))
]
DrawingOptions = Annotated[DrawingConfig, Parameter(name="*", group=Group("Outlines", sort_key=5))]
InDepthOptions = Annotated[
    InDepth | None, Parameter(name="*", group=Group("In depth", sort_key=6), negative="")
]
Option = Parameter(group=Options)
Flag = Parameter(group=Options, negative="")

SECTIONS = ("Data", "Model", "Training", "Evaluation", "Outlines")
"""The groups of options beside a command's own."""

COMMON = frozenset(
    {
        *("image_size", "id", "label", "response", "condition"),
        *("latent_dim", "likelihood", "hidden"),
        *("epochs", "batch_size", "learning_rate", "objective", "beta", "seed"),
    }
)
"""The options of these groups that stand first in a help page, and alone in a short one."""


def convert(hint: Any, tokens: Sequence[cyclopts.Token]) -> Any:
    """A choice or numbers as `converted` takes them, with its messages; anything else as cyclopts does."""
    of_numbers = re.search(r"\b(int|float)\b", str(hint))
    kind = get_args(hint)[0] if get_origin(hint) is tuple else hint
    is_known = of_numbers or get_origin(kind) is Literal
    if tokens[0].implicit_value is not cyclopts.UNSET or not is_known:
        return cyclopts.convert(hint, tokens)
    values: list[Any] = [token.value for token in tokens]
    if of_numbers:
        kind = float if of_numbers[1] == "float" else int
        values = [_number(word, kind) for word in values]
    name = (tokens[0].keyword or "").strip("-[]").replace("-", "_")
    where = f"`{name}`" if name else "the argument"
    return converted(hint, values if "tuple[" in str(hint) else values[0], where)


def _number(word: str, kind: type[int] | type[float]) -> int | float | str:
    """A word as a number, or as it is: Python itself would take 1_000 for one."""
    try:
        return kind(word) if word.isascii() and "_" not in word else word
    except ValueError:
        return word


def shown_default(value: object) -> str | None:
    """A default as it is written on the command line; None for one that says nothing.

    Example:
        >>> shown_default((32, 64)), shown_default(0.001), shown_default(()), shown_default(False)
        ('32,64', '0.001', None, None)
    """
    if value is None or value is False or value == ():
        return None
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def config_file(path: Path) -> RunConfig:
    """The configuration in the file that --config names."""
    if not path.is_file():
        raise FileNotFoundError(
            f"--config must name a TOML file; there is none at {path}. Check the path."
        )
    return from_toml(path.read_bytes(), str(path))
