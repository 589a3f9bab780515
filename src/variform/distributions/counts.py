"""Laws of counts: 0, 1, 2, ..."""

import torch
from torch import Tensor
from torch.nn import functional

from variform.distributions.law import Law, Shape, joint


class Poisson(Law):
    r"""Independent counts, given by the logarithms h of their rates.

    $\log p(x) = \sum_d [x_d h_d - e^{h_d} - \log x_d!]$

    Args:
        log_rate: h, (*batch, *event).
        event_dims: How many trailing axes form the event.

    Reference:
        Johnson, Kemp and Kotz (2005), chapter 4.

    Example:
        >>> round(Poisson(torch.zeros(1)).log_prob(torch.tensor([2.0])).exp().item(), 4)
        0.1839
    """

    def __init__(self, log_rate: Tensor, event_dims: int = 1) -> None:
        super().__init__(log_rate.shape, event_dims)
        self.log_rate = log_rate

    @property
    def mean(self) -> Tensor:
        """The rate."""
        return self.log_rate.exp()

    @property
    def variance(self) -> Tensor:
        """The rate."""
        return self.mean

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        """Counts, in the dtype of the rates; not differentiable."""
        with torch.no_grad():
            return torch.poisson(self.mean.expand(self._extended_shape(torch.Size(sample_shape))))

    def log_prob_per_entry(self, value: Tensor) -> Tensor:
        """Log-probability of every entry, in nats."""
        return value * self.log_rate - self.log_rate.exp() - torch.lgamma(value + 1)  # eq: poisson

    def _log_within(self, low: Tensor, high: Tensor) -> Tensor:
        """The sum over the numbers in the range."""
        return self._log_within_whole(low, high)


class NegativeBinomial(Law):
    r"""Independent counts that vary more than a Poisson's: Poisson counts whose rate is itself a Gamma draw.

    $\log p(x) = \sum_d \log\frac{\Gamma(x_d + r_d)}{\Gamma(r_d)\, x_d!} + r_d \log\frac{r_d}{r_d + m_d}
    + x_d \log\frac{m_d}{r_d + m_d}$, with mean m and variance $m + m^2 / r$: a Poisson law for $r \to \infty$.

    Args:
        log_mean: log m, (*batch, *event).
        log_dispersion: log r; broadcasts with `log_mean`.
        event_dims: How many trailing axes form the event.

    Reference:
        Johnson, Kemp and Kotz (2005), chapter 5.

    Example:
        >>> round(NegativeBinomial(torch.zeros(1), torch.zeros(1)).log_prob(torch.tensor([2.0])).exp().item(), 4)
        0.125
    """

    MOST_LOG = 70.0
    """Of a log-dispersion: there it is a Poisson law in every digit."""

    def __init__(self, log_mean: Tensor, log_dispersion: Tensor, event_dims: int = 1) -> None:
        super().__init__(joint(log_mean.shape, log_dispersion.shape), event_dims)
        self.log_mean, self.log_dispersion = log_mean, log_dispersion

    @property
    def mean(self) -> Tensor:
        """The mean, (*batch, *event)."""
        return self.log_mean.exp().expand(self._extended_shape())

    @property
    def variance(self) -> Tensor:
        """m + m^2 / r."""
        return self.mean + (2 * self.log_mean - self.log_dispersion).exp()

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        """Counts, in the dtype of the mean; not differentiable."""
        with torch.no_grad():
            dispersion = self.log_dispersion.clamp(-self.MOST_LOG, self.MOST_LOG).exp()
            dispersion = dispersion.expand(self._extended_shape(torch.Size(sample_shape)))
            share = torch._standard_gamma(dispersion) / dispersion
            return torch.poisson(self.mean * share)

    def log_prob_per_entry(self, value: Tensor) -> Tensor:
        """Log-probability of every entry, in nats."""
        log_dispersion = self.log_dispersion.clamp_max(self.MOST_LOG)
        log_odds = self.log_mean - log_dispersion
        ways = log_rising(log_dispersion, value) - torch.lgamma(value + 1)
        failures = log_dispersion.exp() * functional.logsigmoid(-log_odds)
        return ways + failures + value * functional.logsigmoid(log_odds)  # eq: negative-binomial

    def _log_within(self, low: Tensor, high: Tensor) -> Tensor:
        """The sum over the numbers in the range."""
        return self._log_within_whole(low, high)


class ZeroInflated(Law):
    r"""Independent counts that are 0 for two reasons: with a probability $\pi$ whatever the law says, else by the law.

    $P(0) = \pi + (1 - \pi)\, p(0)$ and $P(x) = (1 - \pi)\, p(x)$ above, with $\pi = \sigma(a)$.

    Args:
        law: Of the counts, p, such as `Poisson` or `NegativeBinomial`.
        logits: a, (*batch, *event).

    Reference:
        Lambert (1992); with a negative binomial law in a VAE: Lopez, Regier, Cole, Jordan and Yosef (2018).

    Example:
        >>> law = ZeroInflated(Poisson(torch.zeros(1)), torch.zeros(1))
        >>> law.log_prob(torch.tensor([[0.0], [1.0]])).exp().round(decimals=4), law.mean
        (tensor([0.6839, 0.1839]), tensor([0.5000]))
    """

    def __init__(self, law: Poisson | NegativeBinomial, logits: Tensor) -> None:
        super().__init__(joint(law._extended_shape(), logits.shape), len(law.event_shape))
        self.law, self.logits = law, logits

    @property
    def mean(self) -> Tensor:
        r"""$(1 - \pi)\, m$."""
        return torch.sigmoid(-self.logits) * self.law.mean

    @property
    def variance(self) -> Tensor:
        r"""$(1 - \pi)(v + \pi m^2)$."""
        more = torch.sigmoid(self.logits) * self.law.mean.square()
        return torch.sigmoid(-self.logits) * (self.law.variance + more)

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        """Counts, in the dtype of the logits; not differentiable."""
        with torch.no_grad():
            shape = self._extended_shape(torch.Size(sample_shape))
            stays = torch.bernoulli(torch.sigmoid(-self.logits).expand(shape))
            return stays * self.law.sample(sample_shape)

    def log_prob_per_entry(self, value: Tensor) -> Tensor:
        """Log-probability of every entry, in nats."""
        log_p = self.law.log_prob_per_entry(value)
        of_law = log_p - functional.softplus(self.logits)
        more = functional.softplus(self.logits - log_p)
        return of_law + torch.where(value == 0, more, 0.0)  # eq: zero-inflated

    def _log_within(self, low: Tensor, high: Tensor) -> Tensor:
        """The sum over the numbers in the range."""
        return self._log_within_whole(low, high)


def log_rising(log_start: Tensor, steps: Tensor) -> Tensor:
    r"""$\log [\Gamma(r + k) / \Gamma(r)]$ for log r = `log_start` and k = `steps`.

    From r = 30 by Stirling's series of both: the difference of two large logarithms would leave nothing in float32.
    Below, $\Gamma(r) = \Gamma(r + 1) / r$, which is finite where r is too small for a number.

    Example:
        >>> log_rising(torch.tensor(3.0).log(), torch.tensor(2.0)).exp().round(decimals=4)  # 3 times 4
        tensor(12.)
    """
    start = log_start.exp()
    far = start.clamp_min(30)
    reached = far + steps
    series = steps * reached.log() + (far - 0.5) * torch.log1p(steps / far) - steps
    series = series + (1 / reached - 1 / far) / 12 - (reached**-3 - far**-3) / 360
    near = start.clamp_max(30)
    rest = torch.lgamma(near + torch.where(steps > 0, steps, 1.0)) - torch.lgamma(near + 1)
    return torch.where(start < 30, torch.where(steps > 0, log_start, 0.0) + rest, series)
