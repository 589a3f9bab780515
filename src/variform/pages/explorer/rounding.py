"""Large matrices as whole numbers of one byte, rounded so that the errors of a row cancel.

Rounding every weight to its nearest step leaves errors that add up wherever the inputs of a layer go together. Here
the columns are rounded one after another, and those still to come take over what they can of each error: Frantar et
al. (2023), "GPTQ", after Frantar and Alistarh (2022), "Optimal Brain Compression", and Hassibi and Stork (1993).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

_DAMPING = 1e-6  # of the mean variance of an input, so that the inverse exists
_BLOCK = 32  # columns whose errors are handed on together
_GREATEST = 127
_LEAST_REACH = 1e-3  # of the root mean square of all outputs
_AT_ONCE = 128  # draws


@dataclass(frozen=True)
class Rounded:
    """A matrix as whole numbers and the step of each row.

    Args:
        whole: int8, (M, N).
        steps: float32, (M, 1).

    Example:
        >>> Rounded(torch.tensor([[2, -3]], dtype=torch.int8), torch.tensor([[0.5]])).weight
        tensor([[ 1.0000, -1.5000]])
    """

    whole: Tensor
    steps: Tensor

    @property
    def order(self) -> Tensor:
        """The rows, finest steps first: neighbours that are alike compress better."""
        return self.steps.squeeze(1).argsort(stable=True)

    @property
    def weight(self) -> Tensor:
        """The matrix, float32."""
        return self.whole * self.steps


def rounded(weight: Tensor, covariance: Tensor, steps: Tensor) -> Rounded:
    """The matrix W (M, N) in whole steps Q, where E[((W - Q) a)^2] of each row is small for inputs a.

    With H the covariance and H^-1 = U^T U, U upper triangular, an error e of column i moves each later column j by
    -e U_ij / U_ii: that is what is best for the row while the columns up to i stay. The mean of a is not in H; it is
    for the bias to take over.

    Args:
        weight: The matrix (M, N).
        covariance: Of its inputs, (N, N).
        steps: Of each row, (M, 1).

    Example:
        Two inputs that are always equal: what one weight loses the other one gains.

        >>> together = torch.ones(2, 2)
        >>> rounded(torch.tensor([[0.4, 0.4]]), together, torch.ones(1, 1)).whole.tolist()
        [[0, 1]]
    """
    order = covariance.diagonal().argsort(descending=True, stable=True)
    factor = _factor_of_inverse(covariance.double()[order][:, order])
    rest = weight.double().T[order]  # a column of W in each row, which stands together in memory
    exact_steps = steps.float().double().squeeze(1)
    whole = torch.empty_like(rest)
    for start in range(0, len(rest), _BLOCK):
        block = rest[start : start + _BLOCK]
        own = factor[start : start + _BLOCK]
        errors = torch.empty_like(block)
        for i, column in enumerate(block):
            near = (column / exact_steps).round().clamp(-_GREATEST, _GREATEST)
            errors[i] = (column - near * exact_steps) / own[i, start + i]
            whole[start + i] = near
            block[i + 1 :].addr_(own[i, start + i + 1 : start + _BLOCK], errors[i], alpha=-1)
        later = start + _BLOCK
        rest[later:] -= own[:, later:].T @ errors
    return Rounded(whole[order.argsort()].T.to(torch.int8).contiguous(), steps.float())


def _factor_of_inverse(covariance: Tensor) -> Tensor:
    """U, upper triangular, with U^T U the inverse of the damped covariance."""
    variances = covariance.diagonal()
    damping = _DAMPING * (float(variances.mean()) or 1.0)
    damped = covariance + damping * torch.eye(len(variances), dtype=covariance.dtype)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped))
    return torch.linalg.cholesky(inverse, upper=True)


@dataclass(frozen=True)
class Measured:
    """What rounding a dense layer must know of it.

    Args:
        mean: Of its inputs, (N,).
        covariance: Of its inputs, (N, N).
        reach: How far a change of each output moves what is decoded: the root of the mean, over draws, of the sum of
            its squared derivatives, (M,).
    """

    mean: Tensor
    covariance: Tensor
    reach: Tensor

    def rounded(self, layer: nn.Linear, scale: float) -> tuple[Rounded, Tensor]:
        """The layer's matrix with steps of `scale` standard deviations of its weights, and the bias that goes with it.

        Outputs that reach less far have coarser steps, by the fourth root: those that say nothing under most draws may
        still speak under a rare one.
        """
        exact = layer.weight.detach().cpu().double()
        share = self.reach / (self.reach.square().mean().sqrt() or 1.0)
        steps = scale * exact.std() / share.clamp(min=_LEAST_REACH) ** 0.25
        made = rounded(exact, self.covariance, steps[:, None])
        lost = (exact - made.weight.double()) @ self.mean
        bias = lost if layer.bias is None else layer.bias.detach().cpu().double() + lost
        return made, bias


def measured(
    layer: nn.Linear, decode: Callable[[Tensor], Tensor], draws: Tensor, few: int
) -> Measured:
    """Look at a layer while latent points are decoded.

    Args:
        layer: The layer.
        decode: From latent points to means, through the layer.
        draws: Latent points.
        few: How many of them tell how far its outputs reach.
    """
    inputs: list[Tensor] = []
    watch = layer.register_forward_pre_hook(lambda _, given: inputs.append(given[0].double().cpu()))
    with torch.no_grad():
        for some in draws.split(_AT_ONCE):
            decode(some)
    watch.remove()
    values = torch.cat(inputs)
    mean = values.mean(0)
    centred = values - mean
    reach = _reach(layer, decode, draws[:few])
    return Measured(mean, centred.T @ centred / len(values), reach)


def _reach(layer: nn.Linear, decode: Callable[[Tensor], Tensor], draws: Tensor) -> Tensor:
    """Random signs s give it from one derivative a draw: E[(d(s . x) / dh)^2] is the sum of (dx_k / dh)^2 over k."""
    squares = torch.zeros(layer.out_features, dtype=torch.float64)
    outputs: list[Tensor] = []

    def cut(_: nn.Module, __: object, output: Tensor) -> Tensor:
        outputs.append(output.detach().requires_grad_())
        return outputs[-1].clone()  # what comes next may write into it

    watch = layer.register_forward_hook(cut)
    with torch.enable_grad():
        for some in draws.split(_AT_ONCE):
            decoded = decode(some)
            if not decoded.requires_grad:  # of a likelihood without derivatives
                watch.remove()
                return torch.ones_like(squares)
            signs = torch.randint_like(decoded, 2) * 2 - 1
            (slopes,) = torch.autograd.grad((signs * decoded).sum(), outputs.pop())
            squares += slopes.double().square().sum(0).cpu()
    watch.remove()
    return (squares / len(draws)).sqrt()
