"""What a training left: a row of numbers for each epoch."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from variform.system.files import to_json, write_text
from variform.system.notebook import html_table

if TYPE_CHECKING:
    from torch import Tensor

CHECKPOINT = "checkpoint.safetensors"
HISTORY = "history.jsonl"

_MISFITS = (ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError)


@dataclass(frozen=True, repr=False)
class History:
    """What a fit did.

    Args:
        rows: One dict per epoch: epoch, step, examples (training rows that train_* are means over; fewer than all where
            `steps` end within an epoch), beta, learning_rate, train_*, valid_* for loss, elbo, log_likelihood and kl
            (nats per example; with `ema` valid_* are of the average of the weights), seconds (in all),
            train_seconds (of this epoch's steps alone, without validation and files), examples_per_second (of these
            steps), best; rollback, where the training went back in it, what happened; stopped, where a callback ended
            it, why.
        best_epoch: The epoch with the lowest validation loss, whose weights the model has after `fit`.
        last: Weights after the last step, by name; they are no average.
        stopped: Why it ended.
        rollbacks: What happened each time that the training diverged and went back to its best weights.
    """

    rows: list[dict[str, Any]]
    best_epoch: int
    last: "dict[str, Tensor]"
    stopped: str
    rollbacks: tuple[str, ...] = ()

    def __repr__(self) -> str:
        last = self.rows[-1] if self.rows else {"step": 0}
        loss = ""
        for row in self.rows:
            if row["epoch"] == self.best_epoch:
                loss = f" with validation loss {row['valid_loss']:.5g}"
        back = f"; it went back {len(self.rollbacks)} times" if self.rollbacks else ""
        return (
            f"History({len(self.rows)} epochs, {last['step']:,} steps, best epoch {self.best_epoch}{loss}; "
            f"{self.stopped}{back})"
        )

    def _repr_html_(self) -> str:
        """The first, the best and the last epoch."""
        names = ("train_loss", "valid_loss", "valid_elbo", "valid_kl")
        kept = {self.best_epoch: "best"}
        if self.rows:
            kept = {self.rows[0]["epoch"]: "first", self.rows[-1]["epoch"]: "last"} | kept
        rows = [
            [
                f"{kept[row['epoch']]}: {row['epoch']:,}",
                f"{row['step']:,}",
                *(f"{row[name]:.5g}" for name in names),
                f"{row['seconds']:,.1f}",
            ]
            for row in self.rows
            if row["epoch"] in kept
        ]
        header = ["epoch", "step", *(name.replace("_", " ") for name in names), "seconds"]
        return html_table(header, rows, title=f"{len(self.rows):,} epochs", note=self.stopped)


def resume_command(folder: Path | None) -> str:
    """What a user types to go on with the run in `folder`.

    Example:
        >>> resume_command(Path("my run"))
        "variform train --resume 'my run'"
    """
    return f"variform train --resume {shlex.quote(str(folder))}"


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


def write_history(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Bring history.jsonl to these rows: those that are new are appended, else the file is made anew.

    Args:
        folder: Where it is, or will be.
        rows: As `History.rows`.

    Raises:
        OSError: where it cannot be written. A line that was cut off is made good the next time.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> write_history(folder, [{"epoch": 1}])
        >>> write_history(folder, [{"epoch": 1}, {"epoch": 2}])
        >>> (folder / HISTORY).read_text()
        '{"epoch": 1}\\n{"epoch": 2}\\n'
    """
    path = folder / HISTORY
    text = "".join(f"{to_json(row)}\n" for row in rows)
    before = path.read_bytes().decode(errors="replace") if path.is_file() else ""
    if not before or not text.startswith(before):
        write_text(path, text)
        return
    _append(path, text[len(before) :])


def append_epoch(folder: Path, row: Mapping[str, Any]) -> None:
    """Add a row to history.jsonl, so that `tail -f` shows it.

    Raises:
        OSError: where it cannot be written.
    """
    _append(folder / HISTORY, f"{to_json(row)}\n")


def _append(path: Path, text: str) -> None:
    with path.open("a", encoding="utf-8", newline="\n") as file:
        file.write(text)


def epochs(folder: Path) -> list[dict[str, Any]]:
    """The epochs that a checkpoint tells of, as history.jsonl has them; its header alone is read, and not verified.

    Args:
        folder: Where the checkpoint is; where there is none, or none that can be read, there are no epochs.

    Example:
        >>> epochs(Path("nowhere"))
        []
    """
    try:
        with safe_open(folder / CHECKPOINT, framework="numpy") as file:
            rows = json.loads(file.metadata()["variform"])["state"]["rows"]
        return [row for row in json.loads(to_json(rows)) if isinstance(row, dict)]
    except (OSError, SafetensorError, ValueError, *_MISFITS):
        return []
