"""From simulated bicycle frames to a lighter one: look, train, search, and what is left of it under a second judge.

    pip install 'variform[design]'
    python examples/frames/main.py runs/frames

Each step is a command of variform, which is printed before it runs; docs/design/frames.md tells the story.
"""

import argparse
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import frames

RULES = ("SS Thickness < SS OD/2", "CS Thickness < CS OD/2")
MODEL = "--likelihood mixed --latent-dim 12"
TARGETS = ("Model Mass=2.25..2.75", "Sim 1 Safety Factor=1.35..1.65")
CONDITIONS = tuple(target.partition("=")[0] for target in TARGETS)


def run(folder: Path, *words: str) -> None:
    """A command in `folder`, after it was printed."""
    print(f"\n$ {shlex.join(words)}", flush=True)
    programs = {"python": [sys.executable], "variform": [sys.executable, "-m", "variform"]}
    subprocess.run([*programs[words[0]], *words[1:]], cwd=folder, check=True)


def main(folder: Path) -> None:
    shutil.copytree(frames.HERE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    folder = folder.resolve()
    run(folder, "python", "frames.py", "known.csv")
    run(folder, "python", "judge.py")
    look = ["inspect", "known.csv", "--id", "frame", "--response", *frames.responses()]
    rules = [word for rule in RULES for word in ("--rule", rule)]
    run(folder, "variform", *look, *rules, "--out", "inspected")
    schema = ["--schema", "inspected/columns.toml"]
    train = ["variform", "train", "inspected/clean.csv", *shlex.split(MODEL)]
    run(folder, *train, *schema, "--out", "runs/frames")
    for problem in ("lightest", "anywhere"):
        run(folder, "variform", "design", f"{problem}.toml", "--out", f"runs/{problem}")
    others = [name for name in frames.responses() if name not in CONDITIONS]
    roles = ["--id", "frame", "--response", *others, "--condition", *CONDITIONS]
    run(folder, *train, *roles, "--out", "runs/conditional")
    run(folder, "variform", "design", "target", "target.toml", *TARGETS)
    run(folder, "python", "outcome.py")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="a new folder")
    main(parser.parse_args().folder)
