"""What a folder of a run holds, at a glance."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from variform.config.model import ModelConfig, latents_name, network_name, prior_name
from variform.config.run import objective_name
from variform.config.settling import for_rows, reading, steps_per_epoch
from variform.config.toml import to_dict
from variform.config.training import TrainConfig
from variform.config.units import titled
from variform.config.words import listed
from variform.evaluation.metrics import METRICS
from variform.evaluation.tables import decimal, how_estimated, show
from variform.evaluation.verdict import placed
from variform.export.inspection import inspect
from variform.runs.records import history, read_config, read_data, read_evaluation
from variform.training.history import passes, resume_command


def overview(folder: Path) -> dict[str, Any]:
    """What a run is and how far it came, as plain values, from its files alone; an interrupted one is opened too.

    Args:
        folder: The run's folder.

    Returns:
        config; data, as `describe` gives it; training (epochs and steps done, epochs and steps in all, the best epoch,
        its validation ELBO, and whether it is finished); model, as `inspect` gives it; and evaluation. What is
        not there yet is None.

    Raises:
        FileNotFoundError: when it is not the folder of a run.
    """
    path = folder / "config.toml"
    if not path.is_file():
        raise FileNotFoundError(
            f"a run must be a folder with config.toml; {folder} is not. Check the path."
        )
    config = read_config(path)
    data = read_data(folder / "data.json") if (folder / "data.json").is_file() else None
    numbers = folder / "evaluation.json"
    evaluation = read_evaluation(numbers) if numbers.is_file() else None
    rows = history(folder) if (folder / "history.jsonl").is_file() else []
    weights = folder / "model.safetensors"
    return {
        "config": to_dict(config),
        "data": data,
        "training": _training(config.train, data, rows, is_finished=evaluation is not None),
        "model": inspect(weights) if weights.is_file() else None,
        "evaluation": evaluation,
    }


def _training(
    config: TrainConfig, data: dict[str, Any] | None, rows: list[dict[str, Any]], *, is_finished: bool
) -> dict[str, Any]:  # fmt: skip
    """How far a training came, of how much: where the data are not known yet, less of it."""
    done: float = 0
    asked, steps = config.epochs, config.steps
    if data:
        train_rows = data["rows"]["train"]
        done = passes(rows, train_rows)
        asked = _epochs_asked(config, train_rows)
        steps = steps or (config.epochs and config.epochs * steps_per_epoch(config, train_rows))
    best = next((row for row in reversed(rows) if row["best"]), {})
    return {
        "epochs": done,
        "steps": rows[-1]["step"] if rows else 0,
        "of_epochs": asked,
        "of_steps": steps,
        "best_epoch": best.get("epoch"),
        "best_valid_elbo": best.get("valid_elbo"),
        "finished": is_finished,
    }


def _epochs_asked(config: TrainConfig, rows: int) -> float | None:
    """Epochs of a training when it is done; `steps` may end within one."""
    if config.steps is None:
        return config.epochs
    whole, rest = divmod(config.steps, steps_per_epoch(config, rows))
    return (whole * rows + rest * for_rows(config, rows).batch) / rows


def overview_table(folder: Path) -> tuple[list[str], list[list[str]]]:
    """What `overview` finds as header and rows of text."""
    whole = overview(folder)
    config = read_config(folder / "config.toml")
    rows = [
        ["source", config.source],
        *_data_rows(whole["data"]),
        ["preprocessing", f"scaling {reading(config).scaling}, binarise {config.data.binarise}"],
        ["model", _in_words(config.model, whole["model"])],
        ["objective", f"{objective_name(config)}, seed {config.train.seed}"],
        ["training", _how_far(whole["training"], folder)],
        *_evaluation_rows(whole["evaluation"], folder),
        *_version_rows(whole["model"]),
    ]
    return ["run", str(folder)], rows


def _data_rows(data: dict[str, Any] | None) -> Iterator[list[str]]:
    if not data:
        return
    shape = " x ".join(map(str, data["shape"]))
    yield ["data", f"{data['kind']}s of shape {shape}, fingerprint {data['fingerprint'][:12]}"]
    yield ["rows", ", ".join(f"{count:,} {part}" for part, count in data["rows"].items())]
    if units := data.get("units"):
        yield ["units", listed([titled(name, unit) for name, unit in units.items()])]
    if chosen := data.get("chosen"):
        yield ["chosen", chosen]
    for note in data.get("notes", ()):
        yield ["reading", note]


def _in_words(config: ModelConfig, model: dict[str, Any] | None) -> str:
    widths = "-".join(map(str, config.hidden)) or "linear"
    networks = f"{config.network} {widths}"
    if config.encoder or config.decoder:
        networks = " and ".join(network_name(config, part) for part in ("encoder", "decoder"))
    size = f", {model['weights']:,} weights" if model else ""
    return (
        f"{config.likelihood} likelihood, {latents_name(config)}, {networks}, "
        f"posterior {config.posterior}, prior {prior_name(config)}{size}"
    )


def _how_far(training: dict[str, Any], folder: Path) -> str:
    """How far the training came, in words, with the command that finishes it."""
    asked = decimal(training["of_epochs"]) if training["of_epochs"] else "?"
    parts = [f"{decimal(training['epochs'])} of {asked} epochs, {training['steps']:,} steps"]
    if training["best_epoch"]:
        elbo = training["best_valid_elbo"]
        validation = "" if elbo is None else f", validation ELBO {elbo:.2f}"
        parts.append(f"best epoch {training['best_epoch']:,}{validation}")
    if not training["finished"]:
        parts.append(f"not finished: {resume_command(folder)}")
    return "; ".join(parts)


def _evaluation_rows(evaluation: dict[str, Any] | None, folder: Path) -> Iterator[list[str]]:
    if not evaluation:
        return
    for key, metric in METRICS.items():
        if key in evaluation and metric.in_brief:
            samples = how_estimated(evaluation) if key == "nll" else ""
            yield [metric.name(evaluation.get("data_unit", "")) + samples, show(evaluation[key])]
    active = evaluation["active_units"]
    yield ["active units", f"{active['count']} of {active['of']}"]
    yield ["evaluated on", f"{evaluation['rows']:,} {evaluation['split']} rows"]
    for sentence in placed(evaluation.get("warnings", ()), folder):
        yield ["warning", sentence]


def _version_rows(model: dict[str, Any] | None) -> Iterator[list[str]]:
    if not model:
        return
    versions = [f"{name} {model[name]}" for name in ("variform", "torch", "zuko") if name in model]
    yield ["written by", f"{', '.join(versions)}; format {model['format']}"]
