"""Zooming, searching and selecting on the explorer's map, against the means and responses that Python has."""

import csv

import models
import numpy as np
import pytest
import torch
from test_explorer import DRAWN, boxes, page_of, see, until

from variform.evaluation import exploration

STATE = "variform.ready.then(({ state }) => [state.zoom, state.selection, state.pins.length, [...state.z]])"
UNDER = """variform.ready.then(({ view: { map } }) => {
    const frame = map.moving.getBoundingClientRect();
    return map.toPlane(%s - frame.left, %s - frame.top);
})"""
SCALES = "variform.ready.then(({ view: { map } }) => [map.scale, map.whole.scale, map.w, map.h])"
PRESS = """(() => {
    const wanted = %r;
    const is = (one) => wanted === (one.getAttribute("aria-label") ?? one.textContent);
    [...document.querySelectorAll("#view button")].find(is).click();
})()"""
WRITE = """(() => {
    const field = document.querySelector(".search input");
    field.value = %r;
    field.dispatchEvent(new Event("input"));
    return [...document.querySelectorAll(".search li span")].map((one) => one.textContent);
})()"""
ENTER = """document.querySelector(".search input").dispatchEvent(new KeyboardEvent("keydown", { key: "Enter" }))"""
ADDRESSED = """(async () => {
    while (!location.hash.includes("selection=")) await new Promise(requestAnimationFrame);
    return location.hash;
})()"""
SAID = "document.querySelector('.selection .count').textContent"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The path of a page of boxes, and what Python knows of its rows: names, numbers, responses, means."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    splits = boxes()
    vae = models.model_of("units", splits)
    path = tmp_path_factory.mktemp("zoom") / "page.html"
    page_of(vae, splits).save(path)
    parts = (splits.train, splits.valid, splits.test)
    known = {
        "name": np.concatenate([part.names for part in parts]),
        "row": np.concatenate([part.index.numpy() for part in parts]),
        "mass [g]": np.concatenate([part.responses["mass [g]"] for part in parts]),
        "load [N]": np.concatenate([part.responses["load [N]"] for part in parts]),
        "z": np.concatenate([exploration.encode(vae, part)[0] for part in parts]),
    }
    torch.set_default_dtype(before)
    return path, known


def places_of(browser, z):
    """Where points stand in the plane of the map, (N, 2)."""
    plane = browser.run("variform.ready.then((app) => app.contents.plane)")
    return (z - np.array(plane["centre"])) @ np.array(plane["axes"]).T


def within(places, rectangle):
    x0, y0, x1, y1 = rectangle
    x, y = places.T
    return (x >= x0) & (x <= x1) & (y >= y0) & (y <= y1)


def test_what_is_in_view_is_selected_and_saved_with_all_that_is_known_of_it(browser, page):
    path, known = page
    browser.open(path)
    see(browser, "map")
    for _ in range(2):
        browser.run(PRESS % "Zoom in")
        browser.run(DRAWN)
    browser.run(PRESS % "Select all in view")
    browser.run(DRAWN)
    zoom, rectangle, _, _ = browser.run(STATE)
    assert zoom["by"] == pytest.approx(2.25)
    inside = within(places_of(browser, known["z"]), rectangle)
    assert 5 < inside.sum() < 195
    assert browser.run(SAID) == f"{inside.sum()} of 200 selected"
    with open(browser.download(PRESS % "Save selection"), newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    saved = np.flatnonzero(inside)[np.argsort(known["row"][inside])]
    assert [row["name"] for row in rows] == known["name"][saved].tolist()
    assert [int(row["row"]) for row in rows] == known["row"][saved].tolist()
    for name in ("mass [g]", "load [N]"):
        values = [float(row[name] or "nan") for row in rows]
        np.testing.assert_allclose(values, known[name][saved], rtol=1e-6)
    axes = [f"z{k + 1}" for k in range(known["z"].shape[1])]
    z = [[float(row[axis]) for axis in axes] for row in rows]
    np.testing.assert_allclose(z, known["z"][saved], rtol=1e-5, atol=1e-6)
    fragment = browser.run(ADDRESSED)
    browser.open(path, fragment)
    see(browser, "map")
    again = browser.run(STATE)
    assert again[0] == pytest.approx(zoom, rel=1e-6)
    assert again[1] == rectangle
    assert browser.run(SAID) == f"{inside.sum()} of 200 selected"
    browser.run(PRESS % "Clear selection")
    browser.run(PRESS % "Show all of the map")
    browser.run(DRAWN)
    assert browser.run(STATE)[:2] == [None, None]
    assert browser.errors == []


def test_an_example_is_found_by_its_name_or_row_number(browser, page):
    path, known = page
    browser.open(path, "#zoom=20,0,0")
    see(browser, "map")
    listed = browser.run(WRITE % "box-17")
    assert (
        listed[0].startswith("box-17") and len(listed) == 8
    )  # box-17 and seven of box-170 to box-179
    assert browser.run("document.querySelector('.search .count').textContent") == "11 found"
    browser.run(WRITE % str(known["row"][60]))
    browser.run(ENTER)
    browser.run(DRAWN)
    zoom, _, _, z = browser.run(STATE)
    np.testing.assert_allclose(z, known["z"][60], rtol=1e-5, atol=1e-6)
    assert zoom["by"] == 20
    assert known["name"][60] in browser.run("document.querySelector('.tip').innerText")
    x, y = places_of(browser, known["z"])[60]
    x0, y0, x1, y1 = browser.run("variform.ready.then(({ view }) => view.map.frame.inner)")
    assert x0 < x < x1 and y0 < y < y1
    assert browser.run(WRITE % "no such thing") == []
    assert browser.errors == []


def test_a_mouse_zooms_about_the_pointer_drags_selects_and_pins(chromium, page):
    path, known = page
    chromium.open(path, "#theme=dark")
    see(chromium, "map")
    mouse, keyboard = chromium.page.mouse, chromium.page.keyboard
    frame = chromium.page.locator("#map").bounding_box()
    x, y = round(frame["x"]) + 300, round(frame["y"]) + 180  # events have whole pixels
    mouse.move(x, y)
    before = chromium.run(UNDER % (x, y))
    for _ in range(4):
        mouse.wheel(0, -150)
    until(chromium.page, lambda: (chromium.run(STATE)[0] or {"by": 1})["by"] > 3.2)
    np.testing.assert_allclose(chromium.run(UNDER % (x, y)), before, atol=1e-6)
    mouse.down()
    mouse.move(x + 60, y - 45, steps=5)
    mouse.up()
    chromium.run(DRAWN)
    np.testing.assert_allclose(chromium.run(UNDER % (x + 60, y - 45)), before, atol=1e-6)
    assert chromium.run(STATE)[2] == 0  # no pin
    keyboard.press("0")
    chromium.run(DRAWN)
    corners = [chromium.run(UNDER % place) for place in ((x - 150, y - 90), (x + 90, y + 110))]
    keyboard.down("Shift")
    mouse.move(x - 150, y - 90)
    mouse.down()
    mouse.move(x + 90, y + 110, steps=5)
    mouse.up()
    keyboard.up("Shift")
    chromium.run(DRAWN)
    (x0, y1), (x1, y0) = corners
    np.testing.assert_allclose(chromium.run(STATE)[1], [x0, y0, x1, y1], rtol=1e-5)
    inside = within(places_of(chromium, known["z"]), chromium.run(STATE)[1])
    assert chromium.run(SAID) == f"{inside.sum()} of 200 selected" and 0 < inside.sum() < 200
    keyboard.press("Escape")
    chromium.run(DRAWN)
    assert chromium.run(STATE)[1] is None
    mouse.click(x, y)
    assert chromium.run(STATE)[2] == 1
    keyboard.press("+")
    chromium.run(DRAWN)
    kept = chromium.run(STATE)
    mouse.dblclick(x + 20, y)  # all is shown again, and its two clicks have pinned nothing
    chromium.run(DRAWN)
    assert chromium.run(STATE)[0] is None and chromium.run(STATE)[2:] == kept[2:]
    assert chromium.errors == []


def test_the_point_that_keys_move_stays_in_view(chromium, page):
    chromium.open(page[0], "#zoom=12,0,0")
    see(chromium, "map")
    chromium.page.locator("#map").focus()
    for _ in range(30):
        chromium.page.keyboard.press("Shift+ArrowRight")
        chromium.run(DRAWN)
    place = "variform.ready.then(({ view: { map }, state }) => map.toScreen(...map.look.plane.place(state.z)))"
    left, top = chromium.run(place)
    _, _, w, h = chromium.run(SCALES)
    assert 0 < left < w + 40 and 0 < top < h  # by one step at most beyond the edge of all
    assert chromium.run(STATE)[0]["x"] > 0.1


def test_on_a_phone_two_fingers_zoom_and_one_scrolls_the_page(chromium, page):
    chromium.resize(390, 760, has_touch=True, is_mobile=True)
    try:
        chromium.open(page[0], "#theme=dark")
        see(chromium, "map")
        chromium.page.locator("#map").scroll_into_view_if_needed()
        start = chromium.run(STATE)
        frame = chromium.page.locator("#map").bounding_box()
        x, y = frame["x"] + 180, frame["y"] + 150
        session = chromium.page.context.new_cdp_session(chromium.page)

        def touch(kind, *places):
            points = [{"x": left, "y": top, "id": k} for k, (left, top) in enumerate(places)]
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

        scrolled = chromium.run("scrollY")
        before = chromium.run(UNDER % (x, y))
        touch("touchStart", (x - 30, y))
        touch("touchStart", (x - 30, y), (x + 30, y))
        for far in (45, 60, 75, 90):
            touch("touchMove", (x - far, y), (x + far, y))
        touch("touchEnd")
        chromium.run(DRAWN)
        zoom, _, _, z = chromium.run(STATE)
        assert zoom["by"] == pytest.approx(3, rel=0.05) and z == start[3]
        np.testing.assert_allclose(chromium.run(UNDER % (x, y)), before, atol=0.02)
        assert chromium.run("scrollY") == scrolled
        assert chromium.run("visualViewport.scale") == 1
        touch("touchStart", (x, y))
        for k in range(1, 12):
            touch("touchMove", (x, y + 12 * k))
        touch("touchEnd")
        until(chromium.page, lambda: chromium.run("scrollY") < scrolled - 60)
        after = chromium.run(STATE)
        assert after[0] == zoom and after[3] == start[3]
        assert chromium.run("document.documentElement.scrollWidth") <= 390
    finally:
        chromium.resize(1100, 760)
    assert chromium.errors == []
