"""Laws over codes: each of C codes takes one of V values, and z holds the place of each value, one after another."""

import math
from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from variform.distributions.law import Law, Shape
from variform.system import draws

MOST_ENUMERATED = 4096
"""Most values of all codes together over which log p(x) is summed exactly."""
_FOR_MEANS = 1024  # fixed draws that stand for a law whose mean has no formula


class Coded(Law):
    """What the laws over codes have in common: where each value lies in z, and which value a point of z is.

    Without places a value is a one-hot block of z: its place is a corner of the simplex.

    Args:
        batch: Shape of the batch.
        codes: C, how many codes z holds.
        values: V, how many values each takes.
        places: Where the values lie, (V, E), or (C, V, E) where that differs between codes; None for one-hot blocks.
    """

    has_rsample = True

    def __init__(
        self, batch: torch.Size, codes: int, values: int, places: Tensor | None = None
    ) -> None:
        width = values if places is None else places.shape[-1]
        super().__init__(torch.Size([*batch, codes * width]), 1)
        self.codes, self.values, self.places = codes, values, places

    @property
    def count(self) -> int:
        """How many z there are: V to the power C."""
        return self.values**self.codes

    @property
    def is_enumerable(self) -> bool:
        """Whether there are so few z that sums over all of them are taken."""
        return self.count <= MOST_ENUMERATED

    def every(self) -> Tensor:
        """All z there are, (V^C, D)."""
        value = torch.arange(self.values, device=self.device)
        index = torch.cartesian_prod(*[value] * self.codes).reshape(-1, self.codes)
        return self.at(index)

    @property
    def device(self) -> torch.device:
        """Where its tensors are."""
        raise NotImplementedError

    def at(self, index: Tensor) -> Tensor:
        """z of values by their numbers, (*shape, C) to (*shape, D)."""
        if self.places is None:
            return functional.one_hot(index, self.values).to(self.dtype).flatten(-2)
        return placed(index, self.places)

    def index(self, z: Tensor) -> Tensor:
        """Numbers of the values in z, (*shape, D) to (*shape, C): of points between places the nearest."""
        return nearest(z, self.codes, self.places)

    def one_hot(self, z: Tensor) -> Tensor:
        """z as one-hot blocks, (*shape, C, V); a relaxed z stays what it is."""
        if self.places is None:
            return z.unflatten(-1, (self.codes, self.values))
        return functional.one_hot(self.index(z), self.values).to(z.dtype)

    @property
    def dtype(self) -> torch.dtype:
        """The precision of its tensors."""
        raise NotImplementedError


def placed(index: Tensor, places: Tensor) -> Tensor:
    """z of values by their numbers, (*shape, C) to (*shape, C E).

    Args:
        index: Numbers of values.
        places: (V, E), or (C, V, E).

    Example:
        >>> placed(torch.tensor([[1, 0]]), torch.tensor([[-1.0], [1.0]]))
        tensor([[ 1., -1.]])
    """
    if places.ndim == 2:
        return places[index].flatten(-2)
    code = torch.arange(len(places), device=index.device).expand(index.shape)
    return places[code, index].flatten(-2)


def nearest(z: Tensor, codes: int, places: Tensor | None) -> Tensor:
    """Numbers of the values whose places are nearest, (*shape, D) to (*shape, C).

    Args:
        z: Points.
        codes: C.
        places: (V, E), or (C, V, E); None for one-hot blocks.

    Example:
        >>> nearest(torch.tensor([[0.9, -0.2]]), 2, torch.tensor([[-1.0], [1.0]]))
        tensor([[1, 0]])
        >>> nearest(torch.tensor([[0.1, 0.7, 0.2]]), 1, None)
        tensor([[1]])
    """
    blocks = z.unflatten(-1, (codes, -1))
    if places is None:
        return blocks.argmax(-1)
    flat = blocks.reshape(-1, codes, blocks.shape[-1]).transpose(0, 1)  # (C, N, E)
    whole = places.expand(codes, *places.shape[-2:]).to(flat.dtype)
    found = torch.cdist(flat, whole, compute_mode="donot_use_mm_for_euclid_dist").argmin(-1)
    return found.T.reshape(blocks.shape[:-1])


class Codes(Coded):
    r"""C independent codes of V values each: $p(z) = \prod_c \pi_{c, k_c}$.

    A draw is exact. At a temperature $\tau$ it is relaxed, as training needs it to have gradients:
    $y = \operatorname{softmax}((\log\pi + g) / \tau)$ with Gumbel noise g, and `straight_through` gives the exact draw
    that belongs to the same noise, with the gradient of y. A relaxed draw is between the values: its `log_prob`,
    $\sum_k y_k \log\pi_k$, is linear between them and no density.

    Args:
        logits: (*batch, C, V).
        places: As of `Coded`.
        temperature: Of relaxed draws, above 0; None for exact ones.
        straight_through: Exact draws with relaxed gradients.
        is_scored: Whether gradients reach the logits by the log-probabilities of exact draws alone.
        is_enumerated: Whether training sums over all values.

    Shape:
        `sample((L,))` is (L, *batch, D); `log_prob` is (*sample, *batch), in nats.

    Reference:
        Jang, Gu and Poole (2017), equation 2; Maddison, Mnih and Teh (2017).

    Example:
        >>> law = Codes(torch.zeros(2, 4))
        >>> round(law.log_prob(law.sample()).item(), 4)
        -2.7726
    """

    def __init__(
        self,
        logits: Tensor,
        places: Tensor | None = None,
        *,
        temperature: Tensor | None = None,
        straight_through: bool = False,
        is_scored: bool = False,
        is_enumerated: bool = False,
    ) -> None:
        super().__init__(logits.shape[:-2], logits.shape[-2], logits.shape[-1], places)
        self.log_shares = logits.log_softmax(-1)
        self.temperature, self.straight_through = temperature, straight_through
        self.is_scored, self.is_enumerated = is_scored, is_enumerated

    @property
    def device(self) -> torch.device:
        """Where its tensors are."""
        return self.log_shares.device

    @property
    def dtype(self) -> torch.dtype:
        """The precision of its tensors."""
        return self.log_shares.dtype

    @property
    def mean(self) -> Tensor:
        """The mean, (*batch, D): of one-hot blocks the probabilities."""
        return self._expected(self.places)

    @property
    def variance(self) -> Tensor:
        """The variance of every entry of z, (*batch, D)."""
        squares = None if self.places is None else self.places.square()
        return (self._expected(squares) - self.mean.square()).clamp_min(0)

    def _expected(self, places: Tensor | None) -> Tensor:
        shares = self.log_shares.exp()
        if places is None:
            return shares.flatten(-2)
        return (shares.unsqueeze(-2) @ places.to(shares)).flatten(-3)

    def _noisy(self, sample_shape: Shape) -> Tensor:
        """log pi + Gumbel noise, (*sample, *batch, C, V): its largest entry is a draw."""
        axis = len(sample_shape) if self.batch_shape else max(0, len(sample_shape) - 1)
        shape = torch.Size([*sample_shape, *self.log_shares.shape])
        least = torch.finfo(self.dtype).tiny
        uniform = draws.uniform(shape, axis=axis, like=self.log_shares).clamp_min(least)
        return self.log_shares - (-uniform.log()).clamp_min(least).log()

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        """Exact draws, without gradients."""
        with torch.no_grad():
            return self.at(self._noisy(sample_shape).argmax(-1))

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        """Draws: relaxed where there is a temperature, else exact ones without gradients."""
        if self.temperature is None:
            return self.sample(sample_shape)
        noisy = self._noisy(sample_shape)
        relaxed = (noisy / self.temperature).softmax(-1)  # eq: gumbel-softmax
        if self.straight_through:
            exact = functional.one_hot(noisy.argmax(-1), self.values).to(relaxed.dtype)
            relaxed = exact + (relaxed - relaxed.detach())
        if self.places is None:
            return relaxed.flatten(-2)
        return (relaxed.unsqueeze(-2) @ self.places.to(relaxed)).flatten(-3)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-probability of `value`, in nats."""
        return (self.one_hot(value) * self.log_shares).sum((-2, -1))  # eq: codes

    def detached(self) -> "Codes":
        """The same law without gradients to the logits."""
        return Codes(self.log_shares.detach(), self.places)

    def rows(self, index: Tensor) -> "Codes":
        """The rows `index` of the batch, as a law of exact draws."""
        return Codes(self.log_shares[index], self.places)


class CodePoint(Coded):
    """All probability on one value of each code, as an encoder gives it that quantises what it finds.

    Args:
        index: Numbers of the values, (*batch, C).
        z: Their places, (*batch, D), which may carry the gradient of what was quantised.
        values: V.
        places: As of `Coded`.
        penalty: What the encoder's output costs beside the ELBO, (*batch,); None for nothing.

    Example:
        >>> places = torch.tensor([[-1.0], [1.0]])
        >>> index = torch.tensor([[1, 0]])
        >>> law = CodePoint(index, placed(index, places), 2, places)
        >>> law.log_prob(torch.tensor([[1.0, -1.0], [1.0, 1.0]]))
        tensor([0., -inf])
    """

    def __init__(
        self,
        index: Tensor,
        z: Tensor,
        values: int,
        places: Tensor | None = None,
        *,
        penalty: Tensor | None = None,
    ) -> None:
        super().__init__(index.shape[:-1], index.shape[-1], values, places)
        self.at_index, self.z, self.penalty = index, z, penalty

    @property
    def device(self) -> torch.device:
        """Where its tensors are."""
        return self.z.device

    @property
    def dtype(self) -> torch.dtype:
        """The precision of its tensors."""
        return self.z.dtype

    @property
    def mean(self) -> Tensor:
        """The point, (*batch, D)."""
        return self.z

    @property
    def variance(self) -> Tensor:
        """Zero, (*batch, D)."""
        return torch.zeros_like(self.z)

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        """The point, as often as asked for."""
        return self.z.expand(self._extended_shape(torch.Size(sample_shape)))

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        """As `rsample`, without gradients."""
        return self.rsample(sample_shape).detach()

    def log_prob(self, value: Tensor) -> Tensor:
        """0 at the point, minus infinity at others."""
        is_here = (self.index(value) == self.at_index).all(-1)
        zero = value.new_zeros(())
        return torch.where(is_here, zero, zero - math.inf)

    def detached(self) -> "CodePoint":
        """The same law without gradients."""
        return CodePoint(self.at_index, self.z.detach(), self.values, self.places)

    def rows(self, index: Tensor) -> "CodePoint":
        """The rows `index` of the batch, as a law."""
        return CodePoint(self.at_index[index], self.z[index], self.values, self.places)


class AutoregressiveCodes(Coded):
    r"""Codes that depend on those before them: $p(z) = \prod_c p(k_c | k_1, \dots, k_{c-1})$.

    Args:
        network: One-hot blocks (N, C, V) to logits (N, C, V), those of a code by the codes before it alone.
        codes: C.
        values: V.
        like: A tensor whose precision and device are taken.
        places: As of `Coded`.

    Reference:
        van den Oord, Vinyals and Kavukcuoglu (2017), section 3.3, a prior over codes; Germain et al. (2015), the
        network.

    Example:
        >>> law = AutoregressiveCodes(torch.zeros_like, 2, 4, torch.zeros(()))
        >>> round(law.log_prob(law.sample()).item(), 4)
        -2.7726
    """

    def __init__(
        self,
        network: Callable[[Tensor], Tensor],
        codes: int,
        values: int,
        like: Tensor,
        places: Tensor | None = None,
    ) -> None:
        super().__init__(torch.Size(), codes, values, places)
        self.network, self.like = network, like

    @property
    def device(self) -> torch.device:
        """Where its tensors are."""
        return self.like.device

    @property
    def dtype(self) -> torch.dtype:
        """The precision of its tensors."""
        return torch.promote_types(self.like.dtype, torch.float32)

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        """Draws, one code after another."""
        shape = torch.Size(sample_shape)
        chosen = torch.zeros(
            *shape, self.codes, self.values, dtype=self.dtype, device=self.like.device
        )
        with torch.no_grad():
            noise = draws.uniform((*shape, self.codes, 1), axis=max(0, len(shape) - 1), like=chosen)
            for code in range(self.codes):
                share = self._log_shares(chosen)[..., code, :].exp().cumsum(-1)
                height = noise[..., code, :] * share[..., -1:]
                value = (share <= height).sum(-1).clamp_max(self.values - 1)
                chosen[..., code, :] = functional.one_hot(value, self.values)
        return self.at(chosen.argmax(-1))

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        """Exact draws, without gradients."""
        return self.sample(sample_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-probability of `value`, in nats."""
        one_hot = self.one_hot(value)
        return (one_hot * self._log_shares(one_hot)).sum((-2, -1))  # eq: codes-autoregressive

    def tempered(self, temperature: float) -> "AutoregressiveCodes":
        """The law whose logits are divided by a temperature."""

        def cooled(one_hot: Tensor) -> Tensor:
            return self.network(one_hot) / temperature

        return AutoregressiveCodes(cooled, self.codes, self.values, self.like, self.places)

    def _log_shares(self, one_hot: Tensor) -> Tensor:
        batch = one_hot.shape[:-2]
        logits = self.network(one_hot.reshape(-1, self.codes, self.values))
        logits = logits.reshape(*batch, self.codes, self.values)
        return logits.to(self.dtype).log_softmax(-1)

    @cached_property
    def _fixed_draws(self) -> Tensor:
        with draws.seeded(0):
            return self.sample((_FOR_MEANS,))

    @property
    def mean(self) -> Tensor:
        """The mean, (D,), of 1,024 fixed draws."""
        return self._fixed_draws.mean(0)

    @property
    def variance(self) -> Tensor:
        """The variance of every entry, (D,), of the same draws."""
        return self._fixed_draws.var(0)


class Beside(Law):
    """Two independent laws over vectors beside each other: z holds a draw of the first, then one of the second.

    Args:
        first: A law over (D1,).
        second: A law over (D2,), with the same batch.

    Example:
        >>> from variform.distributions.gaussian import StandardNormal
        >>> Beside(StandardNormal(2), Codes(torch.zeros(1, 3))).sample((4,)).shape
        torch.Size([4, 5])
    """

    has_rsample = True

    def __init__(self, first: Law, second: Law) -> None:
        width = first.event_shape[0] + second.event_shape[0]
        super().__init__(torch.Size([*first.batch_shape, width]), 1)
        self.first, self.second = first, second

    @property
    def widths(self) -> tuple[int, int]:
        """D1 and D2."""
        return self.first.event_shape[0], self.second.event_shape[0]

    @property
    def mean(self) -> Tensor:
        """The mean, (*batch, D1 + D2)."""
        return torch.cat([self.first.mean, self.second.mean], -1)

    @property
    def variance(self) -> Tensor:
        """The variance of every entry, (*batch, D1 + D2)."""
        return torch.cat([self.first.variance, self.second.variance], -1)

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        """Draws of both."""
        return torch.cat([law.sample(torch.Size(sample_shape)) for law in self._both], -1)

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        """Draws of both, differentiable as theirs are."""
        return torch.cat([law.rsample(torch.Size(sample_shape)) for law in self._both], -1)

    def rsample_and_log_prob(
        self, sample_shape: Shape = (), *, stick: bool = False
    ) -> tuple[Tensor, Tensor]:
        """As of any law, from what both say."""
        both = [law.rsample_and_log_prob(sample_shape, stick=stick) for law in self._both]
        return torch.cat([z for z, _ in both], -1), both[0][1] + both[1][1]

    def log_prob(self, value: Tensor) -> Tensor:
        """The sum of both log-densities, in nats."""
        parts = value.split(self.widths, -1)
        return self.first.log_prob(parts[0]) + self.second.log_prob(parts[1])

    def detached(self) -> "Beside":
        """Both without gradients to their parameters."""
        return Beside(self.first.detached(), self.second.detached())

    def rows(self, index: Tensor) -> "Beside":
        """The rows `index` of both."""
        return Beside(self.first.rows(index), self.second.rows(index))

    @property
    def _both(self) -> tuple[Law, Law]:
        return self.first, self.second
