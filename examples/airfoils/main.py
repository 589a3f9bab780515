"""From coordinate files to better airfoils: look, train, search, select, hand over.

    pip install 'variform[design]' neuralfoil
    python examples/airfoils/main.py runs/airfoils

Each step is a command of variform, which is printed before it runs; docs/design/airfoils.md tells the story. About
eight minutes on two cores.
"""

import argparse
import csv
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pictures

HERE = Path(__file__).resolve().parent
MODEL = (
    "--scaling common --likelihood gaussian-shared --latent-dim 10 --hidden 256 256 --activation silu "
    "--batch-size 32 --epochs 250 --learning-rate 1e-3 --schedule cosine"
)
TASKS = ("drag", "lift_to_drag")


def run(command: str, folder: Path) -> None:
    """A command of variform in `folder`, after it was printed."""
    print(f"\n$ variform {command}", flush=True)
    words = [sys.executable, "-m", "variform", *shlex.split(command)]
    subprocess.run(words, cwd=folder, check=True)


def main(folder: Path) -> None:
    folder.mkdir(parents=True)
    subprocess.run([sys.executable, HERE / "foils.py", folder / "foils"], check=True)
    for name in ("polar.py", "foils.py", *(f"{task}.toml" for task in TASKS)):
        shutil.copy(HERE / name, folder)
    run("inspect foils --id name --ignore family --tolerance 0.001", folder)
    known = "--id name --ignore family --stations foils/stations.csv"
    run(f"train foils {known} {MODEL} --out runs/foils", folder)
    for task in TASKS:
        study = f"{task}.toml --study runs/{task}"
        run(f"design {task}.toml --out runs/{task}", folder)
        run(f"design select {study} --count 5 --within 3 --apart 0.002 --out {task}.csv", folder)
        pictures.draw(folder, task)
        with open(folder / f"{task}.csv", newline="", encoding="utf-8") as file:
            ids = [row["id"] for row in csv.DictReader(file)]
        run(f"design export {study} {' '.join(ids)} --out {task}.dat", folder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="a new folder")
    main(parser.parse_args().folder)
