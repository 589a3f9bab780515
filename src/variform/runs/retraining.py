"""Training that starts from another model, and what it does to the codes.

A code means what it meant only if the axes stay. So the new data are scaled as the old ones were, training starts from
the old weights, and afterwards the axes of the new model are turned onto those of the old one, as far as that changes
no p(x) (`model.alignment`). How far codes moved all the same is measured on rows that both models know.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from variform.config.data import DataConfig
from variform.config.model import ModelConfig
from variform.config.run import RunConfig
from variform.config.training import TrainConfig
from variform.config.words import listed
from variform.data.dataset import Dataset, Splits
from variform.data.points import read_points
from variform.data.reading import OF_A_FILE
from variform.data.schema import Schema
from variform.design.coding import some_rows
from variform.design.spaces import space_of
from variform.evaluation import exploration
from variform.export.model_file import load_vae
from variform.export.sampler_file import identity
from variform.model.alignment import Alignment, align, move, unturn
from variform.model.priors import VampPrior
from variform.model.vae import VAE
from variform.runs.folder import Run, open_run, schema_of
from variform.system.files import expanded

Array = NDArray[Any]

NEAR = 0.1
"""Share of the typical radius within which a bookmark is where it was."""
MOST = 0.9
"""Share of the rows of which the largest move is told."""


@dataclass(frozen=True, eq=False)
class Start:
    """A model that a training starts from.

    Args:
        path: The folder of its run, or its file.
        vae: The model.
        run: Its run, where it has one.
    """

    path: Path
    vae: VAE
    run: Run | None

    @property
    def schema(self) -> Schema:
        """What its data are."""
        return schema_of(self.vae)

    def hand_on(self, vae: VAE) -> None:
        """Give its weights to a model of the same structure, whose data may have a wider range."""
        unturn(self.vae)
        vae.load_state_dict(self.vae.state_dict())
        before: Any = self.vae.prior
        if isinstance(vae.prior, VampPrior) and not _has_range_of(vae.prior, before):
            vae.prior.put_at(before.pseudo_inputs)

    def known_rows(self, splits: Splits) -> tuple[Dataset, str]:
        """Rows that it was trained on and what they are called; those of the new run where its own cannot be read."""
        if self.run is not None:
            try:
                return some_rows(self.run.data().train), f"training rows of {self.path}"
            except (OSError, ValueError):
                pass
        return some_rows(splits.train), "training rows of the new run"


def _has_range_of(prior: VampPrior, other: VampPrior) -> bool:
    return prior.low.equal(other.low) and prior.width.equal(other.width)


def open_start(path: str) -> Start:
    """The model in the folder of a run, or in a model file.

    Raises:
        FileNotFoundError: where there is none.
        ValueError: for a file that is no model.
    """
    place = expanded(path)
    if place.is_dir():
        run = open_run(place)
        return Start(place, run.vae, run)
    if not place.is_file():
        raise FileNotFoundError(
            f"`start` must be the folder of a run or a model file; there is nothing at {place}. Check the path."
        )
    return Start(place, load_vae(place), None)


def started(config: RunConfig) -> RunConfig:
    """The configuration with what the model that it starts from decides.

    Options of the model that are not given are its own, and others are refused. Options on what columns are for, and on
    the split, are those of its run where they are not given.

    Raises:
        FileNotFoundError, ValueError: as `open_start`, and for another structure or other conditions.
    """
    assert config.start is not None  # only then it is asked
    start = open_start(config.start)
    known = start.vae.config
    assert known is not None  # of a model from a file
    bookmarks = config.bookmarks
    if bookmarks is not None:
        _bookmarks(bookmarks, start)
    return dataclasses.replace(
        config,
        start=str(start.path.absolute()),
        bookmarks=None if bookmarks is None else str(expanded(bookmarks).absolute()),
        model=_same_model(config.model, known, start.path),
        data=_same_columns(config.data, start),
        train=_without_warmup(config.train),
    )


def _without_warmup(train: TrainConfig) -> TrainConfig:
    """Unless it is asked for: a KL term that is weighed in anew would move all codes."""
    return dataclasses.replace(train, warmup=0) if train.warmup is None else train


def _same_model(model: ModelConfig, known: ModelConfig, path: Path) -> ModelConfig:
    differing = []
    for field in dataclasses.fields(ModelConfig):
        own, its = getattr(model, field.name), getattr(known, field.name)
        if own not in (field.default, its):
            differing.append(f"`{field.name}={own!r}` is {its!r} there")
    if differing:
        raise ValueError(
            f"a training that starts from {path} must have its model; {', '.join(differing)}. Leave these options out, "
            "or leave `start` out."
        )
    return known


def _same_columns(data: DataConfig, start: Start) -> DataConfig:
    """How data are read, as those of the start were where it is not said: but for how the file is written."""
    given = {
        field.name: getattr(data, field.name)
        for field in dataclasses.fields(DataConfig)
        if getattr(data, field.name) != field.default
    }
    if start.run is not None:
        own = {name: getattr(data, name) for name in (*OF_A_FILE, "about", "weight")}
        data = dataclasses.replace(start.run.config.data, **own | given)  # pyrefly: ignore
    conditions = tuple(condition.name for condition in start.schema.conditions)
    if data.condition not in ((), conditions):
        raise ValueError(
            f"a training that starts from {start.path} must have its conditions, {listed(conditions) or 'none'}; got "
            f"{listed(data.condition)}. Leave `condition` out, or leave `start` out."
        )
    return dataclasses.replace(data, condition=conditions)


# --- axes ---------------------------------------------------------------------------------------------------------


def keep_axes(run: Run, splits: Splits) -> tuple[Alignment, dict[str, Any]]:
    """Turn the axes of a run's model onto those of the model that it started from, in place.

    Args:
        run: A run with `start`.
        splits: Its data.

    Returns:
        How it was turned, and what axes.json holds.
    """
    assert run.config.start is not None  # only then it is asked
    start = open_start(run.config.start)
    rows, words = start.known_rows(splits)
    wanted = _codes(start.vae, rows)
    as_trained = _codes(run.vae, rows)
    radius = float(np.median(np.linalg.norm(wanted, axis=1)))
    alignment = align(run.vae, as_trained, wanted)
    move(run.vae, alignment)
    axes = {
        "start": str(start.path),
        "weights": identity(start.vae),
        "rows": words,
        "count": len(rows),
        "radius": radius,
        "kind": alignment.kind,
        "why": alignment.why,
        "turn": alignment.turn.tolist(),
        "shift": alignment.shift.tolist(),
        "as_trained": moved(wanted, as_trained, radius),
        "aligned": moved(wanted, _codes(run.vae, rows), radius),
        "bookmarks": [],
    }
    if run.config.bookmarks is not None:
        points = _bookmarks(run.config.bookmarks, start)
        axes["bookmarks"] = _followed(points, start, run, rows, radius)
    return alignment, axes


def _codes(vae: VAE, rows: Dataset) -> Array:
    return exploration.encode(vae, rows)[0].astype(np.float64)


def moved(before: Array, after: Array, radius: float) -> dict[str, float]:
    """How far codes (N, D) moved over the typical radius: the median, and what 90 % of them do not exceed.

    Example:
        >>> moved(np.zeros((3, 1)), np.array([[1.0], [2.0], [2.0]]), 4.0)
        {'median': 0.5, 'most': 0.5}
    """
    shares = np.linalg.norm(after - before, axis=1) / radius
    return {"median": float(np.median(shares)), "most": float(np.quantile(shares, MOST))}


def _bookmarks(path: str, start: Start) -> Array:
    dim = start.vae.latent_dim
    points = read_points(path, [f"z{number}" for number in range(1, dim + 1)])
    if points.shape[1] != dim:
        raise ValueError(
            f"`bookmarks` must be points of the {dim} latents of {start.path}; {path} has {points.shape[1]} columns. "
            f"Name them z1 to z{dim}."
        )
    if start.schema.conditions:
        raise ValueError(
            f"`bookmarks` need a model without conditions, under which a point is one design; got {start.path}. Leave "
            "them out: its training rows are followed in any case."
        )
    return points


def _followed(
    points: Array, start: Start, run: Run, rows: Dataset, radius: float
) -> list[dict[str, Any]]:
    """Where the old model sees the designs of points, where the new one does, and how far that is."""
    old, new = space_of(start.vae, rows), space_of(run.vae, rows)
    designs = old.decode(points)
    before, now = old.encode(designs), new.encode(designs)
    shares = np.linalg.norm(now - before, axis=1) / radius
    return [
        {"z": z.tolist(), "before": was.tolist(), "now": place.tolist(), "moved": float(share)}
        for z, was, place, share in zip(points, before, now, shares, strict=True)
    ]


def axes_in_words(axes: dict[str, Any]) -> str:
    """What a reader must know of the codes of a model that started from another one."""
    how = {
        "rotation": "The axes were turned onto the old ones",
        "signed permutation": "The axes were put into the order and the signs of the old ones",
        "none": "The axes were left as they are",
    }[axes["kind"]]
    why = f", and no more, because {axes['why']}" if axes["why"] else ""
    share, before = axes["aligned"], axes["as_trained"]
    is_near = share["most"] <= NEAR
    far = "stay" if is_near else "do not all stay"
    remedy = (
        ""
        if is_near
        else " Fewer epochs and a tenth of the learning rate move them less, a frozen encoder not at all."
    )
    return (
        f"Codes of {axes['count']:,} {axes['rows']} moved by {share['median']:.1%} of the typical radius, and 90% of "
        f"them by at most {share['most']:.1%} (as trained {before['median']:.1%} and {before['most']:.1%}). {how}{why}."
        f" Bookmarks {far} within {NEAR:.0%}.{remedy}"
    )


def bookmarks_table(axes: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """A header and a row a bookmark: the point, where its design was and is, and how far that is."""
    header = ["bookmark", "its design was at", "it is now at", "moved, of the typical radius"]
    rows = []
    for point in axes["bookmarks"]:
        places = [
            ", ".join(f"{value:.3g}" for value in point[name]) for name in ("z", "before", "now")
        ]
        rows.append([*places, f"{point['moved']:.1%}"])
    return header, rows
