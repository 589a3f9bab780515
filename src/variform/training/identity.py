"""What makes a training the same: all that its result depends on, and what resuming compares with a checkpoint."""

import json
from typing import Any

from variform.config.data import DataConfig
from variform.config.model import ModelConfig
from variform.config.toml import to_dict
from variform.config.training import TrainConfig
from variform.objectives import Objective
from variform.system import processes


def identity_of(config: TrainConfig, objective: Objective, rows: int, rest: str) -> str:
    """What a checkpoint belongs to: configuration, number of rows, names and shapes of the weights, and the rest.

    Args:
        config: How the objective is optimised.
        objective: What is trained.
        rows: Number of training rows.
        rest: What else the result depends on, such as the fingerprint of the data.

    Raises:
        ValueError: where the processes of a job do not have the same.
    """
    shapes = {name: list(value.shape) for name, value in objective.state_dict().items()}
    # These may change from one part of a run to the next.
    free = {"checkpoint_every", "device", "sharded"}
    settings = {key: value for key, value in to_dict(config).items() if key not in free}
    settings["warmup"] = config.warmup or 0
    settings["learning_rate"] = config.rate
    settings["schedule"] = "cosine" if config.schedule == "cosine" else "constant"
    settings["betas"] = [objective.beta(step) for step in (0, settings["warmup"], 10**9)]
    settings["objective"] = objective.settings()
    identity = json.dumps(
        {"train": settings, "rest": rest, "rows": rows, "weights": shapes}, sort_keys=True
    )
    is_another = processes.broadcast(identity.encode()) != identity.encode()
    if processes.any_of(is_another)[0]:
        raise ValueError(
            f"all {processes.count()} processes must train the same model on the same data; some have another. "
            "Give every host the same data and options."
        )
    return identity


def belongs(identity: Any, to: str) -> bool:
    """Whether a checkpoint with this identity belongs to the training with the other.

    What an identity of an older version does not name has the default that the option had when it was added. The
    training may have more epochs than that of the checkpoint.

    Args:
        identity: What the checkpoint says.
        to: As `identity_of` gives it.

    Raises:
        ValueError, RecursionError: for what is not JSON.

    Example:
        >>> belongs('{"rows": 5, "train": {}}', '{"rows": 5, "train": {"optimizer": "adam"}}')
        True
        >>> belongs('{"rows": 5, "train": {}}', '{"rows": 5, "train": {"optimizer": "rmsprop"}}')
        False
        >>> belongs('{"train": {"epochs": 5}}', '{"train": {"epochs": 9}}')
        True
        >>> belongs('{"train": {"epochs": 9}}', '{"train": {"epochs": 5}}')
        False
    """
    before, after = _with_defaults(identity), _with_defaults(to)
    return before == after or _as_long_as(before, after) == after


def is_longer(identity: Any, to: str) -> bool:
    """Whether the training has more epochs than that of a checkpoint that belongs to it; arguments as of `belongs`."""
    return _with_defaults(identity) != _with_defaults(to)


def _as_long_as(before: Any, after: Any) -> Any:
    """An identity with the epochs of another one, where these are more."""
    if not isinstance(before, dict):
        return before
    lengths = [one["train"].get("epochs") for one in (before, after)]
    if None in lengths or lengths[0] > lengths[1]:
        return before
    return before | {"train": before["train"] | {"epochs": lengths[1]}}


def _with_defaults(identity: Any) -> Any:
    """An identity as plain values, whole."""
    defaults = {
        "train": to_dict(TrainConfig()),
        "rest": {"data": to_dict(DataConfig()), "model": to_dict(ModelConfig())},
    }
    return _completed(identity, defaults)


def _completed(identity: Any, defaults: Any) -> Any:
    """An identity as plain values, with the `defaults` of what it does not name; JSON may stand inside JSON."""
    values = identity
    if isinstance(identity, str) and identity.startswith("{"):
        values = json.loads(identity)
    if not isinstance(values, dict):
        return values
    known = defaults if isinstance(defaults, dict) else {}
    return known | {name: _completed(value, known.get(name)) for name, value in values.items()}
