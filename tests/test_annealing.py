"""Chains from a known law to the posterior: log p(x) where it is known, from below and from above."""

import json
import math

import numpy as np
import pytest
import torch
from models import EVERY, every, run_with_sampler
from scipy import stats
from test_truth import full_vae, linear_vae

from variform.data.reading import dataset_from
from variform.distributions import FullGaussian, kl
from variform.distributions.hamiltonian import leapfrog
from variform.evaluation.annealing import Walk, anneal, bracket, certify
from variform.evaluation.log_likelihood import score
from variform.evaluation.sections.certified import CERTIFIED
from variform.faces.cli.commands import run
from variform.model.spaces import space_of


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def linear_problem(rows=20, columns=64, latents=10):
    """Rows of a linear-Gaussian model, and their log p(x) in closed form."""
    weight = torch.randn(columns, latents) * torch.linspace(2.0, 0.3, latents) / 4
    x = torch.randn(rows, latents) @ weight.T + 0.4 * torch.randn(rows, columns)
    covariance = (weight @ weight.T + 0.16 * torch.eye(columns)).numpy()
    exact = stats.multivariate_normal(np.zeros(columns), covariance).logpdf(x.numpy())
    return linear_vae(weight, torch.zeros(columns), 0.4), dataset_from(x), torch.from_numpy(exact)


def close_in_the_mean(found, exact, error):
    """Within `error` nats, or three standard errors of the walk itself."""
    difference = found - exact
    return abs(difference.mean()) < error + 3 * difference.std() / math.sqrt(len(difference))


def test_log_px_of_a_linear_model_is_exact_from_the_posterior():
    vae, data, exact = linear_problem()
    found = anneal(vae, data, walk=Walk(chains=16, temperatures=30))
    difference = found.log_px - exact
    assert difference.square().mean().sqrt() < 0.12
    assert close_in_the_mean(found.log_px, exact, 0.01)
    assert (found.ess > 12).all()


def test_a_poor_encoder_leaves_log_px_where_it_is():
    """Importance sampling with as many draws is nats off; the mean weight of chains is p(x) from any start."""
    vae, data, exact = linear_problem()
    with torch.no_grad():
        vae.encoder.output.weight *= 0.3
        vae.encoder.output.bias -= 1.0
    found = anneal(vae, data, walk=Walk(chains=16, temperatures=100))
    assert close_in_the_mean(found.log_px, exact, 0.01)
    by_importance = score(vae, data, samples=16 * 100 * 6).log_px
    assert (exact - by_importance).mean() > 1


@pytest.mark.parametrize("start", ["posterior", "prior"])
def test_two_bounds_hold_the_truth_between_them(start):
    vae, data, exact = linear_problem(rows=30, columns=6, latents=2)
    walk = Walk(chains=8, temperatures=100, start=start)
    found = bracket(vae, data, walk=walk, rows=60)
    between = found.upper - found.log_px
    assert -3 * between.std() / math.sqrt(60) < between.mean() < 0.1
    assert close_in_the_mean(anneal(vae, data, walk=walk).log_px, exact, 0.03)


@pytest.mark.parametrize("build", [linear_vae, full_vae])
def test_both_parts_of_the_gap_are_exact_for_a_poor_encoder(build):
    """The best diagonal Gaussian of a linear model has the diagonal of the exact precision for its own.

    A full covariance is exact, and so is a flow: of a diagonal posterior the family is to blame, and that is measured.
    """
    weight = torch.randn(8, 3) / 2 + torch.randn(8, 1)
    x = torch.randn(40, 3) @ weight.T + 0.4 * torch.randn(40, 8)
    covariance = weight @ weight.T + 0.16 * torch.eye(8)
    exact = stats.multivariate_normal(np.zeros(8), covariance.numpy()).logpdf(x.numpy())
    vae, data = build(weight, torch.zeros(8), 0.4), dataset_from(x)
    precision = torch.eye(3) + weight.T @ weight / 0.16
    posterior = FullGaussian(
        x @ weight @ precision.inverse() / 0.16, torch.linalg.cholesky(precision.inverse())
    )
    approximation = 0.0
    if build is linear_vae:
        approximation = (precision.diagonal().log().sum() - precision.logdet()).item() / 2
        assert approximation > 0.1
    with torch.no_grad():
        vae.encoder.output.weight *= 0.7
        vae.encoder.output.bias += 0.3
        gap = kl(vae.encode(data.prepared()), posterior).mean().item()
    walk = Walk(chains=16, temperatures=30, refine=50 if build is linear_vae else 100)
    found = certify(vae, data, rows=40, samples=20_000, walk=walk)
    for name, truth in {
        "approximation_gap": approximation,
        "amortisation_gap": gap - approximation,
        "nll": -exact.mean(),
        "approximation_gap_full": 0.0,
        "approximation_gap_flow": 0.0,
    }.items():
        assert found[name]["mean"] == pytest.approx(truth, abs=0.02), name


def test_the_mean_weight_has_no_bias_with_few_temperatures():
    """One chain and three temperatures from the prior: each weight is far off, their mean is p(x)."""
    vae, data, exact = linear_problem(rows=4, columns=3, latents=1)
    walk = Walk(chains=4000, temperatures=3, leaps=3, start="prior")
    found = anneal(vae, data, walk=walk)
    error = (found.log_px - exact).exp() - 1
    assert (error.abs() < 4 * (1 / found.ess - 1 / 4000).sqrt()).all()
    assert found.ess.max() < 3500


def test_one_temperature_is_importance_sampling():
    vae, data, _ = linear_problem(rows=5, columns=6, latents=2)
    walk = Walk(chains=4000, temperatures=1, start="posterior", refine=0)
    by_chains = anneal(vae, data, walk=walk)
    by_importance = score(vae, data, samples=4000)
    error = (1 / by_chains.ess + 1 / by_importance.ess).sqrt()
    assert ((by_chains.log_px - by_importance.log_px).abs() < 4 * error).all()


def integrated(vae, data):
    """log p(x) of every row under a model of one latent, a sum over 2,001 points of a line from -8 to 8."""
    grid = torch.linspace(-8, 8, 2001)[:, None]
    log_prior = vae.latent_prior().log_prob(grid)
    found = []
    for x, context in vae.batches(data, 1, seed=0):
        contexts = None if context is None else context.expand(len(grid), -1)
        log_joint = log_prior + vae.decode(grid, contexts).log_prob(x)
        jacobian = vae.log_jacobians(data.schema, x)
        found.append(log_joint.logsumexp(0) + math.log(16 / 2000) + jacobian)
    return torch.cat(found)


@pytest.mark.parametrize(
    "name", [name for name in EVERY if name != "posterior ladder"]
)  # of several latents, whose integral is in tests/test_hierarchy.py
def test_every_likelihood_prior_and_posterior_is_annealed(name, tmp_path):
    splits, vae = every(name, tmp_path, latent_dim=1)
    rows = splits.test.take(torch.arange(4))
    if not space_of(vae).is_flat:
        with pytest.raises(ValueError, match="needs latents in a flat space"):
            anneal(vae, rows)
        return
    long = name.startswith(("prior", "posterior"))
    walk = Walk(chains=32, temperatures=60 if long else 15, leaps=3, refine=20)
    found, exact = anneal(vae, rows, walk=walk), integrated(vae, rows)
    error = (1 / found.ess - 1 / 32).clamp(min=0).sqrt()
    assert found.accepted.min() > 0.5
    assert found.ess.min() > 6
    assert ((found.log_px - exact).abs() < 0.01 + 4 * error).all()
    assert torch.isfinite(bracket(vae, rows, walk=walk, rows=2).upper).all()


def test_leapfrog_goes_back_the_way_it_came_and_keeps_energy_to_the_square_of_its_step():
    matrix = torch.tensor([[2.0, 0.5], [0.5, 1.0]])
    z, momentum = torch.randn(50, 2), torch.randn(50, 2)

    def energy(z, momentum):
        return ((z @ matrix) * z).sum(-1) / 2 + momentum.square().sum(-1) / 2

    errors = []
    for leaps in (20, 40):
        step = torch.tensor(1.0 / leaps)
        there = leapfrog(lambda z: -z @ matrix, z, momentum, step, leaps)
        back, turned = leapfrog(lambda z: -z @ matrix, there[0], -there[1], step, leaps)
        torch.testing.assert_close(back, z)
        torch.testing.assert_close(-turned, momentum)
        errors.append((energy(*there) - energy(z, momentum)).abs().mean())
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.1)


def test_no_rows_are_refused():
    vae, data, _ = linear_problem(rows=3, columns=3, latents=1)
    with pytest.raises(ValueError, match="at least one row"):
        anneal(vae, data.take(torch.arange(0)))
    with pytest.raises(ValueError, match="`temperatures`"):
        Walk(temperatures=0)


def test_the_command_certifies_rows_of_a_run(tmp_path, capsys):
    run_with_sampler(tmp_path / "run", 5)
    run(["evaluate", str(tmp_path / "run"), "--ais", "3", "--ais-steps", "4", "--json"])
    certified = json.loads(capsys.readouterr().out)["certified"]
    assert (certified["nll"]["n"], certified["temperatures"]) == (3, 4)
    assert 1 <= certified["ess"]["mean"] <= 16


def test_the_answer_has_no_zero_with_a_minus():
    names = ("nll", "nll_importance", "bracket", "amortisation_gap", "approximation_gap")
    found = {name: {"mean": -0.001} for name in names}
    found |= {f"approximation_gap_{family}": {"mean": -0.004} for family in ("full", "flow")}
    found["nll_importance"] = {"mean": -0.002}
    words = CERTIFIED.answer(found)
    assert words.startswith("The bounds are 0.00 nats apart")
    assert "+0.00 nats from" in words and "-0.00" not in words
    found["bracket"] = {"mean": -0.3}
    assert CERTIFIED.answer(found).startswith("The bounds are -0.30 nats apart")
