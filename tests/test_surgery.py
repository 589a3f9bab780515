"""The KL term in parts: the integral of a mixture, the sum of the parts, and the ceiling log N."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from models import EVERY, data_of, every, model_of, run_with_sampler
from scipy import stats
from test_truth import full_vae, linear_vae

from variform.data.reading import dataset_from
from variform.evaluation.sections import SECTIONS
from variform.evaluation.surgery import surgery
from variform.faces.cli.commands import run
from variform.model.spaces import space_of


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def integrated(means, covariances):
    """Mutual information, marginal KL, total correlation and KL of each dimension on a grid of a plane."""
    edge = np.linspace(-7, 7, 561)
    area = (edge[1] - edge[0]) ** 2
    points = np.stack(np.meshgrid(edge, edge, indexing="ij"), -1)
    each = [
        stats.multivariate_normal(mean, covariance).pdf(points)
        for mean, covariance in zip(means, covariances, strict=True)
    ]
    q = np.mean(each, 0)
    prior = stats.norm().pdf(edge)
    p = prior[:, None] * prior

    def divergence(a, b, size):
        return np.sum(a * np.log(np.maximum(a, 1e-300) / np.maximum(b, 1e-300))) * size

    information = np.mean([divergence(one, q, area) for one in each])
    marginals = [q.sum(1 - axis) * math.sqrt(area) for axis in range(2)]
    correlation = divergence(q, marginals[0][:, None] * marginals[1], area)
    of_each = [divergence(marginal, prior, math.sqrt(area)) for marginal in marginals]
    return information, divergence(q, p, area), correlation, of_each


@pytest.mark.parametrize("build", [linear_vae, full_vae])
def test_parts_are_the_integrals_of_the_mixture(build):
    weight = torch.tensor([[1.5, 0.0], [0.0, 0.8], [0.4, 0.5]])
    if build is linear_vae:
        weight = torch.linalg.qr(weight)[0] * torch.tensor([1.5, 0.8])
    vae = build(weight, torch.zeros(3), 0.7)
    data = dataset_from(1.5 * torch.randn(6, 3))
    found = surgery(vae, data, samples=20_000)
    with torch.no_grad():
        q = vae.encode(data.prepared())
    covariances = (
        torch.diag_embed(q.variance) if build is linear_vae else q.scale_tril @ q.scale_tril.mT
    )
    information, marginal, correlation, of_each = integrated(q.mean.numpy(), covariances.numpy())
    names = ("mutual_information", "marginal_kl", "total_correlation")
    for name, exact in zip(names, (information, marginal, correlation), strict=True):
        assert found[name]["mean"] == pytest.approx(exact, abs=0.015)
    if build is linear_vae:
        means = [one["mean"] for one in found["dimension_wise_kl"]]
        np.testing.assert_allclose(means, of_each, atol=0.015)


@pytest.mark.parametrize("name", EVERY)
def test_the_parts_add_up_to_the_kl_term(name, tmp_path):
    splits, vae = every(name, tmp_path)
    found = surgery(vae, splits.test.take(torch.arange(10)))
    means = {key: found[key]["mean"] for key in PARTS if found[key] is not None}
    assert means["rate"] == pytest.approx(
        means["mutual_information"] + means["marginal_kl"], abs=1e-6
    )
    is_bent = name in {f"posterior {kind}" for kind in ("iaf", "maf", "planar", "ladder")}
    has_marginals = not is_bent and space_of(vae).is_flat
    assert ("total_correlation" in means) == has_marginals
    if found["dimension_wise_kl"] is None:
        return
    by_latent = sum(one["mean"] for one in found["dimension_wise_kl"])
    assert means["marginal_kl"] == pytest.approx(means["total_correlation"] + by_latent, abs=1e-6)


def test_parts_of_a_flow_are_the_integrals_of_its_mixture(tmp_path):
    splits, vae = every("posterior iaf", tmp_path, latent_dim=2)
    rows = splits.test.take(torch.arange(6))
    edge = torch.linspace(-8, 8, 161)
    area = (edge[1] - edge[0]).item() ** 2
    points = torch.cartesian_prod(edge, edge)[:, None]
    x, context = next(vae.batches(rows, 6, seed=0))
    with torch.no_grad():
        log_each = vae.encode(x, context).log_prob(points.to(x))  # (points, rows)
    assert (log_each.exp().sum(0) * area).numpy() == pytest.approx(np.ones(6), abs=1e-4)
    log_q = log_each.logsumexp(1) - math.log(6)
    log_p = vae.latent_prior().log_prob(points[:, 0].to(x))
    information = (log_each.exp() * (log_each - log_q[:, None])).sum() * area / 6
    marginal = (log_q.exp() * (log_q - log_p)).sum() * area
    found = surgery(vae, rows, samples=4000)
    assert found["mutual_information"]["mean"] == pytest.approx(information.item(), abs=0.015)
    assert found["marginal_kl"]["mean"] == pytest.approx(marginal.item(), abs=0.03)
    assert found["total_correlation"] is None and found["active_units"].keys() == {"by_mean", "of"}


def test_of_many_rows_of_a_flow_some_stand_for_all(monkeypatch, tmp_path):
    splits, vae = every("posterior iaf", tmp_path)
    monkeypatch.setattr("variform.evaluation.surgery._MOST_INVERTED", 20)
    found = surgery(vae, splits.test.take(torch.arange(50)))
    assert (found["rate"]["n"], found["is_sampled"]) == (20, True)
    assert found["most_information"] == pytest.approx(math.log(20))
    [table] = SECTIONS["surgery"].tables(found)
    assert table.header[0] == "20 rows at random, nats"
    assert "total correlation" not in [row[0] for row in table.rows]
    assert "20 rows" in table.note and "missing" in table.note


PARTS = ("rate", "mutual_information", "marginal_kl", "total_correlation")


def test_information_stops_at_log_n_and_that_is_said():
    """Codes that are far apart tell each row from all others: as much as its number does."""
    vae = linear_vae(torch.tensor([[50.0], [50.0]]), torch.zeros(2), 0.1)
    apart = dataset_from(torch.linspace(-90, 90, 40)[:, None].expand(40, 2))
    far = surgery(vae, apart)
    assert far["mutual_information"]["mean"] == pytest.approx(math.log(40), abs=1e-6)
    assert far["is_saturated"] and far["most_information"] == math.log(40)
    near = surgery(vae, dataset_from(torch.zeros(40, 2)))
    assert near["mutual_information"]["mean"] == pytest.approx(0, abs=1e-6)
    assert not near["is_saturated"]


def test_a_latent_that_says_nothing_is_active_by_no_definition():
    weight = torch.tensor([[2.0, 0.0], [0.0, 0.0], [0.0, 1e-9]])
    vae = linear_vae(weight, torch.zeros(3), 0.5)
    found = surgery(vae, dataset_from(torch.randn(200, 3)))
    assert found["active_units"] == {"by_mean": 1, "by_kl": 1, "by_information": 1, "of": 2}


def test_the_rate_of_an_exact_optimum_is_its_closed_form():
    """Half the sum of log(lambda / sigma^2) over the eigenvalues of the covariance, for probabilistic PCA."""
    weight = torch.linalg.qr(torch.randn(6, 2))[0] * torch.tensor([2.0, 1.0])
    vae = linear_vae(weight, torch.zeros(6), 0.5)
    x = torch.randn(400, 2) @ weight.T + 0.5 * torch.randn(400, 6)
    x = x - x.mean(0)
    root = torch.linalg.cholesky(torch.cov(x.T, correction=0))
    wanted = torch.linalg.cholesky(weight @ weight.T + 0.25 * torch.eye(6))
    rows = torch.linalg.solve_triangular(root, x.T, upper=False).T @ wanted.T
    exact = 0.5 * (math.log((4 + 0.25) / 0.25) + math.log((1 + 0.25) / 0.25))
    assert surgery(vae, dataset_from(rows))["rate"]["mean"] == pytest.approx(exact, abs=1e-6)


def test_the_command_prints_the_parts(tmp_path, capsys):
    run_with_sampler(tmp_path / "run", 5)
    run(["evaluate", str(tmp_path / "run"), "--surgery"])
    printed = capsys.readouterr().out
    assert "the mutual information is at most log N = 5.283" in " ".join(printed.split())


@pytest.mark.parametrize("prior", ["normal", "mixture", "vamp", "flow"])
def test_models_in_single_precision_are_taken_apart_too(prior, tmp_path):
    splits = data_of("gaussian", tmp_path)
    vae = model_of("gaussian", splits, prior=prior).float()
    single = dataclasses.replace(splits.test.take(torch.arange(10)), dtype=torch.float32)
    found = surgery(vae, single)
    parts = found["mutual_information"]["mean"] + found["marginal_kl"]["mean"]
    assert found["rate"]["mean"] == pytest.approx(parts, abs=1e-6)
