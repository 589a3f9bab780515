"""A posterior of its own for every row: back to the exact one where that is known, and to log p(x) where it is not."""

import math

import numpy as np
import pytest
import torch
from models import narrowed
from scipy import stats
from test_truth import full_vae, linear_vae
from torch import nn

from variform import VAE, DataConfig, ModelConfig, TrainConfig, build_vae, evaluate, read
from variform.config.run import RunConfig
from variform.data.reading import dataset_from
from variform.distributions import DiagonalGaussian, FullGaussian, StandardNormal, kl
from variform.evaluation import refinement
from variform.evaluation.log_likelihood import score
from variform.evaluation.refinement import refine
from variform.model.likelihoods import PoissonLikelihood
from variform.model.networks import MLP
from variform.model.posteriors import DiagonalPosterior
from variform.model.priors import StandardNormalPrior
from variform.model.vae import evaluating
from variform.runs.train import train_run


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def linear_problem(rows=30):
    """Columns of W at right angles, so that the exact posterior is diagonal; log p(x) in closed form."""
    weight = torch.linalg.qr(torch.randn(8, 3))[0] * torch.tensor([3.0, 1.0, 0.5])
    x = torch.randn(rows, 3) @ weight.T + 0.4 * torch.randn(rows, 8)
    covariance = (weight @ weight.T + 0.16 * torch.eye(8)).numpy()
    log_px = torch.from_numpy(stats.multivariate_normal(np.zeros(8), covariance).logpdf(x.numpy()))
    return linear_vae(weight, torch.zeros(8), 0.4), x, log_px


def oblique_problem(rows=30):
    """Columns of any angle: a full covariance."""
    weight = torch.randn(8, 3) @ torch.randn(3, 3)
    x = torch.randn(rows, 3) @ weight.T + 0.4 * torch.randn(rows, 8)
    covariance = (weight @ weight.T + 0.16 * torch.eye(8)).numpy()
    log_px = torch.from_numpy(stats.multivariate_normal(np.zeros(8), covariance).logpdf(x.numpy()))
    return full_vae(weight, torch.zeros(8), 0.4), x, log_px


def spoilt(law, factor, shift):
    """Another law of the family: narrower or wider, and beside the truth by some of its own deviations."""
    if isinstance(law, DiagonalGaussian):
        return DiagonalGaussian(
            law.loc + shift * factor * law.stddev, law.log_var + 2 * math.log(factor)
        )
    turned = torch.eye(law.event_shape[0]) + 0.3 * torch.ones_like(law.scale_tril).tril(-1)
    scale_tril = factor * law.scale_tril @ turned
    return FullGaussian(law.loc + shift * scale_tril.sum(-1), scale_tril)


@pytest.mark.parametrize(
    ("problem", "factor", "shift", "close"),
    [
        (linear_problem, 0.5, 0.0, 1e-6),
        (linear_problem, 0.25, 0.0, 1e-6),
        (linear_problem, 0.1, 3.0, 1e-6),
        (linear_problem, 1.5, -1.0, 1e-6),
        (oblique_problem, 0.5, 0.0, 1e-5),
        (oblique_problem, 0.25, 1.0, 2e-2),
    ],
)
def test_a_spoilt_posterior_comes_back_to_the_exact_one(problem, factor, shift, close):
    """Gradients that stick the landing have no noise there: what is left is what the rate leaves."""
    vae, x, _ = problem()
    with evaluating(vae):
        exact, p = vae.encode(x), vae.latent_prior()
        refined = refine(vae, x, spoilt(exact, factor, shift), p, steps=400)
    assert type(refined) is type(exact)
    assert ((refined.mean - exact.mean) / exact.stddev).abs().max() < close
    assert (refined.variance / exact.variance - 1).abs().max() < close
    if isinstance(exact, FullGaussian):
        assert (refined.scale_tril - exact.scale_tril).abs().max() < close


@pytest.mark.parametrize("latents", [3, 32, 48])
def test_a_full_covariance_of_many_latents_does_not_run_away(latents):
    """With few draws a step sees a curvature of many times the true one: KL 16 became 1,550, and 9 million."""
    weight = 2 * torch.randn(2 * latents, latents) / math.sqrt(latents)
    x = torch.randn(4, latents) @ weight.T + 0.4 * torch.randn(4, 2 * latents)
    vae = full_vae(weight, torch.zeros(2 * latents), 0.4)
    with evaluating(vae):
        exact, p = vae.encode(x), vae.latent_prior()
        independent = FullGaussian(
            exact.mean, torch.diag_embed(exact.scale_tril.diagonal(dim1=-2, dim2=-1))
        )
        for start in (spoilt(exact, 0.5, 0.0), spoilt(exact, 0.25, 1.0), independent):
            before, few, many = (
                kl(refine(vae, x, start, p, steps=steps) if steps else start, exact)
                for steps in (0, 50, 200)
            )
            assert (few < 0.35 * before).all() and (many < 0.15 * before).all()


def test_a_row_that_refining_made_worse_keeps_what_the_encoder_answered(monkeypatch):
    """Steps that are far too large: no row ends more than a nat, and the error of its draws, below where it began."""
    vae, x, _ = oblique_problem(rows=40)
    monkeypatch.setattr(refinement, "_pace", lambda q: (8, 5.0))
    with evaluating(vae):
        exact, p = vae.encode(x), vae.latent_prior()
        start = spoilt(exact, 0.8, 0.0)
        refined = refine(vae, x, start, p, steps=20)
    is_kept = (refined.scale_tril == start.scale_tril).flatten(1).all(1)
    assert is_kept.any()
    assert (kl(refined, exact) < kl(start, exact) + 1.5).all()


class Spoilt(nn.Module):
    def __init__(self, inner, factor, shift):
        super().__init__()
        self.inner, self.factor, self.shift, self.latent_dim = (
            inner,
            factor,
            shift,
            inner.latent_dim,
        )

    def forward(self, params):
        return spoilt(self.inner(params), self.factor, self.shift)


@pytest.mark.parametrize(("problem", "close"), [(linear_problem, 1e-3), (oblique_problem, 1e-2)])
def test_nll_comes_back_to_the_exact_log_px(problem, close):
    """From q of a quarter of the width: through `score`, in several batches."""
    vae, x, log_px = problem(rows=300)
    vae.posterior = Spoilt(vae.posterior, 0.25, 0.0)
    before = score(vae, dataset_from(x), samples=1000)
    assert (log_px - before.log_px).mean() > 0.05 and (before.pareto_k > 0.7).double().mean() > 0.5
    few, many = (score(vae, dataset_from(x), samples=1000, refine=steps) for steps in (50, 200))
    torch.testing.assert_close(few.log_px, log_px, rtol=0, atol=0.03)
    torch.testing.assert_close(many.log_px, log_px, rtol=0, atol=close)
    assert (many.ess > 990).all() and not (many.pareto_k > 0.7).any()
    assert (many.elbo - log_px).abs().mean() < 0.2  # its likelihood term is a mean of draws


@pytest.mark.parametrize("kind", ["diagonal", "full"])
def test_its_gradients_are_those_of_the_divergence_from_the_exact_posterior(kind):
    """ELBO = log p(x) - KL(q || p(z|x)): 200,000 draws against autograd of the closed form, in 5 standard errors."""
    vae, x, _ = (linear_problem if kind == "diagonal" else oblique_problem)(rows=2)
    with evaluating(vae):
        exact, p = vae.encode(x), vae.latent_prior()
        q = spoilt(exact, 0.7, 0.4)
    build, free = refinement._loosened(q)
    free = [parameter.normal_(std=0.1).requires_grad_() for parameter in free]
    closed = torch.autograd.grad(-kl(build(*free), exact).sum(), free)
    chunks = []
    for _ in range(100):
        z, log_q = build(*free).rsample_and_log_prob((2000,), stick=True)
        weights = refinement.weights_of(vae, x, z, log_q, p=p)
        chunks.append(torch.autograd.grad(weights.log_weight.mean(0).sum(), free))
    for expected, parts in zip(closed, zip(*chunks, strict=True), strict=True):
        estimates = torch.stack(parts)
        error = estimates.std(0) / 10
        assert ((estimates.mean(0) - expected).abs() <= 5 * error + 1e-9).all()


def poisson_vae(dim):
    """Counts with a linear map to the logarithm of their rates: no exact posterior, an integral of few dimensions."""
    likelihood, posterior = PoissonLikelihood((6,)), DiagonalPosterior(dim)
    encoder, decoder = MLP((6,), posterior.params_shape, hidden=()), MLP((dim,), (6,), hidden=())
    with torch.no_grad():
        decoder.output.weight.copy_(torch.randn(6, dim) * 0.6)
        decoder.output.bias.fill_(1.0)
        encoder.output.weight.zero_()
        encoder.output.bias.zero_()[dim:] = -2  # the same narrow posterior for every row
    return VAE(
        encoder, decoder, posterior=posterior, prior=StandardNormalPrior(dim), likelihood=likelihood
    )


@pytest.mark.parametrize("dim", [1, 2])
def test_counts_come_to_the_integral(dim):
    """log p(x) by quadrature over a fine grid of z: the encoder knows nothing of the rows, refining makes up for it."""
    vae = poisson_vae(dim)
    x = vae.sample(40).detach()
    axis = torch.linspace(-7, 7, 2801 if dim == 1 else 701)
    grid = torch.cartesian_prod(*[axis] * dim).reshape(-1, dim)
    with torch.no_grad():
        log_joint = vae.decode(grid).log_prob(x[:, None]) + StandardNormal(dim).log_prob(grid)
    exact = log_joint.logsumexp(1) + dim * math.log(axis[1] - axis[0])
    plain, refined = (score(vae, dataset_from(x), samples=2000, refine=steps) for steps in (0, 150))
    assert (exact - plain.log_px).mean() > 0.5
    # Their posteriors have longer tails than a Gaussian, so that k need not be low of every row. Where it is, the error
    # is within five of the standard errors that the effective number of samples gives.
    error, is_low = (refined.log_px - exact).abs(), refined.pareto_k <= 0.7
    assert refined.ess.mean() > 900 and error.mean() < 0.1
    assert is_low.any() and (error <= 5 / refined.ess.sqrt())[is_low].all()
    assert ((refined.elbo < exact + 0.1) & (refined.elbo > plain.elbo)).all()


@pytest.mark.parametrize("factor", [0.5, 0.25])
def test_digits_with_a_narrowed_posterior_come_back(trained_digits, factor):
    """To the NLL of the model as it was trained, whose k are low; what stands beside is not touched by refining."""
    vae, splits = trained_digits
    truth = evaluate(vae, splits.test, samples=5000)["nll"]["mean"]
    plain, with_refined = (
        narrowed(
            vae,
            factor,
            lambda model, steps=steps: evaluate(model, splits.test, samples=1000, refine=steps),
        )
        for steps in (0, 50)
    )
    refined = with_refined["refined"]
    assert (
        refined["steps"] == 50
        and refined["high_pareto_k"]["mean"] < 0.12
        and with_refined["high_pareto_k"]["mean"] > 0.9
    )
    assert abs(refined["nll"]["mean"] - truth) < 0.05 and plain["nll"]["mean"] - truth > 0.5
    assert refined["elbo"]["mean"] > plain["elbo"]["mean"] + 1
    assert {name: with_refined[name] for name in ("elbo", "nll", "kl", "ess")} == {
        name: plain[name] for name in ("elbo", "nll", "kl", "ess")
    }
    assert any("refined q(z|x)" in note and "50 steps" in note for note in with_refined["notes"])
    assert any("not to be trusted" in one for one in plain["warnings"])
    assert not any("not to be trusted" in one for one in with_refined["warnings"])


def test_a_flow_is_refined_in_its_noise():
    """Two latents on a flow whose noise is too narrow; log p(x) by quadrature."""
    splits = read("digits", DataConfig(binarise="threshold"))
    config = ModelConfig(
        likelihood="bernoulli", latent_dim=2, hidden=(16,), posterior="iaf", transforms=1
    )
    vae = build_vae(config, splits.schema, moments=splits.train.moments()).double()
    with torch.no_grad():
        vae.decoder.output.weight.normal_(std=0.5)
        vae.encoder.output.bias[2:4] = -5.0
    data = splits.test.take(torch.arange(20))
    axis = torch.linspace(-6, 6, 241)
    grid = torch.cartesian_prod(axis, axis)
    x = data.prepared().double()
    with torch.no_grad():
        log_joint = (
            vae.decode(grid[:, None]).log_prob(x) + StandardNormal(2).log_prob(grid)[:, None]
        )
    exact = log_joint.logsumexp(0) + 2 * math.log(axis[1] - axis[0])
    plain, refined = (score(vae, data, samples=1000, refine=steps) for steps in (0, 100))
    assert (refined.elbo > plain.elbo).all() and (exact - plain.log_px).abs().mean() > 0.3
    assert (exact - refined.log_px).abs().mean() < 0.3 * (exact - plain.log_px).abs().mean()


def test_refining_touches_nothing_else_and_repeats_itself(trained_digits):
    vae, splits = trained_digits
    data = splits.test.take(torch.arange(50))
    before = {name: value.clone() for name, value in vae.state_dict().items()}
    state, mode = torch.get_rng_state(), vae.training
    first, second = (score(vae, data, samples=30, refine=5, seed=3) for _ in range(2))
    assert torch.equal(first.log_px, second.log_px) and torch.equal(first.means, second.means)
    assert torch.equal(state, torch.get_rng_state()) and vae.training == mode
    assert all(torch.equal(value, before[name]) for name, value in vae.state_dict().items())
    assert all(parameter.grad is None for parameter in vae.parameters())
    assert not torch.equal(first.log_px, score(vae, data, samples=30, refine=5, seed=4).log_px)


def test_with_common_noise_a_row_does_not_depend_on_the_others(trained_digits):
    vae, splits = trained_digits
    vae = build_vae(vae.config, splits.schema).double()
    data = splits.test.take(torch.arange(40))
    whole = score(vae, data, samples=40, refine=10, common=True)
    alone = score(vae, data.take(torch.tensor([17])), samples=40, refine=10, common=True)
    torch.testing.assert_close(whole.log_px[17:18], alone.log_px, rtol=0, atol=1e-9)


def test_rows_are_cut_so_that_memory_is_bounded(monkeypatch):
    """No decode of more z than asked for, and the answer is exact all the same."""
    vae, x, _ = linear_problem(rows=30)
    decoded, forward = [], vae.decoder.forward
    monkeypatch.setattr(vae.decoder, "forward", lambda z: decoded.append(len(z)) or forward(z))
    with evaluating(vae):
        exact, p = vae.encode(x), vae.latent_prior()
        refined = refine(vae, x, spoilt(exact, 0.5, 0.0), p, steps=300, floats=10, most=10 * 8 * 7)
    assert max(decoded) == 8 * 7
    torch.testing.assert_close(refined.mean, exact.mean, rtol=0, atol=1e-5)


def test_a_row_whose_steps_run_away_keeps_the_encoders_answer():
    """One row of NaN beside others: it has no gradient, and theirs is their own."""
    vae, x, _ = linear_problem(rows=5)
    with evaluating(vae):
        exact, p = vae.encode(x), vae.latent_prior()
        bad = torch.cat([x[:4], torch.full((1, 8), math.nan)])
        refined = refine(vae, bad, spoilt(exact, 0.5, 0.0), p, steps=200)
    torch.testing.assert_close(refined.mean[:4], exact.mean[:4], rtol=0, atol=1e-4)
    torch.testing.assert_close(refined.variance[4], exact.variance[4] * 0.25)


@pytest.mark.parametrize(
    "options", [{"posterior": "full"}, {"prior": "vamp", "components": 5}, {"prior": "flow"}]
)
def test_other_posteriors_and_priors_are_refined_too(options):
    splits = read("digits", DataConfig(binarise="threshold", condition=("label",)))
    vae = build_vae(
        ModelConfig(latent_dim=3, hidden=(16,), **({"likelihood": "bernoulli"} | options)),
        splits.schema,
        moments=splits.train.moments(),
    )
    data = splits.test.take(torch.arange(30))
    plain, refined = (score(vae, data, samples=200, refine=steps) for steps in (0, 20))
    assert (refined.elbo > plain.elbo - 0.5).all() and refined.elbo.mean() > plain.elbo.mean()


def test_bad_requests_are_refused(trained_digits):
    vae, splits = trained_digits
    with pytest.raises(
        ValueError,
        match=r"`refine` must be a number of steps, 0 or more; got -1. Use for example 50",
    ):
        score(vae, splits.test, samples=10, refine=-1)
    with pytest.raises(
        ValueError, match="refining needs a posterior of Gaussians or on a flow; got Mixture"
    ):
        refinement._loosened(
            build_vae(
                ModelConfig(likelihood="bernoulli", prior="mixture"), splits.schema
            ).latent_prior()
        )


def test_a_run_is_evaluated_with_a_refined_posterior(tmp_path, capsys):
    """By the command line: a column of its own, and nothing in the run's folder changes."""
    from variform.faces.cli import commands

    torch.set_default_dtype(torch.float32)
    config = RunConfig(
        model=ModelConfig(likelihood="bernoulli", latent_dim=2, hidden=(8,)),
        train=TrainConfig(epochs=1),
    )
    run = train_run(config, tmp_path / "run", pictures=False)
    kept = (run.folder / "evaluation.json").read_bytes()
    commands.app(
        ["evaluate", str(run.folder), "--samples", "50", "--refine", "5"],
        result_action="return_value",
    )
    said = capsys.readouterr().out
    assert "VAE, q refined in 5 steps" in said and "share of rows with Pareto k > 0.7" in said
    assert (run.folder / "evaluation.json").read_bytes() == kept
