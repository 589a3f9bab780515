"""The sections of an evaluation that are asked for: each answers one question, in numbers, tables and words.

A section is data. What one says reaches the command's output, the report and the explorer page, folded, with a "?" that
explains it; docs/extending.md adds one. Who only shows sections waits for no torch: what measures is imported as it
does.
"""

from typing import TYPE_CHECKING

from variform.config.in_depth import InDepth
from variform.evaluation.sections.calibration import CALIBRATION
from variform.evaluation.sections.certified import CERTIFIED
from variform.evaluation.sections.factors import FACTORS
from variform.evaluation.sections.probe import PROBE
from variform.evaluation.sections.section import Lines, Numbers, Scene, Section
from variform.evaluation.sections.surgery import SURGERY
from variform.evaluation.sections.synthetic import SYNTHETIC

if TYPE_CHECKING:
    from variform.data.dataset import Dataset, Splits

SECTIONS = {
    "certified": CERTIFIED,
    "surgery": SURGERY,
    "probe": PROBE,
    "factors": FACTORS,
    "calibration": CALIBRATION,
    "synthetic": SYNTHETIC,
}
"""By their names in the numbers of an evaluation, in the order in which they are shown."""


def measured(scene: Scene) -> dict[str, Numbers]:
    """What the sections found that were asked for, by their names in `SECTIONS`.

    Args:
        scene: What they measure from.
    """
    found = {
        name: section.measure(scene)
        for name, section in SECTIONS.items()
        if section.is_asked(scene.asked)
    }
    return {name: numbers for name, numbers in found.items() if numbers is not None}


def require_measurable(asked: InDepth, rows: "Dataset", splits: "Splits") -> None:
    """Refuse what is asked and cannot be measured on these rows, whatever the model.

    Args:
        asked: The sections that are asked for.
        rows: The rows that will be evaluated.
        splits: The data that they are of.

    Raises:
        ValueError: for names that the rows do not have, and for too few rows.

    Example:
        >>> from variform import read
        >>> digits = read("digits")
        >>> require_measurable(InDepth(factors=("colour",)), digits.test, digits)
        Traceback (most recent call last):
        ValueError: `factors` must name what is known of the rows, such as label; got colour. Choose from these.
    """
    for section in SECTIONS.values():
        if section.is_asked(asked):
            section.require(asked, rows, splits)


def sections_of(numbers: Numbers) -> dict[str, Section]:
    """The sections that an evaluation has, by their names in it.

    Example:
        >>> list(sections_of({"nll": {}, "surgery": {}}))
        ['surgery']
    """
    return {name: section for name, section in SECTIONS.items() if name in numbers}


__all__ = [
    "SECTIONS",
    "Lines",
    "Numbers",
    "Scene",
    "Section",
    "measured",
    "require_measurable",
    "sections_of",
]
