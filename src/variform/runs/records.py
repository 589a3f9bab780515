"""What the JSON files of a run hold: one description of each, by which every reader checks them.

They may come from anywhere. What is known is checked down to its last value, what is not is left alone: a newer version
may have written more.
"""

import itertools
from collections.abc import Mapping
from numbers import Real
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypedDict

from variform.config.checks import Range, recorded
from variform.config.run import RunConfig
from variform.config.toml import from_toml
from variform.evaluation.illnesses.finding import Severity
from variform.evaluation.metrics import METRICS
from variform.evaluation.sections import sections_of
from variform.system.files import from_json, read_json
from variform.training.history import epochs, resume_command


class _Writable:
    """The texts that UTF-8 can write; JSON has others."""

    example = "letters"

    def __contains__(self, text: str) -> bool:
        return not any("\ud800" <= letter <= "\udfff" for letter in text)

    def __str__(self) -> str:
        return "text that UTF-8 can write"


_Text = Annotated[str, _Writable()]
_Count = Annotated[int, Range(f"[0, {2**53})", 10)]
_Positive = Annotated[int, Range(f"[1, {2**53})", 10)]
_Number = Real | None
"""Null stands for NaN and infinity, which JSON has not."""


class Mean(TypedDict):
    """A mean over rows and its standard error."""

    mean: _Number
    se: Annotated[Real, Range("[0, inf]", 0.1)] | None
    n: NotRequired[_Count]


class _NLL(Mean):
    samples: _Positive
    is_exact: NotRequired[bool]


class _ActiveUnits(TypedDict):
    count: _Count
    of: _Count
    variances: list[_Number]


class _Rows(TypedDict):
    train: _Positive
    valid: _Count
    test: _Count


class _Worst(TypedDict):
    """A row with a large reconstruction error."""

    row: _Count
    name: NotRequired[_Text]
    reconstruction_error: _Number
    nll: _Number


class _LinearFit(TypedDict):
    """How much of a response a linear function of the codes tells."""

    codes: _Number
    pca: _Number
    rows: _Count


class _Finding(TypedDict):
    """An illness that was found."""

    illness: _Text
    severity: Severity
    seen: _Text
    advice: _Text
    brief: _Text
    options: list[dict[str, object]]
    evidence: dict[str, object]


class _Promise(TypedDict):
    """What a private training promised, as `Budget.facts`."""

    epsilon: _Number
    delta: _Number
    clip: _Number
    noise: _Number
    rate: _Number
    steps: _Positive
    note: _Text


class Data(TypedDict):
    """data.json."""

    source: _Text
    kind: Literal["image", "table"]
    shape: list[_Positive]
    rows: _Rows
    fingerprint: _Text
    classes: NotRequired[list[_Text]]
    duplicates: NotRequired[dict[str, _Count]]
    scaling: NotRequired[_Text]
    leaks: NotRequired[dict[str, _Number]]
    units: NotRequired[dict[str, _Text]]
    responses: NotRequired[dict[str, _Text]]
    notes: NotRequired[list[_Text]]
    chosen: NotRequired[_Text]
    differential_privacy: NotRequired[_Promise]


class Epoch(TypedDict):
    """A line of history.jsonl."""

    epoch: _Positive
    step: _Count
    best: bool
    beta: _Number
    train_loss: _Number
    train_elbo: _Number
    train_log_likelihood: _Number
    train_kl: _Number
    valid_loss: _Number
    valid_elbo: _Number
    valid_log_likelihood: _Number
    valid_kl: _Number
    examples: NotRequired[_Count]
    learning_rate: NotRequired[_Number]
    seconds: NotRequired[_Number]
    rollback: NotRequired[_Text]
    code_use: NotRequired[_Number]
    code_perplexity: NotRequired[_Number]
    dead_codes: NotRequired[_Count]


def _record(name: str, required: dict[str, Any], optional: dict[str, Any]) -> Any:
    """A `TypedDict` some of whose names, those of the metrics, a table holds."""
    record: Any = TypedDict
    may_lack: Any = NotRequired
    return record(name, {key: may_lack[form] for key, form in optional.items()} | required)


_METRICS = dict.fromkeys(METRICS, Mean) | {"reconstruction_error_per_column": dict[str, Mean]}
_Refined = _record("_Refined", {"steps": _Positive}, _METRICS)
_Baseline = _record(
    "_Baseline",
    {},
    _METRICS
    | {
        "nll_difference": Mean,
        "reconstruction_error_difference": Mean,
        "components": _Count,
        "note": _Text,
    },
)
Evaluation = _record(
    "Evaluation",
    {
        "elbo": Mean,
        "log_likelihood": Mean,
        "kl": Mean,
        "posterior_gap": Mean,
        "ess": Mean,
        "nll": _NLL,
        "kl_per_dimension": list[Mean] | None,
        "active_units": _ActiveUnits,
        "baselines": dict[str, _Baseline],
        "split": _Text,
        "rows": _Count,
        "notes": list[_Text],
    },
    _METRICS
    | {
        "refined": _Refined,
        "kl_by_level": list[Mean],
        "data_unit": _Text,
        "warnings": list[_Text],
        "findings": list[_Finding],
        "signs": dict[str, object],
        "worst": list[_Worst],
        "responses": dict[str, _LinearFit],
        "data": Data,
        "versions": dict[str, _Text],
    },
)
"""evaluation.json, and validation.json."""


def read_evaluation(path: Path) -> dict[str, Any]:
    """The numbers of an evaluation, as `runs.assess` gives them.

    Args:
        path: evaluation.json or validation.json.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: for a file that is damaged, or of something else; says where.
    """
    rule = f"{path} must hold the numbers of an evaluation"
    remedy = (
        "Fetch it again, or have it written anew by variform train --resume with the run's folder."
    )
    numbers = recorded(Evaluation, read_json(path), rule, remedy)
    for name, section in sections_of(numbers).items():
        try:
            section.answer(numbers[name]), section.tables(numbers[name])
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise ValueError(f"{rule}; its {name} is not what it should be. {remedy}") from error
    return numbers


class Moved(TypedDict):
    """How far codes moved, as shares of the typical radius."""

    median: Real
    most: Real


class Bookmark(TypedDict):
    """A point that was followed."""

    z: list[Real]
    before: list[Real]
    now: list[Real]
    moved: Real


class Axes(TypedDict):
    """axes.json."""

    start: _Text
    weights: _Text
    rows: _Text
    count: _Positive
    radius: Real
    kind: Literal["rotation", "signed permutation", "none"]
    why: _Text
    turn: list[list[Real]]
    shift: list[Real]
    as_trained: Moved
    aligned: Moved
    bookmarks: list[Bookmark]


def read_axes(path: Path) -> dict[str, Any] | None:
    """How far codes moved in a training that started from another model; None where it did not.

    Raises:
        ValueError: for a file that is damaged, or of something else; says where.
    """
    if not path.is_file():
        return None
    rule = f"{path} must say how far codes moved"
    remedy = "Have it written anew by variform train --resume with the run's folder."
    return recorded(Axes, read_json(path), rule, remedy)


def read_data(path: Path) -> dict[str, Any]:
    """What a run was trained on, as `runs.describe` gives it.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: for a file that is damaged, or of something else; says where.
    """
    return recorded(
        Data,
        read_json(path),
        f"{path} must describe the data of a run",
        "Fetch it again, or have it written anew by variform train --resume with the run's folder.",
    )


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
    *lines, begun = path.read_bytes().split(b"\n")
    if not lines:
        lines = (
            [begun] if begun else []
        )  # a line that is being written is left out, but not all there is
    rows = [from_json(line, f"line {number} of {path}") for number, line in enumerate(lines, 1)]
    rule = f"{path} must hold an epoch of a training in each line"
    rows = recorded(list[Epoch], rows, rule, "Fetch it again.")
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
    sessions = read_json(path).get("sessions", [])
    rule = f"{path} must hold a list of sessions"
    return recorded(list[dict[str, object]], sessions, rule, "Delete it to go on without.")


def history(folder: Path) -> list[dict[str, Any]]:
    """The rows of a run's history.jsonl, one per epoch.

    Raises:
        ValueError: for a file that is damaged, or tells of an epoch otherwise than the run's checkpoint.
    """
    rows = read_history(folder / "history.jsonl")
    for row, saved in zip(
        rows, epochs(folder), strict=False
    ):  # one may be an epoch behind the other
        if row | {"rollback": ""} != saved | {
            "rollback": ""
        }:  # which is noted in the last row a little later
            raise ValueError(
                f"{folder / 'history.jsonl'} must agree with the checkpoint beside it; epoch {row['epoch']} differs. "
                f"Have it written anew with {resume_command(folder)}."
            )
    return rows


def require_run(folder: Path) -> None:
    """Refuse what is not the folder of a run with a model.

    Raises:
        FileNotFoundError: for any other folder.
    """
    if not (folder / "config.toml").is_file() or not (folder / "model.safetensors").is_file():
        raise FileNotFoundError(
            f"a run must be a folder with config.toml and model.safetensors; {folder} is not. "
            "Give the folder that variform train wrote, or finish it with variform train --resume."
        )


def read_config(path: Path) -> RunConfig:
    """The configuration in a TOML file.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when it is not a configuration.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"a configuration must exist; there is no file {path}. Check the path."
        )
    return from_toml(path.read_bytes(), str(path))
