"""Parts: tensors that are split over processes, in memory and in the files of a checkpoint.

Process k of W has rows b_k to b_(k+1) of a tensor, along its first axis, with 0 = b_0 <= b_1 <= ... <= b_W. It writes
them into a sealed file of its own; checkpoint.safetensors, written last, names these files with their checksums and has
the bounds b. So no process ever has a tensor whole, and W may be another one when they are read.
"""

import itertools
import json
import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from variform.config.checks import Natural
from variform.system import processes
from variform.training.history import CHECKPOINT

_STEM = r"checkpoint-[0-9a-f]{16}-[0-9]+-of-[0-9]+"
_NAME = re.compile(rf"{_STEM}\.safetensors")
_UNFINISHED = re.compile(rf"\.{_STEM}-[0-9a-f]{{8}}\.safetensors")  # as `replacing` leaves it


class File(TypedDict):
    """A file with the rows of one process."""

    name: str
    sha256: str


class Parts(TypedDict):
    """What checkpoint.safetensors says of the tensors that are split."""

    files: list[File]
    """In the order of the rows."""
    bounds: dict[str, list[Natural]]
    """For each tensor, where the rows of each file begin, and where those of the last end."""


def is_split(value: Tensor) -> bool:
    """Whether a tensor is split over processes (FSDP2).

    Example:
        >>> is_split(torch.ones(2))
        False
    """
    return hasattr(value, "to_local")  # a DTensor, whose module takes long to import


def own(value: Any) -> Tensor:
    """The rows of a tensor that this process has; of one that is not split, all.

    Example:
        >>> own(torch.ones(2))
        tensor([1., 1.])
    """
    return value.to_local() if is_split(value) else value


def whole(value: Any) -> Tensor:
    """All rows of a tensor, in every process, on the CPU; all processes call it.

    Example:
        >>> whole(torch.ones(2))
        tensor([1., 1.])
    """
    if not is_split(value):
        return value
    return value.to(value.device_mesh.device_type).full_tensor().cpu()


def fill(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Give a module that is whole in each process these weights, one tensor after another; all processes call it.

    Example:
        >>> layer = nn.Linear(1, 1)
        >>> fill(layer, {"weight": torch.ones(1, 1), "bias": torch.zeros(1)})
        >>> layer(torch.tensor([3.0])).item()
        3.0
    """
    with torch.no_grad():
        for name, value in module.state_dict().items():
            value.copy_(whole(weights[name]))


@dataclass(frozen=True)
class Layout:
    """Which rows of which tensors this process has.

    Args:
        like: A tensor that is split, by name.
        bounds: As of `Parts`, by name.
    """

    like: dict[str, Tensor]
    bounds: dict[str, list[int]]

    @classmethod
    def of(cls, tensors: dict[str, Tensor]) -> "Layout":
        """That of the tensors that are split; all processes call it, with tensors of the same names."""
        like = {name: value for name, value in tensors.items() if is_split(value)}
        lengths = [len(own(value)) for value in like.values()]
        # A row of lengths from each process.
        table = [json.loads(row) for row in processes.gathered(json.dumps(lengths).encode())]
        bounds = {
            name: list(itertools.accumulate(column, initial=0))
            for name, column in zip(like, zip(*table, strict=True), strict=True)
        }
        return cls(like, bounds)

    def rows(self, name: str, count: int) -> slice:
        """The rows of a tensor of `count` rows that this process has: of one that is not split, all."""
        if name not in self.like:
            return slice(0, count)
        return slice(*self.bounds[name][processes.rank() :][:2])

    def joined(self, name: str, pieces: list[Tensor]) -> Tensor:
        """The tensor that is split, or whole, of the pieces of its rows that this process has."""
        if name not in self.like:
            return _joined(pieces)
        from torch.distributed.tensor import DTensor  # slow to import

        like: Any = self.like[name]
        rows = _joined(pieces or [own(like).detach()[:0].cpu()])
        if rows.shape != own(like).shape:
            raise LookupError(f"{name} has another shape")
        return DTensor.from_local(
            rows, like.device_mesh, like.placements, shape=like.shape, stride=like.stride()
        ).cpu()


def _joined(pieces: list[Tensor]) -> Tensor:
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces)


def new_name() -> str:
    """The name of the file that this process writes next, alike in no other checkpoint; all processes call it."""
    token = processes.broadcast(os.urandom(8)).hex()
    return f"checkpoint-{token}-{processes.rank() + 1}-of-{processes.count()}.safetensors"


def described(name: str, seal: str, tensors: dict[str, Tensor]) -> Parts:
    """What checkpoint.safetensors says of the files that the processes wrote; all processes call it.

    Args:
        name: The file of this process.
        seal: Its checksum.
        tensors: What it has its rows of.
    """
    files = [json.loads(file) for file in processes.gathered(json.dumps([name, seal]).encode())]
    return {
        "files": [{"name": name, "sha256": seal} for name, seal in files],
        "bounds": Layout.of(tensors).bounds,
    }


def require_sound(parts: Parts, rule: str, remedy: str) -> None:
    """Refuse parts that nobody can have written.

    Raises:
        ValueError: with the rule and the remedy.
    """
    has_names = all(_NAME.fullmatch(file["name"]) for file in parts["files"])
    ends = len(parts["files"]) + 1
    has_bounds = all(
        len(bounds) == ends and bounds == sorted(bounds) and bounds[0] == 0 < bounds[-1]
        for bounds in parts["bounds"].values()
    )
    if not (has_names and has_bounds):
        raise ValueError(f"{rule}; what it says of its parts cannot be. {remedy}")


def read(
    parts: Parts, opened: Callable[[File], dict[str, Tensor]], rows: Callable[[str, int], slice]
) -> dict[str, list[Tensor]]:
    """The pieces of each tensor that lie in the rows that this process has, in their order, one file after another.

    Args:
        parts: As `require_sound` lets pass.
        opened: Reads a file, and verifies it; files without such rows are not read.
        rows: As `Layout.rows`.

    Raises:
        LookupError: for a file that has not the rows that it should have.

    Example:
        >>> bounds = {"weight": [0, 2, 3]}
        >>> parts: Parts = {"files": [{"name": "1", "sha256": ""}, {"name": "2", "sha256": ""}], "bounds": bounds}
        >>> files = {"1": torch.tensor([10, 11]), "2": torch.tensor([12])}
        >>> pieces = read(parts, lambda file: {"weight": files[file["name"]]}, lambda name, count: slice(1, count))
        >>> torch.cat(pieces["weight"])
        tensor([11, 12])
    """
    pieces: dict[str, list[Tensor]] = {name: [] for name in parts["bounds"]}
    for number, file in enumerate(parts["files"]):
        shares: dict[str, tuple[int, slice]] = {}
        for name, bounds in parts["bounds"].items():
            mine, (first, end) = rows(name, bounds[-1]), bounds[number : number + 2]
            start, stop = max(first, mine.start), min(end, mine.stop)
            if start < stop:
                shares[name] = (end - first, slice(start - first, stop - first))
        tensors = opened(file) if shares else {}
        for name, (length, share) in shares.items():
            if tensors[name].shape[:1] != (length,):
                raise LookupError(f"{name} has another number of rows")
            pieces[name].append(tensors[name][share].clone())
    return pieces


def files(folder: Path) -> list[str]:
    """The names of the files in a folder that are, or were, parts of a checkpoint.

    Example:
        >>> files(Path("nowhere"))
        []
    """
    if not folder.is_dir():
        return []
    return sorted(name for name in os.listdir(folder) if _NAME.fullmatch(name))


def sweep(folder: Path) -> None:
    """Remove the parts that the checkpoint in a folder does not name: those of the one before, and of a killed writing.

    Args:
        folder: Where no other process writes.
    """
    unfinished = [name for name in os.listdir(folder) if _UNFINISHED.fullmatch(name)]
    there = files(folder)
    if not (there or unfinished):
        return
    with suppress(OSError, SafetensorError, ValueError, LookupError, TypeError):
        named = _named(folder / CHECKPOINT)
        for name in {*there, *unfinished} - named:
            (folder / name).unlink(missing_ok=True)


def _named(path: Path) -> set[str]:
    """The files that a checkpoint says are its parts; none where there is no checkpoint."""
    if not path.is_file():
        return set()
    with safe_open(path, framework="numpy") as file:
        header = json.loads(file.metadata()["variform"])
    return {file["name"] for file in header.get("parts", {"files": []})["files"]}
