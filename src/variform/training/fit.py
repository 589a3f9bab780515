"""Training: epochs of steps, validation after each, the best weights kept, and a state to go on from."""

import copy
import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from signal import SIGINT, SIGTERM
from typing import Any

import torch
from torch import Tensor

from variform.config.checks import checked
from variform.config.choices import ProgressStyle
from variform.config.settling import for_rows, steps_per_epoch, total_steps
from variform.config.training import TrainConfig
from variform.data.conditions import by_condition
from variform.data.dataset import Dataset
from variform.data.order import BLOCKS_PER_WINDOW, epoch_order
from variform.model.vae import VAE
from variform.objectives import Objective
from variform.system import locks, processes
from variform.system.draws import seeded, undisturbed
from variform.system.products import require_ways
from variform.system.signals import Asked, Stopped, noted
from variform.system.work import threads_again
from variform.training import divergence, parts
from variform.training.callbacks import CallbackError, Callbacks, Calls, Moment
from variform.training.checkpoints import State
from variform.training.device import computes_behind
from variform.training.history import History, resume_command
from variform.training.identity import identity_of
from variform.training.private import budget_of, require_private
from variform.training.progress import Display, progress_style
from variform.training.saving import ASK_EVERY, Saving
from variform.training.schedule import learning_rate, plateaus
from variform.training.step import Step, mean_terms, products_of
from variform.training.validation import (
    batch_of,
    mean_log_jacobian,
    means_in_own_units,
    no_sums,
    stale_after,
    stops_early,
    use_of_codes,
    validation_sums,
)

_YARDSTICK_ROWS = 4096


class NonFiniteError(ArithmeticError):
    """The loss became NaN or infinite before any epoch was done; the message says in which step and what broke."""


class Interrupted(Stopped):
    """Ctrl-C or another signal of `signals.SIGNALS`; the checkpoint was written at this step."""

    def __init__(
        self,
        step: int,
        total: int,
        folder: Path | None,
        number: int = SIGINT,
        *,
        is_private: bool = False,
    ) -> None:
        then = f"go on with: {resume_command(folder)}"
        if is_private:
            then = "a private training cannot go on: train anew"
        super().__init__(f"stopped at step {step:,} of {total:,}; {then}", number)


@checked
def fit(
    objective: Objective,
    train: Dataset,
    valid: Dataset,
    config: TrainConfig,
    *,
    folder: Path | None = None,
    resume: bool = False,
    identity: str = "",
    progress: bool | ProgressStyle = False,
    on_step: Callbacks = None,
    on_epoch: Callbacks = None,
) -> History:
    """Minimise the objective's mean loss over the training rows, of rows with weights the weighted mean.

    The objective is validated after every epoch with the final weight of the KL term and the same noise each time;
    afterwards the model has the weights of the best epoch and knows the schema of its data. Every mean is a sum over
    examples divided by their number. Same configuration, data, machine and thread count: the same bits, whether or not
    the run was interrupted.

    A private training (`private_epsilon`) keeps the weights of its last step, is never the same twice, whatever the
    seed, and goes neither back nor on from a checkpoint. It bounds what the steps take from the rows: a model whose
    weights start at them, as `build_vae` with `moments`, or were trained on them, knows more.

    A training that diverges (see `divergence.risen`, or a loss that is NaN or infinite) goes back to its best weights
    and on from there, with the optimiser's state anew, 0.3 times the learning rate, and gradients clipped to a norm of
    10; the fourth time it ends.

    Batch and patience that are not given are those of `for_rows`. The warm-up of the KL term is the objective's, which
    is built before this knows the rows, so that none is added here: `config.settling.settled` gives the configuration
    that `variform train` uses, with the warm-up of convolutional networks on few rows, for `build_objective` and this.

    Args:
        objective: Owns the VAE. Its beta, samples and kl are its own; see `build_objective`.
        train: Training rows.
        valid: Validation rows; they choose the best epoch and nothing else.
        config: The optimiser's side of the configuration.
        folder: Where checkpoint.safetensors and history.jsonl go; made where it is not there, and held against other
            processes. With it, Ctrl-C and the other signals of `signals.SIGNALS` save first.
        resume: Go on from the checkpoint in `folder`.
        identity: What else the result depends on, such as the fingerprint of the data; a checkpoint made with another
            one is refused.
        progress: How progress is shown on standard error, see `Display`; True is `auto`, False `none`.
        on_step: Called after each step, with a `Moment` that has the numbers of its batch; see `training.callbacks`.
        on_epoch: Called after each epoch, with one that has its row of the history.

    Raises:
        ValueError: for fewer training rows than a batch, or a checkpoint of another run.
        CallbackError: where a callback raised an error; what was trained is saved where there is a folder.
        HeldError: when another process writes into `folder`.
        NonFiniteError: for a loss that is NaN or infinite before any epoch was done; the model has its first weights.
        Interrupted: after Ctrl-C or another signal.

    Example:
        >>> from variform.objectives.build import build_objective
        >>> from variform import ModelConfig, build_vae, read
        >>> data = read("digits")
        >>> config = TrainConfig(epochs=2)
        >>> objective = build_objective(build_vae(ModelConfig(latent_dim=2), data.schema), config)
        >>> [row["epoch"] for row in fit(objective, data.train, data.valid, config).rows]
        [1, 2]
    """
    calls = Calls(on_step, on_epoch)
    training = Training(objective, train, valid, config, folder, identity, progress, calls)
    with training.running(resume):
        training.begin()
        while not training.is_over():
            epoch = training.train_epoch()
            if not epoch.broken:
                training.validate(epoch)
            if epoch.broken:
                training.roll_back(epoch.broken)
                continue
            training.keep(epoch)
            if epoch.diverged:
                training.roll_back(f"in epoch {epoch.number} {epoch.diverged}")
            training.end_epoch()
        training.end()
    return training.best_model()


def alone_in(folder: Path | None) -> AbstractContextManager[None]:
    """Inside, no other process writes into the folder of a training, which the caller may hold already."""
    if folder is None:
        return nullcontext()
    return processes.for_all(locks.held(folder, make=True, again=True))


@dataclass
class Epoch:
    """What the steps of an epoch did, and what its validation found."""

    number: int
    """From 1."""
    examples: int = 0
    """Training rows since it began, or since the training was resumed in it."""
    seconds: float = 0.0
    """What their steps took, without validation and files."""
    counted: int = 0
    """Training rows that its means are over."""
    means: dict[str, float] = field(default_factory=dict)
    """Means of the terms over the training rows, `train_*`, and over the validation rows, `valid_*`."""
    codes: dict[str, Any] = field(default_factory=dict)
    """How much of its codes the model uses, where it has some."""
    broken: str = ""
    """What became NaN or infinite, in words; such an epoch is not in the history."""
    diverged: str = ""
    """What rose beyond all bounds, in words."""


class Training:
    """One fit: what is trained, on which rows, and how far it is. `fit` calls its methods, in the order of this page.

    `step` counts the steps done; `state` is everything that the rest depends on: what it tells of epochs as of the last
    one, its tensors as of the last time that they were captured, which is whenever they are saved. Args: as `fit`.

    It is one long class because these three (`step`, `sums`, `state`) change together in nearly every method; whatever
    needs only some of it stands elsewhere: `Step`, `Saving`, `Display`, and the pages on validation and divergence.
    """

    saved: State | None
    """The checkpoint that the training goes on from."""
    state: State

    @checked
    def __init__(
        self,
        objective: Objective,
        train: Dataset,
        valid: Dataset,
        config: TrainConfig,
        folder: Path | None,
        identity: str,
        progress: bool | ProgressStyle,
        calls: Calls,
    ) -> None:
        self.calls = calls
        self.config = for_rows(config, len(train))
        for data in (train, valid):
            require_labels(objective, data)
            require_weights_fit(objective, data)
        require_private(objective, self.config, train)
        if objective.vae.schema is None:
            objective.vae.schema = train.schema
        self.objective = objective
        self.train = train
        self.valid = valid
        self.train_jacobian = mean_log_jacobian(objective.vae, train)
        self.valid_jacobian = mean_log_jacobian(objective.vae, valid)
        self.steps_per_epoch = steps_per_epoch(config, len(train))
        self.total_steps = total_steps(config, len(train))
        identity = identity_of(self.config, objective, len(train), identity)
        self.saving = Saving(folder, identity, self.config.checkpoint_every, self.steps_per_epoch)
        budget = budget_of(self.config, len(train))
        self.train_step = Step(objective, self.config, self.total_steps, budget)
        self.private = self.train_step.private
        style = progress_style(progress) if processes.rank() == 0 else "none"
        self.display = Display(style, self.total_steps, len(train))
        self.asked = Asked()
        self.step = 0
        self.plateaus = 0
        """How often the validation loss stopped falling, for the schedule `plateau`."""
        self.sums = no_sums(self.train_step.device)
        """Sums of the terms over the rows of the present epoch, of this process."""
        self.is_alone = processes.count() == 1
        self.is_behind = computes_behind(self.train_step.device)
        self.seconds_before = 0.0
        self.started = time.monotonic()

    @contextmanager
    def running(self, resume: bool) -> Iterator[None]:
        """Inside, draws follow the seed, steps have their arithmetic, signals are noted, and progress is shown."""
        with alone_in(self.saving.folder), seeded(self.config.seed):
            self.saved = self.last_checkpoint() if resume else None
            self.require_may_go_on()
            self.settle_arithmetic()
            with (
                self.train_step.arithmetic(),
                noted(self.saving.folder is not None) as self.asked,
                self.display,
            ):
                yield

    def last_checkpoint(self) -> State | None:
        """The state to go on from; None where there is no folder."""
        folder = self.saving.folder
        return None if folder is None else self.saving.load(folder, self.train_step.trained)

    def require_may_go_on(self) -> None:
        """Refuse to go on with a private training: its noise is kept nowhere, and was for its own number of steps."""
        if self.private is None or self.saved is None or self.saved.step >= self.total_steps:
            return
        raise ValueError(
            f"a private training must be done at a stretch, for its noise is kept nowhere; this one is at step "
            f"{self.saved.step:,} of {self.total_steps:,}. Train anew, with `overwrite` into this folder."
        )

    def settle_arithmetic(self) -> None:
        """Give the steps the threads and the way of each product that they had before, or those that are fastest."""
        step = self.train_step
        if self.saved is None:
            step.products = products_of(step, self.total_steps)
        else:
            step.threads = threads_again(self.saved.threads)
            step.products = self.saved.products
            require_ways(self.objective.vae, step.products)

    def begin(self) -> None:
        """Take the state of the last checkpoint, or that of the untrained model."""
        if self.saved is not None:
            self.state = self.saved
            self.train_step.trained.restore(self.state, self.sums)
            self.saving.begin(self.state)
            self.calls.stopped = self.state.stopped
        else:
            untrained = self.untrained_means()
            self.state = replace(self.train_step.trained.capture(self.sums), untrained=untrained)
            self.state.threads = self.train_step.threads
            self.state.products = self.train_step.products
            self.saving.save(self.state)
        self.display.begin(self.train_step.is_compiled, self.train_step.products, self.state.note)
        self.train_step.objective.train()
        self.step = self.state.step
        self.plateaus = plateaus(self.config, self.state.rows)
        if self.state.rows:
            self.seconds_before = self.state.rows[-1]["seconds"]
        self.started = time.monotonic()

    def untrained_means(self) -> dict[str, float]:
        """The yardstick of `divergence.risen`: means of the untrained model over the rows that are trained on first."""
        if self.private is not None:  # it never goes back by what rows say
            return {}
        self.train_step.evaluated.at_step(self.total_steps)
        index = self.order_of(0)[:_YARDSTICK_ROWS]
        means = mean_terms(validation_sums(self.train_step, self.train, index))
        # A discriminator learns what the loss holds against the model: that may rise without end.
        names = ["log_likelihood"] if self.train_step.auxiliary else ["loss", "log_likelihood"]
        return {name: means[name] for name in names if math.isfinite(means[name])}

    def order_of(self, epoch: int) -> Tensor:
        """Numbers of the training rows in the order of an epoch, which is counted from 0; (N,)."""
        return epoch_order(
            len(self.train), self.config.seed, epoch, block=self.config.shuffle_block or None
        )

    def is_over(self) -> bool:
        """Whether no epoch follows."""
        is_stale = stops_early(self.config.patience or 0, self.state.stale)
        has_ended = self.state.ended or bool(self.calls.stopped)
        return self.step >= self.total_steps or has_ended or is_stale

    def train_epoch(self) -> Epoch:
        """Take the steps up to the end of the epoch, or up to the one that breaks it."""
        number, first = divmod(self.step, self.steps_per_epoch)
        epoch = Epoch(number + 1)
        order = self.order_of(number)
        batches = order.split(self.config.batch)[first : first + self.total_steps - self.step]
        if self.private is not None:
            batches = tuple(self.private.batch(len(self.train)) for _ in batches)
        self.train_step.clip_norm = divergence.clip_norm(
            self.config.clip_norm, len(self.state.rollbacks)
        )
        last_step = self.step + len(batches)
        started, paused = time.monotonic(), -self.calls.seconds
        for batch, index in enumerate(batches, first):
            if self.config.shuffle_block:
                self.announce(order, batch, is_first=batch == first)
            sums = self.train_batch(index)
            epoch.examples += len(index)
            self.tell_of_step(epoch.number, sums)
            is_last = self.step == last_step or self.is_stopped_within_epoch()
            if self.is_broken(epoch, sums, is_last=is_last):
                break
            self.display.step(self.step, sums)
            if is_last:  # it is saved with its validation
                break
            paused += self.save_within_epoch()
        self.hear_callbacks()
        paused += self.calls.seconds
        epoch.seconds = time.monotonic() - started - paused
        return epoch

    def announce(self, order: Tensor, batch: int, *, is_first: bool) -> None:
        """Tell the disk of the rows of this window and the next, when a batch enters a window."""
        window = self.config.shuffle_block * BLOCKS_PER_WINDOW
        start = batch * self.config.batch
        if is_first or start // window != (start - self.config.batch) // window:
            self.train.expect(order[start : start + 2 * window])

    def train_batch(self, index: Tensor) -> Tensor:
        """One step on the training rows at `index`, (B,); gives the sums of their terms, (4,), of this process."""
        with processes.share(len(index)) as (rows, weight):
            x, context, shares = batch_of(self.objective.vae, self.train, index[rows])
            self.train_step.objective.at_step(self.step)
            self.train_step.learning_rate(self.learning_rate_at(self.step))
            sums = self.train_step(x, len(index), weight, context, shares)
        self.step += 1
        self.sums += sums
        return sums

    def learning_rate_at(self, step: int) -> float:
        """What the schedule says, less after rollbacks."""
        scheduled = learning_rate(self.config, step, self.total_steps, self.plateaus)
        return scheduled * self.state.slowed

    def is_broken(self, epoch: Epoch, sums: Tensor, *, is_last: bool) -> bool:
        """Whether the loss is no number, in any process; several ask each other now and then, after the same steps.

        So is a GPU asked, which would have to wait for the next step while the last one is read.
        """
        is_time = is_last or self.step % ASK_EVERY == 0
        if self.is_behind:
            sums = self.sums  # whatever breaks in a step stays in those of the epoch
        is_read = is_time or not self.is_behind
        if is_read and not (epoch.broken or math.isfinite(sums[0].item())):
            epoch.broken = self.what_broke(sums)
        if self.is_alone:
            return bool(epoch.broken)
        if not (is_time and processes.any_of(bool(epoch.broken))[0]):
            return False
        elsewhere = f"in step {self.step:,} or some before, the loss of another process became NaN"
        epoch.broken = epoch.broken or elsewhere
        return True

    def what_broke(self, sums: Tensor) -> str:
        """Which of the terms is no number, in words."""
        means = mean_terms(sums)
        broken = [name for name in ("log_likelihood", "kl") if not math.isfinite(means[name])]
        part = " and ".join(broken).replace("_", " ") or "weighted sum"
        when = f"in step {self.step:,}"
        if self.is_behind:
            when += " or some before"
        return f"{when} the {part} became NaN or infinite"

    def tell_of_step(self, epoch: int, sums: Tensor) -> None:
        """Call what is called after a step."""
        if self.calls.on_step and processes.rank() == 0 and not self.calls.are_over:
            with undisturbed():
                self.calls.make(self.calls.on_step, self.moment_of_step(epoch, sums))

    def is_stopped_within_epoch(self) -> bool:
        """Whether a callback ends the training with this step; several processes hear of it alike, now and then.

        Raises:
            CallbackError: where one raised an error; the training is saved first.
        """
        is_time = self.is_alone or self.step % ASK_EVERY == 0
        if not (self.calls.on_step and is_time):
            return False
        self.hear_callbacks()
        if self.calls.failed:
            self.fail()
        return bool(self.calls.stopped)

    def hear_callbacks(self) -> None:
        """Have all processes know what the callbacks of the first one asked for."""
        has_any = self.calls.on_step or self.calls.on_epoch
        if has_any and not self.is_alone:
            self.calls.hear(processes.broadcast(self.calls.said()))

    def fail(self) -> None:
        """End because a callback raised an error, with nothing lost."""
        state = self.captured()
        is_broken = processes.any_of(not state.finite)[0]
        if not is_broken:
            self.state = state
            self.saving.save(state)
        then = "mend it, then train anew"
        if self.saving.folder is not None and self.private is None:
            then = f"the training is saved; mend it, then go on with {resume_command(self.saving.folder)}"
        raise CallbackError(
            f"a callback must not fail; after step {self.step:,} {self.calls.failed}: {then}."
        ) from self.calls.error

    def moment_of_step(self, epoch: int, sums: Tensor) -> Moment:
        """The training after the step that was done last; `sums` as it gave them, which nobody waits for here."""
        known = {
            "epoch": epoch,
            "step": self.step,
            "beta": self.objective.beta(self.step - 1),
            "learning_rate": self.learning_rate_at(self.step - 1),
        }

        def numbers() -> dict[str, Any]:
            return known | means_in_own_units(sums, "train", self.train_jacobian)

        return Moment(self.step, epoch, numbers, self.copied)

    def copied(self) -> VAE:
        """A copy of the model as it is validated."""
        if self.config.sharded:
            raise ValueError(
                "`vae` needs a model that one process has whole; got `sharded=True`. Use the numbers alone, or leave "
                "`sharded` out."
            )
        vae = copy.deepcopy(self.train_step.evaluated.vae)
        for module in vae.modules():
            vars(module).pop("forward", None)  # the ways of the products are those of the steps
        return vae.eval()

    def save_within_epoch(self) -> float:
        """Save if it is due, and stop if that was asked; gives the seconds that it took."""
        is_due, is_stopped = self.saving.due(self.step, self.asked.is_set())
        if not (is_due or is_stopped):
            return 0.0
        started = time.monotonic()
        state = self.captured()
        is_broken = processes.any_of(not state.finite)[0]
        if not is_broken:  # else the next loss says what broke
            self.state = state
            self.saving.save(state)
        if is_stopped:
            raise self.interrupted()
        return time.monotonic() - started

    def captured(self, **changes: Any) -> State:
        """The present state, with other values of some fields."""
        return replace(
            self.train_step.trained.capture(self.sums, self.state), step=self.step, **changes
        )

    def interrupted(self) -> Interrupted:
        """The end by a signal, to this process or to another."""
        return Interrupted(
            self.step,
            self.total_steps,
            self.saving.folder,
            self.asked.number or SIGTERM,
            is_private=self.private is not None,
        )

    def validate(self, epoch: Epoch) -> None:
        """Find the epoch's means over training and validation rows, and whether they say that it broke or diverged."""
        self.train_step.evaluated.at_step(self.total_steps)
        trained = processes.summed(self.sums.cpu())
        validated = validation_sums(self.train_step, self.valid, torch.arange(len(self.valid)))
        epoch.counted = round(trained[-1].item())
        epoch.means = {
            **means_in_own_units(trained, "train", self.train_jacobian),
            **means_in_own_units(validated, "valid", self.valid_jacobian),
        }
        epoch.codes = use_of_codes(self.train_step, self.train)
        if not math.isfinite(epoch.means["valid_loss"]):
            epoch.broken = f"after step {self.step:,} the validation loss became NaN or infinite"
        elif self.is_judged(epoch):
            epoch.diverged = self.how_it_diverged(epoch.means)

    def is_judged(self, epoch: Epoch) -> bool:
        """Whether an epoch can be found to diverge: its steps were most of it and not the
        first of the training, and there is something to go back to.
        """
        is_mostly_done = epoch.counted > len(self.train) / 2
        is_settled = self.step > divergence.settling(self.total_steps)
        can_go_back = self.state.best_epoch > 0 or not self.is_last_try()
        return is_mostly_done and is_settled and can_go_back

    def is_last_try(self) -> bool:
        """Whether the next rollback ends the training."""
        return self.state.last_try or self.step >= self.total_steps or bool(self.calls.stopped)

    def how_it_diverged(self, means: dict[str, float]) -> str:
        """How an epoch with these means diverged, in words; empty where it did not."""
        rows, untrained = self.state.rows, self.state.untrained
        present = divergence.best_of([means], self.train_jacobian)
        before, best = untrained, present
        if rows:
            before = divergence.best_of(rows[-1:], self.train_jacobian)
            best = divergence.best_of(rows, self.train_jacobian)
        entries = math.prod(self.objective.vae.event_shape)
        return divergence.risen(present, before, untrained, best, entries)

    def keep(self, epoch: Epoch) -> None:
        """Note the epoch in the history, and keep its weights where no epoch before had better ones."""
        valid_loss = epoch.means["valid_loss"]
        is_best = valid_loss < self.state.best_loss and not epoch.diverged
        if self.private is not None:  # to choose an epoch by other rows would tell of them
            is_best = True
        row = self.row_of(epoch, is_best)
        self.sums.zero_()
        self.state = replace(self.state, step=self.step, rows=[*self.state.rows, row])
        self.plateaus = plateaus(self.config, self.state.rows)
        if is_best:
            self.state.best = self.train_step.trained.kept()
            self.state.best_loss = valid_loss
            self.state.best_epoch = epoch.number
        is_warming_up = self.step < (self.config.warmup or 0)
        self.state.stale = stale_after(self.state.stale, is_best, is_warming_up)
        self.display.epoch(row)

    def row_of(self, epoch: Epoch, is_best: bool) -> dict[str, Any]:
        """What the history says of an epoch."""
        return {
            "epoch": epoch.number,
            "step": self.step,
            "examples": epoch.counted,
            **epoch.means,
            **epoch.codes,
            "beta": self.objective.beta(self.step - 1),
            "best": is_best,
            "learning_rate": self.learning_rate_at(self.step - 1),
            "seconds": round(self.seconds_before + time.monotonic() - self.started, 3),
            "train_seconds": round(epoch.seconds, 6),
            "examples_per_second": round(epoch.examples / epoch.seconds),
        }

    def roll_back(self, why: str) -> None:
        """Go back to the best weights, with the optimiser's state anew and a smaller learning rate.

        Raises:
            NonFiniteError: where no epoch was good, after the last try.
        """
        if self.private is not None:
            raise NonFiniteError(
                f"{why}, and a private training cannot go back and on. Train anew with a smaller `learning_rate`."
            )
        self.train_step.roll_back(self.state.best, self.step)
        weights = "the first weights"
        if self.state.best_epoch:
            weights = f"the weights of epoch {self.state.best_epoch}"
        then = f"with {divergence.SLOWER} times the learning rate and gradients clipped to {divergence.CLIP_NORM:.3g}"
        if self.is_last_try():
            self.require_an_epoch(why)
            then = "where the training ended"
        rollback = {"step": self.step, "what": f"{why}; back to {weights}, {then}"}
        self.sums.zero_()
        self.state = self.captured(stale=0, rollbacks=[*self.state.rollbacks, rollback])
        self.display.rolled_back(rollback)
        if self.calls.failed:
            self.fail()

    def require_an_epoch(self, why: str) -> None:
        """Refuse to end without a single good epoch."""
        if self.state.best_epoch:
            return
        tries = ""
        if self.state.rollbacks:
            tries = f", and again with {len(self.state.rollbacks)} smaller rates"
        raise NonFiniteError(
            f"the loss must stay finite; {why} before any epoch was done{tries}. "
            "Use a smaller `learning_rate`, or look at the data's scaling."
        )

    def end_epoch(self) -> None:
        """Say what the epoch did, save if it is due, and stop if that was asked."""
        self.note_rollbacks()
        self.saving.note_epoch(self.state.rows[-1])
        self.tell_of_epoch(dict(self.state.rows[-1]))
        is_due, is_stopped = self.saving.due(self.step, self.asked.is_set(), at_end_of_epoch=True)
        if is_due or is_stopped:
            self.save()
        if is_stopped:
            raise self.interrupted()

    def tell_of_epoch(self, row: dict[str, Any]) -> None:
        """Call what is called after an epoch; an error that a callback raised in it or now ends the training."""
        if self.calls.on_epoch and processes.rank() == 0 and not self.calls.are_over:
            with undisturbed():
                moment = Moment(self.step, row["epoch"], lambda: row, self.copied)
                self.calls.make(self.calls.on_epoch, moment)
        self.hear_callbacks()
        if self.calls.failed:
            self.fail()

    def save(self) -> None:
        """Write the present state."""
        self.state = self.captured()
        self.saving.save(self.state)

    def note_rollbacks(self) -> None:
        """Write each rollback into the row of its epoch, which is done by now."""
        self.state.rows = divergence.noted(self.state.rows, self.state.rollbacks)

    def end(self) -> None:
        """Save what there is to the end of the training."""
        self.note_rollbacks()
        if self.calls.stopped:
            self.display.stopped(self.calls.stopped)
            last = self.state.rows[-1] | {"stopped": self.calls.stopped}
            self.state.rows = [*self.state.rows[:-1], last]
        self.save()

    def best_model(self) -> History:
        """Give the model the weights of its best epoch, ready to be asked; and what the training did."""
        if self.config.sharded:
            parts.fill(self.objective, self.state.best)
        else:
            self.objective.load_state_dict(self.state.best)
        if self.config.freeze == "encoder":
            self.objective.vae.encoder.requires_grad_(True)
        self.objective.at_step(self.total_steps)
        self.objective.eval()
        rollbacks = tuple(rollback["what"] for rollback in self.state.rollbacks)
        return History(
            self.state.rows,
            self.state.best_epoch,
            self.last_weights(),
            self.why_it_ended(),
            rollbacks,
        )

    def last_weights(self) -> dict[str, Tensor]:
        """The weights after the last step; of a sharded model process 0 alone keeps them whole."""
        gathered = ((name, parts.whole(value)) for name, value in self.state.weights.items())
        is_first, is_sharded = processes.rank() == 0, self.config.sharded
        return {name: value for name, value in gathered if is_first or not is_sharded}

    def why_it_ended(self) -> str:
        """In words."""
        if self.state.ended:
            rollbacks = self.state.rollbacks
            return f"it diverged {len(rollbacks)} times, the last time {rollbacks[-1]['what']}"
        if self.calls.stopped:
            return self.calls.stopped
        if self.step < self.total_steps:
            return f"no better validation loss for {self.config.patience} epochs"
        return "all steps done"


def require_weights_fit(objective: Objective, data: Dataset) -> None:
    """Refuse weights of rows for what is found from the rows of a batch together, where a row has no part of its own.

    Raises:
        ValueError: says for what.
    """
    if data.weights is None:
        return
    name, vae = type(objective).__name__, objective.vae
    remedy = "Use another objective, or leave `weight` out."
    if vae.likelihood.fits_batch:
        name = "`likelihood='gaussian-optimal'`"
        remedy = "Use `likelihood='gaussian-shared'`, or leave `weight` out."
    if objective.couples_rows or objective.auxiliary is not None or vae.likelihood.fits_batch:
        raise ValueError(
            f"`weight` needs a loss that is a sum over rows; that of {name} compares the rows of a batch with each "
            f"other. {remedy}"
        )


def require_labels(objective: Objective, data: Dataset) -> None:
    """Refuse rows without a category of a condition; some objectives infer the first.

    Raises:
        ValueError: says how many rows have none.
    """
    if data.contexts is None:
        return
    for number, (condition, part) in enumerate(by_condition(data.schema.conditions, data.contexts)):
        missing = int(condition.is_missing(part).sum())
        is_inferred = number == 0 and objective.infers_labels
        if missing and not is_inferred:
            remedy = "Fill it in." if number else "Use `objective='m2'`, which infers it."
            raise ValueError(
                f"every row must have its {condition.name}; {missing:,} of {len(data):,} have none. {remedy}"
            )
