"""How good are the samples? Nearest neighbours among real and generated rows; no pretrained network is asked."""

import torch
from torch import Tensor

from variform.evaluation.density import Estimate

_GROUPS = 20


def compare_samples(generated: Tensor, real: Tensor, *, neighbours: int = 5) -> dict[str, Estimate]:
    r"""Precision, recall, density, coverage, and the accuracy with which a classifier tells generated from real rows.

    With $B(x_i)$ the ball around a row that reaches to its k-th neighbour of the same set, x real and y generated:

    - precision: the share of y in some $B(x_i)$; recall: the share of x in some $B(y_j)$;
    - density: the mean over y of the number of $B(x_i)$ that it is in, over k; 1 is perfect, and more is possible;
    - coverage: the share of $B(x_i)$ that hold some y; of perfect samples see `perfect_coverage`;
    - c2st: the accuracy of the nearest neighbour among all other rows as a classifier. 1/2 is perfect; 1 means that
      every row tells where it comes from, and less than 1/2 that generated rows are copies of real ones.

    Standard errors are those of a jackknife that leaves out a twentieth of the rows of both sets at a time: rows share
    their neighbours, and the error of a mean over rows would be half of the true one. Near 1 they err on the safe side.

    Args:
        generated: (N, D), or (N, ...), which is flattened.
        real: Rows that the model was not trained on, of the same shape.
        neighbours: k.

    Raises:
        ValueError: when the numbers of rows differ or are below k + 2.

    Reference:
        Kynkäänniemi et al. (2019) for precision and recall; Naeem et al. (2020), section 3, for density and coverage;
        Lopez-Paz and Oquab (2017), section 3, for the classifier.

    Example:
        >>> x = torch.randn(100, 2, generator=torch.Generator().manual_seed(0))
        >>> compare_samples(x + 9, x)["c2st"].mean
        1.0
    """
    if len(generated) != len(real) or len(real) < neighbours + 2:
        raise ValueError(
            f"generated and real rows must be equally many, and at least {neighbours + 2}; got {len(generated)} and "
            f"{len(real)}. Generate as many as there are real rows."
        )
    y, x = (rows.double().flatten(1) for rows in (generated, real))
    # Distances by matrix products would cancel where rows lie close together.
    exact = {"compute_mode": "donot_use_mm_for_euclid_dist"}
    x_x, y_y, x_y = torch.cdist(x, x, **exact), torch.cdist(y, y, **exact), torch.cdist(x, y, **exact)
    for distances in (x_x, y_y):
        distances.fill_diagonal_(torch.inf)  # no row is its own neighbour
    found = _measures(x_x, y_y, x_y, neighbours)
    group = torch.arange(len(x)) % min(_GROUPS, len(x))
    parts = []
    for left_out in range(int(group.max()) + 1):
        rows = (group != left_out).nonzero()
        parts.append(_measures(x_x[rows, rows.mT], y_y[rows, rows.mT], x_y[rows, rows.mT], neighbours))
    errors = {name: torch.stack([part[name] for part in parts]).std(correction=0) for name in found}
    factor = (len(parts) - 1) ** 0.5
    return {name: Estimate(value.item(), factor * errors[name].item(), len(x)) for name, value in found.items()}


def _measures(x_x: Tensor, y_y: Tensor, x_y: Tensor, neighbours: int) -> dict[str, Tensor]:
    """The five numbers from the distances within the real, within the generated, and from real to generated rows."""
    in_x = x_y <= x_x.kthvalue(neighbours, 1).values[:, None]
    in_y = x_y <= y_y.kthvalue(neighbours, 1).values
    told = torch.cat([_told(x_x.amin(1), x_y.amin(1)), _told(y_y.amin(1), x_y.amin(0))])
    return {
        "precision": in_x.any(0).double().mean(),  # eq: sample-precision
        "recall": in_y.any(1).double().mean(),  # eq: sample-recall
        "density": in_x.sum(0).double().mean() / neighbours,  # eq: sample-density
        "coverage": in_x.any(1).double().mean(),  # eq: sample-coverage
        "c2st": told.mean(),  # eq: c2st
    }


def _told(own: Tensor, other: Tensor) -> Tensor:
    """By row: 1 where the nearest other is of the own set, 0 where of the other, 1/2 where both are as near."""
    return (1 + (other - own).sign()) / 2


def perfect_coverage(rows: int, neighbours: int = 5) -> float:
    r"""The coverage to expect of samples from the law of the data, $1 - \prod_{j=1}^k \frac{N-j}{2N-j}$.

    Of the k nearest among the other N - 1 real and N generated rows, all being exchangeable, one must be generated.

    Args:
        rows: N, real rows and as many generated ones.
        neighbours: k.

    Reference:
        Naeem et al. (2020), section 3.

    Example:
        >>> perfect_coverage(2, 1), round(perfect_coverage(10_000), 4)
        (0.6666666666666667, 0.9688)
    """
    missed = 1.0
    for nearer in range(1, neighbours + 1):
        missed *= (rows - nearer) / (2 * rows - nearer)
    return 1 - missed  # eq: perfect-coverage
