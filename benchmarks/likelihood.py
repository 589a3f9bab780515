"""NLL by importance sampling against its floor, the decoder's matrix products.

A 784-400-20 VAE with a Bernoulli likelihood is trained for an epoch; then, in turn, the matrix products that k decodes
of every image need are done alone, and `score` is run on the same images.

    python benchmarks/likelihood.py fashion-mnist/ --rows 1000 --samples 1000
    python benchmarks/likelihood.py fashion-mnist/ --rows 10000 --samples 5000 --repeats 1
"""

import argparse
import statistics
import time

import torch

from variform import DataConfig, ModelConfig, TrainConfig, build_objective, build_vae, fit, read
from variform.data.dataset import Dataset
from variform.evaluation.log_likelihood import score
from variform.model.vae import VAE


def trained(source: str, epochs: int) -> tuple[VAE, Dataset]:
    """The model, and the test rows."""
    data = read(source, DataConfig(binarise="dynamic"))
    vae = build_vae(
        ModelConfig(likelihood="bernoulli", latent_dim=20, hidden=(400,)),
        data.schema,
        seed=0,
        moments=data.train.moments(seed=0),
    )
    config = TrainConfig(epochs=epochs, batch_size=128, seed=0)
    fit(build_objective(vae, config), data.train, data.valid, config)
    return vae, data.test


def floor(vae: VAE, decodes: int, at_once: int) -> float:
    """Seconds that the products of `decodes` decodes take: no biases, no activations, no draws, no likelihood."""
    hidden, output = vae.decoder.layers[1].weight.detach().T, vae.decoder.output.weight.detach().T
    z, h = torch.randn(at_once, hidden.shape[0]), torch.rand(at_once, output.shape[0])
    begin = time.perf_counter()
    for _ in range(decodes // at_once):
        torch.mm(z, hidden)
        torch.mm(h, output)
    seconds = time.perf_counter() - begin
    return seconds * decodes / (decodes // at_once * at_once)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "source", help="a folder with images of 28 x 28, e.g. the four IDX files of MNIST"
    )
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument(
        "--at-once", type=int, default=640, help="decodes in one product of the floor"
    )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    vae, test = trained(options.source, options.epochs)
    rows = Dataset(test.raw[: options.rows], test.schema)
    decodes = len(rows) * options.samples
    score(vae, Dataset(test.raw[:64], test.schema), samples=100)
    floor(vae, 10 * options.at_once, options.at_once)
    print(
        f"torch {torch.__version__}, {options.threads} threads, {len(rows)} rows, {options.samples} samples"
    )
    print(f"{'floor s':>9} {'score s':>9} {'ratio':>6} {'NLL':>9} {'ESS':>7}")
    floors, times = [], []
    for _ in range(options.repeats):
        floors.append(floor(vae, decodes, options.at_once))
        begin = time.perf_counter()
        scores = score(vae, rows, samples=options.samples, progress=True)
        times.append(time.perf_counter() - begin)
        nll, ess = -scores.log_px.mean().item(), scores.ess.mean().item()
        print(
            f"{floors[-1]:9.3f} {times[-1]:9.3f} {times[-1] / floors[-1]:6.3f} {nll:9.3f} {ess:7.1f}",
            flush=True,
        )
    ratios = [seconds / least for seconds, least in zip(times, floors, strict=True)]
    for name, of in (("least", min), ("median", statistics.median)):
        print(f"{name}: floor {of(floors):.3f} s, score {of(times):.3f} s, ratio {of(ratios):.3f}")


if __name__ == "__main__":
    main()
