"""Where the state of a training goes, and when the next checkpoint is due."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from variform.config.training import every
from variform.system import processes
from variform.training import checkpoints
from variform.training.checkpoints import State, Trained, taking
from variform.training.history import append_epoch, write_history

ASK_EVERY = 16
"""How many steps pass between two questions to the other processes whether one was asked to stop or to save."""


class Saving:
    """The checkpoints of one training; without a folder there are none, and nothing is ever due.

    Args:
        folder: Where they go.
        identity: What they belong to, see `identity.identity_of`.
        distance: How far apart they are, as `TrainConfig.checkpoint_every`.
        steps_per_epoch: Steps of a whole epoch.
    """

    def __init__(
        self, folder: Path | None, identity: str, distance: str, steps_per_epoch: int
    ) -> None:
        self.folder = folder
        self.identity = identity
        self.distance, self.unit = every(distance)
        self.steps_per_epoch = steps_per_epoch
        self._is_alone = processes.count() == 1
        self._note(0)

    def load(self, folder: Path, trained: Trained) -> State:
        """The state of the last checkpoint.

        Args:
            folder: Where it is.
            trained: What it will be restored to.

        Raises:
            FileNotFoundError, ValueError: as `checkpoints.load`.
        """
        state = checkpoints.load(folder, self.identity, trained)
        self._note(state.step)
        return state

    def save(self, state: State) -> None:
        """Write a checkpoint.

        Raises:
            OSError: as `checkpoints.save`.
        """
        if self.folder is not None:
            checkpoints.save(self.folder, state, self.identity)
        self._note(state.step)

    def begin(self, state: State) -> None:
        """Bring history.jsonl back to a state that is gone on from: what it tells of later epochs comes again.

        Raises:
            OSError: as `checkpoints.save`.
        """
        if self.folder is not None and processes.rank() == 0:
            with taking(self.folder, "the history"):
                write_history(self.folder, state.rows)

    def note_epoch(self, row: Mapping[str, Any]) -> None:
        """Add a finished epoch to history.jsonl.

        Raises:
            OSError: as `checkpoints.save`.
        """
        if self.folder is not None and processes.rank() == 0:
            with taking(self.folder, f"the history of epoch {row['epoch']:,}"):
                append_epoch(self.folder, row)

    def _note(self, step: int) -> None:
        self._saved_step = step
        self._saved_time = time.monotonic()

    def due(
        self, step: int, is_stopped: bool, *, at_end_of_epoch: bool = False
    ) -> tuple[bool, bool]:
        """Whether to save and whether to stop after `step` steps: the same answers in all processes.

        Args:
            step: Steps done so far.
            is_stopped: Whether this process was asked to stop.
            at_end_of_epoch: Whether an epoch ends with this step.
        """
        if self.folder is None:
            return False, False
        is_late = self.unit == "seconds" and time.monotonic() - self._saved_time >= self.distance
        if not self._is_alone:
            is_time = at_end_of_epoch or step % ASK_EVERY == 0
            is_late, is_stopped = _any_of(is_late, is_stopped, is_time=is_time)
        if self.unit == "steps":
            is_late = step - self._saved_step >= self.distance
        elif self.unit == "epochs" and at_end_of_epoch:
            is_late = step - self._saved_step >= self.distance * self.steps_per_epoch
        return is_late, is_stopped


def _any_of(is_late: bool, is_stopped: bool, *, is_time: bool) -> tuple[bool, bool]:
    """What is so in any of the processes, which ask each other only when it is time."""
    if not is_time:
        return False, False
    is_late, is_stopped = processes.any_of(is_late, is_stopped)
    return is_late, is_stopped
