"""Partial designs: some values of a row are known, a, and the others, b, are drawn together from p(b | a)."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from variform.config.checks import Count, checked
from variform.config.words import quoted
from variform.data.dataset import Dataset
from variform.data.schema import Schema
from variform.distributions.gaussian import DiagonalGaussian, FullGaussian
from variform.distributions.law import Law
from variform.evaluation.log_likelihood import floats_per_decode
from variform.evaluation.pareto import pareto_k
from variform.evaluation.refinement import refine as refined
from variform.evaluation.standard_error import HIGH_K
from variform.model.importance import weights_of
from variform.model.vae import VAE, evaluating
from variform.system import draws

Array = np.ndarray[Any, np.dtype[Any]]
Range = tuple[float, float]

_FLOATS_AT_ONCE = 2**24
_ROWS_AT_ONCE = 64
# Of the samples these come from the prior: no weight is more than 1 / this times the likelihood of what is known, so
# that a posterior in several places, or one that was refined into the wrong place, is still seen.
_PRIOR_SHARE = 0.2
_ENCODER_SHARE = 0.2  # likewise of an encoder that was trained on gaps
_FEW = 50  # effective samples: below, draws repeat a handful of latent points
# Weights have a bound, so that a heavy tail (Pareto k) of weights that are nearly equal does no harm: only where fewer
# than this share of the samples weigh.
_UNEVEN = 0.1


@dataclass(frozen=True)
class Weighted:
    r"""Draws of z with the importance weights that make them draws from p(z|a).

    Args:
        z: K draws of B rows, (K, B, latent_dim).
        log_weight: $\log w_k = \log p(a|z_k) + \log p(z_k) - \log q(z_k)$, (K, B), in nats.

    Example:
        >>> sample = Weighted(torch.tensor([[[0.0]], [[1.0]]]), torch.tensor([[0.0], [-torch.inf]]))
        >>> sample.ess.item(), sample.resample(3).flatten().tolist(), round(sample.log_p.item(), 4)
        (1.0, [0.0, 0.0, 0.0], -0.6931)
    """

    z: Tensor
    log_weight: Tensor

    @property
    def weight(self) -> Tensor:
        """The weights, which sum to 1 in every row, (K, B) float64.

        Raises:
            ValueError: for a row under which every weight is 0.
        """
        weight = self.log_weight.double().softmax(0)
        if not weight.isfinite().all():
            raise ValueError(
                "rows must be near enough to the training rows for the model to compute with; one is so far off that "
                "its density is 0. Check its values and their units."
            )
        return weight

    @property
    def log_p(self) -> Tensor:
        r"""$\log p(a) \approx \log \frac1K \sum_k w_k$, (B,) float64, in nats."""
        return self.log_weight.double().logsumexp(0) - math.log(len(self.log_weight))  # eq: partial

    @property
    def ess(self) -> Tensor:
        """How many draws from p(z|a) these are worth, (B,)."""
        return 1 / self.weight.square().sum(0)

    @property
    def pareto_k(self) -> Tensor:
        """Whether the weights can be trusted, (B,); see `evaluation.pareto.pareto_k`."""
        return pareto_k(self.log_weight)

    def resample(self, count: int) -> Tensor:
        """Draws of z as often as they weigh, (count, B, latent_dim).

        Reference:
            Rubin (1987), sampling importance resampling.
        """
        chosen = torch.multinomial(self.weight.T, count, replacement=True).T  # (count, B)
        return self.z.gather(0, chosen.unsqueeze(-1).expand(-1, -1, self.z.shape[-1]))


def drawn(laws: Sequence[tuple[Law, int]]) -> tuple[Tensor, Tensor]:
    """Draws of several laws together, (K, B, latent_dim), and their log-density under the mixture of these, (K, B).

    Args:
        laws: Each with the number of draws from it; the first over B rows, a later one of no batch is that of each row.

    Reference:
        Hesterberg (1995).

    Example:
        >>> wide = DiagonalGaussian(torch.zeros(3, 2), torch.zeros(3, 2))
        >>> z, log_q = drawn([(wide, 4), (wide, 2)])
        >>> z.shape, bool(torch.allclose(log_q, wide.log_prob(z)))
        (torch.Size([6, 3, 2]), True)
    """
    rows = laws[0][0].batch_shape
    samples = sum(count for _, count in laws)
    points, densities = [], []
    for law, count in laws:
        if law.batch_shape:
            z, own = law.rsample_and_log_prob((count,))
        else:
            z = law.sample((count, *rows))
            own = law.log_prob(z)
        terms = []
        for other, size in laws:
            log_prob = own if other is law else other.log_prob(z)
            terms.append(log_prob + math.log(size / samples))
        points.append(z)
        densities.append(torch.stack(terms).logsumexp(0))
    return torch.cat(points), torch.cat(densities)


@dataclass(frozen=True, repr=False)
class Completion:
    """Rows with what was free drawn from p(b|a), several times each, in the data's own units.

    Args:
        draws: (N, count, *shape). What was known is as it came, bit by bit; what was free is drawn together, has the
            type of its column and keeps the rules of the table.
        z: The latent points that they were drawn at, (N, count, latent_dim).
        log_p: log p(a) of what is known, (N,), in nats: a density in the data's own units, and of ranges the
            probability.
        ess: Effective number of importance samples of each row, (N,).
        pareto_k: Whether the draws of each row can be trusted, (N,): up to 0.7, and above where most samples weigh, as
            the weights have a bound.
        samples: Importance samples of each row.
    """

    draws: Array
    z: Array
    log_p: Array
    ess: Array
    pareto_k: Array
    samples: int

    def __repr__(self) -> str:
        rows, count = self.draws.shape[:2]
        return (
            f"Completion({count:,} draws of each of {rows:,} rows, log p of what is known {self.log_p.mean():.4g} and "
            f"ess {self.ess.mean():.4g} of {self.samples:,} on average)"
        )

    @property
    def log_p_error(self) -> Array:
        """The standard error of `log_p`, (N,), where Pareto k is below 0.7."""
        return np.sqrt(np.maximum(1 / self.ess - 1 / self.samples, 0))

    def remarks(self) -> list[str]:
        """What must be said of rows whose draws cannot be trusted; nothing where all can.

        Example:
            >>> rows = np.zeros((2, 1, 1))
            >>> Completion(rows, rows, np.zeros(2), np.array([900, 3.2]), np.array([0.1, 0.9]), 1000).remarks()
            ['Draws of 1 of 2 rows are not to be trusted: of 1,000 importance samples as few as 3.2 weigh, Pareto k is \
up to 0.90. What is known there is rare for the model; raise `samples` or `refine`, or fix less.']
        """
        is_uneven = (self.pareto_k > HIGH_K) & (self.ess < _UNEVEN * self.samples)
        is_poor = (self.ess < _FEW) | is_uneven
        if not is_poor.any():
            return []
        worst = np.nanmax(self.pareto_k[is_poor], initial=-math.inf)
        of_k = "" if math.isinf(worst) and worst < 0 else f", Pareto k is up to {worst:.2f}"
        return [
            f"Draws of {is_poor.sum():,} of {len(is_poor):,} rows are not to be trusted: of {self.samples:,} "
            f"importance samples as few as {self.ess.min():.3g} weigh{of_k}. What is known there is rare for the model;"
            " raise `samples` or `refine`, or fix less."
        ]


@checked
def complete(
    vae: VAE,
    data: Dataset,
    *,
    count: Count = 1,
    between: Mapping[str, Range] | None = None,
    draw: bool = True,
    samples: Count = 4000,
    refine: int = 50,
    seed: int = 0,
) -> Completion:
    r"""Draw what is missing in each row together, given what is there: sampling importance resampling.

    z is drawn from p(z|a), by importance weights $p(a|z)\,p(z) / q(z)$, and then b from p(b|z): values that belong
    together are drawn together, where `impute` gives each its mean. q is a mixture of what `refine` makes of the
    encoder's answer, with a full covariance where it was Gaussian, of the prior, and of the encoder's own answer where
    it was trained on gaps. Any model will do: one that takes no gaps sees in the place of what is missing what its rows
    are on average.

    Args:
        vae: A model that knows its data.
        data: N rows with NaN for what is free.
        count: Draws of each row.
        between: Columns that must lie in a range, by name, with both ends in the column's own unit, in every row; their
            cells are NaN.
        draw: Draw b from p(b|z); else take its mean, so that only z differs from draw to draw.
        samples: K, importance samples of each row.
        refine: Steps by which the encoder's q(z|a) is improved for each row, 0 for none.
        seed: Seed of the draws.

    Raises:
        ValueError: for a VAE that does not know its data, unknown columns and ranges that are empty, a column of
            categories between two ends, a row too far from the training rows, and a column that is known although its
            flag is not (`Schema.rules`).

    Reference:
        Rubin (1987), for the resampling; Hesterberg (1995), for the mixture with the prior.

    Example:
        >>> from variform import ModelConfig, build_vae
        >>> from variform.data.reading import read, rows_like
        >>> table = read(torch.randn(200, 3))
        >>> vae = build_vae(ModelConfig(latent_dim=1, likelihood="gaussian"), table.schema)
        >>> part = rows_like(np.array([[0.5, np.nan, np.nan]]), table.schema.with_gaps())
        >>> found = complete(vae, part, count=4, between={"column 3": (0, 1)})
        >>> found.draws.shape, found.draws[0, :, 0].tolist(), bool((found.draws[0, :, 2] > 0).all())
        ((1, 4, 3), [0.5, 0.5, 0.5, 0.5], True)
    """
    schema = _schema_of(vae)
    ends = _ends(schema, between or {})
    raw = data.gather(torch.arange(len(data)))
    raw = raw.to(torch.promote_types(raw.dtype, torch.float32))
    if ends is not None:
        raw = raw.masked_fill(~ends[0].isnan(), math.nan)
    rows = part_rows(schema, data, raw, ends)
    known = rows.gather(torch.arange(len(rows)))
    with evaluating(vae):
        part_vae = vae.for_parts(None if ends is None else _prepared(schema, ends))
    prepared, z, numbers = draw_prepared(
        part_vae, rows, count=count, draw=draw, samples=samples, refine=refine, seed=seed
    )
    values = _rows_of(schema, prepared, known, ends, rounded=draw and _is_whole(vae))
    drawn_rows = (part.movedim(0, 1).numpy() for part in (values, z))
    return Completion(*drawn_rows, **numbers, samples=samples)


def part_rows(
    schema: Schema, data: Dataset, raw: Tensor, ends: tuple[Tensor, Tensor] | None = None
) -> Dataset:
    """Rows of `data` with other values, of which any may be missing, and with the flags that follow from the others.

    Args:
        schema: What the rows are.
        data: N rows, whose contexts these have too.
        raw: Their values, (N, *shape), NaN for what is free.
        ends: Low and high end of each column, NaN without a range.

    Raises:
        ValueError: for a column that is known although its flag is not (`Schema.rules`), where the flag is not clear.
    """
    return _like(data, _with_flags(schema, raw, ends), schema)


def draw_prepared(
    vae: VAE,
    data: Dataset,
    *,
    count: int,
    draw: bool = True,
    samples: int,
    refine: int,
    seed: int,
) -> tuple[Tensor, Tensor, dict[str, Array]]:
    """Whole rows given what is there of each, as the model sees them: neither rounded nor clipped, as p(b|a) has them.

    Args:
        vae: A model for parts of rows, `VAE.for_parts`.
        data: N rows with NaN for what is free, whose schema may have gaps.
        count: As of `complete`.
        draw: As of `complete`.
        samples: As of `complete`.
        refine: As of `complete`.
        seed: As of `complete`.

    Returns:
        The rows, (count, N, *event), of which what was known is drawn too; the latent points that they were drawn at,
        (count, N, latent_dim); and log_p, ess and pareto_k, (N,) each, as of `Completion`.
    """
    parts, points, trust = [], [], []
    with draws.seeded(seed), evaluating(vae):
        for x, context, weighted in _weighed(vae, data, samples, refine, seed):
            trust.append(_trust_of(vae, data.schema, x, weighted))
            points.append(weighted.resample(count))
            parts.append(_values(vae, points[-1], context, draw=draw))
    numbers = {name: torch.cat([part[name] for part in trust]).cpu().numpy() for name in trust[0]}
    return torch.cat(parts, 1).cpu(), torch.cat(points, 1).cpu(), numbers


@dataclass(frozen=True)
class ConditionalScores:
    """log p(b|a) of rows, in nats and the data's own units, and how far to trust it; all (N,) float64.

    Args:
        log_p: log p(b|a).
        ess: The lesser effective number of importance samples of the two densities that it is the ratio of.
        pareto_k: The larger k of the two.
    """

    log_p: Array
    ess: Array
    pareto_k: Array


@checked
def score_given(
    vae: VAE,
    data: Dataset,
    fixed: Array,
    *,
    samples: Count = 4000,
    refine: int = 50,
    seed: int = 0,
) -> ConditionalScores:
    r"""How likely is the rest of each row, given a part of it? $\log p(b|a) = \log p(a, b) - \log p(a)$.

    Both are importance-sampling estimates with the proposal of `complete`. On rows that were not trained on, the mean
    says how well a model completes them.

    Args:
        vae: A model that knows its data.
        data: N rows; what is missing (NaN) is neither a nor b.
        fixed: What is a, (N, *shape) or (*shape) bool.
        samples: K, importance samples of each density.
        refine: As of `complete`.
        seed: As of `complete`.

    Raises:
        ValueError: as `complete`.

    Example:
        >>> from variform import ModelConfig, build_vae
        >>> from variform.data.reading import read
        >>> table = read(torch.randn(200, 3))
        >>> vae = build_vae(ModelConfig(latent_dim=1, likelihood="gaussian"), table.schema)
        >>> score_given(vae, table.test, np.array([True, False, False]), samples=100).log_p.shape == (len(table.test),)
        True
    """
    schema = _schema_of(vae)
    raw = data.gather(torch.arange(len(data)))
    raw = raw.to(torch.promote_types(raw.dtype, torch.float32))
    part = raw.masked_fill(~torch.from_numpy(np.broadcast_to(fixed, raw.shape).copy()), math.nan)
    joint, own = (
        _scored(vae, schema, _like(data, rows, schema), samples, refine, seed)
        for rows in (raw, part)
    )
    return ConditionalScores(
        joint["log_p"] - own["log_p"],
        np.minimum(joint["ess"], own["ess"]),
        np.fmax(joint["pareto_k"], own["pareto_k"]),
    )


def _schema_of(vae: VAE) -> Schema:
    if vae.schema is None:
        raise ValueError(
            "a model must know its data to complete rows; this VAE was put together by hand. Set its `schema`."
        )
    return vae.schema


def _like(data: Dataset, raw: Tensor, schema: Schema) -> Dataset:
    """Other values of the rows of `data`, of which any may be missing, under the same contexts."""
    return Dataset(raw, schema.with_gaps(), data.labels, contexts=data.contexts, dtype=data.dtype)


def _ends(schema: Schema, between: Mapping[str, Range]) -> tuple[Tensor, Tensor] | None:
    """Low and high end of every column in its own unit, (D,) float64 each, NaN without a range; None without any."""
    if not between:
        return None
    ends = torch.full((2, len(schema.columns)), math.nan, dtype=torch.float64)
    for name, (low, high) in between.items():
        if name not in schema.columns:
            raise ValueError(
                f"a range must be of a column of {schema.source}; got {quoted(name)}. Use one of its columns."
            )
        column = schema.columns.index(name)
        if schema.kinds and schema.kinds[column] == "category":
            raise ValueError(
                f"a range needs a column of numbers or levels; {quoted(name)} holds categories. Give one of them."
            )
        has_none = schema.kinds and schema.whole[column] and math.ceil(low) > math.floor(high)
        if not low < high or has_none:
            raise ValueError(
                f"a range of {quoted(name)} must hold values from its low to its high end; got {low:.7g} to {high:.7g}."
                " Give another, or a single value."
            )
        ends[:, column] = torch.tensor([low, high])
    return ends[0], ends[1]


def _prepared(schema: Schema, ends: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    shift, scale = schema.per_value(schema.shift), schema.per_value(schema.scale)
    low, high = ((end - shift) / scale for end in ends)
    return low, high


def _with_flags(schema: Schema, raw: Tensor, ends: tuple[Tensor, Tensor] | None) -> Tensor:
    """The rows with the flags that follow from what is known: a column that says something is active."""
    raw = raw.clone()
    for rule in schema.rules:
        own, flag = raw[:, rule.column], raw[:, rule.flag]
        says = ~own.isnan()
        if rule.value is not None:
            says &= (own - rule.value).abs() > 1e-6 * abs(rule.value)
        is_ranged = ends is not None and not ends[0][rule.column].isnan()
        needs = (says | is_ranged) & flag.isnan()
        name, of_flag = schema.columns[rule.column], schema.columns[rule.flag]
        if needs.any() and len(rule.active) > 1:
            raise ValueError(
                f"the flag of a column that is fixed must be fixed too; {quoted(name)} is active at several values of "
                f"{quoted(of_flag)}, which is free. Fix {quoted(of_flag)}."
            )
        flag[needs] = rule.active[0]
        if is_ranged and rule.is_inactive(raw).any():
            raise ValueError(
                f"a range needs an active column; {quoted(name)} is none at this {quoted(of_flag)}. Leave one out."
            )
    return raw


def _weighed(
    vae: VAE, data: Dataset, samples: int, refine: int, seed: int
) -> Iterator[tuple[Tensor, Tensor | None, Weighted]]:
    """Of some rows at a time x, the context and the weighted draws from p(z|a)."""
    floats = floats_per_decode(vae)
    size = max(1, min(_ROWS_AT_ONCE, 8 * _FLOATS_AT_ONCE // (samples * floats)))
    for x, context in vae.batches(data, size, seed=seed):
        laws = proposals(vae, x, context, samples, refine, floats)
        z, log_q = drawn(laws)
        at_once = max(1, _FLOATS_AT_ONCE // (floats * len(x)))
        weights = weights_of(vae, x, z, log_q, context=context, at_once=at_once)
        yield x, context, Weighted(z, weights.log_weight)


def proposals(
    vae: VAE, x: Tensor, context: Tensor | None, samples: int, refine: int, floats: int
) -> list[tuple[Law, int]]:
    """The laws that z is drawn from, and how often: what the encoder answers, that refined, and the prior.

    Args:
        vae: The model.
        x: Prepared rows, (B, *event).
        context: What a conditional model is conditioned on, (B, C).
        samples: Draws in all.
        refine: Steps by which the encoder's answer is improved.
        floats: Numbers that a decode of one z takes.
    """
    start = x
    if vae.ranges is not None:
        low, high = (end.to(x) for end in vae.ranges)
        start = torch.where(low.isnan(), x, (low + high) / 2)
    q, prior = vae.encode(start, context), vae.latent_prior()
    of_prior = math.ceil(_PRIOR_SHARE * samples)
    of_encoder = math.ceil(_ENCODER_SHARE * samples) if vae.is_trained_on_gaps else 0
    if refine == 0 or samples < 2 * (of_prior + of_encoder):
        return [(q, max(1, samples - of_prior)), (prior, of_prior)]
    whole = FullGaussian.of(q) if isinstance(q, DiagonalGaussian) else q
    own = refined(vae, x, whole, prior, steps=refine, context=context, floats=floats)
    laws = [(own, samples - of_prior - of_encoder), (prior, of_prior)]
    return [*laws, (q, of_encoder)] if of_encoder else laws


def _trust_of(vae: VAE, schema: Schema, x: Tensor, weighted: Weighted) -> dict[str, Tensor]:
    """log p(a) in the data's own units, and how far to trust the weights."""
    jacobians = vae.log_jacobians(schema.with_gaps(), x)
    return {
        "log_p": weighted.log_p + jacobians,
        "ess": weighted.ess,
        "pareto_k": weighted.pareto_k,
    }


def _scored(
    vae: VAE, schema: Schema, data: Dataset, samples: int, refine: int, seed: int
) -> dict[str, Array]:
    with draws.seeded(seed), evaluating(vae):
        part_vae = vae.for_parts()
        weighed = _weighed(part_vae, data, samples, refine, seed)
        parts = [_trust_of(part_vae, schema, x, weighted) for x, _, weighted in weighed]
    return {name: torch.cat([part[name] for part in parts]).cpu().numpy() for name in parts[0]}


def _values(vae: VAE, z: Tensor, context: Tensor | None, *, draw: bool) -> Tensor:
    """Prepared rows of p(x|z), (count, B, *event): draws or means."""
    size = max(1, _FLOATS_AT_ONCE // (math.prod(vae.likelihood.params_shape) * z.shape[1]))
    laws = (vae.decode(part, context) for part in z.split(size))
    return torch.cat([law.sample() if draw else law.mean for law in laws])


def _rows_of(
    schema: Schema, prepared: Tensor, known: Tensor, ends: tuple[Tensor, Tensor] | None, *, rounded: bool
) -> Tensor:  # fmt: skip
    """Rows in the data's own units, (count, N, *event): what is known as it came, all else as the table can hold it."""
    values = schema.restore(prepared)
    if rounded:
        values = values.round()
    if ends is not None:
        low, high = (end.to(values) for end in ends)
        inside = torch.minimum(torch.maximum(values, low), high)
        values = torch.where(low.isnan(), values, inside)
    is_free = known.isnan()
    tidy = schema.tidy(torch.where(is_free, values, known))
    return torch.where(is_free, tidy, known)


def _is_whole(vae: VAE) -> bool:
    return vae.likelihood.support in ("levels", "counts")
