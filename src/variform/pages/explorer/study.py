"""What the explorer page shows of a design study, as plain values ready for JSON."""

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from variform.config.units import name_and_unit
from variform.config.words import counted
from variform.design.comparison import Comparison
from variform.design.evaluators import Answer
from variform.design.history import told
from variform.design.kernel_validity import KernelValidity, fit_kernel_validity
from variform.design.outcomes import best_so_far, quartile_curves
from variform.design.problem import Objective
from variform.design.spaces import LatentSpace
from variform.design.told import Told, non_dominated
from variform.evaluation import exploration
from variform.evaluation.tables import show
from variform.pages.explorer.contents import affordable, floats, shown_designs

Array = np.ndarray[Any, np.dtype[Any]]

MOST_DESIGNS = 2_000
_KEY = re.compile(r"(?P<name>.+?)-(?P<seed>-?\d+)")
_OWN = "your own"
_SAME = 1e-3  # of the range of a column: what a page or another machine rounds
_LOOKED_AT = 50  # designs that are decoded again
_MOST_OF_A_KIND = 200  # valid or invalid designs that validity is learned from


@dataclass(frozen=True, eq=False)
class Evaluated:
    """A design that has an answer.

    Args:
        id: What the journal calls it.
        space: Where it was looked for.
        seed: Of the search.
        number: Which evaluation of its search it was, from 1.
        z: Its latent point; None where it was looked for elsewhere.
        decoded: What the point stands for, (*shape).
        design: What was evaluated, (*shape).
        answer: What was said of it.
    """

    id: str
    space: str
    seed: int
    number: int
    z: Array | None
    decoded: Array
    design: Array
    answer: Answer


def gather_study(comparison: Comparison, name: str, *, seed: int = 0) -> dict[str, Any]:
    """The study tab of a page, and the designs on its map.

    Args:
        comparison: A study with an answer at least, whose model the page is of.
        name: What the study is called.
        seed: Seed of the draw of designs, where there are too many.

    Raises:
        ValueError: where the points of the study decode to other designs than those in its journal.
    """
    space = comparison.space("latent")
    assert isinstance(space, LatentSpace)
    every = _evaluated(comparison)
    _require_same_model(space, every)
    answers = _told(comparison, every)
    rank = _rank(comparison, answers)
    kept = np.sort(_kept(comparison, rank, seed))
    validity = _validity(space, every, answers.is_valid, seed)
    chosen = [every[place] for place in kept]
    responses = _responses(comparison, chosen)
    known = comparison.known
    problem = comparison.problem
    total = {"total": len(every)}
    return {
        "name": name,
        "label": _label(comparison),
        "searches": _searches(comparison, every),
        "known": _best_known(comparison, known),
        "objectives": [
            _objective(comparison, one) | {"column": _place(one.response, responses)}
            for one in problem.objectives
        ],
        "constraints": [str(one) for one in problem.constraints],
        "front": np.flatnonzero(np.isin(kept, rank[: _front_size(answers)])).tolist(),
        "knownFront": _known_front(comparison, known),
        "designs": total | _designs(comparison, space, chosen, responses, np.argsort(rank)[kept]),
        "validity": validity,
        "context": _context(space),
        "notes": _notes(comparison, every, chosen, seed),
    }


def _evaluated(comparison: Comparison) -> list[Evaluated]:
    """All designs that have answers, search by search, and those of the user's own."""
    history = comparison.study.history
    latent = {"latent"}
    spaces = comparison.problem.spaces or (history.notes.get("space", {}).get("name", ""),)
    if spaces[0] == "latent":
        latent.add("random")
    found = []
    for key, designs in history.asked.items():
        match = _KEY.fullmatch(key)
        space = key if match is None else match["name"]
        number = 0 if match is None else int(match["seed"])
        answered = [one for one in designs if one.id in history.answers]
        for place, one in enumerate(answered, 1):
            z = one.z if space in latent else None
            answer = comparison.answer(one.id)
            found.append(
                Evaluated(one.id, space, number, place, z, one.decoded, one.repaired, answer)
            )
    for place, own in enumerate(history.own, 1):
        answer = comparison.explained(own.id, own.answer)
        found.append(Evaluated(own.id, _OWN, 0, place, None, own.design, own.design, answer))
    return found


def _require_same_model(space: LatentSpace, every: Sequence[Evaluated]) -> None:
    own = [one for one in every if one.z is not None][:_LOOKED_AT]
    if not own:
        return
    schema = space.vae.schema
    assert schema is not None
    expected = np.stack([one.decoded for one in own])
    found = space.decode(np.stack([one.z for one in own if one.z is not None]))
    span = max(schema.high) - min(schema.low)
    allowed = _SAME * np.maximum(span, np.abs(expected))
    share = np.mean((np.abs(found - expected) <= allowed) | np.isnan(expected))
    if share < 0.95:
        raise ValueError(
            "`study` must be of this model; its latent points decode to other designs than those in its journal. Name "
            "the run that the study searched, or another study."
        )


def _told(comparison: Comparison, designs: Sequence[Evaluated]) -> Told:
    empty = np.zeros((len(designs), 1))
    answers = [one.answer for one in designs]
    return told(comparison.problem, empty, [0] * len(designs), answers)


# --- which designs, and in which order ------------------------------------------------------------------------------


def _rank(comparison: Comparison, answers: Told) -> Array:
    """Places of designs, the best first: of several objectives those on the Pareto set, then by the first objective.

    Feasible designs come first, then the others that are valid by how far they miss, then the invalid ones.
    """
    missed = np.nan_to_num(answers.violations.clip(0).sum(1), nan=np.inf)
    missed = np.where(answers.is_valid, np.where(answers.is_feasible, 0.0, missed), np.inf)
    is_behind = np.ones(len(answers), bool)
    is_behind[_front(answers)] = False
    first = np.nan_to_num(answers.objectives[:, 0], nan=np.inf)
    return np.lexsort((first, is_behind, missed, ~answers.is_valid))


def _front(answers: Told) -> Array:
    places = np.flatnonzero(answers.is_feasible)
    if answers.objectives.shape[1] == 1:
        return places[:0]
    return places[non_dominated(answers.objectives[places])]


def _front_size(answers: Told) -> int:
    return len(_front(answers))


def _kept(comparison: Comparison, rank: Array, seed: int) -> Array:
    """The places of the designs that the page holds: the better half, and a seeded draw of the others."""
    most = min(MOST_DESIGNS, affordable(comparison.data.schema, comparison.data.train))
    if len(rank) <= most:
        return rank
    best = max(1, most // 2)
    others = np.random.default_rng(seed).permutation(rank[best:])
    return np.concatenate([rank[:best], others[: most - best]])


# --- what is said of them ---------------------------------------------------------------------------------------------


def _searches(comparison: Comparison, every: Sequence[Evaluated]) -> list[dict[str, Any]]:
    """The best so far of each space: its quartiles over seeds after each evaluation."""
    by_space: dict[str, dict[int, list[Evaluated]]] = {}
    for one in every:
        if one.space != _OWN:
            by_space.setdefault(one.space, {}).setdefault(one.seed, []).append(one)
    found = []
    for name, searches in by_space.items():
        curves = [
            comparison.signed(best_so_far(_told(comparison, designs), comparison.problem.reference))
            for designs in searches.values()
        ]
        low, median, high = quartile_curves(curves)
        quartiles = {"low": floats(low), "median": floats(median), "high": floats(high)}
        found.append({"name": name, "seeds": len(curves)} | quartiles)
    return found


def _best_known(comparison: Comparison, known: Told | None) -> float | None:
    """What known designs reach without an evaluation; None where that is not known, or none is feasible."""
    if known is None or not known.is_feasible.any():
        return None
    return float(comparison.signed(best_so_far(known, comparison.problem.reference))[-1])


def _objective(comparison: Comparison, one: Objective) -> dict[str, Any]:
    name, _ = name_and_unit(one.response)
    unit = one.unit or comparison.data.schema.unit_of(one.response)
    return {"name": name, "unit": unit, "goal": one.goal, "reference": one.reference}


def _place(name: str, responses: Mapping[str, Array]) -> int:
    return list(responses).index(name) if name in responses else -1


def _label(comparison: Comparison) -> str:
    if comparison.problem.reference is not None:
        return "hypervolume"
    one = _objective(comparison, comparison.problem.objectives[0])
    return f"{one['name']} [{one['unit']}]" if one["unit"] else one["name"]


def _known_front(comparison: Comparison, known: Told | None) -> list[dict[str, Any]]:
    """The known designs that no other known one dominates, where there are several objectives."""
    if known is None:
        return []
    return [
        {
            "name": comparison.name_of(int(place)),
            "values": [
                float(one.minimised(known.objectives[place, number]))
                for number, one in enumerate(comparison.problem.objectives)
            ],
        }
        for place in _front(known)
    ]


def _designs(
    comparison: Comparison,
    space: LatentSpace,
    chosen: Sequence[Evaluated],
    responses: dict[str, Array],
    rank: Array,
) -> dict[str, Any]:
    answers = _told(comparison, chosen)
    designs = np.stack([one.design for one in chosen])
    spaces = list(dict.fromkeys(one.space for one in chosen))
    state = np.where(answers.is_valid, np.where(answers.is_feasible, 0, 1), 2)
    nearest = comparison.neighbours.nearest(np.nan_to_num(designs))
    known = [f"row {row}" for row in nearest.row] if nearest.name is None else nearest.name
    return {
        "count": len(chosen),
        "ids": [one.id for one in chosen],
        "spaces": spaces,
        "space": [spaces.index(one.space) for one in chosen],
        "seed": [one.seed for one in chosen],
        "evaluation": [one.number for one in chosen],
        "state": state.tolist(),
        "reasons": [one.answer.reason for one in chosen],
        "isLatent": [one.z is not None for one in chosen],
        "isRepaired": [not _is_same(one.decoded, one.design) for one in chosen],
        "means": floats(_points(space, chosen)),
        "rank": rank.tolist(),
        "nearest": [str(one) for one in known],
        "distance": floats(nearest.distance),
        "novelty": floats(nearest.novelty),
        "responses": len(responses),
        **_shown(comparison, designs, responses),
    }


def _is_same(design: Array, other: Array) -> bool:
    return bool(np.array_equal(design, other, equal_nan=True))


def _shown(comparison: Comparison, designs: Array, responses: dict[str, Array]) -> dict[str, Any]:
    """The designs as the rows of the map are shown, and their responses with units."""
    schema = comparison.data.schema
    problem = comparison.problem
    units = {one.response: one.unit for one in (*problem.objectives, *problem.constraints)}
    units = {name: unit for name, unit in units.items() if unit}
    if schema.kind == "image":
        designs = np.nan_to_num(designs)
    with_units = dataclasses.replace(schema, units=schema.units | units)
    return shown_designs(with_units, designs, responses)


def _responses(comparison: Comparison, chosen: Sequence[Evaluated]) -> dict[str, Array]:
    """By name the responses of the problem and the others that came with answers, NaN where there is none."""
    names = dict.fromkeys(comparison.problem.responses)
    for one in chosen:
        names |= dict.fromkeys(one.answer.responses)
    columns = {
        name: np.array([one.answer.responses.get(name, np.nan) for one in chosen], np.float64)
        for name in names
    }
    return {name: column for name, column in columns.items() if np.isfinite(column).any()}


# --- validity -------------------------------------------------------------------------------------------------------


def _validity(
    space: LatentSpace, every: Sequence[Evaluated], is_valid: Array, seed: int
) -> dict[str, Any]:
    """The probability of validity over the latent space, and how well it is learned; else why there is none.

    Answers to designs of the latent space say most of it. Where these are too few the others are learned from too, at
    the points where the encoder puts them, which decode to something else than what was judged.
    """
    where = "designs of the latent space"
    places = [place for place, one in enumerate(every) if one.z is not None]
    found = _learned([every[place] for place in places], space, is_valid[places], seed)
    if isinstance(found, str) and len(places) < len(every):
        where = "designs of all spaces, each where the encoder puts it"
        found = _learned(every, space, is_valid, seed)
    if isinstance(found, str):
        return {
            "note": f"{found} The fog on the map shows where there are no data, which is not the same."
        }
    note = (
        f"Learned from {found.valid} valid and {found.invalid} invalid {where}: AUC "
        f"{show(found.auc.to_dict())} on answers that were left out, where 0.5 is chance. Far from all of them it is "
        f"{1 / (1 + math.exp(-found.bias)):.2f}, whatever is there."
    )
    return {
        "note": note,
        "learned": {
            "centres": found.centres.tolist(),
            "weights": found.weights.tolist(),
            "bias": found.bias,
            "gamma": found.gamma,
            "auc": found.auc.to_dict(),
            "answers": found.valid + found.invalid,
        },
    }


def _learned(
    designs: Sequence[Evaluated], space: LatentSpace, is_valid: Array, seed: int
) -> KernelValidity | str:
    z = _points(space, designs)
    places = np.concatenate([_some(is_valid), _some(~is_valid)])
    places = places[np.isfinite(z[places]).all(1)]
    return fit_kernel_validity(z[places], is_valid[places], seed=seed)


def _some(is_one: Array) -> Array:
    """The places of those that are one, or of many some that are spread evenly over them."""
    places = np.flatnonzero(is_one)
    return places[exploration.spread(_MOST_OF_A_KIND, len(places)).numpy()]


def _points(space: LatentSpace, chosen: Sequence[Evaluated]) -> Array:
    """Where designs lie, (n, dim): at the points that were proposed, or where the encoder puts what was evaluated."""
    points = np.full((len(chosen), space.dim), np.nan)
    others = []
    for place, one in enumerate(chosen):
        if one.z is not None:
            points[place] = one.z
        else:
            others.append(place)
    if others:
        points[others] = space.encode(np.stack([chosen[place].design for place in others]))
    return points


def _context(space: LatentSpace) -> list[float]:
    """What a conditional model is given in this study, as its decoder takes it."""
    schema = space.vae.schema
    assert schema is not None
    if not schema.conditions:
        return []
    contexts = schema.contexts(space.given, 1)
    return [] if contexts is None else contexts[0].tolist()


def _notes(
    comparison: Comparison, every: Sequence[Evaluated], chosen: Sequence[Evaluated], seed: int
) -> list[str]:
    """What a reader must know of the designs."""
    notes = [
        "Designs that were looked for in the latent space stand on the map at their own points, the others where the "
        "encoder puts them, which decodes to a reconstruction of them.",
        "The distance from the nearest known design is the root mean square over the columns, in "
        f"{comparison.neighbours.unit}; novelty is this distance over the usual one of designs that were held out.",
    ]
    if len(chosen) < len(every):
        notes.append(
            f"The page holds {len(chosen):,} of {counted(len(every), 'evaluated design')}: the better half of these, "
            f"and others drawn with seed {seed}."
        )
    return notes
