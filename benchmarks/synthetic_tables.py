"""Synthetic tables at equal time: variform beside TVAE and CTGAN, judged alike.

    python benchmarks/synthetic_tables.py TABLE.csv --peers PYTHON --seconds 60 --seeds 3 --discrete cut,color

PYTHON is that of an environment with ctgan (0.12.1 was the version seen). Every contestant has a process of its own
with one thread, and as many CPU seconds by that process's clock for all that it does from the table to a trained model:
on a machine with nothing else to do that is the wall time. The contestants take turns seed by seed. A peer is
interrupted when its time is over; variform measures its steps first and trains as many as fit. Then each draws as many
rows as it was trained on, variform from the sampler `posterior`, and the measures of `evaluation.likeness` and
`evaluation.privacy` hold them against the same test rows, which no contestant saw. What is printed are means over the
seeds and their standard errors.
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

THREADS = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
OURS = ("variform",)
PEERS = ("TVAE", "CTGAN")
BATCH = 128
MOST = 10_000  # rows that predictions are trained on
MEASURED = 150  # steps that are timed


class EnoughError(Exception):
    """The time is over."""


def enough(*_: Any) -> None:
    raise EnoughError


def peer(name: str, train: Path, out: Path, discrete: list[str], seconds: float, seed: int) -> None:
    """Fit a synthesiser of ctgan until its CPU time is over; its rows as CSV."""
    import ctgan
    import joblib
    import numpy as np
    import pandas as pd
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    np.random.seed(seed)
    table = pd.read_csv(train)
    model = getattr(ctgan, name)(epochs=10**6, enable_gpu=False)
    start = time.process_time()
    signal.signal(signal.SIGPROF, enough)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    with joblib.parallel_config(backend="sequential"):
        with contextlib.suppress(EnoughError):
            model.fit(table, discrete)
        signal.setitimer(signal.ITIMER_PROF, 0)
        losses = model.loss_values
        epochs = 0 if losses is None or losses.empty else int(losses["Epoch"].max()) + 1
        print(f"{name}: {time.process_time() - start:.0f} CPU s, {epochs} epochs", flush=True)
        model.sample(len(table)).to_csv(out, index=False)


def own(
    name: str, table: Path, out: Path, categories: list[str], seconds: float, seed: int
) -> None:
    """Train a model of a mixed table in the given CPU time; its rows as an array."""
    import numpy as np
    import torch

    from variform import ModelConfig, TrainConfig, build_objective, build_vae, fit
    from variform.evaluation.exploration import generate
    from variform.evaluation.samplers import SAMPLERS

    splits = splits_of(table, categories)
    torch.set_num_threads(1)
    start = time.process_time()
    model = ModelConfig(likelihood="mixed", latent_dim=10, hidden=(256, 256))

    def trained(steps: int) -> Any:
        torch.manual_seed(seed)
        vae = build_vae(model, splits.schema, moments=splits.train.moments())
        config = TrainConfig(
            steps=steps, batch_size=BATCH, compile="off", seed=seed, learning_rate=2e-3
        )
        fit(build_objective(vae, config), splits.train, splits.valid, config)
        return vae

    def took(steps: int) -> float:
        before = time.process_time()
        trained(steps)
        return time.process_time() - before

    step = (took(2 * MEASURED) - took(MEASURED)) / MEASURED
    left = seconds - (time.process_time() - start)
    steps = int(left / step)
    vae = trained(steps)
    sampler = SAMPLERS["posterior"].fit(vae, splits.train, splits.valid, seed=seed)
    vae = vae.with_prior(sampler.prior)
    print(f"{name}: {time.process_time() - start:.0f} CPU s, {steps} steps", flush=True)
    np.save(out, generate(vae, len(splits.train), draw=True, seed=seed))


def splits_of(table: Path, categories: list[str]) -> Any:
    from variform import read
    from variform.config.data import DataConfig

    return read(str(table), DataConfig(cells="mixed", categories=tuple(categories)))


def write_train(splits: Any, table: Path, out: Path) -> None:
    """The training rows as the file has them, for the peers."""
    import pandas as pd

    rows = pd.read_csv(table).iloc[splits.train.index.numpy()]
    rows.to_csv(out, index=False)


def judged(splits: Any, path: Path, categories: list[str], seed: int) -> dict[str, float]:
    """The numbers of one contestant's rows."""
    import numpy as np
    import pandas as pd

    from variform.evaluation.likeness import marginals, usefulness
    from variform.evaluation.privacy import copies, nearer_to_training, places
    from variform.evaluation.samples import tell_apart

    schema = splits.schema
    if path.suffix == ".npy":
        rows = np.load(path).astype(float)
    else:
        table = pd.read_csv(path)
        columns = []
        for place, column in enumerate(schema.columns):
            names = schema.categories[place]
            values = table[column]
            if names:
                code = {name: number for number, name in enumerate(names)}
                values = values.map(lambda value, code=code: code.get(str(value), np.nan))
            columns.append(values.to_numpy(float))
        rows = np.column_stack(columns)
    train, test = (
        schema.tidy(schema.restore(part.prepared().double())).numpy()
        for part in (splits.train, splits.test)
    )
    kinds = enumerate(schema.kinds)
    columns = {
        "names": schema.columns,
        "categorical": [place for place, kind in kinds if kind in ("category", "binary")],
    }
    count = len(test)
    told, _, _ = tell_apart(rows[:count], test, seed=seed, **columns)
    used = usefulness(rows[:MOST], train[:MOST], test, seed=seed, **columns)
    by_column = marginals(rows[:count], test, (train[:count], test), **columns)
    placed = places(
        (rows, train, test), np.concatenate([train, test]), categorical=columns["categorical"]
    )
    return {
        "C2ST": told.mean,
        "TSTR": float(np.mean([one.synthetic.mean for one in used])),
        "TRTR": float(np.mean([one.real.mean for one in used])),
        "marginals": float(np.mean([one["distance"] for one in by_column])),
        "nearer": nearer_to_training(placed[0][:MOST], placed[1][:count], placed[2]).mean,
        "p of copies": copies(*placed)["p_value"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("table", type=Path)
    parser.add_argument("--peers", default="")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--discrete", default="")
    parser.add_argument("--only", default="", help="some of the contestants")
    parser.add_argument("--contestant", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    given = parser.parse_args()
    discrete = [name for name in given.discrete.split(",") if name]
    if given.contestant:
        run = peer if given.contestant in PEERS else own
        run(given.contestant, given.table, given.out, discrete, given.seconds, given.seed)
        return
    import numpy as np

    splits = splits_of(given.table, discrete)
    print(splits, flush=True)
    contestants = [*OURS, *PEERS] if given.peers else list(OURS)
    if given.only:
        contestants = [name for name in contestants if name in given.only.split(",")]
    results: dict[str, list[dict[str, float]]] = {name: [] for name in contestants}
    with tempfile.TemporaryDirectory() as folder:
        train = Path(folder) / "train.csv"
        write_train(splits, given.table, train)
        for seed in range(given.seeds):
            for name in contestants:
                is_peer = name in PEERS
                out = Path(folder) / f"rows.{'csv' if is_peer else 'npy'}"
                python = given.peers if is_peer else sys.executable
                table = train if is_peer else given.table
                words = [
                    python,
                    __file__,
                    table,
                    "--contestant",
                    name,
                    "--out",
                    out,
                    "--seed",
                    seed,
                ]
                words += ["--seconds", given.seconds, "--discrete", given.discrete]
                subprocess.run([str(word) for word in words], env=os.environ | THREADS, check=True)
                results[name].append(judged(splits, out, discrete, seed))
                print(
                    name,
                    seed,
                    {key: round(value, 4) for key, value in results[name][-1].items()},
                    flush=True,
                )
    print("\n| | " + " | ".join(results[contestants[0]][0]) + " |")
    for name, found in results.items():
        cells = []
        for key in found[0]:
            values = np.array([one[key] for one in found])
            error = values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else float("nan")
            cells.append(f"{values.mean():.3f} ± {error:.3f}")
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
