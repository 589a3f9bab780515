"""Posterior and prior families over codes: categorical ones that training relaxes, and encoders that quantise."""

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from variform.config.checks import Count, NotNegative, Positive, Share, checked
from variform.distributions.codes import (
    MOST_ENUMERATED,
    AutoregressiveCodes,
    Beside,
    CodePoint,
    Codes,
    nearest,
    placed,
)
from variform.distributions.gaussian import StandardNormal
from variform.distributions.law import Law
from variform.model.posteriors import DiagonalPosterior, Std
from variform.model.spaces import CodeSpace, SpaceBeside

Relaxation = Literal["gumbel", "straight-through", "score", "exact"]


class CodeUse(NamedTuple):
    """How much of its codes a model uses for some rows.

    Args:
        use: Share of the values that are the code of some row, 0 to 1: of all codes together.
        perplexity: $e^{H}$ of how often each value is that, the mean over the codes; V where all are alike.
        dead: How many values of all codes together are the code of no row.
    """

    use: float
    perplexity: float
    dead: int


def code_use(index: Tensor, values: int) -> CodeUse:
    """How much of its codes a model uses.

    Args:
        index: Numbers of the values of each row, (N, C).
        values: V.

    Example:
        >>> code_use(torch.tensor([[0], [0], [1], [1]]), 4)
        CodeUse(use=0.5, perplexity=2.0, dead=2)
    """
    counts = torch.stack([column.bincount(minlength=values) for column in index.T]).double()
    dead = int((counts == 0).sum())
    share = counts / len(index)
    entropy = torch.special.entr(share).sum(1)
    perplexity = entropy.exp().mean().item()  # eq: perplexity
    return CodeUse(1 - dead / counts.numel(), round(perplexity, 6), dead)


def codes_of(posterior: nn.Module, z: Tensor) -> Tensor:
    """The numbers of the values in z, (N, D) to (N, C), of a posterior that has codes.

    Example:
        >>> codes_of(CategoricalPosterior(2, 2), torch.tensor([[0.0, 1.0, 1.0, 0.0]]))
        tensor([[1, 0]])
    """
    space = posterior.space
    if isinstance(space, SpaceBeside):
        z, space = z[..., space.flat :], space.codes
    assert isinstance(space, CodeSpace)
    return nearest(z, space.codes, space.places)


def anneal_temperature(start: float, least: float, rate: float, step: int) -> float:
    r"""$\tau = \max(\tau_{\min}, \tau_0 e^{-r\,\text{step}})$, the temperature of relaxed draws.

    Reference:
        Jang, Gu and Poole (2017), section 4.

    Example:
        >>> [round(anneal_temperature(1.0, 0.5, 0.1, step), 3) for step in (0, 1, 100)]
        [1.0, 0.905, 0.5]
    """
    return max(least, start * math.exp(-rate * step))  # eq: codes-temperature


class CategoricalPosterior(nn.Module):
    r"""$q(z|x) = \prod_c \operatorname{Cat}(k_c; \pi_c(x))$: C codes of V values, one-hot blocks in z.

    Draws are exact. In training they are made so that the encoder learns from them: `gumbel` relaxes them at a
    temperature, `straight-through` takes exact draws and the relaxed ones' gradients, `score` takes exact draws and the
    gradient of their log-probabilities (see `objectives.elbo.leave_one_out`). `exact` draws none: the ELBO is the sum
    over all values, where codes have up to 4,096 together.

    Args:
        codes: C.
        values: V.
        relaxation: As above.
        temperature: Of relaxed draws at step 0.
        temperature_least: The least one.
        temperature_rate: How fast it falls, a step; see `anneal_temperature`.

    Shape:
        params (B, C, V), the logits, to a law over (B, C V).

    Reference:
        Jang, Gu and Poole (2017); Maddison, Mnih and Teh (2017).

    Example:
        >>> CategoricalPosterior(3, 4).eval()(torch.zeros(5, 3, 4)).sample().shape
        torch.Size([5, 12])
    """

    law_name = "Cat(π) of each code"
    temperature: Tensor

    @checked
    def __init__(
        self,
        codes: Count,
        values: Count,
        *,
        relaxation: Relaxation = "gumbel",
        temperature: Positive = 1.0,
        temperature_least: Positive = 0.5,
        temperature_rate: NotNegative = 3e-5,
    ) -> None:
        super().__init__()
        if relaxation == "exact" and values**codes > MOST_ENUMERATED:
            raise ValueError(
                f"`relaxation='exact'` needs codes with up to {MOST_ENUMERATED:,} values together; got {codes} of "
                f"{values}. Use `relaxation='gumbel'`."
            )
        self.codes, self.values, self.relaxation = codes, values, relaxation
        self.schedule = (temperature, min(temperature, temperature_least), temperature_rate)
        # It follows from the step.
        self.register_buffer("temperature", torch.tensor(temperature), persistent=False)

    def extra_repr(self) -> str:
        """Shown when the module is printed."""
        return f"codes={self.codes}, values={self.values}, relaxation={self.relaxation}"

    @property
    def latent_dim(self) -> int:
        """Numbers in z."""
        return self.codes * self.values

    @property
    def params_shape(self) -> tuple[int, ...]:
        """What the encoder must give per example."""
        return (self.codes, self.values)

    @property
    def param_counts(self) -> dict[str, int]:
        """What the encoder's numbers are, and how many of each kind."""
        return {"logits of π": self.latent_dim}

    @property
    def space(self) -> CodeSpace:
        """Where z lies."""
        return CodeSpace(self.codes)

    def at_step(self, step: int) -> None:
        """Set the temperature to that of an optimiser's step."""
        self.temperature.fill_(anneal_temperature(*self.schedule, step))

    def forward(self, params: Tensor) -> Codes:
        """The law that `params` describe; it relaxes its draws in training."""
        params = params.to(torch.promote_types(params.dtype, torch.float32))
        if not (self.training and torch.is_grad_enabled()):
            return Codes(params)
        if self.relaxation == "score":
            return Codes(params, is_scored=True)
        if self.relaxation == "exact":
            return Codes(params, is_enumerated=True)
        hard = self.relaxation == "straight-through"
        return Codes(params, temperature=self.temperature, straight_through=hard)


class JointPosterior(nn.Module):
    r"""$q(z|x) = N(\mu(x), \operatorname{diag}\sigma^2(x)) \prod_c \operatorname{Cat}(k_c; \pi_c(x))$.

    Args:
        flat_dim: D, continuous latents, which come first in z.
        codes: The family of the codes.
        std: As of `DiagonalPosterior`.

    Shape:
        params (B, 2 D + C V) to a law over (B, D + C V).

    Reference:
        Dupont (2018).

    Example:
        >>> JointPosterior(2, CategoricalPosterior(1, 3)).eval()(torch.zeros(5, 7)).sample().shape
        torch.Size([5, 5])
    """

    law_name = "N(μ, diag σ²) and Cat(π)"

    @checked
    def __init__(
        self, flat_dim: Count, codes: CategoricalPosterior, *, std: Std = "softplus"
    ) -> None:
        super().__init__()
        if codes.relaxation in ("score", "exact"):
            raise ValueError(
                f"`relaxation={codes.relaxation!r}` needs codes alone; got continuous latents beside them. Use "
                "`relaxation='gumbel'` or `relaxation='straight-through'`."
            )
        self.flat, self.discrete = DiagonalPosterior(flat_dim, std=std), codes

    @property
    def std(self) -> Std:
        """As of the continuous latents."""
        return self.flat.std

    @property
    def codes(self) -> int:
        """How many codes."""
        return self.discrete.codes

    @property
    def values(self) -> int:
        """How many values each has."""
        return self.discrete.values

    @property
    def latent_dim(self) -> int:
        """Numbers in z."""
        return self.flat.latent_dim + self.discrete.latent_dim

    @property
    def params_shape(self) -> tuple[int, ...]:
        """What the encoder must give per example."""
        return (2 * self.flat.latent_dim + self.discrete.latent_dim,)

    @property
    def param_counts(self) -> dict[str, int]:
        """What the encoder's numbers are, in the order of the params, and how many of each kind."""
        return self.flat.param_counts | self.discrete.param_counts

    @property
    def space(self) -> SpaceBeside:
        """Where z lies."""
        return SpaceBeside(self.flat.latent_dim, self.discrete.space)

    def at_step(self, step: int) -> None:
        """As of the codes."""
        self.discrete.at_step(step)

    def forward(self, params: Tensor) -> Beside:
        """The law that `params` describe."""
        flat, logits = params.split((2 * self.flat.latent_dim, self.discrete.latent_dim), -1)
        first = self.flat(flat.unflatten(-1, self.flat.params_shape))
        return Beside(first, self.discrete(logits.unflatten(-1, self.discrete.params_shape)))


class QuantisingPosterior(nn.Module):
    """What the families have in common whose encoder finds points and takes the nearest places.

    q(z|x) is one code, so that log q(z|x) = 0 there, KL(q(z|x) || p(z)) = -log p(z), and the ELBO,
    log p(x|z) + log p(z), is a bound of log p(x) as of any VAE. The encoder learns by the gradient at z, which is
    taken for that at its own output.
    """

    couples_rows = False
    """Whether what a row costs depends on the other rows of its batch."""
    codes: int
    values: int
    width: int
    """Numbers of z for each code."""

    @property
    def places(self) -> Tensor:
        """Where the values lie, as of `distributions.codes.Coded`."""
        raise NotImplementedError

    @property
    def latent_dim(self) -> int:
        """Numbers in z."""
        return self.codes * self.width

    @property
    def params_shape(self) -> tuple[int, ...]:
        """What the encoder must give per example."""
        return (self.codes, self.width)

    @property
    def param_counts(self) -> dict[str, int]:
        """What the encoder's numbers are, and how many of each kind."""
        return {"points to quantise": math.prod(self.params_shape)}

    @property
    def space(self) -> CodeSpace:
        """Where z lies."""
        return CodeSpace(self.codes, self.places)

    def extra_repr(self) -> str:
        """Shown when the module is printed."""
        return f"codes={self.codes}, values={self.values}"

    def place(self, prior: Law) -> Law:
        """A law over the numbers of values as a law over their places."""
        if isinstance(prior, Codes) and prior.places is None:
            return Codes(prior.log_shares, self.places)
        if isinstance(prior, AutoregressiveCodes) and prior.places is None:
            network, size = prior.network, (self.codes, self.values)
            return AutoregressiveCodes(network, *size, prior.like, self.places)
        return prior

    def _point(self, found: Tensor, index: Tensor, penalty: Tensor | None = None) -> CodePoint:
        """The law at the values `index`, with the gradient of z for what was found, (B, D)."""
        at = placed(index, self.places.to(found))
        z = at + (found - found.detach())  # eq: straight-through
        return CodePoint(index, z, self.values, self.places, penalty=penalty)


class VQPosterior(QuantisingPosterior):
    r"""Vector quantisation: each of C points that the encoder gives becomes the nearest entry of a table.

    The table follows the points: each entry is a moving average of those nearest to it. It starts at the centres of
    k-means of the first batch; an entry that is hardly used moves to a point of the present batch. The points are drawn
    to their entries by $\beta_c \lVert e - \operatorname{sg}[\text{entry}] \rVert^2$.

    With several stages, each quantises what the one before it left; z holds the entries of all of them, and their sum
    stands for the point.

    Args:
        codes: C, points.
        values: V, entries of the table of each stage, which all points share.
        embedding_dim: E, numbers of a point.
        stages: How often a point is quantised; above 1 it is residual quantisation.
        decay: Of the moving averages, a step.
        commitment: $\beta_c$.

    Shape:
        params (B, C, E) to a law over (B, C stages E).

    Reference:
        van den Oord, Vinyals and Kavukcuoglu (2017), equations 1 to 3 and appendix A.1; stages: Zeghidour et al.
        (2021), with k-means start and revived entries.

    Example:
        >>> VQPosterior(3, 4, embedding_dim=2).eval()(torch.zeros(5, 3, 2)).sample().shape
        torch.Size([5, 6])
    """

    law_name = "the nearest entries of a table"
    compilable = False
    couples_rows = True
    table: Tensor
    counts: Tensor
    sums: Tensor
    has_started: Tensor

    _DEAD = 0.03  # share of the mean use of an entry

    @checked
    def __init__(
        self,
        codes: Count,
        values: Count,
        *,
        embedding_dim: Count = 8,
        stages: Count = 1,
        decay: Share = 0.99,
        commitment: NotNegative = 0.25,
    ) -> None:
        super().__init__()
        self.points, self.values, self.stages = codes, values, stages
        self.codes, self.width = codes * stages, embedding_dim
        self.decay, self.commitment = decay, commitment
        table = torch.randn(stages, values, embedding_dim)
        self.register_buffer("table", table)
        self.register_buffer("counts", torch.ones(stages, values))
        self.register_buffer("sums", table.clone())
        self.register_buffer("has_started", torch.zeros(()))

    @property
    def places(self) -> Tensor:
        """The tables of all codes, (C stages, V, E): the stages of a point follow each other."""
        return self.table.repeat(self.points, 1, 1)

    @property
    def params_shape(self) -> tuple[int, ...]:
        """What the encoder must give per example."""
        return (self.points, self.width)

    def forward(self, params: Tensor) -> CodePoint:
        """The law that `params` describe; in training the table moves first."""
        params = params.to(torch.promote_types(params.dtype, torch.float32))
        learns = self.training and torch.is_grad_enabled()
        if learns:
            self._follow(params.detach().reshape(-1, self.width))
        index, whole = self._quantised(params.detach())
        penalty = None
        if learns:
            distance = (params - whole).square().sum((-2, -1))
            penalty = self.commitment * distance  # eq: commitment
        # The decoder sees the sum of the stages where it weighs them alike: each has its share of the gradient.
        share = params / self.stages
        found = share.unsqueeze(-2).expand(*params.shape[:-1], self.stages, self.width)
        return self._point(found.flatten(-3), index, penalty)

    def _quantised(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """The numbers of the nearest entries, stage by stage, (B, C stages), and the sum of these, (B, C, E)."""
        rest, chosen = points, []
        for table in self.table.to(points):
            number = nearest(rest.flatten(-2), self.points, table)
            rest = rest - table[number]
            chosen.append(number)
        return torch.stack(chosen, -1).flatten(-2), points - rest

    @torch.no_grad()
    def _follow(self, points: Tensor) -> None:
        """Move the tables towards points (N, E), one stage after the other."""
        for stage in range(self.stages):
            table = self.table[stage]
            if not self.has_started:
                table.copy_(_centres(points, self.values))
                self.sums[stage].copy_(table)
            number = nearest(points, 1, table.to(points)).squeeze(-1)
            self._average(stage, points, number)
            self._revive(stage, points)
            number = nearest(points, 1, table.to(points)).squeeze(-1)
            points = points - table[number].to(points)
        self.has_started.fill_(1)

    def _average(self, stage: int, points: Tensor, number: Tensor) -> None:
        """Moving averages of how many points are nearest to each entry, in shares of their mean, and of their sums."""
        one_hot, points = (
            functional.one_hot(number, self.values).to(self.table),
            points.to(self.table),
        )
        scale = self.values / len(points)
        self.counts[stage].lerp_(one_hot.sum(0) * scale, 1 - self.decay)
        self.sums[stage].lerp_(one_hot.T @ points * scale, 1 - self.decay)
        counts = self.counts[stage].clamp_min(1e-5).unsqueeze(-1)
        self.table[stage].copy_(self.sums[stage] / counts)  # eq: vector-quantisation

    def _revive(self, stage: int, points: Tensor) -> None:
        """Move entries that are hardly used to points of the batch."""
        is_dead = self.counts[stage] < self._DEAD
        count = int(is_dead.sum())
        if not count:
            return
        chosen = torch.randint(len(points), (count,), device=points.device)
        self.table[stage][is_dead] = points[chosen].to(self.table)
        self.sums[stage][is_dead] = points[chosen].to(self.table)
        self.counts[stage][is_dead] = 1.0


def _centres(points: Tensor, count: int) -> Tensor:
    """The centres of k-means of points (N, E), (count, E): of fewer points than that, some of these again."""
    from sklearn.cluster import KMeans  # slow to import

    distinct = points.unique(dim=0)
    if len(distinct) > count:
        seed = int(torch.randint(2**31 - 1, ()))
        found = KMeans(count, n_init=1, random_state=seed).fit(distinct.cpu().double().numpy())
        return torch.from_numpy(found.cluster_centers_).to(points)
    more = torch.randint(len(points), (count - len(distinct),), device=points.device)
    return torch.cat([distinct, points[more]])


class FSQPosterior(QuantisingPosterior):
    r"""Finite scalar quantisation: each number that the encoder gives is bounded and rounded to one of its levels.

    $z = \operatorname{round}(f(e))$ with $f(e) = \tfrac{L - 1}2 \tanh(e + s) - o$, divided by $\lfloor L/2 \rfloor$;
    where L is even, o = 1/2 and s keeps f(0) = 0. The levels of one code together are its values: there is no table,
    and none can be left unused for lack of training.

    Args:
        codes: C.
        levels: Levels L of each number of a code; a code has their product as values.

    Shape:
        params (B, C, len(levels)) to a law over (B, C len(levels)).

    Reference:
        Mentzer, Minnen, Agustsson and Tschannen (2024), section 3.1.

    Example:
        >>> law = FSQPosterior(1, levels=(3, 5))(torch.tensor([[[0.0, 9.0]]]))
        >>> law.mean, law.values
        (tensor([[0., 1.]]), 15)
    """

    law_name = "the nearest levels"
    grid: Tensor
    sizes: Tensor

    @checked
    def __init__(self, codes: Count, *, levels: tuple[Count, ...] = (8, 6, 5)) -> None:
        super().__init__()
        if not levels or min(levels) < 2:
            raise ValueError(
                f"`levels` must be 2 or more for each number; got {levels}. Use (8, 6, 5)."
            )
        self.codes, self.levels, self.width = codes, levels, len(levels)
        self.values = math.prod(levels)
        axes = [(torch.arange(count) - count // 2) / (count // 2) for count in levels]
        places = torch.cartesian_prod(*axes).reshape(self.values, self.width)
        # They follow from the levels.
        self.register_buffer("grid", places.to(torch.get_default_dtype()), persistent=False)
        self.register_buffer("sizes", torch.tensor(levels), persistent=False)

    @property
    def places(self) -> Tensor:
        """Where the values lie, (V, len(levels))."""
        return self.grid

    def forward(self, params: Tensor) -> CodePoint:
        """The law that `params` describe."""
        params = params.to(torch.promote_types(params.dtype, torch.float32))
        sizes = self.sizes.to(params)
        half = (sizes - 1) * (1 - 1e-3) / 2
        offset = torch.where(self.sizes % 2 == 0, 0.5, 0.0).to(params)
        bounded = (params + (offset / half).atanh()).tanh() * half - offset  # eq: fsq
        middle = self.sizes // 2
        digits = bounded.detach().round().long() + middle
        index = torch.zeros_like(digits[..., 0])
        for place, size in enumerate(self.levels):
            index = index * size + digits[..., place]
        return self._point((bounded / middle).flatten(-2), index)


class LFQPosterior(QuantisingPosterior):
    r"""Lookup-free quantisation: each of a code's bits is the sign of a number that the encoder gives.

    In training the encoder pays $\gamma\, (E[H(b|x)] - H(E[b]))$ for each bit b, where
    $P(b = 1|x) = 1 / (1 + e^{-4e})$: each row is to be sure of its bits, and all rows together are to use both values.
    And $\beta_c \lVert e - z \rVert^2$, as in `VQPosterior`.

    Args:
        codes: C.
        values: V, a power of 2.
        entropy_weight: $\gamma$.
        commitment: $\beta_c$.

    Shape:
        params (B, C, log2 V) to a law over (B, C log2 V).

    Raises:
        ValueError: for a number of values that is no power of 2.

    Reference:
        Yu et al. (2024), section 3.1, with the entropy of each bit alone.

    Example:
        >>> LFQPosterior(1, 4).eval()(torch.tensor([[[0.2, -3.0]]])).mean
        tensor([[ 1., -1.]])
    """

    law_name = "signs"
    couples_rows = True
    signs: Tensor

    @checked
    def __init__(
        self,
        codes: Count,
        values: Count,
        *,
        entropy_weight: NotNegative = 0.1,
        commitment: NotNegative = 0.25,
    ) -> None:
        super().__init__()
        bits = values.bit_length() - 1
        if values != 2**bits or not bits:
            raise ValueError(
                f"`values` of lfq must be a power of 2, each bit a sign; got {values}. Use "
                f"`values={2 ** max(1, bits)}`."
            )
        self.codes, self.values, self.width = codes, values, bits
        self.entropy_weight, self.commitment = entropy_weight, commitment
        signs = torch.tensor([-1.0, 1.0])
        places = torch.cartesian_prod(*[signs] * bits).reshape(values, bits)
        self.register_buffer("signs", places, persistent=False)

    @property
    def places(self) -> Tensor:
        """Where the values lie, (V, log2 V)."""
        return self.signs

    def forward(self, params: Tensor) -> CodePoint:
        """The law that `params` describe."""
        params = params.to(torch.promote_types(params.dtype, torch.float32))
        digits = (params.detach() > 0).long()
        index = torch.zeros_like(digits[..., 0])
        for place in range(self.width):
            index = 2 * index + digits[..., place]
        penalty = None
        if self.training and torch.is_grad_enabled():
            share = (4 * params).sigmoid()
            unsure = _entropy(share).sum((-2, -1)) - _entropy(share.mean(0)).sum()
            distance = (params - (2 * digits - 1)).square().sum((-2, -1))
            penalty = self.entropy_weight * unsure + self.commitment * distance  # eq: lfq
        return self._point(params.flatten(-2), index, penalty)


def _entropy(share: Tensor) -> Tensor:
    """That of bits with these probabilities of 1, in nats."""
    return torch.special.entr(share) + torch.special.entr(1 - share)


class CodesPrior(nn.Module):
    r"""$p(z) = \prod_c \pi_{c, k_c}$, independent codes.

    Args:
        codes: C.
        values: V.
        is_learned: Learn $\pi$, which starts uniform; else it stays so.

    Example:
        >>> CodesPrior(3, 4)(None).sample((5,)).shape
        torch.Size([5, 12])
    """

    logits: Tensor

    def __init__(self, codes: int, values: int, *, is_learned: bool = True) -> None:
        super().__init__()
        logits = torch.zeros(codes, values)
        if is_learned:
            self.logits = nn.Parameter(logits)
        else:
            self.register_buffer("logits", logits, persistent=False)

    def extra_repr(self) -> str:
        """Shown when the module is printed."""
        codes, values = self.logits.shape
        return f"codes={codes}, values={values}"

    def forward(self, encode: object) -> Codes:
        """The law."""
        del encode
        return Codes(self.logits.to(torch.promote_types(self.logits.dtype, torch.float32)))


class AutoregressivePrior(nn.Module):
    r"""$p(z) = \prod_c p(k_c | k_1, \dots, k_{c-1})$ by a masked network with one hidden layer.

    Args:
        codes: C, two or more.
        values: V.
        hidden: Units of the hidden layer.

    Reference:
        Germain, Gregor, Murray and Larochelle (2015).

    Example:
        >>> AutoregressivePrior(3, 4)(None).sample((5,)).shape
        torch.Size([5, 12])
    """

    mask_in: Tensor
    mask_out: Tensor

    def __init__(self, codes: int, values: int, *, hidden: int = 256) -> None:
        super().__init__()
        self.codes, self.values = codes, values
        self.hidden = nn.Linear(codes * values, hidden)
        self.output = nn.Linear(hidden, codes * values)
        code = torch.arange(codes).repeat_interleave(values)
        unit = torch.arange(hidden) % max(1, codes - 1)  # the last code that it sees
        # They follow from the numbers of codes and units.
        self.register_buffer("mask_in", code <= unit[:, None], persistent=False)
        self.register_buffer("mask_out", unit < code[:, None], persistent=False)

    def extra_repr(self) -> str:
        """Shown when the module is printed."""
        return f"codes={self.codes}, values={self.values}"

    def forward(self, encode: object) -> AutoregressiveCodes:
        """The law."""
        del encode
        return AutoregressiveCodes(self._logits, self.codes, self.values, self.output.bias)

    def _logits(self, one_hot: Tensor) -> Tensor:
        given = one_hot.to(self.hidden.weight.dtype).flatten(1)
        units = functional.linear(given, self.hidden.weight * self.mask_in, self.hidden.bias)
        logits = functional.linear(
            units.relu(), self.output.weight * self.mask_out, self.output.bias
        )
        return logits.unflatten(-1, (self.codes, self.values))


class JointPrior(nn.Module):
    """N(0, I) of continuous latents beside a prior over codes.

    Args:
        flat_dim: Continuous latents.
        codes: The prior over the codes.

    Example:
        >>> JointPrior(2, CodesPrior(1, 3))(None).sample((5,)).shape
        torch.Size([5, 5])
    """

    def __init__(self, flat_dim: int, codes: CodesPrior | AutoregressivePrior) -> None:
        super().__init__()
        self.flat_dim, self.codes = flat_dim, codes

    def forward(self, encode: object) -> Beside:
        """The law."""
        law = self.codes(encode)
        like = torch.empty((), dtype=law.dtype, device=law.device)
        return Beside(StandardNormal(self.flat_dim, like=like), law)
