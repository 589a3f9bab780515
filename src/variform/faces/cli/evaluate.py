"""Commands that look at numbers."""

import shlex
from pathlib import Path
from typing import Annotated, Literal

from variform.config.choices import LanguageName
from variform.config.options import in_options
from variform.faces.cli.options import Flag, InDepthOptions, Option
from variform.faces.cli.output import (
    flattened,
    print_json,
    print_numbers,
    print_table,
    print_warnings,
    require_there,
    say,
    write,
)
from variform.system.files import require_empty


def evaluate(
    run: Path,
    /,
    *,
    split: Annotated[Literal["test", "valid", "train"], Option] = "test",
    samples: Annotated[int | None, Option] = None,
    refine: Annotated[int | None, Option] = None,
    seed: Annotated[int, Option] = 0,
    json: Annotated[bool, Flag] = False,
    in_depth: InDepthOptions = None,
) -> None:
    """Held-out numbers with standard errors, beside PCA of the same dimension and a trivial model; and what is asked in
    depth. What `variform train --resume RUN` is asked in depth stands folded in the report and the explorer page too.

    Examples: `variform evaluate runs/demo --samples 5000 --json`, `variform evaluate runs/demo --refine 50`,
    `variform evaluate runs/demo --ais 100`, `variform evaluate runs/sprites --factors all`

    Args:
        run: Folder of a run.
        split: The rows to evaluate on.
        samples: k, importance samples per example for the NLL; by default as many as the run's own evaluation took.
        refine: Score the rows once more with a q(z|x) of its own for each: this many steps on its own ELBO, from what
            the encoder answers and with the decoder as it is. For an NLL that a posterior too narrow leaves too high.
            By default as many as the run's own evaluation took.
        seed: Seed of the draws.
        json: Print the numbers as JSON.
    """
    require_there(run)
    from variform.runs.folder import open_run
    from variform.runs.scores import assess

    opened = open_run(run)
    numbers = assess(
        opened,
        opened.data(),
        split=split,
        samples=samples,
        refine=refine,
        in_depth=in_depth,
        seed=seed,
        progress=True,
    )
    print_numbers(numbers, json, run)


def doctor(
    run: Path,
    /,
    *,
    split: Annotated[Literal["test", "valid", "train"], Option] = "test",
    seed: Annotated[int, Option] = 0,
    json: Annotated[bool, Flag] = False,
) -> int:
    """What is wrong with a model, how it was seen and what to try: collapse, holes, a likelihood that does not fit, ...

    It looks for what a training looks for at its end, on more rows. The exit code is 0 where no illness was found and 3
    where one was; a hint is no illness.

    Examples: `variform doctor runs/demo`, `variform doctor runs/demo --json`

    Args:
        run: Folder of a run.
        split: The rows to judge by.
        seed: Seed of the draws.
        json: Print findings and measurements as JSON.
    """
    require_there(run)
    from variform.runs.doctor import examine
    from variform.runs.folder import open_run

    diagnosis = examine(open_run(run), split=split, seed=seed, progress=True)
    if json:
        print_json(diagnosis.to_dict())
    else:
        say(str(diagnosis))
    return 0 if diagnosis.is_healthy else _ILL


_ILL = 3  # beside 1, a training that broke, and 2, a user's mistake


def explain(
    word: tuple[str, ...], /, *, language: Annotated[LanguageName, Option] = "auto"
) -> None:
    """What a word of a table, a report or a page means, and the formula of a tag: from the project's own documents.

    Examples: `variform explain NLL`, `variform explain active units --language ko`, `variform explain kl-diagonal`

    Args:
        word: A word of the glossary, or a tag of a formula.
        language: Of the answer; auto is that of the system.
    """
    from variform.pages.glossary import explain as entries
    from variform.pages.language import words_of

    write(
        "\n\n".join(
            f"{entry.title}\n{entry.text}" for entry in entries(" ".join(word), words_of(language))
        )
    )


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
        samples: Score the test rows again with this many importance samples; by default the scores that the runs kept.
        refine: Score the test rows again with a q(z|x) of its own for each, as `variform evaluate --refine` does.
        seed: Seed of new scores.
        json: Print the comparison as JSON.
    """
    from variform.runs import comparisons

    if out is not None:
        require_empty(out)
    comparison = comparisons.compare(run, samples=samples, refine=refine, seed=seed, progress=True)
    page = None
    if out is not None:
        options = ["--samples", str(samples)] if samples else []
        options += ["--refine", str(refine)] if refine else []
        page = comparisons.write(
            comparison,
            out,
            shlex.join(["variform", "compare", *map(str, run), *options, "--out", "NEW"]),
        )
    if json:
        print_json(comparison.to_dict())
        return
    print_warnings(comparison.warnings())
    for table in comparison.tables():
        say(table.title)
        print_table(table.header, table.rows)
    for note in comparison.notes():
        say(f"Note: {note}")
    if page:
        say(f"Page: {page}")


def info(run: Path, /, *, json: Annotated[bool, Flag] = False) -> None:
    """What a run is: its data, its model, how far it came and its main numbers; or what a model file says of itself.

    It reads the run's files alone, so that an interrupted run is shown too, and so is one whose data are not there.

    Example: `variform info runs/demo`

    Args:
        run: Folder of a run, or a model.safetensors.
        json: Print it as JSON.
    """
    if run.is_dir():
        from variform.runs.overview import overview, overview_table

        if json:
            print_json(overview(run))
        else:
            header, rows = overview_table(run)
            print_table(header, [[name, in_options(text)] for name, text in rows], justify="left")
        return
    from variform.export.inspection import inspect

    values = inspect(run)
    if json:
        print_json(values)
        return
    rows = [[key, str(value)] for key, value in flattened(values)]
    print_table(["key", "value"], rows)
