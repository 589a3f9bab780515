"""What a command waits for: heavy modules that it does not need are not imported. No time is measured here."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from variform import DataConfig, ModelConfig, RunConfig, TrainConfig
from variform.data.sources.builtin import read_digits
from variform.runs.train import train_run

HEAVY = ("torch", "torch._dynamo", "scipy", "sklearn", "matplotlib", "jinja2", "huggingface_hub")
"""Each takes 0.1 to 1.6 CPU seconds to import."""

WATCHED = """
import sys
from variform.faces.cli import run
code = run(sys.argv[1:])
print(code, *(name for name in {heavy} if name in sys.modules), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Rows, two runs of them, points, and a file of options that is wrong."""
    torch.set_default_dtype(torch.float32)
    folder = tmp_path_factory.mktemp("startup")
    rows = np.random.default_rng(0).normal(size=(120, 4)).astype(np.float32)
    np.save(folder / "rows.npy", rows)
    np.save(folder / "points.npy", np.zeros((2, 3)))
    (folder / "wrong.toml").write_text("[train]\noptimizer = 'adom'\n")
    for seed in (0, 1):
        config = RunConfig(
            source=str(folder / "rows.npy"),
            model=ModelConfig(latent_dim=3, hidden=(8,), likelihood="gaussian"),
            train=TrainConfig(epochs=1, seed=seed),
        )
        train_run(config, folder / f"run{seed}", pictures=False)
    return folder


def imported(arguments, folder):
    """The exit code of a command in a process of its own, and which of the heavy modules it has imported."""
    process = subprocess.run(
        [sys.executable, "-c", WATCHED.format(heavy=HEAVY), *arguments.split()],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    code, *modules = process.stderr.splitlines()[-1].split()
    return int(code), set(modules)


@pytest.mark.parametrize(
    "arguments", ["info run0", "info run0 --json", "info run0/model.safetensors"]
)
def test_what_a_run_is_is_said_without_torch(place, arguments):
    assert imported(arguments, place) == (0, set())


@pytest.mark.parametrize("module", ["variform", "variform.faces.cli"])
def test_the_package_and_its_command_line_import_nothing_heavy(module):
    code = f"import sys, {module}; print([name for name in {HEAVY} if name in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


@pytest.mark.parametrize(
    "arguments", ["compare run0 run1", "encode run0", "decode run0 points.npy --out decoded.npy"]
)
def test_what_asks_a_model_imports_torch_and_no_other(place, arguments):
    code, modules = imported(arguments, place)
    assert code == 0 and "torch" in modules and not modules & {"sklearn", "matplotlib", "jinja2"}
    assert "scipy" not in modules or arguments.startswith("compare")


def test_the_explorer_is_written_without_scikit_learn_and_pictures_are_drawn_without_it(place):
    """Both have a map of three latents, which is a plane of PCA."""
    assert imported("explore run0", place) == (0, {"torch", "jinja2"})
    assert imported("draw run0", place) == (0, {"torch", "matplotlib"})


@pytest.mark.parametrize(
    "arguments",
    [
        "info nowhere",
        "inspect nowhere.npy",
        "inspect rows.npy --out run0",
        "encode nowhere",
        "decode nowhere points.npy",
        "generate nowhere --count 4",
        "reconstruct nowhere",
        "impute nowhere",
        "sampler nowhere",
        "evaluate nowhere",
        "draw nowhere",
        "explore nowhere",
        "serve nowhere",
        "compare",
        "design",
        "design nowhere.toml",
        "design wrong.toml",
        "design ask wrong.toml",
        "train",
        "train nowhere.npy",
        "train rows.npy --wrong 2",
        "train rows.npy --latent-dim 0",
        "train rows.npy --likelihood bernuli",
        "train rows.npy --config wrong.toml",
        "train rows.npy --out run0",
        "profile nowhere.npy",
        "study latent-dim nowhere.npy",
    ],
)
def test_a_mistake_is_said_without_waiting_for_torch(place, arguments):
    assert imported(arguments, place) == (2, set())


def test_no_optimiser_imports_the_compiler_of_torch_where_nothing_is_compiled(place):
    code, modules = imported(
        "train rows.npy --likelihood gaussian --epochs 1 --hidden 8 --out eager", place
    )
    assert code == 0 and "torch._dynamo" not in modules
    assert imported(
        "profile rows.npy --likelihood gaussian --batch-size 32 --timed-steps 1", place
    ) == (0, {"torch"})


@pytest.mark.parametrize("arguments", ["push nowhere ada/digits", "push run0 ada", "pull ada"])
def test_a_mistake_is_said_to_who_shares_a_model_without_torch(place, arguments):
    pytest.importorskip("huggingface_hub")
    assert imported(arguments, place) == (2, {"huggingface_hub"})


def test_the_estimators_wait_for_no_part_of_scikit_learn_that_only_some_fits_need():
    parts = [
        "sklearn.mixture",
        "sklearn.decomposition",
        "sklearn.covariance",
        "sklearn.preprocessing",
    ]
    code = (
        f"import sys, variform.estimator; print([name for name in {parts} if name in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_the_digits_are_read_without_scikit_learn_as_it_reads_them(monkeypatch):
    code = f"import sys, variform; variform.read('digits'); print([name for name in {HEAVY} if name in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "['torch']"
    values, labels = load_digits(return_X_y=True)
    own = read_digits(Path("digits"), DataConfig())
    with monkeypatch.context() as patch:
        patch.setattr("importlib.util.find_spec", lambda name: None)
        other = read_digits(Path("digits"), DataConfig())
    for source in (own, other):
        assert np.array_equal(source.values.reshape(-1, 64), values)
        assert np.array_equal(source.labels, labels) and source.labels.dtype == labels.dtype
