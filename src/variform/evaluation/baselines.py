"""What simpler models reach on the same rows: PCA of the same dimension, and a model that ignores all structure."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from variform.data.dataset import Dataset
from variform.data.marginals import Marginals
from variform.data.schema import Schema
from variform.evaluation.components import MixedCoding, fit_with_gaps
from variform.evaluation.differences import mean_difference, root_mean_difference, row_errors
from variform.evaluation.log_likelihood import Scores, per_column, squared_error
from variform.evaluation.standard_error import Estimate
from variform.evaluation.tables import PCAS
from variform.model.spaces import space_of
from variform.model.vae import VAE

Array = np.ndarray[Any, np.dtype[Any]]

_EM_WORK = 2**30  # products in a step
_WHOLE = 2**31  # bytes of rows in float64: fewer are used as they are,
_SUBSET = 2**28  # and of more a random subset of this size


def pca(
    vae: VAE,
    data: Dataset,
    train: Dataset,
    *,
    scores: Scores | None = None,
    own_units: bool = False,
    seed: int = 0,
) -> dict[str, Any]:
    """PCA with as many components as the VAE has latent dimensions, fitted on `train`, scored on `data`.

    What PCA finds depends on the units of the columns. By default it sees what the VAE sees, the scaled values; with
    `own_units` the values as they came. The densities of both are in the units of `Schema.log_jacobian` and can be
    compared with each other and with the VAE's; so can the errors, in raw units.

    Args:
        vae: The model beside which PCA stands.
        data: The rows that are scored.
        train: The rows that are fitted.
        scores: The VAE's of the same rows; with them come the paired differences.
        own_units: Measure distances in the data's own units.
        seed: Seed of the binarisation, where the data ask for one.

    Returns:
        components, at most as many as the training rows span; reconstruction_error in the data's own
        units; with a Gaussian likelihood the exact nll of probabilistic PCA; a note where there are so many rows that
        only some are fitted or scored, and where the rows span too little; rows, a tensor (N,) each, nll and
        squared_error, NaN for a row that was not scored; with `scores` nll_difference and
        reconstruction_error_difference, the VAE's minus PCA's over the same rows.
    """
    fitted = _fitted(vae, train, seed)
    scored, chosen = _rows(data, seed)
    unit = np.array(1.0)
    if own_units:
        unit = data.schema.per_value(data.schema.scale).flatten().numpy()
    x = scored.numpy()
    model = fit_with_gaps(fitted.numpy() * unit, _latents(vae), graded=own_units)
    reconstruction = torch.from_numpy(model.reconstruct(x * unit) / unit)
    nll = None
    if vae.likelihood.is_gaussian:
        law = model.divided(unit) if own_units else model
        log_prob = law.bounded(vae.likelihood.min_std).log_prob(x)
        nll = _nll(vae, data.schema, scored, torch.from_numpy(log_prob))
    components = len(model.axes)
    columns = fitted.shape[1]
    notes = [_subset("PCA is fitted", fitted, train) or _subset("PCA is scored", scored, data)]
    if components < min(_latents(vae), columns):
        notes.append(
            f"The training rows vary in {components} directions only: PCA has no more components."
        )
    elif components == columns:
        density = "; its density is that of one full Gaussian" if nll is not None else ""
        notes.append(f"PCA with {components} components copies these rows{density}.")
    numbers = _numbers(data, scored, reconstruction, nll, scores, chosen)
    return {"components": components} | numbers | _note(notes)


def has_own_units(schema: Schema) -> bool:
    """Whether scaling changed the metric: whether some columns were divided by more than others."""
    return schema.binarise == "none" and len(set(schema.scale)) > 1


def famd(
    vae: VAE, data: Dataset, train: Dataset, *, scores: Scores | None = None, seed: int = 0
) -> dict[str, Any]:  # fmt: skip
    """Factorial analysis of mixed data, PCA's peer for a mixed table, with as many factors as the VAE has latents.

    Numbers are standardised and categories are indicators over the root of their frequency; what PCA makes of these is
    decoded, of categories the one with the largest indicator. It gives no probabilities, and so no NLL.

    Args:
        vae: The model beside which it stands.
        data: The rows that are scored.
        train: The rows that are fitted.
        scores: As for `pca`.
        seed: As for `pca`.

    Returns:
        As `pca`, without a density; of categories the errors are the share that is wrong.

    Reference:
        Pagès (2004).
    """
    fitted = _fitted(vae, train, seed)
    scored, chosen = _rows(data, seed)
    coding = MixedCoding.of(fitted.numpy(), data.schema)
    model = fit_with_gaps(coding.encode(fitted.numpy()), _latents(vae))
    on_the_plane = model.reconstruct(coding.encode(scored.numpy()))
    reconstruction = torch.from_numpy(coding.decode(on_the_plane))
    notes = [_subset("FAMD is fitted", fitted, train) or _subset("FAMD is scored", scored, data)]
    numbers = _numbers(data, scored, reconstruction, None, scores, chosen)
    return {"components": len(model.axes)} | numbers | _note(notes)


def trivial(
    vae: VAE, data: Dataset, train: Dataset, *, scores: Scores | None = None, seed: int = 0
) -> dict[str, Any]:  # fmt: skip
    """Independent dimensions, each with the law that fits its training rows: `Likelihood.independent` says which.

    Args:
        vae: The model beside which the trivial model stands; its likelihood decides which one.
        data: The rows that are scored.
        train: The rows that are fitted.
        scores: As for `pca`.
        seed: Seed of the binarisation, where the data ask for one.

    Returns:
        reconstruction_error, that of the training mean; nll, where the likelihood has such a law; a note
        where there are so many rows that only some are scored; differences as of `pca`.
    """
    marginals = Marginals.of(train, seed=seed)
    scored, chosen = _rows(data, seed)
    law = vae.likelihood.independent(marginals)
    mean = marginals.mean
    if law is not None and vae.likelihood.takes_categories:
        mean = law.mean  # which has the most frequent categories
    nll = None
    if law is not None:
        log_prob = law.log_prob_observed(scored) if data.schema.gaps else law.log_prob(scored)
        nll = _nll(vae, data.schema, scored, log_prob)
    numbers = _numbers(data, scored, mean.expand_as(scored), nll, scores, chosen)
    return numbers | _note([_subset("The trivial model is scored", scored, data)])


def evaluate_baselines(
    vae: VAE, data: Dataset, train: Dataset, scores: Scores, *, seed: int = 0
) -> dict[str, dict[str, Any]]:
    """All simpler models that can stand beside a VAE, by name: `pca`, in both metrics where these differ, or for a
    mixed table `famd`; and `trivial`.

    Args:
        vae: The model.
        data: The rows that are scored.
        train: The rows that are fitted.
        scores: The VAE's of the same rows.
        seed: Seed of the binarisation, where the data ask for one.
    """
    options: dict[str, Any] = {"scores": scores, "seed": seed}
    if data.schema.kinds:
        return {
            "famd": famd(vae, data, train, **options),
            "trivial": trivial(vae, data, train, **options),
        }
    baselines = {"pca": pca(vae, data, train, **options)}
    if has_own_units(data.schema):
        baselines["pca_own_units"] = pca(vae, data, train, own_units=True, **options)
    return baselines | {"trivial": trivial(vae, data, train, **options)}


def better_pca(baselines: dict[str, dict[str, Any]], measure: str) -> str | None:
    """The name of the PCA, or FAMD, with the least `measure` among baselines; None where none has it.

    Example:
        >>> some = {"pca": {"nll": {"mean": 3.0}}, "pca_own_units": {"nll": {"mean": 2.0}}, "trivial": {}}
        >>> better_pca(some, "nll"), better_pca(some, "reconstruction_error")
        ('pca_own_units', None)
    """
    names = [name for name in (*PCAS, "famd") if measure in baselines.get(name, {})]
    return min(names, key=lambda name: baselines[name][measure]["mean"], default=None)


def _rows(data: Dataset, seed: int, most: int | None = None) -> tuple[Tensor, Tensor | None]:
    """The prepared rows as a float64 matrix (N, D): all of them, or a random subset of more than fit into memory.

    Beside it the numbers of the rows that were chosen, or None where these are all.
    """
    if most is None:
        most = len(data)
    bytes_of_a_row = 8 * math.prod(data.schema.shape)
    if len(data) * bytes_of_a_row > _WHOLE:
        most = min(most, max(1, _SUBSET // bytes_of_a_row))
    chosen = None
    if len(data) > most:
        shuffled = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))
        chosen = shuffled[:most].sort().values
        data = data.take(chosen)
    rows = data.prepared(seed=seed).double().flatten(1)
    return rows, chosen


def _latents(vae: VAE) -> int:
    """As many components as z has directions."""
    return space_of(vae).dimensions(vae.latent_dim)


def _fitted(vae: VAE, train: Dataset, seed: int) -> Tensor:
    """The prepared rows that PCA is fitted to; of data with gaps no more than EM gets through in a minute or so."""
    schema = train.schema
    most = None
    if any(schema.gaps):
        coded_columns = sum(len(names) or 1 for names in schema.categories)
        width = max(math.prod(schema.shape), coded_columns)
        latents = min(_latents(vae), width)
        products_of_a_row = width * latents**2
        most = max(500, _EM_WORK // products_of_a_row)
    rows, _ = _rows(train, seed, most)
    return rows


def _subset(done: str, rows: Tensor, data: Dataset) -> str:
    """What a reader must know where not all rows are used."""
    if len(rows) == len(data):
        return ""
    return (
        f"{done} on a random {len(rows):,} of {len(data):,} rows: all of them would take too much."
    )


def _note(sentences: Sequence[str]) -> dict[str, str]:
    joined = " ".join(sentence for sentence in sentences if sentence)
    return {"note": joined} if joined else {}


def _nll(vae: VAE, schema: Schema, rows: Tensor, log_prob: Tensor) -> Tensor:
    """Of prepared rows (N, D) with these log-densities, (N,), in the units of `Schema.log_jacobian`."""
    x = rows.reshape(-1, *schema.shape)
    return -log_prob - vae.log_jacobians(schema, x)


def _numbers(
    data: Dataset,
    rows: Tensor,
    reconstruction: Tensor,
    nll: Tensor | None,
    scores: Scores | None,
    chosen: Tensor | None,
) -> dict[str, Any]:
    """The numbers of a model beside the VAE from what it says of prepared rows (N, D), and what the VAE has more."""
    schema = data.schema
    shape = (-1, *schema.shape)
    truth = schema.restore(rows.reshape(shape))
    answer = schema.restore(reconstruction.reshape(shape))
    squares = squared_error(schema, truth, answer)
    error = Estimate.root_mean(squares, gaps=bool(schema.gaps))
    numbers: dict[str, Any] = {"reconstruction_error": error.to_dict()}
    by_row = {"squared_error": row_errors(squares)}
    if schema.kind == "table":
        numbers["reconstruction_error_per_column"] = per_column(schema, squares)
    if nll is not None:
        numbers["nll"] = Estimate.of(nll).to_dict()
        by_row["nll"] = nll
    if chosen is not None:
        by_row = {name: _at(chosen, values, len(data)) for name, values in by_row.items()}
    numbers["rows"] = by_row
    if scores is not None:
        numbers |= _differences(scores, by_row)
    return numbers


def _at(chosen: Tensor, values: Tensor, rows: int) -> Tensor:
    """Values of the chosen among all rows, (N,), NaN elsewhere."""
    unscored = torch.full((rows,), math.nan, dtype=values.dtype)
    return unscored.index_copy(0, chosen, values)


def _differences(scores: Scores, by_row: dict[str, Tensor]) -> dict[str, Any]:
    """The VAE's numbers minus a baseline's, over the rows that the baseline scored."""
    errors = root_mean_difference(row_errors(scores.squared_error), by_row["squared_error"])
    differences = {"reconstruction_error_difference": errors.to_dict()}
    if "nll" in by_row:
        nll = by_row["nll"]
        scored = ~nll.isnan()
        nlls = mean_difference(-scores.log_px[scored], nll[scored])
        differences["nll_difference"] = nlls.to_dict()
    return differences
