"""What a model file says of itself, read without building the model, and so without torch."""

import math
import os
from pathlib import Path
from typing import Any

from variform.system.sealing import describe_sealed


def inspect(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a model file says of itself: format, versions, model configuration, schema, number of weights.

    Raises:
        FileNotFoundError, ValueError: as `load_vae`.
    """
    header, tensors = describe_sealed(Path(path))
    if not {"model", "schema"} <= header.keys():
        raise ValueError(
            f"{Path(path).name} must be a model of variform; it is another of its files. Give model.safetensors."
        )
    statistics = (
        ".centre",
        ".spread",
        ".optimal_variance",
    )  # in the data and by training, but no weights
    weights = sum(
        math.prod(value.shape)
        for name, value in tensors.items()
        if value.is_floating_point
        and not name.endswith(statistics)  # a flow's masks are no weights either
    )
    return header | {"weights": weights}
