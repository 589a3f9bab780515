"""How alike images are to an eye, by their structure or by the features of a network."""

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from variform.config.checks import Count, Positive, checked
from variform.system.draws import seeded

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the scales of MS-SSIM, the finest first, as Wang, Simoncelli and Bovik (2003) measured them."""
_WINDOW = 11  # pixels
_STD = 1.5  # of the window's Gaussian, for that width
_STABILISERS = (0.01, 0.03)  # K_1 and K_2, in shares of the range
_LEAST = 1e-6  # of a factor that is raised to a power: below zero there is none, and at zero its slope is infinite


def scales_of(sides: tuple[int, int]) -> tuple[int, int]:
    """How many scales and how wide a window images of such sides have: 5 and 11, or what fits into smaller ones.

    The window is 11 pixels, or the largest odd number that the shorter side has; each scale halves the image, as long
    as the window fits.

    Args:
        sides: Height and width.

    Example:
        >>> scales_of((176, 200)), scales_of((28, 28)), scales_of((8, 8))
        ((5, 11), (2, 11), (1, 7))
    """
    side = min(sides)
    window = min(_WINDOW, side - 1 + side % 2)
    scales = sum(side // 2**scale >= window for scale in range(len(WEIGHTS)))
    return scales, window


@checked
def ms_ssim(first: Tensor, second: Tensor, *, spread: Positive = 1.0) -> Tensor:
    r"""The structural similarity of images over several scales, at most 1, which equal images have.

    $\text{MS-SSIM} = l_M^{\alpha_M} \prod_{j=1}^{M} c_j^{\alpha_j}$, where in windows with a Gaussian weight

    $l = \frac{2 \mu_a \mu_b + C_1}{\mu_a^2 + \mu_b^2 + C_1}$ and
    $c = \frac{2 \sigma_{ab} + C_2}{\sigma_a^2 + \sigma_b^2 + C_2}$

    compare brightness and structure. c is a mean over the windows that lie in the image at scale j; at the last scale
    the mean of l c is taken over a window around every pixel, with the image reflected at its edges, as torchmetrics
    has it. From one scale to the next images are halved by means of 2 x 2 pixels. $C_i = (K_i R)^2$ with
    $K = (0.01, 0.03)$ and the range R of the data. Exponents are `WEIGHTS`, which add up to 1; where fewer scales fit
    they are divided by their sum. A mean below 0 counts as nearly 0: it has no such power.

    It is no likelihood: a loss with it is no bound of log p(x).

    Args:
        first: Images a, (B, channels, height, width).
        second: Images b, likewise.
        spread: R, the largest value that a pixel can have less the smallest.

    Shape:
        (B,), without a unit.

    Reference:
        Wang, Simoncelli and Bovik (2003), equation 7, with $\alpha_j = \beta_j = \gamma_j$.

    Example:
        >>> images = torch.rand(2, 1, 28, 28)
        >>> torch.allclose(ms_ssim(images, images), torch.ones(2))
        True
        >>> bool((ms_ssim(images, 1 - images) < 0.1).all())
        True
    """
    scales, window = scales_of((first.shape[-2], first.shape[-1]))
    exponents = first.new_tensor(WEIGHTS[:scales])
    exponents = exponents / exponents.sum()
    constants = [(share * spread) ** 2 for share in _STABILISERS]
    factors = []
    for scale in range(scales):
        is_last = scale == scales - 1
        if is_last:
            edges = [window // 2] * 4
            first, second = (functional.pad(images, edges, "reflect") for images in (first, second))
        brightness, structure = _compared(first, second, window, *constants)
        whole = brightness * structure if is_last else structure
        factors.append(whole.flatten(1).mean(1))
        if not is_last:
            first, second = (functional.avg_pool2d(images, 2) for images in (first, second))
    similar = torch.stack(factors, 1).clamp_min(_LEAST)
    return similar.pow(exponents).prod(1)  # eq: ms-ssim


def _compared(
    first: Tensor, second: Tensor, window: int, c1: float, c2: float
) -> tuple[Tensor, Tensor]:
    """Brightness l and structure c of every window that lies in the image, (B, channels, h, w) each."""
    channels = first.shape[1]
    place = torch.arange(window, dtype=first.dtype, device=first.device) - (window - 1) / 2
    weights = (-0.5 * (place / (_STD * window / _WINDOW)).square()).exp()
    kernel = (weights / weights.sum()).expand(channels, 1, 1, window)

    def mean(values: Tensor) -> Tensor:
        across = functional.conv2d(values, kernel, groups=channels)
        return functional.conv2d(across, kernel.mT, groups=channels)

    means = mean(first), mean(second)
    variances = [mean(a * a) - m * m for a, m in zip((first, second), means, strict=True)]
    covariance = mean(first * second) - means[0] * means[1]
    brightness = (2 * means[0] * means[1] + c1) / (means[0].square() + means[1].square() + c1)
    return brightness, (2 * covariance + c2) / (variances[0] + variances[1] + c2)  # eq: ssim


class RandomFeatures(nn.Module):
    """Features of an image by convolutions whose weights are drawn and stay: edges and textures at several scales.

    What a network that others trained on photographs gives, an untrained one gives less well; but it needs no
    download, and is the same for a seed everywhere.

    Args:
        channels: Of the image.
        filters: Channels of each scale, which halves the image before.
        seed: Of the weights.

    Shape:
        (B, channels, height, width) to a list with a tensor a scale.

    Reference:
        He, Wang and Hopcroft (2016), A powerful generative model using random weights for the deep image
        representation.

    Example:
        >>> [tuple(features.shape) for features in RandomFeatures(1)(torch.zeros(5, 1, 28, 28))]
        [(5, 32, 28, 28), (5, 64, 14, 14), (5, 128, 7, 7)]
    """

    @checked
    def __init__(
        self, channels: int, *, filters: tuple[Count, ...] = (32, 64, 128), seed: int = 0
    ) -> None:
        super().__init__()
        self.scales = len(filters)
        with seeded(seed):
            for scale, (before, after) in enumerate(itertools.pairwise((channels, *filters))):
                weight = nn.init.orthogonal_(torch.empty(after, before, 3, 3), math.sqrt(2))
                # They follow from the seed, so that no file needs them; and nothing trains them.
                self.register_buffer(f"weight_{scale}", weight, persistent=False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """The features of every scale."""
        found = []
        for scale in range(self.scales):
            images = functional.avg_pool2d(images, 2, ceil_mode=True) if scale else images
            weight = getattr(self, f"weight_{scale}").to(images.dtype)
            images = functional.relu(functional.conv2d(images, weight, padding=1))
            found.append(images)
        return found


def feature_distance(features: nn.Module, first: Tensor, second: Tensor) -> Tensor:
    r"""Half the squared distance of the features of images, $\tfrac12 \sum_l \|\phi_l(a) - \phi_l(b)\|^2 / n_l$, (B,).

    Args:
        features: $\phi$: gives a tensor, or a list of tensors, of $n_l$ numbers an image each.
        first: Images a, (B, channels, height, width).
        second: Images b, likewise.

    Reference:
        Hou, Shen, Sun and Qiu (2017), equation 5.

    Example:
        >>> feature_distance(nn.Identity(), torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2))
        tensor([0.5000])
    """
    pairs = zip(_list(features(first)), _list(features(second)), strict=True)
    parts = [(one - other).square().flatten(1).mean(1) / 2 for one, other in pairs]
    return torch.stack(parts).sum(0)  # eq: perceptual


def _list(values: Tensor | list[Tensor]) -> list[Tensor]:
    return [values] if isinstance(values, Tensor) else values
