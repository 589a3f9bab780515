"""A few good designs of a study that differ from each other."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from variform.config.checks import Count, NotNegative, checked
from variform.data.outlines import outlines_of
from variform.data.schema import Schema
from variform.design.coding import designs_of, some_rows
from variform.design.comparison import Comparison
from variform.design.history import Asked
from variform.design.problem import Problem
from variform.design.selection import Selection, select, select_front
from variform.runs.design_results import cells_of, write_csv
from variform.runs.designs import opened


@dataclass(frozen=True, eq=False)
class SelectedDesigns:
    """Designs of a study that were selected, the best one first.

    Args:
        ids: What the journal calls them.
        designs: As they were evaluated, (k, *shape), in the user's units.
        responses: Of each, by the names of the problem.
        selection: How far they are from each other, and from what is known.
        problem: What was asked for.
        schema: What designs are.
        unit: Of distances.
        suffix: Of a file for other programs: `.dat` where designs are outlines, else `.csv`, or `.npy` of images.
    """

    ids: tuple[str, ...]
    designs: np.ndarray
    responses: tuple[dict[str, float], ...]
    selection: Selection
    problem: Problem
    schema: Schema
    unit: str
    suffix: str

    def table(self) -> tuple[list[str], list[list[str]]]:
        """A header and one row a design, for people."""
        objectives = self.problem.objectives
        header = [
            "id",
            *(f"{one.response} [{one.unit}]" if one.unit else one.response for one in objectives),
            "to the nearest other",
            "nearest known design",
            "its distance",
            "novelty",
        ]
        rows = []
        for id, responses, (apart, known, *distances) in zip(
            self.ids, self.responses, self._distances(), strict=True
        ):
            values = [f"{responses[one.response]:.5g}" for one in objectives]
            rows.append([id, *values, _number(apart), known, *map(_number, distances)])
        return header, rows

    def notes(self) -> list[str]:
        """What a reader must know of the table."""
        notes = [
            f"Distances are root mean squares over the columns, in {self.unit}; novelty is the distance from the "
            "nearest known design over the usual one of designs that were held out."
        ]
        return [self.selection.note, *notes] if self.selection.note else notes

    def write(self, path: Path) -> None:
        """The designs as a new table, with all responses of the problem and the distances.

        Raises:
            FileExistsError: where there is a file.
            ValueError: for another suffix than .csv.
        """
        if path.suffix != ".csv":
            raise ValueError(
                f"the output must be a .csv file; got {path}. Choose another `path`, or have the designs written by "
                "variform design export."
            )
        schema, names = self.schema, self.problem.responses
        columns = schema.columns if schema.kind == "table" else ()
        rows = []
        for id, design, responses, (apart, known, *distances) in zip(
            self.ids, self.designs, self.responses, self._distances(), strict=True
        ):
            values = [repr(responses[name]) for name in names]
            own = [repr(apart), known, *map(repr, distances)]
            rows.append([id, *values, *own, *cells_of(design, schema)])
        header = ["id", *names, "apart", "nearest", "distance", "novelty", *columns]
        write_csv(path, header, rows, new=True)

    def _distances(self) -> list[tuple[float, str, float, float]]:
        """Of each design: to the nearest other one; the nearest known one, its distance, and the novelty."""
        nearest = self.selection.nearest
        known = nearest.row if nearest.name is None else nearest.name
        columns = (self.selection.apart, known, nearest.distance, nearest.novelty)
        return [
            (float(apart), str(name), float(distance), float(novelty))
            for apart, name, distance, novelty in zip(*columns, strict=True)
        ]


def _number(value: float) -> str:
    return f"{value:.3g}" if np.isfinite(value) else ""


@checked
def select_designs(
    problem: Path,
    folder: Path,
    count: Count = 5,
    *,
    within: NotNegative = 3.0,
    apart: NotNegative | None = None,
) -> SelectedDesigns:
    """Good designs of a study that differ, out of all its searches; of several objectives from the Pareto set.

    Args:
        problem: The problem.toml.
        folder: Of the study.
        count: How many.
        within: Percent of the best value by which a good design may be worse, where there is one objective.
        apart: The least distance between two of them; by default that from which the study counts designs as distinct.

    Raises:
        ValueError: as `opened`, for a folder without a study, and where no design is feasible.
    """
    if not (folder / "journal.jsonl").is_file():
        raise ValueError(
            f"`study` must be the folder of a study of {problem.name}; {folder} holds none. Begin with variform design "
            f"{shlex.quote(str(problem))}, or name its folder."
        )
    with opened(problem, folder) as comparison:
        asked = comparison.evaluated
        least = comparison.distance if apart is None else apart
        selection = _selected(comparison, asked, count, within, least)
        chosen = [asked[place] for place in selection.chosen]
        designs = np.stack([one.repaired for one in chosen])
        return SelectedDesigns(
            tuple(one.id for one in chosen),
            designs,
            tuple(comparison.answer(one.id).responses for one in chosen),
            selection,
            comparison.problem,
            comparison.data.schema,
            comparison.neighbours.unit,
            _suffix(comparison, designs),
        )


def _selected(
    comparison: Comparison, asked: Sequence[Asked], count: int, within: float, apart: float
) -> Selection:
    told = comparison.told_in_order(asked)
    shape = comparison.data.schema.shape
    designs = np.array([one.repaired for one in asked]).reshape(len(asked), *shape)
    objectives = np.where(told.is_feasible[:, None], told.objectives, np.nan)
    neighbours = comparison.neighbours
    if objectives.shape[1] > 1:
        return select_front(designs, objectives, neighbours, count, apart=apart)
    return select(designs, objectives[:, 0], neighbours, count, within=within, apart=apart)


def _suffix(comparison: Comparison, designs: np.ndarray) -> str:
    schema = comparison.data.schema
    known = designs_of(some_rows(comparison.data.train))
    try:
        outlines_of(designs, schema.columns, known=known, layout=schema.outline)
    except ValueError:
        return ".csv" if schema.kind == "table" else ".npy"
    return ".dat"
