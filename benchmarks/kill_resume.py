"""Five times SIGKILL at a random moment of a real training process, and after each another process goes on.

Prints when each kill came, the step of the checkpoint it left, and whether the end is bit for bit that of a run which
was left alone.

    python benchmarks/kill_resume.py
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from safetensors import safe_open
from safetensors.numpy import load_file

OPTIONS = [
    "--epochs",
    "400",
    "--hidden",
    "64",
    "--dropout",
    "0.1",
    "--binarise",
    "dynamic",
    "--warmup",
    "2000",
]
OPTIONS += ["--schedule", "cosine", "--checkpoint-every", "0.5s", "--nll-samples", "10"]
RESULTS = ("model.safetensors", "last.safetensors", "checkpoint.safetensors")
KILLS = 5


def begin(*arguments: str | Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "variform", "train", *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def step(folder: Path) -> str:
    path = folder / "checkpoint.safetensors"
    if not path.exists():
        return "no checkpoint yet"
    with safe_open(path, framework="np") as file:
        return f"step {json.loads(file.metadata()['variform'])['state']['step']}"


def main() -> None:
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else time.time_ns()
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as temporary:
        alone, killed = Path(temporary) / "alone", Path(temporary) / "killed"
        started = time.monotonic()
        assert begin("digits", *OPTIONS, "--out", alone).wait() == 0
        whole = time.monotonic() - started
        print(f"seed {seed}; left alone: {whole:.1f} s, {step(alone)}")
        done = 0
        while done < KILLS:
            process = begin(
                *(
                    ["--resume", killed]
                    if killed.exists()
                    else ["digits", *OPTIONS, "--out", killed]
                )
            )
            moment = chance.uniform(0.1, 0.6) * whole
            try:
                code = process.wait(moment)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                done += 1
                print(f"kill {done}: after {moment:.2f} s, {step(killed)}")
            else:
                print(f"ended before it could be killed (exit code {code}), {step(killed)}")
                break
        assert begin("--resume", killed).wait() == 0
        print(f"resumed to the end: {step(killed)}")
        for name in RESULTS:
            first, second = load_file(alone / name), load_file(killed / name)
            same = first.keys() == second.keys() and all(
                first[key].tobytes() == second[key].tobytes() for key in first
            )
            print(f"{name}: {len(first)} tensors, {'identical' if same else 'DIFFERENT'}")


if __name__ == "__main__":
    main()
