"""Regularised autoencoders: their losses and penalties by hand."""

import itertools
import math

import numpy as np
import pytest
import torch
from by_hand import Hand, drawn, linear_bernoulli, numpy_of
from torch import nn

from variform import ModelConfig, TrainConfig, build_objective, build_vae, read
from variform.objectives import RAE
from variform.objectives.regularised import size_of
from variform.training.step import Step, products_of

X = torch.tensor([[1.0, 0, 0, 1], [0, 1, 1, 1], [0, 0, 0.3, 0]], dtype=torch.float64)


def jacobians_by_hand(vae, mean):
    """d p_i / d z_j = p_i (1 - p_i) W_ij of each row, where p is the sigmoid of an affine map."""
    weight, bias = numpy_of(vae.decoder)
    found = []
    for z in mean:
        probability = [1 / (1 + math.exp(-logit)) for logit in weight @ z + bias]
        found.append(
            [[p * (1 - p) * w for w in row] for p, row in zip(probability, weight, strict=True)]
        )
    return np.array(found)


def penalties_by_hand(vae, mean, name, signs):
    weight, bias = numpy_of(vae.decoder)
    if name == "l2":
        return (weight**2).sum() + (bias**2).sum()
    if name == "spectral":
        return np.linalg.eigvalsh(weight.T @ weight).max()
    return [
        ((v @ jacobian) ** 2).sum()
        for v, jacobian in zip(signs, jacobians_by_hand(vae, mean), strict=True)
    ]


@pytest.mark.parametrize("name", ["l2", "gradient", "spectral"])
def test_rae_equals_its_formula(name):
    vae, signs = linear_bernoulli(), np.sign(drawn((3, 4)))
    hand = Hand(vae, X, np.zeros((1, 3, 3)))
    terms = RAE(vae, regulariser=name, penalty=0.7, beta=0.3)(X)
    size = 0.5 * (hand.mean**2).sum(1)
    expected = 0.3 * size + 0.7 * np.array(penalties_by_hand(vae, hand.mean, name, signs))
    np.testing.assert_allclose(terms.loss.detach(), expected - hand.log_likelihood[0], rtol=1e-10)
    assert terms.kl.isnan().all() and terms.elbo.isnan().all()
    torch.manual_seed(0)
    with torch.no_grad():
        torch.testing.assert_close(
            RAE(vae, regulariser=name, penalty=0.7, beta=0.3)(X)[0], terms[0]
        )


def test_the_estimate_of_the_jacobians_norm_is_exact_over_all_signs(monkeypatch):
    vae = linear_bernoulli()
    mean = vae.encode(X).mean
    losses = []
    for signs in itertools.product((-1.0, 1.0), repeat=4):
        monkeypatch.setattr(
            "variform.system.draws.normal",
            lambda shape, *, like, signs=signs: torch.tensor(signs).to(like).expand(shape),
        )
        losses.append(RAE(vae, regulariser="gradient", penalty=1.0, beta=0.0)(X).loss.detach())
    log_likelihood = vae.decode(mean).log_prob(X).detach()
    expected = (jacobians_by_hand(vae, mean.detach().numpy()) ** 2).sum((1, 2))
    np.testing.assert_allclose(torch.stack(losses).mean(0) + log_likelihood, expected, rtol=1e-10)


def test_the_gradient_of_the_penalty_is_that_of_finite_differences():
    """Training differentiates a gradient: of one weight of the decoder, by central differences."""
    vae = linear_bernoulli()
    objective = RAE(vae, regulariser="gradient", penalty=3.0)
    weight = vae.decoder.output.weight

    def loss():
        torch.manual_seed(1)
        return objective(X).loss.sum()

    (slope,) = torch.autograd.grad(loss(), weight)
    values = []
    for shift in (1e-5, -2e-5):
        with torch.no_grad():
            weight[1, 2] += shift
        values.append(loss().item())
    assert slope[1, 2].item() == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-6)


def test_the_largest_singular_value_of_a_convolution_is_that_of_its_matrix():
    """With a row an output channel, also where torch has the input's channels first."""
    plain, turned = nn.Conv2d(2, 3, 2, bias=False), nn.ConvTranspose2d(2, 3, 2, bias=False)
    matrices = [
        plain.weight.detach().numpy().reshape(3, 8),
        turned.weight.detach().numpy().transpose(1, 0, 2, 3).reshape(3, 8),
    ]
    expected = sum(np.linalg.svd(matrix)[1][0] ** 2 for matrix in matrices)
    assert size_of(nn.Sequential(plain, turned), "spectral").item() == pytest.approx(expected)


def test_a_gradient_penalty_is_neither_compiled_nor_given_products_that_know_one_gradient():
    data = read("digits")
    options = {"likelihood": "bernoulli", "latent_dim": 2, "hidden": (400,)}
    for name, is_twice in (("gradient", True), ("l2", False)):
        config = TrainConfig(objective="rae", regulariser=name, compile="off")
        objective = build_objective(build_vae(ModelConfig(**options), data.schema), config)
        assert objective.compilable is not is_twice
        if is_twice:
            assert products_of(Step(objective, config, 10_000), 10_000) == {}
    with pytest.raises(ValueError, match=r"RAE does not train a prior; got VampPrior"):
        RAE(build_vae(ModelConfig(prior="vamp", components=3, **options), data.schema))
