"""What do the latents hold?"""

from typing import Any

from torch import Tensor


def active_units(means: Tensor, threshold: float = 0.01) -> dict[str, Any]:
    """Latent dimensions whose posterior mean varies over the data: Var_x(E_q[z|x]) > threshold.

    Args:
        means: Posterior means, (N, latent_dim).
        threshold: Least variance.

    Reference:
        Burda, Grosse and Salakhutdinov (2016), section 5.

    Example:
        >>> import torch
        >>> active_units(torch.tensor([[0.0, 1.0], [0.0, -1.0]]))
        {'count': 1, 'threshold': 0.01, 'variances': [0.0, 1.0]}
    """
    variance = means.var(0, correction=0)
    count = int((variance > threshold).sum())  # eq: active-units
    return {"count": count, "threshold": threshold, "variances": variance.tolist()}
