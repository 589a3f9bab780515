"""What `variform train` reaches with few rows, seed after seed, and whether rows it makes keep the defaults of a table.

    python benchmarks/small_data.py beams.npy -- --likelihood gaussian-shared --network conv --latent-dim 8
    python benchmarks/small_data.py frames.csv --defaults --samplers gmm,flow -- --likelihood mixed --latent-dim 8

What stands after -- goes to `variform train`. A line for each seed: active latents; NLL of the test rows beside the
better PCA's and the difference over the same rows, in nats; reconstruction error, and PCA's in the unit of the data;
optimiser steps; CPU seconds of the whole command, of one thread.

With `--defaults` a line for each seed and sampler, of `--count` drawn rows, in single precision: of columns of numbers
that hold one value in more than a fifth of the rows, in how many its share is within .03 of that of all rows of the
source, and the largest difference; where the drawn flag is 0, how many cells hold what all cells of their column hold
beside a flag of 0 in the source; and how often boosted trees tell drawn rows from those of the source, cross-validated.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from variform.evaluation.tables import show

THREADS = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
MANY, NEAR, LEAST_VALUES = 0.2, 0.03, 10
PCAS = ("pca", "pca_own_units")


def command(*words: object) -> float:
    """Run variform as a user does; CPU seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    arguments = [sys.executable, "-m", "variform", *map(str, words)]
    done = subprocess.run(arguments, env=os.environ | THREADS, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(arguments[1:])} ended with {done.returncode}:\n{done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def fit_line(folder: Path, seconds: float) -> str:
    """What a finished run says of itself."""
    numbers = json.loads((folder / "evaluation.json").read_text())
    steps = json.loads((folder / "history.jsonl").read_text().splitlines()[-1])["step"]
    active, baselines = numbers["active_units"], numbers["baselines"]
    parts = [f"{active['count']} of {active['of']} active", f"NLL {show(numbers['nll'])}"]
    densities = [baselines[name] for name in PCAS if "nll" in baselines.get(name, {})]
    if densities:
        best = min(densities, key=lambda pca: pca["nll"]["mean"])
        parts.append(f"PCA {show(best['nll'])}, difference {show(best['nll_difference'])}")
    parts.append(f"error {numbers['reconstruction_error']['mean']:.4g}")
    squares = [baselines[name] for name in PCAS if name in baselines]
    if squares:
        least = min(pca["reconstruction_error"]["mean"] for pca in squares)
        parts.append(f"PCA {least:.4g}")
    return "  ".join([*parts, f"{steps:,} steps, {seconds:.0f} CPU s"])


# --- defaults of a table ------------------------------------------------------------------------------------------


def defaults(table: pd.DataFrame) -> dict[str, tuple[float, float]]:
    """The columns of numbers with a default: the value, and its share of the rows."""
    found = {}
    for name, column in table.select_dtypes("number").items():
        shares = column.value_counts(normalize=True)
        if len(shares) >= LEAST_VALUES and shares.iloc[0] > MANY:
            found[str(name)] = (float(shares.index[0]), float(shares.iloc[0]))
    return found


def constants(table: pd.DataFrame) -> Iterator[tuple[str, str, float]]:
    """Flag, column and value, where a column of several values has only one beside a flag of 0."""
    numbers = table.select_dtypes("number")
    flags = [name for name in numbers if set(numbers[name].unique()) == {0, 1}]
    for flag in flags:
        beside = numbers[numbers[flag] == 0].drop(columns=flags)
        for name in beside:
            if beside[name].nunique() == 1 and numbers[name].nunique() > 1:
                yield str(flag), str(name), float(beside[name].iloc[0])


def rounded(table: pd.DataFrame) -> pd.DataFrame:
    """Numbers in single precision, as the model sees them: files hold 0.009 beside 0.009000000000000001."""
    numbers = table.select_dtypes("number").columns
    return table.astype(dict.fromkeys(numbers, "float32"))


def told_apart(real: pd.DataFrame, drawn: pd.DataFrame) -> float:
    """How often boosted trees of scikit-learn's defaults are right, cross-validated in five parts."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    count = min(len(real), len(drawn))
    both = pd.concat([some.sample(count, random_state=0) for some in (real, drawn)])
    texts = both.select_dtypes(exclude="number").columns
    both = both.astype(dict.fromkeys(texts, "category"))
    trees = HistGradientBoostingClassifier(random_state=0, categorical_features="from_dtype")
    parts = StratifiedKFold(5, shuffle=True, random_state=0)
    answers = np.repeat([0, 1], count)
    return float(cross_val_score(trees, both, answers, cv=parts, n_jobs=1).mean())


def defaults_line(real: pd.DataFrame, drawn: pd.DataFrame) -> str:
    """Shares of defaults, constants beside flags, and the trees' accuracy."""
    real, drawn = rounded(real), rounded(drawn[list(real.columns)])
    known = defaults(real)
    gaps = {
        name: float((drawn[name] == np.float32(value)).mean()) - share
        for name, (value, share) in known.items()
    }
    near = sum(abs(gap) <= NEAR for gap in gaps.values())
    far = ", ".join(f"{name} {gap:+.3f}" for name, gap in gaps.items() if abs(gap) > NEAR)
    largest = max(map(abs, gaps.values()))
    kept = []
    for flag, name, value in constants(real):
        beside = drawn.loc[drawn[flag] == 0, name]
        kept.append(f"{name} {(beside == np.float32(value)).mean():.2%}")
    return (
        f"{near} of {len(gaps)} within {NEAR}, largest {largest:.3f} ({far or 'none beyond'}); "
        f"beside a flag of 0: {', '.join(kept)}; trees {told_apart(real, drawn):.3f}"
    )


def columns_of(real: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """The columns of the source that a run models: those that its first drawn rows have."""
    modelled = pd.read_csv(folder / "prior.csv", nrows=1).columns
    return real[[name for name in real.columns if name in modelled]]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--defaults", action="store_true")
    parser.add_argument("--samplers", default="", help="kinds to fit beside the prior")
    parser.add_argument("--count", type=int, default=20_000, help="rows to draw")
    parser.add_argument("--keep", type=Path, help="keep the runs in this folder")
    arguments = sys.argv[1:]
    split = arguments.index("--") if "--" in arguments else len(arguments)
    options = parser.parse_args(arguments[:split])
    with tempfile.TemporaryDirectory() as place:
        for seed in range(options.seeds):
            folder = (options.keep or Path(place)) / f"run-{seed}"
            if not (folder / "evaluation.json").is_file():
                words = ("--seed", seed, "--nll-samples", 1000, *arguments[split + 1 :])
                seconds = command("train", options.source, "--out", folder, *words)
                print(f"seed {seed}: {fit_line(folder, seconds)}", flush=True)
            if options.defaults:
                compare_defaults(options, folder, seed)


def compare_defaults(options: Any, folder: Path, seed: int) -> None:
    """A line for the prior and for each sampler of a run."""
    real = pd.read_csv(options.source)
    for kind in ("prior", *filter(None, options.samplers.split(","))):
        seconds = 0.0
        if kind != "prior" and not (folder / f"sampler-{kind}.safetensors").is_file():
            seconds = command("sampler", folder, "--kind", kind, "--samples", 100, "--seed", seed)
        out = folder / f"{kind}.csv"
        out.unlink(missing_ok=True)
        words = ("--sampler", kind, "--count", options.count, "--seed", seed)
        seconds += command("generate", folder, "--draw", "--out", out, *words)
        line = defaults_line(columns_of(real, folder), pd.read_csv(out))
        print(f"seed {seed}, {kind}: {line}; {seconds:.0f} CPU s", flush=True)


if __name__ == "__main__":
    main()
