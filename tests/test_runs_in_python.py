"""Runs in Python: `variform.train` makes of rows in memory what the command makes of the same rows in a file."""

import dataclasses
import inspect
import shutil
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader

import variform
from variform import (
    DataConfig,
    EvaluationConfig,
    ModelConfig,
    RunConfig,
    TrainConfig,
    evaluate,
    impute,
    load,
    open_run,
    read,
    save,
    train,
)
from variform.runs.folder import Run
from variform.runs.train import resume_run, train_run

QUICK: dict[str, Any] = {
    "latent_dim": 2,
    "steps": 40,
    "hidden": (8,),
    "nll_samples": 20,
    "pictures": False,
    "progress": False,
}


def rows_of(count: int = 200) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.normal(size=(count, 2)) @ [[1.0, 2.0, 0.5], [0.0, 1.0, 1.0]] + 0.1 * rng.normal(
        size=(count, 3)
    )


def config_of(source: str) -> RunConfig:
    """What QUICK says, as configurations."""
    return RunConfig(
        source=source,
        model=ModelConfig(latent_dim=2, hidden=(8,), likelihood="gaussian-shared"),
        train=TrainConfig(steps=40),
        evaluation=EvaluationConfig(nll_samples=20),
    )


def same_weights(run: Run, other: Run) -> bool:
    mine, theirs = run.vae.state_dict(), other.vae.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[key], theirs[key]) for key in mine)


def test_an_array_in_memory_trains_as_its_file_does(tmp_path):
    np.save(tmp_path / "rows.npy", rows_of())
    by_file = train_run(config_of(str(tmp_path / "rows.npy")), tmp_path / "file", pictures=False)
    run = train(rows_of(), out=tmp_path / "memory", likelihood="gaussian-shared", **QUICK)
    assert same_weights(run, by_file)
    assert run.evaluation["nll"] == by_file.evaluation["nll"]


@pytest.mark.parametrize(
    ("cycle", "condition"), [(("0", "1", "2"), ("label",)), (("oak", "steel", None), ())]
)
def test_labels_beside_an_array_are_kept_with_it(tmp_path, cycle, condition):
    labels = [cycle[row % 3] for row in range(200)]
    options = QUICK | {"likelihood": "gaussian-shared", "condition": condition}
    run = train(rows_of(), labels=labels, out=tmp_path / "run", **options)
    splits: Any = run.data()
    names = [*splits.schema.classes, None]  # the last one of a label that is not known, -1
    index, own = splits.train.index.tolist(), splits.train.labels.tolist()
    assert [names[label] for label in own] == [labels[row] for row in index]


def test_a_table_in_memory_keeps_its_index_its_orders_and_its_labels(tmp_path):
    frame = pd.DataFrame(rows_of(), columns=["a", "b [mm]", "c"])
    frame["size"] = pd.Categorical(["s", "m", "l", None] * 50, ["s", "m", "l"], ordered=True)
    frame.index = [f"part {number}" for number in range(200)]
    labels = ["old", "new"] * 100
    run = train(frame, labels=labels, out=tmp_path / "run", likelihood="mixed", **QUICK)
    splits: Any = run.data()
    assert splits.fingerprint == read(frame, DataConfig(cells="mixed"), labels=labels).fingerprint
    assert splits.schema.columns == ("a", "b [mm]", "c", "size")
    assert splits.schema.categories[3] == ("s", "m", "l")
    rows = splits.train.index.tolist()
    assert splits.train.names.tolist() == [f"part {row}" for row in rows]
    assert [splits.schema.classes[label] for label in splits.train.labels.tolist()] == [
        labels[row] for row in rows
    ]


def test_a_run_of_rows_in_memory_can_be_moved_opened_and_gone_on_with(tmp_path):
    run = train(rows_of(), out=tmp_path / "run", likelihood="gaussian-shared", **QUICK)
    shutil.move(tmp_path / "run", tmp_path / "moved")
    moved = open_run(tmp_path / "moved")
    assert moved.evaluate(samples=20)["nll"] == moved.evaluation["nll"]
    (tmp_path / "moved" / "evaluation.json").unlink()
    assert same_weights(resume_run(tmp_path / "moved", pictures=False), run)


def test_an_overwritten_run_keeps_its_rows_aside(tmp_path):
    options = QUICK | {"likelihood": "gaussian-shared", "out": tmp_path / "run"}
    train(rows_of(), **options)
    train(rows_of() + 5, overwrite=True, **options)
    assert np.array_equal(np.load(tmp_path / "run/replaced-1/rows/array.npy"), rows_of())
    assert np.array_equal(np.load(tmp_path / "run/rows/array.npy"), rows_of() + 5)


def test_every_function_takes_a_vae_a_model_and_a_run(tmp_path):
    x = rows_of()
    x[::7, 1] = np.nan
    run = train(x, out=tmp_path / "run", likelihood="gaussian-shared", cells="gaps", **QUICK)
    test = run.data().test
    assert (
        evaluate(run, test, samples=20)
        == evaluate(run.model, test, samples=20)
        == evaluate(run.vae, test, samples=20)
    )
    filled = [
        impute(model, test, samples=20, refine=0).values for model in (run, run.model, run.vae)
    ]
    assert np.array_equal(filled[0], filled[1]) and np.array_equal(filled[0], filled[2])
    save(run, tmp_path / "a.safetensors")
    run.model.save(tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    assert np.array_equal(
        load(tmp_path / "a.safetensors").decode(np.ones((1, 2))), run.model.decode(np.ones((1, 2)))
    )


def test_runs_are_compared_from_python(tmp_path):
    runs = [
        train(rows_of(), out=tmp_path / str(seed), seed=seed, likelihood="gaussian-shared", **QUICK)
        for seed in (0, 1)
    ]
    found = runs[0].compare(runs[1])
    assert found.to_dict() == runs[0].compare(tmp_path / "1").to_dict()
    (difference,) = found.groups[0]["differences"].values()
    first, second = (run.evaluation["nll"]["mean"] for run in runs)
    assert abs(difference["nll"]["mean"]) == pytest.approx(abs(first - second), abs=1e-6)


def test_a_picture_of_the_report_is_drawn_of_a_run_without_pictures(tmp_path):
    run = train(rows_of(), out=tmp_path / "run", likelihood="gaussian-shared", **QUICK)
    [points] = run.plot("latent").axes[0].collections
    expected = run.model.encode(run.data().test.raw.numpy())
    np.testing.assert_allclose(points.get_offsets(), expected, atol=1e-5)
    with pytest.raises(
        ValueError, match=r"has none of conditions\. It has reconstructions, samples"
    ):
        run.plot("conditions")


def test_the_line_between_two_rows_goes_through_the_mean_of_their_codes(tmp_path):
    run = train(rows_of(), out=tmp_path / "run", likelihood="gaussian-shared", **QUICK)
    x = rows_of()
    line = run.model.interpolate(x[:2], x[2:4], steps=3)
    codes = run.model.encode(x[:4])
    assert line[:, 1] == pytest.approx(run.model.decode((codes[:2] + codes[2:]) / 2), abs=1e-5)
    assert line[:, 0] == pytest.approx(run.model.reconstruct(x[:2]), abs=1e-5)
    with pytest.raises(
        ValueError, match="`second` must have a row for each of `first`; got 1 for 2"
    ):
        run.model.interpolate(x[:2], x[:1])


def test_a_data_set_is_a_sequence_of_prepared_rows():
    data = read(rows_of(), DataConfig(scaling="standard")).train
    whole = data.prepared()
    assert torch.equal(torch.stack(list(data)), whole)
    assert torch.equal(data[3], whole[3]) and torch.equal(data[-1], whole[-1])
    assert torch.equal(data[2:9:3], whole[2:9:3]) and torch.equal(data[[4, 0]], whole[[4, 0]])
    assert torch.equal(data[torch.tensor([5])], whole[[5]])
    assert torch.equal(data[np.arange(len(data)) < 2], whole[:2])
    torch_data: Any = data
    assert torch.equal(torch.cat(list(DataLoader(torch_data, batch_size=32))), whole)
    with pytest.raises(IndexError):
        data[len(data)]


def test_options_are_those_of_the_configurations_and_no_others(tmp_path):
    fields = {
        field.name
        for of in (DataConfig, ModelConfig, TrainConfig, EvaluationConfig)
        for field in dataclasses.fields(of)
    }
    assert fields < set(inspect.signature(train).parameters)
    with pytest.raises(ValueError, match=r"`epoch` must be a field .* Did you mean `epochs`"):
        train(rows_of(), epoch=3)
    with pytest.raises(ValueError, match="`labels` is for rows in memory"):
        train("digits", labels=[1])
    with pytest.raises(ValueError, match="labels must come from one place"):
        train({"a": [1.0, 2.0], "b": [1, 2]}, labels=[1, 2], label="b")
    with pytest.raises(TypeError, match="DataFrame of pandas or polars"):
        train(object(), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_without_a_folder_takes_the_first_name_that_is_free(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = [
        train(rows_of(), likelihood="gaussian-shared", **QUICK).folder.as_posix() for _ in range(2)
    ]
    assert names == ["runs/array", "runs/array-2"]


def test_every_epoch_is_told(tmp_path):
    told = []
    run = train(
        rows_of(), out=tmp_path / "run", likelihood="gaussian-shared", on_epoch=told.append, **QUICK
    )
    assert [row["epoch"] for row in told] == list(range(1, len(told) + 1))
    assert told[-1]["step"] == 40 and variform.Run is type(run)
