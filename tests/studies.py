"""Small design studies of trained runs, for tests of what is shown of them."""

import sys

import numpy as np

from variform import DataConfig, ModelConfig, TrainConfig
from variform.config.run import EvaluationConfig, RunConfig
from variform.runs.designs import run
from variform.runs.train import train_run

JUDGE = """
import numpy as np

def judge(rows):
    width, height = rows["width [mm]"], rows["height [mm]"]
    drag = (width - 6) ** 2 + (height - 2) ** 2
    return {"drag [N]": np.where(width > 8, np.nan, drag), "mass": width + height}
"""
ONE = """
[[objectives]]
response = "drag [N]"
unit = "N"

[[constraints]]
response = "mass"
at_most = 10
"""
TWO = """
[[objectives]]
response = "drag [N]"
reference = 40

[[objectives]]
response = "mass"
goal = "max"
reference = 5
"""
PROBLEM = """
run = "run"
evaluator = "{judge}:judge"
budget = {budget}
batch = 10
seeds = 2
optimiser = "random"
spaces = ["latent"]
beside = ["pca-2"]
"""


def run_in(folder):
    """A run of a table of three columns in `folder`/run."""
    random = np.random.default_rng(0)
    width, height = random.uniform(0, 10, (2, 300))
    depth = (width + height) / 4 + random.normal(0, 0.1, 300)
    drag = np.where(width > 8, np.nan, (width - 6) ** 2 + (height - 2) ** 2)
    rows = np.column_stack([width, height, depth, drag, width + height])
    lines = [",".join("" if np.isnan(value) else f"{value:.6f}" for value in row) for row in rows]
    names = "id,width [mm],height [mm],depth [mm],drag [N],mass"
    lines = [f"part-{number:03d},{line}" for number, line in enumerate(lines)]
    (folder / "known.csv").write_text("\n".join([names, *lines]) + "\n")
    config = RunConfig(
        source=str(folder / "known.csv"),
        data=DataConfig(id="id", response=("drag [N]", "mass")),
        model=ModelConfig(latent_dim=2, hidden=(16,), likelihood="gaussian"),
        train=TrainConfig(steps=150, learning_rate=1e-2),
        evaluation=EvaluationConfig(nll_samples=2),
    )
    return train_run(config, folder / "run", pictures=False)


def study_in(folder, name, goals, *, budget=40):
    """A study of that run in `folder`/`name`."""
    module = f"judge_of_{folder.name.replace('-', '_')}"
    (folder / f"{module}.py").write_text(JUDGE)
    problem = folder / f"{name}.toml"
    problem.write_text(PROBLEM.format(judge=module, budget=budget) + goals)
    sys.path.insert(0, str(folder))
    try:
        run(problem, folder / name, say=lambda _: None, table=lambda _: None)
    finally:
        sys.path.remove(str(folder))
