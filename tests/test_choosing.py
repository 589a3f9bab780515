"""What is chosen by the data where nothing is given: likelihood, latents, rate; said, kept, and overruled by a name."""

import dataclasses
import json
import tomllib

import numpy as np
import pytest
import torch
from scipy import stats

from variform import DataConfig, ModelConfig, TrainConfig, build_vae, read
from variform.config.run import EvaluationConfig, RunConfig
from variform.config.settling import settled
from variform.config.toml import from_toml
from variform.data.marginals import Marginals
from variform.estimator import VAE
from variform.faces.cli import run as command
from variform.model.choosing import _count_law, _raw_marginals, _rounded_gaussian, chosen_model
from variform.runs.folder import open_run
from variform.runs.plan import prepare
from variform.runs.train import resume_run, train_run
from variform.training.fit import Interrupted
from variform.training.identity import belongs

AS_IT_IS = DataConfig()


def random(seed=0):
    return np.random.default_rng(seed)


def likelihood_of(rows, data=AS_IT_IS):
    model, _ = chosen_model(ModelConfig(), data, read(rows, data))
    return model.likelihood


def factors(rows, columns, noise, count=3, seed=0):
    """Rows of so many factors with so much noise in each column."""
    generator = random(seed)
    z, loadings = generator.normal(size=(rows, count)), generator.normal(size=(count, columns))
    return z @ loadings + generator.normal(size=(rows, columns)) * noise


# --- likelihoods --------------------------------------------------------------------------------------------------


def over_dispersed(size=(400, 5), scale=3.0, seed=0):
    return random(seed).negative_binomial(2, 2 / (2 + scale), size)


PLANTED = {
    "zeros and ones": (random().integers(0, 2, (200, 12)), "bernoulli"),
    "zeros and ones, one column constant": (
        np.c_[np.ones(200), random().integers(0, 2, (200, 12))],
        "bernoulli",
    ),
    "ten rows": (random(1).normal(size=(10, 3)) * 9, "gaussian"),
    "zeros and ones with a gap": (
        np.where(np.arange(2400).reshape(200, 12) == 7, np.nan, random().integers(0, 2, (200, 12))),
        "mixed",
    ),
    "numbers with a gap": (
        np.where(np.arange(800).reshape(200, 4) == 7, np.nan, random().normal(size=(200, 4)) * 9),
        "mixed",
    ),
    "words": ({"wood": ["oak", "ash"] * 60, "mass": random().normal(size=120)}, "mixed"),
    "over-dispersed counts": (over_dispersed(), "negative-binomial"),
    "counts as floats": (over_dispersed().astype(float), "negative-binomial"),
    "counts beside a constant column": (np.c_[over_dispersed(), np.full(400, 7)], "negative-binomial"),
    "counts up to a million": (over_dispersed(scale=2e5), "negative-binomial"),
    "counts that vary less": (random().binomial(10, 0.9, (400, 5)), "gaussian"),
    "whole numbers that lean to the left": ((500 - over_dispersed(scale=20)).clip(0), "gaussian"),
    "whole numbers below zero": (over_dispersed() - 1, "gaussian"),
    "heavy tails": (stats.t(2.5).rvs((400, 5), random_state=0), "gaussian"),
    "equal noise": (factors(400, 8, 0.3), "gaussian"),
    "noise of each column's own": (factors(400, 8, np.geomspace(0.01, 1, 8)), "gaussian"),
    "pictures of zeros and ones": (random().integers(0, 2, (60, 6, 6)), "bernoulli"),
    "grey pictures": (random().integers(0, 256, (60, 6, 6), dtype=np.uint8), "gaussian-shared"),
}  # fmt: skip


@pytest.mark.parametrize("rows, name", PLANTED.values(), ids=PLANTED)
def test_data_of_each_kind_get_their_likelihood(rows, name):
    assert likelihood_of(rows) == name


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("mean", [0.4, 4.0, 60.0])
def test_counts_of_independent_events_are_poisson(seed, mean):
    """Of which no sample has exactly its mean for a variance."""
    counts = random(seed).poisson(mean * np.linspace(0.5, 2, 6), (500, 6))
    assert likelihood_of(counts) == "poisson"


@pytest.mark.parametrize("mean, std", [(3.0, 2.0), (40.0, 0.7), (1e6, 300.0)])
def test_a_gaussian_of_whole_numbers_is_scipy_s_between_their_edges(mean, std):
    x = np.round(mean + std * np.linspace(-6, 6, 25))[:, None]
    mean_of, variance_of = torch.tensor([[mean], [std**2]], dtype=torch.float64)
    fitted = Marginals(50, mean_of, variance_of, lambda: [])
    law = stats.norm(mean, std)
    upper = np.where(
        x > mean, law.sf(x - 0.5) - law.sf(x + 0.5), law.cdf(x + 0.5) - law.cdf(x - 0.5)
    )
    got = _rounded_gaussian(fitted, torch.tensor(x)).numpy()
    np.testing.assert_allclose(got, np.log(upper[:, 0]), rtol=1e-6)


def test_counts_are_told_from_a_gaussian_by_rows_that_were_not_fitted():
    """The moments are those of the training rows in the file's own units, however the rows were scaled."""
    counts = over_dispersed()
    splits = read(counts)
    assert splits.scaling == "standard" and _count_law(splits) == "negative-binomial"
    rows, raw = _raw_marginals(splits.train), splits.train.raw.double().numpy()
    np.testing.assert_allclose(rows.mean.numpy(), raw.mean(0), rtol=1e-6)
    np.testing.assert_allclose(rows.variance.numpy(), raw.var(0), rtol=1e-5)


def test_grey_pictures_that_are_made_black_and_white_are_bernoulli():
    assert likelihood_of("digits", DataConfig(binarise="threshold")) == "bernoulli"


def test_scaling_that_counts_do_not_bear_makes_them_numbers():
    assert likelihood_of(over_dispersed(), DataConfig(scaling="standard")) == "gaussian"


def test_gaps_that_are_declared_stay_numbers():
    rows = random().normal(size=(200, 4)) * 9
    rows[3, 1] = np.nan
    assert likelihood_of(rows, DataConfig(cells="gaps")) == "gaussian-per-feature"


def test_without_rows_the_schema_tells():
    """As of `build_vae`, and of an estimator."""
    zeros = read(random().integers(0, 2, (200, 12)))
    assert build_vae(ModelConfig(), zeros.schema).config.likelihood == "bernoulli"
    digits = build_vae(ModelConfig(), read("digits").schema).config
    assert (digits.likelihood, digits.latent_dim) == ("gaussian-shared", 10)
    fitted = VAE(epochs=1, random_state=0).fit(random().integers(0, 2, (60, 12)))
    assert fitted.vae_.config.likelihood == "bernoulli"
    assert (
        VAE(epochs=1, random_state=0).fit(factors(60, 4, 0.3)).vae_.config.likelihood == "gaussian"
    )


# --- latents ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 3, 4])
def test_a_table_gets_as_many_latents_as_it_has_factors(count):
    rows = factors(500, 12, 0.5, count)
    assert chosen_model(ModelConfig(), DataConfig(), read(rows))[0].latent_dim == count


@pytest.mark.parametrize(
    "rows, latents",
    [
        (random().normal(size=(300, 2)) @ [[3.0, 1], [1, 2]], 1),
        (random().normal(size=(300, 1)) * 9, 1),
        (factors(300, 3, 0.1), 2),
        (factors(14, 9, 0.1), 2),
        ("digits", 10),
        (np.c_[factors(300, 5, 0.1), np.full(300, 2.5)], 2),
    ],
)
def test_latents_are_fewer_than_columns_and_few_for_few_rows(rows, latents):
    assert chosen_model(ModelConfig(), DataConfig(), read(rows))[0].latent_dim == latents


# --- overruled, said, kept ----------------------------------------------------------------------------------------


def test_what_is_named_stays_and_is_not_said():
    splits = read(over_dispersed())
    model, reasons = chosen_model(
        ModelConfig(likelihood="gaussian-shared", latent_dim=4), DataConfig(), splits
    )
    assert (model.likelihood, model.latent_dim, reasons) == ("gaussian-shared", 4, ())
    _, (only,) = chosen_model(ModelConfig(latent_dim=4), DataConfig(), splits)
    assert only.startswith("likelihood negative-binomial (")


@pytest.mark.parametrize(
    "network, train, expected",
    [
        ("mlp", {}, (3e-3, "cosine")),
        ("conv", {}, (1e-3, "constant")),
        ("mlp", {"learning_rate": 0.01}, (0.01, "constant")),
        ("mlp", {"schedule": "constant"}, (3e-3, "constant")),
        ("conv", {"schedule": "cosine"}, (1e-3, "cosine")),
    ],
)
def test_rate_and_schedule_are_usual_ones_where_they_are_not_given(network, train, expected):
    config = RunConfig(model=ModelConfig(network=network), train=TrainConfig(**train))
    found = settled(config, 240).train
    assert (found.learning_rate, found.schedule) == expected


def test_a_configuration_of_before_means_what_it_meant():
    """It names every value; and its checkpoints belong to a training with what was the default then."""
    old = '[model]\nlikelihood = "bernoulli"\nlatent_dim = 10\n[train]\nlearning_rate = 0.001\nschedule = "constant"\n'
    config = dataclasses.replace(from_toml(old), source="digits")
    plan = prepare(config)
    assert plan.config.model == config.model and plan.config.train.learning_rate == 1e-3
    assert "likelihood" not in plan.chosen and "latent" not in plan.chosen
    before = {"train": {"learning_rate": 0.001, "schedule": "constant"}}
    assert belongs(json.dumps({"train": {}} | before), json.dumps(before))


def few(folder, rows, **train):
    np.save(folder / "rows.npy", rows)
    return RunConfig(
        source=str(folder / "rows.npy"),
        model=ModelConfig(hidden=(8,)),
        train=TrainConfig(steps=24, **train),
        evaluation=EvaluationConfig(nll_samples=2),
    )


def test_a_run_keeps_what_was_chosen_and_goes_on_by_it(tmp_path, monkeypatch):
    config, told = few(tmp_path, over_dispersed((200, 5))), []
    whole = train_run(config, tmp_path / "whole", pictures=False, tell=told.append)
    line = told[-1]
    assert line.startswith("likelihood negative-binomial (") and "latent dimension" in line
    assert "learning rate 0.003" in line and "batches of 16 rows" in line
    assert told.count(line) == 1

    text = (tmp_path / "whole/config.toml").read_text()
    assert text.splitlines()[0].endswith(line) and text.startswith("# ")
    kept = tomllib.loads(text)
    assert kept["model"]["likelihood"] == "negative-binomial"
    assert kept["model"]["latent_dim"] == whole.vae.latent_dim
    for name in ("data.json", "evaluation.json"):
        assert json.loads((tmp_path / "whole" / name).read_text())["chosen"] == line
    assert open_run(tmp_path / "whole").config == whole.config
    assert whole.data().scaling == "none"

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("variform.runs.train.assess", stop)
    with pytest.raises((Interrupted, KeyboardInterrupt)):
        train_run(config, tmp_path / "parts", pictures=False)
    monkeypatch.undo()
    resumed = resume_run(tmp_path / "parts", pictures=False)
    assert json.loads((tmp_path / "parts/data.json").read_text())["chosen"] == line
    for name, value in resumed.vae.state_dict().items():
        assert torch.equal(value, whole.vae.state_dict()[name]), name


def test_the_command_line_says_it_in_its_json_and_takes_a_name_instead(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    rows = over_dispersed((200, 4))
    np.savetxt("counts.csv", rows, delimiter=",", fmt="%d", header="a,b,c,d", comments="")
    few_steps = ["--steps", "8", "--hidden", "8", "--nll-samples", "2", "--json"]
    assert command(["train", "counts.csv", *few_steps]) == 0
    said = capsys.readouterr()
    numbers = json.loads(said.out)
    assert numbers["chosen"].startswith("likelihood negative-binomial (")
    assert said.err.count("likelihood negative-binomial (") == 1
    report = (tmp_path / "runs/counts/report.html").read_text()
    assert "likelihood negative-binomial (" in report
    named = ["--likelihood", "gaussian-per-feature", "--latent-dim", "1", "--out", "runs/named"]
    assert command(["train", "counts.csv", *few_steps, *named]) == 0
    numbers = json.loads(capsys.readouterr().out)
    assert "likelihood" not in numbers["chosen"] and numbers["active_units"]["of"] == 1
