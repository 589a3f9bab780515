"""A small VAE, and its densities in NumPy, one number after another: what objectives are compared with."""

import math

import numpy as np
import torch
from torch import nn

from variform import VAE
from variform.model.likelihoods import BernoulliLikelihood
from variform.model.networks import MLP
from variform.model.posteriors import DiagonalPosterior
from variform.model.priors import StandardNormalPrior


def linear_bernoulli(size=4, dim=3, *, seed=0):
    """Encoder and decoder are one affine map each; q has means of size one and standard deviations from 0.4 to 1.6."""
    posterior = DiagonalPosterior(dim, std="exp")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        encoder, decoder = (
            MLP((size,), posterior.params_shape, hidden=()),
            MLP((dim,), (size,), hidden=()),
        )
        for network in (encoder, decoder):
            for parameter in network.parameters():
                nn.init.normal_(parameter, std=0.6)
    return VAE(
        encoder,
        decoder,
        posterior=posterior,
        prior=StandardNormalPrior(dim),
        likelihood=BernoulliLikelihood((size,)),
    )


def numpy_of(network):
    return network.output.weight.detach().numpy(), network.output.bias.detach().numpy()


class Hand:
    """Everything that one forward pass of `linear_bernoulli` draws and computes.

    Args:
        vae: The model.
        x: What the likelihood sees, (B, size).
        noise: (L, B, dim), as N(0, 1) gave it.
        seen: What the encoder sees; x by default.
    """

    def __init__(self, vae, x, noise, seen=None):
        x, noise = np.asarray(x), np.asarray(noise)
        seen = x if seen is None else np.asarray(seen)
        weight, bias = numpy_of(vae.encoder)
        params = (seen @ weight.T + bias).reshape(len(x), 2, vae.latent_dim)
        self.mean, self.std = params[:, 0], np.exp(params[:, 1] / 2)
        self.z = self.mean + self.std * noise
        draws, rows = noise.shape[:2]
        self.log_likelihood, self.log_q, self.log_p = (np.zeros((draws, rows)) for _ in range(3))
        weight, bias = numpy_of(vae.decoder)
        for number in range(draws):
            for row in range(rows):
                z = self.z[number, row]
                for logit, value in zip(weight @ z + bias, x[row], strict=True):
                    probability = 1 / (1 + math.exp(-logit))
                    self.log_likelihood[number, row] += value * math.log(probability)
                    self.log_likelihood[number, row] += (1 - value) * math.log(1 - probability)
                self.log_q[number, row] = sum(map(normal, z, self.mean[row], self.std[row]))
                self.log_p[number, row] = sum(normal(part, 0.0, 1.0) for part in z)
        self.log_weight = self.log_likelihood + self.log_p - self.log_q
        # Closed form per latent: 1/2 (mean^2 + std^2 - 1 - ln std^2)
        self.kl_per_dimension = 0.5 * (self.mean**2 + self.std**2 - 1 - 2 * np.log(self.std))
        self.kl = self.kl_per_dimension.sum(1)


def normal(value, mean, std):
    """log N(value; mean, std^2)."""
    return -0.5 * math.log(2 * math.pi) - math.log(std) - 0.5 * ((value - mean) / std) ** 2


def drawn(shape, seed=0):
    """The noise that the first draw after this seed gives; the seed is set again afterwards."""
    torch.manual_seed(seed)
    noise = torch.randn(shape)
    torch.manual_seed(seed)
    return noise.numpy()
