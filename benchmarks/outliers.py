"""Outliers: log p(x) of a VAE beside an isolation forest, PCA's reconstruction error and PCA's density.

Every detector is fitted to one half of the rows of a normal class alone; it ranks the other half and the rows of all
other classes. Of the breast cancer data benign is normal; of digits and wine each class in turn, and the mean over them
is taken. All get the same standardised columns and the same splits; the VAE and PCA have as many dimensions. Nothing is
tuned. The standard error is over the splits, which share rows: it says how much a split matters.

    python benchmarks/outliers.py --splits 5
"""

import argparse
from collections.abc import Callable

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from variform.estimator import VAE

Ranking = Callable[[np.ndarray, np.ndarray], np.ndarray]
DIM = 5


def of_vae(likelihood: str, seed: int) -> Ranking:
    """log p(x); the held-out tenth of the training rows chooses the epoch, and nothing else is chosen."""
    return lambda train, test: VAE(DIM, likelihood=likelihood, random_state=seed).fit(train).score_samples(test)


def of_forest(seed: int) -> Ranking:
    return lambda train, test: IsolationForest(random_state=seed).fit(train).score_samples(test)


def of_error(train: np.ndarray, test: np.ndarray) -> np.ndarray:
    model = PCA(DIM, svd_solver="full").fit(train)
    return -((model.inverse_transform(model.transform(test)) - test) ** 2).sum(1)


def of_density(train: np.ndarray, test: np.ndarray) -> np.ndarray:
    return PCA(DIM, svd_solver="full").fit(train).score_samples(test)


def areas(X: np.ndarray, normal: np.ndarray, seed: int) -> dict[str, float]:
    """ROC AUC of every detector on one split."""
    train, rest = train_test_split(X[normal], test_size=0.5, random_state=seed)
    scaler = StandardScaler().fit(train)
    train, test = scaler.transform(train), scaler.transform(np.vstack([rest, X[~normal]]))
    is_normal = np.arange(len(test)) < len(rest)
    detectors: dict[str, Ranking] = {
        "VAE, auto": of_vae("auto", seed),
        "VAE, gaussian": of_vae("gaussian", seed),
        "VAE, gaussian-per-feature": of_vae("gaussian-per-feature", seed),
        "isolation forest": of_forest(seed),
        "PCA, error": of_error,
        "PCA, density": of_density,
    }
    return {name: float(roc_auc_score(is_normal, rank(train, test))) for name, rank in detectors.items()}


def shown(values: np.ndarray, digits: int = 3) -> str:
    return f"{values.mean():.{digits}f} ± {values.std(ddof=1) / np.sqrt(len(values)):.{digits}f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--splits", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    cancer, digits, wine = load_breast_cancer(), load_digits(), load_wine()
    sets = {
        "breast cancer": (cancer.data, [cancer.target == 1]),
        "digits": (digits.data, [digits.target == label for label in range(10)]),
        "wine": (wine.data, [wine.target == label for label in range(3)]),
    }
    for name, (X, classes) in sets.items():
        splits = [[areas(X, normal, seed) for normal in classes] for seed in range(options.splits)]
        found = {who: np.array([np.mean([one[who] for one in split]) for split in splits]) for who in splits[0][0]}
        print(f"\n### {name}: {len(classes)} normal class(es), {options.splits} splits\n")
        print("| detector | ROC AUC | less the VAE's, auto |", "| --- | ---: | ---: |", sep="\n")
        for who, values in found.items():
            print(f"| {who} | {shown(values)} | {shown(values - found['VAE, auto'])} |", flush=True)


if __name__ == "__main__":
    main()
