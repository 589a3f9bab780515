"""Does twice as long a training help, and does the report foresee it? On nine small data sets, at five lengths each.

    python benchmarks/longer.py
    python benchmarks/longer.py --only wine iris --schedule constant

A training of each length is compared with one of twice its epochs on the same test rows: it helps where the ELBO is
better by more than one paired standard error. The default length is 1. Beside that stand what the report says
(`is_still_learning`), and what it said before: that the best epoch came in the last tenth.
"""

import argparse
import dataclasses
import json
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
from defaults import SOURCES
from safetensors.numpy import load_file

import variform
from variform.evaluation.verdict import is_still_learning

LENGTHS = (1 / 8, 1 / 4, 1 / 2, 1, 2, 4)
STEPS, LEAST_EPOCHS = 3000, 20  # of a default training
NAMES = "wine,iris,moons,s-curve,diabetes,breast cancer,digits,counts,mixed"


@dataclasses.dataclass
class Training:
    """What is kept of one: the history, and the ELBO of each test row."""

    history: list[dict]
    elbo: np.ndarray


def trained(source: str, epochs: int, schedule: str, folder: Path) -> Training:
    """A training of this many epochs with all else as usual."""
    options = {"epochs": epochs, "out": folder, "progress": False}
    if schedule == "constant":
        options["schedule"] = schedule
    if not (folder / "scores.safetensors").exists():
        variform.train(source, **options)
    history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    return Training(history, load_file(folder / "scores.safetensors")["elbo"])


def best_came_late(history: list[dict]) -> bool:
    """What the report went by before."""
    best = max(number for number, row in enumerate(history, 1) if row["best"])
    return best > 0.9 * len(history)


def main() -> None:
    """Train, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", default=NAMES.split(","))
    parser.add_argument("--schedule", choices=("cosine", "constant"), default="cosine")
    parser.add_argument("--runs", type=Path, help="a folder in which the runs are kept")
    asked = parser.parse_args()
    runs = asked.runs or Path(tempfile.mkdtemp())
    seen: Counter[tuple[str, bool, str]] = Counter()
    print("| data | length | doubling gains, nats | still learning | best came late |")
    print("|---|---|---|---|---|")
    for name in asked.only:
        made = SOURCES.get(name, name)
        (runs / "data" / name).mkdir(parents=True, exist_ok=True)
        source = str(made(runs / "data" / name)) if callable(made) else made
        one = trained(source, 1, asked.schedule, runs / f"{name}-{asked.schedule}-default")
        usual = max(LEAST_EPOCHS, round(STEPS / one.history[0]["step"]))
        folders = {length: runs / f"{name}-{asked.schedule}-{length:g}" for length in LENGTHS}
        fits = [
            trained(source, max(2, round(usual * length)), asked.schedule, folder)
            for length, folder in folders.items()
        ]
        for length, fit, twice in zip(LENGTHS, fits, fits[1:], strict=False):
            gains = twice.elbo - fit.elbo
            gain, error = gains.mean(), gains.std(ddof=1) / len(gains) ** 0.5
            outcome = "neither"
            if abs(gain) > error:
                outcome = "helps" if gain > 0 else "harms"
            says = {"still learning": is_still_learning(fit.history)}
            says["best came late"] = best_came_late(fit.history)
            seen.update((rule, said, outcome) for rule, said in says.items())
            words = " | ".join("yes" if said else "no" for said in says.values())
            print(f"| {name} | {length:g} | {gain:.3f} ± {error:.3f} | {words} |", flush=True)
    for rule in ("still learning", "best came late"):
        for said in (True, False):
            counts = {of: seen[rule, said, of] for of in ("helps", "neither", "harms")}
            print(rule, "said" if said else "not said", counts)


if __name__ == "__main__":
    main()
