"""Where latents live: what lies between two of them, and what asks for a flat space."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from variform.distributions.codes import nearest, placed
from variform.distributions.hyperbolic import from_tangent, mobius_add, to_tangent


class Space:
    """Flat latents, any real numbers; another space is a class below it.

    Example:
        >>> import torch
        >>> Space().between(torch.zeros(2), torch.ones(2), torch.tensor([[0.0], [0.5]]))
        tensor([[0.0000, 0.0000],
                [0.5000, 0.5000]])
    """

    name = "flat"
    is_flat = True
    is_plane = True
    """Whether a plane through points of it is in it too."""
    radius = math.inf
    """What no number of a point exceeds."""
    has_densities = True
    """Whether laws over it have densities: over codes they have probabilities, and draws that do not move."""

    def between(self, start: Tensor, end: Tensor, share: Tensor) -> Tensor:
        """The points at shares of the shortest way from `start` to `end`, (*batch, D); shapes broadcast."""
        return start + share * (end - start)

    def distance(self, start: Tensor, end: Tensor) -> Tensor:
        """The length of the shortest way, (*batch); shapes broadcast."""
        return (end - start).norm(dim=-1)

    def dimensions(self, width: int) -> int:
        """In how many directions a point of that many numbers can go."""
        return width

    def nearest(self, z: Tensor) -> Tensor:
        """The points of the space that are nearest to z, (*batch, D)."""
        return z


class Sphere(Space):
    """The unit sphere: points are vectors of length 1, shortest ways are arcs of great circles.

    Between opposite points all of those are shortest; `between` takes one.

    Example:
        >>> import torch
        >>> north, east = torch.eye(3)[2], torch.eye(3)[0]
        >>> Sphere().between(north, east, torch.tensor([0.5])).round(decimals=4)
        tensor([0.7071, 0.0000, 0.7071])
        >>> Sphere().distance(north, -north).round(decimals=4)
        tensor(3.1416)
    """

    name = "a sphere"
    is_flat = is_plane = False
    radius = 1.0

    def between(self, start: Tensor, end: Tensor, share: Tensor) -> Tensor:
        """As of `Space`."""
        start, end = torch.broadcast_tensors(start, end)
        across = end - (start * end).sum(-1, keepdim=True) * start
        is_none = across.norm(dim=-1, keepdim=True) < 1e-6
        # A direction that is never along the start: the axis of its least coordinate.
        least = functional.one_hot(start.abs().argmin(-1), start.shape[-1]).to(start)
        other = least - (start * least).sum(-1, keepdim=True) * start
        along = functional.normalize(torch.where(is_none, other, across), dim=-1)
        angle = self.distance(start, end).unsqueeze(-1) * share
        return start * angle.cos() + along * angle.sin()  # eq: great-circle

    def distance(self, start: Tensor, end: Tensor) -> Tensor:
        """The angle, in radians, from both chords: that of a scalar product would be rounded where it is small."""
        return 2 * torch.atan2((end - start).norm(dim=-1), (end + start).norm(dim=-1))

    def dimensions(self, width: int) -> int:
        """As of `Space`."""
        return width - 1

    def nearest(self, z: Tensor) -> Tensor:
        """As of `Space`: the direction of z."""
        return functional.normalize(z, dim=-1)


class Ball(Space):
    r"""Hyperbolic space as the Poincaré ball of radius $1/\sqrt{c}$: shortest ways are arcs, square to its edge.

    Args:
        curvature: c > 0; the curvature is -c.

    Example:
        >>> import torch
        >>> ball, point = Ball(1.0), torch.tensor([0.5, 0.0])
        >>> ball.distance(torch.zeros(2), point).round(decimals=4)
        tensor(1.0986)
        >>> ball.between(-point, point, torch.tensor([0.5]))
        tensor([0., 0.])
    """

    name = "the Poincaré ball"
    is_flat = is_plane = False

    def __init__(self, curvature: float) -> None:
        self.curvature = curvature
        self.radius = 1 / math.sqrt(curvature)

    def between(self, start: Tensor, end: Tensor, share: Tensor) -> Tensor:
        """As of `Space`; in double precision inside."""
        start, end = torch.broadcast_tensors(start, end)
        a, b, c = start.double(), end.double(), self.curvature
        way = share * to_tangent(mobius_add(-a, b, c), c)
        return mobius_add(a, from_tangent(way, c), c).to(start)  # eq: hyperbolic-way

    def distance(self, start: Tensor, end: Tensor) -> Tensor:
        """The length by the ball's metric."""
        c = self.curvature
        return to_tangent(mobius_add(-start.double(), end.double(), c), c).norm(dim=-1).to(start)

    def nearest(self, z: Tensor) -> Tensor:
        """As of `Space`: what lies outside is drawn to the edge, at most 16 / sqrt(c) from the origin."""
        most = math.tanh(8) / math.sqrt(self.curvature)
        length = z.norm(dim=-1, keepdim=True)
        return torch.where(length > most, z * (most / length.clamp_min(1e-30)), z)


class CodeSpace(Space):
    """Codes, each of which has one of several values: between two of them lie only other codes.

    On the way from one to the other, those of their codes that differ change over one after another.

    Args:
        codes: How many codes z holds.
        places: Where the values lie, as of `distributions.codes.Coded`.

    Example:
        >>> import torch
        >>> space = CodeSpace(2, torch.tensor([[-1.0], [1.0]]))
        >>> space.between(torch.tensor([-1.0, -1.0]), torch.ones(2), torch.tensor([[0.0], [0.5], [1.0]]))
        tensor([[-1., -1.],
                [ 1., -1.],
                [ 1.,  1.]])
        >>> space.nearest(torch.tensor([0.2, -3.0]))
        tensor([ 1., -1.])
    """

    name = "codes"
    is_flat = has_densities = False

    def __init__(self, codes: int, places: Tensor | None = None) -> None:
        self.codes, self.places = codes, places

    def between(self, start: Tensor, end: Tensor, share: Tensor) -> Tensor:
        """Codes at shares of a way with the fewest changes; shapes broadcast."""
        first, last = (
            self.nearest(point).unflatten(-1, (self.codes, -1)) for point in (start, end)
        )
        differs = (first != last).any(-1)
        changes = (share * differs.sum(-1, keepdim=True)).round()
        is_changed = differs & (differs.cumsum(-1) <= changes)
        return torch.where(is_changed.unsqueeze(-1), last, first).flatten(-2)

    def nearest(self, z: Tensor) -> Tensor:
        """The codes whose places are nearest."""
        index = nearest(z, self.codes, self.places)
        if self.places is not None:
            return placed(index, self.places.to(z))
        values = z.shape[-1] // self.codes
        return functional.one_hot(index, values).to(z.dtype).flatten(-2)


class SpaceBeside(Space):
    """Flat latents, then codes.

    Args:
        flat: How many numbers of z are flat.
        codes: The space of the rest.

    Example:
        >>> import torch
        >>> space = SpaceBeside(1, CodeSpace(1))
        >>> space.between(torch.tensor([0.0, 1.0, 0.0]), torch.tensor([1.0, 0.0, 1.0]), torch.tensor([0.75]))
        tensor([0.7500, 0.0000, 1.0000])
    """

    name = "flat latents and codes"
    is_flat = has_densities = False

    def __init__(self, flat: int, codes: CodeSpace) -> None:
        self.flat, self.codes = flat, codes

    def between(self, start: Tensor, end: Tensor, share: Tensor) -> Tensor:
        """A straight line of the first, and codes that change over of the rest."""
        straight = super().between(start[..., : self.flat], end[..., : self.flat], share)
        changed = self.codes.between(start[..., self.flat :], end[..., self.flat :], share)
        return torch.cat([straight, changed], -1)

    def nearest(self, z: Tensor) -> Tensor:
        """The nearest codes; flat latents as they are."""
        return torch.cat([z[..., : self.flat], self.codes.nearest(z[..., self.flat :])], -1)


FLAT = Space()


def space_of(vae: nn.Module) -> Space:
    """The space of the latents of a model, a `VAE`."""
    return getattr(vae.posterior, "space", FLAT)


def require_flat(vae: nn.Module, what: str, instead: str) -> None:
    """Refuse what walks along straight lines, or along gradients, where latents do not lie in a flat space.

    Args:
        vae: The model, a `VAE`.
        what: What needs it, as a sentence begins.
        instead: What to do.

    Raises:
        ValueError: for latents in another space.

    Example:
        >>> from variform import ModelConfig, build_vae, read
        >>> require_flat(build_vae(ModelConfig(), read("digits").schema), "annealing", "Use importance samples.")
    """
    space = space_of(vae)
    if not space.is_flat:
        raise ValueError(f"{what} needs latents in a flat space; got {space.name}. {instead}")
