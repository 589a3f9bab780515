"""A design study on the explorer page: what the page says is what the journal holds, in two browsers."""

import base64
import copy
import csv
import json

import numpy as np
import pytest
import torch
from studies import ONE, TWO, run_in, study_in
from test_explorer import DRAWN, see, until

from variform import explore
from variform.design.coding import designs_of
from variform.design.kernel_validity import KernelValidity, fit_kernel_validity
from variform.evaluation.standard_error import Estimate
from variform.faces import cli
from variform.pages.explorer.page import render
from variform.pages.explorer.payload import decoder_payload
from variform.pages.explorer.study import gather_study
from variform.runs.explorer import explorer_contents
from variform.runs.folder import open_run
from variform.runs.study_folder import study_of

MARKUP = '<img src=x onerror="window.hacked = 1">'


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a run and two studies of it, of one objective and of two; in single precision, as users have it."""
    folder = tmp_path_factory.mktemp("studies")
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    run_in(folder)
    study_in(folder, "one", ONE)
    study_in(folder, "two", TWO)
    torch.set_default_dtype(before)
    return folder


@pytest.fixture(scope="module")
def contents(place):
    """What the pages of both hold, by the name of the study."""
    run = open_run(place / "run")
    data = run.data()
    made = {}
    for name in ("one", "two"):
        study = study_of(run, data, place / name)
        made[name] = explorer_contents(run, data, run.evaluation, study=(name, study))
    return made


@pytest.fixture(scope="module")
def train(place):
    """The known designs."""
    return open_run(place / "run").data().train


def floats(text):
    return np.frombuffer(base64.b64decode(text), "<f4")


def rows_of(folder):
    with open(folder / "results.csv", newline="") as file:
        return list(csv.DictReader(file))


def asked_in(folder):
    """By their ids the designs that the journal says were asked for."""
    found = {}
    for line in (folder / "journal.jsonl").read_text().splitlines():
        found |= {one["id"]: one for one in json.loads(line).get("designs", [])}
    return found


def column_of(designs, name):
    (found,) = (one for one in designs["columns"] if one["name"] == name)
    return floats(found["values"])


# --- what stands in the page --------------------------------------------------------------------------------------


def test_the_curves_are_the_quartiles_of_the_best_so_far(place, contents, train):
    study = contents["one"]["study"]
    rows = rows_of(place / "one")
    for search in study["searches"]:
        curves = []
        for seed in "01":
            own = [row for row in rows if (row["space"], row["seed"]) == (search["name"], seed)]
            drag = [float(row["drag [N]"]) if row["feasible"] == "true" else np.inf for row in own]
            curves.append(np.minimum.accumulate(drag))
        with np.errstate(invalid="ignore"):
            expected = np.quantile(curves, [0.25, 0.5, 0.75], axis=0)
        found = np.stack([floats(search[name]) for name in ("low", "median", "high")])
        known = np.isfinite(expected)
        assert np.isnan(found[~known]).all() and known[:, -1].all()
        np.testing.assert_allclose(found[known], expected[known], rtol=1e-6)
    known = np.genfromtxt(place / "known.csv", delimiter=",", skip_header=1)[train.index.numpy()]
    best = np.nanmin(np.where(known[:, 5] <= 10, known[:, 4], np.nan))
    assert study["known"] == pytest.approx(best, rel=1e-6)


def test_designs_stand_at_their_points_with_what_was_answered(place, contents):
    designs = contents["one"]["study"]["designs"]
    rows = {row["id"]: row for row in rows_of(place / "one")}
    assert set(designs["ids"]) == set(rows) and designs["count"] == designs["total"] == 160
    z = floats(designs["means"]).reshape(-1, 2)
    values = floats(designs["values"]).reshape(-1, 3)
    asked = asked_in(place / "one")
    run = open_run(place / "run")
    schema = run.data().schema
    for place, id in enumerate(designs["ids"]):
        row = rows[id]
        spaces = designs["spaces"][designs["space"][place]]
        assert spaces == row["space"] and str(designs["evaluation"][place]) == row["evaluation"]
        expected = np.array(asked[id]["z"])
        if row["space"] != "latent":
            raw = torch.tensor(asked[id]["decoded"], dtype=torch.float64)[None]
            with torch.no_grad():
                expected = run.vae.encode(schema.prepare(raw).float()).mean[0].numpy()
        np.testing.assert_allclose(z[place], expected, atol=1e-5)
        np.testing.assert_allclose(values[place], asked[id]["decoded"], rtol=1e-6)
        state = 0 if row["feasible"] == "true" else 1 if row["valid"] == "true" else 2
        assert designs["state"][place] == state and designs["reasons"][place] == row["reason"]
    drag = column_of(designs, "drag")
    expected = [float(rows[id]["drag [N]"] or "nan") for id in designs["ids"]]
    np.testing.assert_allclose(drag, expected, rtol=1e-6)
    assert [one["unit"] for one in designs["columns"][:2]] == ["N", ""]
    order = np.argsort(designs["rank"])
    states = np.array(designs["state"])[order]
    assert (np.diff(states) >= 0).all()
    assert (np.diff(drag[order][states == 0]) >= 0).all()


def test_the_nearest_known_design_is_named(contents, train):
    designs = contents["one"]["study"]["designs"]
    known = designs_of(train)
    values = floats(designs["values"]).reshape(-1, 3)
    away = np.sqrt(np.square(values[:, None] - known).mean(2))
    names = train.names
    assert designs["nearest"] == names[away.argmin(1)].tolist()
    np.testing.assert_allclose(floats(designs["distance"]), away.min(1), rtol=1e-4, atol=1e-6)


def test_the_front_is_what_no_other_design_dominates(contents, train):
    study = contents["two"]["study"]
    designs = study["designs"]
    values = np.column_stack([column_of(designs, "drag"), -column_of(designs, "mass")])
    valid = np.flatnonzero(np.array(designs["state"]) < 2)

    def is_dominated(place):
        others = values[valid]
        worse = (others <= values[place]).all(1) & (others < values[place]).any(1)
        return worse.any()

    assert study["front"] == [place for place in valid.tolist() if not is_dominated(place)]
    assert [one["reference"] for one in study["objectives"]] == [40, 5]
    drag, mass = train.responses["drag [N]"], train.responses["mass"]
    for one in study["knownFront"]:
        assert not ((drag < one["values"][0]) & (mass > one["values"][1])).any()
    assert study["label"] == "hypervolume"


def test_the_page_holds_the_better_half_where_there_are_too_many(place, contents, monkeypatch):
    monkeypatch.setattr("variform.pages.explorer.study.MOST_DESIGNS", 40)
    run = open_run(place / "run")
    few = gather_study(study_of(run, run.data(), place / "one"), "one")
    designs, full = few["designs"], contents["one"]["study"]["designs"]
    assert designs["count"] == 40 and designs["total"] == 160
    best = [full["ids"][place] for place in np.argsort(full["rank"])[:20]]
    assert set(best) < set(designs["ids"])
    assert any("holds 40 of 160 evaluated designs" in note for note in few["notes"])


# --- the command, and what it refuses -----------------------------------------------------------------------------


def test_design_writes_the_page_and_explore_writes_it_anew(place, tmp_path, capsys):
    page = (place / "one" / "explorer.html").read_text(encoding="utf-8")
    assert 'href="explorer.html"' in (place / "one" / "report.html").read_text(encoding="utf-8")
    command = ["explore", str(place / "run"), "--study", str(place / "one")]
    assert cli.run([*command, "--out", str(tmp_path / "page.html")]) == 0, capsys.readouterr().err
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == page
    assert explore(place / "run", study=place / "one").html == page


def test_what_is_no_study_of_the_run_is_refused(place, tmp_path, capsys):
    command = ["explore", str(place / "run"), "--out", str(tmp_path / "page.html"), "--study"]
    assert cli.run([*command, str(tmp_path)]) == 2
    assert "--study must be a folder that variform design wrote" in capsys.readouterr().err
    (tmp_path / "problem.toml").write_text((place / "one" / "problem.toml").read_text())
    begun, *_ = (place / "one" / "journal.jsonl").read_text().splitlines()
    (tmp_path / "journal.jsonl").write_text(begun + "\n")
    assert cli.run([*command, str(tmp_path)]) == 2
    assert "--study must hold an evaluated design" in capsys.readouterr().err
    changed = open_run(place / "run")
    with torch.no_grad():
        for weight in changed.vae.decoder.parameters():
            weight.mul_(1.5)
    with pytest.raises(ValueError, match="must be of this model"):
        explore(changed, study=place / "one")


def test_validity_is_learned_from_the_answers_at_the_points_of_the_latent_space(place, contents):
    learned = contents["one"]["study"]["validity"]["learned"]
    rows = {row["id"]: row for row in rows_of(place / "one") if row["space"] == "latent"}
    asked = asked_in(place / "one")
    z = np.array([asked[id]["z"] for id in rows])
    found = fit_kernel_validity(z, np.array([row["valid"] == "true" for row in rows.values()]))
    others = np.random.default_rng(0).normal(size=(50, 2))
    given = KernelValidity(
        np.array(learned["centres"]), np.array(learned["weights"]), learned["bias"],
        learned["gamma"], 0, 0, found.auc,
    )  # fmt: skip
    np.testing.assert_allclose(given.probability(others), found.probability(others), atol=0.05)
    assert learned["answers"] == len(rows) == found.valid + found.invalid
    assert "invalid designs of the latent space" in contents["one"]["study"]["validity"]["note"]


# --- in the browsers ----------------------------------------------------------------------------------------------


def test_the_tab_opens_and_a_click_on_a_design_puts_the_point_there(browser, place):
    browser.open(place / "one" / "explorer.html", "#view=study")
    see(browser, "study")
    words = browser.run("document.getElementById('view').innerText")
    assert "min drag [N]" in words and "mass at most 10" in words and "latent" in words
    asked = asked_in(place / "one")
    for space, said in (
        ("latent", "where it was proposed"),
        ("pca-2", "where the encoder puts it"),
    ):
        browser.run("variform.ready.then((app) => app.set({ sort: 'rank' }))")
        browser.run("variform.ready.then((app) => { app.view.most = 1000; app.view.refresh(); })")
        press = (
            "(() => { const all = [...document.querySelectorAll('.sorted tbody button')];"
            f"const one = all.find((b) => b.textContent.startsWith('{space}')); one.click();"
            "return one.textContent; })()"
        )
        id = browser.run(press)
        browser.run(DRAWN)
        z = browser.run("variform.ready.then((app) => [...app.live])")
        if space == "latent":
            np.testing.assert_array_equal(np.float32(z), np.float32(asked[id]["z"]))
        assert said in browser.run("document.querySelector('#view [role=status]').textContent")
    assert browser.errors == []


def test_a_browser_finds_the_probability_that_python_finds(browser, contents, place):
    """At points of all dimensions, and in the fog, which the panel and the map show."""
    learned = contents["one"]["study"]["validity"]["learned"]
    auc = Estimate(learned["auc"]["mean"], learned["auc"]["se"], learned["answers"])
    centres, weights = (np.array(learned[name]) for name in ("centres", "weights"))
    validity = KernelValidity(centres, weights, learned["bias"], learned["gamma"], 0, 0, auc)
    browser.open(place / "one" / "explorer.html", "#view=map")
    see(browser, "map")
    z = np.float32(2 * np.random.default_rng(0).normal(size=(40, 2)))
    found = browser.run(
        f"variform.ready.then((app) => {json.dumps(z.tolist())}.map((z) => "
        "app.world.study.validity.probability(Float32Array.from(z))))"
    )
    np.testing.assert_allclose(found, validity.probability(np.float64(z)), atol=1e-4)
    fog, box = browser.run(
        "variform.ready.then(({ view: { map } }) => [[...map._invalid()], map.box])"
    )
    assert len(fog) == 96 * 96
    for at in (0, 95, 96 * 40 + 17, 96 * 96 - 1):
        share = (np.array([at % 96, at // 96]) + 0.5) / 96
        low, high = np.array([box["x0"], box["y0"]]), np.array([box["x1"], box["y1"]])
        expected = 1 - validity.probability((low + share * (high - low))[None])[0]
        assert fog[at] == pytest.approx(expected, abs=1e-4)
    here = np.array(browser.run("variform.ready.then((app) => [...app.live])"))
    words = browser.run("document.querySelector('.valid').textContent")
    assert words.startswith(
        f"Valid with probability {validity.probability(here[None])[0]:.2f} (AUC"
    )
    assert f"from {learned['answers']} answers" in words
    note = "[...document.querySelectorAll('.note')].map((n) => n.textContent).join(' ')"
    assert "the likelier a design is invalid" in browser.run(note)
    browser.run("variform.ready.then((app) => app.set({ fogOf: 'data' }))")
    browser.run(DRAWN)
    assert "does not say what is valid" in browser.run(note)
    assert browser.errors == []


def test_without_enough_answers_the_fog_is_that_of_the_data_and_it_is_said(
    chromium, contents, place, tmp_path
):
    few = copy.deepcopy(contents["one"])
    few["study"]["validity"] = {"note": "There are too few."}
    render(few, decoder_payload(open_run(place / "run").vae)).save(tmp_path / "page.html")
    chromium.open(tmp_path / "page.html", "#view=map")
    see(chromium, "map")
    text = chromium.run("document.querySelector('main').innerText")
    assert "There are too few." in text and "Valid with probability" not in text
    assert chromium.run("variform.ready.then((app) => app.look().validity)") is None
    assert chromium.errors == []


def test_the_table_sorts_by_what_is_pressed(browser, place):
    browser.open(place / "one" / "explorer.html", "#view=study")
    see(browser, "study")

    def column(number):
        cells = f"[...document.querySelectorAll('.sorted tbody tr')].map((r) => r.children[{number}].textContent)"
        return [text.replace("\u2212", "-") for text in browser.run(cells)]

    first = [float(text) for text in column(2)]
    assert first == sorted(first)  # the best first
    for presses, sign in ((1, 1), (1, -1)):
        for _ in range(presses):
            browser.run("document.getElementById('sort-response-1').click()")
            browser.run(DRAWN)
        mass = np.array([float(text) for text in column(3)])
        assert (sign * np.diff(mass) >= 0).all()
    sorting = "document.getElementById('sort-response-1').closest('th').getAttribute('aria-sort')"
    assert browser.run(sorting) == "descending"
    assert browser.errors == []


def test_designs_stand_side_by_side_with_what_differs_marked(browser, place):
    rows = {row["id"]: row for row in rows_of(place / "one")}
    first, second = sorted(rows)[:2]
    fragment = f"#view=study&tray=d:{first}~d:{second}~r:3~d:nobody"
    browser.open(place / "one" / "explorer.html", fragment)
    see(browser, "study")
    heads = "[...document.querySelectorAll('.side thead .head button:first-child')].map((b) => b.textContent)"
    assert browser.run(heads)[:2] == [first, second] and len(browser.run(heads)) == 3
    lines = browser.run(
        "[...document.querySelectorAll('.side tbody tr')].map((row) => [...row.children].map((cell) => "
        "[cell.textContent, cell.classList.contains('differs')]))"
    )
    cells = {line[0][0]: line[1:] for line in lines}
    assert list(cells) == ["drag N", "mass", "width mm", "height mm", "depth mm"]
    for name, column in (("width mm", "width [mm]"), ("height mm", "height [mm]")):
        for place, id in enumerate((first, second)):
            text = cells[name][place][0].strip("▲▼").replace("\u2212", "-")
            assert float(text) == pytest.approx(float(rows[id][column]), abs=0.006)
        gap = abs(float(rows[first][column]) - float(rows[second][column]))
        assert cells[name][1][1] == (gap > 0.02) and not cells[name][0][1]
    browser.run("document.querySelector('.side .out').click()")
    browser.run(DRAWN)
    assert browser.run(heads)[0] == second
    assert browser.errors == []


TARGET = "document.querySelector('#view [role=status]').textContent"
FOUND = """[...document.querySelectorAll('.sorted tbody tr')].map((row) =>
    [...row.children].slice(1).map((cell) => cell.textContent))"""


def test_the_target_box_lists_what_meets_it_and_else_what_comes_nearest(browser, place):
    known = np.genfromtxt(place / "known.csv", delimiter=",", skip_header=1, dtype=str)
    drag = np.array([float(text or "nan") for text in known[:, 4]])
    mass = known[:, 5].astype(float)
    rows = [row for row in rows_of(place / "one") if row["valid"] == "true"]
    names = [*known[:, 0], *(row["id"] for row in rows)]
    values = np.column_stack(
        [
            [*drag, *(float(row["drag [N]"]) for row in rows)],
            [*mass, *(float(row["mass"]) for row in rows)],
        ]
    )
    spread = np.array([np.nanstd(drag), mass.std()])
    for low, high in (((0.0, 6.0), (8.0, 9.0)), ((0.0, 14.0), (0.5, 14.5))):
        miss = np.maximum(0, np.maximum(np.array(low) - values, values - np.array(high)))
        distance = np.sqrt(np.square(miss / spread).sum(1))
        fragment = f"#view=target&target=drag:{low[0]}:{high[0]}|mass:{low[1]}:{high[1]}"
        browser.open(place / "one" / "explorer.html", fragment)
        see(browser, "target")
        words, found = browser.run(TARGET), browser.run(FOUND)
        order = np.argsort(np.where(np.isnan(distance), np.inf, distance), kind="stable")[:20]
        assert {line[0] for line in found} == {names[place] for place in order} or np.ptp(
            distance[order]
        ) == 0
        met = int((distance[: len(known)] == 0).sum()), int((distance[len(known) :] == 0).sum())
        if sum(met):
            assert f"{met[0]} known and {met[1]} evaluated designs meet all of it" in words
            assert found[0][-1] == "met"
        else:
            nearest = f"misses by {np.nanmin(distance):.2f} standard deviations"
            assert "Nothing meets all of it" in words and nearest in words
            assert float(found[0][-1]) == pytest.approx(np.nanmin(distance), abs=0.006)
    assert browser.errors == []


def test_responses_that_only_evaluated_designs_have_can_be_asked_for(
    chromium, contents, place, tmp_path
):
    fewer = copy.deepcopy(contents["one"])
    columns = fewer["rows"]["columns"]
    fewer["rows"]["columns"] = [one for one in columns if one["name"] not in ("drag", "mass")]
    render(fewer, decoder_payload(open_run(place / "run").vae)).save(tmp_path / "page.html")
    chromium.open(tmp_path / "page.html", "#view=target&target=mass:8:9")
    see(chromium, "target")
    valid = [float(row["mass"]) for row in rows_of(place / "one") if row["valid"] == "true"]
    met = sum(8 <= mass <= 9 for mass in valid)
    assert f"0 known and {met} evaluated designs meet all of it" in chromium.run(TARGET)
    assert chromium.errors == []


def test_ranges_are_typed_and_taken_away(chromium, place):
    chromium.open(place / "one" / "explorer.html", "#view=target")
    see(chromium, "target")
    page = chromium.page
    assert "Choose a response or a column" in chromium.run(TARGET)
    page.get_by_label("Ask for").select_option("mass")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "mass, at least"
    page.keyboard.type("19")
    until(page, lambda: "mass at least 19" in chromium.run(TARGET))
    page.get_by_label("Compare ").first.check()
    until(page, lambda: chromium.run("variform.ready.then((app) => app.state.tray.length)") == 1)
    page.get_by_label("Leave mass out").click()
    until(page, lambda: "Choose a response or a column" in chromium.run(TARGET))
    assert chromium.errors == []


def test_evaluated_designs_are_marks_on_the_map(chromium, place):
    """Where they are shown, and only there, the map has their colour."""
    chromium.open(place / "one" / "explorer.html", "#view=map&colour=&fog=0")
    count = (
        "(() => { const c = document.querySelector('.map .still'); const [r, g, b] = [194, 65, 12];"
        "const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; let n = 0;"
        "for (let i = 0; i < d.length; i += 4) n += d[i] === r && d[i + 1] === g && d[i + 2] === b; return n; })()"
    )
    see(chromium, "map")
    assert chromium.run(count) > 100
    chromium.page.get_by_label("Evaluated designs").uncheck()
    chromium.run(DRAWN)
    assert chromium.run(count) == 0


def test_a_click_on_the_front_takes_its_design(chromium, place):
    chromium.open(place / "two" / "explorer.html", "#view=study")
    see(chromium, "study")
    x, y, z = chromium.run(
        "variform.ready.then((app) => { const { study, points, frontChart } = app.view;"
        "const i = study.contents.front[0]; return [...frontChart.place(...points[i]), [...study.cloud.point(i)]]; })"
    )
    chromium.page.locator(".charts canvas").nth(1).click(position={"x": x, "y": y})
    until(
        chromium.page,
        lambda: chromium.run("variform.ready.then((app) => [...app.state.z])") == z,
    )


@pytest.mark.parametrize("name", ["one", "two"])
def test_a_phone_needs_no_scrolling_sideways_in_dark_colours_neither(chromium, place, name):
    chromium.resize(390, 800, color_scheme="dark")
    try:
        ids = sorted(row["id"] for row in rows_of(place / name))[:4]
        tray = "~".join(f"d:{id}" for id in ids)
        chromium.open(place / name / "explorer.html", f"#view=study&tray={tray}")
        see(chromium, "study")
        assert chromium.run("document.documentElement.scrollWidth") <= 390
        chromium.run(
            "variform.ready.then((app) => app.set({ target: [{ name: 'mass', low: 3, high: 4 }] }))"
        )
        see(chromium, "target")
        assert chromium.run("document.documentElement.scrollWidth") <= 390
        assert chromium.errors == []
    finally:
        chromium.resize(1100, 760)


def test_markup_in_what_a_study_says_is_shown_as_text(browser, contents, place, tmp_path):
    hostile = copy.deepcopy(contents["one"])
    designs = hostile["study"]["designs"]
    designs["columns"][0]["name"] = hostile["study"]["objectives"][0]["name"] = MARKUP
    designs["reasons"] = designs["nearest"] = [MARKUP] * designs["count"]
    vae = open_run(place / "run").vae
    render(hostile, decoder_payload(vae)).save(tmp_path / "page.html")
    browser.open(tmp_path / "page.html", "#view=study")
    see(browser, "study")
    assert browser.run("document.querySelector('.sorted').textContent").count(MARKUP) > 1
    assert browser.run("String(window.hacked)") == "undefined"
    assert browser.run("document.querySelectorAll('main img').length") == 0
    assert browser.errors == []


def test_the_keyboard_reaches_the_study(chromium, place):
    chromium.open(place / "one" / "explorer.html", "#view=study")
    see(chromium, "study")
    page = chromium.page
    seen = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        seen.add(
            page.evaluate(
                "document.activeElement.id || document.activeElement.getAttribute('aria-label') || ''"
            )
        )
    assert {"sort-rank", "sort-response-0", "sort-novelty"} <= seen
    assert any(name.startswith("Compare ") for name in seen)
