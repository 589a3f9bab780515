"""Ours == torch's, KL == Monte Carlo, samples fit their densities, discrete laws sum to 1."""

import itertools
import math
from decimal import Decimal, localcontext

import numpy as np
import pytest
import torch
from scipy import integrate, special, stats
from torch import distributions as reference

from variform.distributions import (
    Bernoulli,
    BetaBinomial,
    Categorical,
    ContinuousBernoulli,
    DiagonalGaussian,
    DiscretisedLogistic,
    FullGaussian,
    LogisticMixture,
    LogitNormal,
    LogNormal,
    Mixture,
    NegativeBinomial,
    Ordinal,
    Poisson,
    Spiked,
    StandardNormal,
    ZeroInflated,
    kl,
    kl_full,
    kl_per_dimension,
)
from variform.distributions.law import joint
from variform.system.draws import sharing


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def random_diagonal(*batch, dim=4):
    return DiagonalGaussian(torch.randn(*batch, dim), torch.randn(*batch, dim))


def random_full(*batch, dim=4):
    factor = torch.randn(*batch, dim, dim).tril(-1) + torch.diag_embed(
        torch.rand(*batch, dim) + 0.3
    )
    return FullGaussian(torch.randn(*batch, dim), factor)


def torch_twin(law):
    if isinstance(law, DiagonalGaussian):
        return reference.Independent(reference.Normal(law.mean, law.stddev), len(law.event_shape))
    if isinstance(law, FullGaussian):
        return reference.MultivariateNormal(law.loc, scale_tril=law.scale_tril)
    return reference.Independent(reference.Bernoulli(logits=law.logits), len(law.event_shape))


LAWS = {
    "diagonal": lambda: random_diagonal(3),
    "diagonal, image events": lambda: DiagonalGaussian(
        torch.randn(3, 1, 2, 2), torch.randn(()), event_dims=3
    ),
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


@pytest.mark.parametrize(
    "make", [lambda: random_diagonal(3), lambda: random_full(3)], ids=["diagonal", "full"]
)
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
    mean, log_var = (
        torch.tensor([0.7], requires_grad=True),
        torch.tensor([-0.4], requires_grad=True),
    )
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
            log_density = Bernoulli(logits, event_dims=len(event)).log_prob(x)
        expected = (x * logits).numpy() - np.logaddexp(0, logits.numpy())
        np.testing.assert_allclose(log_density, expected.reshape(3, 5, -1).sum(-1), rtol=1e-12)


def test_bernoulli_sums_to_one_and_survives_large_logits():
    law = Bernoulli(torch.randn(4))
    every = torch.tensor(list(itertools.product([0.0, 1.0], repeat=4)))
    torch.testing.assert_close(law.log_prob(every).exp().sum(), torch.tensor(1.0))
    extreme = Bernoulli(torch.tensor([1000.0, -1000.0]))
    assert extreme.log_prob(torch.tensor([0.0, 0.0])).item() == -1000.0
    assert extreme.log_prob(torch.tensor([1.0, 0.0])).item() == 0.0


@pytest.mark.parametrize("event", [(1,), (7,), (16,), (3, 8, 4)])
def test_the_bernoulli_kernel_is_the_formula_and_its_gradient(event):
    """Values between 0 and 1 too, and logits of all sizes; the gradients are those that autograd finds."""
    x = torch.rand(5, *event).round(decimals=1).requires_grad_()
    logits = (
        torch.randn(5, *event)
        * torch.tensor([1e-3, 1.0, 10.0, 50.0, 700.0]).reshape(5, *[1] * len(event))
    ).requires_grad_()
    law, upstream = Bernoulli(logits, event_dims=len(event)), torch.randn(5)
    kernel, formula = law.log_prob(x), law.log_prob_per_entry(x).flatten(1).sum(1)
    torch.testing.assert_close(kernel, formula)
    gradients = torch.autograd.grad(kernel, (x, logits), upstream)
    for own, expected in zip(
        gradients, torch.autograd.grad(formula, (x, logits), upstream), strict=True
    ):
        torch.testing.assert_close(own, expected)


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
    for draw in (
        law.sample,
        StandardNormal(4).sample,
        random_full().sample,
        random_diagonal().sample,
    ):
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
    gradients = torch.autograd.grad(
        law.detached().log_prob(z).sum(), [z, *parameters], allow_unused=True
    )
    assert gradients[0].any() and gradients[1:] == (None,) * len(parameters)


@pytest.mark.parametrize("make", [random_diagonal, random_full], ids=["diagonal", "full"])
def test_rows_of_a_law_are_those_of_its_parameters(make):
    law, index = make(5), torch.tensor([[4, 0], [2, 2]])
    z = torch.randn(2, 2, 4)
    rows = law.rows(index)
    assert rows.batch_shape == (2, 2)
    torch.testing.assert_close(
        rows.log_prob(z), law.log_prob(z.unsqueeze(2)).gather(2, index[..., None])[..., 0]
    )


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
    torch.testing.assert_close(
        closed, reference.kl_divergence(full[0], full[1]).expand(closed.shape)
    )
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


# --- laws of data ---------------------------------------------------------------------------------------------------

LOGITS = torch.tensor(
    [0.0, 1e-9, 1e-4, 0.02, 0.3, 0.499, 0.501, 1.0, 5.0, 40.0], dtype=torch.float64
)
LOGITS = torch.cat([-LOGITS.flip(0), LOGITS])


def test_continuous_bernoulli_equals_torchs_and_integrates_to_one():
    logits, x = LOGITS[LOGITS.abs() < 10, None], torch.rand(50, 1, 1)
    law = ContinuousBernoulli(logits)
    # torch's own approximation near 1/2 is good to 1e-6 only, and it rounds probabilities to 1 at logits of 40
    twin = reference.ContinuousBernoulli(logits=logits, lims=(0.45, 0.55))
    torch.testing.assert_close(law.log_prob(x), twin.log_prob(x).sum(-1), rtol=1e-6, atol=2e-6)
    torch.testing.assert_close(law.mean, twin.mean, rtol=1e-5, atol=1e-5)
    for logit in LOGITS.tolist():
        one = ContinuousBernoulli(torch.tensor([logit]))

        def density(value, power=0, one=one):
            return one.log_prob(torch.tensor([value])).exp().item() * value**power

        total, mean, square = (
            integrate.quad(density, 0, 1, args=(power,), epsabs=1e-13)[0] for power in (0, 1, 2)
        )
        assert total == pytest.approx(1, abs=1e-12)
        assert one.mean.item() == pytest.approx(mean, abs=1e-12)
        assert one.variance.item() == pytest.approx(square - mean**2, abs=1e-11)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
def test_continuous_bernoulli_has_the_right_gradients_from_zero_to_large_logits(dtype, tolerance):
    """d log p / da = x - mean, by the formula with 80 digits; the series meets the formula at 1/2."""
    sizes = [0.0, 1e-20, 1e-8, 1e-4, 1e-2, 0.2, 0.4999, 0.5, 0.5001, 1.0, 10.0, 88.0, 1e3, 1e4]
    logits = torch.tensor(
        [sign * size for size in sizes for sign in (-1, 1)], dtype=dtype, requires_grad=True
    )
    law = ContinuousBernoulli(logits)
    (gradient,) = torch.autograd.grad(
        law.log_prob_per_entry(torch.tensor(0.3, dtype=dtype)).sum(), logits
    )
    exact = []
    for logit in logits.tolist():
        a = Decimal(logit)
        with localcontext() as context:
            context.prec = 80
            mean = 1 / (1 - (-a).exp()) - 1 / a if a else Decimal("0.5")
        exact.append(0.3 - float(mean))
    torch.testing.assert_close(gradient.double(), torch.tensor(exact), rtol=0, atol=tolerance)
    torch.testing.assert_close(law.mean.double(), 0.3 - torch.tensor(exact), rtol=0, atol=tolerance)


def test_draws_of_a_continuous_bernoulli_are_differentiable():
    """dx/da of one draw by finite differences with the same uniform number, across the series' edge at 0.01."""
    for logit in (-30.0, -1.0, -0.01, -0.005, 0.0, 0.005, 0.01, 2.0, 30.0):
        logits = torch.full((500,), logit, requires_grad=True)
        values = []
        for step in (0.0, 1e-6, -1e-6):
            torch.manual_seed(3)
            values.append(ContinuousBernoulli(logits + step).rsample())
        (slope,) = torch.autograd.grad(values[0].sum(), logits)
        difference = (values[1] - values[2]) / 2e-6
        if (
            abs(logit) != 0.01
        ):  # where the two formulas meet, a difference of their 1e-8 would be divided by 1e-6
            torch.testing.assert_close(slope, difference, rtol=1e-4, atol=1e-4)
        assert ((values[0] >= 0) & (values[0] <= 1)).all()


@pytest.mark.parametrize("levels", [2, 3, 17, 256])
def test_discretised_logistic_equals_scipy_and_sums_to_one(levels):
    edge = 0.5 / levels
    location = torch.cat([torch.rand(20), torch.tensor([edge, 1 - edge, 0.5])])[:, None]
    log_scale = torch.cat([-4.5 * torch.rand(20), torch.tensor([-4.5, -4.5, 0.0])])[:, None]
    law = DiscretisedLogistic(location, log_scale, levels)
    values = torch.arange(levels) / (levels - 1)
    probability = law.log_prob(values[:, None, None]).exp()
    torch.testing.assert_close(probability.sum(0), torch.ones(23), rtol=0, atol=1e-13)
    bins = np.arange(1, levels)[:, None] / levels
    cdf = stats.logistic(location[:, 0].numpy(), log_scale.exp()[:, 0].numpy()).cdf(bins)
    expected = np.diff(cdf, axis=0, prepend=0, append=1)
    np.testing.assert_allclose(probability, expected, rtol=1e-6, atol=1e-15)
    mean = (probability * values[:, None]).sum(0)
    torch.testing.assert_close(law.mean[:, 0], mean)
    variance = (probability * (values[:, None] - mean).square()).sum(0)
    torch.testing.assert_close(law.variance[:, 0], variance, rtol=1e-7, atol=1e-12)


def test_the_logarithm_of_an_improbable_level_is_right_where_the_difference_of_sigmoids_is_zero():
    """Level 255 at location 0.01 and scale e^-4.5: P is about e^-89 (float32 sigmoids both round to 1)."""
    law = DiscretisedLogistic(
        torch.tensor([0.01], dtype=torch.float32), torch.tensor([-4.5]).float(), 256
    )
    x = torch.tensor([[254 / 255]], dtype=torch.float32)
    scale = Decimal(float(np.float32(math.exp(-4.5))))
    location = Decimal(float(np.float32(0.01)))
    above, below = ((Decimal(k) / 256 - location) / scale for k in (255, 254))
    exact = ((-below).exp() / (1 + (-below).exp()) - (-above).exp() / (1 + (-above).exp())).ln()
    assert law.log_prob(x).item() == pytest.approx(float(exact), rel=1e-5)


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_a_mixture_of_logistics_equals_scipys_and_sums_to_one(levels):
    logits, location = 3 * torch.randn(3, 7, 1), torch.rand(3, 7, 1)  # components, batch, event
    log_scale = -4.5 * torch.rand(3, 7, 1)
    parameters = [one.transpose(0, 1) for one in (logits, location, log_scale)]
    law = LogisticMixture(*parameters, levels)
    values = torch.arange(levels) / (levels - 1)
    found = law.log_prob(values[:, None, None])
    torch.testing.assert_close(found.exp().sum(0), torch.ones(7), rtol=0, atol=1e-12)
    bins = np.arange(1, levels)[:, None, None] / levels
    cdf = stats.logistic(location[..., 0].numpy(), log_scale.exp()[..., 0].numpy()).cdf(bins)
    of_each = np.diff(cdf, axis=0, prepend=0, append=1)
    probability = (special.softmax(logits[..., 0].numpy(), 0) * of_each).sum(1)
    np.testing.assert_allclose(found.exp(), probability, rtol=1e-6, atol=1e-15)
    mean = (probability * values[:, None].numpy()).sum(0)
    np.testing.assert_allclose(law.mean[:, 0], mean)
    variance = (probability * (values[:, None].numpy() - mean) ** 2).sum(0)
    np.testing.assert_allclose(law.variance[:, 0], variance, rtol=1e-7, atol=1e-12)
    single = LogisticMixture(*(one.float() for one in parameters), levels)
    in_single = single.log_prob(values[:, None, None].float()).double()
    torch.testing.assert_close(in_single, found, rtol=2e-4, atol=1e-4)


def test_a_mixture_of_logistics_has_the_gradients_of_its_formula_to_the_ends():
    parameters = [torch.randn(3, 2), torch.rand(3, 2), -torch.rand(3, 2)]
    for parameter in parameters:
        parameter.requires_grad_()
    x = torch.tensor([0.0, 0.5])
    assert torch.autograd.gradcheck(
        lambda *own: LogisticMixture(*own, levels=5).log_prob_per_entry(x), parameters
    )
    for dtype in (torch.float32, torch.float64):
        logits = torch.tensor([-1e30, 0.0, 1e30], dtype=dtype)[:, None].requires_grad_()
        location = torch.tensor([0.01, 0.5, 0.99], dtype=dtype)[:, None].requires_grad_()
        for log_scale in (-4.5, 0.0):
            law = LogisticMixture(logits, location, torch.full_like(location, log_scale), 256)
            result = law.log_prob(torch.linspace(0, 1, 256, dtype=dtype)[:, None])
            assert result.isfinite().all()
            gradients = torch.autograd.grad(result.sum(), (logits, location))
            assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_a_beta_binomial_equals_scipys_and_sums_to_one(levels):
    logits, values = torch.linspace(-6, 6, 9)[:, None], torch.arange(levels) / (levels - 1)
    chance = special.expit(logits[:, 0].numpy())
    for log_concentration in (-8.0, -1.0, 0.0, 3.4, 8.0, 12.0):
        law = BetaBinomial(logits, torch.tensor([log_concentration]), levels)
        found = law.log_prob(values[:, None, None])
        alpha = math.exp(log_concentration) * chance
        beta = math.exp(log_concentration) * special.expit(-logits[:, 0].numpy())
        twin = stats.betabinom(levels - 1, alpha, beta)
        expected = twin.logpmf(np.arange(levels)[:, None])
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-8)
        torch.testing.assert_close(found.exp().sum(0), torch.ones(9))
        single = BetaBinomial(logits.float(), law.log_concentration.float(), levels)
        found_in_single = single.log_prob(values[:, None, None].float()).double()
        torch.testing.assert_close(found_in_single, found, rtol=1e-5, atol=1e-3)
        np.testing.assert_allclose(law.mean[:, 0] * (levels - 1), twin.mean())
        np.testing.assert_allclose(law.variance[:, 0] * (levels - 1) ** 2, twin.var())


def test_a_beta_binomial_has_the_gradients_of_its_formula_and_none_that_is_no_number():
    logits, log_concentration = torch.tensor([-3.0, 0.2, 4.0]), torch.tensor([-2.0, 3.0, 6.0])
    parameters = [logits.requires_grad_(), log_concentration.requires_grad_()]

    def log_prob(a, s):
        return BetaBinomial(a, s, 17).log_prob_per_entry(torch.tensor([0.0, 0.25, 1.0]))

    assert torch.autograd.gradcheck(log_prob, parameters)
    for dtype in (torch.float32, torch.float64):
        extremes = [-1e30, -1e3, -90.0, 0.0, 90.0, 1e3, 1e30]
        logits = torch.tensor(extremes, dtype=dtype)[:, None].requires_grad_()
        scale = torch.tensor([-8.0, 0.0, 12.0], dtype=dtype).requires_grad_()
        for value in (0.0, 0.25, 1.0):
            law = BetaBinomial(logits, scale, 5, event_dims=0)
            result = law.log_prob(torch.full((7, 3), value, dtype=dtype))
            assert result.isfinite().all() and (result <= 1e-4).all()
            for gradient in torch.autograd.grad(result.sum(), (logits, scale)):
                assert gradient.isfinite().all()
            assert law.sample((3,)).isfinite().all()


def test_categorical_equals_torchs_and_its_moments_are_sums_over_levels():
    logits = torch.randn(3, 5, 2, 4)  # batch, levels, event
    law = Categorical(logits, event_dims=2)
    twin = reference.Categorical(logits=logits.movedim(1, -1))
    level = torch.randint(0, 5, (7, 3, 2, 4))
    torch.testing.assert_close(law.log_prob_per_entry(level / 4), twin.log_prob(level))
    torch.testing.assert_close(law.log_prob(level / 4), twin.log_prob(level).sum((-2, -1)))
    values = torch.arange(5) / 4
    torch.testing.assert_close(law.mean, (twin.probs * values).sum(-1))
    torch.testing.assert_close(law.variance, (twin.probs * values**2).sum(-1) - law.mean**2)
    # values without the axis of the samples, as the data have it, against a law that has it
    torch.testing.assert_close(
        Categorical(logits, 2).log_prob(level[0, 0] / 4), twin.log_prob(level[0, 0]).sum((1, 2))
    )


def test_counts_equal_scipys_and_sum_to_one():
    log_rate, x = torch.linspace(-6, 6, 13)[:, None], torch.arange(0, 3000)[:, None, None].double()
    law = Poisson(log_rate)
    expected = stats.poisson(log_rate[:, 0].exp().numpy()).logpmf(x[:, :, 0].numpy())
    np.testing.assert_allclose(law.log_prob(x), expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(law.log_prob(x).exp().sum(0), torch.ones(13))
    for log_dispersion in (-3.0, 0.0, 2.0, 3.39, 3.41, 6.0):
        r = math.exp(log_dispersion)
        law = NegativeBinomial(log_rate[:9], torch.tensor([log_dispersion]))
        twin = stats.nbinom(r, r / (r + log_rate[:9, 0].exp().numpy()))
        np.testing.assert_allclose(
            law.log_prob(x), twin.logpmf(x[:, :, 0].numpy()), rtol=1e-8, atol=1e-8
        )
        np.testing.assert_allclose(law.mean[:, 0], twin.mean())
        np.testing.assert_allclose(law.variance[:, 0], twin.var())


def test_a_negative_binomial_of_great_dispersion_is_poisson_in_single_precision():
    """lgamma(k + r) - lgamma(r) would lose everything: at r = 1e8, float32 knows lgamma(r) to about 100."""
    log_mean, x = torch.linspace(-3, 5, 9), torch.arange(0, 200)[:, None]
    poisson = Poisson(log_mean).log_prob_per_entry(x.double())
    law = NegativeBinomial(log_mean.float(), torch.tensor(math.log(1e8)).float())
    torch.testing.assert_close(
        law.log_prob_per_entry(x.float()).double(), poisson, rtol=1e-5, atol=2e-3
    )


def test_zero_inflated_counts_equal_scipys_and_sum_to_one():
    log_mean, x = torch.linspace(-4, 4, 9)[:, None], torch.arange(0, 2000)[:, None, None].double()
    logits = torch.linspace(-6, 6, 9).flip(0)[:, None]
    pi = special.expit(logits[:, 0].numpy())
    r, mean = math.exp(0.7), log_mean[:, 0].exp().numpy()
    twins = [
        (Poisson(log_mean), stats.poisson(mean)),
        (NegativeBinomial(log_mean, torch.tensor([0.7])), stats.nbinom(r, r / (r + mean))),
    ]
    for own, twin in twins:
        law = ZeroInflated(own, logits)
        found = law.log_prob(x)
        probability = (1 - pi) * twin.pmf(x[:, :, 0].numpy())
        probability[0] += pi
        np.testing.assert_allclose(found.exp(), probability, rtol=1e-9, atol=1e-300)
        torch.testing.assert_close(found.exp().sum(0), torch.ones(9))
        np.testing.assert_allclose(law.mean[:, 0], (1 - pi) * twin.mean())
        expected = (1 - pi) * (twin.var() + pi * twin.mean() ** 2)
        np.testing.assert_allclose(law.variance[:, 0], expected)
        low, high = torch.tensor([0.0]), torch.tensor([3.5])
        within = law.log_within(low, high).exp()[:, 0]
        np.testing.assert_allclose(within, (1 - pi) * twin.cdf(3) + pi, rtol=1e-6)


def test_zero_inflated_counts_have_the_gradients_of_their_formula_to_the_ends():
    parameters = [torch.randn(4, requires_grad=True) for _ in range(3)]
    x = torch.tensor([0.0, 0.0, 1.0, 5.0])
    assert torch.autograd.gradcheck(
        lambda m, r, a: ZeroInflated(NegativeBinomial(m, r), a).log_prob_per_entry(x), parameters
    )
    for dtype in (torch.float32, torch.float64):
        logits = torch.tensor([-1e30, -100.0, 0.0, 100.0, 1e30], dtype=dtype)[:, None]
        log_mean = torch.tensor([-1e3, -20.0, 0.0, 29.0], dtype=dtype)
        for value in (0.0, 1.0, 1e3):
            own = [one.clone().requires_grad_() for one in (logits, log_mean)]
            for counts in (
                Poisson(own[1], event_dims=0),
                NegativeBinomial(own[1], own[1].detach(), event_dims=0),
            ):
                result = ZeroInflated(counts, own[0]).log_prob(torch.full((), value, dtype=dtype))
                assert result.isfinite().all()
                gradients = torch.autograd.grad(result.sum(), own)
                assert all(gradient.isfinite().all() for gradient in gradients)


DRAWN = {
    "continuous bernoulli": lambda: ContinuousBernoulli(LOGITS[:, None]),
    "logistic": lambda: DiscretisedLogistic(torch.rand(9, 1), -3 * torch.rand(9, 1), levels=9),
    "logistic mixture": lambda: LogisticMixture(
        torch.randn(9, 3, 1), torch.rand(9, 3, 1), -3 * torch.rand(9, 3, 1), levels=9
    ),
    "beta-binomial": lambda: BetaBinomial(
        torch.linspace(-4, 4, 9)[:, None], torch.linspace(-3, 4, 9)[:, None], levels=9
    ),
    "categorical": lambda: Categorical(torch.randn(9, 5, 1)),
    "poisson": lambda: Poisson(torch.linspace(-2, 4, 9)[:, None]),
    "negative binomial": lambda: NegativeBinomial(
        torch.linspace(-2, 3, 9)[:, None], torch.tensor([0.7])
    ),
    "zero-inflated": lambda: ZeroInflated(
        NegativeBinomial(torch.linspace(-2, 3, 9)[:, None], torch.tensor([0.7])),
        torch.linspace(-3, 3, 9)[:, None],
    ),
    "log-normal": lambda: LogNormal(torch.linspace(-2, 3, 9)[:, None], torch.tensor([-1.0])),
    "logit-normal": lambda: LogitNormal(
        torch.linspace(-2, 3, 9)[:, None],
        torch.tensor([0.5]),
        torch.tensor([-1.0]),
        torch.tensor([4.0]),
    ),
    "ordinal": lambda: Ordinal(
        torch.linspace(-2, 3, 9)[:, None], torch.tensor([[-1.0], [0.5], [0.7]])
    ),
    "spiked": lambda: Spiked(
        DiagonalGaussian(torch.linspace(-2, 3, 9)[:, None], torch.tensor([-1.0])),
        torch.linspace(-2, 2, 18).reshape(9, 2, 1),
        torch.tensor([[0.5], [-3.0]]),
        torch.full((2, 1), 1e-6),
    ),
}


@pytest.mark.parametrize("make", DRAWN.values(), ids=DRAWN)
def test_draws_of_data_fit_their_law(make):
    """Mean within 5 standard errors, variance within 5 of its own from the draws' fourth moment."""
    law, count = make(), 40_000
    draws = law.sample((count,))
    assert ((draws.mean(0) - law.mean).abs() <= 5 * (law.variance / count).sqrt()).all()
    error = ((draws - law.mean) ** 4).mean(0).sub(law.variance**2).clamp_min(0).div(count).sqrt()
    assert ((draws.var(0) - law.variance).abs() <= 6 * error + 1e-12).all()


def test_joint_shapes_are_those_that_torch_broadcasts_to():
    shapes = [torch.Size(shape) for shape in [(), (1,), (3,), (5, 3), (5, 1), (1, 3), (2, 5, 3)]]
    for first, second in itertools.product(shapes, repeat=2):
        assert joint(first, second) == torch.broadcast_shapes(first, second)
    with pytest.raises(RuntimeError):
        joint(torch.Size([5, 3]), torch.Size([4]))
