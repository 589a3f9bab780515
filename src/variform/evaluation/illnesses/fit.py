"""Illnesses of likelihood and scaling: a law that these data do not have."""

import math
from collections.abc import Sequence
from typing import Any

from variform.config.words import listed
from variform.evaluation.illnesses.finding import Case, Finding
from variform.evaluation.illnesses.training import is_collapsed

UNEVEN = 2.0
"""By which factor the noise of columns must differ before one variance for all is called wrong."""
WILD = 10.0
"""By which factor the spread of columns must differ before one variance for all leaves some of them out."""
LARGE, SMALL = 20.0, 0.02
"""Spreads of what a network sees from which on it is out of its depth."""
BEYOND = 0.05
"""The probability beyond the range of the data from which on a law is of the wrong shape."""
CROWDED = 0.1
"""The share of values within a hundredth of the range from its ends from which on these are bounds."""
HEAVY = 6.0
"""The kurtosis of residuals from which on they are no Gaussian's: that has 3."""
DISPERSED = 1.5
"""The mean square of standardised residuals of counts from which on they vary more than their law."""
SKEWED = 2.0
"""The skewness of a positive column from which on its logarithm is the better number."""
MOST = 0.5
"""The share of rows from which on what is true of them is true of a column."""
RULING = 0.5
"""The share of the sum of squares that a hundredth of the rows must have before these rule the training."""
COPIED = 0.05
"""The share of test rows with a near copy in training from which on test numbers are too good."""


def _columns(case: Case, numbers: Sequence[int]) -> str:
    schema = None if case.vae is None else case.vae.schema
    names = schema.columns if schema is not None else ()
    some = [f"'{names[number]}'" if names else f"column {number + 1}" for number in numbers[:3]]
    more = f" and {len(numbers) - 3} more" if len(numbers) > 3 else ""
    return listed(some) + more if not more else ", ".join(some) + more


def _is_gaussian(case: Case) -> bool:
    return case.vae is not None and case.vae.likelihood.is_gaussian


def unscaled(case: Case) -> Sequence[Finding]:
    """Values that a network sees in the hundreds, or in the thousandths."""
    found = case.sign("columns")
    spreads = [std for std in found.get("std", ()) if std > 0]
    if not spreads or not _is_gaussian(case):
        return []
    largest = max(spreads)
    if SMALL <= largest <= LARGE:
        return []
    return [
        Finding(
            "unscaled",
            "warning",
            f"The model sees values that are not scaled: the widest column has a standard deviation of {largest:.3g}, "
            "and networks begin where it is about 1.",
            "Train with `scaling='standard'` and `likelihood='gaussian-per-feature'`.",
            "train with `scaling='standard'`, since the values are not scaled",
            [{"scaling": "standard", "likelihood": "gaussian-per-feature"}],
            {"largest_std": largest},
        )
    ]


def wild_columns(case: Case) -> Sequence[Finding]:
    """Columns of wildly different spread under one variance: the wide ones rule, the narrow ones are left out."""
    found = case.sign("columns")
    if case.vae is None or not case.vae.likelihood.has_one_variance:
        return []
    spreads = {number: std for number, std in enumerate(found.get("std", ())) if std > 0}
    if len(spreads) < 2 or max(spreads.values()) < WILD * min(spreads.values()):
        return []
    widest = max(spreads, key=spreads.__getitem__)
    narrow = [number for number, std in spreads.items() if WILD * std < spreads[widest]]
    return [
        Finding(
            "wild-columns",
            "warning",
            f"The columns have wildly different spreads under one noise variance: that of {_columns(case, [widest])} "
            f"is {spreads[widest] / min(spreads.values()):,.0f} times the least, so that the training hardly sees "
            f"{_columns(case, narrow)}.",
            "Train with `scaling='standard'` and `likelihood='gaussian-per-feature'`.",
            "train with `scaling='standard'` and `likelihood='gaussian-per-feature'`",
            [{"scaling": "standard", "likelihood": "gaussian-per-feature"}],
            {"ratio": spreads[widest] / min(spreads.values())},
        )
    ]


def one_variance(case: Case) -> Sequence[Finding]:
    """One noise variance for columns that were standardised each by itself, where their errors tell otherwise."""
    vae, numbers = case.vae, case.numbers
    if vae is None or not vae.likelihood.has_one_variance:
        return []
    schema = vae.schema
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
        Finding(
            "one-variance",
            "warning",
            "The model has one noise variance for all columns, and each column was scaled by itself, which makes even "
            f"equal noise unequal: what is left of '{most}' is {errors[most]:.2g} of its scale, of '{least}' "
            f"{errors[least]:.2g}. NLL, and the number of latents chosen by it, suffer.",
            "Use `likelihood='gaussian-per-feature'`.",
            "train with `likelihood='gaussian-per-feature'`, as the warning says",
            [{"likelihood": "gaussian-per-feature"}],
            {"ratio": errors[most] / max(errors[least], 1e-300)},
        )
    ]


def wrong_support(case: Case) -> Sequence[Finding]:
    """Zeros and ones, counts, and values between bounds, under a Gaussian."""
    if not _is_gaussian(case):
        return []
    columns, residuals = case.sign("columns"), case.sign("residuals")
    if not columns:
        return []
    levels = columns["levels"]
    if levels and all(count == 2 for count in levels):
        scaled = {"likelihood": "bernoulli", "scaling": "none"}
        return [
            _misfit(
                "All values are one of two, and a Gaussian makes a density of them, which can be as large as you like.",
                "Train with `likelihood='bernoulli'`.",
                "bernoulli",
                [scaled],
            )
        ]
    if "whole" not in columns:
        return []
    is_count = [
        whole and count > 2 and dispersion >= 1 and largest > 1 / 50
        for whole, count, dispersion, largest in zip(
            columns["whole"], levels, columns["dispersion"], columns["largest"], strict=True
        )
    ]
    if levels and all(is_count):
        return [
            _misfit(
                "All values are counts, many of them small, and a Gaussian gives most of its probability to numbers "
                "that no count can be.",
                "Train with `likelihood='negative-binomial'` or `likelihood='poisson'`.",
                "negative-binomial",
                [
                    {"likelihood": "negative-binomial", "scaling": "none"},
                    {"likelihood": "poisson", "scaling": "none"},
                ],
            )
        ]
    if is_collapsed(case.numbers):
        return []
    beyond = [
        number
        for number, share in enumerate(residuals.get("outside", ()))
        if share > BEYOND and columns["ends"][number] > CROWDED
    ]
    if beyond and 4 * len(beyond) >= len(levels):
        worst = max(residuals["outside"])
        seen = (
            f"The values of {_columns(case, beyond)} have an end that a Gaussian knows nothing of: up to {worst:.0%} "
            "of its probability lies beyond their range."
        )
        mixed = {"likelihood": "mixed", "scaling": "auto"}
        if _is_unit(case):
            unit = {"likelihood": "continuous-bernoulli", "scaling": "none"}
            advice = "Train with `likelihood='continuous-bernoulli'` or `likelihood='mixed'`."
            return [_misfit(seen, advice, "continuous-bernoulli", [unit, mixed], outside=worst)]
        advice = "Train with `likelihood='mixed'`, which finds bounded and positive columns and gives each its law."
        return [_misfit(seen, advice, "mixed", [mixed], outside=worst)]
    return []


def _is_unit(case: Case) -> bool:
    """Whether all values are fractions."""
    schema = None if case.vae is None else case.vae.schema
    return schema is not None and min(schema.low) >= 0 and max(schema.high) <= 1


def _misfit(
    seen: str, advice: str, name: str, options: list[dict[str, Any]], **evidence: Any
) -> Finding:
    return Finding(
        "wrong-likelihood",
        "warning",
        seen,
        advice,
        f"train with `likelihood={name!r}`",
        options,
        evidence,
    )


def heavy_tails(case: Case) -> Sequence[Finding]:
    """Residuals of a Gaussian with heavy tails, and counts that vary more than a Poisson law."""
    residuals, columns = case.sign("residuals"), case.sign("columns")
    if not residuals or case.vae is None or is_collapsed(case.numbers):
        return []
    if case.vae.likelihood.support == "counts":
        return _dispersed(case, residuals["pearson"])
    if not case.vae.likelihood.is_gaussian:
        return []
    skewed = [
        number
        for number, (skewness, positive) in enumerate(
            zip(columns.get("skewness", ()), columns.get("positive", ()), strict=True)
        )
        if positive and skewness > SKEWED
    ]
    heavy = [number for number, value in enumerate(residuals["kurtosis"]) if value > HEAVY]
    if skewed and set(skewed) & set(heavy):
        most = max(residuals["kurtosis"][number] for number in skewed)
        return [
            _misfit(
                f"The values of {_columns(case, skewed)} are above 0 with a long tail on the right, which a Gaussian "
                f"has not: the kurtosis of what is left of them is {most:.3g}, of a Gaussian 3.",
                "Train with `likelihood='mixed'`, which takes such columns as log-normal.",
                "mixed",
                [{"likelihood": "mixed", "scaling": "auto"}],
                kurtosis=max(residuals["kurtosis"]),
            )
        ]
    is_table = "whole" in columns
    if not is_table or not heavy or 2 * len(heavy) < len(residuals["kurtosis"]):
        return []
    is_fixed = getattr(case.vae.likelihood, "variance", "") != "learned"
    advice, brief = (
        "Transform these columns, or train with narrower `hidden`.",
        "transform these columns",
    )
    options: list[dict[str, Any]] = []
    if is_fixed:
        widest = "Train with `likelihood='gaussian'`, whose noise may be wide for some rows"
        advice = f"{widest}, or transform these columns."
        brief = "train with `likelihood='gaussian'`, since residuals have heavy tails"
        options = [{"likelihood": "gaussian"}]
    return [
        Finding(
            "heavy-tails",
            "warning",
            f"What is left of {_columns(case, heavy)} after reconstruction has tails that a Gaussian has not, and few "
            f"values rule its noise: the kurtosis is {max(residuals['kurtosis']):.3g}, of a Gaussian 3.",
            advice,
            brief,
            options,
            {"kurtosis": max(residuals["kurtosis"])},
        )
    ]


def _dispersed(case: Case, pearson: Sequence[float]) -> Sequence[Finding]:
    assert case.vae is not None
    mean = sum(pearson) / len(pearson)
    if mean <= DISPERSED or "NegativeBinomial" in type(case.vae.likelihood).__name__:
        return []
    return [
        _misfit(
            f"The counts vary more than a Poisson law lets them: the squares of what is left are {mean:.3g} times its "
            "variance.",
            "Train with `likelihood='negative-binomial'`.",
            "negative-binomial",
            [{"likelihood": "negative-binomial"}],
            pearson=mean,
        )
    ]


def at_the_floor(case: Case) -> Sequence[Finding]:
    """A noise that is as small as it may be, or bound for it: the density then tells of the floor, not of the data."""
    residuals, columns = case.sign("residuals"), case.sign("columns")
    if (
        case.vae is None
        or not case.vae.likelihood.is_gaussian
        or not case.vae.likelihood.learns_variance
    ):
        return []
    if (
        case.vae.likelihood.has_one_variance
        or case.vae.schema is None
        or not case.vae.schema.columns
    ):
        return []
    names = case.vae.schema.columns
    low = [number for number, share in enumerate(residuals.get("floor", ())) if share > MOST]
    copied, largest = columns.get("copy", ()), columns.get("largest", ())
    copies = [number for number, of in enumerate(copied) if of >= 0]
    stuck = [number for number, share in enumerate(largest) if share > MOST]
    if not (low or copies or stuck):
        return []
    known = low or copies or stuck
    seen = (
        f"The model may know {_columns(case, known)} exactly: the noise falls to its least, "
        f"{case.vae.likelihood.min_std:.2g} of a scale, and the NLL tells of that floor, not of the data."
    )
    advice, options = (
        "Train with `likelihood='gaussian-shared'`.",
        [{"likelihood": "gaussian-shared"}],
    )
    brief = "train with `likelihood='gaussian-shared'`"
    if copies:
        ignore = tuple(names[number] for number in copies)
        pairs = ", ".join(f"'{names[copied[number]]}' = '{names[number]}'" for number in copies[:3])
        seen += f" Repeated is {pairs}."
        advice, options = "Leave out what is repeated, with `ignore`.", [{"ignore": ignore}]
        brief = f"leave out {_columns(case, copies)}, which repeat other columns"
    elif stuck:
        shares = max(largest[number] for number in stuck)
        seen += f" One value stands in {shares:.0%} of its rows."
        advice = (
            "Train with `likelihood='mixed'`, which gives such a value a probability of its own."
        )
        options, brief = [{"likelihood": "mixed"}], "train with `likelihood='mixed'`"
    return [
        Finding(
            "variance-at-floor",
            "warning",
            seen,
            advice,
            brief,
            options,
            {"at_floor": len(low), "copies": len(copies), "stuck": len(stuck)},
        )
    ]


def outliers(case: Case) -> Sequence[Finding]:
    """Few rows that have most of the sum of squares."""
    found = case.sign("outliers")
    if not found or not found["rows"] or found["share"] < RULING or not _is_gaussian(case):
        return []
    rows = found["rows"]
    few = ", ".join(f"{row}" for row in rows[:5]) + (", ..." if len(rows) > 5 else "")
    return [
        Finding(
            "outliers",
            "warning",
            f"Few rows rule the training: a hundredth of them has {found['share']:.0%} of the sum of squares. Far from "
            f"all others are {len(rows):,}: {few}, counted from 0.",
            "Look at them with variform inspect, and leave out what is wrong: `rule` writes a clean table.",
            "look at the rows that the warning names, and leave out what is wrong",
            [{"leave_out": tuple(rows)}],
            {"share": found["share"], "rows": rows},
        )
    ]


def copies(case: Case) -> Sequence[Finding]:
    """Near copies of training rows among the rows of the test."""
    found = case.sign("copies")
    if not found or found["share"] < COPIED:
        return []
    return [
        Finding(
            "copies",
            "warning",
            f"{found['share']:.0%} of the test rows are nearly the same as a training row: the numbers are those of "
            "rows that the model has seen, too good by an unknown amount.",
            "Keep such rows together, with `group='families'` or the column that names them.",
            "keep near copies in one split, with `group='families'`",
            [{"group": "families"}],
            {"share": found["share"]},
        )
    ]
