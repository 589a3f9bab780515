"""N processes with one thread each against one process with N threads: which trains faster, and do they compute alike?

    python benchmarks/processes.py                       # synthetic images
    python benchmarks/processes.py FOLDER --batches 512  # IDX files, as Fashion-MNIST comes

The model is 784-400-20, float32, Adam; the batch is the same, shared among the processes, which torchrun starts and
gloo joins. What is timed are the training steps of `fit`, without validation; the median over all epochs but the first
of each start. The contestants start in turn, several times. N is the number of cores that may be used.

Equality: the largest difference of weights and losses after the first epoch, relative to the largest weight of the same
tensor and to the loss; in float32, whose rounding the optimiser carries on from step to step, and in float64.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from variform import ModelConfig, TrainConfig, build_objective, build_vae, fit, read
from variform.data.dataset import Splits
from variform.system import processes

TORCHRUN = [
    "-m",
    "torch.distributed.run",
    "--rdzv-backend",
    "c10d",
    "--rdzv-endpoint",
    "localhost:0",
]


def images(folder: str | None) -> Splits:
    """The images of a folder of IDX files, or synthetic ones of which half the pixels are 0."""
    if folder:
        return read(folder)
    chance = np.random.default_rng(0)
    shapes = chance.random((10, 28, 28)) * (chance.random((10, 28, 28)) < 0.5)
    return read(
        (shapes[chance.integers(0, 10, 30_000)] * chance.integers(64, 256, (30_000, 1, 1))).astype(
            "u1"
        )
    )


def work(folder: Path, task: dict[str, Any]) -> None:
    """What each process does: train once, and note its epochs and the weights after the first one."""
    splits = images(task["data"])
    torch.set_default_dtype(getattr(torch, task["dtype"]))
    config = TrainConfig(
        epochs=task["epochs"], batch_size=task["batch"], compile=task["compile"], device="cpu"
    )
    with processes.joined():
        objective = build_objective(
            build_vae(
                ModelConfig(likelihood="bernoulli", latent_dim=20, hidden=(400,)), splits.schema
            ),
            config,
        )

        def note(row: dict[str, Any]) -> None:
            if row["epoch"] == 1 and processes.rank() == 0:
                save_file(
                    {name: value.clone() for name, value in objective.state_dict().items()},
                    folder / "weights",
                )

        rows = fit(objective, splits.train, splits.valid, config, on_epoch=note).rows
        if processes.rank() == 0:
            (folder / "rows.json").write_text(
                json.dumps({"rows": rows, "threads": torch.get_num_threads()})
            )


def trained(
    count: int, threads: int, **task: Any
) -> tuple[list[dict[str, Any]], dict[str, torch.Tensor]]:
    """Rows of the history and weights after the first epoch of a training with `count` processes."""
    start = [*TORCHRUN, "--nproc-per-node", str(count)] if count > 1 else []
    with tempfile.TemporaryDirectory() as temporary:
        command = [sys.executable, *start, __file__, "--work", temporary, json.dumps(task)]
        environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        done = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            sys.exit(done.stderr)
        report = json.loads((Path(temporary) / "rows.json").read_text())
        assert report["threads"] == threads
        return report["rows"], load_file(Path(temporary) / "weights")


def difference(one: Any, many: Any) -> str:
    """The largest relative differences between two results of `trained`, after the first epoch."""
    (rows, weights), (other_rows, other_weights) = one, many
    apart = [
        (
            (weights[key] - other_weights[key]).abs().max() / weights[key].abs().max().clamp(1e-30)
        ).item()
        for key in weights
    ]
    losses = [(rows[0][key], other_rows[0][key]) for key in ("train_loss", "valid_loss")]
    by = [abs(first / second - 1) for first, second in losses]
    return f"weights {max(apart):.1e}, training loss {by[0]:.1e}, validation loss {by[1]:.1e}"


def main() -> None:
    cores = len(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="?", help="folder of IDX files; synthetic images without it")
    parser.add_argument(
        "--batches",
        type=int,
        nargs="+",
        default=[128, 512],
        help="rows of a step, over all processes",
    )
    parser.add_argument("--processes", type=int, default=cores, help="N; all cores by default")
    parser.add_argument(
        "--epochs", type=int, default=4, help="epochs of each start; the first does not count"
    )
    parser.add_argument("--starts", type=int, default=2, help="starts of each contestant")
    options = parser.parse_args()
    count = options.processes
    if count < 2 or options.epochs < 2:
        parser.error(
            f"there must be 2 processes and 2 epochs at least; got {count} and {options.epochs}"
        )
    contestants = {
        f"1 process, {count} threads": (1, count, "off"),
        f"{count} processes, 1 thread each": (count, 1, "off"),
        f"1 process, {count} threads, compiled": (1, count, "on"),
    }
    alone, many, _ = contestants
    print(f"{options.data or 'synthetic images'}; torch {torch.__version__}; {cores} cores")
    for batch in options.batches:
        speeds: dict[str, list[float]] = {name: [] for name in contestants}
        results = {}
        for _ in range(options.starts):
            for name, (number, threads, compiles) in contestants.items():
                task = {
                    "data": options.data,
                    "batch": batch,
                    "epochs": options.epochs,
                    "compile": compiles,
                }
                results[name] = trained(number, threads, dtype="float32", **task)
                speeds[name] += [row["examples_per_second"] for row in results[name][0][1:]]
        middle = {name: statistics.median(values) for name, values in speeds.items()}
        print(
            f"batch {batch}, median of {len(speeds[alone])} epochs (lowest to highest), and ratio to {alone}"
        )
        for name, values in speeds.items():
            span = f"({min(values):,.0f} to {max(values):,.0f})"
            print(
                f"  {name:32}{middle[name]:9,.0f} examples/s {span:22}{middle[name] / middle[alone]:5.2f}"
            )
        print(f"  float32, {many} against {alone}: {difference(results[alone], results[many])}")
        task = {
            "data": options.data,
            "batch": batch,
            "epochs": 1,
            "compile": "off",
            "dtype": "float64",
        }
        print(
            f"  float64, the same: {difference(trained(1, count, **task), trained(count, 1, **task))}",
            flush=True,
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        work(Path(sys.argv[2]), json.loads(sys.argv[3]))
    else:
        main()
