"""Training anew on the answers of a design study: which rows, which weights, which model."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from variform import DataConfig, ModelConfig, RunConfig, TrainConfig
from variform.config.run import EvaluationConfig
from variform.design.weighting import rank_weights
from variform.faces import cli
from variform.runs.design_training import NAME, WEIGHT
from variform.runs.folder import open_run
from variform.runs.records import read_axes
from variform.runs.train import train_run


def test_weights_are_those_of_the_ranks():
    values = np.random.default_rng(0).permutation(np.arange(2000.0) // 3)
    weights = rank_weights(values)
    ranks = stats.rankdata(values, method="min") - 1
    np.testing.assert_allclose(weights / weights.max(), (1e-3 * 2000) / (1e-3 * 2000 + ranks))
    assert weights.mean() == pytest.approx(1)
    others = rank_weights(np.array([values.min() - 1, np.nan]), values)
    assert others[0] == pytest.approx(weights.max())
    assert others[1] / others[0] == pytest.approx(2 / (2 + 2000))  # behind all


JUDGE = """
import numpy as np

def tube(rows):
    mass = rows["width"] * rows["wall"]
    return {"mass": np.where(rows["width"] > 3, np.nan, mass)}
"""

PROBLEM = """
run = "known"
evaluator = "judge:tube"
budget = 6
batch = 6
optimiser = "random"
spaces = ["raw"]
beside = []

[[objectives]]
response = "mass"
"""


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """A run of tubes of which some have a known mass, and a study of six more."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "judge.py").write_text(JUDGE)
    (tmp_path / "problem.toml").write_text(PROBLEM)
    random = np.random.default_rng(0)
    table = pd.DataFrame({"width": random.uniform(1, 3.2, 120), "wall": random.uniform(0, 1, 120)})
    table = table.assign(mass=table.width * table.wall, note=[f"tube {row}" for row in range(120)])
    table.loc[::10, "mass"] = np.nan
    table.to_csv("tubes.csv", index=False)
    config = RunConfig(
        source="tubes.csv",
        data=DataConfig(response=("mass",), id="note"),
        model=ModelConfig(latent_dim=1, hidden=(6,), likelihood="gaussian-per-feature"),
        train=TrainConfig(epochs=5, learning_rate=0.01),
        evaluation=EvaluationConfig(nll_samples=10),
    )
    return train_run(config, tmp_path / "known", pictures=False)


def test_a_model_is_trained_anew_on_known_and_new_designs(workspace, capsys):
    assert cli.run(["design", "problem.toml"]) == 0
    assert cli.run(["design", "retrain", "problem.toml", "--epochs", "2", "--out", "anew"]) == 0
    out, said = capsys.readouterr()
    results = pd.read_csv("runs/problem/results.csv", dtype=str).to_dict("records")
    valid = [row for row in results if row["valid"] == "true"]
    before, run = workspace.data(), open_run("anew")
    assert f"{len(valid)} new designs stand among the training rows" in said
    data = run.data()
    sizes = [
        (len(getattr(data, part)), len(getattr(before, part)))
        for part in ("train", "valid", "test")
    ]
    assert (
        sizes[0][0] == sizes[0][1] + len(valid)
        and sizes[1][0] == sizes[1][1]
        and sizes[2][0] == sizes[2][1]
    )
    # rows of a part stay in it, with their names, and new designs have those of the study
    names = data.train.names.tolist()
    assert set(before.train.names.tolist()) | {row["id"] for row in valid} == set(names)
    assert set(data.test.names.tolist()) == set(before.test.names.tolist())
    for row in valid:
        place = names.index(row["id"])
        found = [*data.train.raw[place].tolist(), data.train.responses["mass"][place]]
        assert found == pytest.approx(
            [float(row[name]) for name in ("width", "wall", "mass")], rel=1e-6
        )
    # weights by rank, of validation rows by the same ranks
    mass = data.train.responses["mass"]
    np.testing.assert_allclose(data.train.weights, rank_weights(mass), rtol=1e-12)
    expected = rank_weights(data.valid.responses["mass"], mass)
    np.testing.assert_allclose(data.valid.weights, expected, rtol=1e-12)
    assert np.isnan(mass).any()
    # the model, its scaling and its axes
    assert run.config.model == workspace.config.model
    assert run.vae.schema.scale == workspace.vae.schema.scale
    assert (run.config.train.learning_rate, run.config.train.epochs) == (pytest.approx(1e-3), 2)
    assert (run.config.data.weight, run.config.data.id) == (WEIGHT, NAME)
    assert f"{read_axes(run.folder / 'axes.json')['aligned']['most']:.1%}" in out.replace("\n", " ")
    assert not torch.equal(run.vae.decoder.output.weight, workspace.vae.decoder.output.weight)


def test_what_cannot_be_trained_on_is_told(workspace, capsys, tmp_path):
    command = ["design", "retrain", "problem.toml", "--out", "anew"]
    assert cli.run(command) == 2
    assert "has none. Run variform design problem.toml first" in " ".join(
        capsys.readouterr().err.split()
    )
    (tmp_path / "problem.toml").write_text(
        PROBLEM.replace('run = "known"', 'source = "known/rows.csv"')
    )
    pd.DataFrame(np.random.default_rng(0).random((60, 2)), columns=["width", "wall"]).to_csv(
        "known/rows.csv", index=False
    )
    assert cli.run(command) == 2
    assert "has a source and no run" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "anew").exists()


def test_the_latents_of_the_run_stand_beside_the_columns_that_are_searched(workspace, tmp_path):
    (tmp_path / "problem.toml").write_text(PROBLEM.replace("beside = []\n", "seeds = 2\n"))
    assert cli.run(["design", "problem.toml"]) == 0
    results = pd.read_csv("runs/problem/results.csv")
    counts = results.groupby(["space", "seed"]).size()
    assert {"raw", "latent", "pca-1", "pca-2"} <= set(results["space"]) and (counts == 6).all()
