"""Outliers: which rows are unlikely, by three scores, and which columns make them so."""

import functools
import itertools
import math
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from variform.config.checks import Count, Natural, checked
from variform.data.dataset import Dataset
from variform.data.schema import Schema
from variform.distributions.gaussian import DiagonalGaussian
from variform.distributions.law import Law
from variform.evaluation.log_likelihood import floats_per_decode, score
from variform.evaluation.partial import drawn, proposals
from variform.model.vae import VAE, HasVAE, evaluating, vae_of
from variform.system import draws

Array = np.ndarray[Any, np.dtype[Any]]
OutlierScore = Literal["nll", "regret", "typicality"]

_FLOATS_AT_ONCE = 2**22
_BETWEEN = (0.25, 0.5, 0.75)
_PRIOR_DRAWS = 256  # whose mean and variance stand for the prior's
_ALL_SUBSETS = 8  # columns up to which every subset is asked: 256
_LEAST_SAMPLES = 20  # some of each law
_IMPOSSIBLE = -1e12  # nats that stand for the logarithm of 0, of which sums can be taken


@dataclass(frozen=True)
class Outliers:
    """How unusual rows are; (N,) float64 each, larger for outliers.

    Args:
        score: In nats: of `nll` -log p(x) in the data's own units.
        p_value: The share of reference rows, this one counted with them, whose score is as large or larger. Where a
            row is of the law of the reference rows it is at most alpha with a probability of at most alpha.
        reference: The scores of the reference rows, (M,).
    """

    score: Array
    p_value: Array
    reference: Array


@checked
def outliers(
    vae: VAE | HasVAE,
    data: Dataset,
    reference: Dataset,
    *,
    by: OutlierScore = "nll",
    samples: Count = 1000,
    refine: Natural = 50,
    seed: int = 0,
    progress: bool = False,
) -> Outliers:
    r"""How unusual each row is, beside rows that were not trained on.

    `nll` is $-\log p(x)$. A density may be high where no row of the training data is: constant images under a model of
    pictures, and the mean of high-dimensional data. `typicality` is the distance of $-\log p(x)$ from its mean over
    the reference rows, so that what is too likely is unusual as well. `regret` is by how much the row's own best
    q(z|x) beats the encoder's, $\max_q \mathrm{ELBO}(x; q) - \mathrm{ELBO}(x; q_\phi)$: an encoder knows what it was
    trained on, and a decoder may be good at what is simple.

    Args:
        vae: The model, or a `Model` or a run that has it.
        data: The rows.
        reference: Rows of the model's own kind that were not trained on.
        by: The score.
        samples: Importance samples of each row, and draws for its ELBO.
        refine: Steps by which q(z|x) is improved, under `regret`; no fewer than one there.
        seed: Seed of the draws.
        progress: Show progress bars on a terminal.

    Raises:
        ValueError: for no rows, and for `regret` without steps.

    Reference:
        Xiao, Yan and Amit (2020): the regret; Nalisnick, Matsukawa, Teh and Lakshminarayanan (2019):
        typicality; Vovk (2012): the p-value.

    Example:
        >>> from variform import ModelConfig, build_vae, read
        >>> digits = read("digits")
        >>> vae = build_vae(ModelConfig(latent_dim=2), digits.schema)
        >>> found = outliers(vae, digits.test, digits.valid, samples=10)
        >>> found.score.shape == found.p_value.shape == (len(digits.test),)
        True
    """
    if by == "regret" and refine == 0:
        raise ValueError(
            "the regret is what refining gains: `refine` must be 1 or more; got 0. Use for example 50."
        )
    vae = vae_of(vae)
    options = {"samples": samples, "seed": seed, "progress": progress}
    own, others = (_scores(vae, rows, by, refine, options).numpy() for rows in (data, reference))
    if by == "typicality":
        usual = others.mean()
        own, others = abs(own - usual), abs(others - usual)  # eq: typicality
    order = np.sort(others)
    at_least = len(order) - np.searchsorted(order, own, side="left")
    return Outliers(own, (1 + at_least) / (1 + len(order)), others)


def _scores(
    vae: VAE, rows: Dataset, by: OutlierScore, refine: int, options: dict[str, Any]
) -> Tensor:
    scores = score(vae, rows, **options)
    if by != "regret":
        return -scores.log_px
    refined = score(vae, rows, refine=refine, **options)
    return refined.elbo - scores.elbo  # eq: regret


@dataclass(frozen=True)
class Attribution:
    """What each column adds to the score of a row, in nats.

    Args:
        values: (N, *shape) float64; their sum over a row is its score, and of a missing value it is 0.
        score: -log p(x) in the data's own units, (N,) float64.
        ess: The least effective number of importance samples of all densities that were compared, (N,).
    """

    values: Array
    score: Array
    ess: Array

    def above(self, usual: "Attribution") -> Array:
        """By how much each column adds more than it does in other rows on average, (N, *shape).

        A density has a unit, so that a column of large numbers adds much to every score: this does not.
        """
        return self.values - usual.values.mean(0)


@checked
def attribute(
    vae: VAE | HasVAE,
    data: Dataset,
    *,
    score: Array | None = None,
    samples: Count = 4000,
    refine: Natural = 50,
    orders: Count = 32,
    seed: int = 0,
    common: bool = False,
) -> Attribution:
    r"""Which columns make a row unlikely: the Shapley values of $-\log p(x_S)$ over subsets S of its columns.

    $a_d = \sum_{S \not\ni d} \frac{|S|!\,(D - |S| - 1)!}{D!} [-\log p(x_d | x_S)]$, what a column adds to the columns
    known before, as the mean over all orders in which they may become known. Each order's terms add up to
    $-\log p(x)$ by the chain rule, and so do their means, exactly. A column that contradicts the others is unlikely
    after them, and they after it: they share what the contradiction costs. Conditional densities $-\log p(x_d|x_{-d})$
    would charge it to each of them in full, and would not add up.

    Every $p(x_S) \approx \frac1K \sum_k p(x_S|z_k)\,p(z_k) / q(z_k)$ is from the same draws, a mixture of the row's own
    refined q(z|x), of the prior, which sees what few columns leave open, and of Gaussians between the two. Up to 8
    columns all $2^D$ subsets are asked; of more columns some orders at random and the reverse of each. The cost beside
    one decode of K draws a row is K D numbers for each order, or K 2^D.

    Args:
        vae: The model, or a `Model` or a run that has it.
        data: The rows; what is missing is in no subset.
        score: -log p(x) of each row to add up to, (N,), such as another estimate of it; by default that of these draws.
        samples: K.
        refine: As of `partial.complete`.
        orders: How many orders are asked where there are more than 8 columns, an even number.
        seed: Seed of draws and orders.
        common: Draw the same noise for every row, so that what is found does not depend on the rows beside it, up to
            rounding.

    Raises:
        ValueError: for fewer than 20 samples.

    Reference:
        Shapley (1953); Castro, Gómez and Tejada (2009), for the orders at random.

    Example:
        >>> from variform import ModelConfig, build_vae
        >>> from variform.data.reading import read
        >>> table = read(torch.randn(200, 3))
        >>> vae = build_vae(ModelConfig(latent_dim=1, likelihood="gaussian"), table.schema)
        >>> found = attribute(vae, table.test, samples=100, refine=0)
        >>> bool(np.allclose(found.values.sum(1), found.score, atol=1e-9))
        True
    """
    vae = vae_of(vae)
    if samples < _LEAST_SAMPLES:
        raise ValueError(
            f"attribution needs at least {_LEAST_SAMPLES} draws of each row; got {samples}. Use for example 4000."
        )
    schema = vae.schema or data.schema
    floats = floats_per_decode(vae)
    size = math.prod(schema.shape)
    rows = max(1, min(64, _FLOATS_AT_ONCE // (samples * max(floats, size))))
    ways = _ways(size, orders, seed) if size > _ALL_SUBSETS else []
    whole = None if score is None else torch.from_numpy(np.asarray(score, dtype=np.float64))
    shares, least, first = [], [], 0
    with draws.seeded(seed), evaluating(vae):
        for x, context in vae.batches(data, 1 if common else rows, seed=seed):
            if common:
                draws.seed(seed)
            with draws.common() if common else nullcontext():
                log_weight, entries = _weighed(vae, x, context, samples, refine, floats)
            jacobian = _jacobian(vae, data.schema, x)
            for row in range(len(x)):
                log_px = None if whole is None else -whole[first + row] - jacobian[row].sum()
                observed = (~x[row].isnan()).flatten().cpu()
                share = jacobian[row].clone()
                found, ess = _shares(
                    log_weight[:, row], entries[:, row, observed], log_px, ways, observed
                )
                share[observed] += found
                shares.append(share)
                least.append(ess)
            first += len(x)
    values = -torch.stack(shares)
    return Attribution(
        values.reshape(-1, *schema.shape).numpy(), values.sum(1).numpy(), torch.stack(least).numpy()
    )


def _weighed(
    vae: VAE, x: Tensor, context: Tensor | None, samples: int, refine: int, floats: int
) -> tuple[Tensor, Tensor]:
    """log p(z) - log q(z) of the draws, (K, B), and log p(x_d|z) of every value, (K, B, D), 0 where it is missing."""
    half = max(1, samples // 2)
    laws = proposals(vae, x, context, samples - half, refine, floats)
    z, log_q = drawn([*laws, *_between(laws[0][0], vae.latent_prior(), half)])
    missing = x.isnan()
    law = vae.decode(z, context)
    entries = law.log_prob_per_entry(x.masked_fill(missing, 0)).masked_fill(missing, 0)
    log_weight = vae.latent_prior().log_prob(z) - log_q
    entries = entries.double().nan_to_num(neginf=_IMPOSSIBLE).flatten(2)
    return log_weight.double().cpu(), entries.cpu()


def _between(q: Law, p: Law, count: int) -> list[tuple[Law, int]]:
    """Gaussians on the way from the prior to q: what is known of z when some of the columns are, and how often each."""
    z = p.sample(torch.Size((_PRIOR_DRAWS,)))
    mean, variance = z.mean(0), z.var(0)
    laws: list[tuple[Law, int]] = []
    for number, share in enumerate(_BETWEEN):
        own = len(range(number, count, len(_BETWEEN)))
        between = (share * q.variance + (1 - share) * variance).log()
        if own:
            laws.append((DiagonalGaussian(share * q.mean + (1 - share) * mean, between), own))
    return laws


def _jacobian(vae: VAE, schema: Schema, x: Tensor) -> Tensor:
    """What each value adds to state log p(x) in the data's own units, (B, D) float64."""
    if not vae.likelihood.is_density:
        return torch.zeros(x.shape, dtype=torch.float64).flatten(1)
    return schema.log_jacobian_per_entry(x).flatten(1).cpu()


def _log_mean(log_weights: Tensor) -> tuple[Tensor, Tensor]:
    """The logarithm of the mean of weights (K, S), (S,), and how many draws they are worth."""
    total = log_weights.logsumexp(0)
    ess = (2 * total - (2 * log_weights).logsumexp(0)).exp()
    return total - math.log(len(log_weights)), ess


def _shares(
    log_weight: Tensor, entries: Tensor, log_px: Tensor | None, ways: list[Tensor], observed: Tensor
) -> tuple[Tensor, Tensor]:
    """What each observed column adds to log p(x), and the least effective number of draws.

    Args:
        log_weight: log p(z) - log q(z), (K,).
        entries: log p(x_d|z) of the columns that are observed, (K, C).
        log_px: What they add up to; by default what these draws say.
        ways: Orders of all columns.
        observed: Which columns are observed, (D,).
    """
    size = entries.shape[1]
    if size == 0:
        return entries.new_zeros(0), log_weight.new_tensor(len(log_weight))
    if size <= _ALL_SUBSETS:
        return _shares_of_subsets(log_weight, entries, log_px)
    place = observed.cumsum(0) - 1
    own = [place[order[observed[order]]] for order in ways]
    return _shares_of_orders(log_weight, entries, log_px, own)


@functools.cache
def _subsets(size: int) -> Tensor:
    """All subsets of few columns, one after the other as binary numbers, (D, 2^D) of 0 and 1."""
    return torch.tensor(list(itertools.product((0.0, 1.0), repeat=size)), dtype=torch.float64).T


def _shares_of_subsets(
    log_weight: Tensor, entries: Tensor, log_px: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The Shapley values of log p(x_S), (C,), from all subsets, and the least effective number."""
    size = entries.shape[1]
    subsets = _subsets(size)
    values, ess = _log_mean(log_weight[:, None] + entries @ subsets)
    values[0] = 0.0  # of nothing, exactly
    if log_px is not None:
        values[-1] = log_px
    sizes = subsets.sum(0).long()
    orders = [math.factorial(before) * math.factorial(size - before - 1) for before in range(size)]
    weight = torch.tensor(orders, dtype=torch.float64) / math.factorial(size)
    shares = []
    for column in range(size):
        without = subsets[column] == 0
        gain = values[~without] - values[without]  # in the same order: only this column differs
        shares.append((weight[sizes[without]] * gain).sum())  # eq: shapley
    return torch.stack(shares), ess[1:].min()


def _ways(size: int, count: int, seed: int) -> list[Tensor]:
    """Orders of the columns at random, each with its reverse."""
    random = torch.Generator().manual_seed(seed)
    ways = []
    for _ in range(math.ceil(count / 2)):
        order = torch.randperm(size, generator=random)
        ways += [order, order.flip(0)]
    return ways


def _shares_of_orders(
    log_weight: Tensor, entries: Tensor, log_px: Tensor | None, ways: list[Tensor]
) -> tuple[Tensor, Tensor]:
    """The same from some orders: what each column adds to those before it, on average."""
    size = entries.shape[1]
    shares, least = torch.zeros(size, dtype=torch.float64), torch.tensor(math.inf)
    for order in ways:
        values, ess = _log_mean(log_weight[:, None] + entries[:, order].cumsum(1))
        if log_px is not None:
            values[-1] = log_px
        shares[order] += values.diff(prepend=values.new_zeros(1)) / len(ways)
        least = torch.minimum(least, ess.min())
    return shares, least
