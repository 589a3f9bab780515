"""Sprites are what their definition says: areas, outlines, symmetries and steps; and data that are made on demand."""

import hashlib
import tracemalloc

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from scipy.integrate import quad

from variform import DataConfig, read
from variform.data.dataset import StoredRows
from variform.data.reading import read_rows
from variform.data.sources import sprites

DRAWS = np.random.default_rng(0)
SQUARE, ELLIPSE, HEART = range(3)
CENTRES = np.arange(64) + 0.5


def heart(t):
    """The outline as it is published, in pixels at scale 1, y down."""
    return (
        9.6 * np.sin(t) ** 3,
        -0.665 * (13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)) - 1.45,
    )


def outline(shape):
    """Corners of a polygon, (P, 2), that is the shape but for a hundredth of a pixel."""
    t = np.linspace(0, 2 * np.pi, 2000, endpoint=False)
    if shape == SQUARE:
        return 9.6 * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    return np.stack((12.8 * np.cos(t), 7.25 * np.sin(t)) if shape == ELLIPSE else heart(t), 1)


def polygon(values):
    """The outline of a sprite on the screen, turned by a complex number instead of a matrix."""
    shape, scale, orientation, x, y = values
    corners = outline(int(shape)) @ np.array(
        [1, -1j]
    )  # y up, where counter-clockwise is e^(i orientation)
    turned = scale * corners * np.exp(1j * orientation)
    return np.stack([16 + 32 * x + turned.real, 16 + 32 * y - turned.imag], 1)


def drawn(values, zoom=32):
    """Pillow's picture of a sprite, far enlarged: what it says of the small pixel at the centre of each pixel."""
    image = Image.new("1", (64 * zoom, 64 * zoom))
    ImageDraw.Draw(image).polygon(
        [tuple(corner) for corner in polygon(values) * zoom - 0.5], fill=1
    )
    large = np.asarray(image, np.uint8)
    return large[zoom // 2 :: zoom, zoom // 2 :: zoom]


def heart_area():
    """By Green's theorem."""

    def strip(t):
        return heart(t)[0] * (heart(t + 1e-6)[1] - heart(t - 1e-6)[1]) / 2e-6

    return abs(quad(strip, 0, 2 * np.pi)[0])


def centroid(corners):
    """Of a polygon, by the shoelace formula."""
    one, other = corners, np.roll(corners, -1, 0)
    cross = one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0]
    return ((one + other) * cross[:, None]).sum(0) / (3 * cross.sum())


def centre_of_mass(images):
    weight = images.sum((1, 2))
    return np.stack([images.sum(1) @ CENTRES / weight, images.sum(2) @ CENTRES / weight], 1)  # x, y


# --- numbers and factors ------------------------------------------------------------------------------------------


def test_numbers_and_factors_are_each_others_opposites_with_y_the_fastest():
    index = np.arange(sprites.COUNT)
    classes = sprites.factors(index)
    np.testing.assert_array_equal(sprites.index_of(classes), index)
    assert (
        list(sprites.FACTORS.values())
        == [3, 6, 40, 32, 32]
        == [len(np.unique(column)) for column in classes.T]
    )
    strides = np.array([6 * 40 * 1024, 40 * 1024, 1024, 32, 1])
    np.testing.assert_array_equal(classes @ strides, index)
    assert list(sprites.FACTORS) == ["shape", "scale", "orientation", "x", "y"]


def test_values_are_evenly_spaced():
    values = sprites.values(np.arange(sprites.COUNT))
    np.testing.assert_allclose(np.unique(values[:, 1]), [0.5, 0.6, 0.7, 0.8, 0.9, 1])
    np.testing.assert_allclose(np.unique(values[:, 2]), 2 * np.pi * np.arange(40) / 39)
    for column in (3, 4):
        np.testing.assert_allclose(np.unique(values[:, column]), np.arange(32) / 31)


@pytest.mark.parametrize("index", [[-1], [0, 737_280]])
def test_numbers_that_no_sprite_has_are_refused(index):
    for ask in (sprites.factors, sprites.values, sprites.render):
        with pytest.raises(ValueError, match="must be from 0 to 737279"):
            ask(index)


# --- pictures -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [SQUARE, ELLIPSE, HEART])
def test_pixels_are_those_of_another_program_that_draws_the_outline_enlarged(shape):
    """They may differ near the outline: Pillow draws it too, and it is a 32nd of a pixel wide."""
    index = DRAWS.integers(0, sprites.COUNT // 3, 60) + shape * (sprites.COUNT // 3)
    ours, theirs = (
        sprites.render(index),
        np.stack([drawn(values) for values in sprites.values(index)]),
    )
    both, either = (ours & theirs).sum((1, 2)), (ours | theirs).sum((1, 2))
    assert (both / either).mean() > 0.98 and (both / either).min() > 0.95


@pytest.mark.parametrize("shape", [SQUARE, ELLIPSE, HEART])
def test_every_pixel_of_the_largest_sprites_is_inside_the_polygon_or_outside(shape):
    """By the winding number of a fine polygon, for all orientations: nothing is cut off at the border of the box."""
    index = sprites.index_of([[shape, 5, orientation, 7, 20] for orientation in range(40)])
    points = CENTRES[None, :] + 1j * CENTRES[:, None]  # (64, 64)
    for image, values in zip(sprites.render(index), sprites.values(index), strict=True):
        corners = polygon(values)[:: 1 if shape == SQUARE else 10] @ np.array([1, 1j])
        spokes = corners[:, None, None] - points
        turns = np.angle(np.roll(spokes, -1, 0) / spokes).sum(0) / (2 * np.pi)
        assert np.count_nonzero((np.abs(turns) > 0.5) != image) <= (0 if shape == SQUARE else 1)


@pytest.mark.parametrize(
    ("shape", "area"), [(SQUARE, 19.2**2), (ELLIPSE, np.pi * 12.8 * 7.25), (HEART, heart_area())]
)
def test_mean_areas_are_those_of_the_plane_figures(shape, area):
    """Over many positions and orientations the pixel centres inside are as many as the area has unit squares."""
    for scale in range(6):
        places = np.stack(
            [
                np.full(1000, shape),
                np.full(1000, scale),
                *DRAWS.integers(0, (39, 32, 32), (1000, 3)).T,
            ],
            1,
        )
        counts = sprites.render(sprites.index_of(places)).sum((1, 2))
        expected = area * np.linspace(0.5, 1, 6)[scale] ** 2
        assert (
            abs(counts.mean() - expected) < 5 * counts.std() / np.sqrt(1000)
            and counts.std() < 0.05 * expected
        )


@pytest.mark.parametrize(("shape", "turns"), [(SQUARE, 4), (ELLIPSE, 2), (HEART, 1)])
def test_a_sprite_turned_onto_itself_is_itself_and_turned_less_is_another(shape, turns):
    values = DRAWS.uniform([0, 0.5, 0, 0, 0], [1, 1, 2 * np.pi, 1, 1], (50, 5))
    values[:, 0] = shape
    turn = np.array([0, 0, 2 * np.pi / turns, 0, 0])
    images = sprites._drawn(values)
    np.testing.assert_array_equal(sprites._drawn(values + turn), images)
    assert (sprites._drawn(values + turn / 2) != images).any((1, 2)).all()


def test_the_last_orientation_repeats_the_first_and_no_other_does_so_for_a_large_heart():
    first, last = (
        sprites.index_of(
            [
                [shape, scale, orientation, x, 31 - x]
                for shape in range(3)
                for scale in range(6)
                for x in range(32)
            ]
        )
        for orientation in (0, 39)
    )
    np.testing.assert_array_equal(sprites.render(first), sprites.render(last))
    images = sprites.render(
        sprites.index_of([[HEART, 5, orientation, 9, 4] for orientation in range(40)])
    )
    assert len(np.unique(images.reshape(40, -1), axis=0)) == 39


def test_a_heart_stands_on_its_tip_and_turns_counter_clockwise():
    upright, quarter = sprites._drawn(
        np.array([[HEART, 1, 0, 0.5, 0.5], [HEART, 1, np.pi / 2, 0.5, 0.5]])
    )
    np.testing.assert_array_equal(upright, upright[:, ::-1])
    lines = np.flatnonzero(upright.any(1))
    assert upright[lines[-1]].sum() <= 2 < upright[lines[0]].sum() and (lines[0], lines[-1]) == (
        23,
        39,
    )
    assert upright[lines[0], 31:33].sum() == 0  # the notch is above
    np.testing.assert_array_equal(quarter, np.rot90(upright))


def test_a_step_in_x_or_y_moves_the_centre_of_mass_by_32_31sts_of_a_pixel():
    for shape in range(3):
        places = np.array([[shape, 5, 3, x, y] for x in range(32) for y in range(32)])
        images = sprites.render(sprites.index_of(places))
        centres = centre_of_mass(images)
        shift = centres - (16 + places[:, 3:] * 32 / 31)
        assert np.abs(shift - shift.mean(0)).max() < 0.25  # a pixel more or less on the outline
        slopes = [np.polyfit(places[:, 3 + axis], centres[:, axis], 1)[0] for axis in (0, 1)]
        np.testing.assert_allclose(slopes, 32 / 31, atol=5e-3)
        expected = centroid(polygon([shape, 1, 3 * 2 * np.pi / 39, 0, 0])) - 16
        np.testing.assert_allclose(shift.mean(0), expected, atol=0.02)


def test_images_are_binary_and_the_same_alone_as_among_others():
    index = DRAWS.integers(0, sprites.COUNT, 300)
    images = sprites.render(index)
    assert images.dtype == np.uint8 and set(np.unique(images)) == {0, 1}
    np.testing.assert_array_equal(np.concatenate([sprites.render([one]) for one in index]), images)
    assert sprites.render([]).shape == (0, 64, 64)


def test_images_are_the_same_on_every_machine():
    """A hash of 3,010 of them, as first rendered: no pixel's centre lies so near an outline that rounding decides."""
    images = sprites.render(np.arange(0, sprites.COUNT, 245))
    assert hashlib.sha256(np.packbits(images).tobytes()).hexdigest()[:16] == "5e3acffeae7d9ec1"


# --- as data ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole():
    return read("sprites")


@pytest.fixture(scope="module")
def some():
    return read("sprites:3000")


def index_of_parts(splits):
    return [part.index for part in (splits.train, splits.valid, splits.test)]


def test_all_sprites_are_split_without_being_made(whole):
    index = torch.cat(index_of_parts(whole))
    assert torch.equal(index.sort().values, torch.arange(sprites.COUNT))
    for part, share in ((whole.train, 0.8), (whole.valid, 0.1), (whole.test, 0.1)):
        assert abs(len(part) / sprites.COUNT - share) < 5 * np.sqrt(
            share * (1 - share) / 18_432
        )  # groups of 40
        assert isinstance(part.raw, StoredRows) and not part.raw.on_disk
    assert whole.duplicates == {"within": 18_432, "across": 0}
    assert (whole.schema.shape, whole.schema.levels, whole.schema.low, whole.schema.high) == (
        (1, 64, 64),
        2,
        (0,),
        (1,),
    )
    assert not any("disk" in note for note in whole.notes)


def test_reading_all_sprites_and_taking_a_batch_takes_little_memory():
    """All of them are 3 GB; what is kept of each is its number, label, key and split."""
    tracemalloc.start()
    splits = read("sprites")
    splits.train.batch(torch.arange(128))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 300 * sprites.COUNT


def test_equal_images_are_in_one_split(whole):
    """Sprites that differ in shape, scale or position have another area or centre; those of one orientation may not."""
    part = np.empty(sprites.COUNT, int)
    for number, index in enumerate(index_of_parts(whole)):
        part[index] = number
    orientations = part.reshape(18, 40, 1024)
    assert (orientations == orientations[:, :1]).all()
    small = sprites.render(
        sprites.index_of([[SQUARE, 0, orientation, 0, 0] for orientation in range(39)])
    )
    assert (
        len(np.unique(small.reshape(39, -1), axis=0)) < 39
    )  # by chance of the pixels, so that a hash must not decide


def test_another_seed_gives_another_split(some):
    other = read("sprites:3000", DataConfig(split_seed=4))
    shared = set(other.test.index.tolist()) & set(some.test.index.tolist())
    assert 0.02 < len(shared) / len(some.test) < 0.25 and other.fingerprint == some.fingerprint


def test_a_row_of_a_data_set_has_its_number_label_and_factors(whole, some):
    for part in (whole.test, some.test, some.test.take(torch.tensor([5, 2]))):
        rows = torch.tensor([1, 0])
        np.testing.assert_array_equal(part.batch(rows)[:, 0], sprites.render(part.index[rows]))
        names = [part.schema.classes[label] for label in part.labels[rows]]
        assert names == [sprites.SHAPES[shape] for shape in sprites.factors(part.index[rows])[:, 0]]
    again = read_rows("sprites:3000", some.schema)
    np.testing.assert_array_equal(again.index, sprites.subset(3000))
    np.testing.assert_array_equal(again.raw[:9, 0], sprites.render(again.index[:9]))


def test_a_subset_has_rows_and_splits_of_the_whole(whole, some):
    for small, large in zip(index_of_parts(some), index_of_parts(whole), strict=True):
        assert len(small) and set(small.tolist()) <= set(large.tolist())
    assert set(sprites.subset(500)) < set(sprites.subset(3000))
    expected = sprites.COUNT / np.array([3, 6, 40, 32, 32]) * 3000 / sprites.COUNT
    for column, mean in zip(sprites.factors(sprites.subset(3000)).T, expected, strict=True):
        assert np.abs(np.bincount(column) - mean).max() < 5 * np.sqrt(mean)


def test_sprites_made_on_demand_are_those_kept_in_memory(some, monkeypatch):
    monkeypatch.setattr("variform.data.sources.builtin._RENDERED_ONCE", 0)
    lazy = read("sprites:3000")
    assert isinstance(lazy.train.raw, StoredRows) and isinstance(some.train.raw, torch.Tensor)
    assert (lazy.schema, lazy.fingerprint, lazy.duplicates, lazy.notes) == (
        some.schema,
        some.fingerprint,
        some.duplicates,
        some.notes,
    )
    for one, other in ((some.train, lazy.train), (some.test, lazy.test)):
        assert torch.equal(one.prepared(), other.prepared()) and torch.equal(one.index, other.index)
        order = torch.randperm(len(one), generator=torch.Generator().manual_seed(0))[:50]
        other.expect(order)
        assert torch.equal(one.batch(order), other.batch(order)) and torch.equal(
            one.labels, other.labels
        )
    flat = read("sprites:3000", DataConfig(shape=(4096,)))
    assert flat.schema.kind == "table" and torch.equal(
        flat.test.prepared(), some.test.prepared().flatten(1)
    )


def test_the_fingerprint_tells_subsets_and_renderers_apart(some, monkeypatch):
    assert read("sprites:3001").fingerprint != some.fingerprint == read("sprites:3000").fingerprint
    render = sprites.render
    monkeypatch.setattr(sprites, "render", lambda index: render(index)[:, ::-1])
    assert read("sprites:3000").fingerprint != some.fingerprint


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sprites:", "needs a whole number"),
        ("sprites:many", "got 'sprites:many'. Use for example sprites:20000"),
        ("sprites:-5", "needs a whole number"),
        ("sprites:0", "from 1 to 737280 images; got 0"),
        ("sprites:737281", "from 1 to 737280 images; got 737281"),
    ],
)
def test_a_subset_that_is_none_is_refused(name, message):
    with pytest.raises(ValueError, match=message):
        read(name)
