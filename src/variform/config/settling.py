"""What follows from a configuration, and from the number of training rows: settled here, and asked for by everyone.

| value | where it is not given it is | found by |
|---|---|---|
| `data.cells` | `mixed` for likelihood `mixed` | `reading` |
| `data.scaling` | `none` for likelihoods of counts, instead of `auto` | `reading` |
| `model.classifier` | true for objective `m2` | `settled` |
| `train.batch_size` | 128, or all rows where there are fewer | `settled`, `for_rows` |
| `train.epochs` | 20, or as many as make 3,000 steps, unless `steps` are given | `settled`, `epochs` |
| steps in all | `steps`, or those of all epochs | `total_steps` |

A config.toml has what `settled` gives. What `reading` gives is found anew from what the user wrote: checkpoints know
their run by that. `alpha`, `gamma` and `penalty` that are not given are left to the objective, whose constructor says
them.
"""

import dataclasses
import math

from variform.config.checks import Count, checked
from variform.config.choices import COUNTED
from variform.config.data import DataConfig
from variform.config.run import RunConfig
from variform.config.training import TrainConfig

_LEAST_EPOCHS = 20
_LEAST_STEPS = 3000


@checked
def settled(config: RunConfig, rows: Count | None = None) -> RunConfig:
    """The configuration with all that follows from it.

    Args:
        config: What the user asks for.
        rows: Number of training rows; without them batch and epochs are left open.

    Example:
        >>> settled(RunConfig(), 90).train.batch_size
        90
        >>> settled(RunConfig(train=TrainConfig(objective="m2"))).model.classifier
        True
    """
    if config.train.objective == "m2":
        config = dataclasses.replace(
            config, model=dataclasses.replace(config.model, classifier=True)
        )
    if rows is None:
        return config
    train = for_rows(config.train, rows)
    if train.steps is None:
        train = dataclasses.replace(train, epochs=epochs(train, rows))
    return dataclasses.replace(config, train=train)


@checked
def reading(config: RunConfig) -> DataConfig:
    """How the data are read: `data`, but automatic scaling leaves counts as they are, and mixed tables are mixed.

    Example:
        >>> from variform.config.model import ModelConfig
        >>> reading(RunConfig(model=ModelConfig(likelihood="poisson"))).scaling
        'none'
    """
    if config.model.likelihood == "mixed":
        return dataclasses.replace(config.data, cells="mixed")
    if config.model.likelihood in COUNTED and config.data.scaling == "auto":
        return dataclasses.replace(config.data, scaling="none")
    return config.data


@checked
def for_rows(config: TrainConfig, rows: Count) -> TrainConfig:
    """The configuration with the `batch_size` for this number of training rows.

    Raises:
        ValueError: for fewer rows than the batch that was asked for.

    Example:
        >>> [for_rows(TrainConfig(batch_size=size), 90).batch_size for size in (None, 32)]
        [90, 32]
        >>> for_rows(TrainConfig(batch_size=128), 90)
        Traceback (most recent call last):
        ValueError: `batch_size` must not exceed the 90 training rows; got 128. Use `batch_size=90` or smaller, or \
bring more rows.
    """
    if config.batch_size is None:
        return dataclasses.replace(config, batch_size=min(config.batch, rows))
    if rows < config.batch_size:
        raise ValueError(
            f"`batch_size` must not exceed the {rows} training rows; got {config.batch_size}. "
            f"Use `batch_size={rows}` or smaller, or bring more rows."
        )
    return config


@checked
def epochs(config: TrainConfig, rows: Count) -> int:
    """Passes over `rows` training rows: as configured, or 20, or as many as make 3,000 steps.

    Example:
        >>> [epochs(TrainConfig(batch_size=100), rows) for rows in (200, 3_000, 60_000)]
        [1500, 100, 20]
    """
    return config.epochs or max(
        _LEAST_EPOCHS, math.ceil(_LEAST_STEPS / steps_per_epoch(config, rows))
    )


@checked
def steps_per_epoch(config: TrainConfig, rows: Count) -> int:
    """Batches in a pass over `rows` training rows; the last one may be smaller.

    Example:
        >>> steps_per_epoch(TrainConfig(batch_size=100), 250)
        3
    """
    return math.ceil(rows / min(config.batch, rows))


@checked
def total_steps(config: TrainConfig, rows: Count) -> int:
    """Steps of the whole training on `rows` training rows.

    Example:
        >>> total_steps(TrainConfig(epochs=2, batch_size=100), 250), total_steps(TrainConfig(steps=7), 250)
        (6, 7)
    """
    return config.steps or epochs(config, rows) * steps_per_epoch(config, rows)
