"""What a training uses of the machine: device, precision, compiled code and threads."""

import os
import platform
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import torch
from torch import nn

from variform.config.checks import checked
from variform.config.choices import DeviceName
from variform.config.training import TrainConfig
from variform.model.vae import evaluating
from variform.objectives import Objective
from variform.system import processes
from variform.system.work import CONVOLUTIONS, floats_given, multiplications, threads_for

# Measured on two cores: what a compiled step saves, and what compiling costs at most (4 s if it was done before).
_SAVED_PER_STEP, _SAVED_PER_UNIT, _COMPILE_SECONDS = 0.25e-3, 3e-9, 10.0


@checked
def find_device(name: DeviceName) -> torch.device:
    """The device that a configuration names.

    Args:
        name: `auto`, `cpu`, `cuda` or `mps`. In a job of several processes each takes the GPU of its local rank.

    Raises:
        ValueError: when this machine has no such device.

    Example:
        >>> find_device("cpu")
        device(type='cpu')
    """
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if name == "auto":
        name = next(device for device in ("cuda", "mps", "cpu") if there[device])
    if not there[name]:
        there_are = ", ".join(device for device, is_there in there.items() if is_there)
        raise ValueError(
            f"`device` must be one that this machine has: {there_are}; got {name}. Use `device='auto'`."
        )
    if name == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
        return device
    return torch.device(name)


def computes_behind(device: torch.device) -> bool:
    """Whether a call returns before the device has done its work, so that whoever reads a number waits for all of it.

    Example:
        >>> computes_behind(torch.device("cpu")), computes_behind(torch.device("cuda"))
        (False, True)
    """
    return device.type == "cuda"


def require_possible(config: TrainConfig, count: int) -> torch.device:
    """The device, where `count` processes of this machine can do what a configuration asks for.

    Raises:
        ValueError: says what cannot be done.

    Example:
        >>> require_possible(TrainConfig(sharded=True), 1)
        Traceback (most recent call last):
        ValueError: `sharded` needs several processes; there is one. Start them with torchrun, or leave `sharded` out.
    """
    if config.sharded and count == 1:
        raise ValueError(
            "`sharded` needs several processes; there is one. Start them with torchrun, or leave `sharded` out."
        )
    if config.accumulate > 1 and config.sharded:
        raise ValueError(
            "`accumulate` above 1 needs weights that are whole in each process; got "
            f"{config.accumulate} with `sharded`. Leave one of the two out."
        )
    if config.accumulate > 1 and config.compile == "on":
        raise ValueError(
            f"`compile='on'` needs a batch that is worked through at once; got `accumulate={config.accumulate}`. Use "
            "`compile='off'`, or leave `accumulate` out."
        )
    if config.recompute and config.compile == "on":
        raise ValueError(
            "`compile='on'` needs layers that are computed once; got `recompute=True`. Use `compile='off'`, or leave "
            "`recompute` out."
        )
    if config.compile == "on" and config.precision == "fp16":
        raise ValueError(
            "`compile='on'` needs float32 or bf16; got fp16. Use `precision='bf16'` or `compile='off'`."
        )
    if config.compile == "on" and count > 1:
        raise ValueError(
            f"`compile='on'` is for one process; there are {count}. Use `compile='off'`."
        )
    return find_device(config.device)


def compiles(objective: Objective, config: TrainConfig, steps: int) -> bool:
    """Whether the step is compiled: as configured, or `auto`, where it wins back the time that compiling takes.

    A pure function of configuration, model and number of steps, so that a resumed run computes the same bits.

    Args:
        objective: What is trained.
        config: The optimiser's side of the configuration.
        steps: Steps of the whole training.
    """
    if config.compile != "auto":
        return config.compile == "on"
    can = objective.compilable and objective.vae.compilable
    if (
        config.precision == "fp16"
        or config.accumulate > 1
        or config.recompute
        or processes.count() > 1
        or objective.vae.has_own_networks
        or not can
    ):
        return False
    units = config.batch * max(1, config.samples) * _through_both(objective, floats_given)
    return steps * (_SAVED_PER_STEP + _SAVED_PER_UNIT * units) > _COMPILE_SECONDS


def threads_of(objective: Objective, config: TrainConfig) -> int:
    """How many threads of the processor a step uses.

    Args:
        objective: What is trained.
        config: The optimiser's side of the configuration, with its batch.
    """
    per_row = sum(parameter.numel() for parameter in objective.parameters())
    # The weights of a convolution meet many positions.
    if any(isinstance(layer, CONVOLUTIONS) for layer in objective.modules()):
        per_row = max(per_row, _through_both(objective, multiplications))
    return threads_for(config.batch * max(1, config.samples) * per_row)


def _through_both(
    objective: Objective, count: Callable[[nn.Module, Callable[[], object]], int]
) -> int:
    """What `count` finds in both networks for one example."""
    vae = objective.vae
    zeros, context = vae.like(torch.zeros(1, *vae.event_shape)), vae.no_context(1)
    with evaluating(objective):
        return count(vae, lambda: vae.decode(vae.encode(zeros, context).mean, context))


def machine(threads: int) -> dict[str, Any]:
    """What the bits of a training depend on besides configuration and data: versions, device types, threads.

    Args:
        threads: Those that its steps use.

    Example:
        >>> sorted(machine(1))
        ['platform', 'processes', 'python', 'threads', 'torch', 'zuko']
    """
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "zuko": version("zuko"),
        "platform": platform.machine(),
        "threads": threads,
        "processes": int(os.environ.get("WORLD_SIZE", "1")),
    }
