"""Outliers: Shapley values of a Gaussian, which add up; the regret and typicality of a known model."""

import csv
import itertools
import json
import math

import numpy as np
import pytest
import torch
from models import NAMES, data_of, model_of
from scipy import stats
from test_truth import full_vae, linear_vae

from variform import ModelConfig, RunConfig, TrainConfig, train
from variform.data.reading import dataset_from
from variform.evaluation.log_likelihood import score
from variform.evaluation.outliers import attribute, outliers
from variform.faces.cli.commands import run as command


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def shapley(mean, covariance, row):
    """Of -log p(x_S) of a Gaussian: the mean over all orders."""
    size = len(row)

    def score_of(subset):
        own = list(subset)
        if not own:
            return 0.0
        return -stats.multivariate_normal(mean[own], covariance[np.ix_(own, own)]).logpdf(row[own])

    known = {
        subset: score_of(subset)
        for count in range(size + 1)
        for subset in itertools.combinations(range(size), count)
    }
    shares = np.zeros(size)
    for order in itertools.permutations(range(size)):
        for place, column in enumerate(order):
            before = tuple(sorted(order[:place]))
            after = tuple(sorted(order[: place + 1]))
            shares[column] += (known[after] - known[before]) / math.factorial(size)
    return shares


def gaussian():
    weight, bias, std = torch.randn(5, 2), torch.randn(5), 0.5
    rows = torch.randn(6, 2) @ weight.T + bias + std * torch.randn(6, 5)
    rows[0, 2] += 6 * std  # planted
    covariance = weight @ weight.T + std**2 * torch.eye(5)
    return weight, bias, std, rows, covariance


def test_attributions_are_the_shapley_values_of_a_gaussian():
    weight, bias, std, rows, covariance = gaussian()
    found = attribute(full_vae(weight, bias, std), dataset_from(rows), samples=20_000)
    exact = np.stack([shapley(bias.numpy(), covariance.numpy(), row) for row in rows.numpy()])
    np.testing.assert_allclose(found.values, exact, atol=0.05)
    law = stats.multivariate_normal(bias.numpy(), covariance.numpy())
    np.testing.assert_allclose(found.score, -law.logpdf(rows.numpy()), atol=0.05)
    assert found.values[0].argmax() == 2
    assert found.ess.min() > 100


def test_orders_at_random_come_to_the_same():
    """Of nine columns, more than are asked by subsets: all orders of a Gaussian are 362,880, their mean is exact here.

    A Gaussian of equal columns, by symmetry: what a column adds depends on its own value and on the sum alone, so that
    its share is affine in the square of the row's columns; it is compared with 4,000 orders of the exact densities.
    """
    weight, std = torch.full((9, 1), 0.8), 0.6
    rows = torch.randn(2, 1) @ weight.T + std * torch.randn(2, 9)
    covariance = (weight @ weight.T + std**2 * torch.eye(9)).numpy()
    random, exact = np.random.default_rng(0), np.zeros((2, 9))
    for _ in range(500):
        order = random.permutation(9)
        for way in (order, order[::-1]):
            root = np.linalg.cholesky(covariance[np.ix_(way, way)])
            noise = np.linalg.solve(root, rows.numpy()[:, way].T).T
            exact[:, way] -= stats.norm.logpdf(noise) - np.log(np.diag(root))
    vae = linear_vae(weight, torch.zeros(9), std)
    found = attribute(vae, dataset_from(rows), samples=4000, orders=500)
    np.testing.assert_allclose(found.values, exact / 1000, atol=0.05)
    law = stats.multivariate_normal(np.zeros(9), covariance)
    np.testing.assert_allclose(found.score, -law.logpdf(rows.numpy()), atol=0.02)


KINDS = [
    *((name, {}) for name in NAMES),
    *(("gaussian", {"posterior": "iaf"}), ("units", {"prior": "flow"})),
]


@pytest.mark.parametrize(("name", "changes"), KINDS, ids=str)
def test_attributions_add_up_to_the_score(name, changes, tmp_path):
    """Of every likelihood: the score of its own draws, and one that is given."""
    splits = data_of(name, tmp_path)
    vae = model_of(name, splits, **changes)
    rows = splits.test.take(torch.arange(3))
    given = -score(vae, rows, samples=50).log_px.numpy()
    own = attribute(vae, rows, samples=50, refine=2, orders=2)
    np.testing.assert_allclose(own.values.reshape(3, -1).sum(1), own.score, atol=1e-6)
    other = attribute(vae, rows, score=given, samples=50, refine=2, orders=2)
    np.testing.assert_allclose(other.values.reshape(3, -1).sum(1), given, atol=1e-6)
    assert not other.values[rows.prepared(seed=0).isnan().numpy()].any()


def test_what_is_found_for_a_row_does_not_depend_on_the_rows_beside_it():
    weight, bias, std, rows, _ = gaussian()
    vae = full_vae(weight, bias, std)
    together = attribute(vae, dataset_from(rows), samples=200, common=True)
    alone = attribute(vae, dataset_from(rows[2:3]), samples=200, common=True)
    np.testing.assert_allclose(together.values[2], alone.values[0], atol=1e-9)


def test_columns_of_large_units_stand_out_only_where_they_are_unusual():
    """Of a column in thousandths the density is a thousand times as high: log 1000 nats less in every row."""
    weight, bias, std, rows, _ = gaussian()
    found = attribute(full_vae(weight, bias, std), dataset_from(rows), samples=4000)
    above = found.above(
        attribute(full_vae(weight, bias, std), dataset_from(rows[1:]), samples=4000)
    )
    assert above[0].argmax() == 2
    np.testing.assert_allclose(above[1:].mean(0), 0, atol=0.05)


def test_the_regret_is_what_the_encoder_loses():
    """q is 0.4 times as wide as p(z|x): KL = (s^2 - 1 - log s^2) / 2 in each of two latents, and refining finds it."""
    weight = torch.linalg.qr(torch.randn(6, 2))[0] * torch.tensor([2.0, 0.7])
    rows = torch.randn(20, 2) @ weight.T + 0.4 * torch.randn(20, 6)
    data = dataset_from(rows)
    for spread in (0.4, 1.0):
        vae = linear_vae(weight, torch.zeros(6), 0.4, spread=spread)
        found = outliers(vae, data, data, by="regret", samples=2000, refine=100)
        exact = spread**2 - 1 - math.log(spread**2)
        np.testing.assert_allclose(found.score, exact, atol=0.15)


def test_scores_are_placed_among_those_of_reference_rows():
    weight = torch.linalg.qr(torch.randn(6, 2))[0]
    vae = linear_vae(weight, torch.zeros(6), 0.4)
    law = stats.multivariate_normal(np.zeros(6), (weight @ weight.T + 0.16 * torch.eye(6)).numpy())
    reference = torch.from_numpy(law.rvs(99, random_state=0))
    rows = torch.stack([torch.zeros(6), torch.full((6,), 3.0), reference[0]])
    density = -law.logpdf(rows.numpy()), -law.logpdf(reference.numpy())
    usual = density[1].mean()
    wanted = {
        "nll": density,
        "typicality": (abs(density[0] - usual), abs(density[1] - usual)),
    }
    for by, (own, others) in wanted.items():
        found = outliers(vae, dataset_from(rows), dataset_from(reference), by=by)
        np.testing.assert_allclose(found.score, own, atol=1e-4)
        places = [1 - stats.percentileofscore(others, one, "strict") / 100 for one in own[:2]]
        np.testing.assert_allclose(found.p_value[:2], (1 + 99 * np.array(places)) / 100, atol=1e-9)
    # the mean is the likeliest row there is, and no row is like it
    assert outliers(vae, dataset_from(rows), dataset_from(reference)).p_value[0] == 1
    typical = outliers(vae, dataset_from(rows), dataset_from(reference), by="typicality")
    assert typical.p_value[0] < 0.1


def test_what_cannot_be_found_is_refused():
    vae = linear_vae(torch.ones(3, 1), torch.zeros(3), 0.5)
    data = dataset_from(torch.randn(5, 3))
    with pytest.raises(ValueError, match="`refine` must be 1 or more"):
        outliers(vae, data, data, by="regret", refine=0)
    with pytest.raises(ValueError, match="at least 20 draws"):
        attribute(vae, data, samples=19)


def planted(folder):
    """A run on a table, and new rows of the same law of which one has a wrong cell."""
    random = np.random.default_rng(0)
    rows = random.normal(size=(400, 1)) + 0.5 * random.normal(size=(400, 3))
    config = RunConfig(
        model=ModelConfig(latent_dim=1, hidden=(8,), likelihood="gaussian-shared"),
        train=TrainConfig(steps=300),
    )
    train(rows, config=config, out=folder / "run", progress=False)
    new = random.normal(size=(20, 1)) + 0.5 * random.normal(size=(20, 3))
    new[4, 1] = 9
    lines = [",".join(map(str, row)) for row in new.tolist()]
    path = folder / "new.csv"
    path.write_text("\n".join(["column 1,column 2,column 3", *lines]) + "\n", encoding="utf-8")
    return folder / "run", path


def test_the_command_names_the_row_and_the_column_and_writes_what_adds_up(tmp_path, capsys):
    run, path = planted(tmp_path)
    out = tmp_path / "scores.csv"
    few = ["--samples", "50", "--refine", "5"]
    asked = ["outliers", str(run), str(path), "--attribution", *few]
    assert command([*asked, "--out", str(out), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    worst = said["most_unusual"][0]
    assert worst["row"] == "4" and worst["p_value"] == pytest.approx(1 / (1 + said["reference"]))
    assert worst["columns"][0]["column"] == "column 2"
    lines = list(csv.DictReader(out.read_text(encoding="utf-8").splitlines()))
    assert len(lines) == 20
    for line in lines:
        parts = [float(value) for name, value in line.items() if name.endswith(" adds")]
        assert sum(parts) == pytest.approx(float(line["score"]), abs=1e-6)
    assert command(["outliers", str(run), "--by", "regret", *few]) == 0
    assert "regret, nats" in capsys.readouterr().out
    assert command([*asked, "--by", "regret"]) == 2
    assert "--attribution adds up to -log p(x)" in capsys.readouterr().err
