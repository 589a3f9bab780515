"""The result of a run in plain words: beside simpler models, latents used, how the training ended, what next."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from variform.config.training import TrainConfig
from variform.config.words import counted
from variform.evaluation.illnesses import Case, findings_of
from variform.evaluation.illnesses.latents import MOST_ROWS, distrusted
from variform.evaluation.illnesses.rivals import BETTER_BY
from variform.evaluation.illnesses.training import ITS_CONFIG, is_collapsed, is_still_learning
from variform.evaluation.tables import PCAS, has_two_metrics, show


class Conclusion(NamedTuple):
    """What a run has come to.

    Args:
        found: Its result, a sentence without its full stop.
        advice: What to do next.
    """

    found: str
    advice: str


class _Rival(NamedTuple):
    """A simpler model beside the VAE: how it is called, and the VAE's measure minus its own over the same rows."""

    name: str
    called: str
    difference: dict[str, Any]


def conclude(
    numbers: dict[str, Any],
    trained: TrainConfig,
    history: Sequence[Mapping[str, Any]] = (),
) -> Conclusion:
    """What the numbers of a run come to.

    A difference counts from two paired standard errors on. Of PCA in two metrics the one that is nearer is named, and
    the trivial model where it is nearer than PCA.

    Args:
        numbers: Its evaluation, as `evaluation.summary` gives it.
        trained: How it was trained.
        history: How the training went, one mapping per epoch.

    Example:
        >>> nll, difference = {"mean": 12.0, "se": 5.0, "n": 90}, {"mean": -47.2, "se": 4.1, "n": 90}
        >>> baselines = {"pca": {"nll_difference": difference}}
        >>> numbers = {"nll": nll, "active_units": {"count": 2, "of": 2}, "baselines": baselines}
        >>> epochs = [{"best": epoch <= 127} for epoch in range(1, 151)]
        >>> conclude(numbers, TrainConfig(), epochs).found
        'Better than PCA by 47.2 ± 4.1 nats a row; 2 of 2 latents used; stopped improving at epoch 127 of 150'
    """
    if not _is_finite(numbers["nll"]):
        parts = ["the NLL is not finite, so that nothing can be compared"]
    else:
        parts = [*_against_simpler_models(numbers, trained), _latents(numbers)]
        if is_collapsed(numbers):  # which explains all else
            parts.insert(0, parts.pop())
    parts.append(_training(trained, history))
    found = "; ".join(part for part in parts if part)
    return Conclusion(found[0].upper() + found[1:], _advice(numbers, trained, history))


def _is_finite(estimate: Mapping[str, Any]) -> bool:
    return estimate["mean"] is not None and math.isfinite(estimate["mean"])


# ── Beside simpler models ───────────────────────────────────────────────────────────────────────────────────────────


def _against_simpler_models(numbers: dict[str, Any], trained: TrainConfig) -> list[str]:
    """Density beside what has one, and reconstruction where PCA has no density or is ahead in it."""
    densities: list[_Rival] = []
    if not trained.is_point:  # whose densities are those of a spread that nobody trained
        densities = _rivals(numbers, "nll")
    errors = _rivals(numbers, "reconstruction_error")
    parts = [_on_density(numbers, rival) for rival in densities]
    has_density = any(rival.name in PCAS for rival in densities)
    parts += [
        _on_reconstruction(numbers, rival)
        for rival in errors
        if not has_density or _sign(rival.difference, numbers["reconstruction_error"]) > 0
    ]
    return parts or ["no simpler model stands beside it"]


def _rivals(numbers: dict[str, Any], measure: str) -> list[_Rival]:
    """The nearer PCA, or FAMD, and the trivial model where it is nearer still or alone."""
    baselines = numbers.get("baselines", {})
    called = PCAS if has_two_metrics(baselines) else {"pca": "PCA"}
    called = called | {"famd": "FAMD", "trivial": _trivial(numbers)}
    there = [
        _Rival(name, words, baselines[name][f"{measure}_difference"])
        for name, words in called.items()
        if f"{measure}_difference" in baselines.get(name, {})
    ]
    finite = [rival for rival in there if _is_finite(rival.difference)]
    linear = [rival for rival in finite if rival.name != "trivial"]
    nearest = sorted(linear, key=_ahead)[-1:]
    least = max(map(_ahead, nearest), default=-math.inf)
    return nearest + [
        rival for rival in finite if rival.name == "trivial" and _ahead(rival) > least
    ]


def _ahead(rival: _Rival) -> float:
    return rival.difference["mean"]


def _trivial(numbers: dict[str, Any]) -> str:
    is_image = numbers.get("data", {}).get("kind") == "image"
    return "independent pixels" if is_image else "independent columns"


def _sign(difference: Mapping[str, Any], own: Mapping[str, Any]) -> int:
    """-1 where the VAE is better by more than chance and rounding, 1 where it is worse, else 0, as for one row."""
    error = difference["se"]
    if error is None or not math.isfinite(error):
        return 0
    least = max(BETTER_BY * error, 1e-6 * abs(own["mean"]))
    if abs(difference["mean"]) <= least:
        return 0
    return 1 if difference["mean"] > 0 else -1


def _size(difference: Mapping[str, Any]) -> str:
    return show({**difference, "mean": abs(difference["mean"])})


def _on_density(numbers: dict[str, Any], rival: _Rival) -> str:
    size, called = f"{_size(rival.difference)} nats a row", rival.called
    if rival.difference["se"] is None:
        return f"one test row does not tell whether it is better than {called}"
    sign = _sign(rival.difference, numbers["nll"])
    is_doubtful = distrusted(numbers) > MOST_ROWS
    if sign < 0:
        at_least = "at least " if is_doubtful else ""
        return f"better than {called} by {at_least}{size}"
    if is_doubtful:
        return (
            f"whether it is better than {called} cannot be told, for its NLL is not to be trusted"
        )
    if sign > 0:
        return f"worse than {called} by {size}"
    return f"level with {called} (they differ by {size})"


def _on_reconstruction(numbers: dict[str, Any], rival: _Rival) -> str:
    size, called = _size(rival.difference), rival.called
    if rival.difference["se"] is None:
        return f"one test row does not tell whether it reconstructs better than {called}"
    if unit := numbers.get("data_unit"):
        size += f" {unit}"
    if rival.name == "famd":
        size += " over all columns"
    sign = _sign(rival.difference, numbers["reconstruction_error"])
    if sign == 0:
        return f"reconstructs as well as {called} (errors differ by {size})"
    words = "better" if sign < 0 else "worse"
    return f"reconstructs {words} than {called}, by an error of {size}"


# ── Latents and training ────────────────────────────────────────────────────────────────────────────────────────────


def _latents(numbers: dict[str, Any]) -> str:
    active = numbers["active_units"]
    if is_collapsed(numbers):
        return f"none of {counted(active['of'], 'latent')} used: the model has collapsed"
    if numbers["nll"]["n"] == 1:
        return "one test row does not tell how many latents are used"
    return f"{active['count']} of {counted(active['of'], 'latent')} used"


def _training(trained: TrainConfig, history: Sequence[Mapping[str, Any]]) -> str:
    """When it was best, of the epochs that were done."""
    if not history:
        return ""
    done, best = len(history), _best(history)
    words = f"stopped improving at epoch {best} of {done:,}"
    if not best:
        words = "never had a finite validation loss"
    elif done == 1:
        words = "trained for one epoch"
    elif is_still_learning(history):
        words = f"still improving at the last of {done:,} epochs"
    elif best == done:
        words = f"best at the last of {done:,} epochs"
    if times := sum(bool(row.get("rollback")) for row in history):
        words += f", and diverged in {counted(times, 'epoch')}"
    if why := history[-1].get("stopped"):
        words += f", {why}"
    if _is_interrupted(trained, history):
        words += f", interrupted before the {trained.epochs:,} that were asked for"
    return words


def _best(history: Sequence[Mapping[str, Any]]) -> int:
    """The number of the best epoch; 0 where none was."""
    return max((number for number, row in enumerate(history, 1) if row.get("best")), default=0)


def _is_interrupted(trained: TrainConfig, history: Sequence[Mapping[str, Any]]) -> bool:
    """Whether fewer epochs were done than asked for, and nothing of the training itself ended it."""
    if trained.epochs is None or trained.steps is not None or len(history) >= trained.epochs:
        return False
    has_diverged = any(row.get("rollback") for row in history)
    is_stale = bool(trained.patience) and len(history) - _best(history) >= (trained.patience or 0)
    was_stopped = bool(history[-1].get("stopped")) if history else False
    return not (has_diverged or is_stale or was_stopped)


# ── What next ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _advice(
    numbers: dict[str, Any], trained: TrainConfig, history: Sequence[Mapping[str, Any]]
) -> str:
    """The one thing that is most likely to help: what the gravest finding asks for, where nothing is simpler."""
    findings = findings_of(Case(numbers, trained=trained, history=history))
    if findings and findings[0].severity == "critical":
        return findings[0].brief
    if numbers["nll"]["n"] == 1:
        return "keep more rows for testing, with another `split_seed` or more data"
    if _is_interrupted(trained, history):
        return "go on with variform train --resume RUN"
    if findings:
        return findings[0].brief
    return (
        f"see whether more latents help: variform study latent-dim --config {ITS_CONFIG} --out NEW"
    )
