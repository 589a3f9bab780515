"""Brackets are what their definition says: drawn a second time by Pillow, with measures that their pixels show."""

import hashlib

import numpy as np
import pytest
from PIL import Image, ImageDraw

from variform import read
from variform.data.sources import brackets

ZOOM = 32


@pytest.fixture(scope="module")
def every():
    kinds, sizes = brackets.measures()
    return kinds, sizes, brackets.render(kinds, sizes)


def drawn(kind, sizes):
    """Pillow's picture of a bracket, 32 times enlarged: the 16 small pixels around the centre of each, (64, 64, 16)."""
    width, height, breadth = sizes
    image = Image.new("1", (64 * ZOOM, 64 * ZOOM))
    pen = ImageDraw.Draw(image)

    def place(x, y):
        return (12 + x) * ZOOM - 0.5, (52 - y) * ZOOM - 0.5

    def disc(x, y, radius, fill):
        (left, top), (right, bottom) = place(x - radius, y + radius), place(x + radius, y - radius)
        pen.ellipse((left, top, right, bottom), fill=fill)

    def bar(start, end, breadth):
        along = np.subtract(end, start) / np.hypot(*np.subtract(end, start)) * breadth / 2
        aside = np.array([-along[1], along[0]])
        corners = (start + aside, end + aside, end - aside, start - aside)
        pen.polygon([place(*corner) for corner in corners], fill=1)
        disc(*start, breadth / 2, 1)
        disc(*end, breadth / 2, 1)

    if kind == 0:
        fillet, edge = 0.35 * min(width, height), breadth / 2
        pen.polygon(
            [
                place(x, y)
                for x, y in (
                    (0, 0),
                    (edge + fillet, 0),
                    (edge + fillet, edge + fillet),
                    (0, edge + fillet),
                )
            ],
            fill=1,
        )
        disc(edge + fillet, edge + fillet, fillet, 0)
    if kind == 2:
        pen.polygon([place(0, 0), place(width, 0), place(0, height)], fill=1)
    bar((0, 0), (width, 0), breadth)
    bar((0, 0), (0, height), breadth)
    if kind == 1:
        bar((width, 0), (0, height), 0.7 * breadth)
    if kind == 2:
        disc(0.3 * width, 0.3 * height, 0.18 * min(width, height), 0)
    for x, y in ((0, 0), (width, 0), (0, height)):
        disc(x, y, breadth / 4, 0)
    large = np.asarray(image, np.uint8)
    tiles = large.reshape(64, ZOOM, 64, ZOOM).transpose(0, 2, 1, 3)
    near = slice(ZOOM // 2 - 2, ZOOM // 2 + 2)
    return tiles[:, :, near, near].reshape(64, 64, 16)


def test_pillow_draws_the_same_brackets(every):
    """Wherever no outline passes within a sixteenth of a pixel of a pixel's centre."""
    kinds, sizes, images = every
    for row in range(100):
        around = drawn(kinds[row], sizes[row])
        is_clear = around.min(-1) == around.max(-1)
        assert is_clear.mean() > 0.95
        assert (around[..., 0] == images[row])[is_clear].all()


def test_the_images_are_the_same_everywhere(every):
    """Sums, products and quotients are rounded alike on every machine; and the stream is NumPy's promised one."""
    kinds, _, images = every
    assert hashlib.sha256(images.tobytes()).hexdigest().startswith("1299c64bb71eecf5")
    assert kinds[:5].tolist() == np.floor(3 * np.random.RandomState(0).rand(5 * 4)[::4]).tolist()


def test_measures_are_even_in_their_ranges(every):
    """By moments: of an even law on [a, b] the mean is (a + b) / 2 and the variance (b - a)^2 / 12, within 4 errors."""
    _, sizes, _ = every
    for values, (least, most) in zip(sizes.T, ((28, 42), (28, 42), (8, 13)), strict=True):
        spread = (most - least) / np.sqrt(12)
        assert abs(values.mean() - (least + most) / 2) < 4 * spread / np.sqrt(len(values))
        assert least <= values.min()
        assert values.max() <= most


def test_no_bracket_leaves_its_picture(every):
    _, _, images = every
    assert not images[:, [0, -1]].any()
    assert not images[:, :, [0, -1]].any()


def test_reading_has_kinds_as_labels_and_measures_beside_the_rows(every):
    kinds, sizes, images = every
    data = read("brackets")
    assert data.schema.classes == ("angle", "gusset", "strut")
    assert data.schema.kind == "image"
    rows = data.test.index
    assert (data.test.raw[:, 0].numpy() == images[rows]).all()
    assert np.array_equal(data.test.responses["breadth"], sizes[rows, 2])
    assert np.array_equal(data.test.responses["area"], images[rows].sum((1, 2)))
    names = np.array(data.schema.classes)[data.test.labels.numpy()]
    assert (names == np.array(brackets.KINDS)[kinds[rows]]).all()
