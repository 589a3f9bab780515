"""Designs of a run for other programs, with where they come from."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from variform.config.drawing import DrawingConfig
from variform.config.words import listed
from variform.data.points import read_stations
from variform.design.comparison import Comparison
from variform.design.evaluators import Answer
from variform.design.handover import HandedOver, Origin, export_designs
from variform.design.history import Asked
from variform.design.neighbours import Neighbours
from variform.export.rows import context_cells
from variform.runs.design_results import Results
from variform.runs.designs import opened
from variform.runs.folder import Run, schema_of
from variform.runs.records import read_data

Array = np.ndarray[Any, np.dtype[Any]]


def hand_over_designs(
    run: Run,
    designs: Array,
    path: str | Path,
    *,
    drawing: DrawingConfig = DrawingConfig(),
    names: Sequence[str] = (),
    space: str = "latent",
    points: Array | None = None,
    seed: int | None = None,
    context: Tensor | None = None,
    responses: Mapping[str, Array] | None = None,
    flags: Sequence[Sequence[str]] = (),
) -> HandedOver:
    """Write designs that came from a run, and beside them the run, their points and their nearest known designs.

    Args:
        run: The run, by whose data the known designs are.
        designs: (n, *shape), in the user's units.
        path: As of `export_designs`, and so are `names`.
        drawing: What outlines need.
        space, points, seed, responses, flags: As of `Origin`.
        context: What a conditional model was given, (n, context_dim) or (context_dim,).

    Raises:
        FileExistsError, ValueError: as `export_designs`.
    """
    schema = schema_of(run.vae)
    neighbours, notes = None, []
    try:
        splits = run.data()
        neighbours = Neighbours(splits.train, splits.test)
    except (ValueError, OSError) as error:
        notes.append(f"the nearest known designs cannot be said: {error}")
    given = ((), ())
    if context is not None:
        given = context_cells(schema, context.expand(len(designs), -1))
    origin = Origin(
        made_by=_identity(run.folder),
        space=space,
        points=points,
        seed=seed,
        responses=responses or {},
        given=given,
        neighbours=neighbours,
        flags=flags,
        notes=notes,
    )
    return export_designs(
        designs,
        path,
        schema=schema,
        names=names,
        stations=None if drawing.stations is None else read_stations(drawing.stations),
        unit=drawing.unit,
        depth=drawing.depth,
        origin=origin,
    )


def hand_over_study(
    problem: Path,
    folder: Path,
    path: str | Path,
    ids: Sequence[str] = (),
    *,
    drawing: DrawingConfig = DrawingConfig(),
) -> HandedOver:
    """Write designs of a design study as they were evaluated, with their points and responses.

    Args:
        problem: The problem.toml.
        folder: Of the study.
        path: As of `export_designs`.
        ids: What the journal calls the designs; by default the best one of each search.
        drawing: What outlines need.

    Raises:
        FileExistsError, ValueError: as `export_designs`, and for an id that the study does not have.
    """
    with opened(problem, folder) as comparison:
        history, searches = comparison.study.history, {}
        for key, designs in history.asked.items():
            searches |= {design.id: (key, design) for design in designs}
        if not ids:
            ids = list(
                dict.fromkeys(one.id for one in Results(comparison, problem).winners.values())
            )
        odd = [one for one in ids if one not in searches]
        if odd or not ids:
            raise ValueError(
                f"designs must be some that {folder} asked for, and results.csv names; got "
                f"{listed(odd) or 'none, and no search has found a feasible one'}. Choose others."
            )
        chosen = [searches[one][1] for one in ids]
        answers = [_answer(comparison, one) for one in ids]
        names = comparison.problem.responses
        asked_for = (*comparison.problem.constraints, *comparison.problem.objectives)
        responses = {
            name: np.array([_response(answer, name) for answer in answers]) for name in names
        }
        made_by = {"problem": problem.name, "data": comparison.data.fingerprint}
        made_by |= {"searches": {one: searches[one][0] for one in ids}}
        if comparison.problem.run is not None:
            made_by |= _identity(problem.resolve().parent / comparison.problem.run)
        origin = Origin(
            made_by=made_by,
            points=[design.z for design in chosen],
            responses=responses,
            units={one.response: one.unit for one in asked_for},
            neighbours=comparison.neighbours,
            flags=[_flags(*pair) for pair in zip(chosen, answers, strict=True)],
        )
        return export_designs(
            np.stack([design.repaired for design in chosen]),
            path,
            schema=comparison.data.schema,
            names=list(ids),
            stations=None if drawing.stations is None else read_stations(drawing.stations),
            unit=drawing.unit,
            depth=drawing.depth,
            origin=origin,
        )


def _answer(comparison: Comparison, id: str) -> Answer | None:
    return comparison.answer(id) if id in comparison.study.history.answers else None


def _response(answer: Answer | None, name: str) -> float:
    return math.nan if answer is None else answer.responses.get(name, math.nan)


def _flags(design: Asked, answer: Answer | None) -> list[str]:
    """What must be said of a design of a study."""
    flags = []
    if design.moved:
        flags.append(f"the repair moved it by {design.moved:.3g} from what its point stands for")
    if answer is None:
        flags.append("not evaluated")
    elif not answer.valid:
        flags.append(f"invalid: {answer.reason}")
    return flags


def _identity(folder: Path) -> dict[str, str]:
    """Which run made something: its name, the SHA-256 of its model file, and the fingerprint of its data."""
    identity = {"run": folder.resolve().name}
    identity["model"] = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    if (folder / "data.json").is_file():
        identity["data"] = read_data(folder / "data.json")["fingerprint"]
    return identity
