"""What every law keeps: the shapes of its draws, and a log-density whose event is summed."""

import math

import torch
from torch import Tensor
from torch.distributions import Distribution

from variform.system import draws

LOG_2_PI = math.log(2 * math.pi)
LEAST_LOG = -1e4
"""Stands for the logarithm of 0 in probabilities of ranges, whose gradients then are numbers."""

Shape = torch.Size | list[int] | tuple[int, ...]


def joint(first: torch.Size, second: torch.Size) -> torch.Size:
    """The shape of both broadcast together.

    torch is not asked where one is the end of the other: it takes a tenth of a small step, and first imports for 0.4 s.

    Example:
        >>> joint(torch.Size([5, 3]), torch.Size([3])), joint(torch.Size([1, 3]), torch.Size([5, 1]))
        (torch.Size([5, 3]), torch.Size([5, 3]))
    """
    longer, shorter = (first, second) if len(first) >= len(second) else (second, first)
    if longer[len(longer) - len(shorter) :] == shorter:
        return longer
    return torch.broadcast_shapes(first, second)


class Law(Distribution):
    """A distribution over tensors with `event_dims` trailing event axes.

    Args:
        shape: Shape of one draw for the whole batch, (*batch, *event).
        event_dims: How many trailing axes form the event.
    """

    arg_constraints = {}  # noqa: RUF012 (torch's name for "nothing to check": shapes are checked when a VAE is built)
    is_scored = False
    """Whether gradients reach its parameters by the log-probabilities of its draws alone, not through the draws."""
    is_enumerated = False
    """Whether training sums over all of its values instead of drawing some."""
    penalty: Tensor | None = None
    """What a posterior costs in training beside the ELBO, (*batch,)."""

    def __init__(self, shape: torch.Size, event_dims: int) -> None:
        split = len(shape) - event_dims
        super().__init__(shape[:split], shape[split:], validate_args=False)
        self._event_axes = tuple(range(-event_dims, 0))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(batch_shape={tuple(self.batch_shape)}, event_shape={tuple(self.event_shape)})"

    def rsample_and_log_prob(
        self, sample_shape: Shape = (), *, stick: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Differentiable draws and their log-densities, in one call.

        A law that knows the density of a draw from its noise overrides this: then it is exact where the draw, rounded,
        no longer tells how far it is from the mean. So does one that is cheap in one direction only (a flow).

        Args:
            sample_shape: Shape of the draws.
            stick: Let gradients reach the log-densities through the draws alone, as of a law whose parameters are
                fixed ("sticking the landing"); the values are the same.

        Reference:
            Roeder, Wu and Duvenaud (2017), for `stick`.
        """
        draw = self.rsample(torch.Size(sample_shape))
        return draw, (self.detached() if stick else self).log_prob(draw)  # eq: stick-the-landing

    def log_prob_per_entry(self, value: Tensor) -> Tensor:
        """Log-density of every entry of `value`, (*sample, *batch, *event), in nats; for laws of independent entries.

        Raises:
            NotImplementedError: when the entries of the law depend on each other.
        """
        raise NotImplementedError(
            f"a log-density per entry needs independent entries; {type(self).__name__} has none. Use log_prob."
        )

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density at `value`, event summed, in nats."""
        return self._sum_event(self.log_prob_per_entry(value))

    def log_prob_observed(self, value: Tensor) -> Tensor:
        """Log-density of the entries of `value` that are not NaN; the others add 0 and pass no gradient.

        Reference:
            Rubin (1976): when the likelihood may ignore why values are missing.
        """
        missing = value.isnan()
        # Zero is a value that every law can have.
        entries = self.log_prob_per_entry(value.masked_fill(missing, 0))
        return self._sum_event(entries.masked_fill(missing, 0))  # eq: observed

    def log_within(self, low: Tensor, high: Tensor) -> Tensor:
        r"""$\log P(a \le x_d \le b)$ of every entry, (*batch, *event), in nats; 0 where no range is asked for.

        Args:
            low: a of every entry, finite, (*event); NaN where no range is asked for.
            high: b, likewise, at least a.

        Raises:
            ValueError: for a law that does not know its probability of a range.
        """
        is_asked = ~low.isnan()
        if not is_asked.any():
            return low.new_zeros(self._extended_shape())
        # Where none is asked for, a harmless range stands: the gradient of NaN, times 0, would be NaN.
        entries = self._log_within(low.masked_fill(~is_asked, 0), high.masked_fill(~is_asked, 1))
        return torch.where(is_asked, entries, 0.0)  # eq: within

    def _log_within(self, low: Tensor, high: Tensor) -> Tensor:
        """`log_within` of ranges that are all asked for."""
        raise ValueError(
            f"a range needs a law that knows its probability; {type(self).__name__} does not. Give a value instead."
        )

    def _log_within_whole(self, low: Tensor, high: Tensor, most: float = math.inf) -> Tensor:
        """`_log_within` of a law of the whole numbers from 0 to `most`: the sum over those in the range."""
        total = low.new_full(self._extended_shape(), LEAST_LOG)
        first, last = max(0, low.min().item()), min(most, high.max().item())
        for number in range(math.ceil(first), math.floor(last) + 1):
            is_inside = (low <= number) & (number <= high)
            entries = self.log_prob_per_entry(torch.full_like(low, number))
            total = torch.logaddexp(total, entries.masked_fill(~is_inside, LEAST_LOG))
        return total

    def as_column(self) -> "Law":
        """The law of columns of a table of several kinds: of values as such a table holds them."""
        return self

    def detached(self) -> "Law":
        """The same law, through whose parameters no gradient passes, for sticking-the-landing gradients.

        Raises:
            NotImplementedError: for a law that is no posterior.

        Reference:
            Roeder, Wu and Duvenaud (2017).
        """
        raise NotImplementedError(
            f"{type(self).__name__} has no detached form: it is not made for a posterior."
        )

    def rows(self, index: Tensor) -> "Law":
        """The law whose batch is made of the rows `index` of this one's only batch axis.

        Args:
            index: Row numbers, of any shape, which becomes the shape of the batch.

        Raises:
            NotImplementedError: for a law that is no posterior.
        """
        raise NotImplementedError(
            f"{type(self).__name__} has no rows: it is not made for a posterior."
        )

    def _noise(self, sample_shape: Shape, like: Tensor) -> Tensor:
        """Draws from N(0, 1) in the shape of a sample; the rows of a law without a batch are its samples."""
        axis = len(sample_shape) if self.batch_shape else max(0, len(sample_shape) - 1)
        return draws.normal(self._extended_shape(torch.Size(sample_shape)), axis=axis, like=like)

    def _sum_event(self, values: Tensor) -> Tensor:
        return values.sum(self._event_axes)


def only_gradient(parameter: Tensor) -> Tensor:
    """Zeros through which gradients reach the parameter.

    Example:
        >>> only_gradient(torch.tensor(3.0))
        tensor(0.)
    """
    return parameter - parameter.detach()
