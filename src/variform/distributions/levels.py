"""Laws of levels in an order that are more than a place and a scale: compound and mixed ones."""

import torch
from torch import Tensor
from torch.nn import functional

from variform.distributions.counts import log_rising
from variform.distributions.law import Law, Shape, joint
from variform.distributions.pixels import DiscretisedLogistic
from variform.system import draws


class BetaBinomial(Law):
    r"""Independent levels k / n, where k counts how many of n trials succeed, with a chance that is a Beta draw.

    $P(k) = \binom{n}{k} \frac{B(\alpha + k, \beta + n - k)}{B(\alpha, \beta)}$ with $\alpha = s\,\sigma(a)$ and
    $\beta = s\,\sigma(-a)$: the mean is $\sigma(a)$, and the concentration s says how little the chance varies. For
    $s \to \infty$ it is a binomial law, for $s \to 0$ only the ends are left, and for $n = 1$ it is a Bernoulli law.

    Args:
        logits: a, (*batch, *event).
        log_concentration: log s; broadcasts with `logits`.
        levels: n + 1.
        event_dims: How many trailing axes form the event.

    Reference:
        Johnson, Kemp and Kotz (2005), chapter 6; as a VAE's law of pixels: Townsend, Bird and Barber (2019).

    Example:
        >>> law = BetaBinomial(torch.zeros(1), torch.tensor([2.0]).log(), levels=5)  # alpha = beta = 1
        >>> law.log_prob(torch.tensor([[0.0], [0.5], [1.0]])).exp().round(decimals=4)
        tensor([0.2000, 0.2000, 0.2000])
    """

    def __init__(
        self, logits: Tensor, log_concentration: Tensor, levels: int = 256, event_dims: int = 1
    ) -> None:
        super().__init__(joint(logits.shape, log_concentration.shape), event_dims)
        self.logits, self.log_concentration, self.levels = logits, log_concentration, levels

    @property
    def mean(self) -> Tensor:
        r"""$\sigma(a)$."""
        return torch.sigmoid(self.logits).expand(self._extended_shape())

    @property
    def variance(self) -> Tensor:
        r"""$\sigma(a)\,\sigma(-a)\,\frac{s + n}{n\,(s + 1)}$."""
        concentration = self.log_concentration.exp()
        trials = self.levels - 1
        share = (concentration / trials + 1) / (concentration + 1)
        return self.mean * torch.sigmoid(-self.logits) * share

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        """Levels, in the dtype of the logits; not differentiable."""
        with torch.no_grad():
            shape = self._extended_shape(torch.Size(sample_shape))
            axis = len(sample_shape)
            successes = self._log_gamma(self._log_alpha, shape, axis)
            log_ratio = successes - self._log_gamma(self._log_beta, shape, axis)
            trials = log_ratio.new_full(shape, self.levels - 1)
            return torch.binomial(trials, torch.sigmoid(log_ratio)) / (self.levels - 1)

    def log_prob_per_entry(self, value: Tensor) -> Tensor:
        """Log-probability of every entry, in nats."""
        trials = self.levels - 1
        level = (value * trials).round()
        others = trials - level
        orders = torch.lgamma(level + 1) + torch.lgamma(others + 1)
        ways = torch.lgamma(torch.full_like(level, trials + 1)) - orders
        rising = log_rising(self._log_alpha, level) + log_rising(self._log_beta, others)
        whole = log_rising(self.log_concentration, torch.full_like(level, trials))
        return ways + rising - whole  # eq: beta-binomial

    @property
    def _log_alpha(self) -> Tensor:
        return self.log_concentration + functional.logsigmoid(self.logits)

    @property
    def _log_beta(self) -> Tensor:
        return self.log_concentration + functional.logsigmoid(-self.logits)

    @staticmethod
    def _log_gamma(log_shape: Tensor, shape: torch.Size, axis: int) -> Tensor:
        """The logarithm of Gamma draws, of a small shape too: those of one more, times a uniform number's root.

        Reference:
            Stuart (1962).
        """
        least = torch.finfo(log_shape.dtype).tiny
        wanted = log_shape.exp().clamp_min(least).expand(shape)
        uniform = draws.uniform(shape, axis=axis, like=log_shape).clamp_min(least)
        return torch._standard_gamma(wanted + 1).log() + uniform.log() / wanted


class LogisticMixture(Law):
    r"""Independent levels k / (L - 1), each from a mixture of discretised logistics of its own.

    $P(k) = \sum_j \pi_j P_j(k)$ with $\pi$ the softmax of the logits: one value may be likely at several places.

    Args:
        logits: Of the shares of the J components, (*batch, J, *event).
        location: Of each component, likewise, in units of the unit interval that the bins divide.
        log_scale: Likewise.
        levels: L.
        event_dims: How many trailing axes form the event.

    Reference:
        Salimans, Karpathy, Chen and Kingma (2017), section 2.1; here no colour depends on another.

    Example:
        >>> location = torch.tensor([[0.1], [0.9]])  # (J, event)
        >>> law = LogisticMixture(torch.zeros(2, 1), location, torch.full((2, 1), -4.0), levels=5)
        >>> law.log_prob(torch.linspace(0, 1, 5)[:, None]).exp().round(decimals=2) + 0
        tensor([0.5000, 0.0000, 0.0000, 0.0000, 0.5000])
    """

    def __init__(
        self,
        logits: Tensor,
        location: Tensor,
        log_scale: Tensor,
        levels: int = 256,
        event_dims: int = 1,
    ) -> None:
        self._axis = -event_dims - 1
        super().__init__(logits.select(self._axis, 0).shape, event_dims)
        self.logits, self.levels = logits, levels
        self.components = DiscretisedLogistic(location, log_scale, levels, event_dims)

    @property
    def mean(self) -> Tensor:
        """The mean of the components' means."""
        return (self._shares * self.components.mean).sum(self._axis)

    @property
    def variance(self) -> Tensor:
        """The mean of the components' variances, and the variance of their means."""
        distance = self.components.mean - self.mean.unsqueeze(self._axis)
        return (self._shares * (self.components.variance + distance.square())).sum(self._axis)

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        """Levels, in the dtype of the logits: those of a component that is drawn first."""
        with torch.no_grad():
            shape = self._extended_shape(torch.Size(sample_shape))
            share = draws.uniform(shape, axis=len(sample_shape), like=self.logits)
            passed = self._shares.cumsum(self._axis) <= share.unsqueeze(self._axis)
            count = self.logits.shape[self._axis]
            chosen = passed.sum(self._axis, keepdim=True).clamp_max(count - 1)

            def of_chosen(parameter: Tensor) -> Tensor:
                own = parameter.expand_as(self.logits).expand(passed.shape)
                return own.gather(self._axis, chosen).squeeze(self._axis)

            location = of_chosen(self.components.location)
            log_scale = of_chosen(self.components.log_scale)
            event_dims = len(self.event_shape)
            return DiscretisedLogistic(location, log_scale, self.levels, event_dims).sample()

    def log_prob_per_entry(self, value: Tensor) -> Tensor:
        """Log-probability of every entry, in nats."""
        of_each = self.components.log_prob_per_entry(value.unsqueeze(self._axis))
        log_shares = self.logits.log_softmax(self._axis)
        return (log_shares + of_each).logsumexp(self._axis)  # eq: logistic-mixture

    @property
    def _shares(self) -> Tensor:
        return self.logits.softmax(self._axis)
