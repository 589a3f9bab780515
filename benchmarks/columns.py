"""One noise variance for all standardised columns, or one for each? Held-out densities of the models' exact optima.

    python benchmarks/columns.py

A linear VAE under `gaussian-shared` has probabilistic PCA of the standardised columns as its optimum, under
`gaussian-per-feature` factor analysis: scikit-learn finds both without training noise. Three latents; a quarter of the
rows is held out; four draws of the rows and of the made data. NLL in nats a row, in the data's own units.
"""

import warnings
from collections.abc import Callable, Iterator

import numpy as np
from numpy.random import Generator
from sklearn import datasets
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.exceptions import ConvergenceWarning

LATENTS, DRAWS = 3, 4


def cases(generator: Generator) -> Iterator[tuple[str, np.ndarray]]:
    """Name and rows (N, D) of each table; columns differ in their spread."""

    def equal(columns: int) -> np.ndarray:
        return np.full(columns, 0.3)

    def unequal(columns: int) -> np.ndarray:
        return 0.3 * np.exp(generator.normal(size=columns))

    def made(
        rows: int,
        noise: Callable[[int], np.ndarray],
        *,
        columns: int = 12,
        has_tails: bool = False,
        depends_on_z: bool = False,
    ) -> np.ndarray:
        z = generator.normal(size=(rows, LATENTS))
        if has_tails:  # as a Student t with 2.5 degrees of freedom
            z *= np.sqrt(2.5 / generator.chisquare(2.5, (rows, 1)))
        loadings = generator.normal(size=(LATENTS, columns)) * np.exp(
            0.7 * generator.normal(size=columns)
        )
        errors = generator.normal(size=(rows, columns)) * noise(columns)
        return z @ loadings + errors * (np.exp(0.7 * z[:, :1]) if depends_on_z else 1)

    yield "equal noise", made(1000, equal)
    yield "unequal noise", made(1000, unequal)
    yield "equal noise, tails", made(1000, equal, has_tails=True)
    yield "unequal noise, tails", made(1000, unequal, has_tails=True)
    yield "60 rows, equal noise", made(80, equal)
    yield "60 rows, unequal noise", made(80, unequal)
    yield "120 rows, 40 columns, unequal noise", made(160, unequal, columns=40)
    yield "4,500 rows, unequal noise", made(6000, unequal)
    yield "noise that depends on z", made(1500, unequal, depends_on_z=True)
    yield "wine", datasets.load_wine().data
    yield "breast cancer", datasets.load_breast_cancer().data
    yield "diabetes", datasets.load_diabetes().data


def densities(rows: np.ndarray, seed: int) -> list[float]:
    """Held-out NLL under one variance on standardised columns, one for each column, and one on columns as they are."""
    order = np.random.default_rng(seed).permutation(len(rows))
    train, test = np.split(rows[order], [int(0.75 * len(rows))])
    mean, std = train.mean(0), train.std(0)
    scaled, held_out = (train - mean) / std, (test - mean) / std
    unit = np.log(std).sum()
    shared = PCA(LATENTS, svd_solver="full")
    each = FactorAnalysis(LATENTS, tol=1e-4, max_iter=1000)
    return [
        unit - shared.fit(scaled).score(held_out),
        unit - each.fit(scaled).score(held_out),
        -shared.fit(train).score(test),
    ]


def main() -> None:
    warnings.simplefilter("ignore", ConvergenceWarning)
    by_likelihood: dict[str, list[list[float]]] = {}
    for seed in range(DRAWS):
        for name, rows in cases(np.random.default_rng(seed)):
            by_likelihood.setdefault(name, []).append(densities(rows, seed))
    print(
        f"{'':>35}  {'shared':>7}  {'per feature':>11}  {'shared, raw units':>17}  shared - per feature"
    )
    for name, numbers in by_likelihood.items():
        shared, each, raw = np.mean(numbers, 0)
        gap = np.array(numbers)[:, 0] - np.array(numbers)[:, 1]
        error = gap.std(ddof=1) / DRAWS**0.5
        print(
            f"{name:>35}  {shared:7.2f}  {each:11.2f}  {raw:17.2f}  {gap.mean():.2f} ± {error:.2f}"
        )


if __name__ == "__main__":
    main()
