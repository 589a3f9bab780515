"""A hundred pairs of trainings that are started together into one folder: one of each pair is refused, none is lost.

The two train on other data, whose rows lie about 0 and about 1,000, and have other seeds. Each is a process of its own,
forked from one that has torch loaded, so that both reach the folder within some milliseconds; which of them starts
first, and how much, is drawn. Ways: a folder that is not there, one that is empty, one that holds a finished run, with
overwrite, and a run that both resume. It prints for each way how often exactly one was refused, who won, and whether
configuration, data, model, checkpoint, history and numbers of what is left are all of the winner.

    python benchmarks/two_at_once.py --pairs 100
"""

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from variform.config.model import ModelConfig
from variform.config.run import EvaluationConfig, RunConfig
from variform.config.training import TrainConfig
from variform.runs.folder import open_run
from variform.runs.train import resume_run, train_run
from variform.training import checkpoints

NAMES = {"monday": 0.0, "tuesday": 1000.0}
WAYS = ("not there", "empty", "overwrite", "resume")
MODEL = ModelConfig(latent_dim=1, hidden=(4,), likelihood="gaussian")
FEW = EvaluationConfig(nll_samples=2)


def config(place: Path, name: str, steps: int = 40) -> RunConfig:
    train = TrainConfig(steps=steps, seed=list(NAMES).index(name), checkpoint_every="5steps")
    return RunConfig(
        source=str(place / name / "data.npy"), model=MODEL, train=train, evaluation=FEW
    )


def child(place: Path, folder: Path, name: str, way: str, delay: float) -> int:
    """The number of a new process that trains; its exit code is that of the command line."""
    if pid := os.fork():
        return pid
    time.sleep(delay)
    try:
        if way == "resume":
            resume_run(folder, pictures=False)
        else:
            train_run(config(place, name), folder, overwrite=way == "overwrite", pictures=False)
        code = 0
    except OSError as error:
        is_told = any(
            text in str(error) for text in ("one process at a time", "must be new or empty")
        )
        (place / f"{name}.txt").write_text(str(error))
        code = 2 if is_told else 3
    except BaseException as error:
        (place / f"{name}.txt").write_text(repr(error))
        code = 1
    os._exit(code)


def belongs(folder: Path, place: Path, name: str) -> bool:
    """Whether everything in `folder` is of the training `name`."""
    numbers, run = json.loads((folder / "evaluation.json").read_text()), open_run(folder)
    fingerprint = json.loads((folder / "data.json").read_text())["fingerprint"]
    rows = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    sessions = json.loads((folder / "environment.json").read_text())["sessions"]
    schema = run.vae.schema
    assert schema is not None
    return (
        replace(run.config, train=config(place, name).train) == config(place, name)
        and run.config.train.seed == list(NAMES).index(name)
        and abs(schema.low[0] - NAMES[name]) < 100
        and numbers["data"]["fingerprint"] == fingerprint == sessions[-1]["data"]
        and {session["data"] for session in sessions} == {fingerprint}
        and rows[-1]["step"] == 40
        and run.data().fingerprint == fingerprint
        and checkpoints.CHECKPOINT in os.listdir(folder)
        and not [path for path in folder.iterdir() if path.name.startswith(".")]
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance, outcomes = random.Random(options.seed), {way: Counter() for way in WAYS}
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        for name, mean in NAMES.items():
            (place / name).mkdir()
            np.save(
                place / name / "data.npy",
                np.random.default_rng(0).normal(mean, size=(300, 3)).astype(np.float32),
            )
        for number in range(options.pairs):
            way, folder = WAYS[number % len(WAYS)], place / f"run-{number}"
            if way == "empty":
                folder.mkdir()
            if way == "overwrite":
                train_run(config(place, "monday", steps=5), folder, pictures=False)
            if way == "resume":
                train_run(config(place, "monday"), folder, pictures=False)
                (folder / "model.safetensors").unlink()
            names = chance.sample(list(NAMES), 2)
            pids = {
                name: child(place, folder, name, way, chance.choice([0, 0, 0.002, 0.02]))
                for name in names
            }
            codes = {
                name: os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for name, pid in pids.items()
            }
            if sorted(codes.values()) == [0, 2]:
                winner = min(codes, key=lambda name: codes[name])
                outcomes[way][f"{winner} won"] += 1
                outcomes[way]["one refused"] += 1
                outcomes[way]["all of the winner's"] += belongs(
                    folder, place, "monday" if way == "resume" else winner
                )
            else:
                outcomes[way][f"codes {sorted(codes.values())}"] += 1
                print(
                    codes,
                    [
                        (place / f"{name}.txt").read_text()
                        for name in names
                        if codes[name] not in (0,)
                    ],
                )
            shutil.rmtree(folder)
            sys.stdout.flush()
    for way, counts in outcomes.items():
        print(
            f"{way}: {sum(counts[f'{name} won'] for name in NAMES)} pairs; "
            + str(dict(sorted(counts.items())))
        )
    print(
        f"one refused: {sum(counts['one refused'] for counts in outcomes.values())} of {options.pairs} pairs"
    )


if __name__ == "__main__":
    main()
