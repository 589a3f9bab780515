"""Points laid out in two dimensions so that neighbours stay neighbours: a picture, which keeps no distance."""

from typing import Any, Literal

import numpy as np

from variform.config.checks import checked, require
from variform.evaluation.exploration import spread

Array = np.ndarray[Any, np.dtype[Any]]

EmbeddingName = Literal["tsne"]
EMBEDDINGS: dict[EmbeddingName, str] = {"tsne": "t-SNE"}
"""What each is called."""
MOST_ROWS, LEAST_ROWS = 5_000, 10
_PERPLEXITY = 30.0


@checked
def embedded(points: Array, kind: EmbeddingName = "tsne", *, seed: int = 0) -> Array:
    r"""Where points stand in a picture that keeps neighbours together.

    t-SNE finds places $y_i$ whose similarities $q_{ij} \propto (1 + |y_i - y_j|^2)^{-1}$ are nearest in KL divergence
    to those of the points, which come from Gaussians of one perplexity, 30 where there are enough points. Distances,
    the sizes of groups and the gaps between them mean nothing.

    Args:
        points: (N, D); of more than `MOST_ROWS` as many, evenly, have a place.
        kind: The method.
        seed: Seed of the method.

    Returns:
        (N, 2), each axis with standard deviation 1; NaN for points without a place.

    Raises:
        ValueError: for fewer than `LEAST_ROWS` points.

    Reference:
        van der Maaten and Hinton (2008), Visualizing data using t-SNE; van der Maaten (2014), Accelerating t-SNE using
        tree-based algorithms. As scikit-learn has it.

    Example:
        >>> two = np.repeat([[0.0, 0, 0], [9, 9, 9]], 10, axis=0) + np.random.default_rng(0).normal(size=(20, 3))
        >>> places = embedded(two)
        >>> bool(np.abs(places[:10] - places[:10].mean(0)).max() < np.abs(places[:10] - places[10:]).max())
        True
    """
    from sklearn.manifold import TSNE

    require(
        len(points) >= LEAST_ROWS,
        f"a picture of neighbours must have at least {LEAST_ROWS} points",
        f"{len(points)}",
        "Leave `embedding` out.",
    )
    chosen = spread(MOST_ROWS, len(points)).numpy()
    some = np.ascontiguousarray(points[chosen], np.float32)
    perplexity = min(_PERPLEXITY, (len(some) - 1) / 3)
    placed = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(some)
    places = np.full((len(points), 2), np.nan)
    places[chosen] = placed / placed.std(0)
    return places
