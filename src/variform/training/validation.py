"""Validation: means of the terms over rows, and early stopping by them."""

from typing import Any

import torch
from torch import Tensor

from variform.data.dataset import Dataset
from variform.model.codes import code_use, codes_of
from variform.model.spaces import space_of
from variform.model.vae import VAE, evaluating
from variform.system import processes
from variform.system.draws import seeded
from variform.training.device import computes_behind
from variform.training.step import TERMS, Step, mean_terms

_MOST_ROWS = 16_384  # by which the use of codes is told after each epoch


def no_sums(device: torch.device | None = None) -> Tensor:
    """Sums of the terms over no rows, and their number, (4,), float64; on a step's device or on the CPU."""
    holds = device is not None and computes_behind(device)
    return torch.zeros(len(TERMS) + 1, dtype=torch.float64, device=device if holds else None)


def batch_of(vae: VAE, data: Dataset, index: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """The prepared rows of `data` at `index`, their contexts, and how much each counts, as a step takes them."""
    x, context = vae.batch(data, index)
    shares = data.shares
    return x, context, None if shares is None else vae.like(shares[index])


def validation_sums(step: Step, data: Dataset, index: Tensor) -> Tensor:
    """Sums of the terms over the rows at `index`, of all processes, with the same noise each time; (4,), float64, CPU.

    Args:
        step: Whose weights are validated.
        data: The rows.
        index: Numbers of the rows that count, (N,).
    """
    sums = no_sums(step.device)
    with seeded(step.config.seed), evaluating(step.evaluated):
        for numbers in index.split(max(step.config.batch, 512)):
            with processes.share(len(numbers)) as (rows, weight):
                x, context, shares = batch_of(step.evaluated.vae, data, numbers[rows])
                sums += step.sums(x, weight, context, shares)
    return processes.summed(sums.cpu())


def use_of_codes(step: Step, data: Dataset) -> dict[str, Any]:
    """How much of its codes a model uses for the first training rows, as the history has it; nothing without codes."""
    vae: Any = step.evaluated.vae
    if space_of(vae).has_densities:
        return {}
    found = []
    with seeded(step.config.seed), evaluating(step.evaluated):
        for numbers in torch.arange(min(len(data), _MOST_ROWS)).split(1024):
            x, context, _ = batch_of(vae, data, numbers)
            if context is not None:
                context = context.nan_to_num(0.0)
            found.append(codes_of(vae.posterior, vae.encode(x, context).mean).cpu())
    use = code_use(torch.cat(found), vae.posterior.values)
    return {"code_use": use.use, "code_perplexity": use.perplexity, "dead_codes": use.dead}


def means_in_own_units(sums: Tensor, prefix: str, jacobian: float) -> dict[str, float]:
    """Means over examples, with densities in the data's own units and the loss as it is trained.

    Args:
        sums: As `validation_sums`.
        prefix: What the names begin with, `train` or `valid`.
        jacobian: As `mean_log_jacobian`.

    Example:
        >>> means_in_own_units(torch.tensor([8.0, -6.0, 2.0, 2.0]), "valid", 1.5)
        {'valid_loss': 4.0, 'valid_log_likelihood': -1.5, 'valid_kl': 1.0, 'valid_elbo': -2.5}
    """
    values = {f"{prefix}_{name}": value for name, value in mean_terms(sums).items()}
    values[f"{prefix}_log_likelihood"] += jacobian
    values[f"{prefix}_elbo"] = values[f"{prefix}_log_likelihood"] - values[f"{prefix}_kl"]
    return values


def mean_log_jacobian(vae: VAE, data: Dataset) -> float:
    """What is added to the weighted mean of log p(x) over the rows to state it in the data's own units."""
    if not data.schema.gaps:
        return vae.log_jacobian(data.schema)
    shares = torch.ones(len(data), dtype=torch.float64) if data.shares is None else data.shares
    sums = [
        (vae.log_jacobians(data.schema, x) * share).sum().item()
        for x, share in zip(data.batches(1024, seed=0), shares.split(1024), strict=True)
    ]
    return sum(sums) / max(1, len(data))


def stale_after(stale: int, is_best: bool, is_warming_up: bool) -> int:
    """Epochs since the best one, after another epoch; during the warm-up none counts, for it trains another loss.

    Args:
        stale: Epochs before this one since the best.
        is_best: Whether none before had a lower validation loss.
        is_warming_up: Whether the weight of the KL still rises.

    Example:
        >>> stale_after(3, False, False), stale_after(3, True, False), stale_after(3, False, True)
        (4, 0, 0)
    """
    return 0 if is_best or is_warming_up else stale + 1


def stops_early(patience: int, stale: int) -> bool:
    """Early stopping: whether as many epochs as `patience` says brought no lower validation loss; 0 has patience.

    Example:
        >>> stops_early(5, 5), stops_early(5, 4), stops_early(0, 100)
        (True, False, False)
    """
    return 0 < patience <= stale
