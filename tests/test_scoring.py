"""Scores and draws of the prior answer without torch as the laws do with the same noise."""

import math
import re
from pathlib import Path
from typing import get_args, get_type_hints

import models
import numpy as np
import pytest
import torch
from scipy import special, stats
from test_likelihoods import for_all
from test_lowering import run

from variform import DataConfig, ModelConfig, build_vae, read
from variform.config.choices import LikelihoodName
from variform.config.model import CODE_PRIORS
from variform.data.dataset import Dataset
from variform.export import reader, score
from variform.export.handover import hand_over, left_out
from variform.export.lowering import lower_encoder
from variform.export.scoring import lower_prior, lower_score
from variform.faces import cli
from variform.model.vae import evaluating

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

PRIORS = [
    name for name in get_args(get_type_hints(ModelConfig)["prior"]) if name not in CODE_PRIORS
]
POSTERIORS = {
    name: models.EVERY[f"posterior {name}"][1]
    for name in get_args(get_type_hints(ModelConfig)["posterior"])
}
KINDS = [
    "bernoulli",
    "conv gaussian",
    "gaussian-identity",
    "continuous-bernoulli",
    "logistic",
    "conv categorical",
    "conditional conv",
    "threshold",
    "counts",
    "overdispersed",
    "units",
    "bands",
    "gaps",
    "mixed",
    "laws",
    "mixed conditional",
]


pytestmark = pytest.mark.usefixtures("single_precision")


def moved(vae):
    """With weights that are not what they started from."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weights in vae.parameters():
            weights += 0.1 * torch.randn(weights.shape, generator=generator)
    return vae.eval()


def bound(vae, rows, noise):
    """By the laws of torch in double precision: the readable formula."""
    vae = vae.double()
    x = vae.schema.prepare(rows.raw.double())
    context = None if rows.contexts is None else rows.contexts.double()
    with evaluating(vae):
        q = vae.encode(x, context)
        log_weights = []
        for draw in torch.from_numpy(noise).unbind(1):
            z = q.mean + q.stddev * draw
            log_px = vae.decode(z, context).log_prob(x) + vae.log_jacobians(vae.schema, x)
            log_weights.append(log_px + vae.latent_prior().log_prob(z) - q.log_prob(z))
    return special.logsumexp(torch.stack(log_weights).numpy(), 0) - math.log(noise.shape[1])


def answers(vae, rows, noise, folder):
    """Of the two forms."""
    x = rows.raw.numpy().astype("f8" if any(vae.schema.is_far) else "f4")
    context = None if rows.contexts is None else rows.contexts.numpy()
    hand_over(vae, "numpy", folder / "numpy")
    model = dict(np.load(folder / "numpy" / "model.npz"))
    yield score.score(model, x, noise, context)
    hand_over(vae, "onnx", folder / "onnx")
    session = onnxruntime.InferenceSession(folder / "onnx" / "score.onnx")
    given = {} if context is None else {"context": context}
    yield session.run(["log_px"], {"x": x, "noise": noise.astype("f4"), **given})[0]


@pytest.mark.parametrize("name", KINDS)
def test_a_score_is_the_bound_of_the_laws_with_the_same_noise(name, tmp_path):
    data = models.data_of(name, tmp_path)
    vae = models.model_of(name, data).float()
    rows = data.test.take(torch.arange(5))
    noise = np.random.default_rng(0).normal(size=(5, 4, vae.latent_dim)).astype("f4").astype("f8")
    found = list(answers(vae, rows, noise, tmp_path))
    wanted = bound(vae, rows, noise)
    assert np.isfinite(wanted).all()
    np.testing.assert_allclose(found[0], wanted, rtol=1e-5)
    np.testing.assert_allclose(found[1], wanted, rtol=2e-5 if name == "units" else 1e-5)


@pytest.mark.parametrize("name", get_args(LikelihoodName))
def test_every_likelihood_has_a_score(name, tmp_path):
    data, vae = for_all(name)
    vae = moved(vae.float())
    rows = data.test.take(torch.arange(3))
    noise = np.random.default_rng(0).normal(size=(3, 2, vae.latent_dim)).astype("f4").astype("f8")
    found = list(answers(vae, rows, noise, tmp_path))
    wanted = bound(vae, rows, noise)
    for scores in found:
        np.testing.assert_allclose(scores, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("prior", PRIORS)
def test_every_prior_is_scored_and_drawn_or_refused(prior, tmp_path):
    data = models.data_of("gaps", tmp_path)
    vae = models.model_of("gaps", data, prior=prior, components=3).float()
    if prior == "flow":
        assert set(left_out(vae)) == {"score", "prior"}
        assert "no step for FlowPrior" in left_out(vae)["score"]
        return
    assert not left_out(vae)
    rows = data.test.take(torch.arange(5))
    noise = np.random.default_rng(0).normal(size=(5, 4, vae.latent_dim)).astype("f4").astype("f8")
    found = list(answers(vae, rows, noise, tmp_path))
    uniform = np.array([0.0, 0.2, 0.5, 0.8, 0.9999]).astype("f4")
    own = {} if prior == "normal" else {"uniform": uniform}
    model = dict(np.load(tmp_path / "numpy" / "model.npz"))
    draws = score.prior(model, noise[:, 0], own.get("uniform"))
    session = onnxruntime.InferenceSession(tmp_path / "onnx" / "prior.onnx")
    graph = session.run(["z"], {"noise": noise[:, 0].astype("f4"), **own})[0]
    for scores in found:
        np.testing.assert_allclose(scores, bound(vae, rows, noise), rtol=1e-5)
    expected = noise[:, 0]
    if prior != "normal":
        with evaluating(vae):
            law = vae.latent_prior()
            shares = law.log_weights.exp().detach().numpy()
            loc, std = law.components.mean.detach().numpy(), law.components.stddev.detach().numpy()
        chosen = np.searchsorted(shares.cumsum(), uniform, side="right")
        assert len(set(chosen)) == 3
        expected = loc[chosen] + std[chosen] * noise[:, 0]
    np.testing.assert_allclose(draws, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(graph, expected, rtol=1e-5, atol=1e-5)


def test_draws_of_a_mixture_follow_its_law(tmp_path):
    data = models.data_of("bernoulli", tmp_path)
    vae = models.model_of("bernoulli", data, prior="mixture", components=2, latent_dim=1)
    with torch.no_grad():
        vae.prior.logits.copy_(torch.tensor([0.0, math.log(3)]))
        vae.prior.loc.copy_(torch.tensor([[-2.0], [1.0]]))
        vae.prior.log_var.copy_(torch.tensor([[0.0], [2 * math.log(0.5)]]))
    random = np.random.default_rng(0)
    inputs = np.stack([random.normal(size=4000), random.uniform(size=4000)], 1)
    draws = run(lower_prior(vae), inputs)[:, 0]

    def distribution(z):
        return 0.25 * stats.norm.cdf(z, -2, 1) + 0.75 * stats.norm.cdf(z, 1, 0.5)

    assert stats.kstest(draws, distribution).pvalue > 0.01


def test_a_spike_an_impossible_value_and_a_gap_score_as_in_torch(tmp_path):
    """A log-normal column has no density at 0, a gap adds nothing, a spike has a probability."""
    data = models.data_of("laws", tmp_path)
    vae = models.model_of("laws", data).float()
    rows = data.test.take(torch.arange(3))
    rows.raw[0, data.schema.columns.index("mass")] = 0.0
    rows.raw[1] = torch.nan
    rows.raw[2, data.schema.columns.index("amount")] = 0.0
    noise = np.zeros((3, 1, vae.latent_dim))
    wanted = bound(vae, rows, noise)
    for scores in answers(vae.float(), rows, noise, tmp_path):
        assert scores[0] == wanted[0] == -math.inf
        np.testing.assert_allclose(scores[1:], wanted[1:], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 100), (10, 30), (0.1, 0.3), (-1, 0)])
def test_values_that_float32_puts_on_a_bound_score_as_in_torch(low, high, tmp_path):
    """Given to the two forms as float64 and as float32; at a spike, which 1 - 1e-9 of the way is too."""
    random = np.random.default_rng(0)
    shares = special.expit(3 * random.normal(size=(300, 3)))
    shares[:6, 0] = 1 - 1e-9, 1 - 3e-8, 1 - 1e-15, 1e-9, 1e-30, 0.5
    shares[:40, 2] = 1.0
    shares[1, 2] = 1 - 1e-9
    cells = low + (high - low) * shares[:, :2]
    cells[:6, 0] = cells[:6, 0].clip(np.nextafter(low, high), np.nextafter(high, low))
    cells = np.column_stack([cells, shares[:, 2]])
    bounds = tuple(f"column {column}={low}..{high}" for column in (1, 2))
    data = read(cells, DataConfig(cells="mixed", bounds=bounds))
    assert [len(own) for own in data.schema.spikes] == [0, 0, 1]
    config = ModelConfig(likelihood="mixed", latent_dim=2)
    vae = moved(build_vae(config, data.schema).float())
    rows = Dataset(torch.from_numpy(cells[:6]), data.schema)
    noise = random.normal(size=(6, 4, 2)).astype("f4").astype("f8")
    found = list(answers(vae, rows, noise, tmp_path))
    model = dict(np.load(tmp_path / "numpy" / "model.npz"))
    exact = score.score(model, cells[:6], noise)
    wanted = bound(vae, rows, noise)
    assert np.isfinite(wanted).all()
    for scores in (*found, exact):
        np.testing.assert_allclose(scores, wanted, rtol=1e-4, atol=1e-3)


def test_what_docs_say_is_left_out_is_what_is_left_out():
    text = (Path(__file__).parents[1] / "docs" / "handing-over.md").read_text(encoding="utf-8")
    line = re.search(r"\*\*What is left out\.\*\*.*?\n\n", text, re.DOTALL)[0]
    said = set(re.findall(r"`((?:prior|posterior|likelihood)=[\w-]+)`", line))
    schema = read("digits").schema
    refused = set()
    staying = set()
    ways = {f"prior={name}": {"prior": name} for name in PRIORS}
    ways |= {f"posterior={name}": options for name, options in POSTERIORS.items()}
    for way, own in ways.items():
        options = {"likelihood": "bernoulli", "latent_dim": 2, "hidden": (4,)}
        vae = build_vae(ModelConfig(**(options | own)), schema)
        try:
            lower_encoder(vae)
        except ValueError as error:  # nothing leaves
            assert "no step for" in str(error)
            staying.add(way)
            continue
        refused |= {way} if "score" in left_out(vae) else set()
    for name in get_args(LikelihoodName):
        refused |= {f"likelihood={name}"} if "score" in left_out(for_all(name)[1]) else set()
    assert said == refused
    line = re.search(r"\*\*What stays\.\*\*.*?\n\n", text, re.DOTALL)[0]
    assert set(re.findall(r"`((?:prior|posterior)=[\w-]+)`", line)) == staying


def test_a_model_without_a_score_leaves_with_the_rest_and_says_why(tmp_path, capsys):
    from variform import save

    config = ModelConfig(likelihood="bernoulli", latent_dim=2, posterior="full", hidden=(4,))
    save(build_vae(config, read("digits").schema), tmp_path / "model.safetensors")
    assert cli.run(["export", str(tmp_path / "model.safetensors"), "--to", "numpy"]) == 0
    assert "The score is left out: " in capsys.readouterr().out
    model = dict(np.load(tmp_path / "numpy" / "model.npz"))
    with pytest.raises(ValueError, match=r"no score here: .*no step for FullCovariancePosterior"):
        score.score(model, np.zeros((1, 1, 8, 8)), np.zeros((1, 1, 2)))
    assert score.prior(model, np.ones((1, 2))).tolist() == [[1, 1]]
    with pytest.raises(ValueError, match=r"the prior takes \[2\]"):
        score.prior(model, np.ones((1, 2)), np.ones(1))


def test_weights_stand_once_in_the_file(tmp_path):
    data = models.data_of("bernoulli", tmp_path)
    vae = models.model_of("bernoulli", data).float()
    hand_over(vae, "numpy", tmp_path / "out")
    model = dict(np.load(tmp_path / "out" / "model.npz"))
    shapes = [values.shape for values in model.values()]
    assert shapes.count((24, vae.latent_dim)) == 1
    assert reader.about(model)["left out"] == {}


def test_a_counted_log_factorial_is_that_of_scipy(tmp_path):
    """Of counts whose dispersion is small, near 30 and large, the steps give SciPy's probabilities."""
    data = models.data_of("overdispersed", tmp_path)
    vae = models.model_of("overdispersed", data)
    r = np.array([0.01, 29.0, 1e5])
    with torch.no_grad():
        vae.likelihood.log_dispersion.copy_(torch.from_numpy(np.log(r)))
    counts = np.array([[0, 1, 0], [1, 0, 40], [7, 300, 2000]], float)
    z = np.zeros((3, 3))
    with evaluating(vae):
        m = vae.decode(torch.from_numpy(z)).mean.numpy()
    inputs = np.concatenate([z, np.ones((3, 3)), z, counts], 1)
    expected = stats.nbinom.logpmf(counts, r, r / (r + m)).sum(1)
    found = run(lower_score(vae).weight, inputs)[:, 0]
    np.testing.assert_allclose(found, expected, rtol=1e-6)  # at the mean p(z) = q(z|x)
    assert lower_encoder(vae).out_shape == (2, 3)
