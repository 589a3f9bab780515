"""Rows that are outlines: what their columns mean is known once, and travels with the model."""

import dataclasses
import json
from importlib import resources

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from py_mini_racer import MiniRacer

from variform import DataConfig, ModelConfig, RunConfig, TrainConfig, build_vae, load, read, save
from variform.config.run import EvaluationConfig
from variform.data.outlines import Layout, layout_in
from variform.data.schema import Schema
from variform.faces import cli
from variform.pages.examples import plot_reconstructions, plot_samples
from variform.pages.explorer.contents import event
from variform.pages.latents import plot_interpolation, plot_manifold
from variform.runs.folder import open_run
from variform.runs.train import train_run

ANGLES = np.linspace(0, np.pi, 33)
STATIONS = (1 - np.cos(ANGLES)) / 2


def ellipses(count=120, points=40, *, closed=True):
    """Ellipses (N, points, 2); with `closed` the last point is the first again, else the curve is a third of one."""
    random = np.random.default_rng(3)
    angle = np.linspace(0, 2 * np.pi if closed else 2, points)
    size = random.uniform(0.5, 1.5, (count, 2, 1))
    return np.stack([size[:, 0] * np.cos(angle), size[:, 1] * np.sin(angle)], 2)


def foils(count=120):
    """The heights of two sides (N, 66) over STATIONS, the lower ones below the upper ones."""
    random = np.random.default_rng(4)
    size, bend = random.uniform(0.05, 0.2, (2, count, 1))
    thickness = size * np.sqrt(STATIONS) * (1 - STATIONS)
    camber = bend * STATIONS * (1 - STATIONS)
    return np.concatenate([camber + thickness, camber - thickness], 1)


def layout_read(rows, **options):
    return read(rows, DataConfig(**options)).schema.outline


def test_rows_are_curves_by_their_axes_names_values_or_stations(tmp_path):
    shapes = ellipses()
    for rows in (shapes, shapes.swapaxes(1, 2)):
        layout = layout_read(rows)
        flat = rows.reshape(len(rows), -1)
        assert layout.is_closed and layout.is_to_scale
        np.testing.assert_array_equal(layout.points(flat), shapes)
    open_rows = ellipses(closed=False)
    layout = layout_read(open_rows)
    assert not layout.is_closed
    np.testing.assert_array_equal(layout.points(open_rows.reshape(120, -1)), open_rows)
    assert layout_read(np.random.default_rng(0).normal(size=(120, 20))) is None
    np.save(tmp_path / "x.npy", STATIONS)
    heights = foils()
    points = layout_read(heights, stations=str(tmp_path / "x.npy")).points(heights)
    np.testing.assert_array_equal(
        points[:, :33], np.stack([np.tile(STATIONS, (120, 1)), heights[:, :33]], 2)
    )
    np.testing.assert_array_equal(points[:, 33:, 0], np.tile(STATIONS[::-1], (120, 1)))
    np.testing.assert_array_equal(points[:, 33:, 1], heights[:, :32:-1])


def test_points_of_outlines_share_a_scale_where_most_of_them_hold_noise_alone():
    random = np.random.default_rng(0)
    exact = ellipses()
    exact[:, 8:32] = exact[0, 8:32]  # only a part of the curve varies
    noisy = read(exact + random.normal(0, 0.01, exact.shape))
    assert noisy.schema.outline is not None and len(set(noisy.schema.scale)) == 1
    assert any("outlines, whose coordinates share a unit" in note for note in noisy.notes)
    apart = read(exact + random.normal(0, 0.01, exact.shape), DataConfig(scaling="standard"))
    assert len(set(apart.schema.scale)) == 80


def test_names_of_heights_may_hold_their_places():
    heights = foils()
    named = [f"{side} {x:.4f} [m]" for side in ("upper", "lower") for x in STATIONS]
    found = layout_in(heights, named)
    np.testing.assert_allclose(found.stations, STATIONS, atol=5e-5)
    counted = [f"{side} {k}" for side in ("upper", "lower") for k in range(33)]
    assert layout_in(heights, counted) == Layout("sides")


def test_a_few_corners_with_a_unit_are_an_outline_and_a_few_numbers_are_none():
    plates = np.array([[0.0, 0, 30, 0, 30, 20, 0, 20]]) * np.linspace(1, 2, 90)[:, None]
    names = [f"{axis}{number}" for number in range(1, 5) for axis in "xy"]
    assert read({f"{n} [mm]": plates[:, k] for k, n in enumerate(names)}).schema.outline.is_closed
    assert read({name: plates[:, k] for k, name in enumerate(names)}).schema.outline is None


def test_the_layout_travels_with_the_model_and_older_files_have_none(tmp_path):
    np.save(tmp_path / "x.npy", STATIONS)
    splits = read(foils(), DataConfig(stations=str(tmp_path / "x.npy")))
    config = ModelConfig(latent_dim=2, hidden=(8,), likelihood="gaussian")
    save(build_vae(config, splits.schema), tmp_path / "model.safetensors")
    kept = load(tmp_path / "model.safetensors").schema
    assert kept.outline == splits.schema.outline and kept.outline.stations == tuple(STATIONS)
    values = json.loads(json.dumps(splits.schema.to_dict()))
    old = {name: value for name, value in values.items() if name != "outline"}
    assert Schema.from_dict(old) == dataclasses.replace(splits.schema, outline=None)
    for change in (
        {"stations": [0.0]},
        {"kind": "spiral"},
        {"stations": [None] * 33},
        {"extra": 1},
    ):
        with pytest.raises(ValueError, match=r"layout|outline"):
            Schema.from_dict(values | {"outline": values["outline"] | change})


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (foils()[:, :-1], "all 65 columns, or of half as many; got 33"),
        (torch.randint(0, 255, (90, 1, 8, 8), dtype=torch.uint8), "for tables of real numbers"),
    ],
)
def test_stations_that_do_not_fit_are_refused(tmp_path, rows, expected):
    np.save(tmp_path / "x.npy", STATIONS)
    with pytest.raises(ValueError, match=expected):
        read(rows, DataConfig(stations=str(tmp_path / "x.npy")))


def test_what_was_trained_with_stations_is_drawn_without_asking_again(tmp_path):
    np.save(tmp_path / "foils.npy", foils())
    np.save(tmp_path / "x.npy", STATIONS)
    config = RunConfig(
        source=str(tmp_path / "foils.npy"),
        data=DataConfig(stations=str(tmp_path / "x.npy")),
        model=ModelConfig(latent_dim=2, hidden=(16,), likelihood="gaussian-shared"),
        train=TrainConfig(epochs=30, batch_size=16),
        evaluation=EvaluationConfig(nll_samples=2),
    )
    train_run(config, tmp_path / "run", pictures=False)
    command = ["generate", str(tmp_path / "run"), "--count", "1", "--out", str(tmp_path / "a.dat")]
    assert cli.run(command) == 0
    written = np.loadtxt(tmp_path / "a.dat", skiprows=1)
    assert set(np.unique(written[:, 0])) <= set(STATIONS)
    (tmp_path / "x.npy").unlink()
    run = open_run(tmp_path / "run")
    assert run.data().schema.outline == run.vae.schema.outline
    assert run.data().test.schema.outline.stations == tuple(STATIONS)
    object.__setattr__(run.vae.schema, "outline", None)
    save(run.vae, tmp_path / "run" / "model.safetensors")  # as an older version did
    assert open_run(tmp_path / "run").data().schema.outline == Layout("sides")


@pytest.fixture(scope="module")
def page():
    """The script of the explorer page, in V8 without a browser."""
    scripts = resources.files("variform.pages") / "script"
    with MiniRacer() as context:
        context.eval(scripts.joinpath("bundle.js").read_text(encoding="utf-8"))
        yield context


@pytest.mark.parametrize("kind", ["pairs", "blocks", "sides", "named", "loop", "reversed"])
def test_the_page_draws_the_points_that_python_has(page, kind):
    heights = foils()
    rows = {"pairs": ellipses(), "blocks": ellipses().swapaxes(1, 2)}.get(kind, heights)
    schema = read(rows).schema
    layouts = {
        "named": Layout("sides", stations=tuple(STATIONS)),
        "loop": Layout("loop", stations=tuple(np.cos(np.linspace(0, 6, 66)))),
        "reversed": Layout("sides", is_reversed=True, stations=tuple(np.linspace(0, 3, 66))),
    }
    schema = dataclasses.replace(schema, outline=layouts.get(kind, schema.outline))
    line = event(schema)["line"]
    row = rows[7].ravel()
    script = (
        f"Array.from(new variform.Lines({json.dumps(line)}).points({json.dumps(row.tolist())}))"
    )
    found = np.reshape(json.loads(page.eval(f"JSON.stringify({script})")), (-1, 2))
    np.testing.assert_allclose(found, schema.outline.points(row[None])[0], rtol=1e-15)
    x0, x1, y0, y1 = line["box"]
    every = schema.outline.points(rows.reshape(len(rows), -1))
    np.testing.assert_allclose([x0, y0], every.min((0, 1)), rtol=1e-6)
    np.testing.assert_allclose([x1, y1], every.max((0, 1)), rtol=1e-6)


def test_x_and_y_have_one_scale_and_the_middle_of_the_data_is_that_of_the_box(page):
    line = {"x": [0, 1], "y": [2, 3], "places": None, "closed": True, "scale": "equal"}
    line |= {"box": [-1, 3, 10, 11], "axes": ["mm", "mm"]}
    frame = f"new variform.Lines({json.dumps(line)}).frame({{ x: 5, y: 7, w: 100, h: 60 }})"
    ends = f"[{frame}.x(-1), {frame}.x(3), {frame}.y(11), {frame}.y(10), ...{frame}.range]"
    found = json.loads(page.eval(f"JSON.stringify({ends})"))
    # 100 pixels for 4 mm: 25 a mm both ways, and 1 mm lies in the middle of 60 pixels
    assert found == [5, 105, 24.5, 49.5, -1, 3, 9.3, 11.7]


def drawn(figure):
    """The lines of the first panel of a figure as it is drawn, each (points, 2) in pixels."""
    FigureCanvasAgg(figure).draw()
    panel = figure.axes[0]
    return [panel.transData.transform(line.get_xydata()) for line in panel.lines]


@pytest.mark.parametrize(
    "plot",
    [
        lambda rows, **look: plot_samples(rows, **look),
        lambda rows, **look: plot_reconstructions(rows, rows, **look),
        lambda rows, **look: plot_interpolation(rows.reshape(3, 4, -1), **look),
        lambda rows, **look: plot_manifold(rows[:9].reshape(3, 3, -1), [0.2, 0.5, 0.8], **look),
    ],
)
def test_figures_draw_outlines_with_one_scale(plot):
    """What is drawn differs from the rows by one factor and a shift: it is as wide and as high as they are."""
    rows = ellipses(12).reshape(12, -1)
    columns = [f"{axis}{number}" for number in range(1, 41) for axis in "xy"]
    lines = drawn(plot(rows, columns=columns, outline=Layout("pairs")))
    assert len(lines) >= 9
    extents = np.array([np.ptp(line, axis=0) for line in lines])
    expected = np.array([np.ptp(row.reshape(-1, 2), axis=0) for row in rows])
    factor = extents[0, 0] / expected[0, 0]
    assert factor > 3
    near = np.abs(extents[:, None] - factor * expected[None]).max(2).min(1)
    np.testing.assert_allclose(near / factor, 0, atol=0.01)
    assert all(np.array_equal(line[0], line[-1]) for line in lines)
