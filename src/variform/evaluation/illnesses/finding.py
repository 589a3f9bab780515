"""What a doctor of models works with: a case, an illness, and what was found of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from variform.config.checks import checked
from variform.config.training import TrainConfig

if TYPE_CHECKING:
    from variform.config.model import ModelConfig
    from variform.model.vae import VAE

Severity = Literal["critical", "warning", "hint"]
"""critical: no other number of the model means anything. warning: numbers or samples are worse than they need be.
hint: something may be gained; the model is healthy."""
SEVERITIES: tuple[Severity, ...] = ("critical", "warning", "hint")
"""The gravest first."""


@dataclass(frozen=True)
class Case:
    """All that is known of a trained model. What is not known is no symptom.

    Args:
        numbers: Its evaluation, as `evaluation.summary` gives it; `signs` in it are those of `illnesses.signs`.
        vae: The model.
        trained: How it was trained.
        history: How the training went, one mapping per epoch.
    """

    numbers: Mapping[str, Any]
    vae: "VAE | None" = None
    trained: TrainConfig | None = None
    history: Sequence[Mapping[str, Any]] = ()

    @property
    def model(self) -> "ModelConfig | None":
        """What the model was built from, where it says so."""
        return None if self.vae is None else self.vae.config

    @property
    def is_point(self) -> bool:
        """Whether the spread of q(z|x) was not trained, so that there are no densities to judge."""
        return self.trained is not None and self.trained.is_point

    def sign(self, name: str) -> Mapping[str, Any]:
        """A measurement of `signs`; empty where it was not made."""
        return self.numbers.get("signs", {}).get(name) or {}


@checked
@dataclass(frozen=True)
class Finding:
    """An illness that a model has.

    Args:
        illness: Its key in `ILLNESSES`.
        severity: How much it matters.
        seen: What is wrong and how it was seen, in sentences.
        advice: What to try, in sentences.
        brief: The advice in a few words, as "Next:" says it.
        options: The advice as fields of a configuration: trainings to try, the most promising first.
        evidence: The numbers that it was seen by.

    Example:
        >>> cold = Finding("cold", "hint", "It sneezes.", "Try tea.", "try tea")
        >>> cold.sentence
        'It sneezes. Try tea.'
    """

    illness: str
    severity: Severity
    seen: str
    advice: str
    brief: str
    options: Sequence[dict[str, Any]] = ()
    evidence: dict[str, Any] = field(default_factory=dict)

    @property
    def sentence(self) -> str:
        """What is wrong and what to try."""
        return f"{self.seen} {self.advice}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self) | {"options": list(self.options)}


@dataclass(frozen=True)
class Illness:
    """What may be wrong with a trained model.

    Args:
        name: In words.
        seen: How it is seen, in words.
        find: What is found of it in a case: nothing, or one finding or several.
    """

    name: str
    seen: str
    find: Callable[[Case], Sequence[Finding]]
