"""Closed-form KL divergences: between Gaussians, between laws over codes, and from the sphere's to the uniform law."""

from torch import Tensor
from torch.distributions import Distribution

from variform.distributions.codes import AutoregressiveCodes, Beside, CodePoint, Codes
from variform.distributions.gaussian import DiagonalGaussian, FullGaussian, StandardNormal, over_std
from variform.distributions.sphere import UniformSphere, Zonal, log_area


def kl_standard(mean: Tensor, log_var: Tensor) -> Tensor:
    r"""KL(N(mean, var) || N(0, 1)) of every component, $\tfrac12 (\mu^2 + \sigma^2 - 1 - \log\sigma^2)$, in nats.

    Reference:
        Kingma and Welling (2014), appendix B.

    Example:
        >>> import torch
        >>> kl_standard(torch.tensor([0.0, 1.0]), torch.zeros(2))
        tensor([0.0000, 0.5000])
    """
    return 0.5 * (mean.square() + log_var.exp() - 1 - log_var)  # eq: kl-standard


def kl_diagonal(q: DiagonalGaussian, p: DiagonalGaussian) -> Tensor:
    r"""KL(q || p) of every component of two diagonal Gaussians, in nats.

    $\tfrac12 [(\sigma_q^2 + (\mu_q - \mu_p)^2) / \sigma_p^2 - 1 + \log \sigma_p^2 - \log \sigma_q^2]$

    Example:
        >>> import torch
        >>> q, p = DiagonalGaussian(torch.ones(2), torch.zeros(2)), DiagonalGaussian(torch.zeros(2), torch.zeros(2))
        >>> kl_diagonal(q, p)
        tensor([0.5000, 0.5000])
    """
    log_ratio = q.log_var - p.log_var
    distance = over_std(q.loc - p.loc, p.log_var).square()
    return 0.5 * (log_ratio.exp() + distance - 1 - log_ratio)  # eq: kl-diagonal


def kl_full(q: FullGaussian, p: FullGaussian) -> Tensor:
    r"""KL(q || p) of two general Gaussians, (*batch), in nats.

    $\tfrac12 [\operatorname{tr}(\Sigma_p^{-1}\Sigma_q) + (\mu_p-\mu_q)^\top\Sigma_p^{-1}(\mu_p-\mu_q) - k
    + \log(\det\Sigma_p / \det\Sigma_q)]$

    Example:
        >>> import torch
        >>> q, p = FullGaussian(torch.ones(2), torch.eye(2)), FullGaussian(torch.zeros(2), torch.eye(2))
        >>> kl_full(q, p).item()
        1.0
    """
    trace = p._solved_columns(q.scale_tril).square().sum((-2, -1))
    distance = p._solved_columns((p.loc - q.loc).unsqueeze(-1)).square().sum((-2, -1))
    return 0.5 * (trace + distance - q.event_shape[0] + p.log_det - q.log_det)  # eq: kl-full


def kl_codes(q: Codes, p: Codes) -> Tensor:
    r"""KL(q || p) of every code, $\sum_k q_k (\log q_k - \log p_k)$, (*batch, C), in nats.

    Example:
        >>> import torch
        >>> q, p = Codes(torch.tensor([[50.0, 0.0, 0.0, 0.0]])), Codes(torch.zeros(1, 4))
        >>> kl_codes(q, p)
        tensor([1.3863])
    """
    return (q.log_shares.exp() * (q.log_shares - p.log_shares)).sum(-1)  # eq: kl-codes


def kl_uniform(q: Zonal) -> Tensor:
    r"""KL(q || p) of a law on the unit sphere to the uniform one, (*batch), in nats.

    With $q(z) = g(z) / \int g$ it is $E_q[\log g] - \log \int g + \log |S|$, |S| the sphere's area.

    Reference:
        Davidson et al. (2018), equation 14; De Cao and Aziz (2020), equation 19.

    Example:
        >>> import torch
        >>> from variform.distributions.sphere import PowerSpherical
        >>> mean = torch.tensor([[0.0, 1.0], [0.0, 1.0]])
        >>> kl_uniform(PowerSpherical(mean, torch.tensor([0.0, 1.0]))).round(decimals=4)
        tensor([0.0000, 0.3069])
    """
    area = log_area(q.event_shape[0])
    divergence = q.expected_log_shape() - q.log_integral() + area  # eq: kl-sphere
    return divergence.to(q.loc.dtype)


def has_closed_form_kl(q: Distribution, p: Distribution) -> bool:
    """Whether `kl` knows these two laws.

    Example:
        >>> import torch
        >>> has_closed_form_kl(StandardNormal(2), FullGaussian(torch.zeros(2), torch.eye(2)))
        True
    """
    if isinstance(q, Beside) and isinstance(p, Beside):
        return has_closed_form_kl(q.first, p.first) and has_closed_form_kl(q.second, p.second)
    if isinstance(q, CodePoint):
        return isinstance(p, Codes | AutoregressiveCodes)
    if isinstance(q, Codes):
        return isinstance(p, Codes)
    if isinstance(q, Zonal):
        return isinstance(p, UniformSphere)
    return all(isinstance(law, DiagonalGaussian | FullGaussian) for law in (q, p))


def splits_into_dimensions(q: Distribution, p: Distribution) -> bool:
    """Whether `kl_per_dimension` knows these two laws.

    Example:
        >>> import torch
        >>> splits_into_dimensions(StandardNormal(2), FullGaussian(torch.zeros(2), torch.eye(2)))
        False
    """
    return isinstance(q, DiagonalGaussian) and isinstance(p, DiagonalGaussian)


def kl_per_dimension(q: Distribution, p: Distribution) -> Tensor:
    """Closed-form KL(q || p) of every latent dimension, (*batch, D), in nats.

    Raises:
        NotImplementedError: when the two laws have no closed form that splits into dimensions.
    """
    if isinstance(q, DiagonalGaussian) and isinstance(p, StandardNormal):
        return kl_standard(q.loc, q.log_var)
    if isinstance(q, DiagonalGaussian) and isinstance(p, DiagonalGaussian):
        return kl_diagonal(q, p)
    raise NotImplementedError(
        f"KL per dimension needs two diagonal Gaussians; got {type(q).__name__} and {type(p).__name__}. "
        "Estimate it by Monte Carlo."
    )


def kl(q: Distribution, p: Distribution) -> Tensor:
    """Closed-form KL(q || p), (*batch), in nats.

    Raises:
        NotImplementedError: when the two laws have no closed form here; the objective then needs kl="monte-carlo".

    Example:
        >>> import torch
        >>> kl(DiagonalGaussian(torch.ones(2), torch.zeros(2)), StandardNormal(2)).item()
        1.0
    """
    if isinstance(q, Beside) and isinstance(p, Beside):
        return kl(q.first, p.first) + kl(q.second, p.second)
    if isinstance(q, CodePoint) and isinstance(p, Codes | AutoregressiveCodes):
        return -p.log_prob(q.z.detach())  # log q(z|x) is 0 at the point
    if isinstance(q, Codes) and isinstance(p, Codes):
        return kl_codes(q, p).sum(-1)
    if isinstance(q, Zonal) and isinstance(p, UniformSphere):
        return kl_uniform(q)
    if has_closed_form_kl(q, p) and not splits_into_dimensions(q, p):
        return kl_full(FullGaussian.of(q), FullGaussian.of(p))
    return kl_per_dimension(q, p).sum(-1)
