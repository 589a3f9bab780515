"""The members that docs/extending.md adds, in a copy of the package: the commands of the page, and what they gave."""

import base64
import doctest
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import browsers
import numpy as np
import pytest
from pages import json_of
from safetensors.numpy import load_file
from scipy import stats

import variform
from variform.data.reading import read_rows
from variform.evaluation.exploration import encode
from variform.evaluation.samplers import aggregated_posterior
from variform.pages.explorer import page
from variform.pages.explorer.contents import Law, gather
from variform.pages.explorer.payload import decoder_payload
from variform.runs.folder import open_run

pytestmark = pytest.mark.long  # the whole file, whose commands train in a copy of the package
ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
SCRIPT = Path("src/variform/pages/script")
TOOLS = ROOT / "node_modules" / ".bin"
PACKAGE = Path(variform.__file__).parent
RUN = """
import shlex, sys
from variform.faces import cli
for line in sys.argv[1:]:
    if code := cli.run(shlex.split(line)[1:]):
        sys.exit(f"{line} exits with {code}")
"""


MEMBERS = (
    "## A sampler",
    "## A file format",
    "## A metric",
    "## A question in depth",
    "## An option that reaches training",
    "## A view of the explorer page",
)
"""Headings of the members after the likelihood, with which the page begins."""


COLUMNS = ("size", "mass", "drag")


def blocks(language, text=PAGE):
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def parts():
    """The page, cut at the headings of its members."""
    pieces, rest = [], PAGE
    for heading in MEMBERS:
        part, rest = rest.split(f"\n{heading}\n")
        pieces.append(part)
    return [*pieces, rest]


def change(block, folder):
    """Make the change of a diff in the folder; the file that it touched, or None for a new one."""
    first, *lines = block.splitlines()
    file = folder / first[4:]
    if first.startswith("+++ "):
        file.write_text("".join(line[1:] + "\n" for line in lines), encoding="utf-8")
        return None
    file.write_text(changed(file.read_text(encoding="utf-8"), lines), encoding="utf-8")
    return file


def changed(text, lines):
    """The text in which the lines of a diff without numbers stand once."""
    old = "".join(line[1:] + "\n" for line in lines if line[0] in " -")
    new = "".join(line[1:] + "\n" for line in lines if line[0] in " +")
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times"
    return text.replace(old, new)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """A folder in which the page's commands were run, with the page's changes in a copy of the package."""
    folder = tmp_path_factory.mktemp("extended")
    shutil.copytree(
        PACKAGE, folder / "src" / "variform", ignore=shutil.ignore_patterns("__pycache__")
    )
    for part in parts():
        touched = {change(block, folder) for block in blocks("diff", part)} - {None}
        assert 1 <= len(touched) <= 2, touched
    examples = [
        step.source
        for code in blocks("pycon")
        for step in doctest.DocTestParser().get_examples(code)
    ]
    (place,) = [n for n, source in enumerate(examples) if source.startswith("class Laplace")]
    imports = [source for source in examples[:place] if source.startswith(("import", "from"))]
    file = folder / "src" / "variform" / "model" / "likelihoods" / "laplace.py"
    file.write_text("".join([*imports, "\n\n", examples[place]]), encoding="utf-8")
    values = np.random.default_rng(0).normal(size=(60, 3)).round(3)
    objects = [dict(zip(COLUMNS, row, strict=True)) for row in values.tolist()]
    (folder / "rows.lines").write_text(
        "".join(json.dumps(row) + "\n" for row in objects), encoding="utf-8"
    )
    np.savetxt(
        folder / "rows.csv",
        values,
        fmt="%.3f",
        delimiter=",",
        header=",".join(COLUMNS),
        comments="",
    )
    commands = "".join(blocks("text"))
    environment = os.environ | {"PYTHONPATH": str(folder / "src")}
    arguments = [sys.executable, "-c", RUN, *commands.splitlines()]
    done = subprocess.run(
        arguments, cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (folder / "printed.txt").write_text(done.stdout, encoding="utf-8")
    for file in folder.glob(
        "*/config.toml"
    ):  # the tests open runs with this package, which has no such option
        text = file.read_text(encoding="utf-8")
        text = text.replace("momentum = 0.9\n", "").replace("width = true\n", "")
        file.write_text(text.replace("width = false\n", ""), encoding="utf-8")
    return folder


def test_the_runs_are_compared_by_density_over_the_same_rows(workspace):
    comparison = json.loads(
        (workspace / "comparison" / "comparison.json").read_text(encoding="utf-8")
    )
    assert {run["likelihood"] for run in comparison["runs"]} == {"laplace", "gaussian-shared"}
    assert comparison["refused"] == []
    (group,) = comparison["ranked"]
    assert set(group["runs"]) == {"laplace", "gaussian"}


def test_its_trivial_model_is_that_of_scipy(workspace):
    data = variform.read("digits")
    train, test = (
        part.raw.flatten(1).double().numpy() / 16 for part in (data.train, data.test)
    )  # intensities
    scale = np.maximum(train.std(0) / np.sqrt(2), 1 / 16)  # not below one level
    expected = -stats.laplace(train.mean(0), scale).logpdf(test).sum(1).mean()
    numbers = json.loads((workspace / "laplace" / "evaluation.json").read_text(encoding="utf-8"))
    assert numbers["baselines"]["trivial"]["nll"]["mean"] == pytest.approx(expected, rel=1e-6)


def test_it_leaves_torch_and_has_a_page(workspace):
    """An export compares its answers with torch's before it leaves anything in the folder."""
    assert {file.name for file in (workspace / "for-numpy").iterdir()} == {
        "codec.py",
        "model.npz",
        "reader.py",
        "score.py",
    }
    assert {file.name for file in (workspace / "for-onnx").iterdir()} == {
        "encoder.onnx",
        "decoder.onnx",
        "prior.onnx",  # and no score, whose steps the example does not state
    }
    for file in (workspace / "laplace.html", workspace / "laplace" / "explorer.html"):
        assert "laplace" in json_of(file.read_text(encoding="utf-8"))


def test_the_question_is_answered_in_the_report_and_on_the_page(workspace):
    numbers = json.loads((workspace / "gaussian" / "evaluation.json").read_text(encoding="utf-8"))
    run = open_run(workspace / "gaussian")
    stds = encode(run.vae, run.data().test)[1]
    assert numbers["width"]["width"]["mean"] == pytest.approx(stds.mean(), rel=1e-6)
    answer = "Width of the posterior: A code is known within"
    assert answer in (workspace / "printed.txt").read_text(encoding="utf-8")
    for name in ("report.html", "explorer.html"):
        text = (workspace / "gaussian" / name).read_text(encoding="utf-8")
        assert "Width of the posterior" in (text if name == "report.html" else json_of(text))


def test_the_sampler_has_the_moments_of_the_rows_and_draws(workspace):
    numbers = json.loads((workspace / "gaussian" / "samplers.json").read_text(encoding="utf-8"))
    assert set(numbers["samplers"]) == {"prior", "gaussian"}
    weights = load_file(workspace / "gaussian" / "sampler-gaussian.safetensors")
    run = open_run(workspace / "gaussian")
    z = aggregated_posterior(run.vae, run.data().train).numpy()
    np.testing.assert_allclose(weights["loc"][0], z.mean(0), rtol=1e-5)
    scale = weights["scale_tril"][0].astype(float)
    np.testing.assert_allclose(scale @ scale.T, np.cov(z.T), rtol=1e-5, atol=1e-7)
    assert np.load(workspace / "new.npy").shape == (5, 1, 8, 8)
    page = (workspace / "gaussian.html").read_text(encoding="utf-8")
    assert "the fitted Gaussian" in json_of(page)


def test_the_option_reaches_the_optimiser_and_is_in_what_a_run_says_of_itself(workspace):
    """Where it did not arrive, weights and the state of Adam in the checkpoint would be the same bits."""
    for file in ("last.safetensors", "checkpoint.safetensors"):
        usual, nimble = (load_file(workspace / name / file) for name in ("gaussian", "nimble"))
        assert usual.keys() == nimble.keys()
        assert any(not np.array_equal(usual[key], nimble[key]) for key in usual), file
    config = (workspace / "nimble" / "config.toml").read_text(encoding="utf-8")
    assert "momentum = 0.5" in config
    report = (workspace / "nimble" / "report.html").read_text(encoding="utf-8")
    assert "elbo (momentum 0.5)" in report


def test_lines_of_json_are_encoded_as_the_same_rows_of_a_csv_file(workspace):
    vae = open_run(workspace / "lines").vae
    assert vae.schema.columns == COLUMNS
    means, _ = encode(vae, read_rows(workspace / "rows.csv", vae.schema))
    np.testing.assert_array_equal(np.load(workspace / "latents.npy"), means)


def test_the_metric_is_kept_and_shown(workspace):
    numbers = json.loads((workspace / "laplace" / "evaluation.json").read_text(encoding="utf-8"))
    assert numbers["kl_per_latent"]["mean"] == pytest.approx(numbers["kl"]["mean"] / 2, rel=1e-12)
    assert "KL per latent (nats)" in (workspace / "laplace" / "report.html").read_text(
        encoding="utf-8"
    )
    assert "KL per latent (nats)" in (workspace / "printed.txt").read_text(encoding="utf-8")


# --- a view of the explorer page ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    """The folder of the page's script with the view of the page in it, bundled anew."""
    if not (TOOLS / "esbuild").exists():
        pytest.skip("what bundles the script is not installed: make bundle")
    root = tmp_path_factory.mktemp("viewed")
    folder = root / SCRIPT
    shutil.copytree(ROOT / SCRIPT, folder)
    for block in blocks("diff", parts()[-1]):
        change(block, root)
    files = [str(folder / name) for name in ("index.js", "bundle.js")]
    subprocess.run(["node", str(ROOT / "tools" / "bundle.js"), *files], check=True)
    return folder


def test_the_view_passes_the_checks_of_the_script(script):
    options = {
        "extends": str(ROOT / "tsconfig.json"),
        "include": [str(script)],
        "exclude": [str(script / "bundle.js")],
    }
    (script / "tsconfig.json").write_text(json.dumps(options), encoding="utf-8")
    done = subprocess.run([TOOLS / "tsc", "--project", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    (script / "tsconfig.json").unlink()
    shutil.copy(ROOT / "biome.json", script.parents[3])
    for name in ("averages.js", "index.js"):
        command = [TOOLS / "biome", "check", "--error-on-warnings", script / "views" / name]
        done = subprocess.run(command, cwd=script.parents[3], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_the_view_is_in_the_page_and_shows_each_label_where_its_mean_is(
    script, monkeypatch, tmp_path
):
    if not browsers.CHROMIUM:
        pytest.skip("Chromium is not installed: make browsers")
    monkeypatch.setattr(page, "_SCRIPT", script)
    digits = variform.read("digits")
    vae = variform.build_vae(
        variform.ModelConfig(likelihood="bernoulli", latent_dim=3, hidden=(8,)), digits.schema
    )
    numbers = variform.evaluate(vae, digits.test, samples=2)
    contents = gather(vae, digits, numbers, laws=[Law("the prior", None)])
    contents["collapsed"] = False  # an untrained model is
    page.render(contents, decoder_payload(vae)).save(tmp_path / "page.html")
    means = np.frombuffer(base64.b64decode(contents["rows"]["means"]), "<f4").reshape(-1, 3)
    labels = np.frombuffer(base64.b64decode(contents["rows"]["columns"][0]["values"]), "<i2")
    expected = [means[labels == digit].mean(0) for digit in range(10)]
    chromium = browsers.Chromium(tmp_path)
    try:
        chromium.open(tmp_path / "page.html")
        assert "1 … 8" in chromium.run("document.getElementById('help').textContent")
        chromium.page.keyboard.press("5")
        assert (
            chromium.run("document.querySelector('[aria-selected=true]').textContent") == "Averages"
        )
        points = chromium.run("variform.ready.then((app) => app.view.points.map((z) => [...z]))")
        np.testing.assert_allclose(points, expected, atol=1e-5)
        chromium.page.wait_for_function("document.querySelector('#view .wall').height > 150")
        chromium.open(tmp_path / "page.html", "#view=averages")
        assert chromium.run("variform.ready.then((app) => app.state.view)") == "averages"
        assert chromium.errors == []
    finally:
        chromium.close()
