"""Checkpoints: everything that the rest of a training depends on, captured, restored, and kept in a file.

The file is sealed, whole or not there. Where the tensors are split over processes, each process writes its rows into a
file of its own, see `parts`, and checkpoint.safetensors comes last and names them. With how many processes a training
goes on does not depend on either.
"""

import json
import math
import reprlib
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from numbers import Real
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import torch
from torch import Tensor, nn

from variform.config.checks import Natural, recorded
from variform.system import locks, processes
from variform.system.sealing import opened, verified, write_sealed
from variform.training import divergence, parts
from variform.training.history import CHECKPOINT, write_history
from variform.training.identity import belongs, is_longer

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
    """Everything that the rest of a run depends on; a checkpoint is this and nothing else.

    Of a sharded training each process has its own: tensors that are split have the rows of this process.
    """

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
    def stopped(self) -> str:
        """Why a callback ended the training, in words; empty where none did."""
        return self.rows[-1].get("stopped", "") if self.rows else ""

    @property
    def finite(self) -> bool:
        """Whether every weight is a number, of those that this process has."""
        return all(bool(parts.own(value).isfinite().all()) for value in self.weights.values())


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
        """A copy of the present state, on the CPU; `previous` supplies the best weights and the history.

        All processes call it, and each has what is split as it is.
        """
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

    def kept(self) -> dict[str, Tensor]:
        """A copy of the weights that are validated: their average, where there is one. All processes call it."""
        if self.average is None:
            return self._weights(self.module)
        named = self._weights(self.average)
        return {
            name.removeprefix("module."): value
            for name, value in named.items()
            if name.startswith("module.")
        }

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
            best: Names and values, split as those of the module are.
            step: Steps done so far.
        """
        self.module.load_state_dict(best)
        if self.average is not None:
            named = {f"module.{name}": value for name, value in best.items()}
            self.average.load_state_dict(named | {"n_averaged": torch.tensor(step)})
        self.optimizer.state.clear()

    def layout(self) -> parts.Layout:
        """Which rows of its weights this process has; all processes call it."""
        return parts.Layout.of(dict(self.module.state_dict()))

    def _restore(self, state: State, sums: Tensor) -> None:
        self.module.load_state_dict(state.weights)
        if self.average is not None:
            self.average.load_state_dict(state.average)
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
        return {name: value.detach().cpu().clone() for name, value in module.state_dict().items()}

    def _slots(self) -> dict[str, Tensor]:
        names = self._trained_names()
        named = {
            names[index]: slots for index, slots in self.optimizer.state_dict()["state"].items()
        }
        return {
            f"{parameter}.{slot}": torch.as_tensor(value).detach().cpu().clone()
            for parameter, slots in named.items()
            for slot, value in slots.items()
        }

    def _trained_names(self) -> list[str]:
        """Of the parameters that the optimiser has, in its order."""
        names = {id(parameter): name for name, parameter in self.module.named_parameters()}
        groups = self.optimizer.param_groups
        return [names[id(parameter)] for group in groups for parameter in group["params"]]

    def _restore_slots(self, values: dict[str, Tensor]) -> None:
        named: dict[str, dict[str, Tensor]] = {}
        for key, value in values.items():
            parameter, slot = key.rsplit(".", 1)
            named.setdefault(parameter, {})[slot] = value.clone()
        order = {name: index for index, name in enumerate(self._trained_names())}
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


def save(folder: Path, state: State, identity: str) -> None:
    """Write checkpoint.safetensors to `folder`, whole or not at all, and what is new to history.jsonl.

    Process 0 does. Where the state is split over processes all of them call it, and each writes its part before; the
    parts of the checkpoint before go when the new one is there.

    Raises:
        OSError: as `taking`; where one process cannot write its part, all raise it, and the checkpoint before stays.
    """
    names = ("weights", "average", "best", "optimizer", "random")
    groups: dict[str, dict[str, Tensor]] = {name: getattr(state, name) for name in names}
    tensors = {
        f"{group}/{name}": value for group, items in groups.items() for name, value in items.items()
    }
    split = {name: value for name, value in tensors.items() if parts.is_split(value)}
    if processes.rank() != 0 and not split:
        return
    numbers = {name: getattr(state, name) for name in _Numbers.__annotations__}
    header: dict[str, Any] = {"state": numbers, "identity": identity}
    what = f"the checkpoint of step {state.step:,}"
    if split:
        header["parts"] = _save_parts(folder, split, what)
    whole = {name: value for name, value in tensors.items() if name not in split}
    with processes.together() if split else nullcontext():
        if processes.rank() == 0:
            with taking(folder, what):
                # Rows stay in the order of their columns.
                content = _apart(whole) | {"sums": state.sums}
                write_sealed(folder / CHECKPOINT, header, content, sort_keys=False)
                write_history(folder, state.rows)
                parts.sweep(folder)


def _save_parts(folder: Path, split: dict[str, Tensor], what: str) -> parts.Parts:
    """Write what this process has of the tensors that are split; gives what checkpoint.safetensors says of it all."""
    name = parts.new_name()
    try:
        with processes.together():
            if processes.rank() != 0:
                _require_reached(folder, [folder])
            with taking(folder, what):
                rows = {name: parts.own(value) for name, value in split.items()}
                seal = write_sealed(folder / name, {}, _apart(rows))
        described = parts.described(name, seal, split)
        with processes.together():
            if processes.rank() == 0:
                _require_reached(folder, [folder / file["name"] for file in described["files"]])
    except BaseException:
        with suppress(OSError):
            (folder / name).unlink(missing_ok=True)
        raise
    return described


def _require_reached(folder: Path, paths: list[Path]) -> None:
    """Refuse a folder that is not there for every process."""
    if missing := [path for path in paths if not path.exists()]:
        raise FileNotFoundError(
            f"`sharded` needs a folder that every process reaches; process {processes.rank()} of {processes.count()} "
            f"does not find {missing[0]}. Put {folder} where all hosts see it, or leave `sharded` out."
        )


def _apart(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Best and last may be the same tensors; safetensors wants every tensor to own its memory."""
    return {
        name: value.clone() if name.startswith("best/") else value.contiguous()
        for name, value in tensors.items()
    }


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


def load(folder: Path, identity: str, trained: Trained | None = None) -> State:
    """The state that `save` wrote; process 0 reads it and tells the others, or each reads its rows.

    Args:
        folder: Where the checkpoint is.
        identity: What it must belong to, as for `save`.
        trained: What it will be restored to; of one that is sharded each process reads its rows, and no others.

    Raises:
        FileNotFoundError: when there is none.
        ValueError: when it or one of its parts is missing, cut short, changed in any bit, or of another run.
    """
    if trained is None or not trained.sharded:
        return _load(folder, identity, _told, parts.Layout({}, {}))
    layout = trained.layout()
    with processes.together():
        return _load(folder, identity, _reached, layout)


def _told(path: Path) -> bytes | None:
    """What a file that process 0 reaches holds, in every process; None where it is not there."""
    is_first = processes.rank() == 0
    (is_there,) = processes.any_of(is_first and path.is_file())
    if not is_there:
        return None
    return processes.broadcast(path.read_bytes() if is_first else b"")


def _reached(path: Path) -> Path | None:
    """A file that this process reaches, which is read as it is used; None where it is not there."""
    return path if path.is_file() else None


def _load(
    folder: Path,
    identity: str,
    fetch: Callable[[Path], bytes | Path | None],
    layout: parts.Layout,
) -> State:
    path = folder / CHECKPOINT
    if (content := fetch(path)) is None:
        raise FileNotFoundError(
            f"{folder} must hold checkpoint.safetensors; it does not. Train anew."
        )
    header, tensors, note = _read(content, path)
    try:
        is_same = belongs(header.get("identity"), identity)
        is_made_longer = is_same and is_longer(header.get("identity"), identity)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} must be a whole checkpoint; {error}. {_remedy(folder)}"
        ) from error
    if not is_same:
        raise ValueError(
            f"{path} must come from this configuration and data; it comes from another. "
            "Resume with the run's own config.toml and data, or train anew in another folder."
        )
    tensors = _own_rows(folder, header, tensors, fetch, layout)

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
    state = replace(state, **numbers, note=note)
    if not is_made_longer:
        return state
    rows = [{name: row[name] for name in row if name != "stopped"} for row in state.rows]
    return replace(state, stale=0, rows=rows)


def _own_rows(
    folder: Path,
    header: dict[str, Any],
    tensors: dict[str, Tensor],
    fetch: Callable[[Path], bytes | Path | None],
    layout: parts.Layout,
) -> dict[str, Tensor]:
    """What this process has of the tensors of a checkpoint, from it and from its parts."""
    rule, remedy = f"{folder / CHECKPOINT} must be a whole checkpoint", _remedy(folder)
    described: parts.Parts = recorded(
        parts.Parts, header.get("parts", {"files": [], "bounds": {}}), rule, remedy
    )
    parts.require_sound(described, rule, remedy)

    def opened_part(file: parts.File) -> dict[str, Tensor]:
        path = folder / file["name"]
        if (content := fetch(path)) is None:
            raise ValueError(f"{rule}; its part {path} is not there. {remedy}")
        part, rows, _ = _read(content, path)
        if part["sha256"] != file["sha256"]:
            raise ValueError(f"{rule}; its part {path} is that of another one. {remedy}")
        return rows

    def rows(name: str, count: int) -> slice:
        return layout.rows(_weight(name), count)

    try:
        pieces = parts.read(described, opened_part, rows)
        for name, value in tensors.items():
            piece = value[rows(name, len(value))] if value.ndim else value
            # What is read as it is used must not need the file any more when that is replaced.
            pieces[name] = [piece.clone() if layout.like else piece]
        return {name: layout.joined(_weight(name), found) for name, found in sorted(pieces.items())}
    except _MISFITS as error:
        raise ValueError(f"{rule}; {error}. {remedy}") from error


def _weight(name: str) -> str:
    """The weight that a tensor of a checkpoint is split like, where that is split at all."""
    group, _, name = name.partition("/")
    if group in ("weights", "best", "average"):
        return name.removeprefix("module.") if group == "average" else name
    weight, _, slot = name.rpartition(".")
    return weight if group == "optimizer" and slot != "step" else ""


def _read(content: bytes | Path, path: Path) -> tuple[dict[str, Any], dict[str, Tensor], str]:
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
