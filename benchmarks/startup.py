"""What a command costs before it does anything: CPU seconds and peak memory of short commands on a small run.

    python benchmarks/startup.py [SRC ...] [--repeats 3]

SRC is the src folder of a checkout; several are measured in turns, so that a busy machine slows all of them. By default
this checkout's own. The run is two epochs on the digits, trained anew by the first SRC in a folder that is deleted
afterwards. CPU seconds are user + system time of the process and its children, the least of the repeats; the peak is of
its largest process, the most of them. Bytecode is cached, as it is for a user.
"""

import argparse
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

OWN = Path(__file__).resolve().parents[1] / "src"

IMPORTS = (
    "import torch",
    "import sklearn.base",
    "import variform",
    "from variform import load",
    "from variform import fit",
    "import variform.estimator",
)

MISTAKES = (
    "train rows.npy --wrong 2",
    "train rows.npy --latent-dim 0",
    "train rows.npy --likelihood bernuli",
    "train rows.npy --config wrong.toml",
    "train nowhere.npy",
    "train rows.npy --out run",
    "encode nowhere",
    "info nowhere",
    "push nowhere ada/digits",
    "pull ada",
)

RUNS = (
    "digits --out run",
    "digits --seed 1 --out run2",
    "rows.npy --out rows/run",
    "rows.npy --cells gaps --likelihood gaussian --out gaps",
)
"""Scikit-learn holds the digits, and `rows.npy` the same rows."""

ARRAYS = """
import numpy as np
from sklearn.datasets import load_digits
np.save("rows.npy", load_digits().images)
np.save("points.npy", np.zeros((3, 10)))
"""

HELP = ("--version", "--help", "train --help", "study latent-dim --help", "push --help")

COMMANDS = (
    "info run",
    "info rows/run/model.safetensors",
    "info rows.npy",
    "compare run run2",
    "compare run run2 --out NEW",
    "evaluate run --samples 10",
    "encode rows/run",
    "encode run",
    "decode rows/run points.npy --out NEW",
    "generate rows/run --count 4 --out NEW",
    "reconstruct rows/run --out NEW",
    "impute gaps --samples 10 --refine 0",
    "sampler rows/run --samples 10",
    "draw rows/run",
    "explore rows/run",
    "serve rows/run --port 0",
    "export rows/run --to numpy --out NEW",
    "export rows/run --to onnx --out NEW",
    "profile rows.npy",
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sources", nargs="*", type=Path, default=[OWN])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", default="", help="what a line must hold")
    options = parser.parse_args()
    sources = [source.resolve() for source in options.sources]
    folder = Path(tempfile.mkdtemp())
    try:
        prepare(folder, sources[0])
        names = [f"| {source.parent.name}: s | MB " for source in sources]
        print(f"| command {''.join(names)}|\n| --- {'| ---: | ---: ' * len(sources)}|")
        for line in (*IMPORTS, *HELP, *MISTAKES, *COMMANDS):
            if options.only in line:
                cells = measured(line, folder, sources, options.repeats)
                print(f"| `{line}` {''.join(cells)}|", flush=True)
    finally:
        shutil.rmtree(folder)


def prepare(folder: Path, source: Path) -> None:
    """The run, and the files that some commands want."""
    # In a process of its own: the peak of a child is at least what its parent has.
    subprocess.run([sys.executable, "-c", ARRAYS], cwd=folder, check=True)
    (folder / "wrong.toml").write_text("[train]\noptimizer = 'adom'\n")
    for line in RUNS:
        call = command(f"train {line} --epochs 2")
        subprocess.run(call, cwd=folder, env=environment(source), check=True, capture_output=True)


def command(line: str) -> list[str]:
    if line.startswith(("import", "from")):
        return [sys.executable, "-c", line]
    return [sys.executable, "-m", "variform", *line.split()]


def environment(source: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"}


def measured(line: str, folder: Path, sources: list[Path], repeats: int) -> list[str]:
    """CPU seconds and MB of a line for each source, as cells of a table."""
    seconds: dict[Path, list[float]] = {source: [] for source in sources}
    peaks: dict[Path, list[float]] = {source: [] for source in sources}
    for _ in range(repeats):
        for source in sources:
            used, peak = once(line, folder, source)
            seconds[source].append(used)
            peaks[source].append(peak)
    return [f"| {min(seconds[source]):.2f} | {max(peaks[source]):.0f} " for source in sources]


def once(line: str, folder: Path, source: Path) -> tuple[float, float]:
    """CPU seconds and MB of one call, by a process of its own that waits for no other."""
    new = folder / "NEW"
    call = command(line)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        process = subprocess.Popen(
            call,
            cwd=folder,
            env=environment(source),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert process.stdout is not None
        if line.startswith("serve"):
            process.stdout.readline()  # it says where it listens
            time.sleep(0.2)
            process.send_signal(signal.SIGINT)
        process.stdout.read()
        process.wait()
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        text = f"{usage.ru_utime + usage.ru_stime} {usage.ru_maxrss / 1024}"
        os.write(writing, text.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        used, peak = map(float, pipe.read().split())
    os.waitpid(child, 0)
    if new.is_dir():
        shutil.rmtree(new)
    return used, peak


if __name__ == "__main__":
    main()
