"""Spaces to look for designs in: a model's latents, principal components, the columns, or the known designs alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np
import torch

from variform.config.checks import Count, checked
from variform.data.dataset import Dataset
from variform.data.schema import Schema
from variform.design.coding import DesignCoding, designs_of, require_designs, some_rows
from variform.evaluation import exploration
from variform.evaluation.components import ProbabilisticPCA, fit_pca
from variform.model.vae import VAE, evaluating
from variform.system.draws import seeded

Array = np.ndarray[Any, np.dtype[Any]]
SpaceKind = Literal["latent", "pca", "raw", "pool"]

_DIM = 10
_LEAST_STD = 1e-3  # of the Gaussian of codes, along directions in which they do not vary
_POINTS_AT_ONCE = 2**24


class Space(Protocol):
    """Where designs are looked for: points z (n, dim) that stand for designs (n, *shape) in the user's units."""

    @property
    def name(self) -> str:
        """`latent`, `pca-10`, `raw` or `pool`."""
        ...

    @property
    def codes(self) -> Array:
        """Where the training rows lie, (N, dim): all of them, or 20,000 spread evenly."""
        ...

    @property
    def dim(self) -> int:
        """Number of coordinates."""
        ...

    @property
    def box(self) -> tuple[Array, Array]:
        """The .5 and 99.5 % quantiles of the codes of training rows, (dim,) each; equal where no row differs."""
        ...

    @property
    def radius(self) -> float:
        """The median of |z| over the codes of training rows."""
        ...

    def decode(self, z: Array) -> Array:
        """The designs (n, *shape) at points (n, dim): kinds, bounds and rules of the columns hold."""
        ...

    def encode(self, x: Array) -> Array:
        """Where designs (n, *shape) lie, (n, dim)."""
        ...

    def sample(self, count: int, rng: np.random.Generator) -> Array:
        """Points (count, dim) as the data or the prior have them."""
        ...

    def log_density(self, z: Array) -> Array:
        """How plausible points are, (n,), in nats: a log-density, which says nothing of whether a design is valid."""
        ...


@dataclass(frozen=True, eq=False)
class _CodedSpace:
    """What follows from the codes of training rows."""

    name: str
    codes: Array

    @property
    def dim(self) -> int:
        """As of `Space`."""
        return self.codes.shape[1]

    @cached_property
    def box(self) -> tuple[Array, Array]:
        """As of `Space`."""
        low, high = np.quantile(self.codes, [0.005, 0.995], axis=0)
        return low, high

    @cached_property
    def radius(self) -> float:
        """As of `Space`."""
        return float(np.median(np.linalg.norm(self.codes, axis=1)))


@dataclass(frozen=True, eq=False)
class LatentSpace(_CodedSpace):
    """The latents of a VAE: points are decoded to means of p(x|z), and drawn from the prior, whose density counts.

    Args:
        name: As of `Space`.
        codes: Posterior means of training rows, each under its own context.
        vae: The model.
        given: What a conditional model is conditioned on, a value for each condition.
    """

    vae: VAE
    given: Mapping[str, Any]

    def decode(self, z: Array) -> Array:
        """As of `Space`."""
        designs = exploration.decode(self.vae, z, context=self._contexts(1))
        return designs.astype(np.float64)

    def encode(self, x: Array) -> Array:
        """As of `Space`: the means of q(z|x)."""
        schema = self._schema
        raw = torch.from_numpy(require_designs(x, schema))
        rows = Dataset(raw, schema, contexts=self._contexts(len(raw)))
        return exploration.encode(self.vae, rows)[0].astype(np.float64)

    def sample(self, count: int, rng: np.random.Generator) -> Array:
        """As of `Space`: draws from the prior."""
        with seeded(int(rng.integers(2**31))), evaluating(self.vae):
            z = self.vae.latent_prior().sample(torch.Size((count,)))
        return z.cpu().double().numpy()

    def log_density(self, z: Array) -> Array:
        """As of `Space`: log p(z) of the prior."""
        with evaluating(self.vae):
            points = self.vae.like(torch.as_tensor(z))
            return self.vae.latent_prior().log_prob(points).cpu().double().numpy()

    @property
    def _schema(self) -> Schema:
        assert self.vae.schema is not None  # `space_of` makes no other
        return self.vae.schema

    def _contexts(self, count: int) -> torch.Tensor | None:
        contexts = self._schema.contexts(self.given, count)
        return contexts if self._schema.conditions else None


@dataclass(frozen=True, eq=False)
class _LinearSpace(_CodedSpace):
    """A space whose coordinates are those of numbers, with the density of the Gaussian of the training codes."""

    coding: DesignCoding

    def log_density(self, z: Array) -> Array:
        """As of `Space`: of the Gaussian with the mean and the covariance of the training codes."""
        return self._gaussian.log_prob(np.asarray(z, np.float64))

    @cached_property
    def _gaussian(self) -> ProbabilisticPCA:
        return fit_pca(self.codes, self.dim).bounded(_LEAST_STD)


@dataclass(frozen=True, eq=False)
class PCASpace(_LinearSpace):
    """Principal components, each with mean 0 and variance 1 over the training rows; of mixed tables those of FAMD.

    PCA is of the values as a model sees them: on one scale where all columns share a unit, and standardised otherwise.

    Args:
        name, codes: As of `Space`.
        coding: Designs as numbers.
        components: Their mean, axes and variances.
    """

    components: ProbabilisticPCA

    def decode(self, z: Array) -> Array:
        """As of `Space`."""
        along = z * np.sqrt(self.components.variances)
        return self.coding.decode(self.components.mean + along @ self.components.axes)

    def encode(self, x: Array) -> Array:
        """As of `Space`."""
        return _whitened(self.components, self.coding.encode(x))

    def sample(self, count: int, rng: np.random.Generator) -> Array:
        """As of `Space`: draws from N(0, I)."""
        return rng.standard_normal((count, self.dim))


@dataclass(frozen=True, eq=False)
class RawSpace(_LinearSpace):
    """The columns themselves, scaled as a model sees them, and categories by an indicator for each of their values.

    A point becomes the nearest design that the columns allow: whole numbers are rounded, the category is the one with
    the largest indicator, and bounds and rules hold.

    Args:
        name, codes: As of `Space`.
        coding: Designs as numbers.
        designs: Training rows in the user's units, (N, *shape).
    """

    designs: Array

    def decode(self, z: Array) -> Array:
        """As of `Space`."""
        return self.coding.decode(np.asarray(z, np.float64))

    def encode(self, x: Array) -> Array:
        """As of `Space`."""
        return self.coding.encode(x)

    def sample(self, count: int, rng: np.random.Generator) -> Array:
        """As of `Space`: each column drawn from the training rows alone, whatever the others are."""
        flat = self.designs.reshape(len(self.designs), -1)
        rows = rng.integers(len(flat), size=(count, flat.shape[1]))
        drawn = np.take_along_axis(flat, rows, axis=0)
        return self.encode(drawn.reshape(count, *self.coding.schema.shape))


@dataclass(frozen=True, eq=False)
class PoolSpace(PCASpace):
    """The known designs and no others: a point stands for the one whose principal components are nearest.

    Args:
        name, codes: As of `Space`.
        coding: Designs as numbers.
        components: As of `PCASpace`.
        designs: The known designs, in the order of `codes`, (N, *shape).
    """

    designs: Array

    @property
    def points(self) -> Array:
        """All points that there are, (N, dim)."""
        return self.codes

    def nearest(self, z: Array) -> Array:
        """Numbers of the known designs that points (n, dim) stand for, (n,), among `designs`."""
        from scipy.spatial.distance import cdist  # here, for it takes a tenth of a second

        at_once = max(1, _POINTS_AT_ONCE // len(self.codes))
        parts = [z[start : start + at_once] for start in range(0, len(z), at_once)]
        return np.concatenate([cdist(part, self.codes).argmin(1) for part in parts])

    def decode(self, z: Array) -> Array:
        """As of `Space`."""
        return self.designs[self.nearest(z)]

    def sample(self, count: int, rng: np.random.Generator) -> Array:
        """As of `Space`: known designs, none twice before all have come."""
        rounds = -(-count // len(self.codes))
        orders = [rng.permutation(len(self.codes)) for _ in range(rounds)]
        return self.codes[np.concatenate(orders)[:count]]


def _whitened(components: ProbabilisticPCA, numbers: Array) -> Array:
    along = (numbers - components.mean) @ components.axes.T
    return along / np.sqrt(components.variances)


@checked
def space_of(
    model: Any,
    train: Dataset,
    kind: SpaceKind = "latent",
    dim: Count | None = None,
    *,
    given: Mapping[str, Any] | None = None,
) -> Space:
    """A space to look for designs in.

    Args:
        model: A run, a `Model` or a VAE; None for a space that needs none.
        train: The training rows: from them come the box, the components and the pool.
        kind: `latent`, the latents of the model; `pca`, principal components; `raw`, the columns; `pool`, the known
            designs alone.
        dim: Number of principal components, of `pca` and `pool`: by default as many latents as the model has, or 10,
            and never more than the rows span.
        given: What a conditional model is conditioned on, a value for each condition; the other spaces know no
            conditions, and leave it aside.

    Raises:
        ValueError: for a latent space without a model that knows its data, or of another dimension than the model's;
            and as `Schema.context`.

    Example:
        >>> from variform import ModelConfig, build_vae, read
        >>> digits = read("digits")
        >>> vae = build_vae(ModelConfig(latent_dim=2), digits.schema)
        >>> space = space_of(vae, digits.train)
        >>> space.name, space.dim, space.decode(space.sample(3, np.random.default_rng(0))).shape
        ('latent', 2, (3, 1, 8, 8))
        >>> space_of(None, digits.train, "pca", 5).name
        'pca-5'
    """
    vae = getattr(model, "vae", model)
    if kind == "latent":
        return _latent_space(vae, train, dim, given or {})
    rows = some_rows(train)
    designs = designs_of(rows)
    coding = DesignCoding.of(train)
    numbers = coding.encode(designs)
    if kind == "raw":
        return RawSpace("raw", numbers, coding, designs)
    count = dim or getattr(vae, "latent_dim", _DIM)
    components = fit_pca(numbers, min(count, numbers.shape[1]))
    codes = _whitened(components, numbers)
    if kind == "pool":
        return PoolSpace("pool", codes, coding, components, designs)
    return PCASpace(f"pca-{codes.shape[1]}", codes, coding, components)


def _latent_space(vae: Any, train: Dataset, dim: int | None, given: Mapping[str, Any]) -> Space:
    if not isinstance(vae, VAE) or vae.schema is None:
        raise ValueError(
            f"the latent space must have a model that knows its data; got {type(vae).__name__}. Give a run, or the "
            "result of load, or choose another `kind`."
        )
    if dim not in (None, vae.latent_dim):
        raise ValueError(
            f"`dim` must be the model's {vae.latent_dim}; got {dim}. Leave it out, or train a model of that dimension."
        )
    vae.schema.contexts(given, 1)  # which refuses what the model cannot be given
    codes, _ = exploration.encode(vae, some_rows(train))
    return LatentSpace("latent", codes.astype(np.float64), vae, given)
