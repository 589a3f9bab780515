"""A disk that runs full, and one that becomes read-only, under a real training run (as root, on Linux).

A small memory file system is the disk. The run is ended by it with a message and the checkpoint before is whole; after
room is made (or writing allowed) the run goes on and ends with the bits of one that was left alone.

    python benchmarks/full_disk.py
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from safetensors import safe_open
from safetensors.numpy import load_file

OPTIONS = [
    "--epochs",
    "150",
    "--hidden",
    "64",
    "--dropout",
    "0.1",
    "--checkpoint-every",
    "1epoch",
    "--nll-samples",
    "10",
]
RESULTS = ("model.safetensors", "last.safetensors", "checkpoint.safetensors")


def begin(*arguments: str | Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "variform", "train", *map(str, arguments)]
    return subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE, text=True)


def step(folder: Path) -> int:
    with safe_open(folder / "checkpoint.safetensors", framework="np") as file:
        return json.loads(file.metadata()["variform"])["state"]["step"]


def mount(disk: Path, options: str) -> int:
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", disk]
    return subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode


def ended(process: subprocess.Popen[str]) -> str:
    """The last line of what a process said, and its exit code."""
    said = process.communicate(timeout=120)[1].splitlines()
    return f"exit code {process.returncode}: {said[-1] if said else ''}"


def same(first: Path, second: Path) -> bool:
    pairs = ((load_file(first / name), load_file(second / name)) for name in RESULTS)
    return all(a.keys() == b.keys() and all(a[key].tobytes() == b[key].tobytes() for key in a) for a, b in pairs)


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        alone, disk = Path(temporary) / "alone", Path(temporary) / "disk"
        disk.mkdir()
        print("left alone:", ended(begin("digits", *OPTIONS, "--out", alone)), "step", step(alone))
        for name in ("full disk", "read-only"):
            mount(disk, "size=2m")
            try:
                process = begin("digits", *OPTIONS, "--out", disk / "run")
                while process.stderr is not None and "epoch   20" not in process.stderr.readline():
                    pass
                if name == "full disk":
                    status = os.statvfs(disk)
                    (disk / "filler").write_bytes(bytes(status.f_bavail * status.f_frsize - 50_000))
                else:
                    while mount(disk, "remount,ro"):  # busy while a file is open for writing
                        time.sleep(0.01)
                print(f"{name}:", ended(process))
                files = sorted(path.name for path in (disk / "run").iterdir())
                print(f"  left: {', '.join(files)}; checkpoint of step {step(disk / 'run')}")
                mount(disk, "remount,rw,size=50m")
                print("  resumed:", ended(begin("--resume", disk / "run")))
                print("  bits of the run that was left alone:", same(alone, disk / "run"))
            finally:
                subprocess.run(["umount", disk], check=False)


if __name__ == "__main__":
    main()
