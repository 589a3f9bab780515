"""Choices of a person whose utility is known."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from variform.design.preference import fit_preference, pairs_of_ratings

pytest.importorskip("botorch")
BOX = np.zeros(2), np.ones(2)


def utility(z):
    return -((z - [0.3, 0.6]) ** 2).sum(1)


def test_choices_between_pairs_give_back_the_order_of_a_known_utility():
    rng = np.random.default_rng(0)
    z, others = rng.random((30, 2)), rng.random((200, 2))
    pairs = rng.permuted(np.tile(np.arange(30), (60, 1)), axis=1)[:, :2]
    pairs = np.where(
        (utility(z)[pairs[:, 0]] > utility(z)[pairs[:, 1]])[:, None], pairs, pairs[:, ::-1]
    )
    learned = fit_preference(z, pairs, BOX)
    assert spearmanr(learned.utility(others), utility(others)).statistic > 0.9


def test_ratings_of_five_grades_give_back_the_order_of_a_known_utility():
    rng = np.random.default_rng(1)
    z, others = rng.random((25, 2)), rng.random((200, 2))
    grades = np.searchsorted(np.quantile(utility(z), [0.2, 0.4, 0.6, 0.8]), utility(z)) + 1.0
    grades[:3] = np.nan
    pairs = pairs_of_ratings(grades)
    assert not np.isin(pairs, [0, 1, 2]).any()
    learned = fit_preference(z, pairs, BOX)
    assert spearmanr(learned.utility(others), utility(others)).statistic > 0.9


def test_mistakes_are_said():
    with pytest.raises(ValueError, match="`pairs` must hold one choice or more, got none; rate"):
        fit_preference(np.zeros((2, 2)), pairs_of_ratings(np.ones(2)), BOX)
    with pytest.raises(ValueError, match="rows from 0 to 1, got 0 to 2"):
        fit_preference(np.zeros((2, 2)), np.array([[0, 2]]), BOX)
