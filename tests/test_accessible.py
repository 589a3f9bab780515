"""Report and explorer for those who see, point or read otherwise: axe finds nothing, keys reach what is folded."""

from pathlib import Path

import numpy as np
import pytest
from browsers import CHROMIUM, Chromium

from variform import EvaluationConfig, ModelConfig, RunConfig, TrainConfig
from variform.runs.train import train_run

AXE = Path(__file__).parents[1] / "node_modules" / "axe-core" / "axe.min.js"

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="needs Chromium")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A mixed table, whose report has every kind of table."""
    folder = tmp_path_factory.mktemp("accessible")
    z = np.random.default_rng(0).normal(size=120)
    lines = ["length [mm],wood,depth [mm]"]
    lines += [f"{50 + 5 * value},{'oak' if value > 0 else 'ash'},{value**2}" for value in z]
    (folder / "rows.csv").write_text("\n".join(lines))
    config = RunConfig(
        source=str(folder / "rows.csv"),
        model=ModelConfig(latent_dim=2, likelihood="mixed", hidden=(8,)),
        train=TrainConfig(steps=60, learning_rate=1e-2),
        evaluation=EvaluationConfig(nll_samples=30),
    )
    return train_run(config, folder / "run")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    window = Chromium(tmp_path_factory.mktemp("saved"))
    yield window
    window.close()


@pytest.mark.skipif(not AXE.is_file(), reason="needs axe-core: npm ci")
@pytest.mark.parametrize("name", ["report", "explorer"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_axe_finds_nothing(browser, run, name, scheme, width):
    browser.resize(width, 900, color_scheme=scheme)
    browser.page.goto((run.folder / f"{name}.html").as_uri())
    if name == "explorer":
        browser.run("variform.ready.then(() => true)")
    browser.run("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    browser.run(AXE.read_text(encoding="utf-8"))
    findings = browser.run("axe.run().then((found) => found.violations)")
    assert [(found["id"], found["nodes"][0]["html"]) for found in findings] == []
    assert browser.run("document.documentElement.scrollWidth <= innerWidth")


def test_a_question_mark_opens_and_closes_by_keys(browser, run):
    browser.resize(390, 900, has_touch=True)
    browser.page.goto((run.folder / "report.html").as_uri())
    mark = browser.page.locator(".why summary").first
    meaning = browser.page.locator(".why p").first
    assert not meaning.is_visible()
    mark.focus()
    browser.page.keyboard.press("Enter")
    assert meaning.is_visible()
    browser.page.keyboard.press("Enter")
    assert not meaning.is_visible()
    mark.tap()
    assert meaning.is_visible()
