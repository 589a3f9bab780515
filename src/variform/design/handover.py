"""Designs as files for others: tables and drawings, each with a file that says where the designs come from."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from variform.config.checks import Positive, checked
from variform.config.units import name_and_unit
from variform.config.words import counted, listed
from variform.data.outlines import Layout, joined, outlines_of
from variform.data.schema import Schema
from variform.design.coding import designs_of, some_rows
from variform.design.neighbours import Neighbours
from variform.export.drawings import DRAWINGS, Drawing
from variform.export.outlines import area, is_closed, polygon
from variform.export.rows import write_rows, write_table
from variform.system.files import new_folder, replacing, require_new, write_json
from variform.version import __version__

Array = np.ndarray[Any, np.dtype[Any]]

SUFFIXES = (".csv", ".npy", *DRAWINGS)
_MOST_NAMED = 3


@dataclass(frozen=True, eq=False, kw_only=True)
class Origin:
    """Where n designs come from, and what is known of them.

    Args:
        made_by: What made them, as plain values: the run, the hash of its model, the fingerprint of its data.
        space: The design space that the points are in, such as `latent`.
        points: Where the designs lie in it, (n, dim), or n points of several spaces.
        seed: Seed of the draws.
        responses: What an evaluator gave, (n,) numbers or texts by name.
        units: Units of responses by name, where they are not in their names.
        given: What a conditional model was given: names, and a list of cells for each design.
        neighbours: The known designs, of which the nearest are named.
        flags: What must be said of each design, n lists of sentences.
        notes: What must be said of all.

    Example:
        >>> Origin(space="latent", points=np.zeros((1, 2)), responses={"drag": np.array([64.8])}).of_design(0)
        {'point': [0.0, 0.0], 'responses': {'drag': 64.8}}
    """

    made_by: Mapping[str, Any] = field(default_factory=dict)
    space: str = ""
    points: Array | Sequence[Array] | None = None
    seed: int | None = None
    responses: Mapping[str, Array] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    given: tuple[Sequence[str], Sequence[Sequence[str]]] = ((), ())
    neighbours: Neighbours | None = None
    flags: Sequence[Sequence[str]] = ()
    notes: Sequence[str] = ()

    def of_design(self, number: int) -> dict[str, Any]:
        """What is known of the design `number`, from 0, as plain values."""
        record: dict[str, Any] = {}
        if self.points is not None:
            record["point"] = np.asarray(self.points[number], float).tolist()
        if self.responses:
            chosen = {name: np.asarray(values)[number] for name, values in self.responses.items()}
            record["responses"] = {name: value.item() for name, value in chosen.items()}
        heads, cells = self.given
        if cells:
            record["given"] = dict(zip(heads, cells[number], strict=True))
        return record


@dataclass(frozen=True)
class HandedOver:
    """What was written.

    Args:
        path: The file, or the folder of several drawings.
        provenance: The file beside or in it that says where the designs come from.
        designs: How many designs were written.
        refused: Why others were not, by their number from 0.
    """

    path: Path
    provenance: Path
    designs: int
    refused: dict[int, str] = field(default_factory=dict)

    def warnings(self) -> list[str]:
        """What must be said of it."""
        if not self.refused:
            return []
        shown = [
            f"design {number + 1}: {reason}"
            for number, reason in list(self.refused.items())[:_MOST_NAMED]
        ]
        more = len(self.refused) - len(shown)
        rest = [f"{more} more, which {self.provenance.name} names"] if more else []
        words = counted(len(self.refused), "outline")
        return [f"{words} cannot be drawn and left out: {'; '.join([*shown, *rest])}."]


@checked
def export_designs(
    designs: Array,
    path: str | Path,
    *,
    schema: Schema | None = None,
    columns: Sequence[str] = (),
    names: Sequence[str] = (),
    stations: Array | None = None,
    unit: str | None = None,
    depth: Positive | None = None,
    origin: Origin | None = None,
) -> HandedOver:
    """Write designs for other programs, whole or not at all; the suffix says how.

    `.csv` and `.npy` hold all designs, `.dat` (Selig), `.svg`, `.stl` (extruded) and `.dxf` the outline of one: of
    several designs these go to a new folder that is called as the file would be, without the suffix. Beside a file
    stands FILE.json and in a folder provenance.json, with the checksums of the files and, for each design, its point,
    responses, nearest known design and flags. Outlines that cross or touch themselves are not written.

    Args:
        designs: (n, D) in the user's units, or outlines (n, P, 2) or (n, 2, P).
        path: The new file, or of several drawings where the folder goes.
        schema: What the designs are.
        columns: Names of the columns where there is no schema.
        names: What the designs are called; by default their numbers.
        stations: The places x of all columns (D,) or of one side (D / 2,), for designs of heights y alone; by default
            those of the schema.
        unit: Of the coordinates; by default the one in the names of the columns.
        depth: How far outlines are extruded in a .stl file, in that unit.
        origin: Where the designs come from.

    Raises:
        FileExistsError: when there is something at `path` already.
        ValueError: for another suffix, for rows that are no outlines, and where no outline can be drawn.

    Example:
        >>> import json, tempfile
        >>> square = np.array([[[0.0, 0], [30, 0], [30, 30], [0, 30]]])
        >>> path = Path(tempfile.mkdtemp()) / "plate.svg"
        >>> written = export_designs(square, path, unit="mm", origin=Origin(responses={"mass [g]": np.array([2.5])}))
        >>> json.loads(written.provenance.read_text())["designs"][0]["responses"]
        {'mass [g]': 2.5}
    """
    path, origin = Path(path), origin or Origin()
    _require_sizes(len(designs), path, names, origin)
    columns = columns if schema is None else schema.columns
    units = {} if schema is None else schema.units
    if unit is None:
        unit = _unit_of(columns, units)
    record: dict[str, Any] = {
        "variform": __version__,
        "made_by": dict(origin.made_by),
        "space": origin.space,
        "seed": origin.seed,
        "unit": unit,
        "response_units": {
            name: origin.units.get(name) or _own_unit(name, units) for name in origin.responses
        },
        "notes": list(origin.notes),
        "designs": _records(designs, names, schema, origin),
    }
    if path.suffix not in DRAWINGS:
        return _export_table(designs, path, schema, columns, record)
    layout = None if schema is None else schema.outline
    outlines = _outlines(designs, columns, stations, layout, record["designs"], origin)
    titles = names or [f"design {number + 1}" for number in range(len(designs))]
    polygons, refused = _polygons(outlines)
    drawings = {
        number: Drawing(corners, titles[number], unit, depth, is_closed(outlines[number]))
        for number, corners in polygons.items()
    }
    record["depth"] = depth if path.suffix == ".stl" else None
    return _export_drawings(drawings, refused, path, names, record)


def _require_sizes(count: int, path: Path, names: Sequence[str], origin: Origin) -> None:
    if path.suffix not in SUFFIXES:
        raise ValueError(
            f"designs must go to a file that ends in one of {listed(SUFFIXES)}; got {path.name}. Rename it."
        )
    if not count:
        raise ValueError("there must be a design to hand over; got none. Give at least one row.")
    parts = {
        "names": len(names) or count,
        "points": count if origin.points is None else len(origin.points),
        "flags": len(origin.flags) or count,
        "cells of given": len(origin.given[1]) or count,
    } | {name: len(values) for name, values in origin.responses.items()}
    for name, size in parts.items():
        if size != count:
            raise ValueError(
                f"{name} must be as many as the designs, {count}; got {size}. Give one for each design."
            )


def _own_unit(name: str, units: Mapping[str, str]) -> str:
    """The unit of a column or a response, by what is known or by its name."""
    return units.get(name) or name_and_unit(name)[1]


def _unit_of(columns: Sequence[str], units: Mapping[str, str]) -> str:
    """The unit of all columns; empty where they have none, or several."""
    found = {_own_unit(column, units) for column in columns}
    return found.pop() if len(found) == 1 else ""


def _in_double(designs: Array) -> Array:
    """Numbers of 32 bits as the shortest decimals that stand for them: 0.1 is not 0.10000000149."""
    if designs.dtype == np.float32:
        return designs.astype(str).astype(np.float64)
    return np.asarray(designs, np.float64)


def _records(
    designs: Array, names: Sequence[str], schema: Schema | None, origin: Origin
) -> list[dict[str, Any]]:  # fmt: skip
    """What is known of each design, as plain values."""
    records = [{"number": number + 1} | origin.of_design(number) for number in range(len(designs))]
    for record, name in zip(records, names, strict=False):
        record["name"] = name
    if origin.neighbours is not None:
        nearest = origin.neighbours.nearest(designs)
        for number, record in enumerate(records):
            record["nearest"] = {
                "row": int(nearest.row[number]),
                "name": None if nearest.name is None else str(nearest.name[number]),
                "distance": float(nearest.distance[number]),
                "unit": origin.neighbours.unit,
                "novelty": float(nearest.novelty[number]),
            }
    for number, record in enumerate(records):
        own = list(origin.flags[number]) if origin.flags else []
        record["flags"] = own + _out_of_range(designs[number], schema)
    return records


def _out_of_range(design: Array, schema: Schema | None) -> list[str]:
    """A sentence on columns in which a design lies outside all known rows."""
    if schema is None or schema.kind != "table":
        return []
    is_out = (design < np.array(schema.low)) | (design > np.array(schema.high))
    names = [name for name, out in zip(schema.columns, is_out, strict=True) if out]
    if not names:
        return []
    return [f"outside the range of the data in {counted(len(names), 'column')}: {listed(names)}"]


def _outlines(
    designs: Array, columns: Sequence[str], stations: Array | None, layout: Layout | None,
    records: list[dict[str, Any]], origin: Origin,
) -> Array:  # fmt: skip
    """The outlines of designs, joined where those of all known ones are, which their records then say."""
    values = _in_double(designs)
    if origin.neighbours is None:
        return outlines_of(values, columns, stations, layout=layout)
    known = designs_of(some_rows(origin.neighbours.train))
    outlines, gaps = joined(
        outlines_of(values, columns, stations, known=known, layout=layout),
        outlines_of(known, columns, stations, known=known, layout=layout),
    )
    for record, gap in zip(records, gaps.tolist(), strict=True):
        if gap:
            record["flags"].append(
                f"neighbouring points that are one in all known rows were joined; they were {gap:.3g} apart"
            )
    return outlines


def _polygons(outlines: Array) -> tuple[dict[int, Array], dict[int, str]]:
    """The corners of outlines (n, P, 2) that can be drawn, and why others cannot, by their numbers from 0."""
    polygons, refused = {}, {}
    for number, points in enumerate(outlines):
        try:
            polygons[number] = polygon(points)
        except ValueError as error:
            refused[number] = str(error)
    if not polygons:
        raise ValueError(
            "an outline must be a closed curve that does not meet itself; of "
            f"{counted(len(outlines), 'design')} none is one, the first since {refused[0]}. Choose other designs."
        )
    return polygons, refused


def _export_drawings(
    drawings: dict[int, Drawing], refused: dict[int, str], path: Path, names: Sequence[str],
    record: dict[str, Any],
) -> HandedOver:  # fmt: skip
    """A file for each drawing: alone, or several in a folder."""
    contents = {number: DRAWINGS[path.suffix](one) for number, one in drawings.items()}
    designs = record["designs"]
    is_alone = len(designs) == 1
    files = [path.name] if is_alone else _file_names(len(designs), names, path.suffix)
    for number, content in contents.items():
        designs[number] |= {"file": files[number], "sha256": _digest(content)}
        designs[number]["area"] = area(drawings[number].points)
    for number, reason in refused.items():
        designs[number]["refused"] = reason
    if is_alone:
        provenance = _beside(path)
        with replacing(path, new=True) as temporary:
            temporary.write_bytes(contents[0])
        write_json(provenance, record)
        return HandedOver(path, provenance, 1)
    folder = path.with_suffix("")
    with new_folder(folder) as temporary:
        for number, content in contents.items():
            (temporary / files[number]).write_bytes(content)
        write_json(temporary / "provenance.json", record)
    return HandedOver(folder, folder / "provenance.json", len(contents), refused)


def _export_table(
    designs: Array, path: Path, schema: Schema | None, columns: Sequence[str], record: dict[str, Any]
) -> HandedOver:  # fmt: skip
    """All designs in one file."""
    provenance = _beside(path)
    if schema is not None and schema.kind == "table" and path.suffix == ".csv":
        write_table(path, designs, schema)
    else:
        heads = columns or [f"column {place + 1}" for place in range(designs[0].size)]
        write_rows(path, designs, heads)
    write_json(provenance, record | {"file": path.name, "sha256": _digest(path.read_bytes())})
    return HandedOver(path, provenance, len(designs))


def _beside(path: Path) -> Path:
    """The file that says where that at `path` comes from; both must be new."""
    provenance = path.with_name(f"{path.name}.json")
    for item in (path, provenance):
        require_new(item)
    return provenance


def _file_names(count: int, names: Sequence[str], suffix: str) -> list[str]:
    """A file for each design: its number, and its name where it has one."""
    digits = len(str(count))
    files = [f"{number + 1:0{digits}d}" for number in range(count)]
    for number, name in enumerate(names):
        files[number] += "-" + re.sub(r"[^\w.-]+", "-", name).strip("-.")[:80]
    return [file + suffix for file in files]


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
