"""The gallery: each published combination of docs/combinations.md, trained in the same way on the same few digits.

    python tools/gallery.py              # trains all of them; some 10 minutes of one processor
    python tools/gallery.py VAE "DIP"    # only those with these words in their names, beside what is there
    python tools/gallery.py --page       # writes the page anew from numbers.json, without training

What it writes: docs/images/gallery/*.png and numbers.json, and docs/gallery.md, whose every number comes from there.
"""

import argparse
import dataclasses
import json
import platform
import re
import shlex
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
COMBINATIONS = ROOT / "docs" / "combinations.md"
PAGE = ROOT / "docs" / "gallery.md"
IMAGES = ROOT / "docs" / "images" / "gallery"
NUMBERS = IMAGES / "numbers.json"

COMMON = "--epochs 40 --seed 0"
"""What is added to every command, so that all have the same time."""
AUTOENCODER = "variform train digits --objective autoencoder"
"""What the laws of two stages are fitted to."""
SAMPLES = 200  # importance samples of the NLL
ACROSS = 8  # digits in a row of a picture
SCALE, GAP = 4, 2  # pixels of a pixel, and between digits

INTRODUCTION = """# Gallery

What each combination of [combinations.md](combinations.md) gives when all are trained alike: the same {rows} digits of
8 x 8 pixels, the same seed, the same {epochs} epochs, 10 latent dimensions, networks with one hidden layer of 400
units, and what the model's own command adds. What that leaves open, such as how many rows make a batch, is chosen as
`variform train` always does, for some objectives otherwise than for others.

**This is no ranking.** A short training on one small data set says nothing of which model is better, and most of these
models were made for other data or another purpose than a good log p(x): disentangled latents, few labels, noise. Nor
can all numbers be compared: a density of real numbers, one of values in [0, 1] and a probability of grey levels are
different things, and each row says which it has; of a model that is given the label it is that of x given the label.
Nor does one seed show how much another would differ.

**A picture** has four rows of {across}: test digits, what the model makes of them, and twice {across} new ones: z from
the prior, or from the law that is fitted to the codes, then the mean of p(x|z); of the models that are given a label
under the labels of test digits.

**The numbers** are of the {test} test digits, in nats, mean ± standard error over the digits: the ELBO; the NLL,
-log p(x) by {samples} importance samples (lower is better), whose standard error is of the digits and not of the
training; the KL term; the reconstruction error, in grey levels from 0 to 16; the latents that are used. † says that
for most digits a few of the importance weights decide the NLL (Pareto k above 0.7): the true one is lower by an unknown
amount, to which `variform evaluate RUN --refine 50` comes closer. A model that is trained on the mean of q(z|x) alone,
such as an autoencoder, leaves its spread as it comes and so has no density to show. The seconds are those that
{threads} thread of {machine} worked, for training and evaluation.
"""
END = """
## How it was made

```
python tools/gallery.py
```

on {date}, with {versions}, in one process with {threads} thread on {machine}.
Every command got `{common}` too.
docs/images/gallery/numbers.json has all numbers, with the command of each.
"""
HEADS = {
    "": ("log p(x) is", "ELBO", "NLL", "KL", "error", "latents used", "seconds"),
    "Two stages": (
        "fitted to",
        "coverage by the prior",
        "coverage by this law",
        "coverage by training digits",
        "error",
        "latents used",
    ),
}
"""Of the tables' columns behind name and picture, by their section."""
COVERAGE = """
Coverage is the share of test digits with a new one near, by the distance of their own neighbours (Naeem et al. 2020);
beside it that of training digits, which are of the same law.
"""


@dataclasses.dataclass(frozen=True)
class Line:
    """A row of the tables of docs/combinations.md."""

    section: str
    name: str
    source: str
    command: str

    @property
    def file(self) -> str:
        """What its picture is called."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-") + ".png"


def lines_of(text: str) -> list[Line]:
    """The models of the tables, in their order."""
    lines, section = [], ""
    for line in text.splitlines():
        if line.startswith("## "):
            section = line[3:]
        cells = line.strip("| ").split(" | ")
        if line.startswith("| ") and len(cells) == 5 and cells[3].startswith("`variform "):
            lines.append(Line(section, cells[0], cells[1], cells[3].strip("`")))
    return lines


def left_out(line: Line) -> str:
    """Why a model has no picture here; "" for one that has."""
    if "TABLE" in line.command:
        return "is for tables of columns of several kinds, and has no picture of digits."
    if "CELLS" in line.command:
        return "is for rows whose sizes are known, which digits have not."
    return ""


# ---- training


def parsed(command: str) -> Any:
    """The configuration of a command with the common options."""
    from variform.config.run import EvaluationConfig, RunConfig
    from variform.faces.cli.commands import app

    apart = re.sub(
        r"(?<=\d),(?=\d)", " ", command
    )  # numbers of a list, as the command line takes them apart
    tokens = shlex.split(f"{apart} {COMMON}")[1:]
    _, bound, _ = app.parse_args(tokens, print_error=False, exit_on_error=False)
    parts = ("data", "model", "train")
    given = {name: bound.arguments[name] for name in parts if name in bound.arguments}
    evaluation = EvaluationConfig(nll_samples=SAMPLES)
    return RunConfig(source=bound.arguments["source"], evaluation=evaluation, **given)


def trained(command: str, folder: Path) -> Any:
    """The run of a command with the common options, trained without a report; what is there is opened."""
    from variform.runs.folder import open_run
    from variform.runs.train import train_run

    if folder.is_dir():
        return open_run(folder)
    return train_run(parsed(command), folder, pictures=False)


def folder_of(command: str, place: Path) -> Path:
    """Where the run of a command is."""
    return place / re.sub(r"\W+", "-", command)


def shown(line: Line, folder: Path) -> dict[str, Any]:
    """Train the model of a line, write its picture, and give its numbers."""
    from variform.runs.samplers import fit_sampler, with_sampler

    is_sampler = line.command.startswith("variform sampler")
    command = AUTOENCODER if is_sampler else line.command
    began = time.process_time()
    run = trained(command, folder_of(command, folder))
    seconds = time.process_time() - began
    numbers, vae = run.evaluation, run.vae
    names = ("elbo", "nll", "kl", "high_pareto_k", "reconstruction_error", "active_units")
    kept = {name: numbers[name] for name in names}
    if is_sampler:
        kind: Any = shlex.split(line.command)[-1]
        fitted = fit_sampler(run, kind, samples=SAMPLES)
        laws = {name: fitted["samplers"][name]["samples"] for name in ("prior", kind)}
        laws["training digits"] = fitted["training_rows"]
        coverage = {name: samples["coverage"] for name, samples in laws.items()}
        kept = {name: kept[name] for name in names[4:]} | {"coverage": coverage}
        vae = with_sampler(run, kind, 1.0)
    picture(run, vae, IMAGES / line.file)
    return {
        "command": line.command,
        "trained": f"{command} {COMMON}",
        "seconds": round(seconds, 1),
        "measures": run.vae.likelihood.measures,
        **kept,
    }


def picture(run: Any, vae: Any, path: Path) -> None:
    """Test digits, their reconstructions, and two rows of new ones."""
    from variform.evaluation import exploration

    test = run.data().test
    few = test.take(exploration.spread(ACROSS, len(test)))
    originals, copies = exploration.reconstruct(vae, few)
    contexts = test.take(exploration.spread(2 * ACROSS, len(test))).contexts
    new = exploration.generate(vae, 2 * ACROSS, context=contexts, seed=0)
    tiles = np.concatenate([originals, copies, new])[:, 0]
    low, high = run.vae.schema.grey_range
    grey = 255 - np.clip((tiles - low) / (high - low), 0, 1) * 255
    side, step = tiles.shape[-1] * SCALE, tiles.shape[-1] * SCALE + GAP
    sheet = np.full((4 * step - GAP, ACROSS * step - GAP), 255.0)
    for place, tile in enumerate(np.kron(grey, np.ones((1, SCALE, SCALE)))):
        top, left = place // ACROSS * step, place % ACROSS * step
        sheet[top : top + side, left : left + side] = tile
    levels = np.round(sheet / 17) * 17  # of 16: what the data have
    Image.fromarray(levels.astype(np.uint8)).quantize(16).save(path, optimize=True)


# ---- the page


def page_of(lines: Sequence[Line], found: dict[str, Any]) -> str:
    """docs/gallery.md."""
    facts = found["facts"]
    parts = [INTRODUCTION.format(**facts)]
    sections = dict.fromkeys(line.section for line in lines)
    for section in sections:
        own = [line for line in lines if line.section == section and line.name in found["models"]]
        pictures = table(("model", "picture"), [[line.name, picture_of(line)] for line in own])
        numbers = table(
            ("model", *HEADS.get(section, HEADS[""])),
            [[line.name, *cells_of(found["models"][line.name])] for line in own],
        )
        note = COVERAGE if section == "Two stages" else ""
        parts.append(f"\n## {section}\n\n{pictures}{note}\n{numbers}")
    without = [
        f"- **{line.name}** ({line.source}) {left_out(line)}" for line in lines if left_out(line)
    ]
    parts.append("\n## Without a picture\n\n" + "\n".join(without) + "\n")
    return "".join(parts) + END.format(**facts)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of the page."""
    lines = [row_of(heads), "|---" * len(heads) + "|", *map(row_of, rows)]
    return "\n".join(lines) + "\n"


def row_of(cells: Sequence[str]) -> str:
    """A row of a table."""
    return f"| {' | '.join(cells)} |".replace("| -", "| \N{MINUS SIGN}")


def picture_of(line: Line) -> str:
    """The picture of a model, as the page shows it."""
    alt = f"{line.name}: test digits, reconstructions, new digits"
    return f"![{alt}](images/gallery/{line.file})"


def cells_of(numbers: dict[str, Any]) -> list[str]:
    """The numbers of a model as the page has them."""
    from variform.evaluation.tables import show

    units = numbers["active_units"]
    used = f"{units['count']} of {units['of']}"
    error = show(numbers["reconstruction_error"])
    if "coverage" in numbers:
        return ["the autoencoder", *map(show, numbers["coverage"].values()), error, used]
    doubt = " †" if (numbers["high_pareto_k"] or {"mean": 0})["mean"] > 0.5 else ""
    densities = [show(numbers["elbo"]), show(numbers["nll"]) + doubt, show(numbers["kl"])]
    if parsed(numbers["command"]).train.is_point:
        densities = ["none", "none", "none"]
    return [numbers["measures"], *densities, error, used, f"{numbers['seconds']:.0f} s"]


def facts_of(run: Any) -> dict[str, Any]:
    """What the page says of how it was made."""
    import torch

    from variform.version import __version__

    splits = run.data()
    versions = {
        "variform": __version__,
        "torch": torch.__version__,
        "Python": platform.python_version(),
    }
    return {
        "rows": f"{len(splits.train):,}",
        "test": f"{len(splits.test):,}",
        "epochs": run.config.train.epochs,
        "samples": SAMPLES,
        "across": ACROSS,
        "machine": f"a processor of kind {platform.machine()}",
        "threads": torch.get_num_threads(),
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "common": COMMON,
    }


def main(arguments: Sequence[str]) -> None:
    """Train, draw and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "words", nargs="*", help="only models with one of these words in their names"
    )
    parser.add_argument(
        "--page", action="store_true", help="write the page from numbers.json alone"
    )
    given = parser.parse_args(arguments)
    lines = lines_of(COMBINATIONS.read_text(encoding="utf-8"))
    IMAGES.mkdir(parents=True, exist_ok=True)
    found = json.loads(NUMBERS.read_text()) if NUMBERS.is_file() else {"facts": {}, "models": {}}
    with tempfile.TemporaryDirectory() as place:
        for line in [] if given.page else lines:
            if left_out(line) or not chosen(line, given.words):
                continue
            numbers = shown(line, Path(place))
            found["models"][line.name] = numbers
            NUMBERS.write_text(json.dumps(found, indent=1) + "\n")
            print(f"{line.name}: {numbers['seconds']:.0f} s", flush=True)
        if not given.page and not given.words:
            found["facts"] = facts_of(trained(AUTOENCODER, folder_of(AUTOENCODER, Path(place))))
    names = [line.name for line in lines]
    found["models"] = {name: found["models"][name] for name in names if name in found["models"]}
    NUMBERS.write_text(json.dumps(found, indent=1) + "\n")
    PAGE.write_text(page_of(lines, found), encoding="utf-8")
    print(f"{len(found['models'])} models: {PAGE}")


def chosen(line: Line, words: Sequence[str]) -> bool:
    """Whether a model is asked for."""
    return not words or any(word.lower() in line.name.lower() for word in words)


if __name__ == "__main__":
    main(sys.argv[1:])
