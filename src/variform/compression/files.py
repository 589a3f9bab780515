"""Files of rows as files that a model makes, and back."""

from pathlib import Path
from typing import Any

import numpy as np

from variform.compression.beside import rates_beside
from variform.compression.packing import Packed, elbo_rate, pack, unpack
from variform.config.data import DataConfig
from variform.data.reading import read_rows
from variform.model.vae import VAE, HasVAE, vae_of
from variform.system.files import replacing, require_new

Array = np.ndarray[Any, np.dtype[Any]]


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
        source: A .npy file of the rows.
        out: The new file.
        config: How the model's data were read.
        beside: Whether to compress the rows by other means too, to compare.

    Returns:
        `rows`, `values`, `bytes`, and in bits a value the rates `net` and `total` (see `Packed`), that of the negative
        `elbo` and those `beside`.

    Raises:
        FileExistsError: when `out` is there already.
        ValueError: as `pack`, and for a source of another kind.
    """
    require_new(out)
    values = _rows_of(source)
    packed = pack(vae, values)
    with replacing(out, new=True) as temporary:
        temporary.write_bytes(packed.content)
    numbers = _rates(vae, values, packed, config)
    return numbers | ({"beside": rates_beside(values)} if beside else {})


def decompress_file(vae: VAE | HasVAE, file: Path, out: Path) -> Array:
    """Write the rows of a compressed file as the file that they came from, and return them.

    Args:
        vae: The model that compressed them.
        file: The compressed file.
        out: The new .npy file.

    Raises:
        FileNotFoundError, FileExistsError: for a file that is not there, and an output that is.
        ValueError: as `unpack`.
    """
    if out.suffix != ".npy":
        raise ValueError(f"the output must end in .npy; got {out.name}. Rename it.")
    require_new(out)
    values = unpack(vae, file.read_bytes())
    with replacing(out, new=True) as temporary, open(temporary, "wb") as stream:
        np.save(stream, values)
    return values


def _rows_of(source: Path) -> Array:
    if source.suffix != ".npy":
        raise ValueError(
            f"what is compressed must be a .npy file of rows; got {source.name}. Write the rows with `numpy.save`."
        )
    if not source.is_file():
        raise FileNotFoundError(f"the data must be there; {source} is not. Check the path.")
    try:
        return np.load(source, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(
            f"{source} must be a whole .npy file of numbers; it is not: {error}. Write it anew."
        ) from error


def _rates(
    vae: VAE | HasVAE, values: Array, packed: Packed, config: DataConfig | None
) -> dict[str, Any]:
    model = vae_of(vae)
    assert model.schema is not None
    rows = values.reshape(len(values), *model.event_shape)
    dataset = read_rows(rows, model.schema, config or DataConfig())
    return {
        "rows": len(values),
        "values": values.size,
        "bytes": len(packed.content),
        "net": packed.net,
        "total": packed.total,
        "elbo": elbo_rate(model, dataset),
    }
