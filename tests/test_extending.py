"""The likelihood of docs/extending.md, with its name, in a copy of the package: from training to a page."""

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
from scipy import stats

import variform

PAGE = (Path(__file__).parents[1] / "docs" / "extending.md").read_text(encoding="utf-8")
PACKAGE = Path(variform.__file__).parent
RUN = """
import shlex, sys
from variform.faces import cli
for line in sys.argv[1:]:
    if code := cli.run(shlex.split(line)[1:]):
        sys.exit(f"{line} exits with {code}")
"""


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


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
    touched = set()
    for block in blocks("diff"):
        first, *lines = block.splitlines()
        file = folder / first.removeprefix("--- ")
        touched.add(file)
        file.write_text(changed(file.read_text(encoding="utf-8"), lines), encoding="utf-8")
    examples = [step.source for code in blocks("pycon") for step in doctest.DocTestParser().get_examples(code)]
    (family,) = [source for source in examples if source.startswith("class LaplaceLikelihood")]
    file = folder / "src" / "variform" / "model" / "likelihoods.py"
    text = file.read_text(encoding="utf-8")
    table = "LIKELIHOODS: dict["
    assert text.count(table) == 1
    file.write_text(text.replace(table, f"{family}\n\n{table}"), encoding="utf-8")
    assert len(touched | {file}) == 2  # a likelihood is two files
    (commands,) = blocks("text")
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
