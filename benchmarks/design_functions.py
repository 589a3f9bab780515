"""Optimisers of designs on functions whose optimum is known, each beside random points of the same budget.

    python benchmarks/design_functions.py                          # all functions and optimisers, 5 seeds
    python benchmarks/design_functions.py --only branin bnh --seeds 3
    python benchmarks/design_functions.py --only ackley --optimisers gp   # 10 dimensions
    python benchmarks/design_functions.py --cost                   # CPU seconds of a proposal

Branin (2 dimensions), Hartmann (6), Rosenbrock, Ackley and Levy (10) are minimised: the figure is the least value
found. Of BNH, with two objectives and two constraints, it is the hypervolume to the reference (140, 50) that is
missing, as a share of the exact one, the integral over its known front. Each line: median and range over the seeds, how
many seeds are within 2 % of the optimum, and CPU seconds of one thread a proposal.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from variform.design.bayesian import hypervolume
from variform.design.optimisers import Optimiser, propose
from variform.design.told import Told

Array = np.ndarray
BNH_REFERENCE = np.array([140.0, 50.0])
BNH_HYPERVOLUME = (
    2232 + 8608 / 3 + 184
)  # x = y up to 3; then y = 3 up to x = 5; then the strip beyond f1 = 136


@dataclass(frozen=True)
class Box:
    """A design space that is a box, drawn from evenly."""

    low: Array
    high: Array

    @property
    def dim(self) -> int:
        return len(self.low)

    @property
    def box(self) -> tuple[Array, Array]:
        return self.low, self.high

    def sample(self, count: int, rng: np.random.Generator) -> Array:
        return rng.uniform(self.low, self.high, (count, self.dim))


def branin(z: Array) -> Array:
    x, y = z.T
    valley = y - 5.1 * x**2 / (4 * np.pi**2) + 5 * x / np.pi - 6
    return valley**2 + 10 * (1 - 1 / (8 * np.pi)) * np.cos(x) + 10


_A = np.array(
    [
        [10, 3, 17, 3.5, 1.7, 8],
        [0.05, 10, 17, 0.1, 8, 14],
        [3, 3.5, 1.7, 10, 17, 8],
        [17, 8, 0.05, 10, 0.1, 14],
    ]
)
_P = 1e-4 * np.array(
    [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
)


def hartmann(z: Array) -> Array:
    return -np.exp(-(_A * (z[:, None] - _P) ** 2).sum(2)) @ [1, 1.2, 3, 3.2]


def rosenbrock(z: Array) -> Array:
    return (100 * (z[:, 1:] - z[:, :-1] ** 2) ** 2 + (1 - z[:, :-1]) ** 2).sum(1)


def ackley(z: Array) -> Array:
    waves = np.exp(np.cos(2 * np.pi * z).mean(1))
    return 20 + np.e - 20 * np.exp(-0.2 * np.sqrt((z**2).mean(1))) - waves


def levy(z: Array) -> Array:
    w = 1 + (z - 1) / 4
    middle = (w[:, :-1] - 1) ** 2 * (1 + 10 * np.sin(np.pi * w[:, :-1] + 1) ** 2)
    last = (w[:, -1] - 1) ** 2 * (1 + np.sin(2 * np.pi * w[:, -1]) ** 2)
    return np.sin(np.pi * w[:, 0]) ** 2 + middle.sum(1) + last


def bnh(z: Array) -> tuple[Array, Array]:
    x, y = z.T
    objectives = np.stack([4 * x**2 + 4 * y**2, (x - 5) ** 2 + (y - 5) ** 2], 1)
    violations = np.stack([(x - 5) ** 2 + y**2 - 25, 7.7 - (x - 8) ** 2 - (y + 3) ** 2], 1)
    return objectives, violations


@dataclass(frozen=True)
class Function:
    """A function with its box, its optimum, and the budget and the batch that it is given."""

    of: Callable[[Array], Array]
    space: Box
    optimum: float
    budget: dict[Optimiser, int]
    first: int
    batch: int = 1


def cube(low: float, high: float, dim: int) -> Box:
    return Box(np.full(dim, low), np.full(dim, high))


TEN: dict[Optimiser, int] = {"gp": 200, "cma": 200}
FUNCTIONS = {
    "branin": Function(
        branin, Box(np.array([-5.0, 0]), np.array([10.0, 15])), 0.397887, {"gp": 30, "cma": 200}, 6
    ),
    "hartmann": Function(hartmann, cube(0, 1, 6), -3.32237, {"gp": 100, "cma": 400}, 14),
    "rosenbrock": Function(rosenbrock, cube(-2, 2, 10), 0, TEN, 20, 5),
    "ackley": Function(ackley, cube(-10, 15, 10), 0, TEN, 20, 5),
    "levy": Function(levy, cube(-10, 10, 10), 0, TEN, 20, 5),
    "bnh": Function(bnh, Box(np.zeros(2), np.array([5.0, 3])), 0, {"gp": 60}, 6),
}


def search(name: str, optimiser: Optimiser, budget: int, seed: int) -> tuple[Told, list[float]]:
    """Spend a budget, and the CPU seconds that each proposal took."""
    function = FUNCTIONS[name]
    goals = 2 if name == "bnh" else 1
    told = Told.nothing(function.space.dim, goals, 2 * (goals - 1))
    seconds = []
    while len(told) < budget:
        count = function.batch
        if not len(told) and optimiser == "gp":
            count = function.first
        before = time.process_time()
        z = propose(optimiser, function.space, told, count, seed=seed)
        seconds.append(time.process_time() - before)
        told = told.joined(answered(name, z, len(seconds) - 1))
    return told, seconds


def answered(name: str, z: Array, batch: int) -> Told:
    if name == "bnh":
        objectives, violations = bnh(z)
        return Told.of(z, objectives, violations=violations, batch=batch)
    return Told.of(z, FUNCTIONS[name].of(z), batch=batch)


def figure(name: str, told: Told) -> float:
    """The least value, or the share of the hypervolume that is missing."""
    best = told.objectives[told.is_feasible]
    if name == "bnh":
        return 1 - hypervolume(best, BNH_REFERENCE) / BNH_HYPERVOLUME
    return float(best.min())


def is_near(name: str, value: float) -> bool:
    """Within 2 % of the optimum; where that is 0, there is no such share."""
    optimum = FUNCTIONS[name].optimum
    if name == "bnh":
        return value <= 0.02
    return optimum != 0 and abs(value - optimum) <= 0.02 * abs(optimum)


def compare(name: str, optimiser: Optimiser, seeds: int) -> None:
    """A line of the optimiser and one of random points."""
    budget = FUNCTIONS[name].budget[optimiser]
    for way in (optimiser, "random"):
        values, seconds = [], []
        for seed in range(seeds):
            told, taken = search(name, way, budget, seed)
            values.append(figure(name, told))
            seconds += taken
        near = "-"
        if FUNCTIONS[name].optimum or name == "bnh":
            near = f"{sum(is_near(name, value) for value in values)} of {seeds}"
        print(
            f"| {name} | {way} | {budget} | {np.median(values):.4f} | {min(values):.4f} to {max(values):.4f} "
            f"| {near} | {np.mean(seconds):.2f} |",
            flush=True,
        )


def cost() -> None:
    """CPU seconds of a proposal at 200 points in 10 dimensions."""
    space, rng = FUNCTIONS["levy"].space, np.random.default_rng(0)
    z = space.sample(200, rng)
    propose("gp", space, Told.of(z[:5], levy(z[:5])), 1, seed=0)  # what happens once only
    for constraints, invalid in ((0, 0), (1, 0), (0, 20), (2, 20)):
        objectives = levy(z)
        objectives[:invalid] = np.nan
        told = Told.of(z, objectives, violations=z[:, :constraints] - 5)
        for optimiser in ("gp", "cma"):
            taken = []
            for seed in range(5):
                before = time.process_time()
                propose(optimiser, space, told, 1, seed=seed)
                taken.append(time.process_time() - before)
            print(
                f"| {optimiser} | {constraints} | {invalid} | {np.median(taken):.2f} | {max(taken):.2f} |"
            )


def main() -> None:
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=FUNCTIONS, default=list(FUNCTIONS))
    parser.add_argument("--optimisers", nargs="+", choices=("gp", "cma"), default=["gp", "cma"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--cost", action="store_true", help="only the CPU seconds of a proposal")
    options = parser.parse_args()
    if options.cost:
        print("| optimiser | constraints | invalid of 200 | CPU s, median of 5 | most |")
        print("| --- | ---: | ---: | ---: | ---: |")
        cost()
        return
    print("| function | optimiser | evaluations | median | range | within 2 % | CPU s a proposal |")
    print("| --- | --- | ---: | ---: | --- | --- | ---: |")
    for name in options.only:
        for optimiser in options.optimisers:
            if optimiser in FUNCTIONS[name].budget:
                compare(name, optimiser, options.seeds)


if __name__ == "__main__":
    main()
