"""The command line: each command from end to end, and what it says and leaves alone when the user is mistaken."""

import csv
import hashlib
import html
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pages
import pytest
from PIL import Image

from variform import read
from variform.config.data import DataConfig
from variform.data.reading import read_rows
from variform.evaluation import exploration
from variform.evaluation.tables import show
from variform.faces import cli
from variform.runs import own_rows, studies
from variform.runs.folder import RESULTS, SAMPLER_FILES, open_run
from variform.runs.records import read_config
from variform.runs.train import train_run
from variform.system.files import read_json
from variform.training.fit import Interrupted

COMMANDS = [
    "demo",
    "inspect",
    "train",
    "evaluate",
    "generate",
    "sampler",
    "encode",
    "decode",
    "reconstruct",
    "impute",
    "outliers",
    "draw",
    "explore",
    "serve",
    "compare",
    "info",
    "explain",
    "export",
    "card",
    "push",
    "pull",
    "profile",
    "open",
    "config",
    "completion",
]
SMALL = [
    "--epochs",
    "2",
    "--hidden",
    "6",
    "--batch-size",
    "128",
    "--latent-dim",
    "2",
    "--nll-samples",
    "3",
    "--learning-rate",
    "0.01",
]
GREY = ["--likelihood", "bernoulli"]
TABLE = ["designs of 2026.csv", "--label", "kind", "--likelihood", "gaussian", *SMALL]


pytestmark = pytest.mark.usefixtures("single_precision")


def write_designs(path, seed=0):
    """300 rows in the user's own units: a length near 3 and a temperature near -70, and a label."""
    rows = np.random.default_rng(seed).normal([3, -70], [0.1, 5], (300, 2)).astype(np.float32)
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["length [mm]", "kind", "T, inside"])
        writer.writerows(
            [str(length), "ab"[int(length > 3)], str(inside)] for length, inside in rows
        )
    return rows


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with data and two finished runs: of images and of a table."""
    folder = tmp_path_factory.mktemp("finished")
    write_designs(folder / "designs of 2026.csv")
    before = Path.cwd()
    os.chdir(folder)
    try:
        assert cli.run(["train", "digits", *GREY, *SMALL, "--out", "run/"]) == 0
        assert cli.run(["train", *TABLE, "--out", "a table"]) == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def workspace(finished, tmp_path, monkeypatch):
    """A copy of it, which may be changed, as the current directory."""
    shutil.copytree(finished, tmp_path / "place")
    monkeypatch.chdir(tmp_path / "place")
    return tmp_path / "place"


@pytest.fixture
def no_pictures(monkeypatch):
    monkeypatch.setattr("variform.runs.train.draw_pictures", lambda *_: [])
    monkeypatch.setattr("variform.runs.train.write_report", lambda *_: None)
    monkeypatch.setattr("variform.runs.train.write_explorer", lambda *_, **__: "")


def tree(folder):
    """Every path under `folder` with a hash of what is there."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        if path.is_file()
        else ""
        for path in sorted(folder.rglob("*"))
    }


def json_of(arguments, capsys):
    """The one JSON document that a command prints."""
    capsys.readouterr()
    assert cli.run(arguments) == 0
    return json.loads(
        capsys.readouterr().out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON")
    )


# --- help ---------------------------------------------------------------------------------------------------------


def test_every_help_answers_without_torch(capsys):
    calls = [
        ["--help"],
        *([name, "--help"] for name in COMMANDS),
        ["study", "--help"],
        ["study", "latent-dim", "--help"],
        ["design", "--help"],
        ["design", "ask", "--help"],
        ["design", "tell", "--help"],
        ["design", "target", "--help"],
        ["design", "select", "--help"],
    ]
    for call in calls:
        assert cli.run(call) == 0
        out, err = capsys.readouterr()
        assert f"Usage: variform {' '.join(call[:-1])}".strip() in out and err == ""
    code = f"import sys; from variform.faces.cli import run; print([run(i) for i in {calls}], 'torch' in sys.modules)"
    out = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert out.splitlines()[-1] == f"{[0] * len(calls)} False"


# --- each command, from end to end --------------------------------------------------------------------------------


def test_train_leaves_a_whole_run_and_prints_lines_that_stay_lines(workspace, capsys):
    assert cli.run(["train", "digits", *GREY, *SMALL, "--out", "again"]) == 0
    out, err = capsys.readouterr()
    note, *lines = err.splitlines()
    assert note.startswith("Note: split: by hash of each row")
    assert len(lines) == 2 and all(
        re.fullmatch(r"epoch +\d .* examples/s( best)?", line) for line in lines
    )
    assert out.endswith("Report: again/report.html\n") and not re.search(
        "^epoch", out, re.MULTILINE
    )
    again, run = tree(workspace / "again"), tree(workspace / "run")
    timed = {"history.jsonl", "checkpoint.safetensors", "report.html", "figures/curves.png"}
    later = {
        "validation.json",
        "samplers.json",
        *SAMPLER_FILES.values(),
    }
    later |= {"figures/draws.png", "figures/conditions.png", "figures/responses.png"}
    later.add("figures/levels.png")
    later |= {"figures/architecture.svg", "figures/film.gif", "film.html", "film.safetensors"}
    later |= {"validation-scores.safetensors", "axes.json", *own_rows.FILES}
    assert (
        again.keys() == run.keys() >= {*RESULTS} - later
    )  # of a study, of variform sampler, of other likelihoods
    assert {name for name in run if run[name] != again[name]} <= timed


def test_evaluate_prints_one_json_document(workspace, capsys):
    numbers = json_of(["evaluate", "run", "--json", "--samples", "4"], capsys)
    assert numbers["unit"] == "nats" and numbers["split"] == "test"
    for name in ("elbo", "log_likelihood", "kl", "posterior_gap", "reconstruction_error"):
        assert set(numbers[name]) == {"mean", "se", "n"}
        assert numbers[name]["n"] == numbers["rows"] == numbers["data"]["rows"]["test"]
    assert set(numbers["nll"]) == {"mean", "se", "n", "samples"} and numbers["nll"]["samples"] == 4
    assert numbers["elbo"]["mean"] == pytest.approx(
        numbers["log_likelihood"]["mean"] - numbers["kl"]["mean"]
    )
    valid = json_of(["evaluate", "run", "--json", "--samples", "3", "--split", "valid"], capsys)
    assert valid["rows"] == numbers["data"]["rows"]["valid"]
    assert (
        json_of(["evaluate", "run", "--json", "--samples", "3"], capsys)
        == open_run("run").evaluation
    )
    assert cli.run(["evaluate", "run", "--samples", "3"]) == 0
    assert show(open_run("run").evaluation["elbo"]) in capsys.readouterr().out


def test_generate_writes_images_arrays_and_tables(workspace, capsys):
    assert cli.run(["generate", "run", "--count", "12", "--out", "new digits/"]) == 0
    assert capsys.readouterr().out == "12 rows: new digits\n"
    assert cli.run(["generate", "run", "--count", "12", "--out", "new.npy"]) == 0
    arrays = np.load("new.npy")
    assert arrays.shape == (12, 1, 8, 8) and 0 <= arrays.min() < arrays.max() <= 16
    pixels = np.stack(
        [np.asarray(Image.open(path)) for path in sorted(Path("new digits").iterdir())]
    )
    np.testing.assert_allclose(pixels, arrays[:, 0] / 16 * 255, atol=0.5001)
    for name, options in (("a", []), ("b", []), ("c", ["--seed", "1"]), ("d", ["--draw"])):
        assert (
            cli.run(["generate", "a table", "--count", "400", "--out", f"{name}.csv", *options])
            == 0
        )
    files = {name: Path(f"{name}.csv").read_text() for name in "abcd"}
    assert files["a"] == files["b"] and len(set(files.values())) == 3
    with open("d.csv", newline="") as file:
        head, *rows = csv.reader(file)
    assert head == ["length [mm]", "T, inside"]
    np.testing.assert_allclose(
        np.array(rows, float).mean(0), [3, -70], rtol=0.06
    )  # in the user's units


def test_sampler_fits_saves_compares_and_generates(workspace, capsys, no_pictures):
    command = ["sampler", "a table", "--samples", "20"]
    numbers = json_of([*command, "--json"], capsys)
    assert read_json("a table/samplers.json") == numbers
    assert set(numbers["samplers"]) == {"prior", "gmm"} and numbers["decoded"] == "draws"
    file = Path("a table/sampler-gmm.safetensors").read_bytes()
    assert cli.run(command) == 0  # the same bits again
    out = capsys.readouterr().out
    assert (
        Path("a table/sampler-gmm.safetensors").read_bytes() == file
        and "Saved: a table/sampler-gmm" in out
    )
    for sampler in numbers["samplers"].values():
        assert show(sampler["nll"]) in out and show(sampler["samples"]["coverage"]) in out
    evaluated = json_of(["evaluate", "a table", "--json", "--samples", "20"], capsys)["nll"]
    assert numbers["samplers"]["prior"]["nll"].items() <= evaluated.items()
    spread = {}
    for name, options in {"prior": [], "gmm": [], "cold": ["--temperature", "0.01"]}.items():
        sampler = "gmm" if name == "cold" else name
        generate = [
            "generate",
            "a table",
            "--count",
            "300",
            "--sampler",
            sampler,
            *options,
            "--out",
        ]
        assert cli.run([*generate, f"{name}.csv"]) == 0
        spread[name] = np.loadtxt(f"{name}.csv", delimiter=",", skiprows=1, usecols=0).std()
    assert len(set(spread.values())) == 3
    assert cli.run(["generate", "a table", "--count", "300", "--out", "default.csv"]) == 0
    assert Path("default.csv").read_bytes() == Path("prior.csv").read_bytes()
    # A new run sets it aside, and other weights refuse it.
    assert cli.run(["train", *TABLE, "--seed", "4", "--out", "a table", "--overwrite"]) == 0
    assert Path("a table/replaced-1/sampler-gmm.safetensors").read_bytes() == file
    shutil.copy("a table/replaced-1/sampler-gmm.safetensors", "a table")
    assert cli.run(["generate", "a table", "--sampler", "gmm", "--out", "no.csv"]) == 2
    assert (
        "must be a sampler fitted to this model" in capsys.readouterr().err
        and not Path("no.csv").exists()
    )


def test_encode_decode_and_reconstruct_agree(workspace, capsys):
    source = "designs of 2026.csv"
    for name in ("first", "second"):
        assert cli.run(["encode", "a table", source, "--out", f"{name}.csv", "--std"]) == 0
    assert Path("first.csv").read_bytes() == Path("second.csv").read_bytes()
    with open("first.csv", newline="") as file:
        head, *rows = csv.reader(file)
    assert head == ["row", "z1", "z2", "std_z1", "std_z2"] and [row[0] for row in rows] == [
        str(n) for n in range(300)
    ]
    means = np.array(rows, np.float32)[:, 1:3]
    vae = open_run("a table").vae
    assert np.array_equal(
        exploration.encode(vae, read_rows(source, vae.schema))[0], means
    )  # no digit was lost
    np.save("points.npy", means)
    assert cli.run(["decode", "a table", "points.npy", "--out", "decoded.npy"]) == 0
    error = json_of(["reconstruct", "a table", source, "--out", "rebuilt.npy", "--json"], capsys)[
        "reconstruction_error"
    ]
    np.testing.assert_allclose(np.load("decoded.npy"), np.load("rebuilt.npy"), rtol=1e-6)
    squares = (np.load("rebuilt.npy") - write_designs(workspace / "same.csv")).astype(float) ** 2
    assert error["mean"] == pytest.approx(np.sqrt(squares.mean()), rel=1e-5) and error["n"] == 300
    for command, file in (("encode", "latents.csv"), ("reconstruct", "reconstructed.csv")):
        assert cli.run([command, "a table"]) == 0
        assert (workspace / "a table" / file).is_file()


def test_rows_are_found_again_in_what_encode_wrote_and_decode_reads_it(workspace, capsys):
    for options in ([], ["--std"]):
        for suffix in (".csv", ".npy"):
            name = f"all{len(options)}{suffix}"
            assert cli.run(["encode", "a table", *options, "--out", name]) == 0
            assert cli.run(["decode", "a table", name, "--out", f"decoded {name}.npy"]) == 0
    decoded = [np.load(path) for path in sorted(workspace.glob("decoded *.npy"))]
    assert len(decoded) == 4 and all(np.array_equal(decoded[0], other) for other in decoded[1:])
    with open("all1.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    splits = open_run("a table").data()
    for part in ("train", "valid", "test"):
        chosen = [int(line["row"]) for line in lines if line["split"] == part]
        assert chosen == getattr(splits, part).index.tolist()
    table = np.loadtxt(TABLE[0], delimiter=",", skiprows=1, usecols=(0, 2))
    means = exploration.encode(open_run("a table").vae, read_rows(TABLE[0], splits.schema))[0]
    for line in lines[::40]:
        row = int(line["row"])
        assert (float(line["z1"]), float(line["z2"])) == pytest.approx(means[row], rel=1e-6)
        assert table[row].tolist() == read_rows(TABLE[0], splits.schema).raw[row].tolist()


def test_columns_of_a_csv_file_are_matched_by_name(workspace, capsys):
    with open(TABLE[0], newline="") as file:
        head, *rows = csv.reader(file)
    tables = {
        "turned.csv": ([2, 0, 1], None),
        "lacking.csv": ([0, 1], None),
        "surplus.csv": ([0, 1, 2, 2], "id"),
    }
    for name, (order, last) in tables.items():
        with open(name, "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(
                [
                    *(head[column] for column in order[: 3 if last else None]),
                    *([last] if last else []),
                ]
            )
            writer.writerows(
                [
                    *(row[column] for column in order[: 3 if last else None]),
                    *(["x1"] if last else []),
                ]
                for row in rows
            )
    assert cli.run(["encode", "a table", TABLE[0], "--out", "straight.npy"]) == 0
    assert cli.run(["encode", "a table", "turned.csv", "--out", "turned.npy"]) == 0
    assert np.array_equal(np.load("straight.npy"), np.load("turned.npy"))
    for name, message in {
        "lacking.csv": "lacking.csv lacks 'T, inside'. Add what it lacks",
        "surplus.csv": "surplus.csv has 'id' too much. Delete what is too much",
    }.items():
        assert cli.run(["encode", "a table", name, "--out", "no.npy"]) == 2
        assert message in capsys.readouterr().err


def test_draw_draws_again_and_info_tells_what_it_is(workspace, capsys):
    figures = tree(workspace / "run" / "figures")
    shutil.rmtree("run/figures")
    assert cli.run(["draw", "run"]) == 0
    assert tree(workspace / "run" / "figures") == figures
    values = json_of(["info", "run/model.safetensors", "--json"], capsys)
    assert values["model"]["latent_dim"] == 2 and values["schema"]["shape"] == [1, 8, 8]
    whole = json_of(["info", "run", "--json"], capsys)
    assert whole["model"] == values and whole["evaluation"] == open_run("run").evaluation
    done = {"epochs": 2, "of_epochs": 2, "steps": 24, "of_steps": 24, "finished": True}
    assert done.items() <= whole["training"].items()
    assert cli.run(["info", "run"]) == 0
    out = capsys.readouterr().out
    for text in (
        "1,422 train, 178 valid, 197 test",
        "bernoulli likelihood, 2 latent dimensions, mlp 6, posterior diagonal, prior N(0, I)",
        "2 of 2 epochs, 24 steps",
        show(open_run("run").evaluation["nll"]),
    ):
        assert text in out
    assert cli.run(["info", "run/model.safetensors"]) == 0
    assert "model.latent_dim" in capsys.readouterr().out


def test_explore_writes_the_page_of_the_run_or_of_other_rows(workspace, capsys, monkeypatch):
    """The one in the run's folder is written anew, another one is a new file; no path of the user's is in either."""
    before = (workspace / "a table" / "explorer.html").read_bytes()
    assert cli.run(["explore", "a table"]) == 0
    assert "Explorer, 0." in capsys.readouterr().out
    assert (workspace / "a table" / "explorer.html").read_bytes() == before
    write_designs(workspace / "designs.csv", seed=1)
    assert cli.run(["explore", "a table", "--data", "designs.csv", "--out", "other.html"]) == 0
    texts = [(workspace / name).read_text() for name in ("a table/explorer.html", "other.html")]
    shown = [pages.json_of(text) for text in texts]
    totals = [re.search(r'"total": (\d+)', page) for page in shown]
    assert [match and match[1] for match in totals] == ["300", "300"] and shown[0] != shown[1]
    assert all(
        str(workspace.parent) not in page and str(Path.home()) + "/" not in page
        for page in texts + shown
    )
    assert 'href="explorer.html"' in (workspace / "a table" / "report.html").read_text()
    monkeypatch.setattr("variform.runs.explorer.MOST_EMBEDDED", 10)
    assert cli.run(["explore", "a table"]) == 2
    assert "variform serve a table" in capsys.readouterr().err
    assert cli.run(["train", "digits", *GREY, *SMALL, "--out", "large"]) == 0
    assert not (workspace / "large" / "explorer.html").exists()
    assert "variform serve large" in (workspace / "large" / "report.html").read_text()


def test_info_opens_an_interrupted_run(workspace, capsys):
    rows = Path("run/history.jsonl").read_text().splitlines()
    for name in ("evaluation.json", "model.safetensors", "last.safetensors"):
        Path("run", name).unlink()
    Path("run/history.jsonl").write_text(rows[0] + "\n")
    assert cli.run(["info", "run"]) == 0
    out = capsys.readouterr().out
    assert "1 of 2 epochs, 12 steps" in out and "not finished: variform train --resume run" in out
    for name in ("history.jsonl", "data.json"):  # killed at once
        Path("run", name).unlink()
    training = json_of(["info", "run", "--json"], capsys)["training"]
    assert training["epochs"] == 0 and training["of_epochs"] == 2 and not training["finished"]


def test_the_command_in_the_report_repeats_the_run(workspace, tmp_path, monkeypatch, no_pictures):
    for name in ("run", "a table"):
        text = re.sub("</?span[^>]*>", "", (workspace / name / "report.html").read_text())
        page = html.unescape(text)
        command = re.search(r"variform train [^<\n]*", page)
        assert command
        monkeypatch.chdir(tmp_path)
        words = shlex.split(command.group())[1:]
        assert words.pop() == "NEW" and cli.run([*words, f"{name} again"]) == 0
        for file in ("config.toml", "model.safetensors", "last.safetensors", "evaluation.json"):
            assert (tmp_path / f"{name} again" / file).read_bytes() == (
                workspace / name / file
            ).read_bytes()


def test_options_of_a_file_give_way_to_those_of_the_command(workspace, no_pictures):
    assert (
        cli.run(
            [
                "train",
                "--config",
                "a table/config.toml",
                "--latent-dim",
                "1",
                "--beta",
                "2",
                "--out",
                "b",
            ]
        )
        == 0
    )
    old, new = (
        (workspace / name / "config.toml").read_text().splitlines() for name in ("a table", "b")
    )
    changed = {(a, b) for a, b in zip(old, new, strict=True) if a != b}
    assert changed == {("latent_dim = 2", "latent_dim = 1"), ("beta = 1.0", "beta = 2.0")}


def test_an_unused_option_of_an_older_run_does_not_close_it(workspace, no_pictures):
    """It is refused where a training begins, and nowhere else; a value that is the default says nothing."""
    config = Path("run/config.toml")
    config.write_text(config.read_text().replace("components = 100", "components = 50"))
    assert open_run("run").config.model.components == 50
    assert cli.run(["evaluate", "run", "--samples", "2"]) == 0
    assert (
        cli.run(["train", "digits", *GREY, *SMALL, "--components", "100", "--out", "default"]) == 0
    )
    assert cli.run(["train", "--config", "default/config.toml", "--out", "again"]) == 0


def test_a_source_behind_a_link_is_read_again_under_its_name(workspace, no_pictures):
    """As in a cache of blobs: the link's name tells the format, its target's does not."""
    Path(TABLE[0]).rename("0f2d")
    Path("link.csv").symlink_to("0f2d")
    assert cli.run(["train", "link.csv", *TABLE[1:], "--out", "linked"]) == 0
    assert cli.run(["evaluate", "linked", "--samples", "2"]) == 0
    assert open_run("linked").config.source == str(workspace / "link.csv")


def test_a_folder_named_digits_does_not_hide_the_built_in_name(workspace, no_pictures):
    Path("digits").mkdir()
    shutil.copy("designs of 2026.csv", "digits/1.csv")
    assert cli.run(["train", "digits", *GREY, *SMALL, "--out", "again"]) == 0
    assert (
        Path("again/model.safetensors").read_bytes() == Path("run/model.safetensors").read_bytes()
    )
    assert (
        cli.run(
            [
                "study",
                "latent-dim",
                "digits",
                *SMALL[:4],
                "--nll-samples",
                "1",
                "--dims",
                "1",
                "--out",
                "s",
            ]
        )
        == 0
    )
    assert read_config(Path("s/study.toml")).source == "digits"


def test_a_subset_of_the_sprites_is_trained_on_by_its_name_and_read_again(workspace, no_pictures):
    assert cli.run(["train", "sprites:300", *GREY, *SMALL, "--out", "shapes"]) == 0
    assert cli.run(["evaluate", "shapes", "--samples", "2"]) == 0
    assert open_run("shapes").config.source == "sprites:300"


def test_an_autoencoder_claims_no_bound_and_is_drawn_all_the_same(workspace):
    assert (
        cli.run(["train", "digits", "--objective", "autoencoder", *GREY, *SMALL, "--out", "plain"])
        == 0
    )
    lines = (workspace / "plain" / "history.jsonl").read_text().splitlines()
    rows = [
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
        for line in lines
    ]
    assert len(rows) == 2 and all(
        row["valid_elbo"] is None and row["valid_loss"] > 0 for row in rows
    )
    assert any(
        "Compare reconstruction errors" in note
        for note in open_run(workspace / "plain").evaluation["notes"]
    )
    assert cli.run(["draw", "plain"]) == 0


def test_a_test_split_that_duplicates_make_tiny_is_warned_of(workspace, capsys, no_pictures):
    """Of 603 rows 600 are one of 20, and a seed is taken that leaves no more than three to the test rows."""
    many = [f"{n % 20 / 20},1" if n % 2 else f"{n % 20 / 20},2" for n in range(600)]
    Path("many.csv").write_text("\n".join(["a,b", *many, "0.01,1", "0.02,1", "0.03,2"]))
    seed = next(n for n in range(2000) if _test_rows("many.csv", n) in (1, 2, 3))
    train = ["train", "many.csv", "--likelihood", "gaussian", "--split-seed", str(seed), *SMALL]
    assert cli.run([*train, "--out", "many"]) == 0
    out = capsys.readouterr().out
    assert re.search(
        r"Note: Only [123] of 603 rows are in test: .* 58\d of all 603 rows repeat others", out
    )
    assert cli.run(["evaluate", "a table", "--samples", "2"]) == 0
    assert "Note: Only" not in capsys.readouterr().out


def _test_rows(source, seed):
    try:
        return len(read(source, DataConfig(split_seed=seed)).test)
    except ValueError:  # none at all
        return 0


# --- interrupted, resumed, replaced -------------------------------------------------------------------------------


def test_resume_of_a_finished_run_ends_with_the_same_files(workspace):
    before = tree(workspace)
    assert cli.run(["train", "--resume", "run"]) == 0
    after = tree(workspace)
    assert after.keys() == before.keys()
    assert {name for name in before if before[name] != after[name]} == set()


def test_importance_samples_are_part_of_the_run(workspace, capsys, no_pictures):
    """`evaluate` and `--resume` take those that the run was begun with; `--resume` may also change them."""
    assert json_of(["evaluate", "run", "--json"], capsys) == open_run("run").evaluation
    weights = Path("run/model.safetensors").read_bytes()
    assert (
        cli.run(["train", "--resume", "run", "--nll-samples", "1000"]) == 0
    )  # the default, but asked for
    assert (
        open_run("run").config.evaluation.nll_samples
        == open_run("run").evaluation["nll"]["samples"]
        == 1000
    )
    assert Path("run/model.safetensors").read_bytes() == weights
    assert cli.run(["train", "--config", "a table/config.toml", "--out", "again"]) == 0
    assert open_run("again").evaluation["nll"]["samples"] == 3
    text = Path("run/config.toml").read_text()
    Path("run/config.toml").write_text(
        text[: text.index("[evaluation]")]
    )  # as an older version wrote it
    assert open_run("run").config.evaluation.nll_samples == 1000


def test_a_run_may_refine_its_own_evaluation(workspace, capsys, no_pictures):
    """What is asked for once holds later too; a q(z|x) that is improved row by row has the better ELBO."""
    assert cli.run(["train", "--resume", "run", "--refine", "3", "--nll-samples", "5"]) == 0
    own = open_run("run").evaluation
    assert own["refined"]["elbo"]["mean"] > own["elbo"]["mean"]
    capsys.readouterr()
    assert json_of(["evaluate", "run", "--json"], capsys)["refined"] == own["refined"]
    assert "refined" not in json_of(["evaluate", "run", "--refine", "0", "--json"], capsys)


def test_a_run_killed_before_its_first_checkpoint_is_resumed(workspace, no_pictures):
    before = tree(workspace / "run")
    for name in before:
        if name not in ("config.toml", "data.json") and (workspace / "run" / name).is_file():
            (workspace / "run" / name).unlink()
    Path("run/.checkpoint-0123abcd.safetensors").write_text(
        "half"
    )  # what a kill in mid-write leaves
    assert cli.run(["train", "--resume", "run"]) == 0
    after = tree(workspace / "run")
    assert all(
        after[name] == before[name]
        for name in ("model.safetensors", "last.safetensors", "evaluation.json")
    )
    assert not any(name.startswith(".") for name in after)


def test_a_run_stopped_in_its_evaluation_says_how_to_go_on(
    workspace, monkeypatch, capsys, no_pictures
):
    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("variform.runs.train.assess", stop)
        assert cli.run(["train", "digits", *GREY, *SMALL, "--out", "new run"]) == 130
    assert capsys.readouterr().err.endswith("go on with: variform train --resume 'new run'\n")
    assert cli.run(["train", "--resume", "new run"]) == 0
    assert open_run("new run").evaluation == open_run("run").evaluation


def test_overwrite_sets_the_results_aside_and_keeps_foreign_files(
    workspace, monkeypatch, no_pictures
):
    foreign = {"notes.txt", "figures/mine.png", "latents.csv", ".hidden-0123abcd.txt"}
    for name in foreign:
        (workspace / "run" / name).write_text("mine")
    old = tree(workspace / "run")
    train = ["train", "digits", *GREY, *SMALL, "--seed", "5", "--out", "run", "--overwrite"]

    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("variform.runs.train.fit", stop)
        assert cli.run(train) == 130
    left = tree(workspace / "run")
    assert {name: left[f"replaced-1/{name}"] for name in RESULTS if name in old} == {
        name: old[name] for name in RESULTS if name in old
    }
    assert (
        not {"model.safetensors", "evaluation.json", "report.html", "history.jsonl"} & left.keys()
    )
    assert cli.run(["evaluate", "run"]) == 2  # never the old model beside the new configuration
    assert cli.run(train) == 0
    assert all((workspace / "run" / name).read_text() == "mine" for name in foreign)
    assert open_run("run").config.train.seed == 5


def test_an_interrupted_study_goes_on_without_training_anything_twice(
    workspace, monkeypatch, capsys
):
    command = [
        "study",
        "latent-dim",
        *TABLE[:-4],
        "--dims",
        "1,2",
        "--nll-samples",
        "3",
        "--out",
        "study",
        "--json",
    ]
    trained = []

    def train(config, folder, **options):
        if config.model.latent_dim == stop_at:
            raise Interrupted(1, 2, folder)
        trained.append(folder.name)
        return train_run(config, folder, **options)

    monkeypatch.setattr(studies, "train_run", train)
    stop_at = 2
    assert cli.run(command) == 130
    assert "give the same command to go on" in capsys.readouterr().err
    stop_at = None
    first = json_of(command, capsys)
    assert trained == ["dim-1-seed-0", "dim-2-seed-0"]
    assert [row["latent_dim"] for row in first["rows"]] == [1, 2] and first["recommended"] in (1, 2)
    assert {row["nll"]["n"] for row in first["rows"]} == {open_run("a table").evaluation["rows"]}
    assert json_of(command, capsys) == first
    weights = Path("study/dim-1-seed-0/model.safetensors").read_bytes()
    command[command.index("--nll-samples") + 1] = "50"
    more = json_of(command, capsys)  # more samples: evaluated again, not trained again
    assert all(
        a["nll"] != b["nll"] and a["kl"] == b["kl"]
        for a, b in zip(first["rows"], more["rows"], strict=True)
    )
    assert (
        len(trained) == 2 and Path("study/dim-1-seed-0/model.safetensors").read_bytes() == weights
    )
    before = tree(workspace / "study")
    write_designs(workspace / TABLE[0], seed=1)
    assert cli.run(command) == 2  # other data than those of the finished fits
    assert cli.run([*command, "--batch-size", "64"]) == 2
    assert cli.run(["train", "--resume", "study"]) == 2  # a study is no run
    assert tree(workspace / "study") == before
    assert json_of([*command, "--overwrite"], capsys)["rows"] != more["rows"]
    assert trained == ["dim-1-seed-0", "dim-2-seed-0"] * 2


def test_a_reader_that_leaves_early_is_no_error(workspace):
    code = "import sys; sys.stdout.reconfigure(write_through=True); from variform.faces.cli import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", code, "info", "run"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        process.stdout.close()
        assert (process.stderr.read(), process.wait()) == ("", 141)


# --- mistakes: one sentence, exit code 2, nothing written, nothing changed ----------------------------------------


@pytest.fixture(scope="module")
def mistakes(finished, tmp_path_factory):
    """Runs and files with something wrong, each named after it."""
    folder = tmp_path_factory.mktemp("mistakes") / "place"
    shutil.copytree(finished, folder)
    for name in ("broken", "changed", "moved", "edited", "prepared"):
        shutil.copytree(folder / "a table", folder / name)
    model = folder / "broken" / "model.safetensors"
    model.write_bytes(model.read_bytes()[:-1])
    other = {"changed": "changed.csv", "moved": "gone.csv"}
    write_designs(folder / "changed.csv", seed=1)
    for name, source in other.items():
        config = folder / name / "config.toml"
        config.write_text(
            config.read_text().replace(str(finished / TABLE[0]), str(folder / source))
        )
    config = folder / "edited" / "config.toml"
    config.write_text(config.read_text().replace('activation = "relu"', 'activation = "tanh"'))
    config = folder / "prepared" / "config.toml"
    config.write_text(config.read_text().replace('scaling = "auto"', 'scaling = "unit"'))
    (folder / "notes").mkdir()
    (folder / "notes" / "note.txt").write_text("mine")
    (folder / "unused.toml").write_text("[model]\ncomponents = 50\n")
    (folder / "typo.toml").write_text("[model]\nlatent_dims = 3\n")
    (folder / "nan.csv").write_text("a,b\n" + "1,2\n3,4\n" * 30 + "nan,5\n")
    (folder / "over.csv").write_text("a,b\n" + "".join(f"0.{row},{row}\n" for row in range(60)))
    (folder / "five.npy").write_bytes(b"no array")
    return folder


MISTAKES = [
    ("train", "needs data"),
    ("train none.csv", "does not exist"),
    ("train digit", "Did you mean 'digits'"),
    ("train five.npy", "five.npy"),
    ("train nan.csv --likelihood gaussian", "line 62 holds the text 'nan'"),
    (
        "train over.csv --likelihood bernoulli --scaling none --batch-size 9",
        "bernoulli needs values in [0, 1]",
    ),
    ("train digits --likelihood bernouli", "Did you mean 'bernoulli'?"),
    ("train digits --latent-dims 3", "Did you mean --latent-dim?"),
    (
        "train digits surplus",
        "variform train takes no more arguments; got surplus. Leave them out.",
    ),
    ("trian digits", "Did you mean variform train?"),
    ("train digits --beta -1", "--beta must be at least 0; got -1.0"),
    ("train digits --objective iwaes", "--objective must be one of elbo, iwae"),
    (
        "train digits --objective iwae --free-bits 1",
        "--free-bits must be left out with --objective iwae",
    ),
    (
        "train digits --learning-rate nan",
        "--learning-rate must be a finite number of at most 18 digits; got nan",
    ),
    ("train digits --epochs 1.5", "--epochs must be a whole number; got '1.5'"),
    ("train digits --epochs 0", "--epochs must be at least 1"),
    ("train digits --seed 99999999999999999999", "at most 18 digits"),
    ("train digits --hidden", "variform train needs --hidden; got none"),
    ("train digits --hidden 64,0", "each of --hidden must be at least 1"),
    ("train digits --hidden=64,0", "each of --hidden must be at least 1"),
    ("train digits --components 50", "--components must be left out with --prior normal"),
    (
        "train digits --transforms 5",
        "--transforms must be left out with --posterior diagonal and --prior normal",
    ),
    (
        "train digits --fixed-std 0.2 --likelihood gaussian",
        "--fixed-std must be left out with --likelihood gaussian",
    ),
    ("train digits --filters 8,8", "--filters must be left out with --network mlp"),
    ("train digits --config unused.toml", "--components must be left out with --prior normal"),
    (
        "study latent-dim digits --components 50",
        "--components must be left out with --prior normal",
    ),
    ("profile digits --filters 8,8", "--filters must be left out with --network mlp"),
    (
        "train digits --network cnn",
        "--network must be one of mlp, conv, residual, very-deep; got 'cnn'",
    ),
    ("train digits --network conv --filters 8,0", "each of --filters must be at least 1"),
    ("train digits --network conv --filters 8,8,8,8", "at most 3 numbers for images of 8 x 8"),
    (
        "train over.csv --network conv --likelihood gaussian --batch-size 9",
        "needs images, (channels, height, width)",
    ),
    ("train 1,2", "1,2 does not exist"),
    ("train digits --hidden 9000000000", "must fit in memory"),
    ("train digits --batch-size 9999", "must not exceed the 1422 training rows"),
    ("train digits --nll-samples 0", "--nll-samples must be at least 1"),
    ("train digits --label kind", "--label"),
    ("train digits --config typo.toml", "Did you mean 'latent_dim'?"),
    ("train digits --config none.toml", "there is none at none.toml"),
    ("train digits --config notes", "--config must name a TOML file"),
    ("train digits --out run", "must be new or empty; run is not"),
    ("train digits --out notes", "must be new or empty; notes is not"),
    ("train digits --out nan.csv", "nan.csv is a file"),
    ("train digits --out nan.csv --overwrite", "nan.csv is a file"),
    ("train digits --out nan.csv/inside", "nan.csv is a file"),
    ("train digits --out ''", "one is empty"),
    ("train digits --out=", "one is empty"),
    ("train --resume nowhere", "a run must be a folder with config.toml; nowhere is not"),
    ("train --resume notes", "a run must be a folder with config.toml; notes is not"),
    ("train --resume run --batch-size 9", "--resume goes on with a run as it was begun"),
    ("train --resume run --epochs 2", "--epochs must be more than the 2 of the run"),
    ("train digits --from nowhere", "--from must be the folder of a run or a model file"),
    ("train digits --from run --latent-dim 7", "must have its model; --latent-dim 7 is"),
    ("train digits --bookmarks pins.csv", "--bookmarks are points of the model that"),
    ("train digits --weight w", "--weight names a column of a table whose columns have names"),
    ("train digits --resume run", "--resume goes on with a run as it was begun"),
    ("train --resume run --out elsewhere", "--resume goes on with a run as it was begun"),
    ("train --resume run --nll-samples 0", "--nll-samples must be at least 1"),
    ("train --resume changed", "it has changed since"),
    ("train --resume moved", "gone.csv does not exist"),
    ("train --resume edited", "it comes from another"),
    (
        "evaluate",
        "variform evaluate needs RUN; got none. Give it, as in: variform evaluate runs/demo --ais 100. See variform "
        "evaluate --help.",
    ),
    ("evaluate nowhere", "nowhere is not"),
    ("evaluate notes", "notes is not"),
    ("evaluate run/model.safetensors", "model.safetensors is a model file alone"),
    ("evaluate broken", "must be a whole safetensors file"),
    ("evaluate changed", "it has changed since"),
    ("evaluate moved", "gone.csv does not exist"),
    ("evaluate prepared", "its [data] table has changed"),
    ("evaluate run --samples 0", "--samples must be at least 1"),
    ("evaluate run --split tests", "Did you mean 'test'?"),
    ("generate run --count 0", "--count must be at least 1"),
    ("generate run --sampler gmm", "the sampler must be fitted first"),
    (
        "generate run --sampler maf",
        "--sampler must be one of prior, gmm, flow, posterior; got 'maf'",
    ),
    ("generate run --temperature 0", "--temperature must be above 0; got 0.0"),
    ("sampler nowhere", "nowhere is not"),
    ("sampler changed", "it has changed since"),
    ("sampler run --kind vae", "--kind must be one of gmm, flow, posterior; got 'vae'"),
    ("sampler run --samples 0", "--samples must be at least 1"),
    ("generate run --out new.csv", "must hold flat rows"),
    ("generate run --out new.txt", "must end in .npy, .csv"),
    ("generate run --out notes", "must be new or empty; notes is not"),
    ("generate run --out nowhere/new.npy", "there is no folder nowhere"),
    ("generate 'a table' --out over.csv", "over.csv exists"),
    ("generate 'a table' --out pictures", "needs an output that ends in .csv"),
    ("encode run over.csv", "rows must have the shape"),
    ("encode run --out latents", "must end in .npy, .csv"),
    ("decode run run/figures", "images must have one size"),
    ("decode run none.npy", "none.npy does not exist"),
    ("decode run 'designs of 2026.csv'", "'designs of 2026.csv'|designs of 2026.csv"),
    ("reconstruct 'a table' over.csv", "columns must be those of"),
    ("compare", "variform compare needs RUN; got none"),
    ("compare run", "two or more different runs; got run"),
    ("compare run run/", "two or more different runs; got run, run"),
    ("compare run nowhere", "nowhere is not"),
    ("compare run 'a table' --out notes", "must be new or empty; notes is not"),
    ("compare run 'a table' --samples 0", "--samples must be at least 1"),
    ("explore run --out page.txt", "must be a .html file; got page.txt"),
    ("explore run --out run/report.html", "must be a new file; run/report.html exists"),
    ("explore run --data over.csv", "rows must have the shape"),
    ("draw broken", "must be a whole safetensors file"),
    ("draw moved", "gone.csv does not exist"),
    ("info nowhere", "there is none at nowhere"),
    ("info notes", "notes is not"),
    ("info nan.csv", "must be a whole safetensors file"),
    ("info run/checkpoint.safetensors", "must be a model of variform"),
    ("study latent-dim", "a study needs data"),
    ("study latent-dims digits", "Did you mean variform study latent-dim?"),
    ("study latent-dim digits --dims 0", "at least 1"),
    ("study latent-dim digits --seeds 0", "at least 1"),
    ("study latent-dim digits --nll-samples 0", "--nll-samples must be at least 1"),
    ("study latent-dim digits --batch-size 9999", "must not exceed the 1422 training rows"),
    ("study latent-dim none.csv", "none.csv does not exist"),
    (
        "study latent-dim over.csv --likelihood bernoulli --scaling none --batch-size 9",
        "bernoulli needs values in [0, 1]",
    ),
    ("study latent-dim digits --out notes", "must be new or empty; notes is not"),
    ("study latent-dim digits --out run --dims 2", "must be new or empty; run is not"),
    ("study latent-dim digits --out nan.csv", "nan.csv is a file"),
]


@pytest.mark.parametrize(
    "command",
    [
        "generate 'a table' --count 3 --out old.csv",
        "generate 'a table' --count 3 --out old.npy",
        "encode 'a table' --out old.csv",
        "decode 'a table' points.npy --out old.csv",
        "reconstruct 'a table' --out old.csv",
        "impute 'a table' 'designs of 2026.csv' --draws 2 --out old.csv",
        "explore 'a table' --out old.html",
        "config --out old.toml",
    ],
)
def test_no_command_writes_over_a_file_and_all_say_so_alike(workspace, capsys, command):
    np.save("points.npy", np.zeros((3, 2)))
    words = shlex.split(command)
    old = Path(words[-1])
    old.write_text("mine")
    assert cli.run(words) == 2
    said = f"error: the output must be a new file; {old} exists. Choose another --out.\n"
    assert capsys.readouterr().err == said
    assert old.read_text() == "mine"
    old.unlink()
    assert cli.run(words) == 0 and old.is_file()


@pytest.mark.parametrize("words", ["generate", "encode", "decode", "reconstruct"])
def test_an_output_that_is_there_is_refused_before_anything_is_computed(
    workspace, capsys, monkeypatch, words
):
    def fail(*args, **options):
        raise AssertionError("computed")

    for name in ("encode", "decode", "reconstruct", "prior_points"):
        monkeypatch.setattr(f"variform.evaluation.exploration.{name}", fail)
    np.save("points.npy", np.zeros((3, 2)))
    Path("old.csv").write_text("mine")
    latents = ["points.npy"] if words == "decode" else []
    assert cli.run([words, "a table", *latents, "--out", "old.csv"]) == 2
    assert "old.csv exists" in capsys.readouterr().err


@pytest.mark.parametrize(("command", "message"), MISTAKES, ids=[command for command, _ in MISTAKES])
def test_a_mistake_is_told_in_a_sentence_and_touches_nothing(
    mistakes, monkeypatch, capsys, command, message
):
    monkeypatch.chdir(mistakes)
    before = tree(mistakes)
    assert cli.run(shlex.split(command)) == 2
    out, err = capsys.readouterr()
    assert (
        out == "" and err.startswith("error: ") and err.count("\n") == 1 and "Traceback" not in err
    )
    assert any(part in err for part in message.split("|")), err
    assert tree(mistakes) == before


@pytest.mark.parametrize(
    "command",
    [
        "train digits --out notes",
        "train digits --out run",
        "train digits --out nan.csv/inside",
        "generate run --out notes",
        "generate run --out nowhere/new.npy",
        "generate 'a table' --out over.csv",
        "encode run --out nowhere/new.csv",
        "compare run 'a table' --out notes",
        "export run --to numpy --out notes",
        "explore run --out page.txt",
        "explore run --out run/report.html",
        "study latent-dim digits --out notes",
        "study latent-dim digits --out run --dims 2",
    ],
)
def test_who_cannot_write_there_is_asked_for_another_out(mistakes, monkeypatch, capsys, command):
    monkeypatch.chdir(mistakes)
    assert cli.run(shlex.split(command)) == 2
    assert "Choose another --out" in capsys.readouterr().err


@pytest.mark.skipif(
    not Path("/proc/self").exists(), reason="needs a folder that not even root may write to"
)
@pytest.mark.parametrize(
    "command", ["train digits --out", "study latent-dim digits --out", "generate run --out"]
)
def test_a_folder_that_may_not_be_written_to(mistakes, monkeypatch, capsys, command):
    monkeypatch.chdir(mistakes)
    assert cli.run([*command.split(), "/proc/variform"]) == 2
    err = capsys.readouterr().err
    messages = (
        "/proc/variform must be usable",
        "/proc may not be written to",
    )  # to root, to others
    assert (
        any(part in err for part in messages) and err.startswith("error: ") and err.count("\n") == 1
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
@pytest.mark.parametrize("command", ["train", "study latent-dim"])
def test_a_read_only_folder_is_told_before_the_data_are_read(tmp_path, capsys, command):
    tmp_path.chmod(0o555)
    assert cli.run([*command.split(), "none.csv", "--out", str(tmp_path / "run")]) == 2
    assert f"{tmp_path} may not be written to" in capsys.readouterr().err


def test_reading_nothing_but_the_source_decides(workspace):
    """The fixtures speak of the data that are meant: 300 rows of two numbers, with a label aside."""
    rows = read(TABLE[0], read_config(Path("a table/config.toml")).data)
    assert rows.schema.columns == ("length [mm]", "T, inside") and rows.schema.classes == ("a", "b")


def test_nothing_is_searched_for_cycles_when_a_command_ends():
    """The callback that is registered first is called last."""
    code = """
import atexit, gc, sys
atexit.register(lambda: print(gc.get_freeze_count() > 0, file=sys.stderr))
from variform.faces.cli import main
main(["--help"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "True"
