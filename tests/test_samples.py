"""Sample quality: brute force from the papers, planted answers, and the expectations that can be computed."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from variform.evaluation.samples import compare_samples, perfect_coverage


def pair(count, seed, *, dim=2, shift=0.0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, dim, generator=generator) + shift, torch.randn(count, dim, generator=generator)


def test_numbers_equal_brute_force_over_the_definitions():
    y, x = (rows.numpy() for rows in pair(40, 0, dim=3, shift=0.5))
    k = 4

    def radius(rows, i):
        return np.sort([np.linalg.norm(rows[i] - other) for j, other in enumerate(rows) if j != i])[k - 1]

    in_x = np.array([[np.linalg.norm(x[i] - y[j]) <= radius(x, i) for j in range(40)] for i in range(40)])
    in_y = np.array([[np.linalg.norm(x[i] - y[j]) <= radius(y, j) for j in range(40)] for i in range(40)])
    pooled = np.concatenate([x, y])
    nearest = NearestNeighbors(n_neighbors=2).fit(pooled).kneighbors(pooled, return_distance=False)[:, 1]
    expected = {
        "precision": in_x.any(0).mean(),
        "recall": in_y.any(1).mean(),
        "density": in_x.sum() / (k * 40),
        "coverage": in_x.any(1).mean(),
        "c2st": np.mean((nearest < 40) == (np.arange(80) < 40)),
    }
    found = compare_samples(torch.from_numpy(y), torch.from_numpy(x), neighbours=k)
    assert {name: estimate.mean for name, estimate in found.items()} == pytest.approx(expected)
    assert {estimate.n for estimate in found.values()} == {40}


def test_samples_of_the_data_law_have_their_expected_numbers_and_errors():
    """40 pairs of sets: means within 4 standard errors, stated errors from 2/3 to 2.5 times the true spread."""
    found = [compare_samples(*pair(100, seed)) for seed in range(40)]
    expected = {"density": 1.0, "coverage": perfect_coverage(100), "c2st": 99 / 199}
    for name in found[0]:
        means = torch.tensor([estimates[name].mean for estimates in found])
        stated = torch.tensor([estimates[name].se for estimates in found]).mean()
        if name in expected:
            assert abs(means.mean() - expected[name]) < 4 * means.std() / 40**0.5, name
        assert 0.67 < stated / means.std() < 2.5, name


def test_perfect_coverage_is_the_share_of_neighbourhoods_with_another_set():
    """Of 2 N - 1 exchangeable others the k nearest are all of the own set with this probability, by counting."""
    generator, rows, k = np.random.default_rng(0), 6, 3
    order = generator.permuted(np.tile(np.arange(2 * rows - 1) < rows - 1, (200_000, 1)), axis=1)
    share = 1 - order[:, :k].all(1).mean()
    assert perfect_coverage(rows, k) == pytest.approx(share, abs=4 * (share * (1 - share) / 200_000) ** 0.5)


def test_what_is_wrong_with_samples_shows_in_its_number():
    y, x = pair(300, 1)
    far = compare_samples(y + 20, x)
    assert {name: estimate.mean for name, estimate in far.items()} == {
        "precision": 0, "recall": 0, "density": 0, "coverage": 0, "c2st": 1,
    }  # fmt: skip
    two_modes = x + 20 * (torch.arange(300) % 2)[:, None]
    one_mode = compare_samples(y, two_modes)
    assert one_mode["precision"].mean > 0.9 and one_mode["recall"].mean < 0.6 and one_mode["coverage"].mean < 0.6
    noisy = compare_samples(3 * y, x)
    assert noisy["precision"].mean < 0.6 and noisy["recall"].mean > 0.9
    copies = compare_samples(x, x)
    assert copies["c2st"].mean == 0 and copies["coverage"].mean == 1
    constant = compare_samples(torch.zeros(300, 2), torch.zeros(300, 2))  # every tie is half right
    assert constant["c2st"].mean == 0.5


def test_rows_must_be_equally_many_and_enough():
    for generated, real in ((8, 9), (6, 6)):
        with pytest.raises(ValueError, match=f"must be equally many, and at least 7; got {generated} and {real}"):
            compare_samples(torch.randn(generated, 2), torch.randn(real, 2))
