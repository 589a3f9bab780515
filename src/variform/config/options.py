"""The options of the command line by their names in Python, and sentences that name them."""

import ast
import dataclasses

from variform.config.drawing import DrawingConfig
from variform.config.run import RunConfig
from variform.config.toml import to_option
from variform.config.words import with_fields

NAMES = frozenset(
    {
        *(field.name for part in RunConfig().parts for field in dataclasses.fields(part)),
        *(field.name for field in dataclasses.fields(DrawingConfig)),
        *(
            "apart",
            "architecture",
            "attribution",
            "beside",
            "bookmarks",
            "by",
            "callback",
            "config",
            "count",
            "data",
            "dims",
            "draw",
            "draws",
            "embedding",
            "film",
            "given",
            "held_out",
            "host",
            "id_pattern",
            "install",
            "intervals",
            "json",
            "kind",
            "language",
            "level",
            "licence",
            "mask",
            "most_bytes",
            "most_rows",
            "tries",
        ),
        *(
            "open",
            "out",
            "overwrite",
            "page",
            "port",
            "private",
            "progress",
            "quiet",
            "refine",
            "resume",
            "revision",
            "sampler",
            "samples",
            "seed",
            "seeds",
        ),
        *(
            "rows",
            "rule",
            "split",
            "start",
            "std",
            "study",
            "temperature",
            "timed_steps",
            "to",
            "track",
            "trust",
            "within",
        ),
    }
)
"""Every option of every command, as Python has it."""

_SPELLED = {"start": "from"}
"""What an option is called whose name Python has for something else."""
_PLACES = {"folder": "out", "path": "out"}
"""What functions call the place that they write to, and commands."""


def in_options(text: str) -> str:
    """A sentence of the library as the command line says it: a field in backticks becomes an option.

    Below the command line a message names a field of a configuration or an argument as Python and config.toml have it,
    alone or with a value. What is no option of a command stays, as what stands in quotes does, and the fields of a
    file, which have the names of their tables: `train.beta`.

    Example:
        >>> in_options("Use `likelihood='gaussian-per-feature'` or a smaller `learning_rate`.")
        'Use --likelihood gaussian-per-feature or a smaller --learning-rate.'
        >>> in_options("`deterministic=False`, `image_size=[32, 32]`, `vowels`, '`label`'")
        "--no-deterministic, --image-size 32,32, `vowels`, '`label`'"
    """
    return with_fields(text, _in_options)


def _in_options(field: str, value: str) -> str | None:
    name = _PLACES.get(field, field)
    if name not in NAMES:
        return None
    option = _SPELLED.get(name, name)
    if not value:
        return to_option(option)
    try:
        return to_option(option, ast.literal_eval(value.removeprefix("=")))
    except (ValueError, SyntaxError):
        return None
