"""What an optimiser is asked: so many points of a space, after what was told."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from variform.design.told import Told

Array = np.ndarray[Any, np.dtype[Any]]


class Searched(Protocol):
    """What optimisers need of a design space; all of it is in `spaces.Space`.

    A space that has only so many points, such as a pool of known designs, has all of them as `points`, (n, dim).
    """

    @property
    def dim(self) -> int:
        """Number of coordinates."""
        ...

    @property
    def box(self) -> tuple[Array, Array]:
        """Low and high, (dim,) each, between which points are looked for."""
        ...

    def sample(self, count: int, rng: np.random.Generator) -> Array:
        """Points (count, dim) as the space's own law has them."""
        ...


@dataclass(frozen=True)
class Request:
    """The arguments of `optimisers.propose`, where what is told is in order and the seed is a stream of draws."""

    space: Searched
    told: Told
    count: int
    stream: np.random.Generator
    pending: Array
    reference: Array | None

    def sample(self) -> Array:
        """As many draws of the space's own law as are asked for."""
        return self.space.sample(self.count, self.stream)

    def points_left(self, most: int) -> Array | None:
        """The points of a pool that were not proposed yet, shuffled, each once and at most so many; None of others."""
        points = getattr(self.space, "points", None)
        if points is None:
            return None
        proposed = {row.tobytes() for row in np.concatenate([self.told.z, self.pending])}
        shuffled = points[self.stream.permutation(len(points))]
        left = {row.tobytes(): row for row in shuffled if row.tobytes() not in proposed}
        return np.array(list(left.values())[:most]).reshape(-1, self.space.dim)
