"""The table of a study: how estimates are pooled over seeds, and which dimension is recommended."""

import math

import pytest

from variform.studies import pooled, recommend


def estimate(mean, se=0.3):
    return {"mean": mean, "se": se, "n": 100}


def test_pooled_adds_the_variance_over_seeds_to_that_over_rows():
    found = pooled([estimate(10.0), estimate(11.0), estimate(12.0)])
    assert found["mean"] == 11.0 and found["seeds"] == 3
    assert found["se"] == pytest.approx(math.sqrt(0.3**2 + 1.0 / 3))  # variance of 10, 11, 12 is 1
    assert pooled([estimate(10.0)])["se"] == pytest.approx(0.3)


def rows(*pairs):
    return [{"latent_dim": dim, "valid_nll": estimate(nll)} for dim, nll in pairs]


def test_recommended_is_the_smallest_within_two_errors_of_the_best():
    """Two errors of the best are 0.6; how uncertain the candidate is must not help it."""
    assert recommend(rows((2, 110.0), (5, 100.55), (10, 100.0), (20, 100.5)))[0] == 5
    noisy = [{"latent_dim": 2, "valid_nll": estimate(102.0, se=5.0)}, *rows((10, 100.0))]
    assert recommend(noisy)[0] == 10
    dim, reason = recommend(rows((2, 110.0), (5, 100.65), (10, 100.0), (20, 100.5)))
    assert dim == 10 and "best of those tried" in reason
    dim, reason = recommend(rows((2, 110.0), (5, 105.0)))
    assert dim == 5 and "larger one may be better" in reason


def test_a_broken_fit_is_never_recommended():
    assert recommend(rows((2, math.nan), (5, 105.0), (10, math.inf)))[0] == 5
    with pytest.raises(ValueError, match="every fit has none"):
        recommend(rows((2, math.nan)))
