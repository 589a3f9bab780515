r"""Axes of a latent space: a model whose codes are turned onto those of another, and which is otherwise the same.

$z' = R z + t$ changes no p(x) and no ELBO where prior, posterior and networks can follow: the first layer of the
decoder takes $R^{-1}(z' - t)$, the last one of the encoder gives $R \mu + t$, and so on. What follows exactly is

| prior | posterior | R | t |
|---|---|---|---|
| N(0, I) | full covariance | any rotation or reflection | 0 |
| N(0, I) | diagonal | a permutation with signs | 0 |
| mixture | both | a permutation with signs | any |
| VampPrior | as N(0, I), for it is made of posteriors | | any |
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from variform.model.networks import MLP, ConvolutionalDecoder, ConvolutionalEncoder
from variform.model.posteriors import DiagonalPosterior, FullCovariancePosterior
from variform.model.priors import MixturePrior, StandardNormalPrior, VampPrior
from variform.model.spaces import space_of
from variform.model.vae import VAE

Array = NDArray[Any]
Kind = Literal["rotation", "signed permutation", "none"]


@dataclass(frozen=True, eq=False)
class Alignment:
    r"""The map $z' = R z + t$ from the codes of a model onto other codes.

    Args:
        kind: What R can be for the model: a rotation, a signed permutation, or none.
        turn: R, orthogonal, (D, D).
        shift: t, (D,).
        why: Why it can be no more, in words; empty where it can be any rotation.
    """

    kind: str
    turn: Array
    shift: Array
    why: str = ""


def align(vae: VAE, codes: Array, wanted: Array) -> Alignment:
    r"""The map that brings codes nearest to others, $\min \sum_n |R z_n + t - w_n|^2$, among those that change no p(x).

    A rotation is the orthogonal Procrustes solution, a permutation with signs that of an assignment problem.

    Args:
        vae: The model that gave the codes.
        codes: z, (N, D).
        wanted: w, (N, D), in the same order.

    Reference:
        Schönemann (1966) for the rotation; Kuhn (1955) for the assignment.

    Example:
        >>> from variform import ModelConfig, build_vae, read
        >>> vae = build_vae(ModelConfig(latent_dim=2), read("digits").schema)
        >>> codes = np.array([[1.0, 0.2], [-0.5, 2.0], [0.3, -1.0]])
        >>> align(vae, codes, codes[:, ::-1] * [1.0, -1.0]).turn
        array([[ 0.,  1.],
               [-1.,  0.]])
    """
    from scipy.linalg import orthogonal_procrustes  # here, for it takes a tenth of a second

    kind, why = _freedom(vae)
    dim = vae.latent_dim
    if kind == "none":
        return Alignment(kind, np.eye(dim), np.zeros(dim), why)
    may_shift = not isinstance(vae.prior, StandardNormalPrior)
    centre, goal = (part.mean(0) * may_shift for part in (codes, wanted))
    products = (codes - centre).T @ (wanted - goal)
    if kind == "rotation":
        turn = orthogonal_procrustes(codes - centre, wanted - goal)[0].T
    else:
        turn = _signed_permutation(products)
    return Alignment(kind, turn, goal - turn @ centre, why)


def _signed_permutation(products: Array) -> Array:
    """R with entries 0, 1 and -1 that maximises the trace of R times `products`, (D, D)."""
    from scipy.optimize import linear_sum_assignment

    own, other = linear_sum_assignment(-np.abs(products))
    turn = np.zeros_like(products)
    turn[other, own] = np.where(products[own, other] < 0, -1.0, 1.0)
    return turn


def _freedom(vae: VAE) -> tuple[Kind, str]:
    """What R can be, and why it can be no more."""
    has_own_networks = not (
        isinstance(vae.encoder, MLP | ConvolutionalEncoder)
        and isinstance(vae.decoder, MLP | ConvolutionalDecoder)
    )
    if has_own_networks:
        return "none", "its networks are not those of variform, whose layers are known"
    if not space_of(vae).is_flat:
        return "none", "its latents lie in a space of their own"
    if not isinstance(vae.posterior, DiagonalPosterior | FullCovariancePosterior):
        return "none", "a posterior on a flow has an order of its dimensions"
    if not isinstance(vae.prior, StandardNormalPrior | MixturePrior | VampPrior):
        return "none", "a prior on a flow has an order of its dimensions"
    if isinstance(vae.posterior, DiagonalPosterior):
        return "signed permutation", "a rotation would leave no diagonal posterior diagonal"
    if isinstance(vae.prior, MixturePrior):
        return "signed permutation", "the components of a mixture are diagonal"
    return "rotation", ""


@torch.no_grad()
def move(vae: VAE, alignment: Alignment) -> None:
    """Give a model the codes that an alignment says, in place; p(x) and the ELBO stay, up to rounding.

    Args:
        vae: The model that it was found for.
        alignment: As `align` gives it.

    Example:
        >>> from variform import ModelConfig, build_vae, read
        >>> digits = read("digits")
        >>> vae = build_vae(ModelConfig(latent_dim=2), digits.schema)
        >>> x = digits.test.prepared()
        >>> before = vae.encode(x).mean, vae.reconstruct(x)
        >>> move(vae, Alignment("signed permutation", np.array([[0.0, -1.0], [1.0, 0.0]]), np.zeros(2)))
        >>> torch.allclose(vae.encode(x).mean[:, 1], before[0][:, 0]), torch.allclose(vae.reconstruct(x), before[1])
        (True, True)
    """
    if alignment.kind == "none":
        return
    turn, shift = (torch.from_numpy(part).double() for part in (alignment.turn, alignment.shift))
    dim = vae.latent_dim
    first = next(layer for layer in vae.decoder.modules() if isinstance(layer, nn.Linear))
    last: Any = vae.encoder.output
    sees = _double(first.weight[:, :dim]) @ turn.T
    first.weight[:, :dim] = sees.to(first.weight)
    first.bias.sub_((sees @ shift).to(first.bias))
    last.weight[:dim] = (turn @ _double(last.weight[:dim])).to(last.weight)
    last.bias[:dim] = (turn @ _double(last.bias[:dim]) + shift).to(last.bias)
    if isinstance(vae.posterior, FullCovariancePosterior):
        before = vae.posterior.turn
        whole = turn if before is None else turn @ _double(before)
        vae.posterior.turn = whole.to(last.weight)
    else:
        order = turn.abs().argmax(1)
        last.weight[dim : 2 * dim] = last.weight[dim : 2 * dim][order]
        last.bias[dim : 2 * dim] = last.bias[dim : 2 * dim][order]
    if isinstance(vae.prior, MixturePrior):
        prior = vae.prior
        prior.loc.copy_(_double(prior.loc) @ turn.T + shift)
        prior.log_var.copy_(prior.log_var[:, turn.abs().argmax(1)])


def unturn(vae: VAE) -> None:
    """Turn a model back, in place, so that its posterior needs no rotation of its own: training is then faster."""
    if isinstance(vae.posterior, FullCovariancePosterior) and vae.posterior.turn is not None:
        back = _double(vae.posterior.turn).T.numpy()
        move(vae, Alignment("rotation", back, np.zeros(vae.latent_dim)))
        drop_turn(vae)


def drop_turn(vae: VAE) -> None:
    """Leave the rotation of a posterior out, for weights of before it was turned."""
    if isinstance(vae.posterior, FullCovariancePosterior):
        vae.posterior.turn = None


def _double(values: Tensor) -> Tensor:
    return values.detach().cpu().double()
