"""What a training may begin with, and what so few rows cannot teach."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from variform.config.choices import LikelihoodName
from variform.config.words import counted, listed, quoted
from variform.data.findings.columns import ColumnFindings
from variform.data.findings.rows import NearRows
from variform.data.scaling import Scaling
from variform.data.sources.source import Source

_LEARNABLE = 20  # rows of a category
_LEAST_REST = 50  # rows beside a spike, or in which a column is active
_LEAST_TEST = 100  # rows, or families
_MOST_PCA = 1_000  # rows that the latent dimension is found on
_HELD_OUT = 0.1
_SHUFFLES = 5
_MOST_SHUFFLED = 512  # columns
_FOR_MIXED = {
    "category": "categories",
    "ordinal": "ordered levels",
    "binary": "0 and 1",
    "count": "counts",
    "date": "dates",
    "positive": "numbers above 0 that are nearer log-normal than Gaussian",
    "bounded": "fractions between two ends",
}
"""Kinds of columns that only the mixed likelihood has laws for, in words."""


@dataclass(frozen=True)
class Proposal:
    """What a training may begin with, and why."""

    likelihood: LikelihoodName
    scaling: Scaling
    latent_dim: int
    reasons: tuple[str, ...]


def unlearnable(
    columns: Sequence[ColumnFindings],
    form: str,
    rows: int,
    near: NearRows | None,
    groups: tuple[str, np.ndarray] | None,
) -> Iterator[str]:
    """What cannot be learned from these rows, in sentences."""
    apart, words = rows, "rows"
    if groups is not None:
        apart, words = int(groups[1].max()) + 1, "families"
    elif near is not None and len(near.sizes) < rows:
        apart, words = len(near.sizes), "families"
    test = round(_HELD_OUT * apart)
    if test < _LEAST_TEST:
        yield (
            f"how good a model is, to better than a tenth of the spread between rows: a tenth of {apart} {words} is a"
            f" test set of {test}, whose mean has a standard error of {1 / math.sqrt(max(1, test)):.2f} of that spread"
        )
    used = [column for column in columns if column.role == "value"]
    if form == "table" and used and rows < 5 * len(used):
        yield (
            f"how each pair of columns goes together: {len(used) * (len(used) - 1) // 2} pairs from {rows} rows"
        )
    for column in used:
        yield from _unlearnable_of(column, rows, form)


def _unlearnable_of(column: ColumnFindings, rows: int, form: str) -> Iterator[str]:
    name = quoted(column.name)
    present = rows - column.missing
    if 2 * column.missing > rows:
        yield f"column {name} in general: {column.missing} of {rows} rows have no value"
    rare = [level for level, count in column.levels if count < _LEARNABLE]
    if rare:
        yield f"what goes with {listed(rare)} of column {name}: fewer than {_LEARNABLE} rows each"
    if column.kind == "binary" and column.mean is not None:
        fewer = round(min(column.mean, 1 - column.mean) * present)
        if fewer < _LEARNABLE:
            yield f"what goes with the rarer value of column {name}: {counted(fewer, 'row')}"
    rest = round((1 - column.spike_share) * present)
    if column.spike is not None and rest < _LEAST_REST:
        yield f"the law of column {name} beside its default of {column.spike:.7g}: {counted(rest, 'row')}"
    active = rows - column.inactive
    if column.inactive and active < _LEAST_REST:
        yield f"column {name} where it is active: {counted(active, 'row')}"


def proposed(
    values: np.ndarray,
    form: str,
    columns: Sequence[ColumnFindings],
    source: Source,
    near: NearRows | None,
) -> Proposal:
    """Likelihood, scaling and latent dimension to begin with, with reasons."""
    if form == "images":
        likelihood, scaling, reasons = _for_images(values, source)
        rows = values.reshape(len(values), -1)[_spread(len(values))].astype(np.float64)
        scaled = rows - rows.mean(0)
    else:
        likelihood, scaling, reasons = _for_table(form, columns)
        scaled = _scaled(values[_spread(len(values))], columns, scaling)
    apart = len(values) if near is None else len(near.sizes)
    latent, reason = _latent(scaled, apart, form)
    return Proposal(likelihood, scaling, latent, (*reasons, reason))


def _spread(rows: int) -> np.ndarray:
    """Numbers of at most 1,000 rows."""
    return np.unique(np.linspace(0, rows - 1, min(rows, _MOST_PCA)).round().astype(int))


def _for_images(
    values: np.ndarray, source: Source
) -> tuple[LikelihoodName, Scaling, tuple[str, ...]]:
    seen = np.unique(values[_spread(len(values))])
    if len(seen) <= 2 and seen.min() >= 0 and seen.max() <= 1:
        return "bernoulli", "none", ("likelihood bernoulli, for every value is 0 or 1",)
    return (
        "gaussian-shared",
        "unit",
        (
            "likelihood gaussian-shared, one noise variance for all pixels, for they are of one unit",
            "scaling unit, for all pixels share a range",
        ),
    )


def _for_table(
    form: str, columns: Sequence[ColumnFindings]
) -> tuple[LikelihoodName, Scaling, tuple[str, ...]]:
    if form == "series":
        return (
            "gaussian-shared",
            "common",
            (
                "likelihood gaussian-shared, for the columns are one quantity in one unit, whose noise is alike",
                "scaling common, for one scale for all keeps what a difference means in that unit",
            ),
        )
    used = [column for column in columns if column.role == "value"]
    why = []
    for kind, noun in _FOR_MIXED.items():
        number = sum(column.kind == kind for column in used)
        if number:
            why.append(f"{counted(number, 'column')} of {noun}")
    spiked = [column for column in used if column.spike is not None]
    if spiked:
        why.append(f"{counted(len(spiked), 'column')} with a spike, which no Gaussian has")
    gaps = [column for column in used if column.missing]
    if gaps:
        why.append(f"{counted(len(gaps), 'column')} with gaps")
    all_binary = all(column.kind == "binary" for column in used)
    if used and all_binary and not gaps:
        return "bernoulli", "none", ("likelihood bernoulli, for every value is 0 or 1",)
    standard = "scaling standard, for the columns have units of their own"
    if why:
        return "mixed", "standard", (f"likelihood mixed, for there are {', '.join(why)}", standard)
    return (
        "gaussian-per-feature",
        "standard",
        (
            "likelihood gaussian-per-feature, for each column of numbers has a noise of its own",
            standard,
        ),
    )


def _scaled(values: np.ndarray, columns: Sequence[ColumnFindings], scaling: Scaling) -> np.ndarray:
    """Rows as PCA sees them: categories as indicators over the root of their shares, what is missing at the mean."""
    parts = []
    for number, column in enumerate(columns):
        own = values[:, number]
        if column.role != "value":
            continue
        if column.levels:
            for code in np.unique(own[np.isfinite(own)]):
                is_it = own == code
                share = is_it.mean()
                parts.append((is_it - share) / math.sqrt(share))
            continue
        with np.errstate(all="ignore"):
            centred = np.nan_to_num(own - np.nanmean(own)) if np.isfinite(own).any() else own * 0
        std = float(centred.std())
        if std > 0:
            parts.append(centred if scaling == "common" else centred / std)
    return np.stack(parts, 1) if parts else np.zeros((len(values), 1))


def _latent(scaled: np.ndarray, apart: int, form: str) -> tuple[int, str]:
    """As many latents as PCA has components that say something, and no more than a twentieth of the families.

    Of a table these are the components that say more than those of its columns shuffled one by one do, "parallel
    analysis" (Horn, 1965); of curves those that have 99 % of the variance, of images 95 %.
    """
    variances = _variances(scaled)
    total = variances.sum()
    needed = {
        part: int(np.searchsorted(np.cumsum(variances), part * total * (1 - 1e-12)) + 1)
        for part in (0.9, 0.95, 0.99)
    }
    words = ", ".join(f"{count} for {part:.0%}" for part, count in needed.items())
    said = f"PCA needs {words} of the variance"
    wanted = needed[0.99 if form == "series" else 0.95]
    if form == "table" and scaled.shape[1] <= _MOST_SHUFFLED:
        wanted = _beyond_chance(scaled, variances)
        beyond = counted(wanted, "component")
        said = (
            f"{beyond} of PCA say more than where the columns are shuffled one by one, and {said}"
        )
    most = max(2, apart // 20)
    latent = min(max(2, wanted), most)
    if wanted > most:
        said += f"; {apart} rows that are apart bear about a twentieth of that, {most}"
    return latent, f"latent dimension {latent}: {said}; variform study latent-dim tries several"


def _variances(rows: np.ndarray) -> np.ndarray:
    """Sums of squares along the principal components of centred rows, the greatest first."""
    small = rows if rows.shape[1] <= rows.shape[0] else rows.T
    return np.linalg.eigvalsh(small.T @ small)[::-1].clip(0)


def _beyond_chance(scaled: np.ndarray, variances: np.ndarray) -> int:
    """How many of the first components have more variance than in any of some tables of shuffled columns."""
    random = np.random.default_rng(0)
    by_chance = np.max([_variances(random.permuted(scaled, axis=0)) for _ in range(_SHUFFLES)], 0)
    is_less = variances <= by_chance
    return int(is_less.argmax()) if is_less.any() else len(variances)
