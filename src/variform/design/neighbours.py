"""The nearest known design of a new one, and how new that makes it."""

import dataclasses
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from variform.data.dataset import Dataset, rows_at_once
from variform.data.scaling import is_curve
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

    Where all columns share a unit the distance is in it, however they are scaled: where they are declared to have one,
    or are points of a curve, or one scale was chosen for all. Columns of several units are divided by their standard
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
        """What distances are in: the unit of all columns, `the data's unit`, or their `standard deviations`."""
        if not self._shares_unit:
            return "standard deviations"
        return self.train.schema.common_unit or "the data's unit"

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
        columns = math.prod(self.train.schema.shape)
        return self._coding.encode(designs) * self._unit / math.sqrt(columns)

    @cached_property
    def _shares_unit(self) -> bool:
        """Whether all columns are of one unit."""
        schema = self.train.schema
        if any(schema.categories):
            return False
        if schema.common_unit:
            return True
        if schema.kinds:
            return False
        is_one_curve = schema.outline is not None or is_curve(self.train)
        return is_one_curve or not has_own_units(schema)

    @cached_property
    def _unit(self) -> Array:
        """What 1 of each number of the coding is in `unit`, (C,) or one for all."""
        if not self._shares_unit:
            return np.ones(1)
        of_the_coding = np.ones(1) if self._coding.columns is None else self._coding.columns.unit
        return of_the_coding * np.asarray(self.train.schema.scale)

    @cached_property
    def _coding(self) -> DesignCoding:
        coding = DesignCoding.of(self.train, standardised=not self._shares_unit)
        if coding.columns is None or self._shares_unit:
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
