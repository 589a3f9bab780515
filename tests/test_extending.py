"""The members that docs/extending.md adds, in a copy of the package: the commands of the page, and what they gave."""

import doctest
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from scipy import stats

import variform
from variform.evaluation.samplers import aggregated_posterior
from variform.runs.folder import open_run

PAGE = (Path(__file__).parents[1] / "docs" / "extending.md").read_text(encoding="utf-8")
PACKAGE = Path(variform.__file__).parent
RUN = """
import shlex, sys
from variform.faces import cli
for line in sys.argv[1:]:
    if code := cli.run(shlex.split(line)[1:]):
        sys.exit(f"{line} exits with {code}")
"""


MEMBERS = ("## A sampler",)
"""Headings of the members after the likelihood, with which the page begins."""


def blocks(language, text=PAGE):
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def parts():
    """The page, cut at the headings of its members."""
    found, rest = [], PAGE
    for heading in MEMBERS:
        part, rest = rest.split(f"\n{heading}\n")
        found.append(part)
    return [*found, rest]


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
def place(tmp_path_factory):
    """A folder in which the page's commands were run, with the page's changes in a copy of the package."""
    folder = tmp_path_factory.mktemp("extended")
    shutil.copytree(PACKAGE, folder / "src" / "variform", ignore=shutil.ignore_patterns("__pycache__"))
    for part in parts():
        touched = {change(block, folder) for block in blocks("diff", part)} - {None}
        assert 1 <= len(touched) <= 2, touched
    examples = [step.source for code in blocks("pycon") for step in doctest.DocTestParser().get_examples(code)]
    (family,) = [source for source in examples if source.startswith("class LaplaceLikelihood")]
    file = folder / "src" / "variform" / "model" / "likelihoods.py"
    text = file.read_text(encoding="utf-8")
    table = "LIKELIHOODS: dict["
    assert text.count(table) == 1
    file.write_text(text.replace(table, f"{family}\n\n{table}"), encoding="utf-8")
    commands = "".join(blocks("text"))
    environment = os.environ | {"PYTHONPATH": str(folder / "src")}
    arguments = [sys.executable, "-c", RUN, *commands.splitlines()]
    done = subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def test_the_runs_are_compared_by_density_over_the_same_rows(place):
    found = json.loads((place / "comparison" / "comparison.json").read_text(encoding="utf-8"))
    assert {run["likelihood"] for run in found["runs"]} == {"laplace", "gaussian-shared"}
    assert found["refused"] == []
    (group,) = found["ranked"]
    assert set(group["runs"]) == {"laplace", "gaussian"}


def test_its_trivial_model_is_that_of_scipy(place):
    data = variform.read("digits")
    train, test = (part.raw.flatten(1).double().numpy() / 16 for part in (data.train, data.test))  # intensities
    scale = np.maximum(train.std(0) / np.sqrt(2), 1 / 16)  # not below one level
    expected = -stats.laplace(train.mean(0), scale).logpdf(test).sum(1).mean()
    numbers = json.loads((place / "laplace" / "evaluation.json").read_text(encoding="utf-8"))
    assert numbers["baselines"]["trivial"]["nll"]["mean"] == pytest.approx(expected, rel=1e-6)


def test_it_leaves_torch_and_has_a_page(place):
    """An export compares its answers with torch's before it leaves anything in the folder."""
    assert {file.name for file in (place / "for-numpy").iterdir()} == {"model.npz", "reader.py"}
    assert {file.name for file in (place / "for-onnx").iterdir()} == {"encoder.onnx", "decoder.onnx"}
    for page in (place / "laplace.html", place / "laplace" / "explorer.html"):
        assert "laplace" in page.read_text(encoding="utf-8")


def test_the_sampler_has_the_moments_of_the_rows_and_draws(place):
    numbers = json.loads((place / "gaussian" / "samplers.json").read_text(encoding="utf-8"))
    assert set(numbers["samplers"]) == {"prior", "gaussian"}
    weights = load_file(place / "gaussian" / "sampler-gaussian.safetensors")
    run = open_run(place / "gaussian")
    z = aggregated_posterior(run.vae, run.data().train).numpy()
    np.testing.assert_allclose(weights["loc"][0], z.mean(0), rtol=1e-5)
    scale = weights["scale_tril"][0].astype(float)
    np.testing.assert_allclose(scale @ scale.T, np.cov(z.T), rtol=1e-5, atol=1e-7)
    assert np.load(place / "new.npy").shape == (5, 1, 8, 8)
    assert "the fitted Gaussian" in (place / "gaussian.html").read_text(encoding="utf-8")
