"""What draws of a law say of the value that came: where it lies among them, and how far they are from it."""

import torch
from torch import Tensor

_TIES = 1e-6  # numbers so close are one: rounding moves an exact value, and no density cares


def pit(truth: Tensor, drawn: Tensor, share: Tensor, *, ties: Tensor | float = _TIES) -> Tensor:
    r"""The probability integral transform of values among draws, randomised where values repeat.

    $u = \frac{\#\{y_k < y\} + v\,(\#\{y_k = y\} + 1)}{K + 1}$ with v uniform. Where the value and the K draws are of
    one law, u is uniform on [0, 1] for every K, exactly, of densities, counts and categories alike: y is then as likely
    to have any of the K + 1 places.

    Args:
        truth: Values, (...); NaN where there is none.
        drawn: K draws of each, (K, ...); NaN is no draw.
        share: v, as `truth`.
        ties: How close numbers are the same.

    Returns:
        u, (...), NaN where there is no value.

    Reference:
        Czado, Gneiting and Held (2009), section 2, for counts.

    Example:
        >>> half = torch.tensor(0.5)
        >>> pit(torch.tensor(2.5), torch.tensor([1.0, 2.0, 3.0]), half).item()
        0.625
        >>> pit(torch.tensor(2.0), torch.tensor([1.0, 2.0, 3.0]), half).item()
        0.5
    """
    below, equal, count = _places(truth, drawn, ties)
    place = below + share * (equal + 1)
    return torch.where(truth.isnan(), torch.nan, place / (count + 1))  # eq: pit


def covered(truth: Tensor, drawn: Tensor, level: float, *, ties: Tensor | float = _TIES) -> Tensor:
    r"""Whether the central interval of draws holds each value, (...) bool.

    The interval is $[y_{(r)}, y_{(K + 1 - r)}]$ of the sorted draws, $r = \lfloor (1 - \alpha)(K + 1) / 2 \rfloor$,
    with its ends. Of a density it holds another draw of the same law with the probability $1 - 2r / (K + 1)$, which is
    the level $\alpha$ where r is whole, and of a law with atoms with at least that.

    Args:
        truth: As of `pit`.
        drawn: As of `pit`.
        level: The level, above 0 and below 1.
        ties: As of `pit`.

    Reference:
        Wilks (1941): tolerance intervals of order statistics.

    Example:
        >>> draws = torch.arange(1.0, 20.0)
        >>> covered(torch.tensor([0.5, 1.0, 10.0]), draws[:, None].expand(19, 3), 0.9).tolist()
        [False, True, True]
    """
    below, equal, count = _places(truth, drawn, ties)
    least = ((1 - level) / 2 * (count + 1) + 1e-9).floor()
    return (below + equal >= least) & (count - below >= least)  # eq: interval-coverage


def crps(truth: Tensor, drawn: Tensor) -> Tensor:
    r"""The continuous ranked probability score from draws, without bias in their number; less is better.

    $\mathrm{CRPS} = E|Y - y| - \tfrac12 E|Y - Y'| \approx \frac1K \sum_k |y_k - y|
    - \frac{1}{K (K - 1)} \sum_i (2 i - K - 1)\, y_{(i)}$ with the draws sorted. It is in the units of the values, is
    least in expectation for the true law, and of one point it is the absolute error.

    Args:
        truth: As of `pit`.
        drawn: As of `pit`; fewer than two give NaN.

    Returns:
        (...), NaN where there is no value.

    Reference:
        Gneiting and Raftery (2007), equation 21; Ferro (2014), for the version without bias.

    Example:
        >>> crps(torch.tensor(1.0), torch.tensor([0.0, 4.0])).item()
        0.0
    """
    ordered = drawn.sort(0).values  # NaN comes last
    count = (~drawn.isnan()).sum(0)
    place = torch.arange(1, len(drawn) + 1).to(drawn).reshape(-1, *[1] * (drawn.ndim - 1))
    distance = (drawn - truth).abs().nan_to_num(0).sum(0) / count
    spread = ((2 * place - count - 1) * ordered.nan_to_num(0)).sum(0) / (count * (count - 1))
    return torch.where(truth.isnan() | (count < 2), torch.nan, distance - spread)  # eq: crps


def brier(truth: Tensor, drawn: Tensor) -> Tensor:
    r"""The same for categories, any two of which are 1 apart: $P(Y \ne y) - \tfrac12 P(Y \ne Y')$, without bias.

    It is half the Brier score of all categories, and of a value that is 0 or 1 the CRPS.

    Args:
        truth: Numbers of categories, as of `pit`.
        drawn: As of `pit`; fewer than two give NaN.

    Reference:
        Brier (1950); Gneiting and Raftery (2007), section 5.1: kernel scores.

    Example:
        >>> brier(torch.tensor(1.0), torch.tensor([1.0, 1.0, 0.0])).item() == crps(
        ...     torch.tensor(1.0), torch.tensor([1.0, 1.0, 0.0])
        ... ).item()
        True
    """
    count = (~drawn.isnan()).sum(0)
    codes = torch.arange(int(drawn.nan_to_num(0).max()) + 1).to(drawn)
    often = torch.stack([(drawn == code).sum(0) for code in codes])
    differ = 1 - (drawn == truth).sum(0) / count
    pairs = 1 - (often * (often - 1)).sum(0) / (count * (count - 1))
    return torch.where(truth.isnan() | (count < 2), torch.nan, differ - pairs / 2)


def _places(truth: Tensor, drawn: Tensor, ties: Tensor | float) -> tuple[Tensor, Tensor, Tensor]:
    """How many draws are below each value, how many are equal to it, and how many there are."""
    difference = drawn - truth
    below = (difference < -ties).sum(0)
    equal = (difference.abs() <= ties).sum(0)
    return below, equal, (~drawn.isnan()).sum(0)
