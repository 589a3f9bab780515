"""The loop of a design study: propose, decode, repair, note, evaluate, note, until the budget is spent.

What is proposed depends on the journal, the problem and a seed alone. A process that is killed loses at most the
evaluation that was running, and the next one goes on with the designs that would have come.
"""

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from variform.config.checks import checked
from variform.data.schema import Schema
from variform.design.evaluators import (
    Answer,
    Evaluator,
    FunctionEvaluator,
    designs_from,
    rows_of,
)
from variform.design.history import Asked, History, told
from variform.design.optimisers import Optimiser, propose
from variform.design.preference import Choices, pairs_of_ratings, propose_preferred
from variform.design.problem import Problem
from variform.design.spaces import Space
from variform.design.told import Told
from variform.system.extras import missing

Array = NDArray[np.float64]
CHEAP = 1.0
"""Seconds of an evaluation below which other spaces get the same budget."""


_PACKAGES = {"cma": "cma", "gp": "botorch", "pool": "botorch", "preference": "botorch"}


def missing_package(optimiser: str) -> str | None:
    """The package that an optimiser needs and that is not installed; None where all is there."""
    package = _PACKAGES.get(optimiser)
    is_there = package is None or importlib.util.find_spec(package) is not None
    return None if is_there else package


def require_packages(problem: Problem) -> None:
    """Refuse a problem whose optimisers are not installed.

    Raises:
        ValueError: says what to install.
    """
    words = (*problem.spaces, *(problem.beside or ()))
    optimisers = [problem.optimiser, *(["pool"] if "pool" in words else [])]
    for optimiser in optimisers:
        package = missing_package(optimiser)
        if package is not None:
            raise ValueError(
                missing("design", f"the optimiser of {optimiser}", package)
                + " Or use the optimiser random."
            )


@checked
@dataclass(frozen=True)
class Search:
    """A space, an optimiser and a seed, which have a budget of their own.

    Args:
        name: Of the space, or `random`.
        space: Where designs are looked for.
        optimiser: How; `preference` by what a person chose.
        seed: Of its draws.
    """

    name: str
    space: Space
    optimiser: Optimiser | Literal["preference"]
    seed: int

    @property
    def key(self) -> str:
        """What the journal calls it, and its designs begin with."""
        return f"{self.name}-{self.seed}"


@dataclass(frozen=True)
class Repair:
    """A user's function that makes designs follow rules.

    Args:
        function: Takes designs and gives designs, as `rows_of` has them; None changes nothing.
        schema: What designs are.
        distance: The distance of each of n designs from another, (n,).
    """

    function: Callable[[Any], Any] | None
    schema: Schema
    distance: Callable[[Array, Array], Array]

    def __call__(self, designs: Array) -> tuple[Array, list[str]]:
        """The repaired designs (n, *shape), and for each why it could not be; these stay as they are."""
        if self.function is None:
            return designs, [""] * len(designs)
        try:
            repaired = designs_from(
                self.function(rows_of(designs, self.schema)), self.schema, len(designs)
            )
        except (Exception, SystemExit) as error:
            if len(designs) > 1:
                parts = [self(design[None]) for design in designs]
                reasons = [reason for _, (reason,) in parts]
                return np.concatenate([design for design, _ in parts]), reasons
            reason = f"the repair failed; {type(error).__name__}: {error}"
            return designs, [" ".join(reason.split())[:300]]
        return repaired, [""] * len(designs)


@dataclass
class Study:
    """A problem with its history, and all that answers and repairs.

    Args:
        problem: What is asked for.
        history: What was asked and answered.
        evaluator: What answers; None where a person does.
        repair: What comes before it.
        say: Takes a sentence now and then on how far it is.
        known: Gives what is told to a search in a space before its first proposal; None for nothing.
    """

    problem: Problem
    history: History
    evaluator: Evaluator | None
    repair: Repair
    say: Callable[[str], None] = lambda sentence: None
    known: Callable[[Space], Told] | None = None

    def told(self, search: Search) -> Told:
        """What is known to a search when it asks next: earlier answers of its own, and the user's own designs."""
        asked = self._answered(search)
        answers = [self.history.answers[one.id] for one in asked]
        points = [one.z for one in asked]
        batches = [one.batch for one in asked]
        if self.history.own:
            designs = np.stack([one.design for one in self.history.own])
            points += list(search.space.encode(designs))
            answers += [one.answer for one in self.history.own]
            batches += [-1] * len(designs)
        z = np.array(points, np.float64).reshape(len(answers), search.space.dim)
        since = told(self.problem, z, batches, answers)
        if self.known is None or hasattr(search.space, "points"):  # a pool is what is known
            return since
        return self.known(search.space).joined(since)

    def _answered(self, search: Search) -> list[Asked]:
        """The designs of a search that are answered when it asks next."""
        batch = self.history.next_batch(search.key)
        asked = self.history.asked.get(search.key, [])
        is_known = self.history.answers.__contains__
        return [one for one in asked if one.batch < batch and is_known(one.id)]

    def choices(self, search: Search) -> tuple[Choices, list[str]]:
        """What a person chose, by ratings or between pairs, among the designs of a search and those of his own.

        Returns:
            The choices, and the ids of their points. Designs that were told to be invalid are left out.
        """
        answers = self.history.answers
        rated = [(one.id, one.z, answers[one.id]) for one in self._answered(search)]
        if self.history.own:
            codes = search.space.encode(np.stack([one.design for one in self.history.own]))
            own = zip(self.history.own, codes, strict=True)
            rated += [(one.id, z, one.answer) for one, z in own]
        rated = [(id, z, answer) for id, z, answer in rated if answer.valid]
        (goal,) = self.problem.objectives
        values = [answer.responses.get(goal.response, np.nan) for _, _, answer in rated]
        rows = {id: row for row, (id, _, _) in enumerate(rated)}
        pairs = [
            (rows[first], rows[second])
            for first, second in self.history.preferred
            if first in rows and second in rows
        ]
        by_ratings = pairs_of_ratings(-goal.minimised(np.array(values, np.float64)))
        points = np.array([z for _, z, _ in rated], np.float64)
        choices = Choices(
            points.reshape(len(rated), search.space.dim),
            np.concatenate([by_ratings, np.array(sorted(pairs), int).reshape(len(pairs), 2)]),
        )
        return choices, list(rows)

    def ask(self, search: Search, count: int) -> list[Asked]:
        """Have a search propose designs, and note them; fewer than `count` where a pool is empty."""
        z = self._points(search, count)
        if not len(z):
            return []
        designs = self._designs(search, np.asarray(z, np.float64))
        self.history.ask(search.key, designs)
        failed = {one.id: Answer({}, False, one.reason) for one in designs if one.reason}
        if failed:
            self.history.answer(failed)
        return designs

    def _points(self, search: Search, count: int) -> Array:
        waiting = [one.z for one in self.history.waiting(search.key)]
        pending = np.array(waiting, np.float64).reshape(len(waiting), search.space.dim)
        if search.optimiser == "preference":
            choices, _ = self.choices(search)
            return propose_preferred(
                search.space, choices, count, seed=search.seed, pending=pending
            )
        return propose(
            search.optimiser,
            search.space,
            self.told(search),
            count,
            seed=search.seed,
            pending=pending,
            reference=self.problem.reference,
        )

    def _designs(self, search: Search, z: Array) -> list[Asked]:
        decoded = np.asarray(search.space.decode(z), np.float64)
        repaired, reasons = self.repair(decoded)
        moved = self.repair.distance(decoded, repaired)
        batch = self.history.next_batch(search.key)
        return [
            Asked(
                f"{search.key}-{batch + 1}-{row + 1}",
                batch,
                z[row],
                decoded[row],
                repaired[row],
                float(moved[row]),
                reasons[row],
            )
            for row in range(len(z))
        ]

    def evaluate(self, designs: Sequence[Asked]) -> None:
        """Have designs answered, and note each answer as soon as it is there."""
        assert self.evaluator is not None
        at_once = len(designs) if isinstance(self.evaluator, FunctionEvaluator) else 1
        for start in range(0, len(designs), at_once):
            some = designs[start : start + at_once]
            answers = self.evaluator.evaluate(np.stack([one.repaired for one in some]))
            self.history.answer({one.id: answer for one, answer in zip(some, answers, strict=True)})

    def advance(self, search: Search) -> Iterator[int]:
        """Spend the budget of a search; gives how many evaluations are done, after each batch."""
        budget, batch = self.problem.budget, self.problem.batch
        while True:
            waiting = self.history.waiting(search.key)
            done = len(self.history.asked.get(search.key, []))
            if not waiting and done < budget:
                waiting = self.ask(search, min(batch, budget - done))
                if not waiting:
                    return
                waiting = self.history.waiting(search.key)
            elif not waiting:
                return
            if waiting:
                self.evaluate(waiting)
            yield len(self.history.asked[search.key])
