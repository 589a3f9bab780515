"""Why latents of the denoising model switch off under `gaussian-shared`: an epoch of MNIST, one change at a time.

First what z can do before the first step: how much the means of p(x|z) move where z is drawn from the prior (their
variance summed over pixels, beside that of the data and beside the noise that the likelihood starts with), and how much
the means of q(z|x) tell of clean images and of the noise on them. Then the training of benchmarks/denoising.py for an
epoch with the same likelihood, as it stands and with one change each.

    python benchmarks/collapse.py --data mnist/
"""

import argparse
import math
from pathlib import Path
from typing import Any

import torch

from variform import ModelConfig, TrainConfig, build_objective, build_vae, fit, read
from variform.data.dataset import Splits
from variform.objectives import Corruption

PLAIN = {"likelihood": "gaussian-shared", "latent_dim": 64, "hidden": (500, 500)}
NOISE = {"noise": "salt-and-pepper", "noise_level": 0.25, "schedule": "cosine", "epochs": 1}
NETWORKS: dict[str, dict[str, Any]] = {
    "as it stands: 500-500, ReLU": {},
    "one hidden layer": {"hidden": (500,)},
    "no hidden layer": {"hidden": ()},
    "tanh": {"activation": "tanh"},
    "layer norm": {"layer_norm": True},
}
TRAININGS: dict[str, dict[str, Any]] = {
    "no noise on the input": {"noise": "none", "noise_level": 0.0},
    "a tenth of the pixels noisy": {"noise_level": 0.1},
    "8 latents": {"latent_dim": 8},
    "warm-up of 469 steps": {"warmup": 469},
    "free bits 0.1": {"free_bits": 0.1},
    "batch 16, learning rate 3e-4": {"batch_size": 16, "learning_rate": 3e-4},
    "learning rate 1e-4": {"learning_rate": 1e-4},
    "bernoulli": {"likelihood": "bernoulli"},
    "gaussian-per-feature": {"likelihood": "gaussian-per-feature"},
}
STARTS = {"a noise that starts at 0.1": 0.1, "a noise that starts at 0.5": 0.5}


def built(splits: Splits, seed: int, changes: dict[str, Any]) -> tuple[Any, TrainConfig]:
    fields = ModelConfig.__dataclass_fields__
    of_model = PLAIN | {name: value for name, value in changes.items() if name in fields}
    of_train = {name: value for name, value in changes.items() if name not in fields}
    config = TrainConfig(**NOISE | {"seed": seed} | of_train)
    moments = splits.train.moments()
    return build_vae(ModelConfig(**of_model), splits.schema, seed=seed, moments=moments), config


def signals(splits: Splits) -> None:
    """What z says before training, of 2,000 training images and 4,000 draws."""
    clean = splits.train.take(torch.arange(2000)).prepared()
    torch.manual_seed(1)
    noisy = Corruption.of("salt-and-pepper", 0.25, splits.schema)(clean)
    print(f"variance of the data, summed over pixels: {clean.flatten(1).var(0).sum():.1f}")
    for name, changes in NETWORKS.items():
        vae, _ = built(splits, 0, changes)
        with torch.no_grad():
            torch.manual_seed(0)
            moved = vae.decode(torch.randn(4000, 64)).mean.flatten(1).var(0).sum().item()
            q = vae.encode(clean)
            told = q.mean.var(0).sum().item()
            of_noise = (vae.encode(noisy).mean - q.mean).var(0).sum().item()
            std = q.stddev.mean().item()
        print(
            f"{name}: means of p(x|z) move by {moved:.3g} for z from the prior; means of q(z|x) by {told:.3g} over "
            f"images and {of_noise:.3g} by the noise, of 64 latents with a standard deviation of {std:.2f} each"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="a folder with the files of MNIST")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--only", default="", help="changes whose name has this text")
    options = parser.parse_args()
    torch.set_num_threads(1)
    splits = read(str(options.data))
    signals(splits)
    for seed in options.seeds:
        for name, changes in (NETWORKS | TRAININGS | {key: {} for key in STARTS}).items():
            if options.only not in name:
                continue
            vae, config = built(splits, seed, changes)
            if name in STARTS:
                with torch.no_grad():
                    vae.likelihood.raw_log_var.fill_(2 * math.log(STARTS[name]))
            [row] = fit(build_objective(vae, config), splits.train, splits.valid, config).rows
            print(
                f"seed {seed}: {name}: KL {row['valid_kl']:.2f}, validation loss {row['valid_loss']:.1f} nats",
                flush=True,
            )


if __name__ == "__main__":
    main()
