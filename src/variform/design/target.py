"""Designs with given responses: four ways to find one, and which of them wins on known targets."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from variform.config.checks import Count, checked
from variform.config.words import listed, quoted
from variform.data.conditions import by_condition
from variform.data.dataset import Dataset
from variform.design.coding import designs_of
from variform.design.spaces import Space, space_of
from variform.evaluation import exploration
from variform.evaluation.standard_error import Estimate

Array = np.ndarray[Any, np.dtype[Any]]
Evaluate = Callable[[Array], Mapping[str, Array]]
"""Responses by name, (n,) each, NaN where a design is invalid, of designs (n, *shape) in the user's units."""

_NEIGHBOURS = 10  # of a linear fit, for each coordinate
_RIDGE = 1e-3


@dataclass(frozen=True)
class Target:
    """A response and the range in which it is wanted.

    Args:
        response: Its name.
        low: The least value that is wanted.
        high: The greatest.

    Raises:
        ValueError: where `low` is not below `high`.

    Example:
        >>> Target.of("t/c=0.12..0.13")
        Target(response='t/c', low=0.12, high=0.13)
    """

    response: str
    low: float
    high: float

    def __post_init__(self) -> None:
        if not -math.inf < self.low < self.high < math.inf:
            raise ValueError(
                f"a range of {quoted(self.response)} must go from a number to a greater one; got {self.low:g} to "
                f"{self.high:g}. Write for example 0.12..0.13."
            )

    @classmethod
    def of(cls, text: str) -> "Target":
        """The target that `name=low..high` says.

        Raises:
            ValueError: for what is not of that form.
        """
        name, _, ends = text.rpartition("=")
        low, dots, high = ends.partition("..")
        try:
            if name and dots:
                return cls(name, float(low), float(high))
        except ValueError as error:
            if "range" in str(error):
                raise
        raise ValueError(
            f"a target must be of the form name=low..high; got {text}. Write for example t/c=0.12..0.13."
        )

    @property
    def centre(self) -> float:
        """The middle of the range."""
        return (self.low + self.high) / 2

    def miss(self, values: Array) -> Array:
        """How far values are from the centre, over half of the range: up to 1 they are in it; infinity for NaN."""
        miss = np.abs(np.asarray(values, np.float64) - self.centre) / ((self.high - self.low) / 2)
        return np.where(np.isnan(miss), np.inf, miss)


@dataclass(frozen=True, eq=False)
class Found:
    """What one way gave for a target.

    Args:
        way: `nearest known`, `conditional, z = 0`, `best of 8` or `latent search`.
        design: The design, (*shape); None where the way abstained.
        got: Its responses by name.
        miss: The greatest of the misses of its responses; up to 1 all are in their ranges.
        evaluations: What was spent.
        reason: Why the way abstained; "" where it did not.
    """

    way: str
    design: Array | None
    got: dict[str, float]
    miss: float
    evaluations: int
    reason: str = ""


@dataclass(frozen=True)
class Record:
    """How a way fares on targets that held-out designs have.

    Args:
        way: Its name.
        hits: Share of the targets that were met.
        evaluations: Spent in the mean for a target.
        abstained: Share of the targets for which it gave nothing.
    """

    way: str
    hits: Estimate
    evaluations: float
    abstained: float


@dataclass(frozen=True, eq=False)
class TargetFinder:
    """Four ways to a design with given responses: known, conditional at z = 0, best of several draws, latent search.

    The nearest known design costs no evaluation. A model that is conditioned on the responses gives the design at z = 0
    under the centres of the ranges, and several draws of which the best is taken. The mean over draws of z is no good
    design where responses are no linear functions: the greatest thickness of a mean is less than the mean of the
    greatest thicknesses. The latent search begins at the nearest known design, fits
    its neighbours by a linear function and takes Newton's steps until a design meets all ranges.

    Args:
        train: The known designs, with the responses that may be asked for, as responses or as conditions.
        evaluate: What gives the responses of designs.
        model: A run, a `Model` or a VAE that is conditioned on what is asked for, or None.
        space: Where the search looks; by default principal components.
        tries: Draws, and points that the search evaluates.
        seed: Seed of the draws.
    """

    train: Dataset
    evaluate: Evaluate
    model: Any = None
    space: Space | None = None
    tries: int = 8
    seed: int = 0

    def find(self, targets: Sequence[Target]) -> tuple[Found, ...]:
        """What each way gives for targets that hold together.

        Raises:
            ValueError: for a response that is not known of the training rows.
        """
        self._require_known(targets)
        return (
            self._nearest(targets),
            self._conditional("conditional, z = 0", targets, 1),
            self._conditional(f"best of {self.tries}", targets, self.tries),
            self._search(targets),
        )

    @checked
    def compare(
        self, targets: Sequence[Target], held_out: Dataset, count: Count = 100
    ) -> tuple[tuple[Record, ...], str]:
        """How each way fares where held-out designs say what can be had, and the way that is recommended.

        Each of `count` held-out rows makes targets of its own responses, in ranges as wide as those of `targets`. The
        way with the most hits is recommended, or the cheapest that two standard errors do not tell from it.

        Args:
            targets: Which responses, and how wide the ranges are.
            held_out: Rows that neither the model nor the space was fitted to.
            count: How many of them, at most; they are spread evenly.
        """
        self._require_known(targets)
        rows = held_out.take(exploration.spread(count, len(held_out)))
        wanted = np.stack([known_values(rows, target.response) for target in targets], 1)
        halves = [(target.high - target.low) / 2 for target in targets]
        found: dict[str, list[Found]] = {}
        for values in wanted[np.isfinite(wanted).all(1)]:
            own = [
                Target(target.response, value - half, value + half)
                for target, value, half in zip(targets, values, halves, strict=True)
            ]
            for result in self.find(own):
                found.setdefault(result.way, []).append(result)
        records = tuple(_record(way, results) for way, results in found.items())
        return records, _recommended(records)

    def _require_known(self, targets: Sequence[Target]) -> None:
        for target in targets:
            if not np.isfinite(self._known(target.response)).any():
                raise ValueError(
                    f"a target must be a response that is known of some rows; {quoted(target.response)} is not. Name "
                    "its column with `response`."
                )

    def _known(self, name: str) -> Array:
        return known_values(self.train, name)

    def _nearest(self, targets: Sequence[Target]) -> Found:
        values = {target.response: self._known(target.response) for target in targets}
        misses = _misses(targets, values)
        best = int(misses.argmin())
        design = designs_of(self.train.take(torch.tensor([best])))[0]
        got = {name: float(known[best]) for name, known in values.items()}
        return Found("nearest known", design, got, float(misses[best]), 0)

    def _conditional(self, way: str, targets: Sequence[Target], count: int) -> Found:
        vae = getattr(self.model, "vae", self.model)
        names = {target.response for target in targets}
        if vae is None or names != {condition.name for condition in vae.schema.conditions}:
            reason = f"no model is conditioned on {listed(sorted(names))}"
            return Found(way, None, {}, math.inf, 0, reason)
        given = {target.response: target.centre for target in targets}
        space = space_of(vae, self.train.take(torch.arange(1)), given=given)
        z = np.zeros((1, space.dim))
        if count > 1:
            z = space.sample(count, np.random.default_rng(self.seed))
        return self._best(way, space.decode(z), targets)

    def _search(self, targets: Sequence[Target]) -> Found:
        """Newton's steps from the nearest known design, the shortest that a linear fit to its neighbours allows.

        A step to an invalid design is halved; a known design whose point is invalid gives way to the next nearest.
        """
        best = Found("latent search", None, {}, math.inf, 0, "every design was invalid")
        starts, back = self._starts(targets)
        centres = np.array([target.centre for target in targets])
        z, step = starts[0], None
        spent = 0
        while spent < self.tries and best.miss > 1:
            found = self._best(best.way, self._space.decode(z[None]), targets)
            spent += 1
            if found.design is not None:
                best = min(best, found, key=lambda result: result.miss)
                got = np.array([found.got[target.response] for target in targets])
                step = self._unit * (back @ (centres - got))
                z = z + step
            elif step is not None:
                step = step / 2
                z = z - step
            else:
                z = starts[min(spent, len(starts) - 1)]
        return dataclasses.replace(best, evaluations=spent)

    def _starts(self, targets: Sequence[Target]) -> tuple[Array, Array]:
        """Points of known designs, the nearest first, (tries, dim), and steps for responses, (dim, responses).

        The latter are the pseudo-inverse of slopes, which are fitted to the neighbours of the nearest known design.
        """
        values = {target.response: self._known(target.response) for target in targets}
        order = np.argsort(_misses(targets, values))
        starts = self._codes[order[: self.tries]]
        wanted = np.column_stack([values[target.response] for target in targets])
        known = np.flatnonzero(np.isfinite(wanted).all(1))
        offsets = (self._codes[known] - starts[0]) / self._unit
        near = np.argsort(np.linalg.norm(offsets, axis=1))[: _NEIGHBOURS * offsets.shape[1]]
        columns = np.column_stack([np.ones(len(near)), offsets[near]])
        ridge = _RIDGE * len(near) * np.eye(columns.shape[1])
        slopes = np.linalg.solve(columns.T @ columns + ridge, columns.T @ wanted[known][near])[1:]
        return starts, np.linalg.pinv(slopes.T, rcond=1e-3)

    def _best(self, way: str, designs: Array, targets: Sequence[Target]) -> Found:
        """The best of some designs, which are evaluated."""
        answers = self.evaluate(designs)
        values = {target.response: np.asarray(answers[target.response]) for target in targets}
        misses = _misses(targets, values)
        best = int(misses.argmin())
        if not math.isfinite(misses[best]):
            return Found(way, None, {}, math.inf, len(designs), "every design was invalid")
        got = {name: float(known[best]) for name, known in values.items()}
        return Found(way, designs[best], got, float(misses[best]), len(designs))

    @cached_property
    def _space(self) -> Space:
        return self.space or space_of(None, self.train, "pca")

    @cached_property
    def _codes(self) -> Array:
        """Points of all known designs."""
        return self._space.encode(designs_of(self.train))

    @cached_property
    def _unit(self) -> Array:
        """Standard deviations of the coordinates, (dim,); 1 for one that never varies."""
        spread = self._codes.std(0)
        return np.where(spread > 0, spread, 1.0)


def known_values(data: Dataset, name: str) -> Array:
    """The numbers that are known of each row under a name, (N,), as a response or as a condition; NaN where none is."""
    if name in data.responses and data.responses[name].dtype.kind not in "US":
        return data.responses[name]
    if data.contexts is not None:
        for condition, part in by_condition(data.schema.conditions, data.contexts):
            if condition.name == name and not condition.categories:
                return part[:, 0].double().numpy() * condition.scale + condition.shift
    return np.full(len(data), np.nan)


def _misses(targets: Sequence[Target], values: Mapping[str, Array]) -> Array:
    """The greatest miss of each of n designs, (n,)."""
    return np.max([target.miss(values[target.response]) for target in targets], axis=0)


def _record(way: str, results: Sequence[Found]) -> Record:
    hits = torch.tensor([result.miss <= 1 for result in results], dtype=torch.float64)
    spent = np.mean([result.evaluations for result in results])
    abstained = np.mean([result.design is None for result in results])
    return Record(way, Estimate.of(hits), float(spent), float(abstained))


def _recommended(records: Sequence[Record]) -> str:
    """The way with the fewest evaluations among those with nearly the most hits."""
    best = max(records, key=lambda record: record.hits.mean).hits
    as_good = [
        record
        for record in records
        if best.mean - record.hits.mean <= 2 * math.hypot(best.se, record.hits.se)
    ]
    return min(as_good, key=lambda record: (record.evaluations, -record.hits.mean)).way
