"""The lecture with pictures: four likelihoods, four latent dimensions, and a latent plane to look at.

python examples/lecture.py pictures
"""

import argparse
from pathlib import Path

from variform import ModelConfig, TrainConfig, build_objective, build_vae, evaluate, fit, read
from variform.data.dataset import Splits
from variform.evaluation import exploration
from variform.evaluation.tables import show
from variform.model.vae import VAE
from variform.pages.examples import plot_reconstructions, plot_samples
from variform.pages.latents import plot_latent, plot_manifold


def train(data: Splits, likelihood: str, latent_dim: int, epochs: int) -> VAE:
    model = ModelConfig(likelihood=likelihood, latent_dim=latent_dim, hidden=(256,))
    config = TrainConfig(epochs=epochs, batch_size=128, learning_rate=5e-3, schedule="cosine")
    vae = build_vae(model, data.schema, moments=data.train.moments())
    fit(build_objective(vae, config), data.train, data.valid, config)
    return vae


def main(folder: Path, epochs: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    data = read("digits")
    few = exploration.spread(20, len(data.test))
    print("Likelihoods, 10 latents. NLLs do not compare: Bernoulli's is no density of grey values.")
    for likelihood in ("bernoulli", "gaussian", "gaussian-identity", "gaussian-shared"):
        vae = train(data, likelihood, 10, epochs)
        numbers = evaluate(vae, data.test, samples=200)
        error, active = show(numbers["reconstruction_error"]), numbers["active_units"]["count"]
        print(f"{likelihood:>18}: KL {show(numbers['kl'])} nats, {active:>2} active, error {error}")
        originals, copies = (values[few] for values in exploration.reconstruct(vae, data.test))
        figure = plot_reconstructions(originals, copies, value_range=(0, 16))
        figure.savefig(folder / f"reconstructions-{likelihood}.png")
    print("\nLatent dimensions, one learned variance. These NLLs share a unit: lower is better.")
    for latent_dim in (2, 5, 10, 20):
        vae = train(data, "gaussian-shared", latent_dim, epochs)
        numbers = evaluate(vae, data.test, data.train, samples=200)
        exact, active = numbers["baselines"]["pca"]["nll"], numbers["active_units"]["count"]
        nll = show(numbers["nll"])
        print(f"{latent_dim:>18}: NLL {nll} nats, PCA's {show(exact)}, {active:>2} active latents")
        new = exploration.generate(vae, 64)
        plot_samples(new, value_range=(0, 16)).savefig(folder / f"samples-{latent_dim}.png")
        if latent_dim == 2:
            grid, quantiles = exploration.manifold(vae)
            plot_manifold(grid, quantiles, value_range=(0, 16)).savefig(folder / "manifold.png")
            means, _ = exploration.encode(vae, data.test)
            figure = plot_latent(means, data.test.labels, classes=data.schema.classes)
            figure.savefig(folder / "latent.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the pictures go")
    parser.add_argument("--epochs", type=int, default=200)
    main(**vars(parser.parse_args()))
