"""Factor analysis where training starts: tables too small, or too alike, for the factors that are tried."""

import numpy as np
import pytest

from variform.model.starts import count_factors, fit_factors


def standardised(x):
    std = x.std(0)
    return (x - x.mean(0)) / np.where(std > 0, std, 1.0)


def zeros_and_ones(random, rows, columns):
    return random.randint(0, 2, size=(rows, columns)).astype(float)


def on_a_line(random, rows, columns):
    return random.normal(size=(rows, 1)) * random.normal(size=columns)


@pytest.mark.parametrize("table", [zeros_and_ones, on_a_line])
def test_rows_that_vary_in_fewer_directions_than_factors_are_analysed_without_a_warning(table):
    for seed in range(40):
        random = np.random.RandomState(seed)
        rows, columns = random.randint(2, 12), random.randint(1, 6)
        x = standardised(table(random, rows, columns))
        with np.errstate(all="raise", under="ignore"):
            count = count_factors(x, random)
            factors = fit_factors(x, min(rows, columns, 3), random)
        assert 1 <= count <= columns
        assert np.isfinite(factors.loadings).all()


def test_no_more_factors_than_directions_carry_anything():
    random = np.random.RandomState(1)
    x = standardised(on_a_line(random, 30, 5))
    factors = fit_factors(x, 3, random)
    assert np.linalg.matrix_rank(factors.loadings) == 1
    np.testing.assert_allclose(
        factors.loadings @ factors.loadings.T, np.cov(x.T, bias=True), atol=1e-3
    )
