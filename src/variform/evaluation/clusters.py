"""Whether neighbours stay neighbours in a space, and how rows fall into clusters there."""

import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from variform.evaluation import exploration
from variform.evaluation.representations import Representation
from variform.evaluation.standard_error import Estimate, jackknifed

Array = np.ndarray[Any, np.dtype[Any]]
Spaces = Mapping[str, Representation]

_MOST_ROWS = 1_000  # whose distances from each other are looked at
_MOST_CLUSTERS = 10  # that are tried where nobody says how many
_FITS, _MOST_FITTED = 5, 2_000  # resamples that clusters are fitted to, and rows of each
_STARTS = 3  # of k-means
_MOST_OF_MIXTURE = 50  # dimensions of a mixture of Gaussians
_LEAST_VARIANCE = 1e-3  # of a Gaussian in a mixture, of the mean variance of a dimension


def neighbourhoods(spaces: Spaces, neighbours: int = 10) -> dict[str, Any]:
    r"""Whether the nearest rows are also the nearest codes.

    With $r(i, j)$ the place of j among the rows nearest to i, from 1, and $N_i$ the k codes nearest to that of i:

    - trustworthiness, $1 - \frac{2}{N k (2N - 3k - 1)} \sum_i \sum_{j \in N_i} \max(0, r(i, j) - k)$: 1 where no code
      has a neighbour whose row is far;
    - preserved, $\frac{1}{N k} \sum_i \sum_{j \in N_i} 1[r(i, j) \le k]$: the share of neighbours that stay.

    Distances are Euclidean, of rows as the model sees them, among at most 1,000 of them. Errors are those of a
    jackknife.

    Args:
        spaces: What `representations.represented` gives.
        neighbours: k; fewer where there are not four times as many rows.

    Returns:
        neighbours, as many as were asked, and for both measures the estimates of codes and pca, of what is expected of
        codes at random (guess), and of codes_minus_pca.

    Reference:
        Venna and Kaski (2001), equation 1; Lee and Verleysen (2009) for the share; as
        `sklearn.manifold.trustworthiness`.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(100, 5))
        >>> rows, plane = Representation(x, x), Representation(x[:, :2], x[:, :2])
        >>> found = neighbourhoods({"columns": rows, "codes": rows, "pca": plane})
        >>> found["trustworthiness"]["codes"]["mean"], found["preserved"]["pca"]["mean"] < 0.5
        (1.0, True)
    """
    rows = exploration.spread(_MOST_ROWS, len(spaces["columns"].judged)).numpy()
    near = {name: _nearest_first(space.judged[rows]) for name, space in spaces.items()}
    count = len(rows)
    k = max(1, min(neighbours, count // 4))

    def measured(kept: Array, _: int) -> dict[str, float]:
        ranks = _ranks(_among(near["columns"], kept), count)
        measures = {}
        for name in ("codes", "pca"):
            places = np.take_along_axis(ranks, _among(near[name], kept)[:, :k], 1)
            measures[f"trustworthiness {name}"] = _trustworthiness(places, k)
            measures[f"preserved {name}"] = float((places <= k).mean())  # eq: preserved
        return measures

    found = _compared(measured, count)
    guess = {"trustworthiness": _trustworthiness_of_noise(count, k), "preserved": k / (count - 1)}
    for name, value in guess.items():
        found[name]["guess"] = {"mean": value, "se": None, "n": count}
    return {"neighbours": k, **found}


def _trustworthiness(places: Array, k: int) -> float:
    """Of the places, from 1, that the k nearest of each row have elsewhere, (N, k)."""
    count = len(places)
    penalty = (places - k).clip(0).sum()
    return float(1 - 2 * penalty / (count * k * (2 * count - 3 * k - 1)))  # eq: trustworthiness


def _trustworthiness_of_noise(count: int, k: int) -> float:
    """Its expectation where places are any of the N - 1, equally likely."""
    expected = np.arange(1, count - k).sum() / (count - 1)
    return float(1 - 2 * expected / (2 * count - 3 * k - 1))


def _nearest_first(x: Array) -> Array:
    """For each row the numbers of the others, the nearest first, (N, N - 1)."""
    from scipy.spatial.distance import cdist

    distances = cdist(x, x)
    np.fill_diagonal(distances, np.inf)
    return distances.argsort(1, kind="stable")[:, :-1]


def _among(order: Array, kept: Array) -> Array:
    """The same for some rows among themselves, (K, K - 1)."""
    is_kept = np.zeros(len(order), bool)
    is_kept[kept] = True
    of_kept = order[kept]
    return of_kept[is_kept[of_kept]].reshape(len(kept), -1)


def _ranks(order: Array, count: int) -> Array:
    """At which place, from 1, each number stands, (K, count)."""
    ranks = np.zeros((len(order), count), np.int64)
    np.put_along_axis(ranks, order, np.arange(1, order.shape[1] + 1)[None], 1)
    return ranks


def agreement(spaces: Spaces, classes: Array, count: int, *, seed: int = 0) -> dict[str, Any]:
    """How far the clusters of rows are their classes, which the clusters know nothing of.

    Clusters are fitted to five resamples of the training rows, at most 2,000 of them, and other rows belong to the one
    that is nearest or likeliest. Measures are means over the five, and their errors include how these differ, since
    clusters depend on where their search begins. A mixture of Gaussians has full covariances, and is fitted where a
    space has at most 50 dimensions and rows enough.

    Args:
        spaces: What `representations.represented` gives.
        classes: Of the rows that are judged, numbers from 0, -1 where there is none, (M,).
        count: As many clusters.
        seed: Seed of the resamples and of the starts.

    Returns:
        By kmeans and mixture the adjusted Rand index (`kmeans_ari`) and the normalised mutual information
        (`kmeans_nmi`), of each space and codes_minus_pca.

    Reference:
        Hubert and Arabie (1985) for the index; as scikit-learn has both.

    Example:
        >>> x = np.repeat([[0.0, 0], [9, 9]], 50, axis=0) + np.random.default_rng(0).normal(size=(100, 2))
        >>> space = Representation(x, x)
        >>> found = agreement({"codes": space, "pca": space}, np.repeat([1, 0], 50), 2)
        >>> found["kmeans_ari"]["codes"]["mean"], found["mixture_nmi"]["pca"]["mean"]
        (1.0, 1.0)
    """
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    is_wanted = classes >= 0
    truth = classes[is_wanted]
    found = {}
    for method, clusters_of in (("kmeans", _kmeans), ("mixture", _mixture)):
        clusters = {}
        for name, space in spaces.items():
            fits = _of_resamples(clusters_of, space, count, seed)
            if fits:
                clusters[name] = [fit[is_wanted] for fit in fits]

        def measured(rows: Array, fit: int, clusters=clusters, method=method) -> dict[str, float]:
            measures = {}
            for name, fits in clusters.items():
                both = truth[rows], fits[fit][rows]
                measures[f"{method}_ari {name}"] = adjusted_rand_score(*both)
                measures[f"{method}_nmi {name}"] = normalized_mutual_info_score(*both)
            return measures

        if {"codes", "pca"} <= clusters.keys():
            found |= _compared(measured, len(truth), _FITS)
    return found


def separation(spaces: Spaces, count: int | None = None, *, seed: int = 0) -> dict[str, Any]:
    r"""How far clusters of rows by k-means are apart, by the silhouette $\tfrac1N \sum_n (b_n - a_n) / \max(a_n, b_n)$.

    $a_n$ is the mean distance of a row from the others of its cluster, $b_n$ that from those of the nearest other
    cluster: 1 is far apart, 0 not at all. It has the unit of no space, but falls with dimensions: spaces of different
    numbers of dimensions are not to be compared by it.

    Args:
        spaces: What `representations.represented` gives.
        count: As many clusters; by default, in each space, the number from 2 to 10 whose silhouette is the largest on
            training rows.
        seed: Seed of the resamples and of the starts.

    Returns:
        count, the number of clusters in each space, and silhouette, of each and codes_minus_pca; of at most 1,000 rows.

    Reference:
        Rousseeuw (1987), equation 3; as `sklearn.metrics.silhouette_score`.

    Example:
        >>> x = np.repeat([[0.0, 0], [9, 9], [0, 9]], 50, axis=0) + np.random.default_rng(0).normal(size=(150, 2))
        >>> space = Representation(x, x)
        >>> found = separation({"codes": space, "pca": space})
        >>> found["count"], found["silhouette"]["codes"]["mean"] > 0.7
        ({'codes': 3, 'pca': 3}, True)
    """
    from scipy.spatial.distance import cdist
    from sklearn.metrics import silhouette_score

    counts = {name: count or _best_count(space, seed) for name, space in spaces.items()}
    rows = exploration.spread(_MOST_ROWS, len(spaces["codes"].judged)).numpy()
    distances, clusters = {}, {}
    for name, space in spaces.items():
        fits = _of_resamples(_kmeans, space, counts[name], seed)
        clusters[name] = [fit[rows] for fit in fits]
        distances[name] = cdist(space.judged[rows], space.judged[rows])

    def measured(kept: Array, fit: int) -> dict[str, float]:
        among = np.ix_(kept, kept)
        measures = {}
        for name, fits in clusters.items():
            own = fits[fit][kept]
            is_split = 1 < len(np.unique(own)) < len(own)
            measures[f"silhouette {name}"] = (
                float(silhouette_score(distances[name][among], own, metric="precomputed"))
                if is_split
                else 0.0
            )
        return measures

    return {"count": counts, **_compared(measured, len(rows), _FITS)}


def _compared(
    measure: Callable[[Array, int], dict[str, float]], rows: int, fits: int = 1
) -> dict[str, Any]:
    """Measures by their names and spaces, `measure space`, with the difference of the codes from PCA.

    They are means over the fits. The variance over rows is that of the first one, to which comes that of the mean over
    fits.
    """

    def with_difference(kept: Array, fit: int = 0) -> dict[str, float]:
        values = measure(kept, fit)
        names = {key.split()[0] for key in values}
        differences = {
            f"{name} codes_minus_pca": values[f"{name} codes"] - values[f"{name} pca"]
            for name in names
        }
        return values | differences

    every = np.arange(rows)
    by_fit = [with_difference(every, fit) for fit in range(fits)]
    found: dict[str, Any] = {}
    for key, estimate in jackknifed(with_difference, rows).items():
        name, space = key.split()
        values = np.array([each[key] for each in by_fit])
        of_fits = values.var(ddof=1) / fits if fits > 1 else 0.0
        error = math.sqrt(estimate.se**2 + of_fits)
        found.setdefault(name, {})[space] = Estimate(float(values.mean()), error, rows).to_dict()
    return found


def _best_count(space: Representation, seed: int) -> int:
    """How many clusters of training rows have the largest silhouette."""
    from sklearn.metrics import silhouette_score

    x = _some(space.fitted, _MOST_ROWS)
    best, most = 2, -1.0
    for count in range(2, min(_MOST_CLUSTERS, len(x) - 1) + 1):
        clusters = _kmeans(x, x, count, seed)
        if not 1 < len(np.unique(clusters)) < len(x):
            continue
        silhouette = float(silhouette_score(x, clusters))
        if silhouette > most:
            best, most = count, silhouette
    return best


def _some(x: Array, most: int) -> Array:
    """At most so many rows, evenly."""
    return x[exploration.spread(most, len(x)).numpy()]


def _of_resamples(
    clusters_of: Callable[[Array, Array, int, int], Array | None],
    space: Representation,
    count: int,
    seed: int,
) -> list[Array]:
    """The clusters of the rows that are judged, once for each resample of training rows; none where there are none."""
    total = len(space.fitted)
    found = []
    for fit in range(_FITS):
        drawn = np.random.default_rng([seed, fit]).integers(0, total, min(total, _MOST_FITTED))
        clusters = clusters_of(space.fitted[drawn], space.judged, count, fit)
        if clusters is not None:
            found.append(clusters)
    return found


def _kmeans(x: Array, other: Array, count: int, seed: int) -> Array:
    """The nearest clusters of other rows."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    model = KMeans(min(count, len(x)), n_init=_STARTS, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of fewer distinct rows than clusters
        return model.fit(x).predict(other)


def _mixture(x: Array, other: Array, count: int, seed: int) -> Array | None:
    """The likeliest Gaussians of other rows; None where there are dimensions many, or rows few."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    rows, dimensions = x.shape
    if dimensions > _MOST_OF_MIXTURE or rows < 2 * count * (dimensions + 1):
        return None
    least = _LEAST_VARIANCE * x.var(0).mean()
    model = GaussianMixture(count, reg_covar=max(least, 1e-12), random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(x).predict(other)
