"""Two statistics of heavy tails in what a model leaves of rows: the kurtosis, and the likelihood of Student's t.

Runs of benchmarks/doctor.py, of noise that is large in a tenth of the rows and healthy ones; of each, residuals of test
rows, of test and validation rows, and of training rows.

    python benchmarks/residual_tails.py runs/tails --seeds 0 1 --healthy 2
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from doctor import FULL, HEALTHY, SHORT, WELL, student, train
from scipy import stats

from variform.data.dataset import Dataset
from variform.model.vae import VAE, evaluating
from variform.system import draws

DEGREES = (2.1, 3, 4, 6, 10, 20)
FEW = {"nll_samples": 10}


def residuals(vae: VAE, rows: Dataset) -> np.ndarray:
    """What is left of rows after decoding a draw of z, in standard deviations of p(x|z), (N, D)."""
    left = []
    with draws.seeded(0), evaluating(vae):
        for x, context in vae.batches(rows, 256, seed=0):
            z = vae.encode(x, context).sample()
            law = vae.decode(z, context)
            left.append(((x - law.mean) / law.variance.sqrt()).detach().double())
    return torch.cat(left).flatten(1).numpy()


def gain(values: np.ndarray) -> float:
    """By how many nats a value the best Student's t is likelier than a Gaussian, both around 0."""
    std = np.sqrt(np.mean(values**2))
    best = 0.0
    for degrees in DEGREES:
        scale = std
        for _ in range(50):  # the maximum of the likelihood, by reweighting
            weights = (degrees + 1) / (degrees + (values / scale) ** 2)
            scale = np.sqrt(np.mean(weights * values**2))
        likelier = stats.t(degrees, 0, scale).logpdf(values) - stats.norm(0, std).logpdf(values)
        best = max(best, likelier.mean())
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="a folder for the runs, which are overwritten")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--healthy", type=int, default=0, help="so many healthy runs beside")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cases = [("tails", student, SHORT | FULL | FEW)]
    for name, rows, own in HEALTHY[: options.healthy]:
        cases.append((f"healthy: {name}", rows, WELL | {"steps": 1000} | own | FEW))
    for seed in options.seeds:
        for name, rows, own in cases:
            run = train(rows(np.random.default_rng(1000 + seed)), options.out, seed, own)
            data = run.data()
            test, valid, seen = (
                residuals(run.vae, part) for part in (data.test, data.valid, data.train)
            )
            print(f"seed {seed}, {name}")
            parts = {"test": test, "with validation": np.concatenate([test, valid]), "train": seen}
            for part, left in parts.items():
                kurtosis = np.mean(left**4, 0) / np.mean(left**2, 0) ** 2
                gains = np.mean([gain(column) for column in left.T])
                print(
                    f"  {part}: {len(left)} rows, {(kurtosis > 6).sum()} of {len(kurtosis)} columns above 6, "
                    f"{gains:.3f} nats a value",
                    flush=True,
                )


if __name__ == "__main__":
    main()
