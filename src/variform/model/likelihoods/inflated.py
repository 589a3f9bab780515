"""Likelihoods of counts of which more are 0 than a law of counts says."""

import math

import torch
from torch import Tensor

from variform.data.marginals import Marginals
from variform.distributions.counts import ZeroInflated
from variform.distributions.law import Law
from variform.model.likelihoods.counts import NegativeBinomialLikelihood, PoissonLikelihood
from variform.model.likelihoods.family import Likelihood, Step, product, promoted, solved, total

_MINUS: Step = {"op": "multiply", "value": -1.0}
_SOFTPLUS: Step = {"op": "map", "function": "softplus"}


class ZeroInflatedPoissonLikelihood(Likelihood):
    r"""p(x|z) = 0 with the probability $\pi(z)$, and else Poisson; the network gives both.

    Args:
        event_shape: Shape of one example.

    Shape:
        params (*batch, 2, *event_shape), logits of $\pi$, then log-rates, to a law over (*batch, *event_shape).

    Reference:
        Lambert (1992).

    Example:
        >>> likelihood = ZeroInflatedPoissonLikelihood((4,))
        >>> likelihood(torch.zeros(2, 2, 4)).mean[0]
        tensor([0.5000, 0.5000, 0.5000, 0.5000])
    """

    is_density = False
    support = "counts"
    FAMILY: type[PoissonLikelihood | NegativeBinomialLikelihood] = PoissonLikelihood
    """Of the counts that are not 0 anyway."""
    START = -3.0
    """The first logit of $\\pi$."""

    def __init__(self, event_shape: tuple[int, ...]) -> None:
        super().__init__(event_shape)
        self.counts = self.FAMILY(event_shape)

    @property
    def params_shape(self) -> tuple[int, ...]:
        """What the decoder must give per example."""
        return (2, *self.event_shape)

    @property
    def param_counts(self) -> dict[str, int]:
        """A probability and a mean of each dimension."""
        count = math.prod(self.event_shape)
        return {"logits of more zeros": count, self.FAMILY.param_name: count}

    def forward(self, params: Tensor) -> ZeroInflated:
        """The law that `params` describe."""
        logits, own = promoted(params).unbind(-len(self.event_shape) - 1)
        return ZeroInflated(self.counts(own), logits)

    @staticmethod
    def times(params: Tensor, log_size: Tensor) -> Tensor:
        """As of the base: the second half are logarithms of means."""
        own = params[:, 1] + log_size.reshape(-1, *[1] * (params.ndim - 2))
        return torch.stack([params[:, 0], own], 1)

    def start_at(self, mean: Tensor, variance: Tensor) -> Tensor:
        """The params at which p(x|z) has the training data's mean, kept away from 0, and few zeros more."""
        logits = torch.full_like(mean, self.START)
        share = torch.sigmoid(-logits)
        own_mean = mean / share
        own_variance = variance / share - (1 - share) * own_mean.square()
        return torch.stack([logits, self.counts.start_at(own_mean, own_variance)])

    def independent(self, rows: Marginals) -> Law:
        """With the mean, the share of zeros and, where the law can, the variance of the rows and one more."""
        mean = (rows.mean * rows.rows + 1) / (rows.rows + 1)
        zeros = rows.mapped(lambda x: (x == 0).to(x).where(~x.isnan(), math.nan)).mean

        def law(logits: Tensor) -> ZeroInflated:
            share = torch.sigmoid(-logits)
            own_mean = mean / share
            own_variance = rows.variance / share - (1 - share) * own_mean.square()
            return ZeroInflated(self.FAMILY.law_of(own_mean, own_variance), logits)

        def share_of_zeros(logits: Tensor) -> Tensor:
            return law(logits).log_prob_per_entry(torch.zeros_like(logits)).exp()

        return law(solved(share_of_zeros, zeros, -12.0, 12.0))

    def mean_steps(self) -> list[Step]:
        """The mean of the counts times the probability that they are not 0 anyway."""
        return [self._flat(), *self._kept(self._of_counts(self.counts.mean_steps())), self._event()]

    def spread_steps(self) -> list[Step]:
        r"""The root of $(1 - \pi)(v + \pi m^2)$."""
        square: Step = {"op": "map", "function": "square"}
        variance = [*self._of_counts(self.counts.spread_steps()), square]
        mean_square = [*self._of_counts(self.counts.mean_steps()), square]
        more = _gated(mean_square, [self.params_at(0, self._size)])
        kept = self._kept([total(variance, more)])
        return [self._flat(), *kept, {"op": "map", "function": "sqrt"}, self._event()]

    def density_steps(self) -> list[Step]:
        r"""$\log p(x) - \log(1 + e^a)$, and of zeros also $\log(1 + e^a / p(0))$."""
        logits: list[Step] = [self.params_at(0, self._size)]
        places = [*self.params_at(self._size)["places"], *self.values()["places"]]
        of_counts: list[Step] = [{"op": "take", "places": places}, *self.counts.density_steps()]
        is_zero: list[Step] = [self.values(), {"op": "map", "function": "is-zero"}]
        more: list[Step] = [total(logits, [*of_counts, _MINUS]), _SOFTPLUS]
        return [total(of_counts, [*logits, _SOFTPLUS, _MINUS], product(more, is_zero))]

    @property
    def _size(self) -> int:
        return math.prod(self.event_shape)

    def _of_counts(self, steps: list[Step]) -> list[Step]:
        """What the family of the counts makes of its params, flat."""
        return [self.params_at(self._size), self._event(), *steps, self._flat(1)]

    def _kept(self, steps: list[Step]) -> list[Step]:
        r"""Times $1 - \pi$."""
        return _gated(steps, [self.params_at(0, self._size), _MINUS])

    def _flat(self, parts: int = 2) -> Step:
        return {"op": "reshape", "shape": [parts * self._size]}

    def _event(self) -> Step:
        return {"op": "reshape", "shape": list(self.event_shape)}


class ZeroInflatedNegativeBinomialLikelihood(ZeroInflatedPoissonLikelihood):
    r"""p(x|z) = 0 with the probability $\pi(z)$, and else negative binomial with a learned dispersion per dimension.

    Args:
        event_shape: Shape of one example.

    Shape:
        params (*batch, 2, *event_shape), logits of $\pi$, then log-means, to a law over (*batch, *event_shape).

    Reference:
        Lopez, Regier, Cole, Jordan and Yosef (2018).

    Example:
        >>> likelihood = ZeroInflatedNegativeBinomialLikelihood((4,))
        >>> likelihood(torch.zeros(2, 2, 4)).mean[0]
        tensor([0.5000, 0.5000, 0.5000, 0.5000])
    """

    FAMILY = NegativeBinomialLikelihood


def _gated(steps: list[Step], logits: list[Step]) -> list[Step]:
    """A product with the sigmoid."""
    joined: Step = {"op": "branches", "branches": [steps, logits], "join": "concatenate"}
    return [joined, {"op": "gate"}]
