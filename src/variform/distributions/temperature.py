"""Laws that are moved and scaled, and laws at another temperature."""

import copy
import math
from typing import Any

import torch
from torch import Tensor

from variform.distributions.codes import AutoregressiveCodes, Beside, Codes
from variform.distributions.compound import Mixture
from variform.distributions.gaussian import DiagonalGaussian, FullGaussian
from variform.distributions.law import Law, Shape


class Scaled(Law):
    r"""The law of $\mu + \sigma \odot u$ for u of another law.

    $\log p(z) = \log p_u((z - \mu) / \sigma) - \sum_d \log \sigma_d$

    Args:
        base: The law of u, over vectors.
        loc: (D,).
        scale: (D,), positive.

    Example:
        >>> Scaled(DiagonalGaussian(torch.zeros(2), torch.zeros(2)), torch.ones(2), torch.full((2,), 3.0)).stddev
        tensor([3., 3.])
    """

    def __init__(self, base: Law, loc: Tensor, scale: Tensor) -> None:
        super().__init__(loc.shape, 1)
        self.base, self.loc, self.scale = base, loc, scale

    @property
    def mean(self) -> Tensor:
        """The mean, (D,)."""
        return self.loc + self.scale * self.base.mean

    @property
    def variance(self) -> Tensor:
        """The variance of each dimension, (D,)."""
        return self.scale.square() * self.base.variance

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        """Draws; not differentiable."""
        return self.loc + self.scale * self.base.sample(torch.Size(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density at `value`, in nats."""
        return self.base.log_prob((value - self.loc) / self.scale) - self.scale.log().sum()


def tempered(law: Law, temperature: float) -> Law:
    r"""The law with its noise times `temperature` t.

    A Gaussian keeps its mean and gets the covariance $t^2 \Sigma$. A mixture keeps its weights, and each component does
    so about its own mean. A flow maps noise of t times the standard deviation. Of codes the logits are divided by t.

    Args:
        law: A Gaussian, a mixture of laws over vectors, a flow, or a law over codes.
        temperature: t, above 0. Below 1 draws stay closer to where the law is dense, at the cost of variety.

    Reference:
        Kingma and Dhariwal (2018), where they draw from a flow at a reduced temperature.

    Example:
        >>> tempered(DiagonalGaussian(torch.ones(2), torch.zeros(2)), 0.5).stddev
        tensor([0.5000, 0.5000])
    """
    if isinstance(law, DiagonalGaussian):
        return DiagonalGaussian(
            law.loc, law.log_var + 2 * math.log(temperature), len(law.event_shape)
        )
    if isinstance(law, FullGaussian):
        log_diagonal = law.log_diagonal + math.log(temperature)
        return FullGaussian(law.loc, law.scale_tril * temperature, log_diagonal)  # eq: temperature
    if isinstance(law, Scaled):
        return Scaled(tempered(law.base, temperature), law.loc, law.scale)
    if isinstance(law, Codes):
        return Codes(law.log_shares / temperature, law.places)
    if isinstance(law, AutoregressiveCodes):
        return law.tempered(temperature)
    if isinstance(law, Beside):
        return Beside(tempered(law.first, temperature), tempered(law.second, temperature))
    if isinstance(law, Mixture):
        return Mixture(tempered(law.components, temperature), law.log_weights)
    from variform.distributions.flows import Flow  # slow to import

    if isinstance(law, Flow):
        changed: Any = copy.copy(law)
        changed.noise = tempered(law.noise, temperature)
        return changed
    raise ValueError(
        f"a temperature needs a Gaussian, a mixture or a flow; got {type(law).__name__}. Leave it out."
    )
