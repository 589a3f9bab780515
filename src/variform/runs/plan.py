"""What a run will do, before it does it: configuration, data and model."""

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from variform.config.data import DataConfig
from variform.config.model import OWN_PARTS, require_effect
from variform.config.run import RunConfig
from variform.config.settling import chosen, reading, settled, total_steps
from variform.data.dataset import Splits
from variform.data.reading import read, read_like
from variform.data.sources.formats import FORMATS, source_format
from variform.evaluation.sections import require_measurable
from variform.model.build import build_vae
from variform.model.choosing import chosen_model
from variform.model.vae import VAE
from variform.objectives.build import build_objective
from variform.runs.own_rows import OWN
from variform.runs.retraining import Start, open_start, started
from variform.system.files import expanded
from variform.system.heartbeats import allow
from variform.system.import_path import Code, absolute
from variform.training.device import require_possible
from variform.training.fit import require_labels, require_weights_fit
from variform.training.private import Budget, budget_of, require_private
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
    own: dict[str, Any] = {part: absolute(getattr(config.model, part)) for part in OWN_PARTS}
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, **own))
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


@dataclass(frozen=True)
class Plan:
    """A run before its first step.

    Args:
        config: The whole configuration, settled: nothing is left open.
        splits: The data.
        vae: The model, untrained.
        chosen: What was chosen of all that was left open, in one line with the reasons; "" where all was given.
        budget: What a private training promises.
    """

    config: RunConfig
    splits: Splits
    vae: VAE
    chosen: str
    budget: Budget | None = None


def choices(config: RunConfig) -> tuple[RunConfig, Splits, tuple[str, ...]]:
    """What a run would choose of its model by its data, without the model: the configuration, the data, and why.

    Raises:
        ValueError, OSError: for data or options that do not fit.

    Example:
        >>> config, _, reasons = choices(RunConfig(source="digits"))
        >>> config.model.likelihood, reasons[1]
        ('gaussian-shared', '10 latent dimensions (usual for images)')
    """
    config = begun(config)
    return _read(config, config.source, None, None)


def prepare(
    config: RunConfig,
    source: object = None,
    *,
    labels: object = None,
    resume: bool = False,
    codes: Mapping[str, Code] = MappingProxyType({}),
) -> Plan:
    """Read the data, choose what is left open and build the model.

    What can be known to be wrong before the training is found here.

    Args:
        config: The whole configuration.
        source: Rows in memory, or where the source is now; by default as `config` says.
        labels: Of rows in memory, as `read` takes them.
        resume: Whether a checkpoint gives the model its weights: where they start is then not looked for in the data.
        codes: Where the networks of the user's own come from, by `encoder` and `decoder`; by default from where the
            configuration says, or from the model that the training starts from.

    Raises:
        ValueError, OSError: for data or options that do not fit.

    Example:
        >>> plan = prepare(RunConfig(source="digits"))
        >>> plan.config.model.likelihood, plan.config.model.latent_dim
        ('gaussian-shared', 10)
    """
    require_possible(config.train, int(os.environ.get("WORLD_SIZE", "1")))
    start = None if config.start is None else open_start(config.start)
    with allow(_READING):
        config, splits, reasons = _read(
            config, config.source if source is None else source, labels, start
        )
    rows = len(splits.train)
    line = ", ".join(filter(None, (*reasons, chosen(config, rows))))
    config = settled(config, rows)
    train = config.train
    is_fresh = not resume and start is None and train.private_epsilon is None
    moments = splits.train.moments(seed=train.seed) if is_fresh else None
    codes = codes if start is None else start.vae.codes
    own: dict[str, Any] = {part: codes.get(part) for part in OWN_PARTS}
    vae = build_vae(config.model, splits.schema, seed=train.seed, moments=moments, **own)
    if start is not None:
        start.hand_on(vae)
    objective = build_objective(vae, train, rows=rows)
    require_fits(objective, train)
    require_private(objective, train, splits.train)
    budget = budget_of(train, rows)
    for data in (splits.train, splits.valid):
        require_labels(objective, data)
        require_weights_fit(objective, data)
    require_measurable(config.evaluation, splits.test, splits)
    return Plan(config, splits, vae, line, budget)


def _read(
    config: RunConfig, source: object, labels: object, start: Start | None
) -> tuple[RunConfig, Splits, tuple[str, ...]]:
    """The configuration with what the data decide, the data as it wants them, and why."""

    def splits_of(data: DataConfig) -> Splits:
        if start is None:
            return read(source, data, labels=labels)
        return read_like(source, start.schema, data, labels=labels)

    asked = reading(config)
    splits = splits_of(asked)
    model, reasons = chosen_model(config.model, config.data, splits)
    config = dataclasses.replace(config, model=model)
    wanted = reading(config)
    wants_kinds = wanted.cells == "mixed" and not splits.schema.kinds
    if wants_kinds or wanted.scaling != asked.scaling:
        splits = splits_of(wanted)
    return config, splits, reasons


def profile_of(config: RunConfig, steps: int = 50) -> Profile:
    """Read, build and profile: where the time of a step of this run would go.

    Args:
        config: The whole configuration.
        steps: How often each part of a step runs at a stretch.

    Raises:
        ValueError, OSError: for data or options that do not fit.
    """
    plan = prepare(begun(config))
    train, rows = plan.config.train, len(plan.splits.train)
    objective = build_objective(plan.vae, train, rows=rows)
    total = total_steps(train, rows)
    return profile(objective, plan.splits.train, train, steps=steps, total=total)
