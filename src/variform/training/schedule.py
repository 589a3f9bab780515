"""The learning rate of each step."""

import math

from variform.config.training import TrainConfig


def learning_rate(config: TrainConfig, step: int, total: int) -> float:
    """The learning rate at `step` of `total`, a pure function.

    Example:
        >>> config = TrainConfig(learning_rate=1.0, schedule="cosine")
        >>> [round(learning_rate(config, step, 4), 3) for step in range(5)]
        [1.0, 0.854, 0.5, 0.146, 0.0]
    """
    if config.schedule == "cosine":
        return config.rate * 0.5 * (1 + math.cos(math.pi * step / total))
    return config.rate
