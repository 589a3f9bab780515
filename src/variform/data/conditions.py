"""What a model is conditioned on, and how much of it the model has seen.

A conditional model decodes under any context. `Occupancy` counts the training rows by cells of their contexts,
so that what lies outside of them, or in a hole between them, is said to.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from variform.config.checks import from_file
from variform.config.words import listed, quoted

_NEIGHBOURS = 10  # which nearest row of a row says how far "near" is
_NEAR_SHARE = 0.95  # of the training rows that have as many neighbours as are asked for, or more
_QUERIES = 2000  # training rows that are asked for their neighbours
_MOST_CELLS = 4096  # of a model file
_SAID = 3  # of what lies outside the data, where many things are asked for at once

Range = tuple[float, float]
"""Two ends between which a number may lie."""


@dataclass(frozen=True)
class Condition:
    """One thing that a model is conditioned on: a category, or a number.

    Args:
        name: `label`, or the name of a column.
        categories: Names of the categories; () for a number.
        shift: The number that becomes 0; the mean of the training rows.
        scale: Units of the number per unit of the context; the standard deviation of the training rows.

    Example:
        >>> Condition("label", ("cat", "dog")).encode(np.array(["dog", "cat"])).tolist()
        [[0.0, 1.0], [1.0, 0.0]]
    """

    name: str
    categories: tuple[str, ...] = ()
    shift: float = 0.0
    scale: float = 1.0

    @property
    def width(self) -> int:
        """How many numbers of the context are its."""
        return len(self.categories) or 1

    def encode(self, values: np.ndarray) -> Tensor:
        """One-hot categories, zeros for one that is empty or NaN, or standardised numbers; (N, width), float32.

        Raises:
            ValueError: for a category that is not known, and for what is no number.
        """
        if not self.categories:
            try:
                numbers = torch.from_numpy(np.asarray(values).astype(np.float64))
            except ValueError:
                raise ValueError(
                    f"{quoted(self.name)} must be a number; got {quoted(values[0])}. Give a number."
                ) from None
            return ((numbers - self.shift) / self.scale).float()[:, None]
        codes = {category: code for code, category in enumerate(self.categories)}
        codes[""] = -1
        names = [category_name(value) for value in values]
        for name in names:
            if name not in codes:
                raise ValueError(
                    f"{quoted(self.name)} must be one of {listed(self.categories)}; got {quoted(name)}. "
                    "Choose one of them."
                )
        one_hot = torch.eye(self.width + 1, self.width)  # the last row is that of no category
        return one_hot[[codes[name] for name in names]]

    def is_missing(self, part: Tensor) -> Tensor:
        """Which rows have no category, of their part of a context (N, width); no number is ever missing."""
        if not self.categories:
            return part.new_zeros(len(part), dtype=torch.bool)
        return (part == 0).all(1)

    def decode(self, part: Tensor, *, digits: int = 4) -> str:
        """The category with the largest number, or the number in its own unit, of (width,); "" for no category."""
        if self.categories and not part.any():
            return ""
        if self.categories:
            return self.categories[int(part.argmax())]
        return f"{part.item() * self.scale + self.shift:.{digits}g}"


def by_condition(
    conditions: Sequence[Condition], contexts: Tensor
) -> list[tuple[Condition, Tensor]]:
    """Each condition with its part, (..., width), of contexts (..., width of all conditions).

    Example:
        >>> label, mass = Condition("label", ("cat", "dog")), Condition("mass")
        >>> [part.tolist() for _, part in by_condition([label, mass], torch.tensor([0.0, 1.0, 0.5]))]
        [[0.0, 1.0], [0.5]]
    """
    widths = [condition.width for condition in conditions]
    return list(zip(conditions, contexts.split(widths, -1), strict=True))


def with_lists(values: dict[str, Any]) -> dict[str, Any]:
    """Plain values with lists instead of tuples, as JSON has them."""
    plain = dict(values)
    for name, value in values.items():
        if isinstance(value, tuple):
            plain[name] = list(value)
    return plain


def known_condition(values: dict[str, Any]) -> Condition:
    """The condition that plain values of a file describe."""
    return from_file(Condition, values, "a condition")


def category_name(value: Any) -> str:
    """The name of a label or category: of a number without superfluous digits; empty for none.

    Example:
        >>> category_name(3.0), category_name(np.nan), category_name("cat")
        ('3', '', 'cat')
    """
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        return str(value)
    return "" if math.isnan(value) else f"{value:.15g}"


@dataclass(frozen=True)
class Occupancy:
    """How many training rows had which context: counts by cells, which say where a conditional model knows nothing.

    A cell is a category of each condition that has categories, and of each number an interval of the length `step`
    about `low + i * step`, for whole i. Near to what is asked for are the rows in its own cell and in those beside it:
    within at least one step in every condition, and with the same categories. The step is the distance to the tenth
    nearest row that 95 % of the training rows have, or less, so that as many of them have ten near ones; of fewer than
    200 rows, a twentieth of the rows takes the place of ten. It is at least half of the usual distance between
    different values.

    Args:
        rows: Training rows whose categories are all known.
        few: Fewer near rows than this are said to be few: half of what 95 % of the training rows have.
        low: Least number of a training row; 0 of a category.
        high: Greatest number, likewise.
        step: Length of the cells of a number; 0 of a category.
        cells: The cells with rows: of each condition the number of the category, or i.
        counts: The rows in each of them.

    Reference:
        Ramaswamy, Rastogi and Shim (2000), for the distance to the k-th nearest row as a measure of loneliness.

    Example:
        >>> contexts = torch.cat([torch.arange(0, 100), torch.arange(200, 300)]).double()[:, None]
        >>> seen = occupancy([Condition("mass")], contexts)
        >>> seen.low, seen.high, seen.near([250]), seen.near([150])
        ((0.0,), (299.0,), 24, 0)
    """

    rows: int
    few: int
    low: tuple[float, ...]
    high: tuple[float, ...]
    step: tuple[float, ...]
    cells: tuple[tuple[int, ...], ...]
    counts: tuple[int, ...]

    def cell(self, condition: int, value: float) -> int:
        """The cell of a value of one condition: a number in its own unit, or the number of a category."""
        step = self.step[condition]
        if not step:
            return round(value)
        return math.floor((value - self.low[condition]) / step + 0.5)

    def window(self, condition: int, value: float) -> tuple[float, float]:
        """The numbers that are near to a value of one condition: its own cell and those beside it."""
        own = self.cell(condition, value)
        low, step = self.low[condition], self.step[condition]
        return low + (own - 1.5) * step, low + (own + 1.5) * step

    def near(self, values: Sequence[float | Range | None]) -> int:
        """How many training rows are near in all conditions together.

        Args:
            values: Of each condition a number in its own unit, the number of a category, or a range, in whose cells the
                rows must lie; None for any.
        """
        cells, counts = self._arrays
        is_near = np.ones(len(counts), dtype=bool)
        for condition, value in enumerate(values):
            if value is None:
                continue
            low, high = value if isinstance(value, tuple) else (value, value)
            reach = 1 if self.step[condition] and low == high else 0
            own = cells[:, condition]
            is_near &= own >= self.cell(condition, low) - reach
            is_near &= own <= self.cell(condition, high) + reach
        return int(counts[is_near].sum())

    @property
    def _arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Cells, (cells, conditions), and the rows in each, (cells,)."""
        cells = np.array(self.cells, dtype=np.int64).reshape(-1, len(self.step))
        return cells, np.array(self.counts, dtype=np.int64)

    def is_outside(self, condition: int, value: float | Range | None) -> bool:
        """Whether a number, or an end of a range, lies outside the training rows, by more than a context's rounding."""
        if value is None or not self.step[condition]:
            return False
        first, last = value if isinstance(value, tuple) else (value, value)
        low, high = self.low[condition], self.high[condition]
        error = 1e-5 * (high - low)
        return first < low - error or last > high + error

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return with_lists(dataclasses.asdict(self))

    @classmethod
    def from_dict(cls, values: dict[str, Any], conditions: Sequence[Condition]) -> "Occupancy":
        """The opposite of `to_dict`.

        Raises:
            ValueError: for missing, unknown or impossible values.
        """
        counts = from_file(cls, values, "counts of conditions")
        if not counts._fits(conditions):
            raise ValueError(
                "counts of conditions must fit their conditions; others came. Fetch the file again."
            )
        return counts

    def _fits(self, conditions: Sequence[Condition]) -> bool:
        """Whether these can be counts of rows under the conditions."""
        lengths = {len(values) for values in (self.low, self.high, self.step, *self.cells)}
        if lengths != {len(conditions)} or len(self.cells) != len(self.counts):
            return False
        is_category = [bool(condition.categories) for condition in conditions]
        has_no_step = [step == 0 for step in self.step]
        least = min((*self.step, *self.counts, self.few))
        return is_category == has_no_step and sum(self.counts) == self.rows and least >= 0


def occupancy(conditions: Sequence[Condition], contexts: Tensor) -> Occupancy | None:
    """Counts of the contexts of training rows; None where no row has all categories.

    Args:
        conditions: What the rows are conditioned on.
        contexts: (N, width of all conditions), as `Condition.encode` gives them.
    """
    values = condition_values(conditions, contexts)
    values = values[~np.isnan(values).any(1)]
    if not len(values):
        return None
    is_number = np.array([not condition.categories for condition in conditions])
    low = np.where(is_number, values.min(0), 0.0)
    high = np.where(is_number, values.max(0), 0.0)
    neighbours = min(_NEIGHBOURS, max(1, len(values) // 20))
    step = np.zeros(len(conditions))
    if is_number.any():
        scale = np.array([condition.scale for condition in conditions])
        step[is_number] = _steps(values, is_number, scale, neighbours)
    cells, counts = _counted(values, low, step)
    while len(cells) > _MOST_CELLS and is_number.any():
        step = 2 * step
        cells, counts = _counted(values, low, step)
    return Occupancy(
        rows=len(values),
        few=max(1, neighbours // 2),
        low=tuple(low.tolist()),
        high=tuple(high.tolist()),
        step=tuple(step.tolist()),
        cells=tuple(tuple(cell) for cell in cells.tolist()),
        counts=tuple(counts.tolist()),
    )


def _steps(
    values: np.ndarray, is_number: np.ndarray, scale: np.ndarray, neighbours: int
) -> np.ndarray:
    """The length of the cells of each number: how far the k-th nearest row with the same categories usually is."""
    # Imported here, for scikit-learn takes as long as torch.
    from sklearn.neighbors import NearestNeighbors

    numbers = (values / scale)[:, is_number]
    _, group = np.unique(values[:, ~is_number], axis=0, return_inverse=True)
    group = group.reshape(-1)
    large = np.flatnonzero(np.bincount(group) > neighbours)
    groups = [numbers[group == number] for number in large]
    distances = []
    for rows in groups or [numbers]:
        count = min(neighbours + 1, len(rows))  # each row is its own nearest one
        tree = NearestNeighbors(n_neighbors=count, metric="chebyshev").fit(rows)
        queries = rows[:: max(1, len(numbers) // _QUERIES)]
        to_neighbours, _ = tree.kneighbors(queries)
        distances.append(to_neighbours[:, -1])
    usual = np.quantile(np.concatenate(distances), _NEAR_SHARE)
    different = [np.unique(column) for column in numbers.T]
    gaps = np.array([np.median(np.diff(column)) for column in different])
    return np.maximum(usual, gaps / 2) * scale[is_number]


def _counted(
    values: np.ndarray, low: np.ndarray, step: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The cells that hold rows, and their numbers of rows."""
    is_number = step > 0
    intervals = np.floor((values - low) / np.where(is_number, step, 1.0) + 0.5)
    cells = np.where(is_number, intervals, np.rint(values))
    return np.unique(cells.astype(np.int64), axis=0, return_counts=True)


def condition_values(conditions: Sequence[Condition], contexts: Tensor) -> np.ndarray:
    """What contexts say, (N, conditions): numbers in their own units, numbers of categories; NaN for none.

    Example:
        >>> animal, mass = Condition("label", ("cat", "dog")), Condition("mass", (), 50, 2)
        >>> condition_values([animal, mass], torch.tensor([[0, 1, -1]]))
        array([[ 1., 48.]])
    """
    columns = []
    for condition, part in by_condition(conditions, contexts.double()):
        if condition.categories:
            number = part.argmax(1).double()
            columns.append(torch.where(condition.is_missing(part), torch.nan, number))
        else:
            columns.append(part[:, 0] * condition.scale + condition.shift)
    return torch.stack(columns, 1).numpy()


def remarks(conditions: Sequence[Condition], seen: Occupancy, contexts: Tensor) -> list[str]:
    """What must be said of what a model is asked for: what lies outside the training rows, and what has few near.

    Args:
        conditions: What the model is conditioned on.
        seen: The contexts of the training rows.
        contexts: What is asked for, (N, width of all conditions).

    Returns:
        A sentence for each of the first three different contexts of the kind, and one on how many more there are.

    Example:
        >>> masses = Condition("mass [kg]")
        >>> seen = occupancy([masses], torch.linspace(1, 20, 500)[:, None])
        >>> remarks([masses], seen, torch.tensor([[250.0]]))[0][:73]
        'mass [kg] = 250 lies outside the data: the training rows go from 1 to 20.'
    """
    different = np.unique(condition_values(conditions, contexts), axis=0)
    sentences = [remark(conditions, seen, row) for row in different.tolist()]
    said = [sentence for sentence in sentences if sentence]
    more = len(said) - _SAID
    if more <= 0:
        return said
    return [
        *said[:_SAID],
        f"{more:,} more of {len(different):,} different things that are asked for lie so.",
    ]


def remark(conditions: Sequence[Condition], seen: Occupancy, row: Sequence[float | Range]) -> str:
    """A sentence on one thing that is asked for; empty where training rows enough are near.

    Args:
        conditions: What it is made of.
        seen: What the training rows have of these.
        row: A value of each, or a range; NaN for none.

    Example:
        >>> masses = Condition("mass [kg]")
        >>> seen = occupancy([masses], torch.linspace(1, 20, 500)[:, None])
        >>> remark([masses], seen, [(19.0, 25.0)])[:85]
        'mass [kg] = 19..25 reaches outside the data: the training rows go from 1 to 20. Near '
        >>> remark([masses], seen, [(2.0, 3.0)])
        ''
    """
    values = [value if isinstance(value, tuple) or value == value else None for value in row]
    asked = {number: value for number, value in enumerate(values) if value is not None}
    words = {number: _named(conditions[number], value) for number, value in asked.items()}
    outside = [number for number, value in asked.items() if seen.is_outside(number, value)]
    count = seen.near(values)
    if not outside and count >= seen.few:
        return ""
    ranges = [_lies_outside(seen, number, words[number], asked[number]) for number in outside]
    where = "it" if len(outside) == len(asked) == 1 else " and ".join(words.values())
    windows = [_window(seen, number, conditions[number], value) for number, value in asked.items()]
    window = " and ".join(windows)
    verb = "is" if count == 1 else "are"
    alone = _near_alone(seen, asked, words)
    near = f"Near {where} {verb} {count:,} of {seen.rows:,} training rows, with {window}{alone}."
    return " ".join([*ranges, near, "What the model makes of it is a guess."])


def _lies_outside(seen: Occupancy, number: int, words: str, value: float | Range) -> str:
    low, high = seen.low[number], seen.high[number]
    verb = "reaches" if isinstance(value, tuple) else "lies"
    return f"{words} {verb} outside the data: the training rows go from {low:.4g} to {high:.4g}."


def _near_alone(seen: Occupancy, asked: dict[int, float | Range], words: dict[int, str]) -> str:
    """How many rows are near in each condition alone, where several are asked for."""
    if len(asked) < 2:
        return ""
    counts = []
    for number, value in asked.items():
        alone: list[float | Range | None] = [None] * len(seen.step)
        alone[number] = value
        counts.append(f"{seen.near(alone):,} near {words[number]}")
    return f"; alone, {', '.join(counts)}"


def _window(seen: Occupancy, number: int, condition: Condition, value: float | Range) -> str:
    """What the rows have that are near in one condition."""
    if not seen.step[number]:
        return _named(condition, value)
    low, high = value if isinstance(value, tuple) else seen.window(number, value)
    return f"{condition.name} from {low:.4g} to {high:.4g}"


def _named(condition: Condition, value: float | Range) -> str:
    if isinstance(value, tuple):
        return f"{condition.name} = {value[0]:.4g}..{value[1]:.4g}"
    if condition.categories:
        return f"{condition.name} = {condition.categories[round(value)]}"
    return f"{condition.name} = {value:.4g}"
