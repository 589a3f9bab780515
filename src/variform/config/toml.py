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


def to_dict(
    config: DataConfig | ModelConfig | TrainConfig | EvaluationConfig | RunConfig,
) -> dict[str, Any]:
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
        raise ValueError(
            f"{where} must be TOML; {error}. Compare with the config.toml of any run."
        ) from error
    return from_dict(RunConfig, values, where)


def to_command(config: RunConfig) -> str:
    """The command that repeats a run into the folder NEW: its source and every option that differs from the default.

    Example:
        >>> to_command(RunConfig(model=ModelConfig(latent_dim=2, hidden=(64, 32))))
        'variform train digits --latent-dim 2 --hidden 64,32 --out NEW'
    """
    words = ["variform", "train", shlex.quote(config.source)]
    if config.start is not None:
        words.append(to_option("from", config.start))
    if config.bookmarks is not None:
        words.append(to_option("bookmarks", config.bookmarks))
    for part in config.parts:
        for field in dataclasses.fields(part):
            value = getattr(part, field.name)
            if value != field.default:
                words.append(to_option(field.name, value))
    return " ".join([*words, to_option("out", "NEW")])


def to_option(name: str, value: object = None) -> str:
    """A field as an option of a command; without a value its name alone.

    Example:
        >>> to_option("latent_dim", 2), to_option("hidden", (64, 32)), to_option("condition", ("kind of wood", "mass"))
        ('--latent-dim 2', '--hidden 64,32', "--condition 'kind of wood' mass")
        >>> to_option("deterministic", False), to_option("hidden", ()), to_option("clip_norm")
        ('--no-deterministic', '--empty-hidden', '--clip-norm')
    """
    option = name.replace("_", "-")
    if value is None or value is True:
        return f"--{option}"
    if value is False:
        return f"--no-{option}"
    if not isinstance(value, tuple | list):
        return f"--{option} {shlex.quote(str(value))}"
    if not value:
        return f"--empty-{option}"
    if all(isinstance(item, str) for item in value):
        return f"--{option} {shlex.join(value)}"
    return f"--{option} {','.join(map(str, value))}"
