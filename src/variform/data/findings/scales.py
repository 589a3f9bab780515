"""Words that are levels of a known scale, the lowest first."""

from collections.abc import Collection, Sequence

_LEAST_LEVELS = 3  # of a scale that a column must hold: two say nothing of an order

SCALES: tuple[tuple[str, ...], ...] = (
    ("very low", "low", "medium|mid|middle|moderate|normal|average", "high", "very high"),
    ("xxs", "xs", "s", "m", "l", "xl", "xxl", "xxxl"),
    ("tiny", "small", "medium|mid|middle", "large|big", "huge"),
    ("none|no", "minimal|trace", "mild|minor|slight", "moderate", "severe|major", "critical"),
    ("never", "rarely|seldom", "sometimes|occasionally", "often|frequently", "always"),
    ("strongly disagree", "disagree", "neutral|neither", "agree", "strongly agree"),
    ("very poor", "poor", "fair|average|typical", "good", "very good", "excellent|ideal"),
    ("po", "fa", "ta", "gd", "ex"),
    ("fair", "good", "very good", "premium", "ideal"),
    ("very bad", "bad", "average|ok|okay", "good", "very good"),
    ("worst", "worse", "same", "better", "best"),
    ("very cold", "cold", "cool", "mild", "warm", "hot", "very hot"),
    ("very slow", "slow", "medium|moderate", "fast", "very fast"),
    ("short", "medium", "long"),
    ("short", "medium", "tall"),
    ("light", "medium", "heavy"),
    ("thin", "medium", "thick"),
    ("narrow", "medium", "wide"),
    ("soft", "medium", "hard"),
    ("fine", "medium", "coarse"),
    ("child", "teenager|adolescent", "adult", "senior"),
    ("young", "middle aged", "old"),
    ("novice", "beginner", "intermediate", "advanced", "expert"),
    ("junior", "intermediate", "senior", "lead|principal"),
    ("primary", "secondary", "tertiary"),
    ("bronze", "silver", "gold", "platinum"),
    ("first", "second", "third", "fourth", "fifth"),
)
"""Each level in the words that it may have, with | between."""


def known_order(words: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """The words of a column that are levels of one scale, in its order, and the others; None where those are few.

    Args:
        words: The different words of a column; capitals, - and _ do not count.

    Example:
        >>> known_order(["High", "low", "Mid"]), known_order(["red", "low", "high"])
        ((('low', 'Mid', 'High'), ()), None)
        >>> known_order(["low", "medium", "high", "unknown"])
        (('low', 'medium', 'high'), ('unknown',))
    """
    plain = {word: word.casefold().replace("-", " ").replace("_", " ").strip() for word in words}
    best: tuple[str, ...] = ()
    for scale in SCALES:
        found = _levels_of(scale, plain)
        if len(found) > len(best):
            best = found
    if len(best) < _LEAST_LEVELS:
        return None
    return best, tuple(word for word in words if word not in best)


def _levels_of(scale: Collection[str], plain: dict[str, str]) -> tuple[str, ...]:
    """The words that are levels of a scale, in its order; none where two words are one level."""
    found: list[str] = []
    for level in scale:
        own = [word for word, text in plain.items() if text in level.split("|")]
        if len(own) > 1:
            return ()
        found += own
    return tuple(found)
