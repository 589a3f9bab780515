"""examples/minimal.py, the lecture's loss in plain PyTorch, and the toolkit compute the same."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from variform import ELBO, VAE, ModelConfig, TrainConfig, build_objective, build_vae, fit, read
from variform.evaluation.log_likelihood import score

FILE = Path(__file__).parent.parent / "examples" / "minimal.py"


@pytest.fixture(scope="module")
def minimal() -> ModuleType:
    spec = importlib.util.spec_from_file_location("minimal", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def digits():
    order = np.random.default_rng(0).permutation(1797)
    return read((load_digits().data > 7).astype(np.float32)[order])


def toolkit_vae(digits) -> VAE:
    config = ModelConfig(
        latent_dim=10,
        hidden=(256,),
        likelihood="bernoulli",
        posterior_std="exp",
        centre=False,
    )
    return build_vae(config, digits.schema)


def with_weights_of(vae: VAE, minimal: ModuleType):
    """The plain VAE, in double precision, with the weights of the toolkit's; both."""
    plain = minimal.VAE(pixels=64, latents=10).double()
    vae = vae.double()
    with torch.no_grad():
        for ours, theirs in pairs(vae, plain):
            theirs.copy_(ours)
    return vae, plain


def pairs(vae: VAE, plain: nn.Module):
    """Each parameter of the one beside the same of the other, in the order of the layers."""
    ours = [*vae.encoder.parameters(), *vae.decoder.parameters()]
    theirs = [*plain.encoder.parameters(), *plain.decoder.parameters()]
    return zip(ours, theirs, strict=True)


@pytest.mark.parametrize("draws", [1, 5])
def test_losses_and_gradients_are_equal(minimal, digits, draws):
    vae, plain = with_weights_of(toolkit_vae(digits), minimal)
    x = digits.test.prepared()[
        :64
    ].double()  # of 64 rows, L draws at once are L draws one after another
    torch.manual_seed(0)
    losses = plain.loss(x, draws=draws)
    losses.mean().backward()
    torch.manual_seed(0)
    terms = ELBO(vae, samples=draws)(x)
    terms.loss.mean().backward()
    torch.testing.assert_close(losses, terms.loss, rtol=1e-6, atol=1e-6)
    for ours, theirs in pairs(vae, plain):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-6, atol=1e-9)


def test_log_likelihoods_of_the_same_weights_are_equal(minimal, digits):
    vae, plain = with_weights_of(toolkit_vae(digits), minimal)
    rows = digits.test
    scores = score(vae, rows, samples=500)
    x = rows.prepared().double()
    torch.manual_seed(0)
    first, second = plain.nll(x).numpy(), plain.nll(x).numpy()
    noise = np.std(first - second) / np.sqrt(2 * len(x))
    assert abs(first.mean() + scores.log_px.mean().item()) < 5 * noise * np.sqrt(2)


@pytest.mark.long
def test_what_is_learnt_is_worth_the_same(minimal, digits):
    """Both trained by Adam at one rate for as many epochs; the toolkit's other defaults off."""
    torch.manual_seed(0)
    plain = minimal.VAE(pixels=64, latents=10).float()
    minimal.train(plain, digits.train.prepared(), epochs=30)
    vae = toolkit_vae(digits)
    config = TrainConfig(
        epochs=30, batch_size=128, learning_rate=2e-3, schedule="constant", patience=0
    )
    fit(build_objective(vae, config), digits.train, digits.valid, config)
    rows = digits.test
    ours = -score(vae, rows, samples=500).log_px.numpy()
    theirs = plain.nll(rows.prepared()).numpy()
    paired = ours - theirs
    assert abs(paired.mean()) < 4 * paired.std() / np.sqrt(len(paired)) + 0.3
