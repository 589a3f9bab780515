"""Road wheels of equal stiffness: one sector is designed and repeated, and a designer chooses.

    python examples/beams/wheel.py runs/wheels

A wheel is a disc of elements: a rim and a hub that are given, and between them a ring that is designed. The hub is
held; the ground pushes at the rim towards the hub, at every place in turn, since the wheel turns; a brake or the engine
adds a force along the rim. The elements that turns by a sector carry onto each other share one density.

Numbers of sectors and forces along the rim give different wheels. Each gets the volume with which it is as stiff, under
the radial force alone, as the first; so what is left to choose by is looks and mass. Written are wheels.png and
wheels.csv. About three minutes on one core.
"""

import argparse
import csv
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray
from solver import SOLID, VOID, Optimum, Plate, optimise

Array = NDArray[np.float64]

SIDE = 80  # elements
RIM = 3  # elements thick
HUB = 8  # elements, the radius
PLACES = 3  # of the load, in each sector
RADIUS = 2.0  # of the filter
SECTORS = (4, 5, 6, 7)
SHEARS = (0.0, 0.3)  # force along the rim over the force towards the hub
VOLUME = 0.35  # of the first wheel's ring
ITERATIONS = 80
CLOSE = 0.01  # how near compliances are to be equal


@dataclass(frozen=True)
class Wheel:
    """A wheel of some sectors; its plate has one variable for all elements that turns of a sector carry together."""

    sectors: int
    plate: Plate

    @classmethod
    def of(cls, sectors: int, side: int = SIDE) -> "Wheel":
        middle = np.arange(side) + 0.5 - side / 2
        radius, angle = np.hypot(middle[:, None], middle), np.arctan2(middle[:, None], middle)
        cells = _cells(radius, angle, sectors)
        cells[radius > side / 2 - RIM] = SOLID
        cells[radius > side / 2] = VOID
        cells[radius < HUB] = SOLID
        is_ring = cells >= 0
        cells[is_ring] = np.unique(cells[is_ring], return_inverse=True)[1]
        corner = np.arange(side + 1) - side / 2
        held = np.flatnonzero(np.hypot(corner[:, None], corner) < HUB)
        return cls(sectors, Plate(cells, np.concatenate([2 * held, 2 * held + 1]), RADIUS))

    def loads(self, shear: float) -> Array:
        """Forces (displacements, cases) at places round the rim: 1 towards the hub, `shear` along the rim."""
        side = self.plate.shape[0]
        case = np.arange(self.sectors * PLACES)
        angles = 2 * np.pi * (case + 0.5) / len(case)
        along, down = np.cos(angles), np.sin(angles)
        reach = side / 2 - RIM / 2
        row = np.rint(side / 2 + reach * down).astype(int)
        column = np.rint(side / 2 + reach * along).astype(int)
        nodes = self.plate.node(row, column)
        forces = np.zeros((self.plate.count, len(case)))
        forces[2 * nodes, case] = -along - shear * down
        forces[2 * nodes + 1, case] = -down + shear * along
        return forces

    def compliance(self, density: Array) -> float:
        """The mean over the places, under the force towards the hub alone."""
        return self.plate.compliance(density, self.loads(0.0))[0]


def _cells(radius: Array, angle: Array, sectors: int) -> NDArray[np.intp]:
    """A number for each ring of width 1 and each arc of about that length in a sector, the same in all sectors."""
    ring = radius.astype(np.intp)
    share = (angle * sectors / (2 * np.pi) + 1e-9) % 1
    arcs = np.rint(2 * np.pi * (ring + 0.5) / sectors).clip(1)
    return ring * 10_000 + (share * arcs).astype(np.intp)


def as_stiff(wheel: Wheel, shear: float, compliance: float) -> tuple[Optimum, float]:
    """The wheel with the volume that gives it a compliance under the radial force, and that volume.

    Compliance falls about as a power of the volume, so each volume comes from the line through the logarithms of the
    last two.
    """
    loads = wheel.loads(shear)
    volume, power, last = VOLUME, -1.5, None
    for _ in range(6):
        optimum = optimise(wheel.plate, loads, volume, iterations=ITERATIONS)
        miss = np.log(wheel.compliance(optimum.density) / compliance)
        if abs(miss) < CLOSE:
            break
        if last is not None:
            power = min(-0.3, (miss - last[1]) / np.log(volume / last[0]))
        last = volume, miss
        volume = float(np.clip(volume * np.exp(-miss / power), 0.1, 0.9))
    return optimum, volume


def main(folder: Path) -> None:
    folder.mkdir(parents=True)
    first = Wheel.of(SECTORS[0])
    start = optimise(first.plate, first.loads(SHEARS[0]), VOLUME, iterations=ITERATIONS)
    target = first.compliance(start.density)
    print(f"{'sectors':>8}{'shear':>8}{'volume':>9}{'compliance':>12}")
    rows, wheels = [], []
    for shear in SHEARS:
        for sectors in SECTORS:
            wheel = Wheel.of(sectors)
            optimum, volume = as_stiff(wheel, shear, target)
            compliance = wheel.compliance(optimum.density)
            print(f"{sectors:>8}{shear:>8.1f}{volume:>9.3f}{compliance:>12.3f}", flush=True)
            rows.append([sectors, shear, round(volume, 4), round(compliance, 4)])
            wheels.append(optimum.density)
    with open(folder / "wheels.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["sectors", "shear", "volume", "compliance"], *rows])
    draw(wheels, rows, folder / "wheels.png")


def draw(wheels: list[Array], rows: list[list[float]], path: Path) -> None:
    """The wheels, with how much of the ring is material."""
    figure, axes = plt.subplots(
        len(SHEARS), len(SECTORS), figsize=(2 * len(SECTORS), 2.2 * len(SHEARS))
    )
    for axis, wheel, (_, _, volume, _) in zip(axes.flat, wheels, rows, strict=True):
        axis.imshow(wheel, cmap="gray_r", vmin=0, vmax=1, interpolation="bilinear")
        axis.set_title(f"{100 * volume:.0f} %", fontsize=9, pad=2)
        axis.axis("off")
    figure.tight_layout(pad=0.3)
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="a new folder")
    main(parser.parse_args().folder)
