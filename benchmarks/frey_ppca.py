"""Truth: a linear VAE with one learned variance against the exact likelihood of probabilistic PCA, on Frey faces.

The optimum of this VAE's ELBO is the maximum likelihood of probabilistic PCA, which is known in closed form
(Lucas et al. 2019), and all its local maxima are global.

    python benchmarks/frey_ppca.py frey_faces_u8_1965x28x20.npy

Fitted and evaluated on all 1,965 images, x = grey / 255.
"""

import sys
from pathlib import Path

import numpy as np
import torch

from variform import ModelConfig, TrainConfig, build_objective, build_vae, fit
from variform.data.reading import dataset_from
from variform.evaluation.components import fit_pca
from variform.evaluation.log_likelihood import score

TRAIN = TrainConfig(steps=20_000, batch_size=256, learning_rate=1e-2, schedule="cosine")


def main(source: Path) -> None:
    images = np.load(source)
    data = dataset_from(torch.tensor(images.reshape(len(images), -1) / 255, dtype=torch.float32))
    print(
        f"{'q':>3} {'exact':>10} {'ELBO':>10} {'difference':>11} {'NLL, k = 100':>13} {'variance':>9}"
    )
    for dim in (2, 5, 10, 20):
        exact = (
            fit_pca(data.prepared().double().numpy(), dim)
            .log_prob(data.prepared().double().numpy())
            .mean()
        )
        model = ModelConfig(latent_dim=dim, likelihood="gaussian-shared", hidden=())
        vae = build_vae(model, data.schema, moments=data.moments())
        fit(build_objective(vae, TRAIN), data, data, TRAIN)
        scores = score(vae, data, samples=100)
        elbo, nll = scores.elbo.mean().item(), -scores.log_px.mean().item()
        variance = vae.decode(torch.zeros(1, dim)).variance.mean().item()
        print(
            f"{dim:>3} {exact:>10.4f} {elbo:>10.4f} {exact - elbo:>11.4f} {nll:>13.4f} {variance:>9.5f}",
            flush=True,
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
