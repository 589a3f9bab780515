"""How much memory each process of a sharded training needs for a checkpoint, above what it had before.

    torchrun --nproc-per-node 2 benchmarks/sharded_memory.py [WIDTH]

The networks have two hidden layers of WIDTH units each, 4600 by default: 49.7 million weights.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from variform import ModelConfig, TrainConfig, build_objective, build_vae
from variform.data.reading import read
from variform.system import processes
from variform.training import checkpoints, parts
from variform.training.step import Step
from variform.training.validation import no_sums

MIB = 2**20


def status(name: str) -> float:
    """A line of /proc/self/status, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) / 1024


def begin() -> float:
    """Forget the peak so far; gives what the process has now."""
    Path("/proc/self/clear_refs").write_text("5")
    return status("VmRSS")


def say(what: str, before: float) -> None:
    print(
        f"process {processes.rank()}: {what}: {status('VmHWM') - before:,.0f} MiB above {before:,.0f}"
    )


def trained(width: int) -> Step:
    """Two steps of a sharded model."""
    train = read(np.random.default_rng(0).integers(0, 256, (64, 28, 28), dtype=np.uint8)).train
    config = TrainConfig(batch_size=8, steps=4, sharded=True)
    vae = build_vae(
        ModelConfig(likelihood="bernoulli", latent_dim=10, hidden=(width, width)), train.schema
    )
    step = Step(build_objective(vae, config), config, 4)
    x, _ = vae.batch(train, torch.arange(8))
    for _ in range(2):
        with processes.share(8) as (rows, weight):
            step(x[rows], 8, weight)
    return step


def main(folder: Path, width: int) -> None:
    step, sums = trained(width), no_sums()
    weights = sum(parameter.numel() for parameter in step.objective.parameters())
    print(f"process {processes.rank()}: {weights:,} weights, {weights * 4 / MIB:,.0f} MiB")
    before = begin()
    state = step.trained.capture(sums)
    say("to capture the state", before)
    state.best = {name: value.clone() for name, value in state.best.items()}
    groups = (state.weights, state.best, state.optimizer)
    held = sum(parts.own(value).nbytes for group in groups for value in group.values())
    print(f"process {processes.rank()}: its part of the state: {held / MIB:,.0f} MiB")
    before = begin()
    checkpoints.save(folder, state, "{}")
    say("to write it", before)
    del state
    before = begin()
    step.trained.restore(checkpoints.load(folder, "{}", step.trained), sums)
    say("to read and restore it", before)
    processes.any_of(True)
    for path in sorted(folder.iterdir()) if processes.rank() == 0 else ():
        print(f"{path.name}: {path.stat().st_size / MIB:,.1f} MiB")


if __name__ == "__main__":
    with processes.joined(), tempfile.TemporaryDirectory() as temporary:
        shared = Path(processes.broadcast(temporary.encode()).decode())
        main(shared, int(sys.argv[1]) if len(sys.argv) > 1 else 4600)
        processes.any_of(True)
