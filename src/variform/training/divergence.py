"""Divergence: how a training that blows up is recognised, and what is said of it; `fit` then goes back and on.

A model that has learned nothing yet is a yardstick: it starts at the mean and the variance of the training rows, and no
healthy training is ever far worse than that. Warm-ups, capacities and penalties raise a loss legitimately, but not
above what the untrained model has.
"""

from collections.abc import Mapping, Sequence
from typing import Any

TRIES = 3
"""How often a training goes back to its best weights before it ends."""
SLOWER = 0.3
"""What the learning rate is multiplied by each time."""
CLIP_NORM = 10.0
"""Upper bound on the norm of the gradient from the first time on."""

_SETTLING_STEPS, _SETTLING_SHARE = 100, 0.05

Means = Mapping[str, float]
"""Means over rows of the measures `loss` and `log_likelihood`, in nats per example, as they are trained."""


def risen(present: Means, before: Means, untrained: Means, best: Means, entries: int) -> str:
    r"""What rose beyond all bounds in an epoch, in words; empty for a healthy one.

    A cost c, the loss or the negative log-likelihood, has diverged where

    $c > c_0 + \max(c_0 - c_{\min}, |c_0|, D)$

    with $c_0$ that of the untrained model, $c_{\min}$ the least of all epochs so far, and D entries per example: worse
    than before the training by more than the training had gained, and by more than a nat per entry. It must also be
    more than in the epoch before: what falls is on its way back.

    Args:
        present: Means of the epoch over the training rows.
        before: Those of the epoch before; of the first epoch those of the untrained model.
        untrained: Those of the untrained model.
        best: The least loss and the greatest log-likelihood of an epoch before.
        entries: D.

    Example:
        >>> untrained, best = {"loss": 90.0, "log_likelihood": -90.0}, {"loss": 20.0, "log_likelihood": -15.0}
        >>> risen({"loss": 95.0, "log_likelihood": -80.0}, best, untrained, best, 64)
        ''
        >>> risen({"loss": 1e6, "log_likelihood": -9e5}, best, untrained, best, 64)
        'the training loss rose from 20 to 1e+06, far above the 90 of the untrained model'
    """
    for name, sign, words in (
        ("loss", 1, "loss rose"),
        ("log_likelihood", -1, "log-likelihood fell"),
    ):
        if name not in untrained:
            continue
        cost = sign * present[name]
        last = sign * before[name]
        start = sign * untrained[name]
        least = sign * best[name]
        if cost > last and cost - start > max(start - least, abs(start), entries):
            side = "above" if sign > 0 else "below"
            return (
                f"the training {words} from {before[name]:.4g} to {present[name]:.4g}, far {side} the "
                f"{untrained[name]:.4g} of the untrained model"
            )
    return ""


def settling(total: int) -> int:
    """Steps after which a rise of the loss is taken for divergence: 100, or a twentieth of all if that is less.

    Adam's first steps move every weight by the learning rate, whatever its gradient. Where a row lies 27 standard
    deviations out, that makes the loss a million times what it was for some 30 steps, after which it falls below all
    that it was before. To go back then, each time to the same place, is to never get beyond it.

    Args:
        total: Steps of the whole training.

    Example:
        >>> settling(22), settling(1000), settling(60_000)
        (1, 50, 100)
    """
    return min(_SETTLING_STEPS, int(_SETTLING_SHARE * total))


def clip_norm(chosen: float, rollbacks: int) -> float:
    """The upper bound on the norm of the gradient after a number of rollbacks; 0 for none.

    Args:
        chosen: What the configuration says, for a training that did not diverge.
        rollbacks: How often it went back.

    Example:
        >>> clip_norm(0.0, 0), clip_norm(0.0, 1), clip_norm(3.0, 1)
        (0.0, 10.0, 3.0)
    """
    if not rollbacks:
        return chosen
    return min(chosen or CLIP_NORM, CLIP_NORM)


def best_of(rows: Sequence[Mapping[str, Any]], jacobian: float) -> dict[str, float]:
    """The least loss and the greatest log-likelihood of the training rows in a history, as they were trained.

    Args:
        rows: The history, at least one epoch of it.
        jacobian: What the history adds to log-likelihoods to state them in the data's own units.
    """
    return {
        "loss": min(row["train_loss"] for row in rows),
        "log_likelihood": max(row["train_log_likelihood"] for row in rows) - jacobian,
    }


def noted(
    rows: list[dict[str, Any]], rollbacks: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The history with each rollback in the row of its epoch, or in the last where the epoch has none.

    Args:
        rows: One dict per epoch, with the `step` at which it ended.
        rollbacks: Dicts of the `step` after which the training went back, and `what` happened.

    Example:
        >>> noted([{"step": 5}, {"step": 10}], [{"step": 7, "what": "in step 7 the kl became NaN or infinite"}])
        [{'step': 5}, {'step': 10, 'rollback': 'in step 7 the kl became NaN or infinite'}]
    """
    rolled_back: dict[int, list[str]] = {}
    for rollback in rollbacks:
        later = [epoch for epoch, row in enumerate(rows) if row["step"] >= rollback["step"]]
        rolled_back.setdefault((later or [len(rows) - 1])[0], []).append(rollback["what"])
    return [
        row | {"rollback": "; then ".join(rolled_back[epoch])} if epoch in rolled_back else row
        for epoch, row in enumerate(rows)
    ]
