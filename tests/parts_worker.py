"""What each process of a test job does: `torchrun --nproc-per-node 2 parts_worker.py TASK FOLDER`."""

import contextlib
import fcntl
import json
import os
import resource
import shutil
import signal
import sys
from pathlib import Path

import torch
from processes_worker import splits, trained
from safetensors.torch import save_file
from torch._subclasses.fake_tensor import FakeTensor
from torch.distributed.tensor import DTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from variform import ModelConfig, TrainConfig, build_objective, build_vae
from variform.system import processes
from variform.training import checkpoints, parts
from variform.training.fit import Interrupted
from variform.training.saving import Saving
from variform.training.step import Step
from variform.training.validation import no_sums

CASES = {"sharded": {}, "sharded rmsprop": {}}
"""Those of `processes_worker` that are stopped and resumed, by other numbers of processes too."""
WIDTH = 256


def stopped(case, folder, **changes):
    """Train until the first epoch is done."""
    with contextlib.suppress(Interrupted):
        trained(
            case,
            folder=folder,
            on_epoch=lambda _: signal.raise_signal(signal.SIGTERM),
            **changes,
        )


def resumed(case, folder):
    """Train the rest, and keep what came of it beside the folder."""
    weights = trained(case, folder=folder, resume=True)[1]
    if processes.rank() == 0:
        save_file(weights, folder.with_suffix(".safetensors"))


class Largest(TorchDispatchMode):
    """Notes the bytes of the largest tensor that goes in or out of any operation; of what is split, of its rows."""

    bytes = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        if any(issubclass(kind, DTensor) for kind in types):
            return NotImplemented  # until it is an operation on rows
        result = operation(*args, **(kwargs or {}))
        for value in tree_leaves((args, kwargs, result)):
            if isinstance(value, torch.Tensor) and not isinstance(value, FakeTensor):
                self.bytes = max(self.bytes, value.nbytes)
        return result


def measured(folder):
    """What this process has of a state in memory and in files, and the largest tensors that it sees on the way."""
    torch.set_default_dtype(torch.float64)
    config = TrainConfig(batch_size=32, sharded=True, ema=0.9)
    train, _ = splits()
    vae = build_vae(
        ModelConfig(likelihood="bernoulli", latent_dim=2, hidden=(WIDTH,)), train.schema
    )
    step = Step(build_objective(vae, config), config, 1)
    x, _ = vae.batch(train, torch.arange(32))
    with processes.share(32) as (rows, weight):
        step(x[rows], 32, weight)
    with Largest() as saving:
        state = step.trained.capture(no_sums())
        checkpoints.save(folder, state, "{}")
    with Largest() as loading:
        state = checkpoints.load(folder, "{}", step.trained)
    groups = (state.weights, state.average, state.best, state.optimizer)
    values = [value for group in groups for value in group.values()]
    return {
        "saving": saving.bytes,
        "loading": loading.bytes,
        "held": sum(parts.own(value).nbytes for value in values),
        "whole": sum(value.numel() * value.element_size() for value in values),
    }


@contextlib.contextmanager
def photographed(folder, album):
    """Inside, the folder is copied before each file appears in it or goes: what a kill at that moment leaves."""
    replace, unlink = os.replace, Path.unlink
    album.mkdir(exist_ok=True)

    def before(path, operation):
        if not (Path(path).parent == folder and Path(path).exists()):
            return operation()
        with open(album / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            number = len(list(album.iterdir()))
            shutil.copytree(
                folder, album / f"{number:03d}", ignore=shutil.ignore_patterns(".lock*")
            )
            return operation()

    os.replace = lambda old, new: before(old, lambda: replace(old, new))
    Path.unlink = lambda path, **options: before(path, lambda: unlink(path, **options))
    try:
        yield
    finally:
        os.replace, Path.unlink = replace, unlink


def refused(folder, **options):
    """What this process says of a training that cannot go on."""
    try:
        trained("sharded", folder=folder, **options)
    except OSError as error:
        return str(error)


def with_a_full_disk(folder):
    """From the second epoch on, no file of process 1 can grow, as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    note_epoch = Saving.note_epoch

    def note_and_fill(self, row):
        note_epoch(self, row)
        if row["epoch"] == 2 and processes.rank() == 1:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))

    Saving.note_epoch = note_and_fill
    try:
        return refused(folder, checkpoint_every="1epoch")
    finally:
        Saving.note_epoch = note_epoch
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def apart(folder, *, has_one):
    """What is said where the folder of process 1 is another one, or none."""
    place = folder / f"host {processes.rank()}"
    place.mkdir()
    if has_one:
        (place / "run").mkdir()
    processes.any_of(True)
    with contextlib.chdir(place):
        return refused(Path("run"))


def by_three(folder):
    for case in CASES:
        stopped(case, folder / f"{case} by three")


def by_two(folder):
    (folder / "measured").mkdir(exist_ok=True)
    notes = {"measured": measured(folder / "measured")}
    for case in CASES:
        resumed(case, folder / f"{case} by three")
        resumed(case, folder / f"{case} by one")
        own = folder / f"{case} by two"
        own.mkdir(exist_ok=True)
        with photographed(own, folder / "album") if case == "sharded" else contextlib.nullcontext():
            stopped(case, own, checkpoint_every="3steps")
        processes.any_of(True)
        if processes.rank() == 0:
            shutil.copytree(own, folder / f"{case} left by two")
        processes.any_of(True)
        resumed(case, own)
    notes["full disk"] = with_a_full_disk(folder / "full")
    for name, has_one in (("no folder", False), ("another folder", True)):
        (folder / name).mkdir(exist_ok=True)
        notes[name] = apart(folder / name, has_one=has_one)
    (folder / f"notes-{processes.rank()}.json").write_text(json.dumps(notes))


if __name__ == "__main__":
    with processes.joined():
        {"by_three": by_three, "by_two": by_two}[sys.argv[1]](Path(sys.argv[2]))
