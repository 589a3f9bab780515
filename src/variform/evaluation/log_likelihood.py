"""How good is p(x)? ELBO and importance-sampled log-likelihood, per example and with standard errors."""

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from variform.config.checks import Count, checked
from variform.data.dataset import Dataset
from variform.data.schema import Schema
from variform.distributions.codes import Coded
from variform.distributions.hierarchy import Hierarchy, kl_by_level
from variform.distributions.kl import (
    has_closed_form_kl,
    kl,
    kl_per_dimension,
    splits_into_dimensions,
)
from variform.distributions.law import Law
from variform.evaluation.pareto import FEWEST_SAMPLES, Tail
from variform.evaluation.refinement import refine as refined
from variform.evaluation.standard_error import HIGH_K, Estimate
from variform.model.importance import Weights, enumerated, log_weights
from variform.model.vae import VAE, HasVAE, evaluating, vae_of
from variform.system import draws, memory
from variform.system.compiling import compiled
from variform.system.memory import keep_freed
from variform.system.products import Products, computing, fastest
from variform.system.progress import progress_bar
from variform.system.work import floats_given

_FLOATS_AT_ONCE = 2**21  # 8 MiB of a decoder's activations: they stay in the processor's cache
_MORE_ELSEWHERE = 32  # a GPU needs that many times more to be busy
# Seconds, measured with two cores: what compiling saves for each number that a decode gives, and what it costs.
_SAVED_PER_FLOAT, _COMPILE_SECONDS = 4e-10, 10.0
_ROWS_AT_ONCE = 64, 256  # least and most, where the activations of so many fit
_LEVEL_DRAWS = 100  # of a posterior, for the KL of its levels
_MANY = 2**62  # rows: the work is then cut as for any number of them
_WORTH_ASKING = 500  # chunks; timing the ways of a layer takes some ten of its products


@dataclass(frozen=True, repr=False)
class Scores:
    """What `score` finds, one entry per example (N, ...), float64; densities in nats.

    Args:
        elbo: log_likelihood - kl.
        log_likelihood: E_q[log p(x|z)], from all k samples.
        kl: KL(q(z|x) || p(z)), in closed form or from all k samples where there is none.
        log_px: Importance-sampled log p(x); a lower bound in expectation that rises with k. Of codes that have up to
            4,096 values together it is exact, the sum over all of them, and so are the ELBO and its terms.
        ess: Effective number of importance samples, (sum w)^2 / sum w^2; it does not see what was never drawn.
        pareto_k: Whether log_px can be trusted: up to 0.7, see `evaluation.pareto.pareto_k`. NaN where there is nothing
            to fit, minus infinity where log_px is exact.
        means: Posterior means, (N, latent_dim).
        squared_error: Squared reconstruction error in the data's own units, (N, columns) of a table; of images, which
            may be large, its mean over the pixels, (N, 1).
        kl_per_dimension: kl by latent dimension, (N, latent_dim); None where it does not split.
        kl_by_level: kl of each of several latents, (N, L), z_1's first, which add up to kl; None of one latent.
    """

    elbo: Tensor
    log_likelihood: Tensor
    kl: Tensor
    log_px: Tensor
    ess: Tensor
    pareto_k: Tensor
    means: Tensor
    squared_error: Tensor
    kl_per_dimension: Tensor | None = None
    kl_by_level: Tensor | None = None

    @property
    def is_exact(self) -> bool:
        """Whether log_px is the sum over all z, not an estimate."""
        return bool((self.pareto_k == -math.inf).all())

    def __repr__(self) -> str:
        means = (
            f"{name} {getattr(self, name).mean().item():.5g}"
            for name in ("elbo", "kl", "log_px", "ess")
        )
        return f"Scores({', '.join(means)}: means over {len(self.elbo):,} rows, densities in nats)"


@checked
def score(
    vae: VAE | HasVAE,
    data: Dataset,
    *,
    samples: Count,
    refine: int = 0,
    seed: int = 0,
    common: bool = False,
    progress: bool = False,
) -> Scores:
    """ELBO, log p(x) by importance sampling, and reconstruction error of every row.

    log p(x) is estimated by log (1/k) sum_i w_i, the sum in float64 with the largest weight taken out; the encoder
    runs once per row, the k samples come in chunks that stay in the processor's cache. Little memory makes the decodes
    smaller and leaves the draws as they are, so that it moves results by rounding only. On the CPU, the chunks of a
    long evaluation are compiled.

    Args:
        vae: The model, or a `Model` or a run that has it; it is evaluated without dropout.
        data: The rows.
        samples: k.
        refine: Before sampling, improve q(z|x) of every row by this many steps on its own ELBO, the decoder as it is;
            see `evaluation.refinement.refine`. Then log p(x) comes closer to the truth, and all that is found is of the
            refined q: its ELBO is what the decoder can do, not what encoder and decoder do.
        seed: Seed of every draw; the global random state is left as it was.
        common: Draw the same noise for every row, so that what is found for a row does not depend on the rows beside
            it; the errors of different rows are then not independent.
        progress: Show a progress bar with the time left, on a terminal.

    Raises:
        ValueError: for samples < 1, refine < 0 or no rows.

    Reference:
        Burda, Grosse and Salakhutdinov (2016), equation 8.

    Example:
        >>> from variform import ModelConfig, build_vae, read
        >>> data = read("digits")
        >>> scores = score(build_vae(ModelConfig(latent_dim=2), data.schema), data.test, samples=10)
        >>> bool((scores.ess <= 10).all())
        True
    """
    vae = vae_of(vae)
    priors = {"prior": vae.prior}
    scores = _scores(
        vae, priors, data, samples, refine=refine, seed=seed, common=common, progress=progress
    )
    return scores["prior"]


@checked
def score_under(
    vae: VAE,
    priors: Mapping[str, nn.Module],
    data: Dataset,
    *,
    samples: Count,
    only: Tensor | None = None,
    seed: int = 0,
    progress: bool = False,
) -> dict[str, Scores]:
    """`score` of the same networks under each of several priors, which share the draws and their decodes.

    Args:
        vae: The model.
        priors: By name, at least one; each as `VAE.with_prior` takes it.
        data: The rows.
        samples: k.
        only: Numbers of the rows that are scored, (M,) int64, all by default; a dynamic binarisation is that of all.
        seed: As of `score`.
        progress: As of `score`.

    Returns:
        By name what `score(vae.with_prior(prior), ...)` gives, up to rounding.

    Example:
        >>> from variform import ModelConfig, build_vae, read
        >>> data = read("digits")
        >>> vae = build_vae(ModelConfig(latent_dim=2), data.schema)
        >>> list(score_under(vae, {"its own": vae.prior, "again": vae.prior}, data.test, samples=3))
        ['its own', 'again']
    """
    return _scores(vae, priors, data, samples, only=only, seed=seed, progress=progress)


def _scores(
    vae: VAE,
    priors: Mapping[str, nn.Module],
    data: Dataset,
    samples: int,
    *,
    refine: int = 0,
    only: Tensor | None = None,
    seed: int,
    common: bool = False,
    progress: bool,
) -> dict[str, Scores]:
    """Scores under each prior; q is refined for the first."""
    count = len(data) if only is None else len(only)
    if refine < 0:
        raise ValueError(
            f"`refine` must be a number of steps, 0 or more; got {refine}. Use for example 50."
        )
    if count == 0:
        raise ValueError(
            "there must be at least one row to evaluate; got none. Choose another `split`."
        )
    keep_freed()
    bar = progress_bar(progress)
    with evaluating(vae):
        sizes = _sizes(vae, _MANY if common else count, samples)
        products = products_of(vae, sizes.rows * sizes.decoded, count * samples)
    with (
        draws.seeded(seed),
        evaluating(vae),
        computing(vae.decoder, products),
        bar,
        draws.common() if common else nullcontext(),
    ):
        weigh = log_weights if common else _weigher(vae, sizes, count * samples)
        task = bar.add_task("evaluating", total=count * samples)
        laws = [vae.with_prior(prior).latent_prior() for prior in priors.values()]
        batches = []
        for x, context in _batches(vae, data, sizes.rows, seed, only):
            if common:
                draws.seed(seed)
            advance = functools.partial(bar.advance, task)
            q = vae.encode(x, context)
            if refine:
                q = refined(
                    vae,
                    x,
                    q,
                    laws[0],
                    steps=refine,
                    context=context,
                    floats=sizes.floats,
                    most=_most_floats(x.device),
                )
            batches.append(
                _score_batch(vae, laws, q, data, x, context, samples, sizes, weigh, advance)
            )
    jacobian: float | Tensor = vae.log_jacobian(data.schema)
    if data.schema.gaps:
        jacobian = torch.cat(
            [vae.log_jacobians(data.schema, x) for x in data.batches(1024, seed=seed)]
        )
        jacobian = jacobian if only is None else jacobian[only]
    return {
        name: _joined(parts, jacobian)
        for name, parts in zip(priors, zip(*batches, strict=True), strict=True)
    }


def _batches(
    vae: VAE, data: Dataset, size: int, seed: int, only: Tensor | None
) -> Iterable[tuple[Tensor, Tensor | None]]:
    """The rows `only` and their contexts as they are among all rows, `size` at a time."""
    if only is None:
        return vae.batches(data, size, seed=seed)
    chosen, contexts, start = [], [], 0
    for x, context in vae.batches(data, 1024, seed=seed):
        here = only[(only >= start) & (only < start + len(x))].to(x.device) - start
        chosen.append(x[here])
        contexts.append(None if context is None else context[here])
        start += len(x)
    rows = torch.cat(chosen).split(size)
    if contexts[0] is None:
        return zip(rows, itertools.repeat(None), strict=False)
    return zip(rows, torch.cat(contexts).split(size), strict=True)


def _joined(parts: Sequence[dict[str, Tensor]], jacobian: float | Tensor) -> Scores:
    """The scores of all batches, densities in the data's own units."""
    joined = {name: torch.cat([part[name] for part in parts]).cpu() for name in parts[0]}
    for name in ("elbo", "log_likelihood", "log_px"):
        joined[name] += jacobian
    return Scores(**joined)


class _Sizes(NamedTuple):
    """How the work is cut."""

    floats: int
    """Numbers that a decode takes."""
    rows: int
    """Rows that are encoded together."""
    samples: int
    """Samples of each that are drawn together."""
    decoded: int
    """Samples of each that are decoded together."""


def _sizes(vae: VAE, rows: int, samples: int) -> _Sizes:
    """Rows and samples follow from the model and the amount of work alone, so that the draws are the same on every day.

    Where less memory is available than a chunk needs, fewer of its samples are decoded at once.
    """
    device, floats = next(vae.parameters()).device, floats_per_decode(vae)
    decodes = max(1, _most_floats(device) // floats)
    least, most = _ROWS_AT_ONCE
    rows = min(rows, decodes, max(least, min(most, decodes // samples)))
    # At most 8 bytes a float, and half as much again for the law's own arithmetic; a third of the memory is for us.
    affordable = _available_bytes(device) / 3 / (12 * floats * rows)
    chunk = math.ceil(
        samples / math.ceil(samples / (decodes // rows))
    )  # all as equal as they can be
    return _Sizes(floats, rows, chunk, max(1, int(min(chunk, affordable))))


def products_of(vae: VAE, at_once: int, decodes: int, *, backward: bool = False) -> Products:
    """How the decoder's layers are computed, where there are so many decodes that it is worth the question.

    Args:
        vae: The model.
        at_once: Vectors z that are decoded together.
        decodes: How many there are in all.
        backward: Whether the gradient in z is wanted too.
    """
    if decodes < _WORTH_ASKING * at_once:
        return {}
    given = vae.like(torch.zeros(at_once, vae.latent_dim + vae.context_dim))
    run = functools.partial(vae.decoder, given)
    return fastest(vae.decoder, run, torch.get_num_threads(), backward=backward)


def _most_floats(device: torch.device) -> int:
    """Numbers of a decoder's activations that are held at once."""
    return _FLOATS_AT_ONCE * (1 if device.type == "cpu" else _MORE_ELSEWHERE)


def _weigher(vae: VAE, sizes: _Sizes, decodes: int) -> Callable[..., Weights]:
    """`log_weights`, of whole chunks compiled where `decodes` are so many that it wins back the time of compiling.

    Sizes alone decide, so that the same call gives the same bits; without a C++ compiler nothing is compiled.
    """
    saved = decodes * sizes.floats * _SAVED_PER_FLOAT
    is_ours = vae.compilable and not vae.has_own_networks
    is_ours_on_cpu = is_ours and next(vae.parameters()).is_cpu
    if not is_ours_on_cpu or saved < _COMPILE_SECONDS or sizes.decoded < sizes.samples:
        return log_weights
    fast: Callable[..., Weights] | None = compiled(log_weights, next(vae.parameters()).device)

    def weigh(vae: VAE, x: Tensor, samples: int, **known: Any) -> Weights:
        nonlocal fast
        if fast is not None and (len(x), samples) == (sizes.rows, sizes.samples):
            try:
                return fast(vae, x, samples, **known)
            except RuntimeError:  # of compiling: before anything was drawn
                fast = None
        return log_weights(vae, x, samples, **known)

    return weigh


def floats_per_decode(vae: VAE) -> int:
    """Numbers that the decoder's modules give for one z together: what a decode may hold in memory at most."""
    with evaluating(vae):
        given = floats_given(
            vae.decoder,
            lambda: vae.decoder(vae.like(torch.zeros(1, vae.latent_dim + vae.context_dim))),
        )
    return vae.latent_dim + max(given, math.prod(vae.likelihood.params_shape))


def _available_bytes(device: torch.device) -> float:
    """Memory that can be had on `device` without swapping; infinite where the system does not say."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else memory.available()


def _score_batch(
    vae: VAE,
    laws: Sequence[Law],
    q: Law,
    data: Dataset,
    x: Tensor,
    context: Tensor | None,
    samples: int,
    sizes: _Sizes,
    weigh: Callable[..., Weights],
    advance: Callable[[int], None],
) -> list[dict[str, Tensor]]:
    """What `Scores` holds of these rows, under each prior law."""
    if all(is_enumerable(q, p) for p in laws):
        advance(len(x) * samples)
        found = [_enumerated(vae, q, p, x, context, samples, sizes) for p in laws]
        of_rows = _of_means(vae, q, data, x, context)
        return [own | of_rows for own in found]
    sums = [_Sums(samples, x) for _ in laws]
    for start in range(0, samples, sizes.samples):
        drawn = min(sizes.samples, samples - start)
        weights = weigh(vae, x, drawn, context=context, q=q, p=laws[0], at_once=sizes.decoded)
        sums[0].add(weights)
        for other, p in zip(sums[1:], laws[1:], strict=True):
            other.add(weights.under(p))
        advance(len(x) * drawn)
    of_rows = _of_means(vae, q, data, x, context)
    return [own.found(q, p) | of_rows for own, p in zip(sums, laws, strict=True)]


def _of_means(
    vae: VAE, q: Law, data: Dataset, x: Tensor, context: Tensor | None
) -> dict[str, Tensor]:
    """The means of q(z|x), and how far what is made of them lies from the rows."""
    mean = q.mean
    reconstruction = vae.decode(mean, context).mean
    squares = squared_error(
        data.schema, data.schema.restore(x), data.schema.restore(reconstruction)
    )
    if data.schema.kind == "image":
        squares = (squares.nanmean if data.schema.gaps else squares.mean)(1, keepdim=True)
    return {"means": mean.double(), "squared_error": squares}


def is_enumerable(q: Law, p: Law) -> bool:
    """Whether sums over all z are taken, which are few: then log p(x) is exact.

    Example:
        >>> from variform.distributions.codes import Codes
        >>> is_enumerable(Codes(torch.zeros(5, 1, 500)), Codes(torch.zeros(1, 500)))
        True
    """
    return isinstance(q, Coded) and isinstance(p, Coded) and p.is_enumerable


def _enumerated(
    vae: VAE, q: Law, p: Law, x: Tensor, context: Tensor | None, samples: int, sizes: _Sizes
) -> dict[str, Tensor]:
    """As `_Sums.found`, exactly: every z is decoded, and none is drawn."""
    assert isinstance(p, Coded)
    found = enumerated(vae, x, q, p, context=context, at_once=sizes.decoded)
    expected, divergence = found.expected.double(), found.kl.double()
    return {
        "elbo": expected - divergence,
        "log_likelihood": expected,
        "kl": divergence,
        "log_px": found.log_px.double(),
        "ess": torch.full_like(expected, samples),
        "pareto_k": torch.full_like(expected, -math.inf),
    }


def _by_level(q: Hierarchy, p: Hierarchy, draws: int) -> Tensor:
    """The KL of each latent, (B, L) float64, each in closed form given draws of those above."""
    return kl_by_level(q, p, q.sample((draws,))).double().mean(1).T


class _Sums:
    """Sums over the samples of each row under one prior, as chunks of them come.

    Args:
        samples: How many come in all.
        x: The rows.
    """

    def __init__(self, samples: int, x: Tensor) -> None:
        self.samples, self.tail = samples, Tail(samples)
        nothing = torch.zeros(len(x), dtype=torch.float64, device=x.device)
        self.log_sum = self.log_square = torch.full_like(nothing, -math.inf)
        self.likelihood = self.divergence = nothing

    def add(self, weights: Weights) -> None:
        """Some of the samples, (L, B)."""
        self.tail.add(weights.log_weight)
        log_weight = weights.log_weight.double()
        self.log_sum = torch.logaddexp(self.log_sum, log_weight.logsumexp(0))
        self.log_square = torch.logaddexp(self.log_square, (2 * log_weight).logsumexp(0))
        divergence = weights.log_likelihood - weights.log_weight
        self.likelihood = self.likelihood + weights.log_likelihood.sum(0, dtype=torch.float64)
        self.divergence = self.divergence + divergence.sum(0, dtype=torch.float64)

    def found(self, q: Law, p: Law) -> dict[str, Tensor]:
        """What all samples give together."""
        likelihood, divergence = self.likelihood / self.samples, self.divergence / self.samples
        if has_closed_form_kl(q, p):
            divergence = kl(q, p).double()
        split = {}
        if isinstance(q, Hierarchy) and isinstance(p, Hierarchy):
            by_level = _by_level(q, p, min(self.samples, _LEVEL_DRAWS))
            divergence, split = by_level.sum(1), {"kl_by_level": by_level}
        if splits_into_dimensions(q, p):
            split = {"kl_per_dimension": kl_per_dimension(q, p).double()}
        return {
            "elbo": likelihood - divergence,
            "log_likelihood": likelihood,
            "kl": divergence,
            **split,
            "log_px": self.log_sum - math.log(self.samples),  # eq: importance-sampling
            "ess": (2 * self.log_sum - self.log_square).exp(),
            "pareto_k": self.tail.shape(),
        }


def reliability(pareto_k: Tensor, samples: int) -> dict[str, Any]:
    """The share of rows whose k is above 0.7, as `high_pareto_k`; nothing where the samples are too few to tell.

    Args:
        pareto_k: (N,).
        samples: Importance samples per row.
    """
    if samples < FEWEST_SAMPLES:
        return {}
    return {"high_pareto_k": Estimate.of((pareto_k > HIGH_K).double()).to_dict()}


def squared_error(schema: Schema, raw: Tensor, other: Tensor) -> Tensor:
    """Squared differences of raw values, (N, D) float64: of categories 1 where they differ, NaN where `raw` is missing.

    Args:
        schema: What they are.
        raw: Rows, (N, *shape).
        other: What stands for them, likewise.
    """
    squares = (raw - other).double().square().flatten(1)
    if not schema.kinds:
        return squares
    is_category = torch.tensor([kind == "category" for kind in schema.kinds], device=raw.device)
    return torch.where(is_category & (squares > 0), 1.0, squares)


def per_column(schema: Schema, squared_error: Tensor) -> dict[str, dict[str, Any]]:
    """The root mean square error of every column of a table, in its own unit, from squared errors (N, columns).

    Of a column of categories the share that is wrong.
    """
    errors_by_column = {}
    kinds = schema.kinds or ("real",) * len(schema.columns)
    for name, kind, errors in zip(schema.columns, kinds, squared_error.T, strict=True):
        known = errors[~errors.isnan()] if schema.gaps else errors
        errors_by_column[name] = (
            Estimate.of(known) if kind == "category" else Estimate.root_mean(known)
        ).to_dict()
    return errors_by_column


def bits_per_dim(vae: VAE, schema: Schema, nll: Tensor) -> Estimate:
    """Negative log-likelihood in bits per pixel, for images.

    For probabilities NLL / (D ln 2). Where a density of intensities stands for discrete levels, each level takes an
    interval of width 1 / (levels - 1), so that (NLL + D ln(levels - 1)) / (D ln 2).

    Args:
        vae: The model.
        schema: What the rows are.
        nll: (N,), in nats.
    """
    dimensions = math.prod(schema.shape)
    width = 0.0
    if vae.likelihood.is_density and schema.seen_levels:
        width = math.log(schema.seen_levels - 1)
    return Estimate.of((nll / dimensions + width) / math.log(2))  # eq: bits-per-dim
