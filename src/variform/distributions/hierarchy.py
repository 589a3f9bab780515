"""Laws of several latents, one given those above it: draws go from the top down."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call

from variform.distributions.gaussian import DiagonalGaussian
from variform.distributions.kl import has_closed_form_kl, kl
from variform.distributions.law import Law, Shape, joint, only_gradient
from variform.system import draws

_MOMENT_DRAWS = 64


class Family(Protocol):
    """What turns numbers into a Gaussian, as `model.posteriors.DiagonalPosterior` does."""

    def __call__(self, params: Tensor) -> DiagonalGaussian:
        """The law that `params`, (*batch, 2, D), describe."""
        ...


class Level:
    r"""The law of one latent given those above it, $N(z_l; \mu(z_{>l}, h), \sigma^2(z_{>l}, h))$, by a network.

    Args:
        network: From (N, what is above and h) to the numbers that `family` takes.
        family: Turns them into a Gaussian.
        evidence: h, what it depends on besides, (*batch, H); None for nothing.
        weights: The network's parameters where they are not its own.
    """

    def __init__(
        self,
        network: nn.Module,
        family: Family,
        evidence: Tensor | None = None,
        weights: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.network, self.family = network, family
        self.evidence, self.weights = evidence, weights

    def __call__(self, above: Tensor) -> DiagonalGaussian:
        """The law for latents `above`, (*sample, *batch, W)."""
        given = above
        if self.evidence is not None:
            batch = joint(self.evidence.shape[:-1], above.shape[:-1])
            given = torch.cat([part.expand(*batch, -1) for part in (self.evidence, above)], -1)
        rows = given.reshape(-1, given.shape[-1])
        params = _called(self.network, rows, self.weights)
        return self.family(params.reshape(*given.shape[:-1], *params.shape[1:]))

    def detached(self) -> "Level":
        """The same law, through whose parameters no gradient passes; it does through what is above."""
        evidence = None if self.evidence is None else self.evidence.detach()
        return Level(self.network, self.family, evidence, _detached(self.network))

    def rows(self, index: Tensor) -> "Level":
        """The law of the rows `index` of the batch."""
        evidence = None if self.evidence is None else self.evidence[index]
        return Level(self.network, self.family, evidence, self.weights)


class Merged:
    r"""The product of a level of the prior and a Gaussian that the row gives, as in a ladder.

    $\sigma^{-2} = \hat\sigma^{-2} + \sigma_p^{-2}$,
    $\mu = \sigma^2 (\hat\mu\, \hat\sigma^{-2} + \mu_p\, \sigma_p^{-2})$

    Args:
        evidence: $N(\hat\mu(x), \hat\sigma^2(x))$, over (*batch, D).
        level: $N(\mu_p(z_{>l}), \sigma_p^2(z_{>l}))$, of the prior.

    Reference:
        Sønderby, Raiko, Maaløe, Sønderby and Winther (2016), equations 13 to 16.
    """

    def __init__(self, evidence: DiagonalGaussian, level: Level) -> None:
        self.evidence, self.level = evidence, level

    def __call__(self, above: Tensor) -> DiagonalGaussian:
        """The law for latents `above`, (*sample, *batch, W)."""
        return product(self.evidence, self.level(above))

    def detached(self) -> "Merged":
        """As `Level.detached`."""
        return Merged(self.evidence.detached(), self.level.detached())

    def rows(self, index: Tensor) -> "Merged":
        """The law of the rows `index` of the batch."""
        return Merged(self.evidence.rows(index), self.level)


class Moved:
    """A level that is moved and scaled in its own units, by numbers of each row.

    Args:
        level: The level.
        shift, widened: As of `DiagonalGaussian.moved`, (*batch, D) each.
    """

    def __init__(self, level: "Conditional", shift: Tensor, widened: Tensor) -> None:
        self.level, self.shift, self.widened = level, shift, widened

    def __call__(self, above: Tensor) -> DiagonalGaussian:
        """The law for latents `above`, (*sample, *batch, W)."""
        return self.level(above).moved(self.shift, self.widened)

    def detached(self) -> "Moved":
        """As `Level.detached`."""
        return Moved(self.level.detached(), self.shift.detach(), self.widened.detach())

    def rows(self, index: Tensor) -> "Moved":
        """The law of the rows `index` of the batch."""
        return Moved(self.level.rows(index), self.shift[index], self.widened[index])


Conditional = Level | Merged | Moved
"""The law of a latent given those above it."""


class Trunk:
    """What a level sees of the latents above it: these side by side, or what networks make of one after another.

    Args:
        networks: Of each level above the first, in order, from its latent and what it saw itself, (N, *), to what the
            next level below sees, (N, *); none for all latents above, side by side.
        weights: Parameters of each network where they are not its own.
    """

    def __init__(
        self,
        networks: Sequence[nn.Module] = (),
        weights: Sequence[Mapping[str, Tensor]] = (),
    ) -> None:
        self.networks, self.weights = tuple(networks), tuple(weights)

    def __call__(self, number: int, part: Tensor, seen: Tensor | None) -> Tensor:
        """What is seen below level `number`, counted from 0, of its latent, (*batch, D), and of what it saw."""
        both = part if seen is None else torch.cat([part, seen], -1)
        if not self.networks:
            return both
        weights = self.weights[number - 1] if self.weights else None
        out = _called(self.networks[number - 1], both.reshape(-1, both.shape[-1]), weights)
        return out.reshape(*both.shape[:-1], -1)

    def detached(self) -> "Trunk":
        """The same, through whose parameters no gradient passes."""
        weights = [_detached(network) for network in self.networks]
        return Trunk(self.networks, weights)


def _called(network: nn.Module, rows: Tensor, weights: Mapping[str, Tensor] | None) -> Tensor:
    """What a network gives, with parameters that are not its own where there are any."""
    return network(rows) if weights is None else functional_call(network, dict(weights), (rows,))


def _detached(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in network.named_parameters()}


def product(first: DiagonalGaussian, second: DiagonalGaussian) -> DiagonalGaussian:
    """The Gaussian whose density is proportional to the product of two.

    Example:
        >>> one = DiagonalGaussian(torch.zeros(1), torch.zeros(1))
        >>> law = product(one, DiagonalGaussian(torch.ones(1), torch.zeros(1)))
        >>> law.mean, law.variance
        (tensor([0.5000]), tensor([0.5000]))
    """
    log_precision = torch.logaddexp(-first.log_var, -second.log_var)
    share = (-first.log_var - log_precision).exp()
    mean = second.loc + share * (first.loc - second.loc)
    return DiagonalGaussian(mean, -log_precision)  # eq: precision-weighted


class Hierarchy(Law):
    r"""The law of $z = (z_1, \dots, z_L)$ by the chain rule, from the top: $\prod_l \pi(z_l | z_{l+1}, \dots, z_L)$.

    A draw holds the latents side by side, $z_1$, which lies nearest to the data, first.

    Args:
        top: The law of $z_L$, over (*batch, $D_L$).
        levels: Those of $z_1, \dots, z_{L-1}$ given all above.
        widths: $D_1, \dots, D_L$.
        trunk: What a level sees of the latents above it.

    Shape:
        `rsample((S,))` is (S, *batch, sum of widths); `log_prob` (S, *batch), in nats.

    Example:
        >>> from variform.model.posteriors import DiagonalPosterior
        >>> from variform.model.networks import MLP
        >>> top = DiagonalGaussian(torch.zeros(5, 2), torch.zeros(5, 2))
        >>> law = Hierarchy(top, [Level(MLP((2,), (2, 3)), DiagonalPosterior(3))], (3, 2))
        >>> law.rsample((7,)).shape
        torch.Size([7, 5, 5])
    """

    has_rsample = True

    def __init__(
        self,
        top: Law,
        levels: Sequence[Conditional],
        widths: Sequence[int],
        trunk: Trunk | None = None,
    ) -> None:
        super().__init__(torch.Size((*top.batch_shape, sum(widths))), 1)
        self.top, self.levels, self.widths = top, tuple(levels), tuple(widths)
        self.trunk = trunk or Trunk()

    def conditionals(self, z: Tensor) -> list[tuple[Law, Tensor]]:
        """The law of each latent given those of `z` above it, and the latent's values there; z_1's first."""
        *below, top = z.split(self.widths, -1)
        found, seen = [(self.top, top)], self.trunk(len(below), top, None)
        for number in reversed(range(len(below))):
            found.append((self.levels[number](seen), below[number]))
            seen = self.trunk(number, below[number], seen) if number else seen
        return found[::-1]

    def log_prob_by_level(self, value: Tensor) -> Tensor:
        """Log-density of each latent given those above, (L, *sample, *batch), in nats; the first is of z_1."""
        return torch.stack([law.log_prob(part) for law, part in self.conditionals(value)])

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density at `value`, the sum over levels, in nats."""
        return self.log_prob_by_level(value).sum(0)  # eq: hierarchy

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        """Differentiable draws, from the top down."""
        axes = len(sample_shape)
        return self._down(
            self.top.rsample(torch.Size(sample_shape)), lambda law: self._drawn(law, axes)
        )

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        """Draws, from the top down."""
        axes = len(sample_shape)
        with torch.no_grad():
            top = self.top.sample(torch.Size(sample_shape))
            return self._down(top, lambda law: self._drawn(law, axes))

    def rsample_and_log_prob(
        self, sample_shape: Shape = (), *, stick: bool = False
    ) -> tuple[Tensor, Tensor]:
        """As of any law; with `stick` a level's density still depends on the draws above it."""
        top, log_top = self.top.rsample_and_log_prob(sample_shape)
        log_parts = [log_top]

        def drawn(law: DiagonalGaussian) -> Tensor:
            part, log_part = law.of_noise(self._noise_like(law.loc, len(sample_shape)))
            log_parts.append(log_part)
            return part

        z, log_q = self._down(top, drawn), sum(log_parts)
        assert isinstance(log_q, Tensor)
        if stick:
            log_q = log_q.detach() + only_gradient(self.detached().log_prob(z))
        return z, log_q

    def below(self, upper: Tensor, *, draw: bool = False) -> Tensor:
        """z from its uppermost latents: those below are at their means, or with `draw` drawn.

        Args:
            upper: The values of the top and of as many levels next to it as are held, (*batch, W).
            draw: Draw what lies below.
        """
        held = len(self.widths)
        while sum(self.widths[held - 1 :]) <= upper.shape[-1] and held:
            held -= 1
        *known, top = upper.split(self.widths[held:], -1)

        def chosen(law: DiagonalGaussian) -> Tensor:
            if known:
                return known.pop()
            return law.sample() if draw else law.mean

        return self._down(top, chosen)

    def _down(self, top: Tensor, choose: Callable[[DiagonalGaussian], Tensor]) -> Tensor:
        """z from its top and what is chosen of each level below, from its law."""
        parts, seen = [top], self.trunk(len(self.levels), top, None)
        for number in reversed(range(len(self.levels))):
            parts.append(choose(self.levels[number](seen)))
            seen = self.trunk(number, parts[-1], seen) if number else seen
        return torch.cat(parts[::-1], -1)

    def _drawn(self, law: DiagonalGaussian, sample_axes: int) -> Tensor:
        return law.of_noise(self._noise_like(law.loc, sample_axes))[0]

    @property
    def mean(self) -> Tensor:
        """The point that the means lead to, from the top down, (*batch, D): the mean of linear levels."""
        return self.below(self.top.mean)

    @property
    def variance(self) -> Tensor:
        """The variance of each dimension around `mean`, (*batch, D), of 64 fixed draws: the same at every call."""
        return (self._fixed_draws() - self.mean).square().mean(0)

    def moved(self, shift: Tensor, widened: Tensor) -> "Hierarchy":
        """The law of which every level is moved and scaled in its own units, as `DiagonalGaussian.moved` says.

        Args:
            shift, widened: (*batch, sum of widths) each.
        """
        parts = [part.split(self.widths, -1) for part in (shift, widened)]
        *below, top = zip(*parts, strict=True)
        levels = [Moved(level, *part) for level, part in zip(self.levels, below, strict=True)]
        own = self.top
        assert isinstance(own, DiagonalGaussian)
        return Hierarchy(own.moved(*top), levels, self.widths, self.trunk)

    def detached(self) -> "Hierarchy":
        """The same law without gradients to the parameters of any level."""
        levels = [level.detached() for level in self.levels]
        return Hierarchy(self.top.detached(), levels, self.widths, self.trunk.detached())

    def rows(self, index: Tensor) -> "Hierarchy":
        """The rows `index` of the batch, as a law."""
        levels = [level.rows(index) for level in self.levels]
        return Hierarchy(self.top.rows(index), levels, self.widths, self.trunk)

    def _noise_like(self, loc: Tensor, sample_axes: int) -> Tensor:
        """Noise for a level; the rows of a law without a batch are its samples."""
        axis = sample_axes if self.batch_shape else max(0, sample_axes - 1)
        return draws.normal(loc.shape, axis=axis, like=loc)

    def _fixed_draws(self) -> Tensor:
        with draws.seeded(0):
            return self.sample((_MOMENT_DRAWS,))


def kl_by_level(q: Hierarchy, p: Hierarchy, z: Tensor) -> Tensor:
    r"""$\mathrm{KL}(q(z_l|z_{>l}, x) \| p(z_l|z_{>l}))$ of each level, at draws of what is above.

    In closed form where a level's two laws have one, so that its noise is that of the latents above alone; else the
    difference of log-densities. The expectation of their sum over q is $\mathrm{KL}(q \| p)$.

    Args:
        q: The posterior.
        p: The prior.
        z: Draws from q, (*sample, *batch, D).

    Shape:
        (L, *sample, *batch), in nats; the first is of z_1.

    Reference:
        Sønderby et al. (2016), equation 9.
    """
    terms = []
    for (own, part), (prior, _) in zip(q.conditionals(z), p.conditionals(z), strict=True):
        term = own.log_prob(part) - prior.log_prob(part)
        if has_closed_form_kl(own, prior):
            term = kl(own, prior).expand(z.shape[:-1])  # eq: kl-by-level
        terms.append(term)
    return torch.stack(terms)
