"""Laws made of laws: mixtures, columns of different kinds, data with gaps, and laws of torch."""

import functools
import math
import operator
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.nn import functional

from variform.distributions.gaussian import DiagonalGaussian, over_std
from variform.distributions.law import LOG_2_PI, Law, Shape
from variform.system import draws


class Mixture(Law):
    r"""A mixture of K laws, $p(z) = \sum_k \pi_k\, p_k(z)$.

    $\log p(z) = \log \sum_k \exp [\log \pi_k + \log p_k(z)]$, with the largest term taken out of the sum.

    Args:
        components: A law over vectors whose batch (K,) holds the components.
        logits: (K,); $\pi$ is their softmax.

    Shape:
        `sample((N,))` is (N, D), each draw from a component of its own; `log_prob` is (*sample,), in nats.

    Reference:
        Bishop (2006), equation 2.188.

    Example:
        >>> law = Mixture(DiagonalGaussian(torch.tensor([[-1.0], [1.0]]), torch.zeros(2, 1)), torch.zeros(2))
        >>> round(law.log_prob(torch.zeros(1)).item(), 4)
        -1.4189
    """

    def __init__(self, components: Law, logits: Tensor) -> None:
        super().__init__(components.event_shape, 1)
        self.components, self.log_weights = components, logits.log_softmax(-1)
        self._by_differences = isinstance(components, DiagonalGaussian) and _cancels(components)

    @property
    def mean(self) -> Tensor:
        """The mean, (D,)."""
        return self.log_weights.exp() @ self.components.mean

    @property
    def variance(self) -> Tensor:
        """The variance of every dimension, (D,): within the components and between their means."""
        within = self.components.variance + (self.components.mean - self.mean).square()
        return self.log_weights.exp() @ within

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        """Draws: first the component of each by its weight, then from that component; not differentiable."""
        with torch.no_grad():
            share = self.log_weights.exp().cumsum(-1)
            height = (
                draws.uniform(tuple(sample_shape), axis=max(0, len(sample_shape) - 1), like=share)
                * share[-1]
            )
            chosen = torch.searchsorted(share, height, right=True).clamp_max(len(share) - 1)
            return self.components.rows(chosen).sample()

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density at `value`, in nats."""
        if isinstance(self.components, DiagonalGaussian):
            each = _log_prob_of_pairs(self.components, value, by_differences=self._by_differences)
        else:
            each = self.components.log_prob(value.unsqueeze(-2))
        return (self.log_weights + each).logsumexp(-1)  # eq: mixture


_MOST_LOST = 1e-7  # nats that may cancel in a log-density


def _exact(dtype: torch.dtype, device: torch.device) -> torch.dtype:
    """The precision in which sums that cancel are taken; Apple's GPUs have no double one."""
    return dtype if device.type == "mps" else torch.float64


def _cancels(law: DiagonalGaussian) -> bool:
    """Whether components are so narrow that their distances are lost in `_log_prob_of_pairs` by matrix products.

    A compiled step has no way to ask; there products must do.
    """
    if torch.compiler.is_compiling():
        return False
    squares = (1 + law.loc.detach().square().amax()).log() - law.log_var.detach()
    return bool(
        (
            squares > math.log(_MOST_LOST / torch.finfo(_exact(law.loc.dtype, law.loc.device)).eps)
        ).any()
    )


def _log_prob_of_pairs(law: DiagonalGaussian, value: Tensor, *, by_differences: bool) -> Tensor:
    """Log-densities of all points (*sample, D) under all K rows of `law`, (*sample, K).

    By matrix products, which need no (*sample, K, D). Their sums cancel where variances are small, so they are taken in
    double precision, which costs little at these sizes; where that is not enough, by one dimension after the other.
    """
    exact = _exact(value.dtype, value.device)
    z, mean, log_var = (
        part.to(exact) for part in (value, law.mean, law.log_var.expand(law.mean.shape))
    )
    if by_differences:
        columns = zip(z.unbind(-1), mean.unbind(-1), log_var.unbind(-1), strict=True)
        distance = functools.reduce(
            operator.add, (over_std(a.unsqueeze(-1) - b, c).square() for a, b, c in columns)
        )
    else:
        precision = (-log_var).exp()
        distance = (
            z.square() @ precision.mT
            - 2 * z @ (precision * mean).mT
            + (precision * mean.square()).sum(-1)
        )
    constant = log_var.sum(-1) + LOG_2_PI * mean.shape[-1]
    return -0.5 * (distance + constant).to(torch.promote_types(value.dtype, law.loc.dtype))


class Observed(Law):
    """A law of data whose entries may be missing: NaN in a value adds nothing to its log-density.

    Args:
        law: The law of whole values, with independent entries.

    Example:
        >>> from variform.distributions.gaussian import StandardNormal
        >>> law = Observed(StandardNormal(2))
        >>> round(law.log_prob(torch.tensor([0.0, torch.nan])).item(), 4)
        -0.9189
    """

    def __init__(self, law: Law) -> None:
        super().__init__(law._extended_shape(), len(law.event_shape))
        self.law = law

    @property
    def mean(self) -> Tensor:
        """The mean of the law."""
        return self.law.mean

    @property
    def variance(self) -> Tensor:
        """The variance of the law."""
        return self.law.variance

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        """Whole values."""
        return self.law.sample(sample_shape)

    def log_prob_per_entry(self, value: Tensor) -> Tensor:
        """Log-density of every entry of a whole value, in nats."""
        return self.law.log_prob_per_entry(value)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density of what is observed, event summed, in nats."""
        return self.law.log_prob_observed(value)


class Independent(Law):
    """A law of torch with independent entries as a law of ours, which knows the density of each and of rows with gaps.

    Args:
        law: A distribution of single numbers whose batch is (*batch, *event), with `validate_args=False`.
        event_dims: How many trailing axes form the event.

    Example:
        >>> law = Independent(torch.distributions.Laplace(torch.zeros(2), 1.0, validate_args=False))
        >>> [round(law.log_prob_observed(torch.tensor([1.0, other])).item(), 4) for other in (0.0, torch.nan)]
        [-2.3863, -1.6931]
    """

    def __init__(self, law: Distribution, event_dims: int = 1) -> None:
        super().__init__(law.batch_shape, event_dims)
        self.law = law

    @property
    def mean(self) -> Tensor:
        """The mean of every entry."""
        return self.law.mean

    @property
    def variance(self) -> Tensor:
        """The variance of every entry."""
        return self.law.variance

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        """Draws; not differentiable."""
        return self.law.sample(torch.Size(sample_shape))

    def log_prob_per_entry(self, value: Tensor) -> Tensor:
        """Log-density of every entry, in nats."""
        return self.law.log_prob(value)

    def _log_within(self, low: Tensor, high: Tensor) -> Tensor:
        """By torch's distribution function, where the law has one."""
        share = self.law.cdf(high) - self.law.cdf(low)
        return share.clamp_min(torch.finfo(share.dtype).tiny).log()


class Spiked(Law):
    r"""Independent numbers, each of which is one of some values exactly, its atoms, or else follows a law.

    With logits $b_1, \ldots, b_A$ of an entry, atoms $s_1, \ldots, s_A$ and a density f:

    $P(x = s_k) = \sigma(b_k) \prod_{j < k} \sigma(-b_j)$, and elsewhere the density
    $\prod_j \sigma(-b_j)\, f(x)$.

    Is it the first atom? If not, is it the second? If none, it is a draw from f. `log_prob` is the logarithm of the
    density with respect to the Lebesgue measure and a point mass of one at each atom: at an atom a probability, which
    has no unit, elsewhere a density.

    Args:
        law: f, over vectors (*batch, D).
        logits: b, (*batch, A, D).
        atoms: s, (A, D), NaN where an entry has fewer of them.
        width: How far a value may be from an atom to be that atom, (A, D): the rounding of the values.

    Reference:
        Aitchison (1955), for one atom at 0; Agresti (2013), section 8.3.4, for the logits of one after the other.

    Example:
        >>> from variform.distributions.gaussian import StandardNormal
        >>> law = Spiked(StandardNormal(1), torch.zeros(1, 1), torch.tensor([[5.0]]), torch.zeros(1, 1))
        >>> [round(law.log_prob(torch.tensor([value])).exp().item(), 4) for value in (5.0, 0.0)], law.mean
        ([0.5, 0.1995], tensor([2.5000]))
    """

    def __init__(self, law: Law, logits: Tensor, atoms: Tensor, width: Tensor) -> None:
        super().__init__(law._extended_shape(), 1)
        self.law, self.logits, self.width = law, logits, width
        self.exists, self.atoms = ~atoms.isnan(), atoms.nan_to_num()

    @property
    def mean(self) -> Tensor:
        """The mean of atoms and law together."""
        return self._expected(self.atoms, self.law.mean)

    @property
    def variance(self) -> Tensor:
        """The variance of atoms and law together."""
        mean = self.mean
        from_mean = self.law.variance + (self.law.mean - mean).square()
        squares = (self.atoms - mean.unsqueeze(-2)).square()
        return self._expected(squares, from_mean)

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        """Draws, of which many are exactly an atom; not differentiable."""
        with torch.no_grad():
            draw = self.law.sample(torch.Size(sample_shape))
            for place in reversed(range(len(self.atoms))):
                share = draws.uniform(draw.shape, axis=len(sample_shape), like=draw)
                is_atom = share < torch.sigmoid(self.logits[..., place, :])
                draw = torch.where(is_atom & self.exists[place], self.atoms[place], draw)
            return draw

    def log_prob_per_entry(self, value: Tensor) -> Tensor:
        """Log-density of every entry with respect to the mixed measure, in nats."""
        distance = (value.unsqueeze(-2) - self.atoms).abs()
        is_atom = (distance <= self.width) & self.exists
        is_atom = is_atom & (
            is_atom.cumsum(-2) == 1
        )  # the first of atoms that rounding cannot tell apart
        log_passed = functional.logsigmoid(-self.logits).masked_fill(~self.exists, 0)
        log_reached = log_passed.cumsum(-2) - log_passed  # of each atom, that none before it was
        log_atom = functional.logsigmoid(self.logits) + log_reached
        at_atom = torch.where(is_atom, log_atom, 0.0).sum(-2)
        elsewhere = log_passed.sum(-2) + self.law.log_prob_per_entry(value)
        return torch.where(is_atom.any(-2), at_atom, elsewhere)  # eq: spiked

    def _log_within(self, low: Tensor, high: Tensor) -> Tensor:
        """The atoms in the range and, where none was taken, the law there."""
        total = self.law._log_within(low, high)
        for place in reversed(range(len(self.atoms))):
            atom, logit = self.atoms[place], self.logits[..., place, :]
            rounding = self.width[place] / 2
            is_inside = (low - rounding <= atom) & (atom <= high + rounding)
            passed = functional.logsigmoid(-logit) + total
            joined = torch.logaddexp(functional.logsigmoid(logit), passed)
            total = torch.where(self.exists[place], torch.where(is_inside, joined, passed), total)
        return total

    def _expected(self, of_atoms: Tensor, of_law: Tensor) -> Tensor:
        """The expectation of what is known at each atom, (*batch, A, D), and of the law, (*batch, D)."""
        expected = of_law
        for place in reversed(range(len(self.atoms))):
            share = torch.sigmoid(self.logits[..., place, :])
            joined = share * of_atoms[..., place, :] + (1 - share) * expected
            expected = torch.where(self.exists[place], joined, expected)
        return expected


class Mixed(Law):
    r"""Independent columns, each with a law of its own, $\log p(x) = \sum_d \log p_d(x_d)$.

    Each law is that of a column (`Law.as_column`): where it is `Categorical`, the column holds numbers of categories
    0, 1, ..., K - 1, and its mean is the likeliest one.

    Args:
        laws: Laws over vectors (*batch, some columns) that share their columns out.
        order: The columns of the first law, then of the second, and so on, (D,) int64.

    Example:
        >>> from variform.distributions.gaussian import StandardNormal
        >>> from variform.distributions.pixels import Categorical
        >>> law = Mixed([StandardNormal(1), Categorical(torch.zeros(3, 1))], torch.tensor([1, 0]))
        >>> [round(law.log_prob(torch.tensor([first, 0.0])).item(), 3) for first in (2.0, torch.nan)]
        [-2.018, -0.919]
    """

    def __init__(self, laws: Sequence[Law], order: Tensor) -> None:
        super().__init__(torch.Size((*laws[0].batch_shape, len(order))), 1)
        self.laws, self.order = [law.as_column() for law in laws], order

    @property
    def mean(self) -> Tensor:
        """The mean of every column, of categories the likeliest one."""
        return self._joined([law.mean for law in self.laws])

    @property
    def variance(self) -> Tensor:
        """The variance of every column, of categories that of their numbers."""
        return self._joined([law.variance for law in self.laws])

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        """Draws that have the types of the columns: whole counts, numbers of categories."""
        return self._joined([law.sample(sample_shape) for law in self.laws])

    def log_prob_per_entry(self, value: Tensor) -> Tensor:
        """Log-density or log-probability of every column, in nats."""
        widths = [law.event_shape[0] for law in self.laws]
        parts = value.index_select(-1, self.order).split(widths, -1)
        pairs = zip(self.laws, parts, strict=True)
        return self._joined([law.log_prob_per_entry(part) for law, part in pairs])  # eq: mixed

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density of the columns that are not missing (NaN), in nats."""
        return self.log_prob_observed(value)

    def log_within(self, low: Tensor, high: Tensor) -> Tensor:
        """Of each column by its law; a law that knows no ranges is not asked where none is wanted."""
        widths = [law.event_shape[0] for law in self.laws]
        lows, highs = (end.index_select(-1, self.order).split(widths, -1) for end in (low, high))
        triples = zip(self.laws, lows, highs, strict=True)
        return self._joined([law.log_within(*ends) for law, *ends in triples])

    def _joined(self, parts: Sequence[Tensor]) -> Tensor:
        return torch.cat(list(parts), -1).index_select(-1, self.order.argsort())


class Within(Law):
    r"""A law of rows of which some entries are known to lie in a range: there its draws lie.

    With the ranges $[a_r, b_r]$ of the entries r, and a value whose entries o are observed:
    $\log p(x_o, a \le x_r \le b) = \sum_o \log p_o(x_o) + \sum_r \log P(a_r \le x_r \le b_r)$.

    Args:
        law: The law of whole values, with independent entries.
        low: a, (D,); NaN for entries without a range.
        high: b, likewise.

    Example:
        >>> from variform.distributions.gaussian import StandardNormal
        >>> nothing = torch.tensor([torch.nan])
        >>> law = Within(StandardNormal(1), torch.tensor([1.0]), torch.tensor([2.0]))
        >>> round(law.log_prob_observed(nothing).exp().item(), 4), round(law.mean.item(), 4)
        (0.1359, 1.3364)
    """

    def __init__(self, law: Law, low: Tensor, high: Tensor) -> None:
        super().__init__(law._extended_shape(), 1)
        self.law, self.low, self.high = law, low, high

    @property
    def mean(self) -> Tensor:
        """The mean of the law, and in a range the median of what lies there."""
        return self._in_ranges(self.law.mean, torch.tensor(0.5).to(self.low))

    @property
    def variance(self) -> Tensor:
        """The variance of the law, which knows of no range."""
        return self.law.variance

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        """Draws of which the entries with a range lie there; not differentiable."""
        with torch.no_grad():
            draw = self.law.sample(torch.Size(sample_shape))
            share = draws.uniform(draw.shape, axis=len(sample_shape), like=draw)
            return self._in_ranges(draw, share)

    def log_prob_per_entry(self, value: Tensor) -> Tensor:
        """Log-density of every entry of a whole value under the law, in nats."""
        return self.law.log_prob_per_entry(value)

    def log_prob_observed(self, value: Tensor) -> Tensor:
        """Log-density of what is observed, and that the ranges hold."""
        in_ranges = self.law.log_within(self.low, self.high)
        return self.law.log_prob_observed(value) + self._sum_event(in_ranges)

    def _in_ranges(self, value: Tensor, share: Tensor) -> Tensor:
        """`value`, and in each range where that share of the probability lies below, by bisection."""
        log_share = share.log() + self.law.log_within(self.low, self.high)
        lower = self.low.nan_to_num().expand(value.shape)
        upper = self.high.nan_to_num().expand(value.shape)
        is_ranged = ~self.low.isnan()
        for _ in range(_HALVINGS):
            middle = torch.where(is_ranged, (lower + upper) / 2, torch.nan)
            is_below = self.law.log_within(self.low.expand(value.shape), middle) < log_share
            lower, upper = (
                torch.where(is_below, middle, lower),
                torch.where(is_below, upper, middle),
            )
        return torch.where(is_ranged, upper, value)


_HALVINGS = 40
