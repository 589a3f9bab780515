"""Which sampler gives which log-likelihood and which samples? Prints a table for RESULTS.md.

python benchmarks/samplers.py digits
python benchmarks/samplers.py MNIST_FOLDER --likelihood bernoulli --binarise dynamic --latent-dim 10 --epochs 30
"""

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from variform.config.data import DataConfig
from variform.config.model import ModelConfig
from variform.config.run import EvaluationConfig, RunConfig
from variform.config.training import TrainConfig
from variform.evaluation.tables import sampler_table
from variform.runs.samplers import fit_sampler
from variform.runs.train import train_run


def main() -> None:
    """Train, fit both samplers, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source")
    parser.add_argument("--likelihood", default="gaussian-shared")
    parser.add_argument("--binarise", default="none")
    parser.add_argument("--latent-dim", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--samples", type=int, default=1000)
    options = parser.parse_args()
    config = RunConfig(
        source=options.source,
        data=DataConfig(binarise=options.binarise),
        model=ModelConfig(likelihood=options.likelihood, latent_dim=options.latent_dim),
        train=TrainConfig(epochs=options.epochs, learning_rate=2e-3, schedule="cosine"),
        evaluation=EvaluationConfig(nll_samples=1),
    )
    with TemporaryDirectory() as folder:
        run = train_run(config, Path(folder) / "run", pictures=False)
        numbers = {}
        for kind in ("gmm", "flow"):
            start = time.perf_counter()
            numbers = fit_sampler(run, kind, samples=options.samples)
            print(
                f"{kind}: {time.perf_counter() - start:.0f} s with the comparison; {numbers['samplers'][kind]['fit']}"
            )
    header, rows = sampler_table(numbers)
    for cells in (header, ["---", *["---:"] * (len(header) - 1)], *rows):
        print("| " + " | ".join(cells) + " |")
    print(f"{numbers['compared']:,} {numbers['decoded']} of p(x|z) against as many test rows.")


if __name__ == "__main__":
    main()
