"""A posterior of its own for every row: what the encoder answers, improved by steps on the row's own bound."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from variform.distributions.gaussian import DiagonalGaussian, FullGaussian
from variform.distributions.hierarchy import Hierarchy
from variform.distributions.hyperbolic import WrappedNormal, from_tangent, mobius_add
from variform.distributions.law import Law
from variform.distributions.pushed import Pushed
from variform.distributions.sphere import Zonal
from variform.model.importance import weights_of
from variform.model.spaces import require_flat, space_of
from variform.model.vae import VAE
from variform.system.draws import seeded

_SAMPLES = 8  # draws of z a step; of a full covariance no fewer than latents
# In units of q the curvature of the ELBO at its optimum is about 1: a plain step of the gradient is of the right size
# there, and far from it, where gradients may be of any size, each coordinate goes no further than this.
_RATE, _MOST = 0.5, 1.0
# The curvature that S draws of D latents see of a full covariance is up to (1 + sqrt(D / S))^2 times the true one
# (Marchenko and Pastur), and steps of a rate above 2 over that run away: 32 latents did, with 8 draws.
_STABLE = 1.4
_JUDGES = 64  # draws of z by which the outcome is compared with the start
_WORSE = 1.0  # nats of the ELBO that these draws alone may take from a row


def refine(
    vae: VAE,
    x: Tensor,
    q: Law,
    p: Law,
    *,
    steps: int,
    context: Tensor | None = None,
    floats: int = 1,
    most: int = 2**21,
) -> Law:
    r"""q(z|x) of every row after a number of steps up that row's own ELBO, the decoder and the prior as they are.

    The amortisation gap is what the encoder, one network for all rows, leaves of $\mathrm{KL}(q(z|x) \| p(z|x))$
    beside the best law of its family. A Gaussian moves and scales in its own units, $\mu' = \mu + A' u$ and
    $A' = A (L + \operatorname{diag} e^v)$ with u, v and the strictly lower triangular L free and 0 at first; of several
    latents each level does; of a flow the noise does, and the map stays. Gradients stick the landing: they have no
    noise where q is the exact posterior.

    Args:
        vae: The model.
        x: Prepared rows, (B, *event).
        q: The encoder's q(z|x), a law over (B, latent_dim).
        p: p(z).
        steps: N; their size falls to 0 along a half cosine.
        context: What a conditional model is conditioned on, (B, C).
        floats: Numbers that a decode of one z takes.
        most: About this many are held at once; rows are cut accordingly.

    Raises:
        ValueError: for a posterior whose parameters are not known.

    Reference:
        Kim, Wiseman, Miller, Sontag and Rush (2018), for the refinement; Cremer, Li and Duvenaud (2018) for the gap;
        Roeder, Wu and Duvenaud (2017) for the gradient.
    """
    if not space_of(vae).has_densities:
        require_flat(vae, "refining q(z|x)", "Leave `refine` out.")
    samples, _ = _pace(q)
    rows = max(1, most // (floats * samples))
    parts = torch.arange(len(x), device=x.device).split(rows)
    laws = [
        _refined(vae, x[part], q.rows(part), p, steps, None if context is None else context[part])
        for part in parts
    ]
    build, _ = _loosened(q)
    return build(*(torch.cat(columns) for columns in zip(*laws, strict=True)))


def _refined(
    vae: VAE, x: Tensor, q: Law, p: Law, steps: int, context: Tensor | None
) -> list[Tensor]:
    """The free parameters of some rows after the last step, or as they were where that made the row worse."""
    build, free = _loosened(q)
    samples, first_rate = _pace(q)
    with torch.enable_grad():
        for parameter in free:
            parameter.requires_grad_()
        for step in range(steps):
            z, log_q = build(*free).rsample_and_log_prob((samples,), stick=not hasattr(q, "noise"))
            elbo = weights_of(vae, x, z, log_q, context=context, p=p).log_weight.mean(
                0
            )  # eq: refined
            # Rows share no parameter, so that the gradient of the sum is that of each row. The model has none.
            gradients = torch.autograd.grad(elbo.sum(), free)
            rate = first_rate * (1 + math.cos(math.pi * step / steps)) / 2
            with torch.no_grad():
                for parameter, gradient in zip(free, gradients, strict=True):
                    most = _MOST
                    if gradient.ndim == 3:  # the entries of a row of a matrix move together
                        most = _MOST * min(1.0, 4 / gradient.shape[-1])
                    parameter += rate * gradient.clamp(-most, most)
    # A row whose steps ran away keeps what the encoder answered.
    before, after = (elbo_of(vae, x, law, p, context) for law in (q, build(*free)))
    is_sound = after > before - _WORSE  # not so of NaN
    return [torch.where(is_sound.reshape(-1, *[1] * (a.ndim - 1)), a.detach(), 0.0) for a in free]


def _pace(q: Law) -> tuple[int, float]:
    """Draws of z a step, and the first step's rate."""
    if not isinstance(q, FullGaussian):
        return _SAMPLES, _RATE
    latents = q.mean.shape[-1]
    samples = max(_SAMPLES, latents)
    return samples, min(_RATE, _STABLE / (1 + math.sqrt(latents / samples)) ** 2)


def elbo_of(
    vae: VAE,
    x: Tensor,
    law: Law,
    p: Law,
    context: Tensor | None = None,
    *,
    samples: int = _JUDGES,
    at_once: int = _SAMPLES,
    seed: int = 0,
) -> Tensor:
    """An estimate of the ELBO of each row under another q(z|x), (B,) float64; a seed stands for the same noise."""
    total = torch.zeros(len(x), dtype=torch.float64, device=x.device)
    with torch.no_grad(), seeded(seed):
        for part in torch.arange(samples).split(at_once):
            z, log_q = law.rsample_and_log_prob((len(part),))
            total += weights_of(vae, x, z, log_q, context=context, p=p).log_weight.sum(0)
    return total / samples


def _loosened(q: Law) -> tuple[Callable[..., Law], list[Tensor]]:
    """How free parameters make a law, and those at which it is q, each (B, ...)."""
    if isinstance(q, DiagonalGaussian | Hierarchy):
        return q.moved, [torch.zeros_like(q.mean), torch.zeros_like(q.mean)]
    if isinstance(q, FullGaussian):
        return _full(q), [
            torch.zeros_like(q.mean),
            torch.zeros_like(q.mean),
            torch.zeros_like(q.scale_tril),
        ]
    if isinstance(q, Pushed):
        return lambda *free: q.with_noise(q.noise.moved(*free)), [
            torch.zeros_like(q.noise.mean) for _ in range(2)
        ]
    if isinstance(q, Zonal):
        return _zonal(q), [torch.zeros_like(q.mean), torch.zeros_like(q.concentration)]
    if isinstance(q, WrappedNormal):
        return _wrapped(q), [torch.zeros_like(q.mean), torch.zeros_like(q.mean)]
    raise ValueError(
        f"refining needs a posterior of Gaussians or on a flow; got {type(q).__name__}. Use 0 steps."
    )


def _full(q: FullGaussian) -> Callable[[Tensor, Tensor, Tensor], FullGaussian]:
    def build(moved: Tensor, widened: Tensor, turned: Tensor) -> FullGaussian:
        scale_tril = q.scale_tril @ (turned.tril(-1) + torch.diag_embed(widened.exp()))
        loc = q.mean + (scale_tril @ moved.unsqueeze(-1)).squeeze(-1)
        return FullGaussian(loc, scale_tril, q.log_diagonal + widened)

    return build


def _zonal(q: Zonal) -> Callable[[Tensor, Tensor], Zonal]:
    """By about the angle in which the law lies, and never a whole turn."""
    unit = (1 + q.concentration).rsqrt()

    def build(moved: Tensor, widened: Tensor) -> Zonal:
        mean = functional.normalize(q.mean + unit.unsqueeze(-1) * moved, dim=-1)
        return type(q)(mean, q.concentration * (-2 * widened).exp())

    return build


def _wrapped(q: WrappedNormal) -> Callable[[Tensor, Tensor], WrappedNormal]:
    def build(moved: Tensor, widened: Tensor) -> WrappedNormal:
        way = from_tangent(q.stddev.double() * moved.double(), q.curvature)
        mean = mobius_add(q.mean.double(), way, q.curvature)
        return WrappedNormal(mean.to(q.mean.dtype), q.log_var + 2 * widened, q.curvature)

    return build
