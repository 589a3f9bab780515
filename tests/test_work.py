"""How many threads a training gets, and how they wait."""

import json
import os
import subprocess
import sys

import pytest
import torch

from variform import (
    CallbackError,
    ModelConfig,
    RunConfig,
    TrainConfig,
    build_objective,
    build_vae,
    fit,
)
from variform.config.run import EvaluationConfig
from variform.data.reading import read
from variform.runs.train import train_run
from variform.system import work
from variform.system.work import threads_again, threads_for
from variform.training import device
from variform.training.device import threads_of
from variform.training.profiling import profile

THERE = 3
SMALL, LARGE = (
    ModelConfig(likelihood="bernoulli", latent_dim=2, hidden=(8,)),
    ModelConfig(likelihood="bernoulli", latent_dim=2, hidden=(2**12,)),
)


@pytest.fixture
def threads(monkeypatch):
    """A machine on which torch has three threads by itself."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(THERE)
    monkeypatch.setattr(work, "_OF_TORCH", THERE)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def splits():
    return read(torch.rand(200, 16))


def trained(splits, model, on_epoch=None):
    """The threads that torch has in a training."""
    seen = []
    config = TrainConfig(epochs=1, batch_size=128)
    objective = build_objective(build_vae(model, splits.schema), config)
    fit(
        objective,
        splits.train,
        splits.valid,
        config,
        on_epoch=on_epoch or (lambda _: seen.append(torch.get_num_threads())),
    )
    return seen


def test_little_work_has_one_thread_and_much_work_has_all(threads, splits):
    assert trained(splits, SMALL) == [1]
    assert torch.get_num_threads() == THERE
    assert trained(splits, LARGE) == [THERE]


def test_a_weight_of_a_convolution_counts_wherever_it_is_used(threads):
    model = ModelConfig(
        likelihood="bernoulli", latent_dim=2, network="conv", filters=(16, 32), hidden=(16,)
    )
    images = read(torch.rand(200, 1, 32, 32))
    objective = build_objective(build_vae(model, images.schema), TrainConfig())
    assert 128 * sum(value.numel() for value in objective.parameters()) < 2**24
    assert threads_of(objective, TrainConfig()) == THERE


def test_the_sizes_between_the_demo_and_the_lecture_s_network_decide(threads):
    """64-256-128-2 and 784-400-20 in batches of 128: one loses by sharing where the other gains."""
    demo = 128 * (64 * 256 + 256 * 128 + 128 * 4 + 2 * 128 + 128 * 256 + 256 * 64)
    lecture = 128 * (784 * 400 + 400 * 40 + 20 * 400 + 400 * 784)
    assert (threads_for(demo), threads_for(lecture)) == (1, THERE)


def test_a_resumed_training_has_the_threads_that_it_had(threads, splits, tmp_path, monkeypatch):
    config = TrainConfig(epochs=2, batch_size=128)
    assert [threads_again(before) for before in (0, 1, 2, THERE, 99)] == [THERE, 1, 2, THERE, THERE]

    def resumed(before):
        """The threads of the second epoch, after one with as many as `before` says."""
        seen = []
        folder = tmp_path / str(before)
        objective = build_objective(build_vae(SMALL, splits.schema), config)
        monkeypatch.setattr(device, "threads_for", lambda count: before)

        def stop(row):
            seen.append(torch.get_num_threads())
            if len(seen) == 1:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            fit(objective, splits.train, splits.valid, config, folder=folder, on_epoch=stop)
        monkeypatch.setattr(device, "threads_for", lambda count: 1)
        fit(
            objective,
            splits.train,
            splits.valid,
            config,
            folder=folder,
            resume=True,
            on_epoch=stop,
        )
        assert len(seen) > 1
        return set(seen)

    assert resumed(2) == {2}
    assert resumed(THERE) == {THERE}
    monkeypatch.setenv("OMP_NUM_THREADS", str(THERE))
    assert threads_again(1) == THERE, "whoever chooses a number gets that"


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "MKL_NUM_THREADS"])
def test_a_number_from_the_environment_is_kept(threads, splits, monkeypatch, name):
    monkeypatch.setenv(name, str(THERE))
    assert trained(splits, SMALL) == [THERE]


def test_a_number_that_torch_was_told_is_kept(threads, splits):
    torch.set_num_threads(THERE - 1)
    assert trained(splits, SMALL) == [THERE - 1]
    assert torch.get_num_threads() == THERE - 1


def test_a_training_that_breaks_gives_the_threads_back(threads, splits):
    def stop(_):
        raise ArithmeticError

    with pytest.raises(CallbackError):
        trained(splits, SMALL, on_epoch=stop)
    assert torch.get_num_threads() == THERE


def test_a_run_notes_the_threads_of_its_steps_and_a_profile_measures_with_them(
    threads, splits, tmp_path
):
    config = RunConfig(
        source="digits",
        model=SMALL,
        train=TrainConfig(epochs=1),
        evaluation=EvaluationConfig(nll_samples=1),
    )
    train_run(config, tmp_path / "run", pictures=False)
    assert (
        json.loads((tmp_path / "run" / "environment.json").read_text())["sessions"][0]["threads"]
        == 1
    )
    objective = build_objective(build_vae(SMALL, splits.schema), config.train)
    assert profile(objective, splits.train, config.train, steps=1, repeats=1).threads == 1


def spins(**environment):
    """How often a waiting thread looks again before it sleeps, as GNU's OpenMP says when torch has loaded it."""
    free = {
        name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))
    }
    code = "import variform, torch; torch.ones(3).sum()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=free | {"OMP_DISPLAY_ENV": "verbose"} | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    numbers = {
        line.partition("=")[2].strip(" '")
        for line in done.stderr.splitlines()
        if "GOMP_SPINCOUNT" in line
    }
    if not numbers:
        pytest.skip("torch has another OpenMP than GNU's here")
    return numbers


@pytest.mark.long
def test_threads_that_wait_soon_sleep_unless_the_user_says_how_they_wait():
    assert spins() == {"10000"}
    assert spins(GOMP_SPINCOUNT="70") == {"70"}
    assert spins(OMP_WAIT_POLICY="passive") == {"0"}
