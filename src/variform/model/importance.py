"""Importance weights: how far log p(x, z) - log q(z|x) lies apart from draw to draw."""

from typing import NamedTuple

import torch
from torch import Tensor

from variform.distributions.codes import Coded
from variform.distributions.law import Law
from variform.model.vae import VAE


class Weights(NamedTuple):
    """Importance weights of L draws and what they are made of, of shape (L, B) and in nats but for the draws."""

    log_weight: Tensor
    """log p(x|z) + log p(z) - log q(z|x)."""
    log_likelihood: Tensor
    """log p(x|z)."""
    z: Tensor
    """The draws, (L, B, latent_dim)."""
    log_q: Tensor
    """log q(z|x)."""

    def under(self, p: Law) -> "Weights":
        """The weights of the same draws under another prior, without decoding them again."""
        return self._replace(log_weight=self.log_likelihood + p.log_prob(self.z) - self.log_q)


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
        context: What a conditional model is conditioned on, (B, C).
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
    log_likelihood = torch.cat(
        [vae.decode(part, context).log_prob(x) for part in z.split(at_once or len(z))]
    )
    p = vae.latent_prior() if p is None else p
    log_weight = log_likelihood + p.log_prob(z) - log_q  # eq: log-weights
    return Weights(log_weight, log_likelihood, z, log_q)


class Enumerated(NamedTuple):
    """What is known of every z there is, (K, B) in nats but for the first."""

    log_likelihood: Tensor
    """log p(x|z)."""
    log_q: Tensor
    """log q(z|x)."""
    log_p: Tensor
    """log p(z)."""

    @property
    def expected(self) -> Tensor:
        """E_q[log p(x|z)], (B,)."""
        return (self.log_q.exp() * self.log_likelihood).sum(0)

    @property
    def kl(self) -> Tensor:
        """KL(q(z|x) || p(z)), (B,); where q(z|x) is 0 its logarithm is none, and counts for nothing."""
        share = self.log_q.exp()
        return torch.where(share > 0, share * (self.log_q - self.log_p), 0).sum(0)

    @property
    def log_px(self) -> Tensor:
        """log p(x), (B,), exactly."""
        return (self.log_p + self.log_likelihood).logsumexp(0)  # eq: enumeration


def enumerated(
    vae: VAE,
    x: Tensor,
    q: Law,
    p: Coded,
    *,
    context: Tensor | None = None,
    at_once: int | None = None,
) -> Enumerated:
    """The sums over all z, of which there are few: none is drawn.

    Args:
        vae: The model.
        x: (B, *event).
        q: q(z|x).
        p: p(z), `Coded.is_enumerable`.
        context: What a conditional model is conditioned on, (B, C).
        at_once: How many z are decoded at once, all by default.

    Example:
        >>> from variform import ModelConfig, build_vae, read
        >>> data = read("digits")
        >>> vae = build_vae(ModelConfig(posterior="categorical", codes=1, values=5), data.schema).eval()
        >>> x = vae.like(data.test.prepared()[:3])
        >>> found = enumerated(vae, x, vae.encode(x), vae.latent_prior())
        >>> bool((found.log_px >= found.expected - found.kl).all())
        True
    """
    every = p.every()
    likelihoods = []
    for z in every.split(at_once or len(every)):
        of_rows = z[:, None] if context is None else z[:, None].expand(len(z), len(x), -1)
        likelihoods.append(vae.decode(of_rows, context).log_prob(x))
    log_likelihood = torch.cat(likelihoods)
    log_p = p.log_prob(every)[:, None].expand_as(log_likelihood)
    return Enumerated(log_likelihood, q.log_prob(every[:, None]), log_p)
