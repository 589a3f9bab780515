"""The estimators at their defaults: what was tried on made tables, and what came of it on tables that chose nothing.

`--part tuning` prints, for made tables of many kinds, the density of held-out rows under `VAE` with one default changed
at a time, from what the defaults were to what they are. `--part density`, `outliers` and `gaps` print `VAE`,
`VAEDetector` and `VAEImputer` at their defaults beside their peers on tables of scikit-learn, which no choice was made
on.

    python benchmarks/estimators.py --part tuning --folds 5
"""

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from unittest.mock import patch

import numpy as np
import torch
from sklearn.covariance import LedoitWolf
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_iris,
    load_wine,
    make_blobs,
    make_classification,
    make_friedman1,
    make_gaussian_quantiles,
    make_moons,
    make_swiss_roll,
)
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.metrics import roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import KFold, train_test_split
from sklearn.preprocessing import StandardScaler

from variform.estimator import VAE, FalseAlarmWarning, SimplerModelWarning, VAEDetector, VAEImputer
from variform.model import starts

Tables = dict[str, np.ndarray]
Density = Callable[[np.ndarray, np.ndarray], np.ndarray]


# --- made tables ----------------------------------------------------------------------------------------------------


def loadings(random: np.random.Generator, size: int, decay: float) -> np.ndarray:
    return random.normal(size=(size, size)) * np.exp(-3 * decay * np.arange(size) / size)


def grains(random: np.random.Generator, rows: int) -> np.ndarray:
    """Lengths, areas and volumes of grains, which nearly determine each other, and their roughness."""
    length = np.exp(0.25 * random.normal(size=rows))
    width = length * np.exp(0.15 * random.normal(size=rows))
    rough = np.exp(0.4 * random.normal(size=rows))

    def error(size: float) -> np.ndarray:
        return np.exp(size * random.normal(size=rows))

    return np.column_stack(
        [
            length,
            width,
            length * width * error(0.01),
            (length + width) * error(0.005),
            (length * width) ** 1.5 * error(0.02),
            length / width * error(0.01),
            rough,
            rough**2 * error(0.1),
            rough * length * error(0.1),
            rough / width * error(0.2),
            np.log(length) + 0.02 * random.normal(size=rows),
            error(0.5),
            error(0.3) * rough,
            1.2 * length * error(0.05),
        ]
    )


def made() -> Tables:
    """Tables of many kinds, none of which is a data set that anybody measures by."""
    random = np.random.default_rng(100)
    tables = {
        "blobs": make_blobs(
            400, 8, centers=5, cluster_std=[0.5, 1.0, 1.5, 1.0, 2.0], random_state=1
        )[0]
    }
    moons = make_moons(500, noise=0.08, random_state=2)[0]
    tables["moons in six columns"] = moons @ random.normal(size=(2, 6)) + 0.1 * random.normal(
        size=(500, 6)
    )
    tables["swiss roll"] = make_swiss_roll(600, noise=0.3, random_state=3)[0]
    tables["friedman"] = np.column_stack(make_friedman1(300, 10, noise=1.0, random_state=4))
    noise = random.normal(size=(400, 30)) * np.exp(0.7 * random.normal(size=30))
    tables["five factors in 30 columns"] = (
        random.normal(size=(400, 5)) @ random.normal(size=(5, 30)) + noise
    )
    student = np.sqrt(random.chisquare(3, (800, 1)) / 3)
    tables["heavy tails"] = random.normal(size=(800, 10)) @ loadings(random, 10, 1.0) / student
    parts = [
        random.normal(size=(rows, 12)) @ loadings(random, 12, 1.5) + 2 * random.normal(size=12)
        for rows in (250, 150, 100)
    ]
    tables["three correlations"] = random.permutation(np.vstack(parts))
    sizes = random.normal(size=(500, 15)) @ loadings(random, 15, 0.8) / np.sqrt(15)
    tables["log-normal, mixed scales"] = np.exp(0.5 * sizes) * 10.0 ** random.integers(-3, 4, 15)
    tables["grains"] = grains(random, 450)
    tables["no structure"] = make_gaussian_quantiles(n_samples=1000, n_features=10, random_state=5)[
        0
    ]
    wide = random.normal(size=(100, 60)) * np.exp(0.5 * random.normal(size=60))
    tables["three factors, 100 rows of 60"] = (
        random.normal(size=(100, 3)) @ random.normal(size=(3, 60)) + wide
    )
    classes = make_classification(
        120, 13, n_informative=6, n_redundant=3, n_classes=3, class_sep=1.5, random_state=6
    )[0]
    tables["classes, 120 rows"] = classes + 0.2 * random.normal(size=classes.shape)
    return tables


# --- density --------------------------------------------------------------------------------------------------------

BEFORE = {"latent_dim": 2, "likelihood": "gaussian-optimal", "prior": "normal", "patience": 50}
PER_COLUMN = {"likelihood": "gaussian-per-feature", "prior": "normal"}
VARIANTS: dict[
    str, tuple[bool, dict]
] = {  # whether training begins at factors, and what is no default
    "before: 2 latents, one variance, random start": (False, BEFORE),
    "+ latents chosen by factor analysis": (False, BEFORE | {"latent_dim": "auto"}),
    "+ a variance per column": (False, PER_COLUMN | {"patience": 50}),
    "+ ten times the epochs": (False, PER_COLUMN | {"patience": 500, "epochs": 3000}),
    "+ start at factors (in their place)": (True, PER_COLUMN),
    "+ mixture prior": (True, {"likelihood": "gaussian-per-feature"}),
    "+ a variance per row and column: VAE()": (True, {}),
}


def of_variant(at_factors: bool, options: dict, seed: int) -> Density:
    def density(train: np.ndarray, test: np.ndarray) -> np.ndarray:
        with patch.object(
            starts, "can_start", starts.can_start if at_factors else lambda vae: False
        ):
            return VAE(**options, random_state=seed).fit(train).score_samples(test)

    return density


def of_mixture(train: np.ndarray, test: np.ndarray) -> np.ndarray:
    return GaussianMixture(3, random_state=0).fit(train).score_samples(test)


def of_pca(train: np.ndarray, test: np.ndarray) -> np.ndarray:
    return PCA(2, svd_solver="full").fit(train).score_samples(test)


def of_gaussian(train: np.ndarray, test: np.ndarray) -> np.ndarray:
    model = LedoitWolf().fit(train)
    far = model.mahalanobis(test)
    return -0.5 * (
        far + np.linalg.slogdet(model.covariance_)[1] + train.shape[1] * np.log(2 * np.pi)
    )


PEERS: dict[str, Density] = {
    "mixture of 3 Gaussians": of_mixture,
    "one Gaussian (Ledoit-Wolf)": of_gaussian,
    "PCA, 2 components": of_pca,
}


def densities(models: dict[str, Density], tables: Tables, folds: int) -> None:
    """Print the mean log-density of held-out rows in standard deviations of the columns, in nats a row."""
    names = list(models)
    print(f"| table | {' | '.join(names)} |", "| --- |" + " ---: |" * len(names), sep="\n")
    errors, seconds = [], []
    for table, X in tables.items():
        X = StandardScaler().fit_transform(X)
        X = X[:, X.std(0) > 0]
        scores = np.zeros((folds, len(names)))
        spent = np.zeros(len(names))
        for fold, (train, test) in enumerate(cut(X, folds)):
            for place, name in enumerate(names):
                began = time.process_time()
                scores[fold, place] = models[name](X[train], X[test]).mean()
                spent[place] += (time.process_time() - began) / folds
        errors.append(scores.mean(0))
        seconds.append(spent)
        print(
            f"| {table}, {len(X)} x {X.shape[1]} | "
            + " | ".join(f"{one:.2f}" for one in errors[-1])
            + " |",
            flush=True,
        )
    print("| median of the difference to a mixture of 3 Gaussians | ", end="")
    print(
        " | ".join(
            f"{one:.2f}" for one in np.median(np.array(errors) - np.array(errors)[:, :1], axis=0)
        ),
        "|",
    )
    print(
        "| processor seconds, mean | "
        + " | ".join(f"{one:.1f}" for one in np.mean(seconds, 0))
        + " |",
        flush=True,
    )


def cut(X: np.ndarray, folds: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The first `folds` of five folds."""
    for number, parts in enumerate(KFold(5, shuffle=True, random_state=0).split(X)):
        if number < folds:
            yield parts


# --- tables that nothing was chosen on --------------------------------------------------------------------------------


def known() -> dict[str, tuple[np.ndarray, list[np.ndarray]]]:
    """Tables and, for outliers, which rows are normal: one class, or of numbers the middle half."""
    cancer, digits, diabetes = load_breast_cancer(), load_digits(), load_diabetes()
    iris, wine = load_iris(), load_wine()
    low, high = np.quantile(diabetes.target, [0.25, 0.75])
    return {
        "breast cancer": (cancer.data, [cancer.target == 1]),
        "wine": (wine.data, [wine.target == label for label in range(3)]),
        "iris": (iris.data, [iris.target == label for label in range(3)]),
        "digits": (digits.data, [digits.target == label for label in range(10)]),
        "diabetes": (diabetes.data, [(low <= diabetes.target) & (diabetes.target <= high)]),
    }


def outliers(splits: int, most: int) -> None:
    """Print the area under the ROC curve: half of the normal rows are learned, the others and all else are ranked."""
    detectors: dict[str, Callable[[int], Density]] = {
        "VAEDetector": lambda seed: (
            lambda a, b: VAEDetector(random_state=seed).fit(a).score_samples(b)
        ),
        "isolation forest": lambda seed: (
            lambda a, b: IsolationForest(random_state=seed).fit(a).score_samples(b)
        ),
        "mixture of 3 Gaussians": lambda seed: (
            lambda a, b: (
                GaussianMixture(3, reg_covar=1e-3, random_state=seed).fit(a).score_samples(b)
            )
        ),
        "PCA, 2 components": lambda _: of_pca,
    }
    print(
        f"| table | {' | '.join(detectors)} | VAEDetector less forest |",
        "| --- |" + " ---: |" * 5,
        sep="\n",
    )
    for table, (X, normals) in known().items():
        areas = []
        for seed in range(splits):
            for normal in normals[:most]:
                train, rest = train_test_split(X[normal], test_size=0.5, random_state=seed)
                scaler = StandardScaler().fit(train)
                train, test = (
                    scaler.transform(train),
                    scaler.transform(np.vstack([rest, X[~normal]])),
                )
                is_normal = np.arange(len(test)) < len(rest)
                areas.append(
                    [
                        roc_auc_score(is_normal, make(seed)(train, test))
                        for make in detectors.values()
                    ]
                )
        means, gain = np.mean(areas, 0), np.array(areas)[:, 0] - np.array(areas)[:, 1]
        cells = " | ".join(f"{one:.3f}" for one in means)
        print(
            f"| {table}, {len(normals[:most])} x {splits} | {cells} | {paired(gain)} |", flush=True
        )


def gaps(tables: Tables, seeds: int, rows: int, share: float) -> None:
    """Print the RMS error of what is filled in, in standard deviations of the columns."""
    others = {
        "IterativeImputer": lambda seed: IterativeImputer(random_state=seed, max_iter=20),
        "KNNImputer": lambda _: KNNImputer(),
        "column means": lambda _: SimpleImputer(),
    }
    names = ["VAEImputer", "VAEImputer, refine=0", *others, "VAEImputer less IterativeImputer"]
    print(f"| table | {' | '.join(names)} |", "| --- |" + " ---: |" * len(names), sep="\n")
    for table, X in tables.items():
        errors = []
        for seed in range(seeds):
            random = np.random.default_rng(seed)
            Z = StandardScaler().fit_transform(X[random.permutation(len(X))[:rows]])
            Z = Z[:, Z.std(0) > 0]
            gone = random.random(Z.shape) < share
            holed = np.where(gone, np.nan, Z)
            holed = holed[:, ~gone.all(0)]
            vae = VAEImputer(random_state=seed).fit(holed)
            embeddings = [vae.transform(holed), vae.set_params(refine=0).transform(holed)]
            embeddings += [make(seed).fit_transform(holed) for make in others.values()]
            errors.append(
                [
                    np.sqrt(np.mean((one - Z[:, ~gone.all(0)])[gone[:, ~gone.all(0)]] ** 2))
                    for one in embeddings
                ]
            )
        cells = " | ".join(f"{one:.3f}" for one in np.mean(errors, 0))
        differences = np.array(errors)[:, 0] - np.array(errors)[:, 2]
        print(f"| {table}, {len(Z)} x {Z.shape[1]} | {cells} | {paired(differences)} |", flush=True)


def paired(differences: np.ndarray) -> str:
    """Their mean and its standard error."""
    error = differences.std(ddof=1) / np.sqrt(len(differences)) if len(differences) > 1 else np.nan
    return f"{differences.mean():.3f} ± {error:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--part", choices=["tuning", "density", "outliers", "gaps"], default="density"
    )
    parser.add_argument(
        "--folds", type=int, default=5, help="of five; of outliers splits, of gaps seeds"
    )
    parser.add_argument(
        "--classes", type=int, default=10, help="most classes of a table that are normal in turn"
    )
    parser.add_argument("--rows", type=int, default=500, help="most rows of a table with gaps")
    parser.add_argument("--share", type=float, default=0.3, help="of the cells that are taken away")
    parser.add_argument("--only", nargs="*", help="names of tables, where not all of the made ones")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for kind in (SimplerModelWarning, FalseAlarmWarning):
        warnings.simplefilter("ignore", kind)
    if options.part == "tuning":
        variants = {name: of_variant(*choice, seed=0) for name, choice in VARIANTS.items()}
        tables = {name: X for name, X in made().items() if not options.only or name in options.only}
        densities(PEERS | variants, tables, options.folds)
    elif options.part == "density":
        vae: dict[str, Density] = {
            "VAE()": of_variant(True, {}, 0),
            "VAE(), before": of_variant(False, BEFORE, 0),
        }
        densities(PEERS | vae, {name: X for name, (X, _) in known().items()}, options.folds)
    elif options.part == "outliers":
        outliers(options.folds, options.classes)
    else:
        gaps(
            {name: X for name, (X, _) in known().items()},
            options.folds,
            options.rows,
            options.share,
        )


if __name__ == "__main__":
    main()
