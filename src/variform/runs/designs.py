"""The folder of a design study: what it holds, how it is opened, and what is done in it.

problem.toml     the problem, as it was read
journal.jsonl    every design that was asked for and every answer, one line each; it only grows
asked-N.csv      designs that wait for answers, of `ask`; a picture of them, asked-N.png, where they can be drawn
results.json     all figures
results.csv      every evaluated design with its responses
report.html      the same as a page
explorer.html    the designs on the map of the run, where the problem has one
"""

import dataclasses
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from variform.config.checks import Count, checked
from variform.config.words import counted, listed
from variform.design.answers import read_answers
from variform.design.coding import designs_of, some_rows
from variform.design.comparison import LOOKED_AT_KNOWN, Comparison
from variform.design.evaluators import (
    load_function,
    write_design,
)
from variform.design.history import Asked
from variform.design.journal import Journal
from variform.design.problem import Problem, from_toml, read_problem
from variform.design.study import require_packages
from variform.evaluation.tables import show
from variform.pages.design import plot_designs
from variform.pages.report import Table
from variform.pages.style import save_figure
from variform.runs.design_results import FILES, Results, cells_of, write_csv
from variform.runs.explorer import write_explorer
from variform.runs.study_folder import comparison_in, open_known
from variform.system import locks
from variform.system.files import replacing, sweep
from variform.system.signals import Stopped

_KNOWN_DRAWN = 200  # beside designs that are asked for, to see what their rows are
_MAY_CHANGE = ("budget", "seeds", "beside", "second", "distance", "timeout", "evaluator", "command")
"""What a problem may have other values of when its study goes on."""


@contextmanager
def opened(path: Path, folder: Path) -> Iterator[Comparison]:
    """A problem with its data and what was asked and answered before; inside, this process alone writes into `folder`.

    Args:
        path: The problem.toml.
        folder: A new or empty folder, or the one that holds the study.

    Raises:
        OSError: when the folder holds something else, or another process writes into it.
        ValueError: for a wrong problem, and for one that is not that of the folder.
    """
    problem = read_problem(path)
    place = path.resolve().parent
    known = folder / "problem.toml"
    if known.is_file() and _has_begun(folder):
        _require_same(from_toml(known.read_bytes(), str(known)), problem, folder)
    require_packages(problem)
    functions = {
        name: load_function(getattr(problem, name), place, name)
        for name in ("evaluator", "second", "repair")
        if getattr(problem, name) is not None
    }
    model, data = open_known(problem, place)
    was_begun = known.is_file() or any(
        folder.glob(".problem-*.toml")
    )  # by a process that was killed
    with locks.claimed(folder, overwrite=was_begun):
        sweep(folder / name for name in ("problem.toml", *FILES))
        comparison = comparison_in(folder, problem, model, data, functions, place)
        with replacing(known) as temporary:
            temporary.write_bytes(path.read_bytes())
        yield comparison


def _has_begun(folder: Path) -> bool:
    """Whether a design was asked for or told: before that any change is welcome."""
    records = Journal(folder / "journal.jsonl").records
    return any(record["kind"] in ("asked", "own") for record in records)


def _require_same(known: Problem, problem: Problem, folder: Path) -> None:
    changed = [
        field.name
        for field in dataclasses.fields(Problem)
        if field.name not in _MAY_CHANGE
        and getattr(known, field.name) != getattr(problem, field.name)
    ]
    if changed:
        raise ValueError(
            f"{folder} must hold the study of the same problem; {listed(changed)} differ from its problem.toml. Choose "
            "another `folder`, or undo the change."
        )


# --- run ----------------------------------------------------------------------------------------------------------


def run(
    path: Path, folder: Path, *, say: Callable[[str], None], table: Callable[[Table], None]
) -> Results:
    """Spend the budget of a problem in every space, or go on where an earlier call stopped, and write the results.

    Args:
        path: The problem.toml.
        folder: Of the study.
        say: Takes a sentence on how far it is after each batch.
        table: Takes the table of surrogates before the results.

    Raises:
        ValueError: as `opened`, and for a problem without evaluator of which nothing was told yet.
    """
    with opened(path, folder) as comparison:
        _begin(comparison)
        if comparison.study.evaluator is None:
            _require_answers(comparison, path)
            _offer(comparison, table)
        else:
            _advance(comparison, path, say, table)
        return _written(comparison, folder, path)


def _advance(
    comparison: Comparison, path: Path, say: Callable[[str], None], table: Callable[[Table], None]
) -> None:
    try:
        for sentence in comparison.run():
            if sentence == LOOKED_AT_KNOWN:
                _offer(comparison, table)
            else:
                say(sentence)
    except KeyboardInterrupt as error:
        message = f"the study stopped; variform design {shlex.quote(str(path))} goes on with it"
        raise Stopped.by(error, message) from error


def _written(comparison: Comparison, folder: Path, path: Path) -> Results:
    results = Results(comparison, path, _without_explorer(comparison, folder))
    results.write(folder, _surrogate_table(comparison))
    return results


def _without_explorer(comparison: Comparison, folder: Path) -> str:
    """Write explorer.html of the study; what is returned says why there is none."""
    run = comparison.model
    if run is None or not comparison.evaluated:
        return "There is no explorer page without a run and a design that was evaluated."
    try:
        numbers = run.evaluation
    except (FileNotFoundError, ValueError) as error:
        return f"There is no explorer page: {error}"
    study = folder.resolve().name, comparison
    return write_explorer(run, comparison.data, numbers, folder=folder, study=study)


def _begin(comparison: Comparison) -> None:
    if "begun" not in comparison.study.history.notes:
        comparison.study.history.note("begun", fingerprint=comparison.data.fingerprint)


def _require_answers(comparison: Comparison, path: Path) -> None:
    history = comparison.study.history
    if not history.answers and not history.own:
        raise ValueError(
            "a problem without evaluator and command is answered by hand, and nothing was told yet. Begin with "
            f"variform design ask {shlex.quote(str(path))}, or name an evaluator."
        )


def _offer(comparison: Comparison, table: Callable[[Table], None]) -> None:
    found = _surrogate_table(comparison)
    if found is not None:
        table(found)


def _surrogate_table(comparison: Comparison) -> Table | None:
    found = comparison.surrogates
    if found is None:
        return None
    names = list(dict.fromkeys(fit.response for fit in found.fits))
    by_space: dict[str, dict[str, str]] = {}
    for fit in found.fits:
        by_space.setdefault(fit.space, {})[fit.response] = show(fit.r2.to_dict())
    rows = [[space, *(fits.get(name, "") for name in names)] for space, fits in by_space.items()]
    title = "R² of each response on held-out known designs, learned from each space"
    return Table(
        title, ["space", *names], rows, f"Recommended is {found.recommended}: {found.reason}"
    )


# --- ask and tell -------------------------------------------------------------------------------------------------


@checked
def ask(path: Path, folder: Path, count: Count | None = None) -> tuple[Path, int, list[str]]:
    """Write designs that wait for answers to a new file: first those asked for before, then new ones.

    Args:
        path: The problem.toml.
        folder: Of the study.
        count: How many; a batch by default.

    Returns:
        The file; how many designs are in it; and what must be said of it.

    Raises:
        ValueError: when the budget is spent.
    """
    with opened(path, folder) as comparison:
        _begin(comparison)
        study, search = comparison.study, comparison.main()[0]
        wanted = count or study.problem.batch
        waiting = study.history.waiting(search.key)
        asked = len(study.history.asked.get(search.key, []))
        new = min(wanted - len(waiting), study.problem.budget - asked)
        if new > 0:
            study.ask(search, new)
        designs = study.history.waiting(search.key)[:wanted]
        if not designs:
            raise ValueError(
                f"the budget must leave evaluations to ask for; all {study.problem.budget} are answered. Raise "
                f"budget in {path.name}."
            )
        target = _write_asked(folder, designs, comparison)
        _draw_asked(target.with_suffix(".png"), designs, comparison)
        notes = []
        if len(designs) < wanted:
            notes.append(f"the budget of {study.problem.budget} leaves {len(designs)} of {wanted}")
        if waiting:
            notes.append(
                f"{min(len(waiting), wanted)} of them were asked for before and wait for an answer"
            )
        return target, len(designs), notes


def _write_asked(folder: Path, designs: Sequence[Asked], comparison: Comparison) -> Path:
    """A new file of designs with empty cells for their responses; of images a .npy file beside it."""
    number = 1 + max(
        (int(item.stem.split("-")[1]) for item in folder.glob("asked-[0-9]*.csv")), default=0
    )
    target = folder / f"asked-{number}.csv"
    schema, responses = comparison.data.schema, comparison.study.problem.responses
    repaired = np.stack([one.repaired for one in designs])
    columns = schema.columns if schema.kind == "table" else ()
    if not columns:
        write_design(target.with_suffix(".npy"), repaired, schema)
    rows = [
        [one.id, *cells_of(design, schema), *("" for _ in responses)]
        for one, design in zip(designs, repaired, strict=True)
    ]
    write_csv(target, ["id", *columns, *responses], rows)
    return target


def _draw_asked(path: Path, designs: Sequence[Asked], comparison: Comparison) -> None:
    """The designs by their ids, where they are images or outlines; first the one that is preferred so far."""
    shown = {one.id: one.repaired for one in designs}
    if comparison.utilities:
        favourite = max(comparison.utilities, key=lambda id: comparison.utilities[id])
        shown = {f"{favourite}, preferred so far": comparison.design(favourite)} | shown
    schema = comparison.data.schema
    known = designs_of(some_rows(comparison.data.train))[:_KNOWN_DRAWN]
    figure = plot_designs(shown, known, schema=schema)
    if figure is not None:
        save_figure(figure, path)


def tell(path: Path, folder: Path, answers: Path) -> tuple[Results, list[str]]:
    """Take the answers of a table, and write the results so far.

    Args:
        path: The problem.toml.
        folder: Of the study.
        answers: The table, as `read_answers` takes it.

    Returns:
        The results, and what must be said of the rows.

    Raises:
        ValueError: as `read_answers`.
    """
    with opened(path, folder) as comparison:
        history = comparison.study.history
        found = read_answers(answers, comparison.study.problem, history, comparison.data.schema)
        _begin(comparison)
        if found.by_id:
            history.answer(found.by_id)
        history.tell(found.own)
        history.prefer(found.preferred)
        taken = f"{counted(len(found.by_id), 'answer')} taken"
        if found.preferred:
            taken = f"{counted(len(found.preferred), 'choice')} taken"
        waiting = sum(len(history.waiting(search)) for search in history.asked)
        notes = [*found.notes, f"{taken}; {counted(waiting, 'design')} still wait"]
        return _written(comparison, folder, path), notes
