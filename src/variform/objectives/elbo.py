"""What an objective is, the evidence lower bound, and the importance weights of draws."""

from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from variform.config.checks import Count, NotNegative, checked
from variform.distributions.gaussian import DiagonalGaussian, FullGaussian
from variform.distributions.kl import has_closed_form_kl, kl, kl_per_dimension, splits_into_dimensions
from variform.distributions.law import Law
from variform.objectives.corruption import Corruption
from variform.objectives.schedules import Schedule
from variform.vae import VAE, evaluating

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
        means = (f"{name} {getattr(self, name).mean().item():.5g}" for name in ("loss", "log_likelihood", "kl"))
        return f"Terms({', '.join(means)}: means over {len(self.loss):,} rows, in nats)"


class Objective(nn.Module):
    """What training minimises: a module that owns a VAE and maps a batch to `Terms`.

    Args:
        vae: The VAE whose parameters are trained.
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
    """Whether rows may come without the category that the model is told first."""
    compilable: bool = True
    """Whether a step of it can be compiled as a whole."""
    corruption: Corruption | None
    """Noise on what the encoder sees in training, for denoising."""

    def __init__(self, vae: VAE, *, beta: float | Schedule = 1.0) -> None:
        super().__init__()
        self.vae = vae
        # Here and not in the class, where None would hide a module that is registered under the name.
        self.auxiliary = self.corruption = None
        self.beta: Schedule = beta if callable(beta) else lambda step: beta
        # A buffer, so that a schedule neither recompiles a compiled step nor hides a number from other processes.
        self._weight = float(self.beta(0))
        self.register_buffer("weight", torch.tensor(self._weight), persistent=False)

    def at_step(self, step: int) -> None:
        """Set the weight of the KL term to what the schedule says at `step`."""
        self._weight = self.beta(step)
        self.weight.fill_(self._weight)

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
        settings = {name: value for name, value in self.settings().items() if name not in ("objective", "corruption")}
        return ", ".join(f"{name}={value}" for name, value in {**settings, "beta": self._weight}.items())

    def settings(self) -> dict[str, Any]:
        """Plain values that the training depends on besides the weights: a checkpoint belongs to them.

        One that a newer version adds is left out while it has the value that it had before.
        """
        corruption = {} if self.corruption is None else {"corruption": self.corruption.settings()}
        return {"objective": type(self).__name__, **corruption}


class ELBO(Objective):
    r"""The evidence lower bound of a VAE.

    $\text{ELBO}(x) = \tfrac1L \sum_{l=1}^{L} \log p(x|z_l) - \mathrm{KL}(q(z|x) \| p(z))$, $z_l \sim q(z|x)$;
    loss $= -[\tfrac1L \sum_l \log p(x|z_l) - \beta\,\mathrm{KL}]$.

    Two other forms of the second term act on the mean KL of the batch, and so on its rows together:

    - free bits, $\beta \sum_d \max(\lambda, \overline{\mathrm{KL}}_d)$: a latent dimension whose mean KL is below
      $\lambda$ nats costs the same whatever it holds, and its KL has no gradient;
    - capacity, $\gamma\, |\overline{\mathrm{KL}} - C|$ in the place of $\beta\,\mathrm{KL}$.

    Args:
        vae: The VAE whose parameters are trained.
        samples: L, draws of z per example.
        kl: `closed-form`; `monte-carlo`: $\tfrac1L \sum_l [\log q(z_l|x) - \log p(z_l)]$ from the same draws; `auto`:
            the closed form where posterior and prior have one.
        beta: Weight of the KL term, a number or a function of the optimiser's step (see `warmup`).
        free_bits: Nats per latent dimension that are free; 0 for none.
        capacity: C in nats, a number or a function of the optimiser's step (see `warmup`); None for none.
        gamma: Weight of the distance of the KL term from the capacity.

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
        >>> from variform.vae import build_vae
        >>> data = read("digits")
        >>> objective = ELBO(build_vae(ModelConfig(latent_dim=2), data.schema))
        >>> objective(data.test.prepared()[:5]).loss.shape
        torch.Size([5])
    """

    target: Tensor

    @checked
    def __init__(
        self,
        vae: VAE,
        *,
        samples: Count = 1,
        kl: KL = "auto",
        beta: float | Schedule = 1.0,
        free_bits: NotNegative = 0.0,
        capacity: float | Schedule | None = None,
        gamma: NotNegative = 1000.0,
    ) -> None:
        super().__init__(vae, beta=beta)
        if free_bits and (capacity is not None or kl == "monte-carlo"):
            raise ValueError(
                f"free_bits need the KL of each latent in closed form and no capacity; got free_bits {free_bits}, kl "
                f"{kl}, capacity {capacity}. Use one of them."
            )
        q, p = _laws_of(vae)
        if kl == "closed-form" and not has_closed_form_kl(q, p):
            raise ValueError(
                f"--kl closed-form needs a Gaussian posterior and a Gaussian prior; got {type(vae.posterior).__name__} "
                f"and {type(vae.prior).__name__}. Use --kl auto or --kl monte-carlo."
            )
        if free_bits and not splits_into_dimensions(q, p):
            raise ValueError(
                f"free_bits need a diagonal posterior and prior; got {type(vae.posterior).__name__} and "
                f"{type(vae.prior).__name__}. Use others, or leave free_bits out."
            )
        self.samples, self.kl, self.free_bits, self.gamma = samples, kl, free_bits, gamma
        self.capacity: Schedule | None = capacity if callable(capacity) or capacity is None else lambda step: capacity
        self.couples_rows = bool(free_bits) or capacity is not None
        self.register_buffer("target", torch.tensor(self._capacity_at(0)), persistent=False)

    def at_step(self, step: int) -> None:
        """As `Objective.at_step`; the capacity follows its schedule too."""
        super().at_step(step)
        if self.capacity is not None:
            self.target.fill_(self._capacity_at(step))

    def settings(self) -> dict[str, Any]:
        """As `Objective.settings`."""
        values = {**super().settings(), "samples": self.samples, "kl": self.kl, "free_bits": self.free_bits}
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
        if self.kl != "monte-carlo" and has_closed_form_kl(q, p):
            z, divergence = q.rsample(torch.Size((self.samples,))), kl(q, p)
        else:
            z, log_q = q.rsample_and_log_prob((self.samples,))
            divergence = (log_q - p.log_prob(z)).mean(0)  # eq: kl-monte-carlo
        log_likelihood = self.vae.decode(z, context).log_prob(x).mean(0)
        cost = self.weight * divergence
        if self.free_bits:
            cost = self.weight * kl_per_dimension(q, p).mean(0).clamp_min(self.free_bits).sum()  # eq: free-bits
        elif self.capacity is not None:
            cost = self.gamma * (divergence.mean() - self.target).abs()  # eq: capacity
        return q, z, Terms(-(log_likelihood - cost), log_likelihood, divergence)  # eq: beta-elbo

    def _capacity_at(self, step: int) -> float:
        return 0.0 if self.capacity is None else float(self.capacity(step))


def _laws_of(vae: VAE) -> tuple[Law, Law]:
    """A posterior and the prior of the model, for their types."""
    with evaluating(vae):
        return vae.encode(vae.like(torch.zeros(1, *vae.event_shape)), vae.no_context(1)), vae.latent_prior()


def require_own_variance(vae: VAE, name: str) -> None:
    """Refuse the optimal variance, which is the optimum of the ELBO of known rows and of no other objective."""
    if getattr(vae.likelihood, "variance", "") == "optimal":
        raise ValueError(
            f"{name} needs a variance that is not the optimum of the ELBO; got gaussian-optimal. Use gaussian-shared."
        )


def require_fixed_prior(vae: VAE, name: str) -> None:
    """Refuse a learned prior where nothing would train it."""
    if any(parameter.requires_grad for parameter in vae.prior.parameters()):
        raise ValueError(
            f"{name} does not train a prior; got {type(vae.prior).__name__}. Use --prior normal, and variform sampler "
            "after the training."
        )


def require_gaussian(vae: VAE, name: str) -> None:
    """Refuse a posterior whose marginals and covariance are not known."""
    q, _ = _laws_of(vae)
    if not isinstance(q, DiagonalGaussian | FullGaussian):
        raise ValueError(
            f"{name} needs a Gaussian posterior; got {type(vae.posterior).__name__}. Use --posterior diagonal or full."
        )


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
        >>> from variform.vae import build_vae
        >>> data = read("digits")
        >>> terms = Autoencoder(build_vae(ModelConfig(latent_dim=2), data.schema))(data.test.prepared()[:5])
        >>> torch.equal(terms.loss, -terms.log_likelihood), bool(terms.elbo.isnan().all())
        (True, True)
    """

    def forward(self, x: Tensor, context: Tensor | None = None) -> Terms:
        """The terms of a batch."""
        log_likelihood = self.vae.decode(self.encode(x, context).mean, context).log_prob(x)
        return Terms(-log_likelihood, log_likelihood, torch.full_like(log_likelihood, torch.nan))


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
    stick: bool = False,
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
        stick: Let gradients reach q through the draws alone ("sticking the landing"; the values are the same).

    Reference:
        Burda, Grosse and Salakhutdinov (2016), section 3; Roeder, Wu and Duvenaud (2017).
    """
    q = vae.encode(x, context) if q is None else q
    z, log_q = q.rsample_and_log_prob((samples,), stick=stick)
    return weights_of(vae, x, z, log_q, context=context, p=p, at_once=at_once)


def weights_of(
    vae: VAE,
    x: Tensor,
    z: Tensor,
    log_q: Tensor,
    *,
    context: Tensor | None = None,
    p: Law | None = None,
    at_once: int | None = None,
) -> Weights:
    """The weights of draws `z` (L, B, latent_dim) of q(z|x) whose log-densities are `log_q` (L, B)."""
    log_likelihood = torch.cat([vae.decode(part, context).log_prob(x) for part in z.split(at_once or len(z))])
    p = vae.latent_prior() if p is None else p
    return Weights(log_likelihood + p.log_prob(z) - log_q, log_likelihood)  # eq: log-weights
