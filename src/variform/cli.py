"""The command line. Heavy modules are imported inside the commands, so that every --help answers at once."""

import io
import itertools
import os
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_origin

import cyclopts
from cyclopts import App, CoercionError, CycloptsError, Group, MissingArgumentError, Parameter, UnusedCliTokensError
from rich.console import Console
from rich.table import Table

from variform import __version__
from variform.config import (
    DataConfig,
    EvaluationConfig,
    ModelConfig,
    RunConfig,
    TrainConfig,
    converted,
    from_toml,
    to_dict,
)
from variform.files import read_json, require_empty, to_json, write_text
from variform.locks import held
from variform.stopping import Stopped, raise_stopped
from variform.terminal import discard, open_closed

if TYPE_CHECKING:
    from variform.runs import Run

app = App(
    name="variform",
    version=__version__,
    help="""Variational autoencoders with honest numbers.

Start with `variform demo`, then `variform train DATA` with a folder of images, a .npy array or a .csv table.
""",
    default_parameter=Parameter(consume_multiple=1, converter=lambda hint, tokens: _convert(hint, tokens)),
    help_format="markdown",
    suppress_keyboard_interrupt=False,
)
study = App(name="study", help="Many fits, one table.", sort_key=9)
app.command(study)

Options = Group("Options", sort_key=0)
DataOptions = Annotated[DataConfig, Parameter(name="*", group=Group("Data", sort_key=1))]
ModelOptions = Annotated[ModelConfig, Parameter(name="*", group=Group("Model", sort_key=2))]
TrainOptions = Annotated[TrainConfig, Parameter(name="*", group=Group("Training", sort_key=3))]
EvaluationOptions = Annotated[EvaluationConfig | None, Parameter(name="*", group=Group("Evaluation", sort_key=4))]
Option = Parameter(group=Options)
Flag = Parameter(group=Options, negative="")


@app.command(sort_key=0)
def demo(*, out: Annotated[Path, Option] = Path("runs/demo"), overwrite: Annotated[bool, Flag] = False) -> None:
    """Train on 1,797 real handwritten digits and write a report: the quickest way to see everything.

    Example: `variform demo`

    Args:
        out: Folder of the run.
        overwrite: Set the results of a run that is there aside, in a folder replaced-1.
    """
    config = RunConfig(
        source="digits",
        model=ModelConfig(latent_dim=2, likelihood="gaussian", hidden=(256, 128)),
        train=TrainConfig(epochs=150, learning_rate=2e-3, schedule="cosine", warmup=600),
    )
    _train(config, out, overwrite=overwrite)


@app.command(sort_key=1)
def train(
    source: str | None = None,
    /,
    *,
    out: Annotated[Path | None, Option] = None,
    config: Annotated[Path | None, Option] = None,
    resume: Annotated[Path | None, Option] = None,
    overwrite: Annotated[bool, Flag] = False,
    json: Annotated[bool, Flag] = False,
    data: DataOptions = DataConfig(),
    model: ModelOptions = ModelConfig(),
    train: TrainOptions = TrainConfig(),
    evaluation: EvaluationOptions = None,
) -> None:
    """Train a VAE on your data, evaluate it on held-out rows, and write pictures and a report.

    Examples: `variform train photos/ --image-size 32,32 --out runs/photos`,
    `variform train designs.csv --likelihood gaussian-per-feature --latent-dim 3`,
    `variform train --resume runs/photos`

    Args:
        source: A file (.npy, .npz, .csv, IDX, each also .gz), a folder of images or of .npy files, a folder in the
            MNIST layout, or built-in: `digits`, `sprites`, or `sprites:20000` for so many of them.
        out: Folder of the run; by default runs/ and the name of the source.
        config: Take the options from this TOML file, such as a run's config.toml; options given here go first.
        resume: Go on with the interrupted run in this folder, with its own options.
        overwrite: Set the results of a run that is there aside, in a folder replaced-1.
        json: Print the numbers as JSON.
    """
    if resume is not None:
        from variform import runs

        if source or out or config or overwrite or (data, model, train) != (DataConfig(), ModelConfig(), TrainConfig()):
            raise ValueError(
                "--resume goes on with a run as it was begun; got other options too. Give --resume FOLDER alone, "
                "or train a new run with --config FOLDER/config.toml, your options and a new --out."
            )
        run = runs.resume(resume, evaluation=evaluation, progress=True)
        _report(run, json)
        return
    source = source or (_config_file(config).source if config else None)
    if source is None:
        raise ValueError(
            "train needs data; got none. Name a file, a folder, `digits` or `sprites`, for example: variform demo."
        )
    evaluation = evaluation or EvaluationConfig()
    whole = RunConfig(source=source, data=data, model=model, train=train, evaluation=evaluation)
    _train(whole, out or _default_folder(source), overwrite=overwrite, json=json)


@app.command(sort_key=2)
def evaluate(
    run: Path,
    /,
    *,
    split: Annotated[Literal["test", "valid", "train"], Option] = "test",
    samples: Annotated[int | None, Option] = None,
    refine: Annotated[int, Option] = 0,
    seed: Annotated[int, Option] = 0,
    json: Annotated[bool, Flag] = False,
) -> None:
    """Held-out numbers with standard errors, beside PCA of the same dimension and a trivial model.

    Examples: `variform evaluate runs/demo --samples 5000 --json`, `variform evaluate runs/demo --refine 50`

    Args:
        run: Folder of a run.
        split: The rows to evaluate on.
        samples: k, importance samples per example for the NLL; by default as many as the run's own evaluation took.
        refine: Score the rows once more with a q(z|x) of its own for each: so many steps on its own ELBO, from what the
            encoder answers and with the decoder as it is. For an NLL that a posterior too narrow leaves too high.
        seed: Seed of the draws.
        json: Print the numbers as JSON.
    """
    from variform import runs

    opened = runs.open_run(run)
    options = {"split": split, "samples": samples, "refine": refine, "seed": seed}
    numbers = runs.assess(opened, opened.data(), **options, progress=True)
    _print_numbers(numbers, json, run)


@app.command(sort_key=3)
def generate(
    run: Path,
    /,
    *,
    count: Annotated[int, Option] = 64,
    out: Annotated[Path | None, Option] = None,
    given: Annotated[tuple[str, ...], Option] = (),
    sampler: Annotated[Literal["prior", "gmm", "flow"], Option] = "prior",
    temperature: Annotated[float, Option] = 1.0,
    draw: Annotated[bool, Flag] = False,
    seed: Annotated[int, Option] = 0,
) -> None:
    """New data: z from the model's prior or a fitted sampler, then the mean of p(x|z).

    Rows of a mixed table keep the types of their columns; real columns are clipped to the range of the rows read.

    Examples: `variform generate runs/demo --count 100 --out new_digits/`,
    `variform generate runs/demo --sampler gmm --temperature 0.8`,
    `variform generate runs/conditional --given label=3`

    Args:
        run: Folder of a run.
        count: How many.
        out: A .npy file, a .csv file (tables), or a new folder for PNG files (images).
        given: What a conditional model is told, as name=value; by default what it was told of random training rows.
        sampler: What z is drawn from: the model's `prior`, or the `gmm` or `flow` that `variform sampler` fitted.
        temperature: Factor of the standard deviation with which z is drawn about the sampler's mean, or about the means
            of its components; of a flow's noise. Below 1: more typical rows, less variety.
        draw: Draw from p(x|z) instead of taking its mean, so that the decoder's noise is in.
        seed: Seed of the draws.
    """
    from variform import exploration, runs

    if count < 1:
        raise ValueError(f"count must be at least 1; got {count}. Use for example 64.")
    with _writing(run, out):
        opened = _opened(run)
        context = _told(opened, given, count, seed)
        vae = runs.with_sampler(opened, sampler, temperature)
        values = exploration.generate(vae, count, context=context, draw=draw, tidy=False, seed=seed)
        _write(opened, out or _beside(opened, "generated"), values, context)


@app.command(sort_key=3.5)
def sampler(
    run: Path,
    /,
    *,
    kind: Annotated[Literal["gmm", "flow"], Option] = "gmm",
    samples: Annotated[int, Option] = 1000,
    seed: Annotated[int, Option] = 0,
    json: Annotated[bool, Flag] = False,
) -> None:
    """Fit a law over z to where the model puts its training rows, and say what it is good for beside the prior.

    Its file stays with the run, for `variform generate`. The table gives each sampler's NLL of the test rows, in the
    place of the prior, and the quality of its samples beside that of training rows.

    Example: `variform sampler runs/demo --kind gmm`

    Args:
        run: Folder of a run.
        kind: `gmm`, a mixture of Gaussians whose number the BIC chooses; `flow`, an autoregressive flow.
        samples: k, importance samples per test row for the NLL.
        seed: Seed of the fit and of the draws.
        json: Print the numbers as JSON.
    """
    from variform import runs

    opened = runs.open_run(run)
    numbers = runs.fit_sampler(opened, kind, samples=samples, seed=seed, progress=True)
    if json:
        _say(to_json(numbers))
        return
    _print_warnings(numbers["warnings"])
    _print_table(*runs.sampler_table(numbers))
    _say(
        f"Samples: {numbers['compared']:,} {numbers['decoded']} of p(x|z) against test rows. "
        f"Saved: {runs.sampler_file(opened, kind)}"
    )


@app.command(sort_key=4)
def encode(
    run: Path,
    source: str | None = None,
    /,
    *,
    out: Annotated[Path | None, Option] = None,
    std: Annotated[bool, Flag] = False,
    draw: Annotated[bool, Flag] = False,
    seed: Annotated[int, Option] = 0,
) -> None:
    """Posterior means: where each row lies in the latent space. The same every time.

    A .csv file also says which row of the source each is, counted from 0, and of the run's own data in which split.

    Example: `variform encode runs/demo --out latents.csv`

    Args:
        run: Folder of a run.
        source: Data to encode; by default all rows of the run's own data: train, validation, test.
        out: A .csv or .npy file; by default latents.csv in the run's folder.
        std: Add the posterior standard deviations as further columns.
        draw: Draw from q(z|x) instead of taking its mean.
        seed: Seed of the draws.
    """
    import numpy as np

    from variform import exploration, export

    with _writing(run, out):
        opened = _opened(run)
        datasets = _datasets(opened, source)
        pairs = [exploration.encode(opened.vae, rows, draw=draw, seed=seed) for rows in datasets]
        points, stds = (np.concatenate(part) for part in zip(*pairs, strict=True))
        columns = [f"z{number}" for number in range(1, opened.vae.latent_dim + 1)]
        if std:
            points, columns = np.concatenate([points, stds], 1), [*columns, *(f"std_{name}" for name in columns)]
        path = out or opened.folder / "latents.csv"
        if path.suffix == ".csv":
            splits = ("train", "valid", "test") if source is None else ("",)
            places = [
                (str(row), split) for split, rows in zip(splits, datasets, strict=True) for row in rows.index.tolist()
            ]
            heads = ["row", "split"] if source is None else ["row"]
            beside = np.array(places, dtype=object).reshape(len(points), 2)[:, : len(heads)]
            points, columns = np.concatenate([beside, points.astype(object)], 1), [*heads, *columns]
        export.write_rows(path, points, columns)
    _say(f"{len(points):,} rows, {len(columns)} columns: {path}")


@app.command(sort_key=5)
def decode(
    run: Path,
    latents: Path,
    /,
    *,
    out: Annotated[Path | None, Option] = None,
    given: Annotated[tuple[str, ...], Option] = (),
    draw: Annotated[bool, Flag] = False,
    seed: Annotated[int, Option] = 0,
) -> None:
    """Turn latent points into data.

    Example: `variform decode runs/demo points.csv --out decoded.npy`

    Args:
        run: Folder of a run.
        latents: A .csv or .npy file with one column per latent dimension, or what `encode` wrote: of a .csv file the
            columns z1, z2, ... are taken, where it has all of them.
        out: A .npy file, a .csv file (tables), or a new folder for PNG files (images).
        given: What a conditional model is told, as name=value; by default what it was told of random training rows.
        draw: Draw from p(x|z) instead of taking its mean.
        seed: Seed of the draws.
    """
    from variform import exploration
    from variform.data import read_points

    with _writing(run, out):
        opened = _opened(run)
        dim = opened.vae.latent_dim
        points = read_points(latents, [f"z{number}" for number in range(1, dim + 1)])
        points = points[:, :dim] if points.shape[1] == 2 * dim else points  # what `encode --std` wrote to a .npy file
        context = _told(opened, given, len(points), seed)
        values = exploration.decode(opened.vae, points, context=context, draw=draw, tidy=False, seed=seed)
        _write(opened, out or _beside(opened, "decoded"), values, context)


@app.command(sort_key=6)
def reconstruct(
    run: Path,
    source: str | None = None,
    /,
    *,
    out: Annotated[Path | None, Option] = None,
    given: Annotated[tuple[str, ...], Option] = (),
    json: Annotated[bool, Flag] = False,
) -> None:
    """Encode and decode rows, and say how far the reconstruction is from them.

    Examples: `variform reconstruct runs/demo`, `variform reconstruct runs/conditional --given label=3`

    Args:
        run: Folder of a run.
        source: Data to reconstruct; by default the run's test rows.
        out: A .npy file, a .csv file (tables), or a new folder for PNG files (images).
        given: Decode under another condition than the rows' own, as name=value.
        json: Print the error as JSON.
    """
    import torch

    from variform import exploration, runs
    from variform.evaluation.density import Estimate, squared_error

    with _writing(run, out):
        opened = runs.open_run(run)
        rows = _datasets(opened, source)[-1]
        context = runs.told(opened, given, len(rows)) if given else None
        warnings = [*runs.warned(opened), *runs.unseen(opened, context)]
        if not json:
            _print_warnings(warnings)
        originals, values = exploration.reconstruct(opened.vae, rows, context=context)
        _write(
            opened,
            out or _beside(opened, "reconstructed"),
            values,
            rows.contexts if context is None else context,
            quiet=json,
        )
    squares = squared_error(rows.schema, torch.from_numpy(originals), torch.from_numpy(values))
    error = Estimate.root_mean(squares, gaps=bool(rows.schema.gaps)).to_dict()
    if json:
        _say(to_json({"reconstruction_error": error, "unit": "data units, root mean square", "warnings": warnings}))
    else:
        _say(f"reconstruction error (root mean square, data units): {runs.show(error)} over {error['n']:,} rows")


@app.command(sort_key=7)
def impute(
    run: Path,
    source: str | None = None,
    /,
    *,
    out: Annotated[Path | None, Option] = None,
    intervals: Annotated[bool, Flag] = False,
    level: Annotated[float, Option] = 0.9,
    mask: Annotated[float, Option] = 0.3,
    samples: Annotated[int, Option] = 1000,
    refine: Annotated[int, Option] = 50,
    seed: Annotated[int, Option] = 0,
    json: Annotated[bool, Flag] = False,
) -> None:
    """Fill gaps: what is missing given what is observed, by importance sampling. Needs a model that takes gaps.

    Without data to fill it says how far to trust it: cells of the test rows are taken away, imputed and compared.

    Examples: `variform impute runs/wine wine.csv --out whole.csv --intervals`, `variform impute runs/wine --mask 0.3`

    Args:
        run: Folder of a run with `--likelihood mixed` or `--cells gaps`.
        source: Data with gaps. A .csv file keeps its columns, separator and observed cells as they stand.
        out: A .csv file for a .csv file, else a .npy file; by default imputed.csv or .npy in the run's folder.
        intervals: Add the ends of the intervals of numbers, and the certainty of categories, as columns of a .csv file.
        level: Probability with which an interval holds what is missing.
        mask: Share of the observed cells of the test rows that are taken away.
        samples: Importance samples per row.
        refine: Steps by which q(z|x) of every row is improved before half of the samples are drawn from it.
        seed: Seed of the mask and of the draws.
        json: Print the comparison as JSON.
    """
    from variform import export, runs
    from variform.data import read_rows
    from variform.evaluation import imputation
    from variform.sources import source_format

    opened = runs.open_run(run)
    schema = opened.vae.schema
    assert schema is not None
    options: dict[str, Any] = {"samples": samples, "level": level, "refine": refine, "seed": seed}
    if source is None:
        splits = opened.data()
        numbers = imputation.judge(opened.vae, splits.test, splits.train, mask=mask, **options)
        if json:
            _say(to_json(numbers))
        else:
            _print_table(*runs.imputation_table(numbers))
        return
    is_csv = source_format(source) == "csv"
    path = out or opened.folder / f"imputed.{'csv' if is_csv else 'npy'}"
    if path.suffix not in ((".csv", ".npy") if is_csv else (".npy",)) or (intervals and path.suffix == ".npy"):
        raise ValueError(
            "imputed rows of a .csv file go to a .csv or .npy file, intervals to a .csv file, all others to .npy; got"
            f" {path}{' and --intervals' if intervals else ''}. Choose another --out."
        )
    with _writing(run, out):
        found = imputation.impute(opened.vae, read_rows(source, schema), **options)
        if path.suffix == ".csv":
            export.write_filled(path, source, schema, found, intervals=intervals)
        else:
            export.write_rows(path, found.values, schema.columns)
    _say(f"{int(found.missing.sum()):,} cells in {len(found.values):,} rows: {path}")


@app.command(sort_key=8)
def explore(
    run: Path,
    /,
    *,
    data: Annotated[str | None, Option] = None,
    out: Annotated[Path | None, Option] = None,
) -> None:
    """Write the explorer: one HTML page that opens without a server and decodes in the browser.

    A map of the latent space whose designs follow the pointer, sliders, ways between designs, grids, samples,
    reconstructions with the worst first, and the numbers of the run.

    Examples: `variform explore runs/demo`, `variform explore runs/wine --data new.csv --out new.html`

    Args:
        run: Folder of a run.
        data: Rows on the map in the place of the run's own, in the same shape.
        out: A new .html file; by default explorer.html in the run's folder, which is written anew.
    """
    from variform import runs

    path = out or run / "explorer.html"
    if out is not None and out.suffix != ".html":
        raise ValueError(f"the page must be a .html file; got {out}. Choose another --out.")
    if out is not None and out.exists():
        raise FileExistsError(f"the output must be a new file; {out} exists. Choose another --out.")
    with _writing(run, out):
        page = runs.explore(_opened(run), source=data)
        write_text(path, page.html)
    _say(f"Explorer, {len(page.html) / 1e6:.1f} MB: {path}")


@app.command(sort_key=8.2)
def serve(
    run: Path,
    /,
    *,
    data: Annotated[str | None, Option] = None,
    host: Annotated[str, Option] = "127.0.0.1",
    port: Annotated[int, Option] = 8000,
) -> None:
    """Serve the explorer page of a run, which then asks for designs: for decoders that no page can hold.

    Stop it with Ctrl-C.

    Examples: `variform serve runs/faces`, `variform serve runs/faces --port 0`

    Args:
        run: Folder of a run.
        data: Rows on the map in the place of the run's own, in the same shape.
        host: The address to listen at; who reaches it can use the page. The default is this computer alone.
        port: The port to listen at; 0 takes any that is free.
    """
    with _needing("serve"):
        from variform.serving import serve

    _opened(run)
    serve(run, source=data, host=host, port=port, started=lambda url: _say(f"Explorer: {url} (stop with Ctrl-C)"))


@app.command(sort_key=8.5)
def draw(run: Path, /) -> None:
    """Draw a run's pictures again: reconstructions, samples, manifold, latent map, traversals, interpolation.

    Example: `variform draw runs/demo`

    Args:
        run: Folder of a run; the pictures go to its figures/.
    """
    from variform import runs

    with _writing(run):
        opened = _opened(run)
        for picture in runs.draw(opened, opened.data(), opened.evaluation, runs.history(opened.folder)):
            _say(f"{picture.title}: {picture.path}")


@app.command(sort_key=8.7)
def compare(
    run: tuple[Path, ...],
    /,
    *,
    out: Annotated[Path | None, Option] = None,
    samples: Annotated[int | None, Option] = None,
    refine: Annotated[int, Option] = 0,
    seed: Annotated[int, Option] = 0,
    json: Annotated[bool, Flag] = False,
) -> None:
    """Finished runs side by side, and what separates them: paired differences over the same test rows.

    Runs are ranked only where their numbers are of one kind: the same data and rows, the same binarisation, and by
    density also likelihoods of one family, the same scaling and as many importance samples. Else it says what differs
    between which runs.

    Example: `variform compare runs/a runs/b runs/c --out comparison/`

    Args:
        run: Folders of two or more runs.
        out: A new folder for comparison.html with the curves over each other, comparison.json and comparison.csv.
        samples: Score the test rows again with so many importance samples; by default the scores that the runs kept.
        refine: Score the test rows again with a q(z|x) of its own for each, as `variform evaluate --refine` does.
        seed: Seed of new scores.
        json: Print the comparison as JSON.
    """
    from variform import comparisons

    if out is not None:
        require_empty(out)
    found = comparisons.compare(run, samples=samples, refine=refine, seed=seed, progress=True)
    page = None
    if out is not None:
        options = ["--samples", str(samples)] if samples else []
        options += ["--refine", str(refine)] if refine else []
        page = comparisons.write(
            found, out, shlex.join(["variform", "compare", *map(str, run), *options, "--out", "NEW"])
        )
    if json:
        _say(to_json(found.to_dict()))
        return
    _print_warnings(found.warnings())
    for table in found.tables():
        _say(table.title)
        _print_table(table.header, table.rows)
    for note in found.notes():
        _say(f"Note: {note}")
    if page:
        _say(f"Page: {page}")


@study.command(name="latent-dim")
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
    from variform import studies

    source = source or (_config_file(config).source if config else None)
    if source is None:
        raise ValueError("a study needs data; got none. Name a file, a folder, `digits` or `sprites`.")
    folder = out or _default_folder(source).with_name(_default_folder(source).name + "-latent-dim")
    found = studies.latent_dimension(
        RunConfig(source=source, data=data, model=model, train=train, evaluation=evaluation or EvaluationConfig()),
        dims,
        folder,
        seeds=seeds,
        overwrite=overwrite,
        progress=True,
    )
    with _kept_in(folder):
        if json:
            _say(to_json(read_json(folder / "study.json")))
            return
        _print_warnings(found.warnings)
        _print_table(*found.table())
        _say(f"Recommended: {found.recommended} latent dimensions; {found.reason}.")
        _say(f"Report: {folder / 'report.html'}")


@app.command(sort_key=10)
def info(run: Path, /, *, json: Annotated[bool, Flag] = False) -> None:
    """What a run is: its data, its model, how far it came and its main numbers; or what a model file says of itself.

    It reads the run's files alone, so that an interrupted run is shown too, and so is one whose data are not there.

    Example: `variform info runs/demo`

    Args:
        run: Folder of a run, or a model.safetensors.
        json: Print it as JSON.
    """
    if run.is_dir():
        from variform import runs

        if json:
            _say(to_json(runs.overview(run)))
        else:
            _print_table(*runs.overview_table(run), justify="left")
        return
    from variform import export

    values = export.inspect(run)
    if json:
        _say(to_json(values))
        return
    rows = [[key, str(value)] for key, value in _flattened(values)]
    _print_table(["key", "value"], rows)


@app.command(name="export", sort_key=10.1)
def hand_over(
    run: Path,
    /,
    *,
    to: Annotated[Literal["onnx", "numpy", "safetensors"], Option],
    out: Annotated[Path | None, Option] = None,
) -> None:
    """Write the model for programs that have no variform, and compare its answers there with its own.

    Encoder and decoder take and give the data's own units. `onnx` needs `pip install 'variform[onnx]'`.

    Example: `variform export runs/demo --to onnx`

    Args:
        run: Folder of a run, or a model.safetensors.
        to: `onnx`: encoder.onnx and decoder.onnx; `numpy`: model.npz, and reader.py that needs NumPy alone;
            `safetensors`: the model file, and what it says of itself as model.json.
        out: A new folder; by default onnx, numpy or safetensors in the run's folder.
    """
    from variform import handing, models

    folder = out or (run if run.is_dir() else run.parent) / to
    with _writing(run, out):
        paths = handing.hand_over(models.load(run).vae, to, folder)
    for path in paths:
        _say(f"{path.stat().st_size:>12,} bytes  {folder / path.name}")


@app.command(sort_key=10.2)
def push(run: Path, name: str, /, *, private: Annotated[bool, Flag] = False) -> None:
    """Share a run's model on the Hugging Face Hub, with a card that says what it is; never data or paths.

    Needs `pip install 'variform[hub]'` and `hf auth login`. A repository that is there gets a further commit.

    Example: `variform push runs/demo ada/digits --private`

    Args:
        run: Folder of a finished run.
        name: OWNER/NAME of the repository.
        private: Make a new repository for its owner alone.
    """
    _say(_hub().push(run, name, private=private))


@app.command(sort_key=10.3)
def pull(
    name: str, /, *, out: Annotated[Path | None, Option] = None, revision: Annotated[str | None, Option] = None
) -> None:
    """Fetch a model from the Hugging Face Hub, verify it, and open it without executing anything.

    Needs `pip install 'variform[hub]'`. What comes opens as a run whose data are not there.

    Example: `variform pull ada/digits --out runs/digits`

    Args:
        name: OWNER/NAME of the repository.
        out: A new folder; by default runs/ and the name.
        revision: A commit, branch or tag; by default the newest.
    """
    folder = _hub().pull(name, out or _default_folder(name), revision=revision)
    _say(f"Model: {folder}")


def _hub() -> Any:
    try:
        from variform import hub
    except ModuleNotFoundError as error:
        raise ValueError(
            f"the hub needs the packages of the extra hub; {error.name} is missing. Use pip install 'variform[hub]'."
        ) from error
    return hub


@app.command(sort_key=11)
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
    from variform import runs

    source = source or (_config_file(config).source if config else "digits")
    found = runs.profile_of(RunConfig(source=source, data=data, model=model, train=train), timed_steps)
    if json:
        _say(to_json(found.to_dict()))
        return
    _print_table(*found.table())
    if found.advice:
        _say(found.advice)


# --- entry --------------------------------------------------------------------------------------------------------


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 training broke, 2 a user's mistake, 128 and more after a signal."""
    open_closed()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without the character ± gets a question mark
    raise_stopped()
    try:
        code = run(sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        discard(sys.stdout)
        code = 141
    except OSError as error:
        discard(sys.stdout)
        code = _fail(f"standard output must take what is printed; the system says: {error.strerror}. Make room.", 2)
    try:
        sys.stderr.flush()
    except OSError:
        discard(sys.stderr)
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code; a mistake is one sentence on standard error, without a traceback.

    With the environment variable VARIFORM_TRACEBACK set, errors are raised as they are.
    """
    try:
        if any(not token or re.fullmatch("--[a-z-]+=", token) for token in arguments):
            raise ValueError("every argument must have a value; one is empty. Check the variables of your shell.")
        app.config = _config_sources(arguments)
        app(_without_commas(arguments), exit_on_error=False, print_error=False, result_action="return_value")
    except BrokenPipeError:
        raise
    except ConnectionError as error:
        _fail(str(error), 1)
        os._exit(1)  # the ordinary way out waits for processes that may not be there any more
    except (CycloptsError, ValueError, OSError) as error:
        if os.environ.get("VARIFORM_TRACEBACK"):
            raise
        return _fail(_sentence(error), 2)
    except (MemoryError, RuntimeError) as error:
        if not re.search("allocate memory|overflow", str(error)) and not isinstance(error, MemoryError):
            raise
        return _fail("the model and a batch must fit in memory; they do not. Use smaller --hidden or --batch-size.", 2)
    except ArithmeticError as error:
        return _fail(str(error), 1)
    except KeyboardInterrupt as error:
        stopped = Stopped.by(error, str(error) or "interrupted")
        return _fail(str(stopped), stopped.exit_code)
    return 0


@contextmanager
def _needing(extra: str) -> Iterator[None]:
    """Inside, what is imported may be missing: then the error names the extra that brings it."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ValueError(
            f"this command needs {error.name}, which is not installed. Install it with pip install 'variform[{extra}]'."
        ) from error


def _without_commas(arguments: list[str]) -> list[str]:
    """Numbers after an option may be joined by commas, as in --hidden 64,32 or --hidden=64,32."""
    tokens: list[str] = []
    for before, token in itertools.pairwise(["", *arguments]):
        match = re.fullmatch(r"(--[a-z-]+=)?(\d+(?:,\d+)+)", token)
        if match and match[1]:
            tokens.append(match[1].removesuffix("="))
        is_list = match and (match[1] or before.startswith("--"))
        tokens += match[2].split(",") if match and is_list else [token]
    return tokens


def _convert(hint: Any, tokens: Sequence[cyclopts.Token]) -> Any:
    """A choice or numbers as `converted` takes them, with its messages; anything else as cyclopts does."""
    of_numbers = re.search(r"\b(int|float)\b", str(hint))
    if tokens[0].implicit_value is not cyclopts.UNSET or not (of_numbers or get_origin(hint) is Literal):
        return cyclopts.convert(hint, tokens)
    values: list[Any] = [token.value for token in tokens]
    if of_numbers:
        kind = float if of_numbers[1] == "float" else int
        values = [_number(word, kind) for word in values]
    name = (tokens[0].keyword or "").strip("-[]").replace("-", "_")
    return converted(hint, values if "tuple[" in str(hint) else values[0], name)


def _number(word: str, kind: type[int] | type[float]) -> int | float | str:
    """A word as a number, or as it is: Python itself would take 1_000 for one."""
    try:
        return kind(word) if word.isascii() and "_" not in word else word
    except ValueError:
        return word


def _sentence(error: Exception) -> str:
    if isinstance(error, CycloptsError):
        command = " ".join(["variform", *(error.command_chain or ())])
        text = str(error.__cause__ if isinstance(error, CoercionError) and error.__cause__ else error)
        if isinstance(error, UnusedCliTokensError):
            text = f"{command} takes no more arguments; got {' '.join(error.unused_tokens or [])}. Leave them out."
        elif isinstance(error, MissingArgumentError) and not error.tokens_so_far:
            what = re.sub(r"^Command \S+ parameter (\S+) requires.*", r"\1", text.split("\n")[0])
            text = f"{command} needs {what}; got none. Give it." if " " not in what else text
        return f"{text} See {command} --help."
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'a file'} must be usable; the system says: {error.strerror}. Check path and space."
    return str(error)


def _fail(message: str, code: int) -> int:
    """Say what is wrong; of several processes the first speaks for all, unless it is the one that is lost."""
    if code == 1 or os.environ.get("RANK", "0") == "0":
        with suppress(OSError):  # when nobody can be told, the exit code must do
            sys.stderr.write(f"error: {message}\n")
            sys.stderr.flush()
    return code


def _config_sources(arguments: list[str]) -> list[cyclopts.config.Dict]:
    """The options of --config FILE as a source below the command line's own."""
    paths = [after for option, after in itertools.pairwise(arguments) if option == "--config"]
    paths += [option.removeprefix("--config=") for option in arguments if option.startswith("--config=")]
    if not paths:
        return []
    config = _config_file(Path(paths[-1]))
    values = {key: value for part in config.parts for key, value in to_dict(part).items()}
    options = {key.replace("_", "-"): value for key, value in values.items()}
    return [cyclopts.config.Dict(options, use_commands_as_keys=False, allow_unknown=True, source=paths[-1])]


def _config_file(path: Path) -> RunConfig:
    if not path.is_file():
        raise FileNotFoundError(f"--config must name a TOML file; there is none at {path}. Check the path.")
    return from_toml(path.read_bytes(), str(path))


def _default_folder(source: str) -> Path:
    name = Path(source).name.split(".")[0]
    return Path("runs") / (re.sub(r"[^\w-]+", "-", name) or "run")


def _train(config: RunConfig, folder: Path, *, overwrite: bool, json: bool = False) -> None:
    from variform import runs

    run = runs.train(config, folder, overwrite=overwrite, progress=True)
    _report(run, json)


def _report(run: "Run", json: bool) -> None:
    if os.environ.get("RANK", "0") != "0":  # the first process speaks for all
        return
    with _kept_in(run.folder):
        _print_numbers(run.evaluation, json, run.folder)
        if not json:
            if (run.folder / "explorer.html").is_file():
                _say(f"Explorer: {run.folder / 'explorer.html'}")
            _say(f"Report: {run.folder / 'report.html'}")


@contextmanager
def _kept_in(folder: Path) -> Iterator[None]:
    """Inside, what is printed also stands in files of `folder`: that nobody reads it is no failure."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        discard(sys.stdout)
    except OSError as error:
        discard(sys.stdout)
        raise OSError(
            f"standard output must take what is printed; the system says: {error.strerror}. All files are written and "
            f"whole, in {folder}."
        ) from error


def _print_numbers(numbers: dict[str, Any], json: bool, folder: Path) -> None:
    """The numbers of the run in `folder`."""
    from variform import runs
    from variform.evaluation.verdict import placed

    if json:
        _say(to_json(numbers))
        return
    _print_warnings(placed(numbers.get("warnings", ()), folder))
    _print_table(*runs.table(numbers))
    for note in numbers["notes"]:
        _say(f"Note: {note}")


def _opened(run: Path) -> "Run":
    """The run in a folder, after a word on it where its latents hold nothing."""
    from variform import runs

    opened = runs.open_run(run)
    _print_warnings(runs.warned(opened))
    return opened


def _told(run: "Run", given: Sequence[str], rows: int, seed: int) -> Any:
    """The contexts of new rows, after a word on what lies outside the training rows if it was asked for."""
    from variform import runs

    context = runs.told(run, given, rows, seed=seed)
    if given:
        _print_warnings(runs.unseen(run, context))
    return context


def _print_warnings(sentences: Sequence[str]) -> None:
    for sentence in sentences:
        _say(f"Warning: {sentence}")


def _print_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, justify: Literal["left", "right"] = "right"
) -> None:  # fmt: skip
    table = Table(header_style="bold")
    for number, name in enumerate(header):
        table.add_column(name, justify=justify if number else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console = Console(width=None if sys.stdout.isatty() else 200)
    with console.capture() as text:  # rich would end the process when nobody reads on
        console.print(table, markup=False, highlight=False)
    _say(text.get().rstrip("\n"))


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


@contextmanager
def _writing(run: Path, out: Path | None = None) -> Iterator[None]:
    """Inside, this process alone writes into a run's folder, where its output, by default or as `out`, goes there."""
    goes_there = out is None or out.resolve().is_relative_to(run.resolve())
    with held(run) if goes_there and run.is_dir() else nullcontext():
        yield


def _datasets(run: "Run", source: str | None) -> list[Any]:
    """The rows of `source` in the shape of the run's data, or the run's own splits."""
    from variform.data import read_rows

    if source is None:
        splits = run.data()
        return [splits.train, splits.valid, splits.test]
    schema = run.vae.schema
    assert schema is not None
    return [read_rows(source, schema)]


def _beside(run: "Run", name: str) -> Path:
    """A default output in the run's folder: a folder of images, or a table."""
    schema = run.vae.schema
    assert schema is not None
    return run.folder / (name if schema.kind == "image" else f"{name}.csv")


def _write(run: "Run", path: Path, values: Any, context: Any = None, *, quiet: bool = False) -> None:
    """Write data in the user's own units in the form that the path asks for, with what a conditional model was told.

    Rows of a table that are not tidy yet become so, and what that changes is said.
    """
    import torch

    from variform import exploration, export

    schema = run.vae.schema
    assert schema is not None
    remarks = exploration.remarks(schema, values)
    values = schema.tidy(torch.from_numpy(values)).numpy()
    told = ((), ()) if context is None else export.told_cells(schema, context.expand(len(values), -1))
    if path.suffix == ".csv" and (schema.kinds or (schema.conditions and schema.kind == "table")):
        export.write_table(path, values, schema, told)
    elif path.suffix:
        export.write_rows(path, values, schema.columns)
    elif schema.kind == "image":
        export.write_images(path, values, schema.grey_range, told)
    else:
        raise ValueError(f"a table needs an output that ends in .csv or .npy; got {path}. Add the suffix.")
    if not quiet:
        _say(f"{len(values):,} rows: {path}")
        for remark in remarks:
            _say(f"Note: {remark}")


def _flattened(values: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for key, value in values.items():
        pairs += _flattened(value, f"{prefix}{key}.") if isinstance(value, dict) else [(prefix + key, value)]
    return pairs
