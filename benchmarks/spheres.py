"""Latents on a sphere beside Gaussian ones: dynamic MNIST by the protocol of Davidson et al. (2018), table 1.

784-256-128-z and back, relu; Adam 1e-3, batches of 64; a fresh binarisation at every presentation; trained on the first
50,000 images, the weights those of the best epoch on 2,000 of the other 10,000; NLL(500) on the 10,000 of the test set,
binarised once, the same for all arms. `--latent-dim` is the sphere's dimension d: its points are d + 1 numbers.

Published log p(x), Gaussian / von Mises-Fisher: d = 2 -135.73 ± 0.83 / -132.50 ± 0.73; d = 5 -110.21 ± 0.21 /
-108.43 ± 0.09. Their trainings end after 50 epochs without a better validation; here all arms have the same epochs.

    python benchmarks/spheres.py mnist/ runs/spheres --epochs 60
    python benchmarks/spheres.py mnist/ runs/spheres --epochs 60 --arms diagonal-2 von-mises-fisher-2

Each arm is trained in a folder of its own and goes on from its last checkpoint; what is evaluated stays.
"""

import argparse
import gzip
import time
from pathlib import Path

import numpy as np
import torch

from variform import DataConfig, ModelConfig, TrainConfig, build_objective, build_vae
from variform.data.dataset import Dataset
from variform.data.reading import read
from variform.evaluation.log_likelihood import score
from variform.evaluation.standard_error import Estimate
from variform.training.fit import fit

POSTERIORS = ("diagonal", "von-mises-fisher", "power-spherical")
ARMS = [f"{posterior}-{dim}" for dim in (2, 5) for posterior in POSTERIORS]


def images(folder: Path, part: str) -> np.ndarray:
    content = gzip.decompress((folder / f"{part}-images-idx3-ubyte.gz").read_bytes())
    return np.frombuffer(content, np.uint8, offset=16).reshape(-1, 28, 28)


def evaluate(arm: str, options: argparse.Namespace) -> np.ndarray:
    """log p(x) of every test row, trained first where it is not."""
    folder = options.folder / f"{arm}-seed-{options.seed}"
    found = folder / f"log_px-{options.epochs}.npy"
    if found.is_file():
        return np.load(found)
    posterior, _, dim = arm.rpartition("-")
    every, test = images(options.mnist, "train"), images(options.mnist, "t10k")
    schema = read(every, config=DataConfig(binarise="dynamic")).train.schema
    train, valid, test = (
        Dataset(torch.from_numpy(rows.copy()).unsqueeze(1), schema)
        for rows in (every[:50_000], every[50_000:52_000], test)
    )
    config = ModelConfig(
        likelihood="bernoulli", posterior=posterior, latent_dim=int(dim), hidden=(256, 128)
    )
    vae = build_vae(config, schema, seed=options.seed, moments=train.moments())
    training = TrainConfig(
        epochs=options.epochs, batch_size=64, learning_rate=1e-3, patience=0, seed=options.seed
    )
    begun = time.process_time()
    begun_before = (folder / "checkpoint.safetensors").is_file()
    history = fit(
        build_objective(vae, training), train, valid, training, folder=folder, resume=begun_before
    )
    seconds = time.process_time() - begun
    scores = score(vae, test, samples=options.samples, seed=options.seed)
    elbo, kl = Estimate.of(scores.elbo), Estimate.of(scores.kl)
    print(
        f"{arm}: best epoch {history.best_epoch} of {options.epochs}, {seconds:.0f} s of CPU; test ELBO "
        f"{elbo.mean:.2f} ± {elbo.se:.2f}, KL {kl.mean:.2f}, ESS {scores.ess.mean().item():.0f}",
        flush=True,
    )
    np.save(found, scores.log_px.numpy())
    return scores.log_px.numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("mnist", type=Path, help="a folder with the four IDX files of MNIST, .gz")
    parser.add_argument("folder", type=Path, help="where the arms are kept")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=ARMS)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--samples", type=int, default=500, help="k of the NLL")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    nlls = {arm: -torch.from_numpy(evaluate(arm, options)) for arm in options.arms}
    for arm, nll in nlls.items():
        value = Estimate.of(nll)
        print(f"{arm}: NLL({options.samples}) {value.mean:.2f} ± {value.se:.2f}")
        beside = nlls.get(f"diagonal-{arm[-1]}")
        if beside is not None and not arm.startswith("diagonal"):
            gain = Estimate.of(beside - nll)
            print(f"  better than the Gaussian by {gain.mean:.2f} ± {gain.se:.2f} (paired)")


if __name__ == "__main__":
    main()
