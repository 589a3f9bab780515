"""A design study as its folder holds it: the problem, what was asked and answered, and the known designs."""

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from variform.config.data import DataConfig
from variform.config.words import with_fields
from variform.data.dataset import Splits
from variform.data.reading import read
from variform.design.comparison import Comparison
from variform.design.evaluators import CommandEvaluator, FunctionEvaluator
from variform.design.history import History
from variform.design.journal import Journal
from variform.design.neighbours import Neighbours
from variform.design.problem import Problem, from_toml
from variform.design.study import Repair, Study
from variform.runs.folder import Run, open_run


def comparison_in(
    folder: Path,
    problem: Problem,
    model: Any,
    data: Splits,
    functions: Mapping[str, Callable[..., Any]],
    place: Path,
    *,
    field: str = "folder",
) -> Comparison:
    """A problem with its data and what stands in the journal of a folder.

    Args:
        folder: Of the study.
        problem: What is asked for.
        model: What has a latent space; None without a run.
        data: The known designs.
        functions: By the names of the problem's fields what evaluates and repairs.
        place: Where commands run.
        field: What the user calls the folder.

    Raises:
        ValueError: for other data than those the study began with.
    """
    schema = data.schema
    evaluators: dict[str, Any] = {
        name: FunctionEvaluator(functions[name], problem.responses, schema)
        for name in ("evaluator", "second")
        if name in functions
    }
    if problem.command is not None:
        command = CommandEvaluator(
            problem.command, problem.timeout, problem.responses, schema, place
        )
        command.require_program()
        evaluators["evaluator"] = command
    history = History(Journal(folder / "journal.jsonl"), schema.shape)
    _require_same_data(history, data, f"choose another `{field}` than {folder}")
    neighbours = Neighbours(data.train, data.valid)

    def distance(designs: np.ndarray, others: np.ndarray) -> np.ndarray:
        return np.linalg.norm(neighbours.points(designs) - neighbours.points(others), axis=1)

    repair = Repair(functions.get("repair"), schema, distance)
    study = Study(problem, history, evaluators.get("evaluator"), repair)
    return Comparison(study, data, model, neighbours, evaluators.get("second"))


def open_known(problem: Problem, place: Path) -> tuple[Any, Splits]:
    """The run of a problem, if it has one, and the known designs."""
    if problem.run is not None:
        run = open_run(place / problem.run)
        return run, run.data()
    assert problem.source is not None  # a problem has one of the two
    own = place / problem.source
    source = str(own) if own.exists() else problem.source
    try:
        return None, read(source, problem.data)
    except ValueError as error:
        # What is said of options are keys of the problem here.
        raise ValueError(with_fields(str(error), _as_key)) from error


def _as_key(name: str, value: str) -> str | None:
    """A field of the data as the table [data] of a problem has it; None where it is no such field."""
    if name not in {field.name for field in dataclasses.fields(DataConfig)}:
        return None
    if not value:
        return f"{name} in [data]"
    text = value.removeprefix("=")
    if text.startswith("["):
        return f"{name} = {text} in [data]"
    return f"{name} = {json.dumps(text.strip(chr(39)), ensure_ascii=False)} in [data]"


def _require_same_data(history: History, data: Splits, remedy: str) -> None:
    noted = history.notes.get("begun")
    if noted is not None and noted["fingerprint"] != data.fingerprint:
        raise ValueError(
            f"{data.schema.source} must hold the designs that the study began with; it holds others, or has changed "
            f"since. Bring the old data back, or {remedy}."
        )


def study_of(run: Run, data: Splits, folder: Path) -> Comparison:
    """A study to look at, whose evaluator is not asked any more.

    Args:
        run: The run whose data the study is of.
        data: Its data.
        folder: What `variform design` wrote.

    Raises:
        ValueError: for a folder without a study, one of other data, and one without an answer.
    """
    place = folder / "problem.toml"
    if not place.is_file() or not (folder / "journal.jsonl").is_file():
        raise ValueError(
            f"`study` must be a folder that variform design wrote; {folder} has no problem.toml and journal.jsonl. "
            "Name another folder."
        )
    problem = dataclasses.replace(from_toml(place.read_bytes(), str(place)), command=None)
    comparison = comparison_in(folder, problem, run, data, {}, folder, field="study")
    if not comparison.evaluated:
        raise ValueError(
            f"`study` must hold an evaluated design at least; {folder} holds none. Evaluate designs first."
        )
    return comparison
