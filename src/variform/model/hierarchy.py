"""Posterior and prior of several latents z_1, ..., z_L, one given those above it."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from variform.config.checks import checked
from variform.distributions.hierarchy import Hierarchy, Level, Merged, Trunk
from variform.distributions.law import Law
from variform.model.posteriors import DiagonalPosterior, Std, raw_name

if TYPE_CHECKING:
    from variform.model.priors import Encode

Network = Callable[[int, int], nn.Module]
"""Makes a network from the width of what it gets to (2, the width of a latent)."""


def level_networks(widths: Sequence[int], network: Network, evidence: int = 0) -> list[nn.Module]:
    """The networks of the levels below the top, each of which gets all latents above it.

    Args:
        widths: $D_1, \\dots, D_L$; $z_1$ lies nearest to the data.
        network: Makes one.
        evidence: Numbers that each gets besides.

    Example:
        >>> [network.in_features for network in level_networks((3, 2, 1), lambda given, width: nn.Linear(given, width))]
        [3, 1]
    """
    return [
        network(evidence + sum(widths[number + 1 :]), width)
        for number, width in enumerate(widths[:-1])
    ]


class _Levels(nn.Module):
    """What posteriors and priors of several latents share."""

    widths: tuple[int, ...]
    std: Std

    def extra_repr(self) -> str:
        """Shown when the module is printed."""
        return f"widths={self.widths}, std={self.std}"

    @property
    def latent_dim(self) -> int:
        """Numbers in z."""
        return sum(self.widths)


class HierarchicalPosterior(_Levels):
    r"""$q(z|x) = q(z_L|x) \prod_{l<L} q(z_l | x, z_{l+1}, \dots, z_L)$, every factor a diagonal Gaussian.

    The encoder gives mean and raw deviation of $z_L$ and, for each level below, what the row says of it: numbers that a
    network joins with the latents above.

    Args:
        widths: $D_1, \dots, D_L$; $z_1$ lies nearest to the data.
        networks: Of each level below the top, from evidence and what the prior shows of the latents above to
            $(2, D_l)$; $z_1$'s first.
        evidence: Numbers of the encoder for each of them.
        std: As of `DiagonalPosterior`.

    Shape:
        params (B, 2 D_L + sum of evidence) to a law over (B, sum of widths).

    Reference:
        Tomczak and Welling (2018), section 4, for two levels; Burda, Grosse and Salakhutdinov (2016).

    Example:
        >>> from variform.model.networks import MLP
        >>> from variform.model.priors import StandardNormalPrior
        >>> prior = HierarchicalPrior((3, 2), [MLP((2,), (2, 3))], StandardNormalPrior(2))
        >>> family = HierarchicalPosterior((3, 2), [MLP((9,), (2, 3))], evidence=(7,))
        >>> family(torch.zeros(5, *family.params_shape), prior).rsample((4,)).shape
        torch.Size([4, 5, 5])
    """

    law_name = "Gaussians, each given the latents above"
    merges = True

    @checked
    def __init__(
        self,
        widths: Sequence[int],
        networks: Sequence[nn.Module],
        *,
        evidence: Sequence[int],
        std: Std = "softplus",
    ) -> None:
        super().__init__()
        self.widths, self.evidence, self.std = tuple(widths), tuple(evidence), std
        self._parts = (2 * self.widths[-1], *self.evidence)
        self.networks = nn.ModuleList(networks)
        self.families = _families(self.widths, std)

    @property
    def params_shape(self) -> tuple[int, ...]:
        """What the encoder must give per example."""
        return (sum(self._parts),)

    @property
    def param_counts(self) -> dict[str, int]:
        """What the encoder's numbers are, in the order of the params, and how many of each kind."""
        top = len(self.widths)
        counts = {f"means μ of z{top}": self.widths[-1]}
        counts |= {f"{raw_name(self.std)} of z{top}": self.widths[-1]}
        return counts | {
            f"evidence for z{level}": width for level, width in enumerate(self.evidence, 1)
        }

    def forward(self, params: Tensor, prior: "HierarchicalPrior") -> Hierarchy:
        """The law that `params` describe, beside a prior that shows each level the latents above it."""
        params = params.to(torch.promote_types(params.dtype, torch.float32))
        top, *evidence = params.split(self._parts, -1)
        *families, family = self.families
        levels = map(Level, self.networks, families, evidence)
        law = family(top.unflatten(-1, (2, -1)))
        return Hierarchy(law, list(levels), self.widths, prior.trunk())


class LadderPosterior(_Levels):
    r"""A ladder: $q(z_l | x, z_{>l})$ is the product of what the row says and of the prior $p(z_l | z_{>l})$.

    Both are diagonal Gaussians, and so is their product. What the row says of a level does not depend on the latents
    above, so that the prior's networks do all of the work from the top down.

    Args:
        widths: $D_1, \dots, D_L$; $z_1$ lies nearest to the data.
        std: As of `DiagonalPosterior`.

    Shape:
        params (B, 2 sum of widths) to a law over (B, sum of widths).

    Reference:
        Sønderby, Raiko, Maaløe, Sønderby and Winther (2016).

    Example:
        >>> from variform.model.networks import MLP
        >>> from variform.model.priors import StandardNormalPrior
        >>> prior = HierarchicalPrior((3, 2), [MLP((2,), (2, 3))], StandardNormalPrior(2))
        >>> family = LadderPosterior((3, 2))
        >>> family(torch.zeros(5, *family.params_shape), prior).rsample((4,)).shape
        torch.Size([4, 5, 5])
    """

    law_name = "a ladder of Gaussians"
    merges = True

    @checked
    def __init__(self, widths: Sequence[int], *, std: Std = "softplus") -> None:
        super().__init__()
        self.widths, self.std = tuple(widths), std
        self.families = _families(self.widths, std)

    @property
    def params_shape(self) -> tuple[int, ...]:
        """What the encoder must give per example."""
        return (2 * self.latent_dim,)

    @property
    def param_counts(self) -> dict[str, int]:
        """What the encoder's numbers are, in the order of the params, and how many of each kind."""
        return {"means μ": self.latent_dim, raw_name(self.std): self.latent_dim}

    def forward(self, params: Tensor, prior: "HierarchicalPrior") -> Hierarchy:
        """The law that `params` describe under the prior that it is merged with."""
        params = params.to(torch.promote_types(params.dtype, torch.float32))
        both = params.unflatten(-1, (2, -1)).split(self.widths, -1)
        *own, top = [family(part) for family, part in zip(self.families, both, strict=True)]
        return Hierarchy(top, list(map(Merged, own, prior.levels())), self.widths, prior.trunk())


class HierarchicalPrior(_Levels):
    r"""$p(z) = p(z_L) \prod_{l<L} p(z_l | z_{l+1}, \dots, z_L)$: any prior on top, Gaussians below.

    Args:
        widths: $D_1, \dots, D_L$; $z_1$ lies nearest to the data.
        networks: Of each level below the top, from what it sees of the latents above to $(2, D_l)$; $z_1$'s first.
        top: The prior of $z_L$. The pseudo-inputs of a VampPrior are encoded to $q(z_L|u)$.
        downwards: Of each level above the first, what makes of its latent, and of what it saw itself, what the level
            below sees; by default a level sees all latents above, side by side.
        std: As of `DiagonalPosterior`.

    Reference:
        Tomczak and Welling (2018), section 4.

    Example:
        >>> from variform.model.networks import MLP
        >>> from variform.model.priors import StandardNormalPrior
        >>> prior = HierarchicalPrior((3, 2), [MLP((2,), (2, 3))], StandardNormalPrior(2))
        >>> prior(None).sample((4,)).shape
        torch.Size([4, 5])
    """

    @checked
    def __init__(
        self,
        widths: Sequence[int],
        networks: Sequence[nn.Module],
        top: nn.Module,
        *,
        downwards: Sequence[nn.Module] = (),
        std: Std = "softplus",
    ) -> None:
        super().__init__()
        self.widths, self.std = tuple(widths), std
        self.networks, self.downwards = nn.ModuleList(networks), nn.ModuleList(downwards)
        self.families = _families(self.widths[:-1], std)
        self.top = top

    @property
    def compilable(self) -> bool:
        """Whether a step can be compiled, as that of the top can."""
        return getattr(self.top, "compilable", True)

    def levels(self) -> list[Level]:
        """The laws of the levels below the top, z_1's first."""
        return list(map(Level, self.networks, self.families))

    def trunk(self) -> Trunk:
        """What a level sees of the latents above it."""
        return Trunk(tuple(self.downwards))

    def forward(self, encode: "Encode | None") -> Hierarchy:
        """The law; a prior on top that is made from posteriors calls `encode`, of which it gets the top."""
        return Hierarchy(self.top(_top_of(encode)), self.levels(), self.widths, self.trunk())


def _top_of(encode: "Encode | None") -> "Encode | None":
    """The same posteriors, of the top latent alone."""
    if encode is None:
        return None

    def top(x: Tensor) -> Law:
        law = encode(x)
        assert isinstance(law, Hierarchy)
        return law.top

    return top


def _families(widths: Sequence[int], std: Std) -> nn.ModuleList:
    return nn.ModuleList(DiagonalPosterior(width, std=std) for width in widths)
