"""What every objective is: a batch becomes terms, and training minimises their loss."""

from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from variform.distributions.gaussian import DiagonalGaussian, FullGaussian
from variform.distributions.law import Law
from variform.model.spaces import space_of
from variform.model.vae import VAE, HasVAE, evaluating, vae_of
from variform.objectives.corruption import Corruption
from variform.objectives.schedules import Schedule

KL = Literal["auto", "closed-form", "monte-carlo"]


class Terms(NamedTuple):
    """What an objective gives per example, each of shape (B,), in nats."""

    loss: Tensor
    """Minimised; -(log_likelihood - beta * kl) for the ELBO."""
    log_likelihood: Tensor
    """E_q[log p(x|z)], estimated."""
    kl: Tensor
    """KL(q(z|x) || p(z)), in closed form or estimated; at weight 1. NaN where z is no draw: a point has no density."""
    auxiliary: Tensor | None = None
    """What the objective's auxiliary network minimises, where it has one; `loss` does not train that network."""

    @property
    def elbo(self) -> Tensor:
        """The evidence lower bound: always at weight 1, whatever beta the loss has."""
        return self.log_likelihood - self.kl  # eq: elbo

    def __repr__(self) -> str:
        means = (
            f"{name} {getattr(self, name).mean().item():.5g}"
            for name in ("loss", "log_likelihood", "kl")
        )
        return f"Terms({', '.join(means)}: means over {len(self.loss):,} rows, in nats)"


class Objective(nn.Module):
    """What training minimises: a module that owns a VAE and maps a batch to `Terms`.

    Args:
        vae: The VAE whose parameters are trained, or a `Model` or a run that has it.
        beta: Weight of the KL term, a number or a function of the optimiser's step (see `warmup`).
    """

    weight: Tensor
    auxiliary: nn.Module | None
    """A network that learns beside the VAE from `Terms.auxiliary`, such as a discriminator; it registers after it."""
    auxiliary_options: dict[str, Any] | None = None
    """Options of Adam for the auxiliary network, for example its learning rate `lr`, which no schedule changes."""
    couples_rows: bool = False
    """Whether the loss of a row depends on the other rows of its batch, which must then be in one process."""
    infers_labels: bool = False
    """Whether rows may come without the category that is the first condition."""
    compilable: bool = True
    """Whether a step of it can be compiled as a whole."""
    differentiates_twice: bool = False
    """Whether its loss holds a gradient, which training differentiates once more."""
    takes_codes: bool = False
    """Whether it trains latents that are codes."""
    corruption: Corruption | None
    """Noise on what the encoder sees in training, for denoising."""

    def __init__(self, vae: VAE | HasVAE, *, beta: float | Schedule = 1.0) -> None:
        super().__init__()
        self.vae = vae_of(vae)
        self._require_draws()
        # Here and not in the class, where None would hide a module that is registered under the name.
        self.auxiliary = self.corruption = None
        self.beta: Schedule = beta if callable(beta) else lambda step: beta
        # A buffer, so that a schedule neither recompiles a compiled step nor hides a number from other processes.
        self._weight = float(self.beta(0))
        self.register_buffer("weight", torch.tensor(self._weight), persistent=False)

    def _require_draws(self) -> None:
        """Refuse codes where draws of z must have a density, or entries that move."""
        if self.takes_codes or space_of(self.vae).has_densities:
            return
        raise ValueError(
            f"{type(self).__name__} needs draws of z that have a density; got {type(self.vae.posterior).__name__}, "
            "whose latents are codes. Use `objective='elbo'`."
        )

    def at_step(self, step: int) -> None:
        """Set the weight of the KL term to what the schedule says at `step`."""
        self._weight = self.beta(step)
        self.weight.fill_(self._weight)
        follow = getattr(self.vae.posterior, "at_step", None)
        if follow is not None:  # the temperature of relaxed draws
            follow(step)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Terms:
        """The terms of a batch.

        Args:
            x: Prepared rows, (B, *event).
            context: What the model is conditioned on, (B, C).
        """
        raise NotImplementedError

    def encode(self, x: Tensor, context: Tensor | None = None) -> Law:
        """q(z|x) of x as the corruption, if any, leaves it."""
        return self.vae.encode(x if self.corruption is None else self.corruption(x), context)

    def extra_repr(self) -> str:
        """Shown when the module is printed: its options and the present weight of the KL term."""
        settings = {
            name: value
            for name, value in self.settings().items()
            if name not in ("objective", "corruption")
        }
        return ", ".join(
            f"{name}={value}" for name, value in {**settings, "beta": self._weight}.items()
        )

    def settings(self) -> dict[str, Any]:
        """Plain values that the training depends on besides the weights: a checkpoint belongs to them.

        One that a newer version adds is left out while it has the value that it had before.
        """
        corruption = {} if self.corruption is None else {"corruption": self.corruption.settings()}
        return {"objective": type(self).__name__, **corruption}


def laws_of(vae: VAE) -> tuple[Law, Law]:
    """A posterior and the prior of the model, for their types."""
    with evaluating(vae):
        return vae.encode(
            vae.like(torch.zeros(1, *vae.event_shape)), vae.no_context(1)
        ), vae.latent_prior()


def require_own_variance(vae: VAE, name: str) -> None:
    """Refuse the optimal variance, which is the optimum of the ELBO of known rows and of no other objective."""
    if vae.likelihood.fits_batch:
        raise ValueError(
            f"{name} needs a variance that is not the optimum of the ELBO; got gaussian-optimal. Use gaussian-shared."
        )


def require_fixed_prior(vae: VAE, name: str) -> None:
    """Refuse a learned prior where nothing would train it."""
    if any(parameter.requires_grad for parameter in vae.prior.parameters()):
        raise ValueError(
            f"{name} does not train a prior; got {type(vae.prior).__name__}. Use `prior='normal'`, and variform "
            "sampler after the training."
        )


def require_gaussian(vae: VAE, name: str) -> None:
    """Refuse a posterior whose marginals and covariance are not known."""
    q, _ = laws_of(vae)
    if not isinstance(q, DiagonalGaussian | FullGaussian):
        raise ValueError(
            f"{name} needs a Gaussian posterior; got {type(vae.posterior).__name__}. Use "
            "`posterior='diagonal'` or `posterior='full'`."
        )
