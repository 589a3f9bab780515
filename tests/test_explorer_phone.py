"""The explorer page on a phone and on a large screen: fingers scroll, and no view is too wide or half empty."""

import models
import numpy as np
import pytest
import torch
from test_explorer import DRAWN, page_of, see, until

from variform import ModelConfig, build_vae, read

EDGES = """(() => {
    const boxes = [...document.querySelectorAll("#view *")].map((one) => one.getBoundingClientRect());
    const seen = boxes.filter(({ width, height }) => width && height);
    return [Math.max(...seen.map(({ right }) => right)), Math.max(...seen.map(({ bottom }) => bottom))];
})()"""
VIEWS = "variform.ready.then(({ views }) => views.map(({ key }) => key))"


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The paths of a page of digits and of one of a table with many columns whose names are long."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    folder = tmp_path_factory.mktemp("phone")
    digits = models.data_of("bernoulli", folder)
    page_of(models.model_of("bernoulli", digits, latent_dim=2), digits).save(folder / "digits.html")
    values = np.random.default_rng(0).normal(size=(200, 30))
    columns = {f"a long name of column {k} [kN/m²]": values[:, k] for k in range(30)}
    table = read(columns, labels=[f"a long name of category {k % 3}" for k in range(200)])
    vae = build_vae(ModelConfig(latent_dim=2, hidden=(8,), likelihood="gaussian"), table.schema)
    page_of(vae, table).save(folder / "table.html")
    torch.set_default_dtype(before)
    return {name: folder / f"{name}.html" for name in ("digits", "table")}


@pytest.mark.parametrize("name", ["digits", "table"])
def test_on_a_phone_the_page_never_scrolls_sideways(chromium, pages, name):
    chromium.resize(390, 844, has_touch=True, is_mobile=True)
    try:
        chromium.open(pages[name])
        for view in chromium.run(VIEWS):
            see(chromium, view)
            assert chromium.run("document.documentElement.scrollWidth") <= 390, view
    finally:
        chromium.resize(1100, 760)
    assert chromium.errors == []


@pytest.mark.parametrize("name", ["digits", "table"])
def test_no_view_leaves_half_of_a_large_screen_empty(chromium, pages, name):
    chromium.resize(1440, 900)
    try:
        chromium.open(pages[name])
        for view in chromium.run(VIEWS):
            see(chromium, view)
            right, bottom = chromium.run(EDGES)
            is_filled = (
                bottom > 0.55 * 900 or view == "numbers"
            )  # which has as many lines as it has
            assert right > 0.7 * 1440 and is_filled, (view, right, bottom)
    finally:
        chromium.resize(1100, 760)


@pytest.mark.parametrize("view", ["grid", "samples", "sliders", "morph"])
def test_one_finger_scrolls_the_page_wherever_it_is_put(chromium, pages, view):
    """On walls of designs, strips and small maps, in either direction, and nothing is pinned."""
    chromium.resize(390, 700, has_touch=True, is_mobile=True)
    try:
        chromium.open(pages["digits"])
        see(chromium, view)
        pins = chromium.run("variform.ready.then(({ state }) => state.pins.length)")
        session = chromium.page.context.new_cdp_session(chromium.page)

        def touch(kind, *places):
            points = [{"x": left, "y": top} for left, top in places]
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

        surfaces = chromium.page.locator("#view .wall, #view .strip canvas, #view .moving")
        for surface in surfaces.all():
            surface.evaluate("(one) => one.scrollIntoView({ block: 'center' })")
            chromium.run(DRAWN)
            frame = surface.bounding_box()
            x, y = frame["x"] + frame["width"] / 2, frame["y"] + frame["height"] / 2
            before = chromium.run("scrollY")
            down = 1 if before > 60 else -1  # away from the end of the page that is nearer
            touch("touchStart", (x, y))
            for k in range(1, 9):
                touch("touchMove", (x, y + down * 12 * k))
            touch("touchEnd")
            until(chromium.page, lambda was=before: abs(chromium.run("scrollY") - was) > 30)
        assert chromium.run("variform.ready.then(({ state }) => state.pins.length)") == pins
    finally:
        chromium.resize(1100, 760)
    assert chromium.errors == []
