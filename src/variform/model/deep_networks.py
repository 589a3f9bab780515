"""Networks of a convolutional hierarchy: latents are images, one for each stage that halves the data's.

What goes from one of them to another is a flat vector, as latents are: channel after channel of an image.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from variform.model.networks import Layers, Parts, sizes_of_stages


@dataclass(frozen=True)
class Stages:
    """The latent images of a hierarchy and the channels beside them.

    Args:
        shape: Shape of one image of the data, (channels, height, width).
        latents: Channels of the latent image at each stage, z_1's first, which has the size after one halving.
        filters: Channels of the networks at each stage.
        parts: What layers are made of.

    Raises:
        ValueError: where there are not as many of one as of the other, and as `networks.sizes_of_stages`.

    Example:
        >>> Stages((1, 28, 28), (2, 4), (16, 32), Parts("relu", False, 0.0, False, "torch", True)).widths
        (392, 196)
    """

    shape: tuple[int, ...]
    latents: tuple[int, ...]
    filters: tuple[int, ...]
    parts: Parts

    def __post_init__(self) -> None:
        if len(self.latents) != len(self.filters):
            raise ValueError(
                f"`latents` must be as many numbers as `filters`, channels at each stage; got {self.latents} and "
                f"{self.filters}. Give one of each for a stage."
            )

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """Height and width of the data, and after each stage."""
        return sizes_of_stages(self.shape, self.filters)

    @property
    def widths(self) -> tuple[int, ...]:
        """Numbers in the latent image of each stage."""
        sizes = self.sizes[1:]
        return tuple(
            count * math.prod(size) for count, size in zip(self.latents, sizes, strict=True)
        )

    @property
    def evidence(self) -> tuple[int, ...]:
        """Numbers that the encoder gives for each level below the top."""
        sizes = self.sizes[1:-1]
        return tuple(
            count * math.prod(size) for count, size in zip(self.filters, sizes, strict=False)
        )

    def of_level(self, number: int, given: int) -> nn.Module:
        """From `given` images at a level, counted from 0, to mean and raw deviation of its latent."""
        size, own = self.sizes[number + 1], self.filters[number]
        layers = [
            *self.mixed(given, own),
            self._started(nn.Conv2d(own, 2 * self.latents[number], 1)),
        ]
        return Maps(layers, (given, *size), (2, self.widths[number]))

    def downwards(self, number: int) -> nn.Module:
        """From a level's latent, and what it saw of those above, to what the next level below sees."""
        size = self.sizes[number + 1]
        is_top = number == len(self.filters) - 1
        given = self.latents[number] + (0 if is_top else self.filters[number])
        wanted, below = self.filters[number - 1], self.sizes[number]
        layers = [
            *self.mixed(given, self.filters[number]),
            self.parts.doubling(self.filters[number], wanted, below),
            *self.parts.units(wanted),
        ]
        return Maps(layers, (given, *size), (wanted * math.prod(below),))

    def trunk(self) -> list[nn.Module]:
        """What leads downwards, from the second level up."""
        return [self.downwards(number) for number in range(1, len(self.filters))]

    def mixed(self, given: int, wanted: int) -> list[nn.Module]:
        """Layers from `given` images to `wanted`, of one size."""
        first = nn.Conv2d(given, self.parts.sums * wanted, 3, padding=1)
        return [self._started(first, self.parts.sums), *self.parts.feature_maps(wanted)]

    def _started(self, layer: nn.Conv2d, matrices: int = 1) -> nn.Conv2d:
        return self.parts.started(layer, matrices)


class Maps(nn.Module):
    """Layers between images of one size that lie flat, channel after channel.

    Args:
        layers: From (N, *shape) to as many numbers as `out_shape` holds.
        shape: Shape of what comes, (channels, height, width).
        out_shape: Shape of what is given.

    Shape:
        (N, channels * height * width) to (N, *out_shape).

    Example:
        >>> Maps([nn.Conv2d(2, 3, 1)], (2, 4, 5), (60,))(torch.zeros(7, 40)).shape
        torch.Size([7, 60])
    """

    def __init__(
        self, layers: Sequence[nn.Module], shape: tuple[int, ...], out_shape: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.layers, self.shape, self.out_shape = Layers(*layers), shape, out_shape

    def forward(self, rows: Tensor) -> Tensor:
        """The images, flat."""
        return self.layers(rows.unflatten(-1, self.shape)).reshape(-1, *self.out_shape)


class BottomUp(nn.Module):
    """The encoder: from the top stage mean and raw deviation of its latent, from each below what it says of its own.

    Args:
        stages: The hierarchy.

    Shape:
        (B, *shape) to (B, 2 widths[-1] + sum of evidence).
    """

    centre: Tensor

    def __init__(self, stages: Stages) -> None:
        super().__init__()
        parts, sizes = stages.parts, stages.sizes
        self.register_buffer("centre", torch.zeros(*stages.shape))
        channels = itertools.pairwise([stages.shape[0], *stages.filters])
        self.stages = nn.ModuleList(
            Layers(parts.halving(given, wanted, size), *parts.feature_maps(wanted))
            for (given, wanted), size in zip(channels, sizes[:-1], strict=True)
        )
        top = len(stages.filters) - 1
        self.output = stages.of_level(top, stages.filters[top])

    def forward(self, x: Tensor) -> Tensor:
        """The parameters of the top, and the evidence of each level from the first."""
        h, evidence = x - self.centre, []
        for stage in self.stages:
            h = stage(h)
            evidence.append(h.flatten(1))
        top = self.output(evidence.pop())
        return torch.cat([top.flatten(1), *evidence], 1)


class TopDown(nn.Module):
    """The decoder: from the top latent image downwards, each next one joined at its stage.

    Args:
        stages: The hierarchy.
        out_shape: Shape of one output example, (..., height, width).

    Shape:
        (B, sum of widths) to (B, *out_shape).
    """

    def __init__(self, stages: Stages, out_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.widths = stages.widths
        self.trunk = nn.ModuleList(stages.trunk())
        given = stages.latents[0] + (stages.filters[0] if len(stages.filters) > 1 else 0)
        self.shape = (given, *stages.sizes[1])
        self.last = Layers(*stages.mixed(given, stages.filters[0]))
        channels = math.prod(out_shape[:-2])
        self.output = stages.parts.doubling(
            stages.filters[0], channels, stages.sizes[0], is_output=True
        )
        self.bias = nn.Parameter(torch.zeros(*out_shape))

    def forward(self, z: Tensor) -> Tensor:
        """The network's output for a batch."""
        *below, seen = z.split(self.widths, -1)
        for part, network in zip(below[::-1], reversed(self.trunk), strict=True):
            seen = torch.cat([part, network(seen)], -1)
        h = self.output(self.last(seen.unflatten(-1, self.shape)))
        return h.unflatten(1, self.bias.shape[:-2]) + self.bias

    @torch.no_grad()
    def start_at(self, params: Tensor) -> None:
        """Set the output's bias to `params`, (*out_shape), near which the untrained network's outputs then lie."""
        self.bias.copy_(params)
