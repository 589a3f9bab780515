r"""Where the training of a table's VAE begins: at factor analysis, which is a VAE with linear networks at its optimum.

A network that begins at random must first find, by thousands of small steps, what linear algebra finds at once: noise
of very different sizes, and columns that nearly determine each other. From factor analysis on, training finds what is
not linear.
"""

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from variform.model.networks import MLP
from variform.model.posteriors import DiagonalPosterior, FullCovariancePosterior
from variform.model.priors import MixturePrior
from variform.model.vae import VAE

if TYPE_CHECKING:
    from sklearn.decomposition import FactorAnalysis

Array = NDArray[Any]

FACTORS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 25, 32)
"""Numbers of factors that are tried, until the density of held-out rows has not risen for some of them."""
COMPONENTS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20)
"""Numbers of Gaussians that are tried, until the BIC has not fallen for some of them."""
_WORSE_IN_A_ROW = 3
_FOLDS = 3
_ROUNDS = 10  # of filling gaps
_MANY = 16  # factors that gaps are filled under before factors are counted
_LEAST_NOISE = 1e-6  # variance, of columns of variance 1
_RAW = torch.linspace(-20, 20, 8001, dtype=torch.float64)

# phi(a) - phi(-a) = slope * a: what two hidden units need to hand on a number as it is.
_SLOPES = {"relu": 1.0, "leaky-relu": 1.01, "gelu": 1.0, "silu": 1.0, "softplus": 1.0}


@dataclass(frozen=True)
class Factors:
    r"""Factor analysis, $x = \mu + \Lambda z + \epsilon$ with $z \sim N(0, I)$ and $\epsilon \sim N(0, \Psi)$.

    The factors are turned so that $\Lambda^\top \Psi^{-1} \Lambda$ is diagonal: q(z|x) then has independent latents.
    They are in the order of how well they are seen.

    Args:
        mean: (D,).
        loadings: $\Lambda$, (D, q).
        noise: The diagonal of $\Psi$, (D,).
    """

    mean: Array
    loadings: Array
    noise: Array

    @property
    def precision(self) -> Array:
        r"""Of each factor, given x: $1 + \Lambda^\top \Psi^{-1} \Lambda$, (q,)."""
        return 1 + (self.loadings**2 / self.noise[:, None]).sum(0)

    @property
    def weights(self) -> Array:
        r"""Matrix of E[z|x], $(1 + \Lambda^\top \Psi^{-1} \Lambda)^{-1} \Lambda^\top \Psi^{-1}$, (q, D)."""
        return (self.loadings / self.noise[:, None] / self.precision).T  # eq: factor-analysis


def fit_factors(x: Array, count: int, random: np.random.RandomState) -> Factors:
    """Factor analysis with `count` factors at its maximum likelihood, of rows that may have gaps (NaN).

    Gaps are filled with draws given what is observed, and the fit is repeated, a few times (stochastic EM).

    Args:
        x: Rows (N, D), each column of about the variance 1.
        count: Number of factors, at most D and N.
        random: For the draws.

    Reference:
        Bartholomew, Knott and Moustaki (2011), section 3.4; the draws: Celeux and Diebolt (1985).

    Example:
        >>> random = np.random.RandomState(0)
        >>> x = random.normal(size=(500, 1)) * [1.0, 1.0, 0.0] + 0.1 * random.normal(size=(500, 3))
        >>> fit_factors(x, 1, random).loadings.round(1).shape
        (3, 1)
    """
    gaps = np.isnan(x)
    factors = _factors(np.where(gaps, np.nanmean(x, 0), x), count)
    if gaps.any():
        for _ in range(_ROUNDS):
            factors = _factors(_filled(x, gaps, factors, random), count)
    return factors


def _factors(x: Array, count: int) -> Factors:
    """Factor analysis of rows without gaps; a column that does not vary has the least noise and no loadings."""
    columns = x.shape[1]
    loadings = np.zeros((columns, count))
    noise = np.full(columns, _LEAST_NOISE)
    varies = x.var(0) > _LEAST_NOISE
    if varies.any():
        analysed = _analysed(x[:, varies], min(count, int(varies.sum())))
        noise[varies] = np.maximum(analysed.noise_variance_, _LEAST_NOISE)
        loadings[varies, : len(analysed.components_)] = analysed.components_.T
    information, turn = np.linalg.eigh((loadings.T / noise) @ loadings)
    best_seen_first = np.argsort(-information)
    return Factors(x.mean(0), loadings @ turn[:, best_seen_first], noise)


def _analysed(x: Array, count: int) -> "FactorAnalysis":
    """Factor analysis with `count` factors, or with as many as the rows have directions in which they vary."""
    from sklearn.decomposition import FactorAnalysis
    from sklearn.exceptions import ConvergenceWarning

    x = _condensed(x)
    directions = int(np.linalg.matrix_rank(x - x.mean(0)))
    count = min(count, directions)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # training goes on from there
        return FactorAnalysis(count, svd_method="lapack", tol=1e-3, max_iter=500).fit(x)


def _condensed(x: Array) -> Array:
    """At most 2 D rows of the same mean and covariance: all that factor analysis looks at."""
    rows, columns = x.shape
    if rows <= 2 * columns:
        return x
    covariance = np.cov(x.T, bias=True).reshape(columns, columns)
    variances, axes = np.linalg.eigh(covariance)
    root = np.sqrt(columns * np.maximum(variances, 0.0))[:, None] * axes.T
    return x.mean(0) + np.vstack([root, -root])


def _filled(x: Array, gaps: Array, factors: Factors, random: np.random.RandomState) -> Array:
    """The rows, with draws from p(x_m | x_o) for what is missing."""
    z = draw_factors(x, factors, random)
    noise = random.normal(size=x.shape) * np.sqrt(factors.noise)
    draws = factors.mean + z @ factors.loadings.T + noise
    return np.where(gaps, draws, x)


def posterior(factors: Factors, x: Array) -> tuple[Array, Array]:
    """Mean (N, q) and covariance (N, q, q) of the factors of every row given what is observed of it."""
    scaled = factors.loadings / factors.noise[:, None]
    is_observed = (~np.isnan(x)).astype(float)
    information = np.einsum("nd,di,dj->nij", is_observed, scaled, factors.loadings, optimize=True)
    covariance = np.linalg.inv(np.eye(scaled.shape[1]) + information)
    observed = np.nan_to_num(x - factors.mean) @ scaled
    mean = (covariance @ observed[:, :, None])[:, :, 0]
    return mean, covariance


def _linear_encoder(factors: Factors, x: Array) -> tuple[Array, Array, Array]:
    """What an encoder that sees rows with the mean in their gaps does best: weights (q, D), offset and std (q,).

    Without gaps the posterior is linear in x, and that is it. With gaps its mean is regressed on such rows, and the
    variance of what is left is the posterior's.
    """
    if not np.isnan(x).any():
        return factors.weights, np.zeros(len(factors.precision)), factors.precision**-0.5
    from sklearn.linear_model import Ridge

    mean, covariance = posterior(factors, x)
    filled = np.nan_to_num(x - np.nanmean(x, 0))
    linear = Ridge(alpha=1.0).fit(filled, mean)
    residual = np.square(mean - linear.predict(filled)).mean(0)
    variance = residual + np.diagonal(covariance, axis1=1, axis2=2).mean(0)
    weights = linear.coef_.reshape(-1, x.shape[1])
    return weights, np.atleast_1d(linear.intercept_), np.sqrt(variance)


def draw_factors(x: Array, factors: Factors, random: np.random.RandomState) -> Array:
    """One draw of the factors of every row from their law given what is observed of it, (N, q)."""
    mean, covariance = posterior(factors, x)
    normal = random.normal(size=(*mean.shape, 1))
    return mean + (np.linalg.cholesky(covariance) @ normal)[:, :, 0]


def count_factors(x: Array, random: np.random.RandomState) -> int:
    """The number of factors under which held-out rows have the highest density, by 3-fold cross-validation.

    Args:
        x: Rows (N, D), each column of about the variance 1. Gaps (NaN) are filled with draws under many factors.
        random: For the folds and the draws.

    Example:
        >>> random = np.random.RandomState(0)
        >>> loadings = random.normal(size=(2, 9))
        >>> count_factors(random.normal(size=(500, 2)) @ loadings + random.normal(size=(500, 9)), random)
        2
    """
    gaps = np.isnan(x)
    if gaps.any():
        many = max(1, min(x.shape[1] // 2, len(x) // 10, _MANY))
        x = _filled(x, gaps, fit_factors(x, many, random), random)
    x = x[:, x.var(0) > _LEAST_NOISE]
    rows, columns = x.shape
    fold = random.permutation(rows) % _FOLDS
    most = min(columns, rows // _FOLDS)
    scores: dict[int, float] = {}
    for count in FACTORS:
        if count > most:
            break
        densities = [
            _analysed(x[fold != held_out], count).score(x[fold == held_out])
            for held_out in range(_FOLDS)
        ]
        scores[count] = float(np.mean(densities))
        latest = list(scores.values())[-_WORSE_IN_A_ROW:]
        if max(latest) < max(scores.values()):
            break
    return max(scores, key=lambda count: scores[count], default=1)


def fit_clusters(z: Array, random: np.random.RandomState) -> Any:
    """A mixture of Gaussians with independent dimensions; the BIC chooses how many.

    Args:
        z: Points (N, q).
        random: For the first guesses.

    Reference:
        Schwarz (1978), for the BIC.

    Example:
        >>> random = np.random.RandomState(0)
        >>> fit_clusters(np.vstack([random.normal(size=(99, 2)), random.normal(9, 1, (99, 2))]), random).n_components
        2
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    best, least = None, np.inf
    worse_in_a_row = 0
    for count in COMPONENTS:
        if count > len(z):
            break
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # training goes on from there
            mixture = GaussianMixture(
                count, covariance_type="diag", n_init=2, reg_covar=1e-4, random_state=random
            )
            mixture.fit(z)
        bic = mixture.bic(z)
        if bic < least:
            best, least = mixture, bic
            worse_in_a_row = 0
        else:
            worse_in_a_row += 1
        if worse_in_a_row == _WORSE_IN_A_ROW:
            break
    assert best is not None
    return best


def can_start(vae: VAE) -> bool:
    """Whether `start_at_factors` can do anything for a model: it has a Gaussian likelihood, and networks that can be
    linear."""
    config = vae.config
    is_linear = config is not None and (not config.hidden or config.activation in _SLOPES)
    has_gaussian_posterior = isinstance(vae.posterior, DiagonalPosterior | FullCovariancePosterior)
    is_gaussian = vae.likelihood.is_gaussian and has_gaussian_posterior
    has_mlps = isinstance(vae.encoder, MLP) and isinstance(vae.decoder, MLP)
    return is_linear and is_gaussian and has_mlps


@torch.no_grad()
def start_at_factors(vae: VAE, factors: Factors, x: Array) -> None:
    r"""Set the weights so that the VAE is the factor analysis: encoder, decoder and noise are linear and optimal.

    Two hidden units hand on one number, $\phi(a) - \phi(-a) \propto a$; all others keep their random weights and count
    for nothing at first. Where the networks are narrower than that, only the leading factors are set.

    Args:
        vae: A model for which `can_start` is true.
        factors: Fitted to the rows x.
        x: Prepared training rows, (N, D).
    """
    config = vae.config
    encoder, decoder = vae.encoder, vae.decoder
    assert config is not None
    assert isinstance(encoder, MLP)
    assert isinstance(decoder, MLP)
    assert isinstance(vae.posterior, DiagonalPosterior | FullCovariancePosterior)
    dims = vae.latent_dim
    layers = (*config.hidden, *(config.decoder_hidden or ()))
    count = min([dims, factors.loadings.shape[1], *(width // 2 for width in layers)])
    slope = _SLOPES.get(config.activation, 1.0)

    weights, offset, std = (torch.from_numpy(part[:count]) for part in _linear_encoder(factors, x))
    encoded = torch.zeros(encoder.output.out_features, dtype=torch.float64)
    encoded[:count] = offset
    idle = torch.ones(dims - count, dtype=std.dtype)  # latents without a factor follow the prior
    encoded[dims : 2 * dims] = _raw_of(torch.cat([std, idle]), vae.posterior)
    _make_linear(encoder, weights, encoded, slope)

    left_out = torch.from_numpy(factors.loadings[:, count:]).square().sum(1)
    noise = torch.from_numpy(factors.noise) + left_out
    decoded = vae.likelihood.start_at_noise(
        torch.from_numpy(factors.mean), noise.clamp_min(2 * vae.likelihood.min_std**2)
    )
    _make_linear(decoder, torch.from_numpy(factors.loadings[:, :count]), decoded, slope)


@torch.no_grad()
def start_at_clusters(prior: MixturePrior, mixture: Any) -> None:
    """Set the components of a mixture prior to those of a fitted mixture, as `fit_clusters` gives it, of as many."""
    prior.logits.copy_(torch.from_numpy(np.log(mixture.weights_)))
    prior.loc.copy_(torch.from_numpy(mixture.means_))
    prior.log_var.copy_(torch.from_numpy(np.log(mixture.covariances_)))


def _raw_of(std: Tensor, posterior: DiagonalPosterior | FullCovariancePosterior) -> Tensor:
    """What the encoder must give for a standard deviation: the family's map, read backwards."""
    params = torch.stack([torch.zeros_like(_RAW), _RAW], -1).unsqueeze(-1)  # (G, 2, 1)
    reached = DiagonalPosterior(1, std=posterior.std)(params).stddev.squeeze(-1)
    return torch.from_numpy(np.interp(std.log().numpy(), reached.log().numpy(), _RAW.numpy()))


def _make_linear(network: MLP, matrix: Tensor, offset: Tensor, slope: float) -> None:
    """Make the leading outputs `matrix` @ input, by pairs of hidden units, and add `offset` to all."""
    layers = [layer for layer in network.layers if isinstance(layer, nn.Linear)]
    rows, columns = matrix.shape
    output = network.output
    output.weight.zero_()
    output.bias.copy_(offset)
    if not layers:
        output.weight[:rows, :columns] = matrix
        return
    inner, outer = torch.eye(columns), matrix
    if rows < columns:  # the fewer of inputs and outputs are handed on
        inner, outer = matrix, torch.eye(rows)
    numbers = len(inner)
    units = 2 * numbers
    pairs = torch.cat([torch.eye(numbers), -torch.eye(numbers)])
    for layer in layers:
        layer.weight[:units] = 0.0
        layer.bias[:units] = 0.0
    first, *others = layers
    first.weight[:units, : inner.shape[1]] = pairs.to(inner) @ inner
    for layer in others:
        layer.weight[:units, :units] = pairs @ pairs.T / slope
    output.weight[:rows, :units] = (outer @ pairs.T.to(outer)) / slope
