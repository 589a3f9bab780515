"""What each process of a test job does: `torchrun --nproc-per-node 2 processes_worker.py FOLDER`."""

import contextlib
import json
import signal
import sys
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from safetensors.torch import save_file

from variform import DataConfig, ModelConfig, TrainConfig, build_objective, build_vae, fit
from variform.data.reading import read
from variform.objectives import ELBO
from variform.system import processes
from variform.training.fit import Interrupted

BASE = {"batch_size": 32, "epochs": 3, "learning_rate": 1e-2}
CASES = {
    "plain": {},
    "everything": {
        "warmup": 9,
        "schedule": "cosine",
        "clip_norm": 3.0,
        "samples": 3,
        "kl": "monte-carlo",
        "ema": 0.8,
    },
    "noise": {
        "objective": "iwae",
        "samples": 3,
        "gradient": "dreg",
        "noise": "salt-and-pepper",
        "noise_level": 0.3,
    },
    "rmsprop": {"optimizer": "rmsprop"},
    "in parts": {"accumulate": 3, "samples": 2, "clip_norm": 3.0},
    "weighted": {"accumulate": 2, "ema": 0.8},
    "recomputed": {"recompute": True, "samples": 2},
    "sharded recomputed": {"sharded": True, "recompute": True},
    "sharded": {"sharded": True, "clip_norm": 3.0, "ema": 0.8},
    "sharded per feature": {"sharded": True, "ema": 0.8},
    "sharded rmsprop": {"sharded": True, "optimizer": "rmsprop"},
    "bf16": {"precision": "bf16"},
    "optimal variance": {"samples": 2},
    "diverging": {},
    "sharded diverging": {"sharded": True, "ema": 0.8},
}
LIKELIHOODS = {
    "optimal variance": "gaussian-optimal",
    "sharded per feature": "gaussian-per-feature",
}
STOPPED = ("everything", "sharded", "sharded per feature")
"""Cases that the two processes do not train in one go: they are stopped after an epoch, and resumed."""


class Exploding(ELBO):
    """Its loss is a million times as large in the second step of the second epoch."""

    present = -1

    def at_step(self, step):
        self.present = step
        super().at_step(step)

    def forward(self, x, context=None):
        terms = super().forward(x, context)
        return (
            terms._replace(loss=terms.loss * 1e6) if self.training and self.present == 5 else terms
        )


def splits(condition=()):
    """97 training rows: the last batch of an epoch has one row, which two processes cannot share."""
    pixels = np.random.default_rng(0).integers(0, 256, (130, 4, 4), dtype=np.uint8)
    worker_splits = read(
        pixels,
        labels=np.arange(130) % 3,
        config=DataConfig(binarise="dynamic", condition=condition),
    )
    train = worker_splits.train.take(torch.arange(97) % len(worker_splits.train))
    return train, worker_splits.valid


def trained(case, *, folder=None, resume=False, on_epoch=None, **changes):
    """The history of one fit and the weights of its best epoch."""
    torch.set_default_dtype(torch.float32 if case == "bf16" else torch.float64)
    config = TrainConfig(**BASE | CASES[case] | changes)
    train, valid = splits(("label",) if case == "everything" else ())
    if case == "weighted":
        train, valid = (
            replace(data, weights=torch.arange(len(data)) % 5) for data in (train, valid)
        )
    likelihood = LIKELIHOODS.get(case, "bernoulli")
    vae = build_vae(
        ModelConfig(latent_dim=2, hidden=(7,), dropout=0.3, likelihood=likelihood), train.schema
    )
    objective = build_objective(vae, config)
    if "diverging" in case:
        objective.__class__ = Exploding
    history = fit(objective, train, valid, config, folder=folder, resume=resume, on_epoch=on_epoch)
    assert len(history.rollbacks) == ("diverging" in case)
    return history.rows, {name: value.clone() for name, value in objective.state_dict().items()}


def left_with_threads():
    """How many of many tensors another thread still holds when all should have settled."""
    held, reduce = [], dist.all_reduce

    def remembered(values, *options):
        held.append(weakref.ref(values))
        return reduce(values, *options)

    def is_left():
        assert processes.any_of(True) == [True]
        processes.settle()
        return held[-1]() is not None

    dist.all_reduce = remembered
    try:
        return sum(is_left() for _ in range(2000))
    finally:
        dist.all_reduce = reduce


def main(folder):
    with processes.joined():
        (folder / f"left-{processes.rank()}.txt").write_text(str(left_with_threads()))
        for case in CASES:
            kept = {}
            if case in STOPPED:
                kept = {"folder": folder / f"{case} stopped"}
                kept["folder"].mkdir(exist_ok=True)
                with contextlib.suppress(Interrupted):
                    trained(case, on_epoch=lambda _: signal.raise_signal(signal.SIGTERM), **kept)
            rows, weights = trained(case, resume=bool(kept), **kept)
            if processes.rank() == 0:
                (folder / f"{case}.json").write_text(json.dumps(rows))
                save_file(weights, folder / f"{case}.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
