"""The commands that look for better designs."""

import shlex
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App

from variform.config.drawing import DrawingConfig
from variform.config.run import default_folder
from variform.faces.cli.options import DrawingOptions, Option
from variform.faces.cli.output import (
    kept_in,
    print_handed_over,
    print_table,
    report_on,
    say,
    say_aside,
)
from variform.faces.cli.trust import with_trust

design = App(
    name="design", help="Look for better designs: propose, evaluate, and lay side by side."
)


@design.default
@with_trust
def search(problem: Path, /, *, out: Annotated[Path | None, Option] = None) -> None:
    """Look for better designs: in a latent space, in PCA, in the columns and among the known ones, at the same budget.

    PROBLEM.toml names a run or a source of known designs, objectives, constraints, and who evaluates: a Python function
    or a command. Without either use `variform design ask` and `variform design tell`. Every design and every answer is
    noted at once: after a crash the same command goes on as if nothing had happened. docs/design.md explains the file.

    Example: `variform design problem.toml`

    Args:
        problem: The problem.toml.
        out: Folder of the study; by default runs/ and the name of the problem.
    """
    designs = _designs(problem)
    folder = out or default_folder(str(problem))
    results = designs.run(problem, folder, say=say_aside, table=_print)
    _show(results, folder)


@design.command
@with_trust
def ask(
    problem: Path,
    /,
    *,
    count: Annotated[int | None, Option] = None,
    out: Annotated[Path | None, Option] = None,
) -> None:
    """Write designs that wait for an answer to a new table: first those asked for before, then new ones.

    Fill in a number for each response, NaN where a design could not be evaluated, and give the table to
    `variform design tell`. Asking again before that gives the same designs. With the optimiser preference a number says
    how good a design is, such as 1 to 5, and a table with the columns `preferred` and `other`, of two ids a row, is as
    welcome. Outlines and images are drawn beside the table.

    Example: `variform design ask problem.toml --count 5`

    Args:
        problem: The problem.toml.
        count: How many; by default a batch of the problem.
        out: Folder of the study; by default runs/ and the name of the problem.
    """
    designs = _designs(problem)
    folder = out or default_folder(str(problem))
    target, number, notes = designs.ask(problem, folder, count)
    with kept_in(folder):
        for note in notes:
            say(f"Note: {note}")
        say(f"{number} designs: {target}")
        picture = target.with_suffix(".png")
        if picture.is_file():
            say(f"Picture: {picture}")
        say(f"Fill in the responses, then: variform design tell {problem} {target}")


@design.command
@with_trust
def tell(problem: Path, answers: Path, /, *, out: Annotated[Path | None, Option] = None) -> None:
    """Take answers from a table, whole or not, in any order; rows of your own are welcome, and help the search.

    Example: `variform design tell problem.toml runs/problem/asked-1.csv`

    Args:
        problem: The problem.toml.
        answers: The table: `id`, a column for each response, and of designs of your own all columns of the data. A
            column `valid` (yes or no) and one `reason` are optional. With the optimiser preference a table with the
            columns `preferred` and `other` has two ids a row.
        out: Folder of the study; by default runs/ and the name of the problem.
    """
    designs = _designs(problem)
    folder = out or default_folder(str(problem))
    results, notes = designs.tell(problem, folder, answers)
    for note in notes:
        say(f"Note: {note}")
    _show(results, folder)


@design.command
@with_trust
def target(
    problem: Path,
    /,
    *targets: str,
    tries: Annotated[int, Option] = 8,
    held_out: Annotated[int, Option] = 50,
    out: Annotated[Path | None, Option] = None,
) -> None:
    """Look for designs whose responses lie in given ranges, in four ways, and say which one to trust.

    They are the nearest known design; z = 0 and the best draw of a model that is conditioned on the responses; and
    a search from the nearest known design. Beside each stands how often it meets the responses of held-out designs.

    Example: `variform design target problem.toml "t/c=0.12..0.13" "CL=0.9..1.0"`

    Args:
        problem: The problem.toml, which says what is known and who evaluates.
        targets: Ranges, as name=low..high; all hold together.
        tries: Evaluations that a way may spend.
        held_out: Held-out designs on whose responses the ways are compared, 0 for none.
        out: A new table (.csv) for the designs.
    """
    from variform.runs.targets import look

    table = look(problem, targets, tries=tries, held_out=held_out, out=out)
    print_table(*table.rows())
    if table.recommended:
        say(
            f"Recommended is {table.recommended}: no way met clearly more targets of held-out designs for less."
        )
    if out is not None:
        say(f"Designs: {out}")


@design.command
@with_trust
def select(
    problem: Path,
    /,
    *,
    count: Annotated[int, Option] = 5,
    within: Annotated[float, Option] = 3.0,
    apart: Annotated[float | None, Option] = None,
    out: Annotated[Path | None, Option] = None,
    study: Annotated[Path | None, Option] = None,
) -> None:
    """Select a few good designs of a study that differ, and say how near each is to what is known.

    The best one comes first, then always the good one that is furthest from those selected. Of several objectives the
    designs on the Pareto set are good.

    Examples: `variform design select problem.toml`,
    `variform design select problem.toml --count 3 --within 5 --apart 0.002 --out chosen.csv`

    Args:
        problem: The problem.toml.
        count: How many.
        within: Percent of the best value by which a good design may be worse; of no meaning for several objectives.
        apart: The least distance between two of them; by default that from which the study counts designs as distinct.
        out: A table (.csv) for the designs.
        study: Folder of the study; by default runs/ and the name of the problem.
    """
    _designs(problem)
    from variform.runs.selections import select_designs

    folder = study or default_folder(str(problem))
    found = select_designs(problem, folder, count, within=within, apart=apart)
    print_table(*found.table())
    for note in found.notes():
        say(f"Note: {note}")
    if out is not None:
        found.write(out)
        say(f"Designs: {out}")
    where = "" if study is None else f" --study {shlex.quote(str(study))}"
    ids = " ".join(found.ids)
    say(
        f"Next: variform design export {shlex.quote(str(problem))} {ids}{where} --out designs{found.suffix}"
    )


@design.command
@with_trust
def retrain(
    problem: Path,
    /,
    *,
    out: Annotated[Path, Option],
    study: Annotated[Path | None, Option] = None,
    epochs: Annotated[int, Option] = 20,
    learning_rate: Annotated[float | None, Option] = None,
    freeze: Annotated[Literal["none", "encoder"], Option] = "none",
) -> None:
    """Train the run's model anew with the designs of a study, the better the more, and keep the axes of its codes.

    A design counts 1 / (N / 1000 + rank) among the N training rows, known and new. Training begins with the weights
    of the run; afterwards the axes of the codes are turned onto the old ones as far as that changes nothing else, and
    how far codes moved is said.

    Example: `variform design retrain problem.toml --out runs/designs-2`

    Args:
        problem: The problem.toml, with a run.
        out: Folder of the new run.
        study: Folder of the study; by default runs/ and the name of the problem.
        epochs: Passes over the training rows.
        learning_rate: By default a tenth of that of the run: faster training moves codes further.
        freeze: `encoder` leaves the codes where they are, and trains the rest.
    """
    _designs(problem)
    from variform.runs.design_training import retrain as train_anew

    run = train_anew(
        problem,
        study or default_folder(str(problem)),
        out,
        epochs=epochs,
        learning_rate=learning_rate,
        freeze=freeze,
        tell=say_aside,
        progress=True,
    )
    report_on(run, json=False)


@design.command
@with_trust
def export(
    problem: Path,
    /,
    *ids: str,
    out: Annotated[Path, Option],
    study: Annotated[Path | None, Option] = None,
    drawing: DrawingOptions = DrawingConfig(),
) -> None:
    """Write designs of a study for other programs, with a file that says where they come from.

    Examples: `variform design export problem.toml --out best.csv`,
    `variform design export problem.toml latent-0-17 latent-0-31 --stations x.csv --out foils.dat`

    Args:
        problem: The problem.toml.
        ids: The designs, as results.csv names them; by default the best one of each search.
        out: A .csv or .npy file, or of outlines .dat, .svg, .stl or .dxf: one of these is a file, several are files in
            a folder without the suffix.
        study: Folder of the study; by default runs/ and the name of the problem.
    """
    _designs(problem)
    from variform.runs.handing import hand_over_study

    folder = study or default_folder(str(problem))
    print_handed_over(hand_over_study(problem, folder, out, ids, drawing=drawing))


def _designs(problem: Path) -> Any:
    """The module that does it, which takes long to import, after a look at the file, which does not."""
    from variform.design.problem import read_problem

    read_problem(problem)
    from variform.runs import designs

    return designs


def _print(table: Any) -> None:
    say(f"{table.title}:")
    print_table(table.header, table.rows)
    if table.note:
        say(table.note)


def _show(results: Any, folder: Path) -> None:
    """Print what was found."""
    with kept_in(folder):
        for sentence in results.verdict():
            say(sentence)
        if results.outcomes:
            print_table(*results.table())
        for sentence in results.best_designs():
            say(sentence)
        for note in results.notes():
            say(f"Note: {note}")
        if not results.missing:
            say(f"Explorer: {folder / 'explorer.html'}")
        say(f"Page: {folder / 'report.html'}")
