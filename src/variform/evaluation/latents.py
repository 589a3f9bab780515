"""What do the latents hold?"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from variform.data.dataset import Dataset
from variform.model.vae import VAE, evaluating


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


def used_codes(codes: np.ndarray) -> np.ndarray:
    """Posterior means, (N, D) float64, with 0 for those of latents that are not active.

    Example:
        >>> used_codes(np.array([[0.0, 1.0], [0.1, -1.0]])).tolist()
        [[0.0, 1.0], [0.0, -1.0]]
    """
    codes = np.asarray(codes, np.float64)
    active = active_units(torch.from_numpy(codes))
    return np.where(np.array(active["variances"]) > active["threshold"], codes, 0.0)


def hits(vae: VAE, data: Dataset, *, seed: int = 0) -> Tensor:
    """Whether the classifier finds the label of each row, (M,), for the M rows whose label is known.

    Args:
        vae: A model with a classifier.
        data: The rows.
        seed: Seed of the binarisation, where the data ask for one.
    """
    assert data.labels is not None
    with evaluating(vae):
        predicted = [
            vae.log_classify(x).argmax(1).cpu() for x, _ in vae.batches(data, 1024, seed=seed)
        ]
    known = data.labels >= 0
    return (torch.cat(predicted) == data.labels)[known]
