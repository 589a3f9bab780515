"""Latents that are codes, on static MNIST: one code of 500 values, 20 codes of 10, and FSQ's use of its codes.

    python benchmarks/codes.py static_mnist/binarized_mnist_packed.npz runs/codes --part one
    python benchmarks/codes.py - runs/codes --part gumbel      # or straight-through, fsq

`one`: a mixture of 500 Bernoulli vectors, all of one weight, trained by the exact ELBO; NLL is the exact sum over the
500 values.
`gumbel`, `straight-through`: 20 codes of 10 values, layers of 512 and 256 units, a uniform prior with its closed-form
KL, temperature from 1 falling to 0.5; NLL by importance samples. `fsq`: codes of levels 8, 6 and 5, of whose 240 values
the share is printed that some training row uses.
"""

import argparse
import time
from pathlib import Path

from vampprior import write_data

from variform import EvaluationConfig, ModelConfig, RunConfig, TrainConfig
from variform.config.model import require_effect
from variform.evaluation.tables import how_estimated, show
from variform.runs.folder import open_run
from variform.runs.records import history
from variform.runs.train import resume_run, train_run

_TWENTY = {
    "posterior": "categorical",
    "codes": 20,
    "values": 10,
    "prior": "uniform",
    "hidden": (512, 256),
    "temperature_rate": 1e-4,
}
PARTS = {
    "one": (
        {
            "posterior": "categorical",
            "codes": 1,
            "values": 500,
            "prior": "uniform",
            "relaxation": "exact",
            "hidden": (500,),
            "decoder_hidden": (),
        },
        {"epochs": 8, "batch_size": 100, "learning_rate": 0.01, "schedule": "cosine"},
    ),
    "gumbel": (_TWENTY, {"epochs": 40, "batch_size": 100, "learning_rate": 1e-3}),
    "straight-through": (
        _TWENTY | {"relaxation": "straight-through"},
        {"epochs": 40, "batch_size": 100, "learning_rate": 1e-3},
    ),
    "fsq": (
        {"posterior": "fsq", "codes": 4, "levels": (8, 6, 5), "hidden": (512, 256)},
        {"epochs": 5, "batch_size": 100, "learning_rate": 1e-3},
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--part", choices=sorted(PARTS), default="one")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--samples", type=int, default=100)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    source = write_data("mnist", options.source, options.folder)
    model, train = PARTS[options.part]
    if options.epochs is not None:
        train = train | {"epochs": options.epochs}
    config = RunConfig(
        source=str(source),
        model=ModelConfig(likelihood="bernoulli", **model),
        train=TrainConfig(**train, checkpoint_every="60s"),
        evaluation=EvaluationConfig(nll_samples=options.samples),
    )
    require_effect(config.model)
    folder, started = options.folder / options.part, time.process_time()
    if (folder / "config.toml").exists():
        resume_run(folder, pictures=False)
    else:
        train_run(config, folder, pictures=False)
    run = open_run(folder)
    numbers, last = run.evaluation, history(folder)[-1]
    print(f"{options.part}: NLL{how_estimated(numbers)} {show(numbers['nll'])} nats")
    print(f"  ELBO {show(numbers['elbo'])}, KL {show(numbers['kl'])}")
    print(
        f"  after {last['epoch']} epochs: codes used {last['code_use']:.2%} of the values, perplexity "
        f"{last['code_perplexity']:.2f}, dead {last['dead_codes']}"
    )
    print(f"  {time.process_time() - started:.0f} CPU seconds")


if __name__ == "__main__":
    main()
