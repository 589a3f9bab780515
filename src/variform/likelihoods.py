"""Likelihood families: the decoder's raw output becomes the law p(x|z).

The lecture's three structures are `BernoulliLikelihood` (cross-entropy), `GaussianLikelihood(variance="learned")` (a
variance per dimension from the network) and `GaussianLikelihood(variance="identity")` (squared error); the fourth,
`variance="shared"`, learns one variance for all dimensions, without which the scale of the data decides how much the
reconstruction weighs against the KL term.
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from variform.distributions import Bernoulli, DiagonalGaussian, Law

Variance = Literal["learned", "shared", "identity"]


class BernoulliLikelihood(nn.Module):
    """p(x|z) = Bernoulli with the network's output as logits; -log p(x|z) is the cross-entropy.

    Args:
        event_shape: Shape of one example.

    Shape:
        params (*batch, *event_shape) to a law over the same shape.

    Example:
        >>> BernoulliLikelihood((4,))(torch.zeros(2, 4)).log_prob(torch.ones(2, 4))
        tensor([-2.7726, -2.7726])
    """

    unit_interval = True

    def __init__(self, event_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.event_shape = tuple(event_shape)

    @property
    def params_shape(self) -> tuple[int, ...]:
        """What the decoder must give per example."""
        return self.event_shape

    def forward(self, params: Tensor) -> Law:
        """The law that `params` describe."""
        return Bernoulli(_promoted(params), event_dims=len(self.event_shape))

    def start_at(self, mean: Tensor, variance: Tensor) -> Tensor:
        """The params at which p(x|z) has the training data's mean, kept away from 0 and 1."""
        del variance
        return torch.logit(mean, eps=1e-3)


class GaussianLikelihood(nn.Module):
    r"""$p(x|z) = N(\mu(z), \sigma^2)$ with independent dimensions.

    variance = "learned": $\sigma_d^2 = e^{h_d(z)} + \sigma_{\min}^2$ from the network, a variance per dimension.
    variance = "shared": one learned number, $\sigma^2 = e^{h} + \sigma_{\min}^2$.
    variance = "identity": $\sigma^2 = 1$; $-\log p(x|z) = \tfrac12 \|x - \mu(z)\|^2 + \tfrac D2 \log 2\pi$.

    Args:
        event_shape: Shape of one example.
        variance: Where the variance comes from.
        min_std: Least standard deviation of a learned variance, in the units the model sees. Without a floor the
            density of a constant dimension grows without bound.

    Shape:
        params (*batch, *params_shape) to a law over (*batch, *event_shape), where params_shape is (2, *event_shape)
        for "learned" (means, then raw log-variances) and event_shape otherwise.

    Example:
        >>> law = GaussianLikelihood((2,), variance="identity")(torch.zeros(1, 2))
        >>> law.log_prob(torch.tensor([[3.0, 4.0]])).round(decimals=4)
        tensor([-14.3379])
    """

    unit_interval = False

    def __init__(
        self,
        event_shape: tuple[int, ...],
        *,
        variance: Variance = "learned",
        min_std: float = 1e-3,
    ) -> None:
        super().__init__()
        self.event_shape, self.variance, self.min_std = tuple(event_shape), variance, min_std
        if variance == "shared":
            self.raw_log_var = nn.Parameter(torch.zeros(()))

    @property
    def params_shape(self) -> tuple[int, ...]:
        """What the decoder must give per example."""
        return (2, *self.event_shape) if self.variance == "learned" else self.event_shape

    def forward(self, params: Tensor) -> Law:
        """The law that `params` describe."""
        params, event_dims = _promoted(params), len(self.event_shape)
        if self.variance == "learned":
            mean, raw_log_var = params.unbind(-event_dims - 1)
            return DiagonalGaussian(mean, self._floored(raw_log_var), event_dims)
        if self.variance == "shared":
            return DiagonalGaussian(params, self._floored(self.raw_log_var), event_dims)
        return DiagonalGaussian(params, params.new_zeros(()), event_dims)

    def start_at(self, mean: Tensor, variance: Tensor) -> Tensor:
        """The params at which p(x|z) has the data's mean and, where it is learned and above the floor, variance."""
        variance = variance.clamp_min(self.min_std**2)
        if self.variance == "learned":
            return torch.stack([mean, variance.log()])
        if self.variance == "shared":
            with torch.no_grad():
                self.raw_log_var.copy_(variance.mean().log())
        return mean

    def _floored(self, raw_log_var: Tensor) -> Tensor:
        return torch.logaddexp(raw_log_var, raw_log_var.new_tensor(2 * math.log(self.min_std)))


def _promoted(params: Tensor) -> Tensor:
    """At least float32: a density in half precision loses the constants."""
    return params.to(torch.promote_types(params.dtype, torch.float32))
