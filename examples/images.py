"""A folder of images: draw 3,000 shapes, train on the folder, and find the causes that drew them in the latents.

python examples/images.py shapes
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from sklearn.linear_model import LinearRegression

from variform import DataConfig, EvaluationConfig, ModelConfig, RunConfig, TrainConfig
from variform.data.reading import read_rows
from variform.evaluation import exploration, tables
from variform.runs.train import train_run

SIDE, FINE = 16, 4  # pixels, and how much finer they are drawn


def draw(across: float, down: float, radius: float, angle: float) -> Image.Image:
    """A grey ellipse, twice as long as it is wide, turned by an angle."""
    turns = np.linspace(0, 2 * np.pi, 60)
    ellipse = radius * np.exp(1j * angle) * (np.cos(turns) + 0.5j * np.sin(turns))
    corners = [(FINE * (across + point.real), FINE * (down + point.imag)) for point in ellipse]
    image = Image.new("L", (SIDE * FINE, SIDE * FINE))
    ImageDraw.Draw(image).polygon(corners, fill=255)
    return image.resize((SIDE, SIDE), Image.Resampling.BOX)


def main(folder: Path, epochs: int) -> None:
    images = folder / "images"
    causes = np.random.default_rng(0).uniform((6, 6, 3, 0), (10, 10, 6, np.pi / 2), (3000, 4))
    images.mkdir(parents=True, exist_ok=True)
    for number, row in enumerate(causes):
        draw(*row).save(images / f"{number:04}.png")
    config = RunConfig(
        source=str(images),
        data=DataConfig(binarise="dynamic"),
        model=ModelConfig(likelihood="bernoulli", latent_dim=8, hidden=(256,)),
        train=TrainConfig(epochs=epochs, learning_rate=3e-3, schedule="cosine"),
        evaluation=EvaluationConfig(nll_samples=200),
    )
    run = train_run(config, folder / "run", overwrite=True)
    header, rows = tables.numbers_table(run.evaluation)
    for line in (header, *rows):
        print(f"{line[0]:<40}", *(f"{cell:>18}" for cell in line[1:]), sep="  ")
    codes, _ = exploration.encode(run.vae, read_rows(images, run.vae.schema))  # in the files' order
    print("\nCauses from the latents by linear regression: R2 on 1,000 images (2,000 fitted)")
    for cause, values in zip(("across", "down", "radius", "angle"), causes.T, strict=True):
        model = LinearRegression().fit(codes[:2000], values[:2000])
        print(f"{cause:>10}: {model.score(codes[2000:], values[2000:]):.3f}")
    print(f"report: {folder / 'run' / 'report.html'}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where images, run and report go")
    parser.add_argument("--epochs", type=int, default=60)
    main(**vars(parser.parse_args()))
