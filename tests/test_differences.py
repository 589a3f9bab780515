"""Several models over the same rows: a rule that looks at all of them keeps its level and sees what is there."""

import numpy as np
import pytest
import torch
from scipy import stats

from variform.evaluation.differences import differences
from variform.runs.studies import recommend

REPEATS = 300


def models(generator, count=5, rows=200, noise="normal", fits=1, spread=0.0):
    """Scores of equal models, (models, fits, rows): rows are hard for all, and each fit errs a little on every row."""
    hard = 20 * generator.standard_gamma(1.0, size=rows)
    own = (
        generator.normal(size=(count, fits, rows))
        if noise == "normal"
        else generator.standard_gamma(0.3, (count, fits, rows))
    )
    return torch.from_numpy(hard + own + spread * generator.normal(size=(count, fits, 1)))


def share(rule, **options):
    generator = np.random.default_rng(0)
    return np.mean([rule(models(generator, **options)) for _ in range(REPEATS)])


def most(level):
    """The level and four standard errors of its share in so many repeats."""
    return level + 4 * np.sqrt(level * (1 - level) / REPEATS)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"noise": "skewed"},
        {"count": 2},
        {"count": 10},
        {"rows": 15},
        {"fits": 3, "spread": 0.5},
    ],
    ids=["plain", "skewed", "two", "ten", "few rows", "three fits of each"],
)
def test_of_equal_models_the_first_is_refused_in_one_of_twenty_cases(options):
    """At most .05 + 4 standard errors; two paired errors from the best one refuse it in up to .14 of the cases."""
    assert share(lambda scores: not differences(list(scores)).among_best()[0], **options) < most(
        0.05
    )


@pytest.mark.parametrize("options", [{}, {"noise": "skewed"}, {"count": 10}, {"rows": 15}])
def test_of_equal_models_no_pair_is_told_apart_but_in_one_of_twenty_cases(options):
    def differs(scores):
        pairs = differences(list(scores))
        return bool((abs(pairs.mean) > pairs.half_widths()).any())

    def differs_by_two_errors(scores):
        pairs = differences(list(scores))
        return bool((abs(pairs.mean) > 2 * pairs.se).any())

    assert share(differs, **options) < most(0.05)
    assert share(differs_by_two_errors, **options) > 0.15


def test_a_recommendation_sees_half_a_nat_among_rows_that_differ_by_twenty():
    """Planted: the smaller dimension is .565 nats worse, the paired error of 500 rows is .194, that of one model .9."""
    generator, passed, unpaired = np.random.default_rng(0), [], []
    for _ in range(REPEATS):
        hard = 20 * generator.standard_gamma(1.0, size=500)
        nll = torch.from_numpy(hard + 0.194 * np.sqrt(500 / 2) * generator.normal(size=(5, 1, 500)))
        nll[0] += 0.565
        dim, _, similar = recommend(dict(zip((2, 5, 10, 20, 40), nll, strict=True)))
        passed.append(dim != 2)
        means, errors = nll.mean((1, 2)), nll.std((1, 2)) / np.sqrt(500)
        unpaired.append(bool(means[0] > means.min() + 2 * errors[means.argmin()]))
        assert (
            similar[2]["se"] is None
            or similar[2]["mean"] == 0
            or similar[2]["se"] == pytest.approx(0.194, rel=0.2)
        )
    assert np.mean(passed) > 0.8 and np.mean(unpaired) < 0.02


def test_two_models_are_compared_as_students_paired_test_does():
    """With two models nothing is chosen: SciPy's paired t-test, two-sided for intervals, one-sided for the best."""
    generator = np.random.default_rng(1)
    for shift in (0.1, 0.35, 0.6):
        scores = generator.normal(size=(2, 40)) + 10 * generator.normal(size=40)
        scores[1] += shift
        pairs = differences(list(torch.from_numpy(scores)))
        interval = stats.ttest_rel(*scores).confidence_interval(0.95)
        width = pairs.half_widths()[0, 1]
        assert pairs.mean[0, 1] - width == pytest.approx(interval.low, abs=0.02)
        assert pairs.mean[0, 1] + width == pytest.approx(interval.high, abs=0.02)
        worse = stats.ttest_rel(scores[1], scores[0], alternative="greater").pvalue
        assert abs(worse - 0.05) < 0.005 or pairs.among_best()[1] == (worse > 0.05)


def test_intervals_of_independent_models_are_those_of_tukeys_range():
    """Equal variances, no pairing: SciPy's Tukey-Kramer, whose degrees of freedom are those of the pooled variance."""
    scores = np.random.default_rng(2).normal(size=(4, 4000))
    pairs = differences(list(torch.from_numpy(scores)))
    low = stats.tukey_hsd(*scores).confidence_interval(0.95).low
    np.testing.assert_allclose(
        (pairs.mean - pairs.half_widths())[~np.eye(4, dtype=bool)],
        low[~np.eye(4, dtype=bool)],
        atol=0.003,
    )


def test_with_several_fits_the_error_is_over_the_fits_too():
    """Each fit is a draw: one lucky fit of ten nats says little, and ten rows more or less nothing of that."""
    generator = np.random.default_rng(3)
    scores = models(generator, count=2, rows=2000, fits=3, spread=10.0)
    pairs = differences(list(scores))
    means = scores.mean(2).numpy()
    expected = np.sqrt((means.var(1, ddof=1) / 3).sum())
    assert pairs.se[0, 1] == pytest.approx(expected, rel=1e-3)
    dof = stats.ttest_ind(*means, equal_var=False).df
    assert pairs.freedom[0, 1] == pytest.approx(dof, rel=1e-2)
    assert differences([fits[:1] for fits in scores]).se[0, 1] < 0.05


def test_a_model_that_has_blown_up_hides_nothing_of_the_others():
    """Scores of 1e12 beside two that differ by .5 ± .1: what is found of these is what is found of them alone."""
    generator = np.random.default_rng(4)
    hard = 20 * generator.standard_gamma(1.0, size=400)
    rows = [
        torch.from_numpy(hard + shift + 1.4 * generator.normal(size=400)) for shift in (0.5, 0.0)
    ]
    wild = torch.from_numpy(1e12 * generator.standard_gamma(1.0, size=400))
    alone, among = differences(rows), differences([*rows, wild])
    assert alone.among_best().tolist() == [False, True] and among.among_best().tolist() == [
        False,
        True,
        False,
    ]
    assert among.half_widths()[0, 1] == pytest.approx(
        alone.half_widths()[0, 1], rel=0.25
    )  # of three pairs, not of one


@pytest.mark.parametrize("unit", [1e-12, 1e9])
def test_the_unit_of_the_scores_changes_nothing(unit):
    scores = models(np.random.default_rng(0), count=4)
    plain, other = differences(list(scores)), differences(list(unit * scores))
    np.testing.assert_allclose(other.half_widths(), unit * plain.half_widths(), rtol=1e-6)
    assert (other.among_best() == plain.among_best()).all()


def test_what_differs_by_rounding_is_the_same():
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        rows, noise = (
            300 * torch.rand(50, generator=generator) + 700,
            torch.rand(2, 50, generator=generator),
        )
        pairs = differences([rows, rows + 1e-13 * noise[0], rows, *[rows + noise[1] - 1] * 2])
        assert pairs.among_best().tolist() == [False, False, False, True, True]
        assert (abs(pairs.mean) > pairs.half_widths()).sum() == 2 * 3 * 2


def test_equal_scores_are_the_best_together_and_a_constant_difference_is_seen():
    rows = torch.linspace(0, 50, 30)
    assert differences([rows, rows, rows + 1e-3]).among_best().tolist() == [True, True, False]


def test_intervals_reach_as_far_out_of_students_t_as_scipy_says():
    scores = np.random.default_rng(4).normal(size=(3, 12))
    pairs = differences(list(torch.from_numpy(scores)))
    apart = ~np.eye(3, dtype=bool)
    for critical in (0.0, 0.7, 2.3, 9.0, 50.0):
        # Of the middle SciPy 1.15 says -1e-17, and a width has no sign.
        far = abs(stats.t.isf(stats.norm.sf(critical), pairs.freedom[apart]))
        with np.errstate(
            invalid="ignore"
        ):  # a model does not differ from itself, however far that is
            reach = pairs._reach(critical)[apart]
        np.testing.assert_array_equal(reach, pairs.se[apart] * far)
