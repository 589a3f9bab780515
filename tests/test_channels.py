"""Images whose channels are not colours: each keeps its own unit, from the file to the pages."""

import json

import numpy as np
import pytest
import torch
from pages import contents_of
from PIL import Image

from variform import DataConfig, load, read
from variform.data.colours import shares_of_colours
from variform.data.reading import read_rows
from variform.data.schema import Schema
from variform.evaluation import exploration
from variform.faces import cli

NOISE = np.random.default_rng(5)
UNITS = np.array([1e5, 290.0, 0.3, -40.0, 7.0]).reshape(1, 5, 1, 1)  # Pa, K, a share, degrees, m/s
SPREADS = np.array([900.0, 9.0, 0.1, 4.0, 2.0]).reshape(1, 5, 1, 1)


def fields(rows=80, channels=5, height=16, width=12):
    """Smooth maps of several quantities, (N, C, H, W) float64: waves of the same two random heights."""
    y, x = np.mgrid[:height, :width] / 4
    heights = NOISE.normal(size=(2, rows, 1, 1, 1))
    phase = np.arange(channels).reshape(-1, 1, 1)
    waves = heights[0] * np.sin(y + phase) + heights[1] * np.cos(x + phase)
    return UNITS[:, :channels] + SPREADS[:, :channels] * waves


@pytest.mark.parametrize("order", ["first", "last"])
def test_each_channel_has_the_range_and_scale_of_its_own(tmp_path, order):
    values = fields()
    np.save(tmp_path / "maps.npy", values if order == "first" else np.moveaxis(values, 1, 3))
    splits = read(tmp_path / "maps.npy")
    schema = splits.schema
    assert schema.kind == "image" and schema.shape == (5, 16, 12)
    low, high = values.min((0, 2, 3)), values.max((0, 2, 3))
    np.testing.assert_allclose(schema.low, low, rtol=1e-6)
    np.testing.assert_allclose(schema.scale, high - low, rtol=1e-3)
    seen = torch.cat([part.prepared() for part in (splits.train, splits.valid, splits.test)])
    np.testing.assert_allclose(seen.amin((0, 2, 3)), 0, atol=1e-4)
    np.testing.assert_allclose(seen.amax((0, 2, 3)), 1, atol=1e-4)
    assert any(
        "pictures of 5 channels" in note and "`shape=[960]`" in note for note in splits.notes
    )
    assert any("scale each" in note and "`scaling='common'`" in note for note in splits.notes)


@pytest.mark.parametrize("scaling", ["standard", "common", "unit", "none"])
def test_scalings_are_those_of_numpy_and_are_undone(scaling):
    splits = read(fields(), DataConfig(scaling=scaling))
    schema, train = splits.schema, splits.train
    raw = train.raw.double().numpy()
    mean, std = raw.mean((0, 2, 3)), raw.std((0, 2, 3))
    expected = {
        "standard": (mean, std),
        "common": (mean, np.full(5, np.sqrt(np.mean(std**2)))),
        "unit": (schema.low, np.subtract(schema.high, schema.low)),
        "none": (np.zeros(5), np.ones(5)),
    }
    np.testing.assert_allclose(schema.shift, expected[scaling][0], rtol=1e-5)
    np.testing.assert_allclose(schema.scale, expected[scaling][1], rtol=1e-5)
    restored = schema.restore(train.prepared()).double().numpy()
    allowed = 1e-6 * np.abs(UNITS) + 1e-5 * SPREADS
    assert (np.abs(restored - raw) <= allowed).all()
    one = train.raw[:1].double()
    jacobian = torch.autograd.functional.jacobian(schema.prepare, one)
    jacobian = jacobian.reshape(one.numel(), one.numel())
    assert schema.log_jacobian == pytest.approx(torch.logdet(jacobian).item(), abs=1e-6)
    assert Schema.from_dict(json.loads(json.dumps(schema.to_dict()))) == schema


def test_what_is_one_unit_keeps_one_scale():
    four = NOISE.integers(0, 256, (60, 16, 12, 4), np.uint8)  # as pictures with alpha come
    schema = read(four, DataConfig(shape=(16, 12, 4))).schema
    assert schema.shape == (4, 16, 12) and schema.levels == 256 and schema.scale == (255.0,)
    colours = NOISE.random((60, 3, 16, 12)) * 4000
    assert len(read(colours, DataConfig(shape=(3, 16, 12))).schema.scale) == 1
    told = DataConfig(shape=(3, 16, 12))
    assert len(read(fields(channels=3), told).schema.scale) == 3


def test_arrays_that_are_no_pictures_are_tables_unless_asked_for():
    noise = NOISE.normal(size=(80, 6, 14, 12))
    assert read(noise).schema.kind == "table"
    asked = read(noise, DataConfig(shape=(6, 14, 12))).schema
    assert asked.kind == "image" and len(asked.scale) == 6
    with pytest.raises(ValueError, match="few channels C"):
        read(NOISE.normal(size=(80, 12, 14, 12)))


def test_new_rows_are_read_in_the_units_of_known_ones(tmp_path):
    values = fields(channels=2)
    schema = read(values).schema
    np.save(tmp_path / "new.npy", np.moveaxis(values[:9] * 0 + 255, 1, 3))  # bytes, in any unit
    rows = read_rows(tmp_path / "new.npy", schema)
    expected = (255 - np.array(schema.shift)) / np.array(schema.scale)
    np.testing.assert_allclose(rows.prepared()[0, :, 0, 0], expected, rtol=1e-5)


def test_what_is_shown_of_channels():
    image = np.arange(5.0).reshape(5, 1, 1) + 10
    low, high = tuple(np.zeros(5)), tuple(np.full(5, 20.0))
    shown = {
        count: shares_of_colours(image[:count], (low[:count], high[:count])).ravel().tolist()
        for count in (1, 2, 3, 5)
    }
    assert shown == {1: [0.5], 2: [0.5, 0.55, 0.55], 3: [0.5, 0.55, 0.6], 5: [0.5, 0.55, 0.6]}


@pytest.fixture(scope="module", params=["mlp", "conv"])
def maps(request, tmp_path_factory):
    """A run on maps of five quantities."""
    place = tmp_path_factory.mktemp(request.param)
    np.save(place / "maps.npy", fields(rows=200))
    options = f"--likelihood gaussian-shared --network {request.param} --latent-dim 2 --steps 150"
    data, run = str(place / "maps.npy"), str(place / "run")
    assert cli.run(["train", data, *options.split(), "--nll-samples", "25", "--out", run]) == 0
    return place


def test_a_run_rebuilds_every_channel_and_is_handed_over(maps, tmp_path, capsys):
    vae = load(maps / "run").vae
    data = read(maps / "maps.npy").test
    raw, copies = exploration.reconstruct(vae, data)
    variance = np.asarray(raw).var((0, 2, 3))
    left = np.square(copies - raw).mean((0, 2, 3)) / variance
    assert (left < 0.3).all()  # of every channel, however small its numbers are beside another's
    for form in ("onnx", "numpy"):
        out = str(tmp_path / f"given-{form}")
        assert cli.run(["export", str(maps / "run"), "--to", form, "--out", out]) == 0  # compares
    assert (maps / "run" / "report.html").is_file()
    page = (maps / "run" / "explorer.html").read_text()
    assert contents_of(page)["event"]["shape"] == [5, 16, 12]


def test_pictures_of_channels_are_of_false_colours_and_said_so(maps, tmp_path, capsys):
    run = str(maps / "run")
    assert cli.run(["reconstruct", run, "--out", str(tmp_path / "png")]) == 0
    assert "the first three as red, green and blue" in capsys.readouterr().out
    assert cli.run(["reconstruct", run, "--out", str(tmp_path / "x.npy")]) == 0
    copies = np.load(tmp_path / "x.npy")
    schema = load(run).vae.schema
    low, high = (np.reshape(end, (5, 1, 1))[:3] for end in (schema.low, schema.high))
    first = np.clip((copies[0, :3] - low) / (high - low), 0, 1) * 255
    path = min((tmp_path / "png").iterdir())
    shown = np.asarray(Image.open(path)).transpose(2, 0, 1)
    np.testing.assert_allclose(shown, first, atol=0.51)
