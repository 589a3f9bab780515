"""What follows from a configuration, and from the number of training rows: settled here, and asked for by everyone.

| value | where it is not given it is | found by |
|---|---|---|
| `data.cells` | `mixed` for likelihood `mixed`, in any case; `numbers` for others that are named | `reading` |
| `data.scaling` | `none` for likelihoods of counts, instead of `auto` | `reading` |
| `data.schema` | settled into the fields for columns | `settled` |
| `model.classifier` | true for objective `m2` | `settled` |
| `train.batch_size` | about a 32nd of the rows, see `for_rows` | `settled`, `for_rows` |
| `train.learning_rate` | 0.003, or 0.001 for convolutions | `settled` |
| `train.schedule` | `cosine` where the learning rate is not given either, but `constant` for convolutions | `settled` |
| `train.epochs` | 20, or as many as make 3,000 steps, unless `steps` are given | `settled`, `epochs` |
| `train.warmup` | 0, or a tenth of the steps of a run of few rows, see `settled` | `settled` |
| `train.patience` | 0, or a third of the epochs settled for few rows, see `for_rows` | `settled`, `for_rows` |
| steps in all | `steps`, or those of all epochs | `total_steps` |

A config.toml has what `settled` gives. What `reading` gives is found anew from what the user wrote: checkpoints know
their run by that. `alpha`, `gamma` and `penalty` that are not given are left to the objective, whose constructor says
them.
"""

import dataclasses
import math
from typing import Literal

from variform.config.checks import Count, checked
from variform.config.choices import COUNTED
from variform.config.columns import with_schema
from variform.config.data import DataConfig
from variform.config.run import RunConfig
from variform.config.training import LARGEST_BATCH, OBJECTIVE_OPTIONS, RATE, TrainConfig

_LEAST_EPOCHS = 20
_RATE_OF_MLPS = 3e-3
_LEAST_STEPS = 3000
_SMALLEST_BATCH = 16
_BATCHES_AN_EPOCH = 32
_PATIENT_FOR = 3  # parts of the training
_WARMS_UP = 10  # parts of the training, of which the first
_COMPARES_ROWS = ("beta-tc", "dip-i", "dip-ii", "info", "wae", "factor")
"""Objectives that estimate something from the rows of a batch, for which a small one is too little."""


@checked
def settled(config: RunConfig, rows: Count | None = None) -> RunConfig:
    """The configuration with all that follows from it.

    Where the batch is chosen and smaller than 128, the weight of the KL term of a convolutional network rises over the
    first tenth of the steps: such a network sees little of z at first, and the KL term may switch its latents off.

    Args:
        config: What the user asks for.
        rows: Number of training rows; without them batch, epochs, patience and warm-up are left open.

    Example:
        >>> settled(RunConfig(), 90).train.batch_size
        16
        >>> settled(RunConfig(train=TrainConfig(objective="m2"))).model.classifier
        True
    """
    if config.train.objective == "m2":
        config = dataclasses.replace(
            config, model=dataclasses.replace(config.model, classifier=True)
        )
    if rows is None:
        return config
    data, _ = with_schema(config.data, is_mixed=reading(config).cells == "mixed")
    config = dataclasses.replace(config, data=data)
    train = for_rows(config.train, rows)
    if train.steps is None:
        train = dataclasses.replace(train, epochs=epochs(train, rows))
    if config.train.warmup is None:
        train = dataclasses.replace(train, warmup=_usual_warmup(config, rows))
    rate, schedule = _usual_rate(config)
    train = dataclasses.replace(train, learning_rate=rate, schedule=schedule)
    return dataclasses.replace(config, train=train)


def _usual_rate(config: RunConfig) -> tuple[float, Literal["constant", "cosine", "plateau"]]:
    """Learning rate and schedule, as given or as usual."""
    train = config.train
    is_mlp = config.model.is_mlp
    schedule = train.schedule
    if schedule == "auto":
        falls = is_mlp and train.learning_rate is None
        schedule = "cosine" if falls else "constant"
    if train.learning_rate is not None:
        return train.learning_rate, schedule
    return (_RATE_OF_MLPS if is_mlp else RATE), schedule


def _usual_warmup(config: RunConfig, rows: int) -> int | None:
    """None for objectives without a warm-up."""
    train = config.train
    if "warmup" not in OBJECTIVE_OPTIONS[train.objective]:
        return None
    is_given = train.batch_size is not None or _compares_rows(train)
    if is_given or config.model.is_mlp:
        return 0
    is_few = _usual_batch(train, rows) < LARGEST_BATCH
    return total_steps(train, rows) // _WARMS_UP if is_few else 0


@checked
def reading(config: RunConfig) -> DataConfig:
    """How the data of a run are read: `data`, but the likelihood decides what it leaves open.

    Cells are mixed for a mixed likelihood and numbers for others, so that a gap or a text is refused with its place and
    the way out; automatic scaling leaves counts as they are. Where the likelihood is open, so is what cells hold.

    Example:
        >>> from variform.config.model import ModelConfig
        >>> data = reading(RunConfig(model=ModelConfig(likelihood="poisson")))
        >>> data.cells, data.scaling
        ('numbers', 'none')
    """
    data = config.data
    if config.model.likelihood == "mixed":
        return dataclasses.replace(data, cells="mixed")
    if config.model.likelihood == "auto":
        return data
    if data.cells == "auto":
        data = dataclasses.replace(data, cells="numbers")
    if config.model.likelihood in COUNTED and data.scaling == "auto":
        data = dataclasses.replace(data, scaling="none")
    return data


@checked
def for_rows(config: TrainConfig, rows: Count) -> TrainConfig:
    """The configuration with the `batch_size` and the `patience` for this number of training rows.

    Where no batch is given it is the power of two nearest to rows / 32 among 16, 32, 64 and 128, so that few rows make
    many steps; 128 for an objective that compares the rows of a batch with each other; never more than there are rows.

    Where neither patience nor length is given, and rows so few that the length is one of steps, validation stops the
    training after a third of it without a better loss, about 1,000 steps, counted from the end of the warm-up; but not
    under a capacity, for then the loss of its end, which is validated, may rise before it falls.

    Raises:
        ValueError: for fewer rows than the batch that was asked for.

    Example:
        >>> [for_rows(TrainConfig(), rows).batch_size for rows in (10, 240, 1_200, 60_000)]
        [10, 16, 32, 128]
        >>> for_rows(TrainConfig(), 240).patience, for_rows(TrainConfig(epochs=200), 240).patience
        (67, 0)
        >>> for_rows(TrainConfig(batch_size=128), 90)
        Traceback (most recent call last):
        ValueError: `batch_size` must not exceed the 90 training rows; got 128. Use `batch_size=90` or smaller, or \
bring more rows.
    """
    if config.batch_size is None:
        config = dataclasses.replace(config, batch_size=min(_usual_batch(config, rows), rows))
    if rows < config.batch:
        raise ValueError(
            f"`batch_size` must not exceed the {rows} training rows; got {config.batch_size}. "
            f"Use `batch_size={rows}` or smaller, or bring more rows."
        )
    if config.patience is None:
        config = dataclasses.replace(config, patience=_usual_patience(config, rows))
    return config


def _usual_patience(config: TrainConfig, rows: int) -> int:
    has_length = config.epochs or config.steps or config.capacity_steps
    if has_length or config.private_epsilon is not None:  # whose noise is that of all steps
        return 0
    passes = _usual_epochs(config, rows)
    return math.ceil(passes / _PATIENT_FOR) if passes > _LEAST_EPOCHS else 0


def _usual_batch(config: TrainConfig, rows: int) -> int:
    if _compares_rows(config):
        return LARGEST_BATCH
    power = round(math.log2(rows / _BATCHES_AN_EPOCH))
    return min(max(2**power, _SMALLEST_BATCH, config.accumulate), LARGEST_BATCH)


def _compares_rows(config: TrainConfig) -> bool:
    return config.objective in _COMPARES_ROWS or bool(config.free_bits or config.capacity)


@checked
def epochs(config: TrainConfig, rows: Count) -> int:
    """Passes over `rows` training rows: as configured, or 20, or as many as make 3,000 steps.

    Example:
        >>> [epochs(TrainConfig(batch_size=100), rows) for rows in (200, 3_000, 60_000)]
        [1500, 100, 20]
    """
    return config.epochs or _usual_epochs(for_rows(config, rows), rows)


def _usual_epochs(config: TrainConfig, rows: int) -> int:
    return max(_LEAST_EPOCHS, math.ceil(_LEAST_STEPS / math.ceil(rows / config.batch)))


@checked
def steps_per_epoch(config: TrainConfig, rows: Count) -> int:
    """Batches in a pass over `rows` training rows; the last one may be smaller.

    Example:
        >>> steps_per_epoch(TrainConfig(batch_size=100), 250)
        3
    """
    return math.ceil(rows / for_rows(config, rows).batch)


@checked
def total_steps(config: TrainConfig, rows: Count) -> int:
    """Steps of the whole training on `rows` training rows.

    Example:
        >>> total_steps(TrainConfig(epochs=2, batch_size=100), 250), total_steps(TrainConfig(steps=7), 250)
        (6, 7)
    """
    return config.steps or epochs(config, rows) * steps_per_epoch(config, rows)


@checked
def chosen(config: RunConfig, rows: Count) -> str:
    """What is settled here for a training that does not say it, in a line with the reasons; "" where all is given.

    Args:
        config: What the user asks for.
        rows: Number of training rows.

    Example:
        >>> chosen(RunConfig(train=TrainConfig(epochs=100, learning_rate=0.01)), 240)
        'batches of 16 rows (240 / 32 rounded to a power of two from 16 to 128)'
        >>> chosen(RunConfig(train=TrainConfig(epochs=100, batch_size=16)), 240)
        'learning rate 0.003 (usual), falling to 0'
        >>> chosen(RunConfig(train=TrainConfig(batch_size=16, learning_rate=0.01)), 240)
        '200 epochs or 3,000 steps (at least 20 and 3,000), or until 67 epochs are no better'
        >>> chosen(RunConfig(train=TrainConfig(steps=500, batch_size=32, learning_rate=0.01)), 240)
        ''
    """
    train = config.train
    parts = []
    if train.batch_size is None:
        size = for_rows(train, rows).batch
        parts.append(f"batches of {size} rows ({_why_batch(train, rows, size)})")
    if train.epochs is None and train.steps is None:
        patience = for_rows(train, rows).patience
        parts.append(
            f"{epochs(train, rows):,} epochs or {total_steps(train, rows):,} steps "
            f"(at least {_LEAST_EPOCHS} and {_LEAST_STEPS:,})"
            + (f", or until {patience:,} epochs are no better" if patience else "")
        )
    if train.warmup is None and (warmup := _usual_warmup(config, rows)):
        parts.append(f"KL weighed in over the first {warmup:,} steps (a tenth)")
    if train.learning_rate is None:
        rate, schedule = _usual_rate(config)
        parts.append(f"learning rate {rate:g} (usual)")
        if train.schedule == "auto" and schedule == "cosine":
            parts.append("falling to 0")
    return ", ".join(parts)


def _why_batch(config: TrainConfig, rows: int, size: int) -> str:
    if size == rows:
        return "all there are"
    if _compares_rows(config):
        return "the objective compares the rows of a batch"
    return (
        f"{rows:,} / {_BATCHES_AN_EPOCH} rounded to a power of two "
        f"from {_SMALLEST_BATCH} to {LARGEST_BATCH}"
    )
