"""A law whose every row has a bent Gaussian of its own, cheap in both directions."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from variform.distributions.flows import Spline
from variform.distributions.gaussian import FullGaussian
from variform.distributions.law import LOG_2_PI, Law, Shape

_BINS = 8
_WIDTH = 16  # of the network of a coupling
_MOST = 2.0  # by which a coupling may change the logarithm of a scale


class Coupling(NamedTuple):
    """The network of one coupling, of each row: (B, width, D), (B, width), (B, 2 D, width) and (B, 2 D)."""

    inner: Tensor
    inner_bias: Tensor
    outer: Tensor
    outer_bias: Tensor

    def scale_and_shift(self, noise: Tensor, is_given: Tensor) -> tuple[Tensor, Tensor]:
        """Of noise (*sample, B, D): the logarithm of the scale and the shift of the entries that are not given."""
        hidden = torch.einsum("...bd,bhd->...bh", noise * is_given, self.inner) + self.inner_bias
        raw = torch.einsum("...bh,bdh->...bd", hidden.tanh(), self.outer) + self.outer_bias
        log_scale, shift = (part * ~is_given for part in raw.chunk(2, -1))
        return _MOST * (log_scale / _MOST).tanh(), shift


class Coupled(Law):
    r"""The law of $z = \mu + A f(\varepsilon)$ with $\varepsilon \sim N(0, I)$, where each row has an f of its own.

    In a coupling half of the numbers are given and scale and shift the others, $\varepsilon'_j = \varepsilon_j
    e^{s_j} + t_j$ with s and t from a small network of those given; the next coupling swaps the halves. At the end each
    number goes through a rising spline, so that f can be undone:
    $\log q(z) = \log N(\varepsilon; 0, I) - \sum \log |f'| - \log \det A$.

    Args:
        base: The Gaussian that is bent, over (B, D).
        couplings: The couplings, one after another.
        spline: Widths, heights and logarithms of slopes of the splines, unconstrained, (23, B, D).

    Reference:
        Dinh, Sohl-Dickstein and Bengio (2017), equations 7 and 8; Durkan, Bekasov, Murray and Papamakarios (2019).

    Example:
        >>> law = Coupled.of(FullGaussian(torch.zeros(5, 3), torch.eye(3).expand(5, 3, 3)))
        >>> z, log_q = law.rsample_and_log_prob((2,))
        >>> torch.allclose(law.log_prob(z), log_q, atol=1e-4)
        True
    """

    has_rsample = True

    def __init__(self, base: FullGaussian, couplings: list[Coupling], spline: Tensor) -> None:
        super().__init__(torch.Size((*base.batch_shape, *base.event_shape)), 1)
        self.base, self.couplings, self.spline = base, couplings, spline

    @classmethod
    def of(cls, base: FullGaussian, couplings: int = 4) -> "Coupled":
        """The Gaussian as it is, its networks ready to learn how it bends."""
        rows, latents = base.mean.shape
        zeros = base.mean.new_zeros
        generator = torch.Generator().manual_seed(0)
        networks = []
        for _ in range(couplings):
            drawn = torch.randn(_WIDTH, latents + 1, generator=generator, dtype=torch.float64)
            inner, inner_bias = drawn[:, :-1] / math.sqrt(latents), drawn[:, -1]
            networks.append(
                Coupling(
                    inner.to(base.mean).repeat(rows, 1, 1),
                    inner_bias.to(base.mean).repeat(rows, 1),
                    zeros(rows, 2 * latents, _WIDTH),
                    zeros(rows, 2 * latents),
                )
            )
        return cls(base, networks, zeros(3 * _BINS - 1, rows, latents))

    @property
    def parameters(self) -> list[Tensor]:
        """All numbers that say how the rows are bent."""
        return [*(part for coupling in self.couplings for part in coupling), self.spline]

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        """Differentiable draws."""
        return self.rsample_and_log_prob(sample_shape)[0]

    def rsample_and_log_prob(
        self, sample_shape: Shape = (), *, stick: bool = False
    ) -> tuple[Tensor, Tensor]:
        """As of any law."""
        noise = self._noise(sample_shape, self.base.mean)
        log_q = _log_normal(noise) - self.base.log_det / 2
        for number, coupling in enumerate(self.couplings):
            log_scale, shift = coupling.scale_and_shift(noise, self._is_given(number))
            noise = noise * log_scale.exp() + shift
            log_q = log_q - log_scale.sum(-1)
        noise, log_slope = Spline.of_rows(self.spline).call_and_ladj(noise)
        z = self.base.loc + (self.base.scale_tril @ noise.unsqueeze(-1)).squeeze(-1)
        if stick:
            return z, self.detached().log_prob(z)
        return z, log_q - log_slope.sum(-1)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density at `value`, in nats."""
        bent = self.base.whitened(value)
        spline = Spline.of_rows(self.spline)
        noise: Any = spline.inv(bent)  # torch's types know a tensor or nothing
        log_det = spline.log_abs_det_jacobian(noise, bent).sum(-1) + self.base.log_det / 2
        for number, coupling in reversed(list(enumerate(self.couplings))):
            log_scale, shift = coupling.scale_and_shift(noise, self._is_given(number))
            noise = (noise - shift) * (-log_scale).exp()
            log_det = log_det + log_scale.sum(-1)
        return _log_normal(noise) - log_det  # eq: coupled

    def detached(self) -> "Coupled":
        """The same law without gradients to what bends it."""
        couplings = [Coupling(*(part.detach() for part in parts)) for parts in self.couplings]
        return Coupled(self.base.detached(), couplings, self.spline.detach())

    def _is_given(self, number: int) -> Tensor:
        """Which entries the coupling of this number leaves as they are, (D,)."""
        latents = torch.arange(self.event_shape[0], device=self.spline.device)
        return latents % 2 == number % 2


def _log_normal(noise: Tensor) -> Tensor:
    return -0.5 * (noise.square() + LOG_2_PI).sum(-1)
