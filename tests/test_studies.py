"""The table of a study: how estimates are pooled over seeds, and which dimension is recommended."""

import math
import shlex
from dataclasses import replace

import numpy as np
import pytest
import torch

from variform.config.model import ModelConfig
from variform.config.run import EvaluationConfig, RunConfig
from variform.config.training import TrainConfig
from variform.evaluation import exploration
from variform.evaluation.factor_scores import udr
from variform.evaluation.standard_error import pooled
from variform.faces import cli
from variform.runs import objective_study
from variform.runs.folder import open_run
from variform.runs.scores import scored_rows
from variform.runs.studies import latent_dimension, recommend
from variform.system.files import read_json, write_json


def estimate(mean, se=0.3):
    return {"mean": mean, "se": se, "n": 100}


def test_pooled_adds_the_variance_over_seeds_to_that_over_rows():
    estimate_ = pooled([estimate(10.0), estimate(11.0), estimate(12.0)])
    assert estimate_["mean"] == 11.0 and estimate_["seeds"] == 3
    assert estimate_["se"] == pytest.approx(
        math.sqrt(0.3**2 + 1.0 / 3)
    )  # variance of 10, 11, 12 is 1
    assert pooled([estimate(10.0)])["se"] == pytest.approx(0.3)


def scores(*pairs, seeds=1, rows=400):
    """Validation NLLs of these means: rows differ by tens of nats, and the models by .2 on each."""
    generator = np.random.default_rng(0)
    hard = 20 * generator.standard_gamma(1.0, size=rows)
    noise = 0.2 * generator.normal(size=(len(pairs), seeds, rows))
    noise -= noise.mean(-1, keepdims=True)
    return {
        dim: torch.from_numpy(mean + hard + own)
        for (dim, mean), own in zip(pairs, noise, strict=True)
    }


def test_recommended_is_the_smallest_that_may_be_the_best():
    """Paired errors are .2 sqrt(2 / 400) = .014: .01 is not seen among rows that differ by 20, and .1 is."""
    dim, reason, similar = recommend(scores((2, 110.0), (5, 100.01), (10, 100.0), (20, 100.1)))
    assert dim == 5 and "0.010 ± 0.014 nats above the lowest, that of 10" in reason
    assert [fit["may_be_best"] for fit in similar.values()] == [False, True, True, False]
    assert similar[20]["mean"] == pytest.approx(0.1) and similar[20]["se"] == pytest.approx(
        0.0141, rel=0.1
    )
    dim, reason, _ = recommend(scores((2, 110.0), (5, 100.1), (10, 100.0), (20, 100.5)))
    assert dim == 10 and "the lowest of those tried" in reason and "single fits" in reason
    dim, reason, _ = recommend(scores((2, 110.0), (5, 105.0)))
    assert dim == 5 and "larger one may be better" in reason
    assert recommend(scores((5, 100.0), (2, 100.0)))[0] == 2


def test_seeds_that_disagree_leave_the_smallest_in():
    """The means of three fits differ by 3 nats, and the dimensions by 1: the rows alone would call that sure."""
    fits = scores((2, 101.0), (5, 100.0), seeds=3)
    assert recommend(fits)[0] == 5
    apart = torch.tensor([-3.0, 0.0, 3.0])[:, None]
    dim, reason, similar = recommend({dim: nll + apart for dim, nll in fits.items()})
    assert (
        dim == 2
        and similar[2]["se"] == pytest.approx(math.sqrt(2 * 9 / 3), rel=1e-3)
        and "single" not in reason
    )


def test_a_broken_fit_is_never_recommended():
    dim, _, similar = recommend(scores((2, math.nan), (5, 105.0), (10, math.inf)))
    assert dim == 5 and list(similar) == [5]
    with pytest.raises(ValueError, match="every fit has none"):
        recommend(scores((2, math.nan)))


def test_one_validation_row_tells_nothing_and_breaks_nothing():
    dim, _, similar = recommend(scores((2, 110.0), (5, 105.0), rows=1))
    assert dim == 5 and similar[2]["se"] is None


def test_a_study_says_first_that_pca_of_another_dimension_is_better(tmp_path):
    """Planted: five linear directions; the VAE of one latent may be the best of one, and PCA of five is far better."""
    generator = np.random.default_rng(0)
    plane = generator.normal(size=(600, 5)) @ generator.normal(size=(5, 8))
    np.save(tmp_path / "plane.npy", plane + 0.05 * generator.normal(size=plane.shape))
    config = RunConfig(
        source=str(tmp_path / "plane.npy"),
        model=ModelConfig(likelihood="gaussian-shared", hidden=(4,)),
        train=TrainConfig(steps=30),
        evaluation=EvaluationConfig(nll_samples=5),
    )
    study = latent_dimension(config, (1, 5), tmp_path / "study")
    first = study.warnings[0]
    assert first.startswith("PCA") and "with 5 components has a better NLL than the" in first
    rows = {
        dim: scored_rows(open_run(tmp_path / "study" / f"dim-{dim}-seed-0"))[1] for dim in (1, 5)
    }
    gaps = [
        (rows[study.recommended]["nll"] - rows[5][f"{name}.nll"]).mean().item()
        for name in ("pca", "pca_own_units")
    ]
    assert f"by {max(gaps):.{len(first.split(' by ')[1].split()[0].partition('.')[2])}f} ±" in first
    page = (tmp_path / "study" / "report.html").read_text()
    assert page.index("has a better NLL than") < page.index("Recommended")
    again = latent_dimension(config, (1, 5), tmp_path / "study")
    assert again.warnings == study.warnings and again.reason == study.reason


def test_a_study_says_how_far_its_numbers_can_be_trusted(tmp_path, capsys):
    """The share of rows with a high Pareto k is that of the fits' own scores, and a validation NLL that is not to be
    trusted is said to be what the recommendation rests on, with a command that runs."""
    torch.set_default_dtype(torch.float32)
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).normal(size=(300, 4)))
    config = RunConfig(
        source=str(tmp_path / "rows.npy"),
        model=ModelConfig(likelihood="gaussian-per-feature", hidden=(4,)),
        train=TrainConfig(steps=30),
        evaluation=EvaluationConfig(nll_samples=30),
    )
    study = latent_dimension(config, (1, 2), tmp_path / "study")
    for row in study.rows:
        run = open_run(tmp_path / "study" / f"dim-{row['latent_dim']}-seed-0")
        for name, split in (("high_pareto_k", "test"), ("valid_high_pareto_k", "valid")):
            k = scored_rows(run, split=split)[1]["pareto_k"].numpy()
            assert row[name]["mean"] == pytest.approx((k > 0.7).mean())
    assert "rows with Pareto k > 0.7" in study.table()[0]
    assert not any("rests on" in sentence for sentence in study.warnings)
    path = tmp_path / "study" / "dim-2-seed-0" / "validation.json"
    numbers = read_json(path)
    spoilt = {
        "high_pareto_k": numbers["high_pareto_k"] | {"mean": 0.8},
        "ess": numbers["ess"] | {"mean": 3.0},
    }
    write_json(path, numbers | spoilt)
    again = latent_dimension(config, (1, 2), tmp_path / "study")
    (sentence,) = [one for one in again.warnings if "rests on" in one]
    assert "80% of the rows with 2 latents" in sentence and "with 1 latents" not in sentence
    written = read_json(tmp_path / "study" / "study.json")
    assert (
        sentence in written["warnings"] and written["rows"][1]["valid_high_pareto_k"]["mean"] == 0.8
    )
    command = sentence.partition("variform ")[2].removesuffix(".")
    assert cli.run(shlex.split(command)) == 0
    assert "50 steps from the encoder's" in capsys.readouterr().out


def test_a_study_of_objectives_has_the_means_of_its_fits_and_goes_on(tmp_path, monkeypatch):
    few = {name: objective_study.OBJECTIVES[name] for name in ("VAE", "beta-TCVAE")}
    monkeypatch.setattr(objective_study, "OBJECTIVES", few)
    config = RunConfig(
        source="digits",
        model=ModelConfig(latent_dim=2, hidden=(16,)),
        train=TrainConfig(steps=60, learning_rate=1e-2),
        evaluation=EvaluationConfig(nll_samples=2, factors=("label",)),
    )
    study = objective_study.compare_objectives(config, tmp_path / "study", seeds=2)
    assert [row["objective"] for row in study.rows] == ["VAE", "beta-TCVAE"]
    for row in study.rows:
        runs = [open_run(tmp_path / "study" / f"{row['objective']}-seed-{seed}") for seed in (0, 1)]
        scores = [run.evaluation["factors"]["scores"]["mig"]["mean"] for run in runs]
        assert row["scores"]["mig"]["each"] == scores
        assert row["scores"]["mig"]["mean"] == pytest.approx(np.mean(scores))
        x = runs[0].data().test
        codes = [exploration.encode(run.vae, x)[0] for run in runs]
        assert row["udr"]["each"] == pytest.approx(udr(codes))
    assert runs[0].config.train.objective == "beta-tc" and runs[0].config.train.beta == 6
    assert read_json(tmp_path / "study" / "study.json")["rows"] == study.rows
    assert (tmp_path / "study" / "study.png").is_file()
    kept = (tmp_path / "study" / "VAE-seed-0" / "model.safetensors").stat().st_mtime_ns
    again = objective_study.compare_objectives(config, tmp_path / "study", seeds=1)
    assert (tmp_path / "study" / "VAE-seed-0" / "model.safetensors").stat().st_mtime_ns == kept
    assert "udr" not in again.rows[0] and "of one fit each" in again.note()
    assert again.warnings() == []
    again.rows[1]["active_units"]["each"] = [0]
    assert again.warnings()[0].startswith("beta-TCVAE: no latent is active in 1 of 1 fit,")
    own = replace(config, train=TrainConfig(beta=2.0))
    with pytest.raises(ValueError, match="`beta` must be left out of a study of objectives"):
        objective_study.compare_objectives(own, tmp_path / "other")
