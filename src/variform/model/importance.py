"""Importance weights: how far log p(x, z) - log q(z|x) lies apart from draw to draw."""

from typing import NamedTuple

import torch
from torch import Tensor

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
