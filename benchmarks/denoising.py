"""Denoising: MNIST with a quarter of the pixels black or white, a VAE against a median filter on the test images.

A 784-500-500 VAE is trained on clean images whose corrupted form its encoder sees; then the corrupted test images,
which it has never seen, are reconstructed at the mean of q(z|x). PSNR = 10 log10(1 / mean squared error) of each image,
for intensities in [0, 1]; the means are over the images, the difference is paired.

    python benchmarks/denoising.py --data mnist/
"""

import argparse
import time
from pathlib import Path

import torch
from scipy.ndimage import median_filter

from variform import ModelConfig, TrainConfig, build_objective, build_vae, fit, read
from variform.evaluation.standard_error import Estimate
from variform.objectives import Corruption


def psnr(clean: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """In decibels, (N,)."""
    return -10 * torch.log10((clean - images).double().square().flatten(1).mean(1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--data", type=Path, required=True, help="a folder with the four IDX files of MNIST"
    )
    parser.add_argument("--level", type=float, default=0.25)
    parser.add_argument("--latent-dim", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    splits = read(str(options.data))
    model = ModelConfig(likelihood="bernoulli", latent_dim=options.latent_dim, hidden=(500, 500))
    config = TrainConfig(
        epochs=options.epochs,
        schedule="cosine",
        noise="salt-and-pepper",
        noise_level=options.level,
        seed=options.seed,
    )
    vae = build_vae(model, splits.train.schema, seed=options.seed, moments=splits.train.moments())
    begun = time.monotonic()
    history = fit(build_objective(vae, config), splits.train, splits.valid, config, progress=True)
    seconds = time.monotonic() - begun
    clean = splits.test.prepared()
    torch.manual_seed(options.seed + 1)
    noisy = Corruption.of("salt-and-pepper", options.level, splits.train.schema)(clean)
    with torch.no_grad():
        cleaned = torch.cat([vae.reconstruct(part) for part in noisy.split(1000)])
    filtered = torch.from_numpy(median_filter(noisy.numpy(), size=(1, 1, 3, 3)))
    results = {"noisy": noisy, "median filter 3 x 3": filtered, "VAE": cleaned}
    print(f"torch {torch.__version__}, {options.threads} threads, {options.latent_dim} latents")
    print(f"{history.rows[-1]['epoch']} epochs in {seconds:.0f} s, best {history.best_epoch}")
    for name, restored in results.items():
        value, error = (
            Estimate.of(psnr(clean, restored)),
            (clean - restored).double().square().mean().sqrt().item(),
        )
        print(
            f"{name}: PSNR {value.mean:.2f} ± {value.se:.2f} dB over {value.n:,} images, RMS error {error:.4f}"
        )
    gain = Estimate.of(psnr(clean, cleaned) - psnr(clean, filtered))
    better = (psnr(clean, cleaned) > psnr(clean, filtered)).double().mean().item()
    print(
        f"VAE above the median filter: {gain.mean:.2f} ± {gain.se:.2f} dB (paired), better on {better:.1%} of images"
    )


if __name__ == "__main__":
    main()
