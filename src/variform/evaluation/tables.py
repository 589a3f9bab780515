"""Numbers as tables: names, units and digits."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from variform.config.words import Own
from variform.evaluation.metrics import METRICS
from variform.evaluation.standard_error import HIGH_K

PCAS = {"pca": "PCA of scaled columns", "pca_own_units": "PCA in your units"}
"""The two metrics in which PCA may stand beside a VAE, in words."""


def decimal(value: float) -> str:
    """A number as text, with thousands marks and digits enough."""
    return f"{value:,.2f}".rstrip("0").rstrip(".")


def numbers_table(numbers: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """The numbers of an evaluation as header and rows of text: VAE, PCA and the trivial model side by side."""
    baselines = numbers.get("baselines", {})
    head = ["VAE"]
    columns = [numbers]
    if "refined" in numbers:
        refined = numbers["refined"]
        head.append(f"VAE, q refined in {refined['steps']} steps")
        columns.append(refined)
    for name, words in baseline_names(baselines).items():
        head.append(words)
        columns.append(baselines[name])
    rows = []
    for key in METRICS:
        if any(key in column for column in columns):
            rows.append([_label(key, numbers), *(show(column.get(key)) for column in columns)])
    active = numbers["active_units"]
    of_others = [""] * (len(columns) - 1)
    for number, kl in enumerate(numbers.get("kl_by_level", ()), 1):
        rows.append([_level(number), show(kl), *of_others])
    rows.append([_ACTIVE, f"{active['count']} of {active['of']}", *of_others])
    return [_rows_of(numbers), *head], rows


def _label(key: str, numbers: dict[str, Any]) -> str:
    label = METRICS[key].name(numbers.get("data_unit", ""))
    return label + how_estimated(numbers) if key == "nll" else label


def how_estimated(numbers: Mapping[str, Any]) -> str:
    """How the NLL was found, behind its name.

    Example:
        >>> how_estimated({"nll": {"samples": 1000}}), how_estimated({"nll": {"samples": 1000, "is_exact": True}})
        (', k = 1,000', ', exact')
    """
    nll = numbers["nll"]
    return ", exact" if nll.get("is_exact") else f", k = {nll['samples']:,}"


_ACTIVE = "active units"


def _level(number: int) -> str:
    return f"KL of level {number} (nats)"


def meanings(numbers: dict[str, Any]) -> dict[str, str]:
    """What the names in `numbers_table` mean, in a sentence or two each.

    Example:
        >>> meanings({"nll": {"samples": 5}})["active units"][:31]
        'The latents that say something '
    """
    words = {_label(key, numbers): metric.meaning for key, metric in METRICS.items()}
    words[_ACTIVE] = (
        "The latents that say something of a row: the mean of their q(z|x) varies from row to row, with a variance "
        "above 0.01."
    )
    for number, _ in enumerate(numbers.get("kl_by_level", ()), 1):
        words[_level(number)] = (
            "What the latent of this level tells of a row beyond those above it; level 1 lies next to the data. "
            "The levels add up to the KL, and one near 0 is not used."
        )
    for name, label in baseline_names(numbers.get("baselines", {})).items():
        words[label] = _MODELS[name]
    return words


def headings(numbers: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """The words of `numbers_table` in the glossary, and the tags of their formulas, where there are any.

    Example:
        >>> headings({"nll": {"samples": 5}})["NLL (nats), k = 5"]
        ('NLL', 'importance-sampling')
    """
    found = {
        _label(key, numbers): (metric.word, metric.formula)
        for key, metric in METRICS.items()
        if metric.word
    }
    found[_ACTIVE] = ("active units", "active-units")
    for number, _ in enumerate(numbers.get("kl_by_level", ()), 1):
        found[_level(number)] = ("KL", "kl-by-level")
    for name, label in baseline_names(numbers.get("baselines", {})).items():
        found[label] = _HEADINGS[name]
    return found


_HEADINGS = {
    "pca": ("PCA", "ppca"),
    "pca_own_units": ("PCA", "ppca"),
    "famd": ("FAMD", ""),
    "trivial": ("Trivial", ""),
}
_PCA = "Principal component analysis with as many components as the VAE has latents: the best that is linear"
_MODELS = {
    "pca": f"{_PCA}. Its columns are scaled as the VAE's are.",
    "pca_own_units": f"{_PCA}. Its columns have the units in which they came.",
    "famd": "Factorial analysis of mixed data: PCA for a table of numbers and categories, with as many factors as the "
    "VAE has latents. It gives no probabilities.",
    "trivial": "Independent columns or pixels, each with the law that fits its training rows: what is reached without "
    "any structure.",
}


def baseline_names(baselines: dict[str, dict[str, Any]]) -> dict[str, str]:
    """What tables call the baselines among an evaluation's, by their names in it.

    Example:
        >>> baseline_names({"pca": {"components": 2}, "pca_own_units": {"components": 2}, "trivial": {}})
        {'pca': 'PCA of scaled columns, q = 2', 'pca_own_units': 'PCA in your units, q = 2', 'trivial': 'trivial'}
    """
    called = PCAS if has_two_metrics(baselines) else {"pca": "PCA"}
    called = called | {"famd": "FAMD", "trivial": "trivial"}
    names = {}
    for name, words in called.items():
        if name in baselines:
            components = baselines[name].get("components")
            names[name] = words if components is None else f"{words}, q = {components}"
    return names


def has_two_metrics(baselines: dict[str, dict[str, Any]]) -> bool:
    """Whether PCA stands among an evaluation's baselines in both metrics."""
    return PCAS.keys() <= baselines.keys()


def _rows_of(numbers: dict[str, Any]) -> str:
    return f"{numbers['split']}, {numbers['rows']} rows"


def imputation_table(
    numbers: dict[str, Any], titles: Mapping[str, str]
) -> tuple[list[str], list[list[str]]]:
    """What `evaluation.imputation.judge` found as header and rows of text, columns by their titles."""
    head = [
        f"{numbers['cells']:,} cells taken away",
        "VAE",
        "column means, most frequent categories",
        f"in {numbers['level']:.0%} intervals",
    ]
    rows = _imputed("all", numbers)
    if "rmse" in numbers:
        rows[0][0] = f"all numbers, in {numbers['unit']}: RMS error"
    for name, column in numbers.get("columns", {}).items():
        rows += _imputed(titles[name], column)
    if "high_pareto_k" in numbers:
        rows.append([METRICS["high_pareto_k"].name(), show(numbers["high_pareto_k"]), "", ""])
    return head, rows


def _imputed(name: str, column: dict[str, Any]) -> list[list[str]]:
    """The rows of one column, or of all: its numbers, and its categories."""
    rows = []
    if "rmse" in column:
        errors = [show(column["rmse"]), show(column["rmse_of_means"])]
        rows.append([f"{name}: RMS error", *errors, show(column["coverage"])])
    if "accuracy" in column:
        shares = [show(column["accuracy"]), show(column["accuracy_of_mode"])]
        rows.append([f"{name}: share right", *shares, ""])
    return rows


LINEAR = (
    "R² on held-out rows of a ridge regression from the posterior means, and from as many principal components: how"
    " much of a response a linear function of the codes tells. Others may tell more."
)
"""How to read `response_table`."""


def response_table(numbers: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """What `evaluation.probes.linear_fits` found as header and rows of text."""
    rows = [
        [Own(name), r_squared(fit["codes"]), r_squared(fit["pca"]), f"{fit['rows']:,}"]
        for name, fit in numbers["responses"].items()
    ]
    return ["response", "R² from codes", "R² from PCA", "rows"], rows


def r_squared(value: float | None) -> str:
    """A share of a variance, with three digits."""
    return "" if value is None else f"{value:.3f}"


def sampler_table(numbers: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """What `fit_sampler` found as header and rows of text: the model's prior, each sampler, and real rows."""
    from variform.evaluation.samplers import SAMPLERS

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
        label = name
        detail = SAMPLERS[name].detail if "fit" in sampler else ""
        if detail:
            label += f", {detail.format(**sampler['fit'])}"
        difference = "" if name == "prior" else show(sampler["nll_minus_prior"])
        densities = [show(sampler["nll"]), difference, show(sampler.get("high_pareto_k"))]
        rows.append([label, *densities, *(show(sampler["samples"][key]) for key in quality)])
    of_real_rows = [show(numbers["training_rows"][key]) for key in quality]
    rows.append(["training rows", "", "", "", *of_real_rows])
    coverage = f"{numbers['perfect_coverage']:.3f}"
    rows.append(["perfect", "", "", "", "", "", "1", coverage, "0.5", "0.5"])
    densities = [
        f"NLL (nats), k = {numbers['importance_samples']}",
        "minus prior's",
        f"rows with Pareto k > {HIGH_K}",
    ]
    return [_rows_of(numbers), *densities, *quality.values()], rows


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
