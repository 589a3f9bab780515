"""A configuration as plain values, as the text of a config.toml and as a command."""

import dataclasses
import shlex
import tomllib
from typing import Any

from variform.config.checks import from_dict
from variform.config.data import DataConfig
from variform.config.model import ModelConfig
from variform.config.run import EvaluationConfig, RunConfig
from variform.config.training import TrainConfig


def to_dict(config: DataConfig | ModelConfig | TrainConfig | EvaluationConfig | RunConfig) -> dict[str, Any]:
    """Plain values of a configuration, without the fields that are None (TOML has no null).

    Example:
        >>> to_dict(ModelConfig(latent_dim=2))["latent_dim"]
        2
    """
    values: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            values[field.name] = to_dict(value)
        elif value is not None:
            values[field.name] = list(value) if isinstance(value, tuple) else value
    return values


def from_toml(text: str | bytes, where: str = "the configuration") -> RunConfig:
    """A `RunConfig` from the text of a config.toml.

    Raises:
        ValueError: as `from_dict`, and for text that is not TOML.

    Example:
        >>> from_toml("[model]\\nlatent_dim = 2").model.latent_dim
        2
    """
    try:
        values = tomllib.loads(text if isinstance(text, str) else text.decode())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where} must be TOML; {error}. Compare with the config.toml of any run.") from error
    return from_dict(RunConfig, values, where)


def to_command(config: RunConfig) -> str:
    """The command that repeats a run: its source and every option that differs from the default.

    Example:
        >>> to_command(RunConfig(model=ModelConfig(latent_dim=2, hidden=(64, 32))))
        'variform train digits --latent-dim 2 --hidden 64,32'
    """
    words = ["variform", "train", shlex.quote(config.source)]
    for part in config.parts:
        for field in dataclasses.fields(part):
            value, option = getattr(part, field.name), field.name.replace("_", "-")
            if value == field.default:
                continue
            if isinstance(value, bool):
                words.append(f"--{option}" if value else f"--no-{option}")
            elif isinstance(value, tuple) and all(isinstance(item, str) for item in value) and value:
                words += [f"--{option}", *map(shlex.quote, value)]
            elif isinstance(value, tuple):
                words += [f"--{option}", ",".join(map(str, value))] if value else [f"--empty-{option}"]
            else:
                words += [f"--{option}", shlex.quote(str(value))]
    return " ".join(words)
