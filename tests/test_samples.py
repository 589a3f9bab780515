"""Sample quality: brute force from the papers, planted answers, and the expectations that can be computed."""

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.neighbors import NearestNeighbors

from variform.evaluation.samples import compare_samples, perfect_coverage, piles, tell_apart


def pair(count, seed, *, dim=2, shift=0.0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, dim, generator=generator) + shift, torch.randn(
        count, dim, generator=generator
    )


def test_numbers_equal_brute_force_over_the_definitions():
    y, x = (rows.numpy() for rows in pair(40, 0, dim=3, shift=0.5))
    k = 4

    def radius(rows, i):
        return np.sort([np.linalg.norm(rows[i] - other) for j, other in enumerate(rows) if j != i])[
            k - 1
        ]

    in_x = np.array(
        [[np.linalg.norm(x[i] - y[j]) <= radius(x, i) for j in range(40)] for i in range(40)]
    )
    in_y = np.array(
        [[np.linalg.norm(x[i] - y[j]) <= radius(y, j) for j in range(40)] for i in range(40)]
    )
    pooled = np.concatenate([x, y])
    nearest = (
        NearestNeighbors(n_neighbors=2).fit(pooled).kneighbors(pooled, return_distance=False)[:, 1]
    )
    expected = {
        "precision": in_x.any(0).mean(),
        "recall": in_y.any(1).mean(),
        "density": in_x.sum() / (k * 40),
        "coverage": in_x.any(1).mean(),
        "c2st": np.mean((nearest < 40) == (np.arange(80) < 40)),
    }
    quality = compare_samples(torch.from_numpy(y), torch.from_numpy(x), neighbours=k)
    assert {name: estimate.mean for name, estimate in quality.items()} == pytest.approx(expected)
    assert {estimate.n for estimate in quality.values()} == {40}


def test_samples_of_the_data_law_have_their_expected_numbers_and_errors():
    """40 pairs of sets: means within 4 standard errors, stated errors from 2/3 to 2.5 times the true spread."""
    qualities = [compare_samples(*pair(100, seed)) for seed in range(40)]
    expected = {"density": 1.0, "coverage": perfect_coverage(100), "c2st": 99 / 199}
    for name in qualities[0]:
        means = torch.tensor([estimates[name].mean for estimates in qualities])
        stated = torch.tensor([estimates[name].se for estimates in qualities]).mean()
        if name in expected:
            assert abs(means.mean() - expected[name]) < 4 * means.std() / 40**0.5, name
        assert 0.67 < stated / means.std() < 2.5, name


def test_perfect_coverage_is_the_share_of_neighbourhoods_with_another_set():
    """Of 2 N - 1 exchangeable others the k nearest are all of the own set with this probability, by counting."""
    generator, rows, k = np.random.default_rng(0), 6, 3
    order = generator.permuted(np.tile(np.arange(2 * rows - 1) < rows - 1, (200_000, 1)), axis=1)
    share = 1 - order[:, :k].all(1).mean()
    assert perfect_coverage(rows, k) == pytest.approx(
        share, abs=4 * (share * (1 - share) / 200_000) ** 0.5
    )


def test_what_is_wrong_with_samples_shows_in_its_number():
    y, x = pair(300, 1)
    far = compare_samples(y + 20, x)
    assert {name: estimate.mean for name, estimate in far.items()} == {
        "precision": 0, "recall": 0, "density": 0, "coverage": 0, "c2st": 1,
    }  # fmt: skip
    two_modes = x + 20 * (torch.arange(300) % 2)[:, None]
    one_mode = compare_samples(y, two_modes)
    assert (
        one_mode["precision"].mean > 0.9
        and one_mode["recall"].mean < 0.6
        and one_mode["coverage"].mean < 0.6
    )
    noisy = compare_samples(3 * y, x)
    assert noisy["precision"].mean < 0.6 and noisy["recall"].mean > 0.9
    copies = compare_samples(x, x)
    assert copies["c2st"].mean == 0 and copies["coverage"].mean == 1
    constant = compare_samples(torch.zeros(300, 2), torch.zeros(300, 2))  # every tie is half right
    assert constant["c2st"].mean == 0.5


def test_rows_must_be_equally_many_and_enough():
    for generated, real in ((8, 9), (6, 6)):
        with pytest.raises(
            ValueError, match=f"must be equally many, and at least 7; got {generated} and {real}"
        ):
            compare_samples(torch.randn(generated, 2), torch.randn(real, 2))


# --- boosted trees ------------------------------------------------------------------------------------------------


def normals(count, width, seed=0):
    return np.random.default_rng(seed).normal(size=(2, count, width))


def test_two_normals_are_told_as_well_as_by_the_rule_of_bayes():
    """Phi(1/2) = .6915 is the most that is possible; trees of 2,400 rows come within .03 of it."""
    generated, real = normals(1500, 1)
    accuracy, p_value, _ = tell_apart(generated, real + 1, names=["x"])
    best = stats.norm.cdf(0.5)
    assert best - 0.03 < accuracy.mean < best + 3 * accuracy.se and p_value < 1e-9
    assert accuracy.n == 3000


def test_categories_are_told_as_well_as_by_the_rule_of_bayes():
    """The sum over the categories of the larger share, by two: .75 here; 3 standard errors."""
    random = np.random.default_rng(0)
    shares = np.array([[0.2, 0.3, 0.5], [0.7, 0.2, 0.1]])
    generated, real = (random.choice(3, (1000, 1), p=share).astype(float) for share in shares)
    accuracy, _, columns = tell_apart(generated, real, names=["kind"], categorical=[0])
    assert abs(accuracy.mean - shares.max(0).sum() / 2) < 3 * accuracy.se
    assert columns[0].alone.mean == pytest.approx(accuracy.mean, abs=0.02)


def test_rows_of_one_law_are_not_told_however_few_they_are():
    """30 pairs of 40 rows: the mean within 4 errors of 1/2, the stated error from .8 to 2 times the true one, and small
    p-values no more often than they should be (5 or more of 30 below .05: 2 % of all seeds)."""
    results = [tell_apart(*normals(40, 2, seed), names=["a", "b"], seed=seed) for seed in range(30)]
    means = np.array([accuracy.mean for accuracy, _, _ in results])
    stated = np.mean([accuracy.se for accuracy, _, _ in results])
    assert abs(means.mean() - 0.5) < 4 * means.std() / 30**0.5
    assert 0.8 < stated / means.std() < 2
    assert sum(p_value < 0.05 for _, p_value, _ in results) < 5
    assert not any(column.is_clear for _, _, columns in results for column in columns)


def test_a_point_mass_is_told_and_named_where_the_nearest_neighbour_is_blind():
    generated, real = normals(300, 12)
    real[:, 4] = np.where(np.arange(300) % 10, 0.25, real[:, 4])
    nearest = compare_samples(*(torch.from_numpy(rows) for rows in (generated, real)))["c2st"].mean
    accuracy, p_value, columns = tell_apart(
        generated, real, names=[f"x{place}" for place in range(12)]
    )
    assert nearest < 0.7 and accuracy.mean > 0.9 and p_value < 1e-9  # .95 by the rule of Bayes
    assert [column.column for column in columns if column.is_clear] == ["x4"]
    (pile,) = piles(generated, real, names=[f"x{place}" for place in range(12)])
    assert (pile.column, pile.value, pile.generated, pile.real) == ("x4", 0.25, 0.0, 0.9)


def test_what_only_two_columns_together_tell_is_found_by_permuting_them():
    """x and y of correlation .95 in one set and -.95 in the other: neither alone tells anything."""
    generated, real = normals(600, 3)
    generated[:, 2] = 0.95 * generated[:, 0] + 0.3 * generated[:, 2]
    real[:, 2] = -0.95 * real[:, 0] + 0.3 * real[:, 2]
    accuracy, _, columns = tell_apart(generated, real, names=["x", "other", "y"])
    assert accuracy.mean > 0.8 and {column.column for column in columns if column.is_clear} == {
        "x",
        "y",
    }
    assert all(abs(column.alone.mean - 0.5) < 4 * column.alone.se for column in columns)


def test_what_a_model_was_told_is_seen_beside_the_columns():
    """x = c + noise and x = noise - c have one law where c has that of -c: nothing tells them but c."""
    contexts = np.random.default_rng(1).normal(size=(400, 1))
    noise = normals(400, 1) / 4
    generated, real = noise[0] - contexts, noise[1] + contexts
    assert tell_apart(generated, real, names=["x"])[0].mean == pytest.approx(0.5, abs=0.08)
    assert tell_apart(generated, real, names=["x"], contexts=contexts)[0].mean > 0.8


def test_gaps_are_seen_as_gaps_and_do_not_count_as_values():
    generated, real = normals(300, 2)
    real[::2, 1] = np.nan
    accuracy, _, columns = tell_apart(generated, real, names=["a", "b"])
    assert abs(accuracy.mean - 0.75) < 3 * accuracy.se and columns[0].column == "b"
    assert piles(generated, real, names=["a", "b"]) == []


def test_clipped_rows_pile_up_at_the_end_of_the_data():
    generated, real = normals(500, 1)
    (pile,) = piles(generated.clip(-0.5), real.clip(-3), names=["x"])
    assert (pile.value, pile.real) == (-0.5, 0.0) and pile.generated == (generated <= -0.5).mean()
    assert piles(generated.clip(-0.5), real.clip(-0.5), names=["x"]) == []
