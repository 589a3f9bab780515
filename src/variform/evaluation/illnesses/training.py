"""Illnesses of the training: it broke, it collapsed, it ended too early, it learnt rows by heart."""

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from variform.config.toml import to_option
from variform.config.training import TrainConfig
from variform.evaluation.illnesses.finding import Case, Finding
from variform.training import divergence

ITS_CONFIG = "RUN/config.toml"  # in sentences that are kept with a run, which may move
CARRIED = 0.5
"""The least share of what training rows gain that validation rows gain too where a longer training helps."""
_FEW_EPOCHS = 10
STEEP = 0.15
"""The share of all that validation rows gained, from which on gaining it in the last half is a training cut short."""


def not_finite(case: Case) -> Sequence[Finding]:
    """An NLL that is no number."""
    mean = case.numbers["nll"]["mean"]
    if mean is not None and math.isfinite(mean):
        return []
    rate = float(f"{(case.trained or TrainConfig()).rate / 3:.1g}")
    return [
        Finding(
            "not-finite",
            "critical",
            "The NLL of these rows is not finite: to the model some row is impossible, or its weights have blown up.",
            "Train anew with a smaller `learning_rate` and `clip_norm=10`.",
            "train anew with a smaller `learning_rate` and `clip_norm=10`",
            [{"learning_rate": rate, "clip_norm": 10.0}],
        )
    ]


def is_collapsed(numbers: Mapping[str, Any]) -> bool:
    """Whether the latents of an evaluated model say nothing of a row, so that there is no latent space to look at.

    One row alone does not tell: its posterior mean has no variance in any model.

    Example:
        >>> is_collapsed({"active_units": {"count": 0, "of": 8}})
        True
    """
    rows = numbers.get("elbo", {}).get("n", 2)
    return numbers["active_units"]["count"] == 0 and rows > 1


def collapse(case: Case) -> Sequence[Finding]:
    """No latent dimension in use."""
    if not is_collapsed(case.numbers):
        return []
    is_conditional = case.vae is not None and case.vae.context_dim
    alike = " of those that are given the same" if is_conditional else ""
    of = case.numbers["active_units"]["of"]
    trained = case.trained or TrainConfig()
    steps = _smaller_steps(trained)
    return [
        Finding(
            "collapse",
            "critical",
            f"No latent dimension is active (0 of {of}): the posterior has collapsed onto the "
            f"prior, the decoder ignores z, and every row{alike} is reconstructed as the same one. There is nothing to "
            "explore in this model.",
            _how_to_wake(trained, steps),
            "train anew with more and smaller steps, as the warning says",
            [steps, *_cheaper(trained, steps)],
            {"active": 0, "of": of},
        )
    ]


def _smaller_steps(trained: TrainConfig) -> dict[str, Any]:
    """More and smaller steps and a cheaper KL: the options that differ from those of the run."""
    steps: dict[str, Any] = {"learning_rate": float(f"{min(trained.rate / 3, 1e-3):.1g}")}
    if trained.batch > 16:
        steps = {"batch_size": 16} | steps
    if trained.beta > 1:
        steps["beta"] = 1.0
    return steps


def _cheaper(trained: TrainConfig, steps: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The same with a KL term that is cheap for the first nats, where the objective can."""
    has_help = bool(trained.free_bits or trained.warmup)
    cheaper = dict(steps) | {"free_bits": 0.1}
    return [cheaper] if not has_help and _is_possible(trained, cheaper) else []


def _how_to_wake(trained: TrainConfig, steps: Mapping[str, Any]) -> str:
    options = " ".join(to_option(name, f"{value:g}") for name, value in steps.items())
    command = f"variform train --config {ITS_CONFIG} {options} --out NEW"
    also = "; if that is not enough, with `free_bits=0.1` too" if _cheaper(trained, steps) else ""
    return f"Train anew with more and smaller steps: {command}{also}."


def _is_possible(trained: TrainConfig, changes: dict[str, Any]) -> bool:
    try:
        dataclasses.replace(trained, **changes)
    except ValueError:
        return False
    return True


def diverged(case: Case) -> Sequence[Finding]:
    """Rollbacks in the history."""
    rollbacks = [row["rollback"] for row in case.history if row.get("rollback")]
    if not rollbacks:
        return []
    first = case.history[0].get("learning_rate")
    rate, options = "a smaller rate", {"clip_norm": 10.0}
    if isinstance(first, float):
        slower = float(f"{divergence.SLOWER * first:.1g}")
        rate, options = f"`learning_rate={slower:.1g}`", {"learning_rate": slower}
    posterior = getattr(case.vae, "posterior", None)
    has_exp = getattr(posterior, "std", "") == "exp"
    softplus = ", or with `posterior_std='softplus'`" if has_exp else ""
    others = [{"clip_norm": 10.0}, *([{"posterior_std": "softplus"}] if has_exp else [])]
    return [
        Finding(
            "divergence",
            "critical",
            f"The training diverged: {'; then '.join(rollbacks)}. The model may be far from what it could be.",
            f"Train anew with {rate}, or with `clip_norm=10`{softplus}.",
            "train anew with a smaller `learning_rate` or `clip_norm=10`, as the warning says",
            [options, *others],
            {"rollbacks": len(rollbacks)},
        )
    ]


# ── Its length ──────────────────────────────────────────────────────────────────────────────────────────────────────


def is_still_learning(history: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a longer training is likely to help: what it last learnt holds for rows that it does not see.

    The loss of the last tenth of the epochs is compared with that of the tenth before the middle. Validation rows must
    have gained, and at least half of what training rows did; of fewer than ten epochs validation rows alone are looked
    at, for the training loss of an epoch is a mean over all of it. When the best epoch came does not tell this: under a
    learning rate that falls to 0 it comes near the end of every training that does not overfit
    (benchmarks/longer.py).

    Args:
        history: How the training went, one mapping per epoch. One epoch is always too short.

    Example:
        >>> is_still_learning([{"train_loss": -epoch, "valid_loss": -0.8 * epoch} for epoch in range(20)])
        True
        >>> is_still_learning([{"train_loss": -epoch, "valid_loss": -0.1 * epoch} for epoch in range(20)])
        False
    """
    if len(history) < 2:
        return len(history) == 1
    on_training, on_validation = (_late_gain(history, of) for of in ("train_loss", "valid_loss"))
    is_long = len(history) >= _FEW_EPOCHS
    carried = CARRIED * on_training if is_long else 0.0
    return on_validation > 0 and on_validation >= carried


def _late_gain(history: Sequence[Mapping[str, Any]], loss: str) -> float:
    losses = [float(row.get(loss, math.nan)) for row in history]
    middle, width = len(losses) // 2, max(1, round(len(losses) / 10))
    before, after = losses[middle - width : middle], losses[-width:]
    return statistics.fmean(before) - statistics.fmean(after)


def longer(
    trained: TrainConfig, history: Sequence[Mapping[str, Any]], times: int = 2
) -> dict[str, Any]:
    """A training of so many times the length."""
    if trained.steps is not None:
        return {"steps": times * trained.steps}
    return {"epochs": times * len(history)}


def too_short(case: Case) -> Sequence[Finding]:
    """Validation rows that still gained when the training ended; grave where they gained much."""
    history = case.history
    if not history or not is_still_learning(history):
        return []
    trained = case.trained or TrainConfig()
    late = _late_gain(history, "valid_loss") if len(history) > 1 else math.nan
    is_steep = len(history) == 1 or late > _noticeable(case, history)
    times = 4 if is_steep else 2
    options = longer(trained, history, times)
    [(name, value)] = options.items()
    brief = longer(trained, history)
    [(brief_name, brief_value)] = brief.items()
    after = max(1, len(history) // 2)
    seen = "The training ended after one epoch."
    if not math.isnan(late):
        seen = (
            f"The training ended while validation rows still gained after {after:,} of {len(history):,} epochs, "
            f"{late:.3g} nats a row."
        )
    return [
        Finding(
            "too-short",
            "warning" if is_steep and len(history) > 1 else "hint",
            seen,
            f"Train for longer, with `{name}={value}`.",
            f"train for longer (`{brief_name}={brief_value}`), since validation rows still gained",
            [options],
            {} if math.isnan(late) else {"late_gain": late},
        )
    ]


def _noticeable(case: Case, history: Sequence[Mapping[str, Any]]) -> float:
    """The gain of the last half that is much: a share of all that was gained, and beyond the error of a mean."""
    whole = float(history[0].get("valid_loss", math.nan)) - float(
        history[-1].get("valid_loss", math.nan)
    )
    error = case.numbers["nll"].get("se") or 0.0
    return max(STEEP * abs(whole), error / 4)


def overfitting(case: Case) -> Sequence[Finding]:
    """Training rows that are much more probable than rows it did not see, or a validation loss that rose again."""
    seen, evidence = _gap(case)
    if not seen:
        seen, evidence = _rise(case)
    if not seen:
        return []
    model = case.model
    ways: list[str] = []
    options: list[dict[str, Any]] = []
    if model is not None and model.is_mlp and model.hidden:
        narrower = (max(8, max(model.hidden) // 4),)
        ways.append(f"smaller networks (`hidden={list(narrower)}`)")
        own = {"decoder_hidden": narrower} if model.decoder_hidden else {}
        options.append({"hidden": narrower} | own)
    if getattr(getattr(case.vae, "likelihood", None), "variance", "") == "learned":
        ways.append(
            "a variance that the network does not choose (`likelihood='gaussian-per-feature'`)"
        )
        options.append({"likelihood": "gaussian-per-feature"})
    if model is not None and not model.dropout:
        ways.append("`dropout=0.2`")
        options.append({"dropout": 0.2})
    ways.append("more rows")
    return [
        Finding(
            "overfitting",
            "warning",
            seen,
            f"Try {'; '.join(ways)}.",
            f"try {ways[0]}, since the model has learnt its training rows by heart",
            options,
            evidence,
        )
    ]


def _gap(case: Case) -> tuple[str, dict[str, Any]]:
    found = case.sign("generalisation")
    if not found or found["gap"]["se"] is None:
        return "", {}
    gap = found["gap"]
    if gap["mean"] < max(FAR * gap["se"], GAP_A_VALUE * found["values"]):
        return "", {}
    words = (
        f"The model knows its training rows by heart: their ELBO is {gap['mean']:.3g} ± {gap['se']:.2g} nats a row "
        "above that of rows that it did not see."
    )
    return words, {"gap": gap["mean"], "se": gap["se"]}


def _rise(case: Case) -> tuple[str, dict[str, Any]]:
    """Of a training of some length. The weights of the best epoch are kept, but a smaller model would come further."""
    losses = [float(row.get("valid_loss", math.nan)) for row in case.history]
    if len(losses) < 2 * _FEW_EPOCHS or not all(map(math.isfinite, losses)):
        return "", {}
    best = min(losses)
    rise = statistics.fmean(losses[-len(losses) // 10 :]) - best
    values = case.sign("generalisation").get("values", 0)
    if rise < max(RISE * (losses[0] - best), RISE_A_VALUE * values):
        return "", {}
    epoch = losses.index(best) + 1
    words = (
        f"The model learnt its training rows by heart after epoch {epoch:,} of {len(losses):,}: from then on "
        f"validation rows lost {rise:.3g} nats. Kept are the weights of that epoch, and a smaller model "
        "would come further."
    )
    return words, {"rise": rise, "epoch": epoch}


FAR = 4.0
"""Standard errors from which on what was measured is no chance, of the many things that are looked at."""
RISE, RISE_A_VALUE = 0.25, 0.05
"""The share of what validation rows had gained, and nats a value of a row, from which on their losing it is much."""
GAP_A_VALUE = 0.15
"""Nats a value of a row from which on the distance of training and test rows is much."""
