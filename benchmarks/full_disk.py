"""A disk that runs full, and one that becomes read-only, under a real training run (as root, on Linux with ext4).

A file with ext4 in it is the disk. The run is ended by it with a message and the checkpoint before is whole; after room
is made (or the disk repaired) the run goes on and ends with the bits of one that was left alone. Nothing here looks at
the clock: the run is stopped by a signal while the disk is changed, and cannot be far ahead by then.

    python benchmarks/full_disk.py
"""

import fcntl
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
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
ROOM = 50_000  # bytes that a full disk has left: less than a checkpoint needs


def begin(*arguments: str | Path) -> subprocess.Popen[str]:
    """A training which waits as soon as 4 kB of its progress, some 40 epochs, are in the pipe."""
    command = [sys.executable, "-m", "variform", "train", *map(str, arguments)]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    fcntl.fcntl(process.stderr, fcntl.F_SETPIPE_SZ, 4096)
    return process


def stop(process: subprocess.Popen[str], folder: Path) -> None:
    """Stop a training after its 20th epoch, at a moment when it writes no file."""
    assert process.stderr is not None
    while "epoch   20" not in process.stderr.readline():
        pass
    halt(process)
    while any(path.name.startswith(".checkpoint") for path in folder.iterdir()):
        process.send_signal(signal.SIGCONT)
        process.stderr.readline()  # of an epoch after it
        halt(process)


def halt(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGSTOP)
    os.waitpid(process.pid, os.WUNTRACED)


def ended(process: subprocess.Popen[str]) -> str:
    """The last line of what a process said, and its exit code."""
    said = process.communicate()[1].splitlines()
    return f"exit code {process.returncode}: {said[-1] if said else ''}"


def step(folder: Path) -> int:
    with safe_open(folder / "checkpoint.safetensors", framework="np") as file:
        return json.loads(file.metadata()["variform"])["state"]["step"]


def same(first: Path, second: Path) -> bool:
    pairs = ((load_file(first / name), load_file(second / name)) for name in RESULTS)
    return all(
        a.keys() == b.keys() and all(a[key].tobytes() == b[key].tobytes() for key in a)
        for a, b in pairs
    )


def system(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@contextmanager
def mounted(image: Path, disk: Path) -> Iterator[None]:
    system("mount", "-o", "loop,errors=remount-ro", image, disk)
    try:
        yield
    finally:
        system("umount", disk)


def fill(disk: Path) -> None:
    status = os.statvfs(disk)
    (disk / "filler").write_bytes(bytes(status.f_bavail * status.f_frsize - ROOM))


def make_read_only(disk: Path) -> None:
    """As an ext4 does by itself when it finds an error; the kernel's own switch for tests says that there is one."""
    device = Path(system("findmnt", "--noheadings", "--output", "SOURCE", disk)).name
    Path(f"/sys/fs/ext4/{device}/trigger_fs_error").write_text("by full_disk.py")


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        alone, image, disk = (Path(temporary) / name for name in ("alone", "image", "disk"))
        disk.mkdir()
        print("left alone:", ended(begin("digits", *OPTIONS, "--out", alone)), "step", step(alone))
        for name, spoil in (("full disk", fill), ("read-only", make_read_only)):
            image.write_bytes(bytes(2**26))
            system("mkfs.ext4", "-q", "-m", "0", image)
            with mounted(image, disk):
                process = begin("digits", *OPTIONS, "--out", disk / "run")
                stop(process, disk / "run")
                spoil(disk)
                process.send_signal(signal.SIGCONT)
                print(f"{name}:", ended(process))
            subprocess.run(
                ["e2fsck", "-p", image], check=False, stdout=subprocess.DEVNULL
            )  # says 1 where it mended
            with mounted(image, disk):
                (disk / "filler").unlink(missing_ok=True)
                files = sorted(path.name for path in (disk / "run").iterdir())
                print(f"  left: {', '.join(files)}; checkpoint of step {step(disk / 'run')}")
                print("  resumed:", ended(begin("--resume", disk / "run")))
                print("  bits of the run that was left alone:", same(alone, disk / "run"))


if __name__ == "__main__":
    main()
