"""Looking into a trained VAE: everything here returns arrays in the data's own units and draws nothing.

All of it is deterministic: posterior means are used, and draws, where asked for, are seeded.
"""

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from variform.config.checks import Count, checked
from variform.data.dataset import Dataset
from variform.data.schema import Schema
from variform.distributions.gaussian import StandardNormal
from variform.distributions.hierarchy import Hierarchy
from variform.distributions.law import Law
from variform.model.spaces import space_of
from variform.model.vae import VAE, evaluating
from variform.system.draws import seeded

Array = np.ndarray[Any, np.dtype[Any]]

_FLOATS_AT_ONCE = (
    2**25
)  # of the decoder's output: a probability for each of 256 levels of each pixel is many
_NAMED = 12  # columns in a sentence
_RARE = 1e-4


@checked
def encode(vae: VAE, data: Dataset, *, draw: bool = False, seed: int = 0) -> tuple[Array, Array]:
    """Mean and standard deviation of q(z|x) of every row.

    Args:
        vae: The model.
        data: N rows.
        draw: Give one draw from q(z|x) instead of its mean.
        seed: Seed of the draws, and of the binarisation where the data ask for one.

    Returns:
        Two arrays (N, latent_dim).
    """
    with seeded(seed), evaluating(vae):
        laws = [vae.encode(*batch) for batch in vae.batches(data, 1024, seed=seed)]
        points = torch.cat([_point(law, draw=draw) for law in laws])
        stds = torch.cat([law.stddev for law in laws])
        return points.cpu().numpy(), stds.cpu().numpy()


def _point(law: Law, *, draw: bool) -> Tensor:
    return law.sample() if draw else law.mean


@checked
def decode(
    vae: VAE,
    z: Array,
    *,
    context: Tensor | None = None,
    draw: bool = False,
    tidy: bool = True,
    seed: int = 0,
) -> Array:
    """What the decoder makes of latent points.

    Args:
        vae: The model.
        z: (..., latent_dim).
        context: What the model is conditioned on, (..., context_dim), or (context_dim,) for all points.
        draw: Draw x from p(x|z) instead of taking its mean.
        tidy: Give values as the columns of a mixed table can hold them, as `Schema.tidy` says.
        seed: Seed of the draws.

    Returns:
        (..., *event), in the data's own units.

    Raises:
        ValueError: for points of another dimension than the model's.
    """
    with seeded(seed), evaluating(vae):
        raw = torch.cat([_point(law, draw=draw) for law in _laws(vae, z, context)])
    if vae.schema is not None:
        raw = vae.schema.restore(raw)
    if tidy and vae.schema is not None:
        raw = vae.schema.tidy(raw)
    if draw and vae.likelihood.support in ("levels", "counts"):
        raw = raw.round()  # of the scaling's last bit
    return raw.cpu().numpy().reshape(*z.shape[:-1], *vae.event_shape)


def deviations(vae: VAE, z: Array, *, context: Tensor | None = None) -> Array:
    """The standard deviation of every value under p(x|z) at latent points, in the data's own units.

    Args:
        vae: The model.
        z, context: As of `decode`.

    Returns:
        (..., *event); of categories the deviations of their numbers.

    Raises:
        ValueError: as `decode`.

    Example:
        >>> from variform import ModelConfig, build_vae, read
        >>> vae = build_vae(ModelConfig(latent_dim=2, likelihood="bernoulli"), read("digits").schema)
        >>> deviations(vae, np.zeros((3, 2))).shape
        (3, 1, 8, 8)
    """
    with evaluating(vae):
        stds = torch.cat([law.stddev for law in _laws(vae, z, context)])
    if vae.schema is not None:
        stds = stds.double() * vae.schema.per_value(vae.schema.scale).to(stds.device)
    return stds.cpu().numpy().reshape(*z.shape[:-1], *vae.event_shape)


def _laws(vae: VAE, z: Array, context: Tensor | None) -> Iterator[Law]:
    """p(x|z) at latent points, of some of them after another."""
    if z.shape[-1] != vae.latent_dim:
        raise ValueError(
            f"latent points must have {vae.latent_dim} columns, one a latent dimension; got {z.shape[-1]}. "
            "Give the output of encode."
        )
    points = vae.like(torch.as_tensor(z)).reshape(-1, vae.latent_dim)
    rows = max(1, min(1024, _FLOATS_AT_ONCE // math.prod(vae.likelihood.params_shape)))
    contexts: Iterable[Tensor | None] = itertools.repeat(None)
    if context is not None:
        contexts = vae.like(context).expand(*z.shape[:-1], -1).reshape(len(points), -1).split(rows)
    for chunk in zip(points.split(rows), contexts, strict=False):
        yield vae.decode(*chunk)


@checked
def generate(
    vae: VAE,
    count: Count,
    *,
    context: Tensor | None = None,
    draw: bool = False,
    tidy: bool = True,
    seed: int = 0,
) -> Array:
    """New data: z from the prior, then the mean of p(x|z), or with `draw` a draw from it; (count, *event).

    Args:
        vae: The model.
        count: How many.
        context: What the model is conditioned on, (count, context_dim), or (context_dim,) for all.
        draw: Draw x from p(x|z) instead of taking its mean.
        tidy: As of `decode`.
        seed: Seed of the draws.
    """
    z = prior_points(vae, count, seed=seed)
    return decode(vae, z, context=context, draw=draw, tidy=tidy, seed=seed + 1)


def prior_points(vae: VAE, count: int, *, seed: int = 0) -> Array:
    """Draws from the prior, (count, latent_dim): those that `generate` decodes with the next seed.

    Args:
        vae: The model.
        count: How many.
        seed: Seed of the draws.
    """
    with seeded(seed), evaluating(vae):
        return vae.latent_prior().sample(torch.Size((count,))).cpu().numpy()


def remarks(schema: Schema, raw: Array, *, least: float = 0.0) -> list[str]:
    """What must be said of new rows of a table: where they are below 0 and the data are not, and which piles they miss.

    Args:
        schema: What the data are.
        raw: The rows before `Schema.tidy`, (N, columns), in the data's own units.
        least: A column is named only if more than this share of the rows is concerned.

    Returns:
        Sentences: how many values of which columns are below 0 where the data are not, and at which single values the
        data pile up and these rows do not.

    Example:
        >>> from variform.data.reading import dataset_from
        >>> remarks(dataset_from(torch.tensor([[0.5], [4.0]])).schema, np.array([[-0.1], [1.0], [-0.2], [2.0]]))
        ['Below 0, where no row of the data is: column 1 in 2 of 4 rows. The law of a column is a Gaussian, which does \
not know of the end: train on its logarithm.']
    """
    if schema.kind != "table":
        return []
    below = _below_zero(schema, schema.tidy(torch.from_numpy(raw)).numpy())
    sentences = []
    if words := _counts(below, len(raw), least):
        remedy = "declare it with `positives`" if schema.kinds else "train on its logarithm"
        sentences.append(
            f"Below 0, where no row of the data is: {words}. The law of a column is a Gaussian, which does not know of "
            f"the end: {remedy}."
        )
    if missed := _missed_piles(schema, raw):
        more = f", and {len(missed) - _NAMED} columns more" if len(missed) > _NAMED else ""
        sentences.append(
            f"Values that many rows of the data hold exactly and too few of these: {', '.join(missed[:_NAMED])}{more}. "
            "A law of numbers has no such values"
            + (": declare them with `spikes`." if schema.kinds else ".")
        )
    return sentences


def _missed_piles(schema: Schema, raw: Array) -> list[str]:
    """Where the data pile up at a single value and rows do not, in words, the largest pile first.

    A column is named where so few of the rows, or fewer, would come from the share of the data once in 10,000 times.
    """
    if not any(share for _, share in schema.modes):
        return []
    from scipy.special import bdtr  # here, for importing it takes a fifth of a second

    tidy = schema.tidy(torch.from_numpy(raw)).numpy()
    tidy = np.where(schema.whole, np.rint(tidy), tidy)
    missed = {}
    for column, (value, share) in enumerate(schema.modes):
        rounding = 1e-6 * (schema.high[column] - schema.low[column])
        is_mode = np.abs(tidy[:, column] - value) <= rounding
        count = int(is_mode.sum())
        if share and bdtr(count, len(raw), share) < _RARE:
            missed[column] = (
                f"{schema.columns[column]} = {value:.6g} in {share:.1%} of the data and {count / len(raw):.1%} here"
            )
    largest_first = sorted(missed, key=lambda column: -schema.modes[column][1])
    return [missed[column] for column in largest_first]


def _below_zero(schema: Schema, raw: Array) -> dict[str, int]:
    """How many values of each column are below 0, of columns whose data are not."""
    columns = zip(schema.columns, schema.low, (raw < 0).sum(0).tolist(), strict=True)
    return {name: count for name, low, count in columns if low >= 0 and count}


def _counts(by_column: dict[str, int], rows: int, least: float) -> str:
    """Counts of rows by column in words, the largest first; "" where there are none."""
    counts = sorted(by_column.items(), key=lambda item: -item[1])
    named = [f"{name} in {count:,}" for name, count in counts if count > least * rows]
    if not named:
        return ""
    more = f" and {len(named) - _NAMED} columns more" if len(named) > _NAMED else ""
    return f"{', '.join(named[:_NAMED])} of {rows:,} rows{more}"


@checked
def reconstruct(
    vae: VAE, data: Dataset, *, context: Tensor | None = None, seed: int = 0
) -> tuple[Array, Array]:
    """The rows as the model saw them and their reconstructions from the posterior means, both (N, *event).

    Args:
        vae: The model.
        data: The rows.
        context: Under which the rows are decoded, (N, context_dim) or (context_dim,): for a conditional model another
            label than their own, for example; by default their own.
        seed: Seed of the binarisation, where the data ask for one.
    """
    x = data.prepared(seed=seed)
    means, _ = encode(vae, data, seed=seed)
    if context is None:
        context = data.contexts
    return data.schema.tidy(data.schema.restore(x)).numpy(), decode(vae, means, context=context)


@checked
def manifold(
    vae: VAE, size: int = 20, *, context: Tensor | None = None, seed: int = 0
) -> tuple[Array, Array]:
    r"""A 2-D latent space decoded on a grid of equal prior mass, $z = \Phi^{-1}(u)$ under N(0, I).

    Under another prior, many of its draws are cut into strips of equal mass by z1, and each strip by z2.

    Args:
        vae: A model with two latent dimensions.
        size: Points on each side.
        context: What the model is conditioned on, (context_dim,).
        seed: Seed of the draws.

    Returns:
        grid (size, size, *event), where grid[i, j] is decoded at z1 = quantile j and z2 = quantile i (given z1),
        and the quantiles (size,) u.

    Raises:
        ValueError: when the latent space has not two dimensions.

    Reference:
        Kingma and Welling (2014), figure 4.
    """
    points, quantiles = manifold_points(vae, size, seed=seed)
    return decode(vae, points, context=context), quantiles


def manifold_points(vae: VAE, size: int = 20, *, seed: int = 0) -> tuple[Array, Array]:
    """Where `manifold` decodes: (size, size, 2), and the quantiles (size,); its arguments and errors are the same."""
    if vae.latent_dim != 2:
        raise ValueError(
            f"the manifold needs 2 latent dimensions; the model has {vae.latent_dim}. Use traversals."
        )
    quantiles = (torch.arange(size, dtype=torch.float64) + 0.5) / size
    draws = _prior_draws(vae, size * 1000, seed)
    if draws is None:
        z = torch.special.ndtri(quantiles)  # eq: manifold-grid
        second, first = np.meshgrid(z.numpy(), z.numpy(), indexing="ij")
    else:
        strips = draws[draws[:, 0].argsort()].reshape(size, -1, 2)
        second = np.quantile(strips[:, :, 1], quantiles.numpy(), axis=1)
        first = np.broadcast_to(np.median(strips[:, :, 0], axis=1), (size, size))
    return within(vae, np.stack([first, second], -1)), quantiles.numpy()


def within(vae: VAE, points: Array) -> Array:
    """The points of the model's space that are nearest to others, of the same shape."""
    return space_of(vae).nearest(torch.from_numpy(points)).numpy()


def latent_map(means: Array) -> tuple[Array, tuple[str, str]]:
    """Posterior means in the plane: as they are for two latents, by PCA for more, (N, 2), and the names of the axes.

    Where there is no plane of PCA, as of a single row or of rows at one point, the first two latents make it.
    """
    if means.shape[1] == 1:
        return np.column_stack([means, np.zeros(len(means))]), ("z1", "")
    plane = principal_plane(means)
    if plane is None:
        return means[:, :2], ("z1", "z2")
    first, second = plane.shares
    axes = f"PC1 of the posterior means ({first:.0%})", f"PC2 of the posterior means ({second:.0%})"
    return plane.project(means), axes


@dataclass(frozen=True)
class Plane:
    """The plane in which points lie furthest apart.

    Args:
        centre: Their mean, (latent_dim,).
        axes: The first two principal axes, (2, latent_dim), of length 1; the largest entry of each is positive.
        shares: What share of their variance lies along each axis, (2,).
    """

    centre: Array
    axes: Array
    shares: Array

    def project(self, points: Array) -> Array:
        """Where points (N, latent_dim) lie in the plane, (N, 2)."""
        return (points - self.centre) @ self.axes.T


def principal_plane(means: Array) -> Plane | None:
    """PCA of points in more than two dimensions; None where it needs none, or where they do not span a line.

    Args:
        means: (N, latent_dim).

    Example:
        >>> principal_plane(np.ones((10, 3))) is None, principal_plane(np.eye(3)).axes.shape
        (True, (2, 3))
    """
    points = means.astype(np.float64)
    if len(points) < 3 or points.shape[1] < 3:
        return None
    if np.ptp(points, axis=0).max() <= 1e-6 * np.abs(points).max():  # what is left is rounding
        return None
    centre = points.mean(0)
    _, lengths, axes = np.linalg.svd(points - centre, full_matrices=False)
    largest = np.abs(axes).argmax(1)
    axes *= np.sign(axes[np.arange(len(axes)), largest])[:, None]
    squares = lengths**2
    return Plane(centre, axes[:2], squares[:2] / squares.sum())


@checked
def traversals(
    vae: VAE,
    measure: Array,
    *,
    context: Tensor | None = None,
    start: Array | None = None,
    span: float = 2.5,
    steps: int = 11,
    most: int = 12,
    seed: int = 0,
) -> tuple[Array, Array, list[int]]:
    """Each latent moved alone from -span to span, the others held at `start`, in the order of a falling measure.

    Under a prior other than N(0, I) a latent moves through the quantiles that the prior gives it alone, from that of
    N(0, 1) at -span to that at span.

    Args:
        vae: The model.
        measure: A number of each latent, (latent_dim,), such as its mean KL; it gives the order.
        context: What the model is conditioned on, (context_dim,).
        start: Where the other latents stand, (latent_dim,); by default 0, or the medians of another prior.
        span: Largest distance from 0, in standard deviations of N(0, 1).
        steps: Points on each traversal.
        most: Most latents.
        seed: Seed of the draws from which quantiles are found.

    Returns:
        values (dims, steps, *event), positions (steps,) and the latents (dims,), counted from 0.
    """
    order = np.argsort(-np.asarray(measure))[:most].tolist()
    positions = np.linspace(-span, span, steps)
    draws = _prior_draws(vae, 20_000, seed)
    if draws is None:
        path = np.repeat(positions[:, None], vae.latent_dim, 1)
        middle = np.zeros(vae.latent_dim)
    else:
        shares = torch.special.ndtr(torch.from_numpy(positions)).numpy()
        path = np.quantile(draws, shares, axis=0)
        middle = np.median(draws, axis=0)
    others = middle if start is None else start
    z = np.zeros((len(order), steps, vae.latent_dim)) + others
    for row, latent in enumerate(order):
        z[row, :, latent] = path[:, latent]
    return decode(vae, within(vae, z), context=context), positions, order


@checked
def interpolation(
    vae: VAE, data: Dataset, *, pairs: int = 6, steps: int = 11, seed: int = 0
) -> Array:
    """Shortest ways between the posterior means of pairs of rows, decoded; (pairs, steps, *event).

    Args:
        vae: The model.
        data: The rows; the first 2 * pairs of a seeded shuffle are joined.
        pairs: Number of lines.
        steps: Points on each, both ends included.
        seed: Seed of the shuffle.
    """
    shuffled = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))
    pairs = min(pairs, len(data) // 2)
    ends = data.take(shuffled[: 2 * pairs])
    means = torch.from_numpy(encode(vae, ends)[0])
    share = torch.linspace(0, 1, steps, dtype=torch.float64).to(means)[:, None]
    points = space_of(vae).between(means[0::2, None], means[1::2, None], share)
    context = ends.contexts
    if context is not None:
        context = context[0::2, None].lerp(context[1::2, None], share.to(context))
    return decode(vae, points.numpy(), context=context)


def redrawn(
    vae: VAE, *, rows: int = 4, draws: int = 9, context: Tensor | None = None, seed: int = 0
) -> tuple[Array, list[int]]:
    """What stays and what changes as the upper of several latents are held and those below are drawn again.

    Args:
        vae: A model of several latents.
        rows: Draws of what is held, for each number of levels that can be.
        draws: Draws of the rest for each.
        context: What the model is conditioned on, (context_dim,).
        seed: Seed of all draws.

    Returns:
        Means of p(x|z), (rows * (L - 1), draws, *event), and how many levels are held in each row, from the top.

    Raises:
        ValueError: for a model of one latent.
    """
    with seeded(seed), evaluating(vae):
        p = vae.latent_prior()
        if not isinstance(p, Hierarchy):
            raise ValueError(
                f"levels are held where there are several latents; got {vae.latent_dim} dimensions of one. Train with "
                "`latents`."
            )
        z, held = [], []
        for count in range(1, len(p.widths)):
            upper = p.sample((rows,))[:, sum(p.widths[:-count]) :]
            z.append(p.below(upper[:, None].expand(-1, draws, -1), draw=True))
            held += [count] * rows
    return decode(vae, torch.cat(z).cpu().numpy(), context=context), held


def under_each(vae: VAE, data: Dataset, *, steps: int = 7) -> tuple[Array, list[str]]:
    """Rows decoded under other contexts: the same z, while the first condition changes.

    Args:
        vae: A conditional model.
        data: N rows; their other conditions stay as they are.
        steps: Contexts of a number, from 2 standard deviations below its mean to 2 above; a category has up to 12.

    Returns:
        values (N, contexts, *event) and the contexts in words.
    """
    assert data.contexts is not None
    first, *_ = data.schema.conditions
    values = (
        torch.eye(first.width)[:12] if first.categories else torch.linspace(-2, 2, steps)[:, None]
    )
    contexts = data.contexts[:, None].repeat(1, len(values), 1)
    contexts[:, :, : first.width] = values
    means, _ = encode(vae, data)
    z = np.repeat(means[:, None], len(values), axis=1)
    return decode(vae, z, context=contexts), [first.decode(value) for value in values]


def spread(count: int, total: int) -> Tensor:
    """Indices of `count` rows spread evenly over `total`."""
    return torch.linspace(0, total - 1, min(count, total), dtype=torch.float64).round().long()


def _prior_draws(vae: VAE, count: int, seed: int) -> Array | None:
    """Draws from the prior (count, latent_dim); None for N(0, I), whose quantiles have a formula."""
    with seeded(seed), evaluating(vae):
        law = vae.latent_prior()
        if isinstance(law, StandardNormal):
            return None
        return law.sample(torch.Size((count,))).cpu().numpy()
