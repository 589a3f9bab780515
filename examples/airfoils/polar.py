"""What NeuralFoil says of airfoils: the evaluators of the design studies in this folder.

Each takes foils, a column for each height of both surfaces at the stations of foils.py, and gives responses by name,
NaN where a foil is none or where the network does not trust itself. Reynolds number 1e6, transition free (n_crit 9), 33
angles of attack from -4 to 12 degrees.

- lift_to_drag: the greatest ratio of lift to drag over the angles.
- drag: the mean drag coefficient at the lift coefficients .6, .9 and 1.2, in counts of 1e-4.
- moment: the least moment coefficient about the quarter chord at these.
- thickness: in chords.
"""

from collections.abc import Mapping

import neuralfoil
import numpy as np
from foils import STATIONS, is_legal
from numpy.typing import NDArray

Array = NDArray[np.float64]

ANGLES = np.linspace(-4, 12, 33)
LIFTS = (0.6, 0.9, 1.2)
REYNOLDS = 1e6
TRUSTED = 0.9
EDGE = 1e-4  # chords, between the surfaces near the trailing edge
RESPONSES = ("lift_to_drag", "drag", "moment", "thickness")


def with_open_edge(designs: Mapping[str, Array]) -> dict[str, Array]:
    """The repair: foils whose surfaces stay apart over the last percent of the chord, by a ten-thousandth at least."""
    names, foils = _named(designs)
    is_edge = STATIONS > 0.99
    middle = foils.mean(1)
    half = np.maximum(foils[:, 0] - foils[:, 1], EDGE) / 2
    foils[:, 0, is_edge] = (middle + half)[:, is_edge]
    foils[:, 1, is_edge] = (middle - half)[:, is_edge]
    return dict(zip(names, foils.reshape(len(foils), -1).T, strict=True))


def large(designs: Mapping[str, Array]) -> dict[str, Array]:
    """By the network `large`, 1.5 ms a foil: the one that is asked in a search."""
    return _responses(designs, "large")


def largest(designs: Mapping[str, Array]) -> dict[str, Array]:
    """By the network `xxxlarge`, 7 ms a foil: a second opinion."""
    return _responses(designs, "xxxlarge")


def _responses(designs: Mapping[str, Array], size: str) -> dict[str, Array]:
    _, foils = _named(designs)
    rows = [_of_one(foil, size) for foil in foils]
    return {name: np.array([row[name] for row in rows]) for name in RESPONSES}


def _named(designs: Mapping[str, Array]) -> tuple[list[str], Array]:
    """The names of the columns, and the foils (N, 2, 65)."""
    values = np.stack(list(designs.values()), axis=1)
    return list(designs), values.reshape(-1, 2, len(STATIONS))


def _of_one(foil: Array, size: str) -> dict[str, float]:
    unknown = dict.fromkeys(RESPONSES, np.nan)
    if not is_legal(foil[None])[0]:
        return unknown
    thickness = float((foil[0] - foil[1]).max())
    polar = neuralfoil.get_aero_from_coordinates(
        outline(foil), alpha=ANGLES, Re=REYNOLDS, model_size=size
    )
    is_trusted = polar["analysis_confidence"] > TRUSTED
    if not is_trusted.any():
        return unknown | {"thickness": thickness}
    lift, drag, moment = (polar[name][is_trusted] for name in ("CL", "CD", "CM"))
    at_lifts = _at_lifts(lift, np.stack([1e4 * drag, moment]))
    return {
        "lift_to_drag": float((lift / drag).max()),
        "drag": float(at_lifts[0].mean()),
        "moment": float(at_lifts[1].min()),
        "thickness": thickness,
    }


def outline(foil: Array) -> Array:
    """The points (129, 2) of a foil (2, 65) from the trailing edge over the top to the nose and back."""
    upper = np.stack([STATIONS, foil[0]], axis=1)
    lower = np.stack([STATIONS, foil[1]], axis=1)
    return np.concatenate([upper[::-1], lower[1:]])


def _at_lifts(lift: Array, values: Array) -> Array:
    """`values` (2, angles) at LIFTS, below the stall; NaN where the foil does not reach them."""
    stall = int(lift.argmax()) + 1
    order = np.argsort(lift[:stall])
    lift, values = lift[:stall][order], values[:, :stall][:, order]
    if lift[0] > LIFTS[0] or lift[-1] < LIFTS[-1]:
        return np.full((2, len(LIFTS)), np.nan)
    return np.stack([np.interp(LIFTS, lift, row) for row in values])
