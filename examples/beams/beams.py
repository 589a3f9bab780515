"""Cantilevers as pictures: each the stiffest of its volume under its own load, with what was asked for in a table.

    python examples/beams/beams.py beams --known 300 --held-out 40

Each beam is 48 x 24 elements, held at its left edge and pulled by a force of 1 at one node:

- lx: where the load is, over the length, .5 to 1.
- ly: where it is, over the height, from the bottom 0 to the top 1.
- angle: of the load from straight down, -60 to 60 degrees, positive to the right.
- volume: the mean density, .25 to .55.

Written are PNG files, 255 for density 1, in the folders train, valid (a tenth of the known beams) and test (held out),
and a table about.csv of the conditions and of each beam's compliance. The conditions are Sobol points. Known beams are
the solver after 30 iterations, and so are those held out.
"""

import argparse
import csv
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import qmc
from solver import Plate, optimise

Array = NDArray[np.float64]

ROWS, COLUMNS = 24, 48
LOWEST = (0.5, 0.0, -60.0, 0.25)
HIGHEST = (1.0, 1.0, 60.0, 0.55)
ITERATIONS = 30
_VALID_OF = 10


class Condition(NamedTuple):
    """What is asked of a beam, as the top of this file says."""

    lx: float
    ly: float
    angle: float
    volume: float


@cache
def cantilever() -> Plate:
    """The plate that all beams are cut from."""
    cells = np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS)
    return Plate(cells, held=np.arange(2 * (ROWS + 1)))


def load(condition: Condition) -> Array:
    """The force (displacements, 1) at the node nearest to where it should be."""
    plate = cantilever()
    row, column = round((1 - condition.ly) * ROWS), round(condition.lx * COLUMNS)
    node = plate.node(row, column)
    angle = np.deg2rad(condition.angle)
    forces = np.zeros((plate.count, 1))
    forces[2 * node : 2 * node + 2, 0] = np.sin(angle), np.cos(angle)
    return forces


def conditions(count: int, seed: int = 0) -> list[Condition]:
    """Sobol points of the ranges."""
    sampler = qmc.Sobol(4, rng=np.random.default_rng(seed))
    points = sampler.random_base2(int(np.ceil(np.log2(count))))[:count]
    return [Condition(*row) for row in qmc.scale(points, LOWEST, HIGHEST).round(4)]


def picture(density: Array) -> Image.Image:
    """Grey values of 8 bits."""
    return Image.fromarray((255 * density).round().astype(np.uint8))


def main(folder: Path, known: int, held_out: int) -> None:
    for part in ("train", "valid", "test"):
        (folder / part).mkdir(parents=True)
    rows = []
    for number, condition in enumerate(conditions(known + held_out)):
        optimum = optimise(cantilever(), load(condition), condition.volume, iterations=ITERATIONS)
        part = "test" if number >= known else ("valid" if number % _VALID_OF == 0 else "train")
        name = f"{part}/{number:04}.png"
        picture(optimum.density).save(folder / name)
        rows.append([name, *condition, f"{optimum.compliances[-1]:.6g}"])
    with open(folder / "about.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["file", *Condition._fields, "compliance"], *rows])
    print(f"{known} known beams and {held_out} held out: {folder}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="a new folder")
    parser.add_argument("--known", type=int, default=300)
    parser.add_argument("--held-out", type=int, default=40)
    main(**vars(parser.parse_args()))
