"""The recipes of docs/recipes.md: each runs as it stands there, is short, and does what its page says of it."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression, LogisticRegression

import variform

PAGE = (Path(__file__).parents[1] / "docs" / "recipes.md").read_text(encoding="utf-8")
RECIPES = dict(re.findall(r"^```python file=(\S+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))


@pytest.fixture(autouse=True)
def _as_a_user_starts(tmp_path, monkeypatch):
    """Single precision, an empty folder with the modules of the page, and a path that is put back."""
    torch.set_default_dtype(torch.float32)
    torch.manual_seed(0)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    (tmp_path / "nets.py").write_text(RECIPES["nets.py"])
    yield
    sys.modules.pop("reader", None)


def run(name):
    Path(name).write_text(RECIPES[name])
    return runpy.run_path(name)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_has_at_most_twenty_lines_of_code(name):
    assert len([line for line in RECIPES[name].splitlines() if line.strip()]) <= 20


@pytest.mark.long
def test_own_networks_learn_where_discs_lie():
    names = run("own_networks.py")
    assert names["run"].report.is_file()
    codes, places = names["codes"], names["places"]
    fitted = LinearRegression().fit(codes[:1000], places[:1000])
    assert fitted.score(codes[1000:], places[1000:]) > 0.9


@pytest.mark.long
def test_conditional_generation_makes_what_is_asked_for():
    names = run("conditional.py")
    digits = variform.read("digits", variform.DataConfig(condition=("label",))).train
    judge = LogisticRegression(max_iter=5000).fit(digits.raw.flatten(1).numpy(), digits.labels)
    read_as = judge.predict(names["images"].reshape(200, 64))
    assert np.mean(read_as == np.repeat(np.arange(10), 20)) > 0.7


@pytest.mark.long
def test_along_a_direction_of_the_codes_ink_rises():
    ink = run("arithmetic.py")["walks"].sum((2, 3, 4))
    before, after = ink[:, 2], ink[:, [0, 1, 3, 4]]
    assert (np.diff(ink.mean(0)) > 10).all()
    assert np.mean(after[:, 2:] > before[:, None]) > 0.95
    assert np.mean(after[:, :2] < before[:, None]) > 0.95


@pytest.mark.long
def test_a_loop_of_ones_own_reaches_probabilistic_pca():
    names = run("loop.py")
    data = names["data"]
    train, test = (part.prepared().double().numpy() for part in (data.train, data.test))
    exact = PCA(2).fit(train).score(test) + data.schema.log_jacobian
    elbo = names["numbers"]["elbo"]["mean"]
    assert exact - 0.05 < elbo < exact + 0.01


@pytest.mark.long
def test_a_likelihood_of_ones_own_has_the_densities_of_scipy():
    names = run("likelihood.py")
    vae, history = names["vae"], names["history"]
    x, z = torch.randn(5, 3), torch.randn(5, 1)
    law = vae.decode(z)
    at = vae.decoder(z).detach().numpy()
    expected = scipy.stats.t(df=4, loc=at, scale=0.5).logpdf(x).sum(1)
    assert np.allclose(law.log_prob(x).detach(), expected, atol=1e-5)
    assert history.rows[-1]["valid_elbo"] > history.rows[0]["valid_elbo"] + 0.2


@pytest.mark.long
def test_what_is_loaded_elsewhere_gives_what_the_model_gives():
    pytest.importorskip("onnxruntime")
    names = run("elsewhere.py")
    expected = names["run"].model.decode(names["z"])
    for answer in (names["by_numpy"], names["by_onnx"]):
        assert np.allclose(answer, expected, atol=1e-4)
    alone = (
        "import sys; sys.modules.update(torch=None, variform=None); sys.path.insert(0, 'away')\n"
        "import numpy as np, reader\n"
        "x = reader.decode(dict(np.load('away/model.npz')), np.zeros((1, 2), np.float32))\n"
        "np.save('alone.npy', x)"
    )
    subprocess.run([sys.executable, "-c", alone], check=True, env={**os.environ, "PYTHONPATH": ""})
    assert np.array_equal(np.load("alone.npy"), names["by_numpy"])
