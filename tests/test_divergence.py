"""A training that diverges goes back to its best weights; a healthy one is never disturbed."""

import json
import math

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from test_training import (
    Stopping,
    assert_same_tensors,
    checkpoint,
    hard_config,
    objective_for,
    without_timings,
)

from variform import DataConfig, ModelConfig, TrainConfig, build_objective, build_vae, evaluate, fit
from variform.data.reading import read
from variform.training.divergence import SLOWER, TRIES, risen
from variform.training.fit import Interrupted, NonFiniteError


@pytest.fixture(scope="module")
def grey():
    pixels = np.random.default_rng(0).integers(0, 256, (130, 4, 4), dtype=np.uint8)
    return read(pixels, config=DataConfig(binarise="dynamic"))


class Exploding(Stopping):
    """Its loss becomes `value` times what it is in some steps of the training."""

    steps: tuple[int, ...] = ()
    value = math.nan
    present = -1

    def at_step(self, step):
        self.present = step
        super().at_step(step)

    def forward(self, x, context=None):
        terms = super().forward(x, context)
        if not (self.training and self.present in self.steps):
            return terms
        return terms._replace(
            loss=terms.loss * self.value, log_likelihood=terms.log_likelihood * self.value
        )


@pytest.mark.parametrize(
    ("present", "best", "is_diverged"),
    [
        ({"loss": 90.0, "log_likelihood": -90.0}, {"loss": 80.0, "log_likelihood": -80.0}, False),
        ({"loss": 199.0, "log_likelihood": -90.0}, {"loss": 80.0, "log_likelihood": -80.0}, False),
        ({"loss": 201.0, "log_likelihood": -90.0}, {"loss": 80.0, "log_likelihood": -80.0}, True),
        ({"loss": 90.0, "log_likelihood": -201.0}, {"loss": 80.0, "log_likelihood": -80.0}, True),
        # what the training had gained is a margin too
        ({"loss": 201.0, "log_likelihood": -90.0}, {"loss": -80.0, "log_likelihood": -80.0}, False),
        ({"loss": 281.0, "log_likelihood": -90.0}, {"loss": -80.0, "log_likelihood": -80.0}, True),
    ],
)
def test_the_bound_is_as_its_formula_says(present, best, is_diverged):
    untrained = {"loss": 100.0, "log_likelihood": -100.0}
    assert bool(risen(present, best, untrained, best, 50)) == is_diverged
    falling = {name: value * 2 for name, value in present.items()}
    assert not risen(present, falling, untrained, best, 50)


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e6])
@pytest.mark.parametrize(
    "options", [{}, {"ema": 0.8}, {"optimizer": "rmsprop"}], ids=["adam", "average", "rmsprop"]
)
def test_it_goes_back_to_the_best_weights_at_a_smaller_rate_and_ends_well(grey, value, options):
    """Steps 9 (the second of epoch 3) breaks: at once where it is not finite, at the end of the epoch where it is."""
    config = hard_config(schedule="constant", **options)
    objective = objective_for(grey, config, kind=Exploding)
    objective.steps, objective.value = (9,), value
    seen = []

    def keep(row):
        seen.append({name: item.clone() for name, item in objective.state_dict().items()})

    history = fit(objective, grey.train, grey.valid, config, on_epoch=keep)
    (rollback,) = history.rollbacks
    what = (
        "in epoch 3 the training loss rose"
        if math.isfinite(value)
        else "in step 10 the log likelihood became NaN"
    )
    assert (
        what in rollback
        and "back to the weights of epoch 2, with 0.3 times the learning rate and" in rollback
    )
    rates = [row["learning_rate"] for row in history.rows]
    assert rates == [
        pytest.approx(1e-3 * SLOWER ** (number >= (4 if math.isfinite(value) else 3)))
        for number in range(1, 7)
    ]
    assert [number for number, row in enumerate(history.rows, 1) if "rollback" in row] == [3]
    if math.isfinite(value) and not options.get("ema"):
        assert_same_tensors(seen[2], seen[1])
    assert history.stopped == "all steps done" and history.best_epoch > 3
    assert "it went back 1 times" in repr(history)


@pytest.mark.parametrize("value", [math.nan, 1e6])
@pytest.mark.parametrize("options", [{}, {"ema": 0.8}], ids=["adam", "average"])
def test_a_resumed_fit_that_diverges_ends_with_the_bits_of_an_uninterrupted_one(
    grey, tmp_path, value, options
):
    config = hard_config(**options)

    def objective_that_breaks(stop=-1):
        objective = objective_for(grey, config, kind=Exploding, dropout=0.3)
        objective.steps, objective.value, objective.stop_at = (9, 18), value, stop
        return objective

    (tmp_path / "alone").mkdir()
    alone = objective_that_breaks()
    expected = fit(alone, grey.train, grey.valid, config, folder=tmp_path / "alone")
    assert len(expected.rollbacks) == 2
    for place, stops in enumerate([(9,), (10,), (8, 11, 12), (17, 18, 20)]):
        folder = tmp_path / str(place)
        folder.mkdir()
        for number, stop in enumerate(stops):
            with pytest.raises(Interrupted):
                fit(
                    objective_that_breaks(stop),
                    grey.train,
                    grey.valid,
                    config,
                    folder=folder,
                    resume=number > 0,
                )
        last = objective_that_breaks()
        history = fit(last, grey.train, grey.valid, config, folder=folder, resume=True)
        assert without_timings(history.rows) == without_timings(expected.rows)
        assert history.rollbacks == expected.rollbacks
        assert_same_tensors(last.state_dict(), alone.state_dict())
        (tensors, numbers), (expected_tensors, expected_numbers) = (
            checkpoint(folder),
            checkpoint(tmp_path / "alone"),
        )
        assert_same_tensors(tensors, expected_tensors)
        assert numbers == expected_numbers


@pytest.mark.parametrize(("step", "is_judged"), [(1, False), (9, True)])
def test_what_rises_in_the_first_steps_is_left_to_fall_again(grey, step, is_judged):
    """Of 100 steps the first 5 are no place to judge."""
    config = hard_config(steps=100)
    objective = objective_for(grey, config, kind=Exploding)
    objective.steps, objective.value = (step,), 1e6
    history = fit(objective, grey.train, grey.valid, config)
    assert bool(history.rollbacks) == is_judged
    losses = [row["train_loss"] for row in history.rows]
    assert max(losses) > 1e4 and losses[-1] < 20 and history.stopped == "all steps done"


def test_it_ends_after_a_few_tries(grey):
    config = hard_config()
    objective = objective_for(grey, config, kind=Exploding)
    objective.steps = tuple(range(9, 22))
    history = fit(objective, grey.train, grey.valid, config)
    assert len(history.rollbacks) == TRIES + 1 and history.rows[-1]["step"] == 8
    assert "diverged 4 times" in history.stopped and "where the training ended" in history.stopped


@pytest.mark.parametrize(("steps", "total"), [(range(22), 22), (range(1, 22), 22), ((1,), 2)])
def test_without_any_good_epoch_it_is_an_error(grey, steps, total):
    config = hard_config(steps=total)
    objective = objective_for(grey, config, kind=Exploding)
    objective.steps = tuple(steps)
    before = {name: value.clone() for name, value in objective.state_dict().items()}
    with pytest.raises(
        NonFiniteError, match=r"the loss must stay finite; in step .* before any epoch was done"
    ):
        fit(objective, grey.train, grey.valid, config)
    assert_same_tensors(objective.state_dict(), before)


@pytest.mark.parametrize("steps", [(), (20, 21)])
def test_a_device_that_computes_behind_is_asked_now_and_then(grey, steps, monkeypatch):
    """A healthy training has the same bits; one that breaks goes back at the next question, or at its epoch's end."""
    config = hard_config(steps=66)
    histories = []
    for is_behind in (False, True):
        monkeypatch.setattr(
            "variform.training.fit.computes_behind", lambda _, answer=is_behind: answer
        )
        objective = objective_for(grey, config, kind=Exploding)
        objective.steps = steps
        histories.append(fit(objective, grey.train, grey.valid, config))
    first, second = histories
    if not steps:
        assert_same_tensors(first.last, second.last)
        assert without_timings(first.rows) == without_timings(second.rows)
        return
    end_of_epoch = next(row["step"] for row in first.rows if row["step"] > 20)
    noticed = min(32, end_of_epoch)
    assert first.rollbacks[0].startswith("in step 21 the log likelihood")
    assert second.rollbacks[0].startswith(f"in step {noticed} or some before the log likelihood")


def test_a_checkpoint_of_a_version_without_rollbacks_is_resumed(grey, tmp_path):
    config = hard_config()
    objective = objective_for(grey, config, kind=Stopping)
    objective.stop_at = 9
    with pytest.raises(Interrupted):
        fit(objective, grey.train, grey.valid, config, folder=tmp_path)
    path = tmp_path / "checkpoint.safetensors"
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["variform"])
    for name in ("untrained", "rollbacks"):
        del header["state"][name]
    tensors = load_file(path)
    save_file(
        tensors,
        path,
        {"variform": json.dumps({name: header[name] for name in ("state", "identity")})},
    )
    resumed, alone = objective_for(grey, config), objective_for(grey, config)
    fit(resumed, grey.train, grey.valid, config, folder=tmp_path, resume=True)
    fit(alone, grey.train, grey.valid, config)
    assert_same_tensors(resumed.state_dict(), alone.state_dict())


def with_tails(seed):
    """300 rows of 6 columns from 2 factors; row 0, which is trained on, is 27 standard deviations out."""
    generator = np.random.default_rng(seed)
    size = np.sqrt(2.5 / generator.chisquare(2.5, (300, 1)))
    x = size * generator.normal(size=(300, 2)) @ generator.normal(
        size=(2, 6)
    ) + 0.3 * generator.normal(size=(300, 6))
    x = np.vstack([27 * x.std(0) * np.sign(x[:1]), x])
    return read(torch.from_numpy(x).float())


@pytest.mark.parametrize("hidden", [(), (50,)], ids=["linear", "mlp"])
@pytest.mark.parametrize(
    "likelihood", ["gaussian-shared", "gaussian-per-feature", "gaussian", "gaussian-identity"]
)
def test_no_training_ends_blown_up_on_tails(likelihood, hidden):
    """Whatever happened on the way, in the end no row costs millions of nats, trained on or held out.

    A variance from the network (`gaussian`) pays most for the far row; with one variance the loss ends below its start.
    """
    torch.set_default_dtype(torch.float32)
    for seed in range(2):
        data = with_tails(seed)
        config = TrainConfig(
            steps=300, batch_size=50, learning_rate=1e-2, schedule="cosine", seed=seed
        )
        model = ModelConfig(latent_dim=2, likelihood=likelihood, hidden=hidden)
        vae = build_vae(model, data.schema, seed=seed, moments=data.train.moments())
        history = fit(build_objective(vae, config), data.train, data.valid, config)
        assert history.rows[-1]["train_loss"] < (
            1e3 if likelihood == "gaussian" else history.rows[0]["train_loss"] + 1
        )
        numbers = evaluate(vae, data.test, data.train, samples=20)
        assert abs(numbers["elbo"]["mean"]) < 1e3
