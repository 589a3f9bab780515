"""Training beside other work: the time of a step with one thread, with all, and as variform chooses.

Four processes wait, one for each way, and are asked in turns: first on the machine as it is, then beside processes that
keep every processor busy. Torch's own way of waiting is in it too, threads that spin for 15 ms before they sleep.

    python benchmarks/busy.py
"""

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager

CASES = {
    "the demo: 64-256-128-2, batch 128": (64, (256, 128), 2, "gaussian", 128),
    "784-400-20, batch 128": (784, (400,), 20, "bernoulli", 128),
    "784-400-20, batch 512": (784, (400,), 20, "bernoulli", 512),
}
TORCHS_SPINS = "300000"


def ways():
    """Environments by name."""
    free = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("OMP_", "GOMP_", "MKL_NUM"))
    }
    everything = str(len(os.sched_getaffinity(0)))
    return {
        "as chosen": free,
        "1 thread": free | {"OMP_NUM_THREADS": "1"},
        "all threads": free | {"OMP_NUM_THREADS": everything},
        "all threads, torch's spinning": free
        | {"OMP_NUM_THREADS": everything, "GOMP_SPINCOUNT": TORCHS_SPINS},
    }


def worker():
    """Reads the name of a case and a number of steps from each line, and answers with the milliseconds of a step."""
    from variform import ELBO, ModelConfig, TrainConfig, build_vae
    from variform.data.reading import dataset_from
    from variform.training.step import Step

    import torch  # isort: skip (after variform, as in the command line, so that its threads wait as variform says)

    steps = {}
    for name, (width, hidden, latents, likelihood, batch) in CASES.items():
        data = dataset_from(torch.rand(batch, width))
        vae = build_vae(
            ModelConfig(latent_dim=latents, hidden=hidden, likelihood=likelihood), data.schema
        )
        step = Step(ELBO(vae), TrainConfig(batch_size=batch, compile="off"), 100)
        steps[name] = (step, data.batch(torch.arange(batch)))
    for line in sys.stdin:
        name, count = json.loads(line)
        step, x = steps[name]
        with step.arithmetic():
            step(x, len(x), 1.0)
            begun, used = time.perf_counter(), time.process_time()
            for _ in range(count):
                step(x, len(x), 1.0)
            wall, cpu = time.perf_counter() - begun, time.process_time() - used
        print(json.dumps([1e3 * wall / count, 1e3 * cpu / count]), flush=True)


def spin(stop):
    """Keep a processor busy."""
    while not stop.is_set():
        sum(range(10_000))


@contextmanager
def busy(count):
    """Inside, so many processes keep processors busy."""
    stop = multiprocessing.Event()
    others = [multiprocessing.Process(target=spin, args=(stop,)) for _ in range(count)]
    for other in others:
        other.start()
    try:
        yield
    finally:
        stop.set()
        for other in others:
            other.join()


def measure(workers, steps, repeats):
    """Medians of milliseconds and of processor milliseconds a step, by case and way, asked in turns."""
    timings = {}
    for _ in range(repeats):
        for case in CASES:
            for way, process in workers.items():
                process.stdin.write(json.dumps([case, steps]) + "\n")
                process.stdin.flush()
                timings.setdefault((case, way), []).append(json.loads(process.stdout.readline()))
    return {
        key: [statistics.median(column) for column in zip(*values, strict=True)]
        for key, values in timings.items()
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    if options.worker:
        return worker()
    command, pipe = [sys.executable, __file__, "--worker"], subprocess.PIPE
    workers = {
        way: subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True)
        for way, environment in ways().items()
    }
    processors = len(os.sched_getaffinity(0))
    try:
        for title, count in (("quiet", 0), (f"beside {processors} busy processes", processors)):
            print(f"\n| {title}: ms a step (of all processors together) | {' | '.join(workers)} |")
            print(f"| --- |{' ---: |' * len(workers)}")
            with busy(count):
                timings = measure(workers, options.steps, options.repeats)
            for case in CASES:
                cells = (
                    f"{timings[case, way][0]:.2f} ({timings[case, way][1]:.2f})" for way in workers
                )
                print(f"| {case} | {' | '.join(cells)} |", flush=True)
    finally:
        for process in workers.values():
            process.stdin.close()
            process.wait()


if __name__ == "__main__":
    main()
