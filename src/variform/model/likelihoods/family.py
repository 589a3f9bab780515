"""What all likelihoods share, and the formulas of their parts."""

import math
from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn

from variform.config.choices import LikelihoodName, Support
from variform.config.model import ModelConfig
from variform.data.marginals import Marginals
from variform.data.schema import Schema
from variform.distributions.law import LOG_2_PI, Law

Step = dict[str, Any]
"""What is done to the numbers of every example: an `op` and its fields; export/lowering.py has the table of them."""
MOST_LOG = 87.0
"""Of the logarithm of a number above 0: e^87 and e^-87 are float32, whose ends are e^88.7 and e^-87.3."""
MOST = 30.0
"""Of a log-rate: e^30 is far beyond the counts that float32 tells apart, and its square is still finite."""


class Likelihood(nn.Module):
    """What all likelihoods share: a family turns the decoder's output into p(x|z), and says what others ask of it.

    Every fact but `forward` has a default; a family states those that are otherwise with it. A class that inherits from
    a family inherits its facts, and states anew what its own law changes.

    Args:
        event_shape: Shape of one example.
    """

    is_density = True
    """Whether p(x|z) is a density, which has the unit 1 / unit of x, and no probability."""
    support: Support = "real"
    """Which values x may have."""
    takes_categories = False
    """Whether columns may hold categories."""
    is_gaussian = False
    """Whether p(x|z) is a Gaussian with independent dimensions: then -log p(x|z) is made of squares, PCA and factor
    analysis are such models with linear networks, and `min_std` is a number."""
    min_std = 0.0
    """Of a Gaussian: its least standard deviation, in the units the model sees."""
    has_one_variance = False
    """Whether one number is the variance, or the scale, of all dimensions."""
    learns_variance = True
    """Whether the variance comes from training, where there is one to choose."""
    fits_batch = False
    """Whether log p(x|z) in training is that of parameters that are the optimum for the batch."""
    richer: tuple[str, LikelihoodName] | None = None
    """What independent dimensions have and this family has not, and the likelihood that has it."""

    param_name = "parameters"
    """What the decoder's numbers are, in the plural, where they are all of one kind."""

    def __init__(self, event_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.event_shape = tuple(event_shape)

    @classmethod
    def of(cls, schema: Schema, config: ModelConfig, **options: Any) -> Self:
        """The likelihood of such data.

        Args:
            schema: What the data are.
            config: The model's configuration, for a family that has an option of its own there.
            options: Those of `LIKELIHOODS`.

        Raises:
            ValueError: when the data lack what the family needs.
        """
        del config
        return cls(schema.shape, **options)

    @property
    def measures(self) -> str:
        """What log p(x) is of. Numbers of nats may be compared where this is the same.

        Example:
            >>> from variform.model.likelihoods import PoissonLikelihood
            >>> PoissonLikelihood((4,)).measures
            'a probability of counts'
        """
        values = {
            "real": "real numbers",
            "unit": "values in [0, 1]",
            "levels": "discrete levels",
            "counts": "counts",
        }
        kind = "density" if self.is_density else "probability"
        return f"a {kind} of {values[self.support]}"

    @property
    def params_shape(self) -> tuple[int, ...]:
        """What the decoder must give per example."""
        return self.event_shape

    @property
    def structure(self) -> str:
        """Which of the lecture's three structures it is, in a few words; "" for none of them."""
        return ""

    @property
    def param_counts(self) -> dict[str, int]:
        """What the decoder's numbers are, in the order of the params, and how many of each kind.

        Example:
            >>> from variform.model.likelihoods import GaussianLikelihood
            >>> GaussianLikelihood((1, 8, 8), variance="learned").param_counts
            {'means': 64, 'log-variances': 64}
        """
        return {self.param_name: math.prod(self.params_shape)}

    def extra_repr(self) -> str:
        """Shown when the module is printed: the shape of an example and the family's options."""
        names = ("event_shape", "variance", "levels")
        return ", ".join(f"{name}={getattr(self, name)}" for name in names if hasattr(self, name))

    def forward(self, params: Tensor) -> Law:
        """The law that `params` (*batch, *params_shape) describe."""
        raise NotImplementedError(
            f"a likelihood must say what law it gives; {type(self).__name__} has no forward."
        )

    def start_at(self, mean: Tensor, variance: Tensor) -> Tensor:
        """The params at which p(x|z) has the training data's mean; zeros for a family that does not know them.

        Args:
            mean: Of the prepared training rows, (*event).
            variance: Likewise.

        Shape:
            (*params_shape).
        """
        del variance
        return mean.new_zeros(self.params_shape)

    @staticmethod
    def times(params: Tensor, log_size: Tensor) -> Tensor:
        """The params (B, *params_shape) with means of counts that are e to `log_size`, (B,), times as large.

        Raises:
            NotImplementedError: for a family that is not one of counts.
        """
        raise NotImplementedError("only the means of counts have a size factor.")

    def start_at_noise(self, mean: Tensor, noise: Tensor) -> Tensor:
        r"""The params at which a Gaussian is $N(\mu, \Psi)$ with a diagonal $\Psi$, as exactly as the family can.

        Args:
            mean: $\mu$, (*event).
            noise: The diagonal of $\Psi$, likewise; twice the least variance or more.

        Shape:
            (*params_shape), flat.

        Raises:
            NotImplementedError: for a family that is not Gaussian.
        """
        raise NotImplementedError(
            f"only a Gaussian starts at factor analysis; {type(self).__name__} is none."
        )

    def independent(self, rows: Marginals) -> Law | None:
        """The trivial model: the law of independent dimensions that fits training rows, None where it is not known.

        Args:
            rows: What is known of every dimension of the training rows.

        Shape:
            A law over vectors (D,) of flat examples, without a batch.
        """
        del rows
        return None

    def mean_steps(self) -> list[Step] | None:
        """The steps from params (B, *params_shape) to the mean of p(x|z), (B, *event); None where there are none.

        Of the table in export/lowering.py these may be used: map, add, multiply, clip, take, reshape, dense, gate,
        continuous-bernoulli, continuous-bernoulli-variance, levels, branches. Arrays are tensors or numbers here.
        Constants of a formula come with its step: the programs that run the steps hold none.

        Example:
            >>> from variform.model.likelihoods import PoissonLikelihood
            >>> PoissonLikelihood((4,)).mean_steps()
            [{'op': 'clip', 'low': -inf, 'high': 30.0}, {'op': 'map', 'function': 'exp'}]
        """
        return None

    def spread_steps(self) -> list[Step] | None:
        """The steps from params to the standard deviation of every value under p(x|z); else as `mean_steps`.

        Example:
            >>> from variform.model.likelihoods import GaussianLikelihood
            >>> GaussianLikelihood((4,), variance="identity").spread_steps()
            [{'op': 'multiply', 'value': 0.0}, {'op': 'add', 'value': 1.0}]
        """
        return None

    def density_steps(self) -> list[Step] | None:
        """The steps from params and values to the log-density of every value under p(x|z); else as `mean_steps`.

        What they take is flat, the P numbers of params and behind them the D values of a row, (B, P + D); they give
        (B, D). Of a value that is missing (NaN) any number may come. To the steps of a mean come: product, and levels
        of log-sum-exp and total.

        Example:
            >>> from variform.model.likelihoods import BernoulliLikelihood
            >>> [step["op"] for step in BernoulliLikelihood((4,)).density_steps()]
            ['branches']
        """
        return None

    def params_at(self, first: int = 0, last: int | None = None) -> Step:
        """The step of `density_steps` that takes params from `first` to before `last`, by default all."""
        last = math.prod(self.params_shape) if last is None else last
        return {"op": "take", "places": list(range(first, last))}

    def values(self) -> Step:
        """The step of `density_steps` that takes the values."""
        params = math.prod(self.params_shape)
        size = math.prod(self.event_shape)
        return {"op": "take", "places": list(range(params, params + size))}


def product(*factors: list[Step]) -> list[Step]:
    """The product of what two branches give, number by number."""
    joined: Step = {"op": "branches", "branches": list(factors), "join": "concatenate"}
    return [joined, {"op": "product"}]


def total(*terms: list[Step]) -> Step:
    """The sum of what branches give, number by number."""
    return {"op": "branches", "branches": list(terms), "join": "sum"}


def gaussian_steps(value: list[Step], mean: list[Step], log_var: Tensor) -> list[Step]:
    r"""$\log N(x; \mu, \sigma^2)$ of what two branches give, with a variance that is known."""
    minus: Step = {"op": "multiply", "value": -1.0}
    return [
        total(value, [*mean, minus]),
        {"op": "multiply", "value": (-log_var / 2).exp()},
        {"op": "map", "function": "square"},
        {"op": "multiply", "value": -0.5},
        {"op": "add", "value": -(log_var + LOG_2_PI) / 2},
    ]


def at_atoms(places: list[int], atoms: Tensor, width: Tensor) -> list[Step]:
    """1 where a value is within the width of an atom: where half the square of their ratio is below 1/2."""
    least = torch.finfo(torch.float32).tiny
    return [
        {"op": "take", "places": places},
        {"op": "add", "value": -atoms},
        {"op": "multiply", "value": 0.5**0.5 / width.double().clamp_min(least)},
        {"op": "map", "function": "square"},
        {"op": "map", "function": "step"},
        {"op": "map", "function": "is-zero"},
    ]


def where_above(value: list[Step]) -> list[Step]:
    """0 where a value is above 0, and minus infinity, the logarithm of no density, elsewhere."""
    return [
        *value,
        {"op": "clip", "low": 0.0, "high": math.inf},
        {"op": "map", "function": "is-zero"},
        {"op": "multiply", "value": -1.0},
        {"op": "add", "value": 1.0},
        {"op": "map", "function": "log"},
    ]


def promoted(params: Tensor) -> Tensor:
    """At least float32: a density in half precision loses the constants."""
    return params.to(torch.promote_types(params.dtype, torch.float32))


def floored(raw_log_var: Tensor, min_std: float) -> Tensor:
    """A log-variance above that of the least standard deviation."""
    return torch.logaddexp(raw_log_var, raw_log_var.new_tensor(2 * math.log(min_std)))


def solved(
    increasing: Callable[[Tensor], Tensor], value: Tensor, low: float, high: float
) -> Tensor:
    """The arguments in [low, high] at which the function is nearest to `value`, by bisection."""
    lower, upper = torch.full_like(value, low), torch.full_like(value, high)
    for _ in range(50):
        middle = (lower + upper) / 2
        is_below = increasing(middle) < value
        lower, upper = torch.where(is_below, middle, lower), torch.where(is_below, upper, middle)
    return (lower + upper) / 2
