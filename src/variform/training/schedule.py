"""The learning rate of each step."""

import math
from collections.abc import Sequence
from typing import Any

from variform.config.training import TrainConfig


def learning_rate(config: TrainConfig, step: int, total: int, plateaus: int = 0) -> float:
    """The learning rate at `step` of `total`, a pure function.

    Args:
        config: Has the schedule.
        step: Steps before this one.
        total: Steps of the whole training.
        plateaus: Of the schedule `plateau`, how often the validation loss stopped falling; see `plateaus`.

    Example:
        >>> config = TrainConfig(learning_rate=1.0, schedule="cosine")
        >>> [round(learning_rate(config, step, 4), 3) for step in range(5)]
        [1.0, 0.854, 0.5, 0.146, 0.0]
    """
    if config.schedule == "cosine":
        return config.rate * 0.5 * (1 + math.cos(math.pi * step / total))
    if config.schedule == "plateau":
        return config.rate * config.plateau_factor**plateaus
    return config.rate


def plateaus(config: TrainConfig, rows: Sequence[dict[str, Any]]) -> int:
    """How often the validation loss stopped falling: as many epochs as the configuration says without a better one.

    It is found from the history alone, so that a training that is resumed goes on as it would have.

    Args:
        config: Has `plateau_patience`, and the warm-up, in which no epoch counts.
        rows: The history, of each epoch its last `step` and whether it was `best` so far.

    Example:
        >>> config = TrainConfig(schedule="plateau", plateau_patience=2)
        >>> plateaus(config, [{"step": step, "best": step < 3} for step in range(8)])
        2
    """
    if config.schedule != "plateau":
        return 0
    count = stale = 0
    for row in rows:
        is_warming_up = row["step"] < (config.warmup or 0)
        stale = 0 if row["best"] or is_warming_up else stale + 1
        if stale == config.plateau_patience:
            count, stale = count + 1, 0
    return count
