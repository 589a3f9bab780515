"""A run: one folder that holds a trained model, what it was trained on, its numbers, its pictures and its report.

Its files::

    config.toml           every value, defaults included
    model.safetensors     the weights of the best epoch, and the JSON to rebuild the model
    last.safetensors      the weights after the last step
    checkpoint.safetensors, history.jsonl; of a sharded training also checkpoint-*-of-*.safetensors, see `parts`
    environment.json      seed, versions, threads, device, data fingerprint and git commit of the training, once for
                          each environment that it went through
    evaluation.json       held-out numbers with standard errors
    scores.safetensors    what they are means of, row by row
    axes.json             of a training that started from another model: how far codes moved
    figures/*.png, report.html, explorer.html
    figures/architecture.svg    the networks, where `draw` was asked for them
    film.safetensors      frames of the training, where they were asked for; film.html and figures/film.gif show them
    live.html             how the training goes while it goes; at the end it leads to the report
    sampler-*.safetensors, samplers.json  laws fitted over z after the training, and what each of them is good for
"""

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from variform.config.choices import SamplerKind
from variform.config.run import RunConfig, objective_name
from variform.config.settling import reading
from variform.config.words import listed
from variform.data.dataset import PARTS, Splits
from variform.data.outlines import Layout
from variform.data.reading import read, read_like
from variform.data.schema import Schema
from variform.evaluation.verdict import collapsed
from variform.export.model_file import load_vae
from variform.model.vae import VAE
from variform.runs.own_rows import FILES, located
from variform.runs.records import read_config, read_data, read_evaluation, require_run
from variform.training.history import resume_command

PictureName = Literal[
    "reconstructions",
    "samples",
    "draws",
    "latent",
    "responses",
    "manifold",
    "traversals",
    "conditions",
    "levels",
    "interpolation",
    "kl",
    "curves",
]
"""The pictures of a report."""

FIGURES: tuple[PictureName, ...] = get_args(PictureName)

SAMPLER_FILES: dict[SamplerKind, str] = {
    kind: f"sampler-{kind}.safetensors" for kind in get_args(SamplerKind)
}

RESULTS = (
    "config.toml",
    "data.json",
    "environment.json",
    "checkpoint.safetensors",
    "history.jsonl",
    "model.safetensors",
    "last.safetensors",
    "evaluation.json",
    "scores.safetensors",
    "validation.json",
    "validation-scores.safetensors",
    *SAMPLER_FILES.values(),
    "samplers.json",
    "axes.json",
    "report.html",
    "explorer.html",
    "live.html",
    *(f"figures/{name}.png" for name in FIGURES),
    "figures/architecture.svg",
    "figures/film.gif",
    "film.html",
    "film.safetensors",
    *FILES,
)
"""What `train` with `overwrite` sets aside first: else a run that is killed early would show another one's results."""

OUTPUTS = (
    "latents.csv",
    "generated.csv",
    "decoded.csv",
    "reconstructed.csv",
    "imputed.csv",
    "imputed.npy",
)
"""What commands write beside these by default."""


@dataclass(frozen=True, repr=False)
class Run:
    """A finished run, opened.

    Args:
        folder: Where it is.
        config: What it was made of.
        vae: The model with the weights of the best epoch.
    """

    folder: Path
    config: RunConfig
    vae: VAE

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r}, {self.vae.extra_repr()}, objective={objective_name(self.config)})"

    def data(self) -> Splits:
        """The run's own data, read again.

        Raises:
            ValueError: when they are not the data that the run was trained on.
        """
        config = dataclasses.replace(reading(self.config), stations=None)  # the model has them
        of_model = schema_of(self.vae)
        has_many = of_model.kind == "table" and len(set(of_model.scale)) > 1
        if config.scaling == "auto" and has_many:
            config = dataclasses.replace(config, scaling="standard")  # as older versions chose
        source = located(self.config.source, self.folder)
        is_new = self.config.start is None
        splits = read(source, config) if is_new else read_like(source, of_model, config)
        splits = with_note_of_responses(self.folder, splits)
        require_same_data(self.folder, splits)
        # which are not in older files
        apart = {"source": "", "occupancy": None, "modes": (), "outline": None}
        known = dataclasses.replace(splits.schema, **apart) == dataclasses.replace(
            of_model, **apart
        )
        if not known:
            raise ValueError(
                f"{self.folder / 'config.toml'} must prepare the data as in training; its [data] table has changed "
                "since. Undo the change, or train a new run."
            )
        return _drawn_as(splits, of_model.outline)

    @property
    def evaluation(self) -> dict[str, Any]:
        """The numbers in evaluation.json.

        Raises:
            ValueError: for a file that is damaged, or of something else.
        """
        path = self.folder / "evaluation.json"
        numbers, dim = read_evaluation(path), self.vae.latent_dim
        kls, variances = numbers["kl_per_dimension"], numbers["active_units"]["variances"]
        if len(variances) != dim or (kls is not None and len(kls) != dim):
            raise ValueError(
                f"{path} must hold the numbers of this model; it has {dim} latents, the numbers are of another many. "
                f"Have it written anew with {resume_command(self.folder)}."
            )
        return {
            "warnings": collapsed(self.vae, numbers, self.config.train)
        } | numbers  # older files have no warnings


@dataclass(frozen=True, repr=False)
class ModelFile(Run):
    """A model file alone, which answers as a run does but for its data and its numbers.

    Args:
        path: The file.
    """

    path: Path

    def data(self) -> Splits:
        """Refuse: the rows are not there.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            f"the data of the training must be there for this; {self.path} is a model file alone. Give the folder of "
            "its run, rows where the command takes some, or `given` for each condition."
        )

    @property
    def evaluation(self) -> dict[str, Any]:
        """Refuse, as `data`."""
        raise ValueError(
            f"the numbers of a run must be there for this; {self.path} is a model file alone. Give the folder of its "
            "run."
        )


def open_run(path: str | Path) -> Run:
    """Open the folder of a run, or a model file alone.

    Raises:
        FileNotFoundError: when it is neither.
        ValueError: for a file that is no model file, as `load_vae`.
    """
    folder = Path(path)
    if folder.is_file():
        vae = load_vae(folder)
        assert vae.config is not None  # as of every VAE that a file holds
        return ModelFile(folder.parent, RunConfig(model=vae.config), vae, folder)
    require_run(folder)
    return Run(folder, read_config(folder / "config.toml"), load_vae(folder / "model.safetensors"))


def schema_of(vae: VAE) -> Schema:
    """What the data of a model are; a loaded model knows."""
    assert vae.schema is not None  # a loaded model has one
    return vae.schema


def require_same_data(folder: Path, splits: Splits) -> None:
    """Refuse data that are not those of the run in `folder`; a run that was killed before it noted them takes any.

    Raises:
        ValueError: when the data have changed.
    """
    note = folder / "data.json"
    if note.is_file() and read_data(note)["fingerprint"] != splits.fingerprint:
        raise ValueError(
            f"{splits.schema.source} must hold the data that {folder} was trained on; it has changed since. "
            "Bring the old data back, or train a new run."
        )


def _drawn_as(splits: Splits, outline: Layout | None) -> Splits:
    """The data whose rows are curves as those of the model are, which may have learned it from a file that is gone."""
    if outline is None:
        return splits
    schema = dataclasses.replace(splits.schema, outline=outline)
    train, valid, test = (
        dataclasses.replace(getattr(splits, part), schema=schema) for part in PARTS
    )
    return dataclasses.replace(splits, train=train, valid=valid, test=test, schema=schema)


def with_note_of_responses(folder: Path, splits: Splits) -> Splits:
    """The data of the run in `folder`, with a note where responses are not those that it noted.

    Responses never enter a model: one with others is still the same, and so is its training.
    """
    path = folder / "data.json"
    noted = read_data(path).get("responses") if path.is_file() else None
    present = _response_digests(splits)
    if noted is None or noted == present:
        return splits
    names = [name for name in {**noted, **present} if noted.get(name) != present.get(name)]
    note = (
        f"responses that have changed since the training began, or were not there: {listed(names)}; the model and its"
        " rows are the same"
    )
    return dataclasses.replace(splits, notes=(*splits.notes, note))


def chosen_before(folder: Path) -> str:
    """What was chosen of all that a run left open, as `Plan.chosen`; "" where nothing was, or it is not known."""
    path = folder / "data.json"
    return read_data(path).get("chosen", "") if path.is_file() else ""


def privacy_of(folder: Path) -> dict[str, Any]:
    """What a private training promised, as `Budget.facts`; empty where it was not private."""
    path = folder / "data.json"
    return read_data(path).get("differential_privacy", {}) if path.is_file() else {}


def _response_digests(splits: Splits) -> dict[str, str]:
    """A hash of each response, SHA-256 in hexadecimal, by name."""
    digests = {}
    for name in splits.train.responses:
        parts = [part.responses[name] for part in (splits.train, splits.valid, splits.test)]
        whole = np.concatenate(parts).tolist()
        digests[name] = hashlib.sha256(repr(whole).encode()).hexdigest()
    return digests


def contexts_given(run: Run, given: Sequence[str], rows: int, *, seed: int = 0) -> Tensor | None:
    """The contexts of `rows` new rows: as `given` by `name=value`, or those of random training rows.

    Raises:
        ValueError: for what is not of the form name=value, or not what the model must be given.
    """
    schema = schema_of(run.vae)
    if odd := next((pair for pair in given if "=" not in pair), None):
        raise ValueError(
            f"`given` must be of the form name=value; got {odd}. Write for example label=3."
        )
    if given or not schema.conditions:
        values = dict(pair.split("=", 1) for pair in given)
        return schema.context(values) if given else None
    contexts = run.data().train.whole_contexts()
    return contexts[
        torch.randint(len(contexts), (rows,), generator=torch.Generator().manual_seed(seed))
    ]


def unseen(run: Run, context: Tensor | None) -> list[str]:
    """What must be said of what a run's model is asked for, as `Schema.unseen` does; an older run reads its data."""
    schema = schema_of(run.vae)
    if context is None or schema.occupancy is not None:
        return schema.unseen(context)
    try:
        return run.data().schema.unseen(context)
    except (ValueError, OSError) as error:
        return [f"Whether the training rows have what is asked for is not known: {error}"]


def describe(splits: Splits) -> dict[str, Any]:
    """What was read, as plain values."""
    sizes = {name: len(getattr(splits, name)) for name in ("train", "valid", "test")}
    schema = splits.schema
    return {
        "source": schema.source,
        "kind": schema.kind,
        "shape": list(schema.shape),
        "rows": sizes,
        "classes": list(schema.classes),
        "duplicates": splits.duplicates,
        "scaling": splits.scaling,
        "leaks": splits.leaks,
        "fingerprint": splits.fingerprint,
        "units": schema.units,
        "responses": _response_digests(splits),
        "notes": list(splits.notes),
    }
