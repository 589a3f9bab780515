"""Road wheels that are equally stiff and look different: one sector is designed and repeated, and a designer chooses.

    python examples/beams/wheel.py runs/wheels

A wheel is a ring of elements round a hub that holds it; its outermost rows, the rim, are given, and what is between is
designed. The ground pushes at the rim towards the hub, at every place in turn, since the wheel turns; a brake or the
engine adds a force along the rim. All sectors are alike, so that one of them and the loads on one are enough, exactly.

Numbers of sectors, forces along the rim, and at how many places of a sector the ground pushes while it is designed,
give different wheels. Each gets the volume with which it is as stiff as all others under a push at every place. Of
these `variform.design.selection` picks twelve that differ, not much heavier than the lightest. Written are wheels.csv
(all of them), wheels.npy (their pictures) and wheels.png (the twelve).
"""

import argparse
import csv
from dataclasses import dataclass
from io import BytesIO
from itertools import product
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import map_coordinates
from scipy.spatial.distance import pdist
from solver import SOLID, Plate, optimise

from variform.data.reading import dataset_from
from variform.design.neighbours import Neighbours
from variform.design.selection import Selection, select

Array = NDArray[np.float64]

ARCS = 120  # elements round the wheel, about
HUB = 0.2  # its radius, over that of the wheel
RIM = 2  # elements thick
SECTORS = (3, 4, 5, 6, 7, 8)
SHEARS = (0.0, 0.15, 0.3)  # force along the rim over the force towards the hub
PLACES = (2, 10)  # of a sector, where the ground pushes
RADIUS = 1.5  # of the filter, in elements
COMPLIANCE = 14.0  # of every wheel, under a push of 1
CLOSE = 0.01  # how near compliances are to be equal
VOLUME = 0.3  # of the ring, to begin with
FIRST, MORE, CORRECTIONS = 40, 15, 8  # iterations, and how often the volume is corrected
CHOSEN = 12
HEAVIER = 50.0  # percent over the lightest, of the wheels to choose from
GREYEST = 0.3
DISC = 2700 * np.pi * 0.225**2 * 0.03  # kg: aluminium, of 45 cm across and 3 cm thick
SIDE = 128  # pixels


class Wish(NamedTuple):
    """What makes a wheel different from others."""

    sectors: int
    shear: float
    places: int


@dataclass(frozen=True)
class Wheel:
    """A wheel of some sectors; its plate has one variable for all elements that turns by a sector carry together."""

    sectors: int
    plate: Plate

    @classmethod
    def of(cls, sectors: int, arcs: int = ARCS) -> "Wheel":
        columns = sectors * round(arcs / sectors)
        angle = 2 * np.pi / columns
        rows = round(-np.log(HUB) / angle)
        row, column = np.indices((rows, columns))
        cells = row * (columns // sectors) + column % (columns // sectors)
        cells[rows - RIM :] = SOLID
        first = np.arange(columns) * (rows + 1)
        held = np.concatenate([2 * first, 2 * first + 1])
        return cls(sectors, Plate(cells, held, RADIUS, angle=angle))

    def loads(self, shear: float, places: int | None = None) -> Array:
        """Forces (displacements, cases) at so many nodes of the rim of a sector, or all of them.

        Each is 1 towards the hub and `shear` along the rim.
        """
        rows, columns = self.plate.shape
        nodes_of_sector = columns // self.sectors
        case = np.arange(places or nodes_of_sector)
        nodes = self.plate.node(rows, case * nodes_of_sector // len(case))
        forces = np.zeros((self.plate.count, len(case)))
        forces[2 * nodes, case] = shear
        forces[2 * nodes + 1, case] = -1
        return forces

    def compliance(self, density: Array) -> float:
        """The mean over all places, under the force towards the hub alone."""
        return self.plate.compliance(density, self.loads(0.0))[0]

    def filled(self, density: Array) -> float:
        """How much of the whole disc is material, with hub and rim."""
        areas = self.plate.areas
        share = (areas * density).sum() / areas.sum()
        hub = np.exp(-2 * self._angle * self.plate.shape[0])
        return float(hub + (1 - hub) * share)

    def grey(self, density: Array) -> float:
        """How far from 0 and 1 densities are, 4 rho (1 - rho), a mean over the area (Sigmund 2007)."""
        areas = self.plate.areas
        return float((areas * 4 * density * (1 - density)).sum() / areas.sum())

    def picture(self, density: Array, side: int = SIDE) -> Array:
        """The wheel as (side, side) pixels, turned such that the middle of most material is to the right."""
        rows, columns = self.plate.shape
        middle = (np.arange(side) + 0.5) / side * 2 - 1
        radius, angle = np.hypot(middle[:, None], middle), np.arctan2(middle[:, None], middle)
        row = np.log(radius.clip(1e-9)) / self._angle + rows - 0.5
        column = (angle + self._middle(density)) / self._angle - 0.5
        with_hub = np.pad(density, ((1, 0), (0, 0)), constant_values=1)
        round_it = np.pad(with_hub, ((0, 0), (1, 1)), mode="wrap")
        places = [(row + 1).clip(0, rows), column % columns + 1]
        return np.where(radius > 1, 0.0, map_coordinates(round_it, places, order=1))

    def _middle(self, density: Array) -> float:
        """The angle of the middle of the material of a sector."""
        angles = self._angle * (np.arange(self.plate.shape[1]) + 0.5)
        waves = np.exp(1j * self.sectors * angles)
        return float(np.angle((self.plate.areas * density).sum(0) @ waves) / self.sectors)

    @property
    def _angle(self) -> float:
        return 2 * np.pi / self.plate.shape[1]


def as_stiff(wheel: Wheel, shear: float, places: int, compliance: float) -> Array:
    """The densities of a wheel with the volume that gives it a compliance under the push alone, at every place.

    It begins at random. Compliance falls about as volume to the power -1.8; after each correction the solver goes on
    from where it was.
    """
    plate, loads, volume = wheel.plate, wheel.loads(shear, places), VOLUME
    density = np.random.default_rng(0).uniform(0, 2 * VOLUME, plate.shape)
    iterations = FIRST
    for correction in range(CORRECTIONS):
        density = optimise(plate, loads, volume, start=density, iterations=iterations).density
        iterations = MORE
        miss = np.log(wheel.compliance(density) / compliance)
        if abs(miss) < CLOSE and correction > 1:
            break
        volume *= np.exp(np.clip(miss / 1.8, -0.15, 0.15))
    return density


def wishes() -> list[Wish]:
    return [Wish(*wish) for wish in product(SECTORS, SHEARS, PLACES)]


COLUMNS = (*Wish._fields, "compliance", "mass_kg", "grey")


def pool() -> tuple[list[dict[str, float]], Array]:
    """All wheels, each as what is known of it, and their pictures (n, side, side)."""
    print(" ".join(f"{name:>10}" for name in COLUMNS))
    rows, pictures = [], []
    for wish in wishes():
        wheel = Wheel.of(wish.sectors)
        density = as_stiff(wheel, wish.shear, wish.places, COMPLIANCE)
        figures = wheel.compliance(density), DISC * wheel.filled(density), wheel.grey(density)
        rows.append(dict(zip(COLUMNS, (*wish, *figures), strict=True)))
        print(" ".join(f"{value:10.4g}" for value in rows[-1].values()), flush=True)
        pictures.append(wheel.picture(density))
    return rows, np.stack(pictures)


def choose(rows: list[dict[str, float]], pictures: Array) -> Selection:
    """Wheels that differ, among those of the compliance, not grey and not much heavier than the lightest."""
    is_good = [
        abs(row["compliance"] / COMPLIANCE - 1) < 0.05 and row["grey"] < GREYEST for row in rows
    ]
    mass = np.where(is_good, [row["mass_kg"] for row in rows], np.nan)
    images = pictures[:, None]
    neighbours = Neighbours(dataset_from(torch.from_numpy(images)))
    return select(images, mass, neighbours, CHOSEN, within=HEAVIER)


def main(folder: Path) -> None:
    folder.mkdir(parents=True)
    rows, pictures = pool()
    np.save(folder / "wheels.npy", pictures)
    with open(folder / "wheels.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    show(rows, pictures, choose(rows, pictures), folder / "wheels.png")


def show(rows: list[dict[str, float]], pictures: Array, selection: Selection, path: Path) -> None:
    """Print which wheels were selected and how different they are, and draw them."""
    print(selection.note or f"Selected are {len(selection.chosen)} wheels of {len(rows)}:")
    chosen = [rows[number] for number in selection.chosen]
    for row, apart in zip(chosen, selection.apart, strict=True):
        print(
            f"{row['sectors']} sectors, {row['places']} places, force along the rim {row['shear']:.2f}: "
            f"{row['mass_kg']:.2f} kg, compliance {row['compliance']:.2f}, {apart:.2f} from the nearest other one"
        )
    distances = pdist(pictures.reshape(len(pictures), -1)) / np.sqrt(pictures[0].size)
    print(
        f"Distances: root mean square over the pixels; any two wheels: {np.median(distances):.2f}."
    )
    draw(chosen, pictures[selection.chosen], path)


def draw(rows: list[dict[str, float]], pictures: Array, path: Path) -> None:
    """The wheels, six a row, each with its mass, in few levels of grey."""
    figure, axes = plt.subplots(2, 6, figsize=(9, 3.5))
    for axis, picture, row in zip(axes.flat, pictures, rows, strict=False):
        axis.imshow(picture, cmap="gray_r", vmin=0, vmax=1, interpolation="bilinear")
        axis.set_title(f"{row['mass_kg']:.2f} kg", fontsize=10, pad=3)
    for axis in axes.flat:
        axis.axis("off")
    figure.tight_layout(pad=0.3, h_pad=0.8)
    buffer = BytesIO()
    figure.savefig(buffer, dpi=100)
    plt.close(figure)
    Image.open(buffer).convert("L").quantize(16).save(path, optimize=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="a new folder")
    main(parser.parse_args().folder)
