"""Laws of values in [0, 1] and of levels, such as pixels and categories."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from variform.distributions.law import Law, Shape, joint
from variform.system import draws


class Bernoulli(Law):
    r"""Independent Bernoulli variables given by their logits a.

    $\log p(x) = \sum_d [x_d a_d - \log(1 + e^{a_d})]$, the negative cross-entropy, finite for every finite logit.

    A value strictly between 0 and 1 is accepted: then this is the cross-entropy, not the logarithm of a probability.

    Args:
        logits: (*batch, *event).
        event_dims: How many trailing axes form the event.

    Reference:
        Kingma and Welling (2014), appendix C.1, equation 11.

    Example:
        >>> round(Bernoulli(torch.tensor([0.0, 100.0])).log_prob(torch.tensor([1.0, 1.0])).item(), 4)
        -0.6931
    """

    def __init__(self, logits: Tensor, event_dims: int = 1) -> None:
        super().__init__(logits.shape, event_dims)
        self.logits = logits

    @property
    def mean(self) -> Tensor:
        """The probability of a one."""
        return torch.sigmoid(self.logits)

    @property
    def variance(self) -> Tensor:
        """p (1 - p)."""
        return self.mean * torch.sigmoid(-self.logits)

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        """Zeros and ones, in the dtype of the logits; not differentiable."""
        shape = self._extended_shape(torch.Size(sample_shape))
        with torch.no_grad():
            return torch.bernoulli(self.mean.expand(shape))

    def log_prob_per_entry(self, value: Tensor) -> Tensor:
        """Log-probability of every entry, in nats."""
        return value * self.logits - functional.softplus(self.logits)  # eq: bernoulli

    def _log_within(self, low: Tensor, high: Tensor) -> Tensor:
        """The sum over those of 0 and 1 that are in the range."""
        return self._log_within_whole(low, high, 1)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-probability of `value`, event summed, in nats; in one pass, faster than the sum of its entries."""
        event_dims = len(self.event_shape)
        are_rows = value.ndim == event_dims + 1 and len(value) > 1
        if are_rows and self.logits.ndim == event_dims + 2 and self.logits.shape[1] == 1:
            return self._of_pairs(value)
        return _BernoulliLogProb.apply(value, self.logits, len(self.event_shape))

    def _of_pairs(self, value: Tensor) -> Tensor:
        """The same of every law (K, 1) at every value (B,), (K, B), by one matrix product."""
        logits, x = self.logits.flatten(1), value.flatten(1)
        return logits @ x.to(logits).T - functional.softplus(logits).sum(1, keepdim=True)


class _BernoulliLogProb(torch.autograd.Function):
    r"""The sum of `Bernoulli.log_prob_per_entry` over the event, and its gradient x - p found in the same pass.

    With the probability $p = 1 / (1 + e^{-a})$: $\log(1 + e^a) = \max(a, 0) - \log\max(p, 1 - p)$, where the second
    logarithm is of a number in [1/2, 1], so that nothing overflows; its sum is the logarithm of products of up to 16.

    Left to differentiate the formula of `Bernoulli`, autograd takes the exponential twice and a logarithm for every
    variable: a step takes 8 % longer.
    """

    @staticmethod
    def forward(ctx: Any, value: Tensor, logits: Tensor, event_dims: int) -> Tensor:
        probability = torch.sigmoid(logits)
        ctx.event_dims = event_dims
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(value, logits, value - probability)
        linear = torch.addcmul(torch.relu(logits), value, logits, value=-1)  # max(a, 0) - x a
        linear = linear.flatten(-event_dims).sum(-1)
        likelier = (probability - 0.5).abs_().add_(0.5)  # max(p, 1 - p) in few passes
        likelier = likelier.flatten(-event_dims)
        entries = likelier.shape[-1]
        length = max(length for length in range(1, 17) if entries % length == 0)
        products = likelier.unflatten(-1, (-1, length)).prod(-1)
        return products.log().sum(-1) - linear

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        value, logits, gradient = ctx.saved_tensors
        if torch.is_grad_enabled():  # it will be differentiated in its turn
            gradient = value - torch.sigmoid(logits)
        scale = grad_outputs[0][(..., *[None] * ctx.event_dims)]
        for_value, for_logits = None, None
        if ctx.needs_input_grad[0]:
            for_value = (scale * logits).sum_to_size(value.shape)
        if ctx.needs_input_grad[1]:
            for_logits = (scale * gradient).sum_to_size(logits.shape)
        return for_value, for_logits, None


class ContinuousBernoulli(Law):
    r"""Independent values in [0, 1] with a density proportional to $e^{a_d x_d}$, given by their logits a.

    $\log p(x) = \sum_d [a_d x_d - A(a_d)]$ with $A(a) = \log \int_0^1 e^{ax} dx = \log\frac{e^a - 1}{a}$

    With $\lambda = 1 / (1 + e^{-a})$ the density is $C(\lambda) \lambda^x (1 - \lambda)^{1 - x}$: the cross-entropy of
    values between 0 and 1, and the normaliser that it lacks. Near $a = 0$, where the formulas are 0/0, their series is
    used.

    Args:
        logits: (*batch, *event).
        event_dims: How many trailing axes form the event.

    Reference:
        Loaiza-Ganem and Cunningham (2019).

    Example:
        >>> ContinuousBernoulli(torch.zeros(2)).log_prob(torch.tensor([0.3, 0.9])).item()
        0.0
    """

    NEAR = 0.5
    """The size of a logit below which the series are used."""
    has_rsample = True

    def __init__(self, logits: Tensor, event_dims: int = 1) -> None:
        super().__init__(logits.shape, event_dims)
        self.logits = logits
        # Each branch sees harmless values where the other is taken: its gradient there, times 0, would be NaN.
        self._is_near = logits.abs() < self.NEAR
        self._near = torch.where(self._is_near, logits, 0.0)
        self._size = torch.where(self._is_near, 1.0, logits.abs())

    @staticmethod
    def series_of_mean() -> list[float]:
        r"""The mean near $a = 0$ for programs without torch: coefficients of a polynomial in a, the constant first.

        Example:
            >>> [round(coefficient, 6) for coefficient in ContinuousBernoulli.series_of_mean()[:4]]
            [0.5, 0.083333, 0.0, -0.001389]
        """
        coefficients = [0.5]
        for n, c in enumerate(_SERIES, 1):
            coefficients += [2 * n * c, 0.0]
        return coefficients[:-1]

    @staticmethod
    def series_of_variance() -> list[float]:
        """Likewise of the variance.

        Example:
            >>> [round(coefficient, 6) for coefficient in ContinuousBernoulli.series_of_variance()[:3]]
            [0.083333, 0.0, -0.004167]
        """
        of_mean = ContinuousBernoulli.series_of_mean()
        return [power * coefficient for power, coefficient in enumerate(of_mean)][1:]

    @staticmethod
    def series_of_normaliser() -> list[float]:
        """Likewise of $A(a) - a / 2$.

        Example:
            >>> [round(coefficient, 6) for coefficient in ContinuousBernoulli.series_of_normaliser()[:3]]
            [0.0, 0.0, 0.041667]
        """
        coefficients = [0.0]
        for c in _SERIES:
            coefficients += [0.0, c]
        return coefficients

    @property
    def mean(self) -> Tensor:
        r"""$A'(a) = 1 / (1 - e^{-a}) - 1 / a$."""
        size = self._size
        mirrored = 1 / size + (-size).exp() / torch.expm1(-size)  # the mean at logits -|a|
        far = torch.where(self.logits > 0, 1 - mirrored, mirrored)
        series = 0.5 + sum(2 * n * c * self._near ** (2 * n - 1) for n, c in enumerate(_SERIES, 1))
        return torch.where(self._is_near, series, far)

    @property
    def variance(self) -> Tensor:
        r"""$A''(a) = 1 / a^2 - 1 / (4 \sinh^2(a / 2))$."""
        size = self._size
        far = size**-2 - (-size).exp() / torch.expm1(-size).square()
        series = [
            2 * n * (2 * n - 1) * c * self._near ** (2 * n - 2) for n, c in enumerate(_SERIES, 1)
        ]
        return torch.where(self._is_near, torch.stack(series).sum(0), far)

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        r"""Differentiable draws by the inverse of the distribution function, $x = \log(1 + u (e^a - 1)) / a$."""
        shape = self._extended_shape(torch.Size(sample_shape))
        share = draws.uniform(shape, axis=len(sample_shape), like=self.logits)
        is_near = self.logits.abs() < 1e-2
        near = torch.where(is_near, self.logits, 0.0) * (1 - share)
        series = share * (1 + near / 2 + near * self.logits * (1 - 2 * share) / 6)
        size = torch.where(is_near, 1.0, self.logits.abs())
        mirrored_share = torch.where(self.logits > 0, 1 - share, share)
        mirrored_share = mirrored_share.clamp_max(1 - torch.finfo(share.dtype).eps)
        mirrored = -torch.log1p(mirrored_share * torch.expm1(-size)) / size  # at logits -|a|
        far = torch.where(self.logits > 0, 1 - mirrored, mirrored)
        return torch.where(is_near, series, far)

    def log_prob_per_entry(self, value: Tensor) -> Tensor:
        """Log-density of every entry, in nats."""
        # What is linear in a is a single product: of two that large there would be nothing left of their difference.
        end = torch.where(self._is_near, 0.5, (self.logits > 0).to(self.logits.dtype))
        series = sum(c * self._near ** (2 * n) for n, c in enumerate(_SERIES, 1))
        far = (-torch.expm1(-self._size)).log() - self._size.log()
        log_normaliser = torch.where(self._is_near, series, far)  # A(a) but for what is linear
        return (value - end) * self.logits - log_normaliser  # eq: continuous-bernoulli


# log((e^a - 1) / a) = a / 2 + sum of _SERIES[n - 1] a^(2 n): Bernoulli numbers over 2 n (2 n)!
_SERIES = (1 / 24, -1 / 2880, 1 / 181440, -1 / 9676800, 1 / 479001600)


class DiscretisedLogistic(Law):
    r"""Independent levels k / (L - 1), each with the logistic probability of its bin, [k/L, (k+1)/L].

    $P(k) = \sigma\left(\frac{(k + 1)/L - m}{s}\right) - \sigma\left(\frac{k/L - m}{s}\right)$, where the first bin
    begins at $-\infty$ and the last ends at $\infty$: the probabilities of the levels sum to 1.

    $\sigma(b) - \sigma(a) = \sigma(b)\,\sigma(-a)\,(1 - e^{a - b})$ keeps its logarithm finite.

    Args:
        location: m, (*batch, *event), in units of the unit interval that the bins divide.
        log_scale: log s, likewise.
        levels: L.
        event_dims: How many trailing axes form the event.

    Reference:
        Salimans, Karpathy, Chen and Kingma (2017), section 2.1.

    Example:
        >>> law = DiscretisedLogistic(torch.tensor([0.5]), torch.tensor([-1.0]), levels=5)
        >>> round(law.log_prob(torch.linspace(0, 1, 5)[:, None]).exp().sum().item(), 6)
        1.0
    """

    def __init__(
        self, location: Tensor, log_scale: Tensor, levels: int = 256, event_dims: int = 1
    ) -> None:
        super().__init__(joint(location.shape, log_scale.shape), event_dims)
        self.location, self.log_scale, self.levels = location, log_scale, levels

    @property
    def mean(self) -> Tensor:
        r"""$\sum_{k \ge 1} P(K \ge k) / (L - 1)$."""
        return self._levels_passed() / (self.levels - 1)

    @property
    def variance(self) -> Tensor:
        r"""$\sum_{k \ge 1} P(K \ge k) \left[P(K < k) + 2 \sum_{j < k} P(K < j)\right] / (L - 1)^2$: nothing cancels."""
        scale = self.log_scale.exp()
        total, passed = torch.zeros_like(self.location), torch.zeros_like(self.location)
        for level in range(1, self.levels):
            distance = (self.location - level / self.levels) / scale
            below = torch.sigmoid(-distance)
            total = total + torch.sigmoid(distance) * (below + 2 * passed)
            passed = passed + below
        return total / (self.levels - 1) ** 2

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        """Levels, in the dtype of the location: the bin of a logistic draw."""
        with torch.no_grad():
            shape = self._extended_shape(torch.Size(sample_shape))
            share = draws.uniform(shape, axis=len(sample_shape), like=self.location)
            value = self.location + self.log_scale.exp() * torch.logit(share)
            level = (value * self.levels).floor().clamp(0, self.levels - 1)
            return level / (self.levels - 1)

    def log_prob_per_entry(self, value: Tensor) -> Tensor:
        """Log-probability of every entry, in nats."""
        level = (value * (self.levels - 1)).round()
        log_per_unit = -self.log_scale
        # Beyond these a bin is so wide, or so narrow, that the formulas' limits are exact.
        bound = math.log(torch.finfo(log_per_unit.dtype).max) - 1
        per_unit = log_per_unit.clamp(-bound, bound).exp()
        is_first = level <= 0
        is_last = level >= self.levels - 1
        # a and b of the formula: where the bin starts and ends, from the location, in scales
        start = (level / self.levels - self.location) * per_unit
        end = ((level + 1) / self.levels - self.location) * per_unit
        log_below_end = functional.logsigmoid(end).masked_fill(is_last, 0)
        log_above_start = functional.logsigmoid(-start).masked_fill(is_first, 0)
        width = per_unit / self.levels  # end - start
        narrow = log_per_unit - math.log(self.levels) - width / 2
        log_rest = torch.where(width < 1e-3, narrow, (-torch.expm1(-width)).log())
        log_rest = torch.where(is_first | is_last, 0.0, log_rest)
        return log_below_end + log_above_start + log_rest  # eq: discretised-logistic

    def _levels_passed(self) -> Tensor:
        """Sum of P(K >= k) over the levels from 1, one at a time: all at once would take too much memory."""
        scale = self.log_scale.exp()
        expected = torch.zeros_like(self.location)
        for level in range(1, self.levels):
            tail = torch.sigmoid((self.location - level / self.levels) / scale)  # P(K >= level)
            expected = expected + tail
        return expected


class Categorical(Law):
    r"""Independent levels k / (L - 1), each with a probability of its own.

    $\log p(x) = \sum_d [a_{d,k_d} - \log \sum_j e^{a_{d,j}}]$ with $k_d = (L - 1) x_d$

    Args:
        logits: a, (*batch, L, *event).
        event_dims: How many trailing axes form the event.

    Reference:
        Bishop (2006), section 4.3.4: the softmax and its cross-entropy.

    Example:
        >>> law = Categorical(torch.tensor([0.2, 0.3, 0.5]).log()[:, None])
        >>> law.log_prob(torch.tensor([0.5])).exp(), law.mean
        (tensor(0.3000), tensor([0.6500]))
    """

    def __init__(self, logits: Tensor, event_dims: int = 1) -> None:
        self._axis = -event_dims - 1
        super().__init__(logits.select(self._axis, 0).shape, event_dims)
        self.logits, self.levels = logits, logits.shape[self._axis]

    def as_column(self) -> "Categories":
        """Of columns that hold the numbers of the levels, which are names in no order."""
        return Categories(self)

    @property
    def mode(self) -> Tensor:
        """The likeliest level, as a value in [0, 1]."""
        level = self.logits.argmax(self._axis)
        return level.to(self.logits.dtype) / (self.levels - 1)

    @property
    def mean(self) -> Tensor:
        """The mean level, as a value in [0, 1]."""
        return (self._probability * self._values).sum(self._axis)

    @property
    def variance(self) -> Tensor:
        """The variance of that value."""
        distance = self._values - self.mean.unsqueeze(self._axis)
        return (self._probability * distance.square()).sum(self._axis)

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        """Levels, in the dtype of the logits, by the inverse of the distribution function."""
        with torch.no_grad():
            shape = self._extended_shape(torch.Size(sample_shape))
            share = draws.uniform(shape, axis=len(sample_shape), like=self.logits)
            is_passed = self._probability.cumsum(self._axis) <= share.unsqueeze(self._axis)
            level = is_passed.sum(self._axis).clamp_max(self.levels - 1)
            return level.to(self.logits.dtype) / (self.levels - 1)

    def log_prob_per_entry(self, value: Tensor) -> Tensor:
        """Log-probability of every entry, in nats."""
        level = (value * (self.levels - 1)).round().long()
        level = level.expand(torch.broadcast_shapes(level.shape, self._extended_shape()))
        level = level.unsqueeze(self._axis)
        shape = list(level.shape)
        shape[self._axis] = self.levels
        chosen = self.logits.expand(shape).gather(self._axis, level).squeeze(self._axis)
        return chosen - self.logits.logsumexp(self._axis)  # eq: categorical

    @property
    def _probability(self) -> Tensor:
        return self.logits.softmax(self._axis)

    @property
    def _values(self) -> Tensor:
        """The values of the levels, (L, 1, ..., 1)."""
        levels = torch.arange(self.levels, dtype=self.logits.dtype, device=self.logits.device)
        values = levels / (self.levels - 1)
        return values.reshape(-1, *[1] * len(self.event_shape))


class Categories(Law):
    """Independent categories, by their numbers 0, 1, ..., K - 1.

    Args:
        law: The same of levels k / (K - 1).

    Example:
        >>> law = Categories(Categorical(torch.tensor([0.2, 0.3, 0.5]).log()[:, None]))
        >>> law.log_prob(torch.tensor([1.0])).exp(), law.mean
        (tensor(0.3000), tensor([2.]))
    """

    def __init__(self, law: Categorical) -> None:
        super().__init__(law._extended_shape(), len(law.event_shape))
        self.law, self.unit = law, law.levels - 1

    @property
    def mean(self) -> Tensor:
        """The number of the likeliest category."""
        return self._numbers(self.law.mode)

    @property
    def variance(self) -> Tensor:
        """The variance of the numbers."""
        return self.law.variance * self.unit * self.unit

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        """Numbers of categories, in the dtype of the logits."""
        return self._numbers(self.law.sample(sample_shape))

    def log_prob_per_entry(self, value: Tensor) -> Tensor:
        """Log-probability of every entry, in nats."""
        return self.law.log_prob_per_entry(value / self.unit)

    def _numbers(self, levels: Tensor) -> Tensor:
        """In floating point k / (K - 1) times K - 1 need not be k."""
        return (levels * self.unit).round()
