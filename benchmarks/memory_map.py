"""Data larger than memory: a file of 10 GiB is read and trained from a memory map, beside rows of it held in memory.

    python benchmarks/memory_map.py FOLDER [--gib 10] [--width 784] [--steps 3000] [--keep]

Writes FOLDER/rows.npy (random bytes, every one of them written) and deletes it at the end; with --keep it stays for the
next call, which then does not write it again. With --steps 0 only the reading from a cold disk is measured. Peak memory
is that of this process: RssAnon is what it allocated, VmHWM counts the mapped pages of the file too, which the system
takes back when it needs them.
"""

import argparse
import os
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from variform import DataConfig, ModelConfig, TrainConfig, build_objective, build_vae, fit, read
from variform.data.dataset import Dataset, StoredRows
from variform.data.order import epoch_order
from variform.data.sources.source import Shards

SHAPES = {784: (28, 28), 3072: (3, 32, 32)}
IN_MEMORY = 2**30
BLOCK, WINDOW, BATCH = 1024, 128 * 1024, 128


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--gib", type=float, default=10)
    parser.add_argument("--width", type=int, choices=sorted(SHAPES), default=784)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    path = options.folder / "rows.npy"
    try:
        write(path, int(options.gib * 2**30) // options.width, options.width)
        if options.steps:
            warm(path, options.width, options.steps)
        cold(path)
    finally:
        if not options.keep:
            path.unlink(missing_ok=True)


def write(path: Path, rows: int, width: int) -> None:
    if path.is_file() and np.load(path, mmap_mode="r").shape == (rows, width):
        return
    started, noise = time.monotonic(), np.random.default_rng(0)
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "|u1", "fortran_order": False, "shape": (rows, width)}
        )
        for start in range(0, rows, 2**16):
            file.write(noise.bytes(width * (min(start + 2**16, rows) - start)))
        os.fsync(file.fileno())
    print(
        f"written: {path.stat().st_size / 2**30:.2f} GiB in {time.monotonic() - started:.0f} s",
        flush=True,
    )


def warm(path: Path, width: int, steps: int) -> None:
    """Peak memory of reading and training from the map; then its speed beside the same rows in memory, in turns."""
    config = TrainConfig(steps=steps, batch_size=128)
    with peak() as most:
        started = time.monotonic()
        splits = read(path, DataConfig(shape=SHAPES[width], memory_map="on"))
        print(
            f"read: {time.monotonic() - started:.1f} s, {len(splits.train):,} training rows",
            flush=True,
        )
        started = time.monotonic()
        moments = splits.train.moments()
        print(f"moments: {time.monotonic() - started:.1f} s", flush=True)
        valid = splits.valid.take(torch.arange(512))
        speed(splits.train, valid, moments, config)
    memory = f"peak RssAnon {most[0]:.2f} GiB, VmHWM {status('VmHWM'):.2f} GiB"
    print(f"read, moments and {steps:,} steps: {memory}", flush=True)

    # As many rows as fit into the copy, drawn from the whole file: an epoch of both has one order.
    rows = splits.train.rows
    assert rows is not None
    some = rows[
        torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))[: IN_MEMORY // width]
    ]
    on_disk = Dataset(splits.train.raw, splits.schema, rows=some)
    memory = on_disk.take(torch.arange(len(on_disk)))
    rates: dict[str, list[float]] = {"memory": [], "map": []}
    for _ in range(3):
        losses = set()
        for name, data in (("memory", memory), ("map", on_disk)):
            examples, loss = speed(data, valid, moments, config)
            rates[name].append(examples)
            losses.add(loss)
        assert len(losses) == 1  # the same bits
    for name, values in rates.items():
        print(f"{name}: {', '.join(f'{value:,.0f}' for value in values)} examples/s")
    ratio = statistics.median(rates["map"]) / statistics.median(rates["memory"])
    print(f"map / memory, medians: {ratio:.3f}; the losses are equal", flush=True)


def speed(
    train: Dataset, valid: Dataset, moments: tuple[torch.Tensor, torch.Tensor], config: TrainConfig
) -> tuple[float, float]:
    """Examples a second of `fit`, and its training loss."""
    model = ModelConfig(likelihood="bernoulli", latent_dim=20, hidden=(400,))
    objective = build_objective(build_vae(model, train.schema, moments=moments), config)
    row = fit(objective, train, valid, config).rows[-1]
    return row["examples_per_second"], row["train_loss"]


def cold(path: Path, seconds: float = 15) -> None:
    """Rows a second from a file of which the system can cache an eighth: all rows shuffled, blocks, blocks announced.

    The system is made to forget the file whenever it has read an eighth of it.
    """
    rows, cache = len(np.load(path, mmap_mode="r")), path.stat().st_size // 8
    blocks = f"blocks of {BLOCK} rows"
    for name, block, ahead in (
        ("all rows", None, 0),
        (blocks, BLOCK, 0),
        (f"{blocks}, announced", BLOCK, WINDOW),
    ):
        stored, known = None, 0
        read_before = disk_bytes()
        started, count = time.monotonic(), 0
        order = epoch_order(rows, 0, 0, block=block)
        for place, index in enumerate(order.split(BATCH)):
            if stored is None or disk_bytes() - known > cache:
                stored = None  # pages that are mapped are not forgotten
                forget(path)
                stored = mapped(path)
                known = disk_bytes()
                if ahead:
                    start = place * BATCH // ahead * ahead
                    stored.expect(order[start : start + ahead])
            if ahead and place * BATCH % ahead == 0:
                stored.expect(order[place * BATCH : place * BATCH + 2 * ahead])
            count += len(stored.index_select(0, index))
            if time.monotonic() - started > seconds:
                break
        took, used = time.monotonic() - started, count * path.stat().st_size / rows
        print(
            f"cold, cache of {cache / 2**30:.2f} GiB, shuffle of {name}: {count / took:,.0f} rows/s,"
            f" {(disk_bytes() - read_before) / used:,.1f} bytes read from the disk for one that is used",
            flush=True,
        )


def mapped(path: Path) -> StoredRows:
    values = np.load(path, mmap_mode="r")
    return StoredRows(Shards((np.asarray(values),), ((path, values.offset),)), np.dtype(np.uint8))


def forget(path: Path) -> None:
    """Ask the system to drop its cached pages of the file: of this file only, which needs no privilege."""
    with open(path, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def disk_bytes() -> int:
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("read_bytes"))


def status(field: str) -> float:
    """A field of /proc/self/status in GiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field + ":")) / 2**20


@contextmanager
def peak() -> Iterator[list[float]]:
    """The greatest RssAnon while the block runs, looked at every 5 ms, in GiB."""
    most, done = [0.0], threading.Event()

    def look() -> None:
        while not done.wait(0.005):
            most[0] = max(most[0], status("RssAnon"))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield most
    finally:
        done.set()
        thread.join()


if __name__ == "__main__":
    main()
