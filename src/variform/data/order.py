"""The order of an epoch."""

import hashlib
import math

import torch
from torch import Tensor

# Of a batch of 128 rows, each then has one neighbour from its own block on average.
BLOCKS_PER_WINDOW = 128


def epoch_order(
    rows: int, seed: int, epoch: int, *, block: int | None = None, window: int | None = None
) -> Tensor:
    r"""The order of the rows in an epoch: a pure function, so that a position in it is one number.

    Without `block` every order is equally likely. With it the rows are cut into blocks of neighbours; the blocks come
    in random order, and rows are shuffled within each window of several blocks. A disk then reads whole blocks, and
    every row still comes once an epoch. Batches of b rows are less diverse: where two rows of one block correlate
    with $\rho$, and a window holds m blocks of B rows, the variance of a batch's mean is

    $\frac{\sigma^2}{b}\left[1 + (b - 1)\,\frac{B - 1}{mB - 1}\,\rho\right]$.

    Args:
        rows: Number of rows, N.
        seed: Of the run.
        epoch: Counted from 0.
        block: Rows per block, B; None for a shuffle of all rows.
        window: Rows per window, mB, a multiple of `block`; 128 blocks by default.

    Shape:
        (N,) int64.

    Raises:
        ValueError: for blocks of less than one row, and for a window that is no multiple of them.

    Example:
        >>> epoch_order(6, 0, 0, block=2, window=2).reshape(3, 2).sort(1).values.tolist()
        [[0, 1], [4, 5], [2, 3]]
    """
    digest = hashlib.blake2b(f"{seed} {epoch}".encode(), digest_size=8).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)
    if block is None:
        return torch.randperm(rows, generator=generator)
    if block < 1:
        raise ValueError(f"a block must hold at least 1 row; got {block}. Use for example 1024.")
    window = BLOCKS_PER_WINDOW * block if window is None else window
    if window < block or window % block:
        raise ValueError(
            f"a window must hold whole blocks; got {window} rows for blocks of {block}."
            f" Use for example {BLOCKS_PER_WINDOW * block}."
        )
    blocks = torch.randperm(math.ceil(rows / block), generator=generator)
    order = []
    for some in blocks.split(window // block):
        inside = (some[:, None] * block + torch.arange(block)).flatten()
        inside = inside[inside < rows]  # the last block of all may be shorter
        order.append(inside[torch.randperm(len(inside), generator=generator)])
    return torch.cat(order) if order else blocks
