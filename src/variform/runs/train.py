"""A run from its beginning to its end, and again after an interruption."""

import copy
import dataclasses
import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import tomli_w

from variform.config.checks import Count, checked
from variform.config.choices import LanguageName, ProgressStyle
from variform.config.data import DataConfig
from variform.config.model import COPIES
from variform.config.run import EvaluationConfig, RunConfig
from variform.config.settling import total_steps
from variform.config.toml import from_toml, to_dict
from variform.config.training import TrainConfig
from variform.data.dataset import Splits
from variform.export.model_file import save
from variform.export.sampler_file import identity
from variform.model.alignment import Alignment, drop_turn, move
from variform.model.own_networks import keep, kept_codes, sources_of
from variform.model.vae import VAE
from variform.objectives.build import build_objective
from variform.pages.language import words_of
from variform.runs.explorer import write_explorer
from variform.runs.film import FILM, Filming
from variform.runs.folder import (
    OUTPUTS,
    RESULTS,
    SAMPLER_FILES,
    Run,
    chosen_before,
    describe,
    require_same_data,
    with_note_of_responses,
)
from variform.runs.live import LIVE, Watch, finishing
from variform.runs.own_rows import OwnRows, located
from variform.runs.pictures import draw_pictures, write_report
from variform.runs.plan import begun, prepare
from variform.runs.records import read_sessions
from variform.runs.retraining import keep_axes, open_start
from variform.runs.scores import assess
from variform.system import locks, processes
from variform.system.files import set_aside, sweep, write_json, write_text
from variform.system.signals import Stopped
from variform.system.work import threads_again
from variform.training import parts
from variform.training.callbacks import Callback, Callbacks, each_of
from variform.training.checkpoints import taking
from variform.training.device import find_device, machine, threads_of
from variform.training.fit import NonFiniteError, fit
from variform.training.history import History, resume_command
from variform.training.private import budget_of
from variform.training.progress import progress_style
from variform.version import __version__


@checked
def train_run(
    config: RunConfig,
    folder: Path,
    *,
    overwrite: bool = False,
    progress: bool | ProgressStyle = False,
    pictures: bool = True,
    tell: Callable[[str], None] | None = None,
    rows: OwnRows | None = None,
    on_step: Callbacks = None,
    on_epoch: Callbacks = None,
    film: bool = False,
    language: LanguageName = "auto",
) -> Run:
    """Read, build, fit, evaluate, draw and report, into a new folder.

    Where torchrun restarts the processes of a job that had begun the run, it goes on from its last checkpoint.

    With `overwrite` the results of a run that is there move to a folder replaced-1 (or 2, ...) in it; all other files
    stay where they are.

    Args:
        config: The whole configuration.
        folder: The run's folder; new, empty, or with `overwrite` an old one.
        overwrite: Set the results of a run that is there aside.
        progress: How progress is shown on standard error, as of `fit`.
        pictures: Draw the figures and write the report too.
        tell: Takes each sentence on what was guessed of the data and what was chosen, before the first step.
        rows: The data, where they are in memory: the run keeps them in its folder.
        on_step, on_epoch: Called after each step and each epoch, as by `fit`.
        film: Keep frames of the latent space while it comes to be, in film.safetensors, for `film_of`.
        language: Of the report and the explorer page; `auto` is that of the system, and of a page that of the browser.

    Raises:
        HeldError: when another process writes into the folder.
        ValueError, OSError: for data, options or folders that do not fit; nothing is written then.
    """
    if film and config.train.sharded:
        raise ValueError(
            "`film` must be left out with `sharded`, where no process has the whole model; got both. Leave one out."
        )
    watched = {
        "progress": progress,
        "on_step": on_step,
        "on_epoch": on_epoch,
        "pictures": pictures,
        "film": film,
    }
    with ExitStack() as stack:
        with processes.joined():
            if _was_restarted(folder):
                run, splits, history = _resumed(stack, folder, None, tell, watched)
            else:
                beginning = (stack, config, folder, overwrite, tell, rows, watched)
                run, splits, history = _begun(*beginning)
        return _finish(run, splits, history, progress, pictures, language)


def _was_restarted(folder: Path) -> bool:
    """Whether torchrun restarted processes that had begun the run in `folder`, which then goes on."""
    has_config = processes.rank() == 0 and (folder / "config.toml").is_file()
    return processes.has_begun(folder) and processes.any_of(has_config)[0]


def _require_apart(start: str | None, folder: Path) -> None:
    """Refuse to train into the folder of the model that the training starts from."""
    if start is not None and Path(start).resolve().is_relative_to(folder.resolve()):
        raise ValueError(
            f"`start` must be a model of another folder than the new run's; both are {folder}. Choose another `folder`."
        )


def _begun(
    stack: ExitStack,
    config: RunConfig,
    folder: Path,
    overwrite: bool,
    tell: Callable[[str], None] | None,
    own: OwnRows | None,
    watched: dict[str, Any],
) -> tuple[Run, Splits, History]:
    """A new run in `folder`, which `stack` holds, trained; `watched` as `_fit` takes it."""
    _require_apart(config.start, folder)
    stack.enter_context(processes.for_all(locks.claimed(folder, overwrite=overwrite)))
    config = begun(config)
    plan = prepare(config) if own is None else prepare(config, own.rows, labels=own.labels)
    config, splits, vae = plan.config, plan.splits, plan.vae
    if tell is not None and processes.rank() == 0:
        private = () if plan.budget is None else (str(plan.budget), plan.budget.note)
        for sentence in filter(None, (*splits.notes, plan.chosen, *private)):
            tell(sentence)
    if processes.rank() == 0:
        sweep(folder / name for name in (*RESULTS, *OUTPUTS))
        sources = sources_of(vae.codes)  # which may lie in this folder
        set_aside(folder, [*RESULTS, *COPIES, *parts.files(folder)])
        keep(sources, folder)
        if own is not None:
            own.write(folder)
        processes.note_begun(folder)  # from here on, what config.toml says is this run
        write_text(folder / "config.toml", _config_text(config, plan.chosen))
    history = _fit(config, folder, splits, vae, plan.chosen, resume=False, **watched)
    return Run(folder, config, vae), splits, history


@checked
def resume_run(
    folder: Path,
    *,
    evaluation: EvaluationConfig | None = None,
    epochs: Count | None = None,
    progress: bool | ProgressStyle = False,
    pictures: bool = True,
    tell: Callable[[str], None] | None = None,
    on_step: Callbacks = None,
    on_epoch: Callbacks = None,
    language: LanguageName = "auto",
) -> Run:
    """Go on with an interrupted run; it ends with the same bits as one that was left alone.

    With more epochs a finished run goes on too. Everything follows the longer training from this step on: a learning
    rate that is constant stays, one that falls as a cosine is what the longer cosine has there, and patience begins
    anew. Samplers that were fitted to the model are set aside.

    Args:
        folder: The run's folder.
        epochs: Passes over the training rows in all, more than the run has.
        evaluation: Evaluate the model so, now and later, instead of what the run's config.toml says.
        progress: How progress is shown on standard error, as of `fit`.
        pictures: Draw the figures and write the report too.
        tell: Takes a sentence on responses that have changed since the run began, and on what follows from more epochs.
        on_step, on_epoch, language: As of `train_run`.

    Raises:
        FileNotFoundError: when the folder is not that of a run.
        HeldError: when another process writes into it.
        ValueError: when the data or the checkpoint are not those of the run, and for epochs that are not more.
    """
    watched = {
        "progress": progress,
        "on_step": on_step,
        "on_epoch": on_epoch,
        "pictures": pictures,
        "film": (folder / FILM).is_file(),  # a film that was begun goes on
    }
    with ExitStack() as stack:
        with processes.joined():
            run, splits, history = _resumed(stack, folder, evaluation, tell, watched, epochs)
        return _finish(run, splits, history, progress, pictures, language)


def _resumed(
    stack: ExitStack,
    folder: Path,
    evaluation: EvaluationConfig | None,
    tell: Callable[[str], None] | None,
    watched: dict[str, Any],
    epochs: int | None = None,
) -> tuple[Run, Splits, History]:
    """The run in `folder`, which `stack` holds, trained to its end; `watched` as `_fit` takes it.

    The folder may be there for process 0 alone, unless the model is sharded.
    """
    path, checkpoint = folder / "config.toml", folder / "checkpoint.safetensors"
    is_first = processes.rank() == 0
    if not processes.any_of(is_first and path.is_file())[0]:
        raise FileNotFoundError(
            f"a run must be a folder with config.toml; {folder} is not. Check the path."
        )
    stack.enter_context(processes.for_all(locks.held(folder)))
    (has_checkpoint,) = processes.any_of(is_first and checkpoint.is_file())
    config = from_toml(processes.broadcast(path.read_bytes() if is_first else b""), str(path))
    config = config if evaluation is None else dataclasses.replace(config, evaluation=evaluation)
    longer = config if epochs is None else _with_epochs(config, epochs)
    notes = [] if epochs is None else _notes_of_length(config.train, longer.train)
    config = present = longer
    if processes.count() == 1:  # over which nothing can be split
        present = dataclasses.replace(
            config, train=dataclasses.replace(config.train, sharded=False)
        )
    codes = kept_codes(config.model, folder)
    plan = prepare(present, located(config.source, folder), resume=has_checkpoint, codes=codes)
    splits, vae = plan.splits, plan.vae
    require_same_data(folder, splits)
    read_notes, splits = splits.notes, with_note_of_responses(folder, splits)
    if tell is not None and is_first:
        for note in (*splits.notes[len(read_notes) :], *notes):
            tell(note)
    was_chosen = ""
    if is_first:
        was_chosen = chosen_before(folder)
        sweep(folder / name for name in (*RESULTS, *OUTPUTS))
        if epochs is not None:
            set_aside(folder, [*SAMPLER_FILES.values(), "samplers.json"])
        if evaluation is not None or epochs is not None:
            write_text(path, _config_text(config, was_chosen))
    history = _fit(present, folder, splits, vae, was_chosen, resume=has_checkpoint, **watched)
    return Run(folder, config, vae), splits, history


def _with_epochs(config: RunConfig, epochs: int) -> RunConfig:
    """The configuration of a run that goes on for more epochs."""
    train = config.train
    if train.epochs is None or train.steps is not None:
        raise ValueError(
            f"`epochs` can be more for a run whose length is one of epochs; this one has `steps={train.steps}`. Train "
            "a new run with `start`."
        )
    if epochs <= train.epochs:
        raise ValueError(
            f"`epochs` must be more than the {train.epochs} of the run, for they are counted from its beginning; got "
            f"{epochs}. Use `epochs={2 * train.epochs}`, or leave `epochs` out to finish it."
        )
    return dataclasses.replace(config, train=dataclasses.replace(train, epochs=epochs))


def _notes_of_length(before: TrainConfig, after: TrainConfig) -> list[str]:
    """What must be said of a training that is made longer."""
    notes = [f"goes on to {after.epochs:,} epochs; {before.epochs:,} were asked for before"]
    if after.schedule == "cosine":
        notes.append(
            "the learning rate follows the cosine of the longer training from here on: it rises to what that has here"
        )
    if after.patience:
        notes.append("patience begins anew")
    return notes


def _config_text(config: RunConfig, was_chosen: str) -> str:
    """config.toml, which says first what of it was chosen and not given."""
    comment = f"# chosen, since it was not given: {was_chosen}\n" if was_chosen else ""
    return comment + tomli_w.dumps(to_dict(config))


def _fit(
    config: RunConfig, folder: Path, splits: Splits, vae: VAE, was_chosen: str, *,
    resume: bool, progress: bool | ProgressStyle, on_step: Callbacks, on_epoch: Callbacks, pictures: bool,
    film: bool = False,
) -> History:  # fmt: skip
    """Train the model of a run, by all processes that there are; live.html is one of its pictures."""
    objective = build_objective(vae, config.train, rows=len(splits.train))
    if processes.rank() == 0:
        budget = budget_of(config.train, len(splits.train))
        private = {} if budget is None else {"differential_privacy": budget.facts()}
        write_json(folder / "data.json", describe(splits) | {"chosen": was_chosen} | private)
        if not pictures:
            (folder / LIVE).unlink(missing_ok=True)
        threads = threads_of(objective, config.train)
        before = read_sessions(folder / "environment.json")
        if resume and before:
            threads = threads_again(before[-1].get("threads", 0))
        _note_session(folder, config, splits, threads)
    given = {
        "fingerprint": splits.fingerprint,
        "data": to_dict(config.data) | _chosen_since(config.data, splits),
        "model": to_dict(config.model),
    }
    if vae.codes:
        given["code"] = {part: code.sha256 for part, code in vae.codes.items()}
    if config.start is not None:
        given["start"] = identity(open_start(config.start).vae)
    watch = Watch(folder, config, splits.valid, total_steps(config.train, len(splits.train)))
    is_shown = pictures and processes.rank() == 0
    calls: list[Callback] = [*each_of(on_epoch), *([watch] if pictures else [])]
    if film and processes.rank() == 0:
        filming = Filming(folder, config, splits.train)
        filming.begin(vae, resume=resume)
        calls.insert(0, filming)  # a callback of the user's own may end the training
    try:
        with processes.joined(), watch.watching() if is_shown else nullcontext():
            return fit(
                objective,
                splits.train,
                splits.valid,
                config.train,
                folder=folder,
                resume=resume,
                identity=json.dumps(given, sort_keys=True),
                progress=progress,
                on_step=on_step,
                on_epoch=calls,
            )
    except NonFiniteError:
        if processes.rank() == 0:
            save(vae, folder / "model.safetensors")  # so that what broke can be looked at
        raise


def _chosen_since(config: DataConfig, splits: Splits) -> dict[str, str]:
    """What older versions chose otherwise: their checkpoints are of other values."""
    if config.scaling == "auto" and splits.scaling == "common":
        return {"scaling": splits.scaling}
    return {}


def _finish(
    run: Run, splits: Splits, history: History, progress: bool | ProgressStyle, pictures: bool, language: LanguageName
) -> Run:  # fmt: skip
    """What process 0 does with a trained model: files, numbers, pictures, report."""
    if processes.rank() != 0:
        return run
    alignment = None
    shown = finishing(run.folder, run.config, history.rows) if pictures else nullcontext()
    with shown, _stopped_after_training(run.folder):
        if run.config.start is not None:
            alignment, axes = keep_axes(run, splits)
            with taking(run.folder, "how far codes moved"):
                write_json(run.folder / "axes.json", axes)
        with taking(run.folder, "the model"):
            save(run.vae, run.folder / "model.safetensors")
            _save_last(run.vae, history, run.folder, alignment)
        with taking(run.folder, "the numbers"):
            has_bar = progress_style(progress) in ("auto", "bar")
            numbers = assess(run, splits, progress=has_bar, keep=True)
            write_json(run.folder / "evaluation.json", numbers)
        if pictures:
            with taking(run.folder, "the pictures and the report"):
                words = words_of(language)
                figures = draw_pictures(run, splits, numbers, history.rows, words)
                missing = write_explorer(run, splits, numbers, language=language)
                write_report(run, splits, numbers, history, figures, missing, words)
    return run


@contextmanager
def _stopped_after_training(folder: Path) -> Iterator[None]:
    """Inside a signal ends the run with a word on how to go on."""
    try:
        yield
    except KeyboardInterrupt as error:
        message = f"stopped after the training; go on with: {resume_command(folder)}"
        raise Stopped.by(error, message) from error


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
            subprocess.run(
                ["git", *words], capture_output=True, text=True, timeout=10, check=True
            ).stdout.strip()
            for words in (("rev-parse", "HEAD"), ("status", "-s", "-uno"))
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+" if changes else "")


def _save_last(vae: VAE, history: History, folder: Path, alignment: Alignment | None) -> None:
    """Write the weights of the last step, with the axes of the best ones."""
    parts = (
        name.partition("vae.") for name in history.last
    )  # an objective may have a network beside it
    weights = {
        name: history.last[prefix + name] for before, prefix, name in parts if prefix and not before
    }
    last = copy.deepcopy(vae)
    drop_turn(last)
    last.load_state_dict(weights)
    if alignment is not None:
        move(last, alignment)
    save(last, folder / "last.safetensors")
