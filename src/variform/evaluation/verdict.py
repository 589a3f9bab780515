"""What a reader must know before any number: the sentences that stand first wherever an evaluation is shown."""

import dataclasses
import math
import shlex
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from variform.config.toml import to_option
from variform.config.training import TrainConfig
from variform.evaluation.standard_error import HIGH_K
from variform.evaluation.tables import PCAS, has_two_metrics
from variform.training import divergence

if TYPE_CHECKING:
    from variform.model.vae import VAE

BETTER_BY = 2.0
"""Paired standard errors by which a simpler model must be better before it is said."""

SOME_ROWS, MOST_ROWS = 0.1, 0.5
"""Shares of rows with a high Pareto k: below the first where q(z|x) fits; above the second NLL is no estimate."""

UNEVEN = 2.0
"""By which factor the noise of columns must differ before one variance for all is called wrong."""

ITS_CONFIG = "RUN/config.toml"  # in sentences that are kept with a run, which may move
ENOUGH_STEPS = (
    50  # of refining q(z|x): four times as many moved the NLL of static MNIST by no more than .1
)
CARRIED = 0.5
"""The least share of what training rows gain that validation rows gain too where a longer training helps."""

_OTHERS = {"famd": "Factorial analysis of mixed data (FAMD)", "trivial": "The trivial model"}
_BETTER = {
    "nll": "the better NLL by {} nats",
    "reconstruction_error": "the better reconstruction error by {}",
}


def warnings(
    vae: "VAE",
    numbers: dict[str, Any],
    trained: TrainConfig | None = None,
    history: Sequence[Mapping[str, Any]] = (),
) -> list[str]:
    """The sentences that stand first, the gravest first; none for a healthy model.

    Args:
        vae: The model.
        numbers: What `evaluation.summary` has found so far.
        trained: How it was trained, where that is known.
        history: How the training went, one mapping per epoch, where that is known.

    Example:
        >>> from variform import ModelConfig, build_vae, read
        >>> data = read("digits")
        >>> estimate = {"mean": 1.0, "se": 0.1, "n": 10}
        >>> numbers = {"active_units": {"count": 0, "of": 2}, "nll": estimate, "reconstruction_error": estimate}
        >>> for sentence in warnings(build_vae(ModelConfig(latent_dim=2), data.schema), numbers):
        ...     print(sentence[:42])
        No latent dimension is active (0 of 2): th
    """
    return [
        *_not_finite(numbers),
        *collapsed(vae, numbers, trained),
        *_diverged(vae, history),
        *_posterior_misses(vae, numbers),
        *_one_variance(vae, numbers),
        *_simpler_model_wins(vae, numbers, trained, history),
    ]


def placed(sentences: Sequence[str], folder: Path) -> list[str]:
    """Sentences on a run with its own folder in the commands that they suggest, where files have RUN.

    Example:
        >>> placed(["variform train --config RUN/config.toml --out NEW"], Path("runs/my beams"))
        ["variform train --config 'runs/my beams/config.toml' --out NEW"]
    """
    own = shlex.quote((folder / "config.toml").as_posix())
    return [sentence.replace(ITS_CONFIG, own) for sentence in sentences]


def is_collapsed(numbers: dict[str, Any]) -> bool:
    """Whether the latents of an evaluated model say nothing of a row, so that there is no latent space to look at.

    One row alone does not tell: its posterior mean has no variance in any model.

    Example:
        >>> is_collapsed({"active_units": {"count": 0, "of": 8}})
        True
    """
    rows = numbers.get("elbo", {}).get("n", 2)
    return numbers["active_units"]["count"] == 0 and rows > 1


def collapsed(vae: "VAE", numbers: dict[str, Any], trained: TrainConfig | None = None) -> list[str]:
    """What is said of a collapsed model, with the command to try; nothing of any other.

    Args:
        vae: The model.
        numbers: Its evaluation.
        trained: How it was trained, where that is known.
    """
    if not is_collapsed(numbers):
        return []
    alike = " of those that are given the same" if vae.context_dim else ""
    return [
        f"No latent dimension is active (0 of {numbers['active_units']['of']}): the posterior has collapsed onto the "
        f"prior, the decoder ignores z, and every row{alike} is reconstructed as the same one. There is nothing to "
        f"explore in this model. {_how_to_wake(trained or TrainConfig())}"
    ]


def _how_to_wake(trained: TrainConfig) -> str:
    """More and smaller steps and a cheaper KL: the options that differ from those of the run and that it can take."""
    steps: dict[str, Any] = {"learning_rate": float(f"{min(trained.rate / 3, 1e-3):.1g}")}
    if trained.batch > 16:
        steps = {"batch_size": 16} | steps
    if trained.beta > 1:
        steps["beta"] = 1.0
    has_help = bool(trained.free_bits or trained.warmup)
    options = " ".join(to_option(name, f"{value:g}") for name, value in steps.items())
    command = f"variform train --config {ITS_CONFIG} {options} --out NEW"
    may_add = not has_help and _is_possible(trained, steps | {"free_bits": 0.1})
    also = "; if that is not enough, with `free_bits=0.1` too" if may_add else ""
    return f"Train anew with more and smaller steps: {command}{also}."


def _is_possible(trained: TrainConfig, changes: dict[str, Any]) -> bool:
    try:
        dataclasses.replace(trained, **changes)
    except ValueError:
        return False
    return True


def _not_finite(numbers: dict[str, Any]) -> list[str]:
    mean = numbers["nll"]["mean"]
    if mean is not None and math.isfinite(mean):
        return []
    return [
        "The NLL of these rows is not finite: to the model some row is impossible, or its weights have blown up. Train "
        "anew with a smaller `learning_rate` and `clip_norm=10`."
    ]


def distrusted(numbers: dict[str, Any]) -> float:
    """The share of rows whose log p(x) cannot be trusted; 0 where nothing is known.

    Where most weights are equal, a k above 0.7 is that of the little by which they differ: of a q(z|x) that is too
    narrow they never are.

    Example:
        >>> estimate = {"nll": {"samples": 1000}, "high_pareto_k": {"mean": 0.9}}
        >>> distrusted({**estimate, "ess": {"mean": 15.0}}), distrusted({**estimate, "ess": {"mean": 990.0}})
        (0.9, 0.0)
    """
    share = numbers.get("high_pareto_k", {}).get("mean") or 0.0
    is_even = share > 0 and (numbers["ess"]["mean"] or 0.0) > numbers["nll"]["samples"] / 2
    return 0.0 if is_even else share


def _posterior_misses(vae: "VAE", numbers: dict[str, Any]) -> list[str]:
    """A sentence where importance sampling fails for most rows, with the refined q(z|x) if there is one."""
    refined = numbers.get("refined")
    share = distrusted(refined or numbers)
    if share <= MOST_ROWS:
        return []
    samples = numbers["nll"]["samples"]
    steps = refined["steps"] if refined else 0
    where = f", also after {steps} steps of refining it," if refined else ""
    return [
        f"The NLL is not to be trusted, and neither is the gap: for {share:.0%} of the rows a few of the {samples:,} "
        f"importance weights decide it (Pareto k above {HIGH_K}). q(z|x){where} misses a part of p(z|x), and the true "
        f"NLL is lower by an unknown amount. {_how_to_reach(vae, steps)}"
    ]


def _how_to_reach(vae: "VAE", steps: int) -> str:
    """What brings q(z|x) closer to p(z|x) after `steps` steps of refining it."""
    if steps < ENOUGH_STEPS:
        return f"More samples hardly help: evaluate with `refine={ENOUGH_STEPS}`."
    from variform.model.posteriors import DiagonalPosterior, FullCovariancePosterior

    family = "more `transforms`"
    if isinstance(vae.posterior, DiagonalPosterior):
        family = "`posterior='full'` or `posterior='iaf'`"
    elif isinstance(vae.posterior, FullCovariancePosterior):
        family = "`posterior='iaf'`"
    return f"More steps hardly help either: p(z|x) is of another shape than the family of q(z|x). Train with {family}."


def _diverged(vae: "VAE", history: Sequence[Mapping[str, Any]]) -> list[str]:
    rollbacks = [row["rollback"] for row in history if row.get("rollback")]
    if not rollbacks:
        return []
    first = history[0].get("learning_rate")
    rate = (
        f"`learning_rate={divergence.SLOWER * first:.1g}`"
        if isinstance(first, float)
        else "a smaller rate"
    )
    has_exp = getattr(vae.posterior, "std", "") == "exp"
    softplus = ", or with `posterior_std='softplus'`" if has_exp else ""
    return [
        f"The training diverged: {'; then '.join(rollbacks)}. The model may be far from what it could be. Train anew "
        f"with {rate}, or with `clip_norm=10`{softplus}."
    ]


def _one_variance(vae: "VAE", numbers: dict[str, Any]) -> list[str]:
    """One noise variance for columns that were standardised each by itself, where their errors tell otherwise."""
    likelihood, schema = vae.likelihood, vae.schema
    if not likelihood.has_one_variance:
        return []
    estimates = numbers.get("reconstruction_error_per_column", {})
    if schema is None or len(set(schema.scale)) < 2 or not schema.columns:
        return []
    if any(error["mean"] is None for error in estimates.values()):
        return []
    scales = dict(zip(estimates, schema.scale, strict=True))
    errors = {column: error["mean"] / scales[column] for column, error in estimates.items()}
    least = min(errors, key=errors.__getitem__)
    most = max(errors, key=errors.__getitem__)
    chance = 4 / math.sqrt(
        2 * numbers["nll"]["n"]
    )  # of the logarithm of a root of a mean of n squares, 4 errors
    if errors[most] < UNEVEN * math.exp(chance) * errors[least]:
        return []
    return [
        "The model has one noise variance for all columns, and each column was scaled by itself, which makes even "
        f"equal noise unequal: what is left of '{most}' is {errors[most]:.2g} of its scale, of '{least}' "
        f"{errors[least]:.2g}. NLL, and the number of latents chosen by it, suffer. Use "
        "`likelihood='gaussian-per-feature'`."
    ]


def _simpler_model_wins(
    vae: "VAE", numbers: dict[str, Any], trained: TrainConfig | None, history: Sequence[Mapping[str, Any]]
) -> list[str]:  # fmt: skip
    """A sentence for each simpler model that is better, over the same rows, in NLL or in reconstruction error.

    PCA in two metrics counts as one model: named is the metric in which it is better by more.
    """
    baselines = numbers.get("baselines", {})
    winners: dict[str, dict[str, str]] = {}
    for names in (tuple(PCAS), ("famd",), ("trivial",)):
        for measure, words in _BETTER.items():
            if measure == "nll" and trained is not None and trained.is_point:
                continue  # no spread was trained that a density could be of
            gaps = {
                name: baselines[name].get(f"{measure}_difference")
                for name in names
                if name in baselines
            }
            wins = {name: gap for name, gap in gaps.items() if _is_clear(gap, numbers[measure])}
            if wins:
                name = max(wins, key=lambda winner: wins[winner]["mean"])
                winners.setdefault(name, {})[measure] = words.format(_with_error(wins[name]))
    called = (PCAS if has_two_metrics(baselines) else {"pca": "PCA"}) | _OTHERS
    return [
        f"{called[name]} has {' and '.join(better.values())}, mean ± standard error of the differences over the same "
        f"{baselines[name]['reconstruction_error_difference']['n']:,} rows. "
        f"{_what_to_try(vae, numbers, trained, history, name, set(better))}"
        for name, better in winners.items()
    ]


def _is_clear(gap: dict[str, Any] | None, own: dict[str, Any]) -> bool:
    """Whether the VAE's own number is larger by more than two standard errors, and by more than rounding."""
    if gap is None or gap["se"] is None or own["mean"] is None:
        return False
    return gap["mean"] > max(BETTER_BY * gap["se"], 1e-6 * abs(own["mean"]))


def _with_error(gap: dict[str, Any]) -> str:
    return f"{gap['mean']:.3g} ± {gap['se']:.2g}"


def _what_to_try(
    vae: "VAE",
    numbers: dict[str, Any],
    trained: TrainConfig | None,
    history: Sequence[Mapping[str, Any]],
    baseline: str,
    better: set[str],
) -> str:
    """What this run has that may be the reason, and what to do about it; `better` are the measures that it lost."""
    likelihood = vae.likelihood
    if baseline == "trivial" and "nll" in better and likelihood.richer is not None:
        what, name = likelihood.richer
        return f"It has {what}: compare `likelihood={name!r}` with it."
    active = numbers["active_units"]
    has_idle_latents = active["count"] < active["of"]
    ways = [
        *_ways_of_training(trained, history),
        *_ways_of_the_model(
            vae, trained or TrainConfig(), baseline, has_idle_latents=has_idle_latents
        ),
    ]
    is_of_squares = likelihood.is_gaussian or "nll" in better
    why = (
        ""
        if is_of_squares
        else "Its aim is a small squared error, which is not the aim of this VAE's likelihood. "
    )
    return f"{why}Try {'; '.join(ways)}; or take the simpler model."


def _ways_of_the_model(
    vae: "VAE", trained: TrainConfig, baseline: str, *, has_idle_latents: bool
) -> list[str]:
    """Other options than those of the run, each where it may help."""
    likelihood = vae.likelihood
    has_own_units = baseline == "pca_own_units"
    learns_one_variance = likelihood.has_one_variance and likelihood.learns_variance
    helps = {
        "a variance that is learned (`likelihood='gaussian-per-feature'`)": not likelihood.learns_variance,
        "`beta=1`": trained.beta > 1,
        "`warmup=1000`, since not all latents are active": has_idle_latents and not trained.warmup,
        "`scaling='common'`, if all columns have one unit": has_own_units,
        "a variance a column (`likelihood='gaussian-per-feature'`)": has_own_units
        and learns_one_variance,
    }
    return [way for way, does_help in helps.items() if does_help]


def is_still_learning(history: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a longer training is likely to help: what it last learnt holds for rows that it does not see.

    The loss of the last tenth of the epochs is compared with that of the tenth before the middle. Validation rows must
    have gained, and at least half of what training rows did. When the best epoch came does not tell this: under a
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
    return on_validation > 0 and on_validation >= CARRIED * on_training


def _late_gain(history: Sequence[Mapping[str, Any]], loss: str) -> float:
    losses = [float(row.get(loss, math.nan)) for row in history]
    middle, width = len(losses) // 2, max(1, round(len(losses) / 10))
    before, after = losses[middle - width : middle], losses[-width:]
    return statistics.fmean(before) - statistics.fmean(after)


def _ways_of_training(
    trained: TrainConfig | None, history: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Longer where the model was still getting better, in smaller steps where it was not."""
    is_calm = not any(row.get("rollback") for row in history)
    if is_calm and is_still_learning(history):
        return [
            f"more epochs, since validation rows still gained after {max(1, len(history) // 2):,}"
        ]
    ways = [f"`learning_rate={trained.rate / 3:.1g}`" if trained else "a smaller `learning_rate`"]
    if not (trained and trained.clip_norm):
        ways.append("`clip_norm=10`")
    return [*ways, "more epochs"]
