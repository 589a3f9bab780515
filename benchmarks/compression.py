"""Compression of 10,000 test images by bits back, beside published rates, the ELBO and other programs.

    python benchmarks/compression.py train bb-ans mnist.npz runs/bb-ans          # 784-100-40, Bernoulli draws
    python benchmarks/compression.py train grey mnist.npz runs/grey              # 784-200-50, beta-binomial
    python benchmarks/vampprior.py mnist binarized_mnist_packed.npz runs --prior vamp
    python benchmarks/compression.py rate runs/bb-ans drawn.npy

mnist.npz has the arrays train, valid and test, (N, 28, 28) of bytes; a .npy file has the images that are compressed.
`rate` compresses, decompresses, compares every byte, also by `codec.py` with NumPy alone, and prints bits a pixel.

Published, bits a pixel of MNIST (Townsend, Bird and Barber, 2019): binarised .19, ELBO .19 (bz2 .25, gzip .33, PNG
.78); grey 1.41, ELBO 1.39. Bit-Swap (Kingma, Abbeel and Ho, 2019): grey 1.27.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from variform import DataConfig, EvaluationConfig, ModelConfig, RunConfig, TrainConfig
from variform.compression.files import compress_file, decompress_file
from variform.export.handover import hand_over
from variform.runs.folder import open_run
from variform.runs.train import train_run

MODELS = {
    "bb-ans": ModelConfig(
        likelihood="bernoulli", latent_dim=40, hidden=(100,), posterior_std="exp"
    ),
    "grey": ModelConfig(
        likelihood="beta-binomial", latent_dim=50, hidden=(200,), posterior_std="exp"
    ),
}
TRAINING = {
    "bb-ans": TrainConfig(epochs=100, batch_size=100, learning_rate=1e-3, schedule="constant"),
    "grey": TrainConfig(steps=6000, batch_size=100, learning_rate=3e-3, schedule="cosine"),
}


def train(name: str, source: Path, folder: Path) -> None:
    config = RunConfig(
        source=str(source),
        data=DataConfig(binarise="dynamic" if name == "bb-ans" else "none"),
        model=MODELS[name],
        train=TRAINING[name],
        evaluation=EvaluationConfig(nll_samples=10),
    )
    train_run(config, folder, progress=True)


def rate(folder: Path, images: Path) -> None:
    run = open_run(folder)
    with tempfile.TemporaryDirectory() as place:
        file, again, alone = (Path(place) / name for name in ("a.vf", "b.npy", "c.npy"))
        begin = time.process_time()
        numbers = compress_file(run, images, file, config=run.config.data, beside=True)
        between = time.process_time()
        decompress_file(run, file, again)
        end = time.process_time()
        away = Path(place) / "away"
        hand_over(run, "numpy", away)
        command = [sys.executable, "-E", "-s", str(away / "codec.py"), str(away / "model.npz")]
        subprocess.run([*command, str(file), str(alone)], check=True)
        same = [path.read_bytes() == images.read_bytes() for path in (again, alone)]
    for name in ("net", "total", "elbo"):
        print(f"{name:8} {numbers[name]:.4f} bits a value")
    for name, other in numbers["beside"].items():
        print(f"{name:8} {other:.4f} bits a value")
    print(f"net over ELBO {numbers['net'] / numbers['elbo']:.4f}; {numbers['bytes']:,} bytes")
    print(f"every byte back: {same[0]}; by NumPy alone: {same[1]}")
    print(f"CPU seconds: {between - begin:.1f} to compress (and others), {end - between:.1f} back")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    training = commands.add_parser("train")
    training.add_argument("name", choices=sorted(MODELS))
    training.add_argument("source", type=Path)
    training.add_argument("folder", type=Path)
    rating = commands.add_parser("rate")
    rating.add_argument("folder", type=Path)
    rating.add_argument("images", type=Path)
    options = parser.parse_args()
    if options.command == "train":
        train(options.name, options.source, options.folder)
    else:
        rate(options.folder, options.images)


if __name__ == "__main__":
    main()
