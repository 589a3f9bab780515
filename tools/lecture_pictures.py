"""The pictures of docs/lecture.md, drawn from what the code on that page computes.

    python tools/lecture_pictures.py                   # all of them, in about a minute
    python tools/lecture_pictures.py bound gradients   # some

The page's own blocks are run, up to the step that a picture belongs to, and the picture is drawn from the variables
that they leave: no formula and no number stands here a second time.
"""

import argparse
import contextlib
import doctest
import io
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from variform.evaluation import exploration
from variform.pages.architecture import Scheme, plot_architecture
from variform.pages.palette import PALETTE
from variform.pages.style import BLUE, GREY, INK, LABEL_SIZE, ORANGE, PALE, style_panel
from variform.pages.tiles import Images
from variform.pages.vector import themed
from variform.system.files import replacing

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "lecture.md"
FOLDER = ROOT / "docs" / "images" / "lecture"
STEP = re.compile(r"^## (\d+)\. ", re.MULTILINE)
BLOCK = re.compile(r"^```pycon\n(.*?)^```", re.MULTILINE | re.DOTALL)
WIDTH, HEIGHT = 5.6, 2.8  # inches: no more, so that words can be read on a phone
GREEN, PINK = PALETTE[2], PALETTE[6]
GREYS = 0.0, 16.0  # the values of a digit's pixels
SHOWN = 8  # digits in a row

Names = dict[str, Any]
Draw = Callable[[Names], Figure | Scheme]


def computed(last: int) -> Names:
    """The variables that the page's code leaves after step `last`."""
    names: Names = {}
    parser = doctest.DocTestParser()
    text = PAGE.read_text(encoding="utf-8")
    starts = [match.start() for match in STEP.finditer(text)]
    end = [*starts, len(text)][last]
    for block in BLOCK.findall(text[:end]):
        for example in parser.get_examples(block):
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile(example.source, str(PAGE), "exec"), names)
    return names


def new_panels(*titles: str, height: float = HEIGHT) -> tuple[Figure, list[Axes]]:
    """A figure of titled panels side by side."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained", facecolor="white")
    panels = list(figure.subplots(1, len(titles), squeeze=False)[0])
    for panel, title in zip(panels, titles, strict=True):
        style_panel(panel)
        panel.set_title(title, fontsize=LABEL_SIZE, color=INK)
    return figure, panels


def say(panel: Axes, text: str, x: float, y: float, **look: Any) -> None:
    """Words beside a line, in its colour, in place of a legend."""
    panel.text(x, y, text, fontsize=8.5, **look)


def numbers(values: torch.Tensor) -> NDArray[np.float64]:
    """A tensor as matplotlib takes it."""
    return values.detach().double().numpy()


# ── Steps 1 to 8: the line and its parabola ─────────────────────────────────────────────────────────────────────────


def parabola(names: Names) -> Figure:
    """The model, the point, and along the latent line prior, posterior and q."""
    figure, (plane, line) = new_panels("The data's plane", "The latent line")
    z = torch.linspace(-2.2, 2.2, 150, dtype=torch.float64)[:, None]
    curve, noise = (numbers(part) for part in (names["decode"](z).mean, names["decode"](z).stddev))
    normal = np.stack([-np.gradient(curve[:, 1]), np.gradient(curve[:, 0])], 1)
    normal *= 2 * noise / np.linalg.norm(normal, axis=1, keepdims=True)
    band = np.concatenate([curve + normal, (curve - normal)[::-1]])
    plane.fill(*band.T, color=PALE, linewidth=0)
    plane.plot(*curve.T, color=BLUE)
    plane.plot(*names["x"].tolist(), "o", color=ORANGE)
    say(plane, "x", names["x"][0] + 0.1, names["x"][1] - 0.18, color=ORANGE, fontweight="bold")
    say(plane, "decoder's mean,\nand twice the noise", -1.15, 1.25, color=BLUE)
    plane.set_aspect("equal")

    grid = numbers(names["grid"][:, 0])
    shown = np.flatnonzero(abs(grid) < 1.6)[::12]
    for law, colour, style in (("prior", GREY, "-"), ("q", ORANGE, "--")):
        density = numbers(names[law].log_prob(names["grid"]).exp())
        line.plot(grid[shown], density[shown], color=colour, linestyle=style, zorder=3)
    line.plot(grid[shown], numbers(names["log_posterior"].exp())[shown], color=BLUE)
    needed = {law: round(names["draws_for_one_percent"](names[law])) for law in ("prior", "q")}
    say(line, f"prior p(z):\n{needed['prior']:,} draws", -1.55, 0.62, color=INK)
    say(line, f"q(z|x):\n{needed['q']} draws", 0.86, 3.6, color=ORANGE)
    say(line, "posterior\np(z|x)", -0.4, 3.6, color=BLUE)
    line.set_xlabel("z")
    return figure


def bound(names: Names) -> Figure:
    """The ELBO of Gaussians with other means, below log p(x)."""
    figure, (panel,) = new_panels("The ELBO of Gaussians q with other means")
    q, log_px = names["q"], names["log_px"].item()
    middle, std = q.mean.item(), q.stddev.item()
    means = np.linspace(middle - 0.16, middle + 0.16, 81)
    elbo = [_elbo(names, mean, q) for mean in means]
    panel.fill_between(means, elbo, log_px, color=PALE, linewidth=0)
    panel.plot(means, elbo, color=BLUE)
    panel.axhline(log_px, color=INK, linewidth=1)
    for law, colour, aside in ((q, BLUE, -0.02), (names["off"], ORANGE, 0.006)):
        expected, regularisation, gap = names["three_terms"](law)
        mean = law.mean.item()
        panel.plot([mean, mean], [expected - regularisation, log_px], color=colour)
        panel.plot(mean, expected - regularisation, "o", color=colour)
        words = f"{expected:.4f} {chr(0x2212)} {regularisation:.4f}\ngap {gap:.4f}"
        side = "center" if aside < 0 else "left"
        below = -0.5 if aside < 0 else 0.1
        place = mean if aside < 0 else mean + aside
        say(panel, words, place, expected - regularisation + below, color=colour, ha=side)
    say(
        panel, f"log p(x) = {log_px:.4f}".replace("-", chr(0x2212)), means[0] + 0.004, log_px + 0.06
    )
    panel.set_ylim(min(elbo), log_px + 0.35)
    panel.set_xlim(means[0], means[-1])
    panel.set_xlabel(f"mean of q; its standard deviation is {std:.3f}")
    panel.set_ylabel("nats")
    return figure


def _elbo(names: Names, mean: float, q: Any) -> float:
    law = names["DiagonalGaussian"](torch.full_like(q.mean, mean), q.log_var)
    expected, regularisation, _ = names["three_terms"](law)
    return expected - regularisation


def divergence(names: Names) -> Figure:
    """Why a KL is not negative, and where that from N(0, 1) is zero."""
    figure, (tangent, plane) = new_panels(
        "log t lies below t \N{MINUS SIGN} 1", "KL from N(0, 1), in nats"
    )
    t = np.linspace(0.05, 3, 120)
    tangent.plot(t, t - 1, color=GREY)
    tangent.plot(t, np.log(t), color=BLUE)
    tangent.plot(1, 0, "o", color=INK)
    say(tangent, "t \N{MINUS SIGN} 1", 1.8, 1.5, color=GREY)
    say(tangent, "log t", 2.1, 0.25, color=BLUE)
    tangent.set_xlabel("t = p(z) / q(z)")

    stds = torch.logspace(-1.3, 0.4, 60)
    mean, std = torch.meshgrid(torch.linspace(-2, 2, 60), stds, indexing="xy")
    values = names["kl_standard"](mean, 2 * std.log())
    levels = [0.1, 0.5, 1, 1.5, 3]
    lines = plane.contour(
        *map(numbers, (mean, std, values)), levels=levels, colors=BLUE, linewidths=1
    )
    plane.clabel(lines, fontsize=7.5)
    plane.plot(0, 1, "o", color=INK)
    q = names["q"]
    plane.plot(q.mean.item(), q.stddev.item(), "o", color=ORANGE)
    price = names["kl"](q, names["prior"]).item()
    look = {"color": ORANGE, "ha": "center"}
    say(plane, f"q: {price:.4f}", q.mean.item(), q.stddev.item() * 1.35, **look)
    plane.set_yscale("log")
    plane.set_yticks([0.1, 0.2, 0.5, 1, 2], ["0.1", "0.2", "0.5", "1", "2"])
    plane.minorticks_off()
    plane.set_xlabel("mean")
    plane.set_ylabel("standard deviation")
    return figure


def errors(names: Names) -> Figure:
    """What a pixel's reconstruction costs under the laws of assumption 3."""
    figure, (bernoulli, gaussian) = new_panels(
        "Bernoulli: cross-entropy", "Gaussian: squared error, x = 0.5"
    )
    y = torch.linspace(0.02, 0.98, 97)
    for pixel, colour in ((0.0, BLUE), (1.0, ORANGE)):
        cost = -names["Bernoulli"](y.logit()[:, None]).log_prob(torch.tensor([pixel]))
        bernoulli.plot(y, cost, color=colour)
    say(bernoulli, "x = 0", 0.68, 2.6, color=BLUE)
    say(bernoulli, "x = 1", 0.12, 2.6, color=ORANGE)
    bernoulli.set_ylabel("\N{MINUS SIGN}log p(x|z), nats")
    for std, colour, across in ((1.0, BLUE, 0.4), (0.25, ORANGE, 0.74), (0.125, GREEN, 0.2)):
        spread = torch.full((len(y), 1), 2 * math.log(std))
        cost = -names["DiagonalGaussian"](y[:, None], spread).log_prob(torch.tensor([0.5]))
        gaussian.plot(y, cost, color=colour)
        height = cost[(y - across).abs().argmin()].item()
        words = f"\N{GREEK SMALL LETTER SIGMA} = {std:g}"
        above = 0.2 if std != 0.25 else -0.8
        say(gaussian, words, across + 0.03, height + above, color=colour)
    for panel in (bernoulli, gaussian):
        panel.set_xlabel("the decoder's mean for the pixel")
    return figure


# ── Steps 14 and 15: draws ──────────────────────────────────────────────────────────────────────────────────────────


def monte_carlo(names: Names) -> Figure:
    """The measured error of L draws on the line of slope -1/2."""
    figure, (panel,) = new_panels("Error of the estimate with L draws")
    measured = names["error"]
    L = np.array(list(measured))
    panel.loglog(L, names["error_of_one"] / np.sqrt(L), color=GREY)
    panel.loglog(L, list(measured.values()), "o", color=BLUE)
    for count, value in measured.items():
        say(panel, f"{value:.2f}", count * 1.06, value * 1.03, color=BLUE)
    say(panel, f"{names['error_of_one']:.2f} / \N{SQUARE ROOT}L", 9, 0.4, color=GREY)
    panel.set_xticks(L, [str(count) for count in L], minor=False)
    panel.set_yticks([0.1, 0.2, 0.4, 0.8], ["0.1", "0.2", "0.4", "0.8"])
    panel.minorticks_off()
    panel.set_xlabel("L")
    panel.set_ylabel("nats")
    return figure


def gradients(names: Names) -> Figure:
    """Both gradients of 4,000 draws, and their noise as coordinates are added."""
    figure, (one, many) = new_panels("One coordinate: 4,000 gradients", "Their standard deviation")
    draws = names["draws"]
    pathwise, score = (numbers(part) for part in draws[1])
    bins = np.linspace(*np.quantile(score, [0.005, 0.995]), 40)
    for values, colour in ((score, ORANGE), (pathwise, BLUE)):
        counts, _ = np.histogram(values, bins)
        one.stairs(counts, bins, color=colour, fill=colour == BLUE, alpha=0.9)
    one.axvline(pathwise.mean(), color=INK, linewidth=0.8)
    one.set_xlabel("gradient")
    one.set_ylabel("draws")
    copies = list(draws)
    for part, colour in ((0, BLUE), (1, ORANGE)):
        spread = [draws[count][part].std().item() for count in copies]
        many.loglog(copies, spread, "o-", color=colour)
    for count in copies:
        words = f"variance \N{MULTIPLICATION SIGN} {names['noise'][count]:,.0f}"
        lower, side = (0.5, "left") if count == 1 else (1.4, "right")
        say(many, words, count, draws[count][1].std().item() * lower, color=INK, ha=side)
    many.set_ylim(top=draws[copies[-1]][1].std().item() * 4)
    say(many, "score function", 5, 70, color=ORANGE)
    say(many, "reparameterisation", 3, 15, color=BLUE)
    many.set_xticks(copies, [str(count) for count in copies])
    many.set_yticks([10, 100, 1_000, 10_000], ["10", "100", "1,000", "10,000"])
    many.minorticks_off()
    many.set_xlabel("coordinates")
    return figure


# ── Steps 16 to 21: digits ──────────────────────────────────────────────────────────────────────────────────────────


def mosaic(panel: Axes, images: NDArray[Any]) -> None:
    """Images (rows, across, 1, 8, 8) as one, the first row at the bottom, as a manifold has it."""
    Images((GREYS[0], GREYS[1]), 1.0).draw_grid(panel, images)
    panel.set_xticks([])
    panel.set_yticks([])
    panel.spines[:].set_visible(False)


def structure(model: str) -> Draw:
    """The networks and laws of one of the page's models."""
    return lambda names: plot_architecture(names[model])


def collapse(names: Names) -> Figure:
    """Test digits, and what the two models with identity covariance make of them."""
    figure = Figure(figsize=(WIDTH, 2.9), layout="constrained", facecolor="white")
    panel = figure.subplots()
    few = exploration.spread(SHOWN, len(names["digits"].test))
    rows = [
        names["digits"].test.raw[few].numpy(),
        exploration.reconstruct(names["asleep"], names["digits"].test)[1][few],
        exploration.reconstruct(names["awake"], names["raw"].test)[1][few],
    ]
    mosaic(panel, np.stack(rows[::-1]))
    kls = [names[numbers]["kl"]["mean"] for numbers in ("blind", "seeing")]
    panel.set_yticks(
        [2, 1, 0],
        ["digits", f"pixels 0 to 1:\nKL {kls[0]:.1f}", f"pixels 0 to 16:\nKL {kls[1]:.1f}"],
    )
    panel.tick_params(length=0, labelsize=8.5, labelcolor=INK)
    return figure


def dimensions(names: Names) -> Figure:
    """NLL against the latent dimension, of VAE and PCA."""
    figure, (panel,) = new_panels("How many latent dimensions?")
    for key, name, colour in (("pca", "PCA", GREY), ("nll", "VAE", BLUE)):
        values = names[key]
        panel.plot(list(values), list(values.values()), "o-", color=colour)
        for dim, value in values.items():
            words = f"{value:.1f}".replace("-", "\N{MINUS SIGN}")
            say(panel, words, dim + 0.2, value + 1.2, color=colour)
        say(
            panel,
            name,
            14.5,
            np.interp(14.5, list(values), list(values.values())) + 2,
            color=colour,
        )
    panel.set_xticks(list(names["nll"]))
    panel.set_ylim(top=6)
    panel.set_xlabel("latent dimensions")
    panel.set_ylabel("NLL, nats a digit")
    return figure


def manifold(names: Names) -> Figure:
    """The plane of the two latents that say most, decoded; of two latents all there is."""
    figure = Figure(figsize=(WIDTH, 2.25), layout="constrained", facecolor="white")
    panels = figure.subplots(1, 4)
    size = len(names["quantiles"])
    plane, _ = exploration.manifold_points(names["vaes"][2], size)
    for panel, (dim, numbers_) in zip(panels, names["study"].items(), strict=True):
        first, second = np.argsort(numbers_["active_units"]["variances"])[::-1][:2]
        z = np.zeros((size, size, dim), plane.dtype)
        z[..., min(first, second)], z[..., max(first, second)] = plane[..., 0], plane[..., 1]
        mosaic(panel, exploration.decode(names["vaes"][dim], z))
        panel.set_title(f"{dim} latents", fontsize=9.5, color=INK)
    return figure


def prior(names: Names) -> Figure:
    """Where the codes are, and where the prior expects them."""
    figure, (plane, distances) = new_panels(
        "2 latents: draws of q(z|x), by digit", "10 latents: distance from 0", height=3.4
    )
    rows = names["digits"].train
    z, _ = exploration.encode(names["vaes"][2], rows, draw=True)
    for digit in range(10):
        mine = np.asarray(rows.labels) == digit
        plane.plot(*z[mine].T, ".", markersize=2.5, color=matplotlib.colormaps["tab10"](digit))
        centre = np.median(z[mine], axis=0)
        plane.text(
            *centre,
            str(digit),
            fontsize=10,
            fontweight="bold",
            color=INK,
            ha="center",
            va="center",
            bbox={
                "boxstyle": "round,pad=0.1",
                "facecolor": "white",
                "edgecolor": "none",
                "alpha": 0.75,
            },
        )
    turn = np.linspace(0, 2 * np.pi, 100)
    for share in (0.5, 0.99):  # of the prior's draws in the plane
        radius = math.sqrt(-2 * math.log(1 - share))
        plane.plot(radius * np.cos(turn), radius * np.sin(turn), color=GREY, linewidth=0.9)
        corner = radius / math.sqrt(2)
        plane.text(
            corner, -corner, f"{share:.0%}", fontsize=7.5, color=INK, backgroundcolor="white"
        )
    say(plane, "rings: shares of p(z)", -3.4, 3.25, color=INK)
    plane.set_ylim(-3.4, 3.8)
    plane.set_aspect("equal")
    codes, _ = exploration.encode(names["vaes"][10], rows, draw=True)
    expected = exploration.prior_points(names["vaes"][10], len(codes))
    bins = np.linspace(0, 6.5, 40)
    for points, colour, words in (
        (expected, GREY, "prior"),
        (codes, BLUE, "aggregated\nposterior"),
    ):
        counts, _ = np.histogram(np.linalg.norm(points, axis=1), bins)
        distances.stairs(counts, bins, color=colour, linewidth=1.5)
        say(distances, words, 0.5 if colour == GREY else 4, counts.max() * 0.7, color=colour)
    distances.set_ylabel("draws")
    return figure


def loss(names: Names) -> Figure:
    """The two halves of the loss, and their sum, epoch by epoch."""
    figure, (panel,) = new_panels("The whole loss, on validation digits")
    history = names["vae"].history
    epochs = [row["epoch"] for row in history]
    error = np.array([-row["valid_log_likelihood"] for row in history])
    regularisation = np.array([row["valid_kl"] for row in history])
    for values, colour, name in (
        (error + regularisation, INK, "loss = \N{MINUS SIGN}ELBO"),
        (error, BLUE, "reconstruction error"),
        (regularisation, ORANGE, "regularisation"),
    ):
        panel.plot(epochs, values, color=colour)
        say(panel, name, epochs[-1], values[-1] + 0.5, color=colour, ha="right")
    panel.set_ylim(bottom=0)
    panel.set_xlabel("epoch")
    panel.set_ylabel("nats a digit")
    return figure


# ── All of them ─────────────────────────────────────────────────────────────────────────────────────────────────────

PICTURES: dict[str, tuple[int, Draw]] = {
    "parabola.svg": (3, parabola),
    "bound.svg": (4, bound),
    "errors.svg": (11, errors),
    "divergence.svg": (13, divergence),
    "monte-carlo.svg": (14, monte_carlo),
    "gradients.svg": (15, gradients),
    "structure-1.svg": (16, structure("bernoulli")),
    "structure-2.svg": (17, structure("predicted")),
    "structure-3.svg": (18, structure("asleep")),
    "collapse.png": (18, collapse),
    "dimensions.svg": (19, dimensions),
    "manifold.png": (19, manifold),
    "prior.png": (20, prior),
    "loss.svg": (21, loss),
}
"""Each picture, the step after which it can be drawn, and how."""


def save(figure: Figure | Scheme, path: Path) -> None:
    """Write a figure: the same bytes each time; a drawing keeps its text and follows the reader's light or dark."""
    if isinstance(figure, Scheme):
        figure.save(path)
        return
    look = {"svg.fonttype": "none", "svg.hashsalt": "variform", "font.family": "sans-serif"}
    kind = path.suffix[1:]
    with matplotlib.rc_context(look), replacing(path) as unfinished:
        if kind == "svg":
            text = io.StringIO()
            figure.savefig(text, format=kind, metadata={"Date": None})
            unfinished.write_text(themed(text.getvalue()), encoding="utf-8")
        else:
            content = io.BytesIO()
            figure.savefig(content, format=kind, dpi=130)
            Image.open(content).quantize(64).save(unfinished, kind, optimize=True)


def draw(chosen: list[str], folder: Path) -> None:
    """Draw pictures into a folder, all from one run of the page."""
    names = computed(max(PICTURES[name][0] for name in chosen))
    folder.mkdir(parents=True, exist_ok=True)
    for name in chosen:
        save(PICTURES[name][1](names), folder / name)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="such as bound or manifold; none: all")
    wanted = parser.parse_args().names
    draw([name for name in PICTURES if not wanted or Path(name).stem in wanted], FOLDER)
