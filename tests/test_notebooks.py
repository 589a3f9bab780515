"""Notebooks, run by Jupyter's own client: one line of progress, and results that show themselves in a chromium."""

import base64
import html.parser
import io
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import traitlets
from PIL import Image

from variform import ModelConfig, build_vae, load, read, save, train
from variform.faces.model import Model
from variform.pages.explorer.page import Page
from variform.system.notebook import html_table
from variform.training.history import History

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")

CELLS = {
    "data": """
import numpy as np
import variform
rows = {"<b>width</b>": np.arange(200.0) % 7, "depth": np.random.default_rng(0).normal(size=200)}
table = variform.read(rows)
table""",
    "train": """
run = variform.train(rows, out="run", latent_dim=1, likelihood="gaussian-shared", epochs=30,
                     nll_samples=20)""",
    "run": "run",
    "fit": """
from variform import ModelConfig, TrainConfig, build_objective, build_vae, fit
config = TrainConfig(epochs=7)
objective = build_objective(build_vae(ModelConfig(latent_dim=1), table.schema), config)
history = fit(objective, table.train, table.valid, config, progress=True)""",
    "history": "history",
    "schema": "table.schema",
    "digits": 'variform.read("digits").test',
    "comparison": """
other = variform.train(rows, out="other", latent_dim=2, likelihood="gaussian-shared", epochs=3,
                       nll_samples=20, pictures=False, progress="none")
run.compare(other)""",
    "figure": """
from variform.pages.curves import plot_curves
plot_curves(history.rows)""",
    "quiet": 'variform.fit(objective, table.train, table.valid, config, progress="none");',
}


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """What each cell showed."""
    folder = tmp_path_factory.mktemp("notebook")
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell(source.strip()) for source in CELLS.values()]
    nbclient.NotebookClient(
        notebook, timeout=300, resources={"metadata": {"path": str(folder)}}
    ).execute()
    return dict(zip(CELLS, (cell["outputs"] for cell in notebook.cells), strict=True))


def shown(outputs, name):
    """The HTML of a cell's value."""
    (value,) = [each for each in outputs[name] if each["output_type"] == "execute_result"]
    return value["data"]["text/html"]


class Reader(html.parser.HTMLParser):
    """The cells of tables, row by row."""

    def __init__(self, text):
        super().__init__()
        self.rows: list[list[str]] = []
        self.is_in_cell = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self.is_in_cell = True

    def handle_endtag(self, tag):
        self.is_in_cell &= tag not in ("td", "th")

    def handle_data(self, data):
        if self.is_in_cell:
            self.rows[-1][-1] += data


@pytest.mark.parametrize("name", ["train", "fit"])
def test_progress_is_one_line(outputs, name):
    lines = [each for each in outputs[name] if each["output_type"] == "display_data"]
    (line,) = [each["data"]["text/plain"] for each in lines]
    assert "\n" not in line and "(100%)" in line and "epoch" in line
    streams = "".join(each["text"] for each in outputs[name] if each["output_type"] == "stream")
    assert "epoch " not in streams


def test_nothing_that_is_said_looks_like_an_error(outputs):
    streams = [
        each for cell in outputs.values() for each in cell if each["output_type"] == "stream"
    ]
    assert {each["name"] for each in streams} == {"stdout"}
    text = "".join(each["text"] for each in streams)
    assert "split: by hash" in text and "\x1b" not in text


def test_without_progress_nothing_is_said(outputs):
    assert outputs["quiet"] == []


def test_a_table_shows_its_columns_as_text(outputs):
    text = shown(outputs, "data")
    assert "&lt;b&gt;width&lt;/b&gt;" in text and "<b>width" not in text
    rows = Reader(text).rows
    assert [row[0] for row in rows[1:4]] == ["train", "valid", "test"]
    assert sum(int(row[1]) for row in rows[1:4]) == 200
    schema = Reader(shown(outputs, "schema")).rows
    assert [row[0] for row in schema] == ["column", "<b>width</b>", "depth"]
    assert schema[1][schema[0].index("to")] == "6"


def test_the_history_shows_its_first_best_and_last_epoch(outputs):
    rows = Reader(shown(outputs, "history")).rows
    assert rows[0][:2] == ["epoch", "step"]
    assert rows[1][0].startswith(("first: 1", "best: 1"))
    assert any(row[0].startswith("best: ") for row in rows[1:])
    assert rows[-1][0].endswith(": 7")


def test_a_run_shows_verdict_numbers_and_picture(outputs):
    text = shown(outputs, "run")
    assert "latent used" in text and "NLL" in text
    content = base64.b64decode(text.partition("base64,")[2].partition('"')[0])
    assert Image.open(io.BytesIO(content)).width > 300


def test_a_comparison_shows_its_tables(outputs):
    rows = Reader(shown(outputs, "comparison")).rows
    assert {"run", "other"} <= {row[0] for row in rows}


def test_images_show_as_pictures_of_their_pixels(outputs):
    text = shown(outputs, "digits")
    content = base64.b64decode(text.partition("base64,")[2].partition('"')[0])
    pixels = np.asarray(Image.open(io.BytesIO(content)))
    first = read("digits").test.raw[0, 0].numpy()
    np.testing.assert_array_equal(pixels[4:64:8, 4:64:8], np.round(first / 16 * 255))


def test_a_figure_shows_itself(outputs):
    (value,) = [each for each in outputs["figure"] if each["output_type"] == "execute_result"]
    image = Image.open(io.BytesIO(base64.b64decode(value["data"]["image/png"])))
    assert image.width == pytest.approx(1100, abs=2)


def test_of_many_rows_a_table_shows_the_first():
    rows = Reader(html_table(["n"], [[n] for n in range(1000)])).rows
    assert [row[0] for row in rows] == ["n", *map(str, range(30))]
    assert "and 970 more" in html_table(["n"], [[n] for n in range(1000)])


def test_an_empty_history_shows_itself():
    assert "0 epochs" in History([], 0, {}, "nothing <done>")._repr_html_()


def test_a_model_of_memory_or_of_a_file_explores_itself(tmp_path):
    vae = build_vae(ModelConfig(latent_dim=2, hidden=(8,)), read("digits").schema)
    save(vae, tmp_path / "model.safetensors")
    pages = [Model(vae).explore(), load(tmp_path / "model.safetensors").explore()]
    assert pages[0].html == pages[1].html
    assert pages[0]._repr_html_().startswith("<iframe srcdoc=")


@pytest.mark.parametrize(
    ("scheme", "ground", "ink"), [("light", "#ffffff", "#111111"), ("dark", "#111111", "#eeeeee")]
)
def test_what_is_shown_takes_the_colours_around_it(
    chromium, outputs, tmp_path, scheme, ground, ink
):
    parts = "".join(shown(outputs, name) for name in ("data", "run", "history", "comparison"))
    style = f"<style>body {{ background: {ground}; color: {ink} }}</style>"
    (tmp_path / "page.html").write_text(f"<!doctype html>{style}<body>{parts}")
    chromium.resize(900, 900, color_scheme=scheme)
    chromium.page.goto((tmp_path / "page.html").as_uri())
    colours = chromium.run(
        "[...new Set([...document.querySelectorAll('td, th, p')].map((e) => getComputedStyle(e).color))]"
    )
    assert len(colours) == 1
    expected = ", ".join(str(int(ink[at : at + 2], 16)) for at in (1, 3, 5))
    assert colours == [f"rgb({expected})"]


@pytest.mark.parametrize("sandbox", ["allow-scripts", "allow-scripts allow-downloads"])
def test_an_explorer_starts_in_a_frame_that_may_store_nothing(chromium, tmp_path, sandbox):
    rows = np.random.default_rng(0).normal(size=(120, 3)) @ np.tri(3)
    options = {"likelihood": "gaussian-shared", "nll_samples": 20, "progress": False}
    run = train(rows, out=tmp_path / "run", latent_dim=2, epochs=2, pictures=False, **options)
    shown = run.explore()._repr_html_().replace("allow-scripts allow-downloads", sandbox)
    assert f'sandbox="{sandbox}"' in shown
    (tmp_path / "page.html").write_text(f"<!doctype html><body>{shown}")
    chromium.resize(900, 900)
    chromium.page.goto((tmp_path / "page.html").as_uri())
    frame = chromium.page.frame_locator("iframe")
    frame.locator("canvas").first.wait_for()
    assert frame.locator("h1").inner_text()


# --- a selection of the page in Python ------------------------------------------------------------------------------

HARNESS = """async ([source, page]) => {
  const { default: widget } = await import(`data:text/javascript;base64,${source}`);
  const sent = [];
  globalThis.sent = sent;
  const values = { page };
  const model = {
    get: (name) => values[name],
    set: (name, value) => { values[name] = value; },
    save_changes: () => { sent.push(values.selection); },
  };
  widget.render({ model, el: document.body });
}"""


def test_what_is_selected_on_the_page_reaches_the_widget(chromium, tmp_path):
    pytest.importorskip("anywidget")
    rows = np.random.default_rng(0).normal(size=(120, 3)) @ np.tri(3)
    options = {"likelihood": "gaussian-shared", "nll_samples": 20, "progress": False}
    run = train(rows, out=tmp_path / "run", latent_dim=2, epochs=2, pictures=False, **options)
    widget = run.explore().widget()
    (tmp_path / "page.html").write_text("<!doctype html><body>")
    chromium.resize(1200, 900)
    tab = chromium.page
    tab.goto((tmp_path / "page.html").as_uri())
    source = base64.b64encode(widget._esm.encode()).decode()
    tab.evaluate(HARNESS, [source, widget.page])
    frame = tab.frame_locator("iframe")
    tab.wait_for_function("sent.length === 1")
    assert tab.evaluate("sent[0]") == []
    frame.get_by_role("button", name="Select all in view").click()
    tab.wait_for_function("sent.length === 2")
    selected = tab.evaluate("sent[1]")
    splits = run.data()
    every = [*splits.train.index, *splits.valid.index, *splits.test.index]
    assert sorted(selected) == sorted(int(index) for index in every)
    frame.get_by_role("button", name="Clear selection").click()
    tab.wait_for_function("sent.at(-1).length === 0")


def test_a_widget_has_the_selection_as_a_trait():
    pytest.importorskip("anywidget")
    widget = Page("<!doctype html>").widget()
    heard = []
    widget.observe(lambda change: heard.append(change["new"]), "selection")
    assert widget.selection == []
    widget.set_state({"selection": [3, 5]})  # as the notebook's side sends it
    assert widget.selection == [3, 5] and heard == [[3, 5]]
    with pytest.raises(traitlets.TraitError):
        widget.selection = ["three"]


def test_without_the_extra_the_widget_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "anywidget", None)
    monkeypatch.delitem(sys.modules, "variform.pages.explorer.widget", raising=False)
    with pytest.raises(
        ValueError, match=r"a selection in Python needs .* extra notebook; anywidget"
    ):
        Page("<!doctype html>").widget()


# --- the notebooks of the documentation -------------------------------------------------------------------------------

# What the text of each says of its numbers, asked in a last cell.
CLAIMS = {
    "lecture": """
assert abs(elbo[0] - 64 * np.log(0.5)) < 5  # an untrained model tosses coins
assert gain[1000].mean() > gain[10].mean() > 0.1
active = {name: one.evaluation["active_units"]["count"] for name, one in runs.items()}
assert active["gaussian-identity"] == 0 and active["gaussian-shared"] == 10
assert nll[0] > nll[1] + 10 > nll[2] + 14 and abs(nll[2] - nll[3]) < 4
assert (np.array(nll) < np.array(pca) - 10).all()""",
    "first-images": """
assert run.report.is_file() and run.evaluation["active_units"]["count"] == 10
error = run.evaluation["reconstruction_error"]["mean"]
assert error < run.evaluation["baselines"]["pca"]["reconstruction_error"]["mean"]
fixed = ~np.isnan(part)
assert (completed.draws[:, 0][fixed] == whole[fixed]).all()
assert disc_score < scores.min() - 1000""",
    "first-table": """
assert rms["regressions"] < rms["the VAE"] < 0.8 * rms["the mean"]
assert 0.87 < held.mean() < 0.98
assert run.evaluation["nll"]["mean"] < run.evaluation["baselines"]["trivial"]["nll"]["mean"]""",
    "first-shapes": """
assert run.evaluation["active_units"]["count"] == 3
assert run.evaluation["nll"]["mean"] < run.evaluation["baselines"]["pca"]["nll"]["mean"] - 40
assert min(r2.values()) > 0.95 and 0.005 < error < 0.008
assert written.path.is_file() and len(set(run.data().schema.scale)) == 1""",
    "disentanglement": """
used = {name: np.mean([table[name, seed]["used"] for seed in range(3)]) for name in objectives}
elbo = {name: np.mean([table[name, seed]["elbo"] for seed in range(3)]) for name in objectives}
assert used["beta-TC"] < used["ELBO"] - 0.5 and elbo["beta-TC"] > elbo["ELBO"] - 1
mig = {name: [table[name, seed]["mig"] for seed in range(3)] for name in objectives}
assert max(map(max, mig.values())) < 0.5 and min(mig["beta-TC"]) < max(mig["ELBO"])
assert min(one["known"] for one in table.values()) > 0.9""",
    "design": """
assert max(gaps["latent"]) < 100 * (best_known / best_possible - 1) < min(gaps["raw"])
assert min(map(min, gaps.values())) > 0 and max(gaps["latent"]) < 1.2
assert np.median(gaps["pca"]) < np.median(gaps["latent"]) + 0.2""",
    "scikit-learn": """
assert accuracy["VAE"] > accuracy["PCA"] and search.best_params_["vae__latent_dim"] == 10
assert auc["VAEDetector"] > 0.9 and low < flagged[is_malignant == 0].mean() < high
assert rms["VAEImputer"] < 0.8 * rms["mean"] and 0.8 < inside.mean() < 0.95""",
}
NOTEBOOKS = Path(__file__).parents[1] / "docs" / "notebooks"


def test_every_notebook_is_run():
    assert sorted(CLAIMS) == sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))


@pytest.mark.long
@pytest.mark.parametrize("name", CLAIMS)
def test_a_notebook_runs_and_its_text_is_true(name, tmp_path):
    path = NOTEBOOKS / f"{name}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)
    notebook.cells.append(nbformat.v4.new_code_cell(CLAIMS[name].strip()))
    nbclient.NotebookClient(
        notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    for cell in notebook.cells:
        for target in re.findall(r"\]\(([^)#:\s]+)[^)]*\)", cell.source):
            assert cell.cell_type == "code" or (NOTEBOOKS / target).exists(), target
