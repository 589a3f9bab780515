"""The journal of a design study: a file that only grows, of which a crash costs at most the line being written.

A line is a record as JSON, with a checksum of the rest of it. What ends in the middle of a line, or was changed since,
is passed over and stays in the file; the next record begins a line of its own.
"""

import os
from pathlib import Path
from typing import Any

from variform.system.files import checksum, from_json, to_json


class Journal:
    """The records in a file, and the place where further ones go.

    A record is on the disk when `append` returns. One process at a time may append: see `locks.held`.

    Args:
        path: The file; it need not be there yet, its folder must.

    Attributes:
        records: All records that are whole, in the order in which they were written.
        set_aside: Number of lines that are not whole.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "journal.jsonl"
        >>> Journal(path).append({"kind": "answered", "id": "a"})
        >>> Journal(path).append({"kind": "answered", "id": "b"})
        >>> _ = path.write_bytes(path.read_bytes()[:-9])  # a crash
        >>> torn = Journal(path)
        >>> [record["id"] for record in torn.records], torn.set_aside
        (['a'], 1)
        >>> torn.append({"kind": "answered", "id": "c"})
        >>> [record["id"] for record in Journal(path).records]
        ['a', 'c']
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records: list[dict[str, Any]] = []
        self.set_aside = 0
        content = path.read_bytes() if path.is_file() else b""
        for line in content.split(b"\n"):
            record = _record(line)
            if record is not None:
                self.records.append(record)
            elif line.strip():
                self.set_aside += 1

    def append(self, *records: dict[str, Any]) -> None:
        """Write records to the end of the file, and wait until they are on the disk."""
        lines = b"".join(_line(record) for record in records)
        is_new = not self.path.exists()
        with open(self.path, "ab+") as file:
            if _ends_within_a_line(file):
                lines = b"\n" + lines
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())
        if is_new:
            _sync_folder(self.path.parent)
        # As they will be read again: NaN is null there.
        self.records += [
            record for record in map(_record, lines.split(b"\n")) if record is not None
        ]


def _line(record: dict[str, Any]) -> bytes:
    return to_json(record | {"checksum": checksum(record)}).encode() + b"\n"


def _record(line: bytes) -> dict[str, Any] | None:
    """What a line says; None where it is empty, cut off or changed."""
    try:
        record = from_json(line, "a record")
    except ValueError:
        return None
    if not isinstance(record, dict) or record.pop("checksum", None) != checksum(record):
        return None
    return record


def _ends_within_a_line(file: Any) -> bool:
    if file.seek(0, os.SEEK_END) == 0:
        return False
    file.seek(-1, os.SEEK_END)
    return file.read(1) != b"\n"


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
