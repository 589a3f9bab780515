"""Trackers: what TensorBoard, MLflow and Weights & Biases read back is what the history says."""

import sys
from typing import Any

import numpy as np
import pytest

from variform import train
from variform.faces import tracking

QUICK: dict[str, Any] = {
    "latent_dim": 1,
    "epochs": 3,
    "likelihood": "gaussian-shared",
    "nll_samples": 20,
    "pictures": False,
    "progress": False,
}


def trained(folder, on_epoch) -> list[dict[str, Any]]:
    rows = []

    def both(row):
        on_epoch(row)
        rows.append(row)

    train(np.random.default_rng(0).normal(size=(90, 2)), out=folder, on_epoch=both, **QUICK)
    return rows


def test_tensorboard_reads_the_history(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    rows = trained(tmp_path / "run", tracking.tensorboard(tmp_path / "events"))
    events: Any = EventAccumulator(str(tmp_path / "events")).Reload()
    assert set(events.Tags()["scalars"]) == set(tracking.numbers(rows[0]))
    seen = [(event.step, event.value) for event in events.Scalars("elbo/valid")]
    assert seen == [(row["step"], pytest.approx(row["valid_elbo"], rel=1e-6)) for row in rows]


def test_mlflow_reads_the_history(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri((tmp_path / "mlruns").as_uri())
    rows = trained(tmp_path / "run", tracking.mlflow("vaes"))
    run = mlflow.active_run()
    mlflow.end_run()
    history = mlflow.MlflowClient().get_metric_history(run.info.run_id, "elbo/valid")
    assert [(metric.step, metric.value) for metric in history] == [
        (row["step"], row["valid_elbo"]) for row in rows
    ]


def test_wandb_keeps_the_history_offline(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    rows = trained(tmp_path / "run", tracking.wandb("vaes"))
    last = dict(wandb.run.summary)
    wandb.finish()
    assert last["elbo/valid"] == rows[-1]["valid_elbo"] and last["_step"] == rows[-1]["step"]


@pytest.mark.parametrize("name", ["tensorboard", "mlflow", "wandb"])
def test_a_package_that_is_missing_is_named(name, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    for module in [module for module in sys.modules if module.startswith(f"{name}.")]:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ValueError, match=rf"{name} is missing\. Use pip install '.*{name}"):
        getattr(tracking, name)("here")
