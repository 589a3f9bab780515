"""A run: one folder that holds a trained model, what it was trained on, its numbers, its pictures and its report.

config.toml           every value, defaults included
model.safetensors     the weights of the best epoch, and the JSON to rebuild the model
last.safetensors      the weights after the last step
checkpoint.safetensors, history.jsonl
environment.json      seed, versions, threads, device, data fingerprint and git commit of the training, once for each
                      environment that it went through
evaluation.json       held-out numbers with standard errors
scores.safetensors    what they are means of, row by row
figures/*.png, report.html, explorer.html
sampler-*.safetensors, samplers.json  laws fitted over z after the training, and what each of them is good for
"""

import dataclasses
import json
import math
import os
import platform
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import tomli_w
import torch
from matplotlib.figure import Figure
from torch import Tensor

from variform import __version__, checkpoints, exploration, locks, plots, processes, samplers
from variform.checkpoints import taking
from variform.config import (
    Count,
    EvaluationConfig,
    ModelConfig,
    RunConfig,
    TrainConfig,
    checked,
    from_toml,
    objective_name,
    require_effect,
    to_command,
    to_dict,
)
from variform.data import Dataset, Schema, Splits, read, read_rows
from variform.evaluation import summary
from variform.evaluation.baselines import PCAS, baseline_names, beside
from variform.evaluation.density import Scores, score
from variform.evaluation.pareto import FEWEST_SAMPLES, HIGH
from variform.evaluation.verdict import collapsed, is_collapsed, placed
from variform.explorer.contents import draws, gather
from variform.explorer.page import Page
from variform.explorer.page import render as render_page
from variform.explorer.payload import decoder_payload
from variform.export import inspect, load_vae, save
from variform.files import expanded, replacing, set_aside, sweep, write_json, write_text
from variform.profiling import Profile, profile
from variform.records import read_data, read_evaluation, read_history, read_sessions
from variform.report import Picture, Table, render
from variform.sealing import read_sealed, write_sealed
from variform.sources import BUILT_IN, source_format
from variform.steps import find_device, machine, require_fits, require_possible, threads_of
from variform.stopping import Stopped
from variform.training import (
    History,
    NonFiniteError,
    build_objective,
    epochs,
    fit,
    passes,
    require_batch,
    require_labels,
    resume_command,
)
from variform.vae import VAE, build_vae

FIGURES = (
    "reconstructions",
    "samples",
    "draws",
    "latent",
    "manifold",
    "traversals",
    "conditions",
    "interpolation",
    "kl",
    "curves",
)

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
    "sampler-gmm.safetensors",
    "sampler-flow.safetensors",
    "samplers.json",
    "report.html",
    "explorer.html",
    *(f"figures/{name}.png" for name in FIGURES),
)
"""What `train` with `overwrite` sets aside first: else a run that is killed early would show another one's results."""

OUTPUTS = ("latents.csv", "generated.csv", "decoded.csv", "reconstructed.csv", "imputed.csv", "imputed.npy")
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
        splits = read(self.config.source, self.config.reading)
        require_same_data(self.folder, splits)
        apart = {"source": "", "occupancy": None, "modes": ()}  # which are not in older files
        known = dataclasses.replace(splits.schema, **apart) == dataclasses.replace(_schema(self.vae), **apart)
        if not known:
            raise ValueError(
                f"{self.folder / 'config.toml'} must prepare the data as in training; its [data] table has changed "
                "since. Undo the change, or train a new run."
            )
        return splits

    @property
    def evaluation(self) -> dict[str, Any]:
        """The numbers in evaluation.json.

        Raises:
            ValueError: for a file that is damaged, or of something else.
        """
        path = self.folder / "evaluation.json"
        numbers, dim = read_evaluation(path, ROWS), self.vae.latent_dim
        kls, variances = numbers["kl_per_dimension"], numbers["active_units"]["variances"]
        if len(variances) != dim or (kls is not None and len(kls) != dim):
            raise ValueError(
                f"{path} must hold the numbers of this model; it has {dim} latents, the numbers are of another many. "
                f"Have it written anew with {resume_command(self.folder)}."
            )
        return {"warnings": collapsed(self.vae, numbers, self.config.train)} | numbers  # older files have no warnings


def open_run(path: str | Path) -> Run:
    """Open the folder of a run.

    Raises:
        FileNotFoundError: when it is not the folder of a run with a model.
    """
    folder = Path(path)
    if not (folder / "config.toml").is_file() or not (folder / "model.safetensors").is_file():
        raise FileNotFoundError(
            f"a run must be a folder with config.toml and model.safetensors; {folder} is not. "
            "Give the folder that variform train wrote, or finish it with variform train --resume."
        )
    return Run(folder, read_config(folder / "config.toml"), load_vae(folder / "model.safetensors"))


def _schema(vae: VAE) -> Schema:
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


def told(run: Run, given: Sequence[str], rows: int, *, seed: int = 0) -> Tensor | None:
    """The contexts of `rows` new rows: as `given` by `name=value`, or those of random training rows.

    Raises:
        ValueError: for what is not of the form name=value, or not what the model must be told.
    """
    schema = _schema(run.vae)
    if odd := next((pair for pair in given if "=" not in pair), None):
        raise ValueError(f"--given must be of the form name=value; got {odd}. Write for example label=3.")
    if given or not schema.conditions:
        values = dict(pair.split("=", 1) for pair in given)
        return schema.context(values) if given else None
    contexts = run.data().train.whole_contexts()
    return contexts[torch.randint(len(contexts), (rows,), generator=torch.Generator().manual_seed(seed))]


def unseen(run: Run, context: Tensor | None) -> list[str]:
    """What must be said of what a run's model is asked for, as `Schema.unseen` does; an older run reads its data."""
    schema = _schema(run.vae)
    if context is None or schema.occupancy is not None:
        return schema.unseen(context)
    try:
        return run.data().schema.unseen(context)
    except (ValueError, OSError) as error:
        return [f"Whether the training rows have what is asked for is not known: {error}"]


def history(folder: Path) -> list[dict[str, Any]]:
    """The rows of a run's history.jsonl, one per epoch.

    Raises:
        ValueError: for a file that is damaged, or tells of an epoch otherwise than the run's checkpoint.
    """
    rows = read_history(folder / "history.jsonl")
    for row, told in zip(rows, checkpoints.epochs(folder), strict=False):  # one may be an epoch behind the other
        if row | {"rollback": ""} != told | {"rollback": ""}:  # which is noted in the last row a little later
            raise ValueError(
                f"{folder / 'history.jsonl'} must agree with the checkpoint beside it; epoch {row['epoch']} differs. "
                f"Have it written anew with {resume_command(folder)}."
            )
    return rows


def read_config(path: Path) -> RunConfig:
    """The configuration in a TOML file.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when it is not a configuration.
    """
    if not path.is_file():
        raise FileNotFoundError(f"a configuration must exist; there is no file {path}. Check the path.")
    return from_toml(path.read_bytes(), str(path))


def settled(config: RunConfig) -> RunConfig:
    """The configuration with all that follows from it: the absolute path of its source, so that it means the same in
    every folder, and the classifier that objective m2 needs.

    Example:
        >>> settled(RunConfig(source="digits")).source
        'digits'
    """
    if config.train.objective == "m2":
        config = dataclasses.replace(config, model=dataclasses.replace(config.model, classifier=True))
    if source_format(config.source) in BUILT_IN:
        return config
    return dataclasses.replace(config, source=str(expanded(config.source).absolute()))


def completed(config: RunConfig, splits: Splits) -> RunConfig:
    """The configuration with the epochs and the batch that these data get by default, so that config.toml has them."""
    train = config.train.for_rows(len(splits.train))
    if train.steps is None:
        train = dataclasses.replace(train, epochs=epochs(train, len(splits.train)))
    return dataclasses.replace(config, train=train)


@contextmanager
def new_run(folder: Path, *, overwrite: bool = False) -> Iterator[None]:
    """Inside, the folder is there and this process's alone: made, empty, or with `overwrite` an old one.

    Raises:
        HeldError: when another process writes into it.
        OSError: when it cannot be made or, without `overwrite`, holds something already.
    """
    with locks.held(folder, make=True):
        if not overwrite and not all(locks.is_lock(path.name) for path in folder.iterdir()):
            raise FileExistsError(
                f"the output folder must be new or empty; {folder} is not. "
                "Choose another --out, go on with what is there, or replace it with --overwrite."
            )
        yield


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


def train(
    config: RunConfig, folder: Path, *, overwrite: bool = False, progress: bool = False, pictures: bool = True
) -> Run:
    """Read, build, fit, evaluate, draw and report, into a new folder.

    With `overwrite` the results of a run that is there move to a folder replaced-1 (or 2, ...) in it; all other files
    stay where they are.

    Args:
        config: The whole configuration.
        folder: The run's folder; new, empty, or with `overwrite` an old one.
        overwrite: Set the results of a run that is there aside.
        progress: Show progress on standard error.
        pictures: Draw the figures and write the report too.

    Raises:
        HeldError: when another process writes into the folder.
        ValueError, OSError: for data, options or folders that do not fit; nothing is written then.
    """
    with ExitStack() as stack:
        with processes.joined():
            stack.enter_context(processes.for_all(new_run(folder, overwrite=overwrite)))
            require_effect(config.model)
            config = settled(config)
            splits, vae = prepare(config)
            config = completed(config, splits)
            if processes.rank() == 0:
                sweep(folder / name for name in (*RESULTS, *OUTPUTS))
                set_aside(folder, RESULTS)
                write_text(folder / "config.toml", tomli_w.dumps(to_dict(config)))
            history = _fit(config, folder, splits, vae, resume=False, progress=progress)
        return _finish(Run(folder, config, vae), splits, history, progress, pictures)


def resume(
    folder: Path, *, evaluation: EvaluationConfig | None = None, progress: bool = False, pictures: bool = True
) -> Run:
    """Go on with an interrupted run; it ends with the same bits as one that was left alone.

    Args:
        folder: The run's folder.
        evaluation: Evaluate the model so, now and later, in the place of what the run's config.toml says.
        progress: Show progress on standard error.
        pictures: Draw the figures and write the report too.

    Raises:
        FileNotFoundError: when the folder is not that of a run.
        HeldError: when another process writes into it.
        ValueError: when the data or the checkpoint are not those of the run.
    """
    path, checkpoint = folder / "config.toml", folder / "checkpoint.safetensors"
    is_first = processes.rank() == 0
    with ExitStack() as stack:
        with processes.joined():  # the folder may be there for process 0 alone
            if not processes.any_of(is_first and path.is_file())[0]:
                raise FileNotFoundError(f"a run must be a folder with config.toml; {folder} is not. Check the path.")
            stack.enter_context(processes.for_all(locks.held(folder)))
            (begun,) = processes.any_of(is_first and checkpoint.is_file())
            config = from_toml(processes.told(path.read_bytes() if is_first else b""), str(path))
            config = config if evaluation is None else dataclasses.replace(config, evaluation=evaluation)
            splits, vae = prepare(config)
            require_same_data(folder, splits)
            if is_first:
                sweep(folder / name for name in (*RESULTS, *OUTPUTS))
                if evaluation is not None:
                    write_text(path, tomli_w.dumps(to_dict(config)))
            history = _fit(config, folder, splits, vae, resume=begun, progress=progress)
        return _finish(Run(folder, config, vae), splits, history, progress, pictures)


def _fit(config: RunConfig, folder: Path, splits: Splits, vae: VAE, *, resume: bool, progress: bool) -> History:
    """Train the model of a run, by all processes that there are."""
    objective = build_objective(vae, config.train, rows=len(splits.train))
    if processes.rank() == 0:
        write_json(folder / "data.json", describe(splits))
        _note_session(folder, config, splits, threads_of(objective, config.train))
    given = {"fingerprint": splits.fingerprint, "data": to_dict(config.data), "model": to_dict(config.model)}
    try:
        with processes.joined():
            return fit(
                objective,
                splits.train,
                splits.valid,
                config.train,
                folder=folder,
                resume=resume,
                identity=json.dumps(given, sort_keys=True),
                progress=progress,
            )
    except NonFiniteError:
        if processes.rank() == 0:
            save(vae, folder / "model.safetensors")  # so that what broke can be looked at
        raise


def _finish(run: Run, splits: Splits, history: History, progress: bool, pictures: bool) -> Run:
    """What process 0 does with a trained model: files, numbers, pictures, report."""
    if processes.rank() != 0:
        return run
    try:
        with taking(run.folder, "the model"):
            save(run.vae, run.folder / "model.safetensors")
            _save_last(run.vae, history, run.folder)
        with taking(run.folder, "the numbers"):
            numbers = assess(run, splits, progress=progress, keep=True)
            write_json(run.folder / "evaluation.json", numbers)
        if pictures:
            with taking(run.folder, "the pictures and the report"):
                figures = draw(run, splits, numbers, history.rows)
                missing = write_explorer(run, splits, numbers)
                write_report(run, splits, numbers, history, figures, missing)
    except KeyboardInterrupt as error:
        message = f"stopped after the training; go on with: {resume_command(run.folder)}"
        raise Stopped.by(error, message) from error
    return run


def overview(folder: Path) -> dict[str, Any]:
    """What a run is and how far it came, as plain values, from its files alone; an interrupted one is opened too.

    Args:
        folder: The run's folder.

    Returns:
        config; data, as `describe` gives it; training (epochs and steps done, epochs and steps in all, the best epoch,
        its validation ELBO, and whether it is finished); model, as `export.inspect` gives it; and evaluation. What is
        not there yet is None.

    Raises:
        FileNotFoundError: when it is not the folder of a run.
    """
    path = folder / "config.toml"
    if not path.is_file():
        raise FileNotFoundError(f"a run must be a folder with config.toml; {folder} is not. Check the path.")
    config = read_config(path)
    note, numbers = folder / "data.json", folder / "evaluation.json"
    data = read_data(note) if note.is_file() else None
    evaluation = read_evaluation(numbers, ROWS) if numbers.is_file() else None
    rows = history(folder) if (folder / "history.jsonl").is_file() else []
    per_epoch = math.ceil(data["rows"]["train"] / config.train.batch) if data else None
    steps = config.train.steps or (config.train.epochs and per_epoch and config.train.epochs * per_epoch)
    best = next((row for row in reversed(rows) if row["best"]), None)
    training = {
        "epochs": passes(rows, data["rows"]["train"]) if data else 0,
        "steps": rows[-1]["step"] if rows else 0,
        "of_epochs": _epochs_asked(config.train, data["rows"]["train"]) if data else config.train.epochs,
        "of_steps": steps,
        "best_epoch": best["epoch"] if best else None,
        "best_valid_elbo": best["valid_elbo"] if best else None,
        "finished": evaluation is not None,
    }
    model = inspect(folder / "model.safetensors") if (folder / "model.safetensors").is_file() else None
    return {"config": to_dict(config), "data": data, "training": training, "model": model, "evaluation": evaluation}


def _epochs_asked(config: TrainConfig, rows: int) -> float | None:
    """Epochs of a training when it is done; `steps` may end within one."""
    if config.steps is None:
        return config.epochs
    batch = config.for_rows(rows).batch
    whole, rest = divmod(config.steps, math.ceil(rows / batch))
    return (whole * rows + rest * batch) / rows


def _decimal(value: float) -> str:
    return f"{value:,.2f}".rstrip("0").rstrip(".")


def overview_table(folder: Path) -> tuple[list[str], list[list[str]]]:
    """What `overview` finds as header and rows of text."""
    found, config = overview(folder), read_config(folder / "config.toml")
    data, training, evaluation, model = (found[name] for name in ("data", "training", "evaluation", "model"))
    widths = "-".join(map(str, config.model.hidden)) or "linear"
    size = f", {model['weights']:,} weights" if model else ""
    network = f"{config.model.network} {widths}"
    whole = _decimal(training["of_epochs"]) if training["of_epochs"] else "?"
    done = f"{_decimal(training['epochs'])} of {whole} epochs, {training['steps']:,} steps"
    if training["best_epoch"]:
        done += f"; best epoch {training['best_epoch']:,}"
        done += (
            f", validation ELBO {training['best_valid_elbo']:.2f}" if training["best_valid_elbo"] is not None else ""
        )
    rows = [["source", config.source]]
    if data:
        shape = " x ".join(map(str, data["shape"]))
        rows.append(["data", f"{data['kind']}s of shape {shape}, fingerprint {data['fingerprint'][:12]}"])
        rows.append(["rows", ", ".join(f"{count:,} {part}" for part, count in data["rows"].items())])
    rows += [
        ["preprocessing", f"scaling {config.reading.scaling}, binarise {config.data.binarise}"],
        [
            "model",
            f"{config.model.likelihood} likelihood, {config.model.latent_dim} latents, {network}, "
            f"posterior {config.model.posterior}, prior {prior_name(config.model)}{size}",
        ],
        ["objective", f"{objective_name(config)}, seed {config.train.seed}"],
        ["training", done if training["finished"] else f"{done}; not finished: {resume_command(folder)}"],
    ]
    if evaluation:
        named = {key: name for key, name in ROWS.items() if key in evaluation and key not in ("posterior_gap", "ess")}
        samples = f", k = {evaluation['nll']['samples']:,}"
        rows += [[name + (samples if key == "nll" else ""), show(evaluation[key])] for key, name in named.items()]
        active = evaluation["active_units"]
        rows.append(["active units", f"{active['count']} of {active['of']}"])
        rows.append(["evaluated on", f"{evaluation['rows']:,} {evaluation['split']} rows"])
        rows += [["warning", sentence] for sentence in placed(evaluation.get("warnings", ()), folder)]
    if model:
        versions = [f"{name} {model[name]}" for name in ("variform", "torch", "zuko") if name in model]
        rows.append(["written by", f"{', '.join(versions)}; format {model['format']}"])
    return ["run", str(folder)], rows


def _note_session(folder: Path, config: RunConfig, splits: Splits, threads: int) -> None:
    """Note in environment.json what this session's bits depend on, unless the one before it had the same."""
    path = folder / "environment.json"
    sessions = read_sessions(path)
    present = machine(threads) | {
        "variform": __version__,
        "device": find_device(config.train.device).type,
        "seed": config.train.seed,
        "data": splits.fingerprint,
        "git_commit": _git_commit(),
    }
    if sessions[-1:] != [present]:
        write_json(path, {"sessions": [*sessions, present]})


def _git_commit() -> str | None:
    """The commit of the repository that the user works in, with a + for uncommitted changes; None outside of one."""
    try:
        commit, changes = (
            subprocess.run(["git", *words], capture_output=True, text=True, timeout=10, check=True).stdout.strip()
            for words in (("rev-parse", "HEAD"), ("status", "-s", "-uno"))
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+" if changes else "")


def _save_last(vae: VAE, history: History, folder: Path) -> None:
    best = {name: value.clone() for name, value in vae.state_dict().items()}
    parts = (name.partition("vae.") for name in history.last)  # an objective may have a network beside it
    vae.load_state_dict({name: history.last[prefix + name] for before, prefix, name in parts if prefix and not before})
    save(vae, folder / "last.safetensors")
    vae.load_state_dict(best)


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
        "fingerprint": splits.fingerprint,
        "notes": list(splits.notes),
    }


@checked
def assess(
    run: Run, splits: Splits, *, split: Literal["test", "valid", "train"] = "test", samples: Count | None = None,
    refine: int = 0, seed: int = 0, progress: bool = False, keep: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """`evaluate` on a split of the run's data, with what a reader needs to repeat it.

    `samples` are by default those of the run's own configuration; `refine` is as for `evaluate`. With `keep` the scores
    of the rows are written into the run's folder.
    """
    samples = run.config.evaluation.nll_samples if samples is None else samples
    rows: Dataset = getattr(splits, split)
    scores = score(run.vae, rows, samples=samples, seed=seed, progress=progress)
    baselines = beside(run.vae, rows, splits.train, scores, seed=seed)
    refined = None
    if refine:
        refined = score(run.vae, rows, samples=samples, refine=refine, seed=seed, progress=progress)
    if keep:
        kept = row_scores(run.vae, rows, scores, split, samples, seed, baselines)
        write_sealed(run.folder / _SCORES[split], *kept)
    there = (run.folder / "history.jsonl").is_file()
    told: dict[str, Any] = {"trained": run.config.train, "history": history(run.folder) if there else []}
    told |= {"refined": refined, "refine": refine}
    numbers = summary(run.vae, rows, scores, baselines, samples=samples, seed=seed, **told)
    if few := _few_rows(splits, split):
        numbers["notes"].append(few)
    if run.config.train.is_point:
        numbers["notes"].append(
            "The training took the mean of q(z|x) for z and left its spread alone: ELBO and NLL are those of a spread "
            "that nobody chose. Compare reconstruction errors, and no densities."
        )
    versions = {"variform": __version__, "torch": torch.__version__, "python": platform.python_version()}
    return numbers | {"split": split, "rows": len(rows), "seed": seed, "data": describe(splits), "versions": versions}


def _few_rows(splits: Splits, split: str) -> str:
    """A warning where a split is so small that its numbers say little; else empty."""
    count, total = len(getattr(splits, split)), sum(map(len, (splits.train, splits.valid, splits.test)))
    if count >= max(10, total / 30):
        return ""
    repeats = splits.duplicates["within"]
    why = ""
    if repeats > total / 2:
        why = f"{repeats:,} of all {total:,} rows repeat others, and equal rows stay together in one split. "
    return (
        f"Only {count:,} of {total:,} rows are in {split}: a few rows decide these numbers and their errors. "
        f"{why}Use another --split-seed{', or delete the duplicates' if why else ''}, or bring more rows."
    )


_SCORES = {"test": "scores.safetensors", "valid": "validation-scores.safetensors"}
"""Where a run keeps the scores of its rows, by their split."""


def row_scores(
    vae: VAE,
    rows: Dataset,
    scores: Scores,
    split: str,
    samples: int,
    seed: int,
    baselines: Mapping[str, dict[str, Any]] | None = None,
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What scores.safetensors holds: how the rows were scored, and their numbers, (N,) each.

    `index` is the number of a row in the source, `squared_error` the mean over its columns or pixels; densities in
    nats, in the units that `Schema.log_jacobian` states. The numbers of a baseline have its name before theirs, as in
    `pca.nll`.
    """
    assert rows.index is not None  # rows of a run have a source
    error = scores.squared_error
    header = {"scored": samplers.identity(vae), "split": split, "samples": samples, "seed": seed}
    simpler = {name: found["rows"] for name, found in (baselines or {}).items()}
    trust = {"pareto_k": scores.pareto_k, "ess": scores.ess} if samples >= FEWEST_SAMPLES else {}
    return header, {
        **{f"{name}.{measure}": values for name, found in simpler.items() for measure, values in found.items()},
        "index": rows.index,
        "elbo": scores.elbo,
        "log_likelihood": scores.log_likelihood,
        "kl": scores.kl,
        "nll": -scores.log_px,
        "squared_error": error.nanmean(1) if rows.schema.gaps else error.mean(1),
        **trust,
    }


@checked
def scored_rows(
    run: Run,
    *,
    split: Literal["test", "valid"] = "test",
    samples: Count | None = None,
    refine: int = 0,
    seed: int = 0,
    progress: bool = False,
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The scores of a run's rows, as `row_scores` gives them: those that it kept, or new ones without baselines.

    Args:
        run: The run.
        split: Which rows.
        samples: Importance samples per row; by default those of the run's own evaluation. Where the run kept scores
            with others, or none, its data are read and scored again, and nothing is written.
        refine: Where it is not 0, new scores are of a q(z|x) of its own for each row, so many steps from the encoder's.
        seed: Seed of new scores.
        progress: Show a progress bar on a terminal.

    Raises:
        ValueError: when the rows must be scored again and the data have changed.
    """
    path = run.folder / _SCORES[split]
    if path.is_file() and not refine:
        header, tensors = read_sealed(path)
        _require_scores(path, header, tensors)
        if header["scored"] == samplers.identity(run.vae) and samples in (None, header["samples"]):
            return header, tensors
    rows: Dataset = getattr(run.data(), split)
    samples = samples or run.evaluation["nll"]["samples"]
    scores = score(run.vae, rows, samples=samples, refine=refine, seed=seed, progress=progress)
    return row_scores(run.vae, rows, scores, split, samples, seed)


def _require_scores(path: Path, header: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Refuse what is not of the form that `row_scores` gives."""
    kinds = {"scored": str, "split": str, "samples": int, "seed": int}
    names = {"index", "elbo", "log_likelihood", "kl", "nll", "squared_error"}
    optional = {f"{name}.{measure}" for name in (*PCAS, "famd", "trivial") for measure in ("nll", "squared_error")}
    optional |= {"pareto_k", "ess"}  # older runs have none
    shapes = {(value.shape, value.ndim) for value in tensors.values()}
    is_typed = all(type(header.get(name)) is kind for name, kind in kinds.items())
    if not is_typed or not names <= set(tensors) <= names | optional or len(shapes) != 1 or next(iter(shapes))[1] != 1:
        raise ValueError(
            f"{path} must hold the scores of rows; it does not. Write them anew with variform train --resume."
        )


def warned(run: Run) -> list[str]:
    """What must be said before anything that comes out of a run's latents: that they hold nothing, if it is so."""
    if not (run.folder / "evaluation.json").is_file():
        return []
    try:
        return placed(collapsed(run.vae, run.evaluation, run.config.train), run.folder)
    except ValueError as error:  # a damaged file, which is no reason to refuse the model
        return [str(error)]


@checked
def sampler_file(run: Run, kind: samplers.SamplerKind) -> Path:
    """Where a run keeps its sampler of a kind."""
    return run.folder / f"sampler-{kind}.safetensors"


@checked
def fit_sampler(
    run: Run, kind: samplers.SamplerKind, *, samples: Count = 1000, seed: int = 0, progress: bool = False
) -> dict[str, Any]:
    """Fit a sampler to a run's model, save it with the run, and compare all samplers that the run has.

    Args:
        run: The run.
        kind: `gmm` or `flow`.
        samples: Importance samples per test row.
        seed: Seed of the fit and of the comparison.
        progress: Show progress bars on a terminal.

    Returns:
        What `samplers.compare` gives, with the facts of each fit; it is also in samplers.json.

    Raises:
        HeldError: when another process writes into the run's folder.
        ValueError: when the run's data have changed.
    """
    with locks.held(run.folder):
        return _fit_sampler(run, kind, samples, seed, progress)


def _fit_sampler(run: Run, kind: samplers.SamplerKind, samples: int, seed: int, progress: bool) -> dict[str, Any]:
    splits = run.data()
    if kind == "gmm":
        fitted = samplers.fit_mixture(run.vae, splits.train, seed=seed, progress=progress)
    else:
        fitted = samplers.fit_flow(run.vae, splits.train, splits.valid, seed=seed, progress=progress)
    samplers.save(fitted, run.vae, sampler_file(run, kind))
    there = [other for other in get_args(samplers.SamplerKind) if sampler_file(run, other).is_file()]
    found = {other: samplers.load(sampler_file(run, other), run.vae) for other in there}
    priors = {name: sampler.prior for name, sampler in found.items()}
    numbers = samplers.compare(run.vae, priors, splits, samples=samples, seed=seed, progress=progress)
    for name, sampler in found.items():
        numbers["samplers"][name]["fit"] = sampler.facts
    numbers["warnings"] = [*warned(run), *numbers["warnings"]]
    write_json(run.folder / "samplers.json", numbers)
    return numbers


@checked
def with_sampler(run: Run, kind: Literal["prior", "gmm", "flow"], temperature: float = 1.0) -> VAE:
    """The run's model under one of its samplers, at a temperature.

    Args:
        run: The run.
        kind: `prior` for the model's own.
        temperature: See `samplers.tempered`.

    Raises:
        FileNotFoundError: where the run has no such sampler yet.
        ValueError: for a sampler of other weights, a damaged file, or a temperature that is not above 0.
    """
    prior = run.vae.prior
    if kind != "prior":
        if not sampler_file(run, kind).is_file():
            raise FileNotFoundError(
                f"the sampler must be fitted first; {run.folder} has no {sampler_file(run, kind).name}. "
                f"Fit it with variform sampler {run.folder} --kind {kind}."
            )
        prior = samplers.load(sampler_file(run, kind), run.vae).prior
    if temperature != 1:
        prior = samplers.TemperedPrior(prior, temperature)
    return run.vae.with_prior(prior)


# --- numbers as a table -------------------------------------------------------------------------------------------

ROWS = {
    "elbo": "ELBO (nats)",
    "log_likelihood": "log-likelihood term (nats)",
    "kl": "KL(q(z|x) || p(z)) (nats)",
    "nll": "NLL (nats)",
    "posterior_gap": "gap KL(q(z|x) || p(z|x)) (nats)",
    "ess": "effective importance samples",
    "high_pareto_k": f"share of rows with Pareto k > {HIGH}",
    "bits_per_dim": "bits per dimension",
    "reconstruction_error": "reconstruction error, RMS (data units)",
    "accuracy": "share of labels that the classifier finds",
}


def table(numbers: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """The numbers of an evaluation as header and rows of text: VAE, PCA and the trivial model side by side."""
    baselines = numbers.get("baselines", {})
    names = baseline_names(baselines)
    refined = {"refined": f"VAE, q refined in {numbers['refined']['steps']} steps"} if "refined" in numbers else {}
    columns = [numbers, *(numbers[name] for name in refined), *(baselines[name] for name in names)]
    rows = []
    for key, name in ROWS.items():
        if any(key in column for column in columns):
            label = f"{name}, k = {numbers['nll']['samples']}" if key == "nll" else name
            rows.append([label, *(show(column.get(key)) for column in columns)])
    active = numbers["active_units"]
    rows.append(["active units", f"{active['count']} of {active['of']}", *[""] * (len(columns) - 1)])
    return [f"{numbers['split']}, {numbers['rows']} rows", "VAE", *refined.values(), *names.values()], rows


def imputation_table(numbers: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """What `evaluation.imputation.judge` found as header and rows of text."""
    share = f"{numbers['level']:.0%}"
    head = [
        f"{numbers['cells']:,} cells taken away",
        "VAE",
        "column means, most frequent categories",
        f"in {share} intervals",
    ]

    def row(name: str, found: dict[str, Any]) -> list[list[str]]:
        rows = []
        if "rmse" in found:
            cells = (found["rmse"], found["rmse_of_means"], found["coverage"])
            rows.append([f"{name}: RMS error", *map(show, cells)])
        if "accuracy" in found:
            rows.append([f"{name}: share right", show(found["accuracy"]), show(found["accuracy_of_mode"]), ""])
        return rows

    rows = row("all", numbers)
    if "rmse" in numbers:
        rows[0][0] = f"all numbers, in {numbers['unit']}: RMS error"
    for name, found in numbers.get("columns", {}).items():
        rows += row(name, found)
    if "high_pareto_k" in numbers:
        rows.append([ROWS["high_pareto_k"], show(numbers["high_pareto_k"]), "", ""])
    return head, rows


def sampler_table(numbers: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """What `fit_sampler` found as header and rows of text: the model's prior, each sampler, and real rows."""
    quality = {
        "precision": "precision",
        "recall": "recall",
        "density": "density",
        "coverage": "coverage",
        "c2st": "C2ST, nearest",
        "c2st_boosted": "C2ST, boosted",
    }
    rows = []
    for name, found in numbers["samplers"].items():
        label = f"{name}, {found['fit']['components']} components" if name == "gmm" else name
        difference = "" if name == "prior" else show(found["nll_minus_prior"])
        densities = [show(found["nll"]), difference, show(found.get("high_pareto_k"))]
        rows.append([label, *densities, *(show(found["samples"][key]) for key in quality)])
    rows.append(["training rows", "", "", "", *(show(numbers["training_rows"][key]) for key in quality)])
    rows.append(["perfect", "", "", "", "", "", "1", f"{numbers['perfect_coverage']:.3f}", "0.5", "0.5"])
    densities = [f"NLL (nats), k = {numbers['importance_samples']}", "minus prior's", f"rows with Pareto k > {HIGH}"]
    return [f"{numbers['split']}, {numbers['rows']} rows", *densities, *quality.values()], rows


def show(estimate: dict[str, Any] | None) -> str:
    """An estimate as text, mean ± standard error with matching digits.

    Example:
        >>> show({"mean": -103.3127, "se": 0.234, "n": 10000})
        '-103.31 ± 0.23'
    """
    if not estimate:
        return ""
    mean, error = estimate["mean"], estimate["se"]
    if mean is None or not np.isfinite(mean):
        return "not finite"
    if abs(mean) < 1e-9:
        return "0"
    if not error or not np.isfinite(error) or error < 1e-9:
        return f"{mean:.4g}"
    digits = max(0, 1 - int(np.floor(np.log10(error))))
    return f"{mean:.{digits}f} ± {error:.{digits}f}"


def prior_name(config: ModelConfig) -> str:
    """The prior in words.

    Example:
        >>> prior_name(ModelConfig(prior="vamp", components=500))
        'the VampPrior of 500 pseudo-inputs'
    """
    return {
        "normal": "N(0, I)",
        "mixture": f"the learned mixture of {config.components} Gaussians",
        "vamp": f"the VampPrior of {config.components} pseudo-inputs",
        "flow": "the learned flow",
    }[config.prior]


# --- pictures and the report --------------------------------------------------------------------------------------


def draw(run: Run, splits: Splits, numbers: dict[str, Any], history: list[dict[str, Any]]) -> list[Picture]:
    """Write figures/*.png and say what each shows; of a collapsed model none of the latent space."""
    vae, schema = run.vae, splits.schema
    (run.folder / "figures").mkdir(exist_ok=True)
    look: dict[str, Any] = {"columns": schema.columns, "categories": schema.categories}
    if schema.kind == "image":
        look["value_range"] = schema.grey_range
    pictures: list[Picture] = []

    def add(name: str, title: str, caption: str, make: Callable[[], Figure]) -> None:
        assert name in FIGURES  # else what a killed process left of it stayed for good
        path = run.folder / "figures" / f"{name}.png"
        with replacing(path) as temporary:
            make().savefig(temporary, dpi=110)
        pictures.append(Picture(title, path, caption))

    kls, prior = numbers["kl_per_dimension"], prior_name(run.config.model)
    normal = run.config.model.prior == "normal"
    if kls is None:
        what, largest = "Var", "variance of the posterior mean"
        measure = np.array(numbers["active_units"]["variances"])
    else:
        what, largest = "KL", "KL"
        measure = np.array([item["mean"] for item in kls])
    few = splits.test.take(exploration.spread(20 if schema.kind == "image" else 500, len(splits.test)))
    originals, reconstructions = exploration.reconstruct(vae, few)
    means, _ = exploration.encode(vae, splits.test)
    points, axes = exploration.latent_map(means)
    labels, classes = splits.test.labels, schema.classes
    if labels is not None and (labels < 0).any():
        labels, classes = torch.where(labels < 0, len(classes), labels), (*classes, "no label")

    add(
        "reconstructions",
        "Reconstructions",
        "Test rows and what the model makes of their posterior means.",
        lambda: plots.plot_reconstructions(originals, reconstructions, **look),
    )
    image = schema.kind == "image"
    beside = None if image else splits.train.gather(exploration.spread(5000, len(splits.train))).numpy()
    count, told = (64 if image else 1000), splits.train.typical_context()
    contexts = None
    if splits.train.contexts is not None and told is not None:
        whole = splits.train.whole_contexts()
        contexts = whole[torch.arange(count) * 7919 % len(whole)]  # of rows from everywhere
    words = "" if told is None else ", ".join(f"{name} = {value}" for name, value in schema.told(told).items())
    under = f" Told: {words}." if words else ""
    samples = exploration.generate(vae, count, context=contexts, draw=not image, seed=run.config.train.seed)
    add(
        "samples",
        "Samples from the prior",
        f"New data: z drawn from {prior}, then decoded"
        + (" under the contexts of training rows." if words else ".")
        + ("" if image else " Beside them the training rows."),
        lambda: plots.plot_samples(samples, data=beside, **look),
    )
    if image and vae.likelihood.support in ("levels", "counts"):
        drawn = exploration.generate(vae, count, context=contexts, draw=True, seed=run.config.train.seed)
        add(
            "draws",
            "Samples with their noise",
            "The same latent points; every pixel drawn from p(x|z) on its own.",
            lambda: plots.plot_samples(drawn, **look),
        )
    has_map = not is_collapsed(numbers)  # else a picture of the latent space would show what is not there
    if has_map:
        add(
            "latent",
            "Latent space",
            "Posterior means of the test rows.",
            lambda: plots.plot_latent(points, labels, classes=classes, axes=axes, title="Posterior means"),
        )
    if has_map and vae.latent_dim == 2:
        grid, quantiles = exploration.manifold(vae, 20 if image else 30, context=told)
        add(
            "manifold",
            "The manifold",
            f"The latent plane decoded on a grid of equal prior mass; the prior is {prior}."
            + ("" if normal else " Each column is a strip of equal mass, and z2 follows its quantiles in that strip.")
            + under,
            lambda: plots.plot_manifold(grid, quantiles, is_standard=normal, **look),
        )
    if has_map:
        values, positions, order = exploration.traversals(vae, measure, context=told)
        names = [f"z{latent + 1}\n{what} {measure[latent]:.2f}" for latent in order]
        moved = (
            "One latent moved at a time, the others at 0"
            if normal
            else f"One latent moved through its quantiles under {prior}, those at which N(0, 1) has the positions "
            "shown; the others at their medians, which need not be likely together"
        )
        add(
            "traversals",
            "Traversals",
            f"{moved}; the latent with the largest {largest} first." + under,
            lambda: plots.plot_traversals(values, positions, names, is_standard=normal, **look),
        )
    if words:
        changed, ways = exploration.under_each(vae, splits.test.take(exploration.spread(10, len(splits.test))))
        first = schema.conditions[0].name
        add(
            "conditions",
            "Under another condition",
            f"Test rows, encoded with their own {first} and decoded with each {first}.",
            lambda: plots.plot_conditions(changed, ways, first, **look),
        )
    if has_map and len(splits.test) > 1:
        lines = exploration.interpolation(vae, splits.test)
        add(
            "interpolation",
            "Interpolation",
            "Straight lines between the posterior means of two test rows.",
            lambda: plots.plot_interpolation(lines, **look),
        )
    if kls is not None:
        errors = np.array([item["se"] or 0.0 for item in kls])
        add(
            "kl",
            "KL per latent dimension",
            "How many nats each latent tells about a row.",
            lambda: plots.plot_kl_per_dimension(measure, errors),
        )
    if history:
        add("curves", "Training", "Means per example over each epoch.", lambda: plots.plot_curves(history))
    return pictures


def _left_out(numbers: dict[str, Any]) -> list[str]:
    if not is_collapsed(numbers):
        return []
    return [
        "The latent space, ways through it and its traversals are not drawn: a collapsed model puts all rows in one "
        "place."
    ]


def write_report(
    run: Run, splits: Splits, numbers: dict[str, Any], history: History, pictures: list[Picture], missing: str = ""
) -> None:  # fmt: skip
    """Write report.html, one file that opens offline; `missing` says why there is no explorer.html to link."""
    schema, config = splits.schema, run.config
    sizes = ", ".join(f"{len(getattr(splits, name)):,} {name}" for name in ("train", "valid", "test"))
    weights = sum(value.numel() for value in run.vae.parameters())
    steps = history.rows[-1]["step"]
    facts = [
        ("Data", f"{schema.source}: {schema.kind}s of shape {' x '.join(map(str, schema.shape))}"),
        ("Rows", sizes),
        ("Model", f"{config.model.likelihood} likelihood, {config.model.latent_dim} latents, {weights:,} weights"),
        ("Latents", f"posterior {config.model.posterior}; prior {prior_name(config.model)}"),
        (
            "Training",
            f"{steps:,} steps, {_decimal(passes(history.rows, len(splits.train)))} epochs, best epoch "
            f"{history.best_epoch}; {history.stopped}",
        ),
        ("Objective", objective_name(config)),
        ("Seed", str(config.train.seed)),
        ("Versions", ", ".join(f"{name} {version}" for name, version in numbers["versions"].items())),
        ("Data fingerprint", splits.fingerprint),
    ]
    header, rows = table(numbers)
    note = "Mean ± standard error over the rows. Lower NLL is better, higher ELBO is better. Constants are included."
    tables = [Table("Held-out numbers", header, rows, note)]
    names = baseline_names(numbers["baselines"])
    sources = {"VAE": numbers} | {label: numbers["baselines"][name] for name, label in names.items()}
    errors = {name: found.get("reconstruction_error_per_column", {}) for name, found in sources.items()}
    if errors["VAE"]:
        rows = [[column, *(show(found[column]) for found in errors.values())] for column in errors["VAE"]]
        unit = "RMS, in each column's unit" + ("; of categories the share that is wrong." if schema.kinds else ".")
        tables.append(Table("Reconstruction error by column", ["column", *errors], rows, unit))
    plural = "s" if config.model.latent_dim > 1 else ""
    html = render(
        title=f"variform: {schema.source}, {config.model.latent_dim} latent dimension{plural}",
        summary=f"A variational autoencoder trained on {len(splits.train):,} rows of {schema.source}.",
        facts=facts,
        tables=tables,
        pictures=pictures,
        command=f"{to_command(config)} --out NEW",
        warnings=placed(numbers.get("warnings", ()), run.folder),
        notes=[*splits.notes, *numbers["notes"], *_left_out(numbers), *([missing] if missing else [])],
        explorer="" if missing else "explorer.html",
        config=tomli_w.dumps(to_dict(config)),
    )
    write_text(run.folder / "report.html", html)


# --- the explorer page --------------------------------------------------------------------------------------------

MOST_EMBEDDED = 20e6  # bytes of a decoder's weights in half precision: what a page still opens with in a moment


def explorer_page(run: Run, splits: Splits, numbers: dict[str, Any], *, source: str | None = None) -> Page:
    """The explorer page of a run, with its decoder inside.

    Args:
        run: The run.
        splits: Its data.
        numbers: Its evaluation.
        source: Data on the map in the place of the run's own.

    Raises:
        ValueError: for a decoder that is too large for a page, or of a kind that it cannot run.
    """
    size = 2 * sum(value.numel() for value in run.vae.decoder.parameters())
    if size > MOST_EMBEDDED:
        raise ValueError(
            f"a page can hold a decoder of up to {MOST_EMBEDDED / 1e6:.0f} MB in half precision; this one has "
            f"{size / 1e6:.0f} MB. Look at it with variform serve {run.folder}."
        )
    decoder = decoder_payload(run.vae)
    return render_page(explorer_contents(run, splits, numbers, source=source), decoder)


def explorer_contents(
    run: Run, splits: Splits, numbers: dict[str, Any], *, source: str | None = None
) -> dict[str, Any]:  # fmt: skip
    """What the explorer page of a run shows, without a decoder; arguments as of `explorer_page`."""
    prior, seed = prior_name(run.config.model), run.config.train.seed
    laws = [draws(run.vae, f"the prior, {prior}", seed=seed)]
    for kind, name in (("gmm", "the fitted mixture"), ("flow", "the fitted flow")):
        if sampler_file(run, kind).is_file():
            try:
                laws.append(draws(with_sampler(run, kind), name, seed=seed))
            except ValueError:  # of other weights: the run has been trained anew since
                continue
    weights = sum(value.numel() for value in run.vae.decoder.parameters())
    facts = [
        ("Data", splits.schema.source),
        ("Rows", ", ".join(f"{len(getattr(splits, name)):,} {name}" for name in ("train", "valid", "test"))),
        ("Likelihood", run.config.model.likelihood),
        ("Latents", f"{run.vae.latent_dim}; posterior {run.config.model.posterior}; prior {prior}"),
        ("Decoder", f"{run.config.model.network}, {weights:,} weights"),
        ("Objective", objective_name(run.config)),
    ]
    sentences = placed(numbers.get("warnings", ()), run.folder)
    return gather(
        run.vae,
        splits,
        numbers | {"warnings": sentences},
        other=None if source is None else read_rows(source, splits.schema),
        prior=prior,
        laws=laws,
        table=table(numbers),
        facts=facts,
        seed=seed,
    )


def write_explorer(run: Run, splits: Splits, numbers: dict[str, Any]) -> str:
    """Write explorer.html into the run's folder; what is returned says why it could not be made, or is empty."""
    path = run.folder / "explorer.html"
    try:
        write_text(path, explorer_page(run, splits, numbers).html)
    except ValueError as error:
        path.unlink(missing_ok=True)  # of another decoder
        return f"There is no explorer page: {error}"
    return ""


def explore(run: Run | str | Path, *, source: str | None = None) -> Page:
    """The explorer page of a run, which shows itself in a notebook.

    Args:
        run: A run, or its folder.
        source: Data on the map in the place of the run's own.

    Raises:
        FileNotFoundError: when it is not the folder of a run with a model.
        ValueError: as `explorer_page`.
    """
    opened = run if isinstance(run, Run) else open_run(run)
    return explorer_page(opened, opened.data(), opened.evaluation, source=source)
