"""Selected designs: against every possible set, and the surrogates' R2 against scikit-learn and known functions."""

import itertools

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.metrics import r2_score

from variform import DataConfig, read
from variform.data.reading import dataset_from
from variform.design.neighbours import Neighbours
from variform.design.selection import select, select_front
from variform.design.spaces import space_of
from variform.design.surrogate import compare_surrogates, lost_r_squared, r_squared


@pytest.fixture(scope="module")
def known():
    """Neighbours of two columns in one unit."""
    rows = np.random.default_rng(0).uniform(size=(50, 2)).astype(np.float32)
    return Neighbours(dataset_from_array(rows), dataset_from_array(rows[:20] + np.float32(0.01)))


def dataset_from_array(rows):
    import torch

    return dataset_from(torch.from_numpy(rows))


def rms(first, second):
    return cdist(first, second) / np.sqrt(first.shape[1])


def test_what_is_selected_is_good_apart_and_at_least_half_as_spread_as_any_set(known):
    """By all sets of four that hold the best design: none is more than twice as spread (Gonzalez 1985)."""
    draw = np.random.default_rng(1)
    designs = draw.uniform(size=(25, 2))
    values = 10 + draw.normal(size=25)
    selection = select(designs, values, known, 4, within=20)
    best = values.argmin()
    good = np.flatnonzero(values <= 1.2 * values[best])
    assert selection.chosen[0] == best and set(selection.chosen) <= set(good)
    between = rms(designs, designs) + np.diag(np.full(25, np.inf))
    chosen = between[np.ix_(selection.chosen, selection.chosen)]
    np.testing.assert_allclose(selection.apart, chosen.min(1), rtol=1e-6)
    sets = itertools.combinations(good[good != best], 3)
    widest = max(between[np.ix_([best, *others], [best, *others])].min() for others in sets)
    assert widest / 2 <= selection.apart.min() <= widest + 1e-12 and selection.note == ""
    to_known = rms(designs[selection.chosen], known.train.raw.numpy())
    np.testing.assert_allclose(selection.nearest.distance, to_known.min(1), rtol=1e-6)


@pytest.mark.parametrize(("goal", "sign"), [("min", 1), ("max", -1)])
def test_a_percentage_is_of_the_best_value_whatever_its_sign(known, goal, sign):
    designs = np.arange(8.0).reshape(4, 2)
    for best in (100.0, -100.0):
        values = sign * (best + np.array([0.0, 2.9, 3.1, np.nan]))
        assert sorted(select(designs, values, known, 4, goal=goal).chosen) == [0, 1]


def test_that_there_are_fewer_is_said_with_the_numbers(known):
    designs = np.array([[0.0, 0.0], [0.1, 0.1], [3.0, 3.0], [9.0, 9.0]])
    selection = select(designs, np.array([1.0, 1.0, 1.01, 2.0]), known, 3, apart=0.5)
    assert selection.chosen.tolist() == [0, 2]
    assert "2 of 3 designs were found: of 3 designs within 3 %" in selection.note
    with pytest.raises(ValueError, match="none of 4 is"):
        select(designs, np.full(4, np.nan), known)
    twice = select(designs[[0, 0]], np.ones(2), known, 2)
    assert len(twice.chosen) == 1  # a copy is no other design
    assert (
        "1 of 2 designs were found: of 2 designs within 3 % of the best value these are all"
        in twice.note
    )


@pytest.mark.parametrize("front", [False, True])
def test_without_a_distance_it_is_said_that_there_are_no_more_designs(known, front):
    designs = np.array([[0.0, 0.0], [3.0, 3.0], [9.0, 9.0]])
    values = np.array([[1.0, 2.0], [2.0, 1.0], [9.0, 9.0]])
    selection = select(designs, np.array([1.0, 1.0, 2.0]), known, 5)
    if front:
        selection = select_front(designs, values, known, 5)
    assert len(selection.chosen) == 2
    assert "these are all that differ" in selection.note and "no other" not in selection.note


# --- surrogates ---------------------------------------------------------------------------------------------------


def test_r_squared_is_that_of_scikit_learn_and_its_error_the_spread_over_many_draws():
    draw = np.random.default_rng(0)
    found = []
    for _ in range(1500):
        wanted = draw.normal(size=200)
        predicted = 0.8 * wanted + 0.4 * draw.normal(size=200)
        found.append(r_squared(wanted, predicted))
    assert found[-1].mean == pytest.approx(r2_score(wanted, predicted))
    spread = np.std([estimate.mean for estimate in found])
    assert np.mean([estimate.se for estimate in found]) == pytest.approx(spread, rel=0.06)


def test_the_space_that_holds_what_a_response_depends_on_is_recommended():
    """A response of one column is lost to two components; that of many is not, and two coordinates are few."""
    draw = np.random.default_rng(0)
    plane = draw.normal(size=(420, 2))
    x = plane @ draw.normal(size=(2, 8)) + 0.02 * draw.normal(size=(420, 8))
    own = draw.normal(size=420)
    columns = {f"column {letter}": values for letter, values in zip("abcdefgh", x.T, strict=True)}
    table = {**columns, "own": own, "lift": np.sin(plane[:, 0]) + plane[:, 1], "drag": own**2}
    for response, expected in (("lift", "pca-2"), ("drag", "raw")):
        config = DataConfig(response=("lift", "drag"), scaling="standard")
        rows = read(table, config)
        keep = {response: rows.train.responses[response]}
        spaces = [space_of(None, rows.train, "raw"), space_of(None, rows.train, "pca", 2)]
        rows.train.responses.clear()
        rows.train.responses.update(keep)
        result = compare_surrogates(spaces, rows.train, rows.test)
        assert result.recommended == expected, result
        raw = next(fit for fit in result.fits if fit.space == "raw")
        assert raw.r2.mean > 0.9 and raw.rows >= 300
    assert "worse, by more than two errors" in result.reason


def test_the_error_of_a_loss_is_its_spread_over_many_draws_though_both_err_on_the_same_rows():
    draw = np.random.default_rng(0)
    found = []
    for _ in range(1500):
        wanted = draw.normal(size=200)
        hard = wanted + 0.5 * draw.normal(size=200)
        one, other = (hard + 0.1 * draw.normal(size=200) for _ in range(2))
        found.append(lost_r_squared(wanted, one, other))
    r2 = r2_score(wanted, other) - r2_score(wanted, one)
    assert found[-1].mean == pytest.approx(r2)
    spread = np.std([estimate.mean for estimate in found])
    assert np.mean([estimate.se for estimate in found]) == pytest.approx(spread, rel=0.06)
    assert r_squared(wanted, one).se > 1.5 * spread


def test_spaces_that_are_not_told_apart_give_way_to_the_simplest_one():
    """Few rows and much noise: all columns, and components of half of the variance, predict as badly as each other."""
    draw = np.random.default_rng(1)
    columns = {f"column {letter}": draw.normal(size=260) for letter in "abcdef"}
    drag = sum(columns.values()) + 2 * draw.normal(size=260)
    rows = read(columns | {"drag": drag}, DataConfig(response=("drag",)))
    spaces = [space_of(None, rows.train, "pca", 6), space_of(None, rows.train, "raw")]
    result = compare_surrogates(spaces, rows.train, rows.test)
    best = max(result.fits, key=lambda fit: fit.r2.mean)
    other = min(result.fits, key=lambda fit: fit.r2.mean)
    assert best.lost.mean == 0 and other.lost.mean == pytest.approx(best.r2.mean - other.r2.mean)
    assert result.recommended == "raw"  # as many coordinates as the components, and simpler
    assert "are not told apart" in result.reason and "raw is the simplest" in result.reason


def test_responses_of_words_and_those_that_are_hardly_known_have_no_surrogate():
    draw = np.random.default_rng(0)
    table = {"a": draw.normal(size=90), "b": draw.normal(size=90), "material": ["oak", "elm"] * 45}
    rows = read(table, DataConfig(response=("material",)))
    with pytest.raises(ValueError, match="got material"):
        compare_surrogates([space_of(None, rows.train, "raw")], rows.train, rows.test)
