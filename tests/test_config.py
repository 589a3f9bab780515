"""Configurations: one check for all faces, and names that tell them apart."""

import dataclasses

import pytest

from variform.config import _RUN_OF, _USED_BY, DataConfig, RunConfig, TrainConfig, objective_name

CHANGED = {  # another value than the default of every option of an objective, and what it needs beside it
    "samples": {"samples": 5},
    "groups": {"groups": 3},
    "elbo_share": {"elbo_share": 0.5},
    "gradient": {"gradient": "dreg"},
    "kl": {"kl": "closed-form"},
    "beta": {"beta": 0.30000000000000004},
    "beta_schedule": {"beta_schedule": "cosine", "warmup": 7},
    "warmup": {"warmup": 7},
    "cycles": {"cycles": 2, "beta_schedule": "cyclic", "warmup": 7},
    "free_bits": {"free_bits": 0.25},
    "capacity": {"capacity": 3.0},
    "capacity_steps": {"capacity_steps": 9, "capacity": 3.0},
    "alpha": {"alpha": 2.0},
    "gamma": {"gamma": 5.0},
    "penalty": {"penalty": 11.0},
    "penalty_diagonal": {"penalty_diagonal": 12.0},
    "deterministic": {"deterministic": False},
    "discriminator": {"discriminator": (100, 10)},
    "noise": {"noise": "masking", "noise_level": 0.25},
    "noise_level": {"noise": "masking", "noise_level": 0.5},
    "ema": {"ema": 0.9},
}


def configurations():
    """Of every objective the default, and each of its options changed."""
    for objective, options in _USED_BY.items():
        yield TrainConfig(objective=objective)
        for option in (*options, "noise", "noise_level", "ema"):
            changes = dict(CHANGED[option])
            if option == "gamma" and objective == "elbo":
                changes["capacity"] = 3.0
            if option == "samples" and objective == "wae":
                changes["deterministic"] = False
            yield TrainConfig(objective=objective, **changes)
    yield TrainConfig(beta=0.3)
    yield TrainConfig(beta_schedule="cyclic", warmup=7)


def test_objectives_that_differ_have_different_names():
    configs = set(configurations())
    names = [objective_name(RunConfig(train=config)) for config in configs]
    assert len(set(names)) == len(names) == len(configs)
    assert all(name.startswith(config.objective) for name, config in zip(names, configs, strict=True))


def test_every_option_of_training_is_in_the_name_or_says_how_the_training_runs():
    fields = {field.name for field in dataclasses.fields(TrainConfig)}
    assert fields - _RUN_OF - {"objective"} == CHANGED.keys()
    assert not _RUN_OF & {option for options in _USED_BY.values() for option in options}


@pytest.mark.parametrize(
    ("config", "name"),
    [
        (RunConfig(), "elbo"),
        (RunConfig(train=TrainConfig(objective="wae", deterministic=False)), "wae (not deterministic)"),
        (RunConfig(train=TrainConfig(objective="factor", discriminator=())), "factor (discriminator linear)"),
        (RunConfig(train=TrainConfig(seed=3, learning_rate=0.01, epochs=7)), "elbo"),
        (
            RunConfig(data=DataConfig(condition=("label",), labelled=100), train=TrainConfig(objective="m2")),
            "m2 (told label, labels kept 100)",
        ),
    ],
)
def test_names_are_words(config, name):
    assert objective_name(config) == name
