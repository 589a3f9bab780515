"""Checkpoints: everything that the rest of a training depends on, captured, restored, and kept in a file.

The file is sealed, whole or not there; it does not depend on how many processes train.
"""

import json
import math
import reprlib
import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from numbers import Real
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import torch
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from variform.config.checks import Natural, recorded
from variform.system import locks, processes
from variform.system.files import to_json, write_text
from variform.system.heartbeats import copying
from variform.system.sealing import opened, verified, write_sealed
from variform.training import divergence
from variform.training.history import CHECKPOINT
from variform.training.identity import belongs

_MISFITS = (ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError)


class _Rollback(TypedDict):
    step: int
    what: str


class _Row(TypedDict):
    seconds: Real


class _Numbers(TypedDict):
    """What is no tensor of a `State`, as a file has it; older versions wrote less."""

    step: Natural
    best_loss: Real
    best_epoch: int
    stale: int
    rows: list[_Row]
    untrained: NotRequired[dict[str, Real]]
    rollbacks: NotRequired[list[_Rollback]]
    threads: NotRequired[Natural]
    products: NotRequired[dict[str, str]]


@dataclass
class State:
    """Everything that the rest of a run depends on; a checkpoint is this and nothing else."""

    weights: dict[str, Tensor]
    best: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    """Slots of the optimiser and of the loss scaler, by `<parameter>.<slot>` and `scaler.<name>`."""
    random: dict[str, Tensor]
    """States of the random generators, by type of device."""
    sums: Tensor
    """Sums of the terms over the examples of the present epoch, of all processes."""
    average: dict[str, Tensor] = field(default_factory=dict)
    """The moving average of the weights, by `module.<parameter>`, and `n_averaged`; empty where there is none."""
    step: int = 0
    best_loss: float = math.inf
    best_epoch: int = 0
    stale: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)
    untrained: dict[str, float] = field(default_factory=dict)
    """Means of the untrained model, by which a training that diverges is recognised; empty in older files."""
    rollbacks: list[dict[str, Any]] = field(default_factory=list)
    """After which `step` the training went back to its best weights, and `what` had happened."""
    threads: int = 0
    """Threads of the processor that the steps use; 0 in older files, whose steps used all that torch has."""
    products: dict[str, str] = field(default_factory=dict)
    """How layers are computed, see `products.computing`; in older files all by torch as it is."""
    note: str = ""
    """What a user must know of the file that it was read from."""

    @property
    def slowed(self) -> float:
        """What the learning rate is multiplied by after the rollbacks so far."""
        return divergence.SLOWER ** len(self.rollbacks)

    @property
    def last_try(self) -> bool:
        """Whether the next divergence ends the training."""
        return len(self.rollbacks) == divergence.TRIES

    @property
    def ended(self) -> bool:
        """Whether it diverged once too often."""
        return len(self.rollbacks) > divergence.TRIES

    @property
    def finite(self) -> bool:
        """Whether every weight is a number."""
        return all(bool(value.isfinite().all()) for value in self.weights.values())

    @property
    def kept(self) -> dict[str, Tensor]:
        """The weights that are validated: their average, where there is one."""
        named = {name: value for name, value in self.average.items() if name.startswith("module.")}
        return {
            name.removeprefix("module."): value for name, value in named.items()
        } or self.weights


@dataclass(frozen=True)
class Trained:
    """What a state is captured from and restored to.

    Args:
        module: The module that is trained.
        optimizer: Its optimiser.
        scaler: The scaler of half-precision losses.
        device: Where the module is.
        sharded: Whether its parameters are split over processes.
        average: The moving average of its weights, if any.
    """

    module: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    device: torch.device
    sharded: bool = False
    average: nn.Module | None = None

    def capture(self, sums: Tensor, previous: State | None = None) -> State:
        """A copy of the present state; `previous` supplies the best weights and the history. All processes call it."""
        fields: dict[str, Any] = {
            "weights": self._weights(self.module),
            "average": {} if self.average is None else self._weights(self.average),
            "optimizer": self._slots() | self._scale(),
            "random": self._random(),
            "sums": processes.summed(sums.cpu()).clone(),
        }
        return (
            replace(previous, **fields)
            if previous is not None
            else State(best=fields["weights"], **fields)
        )

    def restore(self, state: State, sums: Tensor) -> None:
        """Bring the module, the optimiser, the random generators and the sums to `state`.

        Raises:
            ValueError: for a state of another model.
        """
        try:
            self._restore(state, sums)
        except _MISFITS as error:
            raise ValueError(
                f"a checkpoint must hold the state of this model; {reprlib.repr(str(error))}. Train anew with "
                "`overwrite=True`."
            ) from error

    def roll_back(self, best: dict[str, Tensor], step: int) -> None:
        """Give the module, and the average that begins anew with it, these weights, and the optimiser no state.

        Args:
            best: Names and values; of a sharded module only process 0 need have them.
            step: Steps done so far.
        """
        if self.sharded:
            with copying(sum(value.nbytes for value in self.module.state_dict().values())):
                content = to_bytes({name: value.contiguous() for name, value in best.items()})
                best = dict(sorted(from_bytes(processes.broadcast(content)).items()))
        self._load(self.module, best)
        if self.average is not None:
            named = {f"module.{name}": value for name, value in best.items()}
            self._load(self.average, named | {"n_averaged": torch.tensor(step)})
        self.optimizer.state.clear()

    def _load(self, module: nn.Module, weights: dict[str, Tensor]) -> None:
        if self.sharded:
            _sharded().set_model_state_dict(module, dict(weights), options=_whole())
        else:
            module.load_state_dict(weights)

    def _restore(self, state: State, sums: Tensor) -> None:
        self._load(self.module, state.weights)
        if self.average is not None:
            self._load(self.average, state.average)
        if self.average is not None and state.average["n_averaged"].tolist() != state.step:
            raise LookupError(f"the average of the weights is not that of {state.step} steps")
        self._restore_slots(
            {
                name: value
                for name, value in state.optimizer.items()
                if not name.startswith("scaler.")
            }
        )
        scale = {
            name.removeprefix("scaler."): value
            for name, value in state.optimizer.items()
            if "scaler." in name
        }
        if scale:
            self.scaler.load_state_dict(
                self.scaler.state_dict() | {name: value.item() for name, value in scale.items()}
            )
        torch.set_rng_state(state.random["cpu"])
        if self.device.type in state.random and self.device.type == "cuda":
            torch.cuda.set_rng_state(state.random["cuda"], self.device)
        if state.sums.shape != sums.shape:
            raise LookupError("the sums of the epoch have another shape")
        sums.copy_(state.sums if processes.rank() == 0 else torch.zeros_like(sums))

    def _weights(self, module: nn.Module) -> dict[str, Tensor]:
        if self.sharded:
            whole = _sharded().get_model_state_dict(module, options=_whole())
            # Buffers are the module's own.
            return {name: value.clone() for name, value in whole.items()}
        return {name: value.detach().cpu().clone() for name, value in module.state_dict().items()}

    def _slots(self) -> dict[str, Tensor]:
        # Asking for the state of a sharded one would make it by an empty step.
        if not self.optimizer.state:
            return {}
        if self.sharded:
            whole = _sharded().get_optimizer_state_dict(
                self.module, self.optimizer, options=_whole()
            )
            named: Any = whole.get("state", {})
        else:
            names = [name for name, _ in self.module.named_parameters()]
            named = {
                names[index]: slots for index, slots in self.optimizer.state_dict()["state"].items()
            }
        return {
            f"{parameter}.{slot}": torch.as_tensor(value).detach().cpu().clone()
            for parameter, slots in named.items()
            for slot, value in slots.items()
        }

    def _restore_slots(self, values: dict[str, Tensor]) -> None:
        named: dict[str, dict[str, Tensor]] = {}
        for key, value in values.items():
            parameter, slot = key.rsplit(".", 1)
            named.setdefault(parameter, {})[slot] = value.clone()
        if self.sharded:
            if named:
                # On every process, for its groups.
                options = _sharded().StateDictOptions(full_state_dict=True)
                whole: Any = _sharded().get_optimizer_state_dict(
                    self.module, self.optimizer, options=options
                )
                whole |= {"state": named}
                _sharded().set_optimizer_state_dict(
                    self.module, self.optimizer, whole, options=_whole()
                )
            return
        order = {name: index for index, (name, _) in enumerate(self.module.named_parameters())}
        for name, parameter in self.module.named_parameters():
            for slot, value in named.get(name, {}).items():
                if value.shape != (() if slot == "step" else parameter.shape):
                    raise LookupError(f"the optimiser's {slot} of {name} has another shape")
        slots = {order[parameter]: slots for parameter, slots in named.items()}
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": slots})

    def _scale(self) -> dict[str, Tensor]:
        if not self.scaler.is_enabled():
            return {}
        state = self.scaler.state_dict()
        return {
            f"scaler.{name}": torch.tensor(state[name]) for name in ("scale", "_growth_tracker")
        }

    def _random(self) -> dict[str, Tensor]:
        states = {"cpu": torch.get_rng_state()}
        return states | (
            {"cuda": torch.cuda.get_rng_state(self.device)} if self.device.type == "cuda" else {}
        )


def _sharded() -> Any:
    """torch's functions for the states of sharded modules; importing them takes a second."""
    from torch.distributed.checkpoint import state_dict

    return state_dict


def _whole() -> Any:
    return _sharded().StateDictOptions(full_state_dict=True, cpu_offload=True)


def save(folder: Path, state: State, identity: str) -> None:
    """Write checkpoint.safetensors and history.jsonl to `folder`, each whole or not at all; only process 0 writes.

    Raises:
        OSError: as `taking`.
    """
    if processes.rank() != 0:
        return
    names = ("weights", "average", "best", "optimizer", "random")
    groups: dict[str, dict[str, Tensor]] = {name: getattr(state, name) for name in names}
    tensors = {
        f"{group}/{name}": value.contiguous()
        for group, items in groups.items()
        for name, value in items.items()
    }
    # Best and last may be the same tensors; safetensors wants every tensor to own its memory.
    tensors = {
        name: value.clone() if name.startswith("best/") else value
        for name, value in tensors.items()
    }
    tensors["sums"] = state.sums
    numbers = {name: getattr(state, name) for name in _Numbers.__annotations__}
    with taking(folder, f"the checkpoint of step {state.step:,}"):
        header = {"state": numbers, "identity": identity}
        # Rows stay in the order of their columns.
        write_sealed(folder / CHECKPOINT, header, tensors, sort_keys=False)
        write_text(folder / "history.jsonl", "".join(to_json(row) + "\n" for row in state.rows))


@contextmanager
def taking(folder: Path, what: str) -> Iterator[None]:
    """Inside, files are written into a run's folder; where it does not take them, the error says what there is.

    Args:
        folder: The folder of the run.
        what: What is written, in words.

    Raises:
        HeldError: when the folder is not there, or another process has it.
        OSError: when a file cannot be written; those that were there before are left as they were.

    Example:
        >>> import tempfile
        >>> with taking(Path(tempfile.mkdtemp()), "the checkpoint of step 7"):
        ...     raise OSError(28, "No space left on device")
        Traceback (most recent call last):
        OSError: ...
    """
    locks.require_held(folder)
    try:
        yield
    except OSError as error:
        locks.require_held(folder)
        whole = [
            name
            for name in (CHECKPOINT, "model.safetensors", "evaluation.json")
            if (folder / name).is_file()
        ]
        there = (
            f"What it has, {' and '.join(whole)}, is whole."
            if whole
            else "It has no checkpoint yet."
        )
        raise OSError(
            f"{folder} must take {what}; the system says: {error.strerror or error}. {there} Make room or allow "
            f"writing, then go on with variform train --resume {shlex.quote(str(folder))}."
        ) from error


def load(folder: Path, identity: str) -> State:
    """The state that `save` wrote; process 0 reads it and tells the others.

    Args:
        folder: Where the checkpoint is.
        identity: What it must belong to, as for `save`.

    Raises:
        FileNotFoundError: when there is none.
        ValueError: when it is cut short, changed in any bit, or of another run.
    """
    path = folder / CHECKPOINT
    if processes.rank() == 0 and not path.is_file():
        raise FileNotFoundError(
            f"{folder} must hold checkpoint.safetensors; it does not. Train anew."
        )
    content = processes.broadcast(path.read_bytes() if processes.rank() == 0 else b"")
    header, tensors, note = _read(content, path)
    # In one order everywhere: processes that share out a state do so tensor by tensor.
    tensors = dict(sorted(tensors.items()))
    try:
        is_same = belongs(header.get("identity"), identity)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} must be a whole checkpoint; {error}. {_remedy(folder)}"
        ) from error
    if not is_same:
        raise ValueError(
            f"{path} must come from this configuration and data; it comes from another. "
            "Resume with the run's own config.toml and data, or train anew in another folder."
        )

    def group(prefix: str) -> dict[str, Tensor]:
        return {
            name.removeprefix(prefix): value
            for name, value in tensors.items()
            if name.startswith(prefix)
        }

    rule = f"{path} must hold the state of a training"
    numbers = recorded(_Numbers, header.get("state"), rule, _remedy(folder))
    is_known = set(numbers) <= set(_Numbers.__annotations__)
    if not is_known or "sums" not in tensors:
        raise ValueError(f"{rule}; it does not. {_remedy(folder)}")
    state = State(
        group("weights/"),
        group("best/"),
        group("optimizer/"),
        group("random/"),
        tensors["sums"],
        group("average/"),
    )
    return replace(state, **numbers, note=note)


def _read(content: bytes, path: Path) -> tuple[dict[str, Any], dict[str, Tensor], str]:
    """Header and tensors of a checkpoint, and a word on one of a version that wrote no checksum."""
    name, remedy = f"{path} must be a whole checkpoint; it", _remedy(path.parent)
    metadata, tensors = opened(content, name, remedy=remedy)
    with suppress(ValueError, RecursionError):
        header = json.loads(metadata.get("variform", ""))
        if isinstance(header, dict) and set(header) == {"state", "identity"}:
            return (
                header,
                tensors,
                f"{path} is of an older version, without a checksum of what it holds.",
            )
    return verified(metadata, tensors, name, remedy=remedy), tensors, ""


def _remedy(folder: Path) -> str:
    config = shlex.quote(str(folder / "config.toml"))
    return (
        "What the run has is as it was: put a copy of the checkpoint in its place, or train anew with variform train "
        f"--config {config} --out NEW."
    )
