"""Designs with given responses, for a problem that says what is known and who evaluates."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from variform.config.checks import Count, Natural, checked
from variform.data.dataset import Splits
from variform.design.evaluators import CommandEvaluator, FunctionEvaluator, load_function
from variform.design.problem import Problem, read_problem
from variform.design.target import Found, Record, Target, TargetFinder
from variform.evaluation.tables import show
from variform.runs.design_results import cells_of, write_csv
from variform.runs.study_folder import open_known
from variform.system.files import require_new


@dataclass(frozen=True, eq=False)
class TargetTable:
    """What each way to a target gave, beside how it fared on held-out designs.

    Args:
        targets: What was asked for.
        found: What each way gave.
        records: How it fared; () where that was not asked.
        recommended: The way that fared best; "" likewise.
        data: The known designs.
    """

    targets: tuple[Target, ...]
    found: tuple[Found, ...]
    records: tuple[Record, ...]
    recommended: str
    data: Splits

    def rows(self) -> tuple[list[str], list[list[str]]]:
        """A header and one row a way, for people."""
        asked = [f"{one.response} ({one.low:g} to {one.high:g})" for one in self.targets]
        header = ["way", *asked, "met", "evaluations", "of held-out targets met", "note"]
        hits = {record.way: show(record.hits.to_dict()) for record in self.records}
        rows = []
        for found in self.found:
            got = [_number(found.got.get(target.response)) for target in self.targets]
            met = "yes" if found.miss <= 1 else "no"
            spent = str(found.evaluations)
            rows.append([found.way, *got, met, spent, hits.get(found.way, ""), found.reason])
        return header, rows

    def write(self, path: Path) -> None:
        """The designs of all ways that gave one, as a new table with their responses.

        Raises:
            FileExistsError: where there is a file.
        """
        schema = self.data.schema
        columns = schema.columns if schema.kind == "table" else ()
        names = [target.response for target in self.targets]
        rows = []
        for found in self.found:
            if found.design is not None:
                got = [repr(found.got[name]) for name in names]
                rows.append([found.way, *cells_of(found.design, schema), *got])
        write_csv(path, ["way", *columns, *names], rows, new=True)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.5g}"


@checked
def look(
    path: Path,
    targets: Sequence[str],
    *,
    tries: Count = 8,
    held_out: Natural = 50,
    out: Path | None = None,
) -> TargetTable:
    """Look for designs with given responses in four ways.

    Args:
        path: The problem.toml; its objectives, budget and spaces do not matter here.
        targets: As `name=low..high`; all hold together.
        tries: Evaluations that a way may spend.
        held_out: Held-out designs on whose responses the ways are compared; 0 for none.
        out: Where the table is written too, a new .csv file; None for nowhere.

    Raises:
        FileExistsError: where there is a file, before anything is evaluated.
        ValueError: for a problem without evaluator, for what is no target, and for responses that are not known.
    """
    if not targets:
        raise ValueError("a target must be given; got none. Write for example t/c=0.12..0.13.")
    if out is not None:
        _require_table(out)
    problem = read_problem(path)
    wanted = tuple(Target.of(text) for text in targets)
    model, data = open_known(problem, path.resolve().parent)
    names = tuple(target.response for target in wanted)
    evaluator = _evaluator(problem, path.resolve().parent, names, data)

    def evaluate(designs: np.ndarray) -> dict[str, np.ndarray]:
        answers = evaluator.evaluate(designs)
        responses = {}
        for name in names:
            values = [one.responses[name] if one.valid else np.nan for one in answers]
            responses[name] = np.array(values)
        return responses

    finder = TargetFinder(data.train, evaluate, model, tries=tries)
    found = finder.find(wanted)
    records, recommended = (), ""
    if held_out:
        records, recommended = finder.compare(wanted, data.valid, held_out)
    table = TargetTable(wanted, found, records, recommended, data)
    if out is not None:
        table.write(out)
    return table


def _require_table(path: Path) -> None:
    if path.suffix != ".csv":
        raise ValueError(f"the output must be a .csv file; got {path}. Choose another `path`.")
    require_new(path)


def _evaluator(
    problem: Problem, place: Path, names: tuple[str, ...], data: Splits
) -> FunctionEvaluator | CommandEvaluator:
    if problem.command is not None:
        command = CommandEvaluator(problem.command, problem.timeout, names, data.schema, place)
        command.require_program()
        return command
    if problem.evaluator is None:
        raise ValueError(
            "a target must have somebody who evaluates designs; the problem names no `evaluator` and no `command`. "
            "Name one."
        )
    function = load_function(problem.evaluator, place, "evaluator")
    return FunctionEvaluator(function, names, data.schema)
