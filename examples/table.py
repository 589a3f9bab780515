"""A table of designs: 4,000 steel beams with 7 columns, of which only 4 are free. Does the VAE find out?

python examples/table.py beams
"""

import argparse
import csv
from pathlib import Path

import numpy as np

from variform import EvaluationConfig, ModelConfig, RunConfig, TrainConfig
from variform.evaluation import exploration, tables
from variform.runs.train import train_run

COLUMNS = ("length_m", "width_mm", "height_mm", "load_kN", "mass_kg", "stress_MPa", "deflection_mm")


def derived(free: np.ndarray) -> np.ndarray:
    """Mass, greatest bending stress and deflection of a simply supported steel beam with the load at mid-span."""
    length, width, height, load = free.T
    mass = 7.85e-3 * length * width * height
    stress = 1.5e6 * load * length / (width * height**2)
    deflection = 1e12 * load * length**3 / (4 * 210e3 * width * height**3)
    return np.stack([mass, stress, deflection], 1)


def main(folder: Path, epochs: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    free = np.random.default_rng(0).uniform((2, 80, 120, 5), (4, 120, 200, 15), (4000, 4))
    designs = np.concatenate([free, derived(free)], 1)
    with open(folder / "beams.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([COLUMNS, *designs.tolist()])
    config = RunConfig(
        source=str(folder / "beams.csv"),
        model=ModelConfig(latent_dim=7, likelihood="gaussian-shared", hidden=(128, 128)),
        train=TrainConfig(epochs=epochs, learning_rate=3e-3, schedule="cosine"),
        evaluation=EvaluationConfig(nll_samples=200),
    )
    run = train_run(config, folder / "run", overwrite=True)
    header, rows = tables.numbers_table(run.evaluation)
    for line in (header, *rows):
        print(f"{line[0]:<40}", *(f"{cell:>18}" for cell in line[1:]), sep="  ")
    active = run.evaluation["active_units"]
    print(f"\n{active['count']} of {active['of']} latents active; 4 columns are free. KLs in nats:")
    largest_first = sorted(run.evaluation["kl_per_dimension"], key=lambda kl: -kl["mean"])
    print("  ".join(map(tables.show, largest_first)))
    new = exploration.generate(run.vae, 2000)
    wrong = np.median(np.abs(new[:, 4:] / derived(new[:, :4]) - 1), 0)
    print("\nNew designs against the mechanics that training never saw: median relative error")
    for column, error in zip(COLUMNS[4:], wrong, strict=True):
        print(f"{column:>15}: {error:.1%}")
    print(f"report: {folder / 'run' / 'report.html'}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where table, run and report go")
    parser.add_argument("--epochs", type=int, default=100)
    main(**vars(parser.parse_args()))
