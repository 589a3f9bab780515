"""Calibration: does what came lie among what the model draws, as often as the model says?"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from variform.config.checks import Count, Natural, checked
from variform.data.dataset import Dataset
from variform.data.schema import Schema
from variform.evaluation import ensembles
from variform.evaluation.partial import draw_prepared, part_rows
from variform.evaluation.standard_error import Estimate
from variform.model.vae import VAE, HasVAE, evaluating, vae_of
from variform.system import draws as random
from variform.system.progress import progress_bar

LEVELS = (0.5, 0.8, 0.9, 0.95)
"""The levels of the intervals whose coverage is measured."""
_SURE = 0.99  # with which a calibrated model passes in all columns and at all levels together
_BINS = 10
_AT_ONCE = 2**22  # numbers of drawn rows that are held together
_MOST_COLUMNS = {"table": 30, "image": 3}
_LEAST_DRAWS = 39  # for an interval of 95 %
_FROM_TRAINING = 399  # training rows that stand for what is known without a model
_FEW = 50  # effective samples: below, draws repeat a handful of latent points
_REPEATED = 0.01  # share of draws that equal another, above which their law has atoms


@dataclass(frozen=True)
class Forecast:
    """Draws of some cells, and what came; in prepared units.

    Args:
        drawn: (K, N, C); NaN where a draw has no such value.
        truth: (N, C); NaN where nothing is compared.
        ess: Effective importance samples of every law that was drawn from, (M,); empty where none were needed.
    """

    drawn: Tensor
    truth: Tensor
    ess: np.ndarray


@checked
def calibrate(
    vae: VAE | HasVAE,
    data: Dataset,
    train: Dataset,
    *,
    rows: Count = 200,
    columns: Natural = 0,
    draws: Count = 199,
    samples: Count = 1000,
    refine: Natural = 50,
    mask: float = 0.5,
    seed: int = 0,
    progress: bool = False,
) -> dict[str, Any]:
    r"""How often intervals hold what came, where it lies among the draws (PIT), and how far they are from it (CRPS).

    Of three laws of a row's columns: `predictive`, p(x_d), of a conditional model given its conditions; `given_others`,
    p(x_d | x_-d), what `impute` fills in; and `given_some`, p(b | a) with a random part of the row known and the rest
    drawn together, as `complete` does, whose draws are judged by column and `jointly`. Each row has draws of its
    own, so that of a model that is right each column's PITs are independent and uniform, and what an interval
    holds is binomial.

    Args:
        vae: The model, or a `Model` or a run that has it.
        data: Rows that were not trained on.
        train: Training rows, among whose values the same row is placed for comparison.
        rows: At most so many rows are taken, at random.
        columns: At most so many columns or pixels, at random; 0 for 30 of a table and 3 of an image.
        draws: K, draws of each law; with 199 the levels are exact.
        samples: Importance samples of each row, as of `complete`.
        refine: As of `complete`.
        mask: Probability with which a cell is free in `given_some`.
        seed: Seed of all draws.
        progress: Show a progress bar on a terminal.

    Returns:
        A dict of plain values: the levels, rows, columns, of how many both are, draws and mask, and for each law a dict
        with coverage, an estimate {"mean", "se", "n"} for each level, of all columns whose values do not repeat, or
        where all repeat of those that are no categories; crps in standard deviations of the training rows, for
        categories half a Brier score, and crps_of_training, that of training rows drawn at random; histogram, shares of
        the PITs of all columns in ten equal bins; columns, by name coverage, band, crps in the column's unit, p_value
        (Kolmogorov-Smirnov, of its PITs) and is_calibrated; calibrated, how many columns are, of how many; few_samples,
        the share of laws with fewer than 50 effective
        importance samples; and of `given_some` jointly, the p-value of the average ranks of a row's free columns among
        its draws. A column is calibrated where its coverage at all levels lies in the central band of the binomial law
        and its p-value is not small: a model that is right passes in all columns together with a probability of 99 %.
        Where values repeat (counts, categories, spikes) intervals hold at least what they say: there only too little
        is wrong, and the PIT, which is randomised, tells too wide ones.

    Raises:
        ValueError: for no rows, fewer than 39 draws, and a mask outside (0, 1).

    Reference:
        Gneiting, Balabdaoui and Raftery (2007), for PIT and sharpness; Thorarinsdottir, Scheuerer and Heinz (2016), for
        the average rank.

    Example:
        >>> from variform import ModelConfig, build_vae, read
        >>> digits = read("digits")
        >>> vae = build_vae(ModelConfig(latent_dim=2), digits.schema)
        >>> found = calibrate(vae, digits.test, digits.train, rows=20, draws=39, samples=50, refine=0)
        >>> sorted(found["predictive"])[:4], len(found["given_some"]["histogram"])
        (['calibrated', 'columns', 'coverage', 'crps'], 10)
    """
    vae = vae_of(vae)
    _require_in_range(data, draws, mask)
    schema = vae.schema or data.schema
    generator = torch.Generator().manual_seed(seed)
    of_rows = len(data)
    data = data.take(torch.randperm(len(data), generator=generator)[:rows].sort().values)
    size = math.prod(schema.shape)
    most = columns or _MOST_COLUMNS[schema.kind]
    chosen = torch.randperm(size, generator=generator)[:most].sort().values
    options: dict[str, Any] = {"count": draws, "samples": samples, "refine": refine, "seed": seed}
    found = {}
    bar = progress_bar(progress)
    with bar:
        task = bar.add_task("calibration", total=len(chosen) + 2)
        predictive = _predictive(vae, schema, data, chosen, draws, seed)
        bar.advance(task)
        parts = []
        for column in chosen:
            is_free = torch.zeros(size, dtype=torch.bool)
            is_free[column] = True
            parts.append(_given(vae, schema, data, is_free, column[None], options))
            bar.advance(task)
        given_others = Forecast(
            torch.cat([part.drawn for part in parts], 2),
            torch.cat([part.truth for part in parts], 1),
            np.concatenate([part.ess for part in parts]),
        )
        is_free = torch.rand(len(data), size, generator=generator) < mask
        given_some = _given(vae, schema, data, is_free, chosen, options)
        bar.advance(task)
    units = _Units(vae, schema, train, chosen, generator)
    forecasts = {
        "predictive": predictive,
        "given_others": given_others,
        "given_some": given_some,
    }
    for name, forecast in forecasts.items():
        found[name] = _judged(forecast, units, generator)
    found["given_some"]["jointly"] = _joint_p_value(given_some, generator)
    return {
        "levels": list(LEVELS),
        "rows": len(data),
        "columns": len(chosen),
        "of_rows": of_rows,
        "of_columns": size,
        "draws": draws,
        "mask": mask,
        **found,
    }


def _require_in_range(data: Dataset, draws: int, mask: float) -> None:
    if len(data) == 0:
        raise ValueError("there must be at least one row; got none. Choose another `split`.")
    if draws < _LEAST_DRAWS:
        raise ValueError(
            f"an interval of 95 % needs at least {_LEAST_DRAWS} draws; got {draws}. Use for example 199."
        )
    if not 0 < mask < 1:
        raise ValueError(
            f"the mask must be a probability in (0, 1); got {mask}. Use for example 0.5."
        )


def _predictive(
    vae: VAE, schema: Schema, data: Dataset, chosen: Tensor, count: int, seed: int
) -> Forecast:
    """Draws of p(x) for every row, each with draws of its own."""
    size = math.prod(vae.likelihood.params_shape)
    at_once = max(1, _AT_ONCE // (count * size))
    drawn, came = [], []
    with random.seeded(seed), evaluating(vae):
        for x, context in vae.batches(data, at_once, seed=seed):
            z = vae.latent_prior().sample(torch.Size((count, len(x))))
            rows = schema.without_inactive(vae.decode(z, context).sample())
            drawn.append(rows.flatten(2)[:, :, chosen].cpu())
            came.append(x.flatten(1)[:, chosen].cpu())
    return Forecast(torch.cat(drawn, 1), torch.cat(came), np.empty(0))


def _given(
    vae: VAE,
    schema: Schema,
    data: Dataset,
    is_free: Tensor,
    chosen: Tensor,
    options: dict[str, Any],
) -> Forecast:
    """Draws of what is free in each row, (D,) or (N, D), given the rest."""
    raw = data.gather(torch.arange(len(data)))
    raw = raw.to(torch.promote_types(raw.dtype, torch.float32)).flatten(1)
    rows = part_rows(schema, data, raw.masked_fill(is_free, math.nan).reshape(-1, *schema.shape))
    with evaluating(vae):
        part_vae = vae.for_parts()
    prepared, _, trust = draw_prepared(part_vae, rows, **options)
    known = vae.like(rows.prepared(seed=options["seed"])).cpu()
    whole = schema.without_inactive(torch.where(known.isnan(), prepared, known))
    truth = vae.like(data.prepared(seed=options["seed"])).cpu()
    truth = truth.masked_fill(~known.isnan(), math.nan)  # a flag may follow from other columns
    return Forecast(
        whole.flatten(2)[:, :, chosen], truth.flatten(1)[:, chosen], np.asarray(trust["ess"])
    )


class _Units:
    """What the chosen columns are, and what training rows say of them."""

    def __init__(
        self, vae: VAE, schema: Schema, train: Dataset, chosen: Tensor, generator: torch.Generator
    ) -> None:
        kinds = [schema.kinds[column] if schema.kinds else "" for column in chosen]
        self.is_category = [kind == "category" for kind in kinds]
        spikes = schema.scaled_spikes() if schema.spikes else [[] for _ in range(len(chosen))]
        own_spikes = [spikes[column] if schema.spikes else [] for column in chosen]
        self.ties = torch.tensor(
            [max([1e-6, *(width for _, width, _ in own)]) for own in own_spikes]
        )
        names = schema.columns or [f"pixel {number}" for number in range(math.prod(schema.shape))]
        self.names = [names[column] for column in chosen]
        _, variance = train.moments(seed=0)
        scale = schema.per_value(schema.scale).expand(schema.shape)
        # Any two categories are 1 apart, whatever their numbers.
        is_name = torch.tensor(self.is_category)
        spread = variance.sqrt().flatten()[chosen].clamp_min(1e-12)
        self.spread = spread.masked_fill(is_name, 1.0)
        self.scale = scale.flatten()[chosen].double().masked_fill(is_name, 1.0)
        picked = torch.randperm(len(train), generator=generator)[:_FROM_TRAINING]
        drawn = vae.like(train.take(picked).prepared(seed=0)).cpu()
        self.training = drawn.flatten(1)[:, None, chosen]


def _judged(forecast: Forecast, units: _Units, generator: torch.Generator) -> dict[str, Any]:
    """What is found of one law, by column and of all together."""
    drawn, truth = forecast.drawn.double(), forecast.truth.double()
    share = torch.rand(truth.shape, generator=generator, dtype=torch.float64)
    ties = units.ties.to(truth)
    places = ensembles.pit(truth, drawn, share, ties=ties)
    enough = (~drawn.isnan()).sum(0) >= _LEAST_DRAWS
    is_there = (~places.isnan() & enough).numpy()
    inside = [ensembles.covered(truth, drawn, level, ties=ties).numpy() for level in LEVELS]
    scores, of_training = (_crps(truth, rows, units) for rows in (drawn, units.training.double()))
    repeats = (drawn.sort(0).values.diff(dim=0) == 0).double().mean((0, 1)) > _REPEATED
    columns = {}
    for column, name in enumerate(units.names):
        own = is_there[:, column]
        if not own.any():
            continue
        columns[name] = _judged_column(
            places[own, column].numpy(),
            [each[own, column] for each in inside],
            scores[own, column] * units.scale[column],
            checks=len(units.names) * (len(LEVELS) + 1),
            is_category=units.is_category[column],
            repeats=bool(repeats[column]),
        )
    is_name = np.array(units.is_category)
    is_continuous = ~is_name & ~repeats.numpy()
    is_number = is_there & (is_continuous if is_continuous.any() else ~is_name)
    relative = {"crps": scores / units.spread, "crps_of_training": of_training / units.spread}
    coverage = []
    if is_number.any():
        coverage = [Estimate.of_cells(each, is_number).to_dict() for each in inside]
    counts, _ = np.histogram(places[is_there].numpy(), _BINS, (0, 1))
    low = forecast.ess < _FEW
    return {
        "coverage": coverage,
        **{
            name: Estimate.of_cells(values.numpy(), is_there & ~values.isnan().numpy()).to_dict()
            for name, values in relative.items()
        },
        "histogram": (counts / counts.sum()).tolist(),
        "columns": columns,
        "calibrated": {
            "count": sum(column["is_calibrated"] for column in columns.values()),
            "of": len(columns),
        },
        "few_samples": float(low.mean()) if len(low) else 0.0,
    }


def _crps(truth: Tensor, drawn: Tensor, units: _Units) -> Tensor:
    """The score of every cell, (N, C), in prepared units."""
    scores = ensembles.crps(truth, drawn.expand(-1, len(truth), -1))
    for column in np.flatnonzero(units.is_category):
        scores[:, column] = ensembles.brier(truth[:, column], drawn[:, :, column])
    return scores


def _judged_column(
    places: np.ndarray,
    inside: list[np.ndarray],
    scores: Tensor,
    *,
    checks: int,
    is_category: bool,
    repeats: bool,
) -> dict[str, Any]:
    """Coverage beside its band, the CRPS and the test of the PITs of one column; the law of some `repeats` values."""
    alpha = (1 - _SURE) / checks
    p_value = float(stats.kstest(places, "uniform").pvalue)
    result = {"crps": Estimate.of(scores).to_dict(), "p_value": p_value}
    is_calibrated = p_value >= alpha
    if not is_category:
        shares = [float(each.mean()) for each in inside]
        bands = [band(len(places), level, 1 - alpha) for level in LEVELS]
        result |= {"coverage": shares, "band": [list(ends) for ends in bands]}
        for share, (low, high) in zip(shares, bands, strict=True):
            is_calibrated &= low <= share and (repeats or share <= high)
    return result | {"is_calibrated": bool(is_calibrated)}


def band(rows: int, level: float, sure: float) -> tuple[float, float]:
    """Between which shares of rows an interval of a level that is right covers, with a probability of at least `sure`.

    Args:
        rows: How many rows there are.
        level: Probability of the interval.
        sure: Probability of the band, whose two tails are equal.

    Example:
        >>> band(100, 0.9, 0.99)
        (0.82, 0.97)
    """
    low, high = stats.binom.interval(sure, rows, level)  # eq: binomial-band
    return float(low) / rows, float(high) / rows


def _joint_p_value(forecast: Forecast, generator: torch.Generator) -> float | None:
    """The Kolmogorov-Smirnov test of the average ranks of rows among their draws; None where no row has two cells."""
    pool = np.concatenate([forecast.truth[None].numpy(), forecast.drawn.numpy()])
    is_free = ~np.isnan(pool).any(0)
    several = is_free.sum(1) >= 2
    if not several.any():
        return None
    ranks = stats.rankdata(np.where(is_free, pool, 0.0)[:, several], axis=0)
    average = torch.from_numpy(ranks.mean(-1))  # cells that are not free add the same to all
    share = torch.rand(int(several.sum()), generator=generator, dtype=torch.float64)
    places = ensembles.pit(average[0], average[1:], share)
    return float(stats.kstest(places.numpy(), "uniform").pvalue)
