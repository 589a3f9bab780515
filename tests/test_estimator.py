"""The scikit-learn face: its checks, densities against the exact ones of linear models, planted outliers and gaps."""

import copy
import pickle
import warnings

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
import torch
from scipy.stats import multivariate_normal, norm
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_digits, load_wine
from sklearn.decomposition import FactorAnalysis
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer
from sklearn.linear_model import LogisticRegression
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils import estimator_checks

import variform
from variform import estimator
from variform.estimator import (
    VAE,
    FalseAlarmWarning,
    FewRowsWarning,
    SimplerModelWarning,
    VAEDetector,
    VAEImputer,
)
from variform.evaluation.components import fit_pca
from variform.system.draws import common

# Models of few epochs and tables of few rows, which is what most tests here are made of, are warned of.
pytestmark = [
    pytest.mark.filterwarnings(f"ignore::variform.estimator.{kind}")
    for kind in ("FalseAlarmWarning", "FewRowsWarning", "SimplerModelWarning")
]

SMALL = VAE(epochs=3, hidden=(8,), nll_samples=5)
FACES = [SMALL, VAEDetector(SMALL, folds=2), VAEImputer(SMALL, samples=5)]
NOT_YIELDED = [
    "check_param_validation",
    "check_dataframe_column_names_consistency",
    "check_inplace_ensure_writeable",
]
OF_TRANSFORMERS = [
    "check_set_output_transform",
    "check_set_output_transform_pandas",
    "check_global_output_transform_pandas",
    "check_set_output_transform_polars",
    "check_global_set_output_transform_polars",
    "check_get_feature_names_out_error",
    "check_transformer_get_feature_names_out",
    "check_transformer_get_feature_names_out_pandas",
]


@pytest.fixture(autouse=True)
def _as_a_user_starts():
    """Single precision, which is also what worker processes have; conftest puts double precision around the tests."""
    torch.set_default_dtype(torch.float32)


def expected_failed(face):
    """The checks that fail by design: rows have noise of their own and come in random batches, some are held out.

    That weights are counts of rows is shown below where chance is taken out.
    """
    if isinstance(face, VAEImputer):  # which leaves the rows of this check as they are
        return {}
    why = "a row that stands there twice is drawn for twice"
    return dict.fromkeys(["check_sample_weight_equivalence_on_dense_data"], why)


@estimator_checks.parametrize_with_checks(FACES, expected_failed_checks=expected_failed)
def test_scikit_learn_finds_nothing_wrong(estimator, check):
    check(estimator)


@pytest.mark.filterwarnings(
    "ignore:X (has|does not have valid) feature names"
)  # half of what the checks try
@pytest.mark.parametrize("face", FACES, ids=lambda face: type(face).__name__)
def test_nor_do_the_checks_that_it_does_not_run_by_itself(face):
    for check in [*NOT_YIELDED, *(OF_TRANSFORMERS if hasattr(face, "transform") else [])]:
        getattr(estimator_checks, check)(type(face).__name__, face)


# --- densities, draws and means against the exact ones of a linear model --------------------------------------------


def plane(rows, seed=0):
    """Rows near a plane in three dimensions, in units far from 1."""
    random = np.random.default_rng(seed)
    loadings = np.array([[3.0, 1.0, 0.0], [0.0, 2.0, -1.0]])
    noisy = random.normal(size=(rows, 2)) @ loadings + 0.5 * random.normal(size=(rows, 3))
    return noisy * [1.0, 100.0, 1e-3] + [5.0, -1e4, 0.0]


def linear(**options):
    model = VAE(
        2,
        hidden=(),
        likelihood="gaussian-per-feature",
        prior="normal",
        epochs=60,
        random_state=0,
        **options,
    )
    return model.fit(plane(300))


def law(model):
    """Mean and covariance of p(x) in raw units: the decoder is linear, so that three points tell all of it."""
    decoded = model.inverse_transform(np.vstack([np.zeros(2), np.eye(2)]))
    loadings = decoded[1:] - decoded[0]
    std = model.vae_.decode(torch.zeros(1, 2)).stddev.detach().numpy()[0] * model.vae_.schema.scale
    return decoded[0], loadings.T @ loadings + np.diag(std**2)


def log_density(mean, covariance, X):
    """log N(x; mean, covariance), in standardised units first: as they are, the covariance looks singular."""
    std = np.sqrt(np.diag(covariance))
    standard = multivariate_normal(cov=covariance / np.outer(std, std)).logpdf((X - mean) / std)
    return standard - np.log(std).sum()


def test_score_samples_is_the_log_density_in_the_users_own_units():
    model, X = linear(nll_samples=5000), plane(20, seed=1)
    np.testing.assert_allclose(model.score_samples(X), log_density(*law(model), X), atol=0.1)
    assert model.score(X) == model.score_samples(X).mean()


def test_of_a_row_with_gaps_it_is_the_density_of_what_is_observed():
    model, X = linear(nll_samples=5000, gaps=True), plane(20, seed=1)
    mean, covariance = law(model)
    known = [0, 2]
    expected = log_density(mean[known], covariance[np.ix_(known, known)], X[:, known])
    X[:, 1] = np.nan
    np.testing.assert_allclose(model.score_samples(X), expected, atol=0.1)


def test_samples_have_the_mean_and_the_covariance_of_the_model():
    model = linear()
    mean, covariance = law(model)
    samples, std = model.sample(40_000), np.sqrt(np.diag(covariance))
    np.testing.assert_allclose((samples.mean(0) - mean) / std, 0, atol=0.02)  # 4 standard errors
    np.testing.assert_allclose(
        np.cov(samples.T) / np.outer(std, std), covariance / np.outer(std, std), atol=0.03
    )
    assert np.array_equal(samples[:5], model.sample(40_000)[:5])


def test_another_unit_moves_the_density_by_its_jacobian_and_nothing_else():
    X, model = plane(100), VAE(epochs=5, random_state=0)
    first, second = clone(model).fit(X), clone(model).fit(X * 1024)
    np.testing.assert_allclose(second.transform(X * 1024), first.transform(X), rtol=1e-9)
    np.testing.assert_allclose(
        second.score_samples(X * 1024), first.score_samples(X) - 3 * np.log(1024), rtol=1e-9
    )
    np.testing.assert_allclose(
        second.inverse_transform(np.eye(2)), first.inverse_transform(np.eye(2)) * 1024
    )


@pytest.mark.parametrize(
    "options", [{"posterior": "full"}, {"posterior": "iaf"}, {"prior": "vamp"}, {"gaps": True}]
)
def test_a_rows_results_do_not_depend_on_the_rows_beside_it(options):
    X = plane(300)
    model = VAE(epochs=2, nll_samples=20, random_state=0, **options).fit(X)
    for ask in (model.transform, model.score_samples):
        np.testing.assert_allclose(ask(X)[[7, 250]], [ask(X[[7]])[0], ask(X[[250]])[0]], rtol=1e-10)


def test_results_have_the_precision_of_the_input():
    X = plane(50)
    model = VAE(epochs=2, random_state=0).fit(X.astype(np.float32))
    assert model.transform(X.astype(np.float32)).dtype == model.sample().dtype == np.float32
    assert model.transform(X).dtype == model.score_samples(X).dtype == np.float64
    np.testing.assert_allclose(model.transform(X.astype(np.float32)), model.transform(X), atol=1e-4)
    assert model.inverse_transform(np.zeros((1, 2), np.float32)).dtype == np.float32


# --- where training begins, and beside what it ends -----------------------------------------------------------------


def uneven(rows, seed=0):
    """Four factors in twelve columns, some of which follow them nearly exactly, in two groups of rows."""
    random, law_of_it = np.random.default_rng(seed), np.random.default_rng(99)
    loadings, noise = law_of_it.normal(size=(4, 12)), 10.0 ** law_of_it.uniform(-2.5, 0, 12)
    centre = 4 * law_of_it.normal(size=(2, 4))[random.integers(0, 2, rows)]
    return (random.normal(size=(rows, 4)) + centre) @ loadings + noise * random.normal(
        size=(rows, 12)
    )


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"hidden": ()},
        {"hidden": (32, 20), "activation": "silu"},
        {"likelihood": "gaussian-per-feature"},
        {"posterior": "full"},
    ],
)
def test_training_begins_at_factor_analysis(options):
    """Without a step worth the name, log p(x) is that of scikit-learn's factor analysis."""
    X = uneven(300)
    X = (X - X.mean(0)) / X.std(0)
    model = VAE(
        4,
        prior="normal",
        epochs=1,
        learning_rate=1e-12,
        validation_fraction=0.0,
        random_state=0,
        **options,
    )
    expected = (
        FactorAnalysis(4, svd_method="lapack", tol=1e-4, max_iter=5000).fit(X).score_samples(X)
    )
    np.testing.assert_allclose(model.fit(X).score_samples(X).mean(), expected.mean(), atol=0.05)


def test_at_the_defaults_unseen_rows_are_as_likely_as_under_a_mixture_of_gaussians():
    """Two latents, one variance and a random start fall short by more than 10 nats here."""
    X, unseen = uneven(500), uneven(2000, seed=1)
    model = VAE(random_state=0).fit(X)
    peer = GaussianMixture(3, random_state=0).fit(X).score(unseen)
    assert model.score(unseen) > peer - 0.5
    assert model.vae_.latent_dim >= 4
    assert all(gain < 0 for gain, _ in model.peers_.values())


def test_the_number_of_latents_is_that_of_the_factors():
    random = np.random.default_rng(0)
    X = random.normal(size=(400, 3)) @ random.normal(size=(3, 10)) + random.normal(size=(400, 10))
    assert VAE(epochs=1, random_state=0).fit(X).transform(X).shape == (400, 3)
    holed = np.where(random.random(X.shape) < 0.1, np.nan, X)
    assert VAE(epochs=1, gaps=True, random_state=0).fit(holed).transform(X).shape[1] in (3, 4)


def test_groups_of_rows_give_a_mixture_as_prior_and_none_give_a_normal_one():
    grouped = VAE(epochs=1, random_state=0).fit(uneven(300)).vae_.config
    assert grouped.prior == "mixture"
    assert grouped.components >= 2
    assert VAE(epochs=1, random_state=0).fit(plane(300)).vae_.config.prior == "normal"


def test_a_simpler_model_that_is_better_is_named():
    X = uneven(400)
    hopeless = VAE(
        1, epochs=1, activation="tanh", random_state=0
    )  # which cannot begin at factor analysis
    with pytest.warns(
        SimplerModelWarning, match="a Gaussian gives the rows that were held out a higher density"
    ):
        hopeless.fit(X)
    model = clone(hopeless).fit(X)
    held_out, rest = X[model.held_out_], np.delete(X, model.held_out_, axis=0)
    std = X.std(0)
    columns = norm(rest.mean(0), rest.std(0)).logpdf(held_out).sum(1)
    gain = columns - model.score_samples(held_out)
    assert np.isclose(model.peers_["independent Gaussians"][0], gain.mean(), atol=1e-4)
    assert np.isclose(
        model.peers_["independent Gaussians"][1], gain.std(ddof=1) / np.sqrt(40), atol=1e-4
    )
    pca = fit_pca(rest / std, 1).log_prob(held_out / std) - np.log(std).sum()
    assert np.isclose(
        model.peers_["PCA"][0], (pca - model.score_samples(held_out)).mean(), atol=0.1
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error", SimplerModelWarning)
        VAE(random_state=0).fit(X)


@pytest.mark.parametrize("kind", [VAE, VAEDetector, VAEImputer])
@pytest.mark.parametrize("rows", [3, 10, 19, 20])
def test_few_rows_are_learned_and_warned_of(kind, rows):
    X = plane(rows)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        face = kind(SMALL).fit(X) if kind is not VAE else clone(SMALL).fit(X)
    few = [warning for warning in warned if warning.category is FewRowsWarning]
    assert len(few) == (rows < 20)
    assert all(
        f"{rows} rows are fewer than 20" in str(w.message) and w.filename == __file__ for w in few
    )
    result = face.transform(X) if hasattr(face, "transform") else face.score_samples(X)
    assert np.isfinite(result).all()


def test_of_forty_rows_new_ones_are_no_less_likely_than_under_factor_analysis_alone():
    """Nothing is held out to say when to stop: by 300 epochs the variances of these rows are learned by heart."""
    X = uneven(1040)
    few, new = X[:40], X[40:]
    start, default, long = (
        VAE(epochs=epochs, random_state=0).fit(few).score(new) for epochs in (1, None, 300)
    )
    assert default > start - 0.5 and default > long + 0.3


@pytest.mark.parametrize("kind", [VAE, VAEDetector, VAEImputer])
def test_a_collapsed_model_is_said_to_be_one(kind):
    """Each nat of its KL term costs a thousand; the same model with a beta of 1 uses its latents."""
    X = plane(300)
    tiny = VAE(
        2, likelihood="gaussian-shared", prior="normal", hidden=(4,), epochs=40, activation="tanh"
    )
    dear = clone(tiny).set_params(beta=1000.0, learning_rate=0.02)
    said = "no latent dimension is active (0 of 2)"
    for model, is_collapsed in ((dear, True), (tiny, False)):
        face = model if kind is VAE else kind(model)
        with warnings.catch_warnings(record=True) as raised:
            warnings.simplefilter("always")
            face.set_params(random_state=0).fit(X)
        simpler = [warning for warning in raised if said in str(warning.message)]
        assert len(simpler) == is_collapsed
        assert all(w.category is SimplerModelWarning and w.filename == __file__ for w in simpler)


# --- data as users have them ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("X", "likelihood"),
    [
        (np.arange(9.0)[:, None], "gaussian"),
        (np.column_stack([np.arange(30.0), np.full(30, 7.3)]), "gaussian"),
        (np.full((20, 2), 1e8), "gaussian"),
        (np.eye(10), "bernoulli"),
        (np.array([[1.0, 5.0]]), "gaussian"),
    ],
    ids=["one feature", "a constant", "only constants", "zeros and ones", "one row"],
)
def test_small_and_constant_data_are_learned(X, likelihood):
    model = VAE(1, epochs=3, random_state=0).fit(X)
    assert model.vae_.config.likelihood == likelihood
    assert np.isfinite(model.score_samples(X)).all()
    assert len(model.held_out_) == len(X)  # too few to hold any out


def test_held_out_rows_are_a_tenth_and_not_trained_on():
    X = plane(200)
    model = VAE(epochs=3, random_state=0).fit(X)
    assert len(model.held_out_) == 20
    X[model.held_out_[0]] = X[model.held_out_[1]]
    other = VAE(epochs=1, random_state=0, batch_size=64).fit(X)
    assert other.history_[0]["step"] == 3  # 180 rows
    assert np.array_equal(other.held_out_, model.held_out_)


def test_data_frames_are_taken_and_given():
    X = plane(60)
    names = ["length", "load", "width"]
    model = VAE(epochs=2, random_state=0)
    expected = clone(model).fit_transform(X)
    for frame in (pd.DataFrame(X, columns=names), pl.DataFrame(X, schema=names)):
        fitted = clone(model).fit(frame)
        np.testing.assert_array_equal(fitted.transform(frame), expected)
        assert fitted.vae_.schema.columns == tuple(names)
    latents = (
        clone(model).set_output(transform="pandas").fit_transform(pd.DataFrame(X, columns=names))
    )
    assert list(latents.columns) == ["vae0", "vae1"]
    assert isinstance(clone(model).set_output(transform="polars").fit_transform(X), pl.DataFrame)
    parts = ColumnTransformer(
        [("shape", clone(model), ["length", "width"])], remainder="passthrough"
    )
    joined = parts.fit_transform(pd.DataFrame(X, columns=names))
    assert list(parts.get_feature_names_out()) == ["shape__vae0", "shape__vae1", "remainder__load"]
    np.testing.assert_array_equal(joined[:, 2], X[:, 1])


@pytest.mark.parametrize(
    ("options", "X", "error", "words"),
    [
        ({}, scipy.sparse.csr_array(np.eye(9)), TypeError, "Sparse data was passed"),
        ({}, np.array([[1.0, np.nan], [2.0, 3.0]]), ValueError, "contains NaN"),
        (
            {"gaps": True},
            np.array([[1.0, np.nan], [2.0, np.nan]]),
            ValueError,
            "column 'column 2' of array is missing",
        ),
        ({"gaps": True}, np.array([[1.0, np.inf], [2.0, 0.0]]), ValueError, "contains infinity"),
        (
            {"likelihood": "bernoulli"},
            np.array([[1.0, 3.5], [0.0, 0.0]]),
            ValueError,
            r"in \[0, 1\]; .* holds 3.5",
        ),
        (
            {"likelihood": "poisson"},
            np.array([[1.0, 3.5], [0.0, 0.0]]),
            ValueError,
            "holds fractions",
        ),
        ({"hidden": (0,)}, np.eye(3), ValueError, "each of `hidden` must be at least 1"),
        ({"samples": 0}, np.eye(3), ValueError, "'samples' parameter of VAE"),
        (
            {"objective": "iwae", "beta": 2.0},
            np.eye(3),
            ValueError,
            "`beta` must be left out with `objective='iwae'`",
        ),
    ],
)
def test_what_cannot_be_learned_is_refused_in_words(options, X, error, words):
    with pytest.raises(error, match=words):
        VAE(**{"epochs": 1, **options}).fit(X)


@pytest.mark.parametrize("n_samples", [0, -1, 1.5, "a"])
def test_a_number_of_samples_must_be_one(n_samples):
    with pytest.raises(ValueError, match="n_samples must be a whole number of at least 1"):
        clone(SMALL).fit(np.eye(3)).sample(n_samples)


@pytest.mark.parametrize("unit", [1e-100, 1e100])
def test_units_beyond_single_precision_are_as_good_as_others(unit):
    X = plane(40)
    model = clone(SMALL).set_params(random_state=0)
    known = clone(model).fit(X).transform(X)
    np.testing.assert_allclose(model.fit(X * unit).transform(X * unit), known, rtol=1e-6)


def test_values_that_the_likelihood_does_not_take_are_refused_later_too():
    counts = VAE(1, likelihood="poisson", epochs=2, random_state=0).fit(
        np.random.default_rng(0).poisson(3, (40, 2))
    )
    assert (counts.sample(50) == counts.sample(50).round()).all()
    with pytest.raises(ValueError, match=r"needs counts, .* 'column 2' of X holds -3"):
        counts.score_samples([[1, -3]])


# --- in the company of other estimators -----------------------------------------------------------------------------


@pytest.mark.long
def test_a_grid_search_in_a_pipeline_finds_the_dimension_in_one_process_and_in_two():
    X, y = (part[:240] for part in load_digits(return_X_y=True))
    pipeline = make_pipeline(
        MinMaxScaler(),
        VAE(epochs=20, hidden=(64,), random_state=0),
        LogisticRegression(max_iter=2000),
    )
    grid = {"vae__latent_dim": [1, 8]}
    searches = [GridSearchCV(pipeline, grid, cv=2, n_jobs=jobs).fit(X, y) for jobs in (1, 2)]
    scores = [search.cv_results_["mean_test_score"] for search in searches]
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-12)
    assert searches[0].best_params_ == {"vae__latent_dim": 8}
    assert scores[0][1] > 0.7 > scores[0][0]


def test_threads_do_not_draw_each_others_numbers():
    X, models = plane(100), [VAE(epochs=10, random_state=seed) for seed in range(4)]
    alone = [clone(model).fit_transform(X) for model in models]
    together = joblib.Parallel(4, backend="threading")(
        joblib.delayed(clone(model).fit_transform)(X) for model in models
    )
    np.testing.assert_array_equal(alone, together)


def test_cross_validation_and_pickling_give_the_same_numbers():
    X = load_wine().data
    first, second = (cross_val_score(VAE(epochs=5, random_state=0), X, cv=2) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    model = VAE(epochs=5, random_state=0).fit(X)
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(model)).score_samples(X), model.score_samples(X)
    )


def test_what_is_drawn_follows_random_state_and_leaves_torch_alone():
    X = plane(100)
    X[::7, 1] = np.nan
    states = torch.get_rng_state(), torch.get_num_threads(), torch.get_default_dtype()
    model = VAE(epochs=2, gaps=True, random_state=np.random.RandomState(0)).fit(X)
    first, second = model.sample(3), model.sample(3)
    VAEImputer(SMALL).fit_transform(X)
    model.score_samples(X)
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1:] == (torch.get_num_threads(), torch.get_default_dtype())
    assert not np.array_equal(first, second)
    fits = [
        VAE(epochs=2, gaps=True, random_state=seed).fit(X).transform(X[:3])
        for seed in (0, 0, 1, None, None)
    ]
    assert np.array_equal(fits[0], fits[1])
    assert not np.allclose(fits[1], fits[2])
    assert not np.allclose(fits[3], fits[4])


def test_the_model_is_a_model_of_variform(tmp_path):
    X = pd.DataFrame(plane(100), columns=["length", "load", "width"])
    model = VAE(np.int64(2), dropout=np.float32(0.1), epochs=3, random_state=0).fit(X)
    variform.save(model.vae_, tmp_path / "model.safetensors")
    loaded = variform.load(tmp_path / "model.safetensors").vae
    x = loaded.schema.prepare(torch.tensor(X.to_numpy()))
    np.testing.assert_allclose(
        loaded.encode(loaded.like(x)).mean.detach().numpy(), model.transform(X), atol=1e-5
    )
    assert loaded.schema.columns == ("length", "load", "width")


# --- outliers -------------------------------------------------------------------------------------------------------


def test_new_rows_are_flagged_as_often_as_was_asked_for():
    """Of 400 rows the 20th lowest is the threshold: the rate is about Beta(20, 381), 0.05 with a spread of 0.011."""
    detector = VAEDetector(VAE(2, epochs=20), false_alarms=0.05, random_state=0).fit(plane(400))
    assert 0.02 < (detector.predict(plane(3000, seed=1)) == -1).mean() < 0.08
    off_the_plane = np.array([5.0, -1e4, 0.0]) + 30 * np.array(
        [[0.2, -20.0, -1e-3], [-0.2, 20.0, 1e-3]]
    )
    assert detector.predict(off_the_plane).tolist() == [-1, -1]


@pytest.mark.long
def test_over_many_tables_false_alarms_are_no_more_frequent_than_was_asked_for():
    """The promise is of the mean over tables: 30 of 100 rows, 300 new rows each, 3 standard errors."""
    fast = VAE(2, hidden=(), epochs=3, nll_samples=10, prior="normal")
    rates = []
    for seed in range(30):
        detector = VAEDetector(fast, false_alarms=0.05, random_state=seed).fit(plane(100, seed))
        rates.append((detector.predict(plane(300, 1000 + seed)) == -1).mean())
    error = np.std(rates, ddof=1) / np.sqrt(len(rates))
    assert np.mean(rates) < 0.05 + 3 * error
    assert np.mean(rates) > 0.02  # a threshold that flags nothing keeps the promise too


def test_the_rate_that_is_told_is_that_of_order_statistics():
    """Simulated: of n + 1 exchangeable scores the last is below the m-th lowest of the others."""
    detector = VAEDetector(SMALL, false_alarms=0.1, random_state=0).fit(plane(60))
    assert detector.false_alarms_ == 6 / 61
    scores = np.random.default_rng(0).uniform(
        size=(20_000, 60)
    )  # the probability below a uniform score is the score
    rates = np.sort(scores, axis=1)[:, 5]
    assert abs(rates.mean() - detector.false_alarms_) < 4 * rates.std() / np.sqrt(20_000)
    np.testing.assert_allclose(
        detector.false_alarms_interval_, np.quantile(rates, [0.05, 0.95]), atol=0.003
    )


@pytest.mark.parametrize(("rows", "warned"), [(10, True), (18, True), (40, True), (120, False)])
@pytest.mark.filterwarnings("error")
def test_rows_too_few_for_the_rate_of_false_alarms_are_warned_of(rows, warned):
    detector = VAEDetector(VAE(1, epochs=1, validation_fraction=0.0), random_state=0)
    if warned:
        with pytest.warns(FalseAlarmWarning, match=f"^{rows} rows are too few"):
            detector.fit(plane(rows))
    else:
        detector.fit(plane(rows))
    assert detector.false_alarms_ == max(1, int(0.05 * (rows + 1))) / (rows + 1)
    detector.set_params(contamination=0.1).fit(plane(rows))  # promises nothing
    assert detector.false_alarms_ is detector.false_alarms_interval_ is None


@pytest.mark.parametrize("contamination", [0.02, 0.1, 0.5])
def test_the_share_of_outliers_that_was_named_is_flagged(contamination):
    X = plane(200)
    labels = VAEDetector(VAE(1, epochs=3), contamination=contamination, random_state=0).fit_predict(
        X
    )
    assert (labels == -1).sum() == 200 * contamination


@pytest.mark.parametrize("posterior", ["diagonal", "full", "iaf"])
def test_however_far_off_a_row_is_it_is_an_outlier(posterior):
    """Where exponentials overflow, NaN would be no outlier."""
    X = plane(100)
    detector = VAEDetector(VAE(epochs=3, posterior=posterior), random_state=0).fit(X)
    for size in (1e2, 1e4, 1e8, 1e30, 1e200):
        far = X[:8] + X.std(0) * size * np.random.default_rng(0).normal(size=(8, 3))
        assert np.isfinite(detector.decision_function(far)).all()
        assert (detector.predict(far) == -1).all()


# --- gaps -----------------------------------------------------------------------------------------------------------


def holed(rows, seed=0):
    """Three copies of one number with a little noise, a fifth of the cells missing, and what stood there."""
    random = np.random.default_rng(seed)
    whole = random.normal(size=(rows, 1)) + 0.1 * random.normal(size=(rows, 3))
    whole = whole * [1.0, 1000.0, 0.01] + [0.0, 5000.0, 1.0]
    return np.where(random.random(whole.shape) < 0.2, np.nan, whole), whole


def test_gaps_are_filled_from_the_other_columns_and_what_is_observed_stays():
    X, whole = holed(400)
    imputer = VAEImputer(samples=200, random_state=0).fit(X)
    filled, missing = imputer.transform(X), np.isnan(X)
    assert np.array_equal(filled[~missing].view(np.int64), X[~missing].view(np.int64))
    error = np.where(missing, filled - whole, 0.0) / whole.std(0)
    lonely = missing.sum(1) == 1  # two columns are left to tell the third
    assert (
        np.sqrt((error[lonely] ** 2).sum() / missing[lonely].sum()) < 0.16
    )  # the best there is are 0.12
    imputed = imputer.impute(X[lonely], level=0.9)
    np.testing.assert_allclose(imputed.values, filled[lonely], rtol=1e-10)
    inside = (imputed.low <= whole[lonely]) & (whole[lonely] <= imputed.high)
    assert (
        0.83 < inside[imputed.missing].mean() < 0.97
    )  # of about 150 cells: 3 standard errors are 0.07
    alone = imputer.impute(X[lonely][[5]], level=0.9)  # the same beside other rows and without them
    np.testing.assert_allclose(alone.low, imputed.low[[5]], rtol=1e-10)
    np.testing.assert_allclose(imputer.transform(X[lonely][[5]]), filled[lonely][[5]], rtol=1e-10)


@pytest.mark.filterwarnings("ignore:.IterativeImputer. Early stopping criterion not reached")
def test_at_the_defaults_gaps_are_filled_as_well_as_by_regressions():
    """Two latents fall short here: four factors are in the columns."""
    random = np.random.default_rng(0)
    whole = random.normal(size=(200, 4)) @ random.normal(size=(4, 10)) + 0.7 * random.normal(
        size=(200, 10)
    )
    missing = random.random(whole.shape) < 0.25
    X = np.where(missing, np.nan, whole)
    filled, peer = (
        one.fit_transform(X)
        for one in (VAEImputer(samples=200, random_state=0), IterativeImputer())
    )
    own, theirs = (np.sqrt(np.square(one - whole)[missing].mean()) for one in (filled, peer))
    assert own < 1.1 * theirs


def test_columns_without_values_are_left_out_or_filled_with_zeros():
    X, _ = holed(50)
    X = pd.DataFrame(np.insert(X, 1, np.nan, axis=1), columns=["a", "empty", "b", "c"])
    with pytest.warns(UserWarning, match="left out: empty"):
        imputer = VAEImputer(SMALL, random_state=0).set_output(transform="pandas").fit(X)
    frame = imputer.transform(X)
    assert list(frame.columns) == ["a", "b", "c"]
    assert not frame.isna().any(axis=None)
    assert imputer.vae_.schema.columns == ("a", "b", "c")
    kept = (
        VAEImputer(SMALL, keep_empty_features=True, random_state=0)
        .set_output(transform="pandas")
        .fit_transform(X)
    )
    assert (kept["empty"] == 0).all()
    pd.testing.assert_frame_equal(kept.drop(columns="empty"), frame)
    with pytest.raises(ValueError, match="every value of X is missing"):
        VAEImputer(SMALL).fit(np.full((9, 2), np.nan))


def test_a_row_that_is_too_far_off_to_compute_with_is_refused_in_words():
    X, _ = holed(50)
    imputer = VAEImputer(SMALL, random_state=0).fit(X)
    with pytest.raises(ValueError, match="so far off that its density is 0"):
        imputer.transform([[1e200, np.nan, 1.0]])


def test_a_pipeline_fills_gaps_before_a_classifier():
    X, y = load_wine(return_X_y=True)
    X[np.random.default_rng(0).random(X.shape) < 0.2] = np.nan
    model = make_pipeline(
        VAEImputer(VAE(epochs=60), samples=20, random_state=0), MinMaxScaler(), LogisticRegression()
    )
    assert cross_val_score(model, X, y, cv=2).mean() > 0.85


# --- weights of rows, going on, and what is said and called meanwhile -----------------------------------------------


def test_weights_are_counts_of_rows_exactly_for_the_loss_of_all_rows():
    """One batch of all rows with the same noise for each: steps on weights are steps on copies."""
    torch.set_default_dtype(torch.float64)
    X = plane(40)
    counts = np.arange(40) % 4
    start = VAE(2, hidden=(5,), epochs=1, validation_fraction=0, batch_size=10**6, random_state=0)
    start.set_params(warm_start=True, prior="normal").fit(X)
    weighted, copied = copy.deepcopy(start), copy.deepcopy(start)
    with common():
        weighted.set_params(epochs=5, patience=0).fit(X, sample_weight=counts)
        copied.set_params(epochs=5, patience=0).fit(np.repeat(X, counts, axis=0))
    for name in ("train_loss", "valid_loss", "valid_elbo"):
        values = [[row[name] for row in model.history_] for model in (weighted, copied)]
        np.testing.assert_allclose(*values, rtol=1e-12)
    for one, other in zip(weighted.vae_.parameters(), copied.vae_.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_columns_are_standardised_by_the_rows_as_often_as_they_count():
    X, counts = plane(40), np.arange(40) % 4
    schema = VAE(1, epochs=1, random_state=0).fit(X, sample_weight=counts).vae_.schema
    copies = np.repeat(X, counts, axis=0)
    np.testing.assert_allclose(schema.shift, copies.mean(0))
    np.testing.assert_allclose(schema.scale, copies.std(0))


@pytest.mark.parametrize("face", FACES, ids=lambda face: type(face).__name__)
def test_equal_weights_are_none_and_a_weight_of_0_is_no_row(face):
    X, asked = plane(60), plane(5, seed=1)

    def answers(X, weights):
        fitted = clone(face).set_params(random_state=0).fit(X, sample_weight=weights)
        asked[0, 0] = asked[0, 0] if not isinstance(fitted, VAEImputer) else np.nan
        return (
            fitted.transform(asked) if hasattr(fitted, "transform") else fitted.score_samples(asked)
        )

    plain = answers(X[20:], None)
    np.testing.assert_array_equal(answers(X[20:], np.full(40, 0.5)), plain)
    np.testing.assert_array_equal(answers(X, np.arange(60) >= 20), plain)


def test_rows_held_out_are_numbered_as_they_came():
    counts = (np.arange(100) >= 30).astype(float)
    held_out = VAE(1, epochs=1, random_state=0).fit(plane(100), sample_weight=counts).held_out_
    assert len(held_out) == 7 and held_out.min() >= 30


@pytest.mark.parametrize("counts", [np.ones(7, int), np.array([0, 3, 1, 0, 2, 5, 1])])
def test_the_threshold_of_weighted_scores_is_that_of_copies(counts):
    scores = np.random.default_rng(0).normal(size=7)
    copies = np.sort(np.repeat(scores, counts))
    found = [estimator._lowest(scores, counts, rank) for rank in range(1, len(copies) + 1)]
    assert found == copies.tolist()


def test_the_share_that_counts_as_contaminated_is_flagged():
    X = np.vstack([plane(90), plane(10) + np.array([0, 0, 1.0])])
    counts = np.repeat([1.0, 5.0], [90, 10])
    detector = VAEDetector(SMALL, contamination=50 / 140, folds=2, random_state=0)
    flagged = detector.fit(X, sample_weight=counts).predict(X) < 0
    # Those below the threshold, which itself is a row: of 50 that count, at least 45.
    assert 45 <= counts[flagged].sum() < 50 + 1e-9


def test_what_counts_more_is_more_likely():
    X = np.vstack([plane(200), plane(200) + np.array([30.0, 0, 0])])
    counts = np.repeat([10.0, 1.0], 200)
    gain = [
        VAE(2, epochs=20, random_state=0).fit(X, sample_weight=weights).score_samples(X)
        for weights in (counts, counts[::-1])
    ]
    assert (gain[0] - gain[1])[:200].mean() > 1 and (gain[0] - gain[1])[200:].mean() < -1


@pytest.mark.parametrize("face", FACES, ids=lambda face: type(face).__name__)
@pytest.mark.parametrize(
    ("weights", "words"),
    [
        (np.r_[-1.0, np.ones(29)], "must be at least 0; got -1"),
        (np.r_[np.nan, np.ones(29)], "sample_weight contains NaN"),
        (np.r_[np.inf, np.ones(29)], "sample_weight contains infinity"),
        (np.zeros(30), "all are 0"),
        (np.ones(29), "inconsistent numbers of samples"),
        (np.ones((30, 1)), "one number a row"),
    ],
)
def test_weights_that_are_no_counts_are_refused(face, weights, words):
    with pytest.raises(ValueError, match=words):
        clone(face).fit(plane(30), sample_weight=weights)


def test_a_warm_start_goes_on_from_the_fitted_weights():
    X = plane(300)
    model = VAE(2, hidden=(8,), epochs=3, warm_start=True, random_state=0).fit(X)
    before, latents = model.score_samples(X), model.transform(X)
    state = {name: value.clone() for name, value in model.vae_.state_dict().items()}
    model.set_params(learning_rate=1e-12).fit(X)
    for name, value in model.vae_.state_dict().items():
        torch.testing.assert_close(value, state[name], rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(model.score_samples(X), before, rtol=1e-4, atol=1e-4)

    # Scaling and the meaning of the latents stay with rows in which they would be others.
    model.fit(X * 1.1 + [1.0, 0, 0])
    np.testing.assert_allclose(model.transform(X), latents, rtol=1e-4, atol=1e-4)
    assert (
        clone(model).set_params(warm_start=False).fit(X * 1.1).vae_.schema.scale
        != model.vae_.schema.scale
    )


def test_a_warm_start_is_as_good_as_one_long_training_and_better_than_its_beginning():
    X, Y = plane(300), plane(300, seed=1)
    options = {"hidden": (), "likelihood": "gaussian-per-feature", "prior": "normal"}
    model = VAE(2, epochs=2, warm_start=True, learning_rate=0.01, random_state=0, **options)
    model.set_params(gaps=True)  # so that it begins anywhere
    scores = [model.fit(X).score(Y) for _ in range(15)]
    whole = (
        VAE(2, epochs=30, learning_rate=0.01, random_state=0, gaps=True, **options).fit(X).score(Y)
    )
    assert scores[-1] > scores[0] + 0.1 and scores[-1] == pytest.approx(whole, abs=0.1)


@pytest.mark.parametrize(
    ("changes", "X", "words"),
    [
        ({"hidden": (3,)}, plane(30), "another hidden needs a new one"),
        ({"latent_dim": 2}, plane(30), "another latent_dim"),
        ({"prior": "vamp"}, plane(30), "another prior"),
        ({"gaps": True}, plane(30), "another gaps"),
        ({}, plane(30)[:, :2], "needs rows of 3 columns, as those of the fit before; got 2"),
    ],
)
def test_a_warm_start_refuses_another_model(changes, X, words):
    model = clone(SMALL).set_params(latent_dim=1, warm_start=True).fit(plane(30))
    with pytest.raises(ValueError, match=words):
        model.set_params(**changes).fit(X)


@pytest.mark.parametrize(("verbose", "lines"), [(0, 0), (False, 0), (2, 3), (10, 3)])
def test_what_is_said_of_a_training(verbose, lines, capfd):
    clone(SMALL).set_params(verbose=verbose).fit(plane(30))
    out, err = capfd.readouterr()
    assert out == "" and sum(line.startswith("epoch ") for line in err.splitlines()) == lines
    assert bool(err) == bool(verbose)


def test_verbose_1_says_how_far_it_is(capfd):
    clone(SMALL).set_params(verbose=1, epochs=100, patience=0).fit(plane(30))
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("epoch ")]
    assert 15 < len(lines) < 25  # a twentieth each


class Watching:
    def __init__(self):
        self.seen = []

    def on_epoch(self, moment):
        self.seen.append((moment.epoch, moment["valid_loss"]))
        if moment.epoch == 2:
            raise variform.StopTraining("seen enough")


@pytest.mark.parametrize(("face", "fits"), [*zip(FACES, (1, 2, 1), strict=True)])
def test_callbacks_are_called_and_end_a_training(face, fits):
    """Of a method the object is the user's own, though the estimator inside is a clone."""
    watching, steps = Watching(), []
    face = clone(face)
    model = face if isinstance(face, VAE) else face.estimator
    model.set_params(on_epoch=watching.on_epoch, on_step=[steps.append])
    fitted = face.fit(plane(60))
    assert [epoch for epoch, _ in watching.seen] == [1, 2] * fits
    assert len(steps) >= 2 * fits
    if isinstance(fitted, VAE):
        assert [row["valid_loss"] for row in fitted.history_] == [loss for _, loss in watching.seen]
        assert fitted.history_[-1]["stopped"] == "stopped by Watching.on_epoch: seen enough"
