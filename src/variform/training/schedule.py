"""How many epochs, and the learning rate of each step."""

import math

from variform.config.training import TrainConfig


def epochs(config: TrainConfig, rows: int) -> int:
    """Passes over `rows` training rows: as configured, or 20, or as many as make 3,000 steps.

    Example:
        >>> [epochs(TrainConfig(batch_size=100), rows) for rows in (200, 3_000, 60_000)]
        [1500, 100, 20]
    """
    return config.epochs or max(20, math.ceil(3000 / math.ceil(rows / config.for_rows(rows).batch)))


def require_batch(config: TrainConfig, rows: int) -> None:
    """Refuse fewer training rows than a batch.

    Raises:
        ValueError: names both numbers.
    """
    if config.batch_size is not None and rows < config.batch_size:
        raise ValueError(
            f"`batch_size` must not exceed the {rows} training rows; got {config.batch_size}. "
            f"Use `batch_size={rows}` or smaller, or bring more rows."
        )


def learning_rate(config: TrainConfig, step: int, total: int) -> float:
    """The learning rate at `step` of `total`, a pure function.

    Example:
        >>> config = TrainConfig(learning_rate=1.0, schedule="cosine")
        >>> [round(learning_rate(config, step, 4), 3) for step in range(5)]
        [1.0, 0.854, 0.5, 0.146, 0.0]
    """
    if config.schedule == "cosine":
        return config.learning_rate * 0.5 * (1 + math.cos(math.pi * step / total))
    return config.learning_rate
