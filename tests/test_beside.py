"""What stands beside the ELBO: MS-SSIM against torchmetrics, and each objective by hand."""

import math

import numpy as np
import pytest
import torch
from by_hand import Hand, drawn, linear_bernoulli, numpy_of
from scipy import ndimage
from torch import nn

from variform import VAE, ModelConfig, build_vae, read
from variform.data.reading import dataset_from
from variform.model.likelihoods import BernoulliLikelihood
from variform.model.networks import MLP
from variform.model.posteriors import DiagonalPosterior
from variform.model.priors import StandardNormalPrior
from variform.objectives import ELBO, SSIMVAE, VAEGAN, PerceptualVAE
from variform.objectives.similarity import RandomFeatures, feature_distance, ms_ssim, scales_of

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def noise(shape, phase):
    """Numbers in [0, 1) that no generator has to give again."""
    values = np.sin(np.arange(math.prod(shape)) * 12.9898 + phase) * 43758.5453
    return torch.tensor((values - np.floor(values)).reshape(shape))


def pair(*shape):
    """Two images: a smooth one under two noises."""
    down, across = (torch.arange(side, dtype=torch.float64) for side in shape[2:])
    smooth = 0.5 + 0.5 * torch.cos(down / 7)[:, None] * torch.sin(across / 5)
    return 0.7 * smooth + 0.3 * noise(shape, 0.0), 0.6 * smooth + 0.4 * noise(shape, 1.0)


TORCHMETRICS = {
    (2, 1, 176, 176): (0.8649273011266158, 0.8665088418598825),
    (2, 3, 180, 200): (0.8649056992851172, 0.8662847049760088),
    (2, 1, 64, 64): (0.8186885750041416, 0.8050176051639016),
    (2, 1, 28, 28): (0.693451209488614, 0.6497654798026431),
    (2, 1, 8, 8): (0.19021461441062376, 0.10051761943965612),
}
"""What torchmetrics 1.9.0 gives in double precision, image by image: its function
`multiscale_structural_similarity_index_measure(a, b, sigma=1.5, kernel_size=11, betas=B, data_range=1.0)`, where B are
the first weights of the paper, as many as scales fit, over their sum. Of 8 x 8 pixels sigma is 1.5 * 7 / 11, and
kernel_size 7."""


@pytest.mark.parametrize(("shape", "expected"), TORCHMETRICS.items(), ids=str)
def test_ms_ssim_equals_that_of_torchmetrics(shape, expected):
    found = ms_ssim(*pair(*shape))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def similar_by_hand(a, b, spread=1.0):
    """One image of one channel, by SciPy's correlation; equation 7 of Wang et al. (2003), l to the last power alone."""
    scales, window = scales_of(a.shape)
    exponents = np.array(WEIGHTS[:scales]) / sum(WEIGHTS[:scales])
    place = np.arange(window) - (window - 1) / 2
    kernel = np.exp(-0.5 * (place / (1.5 * window / 11)) ** 2)
    kernel = np.outer(kernel, kernel) / kernel.sum() ** 2
    edge, value = window // 2, 1.0
    for scale in range(scales):
        inner = (slice(edge, a.shape[0] - edge), slice(edge, a.shape[1] - edge))
        if scale == scales - 1:  # around every pixel, with the image reflected at its edges
            inner = (slice(None), slice(None))
        mean = [
            ndimage.correlate(x, kernel, mode="mirror")[inner] for x in (a, b, a * a, b * b, a * b)
        ]
        variance = [mean[2] - mean[0] ** 2, mean[3] - mean[1] ** 2]
        structure = (2 * (mean[4] - mean[0] * mean[1]) + (0.03 * spread) ** 2) / (
            sum(variance) + (0.03 * spread) ** 2
        )
        brightness = (2 * mean[0] * mean[1] + (0.01 * spread) ** 2) / (
            mean[0] ** 2 + mean[1] ** 2 + (0.01 * spread) ** 2
        )
        whole = structure * brightness if scale == scales - 1 else structure
        value *= max(whole.mean(), 1e-6) ** exponents[scale]
        a, b = (
            x[: x.shape[0] // 2 * 2, : x.shape[1] // 2 * 2]
            .reshape(x.shape[0] // 2, 2, x.shape[1] // 2, 2)
            .mean((1, 3))
            for x in (a, b)
        )
    return value


@pytest.mark.parametrize(("side", "spread"), [(48, 1.0), (31, 2.5)])
def test_ms_ssim_equals_its_formula_by_scipy(side, spread):
    first, second = pair(1, 1, side, side)
    expected = similar_by_hand(first[0, 0].numpy(), second[0, 0].numpy(), spread)
    assert ms_ssim(first, second, spread=spread).item() == pytest.approx(expected, rel=1e-10)
    first.requires_grad_()
    (slope,) = torch.autograd.grad(ms_ssim(first, -second).sum(), first)  # at a factor below zero
    assert slope.isfinite().all()


def image_vae(side=8):
    posterior, likelihood = DiagonalPosterior(3, std="exp"), BernoulliLikelihood((1, side, side))
    torch.manual_seed(3)
    return VAE(
        MLP((1, side, side), posterior.params_shape, hidden=()),
        MLP((3,), (1, side, side), hidden=()),
        posterior=posterior,
        prior=StandardNormalPrior(3),
        likelihood=likelihood,
    )


def test_what_stands_beside_the_elbo_is_added_with_its_weight_and_leaves_the_elbo():
    vae, x = image_vae(), noise((4, 1, 8, 8), 0.5)
    drawn((1,))
    plain = ELBO(vae, samples=2, beta=0.5)(x)
    torch.manual_seed(0)
    means = vae.decode(vae.encode(x).rsample((2,))).mean.detach()
    for objective in (
        SSIMVAE(vae, penalty=3.0, samples=2, beta=0.5),
        PerceptualVAE(vae, penalty=3.0, samples=2, beta=0.5),
        PerceptualVAE(vae, penalty=3.0, samples=2, beta=0.5, features=nn.Flatten()),
    ):
        torch.manual_seed(0)
        terms = objective(x)
        extra = np.zeros(4)
        for draw in range(2):
            for row in range(4):
                one, other = means[draw, row], x[row]
                if isinstance(objective, SSIMVAE):
                    extra[row] += 1 - similar_by_hand(one[0].numpy(), other[0].numpy())
                elif isinstance(objective.features, RandomFeatures):
                    extra[row] += feature_distance(objective.features, one[None], other[None])
                else:
                    extra[row] += ((one - other) ** 2).mean() / 2
        expected = plain.loss.detach().numpy() + 3 * extra / 2
        np.testing.assert_allclose(terms.loss.detach(), expected, rtol=1e-9)
        torch.testing.assert_close(terms.elbo, plain.elbo)


def test_random_features_are_convolutions_by_scipy_and_nothing_trains_them():
    features, image = RandomFeatures(1, filters=(2, 3), seed=5), noise((1, 1, 6, 6), 0.0)
    first, second = (found[0].numpy() for found in features(image))
    weight = features.weight_0.numpy()
    for number in range(2):
        by_hand = ndimage.correlate(image[0, 0].numpy(), weight[number, 0], mode="constant")
        np.testing.assert_allclose(first[number], np.maximum(by_hand, 0), atol=1e-12)
    halved = first.reshape(2, 3, 2, 3, 2).mean((2, 4))
    weight = features.weight_1.numpy()
    for number in range(3):
        by_hand = sum(
            ndimage.correlate(halved[channel], weight[number, channel], mode="constant")
            for channel in range(2)
        )
        np.testing.assert_allclose(second[number], np.maximum(by_hand, 0), atol=1e-12)
    assert not list(features.parameters()) and not features.state_dict()


def hidden_and_logit(network, x):
    """Of one row, by a discriminator with one hidden layer."""
    layer = next(layer for layer in network.layers if hasattr(layer, "weight"))
    h = layer.weight.detach().numpy() @ x + layer.bias.detach().numpy()
    h = np.where(h > 0, h, 0.01 * h)
    return h, (network.output.weight.detach().numpy() @ h + network.output.bias.item())[0]


def test_vae_gan_equals_its_formula_and_its_encoder_learns_nothing_from_the_game():
    vae = linear_bernoulli()
    x = torch.tensor([[1.0, 0, 0, 1], [0, 1, 1, 1], [0, 0, 0.3, 0]])
    objective = VAEGAN(vae, penalty=3.0, gamma=0.7, beta=0.5, discriminator=(5,))
    torch.manual_seed(0)
    epsilon, prior = torch.randn(1, 3, 3).numpy(), torch.randn(1, 3, 3).numpy()[0]
    torch.manual_seed(0)
    terms = objective(x)
    hand = Hand(vae, x, epsilon)
    weight, bias = numpy_of(vae.decoder)

    def decoded(z):
        return 1 / (1 + np.exp(-(weight @ z + bias)))

    def minus_log(value):
        return math.log(1 + math.exp(-value))

    for row in range(3):
        made, sampled = decoded(hand.z[0, row]), decoded(prior[row])
        (h, real), (g, fake), (_, other) = (
            hidden_and_logit(objective.auxiliary, values)
            for values in (x[row].numpy(), made, sampled)
        )
        loss = 0.5 * hand.kl[row] - hand.log_likelihood[0, row]
        loss += 3 * ((h - g) ** 2).mean() / 2 + 0.7 * (minus_log(fake) + minus_log(other))
        assert terms.loss[row].item() == pytest.approx(loss, rel=1e-10)
        told = 2 * minus_log(real) + minus_log(-fake) + minus_log(-other)
        assert terms.auxiliary[row].item() == pytest.approx(told, rel=1e-10)
    slopes = []
    for gamma in (0.0, 50.0):
        torch.manual_seed(0)
        loss = VAEGAN(vae, gamma=gamma, discriminator=(5,))(x).loss.sum()
        slopes.append(torch.autograd.grad(loss, vae.encoder.output.weight)[0])
    torch.testing.assert_close(*slopes)
    options = {"allow_unused": True}
    main = list(vae.parameters())
    assert not any(
        slope is not None for slope in torch.autograd.grad(terms.auxiliary.sum(), main, **options)
    )


def test_what_they_cannot_be_for_is_refused():
    table = dataset_from(torch.rand(20, 5)).schema
    small = {"latent_dim": 2, "hidden": (4,)}
    for kind, name in ((SSIMVAE, "MS-SSIM"), (PerceptualVAE, "a perceptual term")):
        with pytest.raises(ValueError, match=f"{name} needs images; got rows of the shape"):
            kind(build_vae(ModelConfig(**small), table))
    coded = ModelConfig(posterior="categorical", codes=2, values=3, relaxation="score", hidden=(4,))
    with pytest.raises(ValueError, match="VAE-GAN needs draws of z that gradients pass"):
        VAEGAN(build_vae(coded, read("digits").schema), samples=2)
