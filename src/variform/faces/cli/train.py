"""Commands that train."""

import os
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from variform.config.choices import LanguageName, ProgressStyle
from variform.config.data import DataConfig
from variform.config.model import ModelConfig
from variform.config.run import EvaluationConfig, RunConfig, default_folder
from variform.config.training import TrainConfig
from variform.config.words import counted
from variform.faces.cli.options import (
    DataOptions,
    EvaluationOptions,
    Flag,
    ModelOptions,
    Option,
    Options,
    TrainOptions,
    config_file,
)
from variform.faces.cli.output import (
    kept_in,
    open_page,
    print_json,
    print_table,
    print_warnings,
    report_on,
    say,
    say_aside,
)
from variform.faces.tracking import Tracker, trackers
from variform.system.files import read_json
from variform.system.import_path import find, imported
from variform.system.locks import claimed
from variform.training.callbacks import callbacks_of


def demo(
    *,
    out: Annotated[Path, Option] = Path("runs/demo"),
    overwrite: Annotated[bool, Flag] = False,
    open: Annotated[bool, Flag] = False,
    language: Annotated[LanguageName, Option] = "auto",
) -> None:
    """Train on 2,000 pictures of brackets and write a report: the quickest way to see everything.

    Examples: `variform demo`, `variform demo --open`

    Args:
        out: Folder of the run.
        overwrite: Set the results of a run that is there aside, in a folder replaced-1.
        open: Open the report in the browser at the end; without a display it says where it lies.
        language: As for `variform train`.
    """
    config = RunConfig(
        source="brackets",
        model=ModelConfig(
            latent_dim=4,
            likelihood="bernoulli",
            prior="mixture",
            hidden=(256, 128),
            layer_norm=True,
        ),
        train=TrainConfig(
            epochs=60, batch_size=64, learning_rate=3e-3, schedule="cosine", compile="off"
        ),
        evaluation=EvaluationConfig(refine=50, nll_samples=100),
    )
    _train(config, out, overwrite=overwrite, language=language)
    if open:
        open_page(out / "report.html")


def train(
    source: str | None = None,
    /,
    *,
    out: Annotated[Path | None, Option] = None,
    config: Annotated[Path | None, Option] = None,
    resume: Annotated[Path | None, Option] = None,
    start: Annotated[Path | None, Parameter(name="--from", group=Options)] = None,
    bookmarks: Annotated[Path | None, Option] = None,
    overwrite: Annotated[bool, Flag] = False,
    json: Annotated[bool, Flag] = False,
    progress: Annotated[ProgressStyle, Option] = "auto",
    quiet: Annotated[bool, Flag] = False,
    track: Annotated[tuple[Tracker, ...], Option] = (),
    callback: Annotated[tuple[str, ...], Option] = (),
    film: Annotated[bool, Flag] = False,
    language: Annotated[LanguageName, Option] = "auto",
    data: DataOptions = DataConfig(),
    model: ModelOptions = ModelConfig(),
    train: TrainOptions = TrainConfig(),
    evaluation: EvaluationOptions = None,
) -> None:
    """Train a VAE on your data, evaluate it on held-out rows, and write pictures and a report.

    Examples: `variform train photos/ --image-size 32,32 --out runs/photos`,
    `variform train designs.csv --likelihood gaussian-per-feature --latent-dim 3`,
    `variform train --resume runs/photos`, `variform train --resume runs/photos --epochs 200`,
    `variform train more.csv --from runs/designs --out runs/more`

    Args:
        source: A table (.csv, .tsv, .xlsx, .ods, .parquet, .feather, .jsonl), an array (.npy, .npz, IDX, HDF5, .mat,
            .safetensors), packed or not (.gz, .bz2, .xz, .zst), a folder of images or of .npy
            files, a folder in the MNIST layout, or what is built in: `digits`,
            `brackets`, `sprites`, or `sprites:20000` for that many.
        out: Folder of the run; by default runs/ and the name of the source.
        config: Take the options from this TOML file, such as a run's config.toml; options given here go first.
        resume: Go on with the interrupted run in this folder, with its own options; with more --epochs also with a
            finished one, for as many in all.
        start: Begin with the weights of another model, the folder of a run or a model file, and turn the axes of the
            new codes onto the old ones. The model, its scaling and what columns are for are as there.
        bookmarks: With --from, a table (.csv) of points z1, z2, ... of the old codes: says where their designs are now.
        overwrite: Set the results of a run that is there aside, in a folder replaced-1.
        json: Print the numbers as JSON.
        progress: How it goes, on standard error: a live bar, a line or a JSON object an epoch, or nothing; auto is
            a bar on a terminal and lines elsewhere. history.jsonl grows with every epoch.
        quiet: Say nothing but what must be warned of.
        track: Also tell these of every epoch, separated by commas; TensorBoard's files go into the run's folder.
        callback: Call code of your own, FILE.py:NAME: a function after each epoch, or what has `on_epoch`, `on_step` or
            both. It may end the training by raising variform.StopTraining. Give the option again for more.
        film: Keep frames of the latent space while it comes to be, at most 40, for `variform draw RUN --film`. A run
            that is resumed goes on with its film.
        language: Of the report and the explorer page; auto is the language of the system for the report, and that of
            the browser for the page.
    """
    if resume is not None:
        from variform.runs.train import resume_run

        if (
            source
            or out
            or config
            or overwrite
            or start
            or bookmarks
            or film
            or (data, model, train)
            != (DataConfig(), ModelConfig(), TrainConfig(epochs=train.epochs))
        ):
            raise ValueError(
                "--resume goes on with a run as it was begun; got other options too. Give --resume FOLDER alone, "
                "or with more --epochs, or train a new run with --config FOLDER/config.toml, your options and a new "
                "--out."
            )
        style = "none" if quiet else progress
        tell = None if quiet else say_aside
        options: dict[str, Any] = {"progress": style, "tell": tell, "language": language}
        run = resume_run(
            resume,
            evaluation=evaluation,
            epochs=train.epochs,
            **_callbacks(callback, track, resume),
            **options,
        )
        report_on(run, json, quiet=quiet)
        return
    source = source or (config_file(config).source if config else None)
    if source is None:
        raise ValueError(
            "train needs data; got none. Name a file, a folder, `digits` or `brackets`, for example: variform demo."
        )
    before = config_file(config) if config else RunConfig()
    whole = RunConfig(
        source=source,
        start=str(start) if start else before.start,
        bookmarks=str(bookmarks) if bookmarks else before.bookmarks,
        data=data,
        model=model,
        train=train,
        evaluation=evaluation or EvaluationConfig(),
    )
    folder = out or default_folder(source)
    options = {"overwrite": overwrite, "json": json, "progress": progress, "quiet": quiet}
    _train(whole, folder, track=track, callback=callback, film=film, language=language, **options)


def latent_dim(
    source: str | None = None,
    /,
    *,
    dims: Annotated[tuple[int, ...], Option] = (2, 5, 10, 20),
    seeds: Annotated[int, Option] = 1,
    out: Annotated[Path | None, Option] = None,
    config: Annotated[Path | None, Option] = None,
    overwrite: Annotated[bool, Flag] = False,
    json: Annotated[bool, Flag] = False,
    data: DataOptions = DataConfig(),
    model: ModelOptions = ModelConfig(),
    train: TrainOptions = TrainConfig(),
    evaluation: EvaluationOptions = None,
) -> None:
    """How many latent dimensions do these data need? One fit per dimension and seed, one table, one picture.

    The same command goes on with a study that was interrupted: finished fits are kept.

    Example: `variform study latent-dim digits --dims 2,5,10,20 --seeds 3`

    Args:
        source: The data, as for `variform train`.
        dims: Latent dimensions, separated by commas.
        seeds: Fits per dimension.
        out: Folder of the study; by default runs/ and the name of the source.
        config: Take the options from this TOML file; options given here go first.
        overwrite: Start anew in a folder that holds another study.
        json: Print the numbers as JSON.
    """
    whole = _studied(source, config, data, model, train, evaluation)
    from variform.runs import studies

    folder = out or _study_folder(whole.source, "latent-dim")
    study = studies.latent_dimension(
        whole, dims, folder, seeds=seeds, overwrite=overwrite, progress=True
    )
    with kept_in(folder):
        if json:
            print_json(read_json(folder / "study.json"))
            return
        print_warnings(study.warnings)
        print_table(*study.table())
        say(f"Recommended: {counted(study.recommended, 'latent dimension')}; {study.reason}.")
        say(f"Report: {folder / 'report.html'}")


def objectives(
    source: str | None = None,
    /,
    *,
    seeds: Annotated[int, Option] = 1,
    out: Annotated[Path | None, Option] = None,
    config: Annotated[Path | None, Option] = None,
    overwrite: Annotated[bool, Flag] = False,
    json: Annotated[bool, Flag] = False,
    data: DataOptions = DataConfig(),
    model: ModelOptions = ModelConfig(),
    train: TrainOptions = TrainConfig(),
    evaluation: EvaluationOptions = None,
) -> None:
    """Does an objective give codes that stand for single factors? One fit per objective and seed, and one table.

    VAE, beta-VAE, beta-TCVAE, FactorVAE, DIP-VAE-I and -II and InfoVAE, scored as `variform evaluate --factors` does;
    with two seeds or more UDR as well. The same command goes on with a study that was interrupted: finished fits are
    kept.

    Example: `variform study objectives sprites:20000 --seeds 5`

    Args:
        source: The data, as for `variform train`; their factors must be known.
        seeds: Fits per objective.
        out: Folder of the study; by default runs/ and the name of the source.
        config: Take the options from this TOML file; options given here go first.
        overwrite: Start anew in a folder that holds another study.
        json: Print the numbers as JSON.
    """
    whole = _studied(source, config, data, model, train, evaluation)
    from variform.runs.objective_study import compare_objectives

    folder = out or _study_folder(whole.source, "objectives")
    study = compare_objectives(whole, folder, seeds=seeds, overwrite=overwrite, progress=True)
    with kept_in(folder):
        if json:
            print_json(read_json(folder / "study.json"))
            return
        print_warnings(study.warnings())
        print_table(*study.table())
        say(f"Note: {study.note()}")
        say(f"Report: {folder / 'report.html'}")


def _studied(
    source: str | None,
    config: Path | None,
    data: DataConfig,
    model: ModelConfig,
    train: TrainConfig,
    evaluation: EvaluationConfig | None,
) -> RunConfig:
    """What the fits of a study have in common."""
    source = source or (config_file(config).source if config else None)
    if source is None:
        raise ValueError(
            "a study needs data; got none. Name a file, a folder, `digits`, `brackets` or `sprites:20000`."
        )
    _require_source(source)
    return RunConfig(
        source=source,
        data=data,
        model=model,
        train=train,
        evaluation=evaluation or EvaluationConfig(),
    )


def _study_folder(source: str, name: str) -> Path:
    """The folder of a study of a source, where none is given."""
    run = default_folder(source)
    return run.with_name(f"{run.name}-{name}")


def profile(
    source: str | None = None,
    /,
    *,
    timed_steps: Annotated[int, Option] = 50,
    config: Annotated[Path | None, Option] = None,
    json: Annotated[bool, Flag] = False,
    data: DataOptions = DataConfig(),
    model: ModelOptions = ModelConfig(),
    train: TrainOptions = TrainConfig(),
) -> None:
    """Where the time of a training step goes, beside the floor: the products of the networks and nothing else.

    Nothing is trained or written. The step is compiled where `variform train` would compile it.

    Example: `variform profile digits --batch-size 512`

    Args:
        source: The data, as for `variform train`; by default `digits`.
        timed_steps: How often each part of the step runs at a stretch; each gets five such stretches, in turns.
        config: Take the options from this TOML file, such as a run's config.toml; options given here go first.
        json: Print the numbers as JSON.
    """
    source = source or (config_file(config).source if config else "digits")
    _require_source(source)
    from variform.runs.plan import profile_of

    timed = profile_of(RunConfig(source=source, data=data, model=model, train=train), timed_steps)
    if json:
        print_json(timed.to_dict())
        return
    print_table(*timed.table())
    if timed.advice:
        say(timed.advice)


def _require_source(source: str) -> None:
    """Refuse data that are not there before torch is imported; of several processes none does, for all must hear it."""
    if os.environ.get("WORLD_SIZE", "1") == "1":
        from variform.data.sources.formats import source_format

        source_format(source)


def _train(
    config: RunConfig, folder: Path, *,
    overwrite: bool, json: bool = False, progress: ProgressStyle = "auto", quiet: bool = False,
    track: tuple[Tracker, ...] = (), callback: tuple[str, ...] = (), language: LanguageName = "auto",
    film: bool = False,
) -> None:  # fmt: skip
    _require_source(config.source)
    # A folder that torchrun's processes filled before it restarted them is theirs.
    if not (overwrite or "RANK" in os.environ):
        with claimed(folder):
            pass
    callbacks = _callbacks(callback, track, folder)
    from variform.runs.train import train_run

    style = "none" if quiet else progress
    tell = None if quiet else say_aside
    options: dict[str, Any] = {"overwrite": overwrite, "progress": style, "tell": tell}
    options["film"] = film
    options["language"] = language
    run = train_run(config, folder, **options, **callbacks)
    report_on(run, json, quiet=quiet)


def _callbacks(paths: tuple[str, ...], track: tuple[Tracker, ...], folder: Path) -> dict[str, Any]:
    """What is called while a run trains: the user's own code first, then the trackers."""
    own = [callbacks_of(imported(find(path)), path) for path in paths]
    on_epoch = [callback for each in own for callback in each.on_epoch]
    on_step = [callback for each in own for callback in each.on_step]
    return {"on_step": on_step, "on_epoch": [*on_epoch, *trackers(track, folder)]}
