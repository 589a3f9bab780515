"""Tables with heavy tails: does any likelihood blow up, and how do the VAEs stand beside PCA and the trivial model?

    python benchmarks/tails.py                 # 5 seeds, linear and MLP, every likelihood that fits such data
    python benchmarks/tails.py --std exp       # the standard deviation exp(h/2) of Kingma and Welling

Made data: 1,000 rows of 10 columns from 3 factors, whose size differs from row to row as that of a Student t with 2.5
degrees of freedom, plus noise of the same size in every column; the largest value lies 27 standard deviations from its
column's mean. For the counts these are logarithms of rates; for `continuous-bernoulli` the range becomes [0, 1].

Each line: NLL of the VAE, of PCA (in the standardised units) and of the trivial model on held-out rows (nats, mean ±
standard error), the least training ELBO of an epoch after the first tenth of them, how often the training went back,
and whether the evaluation warns. UNTOLD marks a VAE that PCA beats by more than two paired errors without a warning.
"""

import argparse
import time
from typing import Any

import numpy as np
import torch

from variform import DataConfig, ModelConfig, TrainConfig, build_objective, build_vae, evaluate, fit
from variform.data.dataset import Splits
from variform.data.reading import read
from variform.evaluation.tables import show
from variform.evaluation.verdict import warnings

LARGEST = 27.0
REALS = (
    "gaussian-shared",
    "gaussian-per-feature",
    "gaussian",
    "gaussian-optimal",
    "gaussian-fixed",
    "gaussian-identity",
)
NAMES = {"PCA": "pca", "trivial": "trivial"}
COUNTS = ("poisson", "negative-binomial")
TRAIN: dict[str, Any] = {"steps": 1000, "learning_rate": 1e-2, "schedule": "cosine"}


def made(seed: int, rows: int = 1000, columns: int = 10, factors: int = 3) -> np.ndarray:
    """Rows (N, D) of correlated columns, the largest of whose standardised values is 27."""
    generator = np.random.default_rng(seed)
    size = np.sqrt(2.5 / generator.chisquare(2.5, (rows, 1)))
    x = size * generator.normal(size=(rows, factors)) @ generator.normal(size=(factors, columns))
    far = np.abs(x / x.std(0)).max(1).argmax()
    low, high = 1.0, 1e3
    for _ in range(60):
        middle = (low + high) / 2
        stretched = x.copy()
        stretched[far] *= middle
        largest = np.abs((stretched - stretched.mean(0)) / stretched.std(0)).max()
        low, high = (middle, high) if largest < LARGEST else (low, middle)
    return stretched + 0.3 * generator.normal(size=x.shape)


def data_for(likelihood: str, seed: int) -> Splits:
    """The made rows as the likelihood takes them."""
    x = made(seed)
    if likelihood in COUNTS:
        rates = np.exp(1 + x / x.std(0) * 6 / LARGEST)  # the largest rate is some thousand
        return read(
            torch.from_numpy(np.random.default_rng(seed).poisson(rates)).double(),
            config=DataConfig(scaling="none"),
        )
    scaling = "unit" if likelihood == "continuous-bernoulli" else "standard"
    return read(torch.from_numpy(x.astype(np.float32)), config=DataConfig(scaling=scaling))


def beside(numbers: dict[str, Any]) -> str:
    """The NLL of the simpler models."""
    baselines = numbers["baselines"]
    cells = {
        name: show(baselines[key]["nll"])
        for name, key in NAMES.items()
        if "nll" in baselines.get(key, {})
    }
    return "  ".join(f"{name} {text:>14}" for name, text in cells.items())


def loses(numbers: dict[str, Any]) -> bool:
    """Whether PCA has the better NLL by more than two standard errors of the paired differences."""
    gap = numbers["baselines"].get("pca", {}).get("nll_difference")
    return gap is not None and gap["mean"] > 2 * gap["se"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--likelihoods", default=",".join((*REALS, "continuous-bernoulli", *COUNTS))
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--std", default=ModelConfig(likelihood="bernoulli").posterior_std)
    options = parser.parse_args()
    started = time.monotonic()
    for likelihood in options.likelihoods.split(","):
        for hidden in ((), (100,)):
            for seed in range(options.seeds):
                data = data_for(likelihood, seed)
                model = ModelConfig(
                    likelihood=likelihood, latent_dim=3, hidden=hidden, posterior_std=options.std
                )
                config = TrainConfig(**TRAIN, seed=seed)
                vae = build_vae(model, data.schema, seed=seed, moments=data.train.moments())
                history = fit(build_objective(vae, config), data.train, data.valid, config)
                numbers = evaluate(vae, data.test, data.train, samples=100)
                said = "warned" if warnings(vae, numbers, config, history.rows) else ""
                said = "UNTOLD" if loses(numbers) and not said else said
                late = history.rows[len(history.rows) // 10 :]
                print(
                    f"{likelihood:>20} {'MLP' if hidden else 'linear':>6} {seed}  VAE {show(numbers['nll']):>14}  "
                    f"{beside(numbers)}  least ELBO {min(row['train_elbo'] for row in late):>9.4g}  "
                    f"back {len(history.rollbacks)}  {said}".rstrip(),
                    flush=True,
                )
    print(f"{time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
