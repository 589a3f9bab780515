"""How fast a VAE trains here, beside pythae, a plain PyTorch loop, a JAX scan and the floor; and how well.

    make peers    # once: .venv-peers, from benchmarks/peers.txt
    make bench    # or: make bench ARGS="--data FOLDER --batches 128 --out FILE"

The model is the same for all: 784-400-(20 means, 20 log-variances) and 20-400-784, ReLU, cross-entropy of grey values
from logits plus the KL term, Adam at 1e-3, one sample, float32, the same cores and threads. The images are those of a
folder of IDX files, or synthetic ones of which half the pixels are 0; the training rows are cut to whole batches, and
each contestant has them in memory, in the form that it likes best, before any clock starts.

Steady state. One process per contestant trains, and after every epoch waits until it is its turn again: all others
sleep while one is measured. A measurement is the training steps of one epoch, with its shuffling and its batches,
without validation and files. Everyone's first epoch (compilation, warm-up) does not count.

- floor: the matrix products of a step, forward and backward, into memory that is there already; nothing else.
- torch: what a careful user writes: tensors in memory, a permutation, indexing, fused Adam.
- jax: one `lax.scan` per epoch with donated state, optax.adam.
- pythae: its own VAE and trainer, given encoder and decoder; the per-sample Dataset and the DataLoader are its own. Its
  callbacks tell when training ends and validation begins.
- eager, uncentred: variform without compilation; variform without `centre`, which starts as the other tools do.
- variform: `fit`, compiled where TrainConfig knows `compile`, with checkpoints; the time is the history's
  `train_seconds` (without it validation counts too).

Whole run. A new process per run, the clock from the call to the last file: validation after each epoch, the best
weights kept, the model written. `fit` and `save` of variform (without pictures or test scores, which the others do not
make), the TrainingPipeline of pythae. Starting Python, imports and reading the images are not in it; what torch imports
when the first optimiser is made, about a second, is. Twice, with one compiler cache, empty at first: "first" pays for
compilation, "again" is what every later run on the machine takes.

Quality. The weights of the first whole runs, scored by one estimator written here: log p(x) by importance sampling, the
same noise for all. Differences are paired by image; ± is one standard error over images. The runs differ in seed and in
initial weights, which each tool chooses itself; variform's default `centre` starts the decoder at the mean image.

With --nll instead: the time of n images times k samples of importance-sampled log p(x), by `evaluation.density.score`,
by pythae's `get_nll` (few images, scaled linearly; it takes one image at a time, and k in whole batches of 100, at
least one), and by the decoder's matrix products alone.

With --network conv: two stages of 4 x 4 convolutions with stride 2 and 32 and 64 filters before the 400 units, and
their transposes after; the floor is their products, as torch's operations give them, and those of the dense layers.

What each contestant does stands in contestants.py. A network has its place in LAYERS and CONTESTANTS there, and in
NETWORKS here.
"""

import argparse
import contextlib
import dataclasses
import datetime
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from contestants import CHUNK, CONTESTANTS, LATENT, PEERS, PIXELS, Task

Network = Callable[[Any], Any]

ROOT = Path(__file__).parents[1]


class Worker:
    """A worker process, seen from the driver."""

    def __init__(self, task: Task, options: argparse.Namespace, cache: str) -> None:
        Path(task.folder).mkdir()
        self.name, self.log = task.name, Path(task.folder) / "stderr.txt"
        python = options.peers if task.name in PEERS else sys.executable
        threads = str(task.threads)
        environment = os.environ | {
            "OMP_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
            "TQDM_DISABLE": "1",
        }
        environment |= {"TORCHINDUCTOR_CACHE_DIR": cache, "JAX_PLATFORMS": "cpu"}
        environment |= {
            "PYTHONPATH": str(ROOT / "src")
        }  # this checkout is measured, whatever is installed
        command = [
            python,
            str(ROOT / "benchmarks/contestants.py"),
            json.dumps(dataclasses.asdict(task)),
        ]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, stderr=log, env=environment, **pipes)

    def answer(self) -> float:
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(
                f"{self.name} ended without an answer:\n{self.log.read_text()[-3000:]}"
            )
        return float(line)

    def turn(self) -> float:
        time.sleep(0.1)  # threads of the one before stop spinning
        with contextlib.suppress(
            BrokenPipeError
        ):  # then there is no answer either, which is told with its reason
            print(file=self.process.stdin, flush=True)
        return self.answer()

    def close(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait()


# --- the driver ---------------------------------------------------------------------------------------------------


def write_data(options: argparse.Namespace) -> tuple[int, np.ndarray, str]:
    """Write uint8 images as options.store; gives the number of training rows, the test images and a description."""
    if options.data:
        from variform import read

        splits = read(options.data)
        parts = {
            part: getattr(splits, part).raw.numpy().reshape(-1, 28, 28)
            for part in ("train", "valid", "test")
        }
    else:
        rng = np.random.default_rng(0)
        factors = 40 * rng.normal(size=(LATENT // 2, PIXELS)).astype(np.float32)

        def images(rows: int) -> np.ndarray:
            values = (
                rng.normal(size=(rows, len(factors))).astype(np.float32) @ factors
            )  # half of them are negative
            return values.clip(0, 255).astype(np.uint8).reshape(-1, 28, 28)

        parts = {
            "train": images(options.rows),
            "valid": images(options.rows // 9),
            "test": images(options.images),
        }
    multiple = math.lcm(*options.batches)
    rows = min(len(parts["train"]), options.rows) // multiple * multiple
    if not rows:
        raise SystemExit(
            f"--rows must be at least {multiple}, which every batch size divides; got {options.rows}."
        )
    counts = {"train": rows, "valid": max(1, rows // 9), "test": options.images}
    parts = {part: parts[part][:count] for part, count in counts.items()}
    np.savez(options.store, **parts)
    name = Path(options.data).name if options.data else "synthetic images"
    return (
        rows,
        parts["test"],
        name + "; " + ", ".join(f"{part} {len(rows):,}" for part, rows in parts.items()),
    )


def task(
    options: argparse.Namespace, name: str, mode: str, batch: int, epochs: int, label: str = ""
) -> Task:
    folder = str(Path(options.store).parent / f"{mode}{label}-{batch}-{name}")
    counts = (options.threads, options.nll_images, options.nll_samples)
    return Task(options.network, name, mode, batch, epochs, options.store, folder, *counts)


def alternate(options: argparse.Namespace, tasks: list[Task]) -> dict[str, list[float]]:
    """Seconds of each task in each repeat: one after the other, and each time another one first."""
    with contextlib.ExitStack() as stack:
        workers = []
        for item in tasks:
            workers.append(
                stack.enter_context(
                    contextlib.closing(Worker(item, options, f"{item.folder}-cache"))
                )
            )
            workers[-1].answer()  # warmed up
        seconds: dict[str, list[float]] = {item.name: [] for item in tasks}
        for repeat in range(options.repeats):
            first = repeat % len(workers)
            for worker in [*workers[first:], *workers[:first]]:
                seconds[worker.name].append(worker.turn())
    return seconds


def whole_runs(
    options: argparse.Namespace, batch: int
) -> tuple[dict[str, list[float]], dict[str, Path]]:
    """Seconds of the first and the second whole run of each contestant, and the weights of the first."""
    seconds: dict[str, list[float]] = {name: [] for name in options.names if name != "floor"}
    files = {}
    for label in ("first", "again"):
        for name in seconds:
            item = task(options, name, "whole", batch, options.epochs, label)
            with contextlib.closing(
                Worker(item, options, f"{options.store}-cache-{batch}")
            ) as worker:
                seconds[name].append(worker.answer())
            files.setdefault(name, Path(item.folder) / "weights.npz")
    return seconds, files


def mlp(w: dict[str, Any]) -> tuple[Network, Network]:
    """Encoder and decoder of the MLP with the weights W1, b1 to W4, b4."""
    import torch

    def encoder(x: Any) -> Any:
        return torch.relu(x @ w["W1"].T + w["b1"]) @ w["W2"].T + w["b2"]

    return encoder, lambda z: torch.relu(z @ w["W3"].T + w["b3"]) @ w["W4"].T + w["b4"]


def conv(w: dict[str, Any]) -> tuple[Network, Network]:
    """Encoder and decoder of the convolutional network with the weights W1, b1 to W8, b8."""
    from torch.nn.functional import conv2d, conv_transpose2d, linear, relu

    def encoder(x: Any) -> Any:
        h = relu(conv2d(x.reshape(-1, 1, 28, 28), w["W1"], w["b1"], 2, 1))
        h = relu(conv2d(h, w["W2"], w["b2"], 2, 1)).flatten(1)
        return linear(relu(linear(h, w["W3"], w["b3"])), w["W4"], w["b4"])

    def decoder(z: Any) -> Any:
        h = relu(linear(relu(linear(z.flatten(0, -2), w["W5"], w["b5"])), w["W6"], w["b6"]))
        h = relu(conv_transpose2d(h.unflatten(1, (-1, 7, 7)), w["W7"], w["b7"], 2, 1))
        logits = conv_transpose2d(h, w["W8"], None, 2, 1) + (
            w["b8"] if w["b8"].ndim == 3 else w["b8"][:, None, None]
        )
        return logits.reshape(*z.shape[:-1], PIXELS)

    return encoder, decoder


def nll(network: str, weights: dict[str, np.ndarray], images: np.ndarray, samples: int) -> Any:
    """-log p(x) of each image by importance sampling from q(z|x), in nats, (N,) float64."""
    import torch

    w = {name: torch.from_numpy(value) for name, value in weights.items()}
    encoder, decoder = NETWORKS[network](w)
    generator = torch.Generator().manual_seed(0)
    parts = []
    for raw in torch.from_numpy(images.reshape(-1, PIXELS)).split(50):
        x = raw.float() / 255
        mean, log_var = encoder(x - w.get("centre", 0)).chunk(2, 1)
        noise = torch.randn(samples, *mean.shape, generator=generator)
        z = mean + torch.exp(log_var / 2) * noise
        logits = decoder(z)
        log_px = (x * logits - torch.nn.functional.softplus(logits)).sum(-1)
        log_weight = log_px + (noise**2 + log_var - z**2).sum(-1) / 2
        parts.append(math.log(samples) - log_weight.double().logsumexp(0))
    return torch.cat(parts)


# A network: the encoder and the decoder that the weights of its contestants make.
NETWORKS = {"mlp": mlp, "conv": conv}


# --- tables -------------------------------------------------------------------------------------------------------


def table(title: str, head: str, rows: list[list[str]]) -> str:
    names = head.split(" | ")
    rule = ["---"] + ["---:"] * (len(names) - 1)
    return "\n".join(
        [f"## {title}", "", *(f"| {' | '.join(row)} |" for row in [names, rule, *rows]), ""]
    )


def times(
    values: list[float], scale: float, digits: int, seconds: dict[str, list[float]]
) -> list[str]:
    """Least and median time, and the median as a multiple of the floor's and of pythae's."""
    median = statistics.median(values)
    others = [
        statistics.median(seconds[name]) if name in seconds else math.nan
        for name in ("floor", "pythae")
    ]
    return [f"{value * scale:.{digits}f}" for value in (min(values), median)] + [
        "" if math.isnan(other) else f"{median / other:.2f}" for other in others
    ]


def steady_rows(batch: int, steps: int, seconds: dict[str, list[float]]) -> list[list[str]]:
    return [
        [
            name,
            str(batch),
            *times(values, 1e3 / steps, 3, seconds),
            f"{steps * batch / statistics.median(values):,.0f}",
        ]
        for name, values in seconds.items()
    ]


def whole_rows(batch: int, seconds: dict[str, list[float]]) -> list[list[str]]:
    pythae = seconds.get("pythae")
    return [
        [name, str(batch), f"{first:.1f}", f"{again:.1f}"]
        + ([f"{first / pythae[0]:.2f}", f"{again / pythae[1]:.2f}"] if pythae else ["", ""])
        for name, (first, again) in seconds.items()
    ]


def reference_name(options: argparse.Namespace) -> str:
    """Whose weights the others are compared to."""
    return "torch" if "torch" in options.names else options.names[0]


def quality_rows(
    options: argparse.Namespace, batch: int, files: dict[str, Path], test: Any
) -> list[list[str]]:
    """NLL of each contestant, and its difference to the plain loop's (or the first one's) on the same images."""

    def estimate(values: Any) -> str:
        return f"{values.mean():.2f} ± {values.std() / math.sqrt(len(values)):.2f}"

    nlls = {}
    for name, path in files.items():
        with np.load(path) as weights:
            nlls[name] = nll(options.network, dict(weights), test, options.samples)
    reference = nlls[reference_name(options)]
    return [
        [
            name,
            str(batch),
            estimate(values),
            "" if values is reference else estimate(values - reference),
        ]
        for name, values in nlls.items()
    ]


def output(*command: str) -> str:
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.strip()


def versions(python: str, *packages: str) -> str:
    code = "import sys, importlib.metadata as m; print(', '.join(f'{name} {m.version(name)}' for name in sys.argv[1:]))"
    return output(python, "-c", code, *packages)


def header(options: argparse.Namespace, data: str) -> str:
    """Machine, versions, commit and date."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    model = next(
        (line.split(": ")[1] for line in lines if line.startswith("model name")),
        platform.processor(),
    )
    changes = " + changes" if output("git", "status", "--porcelain") else ""
    facts = [
        f"{datetime.date.today()}, {model}, {options.threads} of {os.cpu_count()} cores",
        f"variform at commit {output('git', 'rev-parse', '--short', 'HEAD')}{changes}, Python "
        f"{platform.python_version()}, {versions(sys.executable, 'torch', 'numpy')}",
    ]
    if set(options.names) & set(PEERS):
        facts.append(f"peers: {versions(options.peers, 'pythae', 'torch', 'jax', 'optax')}")
    return (
        "\n".join(f"- {fact}" for fact in [*facts, f"data: {data}; network: {options.network}"])
        + "\n"
    )


# --- the command --------------------------------------------------------------------------------------------------


def nll_report(options: argparse.Namespace) -> list[str]:
    tasks = [
        task(options, name, "nll", CHUNK, 0)
        for name in options.names
        if name in ("variform", "pythae", "floor")
    ]
    seconds = alternate(options, tasks)
    rows = [[name, *times(values, 1, 2, seconds)] for name, values in seconds.items()]
    title = f"NLL: {options.nll_images:,} images, {options.nll_samples:,} samples each"
    return [table(title, "contestant | s, min | median | to the floor | to pythae", rows)]


def training_report(options: argparse.Namespace, rows: int, test: np.ndarray) -> list[str]:
    steady, whole, quality = [], [], []
    for batch in options.batches:
        print(f"batch {batch}: steady state, whole runs, quality ...", file=sys.stderr, flush=True)
        if options.repeats:
            tasks = [
                task(options, name, "steady", batch, options.repeats + 1) for name in options.names
            ]
            steady += steady_rows(batch, rows // batch, alternate(options, tasks))
        if options.epochs:
            seconds, files = whole_runs(options, batch)
            whole += whole_rows(batch, seconds)
            quality += quality_rows(options, batch, files, test)
    columns = "contestant | batch | ms per step, min | median | to the floor | to pythae | images/s"
    tables = [
        table(
            f"Steady state, {options.repeats} measurements of {rows:,} images each", columns, steady
        )
    ]
    columns = "contestant | batch | s, first | again | first, to pythae | again, to pythae"
    tables.append(
        table(f"Whole run with validation and files, epochs: {options.epochs}", columns, whole)
    )
    title = f"Quality, epochs: {options.epochs}; NLL({options.samples}) of {len(test):,} test images in nats"
    tables.append(
        table(title, f"contestant | batch | NLL | minus {reference_name(options)}'s", quality)
    )
    return [
        text for text, is_asked in zip(tables, (steady, whole, quality), strict=True) if is_asked
    ]


def parse(arguments: list[str]) -> argparse.Namespace:
    def comma(text: str) -> list[str]:
        return [word for word in text.split(",") if word]

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    parser = argparse.ArgumentParser(
        description="How fast variform trains, beside others and beside the floor."
    )
    parser.add_argument("--data", help="folder of IDX files; synthetic images without it")
    parser.add_argument("--network", default="mlp", choices=list(NETWORKS))
    parser.add_argument(
        "--batches", type=lambda text: list(map(int, comma(text))), default=[128, 512]
    )
    parser.add_argument("--rows", type=int, default=54_000, help="training rows, at most")
    parser.add_argument(
        "--repeats", type=int, default=5, help="measurements of the steady state; 0 for none"
    )
    parser.add_argument(
        "--epochs", type=int, default=20, help="epochs of a whole run; 0 for none, and no quality"
    )
    parser.add_argument("--images", type=int, default=2000, help="test images for the quality")
    parser.add_argument(
        "--samples", type=int, default=100, help="importance samples per test image"
    )
    parser.add_argument(
        "--threads",
        type=int,
        default=cores,
        help="threads and cores; all that it may use by default",
    )
    parser.add_argument(
        "--skip", type=comma, default=[], help="contestants to leave out, for example pythae,jax"
    )
    parser.add_argument(
        "--peers", default=str(ROOT / ".venv-peers/bin/python"), help="Python that has the peers"
    )
    parser.add_argument("--nll", action="store_true", help="time log p(x) instead of training")
    parser.add_argument("--nll-images", type=int, default=256)
    parser.add_argument("--nll-samples", type=int, default=1000)
    parser.add_argument("--out", type=Path, help="file for the tables")
    options = parser.parse_args(arguments)
    options.names = [name for name in CONTESTANTS[options.network] if name not in options.skip]
    if not options.names or (set(options.names) & set(PEERS) and not Path(options.peers).exists()):
        parser.error(
            f"{' and '.join(PEERS)} need {options.peers}; run `make peers`, or --skip {','.join(PEERS)}"
        )
    return options


def main(arguments: list[str]) -> None:
    options = parse(arguments)
    if hasattr(os, "sched_setaffinity"):  # the workers inherit it; JAX has no other way to be told
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.threads])
    with tempfile.TemporaryDirectory() as folder:
        options.store = str(Path(folder) / "data.npz")
        rows, test, data = write_data(options)
        options.nll_images = min(options.nll_images, rows)
        print(header(options, data), flush=True)
        tables = nll_report(options) if options.nll else training_report(options, rows, test)
    print("\n".join(tables))
    if options.out:
        options.out.write_text("\n".join([header(options, data), *tables]), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
