"""Weights of rows: a row of weight 2 is the row twice, in gradients, in training and in validation."""

import copy
import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch

from variform import DataConfig, ModelConfig, TrainConfig, build_objective, build_vae, fit, read
from variform.data.reading import dataset_from, read_rows
from variform.system import draws
from variform.training.step import Step

TIMES = torch.tensor([1, 2, 1, 3, 1, 1, 2])


@pytest.fixture
def without_noise(monkeypatch):
    """The draws of z are the means: then a row that comes twice has the same draw twice."""

    def zeros(shape, *, like, **options):
        return like.new_zeros(shape)

    monkeypatch.setattr(draws, "normal", zeros)


def rows_of(count, seed, *, gaps=False):
    x = torch.from_numpy(np.random.default_rng(seed).normal(size=(count, 3)))
    if gaps:
        x[1, 2] = torch.nan
    return dataset_from(x, gaps=gaps)


def twice(data, times):
    """The rows, each as often as it counts."""
    return dataclasses.replace(data, raw=data.raw.repeat_interleave(times, 0))


def weighted(data, times):
    return dataclasses.replace(data, weights=times.double() / 7)  # of which only the ratios count


def objective_for(data, config, **model):
    options = {"latent_dim": 2, "hidden": (5,), "likelihood": "gaussian-per-feature"} | model
    vae = build_vae(ModelConfig(**options), data.schema)
    return build_objective(vae, config)


@pytest.mark.parametrize("objective", ["elbo", "iwae", "piwae", "autoencoder"])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_the_gradient_of_a_row_of_weight_2_is_that_of_the_row_twice(
    without_noise, objective, accumulate
):
    data = rows_of(len(TIMES), 0)
    config = TrainConfig(objective=objective, accumulate=accumulate)
    built = objective_for(data, config)
    found = []
    for rows in (weighted(data, TIMES), twice(data, TIMES)):
        step = Step(copy.deepcopy(built), config, 10)
        gradients, sums = step._found(
            rows.batch(torch.arange(len(rows))), len(rows), 1.0, None, rows.shares
        )
        found.append(([*filter(lambda one: one is not None, gradients)], sums[:3] / sums[3]))
    (gradients, means), (gradients_of_copies, means_of_copies) = found
    for one, other in zip(gradients, gradients_of_copies, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(means, means_of_copies, rtol=1e-12, atol=0, equal_nan=True)


@pytest.mark.parametrize("options", [{}, {"ema": 0.8, "clip_norm": 0.5}, {"warmup": 20}], ids=str)
@pytest.mark.parametrize("gaps", [False, True], ids=["whole", "gaps"])
def test_training_on_weights_is_training_on_copies(without_noise, options, gaps):
    """Of whole batches; validation rows are weighted too, and the Jacobian of rows with gaps is that of each row."""
    train, valid = rows_of(7, 0, gaps=gaps), rows_of(7, 1, gaps=gaps)
    valid = dataclasses.replace(valid, schema=train.schema)
    histories = []
    for how in (weighted, twice):
        data = how(train, TIMES)
        config = TrainConfig(epochs=30, batch_size=len(data), learning_rate=0.01, **options)
        built = objective_for(train, config)
        histories.append(fit(built, data, how(valid, TIMES.flip(0)), config))
    first, second = histories
    assert first.best_epoch == second.best_epoch
    for name, value in first.last.items():
        torch.testing.assert_close(value, second.last[name], rtol=1e-9, atol=1e-9)
    for row, other in zip(first.rows, second.rows, strict=True):
        for name in ("train_loss", "train_elbo", "valid_loss", "valid_log_likelihood", "valid_kl"):
            assert row[name] == pytest.approx(other[name], rel=1e-9)


def test_the_mean_over_random_batches_is_the_weighted_mean(without_noise):
    """Without a bias: the gradients of all batches of an epoch, each with as many rows, average to the whole."""
    data = weighted(rows_of(6, 0), TIMES[:6])
    config = TrainConfig()
    step = Step(objective_for(data, config), config, 10)
    whole = step._gradients(data.batch(torch.arange(6)), 6, 1.0, None, data.shares)[0]
    parts = [
        step._gradients(data.batch(index), 2, 1.0, None, data.shares[index])[0]
        for index in torch.tensor([[4, 1], [0, 5], [3, 2]])
    ]
    for gradient, *of_batches in zip(whole, *parts, strict=True):
        torch.testing.assert_close(torch.stack(of_batches).mean(0), gradient)


@pytest.mark.parametrize(
    ("options", "model"),
    [
        ({"free_bits": 0.5}, {}),
        ({"objective": "dip-i"}, {}),
        ({"objective": "factor"}, {}),
        ({}, {"likelihood": "gaussian-optimal"}),
    ],
    ids=str,
)
def test_what_compares_rows_refuses_weights(options, model):
    data = weighted(rows_of(7, 0), TIMES)
    config = TrainConfig(epochs=1, **options)
    with pytest.raises(ValueError, match=r"`weight` needs a loss that is a sum over rows.* Use "):
        fit(objective_for(data, config, **model), data, data, config)


# --- reading ------------------------------------------------------------------------------------------------------


def designs(rows=60):
    random = np.random.default_rng(0)
    frame = pd.DataFrame(random.normal(size=(rows, 2)), columns=["a", "b"])
    return frame.assign(counts=random.integers(1, 5, rows))


def test_a_column_of_weights_stands_beside_the_rows(tmp_path):
    frame = designs()
    frame.to_csv(tmp_path / "designs.csv", index=False)
    config = DataConfig(weight="counts")
    for source in (tmp_path / "designs.csv", frame):
        data = read(source, config)
        assert data.schema.columns == ("a", "b")
        for part in (data.train, data.valid, data.test):
            expected = frame["counts"].to_numpy()[part.index.numpy()]
            assert part.weights.tolist() == expected.tolist()
        np.testing.assert_allclose(data.train.shares.mean(), 1)
    weights = data.train.weights.numpy()
    equal = weights.sum() ** 2 / (weights**2).sum()  # Kish's effective sample size
    assert any(
        f"as many as {equal:,.0f} equal ones of {len(weights)}" in note for note in data.notes
    )
    assert read_rows(tmp_path / "designs.csv", data.schema, config).weights is not None
    without = read(frame.drop(columns="counts"))
    assert without.train.weights is None
    assert without.schema.columns == data.schema.columns and without.fingerprint != data.fingerprint


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"counts": [-1.0, *[1.0] * 59]},
            "numbers of at least 0; column 'counts' .* holds -1 in row 1",
        ),
        (
            {"counts": [np.nan, *[1.0] * 59]},
            "numbers of at least 0; column 'counts' .* holds nan in row 1",
        ),
        ({"counts": ["much"] * 60}, "counts.* holds the text 'much'"),
        ({"counts": [0.0] * 60}, "all weights of train in 'counts' .* are 0"),
    ],
    ids=["negative", "gap", "text", "nothing"],
)
def test_wrong_weights_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        read(designs().assign(**change), DataConfig(weight="counts"))


def test_a_column_of_weights_has_no_other_role():
    with pytest.raises(ValueError, match="named with `response` and `weight`"):
        read(designs(), DataConfig(weight="counts", response=("counts",)))
