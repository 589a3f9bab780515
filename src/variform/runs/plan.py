"""What a run will do, before it does it: configuration, data and model."""

import dataclasses
import math
import os

from variform.config.model import require_effect
from variform.config.run import RunConfig
from variform.data.dataset import Splits
from variform.data.reading import read
from variform.data.sources.formats import FORMATS, source_format
from variform.model.build import build_vae
from variform.model.vae import VAE
from variform.objectives.build import build_objective
from variform.system.files import expanded
from variform.training.device import require_possible
from variform.training.fit import require_labels
from variform.training.profiling import Profile, profile
from variform.training.schedule import epochs, require_batch
from variform.training.step import require_fits


def settled(config: RunConfig) -> RunConfig:
    """The configuration with all that follows from it: the absolute path of its source, so that it means the same in
    every folder, and the classifier that objective m2 needs.

    Example:
        >>> settled(RunConfig(source="digits")).source
        'digits'
    """
    if config.train.objective == "m2":
        config = dataclasses.replace(config, model=dataclasses.replace(config.model, classifier=True))
    if FORMATS[source_format(config.source)].is_named(config.source):
        return config
    return dataclasses.replace(config, source=str(expanded(config.source).absolute()))


def completed(config: RunConfig, splits: Splits) -> RunConfig:
    """The configuration with the epochs and the batch that these data get by default, so that config.toml has them."""
    train = config.train.for_rows(len(splits.train))
    if train.steps is None:
        train = dataclasses.replace(train, epochs=epochs(train, len(splits.train)))
    return dataclasses.replace(config, train=train)


def prepare(config: RunConfig) -> tuple[Splits, VAE]:
    """Read the data and build the model; what can be known to be wrong before the training is found here.

    Raises:
        ValueError, OSError: for data or options that do not fit.
    """
    require_possible(config.train, int(os.environ.get("WORLD_SIZE", "1")))
    splits = read(config.source, config.reading)
    require_batch(config.train, len(splits.train))
    moments = splits.train.moments(seed=config.train.seed)
    vae = build_vae(config.model, splits.schema, seed=config.train.seed, moments=moments)
    objective = build_objective(vae, config.train, rows=len(splits.train))
    require_fits(objective, config.train)
    for rows in (splits.train, splits.valid):
        require_labels(objective, rows)
    return splits, vae


def profile_of(config: RunConfig, steps: int = 50) -> Profile:
    """Read, build and profile: where the time of a step of this run would go.

    Args:
        config: The whole configuration.
        steps: How often each part of a step runs at a stretch.

    Raises:
        ValueError, OSError: for data or options that do not fit.
    """
    require_effect(config.model)
    splits, vae = prepare(config)
    config, rows = completed(config, splits), len(splits.train)
    total = config.train.steps or epochs(config.train, rows) * math.ceil(rows / config.train.batch)
    return profile(build_objective(vae, config.train, rows=rows), splits.train, config.train, steps=steps, total=total)
