"""The explorer page: one file that decodes offline what torch decodes, in two browsers, and shows data as text only."""

import base64
import csv
import hashlib
import io
import json
import re
from importlib import resources

import models
import numpy as np
import pytest
import torch
from pages import contents_of
from PIL import Image
from scipy.spatial import KDTree

from variform import ModelConfig, build_vae, evaluate, read
from variform.config.data import DataConfig
from variform.evaluation import exploration
from variform.pages.explorer.contents import Law, event, gather
from variform.pages.explorer.page import Page, render
from variform.pages.explorer.payload import decoder_payload

SCRIPT = resources.files("variform.pages") / "script"
VIEWS = ["map", "sliders", "morph", "grid", "samples", "rebuilt", "numbers"]
HOSTILE = "</script><script>window.hacked = 1</script>"
FOCUSED = """(() => {
    const at = document.activeElement;
    if (at === document.body) return ["", ""];
    const label = at.getAttribute("aria-label") || at.textContent.trim() || at.closest("label")?.textContent.trim();
    return [at.id || label, getComputedStyle(at).outlineStyle];
})()"""
HTML_NAME = '<img src=x onerror="window.hacked = 1"> [mm]'
WATCH = """variform.ready.then((app) => {
    window.pending = 0;
    for (const name of ["decode", "many"]) {
        const plain = app[name].bind(app);
        app[name] = (...given) => {
            window.pending++;
            const found = plain(...given);
            return Promise.resolve(found).finally(() => window.pending--);
        };
    }
    return true;
})"""
DRAWN = """(async () => {
    for (let quiet = 0; quiet < 5; quiet = window.pending ? 0 : quiet + 1) await new Promise(requestAnimationFrame);
})()"""
ADDRESSED = """(async () => {
    while (!location.hash.includes("grid=8")) await new Promise(requestAnimationFrame);
})()"""


def see(browser, view):
    """Open a view and wait until it has drawn: for some frames, nothing is being decoded."""
    browser.run(f"window.pending === undefined ? {WATCH} : true")
    browser.run(f"variform.ready.then((app) => app.open('{view}'))")
    browser.run(DRAWN)


def page_of(vae, splits, **options):
    numbers = evaluate(vae, splits.test, samples=4)
    options = {"laws": [Law("the prior", None)], **options}
    return render(gather(vae, splits, numbers, **options), decoder_payload(vae))


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The path of the page of each kind of model, its model and its data; made when they are first asked for."""
    folder, made = tmp_path_factory.mktemp("pages"), {}

    def page(name):
        if name not in made:
            before = torch.get_default_dtype()
            torch.set_default_dtype(torch.float64)
            splits = models.data_of(name, folder)
            vae = models.model_of(name, splits)
            path = folder / f"{name.replace(' ', '-')}.html"
            page_of(vae, splits).save(path)
            made[name] = path, vae, splits
            torch.set_default_dtype(before)
        return made[name]

    return page


def boxes():
    """Rows of three lengths with names and two responses, the second one of which some rows lack."""
    random = np.random.default_rng(5)
    sides = {f"{name} [mm]": random.uniform(20, 60, 200) for name in ("width", "height", "depth")}
    load = np.where(random.random(200) < 0.2, np.nan, random.normal(900, 90, 200))
    table = {"name": [f"box-{k}" for k in range(200)], **sides}
    table |= {"mass [g]": sides["width [mm]"] * 2, "load [N]": load}
    return read(table, DataConfig(id="name", response=("mass [g]", "load [N]")))


@pytest.fixture(scope="module")
def of_boxes(tmp_path_factory):
    """The page of a model of `boxes`, the model and the data."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    splits = boxes()
    vae = models.model_of("units", splits)
    path = tmp_path_factory.mktemp("boxes") / "page.html"
    page_of(vae, splits).save(path)
    torch.set_default_dtype(before)
    return path, vae, splits


def table_with_html():
    """Rows with a label that ends a script and a column whose name is HTML."""
    random = np.random.default_rng(0)
    data = read(
        random.normal(5, 1, (200, 3)), labels=np.array(["plain", HOSTILE])[np.arange(200) % 2]
    )
    schema = data.schema
    object.__setattr__(schema, "columns", (HTML_NAME, "b", "c"))
    return data


# --- what stands in the file --------------------------------------------------------------------------------------


def test_nothing_in_the_page_can_end_its_data_or_load_anything():
    splits = table_with_html()
    vae = build_vae(ModelConfig(latent_dim=2, hidden=(8,), likelihood="gaussian"), splits.schema)
    text = page_of(vae, splits).html
    assert HOSTILE not in text and HTML_NAME not in text
    assert text.count("<script") == text.count("</script>") == 4
    assert HOSTILE in contents_of(text)["rows"]["columns"][0]["categories"]
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
    assert (
        "default-src 'none'" in policy
        and "unsafe-inline" not in policy
        and "'unsafe-eval'" not in policy
    )
    assert not re.search(r"""(?:src|href)=["'](?!#|data:)""", text.split('id="data"')[0])
    scripts = [
        SCRIPT.joinpath(name).read_text(encoding="utf-8") for name in ("bundle.js", "loader.js")
    ]
    assert not [script for script in scripts if "innerHTML" in script]
    hashes = re.search(r"script-src ([^;]*);", policy)[1].split()
    digests = [hashlib.sha256(script.encode()).digest() for script in scripts]
    allowed = [f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests]
    assert sorted(hashes) == sorted([*allowed, "'wasm-unsafe-eval'"])


def test_the_rows_of_a_page_are_a_seeded_draw_and_hold_the_worst_reconstructions():
    random = np.random.default_rng(0)
    rows = random.normal(0, 1, (30_000, 60))
    rows[:, 1] += rows[:, 0]
    splits = read(rows, config=DataConfig(cells="mixed"))
    vae = build_vae(ModelConfig(latent_dim=2, hidden=(8,), likelihood="mixed"), splits.schema)
    numbers = evaluate(vae, splits.test, samples=2)
    first, again = (gather(vae, splits, numbers, laws=[], seed=3) for _ in range(2))
    assert first == again
    assert first["rows"]["total"] == 30_000 and 2_500 <= first["rows"]["count"] < 2_600
    assert "drawn with seed 3" in first["numbers"]["notes"][0]
    errors = np.frombuffer(base64.b64decode(first["rows"]["columns"][-1]["values"]), "<f4")
    worst = errors[first["rows"]["worst"]]
    assert np.all(np.diff(worst) <= 0)
    index = exploration.spread(2000, len(splits.test))
    originals, values = exploration.reconstruct(vae, splits.test.take(index))
    expected = np.sort(np.sqrt(((originals - values) ** 2).mean(1)))[::-1][:10]
    np.testing.assert_allclose(worst, expected, rtol=1e-4)


def test_thumbnails_are_the_rows(tmp_path):
    digits = read("digits")
    vae = build_vae(ModelConfig(likelihood="bernoulli", latent_dim=2, hidden=(8,)), digits.schema)
    contents = gather(vae, digits, evaluate(vae, digits.test, samples=2), laws=[])
    picture = contents["rows"]["picture"]
    sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture["data"]))))
    across, h, w = picture["across"], picture["height"], picture["width"]
    means = np.frombuffer(base64.b64decode(contents["rows"]["means"]), "<f4").reshape(-1, 2)
    for i in (0, 700, 1796):
        tile = sheet[i // across * h : (i // across + 1) * h, i % across * w : (i % across + 1) * w]
        raw = torch.from_numpy(np.rint(tile / 255 * 16)).double().reshape(1, 1, 8, 8)
        there = vae.double().encode(digits.schema.prepare(raw)).mean
        np.testing.assert_allclose(there.detach().numpy()[0], means[i], atol=1e-5)


def test_a_table_of_many_numbered_columns_is_a_curve():
    rows = read(np.random.default_rng(0).normal(size=(50, 20)))
    names = tuple(f"{400 + 10 * k} nm" for k in range(20))
    object.__setattr__(rows.schema, "columns", names)
    law_event = event(rows.schema)
    assert law_event["kind"] == "curve" and law_event["line"]["places"][:2] == [400, 410]
    assert law_event["line"]["axes"][0] == "nm"
    object.__setattr__(rows.schema, "columns", (*names[:-1], "total"))
    assert event(rows.schema)["kind"] == "table"


def test_a_notebook_shows_the_page_in_a_frame_of_its_own(tmp_path):
    page = Page('<!doctype html><p title="a">&amp;</p>')
    shown = page._repr_html_()
    assert 'sandbox="allow-scripts allow-downloads"' in shown and "allow-same-origin" not in shown
    assert "&lt;p title=&quot;a&quot;&gt;&amp;amp;&lt;/p&gt;" in shown
    page.save(tmp_path / "page.html")
    with pytest.raises(FileExistsError, match="must be a new file"):
        page.save(tmp_path / "page.html")


def test_the_frame_of_a_notebook_runs_the_page(chromium, pages, tmp_path):
    """Alone in its sandbox: neither page nor notebook reaches the other, and no encoding around it breaks its hash."""
    frame = Page(pages("gaussian")[0].read_text(encoding="utf-8"))._repr_html_()
    (tmp_path / "notebook.html").write_text(
        f"<!doctype html><meta charset=latin-1><body>{frame}", encoding="utf-8"
    )
    chromium.errors.clear()
    chromium.page.goto((tmp_path / "notebook.html").as_uri())
    inside = chromium.page.frames[1]
    # Not by waiting for a function, which asks for `eval` where the page is not ready yet; its policy has none.
    is_ready = "performance.getEntriesByName('variform-ready').length"
    until(chromium.page, lambda: inside.evaluate(is_ready))
    assert inside.evaluate("variform.ready.then((app) => app.values.length)") == 64
    inside.evaluate("variform.ready.then((app) => (app.open('grid'), app._writeAddress()))")
    with pytest.raises(Exception, match=r"cross-origin|Blocked a frame"):
        inside.evaluate("parent.document.title")
    assert not [text for text in chromium.errors if "Blocked a frame" not in text]


# --- in the browsers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["gaussian", "conv gaussian", "odd colours", "conditional", "mixed", "outlines"]
)
def test_a_browser_decodes_what_torch_decodes(browser, pages, name):
    path, vae, splits = pages(name)
    browser.open(path)
    random = np.random.default_rng(7)
    z = random.normal(size=(100, vae.latent_dim)).astype(np.float32)
    context = splits.train.typical_context()
    expected = exploration.decode(vae, z, context=context).reshape(100, -1)
    decoded = browser.run(
        "variform.ready.then(async (app) => Array.from(await app.decode("
        f"new Float32Array({json.dumps(z.ravel().tolist())}))))"
    )
    span = np.array(splits.schema.high) - np.array(splits.schema.low)
    allowed = 1e-3 * span + 2.0**-23 * np.abs(expected).max()
    close = np.abs(np.reshape(decoded, expected.shape) - expected) <= allowed
    assert (
        close.mean() > 0.995 if splits.schema.kinds else close.all()
    )  # a whole number may have been on an edge
    assert browser.run("variform.ready.then((app) => app.decoder.kernel)") == "wasm-simd"
    assert browser.errors == []


@pytest.mark.parametrize("name", ["gaussian", "conditional", "mixed", "units", "outlines"])
def test_every_view_opens_without_an_error_and_the_address_brings_it_back(browser, pages, name):
    path, _, _ = pages(name)
    browser.open(path)
    for view in VIEWS:
        see(browser, view)
        text = browser.run(
            "document.getElementById('view').innerText + document.querySelectorAll('#view canvas').length"
        )
        assert len(text) > 2
    browser.run(
        "variform.ready.then((app) => (app.pin(new Float32Array([0.5, -1, 0.25])), app.open('grid')))"
    )
    browser.run("variform.ready.then((app) => app.set({ theme: 'dark', fog: false, grid: 8 }))")
    browser.run(ADDRESSED)
    browser.run(DRAWN)
    fragment = browser.run("location.hash")
    state = "variform.ready.then((app) => JSON.stringify([app.state.view, [...app.state.z], app.state.pins.length, "
    state += (
        "app.state.theme, app.state.fog, app.state.grid, app.state.plane, [...app.state.context]]))"
    )
    before = browser.run(state)
    assert browser.errors == []
    browser.open(path, fragment)
    assert browser.run(state) == before
    assert json.loads(before)[:5] == ["grid", [0.5, -1, 0.25], 3, "dark", False]  # two of the morph
    assert browser.errors == []


@pytest.mark.parametrize("name", ["gaussian", "mixed", "units"])
def test_a_collapsed_model_has_no_map_and_nothing_is_among_its_data(
    chromium, pages, tmp_path, name
):
    """Whatever the address asks for, only what needs no latent space is shown, without a word on where a point lies."""
    _, vae, splits = pages(name)
    numbers = evaluate(vae, splits.test, samples=4)
    numbers["active_units"]["count"] = 0
    numbers["warnings"] = ["No latent dimension is active."]
    path = tmp_path / "collapsed.html"
    render(gather(vae, splits, numbers, laws=[Law("the prior", None)]), decoder_payload(vae)).save(
        path
    )
    for fragment in ("", "#view=map&z=0,1,2", "#view=grid"):
        chromium.open(path, fragment)
        tabs = chromium.run(
            "[...document.querySelectorAll('[role=tab]')].map((tab) => tab.id.slice(4))"
        )
        assert tabs == ["samples", "rebuilt", "numbers"]
        for key in "1234567":
            chromium.page.keyboard.press(key)
        for tab in tabs:
            see(chromium, tab)
            text = chromium.run("document.querySelector('main').innerText").lower()
            assert not re.search("among the data|edge of the data|far from all data|nearest", text)
        assert "No latent dimension" in chromium.run(
            "document.getElementById('warnings').innerText"
        )
        assert "has collapsed" in chromium.run("document.getElementById('help').textContent")
    assert chromium.errors == []


def test_files_that_are_saved_hold_the_design(browser, pages, tmp_path):
    path, vae, _ = pages("gaussian")
    browser.open(path, "#z=0.5,-1,0.25")
    expected = exploration.decode(vae, np.array([0.5, -1, 0.25]))
    decoded = np.load(browser.download("variform.ready.then((app) => app.saveDesign('npy'))"))
    assert decoded.shape == (1, 8, 8) and decoded.dtype == np.float32
    np.testing.assert_allclose(decoded, expected, atol=16e-3)
    with open(
        browser.download("variform.ready.then((app) => app.saveDesign('csv'))"), newline=""
    ) as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["row", "column", "value"] and rows[9][:2] == ["1", "0"]
    np.testing.assert_array_equal([np.float32(row[2]) for row in rows[1:]], decoded.ravel())
    picture = Image.open(browser.download("variform.ready.then((app) => app.savePicture())"))
    width = browser.run("document.querySelector('main').getBoundingClientRect().width")
    assert picture.width == int(2 * width)
    assert (
        len(np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3)[::97], axis=0)) > 30
    )  # it is not blank
    browser.open(pages("mixed")[0])
    with open(
        browser.download("variform.ready.then((app) => app.saveDesign('csv'))"), newline=""
    ) as file:
        header, row = csv.reader(file)
    assert header == list(pages("mixed")[2].schema.columns)
    assert (
        row[header.index("site")] in ("north", "south", "west")
        and row[header.index("visits")].isdigit()
    )


def test_markup_in_labels_and_names_is_shown_as_text(browser, tmp_path):
    torch.set_default_dtype(torch.float32)
    splits = table_with_html()
    vae = build_vae(ModelConfig(latent_dim=2, hidden=(8,), likelihood="gaussian"), splits.schema)
    page_of(vae, splits).save(tmp_path / "page.html")
    browser.open(tmp_path / "page.html")
    for view in ("rebuilt", "samples", "map"):
        see(browser, view)
        assert HTML_NAME.removesuffix(" [mm]") in browser.run(
            "document.querySelector('main').textContent"
        )
    assert HOSTILE in browser.run("document.querySelector('.legend').textContent")
    assert browser.run("String(window.hacked)") == "undefined"
    assert browser.run("document.querySelectorAll('main img').length") == 0
    assert browser.errors == []


def test_the_page_loads_quickly_and_follows_the_pointer(browser, pages):
    """Generous bounds; what a quiet machine takes stands in benchmarks/RESULTS.md."""
    browser.open(pages("gaussian")[0])
    assert (
        browser.run(
            "performance.mark('asked') && performance.getEntriesByName('variform-ready')[0].startTime"
        )
        < 10_000
    )
    frames = browser.run(
        "variform.ready.then(async (app) => { const before = performance.now(); for (let i = 0; i < 30; i++) { "
        "app.follow(new Float32Array([Math.sin(i), Math.cos(i), 0])); await new Promise(requestAnimationFrame); } "
        "return 30000 / (performance.now() - before); })"
    )
    assert frames > 5


# --- by hand ------------------------------------------------------------------------------------------------------


def until(page, holds):
    """Ask again until it holds; a page that hangs is given up after some minutes."""
    for _ in range(1000):
        if holds():
            return
        page.wait_for_timeout(100)
    raise AssertionError("it never came to hold")


def test_the_design_follows_the_pointer_and_a_click_keeps_it(chromium, pages):
    path, vae, _ = pages("gaussian")
    chromium.open(path)
    page = chromium.page
    frame = page.locator("#map").bounding_box()
    start = chromium.run("variform.ready.then((app) => [...app.state.z])")
    page.mouse.move(frame["x"] + 200, frame["y"] + 150)

    def follows():
        live, values = chromium.run(
            "variform.ready.then((app) => [[...app.live], [...app.values]])"
        )
        expected = exploration.decode(vae, np.array(live)).ravel()
        return np.abs(np.subtract(live, start)).max() > 0.01 and np.allclose(
            values, expected, rtol=0, atol=16e-3
        )

    until(page, follows)
    page.mouse.move(frame["x"] + 200, frame["y"] - 100)
    until(
        page, lambda: chromium.run("variform.ready.then((app) => [...app.live])") == start
    )  # nothing was kept
    page.mouse.click(frame["x"] + 260, frame["y"] + 180)
    until(page, lambda: chromium.run("variform.ready.then((app) => app.state.pins.length)") == 1)
    page.mouse.move(5, 5)
    kept = chromium.run("variform.ready.then((app) => [[...app.live], [...app.state.pins[0]]])")
    assert kept[0] == kept[1] != start


TIP = "(() => { const tip = document.querySelector('.tip'); return tip.hidden ? '' : tip.innerText; })()"
PLACE = """variform.ready.then((app) => {
    const { map } = app.view;
    const frame = map.moving.getBoundingClientRect();
    const [x, y] = map._placeOf(%d);
    return [frame.x + x, frame.y + y, map.exampleAt(x, y, 9)];
})"""


def lines_of(splits, name):
    """What the page says of the row of that name."""
    part = next(part for part in (splits.train, splits.valid, splits.test) if name in part.names)
    (row,) = np.flatnonzero(part.names == name)
    load = part.responses["load [N]"][row]
    words = "none" if np.isnan(load) else f"{load:.4g} N"
    return [f"{part.responses['mass [g]'][row]:.4g} g", words]


def test_an_example_under_the_pointer_finger_or_keys_is_named_with_its_responses(
    chromium, of_boxes
):
    path, _, splits = of_boxes
    chromium.open(path)
    page = chromium.page
    names = chromium.run("variform.ready.then((app) => app.contents.rows.names)")
    for row in (3, 50, 120):
        x, y, there = chromium.run(PLACE % row)
        page.mouse.move(x, y)
        until(page, lambda there=there: names[there] in chromium.run(TIP))
        assert all(words in chromium.run(TIP) for words in lines_of(splits, names[there]))
    page.mouse.move(5, 5)
    until(page, lambda: not chromium.run(TIP))
    page.locator("#map").focus()
    page.keyboard.press("n")
    near = chromium.run("variform.ready.then((app) => app.near.index)")
    until(page, lambda: names[near] in chromium.run(TIP))
    assert lines_of(splits, names[near])[0] in chromium.run(
        "document.querySelector('.known').textContent"
    )
    page.keyboard.press("Escape")
    assert not chromium.run(TIP)
    chromium.resize(390, 760, has_touch=True)
    try:
        chromium.open(path)
        chromium.page.locator("#map").evaluate("(map) => map.scrollIntoView({ block: 'end' })")
        x, y, there = chromium.run(PLACE % 7)
        chromium.page.touchscreen.tap(x, y)
        until(chromium.page, lambda: names[there] in chromium.run(TIP))
        assert chromium.run("document.documentElement.scrollWidth") <= 390
    finally:
        chromium.resize(1100, 760)
    assert chromium.errors == []


def test_limits_dim_examples_and_a_slider_of_a_column_moves_the_point_to_its_value(
    chromium, of_boxes
):
    path, vae, splits = of_boxes
    chromium.open(path, "#theme=light")
    page = chromium.page
    for name in ("load", "width"):
        page.locator(".limits-more select").select_option(name)
        page.locator(".limits-more button").click()
    parts = (splits.train, splits.valid, splits.test)
    load = np.concatenate([part.responses["load [N]"] for part in parts])
    limit = page.get_by_label("load, from")
    limit.focus()
    for _ in range(3):
        page.keyboard.press("PageUp")
    low = chromium.run("variform.ready.then((app) => app.state.limits[0].low)")
    assert low > np.nanmin(load)
    count = int((load >= low).sum())
    until(page, lambda: f"{count} of 200 examples" in page.locator(".more").inner_text())
    names = np.concatenate([part.names for part in parts])
    wanted = sorted(names[load >= low])
    shown = "variform.ready.then((app) => app.contents.rows.names.filter((_, i) => app.view.map._isShown(i)))"
    until(page, lambda: sorted(chromium.run(shown)) == wanted)  # the map follows in its next frame
    slider = page.get_by_label("width of the decoded design")
    start = np.array(chromium.run("variform.ready.then((app) => [...app.state.z])"))
    before = float(exploration.decode(vae, start)[0])
    slider.focus()
    page.keyboard.press("ArrowRight")
    target = float(slider.input_value())
    assert target > before

    def is_there():
        z = np.array(chromium.run("variform.ready.then((app) => [...app.state.z])"))
        return abs(float(exploration.decode(vae, z)[0]) - target) < 0.06  # of 40 mm

    until(page, is_there)
    ask = "variform.ready.then((app) => app.panel.limits._ask(app.panel.limits.rows[1], 1e6))"
    chromium.run(ask)  # as near as the search comes, and it is said
    until(page, lambda: "Reached" in page.locator(".limit-said").inner_text())
    until(page, lambda: "limits=load" in chromium.run("location.hash"))
    state = "variform.ready.then((app) => JSON.stringify([app.state.limits, [...app.state.z]]))"
    page.wait_for_timeout(300)
    fragment, kept = chromium.run("location.hash"), json.loads(chromium.run(state))
    chromium.open(path, fragment)
    again = json.loads(chromium.run(state))
    assert [limit["name"] for limit in again[0]] == ["load", "width"]
    assert again[0][0]["low"] == pytest.approx(kept[0][0]["low"], rel=1e-5)
    np.testing.assert_allclose(again[1], kept[1], atol=1e-4)
    chromium.open(path, "#limits=nothing:1:2|load:x:|load:5:")
    assert json.loads(chromium.run(state))[0] == [{"name": "load", "low": None, "high": None}]
    assert chromium.errors == []


def test_the_legend_has_the_unit_the_ends_and_what_is_missing(chromium, of_boxes):
    path, _, splits = of_boxes
    chromium.open(path, "#colour=load")
    chromium.run(DRAWN)
    text = chromium.run("document.querySelector('.legend').innerText")
    load = np.concatenate(
        [part.responses["load [N]"] for part in (splits.train, splits.valid, splits.test)]
    )
    ends = f"{np.nanmin(load):.4g} to {np.nanmax(load):.4g} N"
    assert "load [N]" in text and ends in text and f"none: {np.isnan(load).sum()} rows" in text


def test_errors_of_reconstructions_have_the_unit_of_the_columns(chromium, of_boxes):
    chromium.open(of_boxes[0], "#view=rebuilt&theme=light")
    see(chromium, "rebuilt")
    first = chromium.run("document.querySelector('.rows tbody td').textContent")
    assert re.fullmatch(r"[\d.]+ mm", first)


def test_the_plane_of_pca_moves_a_point_along_its_axes_only(chromium, pages):
    """Moving over the map changes what the plane shows, and leaves what is orthogonal to it."""
    path, _, _ = pages("gaussian")
    chromium.open(path)
    plane = chromium.run("variform.ready.then((app) => app.contents.plane)")
    there = chromium.run(
        "variform.ready.then((app) => [...app.plane().at([0.7, -0.4], new Float32Array([0.1, 0.2, 0.3]))])"
    )
    centre, axes = np.array(plane["centre"]), np.array(plane["axes"])
    np.testing.assert_allclose(axes @ (np.array(there) - centre), [0.7, -0.4], atol=1e-6)
    off = np.eye(3) - axes.T @ axes
    np.testing.assert_allclose(off @ (np.array(there) - [0.1, 0.2, 0.3]), 0, atol=1e-6)


def test_the_keyboard_reaches_everything(chromium, pages):
    chromium.open(pages("conditional")[0])
    page = chromium.page
    seen = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        seen.add(tuple(page.evaluate(FOCUSED)))
    names = {name for name, _ in seen}
    for wanted in (
        "map",
        "tab-map",
        "Save picture",
        "Copy link",
        "?",
        "Pin",
        "Save .npy",
        "Save .csv",
        "Thumbnails",
    ):
        assert wanted in names
    assert not {name for name, outline in seen if outline != "solid" and name}
    page.locator("#map").focus()
    before = chromium.run("variform.ready.then((app) => [...app.state.z])")
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Enter")
    until(page, lambda: chromium.run("variform.ready.then((app) => app.state.pins.length)") == 1)
    assert chromium.run("variform.ready.then((app) => [...app.state.z])") != before
    for number, view in enumerate(VIEWS, 1):
        page.keyboard.press(str(number))
        assert chromium.run("variform.ready.then((app) => app.state.view)") == view
    page.keyboard.press("t")
    assert chromium.run("document.documentElement.dataset.theme") == "light"
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("#help").is_visible()


def test_another_condition_is_another_design(chromium, pages):
    path, vae, splits = pages("conditional")
    chromium.open(path, "#z=0.5,-1,0.25")
    chromium.page.locator(".told select").select_option("7")
    expected = exploration.decode(
        vae, np.array([0.5, -1, 0.25]), context=splits.schema.context({"label": 7})
    ).ravel()

    def is_shown():
        values = chromium.run("variform.ready.then((app) => [...app.values])")
        return np.allclose(values, expected, rtol=0, atol=16e-3)

    until(chromium.page, is_shown)


@pytest.mark.parametrize("name", ["gaussian", "conditional", "mixed", "outlines"])
def test_a_phone_needs_no_scrolling_sideways(chromium, pages, name):
    chromium.resize(360, 700)
    try:
        chromium.open(pages(name)[0])
        for view in VIEWS:
            see(chromium, view)
            assert chromium.run("document.documentElement.scrollWidth") <= 360
    finally:
        chromium.resize(1100, 760)


def test_the_way_along_the_data_stays_nearer_to_them(chromium, tmp_path):
    """Two latents on a ring: the straight way between opposite points crosses its empty middle."""
    torch.set_default_dtype(torch.float32)
    digits = read("digits")
    vae = build_vae(ModelConfig(likelihood="bernoulli", latent_dim=2, hidden=(8,)), digits.schema)
    contents = gather(vae, digits, evaluate(vae, digits.test, samples=2), laws=[Law("N", None)])
    contents["collapsed"] = False  # this network was not trained, and has no latents in use
    angle = np.linspace(0, 2 * np.pi, contents["rows"]["count"])
    ring = np.column_stack([np.cos(angle), np.sin(angle)])
    contents["rows"]["means"] = base64.b64encode(ring.astype("<f4").tobytes()).decode()
    render(contents, decoder_payload(vae)).save(tmp_path / "ring.html")
    chromium.open(tmp_path / "ring.html", "#pins=1,0~-1,0&view=morph&morph=0,1,data,0.5")
    until(
        chromium.page,
        lambda: chromium.run("variform.ready.then((app) => Boolean(app.view?.ways?.data))"),
    )
    z = np.array(
        chromium.run("variform.ready.then((app) => app.view.ways.data.map((z) => [...z]))")
    )
    assert np.linalg.norm(z, axis=1).min() > 0.97
    np.testing.assert_allclose(z[[0, -1]], [[1, 0], [-1, 0]], atol=1e-6)
    straight = np.array(
        chromium.run("variform.ready.then((app) => app.view.ways.straight.map((z) => [...z]))")
    )
    assert np.abs(straight[:, 1]).max() < 1e-6


@pytest.mark.parametrize("view", ["grid", "samples", "morph", "rebuilt"])
def test_designs_that_are_not_decoded_yet_are_said_to_come(chromium, pages, view):
    chromium.open(pages("gaussian")[0])
    chromium.run("""variform.ready.then((app) => {
        const many = app.many.bind(app);
        const released = new Promise((go) => {
            window.go = go;
        });
        app.many = async (...given) => {
            window.isAsked = true;
            await released;
            return many(...given);
        };
    })""")
    chromium.run(f"variform.ready.then((app) => app.open('{view}'))")
    words = "document.getElementById('view').textContent.includes('being decoded')"
    until(chromium.page, lambda: chromium.run("window.isAsked === true"))
    assert chromium.run(words)
    chromium.run("window.go()")
    until(chromium.page, lambda: not chromium.run(words))
    assert chromium.run("variform.ready.then((app) => app.view.wall.tiles.count > 0)")


def test_the_grid_is_of_equal_prior_mass(chromium, tmp_path):
    torch.set_default_dtype(torch.float32)
    digits = read("digits")
    vae = build_vae(ModelConfig(likelihood="bernoulli", latent_dim=2, hidden=(8,)), digits.schema)
    contents = gather(vae, digits, evaluate(vae, digits.test, samples=2), laws=[Law("N", None)])
    contents["collapsed"] = False  # as above
    render(contents, decoder_payload(vae)).save(tmp_path / "page.html")
    chromium.open(tmp_path / "page.html", "#view=grid&grid=8")
    until(
        chromium.page,
        lambda: chromium.run("variform.ready.then((app) => app.view?.points?.length)") == 64,
    )
    decoded = np.array(
        chromium.run("variform.ready.then((app) => app.view.points.map((z) => [...z]))")
    ).reshape(8, 8, 2)
    expected, _ = exploration.manifold_points(vae, 8)
    np.testing.assert_allclose(decoded[::-1], expected, atol=1e-6)


NEAREST = """variform.ready.then((app) => %s.map((place) => {
    app.state.context = Float32Array.of(place[3]);
    const { index, distance } = app.nearest(Float32Array.from(place.slice(0, 3)));
    return [...app.world.cloud.point(index), app.world.nearness.numbers[0].values[index], distance];
}))"""


def test_the_nearest_example_is_near_in_its_condition_too(chromium, tmp_path):
    """As the k-d tree of SciPy has it over posterior means and standardised conditions."""
    random = np.random.default_rng(3)
    table = {f"{name} [mm]": random.uniform(20, 60, 200) for name in ("width", "height", "depth")}
    table["load [N]"] = random.normal(900, 90, 200)
    splits = read(table, DataConfig(condition=("load [N]",)))
    vae = models.model_of("units", splits)
    page_of(vae, splits).save(tmp_path / "page.html")
    chromium.open(tmp_path / "page.html")
    parts = (splits.train, splits.valid, splits.test)
    means = np.concatenate([exploration.encode(vae, part)[0] for part in parts])
    contexts = np.concatenate([part.contexts.numpy() for part in parts])
    places = np.concatenate([means, contexts], 1)
    points = places[::20] + np.array([0, 0, 0, 1.5])
    found = np.array(chromium.run(NEAREST % json.dumps(points.tolist())))
    distances, rows = KDTree(places).query(points)
    np.testing.assert_allclose(found[:, 4], distances, rtol=1e-3)
    np.testing.assert_allclose(found[:, :4], places[rows], atol=2e-3)
    assert (rows != KDTree(means).query(points[:, :3])[1]).any()


def test_rows_are_rebuilt_under_their_own_condition(chromium, pages):
    path, vae, splits = pages("conditional")
    chromium.open(path, "#view=rebuilt")
    until(
        chromium.page,
        lambda: chromium.run(
            "variform.ready.then((app) => Boolean(app.view?.points && app.view.told))"
        ),
    )
    script = "variform.ready.then(async (app) => [...await app.many(app.view.points, () => true, app.view.told)])"
    decoded = np.array(chromium.run(script)).reshape(-1, 1, 8, 8)
    originals, values = exploration.reconstruct(vae, splits.test)
    errors = np.sqrt(((originals - values) ** 2).mean((1, 2, 3)))
    worst = np.argsort(-errors, kind="stable")[:10]
    np.testing.assert_allclose(decoded[:10], values[worst], atol=16e-3)


# --- pins ---------------------------------------------------------------------------------------------------------

PINS = [[0.5, -1, 0.25], [-0.1234567, 0.75, 1e-6]]
NAME, NOTE = 'a "light", one', "two\nlines ~ | é <b>"
WRITE = """variform.ready.then((app) => {
    for (const [label, words] of [["Name", %s], ["Note", %s]]) {
        const field = document.querySelector(`.label-of [aria-label=${label}]`);
        field.value = words;
        field.dispatchEvent(new Event("input"));
    }
})"""
CHOOSE = """(() => {
    const input = document.querySelector("input[type=file]");
    const given = new DataTransfer();
    given.items.add(new File([%s], "pins.csv"));
    input.files = given.files;
    input.dispatchEvent(new Event("change"));
})()"""
KEPT = "variform.ready.then((app) => [app.state.pins.map((z) => [...z]), app.state.labels])"
LABELLED = """(async () => {
    while (!location.hash.includes("labels=")) await new Promise(requestAnimationFrame);
    return location.hash;
})()"""


def pinned(browser, path):
    """A page with two pins, of which the second one has a name and a note."""
    browser.open(path)
    for z in PINS:
        browser.run(f"variform.ready.then((app) => app.pin(Float32Array.from({z})))")
        browser.run(DRAWN)
    browser.run(WRITE % (json.dumps(NAME), json.dumps(NOTE)))
    browser.run(DRAWN)


def test_pins_with_notes_are_a_table_that_python_decodes_to_the_same_designs(browser, pages):
    path, vae, splits = pages("mixed")
    pinned(browser, path)
    file = browser.download("variform.ready.then((app) => app.panel.pins._saveTable())")
    with open(file, newline="", encoding="utf-8") as text:
        first, second = csv.DictReader(text)
    assert (first["name"], first["note"]) == ("", "")
    assert (second["name"], second["note"]) == (NAME, NOTE)
    z = np.array([[row[f"z{k}"] for k in (1, 2, 3)] for row in (first, second)], np.float32)
    np.testing.assert_array_equal(z, np.float32(PINS))
    schema = splits.schema
    for row, design in zip((first, second), exploration.decode(vae, z), strict=True):
        for k, name in enumerate(schema.columns):
            if schema.categories[k]:
                assert row[name] == schema.categories[k][int(design[k])]
            else:
                span = schema.high[k] - schema.low[k]
                assert float(row[name]) == pytest.approx(design[k], abs=1e-3 * span, nan_ok=True)
    browser.open(path)
    browser.run(CHOOSE % json.dumps(file.read_text(encoding="utf-8")))
    browser.run(DRAWN)
    browser.run(DRAWN)
    pins, labels = browser.run(KEPT)
    np.testing.assert_array_equal(np.float32(pins), np.float32(PINS))
    assert labels == [{"name": "", "note": ""}, {"name": NAME, "note": NOTE}]
    browser.run(CHOOSE % json.dumps("z1,z2\n1,2\n"))
    browser.run(DRAWN)
    assert "must have the columns z1 to z3" in browser.run("document.body.textContent")
    assert browser.run(KEPT)[0] == pins
    assert browser.errors == []


def test_the_address_keeps_names_and_notes_of_pins(browser, pages):
    path, _, _ = pages("conditional")
    pinned(browser, path)
    fragment = browser.run(LABELLED)
    browser.open(path, fragment)
    see(browser, "map")
    assert browser.run(KEPT)[1] == [{"name": "", "note": ""}, {"name": NAME, "note": NOTE}]
    assert browser.run("document.querySelector('.pin-name').textContent") == NAME
    words = browser.run("document.getElementById('design').textContent")
    assert "a bookmark or Copy link keeps them" in words and "loses them" in words
    browser.run("variform.ready.then((app) => app.unpin(0))")
    browser.run(DRAWN)
    assert browser.run(KEPT)[1] == [{"name": NAME, "note": NOTE}]
    assert browser.errors == []


def test_the_designs_of_all_pins_are_one_array(chromium, pages):
    path, vae, _ = pages("gaussian")
    pinned(chromium, path)
    designs = np.load(
        chromium.download("variform.ready.then((app) => app.panel.pins._saveDesigns())")
    )
    expected = exploration.decode(vae, np.array(PINS))
    np.testing.assert_allclose(designs, expected, atol=16e-3)


def test_a_pin_too_many_is_said_and_none_is_lost(chromium, pages):
    chromium.open(pages("gaussian")[0])
    for k in range(41):
        chromium.run(f"variform.ready.then((app) => app.pin(Float32Array.of({k}, 0, 0)))")
    pins = chromium.run("variform.ready.then((app) => app.state.pins.map((z) => z[0]))")
    assert pins == list(range(40))
    assert "keeps 40 pins" in chromium.run("document.getElementById('toast').textContent")
