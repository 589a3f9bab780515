"""The nearest known design of a new one, and how new that makes it."""

import dataclasses
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from variform.data.dataset import Dataset, rows_at_once
from variform.design.coding import DesignCoding, designs_of
from variform.evaluation import exploration
from variform.evaluation.baselines import has_own_units

Array = np.ndarray[Any, np.dtype[Any]]

_HELD_OUT = 1000  # rows of which a typical distance is the median


@dataclass(frozen=True, eq=False)
class Nearest:
    """The nearest known design of each of n designs.

    Args:
        distance: How far it is, (n,), in the unit of `Neighbours`.
        row: Its number in the source, (n,), counted from 0 as `Dataset.index` counts; among the training rows where
            there is no source.
        name: What the user calls it, (n,) text; None where rows have no names.
        novelty: The distance over that of held-out rows, (n,): near 0 a copy, 1 as new as a design that was held out,
            more something that the data do not have. NaN where that distance is not known, or 0.
    """

    distance: Array
    row: Array
    name: Array | None
    novelty: Array


@dataclass(frozen=True, eq=False)
class Neighbours:
    r"""Known designs by their distance $\sqrt{\frac1D \sum_j (a_j - b_j)^2}$ from others.

    Where all columns share a unit the distance is in it. Columns of several units are divided by their standard
    deviations, and columns of categories add 1 where they differ; what is missing counts as the mean.

    Args:
        train: The training rows.
        held_out: Rows like them that were not trained on, to say what distance is usual; at most 1,000 are looked at.

    Example:
        >>> from variform.data.reading import dataset_from
        >>> known, others = (dataset_from(torch.tensor(rows)) for rows in ([[0.0, 0], [3, 4]], [[0.0, 1]]))
        >>> nearest = Neighbours(known, others).nearest(np.array([[3.0, 6.0]]))
        >>> nearest.row.tolist(), nearest.distance.round(3).tolist(), nearest.novelty.tolist()
        ([1], [1.414], [2.0])
    """

    train: Dataset
    held_out: Dataset | None = None

    @property
    def unit(self) -> str:
        """What distances are in: `the data's unit`, or `standard deviations` of the columns."""
        return "standard deviations" if self._has_units else "the data's unit"

    @cached_property
    def typical(self) -> float:
        """The median distance of held-out rows from the training rows; NaN without any."""
        if self.held_out is None or not len(self.held_out):
            return math.nan
        rows = self.held_out.take(exploration.spread(_HELD_OUT, len(self.held_out)))
        return float(np.median(self._search(designs_of(rows))[0]))

    def nearest(self, designs: Array) -> Nearest:
        """The nearest known design of each of `designs` (n, *shape), in the user's units.

        Raises:
            ValueError: for designs of another shape.
        """
        distance, place = self._search(designs)
        known = self.train.beside(torch.from_numpy(place))
        row = place if known["index"] is None else known["index"].numpy()
        usual = self.typical or math.nan
        return Nearest(distance, row, known["names"], distance / usual)

    def points(self, designs: Array) -> Array:
        """Designs (n, *shape) as points (n, C), between which the distance is that of these, in `unit`."""
        schema = self.train.schema
        of_a_number = 1.0 if self._has_units else schema.scale[0]
        return self._coding.encode(designs) * of_a_number / math.sqrt(math.prod(schema.shape))

    @cached_property
    def _has_units(self) -> bool:
        """Whether columns are of several units."""
        return bool(self.train.schema.kinds) or has_own_units(self.train.schema)

    @cached_property
    def _coding(self) -> DesignCoding:
        coding = DesignCoding.of(self.train, standardised=self._has_units)
        if coding.columns is None:
            return coding
        sizes = coding.columns.sizes
        is_indicator = np.repeat(sizes, sizes) > 1
        # Of two categories two indicators differ, by 1 each.
        unit = np.where(is_indicator, math.sqrt(2), coding.columns.unit)
        return dataclasses.replace(coding, columns=dataclasses.replace(coding.columns, unit=unit))

    def _search(self, designs: Array) -> tuple[Array, Array]:
        """The least distance of each design, (n,), and the place of that row among the training rows, (n,)."""
        from scipy.spatial.distance import cdist  # here, for it takes a tenth of a second

        wanted = self.points(designs)
        distance = np.full(len(wanted), np.inf)
        place = np.zeros(len(wanted), np.int64)
        start = 0
        for raw in self.train.raw_batches(rows_at_once(self.train.schema.shape)):
            known = self.points(raw.double().numpy())
            distances = cdist(wanted, known)
            nearest = distances.argmin(1)
            least = distances[np.arange(len(wanted)), nearest]
            is_nearer = least < distance
            distance[is_nearer] = least[is_nearer]
            place[is_nearer] = start + nearest[is_nearer]
            start += len(known)
        return distance, place
