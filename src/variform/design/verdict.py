"""What a study showed, in a few sentences: beside known designs, beside other spaces, and what was wasted."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from variform.config.words import listed
from variform.design.outcomes import Outcome

_CHANCE = 0.05


@dataclass(frozen=True, eq=False)
class Standings:
    """What the searches of each space reached, as values of which less is better.

    Args:
        outcomes: By the name of a space what each of its searches found, of the spaces that are shown.
        main: Names of the spaces that were asked for.
        known: What the best known design reaches; NaN where none is feasible, None where that is not known.
        show: A value as a reader has it, in its own sign and with its unit.
        called: What a reader calls a space.
        of_known: How a sentence says what the known designs reach.
    """

    outcomes: Mapping[str, Sequence[Outcome]]
    main: Sequence[str]
    known: float | None
    show: Callable[[float], str]
    called: Callable[[str], str] = str
    of_known: str = "the best known one has"

    def reached(self, name: str) -> np.ndarray:
        """What each search of a space reached, infinity where it found nothing feasible."""
        values = np.array([outcome.reached for outcome in self.outcomes[name]])
        return np.where(np.isnan(values), np.inf, values)

    def median(self, name: str) -> float:
        """The median over the searches of a space."""
        return float(np.median(self.reached(name)))

    @property
    def first(self) -> str:
        """The best of the spaces that were asked for."""
        return min((name for name in self.main if name in self.outcomes), key=self.median)

    @property
    def ahead(self) -> str:
        """The best of all spaces; of equal ones the first that was asked for."""
        return min((self.first, *self.outcomes), key=self.median)

    def chance(self, one: str, other: str) -> float:
        """The p value of the exact rank sum test of two spaces; 1 where all searches reached the same.

        Reference:
            Mann and Whitney (1947).
        """
        from scipy.stats import mannwhitneyu  # here, for it takes half a second

        first, second = self.reached(one), self.reached(other)
        if len(set(first) | set(second)) == 1:
            return 1.0
        return float(mannwhitneyu(first, second).pvalue)


def verdict(standings: Standings, *, recommended: str | None = None) -> list[str]:
    """The sentences that say what came out, the most important one first.

    Spaces are told apart where the rank sum of their searches would be as extreme by chance in less than 5 % of cases,
    which no three seeds can show.

    Args:
        standings: What was reached.
        recommended: The space that surrogates recommended before the search; None where none did.

    Example:
        >>> def found(name, *reached):
        ...     return [
        ...         Outcome(name, seed, np.array([value]), 0.0, 0.5, 1, 1, 0)
        ...         for seed, value in enumerate(reached)
        ...     ]
        >>> outcomes = {"latent": found("latent", 9.0, 8, 9, 9), "pca-4": found("pca-4", 12.0, 11, 11, 13)}
        >>> for sentence in verdict(Standings(outcomes, ["latent"], 10.0, "{:g} N".format), recommended="pca-4"):
        ...     print(sentence)
        Better than every known design by 10.0 %: latent reached 9 N, the best known one has 10 N.
        At the same budget pca-4 (11.5 N) is worse.
        R2 recommended pca-4, and latent won by 21.7 %.
        In latent 0 % of the evaluations were wasted on invalid designs, and 50 % missed a constraint.
    """
    if not any(math.isfinite(standings.median(name)) for name in standings.outcomes):
        return [_nothing(standings)]
    if not math.isfinite(standings.median(standings.first)):
        told = _beside_recommended(standings, recommended)
        return [_no_own(standings), *told, _waste(standings)]
    sentences = [_beside_known(standings)]
    if len(standings.outcomes) > 1:
        sentences += _beside_others(standings)
        sentences += _beside_recommended(standings, recommended)
    return [*sentences, _waste(standings)]


def _nothing(standings: Standings) -> str:
    found = [one for outcomes in standings.outcomes.values() for one in outcomes]
    some = sum(one.winner is not None for one in found)
    if not some:
        return "No feasible design was found yet."
    return f"{some} of {len(found)} searches found a feasible design, in no space most of them."


def _no_own(standings: Standings) -> str:
    """That the spaces that were asked for have nothing, and which other one has."""
    own = [one for name in standings.main for one in standings.outcomes.get(name, ())]
    names = listed([standings.called(name) for name in standings.main])
    what = f"Most searches in {names} found no feasible design"
    if all(one.winner is None for one in own):
        what = f"No feasible design was found in {names} yet"
    ahead = standings.ahead
    best = standings.show(standings.median(ahead))
    return f"{what}; the best of the other spaces is {standings.called(ahead)} with {best}."


def _beside_known(standings: Standings) -> str:
    name, known = standings.first, standings.known
    values = standings.reached(name)
    value = standings.median(name)
    called, seeds = standings.called(name), len(values)
    reached = f"{called} reached {standings.show(value)}"
    if known is None:
        return f"{reached}; what known designs reach is not known."
    if math.isnan(known):
        return f"No known design is feasible; {reached}."
    best = f"{standings.of_known} {standings.show(known)}"
    if value < known:
        return f"Better than every known design{_by(value, known, standings)}: {reached}, {best}."
    wins = int((values < known).sum())
    if wins:
        return f"{wins} of {seeds} searches found a better design than every known one; {reached}, {best}."
    return f"No better design than the known ones was found: {reached}, {best}."


def _by(better: float, worse: float, standings: Standings) -> str:
    """By how much one value is better: a share where that means something, else nothing."""
    if better * worse <= 0 or not math.isfinite(worse):
        return ""
    return f" by {abs((worse - better) / worse):.1%}".replace("%", " %")


def _beside_others(standings: Standings) -> list[str]:
    """How the other spaces stand beside the best of those that were asked for."""
    first = standings.first
    groups: dict[str, list[str]] = {}
    for name in standings.outcomes:
        if name != first:
            value = standings.median(name)
            shown = standings.show(value) if math.isfinite(value) else "nothing feasible"
            text = f"{standings.called(name)} ({shown})"
            groups.setdefault(_standing(standings, name), []).append(text)
    words = {"better": "better", "level": "not told from it", "worse": "worse"}
    parts = [
        f"{listed(groups[standing])} {_is(groups[standing])} {word}"
        for standing, word in words.items()
        if standing in groups
    ]
    sentences = [f"At the same budget {'; '.join(parts)}."]
    if min(len(one) for one in standings.outcomes.values()) < 4:
        sentences.append("With fewer than 4 seeds no two spaces can be told apart.")
    return sentences


def _standing(standings: Standings, name: str) -> str:
    first = standings.first
    if standings.chance(first, name) >= _CHANCE:
        return "level"
    return "better" if standings.median(name) < standings.median(first) else "worse"


def _is(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _beside_recommended(standings: Standings, recommended: str | None) -> list[str]:
    """Whether the space that was recommended before the search is the one that won."""
    if recommended is None or recommended not in standings.outcomes:
        return []
    ahead, chosen = standings.ahead, standings.called(recommended)
    if standings.median(ahead) == standings.median(recommended):
        return [f"R2 recommended {chosen}, and no space reached more."]
    by = _by(standings.median(ahead), standings.median(recommended), standings)
    if standings.chance(ahead, recommended) < _CHANCE:
        return [f"R2 recommended {chosen}, and {standings.called(ahead)} won{by}."]
    return [
        f"R2 recommended {chosen}; {standings.called(ahead)} reached more{by}, by which the two are not told apart."
    ]


def _waste(standings: Standings) -> str:
    outcomes = standings.outcomes[standings.first]
    wasted, infeasible = (
        float(np.median([getattr(one, share) for one in outcomes]))
        for share in ("wasted", "infeasible")
    )
    return (
        f"In {standings.called(standings.first)} {100 * wasted:.0f} % of the evaluations were wasted on invalid "
        f"designs, and {100 * infeasible:.0f} % missed a constraint."
    )
