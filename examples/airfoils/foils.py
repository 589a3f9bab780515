"""Airfoils as a table: the coordinate files that the package aerosandbox carries, on common stations, in three parts.

    python examples/airfoils/foils.py foils

Each row is a foil of chord 1: its name, its family (the letters that its name begins with), and the heights of its
upper and its lower surface at 65 stations x = (1 - cos t) / 2, t from 0 to pi. The parts are families, so that no near
copy of a training foil is in another: the test part is the families `fx` and `uag`, which hold the best foils of both
tasks, and the validation part about an eighth of the other families. Left out are copies and foils that are none: those
whose surfaces cross between 1 and 99 % of the chord, and those of more than 40 % thickness.
"""

import argparse
import csv
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

Array = NDArray[np.float64]

ANGLES = np.linspace(0, np.pi, 65)
STATIONS = (1 - np.cos(ANGLES)) / 2
COLUMNS = [f"{side} {x:.4f}" for side in ("upper", "lower") for x in STATIONS]
HELD_OUT = ("fx", "uag")
THICKEST = 0.4
_VALID_OF = 8  # families


def read_surfaces(path: Path) -> Array:
    """The heights (2, 65) of both surfaces in a coordinate file, from the trailing edge over the top and back.

    Raises:
        ValueError: for a file whose points are in another order, or too few.
    """
    pairs = [_numbers(line) for line in path.read_text(errors="replace").splitlines()]
    points = np.array([pair for pair in pairs if len(pair) == 2]).reshape(-1, 2)
    if len(points) < 10 or points.max() > 2:
        raise ValueError(f"{path.name} holds no points of a foil of chord 1")
    nose = points[:, 0].argmin()
    x = points[:, 0] - points[nose, 0]
    chord = x.max()
    upper = _heights(x[: nose + 1][::-1] / chord, points[: nose + 1, 1][::-1] / chord)
    lower = _heights(x[nose:] / chord, points[nose:, 1] / chord)
    return np.stack([upper, lower]) - points[nose, 1] / chord


def _numbers(line: str) -> list[float]:
    """The numbers of a line that holds nothing else."""
    try:
        return [float(word) for word in line.split()]
    except ValueError:
        return []


def _heights(x: Array, y: Array) -> Array:
    """Heights at the stations, by cubics through the points over t, in which a round nose is smooth."""
    if len(x) < 5 or (np.diff(x) < -1e-3).any():
        raise ValueError("the points go back and forth")
    t = np.arccos(1 - 2 * x.clip(0, 1))
    t, first = np.unique(t, return_index=True)
    return PchipInterpolator(t, y[first])(ANGLES)


def is_legal(surfaces: Array) -> NDArray[np.bool_]:
    """Whether foils (N, 2, 65) are thicker than 0 from 1 to 99 % of the chord, and at most 40 % thick."""
    thickness = surfaces[:, 0] - surfaces[:, 1]
    is_inside = (STATIONS > 0.01) & (STATIONS < 0.99)
    return (thickness[:, is_inside] > 0).all(1) & (thickness.max(1) <= THICKEST)


def families(names: list[str]) -> list[str]:
    """The letters that each name begins with."""
    return [re.match("[a-z]*", name.lower())[0] or name for name in names]


def part_of(family: str) -> str:
    """Which part a family is in."""
    if family in HELD_OUT:
        return "test"
    digest = hashlib.sha256(family.encode()).digest()
    return "valid" if digest[5] % _VALID_OF == 0 else "train"


def database() -> Iterator[tuple[str, Array]]:
    """Name and surfaces of each foil that aerosandbox carries."""
    import aerosandbox

    folder = Path(aerosandbox.__file__).parent / "geometry/airfoil/airfoil_database"
    for path in sorted(folder.glob("*.dat"), key=lambda path: path.name.lower()):
        try:
            yield path.stem, read_surfaces(path)
        except ValueError:
            continue


def main(folder: Path) -> None:
    names, surfaces = zip(*database(), strict=True)
    foils = np.stack(surfaces)
    _, first = np.unique(foils.round(6).reshape(len(foils), -1), axis=0, return_index=True)
    is_kept = np.isin(np.arange(len(foils)), first) & is_legal(foils)
    folder.mkdir(parents=True, exist_ok=True)
    counts = {}
    for part in ("train", "valid", "test"):
        rows = [
            [name, family, *foil.ravel().round(6)]
            for name, family, foil, keep in zip(names, families(names), foils, is_kept, strict=True)
            if keep and part_of(family) == part
        ]
        with open(folder / f"{part}.csv", "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([["name", "family", *COLUMNS], *rows])
        counts[part] = len(rows)
    with open(folder / "stations.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["x"], *STATIONS[:, None].tolist()])
    print(f"{len(foils)} foils read, {int((~is_kept).sum())} copies or illegal; {counts}: {folder}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    main(parser.parse_args().folder)
