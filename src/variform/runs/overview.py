"""What a folder of a run holds, at a glance."""

import math
from pathlib import Path
from typing import Any

from variform.config.model import prior_name
from variform.config.run import objective_name
from variform.config.toml import to_dict
from variform.config.training import TrainConfig
from variform.evaluation.tables import ROWS, decimal, show
from variform.evaluation.verdict import placed
from variform.export.model_file import inspect
from variform.runs.folder import history, read_config
from variform.runs.records import read_data, read_evaluation
from variform.training.history import passes, resume_command


def overview(folder: Path) -> dict[str, Any]:
    """What a run is and how far it came, as plain values, from its files alone; an interrupted one is opened too.

    Args:
        folder: The run's folder.

    Returns:
        config; data, as `describe` gives it; training (epochs and steps done, epochs and steps in all, the best epoch,
        its validation ELBO, and whether it is finished); model, as `export.inspect` gives it; and evaluation. What is
        not there yet is None.

    Raises:
        FileNotFoundError: when it is not the folder of a run.
    """
    path = folder / "config.toml"
    if not path.is_file():
        raise FileNotFoundError(f"a run must be a folder with config.toml; {folder} is not. Check the path.")
    config = read_config(path)
    note, numbers = folder / "data.json", folder / "evaluation.json"
    data = read_data(note) if note.is_file() else None
    evaluation = read_evaluation(numbers, ROWS) if numbers.is_file() else None
    rows = history(folder) if (folder / "history.jsonl").is_file() else []
    per_epoch = math.ceil(data["rows"]["train"] / config.train.batch) if data else None
    steps = config.train.steps or (config.train.epochs and per_epoch and config.train.epochs * per_epoch)
    best = next((row for row in reversed(rows) if row["best"]), None)
    training = {
        "epochs": passes(rows, data["rows"]["train"]) if data else 0,
        "steps": rows[-1]["step"] if rows else 0,
        "of_epochs": _epochs_asked(config.train, data["rows"]["train"]) if data else config.train.epochs,
        "of_steps": steps,
        "best_epoch": best["epoch"] if best else None,
        "best_valid_elbo": best["valid_elbo"] if best else None,
        "finished": evaluation is not None,
    }
    model = inspect(folder / "model.safetensors") if (folder / "model.safetensors").is_file() else None
    return {"config": to_dict(config), "data": data, "training": training, "model": model, "evaluation": evaluation}


def _epochs_asked(config: TrainConfig, rows: int) -> float | None:
    """Epochs of a training when it is done; `steps` may end within one."""
    if config.steps is None:
        return config.epochs
    batch = config.for_rows(rows).batch
    whole, rest = divmod(config.steps, math.ceil(rows / batch))
    return (whole * rows + rest * batch) / rows


def overview_table(folder: Path) -> tuple[list[str], list[list[str]]]:
    """What `overview` finds as header and rows of text."""
    found, config = overview(folder), read_config(folder / "config.toml")
    data, training, evaluation, model = (found[name] for name in ("data", "training", "evaluation", "model"))
    widths = "-".join(map(str, config.model.hidden)) or "linear"
    size = f", {model['weights']:,} weights" if model else ""
    network = f"{config.model.network} {widths}"
    whole = decimal(training["of_epochs"]) if training["of_epochs"] else "?"
    done = f"{decimal(training['epochs'])} of {whole} epochs, {training['steps']:,} steps"
    if training["best_epoch"]:
        done += f"; best epoch {training['best_epoch']:,}"
        done += (
            f", validation ELBO {training['best_valid_elbo']:.2f}" if training["best_valid_elbo"] is not None else ""
        )
    rows = [["source", config.source]]
    if data:
        shape = " x ".join(map(str, data["shape"]))
        rows.append(["data", f"{data['kind']}s of shape {shape}, fingerprint {data['fingerprint'][:12]}"])
        rows.append(["rows", ", ".join(f"{count:,} {part}" for part, count in data["rows"].items())])
    rows += [
        ["preprocessing", f"scaling {config.reading.scaling}, binarise {config.data.binarise}"],
        [
            "model",
            f"{config.model.likelihood} likelihood, {config.model.latent_dim} latents, {network}, "
            f"posterior {config.model.posterior}, prior {prior_name(config.model)}{size}",
        ],
        ["objective", f"{objective_name(config)}, seed {config.train.seed}"],
        ["training", done if training["finished"] else f"{done}; not finished: {resume_command(folder)}"],
    ]
    if evaluation:
        named = {key: name for key, name in ROWS.items() if key in evaluation and key not in ("posterior_gap", "ess")}
        samples = f", k = {evaluation['nll']['samples']:,}"
        rows += [[name + (samples if key == "nll" else ""), show(evaluation[key])] for key, name in named.items()]
        active = evaluation["active_units"]
        rows.append(["active units", f"{active['count']} of {active['of']}"])
        rows.append(["evaluated on", f"{evaluation['rows']:,} {evaluation['split']} rows"])
        rows += [["warning", sentence] for sentence in placed(evaluation.get("warnings", ()), folder)]
    if model:
        versions = [f"{name} {model[name]}" for name in ("variform", "torch", "zuko") if name in model]
        rows.append(["written by", f"{', '.join(versions)}; format {model['format']}"])
    return ["run", str(folder)], rows
