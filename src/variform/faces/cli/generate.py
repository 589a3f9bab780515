"""Commands that go from rows to latents and back."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from variform.config.choices import SAMPLER_WORDS, SamplerKind
from variform.config.drawing import DrawingConfig
from variform.faces.cli.options import DrawingOptions, Flag, Option
from variform.faces.cli.output import (
    contexts_of,
    datasets_of,
    new_output,
    opened_run,
    print_json,
    print_table,
    print_warnings,
    require_there,
    say,
    write_output,
    writing_into,
)
from variform.system.files import require_new

if TYPE_CHECKING:
    from variform.data.dataset import Dataset

SAMPLER_HELP = "; ".join(f"`{kind}`, {words}" for kind, words in SAMPLER_WORDS.items()) + "."


def generate(
    run: Path,
    /,
    *,
    count: Annotated[int, Option] = 64,
    out: Annotated[Path | None, Option] = None,
    given: Annotated[tuple[str, ...], Option] = (),
    sampler: Annotated[Literal["prior", SamplerKind], Option] = "prior",
    temperature: Annotated[float, Option] = 1.0,
    draw: Annotated[bool, Flag] = False,
    seed: Annotated[int, Option] = 0,
    drawing: DrawingOptions = DrawingConfig(),
) -> None:
    """New data: z from the model's prior or a fitted sampler, then the mean of p(x|z).

    Rows of a mixed table keep the types of their columns, and with --draw the shares of values that many rows hold.

    Examples: `variform generate runs/demo --count 100 --out new_digits/`,
    `variform generate runs/demo --sampler gmm --temperature 0.8`,
    `variform generate runs/conditional --given label=3`,
    `variform generate runs/frames --given Material=Steel --given "mass [kg]=2..3" --draw`,
    `variform generate runs/foils --count 5 --stations x.csv --out foils.dat`

    Args:
        run: Folder of a run, or a model file alone.
        count: How many.
        out: A .npy file, a .csv file (tables), a new folder for PNG files (images), or of outlines .dat, .svg, .stl or
            .dxf: one of these is a file, several are files in a folder without the suffix.
        given: What new rows must have, as name=value or name=low..high: what a conditional model is conditioned on, by
            default the values of random training rows, and any column of a table; the other columns go with it. An
            open end, as in name=2.., is that of the data.
        sampler: What z is drawn from: the model's `prior`, or one that `variform sampler` fitted.
        temperature: Factor of the standard deviation with which z is drawn about the sampler's mean, or about the means
            of its components; of a flow's noise. Below 1: more typical rows, less variety.
        draw: Draw from p(x|z) instead of taking its mean, so that the decoder's noise is in.
        seed: Seed of the draws.
    """
    require_there(run)
    from variform.evaluation import exploration
    from variform.runs.folder import schema_of
    from variform.runs.given import asked_for, remarks_on, rows_asked
    from variform.runs.samplers import with_sampler

    if count < 1:
        raise ValueError(f"`count` must be at least 1; got {count}. Use for example 64.")
    with writing_into(run, out):
        opened = opened_run(run)
        path = new_output(opened, out, "generated")
        vae = with_sampler(opened, sampler, temperature)
        asked = asked_for(schema_of(opened.vae), given)
        if asked.has_columns:
            values, points, context, remarks = rows_asked(
                opened, vae, asked, count, draw=draw, seed=seed
            )
            print_warnings([*remarks_on(opened, asked), *remarks])
        else:
            context = contexts_of(opened, asked, count, seed)
            points = exploration.prior_points(vae, count, seed=seed)
            values = exploration.decode(
                vae, points, context=context, draw=draw, tidy=False, seed=seed + 1
            )
        write_output(
            opened,
            path,
            values,
            context,
            drawing=drawing,
            points=points,
            seed=seed,
        )


def sampler(
    run: Path,
    /,
    *,
    kind: Annotated[SamplerKind, Option, Parameter(help=SAMPLER_HELP)] = "gmm",
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
        kind: One of `SAMPLER_WORDS`.
        samples: k, importance samples per test row for the NLL.
        seed: Seed of the fit and of the draws.
        json: Print the numbers as JSON.
    """
    require_there(run)
    from variform.evaluation.tables import sampler_table
    from variform.runs.folder import open_run
    from variform.runs.samplers import fit_sampler, sampler_file

    opened = open_run(run)
    numbers = fit_sampler(opened, kind, samples=samples, seed=seed, progress=True)
    if json:
        print_json(numbers)
        return
    print_warnings(numbers["warnings"])
    print_table(*sampler_table(numbers))
    if "thorough_rows" in numbers:
        say(
            f"NLL: all {numbers['rows']:,} test rows with {numbers['samples_of_other_rows']} importance samples, "
            f"corrected by {numbers['thorough_rows']:,} random ones of them with {numbers['importance_samples']:,}; "
            "the share of rows with a high Pareto k is of these."
        )
    say(
        f"Samples: {numbers['compared']:,} {numbers['decoded']} of p(x|z) against test rows. "
        f"Saved: {sampler_file(opened, kind)}"
    )


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

    A .csv file also says which row of the source each is, counted from 0, of the run's own data in which split, what
    it is called, and its responses.

    Example: `variform encode runs/demo --out latents.csv`

    Args:
        run: Folder of a run, or a model file alone.
        source: Data to encode; by default all rows of the run's own data: train, validation, test.
        out: A .csv or .npy file; by default latents.csv in the run's folder.
        std: Add the posterior standard deviations as further columns.
        draw: Draw from q(z|x) instead of taking its mean.
        seed: Seed of the draws.
    """
    require_there(run)
    import numpy as np

    from variform.evaluation import exploration
    from variform.export.rows import write_rows

    with writing_into(run, out):
        opened = opened_run(run)
        path = out or opened.folder / "latents.csv"
        require_new(path)
        datasets = datasets_of(opened, source)
        pairs = [exploration.encode(opened.vae, rows, draw=draw, seed=seed) for rows in datasets]
        points, stds = (np.concatenate(part) for part in zip(*pairs, strict=True))
        columns = [f"z{number}" for number in range(1, opened.vae.latent_dim + 1)]
        if std:
            points, columns = (
                np.concatenate([points, stds], 1),
                [*columns, *(f"std_{name}" for name in columns)],
            )
        if path.suffix == ".csv":
            known = identity(datasets, has_splits=source is None)
            cells = np.array(list(known.values()), dtype=object).T
            points = np.concatenate([cells, points.astype(object)], 1)
            columns = [*known, *columns]
        write_rows(path, points, columns)
    say(f"{len(points):,} rows, {len(columns)} columns: {path}")


def identity(datasets: "Sequence[Dataset]", *, has_splits: bool) -> dict[str, list[str]]:
    """What says which row each is, and what is known of it, by the columns of a file."""
    from variform.export.rows import response_cells

    columns: dict[str, list[str]] = {"row": []}
    for rows in datasets:
        assert rows.index is not None  # they were read
        columns["row"] += map(str, rows.index.tolist())
    if has_splits:
        sizes = zip(("train", "valid", "test"), map(len, datasets), strict=True)
        columns["split"] = [split for split, size in sizes for _ in range(size)]
    names = [rows.names for rows in datasets if rows.names is not None]
    if len(names) == len(datasets):
        head = "file" if datasets[0].schema.kind == "image" else "id"
        columns[head] = [name for part in names for name in part.tolist()]
    for name in datasets[0].responses:
        values = [cell for rows in datasets for cell in response_cells(rows.responses[name])]
        is_taken = name in columns or re.fullmatch(r"(std_)?z\d+", name)
        columns[f"{name} (response)" if is_taken else name] = values
    return columns


def decode(
    run: Path,
    latents: Path,
    /,
    *,
    out: Annotated[Path | None, Option] = None,
    given: Annotated[tuple[str, ...], Option] = (),
    draw: Annotated[bool, Flag] = False,
    seed: Annotated[int, Option] = 0,
    drawing: DrawingOptions = DrawingConfig(),
) -> None:
    """Turn latent points into data.

    Example: `variform decode runs/demo points.csv --out decoded.npy`

    Args:
        run: Folder of a run, or a model file alone.
        latents: A .csv or .npy file with one column per latent dimension, or what `encode` wrote: of a .csv file the
            columns z1, z2, ... are taken, where it has all of them.
        out: A .npy file, a .csv file (tables), a new folder for PNG files (images), or of outlines .dat, .svg, .stl or
            .dxf: one of these is a file, several are files in a folder without the suffix.
        given: What a conditional model is conditioned on, as name=value; by default the values of random training rows.
        draw: Draw from p(x|z) instead of taking its mean.
        seed: Seed of the draws.
    """
    require_there(run)
    from variform.data.points import read_points
    from variform.evaluation import exploration
    from variform.runs.folder import schema_of
    from variform.runs.given import asked_for

    with writing_into(run, out):
        opened = opened_run(run)
        path = new_output(opened, out, "decoded")
        dim = opened.vae.latent_dim
        points = read_points(latents, [f"z{number}" for number in range(1, dim + 1)])
        points = (
            points[:, :dim] if points.shape[1] == 2 * dim else points
        )  # what `encode --std` wrote to a .npy file
        asked = asked_for(schema_of(opened.vae), given)
        context = contexts_of(opened, asked, len(points), seed)
        values = exploration.decode(
            opened.vae, points, context=context, draw=draw, tidy=False, seed=seed
        )
        write_output(
            opened,
            path,
            values,
            context,
            drawing=drawing,
            points=points,
            seed=seed,
        )


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
        run: Folder of a run, or a model file alone.
        source: Data to reconstruct; by default the run's test rows.
        out: A .npy file, a .csv file (tables), or a new folder for PNG files (images) with the names of the rows' own
            files, or their numbers in the source as `encode` gives them.
        given: Decode under another condition than the rows' own, as name=value.
        json: Print the error as JSON.
    """
    require_there(run)
    import torch

    from variform.evaluation import exploration
    from variform.evaluation.log_likelihood import squared_error
    from variform.evaluation.standard_error import Estimate
    from variform.evaluation.tables import show
    from variform.runs.folder import contexts_given, open_run, unseen
    from variform.runs.samplers import warned

    with writing_into(run, out):
        opened = open_run(run)
        path = new_output(opened, out, "reconstructed")
        rows = datasets_of(opened, source)[-1]
        context = contexts_given(opened, given, len(rows)) if given else None
        warnings = [*warned(opened), *unseen(opened, context)]
        if not json:
            print_warnings(warnings)
        originals, values = exploration.reconstruct(opened.vae, rows, context=context)
        write_output(
            opened,
            path,
            values,
            rows.contexts if context is None else context,
            rows=rows,
            quiet=json,
        )
    squares = squared_error(rows.schema, torch.from_numpy(originals), torch.from_numpy(values))
    error = Estimate.root_mean(squares, gaps=bool(rows.schema.gaps)).to_dict()
    if json:
        print_json(
            {
                "reconstruction_error": error,
                "unit": "data units, root mean square",
                "warnings": warnings,
            }
        )
    else:
        say(
            f"reconstruction error (root mean square, data units): {show(error)} over {error['n']:,} rows"
        )


def impute(
    run: Path,
    source: str | None = None,
    /,
    *,
    out: Annotated[Path | None, Option] = None,
    draws: Annotated[int, Option] = 0,
    intervals: Annotated[bool, Flag] = False,
    level: Annotated[float, Option] = 0.9,
    mask: Annotated[float, Option] = 0.3,
    samples: Annotated[int, Option] = 1000,
    refine: Annotated[int, Option] = 50,
    seed: Annotated[int, Option] = 0,
    json: Annotated[bool, Flag] = False,
) -> None:
    """Fill gaps: what is missing given what is observed, by importance sampling. Needs a model that takes gaps.

    With --draws every row comes that many times, each with other values in its gaps that belong together: partial
    designs. Any model will do for that.

    Without data to fill it says how far to trust it: cells of the test rows are taken away, imputed and compared.

    Examples: `variform impute runs/wine wine.csv --out whole.csv --intervals`, `variform impute runs/wine --mask 0.3`,
    `variform impute runs/frames partial.csv --draws 20 --out designs.csv`

    Args:
        run: Folder of a run with `--likelihood mixed` or `--cells gaps`; with data also its model file alone.
        source: Data with gaps. A .csv file keeps its columns, separator and observed cells as they stand.
        out: A .csv file for a .csv file, else a .npy file; by default imputed.csv or .npy in the run's folder.
        draws: Joint draws of each row, one row a draw with its number in a column `draw`, in place of one row of means;
            in a .npy file (rows, draws, ...).
        intervals: Add the ends of the intervals of numbers, and the certainty of categories, as columns of a .csv file.
        level: Probability with which an interval holds what is missing.
        mask: Share of the observed cells of the test rows that are taken away.
        samples: Importance samples per row.
        refine: Steps by which q(z|x) of every row is improved before half of the samples are drawn from it.
        seed: Seed of the mask and of the draws.
        json: Print the comparison as JSON.
    """
    require_there(run)
    from variform.data.reading import read_rows
    from variform.data.sources.formats import FORMATS, source_format
    from variform.evaluation import imputation
    from variform.evaluation.partial import complete
    from variform.evaluation.tables import imputation_table
    from variform.export.rows import write_draws, write_filled, write_rows
    from variform.runs.folder import open_run

    opened = open_run(run)
    schema = opened.vae.schema
    assert schema is not None
    options: dict[str, Any] = {"samples": samples, "refine": refine, "seed": seed}
    _require_draws(draws, source, intervals=intervals)
    if source is None:
        splits = opened.data()
        numbers = imputation.judge(
            opened.vae, splits.test, splits.train, mask=mask, level=level, **options
        )
        if json:
            print_json(numbers)
        else:
            titles = dict(zip(schema.columns, schema.titles, strict=True))
            print_table(*imputation_table(numbers, titles))
        return
    is_csv = FORMATS[source_format(source)].has_columns
    path = out or opened.folder / f"imputed.{'csv' if is_csv else 'npy'}"
    if path.suffix not in ((".csv", ".npy") if is_csv else (".npy",)) or (
        intervals and path.suffix == ".npy"
    ):
        raise ValueError(
            "imputed rows of a .csv file go to a .csv or .npy file, intervals to a .csv file, all others to .npy; got"
            f" {path}{' and --intervals' if intervals else ''}. Choose another --out."
        )
    require_new(path)
    with writing_into(run, out):
        config = opened.config.data
        if draws:
            rows = read_rows(source, schema.with_gaps(), config)
            found = complete(opened.vae, rows, count=draws, **options)
            if path.suffix == ".csv":
                write_draws(path, source, schema, found.draws, rows, config)
            else:
                write_rows(path, found.draws, schema.columns)
            print_warnings(found.remarks())
            say(f"{draws:,} draws of each of {len(rows):,} rows: {path}")
            return
        rows = read_rows(source, schema, config)
        imputed = imputation.impute(opened.vae, rows, level=level, **options)
        if path.suffix == ".csv":
            write_filled(path, source, schema, imputed, config, intervals=intervals)
        else:
            write_rows(path, imputed.values, schema.columns)
    say(f"{int(imputed.missing.sum()):,} cells in {len(imputed.values):,} rows: {path}")


def _require_draws(draws: int, source: str | None, *, intervals: bool) -> None:
    """Refuse a number of draws that is none, or where there is nothing to draw."""
    if draws < 0:
        raise ValueError(f"`draws` must be 0 or more; got {draws}. Use for example 20.")
    if draws and (source is None or intervals):
        raise ValueError(
            "`draws` needs data with gaps, and goes without `intervals`; it came "
            + ("with them." if intervals else "without data.")
            + " Name a file, or leave one out."
        )
