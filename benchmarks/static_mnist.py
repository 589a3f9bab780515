"""A published run: altosaar/variational-autoencoder on static MNIST, with its own network and optimiser settings.

Published (its README): test ELBO -103.31, NLL(128) 97.10, weights chosen by validation ELBO.

    python benchmarks/static_mnist.py static_mnist/binarized_mnist_packed.npz runs/static-mnist

The first argument is the statically binarised MNIST of Larochelle and Murray (2011) as an .npz whose arrays train,
valid and test hold the 784 pixels of a row as 98 packed bytes.
"""

import sys
from pathlib import Path

import numpy as np

from variform import EvaluationConfig, ModelConfig, RunConfig, TrainConfig
from variform.evaluation.tables import show
from variform.runs.train import train_run

MODEL = ModelConfig(
    likelihood="bernoulli",
    latent_dim=128,
    hidden=(256, 256),
    posterior_std="softplus",
    centre=False,
)
TRAIN = TrainConfig(
    steps=100_000, batch_size=128, optimizer="rmsprop", learning_rate=1e-3, kl="closed-form"
)
PUBLISHED = {"elbo": -103.31, "nll": 97.10}


def main(packed: Path, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    source = (
        folder.parent / "static_mnist.npz"
    )  # kept, so that the run can be resumed and evaluated again
    with np.load(packed) as arrays:
        rows = {name: np.unpackbits(arrays[name], axis=1) for name in ("train", "valid", "test")}
    np.savez(source, **{name: images.reshape(-1, 28, 28) for name, images in rows.items()})
    config = RunConfig(
        source=str(source), model=MODEL, train=TRAIN, evaluation=EvaluationConfig(nll_samples=128)
    )
    run = train_run(config, folder, progress=True)
    for name, published in PUBLISHED.items():
        print(f"{name}: {show(run.evaluation[name])} (published {published})")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
