"""Where the truth is a finite number, so is what is computed, and so are its gradients: against mpmath, at extremes."""

import functools
import itertools
import math

import pytest
import torch
from mpmath import inf as infinity
from mpmath import log, log1p, loggamma, mp, mpf

from variform.distributions import (
    Bernoulli,
    Categorical,
    ContinuousBernoulli,
    DiagonalGaussian,
    DiscretisedLogistic,
    FullGaussian,
    Mixture,
    NegativeBinomial,
    Poisson,
    StandardNormal,
    kl,
    kl_diagonal,
    kl_standard,
)
from variform.model.flows import IAFPosterior
from variform.model.posteriors import FullCovariancePosterior

mp.dps = 60
DTYPES = [torch.float32, torch.float64]
LOG_VARS = [
    -1e3,
    -700.0,
    -400.0,
    -300.0,
    -206.0,
    -180.0,
    -150.0,
    -100.0,
    -50.0,
    -3.0,
    0.0,
    3.0,
    50.0,
    88.0,
    300.0,
    1e3,
]
MEANS = [0.0, 1e-30, -3.7, 1e6, 1e30]


def exact(value):
    return mpf(value.item()) if isinstance(value, torch.Tensor) else mpf(value)


def agrees(result, truth, *, terms=(), slack=50.0):
    """Equal within rounding of the largest term, wherever the truth is a number of that precision."""
    largest, limits = max(map(abs, (truth, *terms))), torch.finfo(result.dtype)
    if largest > exact(limits.max) / 4:
        return True
    return (
        bool(result.isfinite())
        and abs(exact(result) - truth) <= slack * limits.eps * largest + limits.tiny
    )


def log_normal(distance, log_var):
    return -(log(2 * mp.pi) + log_var + distance**2) / 2


def noise_of(law, shape):
    """What a law draws after this seed."""
    torch.manual_seed(7)
    return law._noise(shape, law.loc)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_gaussian_knows_the_density_of_its_own_draws(dtype):
    """The example of the kind: a mean of 1 and a log-variance of -100, where 1 + e^-50 noise is 1."""
    _, log_q = DiagonalGaussian(
        torch.ones(2, dtype=dtype), torch.full((2,), -100.0, dtype=dtype)
    ).rsample_and_log_prob((2,))
    assert log_q.isfinite().all()
    for mean, log_var in itertools.product(MEANS, LOG_VARS):
        loc = torch.tensor([mean], dtype=dtype, requires_grad=True)
        spread = torch.tensor([log_var], dtype=dtype, requires_grad=True)
        law = DiagonalGaussian(loc, spread)
        (noise,) = noise_of(law, ())
        torch.manual_seed(7)
        _, log_q = law.rsample_and_log_prob()
        assert agrees(log_q, log_normal(exact(noise), mpf(log_var)), terms=[mpf(log_var)])
        gradients = torch.autograd.grad(
            log_q, [loc, spread], allow_unused=True, materialize_grads=True
        )
        assert [gradient.item() for gradient in gradients] == [0.0, -0.5]


@pytest.mark.parametrize("dtype", DTYPES)
def test_sticking_gradients_are_those_of_the_noise(dtype):
    """d log q / d mean = -noise / std and d log q / d log_var = -noise^2 / 2, wherever they are numbers."""
    for mean, log_var in itertools.product(MEANS, LOG_VARS):
        loc = torch.tensor([mean], dtype=dtype, requires_grad=True)
        spread = torch.tensor([log_var], dtype=dtype, requires_grad=True)
        law = DiagonalGaussian(loc, spread)
        noise = noise_of(law, ())
        torch.manual_seed(7)
        _, log_q = law.rsample_and_log_prob(stick=True)
        assert agrees(log_q, log_normal(exact(noise), mpf(log_var)), terms=[mpf(log_var)])
        for_loc, for_spread = torch.autograd.grad(log_q, [loc, spread])
        assert agrees(for_loc, -exact(noise) * mp.exp(-mpf(log_var) / 2))
        assert agrees(for_spread, -(exact(noise) ** 2) / 2)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_gaussian_density_of_any_value(dtype):
    limits = torch.finfo(dtype)
    distances = [0.0, limits.tiny, 1e-22, 1e-3, 1.0, 1e25]
    for mean, log_var, distance in itertools.product(MEANS, LOG_VARS, distances):
        loc = torch.tensor([mean], dtype=dtype, requires_grad=True)
        spread = torch.tensor([log_var], dtype=dtype, requires_grad=True)
        value = (loc + distance).detach()
        result = DiagonalGaussian(loc, spread).log_prob(value)
        away = (exact(value) - exact(loc)) * mp.exp(-mpf(log_var) / 2)
        assert agrees(result, log_normal(away, mpf(log_var)), terms=[mpf(log_var), away**2])
        if abs(away) < 1e9:
            gradients = torch.autograd.grad(result, [loc, spread])
            assert agrees(gradients[0], away * mp.exp(-mpf(log_var) / 2))
            assert agrees(gradients[1], (away**2 - 1) / 2, terms=[mpf(1)])


@pytest.mark.parametrize("dtype", DTYPES)
def test_kl_of_diagonal_gaussians(dtype):
    log_vars = [-1e3, -300.0, -150.0, -50.0, -3.0, 0.0, 50.0, 300.0, 1e3]
    for mean, other, log_var, wide in itertools.product(
        [1.0, -1e6], [0.0, 1.0], log_vars, log_vars
    ):
        parameters = [
            torch.tensor([value], dtype=dtype, requires_grad=True)
            for value in (mean, log_var, other, wide)
        ]
        q, p = DiagonalGaussian(*parameters[:2]), DiagonalGaussian(*parameters[2:])
        away = ((exact(parameters[0]) - exact(parameters[2])) ** 2) * mp.exp(-mpf(wide))
        ratio = mpf(log_var) - mpf(wide)
        truth, terms = (mp.exp(ratio) + away - 1 - ratio) / 2, [mp.exp(ratio), away, ratio, mpf(1)]
        result = kl_diagonal(q, p)[0]
        assert agrees(result, truth, terms=terms)
        if max(map(abs, terms)) < 1e9:
            assert all(gradient.isfinite() for gradient in torch.autograd.grad(result, parameters))
        if (other, wide) == (0.0, 0.0):
            assert agrees(kl_standard(q.loc, q.log_var)[0], truth, terms=terms)


def full_of(dtype, mean, log_std, below=0.25):
    """A Gaussian over two dimensions whose second follows the first, in units of its own deviation."""
    log_diagonal = torch.tensor([0.0, log_std], dtype=dtype, requires_grad=True)
    factor = torch.diag_embed(log_diagonal.exp())
    factor = factor + torch.tensor([[0.0, 0.0], [below, 0.0]], dtype=dtype) * log_diagonal[1].exp()
    loc = torch.tensor([mean, -mean], dtype=dtype, requires_grad=True)
    return FullGaussian(loc, factor, log_diagonal), [loc, log_diagonal]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("stick", [False, True])
def test_a_full_gaussian_knows_the_density_of_its_own_draws(dtype, stick):
    for mean, log_var in itertools.product(MEANS, LOG_VARS):
        law, parameters = full_of(dtype, mean, log_var / 2)
        noise = noise_of(law, ())
        torch.manual_seed(7)
        z, log_q = law.rsample_and_log_prob(stick=stick)
        truth = sum(
            log_normal(exact(value), spread)
            for value, spread in zip(noise, (0, mpf(log_var)), strict=True)
        )
        if z.isfinite().all():
            assert agrees(log_q, truth, terms=[mpf(log_var)])
            if not stick or abs(log_var) < 150:
                assert all(
                    gradient.isfinite().all()
                    for gradient in torch.autograd.grad(
                        log_q, parameters, allow_unused=True, materialize_grads=True
                    )
                )


@pytest.mark.parametrize("dtype", DTYPES)
def test_kl_and_density_of_a_narrow_full_gaussian(dtype):
    """Beside the diagonal law of the same parameters, which has its own test, and at its mean."""
    for mean, log_var in itertools.product([0.0, 1.0, -1e6], LOG_VARS):
        law, parameters = full_of(dtype, mean, log_var / 2, below=0.0)
        if not law.scale_tril.isfinite().all():
            continue
        twin = DiagonalGaussian(law.loc, 2 * law.log_diagonal)
        prior = StandardNormal(2, like=law.loc)
        expected = kl(twin, prior)
        if expected.isfinite():
            torch.testing.assert_close(kl(law, prior), expected)
            assert all(
                gradient.isfinite().all()
                for gradient in torch.autograd.grad(kl(law, prior), parameters)
            )
        torch.testing.assert_close(law.log_prob(law.loc.detach()), twin.log_prob(law.loc.detach()))
        if log_var > -170:  # below, the deviation has few digits in single precision
            torch.testing.assert_close(
                kl(twin, FullGaussian.of(twin)), torch.zeros((), dtype=dtype), atol=1e-4, rtol=0
            )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("log_var", [-1e3, -100.0, -60.0, -40.0, -30.0, -22.0, -18.0, -10.0])
def test_a_mixture_with_narrow_components(dtype, log_var):
    """Products of matrices would lose the distance of a point from the component that it stands on."""
    means = torch.tensor([[1.0, -3.0], [1.5, 2.0], [0.0, 0.0]], dtype=dtype)
    log_vars = torch.full((3, 2), log_var, dtype=dtype)
    law = Mixture(
        DiagonalGaussian(means.requires_grad_(), log_vars.requires_grad_()),
        torch.zeros(3, dtype=dtype),
    )
    with torch.no_grad():
        points = torch.cat([means, means + math.exp(log_var / 2)])
    for point, result in zip(points, law.log_prob(points), strict=True):
        away = [[exact(a) - exact(b) for a, b in zip(point, mean, strict=True)] for mean in means]
        each = [
            sum(log_normal(d * mp.exp(-mpf(log_var) / 2), mpf(log_var)) for d in row)
            for row in away
        ]
        largest = max(each)
        truth = largest + log(sum(mp.exp(value - largest) for value in each) / 3)
        assert agrees(
            result, truth, terms=[mpf(log_var)], slack=1e3 if dtype == torch.float32 else 1e9
        )
    gradients = torch.autograd.grad(law.log_prob(means.detach()).sum(), [means, log_vars])
    assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("dtype", DTYPES)
def test_continuous_bernoulli_at_large_logits(dtype):
    """At the likelier end log p = log a: of two numbers of the size of a nothing would be left of it."""
    for sign, size, value in itertools.product(
        [1, -1], [0.0, 1e-4, 0.3, 1.0, 30.0, 1e4, 1e10, 1e30], [0.0, 0.25, 1.0]
    ):
        logits = torch.tensor([sign * size], dtype=dtype, requires_grad=True)
        result = ContinuousBernoulli(logits).log_prob(torch.tensor([value], dtype=dtype))
        a = exact(logits)
        normaliser = mpf(0) if a == 0 else log(mp.expm1(a) / a) if a < 1000 else a - log(a)
        linear = (mpf(value) - (a > 0)) * a
        assert agrees(
            result, a * value - normaliser, terms=[linear, log(1 + abs(a)), a if abs(a) < 1 else 0]
        )
        assert torch.autograd.grad(result, logits)[0].isfinite().all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_discretised_logistic_of_any_scale(dtype):
    for log_scale, location, level in itertools.product(LOG_VARS, [0.0, 0.5, 1 / 3, 1.0], range(5)):
        parameters = [
            torch.tensor([value], dtype=dtype, requires_grad=True)
            for value in (location, log_scale)
        ]
        result = DiscretisedLogistic(*parameters, levels=5).log_prob(
            torch.tensor([level / 4], dtype=dtype)
        )
        # bins end where the precision says, so that a location on an edge stays on it
        edges = torch.tensor([level, level + 1], dtype=dtype) / 5 - parameters[0].detach()
        below, above = (exact(edge) * mp.exp(-mpf(log_scale)) for edge in edges)
        inside = [-infinity if level == 0 else below, infinity if level == 4 else above]
        truth = log_difference_of_sigmoids(*inside)
        assert agrees(result, truth, terms=[mpf(1)], slack=200)
        if abs(truth) < 1e9:
            assert all(gradient.isfinite() for gradient in torch.autograd.grad(result, parameters))


def log_difference_of_sigmoids(low, high):
    def log_sigmoid(value):
        if value == infinity:
            return mpf(0)
        return -log1p(mp.exp(-value)) if value > 0 else value - log1p(mp.exp(value))

    width = high - low
    narrowing = mpf(0) if width == infinity else log(-mp.expm1(-width))
    return log_sigmoid(high) + log_sigmoid(-low) + narrowing


@functools.cache
def negative_binomial(log_mean, log_dispersion, count):
    """Mean, count and log-probability, with digits enough for numbers as far apart as these."""
    with mp.workdps(60 + round(abs(log_dispersion) / 2)):
        mean, r, x = mp.exp(mpf(log_mean)), mp.exp(mpf(log_dispersion)), mpf(count)
        ways = loggamma(r + x) - loggamma(r) - loggamma(x + 1)
        return mean, x, +(ways - r * log1p(mean / r) - x * log1p(r / mean))


@pytest.mark.parametrize("dtype", DTYPES)
def test_negative_binomial_of_any_dispersion(dtype):
    for log_mean, log_dispersion, count in itertools.product(
        [-1e3, -20.0, 0.0, 5.0, 29.0],
        [-1e3, -200.0, -80.0, -5.0, 0.0, 3.4, 20.0, 80.0, 200.0, 1e3],
        [0.0, 1.0, 7.0, 1e3],
    ):
        parameters = [
            torch.tensor([value], dtype=dtype, requires_grad=True)
            for value in (log_mean, log_dispersion)
        ]
        result = NegativeBinomial(*parameters).log_prob(torch.tensor([count], dtype=dtype))
        mean, x, truth = negative_binomial(log_mean, log_dispersion, count)
        assert agrees(result, truth, terms=[x * 71, x * log_mean, mean, mpf(1)])
        assert all(gradient.isfinite() for gradient in torch.autograd.grad(result, parameters))
        sample = NegativeBinomial(*parameters).sample((3,))
        assert sample.isfinite().all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_other_laws_of_data_at_extreme_parameters(dtype):
    huge = [-1e30, -1e3, -100.0, 0.0, 100.0, 1e3, 1e30]
    for a, value in itertools.product(huge, [0.0, 1.0]):
        logits, x = (
            torch.tensor([a], dtype=dtype, requires_grad=True),
            torch.tensor([value], dtype=dtype),
        )
        truth = -log1p(mp.exp(-abs(mpf(a)))) - (
            abs(exact(logits)) if (a > 0) != (value > 0) and a else 0
        )
        for result in (Bernoulli(logits).log_prob(x), Bernoulli(logits).log_prob_per_entry(x)[0]):
            assert agrees(result, truth, terms=[mpf(1)])
            assert torch.autograd.grad(result, logits)[0].isfinite().all()
    for first, second in itertools.product(huge, repeat=2):
        logits = torch.tensor([[first], [second]], dtype=dtype, requires_grad=True)
        result = Categorical(logits).log_prob(torch.zeros(1, dtype=dtype))
        gap = exact(logits[1]) - exact(logits[0])
        truth = -log1p(mp.exp(gap)) if gap < 0 else -gap - log1p(mp.exp(-gap))
        assert agrees(result, truth, terms=[mpf(1), mpf(abs(first)), mpf(abs(second))])
        assert torch.autograd.grad(result, logits)[0].isfinite().all()
    for log_rate, count in itertools.product([-1e3, -100.0, 0.0, 30.0, 80.0], [0.0, 3.0, 1e4]):
        rate = torch.tensor([log_rate], dtype=dtype, requires_grad=True)
        result = Poisson(rate).log_prob(torch.tensor([count], dtype=dtype))
        terms = [mpf(count) * log_rate, mp.exp(mpf(log_rate)), loggamma(mpf(count) + 1)]
        assert agrees(result, terms[0] - terms[1] - terms[2], terms=terms)
        assert torch.autograd.grad(result, rate)[0].isfinite().all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("raw", [-1e3, -400.0, -100.0, -60.0])
def test_a_full_posterior_hands_on_the_logarithms_of_a_spread_too_small_for_a_number(dtype, raw):
    params = torch.zeros(1, 5, dtype=dtype)
    params[:, 2:4] = raw
    law = FullCovariancePosterior(2, std="exp")(params.requires_grad_())
    _, log_q = law.rsample_and_log_prob((4,))
    divergence = kl(law, StandardNormal(2, like=params))
    torch.testing.assert_close(
        divergence, torch.tensor([-1.0 - law.log_diagonal.sum().item()], dtype=dtype)
    )
    assert log_q.isfinite().all() and (log_q.mean() - divergence).abs() < 5
    for result in (log_q.sum(), divergence.sum()):
        assert torch.autograd.grad(result, params, retain_graph=True)[0].isfinite().all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_flow_on_narrow_noise_knows_the_density_of_its_own_draws(dtype):
    torch.manual_seed(0)
    params = torch.randn(5, 70, dtype=dtype)
    posterior = IAFPosterior(3, std="exp").to(dtype)
    mild = posterior(params).rsample_and_log_prob((2,))[1]
    for log_var in (-100.0, -300.0, -1e3):
        changed = params.clone()
        changed[:, 3:6] = log_var
        law = posterior(changed.requires_grad_())
        z, log_q = law.rsample_and_log_prob((2,))
        assert log_q.isfinite().all() and log_q.min() > -1.5 * log_var + mild.min() - 50
        assert torch.autograd.grad((z.sum() + log_q.sum()), changed)[0].isfinite().all()
