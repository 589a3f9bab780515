"""Ours == torch's, KL == Monte Carlo, samples fit their densities, discrete laws sum to 1."""

import itertools

import numpy as np
import pytest
import torch
from scipy import stats
from torch import distributions as reference

from variform.distributions import (
    Bernoulli,
    DiagonalGaussian,
    FullGaussian,
    Mixture,
    StandardNormal,
    kl,
    kl_full,
    kl_per_dimension,
)
from variform.draws import sharing


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def random_diagonal(*batch, dim=4):
    return DiagonalGaussian(torch.randn(*batch, dim), torch.randn(*batch, dim))


def random_full(*batch, dim=4):
    factor = torch.randn(*batch, dim, dim).tril(-1) + torch.diag_embed(torch.rand(*batch, dim) + 0.3)
    return FullGaussian(torch.randn(*batch, dim), factor)


def torch_twin(law):
    if isinstance(law, DiagonalGaussian):
        return reference.Independent(reference.Normal(law.mean, law.stddev), len(law.event_shape))
    if isinstance(law, FullGaussian):
        return reference.MultivariateNormal(law.loc, scale_tril=law.scale_tril)
    return reference.Independent(reference.Bernoulli(logits=law.logits), len(law.event_shape))


LAWS = {
    "diagonal": lambda: random_diagonal(3),
    "diagonal, image events": lambda: DiagonalGaussian(torch.randn(3, 1, 2, 2), torch.randn(()), event_dims=3),
    "standard": lambda: StandardNormal(4),
    "full": lambda: random_full(3),
    "bernoulli": lambda: Bernoulli(torch.randn(3, 4)),
    "bernoulli, image events": lambda: Bernoulli(torch.randn(3, 1, 2, 2), event_dims=3),
}


@pytest.mark.parametrize("make", LAWS.values(), ids=LAWS)
def test_density_and_moments_equal_those_of_torch(make):
    law = make()
    twin = torch_twin(law)
    draws = law.sample((5,))
    assert draws.shape == (5, *law.batch_shape, *law.event_shape)
    torch.testing.assert_close(law.log_prob(draws), twin.log_prob(draws))
    torch.testing.assert_close(law.mean, twin.mean)
    torch.testing.assert_close(law.variance, twin.variance)


def test_full_gaussian_equals_scipy():
    law = random_full()
    x = torch.randn(7, 4)
    covariance = (law.scale_tril @ law.scale_tril.T).numpy()
    expected = stats.multivariate_normal(law.loc.numpy(), covariance).logpdf(x.numpy())
    torch.testing.assert_close(law.log_prob(x), torch.from_numpy(expected))


@pytest.mark.parametrize("make", [lambda: random_diagonal(3), lambda: random_full(3)], ids=["diagonal", "full"])
def test_draws_fit_their_law(make):
    """Mean and covariance of 200,000 draws within 5 standard errors: false alarm below 1 in 10,000."""
    law, count = make(), 200_000
    draws = law.sample((count,))
    assert ((draws.mean(0) - law.mean).abs() <= 5 * (law.variance / count).sqrt()).all()
    error = (draws.var(0) - law.variance).abs()
    assert (error <= 5 * law.variance * (2 / count) ** 0.5).all()
    if isinstance(law, FullGaussian):
        covariance = law.scale_tril @ law.scale_tril.mT
        centred = draws - law.mean
        measured = torch.einsum("nbi,nbj->bij", centred, centred) / count
        scale = law.stddev[:, :, None] * law.stddev[:, None, :]
        assert ((measured - covariance).abs() <= 5 * scale * (2 / count) ** 0.5).all()


def test_draws_are_differentiable_in_their_parameters():
    """d E[z^2] / d(mean, log_var) = (2 mean, var), within 5 standard errors of 400,000 draws."""
    mean, log_var = torch.tensor([0.7], requires_grad=True), torch.tensor([-0.4], requires_grad=True)
    draws = DiagonalGaussian(mean, log_var).rsample((400_000,))
    draws.square().mean().backward()
    assert mean.grad.item() == pytest.approx(1.4, abs=0.01)
    assert log_var.grad.item() == pytest.approx(torch.tensor(-0.4).exp().item(), abs=0.01)


def test_rsample_and_log_prob_agree():
    law = random_diagonal(3)
    draw, log_prob = law.rsample_and_log_prob((6,))
    torch.testing.assert_close(log_prob, law.log_prob(draw))


@pytest.mark.parametrize("event", [(16,), (784,), (3, 5, 7), (2, 28, 28), (1,)])
def test_bernoulli_without_gradients_is_the_same_sum(event):
    """NumPy sums the same; logits up to thousands, axes of the event that 16 divides and that it does not."""
    torch.manual_seed(0)
    for scale in (1.0, 30.0, 1000.0):
        logits, x = torch.randn(3, 5, *event) * scale, torch.rand(5, *event)
        with torch.no_grad():
            found = Bernoulli(logits, event_dims=len(event)).log_prob(x)
        expected = (x * logits).numpy() - np.logaddexp(0, logits.numpy())
        np.testing.assert_allclose(found, expected.reshape(3, 5, -1).sum(-1), rtol=1e-12)


def test_bernoulli_sums_to_one_and_survives_large_logits():
    law = Bernoulli(torch.randn(4))
    every = torch.tensor(list(itertools.product([0.0, 1.0], repeat=4)))
    torch.testing.assert_close(law.log_prob(every).exp().sum(), torch.tensor(1.0))
    extreme = Bernoulli(torch.tensor([1000.0, -1000.0]))
    assert extreme.log_prob(torch.tensor([0.0, 0.0])).item() == -1000.0
    assert extreme.log_prob(torch.tensor([1.0, 0.0])).item() == 0.0


def mixture_twin(law):
    weights = reference.Categorical(logits=law.log_weights)
    return reference.MixtureSameFamily(weights, torch_twin(law.components))


@pytest.mark.parametrize("make", [random_diagonal, random_full], ids=["diagonal", "full"])
def test_a_mixture_equals_that_of_torch(make):
    law = Mixture(make(6), torch.randn(6))
    twin, z = mixture_twin(law), torch.randn(7, 5, 4) * 3
    torch.testing.assert_close(law.log_prob(z), twin.log_prob(z))
    torch.testing.assert_close(law.log_prob(z[0, 0]), twin.log_prob(z[0, 0]))
    torch.testing.assert_close(law.mean, twin.mean)
    torch.testing.assert_close(law.variance, twin.variance)


@pytest.mark.parametrize("make", [random_diagonal, random_full], ids=["diagonal", "full"])
def test_a_mixture_integrates_to_one(make):
    law = Mixture(make(3, dim=2), torch.randn(3))
    axis = torch.linspace(-25, 25, 1001)
    grid = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1)
    assert law.log_prob(grid).exp().sum().item() * 0.05**2 == pytest.approx(1, abs=1e-4)


def test_a_mixture_keeps_single_precision_where_variances_are_small():
    """Variances of e^-6 around means of about 3: sums of squares of 10^5 that cancel, and points far from all means."""
    mean, log_var = torch.randn(50, 40) * 3, torch.full((50, 40), -6.0)
    exact = Mixture(DiagonalGaussian(mean, log_var), torch.zeros(50))
    single = Mixture(DiagonalGaussian(mean.float(), log_var.float()), torch.zeros(50).float())
    z = mean[:20].float() + 0.05 * torch.randn(20, 40).float()
    components = DiagonalGaussian(mean.float().double(), log_var)
    expected = Mixture(components, torch.zeros(50)).log_prob(z.double())
    assert single.log_prob(z).dtype == torch.float32
    torch.testing.assert_close(single.log_prob(z).double(), expected, rtol=1e-6, atol=1e-4)
    far = exact.log_prob(torch.full((40,), 1e3))
    assert far.isfinite() and far < -1e6


def test_a_mixture_draws_its_components_by_their_weights():
    """Components a hundred standard deviations apart; chi-square at 1 in 10,000. Zero weights are never drawn."""
    weights = torch.tensor([0.5, 0.0, 0.05, 0.2, 0.25])
    components = DiagonalGaussian(torch.arange(5.0)[:, None] * 100, torch.zeros(5, 1))
    draws = Mixture(components, weights.log()).sample((20_000,))
    counts = torch.bincount((draws[:, 0] / 100).round().long(), minlength=5)
    assert counts[1] == 0
    kept = counts[counts > 0].numpy()
    assert stats.chisquare(kept, (20_000 * weights[weights > 0]).numpy()).pvalue > 1e-4
    within = draws[:, 0] - (draws[:, 0] / 100).round() * 100
    assert stats.kstest(within.numpy(), "norm").pvalue > 1e-4


def test_a_mixture_does_not_give_its_components_one_after_another():
    components = DiagonalGaussian(torch.arange(500.0)[:, None] * 100, torch.zeros(500, 1))
    chosen = (Mixture(components, torch.zeros(500)).sample((100,))[:, 0] / 100).round()
    assert chosen.max() > 250 and not torch.equal(chosen, chosen.sort().values)
    assert Mixture(components, torch.zeros(500)).sample((1000,)).shape == (1000, 1)


def test_a_process_draws_its_share_of_what_one_process_would_draw():
    law = Mixture(random_diagonal(3), torch.randn(3))
    for draw in (law.sample, StandardNormal(4).sample, random_full().sample, random_diagonal().sample):
        torch.manual_seed(1)
        whole = draw((6,))
        torch.manual_seed(1)
        with sharing(2, 5, 6):
            torch.testing.assert_close(draw((3,)), whole[2:5])


@pytest.mark.parametrize("make", [random_diagonal, random_full], ids=["diagonal", "full"])
def test_a_detached_law_is_the_same_law_without_gradients_to_its_parameters(make):
    law = make(3)
    spread = law.log_var if isinstance(law, DiagonalGaussian) else law.scale_tril
    parameters = [law.loc.requires_grad_(), spread.requires_grad_()]
    z = law.rsample((5,)).detach().requires_grad_()
    torch.testing.assert_close(law.detached().log_prob(z), law.log_prob(z))
    gradients = torch.autograd.grad(law.detached().log_prob(z).sum(), [z, *parameters], allow_unused=True)
    assert gradients[0].any() and gradients[1:] == (None,) * len(parameters)


@pytest.mark.parametrize("make", [random_diagonal, random_full], ids=["diagonal", "full"])
def test_rows_of_a_law_are_those_of_its_parameters(make):
    law, index = make(5), torch.tensor([[4, 0], [2, 2]])
    z = torch.randn(2, 2, 4)
    rows = law.rows(index)
    assert rows.batch_shape == (2, 2)
    torch.testing.assert_close(rows.log_prob(z), law.log_prob(z.unsqueeze(2)).gather(2, index[..., None])[..., 0])


PAIRS = {
    "diagonal, standard": lambda: (random_diagonal(3), StandardNormal(4)),
    "diagonal, diagonal": lambda: (random_diagonal(3), random_diagonal(3)),
    "full, full": lambda: (random_full(3), random_full(3)),
    "full, standard": lambda: (random_full(3), StandardNormal(4)),
    "diagonal, full": lambda: (random_diagonal(3), random_full(3)),
}


@pytest.mark.parametrize("make", PAIRS.values(), ids=PAIRS)
def test_kl_equals_torch_and_monte_carlo(make):
    """Monte Carlo within 4 standard errors of 100,000 draws; 15 comparisons, false alarm about 1 in 1,000."""
    q, p = make()
    closed = kl(q, p)
    assert (closed >= 0).all()
    full = [reference.MultivariateNormal(law.mean, torch.diag_embed(law.variance)) if isinstance(law, DiagonalGaussian)
            else torch_twin(law) for law in (q, p)]  # fmt: skip
    torch.testing.assert_close(closed, reference.kl_divergence(full[0], full[1]).expand(closed.shape))
    z, log_q = q.rsample_and_log_prob((100_000,))
    ratios = log_q - p.log_prob(z)
    assert ((ratios.mean(0) - closed).abs() <= 4 * ratios.std(0) / 100_000**0.5).all()


def test_kl_of_a_law_to_itself_is_zero_and_splits_into_dimensions():
    q, p = random_diagonal(3), random_diagonal(3)
    torch.testing.assert_close(kl(q, q), torch.zeros(3))
    assert kl_per_dimension(q, p).shape == (3, 4)
    as_full = [FullGaussian(law.mean, torch.diag_embed(law.stddev)) for law in (q, p)]
    torch.testing.assert_close(kl_per_dimension(q, p).sum(-1), kl_full(*as_full))


def test_kl_without_closed_form_says_what_came():
    with pytest.raises(NotImplementedError, match="Bernoulli"):
        kl(Bernoulli(torch.zeros(3)), StandardNormal(3))
