"""Bicycle frames as a table, in two halves: known designs, and those that a judge learns from.

    python examples/frames/frames.py known.csv

The table is FRAMED (Regenwetter, Weaver and Ahmed 2022; MIT, see LICENSE-FRAMED): 4,047 frames, a row each, with 37
columns of geometry (metres and degrees), walls (metres) and material, and the responses of three load cases by finite
elements. Its first column, which had no name, is called `frame`. Frames of even numbers are the known designs; those of
odd ones are seen by the judge alone.
"""

import argparse
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import csv

Array = NDArray[np.float64]
Rows = Mapping[str, NDArray[Any]]
"""Frames as columns by name, (n,) each, as an evaluator gets them."""

HERE = Path(__file__).resolve().parent
MATERIALS = ("Aluminum", "Steel", "Titanium")
JUDGED = ("Model Mass", "Sim 1 Safety Factor", "Sim 3 Safety Factor")


@cache
def table() -> pa.Table:
    """All frames, without the batch in which each was simulated."""
    return csv.read_csv(HERE / "framed.csv.gz").drop_columns("batch")


def halves() -> tuple[pa.Table, pa.Table]:
    """The known designs, and the frames of the judge."""
    is_odd = pc.bit_wise_and(table()["frame"], 1)
    return table().filter(pc.equal(is_odd, 0)), table().filter(pc.equal(is_odd, 1))


def responses() -> list[str]:
    """What was simulated of each frame."""
    return [name for name in table().column_names if name.startswith(("Sim ", "Model Mass"))]


def rows_of(frames: pa.Table) -> Rows:
    """The columns that a frame is made of."""
    others = {"frame", *responses()}
    names = [name for name in table().column_names if name not in others]
    return {name: frames[name].to_numpy() for name in names}


def numbers_of(rows: Rows) -> Array:
    """Frames as one array (n, 37), with materials as 0, 1 and 2."""
    numbers = dict(rows)
    numbers["Material"] = np.array([MATERIALS.index(name) for name in rows["Material"]])
    return np.column_stack(list(numbers.values())).astype(np.float64)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("file", type=Path)
    known, of_judge = halves()
    csv.write_csv(known, parser.parse_args().file)
    print(f"{len(known):,} known frames; {len(of_judge):,} are the judge's alone")
