"""Objectives from the importance weights of several draws: IWAE and what was made of it."""

import math
from typing import Any, Literal

import torch
from torch import Tensor

from variform.config.checks import Count, Share, checked
from variform.distributions.law import Law
from variform.model.importance import Weights, log_weights, weights_of
from variform.model.vae import VAE, HasVAE
from variform.objectives.objective import Objective, Terms, require_own_variance

Gradient = Literal["plain", "stl", "dreg"]


def bound(log_weight: Tensor, *, groups: int = 1, elbo_share: float = 0.0) -> Tensor:
    r"""The bound $\tfrac1M \sum_m \log \tfrac1K \sum_k w_{mk}$; a share of it may be the ELBO.

    Args:
        log_weight: (M K, B), group after group.
        groups: M. With K = 1 in each this is the ELBO.
        elbo_share: $\beta$ of CIWAE, $\beta\,\text{ELBO} + (1 - \beta)\,\text{bound}$.

    Shape:
        (M K, B) to (B,), in nats.

    Reference:
        Burda, Grosse and Salakhutdinov (2016), equation 8; Rainforth et al. (2018), section 4.

    Example:
        >>> log_weight = torch.tensor([[1.0], [3.0]]).log()
        >>> bound(log_weight).exp(), bound(log_weight, groups=2).exp().square()
        (tensor([2.]), tensor([3.]))
    """
    grouped = log_weight.unflatten(0, (groups, -1))  # (M K, B) -> (M, K, B)
    samples = grouped.shape[1]
    value = (grouped.logsumexp(1) - math.log(samples)).mean(0)  # eq: miwae
    if not elbo_share:
        return value
    elbo = log_weight.mean(0)
    return elbo_share * elbo + (1 - elbo_share) * value  # eq: ciwae


class IWAE(Objective):
    r"""The importance-weighted bound, $\tfrac1M \sum_m \log \tfrac1K \sum_k w_{mk}$ with $w$ as in `log_weights`.

    One group is IWAE, several are MIWAE, a share of the ELBO makes it CIWAE. The loss is minus the bound, whatever
    carries its gradient:

    - `plain`: the gradient of the bound. With many samples the encoder's part is mostly noise (Rainforth et al. 2018).
    - `stl`: without the gradient of $\log q$ at a fixed z, which is zero in expectation for K = 1 and not for more:
      then the encoder's gradient is biased. At q = p(z|x) it is free of noise.
    - `dreg`: $\sum_k \tilde w_k^2\, \partial \log w_k / \partial z_k \cdot \partial z_k / \partial \phi$ in the place
      of the encoder's gradient, the same in expectation and less noisy. It decodes once and goes back twice.

    Args:
        vae: The VAE whose parameters are trained.
        samples: K, draws of z per example and group.
        groups: M.
        elbo_share: Weight of the ELBO, in [0, 1]; the bound has the rest.
        gradient: What is followed.

    Shape:
        x (B, *event) to three tensors (B,), in nats; log_likelihood and kl are those of the ELBO.

    Raises:
        ValueError: for fewer samples or groups than 1, or a share outside [0, 1].

    Reference:
        Burda, Grosse and Salakhutdinov (2016); MIWAE and CIWAE: Rainforth et al. (2018); stl: Roeder, Wu and Duvenaud
        (2017); dreg: Tucker et al. (2019).

    Example:
        >>> from variform.config.model import ModelConfig
        >>> from variform.data.reading import read
        >>> from variform.model.build import build_vae
        >>> data = read("digits")
        >>> terms = IWAE(build_vae(ModelConfig(latent_dim=2), data.schema), samples=50)(data.test.prepared()[:5])
        >>> bool((-terms.loss > terms.elbo).all())
        True
    """

    @checked
    def __init__(
        self,
        vae: VAE | HasVAE,
        *,
        samples: Count = 5,
        groups: Count = 1,
        elbo_share: Share = 0.0,
        gradient: Gradient = "plain",
    ) -> None:
        super().__init__(vae)
        require_own_variance(self.vae, type(self).__name__)
        self.samples = samples
        self.groups = groups
        self.elbo_share = elbo_share
        self.gradient = gradient

    def settings(self) -> dict[str, Any]:
        """As `Objective.settings`."""
        return {
            **super().settings(),
            "samples": self.samples,
            "groups": self.groups,
            "elbo_share": self.elbo_share,
            "gradient": self.gradient,
        }

    def forward(self, x: Tensor, context: Tensor | None = None) -> Terms:
        """The terms of a batch."""
        q = self.encode(x, context)
        count = self.groups * self.samples
        mix = {"groups": self.groups, "elbo_share": self.elbo_share}
        if self.gradient != "dreg" or not torch.is_grad_enabled():
            stick = self.gradient == "stl"
            weights = log_weights(self.vae, x, count, context=context, q=q, stick=stick)
            return _terms(bound(weights.log_weight, **mix), weights)
        weights, path = _apart(self.vae, x, q, count, context, self.gradient)
        share = _share(weights.log_weight, self.gradient, **mix)
        value = bound(weights.log_weight, **mix)
        return _terms(value, weights, value + (share * path).sum(0))


class PIWAE(IWAE):
    r"""Decoder and prior follow the bound from all M K draws, the encoder that of M groups of K.

    The first is the tightest, and the second has the encoder's gradient with less noise. The loss is minus the first.

    Args:
        vae: The VAE whose parameters are trained.
        samples: K, draws of z per example and group.
        groups: M.
        gradient: What the encoder follows, as in `IWAE`.

    Shape:
        x (B, *event) to three tensors (B,), in nats; log_likelihood and kl are those of the ELBO.

    Raises:
        ValueError: for fewer samples or groups than 1.

    Reference:
        Rainforth et al. (2018), section 4.

    Example:
        >>> from variform.config.model import ModelConfig
        >>> from variform.data.reading import read
        >>> from variform.model.build import build_vae
        >>> data = read("digits")
        >>> objective = PIWAE(build_vae(ModelConfig(latent_dim=2), data.schema), samples=8, groups=8)
        >>> objective(data.test.prepared()[:5]).loss.shape
        torch.Size([5])
    """

    @checked
    def __init__(
        self,
        vae: VAE | HasVAE,
        *,
        samples: Count = 8,
        groups: Count = 8,
        gradient: Gradient = "plain",
    ) -> None:
        super().__init__(vae, samples=samples, groups=groups, gradient=gradient)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Terms:
        """The terms of a batch."""
        q = self.encode(x, context)
        count = self.groups * self.samples
        if not torch.is_grad_enabled():
            weights = log_weights(self.vae, x, count, context=context, q=q)
            return _terms(bound(weights.log_weight), weights)
        weights, path = _apart(self.vae, x, q, count, context, self.gradient)
        value = bound(weights.log_weight)
        share = _share(weights.log_weight, self.gradient, groups=self.groups)
        return _terms(value, weights, value + (share * path).sum(0))  # eq: piwae


def _terms(value: Tensor, weights: Weights, carrier: Tensor | None = None) -> Terms:
    """The terms of a bound with the given value; another tensor may carry its gradient."""
    if carrier is not None:
        value = carrier + (value - carrier).detach()
    log_likelihood = weights.log_likelihood.mean(0)
    return Terms(-value, log_likelihood, log_likelihood - weights.log_weight.mean(0))


def _apart(
    vae: VAE, x: Tensor, q: Law, count: int, context: Tensor | None, gradient: Gradient
) -> tuple[Weights, Tensor]:
    """Weights that depend on decoder and prior alone, and a path (count, B) whose gradient is the encoder's of each.

    Only its gradient has a meaning: that of log w through z and, if `plain`, through the density of q at a fixed z.
    """
    z, log_q = q.rsample_and_log_prob((count,), stick=gradient != "plain")
    point = z.detach().requires_grad_()
    weights = weights_of(vae, x, point, log_q.detach(), context=context)
    (slope,) = torch.autograd.grad(weights.log_weight.sum(), point, retain_graph=True)
    return weights, (slope * z).sum(-1) - log_q


def _share(
    log_weight: Tensor, gradient: Gradient, *, groups: int, elbo_share: float = 0.0
) -> Tensor:
    """How much each draw counts in the encoder's gradient, (M K, B)."""
    grouped = log_weight.detach().unflatten(0, (groups, -1))  # (M K, B) -> (M, K, B)
    samples = grouped.shape[1]
    share = grouped.softmax(1)
    if gradient == "dreg":
        share = share**2  # eq: dreg
    mixed = elbo_share / samples + (1 - elbo_share) * share
    return mixed.flatten(0, 1) / groups
