"""What was asked and answered in a design study, as the records of its journal say."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from variform.design.evaluators import COMPARED, Answer
from variform.design.journal import Journal
from variform.design.problem import Problem
from variform.design.told import Told

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Asked:
    """A design that a search asked for.

    Args:
        id: Its name, unique in the study.
        batch: With which others it was proposed.
        z: The point, (dim,).
        decoded: The design that the point stands for, (*shape), in the user's units.
        repaired: The same after the repair, which is what is evaluated; equal without one.
        moved: The distance between the two.
        reason: Why it could not be repaired; then it is invalid.
    """

    id: str
    batch: int
    z: Array
    decoded: Array
    repaired: Array
    moved: float = 0.0
    reason: str = ""

    def record(self) -> dict[str, Any]:
        """Plain values; what was not repaired stands there once."""
        values = {"id": self.id, "z": self.z.tolist(), "decoded": self.decoded.ravel().tolist()}
        if not np.array_equal(self.decoded, self.repaired, equal_nan=True):
            values |= {"repaired": self.repaired.ravel().tolist(), "moved": self.moved}
        if self.reason:
            values["reason"] = self.reason
        return values


@dataclass(frozen=True, eq=False)
class Own:
    """A design of the user's own, with its answer.

    Args:
        id: Its name, unique in the study.
        design: (*shape), in the user's units.
        answer: What was told of it.
    """

    id: str
    design: Array
    answer: Answer


@dataclass
class History:
    """The state of a study: everything in it comes from the journal, and goes there first.

    Args:
        journal: The journal.
        shape: Of a design.

    Attributes:
        asked: By the key of a search its designs, in their order.
        answers: By the id of a design what was answered.
        own: Designs of the user's own, in their order.
        preferred: Ids of two designs that were compared, the preferred one first, in their order.
        notes: Other records by their kind, the last of each.
    """

    journal: Journal
    shape: tuple[int, ...]
    asked: dict[str, list[Asked]] = field(default_factory=dict)
    answers: dict[str, Answer] = field(default_factory=dict)
    own: list[Own] = field(default_factory=list)
    preferred: list[tuple[str, str]] = field(default_factory=list)
    notes: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for record in self.journal.records:
            self._take(record)

    def ask(self, search: str, designs: Sequence[Asked]) -> None:
        """Note the designs of a batch, all of them or none."""
        record = {"kind": "asked", "search": search, "batch": designs[0].batch}
        self._write(record | {"designs": [design.record() for design in designs]})

    def answer(self, answers: dict[str, Answer]) -> None:
        """Note answers by the ids of designs."""
        records = [
            {"kind": "answered", "id": id} | _plain(answer) for id, answer in answers.items()
        ]
        self._write(*records)

    def tell(self, designs: Sequence[Own]) -> None:
        """Note designs of the user's own."""
        for one in designs:
            values = {"kind": "own", "id": one.id, "design": one.design.ravel().tolist()}
            self._write(values | _plain(one.answer))

    def prefer(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Note ids of designs that were compared, the preferred one of each pair first."""
        self._write(*({"kind": "preferred", "ids": list(pair)} for pair in pairs))

    def note(self, kind: str, **values: Any) -> dict[str, Any]:
        """Note something that was decided or measured once, and give it as it stands in the journal."""
        self._write({"kind": kind} | values)
        return self.notes[kind]

    def waiting(self, search: str) -> list[Asked]:
        """The designs of a search that have no answer yet."""
        return [one for one in self.asked.get(search, []) if one.id not in self.answers]

    def find(self, id: str) -> Asked | None:
        """The design of an id; None where none was asked by it."""
        every = (one for designs in self.asked.values() for one in designs)
        return next((one for one in every if one.id == id), None)

    def next_batch(self, search: str) -> int:
        """The number of the batch that a search asks for next: the least that is not there."""
        there = {one.batch for one in self.asked.get(search, [])}
        return next(number for number in itertools.count() if number not in there)

    def _write(self, *records: dict[str, Any]) -> None:
        before = len(self.journal.records)
        self.journal.append(*records)
        for record in self.journal.records[before:]:
            self._take(record)

    def _take(self, record: dict[str, Any]) -> None:
        kind = record["kind"]
        if kind == "asked":
            designs = self.asked.setdefault(record["search"], [])
            known = {one.id for one in designs}
            new = (self._asked(values, record["batch"]) for values in record["designs"])
            designs += [one for one in new if one.id not in known]
            designs.sort(key=lambda one: one.batch)
        elif kind == "answered":
            if self.answers.get(record["id"]) in (None, COMPARED):
                self.answers[record["id"]] = _answer(record)
        elif kind == "preferred":
            first, second = record["ids"]
            self.preferred.append((first, second))
            for id in (first, second):
                self.answers.setdefault(id, COMPARED)
        elif kind == "own":
            self.own.append(Own(record["id"], self._design(record["design"]), _answer(record)))
        else:
            self.notes[kind] = record

    def _asked(self, values: dict[str, Any], batch: int) -> Asked:
        decoded = self._design(values["decoded"])
        repaired = self._design(values["repaired"]) if "repaired" in values else decoded
        z = np.array(values["z"], np.float64)
        moved, reason = values.get("moved", 0.0), values.get("reason", "")
        return Asked(values["id"], batch, z, decoded, repaired, moved, reason)

    def _design(self, values: list[float | None]) -> Array:
        return np.array(values, np.float64).reshape(self.shape)  # null becomes NaN


def _plain(answer: Answer) -> dict[str, Any]:
    return {
        "responses": answer.responses,
        "valid": answer.valid,
        "reason": answer.reason,
        "seconds": round(answer.seconds, 6),
    }


def _answer(record: dict[str, Any]) -> Answer:
    return Answer(record["responses"], record["valid"], record["reason"], record["seconds"])


def told(problem: Problem, z: Array, batch: Sequence[int], answers: Sequence[Answer]) -> Told:
    """Points and their answers in the form that optimisers take.

    Args:
        problem: Its objectives and constraints.
        z: (n, dim).
        batch: With which proposal each was asked for.
        answers: Of each.

    Example:
        >>> from variform.design.problem import Objective
        >>> problem = Problem(source="x.csv", objectives=(Objective(response="lift", goal="max"),))
        >>> told(problem, np.zeros((2, 1)), [0, 0], [Answer({"lift": 2.0}), Answer({}, False)]).objectives.tolist()
        [[-2.0], [nan]]
    """
    columns = {
        name: np.array([answer.responses.get(name, np.nan) for answer in answers], np.float64)
        for name in problem.responses
    }
    empty = np.empty((len(answers), 0))
    goals = [one.minimised(columns[one.response])[:, None] for one in problem.objectives]
    limits = [one.violation(columns[one.response])[:, None] for one in problem.constraints]
    return Told(
        z,
        np.concatenate([empty, *goals], axis=1),
        np.concatenate([empty, *limits], axis=1),
        np.array([answer.valid for answer in answers], bool),
        np.array(batch, int),
    )
