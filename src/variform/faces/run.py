"""Runs as a person has them in Python: trained from anything that holds rows, and asked."""

import dataclasses
import difflib
import inspect
import itertools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from matplotlib.figure import Figure

from variform.config.checks import Count, Natural, checked
from variform.config.choices import ProgressStyle
from variform.config.in_depth import InDepth
from variform.config.model import OWN_PARTS
from variform.config.run import RunConfig, default_folder
from variform.config.words import listed
from variform.evaluation.conclusion import conclude
from variform.evaluation.embedding import EmbeddingName
from variform.evaluation.tables import numbers_table
from variform.faces.model import Model
from variform.model.own_networks import code_of, require_in_files
from variform.pages.explorer.contents import RowCount
from variform.pages.explorer.page import Page
from variform.runs import comparisons, folder
from variform.runs import train as runs_train
from variform.runs.doctor import Diagnosis, examine
from variform.runs.explorer import explore
from variform.runs.own_rows import own_rows
from variform.runs.pictures import plot
from variform.runs.records import history
from variform.runs.scores import assess
from variform.system.import_path import Code, trusting
from variform.system.notebook import html_picture, html_table
from variform.system.terminal import where_said
from variform.training.callbacks import Callbacks
from variform.training.history import resume_command
from variform.training.progress import progress_style

PARTS = ("data", "model", "train", "evaluation")


class Run(folder.Run):
    """A finished run, opened: its folder, its model and its numbers. `train` makes one, and `open_run` opens one.

    `folder`, `config` and `vae` are what it is made of; `data()` reads its data again.
    """

    @property
    def model(self) -> Model:
        """The model, which answers on arrays and tensors in the data's own units."""
        return Model(self.vae)

    @property
    def report(self) -> Path:
        """The report, a page that opens offline.

        Raises:
            FileNotFoundError: for a run that was trained without pictures.
        """
        path = self.folder / "report.html"
        if not path.is_file():
            raise FileNotFoundError(
                f"a run must have been trained with pictures to have a report; {self.folder} was not. Have them drawn "
                f"with {resume_command(self.folder)}."
            )
        return path

    @checked
    def evaluate(
        self,
        *,
        split: Literal["test", "valid", "train"] = "test",
        samples: Count | None = None,
        refine: Natural | None = None,
        seed: int = 0,
        **in_depth: Any,
    ) -> dict[str, Any]:
        """Numbers with standard errors over the rows of a split, as `variform.evaluate` gives them.

        Those of the end of the training are `evaluation`.

        Args:
            split: The rows.
            samples: Importance samples a row of the NLL; by default as many as the run's own evaluation took.
            refine: Score the rows once more with a q(z|x) of its own for each, this many steps on its own ELBO; by
                default as many as the run's own evaluation took.
            seed: Seed of the draws.
            **in_depth: What to look at in depth, fields of `config.in_depth.InDepth`, as in `surgery=True`; by default
                what the run's own evaluation was asked.

        Raises:
            ValueError: for a field that there is not.
        """
        options: dict[str, Any] = {"samples": samples, "refine": refine, "seed": seed}
        if in_depth:
            options["in_depth"] = _in_depth(in_depth)
        return assess(self, self.data(), split=split, **options)

    @checked
    def doctor(
        self, *, split: Literal["test", "valid", "train"] = "test", seed: int = 0
    ) -> Diagnosis:
        """What is wrong with the model, how it was seen and what to try, as `variform doctor` says it.

        Args:
            split: The rows that are judged.
            seed: Seed of the draws.
        """
        return examine(self, split=split, seed=seed)

    @checked
    def plot(self, name: folder.PictureName) -> Figure:
        """One picture of the report, drawn anew; it shows itself in a notebook, and `savefig` writes it.

        Args:
            name: Which one: `reconstructions`, `samples`, `draws` (with their noise), `latent`, `responses`,
                `manifold` (of two latents), `traversals`, `conditions` (of a conditional model), `interpolation`,
                `kl`, `curves`.

        Raises:
            ValueError: where the model or its data have no such picture.
        """
        return plot(self, name)

    def _repr_html_(self) -> str:
        """The verdict, the numbers and a picture, as a notebook shows them."""
        numbers = self.evaluation
        found = conclude(numbers, self.config.train, history(self.folder))
        header, rows = numbers_table(numbers)
        table = html_table(header, rows, title=f"{found.found}.", note=str(self.folder))
        return table + html_picture(self.folder / "figures/reconstructions.png", "Reconstructions")

    @checked
    def explore(
        self,
        source: str | None = None,
        *,
        rows: RowCount | None = None,
        embedding: EmbeddingName | None = None,
    ) -> Page:
        """The explorer page, which shows itself in a notebook.

        Args:
            source: Data on the map instead of the run's own.
            rows: How many rows the map shows; by default as many as a small page has room for.
            embedding: A picture of neighbours beside the planes of the map; without it there is none.
        """
        return explore(self, source=source, rows=rows, embedding=embedding)

    @checked
    def compare(
        self,
        *others: folder.Run | str | Path,
        samples: Count | None = None,
        refine: int = 0,
        seed: int = 0,
    ) -> comparisons.Comparison:
        """This run beside others, with paired differences over the same test rows; see `runs.comparisons.compare`.

        Args:
            others: Runs or their folders.
            samples, refine, seed: As of `evaluate`.
        """
        folders = [run.folder if isinstance(run, folder.Run) else run for run in others]
        return comparisons.compare(
            [self.folder, *folders], samples=samples, refine=refine, seed=seed
        )


def _in_depth(asked: dict[str, Any]) -> InDepth:
    names = [field.name for field in dataclasses.fields(InDepth)]
    unknown = [name for name in asked if name not in names]
    if unknown:
        raise ValueError(
            f"`evaluate` must be asked for fields of InDepth, {listed(names)}; got `{unknown[0]}`. Write it as one of "
            "these."
        )
    return InDepth(**asked)


@checked
def open_run(path: str | os.PathLike[str], *, trust: bool = False) -> Run:
    """Open the folder of a run.

    Args:
        path: The folder.
        trust: Whether to run the code of networks of your own that the model names; else such a model is refused.

    Raises:
        FileNotFoundError: when it is not the folder of a run with a model.
        ValueError: for code that is not trusted.
    """
    with trusting(trust):
        return _opened(folder.open_run(Path(path)))


@checked
def train(
    data: object,
    *,
    out: str | os.PathLike[str] | None = None,
    labels: object = None,
    config: RunConfig | None = None,
    start: str | os.PathLike[str] | folder.Run | None = None,
    bookmarks: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    pictures: bool = True,
    progress: bool | ProgressStyle = True,
    on_step: Callbacks = None,
    on_epoch: Callbacks = None,
    film: bool = False,
    **options: Any,
) -> Run:
    """Train a VAE on rows, evaluate it on those held out, draw and report: what `variform train` does, from Python.

    Args:
        data: What `read` takes: a path or a built-in name, an array (N, ...), a tensor, a DataFrame of pandas or
            polars, whatever gives its columns to Arrow, a dictionary of columns. Rows in memory are kept in the run's
            folder.
        out: The run's folder, a new one; by default runs/ and the name of the data, numbered where that is taken.
        labels: One label a row, of rows in memory whose labels are no column.
        config: Where options come from that are not given.
        start: A run, its folder or a model file to begin with, as `RunConfig.start`.
        bookmarks: As `RunConfig.bookmarks`.
        overwrite: Set the results of a run that is in `out` aside, in a folder replaced-1.
        pictures: Draw the figures and write report and explorer too.
        progress: Whether what was guessed and chosen is said, and how progress is shown, on standard error: `bar`,
            `lines`, `json` (a row of the history a line), `none`; True is a bar on a terminal and lines elsewhere. In a
            notebook it is shown on standard output, and a bar is one line that is written anew.
        on_step, on_epoch: Called after each step and each epoch, one function of a `Moment` or several: its numbers by
            name, and `.step`, `.epoch` and `.vae`. To end the training one raises `StopTraining`; see
            `training.callbacks`.
        film: Keep frames of the latent space while it comes to be, for `variform draw --film`.
        **options: Fields of `DataConfig`, `ModelConfig`, `TrainConfig` and `EvaluationConfig`, by their names;
            `encoder` and `decoder` may also be the class or function itself, if it is in a file.

    Raises:
        FileNotFoundError, FileExistsError: for data that are not there, and a folder that is taken.
        TypeError: for what holds no rows.
        ValueError: for an option that there is not, and as `read` and `fit`.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> x = np.random.default_rng(0).normal(size=(200, 3)) @ [[1, 1, 0], [0, 1, 1], [0, 0, 0.1]]
        >>> folder = Path(tempfile.mkdtemp()) / "run"
        >>> some = {"latent_dim": 2, "steps": 50, "likelihood": "gaussian-shared", "nll_samples": 20}
        >>> run = train(x, out=folder, pictures=False, progress=False, **some)
        >>> run.model.encode(x).shape, run.evaluation["nll"]["n"] == len(run.data().test)
        ((200, 2), True)
        >>> train(x, latent_dims=2)
        Traceback (most recent call last):
        ValueError: `latent_dims` must be a field of DataConfig, ModelConfig, TrainConfig or EvaluationConfig; there \
is none. Did you mean `latent_dim`?
    """
    own = {part: options[part] for part in OWN_PARTS if callable(options.get(part))}
    codes: dict[str, Code] = {part: code_of(part, network)[0] for part, network in own.items()}
    require_in_files(codes)
    options = options | {part: code.path for part, code in codes.items()}
    whole = _with_options(config or RunConfig(), options)
    if start is not None:
        place = start.folder if isinstance(start, folder.Run) else start
        followed = None if bookmarks is None else os.fspath(bookmarks)
        whole = dataclasses.replace(whole, start=os.fspath(place), bookmarks=followed)
    rows = None
    if isinstance(data, str | os.PathLike):
        whole = dataclasses.replace(whole, source=os.fspath(data))
    else:
        rows, of_data = own_rows(data, whole.data, labels)
        whole = dataclasses.replace(whole, source=rows.source, data=of_data)
    if isinstance(data, str | os.PathLike) and labels is not None:
        raise ValueError(
            f"`labels` is for rows in memory; got the path {os.fspath(data)}, which has its own. Leave it out."
        )
    run = runs_train.train_run(
        whole,
        _free_folder(whole.source) if out is None else Path(out),
        overwrite=overwrite,
        progress=progress,
        pictures=pictures,
        tell=_say if progress_style(progress) in ("auto", "bar", "lines") else None,
        rows=rows,
        on_step=on_step,
        on_epoch=on_epoch,
        film=film,
    )
    return _opened(run)


def _opened(run: folder.Run) -> Run:
    return Run(run.folder, run.config, run.vae)


def _say(sentence: str) -> None:
    stream = where_said()
    if stream is not None:
        stream.write(f"{sentence}\n")


def _fields() -> dict[str, str]:
    """The part of a configuration that each option is a field of."""
    parts = {part: getattr(RunConfig(), part) for part in PARTS}
    return {field.name: part for part, of in parts.items() for field in dataclasses.fields(of)}


def _with_options(config: RunConfig, options: Mapping[str, Any]) -> RunConfig:
    parts = _fields()
    for name in options:
        if name not in parts:
            near = difflib.get_close_matches(name, parts, 1)
            hint = (
                f"Did you mean `{near[0]}`?"
                if near
                else "help(variform.train) says where they are."
            )
            raise ValueError(
                f"`{name}` must be a field of DataConfig, ModelConfig, TrainConfig or EvaluationConfig; there is "
                f"none. {hint}"
            )
    for part in PARTS:
        own = {name: value for name, value in options.items() if parts[name] == part}
        config = dataclasses.replace(
            config, **{part: dataclasses.replace(getattr(config, part), **own)}
        )
    return config


def _free_folder(source: str) -> Path:
    """The folder of a run of a source, with a number where that one is taken."""
    first = default_folder(source)
    names = (first.with_name(f"{first.name}-{number}") for number in itertools.count(2))
    return next(path for path in itertools.chain([first], names) if not path.exists())


def _signature() -> inspect.Signature:
    """That of `train` with every option by name, which help and completion show."""
    own = inspect.signature(train)
    plain = [each for each in own.parameters.values() if each.kind is not each.VAR_KEYWORD]
    fields = [
        inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default)
        for part in PARTS
        for field in dataclasses.fields(getattr(RunConfig(), part))
    ]
    return own.replace(parameters=[*plain, *fields])


vars(train)["__signature__"] = _signature()
