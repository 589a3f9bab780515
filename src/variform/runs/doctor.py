"""A run examined: what is wrong with its model, how it was seen, what to try."""

from typing import Any, Literal

from variform.config.checks import checked
from variform.config.words import counted
from variform.evaluation.illnesses import ILLNESSES, Finding
from variform.evaluation.verdict import placed
from variform.runs.folder import Run
from variform.runs.scores import assess

_HEALTHY = "No illness was found."


class Diagnosis:
    """What a doctor found of a run; printed, it says it in words.

    Args:
        run: The run.
        numbers: Its evaluation with `findings` and `signs`.
    """

    def __init__(self, run: Run, numbers: dict[str, Any]) -> None:
        self.run, self.numbers = run, numbers
        self.findings = [Finding(**one) for one in numbers["findings"]]

    @property
    def illnesses(self) -> list[Finding]:
        """The findings that are more than a hint, the gravest first."""
        return [finding for finding in self.findings if finding.severity != "hint"]

    @property
    def is_healthy(self) -> bool:
        """Whether nothing was found that is more than a hint."""
        return not self.illnesses

    def __str__(self) -> str:
        hints = len(self.findings) - len(self.illnesses)
        summary = _HEALTHY
        if self.illnesses:
            summary = f"{counted(len(self.illnesses), 'illness')}.".replace("illnesss", "illnesses")
        beside = f" {counted(hints, 'hint')}." if hints else ""
        lines = [f"{summary}{beside}"]
        for finding in self.findings:
            [seen, advice] = placed([finding.seen, finding.advice], self.run.folder)
            name = ILLNESSES[finding.illness].name
            lines += ["", f"{finding.severity}: {name}", f"  {seen}", f"  What to try: {advice}"]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"Diagnosis({[finding.illness for finding in self.findings]})"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON: what was found, whether it is healthy, and what was measured."""
        return {
            "healthy": self.is_healthy,
            "findings": [finding.to_dict() for finding in self.findings],
            "signs": self.numbers["signs"],
            "split": self.numbers["split"],
            "seed": self.numbers["seed"],
        }


@checked
def examine(
    run: Run,
    *,
    split: Literal["test", "valid", "train"] = "test",
    seed: int = 0,
    progress: bool = False,
) -> Diagnosis:
    """Look for every illness of `evaluation.illnesses`, on more rows and with more steps than after a training.

    Args:
        run: The run; its data are read again.
        split: The rows that are judged.
        seed: Seed of every choice and draw.
        progress: Show progress on a terminal.

    Raises:
        ValueError: when the data have changed.
        FileNotFoundError: when they are not there.
    """
    numbers = assess(run, run.data(), split=split, seed=seed, progress=progress, thorough=True)
    return Diagnosis(run, numbers)
