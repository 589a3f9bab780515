"""Bayesian optimisation: the only importer of botorch and gpytorch."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from botorch.acquisition import AcquisitionFunction
from botorch.acquisition.logei import qLogNoisyExpectedImprovement
from botorch.acquisition.multi_objective.logei import qLogNoisyExpectedHypervolumeImprovement
from botorch.acquisition.multi_objective.objective import IdentityMCMultiOutputObjective
from botorch.acquisition.objective import GenericMCObjective
from botorch.acquisition.preference import qExpectedUtilityOfBestOption
from botorch.exceptions.errors import ModelFittingError
from botorch.fit import fit_gpytorch_mll
from botorch.models import ModelListGP, PairwiseGP, SingleTaskGP
from botorch.models.pairwise_gp import PairwiseLaplaceMarginalLogLikelihood
from botorch.models.transforms import Standardize
from botorch.optim import optimize_acqf, optimize_acqf_discrete
from botorch.sampling import SobolQMCNormalSampler
from botorch.utils.multi_objective.hypervolume import Hypervolume
from gpytorch.constraints import GreaterThan
from gpytorch.likelihoods import GaussianLikelihood
from gpytorch.mlls import ExactMarginalLogLikelihood
from gpytorch.priors import LogNormalPrior
from torch import Tensor

from variform.design.request import Request
from variform.design.told import Told, most_telling, non_dominated
from variform.system.draws import seeded

Array = np.ndarray[Any, np.dtype[Any]]

_FIT = {"maxiter": 50, "ftol": 1e-6}
_SEARCH: dict[str, bool | float | int | str] = {
    "maxiter": 25,
    "sample_around_best": True,
    # Each start is a problem of its own. With a SciPy that is newer than BoTorch knows (0.18.1 knows 1.17) it would
    # else make one of all, whose steps may worsen one start for another's sake.
    "max_optimization_problem_aggregation_size": 1,
}
# Of the log of the noise's variance, in units of the response's: most evaluators repeat themselves, and with BoTorch's
# own prior, -4 and 1, the last percent before the optimum of Branin's function is taken for noise.
_NOISE = (-9.0, 2.0)
_LEAST_NOISE = 1e-6
_MOST = 400  # points that a process is fitted to: time grows with their cube
_LOOKED_AT = 20  # points of a pool for each that is to be chosen
_SAMPLES = 64  # of the joint posterior, quasi-random
_FAR = 3.0  # interquartile ranges beyond the worse quartile, where a value is Tukey's "far out"


def best_in_box(request: Request) -> Array:
    """The points of the space's box with the greatest expected gain, one after the other, (count, dim)."""
    unit = _Unit(*request.space.box)
    with _quiet(), seeded(_number(request.stream)):
        return unit.back(_greatest(_expected_gain(unit, request), request))


def _greatest(gain: AcquisitionFunction, request: Request) -> Tensor:
    """Where in the unit cube a gain is greatest, one point after the other, (count, dim)."""
    bounds = torch.zeros(2, request.space.dim, dtype=torch.float64)
    bounds[1] = 1
    points, _ = optimize_acqf(
        gain,
        bounds,
        q=request.count,
        num_restarts=4,
        raw_samples=128,
        sequential=True,
        options=_SEARCH,
    )
    return points


def best_of(points: Array, request: Request) -> Array:
    """The rows of (n, dim) points with the greatest expected gain, one after the other, (count, dim)."""
    unit = _Unit(*request.space.box)
    with _quiet(), seeded(_number(request.stream)):
        return _greatest_of(points, _expected_gain(unit, request), unit, request.count)


def _greatest_of(points: Array, gain: AcquisitionFunction, unit: "_Unit", count: int) -> Array:
    """The points whose gain is greatest, one after the other.

    What a point adds to others is at most what it gains alone, so only those that gain most are looked at again.
    """
    choices = unit.of(points)
    if count > 1:
        with torch.no_grad():
            alone = gain(choices[:, None])
        choices = choices[alone.topk(min(len(choices), _LOOKED_AT * count)).indices]
    chosen, _ = optimize_acqf_discrete(gain, count, choices, unique=True)
    rows = torch.cdist(chosen, unit.of(points)).argmin(1)
    return points[rows.numpy()]


def hypervolume(objectives: Array, reference: Array) -> float:
    """The volume that lies between the Pareto set of `objectives`, (n, m) and minimised, and the reference, (m,).

    Example:
        >>> hypervolume(np.array([[1.0, 2.0], [2.0, 1.0], [9.0, 9.0]]), np.array([3.0, 3.0]))
        3.0
    """
    better = objectives[(objectives < reference).all(1)]
    front = better[non_dominated(better)]
    if not len(front):
        return 0.0
    return Hypervolume(torch.from_numpy(-reference)).compute(torch.from_numpy(-front))


def utility(z: Array, pairs: Array, box: tuple[Array, Array]) -> "Utility":
    """The utility behind choices between points, a Gaussian process: `preference.fit_preference` says more."""
    unit = _Unit(*box)
    with _quiet(), seeded(0), _numpy_seeded():
        model = PairwiseGP(unit.of(z), torch.from_numpy(pairs))
        with suppress(ModelFittingError):
            evidence = PairwiseLaplaceMarginalLogLikelihood(model.likelihood, model)
            fit_gpytorch_mll(evidence, optimizer_kwargs={"options": _FIT})
    model.eval()
    return Utility(unit, model)


@dataclass(frozen=True)
class Utility:
    """A utility that was learned from choices.

    Args:
        unit: Of the box.
        model: Fitted to points of the unit cube.
    """

    unit: "_Unit"
    model: PairwiseGP

    def mean(self, z: Array) -> Array:
        """What is expected at points (n, d), (n,)."""
        with torch.no_grad(), _quiet(), _numpy_seeded():
            posterior: Any = self.model.posterior(self.unit.of(z))
            return posterior.mean[:, 0].numpy()

    def best(self, request: Request, points: Array) -> Array:
        """Those of (n, dim) points that let expect the greatest utility of the best one among them and what is known.

        Args:
            request: The points told are those that were compared.
            points: Of which (count, dim) are chosen.
        """
        known = request.told.z
        favourite = known[[self.mean(known).argmax()]]
        with _quiet(), seeded(_number(request.stream)), _numpy_seeded():
            gain = qExpectedUtilityOfBestOption(
                self.model,
                sampler=SobolQMCNormalSampler(torch.Size([_SAMPLES]), seed=_torch_number()),
                X_pending=self.unit.of(np.concatenate([favourite, request.pending])),
            )
            return _greatest_of(points, gain, self.unit, request.count)


@dataclass(frozen=True)
class _Unit:
    """The unit cube for a box; a side without length keeps the length 1."""

    low: Array
    high: Array

    @property
    def _width(self) -> Array:
        width = self.high - self.low
        return np.where(width > 0, width, 1.0)

    def of(self, z: Array) -> Tensor:
        return torch.from_numpy((z - self.low) / self._width)

    def back(self, unit: Tensor) -> Array:
        return (self.low + unit.numpy() * self._width).clip(self.low, self.high)


@contextmanager
def _quiet() -> Iterator[None]:
    """Inside, the libraries do not warn of fits that have trouble: what they then propose is still a proposal."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _numpy_seeded() -> Iterator[None]:
    """Inside, NumPy's global draws repeat themselves: PairwiseGP begins its search for the mode with one of them."""
    state = np.random.get_state()
    np.random.seed(0)
    try:
        yield
    finally:
        np.random.set_state(state)


def _number(stream: np.random.Generator) -> int:
    return int(stream.integers(2**31))


def _expected_gain(unit: _Unit, request: Request) -> AcquisitionFunction:
    """How much better the best feasible design, or the hypervolume, is expected to become by evaluating a point."""
    told, pending, reference = request.told, request.pending, request.reference
    told = most_telling(told, _MOST)
    valid = told.take(told.is_valid)
    goals, limits = valid.objectives.shape[1], valid.violations.shape[1]
    known = unit.of(valid.z)
    size = _size(valid.objectives)
    responses = [
        -_without_far_out(valid.objectives / size),
        valid.violations / _size(valid.violations),
    ]
    models = [_fitted(known, response) for response in np.concatenate(responses, axis=1).T]
    constraints = [_at_most_zero(goals + limit) for limit in range(limits)]
    if len(valid) < len(told):
        models.append(_fitted(unit.of(told.z), told.is_valid.astype(float)))
        constraints.append(_at_least_half(goals + limits))
    options: dict[str, Any] = {
        "model": ModelListGP(*models),
        "X_baseline": known,
        "sampler": SobolQMCNormalSampler(torch.Size([_SAMPLES]), seed=_torch_number()),
        "constraints": constraints or None,
        "X_pending": unit.of(pending) if len(pending) else None,
        "prune_baseline": True,
    }
    if goals == 1:
        return qLogNoisyExpectedImprovement(objective=GenericMCObjective(_first), **options)
    if reference is None:
        reference = _reference(valid)
    return qLogNoisyExpectedHypervolumeImprovement(
        ref_point=(-reference / size).tolist(),
        objective=IdentityMCMultiOutputObjective(outcomes=list(range(goals))),
        **options,
    )


def _fitted(known: Tensor, response: Array) -> SingleTaskGP:
    """A Gaussian process of a response, (n,), its lengths and noise those of the highest posterior density."""
    noise = GaussianLikelihood(
        noise_prior=LogNormalPrior(*_NOISE),
        noise_constraint=GreaterThan(_LEAST_NOISE, transform=None, initial_value=1e-4),
    )
    values = torch.from_numpy(response.copy())[:, None]
    model = SingleTaskGP(known, values, likelihood=noise, outcome_transform=Standardize(1))
    if np.ptp(response) > 0:
        with suppress(ModelFittingError):  # then the lengths are those of the prior
            evidence = ExactMarginalLogLikelihood(model.likelihood, model)
            fit_gpytorch_mll(evidence, optimizer_kwargs={"options": _FIT})
    return model.eval()


def _size(values: Array) -> Array:
    """The standard deviation of each column, or 1: the libraries' tolerances are of numbers of the size of 1."""
    spread = values.std(0)
    return np.where(spread > 0, spread, 1.0)


def _without_far_out(values: Array) -> Array:
    """The same columns, values that are far worse than the others made as bad as what is still no outlier."""
    better, worse = np.quantile(values, [0.25, 0.75], axis=0)
    most = np.where(worse > better, worse + _FAR * (worse - better), np.inf)
    return np.minimum(values, most)


def _reference(valid: Told) -> Array:
    """A tenth of the range beyond the worst values on the Pareto set, of the feasible points where there are some."""
    judged = valid.objectives
    if valid.is_feasible.any():
        judged = judged[valid.is_feasible]
    front = judged[non_dominated(judged)]
    worst, best = front.max(0), front.min(0)
    return worst + 0.1 * np.where(worst > best, worst - best, np.abs(worst) + 1)


def _torch_number() -> int:
    return int(torch.randint(2**31, ()))


def _first(responses: Tensor, X: Tensor | None = None) -> Tensor:
    return responses[..., 0]


def _at_most_zero(response: int) -> Callable[[Tensor], Tensor]:
    return lambda responses: responses[..., response]


def _at_least_half(response: int) -> Callable[[Tensor], Tensor]:
    return lambda responses: 0.5 - responses[..., response]
