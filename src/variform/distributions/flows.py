"""Laws that autoregressive maps make of Gaussian noise. Nothing else imports zuko.

An autoregressive map is one pass through a masked network in one direction and as many passes as there are dimensions
in the other. Each law here uses the cheap direction for what training asks of it.
"""

import functools
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from zuko.flows.autoregressive import MaskedAutoregressiveTransform
from zuko.transforms import MonotonicAffineTransform, MonotonicRQSTransform

from variform.distributions.gaussian import DiagonalGaussian
from variform.distributions.law import Law, Shape, only_gradient

_SPLINE_BINS = 8
# The least slope and the range are part of a density. They are said here: zuko's defaults were others before 1.5.
_AFFINE = functools.partial(MonotonicAffineTransform, slope=1e-3)
_SPLINE = functools.partial(MonotonicRQSTransform, bound=5.0, slope=1e-3)
_MOMENT_DRAWS = 32  # pairs of opposite noise


class Steps(nn.Module):
    """Autoregressive steps one after another, the order of the dimensions reversed from each to the next.

    Args:
        dim: D, number of dimensions.
        context: Width of what the steps depend on besides; 0 for nothing.
        transforms: Number of steps.
        univariate: `affine`, or a monotonic rational-quadratic `spline` of 8 bins on [-5, 5].
        hidden: Widths of the hidden layers of each step's masked network.

    Shape:
        values (*sample, *batch, D) and context (*batch, width) to values and log |det d out / d in|, (*sample, *batch).
    """

    def __init__(
        self,
        dim: int,
        *,
        context: int = 0,
        transforms: int = 3,
        univariate: str = "affine",
        hidden: tuple[int, ...] = (64, 64),
    ) -> None:
        super().__init__()
        kind: dict[str, Any] = {"univariate": _AFFINE, "shapes": ((), ())}
        if univariate == "spline":
            shapes = [
                torch.Size((bins,)) for bins in (_SPLINE_BINS, _SPLINE_BINS, _SPLINE_BINS - 1)
            ]
            kind = {"univariate": _SPLINE, "shapes": shapes}
        kind["activation"] = nn.ReLU
        orders: list[Any] = [torch.arange(dim), torch.arange(dim).flip(0)]
        self.steps = nn.ModuleList(
            MaskedAutoregressiveTransform(
                dim, context, order=orders[step % 2], hidden_features=hidden, **kind
            )
            for step in range(transforms)
        )

    def forward(
        self, values: Tensor, context: Tensor | None, inverse: bool = False
    ) -> tuple[Tensor, Tensor]:
        """The map, or its inverse, and the logarithm of the absolute Jacobian determinant of what was asked for."""
        log_det = values.new_zeros(values.shape[:-1])
        for step in reversed(self.steps) if inverse else self.steps:
            transform = step(context)
            if inverse:
                after, values = values, transform.inv(values)
                log_det = log_det - transform.log_abs_det_jacobian(values, after)
            else:
                values, change = transform.call_and_ladj(values)
                log_det = log_det + change
        return values, log_det


class Flow(Law):
    """What the two laws on flows share: noise, steps, and moments, which have no formula.

    Args:
        noise: The law of the noise.
        steps: The invertible map.
        weights: Its parameters, in at least single precision, with or without a way for gradients.
        context: (*batch, width), what the map depends on; None for nothing.
    """

    def __init__(
        self,
        noise: DiagonalGaussian,
        steps: Steps,
        weights: Mapping[str, Tensor],
        context: Tensor | None,
    ) -> None:
        super().__init__(torch.Size((*noise.batch_shape, *noise.event_shape)), 1)
        self.noise, self.steps, self.weights, self.context = noise, steps, weights, context

    @property
    def mean(self) -> Tensor:
        """The mean, (*batch, D), of 64 fixed draws, noise and its opposite: the same at every call."""
        return self._fixed_draws().mean(0)

    @property
    def variance(self) -> Tensor:
        """The variance of each dimension, (*batch, D), of the same draws."""
        return self._fixed_draws().var(0)

    def _from_noise(self, noise: Tensor) -> Tensor:
        raise NotImplementedError

    def _mapped(self, values: Tensor, *, inverse: bool = False) -> tuple[Tensor, Tensor]:
        # A determinant in half precision is worth nothing.
        with torch.autocast(values.device.type, enabled=False):
            mapped = functional_call(
                self.steps, dict(self.weights), (values, self.context, inverse)
            )
        return mapped

    def _fixed_draws(self) -> Tensor:
        shape = (_MOMENT_DRAWS, *(1 for _ in self.batch_shape), *self.event_shape)
        normal = torch.randn(
            shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64, device="cpu"
        )
        normal = torch.cat([normal, -normal]).to(self.noise.loc)
        return self._from_noise(self.noise.mean + self.noise.stddev * normal)


class InverseAutoregressive(Flow):
    r"""The law of $z = f(z_0; h)$ with $z_0 \sim N(\mu, \sigma^2)$: draws with their densities are one pass.

    $\log q(z) = \log N(z_0; \mu, \sigma^2) - \log |\det \partial f / \partial z_0|$. `log_prob` of a z from elsewhere
    has to invert f, a pass for every dimension.

    Example:
        >>> from variform.model.flows import IAFPosterior
        >>> law = IAFPosterior(3)(torch.zeros(5, 70))
        >>> z, log_q = law.rsample_and_log_prob((2,))
        >>> torch.allclose(law.log_prob(z), log_q, atol=1e-4)
        True
    """

    has_rsample = True

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        """Differentiable draws."""
        return self.rsample_and_log_prob(sample_shape)[0]

    def rsample_and_log_prob(
        self, sample_shape: Shape = (), *, stick: bool = False
    ) -> tuple[Tensor, Tensor]:
        """As of any law, without an inversion unless gradients are to stick."""
        start, log_start = self.noise.rsample_and_log_prob(sample_shape)
        z, log_det = self._mapped(start)
        log_q = log_start - log_det  # eq: inverse-autoregressive
        if stick:
            log_q = log_q.detach() + only_gradient(self.detached().log_prob(z))
        return z, log_q

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density at `value`, in nats, by inversion: slow."""
        start, log_det = self._mapped(value, inverse=True)
        return self.noise.log_prob(start) + log_det

    def detached(self) -> "InverseAutoregressive":
        """The same law without gradients to the noise's parameters, the map's and the context."""
        weights = {name: value.detach() for name, value in self.weights.items()}
        context = None if self.context is None else self.context.detach()
        return InverseAutoregressive(self.noise.detached(), self.steps, weights, context)

    def with_noise(self, noise: DiagonalGaussian) -> "InverseAutoregressive":
        """The same map of other noise."""
        return InverseAutoregressive(noise, self.steps, self.weights, self.context)

    def rows(self, index: Tensor) -> "InverseAutoregressive":
        """The rows `index` of the batch, as a law."""
        context = None if self.context is None else self.context[index]
        return InverseAutoregressive(self.noise.rows(index), self.steps, self.weights, context)

    def _from_noise(self, noise: Tensor) -> Tensor:
        return self._mapped(noise)[0]


class MaskedAutoregressive(Flow):
    r"""The law of $z = f^{-1}(\varepsilon)$, $\varepsilon \sim N(0, I)$: densities are one pass, draws are many.

    $\log p(z) = \log N(f(z); 0, I) + \log |\det \partial f / \partial z|$

    Example:
        >>> from variform.model.flows import FlowPrior
        >>> FlowPrior(3)(None).log_prob(torch.zeros(5, 3)).shape
        torch.Size([5])
    """

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        """Draws, by inversion; not differentiable."""
        with torch.no_grad():
            return self._from_noise(self.noise.rsample(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density at `value`, in nats."""
        noise, log_det = self._mapped(value)
        return self.noise.log_prob(noise) + log_det  # eq: masked-autoregressive

    def _from_noise(self, noise: Tensor) -> Tensor:
        return self._mapped(noise, inverse=True)[0]


def weights_of_steps(steps: Steps) -> dict[str, Tensor]:
    """Parameters in at least single precision."""
    return {
        name: value.to(torch.promote_types(value.dtype, torch.float32))
        for name, value in steps.named_parameters()
    }
