"""Many examples on the explorer's map, and those that are selected: against arrays, Matplotlib's paths, torch."""

import base64
import csv
import io

import models
import numpy as np
import pytest
import torch
from matplotlib.path import Path as Outline
from PIL import Image
from scipy.spatial import KDTree
from sklearn.manifold import trustworthiness
from test_explorer import DRAWN, page_of, see, until
from test_explorer_zoom import PRESS, SAID, STATE, page, places_of

from variform import evaluate, read
from variform.evaluation import embedding, exploration
from variform.evaluation.embedding import embedded
from variform.pages.explorer import contents

assert page  # is a fixture

CHOSEN = "variform.ready.then((app) => Array.from(app.chosen() ?? []))"
PAINT = """variform.ready.then(({ view: { map } }) => {
    map.dots.wanted = %r;
    map._paintAgain();
    const { canvas } = map.dots._last;
    const copy = document.createElement("canvas");
    Object.assign(copy, { width: canvas.width, height: canvas.height });
    const pen = copy.getContext("2d");
    pen.drawImage(canvas, 0, 0);
    return [map.dots.painter, copy.toDataURL("image/png").split(",")[1]];
})"""
NEAREST = """variform.ready.then(({ world }) => %s.map((z) => {
    const { index, distance } = world.cloud.nearest(Float32Array.from(z));
    return [index, distance];
}))"""
DRAW = """variform.ready.then((app) => {
    const canvas = document.createElement("canvas");
    Object.assign(canvas, { width: 8, height: 8 });
    const pen = canvas.getContext("2d");
    app.world.examples.draw(pen, %d, { x: 0, y: 0, w: 8, h: 8 });
    const pixels = Array.from(pen.getImageData(0, 0, 8, 8).data.filter((_, at) => at %% 4 === 0));
    return [app.world.examples.isReal(%d), pixels];
})"""


def as_on(browser, known):
    """What is known of the rows in the order of the page."""
    numbers = browser.run("variform.ready.then((app) => app.contents.rows.numbers)")
    places = {row: place for place, row in enumerate(known["row"].tolist())}
    order = [places[int(number)] for number in numbers]
    return {name: values[order] for name, values in known.items()}


@pytest.fixture(scope="module")
def digits():
    """Digits, a model whose weights are drawn, and its numbers."""
    splits = read("digits")
    vae = models.model_of("bernoulli", splits)
    return vae, splits, evaluate(vae, splits.test, samples=2)


@pytest.fixture
def few_pictures(monkeypatch):
    monkeypatch.setattr(contents, "ASKED", contents.Budget(24_000_000, 64 * 300))


def test_a_page_that_is_asked_for_has_all_rows_and_pictures_of_some(digits, few_pictures):
    vae, splits, numbers = digits
    gathered = contents.gather(vae, splits, numbers, count=1797)
    rows = gathered["rows"]
    assert rows["count"] == rows["total"] == 1797
    pictured = rows["picture"]["rows"]
    assert pictured == sorted(set(pictured)) and 290 <= len(pictured) <= 500
    assert set(rows["worst"] + rows["others"]) <= set(pictured)
    assert any(
        f"pictures of {len(pictured)} of its rows" in n for n in gathered["numbers"]["notes"]
    )
    sheet = np.asarray(
        Image.open(io.BytesIO(base64.b64decode(rows["picture"]["data"]))), dtype=float
    )
    parts = (splits.train, splits.valid, splits.test)
    every = np.concatenate([part.gather(torch.arange(len(part))) for part in parts])
    order = np.concatenate([part.index for part in parts])
    raw = {int(row): values for row, values in zip(order, every, strict=True)}
    across = rows["picture"]["across"]
    for at in (0, 100, len(pictured) - 1):
        top, left = 8 * (at // across), 8 * (at % across)
        expected = raw[rows["numbers"][pictured[at]]][0]
        np.testing.assert_allclose(
            sheet[top : top + 8, left : left + 8] / 255 * 16, expected, atol=0.05
        )
    small = contents.gather(vae, splits, numbers, count=600)["rows"]
    assert 600 <= small["count"] <= 640
    usual = contents.gather(vae, splits, numbers)
    assert usual["rows"]["count"] == 1797 and "rows" not in usual["rows"]["picture"]


def test_an_example_without_a_picture_is_shown_as_torch_rebuilds_it(
    browser, digits, few_pictures, tmp_path
):
    vae, splits, _ = digits
    path = tmp_path / "page.html"
    page_of(vae, splits, count=1797).save(path)
    browser.open(path)
    see(browser, "map")
    rows = browser.run("variform.ready.then((app) => app.contents.rows.picture.rows)")
    i = next(k for k in range(1797) if k not in set(rows))
    is_real, pixels = browser.run(DRAW % (i, i))
    z = np.array(
        browser.run(f"variform.ready.then((app) => Array.from(app.world.cloud.point({i})))")
    )
    expected = exploration.decode(vae, z.astype(np.float32))[0] / 16 * 255
    assert not is_real
    np.testing.assert_allclose(np.reshape(pixels, (8, 8)), expected, atol=1.5)
    assert browser.run(DRAW % (rows[5], rows[5]))[0]
    assert "others are shown as the model rebuilds them" in browser.run(
        "document.querySelector('#view').innerText"
    )
    assert browser.errors == []


def test_both_ways_to_paint_dots_give_one_picture(browser, page):
    browser.open(page[0], "#zoom=3,0,0&colour=mass")
    see(browser, "map")
    browser.run(
        "variform.ready.then((app) => app.set({ limits: [{ name: 'mass', low: 80, high: null }] }))"
    )
    browser.run(DRAWN)
    made = [browser.run(PAINT % way) for way in ("plain", "webgl")]
    if made[1][0] != "webgl":
        pytest.skip("this browser has no WebGL here")
    assert made[0][0] == "plain"
    one, other = (
        np.asarray(Image.open(io.BytesIO(base64.b64decode(data))), dtype=float) for _, data in made
    )
    assert one.shape == other.shape and (one[..., 3] > 200).sum() > 500
    one, other = (image[..., :3] * image[..., 3:] / 255 for image in (one, other))
    assert np.abs(one - other).mean() < 0.05
    assert (np.abs(one - other).max(-1) > 12).mean() < 1e-3


def test_the_nearest_of_many_rows_is_that_of_a_tree_of_scipy(browser, page):
    path, known = page
    browser.open(path)
    known = as_on(browser, known)
    z = np.random.default_rng(2).normal(size=(50, known["z"].shape[1])) * known["z"].std(0)
    z += known["z"].mean(0)
    distances, index = KDTree(known["z"]).query(z)
    found = browser.run(NEAREST % z.tolist())
    assert [int(i) for i, _ in found] == index.tolist()
    np.testing.assert_allclose([distance for _, distance in found], distances, rtol=1e-4)


def test_a_lasso_selects_what_it_goes_round_and_a_histogram_shows_and_limits_it(chromium, page):
    path, known = page
    chromium.open(path, "#colour=mass")
    see(chromium, "map")
    known = as_on(chromium, known)
    chromium.run(PRESS % "Lasso")
    mouse = chromium.page.mouse
    frame = chromium.page.locator("#map").bounding_box()
    centre = np.array([frame["x"] + frame["width"] / 2, frame["y"] + frame["height"] / 2])
    angles = np.linspace(0, 2 * np.pi, 25)[:-1]
    reach = np.where(np.arange(24) % 2, 60, 190)  # a star
    corners = centre + np.stack([np.cos(angles), np.sin(angles)], 1) * reach[:, None]
    mouse.move(*corners[0])
    mouse.down()
    for corner in corners[1:]:
        mouse.move(*corner)
    mouse.up()
    chromium.run(DRAWN)
    region = np.reshape(chromium.run(STATE)[1], (-1, 2))
    inside = Outline(region).contains_points(places_of(chromium, known["z"]))
    assert len(region) >= 24 and 10 < inside.sum() < 190
    assert chromium.run(SAID) == f"{inside.sum()} of 200 selected"
    title = chromium.page.locator(".chosen-title").inner_text()
    assert title.startswith(f"Selected: {inside.sum()}")

    chromium.page.locator(".limits-more select").select_option("mass")
    chromium.page.locator(".limits-more button").click()
    box = chromium.page.locator(".range canvas").bounding_box()
    y = box["y"] + 8
    mouse.move(box["x"] + 8 + 0.25 * (box["width"] - 16), y)
    mouse.down()
    mouse.move(box["x"] + 8 + 0.75 * (box["width"] - 16), y, steps=4)
    mouse.up()
    chromium.run(DRAWN)
    (limit,) = chromium.run("variform.ready.then((app) => app.state.limits)")
    mass = known["mass [g]"]
    length = np.ptp(mass)
    assert limit["low"] == pytest.approx(mass.min() + 0.25 * length, abs=0.01 * length)
    assert limit["high"] == pytest.approx(mass.min() + 0.75 * length, abs=0.01 * length)
    both = inside & (mass >= limit["low"]) & (mass <= limit["high"])
    assert 0 < both.sum() < inside.sum()
    assert chromium.run(CHOSEN) == both.astype(int).tolist()
    assert chromium.run(SAID) == f"{both.sum()} of 200 selected"
    with open(chromium.download(PRESS % "Save selection"), newline="", encoding="utf-8") as file:
        names = [row["name"] for row in csv.DictReader(file)]
    assert names == known["name"][both][np.argsort(known["row"][both])].tolist()
    mouse.click(box["x"] + 100, y)  # a press alone takes the limits away
    chromium.run(DRAWN)
    assert chromium.run(CHOSEN) == inside.astype(int).tolist()
    until(chromium.page, lambda: "limits=mass%3A%3A&" in chromium.run("location.hash"))
    chromium.open(path, chromium.run("location.hash"))
    see(chromium, "map")
    assert chromium.run(CHOSEN) == inside.astype(int).tolist()
    assert chromium.errors == []


def test_without_a_pointer_pins_are_the_corners_of_a_selection(browser, page):
    path, known = page
    browser.open(path)
    see(browser, "map")
    known = as_on(browser, known)
    spread = 2 * known["z"].std(0)
    middle = known["z"].mean(0)
    pins = [middle + spread * np.cos(np.arange(len(middle)) + 2 * np.pi * k / 3) for k in range(3)]
    text = "~".join(",".join(f"{value:.4f}" for value in z) for z in pins)
    browser.open(path, f"#pins={text}")
    see(browser, "map")
    browser.run(PRESS % "Select within pins")
    browser.run(DRAWN)
    region = np.reshape(browser.run(STATE)[1], (3, 2))
    np.testing.assert_allclose(region, places_of(browser, np.array(pins)), atol=1e-3)
    inside = Outline(region).contains_points(places_of(browser, known["z"]))
    assert 0 < inside.sum() < 200
    assert browser.run(CHOSEN) == inside.astype(int).tolist()
    assert browser.errors == []


def test_a_picture_of_neighbours_keeps_them_and_is_seeded():
    random = np.random.default_rng(3)
    points = (random.normal(0, 4, (5, 6))[np.arange(400) % 5]) + random.normal(size=(400, 6))
    places = embedded(points, seed=1)
    np.testing.assert_allclose(places.std(0), 1, rtol=1e-5)
    assert trustworthiness(points, places, n_neighbors=10) > 0.9  # at random about 0.5
    np.testing.assert_array_equal(places, embedded(points, seed=1))
    with pytest.raises(ValueError, match="at least 10 points; got 9"):
        embedded(points[:9])


def test_of_more_points_than_it_can_have_a_picture_has_some(monkeypatch):
    monkeypatch.setattr(embedding, "MOST_ROWS", 40)
    places = embedded(np.random.default_rng(0).normal(size=(100, 3)))
    assert np.isfinite(places).all(1).sum() == 40 and np.isnan(places).all(1).sum() == 60


def test_the_page_says_that_a_picture_is_no_distance_and_keys_walk_in_it(
    browser, digits, tmp_path, monkeypatch
):
    monkeypatch.setattr(embedding, "MOST_ROWS", 300)
    vae, splits, _ = digits
    path = tmp_path / "page.html"
    page_of(vae, splits, embedding="tsne").save(path)
    browser.open(path, "#plane=picture")
    see(browser, "map")
    text = browser.run("document.querySelector('#view').innerText")
    assert "t-SNE is a picture, and no distance" in text and "It has 300 of 1,797 examples" in text
    place = "variform.ready.then((app) => app.plane().place(app.state.z))"
    start = browser.run(place)
    press = "variform.ready.then((app) => app.arrows(new KeyboardEvent('keydown', { key: %r }), app.view.map))"
    browser.run(press % "ArrowRight")
    browser.run(DRAWN)
    right = browser.run(place)
    assert right[0] > start[0]
    z = np.array(browser.run("variform.ready.then((app) => Array.from(app.state.z))"))
    means = np.concatenate(
        [exploration.encode(vae, part)[0] for part in (splits.train, splits.valid, splits.test)]
    )
    assert np.abs(means - z).max(1).min() < 1e-4  # an example
    browser.run("variform.ready.then((app) => app.set({ plane: 'pca' }))")
    browser.run(DRAWN)
    assert "no distance" not in browser.run("document.querySelector('#view').innerText")
    assert browser.errors == []
