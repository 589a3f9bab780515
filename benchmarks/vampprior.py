"""Published numbers of the VampPrior paper's plain VAE: its network on Frey faces and on static MNIST, two priors.

    python benchmarks/vampprior.py frey frey_faces_u8_1965x28x20.npy runs/frey
    python benchmarks/vampprior.py mnist static_mnist/binarized_mnist_packed.npz runs/static --prior vamp
    python benchmarks/vampprior.py mnist - runs/static --prior vamp          # goes on with a run that was stopped
    python benchmarks/vampprior.py mnist static_mnist/binarized_mnist_packed.npz runs/static --prior vamp --levels 2

Tomczak and Welling (2018): gated dense layers of 300 and 300 units, 40 latents, 500 pseudo-inputs, KL warm-up over 100
epochs, batches of 100, He-normal initialisation, NLL(5000). Frey: 1,565 training, 200 validation and 200 test faces of
a shuffle of all 1,965 (neighbouring frames are near-duplicates and fall into different splits, as in the paper), a
discretised logistic on 256 bins; bits per pixel. Static MNIST: the fixed binarised files, 50,000 / 10,000 / 10,000.

Ours: Adam at 0.001, falling to zero along a cosine over a number of epochs that is fixed beforehand, and the weights of
the best validation epoch; no limit on the log-variance. Static MNIST with the VampPrior: batches of 250, for the 500
pseudo-inputs are encoded once a step; a constant learning rate; the moving average of the weights (decay 0.999) is what
is validated and kept.

With `--levels 2` the model of the paper's section 4: two latents of 40, q(z2|x), q(z1|x, z2), p(z1|z2), p(x|z1, z2).
"""

import argparse
import time
from pathlib import Path

import numpy as np

from variform import EvaluationConfig, ModelConfig, RunConfig, TrainConfig
from variform.evaluation.tables import show
from variform.runs.folder import Run, open_run
from variform.runs.records import history
from variform.runs.train import resume_run, train_run

PUBLISHED = {
    ("frey", 1): {"normal": 4.63, "vamp": 4.57},
    ("mnist", 1): {"normal": 88.56, "vamp": 85.57},
    ("mnist", 2): {"normal": 86.05, "vamp": 84.85},  # the second by a replication
}
TRAINING = {
    ("frey", "normal"): {"epochs": 1500},
    ("frey", "vamp"): {"epochs": 600},
    ("mnist", "normal"): {"epochs": 400},
    ("mnist", "vamp"): {"epochs": 300, "batch_size": 250, "schedule": "constant", "ema": 0.999},
}


def write_data(name: str, source: Path, folder: Path) -> Path:
    path = folder / f"{name}.npz"
    if path.exists():
        return path
    if name == "frey":
        images = np.load(source)[np.random.default_rng(0).permutation(1965)]
        parts = {"train": images[:1565], "valid": images[1565:1765], "test": images[1765:]}
    else:
        with np.load(source) as arrays:
            parts = {
                part: np.unpackbits(arrays[part], axis=1) for part in ("train", "valid", "test")
            }
        parts = {part: rows.reshape(-1, 28, 28) for part, rows in parts.items()}
    np.savez(path, **parts)
    return path


def configured(options: argparse.Namespace, source: Path) -> RunConfig:
    rows = 1565 if options.data == "frey" else 50_000
    model = ModelConfig(
        latent_dim=40 if options.levels == 1 else None,
        latents=(40, 40) if options.levels == 2 else (),
        likelihood="logistic" if options.data == "frey" else "bernoulli",
        hidden=(300, 300),
        gated=True,
        initialisation="he-normal",
        posterior_std="exp",
        prior=options.prior,
        components=500 if options.prior == "vamp" else 100,
    )
    chosen = {"batch_size": 100, "schedule": "cosine"} | TRAINING[options.data, options.prior]
    for name in ("epochs", "batch_size", "learning_rate", "schedule", "ema"):
        if getattr(options, name) is not None:
            chosen[name] = getattr(options, name)
    train = TrainConfig(
        **chosen,
        warmup=100 * -(-rows // chosen["batch_size"]),
        checkpoint_every="60s",
        seed=options.seed,
    )
    return RunConfig(
        source=str(source),
        model=model,
        train=train,
        evaluation=EvaluationConfig(nll_samples=options.samples),
    )


def report(run: Run, options: argparse.Namespace, seconds: float) -> None:
    numbers, published = run.evaluation, PUBLISHED[options.data, options.levels][options.prior]
    unit = "bits_per_dim" if options.data == "frey" else "nll"
    rows = history(run.folder)
    best = max((row for row in rows if row["best"]), key=lambda row: row["epoch"])["epoch"]
    print(
        f"{options.data}, prior {options.prior}: {unit} {show(numbers[unit])} (published {published})"
    )
    print(f"  ELBO {show(numbers['elbo'])}, NLL({options.samples}) {show(numbers['nll'])} nats")
    print(
        f"  effective samples {numbers['ess']['mean']:.1f}, active units "
        f"{numbers['active_units']['count']} of {numbers['active_units']['of']}"
    )
    print(
        f"  {len(rows)} epochs, best {best}, training {rows[-1]['seconds']:.0f} s, in all {seconds:.0f} s"
    )
    last, before = (rows[place]["valid_elbo"] for place in (-1, max(-51, -len(rows))))
    print(f"  slope at the end: valid ELBO {last:.3f}, 50 epochs before {before:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", choices=("frey", "mnist"))
    parser.add_argument("source", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--prior", choices=("normal", "vamp"), default="normal")
    parser.add_argument("--levels", type=int, choices=(1, 2), default=1)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--schedule", choices=("constant", "cosine"))
    parser.add_argument("--ema", type=float)
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    name = f"{options.data}-{options.prior}" + ("-two" if options.levels == 2 else "")
    folder, started = options.folder / name, time.perf_counter()
    if (folder / "evaluation.json").exists():
        run = open_run(folder)
    elif (folder / "checkpoint.safetensors").exists():
        run = resume_run(folder, progress=True)
    else:
        config = configured(options, write_data(options.data, options.source, options.folder))
        run = train_run(config, folder, progress=True)
    report(run, options, time.perf_counter() - started)


if __name__ == "__main__":
    main()
