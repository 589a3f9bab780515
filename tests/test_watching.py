"""Watching a training: the history that grows with it, and what is shown of it."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from variform import ModelConfig, TrainConfig, build_objective, build_vae, fit, read
from variform.faces import cli
from variform.runs.records import read_history

TIMES = {"seconds", "train_seconds", "examples_per_second"}
EPOCHS = 5


def fitted(folder: Path, **options: Any):
    data = read(np.random.default_rng(0).normal(size=(90, 3)))
    config = TrainConfig(epochs=EPOCHS, checkpoint_every="2epochs")
    vae = build_vae(
        ModelConfig(latent_dim=1, hidden=(4,), likelihood="gaussian-shared"), data.schema
    )
    return fit(
        build_objective(vae, config), data.train, data.valid, config, folder=folder, **options
    )


def untimed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name not in TIMES} for row in rows]


def test_every_epoch_is_appended_to_the_history_as_it_ends(tmp_path):
    path, seen = tmp_path / "history.jsonl", []

    def look(row):
        seen.append((os.stat(path).st_ino, len(path.read_text().splitlines())))

    history = fitted(tmp_path, on_epoch=look)
    (number,) = {number for number, _ in seen}  # one file: who follows it need not open it anew
    assert [count for _, count in seen] == list(range(1, EPOCHS + 1))
    assert number == os.stat(path).st_ino and read_history(path) == history.rows


@pytest.mark.parametrize("torn", [b"", b'{"epoch": 4, "st'])
def test_epochs_after_the_last_checkpoint_come_again_once(tmp_path, torn):
    def end(row):
        if row["epoch"] == 3:
            raise SystemExit("power failure")

    with pytest.raises(SystemExit):
        fitted(tmp_path / "run", on_epoch=end)
    path = tmp_path / "run/history.jsonl"
    with path.open("ab") as file:
        file.write(torn)
    assert [row["epoch"] for row in read_history(path)] == [
        1,
        2,
        3,
    ]  # the checkpoint is that of epoch 2
    fitted(tmp_path / "run", resume=True)
    whole = fitted(tmp_path / "whole")
    assert untimed(read_history(path)) == untimed(whole.rows)


def test_progress_as_json_is_the_history(tmp_path, capfd):
    history = fitted(tmp_path, progress="json")
    out, err = capfd.readouterr()
    assert out == "" and [json.loads(line) for line in err.splitlines()] == history.rows


@pytest.mark.parametrize(
    ("style", "lines"), [("none", 0), (False, 0), ("lines", EPOCHS), (True, EPOCHS)]
)
def test_without_a_terminal_there_is_a_line_an_epoch_or_nothing(tmp_path, capfd, style, lines):
    fitted(tmp_path, progress=style)
    _, err = capfd.readouterr()
    assert sum(line.startswith("epoch ") for line in err.splitlines()) == lines


def test_a_style_that_there_is_not_is_refused(tmp_path):
    with pytest.raises(ValueError, match="`progress` must be one of"):
        fitted(tmp_path, progress="bars")


def test_a_quiet_training_says_nothing_and_does_the_same(tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("rows.npy", np.random.default_rng(0).normal(size=(300, 2)))
    options = [
        "--likelihood",
        "gaussian-shared",
        "--latent-dim",
        "1",
        "--steps",
        "30",
        "--nll-samples",
        "20",
    ]
    assert cli.run(["train", "rows.npy", *options, "--quiet", "--out", "quiet"]) == 0
    out, err = capfd.readouterr()
    spoken = [line for line in out.splitlines() if not line.startswith("Warning: ")]
    assert (spoken, err) == ([], "")
    assert Path("quiet/report.html").is_file()
