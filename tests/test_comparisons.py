"""Comparisons: planted differences are found with NumPy's paired errors, and no ranking where none is fair."""

import csv
import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from variform.config.data import DataConfig
from variform.config.model import ModelConfig
from variform.config.run import EvaluationConfig, RunConfig
from variform.config.training import TrainConfig
from variform.evaluation.illnesses.latents import MOST_ROWS
from variform.evaluation.tables import show
from variform.export.model_file import save
from variform.faces import cli
from variform.pages.curves import plot_compared_curves
from variform.runs import comparisons
from variform.runs.folder import open_run
from variform.runs.grounds import Entry
from variform.runs.scores import scored_rows
from variform.runs.train import train_run
from variform.system.files import read_json
from variform.system.sealing import read_sealed, write_sealed

ROWS = 300


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """A folder with values in [0, 1] and a label, the same with one value changed, and with fewer decimals."""
    folder = tmp_path_factory.mktemp("comparisons")
    values = np.random.default_rng(0).uniform(0.2, 0.8, (ROWS, 3)).round(4)
    other = values.copy()
    other[0, 0] = 0.5
    for name, table in {"values": values, "other": other}.items():
        with open(folder / f"{name}.csv", "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["a", "b", "c", "kind"])
            writer.writerows([*row, "xy"[number % 2]] for number, row in enumerate(table))
    return folder


def trained(workspace, name, *, source="values", samples=3, train=None, **options):
    """The folder of a run of one epoch, trained once."""
    folder = workspace / name
    if not folder.exists():
        data = DataConfig(
            **{"label": "kind", "scaling": "none"}
            | {key: options.pop(key) for key in _DATA if key in options}
        )
        model = ModelConfig(
            **{"latent_dim": 2, "hidden": (5,), "likelihood": "gaussian-identity"} | options
        )
        train = train or TrainConfig(epochs=1)
        few = EvaluationConfig(nll_samples=samples)
        source = str(workspace / f"{source}.csv")
        config = RunConfig(source=source, data=data, model=model, train=train, evaluation=few)
        train_run(config, folder, pictures=False)
    return folder


_DATA = ("scaling", "binarise", "split_seed", "condition", "label")


def constant(folder, bias):
    """Make the decoder say `bias` whatever z is, and the encoder N(0, I): then p(x) = N(x; bias, I) exactly."""
    vae = open_run(folder).vae
    with torch.no_grad():
        for layer in (vae.encoder.output, vae.decoder.output):
            layer.weight.zero_()
            layer.bias.zero_()
        vae.decoder.output.bias.copy_(torch.tensor(bias))
    save(vae, folder / "model.safetensors")


def test_paired_differences_are_those_of_numpy():
    generator = np.random.default_rng(1)
    squares = generator.gamma(2.0, size=(2, 500))
    squares[:, 7] = np.nan  # a row of which no value is known
    rows = [{name: generator.normal(size=500) for name in ("nll", "elbo", "kl")} for _ in range(2)]
    entries = [
        Entry(
            "",
            SimpleNamespace(config=RunConfig()),
            {},
            {
                name: torch.from_numpy(value)
                for name, value in [*row.items(), ("squared_error", error)]
            },
        )
        for row, error in zip(rows, squares, strict=True)
    ]
    differences = comparisons.paired(*entries)
    for name in ("nll", "elbo", "kl"):
        difference = rows[0][name] - rows[1][name]
        assert differences[name]["mean"] == pytest.approx(difference.mean(), rel=1e-12)
        assert differences[name]["se"] == pytest.approx(
            difference.std(ddof=1) / np.sqrt(500), rel=1e-12
        )
        assert differences[name]["n"] == 500
    known = squares[:, ~np.isnan(squares[0])]
    left_out = np.array([np.delete(known, row, axis=1).mean(1) for row in range(499)])
    roots = np.sqrt(left_out[:, 0]) - np.sqrt(left_out[:, 1])
    jackknife = np.sqrt(498 * roots.var())
    error = differences["reconstruction_error"]
    assert error["mean"] == pytest.approx(
        np.sqrt(known[0].mean()) - np.sqrt(known[1].mean()), rel=1e-12
    )
    assert error["se"] == pytest.approx(jackknife, rel=0.01) and error["n"] == 499


def test_the_planted_difference_of_two_models_is_found(workspace):
    """Scores of the weights before are there, and not taken for those of the weights that are."""
    biases = {"first": [0.5, 0.5, 0.5], "second": [0.4, 0.5, 0.6], "third": [0.9, 0.9, 0.9]}
    for name, bias in biases.items():
        constant(trained(workspace, name), bias)
    comparison = comparisons.compare([workspace / name for name in biases])
    raw = open_run(workspace / "first").data().test.raw.double().numpy()
    nll = {
        name: ((raw - np.float32(bias)) ** 2).sum(1) / 2 + 1.5 * np.log(2 * np.pi)
        for name, bias in biases.items()
    }
    (group,) = comparison.groups
    order = sorted(biases, key=lambda name: nll[name].mean())
    assert group["runs"] == order and group["reference"] == order[0] and group["rows"] == len(raw)
    for name in order[1:]:
        gap = nll[name] - nll[order[0]]
        for key, sign in (("nll", 1), ("elbo", -1)):
            estimate = group["differences"][name][key]
            assert estimate["mean"] == pytest.approx(sign * gap.mean(), abs=1e-6)
            assert estimate["se"] == pytest.approx(gap.std(ddof=1) / np.sqrt(len(raw)), abs=1e-6)
        assert group["differences"][name]["kl"]["mean"] == 0
        low, high = group["differences"][name]["nll"]["interval"]
        assert (low + high) / 2 == pytest.approx(gap.mean(), abs=1e-6)
        assert (
            2 < (high - low) / 2 / (gap.std(ddof=1) / np.sqrt(len(raw))) < 2.7
        )  # Tukey's 2.34, with 30 rows 2.5
        assert group["differences"][name]["told_apart"] == (low > 0)
        roots = [np.sqrt(((raw - np.float32(biases[one])) ** 2).mean()) for one in (name, order[0])]
        error = group["differences"][name]["reconstruction_error"]
        assert error["mean"] == pytest.approx(roots[0] - roots[1], abs=1e-6)
    assert comparison.refusals == [] and group["differences"]["third"]["told_apart"]


PLAIN = {"name": "plain"}
REFUSED = [  # a run beside `plain`, the ground, whether errors may be ranked all the same
    ({"name": "bernoulli", "likelihood": "bernoulli"}, "likelihood", True),
    ({"name": "continuous", "likelihood": "continuous-bernoulli"}, "likelihood", True),
    ({"name": "standard", "scaling": "standard"}, "scaling", True),
    ({"name": "more", "samples": 4}, "importance samples", True),
    (
        {"name": "autoencoder", "train": TrainConfig(epochs=1, objective="autoencoder")},
        "spread of q(z|x)",
        True,
    ),
    ({"name": "binary", "binarise": "threshold"}, "binarisation", False),
    ({"name": "another split", "split_seed": 1}, "rows", False),
    ({"name": "other data", "source": "other"}, "data", False),
    ({"name": "told", "condition": ("kind",), "label": None}, "what the model is told", False),
]


@pytest.mark.parametrize(
    ("other", "ground", "error"), REFUSED, ids=[case[0]["name"] for case in REFUSED]
)
def test_runs_are_not_ranked_where_their_numbers_are_of_two_kinds(workspace, other, ground, error):
    folders = [trained(workspace, **PLAIN), trained(workspace, **other)]
    comparison = comparisons.compare(folders)
    assert comparison.groups == []
    assert bool(comparison.error_groups) == error
    refusal = next(item for item in comparison.refusals if item["ground"] == ground)
    assert other["name"] in [name for names in refusal["values"].values() for name in names]
    assert other["name"] in refusal["reason"] and "Not ranked" in refusal["reason"]
    others = {item["ground"] for item in comparison.refusals} - {ground}
    assert others <= {"data"}  # which changes with what a model is told
    numbers = comparison.to_dict()["runs"]
    assert all(run["reconstruction_error"]["mean"] > 0 for run in numbers)  # shown all the same
    assert ("nll" in numbers[1]) == (other["name"] != "autoencoder")
    assert "nan" not in str([table.rows for table in comparison.tables()])


def test_runs_of_one_kind_are_ranked_among_themselves(workspace):
    names = [PLAIN, REFUSED[0][0], {"name": "shared", "likelihood": "gaussian-shared"}]
    comparison = comparisons.compare([trained(workspace, **options) for options in names])
    (group,) = comparison.groups
    assert sorted(group["runs"]) == ["plain", "shared"] and group["measure"] == "nll"
    (errors,) = comparison.error_groups
    assert sorted(errors["runs"]) == ["bernoulli", "plain", "shared"]
    assert comparison.options["likelihood"] == ["gaussian-identity", "bernoulli", "gaussian-shared"]


def test_scores_are_kept_and_new_ones_agree_with_them(workspace):
    folder = trained(workspace, "kept")
    run = open_run(folder)
    header, kept = scored_rows(run)
    assert header["samples"] == 3 and kept["index"].tolist() == run.data().test.index.tolist()
    for name in ("elbo", "nll", "kl", "log_likelihood"):
        assert kept[name].mean().item() == pytest.approx(run.evaluation[name]["mean"], rel=1e-12)
    assert kept["squared_error"].mean().sqrt().item() == pytest.approx(
        run.evaluation["reconstruction_error"]["mean"]
    )
    file = (folder / "scores.safetensors").read_bytes()
    (folder / "scores.safetensors").unlink()
    _, again = scored_rows(run)  # as of a run of an older version
    assert all(torch.equal(kept[name], again[name]) for name in again)
    (folder / "scores.safetensors").write_bytes(file)
    header, more = scored_rows(run, samples=50)
    assert header["samples"] == 50 and more["nll"].std() < kept["nll"].std() / 1.5
    assert (folder / "scores.safetensors").read_bytes() == file


def test_refined_posteriors_give_the_truth_that_a_spoilt_one_hides(workspace, tmp_path, capsys):
    """p(x) is known in closed form; one of two equal models has an encoder that is too narrow and beside the truth."""
    folders = [trained(workspace, name, samples=200) for name in ("sound", "spoilt")]
    for folder in folders:
        constant(folder, [0.5, 0.5, 0.5])
    vae = open_run(folders[1]).vae
    with torch.no_grad():
        vae.encoder.output.bias.copy_(torch.tensor([1.5, 1.5, -1.5, -1.5]))  # softplus(-1.5) = .2
    save(vae, folders[1] / "model.safetensors")
    raw = open_run(folders[0]).data().test.raw.double().numpy()
    truth = (((raw - 0.5) ** 2).sum(1) / 2 + 1.5 * np.log(2 * np.pi)).mean()
    plain, refined = (comparisons.compare(folders, refine=steps) for steps in (0, 100))
    (_, off), (_, close) = (
        (entry.numbers() for entry in plain.entries),
        (entry.numbers() for entry in refined.entries),
    )
    assert off["nll"]["mean"] > truth + 0.5 and off["high_pareto_k"]["mean"] > MOST_ROWS
    assert (
        close["nll"]["mean"] == pytest.approx(truth, abs=0.02)
        and plain.groups[0]["reference"] == "sound"
    )
    assert any(
        "The NLL of spoilt is too high for" in note and "`refine=50`" in note
        for note in plain.notes()
    )
    assert not any("too high" in note for note in refined.notes())
    assert any("100 steps from the encoder's" in note for note in refined.notes())
    assert (
        cli.run(
            ["compare", *map(str, folders), "--refine", "100", "--out", str(tmp_path / "beside")]
        )
        == 0
    )
    assert "rows with Pareto k > 0.7" in capsys.readouterr().out.replace("\n", " ")
    page = re.sub("</?span[^>]*>", "", (tmp_path / "beside" / "comparison.html").read_text())
    assert "--refine 100 --out NEW" in page
    assert {run["refine"] for run in refined.to_dict()["runs"]} == {100}
    assert cli.run(["compare", *map(str, folders), "--refine", "-1"]) == 2


def test_an_older_run_without_a_pareto_k_is_pooled_with_a_newer_one(workspace):
    folders = [
        trained(workspace, f"of seed {seed}", samples=30, train=TrainConfig(epochs=1, seed=seed))
        for seed in (0, 1)
    ]
    header, tensors = read_sealed(folders[1] / "scores.safetensors")
    older = {name: value for name, value in tensors.items() if name not in ("pareto_k", "ess")}
    write_sealed(folders[1] / "scores.safetensors", header, older)
    (comparison,) = comparisons.compare(folders).seeds
    assert comparison["nll"]["seeds"] == 2 and "high_pareto_k" not in comparison


def test_seeds_of_one_configuration_are_pooled(workspace):
    folders = [
        trained(workspace, f"seed {seed}", train=TrainConfig(epochs=1, seed=seed))
        for seed in range(3)
    ]
    comparison = comparisons.compare(
        [*folders, trained(workspace, "shared", likelihood="gaussian-shared")]
    )
    (pooled,) = comparison.seeds
    means = [open_run(folder).evaluation["nll"] for folder in folders]
    assert pooled["runs"] == ["seed 0", "seed 1", "seed 2"]
    assert pooled["nll"]["mean"] == pytest.approx(np.mean([item["mean"] for item in means]))
    variance = (
        np.mean([item["se"] ** 2 for item in means])
        + np.var([item["mean"] for item in means], ddof=1) / 3
    )
    assert pooled["nll"]["se"] == pytest.approx(np.sqrt(variance))


def test_the_command_prints_and_writes_the_same_numbers(workspace, capsys, monkeypatch):
    torch.set_default_dtype(torch.float32)
    names = ["plain", "shared", "bernoulli"]
    for options in (PLAIN, {"name": "shared", "likelihood": "gaussian-shared"}, REFUSED[0][0]):
        trained(workspace, **options)
    monkeypatch.chdir(workspace)
    assert cli.run(["compare", *names, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert cli.run(["compare", *names, "--out", "beside"]) == 0
    out = capsys.readouterr().out
    assert read_json(workspace / "beside" / "comparison.json") == printed
    with open(workspace / "beside" / "comparison.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    (group,) = printed["ranked"]
    for line, run in zip(lines, printed["runs"], strict=True):
        assert line["run"] == run["name"] and float(line["nll"]) == run["nll"]["mean"]
        assert show(run["nll"]) in out
        if run["name"] in group["differences"]:
            assert (
                float(line["nll_difference_se"]) == group["differences"][run["name"]]["nll"]["se"]
            )
            assert show(group["differences"][run["name"]]["nll"]) in out
    page = (workspace / "beside" / "comparison.html").read_text()
    assert page.count('class="card drawn"') == 2  # curves of two kinds of nats
    assert (
        "Not ranked by density, because the runs differ in likelihood" in page
        and "likelihood" in out
    )


def test_curves_lie_over_each_other_and_the_steep_beginning_does_not_set_the_axis():
    keys = ("valid_elbo", "valid_log_likelihood", "valid_kl")
    history = [
        {"step": 10 * n, "best": n == 29, **dict.fromkeys(keys, -1e6 if n == 1 else -n)}
        for n in range(1, 31)
    ]
    other = [row | dict.fromkeys(keys, -2.0 * row["step"]) for row in history]
    figure = plot_compared_curves({"one": history, "two": other})
    assert [panel.get_title() for panel in figure.axes] == ["ELBO", "log-likelihood", "KL"]
    lines = [line for line in figure.axes[0].get_lines() if line.get_label() in ("one", "two")]
    assert lines[0].get_xdata().tolist() == [row["step"] for row in history]
    assert lines[1].get_ydata().tolist() == [row["valid_elbo"] for row in other]
    assert figure.axes[0].get_ylim()[0] > -1e3
    stars = [line for line in figure.axes[0].get_lines() if line.get_marker() == "*"]
    assert [(star.get_xdata()[0], star.get_ydata()[0]) for star in stars] == [
        (290, -29),
        (290, -580.0),
    ]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["one", "two"]
