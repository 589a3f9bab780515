"""PCA and the trivial model beside a VAE, against scikit-learn, SciPy and closed forms, degenerate tables included."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.decomposition import PCA

from variform import DataConfig, ModelConfig, build_vae, evaluate
from variform.data.reading import read
from variform.evaluation.baselines import evaluate_baselines, pca
from variform.evaluation.components import fit_pca
from variform.evaluation.log_likelihood import score
from variform.evaluation.standard_error import Estimate
from variform.evaluation.tables import numbers_table


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def graded(rows=400, sizes=(1000.0, 1.0, 1e-3, 10.0, 0.1)):
    """Rows near a plane, in columns of very different units."""
    generator = np.random.default_rng(0)
    plane = generator.normal(size=(rows, 2)) @ generator.normal(size=(2, len(sizes)))
    return torch.from_numpy(
        (plane + 0.3 * generator.normal(size=plane.shape)) * sizes + 5 * np.array(sizes)
    )


def model_of(raw, *, dim=2, scaling="standard", likelihood="gaussian-shared"):
    splits = read(raw, config=DataConfig(scaling=scaling))
    model = ModelConfig(latent_dim=dim, likelihood=likelihood, hidden=())
    return splits, build_vae(model, splits.schema, moments=splits.train.moments()).double()


def log_density(train, test, components, least=0.0):
    """Probabilistic PCA by the covariance of the eigenvalues, raised to the noise, and SciPy's normal law."""
    values, vectors = np.linalg.eigh(np.atleast_2d(np.cov(train.T, bias=True)))
    values, vectors = values[::-1], vectors[:, ::-1]
    noise = max(values[components:].mean() if components < len(values) else 0.0, least**2)
    values = np.r_[
        values[:components].clip(noise), np.full(max(0, len(values) - components), noise)
    ]
    return stats.multivariate_normal(train.mean(0), vectors @ np.diag(values) @ vectors.T).logpdf(
        test
    )


@pytest.mark.parametrize("scaling", ["standard", "unit", "none"])
def test_pca_stands_in_both_metrics_with_densities_of_the_users_units(scaling):
    """Errors are scikit-learn's and densities SciPy's, of raw and of scaled columns; both are of raw values."""
    splits, vae = model_of(graded(), scaling=scaling)
    baselines = evaluate_baselines(
        vae, splits.test, splits.train, score(vae, splits.test, samples=2)
    )
    train, test = (part.raw.double().numpy() for part in (splits.train, splits.test))
    shift, scale = (np.array(values) for values in (splits.schema.shift, splits.schema.scale))
    metrics = {"pca": (shift, scale), "pca_own_units": (np.zeros(5), np.ones(5))}
    if scaling == "none":
        assert "pca_own_units" not in baselines
        del metrics["pca_own_units"]
    for name, (start, unit) in metrics.items():
        fitted, scored = ((rows - start) / unit for rows in (train, test))
        model = PCA(2, svd_solver="full").fit(fitted)
        error = (model.inverse_transform(model.transform(scored)) - scored) * unit
        assert baselines[name]["reconstruction_error"]["mean"] == pytest.approx(
            np.sqrt((error**2).mean()), rel=1e-6
        )
        expected = -log_density(fitted, scored, 2).mean() + np.log(unit).sum()
        assert baselines[name]["nll"]["mean"] == pytest.approx(expected, rel=1e-9, abs=1e-6)


def test_the_density_is_one_of_raw_values_in_both_metrics():
    """Planted: with all components both metrics have one law, the Gaussian with the full covariance of the raw rows."""
    splits, vae = model_of(graded(), dim=7)
    scale = np.array(
        splits.schema.scale
    )  # by which SciPy needs them divided, to see that they are not singular
    train, test = (part.raw.double().numpy() / scale for part in (splits.train, splits.test))
    law = stats.multivariate_normal(train.mean(0), np.cov(train.T, bias=True))
    expected = np.log(scale).sum() - law.logpdf(test).mean()
    for own in (False, True):
        numbers = pca(vae, splits.test, splits.train, own_units=own)
        assert (
            numbers["nll"]["mean"] == pytest.approx(expected, abs=1e-4)
            and numbers["components"] == 5
        )
        assert (
            "one full Gaussian" in numbers["note"]
            and numbers["reconstruction_error"]["mean"] < 1e-9
        )


def test_the_better_metric_is_named_in_note_and_table():
    """Planted: a column of large units holds nearly all that varies in the user's metric: PCA errs less there."""
    splits, vae = model_of(graded(), dim=1)
    numbers = evaluate(vae, splits.test, splits.train, samples=5)
    baselines = numbers["baselines"]
    own, scaled = (
        baselines[name]["reconstruction_error"]["mean"] for name in ("pca_own_units", "pca")
    )
    assert (
        own < scaled / 10
        and baselines["pca"]["nll"]["mean"] < baselines["pca_own_units"]["nll"]["mean"]
    )
    (note,) = [note for note in numbers["notes"] if note.startswith("PCA depends on the units")]
    assert "PCA in your units has the lower reconstruction error" in note
    assert "PCA of scaled columns has the lower NLL" in note
    header, rows = numbers_table(numbers | {"split": "test", "rows": 40})
    assert header[1:] == [
        "VAE",
        "PCA of scaled columns, q = 1",
        "PCA in your units, q = 1",
        "trivial",
    ]
    assert all(len(row) == len(header) for row in rows)


def test_columns_of_every_size_are_kept():
    """Twelve orders of magnitude between the units: the leading directions are those of each column by itself."""
    sizes = np.array([1e9, 1e4, 1.0, 1e-3])
    x = np.random.default_rng(1).normal(size=(500, 4)) * sizes
    model = fit_pca(x, 3, graded=True)
    np.testing.assert_allclose(abs(model.axes), np.eye(4)[:3], atol=0.2)
    np.testing.assert_allclose(model.variances, x.var(0)[:3], rtol=0.05)
    assert model.noise == pytest.approx(x.var(0)[3], rel=0.05)


def test_a_law_of_other_units_is_the_law_of_the_divided_rows():
    """Against SciPy's density with the units' Jacobian, raised to the least variance in the new units."""
    x = np.random.default_rng(5).normal(size=(200, 5)) @ np.random.default_rng(6).normal(
        size=(5, 5)
    )
    unit, model = np.array([3.0, 0.2, 1.0, 50.0, 1e-2]), fit_pca(x, 2)
    expected = log_density(x, x, 2) + np.log(unit).sum()
    np.testing.assert_allclose(
        model.divided(unit).bounded(1e-9).log_prob(x / unit), expected, rtol=1e-8
    )
    covariance = model.axes.T @ np.diag(
        model.variances - model.noise
    ) @ model.axes + model.noise * np.eye(5)
    values, vectors = np.linalg.eigh(covariance / np.outer(unit, unit))
    law = stats.multivariate_normal(
        x.mean(0) / unit, vectors @ np.diag(values.clip(0.3**2)) @ vectors.T
    )
    assert values.min() < 0.3**2
    np.testing.assert_allclose(
        model.divided(unit).bounded(0.3).log_prob(x / unit), law.logpdf(x / unit), rtol=1e-8
    )


def table_of_rank(rank, rows, columns, generator):
    return generator.normal(size=(rows, rank)) @ generator.normal(size=(rank, columns))


DEGENERATE = {
    "rank below q": lambda g: table_of_rank(2, 300, 6, g),
    "rank q": lambda g: table_of_rank(3, 300, 6, g),
    "rank 1": lambda g: table_of_rank(1, 300, 6, g),
    "equal columns": lambda g: np.repeat(g.normal(size=(300, 1)), 6, axis=1),
    "constant columns": lambda g: np.c_[g.normal(size=(300, 2)), np.full((300, 4), 7.0)],
    "almost of rank 2": lambda g: table_of_rank(2, 300, 6, g) + 1e-9 * g.normal(size=(300, 6)),
    "fewer rows than q": lambda g: g.normal(size=(4, 6)),
    "two different rows": lambda g: (
        np.tile(g.normal(size=(2, 6)), (20, 1)) + np.arange(40)[:, None] // 2 * 1e-3
    ),
    "one column varies": lambda g: np.c_[g.normal(size=(300, 1)), np.ones((300, 5))],
}


@pytest.mark.parametrize("graded", [False, True])
@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_tables_have_a_finite_density_that_is_right(name, graded):
    """With a least deviation the law is the normal one whose eigenvalues are raised to the noise: SciPy agrees."""
    x = DEGENERATE[name](np.random.default_rng(3))
    points = np.random.default_rng(4).normal(size=(10, 6))
    for components in (1, 2, 3, 5, 6, 9):
        model = fit_pca(x, components, graded=graded).bounded(0.01)
        expected = log_density(x, points, components, least=0.01)
        np.testing.assert_allclose(model.log_prob(points), expected, rtol=1e-6)
        np.testing.assert_allclose(model.axes @ model.axes.T, np.eye(len(model.axes)), atol=1e-9)
        if components >= np.linalg.matrix_rank(x - x.mean(0)):
            np.testing.assert_allclose(model.reconstruct(x), x, atol=1e-7)


def test_directions_that_the_rows_do_not_span_explain_nothing():
    """One row spans nothing, three rows a plane: no axis is made up, which would copy parts of other rows by chance."""
    x = np.random.default_rng(0).normal(size=(3, 8))
    for rows, rank in ((x[:1], 0), (x[:2], 1), (x, 2)):
        model = fit_pca(rows, 5)
        assert len(model.axes) == rank
        other = np.random.default_rng(1).normal(size=(4, 8))
        span = (rows - rows.mean(0)).T
        nearest = rows.mean(0) + (span @ np.linalg.pinv(span) @ (other - rows.mean(0)).T).T
        np.testing.assert_allclose(model.reconstruct(other), nearest, atol=1e-9)


@pytest.mark.parametrize("scaling", ["none", "standard"])
@pytest.mark.parametrize(
    "likelihood", ["gaussian", "gaussian-shared", "gaussian-identity", "gaussian-fixed"]
)
def test_a_vae_with_more_latents_than_the_table_has_directions_is_evaluated(scaling, likelihood):
    raw = torch.from_numpy(
        table_of_rank(2, 200, 6, np.random.default_rng(0)) * [1, 1, 1000, 1, 1, 0.01]
    )
    splits, vae = model_of(raw, dim=4, scaling=scaling, likelihood=likelihood)
    numbers = evaluate(vae, splits.test, splits.train, samples=3)
    for name, baseline in numbers["baselines"].items():
        assert math.isfinite(baseline["nll"]["mean"]) and math.isfinite(
            baseline["reconstruction_error"]["mean"]
        )
        assert (
            name == "trivial" or baseline["reconstruction_error"]["mean"] < 1e-3
        )  # float32 of a thousand


def test_ppca_has_maximum_likelihood_with_fewer_rows_than_columns():
    """No isotropic noise added to the same subspace does better; the optimum over a grid is at the noise found."""
    x = np.random.default_rng(0).normal(size=(40, 100)) * np.linspace(0.1, 2, 100)
    model = fit_pca(x, 3)
    for factor in (0.8, 0.95, 1.05, 1.25):
        other = dataclasses.replace(model, noise=model.noise * factor)
        assert other.log_prob(x).mean() < model.log_prob(x).mean()


def test_differences_are_paired_over_the_same_rows():
    """Against NumPy's, and for the root mean squares against a jackknife; rows that are hard for both leave them."""
    splits, vae = model_of(graded(2000))
    scores = score(vae, splits.test, samples=3)
    numbers = evaluate_baselines(vae, splits.test, splits.train, scores)["pca"]
    scale = np.array(splits.schema.scale)
    train, test = (part.prepared().double().numpy() for part in (splits.train, splits.test))
    gap = -scores.log_px.numpy() + log_density(train, test, 2) - np.log(scale).sum()
    assert numbers["nll_difference"]["mean"] == pytest.approx(gap.mean(), rel=1e-9)
    assert numbers["nll_difference"]["se"] == pytest.approx(
        gap.std(ddof=1) / np.sqrt(len(gap)), rel=1e-9
    )
    model = PCA(2, svd_solver="full").fit(train)
    own = (((model.inverse_transform(model.transform(test)) - test) * scale) ** 2).mean(1)
    pair = np.array([scores.squared_error.mean(1).numpy(), own])
    left_out = np.array([np.sqrt(np.delete(pair, row, axis=1).mean(1)) for row in range(len(test))])
    jackknife = np.sqrt((len(test) - 1) * (left_out[:, 0] - left_out[:, 1]).var())
    difference = numbers["reconstruction_error_difference"]
    assert difference["mean"] == pytest.approx(np.subtract(*np.sqrt(pair.mean(1))), rel=1e-9)
    assert difference["se"] == pytest.approx(jackknife, rel=0.05)
    assert Estimate.of(torch.from_numpy(gap)).se < numbers["nll"]["se"] * 3


def test_differences_of_a_subset_are_of_its_rows(monkeypatch):
    """Where only some rows are scored, the VAE's scores of these are taken."""
    splits, vae = model_of(graded(3000))
    scores = score(vae, splits.test, samples=2)
    monkeypatch.setattr("variform.evaluation.baselines._WHOLE", 5000)
    monkeypatch.setattr("variform.evaluation.baselines._SUBSET", 100 * 5 * 8)
    numbers = pca(vae, splits.test, splits.train, scores=scores)
    mean = score(vae, splits.test, samples=2).log_px.mean().item()
    assert numbers["nll"]["n"] == numbers["nll_difference"]["n"] == 100
    gap = numbers["nll_difference"]["mean"] + numbers["nll"]["mean"]
    assert abs(gap + mean) < 5 * scores.log_px.std().item() / 10
