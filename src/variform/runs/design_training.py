"""Training a run's model anew on what a design study answered: known designs and new ones, the better the more.

retraining-N/train.csv, valid.csv and test.csv in the folder of the study are what is trained on: the parts of the run
with the new designs among the training rows, with the columns of the data, all responses, a name and a weight.
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from variform.config.checks import Count, Positive, checked
from variform.config.data import DataConfig
from variform.config.run import RunConfig
from variform.config.training import TrainConfig
from variform.data.dataset import PARTS, Dataset
from variform.data.schema import Schema
from variform.design.coding import designs_of
from variform.design.comparison import Comparison
from variform.design.evaluators import Answer
from variform.design.history import told
from variform.design.told import penalised
from variform.design.weighting import rank_weights
from variform.runs.design_results import cells_of, write_csv
from variform.runs.designs import opened
from variform.runs.folder import Run, open_run
from variform.runs.train import train_run
from variform.system.files import new_folder

Array = NDArray[np.float64]

NAME, WEIGHT = "name of the row", "weight of the row"
_SLOWER = 0.1  # than the training that it goes on from, so that codes stay where they are


@checked
def retrain(
    path: Path,
    folder: Path,
    out: Path,
    *,
    epochs: Count = 20,
    learning_rate: Positive | None = None,
    freeze: Literal["none", "encoder"] = "none",
    tell: Callable[[str], None] | None = None,
    progress: bool = False,
    pictures: bool = True,
) -> Run:
    """Train the model of a problem's run anew, with the designs of its study, into a new run.

    Args:
        path: The problem.toml, with a run.
        folder: Of the study.
        out: Of the new run.
        epochs: Passes over the training rows.
        learning_rate: By default a tenth of that of the run.
        freeze: As of `TrainConfig`.
        tell: Takes what must be said of the rows, and of the training before it begins.
        progress, pictures: As `train_run`.

    Raises:
        ValueError: for a problem without a run, a study without answers, and designs that are no rows of a table.
    """
    with opened(path, folder) as comparison:
        run = _run_of(comparison, path)
        found = _new_designs(comparison)
        if not found.designs:
            raise ValueError(
                f"a study must have valid designs that are not known yet to train on; {folder} has none. Run variform "
                f"design {path} first."
            )
        source = _write_rows(comparison, found, folder)
    if tell is not None:
        tell(f"{len(found.designs)} new designs stand among the training rows: {source}")
    data = DataConfig(id=NAME, weight=WEIGHT, response=tuple(found.names))
    train = _training(run.config.train, epochs, learning_rate)
    train = dataclasses.replace(train, freeze=freeze)
    config = RunConfig(
        source=str(source),
        start=str(run.folder),
        data=data,
        train=train,
        evaluation=run.config.evaluation,
    )
    return train_run(config, out, progress=progress, pictures=pictures, tell=tell)


def _training(before: TrainConfig, epochs: int, learning_rate: float | None) -> TrainConfig:
    rate = learning_rate or _SLOWER * before.rate
    return dataclasses.replace(
        before, epochs=epochs, steps=None, learning_rate=rate, warmup=0, patience=0
    )


def _run_of(comparison: Comparison, path: Path) -> Run:
    """The run that is trained anew."""
    run, schema = comparison.model, comparison.data.schema
    if not isinstance(run, Run):
        raise ValueError(
            f"retraining begins with a model; {path.name} has a source and no run. Train one, and name its folder as "
            "run."
        )
    if schema.kind != "table" or schema.conditions:
        raise ValueError(
            f"retraining on a study is for rows of a table without conditions; {run.folder} has others. Write your own "
            "table, and go on from the run with variform train."
        )
    return open_run(run.folder)


@dataclass(frozen=True, eq=False)
class _NewDesigns:
    """Designs of a study that no part of the data holds, each once, and all names of responses."""

    ids: list[str]
    designs: list[Array]
    answers: list[Answer]
    names: list[str]


def _new_designs(comparison: Comparison) -> _NewDesigns:
    history, data = comparison.study.history, comparison.data
    known = {row.tobytes() for part in PARTS for row in designs_of(getattr(data, part))}
    asked = [(one.id, one.repaired, history.answers[one.id]) for one in comparison.evaluated]
    own = [(one.id, one.design, one.answer) for one in history.own]
    found = _NewDesigns(
        [], [], [], list(dict.fromkeys([*data.train.responses, *comparison.problem.responses]))
    )
    for id, design, answer in (*asked, *own):
        key = np.asarray(design, np.float64).tobytes()
        if not answer.valid or key in known:
            continue
        known.add(key)
        found.ids.append(id)
        found.designs.append(design)
        found.answers.append(answer)
    return found


def _write_rows(comparison: Comparison, found: _NewDesigns, folder: Path) -> Path:
    """The tables of all parts, in a new folder."""
    schema, data = comparison.data.schema, comparison.data
    answers = {
        part: comparison.known_answers(part) or [Answer({}, False)] * len(getattr(data, part))
        for part in PARTS
    }
    training = [*answers["train"], *found.answers]
    values = _minimised(comparison, [*training, *answers["valid"], *answers["test"]])
    reference = values[: len(training)]
    weights = np.split(
        rank_weights(values, reference), [len(training), len(training) + len(data.valid)]
    )
    number = 1 + len(list(folder.glob("retraining-*")))
    target = folder / f"retraining-{number}"
    header = [NAME, WEIGHT, *schema.columns, *found.names]
    with new_folder(target) as place:
        for part, own in zip(PARTS, weights, strict=True):
            rows = _known_rows(getattr(data, part), answers[part], found.names, schema)
            if part == "train":
                rows += _rows(found.ids, found.designs, found.answers, found.names, schema)
            weighted = [
                [name, repr(float(weight)), *cells]
                for weight, (name, *cells) in zip(own, rows, strict=True)
            ]
            write_csv(place / f"{part}.csv", header, weighted)
    return target


def _minimised(comparison: Comparison, answers: Sequence[Answer]) -> Array:
    """One number a design, the less the better, as optimisers see it; NaN where nothing is known of it."""
    problem = comparison.problem
    points = told(problem, np.zeros((len(answers), 1)), [0] * len(answers), answers)
    values = penalised(points, points)
    return np.where(points.is_valid, values, np.nan)


def _known_rows(
    rows: Dataset, answers: Sequence[Answer], names: Sequence[str], schema: Schema
) -> list[list[str]]:
    index = range(len(rows)) if rows.index is None else rows.index.tolist()
    ids = [str(name) for name in (index if rows.names is None else rows.names)]
    cells = _rows(ids, designs_of(rows), answers, names, schema)
    first = 1 + len(schema.columns)
    for place, row in enumerate(cells):
        for column, name in enumerate(names, first):
            if name in rows.responses:
                row[column] = _cell(rows.responses[name][place].item())
    return cells


def _rows(
    ids: Sequence[str],
    designs: Any,
    answers: Sequence[Answer],
    names: Sequence[str],
    schema: Schema,
) -> list[list[str]]:
    """Name, cells of the columns and responses of designs."""
    return [
        [id, *cells_of(design, schema), *(_cell(answer.responses.get(name)) for name in names)]
        for id, design, answer in zip(ids, designs, answers, strict=True)
    ]


def _cell(value: float | str | None) -> str:
    if value is None or value != value:  # NaN is not equal to itself
        return ""
    return value if isinstance(value, str) else repr(value)
