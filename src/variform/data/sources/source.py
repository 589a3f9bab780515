"""What a reader finds: rows in memory, on disk or made when they are asked for, and what stands beside them."""

import dataclasses
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

_WAYS_OUT = {
    0: "one number. Give rows of numbers, (N, D)",
    1: "one series. Save x[:, None] for a table of one column, or"
    " numpy.lib.stride_tricks.sliding_window_view(x, 24) for a row of each 24 neighbours",
}
_READ_THROUGH = 2**17  # bytes between two rows that are rather read than leapt over


@dataclass(frozen=True, eq=False)
class Shards:
    """Arrays read as if they stood in one, the rows of the first before those of the second; they stay where they are.

    Args:
        parts: At least one array; their rows have one shape and one type.
        files: For each array that is mapped from a file, that file and the byte at which its rows begin.

    Example:
        >>> shards = Shards((np.zeros((3, 2)), np.ones((2, 2))))
        >>> shards.shape, shards.take(np.array([3, 0])).tolist()
        ((5, 2), [[1.0, 1.0], [0.0, 0.0]])
    """

    parts: tuple[np.ndarray, ...]
    files: tuple[tuple[Path, int], ...] = ()

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Number of rows, and the shape of one."""
        return (sum(map(len, self.parts)), *self.parts[0].shape[1:])

    @property
    def ndim(self) -> int:
        """Number of axes, that of the rows included."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    @property
    def dtype(self) -> np.dtype:
        """Type of the values."""
        return self.parts[0].dtype

    def __len__(self) -> int:
        """Number of rows."""
        return self.shape[0]

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        """All rows, in memory."""
        return np.concatenate(self.parts).astype(dtype or self.dtype, copy=False)

    def take(self, index: np.ndarray) -> np.ndarray:
        """The rows at `index` (B,), in memory."""
        if len(self.parts) == 1:
            return self.parts[0].take(index, axis=0)
        rows = np.empty((len(index), *self.shape[1:]), self.dtype)
        places = self._places(index)
        for part in np.unique(places):
            here = places == part
            within = index[here] - self._starts[part]
            rows[here] = self.parts[part].take(within, axis=0)
        return rows

    def pieces(self, rows: int) -> Iterator[np.ndarray]:
        """All rows in order, `rows` of them at a time; the last time there may be fewer."""
        for start in range(0, len(self), rows):
            stop = min(start + rows, len(self))
            first, last = self._places(np.array([start, stop - 1]))
            pieces = []
            for part in range(first, last + 1):
                first_row = self._starts[part]
                pieces.append(self.parts[part][max(0, start - first_row) : stop - first_row])
            yield pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def each(self, function: Callable[[np.ndarray], np.ndarray]) -> "Shards":
        """`function` of every array."""
        return Shards(tuple(map(function, self.parts)), self.files)

    def expect(self, index: np.ndarray) -> None:
        """Have the system read the rows at `index` from their files into its cache, in the background."""
        if not self.files or not hasattr(os, "posix_fadvise"):
            return
        row_bytes = self.dtype.itemsize * math.prod(self.shape[1:])
        places = self._places(index)
        for part in np.unique(places):
            path, first_byte = self.files[part]
            rows = np.sort(index[places == part]) - self._starts[part]
            gaps = np.flatnonzero(np.diff(rows) * row_bytes > _READ_THROUGH)
            with open(path, "rb") as file:
                for stretch in np.split(rows, gaps + 1):
                    begin = first_byte + int(stretch[0]) * row_bytes
                    length = int(stretch[-1] - stretch[0] + 1) * row_bytes
                    os.posix_fadvise(file.fileno(), begin, length, os.POSIX_FADV_WILLNEED)

    def _places(self, rows: np.ndarray) -> np.ndarray:
        """Which of the arrays holds each row, (B,)."""
        return np.searchsorted(self._starts, rows, side="right") - 1

    @cached_property
    def _starts(self) -> np.ndarray:
        """Number of the first row of every array."""
        return np.cumsum([0, *map(len, self.parts[:-1])])


@dataclass(frozen=True, eq=False)
class Rendered:
    """Rows that are made when they are asked for; otherwise as `Shards`.

    Args:
        index: Number of each row, (N,), N > 0.
        render: The rows with the numbers (B,), (B, ...).

    Example:
        >>> rendered = Rendered(np.arange(4), lambda index: index[:, None] ** 2)
        >>> rendered.shape, rendered.take(np.array([3, 0])).tolist()
        ((4, 1), [[9], [0]])
    """

    index: np.ndarray
    render: Callable[[np.ndarray], np.ndarray]

    @cached_property
    def _first(self) -> np.ndarray:
        return self.render(self.index[:1])

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of rows, and the shape of one."""
        return (len(self.index), *self._first.shape[1:])

    @property
    def ndim(self) -> int:
        """Number of axes, that of the rows included."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    @property
    def dtype(self) -> np.dtype:
        """Type of the values."""
        return self._first.dtype

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.index)

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        """All rows, in memory."""
        return self.render(self.index).astype(dtype or self.dtype, copy=False)

    def take(self, index: np.ndarray) -> np.ndarray:
        """The rows at `index` (B,), in memory."""
        return self.render(self.index[index])

    def pieces(self, rows: int) -> Iterator[np.ndarray]:
        """All rows in order, `rows` of them at a time; the last time there may be fewer."""
        return (
            self.render(self.index[start : start + rows]) for start in range(0, len(self), rows)
        )

    def each(self, function: Callable[[np.ndarray], np.ndarray]) -> "Rendered":
        """`function` of all that is rendered."""
        return Rendered(self.index, lambda index: function(self.render(index)))

    def expect(self, index: np.ndarray) -> None:
        """Nothing can be done ahead."""


@dataclass(frozen=True, eq=False)
class Source:
    """What a reader found: rows as they stand in the file, before they are shaped, split or scaled.

    Args:
        name: File name, folder name or built-in name, for messages.
        values: One row per example, (N, ...), of any type; `Shards` stay on disk, `Rendered` are made when asked for.
        labels: One label per row, N of them: numbers or text.
        own: `train`, `valid` or `test` for each row, (N,), where the source comes split.
        columns: Column names of a table; () where the source has none.
        categories: For each column the names of its categories, which stand in `values` as their numbers from 0; () for
            a column of numbers. () where no column has categories.
        dates: For each column the ISO date of its day 0, where `values` holds days since then; "" for others. () where
            no column holds dates.
        levels: Number of discrete raw levels, where the source tells; images then range over all of them.
        notes: Sentences that a reader of a report should know.
        given: Columns that are not rows' values but what a model is conditioned on, by name, one number or text a row.
        responses: Columns that are kept beside the rows and never enter them, by name, one number or text a row.
        weights: How much each row counts in the training, (N,) float64, where a column says it.
        index: Number of each row in a larger whole, (N,), where the source is a part of one.
        names: What a user calls each row, (N,) text: a file, relative to the folder that was read, or the value of a
            column that names rows. None where rows have no names.
        families: What each row is a part of, (N,) text, such as the file of a frame; "" for a row of its own. Rows of
            one family share a split, where there are families enough.
        keys: Two int64 for each row, (N, 2), instead of a hash of its values, where what they are is known without
            looking: rows that agree in the first share a split, rows that agree in both are equal.
        groups: What each row belongs to, (N,), numbers or text, where a column says it: rows of a group share a split.
        orders: By the name of a column whose type has an order, its levels, the lowest first.
        are_pictures: Whether the format says that rows are pictures of 8 bits, or the like, whatever they look like.

    Raises:
        ValueError: if `values` has fewer than two axes, or there is not one label per row.

    Example:
        >>> Source("designs.npy", np.zeros((3, 2)), labels=np.array(["a", "b"]))
        Traceback (most recent call last):
        ValueError: designs.npy must have one label per row; it has 3 rows and 2 labels. Check that both come from \
the same set.
    """

    name: str
    values: np.ndarray | Shards | Rendered
    labels: np.ndarray | None = None
    own: np.ndarray | None = None
    columns: tuple[str, ...] = ()
    categories: tuple[tuple[str, ...], ...] = ()
    dates: tuple[str, ...] = ()
    levels: int | None = None
    notes: tuple[str, ...] = ()
    given: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    responses: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    weights: np.ndarray | None = None
    index: np.ndarray | None = None
    names: np.ndarray | None = None
    families: np.ndarray | None = None
    keys: np.ndarray | None = None
    groups: np.ndarray | None = None
    are_pictures: bool = False
    orders: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.values.ndim < 2:
            raise ValueError(
                f"{self.name} must hold one row per example; its shape is {self.values.shape},"
                f" {_WAYS_OUT[self.values.ndim]}."
            )
        if self.labels is not None and self.labels.size != len(self.values):
            raise ValueError(
                f"{self.name} must have one label per row; it has {len(self.values)} rows and {self.labels.size}"
                " labels. Check that both come from the same set."
            )

    def place(self, row: int) -> str:
        """Where a row stands in the source, in words: its number from 1, counted within its split if it comes split.

        A row that has a name is called by it.

        Example:
            >>> Source("a.npz", np.zeros((3, 2)), own=np.array(["train", "test", "test"])).place(2)
            'row 2 of test'
        """
        if self.names is not None:
            return str(self.names[row])
        if self.own is None or (self.own == "train").all():
            return f"row {row + 1}"
        return f"row {(self.own[: row + 1] == self.own[row]).sum()} of {self.own[row]}"
