"""Posteriors of richer families: densities by the change of variables, and gaps where log p(x) is an integral."""

import math

import pytest
import torch
from models import every
from test_truth import linear_vae
from torch import nn

from variform.data.reading import dataset_from
from variform.distributions.couplings import Coupled
from variform.distributions.gaussian import FullGaussian
from variform.evaluation.log_likelihood import score
from variform.evaluation.richer import best_elbos


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def bent(rows, latents):
    scale_tril = torch.randn(rows, latents, latents).tril(-1) + 0.5 * torch.eye(latents)
    law = Coupled.of(FullGaussian(torch.randn(rows, latents), scale_tril))
    for parameter in law.parameters:
        parameter += 0.4 * torch.randn_like(parameter)
    return law


@pytest.mark.parametrize("latents", [1, 2, 5])
def test_the_density_of_bent_noise_is_the_change_of_variables(latents, monkeypatch):
    """The determinant is autograd's, of the map from the noise to the draw."""
    law = bent(1, latents)
    for noise in torch.randn(5, 1, latents):

        def draw(values):
            monkeypatch.setattr(law, "_noise", lambda shape, like: values)
            return law.rsample()

        jacobian = torch.autograd.functional.jacobian(draw, noise).reshape(latents, latents)
        expected = (
            torch.distributions.Normal(0, 1).log_prob(noise).sum() - jacobian.det().abs().log()
        )
        z, log_q = law.rsample_and_log_prob()
        torch.testing.assert_close(log_q, expected[None])
        torch.testing.assert_close(law.log_prob(z), log_q, rtol=0, atol=1e-5)
        _, stuck = law.rsample_and_log_prob(stick=True)
        torch.testing.assert_close(stuck, log_q, rtol=0, atol=1e-5)


class Crescent(nn.Module):
    """The mean of x is not linear in z, and so p(z|x) is a crescent."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))

    def forward(self, z):
        first, second = z.unbind(-1)
        return torch.stack([1.0 * first, second + first.square()], -1) * self.weight


def test_a_flow_closes_the_gap_that_a_gaussian_leaves():
    vae = linear_vae(torch.eye(2), torch.zeros(2), 0.5)
    vae.decoder = Crescent()
    data = dataset_from(vae.sample(30).detach())
    edge = torch.linspace(-6, 6, 401)
    grid = torch.cartesian_prod(edge, edge)
    with torch.no_grad():
        log_joint = vae.decode(grid).log_prob(data.prepared()[:, None])
        log_joint = log_joint + vae.latent_prior().log_prob(grid)
    exact = log_joint.logsumexp(1) + 2 * math.log(edge[1] - edge[0])
    left = {name: (exact - elbo).mean() for name, elbo in best_elbos(vae, data).items()}
    assert left["own"] > left["full"] + 0.02
    assert left["full"] > 0.05
    assert -0.01 < left["flow"] < 0.02


@pytest.mark.parametrize("name", ["posterior iaf", "prior vamp", "mixed conditional", "gaps"])
def test_special_models_have_richer_posteriors_too(name, tmp_path):
    """Where the encoder's family is a flow itself, its own may be the better one; elsewhere a full Gaussian is."""
    splits, vae = every(name, tmp_path)
    rows = splits.test.take(torch.arange(6))
    found = best_elbos(vae, rows, steps=40, samples=500)
    assert (found["flow"] > found["full"] - 0.3).all()
    log_px = score(vae, rows, samples=500, refine=40).log_px
    assert (found["flow"] < log_px + 0.3).all()
    if name != "posterior iaf":
        assert (found["full"] > found["own"] - 0.1).all()
