"""The scikit-learn face: `VAE` as a transformer and a density, `VAEDetector` for outliers, `VAEImputer` for gaps.

Rows are tables (N, D). Everything is asked of a double-precision copy of the model, and densities use the same noise
for every row, so that what is found for a row does not depend on the rows beside it. torch's random state is left as it
was.
"""

import copy
import threading
import warnings
from dataclasses import fields, replace
from numbers import Integral, Real
from typing import Any, Literal, Self, get_args, get_type_hints

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    OneToOneFeatureMixin,
    OutlierMixin,
    TransformerMixin,
    clone,
)
from sklearn.preprocessing import StandardScaler
from sklearn.utils import Tags, check_random_state, get_tags  # pyrefly: ignore[missing-module-attribute]
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import (
    check_array,
    check_is_fitted,
    validate_data,  # pyrefly: ignore[missing-module-attribute]
)

from variform import exploration, vae
from variform.config import ActivationName, ModelConfig, TrainConfig
from variform.data import Dataset, Schema, dataset_from
from variform.evaluation.density import score
from variform.evaluation.imputation import Imputation, impute
from variform.training import build_objective, epochs, fit

Array = NDArray[Any]
Seed = int | np.random.RandomState | None
LikelihoodName = Literal[
    "auto",
    "bernoulli",
    "continuous-bernoulli",
    "gaussian",
    "gaussian-per-feature",
    "gaussian-shared",
    "gaussian-optimal",
    "gaussian-identity",
    "poisson",
    "negative-binomial",
]

_FLOATS = [np.float64, np.float32]
_FEWEST_HELD_OUT = 5  # fewer rows than that choose an epoch by chance
_MOST_EPOCHS = 300  # of few rows: more would only learn them by heart
_LOCK = threading.RLock()
"""Held while torch's global random state is borrowed: threads would draw each other's numbers."""


def _choices(hint: Any) -> list[Any]:
    return [StrOptions(set(get_args(hint)))]  # pyrefly: ignore[bad-instantiation]


def _between(least: float, most: float | None = None, *, closed: str = "left", whole: bool = False) -> Any:
    kind = Integral if whole else Real
    return Interval(kind, least, most, closed=closed)  # pyrefly: ignore[bad-instantiation, bad-argument-type]


_MODEL, _TRAIN = get_type_hints(ModelConfig), get_type_hints(TrainConfig)


class VAE(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    r"""A variational autoencoder as a scikit-learn transformer and density.

    `transform` gives the means of q(z|x), `score_samples` $\log p(x) \approx \log \tfrac1K \sum_k p(x|z_k)\,p(z_k) /
    q(z_k|x)$ with $z_k \sim q(z|x)$. Under the Gaussian likelihoods columns are standardised inside, and the density is
    one of the values as they came. The model itself is `vae_`, which `variform.save` writes to a file.

    Args:
        latent_dim: Number of latent dimensions, the columns of `transform`.
        likelihood: p(x|z), as in `ModelConfig`; `auto` is `bernoulli` where all values are 0 or 1, else one variance
            for all standardised columns, `gaussian-optimal` (under `iwae` `gaussian-shared`).
        posterior: q(z|x), as in `ModelConfig`.
        prior: p(z), as in `ModelConfig`.
        hidden: Widths of the encoder's hidden layers; the decoder mirrors them. () makes both linear.
        activation: Activation after each hidden layer.
        dropout: Probability with which a hidden unit is dropped in training.
        objective: `elbo`, or `iwae`, the importance-weighted bound.
        samples: Draws of z per row in the objective.
        beta: Weight of the KL term; 1 is the ELBO. Densities of a model with another beta are of that model still.
        epochs: Most passes over the training rows; by default 20, or as many as make 3,000 steps, but not over 300.
        batch_size: Rows per step; of fewer rows all.
        learning_rate: Step size of the optimiser.
        warmup: Steps over which the weight of the KL term rises from 0 to `beta`.
        patience: Stop after so many epochs without a better loss of the rows held out; 0 for never.
        validation_fraction: Share of the rows that is held out: their loss chooses the epoch whose weights are kept.
            Where it makes fewer than 5, nothing is held out and the loss of all rows chooses.
        nll_samples: K, importance samples per row in `score_samples`.
        gaps: NaN is a missing value, which adds nothing to any density; without it NaN is refused.
        device: Where to train; afterwards the model is on the CPU. `auto` takes a GPU if there is one.
        random_state: Seed of all that is drawn, as everywhere in scikit-learn.

    Attributes:
        vae_: The trained `variform.VAE`.
        history_: One dict per epoch, as `variform.History.rows`.
        n_iter_: Number of epochs.
        best_epoch_: The epoch whose weights the model has, counted from 1.
        held_out_: Numbers of the rows that were held out; all where none were.
        n_features_in_, feature_names_in_: As everywhere in scikit-learn.

    Raises:
        ValueError: from `fit`, for values that the likelihood does not take, and options out of range.

    Reference:
        Kingma and Welling (2014); log p(x): Burda, Grosse and Salakhutdinov (2016), equation 8.

    Example:
        >>> X = np.random.default_rng(0).normal(size=(60, 3))
        >>> model = VAE(latent_dim=1, epochs=5, random_state=0).fit(X)
        >>> model.transform(X).shape, model.score_samples(X).shape, model.sample(4).shape
        ((60, 1), (60,), (4, 3))
    """

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012 (scikit-learn's name and type)
        "latent_dim": [_between(1, whole=True)],
        "likelihood": _choices(LikelihoodName),
        "posterior": _choices(_MODEL["posterior"]),
        "prior": _choices(_MODEL["prior"]),
        "hidden": ["array-like"],
        "activation": _choices(ActivationName),
        "dropout": [_between(0, 1)],
        "objective": _choices(Literal["elbo", "iwae"]),
        "samples": [_between(1, whole=True)],
        "beta": [_between(0)],
        "epochs": [_between(1, whole=True), None],
        "batch_size": [_between(1, whole=True)],
        "learning_rate": [_between(0, closed="neither")],
        "warmup": [_between(0, whole=True)],
        "patience": [_between(0, whole=True)],
        "validation_fraction": [_between(0, 1)],
        "nll_samples": [_between(1, whole=True)],
        "gaps": ["boolean"],
        "device": _choices(_TRAIN["device"]),
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        latent_dim: int = 2,
        *,
        likelihood: LikelihoodName = "auto",
        posterior: Literal["diagonal", "full", "iaf"] = "diagonal",
        prior: Literal["normal", "mixture", "vamp", "flow"] = "normal",
        hidden: tuple[int, ...] = (128,),
        activation: ActivationName = "relu",
        dropout: float = 0.0,
        objective: Literal["elbo", "iwae"] = "elbo",
        samples: int = 1,
        beta: float = 1.0,
        epochs: int | None = None,
        batch_size: int = 128,
        learning_rate: float = 3e-3,
        warmup: int = 0,
        patience: int = 50,
        validation_fraction: float = 0.1,
        nll_samples: int = 100,
        gaps: bool = False,
        device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
        random_state: Seed = None,
    ) -> None:
        self.latent_dim = latent_dim
        self.likelihood = likelihood
        self.posterior = posterior
        self.prior = prior
        self.hidden = hidden
        self.activation = activation
        self.dropout = dropout
        self.objective = objective
        self.samples = samples
        self.beta = beta
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.warmup = warmup
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.nll_samples = nll_samples
        self.gaps = gaps
        self.device = device
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Train on the rows of X (N, D); y is not looked at."""
        del y
        return self._fit(_rows(self, X, learn=True))

    def _fit(self, X: Array) -> Self:
        random = check_random_state(self.random_state)
        self._seed, self._dtype = int(random.randint(2**31 - 1)), X.dtype
        data = _standardised(X, self.likelihood, gaps=self.gaps, columns=getattr(self, "feature_names_in_", None))
        shuffled = random.permutation(len(X))
        count = int(self.validation_fraction * len(X))
        count = count if count >= _FEWEST_HELD_OUT else 0
        rest, self.held_out_ = np.sort(shuffled[count:]), np.sort(shuffled[: count or None])
        train, valid = (data.take(torch.from_numpy(index)) for index in (rest, self.held_out_))
        size = min(self.batch_size, len(train))
        config = TrainConfig(
            objective=self.objective,
            samples=self.samples,
            beta=self.beta,
            epochs=self.epochs or min(_MOST_EPOCHS, epochs(TrainConfig(batch_size=size), len(train))),
            batch_size=size,
            learning_rate=self.learning_rate,
            warmup=self.warmup,
            patience=self.patience,
            device=self.device,
            seed=self._seed,
        )
        with _LOCK:
            model = vae.build_vae(self._config(data.schema), data.schema, seed=self._seed, moments=train.moments())
            history = fit(build_objective(model, config), train, valid, config)
        self.vae_ = model.cpu()
        self.history_, self.best_epoch_, self.n_iter_ = history.rows, history.best_epoch, len(history.rows)
        return self

    def _config(self, schema: Schema) -> ModelConfig:
        likelihood = self.likelihood
        if likelihood == "auto":
            gaussian = "gaussian-optimal" if self.objective == "elbo" else "gaussian-shared"
            likelihood = "bernoulli" if schema.levels == 2 else gaussian
        return ModelConfig(
            latent_dim=int(self.latent_dim),  # a search over NumPy's numbers gives those, which JSON does not know
            likelihood=likelihood,
            posterior=self.posterior,
            prior=self.prior,
            hidden=tuple(int(width) for width in self.hidden),
            activation=self.activation,
            dropout=float(self.dropout),
        )

    def transform(self, X: ArrayLike) -> Array:
        """The means of q(z|x), (N, latent_dim)."""
        X = _rows(self, X)
        with _LOCK:
            return exploration.encode(self._exact(), self._dataset(X))[0].astype(X.dtype, copy=False)

    def inverse_transform(self, Z: ArrayLike) -> Array:
        """The means of p(x|z) at latent points Z (N, latent_dim), (N, D), in the values' own units."""
        check_is_fitted(self)
        points = np.array(check_array(Z, dtype=_FLOATS, input_name="Z"))
        with _LOCK:
            return exploration.decode(self._exact(), points).astype(points.dtype, copy=False)

    def score_samples(self, X: ArrayLike) -> Array:
        """log p(x) of each row in nats, (N,) float64: by `nll_samples` importance samples, the same noise for all rows.

        An estimate from below, in expectation. Under a Gaussian likelihood it is the density of the values in their own
        units, under those of 0 and 1 and of counts a probability. With `gaps` it is that of what is observed. Of a row
        so far off that the networks overflow it is the lowest number there is.
        """
        return self._log_px(_rows(self, X))

    def _log_px(self, X: Array) -> Array:
        with _LOCK:
            found = score(self._exact(), self._dataset(X), samples=self.nll_samples, seed=self._seed, common=True)
        lowest = np.finfo(np.float64).min
        return np.nan_to_num(found.log_px.numpy(), nan=lowest, neginf=lowest)  # NaN: the networks overflowed

    def score(self, X: ArrayLike, y: object = None) -> float:
        """The mean of `score_samples`; higher is better, and y is not looked at."""
        del y
        return float(self.score_samples(X).mean())

    def sample(self, n_samples: int = 1) -> Array:
        """New rows (n_samples, D): z from p(z), then x from p(x|z).

        With an integer as `random_state` they are the same at every call.
        """
        check_is_fitted(self)
        if not isinstance(n_samples, Integral) or n_samples < 1:
            raise ValueError(f"n_samples must be a whole number of at least 1; got {n_samples}. Use for example 100.")
        seed = int(check_random_state(self.random_state).randint(2**31 - 2))
        with _LOCK:
            return exploration.generate(self._exact(), int(n_samples), draw=True, seed=seed).astype(
                self._dtype, copy=False
            )

    @property
    def _n_features_out(self) -> int:
        return self.vae_.latent_dim

    def _exact(self) -> vae.VAE:
        """The model in double precision: what is found for a row then differs by rounding in the 16th digit."""
        return copy.deepcopy(self.vae_).double()

    def _dataset(self, X: Array) -> Dataset:
        raw, schema = torch.tensor(X), self.vae_.schema
        assert schema is not None
        assert self.vae_.config is not None
        came = dataset_from(raw.nan_to_num(0.0)).schema  # 0 is of every kind
        range_of = replace(schema, low=came.low, high=came.high, whole=came.whole, levels=None, source="X")
        range_of.require(self.vae_.likelihood.support, self.vae_.config.likelihood)
        return Dataset(raw, schema)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()  # pyrefly: ignore[missing-attribute]
        tags.input_tags.allow_nan = bool(self.gaps)
        assert tags.transformer_tags is not None
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


class VAEDetector(OutlierMixin, BaseEstimator):
    r"""Outliers are the rows that a variational autoencoder finds least likely.

    By default the threshold is taken from rows that the model was not trained on: of n of them the
    $\lfloor \alpha (n + 1) \rfloor$-th lowest log p(x), so that a new row of the same law is flagged with a probability
    of at most $\alpha$, up to what it does that they also chose the best epoch. With fewer than $1/\alpha - 1$ of them
    it is the lowest.

    Args:
        estimator: The `VAE`, not yet fitted; by default one with 2 latents.
        contamination: Share of the rows given to `fit` that are outliers, which is then the share of them that is
            flagged; `auto` when it is not known.
        false_alarms: $\alpha$, used when `contamination` is `auto`.
        random_state: Where it is not None, in the place of the estimator's.

    Attributes:
        estimator_: The fitted `VAE`.
        vae_: Its model.
        offset_: The threshold, in nats: `decision_function` is log p(x) less `offset_`.

    Reference:
        The threshold: Vovk, Gammerman and Shafer (2005), on inductive conformal prediction.

    Example:
        >>> X = np.random.default_rng(0).normal(size=(200, 3))
        >>> detector = VAEDetector(VAE(latent_dim=1, epochs=20), random_state=0).fit(X)
        >>> detector.predict([[0.0, 0.0, 0.0], [50.0, 0.0, 0.0]])
        array([ 1, -1])
    """

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012
        "estimator": [VAE, None],
        "contamination": [*_choices(Literal["auto"]), _between(0, 0.5, closed="right")],
        "false_alarms": [_between(0, 1, closed="neither")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator: VAE | None = None,
        *,
        contamination: float | Literal["auto"] = "auto",
        false_alarms: float = 0.05,
        random_state: Seed = None,
    ) -> None:
        self.estimator = estimator
        self.contamination = contamination
        self.false_alarms = false_alarms
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Train on the rows of X (N, D) and find the threshold; y is not looked at."""
        del y
        X = _rows(self, X, learn=True)
        self.estimator_ = _fitted(self, X)
        self.vae_ = self.estimator_.vae_
        scores = self.estimator_._log_px(X)
        if self.contamination == "auto":
            held_out = np.sort(scores[self.estimator_.held_out_])
            self.offset_ = float(held_out[max(1, int(self.false_alarms * (len(held_out) + 1))) - 1])
        else:
            self.offset_ = float(np.percentile(scores, 100.0 * self.contamination))
        return self

    def score_samples(self, X: ArrayLike) -> Array:
        """log p(x) of each row in nats, (N,) float64, as `VAE.score_samples`; low for outliers."""
        X = _rows(self, X)
        return self.estimator_._log_px(X)

    def decision_function(self, X: ArrayLike) -> Array:
        """log p(x) less the threshold, (N,): negative for outliers."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: ArrayLike) -> Array:
        """-1 for outliers and 1 for all other rows, (N,)."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()  # pyrefly: ignore[missing-attribute]
        tags.input_tags.allow_nan = self.estimator is not None and bool(self.estimator.gaps)
        return tags


class VAEImputer(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    r"""Fills missing values (NaN) with their mean given what is observed, by a variational autoencoder.

    $E[x_m | x_o]$ by importance sampling, as `variform.impute`. The model is trained on rows with gaps as they are;
    what is observed stays as it is, to the bit, and what is filled in for a row does not depend on the rows beside it.

    Args:
        estimator: The `VAE`, not yet fitted, whose `gaps` is taken to be True; by default one with 2 latents.
        samples: Importance samples per row.
        keep_empty_features: Fill columns without any observed value in `fit` with 0; otherwise `transform` leaves them
            out, with a warning at `fit`.
        random_state: Where it is not None, in the place of the estimator's.

    Attributes:
        estimator_: The fitted `VAE`, of the columns that hold a value.
        vae_: Its model.

    Raises:
        ValueError: from `fit`, when no column holds a value.

    Reference:
        Mattei and Frellsen (2019), for single imputation.

    Example:
        >>> X = np.repeat(np.random.default_rng(0).normal(size=(100, 1)), 3, axis=1)
        >>> X[::2, 0] = np.nan
        >>> filled = VAEImputer(VAE(latent_dim=1, epochs=50), random_state=0).fit_transform(X)
        >>> bool(np.isnan(filled).any()), bool((filled[:, 1] == X[:, 1]).all())
        (False, True)
    """

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012
        "estimator": [VAE, None],
        "samples": [_between(2, whole=True)],
        "keep_empty_features": ["boolean"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator: VAE | None = None,
        *,
        samples: int = 1000,
        keep_empty_features: bool = False,
        random_state: Seed = None,
    ) -> None:
        self.estimator = estimator
        self.samples = samples
        self.keep_empty_features = keep_empty_features
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Train on the rows of X (N, D), which may have gaps; y is not looked at."""
        del y
        X = _rows(self, X, learn=True)
        self._is_known = np.asarray(~np.isnan(X).all(axis=0))
        if not self._is_known.any():
            raise ValueError("some column must hold a value; every value of X is missing. Give rows with values.")
        if not self._is_known.all() and not self.keep_empty_features:
            names = getattr(self, "feature_names_in_", np.arange(X.shape[1]))[~self._is_known]
            warnings.warn(
                f"columns without any value cannot be imputed and are left out: {', '.join(map(str, names))}. Drop "
                "them, or set keep_empty_features to fill them with 0.",
                stacklevel=2,
            )
        self.estimator_ = _fitted(self, X, self._is_known, gaps=True)
        self.vae_ = self.estimator_.vae_
        return self

    def transform(self, X: ArrayLike) -> Array:
        """X with its gaps filled, (N, D)."""
        filled = _rows(self, X).copy()
        has_gaps = np.isnan(filled[:, self._is_known]).any(1)
        if has_gaps.any():
            filled[np.ix_(has_gaps, self._is_known)] = self._impute(filled[has_gaps], 0.9).values
        return np.nan_to_num(filled, copy=False) if self.keep_empty_features else filled[:, self._is_known]

    def impute(self, X: ArrayLike, *, level: float = 0.9) -> Imputation:
        """What is filled in and how sure that is: intervals that hold a missing value with probability `level`.

        Arrays (N, columns that held a value in `fit`), as `variform.impute` gives them.
        """
        return self._impute(_rows(self, X), level)

    def _impute(self, X: Array, level: float) -> Imputation:
        model, rows = self.estimator_._exact(), self.estimator_._dataset(X[:, self._is_known])
        with _LOCK:  # one row at a time, so that each meets the same noise
            found = [
                impute(
                    model, rows.take(torch.tensor([row])), samples=self.samples, level=level, seed=self.estimator_._seed
                )
                for row in range(len(X))
            ]
        names = [field.name for field in fields(Imputation) if field.name != "level"]
        return Imputation(
            **{name: np.concatenate([getattr(one, name) for one in found]) for name in names}, level=level
        )

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> Array:
        """Names of the columns of `transform`."""
        names = super().get_feature_names_out(input_features)
        return names if self.keep_empty_features else names[self._is_known]

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()  # pyrefly: ignore[missing-attribute]
        tags.input_tags.allow_nan = True
        assert tags.transformer_tags is not None
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _rows(face: Any, X: ArrayLike, *, learn: bool = False) -> Array:
    """X as scikit-learn checks it: rows to learn from, whose form is noted, or rows to ask a fitted estimator about."""
    if learn:
        face._validate_params()
    else:
        check_is_fitted(face)
    finite: Any = "allow-nan" if get_tags(face).input_tags.allow_nan else True
    return np.asarray(validate_data(face, X, reset=learn, dtype=_FLOATS, order="C", ensure_all_finite=finite))


def _fitted(face: Any, X: Array, columns: Array | None = None, **options: Any) -> VAE:
    """The VAE of another face, trained on some columns of rows that were looked at already."""
    columns = np.ones(X.shape[1], bool) if columns is None else columns
    model: Any = VAE() if face.estimator is None else clone(face.estimator)
    model.set_params(**options, **({} if face.random_state is None else {"random_state": face.random_state}))
    model._validate_params()
    model.n_features_in_ = int(columns.sum())
    if hasattr(face, "feature_names_in_"):
        model.feature_names_in_ = face.feature_names_in_[columns]
    return model._fit(np.ascontiguousarray(X[:, columns]))


def _standardised(X: Array, likelihood: LikelihoodName, *, gaps: bool, columns: Array | None) -> Dataset:
    """Training rows, of real numbers each column with mean 0 and standard deviation 1."""
    data = dataset_from(torch.tensor(X), gaps=gaps)
    schema = replace(data.schema, source="X", columns=data.schema.columns if columns is None else tuple(columns))
    if likelihood.startswith("gaussian") or (likelihood == "auto" and schema.levels != 2):
        scaler: Any = StandardScaler().fit(X)  # of a constant column the scale is 1
        schema = replace(schema, shift=tuple(scaler.mean_.tolist()), scale=tuple(scaler.scale_.tolist()))
    return Dataset(data.raw, schema)
