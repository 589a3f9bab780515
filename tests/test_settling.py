"""What is settled by the number of rows: batches, epochs and patience, said in one line and kept by the run."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from variform import ModelConfig, TrainConfig, build_objective, build_vae, fit
from variform.config.run import EvaluationConfig, RunConfig, objective_name
from variform.config.settling import chosen, epochs, for_rows, settled, total_steps
from variform.data.reading import read
from variform.runs.records import read_config
from variform.runs.train import resume_run, train_run
from variform.training.fit import Interrupted

NOISE = np.random.default_rng(0)


def test_a_batch_is_the_power_of_two_nearest_to_a_32nd_of_the_rows_from_16_to_128():
    powers = np.array([16, 32, 64, 128])
    for rows in [*range(1, 300), *range(300, 9000, 7), 10**6]:
        nearest = powers[np.abs(np.log(powers / (rows / 32))).argmin()]  # in ratio
        train = for_rows(TrainConfig(), rows)
        assert train.batch_size == min(nearest, rows)
        assert total_steps(train, rows) == epochs(train, rows) * math.ceil(rows / train.batch_size)
        assert total_steps(train, rows) >= 3000 and epochs(train, rows) >= 20


@pytest.mark.parametrize("objective", ["beta-tc", "dip-i", "dip-ii", "info", "wae", "factor"])
def test_objectives_that_compare_rows_keep_large_batches(objective):
    assert for_rows(TrainConfig(objective=objective), 240).batch_size == 128
    assert for_rows(TrainConfig(free_bits=0.1), 240).batch_size == 128
    assert for_rows(TrainConfig(objective=objective), 90).batch_size == 90


@pytest.mark.parametrize(
    ("given", "patience"),
    [
        ({}, 67),
        ({"schedule": "cosine"}, 67),
        ({"patience": 0}, 0),
        ({"patience": 5}, 5),
        ({"epochs": 300}, 0),
        ({"steps": 5000}, 0),
        ({"warmup": 300}, 67),
        ({"capacity": 5.0, "capacity_steps": 9}, 0),
    ],
)
def test_validation_may_end_a_training_whose_length_nobody_gave(given, patience):
    assert for_rows(TrainConfig(**given), 240).patience == patience
    assert for_rows(TrainConfig(), 60_000).patience == 0  # 20 epochs: their number decides


def test_what_is_given_goes_first_and_is_not_said():
    given = TrainConfig(
        batch_size=50, epochs=7, patience=3, warmup=0, learning_rate=0.01, schedule="constant"
    )
    assert (
        settled(RunConfig(train=given), 240).train == given
        and chosen(RunConfig(train=given), 240) == ""
    )
    line = chosen(RunConfig(), 240)
    assert "batches of 16" in line and "200 epochs or 3,000 steps" in line and "67 epochs" in line
    assert "128" in line and "compares" in chosen(
        RunConfig(train=TrainConfig(objective="wae")), 240
    )


@pytest.mark.parametrize(
    ("given", "rows", "warmup"),
    [
        ({}, 240, 300),
        ({"epochs": 100}, 240, 150),
        ({"steps": 50}, 240, 5),
        ({"warmup": 0}, 240, 0),
        ({"warmup": 7}, 240, 7),
        ({"batch_size": 16}, 240, 0),
        ({}, 60_000, 0),
        ({"free_bits": 0.1}, 240, 0),
        ({"objective": "iwae"}, 240, None),
    ],
)
def test_a_convolutional_run_of_few_rows_weighs_the_kl_in_over_a_tenth_of_its_steps(
    given, rows, warmup
):
    config = RunConfig(
        train=TrainConfig(**given), model=ModelConfig(likelihood="bernoulli", network="conv")
    )
    train = settled(config, rows).train
    assert (
        train.warmup == warmup
        and settled(dataclasses.replace(config, train=train), rows).train == train
    )
    assert settled(RunConfig(train=TrainConfig(**given)), rows).train.warmup == given.get(
        "warmup", train.warmup and 0
    )
    is_said = "KL weighed in" in chosen(config, rows)
    assert is_said == (bool(warmup) and "warmup" not in given)


def test_a_warmup_of_nothing_is_as_good_as_none():
    """As configurations of before have it, also of objectives without one."""
    assert TrainConfig(objective="iwae", warmup=0).warmup == 0
    assert objective_name(RunConfig(train=TrainConfig(warmup=0))) == "elbo"
    assert objective_name(RunConfig(train=TrainConfig(warmup=5))) == "elbo (warmup 5)"


def test_settling_twice_changes_nothing():
    once = settled(RunConfig(), 240)
    assert settled(once, 240) == once and chosen(once, 240) == ""


def rows_of_a_plane():
    codes = NOISE.normal(size=(150, 2))
    return (codes @ NOISE.normal(size=(2, 6)) + 0.1 * NOISE.normal(size=(150, 6))).astype("float32")


def tiny(folder, **train):
    np.save(folder / "plane.npy", rows_of_a_plane())
    return RunConfig(
        source=str(folder / "plane.npy"),
        model=ModelConfig(latent_dim=2, hidden=(8,), likelihood="gaussian-shared"),
        train=TrainConfig(learning_rate=0.01, **train),
        evaluation=EvaluationConfig(nll_samples=2),
    )


def test_a_run_says_what_was_chosen_keeps_it_and_goes_on_by_it(tmp_path):
    torch.set_default_dtype(torch.float32)
    config, told = tiny(tmp_path, steps=24), []
    whole = train_run(config, tmp_path / "whole", pictures=False, tell=told.append)
    *_, last = told
    rows = len(whole.data().train)
    assert last == chosen(config, rows) and "batches of 16 rows" in last
    kept = read_config(tmp_path / "whole" / "config.toml").train
    assert (kept.batch_size, kept.steps, kept.patience, kept.warmup) == (16, 24, 0, 0)

    def stop(row):
        raise KeyboardInterrupt

    stopped = tmp_path / "stopped"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("variform.runs.train.assess", lambda *_, **__: stop(None))
        with pytest.raises((Interrupted, KeyboardInterrupt)):
            train_run(config, stopped, pictures=False)
    again = resume_run(stopped, pictures=False)
    for name, weight in whole.vae.state_dict().items():
        assert torch.equal(weight, again.vae.state_dict()[name])


def test_validation_ends_a_default_training_that_is_no_longer_better():
    """Rows without structure: after the mean and the variance are found nothing can be learned from them."""
    torch.set_default_dtype(torch.float32)
    splits = read(NOISE.normal(size=(60, 3)).astype("float32"))
    vae = build_vae(
        ModelConfig(latent_dim=1, hidden=(32,), likelihood="gaussian-shared"),
        splits.schema,
        moments=splits.train.moments(),
    )
    config = TrainConfig(learning_rate=0.01, compile="off")
    history = fit(build_objective(vae, config), splits.train, splits.valid, config)
    patience = for_rows(config, len(splits.train)).patience
    assert (
        history.rows[-1]["epoch"]
        == history.best_epoch + patience
        < epochs(config, len(splits.train))
    )


def test_a_python_training_has_the_warm_up_of_a_run_where_it_is_settled():
    """240 rows are 3,000 steps in batches of 16: the weight rises over 300 of them."""
    config = RunConfig(
        model=ModelConfig(likelihood="bernoulli", network="conv", filters=(4,), latent_dim=2)
    )
    vae = build_vae(config.model, read("digits").schema)
    objective = build_objective(vae, settled(config, 240).train)
    assert [objective.beta(step) for step in (0, 150, 300, 2999)] == [0, 0.5, 1, 1]
    assert build_objective(vae, TrainConfig()).beta(0) == 1
