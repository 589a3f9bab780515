"""Rows that belong together: of one value in a column, or of one family of nearly equal rows.

Where some of them are trained on and others tested on, the test is one of memory.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from variform.config.data import FAMILIES, ROWS, DataConfig
from variform.config.words import quoted
from variform.data.dataset import Dataset, StoredRows, in_chunks
from variform.data.families import Neighbourhood, comparable, joined
from variform.data.scaling import usual_scaling, with_scaling
from variform.data.schema import Schema
from variform.data.sources.source import Source
from variform.system import memory

TWENTIETH = 0.05
"""Of how far rows spread they are near, where no tolerance is given."""
_BYTES = 8  # of a number
_COPIES = 3
MOST_UNASKED = 2**28
"""Values that are looked at for near rows where no tolerance is given."""


@dataclass(frozen=True)
class Near:
    """Which rows are near each other, and up to which distance, in words."""

    rows: Neighbourhood
    words: str
    option: str
    """What overrules the distance."""

    def leak(self, split: dict[str, Tensor]) -> float | None:
        """The share of the test rows that have a near training row; None where there are none of either.

        Args:
            split: Numbers of the rows of each part, (M,).
        """
        test, train = split["test"].numpy(), split["train"].numpy()
        if not len(test) or not len(train):
            return None
        return float(self.rows.has_near(test, train).mean())


def near_rows(raw: Tensor | StoredRows, schema: Schema, config: DataConfig) -> Near | None:
    """Which rows are near: within `tolerance`, in the unit of the values, or a twentieth of how far they spread.

    Distances are root mean squares over the numbers of a row. Rows of a table with other categories, or other cells
    missing, are never near. None where neither groups nor a tolerance are asked for, or where there is no tolerance and
    the rows are many and need no families.

    Args:
        raw: All rows, (N, *shape).
        schema: What they are, unscaled.
        config: What the user asks for.

    Raises:
        ValueError: for rows that do not fit into memory.
    """
    if config.group is None and config.tolerance is None:
        return None
    size = (
        len(raw) * raw[:1].numel()
        if isinstance(raw, Tensor)
        else len(raw) * int(np.prod(raw.shape[1:]))
    )
    if config.group != FAMILIES and config.tolerance is None and size > MOST_UNASKED:
        return None
    memory.require(
        _COPIES * _BYTES * size,
        f"the distances of {schema.source}",
        "Bring fewer rows, or leave `tolerance` out.",
    )
    values = np.concatenate([chunk.double().flatten(1).numpy() for chunk in in_chunks(raw)])
    is_category = np.zeros(values.shape[1], bool)
    if schema.kinds:
        is_category = np.array([kind == "category" for kind in schema.kinds])
    if config.tolerance is not None:
        words = f"{config.tolerance:.4g} of each other, root mean square over the columns"
        return Near(Neighbourhood(comparable(values, is_category), config.tolerance), words, "")
    scale = _scale(raw, schema, config)
    values /= schema.per_value(scale.tolist()).flatten().numpy()
    spread = float(np.sqrt(np.nanmean(np.square(values - np.nanmean(values, 0)))))
    tolerance = TWENTIETH * spread
    own = (
        f"{tolerance * scale[0]:.2g}"
        if len(set(scale)) == 1
        else f"{tolerance:.2g} standard deviations"
    )
    words = f"{own} of each other, root mean square over the columns, a twentieth of how far rows spread"
    return Near(
        Neighbourhood(comparable(values, is_category), tolerance),
        words,
        "; `tolerance` sets another distance",
    )


def _scale(raw: Tensor | StoredRows, schema: Schema, config: DataConfig) -> np.ndarray:
    """What each column is divided by in a training on all rows, (1,) or (D,)."""
    rows = Dataset(raw, schema)
    scaling = config.scaling
    if scaling == "auto":
        scaling, _ = usual_scaling(schema, rows)
    scaled, _ = with_scaling(schema, rows, scaling, DataConfig())
    return np.array(scaled.scale)


def group_digests(
    source: Source, digests: np.ndarray, near: Near | None, group: str | None
) -> np.ndarray:
    """What the rows of a group have in common, and no other rows, (N, bytes): the split is a hash of it.

    Args:
        source: Where the rows come from.
        digests: What equal rows have in common, (N, bytes).
        near: Which rows are near, for families.
        group: As in `DataConfig`.

    Raises:
        ValueError: where there is no such column.
    """
    if group is None:
        return digests
    if source.groups is not None:
        return _of_values(source.groups, digests)
    if group == ROWS:
        numbers = np.arange(len(digests)) if source.index is None else source.index
        return numbers.astype("<i8").view(np.uint8).reshape(-1, 8)
    if group == FAMILIES and near is not None:
        family = near.rows.families()
        if source.families is not None:
            own = np.where(
                source.families == "", np.arange(len(family)).astype(str), source.families
            )
            family = joined(family, np.char.add("file ", own))
        return _of_families(family, digests)
    raise ValueError(
        f"`group` must be {FAMILIES!r}, {ROWS!r} or a column of the table; {source.name} has no column "
        f"{quoted(group)} for it. Use `group='families'`, which finds rows that are nearly the same."
    )


def _of_values(groups: np.ndarray, digests: np.ndarray) -> np.ndarray:
    """Of rows with a value of their group, (N,); rows without one stay where they would be without groups."""
    digests = digests.copy()
    for row, value in enumerate(groups.tolist()):
        is_known = value is not None and value == value and value != ""
        if is_known:
            text = f"group {value}".encode()
            own = hashlib.blake2b(text, digest_size=digests.shape[1]).digest()
            digests[row] = np.frombuffer(own, np.uint8)
    return digests


def _of_families(family: np.ndarray, digests: np.ndarray) -> np.ndarray:
    """The least digest of each row's family: rows that come later change it for no other family."""
    order = np.lexsort(digests.T[::-1])
    _, first = np.unique(family[order], return_index=True)
    return digests[order[first]][family]
