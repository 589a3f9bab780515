"""Small tables, of 300 to 3,000 rows: what a trained and evaluated model with its report costs, and how good it is.

    python benchmarks/small.py            # made tables of 20 columns, and scikit-learn's wine and diabetes
    python benchmarks/small.py --rows 1000 --tables

Each contestant is a process of its own with one thread, start and imports included; CPU and wall seconds of the whole
process. NLL in nats a row, of the same held-out rows in the data's own units, ± one standard error.

- variform: `variform train`, as a user calls it: reading, training, evaluation with PCA beside it, pictures, explorer
  and report. Its phases are CPU seconds between the calls of `runs.train`.
- pythae (where `.venv-peers` has it): its VAE and TrainingPipeline with networks, batches and steps as variform's, on
  standardised columns, and its `get_nll`. Its likelihood has a standard deviation of 1 in these. No report.
- mixture: scikit-learn's PCA and a GaussianMixture of 1 to 8 components on it, the number chosen on validation rows.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
COLUMNS, FACTORS = 20, 3
HIDDEN, LATENT, BATCH, STEPS, SAMPLES = 400, 10, 128, 3000, 1000  # variform's defaults
COMPONENTS = (1, 2, 4, 8)
THREADS = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}

Parts = dict[str, np.ndarray]


def made(rows: int) -> np.ndarray:
    """Three factors bent into 20 columns, with noise; (rows, 20)."""
    generator = np.random.default_rng(0)
    factors = generator.normal(size=(rows, FACTORS))
    loadings = generator.normal(size=(FACTORS, COLUMNS))
    return np.tanh(factors @ loadings) + 0.3 * generator.normal(size=(rows, COLUMNS))


def tables(names: list[str]) -> dict[str, np.ndarray]:
    from sklearn import datasets

    loaders = {"wine": datasets.load_wine, "diabetes": datasets.load_diabetes}
    return {name: loaders[name]().data for name in names}


def write_csv(path: Path, rows: np.ndarray) -> None:
    names = ",".join(f"c{number}" for number in range(rows.shape[1]))
    np.savetxt(path, rows, delimiter=",", header=names, comments="", fmt="%.8g")


# --- contestants, each in a process of its own --------------------------------------------------------------------


def estimate(log_densities: np.ndarray) -> tuple[float, float]:
    """Mean NLL and its standard error."""
    return -log_densities.mean(), log_densities.std(ddof=1) / len(log_densities) ** 0.5


def variform(folder: Path) -> dict[str, Any]:
    """`variform train` with a clock between its phases."""
    from variform.faces.cli import main as command_line
    from variform.runs import train

    phases = {"start and imports": time.process_time()}

    def timed(phase: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            begun = time.process_time()
            try:
                return function(*arguments, **named)
            finally:
                phases[phase] = phases.get(phase, 0.0) + time.process_time() - begun

        return call

    names = {
        "prepare": "reading and model",
        "build_objective": "reading and model",
        "fit": "training",
        "assess": "evaluation",
        "draw_pictures": "pictures",
        "write_explorer": "explorer",
        "write_report": "report",
    }
    for name, phase in names.items():
        setattr(train, name, timed(phase, getattr(train, name)))
    likelihood = ["--likelihood", "gaussian-per-feature"]
    try:
        command_line(["train", str(folder / "rows.csv"), "--out", str(folder / "run"), *likelihood])
    except SystemExit as end:
        if end.code:
            raise
    numbers = json.loads((folder / "run" / "evaluation.json").read_text())["nll"]
    phases["rest"] = time.process_time() - sum(phases.values())
    return {"nll": [numbers["mean"], numbers["se"]], "phases": phases}


def standardised(folder: Path) -> tuple[Parts, float]:
    """The rows in standard units of the training rows, and the log of the product of these."""
    with np.load(folder / "parts.npz") as arrays:
        parts = {name: arrays[name].astype(np.float64) for name in arrays.files}
    mean, std = parts["train"].mean(0), parts["train"].std(0)
    return {name: (rows - mean) / std for name, rows in parts.items()}, np.log(std).sum()


def mixture(folder: Path) -> dict[str, Any]:
    import warnings

    from sklearn.decomposition import PCA
    from sklearn.mixture import GaussianMixture

    warnings.simplefilter("ignore")
    parts, units = standardised(folder)
    pca = PCA().fit(parts["train"])  # all components: a rotation, which leaves densities alone
    turned = {name: pca.transform(rows) for name, rows in parts.items()}
    candidates = [
        GaussianMixture(count, random_state=0, reg_covar=1e-4).fit(turned["train"])
        for count in COMPONENTS
        if count < len(turned["train"])
    ]
    best = max(candidates, key=lambda model: model.score(turned["valid"]))
    return {"nll": estimate(best.score_samples(turned["test"]) - units)}


def pythae(folder: Path) -> dict[str, Any]:
    import logging

    import torch
    from pythae.models import VAE, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.pipelines import TrainingPipeline
    from pythae.trainers import BaseTrainerConfig
    from torch import nn

    logging.disable(logging.INFO)
    torch.manual_seed(0)
    parts, units = standardised(folder)
    tensors = {name: torch.from_numpy(rows).float() for name, rows in parts.items()}
    columns = tensors["train"].shape[1]

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            BaseEncoder.__init__(self)
            self.layers = nn.Sequential(
                nn.Linear(columns, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 2 * LATENT)
            )

        def forward(self, x: Any) -> Any:
            mean, log_var = self.layers(x).chunk(2, 1)
            return ModelOutput(embedding=mean, log_covariance=log_var)

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            BaseDecoder.__init__(self)
            self.layers = nn.Sequential(
                nn.Linear(LATENT, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, columns)
            )

        def forward(self, z: Any) -> Any:
            return ModelOutput(reconstruction=self.layers(z))

    config = VAEConfig(input_dim=(columns,), latent_dim=LATENT, reconstruction_loss="mse")
    model = VAE(config, encoder=Encoder(), decoder=Decoder())
    options = BaseTrainerConfig(
        output_dir=str(folder / "pythae"),
        num_epochs=-(-STEPS // -(-len(tensors["train"]) // BATCH)),
        learning_rate=1e-3,
        per_device_train_batch_size=BATCH,
        per_device_eval_batch_size=512,
        no_cuda=True,
    )
    pipeline = TrainingPipeline(model=model, training_config=options)
    pipeline(train_data=tensors["train"], eval_data=tensors["valid"])
    best = pipeline.trainer._best_model
    # Its mean over rows has no standard error: row by row it does the same.
    values = [
        best.get_nll(row[None], n_samples=SAMPLES, batch_size=SAMPLES) for row in tensors["test"]
    ]
    return {"nll": estimate(np.array(values) - units)}


CONTESTANTS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "variform": variform,
    "pythae": pythae,
    "mixture": mixture,
}


# --- the driver ---------------------------------------------------------------------------------------------------


def run(name: str, folder: Path, python: str) -> dict[str, Any]:
    """What a contestant answers, with its CPU and wall seconds."""
    environment = os.environ | THREADS | {"PYTHONPATH": str(ROOT / "src"), "TQDM_DISABLE": "1"}
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [python, __file__, "--work", name, str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    wall, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{name} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return json.loads((folder / f"{name}.json").read_text()) | {"cpu": cpu, "wall": wall}


def split(path: Path) -> Parts:
    """The rows as variform splits them."""
    from variform import DataConfig, read

    splits = read(str(path), DataConfig(scaling="standard"))
    names = ("train", "valid", "test")
    return {name: getattr(splits, name).raw.numpy() for name in names}


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description="What a model of a small table costs.")
    parser.add_argument("--rows", nargs="*", type=int, default=[300, 1000, 3000])
    parser.add_argument("--tables", nargs="*", default=["wine", "diabetes"])
    parser.add_argument("--skip", nargs="*", default=[], choices=list(CONTESTANTS))
    parser.add_argument("--peers", default=str(ROOT / ".venv-peers/bin/python"))
    options = parser.parse_args(arguments)
    names = [name for name in CONTESTANTS if name not in options.skip]
    if "pythae" in names and not Path(options.peers).exists():
        print(
            f"without pythae: there is no {options.peers}; `make peers` makes it", file=sys.stderr
        )
        names.remove("pythae")
    cases = {f"{rows:,} rows": made(rows) for rows in options.rows} | tables(options.tables)
    lines, phases = [], {}
    for case, rows in cases.items():
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            write_csv(folder / "rows.csv", rows)
            np.savez(folder / "parts.npz", **split(folder / "rows.csv"))
            for name in names:
                answer = run(name, folder, options.peers if name == "pythae" else sys.executable)
                mean, error = answer["nll"]
                lines.append(
                    f"| {case} | {name} | {answer['cpu']:.1f} | {answer['wall']:.1f} | {mean:.2f} ± {error:.2f} |"
                )
                print(lines[-1], file=sys.stderr, flush=True)
                phases |= {case: answer["phases"]} if "phases" in answer else {}
    print("| table | contestant | CPU s | wall s | NLL, nats a row |\n|---|---|---:|---:|---:|")
    print("\n".join(lines) + "\n")
    for case, seconds in phases.items():
        text = ", ".join(f"{phase} {value:.2f}" for phase, value in seconds.items())
        print(f"{case}, CPU seconds: {text}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        contestant, place = sys.argv[2], Path(sys.argv[3])
        answered = CONTESTANTS[contestant](place)
        (place / f"{contestant}.json").write_text(json.dumps(answered, default=float))
    else:
        main(sys.argv[1:])
