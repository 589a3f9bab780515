"""How designs that are outlines become drawings."""

from dataclasses import dataclass

from variform.config.checks import Positive, checked


@checked
@dataclass(frozen=True, kw_only=True)
class DrawingConfig:
    """What a drawing needs beside the numbers of a design.

    Args:
        stations: A .csv or .npy file with the place x of every column, or of the columns of one side where the first
            half of a row is one side of an outline and the second half the other; for rows that hold heights y alone.
            By default those that the model was trained with.
        unit: Unit of the coordinates, such as `mm`, `m` or `in`; by default the one in the names of the columns.
        depth: How far outlines are extruded in a .stl file, in the unit of the coordinates.
    """

    stations: str | None = None
    unit: str | None = None
    depth: Positive | None = None
