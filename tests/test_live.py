"""live.html: what history.jsonl says, followed while a run is trained, and true when the run has ended in any way."""

import re
import shutil
import signal
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from test_accessible import AXE

from variform import StopTraining, train
from variform.faces import cli
from variform.pages.live import Live, render_live
from variform.runs import live
from variform.runs.records import read_history
from variform.runs.train import resume_run
from variform.system.locks import held
from variform.training.fit import Interrupted

ROWS = np.random.default_rng(0).normal(size=(200, 3)) @ np.tri(3)
QUICK: dict[str, Any] = {
    "latent_dim": 2,
    "hidden": (4,),
    "likelihood": "gaussian-shared",
    "nll_samples": 20,
    "progress": False,
}


def keeping(folder, kept, *, at):
    """A callback that keeps the page as it is when an epoch begins."""

    def keep(moment):
        if moment.epoch in at:
            kept[moment.epoch] = (folder / "live.html").read_text()

    return keep


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run, and its page during the last of 25 epochs, of which it had shown all before."""
    folder, kept = tmp_path_factory.mktemp("live") / "run", {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(live, "_LEAST_PAUSE", 0.0)
        patch.setattr(live, "_SHARE", 1e9)
        train(ROWS, out=folder, epochs=25, on_epoch=keeping(folder, kept, at=(1, 25)), **QUICK)
    return folder, kept


def test_the_page_draws_the_history(run):
    folder, kept = run
    rows = read_history(folder / "history.jsonl")[:24]
    assert "Training: epoch 24" in kept[25] and 'data-state="running"' in kept[25]
    charts = re.findall(r'<svg.*?aria-label="([^:]*): .*?</svg>', kept[25], re.DOTALL)
    assert charts == ["Loss", "Log-likelihood", "KL", "Active units", "Learning rate"]
    lines = re.findall(r'<polyline class="(\w+)".*?points="([^"]*)"', kept[25])
    names = ["train_loss", "valid_loss", "train_log_likelihood", "valid_log_likelihood"]
    names += ["train_kl", "valid_kl", None, "learning_rate"]
    assert len(lines) == len(names)
    for (_, points), name in zip(lines, names, strict=True):
        x, y = np.array([point.split(",") for point in points.split()], float).T
        np.testing.assert_allclose(x, np.linspace(x[0], x[-1], 24), atol=0.1)
        if (
            name
        ):  # from the third epoch on, which the range holds, it is a straight map of the values
            values = np.array([row[name] for row in rows])[2:]
            slope, offset = np.polyfit(values, y[2:], 1)
            assert slope < 0
            np.testing.assert_allclose(offset + slope * values, y[2:], atol=0.1)
            assert f"<b>{rows[-1][name]:.4g}</b>" in kept[25]


def test_before_the_first_epoch_it_says_that_it_begins(run):
    assert "Training begins" in run[1][1] and "<svg" not in run[1][1]


def test_a_finished_run_is_opened_at_its_report(run, capfd, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    folder, _ = run
    assert live.state_of(folder) == "done" and live.live_page(folder) is None
    assert cli.run(["open", str(folder)]) == 0
    assert f"{folder}/report.html" in capfd.readouterr().out


def test_a_run_is_the_same_with_the_page_and_without(tmp_path):
    runs = [
        train(ROWS, out=tmp_path / str(pictures), epochs=3, pictures=pictures, **QUICK)
        for pictures in (True, False)
    ]
    assert [(run.folder / "live.html").exists() for run in runs] == [True, False]
    mine, its = (load_file(run.folder / "last.safetensors") for run in runs)
    assert mine.keys() == its.keys()
    for name, value in mine.items():
        assert torch.equal(value, its[name]), name


def test_a_page_that_cannot_be_written_stops_nothing(tmp_path, monkeypatch):
    def full(path, text, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(live, "write_text", full)
    train(ROWS, out=tmp_path / "run", epochs=2, **QUICK)
    assert not (tmp_path / "run/live.html").exists()


def test_an_interrupted_training_says_so_and_goes_on(tmp_path):
    def interrupt(moment):
        if moment.epoch == 2:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Interrupted):
        train(ROWS, out=tmp_path / "run", epochs=5, on_epoch=interrupt, **QUICK)
    page = (tmp_path / "run/live.html").read_text()
    assert live.state_of(tmp_path / "run") == "stopped"
    assert "stopped at step" in page and "--resume" in page
    assert live.live_page(tmp_path / "run") == tmp_path / "run/live.html"
    kept: dict[int, str] = {}
    resume_run(tmp_path / "run", on_epoch=keeping(tmp_path / "run", kept, at=(3,)))
    lines = re.findall(r'points="([^"]*)"', kept[3])
    assert "Training: epoch 2" in kept[3] and len(lines[0].split()) == 2  # with those of before
    assert live.state_of(tmp_path / "run") == "done"


def test_an_error_ends_the_page_too(tmp_path):
    def fail(moment):
        raise LookupError("<none>")

    with pytest.raises(RuntimeError):
        train(ROWS, out=tmp_path / "run", epochs=2, on_epoch=fail, **QUICK)
    page = (tmp_path / "run/live.html").read_text()
    assert "LookupError(&#39;&lt;none&gt;&#39;)" in page and 'data-state="stopped"' in page


KILLED = """
import os, signal, sys
import numpy as np
from variform import train

def die(moment):
    if moment.epoch == 3:
        os.kill(os.getpid(), signal.SIGKILL)

rows = np.random.default_rng(0).normal(size=(200, 3))
train(rows, out=sys.argv[1], latent_dim=1, likelihood="gaussian-shared", epochs=5, progress=False,
      on_epoch=die)
"""


def test_a_training_that_died_is_said_to_have_died(tmp_path, capfd, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "run"
    done = subprocess.run([sys.executable, "-c", KILLED, folder], timeout=300)
    assert done.returncode == -signal.SIGKILL and live.state_of(folder) == "running"
    with held(folder):  # as if it lived
        assert live.live_page(folder) == folder / "live.html"
        assert live.state_of(folder) == "running"
    assert cli.run(["open", str(folder)]) == 0
    assert f"{folder}/live.html" in capfd.readouterr().out
    page = (folder / "live.html").read_text()
    assert "The training died" in page and "--resume" in page and live.state_of(folder) == "died"


def test_a_stopped_callback_ends_as_a_report(tmp_path):
    def stop(moment):
        raise StopTraining("enough")

    train(ROWS, out=tmp_path / "run", epochs=9, on_epoch=stop, **QUICK)
    assert live.state_of(tmp_path / "run") == "done"


def test_numbers_that_are_none_leave_gaps_and_no_error():
    rows = [
        {"epoch": n, "valid_loss": value} for n, value in enumerate([1e300, np.nan, None, 2], 1)
    ]
    page = render_live(Live("running", "x", "y", rows))
    assert page.count("<polyline") == 1 and "nan" not in page
    assert "<svg" not in render_live(Live("running", "x", "y", [{"epoch": 1, "valid_loss": None}]))


def test_of_many_epochs_lines_have_few_points():
    rows = [{"epoch": n, "valid_loss": 1 / n} for n in range(1, 5001)]
    (points,) = re.findall(r'points="([^"]*)"', render_live(Live("running", "x", "y", rows)))
    assert 250 < len(points.split()) <= 301
    assert points.split()[-1].startswith("334.0,")


# --- in a browser ---------------------------------------------------------------------------------------------------


@pytest.fixture
def page(run, tmp_path):
    """The folder of a run as it was, with the page that said so, and the page itself."""
    folder = shutil.copytree(run[0], tmp_path / "run")
    path = folder / "live.html"
    path.write_text(run[1][25])
    return path


@pytest.mark.skipif(not AXE.is_file(), reason="needs axe-core: npm ci")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("state", ["running", "stopped"])
def test_axe_finds_nothing(chromium, page, scheme, width, state):
    text = page.read_text().replace('data-state="running"', f'data-state="{state}"')
    page.write_text(text)
    chromium.resize(width, 900, color_scheme=scheme)
    chromium.page.goto(page.as_uri())
    chromium.run(AXE.read_text(encoding="utf-8"))
    findings = chromium.run("axe.run().then((found) => found.violations)")
    assert [(found["id"], found["nodes"][0]["html"]) for found in findings] == []
    assert chromium.run("document.documentElement.scrollWidth <= innerWidth")


def test_it_loads_itself_anew_where_it_was_and_ends_as_the_report(chromium, page):
    chromium.resize(390, 600)
    tab = chromium.page
    tab.clock.install()
    tab.goto(page.as_uri())
    tab.evaluate("scrollTo(0, 500)")
    page.write_text(page.read_text().replace("epoch 24", "epoch 99"))
    tab.clock.fast_forward(3100)
    tab.wait_for_function("document.querySelector('.headline')?.textContent.includes('99')")
    tab.wait_for_function("scrollY === 500")
    tab.get_by_role("button", name="Pause updates").click()
    page.write_text(page.read_text().replace("epoch 99", "epoch 100"))
    tab.clock.fast_forward(9000)
    assert tab.locator(".headline").inner_text() == "Training: epoch 99"
    tab.get_by_role("button", name="Pause updates").click()
    live.write(page.parent, live.read_config(page.parent / "config.toml"), [], "done")
    tab.clock.fast_forward(3100)
    tab.wait_for_url("**/report.html")


def test_without_news_it_says_so(chromium, page):
    chromium.resize(390, 600)
    tab = chromium.page
    page.write_text(re.sub(r'data-written="\d+"', 'data-written="4102444800000"', page.read_text()))
    tab.goto(page.as_uri())
    assert tab.locator("#silence").is_hidden()
    page.write_text(re.sub(r'data-written="\d+"', 'data-written="1000"', page.read_text()))
    tab.goto(page.as_uri())
    assert "or it died. variform open says which" in tab.locator("#silence").inner_text()
