"""A trained model as a person asks it: arrays in, arrays out, in the data's own units."""

import dataclasses
import math
import os
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

import numpy as np
import torch
from torch import Tensor

from variform.config.checks import Count, Positive, checked
from variform.data.dataset import Dataset
from variform.data.reading import read_rows, rows_like
from variform.data.schema import Schema
from variform.evaluation import exploration, partial
from variform.evaluation.log_likelihood import score
from variform.export.model_file import load_vae, save
from variform.model import fitted_priors
from variform.model.vae import VAE, vae_of
from variform.system.import_path import trusting

if TYPE_CHECKING:
    from variform.pages.explorer.page import Page

Array = np.ndarray[Any, np.dtype[Any]]
Values = TypeVar("Values", Array, Tensor)
Given = Mapping[str, Any]

_FEW = 0.02  # share of the rows that may be clipped without a word


@dataclass(frozen=True, repr=False)
class Model:
    """A VAE that answers in the data's own units, on NumPy arrays and tensors alike.

    What comes back is of the kind that came: an array for an array, a tensor for a tensor, on its device, in its
    precision but at least float32. Whole numbers give float32. Gradients do not pass; for them ask `vae`.

    A conditional model needs `given` in every call: a value by name for each condition, one for all rows or one a row.
    A table's categories are their numbers in `schema.categories`; where the model takes gaps, NaN is one.

    Args:
        vae: A VAE made by `build_vae`, or by hand with its `schema` set, whose laws and networks it stays; or a run.

    Raises:
        ValueError: for a VAE that does not know its data.

    Example:
        >>> from variform import ModelConfig, build_vae, read
        >>> digits = read("digits")
        >>> model = Model(build_vae(ModelConfig(latent_dim=2), digits.schema))
        >>> x = digits.test.raw[:3]
        >>> model.encode(x).shape, model.reconstruct(x.numpy()).shape, model.sample(5).shape
        (torch.Size([3, 2]), (3, 1, 8, 8), (5, 1, 8, 8))
    """

    vae: VAE

    def __post_init__(self) -> None:
        object.__setattr__(self, "vae", vae_of(self.vae))
        if self.vae.schema is None:
            raise ValueError(
                "a model must know its data; this VAE was put together by hand. Set its `schema` to that of the data, "
                "read(...).schema, or build it with build_vae."
            )

    @property
    def schema(self) -> Schema:
        """What the data are."""
        assert self.vae.schema is not None
        return self.vae.schema

    @property
    def latent_dim(self) -> int:
        """Number of latent dimensions."""
        return self.vae.latent_dim

    def __repr__(self) -> str:
        return f"Model({self.vae.extra_repr()}, data={self.schema.summary()})"

    @overload
    def encode(
        self, x: Values, *, given: Given | None = None, std: Literal[False] = False
    ) -> Values: ...
    @overload
    def encode(
        self, x: Values, *, given: Given | None = None, std: Literal[True]
    ) -> tuple[Values, Values]: ...
    def encode(self, x: Any, *, given: Given | None = None, std: bool = False) -> Any:
        """The means of q(z|x), (N, latent_dim), and with `std` a second result, its standard deviations.

        Args:
            x: Rows in the data's own units, (N, *event); or of a table a DataFrame, columns by their names or records.
            given: See `Model`; a category '' is not known, and the model's classifier, if it has one, finds it.
            std: Whether to give the standard deviations too.

        Raises:
            ValueError: for rows of another shape, type or range than the model's data.
        """
        means, stds = exploration.encode(self.vae, self._rows(x, given))
        return (_as(x, means), _as(x, stds)) if std else _as(x, means)

    def decode(self, z: Values, *, given: Given | None = None) -> Values:
        """The means of p(x|z), (..., *event), in the data's own units.

        Args:
            z: Latent points, (..., latent_dim).
            given: See `Model`.

        Raises:
            ValueError: for points of another dimension, and for what is not finite.

        Warns:
            UserWarning: where `given` lies outside the conditions of the training rows, or has few of them near.
        """
        points = self._points(z)
        contexts = self._contexts(given, points.shape[:-1])
        return _as(z, exploration.decode(self.vae, points, context=contexts))

    @checked
    def deviations(self, z: Values, *, given: Given | None = None) -> Values:
        """The standard deviations of all values under p(x|z), (..., *event), in the data's own units.

        Args:
            z: Latent points, (..., latent_dim).
            given: See `Model`.

        Raises:
            ValueError: as `decode`.

        Warns:
            UserWarning: as `decode`.
        """
        points = self._points(z)
        contexts = self._contexts(given, points.shape[:-1])
        return _as(z, exploration.deviations(self.vae, points, context=contexts))

    def _points(self, z: Values) -> Array:
        """Latent points as an array of finite numbers."""
        points = _numbers(z)
        wrong = None
        if points.dtype.kind not in "buif":
            wrong = f"the type {points.dtype}"
        elif points.ndim == 0 or points.size == 0:
            wrong = f"the shape {points.shape}"
        elif not np.isfinite(points).all():
            wrong = "NaN or infinite ones"
        if wrong:
            raise ValueError(
                f"latent points must be finite numbers, (..., {self.latent_dim}); got {wrong}. Give the output of "
                "encode, or draws from the prior."
            )
        return points

    @checked
    def sample(
        self,
        count: Count,
        *,
        given: Given | None = None,
        temperature: Positive = 1.0,
        draw: bool = False,
        seed: int = 0,
    ) -> Array:
        """New rows: z from the prior, then the mean of p(x|z); an array (count, *event) in the data's own units.

        Args:
            count: How many.
            given: See `Model`.
            temperature: See `samplers.tempered`: below 1 rows are more typical and vary less.
            draw: Draw from p(x|z) instead of taking its mean, so that the decoder's noise is in.
            seed: Seed of the draws.

        Raises:
            ValueError: for less than one row, and for a temperature that is not above 0.

        Warns:
            UserWarning: where more than 2 % of the rows are clipped in some column, see `exploration.remarks`; and as
                `decode`.
        """
        vae = self.vae
        if temperature != 1:
            vae = vae.with_prior(fitted_priors.TemperedPrior(vae.prior, temperature))
        contexts = self._contexts(given, (count,))
        raw = exploration.generate(vae, count, context=contexts, draw=draw, tidy=False, seed=seed)
        for remark in exploration.remarks(self.schema, raw, least=_FEW):
            _warn(remark)
        return self.schema.tidy(torch.from_numpy(raw)).numpy()

    def reconstruct(self, x: Values, *, given: Given | None = None) -> Values:
        """The means of p(x|z) at the means of q(z|x), (N, *event); arguments and errors as of `encode`."""
        return _as(x, exploration.reconstruct(self.vae, self._rows(x, given))[1])

    @overload
    def score(
        self,
        x: Values,
        *,
        given: Given | None = None,
        samples: Count = 1000,
        refine: int = 0,
        seed: int = 0,
        pareto_k: Literal[False] = False,
    ) -> Values: ...
    @overload
    def score(
        self,
        x: Values,
        *,
        given: Given | None = None,
        samples: Count = 1000,
        refine: int = 0,
        seed: int = 0,
        pareto_k: Literal[True],
    ) -> tuple[Values, Values]: ...
    @checked
    def score(
        self,
        x: Any,
        *,
        given: Given | None = None,
        samples: Count = 1000,
        refine: int = 0,
        seed: int = 0,
        pareto_k: bool = False,
    ) -> Any:
        """log p(x) of every row by importance sampling, (N,) float64, in nats; see `evaluation.log_likelihood.score`.

        With `pareto_k` a second result, (N,), says how far to trust each: above 0.7 not at all, and `refine` helps.

        Args:
            x: As of `encode`; what is missing is left out of the density.
            given: As of `encode`.
            samples: Importance samples per row; more come closer to the truth, from below.
            refine: Steps on each row's own ELBO by which q(z|x) is improved before sampling.
            seed: Seed of the draws.
            pareto_k: Whether to give the Pareto k of every row too.

        Raises:
            ValueError: as `encode`, for values that the likelihood gives no density, and for less than one sample.
        """
        rows = self._rows(x, given)
        rows.schema.require(self.vae.likelihood.support, "the model's likelihood")
        scores = score(self.vae, rows, samples=samples, refine=refine, seed=seed)
        log_px = _as(x, scores.log_px.numpy())
        return (log_px, _as(x, scores.pareto_k.numpy())) if pareto_k else log_px

    @checked
    def interpolate(
        self, first: Values, second: Values, *, steps: Count = 11, given: Given | None = None
    ) -> Values:
        r"""Straight lines between the posterior means of rows, decoded: $(1 - t) z_1 + t z_2$ with t from 0 to 1.

        Args:
            first: Rows in the data's own units, (N, *event).
            second: As many others.
            steps: Points on each line, both ends included.
            given: See `Model`; it stays the same along a line.

        Returns:
            (N, steps, *event), in the data's own units.

        Raises:
            ValueError: as `encode`, and for another number of rows.

        Example:
            >>> from variform import ModelConfig, build_vae, read
            >>> digits = read("digits")
            >>> model = Model(build_vae(ModelConfig(latent_dim=2), digits.schema))
            >>> model.interpolate(digits.test.raw[:2], digits.test.raw[2:4], steps=5).shape
            torch.Size([2, 5, 1, 8, 8])
        """
        starts, _ = exploration.encode(self.vae, self._rows(first, given))
        ends, _ = exploration.encode(self.vae, self._rows(second, given))
        if len(starts) != len(ends):
            raise ValueError(
                f"`second` must have a row for each of `first`; got {len(ends)} for {len(starts)}. Give pairs."
            )
        share = np.linspace(0, 1, steps)[:, None]
        z = starts[:, None] * (1 - share) + ends[:, None] * share
        contexts = self._contexts(given, (len(z),))
        if contexts is not None:
            contexts = contexts[:, None].expand(-1, steps, -1)
        return _as(first, exploration.decode(self.vae, z, context=contexts))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to a file that `load` opens; see `variform.save`."""
        save(self.vae, path)

    def explore(self, source: str | os.PathLike[str] | None = None) -> "Page":
        """The explorer page of the model alone, which shows itself in a notebook; `save` of the page writes it.

        Args:
            source: Data on the map, which the model must know how to read; by default draws of the model.

        Raises:
            ValueError: as `variform.explore`.
        """
        from variform.runs.explorer import explore  # what draws pages takes long to import

        return explore(self, source=None if source is None else os.fspath(source))

    @checked
    def complete(
        self,
        x: Values,
        *,
        count: Count = 1,
        given: Given | None = None,
        between: Mapping[str, partial.Range] | None = None,
        draw: bool = True,
        samples: Count = 4000,
        refine: int = 50,
        seed: int = 0,
    ) -> partial.Completion:
        """Rows of which a part is fixed, with the rest drawn together; see `evaluation.partial.complete`.

        Args:
            x: As of `encode`, with NaN for what is free: cells of a table, or a region of an image.
            count: Draws of each row.
            given: As of `encode`.
            between: Columns that must lie in a range, by name, with both ends.
            draw: Draw from p(x|z); else take its mean.
            samples: Importance samples of each row.
            refine: Steps by which the law that z is drawn from is improved for each row.
            seed: Seed of the draws.

        Raises:
            ValueError: as `encode` and `evaluation.partial.complete`.

        Warns:
            UserWarning: where draws cannot be trusted, and where a fixed value or a range lies outside the data.

        Example:
            >>> from variform import ModelConfig, build_vae, read
            >>> digits = read("digits")
            >>> model = Model(build_vae(ModelConfig(latent_dim=2), digits.schema))
            >>> x = digits.test.raw[:1].numpy().astype(float)
            >>> x[:, :, 4:] = np.nan  # the lower half
            >>> found = model.complete(x, count=3, samples=200, refine=5)
            >>> found.draws.shape, bool((found.draws[:, :, :, :4] == x[:, None, :, :4]).all())
            ((1, 3, 1, 8, 8), True)
        """
        rows = self._rows(x, given, is_part=True)
        values = _numbers(x).reshape(len(rows), 1, *self.schema.shape)
        for sentence in self._outside(values, between or {}):
            _warn(sentence)
        found = partial.complete(
            self.vae,
            rows,
            count=count,
            between=between,
            draw=draw,
            samples=samples,
            refine=refine,
            seed=seed,
        )
        for sentence in found.remarks():
            _warn(sentence)
        exact = np.where(np.isnan(values), found.draws, values)
        return dataclasses.replace(found, draws=_as(x, exact))

    @checked
    def score_given(
        self,
        x: Values,
        fixed: Any,
        *,
        given: Given | None = None,
        samples: Count = 4000,
        refine: int = 50,
        seed: int = 0,
    ) -> partial.ConditionalScores:
        """log p(b|a), the density of the rest of each row given a part of it; see `evaluation.partial.score_given`.

        Args:
            x: As of `encode`; what is missing (NaN) is in neither part.
            fixed: What is given, (N, *event) or (*event) bool.
            given: As of `encode`.
            samples: Importance samples of each density.
            refine: As of `complete`.
            seed: Seed of the draws.

        Raises:
            ValueError: as `encode`.
        """
        rows = self._rows(x, given, is_part=True)
        return partial.score_given(
            self.vae, rows, _numbers(fixed), samples=samples, refine=refine, seed=seed
        )

    def _outside(self, values: Array, between: Mapping[str, partial.Range]) -> list[str]:
        """What must be said of fixed values and of ranges that leave the data."""
        sentences = []
        columns = zip(self.schema.columns, self.schema.low, self.schema.high, strict=True)
        for column, (name, low, high) in enumerate(columns if self.schema.columns else ()):
            own = np.append(values[..., column].ravel(), between.get(name, ()))
            is_outside = (own < low) | (own > high)
            if is_outside.any():
                sentences.append(
                    f"{name} = {own[is_outside][0]:.4g} lies outside the data: they go from {low:.4g} to {high:.4g}."
                )
        return sentences

    def _rows(self, x: Any, given: Given | None, *, is_part: bool = False) -> Dataset:
        schema = self.schema.with_gaps() if is_part else self.schema
        if _names(x) & set(schema.columns):  # else by their places
            rows = read_rows(x, schema, name="the table")
            if given is None:
                return rows
            x = rows.raw
        return rows_like(_numbers(x), schema, given, unknown=True)

    def _contexts(self, given: Given | None, batch: tuple[int, ...]) -> Tensor | None:
        """The contexts of new rows, after a warning of what lies outside the training rows."""
        contexts = self.schema.contexts(given or {}, math.prod(batch))
        for sentence in self.schema.unseen(contexts if self.schema.conditions else None):
            _warn(sentence)
        return contexts.reshape(*batch, -1) if self.schema.conditions else None


def _warn(sentence: str) -> None:
    """Warn of the line that called into variform, however many of its functions lie between."""
    frame, level = sys._getframe(), 1
    while frame is not None and frame.f_globals.get("__name__", "").startswith("variform."):
        frame, level = frame.f_back, level + 1
    warnings.warn(sentence, stacklevel=level)


@checked
def load(path: str | os.PathLike[str], *, trust: bool = False) -> Model:
    """The model in a file that `save` wrote, in the folder of a run, or in a folder that came from a hub.

    Nothing in the file is executed. Where it names code of somebody's own networks, that is run only if it is trusted.

    Args:
        path: A model file, or a folder that holds model.safetensors.
        trust: Whether to run the code that the file names. This process then trusts the same code again.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: for a file that is cut short, changed, of a newer version or not a model of variform, and for code
            that is not trusted.

    Warns:
        UserWarning: where the code has changed since the model was trained.

    Example:
        >>> import tempfile
        >>> from variform import ModelConfig, build_vae, read, save
        >>> path = Path(tempfile.mkdtemp()) / "model.safetensors"
        >>> save(build_vae(ModelConfig(latent_dim=2, hidden=(8,)), read("digits").schema), path)
        >>> load(path).decode(np.zeros((3, 2))).shape
        (3, 1, 8, 8)
    """
    path = Path(path)
    with trusting(trust):
        return Model(load_vae(path / "model.safetensors" if path.is_dir() else path))


def _names(values: Any) -> set[str]:
    """The names of the columns of a DataFrame, a table of Arrow, columns by name or records; none of other values."""
    if isinstance(values, list) and values and isinstance(values[0], Mapping):
        values = values[0]
    if isinstance(values, Mapping):
        return set(map(str, values))
    names = getattr(values, "column_names", None) or getattr(values, "columns", ())
    return set(map(str, names))


def _numbers(values: Any) -> Array:
    """What came as an array in memory."""
    if isinstance(values, Tensor):
        values = values.detach().cpu().to_dense()
        return (values.float() if values.dtype == torch.bfloat16 else values).numpy()
    return np.asarray(values)


def _as(came: Any, values: Array) -> Any:
    """`values` of the kind of what came, in its precision, but in no less than their own."""
    if isinstance(came, Tensor):
        tensor = torch.from_numpy(values).to(came.device)
        return (
            tensor.to(torch.promote_types(came.dtype, tensor.dtype))
            if came.is_floating_point()
            else tensor
        )
    dtype = np.asarray(came).dtype
    return values.astype(np.promote_types(dtype, values.dtype)) if dtype.kind == "f" else values
