"""A morph that plays: where it is after some seconds of the browser's clock, by keys, with less motion, and left."""

import models
import numpy as np
import pytest
import torch
from test_explorer import page_of

PINS = ([-1.0, 0.5], [1.0, -0.5])
START = "#view=morph&pins=-1,0.5~1,-0.5&morph=0,1,straight,0"
SEEN = """variform.ready.then(({ view, live, state }) =>
    [view.play?.textContent, [...live], state.morph.share, Number(view.slider?.value)])"""


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    path = tmp_path_factory.mktemp("play") / "page.html"
    digits = models.data_of("bernoulli", path.parent)
    page_of(models.model_of("bernoulli", digits, latent_dim=2), digits).save(path)
    torch.set_default_dtype(before)
    return path


@pytest.fixture
def playing(chromium, path):
    """A page at the beginning of a straight way, whose clock only goes when the test says so."""

    def opened(**options):
        chromium.resize(1100, 760, **options)
        chromium.open(path, START)
        chromium.page.clock.install()
        chromium.page.clock.pause_at("2030-01-01")
        return chromium

    yield opened
    chromium.resize(1100, 760)


def place_at(share):
    return (1 - share) * np.array(PINS[0]) + share * np.array(PINS[1])


def test_it_goes_to_and_fro_at_the_chosen_speed_and_a_pause_keeps_the_point(playing):
    browser = playing()
    browser.page.get_by_role("button", name="Play").click()
    browser.page.clock.run_for(1_000)
    words, live, kept, slider = browser.run(SEEN)
    assert words == "Pause" and kept == 0
    np.testing.assert_allclose(live, place_at(0.25), atol=0.02)  # a way of 4 seconds
    assert slider == pytest.approx(0.25, abs=0.01)
    browser.page.clock.run_for(5_000)  # 2 seconds back
    np.testing.assert_allclose(browser.run(SEEN)[1], place_at(0.5), atol=0.02)
    browser.page.get_by_label("Speed").select_option("fast")
    browser.page.clock.run_for(500)
    np.testing.assert_allclose(browser.run(SEEN)[1], place_at(0.25), atol=0.02)
    browser.page.get_by_role("button", name="Pause").click()
    browser.page.clock.run_for(3_000)
    words, live, kept, slider = browser.run(SEEN)
    assert words == "Play" and kept == pytest.approx(0.25, abs=0.02)
    np.testing.assert_allclose(live, place_at(kept), atol=0.01)
    assert browser.errors == []


def test_the_space_bar_plays_and_pauses_wherever_it_presses_nothing_else(playing):
    browser = playing()
    keyboard = browser.page.keyboard
    keyboard.press("Space")
    browser.page.clock.run_for(2_000)
    np.testing.assert_allclose(browser.run(SEEN)[1], place_at(0.5), atol=0.02)
    keyboard.press("Space")
    assert browser.run(SEEN)[0] == "Play" and browser.run("scrollY") == 0
    browser.page.get_by_role("button", name="Along the data").focus()
    keyboard.press("Space")  # the button's own
    words, way = browser.run(
        "variform.ready.then((app) => [app.view.play.textContent, app.state.morph.way])"
    )
    assert (words, way) == ("Play", "data")


def test_less_motion_goes_from_stop_to_stop(playing):
    browser = playing(reduced_motion="reduce")
    browser.page.keyboard.press("Space")
    shares = []
    for _ in range(40):
        browser.page.clock.run_for(100)
        shares.append(browser.run(SEEN)[3])
    assert set(np.round(shares, 6)) == set(np.round(np.arange(0, 1.01, 0.1), 6))
    changes = np.count_nonzero(np.diff(shares))
    assert changes == 10  # one in 0.4 seconds


def test_another_view_ends_it(playing):
    browser = playing()
    browser.page.keyboard.press("Space")
    browser.page.clock.run_for(1_000)
    browser.run("variform.ready.then((app) => app.open('grid'))")
    browser.page.clock.run_for(100)
    before = browser.run(SEEN)
    browser.page.clock.run_for(3_000)
    np.testing.assert_equal(browser.run(SEEN), before)  # NaN is there too
    np.testing.assert_allclose(before[1], place_at(0.25), atol=0.02)
