"""The picture of a study of airfoils: the best so far of several spaces, and the foils that were selected from it.

python pictures.py drag     # in the folder of the studies: drag.png from runs/drag and drag.csv
"""

import argparse
import csv
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from foils import COLUMNS, STATIONS
from matplotlib.axes import Axes
from numpy.typing import NDArray

from variform.system.files import read_json

Array = NDArray[np.float64]

COLOURS = ("tab:blue", "tab:orange", "tab:green", "tab:red")


def rows_of(path: Path) -> list[dict[str, str]]:
    """The rows of a table by the names of its columns."""
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def outline(row: dict[str, str]) -> Array:
    """The points (130, 2) of a foil, from the trailing edge over the top and back."""
    upper, lower = np.array([float(row[name]) for name in COLUMNS]).reshape(2, -1)
    x = np.concatenate([STATIONS[::-1], STATIONS])
    return np.stack([x, np.concatenate([upper[::-1], lower])], axis=1)


def shown(spaces: list[dict[str, Any]], goal: str) -> list[dict[str, Any]]:
    """The spaces but, of several PCAs, only the one whose median is best."""
    pcas = [one for one in spaces if one["name"].startswith("pca-")]
    others = [one for one in spaces if one not in pcas]
    pcas.sort(key=lambda one: one["best"][1], reverse=goal == "max")
    return [*others[:1], *pcas[:1], *others[1:]]


def draw_curves(axes: Axes, results: dict[str, Any]) -> None:
    """The best design so far after each evaluation: the median over seeds, and the quartiles."""
    name, goal, unit = results["objectives"][0]
    worst = np.inf if goal == "min" else -np.inf
    for space, colour in zip(shown(results["spaces"], goal), COLOURS, strict=False):
        curves = np.array(space["curves"], dtype=float)
        curves[~np.isfinite(curves)] = worst
        low, middle, high = np.quantile(curves, (0.25, 0.5, 0.75), axis=0, method="nearest")
        evaluations = np.arange(1, len(middle) + 1)
        axes.plot(evaluations, middle, color=colour, label=space["name"])
        axes.fill_between(evaluations, low, high, color=colour, alpha=0.15, linewidth=0)
    known = results["best_known"]
    axes.axhline(known["best"], color="black", linestyle="--", linewidth=1)
    worse = "bottom" if goal == "min" else "top"
    label = f"best known: {known['name']} "
    axes.text(len(middle), known["best"], label, ha="right", va=worse)
    axes.set_ylim(*limits([one["best"][1] for one in results["spaces"]], known["best"], goal))
    label = f"{name} [{unit}]" if unit else name.replace("_", " ")
    axes.set(xlabel="evaluations", ylabel=label, title="best so far: median, quartiles")
    axes.set_xlim(1, len(middle))
    axes.legend(frameon=False)


def limits(ends: list[float], known: float, goal: str) -> tuple[float, float]:
    """What of the axis is shown: where searches end and what is known, and as much again on the worse side."""
    low, high = min([*ends, known]), max([*ends, known])
    span = high - low
    if goal == "min":
        return low - 0.4 * span, high + 1.2 * span
    return low - 1.2 * span, high + 0.4 * span


def draw_foil(axes: Axes, foil: dict[str, str], nearest: dict[str, str], title: str) -> None:
    """A foil, and the nearest known one as a line."""
    axes.fill(*outline(foil).T, color="tab:blue", alpha=0.3, linewidth=0)
    axes.plot(*outline(foil).T, color="tab:blue", linewidth=1)
    axes.plot(*outline(nearest).T, color="black", linewidth=0.7, linestyle=":")
    axes.set_title(title, fontsize=9, pad=1)
    axes.set(aspect="equal", xlim=(-0.01, 1.01))
    axes.axis("off")


def draw(folder: Path, task: str) -> None:
    """Write the picture of a task."""
    results = read_json(folder / "runs" / task / "results.json")
    foils = rows_of(folder / f"{task}.csv")
    known = {row["name"]: row for row in rows_of(folder / "foils" / "train.csv")}
    figure = plt.figure(figsize=(9, 4), layout="constrained")
    grid = figure.add_gridspec(len(foils), 2)
    draw_curves(figure.add_subplot(grid[:, 0]), results)
    name, _, unit = results["objectives"][0]
    heights = np.concatenate([outline(foil)[:, 1] for foil in foils])
    for number, foil in enumerate(foils):
        value = f"{float(foil[name]):.1f} {unit}".strip()
        title = f"{value}; dotted the nearest known one, {foil['nearest']}"
        axes = figure.add_subplot(grid[number, 1])
        draw_foil(axes, foil, known[foil["nearest"]], title)
        axes.set_ylim(heights.min() - 0.01, heights.max() + 0.01)
    figure.savefig(folder / f"{task}.png", dpi=100)
    plt.close(figure)
    print(f"Picture: {folder / task}.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("task")
    draw(Path(), parser.parse_args().task)
