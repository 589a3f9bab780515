"""The signs by which a doctor tells illnesses that an evaluation alone does not show: measured on a few rows each."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from variform.config.checks import checked
from variform.data.dataset import Dataset
from variform.evaluation.log_likelihood import Scores, floats_per_decode, score
from variform.evaluation.samplers import aggregated_posterior
from variform.evaluation.standard_error import Estimate
from variform.model.spaces import space_of
from variform.model.vae import VAE, HasVAE, evaluating, vae_of
from variform.system import draws
from variform.system.progress import progress_bar

_SAMPLES = 16  # draws of z a row, where rows are compared with each other
_STEPS = 20  # of refining q(z|x)
_WORK = 2e10  # operations of the refining, about a second of one core; a thorough look takes 20 times as many
_PER_FLOAT = 100  # operations for each number that a decode gives, where weights are used often, as by convolutions
_ROWS, _MANY_ROWS = 300, 1000  # that are looked at after a training, and by a doctor
_TRAIN_ROWS = 3000
_COMPARED = 2**20  # numbers of rows among which equal ones are looked for
_MIXTURES = (1, 4, 12)  # components
_MOST_LATENTS = 64  # of a mixture with full covariances
_NEAREST, _FAR = 10, (20, 40)  # neighbours that may be copies, and those that tell the dimension
_LEVELS = 12
_NEAR = 0.1  # of the distance of neighbours that are no copies: families in the training set are far from each other
_JUMP = 8.0  # of a distance to the next neighbour, in units of what chance makes of it: e^-8 are so far apart


@checked
def signs(
    vae: VAE | HasVAE,
    rows: Dataset,
    train: Dataset,
    scores: Scores | None = None,
    *,
    thorough: bool = False,
    seed: int = 0,
    progress: bool = False,
) -> dict[str, Any]:
    r"""What illnesses are told by, as plain values ready for JSON. What these rows or this model have not is left out.

    - `generalisation`: `gap`, the mean ELBO of training rows minus that of `rows`, and `values`, numbers in a row;
    - `amortisation`: `gain`, the ELBO of a q(z|x) refined for each row minus that of the encoder's, and `steps`;
    - `prior`: `gain`, $E_{q(z|x)}[\log m(z) - \log p(z)]$ over `rows`, with m a mixture of Gaussians fitted to draws of
      q(z|x) of training rows: how much of the KL term another prior would save at least, for m never saw these rows;
    - `residuals`: of each column (of images together) what is left of `rows` after decoding a draw of z, in standard
      deviations of p(x|z): `pearson`, its mean square; `kurtosis`; `outside`, the probability that p(x|z) gives to
      values beyond the range of the data; `floor`, the share of rows whose standard deviation is the least allowed;
    - `columns`: of prepared training rows the `std` of each column; of raw ones the share near the `ends` of its range,
      the `largest` share of one value, how many `levels` there are, whether all are `whole` and at least 0, the
      `dispersion`, variance over mean, the `skewness`, whether all are `positive`, and the column before it that it is
      a `copy` of (-1 for none);
    - `outliers`: the `share` of the sum of squares of prepared training rows that its largest hundredth has, and the
      `rows`, by their numbers in the source;
    - `copies`: the `share` of `rows` that are far nearer to a few training rows than to the next ones.

    Args:
        vae: The model.
        rows: Rows that were not trained on.
        train: Training rows.
        scores: What `score` found of `rows`.
        thorough: Look at more rows.
        seed: Seed of every choice and draw.
        progress: Show a progress bar on a terminal.

    Reference:
        Cremer, Li and Duvenaud (2018) for the amortisation gap; Hoffman and Johnson (2016) for what a prior may save;
        Levina and Bickel (2005), equation 8, for distances to neighbours.

    Example:
        >>> from variform import ModelConfig, build_vae, read
        >>> data = read("digits")
        >>> vae = build_vae(ModelConfig(latent_dim=2), data.schema)
        >>> found = signs(vae, data.test, data.train)
        >>> sorted(found)
        ['amortisation', 'columns', 'copies', 'generalisation', 'prior', 'residuals']
    """
    vae = vae_of(vae)
    most = _MANY_ROWS if thorough else _ROWS
    few, some = _few(rows, most, seed), _few(train, max(most, _TRAIN_ROWS), seed)
    measures: dict[str, Callable[[], dict[str, Any]]] = {
        "generalisation": lambda: _generalisation(vae, rows, train, most, scores, seed),
        "amortisation": lambda: _amortisation(vae, rows, thorough, seed),
        "prior": lambda: _prior(vae, few, some, seed),
        "residuals": lambda: _residuals(vae, few, seed),
        "columns": lambda: _columns(some, seed),
        "outliers": lambda: _outliers(some, seed),
        "copies": lambda: _copies(_few(rows, _ROWS, seed), some, seed),
    }
    found: dict[str, Any] = {}
    with progress_bar(progress) as bar:
        task = bar.add_task("looking for illnesses", total=len(measures))
        for name, measure in measures.items():
            if values := measure():
                found[name] = values
            bar.advance(task)
    return found


def _few(data: Dataset, most: int, seed: int) -> Dataset:
    """At most so many rows at random."""
    if len(data) <= most:
        return data
    chosen = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))[:most]
    return data.take(chosen.sort().values)


def _distinct(data: Dataset, seed: int) -> Tensor:
    """The numbers of rows of which each stands for all that are equal to it, among as many as are quickly compared."""
    width = math.prod(data.schema.shape)
    some = torch.arange(len(data))
    if len(data) * width > _COMPARED:
        generator = torch.Generator().manual_seed(seed)
        some = torch.randperm(len(data), generator=generator)[: _COMPARED // width].sort().values
    values = data.gather(some).flatten(1).double()
    if data.contexts is not None:
        values = torch.cat([values, data.contexts[some].double()], 1)
    _, first = np.unique(values.numpy(), axis=0, return_index=True)
    return some[torch.from_numpy(np.sort(first))]


def _generalisation(
    vae: VAE, rows: Dataset, train: Dataset, most: int, scores: Scores | None, seed: int
) -> dict[str, Any]:
    """Equal rows count once on both sides: they stay together in one split, so those that come often are seldom new."""
    new = _distinct(rows, seed)
    seen = _few(train.take(_distinct(train, seed)), most, seed)
    if len(new) < 2 or len(seen) < 2:
        return {}
    elbo = score(vae, seen, samples=_SAMPLES, seed=seed).elbo
    other = (
        scores.elbo if scores is not None else score(vae, rows, samples=_SAMPLES, seed=seed).elbo
    )
    one, two = Estimate.of(elbo), Estimate.of(other[new])
    error = math.hypot(one.se, two.se)
    gap = Estimate(one.mean - two.mean, error, two.n).to_dict()
    return (
        {"gap": gap, "values": math.prod(rows.schema.shape)} if math.isfinite(gap["mean"]) else {}
    )


def _amortisation(vae: VAE, rows: Dataset, thorough: bool, seed: int) -> dict[str, Any]:
    weights = sum(weight.numel() for weight in vae.decoder.parameters())
    operations = 6 * max(weights, _PER_FLOAT * floats_per_decode(vae))
    steps = 2 * _STEPS if thorough else _STEPS
    work = _WORK * (20 if thorough else 1)
    most = int(work / (8 * steps * operations))
    if most < 10 or len(rows) < 2:
        return {}
    few = _few(rows, min(most, 400 if thorough else 200), seed)
    try:
        after = score(vae, few, samples=_SAMPLES, refine=steps, seed=seed).elbo
    except ValueError:  # a posterior whose parameters are not known
        return {}
    before = score(vae, few, samples=_SAMPLES, seed=seed).elbo
    return {"gain": Estimate.of(after - before).to_dict(), "steps": steps}


def _prior(vae: VAE, rows: Dataset, train: Dataset, seed: int) -> dict[str, Any]:
    if not space_of(vae).is_flat:
        return {}
    if vae.latent_dim > _MOST_LATENTS or len(rows) < 2 or len(train) < 4 * vae.latent_dim:
        return {}
    if not space_of(vae).is_flat:  # where a Gaussian mixture has no density to compare
        return {}
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    points = aggregated_posterior(vae, train, seed=seed).numpy()
    codes = aggregated_posterior(vae, rows, seed=seed + 1)
    if not (np.isfinite(points).all() and torch.isfinite(codes).all()):
        return {}
    possible = [count for count in _MIXTURES if count * 4 * vae.latent_dim <= len(points)]
    models = []
    for count in possible:
        model = GaussianMixture(count, max_iter=50, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            models.append(model.fit(points))
    best = min(models, key=lambda model: model.bic(points))
    with evaluating(vae):
        log_p = vae.latent_prior().log_prob(vae.like(codes)).double().cpu()
    gain = torch.from_numpy(best.score_samples(codes.numpy())) - log_p
    return {"gain": Estimate.of(gain).to_dict(), "components": len(best.weights_)}


def _residuals(vae: VAE, rows: Dataset, seed: int) -> dict[str, Any]:
    """Of likelihoods whose laws say their variance, and data without gaps or columns of many kinds."""
    schema = rows.schema
    if schema.gaps or schema.kinds or len(rows) < 2:
        return {}
    residuals, outside, at_floor = [], [], []
    low, high = ends(rows)
    likelihood = vae.likelihood
    floor = 1.5 * likelihood.min_std
    with draws.seeded(seed), evaluating(vae):
        for x, context in vae.batches(rows, 256, seed=seed):
            q = vae.encode(x, context)
            law = vae.decode(q.sample(torch.Size((1,)))[0], context)
            std = law.variance.sqrt().flatten(1).double().cpu()
            mean = law.mean.flatten(1).double().cpu()
            residuals.append((x.flatten(1).double().cpu() - mean) / std.clamp_min(1e-12))
            normal = torch.distributions.Normal(0.0, 1.0)
            inside = normal.cdf((high - mean) / std.clamp_min(1e-12)) - normal.cdf(
                (low - mean) / std.clamp_min(1e-12)
            )
            outside.append(1 - inside)
            at_floor.append(std <= floor)
    left = torch.cat(residuals)
    if not left.isfinite().all():
        return {}
    if schema.kind == "image":
        left = left.flatten()[:, None]
    square = left.square().mean(0)
    found = {
        "pearson": square.tolist(),
        "kurtosis": (left.pow(4).mean(0) / square.square().clamp_min(1e-300)).tolist(),
        "values": len(left),
    }
    if likelihood.is_gaussian:
        by_column = {"outside": torch.cat(outside), "floor": torch.cat(at_floor).double()}
        for name, values in by_column.items():
            found[name] = (
                [values.mean().item()] if schema.kind == "image" else values.mean(0).tolist()
            )
    return found


def ends(rows: Dataset) -> tuple[Tensor, Tensor]:
    """The least and the greatest value of each number of a prepared row, (D,) each, over all rows that were read."""
    schema = rows.schema
    unit = torch.ones(schema.shape, dtype=torch.float64)

    def prepared(values: Any) -> Tensor:
        of_columns = torch.tensor(values, dtype=torch.float64)
        shift, scale = (
            torch.tensor(part, dtype=torch.float64) for part in (schema.shift, schema.scale)
        )
        scaled = (of_columns - shift) / scale
        shape = (-1, *[1] * (len(schema.shape) - 1))
        return (scaled.reshape(shape) * unit).flatten()

    return prepared(schema.low), prepared(schema.high)


def _columns(train: Dataset, seed: int) -> dict[str, Any]:
    """Of tables by column; of images all pixels together."""
    schema = train.schema
    if schema.gaps or schema.kinds:
        return {}
    x = train.prepared(seed=seed).double().flatten(1)
    if schema.kind == "image":
        return {"std": [x.std().item()], "levels": [schema.seen_levels or 0]}
    raw = schema.restore(x.reshape(-1, *schema.shape)).double().flatten(1).numpy()
    values = x.numpy()
    distinct = [np.unique(column, return_counts=True) for column in raw.T]
    mean, variance = raw.mean(0), raw.var(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        dispersion = np.where(mean > 0, variance / mean, 0.0)
    return {
        "std": values.std(0).tolist(),
        "ends": [_near_an_end(column) for column in raw.T],
        "largest": [float(counts.max() / len(raw)) for _, counts in distinct],
        "levels": [len(levels) for levels, _ in distinct],
        "whole": [bool((np.abs(c - np.round(c)) < 1e-4).all() and c.min() > -1e-4) for c in raw.T],
        "dispersion": dispersion.tolist(),
        "skewness": _skewness(raw).tolist(),
        "positive": (raw.min(0) > 0).tolist(),
        "copy": _copied(values),
    }


def _near_an_end(values: Any) -> float:
    """The share of the values within a hundredth of the range from its ends."""
    low, high = values.min(), values.max()
    near = (high - low) / 100
    return float(((values <= low + near) | (values >= high - near)).mean())


def _skewness(x: Any) -> Any:
    centred = x - x.mean(0)
    std = centred.std(0)
    return (centred**3).mean(0) / np.where(std > 0, std, 1.0) ** 3


def _copied(x: Any) -> list[int]:
    """For each column the first one before it that it is a straight line of, else -1."""
    std = x.std(0)
    safe = np.where(std > 0, std, 1.0)
    standard = (x - x.mean(0)) / safe
    correlation = np.abs(standard.T @ standard) / len(x)
    copies = []
    for column in range(x.shape[1]):
        before = np.nonzero(correlation[column, :column] > 1 - 1e-6)[0]
        copies.append(int(before[0]) if len(before) else -1)
    return copies


def _outliers(train: Dataset, seed: int) -> dict[str, Any]:
    if train.schema.gaps or train.schema.kinds or train.schema.kind == "image" or len(train) < 50:
        return {}
    x = train.prepared(seed=seed).double().flatten(1)
    squares = (x - x.median(0).values).square().sum(1)
    count = max(1, len(x) // 100)
    top = squares.topk(count)
    typical = squares.median().item()
    far = top.indices[top.values > 50 * max(typical, 1e-12)]
    index = train.index[far].tolist() if train.index is not None else far.tolist()
    share = (top.values.sum() / squares.sum().clamp_min(1e-300)).item()
    return {"share": share, "rows": sorted(index)}


def _copies(rows: Dataset, train: Dataset, seed: int) -> dict[str, Any]:
    """Distances to neighbours: of independent rows in d dimensions, the (j + 1)-th is further than the j-th by a factor
    whose logarithm is exponentially distributed, with the mean 1 / (j d).
    """
    if rows.schema.gaps or rows.schema.kinds or len(train) < 10 * _FAR[1] or len(rows) < 20:
        return {}
    x, y = (part.prepared(seed=seed).double().flatten(1) for part in (rows, train))
    levels = [len(column.unique()) for column in y[:1000].T]
    if sum(count > _LEVELS for count in levels) < len(levels) / 2:
        return {}  # values of few levels are at few distances
    nearest = torch.cdist(x, y).topk(_FAR[1], largest=False).values.clamp_min(1e-12)
    log = nearest.log()
    begin, end = _FAR
    spread = (log[:, end - 1] - log[:, begin - 1]).mean().item()
    if spread <= 0:
        return {}
    dimension = math.log(end / begin) / spread
    order = torch.arange(1, _NEAREST + 1, dtype=log.dtype)
    jumps = (log[:, 1 : _NEAREST + 1] - log[:, :_NEAREST]) * order * dimension
    is_near = log[:, :_NEAREST] < log[:, begin - 1, None] + math.log(_NEAR)
    has_copy = ((jumps > _JUMP) & is_near).any(1)
    return {"share": has_copy.double().mean().item(), "rows": len(x)}
