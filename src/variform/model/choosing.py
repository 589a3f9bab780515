"""What of a model follows from the rows that it is for: the likelihood, and the number of latent dimensions.

| data | likelihood |
|---|---|
| a table with text, declared kinds or gaps | `mixed` |
| every value is 0 or 1, or is made so | `bernoulli` |
| tables of whole numbers from 0 that vary as counts do, unless a Gaussian is clearly likelier | `poisson` |
| the same where a column varies more than that | `negative-binomial` |
| images | `gaussian-shared` |
| other tables | `gaussian` |

"Likelier" is of validation rows under laws of independent columns that are fitted to the training rows.
`benchmarks/defaults.py` prints what the rest was decided by.
"""

import dataclasses
import math

import torch
from torch import Tensor

from variform.config.choices import COUNTED, LikelihoodName
from variform.config.data import DataConfig
from variform.config.model import CODED, LATENTS, ModelConfig
from variform.config.words import counted
from variform.data.dataset import Dataset, Splits
from variform.data.dimension import coded, latents, spread
from variform.data.marginals import Marginals
from variform.model.likelihoods.counts import NegativeBinomialLikelihood, PoissonLikelihood
from variform.model.likelihoods.names import usual_likelihood

_SURE = 3.0  # standard errors of a variance over a mean
_CLEAR = 2.0  # of the mean gain of one law over another
_OF_A_CURVE = 0.99  # of the variance of columns that are one quantity


def chosen_model(
    config: ModelConfig, data: DataConfig, splits: Splits
) -> tuple[ModelConfig, tuple[str, ...]]:
    """The configuration with a likelihood and a number of latent dimensions, and why they are those.

    What is given stays, and is not said. Training rows are looked at, and validation rows where two laws are compared;
    test rows are not.

    Args:
        config: What the user asks for.
        data: How the rows were read.
        splits: The rows.

    Returns:
        The configuration, and a few words on each choice.

    Example:
        >>> from variform.data.reading import read
        >>> config, reasons = chosen_model(ModelConfig(latent_dim=2), DataConfig(), read("digits"))
        >>> config.likelihood, reasons
        ('gaussian-shared', ('likelihood gaussian-shared (one noise variance for all pixels)',))
    """
    reasons = []
    if config.likelihood == "auto":
        name, why = _likelihood(data, splits)
        config = dataclasses.replace(config, likelihood=name)
        reasons.append(f"likelihood {name} ({why})")
    is_told = config.latents or config.posterior in CODED
    if config.latent_dim is None and is_told:
        config = dataclasses.replace(config, latent_dim=config.latent_width)
    if config.latent_dim is None:
        count, why = _latents(config, splits)
        config = dataclasses.replace(config, latent_dim=count)
        reasons.append(f"{counted(count, 'latent dimension')} ({why})")
    return config, tuple(reasons)


def _likelihood(data: DataConfig, splits: Splits) -> tuple[LikelihoodName, str]:
    schema = splits.schema
    has_gaps = any(schema.gaps)
    if schema.kinds:
        return "mixed", "columns of several kinds, each with a law of its own"
    if has_gaps and schema.kind == "table" and data.cells == "auto":
        return "mixed", "cells are missing"
    usual = usual_likelihood(schema)
    if usual == "bernoulli":
        return usual, "every value is 0 or 1"
    may_be_counts = schema.kind == "table" and data.scaling in ("auto", "none") and not has_gaps
    if may_be_counts and (name := _count_law(splits)):
        varies = "more than" if name == "negative-binomial" else "as"
        return name, f"whole numbers from 0 that vary {varies} counts of independent events do"
    if schema.kind == "image":
        return usual, "one noise variance for all pixels"
    if usual == "gaussian":
        return usual, "numbers; a noise variance for each column, which depends on z"
    return usual, "numbers with gaps; a noise variance for each column"


def _count_law(splits: Splits) -> LikelihoodName | None:
    """The law of counts of a table, None where its columns are none, or a Gaussian is likelier.

    The variance of N counts of independent events is their mean, with a standard error of about
    $\\sqrt{2 / N}$ of it.
    """
    schema = splits.schema
    if not all(schema.whole) or min(schema.low) < 0:
        return None
    rows = _raw_marginals(splits.train)
    varies = rows.variance > 0
    if not bool(varies.any()):
        return None
    ratio = rows.variance[varies] / rows.mean[varies]
    error = _SURE * math.sqrt(2 / rows.rows)
    if bool((ratio < 1 - error).any()):
        return None
    rows = rows.at(torch.nonzero(varies).flatten())
    held_out = _raw_rows(splits.valid)[:, varies]
    size = (len(rows.mean),)
    is_over = bool((ratio > 1 + error).any())
    family = NegativeBinomialLikelihood if is_over else PoissonLikelihood
    gain = family(size).independent(rows).log_prob(held_out) - _rounded_gaussian(rows, held_out)
    if gain.mean() < -_CLEAR * gain.std() / math.sqrt(len(gain)):
        return None
    return "negative-binomial" if is_over else "poisson"


def _raw_marginals(data: Dataset) -> Marginals:
    """Marginals in the units of the source."""
    mean, variance = (moment.flatten() for moment in data.moments())
    scale = torch.tensor(data.schema.scale, dtype=torch.float64)
    shift = torch.tensor(data.schema.shift, dtype=torch.float64)
    return Marginals(len(data), mean * scale + shift, variance * scale**2, lambda: [])


def _raw_rows(data: Dataset) -> Tensor:
    return data.gather(torch.from_numpy(spread(len(data)))).double()


def _rounded_gaussian(rows: Marginals, x: Tensor) -> Tensor:
    """The logarithm of what independent Gaussians give to the whole numbers x, (N,): from x - 1/2 to x + 1/2."""
    std = rows.variance.sqrt()
    distance = (x - rows.mean).abs() / std  # both ends on one side, where the tail keeps its digits
    half = 0.5 / std
    nearer, further = (torch.special.log_ndtr(half * sign - distance) for sign in (1, -1))
    return (nearer + torch.log1p(-(further - nearer).exp().clamp_max(1 - 1e-12))).sum(-1)


def _latents(config: ModelConfig, splits: Splits) -> tuple[int, str]:
    """As many latents as PCA has components that say something, and fewer than columns; 10 for images."""
    schema, train = splits.schema, splits.train
    columns = math.prod(schema.shape)
    if schema.kind == "image":
        return min(LATENTS, max(1, columns - 1)), "usual for images"
    if config.likelihood in COUNTED:
        rows = _raw_rows(train).log1p().numpy()  # which the encoder sees
    else:
        some = train.take(torch.from_numpy(spread(len(train))))
        rows = some.prepared(seed=0).double().flatten(1).numpy()
    are_categories = [bool(names) for names in schema.categories] or [False] * columns
    share = _OF_A_CURVE if splits.scaling == "common" else None
    count, why = latents(coded(rows, are_categories, standardise=share is None), len(train), share)
    most = max(1, columns - 1)
    if count > most:
        return most, "one less than there are columns, which PCA of as many would copy"
    return count, why
