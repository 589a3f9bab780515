"""Networks that tell two kinds of points apart, and learn beside the VAE from `Terms.auxiliary`."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from variform.model.networks import MLP
from variform.system import draws


def discriminator(in_shape: Sequence[int], hidden: Sequence[int], seed: int) -> MLP:
    """A network D, from a point to the logit of that it is real; its initial weights disturb no other draws.

    Args:
        in_shape: Shape of a point.
        hidden: Widths of its hidden layers.
        seed: Seed of its initial weights.

    Example:
        >>> import torch
        >>> discriminator((3,), (8,), 0)(torch.zeros(5, 3)).shape
        torch.Size([5, 1])
    """
    with draws.seeded(seed):
        return MLP(in_shape, (1,), hidden=hidden, activation="leaky-relu")


def judged(network: nn.Module, points: Tensor) -> Tensor:
    """Logits of points (N, *in_shape), (N,), whose gradient reaches the points and never the network.

    Example:
        >>> import torch
        >>> network, points = discriminator((3,), (8,), 0), torch.zeros(5, 3, requires_grad=True)
        >>> judged(network, points).sum().backward()
        >>> points.grad is None, network.output.weight.grad is None
        (False, True)
    """
    return frozen(network, points).squeeze(-1)


def frozen(network: nn.Module, points: Tensor) -> Tensor:
    """What a network gives for points, through whose weights no gradient passes.

    Example:
        >>> import torch
        >>> layer = nn.Linear(3, 2)
        >>> frozen(layer, torch.zeros(5, 3)).requires_grad
        False
    """
    weights = {name: value.detach() for name, value in network.named_parameters()}
    return functional_call(network, weights, (points,))


def surprise(network: nn.Module, real: Tensor, made: Tensor) -> Tensor:
    r"""What the network minimises: $-\log D(a) - \log(1 - D(b))$ of each pair, (N,); no gradient reaches the points.

    Args:
        network: D.
        real: Points a, (N, *in_shape).
        made: Points b, likewise.

    Reference:
        Goodfellow et al. (2014), equation 1.

    Example:
        >>> import torch
        >>> network = discriminator((3,), (), 0)
        >>> for parameter in network.parameters():
        ...     _ = nn.init.zeros_(parameter)
        >>> surprise(network, torch.ones(1, 3), torch.ones(1, 3)).item() / 2  # log 2, where it cannot tell
        0.6931471824645996
    """
    first, second = (network(points.detach()).squeeze(-1) for points in (real, made))
    return functional.softplus(-first) + functional.softplus(second)  # eq: adversarial
