"""The line that a training shows while it runs."""

import math
import time
from typing import Any

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from variform.config.checks import checked
from variform.config.choices import ProgressStyle
from variform.system import processes
from variform.system.files import to_json
from variform.system.notebook import Line, in_notebook
from variform.system.products import Products
from variform.system.terminal import console
from variform.training.step import mean_terms


class Display:
    """Progress on standard error.

    Args:
        style: `bar`, a live bar; `lines`, a line an epoch; `auto`, a bar on a terminal and lines elsewhere; `json`, the
            row of each epoch as history.jsonl has it; `none`. In a notebook a bar is one line that is written anew, and
            `auto` is one.
        total: Steps of the whole training.
        rows: Number of training rows.
    """

    @checked
    def __init__(self, style: ProgressStyle, total: int, rows: int) -> None:
        self.total, self.rows = total, rows
        self.console = console()
        self.shown = style in ("auto", "bar", "lines")
        self.is_json = style == "json"
        is_bar = style == "bar" or (style == "auto" and (self.console.is_terminal or in_notebook()))
        self.line = Line() if is_bar and in_notebook() else None
        self.live = is_bar and self.line is None
        self.last_update = self.started = time.monotonic()
        self.first_step: int | None = None
        self.next_line = 0.0
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
        )
        self.progress = Progress(
            *columns, TimeRemainingColumn(), console=self.console, disable=not self.live
        )

    def __enter__(self) -> "Display":
        self.progress.start()
        self.task = self.progress.add_task("training", total=self.total)
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def begin(self, compiles: bool, products: Products, note: str) -> None:
        """Say what the first step waits for, and what was found to be fastest on this machine."""
        if self.shown and note:
            self.console.print(f"Note: {note}", highlight=False, soft_wrap=True)
        if self.shown and compiles:
            text = "the run is long enough to compile its step: the first step takes some seconds, the others less"
            self.console.print(text, highlight=False, soft_wrap=True)
        if self.shown and products:
            ways = "; ".join(f"{name}: {way}" for name, way in products.items())
            text = f"layers that are faster here in another way than torch's own: {ways}"
            self.console.print(text, highlight=False, soft_wrap=True)

    def step(self, step: int, sums: Tensor) -> None:
        """Show how far it is, and the loss, at most five times a second."""
        is_moving = self.live or self.line is not None
        if not is_moving or time.monotonic() - self.last_update < 0.2:
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
        if self.line is not None:
            left = (self.total - step) / rate if rate else math.inf
            self.line.show(f"{self.how_far(step)}, {left:,.0f} s left  {text}")

    def how_far(self, step: int) -> str:
        """The steps that are done."""
        return f"step {step:,} of {self.total:,} ({step / self.total:.0%})"

    @staticmethod
    def _numbers(row: dict[str, Any]) -> str:
        if math.isnan(row["valid_elbo"]):  # z is a point, of which there is no bound
            return f"train loss {row['train_loss']:.3f}  valid loss {row['valid_loss']:.3f}"
        text = f"train ELBO {row['train_elbo']:.3f}  valid ELBO {row['valid_elbo']:.3f}  KL {row['valid_kl']:.3f}"
        if "code_use" in row:
            text += f"  codes used {row['code_use']:.1%}, perplexity {row['code_perplexity']:.2f}"
            text += f", dead {row['dead_codes']:,}"
        return text

    def rolled_back(self, rollback: dict[str, Any]) -> None:
        """Say that the training diverged and goes on from the best weights."""
        if self.shown:
            self.console.print(f"diverged: {rollback['what']}", highlight=False, soft_wrap=True)

    def stopped(self, why: str) -> None:
        """Say that a callback ended the training."""
        if self.shown:
            self.console.print(why, highlight=False, soft_wrap=True)

    def epoch(self, row: dict[str, Any]) -> None:
        """A line on an epoch; beside a bar only now and then."""
        if self.is_json:
            self.console.file.write(f"{to_json(row)}\n")
            self.console.file.flush()
        self.progress.update(self.task, completed=row["step"])
        if self.line is not None:
            text = f"epoch {row['epoch']}  {self._numbers(row)}"
            self.line.show(f"{self.how_far(row['step'])}  {text}")
            return
        is_too_soon = self.live and row["step"] < min(self.total, self.next_line)
        if not self.shown or is_too_soon:
            return
        # Beside a bar a line for each twentieth will do.
        self.next_line = row["step"] + self.total / 20
        mark = " best" if row["best"] else ""
        if row["examples"] < self.rows:
            mark += f" (of {row['examples']:,} training rows)"
        self.console.print(
            f"epoch {row['epoch']:>4}  step {row['step']:>7}  {self._numbers(row)}  "
            f"{row['examples_per_second']:,} examples/s{mark}",
            highlight=False,
            soft_wrap=True,  # a line stays a line in a log file
        )


@checked
def progress_style(progress: bool | ProgressStyle) -> ProgressStyle:
    """How progress is shown, where it may also be said only whether.

    Example:
        >>> progress_style(True), progress_style("lines")
        ('auto', 'lines')
    """
    if isinstance(progress, bool):
        return "auto" if progress else "none"
    return progress
