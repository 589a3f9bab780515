"""Objectives: a batch becomes terms; training minimises `terms.loss`."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from variform.distributions import Law, has_closed_form_kl, kl
from variform.vae import VAE, evaluating

Schedule = Callable[[int], float]


class Terms(NamedTuple):
    """What an objective gives per example, each of shape (B,), in nats."""

    loss: Tensor
    """Minimised; -(log_likelihood - beta * kl) for the ELBO."""
    log_likelihood: Tensor
    """E_q[log p(x|z)], estimated."""
    kl: Tensor
    """KL(q(z|x) || p(z)), in closed form or estimated; at weight 1."""
    auxiliary: Tensor | None = None
    """What the objective's auxiliary network minimises, where it has one; `loss` does not train that network."""

    @property
    def elbo(self) -> Tensor:
        """The evidence lower bound: always at weight 1, whatever beta the loss has."""
        return self.log_likelihood - self.kl  # eq: elbo


def warmup(beta: float, steps: int) -> Schedule:
    """Weight of the KL term that rises linearly from 0 at step 0 to `beta` at step `steps`.

    Example:
        >>> [warmup(1.0, 4)(step) for step in (0, 1, 4, 9)]
        [0.0, 0.25, 1.0, 1.0]
    """
    return lambda step: beta * min(1.0, step / steps) if steps else beta  # eq: kl-warmup


class Objective(nn.Module):
    """What training minimises: a module that owns a VAE and maps a batch to `Terms`.

    Args:
        vae: The VAE whose parameters are trained.
        beta: Weight of the KL term, a number or a function of the optimiser's step (see `warmup`).
    """

    weight: Tensor
    auxiliary: nn.Module | None = None
    """A network that learns beside the VAE from `Terms.auxiliary`, such as a discriminator; it registers after it."""
    auxiliary_options: dict[str, Any] | None = None
    """Options of Adam for the auxiliary network, for example its learning rate `lr`, which no schedule changes."""
    couples_rows: bool = False
    """Whether the loss of a row depends on the other rows of its batch, which must then be in one process."""
    compilable: bool = True
    """Whether a step of it can be compiled as a whole."""

    def __init__(self, vae: VAE, *, beta: float | Schedule = 1.0) -> None:
        super().__init__()
        self.vae = vae
        self.beta: Schedule = beta if callable(beta) else lambda step: beta
        # A buffer, so that a schedule neither recompiles a compiled step nor hides a number from other processes.
        self._weight = float(self.beta(0))
        self.register_buffer("weight", torch.tensor(self._weight), persistent=False)

    def at_step(self, step: int) -> None:
        """Set the weight of the KL term to what the schedule says at `step`."""
        weight = self.beta(step)
        if weight != self._weight:
            self._weight = weight
            self.weight.fill_(weight)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Terms:
        """The terms of a batch.

        Args:
            x: Prepared rows, (B, *event).
            context: What the model is conditioned on, (B, C).
        """
        raise NotImplementedError

    def settings(self) -> dict[str, Any]:
        """Plain values that the training depends on besides the weights: a checkpoint belongs to them."""
        return {"objective": type(self).__name__}


class ELBO(Objective):
    r"""The evidence lower bound of a VAE.

    $\text{ELBO}(x) = \tfrac1L \sum_{l=1}^{L} \log p(x|z_l) - \mathrm{KL}(q(z|x) \| p(z))$, $z_l \sim q(z|x)$;
    loss $= -[\tfrac1L \sum_l \log p(x|z_l) - \beta\,\mathrm{KL}]$.

    Args:
        vae: The VAE whose parameters are trained.
        samples: L, draws of z per example.
        kl: `closed-form`; `monte-carlo`: $\tfrac1L \sum_l [\log q(z_l|x) - \log p(z_l)]$ from the same draws; `auto`:
            the closed form where posterior and prior have one.
        beta: Weight of the KL term, a number or a function of the optimiser's step (see `warmup`).

    Shape:
        x (B, *event) to three tensors (B,), in nats.

    Raises:
        ValueError: for fewer samples than 1, and for `closed-form` where there is none.

    Reference:
        Kingma and Welling (2014), equations 3 and 10; beta: Higgins et al. (2017).

    Example:
        >>> from variform.config import ModelConfig
        >>> from variform.data import read
        >>> from variform.vae import build_vae
        >>> data = read("digits")
        >>> objective = ELBO(build_vae(ModelConfig(latent_dim=2), data.schema))
        >>> objective(data.test.prepared()[:5]).loss.shape
        torch.Size([5])
    """

    def __init__(
        self,
        vae: VAE,
        *,
        samples: int = 1,
        kl: Literal["auto", "closed-form", "monte-carlo"] = "auto",
        beta: float | Schedule = 1.0,
    ) -> None:
        super().__init__(vae, beta=beta)
        if samples < 1:
            raise ValueError(f"samples must be at least 1; got {samples}. Use 1 or more.")
        if kl == "closed-form":
            _require_closed_form(vae)
        self.samples, self.kl = samples, kl

    def settings(self) -> dict[str, Any]:
        """As `Objective.settings`."""
        return {**super().settings(), "samples": self.samples, "kl": self.kl}

    def forward(self, x: Tensor, context: Tensor | None = None) -> Terms:
        """The terms of a batch."""
        q, p = self.vae.encode(x, context), self.vae.latent_prior()
        if self.kl != "monte-carlo" and has_closed_form_kl(q, p):
            z, divergence = q.rsample(torch.Size((self.samples,))), kl(q, p)
        else:
            z, log_q = q.rsample_and_log_prob((self.samples,))
            divergence = (log_q - p.log_prob(z)).mean(0)  # eq: kl-monte-carlo
        log_likelihood = self.vae.decode(z, context).log_prob(x).mean(0)
        return Terms(-(log_likelihood - self.weight * divergence), log_likelihood, divergence)  # eq: beta-elbo


def _require_closed_form(vae: VAE) -> None:
    with evaluating(vae):
        q, p = vae.encode(vae.like(torch.zeros(1, *vae.event_shape)), vae.no_context(1)), vae.latent_prior()
    if not has_closed_form_kl(q, p):
        raise ValueError(
            f"--kl closed-form needs a Gaussian posterior and a Gaussian prior; got {type(vae.posterior).__name__} and "
            f"{type(vae.prior).__name__}. Use --kl auto or --kl monte-carlo."
        )


class Weights(NamedTuple):
    """Importance weights of L draws, each of shape (L, B), in nats."""

    log_weight: Tensor
    """log p(x|z) + log p(z) - log q(z|x)."""
    log_likelihood: Tensor
    """log p(x|z)."""


def log_weights(
    vae: VAE,
    x: Tensor,
    samples: int,
    *,
    context: Tensor | None = None,
    q: Law | None = None,
    p: Law | None = None,
    at_once: int | None = None,
) -> Weights:
    r"""$\log w_l = \log p(x|z_l) + \log p(z_l) - \log q(z_l|x)$ for draws $z_l \sim q(z|x)$.

    The mean of a log-weight is the ELBO; the logarithm of the mean weight is the IWAE bound. If q is the exact
    posterior every log-weight is log p(x).

    Args:
        vae: The model.
        x: (B, *event).
        samples: L.
        context: What a conditional model is told beside x, (B, C).
        q: q(z|x) where it is known already, so that the encoder runs once for many chunks of samples.
        p: p(z), likewise.
        at_once: How many samples are decoded at once, all by default: it bounds the memory and leaves the draws.

    Reference:
        Burda, Grosse and Salakhutdinov (2016), section 3.
    """
    q = vae.encode(x, context) if q is None else q
    p = vae.latent_prior() if p is None else p
    z, log_q = q.rsample_and_log_prob((samples,))
    log_likelihood = torch.cat([vae.decode(part, context).log_prob(x) for part in z.split(at_once or samples)])
    return Weights(log_likelihood + p.log_prob(z) - log_q, log_likelihood)  # eq: log-weights
