"""The door of the command line: pages of help, names that are meant, colours, completion, and files that explain."""

import dataclasses
import inspect
import io
import os
import pty
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import get_type_hints

import numpy as np
import pytest
import sklearn.decomposition
import sklearn.neural_network
import torch
import torch.utils.data
from pages import json_of
from rich.console import Console

from variform import DataConfig, ModelConfig, RunConfig, TrainConfig, read
from variform.config.checks import converted
from variform.config.commented import to_commented
from variform.config.options import NAMES
from variform.config.run import EvaluationConfig
from variform.config.toml import from_toml, to_option
from variform.evaluation.exploration import decode, encode, prior_points
from variform.faces import cli
from variform.faces.cli import names, options
from variform.faces.cli.commands import GROUPS
from variform.runs.explorer import drawn_rows, served_page
from variform.runs.folder import open_run
from variform.runs.train import train_run

PROGRAM = [sys.executable, "-m", "variform"]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(single_precision, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


# --- pages of help ------------------------------------------------------------------------------------------------


def page(words, columns):
    """What `variform WORDS` prints, which end with --help or -h, on a terminal of so many columns."""
    *command, flag = words
    console = Console(width=columns, file=io.StringIO())
    cli.app.is_help_short = flag == "-h"
    cli.app.help_print(command, console=console)
    return console.file.getvalue()


def words_of(text):
    return re.sub("[│╭╮╰╯─•]", " ", text).split()


@pytest.mark.parametrize("columns", [80, 40])
@pytest.mark.parametrize("command", ["", "train", "generate", "study latent-dim", "design select"])
def test_a_page_of_help_fits_its_columns_and_breaks_no_word(command, columns, capsys, monkeypatch):
    narrow = page([*command.split(), "--help"], columns)
    wide = page([*command.split(), "--help"], 2000)
    assert max(map(len, narrow.splitlines())) <= columns
    # Only what is longer than a line of its own may be in two; the mark * of what is required has no room.
    whole = {word for word in words_of(wide) if len(word) <= columns - 8} - {"*"}
    assert whole <= set(words_of(narrow))


@pytest.mark.parametrize("columns", [80, 40])
def test_a_short_page_has_the_common_options_and_says_how_many_others_there_are(columns):
    short = page(["train", "-h"], columns)
    whole = page(["train", "--help"], columns)
    option = re.compile(r"^│ (--[a-z-]+)", re.MULTILINE)
    shown = option.findall(short)
    common = {to_option(name) for name in options.COMMON}
    assert common <= set(shown) and len(shown) == len(set(shown))
    # The long page begins with the same, in the same order, and has all others behind it.
    assert option.findall(whole)[: len(shown)] == shown
    (others,) = re.findall(r"^(\d+) more options: variform train --help$", short, re.MULTILINE)
    fields = sum(len(dataclasses.fields(part)) for part in RunConfig().parts)
    assert int(others) == fields - len(common)


def test_every_command_stands_in_one_group_of_the_first_page():
    text = page(["--help"], 80)
    known = [name for group in GROUPS.values() for name in group]
    assert sorted(known) == sorted(name for name in cli.app if not name.startswith("-"))
    assert re.findall(r"^│ ([a-z]+) ", text, re.MULTILINE) == known


# --- names that are meant -----------------------------------------------------------------------------------------

OTHER_TOOLS = [  # a function of another library, a name of it, and what it is here
    (torch.optim.Adam, "lr", "--learning-rate"),
    (torch.utils.data.DataLoader, "batch_size", "--batch-size"),
    (torch.nn.utils.clip_grad_norm_, "max_norm", None),
    (sklearn.decomposition.PCA, "n_components", "--latent-dim"),
    (sklearn.decomposition.PCA, "random_state", "--seed"),
    (sklearn.neural_network.MLPRegressor, "max_iter", "--steps"),
    (sklearn.neural_network.MLPRegressor, "early_stopping", "--patience"),
    (sklearn.neural_network.MLPRegressor, "solver", "--optimizer"),
]


@pytest.mark.parametrize(("of", "name", "meant"), OTHER_TOOLS)
def test_names_of_other_libraries_are_understood(of, name, meant):
    assert name in inspect.signature(of).parameters
    known = [
        to_option(field.name) for part in RunConfig().parts for field in dataclasses.fields(part)
    ]
    assert names.nearest_option(f"--{name}", known) == meant


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("train digits --lr 0.1", "--learning-rate"),
        ("train digits --lr=0.1", "--learning-rate"),
        ("train digits --bs 3", "--batch-size"),
        ("train digits --epoch 3", "--epochs"),
        ("train digits --latent 3", "--latent-dim"),
        ("train digits --z 3", "--latent-dim"),
        ("train digits --latnet-dim 3", "--latent-dim"),
        ("train digits --out-dir x", "--out"),
        ("train digits --output x", "--out"),
        ("train digits -o x", "--out"),
        ("generate runs/x -n 5", "--count"),
        ("generate runs/x --num_samples 5", "--count"),
        ("study latent-dim digits --z 2", "--latent-dim"),
        ("fit digits", "variform train"),
        ("sample runs/x", "variform generate"),
        ("trian digits", "variform train"),
        ("study latent_dim digits", "variform study latent-dim"),
        ("digits", "variform train digits"),
        ("help", "variform --help"),
    ],
)
def test_a_wrong_name_is_answered_with_the_one_that_is_meant(typed, meant, capsys):
    assert cli.run(typed.split()) == 2
    assert f"Did you mean {meant}? See variform" in capsys.readouterr().err


def test_what_is_like_no_name_is_not_guessed(capsys):
    assert cli.run(["train", "digits", "--wood", "3"]) == cli.run(["wood"]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert "got --wood. Leave it out." in first and "Did you mean" not in first + second


def test_an_option_of_another_command_is_told_where_it_belongs(capsys):
    assert cli.run(["generate", "runs/x", "--latent-dim", "3"]) == 2
    assert "got --latent-dim. Leave it out; it is one of variform train." in capsys.readouterr().err


def test_the_usual_names_are_those_of_options_and_commands_that_there_are():
    assert set(names._OPTIONS) - {"source"} <= NAMES
    known = {name for group in GROUPS.values() for name in group}
    assert {name for name in names._COMMANDS if not name.startswith("-")} <= known
    usual = [word for words in names._COMMANDS.values() for word in words.split()]
    assert len(usual) == len(set(usual)) and not set(usual) & known


# --- colours ------------------------------------------------------------------------------------------------------

RED = b"\x1b[31merror:\x1b[0m"


def on_a_terminal(**environment):
    """What a wrong command writes to a terminal."""
    ours, theirs = pty.openpty()
    plain = {
        key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR")
    }
    process = subprocess.run([*PROGRAM, "fit"], stderr=theirs, env=plain | environment)
    os.close(theirs)
    text = os.read(ours, 10_000)
    os.close(ours)
    assert process.returncode == 2 and b"error:" in text
    return text


def test_an_error_is_red_where_colours_are_wanted_and_nowhere_else():
    assert RED in on_a_terminal(TERM="xterm-256color")
    assert b"\x1b" not in on_a_terminal(TERM="dumb")
    assert b"\x1b" not in on_a_terminal(TERM="xterm-256color", NO_COLOR="1")


def test_an_error_in_a_file_is_red_only_by_force(capsys, monkeypatch):
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    cli.run(["fit"])
    assert "\x1b" not in capsys.readouterr().err
    monkeypatch.setenv("FORCE_COLOR", "1")
    cli.run(["fit"])
    assert RED.decode() in capsys.readouterr().err


# --- completion ---------------------------------------------------------------------------------------------------

BASH = shutil.which("bash")


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    path = tmp_path_factory.mktemp("completion") / "variform.bash"
    path.write_text(
        subprocess.check_output([*PROGRAM, "completion", "bash"], text=True), encoding="utf-8"
    )
    return path


@pytest.mark.skipif(BASH is None, reason="needs bash")
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("variform tr", {"train"}),
        ("variform e", {"evaluate", "encode", "explore", "export"}),
        ("variform train --latent", {"--latent-dim"}),
        ("variform train --likelihood pois", {"poisson"}),
        ("variform study ", {"latent-dim"}),
        ("variform open runs/demo --page ", {"report", "explorer"}),
    ],
)
def test_bash_completes_commands_options_and_choices(script, line, expected):
    """As bash itself does at TAB: the words so far, the function that `complete` has for the command, COMPREPLY."""
    asked = """
source "$1"; shift
function=$(complete -p variform | sed 's/.*-F \\([^ ]*\\).*/\\1/')
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
"$function" variform "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""
    words = line.split(" ")
    answer = subprocess.check_output([BASH, "-c", asked, "bash", str(script), *words], text=True)
    found = {word.strip() for word in answer.split("\n")} - {""}
    assert expected <= found and all(word.startswith(words[-1]) for word in found)


@pytest.mark.parametrize("shell", ["zsh", "fish", "powershell"])
def test_other_shells_get_a_script_that_names_every_command(shell, capsys):
    """Read by the shell itself where it is there."""
    assert cli.run(["completion", shell]) == 0
    text = capsys.readouterr().out
    assert all(name in text for group in GROUPS.values() for name in group)
    program = shutil.which(shell)
    if shell in ("zsh", "fish") and program:
        subprocess.run([program, "-n"], input=text, text=True, check=True)


def test_lists_of_choices_can_be_read_twice_as_fish_does():
    """Once as an argument of `complete`, and again, word by word, as what may be completed."""
    lines = cli.app.generate_completion(shell="fish").splitlines()
    lists = [re.search(r" -a ('(?:[^']|'\\'')*')", line) for line in lines]
    found = [
        shlex.split(shlex.split(match[1])[0]) for match in lists if match and "(" not in match[1]
    ]
    assert ["report", "explorer"] in found and len(found) > 50


@pytest.mark.skipif(BASH is None, reason="needs bash")
def test_completion_is_installed_where_the_shell_looks_and_once(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".bashrc").write_text("alias ll='ls -l'\n")
    assert cli.run(["completion", "bash", "--install"]) == 0
    assert cli.run(["completion", "bash", "--install"]) == 0
    loads = (tmp_path / ".bashrc").read_text().splitlines()
    assert loads[0] == "alias ll='ls -l'" and sum("variform" in line for line in loads[1:]) == 2
    begun = [BASH, "--rcfile", str(tmp_path / ".bashrc"), "-ic", "complete -p variform"]
    assert "-F" in subprocess.run(begun, capture_output=True, text=True).stdout


# --- a file that explains -----------------------------------------------------------------------------------------

CONFIGS = [
    RunConfig(),
    RunConfig(
        source="a 'b' \\c.csv",
        data=DataConfig(
            condition=("kind of wood", 'say "x"'), image_size=(28, 32), label="y", tolerance=0.25
        ),
        model=ModelConfig(latent_dim=3, hidden=(), decoder_hidden=(5, 6), prior="vamp"),
        train=TrainConfig(objective="factor", discriminator=(7,), epochs=2, learning_rate=3e-7),
        evaluation=EvaluationConfig(nll_samples=7),
    ),
]


@pytest.mark.parametrize("config", CONFIGS)
def test_a_file_that_explains_itself_reads_back_equal(config):
    text = to_commented(config)
    assert from_toml(text) == config
    assert max(map(len, text.splitlines())) <= 120


def test_every_field_has_a_comment_and_the_examples_are_values_that_it_takes():
    text = to_commented(RunConfig())
    blocks = [block.splitlines() for block in text.split("\n\n")]
    of_fields = {}
    for block in blocks:
        if name := re.match(r"(?:# )?(\w+) = ", block[-1]):
            assert block[0].startswith("# ") and len(block) > 1
            of_fields[name[1]] = block
    expected = {field.name for part in RunConfig().parts for field in dataclasses.fields(part)}
    of_runs = {
        name for name, value in vars(RunConfig()).items() if not dataclasses.is_dataclass(value)
    }
    assert set(of_fields) == expected | of_runs
    assert "One of mlp, conv, residual, very-deep." in " ".join(of_fields["network"]).replace(
        "# ", ""
    )
    for name, block in of_fields.items():
        parts = [part for part in RunConfig().parts if name in vars(part)]
        (part,) = parts or [RunConfig()]
        if block[-1].startswith("# "):
            value = tomllib.loads(block[-1].removeprefix("# "))[name]
            converted(get_type_hints(type(part), include_extras=True)[name], value, name)


def test_the_command_writes_it_and_train_reads_it(capsys):
    assert cli.run(["config", "wine.csv", "--latent-dim", "3", "--out", "a.toml"]) == 0
    assert cli.run(["config", "--config", "a.toml", "--beta", "2", "--out", "b.toml"]) == 0
    expected = RunConfig(
        source="wine.csv", model=ModelConfig(latent_dim=3), train=TrainConfig(beta=2.0)
    )
    assert from_toml(Path("b.toml").read_text()) == expected
    assert cli.run(["config", "--out", "a.toml"]) == 2
    assert "a.toml exists. Choose another --out." in capsys.readouterr().err
    assert cli.run(["train", "--config", "b.toml"]) == 2
    assert "wine.csv does not exist" in capsys.readouterr().err


# --- pages in the browser -----------------------------------------------------------------------------------------


@pytest.fixture
def browser(monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda url: bool(opened.append(url)) or True)
    monkeypatch.setenv("DISPLAY", ":0")
    return opened


def test_open_opens_the_page_that_is_meant(browser, tmp_path, capsys):
    for name in ("run/report.html", "run/explorer.html", "compared/comparison.html"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("<p>")
    assert cli.run(["open", "run"]) == cli.run(["open", "run", "--page", "explorer"]) == 0
    assert cli.run(["open", "compared"]) == cli.run(["open", "run/explorer.html"]) == 0
    pages = ("run/report", "run/explorer", "compared/comparison", "run/explorer")
    assert browser == [(tmp_path / f"{name}.html").as_uri() for name in pages]


def test_open_says_where_the_page_lies_without_a_display(browser, tmp_path, capsys, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    Path("report.html").write_text("<p>")
    assert cli.run(["open", "."]) == 0 and browser == []
    path = tmp_path / "report.html"
    assert capsys.readouterr().out == f"There is no display to open it on: {path}\n"


def test_open_of_what_has_no_page_says_how_to_get_one(browser, capsys):
    Path("run").mkdir()
    Path("notes.txt").write_text("x")
    for words in (
        ["open", "run", "--page", "explorer"],
        ["open", "nowhere"],
        ["open", "notes.txt"],
    ):
        assert cli.run(words) == 2
    first, *others = capsys.readouterr().err.splitlines()
    assert first.endswith("run has no explorer.html. Write it with variform explore run.")
    assert all("Give the folder that a command wrote, or a .html file." in line for line in others)
    assert "nowhere does not exist" in others[0] and "notes.txt has no report.html" in others[1]
    assert browser == []


# --- a model file alone -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of a mixed table, and one of images with a condition, each with its model file elsewhere."""
    torch.set_default_dtype(torch.float32)
    folder = tmp_path_factory.mktemp("alone")
    random = np.random.default_rng(0)
    lines = [f"{a:.3f},{'xy'[int(a > 0)]},{random.poisson(3)}" for a in random.normal(size=150)]
    (folder / "rows.csv").write_text("\n".join(["a,kind,count", *lines]))
    small = {"hidden": (8,), "latent_dim": 2}
    table = RunConfig(
        source=str(folder / "rows.csv"),
        model=ModelConfig(likelihood="mixed", **small),
        train=TrainConfig(epochs=3),
    )
    digits = RunConfig(
        source="digits",
        data=DataConfig(condition=("label",)),
        model=ModelConfig(**small),
        train=TrainConfig(epochs=1),
    )
    for name, config in (("table", table), ("digits", digits)):
        train_run(config, folder / name, pictures=False)
        (folder / name / "file").mkdir()
        shutil.copy(folder / name / "model.safetensors", folder / name / "file")
    return folder


@pytest.mark.parametrize(
    "command",
    [
        "generate {} --count 7 --out {out}.csv",
        "generate {} --count 7 --draw --out {out}.csv",
        "encode {} rows.csv --out {out}.csv",
        "reconstruct {} rows.csv --out {out}.csv",
        "decode {} points.npy --out {out}.csv",
        "impute {} gaps.csv --out {out}.csv",
    ],
)
def test_a_model_file_alone_answers_as_its_run_does(trained, command, monkeypatch, capsys):
    monkeypatch.chdir(trained)
    np.save("points.npy", np.eye(2))
    Path("gaps.csv").write_text("a,kind,count\n,x,3\n0.2,,\n")
    for place, out in (("table", "run"), ("table/file/model.safetensors", "file")):
        Path(f"{out}.csv").unlink(missing_ok=True)
        assert cli.run(command.format(place, out=out).split()) == 0
    assert Path("run.csv").read_bytes() == Path("file.csv").read_bytes()


def test_what_a_model_file_cannot_do_alone_is_said(trained, monkeypatch, capsys):
    monkeypatch.chdir(trained)
    for words in ("evaluate {}", "sampler {}", "draw {}", "encode {}"):
        assert cli.run(words.format("table/file/model.safetensors").split()) == 2
        assert re.search(
            r"model\.safetensors is a model file alone\. Give the folder of its run",
            capsys.readouterr().err,
        )
    file = "digits/file/model.safetensors"
    assert cli.run(["generate", file, "--count", "2"]) == 2
    assert "or --given for each condition." in capsys.readouterr().err
    assert cli.run(["generate", file, "--count", "2", "--given", "label=3", "--out", "3.npy"]) == 0


def test_the_page_of_a_model_file_has_draws_of_the_model_and_says_so(trained, monkeypatch, capsys):
    monkeypatch.chdir(trained)
    for name in ("table", "digits"):
        assert cli.run(["explore", f"{name}/file/model.safetensors"]) == 0
        html = json_of(Path(name, "file", "model.html").read_text())
        assert "1,000 draws of the model, 2 latent dimensions" in html
        assert "made of model.safetensors alone, without the data of its training" in html
    assert cli.run(["explore", "table/file/model.safetensors"]) == 2
    assert "model.html exists" in capsys.readouterr().err
    served = served_page(open_run("table/file/model.safetensors"))
    assert "1,000 draws of the model" in json_of(served.html)
    words = "explore table/file/model.safetensors --data rows.csv --out rows.html"
    assert cli.run(words.split()) == 0
    assert "the rows of rows.csv" in json_of(Path("rows.html").read_text())


def test_drawn_rows_are_decoded_draws_of_the_prior_under_every_condition(trained):
    vae = open_run(trained / "digits" / "file" / "model.safetensors").vae
    rows = drawn_rows(vae, 400, seed=3)
    contexts = rows.contexts
    # Each label falls on a row with probability 1/10: one of ten is outside 40 +- 4 sd in 6 of 10,000 seeds.
    assert (contexts.sum(1) == 1).all() and (contexts.sum(0) - 40).abs().max() < 4 * 6
    points = prior_points(vae, 400, seed=3)
    expected = decode(vae, points, context=contexts)
    np.testing.assert_allclose(rows.raw.numpy(), expected, rtol=1e-6)
    run = open_run(trained / "digits")
    np.testing.assert_allclose(
        run.vae.encode(rows.prepared(), contexts).mean.detach(), encode(vae, rows)[0], atol=1e-5
    )
    assert read("digits").schema.shape == tuple(rows.raw.shape[1:])
