"""Arrays with planted answers: where points lie, what is held fixed, in which units."""

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.decomposition import PCA

from variform import DataConfig, ModelConfig, build_vae, read
from variform.data.schema import Schema
from variform.evaluation import exploration
from variform.model.priors import MixturePrior


@pytest.fixture(scope="module")
def digits():
    return read("digits")


def model(schema, dim, **options):
    return build_vae(
        ModelConfig(latent_dim=dim, hidden=(16,), **({"likelihood": "bernoulli"} | options)), schema
    ).double()


@pytest.fixture
def echo(digits):
    """A model with two latents whose first two pixels are z1 and z2, in units of the grey levels."""
    vae = model(digits.schema, 2, likelihood="gaussian-identity").eval()
    vae.decoder.layers = torch.nn.Sequential(torch.nn.Flatten())
    vae.decoder.output = torch.nn.Linear(2, 64)
    with torch.no_grad():
        vae.decoder.output.weight.copy_(torch.eye(64, 2))
        vae.decoder.output.bias.zero_()
    return vae


def pixels(values):
    return values.reshape(*values.shape[:-3], 64)[..., :2] / 16


def test_manifold_grid_has_equal_prior_mass(echo):
    grid, quantiles = exploration.manifold(echo, 10)
    z = pixels(grid)
    assert np.allclose(stats.norm.cdf(z[0, :, 0]), quantiles) and np.allclose(
        stats.norm.cdf(z[:, 0, 1]), quantiles
    )
    assert np.allclose(np.diff(quantiles), 0.1) and np.allclose(z[3, :, 1], z[3, 0, 1])


def test_manifold_needs_two_dimensions(digits):
    with pytest.raises(ValueError, match="needs 2 latent dimensions; the model has 3"):
        exploration.manifold(model(digits.schema, 3))


def test_traversals_move_one_latent_and_follow_the_kl(echo):
    values, positions, order = exploration.traversals(
        echo, np.array([0.3, 2.0]), start=np.array([0.5, -0.5])
    )
    assert order == [1, 0]
    assert np.allclose(pixels(values)[0, :, 1], positions) and np.allclose(
        pixels(values)[0, :, 0], 0.5
    )
    assert np.allclose(pixels(values)[1, :, 0], positions) and np.allclose(
        pixels(values)[1, :, 1], -0.5
    )


@pytest.fixture
def two_islands(echo):
    """A prior of two islands on the diagonal, one four times as heavy and smaller."""
    prior = MixturePrior(2, components=2)
    with torch.no_grad():
        prior.logits.copy_(torch.tensor([0.8, 0.2]).log())
        prior.loc.copy_(torch.tensor([[-5.0, -5.0], [5.0, 5.0]]))
        prior.log_var.copy_(2 * torch.tensor([[0.5, 0.5], [1.0, 1.0]]).log())
    echo.prior = prior.double()
    return echo


def test_manifold_of_another_prior_has_equal_mass_too(two_islands):
    """By the exact law: the distribution functions of z1, and of z2 given z1, at the grid's points."""
    grid, quantiles = exploration.manifold(two_islands, 10)
    z = pixels(grid)

    def below(value, deviation, mean):
        return stats.norm.cdf(value, mean, deviation)

    first = 0.8 * below(z[0, :, 0], 0.5, -5) + 0.2 * below(z[0, :, 0], 1, 5)
    assert np.allclose(first, quantiles, atol=0.02)
    for column in range(10):  # which island a column is on is known from z1
        heavy = z[0, column, 0] < 0
        mean, deviation = (-5, 0.5) if heavy else (5, 1)
        assert np.allclose(stats.norm.cdf(z[:, column, 1], mean, deviation), quantiles, atol=0.08)
        assert heavy == (column < 8)


def test_traversals_under_another_prior_follow_its_quantiles(two_islands):
    values, positions, _ = exploration.traversals(two_islands, np.array([1.0, 0.5]))
    z = pixels(values)
    shares = 0.8 * stats.norm.cdf(z[0, :, 0], -5, 0.5) + 0.2 * stats.norm.cdf(z[0, :, 0], 5, 1)
    assert np.allclose(shares, stats.norm.cdf(positions), atol=0.015)
    middle = -5 + 0.5 * stats.norm.ppf(0.5 / 0.8)
    assert np.allclose(z[0, :, 1], middle, atol=0.05)


def test_interpolation_is_straight_between_posterior_means(echo, digits):
    lines = pixels(exploration.interpolation(echo, digits.test, pairs=4, steps=5))
    assert lines.shape == (4, 5, 2)
    assert np.allclose(np.diff(lines, axis=1), np.diff(lines, axis=1)[:, :1])
    chosen = torch.randperm(len(digits.test), generator=torch.Generator().manual_seed(0))[:8]
    means = exploration.encode(echo, digits.test)[0][chosen.numpy()]
    assert np.allclose(lines[:, 0], means[0::2]) and np.allclose(lines[:, -1], means[1::2])


def test_encode_is_the_posterior_and_the_same_every_time(digits):
    vae = model(digits.schema, 3)
    means, stds = exploration.encode(vae, digits.test)
    law = vae.encode(digits.test.prepared().double())
    assert np.allclose(means, law.mean.detach()) and np.allclose(stds, law.stddev.detach())
    assert np.array_equal(means, exploration.encode(vae, digits.test)[0])
    draws = np.stack(
        [exploration.encode(vae, digits.test, draw=True, seed=seed)[0] for seed in range(200)]
    )
    # 591 means, 5 standard errors: a false alarm in 3,000
    assert np.all(np.abs(draws.mean(0) - means) <= 5 * stds / 200**0.5)
    assert np.array_equal(draws[3], exploration.encode(vae, digits.test, draw=True, seed=3)[0])


def test_decode_gives_the_users_units_and_draws_only_when_asked(digits):
    splits = read(torch.randn(200, 2) * 5 + 50, config=DataConfig(scaling="standard"))
    vae = model(splits.schema, 2, likelihood="gaussian-identity").eval()
    with torch.no_grad():
        for part in (vae.decoder.output.weight, vae.decoder.output.bias):
            part.zero_()
    z = np.zeros((20_000, 2))
    assert np.allclose(exploration.decode(vae, z[:3]), splits.schema.shift)
    draws = exploration.decode(vae, z, draw=True)
    # N(shift, scale^2) in raw units; 5 standard errors
    assert np.allclose(
        draws.mean(0), splits.schema.shift, atol=5 * max(splits.schema.scale) / 20_000**0.5
    )
    assert np.allclose(draws.std(0), splits.schema.scale, rtol=0.03)
    with pytest.raises(ValueError, match=r"must have 2 columns.*got 3"):
        exploration.decode(vae, np.zeros((1, 3)))


def test_generate_follows_the_prior_and_its_seed(echo):
    z = pixels(exploration.generate(echo, 20_000, seed=3))
    assert (
        stats.kstest(z[:, 0], "norm").pvalue > 1e-4 and stats.kstest(z[:, 1], "norm").pvalue > 1e-4
    )
    assert abs(np.corrcoef(z.T)[0, 1]) < 5 / 20_000**0.5
    assert np.array_equal(
        exploration.generate(echo, 5, seed=3), exploration.generate(echo, 5, seed=3)
    )
    assert not np.array_equal(
        exploration.generate(echo, 5, seed=3), exploration.generate(echo, 5, seed=4)
    )


def test_reconstruct_shows_what_the_model_saw(digits):
    binarised = read("digits", DataConfig(binarise="dynamic"))
    vae = model(binarised.schema, 3).eval()
    originals, reconstructions = exploration.reconstruct(vae, binarised.test)
    assert set(np.unique(originals)) == {0.0, 16.0}
    seen = binarised.schema.restore(
        vae.reconstruct(torch.from_numpy(originals).double() / 16)
    ).detach()
    assert np.allclose(reconstructions, seen)


def test_latent_map_is_the_plane_or_pca():
    means = np.random.default_rng(0).normal(size=(500, 4)) * np.array([3.0, 0.1, 2.0, 0.2])
    points, axes = exploration.latent_map(means)
    assert abs(np.corrcoef(points[:, 0], means[:, 0])[0, 1]) > 0.99
    assert abs(np.corrcoef(points[:, 1], means[:, 2])[0, 1]) > 0.99
    assert axes[0].startswith("PC1")
    assert np.array_equal(exploration.latent_map(means[:, :2])[0], means[:, :2])
    assert exploration.latent_map(means[:, :1])[0].shape == (500, 2)


@pytest.mark.parametrize("latents", [2, 3, 8])
@pytest.mark.parametrize("rows", [1, 2, 3, 50])
def test_points_that_span_no_plane_are_shown_as_they_are(latents, rows):
    """No share of a variance that is not there, and no warning of a division by it."""
    for means in (np.full((rows, latents), 0.3, np.float32), np.zeros((rows, latents))):
        points, axes = exploration.latent_map(means)
        assert np.array_equal(points, means[:, :2]) and axes == ("z1", "z2")
        assert exploration.principal_plane(means) is None


@pytest.mark.parametrize("rows", [3, 4, 500])
def test_the_principal_plane_is_that_of_scikit_learn(rows):
    random = np.random.default_rng(rows)
    means = (random.normal(size=(rows, 5)) @ random.normal(size=(5, 5)) + 7).astype(np.float32)
    plane = exploration.principal_plane(means)
    expected = PCA(2, svd_solver="full").fit(means.astype(np.float64))
    np.testing.assert_allclose(plane.centre, expected.mean_, rtol=1e-12)
    np.testing.assert_allclose(plane.axes, expected.components_, atol=1e-12)
    np.testing.assert_allclose(plane.shares, expected.explained_variance_ratio_, atol=1e-12)
    np.testing.assert_allclose(plane.project(means), expected.transform(means), atol=1e-5)


def test_one_active_latent_of_eight_is_a_line_and_holds_all_of_the_variance():
    means = np.zeros((50, 8))
    means[:, 5] = np.linspace(-2, 2, 50)
    points, axes = exploration.latent_map(means)
    assert np.allclose(np.abs(points[:, 0]), np.abs(means[:, 5])) and np.allclose(points[:, 1], 0)
    assert axes[0].endswith("(100%)") and axes[1].endswith("(0%)")


def test_tidy_rows_hold_what_their_laws_can_and_nothing_is_clipped_to_the_data():
    """A real column goes on beyond the rows read; counts, levels and numbers with ends stay within these."""
    random = np.random.default_rng(0)
    columns = [
        random.normal(0, 1, 400),
        random.negative_binomial(2, 0.3, 400),
        random.integers(2, 5, 400),
        random.lognormal(0, 1, 400),
        random.beta(0.8, 0.8, 400),
    ]
    schema = read(np.column_stack(columns), config=DataConfig(cells="mixed")).schema
    assert schema.kinds == ("real", "count", "ordinal", "positive", "bounded")
    raw = torch.tensor([[99.0, -2.0, 1.0, -0.1, 1.1], [-99.0, 1e4 + 0.4, 3.4, 1e6, 0.3]])
    tidy = schema.tidy(raw)
    least = np.finfo(np.float32).tiny  # an end itself has no density, and reading refuses it
    below = np.nextafter(np.float32(1), np.float32(0)).item()
    expected = torch.tensor([[99.0, 0.0, 2.0, least, below], [-99.0, 1e4, 3.0, 1e6, 0.3]])
    torch.testing.assert_close(tidy, expected, rtol=0, atol=0)


def test_what_a_gaussian_puts_below_zero_is_counted():
    random = np.random.default_rng(0)
    schema = read(np.column_stack([random.lognormal(0, 1, 300), random.normal(0, 1, 300)])).schema
    (remark,) = exploration.remarks(schema, np.array([[-0.5, -3.0], [0.5, -3.0], [-0.1, 0.0]]))
    assert "column 1 in 2 of 3 rows" in remark and "column 2" not in remark


def test_what_a_real_column_of_a_mixed_table_puts_below_zero_is_counted():
    """A decoder that gives a Gaussian about 0: half of the rows are below. 3 errors of 4,000 draws."""
    random = np.random.default_rng(0)
    values = np.abs(random.normal(0, 1, (400, 1))).repeat(2, 1)
    config = DataConfig(cells="mixed", reals=("column 1", "column 2"))
    splits = read(values, config=config)
    vae = build_vae(ModelConfig(latent_dim=1, hidden=(), likelihood="mixed"), splits.schema)
    with torch.no_grad():
        for parameter in vae.decoder.parameters():
            parameter.zero_()
        vae.decoder.output.bias.fill_(-splits.schema.shift[0] / splits.schema.scale[0])
    drawn = exploration.generate(vae, 4000, draw=True)
    below = (drawn < 0).sum(0)
    assert (np.abs(below - 2000) < 3 * 32).all()
    (remark,) = exploration.remarks(splits.schema, drawn)
    assert f"column 1 in {below[0]:,}" in remark and "declare it with `positives`" in remark


def test_values_that_the_data_hold_exactly_and_new_rows_do_not_are_named():
    """The share is that of the training rows; a few rows without the value are no sign, as the binomial law says."""
    random = np.random.default_rng(0)
    rows = random.normal(5, 1, (600, 3))
    rows[:, 1] = np.where(random.random(600) < 0.6, 7.25, rows[:, 1])
    splits = read(rows, config=DataConfig(cells="mixed", spikes=("column 2=none",)))
    share = float((splits.train.raw[:, 1] == 7.25).double().mean())
    assert splits.schema.modes == ((0, 0), (7.25, pytest.approx(share)), (0, 0))
    new = random.normal(5, 0.1, (200, 3))
    (remark,) = exploration.remarks(splits.schema, new)
    assert (
        f"column 2 = 7.25 in {share:.1%} of the data and 0.0% here" in remark
        and "column 1" not in remark
    )
    assert exploration.remarks(splits.schema, new[:5]) == []  # .4^5 is 1 in 100
    assert (
        exploration.remarks(splits.schema, np.where(np.arange(200)[:, None] % 3, 7.25, new)) == []
    )
    older = {name: value for name, value in splits.schema.to_dict().items() if name != "modes"}
    assert (
        Schema.from_dict(older).modes == ()
        and exploration.remarks(Schema.from_dict(older), new) == []
    )
