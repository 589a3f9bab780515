"""Trainings as others show them: TensorBoard, MLflow and Weights & Biases, each a callback for `on_epoch`.

Each needs a package of its own, which `variform[tensorboard]`, `variform[mlflow]` and `variform[wandb]` bring. What
they get are the numbers of history.jsonl, under names such as `elbo/valid`, by step.
"""

import functools
import math
import os
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from variform.config.checks import checked
from variform.system.extras import needing
from variform.training.callbacks import Callback, Moment

Tracker = Literal["tensorboard", "mlflow", "wandb"]


def numbers(row: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a row of the history that are finite, by the names under which they are shown.

    Args:
        row: As of `training.History.rows`.

    Example:
        >>> numbers({"epoch": 2, "step": 40, "valid_elbo": -3.5, "train_elbo": -3.0, "best": True, "kl": math.nan})
        {'epoch': 2.0, 'elbo/valid': -3.5, 'elbo/train': -3.0}
    """
    found = {}
    for name, value in row.items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if is_number and math.isfinite(value) and name != "step":
            found[_shown(name)] = float(value)
    return found


def _shown(name: str) -> str:
    """`valid_elbo` stands beside `train_elbo`: viewers put what has one word before the slash into one picture."""
    part, _, rest = name.partition("_")
    return f"{rest}/{part}" if part in ("train", "valid") and rest != "seconds" else name


def tensorboard(folder: str | os.PathLike[str]) -> Callback:
    """A callback that writes events for TensorBoard.

    Args:
        folder: Where the events go.

    Raises:
        ValueError: where the package is missing.
    """
    with needing("tensorboard", "TensorBoard"):
        from torch.utils.tensorboard import SummaryWriter

    @functools.cache
    def writer() -> SummaryWriter:  # which makes the folder
        return SummaryWriter(os.fspath(folder))

    def note(row: Moment) -> None:
        for name, value in numbers(row).items():
            writer().add_scalar(name, value, row["step"])
        writer().flush()

    return note


def mlflow(experiment: str | None = None) -> Callback:
    """A callback that logs metrics to MLflow's active run, or to a new one; where they go MLflow's settings say.

    Args:
        experiment: Of a new run; by default the present one.

    Raises:
        ValueError: where the package is missing.
    """
    with needing("mlflow", "MLflow"):
        client = import_module("mlflow")

    def note(row: Moment) -> None:
        if client.active_run() is None:
            if experiment is not None:
                client.set_experiment(experiment)
            client.start_run()
        client.log_metrics(numbers(row), step=row["step"])

    return note


def wandb(project: str = "variform") -> Callback:
    """A callback that logs to the present run of Weights & Biases, or to a new one; WANDB_MODE=offline keeps it here.

    Args:
        project: Of a new run.

    Raises:
        ValueError: where the package is missing.
    """
    with needing("wandb", "Weights & Biases"):
        client = import_module("wandb")

    def note(row: Moment) -> None:
        run = client.run or client.init(project=project)
        run.log(numbers(row), step=row["step"], commit=True)

    return note


@checked
def trackers(names: tuple[Tracker, ...], folder: Path) -> list[Callback]:
    """The callbacks for the trackers of a run.

    Args:
        names: Which.
        folder: The run's folder, in which TensorBoard's events go into `tensorboard`.

    Raises:
        ValueError: where a package is missing.

    Example:
        >>> trackers((), Path("runs/a"))
        []
    """
    makers: dict[Tracker, Callable[[], Callback]] = {
        "tensorboard": lambda: tensorboard(folder / "tensorboard"),
        "mlflow": mlflow,
        "wandb": wandb,
    }
    return [makers[name]() for name in names]
