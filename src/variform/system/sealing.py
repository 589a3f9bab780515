"""Sealed files: safetensors with JSON in their metadata and a checksum of both, so that damage to any bit is seen.

Models, samplers, scores and checkpoints are such files. Reading one executes nothing.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from safetensors import SafetensorError, safe_open

from variform.system import memory
from variform.system.files import replacing
from variform.system.heartbeats import copying
from variform.version import __version__

if TYPE_CHECKING:
    from torch import Tensor

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

_TYPES = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "I16": "int16",
    "I32": "int32",
    "I64": "int64",
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
}
"""What torch calls the types of safetensors; no other is written."""


class Stored(NamedTuple):
    """What a file says of one of its tensors."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def is_floating_point(self) -> bool:
        """Whether its values are numbers with a fraction."""
        return "float" in self.dtype


def sealed(
    header: dict[str, Any], state: "dict[str, Tensor]", *, has_flow: bool = False, sort_keys: bool = True
) -> bytes:  # fmt: skip
    """The content of a sealed file.

    Args:
        header: Plain values; format, versions and checksum are added.
        state: The tensors by name.
        has_flow: Whether what the tensors mean depends on zuko, so that its version is added too.
        sort_keys: Whether names in the header are sorted, so that equal ones have equal bytes.

    Example:
        >>> import torch
        >>> content = sealed({"state": {"step": 7}}, {"weight": torch.ones(2)})
        >>> metadata, tensors = opened(content, "checkpoint")
        >>> verified(metadata, tensors, "checkpoint")["state"], tensors["weight"].tolist()
        ({'step': 7}, [1.0, 1.0])
    """
    return _sealed(header, state, has_flow=has_flow, sort_keys=sort_keys)[0]


def _sealed(
    header: dict[str, Any], state: "dict[str, Tensor]", *, has_flow: bool, sort_keys: bool
) -> tuple[bytes, str]:
    """The content of a sealed file, and its checksum."""
    import torch
    from safetensors.torch import save

    tensors = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    versions = {"variform": __version__, "torch": torch.__version__}
    if has_flow:
        versions["zuko"] = version("zuko")
    header = {"format": FORMAT, **versions, **header}
    blank = json.dumps(header | {"sha256": ""}, sort_keys=sort_keys)
    seal = checksum(blank, tensors)
    text = json.dumps(header | {"sha256": seal}, sort_keys=sort_keys)
    with copying(sum(value.nbytes for value in tensors.values())):
        # Two entries would come in a random order.
        return save(tensors, {"variform": text}), seal


def write_sealed(
    path: str | os.PathLike[str],
    header: dict[str, Any],
    state: "dict[str, Tensor]",
    *,
    has_flow: bool = False,
    sort_keys: bool = True,
) -> str:
    """Write tensors, and the JSON that says what they are, with a checksum of both, whole or not at all.

    Args:
        path: The file to write.
        header: As of `sealed`.
        state: The tensors by name.
        has_flow: As of `sealed`.
        sort_keys: As of `sealed`.

    Returns:
        The checksum, by which another file can name this one.
    """
    content, seal = _sealed(header, state, has_flow=has_flow, sort_keys=sort_keys)
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    return seal


def read_sealed(path: Path) -> "tuple[dict[str, Any], dict[str, Tensor]]":
    """Header and tensors of a file that `write_sealed` wrote.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: for a file that is cut short, changed, of a newer version or not of variform.
    """
    _require_file(path)
    try:
        metadata, tensors = _mapped(path)
    except (SafetensorError, *_MISFITS) as error:
        raise _broken(path, error) from error
    return verified(metadata, tensors, path.name, finite=True), tensors


def describe_sealed(path: Path) -> tuple[dict[str, Any], dict[str, Stored]]:
    """What `read_sealed` reads and verifies, with what each tensor is in the place of its values; without torch.

    Raises:
        FileNotFoundError, ValueError: as `read_sealed`.
    """
    _require_file(path)
    try:
        with safe_open(
            path, framework="numpy"
        ) as file:  # sees that the places of all tensors fit the file
            metadata = file.metadata() or {}
        content = path.read_bytes()
        start = 8 + int.from_bytes(content[:8], "little")
        entries = json.loads(content[8:start])
        entries.pop("__metadata__", None)
        tensors = {
            name: Stored(_TYPES.get(entry["dtype"], entry["dtype"]), tuple(entry["shape"]))
            for name, entry in entries.items()
        }
    except (SafetensorError, ValueError, *_MISFITS) as error:
        raise _broken(path, error) from error

    def parts() -> Iterable[tuple[str, str, tuple[int, ...], memoryview]]:
        values = memoryview(content)[start:]
        for name, (dtype, shape) in tensors.items():
            first, end = entries[name]["data_offsets"]
            yield name, f"torch.{dtype}", shape, values[first:end]

    header = _verified(metadata, lambda text: _digest(text, parts()), path.name, finite=True)
    return header, tensors


def _mapped(path: Path) -> "tuple[dict[str, str], dict[str, Tensor]]":
    """Metadata and tensors of a safetensors file, whose bytes the system reads as they are used."""
    with safe_open(path, framework="pt") as file:
        return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise FileNotFoundError(
            f"a model file must exist; there is none at {path}. Give the folder of a run."
        )
    memory.require(path.stat().st_size, path.name, "Use a machine with more.")


def _broken(path: Path, error: BaseException) -> ValueError:
    return ValueError(f"{path.name} must be a whole safetensors file; {error}. {_AGAIN}")


def opened(
    content: bytes | Path, name: str, *, remedy: str = _AGAIN
) -> "tuple[dict[str, str], dict[str, Tensor]]":
    """Metadata and tensors of a safetensors file, with or without a seal.

    Args:
        content: What was read from a file; or where it is, and its bytes are read as they are used.
        name: What it must be whole, for messages.
        remedy: What to do where it is not.

    Raises:
        ValueError: for what is no whole safetensors file.

    Example:
        >>> import torch
        >>> from safetensors.torch import save
        >>> opened(save({"weight": torch.ones(1)}, {"by": "hand"}), "plain")
        ({'by': 'hand'}, {'weight': tensor([1.])})
    """
    from safetensors.torch import load

    try:
        if isinstance(content, Path):
            return _mapped(content)
        with copying(len(content)):
            tensors = load(content)
        length = int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8 : 8 + length]).get("__metadata__", {})
    except (SafetensorError, ValueError, *_MISFITS) as error:
        raise ValueError(f"{name} must be a whole safetensors file; {error}. {remedy}") from error
    return metadata, tensors


def verified(
    metadata: dict[str, str], tensors: "dict[str, Tensor]", name: str, *, finite: bool = False, remedy: str = _AGAIN
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
        >>> import torch
        >>> metadata, tensors = opened(sealed({}, {"weight": torch.ones(2)}), "model")
        >>> tensors["weight"][0] = 2
        >>> verified(metadata, tensors, "model")
        Traceback (most recent call last):
        ValueError: model must be as it was written; its checksum differs. Fetch or train it again.
    """
    return _verified(
        metadata, lambda text: checksum(text, tensors), name, finite=finite, remedy=remedy
    )


def _verified(
    metadata: dict[str, str],
    checksum_with: Callable[[str], str],
    name: str,
    *,
    finite: bool,
    remedy: str = _AGAIN,
) -> dict[str, Any]:
    text = metadata.get("variform", "")
    header = _header(name, text, finite=finite)
    if header["format"] > FORMAT:
        raise ValueError(
            f"{name} must have format {FORMAT} or older; it has format {header['format']}, written by variform "
            f"{header.get('variform')}. Update variform."
        )
    try:
        is_whole = header.get("sha256") == checksum_with(
            text.replace(str(header.get("sha256")), "")
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


def checksum(text: str, tensors: "dict[str, Tensor]") -> str:
    """SHA-256 of a text and of tensors in the processor's memory, with their names, types and shapes.

    Example:
        >>> import torch
        >>> checksum("", {"weight": torch.ones(1)})[:8], checksum("", {"weight": torch.ones(1, 1)})[:8]
        ('b0ec03b7', 'e3335ed2')
    """
    import torch

    return _digest(
        text,
        (
            (
                name,
                str(value.dtype),
                tuple(value.shape),
                value.contiguous().view(-1).view(torch.uint8).numpy().data,
            )
            for name, value in tensors.items()
        ),
    )


def _digest(text: str, parts: Iterable[tuple[str, str, tuple[int, ...], memoryview]]) -> str:
    """SHA-256 of a text and of the name, type, shape and bytes of tensors, in the order of their names."""
    digest = hashlib.sha256(text.encode())
    for name, dtype, shape, content in sorted(parts, key=lambda part: part[0]):
        digest.update(f"{name} {dtype} {shape}".encode())
        digest.update(content)
    return digest.hexdigest()
