"""How good is p(x)? ELBO and importance-sampled log-likelihood, per example and with standard errors."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from variform.data import Dataset, Schema
from variform.distributions import kl_per_dimension
from variform.objectives import log_weights
from variform.vae import VAE, evaluating

_FLOATS_AT_ONCE = 2**22  # 16 MiB of decoder output: small enough to stay near the processor's cache


@dataclass(frozen=True)
class Estimate:
    """A mean over examples, its standard error and the number of examples.

    Example:
        >>> Estimate.of(torch.tensor([1.0, 3.0])).to_dict()
        {'mean': 2.0, 'se': 1.0, 'n': 2}
    """

    mean: float
    se: float
    n: int

    @classmethod
    def of(cls, values: Tensor) -> "Estimate":
        """The mean of `values` (N,) and its standard error s / sqrt(N)."""
        values = values.double()
        se = values.std().item() / math.sqrt(len(values)) if len(values) > 1 else math.nan
        return cls(values.mean().item(), se, len(values))

    @classmethod
    def root_mean(cls, squares: Tensor) -> "Estimate":
        """The root of the mean of `squares` (N, ...), its standard error by the delta method, se / (2 root)."""
        square = cls.of(squares.double().flatten(1).mean(1) if squares.ndim > 1 else squares)
        root = math.sqrt(square.mean)
        return cls(root, square.se / (2 * root) if root else 0.0, square.n)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, the standard error None where one row gives none."""
        return asdict(self) | {"se": None if math.isnan(self.se) else self.se}


@dataclass(frozen=True)
class Scores:
    """What `score` finds, one entry per example (N, ...), float64; densities in nats.

    Args:
        elbo: log_likelihood - kl.
        log_likelihood: E_q[log p(x|z)], from all k samples.
        kl: KL(q(z|x) || p(z)) in closed form.
        kl_per_dimension: The same by latent dimension, (N, latent_dim).
        log_px: Importance-sampled log p(x); a lower bound in expectation that rises with k.
        ess: Effective number of importance samples, (sum w)^2 / sum w^2.
        means: Posterior means, (N, latent_dim).
        squared_error: Squared reconstruction error in the data's own units, (N, number of dimensions).
    """

    elbo: Tensor
    log_likelihood: Tensor
    kl: Tensor
    kl_per_dimension: Tensor
    log_px: Tensor
    ess: Tensor
    means: Tensor
    squared_error: Tensor


def score(vae: VAE, data: Dataset, *, samples: int, seed: int = 0, progress: bool = False) -> Scores:
    """ELBO, log p(x) by importance sampling, and reconstruction error of every row.

    log p(x) is estimated by log (1/k) sum_i w_i, the sum in float64 with the largest weight taken out; the encoder
    runs once per row, the k samples come in chunks.

    Args:
        vae: The model; it is evaluated without dropout.
        data: The rows.
        samples: k.
        seed: Seed of every draw; the global random state is left as it was.
        progress: Show a progress bar on a terminal.

    Raises:
        ValueError: for samples < 1 or no rows.

    Reference:
        Burda, Grosse and Salakhutdinov (2016), equation 8.
    """
    if samples < 1:
        raise ValueError(f"samples must be at least 1; got {samples}. Use for example 1000.")
    if len(data) == 0:
        raise ValueError("there must be at least one row to evaluate; got none. Choose another split.")
    rows = max(1, min(len(data), 256, _FLOATS_AT_ONCE // math.prod(vae.event_shape)))
    chunk = max(1, _FLOATS_AT_ONCE // (rows * math.prod(vae.event_shape)))
    count = math.ceil(len(data) / rows)
    with torch.random.fork_rng(), evaluating(vae):
        torch.manual_seed(seed)
        parts = [
            _score_batch(vae, data, vae.like(x), samples, chunk)
            for x in track(
                data.batches(rows, seed=seed),
                "evaluating",
                total=count,
                console=Console(stderr=True),
                disable=not (progress and Console(stderr=True).is_terminal),
            )
        ]
    joined = {name: torch.cat([part[name] for part in parts]).cpu() for name in parts[0]}
    jacobian = vae.log_jacobian(data.schema)
    for name in ("elbo", "log_likelihood", "log_px"):
        joined[name] += jacobian
    return Scores(**joined)


def _score_batch(vae: VAE, data: Dataset, x: Tensor, samples: int, chunk: int) -> dict[str, Tensor]:
    q = vae.encode(x)
    log_sum = log_square = torch.full((len(x),), -math.inf, dtype=torch.float64, device=x.device)
    likelihood = torch.zeros_like(log_sum)
    for start in range(0, samples, chunk):
        weights = log_weights(vae, x, min(chunk, samples - start), q=q)
        log_weight = weights.log_weight.double()
        log_sum = torch.logaddexp(log_sum, log_weight.logsumexp(0))
        log_square = torch.logaddexp(log_square, (2 * log_weight).logsumexp(0))
        likelihood += weights.log_likelihood.sum(0, dtype=torch.float64)
    divergences = kl_per_dimension(q, vae.latent_prior()).double()
    likelihood /= samples
    reconstruction = vae.decode(q.mean).mean
    error = (data.schema.restore(x) - data.schema.restore(reconstruction)).double()
    return {
        "elbo": likelihood - divergences.sum(1),
        "log_likelihood": likelihood,
        "kl": divergences.sum(1),
        "kl_per_dimension": divergences,
        "log_px": log_sum - math.log(samples),  # eq: importance-sampling
        "ess": (2 * log_sum - log_square).exp(),
        "means": q.mean.double(),
        "squared_error": error.square().flatten(1),
    }


def per_column(schema: Schema, squared_error: Tensor) -> dict[str, dict[str, Any]]:
    """The root mean square error of every column of a table, in its own unit, from squared errors (N, columns)."""
    columns = zip(schema.columns, squared_error.T, strict=True)
    return {name: Estimate.root_mean(errors).to_dict() for name, errors in columns}


def bits_per_dim(vae: VAE, data: Dataset, nll: Tensor) -> Estimate:
    """Negative log-likelihood in bits per pixel, for images.

    For zeros and ones NLL / (D ln 2). Where a density of intensities stands for discrete levels, each level takes an
    interval of width 1 / (levels - 1), so that (NLL + D ln(levels - 1)) / (D ln 2).

    Args:
        vae: The model.
        data: The rows.
        nll: (N,), in nats.
    """
    dimensions = math.prod(data.schema.shape)
    width = 0.0
    if not vae.likelihood.unit_interval and data.schema.seen_levels:
        width = math.log(data.schema.seen_levels - 1)
    return Estimate.of((nll / dimensions + width) / math.log(2))  # eq: bits-per-dim
