"""The tour of the page: offered once, led by keys, on real controls that are in sight, and never in the way."""

from pathlib import Path

import models
import pytest
import torch
from browsers import Chromium
from test_explorer import boxes, page_of

AXE = Path(__file__).parents[1] / "node_modules" / "axe-core" / "axe.min.js"
FORBIDDEN = """Object.defineProperty(window, "localStorage", {
    get() { throw new DOMException("no", "SecurityError"); },
})"""
SEEN = """(() => {
    const boxOf = (one) => {
        const { left, top, right, bottom } = one.getBoundingClientRect();
        return [left, top, right, bottom];
    };
    const card = document.querySelector(".tour");
    const control = document.querySelectorAll(".toured");
    if (!card) return null;
    return {
        title: card.querySelector("h2").textContent,
        count: card.querySelector(".pages").textContent,
        card: boxOf(card),
        controls: control.length,
        control: boxOf(control[0]),
        words: control[0].textContent,
        size: [innerWidth, innerHeight],
        focus: document.activeElement.textContent,
    };
})()"""


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A page of three lengths and three latents, whose map has a choice of planes before that of colours."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    splits = boxes()
    path = tmp_path_factory.mktemp("tour") / "page.html"
    table = (("test", "VAE"), [("ELBO", "-1.0"), ("NLL", "1.0")])
    page_of(models.model_of("units", splits), splits, table=table).save(path)
    torch.set_default_dtype(before)
    return path


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    made = Chromium(tmp_path_factory.mktemp("alone"))
    yield made
    made.close()


@pytest.mark.parametrize("width", [1440, 390])
def test_ten_steps_point_to_controls_that_are_in_sight(browser, path, width):
    browser.resize(width, 800, has_touch=width < 500, is_mobile=width < 500)
    browser.open(path)
    browser.page.get_by_role("button", name="Take the tour").click()
    steps = []
    while (seen := browser.run(SEEN)) is not None:
        steps.append(seen)
        left, top, right, bottom = seen["card"]
        across, down = seen["size"]
        assert left >= 0 and top >= 0 and right <= across and bottom <= down
        left, top, right, bottom = seen["control"]
        assert seen["controls"] == 1 and right > left and bottom > top
        assert left < across and right > 0 and top < down and bottom > 0
        assert seen["focus"] in ("Next", "Done")
        browser.page.keyboard.press("ArrowRight")
    assert [one["count"] for one in steps] == [f"{number} of 10" for number in range(1, 11)]
    assert len({one["title"] for one in steps}) == 10
    words = {one["title"]: one["words"] for one in steps}
    assert words["Colours"].startswith("Colour") and words["Fog"] == "Fog"
    assert browser.run("document.activeElement.textContent") == "Tour"
    assert browser.run("document.querySelectorAll('.toured').length") == 0
    assert browser.errors == []


def test_keys_go_back_and_end_it_and_the_offer_does_not_come_again(browser, path):
    browser.resize(1100, 760)
    browser.open(path)
    browser.page.get_by_role("button", name="Take the tour").click()
    for _ in range(7):
        browser.page.keyboard.press("ArrowRight")
    assert browser.run(SEEN)["title"] == "Sliders"
    browser.page.keyboard.press("ArrowLeft")
    assert browser.run(SEEN)["title"] == "Keep what you like"
    browser.page.keyboard.press("Escape")
    assert browser.run(SEEN) is None and browser.run("document.activeElement.textContent") == "Tour"
    browser.open(path)
    assert browser.run("document.querySelector('.offer')") is None
    browser.page.get_by_role("button", name="Tour").click()
    assert browser.run(SEEN)["title"] == "The map"


def test_who_declines_is_not_asked_again(browser, path):
    browser.resize(1100, 760)
    browser.open(path)
    browser.page.get_by_role("button", name="No, thanks").click()
    assert browser.run("document.querySelector('.offer')") is None
    browser.open(path)
    assert browser.run("document.querySelector('.offer')") is None


def test_a_browser_that_keeps_nothing_shows_the_page_all_the_same(browser, path):
    browser.resize(1100, 760)
    browser.page.add_init_script(FORBIDDEN)
    browser.open(path)
    browser.page.get_by_role("button", name="Take the tour").click()
    assert browser.run(SEEN)["count"] == "1 of 10"
    assert browser.errors == []


def test_steps_without_their_control_are_left_out(browser, path):
    browser.resize(1100, 760)
    browser.open(path)
    browser.run("variform.ready.then((app) => { app.tour.steps[4].at = '#nowhere'; })")
    browser.page.get_by_role("button", name="Take the tour").click()
    counts = []
    while (seen := browser.run(SEEN)) is not None:
        counts.append(seen["count"])
        browser.page.keyboard.press("ArrowRight")
    assert len(counts) == 9 and counts[-1] == "9 of 9"


@pytest.mark.skipif(not AXE.is_file(), reason="needs axe-core: npm ci")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_the_tour(browser, path, scheme):
    browser.resize(390, 800, color_scheme=scheme)
    browser.open(path)
    browser.page.get_by_role("button", name="Take the tour").click()
    browser.run(AXE.read_text(encoding="utf-8"))
    findings = browser.run("axe.run().then((found) => found.violations)")
    assert [(found["id"], found["nodes"][0]["html"]) for found in findings] == []
