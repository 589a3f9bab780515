"""What stands first: a collapsed model and a simpler one that wins are told by every face."""

import dataclasses
import json
import re
import shlex
import shutil
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from pages import contents_of, json_of
from scipy import stats

from variform import ModelConfig, TrainConfig, build_vae, read
from variform.config.choices import ObjectiveName
from variform.config.run import EvaluationConfig, RunConfig
from variform.evaluation import verdict
from variform.evaluation.illnesses import Case, diagnose
from variform.faces import cli
from variform.runs.folder import open_run
from variform.runs.records import history
from variform.runs.scores import scored_rows
from variform.runs.train import train_run


@pytest.fixture(scope="module")
def collapsed(tmp_path_factory):
    """A run whose posterior is the prior: each nat of its KL term cost a thousand."""
    folder = tmp_path_factory.mktemp("collapsed")
    z = np.random.default_rng(0).normal(size=(300, 2))
    rows = z @ np.random.default_rng(1).normal(size=(2, 6)) + 0.1 * np.random.default_rng(2).normal(
        size=(300, 6)
    )
    np.save(folder / "rows.npy", rows)
    config = RunConfig(
        source=str(folder / "rows.npy"),
        model=ModelConfig(latent_dim=2, likelihood="gaussian-shared", hidden=(4,)),
        train=TrainConfig(steps=200, batch_size=128, learning_rate=0.02, beta=1000.0),
        evaluation=EvaluationConfig(nll_samples=5),
    )
    return train_run(config, folder / "run")


def test_a_collapsed_model_is_said_to_be_one_first_and_everywhere(collapsed, capsys):
    active = collapsed.evaluation["active_units"]
    assert active["count"] == 0
    first = collapsed.evaluation["warnings"][0]
    assert first.startswith("No latent dimension is active (0 of 2)")
    assert "--batch-size" in first
    page = (collapsed.folder / "report.html").read_text()
    assert page.index("No latent dimension is active") < page.index('<p class="summary">')
    assert "No latent dimension is active" in json_of(
        (collapsed.folder / "explorer.html").read_text()
    )
    for words in (["evaluate", str(collapsed.folder)], ["info", str(collapsed.folder)]):
        cli.app(words, exit_on_error=False, result_action="return_value")
        output = re.sub(r"[│\s]+", " ", capsys.readouterr().out)
        assert (
            "No latent dimension is active" in output
            and "with --free-bits 0.1 too" in output
            and "`" not in output
        )
    cli.app(
        ["evaluate", str(collapsed.folder), "--json"],
        exit_on_error=False,
        result_action="return_value",
    )
    assert (
        json.loads(capsys.readouterr().out)["warnings"][0] == first
        and "with `free_bits=0.1` too" in first
    )


def test_the_command_to_try_names_the_runs_own_folder_also_when_it_has_moved(
    collapsed, tmp_path, capsys
):
    """The file says RUN, since a run may move; what is printed and written to be read says where it is."""
    assert "--config RUN/config.toml" in collapsed.evaluation["warnings"][0]
    report = (collapsed.folder / "report.html").read_text()
    page = json_of((collapsed.folder / "explorer.html").read_text())
    for text in (re.sub(r"</?span[^>]*>", "", report), page):
        assert (
            f"--config {collapsed.folder / 'config.toml'} --batch-size" in text
            and "config RUN/" not in text
        )
    moved = shutil.copytree(collapsed.folder, tmp_path / "moved beams")
    config = shlex.quote(str(moved / "config.toml"))
    for words in (["evaluate"], ["info"], ["encode"], ["compare", str(collapsed.folder)]):
        assert cli.run([*words, str(moved)]) == 0
        output = "".join(re.sub("[│\n]", "", capsys.readouterr().out).split())
        assert f"--config{config}".replace(" ", "") in output and "configRUN/" not in output
    # The command itself runs, with fewer steps than it would take.
    first = verdict.placed(collapsed.evaluation["warnings"], moved)[0]
    command = shlex.split(re.search(r"variform (train .*?) --out NEW", first)[1])
    assert cli.run([*command, "--steps", "3", "--out", str(tmp_path / "new")]) == 0


def test_a_simpler_model_that_is_better_is_named_with_the_difference(collapsed):
    """The difference and its error are paired: those of NumPy, of the rows' scores and of PCA's density by SciPy."""
    rows = collapsed.data()
    scale = np.array(rows.schema.scale)
    train, test = (part.raw.double().numpy() for part in (rows.train, rows.test))
    values, vectors = np.linalg.eigh(np.cov(train.T, bias=True))
    values[:4] = values[:4].mean()
    law = stats.multivariate_normal(train.mean(0), vectors @ np.diag(values) @ vectors.T)
    _, scores = scored_rows(collapsed)
    gap = scores["nll"].numpy() + law.logpdf(test)
    [sentence] = [text for text in collapsed.evaluation["warnings"] if text.startswith("PCA")]
    assert scale.std() > 0 and "PCA in your units has the better NLL" in sentence
    assert f"NLL by {gap.mean():.3g} ± {gap.std(ddof=1) / np.sqrt(len(gap)):.2g} nats" in sentence
    assert "and the better reconstruction error by" in sentence and "`beta=1`" in sentence
    page = (collapsed.folder / "report.html").read_text()
    assert page.index("has the better NLL") < page.index('<p class="summary">')


def compared(own, other, n=100):
    """Numbers of a VAE and of PCA whose rows have these scores."""
    gap = np.asarray(own) - np.asarray(other)
    estimate = {"mean": gap.mean(), "se": gap.std(ddof=1) / np.sqrt(len(gap)), "n": n}
    same = {"mean": 0.0, "se": 0.1, "n": n}
    baselines = {"pca": {"nll_difference": estimate, "reconstruction_error_difference": same}}
    own = {"mean": float(np.mean(own)), "se": 1.0, "n": n}
    return {
        "active_units": {"count": 1, "of": 1},
        "nll": own,
        "reconstruction_error": own,
        "baselines": baselines,
    }


def test_a_difference_is_judged_by_its_paired_error():
    """Rows differ by 50 nats from each other and the models by 1 on every row: said. Noise alone: said in about 2 %."""
    vae = build_vae(ModelConfig(latent_dim=1, likelihood="gaussian"), read("digits").schema)
    generator = np.random.default_rng(0)
    rows = 50 * generator.normal(size=100)
    assert verdict.warnings(vae, compared(rows + 1 + 0.1 * generator.normal(size=100), rows))
    assert not verdict.warnings(vae, compared(rows - 1, rows))
    noise = generator.normal(size=(2, 1000, 100))
    said = [
        bool(verdict.warnings(vae, compared(rows + own, rows + other)))
        for own, other in noise.swapaxes(0, 1)
    ]
    assert (
        0.01 < np.mean(said) < 0.04
    )  # 2.4 % of Student's t with 99 degrees of freedom; 4 standard errors wide


@pytest.mark.parametrize(
    ("carried", "rollback", "is_unfinished"),
    [(0.8, {}, True), (0.2, {}, False), (0.8, {"rollback": "x"}, False)],
)
def test_a_training_that_still_learns_is_told_to_go_on(carried, rollback, is_unfinished):
    """Smaller steps would leave it further behind; they are for one that overfits by now, or that diverged."""
    vae = build_vae(ModelConfig(latent_dim=1, likelihood="gaussian"), read("digits").schema)
    rows = np.random.default_rng(0).normal(size=100)
    history = [
        {"train_loss": -number, "valid_loss": -carried * number, "learning_rate": 1e-3}
        for number in range(50)
    ]
    history[10] |= rollback
    sentence = verdict.warnings(vae, compared(rows + 1 + 0.1 * rows, rows), TrainConfig(), history)[
        -1
    ]
    assert (
        "Try more epochs, since validation rows still gained after 25" in sentence
    ) == is_unfinished
    assert ("`learning_rate=0.0003`; `clip_norm=10`; more epochs" in sentence) != is_unfinished


@pytest.mark.parametrize(
    ("posterior", "cure"),
    [
        ("diagonal", "`posterior='full'` or `posterior='iaf'`."),
        ("full", "`posterior='iaf'`."),
        ("iaf", "more `transforms`."),
    ],
)
def test_after_enough_steps_of_refining_another_family_is_named(posterior, cure):
    """More of what did not help is no cure; each option that is named can be given."""
    vae = build_vae(
        ModelConfig(likelihood="bernoulli", latent_dim=2, posterior=posterior),
        read("digits").schema,
    )
    estimate = {"mean": 1.0, "se": 0.1, "n": 10}
    share = {
        "high_pareto_k": {"mean": 0.9},
        "ess": {"mean": 15.0},
        "nll": estimate | {"samples": 1000},
    }
    numbers = {"active_units": {"count": 2, "of": 2}, "reconstruction_error": estimate, **share}
    for steps, ending in (
        (0, "with `refine=50`."),
        (10, "with `refine=50`."),
        (50, f"Train with {cure}"),
    ):
        refined = {"refined": share | {"steps": steps}} if steps else {}
        (sentence,) = verdict.warnings(vae, numbers | refined)
        assert sentence.endswith(ending)
    for option in re.findall(r"posterior='(\w+)'", cure):
        build_vae(ModelConfig(likelihood="bernoulli", posterior=option), read("digits").schema)


def test_numbers_that_are_not_finite_are_said_first():
    vae = build_vae(ModelConfig(latent_dim=1, likelihood="gaussian"), read("digits").schema)
    numbers = compared(np.ones(100), np.arange(100.0))
    numbers["nll"]["mean"] = float("nan")
    assert "not finite" in verdict.warnings(vae, numbers)[0]


def test_a_training_that_diverged_is_said_to_have(tmp_path):
    """What `fit` notes in the history is told by the evaluation of the run, also when it is evaluated again."""
    z = np.random.default_rng(0).normal(size=(300, 2))
    np.save(tmp_path / "rows.npy", z @ np.random.default_rng(1).normal(size=(2, 6)))
    config = RunConfig(
        source=str(tmp_path / "rows.npy"),
        model=ModelConfig(latent_dim=2, likelihood="gaussian-identity", posterior_std="exp"),
        train=TrainConfig(epochs=40, batch_size=128, learning_rate=1.0),
        evaluation=EvaluationConfig(nll_samples=5),
    )
    train_run(config, tmp_path / "run", pictures=False)
    rows = history(tmp_path / "run")
    rollbacks = [row["rollback"] for row in rows if "rollback" in row]
    numbers = open_run(tmp_path / "run").evaluation
    [sentence] = [
        text for text in numbers["warnings"] if text.startswith("The training diverged: ")
    ]
    assert rollbacks and all(text in sentence for text in rollbacks)
    assert "`learning_rate=0.3`" in sentence and "`posterior_std='softplus'`" in sentence


def test_no_picture_shows_a_latent_space_that_is_not_there(collapsed, capsys):
    drawn = {path.stem for path in (collapsed.folder / "figures").iterdir()}
    assert drawn == {"reconstructions", "samples", "kl", "curves"}
    assert cli.run(["draw", str(collapsed.folder)]) == 0
    warning, *pictures = capsys.readouterr().out.splitlines()
    assert warning.startswith("Warning: No latent dimension is active") and len(pictures) == 4
    page = (collapsed.folder / "report.html").read_text()
    assert (
        "Posterior means of the test rows" not in page
        and "are not drawn: a collapsed model" in page
    )
    page = (collapsed.folder / "explorer.html").read_text()
    assert contents_of(page)["collapsed"] is True


@pytest.mark.parametrize("command", ["generate", "encode", "decode", "reconstruct", "explore"])
def test_whatever_comes_out_of_a_collapsed_model_is_said_to(collapsed, tmp_path, capsys, command):
    np.save(tmp_path / "points.npy", np.zeros((3, 2)))
    points = [str(tmp_path / "points.npy")] if command == "decode" else []
    out = tmp_path / ("new.html" if command == "explore" else "new.csv")
    assert cli.run([command, str(collapsed.folder), *points, "--out", str(out)]) == 0
    assert capsys.readouterr().out.startswith("Warning: No latent dimension is active (0 of 2)")
    assert out.is_file()


def test_a_sampler_of_a_collapsed_model_says_so_before_its_table(collapsed, capsys):
    assert cli.run(["sampler", str(collapsed.folder), "--samples", "2"]) == 0
    assert capsys.readouterr().out.startswith("Warning: No latent dimension is active")
    kept = json.loads((collapsed.folder / "samplers.json").read_text())
    assert kept["warnings"][0].startswith("No latent dimension is active")


def test_an_evaluation_of_an_older_version_warns_as_well(collapsed, tmp_path):
    older = collapsed.evaluation
    del older["warnings"]
    shutil.copytree(collapsed.folder, tmp_path / "run")
    (tmp_path / "run" / "evaluation.json").write_text(json.dumps(older))
    assert (
        open_run(tmp_path / "run")
        .evaluation["warnings"][0]
        .startswith("No latent dimension is active")
    )
    (tmp_path / "run" / "evaluation.json").write_text("{")
    assert (
        cli.run(["generate", str(tmp_path / "run"), "--out", str(tmp_path / "new.npy")]) == 0
    )  # it is still a model


@pytest.mark.parametrize("objective", get_args(ObjectiveName))
def test_the_command_against_a_collapse_is_one_that_the_objective_takes(objective):
    """Every option in it is understood, differs from the run's own, and goes together with the rest."""
    vae = build_vae(ModelConfig(likelihood="bernoulli", latent_dim=2), read("digits").schema)
    numbers = {"active_units": {"count": 0, "of": 2}}
    trained = TrainConfig(objective=objective, learning_rate=3e-3)
    (sentence,) = verdict.collapsed(vae, numbers, trained)
    command = re.search(r"variform train (.*?) --out NEW", sentence)[1].split()
    names = [word.removeprefix("--").replace("-", "_") for word in command[2::2]]
    changes = dict(zip(names, map(float, command[3::2]), strict=True))
    changes |= {
        name: float(value) for name, value in re.findall(r"`(free_bits)=([\d.]+)`", sentence)
    }
    assert changes["batch_size"] == 16 and changes["learning_rate"] == 1e-3
    assert ("free_bits" in changes) == (objective == "elbo")
    replaced = dataclasses.replace(trained, **changes | {"batch_size": 16})
    assert replaced != trained


def test_the_command_against_a_collapse_follows_from_the_run():
    vae, numbers = (
        build_vae(ModelConfig(likelihood="bernoulli", latent_dim=2), read("digits").schema),
        {"active_units": {"count": 0, "of": 2}},
    )
    (sentence,) = verdict.collapsed(
        vae, numbers, TrainConfig(batch_size=8, learning_rate=1e-4, beta=4, warmup=50)
    )
    assert "--learning-rate 3e-05 --beta 1 --out" in sentence
    assert "--batch-size" not in sentence and "free_bits" not in sentence
    assert verdict.collapsed(vae, {"active_units": {"count": 1, "of": 8}}) == []


def wins_of(likelihood, better, baseline="pca", trained=None, active=1):
    """The sentences on a VAE of two latents of which a baseline is better in these measures."""
    schema = read(np.random.default_rng(0).integers(0, 2, (200, 3)).astype(np.float32)).schema
    vae = build_vae(ModelConfig(latent_dim=2, likelihood=likelihood), schema)
    gaps = {"mean": 1.0, "se": 0.1, "n": 50}, {"mean": 0.0, "se": 0.1, "n": 50}
    differences = {
        f"{name}_difference": gaps[name not in better] for name in ("nll", "reconstruction_error")
    }
    own = {"mean": 3.0, "se": 1.0, "n": 50}
    numbers = {"active_units": {"count": active, "of": 2}, "nll": own, "reconstruction_error": own}
    found = diagnose(Case(numbers | {"baselines": {baseline: differences}}, vae, trained))
    return [finding.sentence for finding in found if finding.illness == "simpler-model"]


def test_what_to_try_is_what_the_run_has_not_tried():
    """Each option is named where the run's own may be the reason, and not where it has it already."""
    plain = TrainConfig(learning_rate=3e-3, steps=10)
    [text] = wins_of("gaussian", ["nll"], trained=plain)
    assert (
        "`learning_rate=0.001`" in text
        and "`clip_norm=10`" in text
        and "`warmup=" in text
        and "`beta" not in text
    )
    [text] = wins_of("gaussian", ["nll"], trained=replace(plain, clip_norm=5.0, beta=4.0), active=2)
    assert "`clip_norm" not in text and "`beta=1`" in text and "`warmup" not in text
    [text] = wins_of("gaussian-identity", ["reconstruction_error"], trained=plain)
    assert "a variance that is learned" in text
    [text] = wins_of("bernoulli", ["reconstruction_error"], trained=plain)
    assert "not the aim of this VAE's likelihood" in text
    [text] = wins_of(
        "bernoulli", ["nll", "reconstruction_error"], baseline="trivial", trained=plain
    )
    assert "not the aim" not in text and "and the better reconstruction error by 1 ± 0.1" in text
    [text] = wins_of("gaussian-shared", ["nll"], baseline="trivial", trained=plain)
    assert "a variance per column" in text
    [text] = wins_of("gaussian-shared", ["reconstruction_error"], baseline="trivial", trained=plain)
    assert "a variance per column" not in text


def test_an_autoencoder_is_judged_by_its_reconstructions_alone():
    point = TrainConfig(objective="autoencoder", steps=10)
    assert wins_of("gaussian", ["nll"], trained=point) == []
    [text] = wins_of("gaussian", ["nll", "reconstruction_error"], trained=point)
    assert "NLL" not in text and "the better reconstruction error" in text


def test_a_single_test_row_does_not_make_a_model_collapsed(tmp_path, capsys):
    """The variance of one posterior mean is 0 in any model: nothing is said of it, and it is drawn in silence."""
    rows = np.random.default_rng(0).normal(size=(30, 4))
    np.save(tmp_path / "rows.npy", rows)
    config = RunConfig(
        source=str(tmp_path / "rows.npy"),
        model=ModelConfig(latent_dim=3, likelihood="gaussian", hidden=(4,)),
        train=TrainConfig(steps=3),
        evaluation=EvaluationConfig(nll_samples=3),
    )
    run = train_run(config, tmp_path / "run")
    assert len(run.data().test) == 1 and run.evaluation["active_units"]["count"] == 0
    assert not any("is active" in sentence for sentence in run.evaluation["warnings"])
    assert (run.folder / "figures" / "latent.png").is_file()
    assert cli.run(["sampler", str(run.folder)]) == 2
    assert "compared with at least 7 test rows; got 1" in capsys.readouterr().err
    assert (
        cli.run(
            ["generate", str(run.folder), "--sampler", "gmm", "--out", str(tmp_path / "new.csv")]
        )
        == 0
    )
