"""The scikit-learn face: `VAE` as a transformer and a density, `VAEDetector` for outliers, `VAEImputer` for gaps.

Rows are tables (N, D). Everything is asked of a double-precision copy of the model, and densities use the same noise
for every row, so that what is found for a row does not depend on the rows beside it. torch's random state is left as it
was.
"""

import copy
import math
import threading
import warnings
from dataclasses import replace
from numbers import Integral, Real
from typing import Any, Literal, Self, get_args, get_type_hints

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.stats import beta, multivariate_normal
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    OneToOneFeatureMixin,
    OutlierMixin,
    TransformerMixin,
    clone,
)
from sklearn.utils import Tags, check_random_state, get_tags  # pyrefly: ignore[missing-module-attribute]
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import (
    check_array,
    check_consistent_length,
    check_is_fitted,
    validate_data,  # pyrefly: ignore[missing-module-attribute]
)

from variform.config.choices import ActivationName, LikelihoodChoice, ProgressStyle
from variform.config.model import PART_OPTIONS, ModelConfig, PosteriorName
from variform.config.settling import epochs
from variform.config.training import TrainConfig
from variform.data.dataset import Dataset
from variform.data.reading import dataset_from
from variform.data.schema import Schema
from variform.evaluation import exploration
from variform.evaluation.components import fit_pca
from variform.evaluation.differences import mean_difference
from variform.evaluation.imputation import Imputation, impute
from variform.evaluation.latents import active_units
from variform.evaluation.log_likelihood import Scores, score
from variform.evaluation.outliers import attribute
from variform.model import build, starts, vae
from variform.model.likelihoods import LIKELIHOODS, usual_likelihood
from variform.model.priors import MixturePrior
from variform.objectives.build import build_objective
from variform.training.callbacks import Callbacks
from variform.training.fit import fit

Array = NDArray[Any]
Seed = int | np.random.RandomState | None
_WITH_OPTION = {
    name
    for option, users in PART_OPTIONS.items()
    if option != "size_factor"  # of a condition, which there is none of here
    for name in users.get("likelihood", ())
}
"""The likelihoods that have an option of their own, which there is none for here."""
_LIKELIHOOD_NAMES = [
    name
    for name, (family, _) in LIKELIHOODS.items()
    if family.support != "levels" and not family.takes_categories and name not in _WITH_OPTION
]
"""Those of a matrix of numbers."""
PriorName = Literal["auto", "normal", "mixture", "vamp", "flow", "uniform"]

_FLOATS = [np.float64, np.float32]
_FEWEST_HELD_OUT = 5  # fewer rows than that choose an epoch by chance
_FEWEST_LATENTS = 2  # of several columns: what is not linear may need more than factor analysis
_MOST_EPOCHS = 300  # of few rows: more would only learn them by heart
_MOST_EPOCHS_UNJUDGED = 40  # from factor analysis on, where no held-out rows say when to stop
_RATE_AT_FACTORS, _RATE = 1e-3, 3e-3
_FEWEST_ROWS = 20
_SURE = 2.0  # standard errors by which a simpler model must be better before it is said
_PROGRESS: tuple[ProgressStyle, ...] = ("none", "bar", "lines")
"""By `verbose`."""
_LOCK = threading.RLock()
"""Held while torch's global random state is borrowed: threads would draw each other's numbers."""


class SimplerModelWarning(UserWarning):
    """A simpler model does as well: it gives rows that were held out a higher density, or no latent is in use.

    `VAE.peers_` and `VAE.active_units_` have the numbers.
    """


class FewRowsWarning(UserWarning):
    """The rows are fewer than 20: what is learned of them says little of others."""


class FalseAlarmWarning(UserWarning):
    """The rows are too few for the rate of false alarms that was asked of a `VAEDetector`."""


def _choices(hint: Any) -> list[Any]:
    return [StrOptions(set(get_args(hint)))]  # pyrefly: ignore[bad-instantiation]


def _between(
    least: float, most: float | None = None, *, closed: str = "left", whole: bool = False
) -> Any:
    kind = Integral if whole else Real
    return Interval(kind, least, most, closed=closed)  # pyrefly: ignore[bad-instantiation, bad-argument-type]


_MODEL, _TRAIN = get_type_hints(ModelConfig), get_type_hints(TrainConfig)


class VAE(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    r"""A variational autoencoder as a scikit-learn transformer and density.

    `transform` gives the means of q(z|x), `score_samples` $\log p(x) \approx \log \tfrac1K \sum_k p(x|z_k)\,p(z_k) /
    q(z_k|x)$ with $z_k \sim q(z|x)$. Under the Gaussian likelihoods columns are standardised inside, and the density is
    one of the values as they came. The model itself is `vae_`, which `variform.save` writes to a file.

    Under a Gaussian likelihood training begins at factor analysis, and the networks then find what is not linear;
    see `variform.model.starts`. With `gaps` it does so under `iwae` alone, and only with the activations relu,
    leaky-relu, gelu, silu and softplus.

    Args:
        latent_dim: Number of latent dimensions, the columns of `transform`; `auto` is the number of factors, from 2 to
            32, under which factor analysis gives rows that it was not fitted to the highest density.
        likelihood: p(x|z), as in `ModelConfig`; `auto` is `bernoulli` where all values are 0 or 1, else
            `gaussian`, where the network gives a variance for each row and standardised column, or with `gaps`
            `gaussian-per-feature`, where each column has one.
        posterior: q(z|x), as in `ModelConfig`.
        prior: p(z), as in `ModelConfig`; `auto` is a `mixture` of as many Gaussians as the BIC finds among the factors,
            or `normal` where it finds one, and where training does not begin at factors.
        hidden: Widths of the encoder's hidden layers; the decoder mirrors them. () makes both linear.
        activation: Activation after each hidden layer.
        dropout: Probability with which a hidden unit is dropped in training.
        objective: `elbo`, or `iwae`, the importance-weighted bound.
        samples: Draws of z per row in the objective.
        beta: Weight of the KL term; 1 is the ELBO. Densities of a model with another beta are of that model still.
        epochs: Most passes over the training rows; by default 20, or as many as make 3,000 steps, but not over 300, and
            not over 40 where training begins at factor analysis and no rows are held out.
        batch_size: Rows per step; of fewer rows all.
        learning_rate: Step size of the optimiser; by default 0.001 where training begins at factor analysis, else
            0.003.
        warmup: Steps over which the weight of the KL term rises from 0 to `beta`.
        patience: Stop after this many epochs without a better loss of the rows held out; 0 for never.
        validation_fraction: Share of the rows that is held out: their loss chooses the epoch whose weights are kept.
            Where it makes fewer than 5, nothing is held out and the loss of all rows chooses.
        nll_samples: K, importance samples per row in `score_samples`.
        gaps: NaN is a missing value, which adds nothing to any density; without it NaN is refused.
        device: Where to train; afterwards the model is on the CPU. `auto` takes a GPU if there is one.
        warm_start: Have `fit` go on from the weights of the fit before, with its scaling, number of latents and prior;
            how it is trained may change. The rows held out are others, unless `random_state` is a number.
        verbose: What is said of the training on standard error: nothing with 0, a bar with 1 (where that is no terminal
            a line now and then), a line an epoch with 2.
        on_step, on_epoch: Called after each step and each epoch, one function of a `Moment` or several, as by
            `variform.fit`; one that raises `variform.StopTraining` ends the training.
        random_state: Seed of all that is drawn, as everywhere in scikit-learn.

    Attributes:
        vae_: The trained `variform.VAE`.
        history_: One dict per epoch, as `variform.History.rows`.
        n_iter_: Number of epochs.
        peers_: By how much simpler models give the rows that were held out a higher density, name to (mean, standard
            error) in nats a row, negative where the VAE is better: independent Gaussians, PCA with as many components,
            and one Gaussian with a full covariance (shrunk). Empty where no rows were held out, for likelihoods that
            are not Gaussian, with `gaps`, and with `sample_weight`.
        active_units_: Number of latents whose posterior mean varies over the training rows; with 0 of them the decoder
            ignores z.
        best_epoch_: The epoch whose weights the model has, counted from 1.
        held_out_: Numbers of the rows that were held out; all that count where none were.
        n_features_in_, feature_names_in_: As everywhere in scikit-learn.

    Raises:
        ValueError: from `fit`, for values that the likelihood does not take, and options out of range.

    Warns:
        FewRowsWarning: from `fit`, for fewer than 20 rows.

        SimplerModelWarning: from `fit`, when no latent is active, or when one of `peers_` is better by more than two
            standard errors.

    Reference:
        Kingma and Welling (2014); log p(x): Burda, Grosse and Salakhutdinov (2016), equation 8.

    Example:
        >>> X = np.random.default_rng(0).normal(size=(60, 4)) @ np.tri(4, 3)
        >>> model = VAE(latent_dim=1, epochs=5, random_state=0).fit(X)
        >>> model.transform(X).shape, model.score_samples(X).shape, model.sample(4).shape
        ((60, 1), (60,), (4, 3))
    """

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012 (scikit-learn's name and type)
        "latent_dim": [_between(1, whole=True), *_choices(Literal["auto"])],
        "likelihood": [StrOptions({"auto", *_LIKELIHOOD_NAMES})],  # pyrefly: ignore[bad-instantiation]
        "posterior": _choices(PosteriorName),
        "prior": _choices(PriorName),
        "hidden": ["array-like"],
        "activation": _choices(ActivationName),
        "dropout": [_between(0, 1)],
        "objective": _choices(Literal["elbo", "iwae"]),
        "samples": [_between(1, whole=True)],
        "beta": [_between(0)],
        "epochs": [_between(1, whole=True), None],
        "batch_size": [_between(1, whole=True)],
        "learning_rate": [_between(0, closed="neither"), None],
        "warmup": [_between(0, whole=True)],
        "patience": [_between(0, whole=True)],
        "validation_fraction": [_between(0, 1)],
        "nll_samples": [_between(1, whole=True)],
        "gaps": ["boolean"],
        "device": _choices(_TRAIN["device"]),
        "warm_start": ["boolean"],
        "verbose": ["verbose"],
        "on_step": [callable, list, tuple, None],
        "on_epoch": [callable, list, tuple, None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        latent_dim: int | Literal["auto"] = "auto",
        *,
        likelihood: LikelihoodChoice = "auto",
        posterior: PosteriorName = "diagonal",
        prior: PriorName = "auto",
        hidden: tuple[int, ...] = (128,),
        activation: ActivationName = "relu",
        dropout: float = 0.0,
        objective: Literal["elbo", "iwae"] = "elbo",
        samples: int = 1,
        beta: float = 1.0,
        epochs: int | None = None,
        batch_size: int = 128,
        learning_rate: float | None = None,
        warmup: int = 0,
        patience: int = 30,
        validation_fraction: float = 0.1,
        nll_samples: int = 100,
        gaps: bool = False,
        device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
        warm_start: bool = False,
        verbose: int = 0,
        on_step: Callbacks = None,
        on_epoch: Callbacks = None,
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
        self.warm_start = warm_start
        self.verbose = verbose
        self.on_step = on_step
        self.on_epoch = on_epoch
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None) -> Self:
        """Train on the rows of X (N, D).

        Args:
            X: The rows.
            y: Not looked at.
            sample_weight: How often each row counts, (N,), by default once: the loss is that of rows which stand there
                as often, and rows with 0 are left out.
        """
        del y
        X = _rows(self, X, learn=True)
        weights = _weights(sample_weight, X)
        _warn_of_few_rows(int(np.count_nonzero(weights)))
        self._fit(X, weights)
        _warn_of_simpler_models([self])
        return self

    def _fit(self, X: Array, weights: Array) -> Self:
        """Train on the rows that count, whose numbers in X stand in `held_out_`."""
        random = check_random_state(self.random_state)
        self._seed, self._dtype = int(random.randint(2**31 - 1)), X.dtype
        counting = np.flatnonzero(weights)
        X, weights = X[counting], weights[counting]
        before = self.vae_ if self.warm_start and hasattr(self, "vae_") else None
        came = dataset_from(torch.tensor(X), gaps=self.gaps)
        schema = self._schema(came.schema, X, weights, before)
        is_weighted = np.ptp(weights) > 0
        counts = torch.from_numpy(weights) if is_weighted else None
        data = Dataset(came.raw, schema, dtype=came.dtype, weights=counts)
        shuffled = random.permutation(len(X))
        count = int(self.validation_fraction * len(X))
        count = count if count >= _FEWEST_HELD_OUT else 0
        rest, held_out = np.sort(shuffled[count:]), np.sort(shuffled[: count or None])
        self.held_out_ = counting[held_out]
        train, valid = (data.take(torch.from_numpy(index)) for index in (rest, held_out))
        with _LOCK:
            model, is_near = self._begun(train, random, before)
            config = self._training(len(train), is_near=is_near, is_judged=count > 0)
            history = fit(
                build_objective(model, config),
                train,
                valid,
                config,
                progress=_PROGRESS[min(self.verbose, 2)],
                on_step=self.on_step,
                on_epoch=self.on_epoch,
            )
        self.vae_ = model.cpu()
        self.history_, self.best_epoch_, self.n_iter_ = (
            history.rows,
            history.best_epoch,
            len(history.rows),
        )
        means, _ = exploration.encode(self.vae_, train)
        self.active_units_ = active_units(torch.from_numpy(means))["count"]
        has_peers = count > 0 and not is_weighted
        self.peers_ = self._peers(train, valid, X[held_out]) if has_peers else {}
        return self

    def _training(self, rows: int, *, is_near: bool, is_judged: bool) -> TrainConfig:
        """How it is trained: from near a solution, as factor analysis is, by smaller steps, and by fewer where no rows
        that are held out say when to stop."""
        size = min(self.batch_size, rows)
        rate = _RATE_AT_FACTORS if is_near else _RATE
        most = _MOST_EPOCHS if is_judged or not is_near else _MOST_EPOCHS_UNJUDGED
        return TrainConfig(
            objective=self.objective,
            samples=self.samples,
            beta=self.beta,
            epochs=self.epochs or min(most, epochs(TrainConfig(batch_size=size), rows)),
            batch_size=size,
            learning_rate=self.learning_rate or rate,
            warmup=self.warmup,
            patience=self.patience,
            device=self.device,
            seed=self._seed,
        )

    def _schema(self, came: Schema, X: Array, weights: Array, before: vae.VAE | None) -> Schema:
        """What the rows are; of real numbers each column has mean 0 and standard deviation 1, as of the fit before."""
        if before is not None:
            return self._schema_before(came, before)
        names = getattr(self, "feature_names_in_", came.columns)
        schema = replace(came, source="X", columns=tuple(names))
        is_real = schema.levels != 2
        if self.likelihood != "auto":
            is_real = LIKELIHOODS[self.likelihood][0].support == "real"
        if not is_real:
            return schema
        from sklearn.preprocessing import StandardScaler

        scaler: Any = StandardScaler()  # of a constant column the scale is 1
        scaler.fit(X, sample_weight=weights if np.ptp(weights) else None)
        shift, scale = scaler.mean_.tolist(), scaler.scale_.tolist()
        return replace(schema, shift=tuple(shift), scale=tuple(scale))

    def _schema_before(self, came: Schema, before: vae.VAE) -> Schema:
        """What the rows of the fit before were, for a model that goes on from it.

        Args:
            came: What the rows of this fit are.
            before: The model.

        Raises:
            ValueError: for options that ask for another model, rows of other columns, and values that it does not take.
        """
        schema, config = before.schema, before.config
        assert schema is not None
        assert config is not None
        if came.shape != schema.shape:
            raise ValueError(
                f"warm_start needs rows of {schema.shape[0]} columns, as those of the fit before; got {came.shape[0]}. "
                "Give such rows, or set warm_start=False."
            )
        wanted = self._config(schema, config.dimensions)
        if self.prior == "auto":
            wanted = replace(wanted, prior=config.prior, components=config.components)
        if self.latent_dim != "auto":
            wanted = replace(wanted, latent_dim=int(self.latent_dim))
        has_gaps = bool(schema.gaps) == self.gaps
        if wanted != config or not has_gaps:
            changed = [
                name for name, value in vars(wanted).items() if value != getattr(config, name)
            ]
            changed += [] if has_gaps else ["gaps"]
            raise ValueError(
                f"warm_start goes on with the model of the fit before; another {', '.join(changed)} needs a new one. "
                "Leave it as it was, or set warm_start=False."
            )
        ranged = replace(schema, low=came.low, high=came.high, whole=came.whole, levels=came.levels)
        ranged.require(before.likelihood.support, config.likelihood)
        return schema

    def _begun(
        self, train: Dataset, random: np.random.RandomState, before: vae.VAE | None
    ) -> tuple[vae.VAE, bool]:
        """The model before training, and whether it is near a solution: at factor analysis, or where it was."""
        if before is not None:
            return copy.deepcopy(before), True
        if (
            train.shares is not None
        ):  # a start by rows as often as they count, which need not be exact
            train = train.take(torch.from_numpy(_resampled(train.shares.numpy())))
        rows = train.prepared(seed=0).double().numpy()
        latents = self.latent_dim
        if latents == "auto":
            latents = min(rows.shape[1], max(_FEWEST_LATENTS, starts.count_factors(rows, random)))
        # A search over NumPy's numbers gives those, which JSON does not know.
        config = self._config(train.schema, int(latents))
        model = build.build_vae(config, train.schema, seed=self._seed, moments=train.moments())
        # Of rows with gaps the encoder's answers are poor: the ELBO would have the decoder make up for that.
        is_blind = self.gaps and self.objective == "elbo"
        if is_blind or not starts.can_start(model):
            return model, False
        factors = starts.fit_factors(rows, min(int(latents), *rows.shape), random)
        clusters = None
        if self.prior == "auto" and len(rows) > 1 and factors.loadings.shape[1] == latents:
            clusters = starts.fit_clusters(starts.draw_factors(rows, factors, random), random)
        if clusters is not None and clusters.n_components > 1:
            config = replace(config, prior="mixture", components=clusters.n_components)
            model = build.build_vae(config, train.schema, seed=self._seed, moments=train.moments())
            assert isinstance(model.prior, MixturePrior)
            starts.start_at_clusters(model.prior, clusters)
        starts.start_at_factors(model, factors, rows)
        return model, True

    def _config(self, schema: Schema, latents: int) -> ModelConfig:
        likelihood = self.likelihood
        if likelihood == "auto":
            likelihood = usual_likelihood(schema)
        return ModelConfig(
            latent_dim=latents,
            likelihood=likelihood,
            posterior=self.posterior,
            prior="normal" if self.prior == "auto" else self.prior,
            hidden=tuple(int(width) for width in self.hidden),
            activation=self.activation,
            dropout=float(self.dropout),
        )

    def _peers(self, train: Dataset, valid: Dataset, X: Array) -> dict[str, tuple[float, float]]:
        """Simpler models on the rows that were held out, X as they came."""
        if not self.vae_.likelihood.is_gaussian or self.gaps:
            return {}
        own = self._log_px(X) - train.schema.log_jacobian
        fitted, scored = (part.prepared(seed=0).double().numpy() for part in (train, valid))
        peers: dict[str, tuple[float, float]] = {}
        for name, log_px in _peer_densities(fitted, scored, self.vae_).items():
            gain = mean_difference(torch.from_numpy(log_px), torch.from_numpy(own))
            peers[name] = gain.mean, gain.se
        return peers

    def transform(self, X: ArrayLike) -> Array:
        """The means of q(z|x), (N, latent_dim)."""
        X = _rows(self, X)
        with _LOCK:
            return exploration.encode(self._exact(), self._dataset(X))[0].astype(
                X.dtype, copy=False
            )

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

    def pareto_k(self, X: ArrayLike) -> Array:
        """How far to trust each of `score_samples`, (N,) float64: above 0.7 the true log p(x) is higher.

        By how much nobody knows. It is the shape of the tail of the importance weights, as of
        `variform.evaluation.pareto.pareto_k`; NaN where there is nothing to fit, as with fewer than 25 `nll_samples`.
        """
        return self._scores(_rows(self, X)).pareto_k.numpy()

    def attribute(self, X: ArrayLike, *, samples: int = 1000) -> Array:
        """What each column adds to minus `score_samples` of each row, (N, D) float64 in nats.

        Shapley values of the densities of parts of a row, see `variform.evaluation.outliers.attribute`; they add up to
        it, whatever the number of `samples` that they are estimated from.
        """
        return self._attributed(_rows(self, X), samples)

    def _attributed(self, X: Array, samples: int) -> Array:
        with _LOCK:
            found = attribute(
                self._exact(),
                self._dataset(X),
                score=-self._log_px(X),
                samples=samples,
                seed=self._seed,
                common=True,
            )
        return found.values

    def _scores(self, X: Array) -> Scores:
        with _LOCK:
            return score(
                self._exact(),
                self._dataset(X),
                samples=self.nll_samples,
                seed=self._seed,
                common=True,
            )

    def _log_px(self, X: Array) -> Array:
        scores = self._scores(X)
        lowest = np.finfo(np.float64).min
        return np.nan_to_num(
            scores.log_px.numpy(), nan=lowest, neginf=lowest
        )  # NaN: the networks overflowed

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
            raise ValueError(
                f"n_samples must be a whole number of at least 1; got {n_samples}. Use for example 100."
            )
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
        range_of = replace(
            schema, low=came.low, high=came.high, whole=came.whole, levels=None, source="X"
        )
        range_of.require(self.vae_.likelihood.support, self.vae_.config.likelihood)
        return Dataset(raw, schema)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()  # pyrefly: ignore[missing-attribute]
        tags.input_tags.allow_nan = bool(self.gaps)
        assert tags.transformer_tags is not None
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


class VAEDetector(OutlierMixin, BaseEstimator):
    r"""Outliers are the rows that variational autoencoders, each trained without a part of the rows, find unlikely.

    The score of a row is the mean of the models' log p(x). By default the threshold is the
    $m = \lfloor \alpha (n + 1) \rfloor$-th lowest of what each of the n rows gets from the model that did not see it: a
    new row of the same law is below it with a probability of about $m / (n + 1) \le \alpha$, and of somewhat less where
    rows are few, since the mean of several models is steadier than one. The rate of one fitted detector varies about
    that as Beta(m, n + 1 - m). With fewer than $1/\alpha - 1$ rows no threshold keeps the promise; it is then the
    lowest.

    Args:
        estimator: The `VAE`, not yet fitted; by default `VAE()`.
        contamination: Share of the rows given to `fit` that are outliers, which is then the share of them that is
            flagged; `auto` when it is not known.
        false_alarms: $\alpha$, used when `contamination` is `auto`.
        folds: Number of models, and of parts that the rows are cut into.
        random_state: Where it is not None, instead of the estimator's.

    Attributes:
        estimators_: The fitted `VAE`s.
        offset_: The threshold, in nats: `decision_function` is the score less `offset_`.
        false_alarms_: The rate of false alarms to expect, m / (n + 1); None where `contamination` is given.
        false_alarms_interval_: Its central 90 % interval over such tables, (low, high); None likewise.

    Warns:
        FalseAlarmWarning: from `fit`, when the rows are too few for `false_alarms`: the rate to expect is above it, or
            with a probability of 5 % it is more than twice as high.

        FewRowsWarning: from `fit`, for fewer than 20 rows.

        SimplerModelWarning: from `fit`, when most of the models have peers that are better, as of `VAE`.

    Reference:
        The threshold: Vovk (2015), on cross-conformal prediction; its spread: Vovk (2012), section 2.

    Example:
        >>> X = np.random.default_rng(0).normal(size=(200, 3))
        >>> detector = VAEDetector(VAE(latent_dim=1, epochs=20), random_state=0).fit(X)
        >>> detector.predict([[0.0, 0.0, 0.0], [50.0, 0.0, 0.0]])
        array([ 1, -1])
        >>> round(detector.false_alarms_, 4)
        0.0498
    """

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012
        "estimator": [VAE, None],
        "contamination": [*_choices(Literal["auto"]), _between(0, 0.5, closed="right")],
        "false_alarms": [_between(0, 1, closed="neither")],
        "folds": [_between(2, whole=True)],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator: VAE | None = None,
        *,
        contamination: float | Literal["auto"] = "auto",
        false_alarms: float = 0.05,
        folds: int = 5,
        random_state: Seed = None,
    ) -> None:
        self.estimator = estimator
        self.contamination = contamination
        self.false_alarms = false_alarms
        self.folds = folds
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None) -> Self:
        """Train on the rows of X (N, D) and find the threshold.

        Args:
            X: The rows.
            y: Not looked at.
            sample_weight: How often each row counts, (N,), in the training and for the threshold, as of `VAE.fit`.
        """
        del y
        X = _rows(self, X, learn=True)
        weights = _weights(sample_weight, X)
        X, weights = X[weights > 0], weights[weights > 0]
        _warn_of_few_rows(len(X))
        random = check_random_state(_seed_of(self))
        part = random.permutation(len(X)) % self.folds
        self.estimators_: list[VAE] = []
        unseen = np.empty(len(X))
        for number in range(min(self.folds, len(X))):
            is_out = part == number
            is_seen = ~is_out if len(X) > 1 else is_out
            own = {"random_state": random.randint(2**31 - 1)}
            model = _fitted(self, X[is_seen], weights[is_seen], **own)
            unseen[is_out] = model._log_px(X[is_out])
            self.estimators_.append(model)
        _warn_of_simpler_models(self.estimators_)
        self.false_alarms_, self.false_alarms_interval_ = None, None
        if self.contamination == "auto":
            self._promise(unseen, weights)
        elif sample_weight is None:
            self.offset_ = float(np.percentile(self._score(X), 100.0 * self.contamination))
        else:
            self.offset_ = _lowest(self._score(X), weights, self.contamination * weights.sum())
        return self

    def _promise(self, unseen: Array, weights: Array) -> None:
        """The threshold from scores of rows that were not trained on, and what it promises."""
        count = weights.sum()
        rank = max(1, math.floor(self.false_alarms * (count + 1) + 1e-9))
        self.offset_ = _lowest(unseen, weights, rank)
        self.false_alarms_ = float(rank / (count + 1))
        low, high = beta(rank, count + 1 - rank).interval(0.9)  # eq: false-alarms
        self.false_alarms_interval_ = float(low), float(high)
        if self.false_alarms_ > self.false_alarms or high > 2 * self.false_alarms:
            warnings.warn(
                f"{count:g} rows are too few for a rate of false alarms of {self.false_alarms:g}: "
                f"{self.false_alarms_:.3g} is to be expected, and of such detectors one in twenty exceeds {high:.3g}. "
                "Use more rows, or a higher false_alarms.",
                FalseAlarmWarning,
                stacklevel=3,
            )

    def _score(self, X: Array) -> Array:
        # Divided first: the lowest number there is, several times, would overflow.
        return np.sum(
            [model._log_px(X) / len(self.estimators_) for model in self.estimators_], axis=0
        )

    def score_samples(self, X: ArrayLike) -> Array:
        """The mean over the models of log p(x) of each row, in nats, (N,) float64; low for outliers."""
        return self._score(_rows(self, X))

    def attribute(self, X: ArrayLike, *, samples: int = 1000) -> Array:
        """Which columns make rows outliers: what each adds to minus `score_samples`, (N, D) float64 in nats.

        The mean over the models of `VAE.attribute`, whose sum over the columns is minus `score_samples`. A density has
        a unit: compare a column with itself in other rows.

        Example:
            >>> X = np.random.default_rng(0).normal(size=(200, 3))
            >>> detector = VAEDetector(VAE(latent_dim=1, epochs=5), folds=2, random_state=0).fit(X)
            >>> parts = detector.attribute([[0.0, 9.0, 0.0]], samples=100)
            >>> parts.argmax(), bool(np.allclose(parts.sum(1), -detector.score_samples([[0.0, 9.0, 0.0]])))
            (np.int64(1), True)
        """
        X = _rows(self, X)
        count = len(self.estimators_)
        return np.sum([model._attributed(X, samples) / count for model in self.estimators_], axis=0)

    def decision_function(self, X: ArrayLike) -> Array:
        """The score less the threshold, (N,): negative for outliers."""
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
    what is observed stays as it is, to the bit, and what is filled in for a row does not depend on the rows beside it,
    up to rounding.

    Args:
        estimator: The `VAE`, not yet fitted, whose `gaps` is taken to be True; by default `VAE(objective="iwae",
            samples=10, posterior="full")`, since what is known of the latents differs with what is missing.
        samples: Importance samples per row.
        refine: Steps by which what is known of each row's latents is improved before half of the samples are drawn from
            it, as of `variform.impute`; 0 to draw all from what the encoder answers.
        keep_empty_features: Fill columns without any observed value in `fit` with 0; otherwise `transform` leaves them
            out, with a warning at `fit`.
        random_state: Where it is not None, instead of the estimator's.

    Attributes:
        estimator_: The fitted `VAE`, of the columns that hold a value.
        vae_: Its model.

    Raises:
        ValueError: from `fit`, when no column holds a value.

    Warns:
        FewRowsWarning: from `fit`, for fewer than 20 rows.

        SimplerModelWarning: from `fit`, when no latent is active.

    Reference:
        Mattei and Frellsen (2019): the importance-weighted bound, and single imputation.

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
        "refine": [_between(0, whole=True)],
        "keep_empty_features": ["boolean"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator: VAE | None = None,
        *,
        samples: int = 1000,
        refine: int = 50,
        keep_empty_features: bool = False,
        random_state: Seed = None,
    ) -> None:
        self.estimator = estimator
        self.samples = samples
        self.refine = refine
        self.keep_empty_features = keep_empty_features
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None) -> Self:
        """Train on the rows of X (N, D), which may have gaps.

        Args:
            X: The rows.
            y: Not looked at.
            sample_weight: How often each row counts, (N,), as of `VAE.fit`.
        """
        del y
        X = _rows(self, X, learn=True)
        weights = _weights(sample_weight, X)
        self._is_known = np.asarray(~np.isnan(X[weights > 0]).all(axis=0))
        if not self._is_known.any():
            raise ValueError(
                "some column must hold a value; every value of X is missing. Give rows with values."
            )
        if not self._is_known.all() and not self.keep_empty_features:
            names = getattr(self, "feature_names_in_", np.arange(X.shape[1]))[~self._is_known]
            warnings.warn(
                f"columns without any value cannot be imputed and are left out: {', '.join(map(str, names))}. Drop "
                "them, or set keep_empty_features to fill them with 0.",
                stacklevel=2,
            )
        _warn_of_few_rows(int(np.count_nonzero(weights)))
        options: dict[str, Any] = (
            {} if self.estimator else {"objective": "iwae", "samples": 10, "posterior": "full"}
        )
        self.estimator_ = _fitted(
            self, X, weights, self._is_known, gaps=True, random_state=_seed_of(self), **options
        )
        self.vae_ = self.estimator_.vae_
        _warn_of_simpler_models([self.estimator_])
        return self

    def transform(self, X: ArrayLike) -> Array:
        """X with its gaps filled, (N, D)."""
        filled = _rows(self, X).copy()
        has_gaps = np.isnan(filled[:, self._is_known]).any(1)
        if has_gaps.any():
            filled[np.ix_(has_gaps, self._is_known)] = self._impute(filled[has_gaps], 0.9).values
        return (
            np.nan_to_num(filled, copy=False)
            if self.keep_empty_features
            else filled[:, self._is_known]
        )

    def impute(self, X: ArrayLike, *, level: float = 0.9) -> Imputation:
        """What is filled in and how sure that is: intervals that hold a missing value with probability `level`.

        Arrays (N, columns that held a value in `fit`), as `variform.impute` gives them.
        """
        return self._impute(_rows(self, X), level)

    def _impute(self, X: Array, level: float) -> Imputation:
        model, rows = self.estimator_._exact(), self.estimator_._dataset(X[:, self._is_known])
        with _LOCK:
            return impute(
                model,
                rows,
                samples=self.samples,
                level=level,
                refine=self.refine,
                seed=self.estimator_._seed,
                common=True,
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
    return np.asarray(
        validate_data(face, X, reset=learn, dtype=_FLOATS, order="C", ensure_all_finite=finite)
    )


def _weights(sample_weight: ArrayLike | None, X: Array) -> Array:
    """How often each row counts, (N,) float64.

    Raises:
        ValueError: for other than one number of at least 0 a row, and where no row counts.
    """
    if sample_weight is None:
        return np.ones(len(X))
    if isinstance(sample_weight, Real):
        sample_weight = np.full(len(X), sample_weight)
    weights = check_array(
        sample_weight, ensure_2d=False, dtype=np.float64, input_name="sample_weight"
    )
    if weights.ndim != 1:
        raise ValueError(
            f"sample_weight must be one number a row, (N,); got the shape {weights.shape}. Give one column."
        )
    check_consistent_length(X, weights)
    if (weights < 0).any():
        raise ValueError(
            f"sample_weight must be at least 0; got {weights.min():g}. Leave such rows out."
        )
    if not weights.any():
        raise ValueError(
            "sample_weight must have a row that counts; all are 0. Sample weights must contain at least one non-zero "
            "number."
        )
    return weights


def _resampled(shares: Array) -> Array:
    """Numbers of as many rows as there are, each as often as it counts, rounded up or down.

    Reference:
        Kitagawa (1996), appendix: deterministic resampling.
    """
    ends = np.cumsum(shares)
    return np.searchsorted(ends, np.arange(len(ends)) + 0.5).clip(max=len(ends) - 1)


def _lowest(scores: Array, weights: Array, count: float) -> float:
    """The score up to which rows, the lowest first, count as much as `count`."""
    order = np.argsort(scores, kind="stable")
    reached = np.cumsum(weights[order])
    return float(scores[order][min(int(np.searchsorted(reached, count)), len(scores) - 1)])


def _seed_of(face: Any) -> Seed:
    """The face's random_state, or where it has none its estimator's."""
    if face.random_state is not None or face.estimator is None:
        return face.random_state
    return face.estimator.random_state


def _fitted(
    face: Any, X: Array, weights: Array, columns: Array | None = None, **options: Any
) -> VAE:
    """The VAE of another face, trained on some columns of rows that were looked at already."""
    columns = np.ones(X.shape[1], bool) if columns is None else columns
    model: Any = VAE() if face.estimator is None else clone(face.estimator)
    if face.estimator is not None:  # of a method a clone would have a copy of its object
        options |= {name: getattr(face.estimator, name) for name in ("on_step", "on_epoch")}
    model.set_params(**options)
    model._validate_params()
    model.n_features_in_ = int(columns.sum())
    if hasattr(face, "feature_names_in_"):
        model.feature_names_in_ = face.feature_names_in_[columns]
    return model._fit(np.ascontiguousarray(X[:, columns]), weights)


def _warn_of_few_rows(count: int) -> None:
    """Warn where a fit has few rows."""
    if count < _FEWEST_ROWS:
        warnings.warn(
            f"{count} rows are fewer than {_FEWEST_ROWS}: none can be held out to judge what is learned, and new "
            "rows may look far too unlikely. Use more rows, or a simpler model such as a Gaussian or PCA.",
            FewRowsWarning,
            stacklevel=3,
        )


def _warn_of_simpler_models(models: list[VAE]) -> None:
    """Say that most of `models`, which one fit of a user's trained, have no latent in use or are worse than peers."""
    # One row alone does not tell: its posterior mean has no variance in any model.
    collapsed = [model for model in models if model.active_units_ == 0 and len(model.held_out_) > 1]
    if 2 * len(collapsed) > len(models):
        warnings.warn(
            f"no latent dimension is active (0 of {collapsed[0].vae_.latent_dim}): the decoder ignores z, and every "
            "row is reconstructed as the same one. Try a smaller learning_rate and batch_size, a warmup, or beta of at "
            "most 1.",
            SimplerModelWarning,
            stacklevel=3,
        )
        return
    better: list[tuple[float, str]] = []
    for model in models:
        clear_gains = [
            (gain, name) for name, (gain, error) in model.peers_.items() if gain > _SURE * error
        ]
        better += [max(clear_gains)] if clear_gains else []
    if 2 * len(better) > len(models):
        gain, name = max(better)
        warnings.warn(
            f"{name} gives the rows that were held out a higher density than this VAE, by {gain:.3g} nats a row "
            "(peers_). Try latent_dim='auto', a smaller learning_rate or more epochs, or take the simpler model.",
            SimplerModelWarning,
            stacklevel=3,
        )


def _peer_densities(fitted: Array, scored: Array, model: vae.VAE) -> dict[str, Array]:
    """log p(x) of prepared rows under simpler models, by name."""
    from sklearn.covariance import LedoitWolf

    least = model.likelihood.min_std
    mean, std = fitted.mean(0), np.maximum(fitted.std(0), least)
    independent = (
        -0.5 * np.square((scored - mean) / std) - np.log(std) - 0.5 * math.log(2 * math.pi)
    )
    covariance = LedoitWolf().fit(fitted).covariance_ + least**2 * np.eye(fitted.shape[1])
    densities = {
        "a Gaussian": multivariate_normal(mean, covariance).logpdf(scored).reshape(-1),
        "independent Gaussians": independent.sum(1),
    }
    densities["PCA"] = fit_pca(fitted, model.latent_dim).bounded(least).log_prob(scored)
    return densities
