"""Sealed files: safetensors with JSON in their metadata and a checksum of both, so that damage to any bit is seen.

Models, samplers, scores and checkpoints are such files. Reading one executes nothing.
"""

import hashlib
import json
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from torch import Tensor

from variform.system import memory
from variform.system.files import replacing
from variform.version import __version__

FORMAT = 2
"""Version of the file's layout; a file with a higher one is refused."""

_MISFITS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RuntimeError,
    StopIteration,
    TypeError,
)
"""What goes wrong where a file is not what it says; each becomes a ValueError."""


_AGAIN = "Fetch or train it again."


def sealed(
    header: dict[str, Any], state: dict[str, Tensor], *, has_flow: bool = False, sort_keys: bool = True
) -> bytes:  # fmt: skip
    """The content of a sealed file.

    Args:
        header: Plain values; format, versions and checksum are added.
        state: The tensors by name.
        has_flow: Whether what the tensors mean depends on zuko, so that its version is added too.
        sort_keys: Whether names in the header are sorted, so that equal ones have equal bytes.

    Example:
        >>> content = sealed({"state": {"step": 7}}, {"weight": torch.ones(2)})
        >>> metadata, tensors = opened(content, "checkpoint")
        >>> verified(metadata, tensors, "checkpoint")["state"], tensors["weight"].tolist()
        ({'step': 7}, [1.0, 1.0])
    """
    tensors = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    versions = {"variform": __version__, "torch": torch.__version__}
    if has_flow:
        versions["zuko"] = version("zuko")
    header = {"format": FORMAT, **versions, **header}
    blank = json.dumps(header | {"sha256": ""}, sort_keys=sort_keys)
    text = json.dumps(header | {"sha256": checksum(blank, tensors)}, sort_keys=sort_keys)
    return to_bytes(tensors, {"variform": text})  # two entries would come in a random order


def write_sealed(
    path: str | os.PathLike[str],
    header: dict[str, Any],
    state: dict[str, Tensor],
    *,
    has_flow: bool = False,
    sort_keys: bool = True,
) -> None:
    """Write tensors, and the JSON that says what they are, with a checksum of both, whole or not at all.

    Args:
        path: The file to write.
        header: As of `sealed`.
        state: The tensors by name.
        has_flow: As of `sealed`.
        sort_keys: As of `sealed`.
    """
    content = sealed(header, state, has_flow=has_flow, sort_keys=sort_keys)
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def read_sealed(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header and tensors of a file that `write_sealed` wrote.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: for a file that is cut short, changed, of a newer version or not of variform.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"a model file must exist; there is none at {path}. Give the folder of a run."
        )
    memory.require(path.stat().st_size, path.name, "Use a machine with more.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, *_MISFITS) as error:
        raise ValueError(
            f"{path.name} must be a whole safetensors file; {error}. {_AGAIN}"
        ) from error
    return verified(metadata, tensors, path.name, finite=True), tensors


def opened(
    content: bytes, name: str, *, remedy: str = _AGAIN
) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors of a safetensors file, with or without a seal.

    Args:
        content: What was read from a file.
        name: What it must be whole, for messages.
        remedy: What to do where it is not.

    Raises:
        ValueError: for what is no whole safetensors file.

    Example:
        >>> opened(to_bytes({"weight": torch.ones(1)}, {"by": "hand"}), "plain")
        ({'by': 'hand'}, {'weight': tensor([1.])})
    """
    try:
        tensors = from_bytes(content)
        length = int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8 : 8 + length]).get("__metadata__", {})
    except (SafetensorError, ValueError, *_MISFITS) as error:
        raise ValueError(f"{name} must be a whole safetensors file; {error}. {remedy}") from error
    return metadata, tensors


def verified(
    metadata: dict[str, str], tensors: dict[str, Tensor], name: str, *, finite: bool = False, remedy: str = _AGAIN
) -> dict[str, Any]:  # fmt: skip
    """The header in the metadata of a file, after its checksum was compared.

    Args:
        metadata: Of a sealed file, as `opened` gives them.
        tensors: What it holds.
        name: The file, for messages.
        finite: Whether numbers of the header must be finite.
        remedy: What to do where it is damaged.

    Raises:
        ValueError: for a file that is changed, of a newer version or not of variform.

    Example:
        >>> metadata, tensors = opened(sealed({}, {"weight": torch.ones(2)}), "model")
        >>> tensors["weight"][0] = 2
        >>> verified(metadata, tensors, "model")
        Traceback (most recent call last):
        ValueError: model must be as it was written; its checksum differs. Fetch or train it again.
    """
    text = metadata.get("variform", "")
    header = _header(name, text, finite=finite)
    if header["format"] > FORMAT:
        raise ValueError(
            f"{name} must have format {FORMAT} or older; it has format {header['format']}, written by variform "
            f"{header.get('variform')}. Update variform."
        )
    try:
        is_whole = header.get("sha256") == checksum(
            text.replace(str(header.get("sha256")), ""), tensors
        )
    except _MISFITS:  # of types that torch cannot look into
        is_whole = False
    if not is_whole:
        raise ValueError(f"{name} must be as it was written; its checksum differs. {remedy}")
    return header


def _header(name: str, text: str, *, finite: bool) -> dict[str, Any]:
    try:
        header = json.loads(text, parse_constant=_no_number if finite else None)
    except (ValueError, RecursionError):
        header = None
    if (
        not isinstance(header, dict)
        or type(header.get("format")) is not int
        or header["format"] < 1
    ):
        raise ValueError(
            f"{name} must be a model of variform; its metadata do not say so. Choose another file."
        )
    return header


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number")


def checksum(text: str, tensors: dict[str, Tensor]) -> str:
    """SHA-256 of a text and of tensors in the processor's memory, with their names, types and shapes.

    Example:
        >>> checksum("", {"weight": torch.ones(1)})[:8], checksum("", {"weight": torch.ones(1, 1)})[:8]
        ('b0ec03b7', 'e3335ed2')
    """
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
