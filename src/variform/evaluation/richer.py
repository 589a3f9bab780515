"""The best posterior of every row: of the model's own family, with a full covariance, and as a flow."""

import functools
import math

import torch
from torch import Tensor

from variform.config.checks import Count, checked
from variform.data.dataset import Dataset
from variform.distributions.gaussian import DiagonalGaussian, FullGaussian
from variform.distributions.law import Law
from variform.evaluation.log_likelihood import floats_per_decode
from variform.evaluation.refinement import elbo_of, refine
from variform.model.importance import weights_of
from variform.model.spaces import require_flat
from variform.model.vae import VAE, HasVAE, evaluating, frozen, vae_of
from variform.system import draws
from variform.system.progress import progress_bar

_DRAWS = 16  # of z a step
_RATE = 0.02
_MORE_STEPS = 4  # a flow takes so many times more of them than a Gaussian
_FLOATS_AT_ONCE = 2**21
_MOMENT_DRAWS = 256
_ROUNDS, _WON = 20, 0.002  # at most, and nats a row below which no more follow


@checked
def best_elbos(
    vae: VAE | HasVAE,
    data: Dataset,
    *,
    steps: Count = 50,
    samples: Count = 1000,
    seed: int = 0,
    progress: bool = False,
) -> dict[str, Tensor]:
    r"""The ELBO of every row under the best q of its family and of richer ones, (N,) float64 each, in nats.

    `own` is the family of the posterior; what its best law leaves of $\log p(x)$ is to blame on the family only
    as far as richer ones leave less: `full`, a Gaussian with a covariance matrix, and `flow`, that Gaussian bent by a
    map of the row's own. All are fitted to each row by steps up its own ELBO, the decoder as it is; Gaussians in rounds
    of steps, until a round wins less than 0.002 nats a row, since where latents depend on each other one is not enough.
    A row whose flow is no better keeps its Gaussian.

    Args:
        vae: The model, or a `Model` or a run that has it.
        data: The rows.
        steps: Steps of a round; a flow takes four times as many.
        samples: Draws of z a row by which the ELBO is measured afterwards.
        seed: Seed of all draws.
        progress: Show a progress bar on a terminal.

    Reference:
        Cremer, Li and Duvenaud (2018), section 4: a local flow as the reference for a Gaussian.

    Example:
        >>> from variform import ModelConfig, build_vae, read
        >>> data = read("digits")
        >>> vae = build_vae(ModelConfig(latent_dim=2, hidden=(8,)), data.schema)
        >>> rows = data.test.take(torch.arange(3))
        >>> list(best_elbos(vae, rows, steps=5, samples=10))
        ['own', 'full', 'flow']
    """
    vae = vae_of(vae)
    require_flat(vae, "a richer posterior", "Compare importance samples with the ELBO.")
    floats = floats_per_decode(vae)
    rows = max(1, _FLOATS_AT_ONCE // (floats * _DRAWS))
    found: dict[str, list[Tensor]] = {"own": [], "full": [], "flow": []}
    bar = progress_bar(progress)
    with bar, draws.seeded(seed), evaluating(vae), frozen(vae):
        task = bar.add_task("best posteriors", total=len(data))
        p = vae.latent_prior()
        for x, context in vae.batches(data, rows, seed=seed):
            own = _settled(vae, x, vae.encode(x, context), p, steps, context)
            full = own
            if not isinstance(own, FullGaussian):
                full = _settled(vae, x, _gaussian(own), p, steps, context)
            assert isinstance(full, FullGaussian)
            flow = _bent(vae, x, full, p, _MORE_STEPS * steps, context)
            elbo = functools.partial(elbo_of, vae, x, p=p, context=context, samples=samples)
            at_once = max(_DRAWS, _FLOATS_AT_ONCE // (floats * len(x)))
            is_better = elbo(flow, at_once=at_once, seed=seed) > elbo(
                full, at_once=at_once, seed=seed
            )
            again = {
                "at_once": at_once,
                "seed": seed + 1,
            }  # who won by these draws is not judged by them
            jacobian = vae.log_jacobians(data.schema, x)
            of_full = elbo(full, **again)
            found["own"].append(elbo(own, **again) + jacobian)
            found["full"].append(of_full + jacobian)
            found["flow"].append(torch.where(is_better, elbo(flow, **again), of_full) + jacobian)
            bar.advance(task, len(x))
    return {name: torch.cat(parts).cpu() for name, parts in found.items()}


def _settled(vae: VAE, x: Tensor, q: Law, p: Law, steps: int, context: Tensor | None) -> Law:
    """q refined in rounds, until one wins hardly anything; the first steps of a round are large again."""
    floats = floats_per_decode(vae)
    before = elbo_of(vae, x, q, p, context)
    for _ in range(_ROUNDS):
        q = refine(vae, x, q, p, steps=steps, context=context, floats=floats)
        after = elbo_of(vae, x, q, p, context)
        if (after - before).mean() < _WON:
            break
        before = after
    return q


def _gaussian(q: Law) -> FullGaussian:
    """The law as a Gaussian with a covariance; of another the one with its mean and variances."""
    if isinstance(q, DiagonalGaussian | FullGaussian):
        return FullGaussian.of(q)
    z = q.sample(torch.Size((_MOMENT_DRAWS,)))
    return FullGaussian.of(DiagonalGaussian(z.mean(0), z.var(0).log()))


def _bent(
    vae: VAE, x: Tensor, base: FullGaussian, p: Law, steps: int, context: Tensor | None
) -> Law:
    """The Gaussian of each row, bent by a map of its own that climbs the row's ELBO."""
    from variform.distributions.couplings import Coupled  # slow to import

    law = Coupled.of(base)
    with torch.enable_grad():
        free = [parameter.requires_grad_() for parameter in law.parameters]
        optimizer = torch.optim.Adam(free, lr=_RATE)
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = _RATE * (1 + math.cos(math.pi * step / steps)) / 2
            z, log_q = law.rsample_and_log_prob((_DRAWS,), stick=True)
            weights = weights_of(vae, x, z, log_q, context=context, p=p)
            # Rows share no parameter, and Adam takes each number by itself.
            gradients = torch.autograd.grad(-weights.log_weight.mean(0).sum(), free)
            for parameter, gradient in zip(free, gradients, strict=True):
                parameter.grad = gradient.nan_to_num(0.0)
            optimizer.step()
    return law.detached()
