"""Files of rows as files that a model makes, and back."""

from pathlib import Path
from typing import Any

import numpy as np

from variform.compression.beside import lengths_beside, rates_beside
from variform.compression.packing import (
    Packed,
    elbo_rate,
    pack,
    pack_table,
    unpack,
    unpack_table,
)
from variform.config.data import DataConfig
from variform.data.reading import read_rows
from variform.export import codec
from variform.model.vae import VAE, HasVAE, vae_of
from variform.system.files import replacing, require_new

Array = np.ndarray[Any, np.dtype[Any]]

TABLES = (".csv", ".tsv", ".txt")
"""Files that are tables."""


def compress_file(
    vae: VAE | HasVAE,
    source: Path,
    out: Path,
    *,
    config: DataConfig | None = None,
    beside: bool = False,
) -> dict[str, Any]:
    """Compress a file of rows, and say what that took.

    Args:
        vae: The model.
        source: A .npy file of rows of levels, or a .csv, .tsv or .txt file of a table.
        out: The new file.
        config: How the model's data were read.
        beside: Whether to compress the rows by other means too, to compare.

    Returns:
        `rows`, `values`, `bytes`, and in bits a value the rates `net` and `total` (see `Packed`), of levels that of the
        negative `elbo`, and those `beside`.

    Raises:
        FileExistsError: when `out` is there already.
        ValueError: as `pack`, and for a source of another kind.
    """
    require_new(out)
    if not source.is_file():
        raise FileNotFoundError(f"the data must be there; {source} is not. Check the path.")
    config = config or DataConfig()
    if source.suffix in TABLES:
        packed = pack_table(vae, source, config)
        numbers = _rates(packed)
        others = source.read_bytes()
    else:
        others = values = _rows_of(source)
        packed = pack(vae, values)
        numbers = _rates(packed) | {"elbo": _elbo(vae, values, config)}
    with replacing(out, new=True) as temporary:
        temporary.write_bytes(packed.content)
    if not beside:
        return numbers
    rates = rates_beside(others) if isinstance(others, np.ndarray) else lengths_beside(others)
    if isinstance(others, bytes):
        rates = {name: 8 * length / packed.values for name, length in rates.items()}
    return numbers | {"beside": rates}


def decompress_file(vae: VAE | HasVAE, file: Path, out: Path) -> int:
    """Write the rows of a compressed file as the file that they came from, and return how many there are.

    Args:
        vae: The model that compressed them.
        file: The compressed file.
        out: The new file, .npy or of a table the suffix that it had.

    Raises:
        FileNotFoundError, FileExistsError: for a file that is not there, and an output that is.
        ValueError: as `unpack`.
    """
    content = file.read_bytes()
    header = codec.opened(content)[0]
    suffix = header.get("suffix", ".npy")
    if out.suffix != suffix:
        raise ValueError(f"the output must end in {suffix}; got {out.name}. Rename it.")
    require_new(out)
    if suffix in TABLES:
        text = unpack_table(vae, content)
        with replacing(out, new=True) as temporary:
            temporary.write_bytes(text)
    else:
        values = unpack(vae, content)
        with replacing(out, new=True) as temporary, open(temporary, "wb") as stream:
            np.save(stream, values)
    return header["rows"]


def _rows_of(source: Path) -> Array:
    if source.suffix != ".npy":
        raise ValueError(
            f"what is compressed must be a .npy file of rows or a .csv file; got {source.name}. Write the rows with "
            "`numpy.save`."
        )
    try:
        return np.load(source, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(
            f"{source} must be a whole .npy file of numbers; it is not: {error}. Write it anew."
        ) from error


def _rates(packed: Packed) -> dict[str, Any]:
    return {
        "rows": codec.opened(packed.content)[0]["rows"],
        "values": packed.values,
        "bytes": len(packed.content),
        "net": packed.net,
        "total": packed.total,
    }


def _elbo(vae: VAE | HasVAE, values: Array, config: DataConfig) -> float:
    model = vae_of(vae)
    assert model.schema is not None
    rows = values.reshape(len(values), *model.event_shape)
    return elbo_rate(model, read_rows(rows, model.schema, config))
