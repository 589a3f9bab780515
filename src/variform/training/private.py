r"""Training with differential privacy: what a row adds to a step is bounded, and noise hides whether it was there.

A step takes each row with probability q, clips each row's gradient $g_i$ of all parameters together to the norm C, and
adds Gaussian noise to their sum (DP-SGD):

$\tilde g = \frac{1}{qN} \left[\sum_i g_i \min\left(1, \frac{C}{\|g_i\|}\right) + \sigma C\, \xi\right]$,
$\xi \sim N(0, I)$

The loss of a row is found with no other row in sight, so that its gradient is its own. Rows are drawn, and noise too,
by numbers that begin with the system's entropy and stand in no file: whoever knew the noise could take it off again.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap

from variform.config.checks import Count, checked
from variform.config.settling import for_rows, total_steps
from variform.config.training import TrainConfig
from variform.data.dataset import Dataset
from variform.model.priors import VampPrior
from variform.objectives import Objective
from variform.system import processes
from variform.system.draws import seeded, undisturbed
from variform.system.extras import needing

_ROWS_AT_ONCE = 64  # whose gradients are in memory together
_TOLERANCE = 0.005  # of epsilon, in the search for the noise
_Tensors = Sequence[Tensor | None]


@dataclass(frozen=True)
class Budget:
    """What a private training promises, and how.

    Args:
        epsilon: Bound on the logarithm of how much likelier any result is with a row than without it.
        delta: Probability that is left out of that.
        clip: C, the norm that the gradient of a row has at most.
        noise: The standard deviation of the noise in units of C.
        rate: q, the probability with which a step takes a row.
        steps: Steps of the whole training.

    Example:
        >>> budget = Budget(epsilon=3.0, delta=1e-5, clip=1.0, noise=0.9, rate=0.016, steps=1260)
        >>> budget.note[:71]
        'Trained with differential privacy: (3, 1e-05) for the gradient steps, o'
    """

    epsilon: float
    delta: float
    clip: float
    noise: float
    rate: float
    steps: int

    def __str__(self) -> str:
        return (
            f"({self.epsilon:.4g}, {self.delta:.4g})-differentially private for the gradient steps, one row more or "
            f"less: {self.steps:,} steps that take each row with probability {self.rate:.4g}, gradients of rows "
            f"clipped to {self.clip:g}, noise {self.noise:.4g} times that"
        )

    @property
    def note(self) -> str:
        """What a reader of the numbers must know."""
        return (
            f"Trained with differential privacy: ({self.epsilon:g}, {self.delta:g}) for the gradient steps, one "
            "training row more or less. Not covered: scaling, ranges, spikes and categories of the columns; the choice "
            "of likelihood, latents and batch; numbers, pictures and pages of the run; codes of rows, and samplers "
            "that are fitted later."
        )

    def facts(self) -> dict[str, Any]:
        """As plain values, with the note."""
        return asdict(self) | {"note": self.note}


@checked
def budget_of(config: TrainConfig, rows: Count) -> Budget | None:
    """What a training on `rows` training rows promises; None where it is not private.

    The noise is the least, to half a percent of epsilon, with which opacus's accountant of Rényi differential privacy
    stays below epsilon.

    Raises:
        ValueError: for a delta with which a row in `rows` could be published, and where opacus is missing.

    Reference:
        Abadi et al. (2016), Deep learning with differential privacy; Mironov, Talwar and Zhang (2019), Rényi
        differential privacy of the sampled Gaussian mechanism.

    Example:
        >>> budget_of(TrainConfig(), 1000) is None
        True
    """
    if config.private_epsilon is None:
        return None
    epsilon, delta = config.private_epsilon, config.private_delta
    if delta * rows >= 1:
        raise ValueError(
            f"`private_delta` must be below 1 / {rows}, one over the training rows: else a program that publishes a "
            f"random row would be private; got {delta:g}. Use `private_delta={0.1 / rows:.1g}`."
        )
    rate, steps = for_rows(config, rows).batch / rows, total_steps(config, rows)
    noise = _noise(epsilon, delta, rate, steps)
    return Budget(epsilon, delta, config.private_clip, noise, rate, steps)


def _noise(epsilon: float, delta: float, rate: float, steps: int) -> float:
    """The noise that keeps `epsilon` over all steps."""
    with needing("privacy", "`private_epsilon`"), warnings.catch_warnings():
        # That more orders would give a tighter bound: this one holds.
        warnings.simplefilter("ignore")
        return import_module("opacus.accountants.utils").get_noise_multiplier(
            target_epsilon=epsilon,
            target_delta=delta,
            sample_rate=rate,
            steps=steps,
            accountant="rdp",
            epsilon_tolerance=_TOLERANCE * epsilon,
        )


def clipped_sum(
    objective: Objective,
    parameters: Mapping[str, Tensor],
    x: Tensor,
    context: Tensor | None,
    clip: float,
) -> tuple[dict[str, Tensor], Tensor]:
    r"""$\sum_i g_i \min(1, C / \|g_i\|)$ over the rows, and their terms.

    A row whose gradient is not finite adds nothing.

    Args:
        objective: Whose loss it is.
        parameters: What the gradient is of, by their names in the objective: the norm is that of all together.
        x: Prepared rows, (B, *event).
        context: What the model is conditioned on, (B, C).
        clip: C.

    Returns:
        The sum, by the names of the parameters; and loss, log-likelihood and KL of the rows, (3, B).

    Example:
        >>> from variform import ELBO, ModelConfig, build_vae, read
        >>> data = read("digits")
        >>> objective = ELBO(build_vae(ModelConfig(latent_dim=2), data.schema))
        >>> parameters = dict(objective.named_parameters())
        >>> total, terms = clipped_sum(objective, parameters, data.train.batch(torch.arange(1)), None, 0.5)
        >>> norm = torch.stack([value.norm() for value in total.values()]).norm()
        >>> round(norm.item(), 4), terms.shape
        (0.5, torch.Size([3, 1]))
    """
    weights = {name: value.detach() for name, value in parameters.items()}

    def loss(
        weights: dict[str, Tensor], row: Tensor, context: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        given = None if context is None else context[None]
        terms = functional_call(objective, weights, (row[None], given))
        return terms.loss[0], torch.stack([terms.loss[0], terms.log_likelihood[0], terms.kl[0]])

    in_dims = (None, 0, None if context is None else 0)
    of_rows = vmap(grad_and_value(loss, has_aux=True), in_dims=in_dims, randomness="different")
    total = {name: torch.zeros_like(value) for name, value in weights.items()}
    found = [x.new_zeros(3, 0)]
    for start in range(0, len(x), _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        gradients, (_, terms) = of_rows(
            weights, x[part], None if context is None else context[part]
        )
        flat = [value.reshape(len(value), -1) for value in gradients.values()]
        norm = torch.stack([value.norm(dim=1) for value in flat]).norm(dim=0)
        factor = (clip / norm).clamp_max(1.0)  # eq: private-gradient
        factor = torch.where(norm.isfinite(), factor, 0.0)
        for name, value in zip(gradients, flat, strict=True):
            clean = torch.where(norm.isfinite()[:, None], value, 0.0)
            total[name] += (factor @ clean).view_as(total[name])
        found.append(terms.T)
    return total, torch.cat(found, 1)


class Private:
    """The gradients of a private training, and which rows its steps take.

    Args:
        objective: What is trained.
        parameters: What is trained of it: nothing else may change by a gradient.
        budget: What is promised.
    """

    def __init__(
        self, objective: Objective, parameters: Sequence[nn.Parameter], budget: Budget
    ) -> None:
        trained = {id(parameter) for parameter in parameters}
        named = objective.named_parameters()
        self.objective, self.budget = objective, budget
        self.parameters = {name: value for name, value in named if id(value) in trained}
        self._secret = np.random.default_rng()  # 128 bits of the system's entropy

    def batch(self, rows: int) -> Tensor:
        """Numbers of the rows that a step takes, each with probability q: their count is random, and may be 0."""
        return torch.from_numpy(np.flatnonzero(self._secret.random(rows) < self.budget.rate))

    def gradients(
        self, x: Tensor, context: Tensor | None, expected: int
    ) -> tuple[_Tensors, Tensor]:
        """The noisy gradient of each parameter, and the terms of the rows, (3, B); rows as of `clipped_sum`.

        Args:
            x: Prepared rows.
            context: What the model is conditioned on.
            expected: qN, the rows of a step in the mean: to divide by those that came would tell their number.
        """
        # Draws of z by a seed that is in a file would tie the rows of a batch to each other.
        with seeded(int(self._secret.integers(2**32))):
            total, terms = clipped_sum(
                self.objective, self.parameters, x, context, self.budget.clip
            )
        scale = self.budget.noise * self.budget.clip
        gradients = []
        for value in total.values():
            noise = torch.from_numpy(self._secret.standard_normal(tuple(value.shape)))
            gradients.append((value + scale * noise.to(value.dtype).to(value.device)) / expected)
        return gradients, terms


def require_private(objective: Objective, config: TrainConfig, *data: Dataset) -> None:
    """Refuse what a private training cannot bound.

    Args:
        objective: What would be trained.
        config: How; one that is not private is let pass.
        data: Its rows.

    Raises:
        ValueError: says what cannot be bounded.
    """
    if config.private_epsilon is None:
        return
    vae = objective.vae
    prior = type(vae.prior).__name__
    rule = "`private_epsilon` needs a gradient for each row alone"
    if processes.count() > 1:
        raise ValueError(
            f"`private_epsilon` is for one process; there are {processes.count()}. Train with one."
        )
    if isinstance(vae.prior, VampPrior):
        raise ValueError(
            f"{rule}; a VampPrior begins with rows as its pseudo-inputs. Use `prior='normal'`."
        )
    if objective.couples_rows or objective.auxiliary is not None or objective.infers_labels:
        raise ValueError(
            f"{rule}; that of {type(objective).__name__} compares rows. Use `objective='elbo'`."
        )
    if vae.likelihood.fits_batch:
        raise ValueError(
            f"{rule}; `likelihood='gaussian-optimal'` finds its variance from all rows of a batch. Use "
            "`likelihood='gaussian-shared'`."
        )
    if vae.has_own_networks:
        raise ValueError(
            f"{rule}; of networks of your own nothing is known. Leave `encoder` and `decoder` out."
        )
    if any(part.weights is not None for part in data):
        raise ValueError(
            "`private_epsilon` counts each row once; the rows have weights. Leave `weight` out."
        )
    if any(part.schema.binarise == "dynamic" for part in data):
        raise ValueError(
            f"{rule}; `binarise='dynamic'` draws the bits of all rows of a batch one after another, by the seed. Use "
            "`binarise='threshold'`."
        )
    try:
        with undisturbed():
            context = vae.no_context(2)
            zeros = vae.like(torch.zeros(2, *vae.event_shape))
            clipped_sum(objective, dict(objective.named_parameters()), zeros, context, 1.0)
    except RuntimeError as error:
        law = type(vae.likelihood).__name__
        raise ValueError(
            f"{rule}; torch.func finds none under {law} and {prior}. Use `prior='normal'` and one of the likelihoods "
            "mixed, gaussian-shared, gaussian-per-feature, continuous-bernoulli, poisson."
        ) from error
