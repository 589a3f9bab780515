"""Noise on what the encoder sees: how much, where it stays, and that the likelihood sees none of it."""

import numpy as np
import pytest
import torch
from by_hand import Hand, linear_bernoulli
from torch import nn

from variform import TrainConfig, build_objective
from variform.config.data import DataConfig
from variform.config.training import OBJECTIVE_OPTIONS
from variform.data.reading import read
from variform.objectives import ELBO, Corruption
from variform.system import draws


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def test_salt_and_pepper_replaces_the_share_it_says_by_both_values_alike():
    """250,000 entries of 0.5: shares within 5 standard errors, false alarm 1 in 1,000,000."""
    x = torch.full((1000, 250), 0.5)
    noisy = Corruption("salt-and-pepper", 0.25)(x)
    error = 5 * (0.125 * 0.875 / x.numel()) ** 0.5
    for value, share in ((0.0, 0.125), (1.0, 0.125)):
        assert (noisy == value).double().mean().item() == pytest.approx(share, abs=error)
    assert set(noisy.unique().tolist()) == {0.0, 0.5, 1.0}


def test_masking_replaces_the_share_it_says():
    noisy = Corruption("masking", 0.4)(torch.full((1000, 250), 0.5))
    assert (noisy == 0).double().mean().item() == pytest.approx(
        0.4, abs=5 * (0.24 / 250_000) ** 0.5
    )
    assert set(noisy.unique().tolist()) == {0.0, 0.5}
    assert Corruption("masking", 1.0, low=2.0, high=3.0)(torch.full((2, 2), 2.5)).eq(2).all()


def test_gaussian_noise_has_its_standard_deviation_and_stays_in_the_range():
    x = torch.full((1000, 250), 0.5)
    assert Corruption("gaussian", 0.1, low=-9.0, high=9.0)(x).std().item() == pytest.approx(
        0.1, rel=0.01
    )
    noisy = Corruption("gaussian", 2.0)(x)
    assert noisy.min() == 0 and noisy.max() == 1 and 0 < (noisy == 1).double().mean() < 0.5


@pytest.mark.parametrize("noise", ["salt-and-pepper", "gaussian", "masking"])
def test_what_is_missing_stays_missing(noise):
    x = torch.full((100, 10), 0.5)
    x[:, :3] = torch.nan
    assert torch.equal(Corruption(noise, 0.9)(x).isnan(), x.isnan())


@pytest.mark.parametrize("noise", ["salt-and-pepper", "gaussian", "masking"])
def test_many_processes_see_the_noise_that_one_sees(noise):
    x, corruption = torch.rand(4, 6), Corruption(noise, 0.5)
    torch.manual_seed(0)
    whole = corruption(x)
    torch.manual_seed(0)
    with draws.sharing(1, 3, 4):
        torch.testing.assert_close(corruption(x[1:3]), whole[1:3])


def test_noise_is_in_the_range_of_each_column_as_the_model_sees_it():
    rows = np.random.default_rng(0).normal([3, -70], [0.1, 5], (300, 2)).astype(np.float32)
    data = read(rows)
    noisy = Corruption.of("salt-and-pepper", 1.0, data.train.schema)(data.train.prepared())
    expected = (rows - rows.mean(0)) / rows.std(0)
    for column in range(2):
        values = noisy[:, column].unique()
        assert len(values) == 2
        # Scaled with the training rows alone, so that the ends are near those of all rows.
        np.testing.assert_allclose(
            values, [expected[:, column].min(), expected[:, column].max()], atol=0.3
        )
        restored = data.train.schema.restore(noisy)[:, column]
        np.testing.assert_allclose(restored.min(), rows[:, column].min(), rtol=1e-5)
        np.testing.assert_allclose(restored.max(), rows[:, column].max(), rtol=1e-5)


def test_binarised_pixels_are_flipped_to_zeros_and_ones():
    pixels = np.random.default_rng(0).integers(0, 256, (130, 4, 4), dtype=np.uint8)
    data = read(pixels, config=DataConfig(binarise="dynamic"))
    noisy = Corruption.of("salt-and-pepper", 0.5, data.train.schema)(data.train.prepared().double())
    assert set(noisy.unique().tolist()) == {0.0, 1.0}


def test_the_encoder_sees_noise_and_the_likelihood_does_not():
    vae, x = linear_bernoulli(), torch.tensor([[1.0, 0, 0, 1], [0, 1, 1, 1], [0, 0, 1, 0]])
    objective = ELBO(vae)
    objective.corruption = Corruption("salt-and-pepper", 0.5)
    torch.manual_seed(0)
    uniform = torch.rand(3, 4)
    noise = torch.randn(1, 3, 3)
    torch.manual_seed(0)
    terms = objective(x)
    seen = torch.where(uniform < 0.25, 0.0, torch.where(uniform < 0.5, 1.0, x))
    hand = Hand(vae, x, noise, seen=seen)
    assert not torch.equal(seen, x)
    np.testing.assert_allclose(terms.loss.detach(), hand.kl - hand.log_likelihood[0], rtol=1e-10)


class Spy(nn.Module):
    """A network that remembers what it was given."""

    def __init__(self, network):
        super().__init__()
        self.network, self.given = network, []

    def forward(self, x):
        self.given.append(x)
        return self.network(x)


@pytest.mark.parametrize(
    "name",
    # m2 encodes once for each label, and the others need images: tests/test_beside.py.
    [name for name in OBJECTIVE_OPTIONS if name not in ("m2", "ms-ssim", "perceptual")],
)
def test_every_objective_can_denoise(name):
    """The encoder is given nothing but noise; the loss depends on the clean rows all the same."""
    config = TrainConfig(objective=name, noise="masking", noise_level=1.0)
    vae = linear_bernoulli()
    objective = build_objective(vae, config, rows=100)
    vae.encoder = Spy(vae.encoder)
    losses = []
    for value in (0.2, 0.9):
        torch.manual_seed(0)
        losses.append(objective(torch.full((3, 4), value)).loss)
    assert len(vae.encoder.given) == 2 and all(x.eq(0).all() for x in vae.encoder.given)
    assert not torch.allclose(*losses)
    assert objective.settings()["corruption"]["noise"] == "masking"


@pytest.mark.parametrize(
    ("noise", "level"), [("salt-and-pepper", 1.5), ("masking", 0.0), ("gaussian", 0.0)]
)
def test_a_level_must_be_possible(noise, level):
    with pytest.raises(ValueError, match=f"the level of {noise} noise must be .*; got {level}"):
        Corruption(noise, level)
