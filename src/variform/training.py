"""Training: `fit` is the loop, on one page; around it what makes a resumed run end with the same bits."""

import json
import math
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from signal import SIGINT, SIGTERM
from typing import Any

import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from variform import checkpoints, divergence, locks, processes
from variform.checkpoints import State
from variform.config import Count, DataConfig, ModelConfig, TrainConfig, checked, every, to_dict
from variform.data import BLOCKS_PER_WINDOW, Dataset, epoch_order
from variform.draws import seeded
from variform.objectives import (
    DIPVAE,
    ELBO,
    IWAE,
    PIWAE,
    WAE,
    Autoencoder,
    BetaTCVAE,
    Corruption,
    FactorVAE,
    InfoVAE,
    Objective,
    Schedule,
    SemiSupervised,
    cosine,
    cyclic,
    warmup,
)
from variform.steps import TERMS, Step, mean_terms
from variform.stopping import Stopped, noted
from variform.terminal import console
from variform.vae import VAE, evaluating

# How many steps pass between two questions to the other processes whether one was asked to stop or to save.
_ASK_EVERY = 16
_YARDSTICK_ROWS = 4096


@dataclass(frozen=True, repr=False)
class History:
    """What a fit did.

    Args:
        rows: One dict per epoch: epoch, step, examples (training rows that train_* are means over; fewer than all where
            `steps` end within an epoch), beta, learning_rate, train_*, valid_* for loss, elbo, log_likelihood and kl
            (nats per example; with `ema` valid_* are of the average of the weights), seconds (in all),
            train_seconds (of this epoch's steps alone, without validation and files), examples_per_second (of these
            steps), best; rollback, where the training went back in it, what happened.
        best_epoch: The epoch with the lowest validation loss, whose weights the model has after `fit`.
        last: Weights after the last step, by name; they are no average.
        stopped: Why it ended.
        rollbacks: What happened each time that the training diverged and went back to its best weights.
    """

    rows: list[dict[str, Any]]
    best_epoch: int
    last: dict[str, Tensor]
    stopped: str
    rollbacks: tuple[str, ...] = ()

    def __repr__(self) -> str:
        last = self.rows[-1] if self.rows else {"step": 0}
        best = next((row for row in self.rows if row["epoch"] == self.best_epoch), None)
        loss = f" with validation loss {best['valid_loss']:.5g}" if best else ""
        back = f"; it went back {len(self.rollbacks)} times" if self.rollbacks else ""
        return (
            f"History({len(self.rows)} epochs, {last['step']:,} steps, best epoch {self.best_epoch}{loss}; "
            f"{self.stopped}{back})"
        )


class NonFiniteError(ArithmeticError):
    """The loss became NaN or infinite before any epoch was done; the message says in which step and what broke."""


class Interrupted(Stopped):
    """Ctrl-C or another signal of `stopping.SIGNALS`; the checkpoint was written at this step."""

    def __init__(self, step: int, total: int, folder: Path | None, number: int = SIGINT) -> None:
        super().__init__(f"stopped at step {step:,} of {total:,}; go on with: {resume_command(folder)}", number)


def resume_command(folder: Path | None) -> str:
    """What a user types to go on with the run in `folder`.

    Example:
        >>> resume_command(Path("my run"))
        "variform train --resume 'my run'"
    """
    return f"variform train --resume {shlex.quote(str(folder))}"


def fit(
    objective: Objective,
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

    A training that diverges (see `divergence.risen`, or a loss that is NaN or infinite) goes back to its best weights
    and on from there, with the optimiser's state anew, 0.3 times the learning rate, and gradients clipped to a norm of
    10; the fourth time it ends.

    Args:
        objective: Owns the VAE. Its beta, samples and kl are its own; see `build_objective`.
        train: Training rows.
        valid: Validation rows; they choose the best epoch and nothing else.
        config: The optimiser's side of the configuration.
        folder: Where checkpoint.safetensors and history.jsonl go; made where it is not there, and held against other
            processes. With it, Ctrl-C and the other signals of `stopping.SIGNALS` save first.
        resume: Go on from the checkpoint in `folder`.
        identity: What else the result depends on, such as the fingerprint of the data; a checkpoint made with another
            one is refused.
        progress: Show progress: a bar on a terminal, plain lines elsewhere.
        on_epoch: Called with the row of each finished epoch.

    Raises:
        ValueError: for fewer training rows than a batch, or a checkpoint of another run.
        HeldError: when another process writes into `folder`.
        NonFiniteError: for a loss that is NaN or infinite before any epoch was done; the model has its first weights.
        Interrupted: after Ctrl-C or another signal.

    Example:
        >>> from variform import ModelConfig, build_vae, read
        >>> data = read("digits")
        >>> config = TrainConfig(epochs=2)
        >>> objective = build_objective(build_vae(ModelConfig(latent_dim=2), data.schema), config)
        >>> [row["epoch"] for row in fit(objective, data.train, data.valid, config).rows]
        [1, 2]
    """
    require_batch(config, len(train))
    config = config.for_rows(len(train))
    require_labels(objective, train)
    require_labels(objective, valid)
    if objective.vae.schema is None:
        objective.vae.schema = train.schema
    jacobians = {part: _log_jacobian(objective.vae, rows) for part, rows in (("train", train), ("valid", valid))}
    per_epoch = math.ceil(len(train) / config.batch)
    total = config.steps or epochs(config, len(train)) * per_epoch
    identity = _identity(config, train, objective, identity)
    if processes.any_of(processes.told(identity.encode()) != identity.encode())[0]:
        raise ValueError(
            f"all {processes.count()} processes must train the same model on the same data; some have another. "
            "Give every host the same data and options."
        )
    take = Step(objective, config, total)
    sums = torch.zeros(len(TERMS) + 1, dtype=torch.float64)
    stopped = "all steps done"
    shown = progress and processes.rank() == 0
    with (
        _alone_in(folder),
        seeded(config.seed),
        take.arithmetic(),
        noted(folder is not None) as asked,
        _Display(shown, total, len(train)) as display,
    ):
        if folder is not None and resume:
            state = checkpoints.load(folder, identity, _defaults())
            take.trained.restore(state, sums)
        else:
            untrained = _untrained(take, train, total)
            state = replace(take.trained.capture(sums), untrained=untrained)
        if folder is not None and not resume:
            checkpoints.save(folder, state, identity)
        display.begin(take.is_compiled, state.note)
        take.objective.train()
        step, saved = state.step, _Saved(config.checkpoint_every, state.step, per_epoch)
        earlier, started = state.rows[-1]["seconds"] if state.rows else 0.0, time.monotonic()
        while step < total and not state.ended and not (config.patience and state.stale >= config.patience):
            epoch, position = divmod(step, per_epoch)
            order = epoch_order(len(train), config.seed, epoch, block=config.shuffle_block or None)
            batches = order.split(config.batch)[position : position + total - step]
            take.clip_norm = divergence.clip_norm(config.clip_norm, len(state.rollbacks))
            begun, examples, broken = time.monotonic(), 0, ""
            for left, index in zip(reversed(range(len(batches))), batches, strict=True):
                if config.shuffle_block:
                    _announce(train, order, step - epoch * per_epoch, config, is_first=step == state.step)
                with processes.share(len(index)) as (rows, weight):
                    x, context = objective.vae.batch(train, index[rows])
                    take.objective.at_step(step)
                    take.learning_rate(learning_rate(config, step, total) * state.slowed)
                    found = take(x, len(index), weight, context)
                if not (broken or math.isfinite(found[0].item())):
                    broken = _what_broke(found, step)
                step += 1
                examples += len(index)
                sums += found
                if _any_broken(broken, step, is_last=not left):
                    broken = broken or f"in step {step:,} or some before, the loss of another process became NaN"
                    break
                display.step(step, found)
                if left and folder is not None:  # the last step of an epoch is saved after its validation
                    save, stop = saved.asked(step, asked.is_set())
                    if save or stop:
                        present = replace(take.trained.capture(sums, state), step=step)
                        if present.finite:  # else the next loss says what broke
                            state = present
                            checkpoints.save(folder, state, identity)
                        begun += saved.now(step)
                    if stop:
                        raise Interrupted(step, total, folder, asked.number or SIGTERM)
            trained = time.monotonic() - begun
            take.kept.at_step(total)
            means = {} if broken else _epoch_means(take, valid, sums, jacobians)
            if means and not math.isfinite(means["valid_loss"]):
                broken = f"after step {step:,} the validation loss became NaN or infinite"
            if broken:
                sums.zero_()
                state = _rolled_back(take, state, broken, step, total)
                display.rolled_back(state.rollbacks[-1])
                continue
            counted = round(processes.summed(sums)[-1].item())
            is_whole = counted > len(train) / 2 and step > divergence.settling(total)
            is_judged = is_whole and (state.best_epoch or not (state.last_try or step == total))
            why = _diverged(means, state, objective, jacobians["train"]) if is_judged else ""
            better = means["valid_loss"] < state.best_loss and not why
            row = {"epoch": epoch + 1, "step": step, "examples": counted, **means}
            row |= {"beta": objective.beta(step - 1), "best": better}
            row |= {"learning_rate": learning_rate(config, step - 1, total) * state.slowed}
            row |= {"seconds": round(earlier + time.monotonic() - started, 3), "train_seconds": round(trained, 6)}
            row["examples_per_second"] = round(examples / trained)
            sums.zero_()
            state = replace(take.trained.capture(sums, state), step=step, rows=[*state.rows, row])
            if better:
                state.best, state.best_loss, state.best_epoch = state.kept, means["valid_loss"], epoch + 1
            # During the warm-up the loss that is trained is not yet the one that is validated.
            state.stale = 0 if better or step < config.warmup else state.stale + 1
            display.epoch(row)
            if why:
                state = _rolled_back(take, state, f"in epoch {epoch + 1} {why}", step, total)
                display.rolled_back(state.rollbacks[-1])
            state.rows = divergence.noted(state.rows, state.rollbacks)
            if on_epoch is not None:
                on_epoch(state.rows[-1])
            save, stop = saved.asked(step, asked.is_set(), at_end_of_epoch=True)
            if folder is not None and (save or stop):
                checkpoints.save(folder, state, identity)
                saved.now(step)
            if stop:
                raise Interrupted(step, total, folder, asked.number or SIGTERM)
        if state.ended:
            stopped = f"it diverged {len(state.rollbacks)} times, the last time {state.rollbacks[-1]['what']}"
        elif step < total:
            stopped = f"no better validation loss for {config.patience} epochs"
        state.rows = divergence.noted(state.rows, state.rollbacks)
        if folder is not None:
            checkpoints.save(folder, state, identity)
    if state.best:  # of a sharded model only process 0 has them
        objective.load_state_dict(state.best)
    objective.at_step(total)
    objective.eval()
    back = tuple(rollback["what"] for rollback in state.rollbacks)
    return History(state.rows, state.best_epoch, state.weights, stopped, back)


def _alone_in(folder: Path | None) -> AbstractContextManager[None]:
    """Inside, no other process writes into the folder of a training, which the caller may hold already."""
    if folder is None:
        return nullcontext()
    return processes.for_all(locks.held(folder, make=True, again=True))


def epochs(config: TrainConfig, rows: int) -> int:
    """Passes over `rows` training rows: as configured, or 20, or as many as make 3,000 steps.

    Example:
        >>> [epochs(TrainConfig(batch_size=100), rows) for rows in (200, 3_000, 60_000)]
        [1500, 100, 20]
    """
    return config.epochs or max(20, math.ceil(3000 / math.ceil(rows / config.for_rows(rows).batch)))


def passes(history: Sequence[Mapping[str, Any]], rows: int) -> float:
    """Passes done over the `rows` training rows: where the steps ended within an epoch, it counts in part.

    Args:
        history: As `History.rows`; epochs without `examples`, of an earlier version, count as whole.
        rows: Number of training rows.

    Example:
        >>> passes([{"examples": 1000}, {"examples": 250}], 1000)
        1.25
    """
    return sum(epoch.get("examples", rows) for epoch in history) / rows


def require_batch(config: TrainConfig, rows: int) -> None:
    """Refuse fewer training rows than a batch.

    Raises:
        ValueError: names both numbers.
    """
    if config.batch_size is not None and rows < config.batch_size:
        raise ValueError(
            f"batch_size must not exceed the {rows} training rows; got {config.batch_size}. "
            f"Use --batch-size {rows} or smaller, or bring more rows."
        )


def require_labels(objective: Objective, data: Dataset) -> None:
    """Refuse rows without a category that the model is told; of the first some objectives infer it.

    Raises:
        ValueError: says how many rows have none.
    """
    start = 0
    for number, condition in enumerate(data.schema.conditions if data.contexts is not None else ()):
        assert data.contexts is not None
        part = data.contexts[:, start : start + condition.width]
        start += condition.width
        missing = int((part == 0).all(1).sum()) if condition.categories else 0
        if missing and (number or not objective.infers_labels):
            remedy = "Fill it in." if number else "Use --objective m2, which infers it."
            raise ValueError(
                f"every row must have its {condition.name}; {missing:,} of {len(data):,} have none. {remedy}"
            )


@checked
def build_objective(vae: VAE, config: TrainConfig, *, rows: Count | None = None) -> Objective:
    """The objective that a training configuration describes, with its schedules and the noise on the encoder's input.

    Args:
        vae: What is trained; its schema, if any, gives the range of the data that noise stays in.
        config: Names the objective and its options.
        rows: Number of training rows, which `beta-tc` must know.

    Raises:
        ValueError: for options that do not go together, or without `rows` where they are needed.

    Example:
        >>> from variform import ModelConfig, build_vae, read
        >>> vae = build_vae(ModelConfig(latent_dim=2), read("digits").schema)
        >>> build_objective(vae, TrainConfig(objective="iwae", samples=5, gradient="dreg")).settings()["gradient"]
        'dreg'
    """
    objective = _build_objective(vae, config, rows)
    if config.noise != "none":
        objective.corruption = Corruption.of(config.noise, config.noise_level, vae.schema)
    return objective


def _build_objective(vae: VAE, config: TrainConfig, rows: int | None) -> Objective:
    options: dict[str, Any] = {"samples": config.samples}
    # Where None is given the objective has a default of its own.
    names = ("alpha", "gamma", "penalty", "penalty_diagonal")
    own = {name: getattr(config, name) for name in names if getattr(config, name) is not None}
    weighted: dict[str, Any] = {**options, "beta": _beta(config)}
    if config.objective in ("iwae", "piwae"):
        options |= {"groups": config.groups, "gradient": config.gradient}
        return (
            PIWAE(vae, **options) if config.objective == "piwae" else IWAE(vae, elbo_share=config.elbo_share, **options)
        )
    if config.objective == "beta-tc":
        if rows is None:
            raise ValueError(
                "objective beta-tc must know the number of training rows; got none. Give build_objective(..., rows=N)."
            )
        return BetaTCVAE(vae, rows=rows, **weighted, **own)
    if config.objective == "m2":
        return SemiSupervised(vae, kl=config.kl, **weighted, **own)
    if config.objective == "autoencoder":
        return Autoencoder(vae)
    if config.objective == "wae":
        return WAE(vae, deterministic=config.deterministic, **options, **own)
    if config.objective == "info":
        return InfoVAE(vae, kl=config.kl, **options, **own)
    if config.objective == "factor":
        return FactorVAE(vae, discriminator=config.discriminator, seed=config.seed, kl=config.kl, **weighted, **own)
    if config.objective in ("dip-i", "dip-ii"):
        return DIPVAE(vae, kind="i" if config.objective == "dip-i" else "ii", kl=config.kl, **weighted, **own)
    capacity = warmup(config.capacity, config.capacity_steps) if config.capacity else None
    return ELBO(vae, kl=config.kl, free_bits=config.free_bits, capacity=capacity, **weighted, **own)


def _beta(config: TrainConfig) -> Schedule:
    if config.beta_schedule == "cyclic":
        return cyclic(config.beta, config.warmup, cycles=config.cycles)
    return (cosine if config.beta_schedule == "cosine" else warmup)(config.beta, config.warmup)


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


def _announce(train: Dataset, order: Tensor, batch: int, config: TrainConfig, *, is_first: bool) -> None:
    """Tell the disk of the rows of this window and the next, when a batch enters a window."""
    window, start = config.shuffle_block * BLOCKS_PER_WINDOW, batch * config.batch
    if is_first or start // window != (start - config.batch) // window:
        train.expect(order[start : start + 2 * window])


def _log_jacobian(vae: VAE, data: Dataset) -> float:
    """What is added to a mean of log p(x) over the rows to state it in the data's own units."""
    if not data.schema.gaps:
        return vae.log_jacobian(data.schema)
    sums = [vae.log_jacobians(data.schema, x).sum().item() for x in data.batches(1024, seed=0)]
    return sum(sums) / max(1, len(data))


def _means(sums: Tensor, prefix: str, jacobian: float) -> dict[str, float]:
    """Means over the examples of all processes; densities in the data's own units, the loss as it is trained."""
    values = {f"{prefix}_{name}": value for name, value in mean_terms(processes.summed(sums)).items()}
    values[f"{prefix}_log_likelihood"] += jacobian
    values[f"{prefix}_elbo"] = values[f"{prefix}_log_likelihood"] - values[f"{prefix}_kl"]
    return values


def _epoch_means(take: Step, valid: Dataset, sums: Tensor, jacobians: dict[str, float]) -> dict[str, float]:
    """Means of the terms over the epoch's training rows, and over the validation rows."""
    validated = _summed_over(take, valid, torch.arange(len(valid)))
    return _means(sums, "train", jacobians["train"]) | _means(validated, "valid", jacobians["valid"])


def _summed_over(take: Step, data: Dataset, index: Tensor) -> Tensor:
    """Sums of the terms over this process's share of the rows at `index`, with the same noise each time."""
    sums = torch.zeros(len(TERMS) + 1, dtype=torch.float64)
    with seeded(take.config.seed), evaluating(take.kept):
        for numbers in index.split(max(take.config.batch, 512)):
            with processes.share(len(numbers)) as (rows, weight):
                x, context = take.kept.vae.batch(data, numbers[rows])
                sums += take.sums(x, weight, context)
    return sums


# --- a training that diverges -------------------------------------------------------------------------------------


def _untrained(take: Step, train: Dataset, total: int) -> dict[str, float]:
    """The yardstick of `divergence.risen`: means of the untrained model over the rows that are trained on first."""
    take.kept.at_step(total)
    order = epoch_order(len(train), take.config.seed, 0, block=take.config.shuffle_block or None)
    means = mean_terms(processes.summed(_summed_over(take, train, order[:_YARDSTICK_ROWS])))
    # A discriminator learns what the loss holds against the model: that may rise without end.
    names = ["log_likelihood"] if take.auxiliary else ["loss", "log_likelihood"]
    return {name: means[name] for name in names if math.isfinite(means[name])}


def _diverged(means: dict[str, float], state: State, objective: Objective, jacobian: float) -> str:
    """How an epoch with these means diverged, in words; empty where it did not."""
    present = divergence.best_of([means], jacobian)
    before = divergence.best_of(state.rows[-1:], jacobian) if state.rows else state.untrained
    best = divergence.best_of(state.rows or [means], jacobian)
    return divergence.risen(present, before, state.untrained, best, math.prod(objective.vae.event_shape))


def _what_broke(found: Tensor, step: int) -> str:
    """Which sum of terms is no number after `step` steps and another one, in words."""
    names = [name for name, value in mean_terms(found).items() if name != "loss" and not math.isfinite(value)]
    part = " and ".join(names).replace("_", " ") or "weighted sum"
    return f"in step {step + 1:,} the {part} became NaN or infinite"


def _any_broken(broken: str, step: int, *, is_last: bool) -> bool:
    """Whether the loss broke, in any process; several ask each other now and then, all after the same steps."""
    if processes.count() == 1:
        return bool(broken)
    return (is_last or step % _ASK_EVERY == 0) and processes.any_of(bool(broken))[0]


def _rolled_back(take: Step, state: State, why: str, step: int, total: int) -> State:
    """The state after `step` with the best weights, the optimiser's state anew and a smaller learning rate.

    Raises:
        NonFiniteError: where no epoch was good, after the last try.
    """
    is_over = state.last_try or step >= total
    take.roll_back(state.best, step)
    if is_over and not state.best_epoch:
        tries = f", and again with {len(state.rollbacks)} smaller rates" if state.rollbacks else ""
        raise NonFiniteError(
            f"the loss must stay finite; {why} before any epoch was done{tries}. "
            "Use a smaller --learning-rate, or look at the data's scaling."
        )
    place = f"the weights of epoch {state.best_epoch}" if state.best_epoch else "the first weights"
    on = f"with {divergence.SLOWER} times the learning rate and gradients clipped to {divergence.CLIP_NORM:.3g}"
    end = "where the training ended" if is_over else on
    rollback = {"step": step, "what": f"{why}; back to {place}, {end}"}
    none = torch.zeros(len(TERMS) + 1, dtype=torch.float64)
    state = replace(take.trained.capture(none, state), step=step, stale=0)
    return replace(state, rollbacks=[*state.rollbacks, rollback])


class _Saved:
    """When a checkpoint is due, and whether the training is to stop: the same answers in all processes."""

    def __init__(self, distance: str, step: int, per_epoch: int) -> None:
        (self.distance, self.unit), self.per_epoch = every(distance), per_epoch
        self.step, self.time, self.asked_at = step, time.monotonic(), 0.0

    def now(self, step: int) -> float:
        """Note that a checkpoint was written; gives the seconds that it took."""
        self.step, self.time = step, time.monotonic()
        return self.time - self.asked_at

    def asked(self, step: int, stop: bool, *, at_end_of_epoch: bool = False) -> tuple[bool, bool]:
        """Whether to save and whether to stop after `step`."""
        self.asked_at = time.monotonic()
        late = self.unit == "seconds" and self.asked_at - self.time >= self.distance
        if processes.count() > 1:
            is_time = at_end_of_epoch or step % _ASK_EVERY == 0
            late, stop = processes.any_of(late, stop) if is_time else (False, False)
        if self.unit == "steps":
            late = step - self.step >= self.distance
        elif self.unit == "epochs" and at_end_of_epoch:
            late = step - self.step >= self.distance * self.per_epoch
        return late, stop


# --- what a checkpoint belongs to ---------------------------------------------------------------------------------


def _identity(config: TrainConfig, train: Dataset, objective: Objective, rest: str) -> str:
    """What a checkpoint belongs to: configuration, number of rows, names and shapes of the weights, and the rest."""
    shapes = {name: list(value.shape) for name, value in objective.state_dict().items()}
    free = {"checkpoint_every", "device", "sharded"}  # these may change from one part of a run to the next
    settings = {key: value for key, value in to_dict(config).items() if key not in free}
    settings["betas"] = [objective.beta(step) for step in (0, config.warmup, 10**9)]
    settings["objective"] = objective.settings()
    return json.dumps({"train": settings, "rest": rest, "rows": len(train), "weights": shapes}, sort_keys=True)


def _defaults() -> dict[str, Any]:
    """What an identity says of options that are left at their defaults: those that a newer version adds."""
    return {
        "train": to_dict(TrainConfig()),
        "rest": {"data": to_dict(DataConfig()), "model": to_dict(ModelConfig())},
    }


# --- the outside world --------------------------------------------------------------------------------------------


class _Display:
    """Progress on standard error: a live bar on a terminal, one line an epoch elsewhere, or nothing."""

    def __init__(self, shown: bool, total: int, rows: int) -> None:
        self.shown, self.total, self.rows = shown, total, rows
        self.console = console()
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

    def begin(self, compiles: bool, note: str) -> None:
        if self.shown and note:
            self.console.print(f"Note: {note}", highlight=False, soft_wrap=True)
        if self.shown and compiles:
            text = "the run is long enough to compile its step: the first step takes some seconds, the others less"
            self.console.print(text, highlight=False, soft_wrap=True)

    def step(self, step: int, sums: Tensor) -> None:
        if not self.live or time.monotonic() - self.last_update < 0.2:
            return
        now = time.monotonic()
        self.last_update = now
        if self.first_step is None:
            self.first_step, self.started = step, now
        rate = (step - self.first_step) / max(now - self.started, 1e-9)
        means = mean_terms(sums)
        elbo = means["log_likelihood"] - means["kl"]
        values = (("loss", means["loss"]), ("ELBO", elbo), ("KL", means["kl"]))
        text = "  ".join(f"{name} {value:.2f}" for name, value in values)
        text += f"  {rate * sums[-1].item() * processes.count():,.0f} examples/s"
        self.progress.update(self.task, completed=step, description=text)

    @staticmethod
    def _numbers(row: dict[str, Any]) -> str:
        if math.isnan(row["valid_elbo"]):  # z is a point, of which there is no bound
            return f"train loss {row['train_loss']:.3f}  valid loss {row['valid_loss']:.3f}"
        return f"train ELBO {row['train_elbo']:.3f}  valid ELBO {row['valid_elbo']:.3f}  KL {row['valid_kl']:.3f}"

    def rolled_back(self, rollback: dict[str, Any]) -> None:
        if self.shown:
            self.console.print(f"diverged: {rollback['what']}", highlight=False, soft_wrap=True)

    def epoch(self, row: dict[str, Any]) -> None:
        if not self.shown or (self.live and row["step"] < self.total and row["step"] < self.next_line):
            return
        self.next_line = row["step"] + self.total / 20  # beside a bar a line for each twentieth will do
        mark = " best" if row["best"] else ""
        if row["examples"] < self.rows:
            mark += f" (of {row['examples']:,} training rows)"
        self.console.print(
            f"epoch {row['epoch']:>4}  step {row['step']:>7}  {self._numbers(row)}  "
            f"{row['examples_per_second']:,} examples/s{mark}",
            highlight=False,
            soft_wrap=True,  # a line stays a line in a log file
        )
