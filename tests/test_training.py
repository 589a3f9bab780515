"""Training: the same bits whatever happens on the way, and the same numbers as a loop written by hand."""

import copy
import functools
import itertools
import json
import math
import os
import random
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from variform import (
    VAE,
    DataConfig,
    ModelConfig,
    RunConfig,
    TrainConfig,
    build_objective,
    build_vae,
    fit,
)
from variform.config.run import EvaluationConfig
from variform.config.settling import for_rows
from variform.config.toml import to_command
from variform.data.order import epoch_order
from variform.data.reading import dataset_from, read
from variform.export.model_file import load_vae
from variform.model.likelihoods import BernoulliLikelihood
from variform.model.networks import MLP
from variform.model.posteriors import DiagonalPosterior
from variform.model.priors import StandardNormalPrior
from variform.objectives import ELBO
from variform.runs.overview import overview, overview_table
from variform.runs.train import resume_run, train_run
from variform.system.compiling import eager
from variform.training import checkpoints
from variform.training.device import compiles
from variform.training.fit import Interrupted, NonFiniteError
from variform.training.history import passes
from variform.training.schedule import learning_rate, plateaus
from variform.training.step import Step

TIMINGS = {"seconds", "train_seconds", "examples_per_second"}
BATCH = 32


@pytest.fixture(scope="module")
def grey():
    """About 100 training rows of 4 x 4 grey pixels, drawn to 0 or 1 afresh at every presentation."""
    pixels = np.random.default_rng(0).integers(0, 256, (130, 4, 4), dtype=np.uint8)
    return read(pixels, config=DataConfig(binarise="dynamic"))


@pytest.fixture(scope="module")
def bits():
    """70 training and 40 validation rows of five zeros or ones, which are never drawn again."""
    rows = torch.from_numpy(
        np.random.default_rng(1).random((110, 5)) < [0.9, 0.1, 0.5, 0.7, 0.2]
    ).double()
    return dataset_from(rows[:70]), dataset_from(rows[70:])


def objective_for(data, config, *, kind=None, seed=0, **model):
    vae = build_vae(
        ModelConfig(latent_dim=2, hidden=(7,), **({"likelihood": "bernoulli"} | model)),
        data.schema,
        seed=seed,
    )
    objective = build_objective(vae, config)
    if kind is not None:
        objective.__class__ = kind
    return objective


def without_timings(rows):
    return [{key: value for key, value in row.items() if key not in TIMINGS} for row in rows]


def assert_same_tensors(first, second):
    assert first.keys() == second.keys()
    for name in first:
        assert first[name].dtype == second[name].dtype, name
        assert torch.equal(first[name], second[name]), name


def checkpoint(folder):
    """Every tensor of a checkpoint (weights, best weights, optimiser, random state, sums) and its numbers."""
    path = folder / "checkpoint.safetensors"
    with safe_open(path, framework="pt") as file:
        numbers = json.loads(file.metadata()["variform"])["state"]
    return load_file(path), numbers | {"rows": without_timings(numbers["rows"])}


def test_steps_that_end_within_an_epoch_say_of_how_many_rows_its_means_are(grey, tmp_path, capsys):
    """22 steps of 4 an epoch: the sixth has two batches. A run says so wherever it says how far it came."""
    config = TrainConfig(steps=22, batch_size=BATCH)
    history = fit(objective_for(grey, config), grey.train, grey.valid, config, progress=True)
    rows = len(grey.train)
    assert [row["examples"] for row in history.rows] == [rows] * 5 + [2 * BATCH]
    assert passes(history.rows, rows) == (5 * rows + 2 * BATCH) / rows
    assert [
        f"(of {2 * BATCH} training rows)" in line for line in capsys.readouterr().err.splitlines()
    ] == [
        *[False] * 5,
        True,
    ]
    np.save(
        tmp_path / "grey.npy",
        np.random.default_rng(0).integers(0, 256, (130, 4, 4), dtype=np.uint8),
    )
    whole = RunConfig(
        source=str(tmp_path / "grey.npy"),
        model=ModelConfig(likelihood="bernoulli", latent_dim=2, hidden=(7,)),
        train=config,
        evaluation=EvaluationConfig(nll_samples=10),
    )
    run = train_run(whole, tmp_path / "run", pictures=False)
    training = overview(run.folder)["training"]
    count = len(run.data().train)
    assert training["epochs"] == training["of_epochs"] == (5 * count + 2 * BATCH) / count
    assert f"{5 + 2 * BATCH / count:.2f} epochs" in str(overview_table(run.folder))


# --- resume == uninterrupted, bit for bit ---------------------------------------------------------------------------


class Stopping(ELBO):
    """Asks the process to stop in one step of its training, as a user would."""

    stop_at = -1

    def settings(self):
        return super().settings() | {"objective": "ELBO"}  # what it computes

    def at_step(self, step):
        super().at_step(step)
        if step == self.stop_at and self.training:
            signal.raise_signal(signal.SIGTERM)


def hard_config(**changes):
    """Everything that has a memory or draws: warm-up, cosine, dropout, clipping; 22 steps, of 4 an epoch."""
    return TrainConfig(
        **{"steps": 22, "batch_size": BATCH, "warmup": 9, "schedule": "cosine", "clip_norm": 3.0}
        | changes
    )


VARIANTS = {
    "adam": {},
    "rmsprop": {"optimizer": "rmsprop"},
    "average": {"ema": 0.8},
    "adamw": {
        "optimizer": "adamw",
        "weight_decay": 0.1,
        "schedule": "plateau",
        "plateau_patience": 1,
        "learning_rate": 0.05,
        "warmup": 0,
        "clip_norm": 0.0,
    },
}


@pytest.fixture(scope="module")
def uninterrupted(grey, tmp_path_factory):
    torch.set_default_dtype(torch.float64)  # conftest sets it later
    assert (
        math.ceil(len(grey.train) / BATCH) == 4 and len(grey.train) % BATCH
    )  # the last batch is ragged
    folder, finals = tmp_path_factory.mktemp("alone"), {}
    for variant, options in VARIANTS.items():
        (folder / variant).mkdir()
        config = hard_config(**options)
        objective = objective_for(grey, config, dropout=0.3)
        finals[variant] = (
            fit(objective, grey.train, grey.valid, config, folder=folder / variant),
            objective,
        )
    return folder, finals


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(
    "stops",
    [(0,), (5,), (3,), (7, 8, 9), (20,), (21,), tuple(range(22))],
    ids=[
        "first step",
        "mid-epoch",
        "end of epoch",
        "around an end",
        "last epoch",
        "last step",
        "every step",
    ],
)
def test_a_resumed_fit_ends_with_the_bits_of_an_uninterrupted_one(
    grey, uninterrupted, tmp_path, stops, variant
):
    alone, finals = uninterrupted
    config = hard_config(**VARIANTS[variant])
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    for number, stop in enumerate(stops):
        objective = (
            objective_for(grey, config, kind=Stopping, seed=number, dropout=0.3) if number else None
        )
        objective = objective or objective_for(grey, config, kind=Stopping, dropout=0.3)
        objective.stop_at = stop
        with pytest.raises(
            Interrupted, match=f"step {stop + 1} of 22; go on with: variform train --resume "
        ):
            fit(objective, grey.train, grey.valid, config, folder=tmp_path, resume=number > 0)
    objective = objective_for(
        grey, config, seed=99, dropout=0.3
    )  # other initial weights: all come from the file
    torch.manual_seed(12345)
    history = fit(objective, grey.train, grey.valid, config, folder=tmp_path, resume=True)
    (tensors, numbers), (expected_tensors, expected_numbers) = (
        checkpoint(tmp_path),
        checkpoint(alone / variant),
    )
    assert_same_tensors(tensors, expected_tensors)
    assert numbers == expected_numbers and numbers["step"] == 22
    expected, expected_objective = finals[variant]
    assert_same_tensors(history.last, expected.last)
    assert_same_tensors(objective.state_dict(), expected_objective.state_dict())
    assert without_timings(history.rows) == without_timings(expected.rows)
    assert (history.best_epoch, history.stopped) == (expected.best_epoch, expected.stopped)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers


def test_what_a_likelihood_learns_without_a_gradient_is_resumed_too(grey, tmp_path):
    config, options = hard_config(), {"likelihood": "gaussian-optimal"}
    alone, first, second = (
        objective_for(grey, config, kind=Stopping, seed=seed, **options) for seed in (0, 0, 99)
    )  # fmt: skip
    history = fit(alone, grey.train, grey.valid, config)
    first.stop_at = 9
    with pytest.raises(Interrupted):
        fit(first, grey.train, grey.valid, config, folder=tmp_path)
    resumed = fit(second, grey.train, grey.valid, config, folder=tmp_path, resume=True)
    assert history.last["vae.likelihood.optimal_variance"] != 1
    assert_same_tensors(resumed.last, history.last)
    assert_same_tensors(second.state_dict(), alone.state_dict())


def test_resuming_a_finished_fit_changes_nothing(grey, uninterrupted, tmp_path):
    alone, finals = uninterrupted
    (tmp_path / "checkpoint.safetensors").write_bytes(
        (alone / "adam" / "checkpoint.safetensors").read_bytes()
    )
    config = hard_config()
    history = fit(
        objective_for(grey, config, dropout=0.3),
        grey.train,
        grey.valid,
        config,
        folder=tmp_path,
        resume=True,
    )
    assert history.rows == finals["adam"][0].rows
    for name in ("checkpoint.safetensors", "history.jsonl"):
        assert (tmp_path / name).read_bytes() == (alone / "adam" / name).read_bytes()


def test_a_checkpoint_of_anything_else_is_refused(grey, uninterrupted, tmp_path):
    path, whole = (
        tmp_path / "checkpoint.safetensors",
        uninterrupted[0] / "adam" / "checkpoint.safetensors",
    )

    def resume(config, **options):
        fit(
            objective_for(grey, config, dropout=0.3),
            grey.train,
            grey.valid,
            config,
            folder=tmp_path,
            resume=True,
            **options,
        )

    with pytest.raises(FileNotFoundError, match="Train anew"):
        resume(hard_config())
    path.write_bytes(whole.read_bytes())
    for config, options in (
        (hard_config(seed=1), {}),
        (hard_config(steps=23), {}),
        (hard_config(), {"identity": "B"}),
    ):
        with pytest.raises(ValueError, match="it comes from another"):
            resume(config, **options)
    assert path.read_bytes() == whole.read_bytes()
    for length in (0, 7, 8, 100, path.stat().st_size - 1):
        path.write_bytes(whole.read_bytes()[:length])
        with pytest.raises(ValueError, match="must be a whole checkpoint"):
            resume(hard_config())


def test_a_checkpoint_of_a_version_that_lacked_an_option_is_resumed(tmp_path):
    """With the option at its default, which that version had without a name; not with another value."""
    few = EvaluationConfig(nll_samples=1)
    config = RunConfig(
        model=ModelConfig(likelihood="bernoulli", latent_dim=2, hidden=(4,)),
        train=TrainConfig(epochs=1),
        evaluation=few,
    )
    train_run(config, tmp_path / "run", pictures=False)
    path = tmp_path / "run" / "checkpoint.safetensors"
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["variform"])
    tensors = load_file(path)
    identity = json.loads(header["identity"])
    rest = json.loads(identity["rest"])
    del identity["train"]["clip_norm"], rest["model"]["gated"], rest["data"]["memory_map"]
    header = {
        "state": header["state"],
        "identity": json.dumps(identity | {"rest": json.dumps(rest)}),
    }  # and no seal
    save_file(tensors, path, {"variform": json.dumps(header)})
    weights = (tmp_path / "run" / "model.safetensors").read_bytes()
    resume_run(tmp_path / "run", pictures=False)
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == weights
    save_file(tensors, path, {"variform": json.dumps(header)})
    text = (tmp_path / "run" / "config.toml").read_text()
    (tmp_path / "run" / "config.toml").write_text(
        text.replace("clip_norm = 0.0", "clip_norm = 5.0")
    )
    with pytest.raises(ValueError, match="it comes from another"):
        resume_run(tmp_path / "run", pictures=False)


def test_few_rows_make_small_batches_unless_a_larger_one_is_asked_for():
    splits = read(torch.rand(60, 2))
    vae = build_vae(ModelConfig(latent_dim=1, likelihood="gaussian", hidden=(4,)), splits.schema)
    rule = f"`batch_size` must not exceed the {len(splits.train)} training rows; got 128"
    with pytest.raises(ValueError, match=rule):
        fit(ELBO(vae), splits.train, splits.valid, TrainConfig(epochs=2, batch_size=128))
    history = fit(ELBO(vae), splits.train, splits.valid, TrainConfig(epochs=2))
    steps = math.ceil(len(splits.train) / 16)
    assert [row["step"] for row in history.rows] == [steps, 2 * steps]


@pytest.mark.parametrize(
    "options",
    [
        {"likelihood": "bernoulli"},
        {"likelihood": "gaussian"},
        {"likelihood": "gaussian-optimal", "prior": "vamp", "components": 5},
        {"likelihood": "negative-binomial"},
    ],
    ids=lambda options: options["likelihood"],
)
def test_a_resumed_run_asks_the_data_for_no_moments(tmp_path, monkeypatch, options):
    """Where weights start is no matter to one that has a checkpoint: all of them come from there."""
    grey = np.random.default_rng(0).integers(0, 256, (130, 4, 4), dtype=np.uint8)
    np.save(
        tmp_path / "grey.npy", grey if "negative" not in options["likelihood"] else grey[:, 0] % 9
    )
    config = RunConfig(
        source=str(tmp_path / "grey.npy"),
        model=ModelConfig(latent_dim=2, hidden=(7,), **({"likelihood": "bernoulli"} | options)),
        train=TrainConfig(epochs=4, batch_size=BATCH),
        evaluation=EvaluationConfig(nll_samples=2),
    )
    train_run(config, tmp_path / "alone", pictures=False)
    with monkeypatch.context() as patch:
        patch.setattr("variform.runs.train.build_objective", _stopping)
        with pytest.raises(Interrupted):
            train_run(config, tmp_path / "run", pictures=False)
    assert checkpoint(tmp_path / "run")[1]["step"] == 7
    with monkeypatch.context() as patch:
        asked = []
        build = functools.partial(_built, asked)
        patch.setattr("variform.runs.plan.build_vae", build)
        resume_run(tmp_path / "run", pictures=False)
    assert asked == [None]
    for name in ("model", "last"):
        resumed, alone = (tmp_path / folder / f"{name}.safetensors" for folder in ("run", "alone"))
        assert resumed.read_bytes() == alone.read_bytes()


def _built(asked, config, schema, *, moments, **options):
    asked.append(moments)
    return build_vae(config, schema, moments=moments, **options)


def _stopping(vae, train, **options):
    objective = Stopping(vae)
    objective.stop_at = 6
    return objective


# --- a real process, killed ---------------------------------------------------------------------------------------


PIPE = 4096  # bytes: a training whose progress nobody reads waits after some 45 epochs, however late this process is


def begin(*arguments, threads):
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "MPLBACKEND": "Agg"}
    command = [sys.executable, "-m", "variform", "train", *map(str, arguments)]
    pipes = {"stderr": subprocess.PIPE, "stdout": subprocess.PIPE, "pipesize": PIPE}
    return subprocess.Popen(command, **pipes, text=True, env=environment)


def wait_for_saves(folder, count, process):
    """Until the checkpoint was replaced `count` times more."""
    path = folder / "checkpoint.safetensors"
    for _ in range(count):
        before = path.stat().st_mtime_ns
        while path.stat().st_mtime_ns == before and process.poll() is None:
            time.sleep(0.001)


@pytest.mark.long
def test_killed_and_stopped_processes_end_as_one_that_was_left_alone(tmp_path):
    """At random moments; each time another process goes on. What each signal does, tests/test_stopping.py asks."""
    torch.set_default_dtype(torch.float32)
    np.save(
        tmp_path / "grey.npy",
        np.random.default_rng(0).integers(0, 256, (130, 4, 4), dtype=np.uint8),
    )
    config = RunConfig(
        source=str(tmp_path / "grey.npy"),
        data=DataConfig(binarise="dynamic"),
        model=ModelConfig(likelihood="bernoulli", latent_dim=2, hidden=(16,), dropout=0.1),
        train=TrainConfig(epochs=150, batch_size=BATCH, warmup=200, checkpoint_every="7steps"),
        evaluation=EvaluationConfig(nll_samples=1),
    )
    alone, folder = tmp_path / "alone", tmp_path / "killed often"
    train_run(config, alone, pictures=False)
    arguments, chance = [*to_command(config).split()[2:-1], folder], random.Random(0)
    for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGUSR1):
        with begin(*arguments, threads=torch.get_num_threads()) as process:
            while not process.stderr.readline().startswith("epoch"):
                assert process.poll() is None
            wait_for_saves(folder, chance.randrange(4), process)
            process.send_signal(number)
            stdout, stderr = process.communicate()
        assert stdout == ""
        if number == signal.SIGKILL:
            assert process.returncode == -signal.SIGKILL
        else:
            assert process.returncode == 128 + number
            assert stderr.endswith(f"; go on with: variform train --resume '{folder}'\n")
            assert "Traceback" not in stderr
        assert checkpoint(folder)[1]["step"] < checkpoint(alone)[1]["step"]
        arguments = ["--resume", folder]
    resume_run(folder, pictures=False)
    for name in ("model", "last"):
        assert (folder / f"{name}.safetensors").read_bytes() == (
            alone / f"{name}.safetensors"
        ).read_bytes()
    assert (folder / "evaluation.json").read_bytes() == (alone / "evaluation.json").read_bytes()
    assert_same_tensors(checkpoint(folder)[0], checkpoint(alone)[0])
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


# --- the same numbers as a loop written by hand -------------------------------------------------------------------


def plain_loop(vae, rows, valid, config):
    """Kingma and Welling (2014) as one would write it in a lecture, for zeros and ones; gives means per epoch, and what
    was validated at the end."""

    def terms(x, weight, model=vae):
        mean, raw = model.encoder(x).unbind(1)
        log_var = 2 * torch.log1p(raw.exp()).log()
        z = mean + torch.exp(0.5 * log_var) * torch.randn(1, *mean.shape)[0]
        cross_entropy = nn.functional.binary_cross_entropy_with_logits(
            model.decoder(z), x, reduction="none"
        ).sum(1)
        divergence = 0.5 * (mean**2 + log_var.exp() - 1 - log_var).sum(1)
        return cross_entropy + weight * divergence, -cross_entropy, divergence

    weights = list(vae.parameters())
    layers = [module for module in vae.modules() if hasattr(module, "weight")]
    matrices = [layer.weight for layer in layers]
    rest = [weight for weight in weights if all(weight is not matrix for matrix in matrices)]
    groups = [{"params": matrices, "weight_decay": config.weight_decay or 0}, {"params": rest}]
    kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "rmsprop": torch.optim.RMSprop}
    own = {"centered": True} if config.optimizer == "rmsprop" else {}
    optimizer = kinds[config.optimizer](
        groups, lr=config.learning_rate, foreach=False, weight_decay=0, **own
    )
    per_epoch, step, means, validated = (
        math.ceil(len(rows) / config.batch),
        0,
        [],
        copy.deepcopy(vae),
    )
    torch.manual_seed(config.seed)
    for epoch in range(config.epochs):
        sums = torch.zeros(3)
        for index in epoch_order(len(rows), config.seed, epoch).split(config.batch):
            weight = config.beta * min(1, step / config.warmup) if config.warmup else config.beta
            if config.schedule == "cosine":
                decay = (1 + math.cos(math.pi * step / (config.epochs * per_epoch))) / 2
                for group in optimizer.param_groups:
                    group["lr"] = config.learning_rate * decay
            parts = terms(rows[index], weight)
            optimizer.zero_grad()
            parts[0].mean().backward()
            if config.clip_norm:
                norm = math.sqrt(sum(weight.grad.square().sum() for weight in weights))
                for weight in weights:
                    weight.grad *= min(1, config.clip_norm / (norm + 1e-6))
            optimizer.step()
            decay = min(config.ema, (1 + step) / (10 + step)) if step else 0
            for average, weight in zip(validated.parameters(), weights, strict=True):
                average.data = decay * average.data + (1 - decay) * weight.data
            sums += torch.stack([part.sum() for part in parts]).detach()
            step += 1
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(config.seed)
            checks = torch.stack(terms(valid, config.beta, validated)).mean(1)
        means.append([*(sums / len(rows)).tolist(), *checks.tolist()])
    return means, validated


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": "adam"},
        {"optimizer": "rmsprop"},
        {"optimizer": "adam", "clip_norm": 0.3, "warmup": 5, "schedule": "cosine", "beta": 2.0},
        {"optimizer": "rmsprop", "clip_norm": 0.3, "warmup": 5, "schedule": "cosine"},
        {"optimizer": "adam", "ema": 0.3},
        {"optimizer": "adamw", "weight_decay": 0.3},
        {"optimizer": "adamw", "weight_decay": 0.3, "clip_norm": 0.3},
        {"optimizer": "adam", "weight_decay": 0.3},
        {"optimizer": "rmsprop", "weight_decay": 0.3},
    ],
    ids=lambda options: " ".join(map(str, options.values())),
)
def test_fit_equals_a_plain_loop(bits, options):
    """Nine steps in batches of 32, 32 and 6: weights, and means that are sums over examples, to 1e-9."""
    train, valid = bits
    config = TrainConfig(epochs=3, batch_size=BATCH, learning_rate=1e-2, **options)
    objective = objective_for(train, config)
    history = fit(objective, train, valid, config)
    by_hand = objective_for(train, config)
    means, validated = plain_loop(by_hand.vae, train.raw, valid.raw, config)
    for name, value in by_hand.state_dict().items():
        torch.testing.assert_close(history.last[name], value, rtol=1e-9, atol=1e-9)
    assert history.best_epoch == 3
    for name, value in validated.state_dict().items():  # what the model has afterwards
        torch.testing.assert_close(objective.vae.state_dict()[name], value, rtol=1e-9, atol=1e-9)
    keys = [
        f"{part}_{term}" for part in ("train", "valid") for term in ("loss", "log_likelihood", "kl")
    ]
    np.testing.assert_allclose(
        [[row[key] for key in keys] for row in history.rows], means, rtol=1e-9
    )
    assert all(
        row["train_elbo"] == row["train_log_likelihood"] - row["train_kl"] for row in history.rows
    )
    assert [row["step"] for row in history.rows] == [3, 6, 9]


@pytest.mark.parametrize("patience", [1, 3])
def test_a_plateau_lowers_the_rate_when_torchs_scheduler_does(patience):
    """On losses that fall ever more slowly, with noise; torch counts one epoch more."""
    config = TrainConfig(
        learning_rate=0.5, schedule="plateau", plateau_patience=patience, plateau_factor=0.3
    )
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    twin = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.3, patience=patience - 1, threshold=0, eps=0
    )
    losses = 1 / torch.arange(1, 31) + 0.02 * torch.randn(30)
    rows, rates = [], []
    for step, loss in enumerate(losses):
        best = all(loss < before for before in losses[:step])
        rows.append({"step": step, "best": best})
        twin.step(loss)
        rates.append(learning_rate(config, step, 30, plateaus(config, rows)))
        assert rates[-1] == pytest.approx(optimizer.param_groups[0]["lr"])
    assert len(set(rates)) > 3


def test_a_plateau_is_in_the_history_and_begins_behind_the_warm_up(bits):
    train, valid = bits
    options = {"schedule": "plateau", "plateau_patience": 2, "plateau_factor": 0.5, "warmup": 12}
    config = TrainConfig(epochs=9, batch_size=BATCH, learning_rate=1e-9, **options)
    objective = objective_for(train, config)
    with torch.no_grad():  # no step is better than this one, up to its noise
        for weight in objective.parameters():
            weight.zero_()
    rows = fit(objective, train, valid, config).rows
    stale, expected = 0, [1e-9]
    for row in rows[:-1]:
        stale = 0 if row["best"] or row["step"] < 12 else stale + 1
        expected.append(expected[-1] * (0.5 if stale and stale % 2 == 0 else 1))
    assert [row["learning_rate"] for row in rows] == pytest.approx(expected)


def test_summed_loss_of_micro_batches_is_that_of_one_batch(bits, monkeypatch):
    """The same noise per row whatever the batches: losses and gradients add up."""
    x = bits[0].raw
    noise = torch.randn(1, len(x), 2, generator=torch.Generator().manual_seed(0))
    objective = objective_for(bits[0], TrainConfig(beta=0.7))

    def gradients(parts):
        objective.zero_grad()
        total = torch.zeros(())
        for part in parts:
            monkeypatch.setattr(torch, "randn", lambda *_, part=part, **__: noise[:, part])
            loss = objective(x[part]).loss.sum()
            loss.backward()
            total += loss.detach()
        return [total, *(weight.grad.clone() for weight in objective.parameters())]

    whole = gradients([slice(0, 70)])
    for bounds in ((0, 35, 70), (0, 1, 2, 40, 64, 70)):
        parts = gradients([slice(*pair) for pair in itertools.pairwise(bounds)])
        torch.testing.assert_close(parts, whole, rtol=1e-12, atol=1e-12)


def test_validation_has_one_noise_and_leaves_training_alone(grey):
    still = TrainConfig(epochs=3, batch_size=BATCH, learning_rate=1e-300)
    rows = fit(objective_for(grey, still, dropout=0.5), grey.train, grey.valid, still).rows
    assert (
        len({row["valid_loss"] for row in rows}) == 1
    )  # dynamic binarisation, z and no dropout: all the same
    assert len({row["train_loss"] for row in rows}) == 3
    config = TrainConfig(epochs=3, batch_size=BATCH)
    first, second = (
        fit(objective_for(grey, config, dropout=0.5), grey.train, valid, config).last
        for valid in (grey.valid, grey.test)
    )
    assert_same_tensors(first, second)


def test_the_seed_changes_everything_and_nothing_else_does(grey):
    def final(seed):
        config = TrainConfig(epochs=2, batch_size=BATCH, seed=seed)
        return fit(objective_for(grey, config, dropout=0.2), grey.train, grey.valid, config)

    first = final(3)
    torch.manual_seed(77)
    state = torch.get_rng_state()
    again = final(3)
    assert torch.equal(torch.get_rng_state(), state)  # the caller's own stream is left as it was
    assert_same_tensors(first.last, again.last)
    assert without_timings(first.rows) == without_timings(again.rows)
    other = final(4)
    trained = [name for name in other.last if not name.endswith("centre")]
    assert not any(torch.equal(first.last[name], other.last[name]) for name in trained)


# --- when it ends, and what is left -------------------------------------------------------------------------------


def test_best_epoch_wins_and_patience_ends(bits):
    """An overfitting model: the weights are those of the epoch with the least validation loss."""
    train, valid = dataset_from(bits[0].raw[:BATCH]), bits[1]
    config = TrainConfig(epochs=400, batch_size=BATCH, learning_rate=2e-2, patience=15)
    seen = []
    objective = objective_for(train, config)

    def keep(row):
        seen.append({name: value.clone() for name, value in objective.state_dict().items()})

    history = fit(objective, train, valid, config, on_epoch=keep)
    losses = [row["valid_loss"] for row in history.rows]
    best = int(np.argmin(losses))
    assert history.best_epoch == best + 1 and len(losses) == best + 1 + 15 < 400
    assert history.stopped == "no better validation loss for 15 epochs"
    assert [row["best"] for row in history.rows] == [
        loss < min([math.inf, *losses[:i]]) for i, loss in enumerate(losses)
    ]
    assert_same_tensors(objective.state_dict(), seen[best])
    assert_same_tensors(history.last, seen[-1])
    assert not objective.training


def test_steps_that_are_no_multiple_of_an_epoch(bits, tmp_path):
    config = TrainConfig(
        steps=8, batch_size=BATCH, schedule="cosine", learning_rate=0.5, warmup=4, beta=2.0
    )
    history = fit(objective_for(bits[0], config), *bits, config, folder=tmp_path)
    assert [row["step"] for row in history.rows] == [3, 6, 8]
    assert [row["epoch"] for row in history.rows] == [1, 2, 3]
    assert [row["beta"] for row in history.rows] == [1.0, 2.0, 2.0]
    rates = [0.25 * (1 + math.cos(math.pi * step / 8)) for step in (2, 5, 7)]
    assert [row["learning_rate"] for row in history.rows] == pytest.approx(rates)
    assert learning_rate(config, 8, 8) == 0
    lines = (tmp_path / "history.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == history.rows


def test_fewer_rows_than_a_batch(bits, tmp_path):
    config = TrainConfig(batch_size=71)
    with pytest.raises(ValueError, match="must not exceed the 70 training rows; got 71"):
        fit(objective_for(bits[0], config), *bits, config, folder=tmp_path)
    assert not list(tmp_path.iterdir())
    fit(objective_for(bits[0], config), *bits, TrainConfig(batch_size=70, epochs=1))


class Breaking(nn.Module):
    """A user's network whose answers turn into `value` after some calls in training, or in validation."""

    def __init__(self, network, good_calls, *, when_training=True, value=math.nan):
        super().__init__()
        self.network, self.left, self.when_training, self.value = (
            network,
            good_calls,
            when_training,
            value,
        )

    def forward(self, x):
        if torch.is_grad_enabled() == self.when_training:
            self.left -= 1
        return self.network(x) * (self.value if self.left < 0 else 1)


@pytest.mark.parametrize(
    ("place", "options", "message"),
    [
        ("encoder", {}, "in step 8 the log likelihood and kl became NaN"),
        ("decoder", {}, "in step 8 the log likelihood became NaN"),
        ("encoder", {"value": math.inf}, "in step 8 the log likelihood and kl became NaN"),
        (
            "encoder",
            {"when_training": False, "good_calls": 4},
            "after step 6 the validation loss became NaN",
        ),
    ],
)
def test_a_loss_that_is_never_finite_again_ends_with_the_best_weights_and_says_so(
    bits, tmp_path, place, options, message
):
    parts = {
        "posterior": DiagonalPosterior(2),
        "prior": StandardNormalPrior(2),
        "likelihood": BernoulliLikelihood((5,)),
    }
    networks = {"encoder": MLP((5,), (2, 2)), "decoder": MLP((2,), (5,))}
    networks[place] = Breaking(networks[place], **{"good_calls": 7} | options)
    config, seen = TrainConfig(batch_size=BATCH, checkpoint_every="0s"), []
    objective = build_objective(VAE(**networks, **parts), config)
    if not options.get("when_training", True):
        networks[
            place
        ].left = 2  # VAE tried the network once when it was built; a look at the untrained model, an epoch

    def keep(row):
        seen.append({name: value.clone() for name, value in objective.state_dict().items()})

    history = fit(objective, *bits, config, folder=tmp_path, on_epoch=keep)
    assert len(history.rollbacks) == 4 and message in history.rollbacks[0]
    assert "diverged 4 times" in history.stopped and history.rollbacks[-1] in history.stopped
    assert history.rows[-1]["rollback"] == "; then ".join(history.rollbacks)
    assert history.best_epoch == len(seen) == len(history.rows)
    tensors, numbers = checkpoint(tmp_path)
    assert numbers["rows"] == without_timings(history.rows)
    assert all(value.isfinite().all() for value in tensors.values() if value.is_floating_point())
    for weights in (objective.state_dict(), history.last):
        assert_same_tensors(weights, seen[-1])
    assert_same_tensors(
        {name[5:]: value for name, value in tensors.items() if name.startswith("best/")}, seen[-1]
    )


def test_a_run_that_breaks_keeps_a_model_that_works(tmp_path):
    torch.set_default_dtype(torch.float32)
    config = RunConfig(
        model=ModelConfig(likelihood="bernoulli", latent_dim=2),
        train=TrainConfig(epochs=3, learning_rate=1e30),
    )
    with pytest.raises(NonFiniteError, match=r"in step \d+ the .* became NaN"):
        train_run(config, tmp_path / "run")
    assert all(
        value.isfinite().all()
        for value in load_vae(tmp_path / "run" / "model.safetensors").state_dict().values()
    )


# --- compiled, in half precision, on a full disk ------------------------------------------------------------------


@pytest.fixture
def single_precision():
    torch.set_default_dtype(torch.float32)


def test_a_compiled_fit_equals_a_plain_one_and_resumes_with_the_same_bits(
    grey, tmp_path, single_precision
):
    """The same random numbers: dropout, binarisation and the ragged batch too."""

    def finished(compile, folder=None, stop_at=None, resume=False):
        config = hard_config(compile=compile)
        objective = objective_for(grey, config, dropout=0.3, kind=Stopping)
        objective.stop_at = stop_at
        return fit(objective, grey.train, grey.valid, config, folder=folder, resume=resume)

    plain, compiled = finished("off"), finished("on")
    for row, other in zip(plain.rows, compiled.rows, strict=True):
        assert other["train_loss"] == pytest.approx(row["train_loss"], rel=1e-5)
        assert other["valid_kl"] == pytest.approx(row["valid_kl"], rel=1e-3)
    for name, value in plain.last.items():
        torch.testing.assert_close(compiled.last[name], value, rtol=1e-3, atol=1e-5)
    with pytest.raises(Interrupted):
        finished("on", tmp_path, stop_at=9)
    assert_same_tensors(finished("on", tmp_path, resume=True).last, compiled.last)


def test_compiled_steps_of_two_models_in_one_process_do_not_mix(bits, single_precision):
    """Other widths, other likelihood: each equals its own plain step."""
    train = dataset_from(bits[0].raw.float())
    for likelihood, hidden in (
        ("bernoulli", (7,)),
        ("gaussian-shared", (5, 4)),
        ("bernoulli", (7,)),
    ):
        losses = []
        for compile in ("off", "on"):
            config = TrainConfig(batch_size=BATCH, compile=compile)
            vae = build_vae(
                ModelConfig(latent_dim=2, hidden=hidden, likelihood=likelihood),
                train.schema,
                seed=3,
            )
            step = Step(build_objective(vae, config), config, 10)
            torch.manual_seed(0)
            losses.append([step(train.raw[:BATCH], BATCH, 1.0)[0].item() for _ in range(3)])
        assert losses[1] == pytest.approx(losses[0], rel=1e-5)


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.RMSprop])
def test_an_optimiser_without_the_compiler_takes_the_steps_of_torch_s_own(kind):
    weights = [nn.Parameter(torch.linspace(-1, 1, 5)) for _ in range(2)]
    theirs, ours = kind(weights[:1], lr=0.1), eager(kind)(weights[1:], lr=0.1)
    assert isinstance(ours, kind)
    for _ in range(3):
        for optimizer, weight in zip((theirs, ours), weights, strict=True):
            optimizer.zero_grad()
            weight.exp().sum().backward()
            optimizer.step()
        ours.load_state_dict(ours.state_dict())
    assert torch.equal(*weights) and not torch.equal(weights[0], torch.linspace(-1, 1, 5))


def test_a_step_compares_no_tensor_with_anything(bits, monkeypatch):
    """torch refuses `tensor == None` by an error that takes as long as a small product, for each gradient."""
    config = for_rows(TrainConfig(batch_size=BATCH, compile="off"), len(bits[0]))
    step = Step(objective_for(bits[0], config), config, 10)
    x = bits[0].batch(torch.arange(BATCH))
    step(x, BATCH, 1.0)
    compared = []
    monkeypatch.setattr(torch.Tensor, "__eq__", lambda one, other: compared.append(other))
    step(x, BATCH, 1.0)
    assert not compared


@pytest.mark.long
def test_compiled_code_goes_to_the_folder_of_the_user_s_cache(tmp_path):
    code = """
import torch
from variform.system.compiling import compiled
compiled(lambda x: x + 1, torch.device("cpu"))
from torch._inductor.runtime.cache_dir_utils import cache_dir
print(cache_dir())
"""
    known = {name: value for name, value in os.environ.items() if "INDUCTOR" not in name}
    known["XDG_CACHE_HOME"] = str(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", code], env=known, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(tmp_path / "variform" / "compiled")


def test_auto_compiles_long_runs_only_and_never_asks_a_clock(grey):
    for likelihood, hidden, steps, expected in (
        ("bernoulli", (7,), 1000, False),
        ("bernoulli", (400,), 8_440, False),
        ("bernoulli", (400,), 100_000, True),
        ("gaussian", (7,), 1_000_000, True),
    ):
        vae = build_vae(
            ModelConfig(latent_dim=2, likelihood=likelihood, hidden=hidden), grey.schema
        )
        config = TrainConfig()
        assert compiles(build_objective(vae, config), config, steps) is expected
    assert not compiles(build_objective(vae, config), TrainConfig(compile="off"), 10**9)
    vae.config = None  # networks of the user's own: they may do what cannot be compiled
    assert not compiles(build_objective(vae, config), config, 10**9)


@pytest.mark.parametrize("size", [None, 128])
def test_whole_batches_go_through_compiled_code_and_others_do_not(size):
    vae = VAE(
        MLP((5,), (2, 2)),
        MLP((2,), (5,)),
        posterior=DiagonalPosterior(2),
        prior=StandardNormalPrior(2),
        likelihood=BernoulliLikelihood((5,)),
    )
    config = TrainConfig(batch_size=size, compile="on")
    step, through = Step(build_objective(vae, config), config, 10), []

    def recorded(x, *others):
        through.append(len(x))
        return step._gradients(x, *others)

    step._compiled = recorded
    for rows in (128, 97, 128):
        step(torch.ones(rows, 5), rows, 1.0)
    assert through == [128, 128]


def test_a_step_that_cannot_be_compiled_runs_as_it_is_or_says_so(bits):
    class Odd(nn.Module):
        def __init__(self, network):
            super().__init__()
            self.network = network

        def forward(self, x):
            torch._dynamo.graph_break()
            return self.network(x)

    def objective(config):
        posterior, likelihood = DiagonalPosterior(2), BernoulliLikelihood((5,))
        encoder, decoder = Odd(MLP((5,), (2, 2))), MLP((2,), (5,))
        vae = VAE(
            encoder,
            decoder,
            posterior=posterior,
            prior=StandardNormalPrior(2),
            likelihood=likelihood,
        )
        return build_objective(vae, config)

    config = TrainConfig(batch_size=BATCH, compile="on", epochs=1)
    with pytest.raises(
        ValueError, match=r"`compile='on'` needs a step that can be compiled.*use `compile='off'`"
    ):
        fit(objective(config), *bits, config)
    step = Step(objective(config), config, 10)
    object.__setattr__(step.config, "compile", "auto")
    with pytest.warns(UserWarning, match="runs as it is, slower"):
        step(bits[0].raw[:BATCH], BATCH, 1.0)
    assert not step.is_compiled


@pytest.mark.parametrize(
    ("every", "expected"),
    [
        ("5steps", [0, 5, 10, 15, 20, 22]),
        ("2epochs", [0, 8, 16, 22]),
        ("0.7epochs", [0, 4, 8, 12, 16, 20, 22]),
    ],
)
def test_checkpoints_come_at_the_distance_that_was_asked_for(
    grey, tmp_path, monkeypatch, every, expected
):
    """Four steps an epoch; the last step of an epoch is saved with its validation, and the last of all always."""
    saved = []
    monkeypatch.setattr(
        checkpoints, "save", lambda folder, state, identity: saved.append(state.step)
    )
    config = TrainConfig(steps=22, batch_size=BATCH, checkpoint_every=every)
    fit(objective_for(grey, config), grey.train, grey.valid, config, folder=tmp_path)
    assert saved == expected


@pytest.mark.parametrize("text", ["", "s", "10", "-1s", "3 hours", "1e3s"])
def test_a_distance_without_a_known_unit_is_refused(text):
    with pytest.raises(ValueError, match="`checkpoint_every` must be a number and a unit"):
        TrainConfig(checkpoint_every=text)


def test_a_full_disk_leaves_the_last_checkpoint_and_the_run_goes_on_later(
    grey, uninterrupted, tmp_path
):
    config = hard_config()
    files = resource.getrlimit(resource.RLIMIT_FSIZE)
    objective = objective_for(grey, config, dropout=0.3)

    def full(row):
        if row["epoch"] == 3:
            resource.setrlimit(
                resource.RLIMIT_FSIZE, (1000, files[1])
            )  # as if the disk had no room for more

    try:
        with pytest.raises(
            OSError,
            match=r"checkpoint of step 12; the system says: File too large. What it has, .* is whole",
        ):
            fit(
                objective,
                grey.train,
                grey.valid,
                hard_config(checkpoint_every="1epoch"),
                folder=tmp_path,
                on_epoch=full,
            )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, files)
    assert checkpoint(tmp_path)[1]["step"] == 8
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "checkpoint.safetensors",
        "history.jsonl",
    ]
    history = fit(
        objective_for(grey, config, dropout=0.3),
        grey.train,
        grey.valid,
        config,
        folder=tmp_path,
        resume=True,
    )
    assert_same_tensors(history.last, uninterrupted[1]["adam"][0].last)


@pytest.mark.parametrize(("precision", "tolerance"), [("bf16", 0.02), ("fp16", 0.005)])
def test_half_precision_learns_the_same_and_resumes(
    bits, tmp_path, single_precision, precision, tolerance
):
    """Autocast on the CPU; fp16 with its loss scaler, whose state is part of the checkpoint."""
    train, valid = (dataset_from(rows.raw.float()) for rows in bits)

    def finished(precision, **options):
        config = TrainConfig(steps=60, batch_size=BATCH, learning_rate=1e-2, precision=precision)
        return fit(objective_for(train, config), train, valid, config, **options)

    whole, half = finished("float32"), finished(precision)
    assert half.rows[-1]["valid_loss"] == pytest.approx(whole.rows[-1]["valid_loss"], rel=tolerance)
    assert not torch.equal(
        half.last["vae.encoder.output.weight"], whole.last["vae.encoder.output.weight"]
    )
    assert all(value.dtype == torch.float32 for value in half.last.values())
    config = TrainConfig(steps=60, batch_size=BATCH, learning_rate=1e-2, precision=precision)
    objective = objective_for(train, config, kind=Stopping)
    objective.stop_at = 30
    with pytest.raises(Interrupted):
        fit(objective, train, valid, config, folder=tmp_path)
    assert ("optimizer/scaler.scale" in checkpoint(tmp_path)[0]) == (precision == "fp16")
    assert_same_tensors(finished(precision, folder=tmp_path, resume=True).last, half.last)


@pytest.mark.parametrize(
    "options",
    [
        {"samples": 3, "clip_norm": 1.0, "ema": 0.5},
        {"objective": "iwae", "samples": 3, "gradient": "dreg"},
        {"optimizer": "rmsprop", "noise": "gaussian", "noise_level": 0.2},
    ],
    ids=lambda options: " ".join(options),
)
def test_a_batch_in_parts_has_the_draws_and_the_gradient_of_the_whole(grey, options):
    """In float64; dropout, dynamic binarisation and a last batch of fewer rows than parts included."""
    train = grey.train.take(torch.arange(97) % len(grey.train))

    def finished(parts):
        config = TrainConfig(
            epochs=3, batch_size=BATCH, learning_rate=1e-2, accumulate=parts, **options
        )
        objective = objective_for(train, config, dropout=0.3)
        return fit(objective, train, grey.valid, config)

    whole = finished(1)
    for parts in (2, 5, 64):
        history = finished(parts)
        for name, value in whole.last.items():
            torch.testing.assert_close(history.last[name], value, rtol=1e-12, atol=1e-12)
        assert history.rows[-1]["valid_loss"] == pytest.approx(
            whole.rows[-1]["valid_loss"], rel=1e-12
        )


def test_a_batch_in_parts_keeps_less_for_the_way_back(grey):
    x = grey.train.batch(torch.arange(1000) % len(grey.train))
    kept = {}
    for parts in (1, 4):
        config = TrainConfig(accumulate=parts)
        step = Step(objective_for(grey.train, config), config, 10)
        sizes, gradients = [], step._gradients

        def pack(value, sizes=sizes):
            sizes[-1] += value.nbytes
            return value

        def of_a_part(*given, sizes=sizes, gradients=gradients):
            sizes.append(0)
            return gradients(*given)

        step._gradients = of_a_part
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
            step(x, len(x), 1.0)
        kept[parts] = sizes
    assert len(kept[4]) == 4 and max(kept[4]) < 0.3 * kept[1][0]


@pytest.mark.parametrize(
    ("options", "model"),
    [
        ({"free_bits": 0.5}, {}),
        ({"objective": "beta-tc"}, {}),
        ({"objective": "factor"}, {}),
        ({"compile": "on"}, {}),
        ({}, {"likelihood": "gaussian-optimal"}),
    ],
    ids=str,
)
def test_what_needs_the_whole_batch_refuses_parts(grey, options, model):
    config = TrainConfig(accumulate=2, **options)
    vae = build_vae(
        ModelConfig(latent_dim=2, hidden=(7,), **({"likelihood": "bernoulli"} | model)),
        grey.train.schema,
    )
    objective = build_objective(vae, config, rows=len(grey.train))
    with pytest.raises(ValueError, match=r"got `accumulate=2`\. (Leave|Use) "):
        Step(objective, config, 10)


@pytest.mark.parametrize(
    ("options", "model"),
    [
        ({"samples": 3, "accumulate": 3}, {"hidden": (9, 8, 7)}),
        ({"objective": "factor", "discriminator": (5,)}, {}),
        ({"objective": "piwae", "samples": 2, "groups": 2, "gradient": "dreg"}, {}),
        ({}, {"network": "residual", "filters": (4, 4)}),
    ],
    ids=str,
)
def test_layers_that_are_computed_again_give_the_same_bits(grey, options, model):
    def finished(again):
        config = TrainConfig(steps=8, batch_size=BATCH, recompute=again, **options)
        vae = build_vae(
            ModelConfig(latent_dim=2, dropout=0.3, **({"likelihood": "bernoulli"} | model)),
            grey.train.schema,
        )
        objective = build_objective(vae, config, rows=len(grey.train))
        return fit(objective, grey.train, grey.valid, config)

    assert_same_tensors(finished(True).last, finished(False).last)


def test_layers_that_are_computed_again_take_less_memory(grey):
    x = grey.train.batch(torch.arange(4000) % len(grey.train))
    peaks = {}
    for again in (False, True):
        config = TrainConfig(recompute=again)
        vae = build_vae(
            ModelConfig(likelihood="bernoulli", latent_dim=2, hidden=(64,) * 24), grey.train.schema
        )
        step = Step(build_objective(vae, config), config, 10)
        step(x, len(x), 1.0)
        with torch.profiler.profile(profile_memory=True) as profile:
            step(x, len(x), 1.0)
        events = [
            one for one in profile.profiler.kineto_results.events() if one.name() == "[memory]"
        ]
        changes = [one.nbytes() for one in sorted(events, key=lambda one: one.start_ns())]
        peaks[again] = max(itertools.accumulate(changes))
    assert peaks[True] < 0.5 * peaks[False], peaks


def test_networks_whose_layers_are_not_known_are_not_computed_again(grey):
    config = TrainConfig(recompute=True)
    objective = objective_for(grey.train, config)
    objective.vae.encoder.layers = objective.vae.decoder.layers = nn.Identity()
    with pytest.raises(ValueError, match=r"`recompute` needs networks of .*; got MLP and MLP\. "):
        Step(objective, config, 10)
    with pytest.raises(ValueError, match=r"got `recompute=True`\. Use `compile='off'`"):
        Step(objective, TrainConfig(recompute=True, compile="on"), 10)


@pytest.mark.parametrize("options", [{"sharded": True}, {"compile": "on", "precision": "fp16"}])
def test_what_cannot_be_done_is_refused_before_anything_is_written(tmp_path, options):
    with pytest.raises(ValueError, match="needs"):
        train_run(RunConfig(train=TrainConfig(**options)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_device_that_is_not_there_is_refused_before_anything_is_written(tmp_path):
    config = RunConfig(train=TrainConfig(device="cuda"))
    with pytest.raises(
        ValueError,
        match=r"`device` must be one that this machine has: cpu; got cuda\. Use `device=",
    ):
        train_run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_records_what_its_bits_depend_on(tmp_path):
    once = EvaluationConfig(nll_samples=1)
    config = RunConfig(
        model=ModelConfig(likelihood="bernoulli", latent_dim=2),
        train=TrainConfig(epochs=1, seed=3),
        evaluation=once,
    )
    run = train_run(config, tmp_path / "run", pictures=False)
    resume_run(run.folder, pictures=False)
    sessions = json.loads((run.folder / "environment.json").read_text())["sessions"]
    assert len(sessions) == 1  # the second had the same
    assert (
        sessions[0]["threads"] == torch.get_num_threads()
        and sessions[0]["torch"] == torch.__version__
    )
    assert sessions[0]["seed"] == 3 and sessions[0]["data"] == run.data().fingerprint
    assert sessions[0].keys() >= {
        "python",
        "variform",
        "device",
        "git_commit",
        "processes",
        "platform",
    }
