"""ELBO surgery: what the KL term of all rows together pays for."""

import math
from typing import Any

import torch
from torch import Tensor

from variform.config.checks import Count, checked
from variform.data.dataset import Dataset
from variform.distributions.gaussian import DiagonalGaussian, FullGaussian
from variform.distributions.kl import (
    has_closed_form_kl,
    kl,
    kl_per_dimension,
    splits_into_dimensions,
)
from variform.evaluation.latents import active_units
from variform.evaluation.standard_error import Estimate
from variform.model.vae import VAE, HasVAE, evaluating, vae_of
from variform.objectives.disentangling import log_mixed
from variform.system import draws
from variform.system.progress import progress_bar

_AT_ONCE = 2**22  # densities of one number that are held together
_ACTIVE = 0.01  # nats above which a latent counts as active
_NEAR = 0.9  # share of log N from which the mutual information is at its ceiling


@checked
def surgery(
    vae: VAE | HasVAE, data: Dataset, *, samples: Count = 1, seed: int = 0, progress: bool = False
) -> dict[str, Any]:
    r"""The mean KL term in parts, each with its standard error over rows, as plain values ready for JSON.

    With $q(z) = \tfrac1N \sum_n q(z|x_n)$ over all rows,
    $\tfrac1N \sum_n \mathrm{KL}(q(z|x_n) \| p(z)) = \underbrace{I(n; z)}_{\text{mutual information}}
    + \mathrm{KL}(q(z) \| p(z))$, and under a prior of independent latents
    $\mathrm{KL}(q(z) \| p(z)) = \underbrace{\mathrm{KL}(q(z) \| \textstyle\prod_d q(z_d))}_{\text{total correlation}}
    + \sum_d \mathrm{KL}(q(z_d) \| p(z_d))$.
    The expectations are means over draws of every posterior, the same for all parts, so that these add up to the
    KL term exactly. The mutual information of z and the number of the row is at most log N, and where
    it reaches that, what is left of the KL term counts as KL of q(z) and the prior: more rows tell them apart.

    Args:
        vae: The model, or a `Model` or a run that has it; its posterior must be Gaussian.
        data: The rows; the work grows with their square.
        samples: Draws of z a row.
        seed: Seed of the draws.
        progress: Show a progress bar on a terminal.

    Returns:
        A dict with rate (the KL term), mutual_information, marginal_kl, total_correlation and dimension_wise_kl (one
        for each latent, None under a prior whose latents depend on each other), distortion (-E log p(x|z), in nats of
        prepared rows), each {"mean", "se", "n"}; most_information, log N, and is_saturated; active_units by three
        definitions: the variance of the posterior means above 0.01 (`by_mean`), a mean KL of the latent above 0.01
        nats (`by_kl`), a mutual information of the latent above 0.01 nats (`by_information`).

    Raises:
        ValueError: for no rows, and for a posterior that is not Gaussian.

    Reference:
        Hoffman and Johnson (2016), equation 6; Chen et al. (2018), equation 2.

    Example:
        >>> from variform import ModelConfig, build_vae, read
        >>> data = read("digits")
        >>> parts = surgery(build_vae(ModelConfig(latent_dim=2), data.schema), data.test)
        >>> whole = parts["mutual_information"]["mean"] + parts["marginal_kl"]["mean"]
        >>> abs(whole - parts["rate"]["mean"]) < 1e-6
        True
    """
    vae = vae_of(vae)
    if len(data) == 0:
        raise ValueError("there must be at least one row; got none. Choose another `split`.")
    bar = progress_bar(progress)
    with bar, draws.seeded(seed), evaluating(vae):
        q, z, distortion = _posteriors(vae, data, samples, seed)
        p = vae.latent_prior()
        log_own = q.log_prob(z).mean(0)
        log_p = p.log_prob(vae.like(z)).double().mean(0)
        rate = kl(q, p).double() if has_closed_form_kl(q, p) else log_own - log_p
        task = bar.add_task("surgery", total=len(data))
        log_q, log_marginals = [], []
        for part in z.split(max(1, _AT_ONCE // (len(data) * z.shape[0] * z.shape[2])), 1):
            joint, each = log_mixed(q, part, part.new_tensor(-math.log(len(data))))
            log_q.append(joint.mean(0))
            log_marginals.append(each.mean(0))
            bar.advance(task, part.shape[1])
    aggregated, marginals = torch.cat(log_q), torch.cat(log_marginals)
    information = log_own - aggregated  # of every draw at most log N
    marginal_kl = rate - information
    correlation = aggregated - marginals.sum(1)  # eq: surgery
    parts = {
        "rate": rate,
        "mutual_information": information,
        "marginal_kl": marginal_kl,
        "total_correlation": correlation,
        "distortion": distortion,
    }
    most = math.log(len(data))
    active = {"by_mean": active_units(q.mean)["count"]}
    dimension_wise = None
    if splits_into_dimensions(q, p):
        rates = kl_per_dimension(q, p).double()
        informations = q.log_prob_per_entry(z).mean(0) - marginals
        dimension_wise = [Estimate.of(column).to_dict() for column in (rates - informations).T]
        active["by_kl"] = int((rates.mean(0) > _ACTIVE).sum())
        active["by_information"] = int((informations.mean(0) > _ACTIVE).sum())
    return {
        **{name: Estimate.of(values).to_dict() for name, values in parts.items()},
        "dimension_wise_kl": dimension_wise,
        "most_information": most,
        "is_saturated": information.mean().item() > _NEAR * most,
        "active_units": active | {"of": vae.latent_dim},
    }


def _posteriors(
    vae: VAE, data: Dataset, samples: int, seed: int
) -> tuple[DiagonalGaussian | FullGaussian, Tensor, Tensor]:
    """q(z|x) of all rows in double precision, draws of them (L, N, D), and the distortion of each row."""
    means, spreads, distortions, points = [], [], [], []
    is_full = False
    for x, context in vae.batches(data, 1024, seed=seed):
        q = vae.encode(x, context)
        if not isinstance(q, DiagonalGaussian | FullGaussian):
            raise ValueError(
                f"surgery needs a Gaussian posterior; got {type(q).__name__}. Train one with `posterior='full'`."
            )
        z = q.sample(torch.Size((samples,)))
        is_full = isinstance(q, FullGaussian)
        means.append(q.mean.double())
        spreads.append(q.scale_tril.double() if isinstance(q, FullGaussian) else q.log_var.double())
        points.append(z.double())
        distortions.append(-vae.decode(z, context).log_prob(x).double().mean(0))
    mean, spread = torch.cat(means), torch.cat(spreads)
    law = FullGaussian(mean, spread) if is_full else DiagonalGaussian(mean, spread)
    return law, torch.cat(points, 1), torch.cat(distortions)
