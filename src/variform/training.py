"""Training: `fit` is the loop, on one page; around it the state that makes a resumed run end with the same bits."""

import hashlib
import json
import math
import shlex
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from variform.config import TrainConfig, to_dict
from variform.data import Dataset
from variform.files import replacing, write_text
from variform.objectives import ELBO, Terms, warmup
from variform.vae import VAE, evaluating

TERMS = ("loss", "log_likelihood", "kl")


@dataclass(frozen=True)
class History:
    """What a fit did.

    Args:
        rows: One dict per epoch: epoch, step, beta, learning_rate, train_*, valid_* for loss, elbo, log_likelihood and
            kl (nats per example), seconds (in all), examples_per_second, best.
        best_epoch: The epoch with the lowest validation loss, whose weights the model has after `fit`.
        last: Weights after the last step, by name.
        stopped: Why it ended.
    """

    rows: list[dict[str, Any]]
    best_epoch: int
    last: dict[str, Tensor]
    stopped: str


class NonFiniteError(ArithmeticError):
    """The loss became NaN or infinite; the message says in which step and which term broke."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM; the checkpoint was written at this step."""

    def __init__(self, step: int, total: int, folder: Path | None) -> None:
        super().__init__(f"stopped at step {step:,} of {total:,}; go on with: {resume_command(folder)}")


def resume_command(folder: Path | None) -> str:
    """What a user types to go on with the run in `folder`.

    Example:
        >>> resume_command(Path("my run"))
        "variform train --resume 'my run'"
    """
    return f"variform train --resume {shlex.quote(str(folder))}"


@dataclass
class _State:
    """Everything that the rest of a run depends on; a checkpoint is this and nothing else."""

    weights: dict[str, Tensor]
    best: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    random: Tensor
    sums: Tensor
    step: int = 0
    best_loss: float = math.inf
    best_epoch: int = 0
    stale: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)


def fit(
    objective: ELBO,
    train: Dataset,
    valid: Dataset,
    config: TrainConfig,
    *,
    folder: Path | None = None,
    resume: bool = False,
    identity: str = "",
    progress: bool = False,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
) -> History:
    """Minimise the objective's mean loss over the training rows.

    The objective is validated after every epoch with the final weight of the KL term and the same noise each time;
    afterwards the model has the weights of the best epoch and knows the schema of its data. Every mean is a sum over
    examples divided by their number. Same configuration, data, machine and thread count: the same bits, whether or not
    the run was interrupted.

    Args:
        objective: Owns the VAE. Its beta, samples and kl are its own; see `build_objective`.
        train: Training rows.
        valid: Validation rows; they choose the best epoch and nothing else.
        config: The optimiser's side of the configuration.
        folder: Where checkpoint.safetensors and history.jsonl go. With it, Ctrl-C and SIGTERM save first.
        resume: Go on from the checkpoint in `folder`.
        identity: What else the result depends on, such as the fingerprint of the data; a checkpoint made with another
            one is refused.
        progress: Show progress: a bar on a terminal, plain lines elsewhere.
        on_epoch: Called with the row of each finished epoch.

    Raises:
        ValueError: for fewer training rows than a batch, or a checkpoint of another run.
        NonFiniteError: for a loss that is NaN or infinite; the last good state is saved first, and the model has the
            weights of the best epoch before it.
        Interrupted: after Ctrl-C or SIGTERM.

    Example:
        >>> from variform import ModelConfig, build_vae, read
        >>> data = read("digits")
        >>> config = TrainConfig(epochs=2)
        >>> objective = build_objective(build_vae(ModelConfig(latent_dim=2), data.schema), config)
        >>> [row["epoch"] for row in fit(objective, data.train, data.valid, config).rows]
        [1, 2]
    """
    require_batch(config, len(train))
    if objective.vae.schema is None:
        objective.vae.schema = train.schema
    jacobian = objective.vae.log_jacobian(train.schema)
    per_epoch = math.ceil(len(train) / config.batch_size)
    total = config.steps or epochs(config, len(train)) * per_epoch
    identity = _identity(config, train, objective, identity)
    optimizer = _build_optimizer(objective, config)
    sums = torch.zeros(len(TERMS) + 1, dtype=torch.float64)
    stopped = "all steps done"
    with torch.random.fork_rng(), _signals(folder is not None) as asked_to_stop, _Display(progress, total) as display:
        torch.manual_seed(config.seed)
        state = _capture(objective, optimizer, sums)
        if folder is not None and resume:
            state = _load(folder / "checkpoint.safetensors", identity)
            _restore(state, objective, optimizer, sums)
        elif folder is not None:
            _save(folder, state, identity)
        objective.train()
        step, examples = state.step, 0
        started = written = time.monotonic()
        earlier = state.rows[-1]["seconds"] if state.rows else 0.0

        def due() -> bool:
            late = time.monotonic() - written >= config.checkpoint_seconds
            return late or asked_to_stop.is_set()

        while step < total and not (config.patience and state.stale >= config.patience):
            epoch, position = divmod(step, per_epoch)
            batches = _order(len(train), config.seed, epoch).split(config.batch_size)[
                position : position + total - step
            ]
            for left, index in zip(reversed(range(len(batches))), batches, strict=True):
                x = objective.vae.like(train.batch(index))
                objective.at_step(step)
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate(config, step, total)
                terms = objective(x)
                loss = terms.loss.mean()
                if not math.isfinite(loss.item()):
                    raise _broken(terms, step, objective, folder, state, identity)
                optimizer.zero_grad()
                loss.backward()
                if config.clip_norm:
                    nn.utils.clip_grad_norm_(objective.parameters(), config.clip_norm)
                optimizer.step()
                step += 1
                examples += len(index)
                sums += _sums(terms)
                display.step(step, terms)
                if left and folder is not None and due():  # the last step of an epoch is saved after its validation
                    present = replace(_capture(objective, optimizer, sums, state), step=step)
                    if _finite(present.weights):  # else the next loss says what broke
                        state = present
                        _save(folder, state, identity)
                    written = time.monotonic()
                if left and asked_to_stop.is_set():
                    raise Interrupted(step, total, folder)
            objective.at_step(total)
            means = _means(sums, "train", jacobian) | _means(_validate(objective, valid, config), "valid", jacobian)
            if not math.isfinite(means["valid_loss"]):
                raise _broken(None, step, objective, folder, state, identity)
            better = means["valid_loss"] < state.best_loss
            seconds = time.monotonic() - started
            row = {"epoch": epoch + 1, "step": step, **means, "beta": objective.beta(step - 1), "best": better}
            row |= {"learning_rate": learning_rate(config, step - 1, total), "seconds": round(earlier + seconds, 3)}
            row["examples_per_second"] = round(examples / seconds)
            sums.zero_()
            state = replace(_capture(objective, optimizer, sums, state), step=step, rows=[*state.rows, row])
            if better:
                state.best, state.best_loss, state.best_epoch = state.weights, means["valid_loss"], epoch + 1
            # During the warm-up the loss that is trained is not yet the one that is validated.
            state.stale = 0 if better or step < config.warmup else state.stale + 1
            display.epoch(row)
            if on_epoch is not None:
                on_epoch(row)
            if folder is not None and due():
                _save(folder, state, identity)
                written = time.monotonic()
            if asked_to_stop.is_set():
                raise Interrupted(step, total, folder)
        if step < total:
            stopped = f"no better validation loss for {config.patience} epochs"
        if folder is not None:
            _save(folder, state, identity)
    objective.load_state_dict(state.best)
    objective.at_step(total)
    objective.eval()
    return History(state.rows, state.best_epoch, state.weights, stopped)


def epochs(config: TrainConfig, rows: int) -> int:
    """Passes over `rows` training rows: as configured, or 20, or as many as make 3,000 steps.

    Example:
        >>> [epochs(TrainConfig(batch_size=100), rows) for rows in (200, 3_000, 60_000)]
        [1500, 100, 20]
    """
    return config.epochs or max(20, math.ceil(3000 / math.ceil(rows / config.batch_size)))


def require_batch(config: TrainConfig, rows: int) -> None:
    """Refuse fewer training rows than a batch.

    Raises:
        ValueError: names both numbers.
    """
    if rows < config.batch_size:
        raise ValueError(
            f"batch_size must not exceed the {rows} training rows; got {config.batch_size}. "
            f"Use --batch-size {rows} or smaller, or bring more rows."
        )


def build_objective(vae: VAE, config: TrainConfig) -> ELBO:
    """The objective that a training configuration describes: its samples, KL and beta with warm-up."""
    beta = warmup(config.beta, config.warmup)
    return ELBO(vae, samples=config.samples, kl=config.kl, beta=beta)


def learning_rate(config: TrainConfig, step: int, total: int) -> float:
    """The learning rate at `step` of `total`, a pure function.

    Example:
        >>> config = TrainConfig(learning_rate=1.0, schedule="cosine")
        >>> [round(learning_rate(config, step, 4), 3) for step in range(5)]
        [1.0, 0.854, 0.5, 0.146, 0.0]
    """
    if config.schedule == "cosine":
        return config.learning_rate * 0.5 * (1 + math.cos(math.pi * step / total))
    return config.learning_rate


def _build_optimizer(objective: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    if config.optimizer == "rmsprop":
        return torch.optim.RMSprop(objective.parameters(), lr=config.learning_rate, centered=True)
    return torch.optim.Adam(objective.parameters(), lr=config.learning_rate, fused=True)


def _order(rows: int, seed: int, epoch: int) -> Tensor:
    """The order of the rows in an epoch: a pure function, so that a position in it is one number."""
    digest = hashlib.blake2b(f"{seed} {epoch}".encode(), digest_size=8).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)
    return torch.randperm(rows, generator=generator)


def _sums(terms: Terms) -> Tensor:
    """Sums of the terms over the examples, and the number of examples; float64, (len(TERMS) + 1,)."""
    values = torch.stack([getattr(terms, name).detach().sum(dtype=torch.float64) for name in TERMS])
    return torch.cat([values, values.new_full((1,), len(terms.loss))]).cpu()


def _means(sums: Tensor, prefix: str, jacobian: float) -> dict[str, float]:
    """Means over examples; densities in the data's own units, the loss as it is trained."""
    values = {f"{prefix}_{name}": (sums[slot] / sums[-1]).item() for slot, name in enumerate(TERMS)}
    values[f"{prefix}_log_likelihood"] += jacobian
    values[f"{prefix}_elbo"] = values[f"{prefix}_log_likelihood"] - values[f"{prefix}_kl"]
    return values


def _validate(objective: ELBO, valid: Dataset, config: TrainConfig) -> Tensor:
    """Sums of the terms over the validation rows, with the same noise each time."""
    sums = torch.zeros(len(TERMS) + 1, dtype=torch.float64)
    with torch.random.fork_rng(), evaluating(objective):
        torch.manual_seed(config.seed)
        for x in valid.batches(max(config.batch_size, 512)):
            sums += _sums(objective(objective.vae.like(x)))
    return sums


# --- the state and its file ---------------------------------------------------------------------------------------


def _capture(
    objective: nn.Module, optimizer: torch.optim.Optimizer, sums: Tensor, previous: _State | None = None
) -> _State:
    """A copy of the present state; `previous` supplies the best weights and the history."""
    weights = {name: value.detach().cpu().clone() for name, value in objective.state_dict().items()}
    moments = {
        f"{index}.{name}": value.detach().cpu().clone()
        for index, slots in optimizer.state_dict()["state"].items()
        for name, value in slots.items()
    }
    fields = {"weights": weights, "optimizer": moments, "random": torch.get_rng_state(), "sums": sums.clone()}
    return replace(previous, **fields) if previous is not None else _State(best=weights, **fields)


def _finite(weights: dict[str, Tensor]) -> bool:
    return all(bool(value.isfinite().all()) for value in weights.values())


def _restore(state: _State, objective: nn.Module, optimizer: torch.optim.Optimizer, sums: Tensor) -> None:
    objective.load_state_dict(state.weights)
    slots: dict[int, dict[str, Tensor]] = {}
    for key, value in state.optimizer.items():
        index, name = key.split(".", 1)
        slots.setdefault(int(index), {})[name] = value.clone()
    optimizer.load_state_dict({**optimizer.state_dict(), "state": slots})
    torch.set_rng_state(state.random)
    sums.copy_(state.sums)


def _identity(config: TrainConfig, train: Dataset, objective: ELBO, rest: str) -> str:
    """What a checkpoint belongs to: configuration, number of rows, names and shapes of the weights, and the rest."""
    shapes = {name: list(value.shape) for name, value in objective.state_dict().items()}
    settings = {key: value for key, value in to_dict(config).items() if key != "checkpoint_seconds"}
    betas = [objective.beta(step) for step in (0, config.warmup, 10**9)]
    settings["objective"] = [objective.samples, objective.kl, *betas]
    return json.dumps({"train": settings, "rest": rest, "rows": len(train), "weights": shapes}, sort_keys=True)


def _save(folder: Path, state: _State, identity: str) -> None:
    groups = {"weights": state.weights, "best": state.best, "optimizer": state.optimizer}
    tensors = {
        f"{group}/{name}": value.contiguous() for group, items in groups.items() for name, value in items.items()
    }
    # Best and last may be the same tensors; safetensors wants every tensor to own its memory.
    tensors = {name: value.clone() if name.startswith("best/") else value for name, value in tensors.items()}
    tensors |= {"random": state.random, "sums": state.sums}
    numbers = {name: getattr(state, name) for name in ("step", "best_loss", "best_epoch", "stale", "rows")}
    with replacing(folder / "checkpoint.safetensors") as path:
        path.write_bytes(save(tensors, metadata={"variform": json.dumps({"state": numbers, "identity": identity})}))
    write_text(folder / "history.jsonl", "".join(json.dumps(row) + "\n" for row in state.rows))


def _load(path: Path, identity: str) -> _State:
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("variform", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path.parent} must hold checkpoint.safetensors; it does not. Train anew.") from error
    except SafetensorError as error:
        raise ValueError(f"{path} must be a whole checkpoint; {error}. Train anew with --overwrite.") from error
    if header.get("identity") != identity:
        raise ValueError(
            f"{path} must come from this configuration and data; it comes from another. "
            "Resume with the run's own config.toml and data, or train anew in another folder."
        )

    def group(prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}

    state = _State(group("weights/"), group("best/"), group("optimizer/"), tensors["random"], tensors["sums"])
    return replace(state, **header["state"])


def _broken(
    terms: Terms | None, step: int, objective: nn.Module, folder: Path | None, state: _State, identity: str
) -> NonFiniteError:
    """Save the last good state, go back to the best weights, and say what broke."""
    objective.load_state_dict(state.best)
    saved = ""
    if folder is not None:
        _save(folder, state, identity)
        saved = f" The best weights so far, of epoch {state.best_epoch}, are in {folder}."
    where, part = f"after step {step}", "validation loss"
    if terms is not None:
        where = f"in step {step + 1}"
        names = [name for name in TERMS[1:] if not torch.isfinite(getattr(terms, name)).all()]
        part = " and ".join(names).replace("_", " ") or "weighted sum"
    return NonFiniteError(
        f"the loss must stay finite; {where} the {part} became NaN or infinite.{saved} "
        "Use a smaller --learning-rate, or --clip-norm 10, or look at the data's scaling."
    )


# --- the outside world --------------------------------------------------------------------------------------------


@contextmanager
def _signals(catch: bool) -> Iterator[threading.Event]:
    """An event that Ctrl-C or SIGTERM sets; a second one has its usual effect."""
    event = threading.Event()
    if not catch or threading.current_thread() is not threading.main_thread():
        yield event
        return
    old: dict[int, Any] = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def handle(number: int, frame: object) -> None:
        del frame
        event.set()
        signal.signal(number, old[number])

    for number in old:
        signal.signal(number, handle)
    try:
        yield event
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


class _Display:
    """Progress on standard error: a live bar on a terminal, one line an epoch elsewhere, or nothing."""

    def __init__(self, shown: bool, total: int) -> None:
        self.shown, self.total = shown, total
        self.console = Console(stderr=True)
        self.live = shown and self.console.is_terminal
        self.last_update = self.started = time.monotonic()
        self.first_step: int | None = None
        self.next_line = 0.0
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"))
        self.progress = Progress(*columns, TimeRemainingColumn(), console=self.console, disable=not self.live)

    def __enter__(self) -> "_Display":
        self.progress.start()
        self.task = self.progress.add_task("training", total=self.total)
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def step(self, step: int, terms: Terms) -> None:
        if not self.live or time.monotonic() - self.last_update < 0.2:
            return
        now = time.monotonic()
        self.last_update = now
        if self.first_step is None:
            self.first_step, self.started = step, now
        rate = (step - self.first_step) / max(now - self.started, 1e-9)
        examples = rate * len(terms.loss)
        values = [
            f"{name} {value.mean().item():.2f}"
            for name, value in (("loss", terms.loss), ("ELBO", terms.elbo), ("KL", terms.kl))
        ]
        text = "  ".join([*values, f"{examples:,.0f} examples/s"])
        self.progress.update(self.task, completed=step, description=text)

    def epoch(self, row: dict[str, Any]) -> None:
        if not self.shown or (self.live and row["step"] < self.total and row["step"] < self.next_line):
            return
        self.next_line = row["step"] + self.total / 20  # beside a bar a line for each twentieth will do
        mark = " best" if row["best"] else ""
        self.console.print(
            f"epoch {row['epoch']:>4}  step {row['step']:>7}  train ELBO {row['train_elbo']:.3f}  "
            f"valid ELBO {row['valid_elbo']:.3f}  KL {row['valid_kl']:.3f}  "
            f"{row['examples_per_second']:,} examples/s{mark}",
            highlight=False,
            soft_wrap=True,  # a line stays a line in a log file
        )
