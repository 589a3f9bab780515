"""Laws of numbers that have ends: above 0, and between two bounds."""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from variform.distributions.gaussian import DiagonalGaussian
from variform.distributions.law import Law, Shape


class LogNormal(Law):
    r"""Independent numbers above 0 whose logarithms are Gaussian.

    $\log p(x) = \sum_d [\log N(\log x_d; \mu_d, \sigma_d^2) - \log x_d]$, and a density of 0 elsewhere.

    Args:
        loc: $\mu$, (*batch, *event).
        log_var: $\log \sigma^2$; broadcasts with `loc`.
        event_dims: How many trailing axes form the event.

    Reference:
        Johnson, Kotz and Balakrishnan (1994), chapter 14.

    Example:
        >>> law = LogNormal(torch.zeros(1), torch.zeros(1))
        >>> round(law.log_prob(torch.tensor([2.0])).exp().item(), 4), round(law.mean.item(), 4)
        (0.1569, 1.6487)
    """

    has_rsample = True

    def __init__(self, loc: Tensor, log_var: Tensor, event_dims: int = 1) -> None:
        self.normal = DiagonalGaussian(loc, log_var, event_dims)
        super().__init__(self.normal._extended_shape(), event_dims)

    @property
    def mean(self) -> Tensor:
        r"""$e^{\mu + \sigma^2 / 2}$."""
        return (self.normal.mean + self.normal.variance / 2).exp()

    @property
    def variance(self) -> Tensor:
        r"""$(e^{\sigma^2} - 1)\, e^{2 \mu + \sigma^2}$."""
        return torch.expm1(self.normal.variance) * self.mean.square()

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        """Differentiable draws, the exponentials of Gaussian ones."""
        return self.normal.rsample(sample_shape).exp()

    def log_prob_per_entry(self, value: Tensor) -> Tensor:
        """Log-density of every entry, in nats; -inf where it is not above 0."""
        # Where there is no logarithm a harmless one stands: its gradient, times 0, would be NaN.
        log_value = value.clamp_min(torch.finfo(value.dtype).tiny).log()
        entries = self.normal.log_prob_per_entry(log_value) - log_value  # eq: log-normal
        return torch.where(value > 0, entries, -math.inf)

    def _log_within(self, low: Tensor, high: Tensor) -> Tensor:
        """That of the logarithms."""
        tiny = torch.finfo(low.dtype).tiny
        ends = (low.clamp_min(tiny).log(), high.clamp_min(tiny).log())
        return self.normal._log_within(*ends)


NODES = 40
"""Of the Gauss-Hermite rule by which a logit-normal law has its mean."""


def gauss_hermite() -> tuple[Tensor, Tensor]:
    r"""Nodes t and weights w, float64, with $E[f(t)] \approx \sum_i w_i f(t_i)$ under N(0, 1).

    Reference:
        Abramowitz and Stegun (1964), 25.4.46.

    Example:
        >>> nodes, weights = gauss_hermite()
        >>> round(weights.sum().item(), 6), round((weights * nodes**2).sum().item(), 6)
        (1.0, 1.0)
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    return torch.from_numpy(nodes), torch.from_numpy(weights / math.sqrt(2 * math.pi))


class LogitNormal(Law):
    r"""Independent numbers between bounds a and b, whose logits $\log\frac{x - a}{b - x}$ are Gaussian.

    $\log p(x) = \sum_d \left[\log N\left(\log\frac{x_d - a_d}{b_d - x_d}; \mu_d, \sigma_d^2\right)
    + \log\frac{b_d - a_d}{(x_d - a_d)(b_d - x_d)}\right]$, and a density of 0 at the bounds and outside.

    Mean and variance have no closed form: they are those of a Gauss-Hermite rule of 40 nodes, to six digits up to
    $\sigma = 3$.

    Args:
        loc: $\mu$, (*batch, *event).
        log_var: $\log \sigma^2$; broadcasts with `loc`.
        low: a; broadcasts with `loc`.
        high: b, likewise.
        event_dims: How many trailing axes form the event.

    Reference:
        Atchison and Shen (1980), section 1.

    Example:
        >>> law = LogitNormal(torch.zeros(1), torch.zeros(1), torch.zeros(1), torch.full((1,), 10.0))
        >>> round(law.mean.item(), 4), round(law.log_prob(torch.tensor([5.0])).exp().item(), 4)
        (5.0, 0.1596)
    """

    has_rsample = True

    def __init__(
        self, loc: Tensor, log_var: Tensor, low: Tensor, high: Tensor, event_dims: int = 1
    ) -> None:
        self.normal = DiagonalGaussian(loc, log_var, event_dims)
        super().__init__(self.normal._extended_shape(), event_dims)
        self.low, self.high = low, high

    @property
    def mean(self) -> Tensor:
        """The mean, (*batch, *event)."""
        return self.low + (self.high - self.low) * self._expected(lambda share: share)

    @property
    def variance(self) -> Tensor:
        """The variance, likewise."""
        mean = self._expected(lambda share: share)
        spread = self._expected(lambda share: (share - mean).square())
        return (self.high - self.low).square() * spread

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        """Differentiable draws, which lie between the bounds."""
        share = torch.sigmoid(self.normal.rsample(sample_shape))
        eps = torch.finfo(share.dtype).eps  # rounded, a share may be 1
        return self.low + (self.high - self.low) * share.clamp(eps, 1 - eps)

    def log_prob_per_entry(self, value: Tensor) -> Tensor:
        """Log-density of every entry, in nats; -inf where it is not between the bounds."""
        tiny = torch.finfo(value.dtype).tiny
        above = (value - self.low).clamp_min(tiny).log()
        below = (self.high - value).clamp_min(tiny).log()
        of_logit = self.normal.log_prob_per_entry(above - below)
        entries = of_logit + (self.high - self.low).log() - above - below  # eq: logit-normal
        is_inside = (value > self.low) & (value < self.high)
        return torch.where(is_inside, entries, -math.inf)

    def _log_within(self, low: Tensor, high: Tensor) -> Tensor:
        """That of the logits."""
        tiny = torch.finfo(low.dtype).tiny
        logits = []
        for end in (low, high):
            above, below = (end - self.low).clamp_min(tiny), (self.high - end).clamp_min(tiny)
            logits.append(above.log() - below.log())
        return self.normal._log_within(*logits)

    def _expected(self, function: Callable[[Tensor], Tensor]) -> Tensor:
        """E of a function of the share, one node at a time: all at once would take too much memory."""
        expected = torch.zeros_like(self.normal.mean)
        for node, weight in zip(*(part.tolist() for part in gauss_hermite()), strict=True):
            share = torch.sigmoid(self.normal.mean + self.normal.stddev * node)
            expected = expected + weight * function(share)
        return expected
