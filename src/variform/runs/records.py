"""What the JSON files of a run hold: one description of each, by which every reader checks them.

They may come from anywhere. What is known is checked down to its last value, what is not is left alone: a newer version
may have written more.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from variform.evaluation.metrics import METRICS
from variform.system.files import from_json, read_json

Check = Callable[[Any], bool]


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and not any("\ud800" <= letter <= "\udfff" for letter in value)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**53


def _is_positive(value: Any) -> bool:
    return _is_count(value) and value > 0


def _is_number(value: Any) -> bool:
    """Whether it is a number, or null, which stands for NaN and infinity."""
    return value is None or type(value) is float or (type(value) is int and abs(value) < 2**53)


def _is_error(value: Any) -> bool:
    return value is None or (_is_number(value) and (math.isnan(value) or value >= 0))


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_shape(value: Any) -> bool:
    return isinstance(value, list) and 0 < len(value) <= 8 and all(map(_is_positive, value))


@dataclass(frozen=True)
class Each:
    """Values by any name, all of one form."""

    form: Any


@dataclass(frozen=True)
class Or:
    """Null, or a value of a form."""

    form: Any


def problem(value: Any, form: Any, place: str = "it") -> str:
    """Where a value is not of a form, in words; empty where it is.

    Args:
        value: What was read.
        form: A check of one value; a list of one form, of which every item must be; a dict of forms by name, where a
            name that ends in `?` may be missing and others may be there; `Each`; or `Or`.
        place: What the value is called.

    Example:
        >>> problem({"mean": 1.5, "more": []}, {"mean": _is_number, "n?": _is_count})
        ''
        >>> problem({"kl": [{"mean": "x"}]}, {"kl": [{"mean": _is_number}]})
        'kl[0].mean is of another kind (str)'
    """
    if isinstance(form, Or):
        return "" if value is None else problem(value, form.form, place)
    if isinstance(form, list):
        if not isinstance(value, list):
            return f"{place} is no list"
        return _first(
            problem(item, form[0], f"{place}[{number}]") for number, item in enumerate(value)
        )
    if isinstance(form, Each | dict):
        if not isinstance(value, dict):
            return f"{place} is no values by name"
        return _by_name(value, form, "" if place == "it" else f"{place}.")
    return "" if form(value) else f"{place} is of another kind ({type(value).__name__})"


def _by_name(values: dict[str, Any], form: "Each | dict[str, Any]", before: str) -> str:
    if isinstance(form, Each):
        return _first(
            problem(value, form.form, before + name[:40]) for name, value in values.items()
        )
    for key, inner in form.items():
        name = key.removesuffix("?")
        if name in values:
            if fault := problem(values[name], inner, before + name):
                return fault
        elif name == key:
            return f"{before}{name} is missing"
    return ""


def _first(problems: Iterable[str]) -> str:
    return next(filter(None, problems), "")


ESTIMATE = {"mean": _is_number, "se": _is_error, "n?": _is_count}

DATA = {
    "source": _is_text,
    "kind": lambda value: value in ("image", "table"),
    "shape": _is_shape,
    "rows": {"train": _is_positive, "valid": _is_count, "test": _is_count},
    "fingerprint": _is_text,
    "classes?": [_is_text],
    "duplicates?": Each(_is_count),
    "notes?": [_is_text],
}

MEANS = ("loss", "elbo", "log_likelihood", "kl")

EPOCH = {
    "epoch": _is_positive,
    "step": _is_count,
    "best": _is_flag,
    "beta": _is_number,
    **{f"{part}_{name}": _is_number for part in ("train", "valid") for name in MEANS},
    "examples?": _is_count,
    "learning_rate?": _is_number,
    "seconds?": _is_number,
    "rollback?": _is_text,
}


def _evaluation() -> dict[str, Any]:
    """The form of evaluation.json, whose metrics may be there for the model and for each simpler one."""
    optional = {f"{name}?": ESTIMATE for name in METRICS} | {
        "reconstruction_error_per_column?": Each(ESTIMATE)
    }
    baseline = optional | {
        "nll_difference?": ESTIMATE,
        "reconstruction_error_difference?": ESTIMATE,
    }
    required = dict.fromkeys(("elbo", "log_likelihood", "kl", "posterior_gap", "ess"), ESTIMATE)
    return optional | {
        **required,
        "nll": {**ESTIMATE, "samples": _is_positive},
        "kl_per_dimension": Or([ESTIMATE]),
        "active_units": {"count": _is_count, "of": _is_count, "variances": [_is_number]},
        "baselines": Each({**baseline, "components?": _is_count, "note?": _is_text}),
        "refined?": {**optional, "steps": _is_positive},
        "split": _is_text,
        "rows": _is_count,
        "notes": [_is_text],
        "warnings?": [_is_text],
        "data?": DATA,
        "versions?": Each(_is_text),
    }


def read_evaluation(path: Path) -> dict[str, Any]:
    """The numbers of an evaluation, as `runs.assess` gives them.

    Args:
        path: evaluation.json or validation.json.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: for a file that is damaged, or of something else; says where.
    """
    values = read_json(path)
    if wrong := problem(values, _evaluation()):
        raise ValueError(
            f"{path} must hold the numbers of an evaluation; {wrong}. Fetch it again, or have it written anew by "
            "variform train --resume with the run's folder."
        )
    return values


def read_data(path: Path) -> dict[str, Any]:
    """What a run was trained on, as `runs.describe` gives it.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: for a file that is damaged, or of something else; says where.
    """
    values = read_json(path)
    if wrong := problem(values, DATA):
        raise ValueError(
            f"{path} must describe the data of a run; {wrong}. Fetch it again, or have it written anew by variform "
            "train --resume with the run's folder."
        )
    return values


def read_history(path: Path) -> list[dict[str, Any]]:
    """The rows of history.jsonl, one per epoch.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: for a file that is damaged, or of something else; says where.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"{path.name} must be there; there is none at {path}. Check the path."
        )
    lines = path.read_bytes().splitlines()
    rows = [from_json(line, f"line {number} of {path}") for number, line in enumerate(lines, 1)]
    if wrong := problem(rows, [EPOCH]):
        raise ValueError(
            f"{path} must hold an epoch of a training in each line; {wrong}. Fetch it again."
        )
    if any(after["step"] < before["step"] for before, after in itertools.pairwise(rows)):
        raise ValueError(
            f"{path} must hold the epochs in their order; they are not. Fetch it again."
        )
    return rows


def read_sessions(path: Path) -> list[Mapping[str, Any]]:
    """The environments that a training went through, in environment.json; none where there is no such file.

    Raises:
        ValueError: for a file that is damaged, or of something else.
    """
    if not path.is_file():
        return []
    values = read_json(path)
    if wrong := problem(values, {"sessions?": [Each(lambda value: True)]}):
        raise ValueError(
            f"{path} must hold a list of sessions; {wrong}. Delete it to go on without."
        )
    return values.get("sessions", [])
