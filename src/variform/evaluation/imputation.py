"""Imputation: what stood in the cells that are missing, how sure the model is of it, and how far to trust that."""

import math
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from variform.config.checks import checked
from variform.data.dataset import Dataset
from variform.data.schema import Schema
from variform.distributions.law import Law
from variform.evaluation.log_likelihood import floats_per_decode, reliability
from variform.evaluation.partial import Weighted, drawn
from variform.evaluation.refinement import refine as refined
from variform.evaluation.standard_error import HIGH_K, Estimate
from variform.model.vae import VAE, HasVAE, evaluating, vae_of
from variform.system import draws

Array = np.ndarray[Any, np.dtype[Any]]

_FLOATS_AT_ONCE = 2**21


@dataclass(frozen=True, repr=False)
class Imputation:
    """Rows without gaps, in the data's own units, and the uncertainty of what was put in; all arrays (N, *shape).

    Args:
        values: Observed values unchanged; for a missing one E[x | what is observed], the likeliest category, or a whole
            number where a column of a mixed table holds only such.
        missing: Whether the value was missing.
        low: Lower end of the central interval that holds a missing value with probability `level`; elsewhere the value.
        high: Its upper end. Categories have no interval: low and high are the value.
        certainty: Probability that the imputed value is right, for categories and for binary columns of a mixed table;
            1 for observed values, NaN for other columns.
        ess: Effective number of importance samples of each row, (N,).
        pareto_k: Whether values and intervals of each row can be trusted, (N,): up to 0.7, see
            `evaluation.pareto.pareto_k`. NaN where there is nothing to fit, as in rows where nothing is observed.
        level: Probability of the intervals.
    """

    values: Array
    missing: Array
    low: Array
    high: Array
    certainty: Array
    ess: Array
    pareto_k: Array
    level: float

    def __repr__(self) -> str:
        return (
            f"Imputation({self.missing.sum():,} of {self.missing.size:,} values filled in {len(self.values):,} rows, "
            f"intervals of {self.level:.0%}, ess {self.ess.mean():.4g} on average, Pareto k above {HIGH_K} in "
            f"{(self.pareto_k > HIGH_K).sum():,} rows)"
        )


@checked
def impute(
    vae: VAE | HasVAE,
    data: Dataset,
    *,
    samples: int = 1000,
    level: float = 0.9,
    refine: int = 50,
    seed: int = 0,
    common: bool = False,
) -> Imputation:
    r"""What is missing, given what is observed: self-normalised importance sampling.

    $E[x_m | x_o] \approx \sum_k \bar w_k E[x_m | z_k]$ with $\bar w_k \propto p(x_o|z_k)\,p(z_k) / q(z_k)$,
    $z_k \sim q$; quantiles and probabilities are those of K draws from $p(x_m|z)$, where z is drawn among the z_k
    with these weights. Half of the z_k come from the encoder's $q(z|x_o)$ and half from what `refine` makes of it for
    each row; q is the mixture of the two. An encoder cannot answer well for every pattern of gaps, and a refined law
    may settle in one of several places: together they miss less than either.

    Args:
        vae: A model whose data may have gaps: a VAE, a `Model` or a run.
        data: Rows with gaps.
        samples: K, draws per row.
        level: Probability of the intervals.
        refine: Steps by which q(z|x) of every row is improved, as in `score`; 0 to draw from the encoder's alone.
        seed: Seed of the draws.
        common: Draw the same noise for every row, so that what is found for a row does not depend on the rows beside
            it, up to rounding.

    Raises:
        ValueError: for a model that takes no gaps, fewer than 2 samples, a level outside (0, 1), refine < 0, and a row
            that is too far from the training rows.

    Reference:
        Mattei and Frellsen (2019), for single imputation; Hesterberg (1995), for the mixture.

    Example:
        >>> from variform import DataConfig, ModelConfig, build_vae
        >>> from variform.data.reading import read
        >>> rows = torch.randn(200, 2)
        >>> rows[::4, 1] = torch.nan
        >>> data = read(rows, config=DataConfig(cells="gaps"))
        >>> vae = build_vae(ModelConfig(latent_dim=1, likelihood="gaussian-shared"), data.schema)
        >>> imputed = impute(vae, data.test, samples=50)
        >>> bool(np.isnan(imputed.values).any()), bool((imputed.low <= imputed.high).all())
        (False, True)
    """
    vae = vae_of(vae)
    _require_gaps(vae)
    _require_in_range(samples, level, refine)
    schema = vae.schema or data.schema  # whose ranges are those of the data that it was trained on
    floats = floats_per_decode(vae)
    rows = max(1, _FLOATS_AT_ONCE * 8 // (samples * floats))
    with draws.seeded(seed), evaluating(vae):
        parts = []
        for x, context in vae.batches(data, rows, seed=seed):
            if common:
                draws.seed(seed)
            with draws.common() if common else nullcontext():
                laws = _proposals(vae, x, context, refine, floats)
            for index in torch.arange(len(x), device=x.device).split(1 if common else len(x)):
                if common:
                    draws.seed(seed)
                own_context = None if context is None else context[index]
                own_laws = [law.rows(index) for law in laws]
                parts.append(
                    _impute_batch(
                        vae, schema, x[index], own_context, own_laws, samples, (1 - level) / 2
                    )
                )
    prepared = {name: torch.cat([part[name] for part in parts]).cpu() for name in parts[0]}
    return _in_raw_units(prepared, data.gather(torch.arange(len(data))), schema, level)


def _require_gaps(vae: VAE) -> None:
    if vae.features is None:
        raise ValueError(
            "imputation needs a model whose data may have gaps; this one takes none. "
            "Train it with `likelihood='mixed'`, or with `cells='gaps'`."
        )


def _require_in_range(samples: int, level: float, refine: int) -> None:
    if samples < 2 or not 0 < level < 1:
        raise ValueError(
            f"imputation needs 2 or more samples and a level in (0, 1); got {samples} and {level}. "
            "Use for example 1000 and 0.9."
        )
    if refine < 0:
        raise ValueError(
            f"`refine` must be a number of steps, 0 or more; got {refine}. Use for example 50."
        )


def _in_raw_units(
    prepared: dict[str, Tensor], raw: Tensor, schema: Schema, level: float
) -> Imputation:
    """What was imputed, put into the gaps of the raw rows."""
    missing = raw.isnan() & ~schema.inactive(raw)
    filled = dict(prepared)
    for name in ("values", "low", "high"):
        imputed = schema.tidy(schema.restore(prepared[name]))
        filled[name] = torch.where(missing, imputed, raw)
    filled["certainty"] = torch.where(missing, prepared["certainty"], 1.0)
    arrays = {name: values.numpy() for name, values in filled.items()}
    return Imputation(**arrays, missing=missing.numpy(), level=level)


def _proposals(vae: VAE, x: Tensor, context: Tensor | None, refine: int, floats: int) -> list[Law]:
    """The laws that z is drawn from: what the encoder answers, and that refined."""
    q = vae.encode(x, context)
    if refine == 0:
        return [q]
    return [q, refined(vae, x, q, vae.latent_prior(), steps=refine, context=context, floats=floats)]


def _impute_batch(
    vae: VAE,
    schema: Schema,
    x: Tensor,
    context: Tensor | None,
    laws: list[Law],
    samples: int,
    tail: float,
) -> dict[str, Tensor]:
    """Prepared values for all cells of a batch, missing or not."""
    sizes = [len(part) for part in torch.arange(samples).tensor_split(len(laws))]
    z, log_q = drawn(list(zip(laws, sizes, strict=True)))
    law = vae.decode(z, context)
    weighted = Weighted(z, law.log_prob(x) + vae.latent_prior().log_prob(z) - log_q)
    weight = weighted.weight  # (K, B)
    axes = [1] * len(vae.event_shape)
    values = (weight.to(x.dtype).reshape(*weight.shape, *axes) * law.mean).sum(0)  # eq: imputation
    # Each z as often as it weighs, and a draw of its own each time: with few that weigh, their noise is still there.
    rows = vae.decode(weighted.resample(samples), context).sample()  # (K, B, *event)
    ranked = rows.sort(0).values
    low = ranked[int(tail * samples)]
    high = ranked[min(samples - 1, math.ceil((1 - tail) * samples) - 1)]
    certainty = torch.full_like(values, math.nan)
    for column, kind in enumerate(schema.kinds):
        if kind in ("category", "binary"):
            codes = torch.arange(len(schema.categories[column]) or 2, device=x.device)
            shares = (rows[..., column, None] == codes).to(x.dtype).mean(0)  # (B, codes)
            certainty[:, column], likeliest = shares.max(1)
            if kind == "category":
                values[:, column] = low[:, column] = high[:, column] = likeliest.to(x.dtype)
    trust = {"ess": weighted.ess, "pareto_k": weighted.pareto_k}
    return {"values": values, "low": low, "high": high, "certainty": certainty, **trust}


@checked
def judge(
    vae: VAE,
    data: Dataset,
    train: Dataset,
    *,
    mask: float = 0.3,
    samples: int = 1000,
    level: float = 0.9,
    refine: int = 50,
    seed: int = 0,
) -> dict[str, Any]:
    """How good imputation is: observed cells are taken away at random, imputed, and compared with what stood there.

    Args:
        vae: A model whose data may have gaps.
        data: Rows that were not trained on.
        train: Training rows, whose column means (of categories the most frequent one) are the baseline.
        mask: Probability with which an observed cell is taken away.
        samples: K, draws per row.
        level: Probability of the intervals.
        refine: As of `impute`.
        seed: Seed of the mask and of the draws.

    Returns:
        As `compare`, and the share of rows whose weights cannot be trusted, high_pareto_k.

    Raises:
        ValueError: as `impute`, and for a mask outside (0, 1).
    """
    if not 0 < mask < 1:
        raise ValueError(
            f"the mask must be a probability in (0, 1); got {mask}. Use for example 0.3."
        )
    raw = data.gather(torch.arange(len(data)))
    raw = raw.to(torch.promote_types(raw.dtype, torch.float32))
    taken = torch.rand(raw.shape, generator=torch.Generator().manual_seed(seed)) < mask
    holed = Dataset(
        torch.where(taken, math.nan, raw),
        data.schema,
        data.labels,
        contexts=data.contexts,
        dtype=data.dtype,
    )
    imputation = impute(vae, holed, samples=samples, level=level, refine=refine, seed=seed)
    compared = taken & ~raw.isnan()
    numbers = compare(imputation, raw.numpy(), compared.numpy(), train)
    trust = reliability(torch.from_numpy(imputation.pareto_k), samples)
    return {**numbers, "mask": mask, "samples": samples, **trust}


def compare(imputed: Imputation, truth: Array, taken: Array, train: Dataset) -> dict[str, Any]:
    """Imputed values against the truth, beside column means, over the cells that were taken away.

    Standard errors treat rows as independent, not cells.

    Args:
        imputed: What `impute` put in.
        truth: Raw values, (N, *shape); looked at where `taken`.
        taken: Which cells are compared, (N, *shape).
        train: Training rows, whose means (of categories the most frequent one) are the baseline.

    Returns:
        rmse and rmse_of_means of all columns of numbers together (for images in raw units, for tables in standard
        deviations of the training rows), coverage of the intervals and their level, the number of cells, for categories
        and for values that are 0 or 1 accuracy and accuracy_of_mode, and for tables the same by column, in the columns'
        own units; every estimate is {"mean", "se", "n"}, n being rows.
    """
    schema = train.schema
    middle, spread = _middle(train)
    if schema.kinds:
        is_name = np.array([kind in ("category", "binary") for kind in schema.kinds])
    else:
        is_name = np.array(schema.seen_levels == 2)
    numbers, names = taken & ~is_name, taken & is_name
    error = np.where(is_name, np.rint(imputed.values), imputed.values) - truth
    naive = np.where(is_name, np.rint(middle), middle) - truth
    inside = (imputed.low <= truth) & (truth <= imputed.high)
    unit = np.where(is_name, 1.0, spread) if schema.kind == "table" else 1.0
    result: dict[str, Any] = {
        "level": imputed.level,
        "cells": int(taken.sum()),
        "unit": _UNITS[schema.kind],
    }
    if numbers.any():
        result |= _of_numbers(error / unit, naive / unit, inside, numbers)
    if names.any():
        result |= _of_categories(error, naive, names)
    if schema.kind == "table":
        columns = {}
        for number, column in enumerate(schema.columns):
            own = np.s_[:, [number]]
            if numbers[own].any():
                columns[column] = _of_numbers(error[own], naive[own], inside[own], numbers[own])
            if names[own].any():
                columns[column] = _of_categories(error[own], naive[own], names[own])
        result["columns"] = columns
    return result


_UNITS = {"image": "raw units", "table": "standard deviations of the training rows"}


def _of_numbers(error: Array, naive: Array, inside: Array, taken: Array) -> dict[str, Any]:
    return {
        "rmse": _root(Estimate.of_cells(error**2, taken)).to_dict(),
        "rmse_of_means": _root(Estimate.of_cells(naive**2, taken)).to_dict(),
        "coverage": Estimate.of_cells(inside, taken).to_dict(),
    }


def _of_categories(error: Array, naive: Array, taken: Array) -> dict[str, Any]:
    return {
        "accuracy": Estimate.of_cells(error == 0, taken).to_dict(),
        "accuracy_of_mode": Estimate.of_cells(naive == 0, taken).to_dict(),
    }


def _root(square: Estimate) -> Estimate:
    """The root of a mean square, with its error by the delta method."""
    root = math.sqrt(square.mean)
    error = square.se / (2 * root) if root else 0.0
    return Estimate(root, error, square.n)


def _middle(train: Dataset) -> tuple[Array, Array]:
    """Mean and standard deviation of each raw value in the training rows; of categories the most frequent one."""
    mean, variance = train.moments(seed=0)
    scale = train.schema.per_value(train.schema.scale)
    middle = train.schema.restore(mean).numpy()
    spread = (variance.sqrt() * scale).numpy()
    for column, kind in enumerate(train.schema.kinds):
        if kind == "category":
            codes = train.gather(torch.arange(len(train)))[:, column]
            middle[column] = torch.bincount(codes[~codes.isnan()].long()).argmax().item()
    return middle, spread
