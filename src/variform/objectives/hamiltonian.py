"""A bound of log p(x) whose draws walk along the slope of log p(x, z) before they are weighed."""

import itertools
import math
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from variform.config.checks import Count, Positive, Range, checked
from variform.distributions.hamiltonian import leapfrog
from variform.distributions.law import Law
from variform.model.spaces import require_flat
from variform.model.vae import VAE, HasVAE
from variform.objectives.objective import Objective, Terms, require_own_variance
from variform.system import draws


class HVAE(Objective):
    r"""The bound of the Hamiltonian VAE: draws of q(z|x) that K leapfrog steps have moved towards p(z|x).

    $z_0 \sim q(z|x)$ gets a momentum $m_0 = \gamma / \sqrt{\beta_0}$, $\gamma \sim N(0, I)$. Each of K steps is one of
    `leapfrog` along $\log p(x, z)$, after which the momentum shrinks by $\sqrt{\beta_{k-1} / \beta_k}$, with
    $\beta_K = 1$. The map from $(z_0, \gamma)$ to $(z_K, m_K)$ keeps volumes, and so

    $\log w = \log p(x, z_K) - \tfrac12 \|m_K\|^2 - \log q(z_0|x) + \tfrac12 \|\gamma\|^2$

    is the logarithm of an importance weight whose mean is p(x): its own mean is a lower bound of log p(x) for any K,
    and the ELBO for steps of size zero. It rises with K for steps so small that together they are less than a quarter
    of an orbit, after which a walk comes back. `loss` is minus that bound. The temperatures are
    $1 / \sqrt{\beta_k} = 1 / \sqrt{\beta_0} + (1 - 1 / \sqrt{\beta_0})\, k^2 / K^2$.

    The sizes of the steps, one a latent, are learned with the VAE, and belong to this bound alone: a saved model has
    q(z|x), by which evaluation weighs, and whose ELBO is lower.

    Args:
        vae: The VAE whose parameters are trained.
        samples: L, draws of z per example.
        leaps: K.
        tempering: $\beta_0$, in (0, 1]: below 1 the momentum is larger at first and z moves farther.
        step: The size of a step at the start of training.

    Shape:
        x (B, *event) to three tensors (B,), in nats: `log_likelihood` is that at $z_K$, and `kl` what it exceeds the
        bound by, so that `elbo` is the bound.

    Raises:
        ValueError: for a prior that is differentiated once only, and for latents that do not lie in a flat space.

    Reference:
        Caterini, Doucet and Sejdinovic (2018), algorithm 1 and equation 9, with $\|\gamma\|^2$ in place of its mean.

    Example:
        >>> from variform.config.model import ModelConfig
        >>> from variform.data.reading import read
        >>> from variform.model.build import build_vae
        >>> data = read("digits")
        >>> objective = HVAE(build_vae(ModelConfig(latent_dim=2), data.schema), leaps=2)
        >>> objective(data.test.prepared()[:5]).loss.shape
        torch.Size([5])
    """

    compilable = False
    differentiates_twice = True

    @checked
    def __init__(
        self,
        vae: VAE | HasVAE,
        *,
        samples: Count = 1,
        leaps: Count = 3,
        tempering: Annotated[float, Range("(0, 1]", 0.5)] = 1.0,
        step: Positive = 0.1,
    ) -> None:
        super().__init__(vae)
        require_own_variance(self.vae, "HVAE")
        require_flat(self.vae, "HVAE", "Use the ELBO.")
        if not getattr(self.vae.prior, "is_twice_differentiable", True):
            raise ValueError(
                f"HVAE needs a prior that can be differentiated twice; got {type(self.vae.prior).__name__}. Use "
                "`prior='mixture'`."
            )
        self.samples, self.leaps, self.tempering = samples, leaps, tempering
        self.log_step = nn.Parameter(
            self.vae.like(torch.full((self.vae.latent_dim,), math.log(step)))
        )

    def settings(self) -> dict[str, Any]:
        """As `Objective.settings`."""
        names = ("samples", "leaps", "tempering")
        return {**super().settings(), **{name: getattr(self, name) for name in names}}

    def forward(self, x: Tensor, context: Tensor | None = None) -> Terms:
        """The terms of a batch."""
        q, p = self.encode(x, context), self.vae.latent_prior()
        start, log_q = q.rsample_and_log_prob((self.samples,))
        noise = draws.normal(start.shape, axis=1, like=start)
        z, momentum = self._walked(x, start, noise, context, p)
        log_likelihood = self.vae.decode(z, context).log_prob(x)
        kinetic = (momentum.square() - noise.square()).sum(-1) / 2
        log_weight = log_likelihood + p.log_prob(z) - kinetic - log_q  # eq: hamiltonian
        bound, log_likelihood = log_weight.mean(0), log_likelihood.mean(0)
        return Terms(-bound, log_likelihood, log_likelihood - bound)

    def _walked(
        self, x: Tensor, z: Tensor, noise: Tensor, context: Tensor | None, p: Law
    ) -> tuple[Tensor, Tensor]:
        """Position and momentum after all steps, (L, B, D) each."""
        is_trained = torch.is_grad_enabled()
        step = self.log_step.exp()
        betas = self._betas()
        momentum = noise / math.sqrt(betas[0])
        known: list[tuple[Tensor, Tensor]] = []

        def slope(z: Tensor) -> Tensor:
            # The last half of a step and the first half of the next are at the same place.
            if not (known and known[-1][0] is z):
                known[:] = [(z, self._slope(x, z, context, p, is_trained))]
            return known[-1][1]

        for before, beta in itertools.pairwise(betas):
            z, momentum = leapfrog(slope, z, momentum, step, 1)
            momentum = momentum * math.sqrt(before / beta)
        return z, momentum

    def _slope(
        self, x: Tensor, z: Tensor, context: Tensor | None, p: Law, is_trained: bool
    ) -> Tensor:
        """The gradient of log p(x, z), (L, B, D)."""
        with torch.enable_grad():
            z = z if z.requires_grad else z.detach().requires_grad_()
            log_joint = self.vae.decode(z, context).log_prob(x) + p.log_prob(z)
            (slope,) = torch.autograd.grad(log_joint.sum(), z, create_graph=is_trained)
        return slope

    def _betas(self) -> list[float]:
        """K + 1 temperatures, the last of which is 1."""
        first = 1 / math.sqrt(self.tempering)
        roots = [first + (1 - first) * (k / self.leaps) ** 2 for k in range(self.leaps + 1)]
        return [root**-2 for root in roots]  # eq: tempering
