"""What a section of an evaluation is, and what it measures from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from variform.config.in_depth import InDepth

if TYPE_CHECKING:
    from variform.data.dataset import Dataset, Splits
    from variform.evaluation.log_likelihood import Scores
    from variform.model.vae import VAE

Numbers = dict[str, Any]
"""What a section found, as plain values ready for JSON."""


@dataclass(frozen=True)
class Scene:
    """What sections measure from.

    Args:
        vae: The model.
        rows: The rows of the split that is evaluated.
        splits: The data of the run.
        scores: What `score` found of these rows.
        samples: Importance samples a row of the scores.
        asked: What was asked for.
        seed: Seed of all draws.
        progress: Whether to show progress bars.
    """

    vae: "VAE"
    rows: "Dataset"
    splits: "Splits"
    scores: "Scores"
    samples: int
    asked: InDepth
    seed: int = 0
    progress: bool = False


@dataclass(frozen=True)
class Lines:
    """A table of text.

    Args:
        header: One head per column.
        rows: As many cells each as there are heads.
        title: What the table holds, where a section has several.
        note: How to read it.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    note: str = ""


@dataclass(frozen=True)
class Section:
    """A question to a trained model, as the evaluation, its tables, the report and the page ask it.

    Args:
        title: Its heading.
        question: What it asks and how its numbers are read, in two or three sentences for whoever does not know it.
        is_asked: Whether it was asked for.
        measure: What it finds; None where the model or its data have no such numbers.
        answer: What that means, in one plain sentence; what is bad is said first.
        tables: What it found, as tables of text.
        meanings: What heads, and names at the beginning of rows, mean in a sentence or two each.
        headings: Where they lead on to, by the same names: a heading of the glossary, and the tag of a formula or "".
        require: Refuses what is asked and cannot be measured on these rows by any model; a training asks before its
            first step.

    Example:
        >>> from variform.evaluation.sections import SECTIONS
        >>> SECTIONS["surgery"].is_asked(InDepth(surgery=True))
        True
    """

    title: str
    question: str
    is_asked: Callable[[InDepth], bool]
    measure: Callable[[Scene], Numbers | None]
    answer: Callable[[Numbers], str]
    tables: Callable[[Numbers], list[Lines]]
    meanings: Mapping[str, str] = field(default_factory=dict)
    headings: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    require: Callable[[InDepth, "Dataset", "Splits"], None] = lambda _asked, _rows, _splits: None
