"""The illness of being worse than something simpler."""

from collections.abc import Sequence
from typing import Any

from variform.config.training import TrainConfig
from variform.evaluation.illnesses.finding import Case, Finding
from variform.evaluation.illnesses.training import is_still_learning, longer
from variform.evaluation.tables import PCAS, has_two_metrics

BETTER_BY = 2.0
"""Paired standard errors by which a simpler model must be better before it is said."""

_OTHERS = {"famd": "Factorial analysis of mixed data (FAMD)", "trivial": "The trivial model"}
_BETTER = {
    "nll": "the better NLL by {} nats",
    "reconstruction_error": "the better reconstruction error by {}",
}


def simpler_model_wins(case: Case) -> Sequence[Finding]:
    """Each simpler model that is better, over the same rows, in NLL or in reconstruction error.

    PCA in two metrics counts as one model: named is the metric in which it is better by more.
    """
    numbers = case.numbers
    baselines = numbers.get("baselines", {})
    winners: dict[str, dict[str, dict[str, Any]]] = {}
    for names in (tuple(PCAS), ("famd",), ("trivial",)):
        for measure in _BETTER:
            if measure not in numbers or (measure == "nll" and case.is_point):
                continue  # no spread was trained that a density could be of
            gaps = {
                name: baselines[name].get(f"{measure}_difference")
                for name in names
                if name in baselines
            }
            wins = {name: gap for name, gap in gaps.items() if _is_clear(gap, numbers[measure])}
            if wins:
                name = max(wins, key=lambda winner: wins[winner]["mean"])
                winners.setdefault(name, {})[measure] = wins[name]
    called = (PCAS if has_two_metrics(baselines) else {"pca": "PCA"}) | _OTHERS
    return [_finding(case, name, called[name], better) for name, better in winners.items()]


def _finding(case: Case, name: str, called: str, better: dict[str, dict[str, Any]]) -> Finding:
    rows = next(iter(better.values()))["n"]
    by = " and ".join(_BETTER[measure].format(_with_error(gap)) for measure, gap in better.items())
    advice, options = _what_to_try(case, name, set(better))
    return Finding(
        "simpler-model",
        "hint" if _has_another_aim(case, name, set(better)) else "warning",
        f"{called} has {by}, mean ± standard error of the differences over the same {rows:,} rows.",
        advice,
        "try what the warning names, or take the simpler model",
        options,
        {measure: gap["mean"] for measure, gap in better.items()},
    )


def _has_another_aim(case: Case, name: str, better: set[str]) -> bool:
    """Whether only squared errors are lost, by a model whose likelihood asks for other ones, or whose NLL is better."""
    if "nll" in better:
        return False
    gap = case.numbers["baselines"][name].get("nll_difference")
    if gap is not None and gap["se"] is not None and gap["mean"] < -BETTER_BY * gap["se"]:
        return True
    return case.vae is not None and not case.vae.likelihood.is_gaussian


def _is_clear(gap: dict[str, Any] | None, own: dict[str, Any]) -> bool:
    """Whether the VAE's own number is larger by more than two standard errors, and by more than rounding."""
    if gap is None or gap["se"] is None or own["mean"] is None:
        return False
    return gap["mean"] > max(BETTER_BY * gap["se"], 1e-6 * abs(own["mean"]))


def _with_error(gap: dict[str, Any]) -> str:
    return f"{gap['mean']:.3g} ± {gap['se']:.2g}"


def _what_to_try(case: Case, baseline: str, better: set[str]) -> tuple[str, list[dict[str, Any]]]:
    """What this run has that may be the reason, and what to do about it; `better` are the measures that it lost."""
    if case.vae is None:
        return "Try what the evaluation says.", []
    likelihood = case.vae.likelihood
    if baseline == "trivial" and "nll" in better and likelihood.richer is not None:
        what, name = likelihood.richer
        return f"It has {what}: compare `likelihood={name!r}` with it.", [{"likelihood": name}]
    ways = [*_ways_of_training(case), *_ways_of_the_model(case, baseline)]
    is_of_squares = likelihood.is_gaussian or "nll" in better
    why = (
        ""
        if is_of_squares
        else "Its aim is a small squared error, which is not the aim of this VAE's likelihood. "
    )
    words = "; ".join(way for way, _ in ways)
    return f"{why}Try {words}; or take the simpler model.", [option for _, option in ways]


def _ways_of_the_model(case: Case, baseline: str) -> list[tuple[str, dict[str, Any]]]:
    """Other options than those of the run, each where it may help."""
    assert case.vae is not None
    likelihood, trained = case.vae.likelihood, case.trained or TrainConfig()
    active = case.numbers["active_units"]
    has_idle_latents = active["count"] < active["of"]
    has_own_units = baseline == "pca_own_units"
    learns_one_variance = likelihood.has_one_variance and likelihood.learns_variance
    per_feature = {"likelihood": "gaussian-per-feature"}
    helps: list[tuple[str, dict[str, Any], bool]] = [
        (
            "a variance that is learned (`likelihood='gaussian-per-feature'`)",
            per_feature,
            not likelihood.learns_variance,
        ),
        ("`beta=1`", {"beta": 1.0}, trained.beta > 1),
        (
            "`warmup=1000`, since not all latents are active",
            {"warmup": 1000},
            has_idle_latents and not trained.warmup,
        ),
        ("`scaling='common'`, if all columns have one unit", {"scaling": "common"}, has_own_units),
        (
            "a variance a column (`likelihood='gaussian-per-feature'`)",
            per_feature,
            has_own_units and learns_one_variance,
        ),
    ]
    return [(way, options) for way, options, does_help in helps if does_help]


def _ways_of_training(case: Case) -> list[tuple[str, dict[str, Any]]]:
    """Longer where the model was still getting better, in smaller steps where it was not."""
    history, trained = case.history, case.trained
    more = longer(trained or TrainConfig(), history, 3) if history else {}
    is_calm = not any(row.get("rollback") for row in history)
    if is_calm and is_still_learning(history):
        gained = max(1, len(history) // 2)
        return [(f"more epochs, since validation rows still gained after {gained:,}", more)]
    if trained is None:
        ways: list[tuple[str, dict[str, Any]]] = [("a smaller `learning_rate`", {})]
    else:
        rate = float(f"{trained.rate / 3:.1g}")
        ways = [(f"`learning_rate={rate:.1g}`", {"learning_rate": rate})]
    if not (trained and trained.clip_norm):
        ways.append(("`clip_norm=10`", {"clip_norm": 10.0}))
    return [*ways, ("more epochs", more)]
