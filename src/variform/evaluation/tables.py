"""Numbers as tables: names, units and digits."""

from typing import Any

import numpy as np

from variform.evaluation.baselines import baseline_names
from variform.evaluation.metrics import METRICS
from variform.evaluation.pareto import HIGH
from variform.evaluation.samplers import SAMPLERS


def decimal(value: float) -> str:
    """A number as text, with thousands marks and digits enough."""
    return f"{value:,.2f}".rstrip("0").rstrip(".")


def numbers_table(numbers: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """The numbers of an evaluation as header and rows of text: VAE, PCA and the trivial model side by side."""
    baselines = numbers.get("baselines", {})
    names = baseline_names(baselines)
    refined = (
        {"refined": f"VAE, q refined in {numbers['refined']['steps']} steps"}
        if "refined" in numbers
        else {}
    )
    columns = [numbers, *(numbers[name] for name in refined), *(baselines[name] for name in names)]
    rows = []
    for key, metric in METRICS.items():
        if any(key in column for column in columns):
            label = (
                f"{metric.name}, k = {numbers['nll']['samples']}" if key == "nll" else metric.name
            )
            rows.append([label, *(show(column.get(key)) for column in columns)])
    active = numbers["active_units"]
    rows.append(
        ["active units", f"{active['count']} of {active['of']}", *[""] * (len(columns) - 1)]
    )
    return [
        f"{numbers['split']}, {numbers['rows']} rows",
        "VAE",
        *refined.values(),
        *names.values(),
    ], rows


def imputation_table(numbers: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """What `evaluation.imputation.judge` found as header and rows of text."""
    share = f"{numbers['level']:.0%}"
    head = [
        f"{numbers['cells']:,} cells taken away",
        "VAE",
        "column means, most frequent categories",
        f"in {share} intervals",
    ]

    def row(name: str, column: dict[str, Any]) -> list[list[str]]:
        rows = []
        if "rmse" in column:
            cells = (column["rmse"], column["rmse_of_means"], column["coverage"])
            rows.append([f"{name}: RMS error", *map(show, cells)])
        if "accuracy" in column:
            rows.append(
                [
                    f"{name}: share right",
                    show(column["accuracy"]),
                    show(column["accuracy_of_mode"]),
                    "",
                ]
            )
        return rows

    rows = row("all", numbers)
    if "rmse" in numbers:
        rows[0][0] = f"all numbers, in {numbers['unit']}: RMS error"
    for name, column in numbers.get("columns", {}).items():
        rows += row(name, column)
    if "high_pareto_k" in numbers:
        rows.append([METRICS["high_pareto_k"].name, show(numbers["high_pareto_k"]), "", ""])
    return head, rows


def sampler_table(numbers: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """What `fit_sampler` found as header and rows of text: the model's prior, each sampler, and real rows."""
    quality = {
        "precision": "precision",
        "recall": "recall",
        "density": "density",
        "coverage": "coverage",
        "c2st": "C2ST, nearest",
        "c2st_boosted": "C2ST, boosted",
    }
    rows = []
    for name, sampler in numbers["samplers"].items():
        detail = SAMPLERS[name].detail.format(**sampler["fit"]) if "fit" in sampler else ""
        label = f"{name}, {detail}" if detail else name
        difference = "" if name == "prior" else show(sampler["nll_minus_prior"])
        densities = [show(sampler["nll"]), difference, show(sampler.get("high_pareto_k"))]
        rows.append([label, *densities, *(show(sampler["samples"][key]) for key in quality)])
    rows.append(
        ["training rows", "", "", "", *(show(numbers["training_rows"][key]) for key in quality)]
    )
    rows.append(
        ["perfect", "", "", "", "", "", "1", f"{numbers['perfect_coverage']:.3f}", "0.5", "0.5"]
    )
    densities = [
        f"NLL (nats), k = {numbers['importance_samples']}",
        "minus prior's",
        f"rows with Pareto k > {HIGH}",
    ]
    return [f"{numbers['split']}, {numbers['rows']} rows", *densities, *quality.values()], rows


def show(estimate: dict[str, Any] | None) -> str:
    """An estimate as text, mean ± standard error with matching digits.

    Example:
        >>> show({"mean": -103.3127, "se": 0.234, "n": 10000})
        '-103.31 ± 0.23'
    """
    if not estimate:
        return ""
    mean, error = estimate["mean"], estimate["se"]
    if mean is None or not np.isfinite(mean):
        return "not finite"
    if abs(mean) < 1e-9:
        return "0"
    if not error or not np.isfinite(error) or error < 1e-9:
        return f"{mean:.4g}"
    digits = max(0, 1 - int(np.floor(np.log10(error))))
    return f"{mean:.{digits}f} ± {error:.{digits}f}"
