"""What is not of the training data but simpler: three scores of the same rows, by the area under the ROC curve.

A model of digits with noise, and rows that it was not trained on: digits without noise, constant images with noise and
without, mirrored digits and digits with their pixels shuffled. An area of 0.5 tells nothing; one below it takes the
outliers for the more usual rows.

    python benchmarks/outliers.py --steps 1000
"""

import argparse

import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score

from variform import ModelConfig, TrainConfig, build_objective, build_vae, fit, read
from variform.data.dataset import Splits
from variform.data.reading import rows_like
from variform.evaluation.outliers import outliers

SCORES = ("nll", "regret", "typicality")
MOST = 180  # rows of each kind
Images = dict[str, np.ndarray]


def noisy_digits(random: np.random.Generator) -> tuple[Splits, Images]:
    clean = load_digits().images[:, None].astype(np.float32)

    def noisy(x: np.ndarray) -> np.ndarray:
        return (x + 4 * random.normal(size=x.shape)).astype(np.float32)

    data = read(noisy(clean))
    assert data.test.index is not None
    own = clean[data.test.index.numpy()][:MOST]
    constant = np.zeros_like(own) + random.uniform(0, 16, (len(own), 1, 1, 1)).astype(np.float32)
    rows = data.test.prepared()[: len(own)].numpy() * data.schema.scale[0] + data.schema.shift[0]
    pixels = rows.reshape(len(own), -1)
    kinds = {
        "digits without noise": own,
        "constant": constant,
        "constant with noise": noisy(constant),
        "mirrored": noisy(own[..., ::-1]),
        "shuffled": random.permuted(pixels, axis=1).reshape(own.shape),
    }
    return data, kinds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--refine", type=int, default=50)
    args = parser.parse_args()
    data, kinds = noisy_digits(np.random.default_rng(0))
    model = ModelConfig(latent_dim=8, likelihood="gaussian-shared")
    vae = build_vae(model, data.schema, moments=data.train.moments(), seed=0)
    config = TrainConfig(steps=args.steps)
    fit(build_objective(vae, config), data.train, data.valid, config)
    sets = {name: rows_like(x, data.schema) for name, x in kinds.items()}
    areas: dict[str, list[float]] = {name: [] for name in kinds}
    for by in SCORES:
        options = {"by": by, "samples": args.samples, "refine": args.refine}
        usual = outliers(vae, data.test, data.valid, **options).score
        for name, rows in sets.items():
            other = outliers(vae, rows, data.valid, **options).score
            truth = np.repeat([0, 1], [len(usual), len(other)])
            areas[name].append(roc_auc_score(truth, np.concatenate([usual, other])))
    print(f"| rows | {' | '.join(SCORES)} |\n|---|---|---|---|")
    for name, values in areas.items():
        print(f"| {name} | {' | '.join(f'{value:.3f}' for value in values)} |")


if __name__ == "__main__":
    main()
