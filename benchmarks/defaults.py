"""`variform train DATA` with no option beside PCA of the same dimension, on held-out rows of data of many kinds.

    python benchmarks/defaults.py
    python benchmarks/defaults.py --only wine iris

Each training is a process of its own with one thread; CPU seconds are of the whole process, start, pictures and report
included. Differences are the VAE's minus PCA's over the same test rows, ± one standard error: below 0 the VAE is
better. PCA sees the values as the VAE does; `--` where it has no probability of such data. Of a mixed table it is FAMD.
"said" is what the first lines of the result say of simpler models that are better.

The airfoils need the package aerosandbox; their names and families are no shapes, and are declared.
"""

import argparse
import csv
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator
from sklearn import datasets

ROOT = Path(__file__).parents[1]
THREADS = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
OF_FOILS = ("--id", "name", "--ignore", "family")


def write_csv(path: Path, columns: dict[str, np.ndarray]) -> None:
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def of_scikit_learn(name: str) -> Callable[[Path], Path]:
    """A table that scikit-learn has."""

    def write(folder: Path) -> Path:
        path = folder / f"{name}.csv"
        loaded = getattr(datasets, f"load_{name}")()
        write_csv(path, dict(zip(loaded.feature_names, loaded.data.T, strict=True)))
        return path

    return write


def moons(folder: Path) -> Path:
    np.save(folder / "moons.npy", datasets.make_moons(2000, noise=0.05, random_state=0)[0])
    return folder / "moons.npy"


def s_curve(folder: Path) -> Path:
    np.save(folder / "s_curve.npy", datasets.make_s_curve(2000, noise=0.05, random_state=0)[0])
    return folder / "s_curve.npy"


def counts(folder: Path) -> Path:
    """Twelve columns of negative binomial counts whose rates go along with two factors."""
    random = np.random.default_rng(0)
    factors = random.normal(size=(1500, 2)) @ random.normal(size=(2, 12)) * 0.6
    means = np.exp(1 + factors + random.normal(size=12) * 0.5)
    values = random.negative_binomial(3, 3 / (3 + means))
    write_csv(folder / "counts.csv", {f"gene {i}": column for i, column in enumerate(values.T)})
    return folder / "counts.csv"


def mixed(folder: Path) -> Path:
    """Words, a positive number, a number with gaps, a count and a yes or no, of two factors."""
    random = np.random.default_rng(0)
    a, b = random.normal(size=(2, 1200))
    scores = np.stack([a, b, -a - b], 1) + 0.3 * random.gumbel(size=(1200, 3))
    load = np.round(3 * b + a + 0.3 * random.normal(size=1200), 4).astype(str)
    load[random.random(1200) < 0.05] = ""
    columns = {
        "wood": np.array(["oak", "ash", "pine"])[scores.argmax(1)],
        "mass": np.exp(0.5 * a + 0.1 * random.normal(size=1200) + 2).round(4),
        "load": load,
        "bolts": random.poisson(np.exp(1 + 0.5 * b)),
        "approved": (a + 0.5 * random.logistic(size=1200) > 0).astype(int),
    }
    write_csv(folder / "mixed.csv", columns)
    return folder / "mixed.csv"


def houses(folder: Path) -> Path:
    """A table like that of California's houses: skewed columns in units of their own, two of them a place."""
    random = np.random.default_rng(0)

    def skewed(mean: float | np.ndarray, spread: float, random: Generator = random) -> np.ndarray:
        return np.exp(mean + spread * random.normal(size=5000))

    west, income = random.normal(size=5000), skewed(1.2, 0.45)
    rooms = skewed(1.6 + 0.15 * np.log(income), 0.15)
    columns = {
        "income": income,
        "age": random.integers(1, 53, 5000),
        "rooms": rooms,
        "bedrooms": rooms * skewed(-1.6, 0.08),
        "population": skewed(7, 0.7).round(),
        "occupancy": skewed(1, 0.2),
        "latitude": 35 - 0.9 * west + 0.4 * random.normal(size=5000),
        "longitude": west - 119,
        "price": skewed(0.7 * np.log(income) - 0.15 * west**2, 0.3),
    }
    write_csv(folder / "houses.csv", columns)
    return folder / "houses.csv"


def frames(folder: Path) -> Path:
    """The geometry of the bicycle frames of examples/frames, as numbers."""
    sys.path.insert(0, str(ROOT / "examples/frames"))
    import frames  # pyrefly: ignore[missing-import]

    rows = frames.rows_of(frames.table())
    write_csv(folder / "frames.csv", dict(rows))
    return folder / "frames.csv"


def airfoils(folder: Path) -> Path:
    script = ROOT / "examples/airfoils/foils.py"
    subprocess.run(
        [sys.executable, script, folder / "foils"], check=True, stdout=subprocess.DEVNULL
    )
    return folder / "foils"


SOURCES: dict[str, Callable[[Path], Path] | str] = {
    "digits": "digits",
    "sprites": "sprites:2000",
    "wine": of_scikit_learn("wine"),
    "iris": of_scikit_learn("iris"),
    "breast cancer": of_scikit_learn("breast_cancer"),
    "diabetes": of_scikit_learn("diabetes"),
    "moons": moons,
    "s-curve": s_curve,
    "counts": counts,
    "mixed": mixed,
    "houses": houses,
    "frames": frames,
    "airfoils": airfoils,
}


def trained(name: str, folder: Path) -> tuple[dict[str, Any], float]:
    """The numbers of a training with no option, and its CPU seconds."""
    made = SOURCES[name]
    source = made if isinstance(made, str) else str(made(folder))
    options = OF_FOILS if name == "airfoils" else ()
    words = ["train", source, *options, "--out", str(folder / "run"), "--json"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "variform", *words],
        env=os.environ | THREADS,
        capture_output=True,
        text=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(f"{name}: {done.stderr[-500:]}")
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return json.loads(done.stdout), seconds


def shown(estimate: dict[str, Any] | None) -> str:
    if estimate is None:
        return "--"
    return f"{estimate['mean']:.3g} ± {estimate['se']:.2g}"


def lines(names: list[str]) -> Iterator[str]:
    yield (
        "| data | likelihood, latents | CPU s | error | PCA's | difference | NLL | PCA's | difference | said |"
    )
    yield "|---|---|---:|---:|---:|---:|---:|---:|---:|---|"
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            numbers, seconds = trained(name, Path(folder))
        pca = numbers["baselines"].get("pca") or numbers["baselines"]["famd"]
        likelihood = numbers["chosen"].split()[1]
        latents = numbers["active_units"]["of"]
        cells = [
            name,
            f"{likelihood}, {latents}",
            f"{seconds:.1f}",
            shown(numbers["reconstruction_error"]),
            shown(pca["reconstruction_error"]),
            shown(pca["reconstruction_error_difference"]),
            shown(numbers["nll"]),
            shown(pca.get("nll")),
            shown(pca.get("nll_difference")),
            " ".join(sentence.split(",")[0] for sentence in numbers["warnings"]) or "",
        ]
        yield f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--only", nargs="+", default=list(SOURCES), choices=list(SOURCES))
    for line in lines(parser.parse_args().only):
        print(line, flush=True)


if __name__ == "__main__":
    main()
