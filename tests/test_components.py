"""PCA of rows with gaps and of mixed tables, against brute force and an independent coding."""

import numpy as np
import pytest
import torch
from scipy import optimize, stats
from sklearn.datasets import load_wine
from sklearn.decomposition import PCA

from variform import DataConfig, ModelConfig, build_vae, evaluate
from variform.data.reading import read
from variform.evaluation.baselines import evaluate_baselines
from variform.evaluation.components import MixedCoding, fit_pca, fit_with_gaps
from variform.evaluation.log_likelihood import score


def gappy(rows=400, columns=6, share=0.2, noise=0.3):
    generator = np.random.default_rng(0)
    whole = generator.normal(size=(rows, 2)) @ generator.normal(size=(2, columns)) + 3
    whole = whole + noise * generator.normal(size=whole.shape)
    return whole, np.where(generator.random(whole.shape) < share, np.nan, whole)


def observed_density(mean, covariance, x):
    """SciPy's normal law of the observed cells, row by row."""
    densities = []
    for row in x:
        seen = ~np.isnan(row)
        law = (
            stats.multivariate_normal(mean[seen], covariance[np.ix_(seen, seen)])
            if seen.any()
            else None
        )
        densities.append(law.logpdf(row[seen]) if law else 0.0)
    return np.array(densities)


def covariance_of(model):
    size = model.axes.shape[1]
    return model.axes.T @ np.diag(
        model.variances - model.noise
    ) @ model.axes + model.noise * np.eye(size)


def test_the_density_and_the_expected_point_of_rows_with_gaps_are_the_normal_laws():
    """Against SciPy's marginal and the conditional mean of the joint law of the plane's point and the row."""
    whole, x = gappy()
    x[0] = np.nan
    model = fit_pca(whole, 2)
    covariance = covariance_of(model)
    np.testing.assert_allclose(
        model.log_prob(x), observed_density(model.mean, covariance, x), rtol=1e-8, atol=1e-9
    )
    plane = covariance - model.noise * np.eye(
        6
    )  # the covariance of the plane's point, and of it with the row
    for row, point in zip(x[:20], model.reconstruct(x)[:20], strict=True):
        seen = ~np.isnan(row)
        gain = plane[:, seen] @ np.linalg.inv(covariance[np.ix_(seen, seen)])
        np.testing.assert_allclose(point, model.mean + gain @ (row - model.mean)[seen], rtol=1e-8)


def test_em_reaches_the_maximum_likelihood_of_what_is_observed():
    """No optimiser of SciPy's, from there on, finds a higher one; without gaps EM's answer is the closed form."""
    whole, x = gappy(150, 4, 0.25)
    model = fit_with_gaps(x, 1)

    def negative(values):
        loadings = values[4:8, None]
        return -observed_density(
            values[:4], loadings @ loadings.T + np.exp(values[8]) * np.eye(4), x
        ).mean()

    loading = model.axes[0] * np.sqrt(model.variances[0] - model.noise)
    start = np.r_[model.mean, loading, np.log(model.noise)]
    better = optimize.minimize(negative, start, method="L-BFGS-B", options={"maxiter": 50})
    assert -model.log_prob(x).mean() == pytest.approx(negative(start), rel=1e-9)
    assert better.fun > negative(start) - 2e-4
    x[1:] = whole[1:]
    np.testing.assert_allclose(
        covariance_of(fit_with_gaps(x, 1)), covariance_of(fit_pca(whole, 1)), rtol=0.05, atol=0.02
    )


def test_gaps_cost_pca_little_where_two_directions_explain_the_rows():
    """Planted: the plane of the whole rows is found from 70 % of the cells; filling with means finds another."""
    whole, x = gappy(2000, 8, 0.3, noise=0.1)
    truth = fit_pca(whole, 2)
    model, naive = fit_with_gaps(x, 2), fit_pca(np.where(np.isnan(x), np.nanmean(x, 0), x), 2)
    assert model.noise == pytest.approx(0.01, rel=0.05) and naive.noise > 0.1
    angles = np.linalg.svd(truth.axes @ model.axes.T)[1]
    assert angles.min() > 0.9999 > np.linalg.svd(truth.axes @ naive.axes.T)[1].min()


@pytest.mark.parametrize("components", [2, 5, 9])
def test_degenerate_rows_with_gaps_have_finite_answers(components):
    _, x = gappy(60, 6, 0.3, noise=0.0)
    x[:, 5] = np.where(np.isnan(x[:, 5]), np.nan, 7.0)
    model = fit_with_gaps(x, components)
    assert (
        np.isfinite(model.bounded(0.01).log_prob(x)).all()
        and np.isfinite(model.reconstruct(x)).all()
    )
    assert np.sqrt(np.nanmean((model.reconstruct(x) - x) ** 2)) < 0.05


@pytest.fixture
def wine(tmp_path):
    """Wine with its cultivar as a word and a column of 0 and 1, as a mixed table."""
    data = load_wine()
    lines = [
        ",".join([*(name.replace(",", "") for name in data.feature_names), "strong", "cultivar"])
    ]
    for row, kind in zip(data.data, data.target, strict=True):
        lines.append(
            ",".join(
                [
                    *(f"{value:.10g}" for value in row),
                    str(int(row[0] > 13)),
                    data.target_names[kind],
                ]
            )
        )
    (tmp_path / "wine.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "wine.csv"


def test_famd_is_the_singular_value_decomposition_of_pages_coding(wine):
    """Another way to the same: indicators over roots of frequencies, standardised numbers, reconstructed by scipy."""
    splits = read(wine, DataConfig(cells="mixed"))
    vae = build_vae(ModelConfig(latent_dim=3, likelihood="mixed", hidden=(4,)), splits.schema)
    baselines = evaluate_baselines(
        vae, splits.test, splits.train, score(vae, splits.test, samples=2)
    )
    train, test = (part.raw.double().numpy() for part in (splits.train, splits.test))
    kinds = np.array(splits.schema.kinds)
    assert {"real", "count", "binary", "category"} <= set(kinds) and set(baselines) == {
        "famd",
        "trivial",
    }
    numbers, place = kinds != "category", int(np.flatnonzero(kinds == "category")[0])
    mean, std = train[:, numbers].mean(0), train[:, numbers].std(0)
    share = np.bincount(train[:, place].astype(int), minlength=3) / len(train)

    def coded(x):
        return np.hstack(
            [(x[:, numbers] - mean) / std, np.eye(3)[x[:, place].astype(int)] / np.sqrt(share)]
        )

    centre = coded(train).mean(0)
    _, _, axes = np.linalg.svd(coded(train) - centre, full_matrices=False)
    back = centre + (coded(test) - centre) @ axes[:3].T @ axes[:3]
    guess = back[:, :-3] * std + mean
    for column, name in enumerate(np.array(splits.schema.columns)[numbers]):
        error = np.sqrt(((guess - test[:, numbers])[:, column] ** 2).mean())
        assert baselines["famd"]["reconstruction_error_per_column"][name]["mean"] == pytest.approx(
            error, rel=1e-5
        )
    wrong = (back[:, -3:] * np.sqrt(share)).argmax(1) != test[:, place]
    assert baselines["famd"]["reconstruction_error_per_column"]["cultivar"][
        "mean"
    ] == pytest.approx(wrong.mean())
    assert "nll" not in baselines["famd"] and baselines["famd"]["components"] == 3


def test_the_coding_of_mixed_rows_is_undone(wine):
    splits = read(wine, DataConfig(cells="mixed"))
    x = splits.train.prepared().double().numpy()
    coding = MixedCoding.of(x, splits.schema)
    np.testing.assert_allclose(coding.decode(coding.encode(x)), x, atol=1e-9)
    y = coding.encode(x)
    np.testing.assert_allclose(y.mean(0), 0, atol=1e-12)
    # the total inertia: 1 for each number, K - 1 for a category of K levels
    assert y.var(0).sum() == pytest.approx(14 + 2)


def test_mixed_tables_with_gaps_have_their_peer_and_are_told_what_was_done(wine):
    generator = np.random.default_rng(0)
    head, *lines = wine.read_text().splitlines()
    lines = [
        ",".join(cell if generator.random() > 0.15 else "" for cell in line.split(","))
        for line in lines
    ]
    wine.write_text("\n".join([head, *lines]) + "\n")
    splits = read(wine, DataConfig(cells="mixed"))
    vae = build_vae(ModelConfig(latent_dim=3, likelihood="mixed", hidden=(4,)), splits.schema)
    numbers = evaluate(vae, splits.test, splits.train, samples=2)
    famd, trivial = (
        numbers["baselines"][name]["reconstruction_error_per_column"]
        for name in ("famd", "trivial")
    )
    better = [famd[name]["mean"] < trivial[name]["mean"] for name in famd]
    assert np.mean(better) > 0.8 and any("fitted by EM" in note for note in numbers["notes"])
    seen = [finding["seen"] for finding in numbers["findings"]]
    assert any("FAMD" in sentence for sentence in seen)  # the VAE is not trained


def test_a_table_of_numbers_with_gaps_has_pca_with_the_density_of_what_is_observed():
    _, x = gappy(600, 5, 0.2)
    splits = read(
        torch.from_numpy(x) * torch.tensor([1.0, 10.0, 0.1, 1.0, 5.0]),
        config=DataConfig(cells="gaps"),
    )
    vae = build_vae(
        ModelConfig(latent_dim=2, likelihood="gaussian-shared", hidden=()), splits.schema
    ).double()
    baselines = evaluate_baselines(
        vae, splits.test, splits.train, score(vae, splits.test, samples=2)
    )
    scale = np.array(splits.schema.scale)
    for name, unit in (("pca", np.ones(5)), ("pca_own_units", scale)):
        train, test = (
            part.prepared().double().numpy() * unit for part in (splits.train, splits.test)
        )
        model = fit_with_gaps(train, 2)
        expected = observed_density(model.mean, covariance_of(model), test)
        jacobian = np.where(np.isnan(test), 0.0, np.log(scale / unit)).sum(1)
        assert baselines[name]["nll"]["mean"] == pytest.approx(
            (jacobian - expected).mean(), rel=1e-6
        )
    assert baselines["pca"]["nll"]["mean"] < baselines["trivial"]["nll"]["mean"]


def test_of_fewer_rows_than_columns_scikit_learn_finds_the_same_components():
    """Axes up to their sign; variances over N, where scikit-learn's are over N - 1; the noise from what is left."""
    rows = np.random.default_rng(0).normal(size=(20, 50)) @ np.diag(np.linspace(1, 3, 50))
    model = fit_pca(rows, 4)
    other = PCA(svd_solver="full").fit(rows)
    assert np.allclose(model.variances, other.explained_variance_[:4] * 19 / 20)
    assert np.allclose(abs((model.axes * other.components_[:4]).sum(1)), 1)
    assert np.isclose(model.noise, other.explained_variance_[4:].sum() * 19 / 20 / 46)


def test_rows_that_span_fewer_directions_than_asked_for_have_no_noise():
    rows = np.random.default_rng(0).normal(size=(20, 2)) @ np.random.default_rng(1).normal(
        size=(2, 50)
    )
    model = fit_pca(rows, 4)
    assert len(model.axes) == 2
    assert model.noise == 0
