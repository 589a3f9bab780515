"""The results of a design study: what each search reached beside what the same budget gives elsewhere."""

import csv
import dataclasses
import math
import shlex
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from variform.config.words import counted
from variform.data.schema import Schema
from variform.design.coding import designs_of, some_rows
from variform.design.comparison import Comparison
from variform.design.evaluators import Answer
from variform.design.history import Asked
from variform.design.outcomes import Outcome, best_so_far, summary
from variform.design.problem import Constraint, Objective
from variform.design.study import CHEAP, Search
from variform.design.verdict import Standings, verdict
from variform.evaluation.tables import show
from variform.export.rows import cell_text
from variform.pages.design import plot_front, plot_searches, plot_winners
from variform.pages.report import Picture, Table, render
from variform.pages.vector import picture_of
from variform.system.files import replacing, write_json, write_text

_KNOWN_DRAWN = 200  # beside winners, to see what their rows are
FILES = ("results.json", "results.csv", "report.html", "explorer.html")


@dataclass
class Results:
    """The figures of a study so far, and the files that hold them.

    Args:
        comparison: The study with what stands beside it.
        place: Its problem.toml.
        missing: Why there is no explorer.html beside the files; "" where there is one.
    """

    comparison: Comparison
    place: Path
    missing: str = ""

    # --- figures ---

    @cached_property
    def searches(self) -> list[Search]:
        """The searches that have an answer, those that the problem asks for first."""
        every = [*self.comparison.main(), *self.comparison.beside()]
        return [search for search in every if self.comparison.answered(search)]

    @cached_property
    def outcomes(self) -> dict[str, list[Outcome]]:
        """What each search found, by its name a list over seeds."""
        found: dict[str, list[Outcome]] = {}
        known = self.comparison.known
        for search in self.searches:
            found.setdefault(search.name, []).append(self.comparison.outcome(search, known))
        return found

    @cached_property
    def winners(self) -> dict[str, Asked]:
        """By the name of a search its best design over all seeds; without those that found none."""
        best = {}
        for name, outcomes in self.outcomes.items():
            found = [one for one in outcomes if one.winner is not None]
            if found:
                one = min(found, key=lambda outcome: outcome.reached)
                search = next(s for s in self.searches if (s.name, s.seed) == (name, one.seed))
                best[name] = self.comparison.answered(search)[one.winner or 0]
        return best

    @property
    def _main_names(self) -> list[str]:
        return [space.name for space in self.comparison.main_spaces]

    def shown_names(self) -> list[str]:
        """The searches that the table shows: all that were asked for, and beside them the best of several PCAs."""
        pcas = [
            name
            for name in self.outcomes
            if name.startswith("pca-") and name not in self._main_names
        ]
        medians = {name: summary(self.outcomes[name])["best"][1] for name in pcas}
        best = min(
            medians, key=lambda name: (math.isnan(medians[name]), medians[name]), default=None
        )
        return [name for name in self.outcomes if name not in pcas or name == best]

    def values(self) -> dict[str, Any]:
        """All figures, as results.json has them; objectives in their own sign."""
        problem = self.comparison.problem
        spaces = []
        for name, outcomes in self.outcomes.items():
            row = summary(outcomes) | {
                "best": [self._signed(one) for one in summary(outcomes)["best"]]
            }
            row |= {"role": "asked for" if name in self._main_names else "beside"}
            row |= {"curves": [[self._signed(value) for value in one.best] for one in outcomes]}
            spaces.append(row | {"winner": self.found.get(name)})
        known = self.best_known
        return {
            "objectives": [[one.response, one.goal, one.unit] for one in problem.objectives],
            "constraints": [str(one) for one in problem.constraints],
            "optimiser": problem.optimiser,
            "start": problem.start,
            "budget": problem.budget,
            "seeds": problem.seeds,
            "distance": self.comparison.distance,
            "spaces": spaces,
            "best_known": known,
            "own": len(self.comparison.study.history.own),
            "verdict": self.verdict(),
            "pareto": self._pareto(),
            "validity": self._validity(),
        }

    def _signed(self, value: float) -> float:
        return float(self.comparison.signed(np.array(value)))

    @cached_property
    def found(self) -> dict[str, dict[str, Any]]:
        """By the name of a search what is known of its winner, as results.json has it."""
        return {name: self._values_of(name, design) for name, design in self.winners.items()}

    def _values_of(self, name: str, design: Asked) -> dict[str, Any]:
        comparison = self.comparison
        nearest = comparison.neighbours.nearest(design.repaired[None])
        second = comparison.by_second(design) if self._is_judged(name) else None
        row = int(nearest.row[0])
        return {
            "id": design.id,
            "responses": comparison.answer(design.id).responses,
            "distance": float(nearest.distance[0]),
            "novelty": float(nearest.novelty[0]),
            "row": row,
            "nearest": row if nearest.name is None else str(nearest.name[0]),
            "nearest_responses": comparison.known_responses(comparison.known_place(row)),
            "second": None if second is None else second.responses,
            "second_valid": None if second is None else second.valid,
        }

    def _is_judged(self, name: str) -> bool:
        """Whether the second evaluator, which may be dear, is asked: at the end, and of what the table shows."""
        budget = self.comparison.problem.budget
        is_done = all(len(one.best) >= budget for one in self.outcomes[name])
        return is_done and name in self.shown_names()

    @cached_property
    def best_known(self) -> dict[str, Any] | None:
        """What known designs reach without an evaluation, NaN where none is feasible; None where nothing is known."""
        known = self.comparison.known
        if known is None or not known.is_valid.any():
            return None
        best = best_so_far(known, self.comparison.problem.reference)[-1]
        found: dict[str, Any] = {
            "best": self._signed(float(best)),
            "designs": int(known.is_valid.sum()),
        }
        if known.is_feasible.any() and self.comparison.problem.reference is None:
            place = int(np.argmin(np.where(known.is_feasible, known.objectives[:, 0], np.inf)))
            found["name"] = self.comparison.name_of(place)
        return found

    def _pareto(self) -> list[dict[str, Any]]:
        """The designs of all searches asked for that no other dominates, where there are several objectives."""
        if self.comparison.problem.reference is None:
            return []
        return self.comparison.pareto([s for s in self.searches if s.name in self._main_names])

    # --- the table ---

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Header and rows of text: a space each, then the known designs."""
        second = self.comparison.second is not None
        header = [
            "space",
            f"{self.label()}: median (quartiles)",
            "beats the data after",
            "wasted",
            "infeasible",
            "distinct better",
            "winner's distance",
            *(["second evaluator"] if second else []),
        ]
        rows = [self._row(name, second) for name in self.shown_names()]
        known = self.best_known
        if known is not None:
            what = f"{known['designs']:,} known designs"
            value = _number(known["best"]) if math.isfinite(known["best"]) else "none feasible"
            rows.append([what, value, "0", "", "", "", "0", *([""] if second else [])])
        rows += self._nearest_rows(second)
        return header, rows

    def label(self) -> str:
        """What the best of a search is, with its unit."""
        objectives = self.comparison.problem.objectives
        if len(objectives) > 1:
            return "hypervolume"
        return self._titled(objectives[0])

    def _titled(self, one: Objective | Constraint) -> str:
        return f"{one.response} [{one.unit}]" if one.unit else one.response

    def _row(self, name: str, second: bool) -> list[str]:
        figures = summary(self.outcomes[name])
        low, median, high = (self._signed(value) for value in figures["best"])
        best = "none feasible"
        if math.isfinite(median):
            best = f"{_number(median)} ({_number(min(low, high))} to {_number(max(low, high))})"
        if figures["found"] < figures["seeds"]:
            best += f", {figures['found']} of {figures['seeds']} seeds"
        is_known = self.best_known is not None
        after = "not known"
        if is_known:
            after = "never" if figures["beats_after"] is None else f"{figures['beats_after']:g}"
        better = "not known" if figures["better"] is None else f"{figures['better']:g}"
        winner = self.found.get(name)
        distance = "" if winner is None else f"{winner['distance']:.3g}"
        shares = [f"{figures[share]:.0%}" for share in ("wasted", "infeasible")]
        cells = [self._name(name), best, after, *shares, better, distance]
        return [*cells, self._second_cell(winner)] if second else cells

    def _second_cell(self, winner: dict[str, Any] | None) -> str:
        if winner is None:
            return ""
        names = [one.response for one in self.comparison.problem.objectives]
        values = winner["second"] or {}
        text = ", ".join(_number(values[name]) for name in names if name in values)
        return text if winner["second_valid"] else f"invalid {text}".strip()

    def _name(self, name: str) -> str:
        pcas = [one for one in self.outcomes if one.startswith("pca-")]
        if name in self._main_names or name not in pcas or len(pcas) == 1:
            return name
        dims = ", ".join(one.removeprefix("pca-") for one in pcas)
        return f"{name} (best of {dims})"

    def _nearest_rows(self, second: bool) -> list[list[str]]:
        """The known design that is nearest to the winner of the first space, with its response where it is known."""
        name = next((name for name in self._main_names if name in self.winners), None)
        winner = self.found.get(name or "")
        if winner is None:
            return []
        names = [one.response for one in self.comparison.problem.objectives]
        responses = winner["nearest_responses"] or {}
        value = ", ".join(_number(responses[one]) for one in names if one in responses)
        what = f"nearest to the winner: {winner['nearest']}"
        row = [what, value or "not known", "0", "", "", "", "0"]
        return [[*row, *([""] if second else [])]]

    # --- notes ---

    def notes(self) -> list[str]:
        """What a reader must know to trust the table."""
        comparison = self.comparison
        problem, history = comparison.problem, comparison.study.history
        unit = comparison.neighbours.unit
        notes = [
            f"Designs count as distinct from {comparison.distance:.3g} on; distances are root mean squares over the "
            f"columns, in {unit}.",
            "Wasted are evaluations of invalid designs; infeasible designs are valid and miss a constraint.",
        ]
        if (
            len(self.searches)
            and problem.beside is None
            and not problem.is_told
            and not comparison.is_cheap
        ):
            notes.append(
                f"Other spaces did not get the same budget, for an evaluation takes {CHEAP:g} s or more; beside = "
                '["pca", "pool"] in the problem has them searched too.'
            )
        notes += [
            f"{word} is searched as {name}: the designs have no more principal components."
            for word, name in comparison.cut.items()
        ]
        if problem.start == "known":
            notes.append(
                "Every search began with the responses of the known designs: the table says what it adds to them, not "
                "what it finds alone."
            )
        if history.own:
            notes.append(f"{counted(len(history.own), 'design')} of your own helped the searches.")
        if history.journal.set_aside:
            notes.append(
                f"{counted(history.journal.set_aside, 'line')} of journal.jsonl cut off or damaged; passed over."
            )
        if self.missing and comparison.model is not None:
            notes.append(self.missing)
        return [*notes, *self._preference_notes(), *self._invalid_notes(), *self._validity_notes()]

    def _preference_notes(self) -> list[str]:
        """How much the utility behind a person's choices knows."""
        if self.comparison.choices is None:
            return []
        choices, _ = self.comparison.choices
        note = (
            f"The utility behind {counted(len(choices.pairs), 'choice')} has no unit; 0 is that of the least preferred "
            "design, and values change with every choice."
        )
        found = self.comparison.foretold
        if found is None:
            return [f"{note} With 10 designs compared it is said how well others are foretold."]
        return [
            f"{note} Of choices about designs that were left out it foretold {show(dataclasses.asdict(found))}, where "
            "0.5 is chance."
        ]

    def _validity(self) -> dict[str, Any] | None:
        """How well it is learned which designs are valid, as results.json has it; None before the first answer."""
        scores = self.comparison.validity
        if scores is None:
            return None
        space = self.comparison.main_spaces[0].name
        return dataclasses.asdict(scores) | {"density_of": space, "note": scores.note}

    def _validity_notes(self) -> list[str]:
        """The same in a sentence or two."""
        found = self._validity()
        if found is None:
            return []
        if found["note"]:
            return [found["note"]]
        return [
            f"Which designs are valid was learned from {found['valid']} valid and {found['invalid']} invalid ones: AUC "
            f"{show(found['learned'])} on those left out, where 0.5 is chance. The density of "
            f"{found['density_of']} has {show(found['density'])}; it says what is plausible, and knows no answer."
        ]

    def _invalid_notes(self) -> list[str]:
        """Why designs were invalid, the most frequent reasons first."""
        answers = [
            self.comparison.study.history.answers[one.id]
            for search in self.searches
            for one in self.comparison.answered(search)
        ]
        reasons: dict[str, int] = {}
        for answer in answers:
            if not answer.valid:
                reasons[answer.reason] = reasons.get(answer.reason, 0) + 1
        often = sorted(reasons, key=lambda reason: -reasons[reason])[:3]
        return [
            f"{reasons[reason]} of {len(answers):,} evaluations invalid: {reason}."
            for reason in often
        ]

    # --- files ---

    def write(self, folder: Path, surrogates: Table | None) -> None:
        """Write results.json, results.csv and report.html."""
        write_json(folder / "results.json", self.values())
        self._write_designs(folder / "results.csv")
        write_text(folder / "report.html", self._page(surrogates))

    def _write_designs(self, path: Path) -> None:
        """Every evaluated design, in the order of the searches."""
        schema = self.comparison.data.schema
        names = self._response_names()
        header = ["id", "space", "seed", "evaluation", "valid", "feasible", "reason", *names]
        rows = []
        for search in self.searches:
            designs = self.comparison.answered(search)
            feasible = self.comparison.told_in_order(designs).is_feasible.tolist()
            for number, (one, holds) in enumerate(zip(designs, feasible, strict=True), 1):
                answer = self.comparison.answer(one.id)
                start = [one.id, search.name, str(search.seed), str(number)]
                cells = cells_of(one.repaired, schema)
                rows.append([*start, *_answer_cells(answer, holds, names), *cells])
        write_csv(path, [*header, *(schema.columns if schema.kind == "table" else ())], rows)

    def _response_names(self) -> list[str]:
        """The responses of the problem, and the others that came with answers."""
        names = dict.fromkeys(self.comparison.problem.responses)
        for answer in self.comparison.study.history.answers.values():
            names |= dict.fromkeys(answer.responses)
        return list(names)

    def _page(self, surrogates: Table | None) -> str:
        header, rows = self.table()
        note = (
            "At the same budget and with the same seeds. Beats the data after: evaluations until the first design that "
            "is better than every known one, the median over seeds. Distinct better: designs that are, and apart from "
            "each other. Winner's distance: from the known design that is nearest."
        )
        tables = [Table("What each space gave", header, rows, note), *self._pareto_table()]
        if surrogates is not None:
            tables.insert(0, surrogates)
        with tempfile.TemporaryDirectory() as place:
            pictures = self._pictures(Path(place))
            return render(
                title=f"Designs of {self.place.stem}",
                summary=self.summary(),
                facts=self._facts(),
                tables=tables,
                pictures=pictures,
                command=f"variform design {shlex.quote(self.place.name)}",
                notes=self.notes(),
                explorer="" if self.missing else "explorer.html",
                config=self.place.read_text(encoding="utf-8"),
            )

    def _pareto_table(self) -> list[Table]:
        """The designs that no other dominates, where there are several objectives."""
        front = self._pareto()
        if not front:
            return []
        responses = self.comparison.problem.responses
        front = sorted(front, key=lambda one: one["responses"][responses[0]])
        rows = [
            [one["id"], *(_number(one["responses"][name]) for name in responses)] for one in front
        ]
        problem = self.comparison.problem
        asked = {one.response: one for one in (*problem.constraints, *problem.objectives)}
        titles = [self._titled(asked[name]) for name in responses]
        return [Table("Designs that no other one found dominates", ["id", *titles], rows)]

    def _pictures(self, place: Path) -> list[Picture]:
        curves = {
            self._name(name): [
                np.array([self._signed(value) for value in one.best]) for one in self.outcomes[name]
            ]
            for name in self.shown_names()
        }
        if not curves:
            return []
        known = self.best_known
        figure = plot_searches(
            curves, ylabel=self.label(), known=None if known is None else known["best"]
        )
        caption = "The best feasible design after each evaluation: median over seeds, with quartiles as a band."
        best = picture_of(figure, "Best so far", place / "searches.png", caption)
        return [best, *self._front(place), *self._designs(place)]

    def _front(self, place: Path) -> list[Picture]:
        """Two objectives against each other, where there are two."""
        objectives, reference = (
            self.comparison.problem.objectives,
            self.comparison.problem.reference,
        )
        if len(objectives) != 2 or reference is None:
            return []
        signs = np.array([one.minimised(np.array(1.0)) for one in objectives])
        found = {}
        for name in self.shown_names():
            every = [s for s in self.searches if s.name == name]
            designs = [one for search in every for one in self.comparison.answered(search)]
            told = self.comparison.told_in_order(designs)
            found[self._name(name)] = told.objectives[told.is_feasible]
        known = self.comparison.known
        seen = None if known is None else known.objectives[known.is_feasible]
        labels = [self._titled(one) for one in objectives]
        figure = plot_front(found, known=seen, reference=reference, signs=signs, labels=labels)
        caption = (
            "Feasible designs, and the line of those that no other one of the same space dominates, over all seeds; in "
            "grey known designs. The cross is the reference, from which the hypervolume counts."
        )
        return [picture_of(figure, "Pareto front", place / "front.png", caption)]

    def _designs(self, place: Path) -> list[Picture]:
        """The winners of the searches that are shown, where designs can be drawn."""
        names = [name for name in self.shown_names() if name in self.winners]
        if not names:
            return []
        comparison, schema = self.comparison, self.comparison.data.schema
        winners = {name: self.winners[name].repaired for name in names}
        nearest = {name: comparison.known_design(self.found[name]["row"]) for name in names}
        some = designs_of(some_rows(comparison.data.train))[:_KNOWN_DRAWN]
        figure = plot_winners(
            winners,
            nearest,
            some,
            columns=schema.columns,
            value_range=schema.grey_range,
            outline=schema.outline,
        )
        if figure is None:
            return []
        caption = "The best design of each space over all seeds; in grey or below it the nearest known design."
        return [picture_of(figure, "Best designs", place / "winners.png", caption)]

    def _facts(self) -> list[tuple[str, str]]:
        problem = self.comparison.problem
        goals = ", ".join(f"{one.goal} {one.response}" for one in problem.objectives)
        return [
            ("objective", goals),
            ("constraints", "; ".join(str(one) for one in problem.constraints) or "none"),
            ("optimiser", problem.optimiser),
            ("start", problem.start),
            ("budget of a search", f"{problem.budget:,}"),
            ("seeds", f"{problem.seeds}"),
            ("known designs", f"{len(self.comparison.data.train):,}"),
        ]

    def verdict(self) -> list[str]:
        """What came out, a sentence each, the most important one first."""
        if not any(name in self.outcomes for name in self._main_names):
            return ["No design was evaluated yet."]
        if self.comparison.choices is not None:
            return [self._preferred()]
        known = self.best_known
        found = self.comparison.surrogates
        objectives = self.comparison.problem.objectives
        standings = Standings(
            {name: self.outcomes[name] for name in self.shown_names()},
            self._main_names,
            None if known is None else self._signed(known["best"]),  # as minimised again
            self._shown,
            self._name,
            "the known ones together have" if len(objectives) > 1 else "the best known one has",
        )
        return verdict(standings, recommended=None if found is None else found.recommended)

    def _shown(self, value: float) -> str:
        """A minimised value as a sentence has it."""
        objectives = self.comparison.problem.objectives
        number = _number(self._signed(value))
        if len(objectives) > 1:
            return f"a hypervolume of {number}"
        return f"{number} {objectives[0].unit}".rstrip()

    def _preferred(self) -> str:
        choices, _ = self.comparison.choices or (None, [])
        assert choices is not None
        if not len(choices.pairs):
            return "Nothing was preferred yet: rate designs differently, or compare them."
        names = [name for name in self._main_names if name in self.winners]
        compared = counted(len(np.unique(choices.pairs)), "design")
        return f"Most preferred so far of {compared} is {self.winners[names[0]].id}."

    def summary(self) -> str:
        """The verdict, and the best designs."""
        return " ".join([*self.verdict(), *self.best_designs()])

    def best_designs(self) -> list[str]:
        """The best design of each space that was asked for, a sentence each."""
        front = self._pareto()
        if front:
            return [f"{counted(len(front), 'design')} that no other one found dominates."]
        sentences = []
        for name in self._main_names:
            winner = self.found.get(name)
            if winner is not None:
                responses = ", ".join(
                    f"{one} {_number(winner['responses'][one])}"
                    for one in self.comparison.problem.responses
                )
                sentences.append(f"Best in {name}: {winner['id']} with {responses}.")
        return sentences


def cells_of(design: np.ndarray, schema: Schema) -> list[str]:
    """A design as the cells of a table; none of an image."""
    if schema.kind != "table":
        return []
    return [cell_text(schema, column, value) for column, value in enumerate(design)]


def write_csv(
    path: Path, header: Sequence[str], rows: Sequence[Sequence[str]], *, new: bool = False
) -> None:
    """Write a table of ready-made cells, whole or not at all; with `new` never over another file."""
    with (
        replacing(path, new=new) as temporary,
        open(temporary, "w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def _answer_cells(answer: Answer, feasible: bool, names: Sequence[str]) -> list[str]:
    cells = [answer.responses.get(name) for name in names]
    values = ["" if value is None else repr(value) for value in cells]
    return [str(answer.valid).lower(), str(feasible).lower(), answer.reason, *values]


def _number(value: float) -> str:
    return f"{value + 0.0:.4g}"  # of -0 the sign goes
