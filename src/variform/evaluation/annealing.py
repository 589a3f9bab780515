"""Annealed importance sampling: log p(x) between two bounds, by chains that walk to the posterior and back."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from variform.config.checks import Count, checked
from variform.data.dataset import Dataset
from variform.distributions.gaussian import DiagonalGaussian, FullGaussian
from variform.distributions.hamiltonian import leapfrog
from variform.distributions.hierarchy import Hierarchy
from variform.distributions.law import Law
from variform.evaluation.log_likelihood import floats_per_decode, products_of, score
from variform.evaluation.refinement import refine
from variform.evaluation.richer import best_elbos
from variform.evaluation.standard_error import Estimate
from variform.model.importance import weights_of
from variform.model.spaces import require_flat
from variform.model.vae import VAE, HasVAE, evaluating, frozen, vae_of
from variform.system import draws
from variform.system.products import computing
from variform.system.progress import progress_bar

# Acceptance. Hamiltonian Monte Carlo moves farthest for its work at .65 (Neal 2011, section 5.4.4.3); chains with few
# temperatures were closer to the truth at .8, a root mean square error of .21 nats instead of .63 on a linear model.
_WANTED = 0.8
_FIRST_STEP, _LEAST_STEP, _MOST_STEP = 0.3, 1e-3, 2.0  # in standard deviations of the start
_PACE = 0.6  # by how much the logarithm of a step moves for an acceptance that is off by 1
_PILOTS = 4  # chains that find the steps
# The temperatures are a sigmoid between these ends, closest together at 0 and 1: from the prior as Wu et al. (2017)
# have it, from a posterior, which is near to the truth, half as far.
_ENDS = {"prior": 4.0, "posterior": 2.0}
_DRAWN = 256  # draws that tell mean and spread of a law that has no closed ones
_TRIES = 2  # proposals at each temperature
_FLOATS_AT_ONCE = 2**21


@dataclass(frozen=True, repr=False)
class Annealed:
    """What chains find of rows, one entry per row, (N,) float64, densities in nats.

    Args:
        log_px: The logarithm of the mean weight of chains that walk to the posterior: below log p(x) in expectation.
        ess: Effective number of chains, (sum w)^2 / sum w^2.
        accepted: Share of proposals that were accepted, at the fixed steps.
        upper: The same of chains that walk back from a draw of the posterior: above log p(x) in expectation. Rows that
            the model simulated have such a draw, others have none: None.
    """

    log_px: Tensor
    ess: Tensor
    accepted: Tensor
    upper: Tensor | None = None

    def __repr__(self) -> str:
        upper = "" if self.upper is None else f", upper={self.upper.mean().item():.5g}"
        return (
            f"Annealed(log_px={self.log_px.mean().item():.5g}{upper}, ess={self.ess.mean().item():.3g}, "
            f"accepted={self.accepted.mean().item():.2f}: means over {len(self.log_px):,} rows, densities in nats)"
        )


_INSTEAD = "Leave `ais` out; importance samples need no walk."


@checked
@dataclass(frozen=True)
class Walk:
    """How chains walk.

    Args:
        chains: Chains of each row.
        temperatures: T.
        leaps: Leapfrog steps of each proposal.
        start: Where the chains begin. A posterior that is not Gaussian is replaced by the Gaussian with its mean and
            standard deviations, which is as good a start.
        refine: Steps by which the posterior of each row is improved before, see `evaluation.refinement.refine`: they
            are worth some hundred temperatures where the encoder is poor.
    """

    chains: Count = 16
    temperatures: Count = 100
    leaps: Count = 5
    start: Literal["posterior", "prior"] = "posterior"
    refine: int = 50

    def betas(self) -> list[float]:
        """T + 1 numbers from 0 to 1."""
        end = _ENDS[self.start]
        ends = torch.linspace(-end, end, self.temperatures + 1, dtype=torch.float64).sigmoid()
        return ((ends - ends[0]) / (ends[-1] - ends[0])).tolist()


@checked
def anneal(
    vae: VAE | HasVAE,
    data: Dataset,
    *,
    walk: Walk = Walk(),
    seed: int = 0,
    progress: bool = False,
) -> Annealed:
    r"""log p(x) of rows by annealed importance sampling with Hamiltonian Monte Carlo.

    Chains walk through $f_t(z) = p_0(z)^{1 - \beta_t} p(x, z)^{\beta_t}$ with $0 = \beta_0 < \dots < \beta_T = 1$,
    where $p_0$ is q(z|x) or the prior, and
    $\log w = \sum_t (\beta_t - \beta_{t-1}) \log \frac{p(x, z_{t-1})}{p_0(z_{t-1})}$.
    The mean weight is p(x) without bias, however poor the encoder is; its logarithm is a lower bound in expectation,
    which tightens with chains and temperatures. With one temperature it is importance sampling. The steps of the walk
    are found for every row and temperature by a few chains of their own, and are fixed before the chains that count.

    Args:
        vae: The model, or a `Model` or a run that has it.
        data: The rows.
        walk: How the chains walk.
        seed: Seed of all draws.
        progress: Show a progress bar on a terminal.

    Raises:
        ValueError: for no rows.

    Reference:
        Neal (2001), for the weights; Neal (2011), for Hamiltonian Monte Carlo; Wu, Burda, Salakhutdinov and Grosse
        (2017), for decoders and for the temperatures.

    Example:
        >>> from variform import ModelConfig, build_vae, read
        >>> data = read("digits")
        >>> vae = build_vae(ModelConfig(latent_dim=2, hidden=(8,)), data.schema)
        >>> found = anneal(vae, data.test.take(torch.arange(3)), walk=Walk(chains=2, temperatures=5))
        >>> found.log_px.shape
        torch.Size([3])
    """
    vae = vae_of(vae)
    require_flat(vae, "annealed importance sampling", _INSTEAD)
    batches = vae.batches(data, _rows_at_once(vae, walk), seed=seed)
    rows = ((x, context, None) for x, context in batches)
    return _annealed(vae, rows, data, walk, seed, progress)


@checked
def bracket(
    vae: VAE | HasVAE,
    data: Dataset,
    *,
    walk: Walk = Walk(),
    rows: Count = 100,
    seed: int = 0,
    progress: bool = False,
) -> Annealed:
    r"""log p(x) between two bounds, of rows that the model itself draws (bidirectional Monte Carlo).

    The z that a row was drawn from is an exact draw of its posterior. Chains that walk from there back to the start
    have $E[1/w] = 1/p(x)$, so that minus the logarithm of the mean of 1/w is above log p(x) in expectation. What lies
    between the two bounds is the most that `anneal` is off, in expectation, on rows like these.

    Args:
        vae: As of `anneal`.
        data: What the rows are like; of a conditional model they have the conditions of its first rows.
        walk: As of `anneal`.
        rows: How many are drawn.
        seed: As of `anneal`.
        progress: As of `anneal`.

    Raises:
        ValueError: for no rows.

    Reference:
        Grosse, Ghahramani and Adams (2015); Wu, Burda, Salakhutdinov and Grosse (2017), section 4.2.

    Example:
        >>> from variform import ModelConfig, build_vae, read
        >>> data = read("digits")
        >>> vae = build_vae(ModelConfig(latent_dim=2, hidden=(8,)), data.schema)
        >>> found = bracket(vae, data.test, walk=Walk(chains=4, temperatures=20), rows=50)
        >>> found.log_px.mean().item() < found.upper.mean().item()
        True
    """
    vae = vae_of(vae)
    require_flat(vae, "annealed importance sampling", _INSTEAD)
    like = data.take(torch.arange(rows).remainder(max(1, len(data))))
    batches = vae.batches(like, _rows_at_once(vae, walk), seed=seed)
    return _annealed(vae, _simulated(vae, batches), like, walk, seed, progress)


@checked
def certify(
    vae: VAE | HasVAE,
    data: Dataset,
    *,
    rows: Count = 100,
    samples: Count = 1000,
    walk: Walk = Walk(),
    seed: int = 0,
    progress: bool = False,
) -> dict[str, Any]:
    r"""How far NLL and ELBO are from the truth, on some rows, as plain values ready for JSON.

    $\log p(x) - \text{ELBO}$ has two parts. The approximation gap is what the best law of the posterior's family
    leaves, the amortisation gap what the encoder, one network for all rows, leaves beside that law. That the family is
    to blame is measured: two richer families are fitted to every row, see `evaluation.richer`.

    Args:
        vae: As of `anneal`.
        data: Rows, of which some are taken at random.
        rows: How many, at most; as many are simulated.
        samples: Importance samples a row of the NLL that stands beside.
        walk: As of `anneal`; where it does not refine the posterior, the gap is not split.
        seed: Seed of all draws.
        progress: Show progress bars on a terminal.

    Returns:
        A dict with nll (annealed), nll_importance (of the same rows), bracket (the distance of both bounds on rows that
        the model drew), amortisation_gap and approximation_gap in nats, approximation_gap_full and
        approximation_gap_flow, what a Gaussian with a covariance and a flow of each row would leave, ess (effective
        chains) and accepted, each {"mean", "se", "n"}; samples, chains, temperatures and refine.

    Reference:
        Cremer, Li and Duvenaud (2018), for the two gaps.

    Example:
        >>> from variform import ModelConfig, build_vae, read
        >>> data = read("digits")
        >>> vae = build_vae(ModelConfig(latent_dim=2, hidden=(8,)), data.schema)
        >>> found = certify(vae, data.test, rows=5, samples=10, walk=Walk(chains=2, temperatures=5))
        >>> found["nll"]["n"]
        5
    """
    vae = vae_of(vae)
    require_flat(vae, "annealed importance sampling", _INSTEAD)
    generator = torch.Generator().manual_seed(seed)
    chosen = data.take(torch.randperm(len(data), generator=generator)[:rows].sort().values)
    options: dict[str, Any] = {"seed": seed, "progress": progress}
    found = anneal(vae, chosen, walk=walk, **options)
    before = score(vae, chosen, samples=samples, **options)
    between = bracket(vae, chosen, walk=walk, rows=len(chosen), **options)
    assert between.upper is not None  # of rows that were simulated
    numbers = {
        "nll": -found.log_px,
        "nll_importance": -before.log_px,
        "bracket": between.upper - between.log_px,
        "ess": found.ess,
        "accepted": found.accepted,
    }
    if walk.refine and walk.start == "posterior":
        best = best_elbos(vae, chosen, steps=walk.refine, samples=samples, **options)
        numbers["amortisation_gap"] = best["own"] - before.elbo  # eq: amortisation-gap
        numbers["approximation_gap"] = found.log_px - best["own"]
        numbers["approximation_gap_full"] = found.log_px - best["full"]
        numbers["approximation_gap_flow"] = found.log_px - best["flow"]
    how = {name: getattr(walk, name) for name in ("chains", "temperatures", "refine")}
    estimates = {name: Estimate.of(values).to_dict() for name, values in numbers.items()}
    return {"samples": samples, **how, **estimates}


# --- one batch of rows --------------------------------------------------------------------------------------------

_Rows = Iterable[tuple[Tensor, Tensor | None, Tensor | None]]
"""Rows, their contexts, and a draw of the exact posterior of each where one is known."""


def _simulated(vae: VAE, batches: Iterable[tuple[Tensor, Tensor | None]]) -> _Rows:
    for x, context in batches:
        with torch.no_grad():
            z = vae.latent_prior().sample(torch.Size((len(x),)))
            yield vae.decode(z, context).sample(), context, z


def _annealed(
    vae: VAE, rows: _Rows, data: Dataset, walk: Walk, seed: int, progress: bool
) -> Annealed:
    """What the chains of all rows find, in the units of the data."""
    if len(data) == 0:
        raise ValueError(
            "there must be at least one row to evaluate; got none. Choose another `split`."
        )
    parts = []
    bar = progress_bar(progress)
    with evaluating(vae), frozen(vae):
        at_once = walk.chains * min(len(data), _rows_at_once(vae, walk))
        decodes = len(data) * walk.chains * walk.temperatures * walk.leaps
        products = products_of(vae, at_once, decodes, backward=True)
    with (
        bar,
        draws.seeded(seed),
        evaluating(vae),
        frozen(vae),
        computing(vae.decoder, products),
    ):
        task = bar.add_task("annealing", total=len(data))
        for x, context, known in rows:
            chains = _Chains(vae, x, context, walk)
            found = chains.found()
            upper = torch.full_like(found[0], math.nan) if known is None else chains.upper(known)
            jacobian = vae.log_jacobians(data.schema, x).to(found[0])
            parts.append((found[0] + jacobian, *found[1:], upper + jacobian))
            bar.advance(task, len(x))
    log_px, ess, accepted, upper = (torch.cat(part).cpu() for part in zip(*parts, strict=True))
    return Annealed(log_px, ess, accepted, None if upper.isnan().all() else upper)


class _Place(NamedTuple):
    """Where chains are, (L, B, D), and what is known there, so that no temperature asks the decoder for it again."""

    z: Tensor
    log_start: Tensor
    log_weight: Tensor
    slope_of_start: Tensor
    slope_of_joint: Tensor

    def log_density(self, beta: float) -> Tensor:
        """log f at this temperature, (L, B) float64."""
        return (self.log_start + beta * self.log_weight).double()

    def slope(self, beta: float) -> Tensor:
        """The gradient of log f, (L, B, D)."""
        return self.slope_of_start.lerp(self.slope_of_joint, beta)

    def moved(self, other: "_Place", is_there: Tensor) -> "_Place":
        """`other` for the chains for which it is true."""
        return _Place(
            *(
                torch.where(is_there[..., None] if new.ndim > is_there.ndim else is_there, new, old)
                for old, new in zip(self, other, strict=True)
            )
        )


class _Chains:
    """The chains of some rows, whose steps are found as they are made.

    Args:
        vae: The model.
        x: Prepared rows, (B, *event).
        context: What a conditional model is conditioned on, (B, C).
        walk: How they walk.
    """

    def __init__(self, vae: VAE, x: Tensor, context: Tensor | None, walk: Walk) -> None:
        self.vae, self.x, self.context, self.walk = vae, x, context, walk
        self.prior = vae.latent_prior()
        with torch.no_grad():
            self.start = self._found_start()
        self.betas = walk.betas()
        self.steps = self._found_steps()

    def found(self) -> tuple[Tensor, Tensor, Tensor]:
        """log p(x) from below, effective chains and acceptance, (B,) float64 each."""
        at = self._place(self._first(self.walk.chains))
        total = self._nothing()
        accepted = []
        for step, before, beta in zip(self.steps, self.betas, self.betas[1:], strict=False):
            total += (beta - before) * at.log_weight  # eq: annealed-importance-sampling
            at, share = self._moved(at, beta, step)
            accepted.append(share.mean(0))
        total += (1 - self.betas[-2]) * at.log_weight
        log_px = total.logsumexp(0) - math.log(len(total))
        ess = (2 * total.logsumexp(0) - (2 * total).logsumexp(0)).exp()
        share = torch.stack(accepted).mean(0).double() if accepted else torch.ones_like(log_px)
        return log_px, ess, share

    def upper(self, known: Tensor) -> Tensor:
        """log p(x) from above, (B,) float64, by chains that walk back from draws of the exact posterior."""
        at = self._place(known.expand(self.walk.chains, *known.shape))
        total = self._nothing()
        total += (1 - self.betas[-2]) * at.log_weight
        back = zip(self.steps, self.betas, self.betas[1:], strict=False)
        for step, before, beta in reversed(list(back)):
            at, _ = self._moved(at, beta, step)
            total += (beta - before) * at.log_weight
        return math.log(len(total)) - (-total).logsumexp(0)  # eq: bidirectional

    def _found_start(self) -> Law:
        if self.walk.start == "prior":
            return self.prior
        q = self.vae.encode(self.x, self.context)
        if self.walk.refine:
            given = {"context": self.context, "floats": floats_per_decode(self.vae)}
            q = refine(self.vae, self.x, q, self.prior, steps=self.walk.refine, **given)
        if isinstance(q, DiagonalGaussian | FullGaussian | Hierarchy):
            return q
        z = q.sample(torch.Size((_DRAWN,)))
        return DiagonalGaussian(z.mean(0), z.var(0).log())

    def _found_steps(self) -> list[Tensor]:
        """The size of a step of each row at each temperature between the first and the last, (B, D) each."""
        unit = _spread(self.start).expand(len(self.x), -1)
        size = torch.full_like(unit[:, :1], _FIRST_STEP)
        at = self._place(self._first(_PILOTS))
        steps = []
        for beta in self.betas[1:-1]:
            for _ in range(_TRIES):
                at, share = self._moved(at, beta, size * unit)
                change = _PACE * (share.mean(0) - _WANTED).to(size)
                size = (size * change.exp()[:, None]).clamp(_LEAST_STEP, _MOST_STEP)
            steps.append(size * unit)
        return steps

    def _moved(self, at: "_Place", beta: float, step: Tensor) -> tuple["_Place", Tensor]:
        """Where chains are after one proposal at a temperature, and how likely it was accepted, (L, B)."""
        visited = [at]

        def slope(z: Tensor) -> Tensor:
            if z is not at.z:
                visited.append(self._place(z))
            return visited[-1].slope(beta)

        momentum = draws.normal(at.z.shape, axis=1, like=at.z)
        _, later = leapfrog(slope, at.z, momentum, step, self.walk.leaps)
        end = visited[-1]
        kinetic = (momentum.square() - later.square()).double().sum(-1) / 2
        rise = end.log_density(beta) - at.log_density(beta)
        share = (rise + kinetic).clamp(max=0).exp().nan_to_num(0.0)
        is_accepted = draws.uniform(share.shape, axis=1, like=share) < share
        return at.moved(end, is_accepted), share

    def _place(self, z: Tensor) -> "_Place":
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            log_start = self.start.log_prob(z)
            (of_start,) = torch.autograd.grad(log_start.sum(), z)
            weights = weights_of(
                self.vae, self.x, z, log_start.detach(), context=self.context, p=self.prior
            )
            (of_joint,) = torch.autograd.grad(weights.log_weight.sum(), z)
        return _Place(
            z.detach(), log_start.detach(), weights.log_weight.detach(), of_start, of_joint
        )

    def _first(self, chains: int) -> Tensor:
        rows = () if self.start.batch_shape else (len(self.x),)
        return self.start.sample(torch.Size((chains, *rows)))

    def _nothing(self) -> Tensor:
        shape = self.walk.chains, len(self.x)
        return torch.zeros(shape, dtype=torch.float64, device=self.x.device)


def _spread(start: Law) -> Tensor:
    """Standard deviations of every latent, (D,) or (B, D)."""
    if isinstance(start, DiagonalGaussian | FullGaussian):
        return start.stddev
    return start.sample(torch.Size((_DRAWN,))).std(0)


def _rows_at_once(vae: VAE, walk: Walk) -> int:
    return max(1, _FLOATS_AT_ONCE // (floats_per_decode(vae) * walk.chains))
