"""Laws that autoregressive maps make of Gaussian noise. Nothing else imports zuko.

An autoregressive map is one pass through a masked network in one direction and as many passes as there are dimensions
in the other. Each law here uses the cheap direction for what training asks of it.
"""

import functools
import math
from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.distributions import Transform, constraints
from torch.func import functional_call
from zuko.flows.autoregressive import MaskedAutoregressiveTransform
from zuko.transforms import MonotonicAffineTransform

from variform.distributions.gaussian import DiagonalGaussian
from variform.distributions.law import Shape, only_gradient
from variform.distributions.pushed import Pushed

_SPLINE_BINS = 8
# The least slope and the range are part of a density. They are said here: zuko's defaults were others before 1.5.
_AFFINE = functools.partial(MonotonicAffineTransform, slope=1e-3)


class Spline(Transform):
    r"""A rising rational-quadratic spline on [-bound, bound], the identity outside.

    In a bin of width w and height h, with $s = h / w$, slopes $d_0$ and $d_1$ at its ends and
    $\xi \in [0, 1]$ the place in it, with $c = d_0 + d_1 - 2 s$:

    $y = y_0 + h\, \frac{s \xi^2 + d_0 \xi (1 - \xi)}{s + c\, \xi (1 - \xi)}$

    The map is zuko's `MonotonicRQSTransform`. Here the bins are the first dimension of every tensor, so that each
    operation runs along the rows, and slopes are computed at two knots a value and not at all of them.

    Args:
        widths: Of the K bins, unconstrained, (*, K).
        heights: Likewise.
        derivatives: Logarithms of the slopes at the knots between bins, unconstrained, (*, K - 1).
        bound: Where the spline ends.
        slope: The least slope; the largest is its inverse.

    Reference:
        Durkan, Bekasov, Murray and Papamakarios (2019), section 3.1 and appendix A.

    Example:
        >>> spline = Spline(torch.randn(3, 8), torch.randn(3, 8), torch.randn(3, 7))
        >>> x = torch.tensor([-7.0, 0.5, 3.0])
        >>> torch.allclose(spline.inv(spline(x)), x, atol=1e-4)
        True
    """

    domain = constraints.real
    codomain = constraints.real
    bijective = True
    sign = +1

    def __init__(
        self,
        widths: Tensor,
        heights: Tensor,
        derivatives: Tensor,
        bound: float = 5.0,
        slope: float = 1e-3,
    ) -> None:
        super().__init__()
        self.bound, self.log_slope = bound, math.log(slope)
        unconstrained = [_bins_first(part) for part in (widths, heights, derivatives)]
        self.unconstrained = torch.cat(unconstrained)

    @classmethod
    def of_rows(cls, unconstrained: Tensor, bound: float = 5.0, slope: float = 1e-3) -> "Spline":
        """The spline of widths, heights and derivatives in one tensor, (3 K - 1, *): bins come first."""
        spline = cls.__new__(cls)
        Transform.__init__(spline)
        spline.bound, spline.log_slope = bound, math.log(slope)
        spline.unconstrained = unconstrained
        return spline

    def _call(self, x: Tensor) -> Tensor:
        return self.call_and_ladj(x)[0]

    def _inverse(self, y: Tensor) -> Tensor:
        share = self._share(y)
        (x0, y0), (width, height), (d0, d1) = self._bin(share, axis=1)
        s = height / width
        c = d0 + d1 - 2 * s
        above = torch.where(_is_inside(share), share - y0, 0)
        quadratic, linear = height * (s - d0) + above * c, height * d0 - above * c
        root = (linear.square() + 4 * quadratic * s * above).sqrt()
        x = x0 + width * (2 * s * above / (linear + root))
        return torch.where(_is_inside(share), self.bound * (2 * x - 1), y)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """The logarithm of the slope at `x`."""
        del y
        return self.call_and_ladj(x)[1]

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The value at `x` and the logarithm of the slope there, under the name that zuko calls."""
        share = self._share(x)
        (x0, y0), (width, height), (d0, d1) = self._bin(share, axis=0)
        s = height / width
        place = torch.where(_is_inside(share), (share - x0) / width, 0)
        rest = 1 - place
        middle = place * rest
        denominator = s + (d0 + d1 - 2 * s) * middle
        y = y0 + height * (s * place.square() + d0 * middle) / denominator
        numerator = 2 * s * middle + d0 * rest.square() + d1 * place.square()
        log_slope = ((s / denominator).square() * numerator).log()
        return (
            torch.where(_is_inside(share), self.bound * (2 * y - 1), x),
            torch.where(_is_inside(share), log_slope, 0),
        )

    def _share(self, values: Tensor) -> Tensor:
        """Where in the interval values lie, in shares of its length."""
        return (values + self.bound) / (2 * self.bound)

    def _bin(self, share: Tensor, *, axis: int) -> tuple[Tensor, Tensor, Tensor]:
        """The lower corner, the sizes and the slopes of the bin of each value, (2, *) each."""
        unconstrained = _beside(share, self.unconstrained)
        corner, sizes, raw = _Bin.apply(unconstrained, share, axis, -2 / self.log_slope)
        return corner, sizes, (raw / (1 + (raw / self.log_slope).abs())).exp()


class _Bin(torch.autograd.Function):
    r"""The bin of each value: its lower corner, its sizes, and the unconstrained slopes at its ends, (2, *) each.

    With $u_k = r_k / (1 + a |r_k|)$ of the unconstrained r, bin k has the size $s_k = e^{u_k} / \sum_j e^{u_j}$, and
    the corner of bin i is $c = \sum_{k < i} s_k$. Gradients of both, g and h, reach r by

    $\frac{s_k}{(1 + a |r_k|)^2} \left([k < i]\, g + [k = i]\, h - c\, g - s_i\, h\right)$

    Autograd would take the softmax, the running sum and the choice apart, and keep what each gives.
    """

    @staticmethod
    def forward(
        ctx: Any, unconstrained: Tensor, share: Tensor, axis: int, softness: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        bins = (len(unconstrained) + 1) // 3
        raw_sizes = unconstrained[: 2 * bins].unflatten(0, (2, bins))
        raw_slopes = unconstrained[2 * bins :]
        damping = raw_sizes.abs().mul_(softness).add_(1)
        weights = (raw_sizes / damping).exp_()  # (2, K, *), at most exp(1 / a)
        total = weights.sum(1)
        wanted, end = share * total[axis], torch.zeros_like(share)
        passed = share.new_empty(bins - 1, *share.shape)  # 1 where a value lies beyond
        for weight, is_beyond in zip(weights[axis], passed, strict=False):
            end += weight
            torch.lt(end, wanted, out=is_beyond)
        chosen = share.new_empty(bins, *share.shape)  # 1 for the bin of a value
        torch.sub(1, passed[0], out=chosen[0])
        torch.sub(passed[:-1], passed[1:], out=chosen[1:-1])
        chosen[-1] = passed[-1]
        corner = (weights[:, :-1] * passed).sum(1) / total
        size = (weights * chosen).sum(1) / total
        slopes = [(raw_slopes * of_knots).sum(0) for of_knots in (chosen[1:], chosen[:-1])]
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(weights, damping, total, corner, size, passed, chosen)
        return corner, size, torch.stack(slopes)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Any) -> Any:  # pyrefly: ignore[bad-override] (the decorator)
        weights, damping, total, corner, size, passed, chosen = ctx.saved_tensors
        for_corner, for_size, (for_first, for_second) = grad_outputs
        bins = len(chosen)
        gradient = weights.new_empty(3 * bins - 1, *total.shape[1:])
        for_sizes, for_slopes = gradient[: 2 * bins].unflatten(0, (2, bins)), gradient[2 * bins :]
        torch.mul(for_size[:, None], chosen, out=for_sizes)
        for_sizes[:, :-1].addcmul_(for_corner[:, None], passed)
        for_sizes.sub_((for_corner * corner + for_size * size)[:, None])
        for_sizes.mul_(weights).div_(damping.square().mul_(total[:, None]))
        torch.mul(chosen[1:], for_first, out=for_slopes)
        for_slopes.addcmul_(chosen[:-1], for_second)
        return gradient, None, None, None


def _bins_first(parameters: Tensor) -> Tensor:
    return parameters.movedim(-1, 0)


def _is_inside(share: Tensor) -> Tensor:
    return (share > 0) & (share <= 1)


def _beside(share: Tensor, of_bins: Tensor) -> Tensor:
    """What bins have, (n, *), for each value: repeated for draws of more than one sample."""
    count, *batch = of_bins.shape
    ones = (1,) * (share.dim() - len(batch))
    return of_bins.reshape(count, *ones, *batch).expand(count, *share.shape)


_SPLINE = functools.partial(Spline, bound=5.0, slope=1e-3)
_SPLINE_OF_ROWS = functools.partial(Spline.of_rows, bound=5.0, slope=1e-3)


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
        self.has_splines = (
            univariate == "spline" and dim > 1
        )  # of one dimension there is no network
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
        if not inverse and context is None and self.has_splines:
            return self._splines(values)
        if context is not None:  # of more rows than there are values, in a mixture
            batch = torch.broadcast_shapes(values.shape[:-1], context.shape[:-1])
            values = values.expand(*batch, values.shape[-1])
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

    def _splines(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """The map of splines without a context, with the rows along the last axis from the beginning to the end."""
        shape = values.shape
        columns = values.reshape(-1, shape[-1]).T  # (D, N)
        log_det = columns.new_zeros(columns.shape[1])
        for step in self.steps:
            hyper: Any = step.hyper
            *layers, last = hyper
            hidden = columns
            for layer in layers:
                is_linear = isinstance(layer, nn.Linear)
                hidden = _linear(layer, hidden) if is_linear else layer(hidden)
            # The network gives all parameters of a dimension beside each other; a spline wants all of a kind.
            parameters = _linear(last, hidden, kinds=3 * _SPLINE_BINS - 1)
            columns, change = _SPLINE_OF_ROWS(parameters).call_and_ladj(columns)
            log_det = log_det + change.sum(0)
        return columns.T.reshape(shape), log_det.reshape(shape[:-1])


def _linear(layer: Any, columns: Tensor, kinds: int = 1) -> Tensor:
    """What a masked layer gives for columns (in, N): (out, N), or (kinds, out / kinds, N)."""
    weight = (layer.mask * layer.weight).unflatten(0, (-1, kinds)).transpose(0, 1)
    bias = layer.bias.unflatten(0, (-1, kinds)).T
    out = torch.addmm(bias.reshape(-1, 1), weight.flatten(0, 1), columns)
    return out if kinds == 1 else out.unflatten(0, (kinds, -1))


class Flow(Pushed):
    """What the two laws on flows share: noise and steps.

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
        super().__init__(noise)
        self.steps, self.weights, self.context = steps, weights, context

    def detached(self) -> Self:
        """The same law without gradients to the noise's parameters, the map's and the context."""
        weights = {name: value.detach() for name, value in self.weights.items()}
        context = None if self.context is None else self.context.detach()
        return type(self)(self.noise.detached(), self.steps, weights, context)

    def with_noise(self, noise: DiagonalGaussian) -> Self:
        """The same map of other noise."""
        return type(self)(noise, self.steps, self.weights, self.context)

    def rows(self, index: Tensor) -> Self:
        """The rows `index` of the batch, as a law."""
        context = None if self.context is None else self.context[index]
        return type(self)(self.noise.rows(index), self.steps, self.weights, context)

    def _mapped(self, values: Tensor, *, inverse: bool = False) -> tuple[Tensor, Tensor]:
        # A determinant in half precision is worth nothing.
        with torch.autocast(values.device.type, enabled=False):
            mapped = functional_call(
                self.steps, dict(self.weights), (values, self.context, inverse)
            )
        return mapped


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

    def _from_noise(self, noise: Tensor) -> Tensor:
        return self._mapped(noise)[0]


class MaskedAutoregressive(Flow):
    r"""The law of $z = f^{-1}(z_0; h)$, $z_0 \sim N(\mu, \sigma^2)$: densities are one pass, draws are many.

    $\log p(z) = \log N(f(z; h); \mu, \sigma^2) + \log |\det \partial f / \partial z|$

    Example:
        >>> from variform.model.flows import FlowPrior
        >>> FlowPrior(3)(None).log_prob(torch.zeros(5, 3)).shape
        torch.Size([5])
    """

    has_rsample = True

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        """Differentiable draws, by inversion."""
        return self._from_noise(self.noise.rsample(sample_shape))

    def rsample_and_log_prob(
        self, sample_shape: Shape = (), *, stick: bool = False
    ) -> tuple[Tensor, Tensor]:
        """As of any law; the density comes with the inversion unless gradients are to stick."""
        start, log_start = self.noise.rsample_and_log_prob(sample_shape)
        z, log_det = self._mapped(start, inverse=True)
        log_q = log_start - log_det
        if stick:
            log_q = log_q.detach() + only_gradient(self.detached().log_prob(z))
        return z, log_q

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
