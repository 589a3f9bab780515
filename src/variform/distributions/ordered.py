"""The law of ordered levels."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from variform.distributions.law import Law, Shape
from variform.system import draws


class Ordinal(Law):
    r"""Independent levels 0, 1, ..., K - 1 in an order: the interval of a line in which a logistic variable lies.

    $P(x_d = k) = \sigma(c_{d,k+1} - \eta_d) - \sigma(c_{d,k} - \eta_d)$ with thresholds
    $-\infty = c_0 < c_1 < \ldots < c_K = \infty$: a larger $\eta$ makes all higher levels likelier.

    $\sigma(b) - \sigma(a) = \sigma(b)\,\sigma(-a)\,(1 - e^{a - b})$ keeps its logarithm finite.

    Args:
        location: $\eta$, (*batch, D).
        thresholds: $c_1, \ldots, c_{K-1}$ of every column in ascending order, (K - 1, D).

    Reference:
        McCullagh (1980), section 2.3.

    Example:
        >>> law = Ordinal(torch.zeros(1), torch.tensor([[-1.0], [1.0]]))
        >>> law.log_prob(torch.tensor([[0.0], [1.0], [2.0]])).exp().round(decimals=4), law.mean
        (tensor([0.2689, 0.4621, 0.2689]), tensor([1.]))
    """

    def __init__(self, location: Tensor, thresholds: Tensor) -> None:
        super().__init__(location.shape, 1)
        self.location, self.thresholds = location, thresholds

    @property
    def mean(self) -> Tensor:
        r"""The mean level, $\sum_k P(x \ge k)$."""
        return self._above.sum(-2)

    @property
    def variance(self) -> Tensor:
        r"""$\sum_k P(x \ge k) \left[P(x < k) + 2 \sum_{j < k} P(x < j)\right]$, in which nothing cancels."""
        below = torch.sigmoid(self.thresholds - self.location.unsqueeze(-2))
        passed = below.cumsum(-2) - below
        return (self._above * (below + 2 * passed)).sum(-2)

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        """Levels, in the dtype of the location; not differentiable."""
        with torch.no_grad():
            shape = self._extended_shape(torch.Size(sample_shape))
            share = draws.uniform(shape, axis=len(sample_shape), like=self.location)
            value = self.location + torch.logit(share)
            return (value.unsqueeze(-2) > self.thresholds).sum(-2).to(self.location.dtype)

    def log_prob_per_entry(self, value: Tensor) -> Tensor:
        """Log-probability of every entry, in nats."""
        ends = functional.pad(self.thresholds, (0, 0, 1, 1), value=math.inf)
        level = value.round().long().clamp(0, len(self.thresholds))
        level = level.expand(torch.broadcast_shapes(level.shape, self._extended_shape()))
        columns = torch.arange(level.shape[-1], device=level.device)
        is_first, is_last = level == 0, level == len(self.thresholds)
        # Each end sees a harmless value where there is none: its gradient there, times 0, would be NaN.
        start = torch.where(is_first, 0.0, ends[level, columns])
        end = torch.where(is_last, 1.0, ends[level + 1, columns])
        below_end = functional.logsigmoid(end - self.location).masked_fill(is_last, 0)
        above_start = functional.logsigmoid(self.location - start).masked_fill(is_first, 0)
        width = torch.where(is_first | is_last, 1.0, end - start)
        between = (-torch.expm1(-width)).log().masked_fill(is_first | is_last, 0)
        return below_end + above_start + between  # eq: ordinal

    def _log_within(self, low: Tensor, high: Tensor) -> Tensor:
        """The sum over the levels in the range."""
        return self._log_within_whole(low, high, len(self.thresholds))

    @property
    def _above(self) -> Tensor:
        """P(x >= k) for k from 1, (*batch, K - 1, D)."""
        return torch.sigmoid(self.location.unsqueeze(-2) - self.thresholds)
