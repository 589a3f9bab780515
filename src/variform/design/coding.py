"""Designs as rows of numbers, which PCA, distances and surrogates are of, and back."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from variform.data.dataset import Dataset
from variform.data.schema import Schema
from variform.evaluation import exploration
from variform.evaluation.components import MixedCoding

Array = np.ndarray[Any, np.dtype[Any]]

_MOST_ROWS = 20_000
_MOST_BYTES = 2**30  # of the rows that a space is fitted to, in float64


@dataclass(frozen=True, eq=False)
class DesignCoding:
    """Designs as numbers: scaled as a model sees them, or each column with mean 0 and variance 1.

    Columns of a mixed table are always standardised, and a category becomes a column for each of its values, as
    `MixedCoding` says. What is missing or inactive counts as the mean.

    Args:
        schema: What the data are.
        columns: The coding of the columns of a mixed or standardised table; None where scaled values are taken.
        mean: Of the numbers that come out, (C,); it stands for what is missing.

    Example:
        >>> from variform.data.reading import dataset_from
        >>> rows = dataset_from(torch.tensor([[1.0, 10.0], [3.0, 30.0]]))
        >>> coding = DesignCoding.of(rows, standardised=True)
        >>> coding.encode(np.array([[2.0, 40.0]])).tolist(), coding.decode(np.array([[-1.0, 0.0]])).tolist()
        ([[0.0, 2.0]], [[1.0, 20.0]])
    """

    schema: Schema
    columns: MixedCoding | None
    mean: Array

    @classmethod
    def of(cls, train: Dataset, *, standardised: bool = False) -> "DesignCoding":
        """The coding that training rows ask for.

        Args:
            train: The training rows.
            standardised: Give each column the variance 1, whatever the scaling of the data.
        """
        schema = dataclasses.replace(train.schema, binarise="none")
        rows = designs_of(some_rows(train))
        columns = None
        x = _prepared(schema, rows)
        if schema.kinds:
            columns = MixedCoding.of(x, schema)
        elif standardised:
            numbers = dataclasses.replace(schema, categories=((),) * x.shape[1])
            columns = MixedCoding.of(x, numbers)
        if columns is not None:
            x = columns.encode(x)
        known = np.count_nonzero(~np.isnan(x), axis=0).clip(1)
        return cls(schema, columns, np.nansum(x, axis=0) / known)

    def encode(self, designs: Array) -> Array:
        """Designs (n, *shape), in the user's units, as numbers (n, C)."""
        x = _prepared(self.schema, require_designs(designs, self.schema))
        if self.columns is not None:
            x = self.columns.encode(x)
        return np.where(np.isnan(x), self.mean, x)

    def decode(self, numbers: Array) -> Array:
        """The designs (n, *shape) that numbers (n, C) stand for: kinds and rules of the columns hold."""
        x = numbers if self.columns is None else self.columns.decode(numbers)
        raw = self.schema.restore(torch.from_numpy(x).reshape(-1, *self.schema.shape))
        return self.schema.tidy(raw).numpy()


def _prepared(schema: Schema, designs: Array) -> Array:
    return schema.prepare(torch.from_numpy(designs)).flatten(1).numpy()


def require_designs(designs: Array, schema: Schema) -> Array:
    """Designs as float64, if they have the shape of the data.

    Raises:
        ValueError: for another shape.
    """
    if designs.shape[1:] != schema.shape:
        raise ValueError(
            f"designs must be (n, {', '.join(map(str, schema.shape))}), one row a design, as {schema.source}; got "
            f"{designs.shape}. Give rows of that shape."
        )
    return np.asarray(designs, np.float64)


def some_rows(data: Dataset) -> Dataset:
    """All rows in memory, or 20,000 of them spread evenly, or as many as take a gigabyte."""
    bytes_of_a_row = 8 * math.prod(data.schema.shape)
    most = min(_MOST_ROWS, max(500, _MOST_BYTES // bytes_of_a_row))
    return data.take(exploration.spread(most, len(data)))


def designs_of(data: Dataset) -> Array:
    """The rows of a data set in the user's units, (N, *shape) float64."""
    return data.gather(torch.arange(len(data))).double().numpy()
