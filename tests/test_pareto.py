"""Whether importance sampling can be trusted: k as ArviZ finds it, and what a reader is told where q is too narrow."""

import math
import warnings
from importlib import metadata

import numpy as np
import pytest
import torch
from arviz_stats.base import array_stats
from models import narrowed
from test_truth import linear_vae

from variform import DataConfig, ModelConfig, TrainConfig, build_vae, evaluate, read
from variform.data.reading import dataset_from
from variform.evaluation import log_likelihood
from variform.evaluation.log_likelihood import score
from variform.evaluation.pareto import Tail, pareto_k, tail_length
from variform.evaluation.standard_error import HIGH_K
from variform.model.importance import log_weights

SIZES = [25, 26, 30, 99, 225, 400, 2500]
if not metadata.version("arviz-stats").startswith(
    "0.5."
):  # which rounds the length of the tail up, later ones down
    SIZES += [226, 1000, 5000]


def weights_of_many_shapes(size):
    random = np.random.default_rng(size)
    uniform = random.uniform(size=size)
    return {
        "normal": random.normal(size=size),
        "far from 0": random.normal(size=size) - 1e5,
        "wide": 8 * random.normal(size=size),
        "of one in a hundred digits": 50 * random.normal(size=size),
        "bounded": np.log(uniform),
        "k = 0.3": -0.3 * np.log(uniform),
        "k = 0.7": -0.7 * np.log(uniform),
        "k = 1.2": -1.2 * np.log(uniform),
        "exponential": np.log(random.exponential(size=size)),
        "nearly equal": 1e-4 * random.normal(size=size),
        "one far above": np.append(random.normal(size=size - 1), 30.0),
        "a lower half that counts for nothing": np.where(
            np.arange(size) % 2, random.normal(size=size), -1e6
        ),
    }


def arviz(log_weight):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(array_stats.psislw(-log_weight)[1])


@pytest.mark.parametrize("size", SIZES)
def test_k_is_that_of_arviz(size):
    """All rows at once, each of another shape."""
    shapes = weights_of_many_shapes(size)
    ks = pareto_k(torch.from_numpy(np.stack(list(shapes.values()), 1)))
    for (name, log_weight), k in zip(shapes.items(), ks.tolist(), strict=True):
        expected = arviz(log_weight)
        if size > 26 or not math.isnan(expected):  # ArviZ 1.3 gives none of so few
            assert k == pytest.approx(expected, abs=1e-6), name


@pytest.mark.parametrize("size", [25, 226, 1000])
def test_chunks_in_any_order_give_the_k_of_all(size):
    whole = torch.from_numpy(np.stack(list(weights_of_many_shapes(size).values()), 1))
    for length in (1, 7, size):
        tail = Tail(size)
        for chunk in whole[torch.randperm(size)].split(length):
            tail.add(chunk)
            assert (
                tail._largest.shape[1] <= tail_length(size) + 1
            )  # whatever the samples are, no more is kept
        torch.testing.assert_close(tail.shape(), pareto_k(whole), rtol=0, atol=1e-12)


def test_what_cannot_be_fitted_is_said():
    few = torch.randn(24, 3)
    assert pareto_k(few).isnan().all()
    equal = torch.zeros(1000, 1)
    rounded = (
        -85.3 + 1e-6 * torch.randn(1000, 1)
    ).float()  # one number, as single precision sums it
    assert pareto_k(equal).isnan().all() and pareto_k(rounded).isnan().all()
    dominant = torch.cat([torch.zeros(999, 1), torch.tensor([[50.0]])])
    vanishing = torch.cat([torch.full((999, 1), -1e4), torch.zeros(1, 1)])
    impossible = torch.full((1000, 1), -math.inf)
    broken = torch.cat([torch.randn(999, 1), torch.tensor([[math.nan]])])
    for log_weight in (dominant, vanishing, impossible, broken):
        assert pareto_k(log_weight).item() == math.inf
    # equal to the least of them are most; the others are a tail of their own, bounded and so harmless
    tied = torch.from_numpy(np.round(np.random.default_rng(0).normal(size=1000)))[:, None]
    assert pareto_k(tied).item() < HIGH_K
    # 12 of 1,000 weights are numbers beside the largest, and each is a thousand times the next
    steep = torch.cat([torch.full((988,), -1e6), 60 * torch.arange(12.0)])[:, None]
    assert pareto_k(steep).item() > 5


@pytest.mark.parametrize("common", [False, True])
def test_scores_hold_the_k_of_the_weights_they_are_made_of(monkeypatch, common):
    """Several chunks of samples and of rows: ArviZ on all weights of a row, from the same draws."""
    vae = linear_vae(torch.randn(6, 2), torch.zeros(6), 0.4, spread=0.6)
    seen = []

    def noting(*args, **options):
        weights = log_weights(*args, **options)
        seen.append(weights.log_weight)
        return weights

    monkeypatch.setattr(log_likelihood, "log_weights", noting)
    monkeypatch.setattr(log_likelihood, "_FLOATS_AT_ONCE", 14 * 10 * 9)
    scores = score(vae, dataset_from(torch.randn(25, 6)), samples=225, common=common)
    assert len(seen) > 30
    sizes = log_likelihood._sizes(vae, log_likelihood._MANY if common else 25, 225)
    per_batch = math.ceil(225 / sizes.samples)
    batches = [
        torch.cat(seen[start : start + per_batch]) for start in range(0, len(seen), per_batch)
    ]
    whole = torch.cat(batches, 1)
    assert whole.shape == (225, 25)
    expected = [arviz(column.numpy()) for column in whole.T]
    np.testing.assert_allclose(scores.pareto_k, expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(scores.log_px, whole.logsumexp(0) - math.log(225))


# --- what it tells ------------------------------------------------------------------------------------------------


def test_a_narrow_posterior_of_a_linear_model_is_found_out():
    """Seven latents and the truth in closed form: with q of two fifths of the width NLL(1,000) is off by a nat, and ten
    times the samples leave it off; the share of rows with a high k says so, 15 effective samples do not."""
    torch.manual_seed(0)
    weight = torch.linalg.qr(torch.randn(20, 7))[0] * torch.linspace(3, 1, 7)
    covariance = weight @ weight.T + 0.25 * torch.eye(20)
    law = torch.distributions.MultivariateNormal(torch.zeros(20), covariance)
    x = law.sample((100,))
    narrow, wide = (
        linear_vae(weight, torch.zeros(20), 0.5, spread=spread) for spread in (0.4, 1.2)
    )
    off = law.log_prob(x) - score(narrow, dataset_from(x), samples=1000).log_px
    assert off.mean() > 0.8
    assert (law.log_prob(x) - score(narrow, dataset_from(x), samples=10_000).log_px).mean() > 0.5
    bad, healthy = (evaluate(vae, dataset_from(x), samples=1000) for vae in (narrow, wide))
    assert bad["high_pareto_k"]["mean"] > 0.9 and bad["ess"]["mean"] > 10
    assert healthy["high_pareto_k"]["mean"] < 0.1
    assert -healthy["nll"]["mean"] == pytest.approx(law.log_prob(x).mean().item(), abs=0.02)
    assert any(
        "Pareto k above 0.7" in sentence and "`refine=50`" in sentence
        for sentence in bad["warnings"]
    )
    assert not any("Pareto" in sentence for sentence in healthy["warnings"] + healthy["notes"])


@pytest.mark.parametrize(("factor", "off"), [(0.5, 0.5), (0.25, 3.0)])
def test_digits_with_a_narrowed_posterior_are_found_out(trained_digits, factor, off):
    """The model as it was trained is healthy; the same decoder with a narrower q reports another NLL, and says so."""
    vae, splits = trained_digits
    whole = evaluate(vae, splits.test, samples=1000)
    assert whole["high_pareto_k"]["mean"] < 0.1
    assert not any("Pareto" in sentence for sentence in whole["warnings"])
    bad = narrowed(vae, factor, lambda model: evaluate(model, splits.test, samples=1000))
    assert bad["nll"]["mean"] - whole["nll"]["mean"] > off
    assert bad["high_pareto_k"]["mean"] > 0.9
    assert any("The NLL is not to be trusted" in sentence for sentence in bad["warnings"])


def test_few_samples_and_equal_weights_claim_nothing(trained_digits):
    vae, splits = trained_digits
    few = evaluate(vae, splits.test, samples=10)
    assert "high_pareto_k" not in few and any("too few to tell" in note for note in few["notes"])
    exact = linear_vae(torch.linalg.qr(torch.randn(6, 2))[0], torch.zeros(6), 0.4)
    numbers = evaluate(exact, dataset_from(torch.randn(30, 6)), samples=200)
    assert numbers["high_pareto_k"]["mean"] == 0


# --- wherever log p(x) is an estimate -----------------------------------------------------------------------------


def test_models_and_estimators_give_the_k_of_their_estimates():
    """Each is that of `score` with the same draws."""
    from variform.estimator import VAE as Estimator
    from variform.faces import model

    torch.set_default_dtype(torch.float32)
    splits = read("digits")
    vae = build_vae(
        ModelConfig(latent_dim=2, hidden=(8,), likelihood="gaussian-shared"), splits.schema
    )
    rows = splits.test.raw[:20]
    log_px, k = model.Model(vae).score(rows, samples=60, pareto_k=True)
    plain = score(vae, splits.test.take(torch.arange(20)), samples=60)
    assert torch.equal(k, plain.pareto_k) and torch.equal(
        log_px, model.Model(vae).score(rows, samples=60)
    )
    x = np.random.default_rng(0).normal(size=(80, 1)) @ np.ones((1, 3)) + np.random.default_rng(
        1
    ).normal(size=(80, 3))
    estimator = Estimator(latent_dim=1, epochs=2, random_state=0).fit(x)
    ks = estimator.pareto_k(x)
    assert ks.shape == (80,) and np.isfinite(ks).mean() > 0.9
    alone = estimator.pareto_k(x[5:6])
    np.testing.assert_allclose(alone, ks[5:6], atol=1e-6)


def test_imputations_hold_the_k_of_their_weights(monkeypatch):
    """ArviZ on the weights that the imputation used; of few samples nothing is claimed."""
    from variform import impute
    from variform.data.reading import read
    from variform.evaluation import partial

    raw = torch.randn(200, 3)
    raw[::3, 1] = torch.nan
    splits = read(raw, config=DataConfig(cells="gaps"))
    vae = build_vae(
        ModelConfig(latent_dim=1, hidden=(8,), likelihood="gaussian-shared"), splits.schema
    )
    seen = []
    monkeypatch.setattr(
        partial, "pareto_k", lambda weights: seen.append(weights) or pareto_k(weights)
    )
    imputed = narrowed(vae, 0.2, lambda model: impute(model, splits.test, samples=225))
    weights = torch.cat(seen, 1).double()
    np.testing.assert_allclose(imputed.ess, 1 / weights.softmax(0).square().sum(0), rtol=1e-9)
    np.testing.assert_allclose(
        imputed.pareto_k, [arviz(column.numpy()) for column in weights.T], rtol=0, atol=1e-6
    )
    assert f"Pareto k above 0.7 in {(imputed.pareto_k > HIGH_K).sum()} rows" in repr(imputed)
    assert np.isnan(impute(vae, splits.test, samples=10).pareto_k).all()


def test_scores_of_runs_from_before_still_open(tmp_path):
    """scores.safetensors without a Pareto k is what older versions wrote; one of another length is refused."""
    from variform.config.run import RunConfig
    from variform.evaluation.tables import numbers_table
    from variform.runs.scores import scored_rows
    from variform.runs.train import train_run
    from variform.system.sealing import read_sealed, write_sealed

    torch.set_default_dtype(torch.float32)
    config = RunConfig(
        model=ModelConfig(likelihood="bernoulli", latent_dim=2, hidden=(8,)),
        train=TrainConfig(epochs=1),
    )
    run = train_run(config, tmp_path / "run", pictures=False)
    path = run.folder / "scores.safetensors"
    header, tensors = read_sealed(path)
    assert tensors["pareto_k"].shape == tensors["nll"].shape
    assert numbers_table(run.evaluation)[1][6][0] == "share of rows with Pareto k > 0.7"
    write_sealed(
        path, header, {name: value for name, value in tensors.items() if name != "pareto_k"}
    )
    assert "pareto_k" not in scored_rows(run)[1]
    write_sealed(path, header, tensors | {"pareto_k": tensors["pareto_k"][:3]})
    with pytest.raises(ValueError, match="must hold the scores of rows"):
        scored_rows(run)
