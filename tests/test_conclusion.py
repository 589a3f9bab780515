"""The verdict of a report: what it says is what planted numbers are, in every case that a run can end in."""

import numpy as np
import pytest

from variform import TrainConfig
from variform.config.options import in_options
from variform.evaluation.conclusion import conclude

DONE = [{"best": epoch <= 127} for epoch in range(1, 151)]


def estimate(values):
    """Mean and standard error by NumPy; of one value there is no error."""
    values = np.asarray(values, dtype=float)
    error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else None
    return {"mean": values.mean(), "se": error, "n": len(values)}


def gap(mean, error, rows=90):
    """The estimate of rows whose differences have this mean and standard error."""
    away = error * np.sqrt(rows - 1) * np.resize([-1, 1], rows)
    return estimate(mean + away)


def numbers(rows=90, active=(2, 2), **baselines):
    """An evaluation beside simpler models; of each the differences in NLL and in error, or None."""
    own = estimate(np.linspace(10, 14, rows))
    found = {"nll": own | {"samples": 1000}, "elbo": own, "reconstruction_error": own}
    found["active_units"] = dict(zip(("count", "of"), active, strict=True))
    found["baselines"] = {
        name: {
            f"{measure}_difference": difference
            for measure, difference in zip(("nll", "reconstruction_error"), pair, strict=True)
            if difference is not None
        }
        for name, pair in baselines.items()
    }
    return found


BETTER, WORSE, LEVEL = gap(-47.2, 4.1), gap(3.0, 1.0), gap(0.5, 0.4)
FAR, NEAR = gap(-90.0, 4.0), gap(-20.0, 2.0)


def said(found, trained=None, history=DONE):
    return conclude(found, trained or TrainConfig(), history)


@pytest.mark.parametrize(
    ("baselines", "beginning"),
    [
        ({"pca": (BETTER, BETTER)}, "Better than PCA by 47.2 ± 4.1 nats a row; 2 of"),
        ({"pca": (WORSE, BETTER)}, "Worse than PCA by 3.0 ± 1.0 nats a row; 2 of"),
        ({"pca": (LEVEL, LEVEL)}, "Level with PCA (they differ by 0.50 ± 0.40 nats a row); 2 of"),
        # a density beside one that is better is not all: PCA may rebuild rows better
        (
            {"pca": (BETTER, WORSE)},
            "Better than PCA by 47.2 ± 4.1 nats a row; reconstructs worse than PCA, by an error of 3.0 ± 1.0; 2 of",
        ),
        # of two metrics the nearer, and the trivial model only where it is nearer still
        (
            {"pca": (FAR, FAR), "pca_own_units": (BETTER, BETTER), "trivial": (FAR, FAR)},
            "Better than PCA in your units by 47.2 ± 4.1 nats a row; 2 of",
        ),
        (
            {"pca": (BETTER, BETTER), "trivial": (NEAR, FAR)},
            "Better than PCA by 47.2 ± 4.1 nats a row; better than independent columns by 20.0 ± 2.0 nats a row; 2 of",
        ),
        # no Gaussian likelihood: PCA has no density
        (
            {"pca": (None, BETTER), "trivial": (NEAR, FAR)},
            "Better than independent columns by 20.0 ± 2.0 nats a row; "
            "reconstructs better than PCA, by an error of 47.2 ± 4.1; 2 of",
        ),
        # a mixed table
        (
            {"famd": (None, LEVEL), "trivial": (NEAR, FAR)},
            "Better than independent columns by 20.0 ± 2.0 nats a row; "
            "reconstructs as well as FAMD (errors differ by 0.50 ± 0.40 over all columns); 2 of",
        ),
        ({}, "No simpler model stands beside it; 2 of"),
        (
            {"pca": ({"mean": np.inf, "se": None, "n": 90}, BETTER)},
            "Reconstructs better than PCA, by an error of",
        ),
    ],
)
def test_a_simpler_model_is_better_worse_or_level_by_its_paired_error(baselines, beginning):
    assert said(numbers(**baselines)).found.startswith(beginning)


def test_a_difference_that_is_chance_is_called_level():
    """Equal models under noise: level in about 95 % of cases, of Student's t with 89 degrees of freedom."""
    noise = np.random.default_rng(0).normal(size=(1000, 90))
    level = [
        said(numbers(pca=(estimate(row), None))).found.startswith("Level with") for row in noise
    ]
    assert 0.93 < np.mean(level) < 0.97


def test_a_model_that_is_behind_is_advised_what_the_warning_says():
    for pair in ((WORSE, LEVEL), (LEVEL, WORSE)):
        assert said(numbers(pca=pair)).advice.startswith("try what the warning names")


def test_a_collapsed_model_uses_no_latent():
    found, advice = said(numbers(active=(0, 8), pca=(WORSE, WORSE)))
    assert found.startswith("None of 8 latents used: the model has collapsed; worse than PCA by")
    assert advice.startswith("train anew with more and smaller steps")


@pytest.mark.parametrize("mean", [np.nan, np.inf, None])
def test_numbers_that_are_not_finite_are_compared_with_nothing(mean):
    broken = numbers(active=(0, 2), pca=(BETTER, BETTER))
    broken["nll"]["mean"] = mean
    found, advice = said(broken)
    assert found == (
        "The NLL is not finite, so that nothing can be compared; stopped improving at epoch 127 of 150"
    )
    assert "`clip_norm=10`" in advice


def test_an_autoencoder_has_no_density_to_compare():
    found, advice = said(
        numbers(pca=(WORSE, BETTER)) | {"data_unit": "mm"}, TrainConfig(objective="autoencoder")
    )
    assert found.startswith("Reconstructs better than PCA, by an error of 47.2 ± 4.1 mm; 2 of")
    assert "nats" not in found and "warning" not in advice


def test_one_test_row_tells_nothing():
    one = estimate([-40.0])
    found, advice = said(numbers(rows=1, active=(0, 2), pca=(one, one)))
    assert found.startswith(
        "One test row does not tell whether it is better than PCA; "
        "one test row does not tell how many latents are used"
    )
    assert "collapsed" not in found and advice.startswith("keep more rows for testing")


def test_an_nll_that_is_not_to_be_trusted_is_a_bound():
    """It is too high: a model that is better is so at least, and whether another is cannot be told."""
    doubtful = {"high_pareto_k": {"mean": 0.9}, "ess": {"mean": 15.0}}
    assert said(numbers(pca=(BETTER, BETTER)) | doubtful).found.startswith(
        "Better than PCA by at least 47.2 ± 4.1 nats a row; 2 of"
    )
    assert said(numbers(pca=(WORSE, BETTER)) | doubtful).found.startswith(
        "Whether it is better than PCA cannot be told"
    )
    some = {"high_pareto_k": {"mean": 0.4}, "ess": {"mean": 15.0}}
    found, advice = said(numbers(pca=(BETTER, BETTER)) | some)
    assert "at least" not in found
    assert (
        in_options(advice)
        == "evaluate with --refine 50, since Pareto k is above 0.7 for 40% of the rows"
    )


def bests(done, best, **rows):
    """A history of this many epochs with its best one, and what is noted in some."""
    history = [{"best": epoch == best} for epoch in range(1, done + 1)]
    for epoch, text in rows.items():
        history[int(epoch[1:]) - 1]["rollback"] = text
    return history


def losses(done, best, carried):
    """The same, where training rows gain as the square root of the epoch, validation rows a share of it late."""
    history = bests(done, best)
    for epoch, row in enumerate(history, 1):
        row["train_loss"] = row["valid_loss"] = -np.sqrt(epoch)
        if epoch > done / 2:
            row["valid_loss"] = -np.sqrt(done / 2) - carried * (np.sqrt(epoch) - np.sqrt(done / 2))
    return history


@pytest.mark.parametrize(
    ("history", "trained", "words", "advice"),
    [
        (bests(150, 127), {}, "stopped improving at epoch 127 of 150", "see whether more latents"),
        (losses(150, 150, 0.9), {}, "still improving at the last of 150 epochs", "(`epochs=300`)"),
        (
            losses(50, 41, 0.8),
            {"steps": 70},
            "still improving at the last of 50 epochs",
            "(`steps=140`)",
        ),
        (losses(2, 2, 0.9), {}, "still improving at the last of 2 epochs", "(`epochs=4`)"),
        # a schedule that falls to 0 makes the last epoch the best of a training that overfits, too
        (losses(150, 150, 0.2), {}, "best at the last of 150 epochs", "see whether more latents"),
        (
            losses(67, 63, 0.2),
            {},
            "stopped improving at epoch 63 of 67",
            "see whether more latents",
        ),
        (
            losses(90, 40, -0.5),
            {},
            "stopped improving at epoch 40 of 90",
            "see whether more latents",
        ),
        (bests(1, 1), {"epochs": 1}, "trained for one epoch", "(`epochs=2`)"),
        (bests(9, 0), {}, "never had a finite validation loss", "see whether"),
        (
            bests(20, 9, e12="x", e15="y"),
            {"epochs": 90},
            "stopped improving at epoch 9 of 20, and diverged in 2 epochs",
            "smaller `learning_rate`",
        ),
        (
            bests(40, 30),
            {"epochs": 150},
            "epoch 30 of 40, interrupted before the 150 that were asked for",
            "variform train --resume RUN",
        ),
        # stopped by its patience, which is no interruption
        (bests(40, 30), {"epochs": 150, "patience": 10}, "at epoch 30 of 40", "see whether"),
        ([], {}, "2 of 2 latents used", "see whether"),
    ],
)
def test_how_the_training_ended_is_what_its_history_says(history, trained, words, advice):
    result = said(numbers(pca=(BETTER, BETTER)), TrainConfig(**trained), history)
    assert result.found.endswith(words) and advice in result.advice


def test_idle_latents_are_left_out_next():
    found, advice = said(numbers(active=(3, 8), pca=(BETTER, BETTER)))
    assert "; 3 of 8 latents used; " in found and advice.startswith("train with `latent_dim=3`")
