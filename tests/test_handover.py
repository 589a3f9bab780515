"""Designs in files of others: read back by programs that are not ours, with areas and volumes in closed form."""

import hashlib
import json
import math
import struct
import xml.etree.ElementTree as xml
from collections import Counter
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import torch

from variform import DataConfig, ModelConfig, RunConfig
from variform.config.run import EvaluationConfig
from variform.config.training import TrainConfig
from variform.data.outlines import outlines_of
from variform.data.reading import dataset_from
from variform.design.handover import Origin, export_designs
from variform.design.neighbours import Neighbours
from variform.export.drawings import UNITS
from variform.export.outlines import area, crossing, polygon, triangles
from variform.faces.cli.commands import run as command
from variform.runs.train import train_run

SQUARE = np.array([[0.0, 0], [30, 0], [30, 20], [0, 20]])


def circle(count=1000, radius=1.0, centre=(0.0, 0.0)):
    angle = np.linspace(0, 2 * math.pi, count, endpoint=False)
    return radius * np.stack([np.cos(angle), np.sin(angle)], 1) + centre


def naca(thickness=0.12, camber=0.02, place=0.4, count=65, *, is_closed=True):
    """The outline of a NACA 4-digit airfoil from the trailing edge over the top (Jacobs, Ward and Pinkerton, 1933)."""
    x = 0.5 * (1 + np.cos(np.linspace(0, math.pi, count)))
    last = 0.1036 if is_closed else 0.1015
    half = (
        5
        * thickness
        * (0.2969 * np.sqrt(x) - 0.126 * x - 0.3516 * x**2 + 0.2843 * x**3 - last * x**4)
    )
    before = camber / place**2 * (2 * place * x - x**2)
    behind = camber / (1 - place) ** 2 * (1 - 2 * place + 2 * place * x - x**2)
    middle = np.where(x < place, before, behind)
    top = np.stack([x, middle + half], 1)
    bottom = np.stack([x, middle - half], 1)[::-1]
    return np.concatenate([top, bottom[1:]])


SHAPES = {
    "square": SQUARE,
    "square, clockwise and closed": np.concatenate([SQUARE[::-1], SQUARE[-1:]]),
    "circle": circle(),
    "tiny": circle(60, 1e-9),
    "huge": circle(60, 3e9),
    "airfoil": naca(),
    "blunt airfoil": naca(is_closed=False),
    "sides with many points": np.array(
        [[x, 0.1 * x] for x in range(9)] + [[8, 5], [4, 5], [0, 5]], float
    ),
    "star": circle(400)
    * (1 + 0.5 * np.cos(9 * np.linspace(0, 2 * math.pi, 400, endpoint=False)))[:, None],
}


def exact_area(points):
    """By the shoelace formula in fractions, without any rounding."""
    corners = [(Fraction(x), Fraction(y)) for x, y in np.asarray(points, float).tolist()]
    behind = corners[1:] + corners[:1]
    return float(
        abs(sum(x * v - u * y for (x, y), (u, v) in zip(corners, behind, strict=True))) / 2
    )


def same_loop(found, expected, bound):
    """Whether two closed curves have the same corners in the same cyclic order, in either direction."""
    step = np.abs(expected - np.roll(expected, 1, axis=0)).max(1)
    corners = expected[step > 1e-12 * np.ptp(expected)]
    assert len(found) == len(corners)
    start = int(np.abs(corners - found[0]).sum(1).argmin())
    ways = [np.roll(corners, -start, axis=0), np.roll(corners[::-1], start + 1, axis=0)]
    assert min(np.abs(found - way).max() for way in ways) <= bound


# --- formats ------------------------------------------------------------------------------------------------------


def read_dat(path):
    lines = path.read_text().splitlines()
    points = np.loadtxt(lines[1:])
    return points[:-1] if (points[0] == points[-1]).all() else points


def read_svg(path):
    """The corners on the screen, where y points down, with y turned up again."""
    root = xml.parse(path).getroot()
    name = "{http://www.w3.org/2000/svg}"
    (path,) = root.iter(f"{name}path")
    assert root.find(f"{name}g").get("transform") == "scale(1 -1)"
    text = path.get("d")
    assert text.startswith("M") and text.endswith("Z")
    points = np.array([[float(v) for v in pair.split(",")] for pair in text[1:-1].split("L")])
    left, top, width, height = (float(value) for value in root.get("viewBox").split())
    screen = points * [1, -1]
    assert (screen > [left, top]).all() and (screen < [left + width, top + height]).all()
    return points


def read_dxf(path):
    ezdxf = pytest.importorskip("ezdxf")
    document = ezdxf.readfile(path)
    assert not document.audit().errors
    (line,) = document.modelspace()
    assert line.dxftype() == "LWPOLYLINE" and line.closed
    return np.array([point[:2] for point in line.get_points()])


def read_stl(path):
    """The facets of a binary file: normals (N, 3) and corners (N, 3, 3)."""
    content = path.read_bytes()
    (count,) = struct.unpack("<I", content[80:84])
    assert len(content) == 84 + 50 * count and not content.startswith(b"solid")
    facets = np.array(list(struct.iter_unpack("<12fH", content[84:])))[:, :12].reshape(count, 4, 3)
    return facets[:, 0], facets[:, 1:]


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize(
    ("suffix", "read"), [("dat", read_dat), ("svg", read_svg), ("dxf", read_dxf)]
)
def test_drawings_read_back_to_the_last_digit(name, suffix, read, tmp_path):
    shape = SHAPES[name]
    written = export_designs(shape[None], tmp_path / f"one.{suffix}")
    bound = 1e-12 * np.ptp(shape) if suffix == "dxf" else 0
    same_loop(read(written.path), shape, bound)


@pytest.mark.parametrize("name", SHAPES)
def test_a_solid_is_closed_and_has_the_volume_of_area_times_depth(name, tmp_path):
    shape = SHAPES[name]
    depth = 0.25 * np.ptp(shape, 0).max()
    normals, corners = read_stl(export_designs(shape[None], tmp_path / "one.stl", depth=depth).path)
    ways = Counter()
    for facet in corners.tolist():
        places = [tuple(place) for place in facet]
        ways.update(zip(places, places[1:] + places[:1], strict=True))
    assert set(ways.values()) == {1}  # each edge once in each direction, so between two facets
    assert all(edge[::-1] in ways for edge in ways)
    unit = corners / np.ptp(shape, 0).max()
    # By the divergence theorem; positive where facets look outwards.
    volume = np.linalg.det(unit).sum() / 6
    expected = exact_area(shape) / np.ptp(shape, 0).max() ** 2 * 0.25
    centre = np.abs(unit).max()
    assert volume == pytest.approx(expected, rel=1e-5 * max(1, centre))
    turn = np.cross(unit[:, 1] - unit[:, 0], unit[:, 2] - unit[:, 0])
    size = np.linalg.norm(turn, axis=1)
    is_wide = size > 1e-5
    found = turn[is_wide] / size[is_wide, None]
    assert np.abs(found - normals[is_wide]).max() < 2e-3
    bottom = corners[:, :, 2] == 0
    points = np.unique(corners[bottom][:, :2], axis=0)
    kept = polygon(shape)
    assert len(points) == len(kept)
    assert (
        np.abs(corners[bottom][:, None, :2] - kept).max(2).min(1).max()
        <= 1e-6 * np.ptp(shape, 0).max()
    )


def test_areas_of_the_circle_and_of_polygons_are_exact():
    count = 1000
    assert area(circle(count)) == pytest.approx(
        count / 2 * math.sin(2 * math.pi / count), rel=1e-13
    )
    assert area(circle(count, 1.0, (1e9, 1e9))) == pytest.approx(math.pi, rel=1e-5)
    for shape in SHAPES.values():
        assert area(polygon(shape)) == pytest.approx(exact_area(shape), rel=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_triangles_cover_a_polygon_once(seed):
    random = np.random.default_rng(seed)
    count = int(random.integers(3, 60))
    angle = np.sort(random.uniform(0, 2 * math.pi, count))
    points = random.uniform(0.2, 1, (count, 1)) * np.stack([np.cos(angle), np.sin(angle)], 1)
    if crossing(points) is not None or area(points) <= 0:
        pytest.skip("the origin lies outside")
    found = triangles(points)
    a, b, c = points[found].swapaxes(0, 1)
    sizes = ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]) / 2
    assert len(found) == count - 2 and (sizes > 0).all()
    assert sizes.sum() == pytest.approx(area(points), rel=1e-12)


@pytest.mark.parametrize(
    ("unit", "code", "size"), [("mm", 4, 1), ("m", 6, 1000), ("in", 1, 25.4), ("chord", 0, None)]
)
def test_drawings_state_the_unit(unit, code, size, tmp_path):
    svg = xml.parse(export_designs(SQUARE[None], tmp_path / "a.svg", unit=unit).path).getroot()
    width = float(svg.get("viewBox").split()[2])
    assert svg.get("width") == (None if size is None else f"{size * width!r}mm")
    ezdxf = pytest.importorskip("ezdxf")
    document = ezdxf.readfile(export_designs(SQUARE[None], tmp_path / "a.dxf", unit=unit).path)
    assert document.header["$INSUNITS"] == code
    if size is not None:
        assert ezdxf.units.conversion_factor(code, 4) == pytest.approx(size)


def test_the_units_are_those_of_ezdxf():
    units = pytest.importorskip("ezdxf.units")
    for unit in UNITS.values():
        assert units.conversion_factor(unit.dxf, units.MM) == pytest.approx(unit.millimetres)


# --- airfoils -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_closed", [True, False])
@pytest.mark.parametrize("turn", [0, 20, 64, 65, 100])
@pytest.mark.parametrize("way", [1, -1])
def test_an_airfoil_runs_from_the_trailing_edge_over_the_top(is_closed, turn, way, tmp_path):
    expected = naca(is_closed=is_closed)
    corners = expected[:-1] if is_closed else expected
    if is_closed:
        assert np.abs(expected[0] - expected[-1]).max() < 1e-15
        expected[-1] = expected[0]
    shape = np.roll(corners, turn, axis=0)[::way]
    written = export_designs(shape[None], tmp_path / "foil.dat", names=["NACA 2412"])
    lines = written.path.read_text().splitlines()
    assert lines[0] == "NACA 2412" and np.array_equal(np.loadtxt(lines[1:]), expected)
    assert np.loadtxt(lines[1:])[:, 1].max() == expected[:65, 1].max()


@pytest.mark.parametrize(
    ("ends", "second"),
    [
        (
            [(0.99964, 0.00021), (1.0, -0.00059)],
            None,
        ),  # as foils of the UIUC database begin and end
        ([(1.0, 0.0), (0.99893, -0.004)], None),
        ([(1.0, 0.0), (1.0, 0.0)], None),
        ([(1.0, 0.0), (1.0, 0.0)], (0.99893, 0.00139)),
    ],
)
def test_an_airfoil_that_came_in_order_keeps_its_ends(ends, second, tmp_path):
    shape = naca()
    shape[[0, -1]] = ends
    if second is not None:
        shape[1] = second
    path = export_designs(shape[None], tmp_path / "foil.dat").path
    assert np.array_equal(np.loadtxt(path.read_text().splitlines()[1:]), shape)


# --- what is no outline -------------------------------------------------------------------------------------------


def test_outlines_that_meet_themselves_are_refused_with_the_place(tmp_path):
    angle = np.linspace(0, 2 * math.pi, 100, endpoint=False) + 0.01
    eight = np.stack([np.sin(angle), np.sin(angle) * np.cos(angle)], 1)
    words = "crosses or touches itself: segments 50 and 100 meet at"
    with pytest.raises(ValueError, match=words) as caught:
        export_designs(eight[None], tmp_path / "eight.svg")
    place = str(caught.value).split("meet at (")[1].split(")")[0].split(", ")
    assert np.abs(np.array(place, float)).max() < 1e-3 and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("points", "words"),
    [
        ([[0, 0], [2, 0], [2, 2], [1, 0], [0, 2]], "segments 1 and 3 meet at (1, 0)"),
        ([[0, 0], [2, 0], [2, 2], [1, 1], [2, 2], [0, 2]], "segments 3 and 4 meet at (1, 1)"),
        ([[0, 0], [4, 0], [4, 1], [1, 0], [3, 0], [0, 1]], "segments 1 and 3 meet at (1, 0)"),
        ([[0, 0], [0, 0], [1, 1], [1, 1], [1, 0], [0, 1], [0, 0]], "segments 2 and 5 meet"),
        ([[0, 0], [1, 1], [2, 2]], "segments 1 and 3 meet at (0, 0)"),
        ([[0, 0], [1, 0], [0, 0]], "fewer than three"),
        ([[0, 0], [1, 0], [0, np.nan]], "missing or infinite"),
    ],
)
@pytest.mark.parametrize("scale", [1e-200, 1, 1e200])
def test_each_way_to_be_no_polygon_is_named(points, words, scale):
    if scale != 1:
        words = words.split(" meet at")[0]
    with pytest.raises(ValueError) as caught:
        polygon(scale * np.array(points, float))
    assert words in str(caught.value)


def test_crossings_are_those_that_all_pairs_in_fractions_say():
    """Whether two segments of whole numbers meet is decided without rounding, and by another rule."""

    def turn(a, b, c):
        return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])

    def meets(a, b, c, d):
        den = (b[0] - a[0]) * (d[1] - c[1]) - (b[1] - a[1]) * (d[0] - c[0])
        if den:
            s = Fraction((c[0] - a[0]) * (d[1] - c[1]) - (c[1] - a[1]) * (d[0] - c[0]), den)
            t = Fraction((c[0] - a[0]) * (b[1] - a[1]) - (c[1] - a[1]) * (b[0] - a[0]), den)
            return 0 <= s <= 1 and 0 <= t <= 1
        if turn(a, b, c):
            return False
        return max(min(a, b), min(c, d)) <= min(max(a, b), max(c, d))

    random = np.random.default_rng(3)
    simple = 0
    for _ in range(300):
        points = [tuple(pair) for pair in random.integers(0, 7, (5, 2)).tolist()]
        if len(set(points)) < 5:
            continue
        segments = [*pairwise(points), (points[-1], points[0])]
        others = [(0, 2), (0, 3), (1, 3), (1, 4), (2, 4)]
        folds = [
            turn(*segments[k - 1], segments[k][1]) == 0
            and sum(
                (b - a) * (d - c) for a, b, c, d in zip(*segments[k - 1], *segments[k], strict=True)
            )
            < 0
            for k in range(5)
        ]
        expected = any(folds) or any(meets(*segments[i], *segments[j]) for i, j in others)
        assert (crossing(np.array(points, float)) is not None) == expected, points
        simple += not expected
    assert 20 < simple < 280


def test_of_several_outlines_those_that_cross_are_left_out_and_named(tmp_path):
    crossed = SQUARE[[0, 2, 1, 3]]
    designs = np.stack([SQUARE, crossed, 2 * SQUARE])
    written = export_designs(designs, tmp_path / "plates.svg", names=["a/b", "c", "d e"])
    assert {item.name for item in written.path.iterdir()} - {".lock"} == {
        "1-a-b.svg",
        "3-d-e.svg",
        "provenance.json",
    }
    assert list(written.refused) == [1] and "design 2: it crosses" in written.warnings()[0]
    record = json.loads(written.provenance.read_text())
    assert "segments 1 and 3" in record["designs"][1]["refused"]
    assert [design.get("area") for design in record["designs"]] == [600.0, None, 2400.0]


def test_numbers_of_32_bits_that_change_an_outline_are_refused(tmp_path):
    for shape in (circle(100, 1.0, (1e4, 0)), circle(100, 1e-44), circle(100, 1e39)):
        with pytest.raises(ValueError, match="near enough to the origin"):
            export_designs(shape[None], tmp_path / "far.stl", depth=1)
    with pytest.raises(ValueError, match="must have a `depth`"):
        export_designs(SQUARE[None], tmp_path / "flat.stl")
    assert not list(tmp_path.iterdir())


# --- rows ---------------------------------------------------------------------------------------------------------


def test_rows_are_outlines_by_their_shape_their_names_or_their_values():
    shapes = np.stack([naca(), naca(0.15), naca(0.1)])
    flat, blocks = shapes.reshape(3, -1), shapes.swapaxes(1, 2).reshape(3, -1)
    count = shapes.shape[1]
    pairs = [f"{axis}{number} [mm]" for number in range(count) for axis in "xy"]
    named = [f"t1 s{number + 1}" for number in range(count)]
    named += [f"t2 s{number + 1}" for number in range(count)]
    found = [
        outlines_of(shapes),
        outlines_of(shapes.swapaxes(1, 2)),
        outlines_of(flat, pairs),
        outlines_of(blocks, named),
        outlines_of(flat),
        outlines_of(blocks),
        outlines_of(
            np.stack([SQUARE.ravel()] * 3), ["x1", "y1", "x2", "y2", "x3", "y3", "x4", "y4"]
        ),
    ]
    assert all(np.array_equal(points, shapes) for points in found[:-1])
    assert np.array_equal(found[-1][2], SQUARE)


def test_heights_are_outlines_over_their_stations():
    shape = naca(camber=0.0)
    top, bottom = shape[64::-1], shape[64:]
    stations = top[:, 0]
    heights = np.concatenate([top[:, 1], bottom[:, 1]])[None]
    loop = np.concatenate([top, bottom[::-1]])
    assert np.array_equal(outlines_of(heights, stations=stations)[0], loop)
    both = np.concatenate([stations, stations])
    assert np.array_equal(outlines_of(heights, stations=both)[0], loop)
    assert np.array_equal(outlines_of(shape[:, 1][None], stations=shape[:, 0])[0], shape)
    back = np.concatenate([top[:, 1], bottom[::-1, 1]])[None]
    both = np.concatenate([stations, stations[::-1]])
    assert np.array_equal(outlines_of(back, stations=both)[0], loop)
    with pytest.raises(ValueError, match="must have `stations`"):
        outlines_of(heights)
    with pytest.raises(ValueError, match="all 130 columns, or of half as many; got 3"):
        outlines_of(heights, stations=np.zeros(3))
    with pytest.raises(ValueError, match="these are no outlines"):
        outlines_of(np.random.default_rng(0).normal(size=(5, 40)))
    with pytest.raises(ValueError, match=r"the shape \(2, 1, 8, 8\)"):
        outlines_of(np.zeros((2, 1, 8, 8)))


# --- provenance ---------------------------------------------------------------------------------------------------


def test_the_provenance_says_where_designs_come_from(tmp_path):
    known = np.stack([SQUARE, 2 * SQUARE]).reshape(2, -1)
    columns = [f"{axis}{number} [mm]" for number in range(1, 5) for axis in "xy"]
    train, held_out = (dataset_from(torch.from_numpy(rows)) for rows in (known, known + 1))
    designs = np.stack([SQUARE + 2, 3 * SQUARE]).reshape(2, -1)
    origin = Origin(
        made_by={"run": "plates"},
        space="latent",
        points=np.array([[0.5, 1], [2, 3]]),
        seed=7,
        responses={"mass [g]": np.array([1.5, np.nan]), "judge": np.array(["good", "bad"])},
        neighbours=Neighbours(train, held_out),
        flags=[[], ["thin"]],
        notes=["a note"],
    )
    for suffix in (".dat", ".svg", ".dxf", ".stl", ".npy", ".csv"):
        if suffix == ".dxf":
            pytest.importorskip("ezdxf")
        path = tmp_path / suffix[1:] / f"plates{suffix}"
        path.parent.mkdir()
        written = export_designs(designs, path, columns=columns, depth=1, origin=origin)
        record = json.loads(written.provenance.read_text())
        assert record["made_by"] == {"run": "plates"} and record["unit"] == "mm"
        assert record["seed"] == 7 and record["space"] == "latent" and record["notes"] == ["a note"]
        first, second = record["designs"]
        assert first["point"] == [0.5, 1.0] and second["flags"][0] == "thin"
        assert first["responses"] == {"mass [g]": 1.5, "judge": "good"}
        assert second["responses"]["mass [g]"] is None
        assert first["nearest"]["row"] == 0 and second["nearest"]["row"] == 1
        assert first["nearest"]["distance"] == pytest.approx(2) and first["nearest"][
            "novelty"
        ] == pytest.approx(2)
        files = [(record, written.path)]
        if written.path.is_dir():
            files = [(design, written.path / design["file"]) for design in (first, second)]
        for values, file in files:
            assert values["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert np.array_equal(np.load(tmp_path / "npy" / "plates.npy"), designs)
    table = np.genfromtxt(tmp_path / "csv" / "plates.csv", delimiter=",", skip_header=1)
    assert np.array_equal(table, designs)


def test_nothing_that_is_there_is_replaced(tmp_path):
    for name in ("a.svg", "b.svg.json"):
        (tmp_path / name).write_text("mine")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "mine").write_text("mine")
    for name, designs in (
        ("a.svg", SQUARE[None]),
        ("b.svg", SQUARE[None]),
        ("c.svg", np.stack([SQUARE] * 2)),
    ):
        with pytest.raises(FileExistsError, match="new"):
            export_designs(designs, tmp_path / name)
    assert {item.name for item in tmp_path.iterdir()} == {"a.svg", "b.svg.json", "c"}
    with pytest.raises(
        ValueError, match=r"must go to a file that ends in one of \.csv, \.npy, \.dat"
    ):
        export_designs(SQUARE[None], tmp_path / "a.step")
    with pytest.raises(ValueError, match="names must be as many as the designs, 1; got 2"):
        export_designs(SQUARE[None], tmp_path / "d.svg", names=["a", "b"])


def test_numbers_of_32_bits_are_written_as_their_shortest_decimals(tmp_path):
    shape = (SQUARE + 0.1).astype(np.float32)
    path = export_designs(shape[None], tmp_path / "a.dat").path
    assert "30.1 0.1" in path.read_text().splitlines()
    same_loop(read_dat(path).astype(np.float32), shape, 0)


# --- the command --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plates(tmp_path_factory):
    """A run of closed ovals in millimetres, of 24 points and the first again."""
    folder = tmp_path_factory.mktemp("plates")
    random = np.random.default_rng(0)
    angle = np.linspace(0, 2 * math.pi, 24, endpoint=False)
    radius = (
        10 + random.normal(size=(200, 1)) + 0.5 * random.normal(size=(200, 1)) * np.cos(2 * angle)
    )
    points = radius[..., None] * np.stack([np.cos(angle), np.sin(angle)], 1)
    points = np.concatenate([points, points[:, :1]], 1)
    head = ",".join(f"{axis}{number} [mm]" for number in range(1, 26) for axis in "xy")
    np.savetxt(
        folder / "plates.csv", points.reshape(200, -1), "%.6f", ",", header=head, comments=""
    )
    config = RunConfig(
        source=str(folder / "plates.csv"),
        data=DataConfig(scaling="common"),
        model=ModelConfig(latent_dim=2, likelihood="gaussian-shared", hidden=(16,)),
        train=TrainConfig(epochs=5, learning_rate=1e-2),
        evaluation=EvaluationConfig(nll_samples=2),
    )
    torch.set_default_dtype(torch.float32)
    train_run(config, folder / "run", pictures=False)
    return folder


def test_generate_and_decode_write_drawings_with_their_provenance(plates, tmp_path, capsys):
    pytest.importorskip("ezdxf")
    torch.set_default_dtype(torch.float32)
    run = str(plates / "run")
    words = ["generate", run, "--count", "3", "--seed", "4", "--out", str(tmp_path / "new.dxf")]
    assert command(words) == 0
    assert f"3 designs: {tmp_path / 'new'}" in capsys.readouterr().out
    record = json.loads((tmp_path / "new" / "provenance.json").read_text())
    model = hashlib.sha256((plates / "run" / "model.safetensors").read_bytes()).hexdigest()
    assert record["made_by"]["model"] == model and record["unit"] == "mm" and record["seed"] == 4
    z = np.array([design["point"] for design in record["designs"]])
    np.savetxt(tmp_path / "z.csv", z, delimiter=",", header="z1,z2", comments="")

    # The same points, decoded to a table by the command that was there before, are the corners of the drawings.
    for out in ("rows.csv", "rows.svg"):
        assert command(["decode", run, str(tmp_path / "z.csv"), "--out", str(tmp_path / out)]) == 0
    rows = np.genfromtxt(tmp_path / "rows.csv", delimiter=",", skip_header=1).reshape(3, 25, 2)
    for number, design in enumerate(record["designs"]):
        drawn = read_dxf(tmp_path / "new" / design["file"])
        drawn_too = read_svg(tmp_path / "rows" / f"{number + 1}.svg")
        assert np.abs(drawn - drawn_too).max() < 1e-4  # of points of 18 digits that were read again
        # Both ends, which a model leaves apart, were joined at their middle.
        assert len(drawn) == 24
        gap = np.linalg.norm(rows[number, 0] - rows[number, 24])
        assert f"they were {gap:.3g} apart" in design["flags"][-1] or gap < 1e-3
        middle = (rows[number, 0] + rows[number, 24]) / 2
        same_loop(drawn, np.concatenate([middle[None], rows[number, 1:24]]), 1e-4)
        known = np.loadtxt(plates / "plates.csv", delimiter=",", skiprows=1).reshape(200, 25, 2)
        distance = np.sqrt(np.square(known - rows[number]).mean((1, 2)))
        assert distance[design["nearest"]["row"]] == pytest.approx(
            design["nearest"]["distance"], rel=1e-3
        )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--out", "a.stl"], "a .stl file must have a --depth"),
        (["--out", "a.stl", "--depth", "0"], "--depth must be above 0"),
        (
            ["--out", "a.dat", "--stations", "z.npy"],
            "--stations must be the places of all 50 columns",
        ),
        (["--out", "a.dat", "--stations", "no.csv"], "there is none at no.csv"),
        (["--out", "a.dat", "--stations", "bad.npy"], "bad.npy cannot be read"),
        (["--out", "a.dat", "--stations", "two.npy"], "--stations must be one row or one column"),
        (["--out", "a.step"], "must end in .npy, .csv"),
    ],
)
def test_mistakes_are_sentences_and_leave_nothing(
    words, sentence, plates, tmp_path, capsys, monkeypatch
):
    torch.set_default_dtype(torch.float32)
    monkeypatch.chdir(tmp_path)
    np.save("z.npy", np.arange(3.0))
    np.save("two.npy", np.zeros((2, 2)))
    (tmp_path / "bad.npy").write_text("no array")
    assert command(["generate", str(plates / "run"), "--count", "1", *words]) == 2
    assert sentence in " ".join(capsys.readouterr().err.split())
    assert {item.name for item in tmp_path.iterdir()} == {"z.npy", "two.npy", "bad.npy"}


def test_the_best_designs_of_a_study_are_handed_over_with_their_responses(
    plates, tmp_path, monkeypatch, capsys
):
    torch.set_default_dtype(torch.float32)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "judge_of_plates.py").write_text(
        "import numpy as np\n"
        "def evaluate(rows):\n"
        "    values = np.stack([rows[name] for name in rows], 1)\n"
        "    return {'width': np.abs(values).max(1)}\n"
    )
    (tmp_path / "p.toml").write_text(
        f'source = "{plates / "plates.csv"}"\nevaluator = "judge_of_plates:evaluate"\n'
        'optimiser = "random"\nspaces = ["pca-2"]\nbeside = []\nbudget = 8\nbatch = 4\n'
        '[[objectives]]\nresponse = "width"\nunit = "mm"\n'
    )
    assert command(["design", "p.toml"]) == 0
    journal = [
        json.loads(line)
        for line in (tmp_path / "runs" / "p" / "journal.jsonl").read_text().splitlines()
    ]
    asked = {
        one["id"]: one for line in journal if line["kind"] == "asked" for one in line["designs"]
    }
    widths = {
        line["id"]: line["responses"]["width"] for line in journal if line["kind"] == "answered"
    }
    best = min(widths, key=widths.get)
    assert command(["design", "export", "p.toml", "--out", "best.svg"]) == 0
    record = json.loads((tmp_path / "best.svg.json").read_text())
    (found,) = record["designs"]
    assert found["name"] == best and found["responses"]["width"] == widths[best]
    assert found["point"] == asked[best]["z"] and record["unit"] == "mm"
    assert record["response_units"] == {"width": "mm"}
    assert np.abs(read_svg(tmp_path / "best.svg")).max() == pytest.approx(widths[best], rel=1e-3)

    chosen = sorted(widths)[:2]
    assert command(["design", "export", "p.toml", *chosen, "--out", "two.npy"]) == 0
    rows = [asked[one].get("repaired", asked[one]["decoded"]) for one in chosen]
    assert np.array_equal(np.load("two.npy"), rows)
    capsys.readouterr()
    assert command(["design", "export", "p.toml", "nobody", "--out", "no.npy"]) == 2
    assert "designs must be some that runs/p asked for" in " ".join(capsys.readouterr().err.split())
