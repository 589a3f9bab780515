"""Validity: AUC against scikit-learn, its error against many draws, what is learned against the law of the answers."""

import numpy as np
import pytest
from scipy import special, stats
from sklearn.metrics import roc_auc_score

from variform.design import kernel_validity
from variform.design.kernel_validity import fit_kernel_validity
from variform.design.validity import FEWEST, auc_of, fit_validity


def answers(count, seed=0, dim=3):
    """Points, of which those outside a ball are invalid."""
    z = np.random.default_rng(seed).normal(size=(count, dim))
    return z, np.linalg.norm(z, axis=1) < stats.chi(dim).ppf(0.8)


def test_the_area_under_the_curve_is_that_of_scikit_learn():
    draw = np.random.default_rng(0)
    is_valid = draw.random(200) < 0.8
    scores = np.round(is_valid + draw.normal(size=200), 1)  # with ties
    assert auc_of(scores, is_valid).mean == pytest.approx(roc_auc_score(is_valid, scores))


def test_its_error_is_the_spread_over_many_draws():
    draw = np.random.default_rng(0)
    found = []
    for _ in range(2000):
        is_valid = np.arange(120) < 96
        found.append(auc_of(is_valid + draw.normal(size=120), is_valid))
    means = np.array([estimate.mean for estimate in found])
    assert means.mean() == pytest.approx(stats.norm.cdf(1 / np.sqrt(2)), abs=0.004)
    assert np.mean([estimate.se**2 for estimate in found]) == pytest.approx(means.var(), rel=0.06)


def test_what_is_learned_tells_valid_from_invalid_designs_that_it_never_saw():
    """The cross-validated AUC lies where the AUC on 3,000 other points does, and the probability is one."""
    validity = fit_validity(*answers(160, dim=2))
    others, is_valid = answers(3000, seed=1, dim=2)
    probability = validity.probability(others)
    true = roc_auc_score(is_valid, probability)
    assert true > 0.9 and abs(validity.auc.mean - true) < 3 * validity.auc.se
    assert probability.mean() == pytest.approx(0.8, abs=0.04)
    sure = probability > 0.9
    assert is_valid[sure].mean() > 0.9


def test_answers_that_do_not_depend_on_the_design_give_an_area_of_a_half():
    z = np.random.default_rng(0).normal(size=(80, 4))
    validity = fit_validity(z, np.random.default_rng(1).random(80) < 0.7)
    assert abs(validity.auc.mean - 0.5) < 3 * validity.auc.se


@pytest.mark.parametrize("invalid", [0, FEWEST - 1])
def test_too_few_answers_of_a_kind_are_said(invalid):
    z = np.random.default_rng(0).normal(size=(30, 2))
    validity = fit_validity(z, np.arange(30) >= invalid)
    assert validity.auc is None and f"there are {30 - invalid} and {invalid}" in validity.note
    np.testing.assert_array_equal(validity.probability(z), np.full(30, 1 - invalid / 30))
    assert fit_validity(z, np.arange(30) >= FEWEST).auc is not None


def test_the_kernel_classifier_is_that_of_scikit_learn():
    """What is exported gives the probabilities of the pipeline that was fitted."""
    random = np.random.default_rng(0)
    z = random.normal(size=(120, 3))
    is_valid = np.square(z).sum(1) + random.normal(0, 0.5, 120) < 2.5
    found = fit_kernel_validity(z, is_valid)
    search = kernel_validity._search(z, 0).fit(*sorted_rows(z, is_valid))
    others = 2 * random.normal(size=(200, 3))
    expected = search.predict_proba(others)[:, 1]
    np.testing.assert_allclose(found.probability(others), expected, atol=1e-8)
    far = found.probability(np.full((1, 3), 1e3))
    np.testing.assert_allclose(far, special.expit(found.bias), rtol=1e-12)


def sorted_rows(z, is_valid):
    places = np.unique(z, axis=0, return_index=True)[1]
    return z[places], is_valid[places]


def test_the_kernel_classifier_learns_a_shell_and_says_how_well_on_others():
    random = np.random.default_rng(1)
    z = random.normal(size=(400, 4))
    is_valid = np.square(z).sum(1) < 4
    found = fit_kernel_validity(z, is_valid)
    others = random.normal(size=(2000, 4))
    auc = roc_auc_score(np.square(others).sum(1) < 4, found.probability(others))
    assert auc > 0.9 and abs(found.auc.mean - auc) < 4 * found.auc.se
    assert (found.valid, found.invalid) == (is_valid.sum(), (~is_valid).sum())


def test_the_kernel_classifier_wants_answers_of_both_kinds():
    z = np.random.default_rng(0).normal(size=(60, 2))
    assert "20 valid and 5 invalid" in fit_kernel_validity(z, np.ones(60, bool))
    twice = np.concatenate([z[:12], z[:12]])  # equal ones count once
    assert isinstance(fit_kernel_validity(twice, np.arange(24) % 12 < 10), str)
