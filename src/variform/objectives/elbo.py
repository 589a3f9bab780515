"""The evidence lower bound, and the autoencoder that it is without its KL term."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from variform.config.checks import Count, NotNegative, checked
from variform.distributions.codes import Coded
from variform.distributions.hierarchy import Hierarchy, kl_by_level
from variform.distributions.kl import (
    has_closed_form_kl,
    kl,
    kl_per_dimension,
    splits_into_dimensions,
)
from variform.distributions.law import Law
from variform.model.importance import enumerated
from variform.model.vae import VAE, HasVAE
from variform.objectives.objective import KL, Objective, Terms, laws_of
from variform.objectives.schedules import Schedule


class ELBO(Objective):
    r"""The evidence lower bound of a VAE.

    $\text{ELBO}(x) = \tfrac1L \sum_{l=1}^{L} \log p(x|z_l) - \mathrm{KL}(q(z|x) \| p(z))$, $z_l \sim q(z|x)$;
    loss $= -[\tfrac1L \sum_l \log p(x|z_l) - \beta\,\mathrm{KL}]$.

    Two other forms of the second term act on the mean KL of the batch, and so on its rows together:

    - free bits, $\beta \sum_d \max(\lambda, \overline{\mathrm{KL}}_d)$: a latent dimension whose mean KL is below
      $\lambda$ nats costs the same whatever it holds, and its KL has no gradient; of several latents, which depend on
      each other, each of $D_l$ dimensions has $\lambda D_l$ nats as a whole;
    - capacity, $\gamma\, |\overline{\mathrm{KL}} - C|$ instead of $\beta\,\mathrm{KL}$.

    Args:
        vae: The VAE whose parameters are trained.
        samples: L, draws of z per example.
        kl: `closed-form`; `monte-carlo`: $\tfrac1L \sum_l [\log q(z_l|x) - \log p(z_l)]$ from the same draws; `auto`:
            the closed form where posterior and prior have one.
        beta: Weight of the KL term, a number or a function of the optimiser's step (see `warmup`).
        free_bits: Nats per latent dimension that are free; 0 for none.
        capacity: C in nats, a number or a function of the optimiser's step (see `warmup`); None for none.
        gamma: Weight of the distance of the KL term from the capacity.
        level_weights: Of several latents the weight of each one's KL beside beta, z_1's first; by default 1 each.

    Shape:
        x (B, *event) to three tensors (B,), in nats.

    Raises:
        ValueError: for options that cannot be or do not go together, and for `closed-form` where there is none.

    Reference:
        Kingma and Welling (2014), equations 3 and 10; beta: Higgins et al. (2017); free bits: Kingma et al. (2016),
        with one group per latent dimension; capacity: Burgess et al. (2018).

    Example:
        >>> from variform.config.model import ModelConfig
        >>> from variform.data.reading import read
        >>> from variform.model.build import build_vae
        >>> data = read("digits")
        >>> objective = ELBO(build_vae(ModelConfig(latent_dim=2), data.schema))
        >>> objective(data.test.prepared()[:5]).loss.shape
        torch.Size([5])
    """

    target: Tensor
    takes_codes = True

    @checked
    def __init__(
        self,
        vae: VAE | HasVAE,
        *,
        samples: Count = 1,
        kl: KL = "auto",
        beta: float | Schedule = 1.0,
        free_bits: NotNegative = 0.0,
        capacity: float | Schedule | None = None,
        gamma: NotNegative = 1000.0,
        level_weights: Sequence[float] = (),
    ) -> None:
        super().__init__(vae, beta=beta)
        if free_bits and (capacity is not None or kl == "monte-carlo"):
            raise ValueError(
                f"`free_bits` need the KL of each latent in closed form and no capacity; got "
                f"`free_bits={free_bits}`, `kl={kl!r}` and `capacity={capacity}`. Use one of them."
            )
        q, p = laws_of(self.vae)
        if kl == "closed-form" and not has_closed_form_kl(q, p):
            raise ValueError(
                f"`kl='closed-form'` needs a Gaussian posterior and a Gaussian prior; got "
                f"{type(self.vae.posterior).__name__} and {type(self.vae.prior).__name__}. Use `kl='auto'` or "
                "`kl='monte-carlo'`."
            )
        if free_bits and not (splits_into_dimensions(q, p) or isinstance(q, Hierarchy)):
            raise ValueError(
                f"`free_bits` need a diagonal posterior and prior, or several latents; got "
                f"{type(self.vae.posterior).__name__} and {type(self.vae.prior).__name__}. Use others, or leave "
                "`free_bits` out."
            )
        of_levels = len(q.widths) if isinstance(q, Hierarchy) and kl != "monte-carlo" else 0
        self.level_weights = tuple(level_weights)
        if level_weights and (free_bits or capacity is not None or len(level_weights) != of_levels):
            raise ValueError(
                "`level_weights` must be one number for each of several latents, without `free_bits`, `capacity` and "
                f"`kl='monte-carlo'`; got {self.level_weights} for {of_levels or 'one'}. Give as many, or leave it out."
            )
        self.samples, self.kl, self.free_bits, self.gamma = samples, kl, free_bits, gamma
        self.capacity: Schedule | None = (
            capacity if callable(capacity) or capacity is None else lambda step: capacity
        )
        self.couples_rows = bool(free_bits) or capacity is not None
        if getattr(self.vae.posterior, "couples_rows", False):
            self.couples_rows = True
        is_scored = getattr(self.vae.posterior, "relaxation", "") == "score"
        if is_scored and samples < 2:
            raise ValueError(
                f"`relaxation='score'` needs `samples` of 2 or more, each of which the others are a baseline for; got "
                f"{samples}. Use `samples=4`."
            )
        self.register_buffer("target", torch.tensor(self._capacity_at(0)), persistent=False)

    def at_step(self, step: int) -> None:
        """As `Objective.at_step`; the capacity follows its schedule too."""
        super().at_step(step)
        if self.capacity is not None:
            self.target.fill_(self._capacity_at(step))

    def settings(self) -> dict[str, Any]:
        """As `Objective.settings`."""
        values = {
            **super().settings(),
            "samples": self.samples,
            "kl": self.kl,
            "free_bits": self.free_bits,
        }
        if self.level_weights:
            values["level_weights"] = self.level_weights
        if self.capacity is not None:
            steps = (0, 1, 100, 10_000, 10**9)
            values |= {"capacity": [self._capacity_at(step) for step in steps], "gamma": self.gamma}
        return values

    def forward(self, x: Tensor, context: Tensor | None = None) -> Terms:
        """The terms of a batch."""
        return self._parts(x, context)[2]

    def _parts(self, x: Tensor, context: Tensor | None) -> tuple[Law, Tensor, Terms]:
        """q(z|x), its draws (L, B, latent_dim) and the terms."""
        q, p = self.encode(x, context), self.vae.latent_prior()
        if q.is_enumerated and isinstance(p, Coded):
            found = enumerated(self.vae, x, q, p, context=context)
            loss = -(found.expected - self.weight * found.kl)
            z = q.sample(torch.Size((self.samples,)))
            return q, z, Terms(loss, found.expected, found.kl)
        by_level, apart = None, torch.zeros(())
        if self.kl != "monte-carlo" and has_closed_form_kl(q, p):
            z, divergence = q.rsample(torch.Size((self.samples,))), kl(q, p)
        elif self.kl != "monte-carlo" and isinstance(q, Hierarchy):
            assert isinstance(p, Hierarchy)
            z = q.rsample(torch.Size((self.samples,)))
            by_level = kl_by_level(q, p, z).mean(1)  # (levels, L, B) -> (levels, B)
            divergence = by_level.sum(0)
        else:
            z, log_q = q.rsample_and_log_prob((self.samples,))
            apart = log_q - p.log_prob(z)
            divergence = apart.mean(0)  # eq: kl-monte-carlo
        of_draws = self.vae.decode(z, context).log_prob(x)
        log_likelihood = of_draws.mean(0)
        if q.is_scored:
            reward = of_draws - self.weight * apart.to(of_draws)
            log_likelihood = log_likelihood + leave_one_out(reward, q.log_prob(z))
        cost = self.weight * divergence
        if self.level_weights and by_level is not None:
            weights = by_level.new_tensor(self.level_weights)
            cost = self.weight * (weights @ by_level)  # eq: level-weights
        elif self.free_bits and by_level is not None and isinstance(q, Hierarchy):
            free = self.free_bits * by_level.new_tensor(q.widths)
            cost = self.weight * by_level.mean(1).maximum(free).sum()
        elif self.free_bits:
            per_dimension = kl_per_dimension(q, p).mean(0)
            cost = self.weight * per_dimension.clamp_min(self.free_bits).sum()  # eq: free-bits
        elif self.capacity is not None:
            cost = self.gamma * (divergence.mean() - self.target).abs()  # eq: capacity
        loss = -(log_likelihood - cost)  # eq: beta-elbo
        if q.penalty is not None:
            loss = loss + q.penalty
        return q, z, Terms(loss, log_likelihood, divergence)

    def _capacity_at(self, step: int) -> float:
        return 0.0 if self.capacity is None else float(self.capacity(step))


def leave_one_out(reward: Tensor, log_q: Tensor) -> Tensor:
    r"""Zeros whose gradient is that of E_q[reward] in the parameters of q, from draws through which none passes.

    $\tfrac1{L-1} \sum_l (r_l - \bar r)\, \nabla \log q(z_l)$: the mean of the other draws is the baseline of each.

    Args:
        reward: Of L draws, (L, B).
        log_q: Their log-probabilities, (L, B).

    Reference:
        Williams (1992); Mnih and Rezende (2016), the baseline; Kool, van Hoof and Welling (2019), with replacement.

    Example:
        >>> log_q = torch.zeros(3, 1, requires_grad=True)
        >>> leave_one_out(torch.tensor([[1.0], [2.0], [3.0]]), log_q).sum().backward()
        >>> log_q.grad.flatten()
        tensor([-0.5000,  0.0000,  0.5000])
    """
    advantage = (reward - reward.mean(0)).detach()
    carrier = (advantage * log_q).sum(0) / (len(reward) - 1)  # eq: score-function
    return carrier - carrier.detach()


class Autoencoder(Objective):
    r"""The plain autoencoder, for comparison: loss $= -\log p(x|z)$ at $z = E_{q(z|x)}[z]$.

    It is the limit of a VAE whose posterior is a point and whose KL term weighs nothing. A point has no density, so
    that there is no KL, no ELBO and no bound: these terms are NaN. The spread of q and the prior are not trained.

    Args:
        vae: The VAE whose encoder's means and whose decoder are trained.

    Shape:
        x (B, *event) to three tensors (B,), in nats.

    Reference:
        Goodfellow, Bengio and Courville (2016), chapter 14.

    Example:
        >>> from variform.config.model import ModelConfig
        >>> from variform.data.reading import read
        >>> from variform.model.build import build_vae
        >>> data = read("digits")
        >>> terms = Autoencoder(build_vae(ModelConfig(latent_dim=2), data.schema))(data.test.prepared()[:5])
        >>> torch.equal(terms.loss, -terms.log_likelihood), bool(terms.elbo.isnan().all())
        (True, True)
    """

    def forward(self, x: Tensor, context: Tensor | None = None) -> Terms:
        """The terms of a batch."""
        log_likelihood = self.vae.decode(self.encode(x, context).mean, context).log_prob(x)
        return Terms(-log_likelihood, log_likelihood, torch.full_like(log_likelihood, torch.nan))
