"""What a run will do, before it does it: configuration, data and model."""

import dataclasses
import os

from variform.config.model import require_effect
from variform.config.run import RunConfig
from variform.config.settling import for_rows, reading, settled, total_steps
from variform.data.dataset import Splits
from variform.data.reading import read, read_like
from variform.data.sources.formats import FORMATS, source_format
from variform.model.build import build_vae
from variform.model.vae import VAE
from variform.objectives.build import build_objective
from variform.runs.own_rows import OWN
from variform.runs.retraining import open_start, started
from variform.system.files import expanded
from variform.system.heartbeats import allow
from variform.training.device import require_possible
from variform.training.fit import require_labels, require_weights_fit
from variform.training.profiling import Profile, profile
from variform.training.step import require_fits

_READING = 600.0
"""Seconds in which other processes hear nothing of one that reads: parsers and sorting keep the interpreter."""


def begun(config: RunConfig) -> RunConfig:
    """The configuration of a run that begins: settled, and with a source that means the same in every folder.

    Raises:
        ValueError, FileNotFoundError: for options that would change nothing, and a source that is not there.

    Example:
        >>> begun(RunConfig(source="digits")).source
        'digits'
    """
    config = settled(config)
    if config.start is not None:
        config = started(config)
    require_effect(config.model)
    data = config.data
    about, stations = _absolute(data.about), _absolute(data.stations)
    config = dataclasses.replace(
        config, data=dataclasses.replace(data, about=about, stations=stations)
    )
    is_own = config.source.startswith(OWN)
    if is_own or FORMATS[source_format(config.source)].is_named(config.source):
        return config
    return dataclasses.replace(config, source=str(expanded(config.source).absolute()))


def _absolute(path: str | None) -> str | None:
    """A path that means the same in every folder."""
    return None if path is None else str(expanded(path).absolute())


def prepare(
    config: RunConfig, source: object = None, *, labels: object = None, resume: bool = False
) -> tuple[Splits, VAE]:
    """Read the data and build the model; what can be known to be wrong before the training is found here.

    Args:
        config: The whole configuration.
        source: Rows in memory, or where the source is now; by default as `config` says.
        labels: Of rows in memory, as `read` takes them.
        resume: Whether a checkpoint gives the model its weights: where they start is then not looked for in the data.

    Raises:
        ValueError, OSError: for data or options that do not fit.
    """
    require_possible(config.train, int(os.environ.get("WORLD_SIZE", "1")))
    start = None if config.start is None else open_start(config.start)
    with allow(_READING):
        source = config.source if source is None else source
        if start is None:
            splits = read(source, reading(config), labels=labels)
        else:
            splits = read_like(source, start.schema, reading(config), labels=labels)
    rows = len(splits.train)
    train = for_rows(config.train, rows)
    is_fresh = not resume and start is None
    moments = splits.train.moments(seed=train.seed) if is_fresh else None
    vae = build_vae(config.model, splits.schema, seed=train.seed, moments=moments)
    if start is not None:
        start.hand_on(vae)
    objective = build_objective(vae, train, rows=rows)
    require_fits(objective, train)
    for data in (splits.train, splits.valid):
        require_labels(objective, data)
        require_weights_fit(objective, data)
    return splits, vae


def profile_of(config: RunConfig, steps: int = 50) -> Profile:
    """Read, build and profile: where the time of a step of this run would go.

    Args:
        config: The whole configuration.
        steps: How often each part of a step runs at a stretch.

    Raises:
        ValueError, OSError: for data or options that do not fit.
    """
    config = begun(config)
    splits, vae = prepare(config)
    rows = len(splits.train)
    config = settled(config, rows)
    objective = build_objective(vae, config.train, rows=rows)
    total = total_steps(config.train, rows)
    return profile(objective, splits.train, config.train, steps=steps, total=total)
