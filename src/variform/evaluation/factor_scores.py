"""All disentanglement scores of some codes, each with its standard error and with what it is by chance."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from variform.config.checks import Count, checked
from variform.config.words import quoted
from variform.evaluation import factors as scores
from variform.evaluation.factors import Array, Factor, ranks_of
from variform.evaluation.standard_error import Estimate, jackknifed
from variform.system.progress import progress_bar

FEWEST_ROWS = 100
_MOST_ROWS = 10_000
_MOST_CLASSES = 100  # of a category
_GROUPS = 5  # of the jackknife
_FITTED = 2 / 3  # share of the rows that predictors are fitted to


@checked
def score_factors(
    codes: ArrayLike,
    factors: Mapping[str, ArrayLike],
    *,
    permutations: Count = 5,
    seed: int = 0,
    progress: bool = False,
) -> dict[str, Any]:
    r"""MIG, SAP, DCI, BetaVAE and FactorVAE score, modularity, explicitness and IRS of codes whose causes are known.

    A third of the rows is held out from whatever is fitted to the codes. The standard error is that of a jackknife that
    leaves out each fifth of the rows in turn. By chance a score is what it is after the rows of the codes were
    permuted; above chance it is $(s - s_0) / (1 - s_0)$, 0 for codes that know nothing and 1 for perfect ones, with the
    larger one of the jackknife's error and the spread over the permutations, and the error of $s_0$. Where chance comes
    within two of these errors of 1, nothing is left above it, and that share is not known.

    Args:
        codes: Codes of rows that the model was not trained on, (N, D); of more than 10,000 rows, some at random.
        factors: By name the N values of each factor: numbers, NaN where there is none, or texts, empty where there is
            none. Rows without one of them are left out.
        permutations: How often chance is tried.
        seed: Of what is drawn.
        progress: Show a progress bar on a terminal.

    Returns:
        A dict with `scores`: by the names of `factors.SCORES` mean, se, n, by_chance and above_chance (mean, se; None
        where nothing is left above chance); with one factor alone those that compare factors are left out. `codes`: the
        numbers of those that vary, of `of`. `information`: for each of them the share of each factor's entropy that it
        tells alone, and `importance`: what it matters for each factor in DCI. `factors`: by name the code that tells
        most of it, what it tells, and what all codes together tell. `left_out`: rows without a factor.

    Raises:
        ValueError: for fewer than 100 rows, a factor with one value or a category with more than 100, and for codes
            that are not finite.

    Reference:
        Locatello et al. (2019), for the scores side by side.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> size, place = rng.integers(5, size=(2, 300))
        >>> codes = np.column_stack([-np.exp(size), place, np.zeros(300)])
        >>> found = score_factors(codes, {"size": size, "place": place}, permutations=1)
        >>> round(found["scores"]["factor_vae"]["mean"], 3), found["codes"], found["factors"]["place"]["code"]
        (1.0, [0, 1], 1)
    """
    codes = np.asarray(codes)
    if codes.ndim != 2 or not np.isfinite(codes).all():
        raise ValueError(f"codes must be finite numbers (N, D); got {codes.shape}. Train anew.")
    is_whole, known = whole_factors(factors, len(codes))
    codes, left_out = codes[is_whole], int((~is_whole).sum())
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(codes))[:_MOST_ROWS]
    codes, known = codes[order], [factor.take(order) for factor in known]
    rows = len(codes)
    measured: list[_Measured] = []
    bar = progress_bar(progress)
    with bar:
        task = bar.add_task("factors", total=1 + _GROUPS + permutations)

        def measure(some: Array) -> dict[str, float]:
            measured.append(_Measured(codes[some], [factor.take(some) for factor in known], seed))
            bar.advance(task)
            return measured[-1].scores

        estimates = jackknifed(measure, rows, groups=_GROUPS)
        chance = []
        for _ in range(permutations):
            chance.append(_Measured(codes[rng.permutation(rows)], known, seed).scores)
            bar.advance(task)
    whole = measured[0]
    return {
        "scores": {
            name: estimate.to_dict() | _by_chance(estimate, [one[name] for one in chance])
            for name, estimate in estimates.items()
        },
        "codes": whole.live.tolist(),
        "of": codes.shape[1],
        "information": whole.information.tolist(),
        "importance": whole.importance.tolist(),
        "factors": whole.by_factor(),
        "rows": rows,
        "left_out": left_out,
    }


def whole_factors(factors: Mapping[str, ArrayLike], rows: int) -> tuple[Array, list[Factor]]:
    """Of which rows every factor is known, (N,) bool, and the factors of these rows.

    Args:
        factors: As of `score_factors`.
        rows: N.

    Raises:
        ValueError: as `score_factors`, for what is wrong whatever the codes.

    Example:
        >>> is_whole, factors = whole_factors({"size": [float("nan"), *range(200)]}, 201)
        >>> int(is_whole.sum()), len(factors[0].values)
        (200, 200)
    """
    if not factors:
        raise ValueError("there must be a factor to score codes by; got none. Name some.")
    known = {name: np.asarray(values) for name, values in factors.items()}
    is_whole = np.ones(rows, bool)
    for name, values in known.items():
        if values.shape != (rows,):
            raise ValueError(
                f"factor {quoted(name)} must have a value for each of {rows} rows; got {values.shape}."
            )
        is_whole &= values != "" if values.dtype.kind in "US" else np.isfinite(values)
    if is_whole.sum() < FEWEST_ROWS:
        raise ValueError(
            f"scores need at least {FEWEST_ROWS} rows whose factors are known; got {is_whole.sum()}. Choose a larger "
            "`split`, or other factors."
        )
    whole = [Factor(name, values[is_whole]) for name, values in known.items()]
    for factor in whole:
        count = len(np.unique(factor.values))
        if count < 2 or (count > _MOST_CLASSES and not factor.is_number):
            raise ValueError(
                f"factor {quoted(factor.name)} must have at least 2 values, and a category at most {_MOST_CLASSES}; "
                f"got {count}. Leave it out."
            )
    return is_whole, whole


class _Measured:
    """All scores of some codes, once.

    Args:
        codes: (N, D), in an order that is random: the first two thirds are fitted, the others are judged.
        factors: K of them.
        seed: Of what is drawn.
    """

    def __init__(self, codes: Array, factors: Sequence[Factor], seed: int) -> None:
        self.factors = factors
        ranks, self.live = ranks_of(codes)
        fitted, judged = np.split(np.arange(len(codes)), [round(_FITTED * len(codes))])
        few = fitted[: scores.ROWS_FITTED]
        self.scores = dict.fromkeys(scores.SCORES, 0.0)
        self.information = np.zeros((len(self.live), len(factors)))
        self.importance = self.information
        self.told = np.zeros(len(factors))
        if len(self.live):
            told, entropies = scores.information(ranks, factors)
            self.information = told / entropies
            self.importance, self.told = scores.boosted(ranks, factors, few, judged, seed=seed)
            alone = scores.tells_alone(ranks, factors, fitted, judged, seed=seed)
            self.scores |= {
                "mig": scores.gap(self.information),
                "sap": scores.gap(alone),
                "dci_completeness": scores.completeness(self.importance),
                "dci_informativeness": float(self.told.mean()),
                "explicitness": scores.explicitness(ranks, factors, few, judged),
                "irs": scores.irs(ranks, factors),
            }
            if len(factors) > 1:
                parts = (ranks, factors, fitted, judged)
                self.scores |= {
                    "dci_disentanglement": scores.disentanglement(self.importance),
                    "modularity": scores.modularity(told),
                    "beta_vae": scores.beta_vae_score(*parts, seed=seed),
                    "factor_vae": scores.factor_vae_score(*parts, seed=seed),
                }
        if len(factors) == 1:
            for name in scores.OF_SEVERAL:
                del self.scores[name]

    def by_factor(self) -> dict[str, dict[str, Any]]:
        """Of each factor the code that tells most of it, what it and the next one tell, and what all tell together."""
        found = {}
        for factor, told, together in zip(self.factors, self.information.T, self.told, strict=True):
            best, following = np.sort(np.append([0.0, 0.0], told))[:-3:-1]
            found[factor.name] = {
                "code": int(self.live[told.argmax()]) if len(told) else None,
                "information": float(best),
                "next": float(following),
                "together": float(together),
            }
        return found


def _by_chance(estimate: Estimate, chance: Sequence[float]) -> dict[str, Any]:
    """What a score is by chance, and how far it is above that; None where there is no room between chance and 1."""
    by_chance = float(np.mean(chance))
    spread = float(np.std(chance, ddof=1)) if len(chance) > 1 else 0.0
    error_of_chance = spread / math.sqrt(len(chance))
    left = 1 - by_chance
    if left <= 2 * math.hypot(max(estimate.se, spread), error_of_chance):
        return {"by_chance": by_chance, "above_chance": None}
    above = (estimate.mean - by_chance) / left  # eq: above-chance
    own = max(estimate.se, spread * (1 - above))
    error = math.hypot(own, (1 - above) * error_of_chance) / left
    return {"by_chance": by_chance, "above_chance": Estimate(above, error, estimate.n).to_dict()}


@checked
def udr(codes: Sequence[ArrayLike]) -> list[float]:
    r"""How much models that were trained alike agree on what single codes hold (UDR), of each of them.

    Of two models with the rank correlations $R_{ab} = |\rho(z_a, z'_b)|$ it is
    $\frac{1}{d + d'} \left[ \sum_b \frac{r_b^2}{\sum_a R_{ab}} + \sum_a \frac{r_a^2}{\sum_b R_{ab}} \right]$ with
    $r_a = \max_b R_{ab}$ and $r_b = \max_a R_{ab}$; a model's is the median over the others. It needs no factors. A
    code that never varies is left out; leave out those, too, that the model does not use.

    Args:
        codes: Of two models or more the codes of the same rows, (N, D) each; D may differ.

    Returns:
        One number a model: 1 where the others hold the same codes, in another order or under monotone maps.

    Raises:
        ValueError: for one model.

    Reference:
        Duan et al. (2020), section 3.

    Example:
        >>> z = np.random.default_rng(0).normal(size=(5000, 2))
        >>> [round(value, 1) for value in udr([z, -np.exp(z[:, ::-1])])]
        [1.0, 1.0]
    """
    if len(codes) < 2:
        raise ValueError(
            f"UDR needs two models or more; got {len(codes)}. Train with more `seeds`."
        )
    ranks = [ranks_of(one)[0] for one in codes]
    found = []
    for own, first in enumerate(ranks):
        others = [second for other, second in enumerate(ranks) if other != own]
        found.append(float(np.median([_agreement(first, second) for second in others])))
    return found


def _agreement(first: Array, second: Array) -> float:
    """The UDR of two models."""
    if not first.shape[1] or not second.shape[1]:
        return 0.0
    alike = np.abs(_scaled(first).T @ _scaled(second))  # (d, d')
    sides = (alike, alike.T)
    shares = [(side.max(0) ** 2 / np.maximum(side.sum(0), 1e-300)).sum() for side in sides]
    return float(sum(shares) / sum(alike.shape))  # eq: udr


def _scaled(ranks: Array) -> Array:
    return ranks / np.linalg.norm(ranks, axis=0)
