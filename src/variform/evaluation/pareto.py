"""Whether an estimate from importance weights can be trusted: the shape k of the tail of the weights."""

import math

import torch
from torch import Tensor

FEWEST_SAMPLES = 25
"""Of fewer there are not five in the tail, and nothing can be fitted."""


def tail_length(samples: int) -> int:
    r"""How many of the largest weights the fit looks at: $M = \lfloor \min(S / 5, 3 \sqrt S) \rfloor$ of S.

    Example:
        >>> tail_length(100), tail_length(1000)
        (20, 94)
    """
    share = samples / 5 if samples <= 225 else 3 * math.sqrt(samples)
    return math.floor(share)


class Tail:
    """The largest log-weights of every row, gathered from chunks of samples in memory that does not grow with them.

    Args:
        samples: How many there will be in all.

    Example:
        >>> log_weight = torch.linspace(0, 5, 200, dtype=torch.float64)[:, None]
        >>> tail = Tail(200)
        >>> for chunk in log_weight.split(64):
        ...     tail.add(chunk)
        >>> bool(tail.shape() == pareto_k(log_weight))
        True
    """

    def __init__(self, samples: int) -> None:
        self.length = tail_length(samples)
        self.is_enough = samples >= FEWEST_SAMPLES
        self._largest: Tensor | None = None

    def add(self, log_weight: Tensor) -> None:
        """Take in a chunk, (some samples, B)."""
        if not self.is_enough:
            self._largest = log_weight[:0].T
            return
        candidates = log_weight.T
        if self._largest is not None:
            candidates = torch.cat([self._largest, candidates], dim=1)
        count = min(self.length + 1, candidates.shape[1])  # and one more, where the tail begins
        self._largest = candidates.topk(count, 1, sorted=False).values

    def shape(self) -> Tensor:
        """k of every row, (B,) float64, as `pareto_k`."""
        assert self._largest is not None
        largest = self._largest
        if not self.is_enough:
            return largest.new_full((len(largest),), math.nan, dtype=torch.float64)
        ordered = largest.double().sort(1).values
        cutoff = ordered[:, :1]
        tail = ordered[:, 1:]
        top = tail[:, -1:]
        # exp(tail) - exp(cutoff) in units of the largest weight
        excess = (tail - top).exp() * -torch.expm1(cutoff - tail)
        k = _generalised_pareto_shape(excess)
        # Weights that equal the least of them are no part of the tail, nor are those that are 0 beside the largest.
        has_ties = excess[:, _quartile(self.length)] == 0
        for row in has_ties.nonzero().flatten().tolist():
            k[row] = _shape_of_positive(excess[row])
        rounding = 16 * torch.finfo(largest.dtype).eps * top.abs().clamp_min(1)
        is_flat = top - cutoff <= rounding
        k = k.masked_fill(is_flat.flatten(), math.nan)
        return k.masked_fill(~top.isfinite().flatten(), math.inf)


def pareto_k(log_weight: Tensor) -> Tensor:
    r"""The shape k of a generalised Pareto law fitted to the largest importance weights of every row.

    About 1/k moments of the weights are finite. Up to 0.7 their mean, and with it log p(x), is an estimate whose error
    falls as samples are added; above, single weights that were not drawn decide it. It is the same for weights up to a
    factor, and says nothing where q has no mass at all near a part of the posterior.

    Args:
        log_weight: (S, B), in nats.

    Shape:
        (S, B) to (B,) float64. NaN where there is nothing to fit: of fewer than 25 samples, and where the largest
        weights are equal up to rounding, as they are where q is the exact posterior. Infinity where fewer than five
        weights are all there is.

    Reference:
        Vehtari, Simpson, Gelman, Yao and Gabry (2024); the fit: Zhang and Stephens (2009). The length of the tail and
        the prior that draws k towards 0.5 are those of ArviZ.

    Example:
        >>> heavy = -0.9 * torch.linspace(0.0005, 0.9995, 1000, dtype=torch.float64).log()[:, None]
        >>> round(pareto_k(heavy).item(), 2)
        0.84
    """
    tail = Tail(len(log_weight))
    tail.add(log_weight)
    return tail.shape()


def _quartile(length: int) -> int:
    """Which of `length` rising values is the first quartile."""
    return math.floor(length / 4 + 0.5) - 1


def _shape_of_positive(excess: Tensor) -> Tensor | float:
    """The shape k of one row's excesses, (M,), that are above 0; infinity where fewer than five are."""
    positive = excess[excess > 0]
    if len(positive) < 5:
        return math.inf
    return _generalised_pareto_shape(positive[None])[0]


def _generalised_pareto_shape(excess: Tensor) -> Tensor:
    """Rising excesses over the threshold, (B, M), to the shape k, (B,): the posterior mean over a grid of scales."""
    length = excess.shape[1]
    grid = 30 + math.isqrt(length)
    step = torch.arange(1, grid + 1, dtype=excess.dtype, device=excess.device)
    greatest = excess[:, -1:]
    quartile = excess[:, _quartile(length), None]
    scales = 1 / greatest + (1 - (grid / (step - 0.5)).sqrt()) / (3 * quartile)
    # One scale after the other: all at once would take the memory of all tails many times over.
    shapes = torch.stack([_shape(excess, scale) for scale in scales.unbind(1)], dim=1)
    log_likelihood = length * ((-scales / shapes).log() - shapes - 1)
    weight = log_likelihood.softmax(1)
    negligible = 10 * torch.finfo(weight.dtype).eps
    weight = torch.where(weight >= negligible, weight, 0.0)
    posterior_mean = (scales * weight).sum(1) / weight.sum(1)
    shape = _shape(excess, posterior_mean)
    return (length * shape + 10 * 0.5) / (length + 10)  # eq: pareto-k


def _shape(excess: Tensor, scale: Tensor) -> Tensor:
    r"""The likeliest shape of excesses y, (B, M), for a scale of each row, (B,): the mean of $\log(1 - \theta y)$."""
    return torch.log1p(-scale[:, None] * excess).mean(1)
