"""Which rows are for training, which for validation and which for test."""

import hashlib
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from variform.data.conditions import Condition
from variform.data.dataset import PARTS, VALUES_AT_ONCE, StoredRows, in_chunks


def own_parts(own: np.ndarray | None, rows: int) -> np.ndarray:
    """The source's own split as the place in `PARTS` of each row, (N,) uint8; without one, all train."""
    parts = np.zeros(rows, np.uint8)
    if own is None:
        return parts
    for number, part in enumerate(PARTS):
        parts[own == part] = number
    return parts


def digests_of(raw: Tensor | StoredRows) -> tuple[np.ndarray, np.ndarray]:
    """Two hashes a row, (N, 16) uint8: of its values, whatever their type, and of what decides its split.

    The first finds duplicates and makes the fingerprint. The second is of the values as float32, so that rows that
    differ by rounding stay together, unless that makes most rows alike: of float64 far from zero it is the first.
    """
    if _are_pixels(raw):
        digests = [_hashes(chunk.flatten(1).numpy(), 16) for chunk in in_chunks(raw)]
        return np.concatenate(digests), np.concatenate(digests)
    exact, rounded = [], []
    for chunk in in_chunks(raw):
        single = chunk.float()
        rounded.append(_hashes(_bytes_of(single), 16))
        exact.append(rounded[-1])
        if chunk.dtype == torch.float64:
            is_changed = ((single.double() != chunk) & ~chunk.isnan()).flatten(1).any(1)
            if is_changed.any():
                exact[-1] = rounded[-1].copy()
                exact[-1][is_changed.numpy()] = _hashes(_bytes_of(chunk[is_changed]), 16)
    digests, groups = np.concatenate(exact), np.concatenate(rounded)
    if raw.dtype == torch.float64 and _different(groups) < _different(digests) / 2:
        groups = digests
    return digests, groups


def _are_pixels(raw: Tensor | StoredRows) -> bool:
    return raw.ndim == 4 and not raw.dtype.is_floating_point


def _bytes_of(values: Tensor) -> np.ndarray:
    """The bytes of each row of floats, with one NaN for all kinds."""
    return torch.where(values.isnan(), math.nan, values).flatten(1).numpy().view(np.uint8)


def _different(digests: np.ndarray) -> int:
    return len(np.unique(digests.view("V16")))


def _hashes(rows: Iterable[Any], size: int, key: bytes = b"") -> np.ndarray:
    """`size` bytes for each row of bytes."""
    empty = hashlib.blake2b(digest_size=size, key=key)
    hashes = []
    for row in rows:
        state = empty.copy()  # which takes less time than making one
        state.update(row)
        hashes.append(state.digest())
    return np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, size)


def with_families(digests: np.ndarray, families: np.ndarray) -> np.ndarray:
    """The digests, (N, 16) uint8, but one for all rows of a family, which are all those of one name, "" being none."""
    together = digests.copy()
    names, family = np.unique(families, return_inverse=True)
    encoded = [str(name).encode() for name in names]
    is_one = families != ""
    together[is_one] = _hashes(encoded, digests.shape[1])[family[is_one]]
    return together


def split_rows(own: np.ndarray, digests: np.ndarray, seed: int, name: str) -> dict[str, Tensor]:
    """Which rows are in which split: the source's own, and a tenth of train, by hash, for each that it lacks.

    A row's split depends on its values and the seed alone, so that equal rows stay together and rows that are added or
    moved change nothing for the others.
    """
    rows = assigned(own, digests, seed)
    for part, index in rows.items():
        if len(index) == 0:
            raise ValueError(_without(part, own, digests, name))
    return rows


def assigned(own: np.ndarray, digests: np.ndarray, seed: int) -> dict[str, Tensor]:
    """As `split_rows`, but a part may be empty."""
    parts = own.copy()
    missing = missing_parts(own)
    if missing:
        _hold_out(missing, parts, digests, seed)
    return {
        part: torch.from_numpy(np.flatnonzero(parts == number)) for number, part in enumerate(PARTS)
    }


def _without(part: str, own: np.ndarray, digests: np.ndarray, name: str) -> str:
    """What is said where a part is empty, with what helps: rows of another kind, not more of the same."""
    rows, groups = len(own), len(np.unique(digests, axis=0))
    if groups == rows:
        return (
            f"every split must hold a row; the {rows} rows of {name} leave none for {part}. "
            "Give more rows or another `split_seed`."
        )
    return (
        f"every split must hold a row; the {rows:,} rows of {name} are {groups:,} different ones or groups, which "
        f"stay together, and leave none for {part}. Use `group='rows'`, which splits equal rows too, or another "
        "`split_seed`."
    )


def _hold_out(missing: list[str], parts: np.ndarray, digests: np.ndarray, seed: int) -> None:
    """Turn a tenth of the train rows into each of the `missing` parts, in place."""
    key = str(seed).encode()
    for start in range(0, len(parts), VALUES_AT_ONCE):
        chunk = slice(start, start + VALUES_AT_ONCE)
        chunk_parts = parts[chunk]  # a view
        tenth = _hashes(digests[chunk], 8, key).view("<u8")[:, 0] % 10
        is_train = chunk_parts == 0
        for number, part in enumerate(missing):
            chunk_parts[is_train & (tenth == number)] = PARTS.index(part)


def missing_parts(own: np.ndarray) -> list[str]:
    """Which of validation and test no row is for."""
    return [part for part in ("valid", "test") if PARTS.index(part) not in own]


def count_duplicates(own: np.ndarray, digests: np.ndarray) -> dict[str, int]:
    """Rows that are equal to earlier ones: `within` all rows, and `across` the parts."""
    halves = digests.view("<u8")  # (N, 2)
    order = np.lexsort((halves[:, 1], halves[:, 0]))  # equal rows become neighbours
    is_new = np.arange(len(order)) == 0
    for half in halves.T:
        ordered = half[order]
        is_new[1:] |= ordered[1:] != ordered[:-1]
    group = np.cumsum(is_new, dtype=np.int64) - 1
    groups = group[-1] + 1
    is_train = own[order] == 0
    in_train = np.zeros(groups, bool)
    in_train[group[is_train]] = True
    across = in_train[group[~is_train]]
    return {"within": int(len(order) - groups), "across": int(across.sum())}


def fingerprint(
    raw: Tensor | StoredRows,
    own: np.ndarray,
    digests: np.ndarray,
    classes: tuple[str, ...],
    labels: Tensor | None,
    known: tuple[Tensor | None, tuple[Condition, ...], tuple[tuple[str, ...], ...]],
    *,
    weights: np.ndarray | None = None,
    is_sampled: bool,
) -> str:
    """A hash of everything; where `digests` are not of the values, `is_sampled`, of the values of a thousand rows."""
    kept = "torch.uint8" if _are_pixels(raw) else "torch.float32"  # whatever the type in the source
    kind = (tuple(raw.shape), kept, classes)
    state = hashlib.sha256(repr(kind).encode())
    state.update(digests.data)
    if is_sampled:
        thousand = torch.arange(1000) * len(raw) // 1000
        state.update(raw.index_select(0, thousand).numpy().data)
    names = np.array(PARTS, "<U5")
    for start in range(0, len(own), VALUES_AT_ONCE):
        chunk = own[start : start + VALUES_AT_ONCE]
        state.update(names[chunk].tobytes())
    if labels is not None:
        state.update(labels.numpy().tobytes())
    contexts, *names_of = known
    if contexts is not None:
        state.update(contexts.numpy().tobytes())
    if any(names_of):
        state.update(repr(names_of).encode())
    if weights is not None:
        state.update(weights.tobytes())
    return state.hexdigest()
