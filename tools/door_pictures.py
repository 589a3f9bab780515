"""The picture above README.md's four ways in, drawn from what their commands leave: docs/images/doors.png.

python tools/door_pictures.py              # trains in a folder that it removes, two minutes
python tools/door_pictures.py --runs DIR   # keeps the runs, or draws from those that are there
"""

import argparse
import csv
import json
import tempfile
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from sklearn import datasets

import variform
from variform.evaluation.exploration import latent_map
from variform.faces import cli
from variform.faces.run import Run
from variform.pages.palette import PALETTE
from variform.pages.style import BLUE, GREY, ORANGE, new_panels, save_figure

PICTURE = Path(__file__).resolve().parents[1] / "docs" / "images" / "doors.png"
STEPS, SHOWN = 7, 4  # of a latent, and latents


def write_customers(path: Path) -> Path:
    """A table that scikit-learn has, in the place of customers.csv: 442 patients, 10 columns."""
    table = datasets.load_diabetes()
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(table.feature_names)
        writer.writerows(table.data)
    return path


def made_by(command: str, *words: str | Path, out: Path) -> Path:
    """The folder that a command writes, which is not written a second time."""
    if not out.exists() and cli.run([command, *map(str, words), "--out", str(out)]) != 0:
        raise SystemExit(f"variform {command} failed")
    return out


def draw_latents(panel: Axes, run: Run) -> None:
    """What the latents that vary most do, each from -2 to 2 with the others at 0."""
    means = run.model.encode(variform.read("brackets").test.raw.numpy())
    strongest = np.argsort(-means.var(0))[:SHOWN]
    z = np.zeros((len(strongest), STEPS, means.shape[1]))
    for row, latent in enumerate(strongest):
        z[row, :, latent] = np.linspace(-2, 2, STEPS)
    images = run.model.decode(z.reshape(-1, means.shape[1]).astype(np.float32))
    height, width = images.shape[-2:]
    tiles = images.reshape(len(strongest), STEPS, height, width).transpose(0, 2, 1, 3)
    panel.imshow(tiles.reshape(len(strongest) * height, -1), cmap="gray")
    panel.set(xticks=[], yticks=[])
    panel.set_xlabel(f"{len(strongest)} latents, from -2 to 2")


def draw_map(panel: Axes, run: Run) -> None:
    """Where the designs lie, coloured by their kind, which the model was not told."""
    data = variform.read("brackets")
    points, _ = latent_map(run.model.encode(data.test.raw.numpy()))
    colours = [PALETTE[kind] for kind in data.test.labels.tolist()]
    panel.scatter(*points.T, c=colours, s=9, linewidths=0)
    panel.set(xticks=[], yticks=[])
    panel.set_xlabel(f"{len(points)} designs that it has not seen")


def draw_numbers(panel: Axes, run: Run) -> None:
    """The held-out NLL beside simpler models, each with its standard error."""
    baselines = run.evaluation["baselines"]
    rows = {"VAE": run.evaluation["nll"], "PCA": baselines["pca"]["nll"]}
    rows["independent\ncolumns"] = baselines["trivial"]["nll"]
    for place, (name, estimate) in enumerate(rows.items()):
        colour = BLUE if name == "VAE" else GREY
        panel.errorbar(estimate["mean"], -place, xerr=estimate["se"], fmt="o", color=colour)
    panel.set_yticks([-place for place in range(len(rows))], list(rows))
    panel.set_ylim(0.6 - len(rows), 0.4)
    panel.set_xlabel("held-out NLL, nats")


def draw_study(panel: Axes, folder: Path) -> None:
    """The held-out NLL by the number of latents."""
    rows = json.loads((folder / "study.json").read_text())["rows"]
    dims = [row["latent_dim"] for row in rows]
    for key, name, colour in (("nll", "VAE", BLUE), ("pca_nll", "PCA", ORANGE)):
        estimates = [row[key] for row in rows]
        means, errors = ([one[part] for one in estimates] for part in ("mean", "se"))
        panel.errorbar(dims, means, errors, fmt="o-", color=colour, label=name, markersize=4)
    panel.set_xticks(dims)
    panel.legend(frameon=False)
    panel.set(xlabel="latent dimensions", ylabel="held-out NLL, nats")


def draw(runs: Path) -> None:
    """All four, side by side."""
    demo = variform.open_run(made_by("demo", out=runs / "demo"))
    customers = write_customers(runs / "customers.csv")
    table = variform.open_run(made_by("train", customers, out=runs / "customers"))
    words = ("latent-dim", "digits", "--dims", "2,5,10")
    study = made_by("study", *words, out=runs / "study")
    doors = ("a student", "a design engineer", "a data scientist", "a researcher")
    figure, panels = new_panels(doors, title="Four ways in")
    draw_latents(panels[0], demo)
    draw_map(panels[1], demo)
    draw_numbers(panels[2], table)
    draw_study(panels[3], study)
    save_figure(figure, PICTURE)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, help="a folder for the runs, which are kept there")
    asked = parser.parse_args().runs
    if asked:
        asked.mkdir(parents=True, exist_ok=True)
        draw(asked)
    else:
        with tempfile.TemporaryDirectory() as folder:
            draw(Path(folder))
