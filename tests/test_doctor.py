"""The doctor: what it measures is what closed forms and planted rows say, and each planted illness is named."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from scipy import stats

from variform import ModelConfig, TrainConfig, build_vae, open_run, read, train
from variform.config.run import RunConfig
from variform.data.reading import dataset_from
from variform.evaluation import verdict
from variform.evaluation.illnesses import ILLNESSES, Case, Finding, diagnose, findings_of
from variform.evaluation.illnesses.signs import _skewness, signs
from variform.faces import cli
from variform.model.likelihoods import GaussianLikelihood
from variform.model.posteriors import DiagonalPosterior
from variform.model.priors import StandardNormalPrior
from variform.model.vae import VAE


def linear_vae(slope, raw):
    """q(z|x) = N(slope x, softplus(raw)^2), p(x|z) = N(z, 1), of one number."""
    encoder, decoder = torch.nn.Linear(1, 2), torch.nn.Linear(1, 1)
    with torch.no_grad():
        encoder.weight.copy_(torch.tensor([[slope], [0.0]]))
        encoder.bias.copy_(torch.tensor([0.0, raw]))
        decoder.weight.fill_(1.0)
        decoder.bias.zero_()
    module = torch.nn.Sequential(encoder, torch.nn.Unflatten(1, (2, 1)))
    likelihood = GaussianLikelihood((1,), variance="identity")
    return VAE(
        module,
        decoder,
        posterior=DiagonalPosterior(1),
        prior=StandardNormalPrior(1),
        likelihood=likelihood,
    )


def column(values):
    return dataset_from(torch.as_tensor(np.asarray(values)[:, None]))


def test_what_another_prior_would_save_is_the_marginal_kl():
    """Codes of rows from N(0, 1) have the law N(0, slope^2 + std^2): its KL to N(0, 1) by the formula."""
    random = np.random.default_rng(0)
    rows, others = (column(random.normal(size=3000)) for _ in range(2))
    std = math.log1p(math.exp(0.0))
    variance = 2.0**2 + std**2
    vae = linear_vae(2.0, 0.0)
    gain = signs(vae, rows, others, thorough=True)["prior"]["gain"]
    kl = (variance - 1 - math.log(variance)) / 2
    assert gain["mean"] == pytest.approx(kl, abs=4 * gain["se"] + 0.01)


def test_equal_rows_count_once_where_training_rows_are_compared_with_new_ones():
    """They stay together in one split: what comes often is seldom among the new rows, and is no sign of overfitting."""
    random = np.random.default_rng(0)
    seen, new = random.normal(size=50), random.normal(size=40)
    vae = linear_vae(0.5, 0.0)
    once = signs(vae, column(new), column(seen))["generalisation"]
    often = signs(vae, column(new), column(np.concatenate([seen, np.repeat(seen[:1], 400)])))
    assert often["generalisation"] == once
    assert once["gap"]["n"] == 40


def test_the_amortisation_gap_is_the_kl_to_the_exact_posterior():
    """Of rows from N(0, 2): p(z|x) = N(x / 2, 1 / 2); an encoder that says N(0, s^2) lacks the mean KL to it."""
    random = np.random.default_rng(1)
    rows, others = (column(math.sqrt(2) * random.normal(size=400)) for _ in range(2))
    std = math.log1p(math.exp(0.0))
    gain = signs(linear_vae(0.0, 0.0), rows, others, thorough=True)["amortisation"]["gain"]
    means = rows.raw.numpy()[:, 0] / 2
    kl = (
        std**2 / 0.5 + means.var() / 0.5 + means.mean() ** 2 / 0.5 - 1 - math.log(std**2 / 0.5)
    ) / 2
    assert gain["mean"] == pytest.approx(kl, abs=4 * gain["se"] + 0.02)


def test_residuals_of_the_right_law_are_those_of_a_gaussian():
    """With the exact posterior, x - z for a draw of z has the variance 1; kurtosis as SciPy's of as many draws."""
    rows, others = (
        column(math.sqrt(2) * np.random.default_rng(seed).normal(size=1000)) for seed in (2, 3)
    )
    raw = math.log(math.expm1(math.sqrt(0.5)))
    found = signs(linear_vae(0.5, raw), rows, others, thorough=True)
    assert found["residuals"]["pearson"][0] == pytest.approx(1, abs=4 * math.sqrt(2 / 1000))
    assert found["residuals"]["kurtosis"][0] == pytest.approx(3, abs=4 * math.sqrt(24 / 1000))
    skewness = found["columns"]["skewness"][0]
    assert skewness == pytest.approx(stats.skew(others.raw.numpy()[:, 0]), abs=1e-6)


def test_skewness_is_that_of_scipy_and_0_of_a_column_that_never_changes():
    x = np.random.default_rng(0).gamma(2.0, size=(200, 2))
    x[:, 1] = 0
    np.testing.assert_allclose(_skewness(x), [stats.skew(x[:, 0]), 0], rtol=1e-12)


@pytest.mark.parametrize("dimension", [2, 6])
def test_copies_are_counted_and_independent_rows_are_none(dimension):
    random = np.random.default_rng(dimension)
    rows, others = random.normal(size=(300, dimension)), random.normal(size=(2000, dimension))
    vae = build_vae(
        ModelConfig(latent_dim=1, likelihood="gaussian"), dataset_from(torch.tensor(rows)).schema
    )

    def share(rows):
        given = (dataset_from(torch.as_tensor(part)) for part in (rows, others))
        return signs(vae, *given)["copies"]["share"]

    assert share(rows) < 0.03
    copied = rows.copy()
    copied[:90] = others[:90] + 1e-5 * random.normal(size=(90, dimension))
    assert share(copied) == pytest.approx(0.3, abs=0.03)


def curved(random, rows=500):
    z = random.normal(size=(rows, 2))
    return np.tanh(z @ random.normal(size=(2, 6))) + 0.1 * random.normal(size=(rows, 6))


def planted(name, random):
    x = curved(random)
    if name == "binary":
        return (x > 0).astype(float)
    if name == "counts":
        return random.poisson(np.exp(x)).astype(float)
    if name == "wild":
        return x * np.array([100, 1, 1, 1, 1, 1])
    if name == "thousands":
        return 5000 + 900 * x
    if name == "copied":
        return np.column_stack([x, 2 * x[:, 1] + 3])
    if name == "outliers":
        x[:4] += 50 * random.normal(size=(4, 6))
    if name == "families":
        return np.repeat(x[:150], 4, 0) + 1e-4 * random.normal(size=(600, 6))
    return x


CASES = {
    "binary": ("wrong-likelihood", {"likelihood": "gaussian"}),
    "counts": ("wrong-likelihood", {"likelihood": "gaussian"}),
    "wild": ("wild-columns", {"likelihood": "gaussian-shared", "scaling": "common"}),
    "thousands": ("unscaled", {"likelihood": "gaussian-shared", "scaling": "none"}),
    "copied": ("variance-at-floor", {"likelihood": "gaussian-per-feature"}),
    "outliers": ("outliers", {"likelihood": "gaussian-per-feature"}),
    "families": ("copies", {"likelihood": "gaussian-per-feature"}),
}


@pytest.mark.parametrize("name", CASES)
def test_what_was_planted_in_the_rows_is_named_whatever_the_training(name, tmp_path):
    """After a handful of steps: these are seen in the rows. What is advised can be asked for."""
    illness, options = CASES[name]
    x = planted(name, np.random.default_rng(0))
    names = [chr(ord("a") + number) for number in range(x.shape[1])]
    run = train(
        dict(zip(names, x.T, strict=True)),
        out=tmp_path / "run",
        pictures=False,
        progress=False,
        latent_dim=2,
        hidden=(8,),
        steps=20,
        nll_samples=30,
        **options,
    )
    kept = findings_of(Case(run.evaluation))
    found = {finding.illness: finding for finding in kept}
    assert illness in found
    for changes in found[illness].options:
        for field, value in changes.items():
            parts = [part for part in RunConfig().parts if hasattr(part, field)]
            assert [
                dataclasses.replace(part, **{field: value}) for part in parts
            ] or field == "leave_out"
    sentences = [finding.sentence for finding in kept if finding.severity != "hint"]
    assert run.evaluation["warnings"] == sentences
    diagnosis = open_run(run.folder).doctor()
    assert illness in {finding.illness for finding in diagnosis.illnesses}
    assert found[illness].seen.split(":")[0][:20] in str(diagnosis)


def test_the_command_says_what_is_wrong_by_its_exit_code_too(tmp_path, capsys):
    x = planted("binary", np.random.default_rng(0))
    options = {"latent_dim": 2, "hidden": (8,), "steps": 20, "nll_samples": 30}
    run = train(
        x, out=tmp_path / "run", pictures=False, progress=False, likelihood="gaussian", **options
    )
    capsys.readouterr()
    assert cli.run(["doctor", str(run.folder), "--json"]) == 3
    found = json.loads(capsys.readouterr().out)
    assert found["healthy"] is False and "wrong-likelihood" in [
        one["illness"] for one in found["findings"]
    ]
    assert cli.run(["doctor", str(run.folder)]) == 3
    out = capsys.readouterr().out
    assert "What to try: Train with --likelihood bernoulli." in out
    assert cli.run(["doctor", str(tmp_path / "none")]) == 2


def test_findings_are_ordered_by_severity_and_all_are_known():
    history = [
        {"train_loss": -e, "valid_loss": -0.9 * e, "learning_rate": 1e-3} for e in range(1, 21)
    ]
    numbers = {"active_units": {"count": 0, "of": 2}, "nll": {"mean": math.nan, "se": 0.1, "n": 9}}
    numbers |= {"reconstruction_error": {"mean": 1.0, "se": 0.1, "n": 9}}
    vae = build_vae(ModelConfig(latent_dim=2, likelihood="gaussian"), read("digits").schema)
    found = diagnose(Case(numbers, vae, TrainConfig(), history))
    assert [one.illness for one in found][:2] == ["not-finite", "collapse"]
    assert {one.illness for one in found} <= set(ILLNESSES)
    assert [Finding(**one.to_dict()) for one in found] == found
    assert verdict.said(found) == [one.sentence for one in found if one.severity != "hint"]


@pytest.mark.parametrize(("rise", "is_found"), [(0.0, False), (0.1, False), (0.5, True)])
def test_a_validation_loss_that_rose_again_is_overfitting(rise, is_found):
    """It falls by 10 nats in 30 epochs and rises by a share of that in 30 more; half is much, a tenth is not."""
    valid = [20 - 10 * epoch / 29 for epoch in range(30)]
    valid += [10 + 10 * rise * min(1, epoch / 15) for epoch in range(30)]
    history = [
        {"train_loss": 30 - epoch / 6, "valid_loss": loss} for epoch, loss in enumerate(valid)
    ]
    estimate = {"mean": 10.0, "se": 0.1, "n": 90}
    numbers = {
        "active_units": {"count": 2, "of": 2},
        "nll": estimate,
        "reconstruction_error": estimate,
    }
    found = diagnose(Case(numbers, trained=TrainConfig(), history=history))
    assert ("overfitting" in [one.illness for one in found]) == is_found
    if is_found:
        assert "after epoch 30 of 60" in found[0].seen and "lost 5 nats" in found[0].seen
