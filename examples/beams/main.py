"""Beams under loads that nobody solved yet: what a conditional VAE saves, beside cheaper ways to begin.

    python examples/beams/main.py runs/beams
    python examples/beams/main.py runs/more --known 1500

Makes 300 known beams and 40 held-out conditions, trains a conditional VAE by a command of variform, and asks several
ways for a beam under each held-out condition. Each beam is shifted to the volume that was asked for, its compliance is
set beside that of the converged solver, and then five iterations of the solver are added. At last wheel.py makes road
wheels. docs/design/beams.md has the story.

- known: all pictures but those of the held-out conditions, and their conditions.
- gap: compliance over that of the converged solver, less 1, the median over the conditions.
- one part: the share of beams whose elements of density above .5 hang together.
- grey: the mean of 4 rho (1 - rho) over the elements (Sigmund 2007).
"""

import argparse
import csv
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from beams import COLUMNS, ROWS, Condition, cantilever, load
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import label
from sklearn.decomposition import PCA
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from solver import optimise

import variform

Array = NDArray[np.float64]
Way = Callable[[Condition], Array]
"""Candidate beams (n, rows, columns) for a condition; the stiffest counts."""

HERE = Path(__file__).resolve().parent
CONVERGED = 300  # iterations at most, or until no density changes by more than .01
STEPS = 5
TRIES = 8
BLENDED = 3
AVERAGED = 200  # draws
COMPONENTS = 8
KERNEL_ROWS = 300
TRAIN = (
    "train beams --about beams/about.csv --condition lx ly angle volume --response compliance "
    "--likelihood gaussian-shared --network conv --latent-dim 8 --out runs/beams"
)


@dataclass(frozen=True)
class Known:
    """Conditions (n, 4), scaled to deviation 1, and beams (n, rows, columns) that are known."""

    conditions: Array
    beams: Array
    scale: Array

    def nearest(self, count: int, condition: Condition) -> Array:
        """The beams of the nearest conditions."""
        distances = np.linalg.norm(self.conditions - np.array(condition) / self.scale, axis=1)
        return self.beams[np.argsort(distances)[:count]]

    def blend(self, count: int, condition: Condition) -> Array:
        """The mean of the beams of the nearest conditions."""
        return self.nearest(count, condition).mean(0, keepdims=True)

    def _gaussian_process(self, values: Array) -> GaussianProcessRegressor:
        """From the conditions to `values` (n,), with a kernel that some of the rows are enough for."""
        kernel = ConstantKernel() * RBF(np.ones(4)) + WhiteKernel()
        some = GaussianProcessRegressor(kernel, normalize_y=True, random_state=0)
        some.fit(self.conditions[:KERNEL_ROWS], values[:KERNEL_ROWS])
        model = GaussianProcessRegressor(some.kernel_, optimizer=None, normalize_y=True)
        return model.fit(self.conditions, values)

    def regression(self) -> Way:
        """Gaussian processes from the conditions to the principal components of the beams."""
        components = PCA(COMPONENTS, random_state=0)
        scores = components.fit_transform(self.beams.reshape(len(self.beams), -1))
        models = [self._gaussian_process(column) for column in scores.T]

        def way(condition: Condition) -> Array:
            asked = np.array(condition)[None] / self.scale
            found = np.stack([model.predict(asked) for model in models], axis=1)
            return components.inverse_transform(found).reshape(1, ROWS, COLUMNS).clip(0, 1)

        return way


def read_parts(folder: Path, *parts: str) -> tuple[list[Condition], Array]:
    """Conditions and beams of some parts of the data."""
    with open(folder / "about.csv", newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["file"].split("/")[0] in parts]
    conditions = [Condition(*(float(row[name]) for name in Condition._fields)) for row in rows]
    beams = np.stack([np.asarray(Image.open(folder / row["file"])) / 255 for row in rows])
    return conditions, beams


def known_beams(folder: Path) -> Known:
    conditions, beams = read_parts(folder, "train", "valid")
    scale = np.std(conditions, axis=0)
    return Known(np.array(conditions) / scale, beams, scale)


def uniform(condition: Condition) -> Array:
    """Where the solver begins: the same density everywhere."""
    return np.full((1, ROWS, COLUMNS), condition.volume)


def ways(known: Known, model: variform.Model) -> dict[str, Way]:
    """Each way by its name."""

    def drawn(condition: Condition, count: int) -> Array:
        beams = model.sample(count, given=condition._asdict(), draw=False, seed=0)
        return np.reshape(beams, (count, ROWS, COLUMNS)) / 255

    def at_zero(condition: Condition) -> Array:
        beam = model.decode(np.zeros((1, model.latent_dim)), given=condition._asdict())
        return np.reshape(beam, (1, ROWS, COLUMNS)) / 255

    return {
        "nearest known": partial(known.nearest, 1),
        "uniform": uniform,
        f"mean of {BLENDED} nearest": partial(known.blend, BLENDED),
        f"best of {TRIES} nearest": partial(known.nearest, TRIES),
        f"PCA-{COMPONENTS} + GP": known.regression(),
        "VAE, z = 0": at_zero,
        f"VAE, mean of {AVERAGED}": lambda c: drawn(c, AVERAGED).mean(0, keepdims=True),
        f"VAE, best of {TRIES}": lambda condition: drawn(condition, TRIES),
    }


@dataclass(frozen=True)
class Answer:
    """What a way gave for a condition: the beam as it came and at its volume, then after more iterations."""

    volume: float
    beam: Array
    compliance: float
    improved: Array
    improved_compliance: float


def answer(way: Way, condition: Condition, steps: int = STEPS) -> Answer:
    """The stiffest candidate of a way, and what some iterations of the solver make of it."""
    plate, forces = cantilever(), load(condition)
    candidates = way(condition).clip(0, 1)
    beams = [plate.density(plate.with_volume(c.ravel(), condition.volume)) for c in candidates]
    compliances = [plate.compliance(beam, forces)[0] for beam in beams]
    best = int(np.argmin(compliances))
    optimum = optimise(plate, forces, condition.volume, start=beams[best], iterations=steps)
    return Answer(
        float(candidates[best].mean()),
        beams[best],
        compliances[best],
        optimum.density,
        optimum.compliances[-1],
    )


def is_one_part(beam: Array) -> bool:
    """Whether the elements of density above .5 hang together."""
    return label(beam > 0.5)[1] == 1


def grey(beam: Array) -> float:
    """How far from 0 and 1 densities are: 0 where each is one of them, 1 where all are .5."""
    return float((4 * beam * (1 - beam)).mean())


def figures_of(beams: list[Array], compliances: list[float], best: Array) -> list[float]:
    """The median gap, its 90 % quantile, the share in one part and the grey, in percent."""
    gap = np.array(compliances) / best - 1
    figures = [
        np.median(gap),
        np.quantile(gap, 0.9),
        np.mean([is_one_part(beam) for beam in beams]),
        np.mean([grey(beam) for beam in beams]),
    ]
    return [100 * float(figure) for figure in figures]


def row_of(answers: list[Answer], conditions: list[Condition], best: Array) -> list[float]:
    """The volume error, then `figures_of` the beams as they came and after the solver; all in percent."""
    asked = np.array([condition.volume for condition in conditions])
    volumes = np.array([answer.volume for answer in answers])
    came, improved = [one.beam for one in answers], [one.improved for one in answers]
    return [
        100 * float(np.median(np.abs(volumes / asked - 1))),
        *figures_of(came, [one.compliance for one in answers], best),
        *figures_of(improved, [one.improved_compliance for one in answers], best),
    ]


HEADER = (
    "way", "volume error", "gap", "90 %", "one part", "grey", "gap + 5", "90 % + 5", "one part + 5", "grey + 5",
    "stiffer",
)  # fmt: skip
"""All in percent; "+ 5" is after five iterations, and then the share stiffer than the nearest known with as many."""


def compare(folder: Path) -> None:
    """Print and write the table, and a picture of a few conditions."""
    known = known_beams(folder / "beams")
    conditions, _ = read_parts(folder / "beams", "test")
    converged = [
        optimise(cantilever(), load(c), c.volume, iterations=CONVERGED, tolerance=0.01)
        for c in conditions
    ]
    best = np.array([optimum.compliances[-1] for optimum in converged])
    print(f"\n{'':<20}" + "".join(f"{name:>13}" for name in HEADER[1:]) + "  (percent)")
    rows, shown = [], {"converged": [optimum.density for optimum in converged]}
    first = np.zeros(len(best))
    for name, way in ways(known, variform.load(folder / "runs/beams")).items():
        answers = [answer(way, condition) for condition in conditions]
        improved = np.array([answer.improved_compliance for answer in answers])
        first = first if rows else improved
        figures = [*row_of(answers, conditions, best), 100 * float((improved < first).mean())]
        print(f"{name:<20}" + "".join(f"{figure:>13.2f}" for figure in figures), flush=True)
        rows.append([name, *figures])
        shown[name] = [answer.beam for answer in answers]
    longer = [answer(partial(known.nearest, 1), c, STEPS + TRIES) for c in conditions]
    gap = row_of(longer, conditions, best)[5]
    print(
        f"nearest known + {STEPS + TRIES} iterations, as many solutions as best of {TRIES}: {gap:.2f}"
    )
    with open(folder / "ways.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([HEADER, *rows])
    draw(shown, conditions, folder / "ways.png")


def draw(shown: dict[str, list[Array]], conditions: list[Condition], path: Path) -> None:
    """Six conditions from left to right, ways from top to bottom; an arrow is the load."""
    count = 6
    figure, axes = plt.subplots(len(shown), count, figsize=(2 * count, 1.2 * len(shown)))
    for line, (name, beams) in zip(axes, shown.items(), strict=True):
        line[0].set_ylabel(name, rotation=0, ha="right", va="center")
        for axis, beam, condition in zip(line, beams, conditions, strict=False):
            axis.imshow(beam, cmap="gray_r", vmin=0, vmax=1, extent=(0, COLUMNS, 0, ROWS))
            angle = np.deg2rad(condition.angle)
            axis.quiver(
                condition.lx * COLUMNS, condition.ly * ROWS, np.sin(angle), -np.cos(angle),
                color="tab:red", scale=5, width=0.015, clip_on=False,
            )  # fmt: skip
            axis.set(xticks=[], yticks=[])
    figure.tight_layout(pad=0.4)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(folder: Path, known: int) -> None:
    folder.mkdir(parents=True)
    make = [sys.executable, HERE / "beams.py", folder / "beams", "--known", str(known)]
    subprocess.run(make, check=True)
    print(f"\n$ variform {TRAIN}", flush=True)
    subprocess.run([sys.executable, "-m", "variform", *shlex.split(TRAIN)], cwd=folder, check=True)
    compare(folder)
    subprocess.run([sys.executable, HERE / "wheel.py", folder / "wheels"], check=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="a new folder")
    parser.add_argument("--known", type=int, default=300, help="beams to learn from")
    main(**vars(parser.parse_args()))
