"""What is said of a bicycle frame: evaluators and repair of the design studies in this folder.

    python examples/frames/judge.py     # how good the judge is on the known frames, which it was not fitted to

The judge is boosted trees that were fitted to the half of the frames that no search, model or surrogate ever sees. Each
evaluator takes frames as columns by name and gives responses by name:

- Model Mass, in kg; Sim 1 Safety Factor (loads in the plane of the frame); Sim 3 Safety Factor (a load on one pedal).
- novelty: the distance to the nearest known frame, over the median distance of held-out frames from theirs.
"""

from collections.abc import Mapping
from functools import cache

import numpy as np
from frames import HERE, JUDGED, Array, Rows, halves, numbers_of, rows_of
from sklearn.ensemble import HistGradientBoostingRegressor

from variform import DataConfig, read
from variform.design.evaluators import designs_from
from variform.design.neighbours import Neighbours
from variform.design.surrogate import r_squared

Trees = Mapping[str, HistGradientBoostingRegressor]

TUBES = (
    "SS",
    "CS",
    "TT",
    "BB",
    "HT",
    "ST",
    "DT",
)  # seat stays, chain stays, top tube, ..., down tube
THICKEST = 0.9  # a wall, over the radius of its tube
KNOWN, JUDGES = 0, 1


@cache
def fitted(half: int) -> Trees:
    """Boosted trees for the logarithm of each response, fitted to the known frames or to the judge's."""
    frames = halves()[half]
    numbers = numbers_of(rows_of(frames))
    trees = {}
    for name in JUDGED:
        one = HistGradientBoostingRegressor(
            learning_rate=0.05, max_iter=300, categorical_features=[2], random_state=0
        )
        trees[name] = one.fit(numbers, np.log(frames[name].to_numpy()))
    return trees


JUDGE = fitted(
    JUDGES
)  # before the first evaluation, whose time says how many known frames are asked of


def responses(rows: Rows, trees: Trees = JUDGE) -> dict[str, Array]:
    """By the judge, what was simulated of known frames."""
    numbers = numbers_of(rows)
    return {name: np.exp(trees[name].predict(numbers)) for name in JUDGED}


def frames(rows: Rows) -> dict[str, Array]:
    """By the judge, with the novelty."""
    return responses(rows) | {"novelty": novelty(rows)}


def second(rows: Rows) -> dict[str, Array]:
    """A second opinion: trees fitted to the known half, which share no frame with the judge and so not its mistakes."""
    return responses(rows, fitted(KNOWN)) | {"novelty": novelty(rows)}


@cache
def _known() -> Neighbours:
    """The known frames as the study has them."""
    config = DataConfig(schema=str(HERE / "inspected/columns.toml"), cells="mixed")
    data = read(HERE / "inspected/clean.csv", config)
    return Neighbours(data.train, data.valid)


def novelty(rows: Rows) -> Array:
    """The distance of frames to the nearest known one, over the median distance of held-out frames from theirs."""
    designs = designs_from(rows, _known().train.schema, len(rows["Material"]))
    return _known().nearest(designs).novelty


def buildable(rows: Rows) -> Rows:
    """Frames whose tubes are hollow: no wall is thicker than .9 of the radius."""
    repaired = dict(rows)
    for tube in TUBES:
        most = THICKEST * rows[f"{tube} OD"] / 2
        repaired[f"{tube} Thickness"] = np.minimum(rows[f"{tube} Thickness"], most)
    return repaired


if __name__ == "__main__":
    known = halves()[KNOWN]
    predicted = responses(rows_of(known))
    print(f"The judge, R² on {len(known):,} known frames, as logarithms:")
    for name in JUDGED:
        r2 = r_squared(np.log(known[name].to_numpy()), np.log(predicted[name]))
        print(f"  {name}: {r2.mean:.3f} ± {r2.se:.3f}")
