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
from variform.distributions.law import Law
from variform.evaluation.latents import active_units
from variform.evaluation.standard_error import Estimate
from variform.model.vae import VAE, HasVAE, evaluating, vae_of
from variform.objectives.disentangling import log_mixed
from variform.system import draws
from variform.system.progress import progress_bar

_AT_ONCE = 2**22  # densities of one number that are held together
_MOST_INVERTED = 500  # rows of a posterior that must be inverted for every pair of them
_WIDTH = 64  # numbers that a flow holds for each pair
_ACTIVE = 0.01  # nats above which a latent counts as active
_NEAR = 0.9  # share of log N from which the mutual information is at its ceiling

_Gaussian = DiagonalGaussian | FullGaussian


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
        vae: The model, or a `Model` or a run that has it.
        data: The rows; the work grows with their square. A posterior on a flow has to be inverted for every pair of
            rows, a pass of its networks for every latent: 500 rows at random stand for more.
        samples: Draws of z a row.
        seed: Seed of the draws.
        progress: Show a progress bar on a terminal.

    Returns:
        A dict with rate (the KL term), mutual_information, marginal_kl, total_correlation and dimension_wise_kl (one
        for each latent, None under a prior whose latents depend on each other), distortion (-E log p(x|z), in nats of
        prepared rows), each {"mean", "se", "n"}; most_information, log N, and is_saturated; is_sampled, whether these
        are some rows of more; active_units by three
        definitions: the variance of the posterior means above 0.01 (`by_mean`), a mean KL of the latent above 0.01
        nats (`by_kl`), a mutual information of the latent above 0.01 nats (`by_information`). A single latent of a
        posterior that is not Gaussian has no density in closed form: then total_correlation and dimension_wise_kl are
        None, and active units are counted by the means alone.

    Raises:
        ValueError: for no rows.

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
        rows = _rows(vae, data, seed)
        q, z, distortion = _posteriors(vae, rows, samples, seed)
        p = vae.latent_prior()
        log_own = q.log_prob(z).double().mean(0)
        log_p = p.log_prob(vae.like(z)).double().mean(0)
        rate = kl(q, p).double() if has_closed_form_kl(q, p) else log_own - log_p
        task = bar.add_task("surgery", total=len(rows))
        width = z.shape[2] if isinstance(q, _Gaussian) else max(_WIDTH, z.shape[2])
        log_q, log_marginals = [], []
        for part in z.split(max(1, _AT_ONCE // (len(rows) * z.shape[0] * width)), 1):
            joint, each = _mixed(q, part)
            log_q.append(joint.mean(0))
            log_marginals.append(each.mean(0))
            bar.advance(task, part.shape[1])
    aggregated, marginals = torch.cat(log_q), torch.cat(log_marginals)
    information = log_own - aggregated  # of every draw at most log N
    marginal_kl = rate - information
    parts = {
        "rate": rate,
        "mutual_information": information,
        "marginal_kl": marginal_kl,
        "distortion": distortion,
    }
    most = math.log(len(rows))
    active = {"by_mean": active_units(q.mean)["count"]}
    correlation, dimension_wise = None, None
    if isinstance(q, _Gaussian):
        correlation = Estimate.of(aggregated - marginals.sum(1)).to_dict()  # eq: surgery
    if splits_into_dimensions(q, p):
        rates = kl_per_dimension(q, p).double()
        informations = q.log_prob_per_entry(z).mean(0) - marginals
        dimension_wise = [Estimate.of(column).to_dict() for column in (rates - informations).T]
        active["by_kl"] = int((rates.mean(0) > _ACTIVE).sum())
        active["by_information"] = int((informations.mean(0) > _ACTIVE).sum())
    return {
        **{name: Estimate.of(values).to_dict() for name, values in parts.items()},
        "total_correlation": correlation,
        "dimension_wise_kl": dimension_wise,
        "most_information": most,
        "is_saturated": information.mean().item() > _NEAR * most,
        "is_sampled": len(rows) < len(data),
        "active_units": active | {"of": vae.latent_dim},
    }


def _rows(vae: VAE, data: Dataset, seed: int) -> Dataset:
    """All rows, or as many at random as can be inverted."""
    if len(data) <= _MOST_INVERTED:
        return data
    x, context = next(iter(vae.batches(data.take(torch.arange(1)), 1, seed=seed)))
    if isinstance(vae.encode(x, context), _Gaussian):
        return data
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(data), generator=generator)[:_MOST_INVERTED]
    return data.take(chosen.sort().values)


def _posteriors(vae: VAE, data: Dataset, samples: int, seed: int) -> tuple[Law, Tensor, Tensor]:
    """q(z|x) of all rows, if Gaussian in double precision, draws of them (L, N, D), and the distortion of each row."""
    laws, distortions, points = [], [], []
    for x, context in vae.batches(data, max(1024, _MOST_INVERTED), seed=seed):
        q = vae.encode(x, context)
        z = q.sample(torch.Size((samples,)))
        laws.append(q)
        points.append(z)
        distortions.append(-vae.decode(z, context).log_prob(x).double().mean(0))
    z, distortion = torch.cat(points, 1), torch.cat(distortions)
    if not isinstance(laws[0], _Gaussian):
        (law,) = laws  # so few rows are one batch
        return law, z, distortion
    mean = torch.cat([q.mean.double() for q in laws])
    if isinstance(laws[0], FullGaussian):
        spread = torch.cat([q.scale_tril.double() for q in laws])
        return FullGaussian(mean, spread), z.double(), distortion
    log_var = torch.cat([q.log_var.double() for q in laws])
    return DiagonalGaussian(mean, log_var), z.double(), distortion


def _mixed(q: Law, z: Tensor) -> tuple[Tensor, Tensor]:
    """The logarithm of q(z) at draws (L, B, D), (L, B), and of its marginals, (L, B, D); NaN where none is known."""
    log_share = torch.tensor(-math.log(q.batch_shape[0]), dtype=torch.float64, device=z.device)
    if isinstance(q, _Gaussian):
        return log_mixed(q, z, log_share)
    log_each = q.log_prob(z.unsqueeze(2)).double()
    return (log_share + log_each).logsumexp(-1), torch.full_like(z, math.nan)
