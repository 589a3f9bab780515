"""What a design study lays side by side: its searches, what the known designs reach, and which space is learnable."""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from variform.config.words import listed
from variform.data.dataset import Dataset, Splits
from variform.design.coding import designs_of
from variform.design.evaluators import Answer, Evaluator
from variform.design.history import Asked, told
from variform.design.neighbours import Neighbours
from variform.design.outcomes import Outcome, outcome
from variform.design.preference import Choices, fit_preference, foretold
from variform.design.problem import UTILITY, Problem
from variform.design.spaces import Space, space_of
from variform.design.study import CHEAP, Search, Study, missing_package
from variform.design.surrogate import Fit, Surrogates, compare_surrogates
from variform.design.told import Told, non_dominated
from variform.design.validity import ValidityScores, score_validity
from variform.evaluation import exploration
from variform.evaluation.standard_error import Estimate

Array = NDArray[np.float64]

PCA_DIMS = (4, 6, 8, 10)
LOOKED_AT_KNOWN = "known designs are looked at"
"""What `Comparison.run` says when it is known what can be learned of responses."""
BESIDE = ("pca", "raw", "pool", "random")
_SECONDS = 60.0  # that known designs may take
_MOST_KNOWN = 2_000
_TIMED = 10  # known designs that show how long an evaluation takes
_MOST_OF_A_KIND = 200  # valid or invalid designs that validity is learned from
_MOST_DISTANCES = 2_000  # rows of which a nearest neighbour is looked for


@dataclass
class Comparison:
    """A study with the data it begins from: its spaces, and what stands beside the search.

    Args:
        study: The loop.
        data: The known designs.
        model: What has a latent space; None without a run.
        neighbours: The known designs by their distance.
        second: A second evaluator; None without.
    """

    study: Study
    data: Splits
    model: Any
    neighbours: Neighbours
    second: Evaluator | None = None
    _spaces: dict[str, Space] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.problem.start == "known":
            self.study.known = cache(self._known_in)

    @property
    def problem(self) -> Problem:
        """What is asked for, of a preference with the utility behind it as the objective."""
        return self.study.problem.laid_out

    # --- spaces and searches ---

    def space(self, word: str) -> Space:
        """The space that a word of the problem names: latent, raw, pool or pca-6."""
        if word not in self._spaces:
            kind, _, dim = word.partition("-")
            number = int(dim) if dim else None
            given = self.problem.given if kind == "latent" else {}
            self._spaces[word] = space_of(self.model, self.data.train, kind, number, given=given)  # pyrefly: ignore
        return self._spaces[word]

    @cached_property
    def main_spaces(self) -> list[Space]:
        """The spaces that the problem asks for, or that are recommended; noted when they are first asked for."""
        if self.problem.spaces:
            return self._named(self.problem.spaces)
        noted = self.study.history.notes.get("space")
        if noted is None:
            noted = self.study.history.note("space", name=self._default_space())
        return self._named([noted["name"]])

    def _default_space(self) -> str:
        if self._has_objectives_in_data:
            found = self.surrogates
            if found is not None:
                return found.recommended
        return "pca" if self.model is None else "latent"

    def _named(self, words: Sequence[str]) -> list[Space]:
        """The spaces of words, with `pca` as all of its dimensions; each once."""
        spaces: dict[str, Space] = {}
        for word in words:
            several = [f"pca-{dim}" for dim in self._pca_dims] if word == "pca" else [word]
            for one in several:
                space = self.space(one)
                spaces.setdefault(space.name, space)
        return list(spaces.values())

    @cached_property
    def _pca_dims(self) -> list[int]:
        vae = getattr(self.model, "vae", self.model)
        of_model = {vae.latent_dim} if vae is not None else set()
        most = max(1, min(len(self.data.train) - 1, math.prod(self.data.schema.shape)))
        return sorted({min(dim, most) for dim in {*PCA_DIMS, *of_model}})

    def main(self) -> list[Search]:
        """The searches that the problem asks for."""
        problem = self.problem
        return [
            Search(space.name, space, problem.optimiser, seed)
            for space in self.main_spaces
            for seed in self._seeds
        ]

    def beside(self) -> list[Search]:
        """The searches that stand beside them: those that the problem names, or the usual ones if it is cheap."""
        words = self.problem.beside
        if words is None:
            words = self._usual_beside if self.is_cheap else ()
        main = self.main_spaces
        spaces = self._named([word for word in words if word != "random"])
        others = [space for space in spaces if space.name not in {one.name for one in main}]
        searches = [
            Search(space.name, space, self.problem.optimiser, seed)
            if space.name != "pool"
            else Search("pool", space, "pool", seed)
            for space in others
            for seed in self._seeds
        ]
        if "random" in words and self.problem.optimiser != "random":
            searches += [Search("random", main[0], "random", seed) for seed in self._seeds]
        return searches

    @property
    def _usual_beside(self) -> tuple[str, ...]:
        """With the latents of a run, and without the pool where the package that searches it is not there."""
        has_latents = self.model is not None and (
            not self.data.schema.conditions or bool(self.problem.given)
        )
        words = ("latent", *BESIDE) if has_latents else BESIDE
        return tuple(word for word in words if word != "pool" or missing_package("pool") is None)

    @property
    def cut(self) -> dict[str, str]:
        """The spaces that the problem names and that have fewer components, with the names of what is searched."""
        words = (*self.problem.spaces, *(self.problem.beside or ()))
        found = {word: self.space(word).name for word in words if word.startswith("pca-")}
        return {word: name for word, name in found.items() if word != name}

    @property
    def _seeds(self) -> range:
        return range(self.problem.seed, self.problem.seed + self.problem.seeds)

    # --- the run ---

    @property
    def is_cheap(self) -> bool:
        """Whether an evaluation takes less than a second, as the first batch showed."""
        noted = self.study.history.notes.get("seconds")
        return noted is not None and noted["median"] < CHEAP

    def run(self) -> Iterator[str]:
        """Spend every budget; gives a sentence on how far it is after each batch."""
        main = self.main()
        if self.problem.start == "known" and not self._answered_in_data:
            self._time_known()
            self._answer_known()
        yield from self._advance(main[:1], batches=1)
        yield from self._looked_at_first_batch(main[0])
        if self.is_cheap and not self._answered_in_data:
            self._answer_known()
        yield LOOKED_AT_KNOWN
        yield from self._advance([*main, *self.beside()])

    def _advance(self, searches: Sequence[Search], batches: int | None = None) -> Iterator[str]:
        """Of a dear evaluator every batch is worth a sentence, of a cheap one the end of a search."""
        budget = self.problem.budget
        for search in searches:
            for number, done in enumerate(self.study.advance(search), 1):
                if done >= budget or not self.is_cheap:
                    yield f"{search.name}, seed {search.seed}: {done} of {budget} evaluations"
                if number == batches:
                    break

    def _looked_at_first_batch(self, search: Search) -> Iterator[str]:
        """Note how long an evaluation takes, once; gives a sentence where all of the first were invalid."""
        first = [one for one in self.study.history.asked[search.key] if one.batch == 0]
        answers = [self.study.history.answers[one.id] for one in first]
        if "seconds" not in self.study.history.notes:
            seconds = [answer.seconds for answer in answers if answer.seconds > 0] or [0.0]
            self.study.history.note("seconds", median=float(np.median(seconds)))
        if not any(answer.valid for answer in answers):
            yield f"all designs of the first batch are invalid, the first because: {answers[0].reason}"

    # --- known designs ---

    @cached_property
    def _answered_in_data(self) -> bool:
        """Whether the data have every response as a column of numbers."""
        return self._in_data(self.problem.responses)

    @property
    def _has_objectives_in_data(self) -> bool:
        """Whether what can be learned of them is known before anything is evaluated."""
        return self._in_data([objective.response for objective in self.problem.objectives])

    def _in_data(self, names: Sequence[str]) -> bool:
        """Whether the data have columns of numbers of these names."""
        found = self.data.train.responses
        kinds = [found[name].dtype.kind for name in names if name in found]
        return len(kinds) == len(names) and not set(kinds) & set("US")

    def _time_known(self) -> None:
        """Note how long an evaluation takes, as a few known designs show it."""
        if "seconds" in self.study.history.notes or self.study.evaluator is None:
            return
        rows = self.data.train
        designs = designs_of(rows.take(exploration.spread(_TIMED, len(rows))))
        seconds = [answer.seconds for answer in self.study.evaluator.evaluate(designs)]
        self.study.history.note("seconds", median=float(np.median(seconds)))

    def _answer_known(self) -> None:
        """Have known designs evaluated, training rows and test rows, as many as a minute allows, and note it."""
        seconds = self.study.history.notes["seconds"]["median"]
        most = int(min(_MOST_KNOWN, _SECONDS / max(seconds, 1e-9)))
        for part, share in (("train", 0.75), ("test", 0.25)):
            rows = getattr(self.data, part)
            if f"known {part}" in self.study.history.notes or not len(rows):
                continue
            places = exploration.spread(max(1, int(share * most)), len(rows))
            designs = designs_of(rows.take(places))
            assert self.study.evaluator is not None
            answers = self.study.evaluator.evaluate(designs)
            columns = {
                name: [
                    answer.responses.get(name, math.nan) if answer.valid else math.nan
                    for answer in answers
                ]
                for name in self.problem.responses
            }
            self.study.history.note(f"known {part}", places=places.tolist(), responses=columns)

    def _known_in(self, space: Space) -> Told:
        """What was known before the study, where it lies in a space."""
        known = self.known
        if known is None or not known.is_valid.any():
            raise ValueError(
                "searches that begin with known designs must have their responses; the data have none of "
                f"{listed(self.problem.responses)}, and no evaluator gives them in less than a second. Read these "
                'columns as responses, or leave start = "known" out of the problem.'
            )
        rows = torch.from_numpy(np.flatnonzero(known.is_valid))
        z = space.encode(designs_of(self.data.train.take(rows)))
        valid = known.take(known.is_valid)
        return dataclasses.replace(valid, z=z, batch=np.full(len(z), -1))

    def _with_responses(self, part: str) -> Dataset:
        """Known designs of a part with the responses that are known of them."""
        rows: Dataset = getattr(self.data, part)
        noted = self.study.history.notes.get(f"known {part}")
        if self._answered_in_data or noted is None:
            return rows
        responses = {}
        for name, values in noted["responses"].items():
            column = np.full(len(rows), np.nan)
            column[noted["places"]] = np.array(values, np.float64)
            responses[name] = column
        return dataclasses.replace(rows, responses=responses)

    @property
    def known(self) -> Told | None:
        """What is known of the training rows, a row each; None where nothing is."""
        answers = self.known_answers("train")
        if answers is None:
            return None
        empty = np.zeros((len(answers), 1))
        return told(self.problem, empty, [0] * len(answers), answers)

    def known_answers(self, part: str) -> list[Answer] | None:
        """What is known of the rows of a part, as if an evaluator had said it; None where nothing is."""
        rows = self._with_responses(part)
        if not set(self.problem.responses) <= set(rows.responses):
            return None
        columns = [rows.responses[name] for name in self.problem.responses]
        return [
            Answer.of(
                dict(zip(self.problem.responses, values, strict=True)), self.problem.responses
            )
            for values in np.stack(columns, axis=1)
        ]

    @property
    def surrogates(self) -> Surrogates | None:
        """How well the responses can be learned in each space; None where too few known designs have them."""
        noted = self.study.history.notes.get("surrogates")
        if noted is None:
            found = self._compared_surrogates()
            if found is None:
                return None
            noted = self.study.history.note("surrogates", **dataclasses.asdict(found))
        fits = [_fit(fit) for fit in noted["fits"]]
        return Surrogates(tuple(fits), noted["recommended"], noted["reason"])

    def _compared_surrogates(self) -> Surrogates | None:
        words = ["raw", "pca"] if self.model is None else ["latent", "pca", "raw"]
        train, held_out = self._with_responses("train"), self._with_responses("test")
        names = [name for name in self.problem.responses if name in train.responses]
        train, held_out = (_with_only(rows, names) for rows in (train, held_out))
        try:
            return compare_surrogates(self._named(words), train, held_out, seed=self.problem.seed)
        except ValueError:
            return None

    # --- validity ---

    @property
    def validity(self) -> ValidityScores | None:
        """How well the answers so far say which designs are valid, noted; None before the first answer."""
        designs = self.evaluated
        if not designs:
            return None
        noted = self.study.history.notes.get("validity")
        if noted is None or noted["evaluations"] != len(designs):
            found = dataclasses.asdict(self._scored_validity(designs))
            noted = self.study.history.note("validity", evaluations=len(designs), **found)
        estimates = (_estimate(noted[name]) for name in ("learned", "density"))
        return ValidityScores(noted["valid"], noted["invalid"], *estimates)

    def _scored_validity(self, designs: Sequence[Asked]) -> ValidityScores:
        """By the columns, and by the density of the space that is asked for first, at the codes of the designs."""
        is_valid = self.told_in_order(designs).is_valid
        places = np.concatenate([_some(is_valid), _some(~is_valid)])
        rows = np.stack([designs[place].repaired for place in places])
        features = self.space("raw").encode(rows)
        usable = np.isfinite(features.astype(np.float32)).all(1)  # a repair may give anything
        space = self.main_spaces[0]
        return score_validity(
            features[usable],
            space.log_density(space.encode(rows[usable])),
            is_valid[places][usable],
            seed=self.problem.seed,
        )

    # --- distances ---

    @cached_property
    def distance(self) -> float:
        """From where designs are distinct."""
        if self.problem.distance is not None:
            return self.problem.distance
        from scipy.spatial import KDTree  # here, for it takes a tenth of a second

        some = exploration.spread(_MOST_DISTANCES, len(self.data.train))
        rows = self.neighbours.points(designs_of(self.data.train.take(some)))
        nearest = KDTree(rows).query(rows, k=2)[0][:, 1] if len(rows) > 1 else np.ones(1)
        apart = nearest[nearest > 0]
        return float(np.median(apart)) if len(apart) else 0.0

    # --- preference ---

    @cached_property
    def choices(self) -> tuple[Choices, list[str]] | None:
        """What a person chose, and the ids of the designs; None where no preference is looked for."""
        return self.study.choices(self.main()[0]) if self.study.problem.is_preference else None

    @cached_property
    def utilities(self) -> dict[str, float]:
        """By the ids of designs the utility behind the choices, from 0 of the least preferred one; {} without."""
        if self.choices is None:
            return {}
        choices, ids = self.choices
        values = np.zeros(len(ids))
        if len(choices.pairs):
            learned = fit_preference(choices.z, choices.pairs, self.main_spaces[0].box)
            values = learned.utility(choices.z)
            values = values - values.min()
        return dict(zip(ids, values.tolist(), strict=True))

    @cached_property
    def foretold(self) -> Estimate | None:
        """The share of choices that others foretell; None where it is not known, or no preference is looked for."""
        if self.choices is None:
            return None
        return foretold(self.choices[0], self.main_spaces[0].box, seed=self.problem.seed)

    def design(self, id: str) -> Array:
        """A design that was asked for, or one of the user's own, (*shape) in the user's units."""
        asked = self.study.history.find(id)
        if asked is not None:
            return asked.repaired
        return next(one.design for one in self.study.history.own if one.id == id)

    def answer(self, id: str) -> Answer:
        """The answer of a design that was asked for, as `explained`."""
        return self.explained(id, self.study.history.answers[id])

    def explained(self, id: str, answer: Answer) -> Answer:
        """The answer of a design, where a preference is looked for with the utility behind it."""
        if id not in self.utilities:
            return answer
        responses = answer.responses | {UTILITY: self.utilities[id]}
        return dataclasses.replace(answer, responses=responses)

    # --- outcomes ---

    def answered(self, search: Search) -> list[Asked]:
        """The designs of a search that have answers, in their order."""
        asked = self.study.history.asked.get(search.key, [])
        return [one for one in asked if one.id in self.study.history.answers]

    @property
    def evaluated(self) -> list[Asked]:
        """The designs of all searches that were ever asked for and have answers."""
        history = self.study.history
        every = (one for designs in history.asked.values() for one in designs)
        return [one for one in every if one.id in history.answers]

    def told_in_order(self, designs: Sequence[Asked]) -> Told:
        """The answers of designs, in the form of optimisers."""
        answers = [self.answer(one.id) for one in designs]
        z = np.zeros((len(answers), 1))
        return told(self.problem, z, [one.batch for one in designs], answers)

    def outcome(self, search: Search, known: Told | None) -> Outcome:
        """What a search found."""
        designs = self.answered(search)
        rows = self.neighbours.points(np.stack([one.repaired for one in designs]))
        return outcome(
            search.name,
            search.seed,
            self.told_in_order(designs),
            rows,
            self.distance,
            known=known,
            reference=self.problem.reference,
        )

    def signed(self, values: Array) -> Array:
        """Values of the best so far in the sign of the objective; a hypervolume, which is maximised, in its own."""
        if self.problem.reference is not None:
            return -values
        return self.problem.objectives[0].minimised(values)

    def by_second(self, design: Asked) -> Answer | None:
        """What the second evaluator says of a design; noted, so that it is asked once."""
        if self.second is None:
            return None
        kind = f"second {design.id}"
        noted = self.study.history.notes.get(kind)
        if noted is None:
            (answer,) = self.second.evaluate(design.repaired[None])
            noted = self.study.history.note(
                kind, responses=answer.responses, valid=answer.valid, reason=answer.reason
            )
        return Answer(noted["responses"], noted["valid"], noted["reason"])

    def pareto(self, searches: Sequence[Search]) -> list[dict[str, Any]]:
        """The feasible designs of searches that no other one dominates, each once."""
        designs = [one for search in searches for one in self.answered(search)]
        answers = self.told_in_order(designs)
        places = np.flatnonzero(answers.is_feasible)
        front = places[non_dominated(answers.objectives[places])]
        return [
            {
                "id": designs[place].id,
                "responses": self.answer(designs[place].id).responses,
            }
            for place in front
        ]

    def known_place(self, row: int) -> int:
        """The place among the training rows of the one that has a number in the source."""
        index = self.data.train.index
        return row if index is None else int((index == row).nonzero()[0])

    def known_design(self, row: int) -> Array:
        """The training row of a number in the source, (*shape) in the user's units."""
        return designs_of(self.data.train.take(torch.tensor([self.known_place(row)])))[0]

    def name_of(self, place: int) -> str:
        """What a user calls a training row, or its number in the source."""
        beside = self.data.train.beside(torch.tensor([place]))
        if beside["names"] is not None:
            return str(beside["names"][0])
        return str(place if beside["index"] is None else int(beside["index"][0]))

    def known_responses(self, place: int) -> dict[str, float]:
        """What is known of a training row; a cheap evaluator is asked where nothing is, once."""
        found = self._with_responses("train").responses
        names = [name for name in self.problem.responses if name in found]
        values = {name: float(found[name][place]) for name in names}
        known = {name: value for name, value in values.items() if math.isfinite(value)}
        if known or not self.is_cheap or self.study.evaluator is None:
            return known
        kind = f"known {place}"
        noted = self.study.history.notes.get(kind)
        if noted is None:
            design = designs_of(self.data.train.take(torch.tensor([place])))
            (answer,) = self.study.evaluator.evaluate(design)
            noted = self.study.history.note(kind, responses=answer.responses)
        return noted["responses"]


def _fit(values: dict[str, Any]) -> Fit:
    lost = _estimate(values.get("lost"))
    return Fit(**values | {"r2": Estimate(**values["r2"]), "lost": lost})


def _estimate(values: dict[str, Any] | None) -> Estimate | None:
    return None if values is None else Estimate(**values)


def _some(is_one: NDArray[np.bool_]) -> NDArray[np.intp]:
    """The places of those that are one, or of 200 spread evenly over them."""
    places = np.flatnonzero(is_one)
    return places[exploration.spread(_MOST_OF_A_KIND, len(places)).numpy()]


def _with_only(rows: Dataset, names: Sequence[str]) -> Dataset:
    return dataclasses.replace(rows, responses={name: rows.responses[name] for name in names})
