"""What stands first: a collapsed model and a simpler one that wins are told by every face."""

import json

import numpy as np
import pytest

from variform import ModelConfig, TrainConfig, cli, runs
from variform.config import EvaluationConfig, RunConfig


@pytest.fixture(scope="module")
def collapsed(tmp_path_factory):
    """A run whose posterior is the prior: each nat of its KL term cost a thousand."""
    folder = tmp_path_factory.mktemp("collapsed")
    z = np.random.default_rng(0).normal(size=(300, 2))
    rows = z @ np.random.default_rng(1).normal(size=(2, 6)) + 0.1 * np.random.default_rng(2).normal(size=(300, 6))
    np.save(folder / "rows.npy", rows)
    config = RunConfig(
        source=str(folder / "rows.npy"),
        model=ModelConfig(latent_dim=2, likelihood="gaussian-shared", hidden=(4,)),
        train=TrainConfig(steps=200, learning_rate=0.02, beta=1000.0),
        evaluation=EvaluationConfig(nll_samples=5),
    )
    return runs.train(config, folder / "run")


def test_a_collapsed_model_is_said_to_be_one_first_and_everywhere(collapsed, capsys):
    active = collapsed.evaluation["active_units"]
    assert active["count"] == 0
    first = collapsed.evaluation["warnings"][0]
    assert first.startswith("No latent dimension is active (0 of 2)")
    assert "--batch-size" in first
    page = (collapsed.folder / "report.html").read_text()
    assert page.index("No latent dimension is active") < page.index('<p class="summary">')
    assert "No latent dimension is active" in (collapsed.folder / "explorer.html").read_text()
    for words in (["evaluate", str(collapsed.folder)], ["info", str(collapsed.folder)]):
        cli.app(words, exit_on_error=False, result_action="return_value")
        assert "No latent dimension is active" in " ".join(capsys.readouterr().out.split())
    cli.app(["evaluate", str(collapsed.folder), "--json"], exit_on_error=False, result_action="return_value")
    assert json.loads(capsys.readouterr().out)["warnings"][0] == first


def test_a_simpler_model_that_is_better_is_named_with_the_difference(collapsed):
    numbers = collapsed.evaluation
    difference = numbers["nll"]["mean"] - numbers["baselines"]["pca"]["nll"]["mean"]
    [sentence] = [text for text in numbers["warnings"] if "PCA has the better NLL" in text]
    assert f"{difference:.3g}" in sentence
