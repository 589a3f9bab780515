"""Rows as a file that a model makes, and back."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from variform.compression.stack import FastStack
from variform.compression.tables import Symbols, symbols_of, text_of
from variform.config.data import DataConfig
from variform.data.dataset import Dataset
from variform.export import codec
from variform.export.coding import lower_codec
from variform.model.importance import log_weights
from variform.model.vae import VAE, HasVAE, evaluating, vae_of
from variform.system.draws import seeded

Array = np.ndarray[Any, np.dtype[Any]]

_BATCH = 256  # rows whose ELBO is found at once


@dataclass(frozen=True)
class Packed:
    """Rows as the bytes of a file, and what it takes.

    Args:
        content: The bytes of the file.
        values: How many values the rows have, all together.
        first: Bits that the first rows took from outside, which come back to whoever reads the file.
    """

    content: bytes
    values: int
    first: int

    @property
    def total(self) -> float:
        """Bits of the whole file over the number of values."""
        return 8 * len(self.content) / self.values

    @property
    def net(self) -> float:
        """As `total`, without the first bits: what each further row adds."""
        return (8 * len(self.content) - self.first) / self.values


def codec_of(vae: VAE | HasVAE) -> codec.Codec:
    """The codec that a model is, with the coder of constriction.

    Args:
        vae: A VAE made by `build_vae`, or a `Model` or a run that has one.

    Raises:
        ValueError: as `lower_codec`, and where constriction is missing.
    """
    arrays: dict[str, Array] = {}
    facts = {"codec": lower_codec(vae_of(vae), arrays)}
    arrays["about"] = np.frombuffer(json.dumps(facts, sort_keys=True).encode(), np.uint8)
    return codec.Codec(arrays, FastStack)


def pack(vae: VAE | HasVAE, values: Array) -> Packed:
    """Rows as a file that is about as long as the model's ELBO says, from which every value comes back.

    $-\\log_2 p(x|z) - \\log_2 p(z) + \\log_2 q(z|x)$ bits a row on average: bits back with asymmetric numeral systems.

    Args:
        vae: As of `codec_of`.
        values: Raw values, (N, *event) or the same numbers in another shape of rows, such as images without an axis of
            channels; of any dtype, in which they come back.

    Raises:
        ValueError: as `codec_of`, and for values that the model has no probability for.

    Reference:
        Townsend, Bird and Barber (2019).

    Example:
        >>> from variform import ModelConfig, build_vae, read
        >>> digits = read("digits")
        >>> vae = build_vae(ModelConfig(latent_dim=2, likelihood="categorical"), digits.schema)
        >>> images = digits.test.raw[:20].numpy()
        >>> np.array_equal(unpack(vae, pack(vae, images).content), images)
        True
    """
    of_model = codec_of(vae)
    if of_model.facts["needs grid"]:
        raise ValueError(
            "an array must hold rows of levels, zeros and ones or pixels; this model is of a table, whose cells as "
            "they are written say what is to come back. Compress the .csv file."
        )
    rows = _in_shape(values, tuple(of_model.facts["shape"]))
    symbols = of_model.symbols(rows)
    _require_known(rows, symbols, vae_of(vae))
    facts = {"shape": list(values.shape), "dtype": values.dtype.str}
    content, first = codec.pack(of_model, symbols, facts)
    return Packed(content, max(1, values.size), first)


def pack_table(vae: VAE | HasVAE, source: Path, config: DataConfig) -> Packed:
    """As `pack`, a text file of a table, from which the same file comes back byte for byte.

    A real number is stored as the decimal that stands in its cell, under the probability of its bin, which is as wide
    as the last decimal of the column. Columns that the model does not know are in the file too, compressed by LZMA.

    Args:
        vae: A model of a mixed table or of counts.
        source: The file.
        config: How the model's data were read.

    Raises:
        ValueError: as `pack` and `symbols_of`.
    """
    of_model = codec_of(vae)
    schema = vae_of(vae).schema
    assert schema is not None
    if not of_model.facts["needs grid"]:
        raise ValueError(
            "a model of levels compresses a .npy file; this is a table. Write its numbers with `numpy.save`."
        )
    table = symbols_of(source, schema, config)
    facts = {"grid": table.grid, "suffix": source.suffix}
    content, first = codec.pack(of_model, table.values, facts, table.rest)
    return Packed(content, max(1, table.values.size), first)


def unpack_table(vae: VAE | HasVAE, content: bytes) -> bytes:
    """The text file that `pack_table` compressed with the same model.

    Args:
        vae: The model.
        content: The bytes of the compressed file.

    Raises:
        ValueError: as `unpack`.
    """
    values, header, rest = codec.unpack(codec_of(vae), content)
    schema = vae_of(vae).schema
    assert schema is not None
    return text_of(Symbols(values, header["grid"], rest), schema)


def unpack(vae: VAE | HasVAE, content: bytes) -> Array:
    """The rows of a file that `pack` made with the same model.

    Args:
        vae: The model.
        content: The bytes of the file.

    Raises:
        ValueError: for another model, for a file that is cut off or damaged, and for one of another version.
    """
    arrays = codec_of(vae)
    return codec.decompress(arrays.model, content, FastStack)


def _in_shape(values: Array, event: tuple[int, ...]) -> Array:
    """Rows in the shape of the model's; as they lie in memory, so that no value changes its place."""
    size = math.prod(event)
    if values.ndim < 1 or values.dtype.kind not in "buif" or values.size != len(values) * size:
        raise ValueError(
            f"rows must have {size} numbers each, as {event}; the array is {values.shape} of {values.dtype}. Give "
            "rows like those that the model was trained on."
        )
    if len(event) == 3 and event[0] > 1 and values.shape[1:] != event:
        raise ValueError(
            f"images of {event[0]} channels must have the shape {event}, channels first; the array is "
            f"{values.shape}. Move that axis."
        )
    return values.reshape(len(values), *event)


def _require_known(rows: Array, symbols: Array, vae: VAE) -> None:
    """Refuse values that the model's law cannot hold exactly."""
    unknown = np.argwhere(np.isnan(symbols))
    if not len(unknown):
        return
    row, column = unknown[0].tolist()
    value = rows.reshape(len(rows), -1)[row, column]
    schema = vae.schema
    assert schema is not None
    low, high = min(schema.low), max(schema.high)
    of = f"{schema.seen_levels} levels from {low:g} to {high:g}"
    remedy = "Compress rows that hold these."
    if schema.binarise != "none" or schema.seen_levels is None:
        of = f"{schema.shift[0]:g} and {schema.shift[0] + schema.scale[0]:g}"
        remedy = (
            "Round the rows to these first, or train on their levels, with `likelihood='logistic'`."
        )
    raise ValueError(
        f"this model has probabilities for {of} alone; row {row} has {value:g}, and {len(unknown) - 1:,} other values "
        f"are none of these. {remedy}"
    )


def elbo_rate(vae: VAE | HasVAE, rows: Dataset, *, seed: int = 0) -> float:
    """The negative ELBO of rows in bits a value, by one draw of z a row and torch's own arithmetic.

    Args:
        vae: The model.
        rows: The rows.
        seed: Seed of the draws.
    """
    model, total = vae_of(vae), 0.0
    with evaluating(model), seeded(seed):
        for x, context in model.batches(rows, _BATCH, seed=seed):
            weights = log_weights(model, x, 1, context=context).log_weight
            total -= weights.double().sum().item()
    return total / math.log(2) / max(1, len(rows) * math.prod(model.event_shape))
