"""Missing data: digits without 30 % of their pixels, and wine with gaps in every column, from training to imputation.

Cells are removed at random before anything is read, so that training, validation and test rows all have gaps; what is
imputed in the test rows is compared with what stood there. The baseline is the mean of the training rows' observed
values of that pixel or column (of the cultivar the most frequent one); for the digits scikit-learn's imputation by the
nearest neighbours among the training rows stands beside it.

    python benchmarks/missing.py --share 0.3
"""

import argparse

import numpy as np
import torch
from sklearn.datasets import load_digits, load_wine
from sklearn.impute import KNNImputer

from variform import DataConfig, ModelConfig, TrainConfig, build_objective, build_vae, fit, impute
from variform.data.dataset import Dataset, Splits
from variform.data.reading import read
from variform.evaluation.imputation import compare
from variform.evaluation.tables import imputation_table, show
from variform.model.vae import VAE


def holed(values: np.ndarray, share: float) -> np.ndarray:
    """The values without a share of them, the same ones every time."""
    return np.where(np.random.default_rng(0).random(values.shape) < share, np.nan, values)


def trained(splits: Splits, model: ModelConfig, steps: int) -> VAE:
    """A model of rows with gaps."""
    vae = build_vae(model, splits.schema, moments=splits.train.moments())
    config = TrainConfig(steps=steps, batch_size=128, learning_rate=5e-3, schedule="cosine")
    fit(build_objective(vae, config), splits.train, splits.valid, config)
    return vae


def report(name: str, vae: VAE, splits: Splits, whole: np.ndarray) -> None:
    """Print what imputation of the test rows makes of their gaps; labels are row numbers of `whole`."""
    truth = whole[splits.test.labels].reshape(len(splits.test), *splits.schema.shape)
    imputed = impute(vae, splits.test, samples=1000, level=0.9)
    numbers = compare(imputed, truth, imputed.missing, splits.train)
    header, rows = imputation_table(numbers)
    print(f"\n### {name}: {len(splits.test)} test rows\n")
    print(f"| {' | '.join(header)} |", "| --- | ---: | ---: | ---: |", sep="\n")
    for row in rows:
        print(f"| {' | '.join(row)} |")
    error = (neighbours(splits) - truth)[imputed.missing] if not splits.schema.kinds else None
    if error is not None:
        print(f"\nNearest neighbours (5): RMS error {np.sqrt((error**2).mean()):.3f}.")
    print(f"Effective importance samples, median over rows: {np.median(imputed.ess):.0f} of 1,000.")
    tight = {
        level: impute(vae, splits.test, samples=1000, level=level) for level in (0.5, 0.8, 0.95)
    }
    covered = {
        level: compare(one, truth, one.missing, splits.train)["coverage"]
        for level, one in tight.items()
    }
    print(
        "Other levels:",
        ", ".join(f"{level:.0%} hold {show(one)}" for level, one in covered.items()),
    )


def neighbours(splits: Splits) -> np.ndarray:
    """The test rows, imputed by the mean of the 5 nearest training rows."""

    def flat(data: Dataset) -> np.ndarray:
        return data.gather(torch.arange(len(data))).flatten(1).numpy()

    imputer = KNNImputer(n_neighbors=5, keep_empty_features=True).fit(flat(splits.train))
    return imputer.transform(flat(splits.test)).reshape(-1, *splits.schema.shape)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--share", type=float, default=0.3, help="of the cells that are removed")
    parser.add_argument("--steps", type=int, default=3000)
    options = parser.parse_args()
    torch.set_num_threads(1)

    images = load_digits().images
    splits = read(
        holed(images, options.share), labels=np.arange(len(images)), config=DataConfig(cells="gaps")
    )
    model = ModelConfig(latent_dim=10, likelihood="gaussian-shared", hidden=(256,))
    report("Digits", trained(splits, model, options.steps), splits, images)

    wine = load_wine()
    table = np.column_stack([wine.data, wine.target])
    config = DataConfig(cells="mixed", categories=("column 14",))
    splits = read(
        holed(table, options.share), labels=np.arange(len(table)), config=config, name="wine"
    )
    names = (*wine.feature_names, "cultivar")
    model = ModelConfig(latent_dim=2, likelihood="mixed", hidden=(32,), dropout=0.1)
    report(f"Wine ({', '.join(names)})", trained(splits, model, options.steps // 2), splits, table)


if __name__ == "__main__":
    main()
