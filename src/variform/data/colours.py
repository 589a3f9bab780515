"""What a screen shows of an image, whatever its channels are."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from variform.data.schema import Ends

Array = NDArray[Any]


def shares_of_colours(images: Array, value_range: tuple[Ends, Ends]) -> Array:
    """How light each pixel is, in [0, 1], with 1 or 3 channels: of others the first three, or the second twice of two.

    Args:
        images: (..., channels, height, width).
        value_range: The values that are black and white, of all channels or of each.

    Example:
        >>> shares_of_colours(np.array([2.0, 30.0]).reshape(2, 1, 1), ((0.0, 20.0), (4.0, 40.0))).flatten().tolist()
        [0.5, 0.5, 0.5]
    """
    low, high = (np.reshape(end, (-1, 1, 1)) for end in value_range)
    span = np.where(high > low, high - low, 1)
    share = np.clip(np.nan_to_num((images - low) / span), 0, 1)
    channels = images.shape[-3]
    if channels in (1, 3):
        return share
    chosen = [0, 1, 1] if channels == 2 else [0, 1, 2]
    return share[..., chosen, :, :]
