"""The last table of the bicycle frames, and a picture: what both judges say of the winners of every search.

python outcome.py     # in the folder of the studies
"""

from pathlib import Path
from statistics import median
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from frames import HERE, JUDGED, halves, rows_of
from matplotlib.axes import Axes
from pyarrow import csv

MASS, *FACTORS = JUDGED
LEAST_FACTOR = 1.5
TITLES = {"lightest": "no newer than the data", "anywhere": "anywhere"}
"""The studies, and how their winners are called in the picture."""


def winners(path: Path) -> list[dict[str, Any]]:
    """The lightest feasible frame of each space and seed in a results.csv, which the rows of the file are."""
    designs = csv.read_csv(path)
    designs = designs.filter(designs["feasible"]).sort_by(MASS).to_pylist()
    best: dict[tuple[str, int], dict[str, Any]] = {}
    for design in designs:
        best.setdefault((design["space"], design["seed"]), design)
    return list(best.values())


def known_lightest() -> dict[str, Any]:
    """The lightest known frame that holds both loads, as it was simulated."""
    known = halves()[0]
    holds = pc.and_(*(pc.greater_equal(known[name], LEAST_FACTOR) for name in FACTORS))
    return known.filter(holds).sort_by(MASS).slice(0, 1).to_pylist()[0]


def judged(designs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Winners with the response `... 2nd` that the second judge gives, and whether both factors hold by it."""
    import judge  # which fits its trees

    second = judge.second(rows_of(pa.Table.from_pylist(designs)))
    found = []
    for place, design in enumerate(designs):
        values = {f"{name} 2nd": float(second[name][place]) for name in JUDGED}
        holds = all(values[f"{name} 2nd"] >= LEAST_FACTOR for name in FACTORS)
        found.append(design | values | {"holds": holds})
    return found


def show(folder: Path) -> None:
    """Print the table and write frames.png."""
    header = ("kg", "kg, 2nd", "SF1, 2nd", "SF3, 2nd", "novelty")
    print(f"{'winners, medians':22}" + "".join(f"{word:>9}" for word in header) + "   hold, 2nd")
    best = {}
    for study in TITLES:
        path = folder / "runs" / study / "results.csv"
        found = judged(winners(path))
        for space in pc.unique(csv.read_csv(path)["space"]).to_pylist():
            of_space = [one for one in found if one["space"] == space]
            print(f"{study + ': ' + space:22}{_medians(of_space)}")
        best[study] = best_of(found)
        _say_what_holds(study, found)
    known = known_lightest()
    first, second = opinions(known)
    factors = " and ".join(f"{known[name]:.2f}" for name in FACTORS)
    print(
        f"The lightest known frame that holds, {known['frame']}, has {known[MASS]:.2f} kg and factors of {factors} as "
        f"simulated, {first:.2f} kg by the first judge and {second:.2f} kg by the second"
    )
    titles = {f"lightest known: {known[MASS]:.2f} kg as simulated": known}
    for study, frame in best.items():
        masses = f"{frame[MASS]:.2f} and {frame[f'{MASS} 2nd']:.2f} kg by the judges"
        titles[f"{TITLES[study]}: {masses}"] = frame
    draw(titles, folder / "frames.png")
    print("Picture: frames.png")


def opinions(frame: dict[str, Any]) -> list[float]:
    """The mass of a frame by the first judge and by the second."""
    import judge  # which fits its trees

    rows = rows_of(pa.Table.from_pylist([frame]))
    return [float(one(rows)[MASS][0]) for one in (judge.responses, judge.second)]


def _medians(found: list[dict[str, Any]]) -> str:
    """The cells of a search: medians over its seeds, and how many of its winners hold by the second judge."""
    if not found:
        return "  none feasible"
    columns = (MASS, *(f"{name} 2nd" for name in JUDGED))
    cells = [median([one[name] for one in found]) for name in columns]
    # Of a study without that constraint a results.csv has the novelty too: the evaluator gives it.
    cells.append(median([one["novelty"] for one in found]))
    return "".join(f"{cell:9.2f}" for cell in cells) + f"{_held(found):6d} of {len(found)}"


def _held(found: list[dict[str, Any]]) -> int:
    return sum(one["holds"] for one in found)


def best_of(found: list[dict[str, Any]]) -> dict[str, Any]:
    """The lightest winner by the second judge, of those that hold by both if there are any."""
    holding = [one for one in found if one["holds"]]
    return min(holding or found, key=lambda one: one[f"{MASS} 2nd"])


def _say_what_holds(study: str, found: list[dict[str, Any]]) -> None:
    best = best_of(found)
    print(f"{study}: {_held(found)} of {len(found)} winners hold by both judges", end="")
    if best["holds"]:
        print(
            f", the lightest, {best['id']}, with {best[MASS]:.2f} kg by the first and "
            f"{best[f'{MASS} 2nd']:.2f} kg by the second",
            end="",
        )
    print()


# --- the picture --------------------------------------------------------------------------------------------------


def tubes(frame: dict[str, Any]) -> dict[str, tuple[tuple[float, float], tuple[float, float]]]:
    """The ends of each tube of a frame from the side, in metres from the bottom bracket."""

    def along(degrees: float, length: float) -> np.ndarray:
        angle = np.radians(degrees)
        return length * np.array([-np.cos(angle), np.sin(angle)])

    bottom = np.zeros(2)
    drop, stay = frame["BB Drop"], frame["CS Length"]
    axle = np.array([-np.sqrt(stay**2 - drop**2), drop])
    seat = along(frame["ST Angle"], frame["ST Length"])
    upward = along(frame["HT Angle"], 1.0)
    height = frame["Stack"] + upward[1] * (frame["HT LX"] - frame["HT Length"])
    down = np.array([np.sqrt(frame["DT Length"] ** 2 - height**2), height])
    low = down - frame["HT LX"] * upward
    head = low + frame["HT Length"] * upward
    top = seat - along(frame["ST Angle"], frame["ST UX"])
    return {
        "SS": (axle, top - along(frame["ST Angle"], frame["SS E"])),
        "CS": (axle, bottom),
        "TT": (top, head - frame["HT UX"] * upward),
        "DT": (bottom, down),
        "ST": (bottom, seat),
        "HT": (low, head),
    }


def draw_frame(axes: Axes, frame: dict[str, Any], title: str) -> None:
    """A frame from the side: tubes as wide as they are, the darker the thicker their walls."""
    for name, (start, end) in tubes(frame).items():
        width, wall = frame[f"{name} OD"], frame[f"{name} Thickness"]
        along = np.subtract(end, start)
        across = np.array([-along[1], along[0]]) / np.linalg.norm(along) * width / 2
        corners = [start + across, end + across, end - across, start - across]
        shade = matplotlib.colormaps["viridis_r"](min(1.0, wall / 0.006))
        axes.add_patch(plt.Polygon(corners, facecolor=shade, edgecolor="black", linewidth=0.5))
    axes.set(title=title, xlim=(-0.5, 0.5), ylim=(-0.35, 0.75), aspect="equal")
    axes.axis("off")


def draw(frames: dict[str, dict[str, Any]], path: Path) -> None:
    """Frames side by side, each below its title, a colon of which begins its second line."""
    figure, axes = plt.subplots(1, len(frames), figsize=(3.8 * len(frames), 3.6), squeeze=False)
    for place, (title, frame) in zip(axes[0], frames.items(), strict=True):
        draw_frame(place, frame, title.replace(": ", "\n"))
    figure.text(0.5, 0.1, "the darker a tube, the thicker its wall, up to 6 mm", ha="center")
    figure.savefig(path, dpi=90, bbox_inches="tight")
    plt.close(figure)


if __name__ == "__main__":
    show(HERE)
