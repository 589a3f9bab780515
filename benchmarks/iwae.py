"""VAE and IWAE at an equal, truncated budget: the network and the schedule of Burda et al. (2016) on dynamic MNIST.

One stochastic layer, 784-200-200-50 and back, tanh; Glorot-uniform weights, output biases at the logit of the training
mean; Adam with eps 1e-4, batches of 20; stage i = 0, 1, ... makes 3^i passes at the learning rate 0.001 * 10^(-i/7).
The paper makes eight stages, 3,280 passes: with fewer the schedule is truncated. A fresh binarisation at every
presentation; trained on the first 59,600 images, NLL on the 10,000 of the test set, binarised once, the same for all.

Published for the whole schedule (table 1): VAE 86.76 with one sample and 86.47 with five; IWAE, five samples, 85.54.
Tucker et al. (2019) find that doubly reparameterised gradients gain about 0.27 nats on plain ones.

    python benchmarks/iwae.py mnist/ runs/iwae --stages 4
    python benchmarks/iwae.py mnist/ runs/iwae --stages 4 --arms iwae-5-dreg
    python benchmarks/iwae.py mnist/ runs/iwae-121 --stages 8 --passes 121     # all eight rates in 121 passes

Each arm is trained in a folder of its own and goes on from its last checkpoint; a longer schedule goes on from the end
of a shorter one, of which it is a continuation. What is evaluated is not evaluated again.
"""

import argparse
import gzip
import itertools
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from variform import DataConfig, ModelConfig, TrainConfig, build_objective, build_vae
from variform.data.dataset import Dataset
from variform.data.order import epoch_order
from variform.data.reading import read
from variform.evaluation.log_likelihood import score
from variform.evaluation.standard_error import Estimate
from variform.objectives import Objective
from variform.training import checkpoints
from variform.training.step import Step, mean_terms

ARMS = {
    "vae-1": TrainConfig(samples=1, kl="monte-carlo", batch_size=20),
    "vae-5": TrainConfig(samples=5, kl="monte-carlo", batch_size=20),
    "iwae-5": TrainConfig(objective="iwae", samples=5, batch_size=20),
    "iwae-5-dreg": TrainConfig(objective="iwae", samples=5, gradient="dreg", batch_size=20),
}
MODEL = ModelConfig(
    likelihood="bernoulli",
    latent_dim=50,
    hidden=(200, 200),
    activation="tanh",
    posterior_std="exp",
    centre=False,
)


def images(folder: Path, part: str) -> np.ndarray:
    content = gzip.decompress((folder / f"{part}-images-idx3-ubyte.gz").read_bytes())
    return np.frombuffer(content, np.uint8, offset=16).reshape(-1, 28, 28)


def data(folder: Path) -> tuple[Dataset, Dataset]:
    """The training rows of the paper's split, and the test rows."""
    train, test = images(folder, "train"), images(folder, "t10k")
    schema = read(train, config=DataConfig(binarise="dynamic")).train.schema
    train_raw, test_raw = (
        torch.from_numpy(rows.copy()).unsqueeze(1) for rows in (train[:59_600], test)
    )
    return Dataset(train_raw, schema), Dataset(test_raw, schema)


def objective_of(arm: str, train: Dataset, seed: int) -> Objective:
    vae = build_vae(MODEL, train.schema, seed=seed)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        for layer in vae.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                layer.bias.zero_()
        mean = train.raw.double().mean(0) / 255
        vae.decoder.output.bias.copy_(torch.logit(mean.clamp(0.001, 0.999)).flatten())
    return build_objective(vae, ARMS[arm], rows=len(train))


def schedule(stages: int, per_epoch: int, passes: int | None) -> Iterator[float]:
    """The learning rate of every step: as in the paper, or in the paper's proportions within so many passes."""
    whole, done = (3**stages - 1) // 2, 0
    for stage in range(stages):
        end = round((3 ** (stage + 1) - 1) // 2 * per_epoch * (passes or whole) / whole)
        yield from [1e-3 * 10 ** (-stage / 7)] * (end - done)
        done = end


def train_arm(
    arm: str, train: Dataset, folder: Path, options: argparse.Namespace
) -> Objective | None:
    """The trained objective, or None when the time was over first: another call goes on."""
    seed, stages, minutes = options.seed, options.stages, options.minutes
    config = replace(ARMS[arm], seed=seed)
    objective = objective_of(arm, train, seed)
    per_epoch = len(train) // config.batch
    rates = list(schedule(stages, per_epoch, options.passes))
    identity = json.dumps(
        [arm, seed, len(train), *([stages, options.passes] if options.passes else [])]
    )
    take, sums = Step(objective, config, len(rates)), torch.zeros(4, dtype=torch.float64)
    take.optimizer.param_groups[0]["eps"] = 1e-4
    begun, last = time.monotonic(), ""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        state = take.trained.capture(sums)
        if (folder / "checkpoint.safetensors").is_file():
            state = checkpoints.load(folder, identity)
            if state.step > len(rates):
                raise ValueError(
                    f"{folder} is past {stages} stages, at step {state.step:,}; ask for more --stages"
                )
            take.trained.restore(state, sums)
            take.optimizer.param_groups[0]["eps"] = 1e-4
        for epoch in range(state.step // per_epoch, len(rates) // per_epoch):
            sums.zero_()
            for number, index in enumerate(
                epoch_order(len(train), seed, epoch).split(config.batch)
            ):
                take.learning_rate(rates[epoch * per_epoch + number])
                sums += take(objective.vae.batch(train, index)[0], len(index), 1.0)
            means, seconds = mean_terms(sums), time.monotonic() - begun
            elbo = means["log_likelihood"] - means["kl"]
            last = f"{arm}: epoch {epoch + 1}, loss {means['loss']:.3f}, ELBO {elbo:.3f}, {seconds:.0f} s"
            print(last, flush=True)
            row = {"epoch": epoch + 1, **means, "seconds": seconds}
            state = replace(
                take.trained.capture(sums, state),
                step=(epoch + 1) * per_epoch,
                rows=[*state.rows, row],
            )
            checkpoints.save(folder, state, identity)
            if seconds > 60 * minutes and epoch + 1 < len(rates) // per_epoch:
                return None
    return objective


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("mnist", type=Path, help="a folder with the four IDX files of MNIST, .gz")
    parser.add_argument("folder", type=Path, help="where the arms are kept")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument(
        "--stages", type=int, default=4, help="of the paper's eight; 4 are 40 passes"
    )
    parser.add_argument(
        "--passes", type=int, help="in all, over which the stages are spread; else the paper's"
    )
    parser.add_argument("--samples", type=int, default=5000, help="k of the NLL")
    parser.add_argument("--rows", type=int, default=10_000, help="test rows that are evaluated")
    parser.add_argument("--train-rows", type=int, default=59_600)
    parser.add_argument(
        "--minutes", type=float, default=60.0, help="of training for each arm in this call"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    train, test = data(options.mnist)
    train, test = (
        Dataset(train.raw[: options.train_rows], train.schema),
        Dataset(test.raw[: options.rows], test.schema),
    )
    print(
        f"torch {torch.__version__}, {options.threads} threads, {options.stages} of 8 stages, seed {options.seed}"
    )
    for arm in options.arms:
        folder = options.folder / f"{arm}-seed-{options.seed}"
        folder.mkdir(parents=True, exist_ok=True)
        if scores_file(folder, options).is_file():
            continue
        objective = train_arm(arm, train, folder, options)
        if objective is None:
            print(f"{arm}: the time is over; the same command goes on")
            continue
        scores = score(
            objective.vae, test, samples=options.samples, seed=options.seed, progress=True
        )
        active = int((scores.means.var(0, correction=0) > 0.01).sum())
        elbo, ess = Estimate.of(scores.elbo), scores.ess.mean().item()
        print(
            f"{arm}: test ELBO {elbo.mean:.3f} ± {elbo.se:.3f}, {active} active units, ESS {ess:.1f}",
            flush=True,
        )
        np.save(scores_file(folder, options), scores.log_px.numpy())
    report(options)


def scores_file(folder: Path, options: argparse.Namespace) -> Path:
    spread = f"-in-{options.passes}" if options.passes else ""
    return folder / f"log_px-{options.stages}{spread}.npy"


def report(options: argparse.Namespace) -> None:
    """The NLL of every arm that is evaluated, and all their differences, row by row."""
    nlls = {}
    for arm in ARMS:
        path = scores_file(options.folder / f"{arm}-seed-{options.seed}", options)
        if path.is_file():
            nlls[arm] = -torch.from_numpy(np.load(path))
    for arm, nll in nlls.items():
        value = Estimate.of(nll)
        print(f"{arm}: NLL {value.mean:.3f} ± {value.se:.3f} over {value.n:,} rows")
    for first, second in itertools.combinations(nlls, 2):
        gain = Estimate.of(nlls[first] - nlls[second])
        print(
            f"{second} is better than {first} by {gain.mean:.3f} ± {gain.se:.3f} nats (paired over the rows)"
        )


if __name__ == "__main__":
    main()
